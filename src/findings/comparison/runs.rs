//! Finished runs as `maury compare` finds them: their folders, names, models, predictions and settings.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ComparisonSettings;
use crate::data::files;
use crate::error::{Error, Result};
use crate::findings::metrics::{BootstrapSettings, DEFAULT_SEED};
use crate::findings::predictions::Predictions;

/// Settings that two runs must share for the difference of their models to be that of the models alone.
const SHARED: [&str; 8] =
    ["seed", "split", "max_training_stars", "labels", "data", "selection", "pixmask", "continuum"];

/// The file of a run's numbers, the last that is written.
const METRICS: &str = "metrics.json";

/// A finished run.
#[derive(Debug, Clone)]
pub struct FinishedRun {
    /// Its folder.
    pub folder: PathBuf,
    /// The experiment's name; of a point of a sweep, with its number.
    pub slug: String,
    /// Its models, in the experiment's order.
    pub models: Vec<FinishedModel>,
    /// Its resolved settings.
    pub config: toml::Table,
}

/// One model of a finished run.
#[derive(Debug, Clone)]
pub struct FinishedModel {
    /// Its name in the run.
    pub name: String,
    /// Its predictions.
    pub predictions: Predictions,
    /// Training stars (mean over folds).
    pub n_train: usize,
    /// Free parameters.
    pub n_parameters: usize,
}

impl FinishedRun {
    /// Reads a run: its own folder, or its experiment's, whose latest run is meant; a name alone is one below `experiments`.
    ///
    /// # Errors
    /// [`Error::Config`] for a path that leads to no run; [`Error::Format`] for one that is unfinished or has no predictions.
    pub fn read(path: &Path, experiments: &Path) -> Result<Self> {
        let folder = run_folder(path, experiments)?;
        let metrics = read_metrics(&folder)?;
        let Some(models) = metrics["models"].as_object() else {
            return Err(Error::format(
                &folder.join("metrics.json"),
                "it names no models; is this a folder of `maury run`?",
            ));
        };
        let several = models.len() > 1;
        let models: Result<Vec<FinishedModel>> = models
            .iter()
            .map(|(name, model)| {
                let stem = if several { format!("predictions-{name}") } else { "predictions".to_string() };
                let count = |key: &str| model[key].as_u64().unwrap_or(0) as usize;
                let predictions = read_predictions(&folder, &stem)?;
                let (n_train, n_parameters) = (count("n_train"), count("n_parameters"));
                Ok(FinishedModel { name: name.clone(), predictions, n_train, n_parameters })
            })
            .collect();
        let settings = folder.join("experiment.toml");
        let config = match settings.is_file() {
            true => files::read_text(&settings)?
                .parse()
                .map_err(|err: toml::de::Error| Error::format(&settings, err.to_string()))?,
            false => toml::Table::new(),
        };
        Ok(Self { slug: slug(&folder), folder, models: models?, config })
    }

    /// What the settings say of a comparison, defaults where they say nothing this version understands.
    pub fn basis(&self) -> ComparisonBasis {
        fn known<T: DeserializeOwned>(settings: &toml::Table, key: &str) -> Option<T> {
            settings.get(key)?.clone().try_into().ok()
        }
        ComparisonBasis {
            seed: known(&self.config, "seed").unwrap_or(DEFAULT_SEED),
            bootstrap: known(&self.config, "bootstrap").unwrap_or_default(),
            comparison: known(&self.config, "comparison").unwrap_or_default(),
        }
    }
}

/// What of an experiment decides how its models are compared.
#[derive(Debug, Clone)]
pub struct ComparisonBasis {
    /// Seed of the resamples.
    pub seed: u64,
    /// Intervals of the metrics.
    pub bootstrap: BootstrapSettings,
    /// How models are compared.
    pub comparison: ComparisonSettings,
}

