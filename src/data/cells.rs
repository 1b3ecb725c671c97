//! The cells of one column, as its file has them, and what they are as numbers, flags and texts.

use std::ops::Range;

use super::csv_text::unshielded;
use super::sentinels::is_missing;
use super::value::Value;

/// A column's cells, whatever the kind of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cells {
    /// As they are written in a table of texts.
    Texts(Vec<String>),
    /// NaN where missing.
    Numbers(Vec<f64>),
    /// Whole numbers.
    Integers(Vec<Option<i64>>),
    /// Yes, no, or neither.
    Booleans(Vec<Option<bool>>),
    /// No cell holds one value; what they hold instead ("57 values a row").
    Others(String),
}

/// A cell that is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Odd {
    /// The row of the range, from 0, and what stands there.
    Cell(usize, String),
    /// All of them: what they hold.
    Column(String),
}

impl Cells {
    /// Unsigned integers: as such, or as their digits where one is too large for that.
    pub fn of_unsigned(cells: Vec<Option<u64>>) -> Self {
        match cells.iter().map(|cell| cell.map(i64::try_from).transpose()).collect() {
            Ok(cells) => Self::Integers(cells),
            // Only as digits they are whole.
            Err(_) => Self::Texts(cells.iter().map(|cell| cell.map_or_else(String::new, |n| n.to_string())).collect()),
        }
    }

    /// These cells and those of the rows behind them: integers become their digits where others had to.
    pub fn and(self, more: Self) -> Self {
        match (self, more) {
            (Self::Texts(cells), Self::Texts(more)) => Self::Texts([cells, more].concat()),
            (Self::Numbers(cells), Self::Numbers(more)) => Self::Numbers([cells, more].concat()),
            (Self::Integers(cells), Self::Integers(more)) => Self::Integers([cells, more].concat()),
            (Self::Booleans(cells), Self::Booleans(more)) => Self::Booleans([cells, more].concat()),
            (Self::Others(what), _) | (_, Self::Others(what)) => Self::Others(what),
            (cells, more) => match (cells.texts(0..cells.len()), more.texts(0..more.len())) {
                (Ok(cells), Ok(more)) => Self::Texts([cells, more].concat()),
                _ => Self::Others("values of several types".into()),
            },
        }
    }

    /// Number of cells; none where they hold no single values.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(cells) => cells.len(),
            Self::Numbers(cells) => cells.len(),
            Self::Integers(cells) => cells.len(),
            Self::Booleans(cells) => cells.len(),
            Self::Others(_) => 0,
        }
    }

    /// Some rows as numbers: NaN where missing, 1 and 0 for yes and no.
    ///
    /// # Errors
    /// The first text that is no number.
    pub fn numbers(&self, rows: Range<usize>) -> Result<Vec<f64>, Odd> {
        match self {
            Self::Texts(cells) => each(&cells[rows], |text| match truth(text) {
                _ if is_missing(text) => Some(f64::NAN),
                Some(truth) => Some(f64::from(u8::from(truth))),
                None => text.parse().ok(),
            }),
            Self::Numbers(cells) => Ok(cells[rows].to_vec()),
            Self::Integers(cells) => Ok(cells[rows].iter().map(|cell| cell.map_or(f64::NAN, |n| n as f64)).collect()),
            Self::Booleans(cells) => {
                Ok(cells[rows].iter().map(|cell| cell.map_or(f64::NAN, |yes| f64::from(u8::from(yes)))).collect())
            }
            Self::Others(what) => Err(Odd::Column(what.clone())),
        }
    }

    /// Some rows as the bits of flags; 0 where missing.
    ///
    /// # Errors
    /// The first cell that is no whole number.
    pub fn flags(&self, rows: Range<usize>) -> Result<Vec<i64>, Odd> {
        match self {
            Self::Texts(cells) => each(&cells[rows], |text| match truth(text) {
                _ if is_missing(text) => Some(0),
                Some(truth) => Some(i64::from(truth)),
                // In flags, and not in measurements, where they may stand for something else.
                None if ["T", "t"].contains(&text.as_str()) => Some(1),
                None if ["F", "f"].contains(&text.as_str()) => Some(0),
                None => text.parse().ok().or_else(|| whole(text.parse().ok()?)),
            }),
            Self::Numbers(cells) => each(&cells[rows], |number| whole(*number)),
            Self::Integers(cells) => Ok(cells[rows].iter().map(|cell| cell.unwrap_or(0)).collect()),
            Self::Booleans(cells) => Ok(cells[rows].iter().map(|cell| i64::from(cell.unwrap_or(false))).collect()),
            Self::Others(what) => Err(Odd::Column(what.clone())),
        }
    }

    /// Some rows as texts, empty where missing; whole numbers as their digits.
    ///
    /// # Errors
    /// Floating-point numbers are no texts.
    pub fn texts(&self, rows: Range<usize>) -> Result<Vec<String>, Odd> {
        match self {
            Self::Texts(cells) => Ok(cells[rows].iter().map(|cell| unshielded(cell).to_string()).collect()),
            Self::Numbers(_) => Err(Odd::Column("floating-point numbers".into())),
            Self::Integers(cells) => {
                Ok(cells[rows].iter().map(|cell| cell.map_or_else(String::new, |n| n.to_string())).collect())
            }
            Self::Booleans(cells) => {
                Ok(cells[rows].iter().map(|cell| cell.map_or_else(String::new, |yes| yes.to_string())).collect())
            }
            Self::Others(what) => Err(Odd::Column(what.clone())),
        }
    }

    /// Some rows as they are.
    ///
    /// # Errors
    /// Vectors are no values.
    pub fn values(&self, rows: Range<usize>) -> Result<Vec<Value>, Odd> {
        Ok(match self {
            Self::Texts(_) => Value::of_cells(&self.texts(rows)?),
            Self::Numbers(cells) => cells[rows].iter().map(|cell| Value::number(*cell)).collect(),
            Self::Integers(cells) => {
                cells[rows].iter().map(|cell| cell.map_or(Value::Missing, Value::Integer)).collect()
            }
            Self::Booleans(cells) => {
                let word = |cell: &Option<bool>| cell.map_or(Value::Missing, |yes| Value::text(yes.to_string()));
                cells[rows].iter().map(word).collect()
            }
            Self::Others(what) => return Err(Odd::Column(what.clone())),
        })
    }
}

