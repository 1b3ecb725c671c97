//! One star's normalized flux with models of it, and what they leave in units of the flux's error, chip by chip.

use std::ops::Range;

use super::Figure;
use crate::error::{Error, Result};

/// A star and models of it.
#[derive(Debug, Clone, Copy)]
pub struct StarAndModel<'a> {
    /// Lines of text above the panels: the first as a title, the others below it.
    pub title_lines: &'a [String],
    /// Vacuum wavelengths [Å], ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// Pixels of each chip.
    pub chips: &'a [Range<usize>],
    /// Normalized flux, `[n_pixels]`.
    pub flux: &'a [f64],
    /// Its standard deviation, `[n_pixels]`: the unit of the residuals.
    pub error: &'a [f64],
    /// Pixels that no fit has seen, `[n_pixels]`.
    pub masked: &'a [bool],
    /// Models of the star, the first one foremost.
    pub models: &'a [NamedSpectrum<'a>],
}

/// A model's spectrum.
#[derive(Debug, Clone, Copy)]
pub struct NamedSpectrum<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// Normalized flux, `[n_pixels]`.
    pub flux: &'a [f64],
}

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without chips, or if a spectrum has not one value per wavelength.
pub fn star_and_model(star: &StarAndModel) -> Result<Figure> {
    let name = star.title_lines.first().cloned().unwrap_or_default();
    Err(Error::Figure { figure: name, detail: "not drawn yet".to_owned() })
}
