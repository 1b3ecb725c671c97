//! A combination of trained models as an estimator of labels, and the folder it is kept in beside theirs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::combination::Combination;
use crate::error::{Error, Result};
use crate::models::{Estimated, LabelEstimates, LabelEstimator, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::training::model_file;
use crate::training::weights::MODEL_FILE;

/// The kind `model.json` names.
pub const KIND: &str = "combination";

/// Models that label together.
pub struct CombinationEstimator {
    /// How their estimates are combined.
    pub combination: Combination,
    /// The models, in the combination's order.
    pub members: Vec<Box<dyn LabelEstimator>>,
    /// The grid of their spectra.
    pub grid: WavelengthGrid,
}

impl LabelEstimator for CombinationEstimator {
    fn n_labels(&self) -> usize {
        self.combination.n_labels()
    }

    fn estimate(&self, spectra: &SpectraBatch, _wanted: Wanted) -> Result<Estimated> {
        let estimates = self
            .members
            .iter()
            .map(|member| member.estimate_labels(spectra))
            .collect::<Result<Vec<LabelEstimates>>>()?;
        Ok(self.combination.combine(&estimates, &spectra.conditions(&self.grid.chips)).estimates.into())
    }
}

/// What `model.json` holds.
#[derive(Serialize, Deserialize)]
struct ModelFile {
    label_names: Vec<String>,
    combination: Combination,
    /// Folders of the models, from this one.
    folders: Vec<PathBuf>,
}

/// Writes a combination's folder; the models stay in theirs, whose paths from this one are given.
///
/// # Errors
/// [`Error::Io`].
pub fn save(folder: &Path, combination: &Combination, label_names: &[String], folders: &[PathBuf]) -> Result<()> {
    let file =
        ModelFile { label_names: label_names.to_vec(), combination: combination.clone(), folders: folders.to_vec() };
    model_file::write(folder, KIND, &file)
}

/// The first number of a combination that cannot be, and where.
fn problem(combination: &Combination) -> Option<String> {
    /// Of numbers that were rounded.
    const TOLERANCE: f64 = 1e-6;
    let calibrations = combination.members.iter().zip(&combination.calibrations);
    let of_member = calibrations.into_iter().find_map(|(name, own)| Some(format!("{name}: {}", own.problem()?)));
    let correlation = &combination.label_correlation;
    let wrong = |(k, l): &(usize, usize)| {
        let value = correlation[*k][*l];
        let is_possible = value.abs() <= 1.0 + TOLERANCE && (k != l || value > 0.0);
        !is_possible || (value - correlation[*l][*k]).abs() > TOLERANCE
    };
    let pairs = (0..correlation.len()).flat_map(|k| (0..correlation.len()).map(move |l| (k, l)));
    let of_pair = pairs.into_iter().find(wrong).map(|(k, l)| {
        format!("label_correlation[{k}][{l}] is {}; correlations are symmetric, -1 to 1", correlation[k][l])
    });
    of_member.or(of_pair)
}

/// Reads a combination's folder: how models are combined, their labels, and their folders.
///
/// # Errors
/// [`Error::Checkpoint`] if it is absent, of another kind or version, inconsistent, or without its models.
pub fn load(folder: &Path) -> Result<(Combination, Vec<String>, Vec<PathBuf>)> {
    let failed = |detail: String| Error::Checkpoint { path: folder.to_path_buf(), detail };
    let ModelFile { combination, label_names, folders, .. } = model_file::read(folder, KIND)?;
    let is_whole = combination.is_consistent()
        && combination.n_labels() == label_names.len()
        && folders.len() == combination.members.len();
    if !is_whole {
        return Err(failed(format!("{MODEL_FILE} contradicts itself; was it edited?")));
    }
    if let Some(problem) = problem(&combination) {
        return Err(failed(format!("{MODEL_FILE}: {problem}; was it edited?")));
    }
    let folders: Vec<PathBuf> = folders.into_iter().map(|below| folder.join(below)).collect();
    match folders.iter().zip(&combination.members).find(|(folder, _)| !folder.join(MODEL_FILE).is_file()) {
        Some((absent, member)) => Err(failed(format!(
            "the model {member} it combines is not in {}; a combination moves only together with its models",
            absent.display()
        ))),
        None => match folders.iter().find(|member| model_file::kind(member).is_ok_and(|kind| kind == KIND)) {
            Some(member) => Err(failed(format!("{} is a combination itself; was it edited?", member.display()))),
            None => Ok((combination, label_names, folders)),
        },
    }
}
