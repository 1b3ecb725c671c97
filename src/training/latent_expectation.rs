//! What a star's spectrum says of its latent labels and nuisances, and of labels that the catalogue does not know exactly.

use burn::tensor::Tensor;
use nalgebra::{DMatrix, DVector};
use ndarray::ArrayView2;

use super::believed_labels::BelievedLabels;
use super::normal_matrix::{pack, unpack};
use crate::device::{Compute, to_f64};
use crate::models::vectorizer::Vectorizer;

/// Sums over the pixels of some stars, row by row: of w a a^T packed, of w f a, and of w f^2, with a the coefficients of a pixel.
pub(super) struct StarSums {
    pub m: Vec<f64>,
    pub v: Vec<f64>,
    pub c: Vec<f64>,
}

/// What is expected of a star.
pub(super) struct Expected {
    /// Labels in units of the catalogue's errors, then latent labels and nuisances.
    pub latent: Vec<f64>,
    /// Expected squares.
    pub square: Vec<f64>,
    /// Covariance of the design vector, packed.
    pub covariance: Vec<f32>,
    /// chi^2 before.
    pub chi2: f64,
}

/// Covariance of every star's design vector, packed, part by part of the stars: [n_stars, n_pairs] each.
pub(super) struct Moments {
    n_coefficients: usize,
    parts: Vec<Tensor<2>>,
}

impl Moments {
    /// Of no stars yet.
    pub(super) fn none(n_coefficients: usize) -> Self {
        Self { n_coefficients, parts: Vec::new() }
    }

    /// Adds those of the next stars.
    pub(super) fn push(&mut self, packed: Vec<f32>, n_stars: usize, compute: &Compute) {
        let n_pairs = self.n_coefficients * (self.n_coefficients + 1) / 2;
        self.parts.push(compute.tensor_f32(packed, [n_stars, n_pairs]));
    }

    /// Of the design vector whose elements are divided by these, `[n_coefficients]`.
    pub(super) fn divided(self, by: &[f64], compute: &Compute) -> Self {
        let n = by.len();
        let factors: Vec<f64> = (0..n).flat_map(|a| (a..n).map(move |b| 1.0 / (by[a] * by[b]))).collect();
        let factors = compute.tensor(&factors, [1, factors.len()]);
        Self { parts: self.parts.into_iter().map(|part| part * factors.clone()).collect(), ..self }
    }

    /// Of the stars of a part, in the precision of `compute`.
    pub(super) fn part(&self, place: usize, compute: &Compute) -> Tensor<2> {
        let part = self.parts[place].clone();
        if part.dtype() == compute.dtype() { part } else { compute.bring(part) }
    }

    /// Of all parts, in their order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Tensor<2>> {
        self.parts.iter()
    }
}

/// Some stars on one Gauss-Newton step from where they are.
pub(super) struct Step<'a> {
    believed: &'a BelievedLabels,
    /// The first of them, of all stars.
    first: usize,
    n_terms: usize,
    n_inputs: usize,
    n_bent: usize,
    n_additive: usize,
    /// Terms of the polynomial, [n_stars, n_terms], and their derivatives, [n_stars, n_terms, n_inputs].
    terms: Vec<f64>,
    derivative: Vec<f64>,
}

impl<'a> Step<'a> {
    /// From some inputs of the polynomial, [n_stars, n_inputs], the last `n_bent` of which are latent labels.
    pub fn new(
        vectorizer: &Vectorizer,
        believed: &'a BelievedLabels,
        first: usize,
        inputs: ArrayView2<f64>,
        (n_bent, n_additive): (usize, usize),
    ) -> Self {
        let terms = vectorizer.design_matrix(Compute::small_systems().matrix(inputs));
        Self {
            believed,
            first,
            n_terms: vectorizer.n_terms(),
            n_inputs: vectorizer.n_labels(),
            n_bent,
            n_additive,
            derivative: to_f64(vectorizer.derivative(terms.clone())),
            terms: to_f64(terms),
        }
    }

