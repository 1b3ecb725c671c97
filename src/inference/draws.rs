//! What a sampler leaves of one star: draws, and what they say of its labels.

use ndarray::{Array2, ArrayView1};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::stats::diagnostics::Diagnostics;
use crate::stats::robust::quantile_of_sorted;

/// `[posterior.sampler]`, and the options of `maury posterior`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SamplerSettings {
    /// Chains per star.
    #[schemars(range(min = 1, max = 1000))]
    pub chains: usize,
    /// Draws of each chain that only tune the sampler.
    #[schemars(range(min = 20, max = 1_000_000))]
    pub warm_up: usize,
    /// Draws of each chain that are kept.
    #[schemars(range(min = 4, max = 1_000_000))]
    pub draws: usize,
    /// Probability of acceptance that step sizes are tuned to.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub target_acceptance: f64,
    /// Stars sampled side by side on each thread.
    #[schemars(range(min = 1))]
    pub batch_stars: usize,
}

impl Default for SamplerSettings {
    fn default() -> Self {
        Self { chains: 4, warm_up: 300, draws: 1000, target_acceptance: 0.8, batch_stars: 64 }
    }
}

/// Draws that are in memory at once, of one star or of several side by side: half a gigabyte for five labels.
const MOST_DRAWS: usize = 10_000_000;

impl SamplerSettings {
    /// Stars to be sampled side by side: fewer than asked for where each has many draws.
    pub fn stars_together(&self) -> usize {
        let in_memory = self.chains.saturating_mul(self.draws.max(self.warm_up_in_memory()));
        self.batch_stars.min(MOST_DRAWS / in_memory.max(1)).max(1)
    }

    /// Draws of warm-up of each chain that are in memory at once: those that the covariance is learnt from.
    fn warm_up_in_memory(&self) -> usize {
        self.warm_up / 2
    }

    /// Whether the values make sense; if not, the key of the first that does not, and what is wrong with it.
    ///
    /// # Errors
    /// (key below `sampler`, problem).
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let limits = [
            (
                self.chains.saturating_mul(self.draws) <= MOST_DRAWS,
                "draws",
                "times chains must be at most 10000000: all draws of a star are in memory at once",
            ),
            (
                self.chains.saturating_mul(self.warm_up_in_memory()) <= MOST_DRAWS,
                "warm_up",
                "times chains must be at most 20000000: half of the warm-up of a star is in memory at once",
            ),
        ];
        limits.into_iter().find(|(holds, ..)| !holds).map_or(Ok(()), |(_, key, problem)| Err((key, problem)))
    }
}

/// Draws of one star's parameters, warm-up left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Draws {
    /// Number of chains.
    pub n_chains: usize,
    /// The draws, [n_chains * n_draws, n_parameters], chain after chain.
    pub values: Array2<f64>,
    /// Of each chain, the draws whose trajectory diverged: where the posterior is too steep for the step size, and draws are
    /// not to be trusted.
    pub divergent: Vec<Vec<usize>>,
    /// Trajectories that ended beyond a wall of the prior.
    pub beyond_walls: usize,
    /// Mean probability of acceptance.
    pub acceptance: f64,
    /// Step size, in units of the posterior's own width.
    pub step_size: f64,
    /// Gradients computed for each chain, warm-up and all.
    pub n_gradients: usize,
}

impl Draws {
    /// Draws of each chain.
    pub fn n_draws(&self) -> usize {
        self.values.nrows() / self.n_chains.max(1)
    }

    /// Number of draws whose trajectory diverged.
    pub fn divergences(&self) -> usize {
        self.divergent.iter().map(Vec::len).sum()
    }

    /// The first parameters in other units: each draw times `scale`, plus `pivot`.
    #[must_use]
    pub fn unscaled(mut self, pivot: &[f64], scale: &[f64]) -> Self {
        for mut row in self.values.rows_mut() {
            row.iter_mut().zip(pivot.iter().zip(scale)).for_each(|(value, (pivot, scale))| {
                *value = *value * scale + pivot;
            });
        }
        self
    }

    /// What the draws say of each of the first `n` parameters.
    pub fn marginals(&self, n: usize) -> Vec<Marginal> {
        (0..n).map(|k| self.marginal(k)).collect()
    }

    /// What the draws say of one parameter.
    pub fn marginal(&self, parameter: usize) -> Marginal {
        Marginal::of(self.values.column(parameter), self.n_chains)
    }

    /// Covariance of the first `n` parameters.
    pub fn covariance(&self, n: usize) -> Array2<f64> {
        let n_rows = self.values.nrows() as f64;
        let values = self.values.slice(ndarray::s![.., ..n]);
        let mean = values.mean_axis(ndarray::Axis(0)).unwrap_or_default();
        let offset = &values - &mean;
        offset.t().dot(&offset) / n_rows
    }
}

/// The posterior of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Marginal {
    /// Mean of the draws.
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
    /// Their 16%, 50% and 84% quantiles.
    pub quantiles: [f64; 3],
    /// How well the chains agree, and what they are worth.
    pub diagnostics: Diagnostics,
}

impl Marginal {
    /// Of a star without draws.
    pub const NONE: Self =
        Self { mean: f64::NAN, sd: f64::NAN, quantiles: [f64::NAN; 3], diagnostics: Diagnostics::NONE };

    fn of(column: ArrayView1<f64>, n_chains: usize) -> Self {
        let values = column.to_vec();
        let mut sorted = values.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        Self {
            mean: crate::stats::robust::mean(&values),
            sd: crate::stats::robust::standard_deviation(&values),
            quantiles: [0.16, 0.5, 0.84].map(|q| quantile_of_sorted(&sorted, q)),
            diagnostics: Diagnostics::of(&values, n_chains),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_summed_up_in_their_own_units() {
        let draws = Draws {
            n_chains: 2,
            values: Array2::from_shape_fn((200, 2), |(n, k)| ((n * (k + 3)) as f64 * 0.37).sin()),
            divergent: Vec::new(),
            beyond_walls: 0,
            acceptance: 1.0,
            step_size: 1.0,
            n_gradients: 0,
        };
        let (before, covariance) = (draws.marginals(2), draws.covariance(2));
        let after = draws.unscaled(&[4500.0], &[100.0]).marginals(2);
        assert!((after[0].mean - (4500.0 + 100.0 * before[0].mean)).abs() < 1e-9);
        assert!((after[0].sd / before[0].sd - 100.0).abs() < 1e-9 && after[1].mean == before[1].mean);
        assert!((covariance[[0, 0]] - before[0].sd.powi(2)).abs() < 1e-12);
        // Ranks do not know units.
        assert!((after[0].diagnostics.ess_bulk / before[0].diagnostics.ess_bulk - 1.0).abs() < 1e-9);
    }
}
