//! Arrays whose rows are labelled by a trained model: read a batch at a time, however large they are.

use std::path::{Path, PathBuf};

use super::array_spectra::{ArrayPair, ArrayPaths, read_wavelengths};
use super::held_arrays::{FIRST, KnownPixels};
use super::spectra::{HandedOn, Pixels, ReadSpectrum, SpectrumSource};
use crate::data::arrays::Matrix;
use crate::data::catalogue::{Catalogue, USUAL_IDS, row_name};
use crate::data::files;
use crate::data::table::Table;
use crate::data::value::Value;
use crate::error::{Error, Result, nearest_name};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::stored::blocks;
use crate::training::checkpoint::Preparation;

/// What is given of arrays to be labelled. Paths are those of [`ArrayData`](super::settings::ArrayData).
#[derive(Debug, Clone, Default)]
pub struct ArrayChoice {
    /// Flux, [n_stars, n_pixels].
    pub flux: PathBuf,
    /// Error of the flux.
    pub error: Option<PathBuf>,
    /// Inverse variance of the flux, in place of its error.
    pub ivar: Option<PathBuf>,
    /// Wavelengths of the pixels in vacuum Angstrom.
    pub wavelengths: Option<PathBuf>,
    /// Table with a row for each spectrum that names the stars; numbered rows where there is none.
    pub ids: Option<PathBuf>,
    /// Only these stars; all where empty.
    pub only: Vec<String>,
    /// Columns of the table that are handed on.
    pub columns: HandedOn,
}

impl ArrayChoice {
    /// The files beside the arrays.
    fn tables(&self) -> impl Iterator<Item = &Path> {
        [&self.wavelengths, &self.ids].into_iter().flatten().map(PathBuf::as_path)
    }
}

/// Rows of arrays on disk.
#[derive(Debug)]
pub struct ArrayFiles {
    choice: ArrayChoice,
    pair: ArrayPair,
    wavelength: Option<Vec<f64>>,
    /// Rows of the arrays.
    rows: Vec<usize>,
    /// Names and signal-to-noise ratios of all rows.
    ids: Vec<String>,
    snr: Vec<f64>,
    /// What is handed on, column by column, of all rows; no rows where the table has none of it.
    columns: Vec<Vec<Value>>,
    /// Both arrays, where no row of a file can be read alone.
    whole: Option<(Matrix<'static>, Matrix<'static>)>,
}

impl ArrayFiles {
    /// Finds the arrays and reads the names of the stars.
    ///
    /// # Errors
    /// File errors; [`Error::Mismatch`] where arrays, table and wavelengths disagree, or a star is asked for that is not there.
    pub fn open(choice: ArrayChoice) -> Result<Self> {
        let (error, ivar) = (choice.error.as_deref(), choice.ivar.as_deref());
        let pair = ArrayPair::find(ArrayPaths { flux: &choice.flux, error, ivar, key: "--" })?;
        let (n_spectra, n_pixels) = pair.flux.shape;
        if n_spectra == 0 {
            let detail = "an array of no spectra: it has 0 rows".into();
            return Err(Error::Mismatch { what: choice.flux.display().to_string(), detail });
        }
        let read = |path: &PathBuf| read_wavelengths(path, &choice.flux, n_pixels);
        let wavelength = choice.wavelengths.as_ref().map(read).transpose()?;
        let (ids, snr) = match &choice.ids {
            Some(table) => {
                let Catalogue { id, snr, .. } = Catalogue::read(table, "", &[])?;
                if id.len() != n_spectra {
                    let what = format!("{} and {}", table.display(), choice.flux.display());
                    let detail =
                        format!("{} rows and {n_spectra} spectra; one row per spectrum, in the same order", id.len());
                    return Err(Error::Mismatch { what, detail });
                }
                if id.iter().enumerate().all(|(row, id)| *id == row_name(row)) {
                    tracing::warn!(
                        "{}: no identifiers in a column ({}), so that stars are called by their rows",
                        table.display(),
                        USUAL_IDS.join(", ")
                    );
                }
                (id, snr)
            }
            None => ((0..n_spectra).map(row_name).collect(), vec![f64::NAN; n_spectra]),
        };
        let columns = handed_on(&choice)?;
        let rows = rows_of(&choice.only, &ids, &choice.flux)?;
        let whole = match pair.have_rows_of_their_own() {
            true => None,
            false => {
                tracing::info!("packed or in Fortran's order: the arrays are held in memory as a whole");
                Some((pair.flux.read()?, pair.noise.read()?))
            }
        };
        Ok(Self { choice, pair, wavelength, rows, ids, snr, columns, whole })
    }

