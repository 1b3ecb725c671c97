//! What is known of a star before its spectrum is looked at: a Gaussian prior on the inputs of a model.

use burn::tensor::{Int, Tensor};
use nalgebra::{DMatrix, DVector};
use ndarray::{ArrayView2, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chi_square::{ChiSquare, Evaluation, Slope};
use crate::device::Compute;

/// What a fit does with the inputs of a model that are not labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Nuisances {
    /// Fitted beside the labels, held near what is usual at these labels.
    #[default]
    Free,
    /// Kept at what is usual at these labels.
    Fixed,
}

/// Precision of nuisances that are kept fixed, relative to their usual scatter.
const FIXED_PRECISION: f64 = 1e6;

/// A quadratic penalty on scaled inputs, `(u - centre)^T precision (u - centre)`.
#[derive(Debug, Clone, PartialEq)]
pub struct GaussianPrior {
    pub(super) precision: DMatrix<f64>,
    pub(super) centre: DVector<f64>,
}

impl GaussianPrior {
    /// Nothing known of the labels, and all other inputs standard normal; `None` where there are no others.
    pub fn standard_normal(n_labels: usize, n_inputs: usize) -> Option<Self> {
        let is_known = |k: usize| f64::from(u8::from(k >= n_labels));
        let precision = DMatrix::from_diagonal(&DVector::from_fn(n_inputs, |k, _| is_known(k)));
        (n_inputs > n_labels).then(|| Self { precision, centre: DVector::zeros(n_inputs) })
    }

    /// The prior of the nuisances given the labels, with nothing said of the labels themselves.
    ///
    /// ```text
    /// z = a + B l + e,   e ~ N(0, C):   penalty (z - a - B l)^T C^-1 (z - a - B l)
    /// ```
    ///
    /// a, B and C are the regression of the nuisances on the labels over `scaled`, [n_models, n_inputs], whose first
    /// `n_labels` columns are labels. Marginalized over the nuisances it is flat in the labels.
    ///
    /// Returns `None` where there are no nuisances, or too few models to regress on.
    pub fn conditional(scaled: ArrayView2<f64>, n_labels: usize, nuisances: Nuisances) -> Option<Self> {
        let (n_models, n_inputs) = scaled.dim();
        let n_nuisances = n_inputs.checked_sub(n_labels).filter(|n| *n > 0)?;
        if n_models <= n_inputs + 1 {
            return None;
        }
        let design = DMatrix::from_fn(n_models, n_labels + 1, |n, k| if k == 0 { 1.0 } else { scaled[[n, k - 1]] });
        let outcome = scaled.slice(s![.., n_labels..]);
        let outcome = DMatrix::from_fn(n_models, n_nuisances, |n, k| outcome[[n, k]]);
        let normal = design.transpose() * &design;
        let coefficients = normal.cholesky()?.solve(&(design.transpose() * &outcome));
        let residual = outcome - design * &coefficients;
        let covariance = residual.transpose() * &residual / (n_models - n_labels - 1) as f64;
        let mut inverse = covariance.cholesky()?.inverse();
        if nuisances == Nuisances::Fixed {
            inverse *= FIXED_PRECISION;
        }
        // z - a - B l = R (u - centre), with R = [-B, 1] and the centre at l = 0, z = a.
        let mut map = DMatrix::zeros(n_nuisances, n_inputs);
        map.columns_mut(0, n_labels).copy_from(&-coefficients.rows(1, n_labels).transpose());
        map.columns_mut(n_labels, n_nuisances).fill_with_identity();
        let mut centre = DVector::zeros(n_inputs);
        centre.rows_mut(n_labels, n_nuisances).copy_from(&coefficients.row(0).transpose());
        Some(Self { precision: map.transpose() * inverse * map, centre })
    }

    /// The penalty at scaled inputs.
    pub fn penalty(&self, scaled: &[f64]) -> f64 {
        let offset = DVector::from_column_slice(scaled) - &self.centre;
        (&self.precision * &offset).dot(&offset)
    }
}

