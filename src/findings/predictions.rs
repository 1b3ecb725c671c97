//! Estimated labels as a table, in FITS and CSV.

use std::path::Path;

use ndarray::{Array1, Array2, Array3, Axis, Zip, s};

use crate::data::fits::Column;
use crate::data::table::Table;
use crate::error::Result;
use crate::inference::calibration_words::against;
use crate::labelling::digits::{Digits, cell};
use crate::models::LabelEstimates;
use crate::spectra::labels::{pairs, unit};
use crate::spectra::star_table::{
    estimated_labels, flags_if_any, label_columns, name_flags, numbers_if_any, write_both,
};
use crate::stars::truth::{Truth, of_table};

/// Estimated labels beside the catalogue's, one row per star.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Star identifiers.
    pub ids: Vec<String>,
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// Catalogue labels, [n_stars, n_labels]; NaN where missing.
    pub catalogue: Array2<f64>,
    /// Errors of the catalogue's labels, [n_stars, n_labels]: those it quotes, times the factor that calibration found where there
    /// is one; NaN where unknown.
    pub catalogue_errors: Array2<f64>,
    /// The truth, where a table of it was given.
    pub truth: Option<Truth>,
    /// Signal-to-noise ratio per pixel; NaN where unknown.
    pub snr: Vec<f64>,
    /// The estimates.
    pub estimates: LabelEstimates,
    /// Errors by what training stars held out taught, [n_stars, n_labels]; NaN where there is no calibration.
    pub calibrated_errors: Array2<f64>,
    /// Flags of spectrum, catalogue and fit together.
    pub flags: Vec<i64>,
}

