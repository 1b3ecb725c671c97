//! Tables of labels on disk, in the layout that is asked for.

use std::path::Path;

use super::astra_table::AstraTable;
use super::best_fits::{CREATOR, creator};
use super::digits;
use super::label_table::{LabelTable, TableForm, TableShape};
use crate::data::files;
use crate::data::fits::FitsWriter;
use crate::error::Result;
use crate::spectra::star_table::{name_flags, write_both};

/// Writes `<stem>.fits` and `<stem>.csv`: both or none. `origin` is a key that says what made the rows, and its value.
///
/// # Errors
/// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
pub(super) fn write(stem: &Path, table: LabelTable, form: &TableForm, origin: (&str, &str)) -> Result<()> {
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
