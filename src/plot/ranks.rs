//! Ranks of every chain's draws among those of all chains: uniform if the chains have mixed.
//!
//! Vehtari et al. 2021, Bayesian Analysis 16, 667, Section 4.

use super::Figure;
use super::traces::TraceData;
use crate::error::{Error, Result};

/// Draws a histogram of ranks for each label and chain.
///
/// # Errors
/// [`Error::Figure`] without labels, or if names, units, draws and diagnostics do not have one length.
pub fn rank_plots(title: &str, data: &TraceData) -> Result<Figure> {
    let _ = data;
    Err(Error::Figure { figure: title.to_owned(), detail: "not drawn yet".to_owned() })
}
