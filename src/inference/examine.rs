//! Spectra beside what a model makes of them, pixel by pixel: the numbers that tell how well it describes each star.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use nalgebra::DMatrix;
use ndarray::{Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::compress::packed_index;
use super::solve::solve;
use crate::device::{Compute, to_f64};
use crate::models::misfit::{Measure, Misfit};
use crate::stats::robust::median_in_place;

/// Spectra, what a model expects of them, and how far its expectation is to be believed.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// Flux - model, [n_stars, n_pixels].
    pub residual: Tensor<2>,
    /// Weights in chi^2, `1 / (sigma^2 + s^2)`, [n_stars, n_pixels]; 0 in pixels that do not count.
    pub weight: Tensor<2>,
    /// Inverse variances as given, [n_stars, n_pixels].
    pub ivar: Tensor<2>,
}

impl Comparison {
    /// Takes nuisance spectra with standard normal amplitudes out of the residuals, as much of each as is most probable;
    /// returns |z|^2 of every star.
    ///
    /// ```text
    /// z = (1 + B^T W B)^-1 B^T W r
    /// ```
    ///
    /// # Shapes
    /// - columns: B, `[n_pixels, n_nuisances]`; pairs: products of two of its columns, the upper triangle row by row
    pub fn take_out(&mut self, columns: &Tensor<2>, pairs: &Tensor<2>) -> Vec<f64> {
        let (n_stars, n) = (self.residual.dims()[0], columns.dims()[1]);
        let full: Vec<usize> = (0..n * n).map(|i| packed_index(i / n, i % n, n)).collect();
        let identity: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i % (n + 1) == 0))).collect();
        let small = Compute::small_systems();
        let packed = small.bring(self.weight.clone().matmul(pairs.clone()));
        let normal = packed.select(1, small.indices(&full)).reshape([n_stars, n, n]);
        let right = small.bring((self.weight.clone() * self.residual.clone()).matmul(columns.clone()));
        let z = solve(normal + small.tensor(&identity, [1, n, n]), right.reshape([n_stars, n, 1]));
        let amplitudes: Vec<f64> = to_f64(z).into_iter().map(|z| if z.is_finite() { z } else { 0.0 }).collect();
        let squares = amplitudes.chunks(n).map(|z| z.iter().map(|z| z * z).sum()).collect();
        let z = Tensor::<2>::from_data(TensorData::new(amplitudes, [n_stars, n]), (&columns.device(), columns.dtype()));
        self.residual = self.residual.clone() - z.matmul(columns.clone().transpose());
        squares
    }

    /// chi^2 per pixel in all and by chip, and the size of the errors; one column more for `others` each.
    pub fn measure(&self, chips: &[Range<usize>], others: &[(Measure, Vec<f64>)]) -> Misfit {
        let [n_stars, n_pixels] = self.residual.dims();
        let host = |tensor: &Tensor<2>| to_f64(tensor.clone());
        let (residual, weight, ivar) = (host(&self.residual), host(&self.weight), host(&self.ivar));
        // A single chip is the whole.
        let chips = if chips.len() > 1 { chips } else { &[] };
        let star = |n: usize| {
            let of = |values: &'_ [f64]| values[n * n_pixels..(n + 1) * n_pixels].to_vec();
            let (residual, weight, ivar) = (of(&residual), of(&weight), of(&ivar));
            let mut row = vec![chi2_per_pixel(&residual, &weight)];
            row.extend(chips.iter().map(|chip| chi2_per_pixel(&residual[chip.clone()], &weight[chip.clone()])));
            let counts = (0..n_pixels).filter(|j| weight[*j] > 0.0);
            let mut squares: Vec<f64> = counts.map(|j| ivar[j] * residual[j] * residual[j]).collect();
            row.push(median_in_place(&mut squares));
            row
        };
        let rows: Vec<f64> = (0..n_stars).into_par_iter().flat_map_iter(star).collect();
        let mut measures = vec![Measure::Chi2];
        measures.extend((0..chips.len()).map(Measure::Chi2OfChip));
        measures.push(Measure::Errors);
        let n_own = measures.len();
        measures.extend(others.iter().map(|(measure, _)| *measure));
        let values = Array2::from_shape_fn((n_stars, measures.len()), |(n, m)| {
            if m < n_own { rows[n * n_own + m] } else { others[m - n_own].1[n] }
        });
        Misfit { measures, values }
    }
}

