//! Posteriors of the test stars of a run: their table, and what `metrics.json` says of them.

use serde::Serialize;

use crate::data::fits::Column;
use crate::inference::draws::{Marginal, SamplerSettings};
use crate::inference::sampling::{MIXED_ESS_PER_CHAIN, MIXED_R_HAT, StarPosterior};
use crate::spectra::labels::{pairs, unit};
use crate::spectra::quality::star_flags;
use crate::stats::robust::quantile;

/// Posteriors of several stars, and what they took.
#[derive(Debug, Clone, Default)]
pub struct Posteriors {
    /// One per star.
    pub stars: Vec<StarPosterior>,
    /// Seconds for compression, fit, sampling and diagnostics.
    pub wall_s: f64,
    /// Priors and nuisances in words.
    pub words: Vec<String>,
    /// How they were sampled.
    pub sampler: SamplerSettings,
}

/// What `metrics.json` holds of posteriors.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PosteriorMetrics {
    /// Priors and nuisances in words.
    pub priors: Vec<String>,
    /// How they were sampled.
    pub sampler: SamplerSettings,
    /// Stars that were sampled.
    pub n_sampled: usize,
    /// Stars that could not be sampled.
    pub n_without: usize,
    /// R-hat that every label of a star must stay below to count as mixed.
    pub mixed_r_hat: f64,
    /// Effective draws, bulk and tail, that every label must have for it.
    pub mixed_ess: f64,
    /// Part of the sampled stars whose every label has R-hat below 1.01.
    pub fraction_mixed: f64,
    /// Largest R-hat.
    pub r_hat_max: f64,
    /// Smallest and median bulk effective sample size of a star's worst label.
    pub ess_bulk_min: f64,
    /// The median.
    pub ess_bulk_median: f64,
    /// Smallest tail effective sample size.
    pub ess_tail_min: f64,
    /// Draws that diverged.
    pub divergences: usize,
    /// Stars by flag of the posterior.
    pub n_flagged: std::collections::BTreeMap<&'static str, usize>,
    /// Seconds for compression, fit, sampling and diagnostics.
    pub wall_s: f64,
    /// Bulk effective draws of each star's worst label, all stars together, per second.
    pub ess_per_s: f64,
}

impl Posteriors {
    /// Appends those of further stars.
    pub fn append(&mut self, other: Self) {
        self.stars.extend(other.stars);
        self.wall_s += other.wall_s;
        if self.words.is_empty() {
            (self.words, self.sampler) = (other.words, other.sampler);
        }
    }

    /// What they come to.
    pub fn metrics(&self) -> PosteriorMetrics {
        let sampled = self.stars.iter().filter(|star| star.flags & star_flags::NO_POSTERIOR == 0);
        let worst: Vec<[f64; 3]> = sampled.map(StarPosterior::worst).collect();
        let of = |index: usize| worst.iter().map(|worst| worst[index]).filter(|value| value.is_finite()).collect();
        let (r_hat, bulk, tail): (Vec<f64>, Vec<f64>, Vec<f64>) = (of(0), of(1), of(2));
        let flagged = |flag: i64| self.stars.iter().filter(|star| star.flags & flag != 0).count();
        let flags =
            [star_flags::NO_POSTERIOR, star_flags::PRIOR_AGAINST_DATA, star_flags::DIVERGENT, star_flags::NOT_MIXED];
        let named = star_flags::NAMES.iter().filter(|(flag, _)| flags.contains(flag));
        PosteriorMetrics {
            priors: self.words.clone(),
            sampler: self.sampler.clone(),
            n_sampled: worst.len(),
            n_without: self.stars.len() - worst.len(),
            mixed_r_hat: MIXED_R_HAT,
            mixed_ess: MIXED_ESS_PER_CHAIN * self.sampler.chains as f64,
            fraction_mixed: r_hat.iter().filter(|r_hat| **r_hat < MIXED_R_HAT).count() as f64 / worst.len() as f64,
            r_hat_max: quantile(&r_hat, 1.0),
            ess_bulk_min: quantile(&bulk, 0.0),
            ess_bulk_median: quantile(&bulk, 0.5),
            ess_tail_min: quantile(&tail, 0.0),
            divergences: self.stars.iter().map(|star| star.divergences).sum(),
            n_flagged: named.map(|(flag, name)| (*name, flagged(*flag))).filter(|(_, n)| *n > 0).collect(),
            wall_s: self.wall_s,
            ess_per_s: bulk.iter().sum::<f64>() / self.wall_s,
        }
    }
}

