//! The lines of a journal: what made its rows, which spectra are about to be read, and a row for each that was labelled.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::data::files;
use crate::data::value::Value;
use crate::error::{Error, Result};
use crate::labelling::labeller::LabelledStar;
use crate::spectra::quality::star_flags;

/// How rows are written, counted up when that changes: rows of another kind are not gone on with.
const ROWS: u32 = 2;

/// The first line: what makes the rows.
pub(super) fn header(fingerprint: &str) -> String {
    serde_json::json!({ "labels_by": fingerprint, "rows": ROWS }).to_string() + "\n"
}

/// Files that are about to be read; none once those before came through.
#[derive(serde::Serialize, serde::Deserialize)]
pub(super) struct Reading {
    pub reading: Vec<String>,
}

/// What the lines of a journal say: which spectra have rows, and what reading them did to the job.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Spectra with rows.
    pub done: HashSet<String>,
    /// Spectra that could not be read so far.
    pub unreadable: HashSet<String>,
    /// Files that were being read when a job ended.
    pub suspects: HashSet<String>,
    /// How often a job ended while this file alone was being read.
    pub ends: HashMap<String, usize>,
    /// Bytes of its whole lines.
    pub whole: u64,
}

impl Told {
    /// Reads a journal that begins with this header; what is torn at its end is left out.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for another header.
    pub fn read(path: &Path, file: &File, header: &str) -> Result<Self> {
        let (mut told, mut reading, mut read) = (Self::default(), HashSet::new(), Vec::new());
        let Self { done, unreadable, suspects, ends, whole } = &mut told;
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        loop {
            line.clear();
            // What a killed job left half written, or a dying disk garbled, is written again.
            let Ok(length) = reader.read_line(&mut line) else { break };
            if !line.ends_with('\n') {
                break;
            }
            if *whole == 0 {
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
                    false => blame(before, suspects, ends),
                }
            } else if let Ok(star) = serde_json::from_str::<Row>(&line) {
                read.extend(reading.take(&star.file));
                // What could not be read is tried again: it may have been mended.
                if star.flags & star_flags::UNREADABLE == 0 {
                    unreadable.remove(&star.file);
                    done.insert(star.file);
                } else {
                    unreadable.insert(star.file);
                }
            } else {
                break;
            }
            *whole += length as u64;
        }
        // A batch of which only some rows were written is labelled again as a whole: sums run over all of it.
        if !reading.is_empty() {
            read.iter().for_each(|file| _ = done.remove(file));
        }
        blame(reading, suspects, ends);
        Ok(told)
    }

    /// With what another journal of the same labels says.
    pub fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.unreadable.extend(other.unreadable);
        self.suspects.extend(other.suspects);
        other.ends.into_iter().for_each(|(file, ends)| *self.ends.entry(file).or_default() += ends);
    }
}

/// Hands on every row of a journal but those of a batch that was not brought to its end, in the order of writing. What is torn at its end
/// is left out.
///
/// # Errors
/// [`Error::Io`]; [`Error::Mismatch`] for a journal of other labels; those of `each`.
pub(super) fn each_row(path: &Path, fingerprint: &str, mut each: impl FnMut(LabelledStar) -> Result<()>) -> Result<()> {
    let file = files::open(path)?;
    let told = Told::read(path, &file, &header(fingerprint))?;
    let (mut reading, mut batch) = (HashSet::new(), Vec::new());
    let reader = BufReader::new(files::open(path)?.take(told.whole));
    for line in reader.lines().skip(1) {
        let line = line.map_err(Error::io(path, "read"))?;
        if let Ok(next) = serde_json::from_str::<Reading>(&line) {
            reading = next.reading.into_iter().collect();
            std::mem::take(&mut batch).into_iter().try_for_each(&mut each)?;
            continue;
        }
        let damaged = |detail: String| Error::format(path, format!("{detail}; remove the file and label again"));
        let row: Row = serde_json::from_str(&line).map_err(|err| damaged(err.to_string()))?;
        reading.remove(&row.file);
        batch.push(LabelledStar::try_from(row).map_err(|err| damaged(err.to_string()))?);
    }
    if reading.is_empty() { batch.into_iter().try_for_each(each) } else { Ok(()) }
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
pub(super) struct Row {
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
