//! What figures say about draws of one label: quantiles, histograms, a range, and a value with its errors in few digits.

use super::ticks::padded_range;
pub(super) use crate::stats::robust::quantile_of_sorted as quantile;

/// Quantiles that are printed and marked: lower end, middle and upper end of the central 68%.
pub(super) const CENTRAL: [f64; 3] = [0.16, 0.5, 0.84];

/// The finite values in ascending order.
pub(super) fn ascending(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// A range for draws in ascending order: nearly all of them, with a margin.
pub(super) fn range_of(sorted: &[f64]) -> (f64, f64) {
    padded_range([0.001, 0.999].map(|fraction| quantile(sorted, fraction)), 0.12)
}

/// Share of the values per unit in each of equal bins of a range; values outside count in the whole.
pub(super) fn histogram(values: &[f64], (low, high): (f64, f64), n_bins: usize) -> Vec<f64> {
    let (mut shares, width) = (vec![0.0; n_bins], (high - low) / n_bins as f64);
    for value in values.iter().filter(|value| (low..=high).contains(*value)) {
        let bin = (((value - low) / width) as usize).min(n_bins - 1);
        shares[bin] += 1.0 / (values.len() as f64 * width);
    }
    shares
}

/// Bins for so many values.
pub(super) fn n_bins(n_values: usize) -> usize {
    ((2.0 * (n_values as f64).cbrt()) as usize).clamp(8, 36)
}

/// The corners of a histogram drawn as steps: position along the bins, height.
pub(super) fn steps(heights: &[f64], (low, high): (f64, f64)) -> Vec<(f64, f64)> {
    let edge = |bin: usize| low + (high - low) * bin as f64 / heights.len() as f64;
    let tops = heights.iter().enumerate().flat_map(|(bin, &height)| [(edge(bin), height), (edge(bin + 1), height)]);
    std::iter::once((low, 0.0)).chain(tops).chain([(high, 0.0)]).collect()
}

/// A middle value, and how far the upper and the lower end of its interval lie from it, to two digits of the smaller.
pub(super) fn in_few_digits([low, middle, high]: [f64; 3]) -> [String; 3] {
    if ![low, middle, high].iter().all(|value| value.is_finite()) {
        return ["\u{2212}".to_owned(), String::new(), String::new()];
    }
    let (up, down) = (high - middle, middle - low);
    let smaller = [up, down].into_iter().filter(|length| *length > 0.0).fold(f64::INFINITY, f64::min);
    let digits = if smaller.is_finite() { 1.0 - smaller.log10().floor() } else { 3.0 };
    let decimals = digits.clamp(0.0, 9.0) as usize;
    let text = |value: f64| {
        let text = format!("{value:.decimals$}");
        // No negative zero.
        let text = if text.parse() == Ok(0.0) { text.replace('-', "") } else { text };
        text.replace('-', "\u{2212}")
    };
    [text(middle), format!("+{}", text(up)), format!("\u{2212}{}", text(down))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_every_value_once_and_has_unit_area() {
        let values: Vec<f64> = (0..1000).map(|i| (f64::from(i) * 0.618_034).fract()).collect();
        let shares = histogram(&values, (0.0, 2.0), 8);
        assert!((shares.iter().sum::<f64>() * 0.25 - 1.0).abs() < 1e-9);
        assert!((shares[0] - 1.0).abs() < 0.02 && shares[5] == 0.0);
        // The upper end belongs to the last bin; what lies outside is missing from the area.
        assert_eq!(histogram(&[1.0, 5.0], (0.0, 1.0), 2), [0.0, 1.0]);
        assert_eq!(
            steps(&[2.0, 3.0], (0.0, 1.0)),
            [(0.0, 0.0), (0.0, 2.0), (0.5, 2.0), (0.5, 3.0), (1.0, 3.0), (1.0, 0.0)]
        );
    }

    #[test]
    fn values_are_printed_to_two_digits_of_their_error() {
        assert_eq!(in_few_digits([4578.2, 4582.31, 4585.9]), ["4582.3", "+3.6", "\u{2212}4.1"]);
        assert_eq!(in_few_digits([4545.0, 4582.31, 4630.9]), ["4582", "+49", "\u{2212}37"]);
        assert_eq!(in_few_digits([-0.0113, -0.0001, 0.012]), ["0.000", "+0.012", "\u{2212}0.011"]);
        assert_eq!(in_few_digits([2.0; 3]), ["2.000", "+0.000", "\u{2212}0.000"]);
        assert_eq!(in_few_digits([f64::NAN; 3])[0], "\u{2212}");
    }
}
