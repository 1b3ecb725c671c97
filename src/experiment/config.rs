//! What an experiment file says, defaults filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::run_folder::RESOLVED;
use super::sweep::Sweep;
use crate::data::files;
use crate::data::selection::Selection;
use crate::device::DeviceSettings;
use crate::error::{Error, Result};
use crate::findings::comparison::ComparisonSettings;
use crate::findings::elements::settings::ElementSettings;
use crate::findings::lab::settings::LabSettings;
use crate::findings::metrics::{BootstrapSettings, DEFAULT_SEED};
use crate::findings::outliers::settings::OutlierSettings;
use crate::inference::fit::FitSettings;
use crate::inference::fit_quality::BadFitSettings;
use crate::inference::sampling::PosteriorSettings;
use crate::kinds::context::{CalibrationSettings, SharedSettings};
use crate::kinds::registry::ModelConfig;
use crate::labelling::best_fits::OutputSettings;
use crate::spectra::continuum::ContinuumSettings;
use crate::spectra::pixmask::PixmaskSettings;
use crate::spectra::split::Split;
use crate::stars::settings::{DataConfig, StarSettings};
use crate::training::tensorboard::TensorBoardSettings;

/// The content of an experiment file. Every key has a default; only the data must be named.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Posteriors of all test stars, for models with a likelihood; none unless named, or `false`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "unless_false")]
    #[schemars(schema_with = "or_false::<PosteriorSettings>")]
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
    /// What the classic lab asks of a run beside the comparison of models; nothing unless named, or `false`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "unless_false")]
    #[schemars(schema_with = "or_false::<LabSettings>")]
    pub lab: Option<LabSettings>,
    /// Whether labels are read from their own lines, or follow from each other; not asked unless named, or `false`.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "unless_false")]
    #[schemars(schema_with = "or_false::<ElementSettings>")]
    pub elements: Option<ElementSettings>,
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

/// A table of settings, or `false`, which takes back what another file names.
fn unless_false<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Named<T>(PhantomData<T>);
    impl<'de, T: Deserialize<'de>> Visitor<'de> for Named<T> {
        type Value = Option<T>;

        fn expecting(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
            formatter.write_str("a table of settings, or false")
        }

        fn visit_bool<E: serde::de::Error>(self, is_named: bool) -> Result<Option<T>, E> {
            if is_named { Err(E::invalid_value(Unexpected::Bool(true), &self)) } else { Ok(None) }
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }
    deserializer.deserialize_any(Named(PhantomData))
}

/// The schema of such a table.
fn or_false<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({ "anyOf": [generator.subschema_for::<T>(), { "const": false }] })
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
            elements: None,
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
            let model = ModelConfig::default();
            self.models.insert(model.kind().into(), model);
        }
        // The lab looks into the classic one, a quadratic one, where there is one.
        let names = self.flux_models();
        let quadratic = |name: &&str| self.models[*name].flux_order() == Some(2);
        let first = names.iter().copied().find(quadratic).or(names.first().copied()).map(String::from);
        if let Some(lab) = self.lab.as_mut().filter(|lab| lab.model.is_empty()) {
            lab.model = first.unwrap_or_default();
        }
    }

    /// Names of the models whose flux is a polynomial of the labels alone.
    pub fn flux_models(&self) -> Vec<&str> {
        self.models.iter().filter(|(_, model)| model.flux_order().is_some()).map(|(name, _)| name.as_str()).collect()
    }

    /// The models in an order in which each comes after those it is made of: by name, those made of others last.
    pub fn models_in_order(&self) -> impl Iterator<Item = (&String, &ModelConfig)> {
        let alone = self.models.iter().filter(|(_, model)| model.made_of().is_empty());
        alone.chain(self.models.iter().filter(|(_, model)| !model.made_of().is_empty()))
    }

    /// What holds for all models alike.
    pub fn shared(&self) -> SharedSettings {
        SharedSettings {
            seed: self.seed,
            pixmask: self.pixmask.clone(),
            continuum: self.continuum.clone(),
            fit: self.fit.clone(),
            posterior: self.posterior.clone(),
            calibration: self.calibration,
            bad_fit: self.bad_fit,
            tensorboard: self.tensorboard.clone(),
        }
    }

    /// Which stars it takes, and how their spectra are prepared.
    pub fn stars(&self) -> StarSettings {
        StarSettings {
            labels: self.labels.clone(),
            data: self.data.clone(),
            selection: self.selection.clone(),
            pixmask: self.pixmask.clone(),
            continuum: self.continuum.clone(),
            memory: self.device.memory,
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
