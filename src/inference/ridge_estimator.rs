//! Labels and errors from a kernel ridge regression.

use ndarray::{Array2, Array3};

use super::fill::CannonFill;
use super::fit::FitSettings;
use super::hull::Hull;
use crate::device::{Compute, to_array, to_f64};
use crate::error::{Error, Result};
use crate::models::{Estimated, LabelEstimates, LabelEstimator, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::training::ridge_checkpoint::TrainedRidge;

/// A trained regression, ready to label.
///
/// The variance of a label is that of the leave-one-out errors, of which the part that noise and masked pixels explain in a usual
/// star is replaced by what they are in this one: a star without a chip has larger errors.
pub struct RidgeEstimator {
    model: TrainedRidge,
    hull: Hull,
    fill: Option<CannonFill>,
}

impl RidgeEstimator {
    /// Prepares a trained regression; `fit` is how a Cannon that fills masked pixels fits.
    pub fn new(model: &TrainedRidge, fit: &FitSettings, compute: &Compute) -> Self {
        let fill = model.fill.as_ref().map(|cannon| CannonFill::new(cannon, fit, compute));
        Self { model: model.clone(), hull: Hull::new(model.scaler.scale(model.training_labels.view()).view()), fill }
    }

    /// Variance of the scaled labels by noise and masked pixels, [n_stars, n_labels].
    ///
    /// # Errors
    /// Those of a Cannon that fills.
    pub fn variance(&self, spectra: &SpectraBatch) -> Result<Array2<f64>> {
        let fill = self.fill.as_ref().map(|fill| fill.spectra(spectra)).transpose()?;
        let shape = (spectra.n_stars(), self.n_labels());
        let variance = to_f64(self.model.ridge.variance(spectra, fill));
        Ok(Array2::from_shape_vec(shape, variance).expect("one variance per star and label"))
    }
}

impl LabelEstimator for RidgeEstimator {
    fn n_labels(&self) -> usize {
        self.model.scaler.n_labels()
    }

    fn estimate(&self, spectra: &SpectraBatch, _wanted: Wanted) -> Result<Estimated> {
        let TrainedRidge { ridge, scaler, error_covariance, usual_variance, .. } = &self.model;
        if spectra.n_pixels() != ridge.n_pixels() {
            let detail = format!("{} pixels, but the regression reads {}", spectra.n_pixels(), ridge.n_pixels());
            return Err(Error::Mismatch { what: "spectra".into(), detail });
        }
        let fill = self.fill.as_ref().map(|fill| fill.spectra(spectra)).transpose()?;
        let (n_stars, n_labels) = (spectra.n_stars(), self.n_labels());
        let scaled = to_array(ridge.forward(spectra, fill.clone()));
        let variance = to_array(ridge.variance(spectra, fill));
        let error = |star: usize, k: usize| {
            let rest = (error_covariance[[k, k]] - usual_variance[k]).max(0.0);
            (rest + variance[[star, k]]).sqrt() * scaler.scale[k]
        };
        let correlation = |k: usize, l: usize| {
            error_covariance[[k, l]] / (error_covariance[[k, k]] * error_covariance[[l, l]]).sqrt()
        };
        let covariance = Array3::from_shape_fn((n_stars, n_labels, n_labels), |(star, k, l)| {
            correlation(k, l) * error(star, k) * error(star, l)
        });
        let mut estimates = LabelEstimates::read_off(scaler.unscale(scaled.view()), covariance, spectra.n_known());
        self.hull.flag_outside(scaled.view(), &mut estimates);
        Ok(estimates.into())
    }
}
