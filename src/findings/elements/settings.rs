//! `[elements]`: whether labels are read from their own lines.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[elements]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ElementSettings {
    /// An element's own lines are the fewest pixels that hold this share of what model spectra answer to its abundance.
    pub share: f64,
    /// Strongest features of each label's gradient spectrum that are looked up in the list of atomic lines.
    pub features: usize,
    /// A feature this near to a line's wavelength is that line, in pixels.
    pub line_tolerance_pixels: f64,
}

impl Default for ElementSettings {
    fn default() -> Self {
        Self { share: 0.8, features: 30, line_tolerance_pixels: 2.0 }
    }
}

impl ElementSettings {
    /// Whether the values make sense; if not, the key of the first that does not, and what is wrong with it.
    ///
    /// # Errors
    /// (key below `elements`, problem).
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let check = |holds: bool, key, problem| if holds { Ok(()) } else { Err((key, problem)) };
        check(self.share > 0.0 && self.share < 1.0, "share", "must lie between 0 and 1")?;
        check((1..=1000).contains(&self.features), "features", "must be 1 to 1000")?;
        let tolerance = (0.01..=20.0).contains(&self.line_tolerance_pixels);
        check(tolerance, "line_tolerance_pixels", "must be 0.01 to 20")
    }
}
