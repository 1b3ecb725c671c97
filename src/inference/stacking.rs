//! Which way of stacking one label's estimates get: the one that does best on stars that had not taught it.

use ndarray::{Array2, Axis};

use super::calibration::{ErrorCalibration, HeldOut, LabelCalibration};
use super::stack::{Answer, Lesson, Recipe, Stack, Stacked, limit, loss};
use crate::models::LabelEstimates;
use crate::spectra::noise::Conditions;
use crate::stats::robust::mean;

/// Parts of the held-out stars, each combined as the others teach.
const PARTS: usize = 5;
/// Gain, in units of one over the root of the number of stars, that is asked of shares that follow each star's errors.
const DOUBT: f64 = 0.3;
/// Stars in common that a combination needs, per member.
pub(super) const STARS_PER_MEMBER: usize = 6;

/// One member's held-out stars and calibration.
#[derive(Debug, Clone, Copy)]
pub struct Member<'a> {
    /// Its name.
    pub name: &'a str,
    /// Estimates of stars it had not seen.
    pub held_out: &'a HeldOut,
    /// What they say of its errors.
    pub calibration: &'a ErrorCalibration,
}

/// What members say of one label of the stars they have in common, and what the catalogue does.
pub(super) struct LabelOfStars<'a> {
    members: &'a [Member<'a>],
    k: usize,
    /// Stars, by their positions in every member's held-out ones, of which every member has an estimate and the catalogue a label.
    pub(super) complete: Vec<usize>,
    lesson: Lesson,
}

