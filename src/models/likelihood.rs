//! The likelihood of a spectrum under a model, as a differentiable expression.

use burn::tensor::Tensor;

use super::FluxPrediction;

/// Inverse of the total variance sigma^2 + s^2 per star and pixel, `w = ivar / (1 + ivar s2)`; 0 where masked.
///
/// # Shapes
/// - ivar: `[n_stars, n_pixels]`; variance: `[1, n_pixels]` or `[n_stars, n_pixels]`
/// - output: `[n_stars, n_pixels]`
pub fn inverse_total_variance(ivar: Tensor<2>, variance: Tensor<2>) -> Tensor<2> {
    ivar.clone() / (ivar * variance + 1.0)
}

/// chi^2 of each spectrum, `sum_j w (f - m)^2`.
///
/// # Shapes
/// - flux, ivar: `[n_stars, n_pixels]`; output: `[n_stars, 1]`
pub fn chi2(flux: Tensor<2>, ivar: Tensor<2>, model: &FluxPrediction) -> Tensor<2> {
    let weight = inverse_total_variance(ivar, model.variance.clone());
    let residual = flux - model.mean.clone();
    (weight * residual.clone() * residual).sum_dim(1)
}

/// Log-likelihood of each spectrum under a spectral model, masked pixels left out.
///
/// ```text
/// ln L = -1/2 sum_j [ w (f - m)^2 - ln w ],   w = ivar / (1 + ivar s2)      (Ness et al. 2015, Eq. 4)
/// ```
///
/// # Shapes
/// - flux, ivar: `[n_stars, n_pixels]`, normalized flux, finite everywhere
/// - output: `[n_stars, 1]`
pub fn log_likelihood(flux: Tensor<2>, ivar: Tensor<2>, model: &FluxPrediction) -> Tensor<2> {
    let masked = ivar.clone().lower_equal_scalar(0.0);
    let weight = inverse_total_variance(ivar, model.variance.clone());
    let residual = flux - model.mean.clone();
    // ln 1 = 0 in place of ln 0, before the logarithm: the gradient there is then 0, not NaN.
    let log_weight = weight.clone().mask_fill(masked, 1.0).log();
    (log_weight - weight * residual.clone() * residual).sum_dim(1) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};

    #[test]
    fn the_likelihood_is_the_normal_density_up_to_its_constant() {
        let compute = Compute::flex(Precision::F64);
        let model = FluxPrediction {
            mean: compute.tensor(&[1.0, 0.9, 0.8], [1, 3]),
            variance: compute.tensor(&[0.01, 0.0, 0.02], [1, 3]),
        };
        let flux = compute.tensor(&[1.1, 0.7, 5.0], [1, 3]);
        let ivar = compute.tensor(&[25.0, 100.0, 0.0], [1, 3]);
        // Independent: variances 0.04 + 0.01 and 0.01 + 0; third pixel masked.
        let term = |residual: f64, variance: f64| -0.5 * (residual * residual / variance + variance.ln());
        let expected = term(0.1, 0.05) + term(-0.2, 0.01);
        assert!((to_f64(log_likelihood(flux.clone(), ivar.clone(), &model))[0] - expected).abs() < 1e-12);
        let expected = 0.01 / 0.05 + 0.04 / 0.01;
        assert!((to_f64(chi2(flux, ivar, &model))[0] - expected).abs() < 1e-12);
    }

    #[test]
    fn a_masked_pixel_gives_a_zero_gradient_not_nan() {
        let compute = Compute::flex(Precision::F64).autodiff();
        let s2 = compute.tensor(&[0.01, 0.01], [1, 2]).require_grad();
        let model = FluxPrediction { mean: compute.tensor(&[1.0, 1.0], [1, 2]), variance: s2.clone() };
        let likelihood =
            log_likelihood(compute.tensor(&[1.2, 9.0], [1, 2]), compute.tensor(&[100.0, 0.0], [1, 2]), &model);
        let gradient = to_f64(s2.grad(&likelihood.sum().backward()).unwrap());
        // d/ds2 = 1/2 (w^2 r^2 - w), w = 50, r = 0.2
        assert!((gradient[0] - 0.5 * (2500.0 * 0.04 - 50.0)).abs() < 1e-9);
        assert_eq!(gradient[1], 0.0);
    }
}
