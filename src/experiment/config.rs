//! What an experiment file says, defaults filled in.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::lab::settings::LabSettings;
use super::outliers::settings::OutlierSettings;
use super::run_folder::RESOLVED;
use super::sweep::Sweep;
use crate::data::files;
use crate::data::selection::Selection;
use crate::device::DeviceSettings;
use crate::error::{Error, Result};
use crate::findings::comparison::ComparisonSettings;
use crate::findings::metrics::{BootstrapSettings, DEFAULT_SEED};
use crate::inference::fit::FitSettings;
use crate::inference::fit_quality::BadFitSettings;
use crate::inference::sampling::PosteriorSettings;
use crate::labelling::best_fits::OutputSettings;
use crate::models::ridge::RidgeConfig;
use crate::spectra::continuum::ContinuumSettings;
use crate::spectra::pixmask::PixmaskSettings;
use crate::spectra::split::Split;
use crate::stars::settings::{DataConfig, StarSettings};
use crate::training::cannon_config::CannonConfig;
use crate::training::emulator::EmulatorConfig;
use crate::training::label_regression::NetworkConfig;
use crate::training::tensorboard::TensorBoardSettings;

/// The content of an experiment file. Every key has a default; only the data must be named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExperimentConfig {
    /// Another file whose values hold where this one is silent; found beside this file or from the current folder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extends: Option<String>,
    /// One sentence: what the experiment asks.
    pub question: String,
    /// Seed of the split and of every random draw.
    pub seed: u64,
    /// Labels to learn, by their catalogue columns.
    pub labels: Vec<String>,
    /// Where stars come from.
    pub data: DataConfig,
    /// Which stars enter.
    pub selection: Selection,
    /// Which pixels are masked.
    pub pixmask: PixmaskSettings,
    /// How spectra are normalized.
    pub continuum: ContinuumSettings,
    /// Who trains and who tests.
    pub split: Split,
    /// Stars that train in each fold at most, drawn by the seed so that a smaller number trains on a part of the stars of
    /// a larger one; 0 for no limit.
    pub max_training_stars: usize,
    /// The models to compare, by name.
    pub models: BTreeMap<String, ModelConfig>,
    /// How labels are fitted.
    pub fit: FitSettings,
    /// Posteriors of all test stars, for models with a likelihood; none unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posterior: Option<PosteriorSettings>,
    /// How errors are held against stars that trained.
    pub calibration: CalibrationSettings,
    /// When a star counts as one that a model does not describe.
    pub bad_fit: BadFitSettings,
    /// Intervals of the metrics.
    pub bootstrap: BootstrapSettings,
    /// How models are compared.
    pub comparison: ComparisonSettings,
    /// Which stars are outliers, and how they are looked into.
    pub outliers: OutlierSettings,
    /// What the classic lab asks of a run beside the comparison of models; nothing unless named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lab: Option<LabSettings>,
    /// What TensorBoard is told of networks in training.
    pub tensorboard: TensorBoardSettings,
    /// What is written beside labels.
    pub output: OutputSettings,
    /// What computes.
    pub device: DeviceSettings,
    /// Keys that take several values each, every combination of which is run.
    #[serde(skip_serializing_if = "Sweep::is_empty")]
    pub sweep: Sweep,
}

impl Default for ExperimentConfig {
    fn default() -> Self {
        Self {
            extends: None,
            question: String::new(),
            seed: DEFAULT_SEED,
            labels: ["teff", "logg", "fe_h", "mg_fe", "si_fe"].map(String::from).to_vec(),
            data: DataConfig::default(),
            selection: Selection::default(),
            pixmask: PixmaskSettings::default(),
            continuum: ContinuumSettings::default(),
            split: Split::default(),
            max_training_stars: 0,
            models: BTreeMap::new(),
            fit: FitSettings::default(),
            posterior: None,
            calibration: CalibrationSettings::default(),
            bad_fit: BadFitSettings::default(),
            bootstrap: BootstrapSettings::default(),
            comparison: ComparisonSettings::default(),
            outliers: OutlierSettings::default(),
            lab: None,
            tensorboard: TensorBoardSettings::default(),
            output: OutputSettings::default(),
            device: DeviceSettings::default(),
            sweep: Sweep::default(),
        }
    }
}

