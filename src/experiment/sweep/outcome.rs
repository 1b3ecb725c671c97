//! What a sweep found: one row per point and model, and the files that hold it.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value as Json;
use toml::Value;

use super::value_text;
use crate::data::files;
use crate::data::fits::Column;
use crate::error::Result;
use crate::spectra::labels::unit;
use crate::spectra::star_table::write_table;
use crate::timings::Timings;

/// What became of one point.
#[derive(Debug, Clone)]
pub struct PointOutcome {
    /// Its number with leading zeros: its folder below `points`.
    pub name: String,
    /// Its value of each key.
    pub values: Vec<Value>,
    /// Its models.
    pub models: Vec<String>,
    /// Its labels.
    pub labels: Vec<String>,
    /// What its run found, as its `metrics.json` has it, or why it failed.
    pub result: Result<Json, String>,
}

/// What became of a sweep.
#[derive(Debug, Clone)]
pub struct SweepOutcome {
    /// The experiment's name.
    pub slug: String,
    /// The keys swept; the first varied slowest.
    pub keys: Vec<String>,
    /// The points, in the order in which they ran.
    pub points: Vec<PointOutcome>,
    /// Times of the sweep as a whole.
    pub timings: Timings,
}

/// What labels are compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reference {
    /// The catalogue's labels.
    Catalogue,
    /// True labels, where `data.truth` names a table.
    Truth,
}

/// One model at one point.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The point.
    pub point: &'a PointOutcome,
    /// The model's name.
    pub model: &'a str,
}

impl<'a> Row<'a> {
    /// What the run found about the model, by its place below it in `metrics.json`, as in `labels/teff/bias`.
    fn found(&self, place: &str) -> Option<&'a Json> {
        self.point.result.as_ref().ok()?.pointer(&format!("/models/{}/{place}", self.model))
    }

    /// A number of the model's metrics, by its place below it in `metrics.json`; NaN where there is none.
    pub fn number(&self, place: &str) -> f64 {
        self.found(place).and_then(Json::as_f64).unwrap_or(f64::NAN)
    }

    /// A number of the metrics of one label, by its place below it; NaN where there is none.
    pub fn label(&self, label: &str, reference: Reference, place: &str) -> f64 {
        self.number(&format!("{}/{label}/{place}", reference.place()))
    }

    /// Why there is nothing of the model: the point failed, or stars were too few for it.
    pub fn failed(&self) -> Option<&'a str> {
        match &self.point.result {
            Ok(found) => found.pointer(&format!("/left_out/{}", self.model))?.as_str(),
            Err(reason) => Some(reason),
        }
    }

    /// Seconds, `wall_s` or `cpu_s`, of one of the model's own steps; 0 of one that it does not have, NaN if the model or the point
    /// failed.
    pub fn seconds(&self, step: &str, clock: &str) -> f64 {
        let of_step = |found: &Json| {
            let seconds = found.pointer(&format!("/model_timings/{}/{step}/{clock}", self.model));
            seconds.map_or(0.0, |seconds| seconds.as_f64().unwrap_or(f64::NAN))
        };
        self.point.result.as_ref().ok().filter(|_| self.failed().is_none()).map_or(f64::NAN, of_step)
    }
}

impl Reference {
    /// Where a model's metrics have it.
    fn place(self) -> &'static str {
        match self {
            Self::Catalogue => "labels",
            Self::Truth => "labels_vs_truth",
        }
    }
}

#[derive(Serialize)]
struct SweepFile<'a> {
    maury_version: &'static str,
    burn_version: &'static str,
    keys: &'a [String],
    points: Vec<PointFile<'a>>,
    timings: &'a Timings,
}

#[derive(Serialize)]
struct PointFile<'a> {
    point: usize,
    folder: String,
    values: BTreeMap<&'a str, &'a Value>,
    failed: Option<&'a str>,
    #[serde(flatten)]
    metrics: Option<&'a Json>,
}

