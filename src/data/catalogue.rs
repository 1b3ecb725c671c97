//! The survey's catalogue of stars with labels: allStar FITS (DR17 and older), Astra's tables (DR19, DR20), a SkyServer answer in
//! CSV, or any other table.

use std::ops::Range;
use std::path::Path;

use ndarray::{Array1, Array2};

use super::columns::ColumnNames;
use super::label_source::LabelSource;
use super::label_units::LabelUnits;
use super::sentinels::{Remarks, known};
use super::table::Table;
use crate::error::{Error, Result};

/// Remedy shown when a column of the survey's own catalogue is absent.
const REMEDY: &str = "is this an allStar table or a SkyServer answer? Other names are given in [data.columns]";
/// The survey's own column of identifiers.
pub const APOGEE_ID: &str = "APOGEE_ID";
/// Remedy shown when a column of identifiers is absent that somebody named.
const ID_REMEDY: &str = "name its column of identifiers in data.columns.id or data.arrays.id_column, or leave that out for the usual names and row numbers";

/// Usual columns of identifiers; the first that is there is taken.
pub const USUAL_IDS: [&str; 5] = ["apogee_id", "id", "star_id", "source_id", "name"];

/// Bytes of the longest identifier; FITS tables cannot hold rows of any length, and no survey names stars like that.
const LONGEST_ID: usize = 1024;

/// How the columns of a catalogue are found.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// Column of the identifiers, unless `columns` names one; empty for the usual names.
    pub id_column: &'a str,
    /// Columns that have other names than usual.
    pub columns: &'a ColumnNames,
}

impl<'a> Naming<'a> {
    /// All columns by their usual names, but for the identifiers.
    pub fn usual(id_column: &'a str) -> Self {
        const USUAL: &ColumnNames = &ColumnNames::USUAL;
        Self { id_column, columns: USUAL }
    }
}

impl<'a> From<&'a str> for Naming<'a> {
    fn from(id_column: &'a str) -> Self {
        Self::usual(id_column)
    }
}

/// What is read of each star.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// How columns are found.
    pub naming: Naming<'a>,
    /// Labels, in the order in which they are kept.
    pub labels: &'a [String],
    /// Whether a column of flags that cannot be read matters.
    pub with_flags: bool,
    /// Columns of yes or no.
    pub marks: &'a [String],
}

impl<'a> Wanted<'a> {
    /// Labels, and what else there is.
    pub fn labels(naming: Naming<'a>, labels: &'a [String]) -> Self {
        Self { naming, labels, with_flags: false, marks: &[] }
    }
}

/// Stars with their labels, one entry per catalogue row, column by column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Catalogue {
    /// Row in the catalogue file, from 0.
    pub row: Vec<usize>,
    /// APOGEE_ID; of Astra's tables `sdss4_apogee_id`, or where that is empty `obj`.
    pub id: Vec<String>,
    /// FIELD, as it stands in archive paths; empty where the catalogue has none.
    pub field: Vec<String>,
    /// TELESCOPE (`apo25m`, `lco25m`, `apo1m`); empty where the catalogue has none.
    pub telescope: Vec<String>,
    /// FILE, the name of the apStar file; empty where the catalogue has none.
    pub file: Vec<String>,
    /// What Astra's tables tell of each spectrum; nothing in others.
    pub astra: Vec<AstraSpectrum>,
    /// Signal-to-noise ratio per pixel of the coadd; NaN if missing.
    pub snr: Vec<f64>,
    /// APOGEE_STARFLAG bits; of Astra's tables `spectrum_flags`, whose bits are the same.
    pub starflag: Vec<i64>,
    /// APOGEE_ASPCAPFLAG bits.
    pub aspcapflag: Vec<i64>,
    /// Which of the columns of yes and no that were asked for say yes.
    pub marks: Vec<Vec<bool>>,
    /// Labels per star in the order asked for; NaN if missing.
    pub labels: Vec<Vec<f64>>,
    /// Their errors, from columns like `<label>_err` and `e_<label>`, or worked out; NaN where there is none.
    pub label_errors: Vec<Vec<f64>>,
}

/// What leads from a row of Astra's tables to its spectrum (datamodel of `astraAllStarASPCAP`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AstraSpectrum {
    /// The star's number in SDSS-V; none where it has none.
    pub sdss_id: Option<i64>,
    /// Data release of the spectrum, `sdss5` or `dr17`.
    pub release: String,
    /// Version of its reduction, `1.3` or `dr17`.
    pub apred: String,
    /// Its name in the reduction.
    pub obj: String,
    /// HEALPix pixel of its folder, nside 128, ring order.
    pub healpix: Option<i64>,
}

