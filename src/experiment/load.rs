//! From an experiment file to a validated experiment.

use std::path::Path;

use super::config::ExperimentConfig;
use super::layers::Layers;
use super::run_folder::{COMPARISONS, LATEST};
use super::sweep::points::{Point, expand};
use super::validate::validate;
use crate::error::{Error, Result};

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
        let slug = match name {
            Some(name) => name.to_string(),
            None => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        };
        Self::of_layers(layers, slug)
    }

    /// Validates an experiment that is written in no file; `name` is its own, and what messages call its text.
    ///
    /// # Errors
    /// As [`Experiment::load`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        Self::of_layers(Layers::of_text::<ExperimentConfig>(name, text.into(), &[])?, name.into())
    }

    fn of_layers(layers: Layers, slug: String) -> Result<Self> {
        let mut config: ExperimentConfig = layers.merged()?;
        config.settle();
        config.sweep.sort_keys(&layers.order_of("sweep"));
        if slug.is_empty() || slug.starts_with('.') || slug.contains(['/', '\\']) {
            return Err(Error::Config(format!("--name '{slug}': a plain folder name expected")));
        }
        let taken =
            [(COMPARISONS, "that folder holds what `maury compare` finds"), (LATEST, "runs are linked under it")];
        if let Some((_, why)) = taken.iter().find(|(taken, _)| slug.eq_ignore_ascii_case(taken)) {
            return Err(Error::Config(format!(
                "an experiment cannot be called {slug}: {why}; give it another name by --name"
            )));
        }
        let table = toml::Table::try_from(&config).map_err(|err| Error::Config(err.to_string()))?;
        if let Some(key) = nowhere(&table, "") {
            return Err(layers.blame(&key, "is empty, and no path; name a file or folder, or leave the key out"));
        }
        validate(&config).map_err(|(key, problem)| layers.blame(&key, &problem))?;
        let points = expand(&config, &layers)?;
        Ok(Self { slug, config, points })
    }
}

/// Settings that are paths, whatever table they are in.
const PATHS: [&str; 11] =
    ["catalogue", "spectra", "flux", "error", "ivar", "labels", "wavelengths", "path", "mystery", "truth", "emulator"];

