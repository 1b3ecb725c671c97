//! Training labels as a catalogue gives them: taken at their word, with errors, or not at all.
//!
//! ```text
//! l_n = m_n + F_n u_n,   u_n ~ N(0, 1)
//! ```
//!
//! A label that is given with an error e has it in F; one that is missing is what the given ones say by the training set's own mean and
//! covariance C, with what they leave of C:
//!
//! ```text
//! m_M = mu_M + G (l_K - mu_K),   G = C_MK C_KK^-1,   F_MK = G F_KK,   F_MM F_MM^T = C_MM - G C_KM
//! ```

use nalgebra::{DMatrix, DVector};
use ndarray::{Array1, Array2, Array3, ArrayView2, Axis};

/// Scaled labels of some stars before their spectra are seen.
#[derive(Clone)]
pub struct BelievedLabels {
    /// What is expected, m, [n_stars, n_labels].
    pub expected: Array2<f64>,
    /// F of every star, [n_stars, n_labels, n_labels]; none where all labels are taken at their word.
    factors: Option<Array3<f64>>,
    /// Which the catalogue gives, [n_stars, n_labels].
    pub is_given: Array2<bool>,
}

impl BelievedLabels {
    /// Labels that are all given, and taken at their word.
    pub fn exact(labels: ArrayView2<f64>) -> Self {
        Self { expected: labels.to_owned(), factors: None, is_given: Array2::from_elem(labels.dim(), true) }
    }

    /// Labels of which some may be missing (not finite), and their errors, [n_stars, n_labels] both; an error of 0 takes one at its word.
    pub fn new(labels: ArrayView2<f64>, errors: ArrayView2<f64>) -> Self {
        let is_given = labels.mapv(f64::is_finite);
        let n_labels = labels.ncols();
        let population = Population::of(labels);
        let mut expected = labels.to_owned();
        let mut factors = Array3::zeros((labels.nrows(), n_labels, n_labels));
        for (star, mut factor) in factors.outer_iter_mut().enumerate() {
            let (given, missing): (Vec<usize>, Vec<usize>) = (0..n_labels).partition(|label| is_given[[star, *label]]);
            given.iter().for_each(|label| factor[[*label, *label]] = errors[[star, *label]]);
            if missing.is_empty() {
                continue;
            }
            let known: Vec<f64> = given.iter().map(|label| labels[[star, *label]]).collect();
            let Conditional { mean, slopes, root } = population.given((&given, &known), &missing);
            for (row, &label) in missing.iter().enumerate() {
                expected[[star, label]] = mean[row];
                for (column, &other) in given.iter().enumerate() {
                    factor[[label, other]] = slopes[(row, column)] * errors[[star, other]];
                }
                for (column, &other) in missing.iter().enumerate() {
                    factor[[label, other]] = root[(row, column)];
                }
            }
        }
        let factors = factors.iter().any(|factor| *factor != 0.0).then_some(factors);
        Self { expected, factors, is_given }
    }

    /// Number of u of every star: as many as there are labels, or none where all labels are taken at their word.
    pub fn n_free(&self) -> usize {
        self.factors.as_ref().map_or(0, |factors| factors.len_of(Axis(2)))
    }

    /// An element of F.
    pub fn factor(&self, star: usize, label: usize, free: usize) -> f64 {
        self.factors.as_ref().map_or(0.0, |factors| factors[[star, label, free]])
    }

    /// Labels of a star at some u, `[n_labels]`.
    pub fn at(&self, star: usize, u: &[f64]) -> Array1<f64> {
        let mut labels = self.expected.row(star).to_owned();
        for (label, value) in labels.iter_mut().enumerate() {
            *value += u.iter().enumerate().map(|(free, u)| self.factor(star, label, free) * u).sum::<f64>();
        }
        labels
    }

    /// Stars all of whose labels are given.
    pub fn complete(&self) -> Vec<usize> {
        let rows = self.is_given.rows().into_iter().enumerate();
        rows.filter(|(_, given)| given.iter().all(|given| *given)).map(|(star, _)| star).collect()
    }

    /// The same, but that next to nothing is known of the labels of some stars.
    pub fn withheld(mut self, stars: &[usize]) -> Self {
        /// Error of a label that is scaled to about 1.
        const UNTOLD: f64 = 10.0;
        let (n_stars, n_labels) = self.expected.dim();
        let factors = self.factors.get_or_insert_with(|| Array3::zeros((n_stars, n_labels, n_labels)));
        for star in stars {
            let mut factor = factors.index_axis_mut(Axis(0), *star);
            factor.fill(0.0);
            factor.diag_mut().fill(UNTOLD);
        }
        self
    }
}

/// Mean and covariance of the labels of the stars that have all of them.
struct Population {
    mean: Vec<f64>,
    covariance: DMatrix<f64>,
}

