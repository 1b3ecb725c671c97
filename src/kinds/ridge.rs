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
use crate::models::ridge::RidgeConfig;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::spectra::stored::SpectraOf;
use crate::stats::robust::median;
use crate::stats::robust_covariance::limited_covariance;
use crate::timings::Timings;
use crate::training::labelled_spectra::LabelledSpectra;
use crate::training::landmarks::{bytes_of_landmarks, n_landmarks};
use crate::training::ridge::{FEWEST_STARS, RidgeReport, TrainedByClosedForm, train};
use crate::training::ridge_checkpoint::{KIND, TrainedRidge};

impl Model for RidgeConfig {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        RidgeConfig::check(self).map_err(|(field, problem)| subject.problem(field, problem))?;
        subject.check_slopes(self.correct_slopes)
    }

    fn check_size(&self, subject: &Subject, n_training: usize) -> Result<(), (String, String)> {
        let n_pixels = subject.grid.map_or(0, WavelengthGrid::n_pixels);
        let Some(landmarks) = n_landmarks(self, n_training, n_pixels, subject.memory) else { return Ok(()) };
        // Where nobody asked for so many, they are as many as fit.
        let least = landmarks.max(FEWEST_STARS);
        let takes = subject.memory.check(bytes_of_landmarks(self, least, n_training, n_pixels));
        takes.map_err(|takes| {
            let remedy =
                "give fewer landmarks or training stars (max_training_stars), or allow more where there is more";
            let problem =
                format!("compares {n_training} training stars with {least} landmarks, which {takes}: {remedy}");
            (subject.key.into(), problem)
        })
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
        let held = job.context.held(&rows)?;
        let fill = timings.measure("fill", || fill(job, config.masked))?;
        let stars = (&rows[..], held.is_some());
        let filled = fill.as_ref().map(|whole| filled_by_others(job, whole, stars, timings)).transpose()?;
        let spectra = SpectraOf::held_or_rows(held.as_ref(), &set.spectra, &rows);
        let stars = LabelledSpectra { grid: &set.grid, spectra, fill: filled, labels, label_errors };
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
        let variance = timings.measure("train", || match &held {
            Some((flux, ivar)) => estimator.variance(&SpectraBatch::new(flux.view(), ivar.view(), compute)),
            None => {
                let mut variance = Array2::zeros((0, trained.scaler.n_labels()));
                job.context.in_batches(&rows, |batch| {
                    let own = estimator.variance(batch)?;
                    variance.append(Axis(0), own.view()).expect("all stars have the same labels");
                    Ok(())
                })?;
                Ok(variance)
            }
        })?;
        trained.usual_variance = variance.columns().into_iter().map(|column| median(&column.to_vec())).collect();
        let freedom: Vec<String> = report.degrees_of_freedom.iter().map(|freedom| format!("{freedom:.0}")).collect();
        let by = report.n_landmarks.map(|n| format!(" by {n} landmarks among them (Nystroem)")).unwrap_or_default();
        tracing::info!(
            "{}: trained on {} stars{by}, {} parameters, of which {} are free (by label)",
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
