//! The table of labels: a row for each spectrum, columns for people and programs.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::digits::Digits;
use super::places::Places;
use crate::data::fits::Column;
use crate::data::value::{self, Value};
use crate::labelling::labeller::LabelledStar;
use crate::spectra::labels::{pairs, unit};
use crate::spectra::quality::star_flags;
use crate::stars::spectra::{HandedOn, SpectrumSource};

/// Whose layout a table has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum TableShape {
    /// A row and a column for everything, as in the tables of runs.
    #[default]
    Maury,
    /// That of astraAllStarTheCannon (SDSS-V, DR19): labels in HDU 2 as `teff`, `e_teff`, ...
    Astra,
}

/// What a table is of, and how it is to be.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TableForm {
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// What is handed on from spectra.
    pub columns: HandedOn,
    /// Whose layout.
    pub shape: TableShape,
    /// The model's folder, as it was given.
    pub model: PathBuf,
    /// What the errors are, in words.
    pub errors: String,
}

/// Numbers of a star that are no labels: snr, chi2, chi2_reduced, fraction_masked.
const N_HEAD: usize = 4;

/// The table of labels, column by column: a million stars have room in it.
pub(super) struct LabelTable {
    label_names: Vec<String>,
    places: Places,
    pub(super) file: Vec<String>,
    pub(super) id: Vec<String>,
    pub(super) flags: Vec<i64>,
    /// The head; then label, error and calibrated error in turn; then the covariances.
    numbers: Vec<Vec<f64>>,
    /// Whether any star has calibrated errors.
    is_calibrated: bool,
    /// Names of what is handed on, and the values of each.
    handed_on: Vec<String>,
    values: Vec<Vec<Value>>,
}

/// The numbers of a label, a value for each row.
pub(super) struct LabelColumns {
    /// The label.
    pub label: Vec<f64>,
    /// Its formal error.
    pub error: Vec<f64>,
    /// Its calibrated error, where the model has a calibration.
    pub calibrated: Option<Vec<f64>>,
}

/// The numbers that are no labels, a value for each row.
pub(super) struct HeadColumns {
    pub snr: Vec<f64>,
    pub chi2: Vec<f64>,
    pub chi2_reduced: Vec<f64>,
    pub fraction_masked: Vec<f64>,
}

impl LabelTable {
    /// A row for each spectrum.
    pub fn new(form: &TableForm, spectra: &dyn SpectrumSource) -> Self {
        let file: Vec<String> = (0..spectra.len()).map(|n| spectra.name(n)).collect();
        let n_numbers = N_HEAD + 3 * form.label_names.len() + pairs(&form.label_names).len();
        let handed_on = form.columns.names();
        Self {
            label_names: form.label_names.clone(),
            places: Places::of(spectra),
            id: vec![String::new(); file.len()],
            flags: vec![star_flags::UNREADABLE; file.len()],
            numbers: vec![vec![f64::NAN; file.len()]; n_numbers],
            values: vec![vec![Value::Missing; file.len()]; handed_on.len()],
            handed_on,
            file,
            is_calibrated: false,
        }
    }

    /// Fills a file's row, if it has one; one that was tried again has the row of its last trial.
    pub fn set(&mut self, star: LabelledStar) {
        let Some(row) = self.row_of(&star.file) else { return };
        self.is_calibrated |= !star.calibrated_errors.is_empty();
        let of_label = |k: usize| [star.labels.get(k), star.errors.get(k), star.calibrated_errors.get(k)];
        let of_labels = (0..self.label_names.len()).flat_map(of_label).map(|value| value.copied().unwrap_or(f64::NAN));
        let n_pairs = self.numbers.len() - N_HEAD - 3 * self.label_names.len();
        let of_pairs = (0..n_pairs).map(|pair| star.covariances.get(pair).copied().unwrap_or(f64::NAN));
        let head = [star.snr, star.chi2, star.chi2_reduced, star.fraction_masked];
        let numbers = head.into_iter().chain(of_labels).chain(of_pairs);
        self.id[row] = star.id;
        self.flags[row] = star.flags;
        self.numbers.iter_mut().zip(numbers).for_each(|(column, value)| column[row] = value);
        let mut values = star.values.into_iter();
        self.values.iter_mut().for_each(|column| column[row] = values.next().unwrap_or_default());
    }

    /// The row of a spectrum, by its name.
    pub(super) fn row_of(&self, name: &str) -> Option<usize> {
        self.places.get(name)
    }

    /// Number of labels.
    pub(super) fn n_labels(&self) -> usize {
        self.label_names.len()
    }

    /// The labels of a row.
    pub(super) fn labels(&self, row: usize) -> Vec<f64> {
        (0..self.label_names.len()).map(|k| self.numbers[N_HEAD + 3 * k][row]).collect()
    }

