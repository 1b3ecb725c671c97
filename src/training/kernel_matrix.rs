//! Kernel ridge regression on all training stars, by the eigenvectors of their kernel.

use nalgebra::{DMatrix, DVector};

use super::left_out::{LeaveOneOut, Scale};

/// A kernel matrix of all training stars with each other, by its eigenvectors.
pub(super) struct Decomposed {
    eigenvalues: DVector<f64>,
    eigenvectors: DMatrix<f64>,
    /// Squares of the eigenvectors' components.
    squares: DMatrix<f64>,
    scale: Scale,
}

impl Decomposed {
    /// Of a kernel, [n_stars, n_stars].
    pub fn new(kernel: &DMatrix<f64>) -> Self {
        let scale = Scale::new(kernel.diagonal().mean());
        let eigen = kernel.add_scalar(scale.constant).symmetric_eigen();
        // Rounding makes eigenvalues of nil negative.
        let eigenvalues = eigen.eigenvalues.map(|value| value.max(0.0));
        let squares = eigen.eigenvectors.component_mul(&eigen.eigenvectors);
        Self { eigenvalues, eigenvectors: eigen.eigenvectors, squares, scale }
    }

    fn inverse(&self, strength: f64) -> DVector<f64> {
        self.eigenvalues.map(|value| 1.0 / (value + strength))
    }
}

/// The estimate of star i by all others is `y_i - alpha_i / [(K + strength I)^-1]_ii`.
impl LeaveOneOut for Decomposed {
    fn scale(&self) -> &Scale {
        &self.scale
    }

    fn missed(&self, label: &DVector<f64>) -> Vec<DVector<f64>> {
        let of =
            |strength: &f64| self.weights(label, *strength).component_div(&(&self.squares * self.inverse(*strength)));
        self.scale.strengths.iter().map(of).collect()
    }

    fn weights(&self, label: &DVector<f64>, strength: f64) -> DVector<f64> {
        &self.eigenvectors * self.eigenvectors.tr_mul(label).component_mul(&self.inverse(strength))
    }

    fn degrees_of_freedom(&self, strength: f64) -> f64 {
        self.eigenvalues.map(|value| value / (value + strength)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn left_out_estimates_are_those_of_regressions_without_the_star() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let rows = DMatrix::from_fn(25, 8, |_, _| normal(&mut rng));
        let kernel = &rows * rows.transpose();
        let mut decomposed = Decomposed::new(&kernel);
        let kernel = kernel.add_scalar(decomposed.scale.constant);
        let label = DVector::from_fn(25, |_, _| normal(&mut rng));
        for strength in [1e-3, 0.5, 20.0] {
            decomposed.scale.strengths = vec![strength];
            let missed = decomposed.missed(&label).remove(0);
            for star in [0, 11, 24] {
                let others: Vec<usize> = (0..25).filter(|other| *other != star).collect();
                let small = DMatrix::from_fn(24, 24, |a, b| {
                    kernel[(others[a], others[b])] + if a == b { strength } else { 0.0 }
                });
                let target = DVector::from_fn(24, |a, _| label[others[a]]);
                let alpha = small.cholesky().unwrap().solve(&target);
                let estimate: f64 = (0..24).map(|a| kernel[(star, others[a])] * alpha[a]).sum();
                let short = label[star] - missed[star];
                assert!((short - estimate).abs() < 1e-8 * estimate.abs().max(1.0), "{strength}, star {star}");
            }
        }
    }
}
