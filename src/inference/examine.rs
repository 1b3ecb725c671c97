//! Spectra beside what a model makes of them, pixel by pixel: the numbers that tell how well it describes each star.

use std::f64::consts::TAU;
use std::ops::Range;

use burn::tensor::Tensor;
use nalgebra::DMatrix;
use ndarray::{Array2, ArrayView1, ArrayView2};
use rayon::prelude::*;

use super::amplitudes::{Amplitudes, NuisanceSpectra};
use crate::device::to_f64;
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
    /// Takes nuisance spectra out of the residuals, as much of each as is most probable; `products` as
    /// [`NuisanceSpectra::amplitudes`] takes them.
    pub fn take_out(&mut self, nuisances: &NuisanceSpectra, products: &Tensor<3>) -> Amplitudes {
        let amplitudes = nuisances.amplitudes(&self.residual, &self.weight, products);
        self.residual = self.residual.clone() - nuisances.flux(&amplitudes);
        amplitudes
    }

    /// chi^2 per pixel in all and by chip, the size of the errors, and of the amplitudes of what was taken out; one column more
    /// for `others` each.
    pub fn measure(
        &self,
        chips: &[Range<usize>],
        amplitudes: Option<&Amplitudes>,
        others: &[(Measure, Vec<f64>)],
    ) -> Misfit {
        let [n_stars, n_pixels] = self.residual.dims();
        let host = |tensor: &Tensor<2>| to_f64(tensor.clone());
        let (residual, weight, ivar) = (host(&self.residual), host(&self.weight), host(&self.ivar));
        // A single chip is the whole.
        let chips = if chips.len() > 1 { chips } else { &[] };
        let star = |n: usize| {
            let of = |values: &'_ [f64]| values[n * n_pixels..(n + 1) * n_pixels].to_vec();
            let (residual, weight, ivar) = (of(&residual), of(&weight), of(&ivar));
            let counts: Vec<usize> = (0..n_pixels).filter(|j| weight[*j] > 0.0).collect();
            let chi2 = chi2_per_pixel(&residual, &weight);
            let mut row = vec![chi2];
            row.extend(chips.iter().map(|chip| chi2_per_pixel(&residual[chip.clone()], &weight[chip.clone()])));
            row.push(median_in_place(
                &mut counts.iter().map(|j| ivar[*j] * residual[*j].powi(2)).collect::<Vec<f64>>(),
            ));
            row.extend(amplitudes.map(|amplitudes| amplitudes.squares[n]));
            row.extend(others.iter().map(|(_, values)| values[n]));
            let integrated = amplitudes.map_or(0.0, |own| own.squares[n] + own.ln_determinants[n]);
            let ln_variances = -counts.iter().map(|j| weight[*j].ln()).sum::<f64>();
            let per_pixel = chi2 + (ln_variances + integrated) / counts.len() as f64;
            (row, -0.5 * (per_pixel + TAU.ln()))
        };
        let (rows, ln_likelihood): (Vec<Vec<f64>>, Vec<f64>) = (0..n_stars).into_par_iter().map(star).unzip();
        let mut measures = vec![Measure::Chi2];
        measures.extend((0..chips.len()).map(Measure::Chi2OfChip));
        measures.push(Measure::Errors);
        measures.extend(amplitudes.map(|_| Measure::Nuisances));
        measures.extend(others.iter().map(|(measure, _)| *measure));
        let values = Array2::from_shape_vec((n_stars, measures.len()), rows.concat()).expect("a row has all measures");
        Misfit { measures, values, ln_likelihood }
    }
}

/// How much of the structure of a reference spectrum, [1, n_pixels], spectra show: their slopes against it by weighted least
/// squares, the level being free.
///
/// # Shapes
/// - flux, weight: `[n_stars, n_pixels]`
pub fn structure(flux: &Tensor<2>, weight: &Tensor<2>, reference: &Tensor<2>) -> (Measure, Vec<f64>) {
    /// Of a featureless or inverted spectrum: measures are positive.
    const LEAST: f64 = 1e-3;
    let level = (weight.clone() * reference.clone()).sum_dim(1) / weight.clone().sum_dim(1);
    let shape = reference.clone() - level;
    let weighted = weight.clone() * shape.clone();
    let slope = (weighted.clone() * flux.clone()).sum_dim(1) / (weighted * shape).sum_dim(1);
    (Measure::Structure, to_f64(slope).into_iter().map(|slope| if slope < LEAST { LEAST } else { slope }).collect())
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
    use crate::device::{Compute, Precision};
    use crate::models::pairs::PairSums;
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
        let found = comparison.measure(&[0..2, 2..4], None, &[(Measure::Labels, vec![7.0])]);
        use Measure::*;
        assert_eq!(found.measures, [Chi2, Chi2OfChip(0), Chi2OfChip(1), Errors, Labels]);
        // chi^2 1 + 1 + 4.5 of three pixels; squares in units of the errors 2, 2 and 9.
        let expected = [6.5 / 3.0, 1.0, 4.5, 2.0, 7.0];
        assert!(found.values.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        // Normal densities at 1, 1 and sqrt(4.5) standard deviations of 0.1, 0.2 and 1 / sqrt(50).
        let density = |residual: f64, weight: f64| 0.5 * ((weight / TAU).ln() - weight * residual * residual);
        let expected = (density(0.1, 100.0) + density(0.2, 25.0) + density(0.3, 50.0)) / 3.0;
        assert!((found.ln_likelihood[0] - expected).abs() < 1e-12);
    }

    #[test]
    fn nuisances_are_taken_out_as_far_as_they_are_probable() {
        let compute = Compute::flex(Precision::F64);
        let columns = compute.tensor(&[1.0, 2.0, 0.0], [3, 1]);
        let mut comparison = Comparison {
            residual: compute.tensor(&[3.0, 6.0, 1.0], [1, 3]),
            weight: compute.tensor(&[2.0, 2.0, 2.0], [1, 3]),
            ivar: compute.tensor(&[2.0, 2.0, 2.0], [1, 3]),
        };
        // B^T W B = 10, B^T W r = 30: z = 30 / 11.
        let products = PairSums::new(columns.clone()).matrices(&comparison.weight);
        let z = comparison.take_out(&NuisanceSpectra::new(columns), &products);
        assert!((z.squares[0] - (30.0_f64 / 11.0).powi(2)).abs() < 1e-12);
        assert!((z.ln_determinants[0] - 11.0_f64.ln()).abs() < 1e-12);
        // Integrating z out is a normal density of covariance 1 / W + B B^T.
        let covariance = nalgebra::DMatrix::<f64>::from_row_slice(3, 3, &[1.5, 2.0, 0.0, 2.0, 4.5, 0.0, 0.0, 0.0, 0.5]);
        let residual = nalgebra::DVector::from_column_slice(&[3.0, 6.0, 1.0]);
        let chi2 = residual.dot(&covariance.clone().lu().solve(&residual).unwrap());
        let expected = -0.5 * (chi2 + covariance.determinant().ln() + 3.0 * TAU.ln()) / 3.0;
        let found = comparison.measure(std::slice::from_ref(&(0..3)), Some(&z), &[]);
        assert!((found.ln_likelihood[0] - expected).abs() < 1e-12);
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
