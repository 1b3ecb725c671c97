//! Labels of single spectra: apStar files of any number, no catalogue, a trained model.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use rayon::prelude::*;

use super::best_fits::{SpectraFile, SpectraRows};
use crate::data::files;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::inference::calibration::ErrorCalibration;
use crate::inference::fit::FitSettings;
use crate::inference::refine::RefineSettings;
use crate::kinds::kind::Loaded;
use crate::kinds::registry;
use crate::models::{Estimated, LabelEstimates, LabelEstimator, Wanted};
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::noise::Conditions;
use crate::spectra::quality::Quality;
use crate::stars::prepare::{Normalizer, read_apstar};
use crate::training::checkpoint::Preparation;

/// A trained model, whatever its kind, ready to label raw spectra.
pub struct Labeller {
    estimator: Box<dyn LabelEstimator>,
    spectra: RawSpectra,
    label_names: Vec<String>,
    calibration: Option<ErrorCalibration>,
    batch_stars: usize,
    compute: Compute,
    fingerprint: String,
}

/// What formal errors are.
const FORMAL: &str = "formal: what the model claims, which is the noise alone where it is a fit; real ones are larger wherever stars \
                      differ in more than the labels (a model of a run with [calibration] brings calibrated ones)";

/// What one spectrum gave.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledStar {
    /// The file, as it was given.
    pub file: String,
    /// Star identifier from its header.
    pub id: String,
    /// Signal-to-noise ratio from its header; NaN where absent.
    pub snr: f64,
    /// The labels.
    pub labels: Vec<f64>,
    /// Their formal errors.
    pub errors: Vec<f64>,
    /// Their formal covariances, those of each pair once ([`LabelEstimates::covariances`]).
    pub covariances: Vec<f64>,
    /// Their calibrated errors; empty where the model has no calibration.
    pub calibrated_errors: Vec<f64>,
    /// chi^2 per degree of freedom.
    pub chi2_reduced: f64,
    /// Fraction of pixels masked.
    pub fraction_masked: f64,
    /// Flags of spectrum and fit.
    pub flags: i64,
}

impl Labeller {
    /// Loads a model folder.
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; [`Error::Mismatch`] if the model was not trained on apStar spectra; [`Error::Continuum`].
    pub fn load(folder: &Path, fit: &FitSettings, refine: &RefineSettings, compute: &Compute) -> Result<Self> {
        let Loaded { estimator, preparation, label_names, files, .. } = registry::load(folder, fit, refine, compute)?;
        let fingerprint = files::content_hash(&files)?;
        let spectra = RawSpectra::new(folder, preparation)?;
        Ok(Self {
            calibration: ErrorCalibration::load(folder, &label_names)?,
            estimator,
            spectra,
            label_names,
            batch_stars: fit.batch_stars,
            compute: compute.clone(),
            fingerprint: format!("{fingerprint} {:?} {fit:?} {refine:?}", compute.dtype()),
        })
    }

    /// Names of the labels.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// Which errors the stars' are that people should use, in words: the calibrated ones where there are some.
    pub fn words_on_errors(&self) -> String {
        match &self.calibration {
            Some(calibration) => calibration.words(),
            None => FORMAL.into(),
        }
    }

    /// Identifies model, settings and precision: equal ones give equal labels.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// An empty file for the spectra of so many stars and their best fits.
    pub fn spectra_file(&self, path: &Path, model: &str, n_stars: usize) -> SpectraFile {
        SpectraFile::new(path, model, self.spectra.grid(), n_stars)
    }

    /// Files that are best labelled together.
    pub fn batch_stars(&self) -> usize {
        self.batch_stars
    }

    /// Reads a file and forgets it: whoever does not survive that knows why.
    pub fn try_to_read(&self, path: &PathBuf) {
        self.spectra.read(std::slice::from_ref(path));
    }

    /// The row of a file that is not to be read.
    pub fn unread(&self, path: &Path) -> LabelledStar {
        let missing = vec![f64::NAN; self.label_names.len()];
        let calibrated_errors = if self.calibration.is_some() { missing.clone() } else { Vec::new() };
        let quality = Quality { unreadable: true, ..Quality::default() };
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut star = LabelledStar::without_labels(path, stem, f64::NAN, &quality);
        (star.labels, star.errors, star.calibrated_errors) = (missing.clone(), missing, calibrated_errors);
        star
    }

    /// Labels some files, which are in memory together; their spectra with the best fits go to `spectra`. A file that cannot be
    /// read gets a flag and no labels; its problem goes to the log.
    ///
    /// # Errors
    /// Those of estimating, and of writing spectra.
    pub fn label(
        &self,
        paths: &[PathBuf],
        spectra: Option<&mut SpectraFile>,
        progress: &dyn Progress,
    ) -> Result<Vec<LabelledStar>> {
        let RawBatch { flux, ivar, mut stars, errors } = self.spectra.read(paths);
        errors.iter().for_each(|err| tracing::warn!("{err}"));
        let batch = SpectraBatch::new(flux.view(), ivar.view(), &self.compute);
        let wanted = Wanted { best_fit: spectra.is_some(), ..Wanted::default() };
        let Estimated { labels: estimates, best_fit, .. } = self.estimator.estimate(&batch, wanted)?;
        if let Some(spectra) = spectra {
            spectra.add(&SpectraRows {
                ids: &stars.iter().map(|star| star.id.clone()).collect::<Vec<_>>(),
                files: &stars.iter().map(|star| star.file.clone()).collect::<Vec<_>>(),
                flux: flux.view(),
                ivar: ivar.view(),
                continuum: self.spectra.continua(paths).view(),
                estimates: &estimates,
                best_fit: best_fit.as_ref(),
            })?;
        }
        progress.advance(stars.len());
        let conditions = Conditions::of(ivar.view(), &self.spectra.preparation.grid.chips);
        let calibrated = self.calibration.as_ref().map(|calibration| calibration.errors(&estimates, &conditions));
        for (row, star) in stars.iter_mut().enumerate() {
            star.set_estimates(&estimates, row);
            star.calibrated_errors = calibrated.as_ref().map(|errors| errors.row(row).to_vec()).unwrap_or_default();
        }
        Ok(stars)
    }
}