impl Catalogue {
    /// Stars of which names, labels and errors of labels are known, [n_stars, n_labels], and nothing else. Numbers that stand for nothing
    /// are found as in tables.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where Teff or log g is in another unit.
    pub fn of_labels(
        id: Vec<String>,
        names: &[String],
        labels: Array2<f64>,
        label_errors: Array2<f64>,
    ) -> Result<Self> {
        let n = id.len();
        let (mut labels, mut label_errors, mut remarks) = (labels, label_errors, Remarks::default());
        for (k, name) in names.iter().enumerate() {
            for (matrix, column, are_errors) in
                [(&mut labels, name.clone(), false), (&mut label_errors, format!("errors of {name}"), true)]
            {
                let mut values = matrix.column(k).to_vec();
                remarks.count_nothing(&column, &(0..n), values.iter().copied());
                values.iter_mut().for_each(|value| *value = known(*value));
                remarks.strike(&column, &(0..n), &mut values, are_errors);
                if let Some(mut units) = LabelUnits::of(name).filter(|_| !are_errors) {
                    units.add(&values);
                    let possible =
                        units.possible().map_err(|detail| Error::Mismatch { what: "labels".into(), detail })?;
                    values.iter_mut().filter(|value| !possible.contains(value)).for_each(|value| *value = f64::NAN);
                    if let Some(remark) = units.remark() {
                        tracing::warn!("{remark}");
                    }
                }
                matrix.column_mut(k).assign(&Array1::from_vec(values));
            }
        }
        remarks.say(Path::new("labels"));
        let rows = |matrix: Array2<f64>| matrix.rows().into_iter().map(|row| row.to_vec()).collect();
        Ok(Self {
            row: (0..n).collect(),
            field: vec![String::new(); n],
            telescope: vec![String::new(); n],
            file: vec![String::new(); n],
            astra: vec![AstraSpectrum::default(); n],
            snr: vec![f64::NAN; n],
            starflag: vec![0; n],
            aspcapflag: vec![0; n],
            marks: vec![Vec::new(); n],
            id,
            labels: rows(labels),
            label_errors: rows(label_errors),
        })
    }

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
        self.astra.push(from.astra[row].clone());
        self.snr.push(from.snr[row]);
        self.starflag.push(from.starflag[row]);
        self.aspcapflag.push(from.aspcapflag[row]);
        self.marks.push(from.marks[row].clone());
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
    /// else for the row number, as a row without one has it: -1, -9999 and nan are none. Flags are 0 where there are none; a flag column that cannot be read matters
    /// only `with_flags`.
    ///
    /// Labels are found as `LabelSource::find` says: in columns of that name in any case, as [`ColumnNames`] says, or, for
    /// [X/Fe] and some parameters, in a release's own way.
    ///
    /// # Errors
    /// [`crate::error::Error::MissingColumn`] for an absent id or label; file errors as they are.
    pub fn read_block(table: &mut Table, wanted: &Wanted, rows: Range<usize>) -> Result<Self> {
        let n_rows = rows.len();
        let columns = wanted.naming.columns;
        let find = |label: &String| LabelSource::find(table, columns, label);
        let sources = wanted.labels.iter().map(find).collect::<Result<Vec<LabelSource>>>()?;
        let snr = columns.of("snr").map(|_| LabelSource::find(table, columns, "snr")).transpose()?;
        let [field, telescope, file, starflag, aspcapflag] =
            ["field", "telescope", "file", "starflag", "aspcapflag"].map(|key| column_of(table, columns, key));
        let mut needed: Vec<&str> = sources.iter().chain(&snr).flat_map(LabelSource::columns).collect();
        needed.extend([&field, &telescope, &file, &starflag, &aspcapflag].map(String::as_str));
        let id_column = columns.column("id").unwrap_or_else(|| wanted.naming.id_column.to_string());
        needed.extend(wanted.marks.iter().map(String::as_str).chain(ASTRA).chain(USUAL_IDS).chain(["snr", &id_column]));
        table.load(needed)?;

        let id = identifiers(table, wanted.naming, rows.clone())?;
        let (mut by_label, mut errors) = (Vec::new(), Vec::new());
        for source in &sources {
            let (values, error) = source.read(table, rows.clone())?;
            by_label.push(values);
            errors.push(error);
        }
        let snr = match snr {
            Some(source) => source.read(table, rows.clone())?.0,
            None if table.has("SNR") => table.numbers("SNR", rows.clone(), REMEDY)?,
            None => vec![f64::NAN; n_rows],
        };
        let marks = wanted.marks.iter().map(|mark| table.flags(mark, rows.clone())).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            row: rows.clone().collect(),
            id,
            field: optional(table, &field, rows.clone())?,
            telescope: optional(table, &telescope, rows.clone())?,
            file: optional(table, &file, rows.clone())?,
            astra: astra(table, rows.clone())?,
            snr,
            starflag: flags(table, &starflag, wanted.with_flags, &rows)?,
            aspcapflag: flags(table, &aspcapflag, wanted.with_flags, &rows)?,
            marks: by_row(&marks, n_rows)
                .into_iter()
                .map(|row| row.into_iter().map(|mark| mark != 0).collect())
                .collect(),
            labels: by_row(&by_label, n_rows),
            label_errors: by_row(&errors, n_rows),
        })
    }

    /// Reads a whole table at once; for small ones.
    ///
    /// # Errors
    /// As [`Catalogue::read_block`].
    pub fn read<'a>(path: &Path, naming: impl Into<Naming<'a>>, labels: &'a [String]) -> Result<Self> {
        let mut table = Table::open(path)?;
        let all = 0..table.n_rows();
        let catalogue = Self::read_block(&mut table, &Wanted::labels(naming.into(), labels), all)?;
        table.say_remarks();
        Ok(catalogue)
    }
}

