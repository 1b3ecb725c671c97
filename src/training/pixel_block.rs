//! Training of a block of pixels of all stars; see [`super::closed_form`] for the method.

use std::sync::OnceLock;

use burn::tensor::{DType, Tensor};
use nalgebra::DVector;

use super::normal_matrix::{NormalFactor, is_borne};
use super::scatter_bracket::{Bracket, ProfilePoint, bracket, trial_values};
use super::scatter_root::scatter_root;
use crate::device::{Compute, to_f64};
use crate::models::cannon::NO_INFORMATION;
use crate::models::pairs::products_of_columns;
use crate::models::vectorizer::Vectorizer;

/// Trial values of s2 at most; a pixel with several hills then climbs the highest trial's, and is counted.
const MOST_TRIALS: usize = 50;
/// Fresh normal matrices per pixel at most; most pixels need one.
const MOST_ROUNDS: usize = 20;

/// A spectrum that departs from a pixel's mean flux by more than this many times what any star that was seen there does is no
/// spectrum: labels of the training set for which no star was seen lie in between.
const MOST_DEPARTURE: f64 = 3.0;

/// Result of one block: theta [n_pixels, n_terms], s2 [n_pixels].
pub(super) struct TrainedBlock {
    pub theta: Vec<f64>,
    pub s2: Vec<f64>,
    /// Pixels trained in f64 because f32 did not bear their normal matrix.
    pub n_in_f64: usize,
    /// Pixels of more stars than terms that lost their information: the stars do not determine their coefficients, or the
    /// coefficients are absurd.
    pub n_refused: usize,
    pub n_several_hills: usize,
    pub n_unconverged: usize,
    /// Pixels whose normal matrix the precision did not bear.
    doubtful: Vec<usize>,
}

/// The design of all stars once more in f64, made when first a pixel asks for it: ill-conditioned sums do not forgive that the
/// terms themselves were rounded.
pub(super) struct ExactDesign {
    vectorizer: Vectorizer,
    /// The terms that act; none for all.
    terms: Option<Vec<usize>>,
    /// Scaled labels, row by row.
    labels: Vec<f64>,
    made: OnceLock<(Tensor<2>, Tensor<2>)>,
}

impl ExactDesign {
    pub fn new(vectorizer: &Vectorizer, labels: &[f64], terms: Option<&[usize]>) -> Self {
        let terms = terms.map(<[usize]>::to_vec);
        Self { vectorizer: vectorizer.clone(), terms, labels: labels.to_vec(), made: OnceLock::new() }
    }

    /// The design, [n_stars, n_terms], and its column products.
    fn get(&self) -> (Tensor<2>, Tensor<2>) {
        let make = || {
            let compute = Compute::small_systems();
            let n_labels = self.vectorizer.n_labels();
            let labels = compute.tensor(&self.labels, [self.labels.len() / n_labels, n_labels]);
            let mut design = self.vectorizer.design_matrix(labels);
            if let Some(terms) = &self.terms {
                design = design.select(1, compute.indices(terms));
            }
            (design.clone(), products_of_columns(&design))
        };
        self.made.get_or_init(make).clone()
    }
}

/// Some pixels of all stars.
#[derive(Clone)]
pub(super) struct Block<'a> {
    /// Flux minus each pixel's weighted mean, so that sums of squares do not cancel in f32; [n_stars, n_pixels].
    flux: Tensor<2>,
    /// sigma^2, [`NO_INFORMATION`] where masked; and 1 where there is information, 0 where masked.
    variance: Tensor<2>,
    informative: Tensor<2>,
    mean_flux: Vec<f64>,
    /// Smallest and largest sigma^2 of each pixel.
    smallest_variance: Vec<f64>,
    largest_variance: Vec<f64>,
    /// [n_stars, n_terms] and its column products.
    design: Tensor<2>,
    pairs: Tensor<2>,
    exact: &'a ExactDesign,
    compute: Compute,
}

