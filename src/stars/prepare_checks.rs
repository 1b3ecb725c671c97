//! What is asked of spectra while they are prepared: readable, of the stars they are said to be of, measured, normalized.

use std::fmt::Display;
use std::path::Path;

use rayon::prelude::*;

use crate::error::{Error, Result, number_text};
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::pixmask::MaskedSpectrum;
use crate::spectra::quality::Quality;
use crate::stars::settings::StarSettings;
use crate::stars::spectra::ReadSpectrum;
use crate::stats::robust::median;

/// Problems named in the log before they are only counted.
const NAMED_PROBLEMS: usize = 5;
/// How the problem of a file that holds another star begins.
const OTHER_STAR: &str = "the spectrum of another star";
/// Spectra whose fluxes have a median in this range may be normalized.
const NORMALIZED: std::ops::RangeInclusive<f64> = 0.3..=3.0;
/// Pixels that tell the level of one spectrum.
const LEVEL_PIXELS: usize = 1000;

/// A file with another star than its row of the catalogue says.
pub(super) fn other_star(spectrum: &str, found: &str, expected: &str) -> Error {
    let detail = format!("{OTHER_STAR}, {found}, where the catalogue says {expected}");
    Error::Mismatch { what: spectrum.to_string(), detail }
}

/// What kept spectra from being read.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    problems: Vec<String>,
    strangers: Vec<String>,
}

impl Troubles {
    /// Takes down one spectrum's problem.
    pub fn add(&mut self, err: &Error) {
        let is_stranger = matches!(err, Error::Mismatch { detail, .. } if detail.starts_with(OTHER_STAR));
        if is_stranger { &mut self.strangers } else { &mut self.problems }.push(err.to_string());
    }

    /// Refuses where nothing could be read of `n_stars` spectra, or most hold another star.
    ///
    /// # Errors
    /// [`Error::Mismatch`], [`Error::TooFewStars`].
    pub fn refuse(&mut self, n_stars: usize) -> Result<()> {
        self.problems.sort();
        self.strangers.sort();
        let n_read = n_stars - self.problems.len();
        if 2 * self.strangers.len() > n_read {
            let detail = format!(
                "{} of {n_read} files hold another star than their rows of the catalogue say (the first: {}); are APOGEE_ID, FILE and FIELD of the same rows, and is APOGEE_ID the files' OBJID?",
                self.strangers.len(),
                self.strangers[0]
            );
            return Err(Error::Mismatch { what: "catalogue and spectra".into(), detail });
        }
        match self.problems.first() {
            Some(first) if n_read == 0 => Err(Error::TooFewStars {
                stage: "reading spectra".into(),
                n_stars: 0,
                needed: 1,
                remedy: format!("none of {n_stars} could be read; the first: {first}"),
            }),
            _ => Ok(()),
        }
    }

    /// [`Troubles::refuse`], and a word on each kind of trouble.
    ///
    /// # Errors
    /// As [`Troubles::refuse`].
    pub fn report(mut self, n_stars: usize) -> Result<()> {
        let verdict = self.refuse(n_stars);
        for (troubles, what) in [
            (&self.problems, "unreadable spectra"),
            (&self.strangers, "spectra of other stars than the catalogue says"),
        ] {
            warn_of(troubles, what);
        }
        if verdict.is_ok() && !self.strangers.is_empty() {
            tracing::warn!(
                "{} of {n_stars} files hold another star than the catalogue says: left out",
                self.strangers.len()
            );
        }
        verdict
    }
}

/// Warns of problems: of the first few each by itself, of the rest by their number.
pub fn warn_of(problems: &[impl Display], what: &str) {
    problems.iter().take(NAMED_PROBLEMS).for_each(|problem| tracing::warn!("{problem}"));
    if problems.len() > NAMED_PROBLEMS {
        tracing::warn!("... and {} more {what}", problems.len() - NAMED_PROBLEMS);
    }
}

