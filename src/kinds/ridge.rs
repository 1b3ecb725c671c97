//! Kernel ridge regression of the labels on the spectra.

use std::path::Path;

use ndarray::{Array2, Axis};

use super::context::{CalibrationSettings, Context};
use super::fill::{fill, filled_by_others};
use super::fold::label_test_stars;
use super::kind::{
    FoldResult, Job, Kind, KnownUnseen, Loaded, Model, ModelFolder, Strangers, Subject, Trained, Training,
    TrainingReport, Unseen,
};
use crate::error::Result;
use crate::inference::judged::Recognizing;
use crate::inference::ridge_estimator::RidgeEstimator;
use crate::models::LabelEstimator;
use crate::models::ridge::{Kernel, RidgeConfig};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::labels::LabelScaler;
use crate::stats::robust::median;
use crate::stats::robust_covariance::limited_covariance;
use crate::timings::Timings;
use crate::training::label_regression::LabelledSpectra;
use crate::training::ridge::{RidgeReport, TrainedByClosedForm, train};
use crate::training::ridge_checkpoint::{KIND, TrainedRidge};

impl Model for RidgeConfig {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        RidgeConfig::check(self).map_err(|(field, problem)| subject.problem(field, problem))?;
        subject.check_slopes(self.correct_slopes)
    }

    fn check_size(&self, subject: &Subject, n_training: usize) -> Result<(), (String, String)> {
        // Each kernel of stars and stars with its eigenvectors and their squares, and what all kernels are made of.
        let n_kernels = if self.kernel == Kernel::Linear { 1 } else { self.widths.len() };
        let bytes = (3 * n_kernels + 2) as f64 * size_of::<f64>() as f64 * (n_training as f64).powi(2);
        let takes = subject.memory.check(bytes);
        let problem = |takes| {
            format!(
                "compares {n_training} training stars with each other, which {takes}: give fewer (max_training_stars)"
            )
        };
        takes.map_err(|takes| (subject.key.into(), problem(takes)))?;
        subject.check_whole(n_training)
    }

    fn train_and_label(&self, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
        label_test_stars(Box::new(RidgeOfStars::train(job, self, timings)?), job, timings)
    }

    fn trains_on_parts(&self, _calibration: &CalibrationSettings) -> bool {
        false
    }
}

impl Kind for RidgeConfig {
    const NAME: &'static str = KIND;

    fn load(folder: &ModelFolder) -> Result<Loaded> {
        let model = TrainedRidge::load(folder.path, folder.compute)?;
        let estimator = RidgeEstimator::new(&model, folder.fit, folder.compute);
        let estimator = Recognizing::load(folder.path, estimator, &model.preparation.grid, folder.compute)?;
        let corrects_slopes = model.config.correct_slopes;
        Ok(Loaded { corrects_slopes, ..Loaded::new(Box::new(estimator), model.preparation, model.scaler.names) })
    }
}

impl TrainingReport for RidgeReport {}

/// A regression, and the stars that taught it.
struct RidgeOfStars {
    trained: TrainedRidge,
    report: RidgeReport,
    rows: Vec<usize>,
    /// Scaled labels of these by the regression of all others, [n_rows, n_labels].
    leave_one_out: Array2<f64>,
}

impl RidgeOfStars {
    /// Trains on the training stars that have all their labels and some data.
    fn train(job: &Job, config: &RidgeConfig, timings: &mut Timings) -> Result<Self> {
        let Context { set, settings, compute, progress } = job.context;
        let rows = job.context.trainable(&job.fold.training);
        let labels = set.labels.select(Axis(0), &rows);
        let label_errors = set.label_errors.select(Axis(0), &rows);
        let scaler = LabelScaler::fit(&set.label_names, labels.view())?;
        let (flux, ivar) = job.context.whole(&rows)?;
        let fill = timings.measure("fill", || fill(job, config.masked))?;
        let filled = fill.as_ref().map(|whole| filled_by_others(job, whole, &rows, timings)).transpose()?;
        let stars = LabelledSpectra { grid: &set.grid, flux, ivar, fill: filled, labels, label_errors };
        let TrainedByClosedForm { ridge, leave_one_out, report } =
            timings.measure("train", || train(config, &stars, &scaler, settings.seed, compute, progress))?;
        let residuals = &leave_one_out - &scaler.scale(stars.labels.view());
        let mut trained = TrainedRidge {
            ridge,
            config: config.clone(),
            error_covariance: limited_covariance(residuals.view()),
            usual_variance: vec![0.0; scaler.n_labels()],
            training_labels: stars.labels.clone(),
            preparation: job.context.preparation(),
            scaler,
            fill,
        };
        let estimator = RidgeEstimator::new(&trained, &settings.fit, compute);
        let spectra = SpectraBatch::new(stars.flux.view(), stars.ivar.view(), compute);
        let variance = timings.measure("train", || estimator.variance(&spectra))?;
        trained.usual_variance = variance.columns().into_iter().map(|column| median(&column.to_vec())).collect();
        let freedom: Vec<String> = report.degrees_of_freedom.iter().map(|freedom| format!("{freedom:.0}")).collect();
        tracing::info!(
            "{}: trained on {} stars, {} parameters, of which {} are free (by label)",
            job.name,
            rows.len(),
            trained.n_parameters(),
            freedom.join(", ")
        );
        Ok(Self { trained, report, rows, leave_one_out })
    }
}

impl Trained for RidgeOfStars {
    fn n_train(&self) -> usize {
        self.report.n_stars
    }

    fn n_parameters(&self) -> usize {
        self.trained.n_parameters()
    }

    fn report(&self) -> Training {
        Training::new(self.report.clone())
    }

    fn estimator(&self, context: &Context) -> Box<dyn LabelEstimator> {
        Box::new(RidgeEstimator::new(&self.trained, &context.settings.fit, context.compute))
    }

    fn again(&self, job: &Job) -> Result<Box<dyn Trained>> {
        Ok(Box::new(Self::train(job, &self.trained.config, &mut Timings::default())?))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        self.trained.save(folder)
    }

    fn tells_strangers(&self) -> Strangers<'_> {
        Strangers::BySpectra(&self.rows)
    }

    fn corrects_slopes(&self) -> bool {
        self.trained.config.correct_slopes
    }

    /// Leaving one out costs nothing here.
    fn unseen(&self, job: &Job, estimator: &dyn LabelEstimator) -> Result<Unseen> {
        let mut estimates = job.context.label("estimating labels held out", &self.rows, estimator)?;
        estimates.labels = self.trained.scaler.unscale(self.leave_one_out.view());
        Ok(Unseen::Known(Box::new(KnownUnseen { rows: self.rows.clone(), estimates, excess: None })))
    }
}
