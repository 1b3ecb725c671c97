//! Tables of text: comma, tab, semicolon or blank separated, with a line of column names; ECSV by its own header.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::cells::Cells;
use super::csv_text::delimiter;
use super::packed;
use crate::error::{Error, Result};

/// Bytes in which the header is looked for.
pub(super) const HEADER_BYTES: u64 = 1 << 20;
/// A table of no more bytes than this is kept whole once it is read.
const SMALL_BYTES: u64 = 64 << 20;

/// Bytes of the longest line.
const LONGEST_LINE: usize = 16 << 20;

/// A table of text, counted but not kept.
#[derive(Debug)]
pub(super) struct TextTable {
    path: PathBuf,
    delimiter: u8,
    /// Column names.
    pub names: Vec<String>,
    /// Number of rows.
    pub n_rows: usize,
    /// Columns that hold no single values by the table's own header, and what they hold.
    others: Vec<Option<String>>,
    /// Whether it is short enough to be kept whole.
    pub is_small: bool,
}

impl TextTable {
    /// Reads the names and counts the rows of a table that begins like this.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for an answer that is an error text instead of a table, and for a row that is shorter or
    /// longer than the header.
    pub fn open(path: &Path, start: &[u8]) -> Result<Self> {
        let malformed = |detail: String| Error::format(path, detail);
        if start.iter().take(4096).any(|byte| *byte == 0) {
            let detail =
                "binary, and none of FITS, Parquet and VOTable; a table is one of these, or text (CSV, tabs, ECSV)";
            return Err(malformed(detail.into()));
        }
        let start = String::from_utf8_lossy(start);
        let mut table = Self {
            path: path.to_path_buf(),
            delimiter: delimiter(&start),
            names: Vec::new(),
            n_rows: 0,
            others: Vec::new(),
            is_small: false,
        };
        let mut reader = table.reader()?;
        let header = reader.headers().map_err(|err| csv_error(path, err))?.clone();
        table.names = header.iter().map(str::to_string).collect();
        let first = table.names.first().map(String::as_str).unwrap_or_default();
        if first.starts_with(['<', '{', '[']) || header.as_slice().to_lowercase().contains("error_message") {
            return Err(malformed(format!("this is a server's error text, not a table: {:.200}", header.as_slice())));
        }
        if table.names.iter().all(|name| name.is_empty()) {
            return Err(malformed("empty; a table needs a header line with column names".into()));
        }
        table.others = described(&start).unwrap_or_else(|| vec![None; table.names.len()]);
        if table.others.len() != table.names.len() {
            let detail = format!(
                "the ECSV header describes {} columns, and its line of names has {}; mend the header, or remove its lines",
                table.others.len(),
                table.names.len()
            );
            return Err(malformed(detail));
        }
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|err| csv_error(path, err))? {
            table.n_rows += 1;
        }
        table.is_small = reader.position().byte() <= SMALL_BYTES;
        Ok(table)
    }

    /// Reads columns, by their positions.
    ///
    /// # Errors
    /// As [`TextTable::open`].
    pub fn read(&self, wanted: &[usize]) -> Result<Vec<Cells>> {
        let mut columns = vec![Vec::with_capacity(self.n_rows); wanted.len()];
        let mut reader = self.reader()?;
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|err| csv_error(&self.path, err))? {
            for (column, index) in columns.iter_mut().zip(wanted) {
                column.push(record.get(*index).unwrap_or_default().to_string());
            }
        }
        if columns.iter().any(|column| column.len() != self.n_rows) {
            return Err(Error::format(&self.path, "it changed while it was read; read it again"));
        }
        let kind = |(texts, index): (Vec<String>, &usize)| match &self.others[*index] {
            Some(what) => Cells::Others(what.clone()),
            None => Cells::Texts(texts),
        };
        Ok(columns.into_iter().zip(wanted).map(kind).collect())
    }

    fn reader(&self) -> Result<csv::Reader<Lines>> {
        let mut builder = csv::ReaderBuilder::new();
        builder.comment(Some(b'#')).trim(csv::Trim::All).delimiter(self.delimiter);
        Ok(builder.from_reader(Lines { file: packed::open(&self.path)?, length: 0 }))
    }
}

/// A file of lines that end: one that does not would be held in memory as a whole.
struct Lines {
    file: Box<dyn BufRead>,
    /// Bytes since the last end of a line.
    length: usize,
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.length = match buffer[..n].iter().rposition(|byte| *byte == b'\n') {
            Some(end) => n - end - 1,
            None => self.length + n,
        };
        match self.length > LONGEST_LINE {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than 16 MB, as no table has them")),
            false => Ok(n),
        }
    }
}

