//! What training has to report of an anchored Cannon.

use serde::{Deserialize, Serialize};

/// How far training went from physics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnchorReport {
    /// Model spectra that the Cannon of the library was made of.
    pub n_spectra: usize,
    /// Inputs of its polynomial that are no labels.
    pub n_hidden: usize,
    /// By how much coefficients of each kind may differ from the library's, as a share of their spread over all pixels; none where
    /// no star of the survey taught the model.
    pub strengths: Option<Strengths>,
    /// The largest strength that was allowed, as stars held out or the settings say.
    pub limit: f64,
    /// Nuisance spectra from the residuals of the survey's own stars.
    pub n_components: usize,
}

/// Strengths of the groups of coefficients.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Strengths {
    /// How much stronger or weaker than physics says the lines of a pixel are, root mean square.
    #[serde(default)]
    pub lines: f64,
    /// The spectrum of the pivot star.
    pub constant: f64,
    /// Terms linear in the labels.
    pub linear: f64,
    /// Terms quadratic in the labels.
    pub quadratic: f64,
    /// Terms linear in hidden labels.
    pub hidden: f64,
}