fn each<T: ToString, V>(cells: &[T], read: impl Fn(&T) -> Option<V>) -> Result<Vec<V>, Odd> {
    let odd = |(row, cell): (usize, &T)| read(cell).ok_or_else(|| Odd::Cell(row, cell.to_string()));
    cells.iter().enumerate().map(odd).collect()
}

/// Yes and no as programs write them.
fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Flags may be written as floating-point numbers (512.0); 0 where not a number.
fn whole(number: f64) -> Option<i64> {
    match number {
        number if number.is_nan() => Some(0),
        number => (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cells: &[&str]) -> Cells {
        Cells::Texts(cells.iter().map(|cell| cell.to_string()).collect())
    }

    #[test]
    fn every_kind_of_cell_is_a_flag_if_it_is_whole() {
        let expected = vec![3, 0, 1];
        for cells in [
            texts(&["3", "", "true"]),
            texts(&["3.0", "nan", "1"]),
            Cells::Numbers(vec![3.0, f64::NAN, 1.0]),
            Cells::Integers(vec![Some(3), None, Some(1)]),
        ] {
            assert_eq!(cells.flags(0..3).unwrap(), expected, "{cells:?}");
            let numbers = cells.numbers(0..3).unwrap();
            assert!(numbers[0] == 3.0 && numbers[1].is_nan() && numbers[2] == 1.0, "{cells:?}");
        }
        let booleans = Cells::Booleans(vec![Some(true), None, Some(false)]);
        assert_eq!(booleans.flags(0..3).unwrap(), [1, 0, 0]);
        assert!(booleans.numbers(1..2).unwrap()[0].is_nan());
        assert_eq!(texts(&["1", "0.5"]).flags(0..2), Err(Odd::Cell(1, "0.5".into())));
        assert_eq!(Cells::Numbers(vec![0.5]).flags(0..1), Err(Odd::Cell(0, "0.5".into())));
    }

    #[test]
    fn digits_of_identifiers_are_kept_and_numbers_are_no_names() {
        let long = i64::MAX;
        assert_eq!(Cells::Integers(vec![Some(long), None]).texts(0..2).unwrap(), [long.to_string(), String::new()]);
        assert!(matches!(Cells::Numbers(vec![1.5]).texts(0..1), Err(Odd::Column(_))));
        assert_eq!(texts(&["a", "x"]).numbers(0..2), Err(Odd::Cell(0, "a".into())));
        let unsigned = Cells::of_unsigned(vec![Some(u64::MAX - 1), None, Some(7)]);
        assert_eq!(unsigned, texts(&["18446744073709551614", "", "7"]));
        let narrow = Cells::of_unsigned(vec![Some(7), None]);
        assert_eq!(narrow, Cells::Integers(vec![Some(7), None]));
        assert_eq!(narrow.and(unsigned), texts(&["7", "", "18446744073709551614", "", "7"]));
        let vectors = Cells::Others("57 values a row".into());
        assert_eq!(vectors.flags(0..1), Err(Odd::Column("57 values a row".into())));
    }
}
