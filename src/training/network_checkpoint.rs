//! Trained networks in a folder: weights, and everything needed to use them on a raw spectrum.

use std::path::Path;

use burn::module::{Module, Param};
use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Preparation, TrainedCannon, load_fill, save_fill};
use super::model_file::{self, matrix, rows};
use super::network_config::NetworkConfig;
use super::weights::{self, MODEL_FILE};
use crate::data::files;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::network::Network;
use crate::models::network::input::SpectrumInput;
use crate::models::network::layers::output_of;
use crate::schema;
use crate::spectra::labels::LabelScaler;

/// The kind `model.json` names.
pub const KIND: &str = "network";

/// An ensemble of trained networks with its labels' scaling and the preparation of its spectra.
#[derive(Debug, Clone)]
pub struct TrainedNetwork {
    /// The networks; their mean is the estimate.
    pub members: Vec<Network>,
    /// What they were trained with.
    pub config: NetworkConfig,
    /// Labels to scaled labels.
    pub scaler: LabelScaler,
    /// Treatment of spectra.
    pub preparation: Preparation,
    /// Labels of the training stars, [n_stars, n_labels]: the hull.
    pub training_labels: Array2<f64>,
    /// Covariance of the scaled labels' errors on validation stars, [n_labels, n_labels]; NaN where there were none.
    pub error_covariance: Array2<f64>,
    /// The Cannon that fills masked pixels, where one does.
    pub fill: Option<TrainedCannon>,
}

/// What `model.json` holds.
#[derive(Serialize, Deserialize)]
struct ModelFile {
    config: NetworkConfig,
    scaler: LabelScaler,
    preparation: Preparation,
    training_labels: Vec<Vec<f64>>,
    error_covariance: Vec<Vec<Option<f64>>>,
}

/// All members as one module, for one file.
#[derive(Module, Debug)]
struct Ensemble {
    members: Vec<Network>,
}

impl TrainedNetwork {
    /// Free parameters of all members together.
    pub fn n_parameters(&self) -> usize {
        let fixed = |network: &Network| {
            let SpectrumInput { mean, unit, components, .. } = &network.input;
            let fixed_components =
                components.as_ref().filter(|_| self.config.input.components.as_ref().is_some_and(|c| !c.trainable));
            let components = fixed_components.map_or(0, |components| components.dims().iter().product());
            mean.dims()[1] + unit.dims()[1] + components
        };
        self.members.iter().map(|network| network.num_params() - fixed(network)).sum()
    }

    /// Writes the folder. Each file appears whole or not at all, the description last.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Checkpoint`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::create_folder(folder)?;
        save_fill(self.fill.as_ref(), folder)?;
        let ensemble = Ensemble { members: self.members.clone() };
        weights::write(folder, &ensemble, |store| store)?;
        let finite = |row: Vec<f64>| row.into_iter().map(|value| value.is_finite().then_some(value)).collect();
        let description = ModelFile {
            config: self.config.clone(),
            scaler: self.scaler.clone(),
            preparation: self.preparation.clone(),
            training_labels: rows(&self.training_labels),
            error_covariance: rows(&self.error_covariance).into_iter().map(finite).collect(),
        };
        model_file::write(folder, KIND, &description)
    }

    /// Reads a folder written by [`TrainedNetwork::save`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is absent, of another kind or version, or inconsistent.
    pub fn load(folder: &Path, compute: &Compute) -> Result<Self> {
        let failed = |detail: String| Error::Checkpoint { path: folder.to_path_buf(), detail };
        let file: ModelFile = model_file::read(folder, KIND)?;
        schema::check(&file.config)
            .map_err(|(key, problem)| failed(format!("{MODEL_FILE}: config.{key} {problem}; was it edited?")))?;
        let n_labels = file.scaler.n_labels();
        let square =
            file.error_covariance.len() == n_labels && file.error_covariance.iter().all(|row| row.len() == n_labels);
        if !file.scaler.is_consistent()
            || !file.preparation.is_consistent()
            || file.config.check().is_err()
            || file.training_labels.iter().any(|row| row.len() != n_labels)
            || !square
        {
            return Err(failed(format!("{MODEL_FILE} contradicts itself; was it edited?")));
        }
        let known = |row: &Vec<Option<f64>>| row.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let error_covariance: Vec<Vec<f64>> = file.error_covariance.iter().map(known).collect();
        if let Some(problem) = weights::covariance_problem(&error_covariance) {
            return Err(failed(format!("{MODEL_FILE}: {problem}; was it edited?")));
        }
        let n_pixels = file.preparation.grid.n_pixels();
        let (n_weights, _) = (file.config.size(n_pixels, n_labels))
            .map_err(|problem| failed(format!("{MODEL_FILE}: layers of the network: {problem}")))?;
        // Before memory is asked for them.
        weights::open(folder, (n_weights * file.config.members as f64) as u128)?;
        let template = blank(&file.config, &file.preparation.grid.wavelength, n_labels, compute)
            .map_err(|problem| failed(format!("{MODEL_FILE}: {problem}")))?;
        let template = Ensemble { members: vec![template; file.config.members] };
        let ensemble = weights::load(folder, template, compute)?;
        let fill = load_fill(file.config.input.masked, folder, compute)?;
        Ok(Self {
            members: ensemble.members,
            error_covariance: matrix(folder, &error_covariance, (n_labels, n_labels))?,
            training_labels: matrix(folder, &file.training_labels, (file.training_labels.len(), n_labels))?,
            config: file.config,
            scaler: file.scaler,
            preparation: file.preparation,
            fill,
        })
    }
}

/// A network of the right shapes, to be given its weights.
fn blank(config: &NetworkConfig, wavelength: &[f64], n_labels: usize, compute: &Compute) -> Result<Network, String> {
    let n_pixels = wavelength.len();
    let zeros = |shape: [usize; 2]| Param::from_tensor(compute.tensor_f32(vec![0.0; shape[0] * shape[1]], shape));
    let input = SpectrumInput {
        mean: zeros([1, n_pixels]),
        unit: zeros([1, n_pixels]),
        components: config.input.components.as_ref().map(|components| zeros([n_pixels, components.count])),
        mask_channel: config.input.mask_channel,
    };
    output_of(&config.architecture.layers(), input.shape())?;
    let mut random = ChaCha8Rng::seed_from_u64(0);
    let with_variance = config.loss.needs_variance();
    Ok(Network::new(input, &config.architecture, wavelength, n_labels, with_variance, &mut random, compute))
}
