//! Draws of many stars in one file: some of each, a row a star.

use std::path::{Path, PathBuf};

use super::best_fits::{created_by, creator};
use super::journal::draws_of;
use super::posterior_row::SummaryForm;
use crate::data::files;
use crate::data::fits::{Column, UnfinishedFits};
use crate::data::growing_table::{GrowingTable, GrownTable, RowMark};
use crate::error::{Error, Result};
use crate::inference::draws::Draws;
use crate::spectra::labels::unit;

/// Name of the table.
const TABLE: &str = "DRAWS";
/// Columns before those of the draws: which star it is.
const OWN_COLUMNS: usize = 2;

impl SummaryForm {
    /// A column for each label, and the noise where it has a factor; without values.
    fn draw_columns(&self) -> Vec<Column> {
        let mut columns: Vec<Column> = Vec::new();
        for name in &self.label_names {
            columns.push(Column { unit: unit(name).into(), ..Column::f32_vectors(name, self.n_kept(), Vec::new()) });
        }
        if self.has_noise {
            columns.push(Column::f32_vectors("ln_noise", self.n_kept(), Vec::new()));
        }
        columns
    }

    /// The draws that are kept, evenly through all chains, those of one label behind those of another.
    pub(super) fn thinned(&self, draws: &Draws) -> Vec<f32> {
        let (n_kept, n_draws) = (self.n_kept(), draws.values.nrows());
        let rows: Vec<usize> = (0..n_kept).map(|n| (2 * n + 1) * n_draws / (2 * n_kept)).collect();
        let n_labels = self.label_names.len();
        let columns = (0..n_labels).chain(self.has_noise.then_some(draws.values.ncols() - 1));
        columns.flat_map(|column| rows.iter().map(move |row| draws.values[[*row, column]] as f32)).collect()
    }
}

/// Draws on their way, beside the journal whose rows speak of them.
#[derive(Debug)]
pub struct KeptDraws {
    form: SummaryForm,
    table: Option<GrowingTable>,
}

impl KeptDraws {
    /// Nothing is written as yet.
    pub fn new(form: &SummaryForm) -> Self {
        Self { form: form.clone(), table: None }
    }

    /// Adds the draws of a star, where they are to be kept; they are on the disk when this returns.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`].
    pub fn add(&mut self, journal: &Path, draws: &Draws) -> Result<Option<RowMark>> {
        if self.form.n_kept() == 0 {
            return Ok(None);
        }
        let table = match &mut self.table {
            Some(table) => table,
            None => {
                let (path, columns) = (draws_of(journal), self.form.draw_columns());
                self.table.insert(GrowingTable::begin(&path, TABLE, &columns, &[created_by(&creator())])?)
            }
        };
        table.append(&self.form.thinned(draws)).map(Some)
    }
}

/// Rows of a journal, or of one of several: what they are to be in the file, and where they are beside the journal.
pub(super) type MarkedRows = Vec<(usize, RowMark)>;

/// Writes the draws of some stars into one file, a row for each; a star without draws has NaN. Memory holds one row.
///
/// # Errors
/// [`Error::Format`] where draws are not as the journal has them; [`Error::Io`], [`Error::Fits`].
pub(super) fn write(
    path: &Path,
    form: &SummaryForm,
    (names, spectra): (&[String], &[String]),
    journals: &[(PathBuf, MarkedRows)],
    keys: &[(&str, &str, &str)],
) -> Result<()> {
    let mut file = UnfinishedFits::begin(path)?;
    let writer = file.writer();
    let own = [Column::text("id", names.to_vec()), Column::text("file", spectra.to_vec())];
    let columns: Vec<Column> = own.into_iter().chain(form.draw_columns()).collect();
    writer.table(TABLE, &columns)?;
    for (key, value, comment) in keys.iter().chain(&[created_by(&creator())]) {
        writer.append_key(key, *value, comment)?;
    }
    writer.append_key("NCHAINS", form.chains as i64, "chains of a star")?;
    writer.append_key("NDRAWS", form.draws as i64, "draws of each chain")?;
    writer.comment(&format!(
        "Of the draws of each star {} are here, evenly through all chains, chain after chain.",
        form.n_kept()
    ))?;
    let width = form.n_kept();
    let mut is_filled = vec![false; names.len()];
    for (journal, rows) in journals {
        let Some((first, _)) = rows.first() else { continue };
        let lost = |row: usize, err: Error| {
            let remedy = "remove that file and the journal beside it, and start again";
            Error::format(journal, format!("the draws of {} are lost: {err}; {remedy}", spectra[row]))
        };
        let mut grown = GrownTable::open(&draws_of(journal)).map_err(|err| lost(*first, err))?;
        for (row, mark) in rows {
            let values = grown.row(mark).map_err(|err| lost(*row, err))?;
            file.writer().fill_vectors(TABLE, OWN_COLUMNS, *row, width, &values)?;
            is_filled[*row] = true;
        }
    }
    let missing = vec![f32::NAN; width * (columns.len() - OWN_COLUMNS)];
    for row in (0..names.len()).filter(|row| !is_filled[*row]) {
        file.writer().fill_vectors(TABLE, OWN_COLUMNS, row, width, &missing)?;
    }
    file.complete()
}

