//! Writing FITS: images, tables and header keys of any of the types the survey's own files use.

use std::path::{Path, PathBuf};

use ndarray::ArrayView2;

use super::cfitsio::{Element, NewFile};
use super::files::{self, Unfinished};
use super::fits_column::{Column, ColumnValues};
use crate::error::{Error, Result};

/// Bytes of a header's card.
const CARD_BYTES: usize = 80;
/// Bytes of them for its name.
const NAME_BYTES: usize = 8;
/// Bytes of the longest floating-point number: -1.2345678901234567E-308.
const LONGEST_NUMBER: usize = 24;

/// The value of a header key.
#[derive(Debug, Clone, Copy)]
pub enum KeyValue<'a> {
    /// Text.
    Text(&'a str),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Number(f64),
}

impl<'a> From<&'a str> for KeyValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for KeyValue<'_> {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<f64> for KeyValue<'_> {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

/// A FITS file being written; see [`write()`].
pub struct FitsWriter {
    file: NewFile,
    path: PathBuf,
    /// EXTNAME of each HDU, empty where it has none.
    names: Vec<String>,
}

/// Writes a FITS file whole or not at all.
///
/// # Errors
/// Those of `fill`, [`Error::Io`] or [`Error::Fits`] when the file cannot be written.
pub fn write(path: &Path, fill: impl FnOnce(&mut FitsWriter) -> Result<()>) -> Result<()> {
    files::write_atomically(path, |temporary| fill_file(temporary, path, fill))
}

/// Writes a FITS file under its own name at once, which must be free: for files of a folder that is given its name only
/// when everything is in it.
///
/// # Errors
/// As [`write()`].
pub fn write_in_place(path: &Path, fill: impl FnOnce(&mut FitsWriter) -> Result<()>) -> Result<()> {
    fill_file(path, path, fill)
}

fn fill_file(path: &Path, called: &Path, fill: impl FnOnce(&mut FitsWriter) -> Result<()>) -> Result<()> {
    let mut writer = FitsWriter::create(path, called)?;
    fill(&mut writer)?;
    writer.file.flush().map_err(failed(called))
}

/// A FITS file that is written piece by piece, and has its name only when it is complete.
pub struct UnfinishedFits {
    writer: FitsWriter,
    file: Unfinished,
}

impl UnfinishedFits {
    /// Begins the file.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`].
    pub fn begin(path: &Path) -> Result<Self> {
        let mut file = Unfinished::begin_long(path)?;
        let writer = FitsWriter::create(file.path(), path)?;
        file.hold();
        Ok(Self { writer, file })
    }

    /// What writes into it.
    pub fn writer(&mut self) -> &mut FitsWriter {
        &mut self.writer
    }

