//! Which labels of a Cannon act only where physics says that their lines are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spectra::labels::is_over_iron;

/// `[models.<name>.cannon.windows]`: abundances act only where the emulator says that their lines are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WindowSettings {
    /// Share of all that model spectra answer to an abundance (of the sum of squared differences of flux) that lies inside its
    /// windows, which are the fewest pixels that hold so much.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub share: f64,
    /// Pixels added on either side of each of these.
    #[schemars(range(max = 100))]
    pub margin_pixels: usize,
    /// The labels that get windows; empty for all abundances [X/Fe] that the emulator knows.
    pub labels: Vec<String>,
}

impl Default for WindowSettings {
    fn default() -> Self {
        Self { share: 0.9, margin_pixels: 1, labels: Vec::new() }
    }
}

impl WindowSettings {
    /// The first setting that makes no sense among these labels: its key, and what is wrong.
    pub(super) fn check(&self, labels: &[String]) -> Result<(), (String, String)> {
        match self.labels.iter().find(|label| !labels.iter().any(|known| known.eq_ignore_ascii_case(label))) {
            Some(label) => Err(("labels".into(), format!("names `{label}`, which is no label of this experiment"))),
            None if self.labels.is_empty() && !labels.iter().any(|label| is_over_iron(label)) => Err((
                "labels".into(),
                "names no label, and none of the experiment is an abundance `x_fe`: nothing has windows".into(),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_no_label_are_refused_with_their_key() {
        let names = ["teff", "vmicro"].map(String::from);
        let refused =
            |text: &str| toml::from_str::<WindowSettings>(text).unwrap().check(&names).map_err(|(key, _)| key);
        assert_eq!(refused("labels = [\"VMICRO\"]\nshare = 0.5"), Ok(()));
        assert_eq!(refused("labels = [\"mg_fe\"]"), Err("labels".to_string()));
    }
}
