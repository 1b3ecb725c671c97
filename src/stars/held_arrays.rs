//! Spectra that are in memory as arrays, read from files or lent by whoever holds them.

use std::path::Path;

use ndarray::{CowArray, Ix2};
use rayon::prelude::*;

use super::array_noise;
use super::prepare_checks;
use super::spectra::{Pixels, ReadSpectrum, SpectrumSource};
use crate::data::arrays::Matrix;
use crate::data::catalogue::row_name;
use crate::error::{Error, Result};
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::grid::{self, WavelengthGrid};
use crate::spectra::pixmask;
use crate::training::checkpoint::Preparation;

/// Spectra that tell whether all are what they are said to be.
pub(super) const FIRST: usize = 256;

/// Fluxes of some stars and what is known of their noise, [n_stars, n_pixels].
#[derive(Debug)]
pub struct HeldArrays<'a> {
    /// Flux in units of `unit`.
    flux: CowArray<'a, f32, Ix2>,
    /// Its error or inverse variance as given, in the same units.
    noise: CowArray<'a, f32, Ix2>,
    is_error: bool,
    /// A power of 2 near the survey's median flux: single precision could not hold the inverse variance of fluxes in
    /// erg/s/cm^2/A, and a power of 2 changes no digit.
    unit: f64,
    /// Names of the stars.
    pub(super) ids: Vec<String>,
    /// Wavelengths of the pixels in vacuum Angstrom; none where they are only numbered.
    pub(super) wavelength: Option<Vec<f64>>,
    /// What identifies the files without reading them; empty where there are none.
    pub(super) fingerprint: String,
}

/// How it is known that wavelengths are in Angstrom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// By whoever gave them: they came with their unit.
    Told,
    /// By their size.
    Guessed,
}

impl<'a> HeldArrays<'a> {
    /// Of flux, and of its errors or inverse variances, [n_stars, n_pixels]. Single precision is not copied. Stars are called by their
    /// rows where nobody names them.
    ///
    /// # Errors
    /// [`Error::Mismatch`] where shapes disagree, or wavelengths are none in vacuum Angstrom.
    pub fn new(
        flux: Matrix<'a>,
        noise: Matrix<'a>,
        is_error: bool,
        ids: Option<Vec<String>>,
        wavelength: Option<(Vec<f64>, Unit)>,
    ) -> Result<Self> {
        let ((n_stars, n_pixels), key) = (flux.dim(), if is_error { "error" } else { "ivar" });
        let mismatch = |what: &str, detail: String| Err(Error::Mismatch { what: what.into(), detail });
        if n_pixels == 0 {
            return mismatch("flux", "spectra of 0 pixels; [n_stars, n_pixels] expected".into());
        }
        if noise.dim() != (n_stars, n_pixels) {
            let (flux, noise) = (flux.dim(), noise.dim());
            let detail = format!("{flux:?} and {noise:?}; one row per star, one column per pixel in both");
            return mismatch(&format!("shapes of flux and {key}"), detail);
        }
        let ids = ids.unwrap_or_else(|| (0..n_stars).map(row_name).collect());
        if ids.len() != n_stars {
            return mismatch("ids", format!("{} names for {n_stars} spectra", ids.len()));
        }
        if let Some((wavelength, unit)) = &wavelength {
            if wavelength.len() != n_pixels {
                return mismatch("wavelength", format!("{} wavelengths for {n_pixels} pixels", wavelength.len()));
            }
            let doubt = match unit {
                Unit::Told => grid::disorder(wavelength),
                Unit::Guessed => grid::doubt(wavelength),
            };
            if let Some(doubt) = doubt {
                return mismatch("wavelength", format!("no wavelengths in vacuum Angstrom: {doubt}"));
            }
        }
        let wavelength = wavelength.map(|(wavelength, _)| wavelength);
        let held = match (flux, noise) {
            (Matrix::Narrow(flux), Matrix::Narrow(noise)) => {
                Self { flux, noise, is_error, unit: 1.0, ids, wavelength, fingerprint: String::new() }
            }
            (flux, noise) => {
                let (all, unit) = ((0..n_stars).collect::<Vec<usize>>(), unit_of(&flux));
                Self { ids, wavelength, ..HeldArrays::of_rows((&flux, &noise), &all, is_error, unit) }
            }
        };
        Ok(held)
    }

