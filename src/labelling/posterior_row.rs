//! The posterior of a spectrum as a row: a line of a journal, later one of the summary.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::journal_lines::{JournalRow, RowLine, Verb};
use super::label_row::{numbers, texts};
use crate::data::growing_table::RowMark;
use crate::error::Result;
use crate::inference::draws::Marginal;
use crate::inference::sampling::StarPosterior;
use crate::spectra::labels::pairs;
use crate::spectra::quality::star_flags;
use crate::stats::diagnostics::Diagnostics;

/// Numbers of a [`Marginal`].
const OF_MARGINAL: usize = 8;

/// What a summary is of, and the draws beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SummaryForm {
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// Whether errors have a factor of their own.
    pub has_noise: bool,
    /// Chains of a star.
    pub chains: usize,
    /// Draws of each.
    pub draws: usize,
    /// How many draws of a star are kept, of all chains together; 0 for none.
    pub kept: usize,
    /// What makes the posteriors.
    pub origin: String,
}

impl SummaryForm {
    /// Identifies rows: what makes the posteriors, and how many draws lie beside them.
    pub fn fingerprint(&self) -> String {
        format!("{}; {} draws kept", self.origin, self.n_kept())
    }

    /// Draws of a star that are kept, as there are no more than all.
    pub fn n_kept(&self) -> usize {
        self.kept.min(self.chains.saturating_mul(self.draws))
    }
}

/// What the posterior of a spectrum comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct PosteriorRow {
    /// The spectrum's name: its file, as it was given, or its place in an array.
    pub file: String,
    /// Star identifier from its header.
    pub id: String,
    /// Flags of spectrum and posterior.
    pub flags: i64,
    /// What the draws say; of how they came about only what a summary has.
    pub posterior: StarPosterior,
    /// Where its draws are, in the file beside the journal, where they are kept.
    pub draws: Option<RowMark>,
}

/// A [`PosteriorRow`] whose numbers are written as text: JSON knows no NaN.
#[derive(Debug, Serialize, Deserialize)]
pub struct PosteriorLine {
    file: String,
    id: String,
    flags: i64,
    /// Of each label and then of the noise, where that has a factor: mean, sd, three quantiles, R-hat, bulk and tail ESS.
    marginals: Vec<Vec<String>>,
    /// Whether the last of them is of the noise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    noise: bool,
    /// The covariances, where there is more than one label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    covariances: Vec<String>,
    divergences: usize,
    beyond_walls: usize,
    /// The row of its draws in the file beside the journal, and a hash of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    draws: Option<RowMark>,
}

impl RowLine for PosteriorLine {
    fn file(&self) -> &str {
        &self.file
    }

    fn flags(&self) -> i64 {
        self.flags
    }

    fn draws(&self) -> Option<&RowMark> {
        self.draws.as_ref()
    }
}

impl JournalRow for PosteriorRow {
    const VERB: Verb = Verb::Posterior;
    type Line = PosteriorLine;

    fn line(&self) -> PosteriorLine {
        let StarPosterior { marginals, noise, covariance, divergences, beyond_walls, .. } = &self.posterior;
        let n = marginals.len();
        let of_pairs: Vec<f64> = pairs_of(n).map(|pair| covariance[pair]).collect();
        PosteriorLine {
            file: self.file.clone(),
            id: self.id.clone(),
            flags: self.flags,
            marginals: marginals.iter().chain(noise).map(|marginal| texts(&of_marginal(marginal))).collect(),
            noise: noise.is_some(),
            covariances: texts(&of_pairs),
            divergences: *divergences,
            beyond_walls: *beyond_walls,
            draws: self.draws.clone(),
        }
    }

    fn read(line: PosteriorLine) -> Result<Self, String> {
        let mut marginals = line.marginals.iter().map(|texts| marginal(texts)).collect::<Result<Vec<_>, _>>()?;
        let noise = if line.noise { marginals.pop() } else { None };
        let n = marginals.len();
        let mut covariance = Array2::from_elem((n, n), f64::NAN);
        for ((a, b), value) in pairs_of(n).zip(numbers(&line.covariances)?) {
            (covariance[(a, b)], covariance[(b, a)]) = (value, value);
        }
        marginals.iter().enumerate().for_each(|(k, marginal)| covariance[(k, k)] = marginal.sd * marginal.sd);
        let (divergences, beyond_walls, flags) = (line.divergences, line.beyond_walls, line.flags);
        let posterior =
            StarPosterior { marginals, covariance, noise, divergences, beyond_walls, flags, ..StarPosterior::none(0) };
        Ok(Self { file: line.file, id: line.id, flags, posterior, draws: line.draws })
    }

    fn file(&self) -> &str {
        &self.file
    }

