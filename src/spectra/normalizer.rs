//! Raw spectra of a survey turned into normalized ones, however it wants that done.

use super::continuum::{ContinuumFitter, ContinuumMethod, ContinuumSettings, NormalizedSpectrum};
use super::grid::WavelengthGrid;
use super::pixmask::MaskedSpectrum;
use super::quality::Quality;
use crate::error::Result;

/// Normalizes masked spectra, or passes them on where they came normalized.
pub struct Normalizer(Option<ContinuumFitter>);

impl Normalizer {
    /// A normalizer with these continuum pixels.
    ///
    /// # Errors
    /// [`crate::error::Error::Continuum`].
    pub fn new(grid: &WavelengthGrid, is_continuum: &[bool], settings: &ContinuumSettings) -> Result<Self> {
        Ok(Self(match settings.method {
            ContinuumMethod::Chebyshev => Some(ContinuumFitter::new(grid, is_continuum, settings)?),
            ContinuumMethod::None => None,
        }))
    }

    /// The pseudo-continuum that a spectrum is divided by; NaN on chips that have none, 1 where spectra came normalized.
    pub fn continuum(&self, spectrum: &MaskedSpectrum) -> Vec<f32> {
        match &self.0 {
            Some(fitter) => {
                let of_chip = |(chip, continuum): (std::ops::Range<usize>, Option<Vec<f64>>)| {
                    continuum.unwrap_or_else(|| vec![f64::NAN; chip.len()]).into_iter().map(|level| level as f32)
                };
                fitter.chips().zip(fitter.fit(spectrum, &mut Quality::default())).flat_map(of_chip).collect()
            }
            None => vec![1.0; spectrum.flux.len()],
        }
    }

    /// The normalized spectrum; counts what is lost in `quality`.
    pub fn normalize(&self, spectrum: &MaskedSpectrum, quality: &mut Quality) -> NormalizedSpectrum {
        match &self.0 {
            Some(fitter) => fitter.normalize(spectrum, quality),
            None => NormalizedSpectrum {
                flux: spectrum
                    .flux
                    .iter()
                    .zip(&spectrum.ivar)
                    .map(|(f, v)| if *v > 0.0 { *f as f32 } else { 1.0 })
                    .collect(),
                ivar: spectrum.ivar.iter().map(|ivar| ivar.min(f64::from(f32::MAX)) as f32).collect(),
            },
        }
    }
}
