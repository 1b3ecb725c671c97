//! Whether the values of an experiment make sense.

use super::config::{CombinationConfig, ExperimentConfig, ModelConfig};
use crate::error::nearest_name;
use crate::spectra::continuum::{ContinuumMethod, MOST_ORDER};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::split::Split;
use crate::stars::settings::DataConfig;
use crate::training::label_regression::NetworkConfig;

/// Bytes that the training of one model may take.
const MOST_MEMORY: f64 = 16e9;

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
    config.device.check().map_err(|(key, problem)| (format!("device.{key}"), problem.to_string()))?;
    for (name, model) in &config.models {
        let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
        check(plain, &format!("models.{name}"), "must be a name of letters, digits, `_` and `-`")?;
        validate_model(name, model, config, check)?;
    }
    check((1..=100).contains(&config.fit.starts), "fit.starts", "must be 1 to 100")?;
    check(config.fit.max_steps > 0, "fit.max_steps", "must be at least 1")?;
    config.fit.method.check().map_err(|(key, problem)| (format!("fit.method.{key}"), problem.to_string()))?;
    check(config.fit.batch_stars > 0, "fit.batch_stars", "must be at least 1")?;
    check(config.fit.tolerance > 0.0 && config.fit.tolerance <= 1.0, "fit.tolerance", "must be above 0 and at most 1")?;
    let posterior = config.posterior.as_ref().map_or(Ok(()), |posterior| posterior.check(labels));
    posterior.map_err(|(key, problem)| (format!("posterior.{key}"), problem))?;
    check(config.calibration.folds != 1, "calibration.folds", "must be 0 for no calibration, or at least 2")?;
    check(config.calibration.folds <= 1000, "calibration.folds", "must be at most 1000")?;
    let odd = config.bad_fit.probability;
    check(odd > 0.0 && odd <= 0.05, "bad_fit.probability", "must be above 0 and at most 0.05")?;
    check((1..=1_000_000).contains(&config.bootstrap.resamples), "bootstrap.resamples", "must be 1 to 1000000")?;
    check(config.bootstrap.level > 0.0 && config.bootstrap.level < 1.0, "bootstrap.level", "must lie between 0 and 1")?;
    check((1..=100).contains(&config.comparison.bins), "comparison.bins", "must be 1 to 100")?;
    check(config.comparison.suspect_sigma > 0.0, "comparison.suspect_sigma", "must be positive")?;
    config.data.archive.check().map_err(|(key, problem)| (format!("data.archive.{key}"), problem.to_string()))?;
    let lab = config
        .lab
        .as_ref()
        .map_or(Ok(()), |lab| lab.check(&config.labels, &config.plain_cannons(), config.data.arrays.is_none()));
    lab.map_err(|(key, problem)| (format!("lab.{key}"), problem))?;
    config.outliers.check().map_err(|(key, problem)| (format!("outliers.{key}"), problem.to_string()))?;
    check(config.continuum.order <= MOST_ORDER, "continuum.order", "must be at most 10: more would follow the lines")?;
    check(config.continuum.clip_sigma > 0.0, "continuum.clip_sigma", "must be positive")?;
    check(config.continuum.emission_limit > 1.0, "continuum.emission_limit", "must be above 1, the continuum")?;
    check(config.pixmask.max_relative_error > 0.0, "pixmask.max_relative_error", "must be positive")?;
    check(config.pixmask.bits.iter().all(|bit| *bit < 63), "pixmask.bits", "must be bit numbers below 63")?;
    let selection = &config.selection;
    for (key, bits) in
        [("starflag", &selection.reject_starflag_bits), ("aspcapflag", &selection.reject_aspcapflag_bits)]
    {
        let key = format!("selection.reject_{key}_bits");
        check(bits.iter().all(|bit| *bit < 63), &key, "must be bit numbers below 63")?;
    }
    for (name, range) in &config.selection.ranges {
        let ordered = !matches!((range.min, range.max), (Some(min), Some(max)) if min > max);
        check(ordered, &format!("selection.ranges.{name}"), "has min above max; no star can pass")?;
    }
    validate_data(&config.data, config.continuum.method, check)
}

