//! A mixture of Gaussians fitted to labels by expectation and maximization: where in label space the training stars are.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};
use ndarray::ArrayView2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rounds of expectation and maximization at most.
const MOST_ROUNDS: usize = 300;
/// Random starts; the likeliest end is kept.
const N_STARTS: usize = 8;
/// The mean log-likelihood has converged when a round gains less.
const CONVERGED: f64 = 1e-7;
/// Part of the whole sample's covariance that every component has at least: none can collapse onto a star.
const FLOOR: f64 = 1e-3;

/// One Gaussian of a mixture.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Its share of the stars.
    pub weight: f64,
    /// Its centre.
    pub mean: DVector<f64>,
    /// Inverse of its covariance.
    pub precision: DMatrix<f64>,
    /// `ln weight - 1/2 ln |2 pi covariance|`.
    pub ln_norm: f64,
}

impl Component {
    fn new(weight: f64, mean: DVector<f64>, covariance: DMatrix<f64>) -> Option<Self> {
        let factor = Cholesky::new(covariance)?;
        let ln_root = ln_root_determinant(&factor);
        let ln_norm = weight.ln() - ln_root - 0.5 * mean.len() as f64 * std::f64::consts::TAU.ln();
        Some(Self { weight, mean, precision: factor.inverse(), ln_norm })
    }

    /// ln of its share of the density.
    pub fn ln_density(&self, point: &DVector<f64>) -> f64 {
        let offset = point - &self.mean;
        self.ln_norm - 0.5 * (&self.precision * &offset).dot(&offset)
    }
}

fn ln_root_determinant(factor: &Cholesky<f64, Dyn>) -> f64 {
    factor.l_dirty().diagonal().iter().map(|value| value.ln()).sum()
}

/// ln of a sum of exponentials, and each one's share of it.
fn ln_sum(ln: &[f64]) -> (f64, Vec<f64>) {
    let largest = ln.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let parts: Vec<f64> = ln.iter().map(|value| (value - largest).exp()).collect();
    let sum: f64 = parts.iter().sum();
    (largest + sum.ln(), parts.into_iter().map(|part| part / sum).collect())
}

/// Each component's share of a point.
pub fn shares(components: &[Component], point: &DVector<f64>) -> Vec<f64> {
    ln_sum(&components.iter().map(|component| component.ln_density(point)).collect::<Vec<_>>()).1
}

/// Fits `n_components` Gaussians to points, [n_points, n_dimensions]; the same points give the same answer.
///
/// Components that are left with too few points to have a covariance are dropped. `None` if the points themselves have none.
pub fn fit(points: ArrayView2<f64>, n_components: usize) -> Option<Vec<Component>> {
    let points: Vec<DVector<f64>> = (points.rows().into_iter())
        .map(|row| DVector::from_iterator(row.len(), row.iter().copied()))
        .filter(|point| point.iter().all(|value| value.is_finite()))
        .collect();
    let n_dimensions = points.first()?.len();
    if points.len() <= n_dimensions + 1 {
        return None;
    }
    let everything = vec![1.0; points.len()];
    let (mean, covariance) = moments(&points, &everything);
    let whole = Component::new(1.0, mean, covariance.clone())?;
    if n_components <= 1 {
        return Some(vec![whole]);
    }
    let start = |seed: u64| maximize(&points, begin(&points, &covariance, n_components, seed)?, &covariance);
    let ends = (0..N_STARTS as u64).filter_map(start);
    ends.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(components, _)| components)
}

/// Components about stars drawn at random, each next one far from those before it (Arthur & Vassilvitskii 2007).
fn begin(points: &[DVector<f64>], covariance: &DMatrix<f64>, n: usize, seed: u64) -> Option<Vec<Component>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let precision = Cholesky::new(covariance.clone())?.inverse();
    let distance = |a: &DVector<f64>, b: &DVector<f64>| {
        let offset = a - b;
        (&precision * &offset).dot(&offset)
    };
    let mut centres = vec![points[rng.random_range(0..points.len())].clone()];
    while centres.len() < n {
        let nearest: Vec<f64> = points
            .iter()
            .map(|point| centres.iter().map(|centre| distance(point, centre)).fold(f64::INFINITY, f64::min))
            .collect();
        let mut left = rng.random_range(0.0..1.0) * nearest.iter().sum::<f64>();
        let chosen = nearest.iter().position(|distance| {
            left -= distance;
            left <= 0.0
        });
        centres.push(points[chosen.unwrap_or(0)].clone());
    }
    centres.into_iter().map(|centre| Component::new(1.0 / n as f64, centre, covariance / n as f64)).collect()
}

