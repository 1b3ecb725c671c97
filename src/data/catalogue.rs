//! The survey's catalogue of stars with labels: allStar FITS (DR17 and older) or a SkyServer answer in CSV.

use std::ops::Range;
use std::path::Path;

use super::table::Table;
use crate::error::Result;

/// Remedy shown when a column of the survey's own catalogue is absent.
const REMEDY: &str = "is this an allStar table or a SkyServer answer?";
/// The survey's own column of identifiers.
pub const APOGEE_ID: &str = "APOGEE_ID";
/// Remedy shown when a column of identifiers is absent that somebody named.
const ID_REMEDY: &str =
    "name its column of identifiers in data.arrays.id_column, or leave that out for the usual names and row numbers";

/// Bytes of the longest identifier; FITS tables cannot hold rows of any length, and no survey names stars like that.
const LONGEST_ID: usize = 1024;

/// Stars with their labels, one entry per catalogue row, column by column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// Row in the catalogue file, from 0.
    pub row: Vec<usize>,
    /// APOGEE_ID.
    pub id: Vec<String>,
    /// FIELD, as it stands in archive paths; empty where the catalogue has none.
    pub field: Vec<String>,
    /// TELESCOPE (`apo25m`, `lco25m`, `apo1m`); empty where the catalogue has none.
    pub telescope: Vec<String>,
    /// FILE, the name of the apStar file; empty where the catalogue has none.
    pub file: Vec<String>,
    /// Signal-to-noise ratio per pixel of the coadd; NaN if missing.
    pub snr: Vec<f64>,
    /// APOGEE_STARFLAG bits.
    pub starflag: Vec<i64>,
    /// APOGEE_ASPCAPFLAG bits.
    pub aspcapflag: Vec<i64>,
    /// Labels per star in the order asked for; NaN if missing.
    pub labels: Vec<Vec<f64>>,
    /// Their errors, from the columns `<label>_err`; NaN where there is none.
    pub label_errors: Vec<Vec<f64>>,
}

impl Catalogue {
    /// Number of stars.
    pub fn len(&self) -> usize {
        self.id.len()
    }

    /// Whether there are no stars.
    pub fn is_empty(&self) -> bool {
        self.id.is_empty()
    }

    /// Appends one row of another catalogue.
    pub fn push_row(&mut self, from: &Self, row: usize) {
        self.row.push(from.row[row]);
        self.id.push(from.id[row].clone());
        self.field.push(from.field[row].clone());
        self.telescope.push(from.telescope[row].clone());
        self.file.push(from.file[row].clone());
        self.snr.push(from.snr[row]);
        self.starflag.push(from.starflag[row]);
        self.aspcapflag.push(from.aspcapflag[row]);
        self.labels.push(from.labels[row].clone());
        self.label_errors.push(from.label_errors[row].clone());
    }

    /// The rows at these positions, in this order.
    pub fn rows(&self, positions: &[usize]) -> Self {
        let mut chosen = Self::default();
        for &row in positions {
            chosen.push_row(self, row);
        }
        chosen
    }