/// The folder of the run that a path means: its own, or its experiment's, whose latest run is meant; a name alone is one below
/// `experiments`.
///
/// # Errors
/// [`Error::Config`] for a path that leads to no run; [`Error::Format`] for a run that is unfinished.
pub fn run_folder(path: &Path, experiments: &Path) -> Result<PathBuf> {
    let path = match path.exists() {
        false if experiments.join(path).exists() => experiments.join(path),
        _ => path.to_path_buf(),
    };
    let wrong = |detail: &str| Error::Config(format!("{}: {detail}", path.display()));
    if !path.exists() {
        return Err(wrong(
            "no such folder; give the folder of a run, experiments/<name>/<time>, or that of its experiment",
        ));
    }
    if !path.is_dir() {
        return Err(wrong("this is a file; give the folder of a run"));
    }
    let latest = path.join("latest");
    let folder = if path.join(METRICS).is_file() {
        path
    } else if latest.is_dir() {
        latest
    } else if latest.is_file() {
        // Where links need privileges, the file names the folder.
        path.join(files::read_text(&latest)?.trim())
    } else {
        path
    };
    expect_run(&folder)?;
    std::fs::canonicalize(&folder).map_err(Error::io(&folder, "open"))
}

/// Refuses folders that are no finished run's.
fn expect_run(folder: &Path) -> Result<()> {
    let has = |name: &str| folder.join(name).is_file();
    if has(METRICS) {
        return Ok(());
    }
    let is_comparison = has("comparison.json");
    if !is_comparison && (has("experiment.toml") || has("log.txt")) {
        let detail = "this run is not finished: it has no metrics.json; wait for it, or run it again";
        return Err(Error::format(folder, detail));
    }
    let detail = match is_comparison {
        true => {
            "this is a comparison of runs and no run; its page is its comparison.html, and the runs are in folders of their own"
        }
        false => "this is not the folder of a run: it has no metrics.json, and no `latest` points to one",
    };
    Err(Error::Config(format!("{}: {detail}", folder.display())))
}

/// The numbers of a run's folder, `metrics.json`.
///
/// # Errors
/// As [`run_folder`]; [`Error::Format`] for a sweep.
pub fn read_metrics(folder: &Path) -> Result<Value> {
    expect_run(folder)?;
    let path = folder.join(METRICS);
    let metrics: Value =
        serde_json::from_str(&files::read_text(&path)?).map_err(|err| Error::format(&path, err.to_string()))?;
    if metrics["points"].is_array() {
        let points = folder.join("points").join("01");
        return Err(Error::format(
            folder,
            format!("this is a sweep; give some of its points, as {}", points.display()),
        ));
    }
    Ok(metrics)
}

fn read_predictions(folder: &Path, stem: &str) -> Result<Predictions> {
    let files = ["fits", "csv"].map(|ending| folder.join(format!("{stem}.{ending}")));
    match files.iter().find(|path| path.is_file()) {
        Some(path) => {
            let mut predictions = Predictions::read(path)?;
            // FITS has no letters beyond ASCII: two names may be one there, and are two in the text beside it.
            if predictions.ids.iter().any(|id| id.contains('?')) && files[1].is_file() {
                let written = Predictions::read(&files[1])?.ids;
                if written.len() == predictions.ids.len() {
                    predictions.ids = written;
                }
            }
            Ok(predictions)
        }
        None => Err(Error::format(folder, format!("no {stem}.fits or .csv; a run that labels stars leaves one"))),
    }
}

/// The experiment's name from its folder, `<name>/<time>`, or `<name>/<time>/points/<number>`.
fn slug(folder: &Path) -> String {
    let up = |levels: usize| {
        let name = folder.ancestors().nth(levels).and_then(Path::file_name);
        name.map_or_else(|| "run".to_string(), |name| name.to_string_lossy().into_owned())
    };
    if up(1) == "points" { format!("{}-{}", up(3), up(0)) } else { up(1) }
}

/// A name for every run: its experiment's, with the run's own folder where several are of one experiment.
///
/// # Errors
/// [`Error::Config`] if a run was given twice.
pub(super) fn names(runs: &[FinishedRun]) -> Result<Vec<String>> {
    for (index, run) in runs.iter().enumerate() {
        if runs[..index].iter().any(|other| other.folder == run.folder) {
            return Err(Error::Config(format!("{}: this run was given twice; name another", run.folder.display())));
        }
    }
    let is_alone = |run: &FinishedRun| runs.iter().filter(|other| other.slug == run.slug).count() == 1;
    let name = |run: &FinishedRun| match (is_alone(run), run.folder.file_name()) {
        (false, Some(time)) => format!("{}@{}", run.slug, time.to_string_lossy()),
        _ => run.slug.clone(),
    };
    Ok(runs.iter().map(name).collect())
}

