//! Weights that are shares: none negative, their sum one.

use nalgebra::{DMatrix, DVector};

/// Moves of weight at most.
const MOST_MOVES: usize = 2000;
/// Differences of slopes, relative to the largest element, below which no weight is moved.
const TOLERANCE: f64 = 1e-13;

/// The shares `w` that make `w^T matrix w` least; equal ones where nothing tells them apart.
///
/// Weight is moved from the share that adds most to the one that adds least, each time by as much as helps. Ends at the minimum if
/// the matrix has no negative eigenvalue.
///
/// # Shapes
/// - matrix: `[n, n]`, symmetric, finite; output: `[n]`
pub fn least_on_simplex(matrix: &DMatrix<f64>) -> DVector<f64> {
    let n = matrix.nrows();
    let mut weights = DVector::from_element(n, 1.0 / n as f64);
    for _ in 0..MOST_MOVES {
        let slopes = matrix * &weights;
        let by_slope = |a: &usize, b: &usize| slopes[*a].total_cmp(&slopes[*b]);
        let receiver = (0..n).min_by(by_slope);
        let giver = (0..n).filter(|index| weights[*index] > 0.0).max_by(by_slope);
        let (Some(to), Some(from)) = (receiver, giver) else { break };
        let gain = slopes[from] - slopes[to];
        if to == from || gain <= TOLERANCE * matrix.amax() {
            break;
        }
        let curvature = matrix[(to, to)] + matrix[(from, from)] - 2.0 * matrix[(to, from)];
        let step = if curvature * weights[from] > gain { gain / curvature } else { weights[from] };
        weights[to] += step;
        // What is given away altogether leaves no rounding error.
        weights[from] = if step == weights[from] { 0.0 } else { weights[from] - step };
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_of_independent_estimates_go_by_their_inverse_variances() {
        let weights = least_on_simplex(&DMatrix::from_diagonal(&DVector::from_vec(vec![1.0, 4.0, 16.0])));
        for (weight, exact) in weights.iter().zip([16.0 / 21.0, 4.0 / 21.0, 1.0 / 21.0]) {
            assert!((weight - exact).abs() < 1e-9, "{weights}");
        }
        assert!((weights.sum() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn what_would_have_a_negative_share_has_none_and_equals_have_equal_ones() {
        // The second is the first and more: generalized least squares would subtract it.
        let weights = least_on_simplex(&DMatrix::from_row_slice(2, 2, &[1.0, 1.2, 1.2, 2.0]));
        assert_eq!(weights.as_slice(), [1.0, 0.0]);
        let same = least_on_simplex(&DMatrix::from_element(3, 3, 2.0));
        assert!(same.iter().all(|weight| (weight - 1.0 / 3.0).abs() < 1e-12), "{same}");
        let hopeless =
            least_on_simplex(&DMatrix::from_row_slice(3, 3, &[1.0, 0.5, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0, 1e12]));
        assert!((hopeless[0] - 0.5).abs() < 1e-9 && hopeless[2] < 1e-11, "{hopeless}");
        assert_eq!(least_on_simplex(&DMatrix::from_element(1, 1, 3.0)).as_slice(), [1.0]);
    }
}