impl Predictions {
    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        self.ids.len()
    }

    /// chi^2 per degree of freedom of each star; NaN where there is none.
    pub fn chi2_reduced(&self) -> Vec<f64> {
        (0..self.n_stars()).map(|n| self.estimates.chi2_reduced(n)).collect()
    }

    /// The stars at these positions with the labels at those, in these orders.
    pub fn select(&self, stars: &[usize], labels: &[usize]) -> Self {
        let of = |values: &Array2<f64>| values.select(Axis(0), stars).select(Axis(1), labels);
        let estimates = &self.estimates;
        let covariance = estimates.covariance.select(Axis(0), stars).select(Axis(1), labels).select(Axis(2), labels);
        // The reduced chi^2 stays what it was, whatever the number of labels.
        let freed = self.label_names.len() - labels.len();
        Self {
            ids: stars.iter().map(|star| self.ids[*star].clone()).collect(),
            label_names: labels.iter().map(|label| self.label_names[*label].clone()).collect(),
            catalogue: of(&self.catalogue),
            catalogue_errors: of(&self.catalogue_errors),
            calibrated_errors: of(&self.calibrated_errors),
            truth: self.truth.as_ref().map(|truth| {
                let rows = truth.rows(stars);
                Truth { labels: rows.labels.select(Axis(1), labels), pathology: rows.pathology }
            }),
            snr: stars.iter().map(|star| self.snr[*star]).collect(),
            estimates: LabelEstimates {
                labels: of(&estimates.labels),
                covariance,
                n_pixels: stars.iter().map(|star| estimates.n_pixels[*star].saturating_sub(freed)).collect(),
                ..estimates.select(stars)
            },
            flags: stars.iter().map(|star| self.flags[*star]).collect(),
        }
    }

    /// Reads what [`Predictions::columns`] describes, from FITS or CSV.
    ///
    /// Of chi^2 only its value per degree of freedom is there; of the covariances only the variances, where the file is of a
    /// version that wrote no more.
    ///
    /// # Errors
    /// Those of reading a table; [`MissingColumn`](crate::error::Error::MissingColumn); [`Format`](crate::error::Error::Format) without a single estimated label.
    pub fn read(path: &Path) -> Result<Self> {
        let mut table = Table::open(path)?;
        let rows = 0..table.n_rows();
        let remedy = "is this a file that `maury run` wrote?";
        let label_names = estimated_labels(&table, remedy)?;
        let ids = table.texts("id", rows.clone(), remedy)?;
        let catalogue = label_columns(&mut table, &label_names, "catalogue", Some(remedy))?;
        let mut matrix = |ending| label_columns(&mut table, &label_names, ending, None);
        let (labels, errors, truth) = (matrix("estimate")?, matrix("error")?, matrix("truth")?);
        let (calibrated_errors, against_catalogue) = (matrix("error_calibrated")?, matrix("error_against_catalogue")?);
        let has_truth = table.names().iter().any(|name| name.ends_with("_truth"));
        let (snr, chi2) = (numbers_if_any(&mut table, "snr")?, numbers_if_any(&mut table, "chi2_reduced")?);
        let flags = flags_if_any(&mut table)?;
        let pathology = match table.has("pathology") {
            true => Some(table.texts("pathology", rows.clone(), remedy)?.into_iter().map(of_table).collect()),
            false => None,
        };
        let n_labels = label_names.len();
        let mut covariance = Array3::from_shape_fn((rows.len(), n_labels, n_labels), |(n, j, k)| {
            if j == k { errors[[n, k]].powi(2) } else { f64::NAN }
        });
        for (a, b, name, _) in pairs(&label_names) {
            if table.has(&name) {
                let of_pair = Array1::from(table.numbers(&name, rows.clone(), remedy)?);
                covariance.slice_mut(s![.., a, b]).assign(&of_pair);
                covariance.slice_mut(s![.., b, a]).assign(&of_pair);
            }
        }
        // One degree of freedom each: chi^2 is that per degree of freedom.
        let n_pixels = vec![n_labels + 1; rows.len()];
        let estimates = LabelEstimates { labels, covariance, chi2, n_pixels, flags: vec![0; rows.len()] };
        let truth = has_truth.then_some(Truth { labels: truth, pathology });
        // What the catalogue's own errors add; nothing where it quotes none.
        let catalogue_errors = Zip::from(&against_catalogue).and(&calibrated_errors).map_collect(|all, own| {
            let square = all * all - own * own;
            if square > 0.0 { square.sqrt() } else { f64::NAN }
        });
        Ok(Self { ids, label_names, catalogue, catalogue_errors, truth, snr, estimates, calibrated_errors, flags })
    }

    /// Writes `<stem>.fits`, which holds every digit, and `<stem>.csv`, which holds those that mean something: both or none.
    ///
    /// # Errors
    /// Those of [`write_both`].
    pub fn write(&self, stem: &Path) -> Result<()> {
        let columns = self.columns();
        let digits: Vec<Digits> = columns.iter().map(|column| digits_of(&column.name, &columns)).collect();
        write_both(stem, &columns, &|column, row| cell(&columns, &digits, column, row), |file| {
            file.table("PREDICTIONS", &columns)?;
            if let Some(words) = self.words_on_errors() {
                file.append_key("ERRORS", words.as_str(), "what <label>_error_calibrated is")?;
            }
            name_flags(file, "flags")
        })
    }

    /// What calibrated errors are against; none where there are none.
    fn words_on_errors(&self) -> Option<String> {
        let is_known = |values: &Array2<f64>, k: usize| values.column(k).iter().any(|value| value.is_finite());
        let calibrated = (0..self.label_names.len()).filter(|k| is_known(&self.calibrated_errors, *k));
        let (truth, catalogue): (Vec<usize>, Vec<usize>) =
            calibrated.partition(|k| is_known(&self.catalogue_errors, *k));
        let named = |labels: &[usize]| labels.iter().map(|k| self.label_names[*k].as_str()).collect::<Vec<&str>>();
        (truth.len() + catalogue.len() > 0).then(|| against(&named(&truth), &named(&catalogue)))
    }

    /// The columns of `predictions.fits` and `.csv`.
    pub fn columns(&self) -> Vec<Column> {
        let mut columns = vec![Column::text("id", self.ids.clone())];
        let has_calibrated = self.calibrated_errors.iter().any(|error| error.is_finite());
        for (k, name) in self.label_names.iter().enumerate() {
            let errors = (0..self.n_stars()).map(|n| self.estimates.error(n, k)).collect();
            columns.push(Column::f64(format!("{name}_catalogue"), unit(name), self.catalogue.column(k).to_vec()));
            columns.push(Column::f64(format!("{name}_estimate"), unit(name), self.estimates.labels.column(k).to_vec()));
            columns.push(Column::f64(format!("{name}_error"), unit(name), errors));
            if has_calibrated {
                let errors = self.calibrated_errors.column(k).to_vec();
                columns.push(Column::f64(format!("{name}_error_calibrated"), unit(name), errors));
                let both = |n: usize| {
                    let (own, of_catalogue) = (self.calibrated_errors[[n, k]], self.catalogue_errors[[n, k]]);
                    // A catalogue that quotes no errors has its own in the calibrated ones.
                    if of_catalogue.is_finite() { own.hypot(of_catalogue) } else { own }
                };
                let errors = (0..self.n_stars()).map(both).collect();
                columns.push(Column::f64(format!("{name}_error_against_catalogue"), unit(name), errors));
            }
            if let Some(truth) = &self.truth {
                columns.push(Column::f64(format!("{name}_truth"), unit(name), truth.labels.column(k).to_vec()));
            }
        }
        columns.push(Column::f64("snr", "", self.snr.clone()));
        columns.push(Column::f64("chi2_reduced", "", self.chi2_reduced()));
        for (a, b, name, unit) in pairs(&self.label_names) {
            columns.push(Column::f64(name, unit, self.estimates.covariance.slice(s![.., a, b]).to_vec()));
        }
        columns.push(Column::i64("flags", self.flags.clone()));
        if let Some(truth) = self.truth.as_ref().filter(|truth| truth.pathology.is_some()) {
            let word = |star: usize| truth.pathology_in_table(star).unwrap_or_default().to_string();
            columns.push(Column::text("pathology", (0..self.n_stars()).map(word).collect()));
        }
        columns
    }
}

