//! Labels on their way to disk: written as they come, so that a killed job goes on where it stopped.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::labelling::LabelledStar;
use super::predictions::write_table;
use crate::data::fits::Column;
use crate::error::{Error, Result};
use crate::spectra::labels::{pairs, unit};
use crate::spectra::quality::star_flags;

/// Ending of the journal's name.
const ENDING: &str = "unfinished.jsonl";

/// The rows written so far, beside the table they are to become: one JSON object a line below a line that says what made
/// them.
#[derive(Debug)]
pub struct LabelJournal {
    stem: PathBuf,
    path: PathBuf,
    file: File,
    done: HashSet<String>,
}

impl LabelJournal {
    /// Opens the journal of the table `stem`, and keeps the whole rows of an earlier, interrupted job.
    ///
    /// `fingerprint` says what makes the rows; a journal of another origin is not continued.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Mismatch`] if the journal is another model's, or in use.
    pub fn open(stem: &Path, fingerprint: &str) -> Result<Self> {
        let path = PathBuf::from(format!("{}.{ENDING}", stem.display()));
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
        let header = serde_json::json!({ "labels_by": fingerprint }).to_string() + "\n";
        let (mut whole, mut done) = (0_u64, HashSet::new());
        let mut reader = BufReader::new(&file);
        let mut line = String::new();
        loop {
            line.clear();
            let read = reader.read_line(&mut line);
            // What a killed job left half written, or a dying disk garbled, is written again.
            let Ok(length) = read else { break };
            if !line.ends_with('\n') {
                break;
            }
            if whole == 0 {
                if line != header {
                    return Err(Error::Mismatch {
                        what: path.display().to_string(),
                        detail:
                            "these labels were begun with another model or other settings; finish them with those, \
                                 or remove the file"
                                .into(),
                    });
                }
            } else if let Ok(star) = serde_json::from_str::<Row>(&line) {
                // What could not be read is tried again: it may have been mended.
                if star.flags & star_flags::UNREADABLE == 0 {
                    done.insert(star.file);
                }
            } else {
                break;
            }
            whole += length as u64;
        }
        let place = || Error::io(&path, "write");
        file.set_len(whole).map_err(place())?;
        file.seek(SeekFrom::End(0)).map_err(place())?;
        if whole == 0 {
            file.write_all(header.as_bytes()).map_err(place())?;
        }
        Ok(Self { stem: stem.to_path_buf(), path, file, done })
    }

    /// Whether a file has its row already.
    pub fn has(&self, file: &Path) -> bool {
        self.done.contains(file.to_string_lossy().as_ref())
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
        std::fs::remove_file(&self.path).map_err(Error::io(&self.path, "remove"))
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

    /// Turns the journal into `<stem>.fits` and `<stem>.csv`, and removes it.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Fits`]; the journal then stays.
    pub fn finish(mut self, label_names: &[String]) -> Result<usize> {
        self.file.rewind().map_err(Error::io(&self.path, "read"))?;
        let damaged = |detail: String| Error::format(&self.path, format!("{detail}; remove the file and label again"));
        let mut table = LabelTable::new(label_names);
        for line in BufReader::new(&self.file).lines().skip(1) {
            let line = line.map_err(Error::io(&self.path, "read"))?;
            let row: Row = serde_json::from_str(&line).map_err(|err| damaged(err.to_string()))?;
            table.set(LabelledStar::try_from(row).map_err(|err| damaged(err.to_string()))?);
        }
        let n_rows = table.row_of.len();
        write_table(&self.stem, "LABELS", &table.into_columns())?;
        std::fs::remove_file(&self.path).map_err(Error::io(&self.path, "remove"))?;
        Ok(n_rows)
    }
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
    flags: i64,
}

impl From<&LabelledStar> for Row {
    fn from(star: &LabelledStar) -> Self {
        let head = [star.snr, star.chi2_reduced, star.fraction_masked];
        let numbers = head.iter().chain(&star.labels).chain(&star.errors).map(f64::to_string).collect();
        let texts = |numbers: &[f64]| numbers.iter().map(f64::to_string).collect();
        let (covariances, calibrated) = (texts(&star.covariances), texts(&star.calibrated_errors));
        Self { file: star.file.clone(), id: star.id.clone(), numbers, covariances, calibrated, flags: star.flags }
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
            flags: row.flags,
        })
    }
}

/// The table of labels, column by column: a million stars have room in it.
struct LabelTable {
    label_names: Vec<String>,
    row_of: HashMap<String, usize>,
    id: Vec<String>,
    flags: Vec<i64>,
    /// snr, chi2_reduced, fraction_masked; then label, error and calibrated error in turn; then the covariances.
    numbers: Vec<Vec<f64>>,
    /// Whether any star has calibrated errors.
    is_calibrated: bool,
}

