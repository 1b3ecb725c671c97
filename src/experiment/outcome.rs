//! What a run found, as plain data, and the files that hold it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::look_alikes::LookAlikes;
use super::metrics::ModelMetrics;
use super::predictions::{Predictions, write_table};
use super::timings::{Timings, peak_memory_mb};
use crate::data::files;
use crate::data::selection::Cut;
use crate::error::{Error, Result};
use crate::training::closed_form::TrainingReport;

/// Everything found about one model.
#[derive(Debug, Clone)]
pub struct ModelOutcome {
    /// The model's name in the experiment.
    pub name: String,
    /// Its predictions for the test stars.
    pub predictions: Predictions,
    /// Its metrics.
    pub metrics: ModelMetrics,
    /// How training went, by fold.
    pub training: Vec<TrainingReport>,
}

/// Everything a run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The models, in the experiment's order.
    pub models: Vec<ModelOutcome>,
    /// The selection.
    pub cuts: Vec<Cut>,
    /// Fraction of the pixels inside the chips with each mask bit: (bit, name, fraction).
    pub bit_fractions: Vec<(usize, &'static str, f64)>,
    /// Fraction of each star's pixels that was masked: smallest, median, largest.
    pub fraction_masked: [f64; 3],
    /// How alike the spectra of stars with like labels are.
    pub look_alikes: Option<LookAlikes>,
    /// Seed of the run.
    pub seed: u64,
    /// Probability the intervals of the metrics hold.
    pub interval_level: f64,
    /// Times by step.
    pub timings: Timings,
}

#[derive(Serialize)]
struct MetricsFile<'a> {
    maury_version: &'static str,
    burn_version: &'static str,
    seed: u64,
    interval_level: f64,
    selection: &'a [Cut],
    fraction_masked: BTreeMap<&'static str, f64>,
    fraction_per_mask_bit: BTreeMap<String, f64>,
    look_alikes: Option<LookAlikes>,
    models: BTreeMap<&'a str, ModelFile<'a>>,
    timings: &'a Timings,
    peak_memory_mb: f64,
}

#[derive(Serialize)]
struct ModelFile<'a> {
    #[serde(flatten)]
    metrics: &'a ModelMetrics,
    training: &'a [TrainingReport],
}

impl Outcome {
    /// Writes predictions and quality numbers into the run's folder; `metrics.json` last.
    ///
    /// With one model its predictions are `predictions.fits` and `.csv`; with several, each has
    /// `predictions-<name>.fits` too, and the plain name holds the first.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Fits`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        for (index, model) in self.models.iter().enumerate() {
            let columns = model.predictions.columns();
            if index == 0 {
                write_table(&folder.join("predictions"), "PREDICTIONS", &columns)?;
            }
            if self.models.len() > 1 {
                write_table(&folder.join(format!("predictions-{}", model.name)), "PREDICTIONS", &columns)?;
            }
        }
        let [smallest, median, largest] = self.fraction_masked;
        let file = MetricsFile {
            maury_version: env!("CARGO_PKG_VERSION"),
            burn_version: crate::device::BURN_VERSION,
            seed: self.seed,
            interval_level: self.interval_level,
            selection: &self.cuts,
            fraction_masked: BTreeMap::from([("smallest", smallest), ("median", median), ("largest", largest)]),
            fraction_per_mask_bit: self
                .bit_fractions
                .iter()
                .map(|(bit, name, f)| (format!("{bit} {name}"), *f))
                .collect(),
            look_alikes: self.look_alikes,
            models: self
                .models
                .iter()
                .map(|model| (model.name.as_str(), ModelFile { metrics: &model.metrics, training: &model.training }))
                .collect(),
            timings: &self.timings,
            peak_memory_mb: peak_memory_mb(),
        };
        let path = folder.join("metrics.json");
        let text = serde_json::to_string_pretty(&file).map_err(|err| Error::format(&path, err.to_string()))?;
        files::write_bytes(&path, text + "\n")
    }
}
