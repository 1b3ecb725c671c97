//! What models say of training stars that they had not seen, and what becomes of it when a chip is lost.

use ndarray::{Array2, s};

use crate::models::LabelEstimates;
use crate::spectra::noise::Conditions;
use crate::stats::robust::median;
use crate::stats::robust_covariance::limited_covariance;

/// Estimates of training stars by models that had not seen them, beside what the catalogue says.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Rows of the stars in the prepared set, ascending.
    pub rows: Vec<usize>,
    /// Their estimates.
    pub estimates: LabelEstimates,
    /// By how much the variance of these estimates exceeds that of the model's own, [n_stars, n_labels]: one member of an
    /// ensemble errs more than their mean.
    pub excess: Array2<f64>,
    /// Labels of the catalogue, [n_stars, n_labels]; NaN where missing.
    pub labels: Array2<f64>,
    /// Their errors, [n_stars, n_labels]; NaN where unknown.
    pub label_errors: Array2<f64>,
    /// How good their spectra are.
    pub conditions: Vec<Conditions>,
    /// What losing each chip would do to some of them; empty where nobody tried.
    pub without_chip: Vec<WithoutChip>,
    /// What formal errors are, and so how far they bound the real ones from below.
    pub formal: Formal,
}

/// So many held-out stars tell how a combination errs better than what its members said before.
const MANY_STARS: usize = 100;

/// What a kind of model quotes as formal errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Formal {
    /// What the noise of the spectrum does to a fit: no error can be less.
    Noise,
    /// What a regression learned of its residuals, the catalogue's errors among them: no bound at all.
    Residuals,
    /// Calibrated errors of the members of a combination, put together: they have been held against stars already.
    Members,
}

/// Labels of some stars with a chip masked, beside those with all chips.
#[derive(Debug, Clone, PartialEq)]
pub struct WithoutChip {
    /// By how much the labels change, [n_stars, n_labels].
    pub change: Array2<f64>,
    /// By how much their formal variances grow, [n_stars, n_labels].
    pub formal_growth: Array2<f64>,
}

impl WithoutChip {
    /// From estimates of the same stars with all chips and without one.
    pub fn new(whole: &LabelEstimates, masked: &LabelEstimates) -> Self {
        let growth = |(star, k): (usize, usize)| masked.covariance[[star, k, k]] - whole.covariance[[star, k, k]];
        let change = &masked.labels - &whole.labels;
        Self { formal_growth: Array2::from_shape_fn(change.raw_dim(), growth), change }
    }

    /// The square of what a lost chip adds to errors of label `k`, beyond what formal errors times `factor` know of it.
    pub(super) fn variance(&self, k: usize, factor: f64) -> f64 {
        let square = limited_covariance(self.change.slice(s![.., k..=k]))[[0, 0]];
        let known: Vec<f64> = self.formal_growth.column(k).iter().copied().filter(|value| value.is_finite()).collect();
        let known = if known.is_empty() { 0.0 } else { factor * factor * median(&known) };
        let left = square - known;
        if left > 0.0 { left } else { 0.0 }
    }
}

impl HeldOut {
    /// Estimates of those of these rows that were held out, in their order.
    pub fn of_rows(&self, rows: &[usize]) -> LabelEstimates {
        let positions: Vec<usize> = rows.iter().filter_map(|row| self.rows.binary_search(row).ok()).collect();
        self.estimates.select(&positions)
    }

    /// Median of the errors that the catalogue quotes for label `k`; none where it quotes none, or only nil.
    pub(super) fn quoted_error(&self, k: usize) -> Option<f64> {
        let quoted = self.label_errors.column(k);
        let known: Vec<f64> = quoted.iter().copied().filter(|error| error.is_finite() && *error > 0.0).collect();
        (!known.is_empty()).then(|| median(&known))
    }

    /// By how much of its formal variance a label must err at least: noise alone, where noise is quoted too large (chi^2 below
    /// the degrees of freedom) what it really is.
    pub(super) fn least_formal_share(&self) -> f64 {
        match self.formal {
            Formal::Noise => {}
            Formal::Residuals => return 0.0,
            // Few stars cannot contradict them; many may, but for a factor of two.
            Formal::Members => return if self.rows.len() < MANY_STARS { 1.0 } else { 0.25 },
        }
        let chi2 = (0..self.rows.len()).map(|star| self.estimates.chi2_reduced(star));
        let known: Vec<f64> = chi2.filter(|chi2| chi2.is_finite()).collect();
        if known.is_empty() { 0.0 } else { median(&known).clamp(0.0, 1.0) }
    }

    /// Estimate - catalogue of label `k`; NaN where either is missing.
    pub fn residual(&self, star: usize, k: usize) -> f64 {
        self.estimates.labels[[star, k]] - self.labels[[star, k]]
    }
}
