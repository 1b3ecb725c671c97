//! The profile likelihood of one pixel in its scatter variance s^2, in f64 and exact at every trial, with the proof of its maximum.
//!
//! At fixed s^2 the coefficients that maximise the likelihood of Ness et al. 2015, Eq. 4, are those of weighted least squares; what is
//! left is a function of s^2 alone:
//!
//! ```text
//! ln L(s^2) = -1/2 sum_n [ln 2 pi (sigma_n^2 + s^2) + r_n^2 / (sigma_n^2 + s^2)],   r = f - X theta(s^2)
//! ```

use nalgebra::DVector;
use ndarray::ArrayView2;

use super::normal_matrix::NormalFactor;
use super::scatter_bracket::{ProfilePoint, bracket, trial_values};

/// Trial values of s^2, equally spaced in ln(s^2 + smallest sigma^2).
const TRIALS: usize = 60;
/// Halvings of the interval that holds the maximum.
const HALVINGS: usize = 60;

/// A pixel's flux in the stars that have it, and its model's design.
#[derive(Debug, Clone)]
pub struct ScatterProfile {
    /// `[n_stars][n_terms]`.
    design: Vec<Vec<f64>>,
    flux: Vec<f64>,
    variance: Vec<f64>,
}

/// Where the maximum of the likelihood lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScatterMaximum {
    /// Every s^2 outside of these is excluded by an upper bound of its likelihood.
    pub bracket: (f64, f64),
    /// Whether the likelihood rises to one maximum inside and falls behind it, at all trials.
    pub one_hill: bool,
    /// The s^2 at which the derivative changes its sign inside, or 0 where the likelihood falls from there on.
    pub s2: f64,
}

/// Least squares at one s^2.
struct Point {
    profile: ProfilePoint,
    /// sum w^2 r^2 - w: twice the derivative of ln L by s^2.
    slope: f64,
    largest_square: f64,
}

impl ScatterProfile {
    /// Of one pixel; stars without information (`ivar` 0) take no part.
    ///
    /// # Shapes
    /// - design: `[n_stars, n_terms]`
    /// - flux, ivar: `[n_stars]`
    pub fn new(design: ArrayView2<f64>, flux: &[f64], ivar: &[f64]) -> Self {
        let informative: Vec<usize> = (0..flux.len()).filter(|star| ivar[*star] > 0.0).collect();
        let of = |values: &dyn Fn(usize) -> f64| informative.iter().map(|star| values(*star)).collect();
        Self {
            design: informative.iter().map(|star| design.row(*star).to_vec()).collect(),
            flux: of(&|star| flux[star]),
            variance: of(&|star| 1.0 / ivar[star]),
        }
    }

    /// Stars that have the pixel.
    pub fn n_stars(&self) -> usize {
        self.flux.len()
    }

    /// ln L at an s^2; none where the stars do not determine the coefficients.
    pub fn log_likelihood(&self, s2: f64) -> Option<f64> {
        let constant = self.n_stars() as f64 * (2.0 * std::f64::consts::PI).ln();
        Some(self.solve(s2)?.profile.attained() - 0.5 * constant)
    }

    /// The maximum; none where the stars do not determine the coefficients.
    pub fn maximum(&self) -> Option<ScatterMaximum> {
        let smallest = self.variance.iter().copied().reduce(f64::min)?;
        let harmonic = self.n_stars() as f64 / self.variance.iter().map(|variance| 1.0 / variance).sum::<f64>();
        // Beyond the largest r^2 at any fixed theta the likelihood falls, and theta only lowers sum w r^2.
        let largest = self.solve(harmonic)?.largest_square.max(1e-3 * smallest);
        let points: Option<Vec<ProfilePoint>> =
            trial_values(smallest, largest, TRIALS).into_iter().map(|s2| Some(self.solve(s2)?.profile)).collect();
        let found = bracket(&points?, smallest, 1e-9 * self.n_stars() as f64);
        let (mut low, mut high) = (found.low, found.high);
        if self.solve(low)?.slope <= 0.0 {
            high = low;
        }
        for _ in 0..HALVINGS {
            // In equal ratios of s^2 + m: s^2 may be many orders below its upper end.
            let middle = ((low + smallest) * (high + smallest)).sqrt() - smallest;
            if self.solve(middle)?.slope > 0.0 { low = middle } else { high = middle }
        }
        Some(ScatterMaximum { bracket: (found.low, found.high), one_hill: found.one_hill, s2: high })
    }

