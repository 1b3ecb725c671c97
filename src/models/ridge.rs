//! Kernel ridge regression of labels on spectra: settings, and the way from a spectrum to labels and what they depend on.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::network::input::{Masked, deviation, masked};
use crate::spectra::batch::SpectraBatch;

/// `[models.<name>.ridge]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RidgeConfig {
    /// How alike two spectra are.
    pub kernel: Kernel,
    /// What stands for masked pixels.
    pub masked: Masked,
    /// How much each pixel counts.
    pub pixels: PixelWeights,
    /// Widths of an `rbf` kernel to choose from, in units of the median distance between two training spectra.
    #[schemars(length(min = 1, max = 20), inner(range(min = 1e-9, max = 1e9)))]
    pub widths: Vec<f64>,
    /// Training stars, drawn at random, with which spectra are compared (the approximation of Nystroem: Williams & Seeger 2001). Where it
    /// is not given, spectra are compared with all of them, or, where that takes more than `device.memory`, with some.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 100_000))]
    pub landmarks: Option<usize>,
    /// Whether estimates are made to follow their labels in full, as held-out training stars tell.
    pub correct_slopes: bool,
}

impl Default for RidgeConfig {
    /// What did best on 943 mock stars (`experiments/ridge.toml`).
    fn default() -> Self {
        Self {
            kernel: Kernel::Rbf,
            masked: Masked::Cannon,
            pixels: PixelWeights::Response,
            widths: vec![1.0, 2.0, 4.0, 8.0],
            landmarks: None,
            correct_slopes: false,
        }
    }
}

impl RidgeConfig {
    /// The first setting that makes no sense: its key below `ridge`, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(1..=20).contains(&self.widths.len()) {
            return Err(("widths", "must be one to 20 widths"));
        }
        Ok(())
    }
}

/// How alike two spectra x and y, above the mean, are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kernel {
    /// x . y: labels are linear functions of the flux.
    Linear,
    /// exp(-|x - y|^2 / (2 width^2)): labels are smooth functions of the flux.
    Rbf,
}

/// How much each pixel counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PixelWeights {
    /// All alike.
    Equal,
    /// Divided by the median error of the training stars there.
    Noise,
    /// Divided by the median error to the power 3/2, times the root of how much labels move the flux there: the continuum tells
    /// of nothing but itself. The powers had the smallest leave-one-out errors on mock stars.
    Response,
}

/// Spectrum to scaled labels: a trained kernel ridge regression.
#[derive(Module, Debug)]
pub struct Ridge {
    /// Mean spectrum of the training stars, [1, n_pixels].
    pub mean: Param<Tensor<2>>,
    /// What deviations from it are multiplied with, [1, n_pixels].
    pub pixel_weights: Param<Tensor<2>>,
    /// Weighted deviations of the training stars, or of landmarks among them, [n_anchors, n_pixels], where the kernel is not linear.
    pub anchors: Option<Param<Tensor<2>>>,
    /// Of weighted pixels, [n_pixels, n_labels], where the kernel is linear; else of anchors, [n_anchors, n_labels].
    pub weights: Param<Tensor<2>>,
    /// 1 / (2 width^2) of the kernel of each label, [1, n_labels]; 0 where it is linear.
    pub sharpness: Param<Tensor<2>>,
    /// Scaled labels of the mean spectrum, [1, n_labels].
    pub intercept: Param<Tensor<2>>,
    /// Leading components of what is not known of a masked pixel, each as large as it varies, [n_components, n_pixels].
    pub hidden: Param<Tensor<2>>,
}

impl Ridge {
    /// Number of labels.
    pub fn n_labels(&self) -> usize {
        self.weights.dims()[1]
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.mean.dims()[1]
    }

