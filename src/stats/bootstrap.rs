//! Percentile bootstrap over stars.

use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::robust::quantile_of_sorted;

/// Central interval of a statistic under resampling of the stars with replacement.
///
/// Every statistic given the same `n_resamples`, `seed` and sample size sees the same resamples, so intervals of
/// different models are paired.
///
/// Returns (lower, upper) bounds holding a fraction `level` of the resampled values; NaN for an empty sample.
pub fn interval(
    sample: &[f64],
    statistic: impl Fn(&[f64]) -> f64,
    n_resamples: usize,
    level: f64,
    seed: u64,
) -> (f64, f64) {
    if sample.is_empty() || n_resamples == 0 {
        return (f64::NAN, f64::NAN);
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut resample = vec![0.0; sample.len()];
    let mut values: Vec<f64> = (0..n_resamples)
        .map(|_| {
            for slot in &mut resample {
                *slot = sample[rng.random_range(0..sample.len())];
            }
            statistic(&resample)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    (quantile_of_sorted(&values, tail), quantile_of_sorted(&values, 1.0 - tail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::robust::mean;

    #[test]
    fn interval_of_a_mean_has_the_width_the_central_limit_theorem_gives() {
        // Uniform(0, 1), n = 400: standard error 1/sqrt(12 x 400) = 0.0144; the 68.3% interval is twice that wide.
        let sample: Vec<f64> = (0..400).map(|i| (f64::from(i) + 0.5) / 400.0).collect();
        let (low, high) = interval(&sample, mean, 2000, 0.6827, 1);
        assert!(low < 0.5 && 0.5 < high);
        // 2000 resamples fix each bound to about 3% of the standard error; 10% is three of those.
        assert!(((high - low) / (2.0 * 0.01443) - 1.0).abs() < 0.1, "{low} {high}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let sample = [1.0, 5.0, 2.0, 8.0];
        assert_eq!(interval(&sample, mean, 50, 0.9, 7), interval(&sample, mean, 50, 0.9, 7));
        assert!(interval(&[], mean, 50, 0.9, 7).0.is_nan());
    }
}
