//! The folder of `maury posterior`: a summary with a row for each star sampled so far, and the draws and figures of these.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::data::files;
use crate::data::fits::{Column, ColumnValues, FitsReader};
use crate::error::{Error, Result};
use crate::spectra::star_table::write_table_with;

/// Stem of the summary.
const SUMMARY: &str = "summary";
/// Key of its FITS header that says which model and settings made its rows.
const ORIGIN: &str = "SAMPLEBY";
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
    /// Its stars, those of earlier jobs first.
    stars: Vec<Star>,
    /// Whether the summary that is there is to be added to.
    has_summary: bool,
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
    is_drawn: bool,
    is_of_this_job: bool,
}

impl PosteriorFolder {
    /// Opens a folder, which need not be there yet, for posteriors that `origin` made. Those of another origin are refused, or, to
    /// `overwrite` them, replaced.
    ///
    /// # Errors
    /// [`Error::Config`] where another model or other settings made what is there; [`Error::Mismatch`] where somebody adds to it;
    /// [`Error::Io`].
    pub fn open(path: &Path, origin: &str, overwrite: bool) -> Result<Self> {
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
        let origin = blake3::hash(origin.as_bytes()).to_hex()[..32].to_string();
        let (stars, replaced) = (Vec::new(), Vec::new());
        let mut folder =
            Self { path: path.to_path_buf(), origin, stars, has_summary: false, replaced, is_new, _lock: lock };
        folder.look(overwrite)?;
        Ok(folder)
    }

    /// Takes note of the stars that are there.
    fn look(&mut self, overwrite: bool) -> Result<()> {
        let [table, text] = ["fits", "csv"].map(|ending| files::with_ending(&self.path.join(SUMMARY), ending));
        if !table.exists() && !text.exists() {
            return Ok(());
        }
        let mut summary = FitsReader::open(&table).ok();
        let origin = summary.as_mut().and_then(|summary| summary.key_text(1, ORIGIN));
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
        match (origin, ids, of) {
            (Some(origin), Some(ids), Some(of)) if origin == self.origin => {
                let star = |(name, file)| Star { name, file, is_drawn: false, is_of_this_job: false };
                self.stars = ids.into_iter().zip(of).map(star).collect();
                self.has_summary = true;
                Ok(())
            }
            _ => {
                let place = if table.exists() { table } else { text };
                Err(Error::Config(format!(
                    "{}: posteriors of another model or by other settings are there; --overwrite replaces them, or name another \
                     --out",
                    place.display()
                )))
            }
        }
    }

    /// What the row of a star is called: its identifier, as `maury label` has it, numbered where it comes again in another file. Its
    /// files have the [`file_name`] of that. `is_drawn` says whether it has draws.
    pub fn name(&mut self, file: &str, id: &str, is_drawn: bool) -> String {
        // Blanks at the ends get lost in FITS, and a row is called somehow.
        let id = if id.trim().is_empty() { NAMELESS } else { id.trim() };
        let is_again = |star: &&mut Star| star.file == file.trim() && is_numbered(&plain(&star.name), &plain(id));
        if let Some(star) = self.stars.iter_mut().find(is_again) {
            (star.is_drawn, star.is_of_this_job) = (is_drawn, true);
            return star.name.clone();
        }
        // No two stars share files.
        let is_free = |name: &String| self.stars.iter().all(|star| plain(&star.name) != plain(name));
        let numbered = (2..).map(|n| format!("{id}-{n}"));
        let name = std::iter::once(id.to_string()).chain(numbered).find(is_free).unwrap_or_else(|| id.to_string());
        self.stars.push(Star { name: name.clone(), file: file.into(), is_drawn, is_of_this_job: true });
        name
    }

    /// Number of stars of earlier jobs whose rows stay as they are.
    pub fn n_kept(&self) -> usize {
        self.stars.iter().filter(|star| !star.is_of_this_job).count()
    }

    /// Writes the summary into `place`: the rows of earlier jobs, and these, which begin with the names of this job's stars. A star
    /// that was sampled again has its last row.
    ///
    /// # Errors
    /// Those of reading the rows that are there, and of writing.
    pub fn write_summary(&self, place: &Path, mut columns: Vec<Column>) -> Result<()> {
        let files_of = |name: &String| {
            let star = self.stars.iter().find(|star| star.name == *name);
            star.map(|star| star.file.clone()).unwrap_or_default()
        };
        if let Some(Column { values: ColumnValues::Text(names), .. }) = columns.first() {
            let files = Column::text("file", names.iter().map(files_of).collect());
            columns.insert(1, files);
        }
        if self.has_summary {
            columns = added(columns, &files::with_ending(&self.path.join(SUMMARY), "fits"))?;
        }
        let keys = [(ORIGIN, self.origin.as_str(), "hash of the model and the settings that made this")];
        write_table_with(&place.join(SUMMARY), "POSTERIOR", &columns, &keys)
    }

    /// Removes draws and figures that belong to no row any more: those of replaced stars, and of stars that have no draws now.
    pub fn remove_stale(&self) {
        let own = self.stars.iter().filter(|star| star.is_of_this_job);
        let drawn: Vec<String> = own.clone().filter(|star| star.is_drawn).map(|star| file_name(&star.name)).collect();
        let candidates = self.replaced.iter().chain(own.map(|star| &star.name));
        for name in candidates.map(|name| file_name(name)).filter(|name| !drawn.contains(name)) {
            let draws = ["fits", "csv"].map(|ending| self.path.join(format!("draws-{name}.{ending}")));
            let figures = self.path.join("figures");
            let drawings = ["corner", "traces", "ranks"]
                .into_iter()
                .flat_map(|kind| ["svg", "png"].map(|ending| figures.join(format!("{kind}-{name}.{ending}"))));
            draws.into_iter().chain(drawings).for_each(|path| _ = std::fs::remove_file(path));
        }
    }
}

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
    // A row of those before, or of these.
    // FITS keeps no letters beyond ASCII: names are alike where those of their files are.
    let [own_names, names_before] = [ids, &ids_before].map(|ids| ids.iter().map(|id| plain(id)).collect::<Vec<_>>());
    let again = |(row, name): (usize, &String)| own_names.iter().position(|own| own == name).ok_or(row);
    let mut rows: Vec<Result<usize, usize>> = names_before.iter().enumerate().map(again).collect();
    rows.extend((0..ids.len()).filter(|row| !names_before.contains(&own_names[*row])).map(Ok));
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
        let mut folder = PosteriorFolder::open(path, origin, overwrite)?;
        files::fill_into(path, |out| {
            let mut names = Vec::new();
            for (file, id, value) in stars {
                let name = folder.name(file, id, value.is_finite());
                if value.is_finite() {
                    let file = file_name(&name);
                    files::write_bytes(&out.join(format!("draws-{file}.csv")), "")?;
                    files::write_bytes(&out.join(format!("figures/corner-{file}.svg")), "")?;
                }
                names.push(name);
            }
            let values = stars.iter().map(|(.., value)| *value).collect();
            let flags = Column::i64("flags", vec![4; stars.len()]);
            folder.write_summary(out, vec![Column::text("id", names), Column::f64("teff_mean", "K", values), flags])
        })?;
        folder.remove_stale();
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
        let first = PosteriorFolder::open(&path, "model", false).unwrap();
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
