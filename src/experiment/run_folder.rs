//! The folder of one run: filled under a hidden name, and given its own when everything is in it.

use std::path::{Path, PathBuf};

use crate::data::files;
use crate::error::{Error, Result};

/// How the names of unfinished folders begin.
const UNFINISHED: &str = ".unfinished-";

/// A run's folder in the making. Dropped before [`RunFolder::finish`] or [`RunFolder::keep`], it vanishes.
#[derive(Debug)]
pub struct RunFolder {
    unfinished: Unfinished,
    experiment: PathBuf,
    name: String,
    /// Held as long as somebody fills the folder.
    _lock: std::fs::File,
}

/// Removes the folder unless told otherwise.
#[derive(Debug)]
struct Unfinished {
    path: PathBuf,
    keep: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.keep {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

const LOCK: &str = ".lock";

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
        let lock = lock(unfinished.path())?.ok_or_else(|| Error::format(unfinished.path(), "somebody else is here"))?;
        let unfinished = Unfinished { path: unfinished.keep(), keep: false };
        Ok(Self { unfinished, experiment, name: name_of_now(), _lock: lock })
    }

    /// Takes up the folder of the last run of this experiment that was broken off, if its settings were `resolved`.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none, and what differs if there is one with other settings.
    pub fn resume(experiments: &Path, slug: &str, resolved: &str) -> Result<Self> {
        let experiment = experiments.join(slug);
        let modified = |path: &PathBuf| std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
        let mut broken_off: Vec<PathBuf> = unfinished_folders(&experiment).map(|entry| entry.path()).collect();
        broken_off.sort_by_key(|path| std::cmp::Reverse(modified(path)));
        let mut differs = None;
        for path in broken_off {
            let Ok(found) = files::read_text(&path.join(RESOLVED)) else { continue };
            if let Some(line) = first_difference(&found, resolved) {
                differs.get_or_insert(line);
                continue;
            }
            // A folder that is being filled is not broken off.
            if let Some(lock) = lock(&path)? {
                let unfinished = Unfinished { path, keep: true };
                return Ok(Self { unfinished, experiment, name: name_of_now(), _lock: lock });
            }
        }
        Err(Error::Config(match differs {
            Some(line) => format!("--resume: the run of {slug} that was broken off had other settings: {line}"),
            None => format!("--resume: no run of {slug} was broken off; start one without --resume"),
        }))
    }

    /// Leaves the folder as it is, to be resumed.
    pub fn keep(mut self) {
        self.unfinished.keep = true;
    }

    /// Where files of the run go until it is finished.
    pub fn path(&self) -> &Path {
        &self.unfinished.path
    }

    /// Gives the folder its final name, `experiments/<slug>/<UTC time>`, and points `latest` to it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<PathBuf> {
        let _ = std::fs::remove_file(self.path().join(LOCK));
        let mut name = self.name.clone();
        let mut count = 1;
        // A folder of that name has files in it, so the system refuses to replace it, whoever came first.
        while let Err(err) = std::fs::rename(self.path(), self.experiment.join(&name)) {
            let path = self.experiment.join(&name);
            if !path.exists() || count > 1000 {
                return Err(Error::io(&path, "name the folder")(err));
            }
            count += 1;
            name = format!("{}-{count}", self.name);
        }
        let path = self.experiment.join(&name);
        self.unfinished.keep = true;
        if let Err(err) = point_latest(&self.experiment, &name) {
            tracing::warn!("{err}; the run is complete all the same");
        }
        Ok(path)
    }
}

/// The resolved settings of a run, as [`super::config::ExperimentConfig::write_resolved`] writes them.
pub(super) const RESOLVED: &str = "experiment.toml";

// Colons are not allowed in file names everywhere.
fn name_of_now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string()
}

/// A lock on a folder that ends with the process, however it ends; none if somebody else has it.
fn lock(folder: &Path) -> Result<Option<std::fs::File>> {
    let path = folder.join(LOCK);
    let file = std::fs::File::create(&path).map_err(Error::io(&path, "create"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        // Some network file systems know no locks; there, nobody is asked to wait.
        Err(std::fs::TryLockError::Error(_)) => Ok(Some(file)),
    }
}

/// The first line in which two texts differ, as both have it.
fn first_difference(before: &str, now: &str) -> Option<String> {
    let mut lines = (before.lines().map(Some).chain(std::iter::repeat(None)))
        .zip(now.lines().map(Some).chain(std::iter::repeat(None)))
        .take_while(|(before, now)| before.is_some() || now.is_some());
    let of = |line: Option<&str>| line.map_or("nothing".to_string(), |line| format!("`{}`", line.trim()));
    lines.find(|(before, now)| before != now).map(|(before, now)| format!("{} then, {} now", of(before), of(now)))
}

fn unfinished_folders(experiment: &Path) -> impl Iterator<Item = std::fs::DirEntry> {
    let entries = std::fs::read_dir(experiment).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED))
}

/// Removes what killed runs left behind more than a week ago.
fn sweep(experiment: &Path) {
    for entry in unfinished_folders(experiment) {
        let age = entry.metadata().ok().and_then(|metadata| metadata.modified().ok()?.elapsed().ok());
        if age.is_some_and(|age| age.as_secs() > 7 * 24 * 3600) {
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
    fn a_run_that_was_broken_off_is_taken_up_with_the_same_settings_only() {
        let root = tempfile::tempdir().unwrap();
        let resume = |resolved: &str| RunFolder::resume(root.path(), "lab", resolved);
        assert!(resume("seed = 1").unwrap_err().to_string().contains("no run of lab was broken off"));
        let run = RunFolder::create(root.path(), "lab").unwrap();
        files::write_bytes(&run.path().join(RESOLVED), "seed = 1").unwrap();
        let path = run.path().to_path_buf();
        assert!(resume("seed = 1").unwrap_err().to_string().contains("no run of lab"), "a running one is not taken");
        run.keep();
        let other = resume("seed = 2").unwrap_err().to_string();
        assert!(other.contains("`seed = 1` then, `seed = 2` now"), "{other}");
        let run = resume("seed = 1").unwrap();
        assert_eq!(run.path(), path);
        assert!(!run.finish().unwrap().join(LOCK).exists());
        assert!(resume("seed = 1").is_err());
    }

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
