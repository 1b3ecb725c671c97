//! Estimates of several models made one: the best linear unbiased combination, by how they erred on stars they had not seen.

use std::collections::BTreeMap;

use nalgebra::{Cholesky, DMatrix, DVector};
use ndarray::{Array2, Array3, s};
use serde::{Deserialize, Serialize};

use super::calibration::{ErrorCalibration, HeldOut};
use crate::error::{Error, Result};
use crate::models::LabelEstimates;
use crate::spectra::noise::Conditions;
use crate::spectra::quality::star_flags;
use crate::stats::robust::median;
use crate::stats::robust_covariance::robust_correlation;

/// Parts of the held-out stars, each combined as the others teach, for the combination's own held-out estimates.
const PARTS: usize = 5;
/// Eigenvalues of a correlation matrix are kept above this: models that err nearly alike have no difference to learn from.
const LEAST_EIGENVALUE: f64 = 0.02;

/// How models err, each and together.
///
/// The estimates e of a star by all models, one after the other, are its labels l (each model's estimate of them) plus errors of
/// covariance C = D R D, with the calibrated errors of this star in D and the correlations of held-out stars in R. The labels that
/// follow, unbiased and of least variance, are those of generalized least squares,
///
/// ```text
/// l = (A^T C^-1 A)^-1 A^T C^-1 e,   covariance (A^T C^-1 A)^-1,
/// ```
///
/// with A repeating the labels for every model. Estimates that are missing are left out. A star whose errors are large in one
/// model (a lost chip, noise) leans on the others; an error in one label tells of that in another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Combination {
    /// Names of the models.
    pub members: Vec<String>,
    /// Their calibrations.
    pub calibrations: Vec<ErrorCalibration>,
    /// Correlation of their errors, one row per model and label, models first.
    pub correlation: Vec<Vec<f64>>,
}

/// Combined estimates, and how they depend on those of the members.
#[derive(Debug, Clone, PartialEq)]
pub struct Combined {
    /// The estimates.
    pub estimates: LabelEstimates,
    /// Weight of each estimate in each label, [n_stars, n_labels, n_models n_labels].
    pub weights: Array3<f64>,
}

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

impl Combination {
    /// Learns from stars that no member had seen.
    ///
    /// # Errors
    /// [`Error::TooFewStars`] if the members have too few of them in common.
    pub fn fit(members: &[Member]) -> Result<Self> {
        let stars = common(members);
        Self::fit_to(members, &stars)
    }

    /// Learns from some of the stars, each given by its position in every member's held-out ones.
    fn fit_to(members: &[Member], stars: &[Vec<usize>]) -> Result<Self> {
        let n_labels = members.first().map_or(0, |member| member.calibration.labels.len());
        let width = members.len() * n_labels;
        let columns: Vec<(usize, usize)> =
            (0..members.len()).flat_map(|m| (0..n_labels).map(move |k| (m, k))).collect();
        let errors: Vec<Array2<f64>> = members
            .iter()
            .map(|member| member.calibration.errors(&member.held_out.estimates, &member.held_out.conditions))
            .collect();
        // Residual, calibrated variance, catalogue's variance, excess variance.
        let terms = |star: &[usize], (m, k): (usize, usize)| -> [f64; 4] {
            let held_out = members[m].held_out;
            let star = star[m];
            let bias = members[m].calibration.labels[k].as_ref().map_or(f64::NAN, |label| label.bias);
            let excess = held_out.excess[[star, k]];
            let own = errors[m][[star, k]].powi(2);
            [held_out.residual(star, k) - bias, own, held_out.foreign_variance(star, k) - excess, excess]
        };
        let rows: Vec<Vec<[f64; 4]>> = stars
            .iter()
            .map(|star| columns.iter().map(|column| terms(star, *column)).collect::<Vec<[f64; 4]>>())
            .filter(|row| row.iter().flatten().all(|value| value.is_finite()))
            .collect();
        let total = |terms: &[f64; 4]| (terms[1] + terms[2] + terms[3]).sqrt();
        let pulls = DMatrix::from_fn(rows.len(), width, |n, c| rows[n][c][0] / total(&rows[n][c]));
        let Some(observed) = robust_correlation(&pulls) else {
            return Err(Error::TooFewStars {
                stage: "combining models".into(),
                n_stars: rows.len(),
                needed: 3 * width,
                remedy:
                    "stars that no member had seen are too few; set calibration.networks = \"folds\", or combine fewer \
                         models"
                        .into(),
            });
        };
        // What the catalogue's errors and members of ensembles alone add belongs to no model.
        let typical = |c: usize, value: &dyn Fn(&[f64; 4]) -> f64| {
            median(&rows.iter().map(|row| value(&row[c])).collect::<Vec<f64>>())
        };
        let sizes: Vec<[f64; 4]> = (0..width)
            .map(|c| {
                let own = typical(c, &|terms| terms[1]);
                [
                    typical(c, &|terms| total(terms)),
                    own.sqrt(),
                    typical(c, &|terms| terms[2]),
                    typical(c, &|terms| terms[3]),
                ]
            })
            .collect();
        let own_correlation = |c: usize, d: usize| {
            if c == d {
                return 1.0;
            }
            let ((m, k), (n, l)) = (columns[c], columns[d]);
            let together = observed[(c, d)] * sizes[c][0] * sizes[d][0];
            let (catalogue, alone) = if m == n {
                // Members of one ensemble err alone in all labels alike.
                (0.0, (sizes[c][1].powi(2) + sizes[c][3]).sqrt() * (sizes[d][1].powi(2) + sizes[d][3]).sqrt())
            } else {
                (if k == l { sizes[c][2].min(sizes[d][2]) } else { 0.0 }, sizes[c][1] * sizes[d][1])
            };
            // A model whose residuals the catalogue's errors explain altogether has no error to correlate.
            let correlation = (together - catalogue) / alone;
            if correlation.is_finite() { correlation.clamp(-1.0, 1.0) } else { 0.0 }
        };
        let correlation = definite(DMatrix::from_fn(width, width, own_correlation));
        Ok(Self {
            members: members.iter().map(|member| member.name.to_string()).collect(),
            calibrations: members.iter().map(|member| member.calibration.clone()).collect(),
            correlation: correlation.row_iter().map(|row| row.iter().copied().collect()).collect(),
        })
    }

