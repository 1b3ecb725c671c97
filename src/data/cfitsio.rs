//! The cfitsio calls maury reads and writes with, made safe: with `cfitsio_keys` and `cfitsio_checksum`, the only unsafe code of the
//! crate.
//!
//! fitsio's own readers pass over undefined values (BLANK, TNULL), end full-width strings one byte behind their buffers,
//! read names like `a[1].fits` as filters, and panic on tables with column types they do not know; these do not.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::ops::Range;
use std::path::Path;

use fitsio::sys;

const READONLY: c_int = 0;
const IMAGE_HDU: c_int = 0;
const BINARY_TABLE: c_int = 2;
const TBYTE: c_int = 11;
const TLOGICAL: c_int = 14;
const TSTRING: c_int = 16;
const TINT: c_int = 31;
const TFLOAT: c_int = 42;
const TLONGLONG: c_int = 81;
const TDOUBLE: c_int = 82;
const COMPLEX: [c_int; 2] = [83, 163];
/// Bytes, and integers of 8 to 64 bits, signed and unsigned.
const INTEGERS: [c_int; 9] = [11, 12, 20, 21, 30, 31, 40, 41, TLONGLONG];

/// What a table column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Text,
    Integer,
    Logical,
    /// Two numbers each.
    Complex,
    /// As many in each row as the row says.
    Varying,
    Other,
}

/// Column and first row, from 0, and the number of values.
type Place = (usize, usize, usize);
/// How cfitsio reads a column: file, column, row, element, number, what undefined ones become, values, whether any is, status.
type ReadColumn<T> =
    unsafe extern "C" fn(*mut sys::fitsfile, c_int, i64, i64, i64, T, *mut T, *mut c_int, *mut c_int) -> c_int;

/// A file open for reading.
pub(super) struct Handle(pub(super) *mut sys::fitsfile);

impl Drop for Handle {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: the handle is open and never used again. It was only read from: nothing can be lost in closing.
        unsafe { sys::ffclos(self.0, &mut status) };
    }
}

/// What images and table columns are made of: f64, f32, i64, i32, u8, and bool, which is for columns alone.
pub trait Element: Copy {
    /// cfitsio's code of the type in memory.
    const CODE: c_int;
    /// BITPIX of an image of them.
    const BITPIX: c_int;
}

impl Element for f64 {
    const CODE: c_int = TDOUBLE;
    const BITPIX: c_int = -64;
}

impl Element for f32 {
    const CODE: c_int = TFLOAT;
    const BITPIX: c_int = -32;
}

impl Element for i64 {
    const CODE: c_int = TLONGLONG;
    const BITPIX: c_int = 64;
}

impl Element for i32 {
    const CODE: c_int = TINT;
    const BITPIX: c_int = 32;
}

impl Element for u8 {
    const CODE: c_int = TBYTE;
    const BITPIX: c_int = 8;
}

impl Element for bool {
    /// cfitsio takes logical values as bytes of 0 and 1, which is what these are.
    const CODE: c_int = TLOGICAL;
    const BITPIX: c_int = 8;
}

/// Element types that images are read as.
pub(super) trait Pixel: Element + Default {
    /// What undefined pixels become.
    const UNDEFINED: Self;
}

impl Pixel for f64 {
    const UNDEFINED: Self = f64::NAN;
}

impl Pixel for f32 {
    const UNDEFINED: Self = f32::NAN;
}

impl Pixel for i64 {
    /// All mask bits set: an undefined mask vouches for nothing.
    const UNDEFINED: Self = -1;
}

