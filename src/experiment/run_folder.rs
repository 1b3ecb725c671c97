//! The folder of one run: filled under a hidden name, and given its own when everything is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::data::files;
use crate::error::{Error, Result, short_number};
use crate::kinds::place::STATES;

/// Folder of the comparisons of runs, beside those of the experiments.
pub const COMPARISONS: &str = "compare";

/// Link to the last run of an experiment, beside its runs.
pub const LATEST: &str = "latest";

/// How the names of unfinished folders begin.
const UNFINISHED: &str = ".unfinished-";

/// A run's folder in the making. Dropped before [`RunFolder::finish`] or [`RunFolder::keep`], it vanishes, unless training has
/// left something in it to go on from.
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
        if !self.keep && !has_state(&self.path) {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

/// Whether training, or a point of a sweep that came to its end, has kept a state below a run's folder.
fn has_state(run: &Path) -> bool {
    fn any_file(folder: &Path) -> bool {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(|path| path.is_file() || any_file(&path))
    }
    any_file(&run.join(STATES))
}

/// What is left, in words, of a run whose program ends before its folder is finished. One with nothing to go on from or to look at
/// is removed.
pub fn left_by_stop(run: &Path) -> String {
    if has_state(run) {
        format!("; what was trained is kept in {}; go on with the same command and --resume", run.display())
    } else {
        let _ = std::fs::remove_dir_all(run);
        "; nothing was trained that --resume could go on from, and nothing is left".to_string()
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
            if let Some(settings) = difference(&found, resolved) {
                differs.get_or_insert(settings);
                continue;
            }
            // A folder that is being filled is not broken off.
            if let Some(lock) = lock(&path)? {
                let unfinished = Unfinished { path, keep: true };
                return Ok(Self { unfinished, experiment, name: name_of_now(), _lock: lock });
            }
        }
        Err(Error::Config(match differs {
            Some(settings) => format!("--resume: the run of {slug} that was broken off had other settings: {settings}"),
            None => format!("--resume: no run of {slug} was broken off; start one without --resume"),
        }))
    }

    /// Whether something is kept here that `--resume` can go on from.
    pub fn can_be_resumed(&self) -> bool {
        has_state(self.path())
    }

    /// Leaves the folder as it is, to be resumed.
    pub fn keep(mut self) {
        self.unfinished.keep = true;
    }

    /// Removes the folder, states of training and all.
    pub fn discard(mut self) {
        self.unfinished.keep = true;
        let _ = std::fs::remove_dir_all(self.path());
    }

    /// Where files of the run go until it is finished.
    pub fn path(&self) -> &Path {
        &self.unfinished.path
    }

    /// Gives the folder its final name, `experiments/<slug>/<UTC time>`, and points `latest` to it. States of training go: the
    /// results are written.
    ///
    /// # Errors
    /// [`Error::Io`]; the folder then stays where it is, complete, states of training and all.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.unfinished.keep = true;
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
        if let Err(err) = point_latest(&self.experiment, &name) {
            tracing::warn!("{err}; the run is complete all the same");
        }
        // Only now: a program that is killed here leaves a whole run, not half a state to go on from.
        let _ = std::fs::remove_dir_all(path.join(STATES));
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

/// The settings in which two experiments differ, by their dotted keys; none where they agree.
fn difference(before: &str, now: &str) -> Option<String> {
    /// Differences named before they are only counted.
    const NAMED: usize = 3;
    if before == now {
        return None;
    }
    let [before, now] = [before, now].map(|text| {
        let mut values = BTreeMap::new();
        flatten("", &toml::Value::Table(text.parse().unwrap_or_default()), &mut values);
        values
    });
    let keys: BTreeSet<&String> =
        before.keys().chain(now.keys()).filter(|key| before.get(*key) != now.get(*key)).collect();
    let of = |value: Option<&String>| value.map_or("not set", String::as_str).to_string();
    let named =
        keys.iter().take(NAMED).map(|key| format!("{key} was {}, is {}", of(before.get(*key)), of(now.get(*key))));
    let mut text = named.collect::<Vec<_>>().join("; ");
    if keys.len() > NAMED {
        text += &format!("; and {} more", keys.len() - NAMED);
    }
    Some(text)
}

/// Every value below a key, by its dotted key.
fn flatten(key: &str, value: &toml::Value, values: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) if !table.is_empty() || key.is_empty() => {
            for (part, value) in table {
                flatten(&if key.is_empty() { part.clone() } else { format!("{key}.{part}") }, value, values);
            }
        }
        value => _ = values.insert(key.to_string(), short_number(&value.to_string())),
    }
}

fn unfinished_folders(experiment: &Path) -> impl Iterator<Item = std::fs::DirEntry> {
    let entries = std::fs::read_dir(experiment).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(UNFINISHED))
}