    /// Some rows of two matrices, in this order; nobody is named.
    pub(super) fn of_rows(
        (flux, noise): (&Matrix, &Matrix),
        rows: &[usize],
        is_error: bool,
        unit: f64,
    ) -> HeldArrays<'static> {
        HeldArrays {
            flux: flux.scaled_rows(rows, unit.recip()).into(),
            noise: noise.scaled_rows(rows, if is_error { unit.recip() } else { unit * unit }).into(),
            is_error,
            unit,
            ids: Vec::new(),
            wavelength: None,
            fingerprint: String::new(),
        }
    }

    /// The same, with copies of what was lent.
    pub fn into_owned(self) -> HeldArrays<'static> {
        let Self { flux, noise, is_error, unit, ids, wavelength, fingerprint } = self;
        let (flux, noise) = (flux.into_owned().into(), noise.into_owned().into());
        HeldArrays { flux, noise, is_error, unit, ids, wavelength, fingerprint }
    }

    /// Names of the stars.
    pub fn ids(&self) -> &[String] {
        &self.ids
    }

    /// Where the pixels lie.
    ///
    /// # Errors
    /// [`Error::Mismatch`] for wavelengths that do not ascend.
    pub(super) fn grid(&self) -> Result<WavelengthGrid> {
        match &self.wavelength {
            Some(wavelength) => WavelengthGrid::of_survey(wavelength.clone())
                .ok_or_else(|| Error::Mismatch { what: "wavelength".into(), detail: ASCENDING.into() }),
            None => Ok(WavelengthGrid::from_pixel_numbers(self.flux.ncols())),
        }
    }

    /// Warns where the noise cannot be what it is called; `before` stands before `error` and `ivar` where people write them.
    /// Inverse variances, and the name they go by, are looked at for infinite ones as they were given.
    pub(super) fn warn_of_noise(&self, before: &str, given: Option<(&Matrix, &Path)>) {
        let n_infinite = given.map_or(0, |(noise, _)| noise.n_infinite());
        if let Some((_, file)) = given.filter(|_| n_infinite > 0) {
            tracing::warn!(
                "{}: {n_infinite} inverse variances are infinite and count as no information; where single precision could not hold \
                 them, give f64, or {before}error",
                file.display()
            );
        }
        if let Some(doubt) = array_noise::doubt(self.flux.view(), self.noise.view(), self.is_error, before) {
            tracing::warn!("{doubt}");
        }
    }

    /// Pixels that cannot lie in a gap: of the apStar grid the known ones, of others those that some star has measured.
    pub(super) fn on_chip(&self, grid: &WavelengthGrid) -> Vec<bool> {
        if grid.is_apogee() {
            return grid.chip_cores();
        }
        let mut is_measured = vec![false; self.flux.ncols()];
        let mut unseen: Vec<usize> = (0..self.flux.ncols()).collect();
        for (flux, noise) in self.flux.rows().into_iter().zip(self.noise.rows()) {
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
}

/// What wavelengths must be.
pub(super) const ASCENDING: &str = "wavelengths must be finite and ascending, vacuum Angstrom";

/// The power of 2 near the median of a flux.
pub(super) fn unit_of(flux: &Matrix) -> f64 {
    let exponent = flux.level().log2().round();
    if exponent.is_finite() { 2.0_f64.powi(exponent as i32) } else { 1.0 }
}

impl SpectrumSource for HeldArrays<'_> {
    fn len(&self) -> usize {
        self.flux.nrows()
    }

    fn name(&self, spectrum: usize) -> String {
        self.ids[spectrum].clone()
    }

    fn expect_alike(&self, model: &Path, preparation: &Preparation) -> Result<()> {
        let first: Vec<usize> = (0..self.len().min(FIRST)).collect();
        let (name, wavelength) = (Path::new("flux"), self.wavelength.as_deref());
        let known = KnownPixels { name, n_pixels: self.flux.ncols(), wavelength };
        known.expect_alike(model, preparation, |pixels| {
            self.warn_of_noise("", None);
            self.read(&first, pixels)
        })
    }

    fn read(&self, spectra: &[usize], pixels: Pixels) -> Vec<Result<ReadSpectrum>> {
        // ivar = 0 is an infinite error: inside the chip, but no information.
        let error = |noise: &f32| if self.is_error { f64::from(*noise) } else { f64::from(*noise).sqrt().recip() };
        let read = |star: &usize| {
            let flux: Vec<f64> = self.flux.row(*star).iter().map(|v| f64::from(*v) * self.unit).collect();
            let error: Vec<f64> = self.noise.row(*star).iter().map(|noise| error(noise) * self.unit).collect();
            let no_mask = vec![0; flux.len()];
            let (masked, quality) = pixmask::apply(&flux, &error, &no_mask, pixels.places, pixels.pixmask);
            if pixels.are_normalized {
                prepare_checks::expect_positive(&self.ids[*star], &masked)?;
            }
            Ok(ReadSpectrum {
                id: self.ids[*star].clone(),
                is_identified: true,
                release: String::new(),
                snr: f64::NAN,
                masked,
                quality,
                values: Vec::new(),
            })
        };
        spectra.par_iter().map(read).collect()
    }

    fn fingerprint(&self) -> Result<String> {
        Ok(self.fingerprint.clone())
    }
}

