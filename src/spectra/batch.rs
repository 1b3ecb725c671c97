//! From host arrays to tensors: the point where Burn begins.

use std::ops::Range;

use burn::tensor::Tensor;
use ndarray::ArrayView2;

use super::noise::Conditions;
use crate::device::{Compute, to_array, to_f64};

/// Spectra of several stars on a device.
#[derive(Debug, Clone)]
pub struct SpectraBatch {
    /// Normalized flux, [n_stars, n_pixels], finite everywhere.
    pub flux: Tensor<2>,
    /// Inverse variance, [n_stars, n_pixels]; 0 = no information.
    pub ivar: Tensor<2>,
}

impl SpectraBatch {
    /// Uploads flux and inverse variance, both [n_stars, n_pixels].
    pub fn new(flux: ArrayView2<f32>, ivar: ArrayView2<f32>, compute: &Compute) -> Self {
        Self { flux: upload(flux, compute), ivar: upload(ivar, compute) }
    }

    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        self.flux.dims()[0]
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.flux.dims()[1]
    }

    /// Number of pixels with information, by star.
    pub fn n_known(&self) -> Vec<usize> {
        let known = self.ivar.clone().greater_elem(0.0).float().cast(self.ivar.dtype());
        to_f64(known.sum_dim(1)).into_iter().map(|count| count.round() as usize).collect()
    }

    /// How good the spectra are; `chips` are the pixels of each chip.
    pub fn conditions(&self, chips: &[Range<usize>]) -> Vec<Conditions> {
        Conditions::of(to_array(self.ivar.clone()).mapv(|ivar| ivar as f32).view(), chips)
    }
}

fn upload(matrix: ArrayView2<f32>, compute: &Compute) -> Tensor<2> {
    let (n_rows, n_columns) = matrix.dim();
    compute.tensor_f32(matrix.iter().copied().collect(), [n_rows, n_columns])
}
