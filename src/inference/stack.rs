//! One label's estimates by several models made one: shares of each, learned from stars that none of them had seen.

use nalgebra::DMatrix;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::calibration::LabelCalibration;
use crate::stats::robust::{mean, robust_scatter};
use crate::stats::simplex::least_on_simplex;

/// Residuals of so many robust deviations and more all count alike: the width at which Beers, Flynn & Gebhardt (1990, AJ 100, 32)
/// cut the biweight's scale, nine median absolute deviations.
const ALIKE_BEYOND: f64 = 6.0;
/// Rounds in which shares and the weights of wild residuals follow each other.
const ROUNDS: usize = 12;
/// An excess variance never explains more than this of what is seen.
const MOST_EXCESS: f64 = 0.5;
/// The mean slope of the influence of residuals is never taken for less.
const LEAST_SLOPE: f64 = 0.2;
/// Eigenvalues of a covariance are kept above this share of the largest.
const LEAST_EIGENVALUE: f64 = 1e-6;

/// What the shares of a star's estimates depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recipe {
    /// The best member's estimate, where the star has it and lost no chip: the others add nothing.
    BestMember,
    /// The same shares for every star that lost no chip.
    Shares,
    /// Shares that follow each star's calibrated errors.
    SharesByStar,
}

/// How one label's estimates are combined.
///
/// The shares w of a star, not negative and of sum 1, make least
///
/// ```text
/// sum_ml w_m w_l s_m s_l C_ml + shrinkage |w|^2
/// ```
///
/// with C the covariance of the members' errors and s_m the calibrated error of the star by member m in units of that member's usual
/// one. With all s = 1 this is stacking (Breiman 1996): it makes least the biweight loss of held-out residuals (Tukey's), nearly their
/// square for the bulk of the stars, tails included, and the same for all beyond six robust deviations. Wrong labels, binaries and
/// failures, in which one member errs more than another by how strange the star is, so have no say in who labels the others. The
/// catalogue's own errors, which all members share, change no shares. The last term draws towards equal ones, as a prior of width
/// 1 / M around them does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    /// What shares depend on.
    pub recipe: Recipe,
    /// The member with the least loss.
    pub best: usize,
    /// Covariance of the members' errors, [n_members, n_members].
    pub covariance: Vec<Vec<f64>>,
    /// The usual calibrated error of each member.
    pub usual: Vec<f64>,
    /// How strongly shares are drawn towards equal ones, a variance.
    pub shrinkage: f64,
}

/// One star's label by one member.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Answer {
    /// The estimate; NaN where missing.
    pub label: f64,
    /// Its calibrated variance.
    pub variance: f64,
    /// What of that lost chips add.
    pub lost: f64,
}

/// One star's label by all of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Stacked {
    /// Share of each member.
    pub weights: Vec<f64>,
    /// The combined estimate.
    pub label: f64,
    /// Its variance by the covariance of the members and the star's calibrated errors.
    pub variance: f64,
}

/// Held-out residuals of one label, less the bias of each member.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// Of complete stars, [n_stars, n_members].
    pub residuals: Array2<f64>,
    /// Calibrated variances without what lost chips add, [n_stars, n_members].
    pub variances: Array2<f64>,
    /// By how much the variances exceed those of the whole member, [n_stars, n_members].
    pub excess: Array2<f64>,
    /// Variance of the catalogue's labels, which is in the residuals of all members alike.
    pub common: f64,
}

/// The residual from which on all count alike, of residuals [n_stars, n_members]: that of the least scattered member.
pub fn limit(residuals: &Array2<f64>) -> f64 {
    let of_member = |member: ndarray::ArrayView1<f64>| robust_scatter(&member.to_vec());
    let least = residuals.columns().into_iter().map(of_member).fold(f64::INFINITY, f64::min);
    (ALIKE_BEYOND * least).max(f64::MIN_POSITIVE)
}

/// Tukey's biweight loss: the square of a small residual, a third of the limit's from there on.
pub fn loss(residual: f64, limit: f64) -> f64 {
    limit * limit / 3.0 * (1.0 - kept(residual, limit).powi(3))
}

/// How fast the influence of a residual, half the slope of the loss, grows with it.
fn slope(residual: f64, limit: f64) -> f64 {
    let kept = kept(residual, limit);
    kept * (5.0 * kept - 4.0)
}