/// Refuses spectra of which not a pixel can be used, unless a chip was lost for want of a continuum.
///
/// # Errors
/// [`Error::Mismatch`].
pub(super) fn expect_usable<'a>(
    quality: impl IntoIterator<Item = &'a Quality> + Clone,
    settings: &StarSettings,
) -> Result<()> {
    let sum = |of: fn(&Quality) -> usize| quality.clone().into_iter().map(of).sum::<usize>();
    if sum(|quality| quality.n_good) > 0 || sum(|quality| quality.chips_lost) > 0 {
        return Ok(());
    }
    let (n_inside, n_bad) = (sum(|quality| quality.n_inside), sum(|quality| quality.n_bad_error));
    let has_ivar = settings.data.arrays.as_ref().is_some_and(|arrays| arrays.ivar.is_some());
    let most = number_text(settings.pixmask.max_relative_error);
    let cause = match (n_inside - sum(|quality| quality.n_missing), n_bad) {
        (0, _) if has_ivar => {
            "none has a finite flux and a finite inverse variance; is data.arrays.ivar NaN throughout, or all flux missing?".into()
        }
        (0, _) => "none has a finite flux and an error above 0; are all errors 0, or all fluxes missing?".into(),
        (_, 0) => "every pixel carries a bit of pixmask.bits, or no information".into(),
        (_, n_bad) if has_ivar => format!(
            "data.arrays.ivar is 0 or below in {n_bad} of {n_inside} pixels, or says errors above pixmask.max_relative_error = {most} times \
             the flux; 0 means no information: is it all 0, or are these errors given as inverse variances?"
        ),
        (_, n_bad) => format!(
            "{n_bad} of {n_inside} pixels have errors below 0, or above pixmask.max_relative_error = {most} times the flux; are they errors, \
             or inverse variances given as data.arrays.error?"
        ),
    };
    Err(Error::Mismatch { what: "usable pixels".into(), detail: format!("no spectrum has any: {cause}") })
}

/// Too few of the training stars that were read have a pixel to find continuum pixels by.
pub(super) fn few_usable(n_usable: usize, n_read: usize) -> Error {
    Error::TooFewStars {
        stage: "finding continuum pixels".into(),
        n_stars: n_usable,
        needed: 2,
        remedy: format!(
            "{} of {n_read} training stars with all labels have no usable pixel; look at their errors and masks, or name a list of pixels in continuum.pixels",
            n_read - n_usable
        ),
    }
}

/// Refuses a set in which nothing is measured, or in which spectra that should come normalized are not.
///
/// # Errors
/// [`Error::Mismatch`], [`Error::Continuum`].
pub(super) fn expect_measured(quality: &[Quality], levels: &[f64], settings: &StarSettings) -> Result<()> {
    expect_usable(quality, settings)?;
    let level = median(&levels.iter().copied().filter(|level| level.is_finite()).collect::<Vec<f64>>());
    if settings.continuum.method == ContinuumMethod::None && level.is_finite() && !NORMALIZED.contains(&level) {
        return Err(Error::Continuum(format!(
            "continuum.method = \"none\" is for spectra that come normalized, and the median flux of these is {level:.4} (of {} stars; {} to {} passes for normalized); set continuum.method = \"chebyshev\" and continuum.pixels = \"find\", or divide them by their continuum",
            levels.len(),
            NORMALIZED.start(),
            NORMALIZED.end()
        )));
    }
    Ok(())
}

/// Refuses spectra, some of a survey, that should come normalized and do not.
///
/// # Errors
/// [`Error::Continuum`].
pub(super) fn expect_normalized(spectra: &[ReadSpectrum], flux: &Path) -> Result<()> {
    let levels = spectra.par_iter().map(|spectrum| level_of(&spectrum.masked));
    let level = median(&levels.filter(|level| level.is_finite()).collect::<Vec<f64>>());
    if !level.is_finite() || NORMALIZED.contains(&level) {
        return Ok(());
    }
    Err(Error::Continuum(format!(
        "the model was trained on normalized spectra, and the median flux of {} is {level:.4} ({} to {} passes for normalized); divide \
         them by their continuum as those were, or train it anew with continuum.method = \"chebyshev\"",
        flux.display(),
        NORMALIZED.start(),
        NORMALIZED.end()
    )))
}

/// Refuses a spectrum that should come normalized and lies at 0 or below: single pixels may, by their noise, but not most of them.
///
/// # Errors
/// [`Error::Mismatch`].
pub(super) fn expect_positive(id: &str, spectrum: &MaskedSpectrum) -> Result<()> {
    let level = level_of(spectrum);
    if level.is_nan() || level > 0.0 {
        return Ok(());
    }
    let detail = format!(
        "flux is 0 or below in most of its measured pixels (median {level:.4}), and normalized spectra lie near 1; divide it by its \
         continuum, or give what was not measured an error of 0"
    );
    Err(Error::Mismatch { what: format!("star {id}"), detail })
}

/// Median flux of what is measured of a spectrum; NaN where nothing is.
fn level_of(spectrum: &MaskedSpectrum) -> f64 {
    let pixels = spectrum.flux.iter().zip(&spectrum.ivar).filter(|(_, ivar)| **ivar > 0.0);
    median(&pixels.map(|(flux, _)| *flux).collect::<Vec<_>>())
}

/// Median flux of a prepared spectrum; NaN where nothing is measured.
pub(super) fn level(flux: &[f32], ivar: &[f32]) -> f64 {
    let step = flux.len() / LEVEL_PIXELS + 1;
    let measured = flux.iter().zip(ivar).step_by(step).filter(|(_, ivar)| **ivar > 0.0);
    median(&measured.map(|(flux, _)| f64::from(*flux)).collect::<Vec<_>>())
}
