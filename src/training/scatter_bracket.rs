//! Where the global maximum of a pixel's profile likelihood in s^2 lies, with proof.
//!
//! With `h(s2) = sum ln(sigma^2 + s2)` and `Q(s2) = min_theta sum w r^2`, the profile likelihood is `-(h + Q)/2`.
//! Let `v = s2 + m`, m the smallest sigma^2 of the pixel. Then
//!
//! - h is convex in ln v, so it lies above its tangents;
//! - `w(s2) >= lambda w(a) + (1 - lambda) w(b)` for every star with `lambda = (va / (vb - va)) (vb / v - 1)`, and Q is
//!   concave and increasing in the weights, so `Q(s2) >= lambda Q(a) + (1 - lambda) Q(b)`.
//!
//! Together they bound the profile likelihood from above on all of [a, b] by quantities known at a and b alone; where
//! all sigma are equal the bound is exact. An interval whose bound lies below a value already attained cannot hold the
//! maximum.

/// What is known of the profile likelihood of one pixel at one trial s2.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProfilePoint {
    /// Trial scatter variance.
    pub s2: f64,
    /// h = sum ln(sigma^2 + s2).
    pub log_variance: f64,
    /// sum w.
    pub sum_weight: f64,
    /// A value Q does not exceed: sum w r^2 of some theta.
    pub chi2_above: f64,
    /// A value Q does not fall below.
    pub chi2_below: f64,
}

impl ProfilePoint {
    /// A value the profile likelihood attains or exceeds at this s2.
    pub fn attained(&self) -> f64 {
        -0.5 * (self.log_variance + self.chi2_above)
    }
}

/// Upper bound of the profile likelihood on [a.s2, b.s2]; `smallest_variance` is m.
fn upper_bound(a: &ProfilePoint, b: &ProfilePoint, smallest_variance: f64) -> f64 {
    let (va, vb) = (a.s2 + smallest_variance, b.s2 + smallest_variance);
    // lambda Q(a) + (1 - lambda) Q(b) = alpha + beta / v
    let slope = (a.chi2_below - b.chi2_below) / (vb - va);
    let (alpha, beta) = (b.chi2_below - slope * va, slope * va * vb);
    let by_tangent_at = |point: &ProfilePoint, v0: f64| {
        let power = v0 * point.sum_weight;
        let v = (beta / power).clamp(va, vb);
        -0.5 * (point.log_variance + power * (v / v0).ln() + alpha + beta / v)
    };
    by_tangent_at(a, va).min(by_tangent_at(b, vb))
}

/// The interval that holds the maximum of one pixel: every trial interval outside it is excluded by its bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bracket {
    pub low: f64,
    pub high: f64,
    /// Trial value of the largest value found, inside [low, high].
    pub best: f64,
    /// Whether the values at the trials inside rise to `best` and fall behind it: one hill to climb.
    pub one_hill: bool,
}

/// Brackets the maximum given points of ascending s2, the last at or beyond the largest possible maximum.
///
/// `noise` is the numerical uncertainty of the values, in nats.
pub(super) fn bracket(points: &[ProfilePoint], smallest_variance: f64, noise: f64) -> Bracket {
    let best = (0..points.len())
        .max_by(|a, b| points[*a].attained().total_cmp(&points[*b].attained()))
        .expect("a grid has points");
    let attained: Vec<f64> = points.iter().map(ProfilePoint::attained).collect();
    let may_hold =
        |upper: usize| upper_bound(&points[upper - 1], &points[upper], smallest_variance) + noise >= attained[best];
    let mut kept = (1..points.len()).filter(|upper| *upper == best || *upper == best + 1 || may_hold(*upper));
    let first = kept.next().unwrap_or(1);
    let (low, high) = (first - 1, kept.next_back().unwrap_or(first));
    let rises = (low + 1..=best).all(|i| attained[i - 1] <= attained[i] + noise);
    let falls = (best..high).all(|i| attained[i + 1] <= attained[i] + noise);
    Bracket { low: points[low].s2, high: points[high].s2, best: points[best].s2, one_hill: rises && falls }
}

