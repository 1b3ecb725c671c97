//! The Cannon as a differentiable layer: flux = theta . x(labels), plus intrinsic scatter per pixel.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::vectorizer::Vectorizer;
use super::{FluxPrediction, SpectralModel};
use crate::device::{Compute, to_f64};

/// Scatter variance of a pixel the model knows nothing about: its weight in every fit is nil.
pub const NO_INFORMATION: f64 = 1e30;

/// A trained Cannon (Ness et al. 2015), and what it learned beside its labels.
///
/// ```text
/// f_nj = sum_t x_t(l_n) theta_tj + sum_k z_nk B_kj + noise,   variance sigma_nj^2 + s2_j,   z ~ N(0, 1)
/// ```
///
/// Inputs of the polynomial are the labels and, behind them, latent labels that no catalogue gives, if it was trained with
/// any (`training/latent.rs`).
#[derive(Module, Debug)]
pub struct Cannon {
    /// Coefficients, [n_terms, n_pixels]; row 0 is the pivot star's spectrum.
    pub theta: Param<Tensor<2>>,
    /// Scatter variance, `[n_pixels]`; [`NO_INFORMATION`] in pixels that could not be trained.
    pub s2: Param<Tensor<1>>,
    /// Nuisance spectra B, [n_nuisances, n_pixels]: what stars differ in beside the inputs of the polynomial.
    pub nuisance_spectra: Option<Param<Tensor<2>>>,
    #[module(skip)]
    vectorizer: Vectorizer,
}

impl Cannon {
    /// A model from its coefficients, [n_terms, n_pixels] row-major, and scatter variances, `[n_pixels]`.
    ///
    /// # Panics
    /// If the sizes do not agree with the vectorizer.
    pub fn from_coefficients(vectorizer: Vectorizer, theta: &[f64], s2: &[f64], compute: &Compute) -> Self {
        let (n_terms, n_pixels) = (vectorizer.n_terms(), s2.len());
        assert_eq!(theta.len(), n_terms * n_pixels, "theta must be [{n_terms}, {n_pixels}]");
        Self {
            theta: Param::from_tensor(compute.tensor(theta, [n_terms, n_pixels])),
            s2: Param::from_tensor(compute.tensor(s2, [n_pixels])),
            nuisance_spectra: None,
            vectorizer,
        }
    }

    /// The same with nuisance spectra, [n_nuisances, n_pixels] row-major.
    ///
    /// # Panics
    /// If they have another number of pixels.
    #[must_use]
    pub fn with_nuisance_spectra(mut self, spectra: &[f64], compute: &Compute) -> Self {
        let n_pixels = self.n_pixels();
        assert!(spectra.len().is_multiple_of(n_pixels), "nuisance spectra must have {n_pixels} pixels");
        let shape = [spectra.len() / n_pixels, n_pixels];
        self.nuisance_spectra = (shape[0] > 0).then(|| Param::from_tensor(compute.tensor(spectra, shape)));
        self
    }

    /// Number of nuisance spectra.
    pub fn n_nuisances(&self) -> usize {
        self.nuisance_spectra.as_ref().map_or(0, |spectra| spectra.val().dims()[0])
    }

    /// The terms of the polynomial.
    pub fn vectorizer(&self) -> &Vectorizer {
        &self.vectorizer
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.s2.val().dims()[0]
    }

    /// Number of free parameters: every coefficient and every scatter, 8575 x 22 = 188,650 for five labels.
    pub fn n_parameters(&self) -> usize {
        (self.vectorizer.n_terms() + self.n_nuisances() + 1) * self.n_pixels()
    }

    /// Which pixels the model can predict, `[n_pixels]`.
    pub fn valid_pixels(&self) -> Vec<bool> {
        to_f64(self.s2.val()).into_iter().map(|s2| s2 < NO_INFORMATION).collect()
    }

    /// Gradient spectra, analytic: d flux / d scaled label.
    ///
    /// # Shapes
    /// - scaled_labels: `[n_stars, n_labels]`
    /// - output: `[n_stars, n_labels, n_pixels]`
    pub fn gradient_spectra(&self, scaled_labels: Tensor<2>) -> Tensor<3> {
        let design = self.vectorizer.design_matrix(scaled_labels);
        let derivative = self.vectorizer.derivative(design).swap_dims(1, 2);
        let [n_stars, n_labels, n_terms] = derivative.dims();
        let n_pixels = self.n_pixels();
        derivative
            .reshape([n_stars * n_labels, n_terms])
            .matmul(self.theta.val())
            .reshape([n_stars, n_labels, n_pixels])
    }
}

impl SpectralModel for Cannon {
    fn predict_flux(&self, scaled_labels: Tensor<2>) -> FluxPrediction {
        FluxPrediction {
            mean: self.vectorizer.design_matrix(scaled_labels).matmul(self.theta.val()),
            variance: self.s2.val().unsqueeze_dim(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;

    fn cannon(compute: &Compute) -> Cannon {
        let theta: Vec<f64> = (0..18).map(|i| f64::from(i) * 0.1 - 0.7).collect();
        Cannon::from_coefficients(Vectorizer::new(2, 2), &theta, &[0.1, 0.2, NO_INFORMATION], compute)
    }

    #[test]
    fn prediction_is_the_polynomial_written_out() {
        let compute = Compute::flex(Precision::F64);
        let (a, b) = (0.5, -2.0);
        let cannon = cannon(&compute);
        let flux = to_f64(cannon.predict_flux(compute.tensor(&[a, b], [1, 2])).mean);
        let theta = to_f64(cannon.theta.val());
        for pixel in 0..3 {
            let t = |term: usize| theta[term * 3 + pixel];
            let written = t(0) + t(1) * a + t(2) * b + t(3) * a * a + t(4) * a * b + t(5) * b * b;
            assert!((flux[pixel] - written).abs() < 1e-12);
        }
        assert_eq!(cannon.valid_pixels(), [true, true, false]);
        assert_eq!(cannon.n_parameters(), 21);
    }

    #[test]
    fn gradient_spectra_by_autodiff_and_by_formula_agree() {
        let compute = Compute::flex(Precision::F64);
        let labels = [0.5, -2.0, 1.5, 0.25];
        let analytic = to_f64(cannon(&compute).gradient_spectra(compute.tensor(&labels, [2, 2])));
        let recording = compute.autodiff();
        for pixel in 0..3 {
            let input = recording.tensor(&labels, [2, 2]).require_grad();
            let mean = cannon(&recording).predict_flux(input.clone()).mean;
            let gradient = to_f64(input.grad(&mean.narrow(1, pixel, 1).sum().backward()).unwrap());
            for star in 0..2 {
                for label in 0..2 {
                    let formula = analytic[(star * 2 + label) * 3 + pixel];
                    assert!((gradient[star * 2 + label] - formula).abs() < 1e-12);
                }
            }
        }
    }
}
