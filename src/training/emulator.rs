//! Training The Payne on a library of model spectra.

use burn::module::Param;
use burn::nn::Linear;
use burn::tensor::Tensor;
use nalgebra::DMatrix;
use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::descent::{Company, Descended, Objective, descend};
use super::descent_settings::DescentSettings;
use super::observer::Unwatched;
use super::principal_components::principal_components;
use crate::device::{Compute, indices, to_f64};
use crate::error::{Error, Result};
use crate::models::SpectralModel;
use crate::models::payne::{Network, Payne};
use crate::progress::Progress;

/// `[models.<name>.payne]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EmulatorConfig {
    /// Principal components of the flux.
    #[schemars(range(min = 1, max = 1000))]
    pub components: usize,
    /// Widths of the hidden layers.
    #[schemars(inner(range(min = 1, max = 10_000)))]
    pub hidden: Vec<usize>,
    /// How the network is trained.
    pub descent: DescentSettings,
}

impl Default for EmulatorConfig {
    fn default() -> Self {
        let descent =
            DescentSettings { epochs: 1000, batch_rows: 32, learning_rate: 2e-3, ..DescentSettings::default() };
        Self { components: 64, hidden: vec![512, 256], descent }
    }
}

/// Trains an emulator; its error variance is left nil, to be set by [`error_variance`] on models it has not seen.
///
/// The components' coefficients have one common unit, so that their squared error is that of the flux: the network learns
/// spectra, not components.
///
/// # Shapes
/// - scaled_inputs: `[n_models, n_inputs]`, mean nil; flux: `[n_models, n_pixels]`
///
/// # Errors
/// [`Error::TooFewStars`] if there are fewer models than components or inputs; errors of the descent.
pub fn train(
    config: &EmulatorConfig,
    scaled_inputs: ArrayView2<f64>,
    flux: ArrayView2<f32>,
    seed: u64,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<(Payne, Vec<f64>)> {
    let (n_models, n_inputs) = scaled_inputs.dim();
    let n_pixels = flux.ncols();
    let needed = config.components.max(n_inputs) + 1;
    if n_models < needed {
        return Err(Error::TooFewStars {
            stage: "training the emulator".into(),
            n_stars: n_models,
            needed,
            remedy: "give a larger library, or fewer components".into(),
        });
    }
    let mean: Vec<f64> = flux.mean_axis(Axis(0)).expect("there are models").iter().map(|v| f64::from(*v)).collect();
    let centred: Vec<f64> =
        flux.rows().into_iter().flat_map(|row| row.into_iter().zip(&mean).map(|(f, m)| f64::from(*f) - m)).collect();
    let centred = compute.tensor(&centred, [n_models, n_pixels]);
    let directions = principal_components(&centred, config.components, seed, compute);
    let coefficients = centred.matmul(directions.clone().transpose());
    let unit = to_f64(coefficients.clone().powf_scalar(2.0).mean())[0].sqrt();
    let coefficients = coefficients / unit;

    let recording = compute.autodiff();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let skip = regression(scaled_inputs, &to_f64(coefficients.clone()), config.components)?;
    let network = Network::from_linear(n_inputs, &config.hidden, config.components, &skip, &mut random, &recording);
    let inputs: Vec<f64> = scaled_inputs.iter().copied().collect();
    let task = Coefficients { inputs: compute.tensor(&inputs, [n_models, n_inputs]), coefficients };
    let company = Company { observer: &mut Unwatched, state: None, progress };
    let Descended { module: network, curve, .. } = descend(network, &task, &config.descent, seed, company)?;
    // Squared coefficients to squared flux.
    let per_pixel = unit * unit * config.components as f64 / n_pixels as f64;
    let payne = Payne {
        network: network.brought(compute),
        mean: Param::from_tensor(compute.tensor(&mean, [n_pixels])),
        components: Linear { weight: Param::from_tensor(directions * unit), bias: None },
        s2: Param::from_tensor(compute.tensor(&vec![0.0; n_pixels], [n_pixels])),
    };
    Ok((payne, curve.into_iter().map(|epoch| epoch.training_loss * per_pixel).collect()))
}

/// Component coefficients, [n_models, n_components], as a function of scaled inputs, [n_models, n_inputs].
struct Coefficients {
    inputs: Tensor<2>,
    coefficients: Tensor<2>,
}

impl Objective<Network> for Coefficients {
    type Batch = Vec<usize>;

    fn n_rows(&self) -> usize {
        self.inputs.dims()[0]
    }

    fn batch(&self, rows: &[usize]) -> Result<Vec<usize>> {
        Ok(rows.to_vec())
    }

    fn loss(&self, network: &Network, rows: &Vec<usize>, _random: &mut ChaCha8Rng) -> Tensor<1> {
        let rows = indices(rows, &self.inputs.device());
        let of_rows = |all: &Tensor<2>| Tensor::<2>::from_inner(all.clone().select(0, rows.clone()));
        (network.forward(of_rows(&self.inputs)) - of_rows(&self.coefficients)).powf_scalar(2.0).mean()
    }
}

/// Least squares of the coefficients on the inputs, [n_inputs, n_components] row-major.
fn regression(scaled_inputs: ArrayView2<f64>, coefficients: &[f64], n_components: usize) -> Result<Vec<f64>> {
    let (n_models, n_inputs) = scaled_inputs.dim();
    let design = DMatrix::from_fn(n_models, n_inputs, |n, k| scaled_inputs[[n, k]]);
    let outcome = DMatrix::from_row_slice(n_models, n_components, coefficients);
    let normal = design.transpose() * &design;
    let solution = normal.cholesky().ok_or_else(|| Error::Mismatch {
        what: "inputs of the library".into(),
        detail: "one is a linear function of the others; leave it out".into(),
    })?;
    Ok(solution.solve(&(design.transpose() * outcome)).transpose().as_slice().to_vec())
}

/// Errors of an emulator on models, [n_models, n_pixels]: emulated - given flux.
pub fn errors(payne: &Payne, scaled_inputs: ArrayView2<f64>, flux: ArrayView2<f32>, compute: &Compute) -> Array2<f64> {
    let (n_models, n_inputs) = scaled_inputs.dim();
    let inputs: Vec<f64> = scaled_inputs.iter().copied().collect();
    let emulated = to_f64(payne.predict_flux(compute.tensor(&inputs, [n_models, n_inputs])).mean);
    let emulated = Array2::from_shape_vec(flux.raw_dim(), emulated).expect("one flux per model and pixel");
    emulated - flux.mapv(f64::from)
}

/// Mean square of errors in each pixel, `[n_pixels]`.
pub fn error_variance(errors: ArrayView2<f64>) -> Vec<f64> {
    errors.mapv(|error| error * error).mean_axis(Axis(0)).map_or_else(Vec::new, |mean| mean.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::progress::Silent;
    use ndarray::s;

    /// Spectra of one line whose depth saturates with the first input and whose place moves with the second.
    fn library(n_models: usize) -> (Array2<f64>, Array2<f32>) {
        let inputs = Array2::from_shape_fn((n_models, 2), |(n, k)| ((n * (7 + 6 * k)) % 97) as f64 / 28.0 - 1.73);
        let flux = Array2::from_shape_fn((n_models, 50), |(n, j)| {
            let offset = (j as f64 - 25.0 - inputs[[n, 1]]) / 3.0;
            (1.0 - 0.3 * (1.0 + (inputs[[n, 0]]).tanh()) * (-offset * offset).exp()) as f32
        });
        (inputs, flux)
    }

    #[test]
    fn a_trained_emulator_gives_spectra_it_has_not_seen() {
        let compute = Compute::flex(Precision::F32);
        let (inputs, flux) = library(300);
        let descent = DescentSettings { epochs: 60, batch_rows: 16, ..DescentSettings::default() };
        let config = EmulatorConfig { components: 6, hidden: vec![24, 24], descent };
        let (trained, tested) = (s![..250, ..], s![250.., ..]);
        let (payne, curve) = train(&config, inputs.slice(trained), flux.slice(trained), 1, &compute, &Silent).unwrap();
        let rms = |payne: &Payne| {
            let error = errors(payne, inputs.slice(tested), flux.slice(tested), &compute);
            error.mapv(|e| e * e).mean().unwrap().sqrt()
        };
        // The best linear map leaves 0.03: it neither saturates nor moves lines by more than their width.
        let linear = EmulatorConfig {
            descent: DescentSettings { epochs: 1, learning_rate: 1e-12, ..config.descent.clone() },
            ..config
        };
        let (linear, _) = train(&linear, inputs.slice(trained), flux.slice(trained), 1, &compute, &Silent).unwrap();
        assert!(rms(&payne) < 0.005 && rms(&linear) > 0.02, "{} {}", rms(&payne), rms(&linear));
        assert!((curve.last().unwrap().sqrt() - rms(&payne)).abs() < 0.003, "{:?}", curve.last());
    }

    #[test]
    fn a_library_that_is_too_small_is_refused() {
        let compute = Compute::flex(Precision::F32);
        let (inputs, flux) = library(20);
        let refusal = train(&EmulatorConfig::default(), inputs.view(), flux.view(), 1, &compute, &Silent);
        assert!(refusal.unwrap_err().to_string().contains("larger library"));
    }
}
