//! The table of labels: a row for each spectrum, columns for people and programs.

use std::collections::HashMap;

use crate::data::fits::Column;
use crate::labelling::labeller::LabelledStar;
use crate::spectra::labels::{pairs, unit};
use crate::spectra::quality::star_flags;
use crate::stars::spectra::SpectrumSource;

/// The table of labels, column by column: a million stars have room in it.
pub(super) struct LabelTable {
    label_names: Vec<String>,
    row_of: HashMap<String, usize>,
    file: Vec<String>,
    id: Vec<String>,
    flags: Vec<i64>,
    /// snr, chi2_reduced, fraction_masked; then label, error and calibrated error in turn; then the covariances.
    numbers: Vec<Vec<f64>>,
    /// Whether any star has calibrated errors.
    is_calibrated: bool,
}

impl LabelTable {
    /// A row for each spectrum.
    pub fn new(label_names: &[String], spectra: &dyn SpectrumSource) -> Self {
        let file: Vec<String> = (0..spectra.len()).map(|n| spectra.name(n)).collect();
        Self {
            label_names: label_names.to_vec(),
            row_of: file.iter().cloned().enumerate().map(|(row, name)| (name, row)).collect(),
            id: vec![String::new(); file.len()],
            flags: vec![star_flags::UNREADABLE; file.len()],
            numbers: vec![vec![f64::NAN; file.len()]; 3 + 3 * label_names.len() + pairs(label_names).len()],
            file,
            is_calibrated: false,
        }
    }

    /// Fills a file's row, if it has one; one that was tried again has the row of its last trial.
    pub fn set(&mut self, star: LabelledStar) {
        let Some(row) = self.row_of.get(&star.file).copied() else { return };
        self.is_calibrated |= !star.calibrated_errors.is_empty();
        let of_label = |k: usize| [star.labels.get(k), star.errors.get(k), star.calibrated_errors.get(k)];
        let of_labels = (0..self.label_names.len()).flat_map(of_label).map(|value| value.copied().unwrap_or(f64::NAN));
        let n_pairs = self.numbers.len() - 3 - 3 * self.label_names.len();
        let of_pairs = (0..n_pairs).map(|pair| star.covariances.get(pair).copied().unwrap_or(f64::NAN));
        let numbers = [star.snr, star.chi2_reduced, star.fraction_masked].into_iter().chain(of_labels).chain(of_pairs);
        self.id[row] = star.id;
        self.flags[row] = star.flags;
        self.numbers.iter_mut().zip(numbers).for_each(|(column, value)| column[row] = value);
    }

    /// Its columns, in their order.
    pub fn into_columns(self) -> Vec<Column> {
        let mut numbers = self.numbers.into_iter();
        let mut next =
            |name: String, unit: &str| Column::f64(name, unit.to_string(), numbers.next().unwrap_or_default());
        let [snr, chi2, masked] = ["snr", "chi2_reduced", "fraction_masked"].map(|name| next(name.into(), ""));
        let mut columns = vec![Column::text("id", self.id), Column::text("file", self.file), snr];
        for name in &self.label_names {
            columns.push(next(format!("{name}_estimate"), unit(name)));
            columns.push(next(format!("{name}_error"), unit(name)));
            let calibrated = next(format!("{name}_error_calibrated"), unit(name));
            columns.extend(Some(calibrated).filter(|_| self.is_calibrated));
        }
        columns.extend([chi2, masked]);
        columns.extend(pairs(&self.label_names).into_iter().map(|(_, _, name, unit)| next(name, &unit)));
        columns.extend([Column::i64("flags", self.flags)]);
        columns
    }
}
