//! One fold of a kernel ridge regression: its training stars, its labels, and those of the training stars left out.

use ndarray::Axis;

use super::crossval::{CrossValidation, FoldResult, Training};
use super::place::ModelPlace;
use super::timings::Timings;
use crate::error::Result;
use crate::inference::ridge_estimator::RidgeEstimator;
use crate::models::ridge::RidgeConfig;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::labels::LabelScaler;
use crate::spectra::split::Fold;
use crate::stars::prepare::spectra_of_rows;
use crate::stats::robust::median;
use crate::stats::robust_covariance::limited_covariance;
use crate::training::label_regression::LabelledSpectra;
use crate::training::ridge::{TrainedByClosedForm, train};
use crate::training::ridge_checkpoint::TrainedRidge;

impl CrossValidation<'_> {
    /// Trains a regression on the training stars that have all their labels and some data, and labels the test stars.
    ///
    /// # Errors
    /// Those of [`CrossValidation::run_fold`].
    pub(super) fn run_ridge(
        &self,
        fold: &Fold,
        config: &RidgeConfig,
        place: Option<&ModelPlace>,
        timings: &mut Timings,
    ) -> Result<FoldResult> {
        let set = self.set;
        let rows: Vec<usize> = fold.training.iter().copied().filter(|row| set.can_train(*row)).collect();
        let labels = set.labels.select(Axis(0), &rows);
        let label_errors = set.label_errors.select(Axis(0), &rows);
        let scaler = LabelScaler::fit(&set.label_names, labels.view())?;
        let (flux, ivar) = spectra_of_rows(set, &rows);
        let fill = timings.measure("fill", || self.fill(fold, config.masked))?;
        let filled = fill.as_ref().map(|whole| self.filled_by_others(whole, &rows, timings)).transpose()?;
        let stars = LabelledSpectra { grid: &set.grid, flux, ivar, fill: filled, labels, label_errors };
        let TrainedByClosedForm { ridge, leave_one_out, report } =
            timings.measure("train", || train(config, &stars, &scaler, self.config.seed, self.compute))?;
        let residuals = &leave_one_out - &scaler.scale(stars.labels.view());
        let mut trained = TrainedRidge {
            ridge,
            config: config.clone(),
            error_covariance: limited_covariance(residuals.view()),
            usual_variance: vec![0.0; scaler.n_labels()],
            training_labels: stars.labels.clone(),
            preparation: self.preparation(),
            scaler,
            fill,
        };
        let estimator = RidgeEstimator::new(&trained, &self.config.fit, self.compute);
        let spectra = SpectraBatch::new(stars.flux.view(), stars.ivar.view(), self.compute);
        let variance = timings.measure("train", || estimator.variance(&spectra))?;
        trained.usual_variance = variance.columns().into_iter().map(|column| median(&column.to_vec())).collect();
        let freedom: Vec<String> = report.degrees_of_freedom.iter().map(|freedom| format!("{freedom:.0}")).collect();
        tracing::info!(
            "trained on {} stars, {} parameters, of which {} are free (by label)",
            rows.len(),
            trained.n_parameters(),
            freedom.join(", ")
        );
        if let Some(place) = place {
            timings.measure("save", || trained.save(&place.model))?;
        }
        let estimator = RidgeEstimator::new(&trained, &self.config.fit, self.compute);
        let mut estimates = timings.measure("estimate", || self.label("estimating labels", &fold.test, &estimator))?;
        timings.measure("calibrate", || self.flag_unusual(fold, &rows, &mut estimates, place))?;
        // Leaving one out costs nothing here, but only who asks for calibrated errors gets them.
        let held_out = match self.config.calibration.folds {
            0 => None,
            _ => timings.measure("calibrate", || {
                let mut estimates = self.label("estimating labels held out", &rows, &estimator)?;
                estimates.labels = trained.scaler.unscale(leave_one_out.view());
                self.held_out(rows, estimates, None, &estimator).map(Some)
            })?,
        };
        let (n_train, n_parameters) = (report.n_stars, trained.n_parameters());
        Ok(FoldResult {
            n_train,
            estimates,
            training: Training::Ridge(report),
            n_parameters,
            held_out,
            calibrated: None,
            cannon: None,
            posteriors: None,
        })
    }
}