/// What is left of 1 towards the limit: 1 - (residual / limit)^2.
fn kept(residual: f64, limit: f64) -> f64 {
    1.0 - (residual / limit).powi(2).min(1.0)
}

impl Stack {
    /// Learns one label's shares.
    pub fn learn(lesson: &Lesson, recipe: Recipe, best: usize) -> Self {
        let Lesson { residuals, variances, excess, common } = lesson;
        let (n, width) = residuals.dim();
        let limit = limit(residuals);
        let usual: Vec<f64> = variances.columns().into_iter().map(|member| mean(&member.to_vec()).sqrt()).collect();
        let excess: Vec<f64> = excess.columns().into_iter().map(|member| mean(&member.to_vec())).collect();
        let mut stack = Self { recipe: Recipe::Shares, best, covariance: Vec::new(), usual, shrinkage: 0.0 };
        let mut shares = vec![1.0 / width as f64; width];
        for _ in 0..ROUNDS {
            let combined = |star: usize| shares.iter().zip(residuals.row(star)).map(|(w, r)| w * r).sum::<f64>();
            // Half the slope of the loss, in units of the residual.
            let weight = |star: usize| kept(combined(star), limit).powi(2);
            let weights: Vec<f64> = (0..n).map(weight).collect();
            // Of normal residuals the weighted squares are as much smaller than the variance as the slope's mean is than 1 (Stein).
            let slopes: f64 = (0..n).map(|star| slope(combined(star), limit)).sum();
            let product = |m: usize, l: usize| {
                let sum: f64 = (0..n).map(|star| weights[star] * residuals[[star, m]] * residuals[[star, l]]).sum();
                sum / slopes.max(LEAST_SLOPE * n as f64)
            };
            let products = DMatrix::from_fn(width, width, |m, l| {
                let own = if m == l { excess[m].min(MOST_EXCESS * product(m, m)) } else { 0.0 };
                product(m, l) - own
            });
            let seen: f64 = (0..width)
                .flat_map(|m| (0..width).map(move |l| (m, l)))
                .fold(0.0, |sum, (m, l)| sum + shares[m] * shares[l] * products[(m, l)]);
            // Of what the combination errs, the catalogue has at most nine tenths.
            let common = common.min(0.9 * seen);
            let covariance = lifted(products.map(|value| value - common));
            stack.shrinkage = (width * width) as f64 * seen / n as f64;
            stack.covariance = covariance.row_iter().map(|row| row.iter().copied().collect()).collect();
            shares = stack.shares(&vec![Some(1.0); width]);
        }
        stack.recipe = recipe;
        stack
    }

    /// What held-out stars of before were combined by: calibrations, and the correlation of the errors of two members. None where a
    /// member has no calibration.
    pub fn from_correlation(
        calibrations: &[Option<&LabelCalibration>],
        correlation: impl Fn(usize, usize) -> f64,
    ) -> Option<Self> {
        let own = |label: &Option<&LabelCalibration>| {
            let LabelCalibration { scatter, catalogue_error, .. } = label.as_ref()?;
            Some((scatter * scatter - catalogue_error * catalogue_error).max(0.01 * scatter * scatter).sqrt())
        };
        let usual: Vec<f64> = calibrations.iter().map(own).collect::<Option<Vec<f64>>>()?;
        let width = usual.len();
        let covariance = lifted(DMatrix::from_fn(width, width, |m, l| correlation(m, l) * usual[m] * usual[l]));
        let covariance = covariance.row_iter().map(|row| row.iter().copied().collect()).collect();
        let best = (0..width).min_by(|m, l| usual[*m].total_cmp(&usual[*l])).unwrap_or(0);
        Some(Self { recipe: Recipe::SharesByStar, best, covariance, usual, shrinkage: 0.0 })
    }

    /// Whether it is one of so many members; a file may have been edited.
    pub fn is_consistent(&self, n_members: usize) -> bool {
        let finite = |row: &Vec<f64>| row.len() == n_members && row.iter().all(|value| value.is_finite());
        self.best < n_members
            && finite(&self.usual)
            && self.usual.iter().all(|error| *error > 0.0)
            && self.covariance.len() == n_members
            && self.covariance.iter().all(finite)
            && self.shrinkage.is_finite()
    }

