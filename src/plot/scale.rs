//! Linear and logarithmic axes: where a value goes, and the ticks of a range.

use super::axes::{Marks, linear};

/// Positive values that span more than this factor are told apart on a logarithmic axis only.
const MOST_LINEAR_SPAN: f64 = 30.0;

/// How values become coordinates of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// A value is its coordinate.
    Linear,
    /// The coordinate is the decimal logarithm.
    Log,
}

impl Scale {
    /// Logarithmic for positive values of very different size.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().filter(|value| value.is_finite()) {
            (low, high) = (low.min(value), high.max(value));
        }
        if low > 0.0 && high > MOST_LINEAR_SPAN * low { Self::Log } else { Self::Linear }
    }

    /// Coordinate of a value; not finite for values without a logarithm.
    pub fn place(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Log => value.log10(),
        }
    }

    /// Ticks of a range of coordinates to choose from, the densest first.
    pub fn marks(self, range: (f64, f64)) -> Vec<Marks> {
        match self {
            Self::Linear => linear(range),
            Self::Log => {
                let labelled: [(&[i32], i32); 6] =
                    [(&[1, 2, 5], 1), (&[1, 3], 1), (&[1], 1), (&[1], 2), (&[1], 5), (&[1], 20)];
                labelled.iter().map(|(digits, every)| decades(range, digits, *every)).collect()
            }
        }
    }
}

/// Long ticks at these digits of every so-manyth decade, short ones at the other digits.
fn decades((low, high): (f64, f64), digits: &[i32], every: i32) -> Marks {
    let (mut major, mut minor) = (Vec::new(), Vec::new());
    let inside = |position: f64| (low - 1e-9..=high + 1e-9).contains(&position);
    for exponent in low.max(-300.0).floor() as i32..=high.min(300.0).ceil() as i32 {
        for digit in 1..10 {
            let position = f64::from(exponent) + f64::from(digit).log10();
            if !inside(position) {
                continue;
            }
            if digits.contains(&digit) && exponent.rem_euclid(every) == 0 {
                major.push((position, label(digit, exponent)));
            } else if every == 1 {
                minor.push(position);
            }
        }
    }
    Marks { major, minor }
}

/// `digit` times ten to the `exponent`.
fn label(digit: i32, exponent: i32) -> String {
    match exponent {
        0..=4 => format!("{digit}{}", "0".repeat(exponent as usize)),
        -4..=-1 => format!("0.{}{digit}", "0".repeat((-exponent - 1) as usize)),
        _ => format!("{digit}e{exponent}").replace('-', "\u{2212}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_positive_values_of_very_different_size_are_logarithmic() {
        assert_eq!(Scale::of([25.0, 800.0]), Scale::Log);
        assert_eq!(Scale::of([25.0, 700.0]), Scale::Linear);
        assert_eq!(Scale::of([0.0, 1e9]), Scale::Linear);
        assert_eq!(Scale::of([-1.0, 1e9]), Scale::Linear);
        assert_eq!(Scale::of([f64::NAN, 1.0, f64::INFINITY]), Scale::Linear);
        assert_eq!(Scale::of([]), Scale::Linear);
        assert_eq!((Scale::Log.place(100.0), Scale::Linear.place(100.0)), (2.0, 100.0));
    }

    #[test]
    fn ticks_of_decades_are_labelled_as_numbers() {
        let labels = |marks: &Marks| marks.major.iter().map(|(_, label)| label.clone()).collect::<Vec<_>>();
        let all = Scale::Log.marks((-2.0, 1.1));
        assert_eq!(labels(&all[0]), ["0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1", "2", "5", "10"]);
        assert_eq!(labels(&all[2]), ["0.01", "0.1", "1", "10"]);
        assert!(all[2].minor.iter().any(|tick| (tick - 0.03_f64.log10()).abs() < 1e-9));
        assert_eq!(labels(&Scale::Log.marks((4.0, 6.0))[2]), ["10000", "1e5", "1e6"]);
        assert_eq!(labels(&Scale::Log.marks((-6.0, -4.0))[2]), ["1e\u{2212}6", "1e\u{2212}5", "0.0001"]);
    }
}