    fn solve(&self, s2: f64) -> Option<Point> {
        let n_terms = self.design.first()?.len();
        let weight: Vec<f64> = self.variance.iter().map(|variance| 1.0 / (variance + s2)).collect();
        let mut normal = Vec::with_capacity(n_terms * (n_terms + 1) / 2);
        let mut right = DVector::zeros(n_terms);
        for i in 0..n_terms {
            for j in i..n_terms {
                normal.push(self.design.iter().zip(&weight).map(|(row, weight)| weight * row[i] * row[j]).sum());
            }
            let terms = self.design.iter().zip(&weight).zip(&self.flux);
            right[i] = terms.map(|((row, weight), flux)| weight * row[i] * flux).sum();
        }
        let theta = NormalFactor::new(&normal, n_terms)?.solve(&right);
        let square = |(row, flux): (&Vec<f64>, &f64)| {
            let model: f64 = row.iter().zip(theta.iter()).map(|(term, theta)| term * theta).sum();
            (flux - model).powi(2)
        };
        let squares: Vec<f64> = self.design.iter().zip(&self.flux).map(square).collect();
        let chi2 = weight.iter().zip(&squares).map(|(weight, square)| weight * square).sum();
        Some(Point {
            profile: ProfilePoint {
                s2,
                log_variance: -weight.iter().map(|weight| weight.ln()).sum::<f64>(),
                sum_weight: weight.iter().sum(),
                chi2_above: chi2,
                chi2_below: chi2,
            },
            slope: weight.iter().zip(&squares).map(|(weight, square)| weight * weight * square - weight).sum(),
            largest_square: squares.into_iter().fold(0.0, f64::max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};
    use crate::models::cannon::NO_INFORMATION;
    use crate::training::cannon_config::CannonConfig;
    use crate::training::closed_form::train;
    use ndarray::Array2;

    const N_STARS: usize = 200;

    /// Numbers without order, about -1 to 1.
    fn noise(n: usize, salt: u64) -> Vec<f64> {
        let number = |i: usize| {
            let mixed = (i as u64 + 1)
                .wrapping_mul(0x9E37_79B9_7F4A_7C15)
                .wrapping_add(salt.wrapping_mul(0xD1B5_4A32_D192_ED03));
            let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            2.0 * ((mixed ^ (mixed >> 32)) >> 11) as f64 / (1u64 << 53) as f64 - 1.0
        };
        (0..n).map(number).collect()
    }

    #[test]
    fn where_all_errors_are_equal_s2_is_the_mean_square_beyond_them() {
        // Two stars at each label, so that least squares is exact: theta from the mean of the two.
        let design = Array2::from_shape_fn((4, 2), |(star, term)| if term == 0 { 1.0 } else { [0.0, 1.0][star / 2] });
        let (flux, sigma2): ([f64; 4], f64) = ([1.3, 0.7, 2.1, 1.9], 0.01);
        let maximum = ScatterProfile::new(design.view(), &flux, &[1.0 / sigma2; 4]).maximum().unwrap();
        let expected = (2.0 * 0.3_f64.powi(2) + 2.0 * 0.1_f64.powi(2)) / 4.0 - sigma2;
        assert!((maximum.s2 - expected).abs() < 1e-9 && maximum.one_hill, "{maximum:?} {expected}");
        assert!(maximum.bracket.0 <= maximum.s2 && maximum.s2 <= maximum.bracket.1);
        // Less than the noise: no scatter.
        let quiet = ScatterProfile::new(design.view(), &flux, &[1.0; 4]).maximum().unwrap();
        assert_eq!(quiet.s2, 0.0);
        assert!(ScatterProfile::new(design.view(), &flux, &[0.0; 4]).maximum().is_none());
        assert!(ScatterProfile::new(design.view(), &flux, &[1.0, 1.0, 0.0, 0.0]).maximum().is_none());
    }

    #[test]
    fn training_finds_the_maximum_that_is_found_here() {
        let (labels, offsets) = (noise(N_STARS, 1), noise(2 * N_STARS, 2));
        let scaled = Array2::from_shape_vec((N_STARS, 1), labels.clone()).unwrap();
        let flux = Array2::from_shape_fn((N_STARS, 2), |(star, pixel)| {
            let size = [0.02, 0.004][pixel];
            (1.0 - 0.1 * labels[star] + size * offsets[2 * star + pixel]) as f32
        });
        let ivar = Array2::from_shape_fn((N_STARS, 2), |(star, pixel)| {
            if (star + pixel) % 9 == 0 { 0.0 } else { 1e4 * (1.0 + (star % 5) as f32) }
        });
        let compute = Compute::flex(Precision::F64);
        let (cannon, _) = train(&CannonConfig::default(), scaled.view(), flux.view(), ivar.view(), &compute).unwrap();
        let design = Array2::from_shape_fn((N_STARS, 3), |(star, term)| labels[star].powi(term as i32));
        for (pixel, trained) in to_f64(cannon.s2.val()).into_iter().enumerate() {
            let column =
                |values: &Array2<f32>| values.column(pixel).iter().map(|value| f64::from(*value)).collect::<Vec<f64>>();
            let profile = ScatterProfile::new(design.view(), &column(&flux), &column(&ivar));
            let found = profile.maximum().unwrap();
            assert!(trained < NO_INFORMATION && (trained - found.s2).abs() <= 1e-4 * found.s2, "{trained} {found:?}");
            let at = |s2: f64| profile.log_likelihood(s2).unwrap();
            assert!(at(found.s2) > at(1.1 * found.s2 + 1e-7) && at(found.s2) >= at(0.9 * found.s2));
            assert_eq!(found.s2 > 0.0, pixel == 0);
        }
    }
}
