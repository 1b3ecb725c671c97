//! Differences between two samples of the same stars, from the same resamples of both.

use serde::{Deserialize, Serialize};

use super::bootstrap::central;

/// How much larger a statistic of one sample is than that of another, where smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The first one's minus the second one's.
    pub value: f64,
    /// Bootstrap interval of the difference.
    pub interval: (f64, f64),
    /// Fraction of the resamples in which the first is smaller; equal ones count half.
    pub fraction_first_smaller: f64,
}

impl Difference {
    /// From the statistic of both samples and its values in the resamples, pair by pair.
    pub fn new((first, second): (f64, f64), resamples: impl IntoIterator<Item = (f64, f64)>, level: f64) -> Self {
        let differences: Vec<f64> =
            resamples.into_iter().map(|(first, second)| first - second).filter(|d| d.is_finite()).collect();
        let smaller: f64 =
            differences.iter().map(|d| if *d == 0.0 { 0.5 } else { f64::from(u8::from(*d < 0.0)) }).sum();
        let fraction_first_smaller = smaller / differences.len() as f64;
        Self { value: first - second, interval: central(differences, level), fraction_first_smaller }
    }

    /// Whether the interval lies on one side of zero.
    pub fn is_clear(&self) -> bool {
        self.interval.0 > 0.0 || self.interval.1 < 0.0
    }

    /// The same difference the other way round.
    pub fn reversed(&self) -> Self {
        Self {
            value: -self.value,
            interval: (-self.interval.1, -self.interval.0),
            fraction_first_smaller: 1.0 - self.fraction_first_smaller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::bootstrap::{Resampling, Sample, Summary, Wanted};

    /// Repeatable numbers, uniform in -0.5..0.5.
    fn noise(n: usize, seed: f64) -> Vec<f64> {
        (0..n).map(|i| ((i as f64 + seed) * 0.754_877_666).fract() - 0.5).collect()
    }

    fn scatter_difference(first: &[f64], second: &[f64], of: fn(&Summary) -> f64) -> Difference {
        let samples = [first, second].map(|values| Sample::new(values.iter().copied().enumerate()));
        let resampling = Resampling { n_stars: first.len(), n_resamples: 500, seed: 3 };
        let summaries = resampling.summaries(&samples, Wanted::All);
        let pairs = summaries[0].iter().zip(&summaries[1]).map(|(a, b)| (of(a), of(b)));
        Difference::new((of(&samples[0].summary()), of(&samples[1].summary())), pairs, 0.95)
    }

    #[test]
    fn twice_the_width_is_known_for_certain() {
        let narrow = noise(300, 0.0);
        let wide: Vec<f64> = narrow.iter().map(|value| 2.0 * value).collect();
        for of in [|s: &Summary| s.scatter, |s: &Summary| s.robust_scatter, |s: &Summary| s.median_abs] {
            let difference = scatter_difference(&wide, &narrow, of);
            let alone = of(&Summary::of(&narrow));
            assert!((difference.value - alone).abs() < 1e-12 && difference.fraction_first_smaller == 0.0);
            // In every resample the difference is the narrow one's own statistic: the interval is about it.
            assert!(difference.is_clear() && difference.interval.0 < alone && alone < difference.interval.1);
            let back = scatter_difference(&narrow, &wide, of);
            assert_eq!(back.reversed(), difference);
        }
    }

    #[test]
    fn what_two_models_share_cancels() {
        // Errors that are mostly common: the difference of the scatters is far better known than either scatter.
        let (common, own) = (noise(400, 0.0), noise(400, 0.3));
        let first: Vec<f64> = common.iter().zip(&own).map(|(c, o)| c + 0.02 * o).collect();
        let difference = scatter_difference(&first, &common, |s| s.scatter);
        let unpaired = scatter_difference(&first, &vec![0.0; 400], |s| s.scatter);
        let width = |d: &Difference| d.interval.1 - d.interval.0;
        assert!(width(&difference) < 0.2 * width(&unpaired), "{difference:?} {unpaired:?}");
        let same = scatter_difference(&common, &common, |s| s.scatter);
        assert_eq!((same.value, same.interval, same.fraction_first_smaller), (0.0, (0.0, 0.0), 0.5));
    }
}
