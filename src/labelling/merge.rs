//! The rows of all shards of a list, as one table: every listed spectrum once, in the order of the list.

use std::path::{Path, PathBuf};

use super::journal::write_table;
use super::journal_lines::each_row;
use super::label_table::LabelTable;
use super::labeller::LabelledStar;
use super::shards::{Listed, Plan, journals};
use crate::data::files;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::spectra::quality::star_flags;

/// By so much of their errors labels of one spectrum may differ where two machines found them: sums in f32 go in another order on
/// another processor.
const TOLERANCE: f64 = 0.05;

/// What became of the rows.
#[derive(Debug)]
pub struct Merged {
    /// Rows that were there already, equal ones.
    pub n_twins: usize,
    /// Places in the list of what could not be read.
    pub unreadable: Vec<usize>,
    /// Places in the list of what has no row.
    pub missing: Vec<usize>,
}

/// Of each spectrum, what is known so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Row {
    None,
    Unreadable,
    Read,
}

/// Gathers the rows of a folder of parts, and writes the table `stem` if none is missing.
///
/// # Errors
/// [`Error::Mismatch`] for rows of spectra that are not listed, and twins that differ; [`Error::TooFewStars`] if nothing could be read;
/// those of reading and writing.
pub fn merge(stem: &Path, folder: &Path, plan: &Plan, listed: &Listed, progress: &dyn Progress) -> Result<Merged> {
    let (files, n_spectra) = (&listed.files, listed.n_spectra);
    let mut table = LabelTable::new(&plan.form, files);
    let mut known = vec![Row::None; n_spectra];
    // Which journal each row is from.
    let (mut n_twins, mut origin) = (0, vec![0_u32; n_spectra]);
    let journals = journals(folder)?;
    progress.start("merging shards", journals.len());
    for (number, (_, path)) in (0..).zip(&journals) {
        each_row(path, &plan.fingerprint, |star| {
            let is_read = star.flags & star_flags::UNREADABLE == 0;
            let Some(row) = table.row_of(&star.file) else {
                let detail = format!("has a row of {}, which is not listed in {}", star.file, plan.list.display());
                return Err(Error::Mismatch { what: path.display().to_string(), detail });
            };
            if is_read && star.labels.len() != plan.form.label_names.len() {
                let detail = format!("the row of {} is damaged; remove the file and start its shard again", star.file);
                return Err(Error::format(path, detail));
            }
            match (known[row], is_read) {
                // What was read once is known; a trial that failed says nothing against it.
                (Row::Read, false) | (Row::Unreadable, false) => return Ok(()),
                (Row::Read, true) => {
                    n_twins += 1;
                    let other = &journals[origin[row] as usize].1;
                    let is_like = table.is_like(row, &star, TOLERANCE);
                    return if is_like { Ok(()) } else { Err(differ(&star, path, other, &table.labels(row))) };
                }
                _ => {}
            }
            known[row] = if is_read { Row::Read } else { Row::Unreadable };
            origin[row] = number;
            table.set(star);
            Ok(())
        })?;
        progress.advance(1);
    }
    progress.finish();
    let places = |of: Row| (0..n_spectra).filter(|n| known[*n] == of).collect();
    let merged = Merged { unreadable: places(Row::Unreadable), n_twins, missing: places(Row::None) };
    if merged.unreadable.len() == n_spectra {
        let remedy =
            format!("none of the spectra in {} could be read; are its paths right from here?", plan.list.display());
        return Err(Error::TooFewStars { stage: "reading spectra".into(), n_stars: 0, needed: 1, remedy });
    }
    if merged.missing.is_empty() {
        write_table(stem, table, &plan.form, &plan.fingerprint, files)?;
    }
    Ok(merged)
}

/// Two rows of one spectrum are not the same.
fn differ(star: &LabelledStar, path: &Path, other: &Path, before: &[f64]) -> Error {
    let detail = format!(
        "{} has the labels {:?} here and {before:?} in {}: were two models or two versions of maury at work? Remove the journal that is \
         wrong",
        star.file,
        star.labels,
        other.display()
    );
    Error::Mismatch { what: path.display().to_string(), detail }
}

/// Where the names of missing spectra go.
pub fn missing_file(stem: &Path) -> PathBuf {
    files::with_ending(stem, "missing.txt")
}
