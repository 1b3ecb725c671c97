//! Whether the values of an experiment make sense.

use std::fmt::Display;

use super::config::ExperimentConfig;
use crate::kinds::kind::Subject;
use crate::kinds::registry::ModelConfig;
use crate::mock::MockFormat;
use crate::schema;
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::grid::WavelengthGrid;
use crate::stars::settings::DataConfig;

/// Whether the values make sense; if not, the dotted key of the first that does not, and what is wrong with it.
pub(super) fn validate(config: &ExperimentConfig) -> Result<(), (String, String)> {
    schema::check(config)?;
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
    let varied = config.data.library.is_none() || config.sweep.is_empty();
    check(varied, "sweep", "is for experiments on stars; train emulators one at a time, with --set")?;
    let is_single_run = config.data.library.is_none() && config.sweep.is_empty();
    check(!config.output.spectra || is_single_run, "output.spectra", "is for single runs on stars, not for sweeps")?;
    check(config.max_training_stars != 1, "max_training_stars", "must be 0 for no limit, or at least 2")?;
    for (name, model) in &config.models {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        check(plain, &format!("models.{name}"), "must be a name of letters, digits, `_` and `-`")?;
        validate_model(name, model, config)?;
    }
    let posterior = config.posterior.as_ref().map_or(Ok(()), |posterior| posterior.check(labels));
    posterior.map_err(below("posterior"))?;
    check(config.calibration.folds != 1, "calibration.folds", "must be 0 for no calibration, or at least 2")?;
    config.data.archive.check().map_err(below("data.archive"))?;
    let is_apogee = config.data.arrays.is_none();
    let lab = config.lab.as_ref().map_or(Ok(()), |lab| lab.check(labels, &config.flux_models(), is_apogee));
    lab.map_err(below("lab"))?;
    config.pixmask.check().map_err(below("pixmask"))?;
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
    ask(&Subject {
        key,
        labels: &config.labels,
        grid,
        models: &models,
        calibration: config.calibration,
        memory: config.device.memory,
    })
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
        return check(!library.path.as_os_str().is_empty(), "data.library.path", path);
    }
    let doors = [data.apstar.is_some(), data.arrays.is_some(), data.mock.is_some()];
    let n_doors = doors.iter().filter(|open| **open).count();
    check(n_doors > 0, "data", "names no stars; give [data.apstar], [data.arrays] or [data.mock]")?;
    check(n_doors < 2, "data", "names more than one of apstar, arrays and mock; keep one")?;
    let normalized = "must not be \"none\": apStar files are not normalized";
    match (&data.apstar, &data.arrays) {
        (None, None) => check(method != ContinuumMethod::None, "continuum.method", normalized),
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
