//! Tables of labels on disk, in the layout that is asked for.

use std::path::{Path, PathBuf};

use super::astra_table::AstraTable;
use super::best_fits::{CREATOR, creator};
use super::digits;
use super::journal::LabelJournal;
use super::label_table::{LabelTable, TableForm, TableShape};
use super::labeller::LabelledStar;
use super::merge::{Merged, RowTable, gather};
use super::shards::{Listed, Plan};
use crate::data::files;
use crate::data::fits::{FitsReader, FitsWriter};
use crate::error::Result;
use crate::progress::Progress;
use crate::spectra::star_table::{name_flags, write_both};
use crate::stars::spectra::SpectrumSource;

/// By so much of their errors labels of one spectrum may differ where two machines found them: sums in f32 go in another order on
/// another processor.
const TOLERANCE: f64 = 0.05;
/// Key of the FITS header that says which model and which files made a table.
const ORIGIN: &str = "LABELSBY";

/// What tells tables of the same labels of the same files from others.
fn origin_of(fingerprint: &str, spectra: &dyn SpectrumSource) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(fingerprint.as_bytes());
    (0..spectra.len()).for_each(|n| _ = hasher.update(b"\0").update(spectra.name(n).as_bytes()));
    hasher.finalize().to_hex()[..32].to_string()
}

/// The finished table at `stem`, if there is one and it is of another model or of other spectra than these.
pub fn foreign_table(stem: &Path, fingerprint: &str, spectra: &dyn SpectrumSource) -> Option<PathBuf> {
    let [table, text] = ["fits", "csv"].map(|ending| files::with_ending(stem, ending));
    if !table.exists() {
        return Some(text).filter(|text| text.exists());
    }
    // In the HDU of the labels, which one layout has behind an empty one.
    let found = FitsReader::open(&table)
        .ok()
        .and_then(|mut file| [1, 2].into_iter().find_map(|hdu| file.key_text(hdu, ORIGIN)));
    Some(table).filter(|_| found != Some(origin_of(fingerprint, spectra)))
}

impl LabelJournal {
    /// Turns the journal into `<stem>.fits` and `<stem>.csv`, and removes it. The rows are those of these spectra, in
    /// their order; what else an earlier job left in the journal is left out.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] or [`crate::error::Error::Fits`]; the journal then stays.
    pub fn finish(self, stem: &Path, form: &TableForm, spectra: &dyn SpectrumSource) -> Result<usize> {
        let mut table = LabelTable::new(form, spectra);
        self.each_row(|star| {
            table.set(star);
            Ok(())
        })?;
        write(stem, table, form, self.fingerprint(), spectra)?;
        self.discard()?;
        Ok(spectra.len())
    }
}

impl RowTable for LabelTable {
    type Row = LabelledStar;

    fn place(&self, name: &str) -> Option<usize> {
        self.row_of(name)
    }

    fn is_whole(&self, star: &LabelledStar) -> bool {
        star.labels.len() == self.n_labels()
    }

    fn is_like(&self, row: usize, star: &LabelledStar) -> bool {
        self.is_near(row, star, TOLERANCE)
    }

    fn words(&self, row: usize, star: &LabelledStar) -> [String; 2] {
        [&star.labels, &self.labels(row)].map(|labels| format!("the labels {labels:?}"))
    }

    fn put(&mut self, _row: usize, star: LabelledStar, _journal: usize) {
        self.set(star);
    }
}

/// Gathers the rows of a folder of parts, and writes the table `stem` if none is missing.
///
/// # Errors
/// Those of gathering and of writing.
pub fn merge(
    stem: &Path,
    folder: &Path,
    (plan, form): (&Plan, &TableForm),
    listed: &Listed,
    progress: &dyn Progress,
) -> Result<Merged> {
    let mut table = LabelTable::new(form, &listed.files);
    let merged = gather(&mut table, folder, plan, listed, progress)?;
    if merged.missing.is_empty() {
        write(stem, table, form, &plan.fingerprint, &listed.files)?;
    }
    Ok(merged)
}

/// Writes the labels of these spectra as `<stem>.fits` and `<stem>.csv`, both or none, with what says so in its header.
///
/// # Errors
/// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
pub(super) fn write(
    stem: &Path,
    table: LabelTable,
    form: &TableForm,
    fingerprint: &str,
    spectra: &dyn SpectrumSource,
) -> Result<()> {
    let origin = (ORIGIN, &*origin_of(fingerprint, spectra));
    match form.shape {
        TableShape::Maury => {
            let (columns, written) = table.into_columns(&form.columns.asked);
            let cell = |column: usize, row: usize| digits::cell(&columns, &written, column, row);
            write_both(stem, &columns, &cell, |file| {
                file.table("LABELS", &columns)?;
                keys(file, form, origin)?;
                name_flags(file, "flags")
            })
        }
        TableShape::Astra => {
            let table = AstraTable::new(table, form);
            let (columns, written) = table.columns();
            let cell = |column: usize, row: usize| digits::cell(columns, written, column, row);
            write_both(stem, columns, &cell, |file| table.write(file, |file| keys(file, form, origin)))
        }
    }
}

/// What made the table, in the header of the HDU made last.
fn keys(file: &mut FitsWriter, form: &TableForm, (origin, made_by): (&str, &str)) -> Result<()> {
    let name = form.model.file_name().map(|name| files::path_text(Path::new(name)));
    let folder = files::path_text(&form.model);
    file.append_key("MODEL", name.unwrap_or_else(|| folder.clone()).as_str(), "the model")?;
    file.append_key("MODELDIR", folder.as_str(), "its folder, as it was given")?;
    file.append_key(CREATOR.0, creator().as_str(), "program and version")?;
    let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    file.append_key("DATE", date.as_str(), "UTC, day this was written")?;
    file.comment("chi^2 has the model's own scatter in it beside the noise; best fits")?;
    file.comment("(maury label --spectra) tell that scatter.")?;
    file.append_key("ERRORS", form.errors.as_str(), "what the errors are")?;
    file.append_key(origin, made_by, "hash of model and spectra")
}
