//! What all other labels of a star tell of one: the best that correlations alone can do.

use nalgebra::{DMatrix, DVector};
use ndarray::{Array2, ArrayView2, Axis};

use crate::device::{Compute, to_f64};
use crate::models::vectorizer::{Entry, Vectorizer};
use crate::spectra::labels::is_over_iron;
use crate::stats::robust::{mean, standard_deviation};

/// Fewer stars than so many for each coefficient tell no regression.
const STARS_PER_TERM: usize = 3;
/// Added to the unit diagonal of the normal matrix: labels that follow from each other are no reason to give up.
const RIDGE: f64 = 1e-9;

/// The functions of all labels but one: products of parameters up to the second order, abundances [X/Fe] by themselves.
#[derive(Debug, Clone)]
pub(super) struct OtherLabels {
    others: Vec<usize>,
    pivot: Vec<f64>,
    scale: Vec<f64>,
    vectorizer: Vectorizer,
}

impl OtherLabels {
    /// Of all labels but label `k`, scaled by those of some stars, [n_stars, n_labels], all finite; none where the stars are too
    /// few for any, or there is no other label.
    pub fn new(names: &[String], labels: ArrayView2<f64>, k: usize) -> Option<Self> {
        let others: Vec<usize> = (0..names.len()).filter(|other| *other != k).collect();
        let entry = |other: &usize| if is_over_iron(&names[*other]) { Entry::Additive } else { Entry::Polynomial };
        let entries: Vec<Entry> = others.iter().map(entry).collect();
        let enough = |vectorizer: &Vectorizer| labels.nrows() >= STARS_PER_TERM * vectorizer.n_terms();
        let vectorizer = [2, 1].map(|order| Vectorizer::of_entries(&entries, order)).into_iter().find(enough)?;
        let columns: Vec<Vec<f64>> = others.iter().map(|other| labels.column(*other).to_vec()).collect();
        let spread = |column: &Vec<f64>| Some(standard_deviation(column)).filter(|spread| *spread > 0.0).unwrap_or(1.0);
        let (pivot, scale) = columns.iter().map(|column| (mean(column), spread(column))).unzip();
        (!others.is_empty()).then_some(Self { others, pivot, scale, vectorizer })
    }

    /// Their values for some stars, [n_stars, n_terms]; NaN where a star lacks a label.
    pub fn design(&self, labels: ArrayView2<f64>) -> DMatrix<f64> {
        let scaled = Array2::from_shape_fn((labels.nrows(), self.others.len()), |(star, column)| {
            (labels[[star, self.others[column]]] - self.pivot[column]) / self.scale[column]
        });
        let design = self.vectorizer.design_matrix(Compute::small_systems().matrix(scaled.view()));
        DMatrix::from_row_slice(labels.nrows(), self.vectorizer.n_terms(), &to_f64(design))
    }
}

/// Least squares of some values on a design, [n_stars, n_terms].
pub(super) fn coefficients(design: &DMatrix<f64>, values: &[f64]) -> Option<DVector<f64>> {
    let mut normal = design.tr_mul(design);
    for term in 0..normal.nrows() {
        normal[(term, term)] *= 1.0 + RIDGE;
    }
    Some(normal.cholesky()?.solve(&design.tr_mul(&DVector::from_column_slice(values))))
}

/// What least squares on a design leaves of some values, and how many coefficients that took.
pub(super) fn residuals(design: &DMatrix<f64>, values: &[f64]) -> Option<Vec<f64>> {
    let fitted = design * coefficients(design, values)?;
    Some(values.iter().zip(fitted.iter()).map(|(value, fitted)| value - fitted).collect())
}

/// Every label of some stars as the regression on their other labels has it, [n_stars, n_labels], learned from others, which have all
/// their labels; NaN where it is not known.
pub(super) fn from_others(names: &[String], training: ArrayView2<f64>, labels: ArrayView2<f64>) -> Array2<f64> {
    let complete: Vec<usize> =
        (0..training.nrows()).filter(|star| training.row(*star).iter().all(|label| label.is_finite())).collect();
    let training = training.select(Axis(0), &complete);
    let mut predicted = Array2::from_elem(labels.raw_dim(), f64::NAN);
    for k in 0..names.len() {
        let Some(others) = OtherLabels::new(names, training.view(), k) else { continue };
        let Some(theta) = coefficients(&others.design(training.view()), &training.column(k).to_vec()) else { continue };
        let values = others.design(labels) * theta;
        predicted.column_mut(k).iter_mut().zip(values.iter()).for_each(|(predicted, value)| *predicted = *value);
    }
    predicted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use crate::stats::robust::standard_deviation;
    use rand::SeedableRng;

    #[test]
    fn what_follows_from_the_others_is_told_and_what_does_not_is_left() {
        let names = ["teff", "fe_h", "mg_fe", "si_fe", "na_fe"].map(String::from);
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
        let mut labels = Array2::from_shape_fn((400, 5), |_| normal(&mut rng));
        for mut row in labels.rows_mut() {
            // A quadratic of the parameters, another element, and a little of its own.
            row[3] = 0.5 * row[0] * row[1] - row[1] * row[1] + 0.8 * row[2] + 0.1 * row[3];
        }
        let (training, test) = labels.view().split_at(Axis(0), 200);
        let predicted = from_others(&names, training, test);
        let left = |k: usize| standard_deviation(&(&predicted.column(k) - &test.column(k)).to_vec());
        // 200 stars leave 11 coefficients an error of a tenth of what is left or so.
        assert!((left(3) - 0.1).abs() < 0.02, "{}", left(3));
        assert!((left(4) - 1.0).abs() < 0.15, "{}", left(4));
        let mut some = test.to_owned();
        some[[0, 2]] = f64::NAN;
        let predicted = from_others(&names, training, some.view());
        assert!(predicted[[0, 3]].is_nan() && predicted[[0, 2]].is_finite() && predicted[[1, 3]].is_finite());
        // Too few for the quadratic, and for anything.
        let few = |n: usize| from_others(&names, labels.view().split_at(Axis(0), n).0, test)[[0, 3]];
        assert!(few(16).is_finite() && few(14).is_nan());
        assert!(from_others(&names[..1], training, test.split_at(Axis(1), 1).0)[[0, 0]].is_nan());
    }
}
