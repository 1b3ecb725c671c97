//! Numbers that stand for "not measured" in tables of stars (-999, 99.99, ...), and values too odd to pass without a word.

use std::collections::BTreeMap;
use std::path::Path;

use crate::stats::robust::{median, robust_scatter};

/// Nines are a measurement only among their like: within so many robust standard deviations of the other values.
const AMONG_OTHERS: f64 = 6.0;
/// Further off than this a value is odd, whatever it is.
const ODD: f64 = 30.0;

/// A value of a header or table; NaN for what the survey writes where it has none: NaN, -9999.99, 99.99 (as f32).
pub(super) fn known(value: f64) -> f64 {
    let is_missing = !value.is_finite() || value < -9990.0 || value as f32 == 99.99_f32;
    if is_missing { f64::NAN } else { value }
}

/// What was noticed in the columns of a table, to be said once.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    missing: BTreeMap<(String, String), usize>,
    odd: BTreeMap<String, (usize, f64)>,
    byte_texts: BTreeMap<String, usize>,
}

impl Remarks {
    /// Makes the sentinels of a column NaN: values written in nines alone (-99, -999.99, 9999, 99.9) that lie far from the
    /// others.
    pub fn strike(&mut self, column: &str, values: &mut [f64]) {
        let others: Vec<f64> = values.iter().copied().filter(|v| v.is_finite() && nines(*v).is_none()).collect();
        let (middle, scatter) = (median(&others), robust_scatter(&others));
        let is_far = |value: f64, limit: f64| others.len() < 3 || (value - middle).abs() > limit * scatter;
        for value in values.iter_mut().filter(|value| value.is_finite()) {
            match nines(*value) {
                Some(text) if is_far(*value, AMONG_OTHERS) => {
                    *self.missing.entry((column.to_string(), text)).or_default() += 1;
                    *value = f64::NAN;
                }
                None if others.len() >= 10 && scatter > 0.0 && is_far(*value, ODD) => {
                    self.odd.entry(column.to_string()).or_insert((0, *value)).0 += 1;
                }
                _ => {}
            }
        }
    }

    /// Takes texts out of Python's `b'...'`.
    pub fn strip_bytes(&mut self, column: &str, texts: &mut [String]) {
        for text in texts {
            let inner = ["b'", "b\""].iter().find_map(|open| text.strip_prefix(open)?.strip_suffix(&open[1..]));
            if let Some(inner) = inner.map(str::to_string) {
                *text = inner;
                *self.byte_texts.entry(column.to_string()).or_default() += 1;
            }
        }
    }

    /// Says on the log what was noticed, and forgets it.
    pub fn say(&mut self, path: &Path) {
        let path = path.display();
        for ((column, value), n) in std::mem::take(&mut self.missing) {
            tracing::warn!("{path}: column {column}: {n} values of {value} are taken for missing");
        }
        for (column, (n, value)) in std::mem::take(&mut self.odd) {
            tracing::warn!(
                "{path}: column {column}: {n} values lie more than {ODD} standard deviations off the others (such as {value}); cut them out with [selection.ranges] if they are no measurements"
            );
        }
        for (column, n) in std::mem::take(&mut self.byte_texts) {
            tracing::warn!("{path}: column {column}: {n} texts came as b'...', and are read without it");
        }
    }
}

/// A number's digits, if they are two nines or more and nothing else.
fn nines(value: f64) -> Option<String> {
    // A single-precision 99.99 is not written in nines in double precision.
    let narrow = value as f32;
    let text = if f64::from(narrow) == value { narrow.to_string() } else { value.to_string() };
    let digits = text.trim_start_matches('-');
    (value.abs() >= 90.0 && digits.chars().all(|c| c == '9' || c == '.')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(values: &[f64]) -> (Vec<usize>, Remarks) {
        let (mut values, mut remarks) = (values.to_vec(), Remarks::default());
        remarks.strike("x", &mut values);
        (values.iter().enumerate().filter(|(_, value)| value.is_nan()).map(|(row, _)| row).collect(), remarks)
    }

    #[test]
    fn nines_far_from_the_others_are_missing() {
        let giants = [4500.0, 4300.0, 4800.0, 5000.0, 4100.0, -999.0, 9999.0, f64::from(99.99_f32), 4999.0, 0.0];
        let (rows, remarks) = struck(&giants);
        assert_eq!(rows, [5, 6, 7]);
        assert_eq!(remarks.missing.keys().map(|key| key.1.as_str()).collect::<Vec<_>>(), ["-999", "99.99", "9999"]);
        // A velocity among velocities, and a hot star among hot stars.
        assert!(struck(&[-120.0, 40.0, -99.0, 10.0, -60.0, 80.0]).0.is_empty());
        assert!(struck(&[9000.0, 11000.0, 9999.0, 10500.0, 9500.0]).0.is_empty());
        assert_eq!(struck(&[0.1, -0.2, -99.9, 0.05, -0.4]).0, [2]);
    }

    #[test]
    fn odd_values_are_kept_and_named() {
        let mut values: Vec<f64> = (0..40).map(|n| 4500.0 + 10.0 * f64::from(n)).collect();
        values.push(1e6);
        let (rows, remarks) = struck(&values);
        assert!(rows.is_empty());
        assert_eq!(remarks.odd["x"], (1, 1e6));
    }

    #[test]
    fn bytes_of_python_lose_their_mark() {
        let mut texts = ["b'2M00+01'", "b\"x\"", "b'", "bob"].map(String::from);
        Remarks::default().strip_bytes("id", &mut texts);
        assert_eq!(texts, ["2M00+01", "x", "b'", "bob"]);
    }
}
