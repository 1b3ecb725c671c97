//! Train on some stars, test on others: the same folds for every model.

use std::path::Path;

use ndarray::Array2;

use super::config::{ExperimentConfig, ModelConfig};
use super::prepare::spectra_of_rows;
use super::timings::Timings;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::inference::fitted::FittedCannon;
use crate::models::LabelEstimates;
use crate::progress::Progress;
use crate::spectra::labels::LabelScaler;
use crate::spectra::prepared::PreparedSet;
use crate::spectra::split::Fold;
use crate::training::checkpoint::{Preparation, TrainedCannon};
use crate::training::closed_form::{TrainingReport, train};

/// What one model made of one fold.
#[derive(Debug, Clone)]
pub struct FoldResult {
    /// Rows that trained.
    pub n_train: usize,
    /// Estimates for the fold's test rows, in their order.
    pub estimates: LabelEstimates,
    /// How training went.
    pub training: TrainingReport,
    /// Free parameters of the model.
    pub n_parameters: usize,
}

/// Trains a model on a fold's training stars, keeps it in `folder`, and labels the test stars.
///
/// Scaling and model see training stars with all labels and some data, and nothing else.
///
/// # Errors
/// [`Error::TooFewStars`]; errors of training, fitting and writing.
pub fn run_fold(
    set: &PreparedSet,
    fold: &Fold,
    model: &ModelConfig,
    config: &ExperimentConfig,
    folder: &Path,
    compute: &Compute,
    timings: &mut Timings,
    progress: &dyn Progress,
) -> Result<FoldResult> {
    let ModelConfig::Cannon(cannon_config) = model;
    let trainable: Vec<usize> = fold.training.iter().copied().filter(|row| set.can_train(*row)).collect();
    if fold.test.is_empty() {
        return Err(Error::TooFewStars {
            stage: "split".into(),
            n_stars: 0,
            needed: 1,
            remedy: "no star is left to test; widen the selection or use fewer folds".into(),
        });
    }
    let labels = set.labels.select(ndarray::Axis(0), &trainable);
    let scaler = LabelScaler::fit(&set.label_names, labels.view())?;
    let (cannon, training) = timings.measure("train", || {
        let (flux, ivar) = spectra_of_rows(set, &trainable);
        train(cannon_config, scaler.scale(labels.view()).view(), flux.view(), ivar.view(), compute)
    })?;
    tracing::info!(
        "trained on {} stars: {} pixels ({} without information), {} parameters",
        trainable.len(),
        training.n_valid_pixels,
        training.n_invalid_pixels,
        cannon.n_parameters()
    );
    let n_parameters = cannon.n_parameters();
    let trained = TrainedCannon { cannon, scaler, preparation: preparation(set, config), training_labels: labels };
    timings.measure("save", || trained.save(folder))?;
    let estimates = timings.measure("fit", || label(set, &fold.test, &trained, config, compute, progress))?;
    Ok(FoldResult { n_train: trainable.len(), estimates, training, n_parameters })
}

fn preparation(set: &PreparedSet, config: &ExperimentConfig) -> Preparation {
    Preparation {
        grid: set.grid.clone(),
        pixmask: config.pixmask.clone(),
        continuum: config.continuum.clone(),
        continuum_pixels: (0..set.n_pixels()).filter(|pixel| set.continuum_pixels[*pixel]).collect(),
    }
}

fn label(
    set: &PreparedSet,
    rows: &[usize],
    trained: &TrainedCannon,
    config: &ExperimentConfig,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<LabelEstimates> {
    let fitted = FittedCannon::new(trained, &config.fit, compute);
    let (flux, ivar): (Array2<f32>, Array2<f32>) = spectra_of_rows(set, rows);
    progress.start("fitting labels", rows.len());
    let estimates = fitted.estimate_arrays(flux.view(), ivar.view(), &|stars| progress.advance(stars));
    progress.finish();
    estimates
}
