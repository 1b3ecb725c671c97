//! The other kind of experiment: an emulator learned from model spectra, judged on models it has not seen.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Param;
use ndarray::{Array2, Axis, concatenate};
use serde::Serialize;

use super::config::ExperimentConfig;
use super::load::Experiment;
use crate::data::{files, library};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::spectra::continuum_pixels;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::stars::settings::LibraryData;
use crate::stats::robust::quantile;
use crate::timings::{Timings, peak_memory_mb};
use crate::training::checkpoint::Preparation;
use crate::training::emulator::{self, EmulatorConfig};
use crate::training::payne_checkpoint::TrainedPayne;

/// How many of the worst models are kept whole, to be looked at.
const WORST_KEPT: usize = 3;

/// One emulator and how it did on the models held out.
#[derive(Debug, Clone)]
pub struct Emulation {
    /// Its name in the experiment.
    pub name: String,
    /// The trained emulator, as it was written and read back.
    pub model: TrainedPayne,
    /// What was measured.
    pub metrics: EmulationMetrics,
    /// Root of the mean square error of each pixel over the models held out, `[n_pixels]`.
    pub pixel_rms: Vec<f64>,
    /// The worst of the models held out, the worst first.
    pub worst: Vec<WorstModel>,
    /// Mean square error of the flux in training, by epoch.
    pub loss_curve: Vec<f64>,
    /// Ranges of the inputs in the library: (name, lowest, highest).
    pub ranges: Vec<(String, f64, f64)>,
}

/// A model that the emulator misses by more than others.
#[derive(Debug, Clone)]
pub struct WorstModel {
    /// Labels of the model, in words.
    pub labels: Vec<(String, f64)>,
    /// Root mean square error over its pixels.
    pub rms: f64,
    /// Flux of the library, `[n_pixels]`.
    pub flux: Vec<f64>,
    /// Emulated flux - that of the library, `[n_pixels]`.
    pub error: Vec<f64>,
}

/// Errors of an emulator in normalized flux, over models held out of training.
#[derive(Debug, Clone, Serialize)]
pub struct EmulationMetrics {
    /// Models that trained.
    pub n_training: usize,
    /// Models held out.
    pub n_held_out: usize,
    /// Root mean square over all models and pixels.
    pub rms: f64,
    /// Root mean square over pixels of the median model, the 95th percentile, and the worst.
    pub rms_median: f64,
    /// See `rms_median`.
    pub rms_95: f64,
    /// See `rms_median`.
    pub rms_worst: f64,
    /// Largest error of any pixel of any model.
    pub largest: f64,
    /// Root mean square over the models trained on.
    pub rms_training: f64,
    /// Root mean square over pixels within 0.7 Angstrom of the lines, or 3 of the band heads, of each kind.
    pub rms_of_features: BTreeMap<&'static str, f64>,
    /// Numbers in the network, the components and the mean.
    pub n_parameters: usize,
}

/// Vacuum wavelengths, in Angstrom, of features by kind, with the half-width looked at. Mg I and Si I: linemake (Placco et al.
/// 2021); heads of the second overtone bands of 12CO, v = 3-0 to 9-6, to an Angstrom or two.
pub const FEATURES: [(&str, f64, &[f64]); 3] = [
    ("Mg I", 0.7, &[15745.017, 15753.26, 15770.14]),
    ("Si I", 0.7, &[15892.75, 15964.42, 16064.40, 16099.18]),
    ("CO heads", 3.0, &[15582.0, 15780.0, 15982.0, 16189.0, 16397.0, 16610.0, 16840.0]),
];

