//! How far estimates are from the catalogue, in units that a few bad stars cannot stretch, and whose are the farthest.

use ndarray::{Array2, ArrayView2};

use crate::stats::robust::{median, robust_scatter};

/// What is usual of estimate - catalogue, by label.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scatter {
    centre: Vec<f64>,
    scatter: Vec<f64>,
}

impl Scatter {
    /// Of these stars, [n_stars, n_labels] both; those without both values do not count.
    pub(super) fn of(estimates: ArrayView2<f64>, catalogue: ArrayView2<f64>) -> Self {
        let (centre, scatter) = (0..estimates.ncols())
            .map(|k| {
                let residuals: Vec<f64> = estimates
                    .column(k)
                    .iter()
                    .zip(catalogue.column(k))
                    .map(|(estimate, catalogue)| estimate - catalogue)
                    .filter(|residual| residual.is_finite())
                    .collect();
                (median(&residuals), robust_scatter(&residuals))
            })
            .unzip();
        Self { centre, scatter }
    }

    /// A label's deviation in robust scatters; NaN where it is not known, or nothing scatters.
    pub(super) fn sigma(&self, label: usize, estimate: f64, catalogue: f64) -> f64 {
        let sigma = (estimate - catalogue - self.centre[label]) / self.scatter[label];
        if self.scatter[label] > 0.0 { sigma } else { f64::NAN }
    }

    /// Deviations of all stars, [n_stars, n_labels].
    pub(super) fn sigmas(&self, estimates: ArrayView2<f64>, catalogue: ArrayView2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(estimates.raw_dim(), |(n, k)| self.sigma(k, estimates[[n, k]], catalogue[[n, k]]))
    }

    /// The largest deviation of some labels, whatever its sign; NaN if none is known.
    pub(super) fn largest(&self, estimates: &[f64], catalogue: &[f64]) -> f64 {
        let of_labels = estimates.iter().zip(catalogue).enumerate();
        of_labels.map(|(k, (estimate, catalogue))| self.sigma(k, *estimate, *catalogue).abs()).fold(f64::NAN, f64::max)
    }
}

/// The label of a star that deviates most, and by how much, whatever the sign; `None` if no deviation is known.
pub(super) fn worst(deviations: ndarray::ArrayView1<f64>) -> Option<(usize, f64)> {
    let known = deviations.iter().enumerate().filter(|(_, sigma)| sigma.is_finite());
    known.map(|(k, sigma)| (k, sigma.abs())).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// Stars that deviate by `least` or more in some label, at most `most` of them, the farthest first.
pub(super) fn farthest(sigmas: ArrayView2<f64>, least: f64, most: usize) -> Vec<usize> {
    let mut stars: Vec<(f64, usize)> = sigmas
        .rows()
        .into_iter()
        .enumerate()
        .filter_map(|(star, row)| Some((worst(row)?.1, star)))
        .filter(|(sigma, _)| *sigma >= least)
        .collect();
    stars.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    stars.truncate(most);
    stars.into_iter().map(|(_, star)| star).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn the_farthest_come_first_whatever_their_label_and_unknown_ones_never() {
        let catalogue = Array2::zeros((9, 2));
        let mut estimates = Array2::from_shape_fn((9, 2), |(n, k)| (n as f64 - 4.0) * [1.0, 0.01][k]);
        estimates[[2, 1]] = 0.9;
        estimates[[5, 0]] = -40.0;
        estimates[[7, 0]] = f64::NAN;
        estimates.row_mut(8).fill(f64::NAN);
        let scatter = Scatter::of(estimates.view(), catalogue.view());
        let sigmas = scatter.sigmas(estimates.view(), catalogue.view());
        assert_eq!(farthest(sigmas.view(), 5.0, 10), [2, 5]);
        assert_eq!(farthest(sigmas.view(), 5.0, 1), [2]);
        assert!(farthest(sigmas.view(), 1e9, 10).is_empty());
        assert_eq!(worst(sigmas.row(5)).map(|(label, _)| label), Some(0));
        assert_eq!(worst(sigmas.row(8)), None);
        assert!((scatter.largest(&[-40.0, f64::NAN], &[0.0, 0.0]) - sigmas[[5, 0]].abs()).abs() < 1e-12);
        // Nothing scatters: nothing deviates.
        let same = array![[1.0], [1.0], [1.0]];
        let sigmas = Scatter::of(same.view(), same.view()).sigmas(same.view(), same.view());
        assert!(farthest(sigmas.view(), 0.0, 10).is_empty());
    }
}