/// chi^2 of several stars with the same prior added to each.
#[derive(Debug, Clone)]
pub struct Penalized<C> {
    problem: C,
    /// [1, n_inputs, n_inputs]
    precision: Tensor<3>,
    /// [1, n_inputs]
    centre: Tensor<2>,
}

impl<C: ChiSquare> Penalized<C> {
    /// Adds a prior; `compute` is where `problem` lies.
    pub fn new(problem: C, prior: &GaussianPrior, compute: &Compute) -> Self {
        let n = prior.centre.len();
        // The matrix is symmetric: columns and rows are the same.
        let precision = compute.tensor(prior.precision.as_slice(), [1, n, n]);
        Self { problem, precision, centre: compute.tensor(prior.centre.as_slice(), [1, n]) }
    }
}

impl<C: ChiSquare> ChiSquare for Penalized<C> {
    fn evaluate(&self, scaled_labels: Tensor<2>) -> Evaluation {
        let [n_stars, n] = scaled_labels.dims();
        let bare = self.problem.evaluate(scaled_labels.clone());
        let offset = scaled_labels - self.centre.clone();
        let gradient = offset.clone().matmul(self.precision.clone().reshape([n, n]));
        Evaluation {
            chi2: bare.chi2 + (offset * gradient.clone()).sum_dim(1),
            half_gradient: bare.half_gradient + gradient.reshape([n_stars, n, 1]),
            half_hessian: bare.half_hessian + self.precision.clone(),
            curvature: bare.curvature + self.precision.clone(),
        }
    }

    fn chi2(&self, scaled_labels: Tensor<2>) -> Tensor<2> {
        let [_, n] = scaled_labels.dims();
        let offset = scaled_labels.clone() - self.centre.clone();
        let gradient = offset.clone().matmul(self.precision.clone().reshape([n, n]));
        self.problem.chi2(scaled_labels) + (offset * gradient).sum_dim(1)
    }

    fn slope(&self, scaled_labels: Tensor<3>) -> Slope {
        let [n_stars, n_points, n] = scaled_labels.dims();
        let bare = self.problem.slope(scaled_labels.clone());
        let offset = scaled_labels.reshape([n_stars * n_points, n]) - self.centre.clone();
        let gradient = offset.clone().matmul(self.precision.clone().reshape([n, n]));
        Slope {
            chi2: bare.chi2 + (offset * gradient.clone()).sum_dim(1).reshape([n_stars, n_points]),
            half_gradient: bare.half_gradient + gradient.reshape([n_stars, n_points, n]),
        }
    }

    fn select(&self, rows: Tensor<1, Int>) -> Self {
        Self { problem: self.problem.select(rows), precision: self.precision.clone(), centre: self.centre.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    #[test]
    fn the_prior_is_the_regression_it_was_made_of() {
        // Label 0 and nuisance 1 = 0.5 + 2 l + e, with e = +-0.1 independent of the label.
        let scaled = Array2::from_shape_fn((40, 2), |(n, k)| {
            let label = (n / 2) as f64 / 10.0 - 1.0;
            if k == 0 { label } else { 0.5 + 2.0 * label + if n % 2 == 0 { 0.1 } else { -0.1 } }
        });
        let prior = GaussianPrior::conditional(scaled.view(), 1, Nuisances::Free).unwrap();
        assert!(prior.penalty(&[3.0, 6.5]).abs() < 1e-9);
        // One standard deviation off: 38 degrees of freedom for 40 models.
        assert!((prior.penalty(&[-1.0, -1.4]) - 38.0 / 40.0).abs() < 1e-9);
        let fixed = GaussianPrior::conditional(scaled.view(), 1, Nuisances::Fixed).unwrap();
        assert!((fixed.penalty(&[-1.0, -1.4]) / prior.penalty(&[-1.0, -1.4]) - FIXED_PRECISION).abs() < 1e-3);
        assert!(GaussianPrior::conditional(scaled.view(), 2, Nuisances::Free).is_none());
    }
}
