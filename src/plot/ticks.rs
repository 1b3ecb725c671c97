//! Round tick positions inside a range, and labels for them with as many decimals as they need.

/// Smallest span of a range, as a fraction of its largest value, that gets more than one tick.
const RESOLUTION: f64 = 1e-10;

/// Ticks of one axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Ticks {
    /// Labelled ticks, ascending, inside the range.
    pub major: Vec<f64>,
    /// Short ticks between them, ascending, inside the range.
    pub minor: Vec<f64>,
    step: f64,
}

impl Ticks {
    /// Ticks a round step (1, 2 or 5 times a power of ten) apart, at most about `count` of them.
    ///
    /// The range may be given in either order. A range that is not finite or too narrow to tell its ends apart has no ticks.
    pub fn new(range: (f64, f64), count: usize) -> Self {
        let (low, high) = (range.0.min(range.1), range.0.max(range.1));
        let span = high - low;
        if !span.is_finite() || span <= RESOLUTION * low.abs().max(high.abs()) || span < 1e-290 {
            return Self { major: Vec::new(), minor: Vec::new(), step: 1.0 };
        }
        let rough = span / count.max(1) as f64;
        let decade = 10f64.powf(rough.log10().floor());
        let (multiple, parts) = [(1.0, 5.0), (2.0, 4.0), (5.0, 5.0), (10.0, 5.0)]
            .into_iter()
            .find(|(multiple, _)| multiple * decade >= rough * (1.0 - 1e-9))
            .unwrap_or((10.0, 5.0));
        let step = multiple * decade;
        let major = multiples(low, high, step);
        let near = |value: f64| major.iter().any(|tick| (tick - value).abs() < 0.01 * step);
        let minor = multiples(low, high, step / parts).into_iter().filter(|&value| !near(value)).collect();
        Self { major, minor, step }
    }

    /// The same ticks with every second long one made short, so that more labels are left rather than fewer.
    pub fn thinned(self) -> Self {
        let is_even = |tick: &f64| (tick / self.step).round().rem_euclid(2.0) == 0.0;
        let (even, odd): (Vec<f64>, Vec<f64>) = self.major.iter().partition(|tick| is_even(tick));
        let (major, rest) = if odd.len() > even.len() { (odd, even) } else { (even, odd) };
        let mut minor = [self.minor, rest].concat();
        minor.sort_by(f64::total_cmp);
        Self { major, minor, step: self.step }
    }

    /// The label of a tick: enough decimals for the step, a true minus sign, no negative zero.
    pub fn label(&self, value: f64) -> String {
        if value.abs() < 1e-6 * self.step {
            return "0".to_owned();
        }
        let largest = self.major.iter().fold(value.abs(), |largest, tick| largest.max(tick.abs()));
        let decade = |value: f64| (value.log10() + 1e-9).floor() as i32;
        let text = if largest >= 1e6 || self.step < 0.99e-4 {
            let digits = (decade(value.abs()) - decade(self.step)).clamp(0, 12) as usize;
            format!("{value:.digits$e}")
        } else {
            let decimals = (-decade(self.step)).max(0) as usize;
            format!("{value:.decimals$}")
        };
        text.replace('-', "\u{2212}")
    }
}

/// Multiples of `step` inside a range.
fn multiples(low: f64, high: f64, step: f64) -> Vec<f64> {
    let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
    let count = (last - first).clamp(-1.0, 1000.0) as i64;
    (0..=count).map(|i| ((first + i as f64) * step).clamp(low, high)).collect()
}

/// A range around finite values with a margin (a fraction of the span) on both sides; equal values still get a range.
///
/// Without any finite value the range is 0 to 1.
pub fn padded_range(values: impl IntoIterator<Item = f64>, margin: f64) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values.into_iter().filter(|value| value.is_finite()) {
        (low, high) = (low.min(value), high.max(value));
    }
    if low > high {
        return (0.0, 1.0);
    }
    let largest = low.abs().max(high.abs());
    let span = high - low;
    let pad = if span > 100.0 * RESOLUTION * largest {
        margin * span
    } else if largest > 1e-250 {
        0.01 * largest
    } else {
        1.0
    };
    (low - pad, high + pad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        for (low, high) in
            [(3510.0, 5490.0), (-0.3, 0.3), (0.0, 1e-7), (-2.5e9, 1.0), (0.1, 0.7), (5.0, -1.0), (1e100, 3e100)]
        {
            for count in 1..9 {
                let ticks = Ticks::new((low, high), count);
                let inside = |tick: &f64| (low.min(high)..=low.max(high)).contains(tick);
                assert!(ticks.major.iter().chain(&ticks.minor).all(inside), "{low} {high} {count}: {ticks:?}");
                assert!(ticks.major.len() <= count + 1);
                let labels: Vec<String> = ticks.major.iter().map(|&tick| ticks.label(tick)).collect();
                let mut distinct = labels.clone();
                distinct.dedup();
                assert_eq!(labels, distinct);
            }
        }
        assert_eq!(Ticks::new((3510.0, 5490.0), 5).major, [4000.0, 4500.0, 5000.0]);
    }

    #[test]
    fn labels_have_the_decimals_they_need() {
        let ticks = Ticks::new((-0.26, 0.26), 5);
        let labels: Vec<String> = ticks.major.iter().map(|&tick| ticks.label(tick)).collect();
        assert_eq!(labels, ["\u{2212}0.2", "0", "0.2"].map(str::to_owned));
        assert_eq!(Ticks::new((0.0, 0.1), 4).label(0.05), "0.05");
        assert_eq!(Ticks::new((-1.0, 1.0), 4).label(-0.0), "0");
        assert_eq!(Ticks::new((0.0, 3e-5), 3).label(2e-5), "2e\u{2212}5");
    }

    #[test]
    fn thinned_ticks_are_all_there_and_half_of_them_long() {
        let ticks = Ticks::new((-5.0, 5.0), 5).thinned();
        assert_eq!(ticks.major, [-4.0, 0.0, 4.0]);
        assert!(ticks.minor.contains(&2.0) && ticks.minor.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Ticks::new((1.0, 3.0), 2).thinned().major, [1.0, 3.0]);
        assert!(Ticks::new((1.0, 1.0), 2).thinned().major.is_empty());
    }

    #[test]
    fn ranges_without_a_span_are_survived() {
        for range in [(5.0, 5.0), (f64::NAN, 1.0), (0.0, f64::INFINITY), (f64::MIN, f64::MAX), (1.0, 1.0 + 1e-15)] {
            assert!(Ticks::new(range, 5).major.is_empty());
        }
        assert_eq!(padded_range([f64::NAN], 0.1), (0.0, 1.0));
        assert_eq!(padded_range([0.0, 0.0], 0.1), (-1.0, 1.0));
        assert_eq!(padded_range([4000.0], 0.1), (3960.0, 4040.0));
        assert_eq!(padded_range([0.0, f64::NAN, 10.0], 0.1), (-1.0, 11.0));
    }
}
