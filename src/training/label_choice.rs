//! Which of a catalogue's labels train a Cannon, and how that was chosen.

use ndarray::{Array2, ArrayView1, Axis};
use serde::de::value::StrDeserializer;
use serde::{Deserialize, Serialize};

use crate::stats::robust::{robust_scatter, standard_deviation};

/// Which labels train.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelUse {
    /// Those of stars that have all of them, taken at their word.
    AtTheirWord,
    /// The same, without stars whose labels have errors beyond the usual.
    WithoutDoubtful,
    /// At their word, also of stars that lack some, which are found.
    Partial,
    /// Those of stars that have all of them, as uncertain as the catalogue says.
    Errors,
    /// As uncertain as the catalogue says, also of stars that lack some.
    PartialErrors,
}

impl LabelUse {
    /// Whether stars that lack a label train.
    pub fn is_partial(self) -> bool {
        matches!(self, Self::Partial | Self::PartialErrors)
    }

    /// Whether labels count as uncertain as their errors say.
    pub fn has_errors(self) -> bool {
        matches!(self, Self::Errors | Self::PartialErrors)
    }

    /// The one of this name in a run's numbers.
    pub fn named(name: &str) -> Option<Self> {
        Self::deserialize(StrDeserializer::<serde::de::value::Error>::new(name)).ok()
    }

    /// What it is, after "trained".
    pub fn words(self) -> &'static str {
        match self {
            Self::AtTheirWord => "by labels at their word",
            Self::WithoutDoubtful => "without stars of uncertain labels",
            Self::Partial => "by labels at their word, and by stars that lack some",
            Self::Errors => "by labels with their errors",
            Self::PartialErrors => "by labels with their errors, and by stars that lack some",
        }
    }
}

/// Ways beside each other on the same training stars, held out, and which one was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelChoice {
    /// The way that trains the model.
    pub chosen: LabelUse,
    /// Training stars that judged.
    pub n_held_out: usize,
    /// Training stars that lack a label.
    pub n_partial: usize,
    /// Training stars of a label whose error is more than three times the usual.
    pub n_doubtful: usize,
    /// What was tried; the first is without what is doubtful or found.
    pub candidates: Vec<LabelCandidate>,
}

/// One way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelCandidate {
    /// Which labels train.
    pub labels: LabelUse,
    /// Root mean square of estimate - catalogue of every label over that of the first candidate, of the stars held out.
    pub ratio: Vec<f64>,
    /// Standard errors of their logarithms, by the stars.
    #[serde(default)]
    pub ratio_error: Vec<f64>,
    /// Mean logarithm of these: below 0 is better.
    pub score: f64,
    /// Standard error of that, by the stars.
    pub score_error: f64,
}

impl LabelCandidate {
    /// Whether it is worse than the first in any label, by more than twice the standard error.
    fn loses(&self) -> bool {
        self.ratio.iter().zip(&self.ratio_error).any(|(ratio, error)| ratio.ln() > 2.0 * error)
    }
}

impl LabelChoice {
    /// The best of some ways to use labels by what was found of the labels of stars held out, [n_stars, n_labels] each: by how much they
    /// are above the catalogue's, whose errors are `errors`. The first wins where no other is better by more than twice its standard error,
    /// and worse in no label by so much.
    pub(super) fn new(
        tried: &[(LabelUse, Array2<f64>)],
        errors: &Array2<f64>,
        n_partial: usize,
        n_doubtful: usize,
    ) -> Self {
        let candidates = judged(tried, errors);
        let better = candidates.iter().filter(|one| one.score + 2.0 * one.score_error < 0.0 && !one.loses());
        let best = better.min_by(|a, b| a.score.total_cmp(&b.score)).unwrap_or(&candidates[0]);
        Self { chosen: best.labels, n_held_out: errors.nrows(), n_partial, n_doubtful, candidates }
    }