    /// The rows of some stars, which know their rows; what can be told before was told. Rows can be read alone.
    pub(super) fn of_stars(choice: ArrayChoice, pair: ArrayPair, stars: &Catalogue) -> Self {
        let mut ids = vec![String::new(); pair.flux.shape.0];
        stars.row.iter().zip(&stars.id).for_each(|(row, id)| ids[*row].clone_from(id));
        let (rows, snr) = (stars.row.clone(), vec![f64::NAN; ids.len()]);
        Self { choice, pair, wavelength: None, rows, ids, snr, columns: Vec::new(), whole: None }
    }

    /// Pixels that cannot lie in a gap, as [`HeldArrays::on_chip`](super::held_arrays::HeldArrays) tells them.
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn on_chip(&self, grid: &WavelengthGrid) -> Result<Vec<bool>> {
        let mut is_measured = vec![false; grid.n_pixels()];
        for rows in blocks(self.pair.flux.shape.0, grid.n_pixels()) {
            let n_rows = rows.len();
            let (flux, noise) = (self.pair.flux.read_rows(rows.clone())?, self.pair.noise.read_rows(rows)?);
            let some = self.pair.spectra(&flux, &noise, &(0..n_rows).collect::<Vec<usize>>(), false).on_chip(grid);
            is_measured.iter_mut().zip(some).for_each(|(is_measured, some)| *is_measured |= some);
            if grid.is_apogee() || is_measured.iter().all(|is_measured| *is_measured) {
                break;
            }
        }
        Ok(is_measured)
    }

    /// Flux and noise of some rows, which ascend; rows that follow each other are read together.
    fn read_rows(&self, rows: &[usize], pixels: Pixels, warns: bool) -> Vec<Result<ReadSpectrum>> {
        let refused = |run: &[usize], err: Error| {
            let of_row = |row: &usize| {
                Err(Error::Mismatch { what: name_of_row(&self.choice.flux, *row), detail: err.to_string() })
            };
            run.iter().map(of_row).collect()
        };
        let runs = rows.chunk_by(|a, b| *b == *a + 1);
        runs.flat_map(|run| self.read_run(run, pixels, warns).unwrap_or_else(|err| refused(run, err))).collect()
    }

    fn read_run(&self, run: &[usize], pixels: Pixels, warns: bool) -> Result<Vec<Result<ReadSpectrum>>> {
        let range = run[0]..run[0] + run.len();
        let all: Vec<usize> = (0..run.len()).collect();
        let mut spectra = match &self.whole {
            Some((flux, noise)) => self.pair.spectra(flux, noise, run, warns),
            None => {
                let (flux, noise) = (self.pair.flux.read_rows(range.clone())?, self.pair.noise.read_rows(range)?);
                self.pair.spectra(&flux, &noise, &all, warns)
            }
        };
        spectra.ids = run.iter().map(|row| self.ids[*row].clone()).collect();
        let value = |column: &Vec<Value>, row: usize| column.get(row).cloned().unwrap_or_default();
        let of_table = |(read, row): (Result<ReadSpectrum>, &usize)| {
            let values = self.columns.iter().map(|column| value(column, *row)).collect();
            read.map(|read| ReadSpectrum { snr: self.snr[*row], values, ..read })
        };
        Ok(spectra.read(&all, pixels).into_iter().zip(run).map(of_table).collect())
    }
}

/// The columns that are handed on of the table that names the stars.
fn handed_on(choice: &ArrayChoice) -> Result<Vec<Vec<Value>>> {
    let HandedOn { asked, welcome } = &choice.columns;
    let Some(path) = &choice.ids else {
        return match asked.first() {
            Some(column) => {
                let detail =
                    "arrays have no headers; name a table that has this column, a row for each spectrum, by --ids";
                Err(Error::Config(format!("--columns {column}: {detail}")))
            }
            None => Ok(vec![Vec::new(); welcome.len()]),
        };
    };
    if asked.is_empty() && welcome.is_empty() {
        return Ok(Vec::new());
    }
    let mut table = Table::open(path)?;
    let all = 0..table.n_rows();
    let mut columns = Vec::with_capacity(asked.len() + welcome.len());
    for column in asked {
        columns.push(table.values(column, all.clone(), "name columns of the table in --columns")?);
    }
    for column in welcome {
        let values = if table.has(column) { table.values(column, all.clone(), "").ok() } else { None };
        columns.push(values.unwrap_or_default());
    }
    table.say_remarks();
    Ok(columns)
}

