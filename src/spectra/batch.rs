//! From host arrays to tensors: the point where Burn begins.

use burn::tensor::Tensor;
use ndarray::ArrayView2;

use crate::device::Compute;

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
}

fn upload(matrix: ArrayView2<f32>, compute: &Compute) -> Tensor<2> {
    let (n_rows, n_columns) = matrix.dim();
    compute.tensor_f32(matrix.iter().copied().collect(), [n_rows, n_columns])
}
