//! Any table of stars: FITS, VOTable, Parquet, or text; told by its content, and only the columns asked for are kept.

use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};

use super::cells::{Cells, Odd};
use super::fits::{FitsReader, find_column};
use super::keyed_path::{FITS_ENDINGS, ends_in, hdu_name, named_hdu, split_key};
use super::packed;
use super::parquet_table::{self, ParquetTable};
use super::sentinels::{Remarks, known};
use super::text_table::{HEADER_BYTES, TextTable};
use super::value::Value;
use super::votable::{self, VoTable};
use crate::error::{Error, Result};

/// Rows per block: enough to amortise cfitsio's calls, small enough that a 4 GB table needs a few MB.
const BLOCK_ROWS: usize = 8192;

/// A table opened for reading.
pub struct Table {
    path: PathBuf,
    names: Vec<String>,
    n_rows: usize,
    source: Source,
    remarks: Remarks,
    /// What labels may be that were looked at, by their names.
    pub(super) possible: BTreeMap<String, RangeInclusive<f64>>,
}

enum Source {
    /// Read in blocks of rows.
    Fits { reader: FitsReader, hdu: usize },
    /// Read by columns, each the first time it is asked for.
    Columns { file: Columnar, cells: Vec<Option<Cells>> },
}

enum Columnar {
    Text(TextTable),
    Parquet(ParquetTable),
    VoTable(VoTable),
}

impl Columnar {
    fn read(&self, wanted: &[usize]) -> Result<Vec<Cells>> {
        match self {
            Self::Text(table) => table.read(wanted),
            Self::Parquet(table) => table.read(wanted),
            Self::VoTable(table) => table.read(wanted),
        }
    }

    /// Whether all columns are read when one is: passes over the file cost more than what is kept.
    fn is_small(&self) -> bool {
        match self {
            Self::Text(table) => table.is_small,
            Self::Parquet(_) => false,
            Self::VoTable(table) => table.is_small,
        }
    }
}

impl Table {
    /// Opens a table, whatever its name: FITS, VOTable and Parquet are told by how they begin, anything else is text with a
    /// header line. All but Parquet may be compressed by gzip.
    ///
    /// Of a FITS file or VOTable with several tables, the first that has rows is read, and the log says which;
    /// `FILE.fits[NAME]` and `FILE.vot[NAME]`, or a number in place of the name, pick one.
    ///
    /// In text, values may be separated by commas, tabs or semicolons, by blanks where every row has as many as there are names,
    /// in ECSV by what its header says. Lines that start with `#` are skipped, as SkyServer puts `#Table1` first, but for one of
    /// names right above a row with numbers.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`], or [`Error::Format`] for an answer that is an error text instead of a table, and for a
    /// file that holds less than it claims.
    pub fn open(path: &Path) -> Result<Self> {
        let (path, key) = split_key(path);
        let start = packed::start(&path, HEADER_BYTES)?;
        let (file, names, n_rows) = if start.starts_with(b"SIMPLE") || ends_in(&path, &FITS_ENDINGS) {
            return Self::open_fits(path, key.as_deref());
        } else if start.starts_with(parquet_table::MAGIC) {
            if packed::is_packed(&path)? {
                return Err(Error::format(&path, "a Parquet table within gzip; unpack it, it is compressed by itself"));
            }
            let table = ParquetTable::open(&path)?;
            let (names, n_rows) = (table.names.clone(), table.n_rows);
            (Columnar::Parquet(table), names, n_rows)
        } else if votable::begins(&start) {
            let table = VoTable::open(&path, key.as_deref())?;
            let (names, n_rows) = (table.names(), table.n_rows);
            (Columnar::VoTable(table), names, n_rows)
        } else {
            let table = TextTable::open(&path, &start)?;
            let (names, n_rows) = (table.names.clone(), table.n_rows);
            (Columnar::Text(table), names, n_rows)
        };
        let cells = vec![None; names.len()];
        Ok(Self::of(path, names, n_rows, Source::Columns { file, cells }))
    }

    fn open_fits(path: PathBuf, key: Option<&str>) -> Result<Self> {
        let mut reader = FitsReader::open(&path)?;
        let hdu = choose_hdu(&mut reader, key)?;
        let (n_rows, names) = reader.table_layout(hdu)?;
        Ok(Self::of(path, names, n_rows, Source::Fits { reader, hdu }))
    }