    /// Reads one block of rows.
    ///
    /// An empty `id_column` stands for the first of `apogee_id`, `id`, `star_id`, `source_id`, `name` that is there, and
    /// else for the row number. Flags are 0 where there are none; a flag column that cannot be read matters only `with_flags`.
    ///
    /// Labels are columns of that name in any case. Where a release has no [X/Fe] column, it is [X/H] - [Fe/H]
    /// (`mg_fe = MG_H - FE_H`, DR12); `m_h` may be `PARAM_M_H`, `alpha_m` may be `PARAM_ALPHA_M`.
    ///
    /// # Errors
    /// [`crate::error::Error::MissingColumn`] for an absent id or label; file errors as they are.
    pub fn read_block(
        table: &mut Table,
        id_column: &str,
        labels: &[String],
        with_flags: bool,
        rows: Range<usize>,
    ) -> Result<Self> {
        let n_rows = rows.len();
        let id = identifiers(table, id_column, rows.clone())?;
        let by_label =
            labels.iter().map(|label| label_column(table, label, rows.clone())).collect::<Result<Vec<_>>>()?;
        let errors = labels.iter().map(|label| error_column(table, label, rows.clone())).collect::<Result<Vec<_>>>()?;
        let by_row = |columns: &[Vec<f64>]| -> Vec<Vec<f64>> {
            (0..n_rows).map(|row| columns.iter().map(|column| column[row]).collect()).collect()
        };
        Ok(Self {
            row: rows.clone().collect(),
            id,
            field: optional(table, "FIELD", n_rows, |table| table.texts("FIELD", rows.clone(), REMEDY))?,
            telescope: optional(table, "TELESCOPE", n_rows, |table| table.texts("TELESCOPE", rows.clone(), REMEDY))?,
            file: optional(table, "FILE", n_rows, |table| table.texts("FILE", rows.clone(), REMEDY))?,
            snr: if table.has("SNR") { table.numbers("SNR", rows.clone(), REMEDY)? } else { vec![f64::NAN; n_rows] },
            starflag: flags(table, "STARFLAG", with_flags, &rows)?,
            aspcapflag: flags(table, "ASPCAPFLAG", with_flags, &rows)?,
            labels: by_row(&by_label),
            label_errors: by_row(&errors),
        })
    }

    /// Reads a whole table at once; for small ones.
    ///
    /// # Errors
    /// As [`Catalogue::read_block`].
    pub fn read(path: &Path, id_column: &str, labels: &[String]) -> Result<Self> {
        let mut table = Table::open(path)?;
        let all = 0..table.n_rows();
        let catalogue = Self::read_block(&mut table, id_column, labels, false, all);
        table.say_remarks();
        catalogue
    }
}

fn identifiers(table: &mut Table, id_column: &str, rows: Range<usize>) -> Result<Vec<String>> {
    let mut ids = if id_column.is_empty() {
        let usual = ["apogee_id", "id", "star_id", "source_id", "name"].into_iter().find(|column| table.has(column));
        let Some(column) = usual else { return Ok(rows.map(row_name).collect()) };
        let mut ids = table.identifiers(column, rows.clone(), REMEDY)?;
        ids.iter_mut().zip(rows).filter(|(id, _)| id.is_empty()).for_each(|(id, row)| *id = row_name(row));
        ids
    } else {
        table.identifiers(id_column, rows, if id_column == APOGEE_ID { REMEDY } else { ID_REMEDY })?
    };
    ids.iter_mut().filter(|id| id.len() > LONGEST_ID).for_each(|id| *id = shortened(id));
    Ok(ids)
}

/// The beginning of an identifier too long for tables, and what tells it from others that begin alike.
fn shortened(id: &str) -> String {
    let start: String = id.chars().take(LONGEST_ID / 8).collect();
    format!("{start}...{}", &blake3::hash(id.as_bytes()).to_hex()[..16])
}

/// What a star is called that has no name: its row, counted from 1.
pub fn row_name(row: usize) -> String {
    format!("row{:07}", row + 1)
}

fn flags(table: &mut Table, column: &str, wanted: bool, rows: &Range<usize>) -> Result<Vec<i64>> {
    if !table.has(column) {
        return Ok(vec![0; rows.len()]);
    }
    match table.flags(column, rows.clone()) {
        Err(_) if !wanted => Ok(vec![0; rows.len()]),
        flags => flags,
    }
}

fn optional<T: Default + Clone>(
    table: &mut Table,
    column: &str,
    n_rows: usize,
    read: impl FnOnce(&mut Table) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    if table.has(column) { read(table) } else { Ok(vec![T::default(); n_rows]) }
}

