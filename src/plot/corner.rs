//! Posterior draws of every label and every pair of labels: the corner plot.

use super::Figure;
use crate::error::{Error, Result};

/// Draws of one sampler or one model.
#[derive(Debug, Clone, Copy)]
pub struct DrawSet<'a> {
    /// What the legend calls them.
    pub name: &'a str,
    /// `[n_draws][n_labels]`; a draw with a value that is not finite is left out and counted.
    pub draws: &'a [Vec<f64>],
}

/// What a corner plot shows.
#[derive(Debug, Clone, Copy)]
pub struct CornerData<'a> {
    /// Names of the labels, e.g. "Teff".
    pub names: &'a [String],
    /// Their units, e.g. "K"; may be empty.
    pub units: &'a [&'a str],
    /// The posterior: shaded levels, histograms, and the numbers printed.
    pub draws: DrawSet<'a>,
    /// Another posterior of the same star, as lines over it.
    pub second: Option<DrawSet<'a>>,
    /// True labels; NaN where unknown.
    pub truth: Option<&'a [f64]>,
    /// Labels of a catalogue; NaN where unknown.
    pub catalogue: Option<&'a [f64]>,
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without labels, or if names, units, draws and marks do not have one length.
pub fn corner(title: &str, data: &CornerData) -> Result<Figure> {
    let _ = data;
    Err(Error::Figure { figure: title.to_owned(), detail: "not drawn yet".to_owned() })
}
