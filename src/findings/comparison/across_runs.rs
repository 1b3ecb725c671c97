//! The models of several finished runs, compared as those of one run are, and the files that say so.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::contestant::Contestant;
use super::matching::{Named, matched};
use super::runs::{FinishedRun, differences, names};
use super::{Comparison, dependence};
use crate::data::files;
use crate::data::fits::Column;
use crate::error::{Error, Result};
use crate::findings::groups::HEALTHY;
use crate::findings::metrics::{LabelMetrics, ModelMetrics, summarize};
use crate::findings::predictions::Predictions;
use crate::spectra::star_table::write_table;
use crate::stats::paired::Difference;

/// Models of several runs on the same stars.
#[derive(Debug, Clone)]
pub struct RunComparison {
    /// The runs.
    pub runs: Vec<ComparedRun>,
    /// The models.
    pub models: Vec<ComparedModel>,
    /// What was found.
    pub comparison: Comparison,
    /// What a reader must know before believing a difference: settings, stars or labels that differ.
    pub warnings: Vec<String>,
    /// Seed of the resamples: the first run's.
    pub seed: u64,
}

/// A run of which models were compared.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedRun {
    /// Its name here.
    pub name: String,
    /// Its folder.
    pub folder: String,
    /// Its resolved settings as they stand in its folder.
    #[serde(skip)]
    pub settings: String,
}

/// One model on the stars compared.
#[derive(Debug, Clone)]
pub struct ComparedModel {
    /// Its name, with its run's where that is needed to tell it from others.
    pub name: String,
    /// Its predictions for these stars.
    pub predictions: Predictions,
    /// Their metrics.
    pub metrics: ModelMetrics,
}

#[derive(Serialize)]
struct ComparisonFile<'a> {
    maury_version: &'static str,
    seed: u64,
    runs: &'a [ComparedRun],
    warnings: &'a [String],
    models: BTreeMap<&'a str, &'a ModelMetrics>,
    comparison: &'a Comparison,
}

/// Compares all models of some runs, with the settings of the first.
///
/// # Errors
/// [`Error::Config`] for fewer than two models or a run given twice; [`Error::Mismatch`] where stars differ and may not, or
/// nothing is common; [`Error::TooFewStars`].
pub fn compare_runs(runs: &[FinishedRun], allow_different_stars: bool) -> Result<RunComparison> {
    let run_names = names(runs)?;
    let all: Vec<Named> = runs
        .iter()
        .zip(&run_names)
        .flat_map(|(run, name)| {
            run.models.iter().map(move |model| (format!("{name}/{}", model.name), &model.predictions))
        })
        .collect();
    if all.len() < 2 {
        return Err(Error::Config("one model alone cannot be compared; name a second run".into()));
    }
    let mut warnings = differences(runs, &run_names);
    let settings = runs[0].basis();
    let trained: Vec<_> = runs.iter().flat_map(|run| &run.models).collect();
    let matched = matched(&all, allow_different_stars, &mut warnings)?;
    let is_alone = |name: &str| trained.iter().filter(|model| model.name == name).count() == 1;
    let models: Vec<ComparedModel> = matched
        .into_iter()
        .zip(trained.iter().zip(&all))
        .map(|(predictions, (model, (long, _)))| {
            let name = if is_alone(&model.name) { model.name.clone() } else { long.clone() };
            let (n_train, n_parameters) = (model.n_train, model.n_parameters);
            let metrics = summarize(&predictions, n_train, n_parameters, &settings.bootstrap, settings.seed);
            ComparedModel { name, predictions, metrics }
        })
        .collect();
    let contestants: Vec<Contestant> = models.iter().map(ComparedModel::contestant).collect();
    let comparison = Comparison::new(&contestants, &settings.comparison, &settings.bootstrap, settings.seed);
    Ok(RunComparison {
        runs: run_names.into_iter().zip(runs).map(|(name, run)| compared(name, run)).collect(),
        comparison: comparison.expect("there are models"),
        models,
        warnings,
        seed: settings.seed,
    })
}

fn compared(name: String, run: &FinishedRun) -> ComparedRun {
    let settings = toml::to_string_pretty(&run.config).unwrap_or_default();
    ComparedRun { name, folder: run.folder.display().to_string(), settings }
}

impl ComparedModel {
    /// The model as it stands beside others.
    pub fn contestant(&self) -> Contestant<'_> {
        Contestant { name: &self.name, predictions: &self.predictions, metrics: &self.metrics }
    }
}

