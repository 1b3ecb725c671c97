//! Numbers that stand for "not measured" in tables of stars, and values too odd to pass without a word.
//!
//! In any column -9999 is none, as surveys write it; in columns of labels and their errors other numbers of nines are none (-999, 99.99,
//! -9.99) where they lie far from the others. How many is said of both. Every other number is one, whatever its size.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use crate::stats::robust::{median, robust_scatter};

/// Nines are a measurement only among their like: within so many robust standard deviations of the other values.
const AMONG_OTHERS: f64 = 6.0;
/// Further off than this a value is odd, whatever it is.
const ODD: f64 = 30.0;

/// What is looked for in every column.
const NOTHING: &str = "-9999";
/// What is looked for in columns of labels.
const NINES: &str = "nines";
/// What is looked for in columns of identifiers.
const NAMES: &str = "names";

/// Whether surveys write this number where they have none, in any column: -9999, with whatever stands behind the point (-9999.99,
/// -9999.990234375 in single precision), or more nines before it (-99999).
pub(super) fn is_nothing(value: f64) -> bool {
    value <= -9999.0 && (value > -10_000.0 || nines(value).is_some())
}

/// Whether a text says that there is none.
pub(super) fn is_missing(text: &str) -> bool {
    matches!(text, "" | "null" | "NULL" | "--")
}

/// Whether a text in a column of identifiers is none: what [`is_missing`], a number that [`is_nothing`], or -1.
fn is_no_name(text: &str) -> bool {
    text == "-1" || is_missing(text) || text.parse().is_ok_and(|number: f64| number.is_nan() || is_nothing(number))
}

/// A value of any column; NaN where it is not finite, and for what [`is_nothing`].
pub(super) fn known(value: f64) -> f64 {
    if value.is_finite() && !is_nothing(value) { value } else { f64::NAN }
}

/// A value of a header key of the survey's spectra, whose other number for nothing is 99.99 in single precision, written to the
/// last bit of that.
pub(super) fn known_card(value: f64) -> f64 {
    if value == f64::from(99.99_f32) { f64::NAN } else { known(value) }
}

/// What was noticed in the columns of a table, to be said once.
#[derive(Debug, Default)]
pub(super) struct Remarks {
    /// Rows of each column that were looked through, by what was looked for: a column may be read several times.
    seen: BTreeMap<(String, &'static str), usize>,
    nothing: BTreeMap<String, (usize, f64)>,
    missing: BTreeMap<(String, String), usize>,
    odd: BTreeMap<String, (usize, f64)>,
    byte_texts: BTreeMap<String, usize>,
    nameless: BTreeMap<String, (usize, String)>,
}

impl Remarks {
    /// Whether these rows of a column are looked through for the first time; blocks come in the order of the table.
    fn is_first_look(&mut self, column: &str, sought: &'static str, rows: &Range<usize>) -> bool {
        let end = self.seen.entry((column.to_string(), sought)).or_default();
        let is_first = rows.start >= *end;
        *end = rows.end.max(*end);
        is_first
    }

    /// Counts the values of some rows of a column that stand for nothing.
    pub fn count_nothing(&mut self, column: &str, rows: &Range<usize>, values: impl Iterator<Item = f64>) {
        if self.is_first_look(column, NOTHING, rows) {
            for value in values.filter(|value| is_nothing(*value)) {
                self.nothing.entry(column.to_string()).or_insert((0, value)).0 += 1;
            }
        }
    }

