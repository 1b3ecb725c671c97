//! A trained model: labels, spectra, posteriors.

use std::path::PathBuf;
use std::sync::OnceLock;

use maury::data::spectrum_file::{Part, split_part};
use maury::device::{Compute, Precision, to_f64};
use maury::error::{Error, Result};
use maury::inference::fit::FitSettings;
use maury::inference::refine::RefineSettings;
use maury::inference::sampling::{PosteriorSettings, Sampler};
use maury::labelling::labeller::{LabelledStar, Labeller};
use maury::labelling::posterior::{PosteriorSampler, SampledStar};
use maury::models::SpectralModel;
use maury::progress::Progress;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::labels::pairs as label_pairs;
use maury::stars::spectra::SpectrumSource;
use maury::stars::spectrum_files::SpectrumFiles;
use maury::training::checkpoint::TrainedCannon;
use maury::training::model_file;
use ndarray::{Array2, Array3, ArrayView2};
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArray3, PyReadonlyArray2};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arrays::Spectra;
use crate::errors::exception;
use crate::work::work;

/// A trained model of a folder, whatever its kind.
#[pyclass(frozen, module = "maury._maury")]
pub struct Model {
    folder: PathBuf,
    labeller: Labeller,
    compute: Compute,
    fit: FitSettings,
    refine: RefineSettings,
    cannon: OnceLock<TrainedCannon>,
    sampler: OnceLock<PosteriorSampler>,
}

#[pymethods]
impl Model {
    /// Reads a model's folder; `precision` is "f32" or "f64".
    #[new]
    #[pyo3(signature = (folder, precision="f32"))]
    fn new(py: Python, folder: PathBuf, precision: &str) -> PyResult<Self> {
        let precision = match precision {
            "f32" => Precision::F32,
            "f64" => Precision::F64,
            other => return Err(PyValueError::new_err(format!("precision must be 'f32' or 'f64', not {other:?}"))),
        };
        let (compute, fit, refine) = (Compute::flex(precision), FitSettings::default(), RefineSettings::default());
        let labeller = work(py, None, |_| Labeller::load(&folder, &fit, &refine, &compute))?;
        Ok(Self { folder, labeller, compute, fit, refine, cannon: OnceLock::new(), sampler: OnceLock::new() })
    }

    /// Its folder.
    #[getter]
    fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// What kind of model it is.
    #[getter]
    fn kind(&self) -> PyResult<String> {
        model_file::kind(&self.folder).map_err(|err| exception(&err))
    }

    /// Names of its labels.
    #[getter]
    fn label_names(&self) -> Vec<String> {
        self.labeller.label_names().to_vec()
    }

