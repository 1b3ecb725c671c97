//! Arrays as a source of spectra: found, held against the table of labels, and only then read.

use std::path::Path;

use ndarray::Array2;

use super::array_noise;
use crate::data::arrays::{self, MatrixFile};
use crate::data::catalogue::{Catalogue, Naming};
use crate::data::files;
use crate::data::keyed_path::split_key;
use crate::data::selection::{Cut, select};
use crate::error::{Error, Result};
use crate::spectra::grid::{self, WavelengthGrid};
use crate::spectra::pixmask::{self, MaskedSpectrum, PixmaskSettings};
use crate::spectra::quality::Quality;
use crate::stars::settings::{ArrayData, StarSettings};

/// Fluxes of the selected stars and what is known of their noise, [n_stars, n_pixels].
#[derive(Debug)]
pub(super) struct ArraySpectra {
    /// Flux in units of `unit`.
    flux: Array2<f32>,
    /// Its error or inverse variance as given, in the same units.
    noise: Array2<f32>,
    is_error: bool,
    /// A power of 2 near the survey's median flux: single precision could not hold the inverse variance of fluxes in
    /// erg/s/cm^2/A, and a power of 2 changes no digit.
    unit: f64,
    /// Pixels that cannot lie in a gap between chips, `[n_pixels]`.
    on_chip: Vec<bool>,
    /// What identifies the files without reading them.
    pub fingerprint: String,
}

/// The stars that the selection leaves, the cuts, the grid, and the spectra in the order of the stars.
///
/// # Errors
/// File errors; [`Error::Mismatch`] if arrays, labels and wavelengths disagree, or one array is given for two.
pub(super) fn open(
    data: &ArrayData,
    settings: &StarSettings,
) -> Result<(Catalogue, Vec<Cut>, WavelengthGrid, ArraySpectra)> {
    let mismatch = |what: String, detail: String| Err(Error::Mismatch { what, detail });
    let is_error = data.error.is_some();
    let noise_path = data.error.as_deref().or(data.ivar.as_deref()).unwrap_or(Path::new(""));
    let (flux, noise) = (MatrixFile::find(&data.flux)?, MatrixFile::find(noise_path)?);
    let key = if is_error { "data.arrays.error" } else { "data.arrays.ivar" };
    if flux.is_same(&noise) {
        let detail = format!(
            "both are the array {}; name the other one, as in FILE.npz:key or FILE.fits[NAME]",
            data.flux.display()
        );
        return mismatch(format!("data.arrays.flux and {key}"), detail);
    }
    if flux.shape.1 == 0 {
        return mismatch(data.flux.display().to_string(), "spectra of 0 pixels; [n_stars, n_pixels] expected".into());
    }
    if noise.shape != flux.shape {
        let detail = format!("{:?} and {:?}; one row per star, one column per pixel in both", flux.shape, noise.shape);
        return mismatch(format!("shapes of {} and {}", data.flux.display(), noise_path.display()), detail);
    }
    let naming = Naming { id_column: &data.id_column, columns: &settings.data.columns };
    let (stars, cuts) = select(&data.labels, naming, &settings.labels, &settings.selection)?;
    let n_rows = cuts.first().map_or(0, |cut| cut.left);
    if n_rows != flux.shape.0 {
        let detail =
            format!("{n_rows} rows and {} spectra; one label row per spectrum, in the same order", flux.shape.0);
        return mismatch(format!("{} and {}", data.labels.display(), data.flux.display()), detail);
    }
    let grid = array_grid(data, flux.shape.1)?;
    let mut fingerprint = String::new();
    for path in
        [Some(&data.flux), data.error.as_ref(), data.ivar.as_ref(), data.wavelengths.as_ref()].into_iter().flatten()
    {
        fingerprint += &files::fingerprint(&split_key(path).0)?;
    }
    let flux = flux.read()?;
    let unit = flux.level().log2().round();
    let unit = if unit.is_finite() { 2.0_f64.powi(unit as i32) } else { 1.0 };
    let flux = flux.scaled_rows(&stars.row, unit.recip());
    let noise = noise.read()?;
    let n_infinite = if is_error { 0 } else { noise.n_infinite() };
    if n_infinite > 0 {
        tracing::warn!(
            "{}: {n_infinite} inverse variances are infinite and count as no information; where single precision could not hold them, give f64, or data.arrays.error",
            noise_path.display()
        );
    }
    let noise = noise.scaled_rows(&stars.row, if is_error { unit.recip() } else { unit * unit });
    if let Some(doubt) = array_noise::doubt(&flux, &noise, is_error) {
        tracing::warn!("{doubt}");
    }
    let on_chip = on_chip(&grid, &flux, &noise);
    Ok((stars, cuts, grid, ArraySpectra { flux, noise, is_error, unit, on_chip, fingerprint }))
}