/// What an ECSV header says of each column: `None` for one of single values, or else what it holds. `None` where there is no
/// such header.
///
/// The header is YAML, of which only the list `datatype` matters (APE 6, `https://github.com/astropy/astropy-APEs`).
fn described(start: &str) -> Option<Vec<Option<String>>> {
    let start = start.trim_start_matches('\u{feff}');
    if !start.starts_with("# %ECSV") {
        return None;
    }
    let lines = start.lines().take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    let list = lines.map(unquoted).skip_while(|line| !line.trim().starts_with("datatype:")).skip(1);
    let mut columns: Vec<String> = Vec::new();
    // The list ends where another key stands at the left.
    for line in list.take_while(|line| line.starts_with("  ") || line.trim_start().starts_with('-')) {
        match (line.trim_start().strip_prefix('-'), columns.last_mut()) {
            (Some(line), _) => columns.push(line.to_string()),
            (None, Some(column)) => *column += &line,
            (None, None) => {}
        }
    }
    let what = |column: &String| {
        let after = column.split_once("datatype:")?.1.trim_start();
        let datatype: String = after.chars().take_while(|c| c.is_alphanumeric()).collect();
        match datatype.as_str() {
            _ if column.contains("subtype:") => Some("lists or objects".to_string()),
            complex if complex.starts_with("complex") => Some("complex numbers".to_string()),
            _ => None,
        }
    };
    (!columns.is_empty()).then(|| columns.iter().map(what).collect())
}

/// A line of YAML without what stands in quotes.
fn unquoted(line: &str) -> String {
    let (mut kept, mut open) = (String::new(), None);
    for letter in line.chars() {
        match open {
            None if letter == '"' || letter == '\'' => open = Some(letter),
            None => kept.push(letter),
            Some(quote) if letter == quote => open = None,
            Some(_) => {}
        }
    }
    kept
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

    fn open(text: &str) -> Result<TextTable> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut table = TextTable::open(file.path(), text.as_bytes())?;
        // Kept until the table is read: a file that is gone has no columns.
        table.path = file.into_temp_path().keep().unwrap();
        Ok(table)
    }

    const ECSV: &str = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: string, description: 'a, subtype: b'}\n\
                        # - {name: teff, unit: K, datatype: float64}\n# - name: spectrum\n#   datatype: string\n\
                        #   subtype: float32[2]\n# meta: !!omap\n# - {datatype: {a: b}}\n# schema: astropy-2.0\n\
                        id teff spectrum\n\"a star\" 4500 [1,2]\n\"\" \"\" [1,2]\n";

    #[test]
    fn a_line_without_an_end_is_refused() {
        let endless = io::repeat(b'a').take(64 << 20);
        let mut lines = Lines { file: Box::new(io::BufReader::new(endless)), length: 0 };
        let err = io::copy(&mut lines, &mut io::sink()).unwrap_err();
        assert!(err.to_string().contains("16 MB"), "{err}");
        let ends = b"aaaaaaa\n".repeat(4 << 20);
        let mut lines = Lines { file: Box::new(io::Cursor::new(ends)), length: 0 };
        assert_eq!(io::copy(&mut lines, &mut io::sink()).unwrap(), 32 << 20);
    }

    #[test]
    fn an_ecsv_header_tells_delimiter_and_columns_that_hold_no_single_values() {
        let table = open(ECSV).unwrap();
        assert_eq!((table.names.as_slice(), table.n_rows), (&["id", "teff", "spectrum"].map(String::from)[..], 2));
        let cells = table.read(&[2, 0, 1]).unwrap();
        assert_eq!(cells[0], Cells::Others("lists or objects".into()));
        assert_eq!(cells[1], Cells::Texts(vec!["a star".into(), String::new()]));
        assert!(cells[2].numbers(0..2).unwrap()[1].is_nan());
        std::fs::remove_file(table.path).unwrap();
    }

    #[test]
    fn an_ecsv_header_that_describes_other_columns_is_refused() {
        let said = open(&ECSV.replace("# - {name: teff, unit: K, datatype: float64}\n", "")).unwrap_err().to_string();
        assert!(said.contains("describes 2 columns") && said.contains("has 3"), "{said}");
    }

    #[test]
    fn what_is_no_text_and_rows_of_another_length_are_refused() {
        let said = open("id\u{0}teff\n").unwrap_err().to_string();
        assert!(said.contains("binary") && said.contains("Parquet"), "{said}");
        let said = open("id,teff\na,1\nb\n").unwrap_err().to_string();
        assert!(said.contains("not a well-formed CSV table"), "{said}");
    }
}
