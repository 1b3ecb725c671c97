//! Normal matrices of least squares: packed triangles, their factors, and how many digits solving with them costs.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

/// Condition beyond which a matrix summed up in f32 is summed up anew in f64: formal errors of labels show a hundredth of what
/// coefficients lose. Quadratics of five labels and 60 stars or more stay below (1e5), cubics are above (1e8).
const MOST_CONDITION_F32: f64 = 1e6;
/// Condition beyond which even f64 leaves less than three digits: the stars do not determine the coefficients.
const MOST_CONDITION_F64: f64 = 1e13;
/// Steps of the power iterations that estimate a condition; they find its size, not its digits.
const POWER_STEPS: usize = 4;

/// Factor of a symmetric positive definite matrix scaled to a unit diagonal, so that units do not count.
#[derive(Debug, Clone)]
pub(super) struct NormalFactor {
    cholesky: Cholesky<f64, Dyn>,
    /// 1 / sqrt of the diagonal.
    scale: DVector<f64>,
}

impl NormalFactor {
    /// Factorizes a packed upper triangle of size `n`; `None` if it is not positive definite.
    pub fn new(packed: &[f64], n: usize) -> Option<Self> {
        let matrix = unpack(packed, n);
        let scale = matrix.diagonal().map(|diagonal| diagonal.sqrt().recip());
        if !scale.iter().all(|scale| scale.is_finite() && *scale > 0.0) {
            return None;
        }
        let equilibrated = DMatrix::from_fn(n, n, |row, column| matrix[(row, column)] * scale[row] * scale[column]);
        let cholesky = Cholesky::new(equilibrated)?;
        cholesky.l_dirty().iter().all(|value| value.is_finite()).then_some(Self { cholesky, scale })
    }

    /// An estimate, from below, of the condition of the scaled matrix: the ratio of its largest eigenvalue to its smallest, each
    /// by power iteration.
    pub fn condition(&self) -> f64 {
        let lower = self.cholesky.l_dirty().lower_triangle();
        let n = lower.nrows();
        let largest = |apply: &dyn Fn(&DVector<f64>) -> DVector<f64>| {
            let mut vector = DVector::from_fn(n, |i, _| if i % 3 == 1 { -1.0 } else { 1.0 + 0.1 * i as f64 });
            let mut size = 0.0;
            for _ in 0..POWER_STEPS {
                vector /= vector.norm();
                vector = apply(&vector);
                size = vector.norm();
            }
            size
        };
        largest(&|vector| &lower * lower.tr_mul(vector)) * largest(&|vector| self.cholesky.solve(vector))
    }

    /// A^-1 right.
    pub fn solve(&self, right: &DVector<f64>) -> DVector<f64> {
        self.cholesky.solve(&right.component_mul(&self.scale)).component_mul(&self.scale)
    }

    /// A^-1.
    pub fn inverse(&self) -> DMatrix<f64> {
        let mut inverse = self.cholesky.inverse();
        for row in 0..inverse.nrows() {
            for column in 0..inverse.ncols() {
                inverse[(row, column)] *= self.scale[row] * self.scale[column];
            }
        }
        inverse
    }
}

/// Whether sums in f64, or in f32, determine the solution of a matrix of this condition.
pub(super) fn is_borne(condition: f64, is_f64: bool) -> bool {
    condition <= if is_f64 { MOST_CONDITION_F64 } else { MOST_CONDITION_F32 }
}

/// A symmetric matrix from its packed upper triangle.
pub(super) fn unpack(packed: &[f64], n: usize) -> DMatrix<f64> {
    let mut matrix = DMatrix::zeros(n, n);
    let mut entries = packed.iter();
    for row in 0..n {
        for column in row..n {
            let entry = *entries.next().expect("a triangle has its size");
            matrix[(row, column)] = entry;
            matrix[(column, row)] = entry;
        }
    }
    matrix
}

/// The packed upper triangle of a symmetric matrix.
pub(super) fn pack(matrix: &DMatrix<f64>) -> impl Iterator<Item = f64> + '_ {
    let n = matrix.nrows();
    (0..n).flat_map(move |row| (row..n).map(move |column| matrix[(row, column)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(matrix: &DMatrix<f64>) -> Option<NormalFactor> {
        NormalFactor::new(&pack(matrix).collect::<Vec<f64>>(), matrix.nrows())
    }

    #[test]
    fn units_change_neither_condition_nor_what_is_solved() {
        let hilbert = DMatrix::from_fn(4, 4, |i, j| 1.0 / (i + j + 1) as f64);
        let units = [1e-6, 1.0, 1e4, 30.0];
        let scaled = DMatrix::from_fn(4, 4, |i, j| hilbert[(i, j)] * units[i] * units[j]);
        let (plain, other) = (factor(&hilbert).unwrap(), factor(&scaled).unwrap());
        assert!((plain.condition() / other.condition() - 1.0).abs() < 1e-9);
        let unit = DMatrix::from_fn(4, 4, |i, j| hilbert[(i, j)] / (hilbert[(i, i)] * hilbert[(j, j)]).sqrt());
        let eigenvalues = unit.symmetric_eigenvalues();
        let exact = eigenvalues.max() / eigenvalues.min();
        assert!((0.8..1.0 + 1e-9).contains(&(plain.condition() / exact)), "{} {exact}", plain.condition());
        let right = DVector::from_vec(vec![1.0, -2.0, 0.5, 3.0]);
        let expected = scaled.clone().lu().solve(&right).unwrap();
        assert!((other.solve(&right) - &expected).norm() < 1e-9 * expected.norm());
        let (own, inverse) = (plain.inverse(), other.inverse());
        for (i, j) in [(0, 0), (1, 3), (2, 1)] {
            assert!((inverse[(i, j)] * units[i] * units[j] / own[(i, j)] - 1.0).abs() < 1e-9);
        }
        assert!((own * hilbert - DMatrix::identity(4, 4)).norm() < 1e-9);
    }

    #[test]
    fn what_is_not_determined_is_seen() {
        let twins = DMatrix::from_row_slice(2, 2, &[1.0, 1.0 - 1e-7, 1.0 - 1e-7, 1.0]);
        let found = factor(&twins).unwrap();
        assert!(!is_borne(found.condition(), false) && is_borne(found.condition(), true));
        assert!(factor(&DMatrix::from_element(2, 2, 1.0)).is_none_or(|factor| !is_borne(factor.condition(), true)));
        assert!(factor(&DMatrix::zeros(3, 3)).is_none());
        assert!(factor(&DMatrix::from_element(1, 1, f64::NAN)).is_none());
    }
}