    /// Vacuum wavelengths of its pixels in Angstrom; None where these are only numbered.
    #[getter]
    fn wavelength<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        let grid = self.labeller.grid();
        let has_wavelengths = *grid != WavelengthGrid::from_pixel_numbers(grid.n_pixels());
        has_wavelengths.then(|| PyArray1::from_slice(py, &grid.wavelength))
    }

    /// Pixels of its spectra.
    #[getter]
    fn n_pixels(&self) -> usize {
        self.labeller.grid().n_pixels()
    }

    /// What its errors are, in words.
    #[getter]
    fn words_on_errors(&self) -> String {
        self.labeller.words_on_errors()
    }

    /// Labels of arrays.
    #[pyo3(signature = (spectra, told=None))]
    fn label<'py>(
        &self,
        py: Python<'py>,
        spectra: Spectra,
        told: Option<Bound<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let held = spectra.held()?;
        let stars = work(py, told.as_ref(), |progress| self.label_all(&held, progress))?;
        self.columns(py, stars)
    }

    /// Labels of files; `visits` for every single visit in place of the coadds.
    #[pyo3(signature = (paths, visits=false, told=None))]
    fn label_files<'py>(
        &self,
        py: Python<'py>,
        paths: Vec<PathBuf>,
        visits: bool,
        told: Option<Bound<PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let stars = work(py, told.as_ref(), |progress| {
            let parts: Vec<(PathBuf, Part)> = paths.iter().map(|path| split_part(path)).collect();
            let files = if visits { SpectrumFiles::of_visits(&parts) } else { SpectrumFiles::of_parts(parts) };
            self.label_all(&files, progress)
        })?;
        self.columns(py, stars)
    }

    /// Spectra of labels, [n_stars, n_labels], in the labels' own units: [n_stars, n_pixels].
    fn flux<'py>(&self, py: Python<'py>, labels: PyReadonlyArray2<f64>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let model = self.cannon(py)?;
        let scaled = self.scaled(model, labels.as_array());
        let flux = model.cannon.predict_flux(scaled).mean;
        let [n_stars, n_pixels] = flux.dims();
        Ok(array2(self.without_gaps(model, to_f64(flux)), (n_stars, n_pixels)).into_pyarray(py))
    }

    /// Change of flux by the unit of each label, at some labels: [n_stars, n_labels, n_pixels].
    fn gradient<'py>(&self, py: Python<'py>, labels: PyReadonlyArray2<f64>) -> PyResult<Bound<'py, PyArray3<f64>>> {
        let model = self.cannon(py)?;
        let (n_labels, n_pixels) = (model.scaler.n_labels(), model.cannon.n_pixels());
        let gradient = model.cannon.gradient_spectra(self.scaled(model, labels.as_array()));
        let [n_stars, _, _] = gradient.dims();
        let gradient = self.without_gaps(model, to_f64(gradient.narrow(1, 0, n_labels)));
        let mut gradient =
            Array3::from_shape_vec((n_stars, n_labels, n_pixels), gradient).expect("a tensor has its shape");
        for (k, mut of_label) in gradient.axis_iter_mut(ndarray::Axis(1)).enumerate() {
            of_label /= model.scaler.scale[k];
        }
        Ok(gradient.into_pyarray(py))
    }

    /// Intrinsic scatter of each pixel; NaN where the model knows nothing.
    fn scatter<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let model = self.cannon(py)?;
        let scatter = to_f64(model.cannon.s2.val()).into_iter().map(f64::sqrt).collect();
        Ok(self.without_gaps(model, scatter).into_pyarray(py))
    }

    /// Draws of the posterior of each spectrum, a dictionary per star, and what was believed beforehand in words.
    /// `settings` is what `[posterior]` of an experiment says, in TOML.
    #[pyo3(signature = (spectra, settings, sampler="hmc", seed=1, told=None))]
    fn posterior<'py>(
        &self,
        py: Python<'py>,
        spectra: Spectra,
        settings: &str,
        sampler: &str,
        seed: u64,
        told: Option<Bound<PyAny>>,
    ) -> PyResult<(Vec<Bound<'py, PyDict>>, Vec<String>)> {
        let sampler = match sampler {
            "hmc" => Sampler::Hmc,
            "nuts" => Sampler::Nuts,
            other => return Err(PyValueError::new_err(format!("sampler must be 'hmc' or 'nuts', not {other:?}"))),
        };
        let settings = PosteriorSettings::parse("posterior", settings).map_err(|err| exception(&err))?;
        let checked = settings.check(self.labeller.label_names());
        checked.map_err(|(key, problem)| exception(&Error::Config(format!("{key} {problem}"))))?;
        let held = spectra.held()?;
        let n_stars = spectra.n_stars();
        let (stars, words) = work(py, told.as_ref(), |progress| {
            if self.sampler.get().is_none() {
                let loaded = PosteriorSampler::load(&self.folder, &self.fit, &self.refine, &self.compute)?;
                let _ = self.sampler.set(loaded);
            }
            let ready = self.sampler.get().expect("it was set");
            ready.expect_alike(&held)?;
            progress.start("sampling posteriors", n_stars);
            let one = |star| {
                let read = ready.read(&held, star)?;
                let sampled = ready.sample(&read, &settings, sampler, seed, progress);
                progress.advance(1);
                sampled
            };
            Ok(((0..n_stars).map(one).collect::<Result<Vec<SampledStar>>>()?, ready.words(&settings)))
        })?;
        Ok((stars.into_iter().map(|star| drawn(py, star)).collect::<PyResult<_>>()?, words))
    }
}

impl Model {
    fn label_all(&self, source: &dyn SpectrumSource, progress: &dyn Progress) -> Result<Vec<LabelledStar>> {
        self.labeller.expect_alike(source)?;
        let all: Vec<usize> = (0..source.len()).collect();
        progress.start("labelling spectra", all.len());
        let batches = all.chunks(self.labeller.batch_stars());
        let labelled = batches.map(|batch| self.labeller.label(source, batch, None, progress));
        Ok(labelled.collect::<Result<Vec<_>>>()?.concat())
    }