/// What is known of the pixels of arrays that a model is to label.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownPixels<'a> {
    /// What the flux is called in messages.
    pub name: &'a Path,
    /// Pixels of a spectrum.
    pub n_pixels: usize,
    /// Their wavelengths in vacuum Angstrom, where they are given.
    pub wavelength: Option<&'a [f64]>,
}

impl KnownPixels<'_> {
    /// Refuses spectra that are not what a model was trained on; `read` gives the first of them.
    ///
    /// # Errors
    /// [`Error::Mismatch`], [`Error::Continuum`].
    pub fn expect_alike(
        &self,
        model: &Path,
        preparation: &Preparation,
        read: impl FnOnce(Pixels) -> Vec<Result<ReadSpectrum>>,
    ) -> Result<()> {
        let (grid, n_pixels) = (&preparation.grid, self.n_pixels);
        let mismatch = |detail: String| {
            Err(Error::Mismatch { what: format!("{} and {}", self.name.display(), model.display()), detail })
        };
        if n_pixels != grid.n_pixels() {
            return mismatch(format!(
                "spectra of {n_pixels} pixels, and a model of {}; bring them to the wavelengths of the spectra it was trained on",
                grid.n_pixels()
            ));
        }
        let has_wavelengths = *grid != WavelengthGrid::from_pixel_numbers(n_pixels);
        match self.wavelength {
            Some(_) if !has_wavelengths => {
                tracing::warn!("the model was trained on pixels that were only numbered: wavelengths tell nothing")
            }
            Some(wavelength) => {
                if let Some(difference) = grid::difference(wavelength, &grid.wavelength) {
                    return mismatch(difference);
                }
            }
            None if has_wavelengths => {
                tracing::info!(
                    "pixels are taken to be the model's, {}; wavelengths would have them checked",
                    grid::span(&grid.wavelength)
                );
            }
            None => {}
        }
        let places = preparation.places();
        let are_normalized = preparation.continuum.method == ContinuumMethod::None;
        let pixels = Pixels { grid, places: &places, pixmask: &preparation.pixmask, are_normalized };
        let (mut alike, mut refused) = (Vec::new(), None);
        for read in read(pixels) {
            match read {
                Ok(read) => alike.push(read),
                Err(err) => _ = refused.get_or_insert(err),
            }
        }
        // A few that cannot be used get a flag each.
        if let Some(err) = refused.filter(|_| alike.is_empty()) {
            return Err(err);
        }
        if are_normalized { prepare_checks::expect_normalized(&alike, self.name) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    fn held(flux: Array2<f32>, noise: Array2<f32>) -> HeldArrays<'static> {
        HeldArrays::new(Matrix::Narrow(flux.into()), Matrix::Narrow(noise.into()), true, None, None).unwrap()
    }

    #[test]
    fn normalized_spectra_below_zero_are_refused_and_pixels_below_zero_are_noise() {
        let flux = array![[1.0_f32, -0.1, 0.9, 1.1], [-0.2, -0.1, 1.0, -0.3], [0.0, 0.0, 0.0, 1.0]];
        let ids = ["a", "b", "c"].map(String::from).to_vec();
        let spectra = HeldArrays { ids, ..held(flux, Array2::from_elem((3, 4), 0.1_f32)) };
        let (grid, pixmask) = (WavelengthGrid::from_pixel_numbers(4), pixmask::PixmaskSettings::default());
        let places = [pixmask::Place::OnChip; 4];
        let read = |are_normalized: bool| {
            spectra.read(&[0, 1, 2], Pixels { grid: &grid, places: &places, pixmask: &pixmask, are_normalized })
        };
        let read_normalized = read(true);
        assert_eq!(read_normalized[0].as_ref().unwrap().quality.n_good, 4);
        for (star, id) in [(1, "b"), (2, "c")] {
            let said = read_normalized[star].as_ref().unwrap_err().to_string();
            assert!(said.contains(&format!("star {id}: flux is 0 or below in most of its measured pixels")), "{said}");
        }
        assert!(read(false).iter().all(Result::is_ok));
    }

    #[test]
    fn pixels_that_no_star_has_are_gaps_and_those_of_some_are_not() {
        let flux = array![[1.0, f32::NAN, f32::NAN, 1.0], [1.0, 1.0, f32::NAN, 1.0]];
        let noise = array![[0.1, 0.1, 0.1, 0.0], [0.1, 0.1, 0.1, f32::INFINITY]];
        let grid = WavelengthGrid::from_pixel_numbers(4);
        assert_eq!(held(flux, noise).on_chip(&grid), [true, true, false, false]);
        let nothing = Array2::from_elem((1, 8575), f32::NAN);
        let apogee = WavelengthGrid::apogee();
        assert_eq!(held(nothing.clone(), nothing).on_chip(&apogee), apogee.chip_cores());
    }

    #[test]
    fn single_precision_is_lent_and_double_precision_keeps_its_inverse_variances() {
        let (flux, noise) = (array![[1.0_f32, 2.0]], array![[0.5_f32, 0.25]]);
        let (lent, noise) = (Matrix::Narrow(flux.view().into()), Matrix::Narrow(noise.view().into()));
        let held = HeldArrays::new(lent, noise, true, None, None).unwrap();
        assert!(held.flux.is_view() && held.noise.is_view() && held.unit == 1.0 && held.ids == ["row0000001"]);
        assert_eq!(held.flux.as_ptr(), flux.as_ptr());
        // 1e-17 erg/s/cm^2/A with errors of a hundredth: 1e38 is the largest that f32 holds.
        let (flux, ivar) = (array![[1e-17, 2e-17]], array![[1e38, 1e38]]);
        let wide = |values: Array2<f64>| Matrix::Wide(values.into());
        let held = HeldArrays::new(wide(flux), wide(ivar), false, None, None).unwrap();
        let error = f64::from(held.noise[[0, 0]]).sqrt().recip() * held.unit;
        assert!((error / 1e-19 - 1.0).abs() < 1e-6, "{error}");
        let uneven = HeldArrays::new(wide(array![[1.0, 2.0]]), wide(array![[1.0]]), false, None, None);
        assert!(uneven.unwrap_err().to_string().contains("shapes of flux and ivar"));
        let few = HeldArrays::new(wide(array![[1.0]]), wide(array![[1.0]]), true, Some(Vec::new()), None);
        assert!(few.unwrap_err().to_string().contains("0 names for 1 spectra"));
    }
}
