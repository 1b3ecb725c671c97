//! A model taught by all stars that somebody holds in memory: no split, no test stars, no run; a model folder is left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::Array2;

use super::feasibility;
use super::load::Experiment;
use crate::data::catalogue::Catalogue;
use crate::device::Compute;
use crate::error::Result;
use crate::kinds::context::Context;
use crate::kinds::fold::run_fold;
use crate::kinds::kind::{FoldResult, Job};
use crate::kinds::place::ModelPlace;
use crate::progress::Progress;
use crate::spectra::split::Fold;
use crate::stars::held_arrays::HeldArrays;
use crate::stars::prepare::prepare_anew;
use crate::stars::source::Source;
use crate::timings::Timings;

/// A model that was taught.
pub struct Taught {
    /// Its folder, as [`crate::labelling::labeller::Labeller::load`] takes it.
    pub folder: PathBuf,
    /// What became of it; it labelled nobody.
    pub result: FoldResult,
}

/// Has every model of an experiment learn from all of some stars, and calibrates its errors with parts of them held out in turn, as
/// the experiment says. What the experiment says of its data is passed over.
///
/// Models are kept below `folder`, one each; spectra that come unnormalized are normalized as in a run.
///
/// # Errors
/// Those of [`crate::experiment::run::run`].
pub fn teach(
    experiment: &Experiment,
    spectra: HeldArrays<'static>,
    (labels, label_errors): (Array2<f64>, Array2<f64>),
    folder: &Path,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<BTreeMap<String, Taught>> {
    let (config, settings, shared) = (&experiment.config, experiment.config.stars(), experiment.config.shared());
    let stars = Catalogue::of_labels(spectra.ids().to_vec(), &config.labels, labels, label_errors)?;
    let source = Source::of_arrays(spectra, stars, &settings)?;
    let fold = Fold { training: (0..source.n_stars()).collect(), test: Vec::new() };
    let folds = [fold];
    feasibility::check_training(config, &source.stars, &folds, &source.grid)?;
    feasibility::check_combinations(config, &source.stars, &folds)?;
    let [fold] = &folds;
    let set = prepare_anew(&source, &settings, &fold.training, compute, progress)?;
    let context = Context { set: &set, settings: &shared, compute, progress };
    let place_of = |name: &str| ModelPlace::new(folder, name, 1, 1);
    let mut results = BTreeMap::new();
    for (name, model) in config.models_in_order() {
        let place = place_of(name);
        let job = Job { name, context, fold, earlier: &results, place: Some(&place) };
        let result = run_fold(&**model, &job, &mut Timings::default()).map_err(|err| err.of_model(name))?;
        results.insert(name.clone(), result);
    }
    let taught = |(name, result): (String, FoldResult)| {
        let folder = place_of(&name).model;
        (name, Taught { folder, result })
    };
    Ok(results.into_iter().map(taught).collect())
}
