//! VOTables, as the virtual observatory's services answer: TABLEDATA, BINARY and BINARY2, read by events, not kept as a tree.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use base64::Engine;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use quick_xml::{XmlVersion, escape};

use super::cells::Cells;
use super::keyed_path::position;
use super::packed;
use super::votable_field::{Field, read_rows};
use crate::error::{Error, Result};

/// A table of no more bytes than this is kept whole once it is read.
const SMALL_BYTES: u64 = 64 << 20;

/// Whether a file that begins like this is a VOTable.
pub(super) fn begins(start: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&start[..start.len().min(1 << 16)]);
    let start = start.trim_start_matches('\u{feff}').trim_start();
    start.starts_with('<') && ["<VOTABLE", ":VOTABLE"].iter().any(|root| start.contains(root))
}

/// A table of a VOTable, whose columns are read when they are asked for.
#[derive(Debug)]
pub(super) struct VoTable {
    path: PathBuf,
    /// Which of the file's tables, from 0.
    index: usize,
    fields: Vec<Field>,
    /// Number of rows.
    pub n_rows: usize,
    /// Whether it is short enough to be kept whole.
    pub is_small: bool,
}

impl VoTable {
    /// Reads the fields of the table of this name or number, counted from 1, or else of the first that has rows, and counts its
    /// rows.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a file that is not well-formed or ends early, holds less than it claims, or says
    /// that the query failed.
    pub fn open(path: &Path, key: Option<&str>) -> Result<Self> {
        let mut scan = Scan::new(path, None)?;
        scan.run()?;
        let tables = scan.tables;
        let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
        let filled: Vec<usize> = (0..tables.len()).filter(|index| tables[*index].n_rows > 0).collect();
        let index = match key {
            Some(key) => position(&names, key, 1)
                .ok_or_else(|| Error::format(path, format!("no table [{key}] (it has {})", names.join(", "))))?,
            None => filled.first().copied().unwrap_or(0),
        };
        if key.is_none() && filled.len() > 1 {
            let path = path.display();
            tracing::info!(
                "{path}: table {} is read, {} rows; {}; {path}[NAME] or [NUMBER] picks one",
                names[index],
                tables[index].n_rows,
                match filled.len() - 1 {
                    1 => "1 more table has some".to_string(),
                    n => format!("{n} more tables have some"),
                }
            );
        }
        let Some(table) = tables.into_iter().nth(index) else {
            return Err(Error::format(path, "a VOTable without a table; is it the answer to another question?"));
        };
        let is_small = path.metadata().is_ok_and(|metadata| metadata.len() <= SMALL_BYTES);
        Ok(Self { path: path.to_path_buf(), index, fields: table.fields, n_rows: table.n_rows, is_small })
    }

    /// Column names.
    pub fn names(&self) -> Vec<String> {
        self.fields.iter().map(|field| field.name.clone()).collect()
    }

    /// Reads columns, by their positions.
    ///
    /// # Errors
    /// As [`VoTable::open`]; [`Error::Format`] for a cell that is not of its field's type.
    pub fn read(&self, wanted: &[usize]) -> Result<Vec<Cells>> {
        let mut scan = Scan::new(&self.path, Some((self.index, wanted)))?;
        scan.run()?;
        match scan.tables.into_iter().nth(self.index) {
            Some(table) if table.n_rows == self.n_rows && table.fields == self.fields => Ok(table.cells),
            _ => Err(Error::format(&self.path, "it changed while it was read; read it again")),
        }
    }
}

/// A table as far as it is scanned.
#[derive(Debug, Default)]
struct Scanned {
    name: String,
    fields: Vec<Field>,
    /// Rows that it claims.
    claimed: Option<usize>,
    n_rows: usize,
    cells: Vec<Cells>,
}