    fn of(path: PathBuf, names: Vec<String>, n_rows: usize, source: Source) -> Self {
        Self { path, names, n_rows, source, remarks: Remarks::default(), possible: BTreeMap::new() }
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

    /// Announces columns that will be asked for, so that they are read in one pass; those that are not there do not matter.
    ///
    /// # Errors
    /// Those of the file.
    pub fn load<'a>(&mut self, columns: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let Source::Columns { file, cells } = &mut self.source else { return Ok(()) };
        let mut wanted: Vec<usize> = Vec::new();
        for column in columns {
            let is_alike = |name: &String| name.eq_ignore_ascii_case(column);
            let index =
                self.names.iter().position(|name| name == column).or_else(|| self.names.iter().position(is_alike));
            wanted.extend(index.filter(|index| cells[*index].is_none() && !wanted.contains(index)));
        }
        if !wanted.is_empty() && file.is_small() {
            wanted = (0..self.names.len()).collect();
        }
        if !wanted.is_empty() {
            for (index, column) in wanted.iter().zip(file.read(&wanted)?) {
                cells[*index] = Some(column);
            }
        }
        Ok(())
    }

    /// Reads some rows of a column; messages say what its cells should be, and what an odd one is not.
    fn read<T>(
        &mut self,
        (column, rows): (&str, Range<usize>),
        remedy: &'static str,
        (wanted, denial, as_numbers): (&str, &str, bool),
        read: impl Fn(&Cells, Range<usize>) -> Result<T, Odd>,
    ) -> Result<T> {
        let name = find_column(&self.path, &self.names, column, remedy)?.to_string();
        self.load([name.as_str()])?;
        let first = rows.start;
        let values = match &mut self.source {
            Source::Fits { reader, hdu } => {
                let n = rows.len();
                read(&reader.cells(*hdu, &name, rows, as_numbers)?, 0..n)
            }
            Source::Columns { cells, .. } => {
                let index = self.names.iter().position(|known| *known == name).unwrap_or(0);
                match &cells[index] {
                    Some(cells) => read(cells, rows),
                    None => Err(Odd::Column("nothing".into())),
                }
            }
        };
        values.map_err(|odd| {
            let detail = match odd {
                Odd::Cell(row, text) => {
                    format!("column {name}, row {}: `{text:.40}` is {denial}", first + row + 1)
                }
                Odd::Column(what) => format!("column {name} holds {what}, not one {wanted} a row; name another column"),
            };
            Error::format(&self.path, detail)
        })
    }

