//! How far from physics an anchored Cannon may go, as stars held out tell.

use ndarray::{Array1, Array2, Axis};

use crate::stats::robust::robust_scatter;

/// Of some sets of labels' deviations, [n_stars, n_labels] each, the last whose loss is within a standard error of the least (Breiman et
/// al. 1984, Classification and Regression Trees, section 3.4.3).
///
/// A star's loss is the sum over its labels of the squared deviation in units of the mean square of the best set; what is beyond three
/// robust widths of all sets together counts as that.
pub(super) fn tightest_of_the_best(deviations: &[Array2<f64>]) -> usize {
    let (n_stars, n_labels) = deviations[0].dim();
    let widths: Vec<f64> = (0..n_labels)
        .map(|label| {
            let all: Vec<f64> = deviations.iter().flat_map(|set| set.column(label).to_vec()).collect();
            3.0 * robust_scatter(&all).max(f64::MIN_POSITIVE)
        })
        .collect();
    let squares = |set: &Array2<f64>| {
        Array2::from_shape_fn((n_stars, n_labels), |(star, label)| {
            // What is not a number is as far as can be, too.
            set[[star, label]].abs().min(widths[label]).powi(2)
        })
    };
    let squares: Vec<Array2<f64>> = deviations.iter().map(squares).collect();
    let means: Vec<Array1<f64>> = squares.iter().map(|set| set.mean_axis(Axis(0)).expect("there are stars")).collect();
    let total = |set: &usize| means[*set].mapv(f64::ln).sum();
    let best = (0..squares.len()).min_by(|a, b| total(a).total_cmp(&total(b))).expect("there are sets");
    let is_as_good = |set: &usize| {
        let loss = (&squares[*set] - &squares[best]) / &means[best];
        let of_stars = loss.sum_axis(Axis(1));
        let (mean, n) = (of_stars.mean().expect("there are stars"), n_stars as f64);
        mean <= (of_stars.mapv(|loss| (loss - mean).powi(2)).sum() / (n * (n - 1.0))).sqrt()
    };
    (0..squares.len()).rev().find(is_as_good).unwrap_or(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const N_LABELS: usize = 2;

    #[test]
    fn the_tightest_limit_is_taken_whose_labels_are_not_clearly_worse() {
        let mut random = ChaCha8Rng::seed_from_u64(9);
        let best = Array2::from_shape_simple_fn((40, N_LABELS), || normal(&mut random));
        let alike = &best + &Array2::from_shape_simple_fn((40, N_LABELS), || 0.05 * normal(&mut random));
        let (wide, worse) = (&best * 1.1, &best * 1.4);
        assert_eq!(tightest_of_the_best(&[wide.clone(), best.clone(), alike.clone(), worse.clone()]), 2);
        assert_eq!(tightest_of_the_best(&[best.clone(), worse.clone()]), 0);
        // One star decides nothing, nor does what is not a number.
        let mut outlier = best.clone();
        outlier[[3, 0]] = 1e3;
        outlier[[4, 1]] = f64::NAN;
        assert_eq!(tightest_of_the_best(&[worse, outlier]), 1);
    }
}
