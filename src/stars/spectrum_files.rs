//! Files of single spectra as a source of spectra: apStar files of every release.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::spectra::{Pixels, ReadSpectrum, SpectrumSource};
use crate::data::{apstar, files};
use crate::error::{Error, Result};
use crate::spectra::grid::{self, WavelengthGrid};
use crate::spectra::pixmask;
use crate::training::checkpoint::Preparation;

/// One spectrum a file.
#[derive(Debug)]
pub struct SpectrumFiles(Vec<PathBuf>);

impl SpectrumFiles {
    /// Of these files, which are not read as yet.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self(paths)
    }
}

impl SpectrumSource for SpectrumFiles {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn name(&self, spectrum: usize) -> String {
        files::path_text(&self.0[spectrum])
    }

    fn expect_alike(&self, model: &Path, preparation: &Preparation) -> Result<()> {
        match preparation.continuum.is_of_apstar(&preparation.grid) {
            true => Ok(()),
            false => Err(Error::Mismatch {
                what: model.display().to_string(),
                detail: "this model was trained on arrays, not on apStar files; give it arrays of the same pixels: \
                         --flux FLUX.npy --error ERROR.npy"
                    .into(),
            }),
        }
    }

    fn read(&self, spectra: &[usize], pixels: Pixels) -> Vec<Result<ReadSpectrum>> {
        spectra.par_iter().map(|spectrum| read_file(&self.0[*spectrum], pixels)).collect()
    }

    fn file(&self, spectrum: usize) -> Option<&Path> {
        self.0.get(spectrum).map(PathBuf::as_path)
    }

    fn files(&self) -> Box<dyn Iterator<Item = &Path> + '_> {
        Box::new(self.0.iter().map(PathBuf::as_path))
    }

    fn fingerprint(&self) -> Result<String> {
        let prints = self.0.par_iter().map(|path| files::fingerprint(path)).collect::<Result<Vec<_>>>()?;
        Ok(prints.join("\n"))
    }
}

/// Reads and masks one file, checked to be on the grid.
///
/// # Errors
/// File errors; [`Error::Mismatch`] for another grid.
pub fn read_file(path: &Path, pixels: Pixels) -> Result<ReadSpectrum> {
    let raw = apstar::read(path)?;
    let n_pixels = raw.raw_flux.len();
    // A bare file without a wavelength header is taken by its length.
    let on_grid = match raw.log_wavelength {
        Some(_) => pixels.grid.is_apogee() && WavelengthGrid::is_apogee_header(raw.log_wavelength, n_pixels),
        None => n_pixels == pixels.grid.n_pixels(),
    };
    if !on_grid {
        let detail = grid::unlike_apogee(raw.log_wavelength, n_pixels);
        return Err(Error::Mismatch { what: format!("wavelength grid of {}", path.display()), detail });
    }
    let (masked, quality) = pixmask::apply(&raw.raw_flux, &raw.raw_error, &raw.pixmask, pixels.places, pixels.pixmask);
    Ok(ReadSpectrum { id: raw.id, is_identified: raw.has_objid, snr: raw.snr, masked, quality })
}