    /// Number of labels.
    pub fn n_labels(&self) -> usize {
        self.calibrations.first().map_or(0, |calibration| calibration.labels.len())
    }

    /// Whether its parts can belong together; a file may have been edited.
    pub fn is_consistent(&self) -> bool {
        let width = self.members.len() * self.n_labels();
        let finite = |row: &Vec<f64>| row.len() == width && row.iter().all(|value| value.is_finite());
        width > 0
            && self.calibrations.len() == self.members.len()
            && self.calibrations.iter().all(|calibration| calibration.labels.len() == self.n_labels())
            && self.correlation.len() == width
            && self.correlation.iter().all(finite)
    }

    /// Combines what the members say of the same stars.
    pub fn combine(&self, estimates: &[LabelEstimates], conditions: &[Conditions]) -> Combined {
        let (n_stars, n_labels) = (conditions.len(), self.n_labels());
        let errors: Vec<Array2<f64>> =
            self.calibrations.iter().zip(estimates).map(|(own, estimates)| own.errors(estimates, conditions)).collect();
        let width = self.members.len() * n_labels;
        let mut labels = Array2::from_elem((n_stars, n_labels), f64::NAN);
        let mut covariance = Array3::from_elem((n_stars, n_labels, n_labels), f64::NAN);
        let mut weights = Array3::zeros((n_stars, n_labels, width));
        let mut flags = vec![0; n_stars];
        let (mut chi2, mut n_pixels) = (vec![f64::NAN; n_stars], vec![0; n_stars]);
        for star in 0..n_stars {
            let value = |c: usize| estimates[c / n_labels].labels[[star, c % n_labels]];
            let error = |c: usize| errors[c / n_labels][[star, c % n_labels]];
            let is_known = |c: &usize| value(*c).is_finite() && error(*c).is_finite() && error(*c) > 0.0;
            let known: Vec<usize> = (0..width).filter(is_known).collect();
            if let Some(best) = self.solve(&known, n_labels, &error) {
                for (row, k) in best.labels.iter().enumerate() {
                    labels[[star, *k]] = 0.0;
                    for (column, c) in known.iter().enumerate() {
                        weights[[star, *k, *c]] = best.weights[(row, column)];
                        labels[[star, *k]] += best.weights[(row, column)] * value(*c);
                    }
                    for (column, l) in best.labels.iter().enumerate() {
                        covariance[[star, *k, *l]] = best.covariance[(row, column)];
                    }
                }
            }
            let took_part = |m: &usize| known.iter().any(|c| c / n_labels == *m);
            let members: Vec<&LabelEstimates> = (0..estimates.len()).filter(took_part).map(|m| &estimates[m]).collect();
            flags[star] = members.iter().fold(0, |flags, member| flags | member.flags[star]);
            if members.is_empty() {
                flags[star] = estimates.iter().fold(star_flags::NO_DATA, |flags, member| flags | member.flags[star]);
            }
            if let Some(fitted) = members.iter().find(|member| member.chi2[star].is_finite()) {
                chi2[star] = fitted.chi2[star];
            }
            n_pixels[star] = estimates.iter().map(|member| member.n_pixels[star]).max().unwrap_or(0);
        }
        Combined { estimates: LabelEstimates { labels, covariance, chi2, n_pixels, flags }, weights }
    }