/// Expectation and maximization to the end; also the mean log-likelihood there.
fn maximize(
    points: &[DVector<f64>],
    mut components: Vec<Component>,
    whole: &DMatrix<f64>,
) -> Option<(Vec<Component>, f64)> {
    let n = points.len() as f64;
    let mut before = f64::NEG_INFINITY;
    for _ in 0..MOST_ROUNDS {
        let mut shares = vec![Vec::with_capacity(points.len()); components.len()];
        let mut likelihood = 0.0;
        for point in points {
            let (ln, parts) = ln_sum(&components.iter().map(|c| c.ln_density(point)).collect::<Vec<_>>());
            likelihood += ln / n;
            shares.iter_mut().zip(parts).for_each(|(shares, part)| shares.push(part));
        }
        if likelihood - before < CONVERGED {
            return Some((components, likelihood));
        }
        before = likelihood;
        // A covariance takes more points than dimensions.
        shares.retain(|shares| shares.iter().sum::<f64>() > whole.nrows() as f64 + 1.0);
        let total: f64 = shares.iter().flatten().sum();
        components = shares
            .iter()
            .map(|shares| {
                let (mean, covariance) = moments(points, shares);
                Component::new(shares.iter().sum::<f64>() / total, mean, covariance + whole * FLOOR)
            })
            .collect::<Option<_>>()?;
        if components.is_empty() {
            return None;
        }
    }
    Some((components, before))
}

/// Weighted mean and covariance.
fn moments(points: &[DVector<f64>], weights: &[f64]) -> (DVector<f64>, DMatrix<f64>) {
    let n = points[0].len();
    let total: f64 = weights.iter().sum();
    let mean = points.iter().zip(weights).fold(DVector::zeros(n), |sum, (point, weight)| sum + point * *weight) / total;
    let mut covariance = DMatrix::zeros(n, n);
    for (point, weight) in points.iter().zip(weights) {
        let offset = point - &mean;
        covariance.ger(*weight / total, &offset, &offset, 1.0);
    }
    (mean, covariance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::quantile;
    use ndarray::Array2;

    /// 600 points about (-2, 0), narrow, and 300 about (2, 1), wide and tilted.
    fn clusters() -> Array2<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let mut normal = || quantile(rng.random_range(1e-12..1.0));
        let mut points = Array2::zeros((900, 2));
        for (n, mut row) in points.rows_mut().into_iter().enumerate() {
            let (a, b) = (normal(), normal());
            let point = if n % 3 > 0 { [-2.0 + 0.3 * a, 0.2 * b] } else { [2.0 + 0.8 * a, 1.0 + 0.5 * a + 0.3 * b] };
            row.iter_mut().zip(point).for_each(|(to, from)| *to = from);
        }
        points
    }

    #[test]
    fn two_clusters_come_back_with_their_shares_and_shapes() {
        let mut found = fit(clusters().view(), 2).unwrap();
        found.sort_by(|a, b| b.weight.total_cmp(&a.weight));
        // Errors of a few percent with hundreds of points; the floor adds 0.004 to the variance in the first direction.
        assert!((found[0].weight - 2.0 / 3.0).abs() < 0.01);
        assert!((found[0].mean[0] + 2.0).abs() < 0.05 && (found[1].mean[1] - 1.0).abs() < 0.1);
        let covariance = found[1].precision.clone().try_inverse().unwrap();
        assert!((covariance[(0, 1)] - 0.4).abs() < 0.08, "{covariance}");
        let shares = shares(&found, &DVector::from_vec(vec![-2.0, 0.0]));
        assert!(shares[0] > 0.999 && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn a_mixture_is_likelier_than_one_gaussian_and_one_is_the_moments() {
        let points = clusters();
        let mean_ln = |components: &[Component]| {
            let ln = |row: ndarray::ArrayView1<f64>| {
                let point = DVector::from_vec(row.to_vec());
                ln_sum(&components.iter().map(|c| c.ln_density(&point)).collect::<Vec<_>>()).0
            };
            points.rows().into_iter().map(ln).sum::<f64>() / 900.0
        };
        let (one, two) = (fit(points.view(), 1).unwrap(), fit(points.view(), 2).unwrap());
        assert!((one[0].mean[0] - points.column(0).mean().unwrap()).abs() < 1e-12);
        assert!(mean_ln(&two) > mean_ln(&one) + 0.5);
        // Far more components than the points can hold: some are dropped, none collapses.
        let many = fit(points.slice(ndarray::s![..40, ..]), 12).unwrap();
        assert!(many.len() < 12 && many.iter().all(|component| component.ln_norm.is_finite()));
    }

    #[test]
    fn points_without_a_covariance_have_no_mixture() {
        assert!(fit(Array2::zeros((0, 2)).view(), 2).is_none());
        assert!(fit(Array2::zeros((50, 2)).view(), 2).is_none());
        assert!(fit(Array2::from_elem((50, 2), f64::NAN).view(), 1).is_none());
    }
}
