//! What an experiment file says, and the validated experiment it becomes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::comparison::ComparisonSettings;
use super::layers::Layers;
use super::sweep::Sweep;
use super::sweep::points::{Point, expand};
use crate::data::files;
use crate::data::selection::Selection;
use crate::device::DeviceSettings;
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::mock::MockSettings;
use crate::models::cannon::CannonConfig;
use crate::spectra::continuum::{ContinuumMethod, ContinuumSettings, MOST_ORDER};
use crate::spectra::pixmask::PixmaskSettings;
use crate::spectra::split::Split;
use crate::training::emulator::EmulatorConfig;

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
    /// Intervals of the metrics.
    pub bootstrap: BootstrapSettings,
    /// How models are compared.
    pub comparison: ComparisonSettings,
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
            bootstrap: BootstrapSettings::default(),
            comparison: ComparisonSettings::default(),
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
    }

    /// Writes all settings, defaults filled in, as `experiment.toml` into a run's folder: itself an experiment.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_resolved(&self, folder: &Path) -> Result<()> {
        let resolved = toml::to_string_pretty(self).map_err(|err| Error::Config(err.to_string()))?;
        files::write_bytes(&folder.join("experiment.toml"), resolved)
    }
}

/// `[data]`: one of several doors, and optionally a table of true labels (mock surveys have one).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// An APOGEE catalogue and a folder of apStar files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub apstar: Option<ApstarData>,
    /// Arrays of any survey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrays: Option<ArrayData>,
    /// A mock survey, made when it is first asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mock: Option<MockSettings>,
    /// Model spectra, for experiments that train an emulator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub library: Option<LibraryData>,
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

/// `[data.arrays]`. Paths end in .npy, .npz (`file.npz:key` picks an array) or .fits.
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

/// Whether the values make sense; if not, the dotted key of the first that does not, and what is wrong with it.
pub(super) fn validate(config: &ExperimentConfig) -> Result<(), (String, String)> {
    let check = |holds: bool, key: &str, problem: &str| {
        if holds { Ok(()) } else { Err((key.to_string(), problem.to_string())) }
    };
    let labels = &config.labels;
    check(!labels.is_empty(), "labels", "is empty; name at least one catalogue column")?;
    let twice = |k: usize| labels[..k].iter().any(|label| label.eq_ignore_ascii_case(&labels[k]));
    check(!(1..labels.len()).any(twice), "labels", "names a label twice")?;
    check(
        labels.iter().all(|label| {
            (1..=40).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }),
        "labels",
        "must be column names of letters, digits and `_`",
    )?;
    check(!matches!(config.split, Split::Folds { k } if k < 2), "split.folds.k", "must be at least 2")?;
    check(!matches!(config.split, Split::Folds { k } if k > 1000), "split.folds.k", "must be at most 1000")?;
    let varied = config.data.library.is_none() || config.sweep.is_empty();
    check(varied, "sweep", "is for experiments on stars; train emulators one at a time, with --set")?;
    check(config.max_training_stars != 1, "max_training_stars", "must be 0 for no limit, or at least 2")?;
    for (name, model) in &config.models {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        check(plain, &format!("models.{name}"), "must be a name of letters, digits, `_` and `-`")?;
        validate_model(name, model, config.data.library.is_some(), check)?;
    }
    check((1..=100).contains(&config.fit.starts), "fit.starts", "must be 1 to 100")?;
    check(config.fit.max_steps > 0, "fit.max_steps", "must be at least 1")?;
    check(config.fit.batch_stars > 0, "fit.batch_stars", "must be at least 1")?;
    check(config.fit.tolerance > 0.0 && config.fit.tolerance <= 1.0, "fit.tolerance", "must be above 0 and at most 1")?;
    check((1..=1_000_000).contains(&config.bootstrap.resamples), "bootstrap.resamples", "must be 1 to 1000000")?;
    check(config.bootstrap.level > 0.0 && config.bootstrap.level < 1.0, "bootstrap.level", "must lie between 0 and 1")?;
    check((1..=100).contains(&config.comparison.bins), "comparison.bins", "must be 1 to 100")?;
    check(config.comparison.suspect_sigma > 0.0, "comparison.suspect_sigma", "must be positive")?;
    check(config.continuum.order <= MOST_ORDER, "continuum.order", "must be at most 10: more would follow the lines")?;
    check(config.continuum.clip_sigma > 0.0, "continuum.clip_sigma", "must be positive")?;
    check(config.continuum.emission_limit > 1.0, "continuum.emission_limit", "must be above 1, the continuum")?;
    check(config.pixmask.max_relative_error > 0.0, "pixmask.max_relative_error", "must be positive")?;
    check(config.pixmask.bits.iter().all(|bit| *bit < 63), "pixmask.bits", "must be bit numbers below 63")?;
    let selection = &config.selection;
    for (key, bits) in
        [("starflag", &selection.reject_starflag_bits), ("aspcapflag", &selection.reject_aspcapflag_bits)]
    {
        let key = format!("selection.reject_{key}_bits");
        check(bits.iter().all(|bit| *bit < 63), &key, "must be bit numbers below 63")?;
    }
    for (name, range) in &config.selection.ranges {
        let ordered = !matches!((range.min, range.max), (Some(min), Some(max)) if min > max);
        check(ordered, &format!("selection.ranges.{name}"), "has min above max; no star can pass")?;
    }
    validate_data(&config.data, config.continuum.method, check)
}