    /// A column of numbers, 1 and 0 for yes and no; NaN where the value is empty, `null`, not finite or -9999 as surveys write
    /// it (-9999.99, -99999). [`Table::say_remarks`] says how many are that.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Format`] for text that is no number, with its row.
    pub fn numbers(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<f64>> {
        let wanted = ("number", "not a number", true);
        let values = self.read((column, rows.clone()), remedy, wanted, Cells::numbers)?;
        self.remarks.count_nothing(column, &rows, values.iter().copied());
        Ok(values.into_iter().map(known).collect())
    }

    /// [`Table::numbers`] of a label: numbers written in nines alone, such as -999, are missing too where they lie far from
    /// the others. [`Table::say_remarks`] says how many.
    ///
    /// # Errors
    /// As [`Table::numbers`].
    pub fn labels(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<f64>> {
        let mut values = self.numbers(column, rows.clone(), remedy)?;
        self.remarks.strike(column, &rows, &mut values, false);
        Ok(values)
    }

    /// [`Table::labels`] of the errors of a label: as these, and NaN too where they are nil or negative.
    ///
    /// # Errors
    /// As [`Table::numbers`].
    pub fn label_errors(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<f64>> {
        let mut values = self.numbers(column, rows.clone(), remedy)?;
        self.remarks.strike(column, &rows, &mut values, true);
        Ok(values.into_iter().map(|error| if error > 0.0 { error } else { f64::NAN }).collect())
    }

    /// [`Table::texts`] of identifiers, out of the `b'...'` that Python may have written around them; empty too where they are
    /// -9999, -1 or not a number. [`Table::say_remarks`] says how many.
    ///
    /// # Errors
    /// As [`Table::texts`].
    pub fn identifiers(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<String>> {
        let mut texts = self.texts(column, rows.clone(), remedy)?;
        self.remarks.strip_bytes(column, &mut texts);
        self.remarks.strike_names(column, &rows, &mut texts);
        Ok(texts)
    }

    /// Says on the log, once, what was read otherwise than it is written.
    pub fn say_remarks(&mut self) {
        self.remarks.say(&self.path);
    }

    /// A column of integer flags, of numbers or of yes and no; 0 where the value is empty.
    ///
    /// # Errors
    /// As [`Table::numbers`].
    pub fn flags(&mut self, column: &str, rows: Range<usize>) -> Result<Vec<i64>> {
        let wanted = ("whole number", "no whole number, as flags are", false);
        self.read((column, rows), "remove the cut that needs it", wanted, Cells::flags)
    }

    /// A column of text, or of integers as their digits; empty where there is none.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Format`] if it holds floating-point numbers.
    pub fn texts(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<String>> {
        self.read((column, rows), remedy, ("text or integer", "no text", false), Cells::texts)
    }

    /// A column of whatever type; missing where the value is empty or -9999, as [`Table::numbers`] has it.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Format`] for a column of vectors.
    pub fn values(&mut self, column: &str, rows: Range<usize>, remedy: &'static str) -> Result<Vec<Value>> {
        let values = self.read((column, rows.clone()), remedy, ("value", "no value", false), Cells::values)?;
        self.remarks.count_nothing(column, &rows, values.iter().map(Value::as_f64));
        Ok(values.into_iter().map(Value::known).collect())
    }
}

/// The table HDU of this name or number, or else the first that has rows.
fn choose_hdu(fits: &mut FitsReader, key: Option<&str>) -> Result<usize> {
    let tables = fits.tables()?;
    if let Some(key) = key {
        let hdu = named_hdu(fits, key, "table")?;
        let is_table = tables.contains(&hdu);
        return is_table.then_some(hdu).ok_or_else(|| Error::format(fits.path(), format!("[{key}] is no table")));
    }
    let mut filled = Vec::new();
    for &hdu in &tables {
        // One that is damaged does not matter where an earlier one is read.
        match fits.table_layout(hdu) {
            Ok((n_rows, _)) => filled.extend((n_rows > 0).then_some((hdu, n_rows))),
            Err(err) if filled.is_empty() => return Err(err),
            Err(_) => {}
        }
    }
    let Some(&(hdu, n_rows)) = filled.first() else { return fits.first_table() };
    if tables.len() > 1 {
        let (path, name) = (fits.path().display().to_string(), hdu_name(fits, hdu));
        let name = if name == hdu.to_string() { String::new() } else { format!(" ({name})") };
        let others = match filled.len() {
            1 => "no other table has any".to_string(),
            2 => format!("1 more table has some; {path}[NAME] or [NUMBER] picks one"),
            n => format!("{} more tables have some; {path}[NAME] or [NUMBER] picks one", n - 1),
        };
        tracing::info!("{path}: HDU {hdu}{name} is read, {n_rows} rows; {others}");
    }
    Ok(hdu)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> Result<Table> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answer.csv");
        std::fs::write(&path, text).unwrap();
        let mut table = Table::open(&path)?;
        // The file goes with the folder.
        let names = table.names().to_vec();
        table.load(names.iter().map(String::as_str))?;
        Ok(table)
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
    fn numbers_that_no_survey_writes_for_nothing_stay_in_every_column() {
        let mut table = csv("id,ra,x,n\na,99.99,-12345.6,-9999\nb,10.5,-9995,7\nc,99.99,-9999.99,-10500\n").unwrap();
        assert_eq!(table.numbers("ra", 0..3, "").unwrap(), [99.99, 10.5, 99.99]);
        let x = table.numbers("x", 0..3, "").unwrap();
        assert!(x[..2] == [-12345.6, -9995.0] && x[2].is_nan(), "{x:?}");
        let mut values = |column: &str| table.values(column, 0..3, "").unwrap();
        assert_eq!(values("ra"), [99.99, 10.5, 99.99].map(Value::Number));
        assert_eq!(values("x"), [Value::Number(-12345.6), Value::Integer(-9995), Value::Missing]);
        assert_eq!(values("n"), [Value::Missing, Value::Integer(7), Value::Integer(-10500)]);
    }

    #[test]
    fn the_first_table_with_rows_is_read_and_a_key_picks_another() {
        use super::super::fits::{Column, write};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        write(&path, |fits| {
            fits.table("BOSS", &[Column::f64("teff", "K", vec![])])?;
            fits.table("APOGEE", &[Column::f64("teff", "K", vec![4500.0, 4600.0])])?;
            fits.table("more", &[Column::text("name", vec!["x".into()])])
        })
        .unwrap();
        let open = |key: &str| Table::open(&folder.path().join(format!("a.fits{key}")));
        assert_eq!(open("").unwrap().numbers("teff", 0..2, "").unwrap(), [4500.0, 4600.0]);
        for (key, n_rows) in [("[boss]", 0), ("[2]", 2), ("[MORE]", 1)] {
            assert_eq!(open(key).unwrap().n_rows(), n_rows, "{key}");
        }
        let said = open("[LCO]").err().unwrap().to_string();
        assert!(said.contains("no table [LCO] (it has 0, BOSS, APOGEE, more)"), "{said}");
        assert!(open("[0]").err().unwrap().to_string().contains("[0] is no table"));
    }

    #[test]
    fn a_table_is_told_by_its_content_whatever_it_is_called() {
        use super::super::fits::{Column, write};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        write(&folder.path().join("a.fits"), |fits| fits.table("T", &[Column::f64("teff", "K", vec![4500.0])]))
            .unwrap();
        std::fs::rename(folder.path().join("a.fits"), &path).unwrap();
        assert_eq!(Table::open(&path).unwrap().numbers("teff", 0..1, "").unwrap(), [4500.0]);
        std::fs::write(folder.path().join("b.fits"), "teff\n4500\n").unwrap();
        let said = Table::open(&folder.path().join("b.fits")).err().unwrap().to_string();
        assert!(said.contains("not a readable FITS file"), "{said}");
    }

    #[test]
    fn of_columns_that_share_a_name_none_is_taken_for_the_other() {
        let mut table = csv("id,teff,teff,SNR,snr\na,4500,4600,90,0.9\n").unwrap();
        let said = table.numbers("teff", 0..1, "").unwrap_err().to_string();
        assert!(said.contains("columns 2 (teff) and 3 (teff) share the name teff"), "{said}");
        assert_eq!(table.numbers("SNR", 0..1, "").unwrap(), [90.0]);
        assert_eq!(table.numbers("snr", 0..1, "").unwrap(), [0.9]);
        let said = table.numbers("Snr", 0..1, "").unwrap_err().to_string();
        assert!(said.contains("columns 4 (SNR) and 5 (snr) share the name Snr"), "{said}");
    }

    #[test]
    fn columns_that_are_not_asked_for_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stars.csv");
        std::fs::write(&path, "id,teff,logg\na,4500,2\n").unwrap();
        let mut table = Table::open(&path).unwrap();
        let Source::Columns { file: Columnar::Text(text), .. } = &mut table.source else { panic!("it is text") };
        text.is_small = false;
        table.load(["TEFF", "absent"]).unwrap();
        let Source::Columns { cells, .. } = &table.source else { panic!("it is text") };
        assert_eq!(cells.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false]);
    }

    #[test]
    fn tabs_semicolons_and_ecsv_read_as_commas_do() {
        let plain = "id,teff\na,4500\nb,4600\n";
        let ecsv = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: id, datatype: string}\n# - {name: teff, datatype: float64}\nid teff\na 4500\nb 4600\n";
        for text in [plain.to_string(), plain.replace(',', "\t"), plain.replace(',', "; "), ecsv.to_string()] {
            let mut table = csv(&text).unwrap();
            assert_eq!(table.names(), ["id", "teff"], "{text}");
            assert_eq!(table.numbers("teff", 0..2, "").unwrap(), [4500.0, 4600.0]);
        }
    }

    #[test]
    fn what_expands_beyond_all_data_is_refused_whatever_the_kind_of_the_table() {
        use std::io::Write;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.gz");
        let packed = |text: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            gzip.write_all(text).unwrap();
            gzip.finish().unwrap()
        };
        let votable = "<VOTABLE><RESOURCE><TABLE><FIELD name='a' datatype='char' arraysize='*'/><DATA><TABLEDATA>";
        let cell = format!("<TR><TD>{}</TD></TR>", "a".repeat(1000));
        for (start, row) in [("teff\n", "4500\n"), ("a b\nc d\n", "1   2   \n"), (votable, cell.as_str())] {
            // Packed once: files of gzip may stand one behind the other.
            let (mut file, rows) = (packed(start.as_bytes()), packed(row.repeat((4 << 20) / row.len()).as_bytes()));
            (0..70).for_each(|_| file.extend(&rows));
            std::fs::write(&path, file).unwrap();
            let said = Table::open(&path).err().unwrap().to_string();
            assert!(said.contains("expands to more than 256 MB") && said.contains("unpack it"), "{said}");
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