/// How each run's settings differ from the first one's, in words; only those that matter to a comparison of models.
pub(super) fn differences(runs: &[FinishedRun], names: &[String]) -> Vec<String> {
    let settings: Vec<BTreeMap<String, String>> = runs.iter().map(|run| shared_settings(&run.config)).collect();
    let mut differences = Vec::new();
    for (index, (settings_of_run, name)) in settings.iter().zip(names).enumerate().skip(1) {
        if runs[index].config.is_empty() || runs[0].config.is_empty() {
            differences.push(format!("{name}: no experiment.toml in one of the folders; settings cannot be compared"));
            continue;
        }
        let keys = settings[0].keys().chain(settings_of_run.keys().filter(|key| !settings[0].contains_key(*key)));
        for key in keys {
            let [first, here] =
                [&settings[0], settings_of_run].map(|of| of.get(key).map_or("(not set)", String::as_str));
            if first != here {
                differences.push(format!("{key} is {here} in {name}, {first} in {}", names[0]));
            }
        }
    }
    differences
}

/// The settings that matter, by dotted key.
fn shared_settings(config: &toml::Table) -> BTreeMap<String, String> {
    fn collect(key: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
        match value {
            toml::Value::Table(table) => {
                table.iter().for_each(|(name, value)| collect(&format!("{key}.{name}"), value, into));
            }
            value => {
                into.insert(key.to_string(), value.to_string());
            }
        }
    }
    let mut settings = BTreeMap::new();
    for key in SHARED {
        config.get(key).into_iter().for_each(|value| collect(key, value, &mut settings));
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(folder: &str, config: &str) -> FinishedRun {
        let folder = PathBuf::from(folder);
        FinishedRun { slug: slug(&folder), folder, models: Vec::new(), config: config.parse().unwrap() }
    }

    #[test]
    fn runs_are_named_by_their_experiments_and_by_their_time_where_that_is_not_enough() {
        let [lab, again, cubic] = ["e/lab/2026-01", "e/lab/2026-02", "e/cubic/2026-01"].map(|folder| run(folder, ""));
        let point = run("e/sizes/2026-01/points/04", "");
        let named = |runs: &[FinishedRun]| names(runs).unwrap();
        assert_eq!(named(&[lab.clone(), cubic.clone(), point]), ["lab", "cubic", "sizes-04"]);
        assert_eq!(named(&[lab.clone(), again, cubic]), ["lab@2026-01", "lab@2026-02", "cubic"]);
        assert!(names(&[lab.clone(), lab]).unwrap_err().to_string().contains("twice"));
    }

    #[test]
    fn settings_that_matter_are_compared_key_by_key() {
        let first = run("e/a/1", "seed = 1\nsplit = 'halves'\n[continuum]\norder = 4\n[models.a.cannon]\norder = 1\n");
        let second = run("e/b/1", "seed = 2\nsplit = 'halves'\n[continuum]\norder = 4\n[models.b.cannon]\norder = 2\n");
        let third = run("e/c/1", "seed = 1\nsplit.folds.k = 5\n[continuum]\norder = 3\n");
        let runs = [first, second, third];
        let found = differences(&runs, &names(&runs).unwrap());
        assert_eq!(
            found,
            [
                "seed is 2 in b, 1 in a",
                "continuum.order is 3 in c, 4 in a",
                "split is (not set) in c, \"halves\" in a",
                "split.folds.k is 5 in c, (not set) in a",
            ]
        );
    }

    #[test]
    fn settings_of_another_version_do_not_stop_a_comparison() {
        let old = run("e/a/1", "seed = 7\nunknown = 3\n[bootstrap]\nresamples = 50\nother = 1\n");
        assert_eq!((old.basis().seed, old.basis().bootstrap.resamples), (7, 1000));
    }
}