/// Trains every emulator of an experiment and keeps each in `folder/models/<name>`.
///
/// # Errors
/// Those of reading, training and writing; [`Error::Mismatch`] if the library's columns are not those configured.
pub fn emulate(
    experiment: &Experiment,
    folder: &Path,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<(Vec<Emulation>, Timings)> {
    let config = &experiment.config;
    let data = config.data.library.as_ref().ok_or_else(|| Error::Config("data.library is not set".into()))?;
    config.write_resolved(folder)?;
    let mut timings = Timings::default();
    let spectra = timings.measure("read", || library::read(&data.path))?;
    let grid = WavelengthGrid::apogee();
    if spectra.flux.ncols() != grid.n_pixels() {
        let detail =
            format!("{} pixels; the {} of the apStar grid are expected", spectra.flux.ncols(), grid.n_pixels());
        return Err(Error::format(&data.path, detail));
    }
    let (names, inputs) = inputs(config, data, &spectra)?;
    // Held-out models lie evenly in the library, whose rows are in random order.
    let (held_out, training): (Vec<usize>, Vec<usize>) =
        (0..inputs.nrows()).partition(|row| row % data.hold_out_every == data.hold_out_every - 1);
    let rows = Rows { inputs: &inputs, flux: &spectra.flux, names: &names, training, held_out };
    let mut emulations = Vec::new();
    for (name, model) in &config.models {
        let Some(settings) = model.emulator() else { continue };
        let place = folder.join("models").join(name);
        let trained = timings.measure("train", || rows.train(settings, config, &grid, compute, progress));
        let (mut model, loss_curve) = trained.map_err(|err| err.of_model(name))?;
        // The errors are those of the emulator as it is shipped: in half precision.
        model.save(&place)?;
        model = TrainedPayne::load(&place, compute)?;
        let mut emulation =
            timings.measure("test", || rows.test(name, model, loss_curve, config.labels.len(), compute));
        emulation.model.payne.s2 = Param::from_tensor(
            compute.tensor(&emulation.pixel_rms.iter().map(|r| r * r).collect::<Vec<_>>(), [grid.n_pixels()]),
        );
        emulation.model.save(&place)?;
        emulations.push(emulation);
    }
    write_metrics(folder, &emulations, &timings)?;
    Ok((emulations, timings))
}

/// The library's rows and who does what.
struct Rows<'a> {
    inputs: &'a Array2<f64>,
    flux: &'a Array2<f32>,
    names: &'a [String],
    training: Vec<usize>,
    held_out: Vec<usize>,
}

impl Rows<'_> {
    fn train(
        &self,
        settings: &EmulatorConfig,
        config: &ExperimentConfig,
        grid: &WavelengthGrid,
        compute: &Compute,
        progress: &dyn Progress,
    ) -> Result<(TrainedPayne, Vec<f64>)> {
        let training_inputs = self.inputs.select(Axis(0), &self.training);
        let scaler = LabelScaler::fit(self.names, training_inputs.view())?;
        let flux = self.flux.select(Axis(0), &self.training);
        let scaled = scaler.scale(training_inputs.view());
        let (payne, curve) = emulator::train(settings, scaled.view(), flux.view(), config.seed, compute, progress)?;
        let is_continuum = continuum_pixels::shipped(grid)?;
        let preparation = Preparation {
            grid: grid.clone(),
            pixmask: config.pixmask.clone(),
            continuum: config.continuum.clone(),
            continuum_pixels: (0..grid.n_pixels()).filter(|pixel| is_continuum[*pixel]).collect(),
            gaps: Vec::new(),
        };
        Ok((TrainedPayne { payne, scaler, n_labels: config.labels.len(), preparation, training_inputs }, curve))
    }

    fn test(
        &self,
        name: &str,
        model: TrainedPayne,
        loss_curve: Vec<f64>,
        n_labels: usize,
        compute: &Compute,
    ) -> Emulation {
        let errors_of = |rows: &[usize]| {
            let scaled = model.scaler.scale(self.inputs.select(Axis(0), rows).view());
            emulator::errors(&model.payne, scaled.view(), self.flux.select(Axis(0), rows).view(), compute)
        };
        let errors = errors_of(&self.held_out);
        let mean_square = |errors: &Array2<f64>| errors.mapv(|e| e * e).mean().unwrap_or(f64::NAN);
        let rms_of_model: Vec<f64> =
            errors.rows().into_iter().map(|row| row.mapv(|e| e * e).mean().unwrap_or(f64::NAN).sqrt()).collect();
        let variance = emulator::error_variance(errors.view());
        let mut order: Vec<usize> = (0..rms_of_model.len()).collect();
        order.sort_by(|a, b| rms_of_model[*b].total_cmp(&rms_of_model[*a]));
        let worst = order.iter().take(WORST_KEPT).map(|row| WorstModel {
            labels: self.names[..n_labels].iter().cloned().zip(self.inputs.row(self.held_out[*row]).to_vec()).collect(),
            rms: rms_of_model[*row],
            flux: self.flux.row(self.held_out[*row]).iter().map(|flux| f64::from(*flux)).collect(),
            error: errors.row(*row).to_vec(),
        });
        let metrics = EmulationMetrics {
            n_training: self.training.len(),
            n_held_out: self.held_out.len(),
            rms: mean_square(&errors).sqrt(),
            rms_median: quantile(&rms_of_model, 0.5),
            rms_95: quantile(&rms_of_model, 0.95),
            rms_worst: quantile(&rms_of_model, 1.0),
            largest: errors.iter().fold(0.0, |most, error| error.abs().max(most)),
            rms_training: mean_square(&errors_of(&self.training)).sqrt(),
            rms_of_features: rms_of_features(&model.preparation.grid, &variance),
            n_parameters: model.payne.n_parameters(),
        };
        let range = |k: usize| {
            let column = self.inputs.column(k).to_vec();
            (self.names[k].clone(), quantile(&column, 0.0), quantile(&column, 1.0))
        };
        Emulation {
            name: name.to_string(),
            metrics,
            pixel_rms: variance.iter().map(|variance| variance.sqrt()).collect(),
            worst: worst.collect(),
            loss_curve,
            ranges: (0..self.names.len()).map(range).collect(),
            model,
        }
    }
}

