//! Writing files whole or not at all.

use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

use super::encoding;
pub use super::leftovers::UNFINISHED;
use super::leftovers::{PART, free_name, held_name, hidden_folder, hold, sweep};
use crate::error::{Error, Result};

/// Writes a file under a temporary name beside its destination and renames it when complete.
///
/// `write` receives the temporary path (nothing exists there yet). Whatever happens, `path` holds either what it
/// held before or the whole new content.
///
/// # Errors
/// Those of `write`; [`Error::Io`] if the folder cannot be created or the rename fails.
pub fn write_atomically(path: &Path, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = Unfinished::begin(path)?;
    write(unfinished.path())?;
    unfinished.complete()
}

/// A file that has its name only when it is complete; until then, a temporary one beside its destination that goes when this
/// is dropped.
#[derive(Debug)]
pub struct Unfinished {
    temporary: tempfile::TempPath,
    destination: PathBuf,
    held: Option<fs::File>,
}

impl Unfinished {
    /// A free temporary name beside `destination`.
    ///
    /// # Errors
    /// [`Error::Io`] if the folder cannot be created or written to.
    pub fn begin(destination: &Path) -> Result<Self> {
        Self::begin_called(destination, PART.0)
    }

    /// [`Unfinished::begin`] of a file that takes long: what killed programs left beside it is swept away, and [`Unfinished::hold`]
    /// keeps it from being taken for that.
    ///
    /// # Errors
    /// As [`Unfinished::begin`].
    pub fn begin_long(destination: &Path) -> Result<Self> {
        sweep(parent(destination));
        Self::begin_called(destination, &held_name(PART.0))
    }

    /// Holds the file, which is there by now.
    pub fn hold(&mut self) {
        self.held = hold(&self.temporary);
    }

    fn begin_called(destination: &Path, prefix: &str) -> Result<Self> {
        let folder = parent(destination);
        create_folder(folder)?;
        let temporary = free_name(folder, prefix)?;
        Ok(Self { temporary, destination: destination.to_path_buf(), held: None })
    }

    /// The temporary name; nothing exists there at first.
    pub fn path(&self) -> &Path {
        &self.temporary
    }

    /// Gives the file its name, in place of what had it.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn complete(self) -> Result<()> {
        let Self { temporary, destination, held: _held } = self;
        fs::File::open(&temporary).and_then(|file| file.sync_all()).map_err(Error::io(&destination, "write"))?;
        share_as(parent(&destination), &temporary)?;
        temporary.persist(&destination).map_err(|err| Error::io(&destination, "write")(err.error))
    }
}

/// A path with an ending put behind all of its name, which need not be text.
pub fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    PathBuf::from(name)
}

/// Dates a file or folder of a cache to now, by which `maury clean` knows that it is in use. A cache that may not be written is
/// left alone.
pub fn mark_as_used(path: &Path) {
    let _ = fs::File::open(path).and_then(|file| file.set_modified(std::time::SystemTime::now()));
}

/// Fills a folder under a hidden name beside its own and renames it when complete.
///
/// Nothing, or an empty folder, may stand at `path`. Whatever happens, it holds nothing or everything; what killed
/// programs left beside it is swept away.
///
/// # Errors
/// Those of `fill`; [`Error::Format`] where something is there already; [`Error::Io`].
pub fn fill_folder<T>(path: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    // A link is followed, so that what it points to is filled.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    match fs::read_dir(path).map(Iterator::count) {
        Ok(n) if n > 0 => {
            return Err(Error::format(path, "this folder is not empty; name a new one, or empty it first"));
        }
        Ok(_) => {}
        Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
        Err(err) if err.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::format(path, "this is a file where a folder should go; name another"));
        }
        Err(err) => return Err(Error::io(path, "read")(err)),
    }
    let beside = parent(path);
    create_folder(beside)?;
    sweep(beside);
    let (unfinished, _held) = hidden_folder(beside)?;
    share_folder_as(beside, unfinished.path())?;
    let answer = fill(unfinished.path())?;
    fs::rename(unfinished.path(), path).map_err(Error::io(path, "name the folder"))?;
    let _ = unfinished.keep();
    Ok(answer)
}

