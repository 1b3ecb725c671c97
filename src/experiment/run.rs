//! The story of an experiment: select, split, prepare, train, estimate, compare.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::ExperimentConfig;
use super::feasibility;
use super::folds::folds;
use super::gathered::Gathered;
use super::load::Experiment;
use super::looks::Looks;
use super::outcome::Outcome;
use super::place::Place;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::findings::lab;
use crate::kinds::context::Context;
use crate::kinds::fold::run_fold;
use crate::kinds::kind::Job;
use crate::kinds::place::ModelPlace;
use crate::progress::Progress;
use crate::stars::prepare::prepare;
use crate::stars::source::Source;
use crate::stars::truth::Truth;
use crate::timings::Timings;

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
    config.lab.as_ref().map_or(Ok(()), |settings| lab::check_files(settings, config.data.mystery.as_deref()))?;
    let mut timings = Timings::default();
    let source = timings.measure("select", || Source::open(&config.stars(), cache, progress))?;
    let place = Place { name: &experiment.slug, folder, cache, is_point: false };
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
    let (stars, shared) = (config.stars(), config.shared());
    let folds = folds(config, &source.stars);
    let blame = |err: Error| source.blame(feasibility::under_limit(config, err));
    feasibility::check(config, &source.stars, &folds, &source.grid).map_err(blame)?;
    if !place.is_point {
        feasibility::check_combinations(config, &source.stars, &folds).map_err(blame)?;
    }
    let truth = source.truth.as_deref().map(|path| Truth::read(path, &source.stars, &stars)).transpose()?;
    let mut gathered = Gathered::new(config, source, &folds);
    let mut looks = Looks::new(config, source, place, &folds);
    let mut prepared = None;
    for (number, fold) in (1..).zip(&folds) {
        let set = match prepared.take() {
            Some(set) => set,
            None => {
                let training = &fold.training;
                let prepared =
                    timings.measure("prepare", || prepare(source, &stars, training, place.cache, compute, progress));
                prepared.map_err(blame)?.0
            }
        };
        let context = Context { set: &set, settings: &shared, compute, progress };
        let mut results = BTreeMap::new();
        for (name, model) in config.models_in_order() {
            if gathered.has_left_out(name, &**model) {
                continue;
            }
            let kept = (!place.is_point).then(|| ModelPlace::new(place.folder, name, number, folds.len()));
            let job = Job { name, context, fold, earlier: &results, place: kept.as_ref() };
            match run_fold(&**model, &job, gathered.timings_of(name)) {
                Ok(result) => {
                    results.insert(name.clone(), result);
                }
                Err(err @ Error::TooFewStars { .. }) if place.is_point && gathered.n_models() > 1 => {
                    gathered.leave_out(name, feasibility::under_limit(config, err).to_string());
                }
                Err(err) => {
                    let fold =
                        if folds.len() > 1 { format!(", fold {number} of {}", folds.len()) } else { String::new() };
                    return Err(blame(err).of_model(format!("{name}{fold}")));
                }
            }
        }
        looks.add_fold(&context, (number, fold), &results, &mut timings)?;
        timings.measure("look_alikes", || gathered.add_fold(&set, fold, results))?;
        // Only continuum pixels found from training stars make the prepared set depend on the fold.
        prepared = (!config.continuum.finds_pixels()).then_some(set);
    }
    looks.finish_spectra()?;
    let models = timings.measure("compare", || gathered.models(truth.as_ref()));
    models.iter().try_for_each(|model| model.expect_labels())?;
    let found = looks.finish(&models, &gathered.test, truth.as_ref(), &mut timings)?;
    Ok(gathered.outcome(place.name, models, found, timings))
}
