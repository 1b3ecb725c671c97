//! Labels on their way to disk: written as they come, so that a killed job goes on where it stopped.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::data::fits::FitsReader;
use crate::data::value::Value;
use crate::data::{files, leftovers};
use crate::error::{Error, Result};
use crate::labelling::label_table::{LabelTable, TableForm};
use crate::labelling::labeller::LabelledStar;
use crate::labelling::table_files;
use crate::spectra::quality::star_flags;
use crate::stars::spectra::SpectrumSource;

/// How rows are written, counted up when that changes: rows of another kind are not gone on with.
const ROWS: u32 = 2;
/// Ending of the journal's name.
const ENDING: &str = "unfinished.jsonl";

/// Whether a file holds labels on their way: by its name and by its first line.
pub fn is_journal(path: &Path) -> bool {
    let is_named = path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&format!(".{ENDING}")));
    let first = || BufReader::new(files::open(path).ok()?.take(1 << 20)).lines().next()?.ok();
    let header = || serde_json::from_str::<serde_json::Value>(&first()?).ok();
    is_named && header().is_some_and(|header| header.get("labels_by").is_some())
}

/// The rows written so far, beside the table they are to become: one JSON object a line below a line that says what made
/// them. Before files are read, a line names them: a file that ends the program is known by it.
#[derive(Debug)]
pub struct LabelJournal {
    stem: PathBuf,
    path: PathBuf,
    file: File,
    done: HashSet<String>,
    /// Files that were being read when an earlier job ended.
    suspects: HashSet<String>,
    /// How often a job ended while this file alone was being read.
    ends: HashMap<String, usize>,
    fingerprint: String,
}

/// Files that are about to be read; none once those before came through.
#[derive(serde::Serialize, serde::Deserialize)]
struct Reading {
    reading: Vec<String>,
}

/// How a file is to be read, after what it did to earlier jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// Together with others.
    Full,
    /// First alone, to see whether that is survived: a job has ended while it was being read, among others.
    Alone,
    /// Not again: jobs have ended twice while it was being read alone.
    Nil,
}

/// Key of the FITS header that says which model and which files made a table.
const ORIGIN: &str = "LABELSBY";

/// What tells tables of the same labels of the same files from others.
fn origin(fingerprint: &str, spectra: &dyn SpectrumSource) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(fingerprint.as_bytes());
    (0..spectra.len()).for_each(|n| _ = hasher.update(b"\0").update(spectra.name(n).as_bytes()));
    hasher.finalize().to_hex()[..32].to_string()
}

/// The finished table at `stem`, if there is one and it is of another model or of other spectra than these.
pub fn foreign_table(stem: &Path, fingerprint: &str, spectra: &dyn SpectrumSource) -> Option<PathBuf> {
    let [table, text] = ["fits", "csv"].map(|ending| files::with_ending(stem, ending));
    if !table.exists() {
        return Some(text).filter(|text| text.exists());
    }
    // In the HDU of the labels, which one layout has behind an empty one.
    let found = FitsReader::open(&table)
        .ok()
        .and_then(|mut file| [1, 2].into_iter().find_map(|hdu| file.key_text(hdu, ORIGIN)));
    Some(table).filter(|_| found != Some(origin(fingerprint, spectra)))
}

