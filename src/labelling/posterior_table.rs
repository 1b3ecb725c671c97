//! Posteriors of many spectra as the summary in a folder, with the draws of all of them beside it.

use std::path::{Path, PathBuf};

use super::journal::Journal;
use super::merge::{Merged, RowTable, gather};
use super::places::Places;
use super::posterior_draws::{self, MarkedRows};
use super::posterior_folder::{PosteriorFolder, StarFiles};
use super::posterior_row::{PosteriorRow, SummaryForm};
use super::shards::{Listed, Plan, journals};
use crate::data::growing_table::RowMark;
use crate::error::Result;
use crate::inference::posteriors;
use crate::progress::Progress;
use crate::stars::spectra::SpectrumSource;

/// The rows of a summary, and where the draws of each are.
struct SummaryTable<'a> {
    places: Places,
    form: &'a SummaryForm,
    rows: Vec<Option<PosteriorRow>>,
    /// The number of the journal that each row is from.
    journals: Vec<usize>,
}

impl RowTable for SummaryTable<'_> {
    type Row = PosteriorRow;

    fn place(&self, name: &str) -> Option<usize> {
        self.places.get(name)
    }

    fn is_whole(&self, row: &PosteriorRow) -> bool {
        row.posterior.marginals.len() == self.form.label_names.len()
    }

    fn is_like(&self, place: usize, row: &PosteriorRow) -> bool {
        self.rows[place].as_ref().is_some_and(|known| known.is_like(row))
    }

    fn words(&self, place: usize, row: &PosteriorRow) -> [String; 2] {
        let words = |row: Option<&PosteriorRow>| {
            let means = row.map(|row| row.posterior.marginals.iter().map(|marginal| marginal.mean).collect::<Vec<_>>());
            format!("the means {:?}", means.unwrap_or_default())
        };
        [words(Some(row)), words(self.rows[place].as_ref())]
    }

    fn put(&mut self, place: usize, row: PosteriorRow, journal: usize) {
        self.rows[place] = Some(row);
        self.journals[place] = journal;
    }
}

/// Gathers the rows of a folder of parts, and writes summary and draws of all of them into the folder if none is missing.
///
/// # Errors
/// Those of gathering and of writing; [`crate::error::Error::Config`] where something else is in the folder, unless it is to be
/// overwritten.
pub fn merge(
    out: &Path,
    parts: &Path,
    (plan, form): (&Plan, &SummaryForm),
    listed: &Listed,
    overwrite: bool,
    progress: &dyn Progress,
) -> Result<Merged> {
    let mut folder = PosteriorFolder::open(out, &form.origin, Some(&listed.names), overwrite)?;
    let (rows, of_journal) = (vec![None; listed.n_spectra], vec![0; listed.n_spectra]);
    let mut table = SummaryTable { places: Places::of(&listed.files), form, rows, journals: of_journal };
    let merged = gather(&mut table, parts, plan, listed, progress)?;
    if !merged.missing.is_empty() {
        return Ok(merged);
    }
    let paths = journals(parts)?.into_iter().map(|(_, path)| path).collect();
    let rows = table.rows.into_iter().flatten().zip(table.journals).collect();
    write(&mut folder, form, rows, paths)?;
    Ok(merged)
}

/// Turns a journal into the summary of a folder, and the draws beside it, and removes it. The rows of these spectra come first, in their
/// order; then those of others that the journal has.
///
/// # Errors
/// Those of reading the journal and of writing; the journal then stays.
pub fn finish(
    journal: Journal<PosteriorRow>,
    folder: &mut PosteriorFolder,
    form: &SummaryForm,
    spectra: &dyn SpectrumSource,
) -> Result<()> {
    let places = Places::of(spectra);
    let (mut rows, mut others) = (vec![None; spectra.len()], Vec::new());
    journal.each_row(|row: PosteriorRow| {
        match places.get(&row.file) {
            Some(place) => rows[place] = Some((row, 0)),
            None => others.push((row, 0)),
        }
        Ok(())
    })?;
    let rows = rows.into_iter().flatten().chain(others).collect();
    write(folder, form, rows, vec![journal.path().to_path_buf()])?;
    journal.discard()
}

/// Writes rows, each of one of these journals: first the draws, then the summary, by which a folder is known to be complete.
fn write(
    folder: &mut PosteriorFolder,
    form: &SummaryForm,
    rows: Vec<(PosteriorRow, usize)>,
    journals: Vec<PathBuf>,
) -> Result<()> {
    let mut marked: Vec<(PathBuf, MarkedRows)> = journals.into_iter().map(|path| (path, Vec::new())).collect();
    let (mut names, mut files, mut flags, mut found) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (n, (row, journal)) in rows.into_iter().enumerate() {
        names.push(folder.name(&row.file, &row.id, StarFiles::Untouched));
        marked[journal].1.extend(row.draws.map(|mark: RowMark| (n, mark)));
        files.push(row.file);
        flags.push(row.flags);
        found.push(row.posterior);
    }
    if form.n_kept() > 0 {
        let path = folder.draws();
        posterior_draws::write(&path, form, (&names, &files), &marked, &folder.keys())?;
    }
    folder.write_summary(posteriors::columns(&names, &form.label_names, &found, &flags))?;
    folder.remove_stale(form.n_kept() > 0);
    Ok(())
}
