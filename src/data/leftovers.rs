//! Temporary names, and what killed programs leave behind under them: told from what others are writing still, and swept away.
//!
//! Who writes for long holds a lock on what is being written, which ends with the program, and puts the machine's name into the
//! temporary one: locks of another machine may not be seen here. What is not so held is nobody's when it is a day old.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use tempfile::{TempDir, TempPath};

use crate::error::{Error, Result};

/// How the names of unfinished folders begin.
pub const UNFINISHED: &str = ".maury-unfinished-";
/// How those of unfinished files begin and end.
pub(super) const PART: (&str, &str) = (".maury-", ".part");
/// What stands behind that where a lock tells whether somebody writes; the machine's name and a line follow.
const HELD: &str = "held-";
/// Age from which what is not held is nobody's.
const NOBODYS: Duration = Duration::from_secs(24 * 3600);
/// The same where its lock is free: it is taken a moment after the name.
const MOMENT: Duration = Duration::from_secs(5);

/// Name of this machine; empty where it is not known.
static MACHINE: LazyLock<String> = LazyLock::new(|| {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(40).collect()
});

/// How the names of files or folders begin that are to be held, where those of others begin like this.
pub(super) fn held_name(begins: &str) -> String {
    format!("{begins}{HELD}{}_", *MACHINE)
}

/// Holds a file or folder for as long as the answer lives; not where there are no locks, or locks would keep its own writer out.
pub(super) fn hold(path: &Path) -> Option<File> {
    if cfg!(unix) { try_lock(path).ok() } else { None }
}

fn try_lock(path: &Path) -> Result<File, TryLockError> {
    let opened = if path.is_dir() { File::open(path) } else { OpenOptions::new().write(true).open(path) };
    let file = opened.map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// A name in a folder that is free and a file's to come.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn free_name(folder: &Path, prefix: &str) -> Result<TempPath> {
    let file = tempfile::Builder::new().prefix(prefix).suffix(PART.1).tempfile_in(folder);
    let path = file.map_err(Error::io(folder, "write into the folder"))?.into_temp_path();
    fs::remove_file(&path).map_err(Error::io(&path, "prepare"))?;
    Ok(path)
}

/// A folder under a temporary name, and what holds it.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn hidden_folder(beside: &Path) -> Result<(TempDir, Option<File>)> {
    let folder = tempfile::Builder::new().prefix(&held_name(UNFINISHED)).tempdir_in(beside);
    let folder = folder.map_err(Error::io(beside, "write into the folder"))?;
    let held = hold(folder.path());
    Ok((folder, held))
}

fn left_in(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| is_left(path)).collect()
}

/// Removes what killed programs left in a folder, as far as that can be.
pub fn sweep(folder: &Path) {
    left_in(folder).iter().for_each(|path| _ = remove(path));
}

/// Removes a file or a folder; what is gone already is no trouble.
///
/// # Errors
/// [`Error::Io`].
pub fn remove(path: &Path) -> Result<()> {
    match if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::io(path, "remove")),
    }
}

/// Whether somebody writes a file that its writer locks; where there are no locks, whether it is younger than a day.
pub fn is_in_use(path: &Path) -> bool {
    match try_lock(path) {
        Ok(_) => false,
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(_)) => fs::symlink_metadata(path).is_ok_and(|metadata| age(&metadata) <= NOBODYS),
    }
}

fn age(metadata: &fs::Metadata) -> Duration {
    metadata.modified().ok().and_then(|modified| modified.elapsed().ok()).unwrap_or_default()
}

/// Whether a killed program left this: a temporary name, and nobody holds it.
pub fn is_left(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let of_file = || name.strip_suffix(PART.1)?.strip_prefix(PART.0);
    let Some(rest) = name.strip_prefix(UNFINISHED).or_else(of_file) else { return false };
    let Some(metadata) = fs::symlink_metadata(path).ok().filter(|metadata| !metadata.is_symlink()) else {
        return false;
    };
    let age = age(&metadata);
    let is_of_here = !MACHINE.is_empty() && rest.starts_with(&held_name(""));
    match try_lock(path) {
        Ok(_) if is_of_here => age > MOMENT,
        Err(TryLockError::WouldBlock) => false,
        _ => age > NOBODYS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn what_nobody_holds_is_left_over_at_once_and_other_things_after_a_day() {
        let root = tempfile::tempdir().unwrap();
        let here = root.path();
        let age = |path: &Path, seconds: u64| {
            let then = std::time::SystemTime::now() - Duration::from_secs(seconds);
            File::open(path).unwrap().set_modified(then).unwrap();
        };
        let file = here.join(held_name(PART.0) + "abc" + PART.1);
        let folder = here.join(held_name(UNFINISHED) + "abc");
        fs::write(&file, "half").unwrap();
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("half"), "").unwrap();
        let held = [&file, &folder].map(|path| hold(path).unwrap());
        let plain = here.join(".maury-abc.part");
        let foreign = here.join(".maury-held-another.machine_abc.part");
        let mine = here.join(".maury-notes");
        [&plain, &foreign, &mine].into_iter().for_each(|path| fs::write(path, "").unwrap());
        [&file, &folder, &plain, &foreign].into_iter().for_each(|path| age(path, 3600));
        age(&mine, 48 * 3600);
        assert!(left_in(here).is_empty());
        drop(held);
        assert_eq!(left_in(here).len(), 2);
        age(&file, 0);
        assert_eq!(left_in(here), std::slice::from_ref(&folder), "its lock may come yet");
        [&file, &plain, &foreign].into_iter().for_each(|path| age(path, 25 * 3600));
        sweep(here);
        assert_eq!(fs::read_dir(here).unwrap().count(), 1);
        assert!(mine.exists());
    }
}
