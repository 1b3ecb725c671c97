//! How strongly a ridge regression is held back, chosen by leaving each training star out in turn.

use nalgebra::DVector;

use crate::stats::robust::{mean, robust_scatter};

/// Ridge strengths tried, in units of the kernel's mean eigenvalue: powers of ten from here ...
const WEAKEST: f64 = -8.0;
/// ... to here,
const STRONGEST: f64 = 2.0;
/// so many.
pub(super) const N_STRENGTHS: usize = 41;
/// Residuals beyond so many robust deviations count as so many: some catalogue labels are wrong.
const MOST_DEVIATIONS: f64 = 2.5;
/// Rounds in which such labels are drawn towards what the others say.
const ROUNDS: usize = 4;
/// Variance of the intercept in units of the kernel's mean eigenvalue.
const INTERCEPT: f64 = 10.0;

/// Strengths to try, and what is measured by the kernel itself.
pub(super) struct Scale {
    /// Mean of the kernel of a star with itself.
    pub unit: f64,
    /// What is added to every element of the kernel: an intercept that is hardly penalized.
    pub constant: f64,
    /// Ridge strengths.
    pub strengths: Vec<f64>,
}

impl Scale {
    /// That of a kernel with this mean on its diagonal.
    pub fn new(diagonal: f64) -> Self {
        let unit = diagonal.max(f64::MIN_POSITIVE);
        let power = |i: usize| WEAKEST + (STRONGEST - WEAKEST) * i as f64 / (N_STRENGTHS - 1) as f64;
        let strengths = (0..N_STRENGTHS).map(|i| unit * 10_f64.powf(power(i))).collect();
        Self { unit, constant: INTERCEPT * unit, strengths }
    }
}

/// A regression that knows what it would say of each training star without that star's help.
pub(super) trait LeaveOneOut {
    /// Strengths to try.
    fn scale(&self) -> &Scale;

    /// For every strength, by how much the label of each star exceeds its estimate by all others, `[n_stars]`.
    fn missed(&self, label: &DVector<f64>) -> Vec<DVector<f64>>;

    /// Weights of what spectra are compared with, at a strength.
    fn weights(&self, label: &DVector<f64>, strength: f64) -> DVector<f64>;

    /// Trace of the matrix that takes labels to estimates, at a strength.
    fn degrees_of_freedom(&self, strength: f64) -> f64;
}

/// The best strength for one label.
pub(super) struct Choice {
    /// In units of the kernel's mean eigenvalue.
    pub strength: f64,
    pub intercept: f64,
    pub weights: DVector<f64>,
    /// Estimate of each star by all others.
    pub left_out: DVector<f64>,
    pub loss: f64,
    pub degrees_of_freedom: f64,
}

/// Chooses the strength for a label. Wrong labels are drawn towards what the others say (Huber's pseudo-values), and count little in the
/// choice.
pub(super) fn choose(regression: &impl LeaveOneOut, label: &DVector<f64>) -> Choice {
    let Scale { unit, constant, strengths } = regression.scale();
    let n_stars = label.len();
    let mut trusted = label.clone();
    let mut best = None;
    for _ in 0..ROUNDS {
        let intercept = mean(trusted.as_slice());
        let centred = trusted.map(|value| value - intercept);
        let missed = regression.missed(&centred);
        let mut trials: Vec<DVector<f64>> = missed.into_iter().map(|missed| &trusted - missed).collect();
        // One limit for all, or the strength with the widest errors would forgive itself most.
        let scatter = |left_out: &DVector<f64>| robust_scatter((left_out - label).as_slice());
        let limit = MOST_DEVIATIONS * trials.iter().map(scatter).fold(f64::INFINITY, f64::min);
        let limited = |residual: f64| residual.clamp(-limit, limit);
        let loss = |left_out: &DVector<f64>| (left_out - label).map(|r| limited(r).powi(2)).mean();
        let losses: Vec<f64> = trials.iter().map(loss).collect();
        let index = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap_or(0);
        let left_out = trials.swap_remove(index);
        trusted = DVector::from_fn(n_stars, |star, _| left_out[star] + limited(label[star] - left_out[star]));
        best = Some((strengths[index], losses[index], intercept, centred, left_out));
    }
    let (strength, loss, intercept, centred, left_out) = best.expect("there is at least one round");
    let weights = regression.weights(&centred, strength);
    Choice {
        strength: strength / unit,
        intercept: intercept + constant * weights.sum(),
        weights,
        left_out,
        loss,
        degrees_of_freedom: regression.degrees_of_freedom(strength),
    }
}