impl LabelJournal {
    /// Opens the journal of the table `stem`, and keeps the whole rows of an earlier, interrupted job. What killed programs left beside
    /// it under temporary names goes.
    ///
    /// `fingerprint` says what makes the rows; a journal of another origin is not continued.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Mismatch`] if the journal is another model's, or in use.
    pub fn open(stem: &Path, fingerprint: &str) -> Result<Self> {
        let path = files::with_ending(stem, ENDING);
        let folder = stem.parent().filter(|folder| !folder.as_os_str().is_empty());
        leftovers::sweep(folder.unwrap_or(Path::new(".")));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(Error::io(&path, "create"))?;
        let in_use = || Error::Mismatch {
            what: path.display().to_string(),
            detail: "another maury is writing these labels; wait for it, or choose another --out".into(),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use()),
            // Some network file systems know no locks.
            Err(TryLockError::Error(err)) => tracing::debug!("{}: no lock ({err})", path.display()),
        }
        let header = serde_json::json!({ "labels_by": fingerprint, "rows": ROWS }).to_string() + "\n";
        let (mut whole, mut done, mut ends) = (0_u64, HashSet::new(), HashMap::new());
        let (mut suspects, mut reading, mut read) = (HashSet::new(), HashSet::new(), Vec::new());
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        loop {
            line.clear();
            // What a killed job left half written, or a dying disk garbled, is written again.
            let Ok(length) = reader.read_line(&mut line) else { break };
            if !line.ends_with('\n') {
                break;
            }
            if whole == 0 {
                if line != header {
                    return Err(Error::Mismatch {
                        what: path.display().to_string(),
                        detail:
                            "these labels were begun with another model or other settings or arrays; finish them with those, \
                                 or remove the file"
                                .into(),
                    });
                }
            } else if let Ok(next) = serde_json::from_str::<Reading>(&line) {
                let before = std::mem::replace(&mut reading, next.reading.into_iter().collect());
                read.clear();
                match reading.is_empty() {
                    true => before.iter().for_each(|file| _ = suspects.remove(file)),
                    false => blame(before, &mut suspects, &mut ends),
                }
            } else if let Ok(star) = serde_json::from_str::<Row>(&line) {
                read.extend(reading.take(&star.file));
                // What could not be read is tried again: it may have been mended.
                if star.flags & star_flags::UNREADABLE == 0 {
                    done.insert(star.file);
                }
            } else {
                break;
            }
            whole += length as u64;
        }
        // A batch of which only some rows were written is labelled again as a whole: sums run over all of it.
        if !reading.is_empty() {
            read.iter().for_each(|file| _ = done.remove(file));
        }
        blame(reading, &mut suspects, &mut ends);
        let place = || Error::io(&path, "write");
        file.set_len(whole).map_err(place())?;
        file.seek(SeekFrom::End(0)).map_err(place())?;
        if whole == 0
            && let Err(err) = file.write_all(header.as_bytes())
        {
            let _ = std::fs::remove_file(&path);
            return Err(Error::io(&path, "write")(err));
        }
        let (stem, fingerprint) = (stem.to_path_buf(), fingerprint.to_string());
        Ok(Self { stem, path, file, done, suspects, ends, fingerprint })
    }

    /// Whether a spectrum has its row already.
    pub fn has(&self, name: &str) -> bool {
        self.done.contains(name)
    }

    /// How a spectrum is to be read.
    pub fn trust(&self, name: &str) -> Trust {
        match self.ends.get(name) {
            Some(2..) => Trust::Nil,
            _ if self.suspects.contains(name) => Trust::Alone,
            _ => Trust::Full,
        }
    }

    /// Takes note of spectra that are about to be read, by their names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn begin(&mut self, spectra: Vec<String>) -> Result<()> {
        let reading = Reading { reading: spectra };
        let line = serde_json::to_string(&reading).expect("text is JSON") + "\n";
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(Error::io(&self.path, "write"))
    }

    /// Takes note that what was being read came through.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn came_through(&mut self) -> Result<()> {
        self.begin(Vec::new())
    }

    /// Number of spectra with labels.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// Whether no spectrum has labels yet.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Removes the journal: nothing in it is worth going on with.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn discard(self) -> Result<()> {
        leftovers::remove(&self.path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds rows and brings them to the disk.
    ///
    /// # Errors
    /// [`Error::Io`], for instance when the disk is full; the rows before are safe.
    pub fn append(&mut self, stars: &[LabelledStar]) -> Result<()> {
        let mut text = String::new();
        for star in stars {
            // JSON knows no NaN: numbers travel as text.
            text += &serde_json::to_string(&Row::from(star)).expect("plain values are JSON");
            text.push('\n');
        }
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(Error::io(&self.path, "write"))?;
        let readable = stars.iter().filter(|star| star.flags & star_flags::UNREADABLE == 0);
        self.done.extend(readable.map(|star| star.file.clone()));
        Ok(())
    }

    /// Turns the journal into `<stem>.fits` and `<stem>.csv`, and removes it. The rows are those of these spectra, in
    /// their order; what else an earlier job left in the journal is left out.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Fits`]; the journal then stays.
    pub fn finish(mut self, form: &TableForm, spectra: &dyn SpectrumSource) -> Result<usize> {
        self.file.rewind().map_err(Error::io(&self.path, "read"))?;
        let damaged = |detail: String| Error::format(&self.path, format!("{detail}; remove the file and label again"));
        let mut table = LabelTable::new(form, spectra);
        for line in BufReader::new(&self.file).lines().skip(1) {
            let line = line.map_err(Error::io(&self.path, "read"))?;
            if serde_json::from_str::<Reading>(&line).is_ok() {
                continue;
            }
            let row: Row = serde_json::from_str(&line).map_err(|err| damaged(err.to_string()))?;
            table.set(LabelledStar::try_from(row).map_err(|err| damaged(err.to_string()))?);
        }
        let origin = origin(&self.fingerprint, spectra);
        table_files::write(&self.stem, table, form, (ORIGIN, &origin))?;
        leftovers::remove(&self.path)?;
        Ok(spectra.len())
    }
}

