//! What a run found, as plain data, and the files that hold it.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::config::ExperimentConfig;
use super::explored::Explored;
use super::model_outcome::ModelOutcome;
use crate::data::files;
use crate::data::selection::Cut;
use crate::error::Result;
use crate::findings::comparison::contestant::Contestant;
use crate::findings::comparison::{Comparison, dependence};
use crate::findings::departures::{self, DepartureMetrics};
use crate::findings::elements::Elements;
use crate::findings::error_check::LEVELS;
use crate::findings::lab::Lab;
use crate::findings::look_alikes::LookAlikes;
use crate::findings::metrics::ModelMetrics;
use crate::findings::outliers::{OutlierMetrics, Outliers};
use crate::findings::predictions::Predictions;
use crate::inference::calibration::ErrorCalibration;
use crate::inference::posteriors::{self, PosteriorMetrics, Posteriors};
use crate::inference::slopes::Slopes;
use crate::kinds::kind::Training;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::star_table::write_table;
use crate::timings::{Timings, peak_memory_mb};

/// Everything a run found.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Name of the experiment; empty for the points of a sweep.
    pub name: String,
    /// The models, in the experiment's order.
    pub models: Vec<ModelOutcome>,
    /// Models of a sweep's point that needed more stars than there were, each with its reason.
    pub left_out: BTreeMap<String, String>,
    /// The models beside each other, once [`Outcome::compare`] was called.
    pub comparison: Option<Comparison>,
    /// Stars that disagree with the catalogue, with reasons; `None` where they were not asked for.
    pub outliers: Option<Outliers>,
    /// Whether labels are read from their own lines; `None` where it was not asked.
    pub elements: Option<Elements>,
    /// What the lab asks for; `None` where it was not asked.
    pub lab: Option<Lab>,
    /// What its explorer shows of spectra; `None` of a point of a sweep.
    pub explored: Option<Explored>,
    /// The grid of all spectra.
    pub grid: WavelengthGrid,
    /// Pixels of it that the settings leave out.
    pub n_pixels_left_out: usize,
    /// The selection.
    pub cuts: Vec<Cut>,
    /// Fraction of the pixels inside the chips with each mask bit: (bit, name, fraction).
    pub bit_fractions: Vec<(usize, &'static str, f64)>,
    /// Fraction of each star's pixels that was masked: smallest, median, largest.
    pub fraction_masked: [f64; 3],
    /// How alike the spectra of stars with like labels are.
    pub look_alikes: Option<LookAlikes>,
    /// All settings as they were used.
    pub settings: ExperimentConfig,
    /// Times by step.
    pub timings: Timings,
}

/// What `metrics.json` holds.
#[derive(Debug, Clone, Serialize)]
pub struct RunMetrics {
    /// Name of the experiment.
    pub name: String,
    /// When the numbers were written, UTC.
    pub written_at: String,
    /// Version of maury.
    pub maury_version: &'static str,
    /// Version of Burn.
    pub burn_version: &'static str,
    /// Seed of the run.
    pub seed: u64,
    /// Probability the intervals hold.
    pub interval_level: f64,
    /// The selection.
    pub selection: Vec<Cut>,
    /// Fraction of each star's pixels that was masked: `smallest`, `median`, `largest`.
    pub fraction_masked: BTreeMap<&'static str, f64>,
    /// Fraction of the pixels inside the chips with each mask bit.
    pub fraction_per_mask_bit: BTreeMap<String, f64>,
    /// How alike the spectra of stars with like labels are.
    pub look_alikes: Option<LookAlikes>,
    /// Probabilities whose `coverage` the models' `error_checks` tell.
    pub coverage_levels: Vec<f64>,
    /// Pixels of each spectrum.
    pub n_pixels: usize,
    /// Pixels of those that the settings leave out.
    pub n_pixels_left_out: usize,
    /// Whether its models label apStar files, or else arrays.
    pub labels_apstar_files: bool,
    /// Metrics and training reports, by model.
    pub models: BTreeMap<String, TrainedMetrics>,
    /// Models of a sweep's point that needed more stars than there were, each with its reason.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub left_out: BTreeMap<String, String>,
    /// The models beside each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
    /// Stars that disagree with the catalogue.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outliers: Option<OutlierMetrics>,
    /// Whether labels are read from their own lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elements: Option<Elements>,
    /// What the lab asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lab: Option<Lab>,
    /// Times of the steps that were one model's own, by model.
    pub model_timings: BTreeMap<String, Timings>,
    /// Times by step.
    pub timings: Timings,
    /// Peak memory in units of 10^6 bytes.
    pub peak_memory_mb: f64,
    /// All settings as they were used; `experiment.toml` holds the same.
    pub settings: ExperimentConfig,
}