impl Handle {
    /// Opens a file under its plain name.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let name = c_path(path)?;
        let (mut file, mut status) = (std::ptr::null_mut(), 0);
        // SAFETY: `name` is a terminated string; cfitsio sets `file` to a handle where it returns status 0.
        unsafe { sys::ffdkopn(&mut file, name.as_ptr(), READONLY, &mut status) };
        succeed(status).map(|()| Self(file))
    }

    pub(super) fn n_hdus(&mut self) -> Result<usize, String> {
        let (mut count, mut status) = (0, 0);
        // SAFETY: the handle is open; the count is written.
        unsafe { sys::ffthdu(self.0, &mut count, &mut status) };
        succeed(status).map(|()| count.max(0) as usize)
    }

    /// Goes to an HDU, counted from 0; whether it is an image.
    pub(super) fn go_to(&mut self, hdu: usize) -> Result<bool, String> {
        let (mut kind, mut status) = (0, 0);
        // SAFETY: the handle is open; the type is written.
        unsafe { sys::ffmahd(self.0, hdu as c_int + 1, &mut kind, &mut status) };
        succeed(status).map(|()| kind == IMAGE_HDU)
    }

    /// Axis lengths of the current image, slowest first.
    pub(super) fn image_shape(&mut self) -> Result<Vec<usize>, String> {
        let (mut n_axes, mut status) = (0, 0);
        // SAFETY: the handle is open; the number is written.
        unsafe { sys::ffgidm(self.0, &mut n_axes, &mut status) };
        succeed(status)?;
        let mut lengths = vec![0_i64; n_axes.max(0) as usize];
        // SAFETY: `lengths` has room for `n_axes` numbers.
        unsafe { sys::ffgiszll(self.0, n_axes, lengths.as_mut_ptr(), &mut status) };
        succeed(status)?;
        Ok(lengths.into_iter().rev().map(|length| length.max(0) as usize).collect())
    }

    /// BITPIX of the current image: negative for floating-point numbers.
    pub(super) fn bitpix(&mut self) -> Result<i32, String> {
        let (mut bitpix, mut status) = (0, 0);
        // SAFETY: the handle is open; the number is written.
        unsafe { sys::ffgidt(self.0, &mut bitpix, &mut status) };
        succeed(status).map(|()| bitpix)
    }

    /// Where in the file the current HDU's data begin, in bytes.
    pub(super) fn data_start(&mut self) -> Result<u64, String> {
        // SAFETY: the handle is open.
        unsafe { data_start(self.0) }
    }

    /// Whether the current HDU is an image kept as the rows of a table.
    pub(super) fn is_compressed_image(&mut self) -> bool {
        let mut status = 0;
        // SAFETY: the handle is open.
        unsafe { sys::fits_is_compressed_image(self.0, &mut status) != 0 && status == 0 }
    }

    /// Elements of the current image, counted along the file.
    pub(super) fn image_section<T: Pixel>(&mut self, range: Range<usize>) -> Result<Vec<T>, String> {
        let mut values = vec![T::default(); range.len()];
        let (mut undefined, mut any, mut status) = (T::UNDEFINED, 0, 0);
        // SAFETY: `values` has room for `range.len()` elements of the type that CODE names; so has `undefined` for one.
        unsafe {
            sys::ffgpv(
                self.0,
                T::CODE,
                range.start as i64 + 1,
                range.len() as i64,
                (&raw mut undefined).cast::<c_void>(),
                values.as_mut_ptr().cast::<c_void>(),
                &mut any,
                &mut status,
            );
        }
        succeed(status).map(|()| values)
    }

    /// Number of rows and column names of the current table.
    pub(super) fn table_layout(&mut self) -> Result<(usize, Vec<String>), String> {
        let (mut n_rows, mut n_columns, mut status) = (0_i64, 0, 0);
        // SAFETY: the handle is open; both numbers are written.
        unsafe {
            sys::ffgnrwll(self.0, &mut n_rows, &mut status);
            sys::ffgncl(self.0, &mut n_columns, &mut status);
        }
        succeed(status)?;
        let names =
            (1..=n_columns).map(|column| self.key_text(&format!("TTYPE{column}")).unwrap_or_default()).collect();
        Ok((n_rows.max(0) as usize, names))
    }

    /// What column `index` (from 0) of the current table holds, and how many in each row.
    pub(super) fn column_kind(&mut self, index: usize) -> Result<(ColumnKind, usize), String> {
        let (mut code, mut repeat, mut width, mut status) = (0, 0_i64, 0_i64, 0);
        // SAFETY: the handle is open; the three numbers are written.
        unsafe { sys::ffgtclll(self.0, index as c_int + 1, &mut code, &mut repeat, &mut width, &mut status) };
        succeed(status)?;
        Ok(match code {
            TSTRING => (ColumnKind::Text, if repeat > width { (repeat / width.max(1)) as usize } else { 1 }),
            TLOGICAL => (ColumnKind::Logical, repeat.max(0) as usize),
            code if code < 0 => (ColumnKind::Varying, repeat.max(0) as usize),
            code if COMPLEX.contains(&code) => (ColumnKind::Complex, repeat.max(0) as usize),
            code if INTEGERS.contains(&code) => (ColumnKind::Integer, repeat.max(0) as usize),
            _ => (ColumnKind::Other, repeat.max(0) as usize),
        })
    }

    /// `n` numbers of a column, counted on from the first of a row; NaN where undefined.
    pub(super) fn numbers(&mut self, index: usize, row: usize, n: usize) -> Result<Vec<f64>, String> {
        self.column(sys::ffgcvd, (index, row, n), f64::NAN)
    }

    /// Rows of a column with one integer each; none where undefined.
    pub(super) fn integers(&mut self, index: usize, rows: Range<usize>) -> Result<Vec<Option<i64>>, String> {
        self.known(sys::ffgcvjj, (index, rows.start, rows.len()), [i64::MIN, i64::MAX])
    }

    /// Rows of a column with one unsigned integer of 64 bits each; none where undefined.
    pub(super) fn unsigned(&mut self, index: usize, rows: Range<usize>) -> Result<Vec<Option<u64>>, String> {
        self.known(sys::ffgcvujj, (index, rows.start, rows.len()), [u64::MAX, 1])
    }

    /// `n` values of a column; none where each of two numbers is read that is asked for in place of an undefined one.
    fn known<T: Copy + Eq>(&mut self, read: ReadColumn<T>, at: Place, none: [T; 2]) -> Result<Vec<Option<T>>, String> {
        let first = self.column(read, at, none[0])?;
        let again = if first.contains(&none[0]) { self.column(read, at, none[1])? } else { first.clone() };
        let as_read = |(first, again): (T, T)| (first == again).then_some(first);
        Ok(first.into_iter().zip(again).map(as_read).collect())
    }

    /// Rows of a column with one logical value each; `None` where undefined.
    pub(super) fn logicals(&mut self, index: usize, rows: Range<usize>) -> Result<Vec<Option<bool>>, String> {
        const UNDEFINED: c_char = 2;
        let values = self.column(sys::ffgcvl, (index, rows.start, rows.len()), UNDEFINED)?;
        Ok(values.into_iter().map(|value| [Some(false), Some(true)].get(value as usize).copied().flatten()).collect())
    }

    /// `n` values of a column, counted on from the first of a row; undefined ones as said.
    fn column<T: Copy>(&mut self, read: ReadColumn<T>, place: Place, undefined: T) -> Result<Vec<T>, String> {
        let mut values = vec![undefined; place.2];
        let (mut any, mut status) = (0, 0);
        let (column, first, n) = (place.0 as c_int + 1, place.1 as i64 + 1, place.2 as i64);
        // SAFETY: `values` has room for `n` of what the function of cfitsio writes.
        unsafe { read(self.0, column, first, 1, n, undefined, values.as_mut_ptr(), &mut any, &mut status) };
        succeed(status).map(|()| values)
    }

    /// Rows of a column with one text each, up to the terminating NUL.
    pub(super) fn texts(&mut self, index: usize, rows: Range<usize>) -> Result<Vec<Vec<u8>>, String> {
        let (mut width, mut status) = (0, 0);
        let column = index as c_int + 1;
        // SAFETY: the handle is open; the width is written.
        unsafe { sys::ffgcdw(self.0, column, &mut width, &mut status) };
        succeed(status)?;
        let mut buffers = vec![vec![0 as c_char; width.max(0) as usize + 1]; rows.len()];
        let mut pointers: Vec<*mut c_char> = buffers.iter_mut().map(|buffer| buffer.as_mut_ptr()).collect();
        let (array, mut any) = (pointers.as_mut_ptr(), 0);
        let (first, n, none) = (rows.start as i64 + 1, rows.len() as i64, std::ptr::null_mut());
        // SAFETY: `pointers` holds one live buffer per row, of the column's display width and a terminating NUL, which is
        // the most that cfitsio writes.
        unsafe { sys::ffgcvs(self.0, column, first, 1, n, none, array, &mut any, &mut status) };
        succeed(status)?;
        let text = |buffer: &Vec<c_char>| buffer.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect();
        Ok(buffers.iter().map(text).collect())
    }
}

