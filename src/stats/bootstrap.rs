//! Percentile bootstrap over stars: every sample of the same stars sees the same resamples, and none is sorted twice.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::robust::{median, median_in_place, quantile_of_sorted, robust_scatter};

/// Centre and width of a sample, plain and robust.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub median: f64,
    /// Standard deviation about the mean (n in the denominator).
    pub scatter: f64,
    /// 1.4826 x median absolute deviation from the median.
    pub robust_scatter: f64,
    /// Median of the absolute values.
    pub median_abs: f64,
}

impl Summary {
    /// Of no values.
    pub const EMPTY: Self =
        Self { mean: f64::NAN, median: f64::NAN, scatter: f64::NAN, robust_scatter: f64::NAN, median_abs: f64::NAN };

    /// Of these values, all finite.
    pub fn of(values: &[f64]) -> Self {
        let mut absolute: Vec<f64> = values.iter().map(|value| value.abs()).collect();
        Self {
            mean: super::robust::mean(values),
            median: median(values),
            scatter: super::robust::standard_deviation(values),
            robust_scatter: robust_scatter(values),
            median_abs: median_in_place(&mut absolute),
        }
    }
}

/// Values of some of the stars, ranked once, so that medians of a resample are walks along the ranks.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The star of each value, in ascending order of the values.
    stars: Vec<u32>,
    /// The values, ascending.
    values: Vec<f64>,
    /// Ranks in ascending order of the absolute values.
    by_size: Vec<u32>,
}

impl Sample {
    /// The finite ones of some stars' values, given as (star, value).
    pub fn new(values: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let mut pairs: Vec<(usize, f64)> = values.into_iter().filter(|(_, value)| value.is_finite()).collect();
        pairs.sort_by(|a, b| a.1.total_cmp(&b.1));
        let values: Vec<f64> = pairs.iter().map(|(_, value)| *value).collect();
        let mut by_size: Vec<u32> = (0..values.len() as u32).collect();
        by_size.sort_by(|a, b| values[*a as usize].abs().total_cmp(&values[*b as usize].abs()));
        Self { stars: pairs.iter().map(|(star, _)| *star as u32).collect(), values, by_size }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values themselves, ascending.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// The summary of the values as they are.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.values)
    }

    /// The summary of a resample in which each star comes up so many times; `counts` is scratch space.
    fn resampled(&self, times: &[u16], counts: &mut Vec<u32>) -> Summary {
        counts.clear();
        counts.extend(self.stars.iter().map(|star| u32::from(times[*star as usize])));
        let total: u32 = counts.iter().sum();
        if total == 0 {
            return Summary::EMPTY;
        }
        let n = f64::from(total);
        let weighted = || counts.iter().zip(&self.values).map(|(count, value)| (f64::from(*count), *value));
        let mean = weighted().map(|(count, value)| count * value).sum::<f64>() / n;
        let variance = weighted().map(|(count, value)| count * (value - mean).powi(2)).sum::<f64>() / n;
        let ascending = || counts.iter().copied().zip(self.values.iter().copied());
        let median = middle(ascending(), total);
        let by_size = self.by_size.iter().map(|rank| *rank as usize);
        Summary {
            mean,
            median,
            scatter: variance.sqrt(),
            robust_scatter: 1.4826 * middle(Outwards::new(counts, &self.values, median), total),
            median_abs: middle(by_size.map(|rank| (counts[rank], self.values[rank].abs())), total),
        }
    }
}

/// The middle one of values that come in ascending order, each so many times (mean of the two middle ones of an even total).
fn middle(ascending: impl Iterator<Item = (u32, f64)>, total: u32) -> f64 {
    let (lower_rank, upper_rank) = ((total - 1) / 2, total / 2);
    let (mut passed, mut lower) = (0, None);
    for (count, value) in ascending {
        passed += count;
        if lower.is_none() && passed > lower_rank {
            lower = Some(value);
        }
        if passed > upper_rank {
            return 0.5 * (lower.unwrap_or(value) + value);
        }
    }
    f64::NAN
}

/// Distances from a centre in ascending order, from values in ascending order.
struct Outwards<'a> {
    counts: &'a [u32],
    values: &'a [f64],
    centre: f64,
    /// Values below the centre that are still to come.
    below: usize,
    /// The next value above.
    above: usize,
}

impl<'a> Outwards<'a> {
    fn new(counts: &'a [u32], values: &'a [f64], centre: f64) -> Self {
        let above = values.partition_point(|value| *value < centre);
        Self { counts, values, centre, below: above, above }
    }
}

impl Iterator for Outwards<'_> {
    type Item = (u32, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let down = if self.below > 0 { self.centre - self.values[self.below - 1] } else { f64::INFINITY };
        let up = self.values.get(self.above).map_or(f64::INFINITY, |value| value - self.centre);
        if down < up {
            self.below -= 1;
            Some((self.counts[self.below], down))
        } else if self.above < self.values.len() {
            self.above += 1;
            Some((self.counts[self.above - 1], up))
        } else {
            None
        }
    }
}