/// How a column is written in CSV: what was measured by what it means, what was given as it came.
fn digits_of(name: &str, columns: &[Column]) -> Digits {
    let error_of = |label: &str| columns.iter().position(|column| column.name == format!("{label}_error"));
    let is_given = name.ends_with("_truth") || name.ends_with("_catalogue") && !name.ends_with("_against_catalogue");
    match name.strip_suffix("_estimate").and_then(error_of) {
        Some(error) => Digits::OfError(error),
        None if is_given => Digits::Given,
        None => Digits::Significant,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::data::fits;
    use crate::spectra::star_table::write_table;
    use ndarray::array;

    /// Stars of which no more is known than a catalogue's labels and estimates.
    pub(in crate::findings) fn bare(
        label_names: &[&str],
        catalogue: Array2<f64>,
        estimates: LabelEstimates,
    ) -> Predictions {
        let (n, unknown) = (catalogue.nrows(), Array2::from_elem(catalogue.dim(), f64::NAN));
        Predictions {
            ids: (0..n).map(|star| format!("s{star}")).collect(),
            label_names: label_names.iter().map(|name| name.to_string()).collect(),
            catalogue,
            catalogue_errors: unknown.clone(),
            truth: None,
            snr: vec![80.5; n],
            estimates,
            calibrated_errors: unknown,
            flags: vec![0; n],
        }
    }

    #[test]
    fn a_table_is_in_both_formats_or_in_none() {
        let folder = tempfile::tempdir().unwrap();
        // A folder in the place of one of the files cannot be replaced.
        for blocked in ["a.fits", "b.csv"] {
            std::fs::create_dir_all(folder.path().join(blocked)).unwrap();
        }
        let columns = [Column::i64("n", vec![1, 2])];
        for stem in ["a", "b"] {
            let refusal = write_table(&folder.path().join(stem), "A", &columns).unwrap_err().to_string();
            assert!(refusal.contains("a folder stands where"), "{refusal}");
        }
        assert!(!folder.path().join("a.csv").exists() && !folder.path().join("b.fits").exists());
        write_table(&folder.path().join("c.of.d"), "C", &columns).unwrap();
        assert!(folder.path().join("c.of.d.fits").is_file() && folder.path().join("c.of.d.csv").is_file());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn predictions_have_the_documented_columns_in_both_formats() {
        let mut estimates =
            LabelEstimates::read_off(array![[4505.5], [4601.0]], Array3::from_elem((2, 1, 1), 4.0), vec![100; 2]);
        estimates.chi2 = vec![99.0, 198.0];
        let predictions = Predictions {
            ids: vec!["a".into(), "b".into()],
            catalogue_errors: array![[20.0], [f64::NAN]],
            calibrated_errors: array![[15.0], [f64::NAN]],
            truth: Some(Truth { labels: array![[4510.0], [4600.0]], pathology: None }),
            snr: vec![80.5, f64::NAN],
            flags: vec![0, 72],
            ..bare(&["teff"], array![[4500.0], [f64::NAN]], estimates)
        };
        let folder = tempfile::tempdir().unwrap();
        write_table(&folder.path().join("predictions"), "PREDICTIONS", &predictions.columns()).unwrap();
        let csv = std::fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
        let expected = "id,teff_catalogue,teff_estimate,teff_error,teff_error_calibrated,teff_error_against_catalogue,teff_truth,snr,chi2_reduced,flags\n\
                        a,4500.0,4505.5,2.0,15.0,25.0,4510.0,80.5,1.0,0\n\
                        b,,4601.0,2.0,,,4600.0,,2.0,72\n";
        assert_eq!(csv, expected);
        let mut file = fits::FitsReader::open(&folder.path().join("predictions.fits")).unwrap();
        assert_eq!(file.numbers(1, "teff_truth", 0..2).unwrap(), [4510.0, 4600.0]);
        assert_eq!(file.key_text(1, "FLAG3").as_deref(), Some("NOT_CONVERGED"));
        // Both come back, and write the same again.
        for ending in ["fits", "csv"] {
            let back = Predictions::read(&folder.path().join(format!("predictions.{ending}"))).unwrap();
            assert_eq!(
                (&back.ids, &back.label_names, &back.flags),
                (&predictions.ids, &predictions.label_names, &vec![0, 72])
            );
            write_table(&folder.path().join("again"), "PREDICTIONS", &back.columns()).unwrap();
            assert_eq!(std::fs::read_to_string(folder.path().join("again.csv")).unwrap(), expected);
            let second = back.select(&[1], &[0]);
            assert_eq!((second.ids, second.estimates.chi2_reduced(0)), (vec!["b".to_string()], 2.0));
        }
    }

    #[test]
    fn text_has_the_digits_that_mean_something_and_names_the_healthy() {
        let labels = Array2::from_elem((3, 1), 4_505.512_345_678_912);
        let mut estimates = LabelEstimates::read_off(labels, Array3::from_elem((3, 1, 1), 25.0), vec![298; 3]);
        estimates.chi2.fill(100.0);
        let predictions = Predictions {
            ids: ["a", "b", "c"].map(String::from).to_vec(),
            catalogue_errors: Array2::from_elem((3, 1), 20.0),
            calibrated_errors: Array2::from_elem((3, 1), 45.123_456_789),
            truth: Some(Truth {
                labels: array![[4510.25], [4600.0], [f64::NAN]],
                pathology: Some(["", "binary", ""].map(String::from).to_vec()),
            }),
            snr: vec![80.512_345_678; 3],
            ..bare(&["teff"], array![[4_512.345_703_125], [4500.0], [4500.0]], estimates)
        };
        let folder = tempfile::tempdir().unwrap();
        let stem = folder.path().join("predictions");
        predictions.write(&stem).unwrap();
        let text = std::fs::read_to_string(folder.path().join("predictions.csv")).unwrap();
        let rows: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(rows[0], "a,4512.3457,4505.51,5.0,45.123,49.357,4510.25,80.512,0.3367,0,none");
        assert!(rows[1].ends_with(",0,binary") && rows[2].ends_with(",0,"), "{text}");
        let back = Predictions::read(&folder.path().join("predictions.fits")).unwrap();
        assert_eq!((back.estimates.labels[[0, 0]], back.snr[0]), (4_505.512_345_678_912, 80.512_345_678));
        assert_eq!(back.truth.unwrap().pathology, predictions.truth.unwrap().pathology);
    }

    #[test]
    fn covariances_come_back_and_files_without_them_are_read() {
        // Variances are squares of numbers whose roots are exact.
        let of_star = |n: f64| array![[16.0, 0.25 * n, -0.5], [0.25 * n, 4.0, 0.125], [-0.5, 0.125, 1.0]];
        let mut covariance = Array3::zeros((2, 3, 3));
        covariance.index_axis_mut(Axis(0), 0).assign(&of_star(1.0));
        covariance.index_axis_mut(Axis(0), 1).assign(&of_star(3.0));
        let estimates = LabelEstimates::read_off(Array2::ones((2, 3)), covariance, vec![100; 2]);
        let predictions = bare(&["teff", "logg", "fe_h"], Array2::zeros((2, 3)), estimates);
        let columns = predictions.columns();
        let of_pairs: Vec<(&str, &str)> = columns
            .iter()
            .filter(|column| column.name.starts_with("cov_"))
            .map(|column| (column.name.as_str(), &*column.unit))
            .collect();
        assert_eq!(of_pairs, [("cov_teff_logg", "K dex"), ("cov_teff_fe_h", "K dex"), ("cov_logg_fe_h", "dex dex")]);
        assert_eq!(predictions.estimates.covariances(1), [0.75, -0.5, 0.125]);
        let folder = tempfile::tempdir().unwrap();
        let without: Vec<Column> = columns.iter().filter(|column| !column.name.starts_with("cov_")).cloned().collect();
        write_table(&folder.path().join("whole"), "PREDICTIONS", &columns).unwrap();
        write_table(&folder.path().join("without"), "PREDICTIONS", &without).unwrap();
        for ending in ["fits", "csv"] {
            let read = |stem: &str| Predictions::read(&folder.path().join(format!("{stem}.{ending}"))).unwrap();
            assert_eq!(read("whole").estimates.covariance, predictions.estimates.covariance);
            let chosen = read("whole").select(&[1], &[2, 0]).estimates.covariance;
            assert_eq!(chosen, array![[[1.0, -0.5], [-0.5, 16.0]]]);
            let old = read("without").estimates.covariance;
            assert_eq!((old[[1, 0, 0]], old[[1, 2, 2]]), (16.0, 1.0));
            assert!(old[[1, 0, 1]].is_nan());
        }
    }
}
