//! chi^2 written out over all pixels: slow, and obviously right. The compressed form is tested against it.

use burn::tensor::{Int, Tensor};

use super::chi_square::{ChiSquare, Evaluation};
use crate::models::cannon::Cannon;
use crate::models::likelihood::{chi2, inverse_total_variance};
use crate::models::{LabelTerms, SpectralModel};
use crate::spectra::batch::SpectraBatch;

/// Spectra and the model they are compared with, pixel by pixel.
#[derive(Debug, Clone)]
pub struct DirectChiSquare {
    /// The model.
    pub cannon: Cannon,
    /// The spectra.
    pub spectra: SpectraBatch,
}

impl ChiSquare for DirectChiSquare {
    fn evaluate(&self, scaled_labels: Tensor<2>) -> Evaluation {
        let [n_stars, n_labels] = scaled_labels.dims();
        let n_pixels = self.cannon.n_pixels();
        let model = self.cannon.predict_flux(scaled_labels.clone());
        let bend = self.cannon.vectorizer().expand(scaled_labels.clone()).bend;
        let gradient = self.cannon.gradient_spectra(scaled_labels);
        let weight =
            inverse_total_variance(self.spectra.ivar.clone(), model.variance.clone()).reshape([n_stars, 1, n_pixels]);
        let residual = (self.spectra.flux.clone() - model.mean.clone()).reshape([n_stars, 1, n_pixels]);
        let weighted_residual = weight.clone() * residual.clone();
        let on_terms = weighted_residual.reshape([n_stars, n_pixels]).matmul(self.cannon.theta.val().transpose());
        let n_terms = on_terms.dims()[1];
        let bend = bend(on_terms.reshape([n_stars, n_terms, 1]));
        let weighted = gradient.clone() * weight;
        let curvature =
            (0..n_labels).map(|k| (weighted.clone().narrow(1, k, 1) * gradient.clone()).sum_dim(2)).collect();
        let curvature = Tensor::cat(curvature, 2);
        Evaluation {
            chi2: chi2(self.spectra.flux.clone(), self.spectra.ivar.clone(), &model),
            half_gradient: (weighted * residual).sum_dim(2).neg(),
            half_hessian: curvature.clone() - bend,
            curvature,
        }
    }

    fn chi2(&self, scaled_labels: Tensor<2>) -> Tensor<2> {
        let model = self.cannon.predict_flux(scaled_labels);
        chi2(self.spectra.flux.clone(), self.spectra.ivar.clone(), &model)
    }

    fn select(&self, rows: Tensor<1, Int>) -> Self {
        let spectra = SpectraBatch {
            flux: self.spectra.flux.clone().select(0, rows.clone()),
            ivar: self.spectra.ivar.clone().select(0, rows),
        };
        Self { cannon: self.cannon.clone(), spectra }
    }
}
