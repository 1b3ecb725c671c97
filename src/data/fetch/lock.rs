//! One program at a time fetches into a folder: two would write into one part.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::data::files;
use crate::error::{Error, Result};

/// Holds a folder until dropped; the system lets go of it when the program ends, however it ends.
pub(super) struct FolderLock {
    path: PathBuf,
    _file: File,
}

impl FolderLock {
    /// Takes the folder, which is made if need be.
    ///
    /// # Errors
    /// [`Error::Format`] where another program has it; [`Error::Io`].
    pub fn take(folder: &Path) -> Result<Self> {
        files::create_folder(folder)?;
        let path = folder.join(".maury-fetch.lock");
        if fs::symlink_metadata(&path).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(Error::format(&path, "a link or folder where `maury fetch` keeps its lock; remove it"));
        }
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let file = lock.map_err(Error::io(&path, "write"))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { path, _file: file }),
            Err(TryLockError::WouldBlock) => {
                Err(Error::format(folder, "another `maury fetch` is writing into this folder; let it end first"))
            }
            Err(TryLockError::Error(err)) => Err(Error::io(&path, "lock")(err)),
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_at_a_time_and_nothing_stays_in_it() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("spectra");
        let lock = FolderLock::take(&folder).unwrap();
        let second = FolderLock::take(&folder).err().unwrap().to_string();
        assert!(second.contains("another `maury fetch`"), "{second}");
        drop(lock);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
        FolderLock::take(&folder).unwrap();
    }
}
