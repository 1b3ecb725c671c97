//! Labels of single spectra: apStar files, no catalogue, a trained model.

use std::path::PathBuf;

use ndarray::Array2;
use rayon::prelude::*;

use super::prepare::{Normalizer, read_apstar};
use crate::data::fits::Column;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::inference::fitted::FittedCannon;
use crate::models::LabelEstimates;
use crate::progress::Progress;
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::labels::unit;
use crate::spectra::quality::Quality;
use crate::training::checkpoint::TrainedCannon;

/// Labels of some spectra, one row per file.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The files.
    pub files: Vec<PathBuf>,
    /// Star identifiers from their headers.
    pub ids: Vec<String>,
    /// Signal-to-noise ratio from their headers; NaN where absent.
    pub snr: Vec<f64>,
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// The labels.
    pub estimates: LabelEstimates,
    /// Fraction of pixels masked.
    pub fraction_masked: Vec<f64>,
    /// Flags of spectrum and fit.
    pub flags: Vec<i64>,
    /// Files that could not be read, with the reason.
    pub problems: Vec<String>,
}

impl Labelled {
    /// The columns of the table of labels.
    pub fn columns(&self) -> Vec<Column> {
        let n_stars = self.files.len();
        let file = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut columns = vec![
            Column::text("id", self.ids.clone()),
            Column::text("file", self.files.iter().map(file).collect()),
            Column::f64("snr", "", self.snr.clone()),
        ];
        for (k, name) in self.label_names.iter().enumerate() {
            columns.push(Column::f64(format!("{name}_estimate"), unit(name), self.estimates.labels.column(k).to_vec()));
            let errors = (0..n_stars).map(|n| self.estimates.error(n, k)).collect();
            columns.push(Column::f64(format!("{name}_error"), unit(name), errors));
        }
        columns.push(Column::f64("chi2_reduced", "", (0..n_stars).map(|n| self.estimates.chi2_reduced(n)).collect()));
        columns.push(Column::f64("fraction_masked", "", self.fraction_masked.clone()));
        columns.push(Column::i64("flags", self.flags.clone()));
        columns
    }
}

/// Labels apStar files a batch at a time; a file that cannot be read gets a flag and no labels.
///
/// # Errors
/// [`Error::Mismatch`] if the model was not trained on apStar spectra; [`Error::Continuum`].
pub fn label_files(
    files: &[PathBuf],
    model: &TrainedCannon,
    settings: &FitSettings,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<Labelled> {
    let preparation = &model.preparation;
    let grid = &preparation.grid;
    if !grid.is_apogee() || preparation.continuum.method == ContinuumMethod::None {
        return Err(Error::Mismatch {
            what: "model".into(),
            detail: "it was not trained on apStar spectra that maury normalized; label arrays with `maury run`".into(),
        });
    }
    let normalizer = Normalizer::new(grid, &preparation.is_continuum(), &preparation.continuum)?;
    let fitted = FittedCannon::new(model, settings, compute);
    let n_pixels = grid.n_pixels();
    let mut labelled = Labelled {
        files: files.to_vec(),
        ids: Vec::new(),
        snr: Vec::new(),
        label_names: model.scaler.names.clone(),
        estimates: LabelEstimates::empty(model.scaler.n_labels()),
        fraction_masked: Vec::new(),
        flags: Vec::new(),
        problems: Vec::new(),
    };
    progress.start("labelling spectra", files.len());
    for batch in files.chunks(settings.batch_stars) {
        let read: Vec<_> = batch
            .par_iter()
            .map(|path| {
                let (raw, masked, mut quality) = read_apstar(path, grid, &preparation.pixmask)?;
                let normalized = normalizer.normalize(&masked, &mut quality);
                Ok::<_, Error>((raw.id, raw.snr, normalized, quality))
            })
            .collect();
        let mut flux = Array2::from_elem((batch.len(), n_pixels), 1.0_f32);
        let mut ivar = Array2::zeros((batch.len(), n_pixels));
        let mut flags = Vec::with_capacity(batch.len());
        for (row, (result, path)) in read.into_iter().zip(batch).enumerate() {
            match result {
                Ok((id, snr, normalized, quality)) => {
                    flux.row_mut(row).iter_mut().zip(normalized.flux).for_each(|(to, from)| *to = from);
                    ivar.row_mut(row).iter_mut().zip(normalized.ivar).for_each(|(to, from)| *to = from);
                    labelled.push(id, snr, &quality);
                    flags.push(quality.flags());
                }
                Err(err) => {
                    labelled.problems.push(err.to_string());
                    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
                    let quality = Quality { unreadable: true, ..Quality::default() };
                    labelled.push(stem, f64::NAN, &quality);
                    flags.push(quality.flags());
                }
            }
        }
        let estimates = fitted.estimate_arrays(flux.view(), ivar.view(), &|stars| progress.advance(stars))?;
        labelled.flags.extend(flags.iter().zip(&estimates.flags).map(|(spectrum, fit)| spectrum | fit));
        labelled.estimates.append(estimates);
    }
    progress.finish();
    Ok(labelled)
}

impl Labelled {
    fn push(&mut self, id: String, snr: f64, quality: &Quality) {
        self.ids.push(id);
        self.snr.push(snr);
        self.fraction_masked.push(quality.fraction_masked());
    }
}
