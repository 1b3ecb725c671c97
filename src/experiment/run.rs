//! The story of an experiment: select, split, prepare, train, estimate, compare.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::{Array2, Axis, s};

use super::best_fits::RunSpectra;
use super::config::{Experiment, ExperimentConfig, ModelConfig};
use super::crossval::{CrossValidation, FoldResult, ModelPlace, Training, folds};
use super::feasibility;
use super::lab::{self, Lab};
use super::look_alikes;
use super::metrics::summarize;
use super::outcome::{ModelOutcome, Outcome};
use super::outliers::Investigation;
use super::posteriors::Posteriors;
use super::predictions::Predictions;
use super::prepare::{Source, prepare};
use super::timings::Timings;
use super::truth::Truth;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::LabelEstimates;
use crate::progress::Progress;
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::prepared::PreparedSet;
use crate::spectra::quality::Quality;
use crate::stats::robust::quantile;

/// Where a run keeps what it makes on its way.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the experiment; empty for a point of a sweep.
    pub name: &'a str,
    /// The run's own folder.
    pub folder: &'a Path,
    /// Prepared sets, shared between runs.
    pub cache: &'a Path,
    /// Whether trained models are kept, in the run's folder.
    pub keep_models: bool,
}

/// Runs an experiment. Models and the resolved configuration go into `folder`; prepared sets are shared between runs in
/// `cache`. The outcome is returned, not written.
///
/// # Errors
/// Whatever goes wrong on the way, naming file and remedy; single bad stars are flagged instead.
pub fn run(
    experiment: &Experiment,
    folder: &Path,
    cache: &Path,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let config = &experiment.config;
    config.write_resolved(folder)?;
    lab::check_files(config)?;
    let mut timings = Timings::default();
    let source = timings.measure("select", || Source::open(config, cache, progress))?;
    let place = Place { name: &experiment.slug, folder, cache, keep_models: true };
    let mut outcome = run_on(&source, config, timings, place, compute, progress)?;
    let mut timings = std::mem::take(&mut outcome.timings);
    timings.measure("compare", || outcome.compare());
    outcome.timings = timings;
    Ok(outcome)
}

