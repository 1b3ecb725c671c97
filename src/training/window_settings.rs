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
    pub share: f64,
    /// Pixels added on either side of each of these.
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
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(("share".into(), "must be above 0 and at most 1".into()));
        }
        if self.margin_pixels > 100 {
            return Err(("margin_pixels".into(), "must be at most 100".into()));
        }
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
    fn windows_of_no_label_and_of_no_share_are_refused_with_their_key() {
        let names = ["teff", "vmicro"].map(String::from);
        let refused =
            |text: &str| toml::from_str::<WindowSettings>(text).unwrap().check(&names).map_err(|(key, _)| key);
        assert_eq!(refused("labels = [\"VMICRO\"]\nshare = 0.5"), Ok(()));
        for (text, key) in [("share = 0.0", "share"), ("share = nan", "share"), ("labels = [\"mg_fe\"]", "labels")] {
            assert_eq!(refused(text), Err(key.to_string()));
        }
        assert_eq!(refused("margin_pixels = 1000"), Err("margin_pixels".to_string()));
    }
}
