//! Closed-form training of The Cannon: every pixel at once, as matrix products over all stars.
//!
//! For pixels j and stars n, with `w = 1 / (sigma^2 + s2)`: the normal matrices of *all* pixels are one product
//! `w^T [x_t x_u]`, theta follows by Cholesky, and since dL/ds2 needs no derivative of theta (envelope theorem),
//! s2 is the root of `sum w^2 r^2 - w` found by Newton steps on the residuals at hand. theta moves little with s2, so
//! theta and s2 alternate to convergence; [`super::scatter_bracket`] proves beforehand where the global maximum is.

use burn::tensor::{DType, Tensor};
use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use ndarray::{ArrayView2, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::scatter_bracket::{Bracket, ProfilePoint, bracket, trial_values};
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::cannon::{Cannon, CannonConfig, NO_INFORMATION};
use crate::models::likelihood::inverse_total_variance;
use crate::models::vectorizer::Vectorizer;

/// Trial values of s2 in the first search; doubled for pixels whose bracket is not proven.
const FIRST_TRIALS: usize = 7;
/// Trial values beyond which an unproven bracket is accepted and counted.
const MOST_TRIALS: usize = 52;
/// Relative change of s2 + sigma^2 at which theta and s2 have converged.
const TOLERANCE: f64 = 1e-6;
/// Alternations of theta and s2 at most; convergence takes two to four.
const MOST_ROUNDS: usize = 20;

/// What training found, for the run's report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Stars that trained.
    pub n_stars: usize,
    /// Pixels trained.
    pub n_valid_pixels: usize,
    /// Pixels without enough informative stars, excluded from every fit.
    pub n_invalid_pixels: usize,
    /// Valid pixels whose bracket of the global maximum in s2 is proven.
    pub n_proven_pixels: usize,
    /// Valid pixels best described without intrinsic scatter.
    pub n_zero_scatter_pixels: usize,
    /// Valid pixels whose alternation stopped before it converged.
    pub n_unconverged_pixels: usize,
}

/// Trains a Cannon.
///
/// # Shapes
/// - scaled_labels: `[n_stars, n_labels]`, finite
/// - flux, ivar: `[n_stars, n_pixels]`, finite
///
/// # Errors
/// [`Error::TooFewStars`] if there are not more stars than terms.
pub fn train(
    config: &CannonConfig,
    scaled_labels: ArrayView2<f64>,
    flux: ArrayView2<f32>,
    ivar: ArrayView2<f32>,
    compute: &Compute,
) -> Result<(Cannon, TrainingReport)> {
    let (n_stars, n_labels) = scaled_labels.dim();
    let n_pixels = flux.ncols();
    let vectorizer = Vectorizer::new(n_labels, config.order);
    let n_terms = vectorizer.n_terms();
    if n_stars <= n_terms {
        return Err(Error::TooFewStars {
            stage: format!("training {n_terms} coefficients per pixel"),
            n_stars,
            needed: n_terms + 1,
            remedy: "widen the selection, or lower the order of the model".into(),
        });
    }
    let labels: Vec<f64> = scaled_labels.iter().copied().collect();
    let design = vectorizer.design_matrix(compute.tensor(&labels, [n_stars, n_labels]));
    let pairs = products_of_columns(&design, compute);
    let blocks: Vec<_> =
        (0..n_pixels).step_by(config.block_pixels).map(|start| start..(start + config.block_pixels).min(n_pixels)).collect();
    let trained: Vec<TrainedBlock> = blocks
        .into_par_iter()
        .map(|pixels| {
            let columns = |matrix: &ArrayView2<f32>| {
                let values = matrix.slice(s![.., pixels.clone()]).iter().copied().collect();
                compute.tensor_f32(values, [n_stars, pixels.len()])
            };
            Block::new(columns(&flux), columns(&ivar), design.clone(), pairs.clone(), compute).train()
        })
        .collect();

    let mut theta = vec![0.0; n_terms * n_pixels];
    let mut s2 = Vec::with_capacity(n_pixels);
    let mut report = TrainingReport { n_stars, ..TrainingReport::default() };
    for block in trained {
        for (column, pixel) in (s2.len()..s2.len() + block.s2.len()).enumerate() {
            for term in 0..n_terms {
                theta[term * n_pixels + pixel] = block.theta[column * n_terms + term];
            }
        }
        s2.extend(block.s2);
        report.n_proven_pixels += block.n_proven;
        report.n_unconverged_pixels += block.n_unconverged;
    }
    report.n_invalid_pixels = s2.iter().filter(|s2| **s2 >= NO_INFORMATION).count();
    report.n_valid_pixels = n_pixels - report.n_invalid_pixels;
    report.n_zero_scatter_pixels = s2.iter().filter(|s2| **s2 == 0.0).count();
    Ok((Cannon::from_coefficients(vectorizer, &theta, &s2, compute), report))
}

