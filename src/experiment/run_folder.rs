//! The folder of one run: filled under a hidden name, and given its own when everything is in it.

use std::path::{Path, PathBuf};

use crate::data::files;
use crate::error::{Error, Result};

/// How the names of unfinished folders begin.
const UNFINISHED: &str = ".unfinished-";

/// A run's folder in the making. Dropped before [`RunFolder::finish`], it vanishes.
#[derive(Debug)]
pub struct RunFolder {
    unfinished: tempfile::TempDir,
    experiment: PathBuf,
    name: String,
}

impl RunFolder {
    /// Makes an empty folder for a run of the experiment `slug` below `experiments`.
    ///
    /// # Errors
    /// [`Error::Io`] if nothing can be written there.
    pub fn create(experiments: &Path, slug: &str) -> Result<Self> {
        let experiment = experiments.join(slug);
        files::create_folder(&experiment)?;
        sweep(&experiment);
        let unfinished = tempfile::Builder::new()
            .prefix(UNFINISHED)
            .tempdir_in(&experiment)
            .map_err(Error::io(&experiment, "write into the folder"))?;
        set_readable(unfinished.path())?;
        // Colons are not allowed in file names everywhere.
        let name = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
        Ok(Self { unfinished, experiment, name })
    }

    /// Where files of the run go until it is finished.
    pub fn path(&self) -> &Path {
        self.unfinished.path()
    }

    /// Gives the folder its final name, `experiments/<slug>/<UTC time>`, and points `latest` to it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(self) -> Result<PathBuf> {
        let mut name = self.name.clone();
        let mut count = 1;
        // A folder of that name has files in it, so the system refuses to replace it, whoever came first.
        while let Err(err) = std::fs::rename(self.unfinished.path(), self.experiment.join(&name)) {
            let path = self.experiment.join(&name);
            if !path.exists() || count > 1000 {
                return Err(Error::io(&path, "name the folder")(err));
            }
            count += 1;
            name = format!("{}-{count}", self.name);
        }
        let path = self.experiment.join(&name);
        let _ = self.unfinished.keep();
        if let Err(err) = point_latest(&self.experiment, &name) {
            tracing::warn!("{err}; the run is complete all the same");
        }
        Ok(path)
    }
}

/// Removes what killed runs left behind more than a day ago.
fn sweep(experiment: &Path) {
    let entries = std::fs::read_dir(experiment).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED)) {
        let age = entry.metadata().ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age.as_secs() > 24 * 3600) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Temporary folders are private to their owner; a finished run is as readable as any other folder.
#[cfg(unix)]
fn set_readable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let parent = path.parent().unwrap_or(path);
    let mode = std::fs::metadata(parent).map_err(Error::io(parent, "read"))?.permissions().mode();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(Error::io(path, "open to readers"))
}

#[cfg(not(unix))]
fn set_readable(_path: &Path) -> Result<()> {
    Ok(())
}

/// Replaces the link `latest` in one step.
#[cfg(unix)]
fn point_latest(experiment: &Path, name: &str) -> Result<()> {
    let temporary = experiment.join(format!(".latest-{}", std::process::id()));
    let latest = experiment.join("latest");
    let _ = std::fs::remove_file(&temporary);
    std::os::unix::fs::symlink(name, &temporary).map_err(Error::io(&latest, "link"))?;
    std::fs::rename(&temporary, &latest).map_err(|err| {
        let _ = std::fs::remove_file(&temporary);
        Error::io(&latest, "link")(err)
    })
}

/// Where links need privileges, `latest` is a text file that holds the folder's name.
#[cfg(not(unix))]
fn point_latest(experiment: &Path, name: &str) -> Result<()> {
    files::write_bytes(&experiment.join("latest"), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finished_run_is_the_latest_and_an_abandoned_one_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        drop(RunFolder::create(root.path(), "lab").unwrap());
        assert_eq!(std::fs::read_dir(root.path().join("lab")).unwrap().count(), 0);
        for content in ["first", "second"] {
            let run = RunFolder::create(root.path(), "lab").unwrap();
            files::write_bytes(&run.path().join("metrics.json"), content).unwrap();
            run.finish().unwrap();
            assert_eq!(files::read_text(&root.path().join("lab/latest/metrics.json")).unwrap(), content);
        }
        assert_eq!(std::fs::read_dir(root.path().join("lab")).unwrap().count(), 3);
    }
}
