//! What an experiment says of pretraining: a network learns from an emulator's spectra before it learns from the survey's.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::descent_settings::DescentSettings;
use super::optimizer::OptimizerSettings;

/// `[models.<name>.network.pretrain]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PretrainSettings {
    /// Folder of an emulator; none for the one that comes with maury.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emulator: Option<PathBuf>,
    /// Model spectra of an epoch; every epoch has new ones.
    #[schemars(range(min = 100, max = 1_000_000))]
    pub spectra: usize,
    /// How pretraining goes. The network's own `descent` is of the survey's stars, which come after it.
    pub descent: DescentSettings,
    /// Learning rate on the survey's stars, in units of the network's own `descent.learning_rate`.
    #[schemars(range(max = 1.0), extend("exclusiveMinimum" = 0.0))]
    pub finetune: f64,
}

impl Default for PretrainSettings {
    fn default() -> Self {
        let descent = DescentSettings { epochs: 40, ..DescentSettings::default() };
        Self { emulator: None, spectra: 2000, descent, finetune: 0.1 }
    }
}

impl PretrainSettings {
    /// Model spectra in which mean, unit and components of a network's input are found.
    pub fn n_shown(&self) -> usize {
        /// As many as memory does not mind.
        const MOST: usize = 2000;
        self.spectra.min(MOST)
    }

    /// The first setting that makes no sense: its key below `pretrain`, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        match self.descent.optimizer {
            OptimizerSettings::Lbfgs { .. } => {
                Err(("descent.optimizer", "must take batches: L-BFGS wants the same spectra in every step"))
            }
            _ => Ok(()),
        }
    }
}