    /// Makes the sentinels in some rows of a column NaN: values written in nines alone (-99, -999.99, 9999, 99.9) that lie far
    /// from the others; the errors of labels among them where there are others at all.
    pub fn strike(&mut self, column: &str, rows: &Range<usize>, values: &mut [f64], are_errors: bool) {
        let is_first = usize::from(self.is_first_look(column, NINES, rows));
        let others: Vec<f64> = values.iter().copied().filter(|v| v.is_finite() && nines(*v).is_none()).collect();
        let (middle, scatter) = (median(&others), robust_scatter(&others));
        let is_far = |value: f64, limit: f64| match others.len() {
            0..3 => !are_errors,
            _ => (value - middle).abs() > limit * scatter,
        };
        for value in values.iter_mut().filter(|value| value.is_finite()) {
            match nines(*value) {
                Some(text) if is_far(*value, AMONG_OTHERS) => {
                    *self.missing.entry((column.to_string(), text)).or_default() += is_first;
                    *value = f64::NAN;
                }
                None if !are_errors && others.len() >= 10 && scatter > 0.0 && is_far(*value, ODD) => {
                    self.odd.entry(column.to_string()).or_insert((0, *value)).0 += is_first;
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

    /// Makes texts empty that are no identifiers, and counts those that say so by something else.
    pub fn strike_names(&mut self, column: &str, rows: &Range<usize>, texts: &mut [String]) {
        let is_first = usize::from(self.is_first_look(column, NAMES, rows));
        for text in texts.iter_mut().filter(|text| is_no_name(text.trim())) {
            let written = std::mem::take(text);
            if !written.is_empty() && written != "-1" {
                self.nameless.entry(column.to_string()).or_insert((0, written)).0 += is_first;
            }
        }
    }

    /// Says on the log what was noticed, and forgets it.
    pub fn say(&mut self, path: &Path) {
        let path = path.display();
        for (column, (n, value)) in std::mem::take(&mut self.nothing) {
            let (value, of) = (written(value), self.seen.get(&(column.clone(), NOTHING)).copied().unwrap_or(n));
            tracing::info!("{path}: column {column}: {n} of {of} values are {value} and count as missing");
        }
        for ((column, value), n) in std::mem::take(&mut self.missing).into_iter().filter(|(_, n)| *n > 0) {
            let of = self.seen.get(&(column.clone(), NINES)).copied().unwrap_or(n);
            tracing::warn!(
                "{path}: column {column}: {n} of {of} values are {value}, far from the others, and count as missing"
            );
        }
        for (column, (n, value)) in std::mem::take(&mut self.odd).into_iter().filter(|(_, (n, _))| *n > 0) {
            tracing::warn!(
                "{path}: column {column}: {n} values lie more than {ODD} standard deviations off the others (such as {value}); cut them out with [selection.ranges] if they are no measurements"
            );
        }
        for (column, (n, text)) in std::mem::take(&mut self.nameless).into_iter().filter(|(_, (n, _))| *n > 0) {
            let of = self.seen.get(&(column.clone(), NAMES)).copied().unwrap_or(n);
            tracing::warn!(
                "{path}: column {column}: {n} of {of} identifiers are {text:.40} or the like, and name no star; these are called by their rows"
            );
        }
        for (column, n) in std::mem::take(&mut self.byte_texts) {
            tracing::warn!("{path}: column {column}: {n} texts came as b'...', and are read without it");
        }
    }
}

/// A number with the digits of the precision that it has: a single-precision 99.99 is not written in nines in double precision.
fn written(value: f64) -> String {
    let narrow = value as f32;
    if f64::from(narrow) == value { narrow.to_string() } else { value.to_string() }
}

/// A number's digits, if they are two nines or more and nothing else; below ten three or more.
fn nines(value: f64) -> Option<String> {
    let text = written(value);
    let digits = text.trim_start_matches('-');
    let is_large = value.abs() >= if digits.len() > "9.9".len() { 9.9 } else { 90.0 };
    (is_large && digits.chars().all(|c| c == '9' || c == '.')).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(values: &[f64]) -> (Vec<usize>, Remarks) {
        let (mut values, mut remarks) = (values.to_vec(), Remarks::default());
        remarks.strike("x", &(0..values.len()), &mut values, false);
        (values.iter().enumerate().filter(|(_, value)| value.is_nan()).map(|(row, _)| row).collect(), remarks)
    }

    #[test]
    fn only_what_surveys_write_for_nothing_is_nothing_in_any_column() {
        for nothing in [-9999.0, f64::from(-9999.99_f32), -9999.99, -9999.9902, -99999.0, -999_999.0] {
            assert!(is_nothing(nothing) && known(nothing).is_nan() && known_card(nothing).is_nan(), "{nothing}");
        }
        for number in [-9990.5, -9998.0, -10_000.0, -12_345.6, -1e6, -999.0, 99.99, f64::from(99.99_f32), 9999.0, 0.0] {
            assert_eq!(known(number), number);
        }
        assert!(known_card(f64::from(99.99_f32)).is_nan() && known(f64::INFINITY).is_nan());
        assert_eq!(known_card(99.99), 99.99, "a right ascension is one");
    }

    #[test]
    fn what_counts_as_missing_is_counted_once_however_often_it_is_read() {
        let mut remarks = Remarks::default();
        for rows in [0..3, 0..3, 3..5] {
            remarks.count_nothing("ra", &rows, [-9999.0, 1.0, -9999.5].into_iter().take(rows.len()));
            remarks.strike("ra", &rows, &mut [0.1, 0.2, 0.15, 0.1, 99.9][..rows.len()], false);
        }
        assert_eq!(remarks.nothing["ra"], (3, -9999.0));
        assert_eq!(remarks.seen[&("ra".to_string(), NOTHING)], 5);
        let labels = [0.1, 0.2, 0.15, 0.1, 99.9];
        for _ in 0..2 {
            remarks.strike("fe_h", &(0..5), &mut labels.clone(), false);
        }
        assert_eq!(remarks.missing[&("fe_h".to_string(), "99.9".to_string())], 1);
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
        // Two nines may be a magnitude; three are none.
        assert_eq!(struck(&[0.1, -9.99, -0.2, -9.999, f64::from(9.999_f32), 0.05, -9.9, -0.4]).0, [1, 3, 4]);
    }

    #[test]
    fn errors_of_nines_are_missing_beside_others_and_none_of_them_is_odd() {
        let (mut errors, mut alike) = ([0.05, 0.07, 99.99, 0.04, 3.0], [99.0; 5]);
        let mut remarks = Remarks::default();
        remarks.strike("logg_err", &(0..5), &mut errors, true);
        remarks.strike("teff_err", &(0..5), &mut alike, true);
        assert!(errors[2].is_nan() && errors[4] == 3.0 && alike == [99.0; 5] && remarks.odd.is_empty());
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
    fn what_names_no_star_is_no_name_and_is_counted() {
        let mut remarks = Remarks::default();
        let written = ["-9999", "nan", "-9999.0", "null", "NaN", "-1", "", "0", "-9998", "-11", "nancy", "9999"];
        for _ in 0..2 {
            let mut texts = written.map(String::from);
            remarks.strike_names("id", &(0..texts.len()), &mut texts);
            assert!(texts[..7].iter().all(String::is_empty) && texts[7..] == written[7..], "{texts:?}");
        }
        // None, and -1 as survey tables have it, are usual.
        assert_eq!(remarks.nameless["id"], (5, "-9999".to_string()));
    }

    #[test]
    fn bytes_of_python_lose_their_mark() {
        let mut texts = ["b'2M00+01'", "b\"x\"", "b'", "bob"].map(String::from);
        Remarks::default().strip_bytes("id", &mut texts);
        assert_eq!(texts, ["2M00+01", "x", "b'", "bob"]);
    }
}
