//! The list of continuum pixels: the shipped one, a user's, or chosen from a trained model's coefficients.

use std::path::Path;

use super::continuum::FindSettings;
use super::grid::WavelengthGrid;
use crate::data::arrays;
use crate::data::table::Table;
use crate::error::{Error, Result};

/// Published pixel numbers; source in the file's first lines.
const SHIPPED: &str = include_str!("../../assets/continuum_pixels.csv");

/// The 529 pixels of Ness et al. (2015) on the apStar grid.
///
/// # Errors
/// [`Error::Continuum`] on any other grid.
pub fn shipped(grid: &WavelengthGrid) -> Result<Vec<bool>> {
    if !grid.is_apogee() {
        return Err(Error::Continuum(
            "the shipped continuum pixels are for the apStar grid; name a list in continuum.pixels, use \"find\", or set continuum.method = \"none\"".into(),
        ));
    }
    let mut is_continuum = vec![false; grid.n_pixels()];
    for pixel in SHIPPED.lines().filter_map(|line| line.parse::<usize>().ok()) {
        is_continuum[pixel] = true;
    }
    Ok(is_continuum)
}

/// Reads a user's list: .npz with `wavelengths` and a boolean array (the lab's `trusted` or `continuum`), .npy of
/// booleans on this grid, or a CSV with a column `pixel` (or `pix8575`) or `wavelength`.
///
/// # Errors
/// File errors; [`Error::Continuum`] for a list that does not lie on the grid.
pub fn read(path: &Path, grid: &WavelengthGrid) -> Result<Vec<bool>> {
    let name = path.to_string_lossy().to_lowercase();
    if name.ends_with(".npy") {
        let list = arrays::read_booleans(path)?;
        return if list.len() == grid.n_pixels() { Ok(list) } else { Err(off_grid(path, list.len(), grid)) };
    }
    if name.ends_with(".npz") {
        let wavelength = arrays::read_numbers(path)?;
        let trusted = arrays::read_booleans(path)?;
        if wavelength.len() != trusted.len() {
            return Err(off_grid(path, trusted.len(), grid));
        }
        let chosen = wavelength.iter().zip(trusted).filter(|(_, trusted)| *trusted).map(|(wavelength, _)| *wavelength);
        return from_wavelengths(path, chosen, grid);
    }
    let mut table = Table::open(path)?;
    let rows = 0..table.n_rows();
    let Some(column) = ["pixel", "pix8575"].into_iter().find(|column| table.has(column)) else {
        return from_wavelengths(path, arrays::read_numbers(path)?.into_iter(), grid);
    };
    let mut is_continuum = vec![false; grid.n_pixels()];
    for pixel in table.numbers(column, rows, "")? {
        match is_continuum.get_mut(pixel as usize) {
            Some(slot) if pixel >= 0.0 && pixel.fract() == 0.0 => *slot = true,
            _ => return Err(off_grid(path, pixel as usize, grid)),
        }
    }
    Ok(is_continuum)
}

fn from_wavelengths(path: &Path, chosen: impl Iterator<Item = f64>, grid: &WavelengthGrid) -> Result<Vec<bool>> {
    let mut is_continuum = vec![false; grid.n_pixels()];
    for wavelength in chosen {
        let pixel = grid.pixel_of(wavelength).ok_or_else(|| {
            let (path, first, last) = (path.display(), grid.wavelength[0], grid.wavelength[grid.n_pixels() - 1]);
            Error::Continuum(format!(
                "{path}: wavelength {wavelength} is not on the grid ({first:.2} to {last:.2}); vacuum Angstrom expected"
            ))
        })?;
        is_continuum[pixel] = true;
    }
    Ok(is_continuum)
}

fn off_grid(path: &Path, found: usize, grid: &WavelengthGrid) -> Error {
    let (path, n_pixels) = (path.display(), grid.n_pixels());
    Error::Continuum(format!("{path}: list of {found}, not on the grid of {n_pixels} pixels"))
}

/// Chooses continuum pixels from a model: the flux of the pivot star, its slopes with each label (per unit of the
/// label), and the intrinsic scatter, all per pixel (Ness et al. 2015, sec. 2.3).
///
/// Limits are inclusive. Pixels whose values are not finite are not chosen.
pub fn choose(flux: &[f64], slopes: &[(&str, Vec<f64>)], scatter: &[f64], limits: &FindSettings) -> Vec<bool> {
    (0..flux.len())
        .map(|pixel| {
            (flux[pixel] - 1.0).abs() <= limits.flux
                && scatter[pixel] <= limits.scatter
                && slopes.iter().all(|(label, slope)| slope[pixel].abs() <= slope_limit(label, limits))
        })
        .collect()
}

fn slope_limit(label: &str, limits: &FindSettings) -> f64 {
    match label {
        "teff" => limits.teff,
        "logg" => limits.logg,
        // `feh` is how older tables spell it.
        "feh" => limits.x_h,
        label if label.ends_with("_h") => limits.x_h,
        _ => limits.other,
    }
}

/// First guess before any model exists: on each chip, the pixels of highest median flux, as many as `fraction` of it.
///
/// `median_flux` is the per-pixel median over training stars of the flux divided by each star's running maximum level;
/// NaN where a pixel has no data.
pub fn brightest(median_flux: &[f64], grid: &WavelengthGrid, fraction: f64) -> Vec<bool> {
    let mut is_continuum = vec![false; grid.n_pixels()];
    for chip in &grid.chips {
        let levels: Vec<f64> = chip.clone().map(|pixel| median_flux[pixel]).filter(|level| level.is_finite()).collect();
        let threshold = crate::stats::robust::quantile(&levels, 1.0 - fraction);
        for pixel in chip.clone().filter(|pixel| median_flux[*pixel] >= threshold) {
            is_continuum[pixel] = true;
        }
    }
    is_continuum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_has_the_published_529_pixels() {
        let grid = WavelengthGrid::apogee();
        let list = shipped(&grid).unwrap();
        let counts: Vec<usize> = grid.chips.iter().map(|chip| chip.clone().filter(|p| list[*p]).count()).collect();
        assert_eq!(counts, [241, 108, 180]);
        assert!(shipped(&WavelengthGrid::from_pixel_numbers(100)).is_err());
    }

    #[test]
    fn lists_by_pixel_and_by_wavelength_agree() {
        let folder = tempfile::tempdir().unwrap();
        let grid = WavelengthGrid::apogee();
        let (by_pixel, by_wavelength) = (folder.path().join("p.csv"), folder.path().join("w.csv"));
        std::fs::write(&by_pixel, "pixel\n335\n8278\n").unwrap();
        std::fs::write(&by_wavelength, format!("wavelength\n{}\n{}\n", grid.wavelength[335], grid.wavelength[8278]))
            .unwrap();
        assert_eq!(read(&by_pixel, &grid).unwrap(), read(&by_wavelength, &grid).unwrap());
        std::fs::write(&by_pixel, "pixel\n9999\n").unwrap();
        assert!(read(&by_pixel, &grid).is_err());
    }

    #[test]
    fn a_pixel_that_knows_a_label_is_no_continuum() {
        let limits = FindSettings::default();
        let slopes = [("teff", vec![0.0, 2e-5, 0.0, f64::NAN]), ("fe_h", vec![0.0, 0.0, 0.02, 0.0])];
        let chosen = choose(&[1.0; 4], &slopes, &[0.01; 4], &limits);
        assert_eq!(chosen, [true, false, false, false]);
    }
}