fn validate_model(
    name: &str,
    model: &ModelConfig,
    config: &ExperimentConfig,
    check: impl Fn(bool, &str, &str) -> Result<(), (String, String)>,
) -> Result<(), (String, String)> {
    let on_library = config.data.library.is_some();
    match model {
        ModelConfig::Cannon(cannon) => {
            let key = |field: &str| format!("models.{name}.cannon.{field}");
            check(!on_library, &key("order"), "cannot be learned from data.library; that is for [models.NAME.payne]")?;
            cannon.check(&config.labels).map_err(|(field, problem)| (key(&field), problem))
        }
        ModelConfig::Payne(payne) => {
            let key = |field: &str| format!("models.{name}.payne.{field}");
            check(on_library, &key("components"), "needs model spectra to learn from; give data.library")?;
            check((1..=1000).contains(&payne.components), &key("components"), "must be 1 to 1000")?;
            let widths = payne.hidden.iter().all(|width| (1..=10_000).contains(width));
            check(widths && payne.hidden.len() <= 10, &key("hidden"), "must be at most 10 widths of 1 to 10000")?;
            payne
                .descent
                .check()
                .map_err(|(field, problem)| (key(&format!("descent.{field}")), problem.to_string()))?;
            let widths = [payne.hidden.as_slice(), &[payne.components, WavelengthGrid::apogee().n_pixels()]].concat();
            let weights: f64 = widths.windows(2).map(|pair| pair[0] as f64 * pair[1] as f64).sum();
            // Each weight with its gradient, what the optimizer remembers, the best and the averaged network.
            check_memory(8.0 * 4.0 * weights, &key("hidden"))
        }
        ModelConfig::Network(network) => {
            let key = |field: &str| format!("models.{name}.network.{field}");
            check(
                !on_library,
                &key("architecture"),
                "cannot learn from data.library; that is for [models.NAME.payne]",
            )?;
            network.check().map_err(|(field, problem)| (key(&field), problem))?;
            validate_layers(network, config, &key("architecture"))
        }
        ModelConfig::Ridge(ridge) => {
            let key = |field: &str| format!("models.{name}.ridge.{field}");
            check(!on_library, &key("kernel"), "cannot learn from data.library; that is for [models.NAME.payne]")?;
            ridge.check().map_err(|(field, problem)| (key(field), problem.to_string()))
        }
        ModelConfig::Combination(CombinationConfig { of }) => {
            let key = format!("models.{name}.combination.of");
            check(of.len() > 1, &key, "must name at least two models of this experiment")?;
            for (index, member) in of.iter().enumerate() {
                check(!of[..index].contains(member), &key, &format!("names {member} twice"))?;
                match config.models.get(member) {
                    Some(ModelConfig::Combination(_)) => {
                        let problem = format!("cannot combine {member}, a combination; name the models it is made of");
                        return Err((key, problem));
                    }
                    Some(_) => {}
                    None => {
                        let near = nearest_name(member, config.models.keys().map(String::as_str));
                        let near = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                        return Err((key, format!("names {member}, which is no model of this experiment{near}")));
                    }
                }
            }
            let problem = "must be at least 2 for models to be combined: it is stars held out that teach how";
            check(config.calibration.folds > 0, "calibration.folds", problem)
        }
    }
}

/// Whether a network's layers fit its spectra and the memory of a computer, as far as that can be told without the data.
fn validate_layers(network: &NetworkConfig, config: &ExperimentConfig, key: &str) -> Result<(), (String, String)> {
    let n_labels = config.labels.len();
    if config.data.arrays.is_some() {
        // Of spectra as long as any: their own length is in the arrays.
        const LONG: usize = 1_000_000;
        return network.size(LONG, n_labels).map(|_| ()).map_err(|problem| (key.to_string(), problem));
    }
    let n_pixels = WavelengthGrid::apogee().n_pixels();
    network.size(n_pixels, n_labels).map_err(|problem| (key.to_string(), problem))?;
    network.memory(n_pixels, n_labels, 1).map_or(Ok(()), |bytes| check_memory(bytes, key))
}

/// Whether training takes no more memory than is asked for.
pub(super) fn check_memory(bytes: f64, key: &str) -> Result<(), (String, String)> {
    if bytes <= MOST_MEMORY {
        return Ok(());
    }
    let [takes, most] = [bytes, MOST_MEMORY].map(|bytes| bytes / 1e9);
    let problem =
        format!("takes {takes:.0} GB of memory in training; at most {most:.0} GB are asked for: make it smaller");
    Err((key.to_string(), problem))
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
            check(
                arrays.error.is_some() != arrays.ivar.is_some(),
                "data.arrays",
                "needs either `error` or `ivar`, e.g. --set data.arrays.error=error.npy",
            )
        }
    }
}
