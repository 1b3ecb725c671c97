//! Estimates of several models made one by stacking: label by label a weighted mean, as they erred on stars they had not seen.

use ndarray::{Array2, Array3};
use serde::{Deserialize, Serialize};

use super::calibration::ErrorCalibration;
use super::stack::{Answer, Stack, Stacked};
use super::stacking::answer;
use crate::models::LabelEstimates;
use crate::spectra::noise::Conditions;
use crate::spectra::quality::star_flags;

/// How models are combined: label by label (Breiman 1996, Machine Learning 24, 49), by a [`Stack`] each.
///
/// No label's weights depend on another's, none is negative, and those of a label add up to one: the combination lies between its
/// members, whatever their errors are taken for. A stack that does not gain on held-out stars is its best member.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "StoredCombination")]
pub struct Combination {
    /// Names of the models.
    pub members: Vec<String>,
    /// Their calibrations.
    pub calibrations: Vec<ErrorCalibration>,
    /// How each label is combined; none where held-out stars are too few for it.
    pub labels: Vec<Option<Stack>>,
    /// Correlation of the combination's errors in each pair of labels.
    pub label_correlation: Vec<Vec<f64>>,
}

/// Combined estimates, and how they depend on those of the members.
#[derive(Debug, Clone, PartialEq)]
pub struct Combined {
    /// The estimates.
    pub estimates: LabelEstimates,
    /// Weight of each member's estimate in each label, [n_stars, n_labels, n_members]; nil where it took no part.
    pub weights: Array3<f64>,
}

impl Combination {
    /// Number of labels.
    pub fn n_labels(&self) -> usize {
        self.labels.len()
    }

    /// Whether its parts can belong together; a file may have been edited.
    pub fn is_consistent(&self) -> bool {
        let n_labels = self.n_labels();
        let finite = |row: &Vec<f64>| row.len() == n_labels && row.iter().all(|value| value.is_finite());
        n_labels > 0
            && !self.members.is_empty()
            && self.calibrations.len() == self.members.len()
            && self.calibrations.iter().all(|calibration| calibration.labels.len() == n_labels)
            && self.labels.iter().flatten().all(|stack| stack.is_consistent(self.members.len()))
            && self.label_correlation.len() == n_labels
            && self.label_correlation.iter().all(finite)
    }

    /// Combines what the members say of the same stars.
    pub fn combine(&self, estimates: &[LabelEstimates], conditions: &[Conditions]) -> Combined {
        self.estimates(estimates, |star, k| {
            let of_member = |(calibration, estimates)| answer(calibration, estimates, star, k, &conditions[star]);
            let answers: Vec<Answer> = self.calibrations.iter().zip(estimates).map(of_member).collect();
            self.labels[k].as_ref()?.combine(&answers)
        })
    }

    /// Estimates from the combined answer of each star and label.
    pub(super) fn estimates(
        &self,
        members: &[LabelEstimates],
        stacked: impl Fn(usize, usize) -> Option<Stacked>,
    ) -> Combined {
        let (n_stars, n_labels) = (members.first().map_or(0, |first| first.labels.nrows()), self.n_labels());
        let mut labels = Array2::from_elem((n_stars, n_labels), f64::NAN);
        let mut covariance = Array3::from_elem((n_stars, n_labels, n_labels), f64::NAN);
        let mut weights = Array3::zeros((n_stars, n_labels, self.members.len()));
        let mut flags = vec![0; n_stars];
        let (mut chi2, mut n_pixels) = (vec![f64::NAN; n_stars], vec![0; n_stars]);
        for star in 0..n_stars {
            let mut errors = vec![f64::NAN; n_labels];
            for k in 0..n_labels {
                if let Some(stacked) = stacked(star, k) {
                    labels[[star, k]] = stacked.label;
                    errors[k] = stacked.variance.max(0.0).sqrt();
                    for (m, weight) in stacked.weights.into_iter().enumerate() {
                        weights[[star, k, m]] = weight;
                    }
                }
            }
            for k in 0..n_labels {
                for l in 0..n_labels {
                    covariance[[star, k, l]] = self.label_correlation[k][l] * errors[k] * errors[l];
                }
            }
            let took_part = |m: &usize| weights.slice(ndarray::s![star, .., *m]).iter().any(|weight| *weight > 0.0);
            let taken: Vec<&LabelEstimates> = (0..members.len()).filter(took_part).map(|m| &members[m]).collect();
            flags[star] = taken.iter().fold(0, |flags, member| flags | member.flags[star]);
            if taken.is_empty() {
                flags[star] = members.iter().fold(star_flags::NO_DATA, |flags, member| flags | member.flags[star]);
            }
            if let Some(fitted) = members.iter().find(|member| member.chi2[star].is_finite()) {
                chi2[star] = fitted.chi2[star];
            }
            n_pixels[star] = members.iter().map(|member| member.n_pixels[star]).max().unwrap_or(0);
        }
        Combined { estimates: LabelEstimates { labels, covariance, chi2, n_pixels, flags }, weights }
    }
}