    /// Where the step leads a star, one of these, from `old`, with its covariance.
    ///
    /// With the sums M, v over the star's pixels, and D the derivative of the design with respect to y and z (1 where nuisances only
    /// add):
    ///
    /// ```text
    /// K = (1 + D^T M D)^-1,   (y, z) <- K (D^T (v - M x) + D^T M D (y, z)),   covariance of x: D K D^T
    /// ```
    pub fn star(&self, star: usize, old: &DVector<f64>, sums: &StarSums) -> Expected {
        let &Self { n_terms, n_inputs, n_bent, n_additive, .. } = self;
        let n_coefficients = n_terms + n_additive;
        let n_pairs = n_coefficients * (n_coefficients + 1) / 2;
        // Labels that the catalogue does not know exactly come before the latent ones, in units of its errors.
        let n_free = self.believed.n_free();
        let (n_labels, n_all) = (n_inputs - n_bent, n_free + n_bent + n_additive);
        // What the terms depend on; nuisances behind them only add, and are their own elements of the design.
        let n_curved = n_free + n_bent;
        let m = unpack(&sums.m[star * n_pairs..(star + 1) * n_pairs], n_coefficients);
        let v = DVector::from_column_slice(&sums.v[star * n_coefficients..(star + 1) * n_coefficients]);
        let mut x = DVector::zeros(n_coefficients);
        x.rows_mut(0, n_terms).copy_from_slice(&self.terms[star * n_terms..(star + 1) * n_terms]);
        x.rows_mut(n_terms, n_additive).copy_from(&old.rows(n_curved, n_additive));
        let mut d = DMatrix::zeros(n_terms, n_curved);
        let slope = |term: usize, input: usize| self.derivative[(star * n_terms + term) * n_inputs + input];
        let factor = |label: usize, free: usize| self.believed.factor(self.first + star, label, free);
        for term in 0..n_terms {
            for free in 0..n_free {
                d[(term, free)] = (0..n_labels).map(|label| factor(label, free) * slope(term, label)).sum();
            }
            for latent in 0..n_bent {
                d[(term, n_free + latent)] = slope(term, n_labels + latent);
            }
        }
        let below = m.view((0, n_terms), (n_terms, n_additive));
        let mut curvature = DMatrix::zeros(n_all, n_all);
        let bent = d.tr_mul(&(m.view((0, 0), (n_terms, n_terms)) * &d));
        curvature.view_mut((0, 0), (n_curved, n_curved)).copy_from(&bent);
        let mixed = d.tr_mul(&below);
        curvature.view_mut((0, n_curved), (n_curved, n_additive)).copy_from(&mixed);
        curvature.view_mut((n_curved, 0), (n_additive, n_curved)).copy_from(&mixed.transpose());
        let added = m.view((n_terms, n_terms), (n_additive, n_additive));
        curvature.view_mut((n_curved, n_curved), (n_additive, n_additive)).copy_from(&added);
        let m_x = &m * &x;
        let chi2 = sums.c[star] - 2.0 * v.dot(&x) + x.dot(&m_x);
        let left = v - m_x;
        let mut right = &curvature * old;
        right.rows_mut(0, n_curved).gemv_tr(1.0, &d, &left.rows(0, n_terms), 1.0);
        right.rows_mut(n_curved, n_additive).axpy(1.0, &left.rows(n_terms, n_additive), 1.0);
        let precision = curvature + DMatrix::identity(n_all, n_all);
        // 1 + a positive matrix: always positive definite, unless numbers are not finite.
        let Some(factor) = precision.cholesky() else {
            return Expected {
                latent: vec![0.0; n_all],
                square: vec![0.0; n_all],
                covariance: vec![0.0; n_pairs],
                chi2: f64::INFINITY,
            };
        };
        let (latent, own) = (factor.solve(&right), factor.inverse());
        let mut covariance = DMatrix::zeros(n_coefficients, n_coefficients);
        let of_terms = &d * own.view((0, 0), (n_curved, n_curved)) * d.transpose();
        covariance.view_mut((0, 0), (n_terms, n_terms)).copy_from(&of_terms);
        let mixed = &d * own.view((0, n_curved), (n_curved, n_additive));
        covariance.view_mut((0, n_terms), (n_terms, n_additive)).copy_from(&mixed);
        let added = own.view((n_curved, n_curved), (n_additive, n_additive));
        covariance.view_mut((n_terms, n_terms), (n_additive, n_additive)).copy_from(&added);
        Expected {
            square: (0..n_all).map(|k| latent[k] * latent[k] + own[(k, k)]).collect(),
            latent: latent.as_slice().to_vec(),
            covariance: pack(&covariance).map(|value| value as f32).collect(),
            chi2,
        }
    }
}
