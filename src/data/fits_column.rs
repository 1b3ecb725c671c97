//! Columns of tables to be written.

use std::borrow::Cow;

use super::csv_text::shielded;

/// Bytes that text takes in each row at most.
const WIDEST_TEXT: usize = 4096;

/// A column of a table to be written.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name (TTYPE).
    pub name: String,
    /// Unit (TUNIT), empty for none.
    pub unit: Cow<'static, str>,
    /// The values.
    pub values: ColumnValues,
}

/// The values of a [`Column`].
#[derive(Debug, Clone)]
pub enum ColumnValues {
    /// Text, as wide as its longest entry; what is longer than any path is cut.
    Text(Vec<String>),
    /// Text of a width the format prescribes; longer entries are cut.
    FixedText(usize, Vec<String>),
    /// 64-bit floating point.
    F64(Vec<f64>),
    /// 32-bit floating point.
    F32(Vec<f32>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// As many 64-bit floating-point numbers in each row as the first field says, row after row.
    Vectors(usize, Vec<f64>),
    /// The same of 32-bit integers.
    IntegerVectors(usize, Vec<i32>),
    /// The same of 32-bit floating-point numbers.
    F32Vectors(usize, Vec<f32>),
    /// The same of bytes.
    Bytes(usize, Vec<u8>),
    /// True or false.
    Logicals(Vec<bool>),
}

impl Column {
    /// A floating-point column.
    pub fn f64(name: impl Into<String>, unit: impl Into<Cow<'static, str>>, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit: unit.into(), values: ColumnValues::F64(values) }
    }

    /// A single-precision column.
    pub fn f32(name: impl Into<String>, unit: impl Into<Cow<'static, str>>, values: Vec<f32>) -> Self {
        Self { name: name.into(), unit: unit.into(), values: ColumnValues::F32(values) }
    }

    /// A text column.
    pub fn text(name: impl Into<String>, values: Vec<String>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::Text(values) }
    }

    /// A text column of prescribed width.
    pub fn fixed_text(name: impl Into<String>, width: usize, values: Vec<String>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::FixedText(width, values) }
    }

    /// An integer column.
    pub fn i64(name: impl Into<String>, values: Vec<i64>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::I64(values) }
    }

    /// A column of 32-bit integers.
    pub fn i32(name: impl Into<String>, values: Vec<i32>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::I32(values) }
    }

    /// A column with `width` numbers in each row.
    pub fn vectors(name: impl Into<String>, width: usize, values: Vec<f64>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::Vectors(width, values) }
    }

    /// A column with `width` 32-bit integers in each row.
    pub fn integer_vectors(name: impl Into<String>, width: usize, values: Vec<i32>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::IntegerVectors(width, values) }
    }

    /// A column with `width` single-precision numbers in each row.
    pub fn f32_vectors(name: impl Into<String>, width: usize, values: Vec<f32>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::F32Vectors(width, values) }
    }

    /// A column with `width` bytes in each row.
    pub fn bytes(name: impl Into<String>, width: usize, values: Vec<u8>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::Bytes(width, values) }
    }

    /// A column of logical values.
    pub fn logicals(name: impl Into<String>, values: Vec<bool>) -> Self {
        Self { name: name.into(), unit: "".into(), values: ColumnValues::Logicals(values) }
    }

    /// Numbers in each row, of a column that has vectors.
    pub(super) fn width(&self) -> Option<usize> {
        match &self.values {
            ColumnValues::Vectors(width, _)
            | ColumnValues::IntegerVectors(width, _)
            | ColumnValues::F32Vectors(width, _)
            | ColumnValues::Bytes(width, _) => Some(*width),
            _ => None,
        }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.values {
            ColumnValues::Text(values) | ColumnValues::FixedText(_, values) => values.len(),
            ColumnValues::F64(values) => values.len(),
            ColumnValues::F32(values) => values.len(),
            ColumnValues::I64(values) => values.len(),
            ColumnValues::I32(values) => values.len(),
            ColumnValues::Vectors(width, values) => values.len().checked_div(*width).unwrap_or(0),
            ColumnValues::IntegerVectors(width, values) => values.len().checked_div(*width).unwrap_or(0),
            ColumnValues::F32Vectors(width, values) => values.len().checked_div(*width).unwrap_or(0),
            ColumnValues::Bytes(width, values) => values.len().checked_div(*width).unwrap_or(0),
            ColumnValues::Logicals(values) => values.len(),
        }
    }

    /// Whether the column has no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value in a row as a cell of a CSV table: a number comes back from it to the last bit, and one that is not
    /// finite is empty, which every reader takes for a missing value. Texts are [`shielded`].
    pub fn cell(&self, row: usize) -> String {
        match &self.values {
            ColumnValues::Text(values) | ColumnValues::FixedText(_, values) => shielded(&values[row]),
            ColumnValues::I64(values) => values[row].to_string(),
            ColumnValues::I32(values) => values[row].to_string(),
            ColumnValues::F64(values) if values[row].is_finite() => format!("{:?}", values[row]),
            ColumnValues::F32(values) if values[row].is_finite() => format!("{:?}", values[row]),
            ColumnValues::F64(_) | ColumnValues::F32(_) => String::new(),
            ColumnValues::Vectors(width, values) => spaced(&values[row * width..(row + 1) * width]),
            ColumnValues::IntegerVectors(width, values) => spaced(&values[row * width..(row + 1) * width]),
            ColumnValues::F32Vectors(width, values) => spaced(&values[row * width..(row + 1) * width]),
            ColumnValues::Bytes(width, values) => spaced(&values[row * width..(row + 1) * width]),
            ColumnValues::Logicals(values) => values[row].to_string(),
        }
    }

    /// Its TFORM.
    pub(super) fn form(&self) -> String {
        match &self.values {
            ColumnValues::Text(values) => {
                let longest = values.iter().map(String::len).max().unwrap_or(0);
                format!("{}A", longest.clamp(1, WIDEST_TEXT))
            }
            ColumnValues::FixedText(width, _) => format!("{width}A"),
            ColumnValues::F64(_) => "D".into(),
            ColumnValues::F32(_) => "E".into(),
            ColumnValues::I64(_) => "K".into(),
            ColumnValues::I32(_) => "J".into(),
            ColumnValues::Vectors(width, _) => format!("{width}D"),
            ColumnValues::IntegerVectors(width, _) => format!("{width}J"),
            ColumnValues::F32Vectors(width, _) => format!("{width}E"),
            ColumnValues::Bytes(width, _) => format!("{width}B"),
            ColumnValues::Logicals(_) => "L".into(),
        }
    }
}

fn spaced<T: std::fmt::Debug>(numbers: &[T]) -> String {
    numbers.iter().map(|number| format!("{number:?}")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_what_csv_readers_expect() {
        assert_eq!(Column::f64("x", "", vec![0.1, f64::NAN]).cell(0), "0.1");
        assert_eq!(Column::f32("x", "", vec![f32::NAN]).cell(0), "");
        assert_eq!(Column::text("id", vec!["=1+1".into()]).cell(0), "'=1+1");
        assert_eq!(Column::logicals("x", vec![true, false]).cell(1), "false");
        assert_eq!(Column::vectors("x", 2, vec![1.0, 2.5, 3.0, 4.0]).cell(1), "3.0 4.0");
    }
}
