//! A file on its way: what has come of it lies beside its destination and survives a killed program.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::data::files;
use crate::error::{Error, Result};

/// `<name>.part`, and `<name>.part.version` saying of which version of the archive's file it is the beginning.
pub(super) struct Part {
    destination: PathBuf,
    path: PathBuf,
    version: PathBuf,
}

impl Part {
    /// The part of the file that is to lie at `destination`.
    pub fn of(destination: &Path) -> Self {
        let beside = |ending: &str| {
            let mut name = OsString::from(destination);
            name.push(ending);
            PathBuf::from(name)
        };
        Self { destination: destination.into(), path: beside(".part"), version: beside(".part.version") }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that have come.
    pub fn length(&self) -> u64 {
        fs::metadata(&self.path).map_or(0, |metadata| metadata.len())
    }

    /// How much can be continued, and of which version; `None` where nothing can.
    pub fn continuable(&self) -> Option<(u64, String)> {
        let length = Some(self.length()).filter(|length| *length > 0)?;
        let version = fs::read_to_string(&self.version).ok()?;
        // It goes into a header as it is.
        let is_plain = !version.is_empty() && version.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        is_plain.then_some((length, version))
    }

    /// Opens the part for the bytes from `start` on, which are of this version; what lay behind is dropped.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(&self, start: u64, version: Option<&str>) -> Result<File> {
        if let Some(folder) = self.destination.parent() {
            files::create_folder(folder)?;
        }
        let failed = || Error::io(&self.path, "write");
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(&self.path).map_err(failed())?;
        if start == 0 {
            // In this order no kill leaves bytes of one version beside the name of another.
            remove(&self.version)?;
            file.set_len(0).map_err(failed())?;
            if let Some(version) = version {
                fs::write(&self.version, version).map_err(Error::io(&self.version, "write"))?;
            }
        } else {
            file.set_len(start).map_err(failed())?;
        }
        file.seek(SeekFrom::Start(start)).map_err(failed())?;
        Ok(file)
    }

    /// Gives the complete file its name, in place of what had it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn complete(&self) -> Result<()> {
        fs::rename(&self.path, &self.destination).map_err(Error::io(&self.destination, "write"))?;
        remove(&self.version)
    }

    /// Drops what has come.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(&self) -> Result<()> {
        remove(&self.version)?;
        remove(&self.path)
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(err) if err.kind() != std::io::ErrorKind::NotFound => Err(Error::io(path, "remove")(err)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_part_is_continued_replaced_and_completed() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("M15/a.fits");
        let part = Part::of(&destination);
        assert!(part.continuable().is_none() && part.length() == 0);
        part.open(0, Some("\"v1\"")).unwrap().write_all(b"01234").unwrap();
        assert_eq!(part.continuable(), Some((5, "\"v1\"".to_string())));
        part.open(3, None).unwrap().write_all(b"xyz").unwrap();
        assert_eq!(part.continuable(), Some((6, "\"v1\"".to_string())));
        assert_eq!(fs::read_to_string(part.path()).unwrap(), "012xyz");
        part.complete().unwrap();
        assert_eq!(fs::read_dir(destination.parent().unwrap()).unwrap().count(), 1);
        part.open(0, None).unwrap().write_all(b"new").unwrap();
        assert!(part.continuable().is_none() && part.length() == 3, "of no version, so never continued");
        part.discard().unwrap();
        assert_eq!(fs::read_to_string(&destination).unwrap(), "012xyz");
        part.discard().unwrap();
    }
}
