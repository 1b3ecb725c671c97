//! Models side by side on the same test stars: paired differences, errors along SNR and labels, agreement among themselves.

pub mod across_runs;
pub mod agreement;
pub mod contestant;
pub mod dependence;
mod matching;
pub mod paired;
pub mod runs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::agreement::{Agreement, Suspect};
use self::contestant::Contestant;
use self::dependence::Dependence;
use self::paired::Paired;
use crate::findings::metrics::BootstrapSettings;
use crate::stats::bootstrap::Resampling;

/// `[comparison]`: how models are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComparisonSettings {
    /// Quantile bins of SNR and of each label, at most; fewer where stars are few.
    #[schemars(range(min = 1, max = 100))]
    pub bins: usize,
    /// How many robust scatters of its own each of two models must be from the catalogue for their agreement to count
    /// against the catalogue.
    #[schemars(range(min = 0.01, max = 1e9))]
    pub suspect_sigma: f64,
}

impl Default for ComparisonSettings {
    fn default() -> Self {
        Self { bins: 7, suspect_sigma: 5.0 }
    }
}

/// What a comparison found. Where models are compared one by one, the order is that of `models`.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// The models.
    pub models: Vec<String>,
    /// The labels.
    pub labels: Vec<String>,
    /// The model with the smallest robust scatter: by the geometric mean over the labels.
    pub best: String,
    /// Test stars.
    pub n_stars: usize,
    /// Resamples behind each interval.
    pub n_resamples: usize,
    /// Probability the intervals hold.
    pub interval_level: f64,
    /// Every two models on the stars both estimate.
    pub paired: Vec<Paired>,
    /// How far every two models are from each other, and whether they err together.
    pub agreement: Vec<Agreement>,
    /// Stars on which models agree with each other and not with the catalogue.
    pub against_catalogue: Vec<Suspect>,
    /// Errors in bins of SNR and of each label; a table of its own among the files.
    #[serde(skip)]
    pub dependence: Vec<Dependence>,
}

impl Comparison {
    /// Compares models that were tested on the same stars, in the same order, against the same labels.
    ///
    /// `None` without models.
    pub fn new(
        contestants: &[Contestant],
        settings: &ComparisonSettings,
        bootstrap: &BootstrapSettings,
        seed: u64,
    ) -> Option<Self> {
        let first = contestants.first()?.predictions;
        let resampling = Resampling { n_stars: first.n_stars(), n_resamples: bootstrap.resamples, seed };
        let level = bootstrap.level;
        Some(Self {
            models: contestants.iter().map(|contestant| contestant.name.to_string()).collect(),
            labels: first.label_names.clone(),
            best: best(contestants)?.to_string(),
            n_stars: first.n_stars(),
            n_resamples: bootstrap.resamples,
            interval_level: level,
            paired: paired::compare(contestants, &resampling, level),
            agreement: agreement::compare(contestants),
            against_catalogue: agreement::suspects(contestants, settings.suspect_sigma),
            dependence: dependence::measure(contestants, settings.bins, &resampling, level),
        })
    }

    /// Position of the best model.
    pub fn best_index(&self) -> usize {
        self.models.iter().position(|model| *model == self.best).unwrap_or(0)
    }

    /// Pairs of the best model with each other one, the other one first.
    pub fn against_best(&self) -> Vec<Paired> {
        let others = self.models.iter().filter(|model| **model != self.best);
        others.filter_map(|other| self.pair(other, &self.best)).collect()
    }

    /// One pair, this one first.
    fn pair(&self, first: &str, second: &str) -> Option<Paired> {
        let is = |pair: &&Paired, a: &str, b: &str| pair.first == a && pair.second == b;
        let straight = self.paired.iter().find(|pair| is(pair, first, second)).cloned();
        straight.or_else(|| Some(self.paired.iter().find(|pair| is(pair, second, first))?.reversed()))
    }
}

