//! Covariance of several quantities, in which a few wild rows hardly count.

use nalgebra::{Cholesky, DMatrix};
use ndarray::{Array2, ArrayView2};

use super::robust::robust_scatter;

/// Degrees of freedom of the t distribution: few enough that wild rows hardly count.
const DEGREES: f64 = 4.0;
const MOST_ROUNDS: usize = 500;

/// Rounds in which wild rows are left out.
const TRIMMING_ROUNDS: usize = 5;

/// Correlations of columns, [n_columns, n_columns], about 0, from rows without gaps.
///
/// Begun as maximum likelihood under a multivariate t distribution (Kent, Tyler & Vardi 1994), in which a row far from the
/// others in any direction has little weight; ended without the rows beyond the distance that 1 in 100 of a normal distribution
/// exceed: correlations of the normal core. `None` with fewer than three rows per column.
pub fn robust_correlation(rows: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    let (n, width) = rows.shape();
    if n < 3 * width || width == 0 {
        return None;
    }
    // Columns of like size: the rounds then need no guard of their own against bad conditioning.
    let scales: Vec<f64> = rows.column_iter().map(|column| square_root_of_median_square(column.as_slice())).collect();
    if scales.iter().any(|scale| !scale.is_finite() || *scale <= 0.0) {
        return None;
    }
    let rows = DMatrix::from_fn(n, width, |row, column| rows[(row, column)] / scales[column]);
    let weighted = |weights: &[f64]| {
        let weighted = DMatrix::from_fn(n, width, |row, column| rows[(row, column)] * weights[row]);
        weighted.tr_mul(&rows) / weights.iter().sum::<f64>()
    };
    let distances = |scatter: &DMatrix<f64>| -> Option<Vec<f64>> {
        let inverse = Cholesky::new(scatter.clone())?.inverse();
        Some((&rows * inverse).component_mul(&rows).column_sum().iter().copied().collect())
    };
    let mut scatter = DMatrix::<f64>::identity(width, width);
    for _ in 0..MOST_ROUNDS {
        let weight = |distance: &f64| (DEGREES + width as f64) / (DEGREES + distance);
        let next = weighted(&distances(&scatter)?.iter().map(weight).collect::<Vec<f64>>());
        let change = (&next - &scatter).amax() / next.amax();
        scatter = next;
        if change < 1e-8 {
            break;
        }
    }
    for _ in 0..TRIMMING_ROUNDS {
        let distances = distances(&scatter)?;
        let limit = super::robust::median(&distances) * chi_square(width, 2.326) / chi_square(width, 0.0);
        scatter =
            weighted(&distances.iter().map(|distance| f64::from(u8::from(*distance <= limit))).collect::<Vec<f64>>());
    }
    let spread: Vec<f64> = (0..width).map(|k| scatter[(k, k)].sqrt()).collect();
    Some(DMatrix::from_fn(width, width, |k, l| if k == l { 1.0 } else { scatter[(k, l)] / (spread[k] * spread[l]) }))
}

/// The value that chi^2 of so many degrees of freedom exceeds as seldom as a normal number exceeds `sigma` (Wilson & Hilferty
/// 1931).
fn chi_square(degrees: usize, sigma: f64) -> f64 {
    let spread = 2.0 / (9.0 * degrees as f64);
    degrees as f64 * (1.0 - spread + sigma * spread.sqrt()).powi(3)
}

/// Mean products of residuals, [n_columns, n_columns], about 0; rows with gaps are left out, and NaN comes of none.
///
/// Residuals beyond three robust deviations count as three: a few wrong catalogue labels are not a model's errors.
pub fn limited_covariance(residuals: ArrayView2<f64>) -> Array2<f64> {
    const MOST_DEVIATIONS: f64 = 3.0;
    let rows: Vec<Vec<f64>> = residuals
        .rows()
        .into_iter()
        .filter(|row| row.iter().all(|residual| residual.is_finite()))
        .map(|row| row.to_vec())
        .collect();
    let limits: Vec<f64> = (0..residuals.ncols())
        .map(|k| MOST_DEVIATIONS * robust_scatter(&rows.iter().map(|row| row[k]).collect::<Vec<f64>>()))
        .collect();
    let limited = |row: &Vec<f64>, k: usize| row[k].clamp(-limits[k], limits[k]);
    Array2::from_shape_fn((residuals.ncols(), residuals.ncols()), |(k, l)| {
        rows.iter().map(|row| limited(row, k) * limited(row, l)).sum::<f64>() / rows.len() as f64
    })
}

fn square_root_of_median_square(values: &[f64]) -> f64 {
    super::robust::median(&values.iter().map(|value| value * value).collect::<Vec<f64>>()).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn correlations_of_the_core_survive_wild_rows() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut normal = || draw(&mut rng);
        let n = 6000;
        let mut rows = DMatrix::zeros(n, 3);
        for row in 0..n {
            let [a, b, c] = [normal(), normal(), normal()];
            // Correlations 0.6 and 0; in one row of twenty all three are wild in the same way.
            let wild = if row % 20 == 0 { 30.0 * normal() } else { 0.0 };
            rows[(row, 0)] = 100.0 * (a + wild);
            rows[(row, 1)] = 0.6 * a + 0.8 * b + wild;
            rows[(row, 2)] = 0.01 * (c + wild);
        }
        let plain = |k: usize, l: usize| {
            let product = |k: usize, l: usize| rows.column(k).dot(&rows.column(l));
            product(k, l) / (product(k, k) * product(l, l)).sqrt()
        };
        assert!(plain(0, 2) > 0.9, "the plain correlation is that of the wild rows");
        let robust = robust_correlation(&rows).unwrap();
        // 1 / sqrt(n) = 0.013; one wild row in twenty is not wild enough to be seen.
        assert!((robust[(0, 1)] - 0.6).abs() < 0.04, "{robust}");
        assert!(robust[(0, 2)].abs() < 0.05 && robust[(1, 1)] == 1.0, "{robust}");
        assert!((robust[(1, 2)] - robust[(2, 1)]).abs() < 1e-12);
        // scipy.stats.chi2.ppf([0.5, 0.99], 15)
        assert!((chi_square(15, 0.0) - 14.339).abs() < 0.01 && (chi_square(15, 2.326) - 30.578).abs() < 0.05);
        assert!(robust_correlation(&rows.rows(0, 8).into_owned()).is_none());
        assert!(robust_correlation(&DMatrix::zeros(50, 2)).is_none());
    }
}
