//! How far models are from each other, whether they err together, and stars on which they agree against the catalogue.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::Serialize;

use super::contestant::{Contestant, pairs};
use crate::stats::correlation::{pearson, spearman};
use crate::stats::robust::{median, robust_scatter, standard_deviation};

/// Two estimates agree against the catalogue if they are nearer to each other than this part of either's distance from it.
const NEARNESS: f64 = 0.5;

/// Two models beside each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Agreement {
    /// One model.
    pub first: String,
    /// The other.
    pub second: String,
    /// By label.
    pub labels: BTreeMap<String, AgreedLabel>,
}

/// Two models' estimates of one label, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AgreedLabel {
    /// Stars both estimate.
    pub n_stars: usize,
    /// Median of first - second.
    pub bias: f64,
    /// Standard deviation of first - second.
    pub scatter: f64,
    /// 1.4826 x median absolute deviation of first - second.
    pub robust_scatter: f64,
    /// Correlation of their errors, estimate - catalogue. The catalogue's own errors are common to both and raise it.
    pub error_correlation: f64,
    /// The same of the errors' ranks, which a few stars cannot dominate.
    pub error_rank_correlation: f64,
    /// Correlation of the ranks of estimate - truth, where the truth is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub true_error_rank_correlation: Option<f64>,
}

/// A star whose catalogue label may be wrong: models agree with each other and are far from it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// The star.
    pub id: String,
    /// The label.
    pub label: String,
    /// The catalogue's value.
    pub catalogue: f64,
    /// The true value, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<f64>,
    /// What is wrong with the star, where that is known; `none` for nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pathology: Option<String>,
    /// The models that agree.
    pub models: BTreeMap<String, Deviation>,
}

/// How far one model is from the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Deviation {
    /// Its estimate.
    pub estimate: f64,
    /// Estimate - catalogue about its median, in robust scatters of this model.
    pub sigma: f64,
    /// Flags of the star's spectrum, catalogue row and fit.
    pub flags: i64,
}

/// Compares every two models.
pub(super) fn compare(contestants: &[Contestant]) -> Vec<Agreement> {
    let of_pair = |(a, b): (usize, usize)| {
        let (first, second) = (&contestants[a], &contestants[b]);
        let names = first.predictions.label_names.iter().enumerate();
        Agreement {
            first: first.name.to_string(),
            second: second.name.to_string(),
            labels: names.map(|(k, name)| (name.clone(), of_label(first, second, k))).collect(),
        }
    };
    pairs(contestants.len()).map(of_pair).collect()
}

fn of_label(first: &Contestant, second: &Contestant, label: usize) -> AgreedLabel {
    let estimate = |of: &Contestant, star: usize| of.predictions.estimates.labels[[star, label]];
    let stars: Vec<usize> = (0..first.predictions.n_stars())
        .filter(|star| estimate(first, *star).is_finite() && estimate(second, *star).is_finite())
        .collect();
    let apart: Vec<f64> = stars.iter().map(|star| estimate(first, *star) - estimate(second, *star)).collect();
    let errors = |references: &Array2<f64>| -> (Vec<f64>, Vec<f64>) {
        let known = stars.iter().filter(|star| references[[**star, label]].is_finite());
        let error = |of: &Contestant, star: usize| estimate(of, star) - references[[star, label]];
        known.map(|star| (error(first, *star), error(second, *star))).unzip()
    };
    let (of_first, of_second) = errors(&first.predictions.catalogue);
    let truth = first.predictions.truth.as_ref().map(|truth| errors(&truth.labels));
    AgreedLabel {
        n_stars: stars.len(),
        bias: median(&apart),
        scatter: standard_deviation(&apart),
        robust_scatter: robust_scatter(&apart),
        error_correlation: pearson(&of_first, &of_second),
        error_rank_correlation: spearman(&of_first, &of_second),
        true_error_rank_correlation: truth.map(|(of_first, of_second)| spearman(&of_first, &of_second)),
    }
}