/// Least-squares solution of every pixel of a block at its own s2.
#[derive(Clone)]
struct Solution {
    s2: Vec<f64>,
    /// [n_pixels, n_terms].
    theta: Vec<f64>,
    /// Cholesky factors of the normal matrices, and the sums of the weights they were made with.
    factors: Vec<Option<NormalFactor>>,
    sum_weight: Vec<f64>,
    /// Residual flux - theta.x and its square, [n_stars, n_pixels].
    residual: Tensor<2>,
    squared: Tensor<2>,
}

impl<'a> Block<'a> {
    pub fn new(
        flux: Tensor<2>,
        ivar: Tensor<2>,
        (design, pairs): (Tensor<2>, Tensor<2>),
        exact: &'a ExactDesign,
        compute: &Compute,
    ) -> Self {
        let total = ivar.clone().sum_dim(0).clamp_min(f32::MIN_POSITIVE);
        let mean = (ivar.clone() * flux.clone()).sum_dim(0) / total;
        let masked = ivar.clone().lower_equal_scalar(0.0);
        let variance = ivar.mask_fill(masked.clone(), 1.0 / NO_INFORMATION).recip();
        Self {
            flux: flux - mean.clone(),
            mean_flux: to_f64(mean),
            smallest_variance: to_f64(variance.clone().min_dim(0)),
            largest_variance: to_f64(variance.clone().mask_fill(masked.clone(), 0.0).max_dim(0)),
            informative: masked.bool_not().float().cast(compute.dtype()),
            variance,
            design,
            pairs,
            exact,
            compute: compute.clone(),
        }
    }

    fn n_pixels(&self) -> usize {
        self.mean_flux.len()
    }

    fn n_terms(&self) -> usize {
        self.design.dims()[1]
    }

    /// The pixels of a block at these positions.
    fn select(&self, pixels: &[usize]) -> Self {
        if pixels.len() == self.n_pixels() {
            return self.clone();
        }
        let index = self.compute.indices(pixels);
        let pick = |values: &[f64]| pixels.iter().map(|pixel| values[*pixel]).collect();
        Self {
            flux: self.flux.clone().select(1, index.clone()),
            variance: self.variance.clone().select(1, index.clone()),
            informative: self.informative.clone().select(1, index),
            mean_flux: pick(&self.mean_flux),
            smallest_variance: pick(&self.smallest_variance),
            largest_variance: pick(&self.largest_variance),
            design: self.design.clone(),
            pairs: self.pairs.clone(),
            exact: self.exact,
            compute: self.compute.clone(),
        }
    }

    /// Trains every pixel, in f64 where this block's precision does not bear it; what neither does, and absurd coefficients,
    /// are refused: the pixel loses its information.
    pub fn train(&self, scatter_trials: usize) -> TrainedBlock {
        let mut trained = self.climb(scatter_trials);
        if self.compute.dtype() != DType::F64 && !trained.doubtful.is_empty() {
            let pixels = std::mem::take(&mut trained.doubtful);
            let exact = self.select(&pixels).in_f64().climb(scatter_trials);
            trained.take(&pixels, exact);
        }
        trained.n_refused += trained.doubtful.len();
        self.refuse_absurd(&mut trained);
        trained
    }

    /// The same block on the CPU in f64.
    fn in_f64(&self) -> Self {
        let compute = Compute::small_systems();
        let bring = |tensor: &Tensor<2>| compute.bring(tensor.clone());
        let (design, pairs) = self.exact.get();
        Self {
            flux: bring(&self.flux),
            variance: bring(&self.variance),
            informative: bring(&self.informative),
            design,
            pairs,
            compute,
            ..self.clone()
        }
    }

