//! What an experiment file says, and the validated experiment it becomes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::best_fits::OutputSettings;
use super::calibration::CalibrationSettings;
use super::combination::CombinationConfig;
use super::comparison::ComparisonSettings;
use super::lab::LabSettings;
use super::layers::Layers;
use super::outliers::OutlierSettings;
use super::run_folder::RESOLVED;
use super::sweep::Sweep;
use super::sweep::points::{Point, expand};
use super::validate::validate;
use crate::data::fetch::ArchiveSettings;
use crate::data::files;
use crate::data::selection::Selection;
use crate::device::DeviceSettings;
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::inference::fit_quality::BadFitSettings;
use crate::inference::sampling::PosteriorSettings;
use crate::mock::MockSettings;
use crate::models::ridge::RidgeConfig;
use crate::spectra::continuum::ContinuumSettings;
use crate::spectra::pixmask::PixmaskSettings;
use crate::spectra::split::Split;
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
            seed: 1,
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
        self.lab = self.lab.take().map(|lab| lab.settled(self));
    }

    /// The models in an order in which each comes after those it combines: by name, combinations last.
    pub fn models_in_order(&self) -> impl Iterator<Item = (&String, &ModelConfig)> {
        let is_combination = |model: &ModelConfig| matches!(model, ModelConfig::Combination(_));
        let alone = self.models.iter().filter(move |(_, model)| !is_combination(model));
        alone.chain(self.models.iter().filter(move |(_, model)| is_combination(model)))
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

/// `[data]`: one of several doors, and optionally a table of true labels (mock surveys have one).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// An APOGEE catalogue and a folder of apStar files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apstar: Option<ApstarData>,
    /// Where `maury fetch` takes the catalogue and the spectra of `apstar` from.
    #[serde(skip_serializing_if = "ArchiveSettings::is_usual")]
    pub archive: ArchiveSettings,
    /// Arrays of any survey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrays: Option<ArrayData>,
    /// A mock survey, made when it is first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock: Option<MockSettings>,
    /// Model spectra, for experiments that train an emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<LibraryData>,
    /// An apStar file of a star whose labels nobody tells, for `[lab]`; without it, a test star's labels are withheld.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mystery: Option<PathBuf>,
    /// Table with an id column and true labels, for `<label>_truth` columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truth: Option<PathBuf>,
}

/// `[data.apstar]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApstarData {
    /// allStar FITS file, or a SkyServer answer in CSV.
    pub catalogue: PathBuf,
    /// Folder of apStar files: flat, by field, or in the archive's layout.
    pub spectra: PathBuf,
}

/// `[data.arrays]`. Paths end in .npy, .npz (`file.npz:key` picks an array) or .fits (`file.fits[NAME]` picks an image).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArrayData {
    /// Flux, [n_stars, n_pixels].
    pub flux: PathBuf,
    /// Error of the flux, [n_stars, n_pixels].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<PathBuf>,
    /// Inverse variance of the flux, in place of `error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ivar: Option<PathBuf>,
    /// Table (CSV or FITS) with one row per star, in the order of the spectra.
    pub labels: PathBuf,
    /// Wavelengths of the pixels in vacuum Angstrom; pixel numbers where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wavelengths: Option<PathBuf>,
    /// Column of the star identifiers; empty for the usual names, or else row numbers.
    pub id_column: String,
}

/// `[data.library]`: model spectra on the apStar grid, normalized by their true continuum, in an .npz file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LibraryData {
    /// The file: `flux_u16` [n_models, n_pixels] times `flux_scale`, `labels` and `nuisance` [n_models, ...].
    pub path: PathBuf,
    /// Names of the columns of `nuisance`; an empty name leaves a column out.
    pub nuisances: Vec<String>,
    /// Those of the nuisances of which the logarithm counts; `log_` is put before their names.
    pub logarithmic: Vec<String>,
    /// One model in this many is held out of training, to measure the emulator's error.
    pub hold_out_every: usize,
    /// Who made the spectra, and from what: for the model card.
    pub sources: String,
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

/// `[bootstrap]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BootstrapSettings {
    /// Resamplings of the test stars.
    pub resamples: usize,
    /// Probability the intervals hold.
    pub level: f64,
}

impl Default for BootstrapSettings {
    fn default() -> Self {
        Self { resamples: 1000, level: 0.95 }
    }
}

/// A validated experiment: nothing downstream checks its settings again.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The experiment's name: its file's, unless another was given; its runs' folder.
    pub slug: String,
    /// All settings, defaults filled in.
    pub config: ExperimentConfig,
    /// The points of its sweep; none where it has no `[sweep]`.
    pub points: Vec<Point>,
}

