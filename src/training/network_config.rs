//! What an experiment says of a network: what it sees, its layers, and how it learns.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::augment::AugmentSettings;
use super::descent_settings::{DescentSettings, LEARNING_RATES};
use super::loss::Loss;
use super::optimizer::OptimizerSettings;
use super::pretrain_settings::PretrainSettings;
use super::principal_components::BYTES_OF_COMPONENT;
use crate::models::network::architecture::Architecture;
use crate::models::network::input::{InputConfig, Masked};
use crate::models::network::layers::{attend, size_of};
use crate::models::network::shape::Shape;

/// `[models.<name>.network]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// What the network sees of a spectrum.
    pub input: InputConfig,
    /// Its layers.
    pub architecture: Architecture,
    /// What training makes small.
    pub loss: Loss,
    /// Whether the catalogue's errors of the labels count in the loss.
    pub label_errors: bool,
    /// How training spectra are varied.
    pub augment: AugmentSettings,
    /// Part of the training stars that only tells when to stop, and how large errors are.
    #[schemars(range(min = 0.0, max = 0.9))]
    pub validation: f64,
    /// How training goes.
    pub descent: DescentSettings,
    /// What is learned from an emulator's spectra before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrain: Option<PretrainSettings>,
    /// Networks trained from different random numbers, each with other stars to validate; their mean is the estimate.
    #[schemars(range(min = 1, max = 1000))]
    pub members: usize,
    /// Samples of Monte-Carlo dropout per star and member that errors are taken from, 2 at least; 0 for none.
    #[schemars(range(max = 10_000))]
    pub dropout_samples: usize,
    /// Whether estimates are made to follow their labels in full, as held-out training stars tell.
    pub correct_slopes: bool,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            input: InputConfig::default(),
            architecture: Architecture::default(),
            loss: Loss::default(),
            label_errors: false,
            augment: AugmentSettings::default(),
            validation: 0.15,
            descent: DescentSettings::default(),
            pretrain: None,
            members: 1,
            dropout_samples: 0,
            correct_slopes: false,
        }
    }
}

impl NetworkConfig {
    /// The first setting that makes no sense: its key below `network`, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (String, String)> {
        let below = |table: &str| {
            let table = table.to_string();
            move |(key, problem): (&str, &str)| (format!("{table}.{key}"), problem.to_string())
        };
        let check = |holds: bool, key: &str, problem: &str| {
            if holds { Ok(()) } else { Err((key.to_string(), problem.to_string())) }
        };
        let stops = self.descent.patience == 0 || self.validation > 0.0;
        check(stops, "validation", "must be above 0 where descent.patience waits for it")?;
        check(self.dropout_samples != 1, "dropout_samples", "must be 0, or at least 2: one sample has no spread")?;
        let attends = attend(&self.architecture.layers()) && self.input.components.is_none();
        let told = !attends || self.input.mask_channel;
        check(told, "input.mask_channel", "must be true for attention: it tells which patches are masked")?;
        if let Some(pretrain) = &self.pretrain {
            pretrain.check().map_err(below("pretrain"))?;
            let shows = pretrain.n_shown();
            let few = self.input.components.as_ref().is_some_and(|components| components.count >= shows);
            check(
                !few,
                "input.components.count",
                &format!("must be below the {shows} model spectra they are found in"),
            )?;
            check(
                self.input.masked == Masked::Mean,
                "input.masked",
                "must be \"mean\" beside pretrain: no Cannon of the survey fills model spectra",
            )?;
            let rate = LEARNING_RATES.contains(&self.descent_on_stars().learning_rate);
            check(rate, "pretrain.finetune", "times descent.learning_rate must be 1e-8 to 1")?;
        }
        self.augment.check().map_err(below("augment"))
    }

    /// How training on the survey's stars goes: after pretraining in smaller steps.
    pub fn descent_on_stars(&self) -> DescentSettings {
        let finetune = self.pretrain.as_ref().map_or(1.0, |pretrain| pretrain.finetune);
        DescentSettings { learning_rate: self.descent.learning_rate * finetune, ..self.descent.clone() }
    }

    /// Weights of one network, and values that pass through it for each star.
    ///
    /// # Errors
    /// Why its layers do not fit such spectra.
    pub fn size(&self, n_pixels: usize, n_labels: usize) -> Result<(f64, f64), String> {
        let InputConfig { mask_channel, components, .. } = &self.input;
        let (input, fixed) = match components {
            Some(components) => (Shape::Vector(components.count), components.count as f64 * n_pixels as f64),
            None => {
                let channels = if *mask_channel { 2 } else { 1 };
                (Shape::Sequence { channels, length: n_pixels }, 0.0)
            }
        };
        let (size, top) = size_of(&self.architecture.layers(), input)?;
        let n_outputs = if self.loss.needs_variance() { 2 * n_labels } else { n_labels };
        let head = (top.size() + 1) as f64 * n_outputs as f64;
        Ok((size.weights + head + fixed + 2.0 * n_pixels as f64, size.values + input.size() as f64))
    }

    /// Bytes that training with so many stars takes, roughly; none if its layers do not fit such spectra.
    ///
    /// Every weight is there with its gradient, what the optimizer remembers of it, and in the best and the averaged network;
    /// every value, of each star of a batch or of all that validate, with its gradient and what it was made from.
    pub fn memory(&self, n_pixels: usize, n_labels: usize, n_stars: usize) -> Option<f64> {
        /// Of the narrower precision.
        const BYTES: f64 = 4.0;
        let (weights, values) = self.size(n_pixels, n_labels).ok()?;
        let (copies, batch) = match self.descent.optimizer {
            OptimizerSettings::Lbfgs { history, .. } => (8.0 + 2.0 * history as f64, n_stars),
            _ => (8.0, n_stars.min(self.descent.batch_rows)),
        };
        let stars = (3.0 * batch as f64).max(self.validation * n_stars as f64);
        Some(BYTES * (weights * (copies + self.members as f64) + values * stars))
    }

    /// Bytes that a star takes for the whole of training where its spectrum is not held: its labels, and what finds components.
    pub fn kept_of_a_star(&self, n_labels: usize) -> f64 {
        /// Labels, errors and weights, on the host and on the device, of stars that train or validate.
        const LABELS: f64 = 64.0;
        let components = self.input.components.as_ref().map_or(0.0, |found| BYTES_OF_COMPONENT * found.count as f64);
        LABELS * n_labels as f64 + components
    }
}
