//! A network taught by an emulator's spectra, before it sees the survey's own.

use std::path::PathBuf;

use ndarray::Array2;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::augment::Augmentation;
use super::descent::{Company, Descended, Objective, descend};
use super::descent_state::StatePlace;
use super::label_regression::{Learning, PretrainReport, Stars, augmentation, recorded, recorded_spectra};
use super::labelled_spectra::{Filled, Supply};
use super::model_spectra::ModelStars;
use super::network_config::NetworkConfig;
use super::observer::{Observer, Validation};
use super::pretrain_settings::PretrainSettings;
use crate::device::Compute;
use crate::error::Result;
use crate::models::network::Network;
use crate::models::network::pass::Drops;
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;

use burn::tensor::Tensor;

/// Model spectra that tell which epoch is kept.
const N_VALIDATION: usize = 256;
/// Streams of random numbers that no epoch draws from.
const VALIDATION_STREAM: u64 = u64::MAX;
const INPUT_STREAM: u64 = u64::MAX - 1;

/// What pretraining needs beside the model stars.
pub struct Pretraining<'a> {
    /// The network's settings.
    pub config: &'a NetworkConfig,
    /// Those of its pretraining.
    pub settings: &'a PretrainSettings,
    /// Scaling of the labels, that of the survey's stars.
    pub scaler: &'a LabelScaler,
    /// The grid of the spectra.
    pub grid: &'a WavelengthGrid,
    /// Seed of the member.
    pub seed: u64,
    /// What computes.
    pub compute: &'a Compute,
    /// Where the state after each epoch is kept.
    pub state: Option<PathBuf>,
    /// Told of each epoch.
    pub observer: &'a mut dyn Observer,
    /// Told that it goes on.
    pub progress: &'a dyn Progress,
}

/// Teaches a network from random weights by spectra that are drawn when they are needed, and never twice.
///
/// Mean, unit and components of its input are those of model spectra; it records no operations.
///
/// # Errors
/// [`crate::error::Error::Config`] if layers do not fit the grid; errors of the descent.
pub fn pretrain(models: &ModelStars, pretraining: Pretraining) -> Result<(Network, PretrainReport)> {
    let Pretraining { config, settings, scaler, grid, seed, compute, state, observer, progress } = pretraining;
    let learning = Learning { config, scaler, grid, seed, compute };
    let of_stream = |stream: u64, n_stars: usize| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(stream);
        drawn(models, &learning, n_stars, &mut random).1
    };
    let network = learning.untrained(&of_stream(INPUT_STREAM, settings.n_shown()))?;
    let objective = ModelSpectra {
        models,
        augmentation: augmentation(config, grid, compute),
        validation: of_stream(VALIDATION_STREAM, N_VALIDATION),
        n_spectra: settings.spectra,
        learning,
    };
    let state = state.map(|folder| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(models.fingerprint().as_bytes());
        let scaling = scaler.pivot.iter().chain(&scaler.scale);
        scaling.for_each(|value| _ = hasher.update(&value.to_le_bytes()));
        StatePlace { folder, data: hasher.finalize().to_hex()[..32].to_string() }
    });
    let company = Company { observer, state, progress };
    let Descended { module, curve, epoch } = descend(network, &objective, &settings.descent, seed, company)?;
    Ok((module, PretrainReport { n_spectra: curve.len() * settings.spectra, epoch, curve }))
}

/// New model stars, as a network learns from them.
fn drawn(
    models: &ModelStars,
    learning: &Learning,
    n_stars: usize,
    random: &mut ChaCha8Rng,
) -> (SpectraBatch, Stars<'static, 'static>) {
    let Learning { config, scaler, compute, .. } = *learning;
    let drawn = models.draw(n_stars, random);
    let spectra = SpectraBatch::new(drawn.flux.view(), drawn.ivar.view(), compute);
    let supply = Supply::Held(Box::new(Filled { spectra: spectra.clone(), fill: None }));
    let unknown = Array2::from_elem(drawn.labels.raw_dim(), f64::NAN);
    (spectra, Stars::new(supply, (drawn.labels, unknown), config, scaler, compute))
}

/// The objective: labels of model stars, other ones in every step.
struct ModelSpectra<'a> {
    models: &'a ModelStars,
    learning: Learning<'a>,
    augmentation: Option<Augmentation>,
    validation: Stars<'static, 'static>,
    /// Of an epoch.
    n_spectra: usize,
}

impl Objective<Network> for ModelSpectra<'_> {
    /// How many are to be drawn.
    type Batch = usize;

    fn n_rows(&self) -> usize {
        self.n_spectra
    }

    fn batch(&self, rows: &[usize]) -> Result<usize> {
        Ok(rows.len())
    }

    fn loss(&self, network: &Network, n_stars: &usize, random: &mut ChaCha8Rng) -> Tensor<1> {
        let (mut spectra, Stars { targets, .. }) = drawn(self.models, &self.learning, *n_stars, random);
        if let Some(augmentation) = &self.augmentation {
            spectra = augmentation.apply(spectra, random);
        }
        let output = network.forward(&recorded_spectra(spectra), None, Drops::Random);
        self.learning.config.loss.mean(output, recorded(targets))
    }

    fn validate(&self, network: &Network) -> Result<Option<Validation>> {
        self.validation.validation(network, self.learning.config.loss, self.learning.scaler).map(Some)
    }
}