/// The part of [`run`] between the selection and the comparison of the models, for runs that share their stars; adds to the
/// times measured so far.
///
/// # Errors
/// Those of [`run`].
pub fn run_on(
    source: &Source,
    config: &ExperimentConfig,
    mut timings: Timings,
    place: Place,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<Outcome> {
    let folds = folds(config, &source.stars);
    feasibility::check(config, &source.stars, &folds, source.grid.n_pixels())?;
    let test: Vec<usize> = folds.iter().flat_map(|fold| fold.test.iter().copied()).collect();
    let truth = source.truth.as_deref().map(|path| Truth::read(path, &source.stars, config)).transpose()?;
    let truth_of_all = truth;
    let truth = truth_of_all.as_ref().map(|truth| truth.rows(&test));
    // The points of a sweep ask other questions.
    let mut outliers = Investigation::new(config, &source.stars).filter(|_| place.keep_models);
    let lab_settings = config.lab.as_ref().filter(|_| place.keep_models);
    let mut lab = None;
    let mut spectra: Option<RunSpectra> = None;

    // Only continuum pixels found from training stars make the prepared set depend on the fold.
    let per_fold = config.continuum.method == ContinuumMethod::Chebyshev && config.continuum.pixels == "find";
    let mut results: BTreeMap<&String, (Vec<FoldResult>, Timings)> =
        config.models.keys().map(|name| (name, Default::default())).collect();
    let mut quality = vec![Quality::default(); source.n_stars()];
    let mut flags = vec![0; source.n_stars()];
    let mut bit_fractions = Vec::new();
    let mut look_alikes = None;
    let mut shared: Option<PreparedSet> = None;
    for (index, fold) in folds.iter().enumerate() {
        let set = match shared.take() {
            Some(set) => set,
            None => {
                timings
                    .measure("prepare", || prepare(source, config, &fold.training, place.cache, compute, progress))?
                    .0
            }
        };
        for &star in &fold.test {
            quality[star] = set.quality[star].clone();
            flags[star] = set.flags(star);
        }
        bit_fractions = set.bit_fractions();
        look_alikes = timings.measure("look_alikes", || look_alikes::compare(&set));
        let crossval = CrossValidation { set: &set, config, compute, progress };
        let mut of_fold: BTreeMap<String, FoldResult> = BTreeMap::new();
        for (name, model) in config.models_in_order() {
            let place = place.keep_models.then(|| ModelPlace::new(place.folder, name, index + 1, folds.len()));
            let (_, own_timings) = results.get_mut(name).expect("every model has its results");
            let result = crossval.run_fold(fold, model, &of_fold, place.as_ref(), own_timings)?;
            of_fold.insert(name.clone(), result);
        }
        for (name, result) in of_fold {
            results.get_mut(&name).expect("every model has its results").0.push(result);
        }
        if config.output.spectra && place.keep_models {
            let n_stars = test.len();
            let spectra = spectra.get_or_insert_with(|| RunSpectra::new(&crossval, place.folder, n_stars));
            let places = |name: &str| ModelPlace::new(place.folder, name, index + 1, folds.len());
            timings.measure("spectra", || spectra.add_fold(&crossval, source, fold, places))?;
        }
        if let Some(outliers) = &mut outliers
            && let Some(result) = results.values().nth(outliers.model()).and_then(|(results, _)| results.last())
        {
            timings.measure("outliers", || outliers.add_fold(&crossval, fold, result))?;
        }
        if let Some(settings) = lab_settings.filter(|_| index == 0)
            && let Some(result) = results.get(&settings.model).and_then(|(results, _)| results.first())
            && let Some(cannon) = &result.cannon
        {
            let subject = lab::Subject { source, crossval: &crossval, fold, result, cannon, settings };
            let folders = cannon_folders(config, place, folds.len());
            lab = match timings.measure("lab", || Lab::look(&subject, &folders)) {
                // Who labels no star at all is told so below.
                Err(err @ Error::TooFewStars { .. }) => {
                    tracing::warn!("{err}");
                    None
                }
                lab => Some(lab?),
            };
        }
        results.values_mut().filter_map(|(results, _)| results.last_mut()).for_each(|result| result.cannon = None);
        shared = (!per_fold).then_some(set);
    }

    spectra.map_or(Ok(()), RunSpectra::finish)?;
    let stars = source.stars.rows(&test);
    let labels = |rows: &[Vec<f64>]| Array2::from_shape_fn((rows.len(), config.labels.len()), |(n, k)| rows[n][k]);
    let quoted_errors = labels(&stars.label_errors);
    results.values().for_each(|(_, own_timings)| timings.add(own_timings));
    let models: Vec<ModelOutcome> = timings.measure("compare", || {
        results
            .into_iter()
            .map(|(name, (results, own_timings))| {
                let mut estimates = LabelEstimates::empty(config.labels.len());
                let training = results.iter().map(|result| result.training.clone()).collect();
                let n_train = results.iter().map(|result| result.n_train).sum::<usize>() / results.len().max(1);
                let n_parameters = results.first().map_or(0, |result| result.n_parameters);
                let mut posteriors: Option<Posteriors> = None;
                let mut calibrated_errors = Array2::zeros((0, config.labels.len()));
                let mut catalogue_errors = Array2::zeros((0, config.labels.len()));
                let mut calibration = Vec::new();
                for result in results {
                    let first = catalogue_errors.nrows();
                    let rows = first..first + result.estimates.labels.nrows();
                    let (errors, of_catalogue) = match result.calibrated {
                        Some(calibrated) => {
                            calibration.push(calibrated.calibration);
                            (calibrated.errors, calibrated.catalogue_errors)
                        }
                        None => {
                            let unknown = Array2::from_elem(result.estimates.labels.raw_dim(), f64::NAN);
                            (unknown, quoted_errors.slice(s![rows, ..]).to_owned())
                        }
                    };
                    catalogue_errors.append(Axis(0), of_catalogue.view()).expect("both have the same labels");
                    calibrated_errors.append(Axis(0), errors.view()).expect("both have the same labels");
                    estimates.append(result.estimates);
                    if let Some(found) = result.posteriors {
                        posteriors.get_or_insert_default().append(found);
                    }
                }
                let predictions = Predictions {
                    ids: stars.id.clone(),
                    label_names: config.labels.clone(),
                    catalogue: labels(&stars.labels),
                    catalogue_errors,
                    truth: truth.clone(),
                    snr: stars.snr.clone(),
                    flags: test.iter().zip(&estimates.flags).map(|(star, fit)| flags[*star] | fit).collect(),
                    estimates,
                    calibrated_errors,
                };
                let metrics = summarize(&predictions, n_train, n_parameters, &config.bootstrap, config.seed);
                let timings = own_timings;
                ModelOutcome { name: name.clone(), predictions, metrics, training, calibration, timings, posteriors }
            })
            .collect()
    });
    report_empty(&models)?;
    let outliers = timings.measure("outliers", || outliers?.finish(&models, &test, truth_of_all.as_ref()));
    if let (Some(lab), Some(settings)) = (&mut lab, lab_settings) {
        timings.measure("lab", || lab.finish(&models, settings))?;
    }
    let masked: Vec<f64> = test.iter().map(|star| quality[*star].fraction_masked()).collect();
    Ok(Outcome {
        name: place.name.to_string(),
        models,
        comparison: None,
        outliers,
        lab,
        cuts: source.cuts.clone(),
        bit_fractions,
        fraction_masked: [0.0, 0.5, 1.0].map(|q| quantile(&masked, q)),
        look_alikes,
        settings: config.clone(),
        timings,
    })
}

/// Where each Cannon of the first fold was kept, by name.
fn cannon_folders(config: &ExperimentConfig, place: Place, n_folds: usize) -> Vec<(String, PathBuf)> {
    let cannons = config.models.iter().filter(|(_, model)| matches!(model, ModelConfig::Cannon(_)));
    cannons.map(|(name, _)| (name.clone(), ModelPlace::new(place.folder, name, 1, n_folds).model)).collect()
}

/// A model without a single estimate is no result.
fn report_empty(models: &[ModelOutcome]) -> Result<()> {
    for model in models {
        let estimated = model.predictions.estimates.labels.column(0).iter().any(|label| label.is_finite());
        if !estimated {
            let known = |training: &Training| match training {
                Training::Cannon(report) => Some(format!("it has {} pixels with information; ", report.n_valid_pixels)),
                _ => None,
            };
            let known = model.training.iter().find_map(known).unwrap_or_default();
            return Err(Error::TooFewStars {
                stage: format!("labelling with model {}", model.name),
                n_stars: 0,
                needed: 1,
                remedy: format!("{known}check flux, errors and masks of the spectra"),
            });
        }
    }
    Ok(())
}
