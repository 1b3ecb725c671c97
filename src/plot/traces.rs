//! The course of every chain of a sampler, label by label, with its marginal histogram beside it.

use super::Figure;
use crate::error::{Error, Result};

/// Chains of a sampler and what was found out about them.
#[derive(Debug, Clone, Copy)]
pub struct TraceData<'a> {
    /// Names of the labels, e.g. "Teff".
    pub names: &'a [String],
    /// Their units, e.g. "K"; may be empty.
    pub units: &'a [&'a str],
    /// `[n_chains][n_draws][n_labels]`, without the warm-up.
    pub chains: &'a [Vec<Vec<f64>>],
    /// R-hat of each label; NaN where unknown.
    pub r_hat: &'a [f64],
    /// Effective sample size of each label's bulk; NaN where unknown.
    pub ess_bulk: &'a [f64],
    /// Effective sample size of each label's tails; NaN where unknown.
    pub ess_tail: &'a [f64],
    /// Indices of the divergent draws of each chain; may be empty.
    pub divergent: &'a [Vec<usize>],
}

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without labels, or if names, units, draws and diagnostics do not have one length.
pub fn traces(title: &str, data: &TraceData) -> Result<Figure> {
    let _ = data;
    Err(Error::Figure { figure: title.to_owned(), detail: "not drawn yet".to_owned() })
}
