//! Models as Burn modules: configurations and pure forward passes; no files, no loops, no printing.

pub mod cannon;
pub mod likelihood;
pub mod vectorizer;

use burn::module::Module;
use burn::tensor::Tensor;
use ndarray::{Array2, Array3};

use crate::error::Result;
use crate::spectra::batch::SpectraBatch;

/// A spectrum that a model expects, and how far it trusts itself.
#[derive(Debug, Clone)]
pub struct FluxPrediction {
    /// Normalized flux, [n_stars, n_pixels].
    pub mean: Tensor<2>,
    /// Intrinsic variance s^2 of the model, [1, n_pixels]; [`cannon::NO_INFORMATION`] where it knows nothing.
    pub variance: Tensor<2>,
}

/// Labels to flux: the generative direction.
pub trait SpectralModel: Module {
    /// Spectra at scaled labels, [n_stars, n_labels].
    fn predict_flux(&self, scaled_labels: Tensor<2>) -> FluxPrediction;
}

/// Spectra to labels: all that cross-validation, reports and `maury label` ever see of a model.
pub trait LabelEstimator {
    /// Labels of every star of a batch; a star that cannot be labelled gets flags, never an error.
    ///
    /// # Errors
    /// [`crate::error::Error::Mismatch`] if the spectra are on another grid than the model.
    fn estimate_labels(&self, spectra: &SpectraBatch) -> Result<LabelEstimates>;
}

/// Estimated labels with their formal errors.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelEstimates {
    /// Labels in their own units, [n_stars, n_labels]; NaN for a star without data.
    pub labels: Array2<f64>,
    /// Formal covariance of the labels, [n_stars, n_labels, n_labels].
    pub covariance: Array3<f64>,
    /// chi^2 at the estimate.
    pub chi2: Vec<f64>,
    /// Pixels that entered chi^2.
    pub n_pixels: Vec<usize>,
    /// [`crate::spectra::quality::star_flags`] that arose in the estimate.
    pub flags: Vec<i64>,
}

impl LabelEstimates {
    /// chi^2 per degree of freedom; NaN where there is none.
    pub fn chi2_reduced(&self, star: usize) -> f64 {
        let degrees = self.n_pixels[star] as f64 - self.labels.ncols() as f64;
        if degrees > 0.0 { self.chi2[star] / degrees } else { f64::NAN }
    }

    /// Formal error of label `k`.
    pub fn error(&self, star: usize, k: usize) -> f64 {
        self.covariance[[star, k, k]].sqrt()
    }

    /// Appends the estimates of further stars.
    pub fn append(&mut self, other: Self) {
        let join = "both have the same labels";
        self.labels.append(ndarray::Axis(0), other.labels.view()).expect(join);
        self.covariance.append(ndarray::Axis(0), other.covariance.view()).expect(join);
        self.chi2.extend(other.chi2);
        self.n_pixels.extend(other.n_pixels);
        self.flags.extend(other.flags);
    }

    /// Estimates of no stars, to append to.
    pub fn empty(n_labels: usize) -> Self {
        Self {
            labels: Array2::zeros((0, n_labels)),
            covariance: Array3::zeros((0, n_labels, n_labels)),
            chi2: Vec::new(),
            n_pixels: Vec::new(),
            flags: Vec::new(),
        }
    }
}
