//! Tables of text: comma, tab, semicolon or blank separated, with a line of column names, which may stand behind `#`; ECSV by
//! its own header.

use std::borrow::Cow;
use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};

use super::cells::Cells;
use super::csv_text::Layout;
use super::encoding::{OF_LATIN1, no_text};
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
    layout: Layout,
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
        if let Some(what) = no_text(start) {
            let kinds = "none of FITS, Parquet and VOTable either; a table is one of these, or text (CSV, tabs, ECSV)";
            return Err(malformed(if what.contains("iconv") { what.into() } else { format!("{what}, {kinds}") }));
        }
        let start = String::from_utf8_lossy(start);
        let mut table = Self {
            path: path.to_path_buf(),
            layout: Layout::of(&start),
            names: Vec::new(),
            n_rows: 0,
            others: Vec::new(),
            is_small: false,
        };
        let mut reader = table.reader()?;
        let header = match &table.layout.names {
            Some(names) => names.iter().map(String::as_str).collect(),
            None => reader.headers().map_err(|err| csv_error(path, err))?.clone(),
        };
        table.names = header.iter().map(str::to_string).collect();
        let first = table.names.first().map(String::as_str).unwrap_or_default();
        if start.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) {
            let remedy = "ask for CSV (of SkyServer: `format=csv`), or for FITS, VOTable or Parquet";
            return Err(malformed(format!("this is JSON, not a table: {:.200}; {remedy}", header.as_slice())));
        }
        if first.starts_with('<') || header.as_slice().to_lowercase().contains("error_message") {
            return Err(malformed(format!("this is a server's error text, not a table: {:.200}", header.as_slice())));
        }
        if table.names.iter().all(|name| name.is_empty()) {
            return Err(malformed("empty; a table needs a header line with column names".into()));
        }
        if table.names.len() == 1 && first.contains(' ') && !table.layout.joins_blanks {
            tracing::warn!(
                "{}: one column, `{first:.80}`; if blanks separate several, every row needs as many values as there are names, or commas between them",
                path.display()
            );
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
        let mut are_texts = vec![true; wanted.len()];
        let mut reader = self.reader()?;
        let mut record = csv::ByteRecord::new();
        while reader.read_byte_record(&mut record).map_err(|err| csv_error(&self.path, err))? {
            for ((column, is_text), index) in columns.iter_mut().zip(&mut are_texts).zip(wanted) {
                let cell = String::from_utf8_lossy(record.get(*index).unwrap_or_default());
                *is_text &= matches!(cell, Cow::Borrowed(_));
                column.push(cell.into_owned());
            }
        }
        if columns.iter().any(|column| column.len() != self.n_rows) {
            return Err(Error::format(&self.path, "it changed while it was read; read it again"));
        }
        let kind = |((texts, is_text), index): ((Vec<String>, bool), &usize)| match &self.others[*index] {
            Some(what) => Cells::Others(what.clone()),
            None if !is_text => Cells::Others(format!("text that is not UTF-8 ({OF_LATIN1})")),
            None => Cells::Texts(texts),
        };
        Ok(columns.into_iter().zip(are_texts).zip(wanted).map(kind).collect())
    }

    fn reader(&self) -> Result<csv::Reader<Lines>> {
        let mut builder = csv::ReaderBuilder::new();
        builder.comment(Some(b'#')).trim(csv::Trim::All).delimiter(self.layout.delimiter);
        builder.has_headers(self.layout.names.is_none());
        Ok(builder.from_reader(Lines::new(packed::open(&self.path)?, self.layout.joins_blanks)))
    }
}

/// A file of lines that end: one that does not would be held in memory as a whole.
struct Lines {
    file: Box<dyn BufRead>,
    /// Bytes since the last end of a line.
    length: usize,
    /// Makes one of blanks, where they separate values.
    blanks: Option<Blanks>,
    /// What it made, to be read.
    joined: io::Cursor<Vec<u8>>,
}

impl Lines {
    fn new(file: Box<dyn BufRead>, joins_blanks: bool) -> Self {
        Self { file, length: 0, blanks: joins_blanks.then(Blanks::default), joined: io::Cursor::default() }
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(blanks) = &mut self.blanks else {
            let n = self.file.read(buffer)?;
            expect_end(&mut self.length, &buffer[..n])?;
            return Ok(n);
        };
        loop {
            let n = self.joined.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            // Nothing but blanks is not the end of the file.
            let bytes = self.file.fill_buf()?;
            if bytes.is_empty() {
                return Ok(0);
            }
            expect_end(&mut self.length, bytes)?;
            self.joined = io::Cursor::new(blanks.join(bytes));
            let n = bytes.len();
            self.file.consume(n);
        }
    }
}

