//! Mean, scatter and their robust counterparts, NaN-free by contract of the caller.

/// Arithmetic mean; NaN for an empty slice.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation about the mean (n in the denominator); NaN for an empty slice.
pub fn standard_deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    (values.iter().map(|v| (v - centre).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// The value below which a fraction `q` of the sorted sample lies, linear between order statistics; NaN if empty.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

/// [`quantile`] of a slice that is already sorted.
pub fn quantile_of_sorted(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let position = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64)
}

/// The middle value (mean of the two middle values for an even count); NaN if empty. Linear time.
pub fn median(values: &[f64]) -> f64 {
    median_in_place(&mut values.to_vec())
}

/// [`median`] that may reorder its argument instead of copying it.
pub fn median_in_place(values: &mut [f64]) -> f64 {
    let n = values.len();
    if n == 0 {
        return f64::NAN;
    }
    let (lower, upper, _) = values.select_nth_unstable_by(n / 2, f64::total_cmp);
    let upper = *upper;
    if n % 2 == 1 {
        return upper;
    }
    let lower = lower.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    0.5 * (lower + upper)
}

/// 1.4826 x the median absolute deviation from the median: the standard deviation of a normal sample, immune to outliers.
pub fn robust_scatter(values: &[f64]) -> f64 {
    let mut work = values.to_vec();
    let centre = median_in_place(&mut work);
    for (w, v) in work.iter_mut().zip(values) {
        *w = (v - centre).abs();
    }
    1.4826 * median_in_place(&mut work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_known_sample() {
        // numpy.std([1, 2, 3, 4]) = 1.118033988749895; scipy.stats.median_abs_deviation(..) = 1.0
        let sample = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(mean(&sample), 2.5);
        assert!((standard_deviation(&sample) - 1.118033988749895).abs() < 1e-15);
        assert_eq!(median(&sample), 2.5);
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert!((robust_scatter(&sample) - 1.4826).abs() < 1e-12);
        assert_eq!(quantile(&sample, 0.25), 1.75);
    }

    #[test]
    fn one_outlier_moves_the_standard_scatter_not_the_robust_one() {
        let mut sample: Vec<f64> = (0..101).map(|i| f64::from(i) / 100.0).collect();
        let clean = robust_scatter(&sample);
        sample.push(1e6);
        assert!((robust_scatter(&sample) - clean).abs() < 0.02);
        assert!(standard_deviation(&sample) > 1e4);
    }

    #[test]
    fn empty_samples_are_nan_not_panics() {
        assert!(mean(&[]).is_nan() && median(&[]).is_nan() && quantile(&[], 0.5).is_nan());
    }
}