fn by_row<T: Copy>(columns: &[Vec<T>], n_rows: usize) -> Vec<Vec<T>> {
    (0..n_rows).map(|row| columns.iter().map(|column| column[row]).collect()).collect()
}

/// The column of one of the keys of [`ColumnNames`] that are no labels: as it is named, or by its usual name.
pub(super) fn column_of(table: &Table, columns: &ColumnNames, key: &str) -> String {
    let usual = || match key {
        "starflag" if !table.has(key) && table.has("spectrum_flags") => "spectrum_flags".into(),
        key => key.to_uppercase(),
    };
    columns.column(key).unwrap_or_else(usual)
}

/// Columns that Astra's tables have beside each other, and no others.
const ASTRA: [&str; 6] = ["sdss_id", "release", "obj", "apred", "healpix", "sdss4_apogee_id"];

fn is_astra(table: &Table) -> bool {
    ASTRA[..4].iter().all(|column| table.has(column))
}

fn identifiers(table: &mut Table, naming: Naming, rows: Range<usize>) -> Result<Vec<String>> {
    let named = naming.columns.column("id").or_else(|| Some(naming.id_column.to_string()).filter(|id| !id.is_empty()));
    let usual = USUAL_IDS.into_iter().find(|column| table.has(column));
    let mut ids = match (named, usual) {
        (Some(column), _) if table.has(&column) || column != APOGEE_ID || !is_astra(table) => {
            table.identifiers(&column, rows.clone(), if column == APOGEE_ID { REMEDY } else { ID_REMEDY })?
        }
        (None, Some(column)) => table.identifiers(column, rows.clone(), REMEDY)?,
        _ if is_astra(table) => {
            let obj = table.identifiers("obj", rows.clone(), REMEDY)?;
            let mut ids = match table.has("sdss4_apogee_id") {
                true => table.identifiers("sdss4_apogee_id", rows.clone(), REMEDY)?,
                false => vec![String::new(); rows.len()],
            };
            ids.iter_mut().zip(obj).filter(|(id, _)| id.is_empty()).for_each(|(id, obj)| *id = obj);
            ids
        }
        _ => vec![String::new(); rows.len()],
    };
    // Stars without a name are not one star.
    ids.iter_mut().zip(rows).filter(|(id, _)| id.is_empty()).for_each(|(id, row)| *id = row_name(row));
    ids.iter_mut().filter(|id| id.len() > LONGEST_ID).for_each(|id| *id = shortened(id));
    Ok(ids)
}

