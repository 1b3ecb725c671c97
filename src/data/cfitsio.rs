//! The cfitsio calls that fitsio's safe interface lacks: the only unsafe code of the crate.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int};
use std::ops::Range;
use std::path::Path;

use fitsio::sys;
use fitsio::{FileOpenMode, FitsFile};

/// cfitsio's codes for opening read-only and for writing.
const READONLY: c_int = 0;

/// Opens a file read-only under its plain name: brackets and parentheses in it are letters, not cfitsio's filters.
///
/// # Errors
/// cfitsio's status, or what is wrong with the name, as text.
pub(super) fn open(path: &Path) -> Result<FitsFile, String> {
    let name = c_name(path)?;
    let (mut file, mut status) = (std::ptr::null_mut(), 0);
    // SAFETY: `name` is a terminated string; cfitsio sets `file` to a handle where it returns status 0.
    unsafe { sys::ffdkopn(&mut file, name.as_ptr(), READONLY, &mut status) };
    if status != 0 {
        return Err(format!("cfitsio status {status}"));
    }
    // SAFETY: the handle is open, and owned by nobody else.
    unsafe { FitsFile::from_raw(file, FileOpenMode::READONLY) }.map_err(|err| err.to_string())
}

/// Creates a file under its plain name, with an empty primary HDU.
///
/// # Errors
/// As [`open`].
pub(super) fn create(path: &Path) -> Result<FitsFile, String> {
    let name = c_name(path)?;
    let (mut file, mut status) = (std::ptr::null_mut(), 0);
    // SAFETY: `name` is a terminated string; cfitsio sets `file` to a handle where it returns status 0, and an image of
    // no axes needs no axis lengths.
    unsafe {
        sys::ffdkinit(&mut file, name.as_ptr(), &mut status);
        sys::ffcrim(file, 8, 0, std::ptr::null_mut(), &mut status);
    }
    if status != 0 {
        return Err(format!("cfitsio status {status}"));
    }
    // SAFETY: the handle is open, and owned by nobody else.
    unsafe { FitsFile::from_raw(file, FileOpenMode::READWRITE) }.map_err(|err| err.to_string())
}

/// Writes everything to disk. Closing does so too, but fitsio ignores what goes wrong then.
///
/// # Errors
/// cfitsio's status as text.
pub(super) fn flush(file: &mut FitsFile) -> Result<(), String> {
    let mut status = 0;
    // SAFETY: the handle is open for as long as `file` lives.
    unsafe { sys::ffflus(file.as_raw(), &mut status) };
    if status == 0 { Ok(()) } else { Err(format!("cfitsio status {status}")) }
}

/// Rows `range` of text column `index` of the current HDU, each as wide as `width`, up to the terminating NUL.
///
/// fitsio's own reader gives cfitsio buffers exactly as wide as the column, and cfitsio ends a full-width string one byte
/// later (`getcols.c`); these buffers are one byte longer.
///
/// # Errors
/// cfitsio's status as text.
pub(super) fn text_column(
    file: &mut FitsFile,
    index: usize,
    width: usize,
    range: Range<usize>,
) -> Result<Vec<Vec<u8>>, String> {
    let mut buffers = vec![vec![0 as c_char; width + 1]; range.len()];
    let mut pointers: Vec<*mut c_char> = buffers.iter_mut().map(|buffer| buffer.as_mut_ptr()).collect();
    let mut status = 0;
    // SAFETY: `pointers` holds `range.len()` live buffers of `width + 1` bytes, all that cfitsio writes for a column of
    // `width` characters; the handle is open and its HDU current, and nothing is kept after the call.
    unsafe {
        sys::ffgcvs(
            file.as_raw(),
            index as c_int + 1,
            range.start as i64 + 1,
            1,
            range.len() as i64,
            std::ptr::null_mut(),
            pointers.as_mut_ptr(),
            std::ptr::null_mut(),
            &mut status,
        );
    }
    if status != 0 {
        return Err(format!("cfitsio status {status}"));
    }
    Ok(buffers.iter().map(|buffer| buffer.iter().take_while(|c| **c != 0).map(|c| *c as u8).collect()).collect())
}

fn c_name(path: &Path) -> Result<CString, String> {
    let name = path.to_str().ok_or("the path is not valid UTF-8; rename it")?;
    CString::new(name).map_err(|_| "the path holds a NUL character".to_string())
}
