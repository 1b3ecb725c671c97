//! Labels of all stars at once: Levenberg-Marquardt steps in tensors, a damping per star, several starts.
//!
//! The steps use the whole Hessian, not only its Gauss-Newton part: where labels are badly determined the model bends
//! within their errors, and Gauss-Newton steps then creep. The damping keeps an indefinite Hessian harmless.

use burn::tensor::{Tensor, TensorData};
use ndarray::{Array2, ArrayView1, ArrayView2};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chi_square::{ChiSquare, Evaluation, Minimum};
use super::gradient_fit::{self, FitMethod};
use super::solve::solve;
use crate::device::{Compute, to_bool};

/// `[fit]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FitSettings {
    /// Starts per star: the training labels of lowest chi^2 that are not neighbours.
    #[schemars(range(min = 1, max = 100))]
    pub starts: usize,
    /// How the lowest chi^2 is found.
    pub method: FitMethod,
    /// Steps per start at most, of Levenberg-Marquardt.
    #[schemars(range(min = 1))]
    pub max_steps: usize,
    /// A fit has converged when its step is shorter than this, in units of the formal error.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub tolerance: f64,
    /// Stars whose pixels are in memory together. In f32 the labels of a star may differ by some 1e-7 of themselves with it: sums are
    /// then taken in another order.
    #[schemars(range(min = 1))]
    pub batch_stars: usize,
}

impl Default for FitSettings {
    fn default() -> Self {
        Self { starts: 3, method: FitMethod::default(), max_steps: 60, tolerance: 1e-3, batch_stars: 256 }
    }
}

/// How much lower than inside the training set chi^2 must be elsewhere to be believed: five standard deviations.
pub const EXTRAPOLATION_PENALTY: f64 = 25.0;

/// Minimizes chi^2 of every star from every one of its starts.
///
/// `starts` is one matrix of scaled labels, [n_stars, n_labels], per start; `compute` is where `problem` lies. Of several minima the lowest is taken; one at
/// labels for which `is_inside` does not hold must be lower by [`EXTRAPOLATION_PENALTY`], since beyond its training set
/// the model's word counts for less.
///
/// # Panics
/// If there are no starts.
pub fn fit<C: ChiSquare>(
    problem: &C,
    starts: &[Array2<f64>],
    settings: &FitSettings,
    compute: &Compute,
    is_inside: impl Fn(ArrayView1<f64>) -> bool,
) -> Minimum {
    let mut runs = starts.iter().map(|start| match &settings.method {
        FitMethod::LevenbergMarquardt => descend(problem, start.view(), settings, compute),
        method => gradient_fit::descend(problem, start.view(), method, settings.tolerance, compute),
    });
    let mut best = runs.next().expect("a fit needs a start");
    let mut minima: Vec<Vec<Vec<f64>>> = vec![Vec::new(); best.chi2.len()];
    best.add_to(&mut minima);
    let rank = |run: &Minimum, star: usize| {
        let penalty = if is_inside(run.scaled_labels.row(star)) { 0.0 } else { EXTRAPOLATION_PENALTY };
        (run.converged[star], -(run.chi2[star] + penalty))
    };
    for run in runs {
        run.add_to(&mut minima);
        for star in 0..run.chi2.len() {
            if rank(&run, star) > rank(&best, star) {
                best.take(star, &run, star);
            }
        }
    }
    best.n_minima = minima.iter().map(Vec::len).collect();
    best
}

/// Levenberg-Marquardt from one start per star; stars leave the batch as they converge.
fn descend<C: ChiSquare>(problem: &C, start: ArrayView2<f64>, settings: &FitSettings, compute: &Compute) -> Minimum {
    let (n_stars, n_labels) = start.dim();
    let mut minimum = Minimum::at(start);
    if n_stars == 0 {
        return minimum;
    }
    let mut active: Vec<usize> = (0..n_stars).collect();
    let mut problem = problem.select(compute.indices(&active));
    let flat: Vec<f64> = start.iter().copied().collect();
    let mut labels = compute.tensor(&flat, [n_stars, n_labels]);
    let mut damping = Tensor::<2>::full([n_stars, 1], 1e-3, (compute.device(), compute.dtype()));
    let mut here = problem.evaluate(labels.clone());
    for step_number in 0..settings.max_steps {
        let (step, length) = damped_step(&here, &damping);
        let trial = labels.clone() + step;
        let there = problem.evaluate(trial.clone());
        // A NaN is not an improvement.
        let better = there.chi2.clone().lower_equal(here.chi2.clone());
        labels = labels.mask_where(expand(&better, n_labels), trial);
        here = here.replace(&better, there);
        damping = (damping.clone() * 10.0).mask_where(better.clone(), damping * 0.1).clamp(1e-12, 1e12);

        // A short step is the end even where rounding hides its gain.
        let done = to_bool(length.lower_scalar(settings.tolerance));
        let last = step_number + 1 == settings.max_steps;
        let settled = minimum.settle(&mut active, (&done, last), (&labels, &here), compute);
        let Some(remaining) = settled else { continue };
        if remaining.is_empty() {
            break;
        }
        let index = compute.indices(&remaining);
        problem = problem.select(index.clone());
        labels = labels.select(0, index.clone());
        damping = damping.select(0, index.clone());
        here = here.select(index);
    }
    minimum
}

/// Step of each star, at most one scaled unit per label, and its length in units of the formal error, [n_stars, 1].
fn damped_step(here: &Evaluation, damping: &Tensor<2>) -> (Tensor<2>, Tensor<2>) {
    let [n_stars, n_labels, _] = here.curvature.dims();
    let options = (&here.chi2.device(), here.chi2.dtype());
    let identity: Vec<f64> = (0..n_labels * n_labels).map(|i| f64::from(u8::from(i % (n_labels + 1) == 0))).collect();
    let identity = Tensor::<3>::from_data(TensorData::new(identity, [1, n_labels, n_labels]), options);
    let damped =
        here.half_hessian.clone() + here.curvature.clone() * identity * damping.clone().reshape([n_stars, 1, 1]);
    let step = solve(damped, here.half_gradient.clone()).neg().clamp(-1.0, 1.0);
    let length = (here.curvature.clone() * step.clone() * step.clone().swap_dims(1, 2)).sum_dim(1).sum_dim(2);
    (step.reshape([n_stars, n_labels]), length.reshape([n_stars, 1]).clamp_min(0.0).sqrt())
}

fn expand(mask: &Tensor<2, burn::tensor::Bool>, n: usize) -> Tensor<2, burn::tensor::Bool> {
    let [n_stars, _] = mask.dims();
    mask.clone().expand([n_stars, n])
}
