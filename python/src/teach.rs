//! Teaching a model with arrays.

use std::collections::BTreeMap;
use std::path::PathBuf;

use maury::device::Compute;
use maury::experiment::load::Experiment;
use maury::experiment::teach::{Taught, teach as teach_models};
use numpy::PyReadonlyArray2;
use pyo3::prelude::*;

use crate::arrays::Spectra;
use crate::errors::exception;
use crate::work::work;

/// Teaches the models of an experiment with all of some stars; folder and number of training stars of each.
///
/// `settings` is the experiment's TOML; `labels` and `label_errors` are [n_stars, n_labels], NaN where unknown.
#[pyfunction]
#[pyo3(signature = (settings, spectra, labels, label_errors, folder, told=None))]
pub fn teach(
    py: Python,
    settings: &str,
    spectra: Spectra,
    labels: PyReadonlyArray2<f64>,
    label_errors: PyReadonlyArray2<f64>,
    folder: PathBuf,
    told: Option<Bound<PyAny>>,
) -> PyResult<BTreeMap<String, (PathBuf, usize)>> {
    let experiment = Experiment::parse("settings", settings).map_err(|err| exception(&err))?;
    let held = spectra.held()?.into_owned();
    let labels = (labels.as_array().to_owned(), label_errors.as_array().to_owned());
    let taught = work(py, told.as_ref(), |progress| {
        // Python's models may differ in it: it is nobody's default.
        let device = &experiment.config.device;
        let compute = Compute::on(device.backend, device.precision)?;
        let taught = teach_models(&experiment, held, labels, &folder, &compute, progress)?;
        let told = |(name, Taught { folder, result })| (name, (folder, result.n_train));
        Ok(taught.into_iter().map(told).collect())
    })?;
    Ok(taught)
}