    /// Whether a row is that of a star: labels within a share of their errors, what is told of them within a share of itself.
    pub(super) fn is_near(&self, row: usize, star: &LabelledStar, share: f64) -> bool {
        let near = |a: f64, b: f64, by: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= by;
        let alike = |a: f64, b: f64| near(a, b, share * a.abs());
        let of_label = |k: usize, n: usize| self.numbers[N_HEAD + 3 * k + n][row];
        let of = |values: &[f64], k: usize| values.get(k).copied().unwrap_or(f64::NAN);
        let is_like = |k: usize| {
            near(of_label(k, 0), of(&star.labels, k), share * of_label(k, 1))
                && alike(of_label(k, 1), of(&star.errors, k))
                && alike(of_label(k, 2), of(&star.calibrated_errors, k))
        };
        let head = [star.snr, star.chi2, star.chi2_reduced, star.fraction_masked];
        self.id[row] == star.id
            && self.flags[row] == star.flags
            && (0..N_HEAD).all(|n| alike(self.numbers[n][row], head[n]))
            && (0..self.label_names.len()).all(is_like)
    }

    /// Takes the numbers that are no labels out of the table.
    pub(super) fn take_head(&mut self) -> HeadColumns {
        let [snr, chi2, chi2_reduced, fraction_masked] = [0, 1, 2, 3].map(|n| std::mem::take(&mut self.numbers[n]));
        HeadColumns { snr, chi2, chi2_reduced, fraction_masked }
    }

    /// Takes the numbers of the k-th label out of the table.
    pub(super) fn take_label(&mut self, k: usize) -> LabelColumns {
        let [label, error, calibrated] = [0, 1, 2].map(|n| std::mem::take(&mut self.numbers[N_HEAD + 3 * k + n]));
        LabelColumns { label, error, calibrated: Some(calibrated).filter(|_| self.is_calibrated) }
    }

    /// Names of what is handed on, in the order of [`LabelTable::value`].
    pub(super) fn handed_on(&self) -> &[String] {
        &self.handed_on
    }

    /// What is handed on under one of the names, of a row.
    pub(super) fn value(&self, name: usize, row: usize) -> &Value {
        &self.values[name][row]
    }

    /// The columns that were asked for, but for those that the table has `anyway`. One that no spectrum has is told on the log.
    pub(super) fn asked_columns(&self, asked: &[String], anyway: &dyn Fn(&str) -> bool) -> Vec<Column> {
        let mut columns = Vec::new();
        for (name, values) in asked.iter().zip(&self.values) {
            if anyway(name) {
                tracing::info!("--columns {name}: the table has a column {name} of its own");
                continue;
            }
            if values.iter().all(Value::is_missing) {
                tracing::warn!("--columns {name}: no spectrum has it, neither as a header key nor as a column");
            }
            columns.push(value::column(name.clone(), values));
        }
        columns
    }

    /// Its columns in the order of maury's own tables, and how each is written in CSV.
    pub fn into_columns(mut self, asked: &[String]) -> (Vec<Column>, Vec<Digits>) {
        let HeadColumns { snr, chi2_reduced, fraction_masked, .. } = self.take_head();
        let mut measured = Vec::new();
        for (k, name) in self.label_names.clone().iter().enumerate() {
            let LabelColumns { label, error, calibrated } = self.take_label(k);
            measured.push((
                Column::f64(format!("{name}_estimate"), unit(name), label),
                Digits::OfError(measured.len() + 1),
            ));
            measured.push((Column::f64(format!("{name}_error"), unit(name), error), Digits::Significant));
            let calibrated =
                calibrated.map(|errors| Column::f64(format!("{name}_error_calibrated"), unit(name), errors));
            measured.extend(calibrated.map(|column| (column, Digits::Significant)));
        }
        measured.push((Column::f64("chi2_reduced", "", chi2_reduced), Digits::Significant));
        measured.push((Column::f64("fraction_masked", "", fraction_masked), Digits::Significant));
        let covariances = std::mem::take(&mut self.numbers).into_iter().skip(N_HEAD + 3 * self.label_names.len());
        for ((_, _, name, unit), values) in pairs(&self.label_names).into_iter().zip(covariances) {
            measured.push((Column::f64(name, unit, values), Digits::Significant));
        }
        measured.push((Column::i64("flags", std::mem::take(&mut self.flags)), Digits::All));
        let anyway = |name: &str| {
            let is_measured = measured.iter().any(|(column, _)| column.name.eq_ignore_ascii_case(name));
            is_measured || ["id", "file", "snr"].iter().any(|own| own.eq_ignore_ascii_case(name))
        };
        let asked = self.asked_columns(asked, &anyway);
        let head = [Column::text("id", self.id), Column::text("file", self.file), Column::f64("snr", "", snr)];
        let mut digits = vec![Digits::All, Digits::All, Digits::Significant];
        digits.extend(asked.iter().map(|_| Digits::All));
        let n_before = digits.len();
        let mut columns: Vec<Column> = head.into_iter().chain(asked).collect();
        for (column, of_column) in measured {
            columns.push(column);
            digits.push(match of_column {
                Digits::OfError(error) => Digits::OfError(n_before + error),
                other => other,
            });
        }
        (columns, digits)
    }
}
