//! Labels of single spectra: of any number, no catalogue, a trained model.

use std::path::{Path, PathBuf};

use ndarray::{Array2, ArrayView1};
use rayon::prelude::*;

use super::best_fits::{BestFits, SpectraRows, StarNote};
use crate::data::files;
use crate::data::value::Value;
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
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::noise::Conditions;
use crate::spectra::normalizer::Normalizer;
use crate::spectra::pixmask::Place;
use crate::spectra::quality::Quality;
use crate::stars::prepare_checks::warn_of;
use crate::stars::spectra::{Pixels, ReadSpectrum, SpectrumSource};
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
    /// The spectrum's name: its file, as it was given, or its place in an array.
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
    /// chi^2 of the best fit.
    pub chi2: f64,
    /// chi^2 per degree of freedom.
    pub chi2_reduced: f64,
    /// Fraction of pixels masked.
    pub fraction_masked: f64,
    /// Flags of spectrum and fit.
    pub flags: i64,
    /// What is handed on of its file, or of the table beside it ([`ReadSpectrum::values`]).
    pub values: Vec<Value>,
}

impl Labeller {
    /// Loads a model folder.
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; [`Error::Continuum`].
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

    /// Where the pixels lie.
    pub fn grid(&self) -> &WavelengthGrid {
        self.spectra.grid()
    }

    /// Spectra that are best labelled together.
    pub fn batch_stars(&self) -> usize {
        self.batch_stars
    }

    /// Refuses spectra that are not what the model was trained on.
    ///
    /// # Errors
    /// [`Error::Mismatch`], [`Error::Continuum`].
    pub fn expect_alike(&self, source: &dyn SpectrumSource) -> Result<()> {
        self.spectra.expect_alike(source)
    }

    /// Reads a spectrum and forgets it: whoever does not survive that knows why.
    pub fn try_to_read(&self, source: &dyn SpectrumSource, spectrum: usize) {
        self.spectra.read(source, &[spectrum], false);
    }

    /// The row of a spectrum that is not to be read.
    pub fn unread(&self, source: &dyn SpectrumSource, spectrum: usize) -> LabelledStar {
        let missing = vec![f64::NAN; self.label_names.len()];
        let calibrated_errors = if self.calibration.is_some() { missing.clone() } else { Vec::new() };
        let mut star = LabelledStar::unreadable(source, spectrum);
        (star.labels, star.errors, star.calibrated_errors) = (missing.clone(), missing, calibrated_errors);
        star
    }