    /// Generalized least squares of one star.
    fn solve(&self, known: &[usize], n_labels: usize, error: &dyn Fn(usize) -> f64) -> Option<Solution> {
        let labels: Vec<usize> = (0..n_labels).filter(|k| known.iter().any(|c| c % n_labels == *k)).collect();
        let covariance = DMatrix::from_fn(known.len(), known.len(), |row, column| {
            // Labels of unlike units: only the error's size is left to the solver.
            self.correlation[known[row]][known[column]]
        });
        let repeats = DMatrix::from_fn(known.len(), labels.len(), |row, column| {
            if known[row] % n_labels == labels[column] { 1.0 / error(known[row]) } else { 0.0 }
        });
        let inverse = Cholesky::new(covariance)?.solve(&repeats);
        // A label's unit is that of its smallest error.
        let unit: Vec<f64> = labels
            .iter()
            .map(|k| known.iter().filter(|c| **c % n_labels == *k).map(|c| error(*c)).fold(f64::INFINITY, f64::min))
            .collect();
        let scaled = |matrix: DMatrix<f64>| {
            let (rows, columns) = matrix.shape();
            DMatrix::from_fn(rows, columns, |row, column| matrix[(row, column)] * unit[column])
        };
        let (inverse, repeats) = (scaled(inverse), scaled(repeats));
        let solution = Cholesky::new(repeats.tr_mul(&inverse))?;
        let mut weights = solution.solve(&inverse.transpose());
        let mut covariance = solution.inverse();
        for row in 0..labels.len() {
            for (column, c) in known.iter().enumerate() {
                weights[(row, column)] *= unit[row] / error(*c);
            }
            for column in 0..labels.len() {
                covariance[(row, column)] *= unit[row] * unit[column];
            }
        }
        Some(Solution { labels, weights, covariance })
    }

    /// Estimates of the stars that no member had seen, each by a combination learned from others of them.
    ///
    /// # Errors
    /// Those of [`Combination::fit`].
    pub fn held_out(members: &[Member]) -> Result<HeldOut> {
        let stars = common(members);
        let first = members.first().map(|member| member.held_out).expect("a combination has members");
        let n_labels = first.labels.ncols();
        let mut estimates = LabelEstimates::empty(n_labels);
        let mut excess = Array2::zeros((0, n_labels));
        let mut order = Vec::with_capacity(stars.len());
        for part in 0..PARTS {
            // Stars come in the order of their rows, which is that of no property.
            let (own, others): (Vec<_>, Vec<_>) =
                stars.iter().enumerate().partition(|(position, _)| position % PARTS == part);
            let of = |chosen: Vec<(usize, &Vec<usize>)>| chosen.into_iter().map(|(_, star)| star.clone()).collect();
            let (own, others): (Vec<Vec<usize>>, Vec<Vec<usize>>) = (of(own), of(others));
            let combination = Self::fit_to(members, &others)?;
            let at = |m: usize| own.iter().map(|star| star[m]).collect::<Vec<usize>>();
            let theirs: Vec<LabelEstimates> =
                members.iter().enumerate().map(|(m, member)| member.held_out.estimates.select(&at(m))).collect();
            let conditions: Vec<Conditions> = at(0).into_iter().map(|star| first.conditions[star]).collect();
            let combined = combination.combine(&theirs, &conditions);
            let part_excess = Array2::from_shape_fn((own.len(), n_labels), |(star, k)| {
                let of_column = |(c, weight): (usize, &f64)| {
                    let (m, l) = (c / n_labels, c % n_labels);
                    weight * weight * members[m].held_out.excess[[own[star][m], l]]
                };
                combined.weights.slice(s![star, k, ..]).iter().enumerate().map(of_column).sum::<f64>()
            });
            excess.append(ndarray::Axis(0), part_excess.view()).expect("both have the same labels");
            estimates.append(combined.estimates);
            order.extend(at(0));
        }
        let mut back: Vec<usize> = (0..order.len()).collect();
        back.sort_by_key(|position| order[*position]);
        let chosen: Vec<usize> = back.iter().map(|position| order[*position]).collect();
        let of = |matrix: &Array2<f64>| matrix.select(ndarray::Axis(0), &chosen);
        Ok(HeldOut {
            rows: chosen.iter().map(|star| first.rows[*star]).collect(),
            estimates: estimates.select(&back),
            excess: excess.select(ndarray::Axis(0), &back),
            labels: of(&first.labels),
            label_errors: of(&first.label_errors),
            conditions: chosen.iter().map(|star| first.conditions[*star]).collect(),
            without_chip: Vec::new(),
        })
    }
}