/// Products of every pair of columns, [n_rows, n (n + 1) / 2]: (0,0), (0,1), ..., (1,1), ...
pub fn products_of_columns(matrix: &Tensor<2>, compute: &Compute) -> Tensor<2> {
    let [_, n] = matrix.dims();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|a| (a..n).map(move |b| (a, b))).collect();
    let (left, right): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
    matrix.clone().select(1, compute.indices(&left)) * matrix.clone().select(1, compute.indices(&right))
}

/// Result of one block: theta [n_pixels, n_terms], s2 [n_pixels].
struct TrainedBlock {
    theta: Vec<f64>,
    s2: Vec<f64>,
    n_proven: usize,
    n_unconverged: usize,
}

/// Some pixels of all stars.
struct Block {
    /// Flux minus each pixel's weighted mean, so that sums of squares do not cancel in f32; [n_stars, n_pixels].
    flux: Tensor<2>,
    ivar: Tensor<2>,
    mean_flux: Vec<f64>,
    /// [n_stars, n_terms] and its column products.
    design: Tensor<2>,
    pairs: Tensor<2>,
    compute: Compute,
}

/// Least-squares solution of every pixel of a block at its own s2.
struct Solution {
    s2: Vec<f64>,
    /// [n_pixels, n_terms].
    theta: Vec<f64>,
    factors: Vec<Option<Cholesky<f64, Dyn>>>,
    /// Residual flux - theta.x and its square, [n_stars, n_pixels].
    residual: Tensor<2>,
    squared: Tensor<2>,
}

impl Block {
    fn new(flux: Tensor<2>, ivar: Tensor<2>, design: Tensor<2>, pairs: Tensor<2>, compute: &Compute) -> Self {
        let total = ivar.clone().sum_dim(0).clamp_min(f32::MIN_POSITIVE);
        let mean = (ivar.clone() * flux.clone()).sum_dim(0) / total;
        Self { flux: flux - mean.clone(), ivar, mean_flux: to_f64(mean), design, pairs, compute: compute.clone() }
    }

    fn n_pixels(&self) -> usize {
        self.mean_flux.len()
    }

    fn n_terms(&self) -> usize {
        self.design.dims()[1]
    }

    /// The pixels of a block at these positions.
    fn select(&self, pixels: &[usize]) -> Self {
        let index = self.compute.indices(pixels);
        Self {
            flux: self.flux.clone().select(1, index.clone()),
            ivar: self.ivar.clone().select(1, index),
            mean_flux: pixels.iter().map(|pixel| self.mean_flux[*pixel]).collect(),
            design: self.design.clone(),
            pairs: self.pairs.clone(),
            compute: self.compute.clone(),
        }
    }

