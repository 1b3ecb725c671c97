//! What earlier work left behind and nobody needs: found, measured, and removed by `maury clean`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run_folder::abandoned;
use crate::data::leftovers::{is_in_use, is_left, remove};
use crate::error::Result;
use crate::labelling::journal;

/// Folder, below the experiments', of prepared sets and mock surveys.
pub const CACHE: &str = ".prepared";

/// Something that can go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// File or folder.
    pub path: PathBuf,
    /// What it is, in words.
    pub what: &'static str,
    /// Bytes of all its files.
    pub bytes: u64,
}

/// What can go below the folder of experiments: runs that were broken off and that nobody fills, prepared sets and mock surveys
/// not used for so long; and, there, in all of `folders` and in `here` itself, files and folders that killed programs left under
/// temporary names, and rows that a job of `maury label` or `maury posterior` left on their way.
///
/// A run that can be resumed, and rows on their way, stay for as long as a prepared set does, and while a job goes on with them.
pub fn leftovers(experiments: &Path, here: &Path, folders: &[PathBuf], unused_for: Duration) -> Vec<Leftover> {
    let mut found: Vec<(PathBuf, &'static str)> = Vec::new();
    for folder in entries(experiments).iter().filter(|path| path.is_dir()) {
        found.extend(abandoned(folder, unused_for).into_iter().map(|path| (path, "run broken off")));
    }
    for path in entries(&experiments.join(CACHE)).into_iter().filter(|path| age(path) >= unused_for) {
        match name(&path) {
            name if name.starts_with("mock-") && path.is_dir() => found.push((path, "mock survey")),
            name if name.ends_with(".fits") => found.push((path, "prepared set")),
            _ => {}
        }
    }
    let below = folders.iter().map(PathBuf::as_path).chain([experiments]).flat_map(all_below);
    for path in below.chain(entries(here)) {
        if is_left(&path) {
            found.push((path, "left by a killed program"));
        } else if age(&path) >= unused_for && journal::is_journal(&path) && !is_in_use(&path) {
            let draws = journal::draws_of(&path);
            found.extend(draws.exists().then_some((draws, "draws of a job broken off")));
            found.push((path, "rows of a job broken off"));
        }
    }
    // One folder may be named in several ways.
    let whole = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    let mut found: Vec<_> = found.into_iter().map(|(path, what)| (whole(&path), path, what)).collect();
    found.sort();
    // What lies in a folder that goes, goes with it.
    found.dedup_by(|(whole, ..), (kept, ..)| whole.starts_with(kept));
    found.into_iter().map(|(_, path, what)| Leftover { bytes: size(&path), path, what }).collect()
}

impl Leftover {
    /// Removes it; what is gone already is no trouble.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    pub fn remove(&self) -> Result<()> {
        remove(&self.path)
    }
}

/// What lies in a folder; links are left alone, and so is what they point to.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink())).map(|entry| entry.path()).collect()
}

/// What lies below a folder, however deep.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let own = entries(folder);
    let deeper: Vec<PathBuf> = own.iter().filter(|path| path.is_dir()).flat_map(|path| all_below(path)).collect();
    [own, deeper].concat()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn age(path: &Path) -> Duration {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
}