    /// Shares of a star whose errors are so many times the usual ones, none where a member has no estimate.
    fn shares(&self, sizes: &[Option<f64>]) -> Vec<f64> {
        let known: Vec<(usize, f64)> =
            sizes.iter().enumerate().filter_map(|(member, size)| Some((member, (*size)?))).collect();
        let matrix = DMatrix::from_fn(known.len(), known.len(), |row, column| {
            let ((m, size), (l, other)) = (known[row], known[column]);
            let drawn = if row == column { self.shrinkage } else { 0.0 };
            size * other * self.covariance[m][l] + drawn
        });
        let mut shares = vec![0.0; sizes.len()];
        for ((member, _), share) in known.iter().zip(least_on_simplex(&matrix).iter()) {
            shares[*member] = *share;
        }
        shares
    }

    /// Combines what the members say of a star; none where none says anything.
    pub fn combine(&self, answers: &[Answer]) -> Option<Stacked> {
        let is_known = |answer: &Answer| answer.label.is_finite();
        if !answers.iter().any(is_known) {
            return None;
        }
        let without_loss = |member: usize| 1.0 + answers[member].lost / self.usual[member].powi(2);
        let by_star = |member: usize| answers[member].variance / self.usual[member].powi(2);
        let size = |member: usize| {
            let square = match self.recipe {
                Recipe::SharesByStar if by_star(member).is_finite() => by_star(member),
                _ => without_loss(member),
            };
            is_known(&answers[member]).then(|| square.sqrt())
        };
        let sizes: Vec<Option<f64>> = (0..answers.len()).map(size).collect();
        let is_whole = answers.iter().all(|answer| answer.lost == 0.0);
        let weights = match self.recipe {
            Recipe::BestMember if is_whole && is_known(&answers[self.best]) => {
                (0..answers.len()).map(|member| f64::from(u8::from(member == self.best))).collect()
            }
            _ => self.shares(&sizes),
        };
        // Whatever the shares follow, the error of what is combined follows the star's own.
        let error_size = |member: usize| match by_star(member) {
            size if size.is_finite() => size.sqrt(),
            _ => sizes[member].unwrap_or(0.0),
        };
        let part = |member: usize| if weights[member] > 0.0 { weights[member] * error_size(member) } else { 0.0 };
        let members = 0..answers.len();
        let label = members.clone().filter(|m| weights[*m] > 0.0).map(|m| weights[m] * answers[m].label).sum();
        let pairs = members.clone().flat_map(|m| members.clone().map(move |l| (m, l)));
        let variance = pairs.map(|(m, l)| part(m) * part(l) * self.covariance[m][l]).sum();
        Some(Stacked { weights, label, variance })
    }
}

