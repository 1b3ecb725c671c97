//! Estimated labels as a table, in FITS and CSV.

use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::truth::Truth;
use crate::data::files;
use crate::data::fits::{self, Column};
use crate::error::{Error, Result};
use crate::models::LabelEstimates;
use crate::spectra::labels::unit;
use crate::spectra::quality::star_flags;

/// Estimated labels beside the catalogue's, one row per star.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Star identifiers.
    pub ids: Vec<String>,
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// Catalogue labels, [n_stars, n_labels]; NaN where missing.
    pub catalogue: Array2<f64>,
    /// The truth, where a table of it was given.
    pub truth: Option<Truth>,
    /// The estimates.
    pub estimates: LabelEstimates,
    /// Flags of spectrum, catalogue and fit together.
    pub flags: Vec<i64>,
}

impl Predictions {
    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        self.ids.len()
    }

    /// The columns of `predictions.fits` and `.csv`.
    pub fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::text("id", self.ids.clone())];
        for (k, name) in self.label_names.iter().enumerate() {
            let errors = (0..self.n_stars()).map(|n| self.estimates.error(n, k)).collect();
            columns.push(Column::f64(format!("{name}_catalogue"), unit(name), self.catalogue.column(k).to_vec()));
            columns.push(Column::f64(format!("{name}_estimate"), unit(name), self.estimates.labels.column(k).to_vec()));
            columns.push(Column::f64(format!("{name}_error"), unit(name), errors));
            if let Some(truth) = &self.truth {
                columns.push(Column::f64(format!("{name}_truth"), unit(name), truth.labels.column(k).to_vec()));
            }
        }
        let chi2 = (0..self.n_stars()).map(|n| self.estimates.chi2_reduced(n)).collect();
        columns.push(Column::f64("chi2_reduced", "", chi2));
        columns.push(Column::i64("flags", self.flags.clone()));
        if let Some(pathology) = self.truth.as_ref().and_then(|truth| truth.pathology.clone()) {
            columns.push(Column::text("pathology", pathology));
        }
        columns
    }
}

/// Writes a table as `<stem>.fits` and `<stem>.csv`. The FITS header names the bits of a `flags` column.
///
/// # Errors
/// [`Error::Io`], [`Error::Fits`].
pub fn write_table(stem: &Path, name: &str, columns: &[Column]) -> Result<()> {
    let with_ending = |ending: &str| PathBuf::from(format!("{}.{ending}", stem.display()));
    fits::write(&with_ending("fits"), |file| {
        file.table(name, columns)?;
        let has_flags = columns.iter().any(|column| column.name == "flags");
        for (bit, flag) in star_flags::NAMES.iter().filter(|_| has_flags) {
            file.key(name, &format!("FLAG{}", bit.trailing_zeros()), flag, "meaning of this bit of `flags`")?;
        }
        Ok(())
    })?;
    let path = with_ending("csv");
    let malformed = |err: csv::Error| Error::format(&path, err.to_string());
    files::write_atomically(&path, |temporary| {
        let mut writer = csv::Writer::from_path(temporary).map_err(malformed)?;
        writer.write_record(columns.iter().map(|column| &column.name)).map_err(malformed)?;
        for row in 0..columns.first().map_or(0, Column::len) {
            writer.write_record(columns.iter().map(|column| column.cell(row))).map_err(malformed)?;
        }
        writer.flush().map_err(Error::io(&path, "write"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, array};

    #[test]
    fn predictions_have_the_documented_columns_in_both_formats() {
        let predictions = Predictions {
            ids: vec!["a".into(), "b".into()],
            label_names: vec!["teff".into()],
            catalogue: array![[4500.0], [f64::NAN]],
            truth: Some(Truth { labels: array![[4510.0], [4600.0]], pathology: None }),
            estimates: LabelEstimates {
                labels: array![[4505.5], [4601.0]],
                covariance: Array3::from_elem((2, 1, 1), 4.0),
                chi2: vec![99.0, 198.0],
                n_pixels: vec![100, 100],
                flags: vec![0, 8],
            },
            flags: vec![0, 72],
        };
        let folder = tempfile::tempdir().unwrap();
        write_table(&folder.path().join("predictions"), "PREDICTIONS", &predictions.columns()).unwrap();
        let csv = std::fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
        let expected = "id,teff_catalogue,teff_estimate,teff_error,teff_truth,chi2_reduced,flags\n\
                        a,4500.0,4505.5,2.0,4510.0,1.0,0\n\
                        b,,4601.0,2.0,4600.0,2.0,72\n";
        assert_eq!(csv, expected);
        let mut file = fits::FitsReader::open(&folder.path().join("predictions.fits")).unwrap();
        assert_eq!(file.numbers(1, "teff_truth", 0..2).unwrap(), [4510.0, 4600.0]);
        assert_eq!(file.key_text(1, "FLAG3").as_deref(), Some("NOT_CONVERGED"));
    }
}
