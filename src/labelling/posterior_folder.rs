//! The folder of `maury posterior`: a summary with a row for each star sampled so far, and the draws and figures of these.

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::best_fits::{created_by, creator};
use super::posterior_draws;
use crate::data::fits::{Column, ColumnValues, FitsReader};
use crate::data::{files, leftovers};
use crate::error::{Error, Result};
use crate::spectra::star_table::write_table_with;

/// Stem of the summary.
pub const SUMMARY: &str = "summary";
/// Key of its FITS header that says which model and settings made its rows.
const ORIGIN: &str = "SAMPLEBY";
/// Key of the same that says of which list it is, where it is of one alone.
const LISTED: &str = "LISTED";
/// What a star without an identifier is called.
const NAMELESS: &str = "star";
/// Held as long as somebody adds stars.
const LOCK: &str = ".lock";

/// A folder of posteriors that were all sampled with one model and the same settings: stars are added to it one job after the
/// other.
#[derive(Debug)]
pub struct PosteriorFolder {
    path: PathBuf,
    /// What made its rows.
    origin: String,
    /// The list that it is of, where it is of one alone.
    list: Option<String>,
    /// Its stars, those of earlier jobs first.
    stars: Vec<Star>,
    /// Those of each spectrum, and of each name.
    of_file: HashMap<String, Vec<usize>>,
    of_name: HashMap<String, usize>,
    /// How the files of its stars are called.
    taken: HashSet<String>,
    /// The next number of stars called alike.
    next: HashMap<String, usize>,
    /// Whether the summary that is there is to be added to.
    has_summary: bool,
    /// Whether draws that are there are of what is replaced.
    replaces_draws: bool,
    /// Names of stars whose files are replaced, whatever made them.
    replaced: Vec<String>,
    is_new: bool,
    /// None on file systems that know no locks.
    _lock: File,
}

/// A star of the folder.
#[derive(Debug)]
struct Star {
    /// What its row is called, as the table has it.
    name: String,
    /// Its spectrum.
    file: String,
    files: StarFiles,
    is_of_this_job: bool,
}

/// What a job does with the files that are a star's own: draws and figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StarFiles {
    /// It writes them.
    Written,
    /// It leaves those of the same settings as they are.
    Untouched,
    /// The star has no draws.
    None,
}

impl PosteriorFolder {
    /// Opens a folder, which need not be there yet, for posteriors that `origin` made, all of those of a list where there is one. Those
    /// of another origin, and of another list, are refused, or, to `overwrite` them, replaced.
    ///
    /// # Errors
    /// [`Error::Config`] where another model or other settings made what is there; [`Error::Mismatch`] where somebody adds to it;
    /// [`Error::Io`].
    pub fn open(path: &Path, origin: &str, list: Option<&str>, overwrite: bool) -> Result<Self> {
        let is_new = !path.exists();
        files::create_folder(path)?;
        let lock_path = path.join(LOCK);
        let lock = File::create(&lock_path).map_err(Error::io(&lock_path, "create"))?;
        if let Err(TryLockError::WouldBlock) = lock.try_lock() {
            return Err(Error::Mismatch {
                what: path.display().to_string(),
                detail: "another maury adds posteriors to this folder; wait for it, or name another --out".into(),
            });
        }
        let mut folder = Self {
            path: path.to_path_buf(),
            origin: blake3::hash(origin.as_bytes()).to_hex()[..32].to_string(),
            list: list.map(String::from),
            stars: Vec::new(),
            of_file: HashMap::new(),
            of_name: HashMap::new(),
            taken: HashSet::new(),
            next: HashMap::new(),
            has_summary: false,
            replaces_draws: overwrite,
            replaced: Vec::new(),
            is_new,
            _lock: lock,
        };
        folder.look(overwrite)?;
        Ok(folder)
    }

