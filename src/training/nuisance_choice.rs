//! How many nuisance spectra the data bear, judged by the labels and the likelihood of training stars held out.

use std::borrow::Cow;
use std::fmt::Formatter;

use ndarray::{Array2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::stats::robust::{mean, median, robust_scatter, standard_deviation};

/// How many nuisance spectra a model learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NuisanceCount {
    /// As many as training stars held out say.
    HeldOut,
    /// So many.
    Fixed(usize),
}

impl NuisanceCount {
    const HELD_OUT: &str = "held-out";
}

impl JsonSchema for NuisanceCount {
    fn schema_name() -> Cow<'static, str> {
        "NuisanceCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [{ "const": Self::HELD_OUT }, { "type": "integer", "minimum": 0, "maximum": 200 }] })
    }
}

impl Serialize for NuisanceCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::HeldOut => serializer.serialize_str(Self::HELD_OUT),
            Self::Fixed(count) => serializer.serialize_u64(*count as u64),
        }
    }
}

impl<'de> Deserialize<'de> for NuisanceCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountOrWord;
        impl Visitor<'_> for CountOrWord {
            type Value = NuisanceCount;

            fn expecting(&self, formatter: &mut Formatter) -> std::fmt::Result {
                write!(formatter, "a number of nuisance spectra, or {:?}", NuisanceCount::HELD_OUT)
            }

            fn visit_i64<E: de::Error>(self, count: i64) -> Result<NuisanceCount, E> {
                let count = usize::try_from(count).map_err(|_| E::invalid_value(Unexpected::Signed(count), &self))?;
                Ok(NuisanceCount::Fixed(count))
            }

            fn visit_u64<E: de::Error>(self, count: u64) -> Result<NuisanceCount, E> {
                let count = usize::try_from(count).map_err(|_| E::invalid_value(Unexpected::Unsigned(count), &self))?;
                Ok(NuisanceCount::Fixed(count))
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<NuisanceCount, E> {
                let known = word == NuisanceCount::HELD_OUT;
                known.then_some(NuisanceCount::HeldOut).ok_or_else(|| E::invalid_value(Unexpected::Str(word), &self))
            }
        }
        deserializer.deserialize_any(CountOrWord)
    }
}

/// Numbers of nuisance spectra that are tried; none is the plain Cannon.
pub const CANDIDATES: [usize; 5] = [0, 5, 10, 20, 35];
/// Residuals count up to so many robust scatters of the plain Cannon: a few wrong labels must not choose.
const MOST_SCATTERS: f64 = 5.0;
/// Resamples of the stars, from which the uncertainty of a difference follows.
const N_RESAMPLES: usize = 200;

/// Numbers of nuisance spectra beside each other on the same training stars, held out, and which one was chosen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NuisanceChoice {
    /// The number chosen; 0 is the plain Cannon.
    pub chosen: usize,
    /// Training stars that judged.
    pub n_held_out: usize,
    /// What was tried, in ascending numbers.
    pub candidates: Vec<NuisanceCandidate>,
}

/// One number of nuisance spectra.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NuisanceCandidate {
    /// The number.
    pub spectra: usize,
    /// Standard deviation of estimate - catalogue of every label, of the stars held out.
    pub scatter: Vec<f64>,
    /// The same as 1.4826 MAD.
    pub robust_scatter: Vec<f64>,
    /// Mean logarithm of both, over labels, minus the plain Cannon's: below 0 is better.
    pub score: f64,
    /// Median over the stars of ln(likelihood) per pixel minus the plain Cannon's; above 0 is better.
    #[serde(default)]
    pub ln_likelihood: f64,
    /// Whether it is worse than the plain Cannon in some label by more than twice the difference's uncertainty.
    pub loses: bool,
}

/// What stars held out show of one number of nuisance spectra.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The number.
    pub spectra: usize,
    /// estimate - catalogue, [n_stars, n_labels].
    pub residuals: Array2<f64>,
    /// ln(likelihood) per pixel of every star.
    pub ln_likelihood: Vec<f64>,
}

/// Standard and robust scatter of every label.
#[derive(Clone)]
struct Scatters(Vec<[f64; 2]>);

impl Scatters {
    fn of(residuals: &Array2<f64>, rows: &[usize]) -> Self {
        let chosen = residuals.select(Axis(0), rows);
        let of_label = |column: ndarray::ArrayView1<f64>| {
            let column = column.to_vec();
            [standard_deviation(&column), robust_scatter(&column)]
        };
        Self(chosen.columns().into_iter().map(of_label).collect())
    }