fn validate_model(
    name: &str,
    model: &ModelConfig,
    on_library: bool,
    check: impl Fn(bool, &str, &str) -> Result<(), (String, String)>,
) -> Result<(), (String, String)> {
    match model {
        ModelConfig::Cannon(cannon) => {
            let key = |field: &str| format!("models.{name}.cannon.{field}");
            check(!on_library, &key("order"), "cannot be learned from data.library; that is for [models.NAME.payne]")?;
            check((1..=3).contains(&cannon.order), &key("order"), "must be 1, 2 or 3")?;
            check(cannon.block_pixels > 0, &key("block_pixels"), "must be at least 1")?;
            check((2..=50).contains(&cannon.scatter_trials), &key("scatter_trials"), "must be 2 to 50")
        }
        ModelConfig::Payne(payne) => {
            let key = |field: &str| format!("models.{name}.payne.{field}");
            check(on_library, &key("components"), "needs model spectra to learn from; give data.library")?;
            check((1..=1000).contains(&payne.components), &key("components"), "must be 1 to 1000")?;
            let widths = payne.hidden.iter().all(|width| (1..=10_000).contains(width));
            check(widths && payne.hidden.len() <= 10, &key("hidden"), "must be at most 10 widths of 1 to 10000")?;
            let descent = &payne.descent;
            let rate = descent.learning_rate > 0.0 && descent.learning_rate <= 1.0;
            check(rate, &key("descent.learning_rate"), "must be above 0 and at most 1")?;
            check(descent.epochs > 0, &key("descent.epochs"), "must be at least 1")?;
            check(descent.batch_rows > 0, &key("descent.batch_rows"), "must be at least 1")?;
            check((0.0..1.0).contains(&descent.weight_decay), &key("descent.weight_decay"), "must be 0 to 1")
        }
    }
}

fn validate_data(
    data: &DataConfig,
    method: ContinuumMethod,
    check: impl Fn(bool, &str, &str) -> Result<(), (String, String)>,
) -> Result<(), (String, String)> {
    if let Some(library) = &data.library {
        let alone = data.apstar.is_none() && data.arrays.is_none();
        check(alone, "data.library", "is for emulators, which need no stars; remove the other data")?;
        let path = "is not set; name the .npz file, e.g. --set data.library.path=library.npz";
        check(!library.path.as_os_str().is_empty(), "data.library.path", path)?;
        return check(library.hold_out_every > 1, "data.library.hold_out_every", "must be at least 2");
    }
    let doors = [data.apstar.is_some(), data.arrays.is_some(), data.mock.is_some()];
    let n_doors = doors.iter().filter(|open| **open).count();
    check(n_doors > 0, "data", "names no stars; give [data.apstar], [data.arrays] or [data.mock]")?;
    check(n_doors < 2, "data", "names more than one of apstar, arrays and mock; keep one")?;
    let normalized = "must not be \"none\": apStar files are not normalized";
    match (&data.apstar, &data.arrays) {
        (None, None) => {
            let mock = data.mock.clone().unwrap_or_default();
            check(mock.validate().is_ok(), "data.mock.stars", "must be 1 to 1000000")?;
            check(method != ContinuumMethod::None, "continuum.method", normalized)
        }
        (Some(apstar), None) => {
            check(
                !apstar.catalogue.as_os_str().is_empty(),
                "data.apstar.catalogue",
                "is not set; name the allStar file",
            )?;
            check(
                !apstar.spectra.as_os_str().is_empty(),
                "data.apstar.spectra",
                "is not set; name the folder of apStar files",
            )?;
            check(method != ContinuumMethod::None, "continuum.method", normalized)
        }
        (_, Some(arrays)) => {
            check(
                !arrays.flux.as_os_str().is_empty(),
                "data.arrays.flux",
                "is not set; name a file, e.g. --set data.arrays.flux=flux.npy",
            )?;
            check(
                !arrays.labels.as_os_str().is_empty(),
                "data.arrays.labels",
                "is not set; name a table, e.g. --set data.arrays.labels=labels.csv",
            )?;
            check(
                arrays.error.is_some() != arrays.ivar.is_some(),
                "data.arrays",
                "needs either `error` or `ivar`, e.g. --set data.arrays.error=error.npy",
            )
        }
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
        assert!(wrong_type.contains("line 1") && wrong_type.contains("expected u64"), "{wrong_type}");
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