/// How often stars are drawn anew, and from which seed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampling {
    /// Stars in the whole test sample.
    pub n_stars: usize,
    /// Resamples.
    pub n_resamples: usize,
    /// Seed of the draws; the same seed and number of stars draw the same stars.
    pub seed: u64,
}

impl Resampling {
    /// Summaries of samples of these stars under resampling with replacement: by sample, then by resample.
    ///
    /// A sample of only some of the stars sees those of each resample that are its own, so that all samples are paired star by
    /// star, whichever stars they hold.
    pub fn summaries(&self, samples: &[Sample]) -> Vec<Vec<Summary>> {
        let rows: Vec<Vec<Summary>> = (0..self.n_resamples as u64)
            .into_par_iter()
            .map_init(
                || (vec![0_u16; self.n_stars], Vec::new()),
                |(times, counts), resample| {
                    self.draw(resample, times);
                    samples.iter().map(|sample| sample.resampled(times, counts)).collect()
                },
            )
            .collect();
        (0..samples.len()).map(|sample| rows.iter().map(|row| row[sample]).collect()).collect()
    }

    /// How often each star comes up in a resample.
    fn draw(&self, resample: u64, times: &mut [u16]) {
        // One stream per resample: the draws do not depend on how many threads share the work.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(resample);
        times.fill(0);
        for _ in 0..self.n_stars {
            let star = &mut times[rng.random_range(0..self.n_stars)];
            *star = star.saturating_add(1);
        }
    }
}

/// Central interval that holds a fraction `level` of values, those that are not finite left out; NaN if none is left.
pub fn central(values: impl IntoIterator<Item = f64>, level: f64) -> (f64, f64) {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_by(f64::total_cmp);
    let tail = 0.5 * (1.0 - level);
    (quantile_of_sorted(&values, tail), quantile_of_sorted(&values, 1.0 - tail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resampling(n_stars: usize, n_resamples: usize) -> Resampling {
        Resampling { n_stars, n_resamples, seed: 7 }
    }

    #[test]
    fn interval_of_a_mean_has_the_width_the_central_limit_theorem_gives() {
        // Uniform(0, 1), n = 400: standard error 1/sqrt(12 x 400) = 0.0144; the 68.3% interval is twice that wide.
        let sample = Sample::new((0..400_usize).map(|i| (i, (i as f64 + 0.5) / 400.0)));
        let means = resampling(400, 2000).summaries(&[sample]).remove(0);
        let (low, high) = central(means.iter().map(|summary| summary.mean), 0.6827);
        assert!(low < 0.5 && 0.5 < high);
        // 2000 resamples fix each bound to about 3% of the standard error; 10% is three of those.
        assert!(((high - low) / (2.0 * 0.01443) - 1.0).abs() < 0.1, "{low} {high}");
    }

    #[test]
    fn ranked_summaries_are_those_of_the_resample_written_out() {
        for (n, step) in [(1, 0.3), (2, 0.7), (9, 0.618), (60, 0.414), (61, 0.236)] {
            // Ties and both signs.
            let values: Vec<f64> = (0..n).map(|i| ((i as f64 * step).fract() * 20.0).round() - 8.0).collect();
            let sample = Sample::new(values.iter().copied().enumerate());
            let resampling = resampling(n, 40);
            let fast = resampling.summaries(std::slice::from_ref(&sample)).remove(0);
            let mut times = vec![0; n];
            for (resample, fast) in fast.iter().enumerate() {
                resampling.draw(resample as u64, &mut times);
                let drawn: Vec<f64> = values.iter().zip(&times).flat_map(|(v, n)| vec![*v; usize::from(*n)]).collect();
                let slow = Summary::of(&drawn);
                let pairs = [
                    (fast.mean, slow.mean),
                    (fast.median, slow.median),
                    (fast.scatter, slow.scatter),
                    (fast.robust_scatter, slow.robust_scatter),
                    (fast.median_abs, slow.median_abs),
                ];
                assert!(pairs.iter().all(|(fast, slow)| (fast - slow).abs() < 1e-12), "{n}: {fast:?} {slow:?}");
            }
        }
    }

    #[test]
    fn values_of_some_stars_see_their_part_of_the_same_resamples() {
        let all = Sample::new((0..50).map(|star| (star, star as f64)));
        let again = Sample::new((0..50).map(|star| (star, if star % 2 == 0 { star as f64 } else { f64::NAN })));
        assert_eq!((all.len(), again.len(), again.is_empty()), (50, 25, false));
        let shifted = Sample::new((0..50).map(|star| (star, star as f64 + 3.0)));
        let summaries = resampling(50, 30).summaries(&[all, shifted]);
        for (a, b) in summaries[0].iter().zip(&summaries[1]) {
            assert!((b.mean - a.mean - 3.0).abs() < 1e-9 && (b.robust_scatter - a.robust_scatter).abs() < 1e-9);
        }
        let nothing = Sample::new([(0, f64::NAN)]);
        assert!(resampling(50, 2).summaries(&[nothing])[0][1].median.is_nan());
        assert!(central([f64::NAN], 0.9).0.is_nan());
    }
}