/// A file being written. Header keys go to the HDU that was made or gone to last.
pub(super) struct NewFile(pub(super) *mut sys::fitsfile);

impl Drop for NewFile {
    fn drop(&mut self) {
        let mut status = 0;
        // SAFETY: the handle is open and never used again. What must not get lost was flushed before.
        unsafe { sys::ffclos(self.0, &mut status) };
    }
}

impl NewFile {
    /// Creates a file under its plain name, with an empty primary HDU.
    pub(super) fn create(path: &Path) -> Result<Self, String> {
        let name = c_path(path)?;
        let (mut file, mut status) = (std::ptr::null_mut(), 0);
        // SAFETY: `name` is a terminated string; cfitsio sets `file` to a handle where it returns status 0.
        unsafe { sys::ffdkinit(&mut file, name.as_ptr(), &mut status) };
        succeed(status)?;
        let file = Self(file);
        // SAFETY: the handle is open, and an image of no axes needs no axis lengths.
        unsafe { sys::ffcrim(file.0, 8, 0, std::ptr::null_mut(), &mut status) };
        succeed(status).map(|()| file)
    }

    /// Goes to an HDU, counted from 0.
    pub(super) fn go_to(&mut self, hdu: usize) -> Result<(), String> {
        let (mut kind, mut status) = (0, 0);
        // SAFETY: the handle is open; the type is written.
        unsafe { sys::ffmahd(self.0, hdu as c_int + 1, &mut kind, &mut status) };
        succeed(status)
    }

