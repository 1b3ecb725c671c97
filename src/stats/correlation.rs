//! How two quantities of the same stars go together: linear correlation, and that of their ranks.

/// Pearson's correlation coefficient; NaN for fewer than two pairs or without spread.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let products = x.iter().zip(y).map(|(x, y)| (x - mean_x, y - mean_y));
    let [mut xx, mut yy, mut xy] = [0.0; 3];
    for (dx, dy) in products {
        xx += dx * dx;
        yy += dy * dy;
        xy += dx * dy;
    }
    // Rounding must not make a perfect correlation larger than one; NaN stays NaN.
    (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0)
}

/// Spearman's rank correlation: Pearson's of the ranks, so that a few wild values count no more than others.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 0; equal values share the mean of theirs.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0.0; values.len()];
    let mut first = 0;
    for equal in order.chunk_by(|a, b| values[*a] == values[*b]) {
        for star in equal {
            ranks[*star] = first as f64 + 0.5 * (equal.len() - 1) as f64;
        }
        first += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn correlations_of_known_pairs() {
        // numpy.corrcoef([1, 2, 3, 4], [1, 3, 2, 5]) = 0.8315218; ranks 1 3 2 4: 1 - 6 x 2 / (4 x 15) = 0.8.
        let (x, y) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 5.0]);
        assert!((pearson(&x, &y) - 0.831_521_8).abs() < 1e-7);
        assert!((spearman(&x, &y) - 0.8).abs() < 1e-12);
        assert!((pearson(&x, &x.map(|v| -3.0 * v)) + 1.0).abs() < 1e-12);
        assert_eq!(ranks(&[5.0, 1.0, 5.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
    }

    #[test]
    fn one_wild_star_makes_the_linear_correlation_not_that_of_ranks() {
        let mut x: Vec<f64> = (0..100).map(|i| (f64::from(i) * 0.618_034).fract()).collect();
        let mut y: Vec<f64> = (0..100).map(|i| (f64::from(i) * 0.414_214).fract()).collect();
        assert!(pearson(&x, &y).abs() < 0.15);
        x.push(1e3);
        y.push(1e3);
        assert!(pearson(&x, &y) > 0.99 && spearman(&x, &y).abs() < 0.2);
    }

    #[test]
    fn without_spread_there_is_no_correlation() {
        assert!(pearson(&[], &[]).is_nan() && pearson(&[1.0, 1.0], &[1.0, 2.0]).is_nan());
    }
}
