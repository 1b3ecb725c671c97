//! Spectra prepared for learning, as arrays: of an experiment's survey, or of a single file.

use std::path::PathBuf;

use maury::data::spectrum_file::{self, split_part};
use maury::device::Compute;
use maury::experiment::load::Experiment;
use maury::progress::Progress;
use maury::spectra::pixmask::PixmaskSettings;
use maury::stars::source::Source;
use maury::stars::truth::Truth;
use ndarray::Array2;
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::exception;
use crate::work::work;

/// The stars of an experiment as its models see them: spectra normalized, what is not measured without information.
///
/// `settings` is the experiment's TOML; mock surveys and prepared sets are kept in `cache`.
#[pyfunction]
#[pyo3(signature = (settings, cache, told=None))]
pub fn prepare<'py>(
    py: Python<'py>,
    settings: &str,
    cache: PathBuf,
    told: Option<Bound<PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let experiment = Experiment::parse("settings", settings).map_err(|err| exception(&err))?;
    let (set, spectra, truth) = work(py, told.as_ref(), |progress: &dyn Progress| {
        let (device, stars) = (&experiment.config.device, experiment.config.stars());
        let compute = Compute::on(device.backend, device.precision)?;
        let source = Source::open(&stars, &cache, progress)?;
        let all: Vec<usize> = (0..source.n_stars()).collect();
        let truth = source.truth.as_deref().map(|path| Truth::read(path, &source.stars, &stars)).transpose()?;
        let (set, _) = maury::stars::prepare::prepare(&source, &stars, &all, &cache, &compute, progress)?;
        let spectra = set.spectra.of(&all)?;
        Ok((set, spectra, truth))
    })?;
    let found = PyDict::new(py);
    let (flux, ivar) = spectra;
    found.set_item("id", &set.ids)?;
    found.set_item("label_names", &set.label_names)?;
    found.set_item("wavelength", PyArray1::from_slice(py, &set.grid.wavelength))?;
    found.set_item("snr", PyArray1::from_slice(py, &set.snr))?;
    let flags: Vec<i64> = (0..set.n_stars()).map(|star| set.flags(star)).collect();
    found.set_item("flags", flags.into_pyarray(py))?;
    let nothing = || Array2::from_elem(set.labels.raw_dim(), f64::NAN);
    let (true_labels, pathology) = match truth {
        Some(truth) => (truth.labels, truth.pathology),
        None => (nothing(), None),
    };
    found.set_item("true_labels", true_labels.into_pyarray(py))?;
    found.set_item("pathology", pathology)?;
    found.set_item("labels", set.labels.into_pyarray(py))?;
    found.set_item("label_errors", set.label_errors.into_pyarray(py))?;
    found.set_item("flux", flux.into_pyarray(py))?;
    found.set_item("ivar", ivar.into_pyarray(py))?;
    Ok(found)
}

/// One spectrum of the survey's files, as it stands there.
#[pyfunction]
pub fn read_spectrum<'py>(py: Python<'py>, path: PathBuf) -> PyResult<Bound<'py, PyDict>> {
    let raw = work(py, None, |_| {
        let (path, part) = split_part(&path);
        spectrum_file::read(&path, &part)
    })?;
    let found = PyDict::new(py);
    let wavelength = raw.log_wavelength.map(|(start, step)| {
        PyArray1::from_iter(py, (0..raw.raw_flux.len()).map(|pixel| 10_f64.powf(start + step * pixel as f64)))
    });
    found.set_item("wavelength", wavelength)?;
    found.set_item("id", &raw.id)?;
    found.set_item("format", raw.format.to_string())?;
    found.set_item("is_normalized", raw.is_normalized)?;
    found.set_item("snr", raw.snr)?;
    found.set_item("velocity_kms", raw.velocity_kms)?;
    found.set_item("n_visits", raw.n_visits)?;
    let bad = PixmaskSettings::default().bits.iter().fold(0_i64, |bad, bit| bad | 1 << bit);
    found.set_item("is_bad", PyArray1::from_iter(py, raw.pixmask.iter().map(|mask| mask & bad != 0)))?;
    found.set_item("mask", raw.pixmask.into_pyarray(py))?;
    found.set_item("flux", raw.raw_flux.into_pyarray(py))?;
    found.set_item("error", raw.raw_error.into_pyarray(py))?;
    Ok(found)
}