/// What files hold: of today, or of before labels were combined one by one.
#[derive(Deserialize)]
struct StoredCombination {
    members: Vec<String>,
    calibrations: Vec<ErrorCalibration>,
    labels: Option<Vec<Option<Stack>>>,
    label_correlation: Option<Vec<Vec<f64>>>,
    /// Of before: correlation of the errors of all members in all labels, members first.
    correlation: Option<Vec<Vec<f64>>>,
}

impl TryFrom<StoredCombination> for Combination {
    type Error = String;

    fn try_from(stored: StoredCombination) -> std::result::Result<Self, String> {
        let StoredCombination { members, calibrations, labels, label_correlation, correlation } = stored;
        if let (Some(labels), Some(label_correlation)) = (labels, label_correlation) {
            return Ok(Self { members, calibrations, labels, label_correlation });
        }
        let n_labels = calibrations.first().map_or(0, |calibration| calibration.labels.len());
        let width = members.len() * n_labels;
        let correlation = correlation.ok_or("it has neither labels nor correlation")?;
        let is_whole = calibrations.len() == members.len()
            && calibrations.iter().all(|calibration| calibration.labels.len() == n_labels)
            && correlation.len() == width
            && correlation.iter().all(|row| row.len() == width && row.iter().all(|value| value.is_finite()));
        if !is_whole {
            return Err("its correlation is not that of its members".into());
        }
        let stack = |k: usize| {
            let own: Vec<_> = calibrations.iter().map(|calibration| calibration.labels[k].as_ref()).collect();
            Stack::from_correlation(&own, |m, l| correlation[m * n_labels + k][l * n_labels + k])
        };
        let labels = (0..n_labels).map(stack).collect();
        // Labels of the first member, which took part in each.
        let label_correlation = (0..n_labels).map(|k| correlation[k][..n_labels].to_vec()).collect();
        Ok(Self { members, calibrations, labels, label_correlation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::calibration::{Formal, HeldOut};
    use crate::inference::combination_learning::{Learned, identity};
    use crate::inference::stack::Recipe;
    use crate::inference::stacking::Member;
    use crate::stats::normal::draw as normal;
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
        let held_out = [0, 1].map(|m| HeldOut {
            rows: (0..n).collect(),
            estimates: LabelEstimates::read_off(
                says[m].clone(),
                Array3::from_shape_fn(
                    (n, 2, 2),
                    |(star, k, l)| {
                        if k == l { formal[m][[star, k]].powi(2) } else { 0.0 }
                    },
                ),
                vec![100; n],
            ),
            excess: Array2::zeros((n, 2)),
            labels: catalogue.clone(),
            label_errors: Array2::from_elem((n, 2), 2.0),
            conditions: vec![Conditions { snr: 100.0, lost_chips: 0 }; n],
            without_chip: Vec::new(),
            formal: Formal::Residuals,
        });
        Stars { truth, held_out }
    }

    fn fitted(stars: &Stars) -> Learned {
        let names = ["a".to_string(), "b".to_string()];
        let calibrations = stars.held_out.each_ref().map(|held_out| ErrorCalibration::fit(&names, held_out));
        let members: Vec<Member> = (0..2)
            .map(|m| Member { name: ["fit", "net"][m], held_out: &stars.held_out[m], calibration: &calibrations[m] })
            .collect();
        Combination::learn(&members).unwrap()
    }

    #[test]
    fn weights_are_those_of_the_known_covariance_star_by_star_wrong_labels_or_not() {
        for wrong in [0.0, WRONG] {
            let Learned { combination, scatters, .. } = fitted(&stars(6000, wrong, 1));
            // Errors of the first label vary from star to star, those of the second do not.
            assert_eq!(combination.labels[0].as_ref().unwrap().recipe, Recipe::SharesByStar);
            assert!(scatters.iter().all(|of| of[2] < of[0].min(of[1])), "{scatters:?}");
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
                    let found = combined.weights[[star, k, 0]];
                    // 6000 stars know the sizes to 1%, the correlation to 0.015.
                    assert!((found - exact).abs() < 0.08, "{wrong} {k}: {found} {exact}");
                    let sum = found + combined.weights[[star, k, 1]];
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
        let Learned { combination, held_out, .. } = fitted(&stars(900, WRONG, 3));
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
            // The catalogue errs by 2; 900 stars know a robust scatter to 4%, and wrong labels add as much.
            let expected = robust_scatter(&residuals).powi(2) - 4.0;
            assert!((expected.sqrt() / ours - 1.0).abs() < 0.16, "{k}: {} {ours}", expected.sqrt());
        }
    }

    #[test]
    fn without_one_member_a_star_has_the_labels_of_the_other_and_without_both_none() {
        let Learned { combination, .. } = fitted(&stars(900, WRONG, 5));
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
            // 900 stars know the size of residuals to 3%; what of that is the catalogue's is known less well.
            assert!((combined.error(1, k) / error - 1.0).abs() < 0.2, "{} {error}", combined.error(1, k));
        }
        assert!(combined.labels.row(2).iter().all(|label| label.is_nan()) && combined.labels[[3, 0]].is_finite());
        assert_eq!((combined.flags[0], combined.flags[2]), (0, star_flags::NO_DATA));
    }

    #[test]
    fn a_combination_is_on_held_out_stars_never_worse_than_its_best_member() {
        for seed in 0..30 {
            // Two models of any quality on few stars, of which some labels are wrong.
            let mut stars = stars(60 + 10 * seed as usize, 0.1, 100 + seed);
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            for k in 0..2 {
                let worse = 10_f64.powf(rng.random_range(-1.0..2.0));
                stars.held_out[1].estimates.labels.column_mut(k).mapv_inplace(|label| label + worse * normal(&mut rng));
            }
            let Learned { scatters, combination, held_out } = fitted(&stars);
            for (k, scatters) in scatters.iter().enumerate() {
                assert!(scatters[2] <= scatters[0].min(scatters[1]) * (1.0 + 1e-12), "{seed}, {k}: {scatters:?}");
            }
            let weights = combination
                .combine(&stars.held_out.each_ref().map(|of| of.estimates.clone()), &stars.held_out[0].conditions);
            for of_star in weights.weights.rows() {
                assert!((of_star.sum() - 1.0).abs() < 1e-9 && of_star.iter().all(|weight| *weight >= 0.0));
            }
            for star in 0..held_out.rows.len() {
                let [a, b, c] = [(0, 0), (1, 1), (0, 1)].map(|(k, l)| held_out.estimates.covariance[[star, k, l]]);
                assert!(a > 0.0 && a * b > c * c, "{seed}, {star}: {a} {b} {c}");
            }
        }
    }

    #[test]
    fn a_lost_chip_moves_shares_to_the_model_that_can_do_without() {
        let stars = stars(900, WRONG, 8);
        let mut combination = fitted(&stars).combination;
        // A net that is by far the better one, alone, but lost without the first chip.
        for k in 0..2 {
            let stack = combination.labels[k].as_mut().unwrap();
            stack.recipe = Recipe::BestMember;
            stack.best = 1;
            combination.calibrations[1].labels[k].as_mut().unwrap().lost_chip = vec![500.0];
        }
        let estimates = stars.held_out.each_ref().map(|held_out| held_out.estimates.clone());
        let mut conditions = stars.held_out[0].conditions.clone();
        conditions[3].lost_chips = 1;
        let combined = combination.combine(&estimates, &conditions);
        assert_eq!(combined.weights[[2, 0, 1]], 1.0);
        assert!(combined.weights[[3, 0, 0]] > 0.99 && combined.weights[[3, 1, 0]] > 0.99);
    }

    #[test]
    fn too_few_common_stars_are_refused_and_damaged_files_seen() {
        let stars = stars(900, 0.0, 7);
        let mut combination = fitted(&stars).combination;
        assert!(combination.is_consistent());
        let back: Combination = serde_json::from_str(&serde_json::to_string(&combination).unwrap()).unwrap();
        assert_eq!(back.members, combination.members);
        combination.label_correlation.pop();
        assert!(!combination.is_consistent());
        let names = ["a".to_string(), "b".to_string()];
        let calibration = ErrorCalibration::fit(&names, &stars.held_out[0]);
        let mut few = stars.held_out[1].clone();
        few.rows.iter_mut().skip(10).for_each(|row| *row += 10_000);
        let members = [
            Member { name: "fit", held_out: &stars.held_out[0], calibration: &calibration },
            Member { name: "net", held_out: &few, calibration: &calibration },
        ];
        let refusal = Combination::learn(&members).unwrap_err().to_string();
        assert!(refusal.contains("10 stars left, at least 12"), "{refusal}");
        assert_eq!(stars.truth.len_of(Axis(0)), 900);
    }

    #[test]
    fn a_combination_of_before_is_read_and_has_shares() {
        let stars = stars(900, 0.0, 7);
        let Learned { combination, .. } = fitted(&stars);
        // The correlations there are: 0.3 x 3 / 2.19 = 0.41 in the second label.
        let mut correlation = identity(4);
        (correlation[1][3], correlation[3][1]) = (0.41, 0.41);
        let old = serde_json::json!({
            "members": combination.members, "calibrations": combination.calibrations, "correlation": correlation,
        });
        let read: Combination = serde_json::from_value(old.clone()).unwrap();
        assert!(read.is_consistent());
        let estimates = stars.held_out.each_ref().map(|held_out| held_out.estimates.clone());
        let combined = read.combine(&estimates, &stars.held_out[0].conditions);
        let exact = (4.81 - 2.7) / (9.0 + 4.81 - 5.4);
        assert!((combined.weights[[0, 1, 0]] - exact).abs() < 0.1, "{}", combined.weights[[0, 1, 0]]);
        let mut broken = old;
        broken["correlation"].as_array_mut().unwrap().pop();
        assert!(serde_json::from_value::<Combination>(broken).is_err());
    }
}
