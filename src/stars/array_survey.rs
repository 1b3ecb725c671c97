//! A survey in arrays: its stars selected by their table, its spectra held in memory or, where they would take too much of it, read as
//! they are needed.

use std::path::PathBuf;

use super::array_files::{ArrayChoice, ArrayFiles};
use super::array_spectra::{ArrayPair, ArrayPaths, read_wavelengths};
use super::held_arrays::{ASCENDING, HeldArrays};
use super::spectra::SpectrumSource;
use crate::data::catalogue::Catalogue;
use crate::data::selection::Cut;
use crate::error::{Error, Result};
use crate::memory::bytes_of_spectra;
use crate::spectra::grid::WavelengthGrid;
use crate::stars::settings::{ArrayData, StarSettings};

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
    pub spectra: Box<dyn SpectrumSource>,
}

/// Selects the stars and reads their spectra, or finds where they can be read.
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
    let fits = bytes_of_spectra(n_spectra, n_pixels) <= settings.memory.of_spectra();
    if !fits && pair.have_rows_of_their_own() {
        let choice = ArrayChoice {
            flux: data.flux.clone(),
            error: data.error.clone(),
            ivar: data.ivar.clone(),
            wavelengths: data.wavelengths.clone(),
            ..ArrayChoice::default()
        };
        pair.look_at_some()?;
        let spectra = ArrayFiles::of_stars(choice, pair, &stars);
        let on_chip = spectra.on_chip(&grid)?;
        return Ok(ArrayStars { on_chip, stars, cuts, grid, spectra: Box::new(spectra) });
    }
    let fingerprint = pair.fingerprint(data.wavelengths.iter().map(PathBuf::as_path))?;
    let mut spectra: HeldArrays<'static> = pair.spectra(&pair.flux.read()?, &pair.noise.read()?, &stars.row, true);
    (spectra.ids, spectra.fingerprint) = (stars.id.clone(), fingerprint);
    Ok(ArrayStars { on_chip: spectra.on_chip(&grid), stars, cuts, grid, spectra: Box::new(spectra) })
}