/// A folder that has its name only when everything is in it; until then, a hidden one beside it that goes when this is dropped.
#[derive(Debug)]
pub struct UnfinishedFolder {
    folder: tempfile::TempDir,
    destination: PathBuf,
    _held: Option<fs::File>,
}

impl UnfinishedFolder {
    /// An empty folder beside `destination`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(destination: &Path) -> Result<Self> {
        let beside = parent(destination);
        create_folder(beside)?;
        sweep(beside);
        let (folder, _held) = hidden_folder(beside)?;
        share_folder_as(beside, folder.path())?;
        Ok(Self { folder, destination: destination.to_path_buf(), _held })
    }

    /// Where it is as yet.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name; a folder that had it is removed.
    ///
    /// # Errors
    /// [`Error::Io`]; what had the name then has it still.
    pub fn complete(self) -> Result<()> {
        let Self { folder, destination, _held } = self;
        let named = || Error::io(&destination, "name the folder");
        if destination.exists() {
            let (aside, _held) = hidden_folder(parent(&destination))?;
            let before = aside.path().join("before");
            fs::rename(&destination, &before).map_err(named())?;
            if let Err(err) = fs::rename(folder.path(), &destination) {
                let _ = fs::rename(&before, &destination);
                return Err(named()(err));
            }
        } else {
            fs::rename(folder.path(), &destination).map_err(named())?;
        }
        let _ = folder.keep();
        Ok(())
    }
}

/// Fills a folder under a hidden name and moves what is in it into `path` when complete: all of it or nothing. Files of the same
/// names that are there already are replaced, others stay.
///
/// # Errors
/// Those of `fill`; [`Error::Io`].
pub fn fill_into<T>(path: &Path, fill: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let is_new = !path.exists();
    create_folder(path)?;
    sweep(path);
    let (unfinished, _held) = hidden_folder(path)?;
    share_folder_as(path, unfinished.path())?;
    let answer = fill(unfinished.path()).and_then(|answer| move_into(unfinished.path(), path).map(|()| answer));
    drop(unfinished);
    if answer.is_err() && is_new {
        // Only where nothing came to be in it.
        let _ = fs::remove_dir(path);
    }
    answer
}

fn move_into(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).map_err(Error::io(from, "read"))? {
        let entry = entry.map_err(Error::io(from, "read"))?;
        let target = to.join(entry.file_name());
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            create_folder(&target)?;
            move_into(&entry.path(), &target)?;
        } else {
            fs::rename(entry.path(), &target).map_err(Error::io(&target, "write"))?;
        }
    }
    Ok(())
}

/// Temporary folders are private to their owner; a finished one is as readable as the folder it lies in.
#[cfg(unix)]
fn share_folder_as(beside: &Path, folder: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(beside).map_err(Error::io(beside, "read"))?.permissions().mode();
    // Without the sticky and set-group bits of shared folders such as /tmp.
    fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o755)).map_err(Error::io(folder, "open to readers"))
}

#[cfg(not(unix))]
fn share_folder_as(_beside: &Path, _folder: &Path) -> Result<()> {
    Ok(())
}

/// Temporary files are private to their owner; what is finished is as readable as the folder it lies in.
#[cfg(unix)]
fn share_as(folder: &Path, file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(folder).map_err(Error::io(folder, "read"))?.permissions().mode();
    fs::set_permissions(file, fs::Permissions::from_mode(mode & 0o644)).map_err(Error::io(file, "open to readers"))
}

#[cfg(not(unix))]
fn share_as(_folder: &Path, _file: &Path) -> Result<()> {
    Ok(())
}

/// [`write_atomically`] for content already in memory.
///
/// # Errors
/// [`Error::Io`].
pub fn write_bytes(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    write_atomically(path, |temporary| fs::write(temporary, content).map_err(Error::io(path, "write")))
}

/// Creates a folder and its parents.
///
/// # Errors
/// [`Error::Io`].
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))
}

