//! Histograms of the probability integral transform: uniform where errors are honest.

use super::Figure;
use crate::error::{Error, Result};

/// What a figure of PIT histograms shows.
#[derive(Debug, Clone, Copy)]
pub struct PitData<'a> {
    /// Names of the kinds, e.g. of models.
    pub kinds: &'a [String],
    /// One panel per label.
    pub panels: &'a [PitPanel],
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// The histograms of one label.
#[derive(Debug, Clone)]
pub struct PitPanel {
    /// Above the panel, e.g. "Teff".
    pub title: String,
    /// What is drawn, all with the same number of bins.
    pub histograms: Vec<PitHistogram>,
}

/// One histogram.
#[derive(Debug, Clone)]
pub struct PitHistogram {
    /// Which of the kinds it shows, by index: its colour.
    pub kind: usize,
    /// Of calibrated errors (solid), or of formal ones (dashed).
    pub is_calibrated: bool,
    /// Stars in each of the equal bins of 0..=1, see [`counts`].
    pub counts: Vec<usize>,
}

/// How many values lie in each of the equal bins of 0..=1; values outside, or none, are not counted.
pub fn counts(values: &[f64], n_bins: usize) -> Vec<usize> {
    let mut counts = vec![0; n_bins];
    for value in values.iter().filter(|value| (0.0..=1.0).contains(*value)) {
        if let Some(last) = n_bins.checked_sub(1) {
            counts[((value * n_bins as f64) as usize).min(last)] += 1;
        }
    }
    counts
}

/// Draws the figure, with the band in which bins of honest errors lie.
///
/// # Errors
/// [`Error::Figure`] without panels, or if the histograms of a panel have not the same number of bins.
pub fn pit_histograms(title: &str, data: &PitData) -> Result<Figure> {
    let _ = data;
    Err(Error::Figure { figure: title.to_owned(), detail: "not drawn yet".to_owned() })
}