/// What Astra's tables tell of their spectra; nothing of other tables.
fn astra(table: &mut Table, rows: Range<usize>) -> Result<Vec<AstraSpectrum>> {
    if !is_astra(table) {
        return Ok(vec![AstraSpectrum::default(); rows.len()]);
    }
    let sdss_id = table.flags("sdss_id", rows.clone())?;
    let healpix = if table.has("healpix") { table.flags("healpix", rows.clone())? } else { vec![-1; rows.len()] };
    let mut texts = |column: &str| table.texts(column, rows.clone(), REMEDY);
    let (release, apred, obj) = (texts("release")?, texts("apred")?, texts("obj")?);
    let spectrum = |row: usize| AstraSpectrum {
        sdss_id: Some(sdss_id[row]).filter(|id| *id > 0),
        release: release[row].clone(),
        apred: apred[row].clone(),
        obj: obj[row].clone(),
        healpix: Some(healpix[row]).filter(|pixel| *pixel >= 0),
    };
    Ok((0..rows.len()).map(spectrum).collect())
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

fn optional(table: &mut Table, column: &str, rows: Range<usize>) -> Result<Vec<String>> {
    if table.has(column) { table.texts(column, rows, REMEDY) } else { Ok(vec![String::new(); rows.len()]) }
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
    fn stars_without_a_name_are_called_by_their_rows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.csv");
        std::fs::write(&path, "id,star,teff\n-9999,nan,1\n-9999,nan,2\na,-1,3\n,,4\n").unwrap();
        let columns: ColumnNames = toml::from_str("id = \"star\"").unwrap();
        let ids = |naming: Naming| Catalogue::read(&path, naming, &[]).unwrap().id;
        for naming in [Naming::usual(""), Naming::usual("id")] {
            assert_eq!(ids(naming), ["row0000001", "row0000002", "a", "row0000004"]);
        }
        let named = Naming { id_column: "", columns: &columns };
        assert_eq!(ids(named), ["row0000001", "row0000002", "row0000003", "row0000004"]);
    }

    #[test]
    fn a_column_of_identifiers_that_is_not_there_is_asked_for_where_it_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.csv");
        std::fs::write(&path, "name,teff\na,4500\n").unwrap();
        let said = |column: &str| Catalogue::read(&path, column, &["teff".into()]).unwrap_err().to_string();
        assert!(
            said("nam").contains("no column nam")
                && said("nam").contains("data.arrays.id_column")
                && said("nam").contains("data.columns.id")
        );
        assert!(said(APOGEE_ID).contains("allStar"));
    }

    const ASTRA_ROWS: &str = "sdss_id,sdss4_apogee_id,obj,healpix,release,apred,telescope,snr,spectrum_flags,teff\n\
        7,2M1,2M1b,10105,dr17,dr17,apo25m,90,8,4500\n-1,,2M2,-1,sdss5,1.3,lco25m,80,0,4600\n8,,,5,sdss5,1.3,apo25m,80,,4700\n";

    #[test]
    fn rows_of_astra_tell_where_their_spectra_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("astra.csv");
        std::fs::write(&path, ASTRA_ROWS).unwrap();
        for id_column in [APOGEE_ID, ""] {
            let stars = Catalogue::read(&path, id_column, &["teff".into()]).unwrap();
            assert_eq!(stars.id, ["2M1", "2M2", "row0000003"]);
            let [release, apred, obj] = ["dr17", "dr17", "2M1b"].map(String::from);
            assert_eq!(stars.astra[0], AstraSpectrum { sdss_id: Some(7), release, apred, obj, healpix: Some(10105) });
            assert_eq!((stars.astra[1].sdss_id, stars.astra[1].healpix), (None, None));
            assert_eq!((stars.starflag, stars.telescope[1].as_str()), (vec![8, 0, 0], "lco25m"));
        }
        std::fs::write(&path, ASTRA_ROWS.replace("apred", "apred2")).unwrap();
        assert!(Catalogue::read(&path, APOGEE_ID, &["teff".into()]).is_err());
        assert_eq!(Catalogue::read(&path, "", &["teff".into()]).unwrap().astra[0], AstraSpectrum::default());
    }

    #[test]
    fn columns_may_have_any_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("own.csv");
        std::fs::write(&path, "star id,sn,bits,T,dT,mg,fe\na,50,3,4.5,0.1,0.2,0.1\n").unwrap();
        let columns: ColumnNames = toml::from_str(
            "id = { column = \"star id\" }\nsnr = \"2 * sn\"\nstarflag = \"bits\"\nmg_fe = \"mg - fe\"\n\
             teff = { expression = \"1000 * T\", error = \"dT\" }",
        )
        .unwrap();
        let naming = Naming { id_column: "", columns: &columns };
        let stars = Catalogue::read(&path, naming, &["teff".into(), "mg_fe".into()]).unwrap();
        assert_eq!((stars.id[0].as_str(), stars.snr[0], stars.starflag[0]), ("a", 100.0, 3));
        assert_eq!((stars.labels[0][0], stars.labels[0][1], stars.label_errors[0][0]), (4500.0, 0.1, 0.1));
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
