//! What members of an ensemble say of stars they had not seen, and how much better their mean would be.

use ndarray::{Array2, Array3, Axis, s};

use crate::stats::robust::{mean, robust_scatter};

/// Pairs of members that had both not seen the same star, from which on they tell how far members are apart.
const ENOUGH_PAIRS: usize = 15;

/// The mean answer of the members that had not seen a star, and by how much its variance exceeds that of all members' mean.
///
/// The error of a member is one that all share and one of its own: its square exceeds that of the mean of all M members by the
/// mean square distance of the members from their mean, the ambiguity, which needs no labels (Krogh & Vedelsby 1995, NIPS 7,
/// 231). With V the variance of what is a member's own,
///
/// ```text
/// variance of the mean of h members - variance of the mean of M = V (1/h - 1/M),   V = <(f_i - f_j)^2> / 2
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct MemberAnswers {
    /// Mean answers, [n_stars, n_labels]; NaN where no member had not seen the star.
    pub means: Array2<f64>,
    /// Excess variance, [n_stars, n_labels].
    pub excess: Array2<f64>,
}

impl MemberAnswers {
    /// From the answers of every member, [n_members, n_stars, n_labels], NaN for stars it had seen.
    pub fn new(answers: &Array3<f64>) -> Self {
        let (n_members, n_stars, n_labels) = answers.dim();
        let known = |star: usize, k: usize| -> Vec<f64> {
            answers.slice(s![.., star, k]).iter().copied().filter(|answer| answer.is_finite()).collect()
        };
        let mut means = Array2::from_elem((n_stars, n_labels), f64::NAN);
        let mut excess = Array2::zeros((n_stars, n_labels));
        for k in 0..n_labels {
            let own = own_variance(answers.index_axis(Axis(2), k).columns().into_iter().map(|star| star.to_vec()));
            for star in 0..n_stars {
                let known = known(star, k);
                if !known.is_empty() {
                    means[[star, k]] = mean(&known);
                    excess[[star, k]] = own * (1.0 / known.len() as f64 - 1.0 / n_members as f64);
                }
            }
        }
        Self { means, excess }
    }
}

/// Variance of what is a member's own, from stars that two members had not seen; 0, which leaves errors rather too large, where
/// there are too few of them.
fn own_variance(stars: impl Iterator<Item = Vec<f64>>) -> f64 {
    let differences: Vec<f64> = stars
        .filter_map(|answers| {
            let mut known = answers.into_iter().filter(|answer| answer.is_finite());
            Some(known.next()? - known.next()?)
        })
        .collect();
    if differences.len() < ENOUGH_PAIRS {
        return 0.0;
    }
    0.5 * robust_scatter(&differences).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_excess_turns_the_error_of_one_member_into_that_of_the_mean() {
        let (n_members, n_stars) = (4, 40_000);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut answers = Array3::from_elem((n_members, n_stars, 1), f64::NAN);
        let (mut ensemble, mut alone) = (0.0, Vec::new());
        for star in 0..n_stars {
            // An error of 3 that all share, and 2 of each member's own.
            let shared = 3.0 * normal(&mut rng);
            let all: Vec<f64> = (0..n_members).map(|_| shared + 2.0 * normal(&mut rng)).collect();
            ensemble += mean(&all).powi(2) / n_stars as f64;
            for (member, answer) in all.into_iter().enumerate() {
                if rng.random_range(0.0..1.0) < 0.15 {
                    answers[[member, star, 0]] = answer;
                }
            }
        }
        let found = MemberAnswers::new(&answers);
        for star in (0..n_stars).filter(|star| found.means[[*star, 0]].is_finite()) {
            alone.push(found.means[[star, 0]].powi(2) - found.excess[[star, 0]]);
        }
        assert!((alone.len() as f64 / n_stars as f64 - (1.0 - 0.85_f64.powi(4))).abs() < 0.01);
        // 9 + 4 / 4 = 10; each side is known to sqrt(2 / n) x 12, about 1%.
        assert!((ensemble - 10.0).abs() < 0.3 && (mean(&alone) - ensemble).abs() < 0.5, "{ensemble} {}", mean(&alone));
    }

    #[test]
    fn a_single_network_is_its_own_ensemble() {
        let answers = Array3::from_shape_fn((1, 50, 2), |(_, star, k)| (star + k) as f64);
        let found = MemberAnswers::new(&answers);
        assert!(found.excess.iter().all(|excess| *excess == 0.0) && found.means[[3, 1]] == 4.0);
    }
}
