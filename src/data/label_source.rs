//! Where a label and its error stand in a table: a column, by one of its usual names or by the user's, or an expression.

use std::ops::{Range, RangeInclusive};

use super::columns::{ColumnNames, ColumnSource};
use super::expression::Expression;
use super::label_units::{ANY, LabelUnits};
use super::table::Table;
use crate::error::{Error, Result, nearest_name};

/// What to do where a label's column is absent.
const REMEDY: &str = "name the labels by the catalogue's columns in `labels`, or their columns in [data.columns]";

/// What a label is read from.
#[derive(Debug)]
pub(super) struct LabelSource {
    label: String,
    expression: Expression,
    errors: Errors,
}

#[derive(Debug)]
enum Errors {
    /// The table has none.
    Unknown,
    /// In a column.
    Column(String),
    /// The same of all stars.
    Alike(f64),
    /// From those of the expression's columns, which stand in these.
    Propagated(Vec<String>),
}

impl LabelSource {
    /// Finds a label in a table: where `columns` says, or else in the column of its name, in any case.
    ///
    /// Where a table has no [X/Fe], it is [X/H] - [Fe/H] (`mg_fe = MG_H - FE_H`, DR12 and Astra); `m_h` may be `PARAM_M_H` or
    /// `m_h_atm`, `alpha_m` may be `PARAM_ALPHA_M` or `alpha_m_atm`, `vmicro` may be `v_micro`.
    ///
    /// # Errors
    /// [`Error::MissingColumn`]; [`Error::Format`] where an expression names a column that is not there.
    pub fn find(table: &Table, columns: &ColumnNames, label: &str) -> Result<Self> {
        if let Some(source) = columns.of(label) {
            return Self::named(table, source, label);
        }
        let expression = usual(table, label).unwrap_or_else(|| Expression::column(label));
        let errors = match error_column(table, label) {
            Some(column) => Errors::Column(column),
            None => propagated(table, &expression),
        };
        Ok(Self { label: label.into(), expression, errors })
    }

    fn named(table: &Table, source: &ColumnSource, label: &str) -> Result<Self> {
        let refused = |problem: String| Error::format(table.path(), format!("data.columns.{label}{problem}"));
        let expression = source.expression().map_err(|problem| refused(format!(" {problem}")))?;
        let near = |column: &str| {
            let near = nearest_name(column, table.names().iter().map(String::as_str));
            near.map(|near| format!("; did you mean {near}?")).unwrap_or_default()
        };
        let text = source.text();
        if let Some((column, at)) = expression.columns().find(|(column, _)| !table.has(column)) {
            let near = near(column);
            return Err(refused(format!(
                " = \"{text}\": no column {column}, at character {at}{near} (names with other characters than letters, digits, `_` and `.` stand in backticks)"
            )));
        }
        let errors = match source.error() {
            Some(column) if table.has(column) => Errors::Column(column.into()),
            Some(column) => match source.error_of_all() {
                Some(error) => Errors::Alike(error),
                None if column.parse::<f64>().is_ok() => {
                    return Err(refused(format!(
                        ".error = \"{column}\": no column of this name, and no positive number"
                    )));
                }
                None => return Err(refused(format!(".error: no column {column}{}", near(column)))),
            },
            None => propagated(table, &expression),
        };
        Ok(Self { label: label.into(), expression, errors })
    }