    fn is_read(&self) -> bool {
        self.flags & star_flags::UNREADABLE == 0
    }
}

impl PosteriorRow {
    /// Whether both are of one spectrum and could be of one posterior: draws of the same seed go apart where two processors round
    /// differently, and then their means by no more than chance has it.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        let error = |marginal: &Marginal| marginal.sd / marginal.diagnostics.ess_bulk.max(1.0).sqrt();
        let near = |(a, b): (&Marginal, &Marginal)| {
            let (apart, chance) = ((a.mean - b.mean).abs(), error(a).hypot(error(b)));
            a.mean == b.mean || a.mean.is_nan() && b.mean.is_nan() || apart <= MOST_APART * chance
        };
        let (own, others) = (&self.posterior, &other.posterior);
        self.id == other.id
            && own.marginals.len() == others.marginals.len()
            && own.noise.is_some() == others.noise.is_some()
            && own.marginals.iter().chain(&own.noise).zip(others.marginals.iter().chain(&others.noise)).all(near)
    }
}

/// Standard errors by which means of the same posterior may differ: one in a million such rows has more.
const MOST_APART: f64 = 6.0;

/// Pairs of labels, in the order of a summary's columns.
fn pairs_of(n_labels: usize) -> impl Iterator<Item = (usize, usize)> {
    pairs(&vec![String::new(); n_labels]).into_iter().map(|(a, b, ..)| (a, b))
}

fn of_marginal(marginal: &Marginal) -> [f64; OF_MARGINAL] {
    let Marginal { mean, sd, quantiles: [low, middle, high], diagnostics } = *marginal;
    [mean, sd, low, middle, high, diagnostics.r_hat, diagnostics.ess_bulk, diagnostics.ess_tail]
}

fn marginal(texts: &[String]) -> Result<Marginal, String> {
    let known: [f64; OF_MARGINAL] =
        numbers(texts)?.try_into().map_err(|_| format!("{OF_MARGINAL} numbers of a label were written"))?;
    let [mean, sd, low, middle, high, r_hat, ess_bulk, ess_tail] = known;
    let diagnostics = Diagnostics { r_hat, ess_bulk, ess_tail };
    Ok(Marginal { mean, sd, quantiles: [low, middle, high], diagnostics })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mean: f64) -> PosteriorRow {
        let marginal = |k: usize| Marginal {
            mean: mean + k as f64 / 3.0,
            sd: 0.1,
            quantiles: [-1.0 / 7.0, 0.1 + 0.2, f64::NAN],
            diagnostics: Diagnostics { r_hat: f64::INFINITY, ess_bulk: 400.0, ess_tail: 1e-300 },
        };
        let mut covariance = Array2::from_shape_fn((3, 3), |(a, b)| -((a + b) as f64) / 9.0);
        (0..3).for_each(|k| covariance[(k, k)] = 0.1 * 0.1);
        let posterior = StarPosterior {
            marginals: (0..3).map(marginal).collect(),
            covariance,
            noise: Some(marginal(7)),
            divergences: 3,
            beyond_walls: 4,
            flags: 1 << 19,
            ..StarPosterior::none(3)
        };
        let draws = Some(RowMark(12, "abc".into()));
        PosteriorRow { file: "a.fits".into(), id: "2M0".into(), flags: 1 << 19, posterior, draws }
    }

    #[test]
    fn numbers_come_back_as_they_were() {
        for row in [row(4500.1), PosteriorRow { posterior: StarPosterior::none(3), draws: None, ..row(0.0) }] {
            let text = serde_json::to_string(&row.line()).unwrap();
            let back = PosteriorRow::read(serde_json::from_str(&text).unwrap()).unwrap();
            let told =
                |row: &PosteriorRow| (row.file.clone(), row.draws.clone(), format!("{:?}", row.posterior.marginals));
            assert_eq!(told(&back), told(&row));
            let covariances = |row: &PosteriorRow| format!("{:?} {:?}", row.posterior.covariance, row.posterior.noise);
            assert_eq!(covariances(&back), covariances(&row));
        }
        let mut line = row(1.0).line();
        line.marginals[1].pop();
        assert!(PosteriorRow::read(line).unwrap_err().contains("8 numbers"));
    }

    #[test]
    fn twins_may_differ_as_chance_has_it_and_no_more() {
        // Standard errors of 0.1 / sqrt(400), twice.
        assert!(row(1.0).is_like(&row(1.0)) && row(1.0).is_like(&row(1.04)) && !row(1.0).is_like(&row(1.05)));
        let none = PosteriorRow { posterior: StarPosterior::none(3), ..row(1.0) };
        assert!(none.is_like(&none) && !none.is_like(&row(1.0)) && !row(1.0).is_like(&none));
    }
}
