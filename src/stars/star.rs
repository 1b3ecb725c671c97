//! One star's way from raw to normalized flux, to be looked at.

use crate::error::{Error, Result, nearest_name};
use crate::spectra::continuum::{ContinuumFitter, ContinuumMethod};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::prepared::PreparedSet;
use crate::stars::settings::StarSettings;
use crate::stars::source::Source;

/// A star's spectrum at every stage, NaN where a pixel is masked.
#[derive(Debug, Clone, PartialEq)]
pub struct StarSpectrum {
    /// The star.
    pub id: String,
    /// The grid.
    pub grid: WavelengthGrid,
    /// Unit of the raw flux, as far as it is known.
    pub raw_unit: &'static str,
    /// Raw flux, `[n_pixels]`.
    pub raw_flux: Vec<f64>,
    /// Pseudo-continuum, `[n_pixels]`; NaN on lost chips.
    pub continuum: Vec<f64>,
    /// Normalized flux, `[n_pixels]`.
    pub flux: Vec<f64>,
    /// The continuum pixels, `[n_pixels]`.
    pub continuum_pixels: Vec<bool>,
}

/// Reads a star of a prepared source again and fits its continuum.
///
/// # Errors
/// [`Error::Mismatch`] for a star that was not selected; errors of reading.
pub fn examine(source: &Source, set: &PreparedSet, settings: &StarSettings, id: &str) -> Result<StarSpectrum> {
    let star = set.ids.iter().position(|known| known == id).ok_or_else(|| {
        let near = nearest_name(id, set.ids.iter().map(String::as_str)).map(|id| format!("; {id} was"));
        let detail = format!("not among the {} selected stars{}", set.n_stars(), near.unwrap_or_default());
        Error::Mismatch { what: format!("star {id}"), detail }
    })?;
    let (masked, mut quality) = source.spectrum(star)?;
    let where_good = |values: &[f64], ivar: &dyn Fn(usize) -> f64| -> Vec<f64> {
        values.iter().enumerate().map(|(pixel, value)| if ivar(pixel) > 0.0 { *value } else { f64::NAN }).collect()
    };
    let mut continuum = vec![f64::NAN; set.n_pixels()];
    if settings.continuum.method == ContinuumMethod::Chebyshev {
        let fitter = ContinuumFitter::new(&set.grid, &set.continuum_pixels, &settings.continuum)?;
        for (chip, levels) in set.grid.chips.iter().zip(fitter.fit(&masked, &mut quality)) {
            if let Some(levels) = levels {
                continuum[chip.clone()].copy_from_slice(&levels);
            }
        }
    }
    let (flux, ivar) = set.spectra.star(star)?;
    let flux = flux.mapv(f64::from).to_vec();
    Ok(StarSpectrum {
        id: id.to_string(),
        grid: set.grid.clone(),
        raw_unit: if settings.data.arrays.is_none() { "10⁻¹⁷ erg s⁻¹ cm⁻² Å⁻¹" } else { "" },
        raw_flux: where_good(&masked.flux, &|pixel| masked.ivar[pixel]),
        continuum,
        flux: where_good(&flux, &|pixel| f64::from(ivar[pixel])),
        continuum_pixels: set.continuum_pixels.clone(),
    })
}
