//! chi^2 as a function of the labels, and where it is lowest.

use burn::tensor::{Int, Tensor};
use ndarray::{Array2, Array3, ArrayView2, Axis};

use super::solve::invert;
use crate::device::{Compute, to_f64};

/// chi^2 of several stars as a function of their scaled labels.
pub trait ChiSquare {
    /// Value and derivatives at scaled labels, `[n_stars, n_labels]`.
    fn evaluate(&self, scaled_labels: Tensor<2>) -> Evaluation;
    /// The value alone, `[n_stars, 1]`, as an expression that can be differentiated.
    fn chi2(&self, scaled_labels: Tensor<2>) -> Tensor<2>;
    /// Value and gradient at several points of each star, `[n_stars, n_points, n_labels]`: what samplers ask for, without
    /// the cost of second derivatives where an implementation knows how.
    fn slope(&self, scaled_labels: Tensor<3>) -> Slope {
        let [n_stars, n_points, n_labels] = scaled_labels.dims();
        let at = |point: usize| {
            let here = self.evaluate(scaled_labels.clone().narrow(1, point, 1).reshape([n_stars, n_labels]));
            (here.chi2, here.half_gradient.reshape([n_stars, 1, n_labels]))
        };
        let (chi2, half_gradient) = (0..n_points).map(at).unzip();
        Slope { chi2: Tensor::cat(chi2, 1), half_gradient: Tensor::cat(half_gradient, 1) }
    }
    /// The stars at these positions, in this order; positions may repeat.
    fn select(&self, rows: Tensor<1, Int>) -> Self;
}

/// chi^2 and its derivatives.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// `[n_stars, 1]`
    pub chi2: Tensor<2>,
    /// Half the gradient, `[n_stars, n_labels, 1]`.
    pub half_gradient: Tensor<3>,
    /// Half the Hessian, `[n_stars, n_labels, n_labels]`.
    pub half_hessian: Tensor<3>,
    /// Half the Gauss-Newton matrix, `[n_stars, n_labels, n_labels]`; its inverse is the formal covariance.
    pub curvature: Tensor<3>,
}

/// chi^2 and its gradient at several points of each star.
#[derive(Debug, Clone)]
pub struct Slope {
    /// `[n_stars, n_points]`
    pub chi2: Tensor<2>,
    /// Half the gradient, `[n_stars, n_points, n_labels]`.
    pub half_gradient: Tensor<3>,
}

/// The best minimum of each star.
#[derive(Debug, Clone, PartialEq)]
pub struct Minimum {
    /// Scaled labels, [n_stars, n_labels].
    pub scaled_labels: Array2<f64>,
    /// Covariance of the scaled labels, [n_stars, n_labels, n_labels].
    pub covariance: Array3<f64>,
    /// chi^2 there.
    pub chi2: Vec<f64>,
    /// Whether the fit converged.
    pub converged: Vec<bool>,
    /// Distinct minima in which the starts ended.
    pub n_minima: Vec<usize>,
}

impl Evaluation {
    /// Takes another evaluation where `mask`, [n_stars, 1], is true.
    pub(super) fn replace(self, mask: &Tensor<2, burn::tensor::Bool>, other: Self) -> Self {
        let [n_stars, n_labels, _] = self.curvature.dims();
        let mask3 = mask.clone().reshape([n_stars, 1, 1]);
        let square = mask3.clone().expand([n_stars, n_labels, n_labels]);
        Self {
            chi2: self.chi2.mask_where(mask.clone(), other.chi2),
            half_gradient: self.half_gradient.mask_where(mask3.expand([n_stars, n_labels, 1]), other.half_gradient),
            half_hessian: self.half_hessian.mask_where(square.clone(), other.half_hessian),
            curvature: self.curvature.mask_where(square, other.curvature),
        }
    }

    pub(super) fn select(&self, rows: Tensor<1, Int>) -> Self {
        Self {
            chi2: self.chi2.clone().select(0, rows.clone()),
            half_gradient: self.half_gradient.clone().select(0, rows.clone()),
            half_hessian: self.half_hessian.clone().select(0, rows.clone()),
            curvature: self.curvature.clone().select(0, rows),
        }
    }
}

impl Minimum {
    /// Nothing found yet: still at the start, [n_stars, n_labels].
    pub(super) fn at(start: ArrayView2<f64>) -> Self {
        let (n_stars, n_labels) = start.dim();
        Self {
            scaled_labels: start.to_owned(),
            covariance: Array3::from_elem((n_stars, n_labels, n_labels), f64::NAN),
            chi2: vec![f64::NAN; n_stars],
            converged: vec![false; n_stars],
            n_minima: vec![1; n_stars],
        }
    }

    /// Adds each star's minimum to those known, if it converged and is another.
    pub(super) fn add_to(&self, minima: &mut [Vec<Vec<f64>>]) {
        for (star, minima) in minima.iter_mut().enumerate() {
            if self.converged[star] && !minima.iter().any(|other| self.is_at(star, other)) {
                minima.push(self.scaled_labels.row(star).to_vec());
            }
        }
    }

    /// Whether a star's minimum is at these labels, within its formal error.
    fn is_at(&self, star: usize, labels: &[f64]) -> bool {
        (0..labels.len())
            .all(|k| (self.scaled_labels[[star, k]] - labels[k]).abs() < self.covariance[[star, k, k]].sqrt())
    }

    /// Takes one star's minimum from a row of another run.
    pub(super) fn take(&mut self, star: usize, from: &Self, row: usize) {
        self.scaled_labels.row_mut(star).assign(&from.scaled_labels.row(row));
        let covariance = from.covariance.index_axis(Axis(0), row);
        self.covariance.index_axis_mut(Axis(0), star).assign(&covariance);
        self.chi2[star] = from.chi2[row];
        self.converged[star] = from.converged[row];
        self.n_minima[star] = from.n_minima[row];
    }

    /// Takes note of where those of the active stars end that are done, or all of them in the last step. They are active no longer;
    /// rows of the others, none where no star ends.
    pub(super) fn settle(
        &mut self,
        active: &mut Vec<usize>,
        (done, is_last): (&[bool], bool),
        (labels, here): (&Tensor<2>, &Evaluation),
        compute: &Compute,
    ) -> Option<Vec<usize>> {
        let (finished, remaining): (Vec<usize>, Vec<usize>) = (0..active.len()).partition(|row| done[*row] || is_last);
        if finished.is_empty() {
            return None;
        }
        let n_labels = labels.dims()[1];
        let index = compute.indices(&finished);
        let (labels, here) = (labels.clone().select(0, index.clone()), here.select(index));
        let (labels, chi2) = (to_f64(labels), to_f64(here.chi2));
        let covariance = to_f64(invert(here.curvature));
        for (row, &of_active) in finished.iter().enumerate() {
            let star = active[of_active];
            self.chi2[star] = chi2[row];
            self.converged[star] = done[of_active] && chi2[row].is_finite();
            for k in 0..n_labels {
                self.scaled_labels[[star, k]] = labels[row * n_labels + k];
                for l in 0..n_labels {
                    self.covariance[[star, k, l]] = covariance[(row * n_labels + k) * n_labels + l];
                }
            }
        }
        *active = remaining.iter().map(|row| active[*row]).collect();
        Some(remaining)
    }
}