    /// What stars gave, column by column.
    fn columns<'py>(&self, py: Python<'py>, stars: Vec<LabelledStar>) -> PyResult<Bound<'py, PyDict>> {
        let (n_stars, n_labels) = (stars.len(), self.labeller.label_names().len());
        let matrix = |of: &dyn Fn(&LabelledStar) -> &Vec<f64>| {
            Array2::from_shape_fn((n_stars, n_labels), |(star, k)| of(&stars[star]).get(k).copied().unwrap_or(f64::NAN))
        };
        let pairs = label_pairs(self.labeller.label_names());
        let mut covariance = Array3::from_elem((n_stars, n_labels, n_labels), f64::NAN);
        for (row, star) in stars.iter().enumerate() {
            star.errors.iter().enumerate().for_each(|(k, error)| covariance[[row, k, k]] = error * error);
            for ((a, b, ..), value) in pairs.iter().zip(&star.covariances) {
                (covariance[[row, *a, *b]], covariance[[row, *b, *a]]) = (*value, *value);
            }
        }
        let list = |of: &dyn Fn(&LabelledStar) -> f64| PyArray1::from_iter(py, stars.iter().map(of));
        let found = PyDict::new(py);
        found.set_item("id", stars.iter().map(|star| star.id.as_str()).collect::<Vec<_>>())?;
        found.set_item("file", stars.iter().map(|star| star.file.as_str()).collect::<Vec<_>>())?;
        found.set_item("snr", list(&|star| star.snr))?;
        found.set_item("labels", matrix(&|star| &star.labels).into_pyarray(py))?;
        found.set_item("errors", matrix(&|star| &star.errors).into_pyarray(py))?;
        found.set_item("covariance", covariance.into_pyarray(py))?;
        let is_calibrated = stars.iter().any(|star| !star.calibrated_errors.is_empty());
        let calibrated = is_calibrated.then(|| matrix(&|star| &star.calibrated_errors).into_pyarray(py));
        found.set_item("calibrated_errors", calibrated)?;
        found.set_item("chi2", list(&|star| star.chi2))?;
        found.set_item("chi2_reduced", list(&|star| star.chi2_reduced))?;
        found.set_item("fraction_masked", list(&|star| star.fraction_masked))?;
        found.set_item("flags", PyArray1::from_iter(py, stars.iter().map(|star| star.flags)))?;
        Ok(found)
    }

    /// The Cannon that it is.
    fn cannon(&self, py: Python) -> PyResult<&TrainedCannon> {
        if self.cannon.get().is_none() {
            let kind = model_file::kind(&self.folder).map_err(|err| exception(&err))?;
            if kind != "cannon" {
                let detail = format!("a model of kind {kind} reads labels off spectra and makes none; a Cannon does");
                return Err(exception(&Error::Checkpoint { path: self.folder.clone(), detail }));
            }
            let loaded = work(py, None, |_| TrainedCannon::load(&self.folder, &self.compute))?;
            let _ = self.cannon.set(loaded);
        }
        Ok(self.cannon.get().expect("it was set"))
    }

    /// Inputs of a Cannon at these labels, hidden ones at their mean.
    fn scaled(&self, model: &TrainedCannon, labels: ArrayView2<f64>) -> burn::tensor::Tensor<2> {
        let scaled = model.scaler.scale(labels);
        let n_inputs = model.input_scaler().n_labels();
        let inputs = Array2::from_shape_fn((scaled.nrows(), n_inputs), |(star, k)| {
            scaled.get((star, k)).copied().unwrap_or(0.0)
        });
        self.compute.matrix(inputs.view())
    }

    /// Values pixel by pixel, NaN in pixels of which the model knows nothing.
    fn without_gaps(&self, model: &TrainedCannon, mut values: Vec<f64>) -> Vec<f64> {
        let valid = model.cannon.valid_pixels();
        let gaps = |(value, valid): (&mut f64, &bool)| {
            if !valid {
                *value = f64::NAN
            }
        };
        values.chunks_mut(valid.len()).for_each(|row| row.iter_mut().zip(&valid).for_each(gaps));
        values
    }
}

fn array2(values: Vec<f64>, shape: (usize, usize)) -> Array2<f64> {
    Array2::from_shape_vec(shape, values).expect("a tensor has its shape")
}

/// What the posterior of a star gave.
fn drawn<'py>(py: Python<'py>, sampled: SampledStar) -> PyResult<Bound<'py, PyDict>> {
    let found = PyDict::new(py);
    found.set_item("id", &sampled.star.id)?;
    found.set_item("flags", sampled.star.flags)?;
    found.set_item("has_noise", sampled.posterior.noise.is_some())?;
    found.set_item("chi2_reduced", sampled.star.chi2_reduced)?;
    found.set_item("reason", sampled.reason.map(maury::labelling::posterior::reason))?;
    match sampled.draws {
        None => found.set_item("draws", py.None())?,
        Some(draws) => {
            let (n_chains, n_draws, n) = (draws.n_chains, draws.n_draws(), draws.values.ncols());
            let diverging = Array2::from_shape_fn((n_chains, n_draws), |(chain, draw)| {
                draws.divergent.get(chain).is_some_and(|divergent| divergent.contains(&draw))
            });
            found.set_item("acceptance", draws.acceptance)?;
            found.set_item("step_size", draws.step_size)?;
            found.set_item("diverging", diverging.into_pyarray(py))?;
            let values = draws.values.into_shape_with_order((n_chains, n_draws, n)).expect("chain after chain");
            found.set_item("draws", values.into_pyarray(py))?;
        }
    }
    Ok(found)
}