    fn train(&self) -> TrainedBlock {
        let (n_pixels, n_terms) = (self.n_pixels(), self.n_terms());
        let mut trained = TrainedBlock {
            theta: vec![0.0; n_pixels * n_terms],
            s2: vec![NO_INFORMATION; n_pixels],
            n_proven: 0,
            n_unconverged: 0,
        };
        let informative = to_f64(self.ivar.clone().greater_scalar(0.0).float().sum_dim(0));
        let trainable: Vec<usize> = (0..n_pixels).filter(|pixel| informative[*pixel] > n_terms as f64).collect();
        if trainable.is_empty() {
            return trained;
        }
        let block = self.select(&trainable);
        let brackets = block.brackets();
        trained.n_proven = brackets.iter().flatten().filter(|bracket| bracket.proven).count();
        let solvable: Vec<usize> = (0..trainable.len()).filter(|pixel| brackets[*pixel].is_some()).collect();
        let mut pending = solvable;
        let mut s2: Vec<f64> = brackets.iter().map(|bracket| bracket.map_or(0.0, |bracket| bracket.best)).collect();
        for round in 0..MOST_ROUNDS {
            if pending.is_empty() {
                break;
            }
            let part = block.select(&pending);
            let chosen: Vec<Bracket> = pending.iter().filter_map(|pixel| brackets[*pixel]).collect();
            let trial: Vec<f64> = pending.iter().map(|pixel| s2[*pixel]).collect();
            let (solution, changes) = part.alternate(&trial, &chosen);
            let mut unfinished = Vec::new();
            for (column, &pixel) in pending.iter().enumerate() {
                s2[pixel] = solution.s2[column];
                let target = trainable[pixel];
                if solution.factors[column].is_none() {
                    continue;
                }
                trained.s2[target] = solution.s2[column];
                let theta = &mut trained.theta[target * n_terms..(target + 1) * n_terms];
                theta.copy_from_slice(&solution.theta[column * n_terms..(column + 1) * n_terms]);
                theta[0] += part.mean_flux[column];
                if changes[column] > TOLERANCE {
                    unfinished.push(pixel);
                    trained.n_unconverged += usize::from(round + 1 == MOST_ROUNDS);
                }
            }
            pending = unfinished;
        }
        trained
    }

    /// Brackets each pixel's global maximum; `None` where the stars do not determine theta.
    fn brackets(&self) -> Vec<Option<Bracket>> {
        let n_pixels = self.n_pixels();
        let largest_ivar = to_f64(self.ivar.clone().max_dim(0));
        let absent = self.ivar.clone().lower_equal_scalar(0.0);
        let variance = self.ivar.clone().recip();
        let largest_variance = to_f64(variance.clone().mask_fill(absent.clone(), 0.0).max_dim(0));
        let mean_variance: Vec<f64> = {
            let sum = to_f64(self.ivar.clone().sum_dim(0));
            let count = to_f64(absent.bool_not().float().sum_dim(0));
            (0..n_pixels).map(|pixel| count[pixel] / sum[pixel]).collect()
        };
        let anchor = self.solve(&mean_variance);
        // For any fixed theta, L falls beyond s2 = max r^2 (docs of the module): no maximum lies further out.
        let carrying = self.ivar.clone().greater_scalar(0.0).float();
        let largest: Vec<f64> = to_f64((anchor.squared.clone() * carrying).max_dim(0));

        let mut brackets = vec![None; n_pixels];
        let mut open: Vec<usize> = (0..n_pixels).filter(|pixel| anchor.factors[*pixel].is_some()).collect();
        let mut n_trials = FIRST_TRIALS;
        while !open.is_empty() {
            let smallest: Vec<f64> = open.iter().map(|pixel| 1.0 / largest_ivar[*pixel]).collect();
            let trials: Vec<Vec<f64>> = open
                .iter()
                .zip(&smallest)
                .map(|(pixel, smallest)| trial_values(*smallest, largest[*pixel].max(1e-3 * smallest), n_trials))
                .collect();
            let part = self.select(&open);
            let anchor = anchor.select(&open, &self.compute);
            let mut points: Vec<Vec<ProfilePoint>> = vec![Vec::with_capacity(n_trials); open.len()];
            for trial in 0..n_trials {
                let s2: Vec<f64> = trials.iter().map(|values| values[trial]).collect();
                for (column, mut point) in part.profile(&anchor, &s2).into_iter().enumerate() {
                    // Stale normal matrix: A(w) >= lambda A(w_anchor) with lambda = min w / w_anchor.
                    let (s2, s2_anchor) = (s2[column], anchor.s2[column]);
                    let bound = if s2 > s2_anchor { smallest[column] } else { largest_variance[open[column]] };
                    let lambda = (bound + s2_anchor) / (bound + s2);
                    point.chi2_below = (point.chi2_above - point.chi2_below / lambda).max(0.0);
                    points[column].push(point);
                }
            }
            let n_stars = self.design.dims()[0] as f64;
            let noise = if self.compute.dtype() == DType::F64 { 1e-6 } else { 1e-4 * n_stars.max(100.0) };
            for (column, &pixel) in open.iter().enumerate() {
                brackets[pixel] = Some(bracket(&points[column], smallest[column], noise));
            }
            open.retain(|pixel| !brackets[*pixel].is_some_and(|bracket: Bracket| bracket.proven));
            n_trials = 2 * n_trials - 1;
            if n_trials > MOST_TRIALS {
                break;
            }
        }
        brackets
    }

