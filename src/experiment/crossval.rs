//! Train on some stars, test on others: the same folds for every model.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::Serialize;

use super::config::{ExperimentConfig, ModelConfig};
use super::place::ModelPlace;
use super::timings::Timings;
use crate::data::catalogue::Catalogue;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::findings::combination_report::CombinationReport;
use crate::findings::posteriors::Posteriors;
use crate::inference::calibration::{ErrorCalibration, HeldOut};
use crate::inference::fit_quality::HeldOutMisfit;
use crate::inference::fitted::{FittedCannon, estimate_arrays};
use crate::inference::sampling::{sample_arrays, scaled_prior};
use crate::models::vectorizer::Vectorizer;
use crate::models::{LabelEstimates, LabelEstimator};
use crate::progress::Progress;
use crate::spectra::labels::LabelScaler;
use crate::spectra::prepared::PreparedSet;
use crate::spectra::split::Fold;
use crate::stars::prepare::spectra_of_rows;
use crate::training::cannon_config::{CannonConfig, CannonTraining};
use crate::training::cannon_descent::{self, CannonStars};
use crate::training::checkpoint::{Preparation, TrainedCannon};
use crate::training::closed_form::{self, TrainingReport};
use crate::training::label_regression::MemberReport;
use crate::training::latent;
use crate::training::nuisance_choice::NuisanceCount;
use crate::training::ridge::RidgeReport;

/// What one model made of one fold.
#[derive(Debug, Clone)]
pub struct FoldResult {
    /// Rows that trained.
    pub n_train: usize,
    /// Estimates for the fold's test rows, in their order.
    pub estimates: LabelEstimates,
    /// How training went.
    pub training: Training,
    /// Free parameters of the model.
    pub n_parameters: usize,
    /// The trained model, if it is a Cannon.
    pub cannon: Option<TrainedCannon>,
    /// Posteriors of the fold's test rows, in their order, where they are asked for and the model has a likelihood.
    pub posteriors: Option<Posteriors>,
    /// Estimates of training stars by models that had not seen them; none where there are too few stars for that.
    pub held_out: Option<HeldOut>,
    /// What those say about the model's errors, and the errors of the test stars by it.
    pub calibrated: Option<Calibrated>,
}

/// A calibration and the errors it gives.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// The calibration.
    pub calibration: ErrorCalibration,
    /// Calibrated errors of the fold's test rows, [n_test, n_labels].
    pub errors: Array2<f64>,
    /// Errors of the catalogue's labels of these, as far as they are believed, [n_test, n_labels].
    pub catalogue_errors: Array2<f64>,
}