    /// Scaled labels, [n_stars, n_labels]; `fill`, [n_stars, n_pixels], stands for masked flux, or else the mean.
    pub fn forward(&self, spectra: &SpectraBatch, fill: Option<Tensor<2>>) -> Tensor<2> {
        let weighted = self.weighted(spectra, fill);
        let labels = match &self.anchors {
            None => weighted.matmul(self.weights.val()),
            Some(anchors) => {
                let distances = square_distances(weighted, anchors.val());
                let of_label =
                    |k: usize| self.likeness(distances.clone(), k).matmul(self.weights.val().narrow(1, k, 1));
                Tensor::cat((0..self.n_labels()).map(of_label).collect(), 1)
            }
        };
        labels + self.intercept.val()
    }

    /// Variance of the scaled labels that comes from the noise of the pixels, and from what masked pixels hide, [n_stars,
    /// n_labels].
    ///
    /// ```text
    /// sum_j g_j^2 / ivar_j  over pixels with information   +   sum_c (sum_j g_j hidden_cj)^2  over masked ones,
    /// ```
    ///
    /// with g the derivative of the label with respect to the flux.
    pub fn variance(&self, spectra: &SpectraBatch, fill: Option<Tensor<2>>) -> Tensor<2> {
        let masked = masked(spectra);
        let noise = spectra.ivar.clone().mask_fill(masked.clone(), 1.0).recip().mask_fill(masked.clone(), 0.0);
        let hides = masked.float().cast(spectra.flux.dtype());
        let weighted = self.anchors.as_ref().map(|_| self.weighted(spectra, fill));
        let of_label = |k: usize| {
            let gradient = self.gradient(weighted.clone(), k);
            let from_noise = (gradient.clone().powf_scalar(2.0) * noise.clone()).sum_dim(1);
            let hidden = (gradient * hides.clone()).matmul(self.hidden.val().transpose());
            from_noise + hidden.powf_scalar(2.0).sum_dim(1)
        };
        Tensor::cat((0..self.n_labels()).map(of_label).collect(), 1)
    }

    /// Derivative of a label with respect to the flux, [1 or n_stars, n_pixels].
    fn gradient(&self, weighted: Option<Tensor<2>>, k: usize) -> Tensor<2> {
        let weights = self.weights.val().narrow(1, k, 1).transpose();
        let gradient = match (&self.anchors, weighted) {
            (Some(anchors), Some(weighted)) => {
                let likeness = self.likeness(square_distances(weighted.clone(), anchors.val()), k) * weights;
                let towards = likeness.clone().matmul(anchors.val()) - weighted * likeness.sum_dim(1);
                towards * self.sharpness.val().narrow(1, k, 1) * 2.0
            }
            _ => weights,
        };
        gradient * self.pixel_weights.val()
    }

    fn weighted(&self, spectra: &SpectraBatch, fill: Option<Tensor<2>>) -> Tensor<2> {
        deviation(spectra, fill, self.mean.val()) * self.pixel_weights.val()
    }

    /// The kernel of a label from square distances.
    fn likeness(&self, square_distances: Tensor<2>, k: usize) -> Tensor<2> {
        (square_distances * self.sharpness.val().narrow(1, k, 1)).neg().exp()
    }
}

