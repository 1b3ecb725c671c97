//! Whether labels lie within the training set, or are an extrapolation.

use ndarray::{Array2, ArrayView1, ArrayView2};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::models::LabelEstimates;
use crate::spectra::quality::star_flags;
use crate::stats::normal;

/// Random directions beside the axes; with 1000 in five dimensions the polytope is within a few per cent of the hull.
const N_DIRECTIONS: usize = 1000;

/// The convex hull of the training labels, approximated from outside by its extent in many directions.
///
/// No training star is ever outside, and no star inside the true hull is. A star counts as outside if in some direction
/// it lies beyond every training star.
#[derive(Debug, Clone, PartialEq)]
pub struct Hull {
    /// Unit vectors, [n_directions, n_labels], in scaled labels.
    directions: Array2<f64>,
    /// Largest projection of a training star on each.
    extent: Vec<f64>,
}

impl Hull {
    /// Hull of scaled labels, [n_stars, n_labels]. No stars: nothing is known, and nothing is outside.
    pub fn new(scaled_labels: ArrayView2<f64>) -> Self {
        let n_labels = scaled_labels.ncols();
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let n_directions = 2 * n_labels + N_DIRECTIONS;
        let mut directions = Array2::zeros((n_directions, n_labels));
        for (index, mut direction) in directions.rows_mut().into_iter().enumerate() {
            if index < 2 * n_labels {
                direction[index / 2] = if index % 2 == 0 { 1.0 } else { -1.0 };
                continue;
            }
            // Normal numbers have no preferred direction.
            direction.iter_mut().for_each(|value| *value = normal::draw(&mut rng));
            let length = f64::sqrt(direction.dot(&direction)).max(f64::MIN_POSITIVE);
            direction /= length;
        }
        let extent = directions
            .rows()
            .into_iter()
            .map(|direction| {
                let projections = scaled_labels.rows().into_iter().map(|labels| labels.dot(&direction));
                if scaled_labels.nrows() == 0 { f64::INFINITY } else { projections.fold(f64::NEG_INFINITY, f64::max) }
            })
            .collect();
        Self { directions, extent }
    }

    /// Unit vectors, [n_directions, n_labels], and how far the training stars reach along each.
    pub(super) fn half_spaces(&self) -> (&Array2<f64>, &[f64]) {
        (&self.directions, &self.extent)
    }

    /// Whether scaled labels, `[n_labels]`, lie beyond the training stars in some direction.
    pub fn is_outside(&self, scaled_labels: ArrayView1<f64>) -> bool {
        // Rounding of labels that equal a training star's is no extrapolation.
        let reach = self.directions.dot(&scaled_labels);
        reach.iter().zip(&self.extent).any(|(reach, extent)| reach.is_nan() || *reach > extent + 1e-6)
    }

    /// Flags the stars of some estimates, with scaled labels [n_stars, n_labels], that lie beyond the training stars.
    pub fn flag_outside(&self, scaled_labels: ArrayView2<f64>, estimates: &mut LabelEstimates) {
        let LabelEstimates { n_pixels, flags, .. } = estimates;
        for ((scaled, n_pixels), flags) in scaled_labels.rows().into_iter().zip(n_pixels).zip(flags) {
            if *n_pixels > 0 && self.is_outside(scaled) {
                *flags |= star_flags::OUTSIDE_HULL;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Axis, array};

    #[test]
    fn training_stars_and_their_mixtures_are_inside_and_a_corner_of_the_box_is_not() {
        let training = array![[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]];
        let hull = Hull::new(training.view());
        for star in training.axis_iter(Axis(0)) {
            assert!(!hull.is_outside(star));
        }
        assert!(!hull.is_outside(array![0.4, 0.4].view()));
        assert!(hull.is_outside(array![0.8, 0.8].view())); // inside the box of the labels, outside their hull
        assert!(hull.is_outside(array![1.1, 0.0].view()));
        assert!(hull.is_outside(array![f64::NAN, 0.0].view()));
        let many = Hull::new(Array2::eye(20).view());
        assert!(!many.is_outside(Array2::eye(20).row(7)) && many.is_outside(Array2::from_elem((1, 20), 0.5).row(0)));
        assert!(!Hull::new(Array2::zeros((0, 2)).view()).is_outside(array![9.0, 9.0].view()));
    }
}