    /// The choice in words.
    pub fn words(&self) -> String {
        let first = &self.candidates[0];
        let others: Vec<String> = self.candidates[1..]
            .iter()
            .map(|one| {
                let but = if one.loses() { " in the mean, but one label is clearly worse" } else { "" };
                format!("{} {:+.1}%{but}", one.labels.words(), 100.0 * (one.score.exp() - 1.0))
            })
            .collect();
        format!(
            "trained {}; residuals of {} stars held out changed against training {}: {} ({} training stars lack a label, {} have \
             uncertain ones)",
            self.chosen.words(),
            self.n_held_out,
            first.labels.words(),
            others.join(", "),
            self.n_partial,
            self.n_doubtful
        )
    }
}

/// Each set of deviations, [n_stars, n_labels], against the first: squares count by the catalogue's errors, and what is beyond three
/// robust widths of all sets together counts as that.
fn judged(tried: &[(LabelUse, Array2<f64>)], errors: &Array2<f64>) -> Vec<LabelCandidate> {
    let (n_stars, n_labels) = errors.dim();
    let widths: Vec<f64> = (0..n_labels)
        .map(|label| {
            let all: Vec<f64> = tried.iter().flat_map(|(_, set)| set.column(label).to_vec()).collect();
            robust_scatter(&all).max(f64::MIN_POSITIVE)
        })
        .collect();
    // Each star's share of the mean square, [n_stars, n_labels].
    let squares = |set: &Array2<f64>| {
        Array2::from_shape_fn((n_stars, n_labels), |(star, label)| {
            let (width, error) = (widths[label], errors[[star, label]]);
            let error = if error.is_finite() { error } else { 0.0 };
            // What is not a number is as far as can be, too.
            set[[star, label]].abs().min(3.0 * width).powi(2) / (width * width + error * error)
        })
    };
    let means = |squares: &Array2<f64>| squares.mean_axis(Axis(0)).expect("there are judges");
    let first = squares(&tried[0].1);
    let of_first = means(&first);
    let candidate = |(labels, set): &(LabelUse, Array2<f64>)| {
        let own = squares(set);
        let of_own = means(&own);
        let ratio = (&of_own / &of_first).mapv(f64::sqrt);
        // The logarithm of a mean square moves by what each star adds to it, over that.
        let moved = (own / of_own - &first / &of_first) / 2.0;
        let error = |moved: ArrayView1<f64>| standard_deviation(&moved.to_vec()) / (n_stars as f64).sqrt();
        LabelCandidate {
            labels: *labels,
            score: ratio.mapv(f64::ln).mean().expect("there are labels"),
            score_error: error(moved.mean_axis(Axis(1)).expect("there are labels").view()),
            ratio_error: moved.columns().into_iter().map(error).collect(),
            ratio: ratio.to_vec(),
        }
    };
    tried.iter().map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::stats::normal::draw as normal;

    #[test]
    fn what_is_better_in_the_mean_and_clearly_worse_in_a_label_is_refused() {
        let mut random = ChaCha8Rng::seed_from_u64(4);
        let first = Array2::from_shape_simple_fn((150, 3), || normal(&mut random));
        let mut scaled = |factors: [f64; 3]| {
            let noise = Array2::from_shape_simple_fn((150, 3), || 0.1 * normal(&mut random));
            (&first + &noise) * &ndarray::arr1(&factors)
        };
        let (better, mixed) = (scaled([0.8, 0.85, 0.99]), scaled([0.7, 0.8, 1.15]));
        let choice = |other: &Array2<f64>| {
            let tried = [(LabelUse::AtTheirWord, first.clone()), (LabelUse::Partial, other.clone())];
            LabelChoice::new(&tried, &Array2::zeros((150, 3)), 40, 0)
        };
        assert_eq!(choice(&better).chosen, LabelUse::Partial);
        let found = choice(&mixed);
        assert!(found.chosen == LabelUse::AtTheirWord && found.candidates[1].score < -0.1, "{found:?}");
        assert!(found.words().contains("but one label is clearly worse"), "{}", found.words());
        assert_eq!(choice(&first).chosen, LabelUse::AtTheirWord);
    }
}
