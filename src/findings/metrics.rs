//! How far estimates are from the catalogue: bias, scatter and their bootstrap intervals.
use std::collections::BTreeMap;

use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error_check::{ErrorChecks, error_checks};
use super::predictions::Predictions;
use super::pulls::Pulls;
use super::saturation::Saturation;
use crate::findings::groups::{HEALTHY, groups};
use crate::spectra::quality::star_flags;
use crate::stars::truth::Truth;
use crate::stats::bootstrap::{Resampling, Sample, Summary, Wanted, central};
use crate::stats::robust::median;

/// Seed of everything drawn at random, where an experiment names none.
pub const DEFAULT_SEED: u64 = 1;

/// `[bootstrap]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapSettings {
    /// Resamplings of the test stars.
    #[schemars(range(min = 20, max = 1_000_000))]
    pub resamples: usize,
    /// Probability the intervals hold.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub level: f64,
}

impl Default for BootstrapSettings {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95 }
    }
}

/// Agreement of one label with the catalogue (or with truth), in the label's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LabelMetrics {
    /// Stars compared.
    pub n_stars: usize,
    /// Mean of estimate - catalogue.
    pub bias: f64,
    /// Standard deviation of estimate - catalogue.
    pub scatter: f64,
    /// 1.4826 x median absolute deviation of estimate - catalogue.
    pub robust_scatter: f64,
    /// Median of |estimate - catalogue|.
    pub median_abs_error: f64,
    /// Bootstrap interval of the bias.
    pub bias_interval: (f64, f64),
    /// Bootstrap interval of the scatter.
    pub scatter_interval: (f64, f64),
    /// Bootstrap interval of the robust scatter.
    pub robust_scatter_interval: (f64, f64),
    /// Bootstrap interval of the median of |estimate - catalogue|.
    pub median_abs_error_interval: (f64, f64),
    /// Median formal error of the estimates.
    pub median_formal_error: f64,
    /// The errors beside the residuals; absent where no star has a formal error.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pulls: Option<Pulls>,
}

/// What is reported of some of the test stars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GroupMetrics {
    /// Stars tested.
    pub n_test: usize,
    /// Against the catalogue, by label.
    pub labels: BTreeMap<String, LabelMetrics>,
    /// Against true labels.
    pub labels_vs_truth: BTreeMap<String, LabelMetrics>,
}

/// What is reported of one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelMetrics {
    /// Against the catalogue, by label.
    pub labels: BTreeMap<String, LabelMetrics>,
    /// Against true labels, where a truth table was given.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub labels_vs_truth: BTreeMap<String, LabelMetrics>,
    /// Where the truth tells what is wrong with stars: the same for the healthy ones (`healthy`) and those of each kind.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub by_pathology: BTreeMap<String, GroupMetrics>,
    /// How estimates follow the reference over each label's range, by label: against the truth (healthy stars where it tells
    /// them) or else the catalogue. Absent where stars are too few.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub saturation: BTreeMap<String, Saturation>,
    /// Formal and calibrated errors beside the residuals: by the stars and their references, then by label.
    #[serde(default)]
    pub error_checks: ErrorChecks,
    /// Training stars (mean over folds).
    pub n_train: usize,
    /// Stars tested.
    pub n_test: usize,
    /// Median reduced chi^2 of the test stars.
    pub chi2_reduced_median: f64,
    /// Test stars by flag.
    pub n_flagged: BTreeMap<String, usize>,
    /// Test stars with any flag.
    pub n_flagged_any: usize,
    /// Free parameters of the model.
    pub n_parameters: usize,
    /// Held-out training stars by which `BAD_FIT` is told (fewest of a fold), 0 where chi^2 alone tells it; absent where models of
    /// several runs are compared.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub n_usual: Option<usize>,
}

/// Estimates of one label of some stars, beside what they are compared with.
struct Task<'a> {
    predictions: &'a Predictions,
    references: &'a Array2<f64>,
    stars: &'a [usize],
    label: usize,
}

impl Task<'_> {
    fn residuals(&self) -> impl Iterator<Item = (usize, f64)> {
        let residual = |star: &usize| {
            self.predictions.estimates.labels[[*star, self.label]] - self.references[[*star, self.label]]
        };
        self.stars.iter().map(move |star| (*star, residual(star)))
    }

    /// What the sample of residuals, which holds the finite ones, and its resamples say.
    fn metrics(&self, sample: &Sample, resamples: &[Summary], level: f64) -> LabelMetrics {
        let summary = sample.summary();
        let interval = |of: fn(&Summary) -> f64| central(resamples.iter().map(of), level);
        let error = |star: usize| self.predictions.estimates.error(star, self.label);
        let errors: Vec<f64> = self.stars.iter().map(|star| error(*star)).filter(|error| error.is_finite()).collect();
        LabelMetrics {
            n_stars: sample.len(),
            bias: summary.mean,
            scatter: summary.scatter,
            robust_scatter: summary.robust_scatter,
            median_abs_error: summary.median_abs,
            bias_interval: interval(|summary| summary.mean),
            scatter_interval: interval(|summary| summary.scatter),
            robust_scatter_interval: interval(|summary| summary.robust_scatter),
            median_abs_error_interval: interval(|summary| summary.median_abs),
            median_formal_error: median(&errors),
            pulls: Pulls::new(self.residuals().map(|(star, residual)| (residual, error(star)))),
        }
    }
}

