//! The rows of all shards of a list, gathered into a table: every listed spectrum once, in the order of the list.

use std::path::{Path, PathBuf};

use super::journal_lines::{JournalRow, each_row};
use super::shards::{Listed, Plan, journals};
use crate::data::files;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::stars::spectra::SpectrumSource;

/// What became of the rows.
#[derive(Debug)]
pub struct Merged {
    /// Rows that were there already, equal ones.
    pub n_twins: usize,
    /// Places in the list of what could not be read.
    pub unreadable: Vec<usize>,
    /// Places in the list of what has no row; nothing is written where there are any.
    pub missing: Vec<usize>,
}

/// A table that rows of journals go into, one for each spectrum of a list.
pub(super) trait RowTable {
    /// The rows.
    type Row: JournalRow;

    /// The place of a spectrum, by its name.
    fn place(&self, name: &str) -> Option<usize>;

    /// Whether a row has all that such a row has.
    fn is_whole(&self, row: &Self::Row) -> bool;

    /// Whether a row says the same as the one at its place.
    fn is_like(&self, place: usize, row: &Self::Row) -> bool;

    /// What a row says, and what the one at its place says, in words.
    fn words(&self, place: usize, row: &Self::Row) -> [String; 2];

    /// Puts a row in its place; `journal` is the number of the one that has it.
    fn put(&mut self, place: usize, row: Self::Row, journal: usize);
}

/// Of each spectrum, what is known so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Unreadable,
    Read,
}

/// Gathers the rows of a folder of parts, of all the journals that are there.
///
/// # Errors
/// [`Error::Mismatch`] for rows of spectra that are not listed, and twins that differ; [`Error::TooFewStars`] if nothing could be read;
/// those of reading.
pub(super) fn gather<T: RowTable>(
    table: &mut T,
    folder: &Path,
    plan: &Plan,
    listed: &Listed,
    progress: &dyn Progress,
) -> Result<Merged> {
    let mut known = vec![Known::Nothing; listed.n_spectra];
    // Which journal each row is from.
    let (mut n_twins, mut origin) = (0, vec![0_u32; listed.n_spectra]);
    let journals = journals(folder)?;
    progress.start("merging shards", journals.len());
    for (number, (_, path)) in (0..).zip(&journals) {
        each_row(path, &plan.fingerprint, |row: T::Row| {
            let (name, is_read) = (row.file().to_string(), row.is_read());
            let Some(place) = table.place(&name) else {
                let detail = format!("has a row of {name}, which is not listed in {}", plan.list.display());
                return Err(Error::Mismatch { what: path.display().to_string(), detail });
            };
            if is_read && !table.is_whole(&row) {
                let detail = format!("the row of {name} is damaged; remove the file and start its shard again");
                return Err(Error::format(path, detail));
            }
            match (known[place], is_read) {
                // What was read once is known; a trial that failed says nothing against it.
                (Known::Read, false) | (Known::Unreadable, false) => return Ok(()),
                (Known::Read, true) => {
                    n_twins += 1;
                    if table.is_like(place, &row) {
                        return Ok(());
                    }
                    let (other, [here, before]) = (&journals[origin[place] as usize].1, table.words(place, &row));
                    let detail = format!(
                        "{name} has {here} here and {before} in {}: were two models or two versions of maury at work? Remove the journal \
                         that is wrong",
                        other.display()
                    );
                    return Err(Error::Mismatch { what: path.display().to_string(), detail });
                }
                _ => {}
            }
            known[place] = if is_read { Known::Read } else { Known::Unreadable };
            origin[place] = number;
            table.put(place, row, number as usize);
            Ok(())
        })?;
        progress.advance(1);
    }
    progress.finish();
    let places = |of: Known| (0..listed.n_spectra).filter(|n| known[*n] == of).collect();
    let merged = Merged { unreadable: places(Known::Unreadable), n_twins, missing: places(Known::Nothing) };
    if merged.unreadable.len() == listed.files.len() {
        let remedy =
            format!("none of the spectra in {} could be read; are its paths right from here?", plan.list.display());
        return Err(Error::TooFewStars { stage: "reading spectra".into(), n_stars: 0, needed: 1, remedy });
    }
    Ok(merged)
}

/// Where the names of missing spectra go.
pub fn missing_file(stem: &Path) -> PathBuf {
    files::with_ending(stem, "missing.txt")
}
