//! The likelihood of a block of pixels as a descent sees it: coefficients and scatter in units in which it is round.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use nalgebra::DMatrix;
use rand_chacha::ChaCha8Rng;

use super::descent::Objective;
use crate::device::{Compute, indices, to_f64};
use crate::error::Result;
use crate::models::FluxPrediction;
use crate::models::likelihood::log_likelihood;

/// Width of the rounded tip of |a| in an L1 penalty, in units of the noise of one star in one pixel: far below the formal
/// error of a coefficient, which is that noise over the root of the number of stars.
const TIP: f64 = 1e-3;
/// Largest curvature of the tip, where the curvature of the likelihood is one; a strong penalty's tip is wider for it.
const SHARPEST: f64 = 3e3;
/// Coefficients below so many widths were held at nil by the penalty: its tip leaves them at `p / sqrt(1 - p^2)` widths,
/// with p the share of the penalty's slope that the data pull with, and this is p = 0.98.
const NIL: f64 = 5.0;

/// Functions of the labels that replace the terms in a descent: values = terms . to_theta.
///
/// `to_theta`, [n_terms, n_terms], is upper triangular and turns coefficients of these functions into theta.
pub(super) struct Basis {
    /// [n_stars, n_terms]
    pub values: DMatrix<f64>,
    pub to_theta: DMatrix<f64>,
}

impl Basis {
    /// Orthonormal over the stars under their typical weights, so that the likelihood is nearly as round as it can be:
    /// with X^T W X / n_stars = L L^T, the functions are X L^-T. `None` if the stars do not determine all terms.
    pub fn orthonormal(design: &DMatrix<f64>, star_weight: &[f64]) -> Option<Self> {
        let (n_stars, n_terms) = design.shape();
        let weighted = DMatrix::from_fn(n_stars, n_terms, |n, t| star_weight[n] * design[(n, t)] / n_stars as f64);
        let factor = (design.transpose() * weighted).cholesky()?.l();
        let to_theta = factor.transpose().solve_upper_triangular(&DMatrix::identity(n_terms, n_terms))?;
        to_theta.iter().all(|value| value.is_finite()).then(|| Self { values: design * &to_theta, to_theta })
    }

    /// The terms themselves, each without its mean and in units of its spread: what is nil here is nil in theta too.
    pub fn scaled(design: &DMatrix<f64>, star_weight: &[f64]) -> Self {
        let (n_stars, n_terms) = design.shape();
        let total: f64 = star_weight.iter().sum();
        let mean = |of: &dyn Fn(usize) -> f64| (0..n_stars).map(|n| star_weight[n] * of(n)).sum::<f64>() / total;
        let mut to_theta = DMatrix::identity(n_terms, n_terms);
        for term in 1..n_terms {
            let centre = mean(&|n| design[(n, term)]);
            let spread = mean(&|n| (design[(n, term)] - centre).powi(2)).sqrt().max(f64::MIN_POSITIVE);
            to_theta[(0, term)] = -centre / spread;
            to_theta[(term, term)] = 1.0 / spread;
        }
        Self { values: design * &to_theta, to_theta }
    }
}

/// What descends: all of order one, with a curvature of order one.
#[derive(Module, Debug)]
pub(super) struct PixelUnits {
    /// Coefficients of the basis, [n_terms, n_pixels], in units of the pixel's noise.
    pub coefficients: Param<Tensor<2>>,
    /// Intrinsic scatter s, [1, n_pixels], in units of the pixel's noise; only its square counts. Where no scatter is best,
    /// the square makes s = 0 an ordinary minimum, which a logarithm would only approach.
    pub scatter: Param<Tensor<2>>,
}

impl PixelUnits {
    /// From coefficients, [n_terms, n_pixels] row-major, and scatter, `[n_pixels]`.
    pub fn new(coefficients: &[f64], scatter: &[f64], compute: &Compute) -> Self {
        let n_pixels = scatter.len();
        Self {
            coefficients: Param::from_tensor(
                compute.tensor(coefficients, [coefficients.len() / n_pixels.max(1), n_pixels]),
            ),
            scatter: Param::from_tensor(compute.tensor(scatter, [1, n_pixels])),
        }
    }
}

/// The objective: -ln L per star, summed over the pixels, plus the penalty.
pub(super) struct BlockObjective {
    /// [n_stars, n_terms]
    pub basis: Tensor<2>,
    /// Derivatives of the basis times the errors of the labels, [n_stars, n_labels, n_terms].
    pub label_noise: Option<Tensor<3>>,
    /// Flux minus the pixel's mean, in units of the pixel's noise, and its inverse variance, [n_stars, n_pixels].
    pub flux: Tensor<2>,
    pub ivar: Tensor<2>,
    /// What makes up for stars without information, [1, n_pixels]: root of all stars over those that know the pixel.
    pub stretch: Tensor<2>,
    /// 1 where a term may act, 0 elsewhere, [n_terms, n_pixels]; none if all may.
    pub allowed: Option<Tensor<2>>,
    /// What takes coefficients away.
    pub penalty: Option<Penalty>,
}

/// An L1 penalty, its tip rounded: `strength (sqrt(a^2 + tip^2) - tip)`.
pub(super) struct Penalty {
    /// Per unit of a coefficient, [n_terms, n_pixels]; nil for the constant.
    strength: Tensor<2>,
    tip: Tensor<2>,
    /// Coefficients below this are nil, [n_terms, n_pixels] row-major.
    nil: Vec<f64>,
}