    /// Alternates s2 (Newton at fixed theta) and theta (one correction with the normal matrix at hand).
    ///
    /// Also returns the relative change of the variance since the normal matrix was computed.
    fn alternate(&self, s2: &[f64], brackets: &[Bracket]) -> (Solution, Vec<f64>) {
        let mut solution = self.solve(s2);
        let smallest: Vec<f64> = to_f64(self.ivar.clone().max_dim(0)).into_iter().map(f64::recip).collect();
        let mut changes = vec![0.0; s2.len()];
        for _ in 0..2 {
            let next = self.scatter_root(&solution, brackets);
            for (pixel, change) in changes.iter_mut().enumerate() {
                *change = (next[pixel] - s2[pixel]).abs() / (smallest[pixel] + next[pixel]);
            }
            solution.s2 = next;
            self.correct(&mut solution);
        }
        (solution, changes)
    }

    fn weight(&self, s2: &[f64]) -> Tensor<2> {
        inverse_total_variance(self.ivar.clone(), self.compute.tensor(s2, [1, s2.len()]))
    }

    /// Weighted least squares of every pixel: one matrix product for all normal matrices.
    fn solve(&self, s2: &[f64]) -> Solution {
        let (n_pixels, n_terms) = (self.n_pixels(), self.n_terms());
        let weight = self.weight(s2);
        let normal = to_f64(weight.clone().transpose().matmul(self.pairs.clone()));
        let right = to_f64((weight * self.flux.clone()).transpose().matmul(self.design.clone()));
        let n_pairs = n_terms * (n_terms + 1) / 2;
        let factors: Vec<Option<Cholesky<f64, Dyn>>> =
            (0..n_pixels).map(|pixel| factorize(&normal[pixel * n_pairs..(pixel + 1) * n_pairs], n_terms)).collect();
        let mut theta = vec![0.0; n_pixels * n_terms];
        add_solutions(&mut theta, &factors, &right);
        let mut solution =
            Solution { s2: s2.to_vec(), residual: self.flux.clone(), squared: self.flux.clone(), theta, factors };
        self.update_residual(&mut solution);
        if self.compute.dtype() != DType::F64 {
            // Takes out the rounding of the f32 products, as in iterative refinement.
            self.correct(&mut solution);
        }
        solution
    }

    /// theta += A^-1 sum w r x at the solution's s2, with the normal matrix of an s2 nearby.
    fn correct(&self, solution: &mut Solution) {
        let right = to_f64((self.weight(&solution.s2) * solution.residual.clone()).transpose().matmul(self.design.clone()));
        add_solutions(&mut solution.theta, &solution.factors, &right);
        self.update_residual(solution);
    }

    fn update_residual(&self, solution: &mut Solution) {
        let theta = self.compute.tensor(&solution.theta, [self.n_pixels(), self.n_terms()]);
        solution.residual = self.flux.clone() - self.design.clone().matmul(theta.transpose());
        solution.squared = solution.residual.clone().square();
    }

    /// Profile points at fixed theta. `chi2_below` holds the correction sum (A^-1 b).b instead, b = sum w r x.
    fn profile(&self, anchor: &Solution, s2: &[f64]) -> Vec<ProfilePoint> {
        let n_terms = self.n_terms();
        let weight = self.weight(s2);
        let chi2 = to_f64((weight.clone() * anchor.squared.clone()).sum_dim(0));
        let right = to_f64((weight.clone() * anchor.residual.clone()).transpose().matmul(self.design.clone()));
        let sum_weight = to_f64(weight.clone().sum_dim(0));
        let masked = self.ivar.clone().lower_equal_scalar(0.0);
        let log_weight = to_f64(weight.mask_fill(masked, 1.0).log().sum_dim(0));
        (0..s2.len())
            .map(|pixel| {
                let b = DVector::from_column_slice(&right[pixel * n_terms..(pixel + 1) * n_terms]);
                let correction = anchor.factors[pixel].as_ref().map_or(0.0, |factor| factor.solve(&b).dot(&b));
                ProfilePoint {
                    s2: s2[pixel],
                    log_variance: -log_weight[pixel],
                    sum_weight: sum_weight[pixel],
                    chi2_above: chi2[pixel],
                    chi2_below: correction,
                }
            })
            .collect()
    }

