//! What chance leaves in a histogram or a fraction: the band in which counts lie if nothing is wrong.

/// Share of the counts that lie in a band.
pub(super) const BAND_LEVEL: f64 = 0.95;

/// Smallest and largest count, of `n` trials with probability `p`, with less than half of what [`BAND_LEVEL`] leaves below and
/// above.
pub(super) fn binomial_band(n: usize, p: f64) -> (usize, usize) {
    if n == 0 || p.is_nan() || p <= 0.0 {
        return (0, 0);
    }
    if p >= 1.0 {
        return (n, n);
    }
    let total = n as f64;
    band((0, n), ((total + 1.0) * p) as usize, |k| (total - k) / (k + 1.0) * p / (1.0 - p))
}

/// The same for `n` drawn without replacement from `population`, of which `marked` are counted: the ranks of one chain in one
/// bin.
pub(super) fn hypergeometric_band(population: usize, marked: usize, n: usize) -> (usize, usize) {
    let (marked, n) = (marked.min(population), n.min(population));
    let range = ((n + marked).saturating_sub(population), n.min(marked));
    let (whole, m, size) = (population as f64, marked as f64, n as f64);
    let mode = ((size + 1.0) * (m + 1.0) / (whole + 2.0)) as usize;
    band(range, mode, |k| (m - k) * (size - k) / ((k + 1.0) * (whole - m - size + k + 1.0)))
}

/// The band of a distribution on `first..=last` with its largest probability at `mode`, from the ratios P(k + 1) / P(k).
fn band((first, last): (usize, usize), mode: usize, ratio: impl Fn(f64) -> f64) -> (usize, usize) {
    let mode = mode.clamp(first, last);
    // Outwards from the mode, whose probability is set to one, until nothing is left.
    let mut probabilities = std::collections::VecDeque::from([1.0]);
    let (mut lowest, mut highest) = (mode, mode);
    let (mut below, mut above) = (1.0, 1.0);
    while lowest > first && below > 1e-18 {
        lowest -= 1;
        below /= ratio(lowest as f64);
        probabilities.push_front(below);
    }
    while highest < last && above > 1e-18 {
        above *= ratio(highest as f64);
        highest += 1;
        probabilities.push_back(above);
    }
    let tail = (1.0 - BAND_LEVEL) / 2.0 * probabilities.iter().sum::<f64>();
    let skipped = |probabilities: &mut dyn Iterator<Item = &f64>| {
        let mut sum = 0.0;
        probabilities
            .take_while(|probability| {
                sum += **probability;
                sum < tail
            })
            .count()
    };
    (lowest + skipped(&mut probabilities.iter()), highest - skipped(&mut probabilities.iter().rev()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ln n!
    fn ln_factorial(n: usize) -> f64 {
        (1..=n).map(|k| (k as f64).ln()).sum()
    }

    fn ln_choose(n: usize, k: usize) -> f64 {
        ln_factorial(n) - ln_factorial(k) - ln_factorial(n - k)
    }

    /// The band by summing the probabilities of every count.
    fn naive(n: usize, probability: impl Fn(usize) -> f64) -> (usize, usize) {
        let tail = (1.0 - BAND_LEVEL) / 2.0;
        let all: Vec<f64> = (0..=n).map(probability).collect();
        let low = (0..=n).find(|&k| all[..=k].iter().sum::<f64>() >= tail).unwrap();
        let high = (0..=n).rev().find(|&k| all[k..].iter().sum::<f64>() >= tail).unwrap();
        (low, high)
    }

    #[test]
    fn bands_are_those_of_the_summed_probabilities() {
        for (n, p) in [(1, 0.5), (10, 0.1), (100, 0.9), (940, 0.683), (50, 0.001)] {
            let probability =
                |k: usize| (ln_choose(n, k) + k as f64 * f64::ln(p) + (n - k) as f64 * f64::ln(1.0 - p)).exp();
            assert_eq!(binomial_band(n, p), naive(n, probability), "{n} {p}");
        }
        // scipy.stats.binom.interval(0.95, 100, 0.5) = (40, 60).
        assert_eq!(binomial_band(100, 0.5), (40, 60));
        for (population, marked, n) in [(400, 20, 100), (40, 40, 10), (10, 3, 9), (4000, 200, 1000)] {
            let probability = |k: usize| match k <= marked && n - k <= population - marked {
                true => (ln_choose(marked, k) + ln_choose(population - marked, n - k) - ln_choose(population, n)).exp(),
                false => 0.0,
            };
            assert_eq!(hypergeometric_band(population, marked, n), naive(n, probability), "{population} {marked} {n}");
        }
    }

    #[test]
    fn certain_counts_have_no_band() {
        assert_eq!(binomial_band(0, 0.5), (0, 0));
        assert_eq!(
            (binomial_band(7, 0.0), binomial_band(7, 1.0), binomial_band(7, f64::NAN)),
            ((0, 0), (7, 7), (0, 0))
        );
        assert_eq!(hypergeometric_band(0, 0, 0), (0, 0));
        let (low, high) = binomial_band(10_000_000, 0.5);
        // 1.96 x sqrt(n) / 2 on either side.
        assert!((low as f64 - (5e6 - 3099.0)).abs() < 2.0 && (high as f64 - (5e6 + 3099.0)).abs() < 2.0);
    }
}