/// Metrics of a model's predictions.
pub fn summarize(
    predictions: &Predictions,
    n_train: usize,
    n_parameters: usize,
    settings: &BootstrapSettings,
    seed: u64,
) -> ModelMetrics {
    let all: Vec<usize> = (0..predictions.n_stars()).collect();
    let resampling = Resampling { n_stars: all.len(), n_resamples: settings.resamples, seed };
    let against = |references: &Array2<f64>, stars: &[usize]| -> BTreeMap<String, LabelMetrics> {
        let tasks: Vec<Task> =
            (0..predictions.label_names.len()).map(|label| Task { predictions, references, stars, label }).collect();
        let samples: Vec<Sample> = tasks.iter().map(|task| Sample::new(task.residuals())).collect();
        let resamples = resampling.summaries(&samples, Wanted::All);
        let metrics = |k: usize| tasks[k].metrics(&samples[k], &resamples[k], settings.level);
        predictions.label_names.iter().cloned().zip((0..tasks.len()).map(metrics)).collect()
    };
    let mut by_pathology = BTreeMap::new();
    if let (Some(Truth { labels, .. }), Some(groups)) = (&predictions.truth, groups(predictions)) {
        for (word, stars) in groups {
            let metrics = GroupMetrics {
                n_test: stars.len(),
                labels: against(&predictions.catalogue, &stars),
                labels_vs_truth: against(labels, &stars),
            };
            by_pathology.insert(word.to_string(), metrics);
        }
    }
    let chi2: Vec<f64> = predictions.chi2_reduced().into_iter().filter(|value| value.is_finite()).collect();
    let count = |bit: i64| predictions.flags.iter().filter(|flags| **flags & bit != 0).count();
    ModelMetrics {
        labels: against(&predictions.catalogue, &all),
        labels_vs_truth: predictions.truth.as_ref().map(|truth| against(&truth.labels, &all)).unwrap_or_default(),
        by_pathology,
        saturation: saturation(predictions, settings.level),
        error_checks: error_checks(predictions, &resampling, settings.level),
        n_train,
        n_test: predictions.n_stars(),
        chi2_reduced_median: median(&chi2),
        n_flagged: star_flags::NAMES
            .iter()
            .map(|(bit, name)| (name.to_string(), count(*bit)))
            .filter(|(_, n)| *n > 0)
            .collect(),
        n_flagged_any: predictions.flags.iter().filter(|flags| **flags != 0).count(),
        n_parameters,
        n_usual: None,
    }
}

/// Of every label, over the stars that are fair to judge by: healthy ones, and described by the model.
fn saturation(predictions: &Predictions, level: f64) -> BTreeMap<String, Saturation> {
    let healthy = groups(predictions).and_then(|mut groups| groups.remove(HEALTHY));
    let stars = healthy.unwrap_or_else(|| (0..predictions.n_stars()).collect());
    let is_described = |star: &usize| predictions.flags[*star] & star_flags::BAD_FIT == 0;
    let stars: Vec<usize> = stars.into_iter().filter(is_described).collect();
    let of = |(k, name): (usize, &String)| Some((name.clone(), Saturation::new(predictions, &stars, k, level)?));
    predictions.label_names.iter().enumerate().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::LabelEstimates;
    use ndarray::{Array3, array};

    #[test]
    fn metrics_of_known_residuals() {
        let estimates = LabelEstimates {
            labels: array![[4010.0], [4100.0], [4190.0], [9999.0], [f64::NAN]],
            covariance: Array3::from_elem((5, 1, 1), 25.0),
            chi2: vec![f64::NAN; 5],
            n_pixels: vec![0; 5],
            flags: vec![0; 5],
        };
        let predictions = Predictions {
            ids: (0..5).map(|star| star.to_string()).collect(),
            label_names: vec!["teff".into()],
            catalogue: array![[4000.0], [4100.0], [4200.0], [f64::NAN], [4300.0]],
            catalogue_errors: Array2::from_elem((5, 1), f64::NAN),
            calibrated_errors: Array2::from_elem((5, 1), f64::NAN),
            truth: None,
            snr: vec![f64::NAN; 5],
            estimates,
            flags: vec![0; 5],
        };
        let all = summarize(&predictions, 2, 3, &BootstrapSettings::default(), 1);
        let metrics = all.labels["teff"];
        // Residuals 10, 0, -10.
        assert_eq!((metrics.n_stars, metrics.bias, metrics.median_abs_error), (3, 0.0, 10.0));
        assert!((metrics.scatter - (200.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((metrics.robust_scatter - 14.826).abs() < 1e-12);
        assert!(metrics.bias_interval.0 <= 0.0 && metrics.bias_interval.1 >= 0.0);
        assert!(metrics.median_abs_error_interval.0 <= 10.0 && metrics.median_abs_error_interval.1 >= 10.0);
        let pulls = metrics.pulls.unwrap();
        assert_eq!((pulls.n_stars, pulls.within_1_error, pulls.within_2_errors), (3, 1.0 / 3.0, 1.0));
        // What is not known is null, not an error.
        let json = serde_json::to_value(&all).unwrap();
        assert!(json["chi2_reduced_median"].is_null() && json["labels"]["teff"]["pulls"]["robust_width"].is_f64());
    }
}