    /// ln of each scatter over that of another model, label by label.
    fn against(&self, other: &Self) -> Vec<[f64; 2]> {
        let ratio = |a: f64, b: f64| (a.max(f64::MIN_POSITIVE) / b.max(f64::MIN_POSITIVE)).ln();
        self.0.iter().zip(&other.0).map(|(own, other)| [0, 1].map(|i| ratio(own[i], other[i]))).collect()
    }

    fn score(&self, other: &Self) -> f64 {
        mean(&self.against(other).into_iter().flatten().collect::<Vec<f64>>())
    }
}

impl NuisanceChoice {
    /// Chooses from trials on the same stars, in ascending numbers, the first of which is the plain Cannon; `None` if fewer
    /// than ten stars have labels in all of them.
    ///
    /// Of those that lose to the plain Cannon in no label and whose score is the best within its uncertainty, the one is taken
    /// under which the stars' spectra are most likely; the plain Cannon itself unless it is worse by twice the uncertainty.
    pub fn new(trials: &[Trial]) -> Option<Self> {
        let plain = &trials.first()?.residuals;
        let is_known = |star: &usize| {
            let mut values =
                trials.iter().flat_map(|own| own.residuals.row(*star).into_iter().chain([&own.ln_likelihood[*star]]));
            values.all(|value| value.is_finite())
        };
        let known: Vec<usize> = (0..plain.nrows()).filter(is_known).collect();
        if known.len() < 10 {
            return None;
        }
        let limits: Vec<f64> = plain
            .select(Axis(0), &known)
            .columns()
            .into_iter()
            .map(|column| MOST_SCATTERS * robust_scatter(&column.to_vec()))
            .collect();
        let limited: Vec<Array2<f64>> = trials
            .iter()
            .map(|own| {
                Array2::from_shape_fn((known.len(), limits.len()), |(star, k)| {
                    own.residuals[[known[star], k]].clamp(-limits[k], limits[k])
                })
            })
            .collect();
        let all: Vec<usize> = (0..known.len()).collect();
        let whole: Vec<Scatters> = limited.iter().map(|own| Scatters::of(own, &all)).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(known.len() as u64);
        let resampled: Vec<Vec<Scatters>> = (0..N_RESAMPLES)
            .map(|_| {
                let rows: Vec<usize> = all.iter().map(|_| rng.random_range(0..known.len())).collect();
                limited.iter().map(|own| Scatters::of(own, &rows)).collect()
            })
            .collect();
        let uncertainty = |difference: &dyn Fn(&[Scatters]) -> f64| {
            standard_deviation(&resampled.iter().map(|scatters| difference(scatters)).collect::<Vec<f64>>())
        };
        let loses = |candidate: usize| {
            (0..limits.len()).any(|k| {
                [0, 1].into_iter().any(|i| {
                    let difference = |scatters: &[Scatters]| scatters[candidate].against(&scatters[0])[k][i];
                    difference(&whole) > 2.0 * uncertainty(&difference)
                })
            })
        };
        let gain = |trial: &Trial| {
            let of_star = |star: &usize| trial.ln_likelihood[*star] - trials[0].ln_likelihood[*star];
            median(&known.iter().map(of_star).collect::<Vec<f64>>())
        };
        let candidates: Vec<NuisanceCandidate> = (0..trials.len())
            .map(|candidate| {
                let unlimited = Scatters::of(&trials[candidate].residuals, &known);
                NuisanceCandidate {
                    spectra: trials[candidate].spectra,
                    ln_likelihood: gain(&trials[candidate]),
                    scatter: unlimited.0.iter().map(|scatter| scatter[0]).collect(),
                    robust_scatter: unlimited.0.iter().map(|scatter| scatter[1]).collect(),
                    score: whole[candidate].score(&whole[0]),
                    loses: candidate > 0 && loses(candidate),
                }
            })
            .collect();
        let fair = || (0..candidates.len()).filter(|candidate| !candidates[*candidate].loses);
        let best = fair().min_by(|a, b| candidates[*a].score.total_cmp(&candidates[*b].score))?;
        let is_as_good = |candidate: &usize| {
            let difference = |scatters: &[Scatters]| scatters[*candidate].score(&scatters[best]);
            // The best of several is ahead by chance alone: the plain Cannon must be clearly worse.
            let most = if *candidate == 0 { 2.0 } else { 1.0 };
            difference(&whole) <= most * uncertainty(&difference)
        };
        let likelihood = |candidate: &usize| candidates[*candidate].ln_likelihood;
        let most_likely = || {
            let as_good = fair().filter(is_as_good);
            as_good.max_by(|a, b| likelihood(a).total_cmp(&likelihood(b))).unwrap_or(best)
        };
        let chosen = if is_as_good(&0) { 0 } else { most_likely() };
        Some(Self { chosen: candidates[chosen].spectra, n_held_out: known.len(), candidates })
    }