impl Experiment {
    /// Reads and validates an experiment file.
    ///
    /// # Errors
    /// [`Error::Config`] with file, line and remedy; [`Error::Io`].
    pub fn load(path: &Path, sets: &[String], name: Option<&str>) -> Result<Self> {
        let layers = Layers::read::<ExperimentConfig>(path, sets)?;
        let mut config: ExperimentConfig = layers.merged()?;
        config.settle();
        config.sweep.sort_keys(&layers.order_of("sweep"));
        let slug = match name {
            Some(name) => name.to_string(),
            None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        if slug.is_empty() || slug.starts_with('.') || slug.contains(['/', '\\']) {
            return Err(Error::Config(format!("--name '{slug}': a plain folder name expected")));
        }
        validate(&config).map_err(|(key, problem)| layers.blame(&key, &problem))?;
        let points = expand(&config, &layers)?;
        Ok(Self { slug, config, points })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, sets: &[&str]) -> Result<Experiment> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("try.toml");
        std::fs::write(&path, text).unwrap();
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        Experiment::load(&path, &sets, None)
    }

    const DATA: &str = "[data.arrays]\nflux = \"f.npy\"\nivar = \"i.npy\"\nlabels = \"l.csv\"\n";

    fn refusal(text: &str, sets: &[&str]) -> String {
        load(&format!("{text}\n{DATA}"), sets).unwrap_err().to_string()
    }

    #[test]
    fn a_minimal_file_gets_every_default_and_a_cannon() {
        let experiment = load(DATA, &["seed=7", "models.cubic.cannon.order=3"]).unwrap();
        assert_eq!((experiment.slug.as_str(), experiment.config.seed), ("try", 7));
        assert_eq!(
            experiment.config.models["cubic"],
            ModelConfig::Cannon(CannonConfig { order: 3, ..Default::default() })
        );
        assert!(load(DATA, &[]).unwrap().config.models.contains_key("cannon"));
    }

    #[test]
    fn mistakes_are_answered_with_file_line_and_nearest_name() {
        let unknown = refusal("[contiuum]\norder = 3", &[]);
        assert!(
            unknown.contains("try.toml") && unknown.contains("line 1") && unknown.contains("did you mean `continuum`"),
            "{unknown}"
        );
        let inner = refusal("[continuum]\nordr = 3", &[]);
        assert!(inner.contains("line 2") && inner.contains("did you mean `order`"), "{inner}");
        let wrong_type = refusal("seed = \"one\"", &[]);
        assert!(
            wrong_type.contains("line 1") && wrong_type.contains("expected a whole number, 0 or more"),
            "{wrong_type}"
        );
        let value = refusal("seed = 1\n[models.a.cannon]\norder = 9", &[]);
        assert!(value.contains("line 3") && value.contains("models.a.cannon.order must be 1, 2 or 3"), "{value}");
        let model = refusal("[models.a.canon]\norder = 2", &[]);
        assert!(model.contains("did you mean `cannon`"), "{model}");
        let set = refusal("", &["split.folds.k=1"]);
        assert!(set.contains("--set 'split.folds.k=1'") && set.contains("at least 2"), "{set}");
        let set = refusal("", &["contiuum.order=3"]);
        assert!(set.contains("--set") && set.contains("did you mean `continuum`"), "{set}");
        let both = refusal("[data.apstar]\ncatalogue = \"a\"\nspectra = \"b\"", &[]);
        assert!(both.contains("keep one"), "{both}");
    }

    #[test]
    fn combinations_name_models_of_the_experiment_and_come_after_them() {
        let ridge = "[models.ridge.ridge]\n[models.latent.cannon]\n";
        let of = |of: &str, rest: &str| format!("{rest}{ridge}[models.both.combination]\nof = {of}\n{DATA}");
        let good = load(&of("[\"latent\", \"ridge\"]", ""), &[]).unwrap();
        assert_eq!(good.config.models_in_order().map(|(name, _)| name.as_str()).last(), Some("both"));
        let refusal = |of_what: &str, rest: &str| load(&of(of_what, rest), &[]).unwrap_err().to_string();
        let unknown = refusal("[\"latnt\", \"ridge\"]", "");
        assert!(unknown.contains("models.both.combination.of") && unknown.contains("did you mean latent"), "{unknown}");
        assert!(refusal("[\"both\", \"ridge\"]", "").contains("cannot combine both"));
        assert!(refusal("[\"ridge\", \"ridge\"]", "").contains("twice"));
        assert!(refusal("[\"ridge\"]", "").contains("at least two"));
        assert!(refusal("[\"latent\", \"ridge\"]", "calibration.folds = 0\n").contains("calibration.folds"));
    }

    #[test]
    fn a_file_extends_another_one_level_deep() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("base.toml", &format!("seed = 5\nlabels = [\"teff\"]\n{DATA}"));
        write("own.toml", "extends = \"base.toml\"\nlabels = [\"logg\"]\n");
        write("deep.toml", "extends = \"own.toml\"\n");
        let own = Experiment::load(&folder.path().join("own.toml"), &[], Some("other")).unwrap();
        assert_eq!((own.config.seed, own.config.labels, own.slug.as_str()), (5, vec!["logg".to_string()], "other"));
        let deep = Experiment::load(&folder.path().join("deep.toml"), &[], None).unwrap_err().to_string();
        assert!(deep.contains("one level"), "{deep}");
    }
}