/// The rows of these stars, in the order of the rows; all where none is named. A star has the name that `ids` gives it, and that of
/// its row.
fn rows_of(only: &[String], ids: &[String], flux: &Path) -> Result<Vec<usize>> {
    let mut numbered = Vec::new();
    for wanted in only.iter().filter(|wanted| !ids.contains(wanted)) {
        let Some(row) = row_called(wanted, flux).filter(|row| *row < ids.len()) else {
            let near = nearest_name(wanted, ids.iter().map(String::as_str)).map(|id| format!("; {id} is"));
            let detail = format!("not among the {} stars{}", ids.len(), near.unwrap_or_default());
            return Err(Error::Mismatch { what: format!("star {wanted}"), detail });
        };
        numbered.push(row);
    }
    let is_wanted = |row: &usize| only.is_empty() || only.contains(&ids[*row]) || numbered.contains(row);
    Ok((0..ids.len()).filter(is_wanted).collect())
}

/// What a row is called in messages, and in tables as the file of its spectrum: counted from 0.
fn name_of_row(flux: &Path, row: usize) -> String {
    format!("{}[{row}]", files::path_text(flux))
}

/// The row of a name that [`name_of_row`] gives, of which the brackets are enough.
fn row_called(name: &str, flux: &Path) -> Option<usize> {
    let (file, row) = name.strip_suffix(']')?.rsplit_once('[')?;
    row.parse().ok().filter(|_| file.is_empty() || file == files::path_text(flux))
}

impl SpectrumSource for ArrayFiles {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn name(&self, spectrum: usize) -> String {
        name_of_row(&self.choice.flux, self.rows[spectrum])
    }

    fn id(&self, spectrum: usize) -> Option<String> {
        Some(self.ids[self.rows[spectrum]].clone())
    }

    fn expect_alike(&self, model: &Path, preparation: &Preparation) -> Result<()> {
        let first = &self.rows[..self.rows.len().min(FIRST)];
        let known = KnownPixels {
            name: &self.choice.flux,
            n_pixels: self.pair.flux.shape.1,
            wavelength: self.wavelength.as_deref(),
        };
        known.expect_alike(model, preparation, |pixels| self.read_rows(first, pixels, true))
    }

    fn read(&self, spectra: &[usize], pixels: Pixels) -> Vec<Result<ReadSpectrum>> {
        let rows: Vec<usize> = spectra.iter().map(|spectrum| self.rows[*spectrum]).collect();
        self.read_rows(&rows, pixels, false)
    }

    fn files(&self) -> Box<dyn Iterator<Item = &Path> + '_> {
        Box::new([self.pair.flux.file(), self.pair.noise.file()].into_iter().chain(self.choice.tables()))
    }

    fn origin(&self) -> Result<String> {
        self.fingerprint()
    }

    fn fingerprint(&self) -> Result<String> {
        self.pair.fingerprint(self.choice.tables())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_has_the_names_that_tables_give_it() {
        let (flux, ids) = (Path::new("a.fits[FLUX]"), ["s0", "s1", "[0]"].map(String::from));
        let rows = |only: &[&str]| rows_of(&only.iter().map(ToString::to_string).collect::<Vec<_>>(), &ids, flux);
        assert_eq!(rows(&[]).unwrap(), [0, 1, 2]);
        assert_eq!(rows(&["s1", "a.fits[FLUX][2]"]).unwrap(), [1, 2]);
        assert_eq!(name_of_row(flux, 2), "a.fits[FLUX][2]");
        // What `ids` say comes first.
        assert_eq!((rows(&["[1]"]).unwrap(), rows(&["[0]"]).unwrap()), (vec![1], vec![2]));
        for absent in ["[3]", "b.npy[1]", "[-1]", "s2", "1"] {
            let said = rows(&[absent]).unwrap_err().to_string();
            assert!(said.contains(&format!("star {absent}: not among the 3 stars")), "{said}");
        }
    }
}
