//! Arrays of spectra: found, and held against each other, before they are read.

use std::path::Path;
use std::sync::OnceLock;

use super::held_arrays::{HeldArrays, unit_of};
use crate::data::arrays::{self, Matrix, MatrixFile};
use crate::data::files;
use crate::data::keyed_path::split_key;
use crate::error::{Error, Result};
use crate::spectra::grid;

/// Where arrays of spectra are, and of what is known of their noise.
#[derive(Debug, Clone, Copy)]
pub(super) struct ArrayPaths<'a> {
    /// Flux, [n_stars, n_pixels].
    pub flux: &'a Path,
    /// Its error.
    pub error: Option<&'a Path>,
    /// Its inverse variance, in place of its error.
    pub ivar: Option<&'a Path>,
    /// What stands before `flux`, `error` and `ivar` where people write them.
    pub key: &'static str,
}

/// Flux and noise, found and of one shape, but not read.
#[derive(Debug)]
pub(super) struct ArrayPair {
    /// Flux, [n_stars, n_pixels].
    pub flux: MatrixFile,
    /// Its error or inverse variance.
    pub noise: MatrixFile,
    /// Whether `noise` is an error.
    pub is_error: bool,
    key: &'static str,
    /// See [`HeldArrays`]; settled by the rows that are read first.
    unit: OnceLock<f64>,
}

impl ArrayPair {
    /// Finds both.
    ///
    /// # Errors
    /// File errors; [`Error::Mismatch`] if they disagree, or one array is given for two.
    pub fn find(paths: ArrayPaths) -> Result<Self> {
        let mismatch = |what: String, detail: String| Err(Error::Mismatch { what, detail });
        let ArrayPaths { flux: flux_path, key, .. } = paths;
        let is_error = paths.error.is_some();
        let noise_path = paths.error.or(paths.ivar).unwrap_or(Path::new(""));
        let (flux, noise) = (MatrixFile::find(flux_path)?, MatrixFile::find(noise_path)?);
        let noise_key = if is_error { "error" } else { "ivar" };
        if flux.is_same(&noise) {
            let detail = format!(
                "both are the array {}; name the other one, as in FILE.npz:key or FILE.fits[NAME]",
                flux_path.display()
            );
            return mismatch(format!("{key}flux and {key}{noise_key}"), detail);
        }
        if flux.shape.1 == 0 {
            return mismatch(
                flux_path.display().to_string(),
                "spectra of 0 pixels; [n_stars, n_pixels] expected".into(),
            );
        }
        if noise.shape != flux.shape {
            let detail =
                format!("{:?} and {:?}; one row per star, one column per pixel in both", flux.shape, noise.shape);
            return mismatch(format!("shapes of {} and {}", flux_path.display(), noise_path.display()), detail);
        }
        Ok(Self { flux, noise, is_error, key, unit: OnceLock::new() })
    }

    /// Whether some rows can be read without the others.
    pub fn have_rows_of_their_own(&self) -> bool {
        self.flux.has_rows_of_their_own() && self.noise.has_rows_of_their_own()
    }

    /// What identifies both, and the files beside them, without reading them.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn fingerprint<'a>(&'a self, beside: impl Iterator<Item = &'a Path>) -> Result<String> {
        let all = [self.flux.file(), self.noise.file()].into_iter().chain(beside);
        all.map(|path| files::fingerprint(&split_key(path).0)).collect()
    }

    /// Looks at rows all over the arrays, of those that can be read alone: settles the unit, and warns where the noise cannot be what its
    /// key says.
    ///
    /// # Errors
    /// Those of reading.
    pub fn look_at_some(&self) -> Result<()> {
        /// As many rows tell it as are looked at of arrays in memory.
        const ROWS: usize = 2000;
        let step = self.flux.shape.0.div_ceil(ROWS).max(1);
        let rows: Vec<usize> = (0..self.flux.shape.0).step_by(step).collect();
        let (flux, noise) = (self.flux.read_some(&rows)?, self.noise.read_some(&rows)?);
        self.spectra(&flux, &noise, &(0..rows.len()).collect::<Vec<usize>>(), true);
        Ok(())
    }

    /// Some rows of both, after they were read; warns where the noise cannot be what its key says.
    pub fn spectra(&self, flux: &Matrix, noise: &Matrix, rows: &[usize], warns: bool) -> HeldArrays<'static> {
        let unit = *self.unit.get_or_init(|| unit_of(flux));
        let held = HeldArrays::of_rows((flux, noise), rows, self.is_error, unit);
        if warns {
            held.warn_of_noise(self.key, (!self.is_error).then_some((noise, self.noise.file())));
        }
        held
    }
}

/// Wavelengths of the pixels of an array.
///
/// # Errors
/// File errors; [`Error::Mismatch`] for another number of them; [`Error::Format`] where they are none in vacuum Angstrom, with what
/// they look like.
pub(super) fn read_wavelengths(path: &Path, flux: &Path, n_pixels: usize) -> Result<Vec<f64>> {
    let wavelength = arrays::read_numbers(path)?;
    if wavelength.len() != n_pixels {
        let detail = format!("{} wavelengths for {n_pixels} pixels", wavelength.len());
        return Err(Error::Mismatch { what: format!("{} and {}", path.display(), flux.display()), detail });
    }
    match grid::doubt(&wavelength) {
        Some(doubt) => Err(Error::format(path, format!("these are no wavelengths in vacuum Angstrom: {doubt}"))),
        None => Ok(wavelength),
    }
}
