//! A smooth line through scattered points, some of which belong to something else.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::robust::{median, quantile, robust_scatter};

/// A polynomial in x, constant beyond the range of x it was fitted in: nothing is extrapolated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trend {
    /// Lowest and highest x: all but 2% of the points on either side.
    pub range: (f64, f64),
    /// Coefficients of powers of (x - middle of the range) / half its width.
    pub coefficients: Vec<f64>,
}

impl Trend {
    /// Through points whose outliers have no say (bisquare weights, Beaton & Tukey 1974, Technometrics 16, 147): a parabola
    /// through 60 or more, a line through 20, a constant through 10; `None` through fewer.
    pub fn fit(x: &[f64], y: &[f64]) -> Option<Self> {
        /// Of the weights, in units of the robust scatter: 95% of the efficiency of least squares on normal residuals.
        const WIDTH: f64 = 4.685;
        const ROUNDS: usize = 30;
        let order = match x.len() {
            60.. => 2,
            20.. => 1,
            10.. => 0,
            _ => return None,
        };
        let range = (quantile(x, 0.02), quantile(x, 0.98));
        let order = if range.1 - range.0 > 1e-9 { order } else { 0 };
        let mut trend = Self { range, coefficients: vec![median(y)] };
        for _ in 0..ROUNDS {
            let residual: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - trend.at(*x)).collect();
            let width = WIDTH * robust_scatter(&residual);
            if width <= 0.0 {
                break;
            }
            let weight = |residual: &f64| (1.0 - (residual / width).powi(2)).max(0.0).powi(2);
            let weights = DVector::from_iterator(x.len(), residual.iter().map(weight));
            let design = DMatrix::from_fn(x.len(), order + 1, |n, power| trend.place(x[n]).powi(power as i32));
            let weighted = DMatrix::from_fn(x.len(), order + 1, |n, power| weights[n] * design[(n, power)]);
            let normal = weighted.transpose() * &design;
            let right = weighted.transpose() * DVector::from_column_slice(y);
            let Some(cholesky) = normal.cholesky() else { break };
            trend.coefficients = cholesky.solve(&right).as_slice().to_vec();
        }
        trend.coefficients.iter().all(|value| value.is_finite()).then_some(trend)
    }

    /// Its value at x.
    pub fn at(&self, x: f64) -> f64 {
        let place = self.place(x);
        self.coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * place + coefficient)
    }

    /// -1 at the lower end of the range, 1 at the upper.
    fn place(&self, x: f64) -> f64 {
        let (low, high) = self.range;
        if high > low { (2.0 * x.clamp(low, high) - low - high) / (high - low) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parabola_is_found_behind_a_tenth_of_outliers_and_not_extrapolated() {
        let x: Vec<f64> = (0..200).map(|i| f64::from(i) * 0.01).collect();
        let truth = |x: f64| 0.3 - 0.5 * x + 0.2 * x * x;
        let y = |(n, x): (usize, &f64)| truth(*x) + 0.02 * (1.7 * n as f64).sin() + if n % 10 == 0 { 4.0 } else { 0.0 };
        let y: Vec<f64> = x.iter().enumerate().map(y).collect();
        let trend = Trend::fit(&x, &y).unwrap();
        for x in [0.1, 1.0, 1.9] {
            assert!((trend.at(x) - truth(x)).abs() < 0.01, "{x}: {}", trend.at(x));
        }
        assert_eq!((trend.at(50.0), trend.at(-50.0)), (trend.at(trend.range.1), trend.at(trend.range.0)));
    }

    #[test]
    fn few_points_get_less_and_equal_ones_no_slope() {
        let line: Vec<f64> = (0..25).map(f64::from).collect();
        assert!(Trend::fit(&line[..9], &line[..9]).is_none());
        assert_eq!(Trend::fit(&line[..12], &[1.5; 12]).unwrap().coefficients, [1.5]);
        assert_eq!(Trend::fit(&[2.0; 25], &line).unwrap().coefficients.len(), 1);
        assert!((Trend::fit(&line, &line).unwrap().at(7.0) - 7.0).abs() < 1e-9);
    }
}
