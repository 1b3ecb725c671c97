//! What is asked for.

use std::path::{Path, PathBuf};

use super::settings::ArchiveSettings;
use crate::data::columns::ColumnNames;
use crate::data::keyed_path::split_key;
use crate::data::selection::Selection;
use crate::error::{Error, Result};
use crate::schema;

/// What to fetch, whence and whereto.
#[derive(Debug, Clone, Copy)]
pub struct FetchRequest<'a> {
    /// The archive.
    pub settings: &'a ArchiveSettings,
    /// The catalogue: where it ends in `.csv` an answer of SkyServer, where in `.fits` (of SDSS-V also `.fits.gz`) the
    /// release's table of all stars.
    pub catalogue: &'a Path,
    /// Folder of the spectra, below which they lie as in the archive.
    pub spectra: &'a Path,
    /// Labels that the catalogue is to have.
    pub labels: &'a [String],
    /// Columns of the catalogue that have other names than usual.
    pub columns: &'a ColumnNames,
    /// Whose spectra are wanted.
    pub selection: &'a Selection,
    /// Fetch the catalogue even where there is one.
    pub refresh_catalogue: bool,
}

impl FetchRequest<'_> {
    /// The catalogue's file, without the table in it that is named.
    pub(super) fn catalogue_file(&self) -> PathBuf {
        split_key(self.catalogue).0
    }

    pub(super) fn check(&self) -> Result<()> {
        let own = self.settings.check().map_err(|(key, problem)| (key.to_string(), problem.to_string()));
        let checked = schema::check(self.settings).and(own);
        checked.map_err(|(key, problem)| Error::Config(format!("data.archive.{key} {problem}")))
    }
}