    /// Appends an image, slowest axis first; with no axes, a header without data; with no values, one to be
    /// filled.
    pub(super) fn image<T: Element>(&mut self, shape: &[usize], values: &[T]) -> Result<(), String> {
        let mut lengths: Vec<i64> = shape.iter().rev().map(|length| *length as i64).collect();
        let (bitpix, mut status) = (if shape.is_empty() { 8 } else { T::BITPIX }, 0);
        // SAFETY: `lengths` holds as many numbers as there are axes.
        unsafe { sys::ffcrimll(self.0, bitpix, shape.len() as c_int, lengths.as_mut_ptr(), &mut status) };
        succeed(status)?;
        if shape.is_empty() || values.is_empty() {
            return Ok(());
        }
        assert_eq!(shape.iter().product::<usize>(), values.len(), "an image has as many pixels as its axes say");
        self.pixels(0, values)
    }

    /// Where in the file the current HDU's data begin, in bytes.
    pub(super) fn data_start(&mut self) -> Result<u64, String> {
        // SAFETY: the handle is open.
        unsafe { data_start(self.0) }
    }

    /// Fills pixels of the current image from `first` on, counted from 0 along its fastest axis.
    pub(super) fn pixels<T: Element>(&mut self, first: usize, values: &[T]) -> Result<(), String> {
        let (first, n, mut status) = (first as i64 + 1, values.len() as i64, 0);
        let array = values.as_ptr().cast::<c_void>().cast_mut();
        // SAFETY: `values` holds `n` elements of the type that CODE names; cfitsio only reads them.
        unsafe { sys::ffppr(self.0, T::CODE, first, n, array, &mut status) };
        succeed(status)
    }

