//! Reading FITS: headers, images, table columns in row blocks. Writing lies beside it and is reexported.

use std::io::{BufReader, Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::cells::Cells;
pub use super::cfitsio::Element;
use super::cfitsio::{ColumnKind, Handle, Pixel};
use super::files;
pub use super::find_column::find_column;
pub use super::fits_column::{Column, ColumnValues};
pub use super::fits_writer::{FitsWriter, KeyValue, UnfinishedFits, write, write_in_place};
use super::packed;
use super::value::Value;
use crate::error::{Error, Result};

/// A compressed file that expands to more bytes than this must be unpacked by hand: it is read into memory as a whole. Astra's
/// largest table of DR19 has 2.3 GB.
const MOST_EXPANDED: u64 = 4 << 30;
/// An image of compressed tiles expands to at most this many times its file: deflate packs 1032 to 1 at best.
const MOST_PACKED: u64 = 1032;

/// TZERO of unsigned integers of 64 bits, as the FITS standard has it: 2^63.
const OF_UNSIGNED: f64 = 9_223_372_036_854_775_808.0;

/// An open FITS file, read-only. Not `Send`: one per thread.
pub struct FitsReader {
    file: Handle,
    path: PathBuf,
    /// Bytes that are there, after expansion.
    length: u64,
    /// Column names of the table that was read last: a header of hundreds is not searched for every block of every column.
    columns: (usize, Vec<String>),
}

impl FitsReader {
    /// Opens a file; gzip-compressed files open as they are.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such file, [`Error::Format`] if it is not a regular one, [`Error::Fits`] if it is not FITS.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_within(path, MOST_EXPANDED)
    }

    /// [`FitsReader::open`] of a file that may not expand to more than some number of bytes.
    ///
    /// # Errors
    /// As [`FitsReader::open`]; [`Error::Format`] for a larger one.
    pub fn open_within(path: &Path, most_expanded: u64) -> Result<Self> {
        let length = expanded_length(path, most_expanded)?;
        let file = Handle::open(path).map_err(|err| not_fits(path, &err))?;
        Ok(Self { file, path: path.to_path_buf(), length, columns: (0, Vec::new()) })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of header-data units.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn n_hdus(&mut self) -> Result<usize> {
        let count = self.file.n_hdus();
        count.map_err(self.failed("count the HDUs"))
    }

    /// Axis lengths of an image HDU, slowest axis first; `None` for a table, empty for a header without data.
    ///
    /// # Errors
    /// [`Error::Fits`] if there is no such HDU.
    pub fn image_shape(&mut self, hdu: usize) -> Result<Option<Vec<usize>>> {
        if !self.go_to(hdu)? {
            return Ok(None);
        }
        let shape = self.file.image_shape();
        shape.map(Some).map_err(self.failed(&format!("read the axes of HDU {hdu}")))
    }

    /// Whether an image HDU holds floating-point numbers on disk.
    ///
    /// # Errors
    /// [`Error::Fits`] if there is no such image.
    pub fn is_floating_point(&mut self, hdu: usize) -> Result<bool> {
        self.bitpix(hdu).map(|bitpix| bitpix < 0)
    }

    /// Bits per number of an image HDU on disk, negative for floating-point numbers.
    pub(super) fn bitpix(&mut self, hdu: usize) -> Result<i32> {
        self.go_to(hdu)?;
        let bitpix = self.file.bitpix();
        bitpix.map_err(self.failed(&format!("read the type of HDU {hdu}")))
    }

    /// Elements `range` of an image HDU counted along the file, whatever its type on disk. Undefined ones are NaN, or all
    /// bits set.
    ///
    /// # Errors
    /// [`Error::Fits`] if the HDU is a table, or shorter than that (a truncated file).
    #[expect(private_bounds, reason = "the element types are f32, f64 and i64, for good")]
    pub fn image_section<T: Pixel>(&mut self, hdu: usize, range: Range<usize>) -> Result<Vec<T>> {
        if !self.go_to(hdu)? {
            return Err(self.failed("read an image")(format!("HDU {hdu} is a table")));
        }
        self.expect_pixels(hdu, range.end)?;
        let values = self.file.image_section(range);
        values.map_err(self.failed(&format!("read the image in HDU {hdu}")))
    }

    /// Where the numbers of an uncompressed image of 32-bit floats begin in the file, in bytes, and its shape, [n_rows, n_columns].
    ///
    /// # Errors
    /// [`Error::Format`] for an HDU that is no such image; [`Error::Fits`] if the file is shorter than that.
    pub fn matrix_of_f32(&mut self, hdu: usize) -> Result<(u64, (usize, usize))> {
        match self.image_shape(hdu)?.as_deref() {
            Some([n_rows, n_columns]) if self.bitpix(hdu)? == -32 && !self.file.is_compressed_image() => {
                self.expect_pixels(hdu, n_rows.saturating_mul(*n_columns))?;
                let start = self.file.data_start().map_err(self.failed("find the data"))?;
                Ok((start, (*n_rows, *n_columns)))
            }
            _ => Err(Error::format(&self.path, format!("HDU {hdu} is no matrix of 32-bit floats"))),
        }
    }

    /// A floating-point header key of an HDU; `None` where absent or not a number.
    pub fn key_f64(&mut self, hdu: usize, key: &str) -> Option<f64> {
        self.go_to(hdu).ok()?;
        self.file.key_f64(key)
    }

    /// Whether an HDU has a header key, whatever its value.
    pub fn has_key(&mut self, hdu: usize, key: &str) -> bool {
        self.go_to(hdu).is_ok() && self.file.has_key(key)
    }

    /// A text header key of an HDU, trimmed; `None` where absent.
    pub fn key_text(&mut self, hdu: usize, key: &str) -> Option<String> {
        self.go_to(hdu).ok()?;
        self.file.key_text(key)
    }

    /// The value of a header key, of whatever type; missing where there is no such key.
    pub fn key_value(&mut self, hdu: usize, key: &str) -> Value {
        // To cfitsio, other characters stand for any.
        let is_name = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        if !is_name || !self.has_key(hdu, key) {
            return Value::Missing;
        }
        match self.file.key_as_written(key) {
            Some(written) if written.starts_with('\'') => Value::text(self.file.key_text(key).unwrap_or_default()),
            Some(written) => Value::of_card(&written),
            None => Value::Missing,
        }
    }

    /// Rows `range` of a column that holds one value a row, of whatever type; missing where it is the survey's number for
    /// nothing (-9999).
    ///
    /// # Errors
    /// [`Error::Format`] for an absent column and one of vectors; [`Error::Fits`] if the file ends early.
    pub fn values(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<Value>> {
        let n = range.len();
        let values = self.cells(hdu, name, range, false)?.values(0..n).map_err(|_| self.not_one(name, "value"))?;
        Ok(values.into_iter().map(Value::known).collect())
    }

    /// Index of the first table HDU.
    ///
    /// # Errors
    /// [`Error::Fits`] if the file has none.
    pub fn first_table(&mut self) -> Result<usize> {
        for hdu in 0..self.n_hdus()? {
            if !self.go_to(hdu)? {
                return Ok(hdu);
            }
        }
        Err(Error::Fits { path: self.path.clone(), detail: "no table in this file; a catalogue needs one".into() })
    }

    /// Number of rows and the column names of a table HDU.
    ///
    /// # Errors
    /// [`Error::Fits`] if the HDU is not a table.
    pub fn table_layout(&mut self, hdu: usize) -> Result<(usize, Vec<String>)> {
        if self.go_to(hdu)? {
            return Err(self.failed("read a table")(format!("HDU {hdu} is an image")));
        }
        let layout = self.file.table_layout();
        let layout = layout.map_err(self.failed(&format!("read the columns of HDU {hdu}")))?;
        let row_bytes = self.file.key_f64("NAXIS1").unwrap_or(0.0).max(1.0) as u64;
        self.expect_bytes(&format!("{} rows in HDU {hdu}", layout.0), (layout.0 as u64).saturating_mul(row_bytes))?;
        Ok(layout)
    }

    /// Refuses an image that claims more numbers than its file can hold, before memory is asked for.
    fn expect_pixels(&mut self, hdu: usize, n_pixels: usize) -> Result<()> {
        let bytes = (self.bitpix(hdu)?.unsigned_abs() / 8).max(1);
        let bytes = (n_pixels as u64).saturating_mul(u64::from(bytes));
        let claim = format!("{n_pixels} numbers in HDU {hdu}");
        if !self.file.is_compressed_image() {
            return self.expect_bytes(&claim, bytes);
        }
        self.expect(&claim, bytes <= self.length.saturating_mul(MOST_PACKED))
    }

    /// Refuses an image that claims more numbers than its file can hold.
    ///
    /// # Errors
    /// [`Error::Fits`], with the size.
    pub(super) fn expect_whole_image(&mut self, hdu: usize) -> Result<()> {
        match self.image_shape(hdu)? {
            Some(shape) if !shape.is_empty() => {
                let n_pixels = shape.into_iter().fold(1, usize::saturating_mul);
                self.expect_pixels(hdu, n_pixels)
            }
            _ => Ok(()),
        }
    }

    fn expect_bytes(&mut self, claim: &str, bytes: u64) -> Result<()> {
        let start = self.file.data_start().map_err(self.failed("find the data"))?;
        self.expect(claim, start.saturating_add(bytes) <= self.length)
    }

    fn expect(&self, claim: &str, holds: bool) -> Result<()> {
        if holds {
            return Ok(());
        }
        Err(self.failed("read what the header claims")(format!(
            "{claim}, but the file is only {} bytes long",
            self.length
        )))
    }

    /// Indices of the table HDUs.
    pub(super) fn tables(&mut self) -> Result<Vec<usize>> {
        let mut tables = Vec::new();
        for hdu in 0..self.n_hdus()? {
            if !self.go_to(hdu)? {
                tables.push(hdu);
            }
        }
        Ok(tables)
    }

    /// Rows `range` of a column of numbers; NaN where undefined.
    ///
    /// # Errors
    /// [`Error::Fits`] if the column is absent, holds no single numbers, or the file ends early.
    pub fn numbers(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<f64>> {
        let cells = self.cells(hdu, name, range.clone(), true)?;
        cells.numbers(0..range.len()).map_err(|_| self.not_one(name, "number"))
    }

    /// The numbers that a vector column holds in one row, NaN where undefined; none where it is as long as nothing (`0E`).
    ///
    /// # Errors
    /// [`Error::Format`] if the column or the row is absent, if it holds no numbers, or more than `most` in a row;
    /// [`Error::Fits`] if the file ends early.
    pub fn row_vector(&mut self, hdu: usize, name: &str, row: usize, most: usize) -> Result<Vec<f64>> {
        let (n_rows, index) = self.column(hdu, name)?;
        let refused = |detail: String| Err(Error::format(&self.path, detail));
        if row >= n_rows {
            return refused(format!("HDU {hdu} has {n_rows} rows, there is no row {}", row + 1));
        }
        let (kind, length) = self.file.column_kind(index).map_err(self.failed(&format!("read column {name}")))?;
        if ![ColumnKind::Integer, ColumnKind::Other].contains(&kind) {
            return refused(format!("column {name} holds no numbers, or not as many in each row"));
        }
        if length > most {
            return refused(format!("column {name} claims {length} numbers a row, at most {most} are read"));
        }
        if length == 0 {
            return Ok(Vec::new());
        }
        let values = self.file.numbers(index, row, length);
        values.map_err(self.failed(&format!("read column {name}")))
    }

    /// Rows `range` of a column of logical values; `None` where undefined.
    ///
    /// # Errors
    /// As [`FitsReader::numbers`].
    pub fn logicals(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<Option<bool>>> {
        match self.cells(hdu, name, range, false)? {
            Cells::Booleans(values) => Ok(values),
            _ => Err(self.not_one(name, "logical value")),
        }
    }

    /// Rows `range` of a column of integers; 0 where undefined.
    ///
    /// # Errors
    /// As [`FitsReader::numbers`].
    pub fn integers(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<i64>> {
        let cells = self.cells(hdu, name, range.clone(), false)?;
        cells.flags(0..range.len()).map_err(|_| self.not_one(name, "whole number"))
    }

    /// Rows `range` of a text column, blanks and NULs trimmed; integers as their digits.
    ///
    /// # Errors
    /// As [`FitsReader::numbers`].
    pub fn texts(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<String>> {
        let cells = self.cells(hdu, name, range.clone(), false)?;
        cells.texts(0..range.len()).map_err(|_| self.not_one(name, "text or integer"))
    }

    fn not_one(&self, name: &str, wanted: &str) -> Error {
        Error::format(&self.path, format!("column {name} does not hold one {wanted} a row"))
    }

    /// Rows `range` of a column; integers as numbers where these are wanted, since a scale may make fractions of them.
    pub(super) fn cells(&mut self, hdu: usize, name: &str, range: Range<usize>, as_numbers: bool) -> Result<Cells> {
        if self.columns.0 != hdu || self.columns.1.is_empty() {
            self.columns = (hdu, self.table_layout(hdu)?.1);
        } else {
            self.go_to(hdu)?;
        }
        let index = self.columns.1.iter().position(|known| known == name);
        let index = index.ok_or_else(|| Error::format(&self.path, format!("no column {name}")))?;
        let failed = self.failed(&format!("read column {name}"));
        let (kind, repeat) = match self.file.column_kind(index) {
            Ok(kind) => kind,
            Err(err) => return Err(failed(err)),
        };
        if kind == ColumnKind::Varying {
            return Ok(Cells::Others("lists".into()));
        }
        if repeat != 1 {
            return Ok(Cells::Others(format!("{repeat} values a row")));
        }
        // Integers that stand for others.
        let mut key = |name: &str| self.file.key_f64(&format!("{name}{}", index + 1));
        let (scale, zero) = (key("TSCAL").unwrap_or(1.0), key("TZERO").unwrap_or(0.0));
        let is_scaled = scale != 1.0 || zero.fract() != 0.0;
        let cells = match kind {
            ColumnKind::Integer if !as_numbers && !is_scaled && zero == OF_UNSIGNED => {
                self.file.unsigned(index, range).map(Cells::of_unsigned)
            }
            ColumnKind::Text => self.file.texts(index, range).map(|texts| {
                Cells::Texts(texts.iter().map(|bytes| String::from_utf8_lossy(bytes).trim().to_string()).collect())
            }),
            ColumnKind::Integer if !as_numbers && !is_scaled => self.file.integers(index, range).map(Cells::Integers),
            ColumnKind::Logical => self.file.logicals(index, range).map(Cells::Booleans),
            ColumnKind::Complex | ColumnKind::Varying => return Ok(Cells::Others("complex numbers".into())),
            ColumnKind::Integer | ColumnKind::Other => {
                self.file.numbers(index, range.start, range.len()).map(Cells::Numbers)
            }
        };
        cells.map_err(failed)
    }

    /// Number of rows of a table and position of a column in it.
    fn column(&mut self, hdu: usize, name: &str) -> Result<(usize, usize)> {
        let (n_rows, names) = self.table_layout(hdu)?;
        let index = names.iter().position(|known| known == name);
        let index = index.ok_or_else(|| Error::format(&self.path, format!("no column {name}")))?;
        Ok((n_rows, index))
    }

    fn go_to(&mut self, hdu: usize) -> Result<bool> {
        let moved = self.file.go_to(hdu);
        moved.map_err(self.failed(&format!("find HDU {hdu}")))
    }

    fn failed(&self, action: &str) -> impl FnOnce(String) -> Error + use<> {
        let (path, action) = (self.path.clone(), action.to_string());
        move |err| Error::Fits {
            path,
            detail: format!("cannot {action} ({err}); the file may be truncated or of another kind"),
        }
    }
}

/// Bytes of a file, after expansion where it is compressed by gzip.
fn expanded_length(path: &Path, most: u64) -> Result<u64> {
    let mut file = files::open(path)?;
    let mut start = Vec::new();
    (&mut file).take(10).read_to_end(&mut start).map_err(Error::io(path, "read"))?;
    if start.starts_with(b"SIMPLE") {
        return file.metadata().map(|metadata| metadata.len()).map_err(Error::io(path, "read"));
    }
    if !start.starts_with(&[0x1f, 0x8b]) {
        return Err(not_fits(path, "it does not begin as a FITS file"));
    }
    file.rewind().map_err(Error::io(path, "read"))?;
    let most = most.min(packed::most_expanded(file.metadata().map_err(Error::io(path, "read"))?.len()));
    let mut expanded = flate2::read::MultiGzDecoder::new(BufReader::new(file)).take(most.saturating_add(1));
    match std::io::copy(&mut expanded, &mut std::io::sink()) {
        Ok(length) if length <= most => Ok(length),
        Ok(_) => Err(Error::format(path, packed::expands_beyond(most))),
        // Damage behind the last byte that is used does not matter; cfitsio says what does.
        Err(_) => Ok(most.saturating_add(1).saturating_sub(expanded.limit())),
    }
}

fn not_fits(path: &Path, reason: &str) -> Error {
    let detail = format!("not a readable FITS file ({reason}); is it truncated, or something else?");
    Error::Fits { path: path.to_path_buf(), detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_images_come_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.fits");
        let ids = vec!["2M00".to_string(), "a longer id".to_string()];
        write(&path, |fits| {
            fits.image_f32("FLUX", &[1.0, f32::NAN, 3.0, 4.0, 5.0, 6.0], [2, 3])?;
            fits.table(
                "STARS",
                &[
                    Column::text("id", ids.clone()),
                    Column::f64("teff", "K", vec![4500.0, f64::NAN]),
                    Column::i64("flags", vec![1, 1 << 40]),
                ],
            )
        })
        .unwrap();
        let mut fits = FitsReader::open(&path).unwrap();
        assert_eq!(fits.image_shape(1).unwrap(), Some(vec![2, 3]));
        let row: Vec<f64> = fits.image_section(1, 3..6).unwrap();
        assert_eq!(row, [4.0, 5.0, 6.0]);
        let table = fits.first_table().unwrap();
        let (n_rows, names) = fits.table_layout(table).unwrap();
        assert_eq!((n_rows, names.len()), (2, 3));
        assert_eq!(fits.texts(table, "id", 0..2).unwrap(), ids);
        assert_eq!(fits.integers(table, "flags", 1..2).unwrap(), [1 << 40]);
        assert!(fits.numbers(table, "teff", 0..2).unwrap()[1].is_nan());
    }

    #[test]
    fn a_row_of_a_vector_column_is_read_and_its_claims_are_held_against_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.fits");
        let columns = [
            Column::text("id", vec!["a".into(), "b".into()]),
            Column::vectors("flux", 3, vec![1.0, f64::NAN, 3.0, 4.0, 5.0, 6.0]),
            Column::integer_vectors("mask", 2, vec![1, 2, 3, 4]),
            Column::vectors("empty", 0, Vec::new()),
        ];
        write(&path, |fits| fits.table("T", &columns)).unwrap();
        let mut fits = FitsReader::open(&path).unwrap();
        assert_eq!(fits.row_vector(1, "flux", 1, 3).unwrap(), [4.0, 5.0, 6.0]);
        let first = fits.row_vector(1, "flux", 0, 100).unwrap();
        assert!(first[0] == 1.0 && first[1].is_nan() && first[2] == 3.0, "{first:?}");
        assert_eq!(fits.row_vector(1, "mask", 1, 2).unwrap(), [3.0, 4.0]);
        assert_eq!(fits.row_vector(1, "empty", 1, 2).unwrap(), Vec::<f64>::new());
        let mut said =
            |name: &str, row: usize, most: usize| fits.row_vector(1, name, row, most).unwrap_err().to_string();
        assert!(said("flux", 2, 3).contains("there is no row 3"), "{}", said("flux", 2, 3));
        assert!(said("flux", 0, 2).contains("claims 3 numbers a row, at most 2"), "{}", said("flux", 0, 2));
        assert!(said("id", 0, 2).contains("column id holds no numbers"), "{}", said("id", 0, 2));
        assert!(said("ivar", 0, 2).contains("no column ivar"), "{}", said("ivar", 0, 2));
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 2880]).unwrap();
        let said = FitsReader::open(&path).unwrap().row_vector(1, "flux", 0, 3).unwrap_err().to_string();
        assert!(said.contains("2 rows in HDU 1") && said.contains("bytes long"), "{said}");
    }

    #[test]
    fn unsigned_integers_of_64_bits_keep_their_digits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.fits");
        write(&path, |fits| {
            fits.table("T", &[Column::i64("source_id", vec![i64::MIN + 5, i64::MIN + (1 << 60), 7, i64::MAX])])?;
            fits.append_key("TZERO1", OF_UNSIGNED, "")?;
            fits.table("N", &[Column::i64("n", vec![i64::MIN, i64::MAX, 3])])?;
            fits.append_key("TNULL1", 3_i64, "")
        })
        .unwrap();
        let mut fits = FitsReader::open(&path).unwrap();
        assert_eq!(fits.texts(1, "source_id", 0..3).unwrap(), ["5", "1152921504606846976", "9223372036854775815"]);
        assert_eq!(fits.integers(1, "source_id", 0..2).unwrap(), [5, 1 << 60]);
        assert_eq!(fits.numbers(1, "source_id", 2..3).unwrap(), [OF_UNSIGNED]);
        let values = fits.values(1, "source_id", 0..3).unwrap();
        assert_eq!(values[2], Value::Text("9223372036854775815".into()));
        // No number stands for none but the one that the header names.
        assert_eq!(fits.texts(1, "source_id", 2..4).unwrap(), ["9223372036854775815", "18446744073709551615"]);
        let expected = [i64::MIN.to_string(), i64::MAX.to_string(), String::new()];
        assert_eq!(fits.texts(2, "n", 0..3).unwrap(), expected);
    }

    #[test]
    fn a_text_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not.fits");
        std::fs::write(&path, "hello").unwrap();
        let message = FitsReader::open(&path).err().unwrap().to_string();
        assert!(message.contains("not.fits") && message.contains("not a readable FITS file"), "{message}");
    }
}
