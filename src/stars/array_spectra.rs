//! Arrays as a source of spectra: found, held against each other and the table of labels, and only then read.

use std::path::Path;
use std::sync::OnceLock;

use ndarray::Array2;
use rayon::prelude::*;

use super::array_noise;
use super::prepare_checks;
use super::spectra::{Pixels, ReadSpectrum, SpectrumSource};
use crate::data::arrays::{self, Matrix, MatrixFile};
use crate::data::catalogue::{Catalogue, Naming};
use crate::data::files;
use crate::data::keyed_path::split_key;
use crate::data::selection::{Cut, select};
use crate::error::{Error, Result};
use crate::spectra::grid::{self, WavelengthGrid};
use crate::spectra::pixmask;
use crate::stars::settings::{ArrayData, StarSettings};

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
    /// See [`ArraySpectra`]; settled by the rows that are read first.
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

    /// Some rows of both, after they were read; warns where the noise cannot be what its key says.
    pub fn spectra(&self, flux: &Matrix, noise: &Matrix, rows: &[usize], warns: bool) -> ArraySpectra {
        let is_error = self.is_error;
        let level = || {
            let exponent = flux.level().log2().round();
            if exponent.is_finite() { 2.0_f64.powi(exponent as i32) } else { 1.0 }
        };
        let unit = *self.unit.get_or_init(level);
        let flux = flux.scaled_rows(rows, unit.recip());
        let n_infinite = if is_error || !warns { 0 } else { noise.n_infinite() };
        if n_infinite > 0 {
            tracing::warn!(
                "{}: {n_infinite} inverse variances are infinite and count as no information; where single precision could not hold \
                 them, give f64, or {}error",
                self.noise.file().display(),
                self.key
            );
        }
        let noise = noise.scaled_rows(rows, if is_error { unit.recip() } else { unit * unit });
        if let Some(doubt) = array_noise::doubt(&flux, &noise, is_error, self.key).filter(|_| warns) {
            tracing::warn!("{doubt}");
        }
        ArraySpectra { flux, noise, is_error, unit, ids: Vec::new(), fingerprint: String::new() }
    }
}

/// Fluxes of some stars and what is known of their noise, [n_stars, n_pixels].
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
    /// Names of the stars.
    pub ids: Vec<String>,
    /// What identifies the files without reading them.
    fingerprint: String,
}

/// Stars of a survey in arrays.
pub(super) struct ArrayStars {
    /// Those that the selection leaves.
    pub stars: Catalogue,
    /// What each cut removed.
    pub cuts: Vec<Cut>,
    /// Where the pixels lie.
    pub grid: WavelengthGrid,
    /// Pixels that cannot lie in a gap, `[n_pixels]`.
    pub on_chip: Vec<bool>,
    /// The spectra, in the order of the stars.
    pub spectra: ArraySpectra,
}

/// Selects the stars and reads their spectra.
///
/// # Errors
/// File errors; [`Error::Mismatch`] if arrays, labels and wavelengths disagree, or one array is given for two.
pub(super) fn open(data: &ArrayData, settings: &StarSettings) -> Result<ArrayStars> {
    let (error, ivar) = (data.error.as_deref(), data.ivar.as_deref());
    let pair = ArrayPair::find(ArrayPaths { flux: &data.flux, error, ivar, key: "data.arrays." })?;
    let naming = Naming { id_column: &data.id_column, columns: &settings.data.columns };
    let (stars, cuts) = select(&data.labels, naming, &settings.labels, &settings.selection)?;
    let n_rows = cuts.first().map_or(0, |cut| cut.left);
    let (n_spectra, n_pixels) = pair.flux.shape;
    if n_rows != n_spectra {
        let what = format!("{} and {}", data.labels.display(), data.flux.display());
        let detail = format!("{n_rows} rows and {n_spectra} spectra; one label row per spectrum, in the same order");
        return Err(Error::Mismatch { what, detail });
    }
    let grid = match &data.wavelengths {
        Some(path) => grid_of(path, read_wavelengths(path, &data.flux, n_pixels)?)?,
        None => WavelengthGrid::from_pixel_numbers(n_pixels),
    };
    let mut fingerprint = String::new();
    for path in
        [Some(&data.flux), data.error.as_ref(), data.ivar.as_ref(), data.wavelengths.as_ref()].into_iter().flatten()
    {
        fingerprint += &files::fingerprint(&split_key(path).0)?;
    }
    let spectra = pair.spectra(&pair.flux.read()?, &pair.noise.read()?, &stars.row, true);
    let on_chip = on_chip(&grid, &spectra.flux, &spectra.noise);
    let spectra = ArraySpectra { ids: stars.id.clone(), fingerprint, ..spectra };
    Ok(ArrayStars { stars, cuts, grid, on_chip, spectra })
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

impl SpectrumSource for ArraySpectra {
    fn len(&self) -> usize {
        self.flux.nrows()
    }

    fn name(&self, spectrum: usize) -> String {
        self.ids[spectrum].clone()
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

fn grid_of(path: &Path, wavelength: Vec<f64>) -> Result<WavelengthGrid> {
    let apogee = WavelengthGrid::apogee();
    if (WavelengthGrid { wavelength: wavelength.clone(), chips: apogee.chips.clone() }).matches(&apogee) {
        return Ok(apogee);
    }
    WavelengthGrid::from_wavelengths(wavelength)
        .ok_or_else(|| Error::format(path, "wavelengths must be finite and ascending, vacuum Angstrom"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn normalized_spectra_below_zero_are_refused_and_pixels_below_zero_are_noise() {
        let flux = array![[1.0_f32, -0.1, 0.9, 1.1], [-0.2, -0.1, 1.0, -0.3], [0.0, 0.0, 0.0, 1.0]];
        let noise = Array2::from_elem((3, 4), 0.1_f32);
        let ids = ["a", "b", "c"].map(String::from).to_vec();
        let spectra = ArraySpectra { flux, noise, is_error: true, unit: 1.0, ids, fingerprint: String::new() };
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
        assert_eq!(on_chip(&grid, &flux, &noise), [true, true, false, false]);
        let nothing = Array2::from_elem((1, 8575), f32::NAN);
        let apogee = WavelengthGrid::apogee();
        assert_eq!(on_chip(&apogee, &nothing, &nothing), apogee.chip_cores());
    }
}
