//! Nuisance spectra beside what labels alone make of a spectrum: as much of each as is most probable.

use burn::tensor::{Tensor, TensorData};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

use crate::device::{Compute, to_f64};

/// Spectra of which a star has any amount, standard normal amplitudes being expected.
#[derive(Debug, Clone)]
pub struct NuisanceSpectra {
    /// B, [n_pixels, n_nuisances].
    columns: Tensor<2>,
}

/// Amplitudes z of every star, and how far its spectrum narrows them down.
#[derive(Debug, Clone)]
pub struct Amplitudes {
    /// z, [n_stars, n_nuisances]; 0 where a star's numbers are not finite.
    pub most_probable: Tensor<2>,
    /// |z|^2 of every star.
    pub squares: Vec<f64>,
    /// ln of the determinant of `1 + B^T W B` of every star: what integrating z out adds to -2 ln(likelihood).
    pub ln_determinants: Vec<f64>,
}

impl NuisanceSpectra {
    /// From columns, [n_pixels, n_nuisances].
    pub fn new(columns: Tensor<2>) -> Self {
        Self { columns }
    }

    /// The same elsewhere.
    pub fn on(&self, compute: &Compute) -> Self {
        Self::new(compute.bring(self.columns.clone()))
    }

    /// Their amplitudes in residuals r of weights W:
    ///
    /// ```text
    /// z = (1 + B^T W B)^-1 B^T W r
    /// ```
    ///
    /// # Shapes
    /// - residual, weight: `[n_stars, n_pixels]`
    /// - products: `B^T W B`, `[n_stars, n_nuisances, n_nuisances]`
    pub fn amplitudes(&self, residual: &Tensor<2>, weight: &Tensor<2>, products: &Tensor<3>) -> Amplitudes {
        let (n_stars, n) = (residual.dims()[0], self.columns.dims()[1]);
        let products = to_f64(products.clone());
        let right = to_f64((weight.clone() * residual.clone()).matmul(self.columns.clone()));
        let star = |star: usize| {
            let products = &products[star * n * n..(star + 1) * n * n];
            let system = DMatrix::from_column_slice(n, n, products) + DMatrix::identity(n, n);
            let right = DVector::from_column_slice(&right[star * n..(star + 1) * n]);
            let known = |z: &DVector<f64>| z.iter().all(|z| z.is_finite());
            match system.clone().cholesky() {
                Some(cholesky) => Some((cholesky.solve(&right), cholesky.ln_determinant())),
                // Sums in f32 of a very bright star's pixels may leave a matrix that is not quite definite.
                None => system.lu().solve(&right).map(|z| (z, f64::NAN)),
            }
            .filter(|(z, _)| known(z))
            .unwrap_or((DVector::zeros(n), f64::NAN))
        };
        let (amplitudes, ln_determinants): (Vec<_>, Vec<_>) = (0..n_stars).into_par_iter().map(star).unzip();
        let squares = amplitudes.iter().map(DVector::norm_squared).collect();
        let values: Vec<f64> = amplitudes.iter().flat_map(|z| z.iter().copied()).collect();
        let options = (&self.columns.device(), self.columns.dtype());
        let most_probable = Tensor::from_data(TensorData::new(values, [n_stars, n]), options);
        Amplitudes { most_probable, squares, ln_determinants }
    }

    /// What they add to spectra, [n_stars, n_pixels].
    pub fn flux(&self, amplitudes: &Amplitudes) -> Tensor<2> {
        amplitudes.most_probable.clone().matmul(self.columns.clone().transpose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::inference::compress::Compressor;
    use crate::models::vectorizer::Vectorizer;
    use crate::spectra::batch::SpectraBatch;
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
        let best_fit = |model: &Compressor<Vectorizer>| {
            to_f64(model.best_fit(&spectra, &model.compress(&spectra).0, labels.view()).mean)
        };
        let without = best_fit(&plain);
        let correlated = plain.with_nuisances(compute.tensor(columns.as_slice(), [2, n_pixels]));
        let with = best_fit(&correlated);
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
