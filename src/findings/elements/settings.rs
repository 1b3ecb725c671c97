//! `[elements]`: whether labels are read from their own lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[elements]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ElementSettings {
    /// An element's own lines are the fewest pixels that hold this share of what model spectra answer to its abundance.
    #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
    pub share: f64,
    /// Strongest features of each label's gradient spectrum that are looked up in the list of atomic lines.
    #[schemars(range(min = 1, max = 1000))]
    pub features: usize,
    /// A feature this near to a line's wavelength is that line, in pixels.
    #[schemars(range(min = 0.01, max = 20.0))]
    pub line_tolerance_pixels: f64,
}

impl Default for ElementSettings {
    fn default() -> Self {
        Self { share: 0.8, features: 30, line_tolerance_pixels: 2.0 }
    }
}
