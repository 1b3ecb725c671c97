//! Arrays as a source of spectra: found, held against each other and the table of labels, and only then read.

use std::path::Path;
use std::sync::OnceLock;

use super::held_arrays::{ASCENDING, HeldArrays, unit_of};
use crate::data::arrays::{self, Matrix, MatrixFile};
use crate::data::catalogue::Catalogue;
use crate::data::files;
use crate::data::keyed_path::split_key;
use crate::data::selection::Cut;
use crate::error::{Error, Result};
use crate::spectra::grid::{self, WavelengthGrid};
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
    pub spectra: HeldArrays<'static>,
}

/// Selects the stars and reads their spectra.
///
/// # Errors
/// File errors; [`Error::Mismatch`] if arrays, labels and wavelengths disagree, or one array is given for two.
pub(super) fn open(data: &ArrayData, settings: &StarSettings) -> Result<ArrayStars> {
    let (error, ivar) = (data.error.as_deref(), data.ivar.as_deref());
    let pair = ArrayPair::find(ArrayPaths { flux: &data.flux, error, ivar, key: "data.arrays." })?;
    let (stars, cuts) = settings.select(&data.labels, &data.id_column)?;
    let n_rows = cuts.first().map_or(0, |cut| cut.left);
    let (n_spectra, n_pixels) = pair.flux.shape;
    if n_rows != n_spectra {
        let what = format!("{} and {}", data.labels.display(), data.flux.display());
        let detail = format!("{n_rows} rows and {n_spectra} spectra; one label row per spectrum, in the same order");
        return Err(Error::Mismatch { what, detail });
    }
    let grid = match &data.wavelengths {
        Some(path) => WavelengthGrid::of_survey(read_wavelengths(path, &data.flux, n_pixels)?)
            .ok_or_else(|| Error::format(path, ASCENDING))?,
        None => WavelengthGrid::from_pixel_numbers(n_pixels),
    };
    let mut fingerprint = String::new();
    for path in
        [Some(&data.flux), data.error.as_ref(), data.ivar.as_ref(), data.wavelengths.as_ref()].into_iter().flatten()
    {
        fingerprint += &files::fingerprint(&split_key(path).0)?;
    }
    let mut spectra = pair.spectra(&pair.flux.read()?, &pair.noise.read()?, &stars.row, true);
    (spectra.ids, spectra.fingerprint) = (stars.id.clone(), fingerprint);
    Ok(ArrayStars { on_chip: spectra.on_chip(&grid), stars, cuts, grid, spectra })
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