/// How training went.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Training {
    /// Of a Cannon.
    Cannon(TrainingReport),
    /// Of a network.
    Network {
        /// Each network of the ensemble.
        members: Vec<MemberReport>,
    },
    /// Of a kernel ridge regression.
    Ridge(RidgeReport),
    /// Of a combination.
    Combination(CombinationReport),
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
    /// Trains a model on a fold's training stars, keeps it where there is a place, and labels the test stars; a combination takes
    /// what its members made of the same fold from `earlier`.
    ///
    /// Scaling and model see training stars with labels and some data, and nothing else.
    ///
    /// # Errors
    /// [`Error::TooFewStars`]; errors of training, fitting and writing.
    pub fn run_fold(
        &self,
        fold: &Fold,
        model: &ModelConfig,
        earlier: &BTreeMap<String, FoldResult>,
        place: Option<&ModelPlace>,
        timings: &mut Timings,
    ) -> Result<FoldResult> {
        if fold.test.is_empty() {
            return Err(Error::TooFewStars {
                stage: "split".into(),
                n_stars: 0,
                needed: 1,
                remedy: "no star is left to test; widen the selection or use fewer folds".into(),
            });
        }
        let mut result = match model {
            ModelConfig::Cannon(config) => self.run_cannon(fold, config, place, timings),
            ModelConfig::Network(config) => self.run_network(fold, config, place, timings),
            ModelConfig::Ridge(config) => self.run_ridge(fold, config, place, timings),
            ModelConfig::Combination(config) => self.run_combination(fold, config, earlier, place, timings),
            ModelConfig::Payne(_) => {
                Err(Error::Config("models of stars must not be emulators; those learn from data.library".into()))
            }
        }?;
        self.calibrate(fold, &mut result, place)?;
        Ok(result)
    }

    fn run_cannon(
        &self,
        fold: &Fold,
        config: &CannonConfig,
        place: Option<&ModelPlace>,
        timings: &mut Timings,
    ) -> Result<FoldResult> {
        let (config, choice) = timings.measure("train", || self.settle_nuisances(fold, config))?;
        let (trained, mut training) = timings.measure("train", || self.train_cannon(fold, &config))?;
        training.nuisance_choice = choice;
        if training.n_beyond_description > training.n_left_out {
            tracing::warn!(
                "{} of {} training stars are beyond description by the correlated Cannon; the {} strangest were left \
                 out (latent.clip_most)",
                training.n_beyond_description,
                training.n_stars + training.n_left_out,
                training.n_left_out
            );
        }
        let nil = training.descent.map_or(0, |descent| descent.n_zero_coefficients);
        let n_parameters = trained.cannon.n_parameters() - nil;
        tracing::info!(
            "trained on {} stars: {} pixels ({} without information), {n_parameters} parameters",
            training.n_stars,
            training.n_valid_pixels,
            training.n_invalid_pixels
        );
        if let Some(place) = place {
            timings.measure("save", || trained.save(&place.model))?;
        }
        let fitted = FittedCannon::new(&trained, &self.config.fit, self.compute);
        let (mut estimates, misfit) = timings.measure("fit", || self.examine("fitting labels", &fold.test, &fitted))?;
        let mut unseen = HeldOutMisfit::default();
        let posteriors = timings.measure("posterior", || self.posteriors(&fold.test, &trained, &fitted))?;
        let held_out = timings.measure("calibrate", || {
            self.held_out_by_folds(fold, &fitted, |inner| {
                let (trained, _) = self.train_cannon(inner, &config)?;
                let fitted = FittedCannon::new(&trained, &self.config.fit, self.compute);
                let (estimates, misfit) = self.examine("fitting labels held out", &inner.test, &fitted)?;
                unseen.add(&inner.test, &estimates.n_pixels, misfit);
                Ok(estimates)
            })
        })?;
        self.flag_bad_fits(fold, &unseen, (&mut estimates, &misfit), place)?;
        let (n_train, training) = (training.n_stars, Training::Cannon(training));
        Ok(FoldResult {
            n_train,
            estimates,
            training,
            n_parameters,
            // Latent labels are no labels: what examines stars expects a model of the labels alone.
            cannon: config.latent.is_none().then_some(trained),
            held_out,
            calibrated: None,
            posteriors,
        })
    }

    /// A Cannon of the training stars that have all their labels.
    pub(super) fn train_cannon(&self, fold: &Fold, config: &CannonConfig) -> Result<(TrainedCannon, TrainingReport)> {
        let set = self.set;
        let trainable: Vec<usize> = fold.training.iter().copied().filter(|row| set.can_train(*row)).collect();
        let labels = set.labels.select(ndarray::Axis(0), &trainable);
        let scaler = LabelScaler::fit_independent(&set.label_names, labels.view())?;
        let (flux, ivar) = spectra_of_rows(set, &trainable);
        let scaled = scaler.scale(labels.view());
        let n_terms = Vectorizer::new(set.label_names.len(), config.order).n_terms();
        if (n_terms + 1..2 * n_terms).contains(&trainable.len()) {
            tracing::warn!(
                "{} training stars for {n_terms} coefficients per pixel hardly determine them: labels will have several \
                 minima; lower the order, or give more stars",
                trainable.len()
            );
        }
        if let Some(latent) = &config.latent {
            if latent.spectra == NuisanceCount::HeldOut {
                return self.train_cannon(fold, &self.settle_nuisances(fold, config)?.0);
            }
            let (flux, ivar) = (flux.view(), ivar.view());
            let trained = latent::train(config, latent, scaled.view(), flux, ivar, self.compute, self.progress)?;
            // Stars that were left out say nothing of where the model holds.
            let kept: Vec<usize> = (0..trainable.len()).filter(|star| trained.kept[*star]).collect();
            let model = TrainedCannon {
                cannon: trained.cannon,
                scaler,
                preparation: self.preparation(),
                training_labels: labels.select(ndarray::Axis(0), &kept),
                latent_labels: trained.latent_labels.select(ndarray::Axis(0), &kept),
            };
            return Ok((model, trained.report));
        }
        let (cannon, report) = match &config.training {
            CannonTraining::ClosedForm => {
                closed_form::train(config, scaled.view(), flux.view(), ivar.view(), self.compute)?
            }
            CannonTraining::Descent(descent) => {
                let mut errors = set.label_errors.select(ndarray::Axis(0), &trainable);
                errors.rows_mut().into_iter().for_each(|mut row| row /= &ndarray::aview1(&scaler.scale));
                let stars = CannonStars {
                    label_names: &set.label_names,
                    wavelength: &set.grid.wavelength,
                    scaled_labels: scaled.view(),
                    scaled_label_errors: errors.view(),
                    flux: flux.view(),
                    ivar: ivar.view(),
                };
                cannon_descent::train(config, descent, &stars, self.config.seed, self.compute, self.progress)?
            }
        };
        let latent_labels = ndarray::Array2::zeros((labels.nrows(), 0));
        let preparation = self.preparation();
        Ok((TrainedCannon { cannon, scaler, preparation, training_labels: labels, latent_labels }, report))
    }

    /// Posteriors of some rows, if the experiment asks for them.
    fn posteriors(&self, rows: &[usize], trained: &TrainedCannon, fitted: &FittedCannon) -> Result<Option<Posteriors>> {
        let Some(settings) = &self.config.posterior else { return Ok(None) };
        let started = std::time::Instant::now();
        let training = trained.training_labels.view();
        let prior = scaled_prior(fitted, training, &settings.prior)?;
        let (flux, ivar) = spectra_of_rows(self.set, rows);
        let (grid, seed) = (&self.set.grid, self.config.seed);
        let (flux, ivar) = (flux.view(), ivar.view());
        let stars = sample_arrays(fitted, flux, ivar, grid, &prior, settings, seed, self.compute, self.progress)?;
        let words = settings.words(&self.set.label_names, training.nrows());
        let sampler = settings.sampler.clone();
        Ok(Some(Posteriors { stars, wall_s: started.elapsed().as_secs_f64(), words, sampler }))
    }

    pub(super) fn preparation(&self) -> Preparation {
        let set = self.set;
        Preparation {
            grid: set.grid.clone(),
            pixmask: self.config.pixmask.clone(),
            continuum: self.config.continuum.clone(),
            continuum_pixels: (0..set.n_pixels()).filter(|pixel| set.continuum_pixels[*pixel]).collect(),
        }
    }

    pub(super) fn label(&self, task: &str, rows: &[usize], estimator: &dyn LabelEstimator) -> Result<LabelEstimates> {
        let (flux, ivar) = spectra_of_rows(self.set, rows);
        self.progress.start(task, rows.len());
        let report = |stars: usize| self.progress.advance(stars);
        let batch_stars = self.config.fit.batch_stars;
        let estimates = estimate_arrays(estimator, flux.view(), ivar.view(), batch_stars, self.compute, &report);
        self.progress.finish();
        estimates
    }
}