/// A way through a file.
struct Scan<'a> {
    path: &'a Path,
    reader: Reader<Box<dyn BufRead>>,
    /// The table whose columns are wanted, and which.
    wanted: Option<(usize, &'a [usize])>,
    tables: Vec<Scanned>,
    /// Elements that are open, the innermost last.
    open: Vec<String>,
    /// Cells of the current row so far.
    n_cells: usize,
    /// What stands in the innermost element, where it matters.
    text: String,
    /// Whether nulls are marked; `None` outside of binary data.
    marks_nulls: Option<bool>,
    has_failed: bool,
}

impl<'a> Scan<'a> {
    fn new(path: &'a Path, wanted: Option<(usize, &'a [usize])>) -> Result<Self> {
        let mut reader = Reader::from_reader(packed::open(path)?);
        reader.config_mut().expand_empty_elements = true;
        Ok(Self {
            path,
            reader,
            wanted,
            tables: Vec::new(),
            open: Vec::new(),
            n_cells: 0,
            text: String::new(),
            marks_nulls: None,
            has_failed: false,
        })
    }

    fn refused(&self, detail: impl std::fmt::Display) -> Error {
        let at = self.reader.buffer_position();
        Error::format(self.path, format!("{detail} (at byte {at} of the VOTable); get the file again"))
    }

    fn unread(&self, err: &quick_xml::Error) -> Error {
        match err {
            quick_xml::Error::Io(source) if source.kind() == std::io::ErrorKind::InvalidData => {
                Error::format(self.path, source.to_string())
            }
            err => self.refused(format!("not well-formed: {err}")),
        }
    }

    /// Goes to the end of the table that is wanted, or of the file.
    fn run(&mut self) -> Result<()> {
        let mut buffer = Vec::new();
        let mut is_whole = false;
        loop {
            buffer.clear();
            let event = self.reader.read_event_into(&mut buffer);
            match event.map_err(|err| self.unread(&err))? {
                Event::Start(element) => self.begin(&element)?,
                Event::End(element) => {
                    let name = element.local_name().into_inner().to_string();
                    self.end(&name)?;
                    is_whole |= name == "VOTABLE";
                    if name == "TABLE" && self.wanted.is_some_and(|(index, _)| self.tables.len() == index + 1) {
                        return Ok(());
                    }
                }
                Event::Text(text) if self.is_kept() => self.text += &text.xml10_content(),
                Event::CData(text) if self.is_kept() => self.text += &text.xml10_content(),
                Event::GeneralRef(entity) if self.is_kept() => {
                    let letter = entity.resolve_char_ref().map_err(|err| self.refused(err))?;
                    match (letter, escape::resolve_predefined_entity(&entity)) {
                        (Some(letter), _) => self.text.push(letter),
                        (None, Some(text)) => self.text += text,
                        (None, None) => {
                            return Err(self.refused(format!("the entity &{};, which is not known", &*entity)));
                        }
                    }
                }
                Event::Eof if is_whole => return Ok(()),
                Event::Eof => return Err(self.refused("it ends too early")),
                _ => {}
            }
        }
    }

    /// Whether the text of the innermost element matters.
    fn is_kept(&self) -> bool {
        match self.open.last().map(String::as_str) {
            Some("TD") => self.columns().any(|column| column == self.n_cells),
            Some("STREAM") => true,
            Some("INFO") => self.has_failed,
            _ => false,
        }
    }

    /// The columns of the current table that are wanted.
    fn columns(&self) -> impl Iterator<Item = usize> + use<'a> {
        let current = self.tables.len().checked_sub(1);
        let wanted = self.wanted.filter(|(index, _)| current == Some(*index)).map_or(&[][..], |(_, columns)| columns);
        wanted.iter().copied()
    }

    fn begin(&mut self, element: &BytesStart) -> Result<()> {
        let name = element.local_name().into_inner().to_string();
        let attribute = |key: &str| {
            let attribute = element.try_get_attribute(key).ok().flatten()?;
            attribute.normalized_value(XmlVersion::Implicit1_0).ok().map(|value| value.into_owned())
        };
        let parent = self.open.last().map(String::as_str).unwrap_or_default();
        match (name.as_str(), self.tables.last_mut()) {
            ("TABLE", _) => {
                let called = attribute("name").or(attribute("ID")).filter(|name| !name.trim().is_empty());
                let name = called.unwrap_or_else(|| (self.tables.len() + 1).to_string());
                let claimed = attribute("nrows").and_then(|n| n.trim().parse().ok());
                self.tables.push(Scanned { name, claimed, ..Scanned::default() });
            }
            ("FIELD", Some(table)) if parent == "TABLE" => {
                let called = attribute("name").or(attribute("ID")).unwrap_or_default();
                let (datatype, size) = (attribute("datatype").unwrap_or_default(), attribute("arraysize"));
                let field = Field::new(called, &datatype, size.as_deref());
                match field {
                    Ok(field) => table.fields.push(field),
                    Err(detail) => return Err(self.refused(detail)),
                }
            }
            ("VALUES", Some(table)) if parent == "FIELD" => {
                let null = attribute("null").and_then(|null| null.trim().parse().ok());
                if let Some(field) = table.fields.last_mut() {
                    field.null = null.or(field.null);
                }
            }
            ("DATA", Some(_)) => {
                let index = self.tables.len() - 1;
                let wanted = self.wanted.filter(|(wanted, _)| *wanted == index).map_or(&[][..], |(_, columns)| columns);
                let table = &mut self.tables[index];
                match wanted.iter().map(|column| Some(table.fields.get(*column)?.empty())).collect() {
                    Some(cells) => table.cells = cells,
                    None => return Err(self.refused("it changed while it was read")),
                }
            }
            ("FITS", Some(_)) if parent == "DATA" => {
                let detail = "its rows are in a FITS file that it names; give that file instead";
                return Err(Error::format(self.path, detail));
            }
            ("BINARY" | "BINARY2", _) => self.marks_nulls = Some(name == "BINARY2"),
            ("STREAM", _) => {
                let is_here = attribute("href").is_none() && attribute("encoding").as_deref() == Some("base64");
                if !is_here {
                    let detail =
                        "its rows are not within the file as base64; ask for TABLEDATA, or for BINARY2 in one file";
                    return Err(Error::format(self.path, detail));
                }
                self.text.clear();
            }
            ("TR", _) => self.n_cells = 0,
            ("TD", _) => self.text.clear(),
            ("INFO", _) if attribute("name").as_deref() == Some("QUERY_STATUS") => {
                match attribute("value").as_deref() {
                    Some("ERROR") => {
                        self.text.clear();
                        self.has_failed = true;
                    }
                    Some("OVERFLOW") if self.wanted.is_none() => {
                        let path = self.path.display();
                        tracing::warn!("{path}: the service says that there are more rows than it gave (OVERFLOW)");
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        self.open.push(name);
        Ok(())
    }

    fn end(&mut self, name: &str) -> Result<()> {
        self.open.pop();
        let columns: Vec<usize> = self.columns().collect();
        let text = std::mem::take(&mut self.text);
        let Some(table) = self.tables.last_mut() else { return self.end_outside(name, &text) };
        match name {
            "TD" => {
                for (column, cells) in columns.iter().zip(&mut table.cells) {
                    if *column == self.n_cells {
                        let field = &table.fields[*column];
                        if let Err(odd) = field.push_text(cells, &text) {
                            let place = format!("column {}, row {}", field.name, table.n_rows + 1);
                            let detail = format!("{place}: `{odd}` is no value of its datatype; mend that cell");
                            return Err(Error::format(self.path, detail));
                        }
                    }
                }
                self.n_cells += 1;
            }
            "TR" => {
                table.n_rows += 1;
                let (row, n_fields) = (table.n_rows, table.fields.len());
                if self.n_cells != n_fields {
                    let detail = format!("row {row} has {} cells, and there are {n_fields} fields", self.n_cells);
                    return Err(self.refused(detail));
                }
            }
            "STREAM" => {
                let packed: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
                let read = base64::engine::general_purpose::STANDARD
                    .decode(packed)
                    .map_err(|err| format!("its stream is no base64: {err}"))
                    .and_then(|bytes| {
                        let marks_nulls = self.marks_nulls.unwrap_or(false);
                        read_rows(&bytes, &table.fields, marks_nulls, &columns, &mut table.cells)
                    });
                match read {
                    Ok(n_rows) => table.n_rows = n_rows,
                    Err(detail) => return Err(self.refused(detail)),
                }
            }
            "TABLE" => {
                if let Some(claimed) = table.claimed.filter(|claimed| *claimed != table.n_rows) {
                    let detail = format!("table {} claims {claimed} rows, and has {}", table.name, table.n_rows);
                    return Err(self.refused(detail));
                }
            }
            _ => return self.end_outside(name, &text),
        }
        Ok(())
    }

    /// The end of an element that is of no table.
    fn end_outside(&self, name: &str, text: &str) -> Result<()> {
        match name {
            "INFO" if self.has_failed => {
                let said: String = text.trim().chars().take(200).collect();
                Err(Error::format(self.path, format!("the service says that the query failed: {said}; ask it again")))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "<?xml version='1.0'?>\n<VOTABLE version='1.4' xmlns='http://www.ivoa.net/xml/VOTable/v1.3'>\n\
        <RESOURCE><PARAM name='p' datatype='int' value='1'><VALUES null='5'/></PARAM>\n";
    const FIELDS: &str = "<FIELD name='id' datatype='char' arraysize='*'/>\n\
        <FIELD name='teff' datatype='float' unit='K'><DESCRIPTION>of &lt;stars&gt;</DESCRIPTION></FIELD>\n\
        <FIELD name='starflag' datatype='int'><VALUES null='-9'/></FIELD>\n";
    const ROWS: &str = "<DATA><TABLEDATA>\n<TR><TD>a &amp; b&#33;</TD><TD>4500.5</TD><TD>3</TD></TR>\n\
        <TR><TD><![CDATA[<c>]]></TD><TD/><TD>-9</TD></TR>\n</TABLEDATA></DATA>";

    fn whole(tables: &str) -> String {
        format!("{HEAD}{tables}</RESOURCE></VOTABLE>\n")
    }

    fn table(data: &str) -> String {
        whole(&format!("<TABLE name='stars'>{FIELDS}{data}</TABLE>"))
    }

    /// The columns of a table, all or those that are wanted.
    fn read(text: &str, key: Option<&str>, wanted: &[usize]) -> Result<(Vec<String>, usize, Vec<Cells>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        assert!(begins(text.as_bytes()));
        let table = VoTable::open(file.path(), key)?;
        Ok((table.names(), table.n_rows, table.read(wanted)?))
    }

    fn said(text: &str) -> String {
        read(text, None, &[0, 1, 2]).err().unwrap().to_string()
    }

    fn expect_stars(cells: &[Cells]) {
        assert_eq!(cells[0], Cells::Texts(vec!["a & b!".into(), "<c>".into()]));
        let teff = cells[1].numbers(0..2).unwrap();
        assert!(teff[0] == 4500.5 && teff[1].is_nan(), "{teff:?}");
        assert_eq!(cells[2], Cells::Integers(vec![Some(3), None]));
    }

    #[test]
    fn rows_that_are_written_out_are_read_by_their_fields() {
        let (names, n_rows, cells) = read(&table(ROWS), None, &[0, 1, 2]).unwrap();
        assert_eq!((names, n_rows), (["id", "teff", "starflag"].map(String::from).to_vec(), 2));
        expect_stars(&cells);
        let (.., cells) = read(&table(ROWS), None, &[2]).unwrap();
        assert_eq!(cells, [Cells::Integers(vec![Some(3), None])]);
    }

    #[test]
    fn rows_in_bytes_say_the_same() {
        let mut bytes = Vec::new();
        for (nulls, id, teff, flag) in [(0_u8, "a & b!", 4500.5_f32, 3_i32), (0x60, "<c>", 0.0, 0)] {
            bytes.push(nulls);
            bytes.extend((id.len() as u32).to_be_bytes());
            bytes.extend(id.bytes());
            bytes.extend(teff.to_be_bytes());
            bytes.extend(flag.to_be_bytes());
        }
        let packed = base64::engine::general_purpose::STANDARD.encode(&bytes);
        let (first, second) = packed.split_at(20);
        let stream = |packed: &str| {
            table(&format!("<DATA><BINARY2><STREAM encoding='base64'>\n{packed}\n</STREAM></BINARY2></DATA>"))
        };
        let (_, n_rows, cells) = read(&stream(&format!("{first}\n{second}")), None, &[0, 1, 2]).unwrap();
        assert_eq!(n_rows, 2);
        expect_stars(&cells);
        assert!(said(&stream(&packed[..16])).contains("ends within row 1"));
        assert!(said(&stream("*")).contains("no base64"));
        let elsewhere = "<DATA><BINARY><STREAM href='http://x/y'/></BINARY></DATA>";
        assert!(said(&table(elsewhere)).contains("not within the file"));
        assert!(said(&table("<DATA><FITS><STREAM href='x'/></FITS></DATA>")).contains("give that file instead"));
    }

    #[test]
    fn the_first_table_with_rows_is_read_and_a_key_picks_another() {
        let empty = format!("<TABLE name='boss'>{FIELDS}<DATA><TABLEDATA/></DATA></TABLE>");
        let other =
            "<TABLE><FIELD name='x' datatype='int'/><DATA><TABLEDATA><TR><TD>1</TD></TR></TABLEDATA></DATA></TABLE>";
        let text = whole(&format!("{empty}<TABLE ID='stars'>{FIELDS}{ROWS}</TABLE>{other}"));
        let n_rows = |key: Option<&str>| read(&text, key, &[0]).map(|(.., n_rows, _)| n_rows);
        assert_eq!(n_rows(None).unwrap(), 2);
        assert_eq!(n_rows(Some("BOSS")).unwrap(), 0);
        assert_eq!((n_rows(Some("2")).unwrap(), n_rows(Some("3")).unwrap()), (2, 1));
        let said = n_rows(Some("lco")).unwrap_err().to_string();
        assert!(said.contains("no table [lco] (it has boss, stars, 3)"), "{said}");
    }

    #[test]
    fn what_ends_early_or_claims_more_than_is_there_is_refused() {
        let text = table(ROWS);
        for cut in [text.len() - 12, text.len() / 2, HEAD.len() + 30] {
            assert!(said(&text[..cut]).contains("get the file again"), "{cut}");
        }
        assert!(said(&text.replace("'stars'", "'stars' nrows='3'")).contains("table stars claims 3 rows, and has 2"));
        assert!(said(&text.replace("<TD/>", "")).contains("row 2 has 2 cells, and there are 3 fields"));
        assert!(said(&text.replace("4500.5", "hot")).contains("column teff, row 1: `hot`"));
        assert!(said(&text.replace("'float'", "'number'")).contains("datatype `number`"));
        assert!(said(&text.replace("&amp;", "&evil;")).contains("&evil;"));
        assert!(said(&whole("")).contains("without a table"));
        let failed = "<INFO name='QUERY_STATUS' value='ERROR'>no column tef</INFO>";
        assert!(said(&whole(failed)).contains("the query failed: no column tef"));
    }

    #[test]
    fn only_what_has_a_votable_in_it_begins_as_one() {
        for (text, expected) in [
            ("\u{feff}<?xml version='1.0'?><VOTABLE>", true),
            ("<vot:VOTABLE xmlns:vot='x'>", true),
            ("<html><body>busy</body></html>", false),
            ("id,VOTABLE\n<VOTABLE", false),
        ] {
            assert_eq!(begins(text.as_bytes()), expected, "{text}");
        }
    }
}