/// Refuses all but regular files: folders hold no content, and pipes, sockets and devices may never end.
///
/// # Errors
/// [`Error::Io`] where there is nothing; [`Error::Format`] that says what is there instead.
pub fn expect_file(path: &Path) -> Result<fs::Metadata> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "read"))?;
    if metadata.is_file() {
        return Ok(metadata);
    }
    let found = if metadata.is_dir() { "this is a folder" } else { "this is a pipe, socket or device" };
    Err(Error::format(path, format!("{found} where a file should be; not a regular file")))
}

/// Opens a regular file for reading.
///
/// # Errors
/// As [`expect_file`].
pub fn open(path: &Path) -> Result<fs::File> {
    expect_file(path)?;
    fs::File::open(path).map_err(Error::io(path, "open"))
}

/// Reads a whole text file, without a mark of its encoding at the beginning.
///
/// # Errors
/// As [`expect_file`]; [`Error::Format`] also where the file is not UTF-8, with the remedy.
pub fn read_text(path: &Path) -> Result<String> {
    expect_file(path)?;
    let bytes = fs::read(path).map_err(Error::io(path, "read"))?;
    encoding::text(bytes).map_err(|what| Error::format(path, what))
}

/// A path as text that no other path has: bytes that are no UTF-8 as `\xHH`, and so the backslash before an `x`.
///
/// Any path of plain text stays as it is.
pub fn path_text(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        text += &chunk.valid().replace("\\x", "\\x5cx");
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

/// What identifies a file's content without reading it: path, size in bytes, modification time.
///
/// # Errors
/// [`Error::Io`].
pub fn fingerprint(path: &Path) -> Result<String> {
    let metadata = fs::metadata(path).map_err(Error::io(path, "read"))?;
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    Ok(format!("{} {} {:?}", path.display(), metadata.len(), modified))
}

/// A hash of the content of some files, in their order.
///
/// # Errors
/// [`Error::Io`].
pub fn content_hash(paths: &[PathBuf]) -> Result<String> {
    let mut hasher = blake3::Hasher::new();
    for path in paths {
        hasher.update_reader(open(path)?).map_err(Error::io(path, "read"))?;
    }
    Ok(hasher.finalize().to_hex()[..32].to_string())
}

/// Regular files with one of the endings below a path, sorted; the path itself where it is a file. Linked folders are not
/// entered, and folders that cannot be read are passed over with a warning.
///
/// # Errors
/// [`Error::Io`] if the path itself cannot be listed; [`Error::Format`] if it is neither a file nor a folder.
pub fn files_below(path: &Path, endings: &[&str]) -> Result<Vec<PathBuf>> {
    if !path.is_dir() {
        return expect_file(path).map(|_| vec![path.to_path_buf()]);
    }
    let mut found = Vec::new();
    let entries = fs::read_dir(path).map_err(Error::io(path, "read"))?;
    for entry in entries {
        let entry = entry.map_err(Error::io(path, "read"))?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // The entry itself, not what it links to: links between folders may go round in circles.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            match files_below(&path, endings) {
                Ok(below) => found.extend(below),
                Err(err) => tracing::warn!("{err}; passed over"),
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) && !name.starts_with('.') && path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Writes a value as JSON for programs and people alike.
///
/// # Errors
/// [`Error::Io`].
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|err| Error::format(path, err.to_string()))?;
    write_bytes(path, text + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_content_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("result.txt");
        write_bytes(&path, "first").unwrap();
        let failed = write_atomically(&path, |temporary| {
            fs::write(temporary, "half").unwrap();
            Err(Error::Config("no".into()))
        });
        assert!(failed.is_err());
        assert_eq!(read_text(&path).unwrap(), "first");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_appears_whole_or_not_at_all_and_replaces_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("survey");
        let failed = fill_folder(&path, |folder| {
            fs::write(folder.join("half"), "x").unwrap();
            Err::<(), _>(Error::Config("no".into()))
        });
        assert!(failed.is_err() && fs::read_dir(root.path()).unwrap().count() == 0);
        fs::create_dir(&path).unwrap();
        let answer = fill_folder(&path, |folder| {
            fs::write(folder.join("whole"), "x").unwrap();
            Ok(7)
        });
        assert!(answer.unwrap() == 7 && path.join("whole").is_file());
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
        let again = fill_folder(&path, |_| Ok(())).unwrap_err().to_string();
        assert!(again.contains("not empty") && path.join("whole").is_file(), "{again}");
        let file = fill_folder(&path.join("whole"), |_| Ok(())).unwrap_err().to_string();
        assert!(file.contains("is a file"), "{file}");
    }

    #[cfg(unix)]
    #[test]
    fn pipes_devices_and_folders_are_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for (path, what) in [(pipe.as_path(), "pipe"), (Path::new("/dev/zero"), "device"), (folder.path(), "folder")] {
            for said in [read_text(path).unwrap_err().to_string(), open(path).unwrap_err().to_string()] {
                assert!(said.contains(what) && said.contains("not a regular file"), "{said}");
            }
        }
        let said = files_below(&pipe, &[".fits"]).unwrap_err().to_string();
        assert!(said.contains("this is a pipe"), "{said}");
        assert!(files_below(folder.path(), &[".fits"]).unwrap().is_empty());
        assert!(files_below(&folder.path().join("none"), &[]).unwrap_err().to_string().contains("No such file"));
        assert!(read_text(&folder.path().join("none")).unwrap_err().to_string().contains("cannot read"));
    }

    #[cfg(unix)]
    #[test]
    fn two_names_that_are_no_text_stay_two() {
        use std::os::unix::ffi::OsStrExt;
        let text = |bytes: &[u8]| path_text(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(text(b"a/\xff.fits"), "a/\\xff.fits");
        assert_eq!(text(b"a/\xfe.fits"), "a/\\xfe.fits");
        assert_eq!(text(b"a/\\xff.fits"), "a/\\x5cxff.fits");
        assert_eq!(text("a/\\y/\u{e9}.fits".as_bytes()), "a/\\y/\u{e9}.fits");
    }

    #[test]
    fn what_is_filled_into_a_folder_comes_whole_or_not_at_all() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        let half = |folder: &Path| {
            write_bytes(&folder.join("draws.csv"), "x")?;
            Err::<(), _>(Error::Config("no".into()))
        };
        assert!(fill_into(&path, half).is_err() && !path.exists());
        let whole = |content: &'static str| {
            move |folder: &Path| {
                write_bytes(&folder.join("figures/corner.svg"), content)?;
                write_bytes(&folder.join("summary.csv"), content)
            }
        };
        fill_into(&path, whole("one")).unwrap();
        write_bytes(&path.join("mine.txt"), "kept").unwrap();
        assert!(fill_into(&path, half).is_err());
        fill_into(&path, whole("two")).unwrap();
        let found = files_below(&path, &[".csv", ".svg", ".txt"]).unwrap();
        assert_eq!(found, ["figures/corner.svg", "mine.txt", "summary.csv"].map(|name| path.join(name)));
        assert_eq!(read_text(&path.join("figures/corner.svg")).unwrap(), "two");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 3);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_are_told_apart_and_keep_their_endings() {
        use std::os::unix::ffi::OsStrExt;
        let path = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
        assert_eq!(with_ending(&path(b"out\xff.x"), "csv"), path(b"out\xff.x.csv"));
    }

    #[test]
    fn files_below_looks_into_subfolders_and_sorts() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/2.fits", "a/1.fits", "a/readme.txt"] {
            write_bytes(&folder.path().join(name), "x").unwrap();
        }
        let found = files_below(folder.path(), &[".fits"]).unwrap();
        assert_eq!(found, [folder.path().join("a/1.fits"), folder.path().join("b/2.fits")]);
    }

    #[test]
    fn a_folder_has_its_name_when_it_is_complete_and_replaces_the_one_before() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        let names = |folder: &Path| fs::read_dir(folder).unwrap().count();
        for file in ["a", "b"] {
            let folder = UnfinishedFolder::begin(&path).unwrap();
            fs::write(folder.path().join(file), file).unwrap();
            assert!(!path.join(file).exists(), "half a folder has no name");
            folder.complete().unwrap();
            assert_eq!((names(&path), fs::read_to_string(path.join(file)).unwrap().as_str()), (1, file));
        }
        drop(UnfinishedFolder::begin(&path).unwrap());
        assert_eq!(names(root.path()), 1, "nothing is left beside it");
    }
}