/// The columns of a table of posteriors, one row per star; `flags` are those of spectrum and catalogue, to which the
/// posterior's own are added.
pub fn columns(ids: &[String], label_names: &[String], stars: &[StarPosterior], flags: &[i64]) -> Vec<Column> {
    let mut columns = vec![Column::text("id", ids.to_vec())];
    let mut add = |name: &str, unit: &'static str, of: &dyn Fn(&StarPosterior) -> Marginal| {
        let marginals: Vec<Marginal> = stars.iter().map(of).collect();
        let mut column = |ending: &str, unit: &'static str, of: &dyn Fn(&Marginal) -> f64| {
            columns.push(Column::f64(format!("{name}_{ending}"), unit, marginals.iter().map(of).collect()));
        };
        column("mean", unit, &|marginal| marginal.mean);
        column("sd", unit, &|marginal| marginal.sd);
        column("q16", unit, &|marginal| marginal.quantiles[0]);
        column("q50", unit, &|marginal| marginal.quantiles[1]);
        column("q84", unit, &|marginal| marginal.quantiles[2]);
        column("rhat", "", &|marginal| marginal.diagnostics.r_hat);
        column("ess_bulk", "", &|marginal| marginal.diagnostics.ess_bulk);
        column("ess_tail", "", &|marginal| marginal.diagnostics.ess_tail);
    };
    for (k, name) in label_names.iter().enumerate() {
        add(name, unit(name), &|star| star.marginals[k]);
    }
    if stars.iter().any(|star| star.noise.is_some()) {
        add("ln_noise", "", &|star| star.noise.unwrap_or(Marginal::NONE));
    }
    for (a, b, name, unit) in pairs(label_names) {
        columns.push(Column::f64(name, unit, stars.iter().map(|star| star.covariance[[a, b]]).collect()));
    }
    let counts = |of: &dyn Fn(&StarPosterior) -> usize| stars.iter().map(|star| of(star) as i64).collect();
    columns.push(Column::i64("divergences", counts(&|star| star.divergences)));
    columns.push(Column::i64("beyond_walls", counts(&|star| star.beyond_walls)));
    columns.push(Column::i64("flags", stars.iter().zip(flags).map(|(star, flags)| star.flags | flags).collect()));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::draws::Draws;
    use ndarray::Array2;

    #[test]
    fn metrics_count_the_mixed_and_the_lost() {
        let draws = Draws {
            n_chains: 4,
            values: Array2::from_shape_fn((4000, 1), |(n, _)| ((n * 7919) % 4001) as f64),
            divergent: vec![vec![0, 1], Vec::new(), vec![7], vec![1, 2]],
            beyond_walls: 0,
            acceptance: 0.9,
            step_size: 1.0,
            n_gradients: 1,
        };
        let star = StarPosterior::of(&draws, 1, false, true);
        assert_eq!(star.flags & !star_flags::NOT_MIXED, star_flags::DIVERGENT | star_flags::PRIOR_AGAINST_DATA);
        let posteriors = Posteriors { stars: vec![star, StarPosterior::none(1)], wall_s: 2.0, ..Posteriors::default() };
        let metrics = posteriors.metrics();
        assert_eq!((metrics.n_sampled, metrics.n_without, metrics.divergences), (1, 1, 5));
        assert!((metrics.ess_per_s * 2.0 - metrics.ess_bulk_min).abs() < 1e-9);
        assert_eq!(metrics.n_flagged["NO_POSTERIOR"], 1);
        let ids = ["a", "b"].map(String::from);
        let columns = columns(&ids, &["teff".to_string()], &posteriors.stars, &[0, 4]);
        assert_eq!(columns.len(), 1 + 8 + 3);
        assert_eq!(columns[11].cell(1), (star_flags::NO_POSTERIOR | 4).to_string());
        assert_eq!((columns[1].name.as_str(), columns[1].unit.as_ref()), ("teff_mean", "K"));
    }

    #[test]
    fn covariances_of_the_draws_stand_in_the_table() {
        let values = Array2::from_shape_fn((400, 2), |(n, k)| if k == 0 { n as f64 } else { -0.5 * n as f64 });
        let draws = Draws {
            n_chains: 4,
            values,
            divergent: vec![Vec::new(); 4],
            beyond_walls: 0,
            acceptance: 0.9,
            step_size: 1.0,
            n_gradients: 1,
        };
        let stars = [StarPosterior::of(&draws, 2, false, false), StarPosterior::none(2)];
        let (ids, labels) = (["a", "b"].map(String::from), ["teff", "logg"].map(String::from));
        let columns = columns(&ids, &labels, &stars, &[0, 0]);
        let of_pair = columns.iter().find(|column| column.name == "cov_teff_logg").unwrap();
        // Half the variance of 400 numbers in a row, which is (400^2 - 1) / 12.
        assert!((of_pair.cell(0).parse::<f64>().unwrap() + 0.5 * 159_999.0 / 12.0).abs() < 1e-6);
        assert_eq!((of_pair.unit.as_ref(), of_pair.cell(1).as_str()), ("K dex", ""));
    }
}