    /// Refuses coefficients that imply spectra far outside what was seen, at the labels of any training star.
    fn refuse_absurd(&self, trained: &mut TrainedBlock) {
        let n_terms = self.n_terms();
        let mut theta = trained.theta.clone();
        theta.iter_mut().step_by(n_terms).zip(&self.mean_flux).for_each(|(constant, mean)| *constant -= mean);
        let theta = self.compute.tensor(&theta, [self.n_pixels(), n_terms]);
        let implied = to_f64(self.design.clone().matmul(theta.transpose()).abs().max_dim(0));
        let seen = to_f64((self.flux.clone() * self.informative.clone()).abs().max_dim(0));
        for pixel in 0..self.n_pixels() {
            let is_absurd = !implied[pixel].is_finite() || implied[pixel] > MOST_DEPARTURE * seen[pixel];
            if trained.s2[pixel] < NO_INFORMATION && is_absurd {
                trained.s2[pixel] = NO_INFORMATION;
                trained.n_refused += 1;
            }
            if trained.s2[pixel] >= NO_INFORMATION {
                trained.theta[pixel * n_terms..(pixel + 1) * n_terms].fill(0.0);
            }
        }
    }

    /// Trains every pixel in this block's precision; those whose normal matrix it does not bear are told as doubtful, without
    /// information.
    fn climb(&self, scatter_trials: usize) -> TrainedBlock {
        let (n_pixels, n_terms) = (self.n_pixels(), self.n_terms());
        let mut trained = TrainedBlock::untrained(n_pixels, n_terms);
        let n_informative = to_f64(self.informative.clone().sum_dim(0));
        let trainable: Vec<usize> = (0..n_pixels).filter(|pixel| n_informative[*pixel] > n_terms as f64).collect();
        if trainable.is_empty() {
            return trained;
        }
        let block = self.select(&trainable);
        let (brackets, mut s2) = block.bracket_and_guess(scatter_trials);
        trained.n_several_hills = brackets.iter().flatten().filter(|bracket| !bracket.one_hill).count();
        let (mut pending, doubtful): (Vec<usize>, Vec<usize>) =
            (0..trainable.len()).partition(|pixel| brackets[*pixel].is_some());
        trained.doubtful = doubtful.into_iter().map(|pixel| trainable[pixel]).collect();
        for round in 0..MOST_ROUNDS {
            if pending.is_empty() {
                break;
            }
            let part = block.select(&pending);
            let chosen: Vec<Bracket> = pending.iter().filter_map(|pixel| brackets[*pixel]).collect();
            let trial: Vec<f64> = pending.iter().map(|pixel| s2[*pixel]).collect();
            let (solution, converged) = part.alternate(&trial, &chosen);
            let mut unfinished = Vec::new();
            for (column, &pixel) in pending.iter().enumerate() {
                s2[pixel] = solution.s2[column];
                let target = trainable[pixel];
                if !self.bears(&solution.factors[column]) {
                    trained.s2[target] = NO_INFORMATION;
                    trained.doubtful.push(target);
                    continue;
                }
                trained.s2[target] = solution.s2[column];
                let theta = &mut trained.theta[target * n_terms..(target + 1) * n_terms];
                theta.copy_from_slice(&solution.theta[column * n_terms..(column + 1) * n_terms]);
                theta[0] += part.mean_flux[column];
                if !converged[column] {
                    unfinished.push(pixel);
                    trained.n_unconverged += usize::from(round + 1 == MOST_ROUNDS);
                }
            }
            pending = unfinished;
        }
        trained
    }

    /// Whether sums in this block's precision determine what is solved with a normal matrix.
    fn bears(&self, factor: &Option<NormalFactor>) -> bool {
        let is_f64 = self.compute.dtype() == DType::F64;
        factor.as_ref().is_some_and(|factor| is_borne(factor.condition(), is_f64))
    }