impl LabelTable {
    fn new(label_names: &[String]) -> Self {
        Self {
            label_names: label_names.to_vec(),
            row_of: HashMap::new(),
            id: Vec::new(),
            flags: Vec::new(),
            numbers: vec![Vec::new(); 3 + 3 * label_names.len() + pairs(label_names).len()],
            is_calibrated: false,
        }
    }

    /// Gives a file its row; one that was tried again has the row of its last trial.
    fn set(&mut self, star: LabelledStar) {
        self.is_calibrated |= !star.calibrated_errors.is_empty();
        let of_label = |k: usize| [star.labels.get(k), star.errors.get(k), star.calibrated_errors.get(k)];
        let of_labels = (0..self.label_names.len()).flat_map(of_label).map(|value| value.copied().unwrap_or(f64::NAN));
        let n_pairs = self.numbers.len() - 3 - 3 * self.label_names.len();
        let of_pairs = (0..n_pairs).map(|pair| star.covariances.get(pair).copied().unwrap_or(f64::NAN));
        let numbers = [star.snr, star.chi2_reduced, star.fraction_masked].into_iter().chain(of_labels).chain(of_pairs);
        let n_rows = self.row_of.len();
        let row = *self.row_of.entry(star.file).or_insert(n_rows);
        if row == n_rows {
            self.id.push(star.id);
            self.flags.push(star.flags);
            self.numbers.iter_mut().zip(numbers).for_each(|(column, value)| column.push(value));
        } else {
            self.id[row] = star.id;
            self.flags[row] = star.flags;
            self.numbers.iter_mut().zip(numbers).for_each(|(column, value)| column[row] = value);
        }
    }

    fn into_columns(self) -> Vec<Column> {
        let mut file = vec![String::new(); self.row_of.len()];
        self.row_of.into_iter().for_each(|(name, row)| file[row] = name);
        let mut numbers = self.numbers.into_iter();
        let mut next =
            |name: String, unit: &str| Column::f64(name, unit.to_string(), numbers.next().unwrap_or_default());
        let [snr, chi2, masked] = ["snr", "chi2_reduced", "fraction_masked"].map(|name| next(name.into(), ""));
        let mut columns = vec![Column::text("id", self.id), Column::text("file", file), snr];
        for name in &self.label_names {
            columns.push(next(format!("{name}_estimate"), unit(name)));
            columns.push(next(format!("{name}_error"), unit(name)));
            let calibrated = next(format!("{name}_error_calibrated"), unit(name));
            columns.extend(Some(calibrated).filter(|_| self.is_calibrated));
        }
        columns.extend([chi2, masked]);
        columns.extend(pairs(&self.label_names).into_iter().map(|(_, _, name, unit)| next(name, &unit)));
        columns.extend([Column::i64("flags", self.flags)]);
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(n: usize) -> LabelledStar {
        LabelledStar {
            file: format!("apStar-{n}.fits"),
            id: format!("2M{n:04}"),
            snr: 100.0 + n as f64 / 3.0,
            labels: vec![4500.1, f64::NAN],
            errors: vec![0.1 + 0.2, f64::INFINITY],
            covariances: vec![-1.0 / 9.0],
            calibrated_errors: vec![1.0 / 7.0, f64::NAN],
            chi2_reduced: f64::NAN,
            fraction_masked: 1.0 / 3.0,
            flags: 1 << 40,
        }
    }

    fn unreadable(n: usize) -> LabelledStar {
        LabelledStar { flags: star_flags::UNREADABLE, ..star(n) }
    }

    #[test]
    fn an_interrupted_job_goes_on_without_a_row_lost_or_doubled() {
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("labels");
        let names = ["teff".to_string(), "logg".to_string()];
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
            assert_eq!((journal.len(), journal.has(Path::new("apStar-2.fits"))), (2, false));
        }
        assert!(LabelJournal::open(&stem, "model B").unwrap_err().to_string().contains("another model"));
        let mut journal = LabelJournal::open(&stem, "model A").unwrap();
        journal.append(&[star(2)]).unwrap();
        assert_eq!(journal.finish(&names).unwrap(), 3);
        assert!(!path.exists());
        let csv = std::fs::read_to_string(folder.path().join("labels.csv")).unwrap();
        assert_eq!(csv.lines().count(), 4, "{csv}");
        assert!(csv.lines().next().unwrap().contains("teff_error,teff_error_calibrated,logg_estimate"), "{csv}");
        assert!(csv.contains(",cov_teff_logg,flags") && csv.contains(",-0.1111111111111111,"), "{csv}");
        for n in 0..3 {
            assert_eq!(csv.matches(&format!("apStar-{n}.fits")).count(), 1);
        }
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        let row = serde_json::to_string(&Row::from(&star(7))).unwrap();
        let back = LabelledStar::try_from(serde_json::from_str::<Row>(&row).unwrap()).unwrap();
        assert_eq!(format!("{back:?}"), format!("{:?}", star(7)));
    }
}
