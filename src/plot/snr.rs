//! True and claimed errors along SNR: robust scatter of the residuals, median formal and median calibrated error.

use super::Figure;
use crate::error::{Error, Result};

/// Errors of one label along SNR.
#[derive(Debug, Clone)]
pub struct SnrPanel {
    /// Name of the label with its unit, e.g. "Teff [K]".
    pub label: String,
    /// Bins in ascending SNR.
    pub bins: Vec<SnrBin>,
}

/// Stars of similar SNR.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SnrBin {
    /// Median SNR per pixel.
    pub snr: f64,
    /// Robust scatter (1.4826 MAD) of estimate - reference.
    pub scatter: f64,
    /// Its bootstrap interval; NaN if there is none.
    pub scatter_interval: (f64, f64),
    /// Median formal error; NaN if there is none.
    pub formal: f64,
    /// Median calibrated error; NaN if there is none.
    pub calibrated: f64,
}

/// Draws the figure, one panel per label.
///
/// # Errors
/// [`Error::Figure`] without panels.
pub fn errors_against_snr(title: &str, panels: &[SnrPanel], remark: &str) -> Result<Figure> {
    let _ = (panels, remark);
    Err(Error::Figure { figure: title.to_owned(), detail: "not drawn yet".to_owned() })
}
