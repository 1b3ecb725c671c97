//! `[outliers]`: which stars are looked into, and how far.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[outliers]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OutlierSettings {
    /// Outliers that are judged at most, the farthest; 0 for none at all.
    pub most: usize,
    /// Deviation from the catalogue that makes an outlier, in robust scatters of all test stars, in any label.
    pub sigma: f64,
    /// Starts of the fit that looks for other minima.
    pub starts: usize,
    /// Outliers whose spectra are drawn at most.
    pub figures: usize,
    /// Whether training stars are judged too, and a Cannon is trained without those at fault; of the first fold, and in
    /// closed form only.
    pub retrain: bool,
}

impl Default for OutlierSettings {
    fn default() -> Self {
        Self { most: 50, sigma: 4.0, starts: 20, figures: 12, retrain: true }
    }
}

impl OutlierSettings {
    /// The first setting that makes no sense, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if !(0.01..=1e9).contains(&self.sigma) {
            return Err(("sigma", "must be 0.01 to 1e9"));
        }
        if !(1..=500).contains(&self.starts) {
            return Err(("starts", "must be 1 to 500"));
        }
        Ok(())
    }
}
