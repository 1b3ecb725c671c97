//! What an experiment says of a descent.

use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::optimizer::{OptimizerSettings, Schedule};

/// `[models.<name>.<kind>.descent]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DescentSettings {
    /// Passes through the training rows, at most.
    #[schemars(range(min = 1, max = MOST_EPOCHS))]
    pub epochs: usize,
    /// Rows per step.
    #[schemars(range(min = 1))]
    pub batch_rows: usize,
    /// Learning rate the schedule starts from.
    #[schemars(range(min = *LEARNING_RATES.start(), max = *LEARNING_RATES.end()))]
    pub learning_rate: f64,
    /// The rule of the steps.
    pub optimizer: OptimizerSettings,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Epochs without a lower validation loss after which to stop; 0 never stops early.
    pub patience: usize,
    /// Share of the epochs, the last ones, whose weights are averaged (Izmailov et al. 2018); 0 for no average.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub average_last: f64,
}

impl Default for DescentSettings {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch_rows: 64,
            learning_rate: 1e-3,
            optimizer: OptimizerSettings::default(),
            schedule: Schedule::default(),
            patience: 0,
            average_last: 0.0,
        }
    }
}

/// Epochs that no computer ends; their steps must still be countable.
pub(super) const MOST_EPOCHS: usize = 1_000_000_000;

/// Learning rates at which weights move at all, and do not leap.
pub(super) const LEARNING_RATES: RangeInclusive<f64> = 1e-8..=1.0;