/// Stars on which two models or more agree against the catalogue, label by label; the farthest off first.
pub(super) fn suspects(contestants: &[Contestant], least_sigma: f64) -> Vec<Suspect> {
    let Some(first) = contestants.first().map(|contestant| contestant.predictions) else { return Vec::new() };
    let mut suspects = Vec::new();
    for (k, label) in first.label_names.iter().enumerate() {
        let deviations: Vec<Vec<Deviation>> = contestants.iter().map(|contestant| deviations(contestant, k)).collect();
        let mut of_label: Vec<(f64, Suspect)> = Vec::new();
        for (star, &catalogue) in first.catalogue.column(k).iter().enumerate() {
            let far: Vec<usize> =
                (0..contestants.len()).filter(|model| deviations[*model][star].sigma.abs() > least_sigma).collect();
            let agree = |a: usize, b: usize| {
                let [a, b] = [a, b].map(|model| deviations[model][star]);
                let nearest = (a.estimate - catalogue).abs().min((b.estimate - catalogue).abs());
                a.sigma.signum() == b.sigma.signum() && (a.estimate - b.estimate).abs() < NEARNESS * nearest
            };
            let agreeing: Vec<usize> =
                far.iter().copied().filter(|a| far.iter().any(|b| a != b && agree(*a, *b))).collect();
            if agreeing.is_empty() {
                continue;
            }
            let least = agreeing.iter().map(|model| deviations[*model][star].sigma.abs()).fold(f64::INFINITY, f64::min);
            let truth = first.truth.as_ref();
            let suspect = Suspect {
                id: first.ids[star].clone(),
                label: label.clone(),
                catalogue,
                truth: truth.map(|truth| truth.labels[[star, k]]),
                pathology: truth.and_then(|truth| truth.pathology_in_table(star)).map(String::from),
                models: agreeing
                    .iter()
                    .map(|model| (contestants[*model].name.to_string(), deviations[*model][star]))
                    .collect(),
            };
            of_label.push((least, suspect));
        }
        of_label.sort_by(|a, b| b.0.total_cmp(&a.0));
        suspects.extend(of_label.into_iter().map(|(_, suspect)| suspect));
    }
    suspects
}

/// How far each star's estimate is from the catalogue; NaN where that is not known.
fn deviations(contestant: &Contestant, label: usize) -> Vec<Deviation> {
    let predictions = contestant.predictions;
    let estimates = predictions.estimates.labels.column(label);
    let residuals: Vec<f64> = estimates.iter().zip(predictions.catalogue.column(label)).map(|(e, c)| e - c).collect();
    let known: Vec<f64> = residuals.iter().copied().filter(|residual| residual.is_finite()).collect();
    let (centre, scatter) = (median(&known), robust_scatter(&known));
    let deviation = |star: usize| Deviation {
        estimate: estimates[star],
        sigma: (residuals[star] - centre) / scatter,
        flags: predictions.flags[star],
    };
    (0..residuals.len()).map(deviation).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{compared, noise};

    #[test]
    fn errors_that_are_common_correlate_and_cancel_between_models() {
        let (common, own, other) = (noise(400, 0), noise(400, 31), noise(400, 77));
        let sum = |own: &[f64], part: f64| common.iter().zip(own).map(|(c, o)| c + part * o).collect::<Vec<f64>>();
        let close = compared(&[sum(&own, 0.1), sum(&other, 0.1)]).agreement[0].labels["teff"];
        assert!(close.error_correlation > 0.97 && close.error_rank_correlation > 0.97, "{close:?}");
        assert!((close.scatter - 0.1 * (1.0_f64 / 6.0).sqrt()).abs() < 0.02 && close.bias.abs() < 0.01);
        assert_eq!(close.true_error_rank_correlation, Some(close.error_rank_correlation));
        let apart = compared(&[own, other]).agreement[0].labels["teff"];
        assert!(apart.error_correlation.abs() < 0.2 && apart.n_stars == 400, "{apart:?}");
    }

    #[test]
    fn stars_on_which_models_agree_against_the_catalogue_are_named() {
        let (mut first, mut second) = (noise(200, 0), noise(200, 4));
        // Both say the same and are far off; one alone is far off; both are, on either side; both are, apart.
        (first[10], second[10]) = (30.0, 31.0);
        first[20] = 40.0;
        (first[30], second[30]) = (30.0, -30.0);
        (first[40], second[40]) = (10.0, 40.0);
        (first[50], second[50]) = (-90.0, -91.0);
        (first[60], second[60]) = (f64::NAN, 30.0);
        let found = compared(&[first, second, noise(200, 2)]).against_catalogue;
        let ids: Vec<&str> = found.iter().map(|suspect| suspect.id.as_str()).collect();
        assert_eq!(ids, ["s50", "s10"]);
        assert_eq!(found[1].models.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert!((found[1].models["b"].estimate - found[1].catalogue - 31.0).abs() < 1e-9);
        assert!(found[1].models["a"].sigma > 50.0 && found[0].models["a"].sigma < -100.0);
    }
}