/// |x - y|^2 for every two rows, [n_x, n_y].
pub fn square_distances(x: Tensor<2>, y: Tensor<2>) -> Tensor<2> {
    let square = |rows: &Tensor<2>| rows.clone().powf_scalar(2.0).sum_dim(1);
    let (xx, yy) = (square(&x), square(&y));
    (xx + yy.transpose() - x.matmul(y.transpose()) * 2.0).clamp_min(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};
    use ndarray::Array2;

    /// A ridge of 2 labels, 6 pixels and 4 training stars.
    fn ridge(kernel: Kernel, compute: &Compute) -> Ridge {
        let wave = |shape: [usize; 2], phase: f64| {
            let values: Vec<f64> = (0..shape[0] * shape[1]).map(|i| (1.7 * i as f64 + phase).sin()).collect();
            Param::from_tensor(compute.tensor(&values, shape))
        };
        let fixed = |values: &[f64]| Param::from_tensor(compute.tensor(values, [1, values.len()]));
        let is_linear = kernel == Kernel::Linear;
        Ridge {
            mean: wave([1, 6], 0.0),
            pixel_weights: fixed(&[1.0, 2.0, 0.5, 1.0, 3.0, 1.0]),
            anchors: (!is_linear).then(|| wave([4, 6], 1.0)),
            weights: wave([if is_linear { 6 } else { 4 }, 2], 2.0),
            sharpness: fixed(if is_linear { &[0.0, 0.0] } else { &[0.03, 0.08] }),
            intercept: fixed(&[0.5, -0.5]),
            hidden: wave([2, 6], 4.0),
        }
    }

    fn spectrum(flux: &[f64], ivar: &[f64], compute: &Compute) -> SpectraBatch {
        SpectraBatch { flux: compute.tensor(flux, [1, flux.len()]), ivar: compute.tensor(ivar, [1, ivar.len()]) }
    }

    #[test]
    fn the_variance_follows_from_finite_differences() {
        let compute = Compute::flex(Precision::F64);
        let flux = [0.3, 1.2, -0.4, 0.8, 0.9, 0.1];
        let ivar = [100.0, 0.0, 25.0, 4.0, 0.0, 400.0];
        for kernel in [Kernel::Linear, Kernel::Rbf] {
            let ridge = ridge(kernel, &compute);
            let labels = |flux: &[f64], ivar: &[f64]| to_f64(ridge.forward(&spectrum(flux, ivar, &compute), None));
            let hidden = Array2::from_shape_vec((2, 6), to_f64(ridge.hidden.val())).unwrap();
            let mean = to_f64(ridge.mean.val());
            // Masked pixels stand at the mean: their derivatives are taken there.
            let filled: Vec<f64> = (0..6).map(|j| if ivar[j] > 0.0 { flux[j] } else { mean[j] }).collect();
            let derivative = |j: usize, k: usize| {
                let (mut above, mut below) = (filled.clone(), filled.clone());
                above[j] += 1e-5;
                below[j] -= 1e-5;
                (labels(&above, &[1.0; 6])[k] - labels(&below, &[1.0; 6])[k]) / 2e-5
            };
            let variance = to_f64(ridge.variance(&spectrum(&flux, &ivar, &compute), None));
            for (k, found) in variance.into_iter().enumerate() {
                let noise = (0..6).filter(|j| ivar[*j] > 0.0).map(|j| derivative(j, k).powi(2) / ivar[j]).sum::<f64>();
                let masked: Vec<usize> = (0..6).filter(|j| ivar[*j] == 0.0).collect();
                let through = |c: usize| masked.iter().map(|j| derivative(*j, k) * hidden[[c, *j]]).sum::<f64>();
                let expected = noise + (0..2).map(|c| through(c).powi(2)).sum::<f64>();
                assert!((found / expected - 1.0).abs() < 1e-7, "{kernel:?}, label {k}: {found} {expected}");
            }
        }
    }

    #[test]
    fn masked_flux_counts_nowhere_and_a_fill_stands_in_its_place() {
        let compute = Compute::flex(Precision::F64);
        let ivar = [1.0, 0.0, 1.0, 1.0, 0.0, 1.0];
        for kernel in [Kernel::Linear, Kernel::Rbf] {
            let ridge = ridge(kernel, &compute);
            let of = |flux: &[f64]| to_f64(ridge.forward(&spectrum(flux, &ivar, &compute), None));
            assert_eq!(of(&[0.1, 7.0, 0.2, 0.3, 8.0, 0.4]), of(&[0.1, -1e3, 0.2, 0.3, 0.0, 0.4]));
            let whole = [0.1, 7.0, 0.2, 0.3, 8.0, 0.4];
            let fill = compute.tensor(&whole, [1, 6]);
            let filled = to_f64(ridge.forward(&spectrum(&[0.1, 0.0, 0.2, 0.3, 0.0, 0.4], &ivar, &compute), Some(fill)));
            let seen = to_f64(ridge.forward(&spectrum(&whole, &[1.0; 6], &compute), None));
            assert!(filled.iter().zip(&seen).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
}