    /// The columns that it reads.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        let errors: &[String] = match &self.errors {
            Errors::Unknown | Errors::Alike(_) => &[],
            Errors::Column(column) => std::slice::from_ref(column),
            Errors::Propagated(columns) => columns,
        };
        self.expression.columns().map(|(column, _)| column).chain(errors.iter().map(String::as_str))
    }

    /// Some rows of the label, and of its error; NaN where there is none, and for a Teff or log g that no star has.
    ///
    /// # Errors
    /// Those of the table; [`Error::Format`] where Teff or log g of all its rows are in another unit, with the remedy.
    pub fn read(&self, table: &mut Table, rows: Range<usize>) -> Result<(Vec<f64>, Vec<f64>)> {
        let n_rows = rows.len();
        let possible = self.possible(table)?;
        let columns = self.read_columns(table, &rows)?;
        let of_star = |value: f64| if possible.contains(&value) { value } else { f64::NAN };
        let values = self.values(&columns, n_rows).into_iter().map(of_star).collect();
        let at = |columns: &[Vec<f64>], row: usize| columns.iter().map(|column| column[row]).collect::<Vec<f64>>();
        let mut errors_in = |column: &str| table.label_errors(column, rows.clone(), REMEDY);
        let errors = match &self.errors {
            Errors::Unknown => vec![f64::NAN; n_rows],
            Errors::Alike(error) => vec![*error; n_rows],
            Errors::Column(column) => errors_in(column)?,
            Errors::Propagated(names) => {
                let errors = names.iter().map(|name| errors_in(name)).collect::<Result<Vec<_>>>()?;
                (0..n_rows).map(|row| known(self.expression.error(&at(&columns, row), &at(&errors, row)))).collect()
            }
        };
        Ok((values, errors))
    }

    fn read_columns(&self, table: &mut Table, rows: &Range<usize>) -> Result<Vec<Vec<f64>>> {
        self.expression.columns().map(|(column, _)| table.labels(column, rows.clone(), REMEDY)).collect()
    }

    fn values(&self, columns: &[Vec<f64>], n_rows: usize) -> Vec<f64> {
        let value = |row: usize| {
            let cells: Vec<f64> = columns.iter().map(|column| column[row]).collect();
            known(self.expression.value(&cells).0)
        };
        match self.expression.only_column() {
            Some(_) => columns[0].clone(),
            None => (0..n_rows).map(value).collect(),
        }
    }

    /// What the label may be; all rows of the table are looked at, once, before some are believed.
    fn possible(&self, table: &mut Table) -> Result<RangeInclusive<f64>> {
        let Some(mut units) = LabelUnits::of(&self.label) else { return Ok(ANY) };
        if let Some(possible) = table.possible.get(&self.label) {
            return Ok(possible.clone());
        }
        for rows in table.blocks() {
            let columns = self.read_columns(table, &rows)?;
            units.add(&self.values(&columns, rows.len()));
        }
        let possible = units.possible().map_err(|detail| Error::format(table.path(), detail))?;
        if let Some(remark) = units.remark() {
            tracing::warn!("{}: {remark}", table.path().display());
        }
        table.possible.insert(self.label.clone(), possible.clone());
        Ok(possible)
    }
}

/// A value, NaN where an expression has none.
fn known(value: f64) -> f64 {
    if value.is_finite() { value } else { f64::NAN }
}

/// Whether [`LabelSource::find`] finds a label, or says better than others why not.
pub(super) fn is_known(table: &Table, columns: &ColumnNames, label: &str) -> bool {
    columns.of(label).is_some() || usual(table, label).is_some()
}

/// A label by its usual names.
fn usual(table: &Table, label: &str) -> Option<Expression> {
    if table.has(label) {
        return Some(Expression::column(label));
    }
    if let Some(element) = label.to_lowercase().strip_suffix("_fe") {
        let over_hydrogen = format!("{element}_h");
        if table.has(&over_hydrogen) && table.has("fe_h") {
            return Expression::parse(&format!("`{over_hydrogen}` - fe_h")).ok();
        }
    }
    let mut others = vec![format!("PARAM_{label}"), format!("{label}_atm")];
    if label.eq_ignore_ascii_case("vmicro") {
        others.push("v_micro".into());
    }
    others.iter().find(|column| table.has(column)).map(|column| Expression::column(column))
}

/// The column of a column's errors, by its usual names.
fn error_column(table: &Table, column: &str) -> Option<String> {
    let usual = [format!("{column}_err"), format!("e_{column}"), format!("{column}_error")];
    usual.into_iter().find(|column| table.has(column))
}

