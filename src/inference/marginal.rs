//! What a fit need not know exactly: nuisances that enter the flux linearly, integrated out of the compressed chi^2.

use burn::tensor::Tensor;

use super::compressed::CompressedSpectra;
use super::solve::solve;
use crate::device::Compute;

/// Linear nuisances z of several stars, `f = theta . x(labels) + B z + noise` with z ~ N(0, 1), summed up over pixels.
///
/// Pixels count with their weights w, and the flux relative to the pivot star's spectrum, as in the compression.
#[derive(Debug, Clone)]
pub struct LinearNuisance {
    /// sum w B_z theta_t, [n_stars, n_nuisances, n_terms - 1].
    pub with_terms: Tensor<3>,
    /// sum w B_z B_z, [n_stars, n_nuisances, n_nuisances].
    pub with_itself: Tensor<3>,
    /// sum w f B_z, [n_stars, n_nuisances, 1].
    pub with_flux: Tensor<3>,
}

impl<T> CompressedSpectra<T> {
    /// chi^2 with some nuisances integrated out; it keeps its form.
    ///
    /// ```text
    /// K = (1 + M_zz)^-1,   M - M_xz K M_zx,   v - M_xz K v_z,   c - v_z . K v_z        (Woodbury)
    /// ```
    #[must_use]
    pub fn marginalize(mut self, nuisance: LinearNuisance) -> Self {
        let small = Compute::small_systems();
        let [n_stars, n_nuisances, _] = nuisance.with_terms.dims();
        let [x, z, v] = [nuisance.with_terms, nuisance.with_itself, nuisance.with_flux].map(|sum| small.bring(sum));
        let identity: Vec<f64> =
            (0..n_nuisances * n_nuisances).map(|i| f64::from(u8::from(i % (n_nuisances + 1) == 0))).collect();
        let identity = small.tensor(&identity, [1, n_nuisances, n_nuisances]);
        let spread = solve(z + identity, Tensor::cat(vec![x.clone(), v.clone()], 2));
        let n_terms = x.dims()[2];
        let (of_terms, of_flux) = (spread.clone().narrow(2, 0, n_terms), spread.narrow(2, n_terms, 1));
        let across = x.swap_dims(1, 2);
        self.m = self.m - across.clone().matmul(of_terms);
        self.v = self.v - across.matmul(of_flux.clone());
        self.c = self.c - (v * of_flux).sum_dim(1).reshape([n_stars, 1]);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Precision, to_f64};
    use crate::inference::chi_square::ChiSquare;
    use crate::inference::compress::Compressor;
    use crate::models::vectorizer::Vectorizer;
    use crate::spectra::batch::SpectraBatch;
    use nalgebra::{DMatrix, DVector};
    use ndarray::Array2;

    #[test]
    fn the_marginal_is_that_of_the_full_covariance() {
        let compute = Compute::flex(Precision::F64);
        let (n_pixels, sin) = (12, |i: usize| (i as f64 * 1.7).sin());
        let theta: Vec<f64> = (0..2 * n_pixels).map(sin).collect();
        let flux = Array2::from_shape_fn((1, n_pixels), |(_, j)| (sin(j + 40) * 2.0) as f32);
        let ivar = Array2::from_shape_fn((1, n_pixels), |(_, j)| (1.5 + sin(j + 70)) as f32);
        let columns = DMatrix::from_fn(n_pixels, 2, |j, z| sin(3 * j + z + 90));
        let model = compute.tensor(&theta, [2, n_pixels]);
        let zero = compute.tensor(&vec![0.0; n_pixels], [n_pixels]);
        let compressor = Compressor::new(Vectorizer::new(1, 1), model, zero, &compute);
        let compressed = compressor.compress(&SpectraBatch::new(flux.view(), ivar.view(), &compute)).0;

        let weight = DMatrix::from_diagonal(&DVector::from_fn(n_pixels, |j, _| f64::from(ivar[[0, j]])));
        let slope = DVector::from_column_slice(&theta[n_pixels..]);
        let residual = DVector::from_fn(n_pixels, |j, _| f64::from(flux[[0, j]]) - theta[j]);
        let host = |matrix: DMatrix<f64>| {
            let shape = [1, matrix.nrows(), matrix.ncols()];
            compute.tensor(matrix.transpose().as_slice(), shape)
        };
        let nuisance = LinearNuisance {
            with_terms: host(columns.transpose() * &weight * DMatrix::from_columns(std::slice::from_ref(&slope))),
            with_itself: host(columns.transpose() * &weight * &columns),
            with_flux: host(columns.transpose() * &weight * DMatrix::from_columns(std::slice::from_ref(&residual))),
        };
        let marginal = compressed.marginalize(nuisance);
        // chi^2 under noise and nuisances together: covariance W^-1 + B B^T.
        let covariance = weight.try_inverse().unwrap() + &columns * columns.transpose();
        let inverse = covariance.try_inverse().unwrap();
        for label in [-0.7, 0.0, 1.3] {
            let r = &residual - &slope * label;
            let expected = (r.transpose() * &inverse * &r)[0];
            let found = to_f64(marginal.evaluate(compute.tensor(&[label], [1, 1])).chi2)[0];
            assert!((found / expected - 1.0).abs() < 1e-10, "{found} {expected}");
        }
    }
}