    /// Root of dL/ds2 = 1/2 sum (w^2 r^2 - w) at fixed residuals, inside each bracket; 0 where L falls from 0 on.
    fn scatter_root(&self, solution: &Solution, brackets: &[Bracket]) -> Vec<f64> {
        let mut s2 = solution.s2.clone();
        let (mut low, mut high): (Vec<f64>, Vec<f64>) = brackets.iter().map(|b| (b.low, b.high)).unzip();
        let smallest: Vec<f64> = to_f64(self.ivar.clone().max_dim(0)).into_iter().map(f64::recip).collect();
        for _ in 0..40 {
            let weight = self.weight(&s2);
            let weight_chi2 = weight.clone() * solution.squared.clone();
            let slope = to_f64((weight.clone() * (weight_chi2.clone() - 1.0)).sum_dim(0));
            let curvature = to_f64((weight.square() * (weight_chi2 * -2.0 + 1.0)).sum_dim(0));
            let mut largest_change = 0.0_f64;
            for pixel in 0..s2.len() {
                if slope[pixel] > 0.0 {
                    low[pixel] = s2[pixel];
                } else {
                    high[pixel] = s2[pixel];
                }
                let newton = s2[pixel] - slope[pixel] / curvature[pixel];
                // Bisect in the total variance where Newton leaves the bracket or the curvature has the wrong sign.
                let next = if newton > low[pixel] && newton < high[pixel] && curvature[pixel] < 0.0 {
                    newton
                } else if high[pixel] <= low[pixel] {
                    high[pixel]
                } else if low[pixel] == 0.0 && newton <= 0.0 && curvature[pixel] < 0.0 {
                    0.0
                } else {
                    ((low[pixel] + smallest[pixel]) * (high[pixel] + smallest[pixel])).sqrt() - smallest[pixel]
                };
                largest_change = largest_change.max((next - s2[pixel]).abs() / (smallest[pixel] + next));
                s2[pixel] = next;
            }
            if largest_change < 0.1 * TOLERANCE {
                break;
            }
        }
        s2
    }
}

impl Solution {
    fn select(&self, pixels: &[usize], compute: &Compute) -> Self {
        let index = compute.indices(pixels);
        let n_terms = self.theta.len() / self.s2.len();
        Self {
            s2: pixels.iter().map(|pixel| self.s2[*pixel]).collect(),
            theta: pixels.iter().flat_map(|p| self.theta[p * n_terms..(p + 1) * n_terms].iter().copied()).collect(),
            factors: pixels.iter().map(|pixel| self.factors[*pixel].clone()).collect(),
            residual: self.residual.clone().select(1, index.clone()),
            squared: self.squared.clone().select(1, index),
        }
    }
}

/// Cholesky factor of a packed symmetric matrix; `None` if it is not positive definite.
fn factorize(packed: &[f64], n: usize) -> Option<Cholesky<f64, Dyn>> {
    let mut matrix = DMatrix::zeros(n, n);
    let mut entry = packed.iter();
    for row in 0..n {
        for column in row..n {
            let value = *entry.next()?;
            matrix[(row, column)] = value;
            matrix[(column, row)] = value;
        }
    }
    Cholesky::new(matrix).filter(|factor| factor.l_dirty().iter().all(|value| value.is_finite()))
}

/// solutions[pixel] += A[pixel]^-1 right[pixel], both [n_pixels, n_terms]; pixels without a factor stay as they are.
fn add_solutions(solutions: &mut [f64], factors: &[Option<Cholesky<f64, Dyn>>], right: &[f64]) {
    let n_terms = right.len() / factors.len().max(1);
    for (pixel, factor) in factors.iter().enumerate() {
        if let Some(factor) = factor {
            let span = pixel * n_terms..(pixel + 1) * n_terms;
            let step = factor.solve(&DVector::from_column_slice(&right[span.clone()]));
            solutions[span].iter_mut().zip(step.iter()).for_each(|(value, step)| *value += step);
        }
    }
}