impl<'a> LabelOfStars<'a> {
    pub(super) fn new(members: &'a [Member<'a>], stars: &[Vec<usize>], k: usize) -> Self {
        let labels: Vec<Option<&LabelCalibration>> =
            members.iter().map(|member| member.calibration.labels[k].as_ref()).collect();
        let of = |value: &dyn Fn(&HeldOut, &LabelCalibration, usize) -> f64| {
            Array2::from_shape_fn((stars.len(), members.len()), |(n, m)| {
                labels[m].map_or(f64::NAN, |label| value(members[m].held_out, label, stars[n][m]))
            })
        };
        let residuals = of(&|held_out, label, star| held_out.residual(star, k) - label.bias);
        let variances = of(&|held_out, label, star| {
            let conditions = &held_out.conditions[star];
            label.error(held_out.estimates.error(star, k), conditions).powi(2) - label.lost_variance(conditions)
        });
        let excess = of(&|held_out, _, star| held_out.excess[[star, k]]);
        let finite = |values: &Array2<f64>, star: usize| values.row(star).iter().all(|value| value.is_finite());
        let complete = (0..stars.len()).filter(|n| finite(&residuals, *n) && finite(&variances, *n)).collect();
        let common: Vec<f64> = labels
            .iter()
            .flatten()
            .filter(|label| label.is_against_truth())
            .map(|label| label.catalogue_error_of(f64::NAN).powi(2))
            .collect();
        let common = if common.is_empty() { 0.0 } else { mean(&common) };
        Self { members, k, complete, lesson: Lesson { residuals, variances, excess, common } }
    }

    /// What these stars teach.
    fn lesson(&self, stars: &[usize]) -> Lesson {
        let of = |values: &Array2<f64>| values.select(Axis(0), stars);
        let Lesson { residuals, variances, excess, common } = &self.lesson;
        Lesson { residuals: of(residuals), variances: of(variances), excess: of(excess), common: *common }
    }

    /// Root of the mean loss of each member's residuals, of whole ensembles.
    fn scatters(&self) -> Vec<f64> {
        let Lesson { residuals, excess, .. } = self.lesson(&self.complete);
        let limit = limit(&residuals);
        let of_member = |m: usize| {
            let own = |star: usize| loss(residuals[[star, m]], limit) - excess[[star, m]];
            mean(&(0..residuals.nrows()).map(own).collect::<Vec<f64>>()).max(0.0).sqrt()
        };
        (0..residuals.ncols()).map(of_member).collect()
    }

    /// Root of the mean loss of combined estimates.
    fn scatter(&self, stacked: &[Option<Stacked>]) -> f64 {
        let limit = limit(&self.lesson(&self.complete).residuals);
        let of_star = |star: &usize| {
            let weights = stacked[*star].as_ref().map(|stacked| &stacked.weights[..]).unwrap_or_default();
            let residual: f64 = weights.iter().zip(self.lesson.residuals.row(*star)).map(|(w, r)| w * r).sum();
            let excess: f64 = weights.iter().zip(self.lesson.excess.row(*star)).map(|(w, e)| w * w * e).sum();
            loss(residual, limit) - excess
        };
        mean(&self.complete.iter().map(of_star).collect::<Vec<f64>>()).max(0.0).sqrt()
    }

    /// Combined estimates of all stars, each by a stack that others taught; none where no member has an estimate, or where stars are
    /// too few.
    fn cross_fitted(&self, stars: &[Vec<usize>], recipe: Recipe, best: usize) -> Option<Vec<Option<Stacked>>> {
        let mut stacked: Vec<Option<Stacked>> = vec![None; stars.len()];
        for part in 0..PARTS {
            // Stars come in the order of their rows, which is that of no property.
            let others: Vec<usize> = self.complete.iter().copied().filter(|star| star % PARTS != part).collect();
            if others.len() < 4 * self.members.len() {
                return None;
            }
            let stack = Stack::learn(&self.lesson(&others), recipe, best);
            for star in (part..stars.len()).step_by(PARTS) {
                let answers: Vec<Answer> = self
                    .members
                    .iter()
                    .zip(&stars[star])
                    .map(|(member, position)| {
                        let HeldOut { estimates, conditions, .. } = member.held_out;
                        answer(member.calibration, estimates, *position, self.k, &conditions[*position])
                    })
                    .collect();
                stacked[star] = stack.combine(&answers);
            }
        }
        Some(stacked)
    }

    /// The recipe with the least loss on stars that had not taught it, and how it does on them.
    pub(super) fn choose(&self, stars: &[Vec<usize>]) -> Option<Choice> {
        let n_needed = STARS_PER_MEMBER * self.members.len();
        if self.complete.len() < n_needed {
            return None;
        }
        let mut scatters = self.scatters();
        let best = (0..scatters.len()).min_by(|m, l| scatters[*m].total_cmp(&scatters[*l]))?;
        let mut least: Option<(f64, Recipe, Vec<Option<Stacked>>)> = None;
        // The best member comes first, and gives way only to what is better.
        for recipe in [Recipe::BestMember, Recipe::Shares, Recipe::SharesByStar] {
            let stacked = self.cross_fitted(stars, recipe, best)?;
            let scatter = self.scatter(&stacked);
            // Following each star's errors is the greater liberty: a gain that chance may have made is none.
            let doubt = match recipe {
                Recipe::SharesByStar => DOUBT / (self.complete.len() as f64).sqrt(),
                _ => 0.0,
            };
            if least.as_ref().is_none_or(|(least, ..)| scatter < *least * (1.0 - doubt)) {
                least = Some((scatter, recipe, stacked));
            }
        }
        let (scatter, recipe, stacked) = least?;
        scatters.push(scatter);
        Some(Choice { stack: Stack::learn(&self.lesson(&self.complete), recipe, best), stacked, scatters })
    }
}

/// How a label is combined, and how that does on held-out stars.
pub(super) struct Choice {
    /// The stack, by all of them.
    pub(super) stack: Stack,
    /// Each held-out star by what others of them taught.
    pub(super) stacked: Vec<Option<Stacked>>,
    /// Scatter of each member and, last, of the combination: the root of the mean biweight loss of whole ensembles.
    pub(super) scatters: Vec<f64>,
}

/// What a member says of one label of a star.
pub(super) fn answer(
    calibration: &ErrorCalibration,
    estimates: &LabelEstimates,
    star: usize,
    k: usize,
    conditions: &Conditions,
) -> Answer {
    let label = calibration.labels[k].as_ref();
    let error = label.map_or(f64::NAN, |label| label.error(estimates.error(star, k), conditions));
    Answer {
        label: if label.is_some() { estimates.labels[[star, k]] } else { f64::NAN },
        variance: error * error,
        lost: label.map_or(0.0, |label| label.lost_variance(conditions)),
    }
}
