//! What earlier runs left behind and nobody needs: found, measured, and removed by `maury clean`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::run_folder::abandoned;
use crate::data::files;
use crate::error::{Error, Result};

/// Folder, below the experiments', of prepared sets and mock surveys.
pub const CACHE: &str = ".prepared";
/// Age from which a file under a temporary name is nobody's.
const NOBODYS: Duration = Duration::from_secs(24 * 3600);

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
/// not used for so long, files and folders that killed programs left under temporary names.
///
/// A run that can be resumed stays for as long as a prepared set does.
pub fn leftovers(experiments: &Path, unused_for: Duration) -> Vec<Leftover> {
    let mut found = Vec::new();
    let mut add = |path: PathBuf, what: &'static str| {
        let bytes = size(&path);
        found.push(Leftover { path, what, bytes });
    };
    let folders: Vec<PathBuf> = entries(experiments).into_iter().filter(|path| path.is_dir()).collect();
    for folder in std::iter::once(experiments.to_path_buf()).chain(folders) {
        abandoned(&folder, unused_for).into_iter().for_each(|path| add(path, "run broken off"));
        for path in entries(&folder).into_iter().filter(|path| is_temporary(path) && age(path) > NOBODYS) {
            add(path, "left by a killed program");
        }
    }
    for path in entries(&experiments.join(CACHE)).into_iter().filter(|path| age(path) >= unused_for) {
        match name(&path) {
            name if name.starts_with("mock-") && path.is_dir() => add(path, "mock survey"),
            name if name.ends_with(".fits") && !is_temporary(&path) => add(path, "prepared set"),
            _ => {}
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.dedup();
    found
}

impl Leftover {
    /// Removes it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove(&self) -> Result<()> {
        let removed =
            if self.path.is_dir() { std::fs::remove_dir_all(&self.path) } else { std::fs::remove_file(&self.path) };
        removed.map_err(Error::io(&self.path, "remove"))
    }
}

/// What lies in a folder; links are left alone, and so is what they point to.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_symlink())).map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_temporary(path: &Path) -> bool {
    let name = name(path);
    name.starts_with(files::UNFINISHED) || (name.starts_with(".maury-") && name.ends_with(".part"))
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
    use crate::experiment::run_folder::RunFolder;
    use std::time::SystemTime;

    #[test]
    fn what_nobody_needs_is_found_and_the_rest_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        let write = |name: &str, days: u64| {
            files::write_bytes(&at(name), "12345").unwrap();
            let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
            for path in at(name).ancestors().take_while(|path| *path != root.path()) {
                std::fs::File::open(path).unwrap().set_modified(then).unwrap();
            }
        };
        write(".prepared/mock-9-stars-seed-1-v1/allStar.fits", 8);
        write("lab/.unfinished-dead/log.txt", 1);
        write("lab/.unfinished-resumable/training/net/epoch-000001/state.json", 3);
        write("lab/.unfinished-forgotten/training/net/epoch-000001/state.json", 30);
        write("lab/2026-01-01T00-00-00Z/metrics.json", 99);
        write(".prepared/old.fits", 8);
        write(".prepared/new.fits", 2);
        write(".prepared/.maury-abc.part", 2);
        write(".prepared/notes.txt", 99);
        let running = RunFolder::create(root.path(), "lab").unwrap();
        // Who begins a run sweeps what is dead; here it is to be found.
        write("lab/.unfinished-dead/log.txt", 1);
        let found = |days: u64| -> Vec<String> {
            let leftovers = leftovers(root.path(), Duration::from_secs(days * 24 * 3600));
            leftovers.iter().map(|l| l.path.strip_prefix(root.path()).unwrap().display().to_string()).collect()
        };
        let [dead, mock] = ["lab/.unfinished-dead", ".prepared/mock-9-stars-seed-1-v1"];
        assert_eq!(found(7), [".prepared/.maury-abc.part", mock, ".prepared/old.fits", dead]);
        let all = [".prepared/.maury-abc.part", mock, ".prepared/new.fits", ".prepared/old.fits", dead];
        assert_eq!(found(0), [&all[..], &["lab/.unfinished-resumable"]].concat());
        let leftovers = leftovers(root.path(), Duration::from_secs(7 * 24 * 3600));
        assert_eq!(leftovers.iter().map(|leftover| leftover.bytes).sum::<u64>(), 20);
        leftovers.iter().for_each(|leftover| leftover.remove().unwrap());
        assert!(
            found(7).is_empty() && running.path().is_dir() && at("lab/2026-01-01T00-00-00Z/metrics.json").is_file()
        );
    }
}