impl RunComparison {
    /// The models as they stand beside each other.
    pub fn contestants(&self) -> Vec<Contestant<'_>> {
        self.models.iter().map(ComparedModel::contestant).collect()
    }

    /// Writes `comparison.fits`, `comparison.csv`, `dependence.fits`, `dependence.csv` and `comparison.json`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        let Comparison { dependence, models, labels, .. } = &self.comparison;
        write_table(&folder.join("comparison"), "COMPARISON", &self.columns())?;
        write_table(&folder.join("dependence"), "DEPENDENCE", &dependence::columns(dependence, models, labels))?;
        let file = ComparisonFile {
            maury_version: env!("CARGO_PKG_VERSION"),
            seed: self.seed,
            runs: &self.runs,
            warnings: &self.warnings,
            models: self.models.iter().map(|model| (model.name.as_str(), &model.metrics)).collect(),
            comparison: &self.comparison,
        };
        files::write_json(&folder.join("comparison.json"), &file)
    }

    /// One row per label, reference and model: its metrics, and how it differs from the best model.
    fn columns(&self) -> Vec<Column> {
        let against_best = self.comparison.against_best();
        let mut words: [Vec<String>; 3] = Default::default();
        let mut counts = Vec::new();
        let mut numbers: Vec<(&str, Vec<f64>)> = Vec::new();
        for reference in ["catalogue", "truth", "healthy, truth"] {
            for (label, model) in
                self.comparison.labels.iter().flat_map(|label| self.models.iter().map(move |model| (label, model)))
            {
                let healthy = model.metrics.by_pathology.get(HEALTHY);
                let metrics = match reference {
                    "catalogue" => model.metrics.labels.get(label),
                    "truth" => model.metrics.labels_vs_truth.get(label),
                    _ => healthy.and_then(|group| group.labels_vs_truth.get(label)),
                };
                let Some(metrics) = metrics else { continue };
                let pair = against_best.iter().find(|pair| pair.first == model.name);
                let pair = pair.and_then(|pair| match reference {
                    "catalogue" => pair.labels.get(label),
                    "truth" => pair.labels_vs_truth.get(label),
                    _ => pair.healthy_vs_truth.get(label),
                });
                let cells = [label.as_str(), reference, &model.name];
                words.iter_mut().zip(cells).for_each(|(column, word)| column.push(word.to_string()));
                counts.push(metrics.n_stars as i64);
                let row = row(metrics, pair.map(|pair| (pair.scatter, pair.robust_scatter)));
                match numbers.is_empty() {
                    true => numbers = row.into_iter().map(|(name, value)| (name, vec![value])).collect(),
                    false => numbers.iter_mut().zip(row).for_each(|((_, column), (_, value))| column.push(value)),
                }
            }
        }
        let names = ["label", "reference", "model"];
        let mut columns: Vec<Column> =
            names.into_iter().zip(words).map(|(name, words)| Column::text(name, words)).collect();
        columns.push(Column::i64("n_stars", counts));
        columns.extend(numbers.into_iter().map(|(name, values)| Column::f64(name, "", values)));
        columns
    }
}

/// Names and values of the numbers of a row; differences are those from the best model, missing for itself.
fn row(metrics: &LabelMetrics, differences: Option<(Difference, Difference)>) -> Vec<(&'static str, f64)> {
    let pull = |of: fn(&crate::findings::pulls::Pulls) -> f64| metrics.pulls.as_ref().map_or(f64::NAN, of);
    let scatter = |of: fn(&Difference) -> f64| differences.as_ref().map_or(f64::NAN, |(scatter, _)| of(scatter));
    let robust = |of: fn(&Difference) -> f64| differences.as_ref().map_or(f64::NAN, |(_, robust)| of(robust));
    vec![
        ("bias", metrics.bias),
        ("bias_low", metrics.bias_interval.0),
        ("bias_high", metrics.bias_interval.1),
        ("scatter", metrics.scatter),
        ("scatter_low", metrics.scatter_interval.0),
        ("scatter_high", metrics.scatter_interval.1),
        ("robust_scatter", metrics.robust_scatter),
        ("robust_scatter_low", metrics.robust_scatter_interval.0),
        ("robust_scatter_high", metrics.robust_scatter_interval.1),
        ("median_abs_error", metrics.median_abs_error),
        ("median_abs_error_low", metrics.median_abs_error_interval.0),
        ("median_abs_error_high", metrics.median_abs_error_interval.1),
        ("median_formal_error", metrics.median_formal_error),
        ("pull_robust_width", pull(|pulls| pulls.robust_width)),
        ("pull_standard_deviation", pull(|pulls| pulls.standard_deviation)),
        ("within_1_error", pull(|pulls| pulls.within_1_error)),
        ("within_2_errors", pull(|pulls| pulls.within_2_errors)),
        ("scatter_minus_best", scatter(|difference| difference.value)),
        ("scatter_minus_best_low", scatter(|difference| difference.interval.0)),
        ("scatter_minus_best_high", scatter(|difference| difference.interval.1)),
        ("scatter_fraction_better", scatter(|difference| difference.fraction_first_smaller)),
        ("robust_scatter_minus_best", robust(|difference| difference.value)),
        ("robust_scatter_minus_best_low", robust(|difference| difference.interval.0)),
        ("robust_scatter_minus_best_high", robust(|difference| difference.interval.1)),
        ("robust_scatter_fraction_better", robust(|difference| difference.fraction_first_smaller)),
    ]
}