/// NaN where no pixel counts.
fn chi2_per_pixel(residual: &[f64], weight: &[f64]) -> f64 {
    let (mut chi2, mut count) = (0.0, 0_u32);
    for (residual, weight) in residual.iter().zip(weight).filter(|(_, weight)| **weight > 0.0) {
        chi2 += weight * residual * residual;
        count += 1;
    }
    chi2 / f64::from(count)
}

/// How far labels are from others.
#[derive(Debug, Clone)]
pub struct Distance {
    mean: Vec<f64>,
    /// Inverse of the covariance.
    metric: DMatrix<f64>,
}

impl Distance {
    /// From labels or other numbers of some stars, [n_stars, n]; `None` where they are too few to have a covariance.
    pub fn new(stars: ArrayView2<f64>) -> Option<Self> {
        let (n_stars, n) = stars.dim();
        if n_stars < 2 * n + 2 || stars.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let mean: Vec<f64> = stars.columns().into_iter().map(|column| column.sum() / n_stars as f64).collect();
        let product = |k: usize, l: usize| stars.rows().into_iter().map(|s| (s[k] - mean[k]) * (s[l] - mean[l])).sum();
        let covariance = DMatrix::from_fn(n, n, |k, l| -> f64 { product(k, l) }) / n_stars as f64;
        Some(Self { metric: covariance.try_inverse()?, mean })
    }

    /// Square distance of a star from the mean, in units of the others' spread.
    pub fn square(&self, star: ArrayView1<f64>) -> f64 {
        let n = self.mean.len();
        let away: Vec<f64> = (0..n).map(|k| star[k] - self.mean[k]).collect();
        (0..n * n).map(|i| away[i / n] * self.metric[(i / n, i % n)] * away[i % n]).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use ndarray::array;

    #[test]
    fn measures_of_a_spectrum_worked_out_by_hand() {
        let compute = Compute::flex(Precision::F64);
        // Two chips of two pixels; the last pixel does not count.
        let comparison = Comparison {
            residual: compute.tensor(&[0.1, 0.2, 0.3, 9.0], [1, 4]),
            weight: compute.tensor(&[100.0, 25.0, 50.0, 0.0], [1, 4]),
            ivar: compute.tensor(&[200.0, 50.0, 100.0, 0.0], [1, 4]),
        };
        let found = comparison.measure(&[0..2, 2..4], &[(Measure::Labels, vec![7.0])]);
        use Measure::*;
        assert_eq!(found.measures, [Chi2, Chi2OfChip(0), Chi2OfChip(1), Errors, Labels]);
        // chi^2 1 + 1 + 4.5 of three pixels; squares in units of the errors 2, 2 and 9.
        let expected = [6.5 / 3.0, 1.0, 4.5, 2.0, 7.0];
        assert!(found.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    }

    #[test]
    fn nuisances_are_taken_out_as_far_as_they_are_probable() {
        let compute = Compute::flex(Precision::F64);
        let columns = compute.tensor(&[1.0, 2.0, 0.0], [3, 1]);
        let pairs = compute.tensor(&[1.0, 4.0, 0.0], [3, 1]);
        let mut comparison = Comparison {
            residual: compute.tensor(&[3.0, 6.0, 1.0], [1, 3]),
            weight: compute.tensor(&[2.0, 2.0, 2.0], [1, 3]),
            ivar: compute.tensor(&[2.0, 2.0, 2.0], [1, 3]),
        };
        // B^T W B = 10, B^T W r = 30: z = 30 / 11.
        let z = comparison.take_out(&columns, &pairs);
        assert!((z[0] - (30.0_f64 / 11.0).powi(2)).abs() < 1e-12);
        let residual = to_f64(comparison.residual);
        assert!((residual[1] - (6.0 - 60.0 / 11.0)).abs() < 1e-12 && residual[2] == 1.0);
    }

    #[test]
    fn distances_are_in_units_of_the_spread() {
        let stars = array![[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0], [0.0, -2.0], [1.0, 2.0], [-1.0, -2.0]];
        let distance = Distance::new(stars.view()).unwrap();
        // Mean 0, covariance [[4, 4], [4, 16]] / 6: inverse [[2, -0.5], [-0.5, 0.5]].
        assert!((distance.square(array![3.0, 0.0].view()) - 18.0).abs() < 1e-12);
        assert!((distance.square(array![1.0, 2.0].view()) - 2.0).abs() < 1e-12);
        assert!(Distance::new(stars.slice(ndarray::s![..5, ..])).is_none());
    }
}