/// Trial values from 0 to `largest`, in equal ratios of s2 + m.
pub(super) fn trial_values(smallest_variance: f64, largest: f64, n_points: usize) -> Vec<f64> {
    let span = (1.0 + largest / smallest_variance).ln();
    (0..n_points).map(|i| smallest_variance * (span * i as f64 / (n_points - 1) as f64).exp_m1()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Exact profile of a pixel modelled by a constant: theta is the weighted mean.
    fn exact(flux: &[f64], variance: &[f64], s2: f64) -> ProfilePoint {
        let weight: Vec<f64> = variance.iter().map(|v| 1.0 / (v + s2)).collect();
        let sum_weight: f64 = weight.iter().sum();
        let mean = weight.iter().zip(flux).map(|(w, f)| w * f).sum::<f64>() / sum_weight;
        let chi2 = weight.iter().zip(flux).map(|(w, f)| w * (f - mean).powi(2)).sum();
        ProfilePoint {
            s2,
            log_variance: -weight.iter().map(|w| w.ln()).sum::<f64>(),
            sum_weight,
            chi2_above: chi2,
            chi2_below: chi2,
        }
    }

    proptest! {
        #[test]
        fn no_value_inside_an_interval_exceeds_its_bound(
            flux in prop::collection::vec(-1.0..1.0_f64, 12),
            log_variance in prop::collection::vec(-6.0..0.0_f64, 12),
            low in 0.0..0.5_f64, width in 1e-3..2.0_f64,
        ) {
            let variance: Vec<f64> = log_variance.iter().map(|v| 10_f64.powf(*v)).collect();
            let smallest = variance.iter().copied().fold(f64::INFINITY, f64::min);
            let (a, b) = (exact(&flux, &variance, low), exact(&flux, &variance, low + width));
            let bound = upper_bound(&a, &b, smallest);
            for i in 0..=200 {
                let value = exact(&flux, &variance, low + width * f64::from(i) / 200.0).attained();
                prop_assert!(value <= bound + 1e-9, "{value} above {bound}");
            }
        }

        #[test]
        fn a_bracket_holds_the_maximum_of_a_dense_search(
            flux in prop::collection::vec(-0.1..0.1_f64, 30),
            log_variance in prop::collection::vec(-5.0..-2.0_f64, 30),
        ) {
            let variance: Vec<f64> = log_variance.iter().map(|v| 10_f64.powf(*v)).collect();
            let smallest = variance.iter().copied().fold(f64::INFINITY, f64::min);
            let points: Vec<_> =
                trial_values(smallest, 0.04, 20).into_iter().map(|s2| exact(&flux, &variance, s2)).collect();
            let found = bracket(&points, smallest, 0.0);
            let dense = trial_values(smallest, 0.04, 5000);
            let best = dense.into_iter().max_by(|a, b| {
                exact(&flux, &variance, *a).attained().total_cmp(&exact(&flux, &variance, *b).attained())
            }).unwrap();
            prop_assert!((found.low..=found.high).contains(&best), "{best} outside {found:?}");
        }
    }

    #[test]
    fn with_equal_errors_a_coarse_grid_brackets_tightly() {
        let flux: Vec<f64> = (0..50).map(|i| 0.01 * f64::from(i % 7) - 0.03).collect();
        let variance = vec![1e-5; 50];
        let points: Vec<_> = trial_values(1e-5, 1e-2, 8).into_iter().map(|s2| exact(&flux, &variance, s2)).collect();
        let found = bracket(&points, 1e-5, 1e-6);
        let truth = points[0].chi2_above * 1e-5 / 50.0 - 1e-5; // mean square residual minus sigma^2
        assert!(found.high - found.low < 0.5e-2);
        assert!(found.one_hill && found.low < truth && truth < found.high, "{found:?} {truth}");
    }
}