fn size(path: &Path) -> u64 {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => entries(path).iter().map(|entry| size(entry)).sum(),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::files;
    use crate::experiment::run_folder::RunFolder;
    use crate::labelling::journal::LabelJournal;
    use std::time::SystemTime;

    /// A file of so many days, in folders of as many.
    fn write_old(root: &Path, name: &str, days: u64) {
        let path = root.join(name);
        let is_journal = name.ends_with(".unfinished.jsonl");
        files::write_bytes(&path, if is_journal { "{\"labels_by\":\"model\",\"rows\":2}\n" } else { "12345" }).unwrap();
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        for path in path.ancestors().take_while(|path| *path != root) {
            std::fs::File::open(path).unwrap().set_modified(then).unwrap();
        }
    }

    #[test]
    fn what_results_elsewhere_left_behind_is_found_where_it_is_asked_for() {
        let (experiments, results) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write_old(results.path(), ".maury-unfinished-abc/flux.npy", 2);
        write_old(results.path(), "deep/down/.maury-abc.part", 2);
        write_old(results.path(), "old.unfinished.jsonl", 8);
        write_old(results.path(), "new.unfinished.jsonl", 2);
        write_old(results.path(), ".maury-abc.part", 0);
        let found = |here: &str, folders: &[PathBuf]| -> Vec<String> {
            let week = Duration::from_secs(7 * 24 * 3600);
            let leftovers = leftovers(experiments.path(), &results.path().join(here), folders, week);
            leftovers.iter().map(|l| l.path.strip_prefix(results.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(found("", &[]), [".maury-unfinished-abc", "old.unfinished.jsonl"]);
        let all = [".maury-unfinished-abc", "deep/down/.maury-abc.part", "old.unfinished.jsonl"];
        assert_eq!(found("none", &[results.path().to_path_buf()]), all);
    }

    #[test]
    fn labels_that_a_job_is_writing_and_files_that_are_only_called_so_stay() {
        let (root, nowhere) = (tempfile::tempdir().unwrap(), Path::new("none"));
        let stem = root.path().join("lab");
        std::fs::write(root.path().join("notes.unfinished.jsonl"), "{\"note\":\"mine\"}\n").unwrap();
        std::fs::write(root.path().join("empty.unfinished.jsonl"), "").unwrap();
        let journal = LabelJournal::open(&stem, "model A").unwrap();
        let found = || leftovers(nowhere, root.path(), &[], Duration::ZERO);
        assert!(found().is_empty(), "{:?}", found());
        let path = journal.path().to_path_buf();
        drop(journal);
        let left = found();
        assert_eq!(left.iter().map(|left| left.path.clone()).collect::<Vec<_>>(), std::slice::from_ref(&path));
        // Whoever is faster, it is gone.
        (0..2).for_each(|_| left[0].remove().unwrap());
        assert!(!path.exists() && root.path().join("notes.unfinished.jsonl").is_file());
    }

    #[test]
    fn what_nobody_needs_is_found_and_the_rest_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let write = |name: &str, days: u64| write_old(root.path(), name, days);
        write(".prepared/mock-9-stars-seed-1-v1/allStar.fits", 8);
        write("lab/.unfinished-dead/log.txt", 1);
        write("lab/.unfinished-resumable/training/net/epoch-000001/state.json", 3);
        write("lab/.unfinished-forgotten/training/net/epoch-000001/state.json", 30);
        write("lab/2026-01-01T00-00-00Z/metrics.json", 99);
        write("lab/2026-01-01T00-00-00Z/figures/.maury-abc.part", 99);
        write(".prepared/old.fits", 8);
        write(".prepared/new.fits", 2);
        write(".prepared/.maury-abc.part", 2);
        write(".prepared/notes.txt", 99);
        let running = RunFolder::create(root.path(), "lab").unwrap();
        // Who begins a run sweeps what is dead; here it is to be found.
        write("lab/.unfinished-dead/log.txt", 1);
        let found = |days: u64| -> Vec<String> {
            let leftovers = leftovers(root.path(), Path::new("none"), &[], Duration::from_secs(days * 24 * 3600));
            leftovers.iter().map(|l| l.path.strip_prefix(root.path()).unwrap().display().to_string()).collect()
        };
        let [dead, mock] = ["lab/.unfinished-dead", ".prepared/mock-9-stars-seed-1-v1"];
        let part = "lab/2026-01-01T00-00-00Z/figures/.maury-abc.part";
        assert_eq!(found(7), [".prepared/.maury-abc.part", mock, ".prepared/old.fits", dead, part]);
        let all = [".prepared/.maury-abc.part", mock, ".prepared/new.fits", ".prepared/old.fits", dead];
        assert_eq!(found(0), [&all[..], &["lab/.unfinished-resumable", part]].concat());
        let leftovers = leftovers(root.path(), Path::new("none"), &[], Duration::from_secs(7 * 24 * 3600));
        assert_eq!(leftovers.iter().map(|leftover| leftover.bytes).sum::<u64>(), 25);
        leftovers.iter().for_each(|leftover| leftover.remove().unwrap());
        assert!(
            found(7).is_empty() && running.path().is_dir() && at("lab/2026-01-01T00-00-00Z/metrics.json").is_file()
        );
    }
}
