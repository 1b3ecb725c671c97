//! Coverage curves: how many stars lie within the central interval of each nominal probability.

use super::Figure;
use crate::error::{Error, Result};

/// What a coverage figure shows.
#[derive(Debug, Clone, Copy)]
pub struct CoverageData<'a> {
    /// Nominal probabilities of the central intervals, ascending in 0..=1.
    pub nominal: &'a [f64],
    /// Names of the kinds: models, or labels.
    pub kinds: &'a [String],
    /// One panel per label, or one for all.
    pub panels: &'a [CoveragePanel],
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// The curves of one panel.
#[derive(Debug, Clone)]
pub struct CoveragePanel {
    /// Above the panel, e.g. "Teff".
    pub title: String,
    /// Stars that the fractions are of: they make the width of the band.
    pub n_stars: usize,
    /// What is drawn.
    pub curves: Vec<CoverageCurve>,
}

/// One curve.
#[derive(Debug, Clone)]
pub struct CoverageCurve {
    /// Which of the kinds it shows, by index: its colour.
    pub kind: usize,
    /// Of calibrated errors (solid), or of formal ones (dashed).
    pub is_calibrated: bool,
    /// Fraction of the stars inside, one per nominal probability.
    pub fractions: Vec<f64>,
}

/// Draws the figure, with the band in which fractions of honest errors lie.
///
/// # Errors
/// [`Error::Figure`] without panels, or if a curve has not one fraction per nominal probability.
pub fn coverage(title: &str, data: &CoverageData) -> Result<Figure> {
    let _ = data;
    Err(Error::Figure { figure: title.to_owned(), detail: "not drawn yet".to_owned() })
}