struct Solution {
    /// The labels that some estimate tells of.
    labels: Vec<usize>,
    /// [labels, estimates]
    weights: DMatrix<f64>,
    /// [labels, labels]
    covariance: DMatrix<f64>,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::calibration::tests::normal;
    use crate::stats::robust::robust_scatter;
    use ndarray::Axis;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const WRONG: f64 = 0.04;

    /// What two models say of stars with two labels: a shared error, errors of their own, an error of the catalogue.
    struct Stars {
        truth: Array2<f64>,
        held_out: [HeldOut; 2],
    }

    /// Model 0 errs by 3 x formal in each label, its formal errors of the first vary from star to star; model 1 by 8 in the first
    /// label and 2 in the second, and in the second by 0.3 of model 0's error too.
    fn stars(n: usize, wrong: f64, seed: u64) -> Stars {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut truth = Array2::zeros((n, 2));
        let mut catalogue = Array2::zeros((n, 2));
        let mut says = [Array2::zeros((n, 2)), Array2::zeros((n, 2))];
        let mut formal = [Array2::zeros((n, 2)), Array2::from_elem((n, 2), 1.0)];
        for star in 0..n {
            let is_wrong = rng.random_range(0.0..1.0) < wrong;
            for k in 0..2 {
                truth[[star, k]] = 100.0 * normal(&mut rng);
                let own = if k == 0 { rng.random_range(0.5..3.0) } else { 1.0 };
                formal[0][[star, k]] = own;
                let first = 3.0 * own * normal(&mut rng);
                let second = [8.0, 2.0][k] * normal(&mut rng) + [0.0, 0.3][k] * first;
                says[0][[star, k]] = truth[[star, k]] + first;
                says[1][[star, k]] = truth[[star, k]] + second;
                catalogue[[star, k]] = truth[[star, k]] + if is_wrong { 150.0 } else { 2.0 } * normal(&mut rng);
            }
        }
        let held_out =
            [0, 1].map(|m| HeldOut {
                rows: (0..n).collect(),
                estimates: LabelEstimates {
                    labels: says[m].clone(),
                    covariance: Array3::from_shape_fn((n, 2, 2), |(star, k, l)| {
                        if k == l { formal[m][[star, k]].powi(2) } else { 0.0 }
                    }),
                    chi2: vec![f64::NAN; n],
                    n_pixels: vec![100; n],
                    flags: vec![0; n],
                },
                excess: Array2::zeros((n, 2)),
                labels: catalogue.clone(),
                label_errors: Array2::from_elem((n, 2), 2.0),
                conditions: vec![Conditions { snr: 100.0, lost_chips: 0 }; n],
                without_chip: Vec::new(),
            });
        Stars { truth, held_out }
    }

    fn fitted(stars: &Stars) -> (Combination, HeldOut) {
        let names = ["a".to_string(), "b".to_string()];
        let calibrations = stars.held_out.each_ref().map(|held_out| ErrorCalibration::fit(&names, held_out));
        let members: Vec<Member> = (0..2)
            .map(|m| Member { name: ["fit", "net"][m], held_out: &stars.held_out[m], calibration: &calibrations[m] })
            .collect();
        (Combination::fit(&members).unwrap(), Combination::held_out(&members).unwrap())
    }

