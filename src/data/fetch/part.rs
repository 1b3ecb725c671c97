//! A file on its way: what has come of it lies beside its destination and survives a killed program.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
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

    /// Bytes that have come; none where a link, or anything else that is not a file, has the name.
    pub fn length(&self) -> u64 {
        fs::symlink_metadata(&self.path).map_or(0, |metadata| if metadata.is_file() { metadata.len() } else { 0 })
    }

    /// How much can be continued, and of which version; `None` where nothing can.
    pub fn continuable(&self) -> Option<(u64, String)> {
        let length = Some(self.length()).filter(|length| *length > 0)?;
        let version = fs::read_to_string(&self.version).ok()?;
        // It goes into a header as it is.
        let is_plain = !version.is_empty() && version.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        is_plain.then_some((length, version))
    }

    /// Opens the part for the bytes from `start` on, which are of this version; what lay behind is dropped. A link in its
    /// place goes, and what it leads to stays as it is.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(&self, start: u64, version: Option<&str>) -> Result<File> {
        if let Some(folder) = self.destination.parent() {
            files::create_folder(folder)?;
        }
        let failed = || Error::io(&self.path, "write");
        // A new file follows no link that appears meanwhile.
        let new = |path: &Path| OpenOptions::new().create_new(true).write(true).open(path);
        if start == 0 {
            // In this order no kill leaves bytes of one version beside the name of another.
            remove(&self.version)?;
            remove(&self.path)?;
            let file = new(&self.path).map_err(failed())?;
            if let Some(version) = version {
                let written = new(&self.version).and_then(|mut file| file.write_all(version.as_bytes()));
                written.map_err(Error::io(&self.version, "write"))?;
            }
            return Ok(file);
        }
        let mut file = OpenOptions::new().write(true).open(&self.path).map_err(failed())?;
        file.set_len(start).map_err(failed())?;
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
    use super::*;

    #[cfg(unix)]
    #[test]
    fn nothing_is_written_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().join("outside");
        fs::write(&outside, "precious").unwrap();
        let part = Part::of(&folder.path().join("a.fits"));
        for path in [&part.path, &part.version] {
            std::os::unix::fs::symlink(&outside, path).unwrap();
        }
        assert!(part.length() == 0 && part.continuable().is_none());
        part.open(0, Some("v")).unwrap().write_all(b"new").unwrap();
        assert_eq!(part.continuable(), Some((3, "v".to_string())));
        assert_eq!(fs::read_to_string(&outside).unwrap(), "precious");
    }

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