/// Days after which runs that were broken off are not expected to be taken up again.
pub const KEPT_DAYS: u64 = 7;
/// A folder is made before it is locked.
const MADE_JUST_NOW: Duration = Duration::from_secs(60);

/// Folders of runs of an experiment that were broken off, which nobody fills, and from which there is nothing to go on, or for
/// longer than this.
pub fn abandoned(experiment: &Path, kept_for: Duration) -> Vec<PathBuf> {
    let is_abandoned = |folder: &PathBuf| {
        let age = std::fs::metadata(folder).and_then(|metadata| metadata.modified()).ok();
        let age = age.and_then(|modified| modified.elapsed().ok()).unwrap_or_default();
        match std::fs::File::open(folder.join(LOCK)).map(|file| file.try_lock()) {
            Ok(Err(std::fs::TryLockError::WouldBlock)) => false,
            // Nobody can tell whether it is being filled.
            Ok(Err(std::fs::TryLockError::Error(_))) => age > kept_for.max(Duration::from_secs(KEPT_DAYS * 24 * 3600)),
            _ if has_state(folder) => age >= kept_for,
            _ => age > MADE_JUST_NOW,
        }
    };
    unfinished_folders(experiment).map(|entry| entry.path()).filter(is_abandoned).collect()
}

/// Removes what killed runs left behind: at once where there is nothing to go on from, else after a week.
fn sweep(experiment: &Path) {
    for folder in abandoned(experiment, Duration::from_secs(KEPT_DAYS * 24 * 3600)) {
        let _ = std::fs::remove_dir_all(folder);
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
    let latest = experiment.join(LATEST);
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
    files::write_bytes(&experiment.join(LATEST), name)
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
        assert!(other.ends_with("had other settings: seed was 1, is 2"), "{other}");
        let run = resume("seed = 1").unwrap();
        assert_eq!(run.path(), path);
        assert!(!run.finish().unwrap().join(LOCK).exists());
        assert!(resume("seed = 1").is_err());
    }

    #[test]
    fn differences_are_told_key_by_key_whatever_the_order_of_the_lines() {
        let before = "seed = 1\nlabels = [\"teff\"]\n\n[models.net.network]\nmembers = 2\n";
        let now =
            "seed = 1\nlabels = [\"teff\"]\n\n[models.cannon.cannon]\norder = 2\n\n[models.net.network]\nmembers = 4\n";
        let expected = "models.cannon.cannon.order was not set, is 2; models.net.network.members was 2, is 4";
        assert_eq!(difference(before, now).unwrap(), expected);
        assert_eq!(difference(now, now), None);
    }

    #[test]
    fn a_run_that_fails_after_training_began_can_be_resumed() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create(root.path(), "lab").unwrap();
        files::write_bytes(&run.path().join(RESOLVED), "seed = 1").unwrap();
        let state = run.path().join(STATES).join("net/epoch-000001/state.json");
        files::write_bytes(&state, "{}").unwrap();
        assert!(run.can_be_resumed());
        // Whatever ends the program: the folder is only dropped.
        drop(run);
        assert!(state.is_file());
        let run = RunFolder::resume(root.path(), "lab", "seed = 1").unwrap();
        let place = run.finish().unwrap();
        assert!(!place.join(STATES).exists());
        // A run that cannot be named keeps its states whole.
        let mut run = RunFolder::create(root.path(), "lab").unwrap();
        let state = run.path().join(STATES).join("net/epoch-000001/state.json");
        files::write_bytes(&state, "{}").unwrap();
        run.name = "x".repeat(300);
        assert!(run.finish().is_err() && state.is_file());
        let run = RunFolder::create(root.path(), "lab").unwrap();
        files::write_bytes(&run.path().join(STATES).join("net/epoch-000001/state.json"), "{}").unwrap();
        let path = run.path().to_path_buf();
        run.discard();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_left_of_a_run_that_is_stopped_is_told() {
        let root = tempfile::tempdir().unwrap();
        let run = || {
            let run = RunFolder::create(root.path(), "lab").unwrap();
            let path = run.path().to_path_buf();
            run.keep();
            path
        };
        let bare = run();
        assert!(left_by_stop(&bare).contains("nothing is left") && !bare.exists());
        let sweep = run();
        files::write_bytes(&sweep.join("points/01/experiment.toml"), "").unwrap();
        assert!(left_by_stop(&sweep).contains("nothing is left") && !sweep.exists());
        let trained = run();
        files::write_bytes(&trained.join(STATES).join("net/epoch-000001/state.json"), "{}").unwrap();
        let words = left_by_stop(&trained);
        assert!(words.contains(&trained.display().to_string()) && words.ends_with("--resume"), "{words}");
        assert!(trained.exists());
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