impl ExperimentConfig {
    /// What is left to settle when all layers are merged: an experiment that names no model gets a Cannon.
    pub(super) fn settle(&mut self) {
        self.extends = None;
        if self.models.is_empty() {
            self.models.insert("cannon".into(), ModelConfig::Cannon(CannonConfig::default()));
        }
        // The lab looks into the classic one, a quadratic one, where there is one.
        let quadratic = |name: &&str| self.models[*name].plain_cannon().is_some_and(|cannon| cannon.order == 2);
        let names = self.plain_cannons();
        let first = names.iter().copied().find(quadratic).or(names.first().copied()).map(String::from);
        if let Some(lab) = self.lab.as_mut().filter(|lab| lab.model.is_empty()) {
            lab.model = first.unwrap_or_default();
        }
    }

    /// Names of the Cannons of labels alone, without latent causes.
    pub fn plain_cannons(&self) -> Vec<&str> {
        self.models.iter().filter(|(_, model)| model.plain_cannon().is_some()).map(|(name, _)| name.as_str()).collect()
    }

    /// The models in an order in which each comes after those it combines: by name, combinations last.
    pub fn models_in_order(&self) -> impl Iterator<Item = (&String, &ModelConfig)> {
        let is_combination = |model: &ModelConfig| matches!(model, ModelConfig::Combination(_));
        let alone = self.models.iter().filter(move |(_, model)| !is_combination(model));
        alone.chain(self.models.iter().filter(move |(_, model)| is_combination(model)))
    }

    /// Which stars it takes, and how their spectra are prepared.
    pub fn stars(&self) -> StarSettings {
        StarSettings {
            labels: self.labels.clone(),
            data: self.data.clone(),
            selection: self.selection.clone(),
            pixmask: self.pixmask.clone(),
            continuum: self.continuum.clone(),
        }
    }

    /// All settings, defaults filled in: itself an experiment.
    ///
    /// # Errors
    /// [`Error::Config`] if a value has no place in TOML.
    pub fn resolved(&self) -> Result<String> {
        toml::to_string_pretty(self).map_err(|err| Error::Config(err.to_string()))
    }

    /// Writes [`ExperimentConfig::resolved`] as `experiment.toml` into a run's folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_resolved(&self, folder: &Path) -> Result<()> {
        files::write_bytes(&folder.join(RESOLVED), self.resolved()?)
    }
}

/// `[models.<name>]`: one kind of model with its settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelConfig {
    /// The Cannon.
    Cannon(CannonConfig),
    /// The Payne, trained on a library of model spectra.
    Payne(EmulatorConfig),
    /// A neural network that reads labels straight off the spectrum.
    Network(Box<NetworkConfig>),
    /// Kernel ridge regression of the labels on the spectra.
    Ridge(RidgeConfig),
    /// Other models of the experiment, combined.
    Combination(CombinationConfig),
}

impl ModelConfig {
    /// A Cannon of labels alone, without latent causes, if it is one.
    pub fn plain_cannon(&self) -> Option<&CannonConfig> {
        match self {
            Self::Cannon(cannon) if cannon.latent.is_none() => Some(cannon),
            _ => None,
        }
    }
}

/// `[calibration]`: how the training stars of each fold are held out in turn, to tell how far errors can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationSettings {
    /// Parts of the training stars, each estimated by a model trained on the others; 0 for no calibration.
    pub folds: usize,
    /// Where the held-out stars of networks come from.
    pub networks: HeldOutByNetworks,
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        Self { folds: 3, networks: HeldOutByNetworks::Members }
    }
}

/// Which networks estimate stars that they had not seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOutByNetworks {
    /// The members of the ensemble, each its own validation stars, at no cost. A member errs more than the mean of all; by how
    /// much follows from how far members are from each other (Krogh & Vedelsby 1995).
    Members,
    /// Whole ensembles trained on the other parts, like every other model; takes `folds` times as long.
    Folds,
}

/// `[models.<name>.combination]` of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CombinationConfig {
    /// The models of the experiment that are combined.
    pub of: Vec<String>,
}