/// Some labels where others are known.
struct Conditional {
    mean: DVector<f64>,
    /// Of these labels along the known ones.
    slopes: DMatrix<f64>,
    /// A root of their covariance.
    root: DMatrix<f64>,
}

impl Population {
    fn of(labels: ArrayView2<f64>) -> Self {
        /// Added to every variance, of labels scaled to about 1: a covariance of few stars is singular.
        const LEAST_VARIANCE: f64 = 1e-4;
        let n_labels = labels.ncols();
        let complete: Vec<Vec<f64>> =
            labels.rows().into_iter().map(|row| row.to_vec()).filter(|row| row.iter().all(|l| l.is_finite())).collect();
        let n = complete.len() as f64;
        let mean: Vec<f64> =
            (0..n_labels).map(|k| complete.iter().map(|row| row[k]).sum::<f64>() / n.max(1.0)).collect();
        let moment = |a: usize, b: usize| {
            complete.iter().map(|row| (row[a] - mean[a]) * (row[b] - mean[b])).sum::<f64>() / (n - 1.0).max(1.0)
        };
        let covariance =
            DMatrix::from_fn(n_labels, n_labels, |a, b| moment(a, b) + if a == b { LEAST_VARIANCE } else { 0.0 });
        Self { mean, covariance }
    }

    fn given(&self, (given, values): (&[usize], &[f64]), missing: &[usize]) -> Conditional {
        let of = |rows: &[usize], columns: &[usize]| self.covariance.select_rows(rows).select_columns(columns);
        let above = DVector::from_iterator(given.len(), given.iter().zip(values).map(|(k, v)| v - self.mean[*k]));
        let across = of(missing, given);
        // Every variance has been raised: always positive definite.
        let slopes = match of(given, given).cholesky() {
            Some(factor) => factor.solve(&across.transpose()).transpose(),
            None => DMatrix::zeros(missing.len(), given.len()),
        };
        let left = of(missing, missing) - &slopes * across.transpose();
        let root = left.cholesky().map_or_else(|| DMatrix::identity(missing.len(), missing.len()), |root| root.l());
        let mean = DVector::from_iterator(missing.len(), missing.iter().map(|k| self.mean[*k])) + &slopes * above;
        Conditional { mean, slopes, root }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    /// Stars near a line in the plane of two labels, the third by itself; one lacks the second.
    fn labels() -> Array2<f64> {
        let mut labels = Array2::from_shape_fn((40, 3), |(star, label)| match label {
            0 => (star as f64 * 0.7).sin() * 1.4,
            1 => (star as f64 * 0.7).sin() * 2.8 + 0.1 * (star as f64 * 2.3).cos(),
            _ => (star as f64 * 1.9).cos(),
        });
        labels[[7, 1]] = f64::NAN;
        labels
    }

    #[test]
    fn a_missing_label_is_what_the_others_say_and_as_uncertain_as_they_leave_it() {
        let labels = labels();
        let errors = Array2::from_elem(labels.dim(), 0.0);
        let believed = BelievedLabels::new(labels.view(), errors.view());
        let truth = 2.0 * labels[[7, 0]];
        assert!((believed.expected[[7, 1]] - truth).abs() < 0.15, "{} {truth}", believed.expected[[7, 1]]);
        let left = believed.factor(7, 1, 1);
        assert!((0.05..0.15).contains(&left), "{left}");
        assert_eq!((believed.n_free(), believed.complete().len(), believed.is_given[[7, 1]]), (3, 39, false));
        // Others are where they were, whatever u is.
        assert_eq!(believed.at(3, &[5.0, 5.0, 5.0]), labels.row(3));
        // The error of a given label moves the missing one along.
        let errors = Array2::from_elem(labels.dim(), 0.3);
        let believed = BelievedLabels::new(labels.view(), errors.view());
        let moved = believed.at(7, &[1.0, 0.0, 0.0]) - believed.at(7, &[0.0; 3]);
        assert!((moved[0] - 0.3).abs() < 1e-12 && (moved[1] - 0.6).abs() < 0.05 && moved[2] == 0.0, "{moved}");
    }

    #[test]
    fn labels_at_their_word_have_nothing_to_find() {
        let labels = array![[1.0, 2.0], [3.0, 4.0]];
        let none = Array2::zeros((2, 2));
        assert_eq!(BelievedLabels::exact(labels.view()).n_free(), 0);
        assert_eq!(BelievedLabels::new(labels.view(), none.view()).n_free(), 0);
        let withheld = BelievedLabels::exact(labels.view()).withheld(&[1]);
        assert_eq!(withheld.at(0, &[1.0, 1.0]), array![1.0, 2.0]);
        assert_eq!(withheld.at(1, &[1.0, -1.0]), array![13.0, -6.0]);
    }
}
