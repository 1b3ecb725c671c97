//! FITS through cfitsio: headers, images, table columns in row blocks; the only file that knows the FITS crate.

use std::ops::Range;
use std::path::{Path, PathBuf};

use fitsio::FitsFile;
use fitsio::images::{ImageDescription, ImageType};
use fitsio::tables::{ColumnDataType, ColumnDescription};

use super::cfitsio::{self, ColumnKind, Handle, Pixel};
use super::files;
use crate::error::{Error, Result, nearest_name};

/// An open FITS file, read-only. Not `Send`: one per thread.
pub struct FitsReader {
    file: Handle,
    path: PathBuf,
}

impl FitsReader {
    /// Opens a file; gzip-compressed files open as they are.
    ///
    /// # Errors
    /// [`Error::Io`] if there is no such file, [`Error::Fits`] if it is not FITS.
    pub fn open(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(Error::io(path, "open"))?;
        if !metadata.is_file() {
            return Err(Error::format(path, "not a regular file"));
        }
        std::fs::File::open(path).map_err(Error::io(path, "open"))?;
        let file = Handle::open(path).map_err(|err| Error::Fits {
            path: path.to_path_buf(),
            detail: format!("not a readable FITS file ({err}); is it truncated, or something else?"),
        })?;
        Ok(Self { file, path: path.to_path_buf() })
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
        let values = self.file.image_section(range);
        values.map_err(self.failed(&format!("read the image in HDU {hdu}")))
    }

    /// A floating-point header key of an HDU; `None` where absent or not a number.
    pub fn key_f64(&mut self, hdu: usize, key: &str) -> Option<f64> {
        self.go_to(hdu).ok()?;
        self.file.key_f64(key)
    }

    /// A text header key of an HDU, trimmed; `None` where absent.
    pub fn key_text(&mut self, hdu: usize, key: &str) -> Option<String> {
        self.go_to(hdu).ok()?;
        self.file.key_text(key)
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
        layout.map_err(self.failed(&format!("read the columns of HDU {hdu}")))
    }