impl LabelledStar {
    fn without_labels(path: &Path, id: String, snr: f64, quality: &Quality) -> Self {
        Self {
            file: files::path_text(path),
            id: shortened(id),
            snr,
            labels: Vec::new(),
            errors: Vec::new(),
            covariances: Vec::new(),
            calibrated_errors: Vec::new(),
            chi2_reduced: f64::NAN,
            fraction_masked: quality.fraction_masked(),
            flags: quality.flags(),
        }
    }

    /// Takes a star's row of some estimates.
    pub(super) fn set_estimates(&mut self, estimates: &LabelEstimates, row: usize) {
        self.labels = estimates.labels.row(row).to_vec();
        self.errors = (0..self.labels.len()).map(|k| estimates.error(row, k)).collect();
        self.covariances = estimates.covariances(row);
        self.chi2_reduced = estimates.chi2_reduced(row);
        self.flags |= estimates.flags[row];
    }
}

/// Reads apStar files and prepares them as a model wants them.
pub(super) struct RawSpectra {
    preparation: Preparation,
    normalizer: Normalizer,
}

/// Spectra of some files, one row per file.
pub(super) struct RawBatch {
    /// Normalized flux and inverse variance, [n_stars, n_pixels]; without information where a file could not be read.
    pub flux: Array2<f32>,
    pub ivar: Array2<f32>,
    /// The stars, without labels as yet.
    pub stars: Vec<LabelledStar>,
    /// What kept files from being read.
    pub errors: Vec<Error>,
}

impl RawSpectra {
    /// For the model in a folder, which was trained on spectra so prepared.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the preparation is not one of apStar spectra; [`Error::Continuum`].
    pub fn new(model: &Path, preparation: Preparation) -> Result<Self> {
        if !preparation.continuum.is_of_apstar(&preparation.grid) {
            return Err(Error::Mismatch {
                what: model.display().to_string(),
                detail: "this model was trained on spectra other than apStar files, and those are all that is read here; to have \
                         spectra of its survey labelled, put them among the arrays of a `maury run`, their labels left empty, and \
                         set selection.keep_missing_labels = true"
                    .into(),
            });
        }
        let normalizer = Normalizer::new(&preparation.grid, &preparation.is_continuum(), &preparation.continuum)?;
        Ok(Self { preparation, normalizer })
    }

    /// Where the pixels lie.
    pub fn grid(&self) -> &WavelengthGrid {
        &self.preparation.grid
    }

    /// The pseudo-continua of some files, [n_stars, n_pixels]; NaN where a file cannot be read.
    fn continua(&self, paths: &[PathBuf]) -> Array2<f32> {
        let (grid, pixmask) = (&self.preparation.grid, &self.preparation.pixmask);
        let of_file = |path: &PathBuf| match read_apstar(path, grid, pixmask) {
            Ok((_, masked, _)) => self.normalizer.continuum(&masked),
            Err(_) => vec![f32::NAN; grid.n_pixels()],
        };
        let continua = paths.par_iter().map(of_file).collect::<Vec<_>>().concat();
        Array2::from_shape_vec((paths.len(), grid.n_pixels()), continua).expect("one value per star and pixel")
    }

    /// Reads some files; one that cannot be read gets a flag.
    pub fn read(&self, paths: &[PathBuf]) -> RawBatch {
        let (grid, pixmask, normalizer) = (&self.preparation.grid, &self.preparation.pixmask, &self.normalizer);
        let read: Vec<_> = paths
            .par_iter()
            .map(|path| {
                let (raw, masked, mut quality) = read_apstar(path, grid, pixmask)?;
                let normalized = normalizer.normalize(&masked, &mut quality);
                Ok::<_, Error>((raw.id, raw.snr, normalized, quality))
            })
            .collect();
        let mut flux = Array2::from_elem((paths.len(), grid.n_pixels()), 1.0_f32);
        let mut ivar = Array2::zeros((paths.len(), grid.n_pixels()));
        let mut stars = Vec::with_capacity(paths.len());
        let mut errors = Vec::new();
        for (row, (result, path)) in read.into_iter().zip(paths).enumerate() {
            let (id, snr, quality) = match result {
                Ok((id, snr, normalized, quality)) => {
                    flux.row_mut(row).iter_mut().zip(normalized.flux).for_each(|(to, from)| *to = from);
                    ivar.row_mut(row).iter_mut().zip(normalized.ivar).for_each(|(to, from)| *to = from);
                    (id, snr, quality)
                }
                Err(err) => {
                    errors.push(err);
                    let stem = files::path_text(Path::new(path.file_stem().unwrap_or_default()));
                    (stem, f64::NAN, Quality { unreadable: true, ..Quality::default() })
                }
            };
            stars.push(LabelledStar::without_labels(path, id, snr, &quality));
        }
        RawBatch { flux, ivar, stars, errors }
    }
}

/// An identifier as it goes into tables: no star has one of a thousand letters, and no table a column for it.
fn shortened(id: String) -> String {
    const LONGEST: usize = 100;
    match id.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &id[..end]),
        None => id,
    }
}
