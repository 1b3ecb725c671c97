//! How far estimates are from the catalogue: bias, scatter and their bootstrap intervals.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::config::BootstrapSettings;
use super::predictions::Predictions;
use super::truth::Truth;
use crate::spectra::quality::star_flags;
use crate::stats::bootstrap::interval;
use crate::stats::robust::{mean, median, robust_scatter, standard_deviation};

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
    /// Median formal error of the estimates.
    pub median_formal_error: f64,
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

/// Name of the group of stars with which nothing is wrong.
pub const HEALTHY: &str = "healthy";

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
}

/// Compares estimates with reference labels, star by star; pairs that are not both finite are left out.
pub fn compare(
    estimates: &[f64],
    errors: &[f64],
    references: &[f64],
    settings: &BootstrapSettings,
    seed: u64,
) -> LabelMetrics {
    let pairs = || estimates.iter().zip(references).filter(|(e, r)| e.is_finite() && r.is_finite());
    let residuals: Vec<f64> = pairs().map(|(estimate, reference)| estimate - reference).collect();
    let absolute: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
    let bounds =
        |statistic: fn(&[f64]) -> f64| interval(&residuals, statistic, settings.resamples, settings.level, seed);
    let errors: Vec<f64> = errors.iter().copied().filter(|error| error.is_finite()).collect();
    LabelMetrics {
        n_stars: residuals.len(),
        bias: mean(&residuals),
        scatter: standard_deviation(&residuals),
        robust_scatter: robust_scatter(&residuals),
        median_abs_error: median(&absolute),
        bias_interval: bounds(mean),
        scatter_interval: bounds(standard_deviation),
        robust_scatter_interval: bounds(robust_scatter),
        median_formal_error: median(&errors),
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
    let against = |references: &Array2<f64>, stars: &[usize]| -> BTreeMap<String, LabelMetrics> {
        let of = |value: &dyn Fn(usize) -> f64| stars.iter().map(|star| value(*star)).collect::<Vec<f64>>();
        let label = |(k, name): (usize, &String)| {
            let estimates = of(&|star| predictions.estimates.labels[[star, k]]);
            let errors = of(&|star| predictions.estimates.error(star, k));
            (name.clone(), compare(&estimates, &errors, &of(&|star| references[[star, k]]), settings, seed))
        };
        predictions.label_names.iter().enumerate().map(label).collect()
    };
    let all: Vec<usize> = (0..predictions.n_stars()).collect();
    let mut by_pathology = BTreeMap::new();
    if let Some(Truth { labels, pathology: Some(pathology) }) = &predictions.truth {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (star, word) in pathology.iter().enumerate() {
            groups.entry(if word.is_empty() { HEALTHY } else { word }).or_default().push(star);
        }
        for (word, stars) in groups {
            let metrics = GroupMetrics {
                n_test: stars.len(),
                labels: against(&predictions.catalogue, &stars),
                labels_vs_truth: against(labels, &stars),
            };
            by_pathology.insert(word.to_string(), metrics);
        }
    }
    let chi2: Vec<f64> =
        (0..predictions.n_stars()).map(|n| predictions.estimates.chi2_reduced(n)).filter(|v| v.is_finite()).collect();
    let count = |bit: i64| predictions.flags.iter().filter(|flags| **flags & bit != 0).count();
    ModelMetrics {
        labels: against(&predictions.catalogue, &all),
        labels_vs_truth: predictions.truth.as_ref().map(|truth| against(&truth.labels, &all)).unwrap_or_default(),
        by_pathology,
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_of_known_residuals() {
        let reference = [4000.0, 4100.0, 4200.0, f64::NAN, 4300.0];
        let estimate = [4010.0, 4100.0, 4190.0, 9999.0, f64::NAN];
        let metrics = compare(&estimate, &[5.0; 5], &reference, &BootstrapSettings::default(), 1);
        // Residuals 10, 0, -10.
        assert_eq!((metrics.n_stars, metrics.bias, metrics.median_abs_error), (3, 0.0, 10.0));
        assert!((metrics.scatter - (200.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((metrics.robust_scatter - 14.826).abs() < 1e-12);
        assert!(metrics.bias_interval.0 <= 0.0 && metrics.bias_interval.1 >= 0.0);
    }
}
