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

    /// Of these values, all finite; one alone has no width.
    pub fn of(values: &[f64]) -> Self {
        let mut absolute: Vec<f64> = values.iter().map(|value| value.abs()).collect();
        let summary = Self {
            mean: super::robust::mean(values),
            median: median(values),
            scatter: super::robust::standard_deviation(values),
            robust_scatter: robust_scatter(values),
            median_abs: median_in_place(&mut absolute),
        };
        summary.of_so_many(values.len())
    }

    fn of_so_many(self, n: usize) -> Self {
        if n > 1 { self } else { Self { scatter: f64::NAN, robust_scatter: f64::NAN, ..self } }
    }
}

/// Values of some of the stars, ranked once: with the counts of a resample summed along the ranks, its medians are found by
/// bisection.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The star of each value, in ascending order of the values.
    stars: Vec<u32>,
    /// The values, ascending.
    values: Vec<f64>,
}

impl Sample {
    /// The finite ones of some stars' values, given as (star, value).
    pub fn new(values: impl IntoIterator<Item = (usize, f64)>) -> Self {
        let mut pairs: Vec<(usize, f64)> = values.into_iter().filter(|(_, value)| value.is_finite()).collect();
        pairs.sort_by(|a, b| a.1.total_cmp(&b.1));
        let (stars, values) = pairs.into_iter().map(|(star, value)| (star as u32, value)).unzip();
        Self { stars, values }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The summary of the values as they are.
    pub fn summary(&self) -> Summary {
        Summary::of(&self.values)
    }

    /// The summary of a resample in which each star comes up so many times.
    fn resampled(&self, wanted: Wanted, times: &[u16], scratch: &mut Scratch) -> Summary {
        let Scratch { weights, up_to } = scratch;
        up_to.clear();
        up_to.push(0);
        let mut total = 0;
        up_to.extend(self.stars.iter().map(|star| {
            total += u32::from(times[*star as usize]);
            total
        }));
        if total == 0 {
            return Summary::EMPTY;
        }
        let ranked = Ranked { values: &self.values, up_to, total };
        let median = ranked.median();
        let robust_scatter = 1.4826 * ranked.median_distance(median);
        let n_values = self.values.len();
        if wanted == Wanted::Medians {
            return Summary { median, robust_scatter, ..Summary::EMPTY }.of_so_many(n_values);
        }
        weights.clear();
        weights.extend(self.stars.iter().map(|star| f64::from(times[*star as usize])));
        let n = f64::from(total);
        let mean = sum(weights, &self.values, |weight, value| weight * value) / n;
        let variance = sum(weights, &self.values, |weight, value| weight * (value - mean) * (value - mean)) / n;
        let median_abs = ranked.median_distance(0.0);
        Summary { mean, median, scatter: variance.sqrt(), robust_scatter, median_abs }.of_so_many(n_values)
    }
}

/// What of a summary is computed for each resample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    All,
    /// Median and robust scatter; the rest is NaN.
    Medians,
}

/// Room for the counts of one resample.
#[derive(Default)]
struct Scratch {
    weights: Vec<f64>,
    up_to: Vec<u32>,
}

/// The sum of a function of weights and values, in lanes that the processor adds side by side.
fn sum(weights: &[f64], values: &[f64], of: impl Fn(f64, f64) -> f64) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let (weights, rest_of_weights) = weights.as_chunks::<LANES>();
    let (values, rest_of_values) = values.as_chunks::<LANES>();
    for (weights, values) in weights.iter().zip(values) {
        for lane in 0..LANES {
            lanes[lane] += of(weights[lane], values[lane]);
        }
    }
    let rest: f64 = rest_of_weights.iter().zip(rest_of_values).map(|(weight, value)| of(*weight, *value)).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Values in ascending order, each so many times.
struct Ranked<'a> {
    values: &'a [f64],
    /// How many there are before each value, and in the end.
    up_to: &'a [u32],
    total: u32,
}

impl Ranked<'_> {
    /// The middle one (mean of the two middle ones of an even total).
    fn median(&self) -> f64 {
        let at = |rank: u32| self.values[self.up_to[1..].partition_point(|count| *count <= rank)];
        0.5 * (at((self.total - 1) / 2) + at(self.total / 2))
    }

    /// The same of the distances from a centre.
    fn median_distance(&self, centre: f64) -> f64 {
        let split = self.values.partition_point(|value| *value < centre);
        // Of a window that begins at each value below the centre, or at the first one above, the half that counts ends where
        // enough are in it. The farther it begins, the nearer it ends: the best one is where both are as far.
        let begins = |first: usize| if first < split { centre - self.values[first] } else { 0.0 };
        let ends = |first: usize, rank: u32| {
            let enough = rank + self.up_to[first];
            let last = self.up_to[1..].partition_point(|count| *count <= enough);
            self.values.get(last).map_or(f64::INFINITY, |value| value - centre)
        };
        let at = |rank: u32| {
            let (mut low, mut high) = (0, split);
            while low < high {
                let first = (low + high) / 2;
                if begins(first) > ends(first, rank) { low = first + 1 } else { high = first }
            }
            let farther = |first: usize| begins(first).max(ends(first, rank));
            if low > 0 { farther(low).min(farther(low - 1)) } else { farther(low) }
        };
        let (lower, upper) = ((self.total - 1) / 2, self.total / 2);
        let distance = at(lower);
        if lower == upper { distance } else { 0.5 * (distance + at(upper)) }
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
    pub fn summaries(&self, samples: &[Sample], wanted: Wanted) -> Vec<Vec<Summary>> {
        let rows: Vec<Vec<Summary>> = (0..self.n_resamples as u64)
            .into_par_iter()
            .map_init(
                || (vec![0_u16; self.n_stars], Scratch::default()),
                |(times, scratch), resample| {
                    self.draw(resample, times);
                    samples.iter().map(|sample| sample.resampled(wanted, times, scratch)).collect()
                },
            )
            .collect();
        (0..samples.len()).map(|sample| rows.iter().map(|row| row[sample]).collect()).collect()
    }

    /// Ratios of two sums over some stars, each given as (star, part of the first, part of the second), under the same resamples: by
    /// ratio, then by resample. NaN where a resample has none of the stars.
    pub fn ratios(&self, sums: &[Vec<(usize, f64, f64)>]) -> Vec<Vec<f64>> {
        let rows: Vec<Vec<f64>> = (0..self.n_resamples as u64)
            .into_par_iter()
            .map_init(
                || vec![0_u16; self.n_stars],
                |times, resample| {
                    self.draw(resample, times);
                    let ratio = |parts: &Vec<(usize, f64, f64)>| {
                        let add = |(above, below): (f64, f64), (star, first, second): &(usize, f64, f64)| {
                            let weight = f64::from(times[*star]);
                            (above + weight * first, below + weight * second)
                        };
                        let (above, below) = parts.iter().fold((0.0, 0.0), add);
                        above / below
                    };
                    sums.iter().map(ratio).collect()
                },
            )
            .collect();
        (0..sums.len()).map(|sum| rows.iter().map(|row| row[sum]).collect()).collect()
    }

    /// How often each star comes up in a resample.
    fn draw(&self, resample: u64, times: &mut [u16]) {
        // One stream per resample: the draws do not depend on how many threads share the work.
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(resample);
        times.fill(0);
        for _ in 0..self.n_stars {
            let star = &mut times[rng.random_range(0..self.n_stars as u32) as usize];
            *star = star.saturating_add(1);
        }
    }
}