impl SweepOutcome {
    /// One row per point and model.
    pub fn rows(&self) -> Vec<Row<'_>> {
        self.points.iter().flat_map(|point| point.models.iter().map(move |model| Row { point, model })).collect()
    }

    /// Labels of any point, in the order in which they come up.
    pub fn labels(&self) -> Vec<&str> {
        let mut labels: Vec<&str> = Vec::new();
        for label in self.points.iter().flat_map(|point| &point.labels) {
            if !labels.contains(&label.as_str()) {
                labels.push(label);
            }
        }
        labels
    }

    /// What estimates were compared with.
    pub fn references(&self) -> Vec<Reference> {
        let knows_truth = |row: &Row| row.found(Reference::Truth.place()).is_some();
        match self.rows().iter().any(knows_truth) {
            true => vec![Reference::Catalogue, Reference::Truth],
            false => vec![Reference::Catalogue],
        }
    }

    /// Probability the intervals hold, if it is the same at all points.
    pub fn interval_level(&self) -> Option<f64> {
        let mut levels = self.points.iter().filter_map(|point| point.result.as_ref().ok()?["interval_level"].as_f64());
        let first = levels.next()?;
        levels.all(|level| level == first).then_some(first)
    }

    /// The columns of `sweep.fits` and `.csv`. Where a model or a point failed, counts are 0 and numbers missing.
    pub fn columns(&self) -> Vec<Column> {
        let rows = self.rows();
        let mut columns = vec![Column::i64("point", rows.iter().map(|row| number(&row.point.name)).collect())];
        for (k, key) in self.keys.iter().enumerate() {
            columns.push(value_column(key, rows.iter().map(|row| &row.point.values[k]).collect()));
        }
        columns.push(Column::text("model", rows.iter().map(|row| row.model.to_string()).collect()));
        let numbers = |place: &str| rows.iter().map(|row| row.number(place)).collect::<Vec<f64>>();
        for (name, place) in [("n_train", "n_train"), ("n_test", "n_test"), ("n_flagged", "n_flagged_any")] {
            columns.push(Column::i64(name, numbers(place).into_iter().map(|count| count as i64).collect()));
        }
        columns.push(Column::f64("chi2_reduced_median", "", numbers("chi2_reduced_median")));
        for label in self.labels() {
            for reference in self.references() {
                columns.extend(label_columns(&rows, label, reference));
            }
        }
        for step in ["train", "fit"] {
            for clock in ["wall_s", "cpu_s"] {
                let seconds = rows.iter().map(|row| row.seconds(step, clock)).collect();
                columns.push(Column::f64(format!("{step}_{clock}"), "s", seconds));
            }
        }
        let peak = |row: &Row| row.point.result.as_ref().ok()?["peak_memory_mb"].as_f64();
        let peak = rows.iter().map(|row| peak(row).unwrap_or(f64::NAN));
        columns.push(Column::f64("peak_memory_mb", "", peak.collect()));
        let reasons = rows.iter().map(|row| row.failed().unwrap_or_default().to_string());
        columns.push(Column::text("failed", reasons.collect()));
        columns
    }

    /// Writes `sweep.fits`, `sweep.csv` and, last, `metrics.json` with everything of every point.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_table(&folder.join("sweep"), "SWEEP", &self.columns())?;
        let points = self.points.iter().map(|point| PointFile {
            point: number(&point.name) as usize,
            folder: format!("points/{}", point.name),
            values: self.keys.iter().map(String::as_str).zip(&point.values).collect(),
            failed: point.result.as_ref().err().map(String::as_str),
            metrics: point.result.as_ref().ok(),
        });
        let file = SweepFile {
            maury_version: env!("CARGO_PKG_VERSION"),
            burn_version: crate::device::BURN_VERSION,
            keys: &self.keys,
            points: points.collect(),
            timings: &self.timings,
        };
        files::write_json(&folder.join("metrics.json"), &file)
    }
}

fn number(name: &str) -> i64 {
    name.parse().unwrap_or(0)
}

fn label_columns(rows: &[Row], label: &str, reference: Reference) -> Vec<Column> {
    let ending = if reference == Reference::Truth { "_vs_truth" } else { "" };
    let quantities = [
        ("bias", "bias"),
        ("scatter", "scatter"),
        ("scatter_low", "scatter_interval/0"),
        ("scatter_high", "scatter_interval/1"),
        ("robust_scatter", "robust_scatter"),
        ("robust_scatter_low", "robust_scatter_interval/0"),
        ("robust_scatter_high", "robust_scatter_interval/1"),
        ("median_abs_error", "median_abs_error"),
    ];
    let column = |(name, place): (&str, &str)| {
        let values = rows.iter().map(|row| row.label(label, reference, place)).collect();
        Column::f64(format!("{label}_{name}{ending}"), unit(label), values)
    };
    quantities.map(column).to_vec()
}

/// Integers and numbers as such where all are, text otherwise.
fn value_column(key: &str, values: Vec<&Value>) -> Column {
    let integers: Option<Vec<i64>> = values.iter().map(|value| value.as_integer()).collect();
    let numbers: Option<Vec<f64>> = values.iter().map(|value| value_number(value)).collect();
    match (integers, numbers) {
        (Some(integers), _) => Column::i64(key, integers),
        (None, Some(numbers)) => Column::f64(key, "", numbers),
        (None, None) => Column::text(key, values.into_iter().map(value_text).collect()),
    }
}

/// A value as a number, if it is a finite one.
pub fn value_number(value: &Value) -> Option<f64> {
    let number = value.as_float().or_else(|| value.as_integer().map(|integer| integer as f64));
    number.filter(|number| number.is_finite())
}