/// Metrics of a model, and how its training went.
#[derive(Debug, Clone, Serialize)]
pub struct TrainedMetrics {
    /// The metrics.
    #[serde(flatten)]
    pub metrics: ModelMetrics,
    /// Training by fold.
    pub training: Vec<Training>,
    /// Posteriors of the test stars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posterior: Option<PosteriorMetrics>,
    /// Calibration of the errors by fold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calibration: Vec<ErrorCalibration>,
    /// What the survey's stars changed of the physics it started from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub departures: Vec<DepartureMetrics>,
    /// How estimates followed their labels before they were made to follow them in full, by fold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub slopes: Vec<Slopes>,
}

impl Outcome {
    /// Compares the models with each other.
    pub fn compare(&mut self) {
        let ExperimentConfig { comparison, bootstrap, seed, .. } = &self.settings;
        let contestants: Vec<Contestant> = self.models.iter().map(ModelOutcome::contestant).collect();
        self.comparison = Comparison::new(&contestants, comparison, bootstrap, *seed);
    }

    /// The numbers of the run, with the process's peak memory up to now.
    ///
    /// # Errors
    /// Those of [`departures::measure`].
    pub fn metrics(&self) -> Result<RunMetrics> {
        let [smallest, median, largest] = self.fraction_masked;
        let bit_fraction = |(bit, name, fraction): &(usize, &str, f64)| (format!("{bit} {name}"), *fraction);
        let by_model = |model: &ModelOutcome| {
            let trained = TrainedMetrics {
                metrics: model.metrics.clone(),
                training: model.training.clone(),
                calibration: model.calibration.clone(),
                slopes: model.slopes.clone(),
                departures: departures::measure(&model.departures, &self.grid)?,
                posterior: model.posteriors.as_ref().map(|posteriors| posteriors.metrics()),
            };
            Ok((model.name.clone(), trained))
        };
        Ok(RunMetrics {
            name: self.name.clone(),
            written_at: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            maury_version: env!("CARGO_PKG_VERSION"),
            burn_version: crate::device::BURN_VERSION,
            seed: self.settings.seed,
            interval_level: self.settings.bootstrap.level,
            selection: self.cuts.clone(),
            fraction_masked: BTreeMap::from([("smallest", smallest), ("median", median), ("largest", largest)]),
            fraction_per_mask_bit: self.bit_fractions.iter().map(bit_fraction).collect(),
            look_alikes: self.look_alikes,
            coverage_levels: LEVELS.to_vec(),
            n_pixels: self.grid.n_pixels(),
            n_pixels_left_out: self.n_pixels_left_out,
            labels_apstar_files: self.settings.continuum.is_of_apstar(&self.grid),
            models: self.models.iter().map(by_model).collect::<Result<_>>()?,
            left_out: self.left_out.clone(),
            comparison: self.comparison.clone(),
            outliers: self.outliers.as_ref().map(Outliers::metrics),
            elements: self.elements.clone(),
            lab: self.lab.clone(),
            model_timings: self.models.iter().map(|model| (model.name.clone(), model.timings.clone())).collect(),
            timings: self.timings.clone(),
            peak_memory_mb: peak_memory_mb(),
            settings: self.settings.clone(),
        })
    }

    /// Writes predictions and quality numbers into the run's folder, `metrics.json` last, and returns the numbers.
    ///
    /// With one model its predictions are `predictions.fits` and `.csv`; with several, each has
    /// `predictions-<name>.fits` too, and the plain name holds the first.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
    pub fn write(&self, folder: &Path) -> Result<RunMetrics> {
        for (index, model) in self.models.iter().enumerate() {
            if index == 0 {
                model.predictions.write(&folder.join("predictions"))?;
            }
            if self.models.len() > 1 {
                model.predictions.write(&folder.join(format!("predictions-{}", model.name)))?;
            }
            if let Some(Posteriors { stars, .. }) = &model.posteriors {
                let Predictions { ids, label_names, flags, .. } = &model.predictions;
                let columns = posteriors::columns(ids, label_names, stars, flags);
                write_table(&folder.join(format!("posterior-{}", model.name)), "POSTERIOR", &columns)?;
            }
        }
        if let Some(Comparison { dependence: found, models, labels, .. }) = &self.comparison {
            write_table(&folder.join("dependence"), "DEPENDENCE", &dependence::columns(found, models, labels))?;
        }
        if let Some(outliers) = &self.outliers {
            write_table(&folder.join("outliers"), "OUTLIERS", &outliers.columns())?;
        }
        let metrics = self.metrics()?;
        files::write_json(&folder.join("metrics.json"), &metrics)?;
        Ok(metrics)
    }
}
