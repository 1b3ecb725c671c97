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
    pub epochs: usize,
    /// Rows per step.
    pub batch_rows: usize,
    /// Learning rate the schedule starts from.
    pub learning_rate: f64,
    /// The rule of the steps.
    pub optimizer: OptimizerSettings,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Epochs without a lower validation loss after which to stop; 0 never stops early.
    pub patience: usize,
    /// Share of the epochs, the last ones, whose weights are averaged (Izmailov et al. 2018); 0 for no average.
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
const MOST_EPOCHS: usize = 1_000_000_000;

/// Learning rates at which weights move at all, and do not leap.
pub(super) const LEARNING_RATES: RangeInclusive<f64> = 1e-8..=1.0;
pub(super) const NO_LEARNING_RATE: &str = "must be 1e-8 to 1";

impl DescentSettings {
    /// The first setting that makes no sense, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let optimizer = match self.optimizer {
            OptimizerSettings::AdamW { weight_decay } => (0.0..1.0).contains(&weight_decay),
            OptimizerSettings::Adam {} => true,
            OptimizerSettings::Sgd { momentum } => (0.0..1.0).contains(&momentum),
            OptimizerSettings::Lbfgs { history, steps } => {
                (1..=1000).contains(&history) && (1..=10_000).contains(&steps)
            }
        };
        let schedule = match self.schedule {
            Schedule::Plateau { factor, .. } => factor > 0.0 && factor < 1.0,
            _ => true,
        };
        [
            (LEARNING_RATES.contains(&self.learning_rate), "learning_rate", NO_LEARNING_RATE),
            ((1..=MOST_EPOCHS).contains(&self.epochs), "epochs", "must be 1 to 1000000000"),
            (self.batch_rows > 0, "batch_rows", "must be at least 1"),
            (
                optimizer,
                "optimizer",
                "needs weight_decay or momentum from 0 to below 1, history of 1 to 1000 and steps of 1 to 10000",
            ),
            (schedule, "schedule", "needs a factor between 0 and 1"),
            ((0.0..=1.0).contains(&self.average_last), "average_last", "must be 0 to 1"),
        ]
        .into_iter()
        .find(|(holds, ..)| !holds)
        .map_or(Ok(()), |(_, key, problem)| Err((key, problem)))
    }
}
