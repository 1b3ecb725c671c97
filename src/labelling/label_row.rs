//! The labels of a spectrum as a line of a journal.

use serde::{Deserialize, Serialize};

use super::journal_lines::{JournalRow, RowLine, Verb};
use super::labeller::LabelledStar;
use crate::data::value::Value;
use crate::error::Result;
use crate::spectra::quality::star_flags;

/// A [`LabelledStar`] whose numbers are written as text: JSON knows no NaN.
#[derive(Debug, Serialize, Deserialize)]
pub struct LabelLine {
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

impl RowLine for LabelLine {
    fn file(&self) -> &str {
        &self.file
    }

    fn flags(&self) -> i64 {
        self.flags
    }
}

/// Numbers of which each comes back as it was.
pub(super) fn texts<'a>(numbers: impl IntoIterator<Item = &'a f64>) -> Vec<String> {
    numbers.into_iter().map(f64::to_string).collect()
}

/// Numbers that were written by [`texts`].
///
/// # Errors
/// What is no number.
pub(super) fn numbers(texts: &[String]) -> Result<Vec<f64>, String> {
    texts.iter().map(|text| text.parse().map_err(|err| format!("`{text}`: {err}"))).collect()
}

impl JournalRow for LabelledStar {
    const VERB: Verb = Verb::Label;
    type Line = LabelLine;

    fn line(&self) -> LabelLine {
        let head = [self.snr, self.chi2_reduced, self.fraction_masked];
        LabelLine {
            file: self.file.clone(),
            id: self.id.clone(),
            numbers: texts(head.iter().chain(&self.labels).chain(&self.errors)),
            covariances: texts(&self.covariances),
            calibrated: texts(&self.calibrated_errors),
            chi2: self.chi2.to_string(),
            flags: self.flags,
            values: self.values.clone(),
        }
    }

    fn read(line: LabelLine) -> Result<Self, String> {
        let known = numbers(&line.numbers)?;
        let n_labels = known.len().saturating_sub(3) / 2;
        let number = |index: usize| known.get(index).copied().unwrap_or(f64::NAN);
        Ok(Self {
            file: line.file,
            id: line.id,
            snr: number(0),
            chi2_reduced: number(1),
            fraction_masked: number(2),
            labels: (0..n_labels).map(|k| number(3 + k)).collect(),
            errors: (0..n_labels).map(|k| number(3 + n_labels + k)).collect(),
            covariances: numbers(&line.covariances)?,
            calibrated_errors: numbers(&line.calibrated)?,
            chi2: numbers(&[line.chi2])?[0],
            flags: line.flags,
            values: line.values,
        })
    }

    fn file(&self) -> &str {
        &self.file
    }

    fn is_read(&self) -> bool {
        self.flags & star_flags::UNREADABLE == 0
    }
}
