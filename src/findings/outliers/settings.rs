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
    #[schemars(range(min = 0.01, max = 1e9))]
    pub sigma: f64,
    /// Starts of the fit that looks for other minima.
    #[schemars(range(min = 1, max = 500))]
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