    #[test]
    fn weights_are_those_of_the_known_covariance_star_by_star_wrong_labels_or_not() {
        for wrong in [0.0, WRONG] {
            let (combination, _) = fitted(&stars(6000, wrong, 1));
            let new = stars(3000, 0.0, 2);
            let estimates = new.held_out.each_ref().map(|held_out| held_out.estimates.clone());
            let combined = combination.combine(&estimates, &new.held_out[0].conditions);
            let mut pulls: [Vec<f64>; 2] = Default::default();
            for star in 0..3000 {
                for k in 0..2 {
                    let own = 9.0 * estimates[0].covariance[[star, k, k]];
                    let share = [0.0, 0.3][k];
                    let (other, both) = ([64.0, 4.0][k] + share * share * own, share * own);
                    // Two unbiased estimates: the weight of the first is (V22 - V12) / (V11 + V22 - 2 V12).
                    let exact = (other - both) / (own + other - 2.0 * both);
                    let found = combined.weights[[star, k, k]];
                    // 6000 stars know the sizes to 1%, the correlation to 0.015.
                    assert!((found - exact).abs() < 0.08, "{wrong} {k}: {found} {exact}");
                    let sum = found + combined.weights[[star, k, 2 + k]];
                    assert!((sum - 1.0).abs() < 1e-9, "{sum}");
                    let error = combined.estimates.error(star, k);
                    pulls[k].push((combined.estimates.labels[[star, k]] - new.truth[[star, k]]) / error);
                }
            }
            // 3000 pulls know their width to 2% (MAD), the calibrations to 1.5%.
            for pulls in &pulls {
                assert!((robust_scatter(pulls) - 1.0).abs() < 0.1, "{wrong}: {}", robust_scatter(pulls));
            }
        }
    }

    #[test]
    fn the_combination_is_better_than_its_best_member_and_knows_it_from_held_out_stars() {
        let (combination, held_out) = fitted(&stars(900, WRONG, 3));
        let new = stars(4000, 0.0, 4);
        let estimates = new.held_out.each_ref().map(|held_out| held_out.estimates.clone());
        let combined = combination.combine(&estimates, &new.held_out[0].conditions).estimates;
        let error = |estimates: &LabelEstimates, k: usize| {
            robust_scatter(&(&estimates.labels.column(k) - &new.truth.column(k)).to_vec())
        };
        for k in 0..2 {
            let best = error(&estimates[0], k).min(error(&estimates[1], k));
            let ours = error(&combined, k);
            assert!(ours < 0.97 * best, "{k}: {ours} {best}");
            let residuals: Vec<f64> = (0..900).map(|star| held_out.residual(star, k)).collect();
            // The catalogue errs by 2; 900 stars know a robust scatter to 4%.
            let expected = robust_scatter(&residuals).powi(2) - 4.0;
            assert!((expected.sqrt() / ours - 1.0).abs() < 0.13, "{k}: {} {ours}", expected.sqrt());
        }
    }

    #[test]
    fn without_one_member_a_star_has_the_labels_of_the_other_and_without_both_none() {
        let (combination, _) = fitted(&stars(900, WRONG, 5));
        let new = stars(4, 0.0, 6);
        let mut estimates = new.held_out.each_ref().map(|held_out| held_out.estimates.clone());
        estimates[0].labels.row_mut(0).fill(f64::NAN);
        estimates[0].flags[0] = star_flags::NO_DATA;
        estimates[1].labels.row_mut(1).fill(f64::NAN);
        estimates.iter_mut().for_each(|member| member.labels.row_mut(2).fill(f64::NAN));
        let combined = combination.combine(&estimates, &new.held_out[0].conditions).estimates;
        let close = |a: f64, b: f64| (a - b).abs() < 1e-6;
        for k in 0..2 {
            assert!(close(combined.labels[[0, k]], estimates[1].labels[[0, k]]));
            assert!(close(combined.labels[[1, k]], estimates[0].labels[[1, k]]));
            let calibrated = combination.calibrations[0].labels[k].as_ref().unwrap();
            let error = calibrated.error(estimates[0].error(1, k), &new.held_out[0].conditions[1]);
            assert!(close(combined.error(1, k), error), "{} {error}", combined.error(1, k));
        }
        assert!(combined.labels.row(2).iter().all(|label| label.is_nan()) && combined.labels[[3, 0]].is_finite());
        assert_eq!((combined.flags[0], combined.flags[2]), (0, star_flags::NO_DATA));
    }

    #[test]
    fn too_few_common_stars_are_refused_and_damaged_files_seen() {
        let stars = stars(900, 0.0, 7);
        let (mut combination, _) = fitted(&stars);
        assert!(combination.is_consistent());
        combination.correlation.pop();
        assert!(!combination.is_consistent());
        let names = ["a".to_string(), "b".to_string()];
        let calibration = ErrorCalibration::fit(&names, &stars.held_out[0]);
        let mut few = stars.held_out[1].clone();
        few.rows.iter_mut().skip(10).for_each(|row| *row += 10_000);
        let members = [
            Member { name: "fit", held_out: &stars.held_out[0], calibration: &calibration },
            Member { name: "net", held_out: &few, calibration: &calibration },
        ];
        let refusal = Combination::fit(&members).unwrap_err().to_string();
        assert!(refusal.contains("10 stars left, at least 12"), "{refusal}");
        assert_eq!(stars.truth.len_of(Axis(0)), 900);
    }
}
