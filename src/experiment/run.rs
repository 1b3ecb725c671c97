//! The story of an experiment: select, split, prepare, train, estimate, compare.

use std::collections::BTreeMap;
use std::path::Path;

use super::config::ExperimentConfig;
use super::crossval::{CrossValidation, folds};
use super::feasibility;
use super::gathered::Gathered;
use super::lab;
use super::load::Experiment;
use super::looks::Looks;
use super::outcome::Outcome;
use super::place::{ModelPlace, Place};
use super::timings::Timings;
use crate::device::Compute;
use crate::error::Result;
use crate::progress::Progress;
use crate::stars::prepare::{Source, prepare};
use crate::stars::truth::Truth;

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
    let source = timings.measure("select", || Source::open(&config.stars(), cache, progress))?;
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
    let stars = config.stars();
    let folds = folds(config, &source.stars);
    feasibility::check(config, &source.stars, &folds, source.grid.n_pixels())?;
    let truth = source.truth.as_deref().map(|path| Truth::read(path, &source.stars, &stars)).transpose()?;
    let mut gathered = Gathered::new(config, source, &folds);
    let mut looks = Looks::new(config, source, place, &folds);
    let mut prepared = None;
    for (number, fold) in (1..).zip(&folds) {
        let set = match prepared.take() {
            Some(set) => set,
            None => {
                let training = &fold.training;
                timings.measure("prepare", || prepare(source, &stars, training, place.cache, compute, progress))?.0
            }
        };
        let crossval = CrossValidation { set: &set, config, compute, progress };
        let mut results = BTreeMap::new();
        for (name, model) in config.models_in_order() {
            let kept = place.keep_models.then(|| ModelPlace::new(place.folder, name, number, folds.len()));
            let result = crossval.run_fold(fold, model, &results, kept.as_ref(), gathered.timings_of(name))?;
            results.insert(name.clone(), result);
        }
        looks.add_fold(&crossval, (number, fold), &results, &mut timings)?;
        timings.measure("look_alikes", || gathered.add_fold(&set, fold, results));
        // Only continuum pixels found from training stars make the prepared set depend on the fold.
        prepared = (!config.continuum.finds_pixels()).then_some(set);
    }
    looks.finish_spectra()?;
    gathered.add_times(&mut timings);
    let models = timings.measure("compare", || gathered.models(truth.as_ref()));
    models.iter().try_for_each(|model| model.expect_labels())?;
    let (outliers, lab) = looks.finish(&models, &gathered.test, truth.as_ref(), &mut timings)?;
    Ok(Outcome {
        name: place.name.to_string(),
        models,
        comparison: None,
        outliers,
        lab,
        cuts: source.cuts.clone(),
        fraction_masked: gathered.fraction_masked(),
        bit_fractions: gathered.bit_fractions,
        look_alikes: gathered.look_alikes,
        settings: config.clone(),
        timings,
    })
}
