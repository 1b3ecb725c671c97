//! Whether the values of an experiment make sense.

use std::fmt::Display;

use super::config::ExperimentConfig;
use crate::kinds::kind::Subject;
use crate::kinds::registry::ModelConfig;
use crate::mock::MockFormat;
use crate::spectra::continuum::{ContinuumMethod, MOST_ORDER};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::split::Split;
use crate::stars::settings::DataConfig;

/// Whether the values make sense; if not, the dotted key of the first that does not, and what is wrong with it.
pub(super) fn validate(config: &ExperimentConfig) -> Result<(), (String, String)> {
    let check = |holds: bool, key: &str, problem: &str| {
        if holds { Ok(()) } else { Err((key.to_string(), problem.to_string())) }
    };
    let labels = &config.labels;
    check(!labels.is_empty(), "labels", "is empty; name at least one catalogue column")?;
    let twice = |k: usize| labels[..k].iter().any(|label| label.eq_ignore_ascii_case(&labels[k]));
    check(!(1..labels.len()).any(twice), "labels", "names a label twice")?;
    check(
        labels.iter().all(|label| {
            (1..=40).contains(&label.len()) && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        }),
        "labels",
        "must be column names of letters, digits and `_`",
    )?;
    check(!matches!(config.split, Split::Folds { k } if k < 2), "split.folds.k", "must be at least 2")?;
    check(!matches!(config.split, Split::Folds { k } if k > 1000), "split.folds.k", "must be at most 1000")?;
    let varied = config.data.library.is_none() || config.sweep.is_empty();
    check(varied, "sweep", "is for experiments on stars; train emulators one at a time, with --set")?;
    let is_single_run = config.data.library.is_none() && config.sweep.is_empty();
    check(!config.output.spectra || is_single_run, "output.spectra", "is for single runs on stars, not for sweeps")?;
    check(config.max_training_stars != 1, "max_training_stars", "must be 0 for no limit, or at least 2")?;
    config.device.check().map_err(below("device"))?;
    for (name, model) in &config.models {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        check(plain, &format!("models.{name}"), "must be a name of letters, digits, `_` and `-`")?;
        validate_model(name, model, config)?;
    }
    check((1..=100).contains(&config.fit.starts), "fit.starts", "must be 1 to 100")?;
    check(config.fit.max_steps > 0, "fit.max_steps", "must be at least 1")?;
    config.fit.method.check().map_err(below("fit.method"))?;
    check(config.fit.batch_stars > 0, "fit.batch_stars", "must be at least 1")?;
    check(config.fit.tolerance > 0.0 && config.fit.tolerance <= 1.0, "fit.tolerance", "must be above 0 and at most 1")?;
    let posterior = config.posterior.as_ref().map_or(Ok(()), |posterior| posterior.check(labels));
    posterior.map_err(below("posterior"))?;
    check(config.calibration.folds != 1, "calibration.folds", "must be 0 for no calibration, or at least 2")?;
    check(config.calibration.folds <= 1000, "calibration.folds", "must be at most 1000")?;
    let odd = config.bad_fit.probability;
    check(odd > 0.0 && odd <= 0.05, "bad_fit.probability", "must be above 0 and at most 0.05")?;
    check((1..=1_000_000).contains(&config.bootstrap.resamples), "bootstrap.resamples", "must be 1 to 1000000")?;
    check(config.bootstrap.level > 0.0 && config.bootstrap.level < 1.0, "bootstrap.level", "must lie between 0 and 1")?;
    check((1..=100).contains(&config.comparison.bins), "comparison.bins", "must be 1 to 100")?;
    let suspect = config.comparison.suspect_sigma;
    check((0.01..=1e9).contains(&suspect), "comparison.suspect_sigma", "must be 0.01 to 1e9")?;
    config.data.archive.check().map_err(below("data.archive"))?;
    let is_apogee = config.data.arrays.is_none();
    let lab = config.lab.as_ref().map_or(Ok(()), |lab| lab.check(labels, &config.flux_models(), is_apogee));
    lab.map_err(below("lab"))?;
    config.elements.as_ref().map_or(Ok(()), |elements| elements.check()).map_err(below("elements"))?;
    config.outliers.check().map_err(below("outliers"))?;
    check(config.continuum.order <= MOST_ORDER, "continuum.order", "must be at most 10: more would follow the lines")?;
    check(config.continuum.clip_sigma > 0.0, "continuum.clip_sigma", "must be positive")?;
    check(config.continuum.emission_limit > 1.0, "continuum.emission_limit", "must be above 1, the continuum")?;
    config.pixmask.check().map_err(below("pixmask"))?;
    let selection = &config.selection;
    for (key, bits) in
        [("starflag", &selection.reject_starflag_bits), ("aspcapflag", &selection.reject_aspcapflag_bits)]
    {
        let key = format!("selection.reject_{key}_bits");
        check(bits.iter().all(|bit| *bit < 63), &key, "must be bit numbers below 63")?;
    }
    validate_columns(config)?;
    for (name, range) in &config.selection.ranges {
        let ordered = !matches!((range.min, range.max), (Some(min), Some(max)) if min > max);
        check(ordered, &format!("selection.ranges.{name}"), "has min above max; no star can pass")?;
    }
    let is_sdss_v = config.data.mock.as_ref().is_some_and(|mock| mock.format == MockFormat::SdssV);
    let no_fields = "must be [] with data.mock.format = \"sdss-v\": SDSS-V observes no fields of these names";
    check(!is_sdss_v || config.selection.fields.is_empty(), "selection.fields", no_fields)?;
    validate_data(&config.data, config.continuum.method, check)
}