/// Names and values of the emulator's inputs: the labels, then the nuisances that have a name.
fn inputs(
    config: &ExperimentConfig,
    data: &LibraryData,
    library: &library::Library,
) -> Result<(Vec<String>, Array2<f64>)> {
    let (n_labels, n_nuisances) = (library.labels.ncols(), library.nuisances.ncols());
    if n_labels != config.labels.len() || n_nuisances != data.nuisances.len() {
        let detail = format!(
            "{n_labels} labels and {n_nuisances} nuisances, but `labels` names {} and data.library.nuisances {}",
            config.labels.len(),
            data.nuisances.len()
        );
        return Err(Error::Mismatch { what: data.path.display().to_string(), detail });
    }
    let used: Vec<usize> = (0..n_nuisances).filter(|k| !data.nuisances[*k].is_empty()).collect();
    let mut nuisances = library.nuisances.select(Axis(1), &used);
    let mut names = config.labels.clone();
    for (column, k) in used.iter().enumerate() {
        let name = &data.nuisances[*k];
        if data.logarithmic.contains(name) {
            nuisances.column_mut(column).mapv_inplace(f64::log10);
            names.push(format!("log_{name}"));
        } else {
            names.push(name.clone());
        }
    }
    let inputs = concatenate(Axis(1), &[library.labels.view(), nuisances.view()]).expect("one row per model in both");
    if inputs.iter().any(|value| !value.is_finite()) {
        let detail = "an input that is to be logarithmic is not positive";
        return Err(Error::format(&data.path, detail));
    }
    Ok((names, inputs))
}

fn rms_of_features(grid: &WavelengthGrid, variance: &[f64]) -> BTreeMap<&'static str, f64> {
    FEATURES
        .iter()
        .map(|(name, width, lines)| {
            let near = |pixel: &usize| lines.iter().any(|line| (grid.wavelength[*pixel] - line).abs() <= *width);
            let values: Vec<f64> = (0..variance.len()).filter(near).map(|pixel| variance[pixel]).collect();
            (*name, (values.iter().sum::<f64>() / values.len().max(1) as f64).sqrt())
        })
        .collect()
}

fn write_metrics(folder: &Path, emulations: &[Emulation], timings: &Timings) -> Result<()> {
    #[derive(Serialize)]
    struct File<'a> {
        maury_version: &'static str,
        burn_version: &'static str,
        models: BTreeMap<&'a str, &'a EmulationMetrics>,
        timings: &'a Timings,
        peak_memory_mb: f64,
    }
    let file = File {
        maury_version: env!("CARGO_PKG_VERSION"),
        burn_version: crate::device::BURN_VERSION,
        models: emulations.iter().map(|emulation| (emulation.name.as_str(), &emulation.metrics)).collect(),
        timings,
        peak_memory_mb: peak_memory_mb(),
    };
    files::write_json(&folder.join("metrics.json"), &file)
}