    /// Appends an empty binary table with columns of these names and forms (TFORM).
    pub(super) fn table(&mut self, n_rows: usize, columns: &[(String, String)]) -> Result<(), String> {
        let texts = |part: fn(&(String, String)) -> &str| {
            columns.iter().map(|column| c_text(part(column))).collect::<Result<Vec<_>, _>>()
        };
        let (names, forms) = (texts(|column| &column.0)?, texts(|column| &column.1)?);
        let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr().cast_mut()).collect::<Vec<_>>();
        let (mut names, mut forms) = (pointers(&names), pointers(&forms));
        let (n_columns, none, mut status) = (columns.len() as c_int, std::ptr::null_mut(), 0);
        let (names, forms) = (names.as_mut_ptr(), forms.as_mut_ptr());
        // SAFETY: both arrays hold a terminated string per column, which cfitsio only reads.
        unsafe {
            let rows = n_rows as i64;
            sys::ffcrtb(self.0, BINARY_TABLE, rows, n_columns, names, forms, none, std::ptr::null(), &mut status);
        }
        succeed(status)
    }

    /// Fills column `index` of the current table from `row` on, both counted from 0, with numbers or logical values, row by row.
    pub(super) fn numbers<T: Element>(&mut self, index: usize, row: usize, values: &[T]) -> Result<(), String> {
        if values.is_empty() {
            return Ok(());
        }
        let (column, row, n, mut status) = (index as c_int + 1, row as i64 + 1, values.len() as i64, 0);
        let array = values.as_ptr().cast::<c_void>().cast_mut();
        // SAFETY: `values` holds `n` elements of the type that CODE names; cfitsio only reads them.
        unsafe { sys::ffpcl(self.0, T::CODE, column, row, 1, n, array, &mut status) };
        succeed(status)
    }

    /// Fills column `index` (from 0) of the current table with one text a row, cut at the column's width.
    pub(super) fn texts(&mut self, index: usize, values: &[String]) -> Result<(), String> {
        if values.is_empty() {
            return Ok(());
        }
        let texts = values.iter().map(|value| c_text(value)).collect::<Result<Vec<_>, _>>()?;
        let mut pointers: Vec<*mut c_char> = texts.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let (column, n, array, mut status) = (index as c_int + 1, values.len() as i64, pointers.as_mut_ptr(), 0);
        // SAFETY: `pointers` holds a terminated string per row, which cfitsio only reads.
        unsafe { sys::ffpcls(self.0, column, 1, 1, n, array, &mut status) };
        succeed(status)
    }

    /// Appends a text key; one that is longer than a card goes on in others (CONTINUE).
    pub(super) fn key_text(&mut self, key: &str, value: &str, comment: &str) -> Result<(), String> {
        // What fits between the quotes of a card, quotes in the text counted twice.
        let is_long = value.len() + value.matches('\'').count() > 68;
        let (key, value, comment, mut status) = (c_text(key)?, c_text(value)?, c_text(comment)?, 0);
        let (name, text, comment) = (key.as_ptr(), value.as_ptr(), comment.as_ptr());
        // SAFETY: three terminated strings.
        unsafe {
            match is_long {
                true => sys::ffpkls(self.0, name, text, comment, &mut status),
                false => sys::ffpkys(self.0, name, text, comment, &mut status),
            }
        };
        succeed(status)
    }

    /// Appends an integer key.
    pub(super) fn key_i64(&mut self, key: &str, value: i64, comment: &str) -> Result<(), String> {
        let (key, comment, mut status) = (c_text(key)?, c_text(comment)?, 0);
        // SAFETY: two terminated strings.
        unsafe { sys::ffpkyj(self.0, key.as_ptr(), value, comment.as_ptr(), &mut status) };
        succeed(status)
    }

    /// Appends a floating-point key with the digits that bring it back to the last bit.
    pub(super) fn key_f64(&mut self, key: &str, value: f64, comment: &str) -> Result<(), String> {
        // 17 significant digits identify every f64; fewer do for most, and read better.
        let significant = [15, 16].into_iter().find(|digits| format!("{value:.*e}", digits - 1).parse() == Ok(value));
        let (key, comment, mut status) = (c_text(key)?, c_text(comment)?, 0);
        let decimals = -(significant.unwrap_or(17) as c_int);
        // SAFETY: two terminated strings.
        unsafe { sys::ffpkyd(self.0, key.as_ptr(), value, decimals, comment.as_ptr(), &mut status) };
        succeed(status)
    }

    /// Appends a card of text: COMMENT, or HISTORY.
    pub(super) fn remark(&mut self, is_history: bool, text: &str) -> Result<(), String> {
        let (text, mut status) = (c_text(text)?, 0);
        let write = if is_history { sys::ffphis } else { sys::ffpcom };
        // SAFETY: a terminated string.
        unsafe { write(self.0, text.as_ptr(), &mut status) };
        succeed(status)
    }

    /// Hands everything to the system. Closing does so too, but too late to say what goes wrong.
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let mut status = 0;
        // SAFETY: the handle is open.
        unsafe { sys::ffflus(self.0, &mut status) };
        succeed(status)
    }
}

/// A path for C: its bytes as they are, text or not.
/// Where the data of a file's current HDU begin, in bytes.
///
/// # Safety
/// The handle must be open.
unsafe fn data_start(file: *mut sys::fitsfile) -> Result<u64, String> {
    let (mut header, mut data, mut end, mut status) = (0_i64, 0_i64, 0_i64, 0);
    // SAFETY: the handle is open, as the caller warrants; the three numbers are written.
    unsafe { sys::ffghadll(file, &mut header, &mut data, &mut end, &mut status) };
    succeed(status).map(|()| data.max(0) as u64)
}

fn c_path(path: &Path) -> Result<CString, String> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| "the path holds a null byte".to_string())
}

pub(super) fn c_text(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| "a text holds a NUL character".to_string())
}

pub(super) fn succeed(status: c_int) -> Result<(), String> {
    match status {
        0 => Ok(()),
        104 | 106 => Err("it cannot be opened or written".into()),
        107 | 108 => Err("it ends too early".into()),
        252 | 261 => Err("it does not begin as a FITS file".into()),
        status => Err(format!("cfitsio status {status}")),
    }
}