fn propagated(table: &Table, expression: &Expression) -> Errors {
    let columns: Option<Vec<String>> = expression.columns().map(|(column, _)| error_column(table, column)).collect();
    match (columns, expression.only_column()) {
        (None, _) => Errors::Unknown,
        (Some(mut columns), Some(_)) => Errors::Column(columns.swap_remove(0)),
        (Some(columns), None) => Errors::Propagated(columns),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The label and its error in a table of some text, with some `[data.columns]`.
    fn read(text: &str, columns: &str, label: &str) -> Result<(Vec<f64>, Vec<f64>)> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut table = Table::open(file.path())?;
        let rows = 0..table.n_rows();
        LabelSource::find(&table, &toml::from_str(columns).unwrap(), label)?.read(&mut table, rows)
    }

    #[test]
    fn errors_are_found_by_each_usual_name_or_worked_out() {
        for name in ["teff_err", "E_TEFF", "Teff_Error"] {
            let (values, errors) = read(&format!("teff,{name}\n4500,20\n4600,-1\n"), "", "teff").unwrap();
            assert_eq!((values, errors[0]), (vec![4500.0, 4600.0], 20.0));
            assert!(errors[1].is_nan());
        }
        let text = "mg_h,fe_h,e_mg_h,e_fe_h\n0.1,-0.2,0.03,0.04\n0.1,0.2,0.03,\n";
        for columns in ["", "mg_fe = \"mg_h - fe_h\""] {
            let (values, errors) = read(text, columns, "mg_fe").unwrap();
            assert!((values[0] - 0.3).abs() < 1e-12 && (errors[0] - 0.05).abs() < 1e-12, "{columns}");
            assert!((values[1] + 0.1).abs() < 1e-12 && errors[1].is_nan(), "{columns}");
        }
        let (_, unknown) = read("mg_h,fe_h,e_mg_h\n0.1,-0.2,0.03\n", "", "mg_fe").unwrap();
        assert!(unknown[0].is_nan());
    }

    #[test]
    fn a_label_may_be_any_column_and_any_expression() {
        let text = "log T,e_log T,theta,dx,TEFF\n3.7,0.001,1.12,5,1\n,0.001,0,5,1\n";
        let (values, errors) = read(text, "teff = \"10 ** `log T`\"", "teff").unwrap();
        assert!((values[0] - 10_f64.powf(3.7)).abs() < 1e-9 && values[1].is_nan());
        assert!((errors[0] - 0.001 * std::f64::consts::LN_10 * values[0]).abs() < 1e-9);
        let (values, errors) = read(text, "teff = { expression = \"5040 / theta\", error = \"dx\" }", "teff").unwrap();
        assert!((values[0] - 4500.0).abs() < 1e-9 && values[1].is_nan() && errors == [5.0, 5.0]);
        let (values, _) = read(text, "teff = { column = \"log T\" }", "teff").unwrap();
        assert_eq!(values[0], 3.7);
        let (_, errors) = read(text, "teff = { column = \"log T\", error = \"0.02\" }", "teff").unwrap();
        assert_eq!(errors, [0.02, 0.02]);
    }

    #[test]
    fn what_no_star_has_is_missing_in_whichever_rows_are_read() {
        let rows: String = (0..20).map(|row| format!("{},{}\n", [0, -1, 4500, 4600][row % 4], row % 4)).collect();
        let text = format!("teff,logg\n{rows}2,55\n");
        for columns in ["", "teff = \"1 * teff\""] {
            let (teff, _) = read(&text, columns, "teff").unwrap();
            assert!(teff.iter().all(|teff| teff.is_nan() || *teff >= 4500.0), "{teff:?}");
            assert_eq!(teff.iter().filter(|teff| teff.is_finite()).count(), 10);
        }
        let (logg, _) = read(&text, "", "logg").unwrap();
        assert!(logg[20].is_nan() && logg[0] == 0.0 && logg[3] == 3.0);
        let said = read(&text, "logg = \"30 * logg\"", "logg").unwrap_err().to_string();
        assert!(said.contains("logg of 16 of 21 stars is above 10"), "{said}");
        // The rows alone would tell nothing.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let mut table = Table::open(file.path()).unwrap();
        let source = LabelSource::find(&table, &ColumnNames::USUAL, "teff").unwrap();
        assert!(source.read(&mut table, 0..2).unwrap().0.iter().all(|teff| teff.is_nan()));
    }

    #[test]
    fn columns_that_are_not_there_are_named_with_their_place() {
        let said = |columns: &str| read("mg_h,fe_h\n1,2\n", columns, "mg_fe").unwrap_err().to_string();
        let wrong = said("mg_fe = \"mg_h - feh\"");
        assert!(wrong.contains("data.columns.mg_fe = \"mg_h - feh\": no column feh, at character 8"), "{wrong}");
        assert!(wrong.contains("did you mean fe_h?"), "{wrong}");
        let wrong = said("mg_fe = { column = \"mg_h\", error = \"e_mgh\" }");
        assert!(wrong.contains("data.columns.mg_fe.error: no column e_mgh"), "{wrong}");
    }

    #[test]
    fn atmospheric_parameters_of_astra_have_a_suffix() {
        let (values, errors) = read("m_h_atm,e_m_h_atm\n-0.5,0.01\n", "", "m_h").unwrap();
        assert_eq!((values[0], errors[0]), (-0.5, 0.01));
        let (values, errors) = read("v_micro,e_v_micro\n1.5,0.1\n", "", "vmicro").unwrap();
        assert_eq!((values[0], errors[0]), (1.5, 0.1));
    }
}
