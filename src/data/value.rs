//! Single values of headers and tables, of whatever type, on their way into another table.

use serde::{Deserialize, Serialize};

use super::fits_column::Column;
use super::sentinels::{is_nothing, known_card};

/// A value of a header key or of a table's cell.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// None.
    #[default]
    Missing,
    /// An integer, to its last digit: identifiers are longer than floating-point numbers are.
    Integer(i64),
    /// A number; finite.
    Number(f64),
    /// A text; not empty.
    Text(String),
}

impl Value {
    /// A number; missing where it is not finite.
    pub fn number(value: f64) -> Self {
        if value.is_finite() { Self::Number(value) } else { Self::Missing }
    }

    /// Whether it is a number that surveys write where they have none, in any column (-9999).
    pub(super) fn is_nothing(&self) -> bool {
        is_nothing(self.as_f64())
    }

    /// As it is, but missing where it [`Value::is_nothing`].
    pub(super) fn known(self) -> Self {
        if self.is_nothing() { Self::Missing } else { self }
    }

    /// A text; missing where it is blank or says NaN.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        match text.trim() {
            "" => Self::Missing,
            nan if nan.eq_ignore_ascii_case("nan") => Self::Missing,
            _ => Self::Text(text.trim().to_string()),
        }
    }

    /// The value of a card that has no quotes: a number, or T and F as texts; missing for the survey's numbers for nothing
    /// (-9999.99, and 99.99 in single precision).
    pub(super) fn of_card(written: &str) -> Self {
        if let Ok(integer) = written.parse::<i64>() {
            return Self::Integer(integer).known();
        }
        let number = written.replace(['D', 'd'], "E").parse().map(known_card);
        number.map_or_else(|_| Self::text(written), Self::number)
    }

    /// Cells of a CSV table: numbers where every cell that is not empty is one and would be written so, texts otherwise.
    pub(super) fn of_cells(cells: &[String]) -> Vec<Self> {
        let is_empty = |cell: &str| ["", "null", "NULL", "--"].contains(&cell);
        // Numbers that begin with a needless zero or a plus are names: 0042, +34.
        let is_plain = |cell: &str| {
            let digits = cell.trim_start_matches('-');
            let is_padded = digits.starts_with('0') && digits[1..].starts_with(|c: char| c.is_ascii_digit());
            !(digits.starts_with('+') || is_padded)
        };
        let as_number = |cell: &String| -> Option<Self> {
            match cell.trim() {
                cell if is_empty(cell) => Some(Self::Missing),
                cell if !is_plain(cell) => None,
                cell => match cell.parse::<i64>() {
                    Ok(integer) => Some(Self::Integer(integer)),
                    // Digits that no number keeps.
                    Err(_) if cell.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()) => None,
                    Err(_) => cell.parse().ok().map(Self::number),
                },
            }
        };
        let as_text = |cell: &String| if is_empty(cell.trim()) { Self::Missing } else { Self::text(cell.as_str()) };
        let numbers: Option<Vec<Self>> = cells.iter().map(as_number).collect();
        numbers.unwrap_or_else(|| cells.iter().map(as_text).collect())
    }

    /// Whether there is one.
    pub fn is_missing(&self) -> bool {
        *self == Self::Missing
    }

    /// As a number; NaN where it is none.
    pub fn as_f64(&self) -> f64 {
        match self {
            Self::Integer(value) => *value as f64,
            Self::Number(value) => *value,
            Self::Text(_) | Self::Missing => f64::NAN,
        }
    }

    /// As an integer, if it is a whole number.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            Self::Number(value) if value.fract() == 0.0 && value.abs() < 9e15 => Some(*value as i64),
            _ => None,
        }
    }

    /// As text; empty where it is missing.
    pub fn as_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(value) => value.to_string(),
            Self::Number(value) => format!("{value:?}"),
            Self::Missing => String::new(),
        }
    }
}