    /// Where the file lies until it has its name, everything written so far in it.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn flushed(&mut self) -> Result<&Path> {
        self.writer.file.flush().map_err(failed(&self.writer.path))?;
        Ok(self.file.path())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`].
    pub fn complete(self) -> Result<()> {
        let Self { mut writer, file } = self;
        writer.file.flush().map_err(failed(&writer.path))?;
        drop(writer);
        file.complete()
    }
}

impl FitsWriter {
    fn create(path: &Path, called: &Path) -> Result<Self> {
        let file = NewFile::create(path).map_err(failed(called))?;
        Ok(Self { file, path: called.to_path_buf(), names: vec![String::new()] })
    }

    /// Appends an image of 32-bit floats, [n_rows, n_columns], whose rows are to come.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn image_to_fill(&mut self, name: &str, shape: [usize; 2]) -> Result<()> {
        self.file.image::<f32>(&shape, &[]).map_err(failed(&self.path))?;
        self.call(name)
    }

    /// Fills rows of the image called `name` from `first_row` on, [n_rows, n_columns].
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn fill_rows(&mut self, name: &str, first_row: usize, rows: ArrayView2<f32>) -> Result<()> {
        self.go_to(name)?;
        let first = first_row * rows.ncols();
        match rows.as_slice() {
            Some(values) => self.file.pixels(first, values),
            None => self.file.pixels(first, &rows.iter().copied().collect::<Vec<f32>>()),
        }
        .map_err(failed(&self.path))
    }

    /// Where the numbers of the image called `name` begin in the file, in bytes.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn data_start(&mut self, name: &str) -> Result<u64> {
        self.go_to(name)?;
        self.file.data_start().map_err(failed(&self.path))
    }

    /// Fills the columns of a row of the table called `name` that was made with empty columns of vectors from the column at `first` on,
    /// the values of one behind those of another, `width` of each.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn fill_vectors(&mut self, name: &str, first: usize, row: usize, width: usize, values: &[f32]) -> Result<()> {
        self.go_to(name)?;
        let mut columns = values.chunks(width.max(1)).enumerate();
        columns.try_for_each(|(k, values)| self.file.numbers(first + k, row, values)).map_err(failed(&self.path))
    }

    /// Writes a text key into the primary header.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn primary_key(&mut self, key: &str, value: &str, comment: &str) -> Result<()> {
        self.file.go_to(0).map_err(failed(&self.path))?;
        self.append_key(key, value, comment)
    }

    /// Appends a key to the header of the HDU made last (the primary one, where none was made yet). Floating-point
    /// values come back to the last bit. A comment for which a long value leaves no room is left out: half of one misleads.
    ///
    /// # Errors
    /// [`Error::Fits`]; a number that is not finite has no place in a header and is refused.
    pub fn append_key<'a>(&mut self, key: &str, value: impl Into<KeyValue<'a>>, comment: &str) -> Result<()> {
        let beside = |length: usize| if comment.len() <= room_beside(length) { ascii(comment) } else { String::new() };
        match value.into() {
            KeyValue::Text(value) => {
                let value = ascii(value);
                let quoted = value.len() + value.matches('\'').count() + 2;
                self.file.key_text(key, &value, &beside(quoted))
            }
            KeyValue::Integer(value) => self.file.key_i64(key, value, &beside(value.to_string().len())),
            KeyValue::Number(value) if value.is_finite() => self.file.key_f64(key, value, &beside(LONGEST_NUMBER)),
            KeyValue::Number(value) => Err(format!("key {key} is {value}, which FITS headers cannot say")),
        }
        .map_err(failed(&self.path))
    }

    /// Appends a text to the header of the HDU made last, in as many COMMENT cards as it needs.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn comment(&mut self, text: &str) -> Result<()> {
        self.remark(false, text)
    }

    /// Appends a text to the header of the HDU made last, in as many HISTORY cards as it needs.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn history(&mut self, text: &str) -> Result<()> {
        self.remark(true, text)
    }

    fn remark(&mut self, is_history: bool, text: &str) -> Result<()> {
        let mut cards = lines(&ascii(text), CARD_BYTES - NAME_BYTES).into_iter();
        cards.try_for_each(|card| self.file.remark(is_history, &card)).map_err(failed(&self.path))
    }

    /// Appends an image of 32-bit floats, [n_rows, n_columns].
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn image_f32(&mut self, name: &str, values: &[f32], shape: [usize; 2]) -> Result<()> {
        self.image(name, values, &shape)
    }

    /// Appends an image, slowest axis first; a header without data where there are no axes. An empty name writes no
    /// EXTNAME.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn image<T: Element>(&mut self, name: &str, values: &[T], shape: &[usize]) -> Result<()> {
        self.file.image(shape, values).map_err(failed(&self.path))?;
        self.call(name)
    }

    /// Appends a table. An empty name writes no EXTNAME.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn table(&mut self, name: &str, columns: &[Column]) -> Result<()> {
        let n_rows = columns.first().map_or(0, Column::len);
        columns.iter().for_each(|column| self.say_lost_letters(column));
        let layout: Vec<_> = columns.iter().map(|column| (ascii(&column.name), column.form())).collect();
        self.file.table(n_rows, &layout).map_err(failed(&self.path))?;
        self.call(name)?;
        for (index, column) in columns.iter().enumerate() {
            match &column.values {
                ColumnValues::Text(values) | ColumnValues::FixedText(_, values) => {
                    let values: Vec<String> = values.iter().map(|value| ascii(value)).collect();
                    self.file.texts(index, &values)
                }
                ColumnValues::F64(values) | ColumnValues::Vectors(_, values) => self.file.numbers(index, 0, values),
                ColumnValues::F32(values) | ColumnValues::F32Vectors(_, values) => self.file.numbers(index, 0, values),
                ColumnValues::Bytes(_, values) => self.file.numbers(index, 0, values),
                ColumnValues::Logicals(values) => self.file.numbers(index, 0, values),
                ColumnValues::I64(values) => self.file.numbers(index, 0, values),
                ColumnValues::I32(values) | ColumnValues::IntegerVectors(_, values) => {
                    self.file.numbers(index, 0, values)
                }
            }
            .map_err(failed(&self.path))?;
            if let Some(width) = column.width() {
                self.append_key(&format!("TDIM{}", index + 1), format!("({width})").as_str(), "")?;
            }
            // The FITS standard knows no dex; readers warn of units they do not know, so it goes into the comment key.
            let key = if column.unit.contains("dex") { "TCOMM" } else { "TUNIT" };
            if !column.unit.is_empty() {
                self.append_key(&format!("{key}{}", index + 1), &*column.unit, "")?;
            }
        }
        Ok(())
    }

    /// Writes a text key into the header of the HDU called `name`.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn key(&mut self, name: &str, key: &str, value: &str, comment: &str) -> Result<()> {
        self.go_to(name)?;
        self.append_key(key, value, comment)
    }

    /// Appends DATASUM and CHECKSUM to every header: for when all else is written.
    ///
    /// # Errors
    /// [`Error::Fits`].
    pub fn checksums(&mut self) -> Result<()> {
        for hdu in 0..self.names.len() {
            self.file.go_to(hdu).and_then(|()| self.file.checksums()).map_err(failed(&self.path))?;
        }
        Ok(())
    }

    /// Says on the log what a column loses because FITS knows no letters but those of ASCII.
    fn say_lost_letters(&self, column: &Column) {
        let (path, name) = (self.path.display(), &column.name);
        if !column.name.is_ascii() {
            tracing::warn!("{path}: column {name} is called {}, as FITS knows ASCII alone", ascii(name));
        }
        let ColumnValues::Text(values) = &column.values else { return };
        let n = values.iter().filter(|value| !value.is_ascii()).count();
        if n > 0 {
            tracing::warn!(
                "{path}: column {name}: {n} texts have `?` for letters that are not ASCII, as FITS knows no others"
            );
        }
    }

    fn go_to(&mut self, name: &str) -> Result<()> {
        let hdu = self.names.iter().position(|known| known == name);
        let hdu = hdu.ok_or_else(|| Error::format(&self.path, format!("no HDU called {name}")))?;
        self.file.go_to(hdu).map_err(failed(&self.path))
    }

    fn call(&mut self, name: &str) -> Result<()> {
        self.names.push(name.to_string());
        if name.is_empty() { Ok(()) } else { self.append_key("EXTNAME", name, "name of this extension") }
    }
}

/// Bytes that are left for a comment beside a value of so many, and the slash before it. Values end no sooner than a card's
/// thirtieth byte.
fn room_beside(length: usize) -> usize {
    (CARD_BYTES - 3).saturating_sub((NAME_BYTES + 2 + length).max(30))
}

/// A text in lines of at most `width` bytes, broken between words; only a word that is longer is broken itself.
fn lines(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => *line += &format!(" {word}"),
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

/// FITS text is printable ASCII; anything else becomes `?`.
fn ascii(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect()
}

fn failed(path: &Path) -> impl FnOnce(String) -> Error + use<> {
    let path = path.to_path_buf();
    move |err| Error::Fits { path, detail: format!("cannot write the file ({err}); is the disk full?") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::FitsReader;
    use crate::data::value::Value;

    #[test]
    fn every_kind_of_column_key_and_image_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.fits");
        let long = format!("formal: {} (the catalogue's own) & the end", "noise and scatter ".repeat(9));
        let numbers = [154.1551207216066, 4.179, 6e-6, 0.1 + 0.2, -9999.990234375, 1.0 / 3.0, 0.0];
        write_in_place(&path, |fits| {
            for (n, value) in numbers.iter().enumerate() {
                fits.append_key(&format!("NUMBER{n}"), *value, "")?;
            }
            fits.append_key("APTARG1", -2_147_481_592_i64, "a flag with bit 31")?;
            fits.history("HDU1 : mask")?;
            fits.image("", &[0_i64, 1 << 40, 4096, 0], &[2, 2])?;
            fits.image::<f64>("", &[], &[])?;
            fits.table(
                "",
                &[
                    Column::fixed_text("FILE", 6, vec!["abcdefgh".into(), "ab".into()]),
                    Column::f32("TEFF", "K", vec![4500.25, f32::NAN]),
                    Column::i32("FLAG", vec![7, -1]),
                    Column::vectors("ccf", 3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
                    Column::f32_vectors("flux", 2, vec![0.5, f32::NAN, 1.5, 2.5]),
                    Column::bytes("targets", 2, vec![0, 255, 7, 8]),
                    Column::logicals("is_bad", vec![true, false]),
                ],
            )?;
            fits.append_key("LONG", long.as_str(), "longer than a card")?;
            fits.append_key("AND", "ends in &", "")?;
            fits.checksums()
        })
        .unwrap();
        let mut fits = FitsReader::open(&path).unwrap();
        for (n, value) in numbers.iter().enumerate() {
            assert_eq!(fits.key_f64(0, &format!("NUMBER{n}")), Some(*value));
        }
        assert_eq!(fits.key_f64(0, "APTARG1"), Some(-2_147_481_592.0));
        assert_eq!(fits.image_section::<i64>(1, 0..4).unwrap(), [0, 1 << 40, 4096, 0]);
        assert_eq!(fits.image_shape(2).unwrap(), Some(Vec::new()));
        assert_eq!(fits.texts(3, "FILE", 0..2).unwrap(), ["abcdef", "ab"]);
        assert_eq!(fits.numbers(3, "TEFF", 0..1).unwrap(), [4500.25]);
        assert_eq!(fits.integers(3, "FLAG", 0..2).unwrap(), [7, -1]);
        assert_eq!(fits.key_text(3, "TFORM4").as_deref(), Some("3D"));
        assert_eq!(fits.key_text(3, "EXTNAME"), None);
        assert_eq!(fits.row_vector(3, "flux", 1, 9).unwrap(), [1.5, 2.5]);
        assert!(fits.row_vector(3, "flux", 0, 9).unwrap()[1].is_nan());
        assert_eq!(fits.row_vector(3, "targets", 0, 9).unwrap(), [0.0, 255.0]);
        assert_eq!(fits.logicals(3, "is_bad", 0..2).unwrap(), [Some(true), Some(false)]);
        let forms = [5, 6, 7].map(|column| fits.key_text(3, &format!("TFORM{column}")).unwrap());
        assert_eq!(forms, ["2E", "2B", "L"]);
        assert_eq!(fits.key_text(3, "TDIM5").as_deref(), Some("(2)"));
        assert_eq!(fits.key_text(0, "DATASUM").as_deref(), Some("0"));
        assert!((1..4).all(|hdu| fits.has_key(hdu, "CHECKSUM") && fits.has_key(hdu, "DATASUM")));
        // The text goes on in the next cards.
        assert!(fits.has_key(3, "CONTINUE"));
        assert_eq!(fits.key_text(3, "LONG").as_deref(), Some(long.as_str()));
        assert_eq!(fits.key_value(3, "LONG"), Value::text(&long));
        assert_eq!(fits.key_text(3, "AND").as_deref(), Some("ends in &"));
    }

    #[test]
    fn comments_are_whole_or_not_there_and_remarks_break_between_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.fits");
        let remark =
            "Every image has a row for each star, in the order of the table STARS, and a column for each pixel.";
        write(&path, |fits| {
            fits.append_key("HASH", "a".repeat(64).as_str(), "hash of model and spectra")?;
            fits.append_key("SHORT", "a", "x".repeat(47).as_str())?;
            fits.append_key("WIDE", 1, "y".repeat(48).as_str())?;
            fits.append_key("NUMBER", -1.234_567_890_123_456_7e-300, "z".repeat(43).as_str())?;
            fits.comment(remark)
        })
        .unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let cards: Vec<String> =
            bytes.chunks(80).map(|card| String::from_utf8_lossy(card).trim().to_string()).collect();
        let card = |key: &str| cards.iter().find(|card| card.starts_with(key)).unwrap();
        assert!(!card("HASH").contains('/') && !card("WIDE").contains('y'), "{cards:?}");
        assert!(card("SHORT").ends_with(&format!("/ {}", "x".repeat(47))), "{cards:?}");
        assert!(card("NUMBER").ends_with(&format!("/ {}", "z".repeat(43))), "{cards:?}");
        let remarks: Vec<&str> = cards.iter().filter_map(|card| card.strip_prefix("COMMENT ")).collect();
        let told = remarks.iter().position(|line| line.starts_with("Every image")).unwrap();
        assert_eq!(remarks[told..told + 2].join(" "), remark);
    }

    #[test]
    fn text_of_any_length_leaves_the_table_writable() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.fits");
        let ids = ["a".repeat(30_000), "b".repeat(4000)].to_vec();
        write(&path, |fits| fits.table("T", &[Column::text("id", ids.clone())])).unwrap();
        let read = FitsReader::open(&path).unwrap().texts(1, "id", 0..2).unwrap();
        assert_eq!(read, ["a".repeat(4096), ids[1].clone()]);
    }
}