impl Penalty {
    /// From its strengths, [n_terms, n_pixels] row-major.
    pub fn new(strength: &[f64], n_pixels: usize, compute: &Compute) -> Self {
        let shape = [strength.len() / n_pixels, n_pixels];
        let tip: Vec<f64> = strength.iter().map(|strength| TIP.max(strength / SHARPEST)).collect();
        Self {
            strength: compute.tensor(strength, shape),
            nil: tip
                .iter()
                .zip(strength)
                .map(|(tip, strength)| if *strength > 0.0 { NIL * tip } else { 0.0 })
                .collect(),
            tip: compute.tensor(&tip, shape),
        }
    }

    /// The penalty of coefficients that record.
    fn of(&self, coefficients: Tensor<2>) -> Tensor<1> {
        let [strength, tip] = [&self.strength, &self.tip].map(|tensor| Tensor::<2>::from_inner(tensor.clone()));
        (strength * ((coefficients.square() + tip.clone().square()).sqrt() - tip)).sum()
    }
}

impl BlockObjective {
    /// ln L of each of some stars, [n_rows, 1], in the block's units; the module records.
    fn likelihood(&self, module: &PixelUnits, rows: &[usize]) -> Tensor<2> {
        let all = rows.len() == self.n_rows();
        let index = indices(rows, &self.flux.device());
        let of_rows = |tensor: &Tensor<2>| {
            Tensor::<2>::from_inner(if all { tensor.clone() } else { tensor.clone().select(0, index.clone()) })
        };
        let stretch = Tensor::<2>::from_inner(self.stretch.clone());
        let coefficients = self.acting(module.coefficients.val()) * stretch.clone();
        let mut variance = (module.scatter.val() * stretch).square();
        if let Some(noise) = &self.label_noise {
            let noise =
                Tensor::<3>::from_inner(if all { noise.clone() } else { noise.clone().select(0, index.clone()) });
            let [n_stars, n_labels, n_terms] = noise.dims();
            let [_, n_pixels] = coefficients.dims();
            let slope = noise.reshape([n_stars * n_labels, n_terms]).matmul(coefficients.clone());
            let of_labels = slope.square().reshape([n_stars, n_labels, n_pixels]).sum_dim(1);
            variance = variance + of_labels.reshape([n_stars, n_pixels]);
        }
        let model = FluxPrediction { mean: of_rows(&self.basis).matmul(coefficients), variance };
        log_likelihood(of_rows(&self.flux), of_rows(&self.ivar), &model)
    }

    /// Coefficients, those that must not act put to nil: their gradient is nil too.
    fn acting(&self, coefficients: Tensor<2>) -> Tensor<2> {
        match &self.allowed {
            Some(allowed) => coefficients * Tensor::from_inner(allowed.clone()),
            None => coefficients,
        }
    }

    /// Where the descent ended, `module` on a device that records.
    pub fn finish(&self, module: &PixelUnits) -> Finished {
        let rows: Vec<usize> = (0..self.n_rows()).collect();
        let likelihood = self.likelihood(module, &rows);
        let log_likelihood = to_f64(likelihood.clone().inner()).into_iter().sum();
        let gradients = self.penalized(likelihood, module).backward();
        let gradient = |tensor: Tensor<2>| tensor.grad(&gradients).map(to_f64).expect("every parameter has a gradient");
        let (slope, scatter_slope) = (gradient(module.coefficients.val()), gradient(module.scatter.val()));
        let mut coefficients = to_f64(self.acting(module.coefficients.val()).inner());
        let n_pixels = scatter_slope.len();
        let mut squares: Vec<f64> = scatter_slope.iter().map(|slope| slope * slope).collect();
        for (entry, coefficient) in coefficients.iter_mut().enumerate() {
            if self.penalty.as_ref().is_some_and(|penalty| coefficient.abs() < penalty.nil[entry]) {
                *coefficient = 0.0;
            } else {
                squares[entry % n_pixels] += slope[entry] * slope[entry];
            }
        }
        let stretch = to_f64(self.stretch.clone());
        coefficients.iter_mut().enumerate().for_each(|(entry, value)| *value *= stretch[entry % n_pixels]);
        let scatter = to_f64(module.scatter.val().inner());
        Finished {
            coefficients,
            variance: scatter.iter().zip(&stretch).map(|(scatter, stretch)| (scatter * stretch).powi(2)).collect(),
            // Curvature one: a gradient g is g from the minimum, and g^2 / 2 above it.
            to_gain: squares.into_iter().map(|square| 0.5 * square * rows.len() as f64).collect(),
            log_likelihood,
        }
    }

    /// The loss, from ln L of some stars, [n_rows, 1].
    fn penalized(&self, likelihood: Tensor<2>, module: &PixelUnits) -> Tensor<1> {
        let [n_rows, _] = likelihood.dims();
        let loss = likelihood.sum().neg() / n_rows as f64;
        match &self.penalty {
            Some(penalty) => loss + penalty.of(self.acting(module.coefficients.val())),
            None => loss,
        }
    }
}

impl Objective<PixelUnits> for BlockObjective {
    type Batch = Vec<usize>;

    fn n_rows(&self) -> usize {
        self.flux.dims()[0]
    }

    fn batch(&self, rows: &[usize]) -> Result<Vec<usize>> {
        Ok(rows.to_vec())
    }

    fn loss(&self, module: &PixelUnits, rows: &Vec<usize>, _random: &mut ChaCha8Rng) -> Tensor<1> {
        self.penalized(self.likelihood(module, rows), module)
    }
}

/// A block after its descent, in units of the pixels' noise.
pub(super) struct Finished {
    /// Coefficients of the basis, [n_terms, n_pixels]; exactly 0 where penalty or window hold them.
    pub coefficients: Vec<f64>,
    /// s^2, `[n_pixels]`.
    pub variance: Vec<f64>,
    /// Estimate of what each pixel's ln L could still gain.
    pub to_gain: Vec<f64>,
    /// ln L of all stars and pixels.
    pub log_likelihood: f64,
}
