//! The lines of a journal: what made its rows, which spectra are about to be read, and a row for each that was labelled.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
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
        let Self { done, unreadable, suspects, ends, .. } = &mut told;
        let whole = each_line(path, file, header, |line| {
            match line {
                Line::Reading(next) => {
                    let before = std::mem::replace(&mut reading, next.into_iter().collect());
                    read.clear();
                    match reading.is_empty() {
                        true => before.iter().for_each(|file| _ = suspects.remove(file)),
                        false => blame(before, suspects, ends),
                    }
                }
                Line::Row(star) => {
                    read.extend(reading.take(&star.file));
                    // What could not be read is tried again: it may have been mended.
                    if star.flags & star_flags::UNREADABLE == 0 {
                        unreadable.remove(&star.file);
                        done.insert(star.file);
                    } else {
                        unreadable.insert(star.file);
                    }
                }
            }
            Ok(())
        })?;
        // A batch of which only some rows were written is labelled again as a whole: sums run over all of it.
        if !reading.is_empty() {
            read.iter().for_each(|file| _ = done.remove(file));
        }
        blame(reading, suspects, ends);
        Ok(Self { whole, ..told })
    }

    /// With what another journal of the same labels says.
    pub fn add(&mut self, other: Self) {
        self.done.extend(other.done);
        self.unreadable.extend(other.unreadable);
        self.suspects.extend(other.suspects);
        other.ends.into_iter().for_each(|(file, ends)| *self.ends.entry(file).or_default() += ends);
    }
}

/// A line below the header.
enum Line {
    /// Files that are about to be read.
    Reading(Vec<String>),
    /// What one of them gave.
    Row(Row),
}

/// Hands on the whole lines of a journal that begins with this header, and returns how many bytes they have. What a killed job left half
/// written, or a dying disk garbled, ends it.
fn each_line(path: &Path, file: &File, header: &str, mut each: impl FnMut(Line) -> Result<()>) -> Result<u64> {
    let (mut reader, mut line, mut whole) = (BufReader::new(file), String::new(), 0);
    loop {
        line.clear();
        let Ok(length) = reader.read_line(&mut line) else { break };
        if !line.ends_with('\n') {
            break;
        }
        if whole == 0 {
            if line != header {
                return Err(Error::Mismatch {
                    what: path.display().to_string(),
                    detail: "these labels were begun with another model or other settings or arrays; finish them with those, or remove the \
                             file"
                        .into(),
                });
            }
        } else if let Ok(next) = serde_json::from_str::<Reading>(&line) {
            each(Line::Reading(next.reading))?;
        } else if let Ok(row) = serde_json::from_str::<Row>(&line) {
            each(Line::Row(row))?;
        } else {
            break;
        }
        whole += length as u64;
    }
    Ok(whole)
}

/// Hands on every row of a journal but those of a batch that was not brought to its end, in the order of writing. What is torn at its end
/// is left out.
///
/// # Errors
/// [`Error::Io`]; [`Error::Mismatch`] for a journal of other labels; those of `each`.
pub(super) fn each_row(path: &Path, fingerprint: &str, mut each: impl FnMut(LabelledStar) -> Result<()>) -> Result<()> {
    let (mut reading, mut batch) = (HashSet::new(), Vec::new());
    each_line(path, &files::open(path)?, &header(fingerprint), |line| match line {
        Line::Reading(next) => {
            reading = next.into_iter().collect();
            std::mem::take(&mut batch).into_iter().try_for_each(&mut each)
        }
        Line::Row(row) => {
            reading.remove(&row.file);
            let damaged = |err| Error::format(path, format!("{err}; remove the file and label again"));
            batch.push(LabelledStar::try_from(row).map_err(damaged)?);
            Ok(())
        }
    })?;
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