/// Takes note of files that have no row though they were to be read.
fn blame(unread: HashSet<String>, suspects: &mut HashSet<String>, ends: &mut HashMap<String, usize>) {
    if let (1, Some(file)) = (unread.len(), unread.iter().next())
        && suspects.contains(file)
    {
        *ends.entry(file.clone()).or_default() += 1;
    }
    suspects.extend(unread);
}

/// A [`LabelledStar`] whose numbers are written so that each comes back as it was, NaN too.
#[derive(serde::Serialize, serde::Deserialize)]
struct Row {
    file: String,
    id: String,
    /// snr, chi2_reduced, fraction_masked; then the labels; then their errors.
    numbers: Vec<String>,
    /// The covariances, where there is more than one label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    covariances: Vec<String>,
    /// The calibrated errors, where there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    calibrated: Vec<String>,
    chi2: String,
    flags: i64,
    /// What is handed on, where anything is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<Value>,
}

impl From<&LabelledStar> for Row {
    fn from(star: &LabelledStar) -> Self {
        let head = [star.snr, star.chi2_reduced, star.fraction_masked];
        let numbers = head.iter().chain(&star.labels).chain(&star.errors).map(f64::to_string).collect();
        let texts = |numbers: &[f64]| numbers.iter().map(f64::to_string).collect();
        let (covariances, calibrated) = (texts(&star.covariances), texts(&star.calibrated_errors));
        Self {
            file: star.file.clone(),
            id: star.id.clone(),
            numbers,
            covariances,
            calibrated,
            chi2: star.chi2.to_string(),
            flags: star.flags,
            values: star.values.clone(),
        }
    }
}

impl TryFrom<Row> for LabelledStar {
    type Error = std::num::ParseFloatError;

