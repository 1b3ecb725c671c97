//! Every two models on the stars both estimate: differences of their scatters from the same resamples of these stars.

use std::collections::BTreeMap;

use ndarray::Array2;
use rayon::prelude::*;
use serde::Serialize;

use super::contestant::{Contestant, pairs, residuals};
use crate::findings::groups::{HEALTHY, groups};
use crate::stats::bootstrap::{Resampling, Sample, Summary, Wanted};
use crate::stats::paired::Difference;

/// Two models. Differences are those of the first minus those of the second: negative where the first is better.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Paired {
    /// One model.
    pub first: String,
    /// The other.
    pub second: String,
    /// Against the catalogue, by label.
    pub labels: BTreeMap<String, PairedLabel>,
    /// Against true labels, where they are known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels_vs_truth: BTreeMap<String, PairedLabel>,
    /// Against true labels, over the stars with which nothing is wrong, where that is known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub healthy_vs_truth: BTreeMap<String, PairedLabel>,
}

/// Two models on one label, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PairedLabel {
    /// Stars both estimate.
    pub n_stars: usize,
    /// Of the standard deviations of estimate - reference.
    pub scatter: Difference,
    /// Of their robust counterparts, 1.4826 x median absolute deviation.
    pub robust_scatter: Difference,
    /// Of the medians of |estimate - reference|.
    pub median_abs_error: Difference,
}

impl Paired {
    /// The same pair with the other one first.
    pub fn reversed(&self) -> Self {
        let turned = |labels: &BTreeMap<String, PairedLabel>| {
            labels.iter().map(|(name, label)| (name.clone(), label.reversed())).collect()
        };
        Self {
            first: self.second.clone(),
            second: self.first.clone(),
            labels: turned(&self.labels),
            labels_vs_truth: turned(&self.labels_vs_truth),
            healthy_vs_truth: turned(&self.healthy_vs_truth),
        }
    }
}

impl PairedLabel {
    fn reversed(&self) -> Self {
        Self {
            n_stars: self.n_stars,
            scatter: self.scatter.reversed(),
            robust_scatter: self.robust_scatter.reversed(),
            median_abs_error: self.median_abs_error.reversed(),
        }
    }
}

/// Compares every two models.
pub(super) fn compare(contestants: &[Contestant], resampling: &Resampling, level: f64) -> Vec<Paired> {
    let Some(first) = contestants.first().map(|contestant| contestant.predictions) else { return Vec::new() };
    let all: Vec<usize> = (0..first.n_stars()).collect();
    let of = |references: &Array2<f64>, stars: &[usize]| -> Vec<BTreeMap<String, PairedLabel>> {
        let mut by_pair = vec![BTreeMap::new(); pairs(contestants.len()).count()];
        for (label, name) in first.label_names.iter().enumerate() {
            let differences = of_label(contestants, references, label, stars, resampling, level);
            by_pair.iter_mut().zip(differences).for_each(|(labels, pair)| {
                labels.insert(name.clone(), pair);
            });
        }
        by_pair
    };
    let nothing = || vec![BTreeMap::new(); pairs(contestants.len()).count()];
    let labels = of(&first.catalogue, &all);
    let labels_vs_truth = first.truth.as_ref().map_or_else(nothing, |truth| of(&truth.labels, &all));
    let healthy = groups(first).and_then(|mut groups| groups.remove(HEALTHY));
    let healthy_vs_truth = match (&first.truth, healthy) {
        (Some(truth), Some(stars)) => of(&truth.labels, &stars),
        _ => nothing(),
    };
    pairs(contestants.len())
        .zip(labels.into_iter().zip(labels_vs_truth.into_iter().zip(healthy_vs_truth)))
        .map(|((a, b), (labels, (labels_vs_truth, healthy_vs_truth)))| Paired {
            first: contestants[a].name.to_string(),
            second: contestants[b].name.to_string(),
            labels,
            labels_vs_truth,
            healthy_vs_truth,
        })
        .collect()
}

