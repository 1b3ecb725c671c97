//! How many digits of a number mean something to people, for tables in CSV.

use crate::data::fits::{Column, ColumnValues};

/// Digits that every measured number has.
const SIGNIFICANT: i32 = 5;
/// Rounding stays below this share of a number's own error.
const OF_ERROR: f64 = 1e-3;

/// How a column is written in CSV.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Digits {
    /// As it is, to the last bit.
    All,
    /// As it was given: a number of 32 bits with the digits that tell it from the next one.
    Given,
    /// To five digits.
    Significant,
    /// To five digits, and to so many that rounding is less than a thousandth of the error, which the column at this place holds.
    OfError(usize),
}

/// The cell of a row.
pub fn cell(columns: &[Column], digits: &[Digits], column: usize, row: usize) -> String {
    let Some(value) = number(&columns[column], row).filter(|value| value.is_finite() && *value != 0.0) else {
        return columns[column].cell(row);
    };
    let significant = SIGNIFICANT - 1 - value.abs().log10().floor() as i32;
    let decimals = match digits.get(column) {
        None | Some(Digits::All) => None,
        Some(Digits::Given) => {
            let short = value as f32;
            return if f64::from(short) == value { format!("{short:?}") } else { columns[column].cell(row) };
        }
        Some(Digits::Significant) => Some(significant),
        Some(Digits::OfError(error)) => match number(&columns[*error], row) {
            Some(error) if error > 0.0 && error.is_finite() => {
                Some(significant.max((-(2.0 * OF_ERROR * error).log10()).ceil() as i32))
            }
            // Nobody knows which of them mean something.
            _ => None,
        },
    };
    decimals.map_or_else(|| columns[column].cell(row), |decimals| format!("{:?}", rounded(value, decimals)))
}

/// A number rounded to so many decimals; the nearest one of those that are written so.
fn rounded(value: f64, decimals: i32) -> f64 {
    match usize::try_from(decimals) {
        Ok(decimals) => format!("{value:.decimals$}").parse().unwrap_or(value),
        Err(_) => {
            let unit = 10_f64.powi(-decimals);
            (value / unit).round() * unit
        }
    }
}

fn number(column: &Column, row: usize) -> Option<f64> {
    match &column.values {
        ColumnValues::F64(values) => values.get(row).copied(),
        ColumnValues::F32(values) => values.get(row).copied().map(f64::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_less_than_a_thousandth_of_the_error() {
        let values = vec![4512.345678912345, -0.23456789, 4512.345678912345, 4512.345678912345, 0.0, f64::NAN];
        let errors = vec![5.0, 0.0123456789, 250.0, f64::NAN, 1.0, 1.0];
        let columns = [Column::f64("teff", "K", values.clone()), Column::f64("error", "K", errors.clone())];
        let digits = [Digits::OfError(1), Digits::Significant];
        let written: Vec<String> = (0..6).map(|row| cell(&columns, &digits, 0, row)).collect();
        assert_eq!(written, ["4512.35", "-0.23457", "4512.3", "4512.345678912345", "0.0", ""]);
        for row in 0..3 {
            let back: f64 = written[row].parse().unwrap();
            assert!((back - values[row]).abs() <= 1e-3 * errors[row], "{back}");
        }
        assert_eq!([0, 1, 3].map(|row| cell(&columns, &digits, 1, row)), ["5.0", "0.012346", ""]);
    }

    #[test]
    fn other_columns_stay_as_they_are_and_large_numbers_lose_only_digits() {
        let third = 1.0 / 3.0;
        let columns =
            [Column::f64("a", "", vec![third]), Column::i64("n", vec![123_456_789]), Column::f32("b", "", vec![0.1])];
        let given = [Column::f64("c", "", vec![f64::from(-0.2345679_f32), third])];
        assert_eq!([0, 1].map(|row| cell(&given, &[Digits::Given], 0, row)), ["-0.2345679", "0.3333333333333333"]);
        let digits = [Digits::All, Digits::Significant, Digits::Significant];
        assert_eq!(
            [0, 1, 2].map(|column| cell(&columns, &digits, column, 0)),
            ["0.3333333333333333", "123456789", "0.1"]
        );
        assert_eq!((rounded(123_456_789.0, -4), rounded(1.234_567_8e-9, 13)), (123_460_000.0, 1.2346e-9));
    }
}