    fn try_from(row: Row) -> Result<Self, Self::Error> {
        let parsed =
            |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<f64>, Self::Error>>();
        let numbers = parsed(&row.numbers)?;
        let n_labels = numbers.len().saturating_sub(3) / 2;
        let number = |index: usize| numbers.get(index).copied().unwrap_or(f64::NAN);
        Ok(Self {
            file: row.file,
            id: row.id,
            snr: number(0),
            chi2_reduced: number(1),
            fraction_masked: number(2),
            labels: (0..n_labels).map(|k| number(3 + k)).collect(),
            errors: (0..n_labels).map(|k| number(3 + n_labels + k)).collect(),
            covariances: parsed(&row.covariances)?,
            calibrated_errors: parsed(&row.calibrated)?,
            chi2: row.chi2.parse()?,
            flags: row.flags,
            values: row.values,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labelling::label_table::TableShape;
    use crate::stars::spectra::HandedOn;
    use crate::stars::spectrum_files::SpectrumFiles;

    fn star(n: usize) -> LabelledStar {
        LabelledStar {
            file: format!("apStar-{n}.fits"),
            id: format!("2M{n:04}"),
            snr: 100.0 + n as f64 / 3.0,
            labels: vec![4500.1, f64::NAN],
            errors: vec![0.1 + 0.2, f64::INFINITY],
            covariances: vec![-1.0 / 9.0],
            calibrated_errors: vec![1.0 / 7.0, f64::NAN],
            chi2: 5000.0 / 3.0,
            chi2_reduced: f64::NAN,
            fraction_masked: 1.0 / 3.0,
            flags: 1 << 40,
            values: vec![Value::Number(0.1 + 0.2), Value::Missing, Value::Text("M15".into()), Value::Integer(i64::MAX)],
        }
    }

    fn form() -> TableForm {
        TableForm {
            label_names: vec!["teff".into(), "logg".into()],
            columns: HandedOn {
                asked: vec!["ra".into(), "dec".into()],
                welcome: vec!["field".into(), "sdss_id".into()],
            },
            shape: TableShape::Maury,
            model: "models/cannon".into(),
            errors: "formal".into(),
        }
    }

    fn name_of(n: usize) -> String {
        format!("apStar-{n}.fits")
    }

    fn files(numbers: &[usize]) -> SpectrumFiles {
        SpectrumFiles::new(numbers.iter().map(|n| name_of(*n).into()).collect())
    }

    fn unreadable(n: usize) -> LabelledStar {
        LabelledStar { flags: star_flags::UNREADABLE, ..star(n) }
    }

    #[test]
    fn an_interrupted_job_goes_on_without_a_row_lost_or_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        journal.append(&[star(0), star(1), unreadable(2)]).unwrap();
        let path = journal.path.clone();
        assert!(LabelJournal::open(&stem, "model A").unwrap_err().to_string().contains("another maury"));
        drop(journal);
        // Killed in the middle of a write, at any byte of the third row.
        let whole = std::fs::read(&path).unwrap();
        let third = serde_json::to_string(&Row::from(&star(2))).unwrap();
        for cut in [1, third.len() / 2, third.len()] {
            std::fs::write(&path, [&whole, &third.as_bytes()[..cut]].concat()).unwrap();
            let journal = LabelJournal::open(&stem, "model A").unwrap();
            assert_eq!((journal.len(), journal.has("apStar-2.fits")), (2, false));
        }
        assert!(LabelJournal::open(&stem, "model B").unwrap_err().to_string().contains("another model"));
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        journal.append(&[star(2)]).unwrap();
        assert_eq!(journal.finish(&form(), &files(&[0, 1, 2])).unwrap(), 3);
        assert!(!path.exists());
        let csv = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
        assert_eq!(csv.lines().count(), 4, "{csv}");
        assert!(csv.lines().next().unwrap().contains("teff_error,teff_error_calibrated,logg_estimate"), "{csv}");
        assert!(csv.contains(",cov_teff_logg,flags") && csv.contains(",-0.11111,"), "{csv}");
        // What was handed on to the earlier job is there too; what only other layouts have is not.
        assert!(
            csv.starts_with("id,file,snr,ra,dec,teff_estimate") && csv.matches(",0.30000000000000004,,").count() == 3,
            "{csv}"
        );
        for n in 0..3 {
            assert_eq!(csv.matches(&format!("apStar-{n}.fits")).count(), 1);
        }
    }

    #[test]
    fn a_file_that_ends_every_job_is_not_read_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let trust = |expected: [Trust; 3]| {
            let journal = LabelJournal::open(&stem, "model A").unwrap();
            assert_eq!([0, 1, 2].map(|n| journal.trust(&name_of(n))), expected);
            journal
        };
        let mut journal = trust([Trust::Full; 3]);
        journal.begin([0, 1].map(name_of).to_vec()).unwrap();
        drop(journal);
        // The first two were read together; one of them did it.
        let mut journal = trust([Trust::Alone, Trust::Alone, Trust::Full]);
        journal.begin(vec![name_of(0)]).unwrap();
        journal.came_through().unwrap();
        journal.begin(vec![name_of(1)]).unwrap();
        drop(journal);
        let mut journal = trust([Trust::Full, Trust::Alone, Trust::Full]);
        journal.begin(vec![name_of(1)]).unwrap();
        drop(journal);
        let mut journal = trust([Trust::Full, Trust::Nil, Trust::Full]);
        journal.append(&[star(0), unreadable(1), star(2)]).unwrap();
        assert_eq!(journal.finish(&form(), &files(&[0, 1, 2])).unwrap(), 3);
    }

    #[test]
    fn a_batch_of_which_only_some_rows_were_written_is_labelled_again_as_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        for batch in [[0, 1], [2, 3]] {
            journal.begin(batch.map(name_of).to_vec()).unwrap();
            journal.append(&batch.map(star)[..2 - batch[0] / 2]).unwrap();
        }
        drop(journal);
        let journal = LabelJournal::open(&stem, "model A").unwrap();
        assert_eq!([0, 1, 2, 3].map(|n| journal.has(&name_of(n))), [true, true, false, false]);
        assert_eq!([2, 3].map(|n| journal.trust(&name_of(n))), [Trust::Full, Trust::Alone]);
    }

    #[test]
    fn rows_are_those_asked_for_in_their_order_whatever_the_job_before_was_asked() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        journal.append(&[star(0), star(1), star(2)]).unwrap();
        drop(journal);
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        assert!(journal.has(&name_of(2)) && !journal.has(&name_of(5)));
        journal.append(&[star(5)]).unwrap();
        assert_eq!(journal.finish(&form(), &files(&[5, 2, 0])).unwrap(), 3);
        let csv = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
        let ids: Vec<&str> = csv.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
        assert_eq!(ids, ["2M0005", "2M0002", "2M0000"]);
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let row = serde_json::to_string(&Row::from(&star(7))).unwrap();
        let back = LabelledStar::try_from(serde_json::from_str::<Row>(&row).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", star(7)));
    }
}