/// Central interval that holds a fraction `level` of values, those that are not finite left out; NaN if none is left.
pub fn central(values: impl IntoIterator<Item = f64>, level: f64) -> (f64, f64) {
    let mut values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    values.sort_unstable_by(f64::total_cmp);
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
        let means = resampling(400, 2000).summaries(&[sample], Wanted::All).remove(0);
        let (low, high) = central(means.iter().map(|summary| summary.mean), 0.6827);
        assert!(low < 0.5 && 0.5 < high);
        // 2000 resamples fix each bound to about 3% of the standard error; 10% is three of those.
        assert!(((high - low) / (2.0 * 0.01443) - 1.0).abs() < 0.1, "{low} {high}");
    }

    #[test]
    fn one_value_has_a_centre_and_no_width() {
        let alone = Sample::new([(0, 3.0), (1, f64::NAN)]);
        for summary in resampling(2, 40)
            .summaries(std::slice::from_ref(&alone), Wanted::All)
            .remove(0)
            .into_iter()
            .chain([alone.summary()])
        {
            assert!(summary.scatter.is_nan() && summary.robust_scatter.is_nan(), "{summary:?}");
            assert!(summary.mean == 3.0 || summary.mean.is_nan(), "{summary:?}");
        }
    }

    #[test]
    fn ranked_summaries_are_those_of_the_resample_written_out() {
        for (n, step) in [(2, 0.7), (9, 0.618), (60, 0.414), (61, 0.236)] {
            // Ties and both signs.
            let values: Vec<f64> = (0..n).map(|i| ((i as f64 * step).fract() * 20.0).round() - 8.0).collect();
            let sample = Sample::new(values.iter().copied().enumerate());
            let resampling = resampling(n, 40);
            let fast = resampling.summaries(std::slice::from_ref(&sample), Wanted::All).remove(0);
            let medians = resampling.summaries(std::slice::from_ref(&sample), Wanted::Medians).remove(0);
            let same = |(a, b): (&Summary, &Summary)| a.median == b.median && a.robust_scatter == b.robust_scatter;
            assert!(fast.iter().zip(&medians).all(same) && medians[0].mean.is_nan());
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
    fn a_ratio_of_sums_is_a_mean_where_it_counts_stars() {
        let values: Vec<f64> = (0..50).map(|star| (f64::from(star) * 0.618).fract()).collect();
        let resampling = resampling(50, 30);
        let means = resampling.summaries(&[Sample::new(values.iter().copied().enumerate())], Wanted::All).remove(0);
        let counted = values.iter().enumerate().map(|(star, value)| (star, *value, 1.0)).collect();
        let ratios = resampling.ratios(&[counted, Vec::new()]);
        assert!(means.iter().zip(&ratios[0]).all(|(mean, ratio)| (mean.mean - ratio).abs() < 1e-12));
        assert!(ratios[0][0] != ratios[0][1] && ratios[1].iter().all(|ratio| ratio.is_nan()));
    }

    #[test]
    fn values_of_some_stars_see_their_part_of_the_same_resamples() {
        let all = Sample::new((0..50).map(|star| (star, star as f64)));
        let again = Sample::new((0..50).map(|star| (star, if star % 2 == 0 { star as f64 } else { f64::NAN })));
        assert_eq!((all.len(), again.len(), again.is_empty()), (50, 25, false));
        let shifted = Sample::new((0..50).map(|star| (star, star as f64 + 3.0)));
        let summaries = resampling(50, 30).summaries(&[all, shifted], Wanted::All);
        for (a, b) in summaries[0].iter().zip(&summaries[1]) {
            assert!((b.mean - a.mean - 3.0).abs() < 1e-9 && (b.robust_scatter - a.robust_scatter).abs() < 1e-9);
        }
        let nothing = Sample::new([(0, f64::NAN)]);
        assert!(resampling(50, 2).summaries(&[nothing], Wanted::Medians)[0][1].median.is_nan());
        assert!(central([f64::NAN], 0.9).0.is_nan());
    }
}