    /// Brackets each pixel's global maximum (`None` where sums in this precision do not determine theta), and climbs to the maximum
    /// in s2 at the theta at hand. The number of trial values is doubled where the likelihood shows more than one hill.
    fn bracket_and_guess(&self, scatter_trials: usize) -> (Vec<Option<Bracket>>, Vec<f64>) {
        let n_pixels = self.n_pixels();
        // The harmonic mean of the variances: neither the brightest stars alone nor all alike decide this theta.
        let mean_ivar = to_f64((self.variance.clone().recip() * self.informative.clone()).sum_dim(0));
        let count = to_f64(self.informative.clone().sum_dim(0));
        let mean_variance: Vec<f64> = (0..n_pixels).map(|pixel| count[pixel] / mean_ivar[pixel]).collect();
        let anchor = self.solve(&mean_variance);
        // At any fixed theta dL/ds2 < 0 beyond the largest r^2, and theta only lowers sum w r^2: nothing lies further out.
        let largest: Vec<f64> = to_f64((anchor.squared.clone() * self.informative.clone()).max_dim(0));

        let mut brackets: Vec<Option<Bracket>> = vec![None; n_pixels];
        let mut open: Vec<usize> = (0..n_pixels).filter(|pixel| self.bears(&anchor.factors[*pixel])).collect();
        let mut n_trials = scatter_trials;
        while !open.is_empty() && n_trials <= MOST_TRIALS {
            let part = self.select(&open);
            let found = part.brackets(&anchor.select(&open, &self.compute), &open, &largest, n_trials);
            open.iter().zip(&found).for_each(|(pixel, bracket)| brackets[*pixel] = Some(*bracket));
            let several: Vec<usize> = (0..open.len()).filter(|column| !found[*column].one_hill).collect();
            open = several.into_iter().map(|column| open[column]).collect();
            n_trials = 2 * n_trials - 1;
        }
        let nowhere = Bracket { low: 0.0, high: 0.0, best: 0.0, one_hill: true };
        let bracket = |pixel: usize| brackets[pixel].unwrap_or(nowhere);
        let all: Vec<Bracket> = (0..n_pixels).map(bracket).collect();
        let best: Vec<f64> = all.iter().map(|bracket| bracket.best).collect();
        let guess = self.scatter_root(&anchor, &best, &all);
        (brackets, guess)
    }

    fn brackets(&self, anchor: &Solution, pixels: &[usize], largest: &[f64], n_trials: usize) -> Vec<Bracket> {
        let trials: Vec<Vec<f64>> = pixels
            .iter()
            .zip(&self.smallest_variance)
            .map(|(pixel, smallest)| trial_values(*smallest, largest[*pixel].max(1e-3 * smallest), n_trials))
            .collect();
        let mut points: Vec<Vec<ProfilePoint>> = vec![Vec::with_capacity(n_trials); pixels.len()];
        for trial in 0..n_trials {
            let s2: Vec<f64> = trials.iter().map(|values| values[trial]).collect();
            for (column, point) in self.profile(anchor, &s2).into_iter().enumerate() {
                points[column].push(point);
            }
        }
        // Rounding of a sum over the stars of logarithms near 10.
        let n_stars = self.design.dims()[0] as f64;
        let noise = if self.compute.dtype() == DType::F64 { 1e-9 * n_stars } else { 1e-4 * n_stars };
        points.iter().zip(&self.smallest_variance).map(|(points, smallest)| bracket(points, *smallest, noise)).collect()
    }

    /// Alternates s2 (Newton at fixed theta) and theta (a correction with the normal matrix at hand), and tells which
    /// pixels have converged; the others need a fresh normal matrix.
    fn alternate(&self, s2: &[f64], brackets: &[Bracket]) -> (Solution, Vec<bool>) {
        let tolerance = self.tolerance();
        let mut solution = self.solve(s2);
        let mut converged = vec![false; s2.len()];
        for _ in 0..3 {
            let next = self.scatter_root(&solution, &solution.s2, brackets);
            for (pixel, converged) in converged.iter_mut().enumerate() {
                let change = (next[pixel] - solution.s2[pixel]).abs() / (self.smallest_variance[pixel] + next[pixel]);
                *converged = change < tolerance;
            }
            solution.s2 = next;
            if converged.iter().all(|converged| *converged) {
                break;
            }
            self.correct(&mut solution);
        }
        (solution, converged)
    }

