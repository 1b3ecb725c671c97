//! Spectra of best fits, pixel by pixel: what labels alone do not say of a model that was fitted.

use burn::tensor::Tensor;
use ndarray::ArrayView2;

use super::compress::Compressor;
use super::solve::solve;
use crate::device::Compute;
use crate::models::{FluxPrediction, LabelTerms};
use crate::spectra::batch::SpectraBatch;

impl<T: LabelTerms> Compressor<T> {
    /// The model's spectra at scaled inputs, [n_stars, n_inputs], with the nuisance spectra at the amplitudes that are most
    /// probable there.
    ///
    /// ```text
    /// m = theta . x(l),   z = (1 + B W B^T)^-1 B W (f - m),   best fit = m + z . B
    /// ```
    ///
    /// Inputs that are not finite, of a star without data, count as those of the pivot star.
    pub fn best_fit(&self, spectra: &SpectraBatch, scaled_inputs: ArrayView2<f64>) -> FluxPrediction {
        let (small, compute) = (Compute::small_systems(), self.compute());
        let mut mean = self.flux_at(&scaled_inputs.mapv(|input| if input.is_finite() { input } else { 0.0 }));
        if let Some(nuisances) = self.nuisance_spectra() {
            let ([n_stars, n_pixels], n_nuisances) = (mean.dims(), nuisances.dims()[1]);
            let weight = self.weight(spectra);
            let on_spectra = (weight.clone() * (spectra.flux.clone() - mean.clone())).matmul(nuisances.clone());
            // One nuisance at a time: all of them for all stars would be many times the spectra.
            let products = (0..n_nuisances).map(|k| {
                let column = nuisances.clone().narrow(1, k, 1);
                weight.clone().matmul(column * nuisances.clone()).reshape([n_stars, 1, n_nuisances])
            });
            let among_themselves = small.bring(Tensor::cat(products.collect(), 1));
            let identity = small.matrix(ndarray::Array2::eye(n_nuisances).view());
            let system = among_themselves + identity.reshape([1, n_nuisances, n_nuisances]);
            let amplitudes = solve(system, small.bring(on_spectra).reshape([n_stars, n_nuisances, 1]));
            let amplitudes = compute.bring(amplitudes.reshape([n_stars, n_nuisances]));
            mean = mean + amplitudes.matmul(nuisances.transpose());
            debug_assert_eq!(mean.dims(), [n_stars, n_pixels]);
        }
        FluxPrediction { mean, variance: self.scatter_variance().clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Precision, to_f64};
    use crate::models::vectorizer::Vectorizer;
    use nalgebra::{DMatrix, DVector};
    use ndarray::{Array2, array};

    #[test]
    fn nuisances_are_at_their_most_probable_amplitudes() {
        let compute = Compute::flex(Precision::F64);
        let (n_pixels, sin) = (12, |i: usize| (i as f64 * 1.7).sin());
        let theta: Vec<f64> = (0..2 * n_pixels).map(sin).collect();
        let s2: Vec<f64> = (0..n_pixels).map(|j| 0.1 + 0.05 * sin(j + 5)).collect();
        let columns = DMatrix::from_fn(n_pixels, 2, |j, z| sin(3 * j + z + 90));
        let flux = Array2::from_shape_fn((2, n_pixels), |(n, j)| (sin(j + 40 + 9 * n) * 2.0) as f32);
        let ivar =
            Array2::from_shape_fn((2, n_pixels), |(n, j)| if j == 3 + n { 0.0 } else { (1.5 + sin(j + 70)) as f32 });
        let spectra = SpectraBatch::new(flux.view(), ivar.view(), &compute);
        let plain = Compressor::new(
            Vectorizer::new(1, 1),
            compute.tensor(&theta, [2, n_pixels]),
            compute.tensor(&s2, [n_pixels]),
            &compute,
        );
        let labels = array![[0.7], [f64::NAN]];
        let without = to_f64(plain.best_fit(&spectra, labels.view()).mean);
        let correlated = plain.with_nuisances(compute.tensor(columns.as_slice(), [2, n_pixels]));
        let with = to_f64(correlated.best_fit(&spectra, labels.view()).mean);
        for star in 0..2 {
            let label = if star == 0 { 0.7 } else { 0.0 };
            let polynomial = DVector::from_fn(n_pixels, |j, _| theta[j] + label * theta[n_pixels + j]);
            let weight = DMatrix::from_diagonal(&DVector::from_fn(n_pixels, |j, _| {
                let ivar = f64::from(ivar[[star, j]]);
                ivar / (1.0 + ivar * s2[j])
            }));
            let rest = DVector::from_fn(n_pixels, |j, _| f64::from(flux[[star, j]])) - &polynomial;
            let system = DMatrix::identity(2, 2) + columns.transpose() * &weight * &columns;
            let amplitudes = system.lu().solve(&(columns.transpose() * &weight * rest)).unwrap();
            let expected = &polynomial + &columns * amplitudes;
            for j in 0..n_pixels {
                assert!((without[star * n_pixels + j] - polynomial[j]).abs() < 1e-12);
                assert!((with[star * n_pixels + j] - expected[j]).abs() < 1e-10, "{star} {j}");
            }
        }
    }
}