    /// Takes note of the stars that are there.
    fn look(&mut self, overwrite: bool) -> Result<()> {
        let [table, text] = ["fits", "csv"].map(|ending| files::with_ending(&self.summary(), ending));
        if !table.exists() && !text.exists() {
            return Ok(());
        }
        let mut summary = FitsReader::open(&table).ok();
        let [origin, list] = [ORIGIN, LISTED].map(|key| summary.as_mut().and_then(|summary| summary.key_text(1, key)));
        let mut column = |name: &str| -> Option<Vec<String>> {
            let summary = summary.as_mut()?;
            let (n_rows, _) = summary.table_layout(1).ok()?;
            summary.texts(1, name, 0..n_rows).ok()
        };
        let (ids, of) = (column("id"), column("file"));
        if overwrite {
            // What another program made is not maury's to remove.
            self.replaced = ids.filter(|_| origin.is_some()).unwrap_or_default();
            return Ok(());
        }
        let refused = |made: &str| {
            let place = if table.exists() { &table } else { &text };
            let remedy = "--overwrite replaces them, or name another --out";
            Err(Error::Config(format!("{}: posteriors {made} are there; {remedy}", place.display())))
        };
        match (origin, ids, of) {
            (Some(origin), Some(ids), Some(of)) if origin == self.origin => {
                // Of a whole list, all is written anew.
                match (&self.list, list) {
                    (Some(own), Some(there)) if *own == there => return Ok(()),
                    (Some(_), Some(_)) => return refused("of other spectra than those of the list"),
                    (Some(_), None) => return refused("of spectra that no list named"),
                    _ => {}
                }
                for (name, file) in ids.into_iter().zip(of) {
                    self.add(Star { name, file, files: StarFiles::Untouched, is_of_this_job: false });
                }
                self.has_summary = true;
                Ok(())
            }
            _ => refused("of another model or by other settings"),
        }
    }

    fn add(&mut self, star: Star) {
        let number = self.stars.len();
        self.taken.insert(plain(&star.name));
        self.of_file.entry(star.file.clone()).or_default().push(number);
        self.of_name.insert(star.name.clone(), number);
        self.stars.push(star);
    }

    /// Where the summary is, without its ending.
    pub fn summary(&self) -> PathBuf {
        self.path.join(SUMMARY)
    }

    /// Where the draws of many stars are.
    pub fn draws(&self) -> PathBuf {
        posterior_draws::file_in(&self.path)
    }

    /// What the row of a star is called: its identifier, as `maury label` has it, numbered where it comes again in another file. Its
    /// own files have the [`file_name`] of that.
    pub fn name(&mut self, file: &str, id: &str, files: StarFiles) -> String {
        // Blanks at the ends get lost in FITS, and a row is called somehow.
        let id = if id.trim().is_empty() { NAMELESS } else { id.trim() };
        let own = plain(id);
        let is_again = |number: &&usize| is_numbered(&plain(&self.stars[**number].name), &own);
        if let Some(number) = self.of_file.get(file.trim()).and_then(|numbers| numbers.iter().find(is_again)) {
            let star = &mut self.stars[*number];
            // What a job knows of a star's files it is not made to forget.
            star.files = if files == StarFiles::Untouched { star.files } else { files };
            star.is_of_this_job = true;
            return star.name.clone();
        }
        // No two stars share files.
        let is_free = |name: &String| !self.taken.contains(&plain(name));
        let first = self.next.get(&own).copied().unwrap_or(1);
        let numbered = (first..).map(|n| (n + 1, if n == 1 { id.to_string() } else { format!("{id}-{n}") }));
        let (next, name) = numbered.into_iter().find(|(_, name)| is_free(name)).expect("numbers do not end");
        self.next.insert(own, next);
        self.add(Star { name: name.clone(), file: file.trim().into(), files, is_of_this_job: true });
        name
    }

    /// Number of stars of earlier jobs whose rows stay as they are.
    pub fn n_kept(&self) -> usize {
        self.stars.iter().filter(|star| !star.is_of_this_job).count()
    }

    /// Keys of the FITS headers: what made this, and of which list it is.
    pub(super) fn keys(&self) -> Vec<(&str, &str, &str)> {
        let list = self.list.as_deref().map(|list| (LISTED, list, "hash of the list"));
        let origin = (ORIGIN, self.origin.as_str(), "hash of the model and the settings that made this");
        [origin].into_iter().chain(list).collect()
    }