    /// The choices of some folds in a sentence; nothing where there were none.
    pub fn words(choices: &[&Self]) -> Option<String> {
        let first = choices.first()?;
        let numbers: Vec<String> = choices.iter().map(|choice| choice.chosen.to_string()).collect();
        let by_fold = if choices.len() > 1 { " (by fold)" } else { "" };
        let stars = first.n_held_out;
        if choices.iter().all(|choice| choice.chosen == 0) {
            return Some(format!(
                "no nuisance spectra: on {stars} training stars held out, no number of them beats the plain Cannon, which \
                 this model therefore is"
            ));
        }
        let score = |choice: &&Self| {
            let chosen = choice.candidates.iter().find(|candidate| candidate.spectra == choice.chosen);
            chosen.map_or(f64::NAN, |candidate| candidate.score)
        };
        let gain = mean(&choices.iter().map(score).collect::<Vec<f64>>()).exp_m1();
        Some(format!(
            "{} nuisance spectra{by_fold}, chosen on {stars} training stars held out: label scatter {:+.0}% against the \
             plain Cannon",
            numbers.join(", "),
            100.0 * gain
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;

    /// Trials of the numbers in turn, labels as wide as told, each ahead of the last in likelihood as told.
    fn trials(n: usize, widths: &[[f64; 2]], gains: &[f64], seed: u64) -> Vec<Trial> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let shared = Array2::from_shape_fn((n, 2), |_| normal(&mut rng));
        let of = |(place, widths): (usize, &[f64; 2])| {
            let residuals = Array2::from_shape_fn((n, 2), |(star, k)| {
                widths[k] * (0.9 * shared[[star, k]] + 0.4 * normal(&mut rng))
            });
            let ln_likelihood = (0..n).map(|star| 2.0 + shared[[star, 0]] + gains[place]).collect();
            Trial { spectra: CANDIDATES[place], residuals, ln_likelihood }
        };
        widths.iter().enumerate().map(of).collect()
    }

    #[test]
    fn of_numbers_as_good_in_labels_the_most_likely_is_chosen() {
        let widths = [[50.0, 0.1], [30.0, 0.06], [20.0, 0.05], [20.0, 0.05]];
        let choose = |gains: &[f64]| NuisanceChoice::new(&trials(300, &widths, gains, 1)).unwrap();
        let found = choose(&[0.0, 0.3, 0.2, 0.1]);
        assert_eq!((found.chosen, found.n_held_out), (10, 300));
        assert!((found.candidates[2].score - 0.5 * (0.4_f64.ln() + 0.5_f64.ln())).abs() < 0.1, "{found:?}");
        assert!((found.candidates[2].ln_likelihood - 0.2).abs() < 1e-12);
        assert!(NuisanceChoice::words(&[&found]).unwrap().starts_with("10 nuisance spectra, chosen on 300"));
        assert_eq!(choose(&[0.0, 0.3, 0.2, 0.25]).chosen, 20);
    }

    #[test]
    fn without_gain_it_is_the_plain_cannon_and_what_loses_in_one_label_is_not_taken() {
        let of_seed = |seed| NuisanceChoice::new(&trials(300, &[[50.0, 0.1]; 4], &[0.0, 0.1, 0.2, 0.3], seed)).unwrap();
        let (plain, chance): (Vec<_>, Vec<_>) = (10..30).map(of_seed).partition(|choice| choice.chosen == 0);
        // Three rivals, each ahead by twice its uncertainty once in forty times.
        assert!(chance.len() <= 5, "{} of 20 by chance", chance.len());
        let equal = &plain[0];
        assert!(NuisanceChoice::words(&[equal]).unwrap().contains("plain Cannon, which this model therefore is"));
        let loses = NuisanceChoice::new(&trials(300, &[[50.0, 0.1], [20.0, 0.2]], &[0.0, 1.0], 3)).unwrap();
        assert!(loses.candidates[1].loses && loses.chosen == 0, "{loses:?}");
    }

    #[test]
    fn wrong_labels_do_not_choose_and_too_few_stars_are_no_judges() {
        let mut stars = trials(300, &[[50.0, 0.1], [25.0, 0.05]], &[0.0, 0.1], 4);
        stars[1].residuals[[7, 0]] = 9000.0;
        assert_eq!(NuisanceChoice::new(&stars).unwrap().chosen, 5);
        stars[0].residuals.slice_mut(ndarray::s![5.., ..]).fill(f64::NAN);
        assert_eq!(NuisanceChoice::new(&stars), None);
    }
}
