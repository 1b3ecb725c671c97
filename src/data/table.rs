//! Any table of stars, FITS or CSV, read in row blocks: only the columns asked for, only one block in memory.

use std::io::{Read, Seek};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::csv_text::{delimiter, unshielded};
use super::files;
use super::fits::{FitsReader, find_column};
use super::sentinels::Remarks;
use super::value::Value;
use crate::error::{Error, Result};

/// Rows per block: enough to amortise cfitsio's calls, small enough that a 4 GB table needs a few MB.
const BLOCK_ROWS: usize = 8192;

/// Bytes in which the header line is looked for.
const HEADER_BYTES: u64 = 1 << 20;

/// Values at or below this are "missing" in every SDSS release (-9999, -9999.99, ...).
const MISSING_BELOW: f64 = -9990.0;

/// A table opened for reading.
pub struct Table {
    path: PathBuf,
    names: Vec<String>,
    n_rows: usize,
    source: Source,
    remarks: Remarks,
}

enum Source {
    Fits { reader: FitsReader, hdu: usize },
    Csv { columns: Vec<Vec<String>> },
}

impl Table {
    /// Opens a table: FITS by its first table HDU, anything else as CSV with a header line.
    ///
    /// Values may be separated by commas, tabs or semicolons, in ECSV also by blanks. Lines that start with `#` are
    /// skipped, as SkyServer puts `#Table1` first.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`], or [`Error::Format`] for an answer that is an error text instead of a table.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if [".fits", ".fits.gz", ".fit"].iter().any(|ending| name.ends_with(ending)) {
            Self::open_fits(path)
        } else {
            Self::open_csv(path)
        }
    }

    fn open_fits(path: &Path) -> Result<Self> {
        let mut reader = FitsReader::open(path)?;
        let hdu = reader.first_table()?;
        let (n_rows, names) = reader.table_layout(hdu)?;
        Ok(Self {
            path: path.to_path_buf(),
            names,
            n_rows,
            source: Source::Fits { reader, hdu },
            remarks: Remarks::default(),
        })
    }

    fn open_csv(path: &Path) -> Result<Self> {
        let malformed = |detail: String| Error::format(path, detail);
        let mut file = files::open(path)?;
        let mut start = Vec::new();
        (&mut file).take(HEADER_BYTES).read_to_end(&mut start).map_err(Error::io(path, "read"))?;
        file.rewind().map_err(Error::io(path, "read"))?;
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .delimiter(delimiter(&String::from_utf8_lossy(&start)))
            .from_reader(file);
        let header = reader.headers().map_err(|err| csv_error(path, err))?.clone();
        let names: Vec<String> = header.iter().map(str::to_string).collect();
        let first = names.first().map(String::as_str).unwrap_or_default();
        if first.starts_with(['<', '{', '[']) || header.as_slice().to_lowercase().contains("error_message") {
            return Err(malformed(format!("this is a server's error text, not a table: {:.200}", header.as_slice())));
        }
        if names.iter().all(|name| name.is_empty()) {
            return Err(malformed("empty; a table needs a header line with column names".into()));
        }
        let mut columns = vec![Vec::new(); names.len()];
        for record in reader.records() {
            let record = record.map_err(|err| csv_error(path, err))?;
            for (column, value) in columns.iter_mut().zip(record.iter()) {
                column.push(value.to_string());
            }
        }
        let n_rows = columns.first().map_or(0, Vec::len);
        Ok(Self {
            path: path.to_path_buf(),
            names,
            n_rows,
            source: Source::Csv { columns },
            remarks: Remarks::default(),
        })
    }

    /// The table's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Column names as spelt in the file.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether the table has a column of this name, in any case.
    pub fn has(&self, column: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(column))
    }

    /// Row ranges that cover the table block by block.
    pub fn blocks(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let n_rows = self.n_rows;
        (0..n_rows).step_by(BLOCK_ROWS).map(move |start| start..(start + BLOCK_ROWS).min(n_rows))
    }

    /// A column of numbers; NaN where the value is empty, `null`, not finite or -9999.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Format`] for text that is no number, with its row.
    pub fn numbers(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<f64>> {
        let name = find_column(&self.path, &self.names, column, remedy)?.to_string();
        let mut values = match &mut self.source {
            Source::Fits { reader, hdu } => reader.numbers(*hdu, &name, rows)?,
            Source::Csv { columns } => {
                let index = self.names.iter().position(|known| *known == name).unwrap_or(0);
                parse_numbers(&self.path, &name, &columns[index][rows.clone()], rows.start)?
            }
        };
        for value in &mut values {
            if !value.is_finite() || *value <= MISSING_BELOW {
                *value = f64::NAN;
            }
        }
        Ok(values)
    }

    /// [`Table::numbers`] of a label: numbers written in nines alone, such as -999, are missing too where they lie far from
    /// the others. [`Table::say_remarks`] says how many.
    ///
    /// # Errors
    /// As [`Table::numbers`].
    pub fn labels(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<f64>> {
        let mut values = self.numbers(column, rows, remedy)?;
        self.remarks.strike(column, &mut values);
        Ok(values)
    }

    /// [`Table::texts`] of identifiers, out of the `b'...'` that Python may have written around them.
    ///
    /// # Errors
    /// As [`Table::texts`].
    pub fn identifiers(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<String>> {
        let mut texts = self.texts(column, rows, remedy)?;
        self.remarks.strip_bytes(column, &mut texts);
        Ok(texts)
    }

    /// Says on the log, once, what was read otherwise than it is written.
    pub fn say_remarks(&mut self) {
        self.remarks.say(&self.path);
    }

    /// A column of integer flags; 0 where the value is empty.
    ///
    /// # Errors
    /// As [`Table::numbers`].
    pub fn flags(&mut self, column: &str, rows: Range<usize>) -> Result<Vec<i64>> {
        let remedy = "remove the cut that needs it";
        let name = find_column(&self.path, &self.names, column, remedy)?.to_string();
        match &mut self.source {
            Source::Fits { reader, hdu } => reader.integers(*hdu, &name, rows),
            Source::Csv { columns } => {
                let index = self.names.iter().position(|known| *known == name).unwrap_or(0);
                let texts = &columns[index][rows.clone()];
                let number = |(row, text): (usize, &String)| match text.as_str() {
                    "" | "null" | "NULL" | "--" => Ok(0),
                    text => whole_number(text).ok_or_else(|| {
                        let place = format!("column {name}, row {}", rows.start + row + 1);
                        Error::format(&self.path, format!("{place}: `{text:.40}` is no whole number, as flags are"))
                    }),
                };
                texts.iter().enumerate().map(number).collect()
            }
        }
    }

    /// A column of text; numbers in a FITS column are refused.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Format`] if it holds numbers.
    pub fn texts(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<String>> {
        let name = find_column(&self.path, &self.names, column, remedy)?.to_string();
        match &mut self.source {
            Source::Fits { reader, hdu } => reader.texts(*hdu, &name, rows),
            Source::Csv { columns } => {
                let index = self.names.iter().position(|known| *known == name).unwrap_or(0);
                Ok(columns[index][rows].iter().map(|cell| unshielded(cell).to_string()).collect())
            }
        }
    }

    /// A column of whatever type.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Format`] for a column of vectors.
    pub fn values(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<Value>> {
        let name = find_column(&self.path, &self.names, column, remedy)?.to_string();
        match &mut self.source {
            Source::Fits { reader, hdu } => reader.values(*hdu, &name, rows),
            Source::Csv { columns } => {
                let index = self.names.iter().position(|known| *known == name).unwrap_or(0);
                let texts: Vec<String> = columns[index][rows].iter().map(|cell| unshielded(cell).to_string()).collect();
                Ok(Value::of_cells(&texts))
            }
        }
    }
}

fn parse_numbers(path: &Path, column: &str, texts: &[String], first_row: usize) -> Result<Vec<f64>> {
    texts
        .iter()
        .enumerate()
        .map(|(row, text)| match text.as_str() {
            "" | "null" | "NULL" | "--" => Ok(f64::NAN),
            text => text.parse().map_err(|_| not_a_number(path, column, text, first_row + row)),
        })
        .collect()
}

/// Flags as tables write them: integers, also as floating-point numbers (512.0); 0 where not a number.
fn whole_number(text: &str) -> Option<i64> {
    let as_float = || match text.parse::<f64>().ok()? {
        value if value.is_nan() => Some(0),
        value => (value.fract() == 0.0 && value.abs() < 9e15).then_some(value as i64),
    };
    text.parse().ok().or_else(as_float)
}

fn not_a_number(path: &Path, column: &str, text: &str, row: usize) -> Error {
    Error::format(path, format!("column {column}, row {}: `{text:.40}` is not a number", row + 1))
}

fn csv_error(path: &Path, err: csv::Error) -> Error {
    let detail = err.to_string();
    match err.into_kind() {
        csv::ErrorKind::Io(source) => Error::Io { path: path.to_path_buf(), action: "read", source },
        _ => Error::format(path, format!("not a well-formed CSV table: {detail}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Table> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer.csv");
        std::fs::write(&path, text).unwrap();
        Table::open(&path)
    }

    #[test]
    fn a_skyserver_answer_reads_with_every_kind_of_missing_value() {
        let mut table =
            csv("#Table1\napogee_id,teff,starflag\n2M0,4500.5,3\n2M1,-9999.99,\n2M2,null,0\n2M3,,8\n").unwrap();
        assert_eq!(table.n_rows(), 4);
        let teff = table.numbers("TEFF", 0..4, "").unwrap();
        assert_eq!(teff[0], 4500.5);
        assert!(teff[1..].iter().all(|value| value.is_nan()));
        assert_eq!(table.flags("STARFLAG", 0..4).unwrap(), [3, 0, 0, 8]);
        assert_eq!(table.texts("apogee_id", 2..4, "").unwrap(), ["2M2", "2M3"]);
    }

    #[test]
    fn tabs_semicolons_and_ecsv_read_as_commas_do() {
        let plain = "id,teff\na,4500\nb,4600\n";
        let ecsv = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: string}\nid teff\na 4500\nb 4600\n";
        for text in [plain.to_string(), plain.replace(',', "\t"), plain.replace(',', "; "), ecsv.to_string()] {
            let mut table = csv(&text).unwrap();
            assert_eq!(table.names(), ["id", "teff"], "{text}");
            assert_eq!(table.numbers("teff", 0..2, "").unwrap(), [4500.0, 4600.0]);
        }
    }

    #[test]
    fn flags_may_be_written_as_floating_point_numbers() {
        let mut table = csv("id,f,g\na,512.0,0.5\nb,nan,1\nc,8,1\n").unwrap();
        assert_eq!(table.flags("f", 0..3).unwrap(), [512, 0, 8]);
        let said = table.flags("g", 0..3).unwrap_err().to_string();
        assert!(said.contains("row 1: `0.5` is no whole number"), "{said}");
    }

    #[test]
    fn identifiers_shed_what_csv_and_python_put_around_them() {
        let mut table = csv("id\n'=1+1\nb'2M00'\n-5\n").unwrap();
        assert_eq!(table.identifiers("id", 0..3, "").unwrap(), ["=1+1", "2M00", "-5"]);
    }

    #[test]
    fn error_text_with_status_200_is_recognised() {
        let html = csv("<html><body>busy</body></html>\n").err().unwrap().to_string();
        assert!(html.contains("error text"), "{html}");
        let json = csv("error_message\nIncorrect syntax near 'file'\n").err().unwrap().to_string();
        assert!(json.contains("error text"), "{json}");
    }

    #[test]
    fn ragged_rows_and_words_are_errors_with_their_place() {
        let ragged = csv("a,b\n1,2\n3\n").err().unwrap().to_string();
        assert!(ragged.contains("not a well-formed CSV"), "{ragged}");
        let word = csv("teff\n4500\nhot\n").unwrap().numbers("teff", 0..2, "").unwrap_err().to_string();
        assert!(word.contains("row 2: `hot` is not a number"), "{word}");
    }
}