    /// Writes the summary: the rows of earlier jobs, and these, which begin with the names of this job's stars. A star that was sampled
    /// again has its last row.
    ///
    /// # Errors
    /// Those of reading the rows that are there, and of writing.
    pub fn write_summary(&self, mut columns: Vec<Column>) -> Result<()> {
        let file_of = |name: &String| self.of_name.get(name).map(|n| self.stars[*n].file.clone()).unwrap_or_default();
        if let Some(Column { values: ColumnValues::Text(names), .. }) = columns.first() {
            let files = Column::text("file", names.iter().map(file_of).collect());
            columns.insert(1, files);
        }
        if self.has_summary {
            columns = added(columns, &files::with_ending(&self.summary(), "fits"))?;
        }
        let creator = creator();
        let mut keys = self.keys();
        keys.push(created_by(&creator));
        write_table_with(&self.summary(), "POSTERIOR", &columns, &keys)
    }

    /// Removes draws and figures that belong to no row any more: those of replaced stars, and of stars that have no draws now; and the
    /// draws of many stars that were replaced, unless there are new ones.
    pub fn remove_stale(&self, has_draws: bool) {
        let of = |files: StarFiles| {
            self.stars.iter().filter(move |star| star.is_of_this_job && star.files == files).map(|star| &star.name)
        };
        let written: HashSet<String> = of(StarFiles::Written).map(|name| file_name(name)).collect();
        let stale = self.replaced.iter().chain(of(StarFiles::None)).map(|name| file_name(name));
        let stale: HashSet<String> = stale.filter(|name| !written.contains(name)).collect();
        if self.replaces_draws && !has_draws {
            let _ = leftovers::remove(&self.draws());
        }
        if stale.is_empty() {
            return;
        }
        for folder in [self.path.clone(), self.path.join("figures")] {
            for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
                let is_own = |(kind, endings): &(&str, [&str; 2])| {
                    let name = stem.strip_prefix(kind).and_then(|rest| rest.strip_prefix('-'));
                    name.is_some_and(|name| stale.contains(name)) && endings.contains(&ending.as_str())
                };
                if STAR_FILES.iter().any(is_own) {
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }
}

/// How the files of a star begin, and how they end.
const STAR_FILES: [(&str, [&str; 2]); 4] =
    [("draws", ["fits", "csv"]), ("corner", ["svg", "png"]), ("traces", ["svg", "png"]), ("ranks", ["svg", "png"])];

impl Drop for PosteriorFolder {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.path.join(LOCK));
        if self.is_new {
            // Only where nothing came to be in it.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// How the files of a row are called.
pub fn file_name(row: &str) -> String {
    plain(row)
}

/// A star's identifier as it goes into the names of files.
pub(super) fn plain(id: &str) -> String {
    let plain: String =
        id.chars().map(|c| if c.is_ascii_alphanumeric() || "+-_.".contains(c) { c } else { '_' }).collect();
    if plain.is_empty() { NAMELESS.to_string() } else { plain }
}

/// Whether a name is this one, or this one with a number.
fn is_numbered(name: &str, plain: &str) -> bool {
    let number = name.strip_prefix(plain).map(|rest| rest.strip_prefix('-').unwrap_or(rest));
    number.is_some_and(|number| number.chars().all(|c| c.is_ascii_digit()))
}

/// The rows of a summary with these, by their identifiers: a row that is here again takes the place of the one before.
fn added(mut columns: Vec<Column>, summary: &Path) -> Result<Vec<Column>> {
    let mut before = FitsReader::open(summary)?;
    let (n_before, names) = before.table_layout(1)?;
    let Some(Column { values: ColumnValues::Text(ids), .. }) = columns.first() else { return Ok(columns) };
    let ids_before = before.texts(1, "id", 0..n_before)?;
    // FITS keeps no letters beyond ASCII: names are alike where those of their files are.
    let [own_names, names_before] = [ids, &ids_before].map(|ids| ids.iter().map(|id| plain(id)).collect::<Vec<_>>());
    let place_of: HashMap<&String, usize> = own_names.iter().zip(0..).collect();
    let known: HashSet<&String> = names_before.iter().collect();
    // A row of those before, or of these.
    let again = |(row, name): (usize, &String)| place_of.get(name).copied().ok_or(row);
    let mut rows: Vec<Result<usize, usize>> = names_before.iter().enumerate().map(again).collect();
    rows.extend((0..ids.len()).filter(|row| !known.contains(&own_names[*row])).map(Ok));
    let n_own = ids.len();
    // Only some stars have a factor on their errors.
    for (index, name) in names.iter().enumerate() {
        if !columns.iter().any(|column| column.name == *name) {
            columns.insert(index.min(columns.len()), Column::f64(name.clone(), "", vec![f64::NAN; n_own]));
        }
    }
    for column in &mut columns {
        let is_there = names.contains(&column.name);
        let all = 0..if is_there { n_before } else { 0 };
        match &mut column.values {
            ColumnValues::Text(own) => {
                let before = if is_there { before.texts(1, &column.name, all)? } else { vec![String::new(); n_before] };
                *own = picked(&rows, &before, own);
            }
            ColumnValues::I64(own) => {
                let before = if is_there { before.integers(1, &column.name, all)? } else { vec![0; n_before] };
                *own = picked(&rows, &before, own);
            }
            ColumnValues::F64(own) => {
                let before = if is_there { before.numbers(1, &column.name, all)? } else { vec![f64::NAN; n_before] };
                *own = picked(&rows, &before, own);
            }
            _ => {
                return Err(Error::format(summary, format!("column {} is of no kind that a summary has", column.name)));
            }
        }
    }
    Ok(columns)
}

fn picked<T: Clone>(rows: &[Result<usize, usize>], before: &[T], own: &[T]) -> Vec<T> {
    let pick = |row: &Result<usize, usize>| match row {
        Ok(row) => own[*row].clone(),
        Err(row) => before[*row].clone(),
    };
    rows.iter().map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One job: stars by file and identifier, each with a value and, where it is finite, draws.
    fn job(path: &Path, origin: &str, overwrite: bool, stars: &[(&str, &str, f64)]) -> Result<usize> {
        let mut folder = PosteriorFolder::open(path, origin, None, overwrite)?;
        let mut names = Vec::new();
        for (file, id, value) in stars {
            let name = folder.name(file, id, if value.is_finite() { StarFiles::Written } else { StarFiles::None });
            if value.is_finite() {
                let file = file_name(&name);
                files::write_bytes(&path.join(format!("draws-{file}.csv")), "")?;
                files::write_bytes(&path.join(format!("figures/corner-{file}.svg")), "")?;
            }
            names.push(name);
        }
        let values = stars.iter().map(|(.., value)| *value).collect();
        let flags = Column::i64("flags", vec![4; stars.len()]);
        folder.write_summary(vec![Column::text("id", names), Column::f64("teff_mean", "K", values), flags])?;
        folder.remove_stale(false);
        Ok(folder.n_kept())
    }

    fn rows(path: &Path) -> Vec<String> {
        let text = std::fs::read_to_string(path.join("summary.csv")).unwrap();
        text.lines().skip(1).map(String::from).collect()
    }

    #[test]
    fn stars_of_one_model_come_together_job_by_job() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("posterior");
        assert_eq!(job(&path, "model", false, &[("a.fits", "2M A", 1.0), ("x/a.fits", "2M A", 2.0)]).unwrap(), 0);
        assert_eq!(job(&path, "model", false, &[("b.fits", "2MB", 3.0)]).unwrap(), 2);
        let expected = ["2M A,a.fits,1.0,4", "2M A-2,x/a.fits,2.0,4", "2MB,b.fits,3.0,4"];
        assert_eq!(rows(&path), expected);
        // The same star again, and a third file of it.
        job(&path, "model", false, &[("x/a.fits", "2M A", 5.0), ("y/a.fits", "2M A", 6.0)]).unwrap();
        let expected = ["2M A,a.fits,1.0,4", "2M A-2,x/a.fits,5.0,4", "2MB,b.fits,3.0,4", "2M A-3,y/a.fits,6.0,4"];
        assert_eq!(rows(&path), expected);
        assert!(expected.iter().all(|row| {
            let file = file_name(row.split(',').next().unwrap());
            path.join(format!("draws-{file}.csv")).is_file()
        }));
        let unit = FitsReader::open(&path.join("summary.fits")).unwrap().key_text(1, "TUNIT3");
        assert_eq!((unit.as_deref(), path.join(LOCK).exists()), (Some("K"), false));
        // Draws that are no longer there leave nothing.
        job(&path, "model", false, &[("b.fits", "2MB", f64::NAN)]).unwrap();
        assert!(!path.join("draws-2MB.csv").exists() && rows(&path)[2] == "2MB,b.fits,,4");
    }

    #[test]
    fn another_origin_is_refused_or_replaces_all() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("posterior");
        let (one, other) = ([("a.fits", "A", 1.0)], [("b.fits", "B", 2.0)]);
        job(&path, "model", false, &one).unwrap();
        let refused = job(&path, "other", false, &other).unwrap_err();
        assert!(refused.to_string().contains("--overwrite replaces them") && refused.exit_code() == 2, "{refused}");
        assert!(!path.join(LOCK).exists() && rows(&path) == ["A,a.fits,1.0,4"]);
        job(&path, "other", true, &other).unwrap();
        assert_eq!(rows(&path), ["B,b.fits,2.0,4"]);
        assert!(!path.join("draws-A.csv").exists() && !path.join("figures/corner-A.svg").exists());
        assert!(path.join("draws-B.csv").is_file() && path.join("figures/corner-B.svg").is_file());
        // A table of another program is somebody's.
        std::fs::remove_file(path.join("summary.fits")).unwrap();
        assert!(job(&path, "other", false, &one).is_err());
    }

    #[test]
    fn two_jobs_do_not_add_at_once_and_what_fails_leaves_no_folder() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("posterior");
        let first = PosteriorFolder::open(&path, "model", None, false).unwrap();
        assert!(job(&path, "model", false, &[]).unwrap_err().to_string().contains("another maury"));
        drop(first);
        assert!(!path.exists());
    }