/// The dotted key of the first path that is an empty text.
fn nowhere(table: &toml::Table, place: &str) -> Option<String> {
    table.iter().find_map(|(name, value)| match value {
        toml::Value::Table(table) => nowhere(table, &format!("{place}{name}.")),
        toml::Value::String(text) if text.trim().is_empty() && PATHS.contains(&name.as_str()) => {
            Some(format!("{place}{name}"))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::registry::ModelConfig;
    use crate::training::cannon_config::CannonConfig;

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
            ModelConfig::new(CannonConfig { order: 3, ..Default::default() })
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
        assert!(value.contains("line 3") && value.contains("models.a.cannon.order must be 1 to 3"), "{value}");
        let model = refusal("[models.a.canon]\norder = 2", &[]);
        assert!(model.contains("did you mean `cannon`"), "{model}");
        let set = refusal("", &["split.folds.k=1"]);
        assert!(set.contains("--set 'split.folds.k=1'") && set.contains("must be 2 to 1000"), "{set}");
        let set = refusal("", &["contiuum.order=3"]);
        assert!(set.contains("--set") && set.contains("did you mean `continuum`"), "{set}");
        let both = refusal("[data.apstar]\ncatalogue = \"a\"\nspectra = \"b\"", &[]);
        assert!(both.contains("keep one"), "{both}");
        let both = refusal("", &["data.arrays.error=e.npy"]);
        assert!(both.contains("data.arrays has both `error` and `ivar`; remove one"), "{both}");
        let neither = load(&DATA.replace("ivar = \"i.npy\"\n", ""), &[]).unwrap_err().to_string();
        assert!(neither.contains("needs either `error` or `ivar`"), "{neither}");
    }

    #[test]
    fn an_empty_path_is_told_by_its_key() {
        for key in ["data.arrays.wavelengths", "data.arrays.flux", "models.a.cannon.anchor.emulator"] {
            let told = refusal("", &[&format!("{key}=\"\"")]);
            assert!(told.contains(&format!("{key} is empty, and no path; name a file or folder")), "{told}");
            assert!(told.starts_with(&format!("--set '{key}")), "{told}");
        }
        let told = refusal("[data]\ntruth = \"\"\n", &[]);
        assert!(told.contains("line 2: data.truth is empty"), "{told}");
    }

    #[test]
    fn natural_mistakes_are_answered_with_what_to_write() {
        for (set, said) in [
            ("split.folds=5", "write split.folds.k = 5"),
            ("split=folds", "`folds` has settings of its own: write split.folds.k = VALUE"),
            ("models.b.network.architecture=mlp", "write models.b.network.architecture.mlp = {} for its defaults"),
            ("models.b.network.architecture=residual-cnn", "write models.b.network.architecture.residual-cnn = {}"),
            ("models.cannon.order=3", "did you mean `models.cannon.cannon.order`?"),
            ("models.cubic.order=3", "did you mean `models.cubic.cannon.order`?"),
            ("models.mine=ridge", "write models.mine.ridge = {} for its defaults"),
            ("labels=teff,logg", "write labels = [\"teff\", \"logg\"]"),
            ("labels=[teff,logg]", "write labels = [\"teff\", \"logg\"]"),
            ("continuum=3", "write continuum.NAME = VALUE, where NAME is one of "),
            ("models.b.network.architecture=5", "where NAME is one of linear, mlp, "),
            ("lab=1", "expected a table of settings, or false\nwrite lab.NAME = VALUE"),
        ] {
            let told = refusal("", &[set]);
            assert!(told.contains(said) && told.contains(&format!("--set '{set}'")), "{set}: {told}");
            assert!(!told.contains("struct") && !told.contains("variant,") && !told.contains("a sequence"), "{told}");
        }
        assert_eq!(load(DATA, &["models.b.network.architecture=linear"]).unwrap().config.models.len(), 1);
        // In a file the line is told as well.
        let told = refusal("seed = 1\nlabels = \"teff\"\n[split]\nfolds = { k = 3 }", &[]);
        assert!(told.contains("line 2") && told.contains("write labels = [\"teff\"]"), "{told}");
        let told = refusal("seed = 1\n[models.b.network]\narchitecture = \"starnet\"", &[]);
        assert!(told.contains("write models.b.network.architecture.starnet = {} for its defaults"), "{told}");
    }

    #[test]
    fn what_a_file_names_can_be_taken_back() {
        let text = format!("[lab]\nfeatures = 10\n[posterior.sampler]\ndraws = 100\n{DATA}");
        let taken = load(&text, &["lab=false", "posterior=false"]).unwrap().config;
        assert!(taken.lab.is_none() && taken.posterior.is_none());
        let told = load(&text, &["posterior=true", "lab=false"]).unwrap_err().to_string();
        assert!(told.contains("expected a table of settings, or false"), "{told}");
    }

    #[test]
    fn a_file_that_is_not_there_has_its_namesakes_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("quickstart.toml"), DATA).unwrap();
        let told = |name: &str| Experiment::load(&folder.path().join(name), &[], None).unwrap_err().to_string();
        let right = folder.path().join("quickstart.toml").display().to_string();
        for wrong in ["quickstart", "quikstart.toml"] {
            let told = told(wrong);
            assert!(told.contains("no such file; did you mean ") && told.contains(&format!("{right}?")), "{told}");
        }
        assert!(told("zzz.toml").contains("zzz.toml: cannot read"), "{}", told("zzz.toml"));
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
    fn a_file_extends_another_and_that_one_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("base.toml", &format!("seed = 5\nlabels = [\"teff\"]\n{DATA}"));
        write("own.toml", "extends = \"base.toml\"\nlabels = [\"logg\"]\n");
        write("deep.toml", "extends = \"own.toml\"\n");
        let own = Experiment::load(&folder.path().join("own.toml"), &[], Some("other")).unwrap();
        assert_eq!((own.config.seed, own.config.labels, own.slug.as_str()), (5, vec!["logg".to_string()], "other"));
        let deep = Experiment::load(&folder.path().join("deep.toml"), &[], None).unwrap();
        assert_eq!((deep.config.seed, deep.config.labels), (5, vec!["logg".to_string()]));
        write("lost.toml", "extends = \"configs/nowhere.toml\"\n");
        let path = folder.path().join("lost.toml");
        let lost = Experiment::load(&path, &[], None).unwrap_err();
        let beside = folder.path().join("configs/nowhere.toml").display().to_string();
        for words in
            [&path.display().to_string(), "extends = \"configs/nowhere.toml\"", &beside, "the folder maury runs in"]
        {
            assert!(lost.to_string().contains(words), "{words}: {lost}");
        }
        assert_eq!(lost.exit_code(), 2);
    }
}
