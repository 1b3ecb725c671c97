//! What the spectra that a model learned from look like: their mean, and what most of them differ in.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::cannon::NO_INFORMATION;
use crate::device::Compute;

/// Spectra as a mean and some components of standard normal amplitudes: a probabilistic principal component analysis.
#[derive(Module, Debug)]
pub struct UsualSpectra {
    /// Mean flux, [1, n_pixels].
    pub mean: Param<Tensor<2>>,
    /// Components, each as large as it varies, [n_components, n_pixels].
    pub components: Param<Tensor<2>>,
    /// Variance of what they leave beyond the noise, [1, n_pixels]; [`NO_INFORMATION`] where no spectrum had data.
    pub s2: Param<Tensor<2>>,
}

impl UsualSpectra {
    /// From row-major numbers.
    ///
    /// # Panics
    /// If they are not one mean and variance per pixel, and as many for every component.
    pub fn new(mean: &[f64], components: &[f64], s2: &[f64], compute: &Compute) -> Self {
        let n_pixels = mean.len();
        let rows = |values: &[f64]| Param::from_tensor(compute.tensor(values, [values.len() / n_pixels, n_pixels]));
        Self { mean: rows(mean), components: rows(components), s2: rows(s2) }
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.mean.dims()[1]
    }

    /// Number of components.
    pub fn n_components(&self) -> usize {
        self.components.dims()[0]
    }

    /// 1 in pixels of which something is known, 0 elsewhere, [1, n_pixels].
    pub fn valid(&self) -> Tensor<2> {
        let s2 = self.s2.val();
        s2.clone().lower_scalar(NO_INFORMATION).float().cast(s2.dtype())
    }
}
