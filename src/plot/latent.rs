//! Spectra of what labels do not tell, against wavelength, with spectral lines marked: do they look like CN, CO, OH?

use std::ops::Range;

use super::Figure;
use crate::error::{Error, Result};

/// What a figure of latent spectra shows.
#[derive(Debug, Clone, Copy)]
pub struct LatentData<'a> {
    /// Vacuum wavelengths [Å], ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// Pixels of each chip: one column of panels per chip.
    pub chips: &'a [Range<usize>],
    /// One row of panels each.
    pub rows: &'a [LatentRow],
    /// Spectral lines; the strongest that have room are named.
    pub lines: &'a [MarkedLine],
    /// Vacuum wavelength ranges [Å] drawn as columns instead of the chips; empty for the chips.
    pub windows: &'a [(f64, f64)],
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// One spectrum, and one that it may be compared with.
#[derive(Debug, Clone)]
pub struct LatentRow {
    /// At the left, e.g. "1".
    pub title: String,
    /// Change of normalized flux for one unit of the latent nuisance, `[n_pixels]`; NaN where there is none.
    pub values: Vec<f64>,
    /// The response of flux to a known cause.
    pub reference: Option<LatentReference>,
}

/// The response of flux to a known cause, and how well it agrees.
#[derive(Debug, Clone)]
pub struct LatentReference {
    /// Its cause, e.g. "[C/H]".
    pub name: String,
    /// `[n_pixels]`; drawn with the scale and the sign that bring it nearest to the spectrum.
    pub values: Vec<f64>,
    /// Correlation of the two over the pixels, printed.
    pub correlation: f64,
}

/// A spectral line or the head of a band.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkedLine {
    /// Its name, e.g. "Mg I".
    pub species: String,
    /// Vacuum wavelength [Å].
    pub wavelength: f64,
    /// Its strength, in any measure that orders lines: the strongest are named first.
    pub strength: f64,
}

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without rows, or if a spectrum has not one value per wavelength.
pub fn latent_spectra(title: &str, data: &LatentData) -> Result<Figure> {
    let _ = data;
    Err(Error::Figure { figure: title.to_owned(), detail: "not drawn yet".to_owned() })
}