    #[test]
    fn rows_are_called_as_label_calls_them_whatever_their_files_are_called() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("posterior");
        let ids = ["=1+1", "a/b", "a_b", "\u{e9}t\u{e9} ", ""];
        let stars: Vec<(&str, &str, f64)> =
            ids.iter().zip(["1", "2", "3", "4", "5"]).map(|(id, file)| (file, *id, 1.0)).collect();
        // A second job finds them all again.
        for job_number in 0..2 {
            assert_eq!(job(&path, "model", false, &stars).unwrap(), 0);
            let expected = ["'=1+1", "a/b", "a_b-2", ["\u{e9}t\u{e9}", "?t?"][job_number], "star"];
            let told: Vec<String> = rows(&path).iter().map(|row| row.split(',').next().unwrap().to_string()).collect();
            assert_eq!(told, expected);
        }
        let mut summary = FitsReader::open(&path.join("summary.fits")).unwrap();
        assert_eq!(summary.texts(1, "id", 0..5).unwrap(), ["=1+1", "a/b", "a_b-2", "?t?", "star"]);
        for file in ["_1+1", "a_b", "a_b-2", "_t_", "star"] {
            assert!(path.join(format!("draws-{file}.csv")).is_file(), "{file}");
        }
        // All of them go.
        job(&path, "other", true, &[("6", "x", 1.0)]).unwrap();
        assert!(!path.join("draws-_1+1.csv").exists() && !path.join("draws-a_b-2.csv").exists());
    }

    #[test]
    fn names_of_stars_are_names_of_files() {
        assert_eq!((plain("a/b c"), plain("")), ("a_b_c".to_string(), "star".to_string()));
        assert!(
            is_numbered("a", "a") && is_numbered("a-12", "a") && !is_numbered("a-b", "a") && !is_numbered("b", "a")
        );
    }
}