/// A column of values, whose type all of them decide: integers where each is one, else numbers (NaN where missing), else texts.
pub fn column(name: impl Into<String>, values: &[Value]) -> Column {
    // Beyond it, neighbours would become the same number.
    const LARGEST_EXACT: u64 = 1 << 53;
    let is_exact = |value: &Value| !matches!(value, Value::Integer(value) if value.unsigned_abs() > LARGEST_EXACT);
    let integers: Option<Vec<i64>> = values
        .iter()
        .map(|value| match value {
            Value::Integer(value) => Some(*value),
            _ => None,
        })
        .collect();
    match integers {
        Some(integers) if !values.is_empty() => Column::i64(name, integers),
        _ if values.iter().all(|value| !matches!(value, Value::Text(_)) && is_exact(value)) => {
            Column::f64(name, "", values.iter().map(Value::as_f64).collect())
        }
        _ => Column::text(name, values.iter().map(Value::as_text).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits_column::ColumnValues;

    fn cells(texts: &[&str]) -> Vec<Value> {
        Value::of_cells(&texts.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn cards_say_what_they_are() {
        for (written, expected) in [
            ("12", Value::Integer(12)),
            ("-1.5E-3", Value::Number(-1.5e-3)),
            ("1.5D3", Value::Number(1500.0)),
            ("T", Value::Text("T".into())),
            ("-9999", Value::Missing),
            ("-9999.990234375", Value::Missing),
            ("99.98999786376953", Value::Missing),
            ("99.99", Value::Number(99.99)),
            ("-12345.5", Value::Number(-12345.5)),
            ("", Value::Missing),
        ] {
            assert_eq!(Value::of_card(written), expected, "{written}");
        }
        assert_eq!((Value::text(" NaN "), Value::text(" M 15 ")), (Value::Missing, Value::Text("M 15".into())));
    }

    #[test]
    fn cells_are_numbers_only_where_all_of_a_column_are() {
        assert_eq!(cells(&["1", "", "-20"]), [Value::Integer(1), Value::Missing, Value::Integer(-20)]);
        assert_eq!(cells(&["1", "2.5", "nan"]), [Value::Integer(1), Value::Number(2.5), Value::Missing]);
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(cells(&["0042", "7", ""]), [text("0042"), text("7"), Value::Missing]);
        assert_eq!(cells(&["+34", "7"]), [text("+34"), text("7")]);
        assert_eq!(cells(&["0", "0.5", "-0.5"]), [Value::Integer(0), Value::Number(0.5), Value::Number(-0.5)]);
    }

    #[test]
    fn all_rows_decide_the_type_of_a_column() {
        let long = (1_i64 << 53) + 1;
        let integers = column("a", &[Value::Integer(1), Value::Integer(long)]);
        assert!(matches!(&integers.values, ColumnValues::I64(values) if *values == [1, long]), "{integers:?}");
        let numbers = column("a", &[Value::Integer(1), Value::Missing, Value::Number(0.5)]);
        assert_eq!([0, 1, 2].map(|row| numbers.cell(row)), ["1.0", "", "0.5"]);
        // An identifier is not rounded because another star has none.
        let texts = column("a", &[Value::Integer(long), Value::Missing]);
        assert_eq!([0, 1].map(|row| texts.cell(row)), [long.to_string(), String::new()]);
        let texts = column("a", &[Value::Text("M15".into()), Value::Integer(3)]);
        assert_eq!([0, 1].map(|row| texts.cell(row)), ["M15", "3"]);
        assert!(matches!(column("a", &[Value::Missing]).values, ColumnValues::F64(_)));
    }

    #[test]
    fn values_go_through_a_journal_as_they_are() {
        let values = [
            Value::Missing,
            Value::Integer(i64::MAX),
            Value::Number(2.0),
            Value::Number(0.1 + 0.2),
            Value::text("2.0"),
        ];
        let text = serde_json::to_string(&values).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Value>>(&text).unwrap(), values, "{text}");
    }
}