/// The nearest covariance without eigenvalues of nil or below.
fn lifted(matrix: DMatrix<f64>) -> DMatrix<f64> {
    let eigen = ((&matrix + matrix.transpose()) * 0.5).symmetric_eigen();
    let least = LEAST_EIGENVALUE * eigen.eigenvalues.amax();
    let values = DMatrix::from_diagonal(&eigen.eigenvalues.map(|value| value.max(least)));
    &eigen.eigenvectors * values * eigen.eigenvectors.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Residuals of members that err by so much each, and alike by 1; every 25th label is wrong.
    fn lesson(own: &[f64], n: usize, seed: u64) -> Lesson {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut residuals = Array2::zeros((n, own.len()));
        for (star, mut of_star) in residuals.rows_mut().into_iter().enumerate() {
            let shared = normal(&mut rng) + if star % 25 == 0 { rng.random_range(-90.0..90.0) } else { 0.0 };
            of_star.iter_mut().zip(own).for_each(|(residual, own)| *residual = shared + own * normal(&mut rng));
        }
        let variances = Array2::from_shape_fn((n, own.len()), |(_, m)| 1.0 + own[m] * own[m]);
        Lesson { excess: Array2::zeros((n, own.len())), residuals, variances, common: 0.0 }
    }

    fn answers(labels: &[f64]) -> Vec<Answer> {
        labels.iter().map(|label| Answer { label: *label, variance: f64::NAN, lost: 0.0 }).collect()
    }

    fn shares(own: &[f64], n: usize, seed: u64) -> Vec<f64> {
        let stack = Stack::learn(&lesson(own, n, seed), Recipe::Shares, 0);
        assert!(stack.is_consistent(own.len()) && !stack.is_consistent(own.len() + 1));
        stack.combine(&answers(&vec![1.0; own.len()])).unwrap().weights
    }

    #[test]
    fn shares_are_those_of_least_variance_wrong_labels_or_not() {
        // What members share changes no shares: 1/4 : 1/9 : 1/36.
        for (found, exact) in shares(&[2.0, 3.0, 6.0], 4000, 6).iter().zip([0.643, 0.286, 0.071]) {
            // Each is known to about sqrt(variance of the combination / n) / own error, 0.02; the draw towards 1/3 is small.
            assert!((found - exact).abs() < 0.05, "{found} {exact}");
        }
        let equal = shares(&[3.0; 3], 4000, 6);
        assert!(equal.iter().all(|share| (share - 1.0 / 3.0).abs() < 0.05), "{equal:?}");
        let hopeless = shares(&[2.0, 2.0, 500.0], 300, 6);
        assert!(hopeless[2] < 0.005 && (hopeless.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{hopeless:?}");
    }

    #[test]
    fn twins_have_equal_shares_and_few_stars_nearly_equal_ones() {
        let mut of_two = lesson(&[2.0, 4.0], 400, 6);
        let twin = of_two.residuals.column(0).to_owned();
        of_two.residuals =
            ndarray::concatenate![ndarray::Axis(1), of_two.residuals, twin.insert_axis(ndarray::Axis(1))];
        of_two.variances = Array2::from_elem((400, 3), 5.0);
        of_two.excess = Array2::zeros((400, 3));
        let stack = Stack::learn(&of_two, Recipe::Shares, 0);
        let weights = stack.combine(&answers(&[1.0, 2.0, 1.0])).unwrap().weights;
        assert!((weights[0] - weights[2]).abs() < 1e-4 && weights[1] < weights[0], "{weights:?}");
        // Of few stars chance has its say, and the draw: of many lessons the mean.
        let of_worst = |n: usize| mean(&(0..50).map(|seed| shares(&[2.0, 3.0, 6.0], n, seed)[2]).collect::<Vec<f64>>());
        let [few, many] = [20, 2000].map(of_worst);
        assert!(few > 1.2 * many, "{few} {many}");
    }

    #[test]
    fn who_is_missing_has_no_share_and_the_rest_all() {
        let stack = Stack::learn(&lesson(&[2.0, 3.0, 6.0], 4000, 6), Recipe::BestMember, 0);
        let all = stack.combine(&answers(&[10.0, 20.0, 30.0])).unwrap();
        assert_eq!((all.label, &all.weights[..]), (10.0, &[1.0, 0.0, 0.0][..]));
        let without_best = stack.combine(&answers(&[f64::NAN, 20.0, 30.0])).unwrap();
        // 1/9 : 1/36
        assert!(without_best.weights[0] == 0.0 && (without_best.weights[1] - 0.8).abs() < 0.05, "{without_best:?}");
        assert!(without_best.label > 20.0 && without_best.label < 24.0 && without_best.variance > all.variance);
        assert_eq!(stack.combine(&answers(&[f64::NAN; 3])), None);
        let alone = stack.combine(&answers(&[f64::NAN, f64::NAN, 30.0])).unwrap();
        assert!(alone.label == 30.0 && (alone.variance.sqrt() - 37_f64.sqrt()).abs() < 1.0, "{alone:?}");
    }

    #[test]
    fn an_error_of_nil_in_one_star_gives_no_label_a_weight_beyond_one() {
        let stack = Stack::learn(&lesson(&[2.0, 3.0], 400, 6), Recipe::SharesByStar, 0);
        let of = |variance: f64| Answer { label: 5.0, variance, lost: 0.0 };
        for stars in [[of(0.0), of(9.0)], [of(0.0), of(0.0)], [of(1e-300), of(1e300)]] {
            let weights = stack.combine(&stars).unwrap().weights;
            assert!(
                (weights.iter().sum::<f64>() - 1.0).abs() < 1e-9 && weights.iter().all(|w| *w >= 0.0),
                "{weights:?}"
            );
        }
    }
}