/// Pixels that cannot lie in a gap: of the apStar grid the known ones, of others those that some star has measured.
fn on_chip(grid: &WavelengthGrid, flux: &Array2<f32>, noise: &Array2<f32>) -> Vec<bool> {
    if grid.is_apogee() {
        return grid.chip_cores();
    }
    let mut is_measured = vec![false; flux.ncols()];
    let mut unseen: Vec<usize> = (0..flux.ncols()).collect();
    for (flux, noise) in flux.rows().into_iter().zip(noise.rows()) {
        unseen.retain(|pixel| {
            is_measured[*pixel] = flux[*pixel].is_finite() && noise[*pixel].is_finite() && noise[*pixel] > 0.0;
            !is_measured[*pixel]
        });
        if unseen.is_empty() {
            break;
        }
    }
    is_measured
}

impl ArraySpectra {
    /// Masked raw spectrum of one star with its quality.
    pub fn spectrum(&self, star: usize, settings: &PixmaskSettings) -> (MaskedSpectrum, Quality) {
        let flux: Vec<f64> = self.flux.row(star).iter().map(|v| f64::from(*v) * self.unit).collect();
        // ivar = 0 is an infinite error: inside the chip, but no information.
        let error = |noise: &f32| if self.is_error { f64::from(*noise) } else { f64::from(*noise).sqrt().recip() };
        let error: Vec<f64> = self.noise.row(star).iter().map(|noise| error(noise) * self.unit).collect();
        pixmask::apply(&flux, &error, &vec![0; flux.len()], &self.on_chip, settings)
    }
}

fn array_grid(data: &ArrayData, n_pixels: usize) -> Result<WavelengthGrid> {
    let Some(path) = &data.wavelengths else { return Ok(WavelengthGrid::from_pixel_numbers(n_pixels)) };
    let wavelength = arrays::read_numbers(path)?;
    if wavelength.len() != n_pixels {
        let detail = format!("{} wavelengths for {n_pixels} pixels", wavelength.len());
        return Err(Error::Mismatch { what: format!("{} and {}", path.display(), data.flux.display()), detail });
    }
    if let Some(doubt) = grid::doubt(&wavelength) {
        return Err(Error::format(path, format!("these are no wavelengths in vacuum Angstrom: {doubt}")));
    }
    if wavelength.len() == WavelengthGrid::apogee().n_pixels() {
        let apogee = WavelengthGrid::apogee();
        if (WavelengthGrid { wavelength: wavelength.clone(), chips: apogee.chips.clone() }).matches(&apogee) {
            return Ok(apogee);
        }
    }
    WavelengthGrid::from_wavelengths(wavelength)
        .ok_or_else(|| Error::format(path, "wavelengths must be finite and ascending, vacuum Angstrom"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn pixels_that_no_star_has_are_gaps_and_those_of_some_are_not() {
        let flux = array![[1.0, f32::NAN, f32::NAN, 1.0], [1.0, 1.0, f32::NAN, 1.0]];
        let noise = array![[0.1, 0.1, 0.1, 0.0], [0.1, 0.1, 0.1, f32::INFINITY]];
        let grid = WavelengthGrid::from_pixel_numbers(4);
        assert_eq!(on_chip(&grid, &flux, &noise), [true, true, false, false]);
        let nothing = Array2::from_elem((1, 8575), f32::NAN);
        let apogee = WavelengthGrid::apogee();
        assert_eq!(on_chip(&apogee, &nothing, &nothing), apogee.chip_cores());
    }
}
