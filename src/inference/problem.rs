//! What a sampler is given of a fitted model: chi^2 of some spectra as a function of the model's inputs, and where it is lowest.

use burn::tensor::Tensor;
use ndarray::Array2;

use super::chi_square::{ChiSquare, Minimum};
use super::compress::Compressor;
use super::compressed::CompressedSpectra;
use super::fitted::Fitted;
use super::marginal::LinearNuisance;
use super::nuisance::NuisanceSettings;
use super::prior::GaussianPrior;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::{LabelEstimates, LabelEstimator, LabelTerms};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;

/// chi^2 of several stars, ready to be sampled.
#[derive(Debug, Clone)]
pub struct Problem<C> {
    /// chi^2, without any prior.
    pub chi_square: C,
    /// What the fit knows of inputs that are not labels.
    pub penalty: Option<GaussianPrior>,
    /// Where chi^2 and penalty together are lowest.
    pub minimum: Minimum,
    /// Pixels that count for each star.
    pub n_pixels: Vec<usize>,
}

/// A model whose posterior can be sampled.
pub trait Samplable: LabelEstimator {
    /// chi^2 of its spectra.
    type ChiSquare: ChiSquare + Sync;
    /// Compresses and fits spectra, with the linear ones of some nuisances integrated out; `grid` is where their pixels lie.
    ///
    /// # Errors
    /// [`crate::error::Error::Mismatch`] if the spectra are on another grid than the model;
    /// [`crate::error::Error::Config`] for nuisances that the model has already.
    fn problem(
        &self,
        spectra: &SpectraBatch,
        nuisances: &NuisanceSettings,
        grid: &WavelengthGrid,
    ) -> Result<Problem<Self::ChiSquare>>;
    /// The scaling of the model's inputs; labels come first.
    fn scaler(&self) -> &LabelScaler;
    /// The labels of some minima in their own units, with flags.
    fn describe(&self, minimum: &Minimum, n_pixels: Vec<usize>) -> LabelEstimates;
}

impl<T: LabelTerms> Samplable for Fitted<T>
where
    CompressedSpectra<T>: ChiSquare + Sync,
{
    type ChiSquare = CompressedSpectra<T>;

    fn problem(
        &self,
        spectra: &SpectraBatch,
        nuisances: &NuisanceSettings,
        grid: &WavelengthGrid,
    ) -> Result<Problem<CompressedSpectra<T>>> {
        let bends = nuisances.continuum.is_some() || nuisances.velocity_kms.is_some();
        if bends && self.compressor().has_nuisances() {
            // They would have to be integrated out together with the model's own.
            let problem = "posterior.nuisances: continuum and velocity_kms are not for a model with nuisance spectra of \
                           its own, which learned what continua do; leave them out, or set latent.spectra = 0";
            return Err(Error::Config(problem.into()));
        }
        let (mut compressed, mut minimum, n_pixels) = self.fit(spectra)?;
        let compute = self.compressor().compute();
        let model = || self.compressor().flux_at(&near(&minimum));
        if bends {
            let model = model();
            if let Some(columns) = nuisances.columns(&model, grid, compute) {
                let nuisance = LinearNuisance::of_columns(self.compressor(), spectra, 0, columns);
                compressed = compressed.marginalize(nuisance);
                let n_minima = minimum.n_minima.clone();
                minimum = self.minimize(compressed.clone(), Some(near(&minimum)), self.settings());
                minimum.n_minima = n_minima;
            }
        }
        Ok(Problem { chi_square: compressed, penalty: self.prior().cloned(), minimum, n_pixels })
    }

    fn scaler(&self) -> &LabelScaler {
        Fitted::scaler(self)
    }

    fn describe(&self, minimum: &Minimum, n_pixels: Vec<usize>) -> LabelEstimates {
        Fitted::describe(self, minimum, n_pixels)
    }
}

/// Scaled inputs of some minima, stray ones drawn in so that a model can be asked for them.
pub(super) fn near(minimum: &Minimum) -> Array2<f64> {
    minimum.scaled_labels.mapv(|v| if v.is_finite() { v.clamp(-20.0, 20.0) } else { 0.0 })
}

impl<T: LabelTerms> Compressor<T> {
    /// Model spectra at scaled inputs, [n_stars, n_pixels].
    pub fn flux_at(&self, scaled: &Array2<f64>) -> Tensor<2> {
        let flat: Vec<f64> = scaled.iter().copied().collect();
        // Label terms may live on the CPU, in another precision than the spectra.
        let terms = self.label_terms().terms(Compute::small_systems().tensor(&flat, [scaled.nrows(), scaled.ncols()]));
        let n_terms = terms.dims()[1];
        let terms = self.compute().bring(terms.narrow(1, 1, n_terms - 1));
        terms.matmul(self.slopes().clone().transpose()) + self.pivot_flux().clone()
    }
}