fn label_column(table: &mut Table, label: &str, rows: Range<usize>) -> Result<Vec<f64>> {
    let remedy = "name the labels by the catalogue's columns in `labels`";
    if table.has(label) {
        return table.labels(label, rows, remedy);
    }
    if let Some(element) = label.to_lowercase().strip_suffix("_fe") {
        let over_hydrogen = format!("{element}_h");
        if table.has(&over_hydrogen) && table.has("fe_h") {
            let x_h = table.labels(&over_hydrogen, rows.clone(), remedy)?;
            let fe_h = table.labels("fe_h", rows, remedy)?;
            return Ok(x_h.iter().zip(&fe_h).map(|(x, fe)| x - fe).collect());
        }
    }
    let parameter = format!("PARAM_{label}");
    let column = if table.has(&parameter) { parameter.as_str() } else { label };
    table.labels(column, rows, remedy)
}

/// Whether [`Catalogue::read_block`] finds a label in a table.
pub(super) fn has_label(table: &Table, label: &str) -> bool {
    let over_hydrogen = label.to_lowercase().strip_suffix("_fe").map(|element| format!("{element}_h"));
    table.has(label)
        || table.has(&format!("PARAM_{label}"))
        || over_hydrogen.is_some_and(|column| table.has(&column) && table.has("fe_h"))
}

/// Errors of a label; NaN where the table has none, or none that can be.
fn error_column(table: &mut Table, label: &str, rows: Range<usize>) -> Result<Vec<f64>> {
    let column = format!("{label}_err");
    if !table.has(&column) {
        return Ok(vec![f64::NAN; rows.len()]);
    }
    let errors = table.numbers(&column, rows, REMEDY)?;
    Ok(errors.into_iter().map(|error| if error > 0.0 { error } else { f64::NAN }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_missing_and_long_identifiers_are_cut_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.csv");
        let (one, two) = (format!("{}1", "x".repeat(30_000)), format!("{}2", "x".repeat(30_000)));
        let rows = format!(
            "id,teff,mg_h,fe_h\n{one},4500,-0.1,-0.3\n{two},-999,-0.2,-0.1\nc,4700,-99.9,-0.2\nd,4800,0.1,0.1\ne,4600,0.0,0.2\n"
        );
        std::fs::write(&path, rows).unwrap();
        let catalogue = Catalogue::read(&path, "", &["teff", "mg_fe"].map(String::from)).unwrap();
        assert!(catalogue.labels[1][0].is_nan() && catalogue.labels[2][1].is_nan());
        assert!((catalogue.labels[0][1] - 0.2).abs() < 1e-12);
        assert!(catalogue.id[0] != catalogue.id[1] && catalogue.id[0].len() < 200);
    }

    #[test]
    fn a_column_of_identifiers_that_is_not_there_is_asked_for_where_it_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.csv");
        std::fs::write(&path, "name,teff\na,4500\n").unwrap();
        let said = |column: &str| Catalogue::read(&path, column, &["teff".into()]).unwrap_err().to_string();
        assert!(said("nam").contains("no column nam") && said("nam").contains("data.arrays.id_column"));
        assert!(said(APOGEE_ID).contains("allStar"));
    }

    #[test]
    fn an_old_layout_gives_x_over_fe_by_subtraction() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dr12.csv");
        std::fs::write(
            &path,
            "APOGEE_ID,TEFF,FE_H,MG_H,PARAM_M_H\n2M0,4500,-0.5,-0.25,-0.4\n2M1,4600,-9999,-0.1,0.1\n",
        )
        .unwrap();
        let labels = ["teff", "mg_fe", "m_h"].map(String::from);
        let catalogue = Catalogue::read(&path, "APOGEE_ID", &labels).unwrap();
        assert_eq!(catalogue.labels[0], [4500.0, 0.25, -0.4]);
        assert!(catalogue.labels[1][1].is_nan() && catalogue.label_errors[0].iter().all(|error| error.is_nan()));
        assert!(catalogue.snr[0].is_nan() && catalogue.field[0].is_empty());
    }
}