    /// Relative change of the variance s2 + sigma^2 at which a pixel has converged: well above rounding.
    fn tolerance(&self) -> f64 {
        if self.compute.dtype() == DType::F64 { 1e-6 } else { 1e-5 }
    }

    fn weight(&self, s2: &[f64]) -> Tensor<2> {
        (self.variance.clone() + self.compute.tensor(s2, [1, s2.len()])).recip()
    }

    /// Weighted least squares of every pixel: one matrix product for all normal matrices.
    fn solve(&self, s2: &[f64]) -> Solution {
        let (n_pixels, n_terms) = (self.n_pixels(), self.n_terms());
        let weight = self.weight(s2);
        let sum_weight = to_f64(weight.clone().sum_dim(0));
        let normal = to_f64(weight.clone().transpose().matmul(self.pairs.clone()));
        let right = to_f64((weight * self.flux.clone()).transpose().matmul(self.design.clone()));
        let n_pairs = n_terms * (n_terms + 1) / 2;
        let factors: Vec<Option<NormalFactor>> = (0..n_pixels)
            .map(|pixel| NormalFactor::new(&normal[pixel * n_pairs..(pixel + 1) * n_pairs], n_terms))
            .collect();
        let mut theta = vec![0.0; n_pixels * n_terms];
        add_solutions(&mut theta, &factors, &right, |_| 1.0);
        let mut solution = Solution {
            s2: s2.to_vec(),
            sum_weight,
            residual: self.flux.clone(),
            squared: self.flux.clone(),
            theta,
            factors,
        };
        self.update_residual(&mut solution);
        if self.compute.dtype() != DType::F64 {
            // Takes out the rounding of the f32 products, as in iterative refinement.
            self.correct(&mut solution);
        }
        solution
    }

    /// theta += A^-1 sum w r x at the solution's s2, with the normal matrix of an s2 nearby scaled to the new weights.
    fn correct(&self, solution: &mut Solution) {
        let weight = self.weight(&solution.s2);
        let sum_weight = to_f64(weight.clone().sum_dim(0));
        let right = to_f64((weight * solution.residual.clone()).transpose().matmul(self.design.clone()));
        let scale = |pixel: usize| solution.sum_weight[pixel] / sum_weight[pixel];
        add_solutions(&mut solution.theta, &solution.factors, &right, scale);
        self.update_residual(solution);
    }

    fn update_residual(&self, solution: &mut Solution) {
        let theta = self.compute.tensor(&solution.theta, [self.n_pixels(), self.n_terms()]);
        solution.residual = self.flux.clone() - self.design.clone().matmul(theta.transpose());
        solution.squared = solution.residual.clone().square();
    }

    /// Profile points at trial values: exact at the anchor's theta, bounded below it by the stale normal matrix.
    ///
    /// Moving theta to its optimum lowers chi^2 by b.A(w)^-1 b with b = sum w r x, and A(w) >= lambda A(w_anchor) with
    /// lambda = min over stars of w / w_anchor.
    fn profile(&self, anchor: &Solution, s2: &[f64]) -> Vec<ProfilePoint> {
        let n_terms = self.n_terms();
        let total = self.variance.clone() + self.compute.tensor(s2, [1, s2.len()]);
        let log_variance = to_f64((total.clone().log() * self.informative.clone()).sum_dim(0));
        let weight = total.recip();
        let chi2 = to_f64((weight.clone() * anchor.squared.clone()).sum_dim(0));
        let sum_weight = to_f64(weight.clone().sum_dim(0));
        let right = to_f64((weight * anchor.residual.clone()).transpose().matmul(self.design.clone()));
        (0..s2.len())
            .map(|pixel| {
                let b = DVector::from_column_slice(&right[pixel * n_terms..(pixel + 1) * n_terms]);
                let drop = anchor.factors[pixel].as_ref().map_or(0.0, |factor| factor.solve(&b).dot(&b));
                let extreme =
                    if s2[pixel] > anchor.s2[pixel] { &self.smallest_variance } else { &self.largest_variance };
                let lambda = (extreme[pixel] + anchor.s2[pixel]) / (extreme[pixel] + s2[pixel]);
                ProfilePoint {
                    s2: s2[pixel],
                    log_variance: log_variance[pixel],
                    sum_weight: sum_weight[pixel],
                    chi2_above: chi2[pixel],
                    chi2_below: (chi2[pixel] - drop / lambda).max(0.0),
                }
            })
            .collect()
    }

