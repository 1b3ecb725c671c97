//! Whether training stars tell the terms of a polynomial apart.

use nalgebra::DMatrix;
use ndarray::ArrayView2;

use crate::models::vectorizer::Vectorizer;

/// Labels whose terms follow from others in all of some stars, as the square of a label follows from the label where this has two values
/// only; none where the stars are too few to say, or all terms are their own.
///
/// # Shapes
/// - scaled_labels: `[n_stars, n_labels]`, finite
pub fn undetermined_labels(vectorizer: &Vectorizer, scaled_labels: ArrayView2<f64>) -> Vec<usize> {
    /// Smallest eigenvalue of the columns' products, each column of length 1: rounding of f64, squared, and room.
    const LEAST: f64 = 1e-12;
    /// A term that has less of the combination that is nil does not belong to it.
    const SHARE: f64 = 0.05;
    let (n_stars, n_terms) = (scaled_labels.nrows(), vectorizer.n_terms());
    if n_stars <= n_terms {
        return Vec::new();
    }
    let product =
        |star: usize, term: usize| vectorizer.factors(term).map(|k| scaled_labels[[star, k]]).product::<f64>();
    let mut design = DMatrix::from_fn(n_stars, n_terms, product);
    for mut column in design.column_iter_mut() {
        column.unscale_mut(column.norm().max(f64::MIN_POSITIVE));
    }
    let eigen = design.tr_mul(&design).symmetric_eigen();
    let smallest = eigen.eigenvalues.imin();
    if eigen.eigenvalues[smallest] > LEAST {
        return Vec::new();
    }
    let weights = eigen.eigenvectors.column(smallest);
    let is_bent = |term: &usize| weights[*term].abs() > SHARE && vectorizer.factors(*term).count() > 1;
    let mut labels: Vec<usize> = (0..n_terms).filter(is_bent).flat_map(|term| vectorizer.factors(term)).collect();
    labels.sort_unstable();
    labels.dedup();
    labels
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_label_of_two_values_has_no_square_of_its_own_and_one_of_three_no_cube() {
        let stars = |n_values: usize| {
            let mut rng = ChaCha8Rng::seed_from_u64(1);
            Array2::from_shape_fn((200, 3), |(_, k)| match k {
                1 => rng.random_range(0..n_values) as f64 - 0.4,
                _ => rng.random_range(-2.0..2.0),
            })
        };
        let found =
            |order: usize, n_values: usize| undetermined_labels(&Vectorizer::new(3, order), stars(n_values).view());
        assert_eq!((found(2, 2), found(2, 3), found(1, 2)), (vec![1], vec![], vec![]));
        assert_eq!((found(3, 3), found(3, 4)), (vec![1], vec![]));
        // Few stars say nothing, and are refused elsewhere.
        assert_eq!(
            undetermined_labels(&Vectorizer::new(3, 2), stars(2).slice(ndarray::s![..10, ..])),
            Vec::<usize>::new()
        );
    }
}