    /// Labels some spectra, which are in memory together; with their best fits they go to `best_fits`. One that cannot be read gets a
    /// flag and no labels; its problem goes to the log.
    ///
    /// # Errors
    /// Those of estimating, and of writing spectra.
    pub fn label(
        &self,
        source: &dyn SpectrumSource,
        spectra: &[usize],
        best_fits: Option<&mut (dyn BestFits + 'static)>,
        progress: &dyn Progress,
    ) -> Result<Vec<LabelledStar>> {
        let RawBatch { flux, ivar, continua, mut stars, errors } =
            self.spectra.read(source, spectra, best_fits.is_some());
        warn_of(&errors, "spectra without labels; their flags say why");
        let batch = SpectraBatch::new(flux.view(), ivar.view(), &self.compute);
        let wanted = Wanted { best_fit: best_fits.is_some(), ..Wanted::default() };
        let Estimated { labels: estimates, best_fit, .. } = self.estimator.estimate(&batch, wanted)?;
        if let Some(best_fits) = best_fits {
            best_fits.add(&SpectraRows {
                ids: &stars.iter().map(|star| star.id.clone()).collect::<Vec<_>>(),
                files: &stars.iter().map(|star| star.file.clone()).collect::<Vec<_>>(),
                flux: flux.view(),
                ivar: ivar.view(),
                continuum: continua.view(),
                estimates: &estimates,
                best_fit: best_fit.as_ref(),
                notes: &stars.iter().map(LabelledStar::note).collect::<Vec<_>>(),
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
    /// The row of a spectrum that cannot be read.
    pub(super) fn unreadable(source: &dyn SpectrumSource, spectrum: usize) -> Self {
        let name = source.name(spectrum);
        let stem = || files::path_text(Path::new(Path::new(&name).file_stem().unwrap_or_default()));
        let id = source.id(spectrum).unwrap_or_else(stem);
        Self::without_labels(name, id, f64::NAN, &Quality { unreadable: true, ..Quality::default() })
    }

    fn without_labels(file: String, id: String, snr: f64, quality: &Quality) -> Self {
        Self {
            file,
            id: shortened(id),
            snr,
            labels: Vec::new(),
            errors: Vec::new(),
            covariances: Vec::new(),
            calibrated_errors: Vec::new(),
            chi2: f64::NAN,
            chi2_reduced: f64::NAN,
            fraction_masked: quality.fraction_masked(),
            flags: quality.flags(),
            values: Vec::new(),
        }
    }

    fn note(&self) -> StarNote<'_> {
        StarNote { snr: self.snr, flags: self.flags, values: &self.values }
    }

    /// Takes a star's row of some estimates.
    pub(super) fn set_estimates(&mut self, estimates: &LabelEstimates, row: usize) {
        self.labels = estimates.labels.row(row).to_vec();
        self.errors = (0..self.labels.len()).map(|k| estimates.error(row, k)).collect();
        self.covariances = estimates.covariances(row);
        self.chi2_reduced = estimates.chi2_reduced(row);
        self.chi2 = if self.chi2_reduced.is_nan() { f64::NAN } else { estimates.chi2[row] };
        self.flags |= estimates.flags[row];
    }
}

/// Reads spectra and prepares them as a model wants them.
pub(super) struct RawSpectra {
    model: PathBuf,
    preparation: Preparation,
    places: Vec<Place>,
    normalizer: Normalizer,
}

/// Some spectra, one row each.
pub(super) struct RawBatch {
    /// Normalized flux and inverse variance, [n_stars, n_pixels]; without information where a spectrum could not be read.
    pub flux: Array2<f32>,
    pub ivar: Array2<f32>,
    /// The pseudo-continua, [n_stars, n_pixels]; NaN where a spectrum could not be read, no rows where they are not wanted.
    pub continua: Array2<f32>,
    /// The stars, without labels as yet.
    pub stars: Vec<LabelledStar>,
    /// What kept spectra from being read.
    pub errors: Vec<Error>,
}

impl RawSpectra {
    /// For the model in a folder, which was trained on spectra so prepared.
    ///
    /// # Errors
    /// [`Error::Continuum`].
    pub fn new(model: &Path, preparation: Preparation) -> Result<Self> {
        let normalizer = Normalizer::new(&preparation.grid, &preparation.is_continuum(), &preparation.continuum)?;
        Ok(Self { model: model.to_path_buf(), places: preparation.places(), preparation, normalizer })
    }

    /// Where the pixels lie.
    pub fn grid(&self) -> &WavelengthGrid {
        &self.preparation.grid
    }

    /// Refuses spectra that are not what the model was trained on.
    ///
    /// # Errors
    /// Those of [`SpectrumSource::expect_alike`].
    pub fn expect_alike(&self, source: &dyn SpectrumSource) -> Result<()> {
        source.expect_alike(&self.model, &self.preparation)
    }

    /// Reads some spectra; one that cannot be read gets a flag.
    pub fn read(&self, source: &dyn SpectrumSource, spectra: &[usize], with_continua: bool) -> RawBatch {
        let Preparation { grid, pixmask, continuum, .. } = &self.preparation;
        let are_normalized = continuum.method == ContinuumMethod::None;
        let read = source.read(spectra, Pixels { grid, places: &self.places, pixmask, are_normalized });
        let prepared: Vec<_> = read
            .into_par_iter()
            .map(|read| {
                let ReadSpectrum { id, snr, masked, mut quality, values, .. } = read?;
                let normalized = self.normalizer.normalize(&masked, &mut quality);
                let continuum = with_continua.then(|| self.normalizer.continuum(&masked));
                Ok::<_, Error>((id, snr, normalized, quality, continuum, values))
            })
            .collect();
        let shape = (spectra.len(), grid.n_pixels());
        let (mut flux, mut ivar) = (Array2::from_elem(shape, 1.0_f32), Array2::zeros(shape));
        let mut continua = Array2::from_elem((if with_continua { shape.0 } else { 0 }, shape.1), f32::NAN);
        let (mut stars, mut errors) = (Vec::with_capacity(spectra.len()), Vec::new());
        for (row, (result, spectrum)) in prepared.into_iter().zip(spectra).enumerate() {
            stars.push(match result {
                Ok((id, snr, normalized, quality, continuum, values)) => {
                    flux.row_mut(row).assign(&ArrayView1::from(&normalized.flux));
                    ivar.row_mut(row).assign(&ArrayView1::from(&normalized.ivar));
                    if let Some(continuum) = continuum {
                        continua.row_mut(row).assign(&ArrayView1::from(&continuum));
                    }
                    LabelledStar { values, ..LabelledStar::without_labels(source.name(*spectrum), id, snr, &quality) }
                }
                Err(err) => {
                    errors.push(err);
                    LabelledStar::unreadable(source, *spectrum)
                }
            });
        }
        RawBatch { flux, ivar, continua, stars, errors }
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
