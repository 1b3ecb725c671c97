//! Train on some stars, test on others: the same folds for every model.

use std::path::Path;

use super::config::{ExperimentConfig, ModelConfig};
use super::prepare::spectra_of_rows;
use super::timings::Timings;
use crate::data::catalogue::Catalogue;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::inference::fitted::{FittedCannon, estimate_arrays};
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

/// The folds of an experiment's stars, training sets no larger than asked for.
///
/// Stars without all their labels cannot train; they do not count towards a limited training set.
pub fn folds(config: &ExperimentConfig, stars: &Catalogue) -> Vec<Fold> {
    let mut folds = config.split.folds(&stars.id, config.seed);
    if config.max_training_stars > 0 {
        for fold in &mut folds {
            fold.training.retain(|row| stars.labels[*row].iter().all(|label| label.is_finite()));
            fold.limit_training(config.max_training_stars, &stars.id, config.seed);
        }
    }
    folds
}

/// What all folds and models of an experiment share.
pub struct CrossValidation<'a> {
    /// The stars.
    pub set: &'a PreparedSet,
    /// The experiment's settings.
    pub config: &'a ExperimentConfig,
    /// What computes.
    pub compute: &'a Compute,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl CrossValidation<'_> {
    /// Trains a model on a fold's training stars, keeps it in `folder` if there is one, and labels the test stars.
    ///
    /// Scaling and model see training stars with all labels and some data, and nothing else.
    ///
    /// # Errors
    /// [`Error::TooFewStars`]; errors of training, fitting and writing.
    pub fn run_fold(
        &self,
        fold: &Fold,
        model: &ModelConfig,
        folder: Option<&Path>,
        timings: &mut Timings,
    ) -> Result<FoldResult> {
        let ModelConfig::Cannon(cannon_config) = model else {
            return Err(Error::Config("models of stars must be a Cannon; emulators learn from data.library".into()));
        };
        let set = self.set;
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
            train(cannon_config, scaler.scale(labels.view()).view(), flux.view(), ivar.view(), self.compute)
        })?;
        let n_parameters = cannon.n_parameters();
        tracing::info!(
            "trained on {} stars: {} pixels ({} without information), {n_parameters} parameters",
            trainable.len(),
            training.n_valid_pixels,
            training.n_invalid_pixels
        );
        let trained = TrainedCannon { cannon, scaler, preparation: self.preparation(), training_labels: labels };
        if let Some(folder) = folder {
            timings.measure("save", || trained.save(folder))?;
        }
        let estimates = timings.measure("fit", || self.label(&fold.test, &trained))?;
        Ok(FoldResult { n_train: trainable.len(), estimates, training, n_parameters })
    }

    fn preparation(&self) -> Preparation {
        let set = self.set;
        Preparation {
            grid: set.grid.clone(),
            pixmask: self.config.pixmask.clone(),
            continuum: self.config.continuum.clone(),
            continuum_pixels: (0..set.n_pixels()).filter(|pixel| set.continuum_pixels[*pixel]).collect(),
        }
    }

    fn label(&self, rows: &[usize], trained: &TrainedCannon) -> Result<LabelEstimates> {
        let fitted = FittedCannon::new(trained, &self.config.fit, self.compute);
        let (flux, ivar) = spectra_of_rows(self.set, rows);
        self.progress.start("fitting labels", rows.len());
        let report = |stars: usize| self.progress.advance(stars);
        let batch_stars = self.config.fit.batch_stars;
        let estimates = estimate_arrays(&fitted, flux.view(), ivar.view(), batch_stars, self.compute, &report);
        self.progress.finish();
        estimates
    }
}
