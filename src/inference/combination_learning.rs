//! Learning a combination of models from stars that none of them had seen.

use std::collections::BTreeMap;

use nalgebra::{DMatrix, DVector};
use ndarray::{Array2, Axis};

use super::calibration::{Formal, HeldOut};
use super::combination::Combination;
use super::stack::Stacked;
use super::stacking::{Choice, LabelOfStars, Member, STARS_PER_MEMBER};
use crate::error::{Error, Result};
use crate::models::LabelEstimates;
use crate::stats::robust::median;
use crate::stats::robust_covariance::robust_correlation;

/// Eigenvalues of a correlation matrix are kept above this: labels that err nearly alike still are two.
const LEAST_EIGENVALUE: f64 = 0.02;

/// A combination, and how it does on stars that neither it nor its members had seen.
#[derive(Debug, Clone)]
pub struct Learned {
    /// The combination.
    pub combination: Combination,
    /// Estimates of the held-out stars, each by what others of them taught.
    pub held_out: HeldOut,
    /// By label, the scatter of each member and, last, of the combination on these stars: the root of the mean biweight loss, whole
    /// ensembles' where members of one stand for it. NaN where a label is not combined.
    pub scatters: Vec<Vec<f64>>,
}

impl Combination {
    /// Learns from stars that no member had seen.
    ///
    /// # Errors
    /// [`Error::TooFewStars`] if the members have too few of them in common.
    pub fn learn(members: &[Member]) -> Result<Learned> {
        let stars = common(members);
        let first = members.first().map(|member| member.held_out).expect("a combination has members");
        let n_labels = first.labels.ncols();
        let labels: Vec<LabelOfStars> = (0..n_labels).map(|k| LabelOfStars::new(members, &stars, k)).collect();
        let choices: Vec<Option<Choice>> = labels.iter().map(|label| label.choose(&stars)).collect();
        if choices.iter().all(Option::is_none) {
            return Err(Error::TooFewStars {
                stage: "combining models".into(),
                n_stars: labels.iter().map(|label| label.complete.len()).max().unwrap_or(0),
                needed: STARS_PER_MEMBER * members.len(),
                remedy:
                    "stars that no member had seen are too few; set calibration.networks = \"folds\", or combine fewer \
                     models"
                        .into(),
            });
        }
        let stacked: Vec<Vec<Option<&Stacked>>> = choices
            .iter()
            .map(|choice| match choice {
                Some(choice) => choice.stacked.iter().map(Option::as_ref).collect(),
                None => vec![None; stars.len()],
            })
            .collect();
        let mut excess = Array2::zeros((stars.len(), n_labels));
        for ((star, k), excess) in excess.indexed_iter_mut() {
            let weights = stacked[k][star].map(|stacked| &stacked.weights[..]).unwrap_or_default();
            let of_member =
                |(m, weight): (usize, &f64)| weight * weight * members[m].held_out.excess[[stars[star][m], k]];
            *excess = weights.iter().enumerate().map(of_member).sum::<f64>();
        }
        let rows: Vec<usize> = stars.iter().map(|star| star[0]).collect();
        let of = |matrix: &Array2<f64>| matrix.select(Axis(0), &rows);
        let mut combination = Self {
            members: members.iter().map(|member| member.name.to_string()).collect(),
            calibrations: members.iter().map(|member| member.calibration.clone()).collect(),
            labels: choices.iter().map(|choice| choice.as_ref().map(|choice| choice.stack.clone())).collect(),
            label_correlation: identity(n_labels),
        };
        let catalogue = of(&first.labels);
        combination.label_correlation = label_correlation(&stacked, &catalogue);
        let theirs: Vec<LabelEstimates> = members
            .iter()
            .enumerate()
            .map(|(m, member)| {
                member.held_out.estimates.select(&stars.iter().map(|star| star[m]).collect::<Vec<usize>>())
            })
            .collect();
        let estimates = combination.estimates(&theirs, |star, k| stacked[k][star].cloned()).estimates;
        let n_members = members.len();
        let held_out = HeldOut {
            rows: rows.iter().map(|star| first.rows[*star]).collect(),
            estimates,
            excess,
            labels: catalogue,
            label_errors: of(&first.label_errors),
            conditions: rows.iter().map(|star| first.conditions[*star]).collect(),
            without_chip: Vec::new(),
            formal: Formal::Members,
        };
        let scatters =
            choices.into_iter().map(|choice| choice.map_or(vec![f64::NAN; n_members + 1], |choice| choice.scatters));
        Ok(Learned { combination, held_out, scatters: scatters.collect() })
    }
}

/// Correlation of the errors of combined estimates in each pair of labels; none where stars are too few to tell.
fn label_correlation(stacked: &[Vec<Option<&Stacked>>], catalogue: &Array2<f64>) -> Vec<Vec<f64>> {
    let n_labels = stacked.len();
    let combined: Vec<usize> = (0..n_labels).filter(|k| stacked[*k].iter().any(Option::is_some)).collect();
    let residual = |star: usize, k: usize| stacked[k][star].map_or(f64::NAN, |of| of.label) - catalogue[[star, k]];
    let rows: Vec<Vec<f64>> = (0..catalogue.nrows())
        .map(|star| combined.iter().map(|k| residual(star, *k)).collect::<Vec<f64>>())
        .filter(|row| row.iter().all(|value| value.is_finite()))
        .collect();
    let centres: Vec<f64> =
        (0..combined.len()).map(|k| median(&rows.iter().map(|row| row[k]).collect::<Vec<f64>>())).collect();
    let centred = DMatrix::from_fn(rows.len(), combined.len(), |star, k| rows[star][k] - centres[k]);
    let mut whole = identity(n_labels);
    if let Some(found) = robust_correlation(&centred) {
        let found = definite(found);
        for (row, k) in combined.iter().enumerate() {
            for (column, l) in combined.iter().enumerate() {
                whole[*k][*l] = found[(row, column)];
            }
        }
    }
    whole
}

/// The unit matrix.
pub(super) fn identity(n: usize) -> Vec<Vec<f64>> {
    (0..n).map(|row| (0..n).map(|column| f64::from(u8::from(row == column))).collect()).collect()
}

/// Stars that all members have, as positions in each one's held-out stars.
fn common(members: &[Member]) -> Vec<Vec<usize>> {
    let places: Vec<BTreeMap<usize, usize>> = members
        .iter()
        .map(|member| member.held_out.rows.iter().enumerate().map(|(position, row)| (*row, position)).collect())
        .collect();
    let rows = members.first().map_or(&[][..], |member| &member.held_out.rows);
    rows.iter().filter_map(|row| places.iter().map(|places| places.get(row).copied()).collect()).collect()
}

/// The nearest correlation matrix whose eigenvalues are all well above nil.
fn definite(matrix: DMatrix<f64>) -> DMatrix<f64> {
    let eigen = ((&matrix + matrix.transpose()) * 0.5).symmetric_eigen();
    let values: DVector<f64> = eigen.eigenvalues.map(|value| value.max(LEAST_EIGENVALUE));
    let lifted = &eigen.eigenvectors * DMatrix::from_diagonal(&values) * eigen.eigenvectors.transpose();
    let size: Vec<f64> = lifted.diagonal().iter().map(|value| value.sqrt()).collect();
    DMatrix::from_fn(lifted.nrows(), lifted.ncols(), |a, b| lifted[(a, b)] / (size[a] * size[b]))
}