/// A problem with a key of a table, told with the whole of its dotted key.
fn below<K: Display, P: Into<String>>(table: &str) -> impl Fn((K, P)) -> (String, String) {
    move |(key, problem)| (format!("{table}.{key}"), problem.into())
}

/// Whether `[data.columns]` and columns named elsewhere make sense.
fn validate_columns(config: &ExperimentConfig) -> Result<(), (String, String)> {
    let (columns, arrays) = (&config.data.columns, &config.data.arrays);
    let refuse = |key: &str, problem: &str| Err((key.to_string(), problem.to_string()));
    if !columns.is_empty() && arrays.is_none() && config.data.apstar.is_none() {
        return refuse("data.columns", "is for [data.apstar] and [data.arrays]; other data have columns of their own");
    }
    if columns.column("id").is_some() && arrays.as_ref().is_some_and(|arrays| !arrays.id_column.is_empty()) {
        return refuse("data.columns.id", "is named by data.arrays.id_column too; remove one of them");
    }
    let wanted = config.labels.iter().chain(config.selection.ranges.keys()).map(String::as_str);
    columns.check(wanted).map_err(below("data.columns"))?;
    let marks = &config.selection.reject_marked;
    if marks.iter().any(|mark| mark.trim().is_empty()) {
        return refuse("selection.reject_marked", "must name columns of yes or no");
    }
    Ok(())
}

/// Whether a model's settings make sense among the others.
fn validate_model(name: &str, model: &ModelConfig, config: &ExperimentConfig) -> Result<(), (String, String)> {
    let key = format!("models.{name}.{}", model.kind());
    match (model.emulator(), &config.data.library) {
        (None, Some(_)) => {
            return Err((key, "cannot be learned from data.library; that is for [models.NAME.payne]".into()));
        }
        (Some(_), None) => return Err((key, "needs model spectra to learn from; give data.library".into())),
        _ => {}
    }
    let grid = config.data.arrays.is_none().then(WavelengthGrid::apogee);
    with_subject(&key, config, grid.as_ref(), |subject| model.check(subject))
}

/// Asks something about a model of an experiment, whose spectra may have a grid that is known; `key` is the model's own.
pub(super) fn with_subject<T>(
    key: &str,
    config: &ExperimentConfig,
    grid: Option<&WavelengthGrid>,
    ask: impl FnOnce(&Subject) -> T,
) -> T {
    let models = config.models.iter().map(|(name, model)| (name.as_str(), model.made_of())).collect();
    ask(&Subject { key, labels: &config.labels, grid, models: &models, calibration: config.calibration })
}

fn validate_data(
    data: &DataConfig,
    method: ContinuumMethod,
    check: impl Fn(bool, &str, &str) -> Result<(), (String, String)>,
) -> Result<(), (String, String)> {
    if let Some(library) = &data.library {
        let alone = data.apstar.is_none() && data.arrays.is_none();
        check(alone, "data.library", "is for emulators, which need no stars; remove the other data")?;
        let path = "is not set; name the .npz file, e.g. --set data.library.path=library.npz";
        check(!library.path.as_os_str().is_empty(), "data.library.path", path)?;
        return check(library.hold_out_every > 1, "data.library.hold_out_every", "must be at least 2");
    }
    let doors = [data.apstar.is_some(), data.arrays.is_some(), data.mock.is_some()];
    let n_doors = doors.iter().filter(|open| **open).count();
    check(n_doors > 0, "data", "names no stars; give [data.apstar], [data.arrays] or [data.mock]")?;
    check(n_doors < 2, "data", "names more than one of apstar, arrays and mock; keep one")?;
    let normalized = "must not be \"none\": apStar files are not normalized";
    match (&data.apstar, &data.arrays) {
        (None, None) => {
            let mock = data.mock.clone().unwrap_or_default();
            check(mock.validate().is_ok(), "data.mock.stars", "must be 1 to 1000000")?;
            check(method != ContinuumMethod::None, "continuum.method", normalized)
        }
        (Some(apstar), None) => {
            check(
                !apstar.catalogue.as_os_str().is_empty(),
                "data.apstar.catalogue",
                "is not set; name the allStar file",
            )?;
            check(
                !apstar.spectra.as_os_str().is_empty(),
                "data.apstar.spectra",
                "is not set; name the folder of apStar files",
            )?;
            check(method != ContinuumMethod::None, "continuum.method", normalized)
        }
        (_, Some(arrays)) => {
            check(
                !arrays.flux.as_os_str().is_empty(),
                "data.arrays.flux",
                "is not set; name a file, e.g. --set data.arrays.flux=flux.npy",
            )?;
            check(
                !arrays.labels.as_os_str().is_empty(),
                "data.arrays.labels",
                "is not set; name a table, e.g. --set data.arrays.labels=labels.csv",
            )?;
            let (has_error, has_ivar) = (arrays.error.is_some(), arrays.ivar.is_some());
            check(!(has_error && has_ivar), "data.arrays", "has both `error` and `ivar`; remove one of them")?;
            check(
                has_error || has_ivar,
                "data.arrays",
                "needs either `error` or `ivar`, e.g. --set data.arrays.error=error.npy",
            )
        }
    }
}
