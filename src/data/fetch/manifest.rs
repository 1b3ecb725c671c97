//! What became of every spectrum: one row each, in a table beside them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::data::files;
use crate::error::{Error, Result};

/// How long the table on disk may lag behind during a run.
const LAG: Duration = Duration::from_secs(20);

/// How a spectrum stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It was there before.
    Present,
    /// It was fetched in this run.
    Fetched,
    /// The archive does not have it, or does not give it.
    Missing,
    /// It could not be fetched.
    Failed,
    /// It has not been tried yet.
    Waiting,
}

/// A row of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// APOGEE_ID, or the star's name in SDSS-V's reduction.
    pub id: String,
    /// TELESCOPE, as in the path.
    pub telescope: String,
    /// FIELD; SDSS-V has none.
    pub field: String,
    /// Where the spectrum lies, or is to lie.
    pub path: PathBuf,
    /// Where it comes from; empty where the catalogue does not tell.
    pub url: String,
    /// How it stands.
    pub status: Status,
    /// Its length in bytes; 0 where it is not there.
    pub bytes: u64,
    /// Why it is not there.
    pub reason: String,
}

/// The manifest of a run, written now and then, and at its end.
pub(super) struct Manifest {
    path: PathBuf,
    entries: Vec<ManifestEntry>,
    written: Instant,
}

impl Manifest {
    pub fn new(spectra: &Path, entries: Vec<ManifestEntry>) -> Self {
        Self { path: spectra.join("manifest.csv"), entries, written: Instant::now() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// Notes what became of an entry.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn note(&mut self, index: usize, status: Status, bytes: u64, reason: String) -> Result<()> {
        let entry = &mut self.entries[index];
        (entry.status, entry.bytes, entry.reason) = (status, bytes, reason);
        if self.written.elapsed() < LAG { Ok(()) } else { self.write() }
    }

    /// Notes where an entry came from, and where it lies, if that is not as was thought.
    pub fn came(&mut self, index: usize, url: String, path: &Path) {
        let entry = &mut self.entries[index];
        entry.url = url;
        entry.path = path.to_path_buf();
    }

    /// Writes the table, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&mut self) -> Result<()> {
        let mut table = csv::Writer::from_writer(Vec::new());
        let failed = |err: &dyn std::fmt::Display| Error::format(&self.path, format!("cannot be written: {err}"));
        for entry in &self.entries {
            table.serialize(entry).map_err(|err| failed(&err))?;
        }
        files::write_bytes(&self.path, table.into_inner().map_err(|err| failed(&err))?)?;
        self.written = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_reads_back_as_written() {
        let folder = tempfile::tempdir().unwrap();
        let entry = ManifestEntry {
            id: "2M0".into(),
            telescope: "apo25m".into(),
            field: "060+00".into(),
            path: "spectra/a, b.fits".into(),
            url: "https://x/a".into(),
            status: Status::Waiting,
            bytes: 0,
            reason: String::new(),
        };
        let mut manifest = Manifest::new(folder.path(), vec![entry.clone(), entry]);
        manifest.note(1, Status::Failed, 0, "reset, \"twice\"".into()).unwrap();
        manifest.came(1, "https://x/b".into(), Path::new("spectra/b.fits"));
        manifest.write().unwrap();
        let text = std::fs::read_to_string(manifest.path()).unwrap();
        assert!(text.starts_with("id,telescope,field,path,url,status,bytes,reason\n2M0,apo25m,060+00,"), "{text}");
        let read: Vec<ManifestEntry> =
            csv::Reader::from_path(manifest.path()).unwrap().deserialize().collect::<Result<_, _>>().unwrap();
        assert_eq!(read, manifest.entries());
        assert_eq!((read[1].url.as_str(), read[1].path.as_path()), ("https://x/b", Path::new("spectra/b.fits")));
    }
}