    /// Rows `range` of a column of numbers; NaN where undefined.
    ///
    /// # Errors
    /// [`Error::Fits`] if the column is absent, holds no single numbers, or the file ends early.
    pub fn numbers(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<f64>> {
        let index = self.single_column(hdu, name, &[ColumnKind::Integer, ColumnKind::Other])?.0;
        let values = self.file.numbers(index, range);
        values.map_err(self.failed(&format!("read column {name}")))
    }

    /// Rows `range` of a column of integers; 0 where undefined.
    ///
    /// # Errors
    /// As [`FitsReader::numbers`].
    pub fn integers(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<i64>> {
        let index = self.single_column(hdu, name, &[ColumnKind::Integer])?.0;
        let values = self.file.integers(index, range);
        values.map_err(self.failed(&format!("read column {name}")))
    }

    /// Rows `range` of a text column, blanks and NULs trimmed; integers as their digits.
    ///
    /// # Errors
    /// As [`FitsReader::numbers`].
    pub fn texts(&mut self, hdu: usize, name: &str, range: Range<usize>) -> Result<Vec<String>> {
        let (index, kind) = self.single_column(hdu, name, &[ColumnKind::Text, ColumnKind::Integer])?;
        if kind == ColumnKind::Integer {
            return Ok(self.integers(hdu, name, range)?.iter().map(i64::to_string).collect());
        }
        let texts = self.file.texts(index, range).map_err(self.failed(&format!("read column {name}")))?;
        Ok(texts.iter().map(|bytes| String::from_utf8_lossy(bytes).trim().to_string()).collect())
    }

    /// Position of a column that holds one value of one of these kinds per row.
    fn single_column(&mut self, hdu: usize, name: &str, kinds: &[ColumnKind]) -> Result<(usize, ColumnKind)> {
        let (_, names) = self.table_layout(hdu)?;
        let index = names.iter().position(|known| known == name);
        let index = index.ok_or_else(|| Error::format(&self.path, format!("no column {name}")))?;
        let (kind, repeat) = self.file.column_kind(index).map_err(self.failed(&format!("read column {name}")))?;
        if repeat != 1 || !kinds.contains(&kind) {
            let wanted = match kinds {
                [ColumnKind::Integer] => "integer",
                [ColumnKind::Text, ..] => "text or integer",
                _ => "number",
            };
            return Err(Error::format(&self.path, format!("column {name} does not hold one {wanted} a row")));
        }
        Ok((index, kind))
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

/// A column of a table to be written.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name (TTYPE).
    pub name: String,
    /// Unit (TUNIT), empty for none.
    pub unit: &'static str,
    /// The values.
    pub values: ColumnValues,
}

/// The values of a [`Column`].
#[derive(Debug, Clone)]
pub enum ColumnValues {
    /// Text, as wide as its longest entry.
    Text(Vec<String>),
    /// 64-bit floating point.
    F64(Vec<f64>),
    /// 64-bit integers.
    I64(Vec<i64>),
}

impl Column {
    /// A floating-point column.
    pub fn f64(name: impl Into<String>, unit: &'static str, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit, values: ColumnValues::F64(values) }
    }

    /// A text column.
    pub fn text(name: impl Into<String>, values: Vec<String>) -> Self {
        Self { name: name.into(), unit: "", values: ColumnValues::Text(values) }
    }

    /// An integer column.
    pub fn i64(name: impl Into<String>, values: Vec<i64>) -> Self {
        Self { name: name.into(), unit: "", values: ColumnValues::I64(values) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.values {
            ColumnValues::Text(values) => values.len(),
            ColumnValues::F64(values) => values.len(),
            ColumnValues::I64(values) => values.len(),
        }
    }

    /// Whether the column has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A FITS file being written; see [`write()`].
pub struct FitsWriter {
    file: FitsFile,
    path: PathBuf,
}

/// Writes a FITS file whole or not at all.
///
/// # Errors
/// Those of `fill`, [`Error::Io`] or [`Error::Fits`] when the file cannot be written.
pub fn write(path: &Path, fill: impl FnOnce(&mut FitsWriter) -> Result<()>) -> Result<()> {
    files::write_atomically(path, |temporary| {
        let failed = |err: String| Error::Fits {
            path: path.to_path_buf(),
            detail: format!("cannot write the file ({err}); is the disk full?"),
        };
        let file = cfitsio::create(temporary).map_err(failed)?;
        let mut writer = FitsWriter { file, path: path.to_path_buf() };
        fill(&mut writer)?;
        cfitsio::flush(&mut writer.file).map_err(failed)
    })
}

impl FitsWriter {
    /// Writes a text key into the primary header.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn primary_key(&mut self, key: &str, value: &str, comment: &str) -> Result<()> {
        let path = self.path.clone();
        let primary = self.file.primary_hdu().map_err(wrap(&path))?;
        primary.write_key(&mut self.file, key, (value.to_string(), comment)).map_err(wrap(&path))
    }

    /// Appends an image of 32-bit floats, [n_rows, n_columns].
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn image_f32(&mut self, name: &str, values: &[f32], shape: [usize; 2]) -> Result<()> {
        let path = self.path.clone();
        let description = ImageDescription { data_type: ImageType::Float, dimensions: &shape };
        let hdu = self.file.create_image(name, &description).map_err(wrap(&path))?;
        hdu.write_image(&mut self.file, values).map_err(wrap(&path))
    }

    /// Appends a table.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn table(&mut self, name: &str, columns: &[Column]) -> Result<()> {
        let path = self.path.clone();
        let descriptions = columns
            .iter()
            .map(|column| {
                let mut description = ColumnDescription::new(&column.name);
                match &column.values {
                    ColumnValues::Text(values) => description
                        .with_type(ColumnDataType::String)
                        .that_repeats(values.iter().map(String::len).max().unwrap_or(0).max(1))
                        .create(),
                    ColumnValues::F64(_) => description.with_type(ColumnDataType::Double).create(),
                    ColumnValues::I64(_) => description.with_type(ColumnDataType::LongLong).create(),
                }
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(wrap(&path))?;
        let hdu = self.file.create_table(name, &descriptions).map_err(wrap(&path))?;
        for (index, column) in columns.iter().enumerate() {
            match &column.values {
                ColumnValues::Text(values) => {
                    let values: Vec<String> = values.iter().map(|value| ascii(value)).collect();
                    hdu.write_col(&mut self.file, &column.name, &values)
                }
                ColumnValues::F64(values) => hdu.write_col(&mut self.file, &column.name, values),
                ColumnValues::I64(values) => hdu.write_col(&mut self.file, &column.name, values),
            }
            .map_err(wrap(&path))?;
            // The FITS standard knows no dex; readers warn of units they do not know, so it goes into the comment key.
            let key = if column.unit == "dex" { "TCOMM" } else { "TUNIT" };
            if !column.unit.is_empty() {
                hdu.write_key(&mut self.file, &format!("{key}{}", index + 1), column.unit).map_err(wrap(&path))?;
            }
        }
        Ok(())
    }

    /// Writes a text key into the header of the HDU called `name`.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn key(&mut self, name: &str, key: &str, value: &str, comment: &str) -> Result<()> {
        let path = self.path.clone();
        let hdu = self.file.hdu(name).map_err(wrap(&path))?;
        hdu.write_key(&mut self.file, key, (value.to_string(), comment)).map_err(wrap(&path))
    }
}

/// FITS text is printable ASCII; anything else becomes `?`.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

fn wrap(path: &Path) -> impl Fn(fitsio::errors::Error) -> Error + use<> {
    let path = path.to_path_buf();
    move |err| Error::Fits { path: path.clone(), detail: format!("cannot write ({err}); is the disk full?") }
}

/// The column of `names` spelt `wanted` in any case, or an error naming the columns nearest to it.
///
/// # Errors
/// [`Error::MissingColumn`].
pub fn find_column<'a>(path: &Path, names: &'a [String], wanted: &str, remedy: &'static str) -> Result<&'a str> {
    if let Some(name) = names.iter().find(|name| name.eq_ignore_ascii_case(wanted)) {
        return Ok(name);
    }
    let mut found: Vec<&str> = names.iter().map(String::as_str).take(8).collect();
    if let Some(near) = nearest_name(wanted, names.iter().map(String::as_str)) {
        found.retain(|name| *name != near);
        found.insert(0, near);
    }
    let more = if names.len() > found.len() { ", ..." } else { "" };
    Err(Error::MissingColumn {
        path: path.to_path_buf(),
        column: wanted.into(),
        found: found.join(", ") + more,
        remedy,
    })
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
    fn a_text_file_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("not.fits");
        std::fs::write(&path, "hello").unwrap();
        let message = FitsReader::open(&path).err().unwrap().to_string();
        assert!(message.contains("not.fits") && message.contains("not a readable FITS file"), "{message}");
    }

    #[test]
    fn a_missing_column_names_its_neighbours() {
        let names = ["FE_H_ERR", "M_H", "TEFF"].map(String::from);
        let message = find_column(Path::new("allStar.fits"), &names, "FE_H", "is this an allStar table?")
            .unwrap_err()
            .to_string();
        assert_eq!(message, "allStar.fits: no column FE_H (it has FE_H_ERR, M_H, TEFF); is this an allStar table?");
        assert_eq!(find_column(Path::new("x"), &names, "teff", "").unwrap(), "TEFF");
    }
}
