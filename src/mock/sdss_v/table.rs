//! Tables of a prescribed layout: columns that are known, and in all others what Astra writes where it has nothing.

use std::collections::HashMap;

use crate::data::fits::Column;
use crate::spectra::grid::APOGEE_N_PIXELS;

/// What stands in a row of a column.
enum Value {
    Text(String),
    Integer(i64),
    Number(f64),
    Logical(bool),
    Pixels(Vec<f32>),
}

/// Characters of a moment in time; these columns keep their width in tables without rows.
const MOMENT: usize = 26;

type Source<'a, R> = Box<dyn Fn(&R) -> Value + 'a>;

/// Columns that are known, each by its name: a rule that gives its value for a row `R`.
pub(super) struct Known<'a, R>(HashMap<String, Source<'a, R>>);

impl<'a, R> Known<'a, R> {
    /// Nothing is known.
    pub(super) fn new() -> Self {
        Self(HashMap::new())
    }

    pub(super) fn text(&mut self, name: &str, value: impl Fn(&R) -> String + 'a) {
        self.insert(name, move |row| Value::Text(value(row)));
    }

    pub(super) fn integer(&mut self, name: &str, value: impl Fn(&R) -> i64 + 'a) {
        self.insert(name, move |row| Value::Integer(value(row)));
    }

    pub(super) fn number(&mut self, name: &str, value: impl Fn(&R) -> f64 + 'a) {
        self.insert(name, move |row| Value::Number(value(row)));
    }

    pub(super) fn logical(&mut self, name: &str, value: impl Fn(&R) -> bool + 'a) {
        self.insert(name, move |row| Value::Logical(value(row)));
    }

    /// A column with a number for each pixel of a spectrum.
    pub(super) fn pixels(&mut self, name: &str, value: impl Fn(&R) -> Vec<f32> + 'a) {
        self.insert(name, move |row| Value::Pixels(value(row)));
    }

    fn insert(&mut self, name: &str, source: impl Fn(&R) -> Value + 'a) {
        let before = self.0.insert(name.to_string(), Box::new(source));
        assert!(before.is_none(), "column {name} is given twice");
    }

    /// The columns of a layout (see [`super::layouts`]).
    ///
    /// # Panics
    /// If a column is known that the layout lacks, or has as another type.
    pub(super) fn columns(&self, layout: &str, rows: &[R]) -> Vec<Column> {
        let items = layout.split_whitespace().map(|item| item.split_once(':').expect("a column is `name:form`"));
        let columns: Vec<Column> =
            items.map(|(name, form)| column(name, form, rows, self.0.get(name).map(|source| &**source))).collect();
        for name in self.0.keys() {
            assert!(columns.iter().any(|column| column.name == *name), "the layout has no column {name}");
        }
        columns
    }
}

fn column<R>(name: &str, form: &str, rows: &[R], source: Option<&(dyn Fn(&R) -> Value + '_)>) -> Column {
    let values = || rows.iter().map(move |row| source.map(|source| source(row)));
    let (count, kind) = form.split_at(form.len() - 1);
    match (count, kind) {
        (width, "A") => {
            let text = |value| match value {
                Some(Value::Text(text)) => text,
                None => String::new(),
                Some(_) => foreign(name, form),
            };
            let texts = values().map(text).collect();
            match width.parse() {
                Ok(width) if !rows.is_empty() || width == MOMENT => Column::fixed_text(name, width, texts),
                _ => Column::text(name, texts),
            }
        }
        (_, "J" | "K") => {
            // Bit fields without a bit; other integers that nobody has.
            let fill = if name.ends_with("flags") || ["sqf_4_5", "mf4_5", "csf"].contains(&name) { 0 } else { -1 };
            let integer = |value| match value {
                Some(Value::Integer(integer)) => integer,
                None => fill,
                Some(_) => foreign(name, form),
            };
            let integers = values().map(integer);
            match kind {
                "J" => Column::i32(name, integers.map(|integer| integer as i32).collect()),
                _ => Column::i64(name, integers.collect()),
            }
        }
        ("@", "E") => {
            let width = if rows.is_empty() { 0 } else { APOGEE_N_PIXELS };
            let pixels = |value| match value {
                Some(Value::Pixels(pixels)) if pixels.len() == width => pixels,
                None => vec![f32::NAN; width],
                Some(_) => foreign(name, form),
            };
            Column::f32_vectors(name, width, values().flat_map(pixels).collect())
        }
        (_, "E") => {
            let number = |value| match value {
                Some(Value::Number(number)) => number as f32,
                None => f32::NAN,
                Some(_) => foreign(name, form),
            };
            Column::f32(name, "", values().map(number).collect())
        }
        (_, "L") => {
            let logical = |value| match value {
                Some(Value::Logical(logical)) => logical,
                None => false,
                Some(_) => foreign(name, form),
            };
            Column::logicals(name, values().map(logical).collect())
        }
        (width, "B") => {
            let width = if rows.is_empty() { 1 } else { width.parse().expect("bytes have a width") };
            Column::bytes(name, width, vec![0; width * rows.len()])
        }
        _ => panic!("column {name} has a form {form} that nobody writes"),
    }
}

fn foreign(name: &str, form: &str) -> ! {
    panic!("column {name} of form {form} is given as another type")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::ColumnValues;

    const LAYOUT: &str = "id:K n:J name:8A flags:K teff:E is_bad:L targets:3B flux:@E";

    #[test]
    fn what_is_not_known_is_what_astra_writes_for_nothing() {
        let columns = Known::<f64>::new().columns(LAYOUT, &[1.0, 2.0]);
        assert_eq!(columns[1].cell(1), "-1");
        assert_eq!((columns[0].cell(0), columns[3].cell(0), columns[2].cell(0)), ("-1".into(), "0".into(), "".into()));
        assert_eq!(
            (columns[4].cell(0), columns[5].cell(1), columns[6].cell(1)),
            ("".into(), "false".into(), "0 0 0".into())
        );
        let ColumnValues::F32Vectors(width, flux) = &columns[7].values else { panic!("flux is a vector") };
        assert!(*width == APOGEE_N_PIXELS && flux.len() == 2 * width && flux.iter().all(|flux| flux.is_nan()));
        assert!(matches!(columns[2].values, ColumnValues::FixedText(8, _)));
    }

    #[test]
    fn what_is_known_stands_in_its_row_and_tables_without_rows_have_no_vectors() {
        let mut known = Known::new();
        known.number("teff", |teff: &f64| *teff);
        known.text("name", |teff| format!("star {teff}"));
        let columns = known.columns(LAYOUT, &[4500.0, 4600.0]);
        assert_eq!((columns[4].cell(1), columns[2].cell(0)), ("4600.0".into(), "star 4500".into()));
        let empty = known.columns(LAYOUT, &[]);
        assert!(empty.iter().all(Column::is_empty));
        assert!(matches!(empty[7].values, ColumnValues::F32Vectors(0, _)));
        assert!(matches!(empty[2].values, ColumnValues::Text(_)));
    }

    #[test]
    #[should_panic(expected = "the layout has no column logg")]
    fn a_column_that_the_layout_lacks_is_a_mistake() {
        let mut known = Known::new();
        known.number("logg", |_: &()| 2.0);
        known.columns(LAYOUT, &[()]);
    }
}