/// Counts on the bytes since the last end of a line.
fn expect_end(length: &mut usize, bytes: &[u8]) -> io::Result<()> {
    *length = match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => bytes.len() - end - 1,
        None => *length + bytes.len(),
    };
    match *length > LONGEST_LINE {
        true => Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than 16 MB, as no table has them")),
        false => Ok(()),
    }
}

/// Where in a line of words a reader stands.
#[derive(Debug, Default)]
struct Blanks {
    /// Blanks were passed since the last word of the line.
    is_gap: bool,
    /// The line has begun.
    is_begun: bool,
    /// Quotes are open.
    is_quoted: bool,
    /// The line is a remark.
    is_remark: bool,
}

impl Blanks {
    /// These bytes with one blank between words, and none before and behind a line.
    fn join(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut joined = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            match byte {
                b'\n' | b'\r' if !self.is_quoted => *self = Self::default(),
                b' ' | b'\t' if !self.is_quoted => {
                    self.is_gap = self.is_begun;
                    continue;
                }
                b'"' if !self.is_remark => {
                    self.is_quoted = !self.is_quoted && (self.is_gap || !self.is_begun);
                    self.is_begun = true;
                }
                _ => {
                    self.is_remark |= *byte == b'#' && !self.is_begun;
                    self.is_begun = true;
                }
            }
            joined.extend(std::mem::take(&mut self.is_gap).then_some(b' '));
            joined.push(*byte);
        }
        joined
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
        csv::ErrorKind::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
            Error::format(path, source.to_string())
        }
        csv::ErrorKind::Io(source) => Error::Io { path: path.to_path_buf(), action: "read", source },
        csv::ErrorKind::Utf8 { .. } => {
            Error::format(path, format!("names of columns that are not UTF-8 ({OF_LATIN1})"))
        }
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
        let mut lines = Lines::new(Box::new(io::BufReader::new(endless)), false);
        let err = io::copy(&mut lines, &mut io::sink()).unwrap_err();
        assert!(err.to_string().contains("16 MB"), "{err}");
        let ends = b"aaaaaaa\n".repeat(4 << 20);
        let mut lines = Lines::new(Box::new(io::Cursor::new(ends)), false);
        assert_eq!(io::copy(&mut lines, &mut io::sink()).unwrap(), 32 << 20);
    }

    #[test]
    fn blanks_become_one_between_words_and_none_around_them() {
        let text = "# \"x   y\n  id   \"a  b\" \t c\"d \r\n\n  \"e\n f\"   2\n g";
        let expected = "# \"x y\nid \"a  b\" c\"d\r\n\n\"e\n f\" 2\ng";
        for size in [1, 2, 3, 7, 100] {
            let file = io::BufReader::with_capacity(size, io::Cursor::new(text.as_bytes().to_vec()));
            let mut joined = String::new();
            Lines::new(Box::new(file), true).read_to_string(&mut joined).unwrap();
            assert_eq!(joined, expected, "{size}");
        }
    }

    #[test]
    fn names_behind_a_hash_are_names_and_blanks_separate() {
        for text in [
            "# id teff\n\"a star\"  4500\nb 4600\n",
            "id    teff\n\"a star\" 4500\nb       4600\n",
            "#id,teff\na star,4500\nb,4600",
        ] {
            let table = open(text).unwrap();
            assert_eq!((table.names.as_slice(), table.n_rows), (&["id", "teff"].map(String::from)[..], 2), "{text}");
            let cells = table.read(&[0, 1]).unwrap();
            assert_eq!(cells[0], Cells::Texts(vec!["a star".into(), "b".into()]), "{text}");
            assert_eq!(cells[1].numbers(0..2).unwrap(), [4500.0, 4600.0]);
            std::fs::remove_file(table.path).unwrap();
        }
    }

    #[test]
    fn text_that_is_not_utf_8_is_refused_where_it_is_asked_for() {
        let open = |bytes: &[u8]| {
            let path = tempfile::NamedTempFile::new().unwrap().into_temp_path().keep().unwrap();
            std::fs::write(&path, bytes).unwrap();
            TextTable::open(&path, bytes)
        };
        let table = open(b"id,teff,observer\na,4500,Gr\xe4f\n").unwrap();
        let cells = table.read(&[1, 2]).unwrap();
        assert_eq!(cells[0].numbers(0..1).unwrap(), [4500.0]);
        assert!(matches!(&cells[1], Cells::Others(what) if what.contains("iconv -f latin1")), "{cells:?}");
        let said = open(b"id,\xe4\na,1\n").unwrap_err().to_string();
        assert!(said.contains("iconv -f latin1") && !said.contains("well-formed"), "{said}");
        let said = open(b"\xff\xfei\0d\0").unwrap_err().to_string();
        assert!(said.contains("iconv -f utf-16"), "{said}");
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
