//! Masked pixels filled by the Cannon's best fit to the pixels that are left.

use burn::tensor::Tensor;
use ndarray::Array2;

use super::fit::FitSettings;
use super::fitted::FittedCannon;
use crate::device::Compute;
use crate::error::Result;
use crate::models::LabelEstimator;
use crate::spectra::batch::SpectraBatch;
use crate::training::checkpoint::TrainedCannon;

/// A Cannon that says what a star's masked pixels would show.
pub struct CannonFill {
    trained: TrainedCannon,
    fitted: FittedCannon,
    compute: Compute,
}

impl CannonFill {
    /// Prepares a trained Cannon.
    pub fn new(trained: &TrainedCannon, fit: &FitSettings, compute: &Compute) -> Self {
        Self { trained: trained.clone(), fitted: FittedCannon::new(trained, fit, compute), compute: compute.clone() }
    }

    /// The spectrum of every star's best fit, [n_stars, n_pixels]; that of the pivot star for one without data. Pixels the
    /// Cannon does not know have the continuum's flux, 1.
    ///
    /// # Errors
    /// Those of the fit.
    pub fn spectra(&self, spectra: &SpectraBatch) -> Result<Tensor<2>> {
        Ok(self.trained.spectra_at(&self.scaled_labels(spectra)?, &self.compute))
    }

    /// The scaled labels of these, [n_stars, n_labels].
    ///
    /// # Errors
    /// Those of the fit.
    pub fn scaled_labels(&self, spectra: &SpectraBatch) -> Result<Array2<f64>> {
        let labels = self.fitted.estimate_labels(spectra)?.labels;
        let scaled = self.trained.scaler.scale(labels.view());
        Ok(scaled.mapv(|label| if label.is_finite() { label } else { 0.0 }))
    }
}
