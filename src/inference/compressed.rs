//! Spectra summed up: chi^2 of each star whatever the labels.

use burn::tensor::{Int, Tensor};
use ndarray::{Array2, ArrayView2};

use super::chi_square::{ChiSquare, Evaluation, Slope};
use crate::device::{Compute, to_f64};
use crate::models::LabelTerms;

/// chi^2 of several stars as a function of their labels, each star's pixels summed up; on [`Compute::small_systems`].
#[derive(Debug, Clone)]
pub struct CompressedSpectra<T> {
    pub(super) label_terms: T,
    /// [n_stars, n_terms - 1, n_terms - 1]
    pub(super) m: Tensor<3>,
    /// [n_stars, n_terms - 1, 1]
    pub(super) v: Tensor<3>,
    /// [n_stars, 1]
    pub(super) c: Tensor<2>,
    /// Roots of the diagonal of M, and of c behind them, before any nuisance is integrated out, [n_stars, n_terms]: how large
    /// the numbers were that were summed up.
    pub(super) sizes: Tensor<2>,
    /// What the model's own nuisance spectra were integrated out with, sum w B_z B_z, [n_stars, n_nuisances, n_nuisances]; none
    /// without any, nor of a selection of stars.
    pub(super) of_nuisances: Option<Tensor<3>>,
}

impl<T: LabelTerms> CompressedSpectra<T> {
    /// Takes other sums in place of those of the stars at these positions.
    pub(super) fn replace(&mut self, stars: &[usize], others: &Self) {
        let [n_stars, ..] = self.m.dims();
        let mut from: Vec<usize> = (0..n_stars).collect();
        stars.iter().enumerate().for_each(|(other, star)| from[*star] = n_stars + other);
        let from = Compute::small_systems().indices(&from);
        self.m = Tensor::cat(vec![self.m.clone(), others.m.clone()], 0).select(0, from.clone());
        self.v = Tensor::cat(vec![self.v.clone(), others.v.clone()], 0).select(0, from.clone());
        self.c = Tensor::cat(vec![self.c.clone(), others.c.clone()], 0).select(0, from.clone());
        self.sizes = Tensor::cat(vec![self.sizes.clone(), others.sizes.clone()], 0).select(0, from.clone());
        let both = self.of_nuisances.take().zip(others.of_nuisances.clone());
        self.of_nuisances = both.map(|(own, others)| Tensor::cat(vec![own, others], 0).select(0, from));
    }

    /// chi^2 of every star at every one of some labels, in one matrix product.
    ///
    /// # Shapes
    /// - scaled_labels: `[n_points, n_labels]`
    /// - output: `[n_stars, n_points]`
    pub fn chi2_at(&self, scaled_labels: ArrayView2<f64>) -> Array2<f64> {
        let (n_points, n_labels) = scaled_labels.dim();
        let [n_stars, n, _] = self.m.dims();
        let flat: Vec<f64> = scaled_labels.iter().copied().collect();
        let labels = Compute::small_systems().tensor(&flat, [n_points, n_labels]);
        let x = self.label_terms.terms(labels).narrow(1, 1, n);
        let squares =
            (x.clone().reshape([n_points, n, 1]) * x.clone().reshape([n_points, 1, n])).reshape([n_points, n * n]);
        let quadratic = self.m.clone().reshape([n_stars, n * n]).matmul(squares.transpose());
        let linear = self.v.clone().reshape([n_stars, n]).matmul(x.transpose());
        let chi2 = to_f64(quadratic - linear * 2.0 + self.c.clone());
        Array2::from_shape_vec((n_stars, n_points), chi2).expect("one value per star and point")
    }
}

impl<T: LabelTerms> ChiSquare for CompressedSpectra<T> {
    fn evaluate(&self, scaled_labels: Tensor<2>) -> Evaluation {
        let [n_stars, n, _] = self.m.dims();
        let expansion = self.label_terms.expand(scaled_labels);
        let derivative = expansion.derivative.narrow(1, 1, n);
        let x = expansion.terms.narrow(1, 1, n).reshape([n_stars, n, 1]);
        // With Y = [x, dx/dl], Y^T M Y holds x^T M x, its half gradient and the Gauss-Newton matrix; Y^T v the rest.
        let n_labels = derivative.dims()[2];
        let y = Tensor::cat(vec![x, derivative], 2);
        let transposed = y.clone().swap_dims(1, 2);
        let m_y = self.m.clone().matmul(y);
        let linear = transposed.clone().matmul(self.v.clone());
        let quadratic = transposed.matmul(m_y.clone());
        let value = quadratic.clone().narrow(1, 0, 1).narrow(2, 0, 1) - linear.clone().narrow(1, 0, 1) * 2.0;
        let below = quadratic.narrow(1, 1, n_labels);
        let curvature = below.clone().narrow(2, 1, n_labels);
        let residual = m_y.narrow(2, 0, 1) - self.v.clone();
        let constant = Tensor::zeros([n_stars, 1, 1], (&residual.device(), residual.dtype()));
        let bend = (expansion.bend)(Tensor::cat(vec![constant, residual], 1));
        Evaluation {
            chi2: value.reshape([n_stars, 1]) + self.c.clone(),
            half_gradient: below.narrow(2, 0, 1) - linear.narrow(1, 1, n_labels),
            half_hessian: curvature.clone() + bend,
            curvature,
        }
    }

    fn chi2(&self, scaled_labels: Tensor<2>) -> Tensor<2> {
        let [n_stars, n, _] = self.m.dims();
        let x = self.label_terms.terms(scaled_labels).narrow(1, 1, n).reshape([n_stars, n, 1]);
        let residual = self.m.clone().matmul(x.clone()) - self.v.clone() * 2.0;
        (x * residual).sum_dim(1).reshape([n_stars, 1]) + self.c.clone()
    }

    /// All points of a star share its M.
    fn slope(&self, scaled_labels: Tensor<3>) -> Slope {
        let [n_stars, n_points, n_labels] = scaled_labels.dims();
        let [_, n, _] = self.m.dims();
        let pulled = self.label_terms.pull_back(scaled_labels.reshape([n_stars * n_points, n_labels]));
        let x = pulled.terms.narrow(1, 1, n).reshape([n_stars, n_points, n]);
        let v = self.v.clone().swap_dims(1, 2);
        // M is symmetric: x^T M, a row per point, is M x.
        let residual = x.clone().matmul(self.m.clone()) - v.clone();
        let value = (x * (residual.clone() - v)).sum_dim(2).reshape([n_stars, n_points]) + self.c.clone();
        let half_gradient = (pulled.gradient)(residual.reshape([n_stars * n_points, n]));
        Slope { chi2: value, half_gradient: half_gradient.reshape([n_stars, n_points, n_labels]) }
    }

    fn select(&self, rows: Tensor<1, Int>) -> Self {
        Self {
            label_terms: self.label_terms.clone(),
            m: self.m.clone().select(0, rows.clone()),
            v: self.v.clone().select(0, rows.clone()),
            c: self.c.clone().select(0, rows.clone()),
            sizes: self.sizes.clone().select(0, rows),
            of_nuisances: None,
        }
    }
}