/// The contestant with the smallest geometric mean of its labels' robust scatters; labels with no or no scatter are left out.
fn best<'a>(contestants: &[Contestant<'a>]) -> Option<&'a str> {
    let mean_log = |contestant: &Contestant| {
        let scatters = contestant.metrics.labels.values().map(|label| label.robust_scatter);
        let logs: Vec<f64> = scatters.filter(|scatter| *scatter > 0.0).map(f64::ln).collect();
        // A model without a single estimate is not the best.
        if logs.is_empty() { f64::INFINITY } else { crate::stats::robust::mean(&logs) }
    };
    contestants.iter().min_by(|a, b| mean_log(a).total_cmp(&mean_log(b))).map(|contestant| contestant.name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::findings::metrics::{ModelMetrics, summarize};
    use crate::findings::predictions::Predictions;
    use crate::findings::predictions::tests::bare;
    use crate::models::LabelEstimates;
    use crate::stars::truth::Truth;
    use ndarray::{Array2, Array3};
    use rand::{RngExt, SeedableRng};

    /// Repeatable numbers, uniform in -0.5..0.5.
    pub fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        (0..n).map(|_| rng.random_range(-0.5..0.5)).collect()
    }

    /// Predictions of one label, `teff`, that are off by these residuals from a catalogue from 4000 to 5000.
    pub fn predictions(residuals: &[f64]) -> Predictions {
        let n = residuals.len();
        let catalogue = Array2::from_shape_fn((n, 1), |(star, _)| 4000.0 + 1000.0 * star as f64 / n as f64);
        let labels = Array2::from_shape_fn((n, 1), |(star, _)| catalogue[[star, 0]] + residuals[star]);
        let estimates = LabelEstimates::read_off(labels, Array3::from_elem((n, 1, 1), 100.0), vec![1; n]);
        Predictions {
            truth: Some(Truth { labels: catalogue.clone(), pathology: None }),
            snr: (0..n).map(|star| 50.0 + (star * 37 % n) as f64).collect(),
            ..bare(&["teff"], catalogue, estimates)
        }
    }

    /// A comparison of models with these residuals, named a, b, ...
    pub fn compared(residuals: &[Vec<f64>]) -> Comparison {
        let bootstrap = BootstrapSettings { resamples: 200, ..Default::default() };
        let all: Vec<Predictions> = residuals.iter().map(|residuals| predictions(residuals)).collect();
        let metrics: Vec<ModelMetrics> = all.iter().map(|one| summarize(one, 10, 3, &bootstrap, 1)).collect();
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let contestants: Vec<Contestant> = names
            .iter()
            .zip(&all)
            .zip(&metrics)
            .map(|((name, predictions), metrics)| Contestant { name, predictions, metrics })
            .collect();
        Comparison::new(&contestants, &ComparisonSettings::default(), &bootstrap, 1).unwrap()
    }

    #[test]
    fn the_model_with_the_smallest_scatter_is_the_best_and_all_are_held_against_it() {
        let narrow = noise(200, 0);
        let times = |factor: f64| narrow.iter().map(|value| factor * value).collect::<Vec<f64>>();
        let comparison = compared(&[times(3.0), times(1.0), times(2.0)]);
        assert_eq!((comparison.best.as_str(), comparison.best_index(), comparison.paired.len()), ("b", 1, 3));
        let against = comparison.against_best();
        let names: Vec<(&str, &str)> = against.iter().map(|pair| (pair.first.as_str(), pair.second.as_str())).collect();
        assert_eq!(names, [("a", "b"), ("c", "b")]);
        let worse = &against[0].labels["teff"];
        assert!(worse.robust_scatter.value > 0.0 && worse.robust_scatter.fraction_first_smaller == 0.0);
        assert_eq!(against[0].labels_vs_truth["teff"], *worse);
        assert!(Comparison::new(&[], &ComparisonSettings::default(), &BootstrapSettings::default(), 1).is_none());
        let json = serde_json::to_value(&comparison).unwrap();
        assert_eq!(json["paired"][0]["labels"]["teff"]["n_stars"], 200);
    }
}
