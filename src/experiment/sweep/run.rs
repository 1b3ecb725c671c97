//! Runs the points of a sweep one after the other; a point that fails is a row that says why.

use std::path::{Path, PathBuf};

use super::outcome::{PointOutcome, SweepOutcome};
use super::points::{Point, place};
use crate::data::files;
use crate::device::{Compute, DeviceSettings};
use crate::error::{Error, Result};
use crate::experiment::config::ExperimentConfig;
use crate::experiment::load::Experiment;
use crate::experiment::place::Place;
use crate::experiment::run::run_on;
use crate::findings::comparison::runs::read_metrics;
use crate::kinds::place::STATES;
use crate::progress::Progress;
use crate::stars::prepare::cache_key;
use crate::stars::source::Source;
use crate::timings::{Timings, forget_peak_memory};

/// Folder of the points, in that of the run; below that of the states of training, what each that is finished was made of and left.
const POINTS: &str = "points";

/// Runs every point of a sweep: its files go into `folder/points/<NN>`, prepared sets into `cache`, shared. A point that is
/// finished there with all its files, of the same settings and data, is taken as it is.
///
/// Trained models are not kept: hundreds of points would leave gigabytes, and each point's `experiment.toml` trains its
/// models again.
///
/// # Errors
/// [`Error::Sweep`] if every point failed; [`Error::BackendNotCompiled`] or [`Error::Device`] before the first point;
/// [`Error::Interrupted`].
pub fn run(experiment: &Experiment, folder: &Path, cache: &Path, progress: &dyn Progress) -> Result<SweepOutcome> {
    let keys: Vec<String> = experiment.config.sweep.keys().map(String::from).collect();
    let points = &experiment.points;
    experiment.config.write_resolved(folder)?;
    let devices = open_devices(points)?;
    let mut timings = Timings::default();
    let mut stars = SharedStars::default();
    let digits = points.len().to_string().len().max(2);
    let mut outcomes = Vec::new();
    for (index, point) in points.iter().enumerate() {
        let name = format!("{:0digits$}", index + 1);
        let here = place(keys.iter().map(String::as_str), &point.values);
        tracing::info!("point {name} of {}: {here}", points.len());
        forget_peak_memory();
        let [state, folder] = [folder.join(STATES), folder.to_path_buf()].map(|below| below.join(POINTS).join(&name));
        let result = timings.measure("points", || {
            let (_, compute) = devices.iter().find(|(settings, _)| *settings == point.config.device).expect("opened");
            let place = Place { name: "", folder: &folder, cache, is_point: true };
            run_point(&point.config, &mut stars, (place, &state), compute, progress)
        });
        let result = match result {
            // The user's word is no point's failure.
            Err(stopped @ Error::Interrupted { .. }) => return Err(stopped),
            result => result.map_err(|err| err.to_string()),
        };
        if let Err(reason) = &result {
            tracing::warn!("point {name} ({here}) failed: {reason}");
        }
        outcomes.push(PointOutcome {
            name,
            values: point.values.clone(),
            models: point.config.models.keys().cloned().collect(),
            labels: point.config.labels.clone(),
            result,
        });
    }
    if let (true, Some(PointOutcome { values, result: Err(reason), .. })) =
        (outcomes.iter().all(|point| point.result.is_err()), outcomes.first())
    {
        let point = place(keys.iter().map(String::as_str), values);
        return Err(Error::Sweep { n_points: points.len(), point, reason: reason.clone() });
    }
    Ok(SweepOutcome { slug: experiment.slug.clone(), keys, points: outcomes, timings })
}

/// One device per kind of settings, opened before anything runs: what is missing is said at once.
fn open_devices(points: &[Point]) -> Result<Vec<(DeviceSettings, Compute)>> {
    let mut devices: Vec<(DeviceSettings, Compute)> = Vec::new();
    for settings in points.iter().map(|point| &point.config.device) {
        if !devices.iter().any(|(opened, _)| opened == settings) {
            devices.push((settings.clone(), Compute::open(settings)?));
        }
    }
    Ok(devices)
}

/// Runs a point, or takes what is in its place where `state` says that it was made of the same; its `metrics.json`.
fn run_point(
    config: &ExperimentConfig,
    stars: &mut SharedStars,
    (place, state): (Place, &Path),
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<serde_json::Value> {
    let mut timings = Timings::default();
    let source = timings.measure("select", || stars.of(config, place.cache, progress));
    let ingredients = source.as_ref().map_or(Ok(String::new()), |source| ingredients(source, config))?;
    if let Ok(before) = files::read_text(state) {
        let now = inventory(place.folder).map(|files| format!("{ingredients}{files}"));
        match read_metrics(place.folder) {
            Ok(finished) if now.is_ok_and(|now| now == before) => {
                tracing::info!("taken as it is: it was finished before the run was broken off");
                return Ok(finished);
            }
            _ => tracing::info!("run again: its data or its files have changed since it was finished"),
        }
    }
    // Of a point that was broken off nothing stays.
    let _ = std::fs::remove_dir_all(place.folder);
    config.write_resolved(place.folder)?;
    let metrics = run_on(source?, config, timings, place, compute, progress)?.write(place.folder)?;
    files::write_bytes(state, ingredients + &inventory(place.folder)?)?;
    serde_json::to_value(metrics).map_err(|err| Error::format(place.folder, err.to_string()))
}

/// What identifies everything that a point's results follow from.
fn ingredients(source: &Source, config: &ExperimentConfig) -> Result<String> {
    let truth = source.truth.as_deref().map_or(Ok(String::new()), files::fingerprint)?;
    // Who trains follows from the stars and the settings.
    Ok(format!("{}\n{}\n{truth}\n", config.resolved()?, cache_key(source, &config.stars(), &[])?))
}

/// The files that a finished point left, a line each, with their bytes.
fn inventory(folder: &Path) -> Result<String> {
    let line = |path: &PathBuf| {
        let bytes = std::fs::metadata(path).map_err(Error::io(path, "read"))?.len();
        Ok(format!("{} {bytes}\n", path.strip_prefix(folder).unwrap_or(path).display()))
    };
    files::files_below(folder, &[""])?.iter().map(line).collect()
}

/// The stars of the last point, for points in a row that select alike: the catalogue is read once for them.
#[derive(Default)]
struct SharedStars(Option<(ExperimentConfig, Result<Source, String>)>);

impl SharedStars {
    fn of(&mut self, config: &ExperimentConfig, cache: &Path, progress: &dyn Progress) -> Result<&Source> {
        let alike = |of: &ExperimentConfig| {
            of.data == config.data && of.labels == config.labels && of.selection == config.selection
        };
        if !self.0.as_ref().is_some_and(|(of, _)| alike(of)) {
            // The stars of the point before are dropped first: two sets of arrays may not fit into memory.
            self.0 = None;
            let opened = match Source::open(&config.stars(), cache, progress) {
                Err(stopped @ Error::Interrupted { .. }) => return Err(stopped),
                opened => opened.map_err(|err| err.to_string()),
            };
            self.0 = Some((config.clone(), opened));
        }
        match &self.0 {
            Some((_, Ok(source))) => Ok(source),
            // In the words of the point that tried.
            Some((_, Err(reason))) => Err(Error::Config(reason.clone())),
            None => Err(Error::Config("no stars".into())),
        }
    }
}