    /// Root of dL/ds2 at fixed residuals, inside each bracket.
    fn scatter_root(&self, solution: &Solution, start: &[f64], brackets: &[Bracket]) -> Vec<f64> {
        let limits = brackets.iter().map(|bracket| (bracket.low, bracket.high)).unzip();
        let smallest = &self.smallest_variance;
        scatter_root(&self.variance, &solution.squared, start, limits, smallest, &self.compute)
    }
}

impl TrainedBlock {
    /// No pixel has any information.
    fn untrained(n_pixels: usize, n_terms: usize) -> Self {
        Self {
            theta: vec![0.0; n_pixels * n_terms],
            s2: vec![NO_INFORMATION; n_pixels],
            n_in_f64: 0,
            n_refused: 0,
            n_several_hills: 0,
            n_unconverged: 0,
            doubtful: Vec::new(),
        }
    }

    /// Takes over pixels that were trained anew, in f64.
    fn take(&mut self, pixels: &[usize], exact: Self) {
        let n_terms = self.theta.len() / self.s2.len();
        for (from, &to) in pixels.iter().enumerate() {
            self.s2[to] = exact.s2[from];
            let own = &mut self.theta[to * n_terms..(to + 1) * n_terms];
            own.copy_from_slice(&exact.theta[from * n_terms..(from + 1) * n_terms]);
        }
        self.n_in_f64 += pixels.len() - exact.doubtful.len();
        self.n_several_hills += exact.n_several_hills;
        self.n_unconverged += exact.n_unconverged;
        self.doubtful = exact.doubtful.into_iter().map(|from| pixels[from]).collect();
    }
}

impl Solution {
    fn select(&self, pixels: &[usize], compute: &Compute) -> Self {
        if pixels.len() == self.s2.len() {
            return self.clone();
        }
        let index = compute.indices(pixels);
        let n_terms = self.theta.len() / self.s2.len();
        Self {
            s2: pixels.iter().map(|pixel| self.s2[*pixel]).collect(),
            theta: pixels.iter().flat_map(|p| self.theta[p * n_terms..(p + 1) * n_terms].iter().copied()).collect(),
            factors: pixels.iter().map(|pixel| self.factors[*pixel].clone()).collect(),
            sum_weight: pixels.iter().map(|pixel| self.sum_weight[*pixel]).collect(),
            residual: self.residual.clone().select(1, index.clone()),
            squared: self.squared.clone().select(1, index),
        }
    }
}

/// solutions[pixel] += scale(pixel) A[pixel]^-1 right[pixel], both [n_pixels, n_terms]; nothing where there is no factor.
fn add_solutions(solutions: &mut [f64], factors: &[Option<NormalFactor>], right: &[f64], scale: impl Fn(usize) -> f64) {
    let n_terms = right.len() / factors.len().max(1);
    for (pixel, factor) in factors.iter().enumerate() {
        if let Some(factor) = factor {
            let span = pixel * n_terms..(pixel + 1) * n_terms;
            let step = factor.solve(&DVector::from_column_slice(&right[span.clone()]));
            solutions[span].iter_mut().zip(step.iter()).for_each(|(value, step)| *value += scale(pixel) * step);
        }
    }
}