/// The file of the draws of many stars, in the folder of posteriors.
pub fn file_in(folder: &Path) -> PathBuf {
    files::with_ending(&folder.join("draws"), "fits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::FitsReader;
    use ndarray::Array2;

    fn form(kept: usize, has_noise: bool) -> SummaryForm {
        let label_names = ["teff", "logg"].map(String::from).to_vec();
        SummaryForm { label_names, has_noise, chains: 4, draws: 25, kept, origin: "model".into() }
    }

    fn draws(star: usize) -> Draws {
        Draws {
            n_chains: 4,
            values: Array2::from_shape_fn((100, 3), |(n, k)| (1000 * star + 100 * k + n) as f64),
            divergent: Vec::new(),
            beyond_walls: 0,
            acceptance: 0.9,
            step_size: 1.0,
            n_gradients: 0,
        }
    }

    #[test]
    fn draws_are_kept_evenly_through_all_chains() {
        assert_eq!(form(4, false).thinned(&draws(0)), [12.0, 37.0, 62.0, 87.0, 112.0, 137.0, 162.0, 187.0]);
        assert_eq!(form(1, true).thinned(&draws(0)), [50.0, 150.0, 250.0]);
        let all: Vec<f32> = (0..200).map(|n| n as f32).collect();
        assert_eq!((form(1000, false).thinned(&draws(0)), form(1000, false).n_kept()), (all, 100));
    }

    #[test]
    fn draws_of_several_journals_come_into_one_file_in_the_order_of_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let form = form(4, true);
        let journals = ["a.jsonl", "b.jsonl"].map(|name| folder.path().join(name));
        let mut marked = Vec::new();
        for (journal, stars) in journals.iter().zip([[3, 0], [2, 4]]) {
            let mut kept = KeptDraws::new(&form);
            let rows = stars.map(|star| (star, kept.add(journal, &draws(star)).unwrap().unwrap()));
            marked.push((journal.clone(), rows.to_vec()));
        }
        let names: Vec<String> = (0..5).map(|n| format!("s{n}")).collect();
        let path = file_in(folder.path());
        write(&path, &form, (&names, &names), &marked, &[("SAMPLEBY", "model", "")]).unwrap();
        let mut fits = FitsReader::open(&path).unwrap();
        let expected = ["id", "file", "teff", "logg", "ln_noise"].map(String::from).to_vec();
        assert_eq!(fits.table_layout(1).unwrap(), (5, expected));
        let units = ["TUNIT3", "TFORM3", "SAMPLEBY"].map(|key| fits.key_text(1, key).unwrap_or_default());
        assert_eq!((units, fits.key_f64(1, "NDRAWS")), (["K", "4E", "model"].map(String::from), Some(25.0)));
        for star in [0, 2, 3, 4] {
            let first = (1000 * star + 112) as f64;
            assert_eq!(fits.row_vector(1, "logg", star, 9).unwrap(), [0.0, 25.0, 50.0, 75.0].map(|n| first + n));
        }
        assert!(fits.row_vector(1, "ln_noise", 1, 9).unwrap().iter().all(|value| value.is_nan()));
        // Draws that are not as they were, and none.
        marked[1].1[0].1.1 = "other".into();
        let err = write(&path, &form, (&names, &names), &marked, &[]).unwrap_err().to_string();
        assert!(err.contains("b.jsonl: the draws of s2 are lost") && err.contains("start again"), "{err}");
        std::fs::remove_file(draws_of(&journals[0])).unwrap();
        let err = write(&path, &form, (&names, &names), &marked, &[]).unwrap_err().to_string();
        assert!(err.contains("a.jsonl: the draws of s3 are lost") && err.contains("start again"), "{err}");
        assert!(std::fs::read_dir(folder.path()).unwrap().count() == 2, "half a file has no name");
    }
}