/// One label of every two models.
fn of_label(
    contestants: &[Contestant],
    references: &Array2<f64>,
    label: usize,
    stars: &[usize],
    resampling: &Resampling,
    level: f64,
) -> Vec<PairedLabel> {
    let own: Vec<Vec<(usize, f64)>> = contestants
        .iter()
        .map(|contestant| residuals(contestant.predictions, references, label, stars).collect())
        .collect();
    // Models that estimate the same stars, as most do, share their samples among all their pairs.
    let mut samples: Vec<Sample> = Vec::new();
    let mut known: BTreeMap<(usize, Vec<usize>), usize> = BTreeMap::new();
    let mut both = |a: usize, b: usize| -> usize {
        let theirs: Vec<usize> = own[b].iter().map(|(star, _)| *star).collect();
        let common = own[a].iter().filter(|(star, _)| theirs.binary_search(star).is_ok());
        let common: Vec<(usize, f64)> = common.copied().collect();
        let key = (a, common.iter().map(|(star, _)| *star).collect());
        *known.entry(key).or_insert_with(|| {
            samples.push(Sample::new(common));
            samples.len() - 1
        })
    };
    let of_pair: Vec<(usize, usize)> = pairs(own.len()).map(|(a, b)| (both(a, b), both(b, a))).collect();
    let resamples = resampling.summaries(&samples, Wanted::All);
    let summaries: Vec<Summary> = samples.iter().map(Sample::summary).collect();
    let difference = |(a, b): (usize, usize), of: fn(&Summary) -> f64| {
        let pairs = resamples[a].iter().zip(&resamples[b]).map(|(first, second)| (of(first), of(second)));
        Difference::new((of(&summaries[a]), of(&summaries[b])), pairs, level)
    };
    of_pair
        .into_par_iter()
        .map(|pair| PairedLabel {
            n_stars: samples[pair.0].len(),
            scatter: difference(pair, |summary| summary.scatter),
            robust_scatter: difference(pair, |summary| summary.robust_scatter),
            median_abs_error: difference(pair, |summary| summary.median_abs),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{compared, noise};

    #[test]
    fn only_stars_that_both_estimate_are_compared() {
        let mut first = noise(100, 0);
        let mut second: Vec<f64> = first.iter().map(|value| 2.0 * value).collect();
        first[3] = f64::NAN;
        second[4] = f64::INFINITY;
        // A third that is off where the first knows nothing: no matter to the first two.
        let mut third = second.clone();
        third[3] = 1e6;
        let comparison = compared(&[first.clone(), second.clone(), third]);
        let stars: Vec<usize> = comparison.paired.iter().map(|pair| pair.labels["teff"].n_stars).collect();
        assert_eq!(stars, [98, 98, 99]);
        let pair = &comparison.paired[0];
        assert_eq!((pair.first.as_str(), pair.second.as_str()), ("a", "b"));
        let difference = pair.labels["teff"].scatter;
        let common: Vec<f64> = (0..100).filter(|star| ![3, 4].contains(star)).map(|star| first[star]).collect();
        let alone = crate::stats::robust::standard_deviation(&common);
        assert!((difference.value + alone).abs() < 1e-9 && difference.fraction_first_smaller == 1.0);
        assert!(difference.is_clear() && difference.interval.1 < 0.0);
        assert!(comparison.paired[1].labels["teff"].scatter == difference);
        assert!(comparison.paired[2].labels["teff"].scatter.value < -1e4);
        assert_eq!(pair.reversed().reversed(), *pair);
    }

    #[test]
    fn equal_models_are_a_draw() {
        let comparison = compared(&[noise(50, 0), noise(50, 0)]);
        let label = comparison.paired[0].labels["teff"];
        assert_eq!((label.scatter.value, label.scatter.interval), (0.0, (0.0, 0.0)));
        assert_eq!(label.median_abs_error.fraction_first_smaller, 0.5);
        assert!(!label.robust_scatter.is_clear());
    }
}
