//! Folders of best fits: found on disk, known again as maury's own, and written whole or not at all.

use std::path::{Path, PathBuf};

use super::best_fits::{CREATOR, creator};
use crate::data::files::UnfinishedFolder;
use crate::data::fits::{Column, FitsReader};
use crate::error::Result;
use crate::spectra::star_table::write_table_with;

/// Stem of the table that says which stars are in the folder.
const STARS: &str = "stars";
/// How the name of a star's own file begins.
pub const STAR_FILE: &str = "spectrum-";
/// The arrays, [n_stars, n_pixels], and those of the pixels' wavelengths and of the model's scatter in them.
pub(super) const ARRAYS: [&str; 5] = ["flux", "ivar", "model", "residual", "continuum"];
pub(super) const WAVELENGTH: &str = "wavelength";
pub(super) const SCATTER: &str = "scatter";

/// A folder on its way, and the stars in it.
pub(super) struct SpectraFolder {
    path: PathBuf,
    folder: UnfinishedFolder,
    ids: Vec<String>,
    files: Vec<String>,
    /// Each star's own file, where it has one.
    own: Vec<String>,
}

impl SpectraFolder {
    /// Begins the folder.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    pub fn begin(path: &Path) -> Result<Self> {
        let folder = UnfinishedFolder::begin(path)?;
        Ok(Self { path: path.to_path_buf(), folder, ids: Vec::new(), files: Vec::new(), own: Vec::new() })
    }

    /// Where a file goes that has this name in the folder.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes note of a star, and of its own file, which may have none.
    pub fn note(&mut self, id: &str, file: &str, own: Option<String>) {
        self.ids.push(id.to_string());
        self.files.push(file.to_string());
        self.own.extend(own);
    }

    /// Writes the table of the stars and gives the folder its name.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
    pub fn complete(self) -> Result<PathBuf> {
        let Self { path, folder, ids, files, own } = self;
        let mut columns = vec![Column::text("id", ids), Column::text("file", files)];
        if !own.is_empty() {
            columns.push(Column::text("spectrum", own));
        }
        let creator = creator();
        let keys = [(CREATOR.0, creator.as_str(), "program and version")];
        write_table_with(&folder.path().join(STARS), "STARS", &columns, &keys)?;
        folder.complete()?;
        Ok(path)
    }
}

/// Whether a folder is one of best fits and holds nothing else.
pub fn is_own(path: &Path) -> bool {
    let stars = path.join(STARS).with_extension("fits");
    let by = FitsReader::open(&stars).ok().and_then(|mut file| file.key_text(1, CREATOR.0));
    let mut names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let is_ours = |name: std::ffi::OsString| {
        let name = name.to_string_lossy();
        let is_array = name
            .strip_suffix(".npy")
            .is_some_and(|name| ARRAYS.contains(&name) || [WAVELENGTH, SCATTER].contains(&name));
        is_array
            || name == "stars.fits"
            || name == "stars.csv"
            || name.starts_with(STAR_FILE) && name.ends_with(".fits")
    };
    by.is_some_and(|by| by.starts_with(CREATOR.1)) && names.all(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labelling::best_fits::is_result;

    #[test]
    fn a_folder_with_anything_else_in_it_is_somebodys() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a-spectra");
        let mut folder = SpectraFolder::begin(&path).unwrap();
        folder.note("2M0", "a.fits", None);
        std::fs::write(folder.place("flux.npy"), "").unwrap();
        assert!(!path.exists());
        assert_eq!(folder.complete().unwrap(), path);
        assert!(is_own(&path) && is_result(&path.join("stars.fits")));
        std::fs::write(path.join("notes.txt"), "").unwrap();
        assert!(!is_own(&path));
        std::fs::remove_file(path.join("notes.txt")).unwrap();
        assert!(is_own(&path));
        std::fs::remove_file(path.join("stars.fits")).unwrap();
        assert!(!is_own(&path) && !is_own(root.path()));
    }
}
