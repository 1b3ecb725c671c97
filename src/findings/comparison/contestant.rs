//! A model as it stands beside others.

use ndarray::Array2;

use crate::findings::metrics::ModelMetrics;
use crate::findings::predictions::Predictions;

/// A model, what it says of the test stars, and how far off that is.
#[derive(Debug, Clone, Copy)]
pub struct Contestant<'a> {
    /// The model's name.
    pub name: &'a str,
    /// Its predictions.
    pub predictions: &'a Predictions,
    /// Their metrics.
    pub metrics: &'a ModelMetrics,
}

/// Estimate - reference of a label of these stars, those that are known.
pub(super) fn residuals<'a>(
    predictions: &'a Predictions,
    references: &'a Array2<f64>,
    label: usize,
    stars: &'a [usize],
) -> impl Iterator<Item = (usize, f64)> + 'a {
    let residual = move |star: usize| predictions.estimates.labels[[star, label]] - references[[star, label]];
    stars.iter().map(move |star| (*star, residual(*star))).filter(|(_, residual)| residual.is_finite())
}

/// Every two of so many.
pub(super) fn pairs(n: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..n).flat_map(move |first| (first + 1..n).map(move |second| (first, second)))
}
