//! Training a network to read labels off spectra.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::augment::{AugmentSettings, Augmentation};
use super::descent::{Company, Descended, Objective, descend};
use super::descent_state::{LossCurve, StatePlace};
use super::loss::{Loss, Targets};
use super::network_config::NetworkConfig;
use super::observer::{Observer, Validation, ValidationLabel};
use super::principal_components::principal_components;
use crate::device::{Compute, indices, to_f64};
use crate::error::{Error, Result};
use crate::models::network::Network;
use crate::models::network::input::{InputConfig, SpectrumInput, deviation, mean_spectrum};
use crate::models::network::layers::output_of;
use crate::models::network::pass::Drops;
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;

/// Stars to learn from: spectra and their labels.
#[derive(Debug, Clone)]
pub struct LabelledSpectra<'a> {
    /// The grid of the spectra.
    pub grid: &'a WavelengthGrid,
    /// Normalized flux, [n_stars, n_pixels].
    pub flux: Array2<f32>,
    /// Inverse variance, [n_stars, n_pixels]; 0 = no information.
    pub ivar: Array2<f32>,
    /// What stands for masked flux, [n_stars, n_pixels]; the mean where there is none.
    pub fill: Option<Array2<f32>>,
    /// Labels, [n_stars, n_labels]; NaN where missing.
    pub labels: Array2<f64>,
    /// The catalogue's errors of the labels, [n_stars, n_labels]; NaN where unknown.
    pub label_errors: Array2<f64>,
}

impl LabelledSpectra<'_> {
    /// What tells training on these stars from that on others. What stands for masked flux follows from the rest and the settings.
    fn fingerprint(&self, scaler: &LabelScaler, validation: &[usize]) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |values: &mut dyn Iterator<Item = f64>| {
            // One NaN is like another, and files need not keep their bits.
            let bytes: Vec<u8> =
                values.flat_map(|value| if value.is_nan() { f64::NAN } else { value }.to_le_bytes()).collect();
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
        };
        add(&mut self.grid.wavelength.iter().copied());
        add(&mut scaler.pivot.iter().chain(&scaler.scale).copied());
        add(&mut validation.iter().map(|row| *row as f64));
        for row in self.flux.rows().into_iter().chain(self.ivar.rows()) {
            add(&mut row.iter().map(|value| f64::from(*value)));
        }
        for row in self.labels.rows().into_iter().chain(self.label_errors.rows()) {
            add(&mut row.iter().copied());
        }
        hasher.finalize().to_hex()[..32].to_string()
    }
}

/// How the training of one network went.
#[derive(Debug, Clone, Serialize)]
pub struct MemberReport {
    /// Stars that trained it.
    pub n_training: usize,
    /// Stars that validated it.
    pub n_validation: usize,
    /// The epoch that was kept, counted from 1.
    pub epoch: usize,
    /// Every epoch.
    pub curve: LossCurve,
    /// What came before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretraining: Option<PretrainReport>,
}

/// How the pretraining of one network went.
#[derive(Debug, Clone, Serialize)]
pub struct PretrainReport {
    /// Model spectra it has seen, each once.
    pub n_spectra: usize,
    /// The epoch that was kept, counted from 1.
    pub epoch: usize,
    /// Every epoch; validated by model spectra.
    pub curve: LossCurve,
}

/// One trained network of an ensemble.
#[derive(Debug, Clone)]
pub struct Member {
    /// The network.
    pub network: Network,
    /// Scaled residuals of its validation stars, [n_validation, n_labels]; NaN where a label is missing.
    pub residuals: Array2<f64>,
    /// How it went.
    pub report: MemberReport,
}

/// What the training of a member needs beside the stars.
pub struct Training<'a> {
    /// The network's settings.
    pub config: &'a NetworkConfig,
    /// Scaling of the labels, fitted to the training stars.
    pub scaler: &'a LabelScaler,
    /// A network that has been pretrained, with its input; none to begin with random weights.
    pub pretrained: Option<Network>,
    /// Rows of the stars that validate; all others train.
    pub validation: &'a [usize],
    /// Seed of the member.
    pub seed: u64,
    /// What computes.
    pub compute: &'a Compute,
    /// Where the state after each epoch is kept.
    pub state: Option<&'a Path>,
    /// Told of each epoch.
    pub observer: &'a mut dyn Observer,
    /// Told that it goes on.
    pub progress: &'a dyn Progress,
}

/// Whether so many stars, those that validate aside, can train a network, by themselves or after model spectra.
///
/// # Errors
/// [`Error::TooFewStars`].
pub fn enough_stars(config: &NetworkConfig, n_stars: usize) -> Result<()> {
    let components = config.input.components.as_ref().filter(|_| config.pretrain.is_none());
    let needed = components.map_or(2, |components| components.count + 1);
    if n_stars >= needed {
        return Ok(());
    }
    let remedy = "lower `validation` or `input.components.count`, or give more stars".into();
    Err(Error::TooFewStars { stage: "training a network".into(), n_stars, needed, remedy })
}

/// Trains one network.
///
/// Mean, units and components of the input come from the stars that train, unless it has been pretrained, as does everything else
/// but the choice of the epoch.
///
/// # Errors
/// [`Error::TooFewStars`]; [`Error::Config`] if layers do not fit the grid; errors of the descent.
pub fn train(stars: &LabelledSpectra, training: Training) -> Result<Member> {
    let Training { config, scaler, pretrained, validation, seed, compute, state, observer, progress } = training;
    let n_stars = stars.flux.nrows();
    let mut validates = vec![false; n_stars];
    validation.iter().for_each(|row| validates[*row] = true);
    let rows: Vec<usize> = (0..n_stars).filter(|row| !validates[*row]).collect();
    enough_stars(config, rows.len())?;
    let select = |rows: &[usize]| Stars::new(stars, rows, config, scaler, compute);
    let mut objective = LabelRegression {
        training: select(&rows),
        validation: (!validation.is_empty()).then(|| select(validation)),
        loss: config.loss,
        augmentation: augmentation(config, stars.grid, compute),
        scaler: scaler.clone(),
        seen: None,
    };
    let network = match pretrained {
        Some(network) => network.train(),
        None => {
            let learning = Learning { config, scaler, grid: stars.grid, seed, compute };
            learning.untrained(&objective.training)?
        }
    };
    let is_fixed = objective.augmentation.is_none() && !config.input.components.as_ref().is_some_and(|c| c.trainable);
    if is_fixed {
        let Stars { spectra, fill, .. } = &objective.training;
        objective.seen = Some(network.input.valid().forward(spectra, fill.clone()));
    }
    let state = state.map(|folder| {
        let data = stars.fingerprint(scaler, validation);
        StatePlace { folder: folder.to_path_buf(), data }
    });
    let company = Company { observer, state, progress };
    let Descended { module: network, curve, epoch } =
        descend(network, &objective, &config.descent_on_stars(), seed, company)?;
    let residuals = objective.validation.as_ref().map(|stars| stars.residuals(&network));
    let report =
        MemberReport { n_training: rows.len(), n_validation: validation.len(), epoch, curve, pretraining: None };
    Ok(Member { network, residuals: residuals.unwrap_or_else(|| Array2::zeros((0, scaler.n_labels()))), report })
}

/// How training spectra are varied, if they are.
pub(super) fn augmentation(config: &NetworkConfig, grid: &WavelengthGrid, compute: &Compute) -> Option<Augmentation> {
    let varies = config.augment != AugmentSettings::default();
    varies.then(|| Augmentation::new(&config.augment, grid, compute))
}

/// What a network is to be.
pub(super) struct Learning<'a> {
    /// Its settings.
    pub config: &'a NetworkConfig,
    /// Scaling of its labels.
    pub scaler: &'a LabelScaler,
    /// Grid of its spectra.
    pub grid: &'a WavelengthGrid,
    /// Of its random weights.
    pub seed: u64,
    /// What computes.
    pub compute: &'a Compute,
}

impl Learning<'_> {
    /// A network with random weights that records operations; mean, unit and components of its input are those of some stars.
    ///
    /// # Errors
    /// [`Error::Config`] if layers do not fit the grid.
    pub fn untrained(&self, stars: &Stars) -> Result<Network> {
        let Self { config, scaler, grid, seed, compute } = *self;
        let recording = compute.autodiff();
        let input = stars.input(&config.input, seed, compute, &recording);
        output_of(&config.architecture.layers(), input.shape())
            .map_err(|problem| Error::Config(format!("layers of the network: {problem}")))?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (n_labels, with_variance) = (scaler.n_labels(), config.loss.needs_variance());
        let (architecture, wavelength) = (&config.architecture, &grid.wavelength);
        Ok(Network::new(input, architecture, wavelength, n_labels, with_variance, &mut random, &recording))
    }
}

/// Some stars as tensors.
pub(super) struct Stars {
    /// Their spectra.
    pub spectra: SpectraBatch,
    fill: Option<Tensor<2>>,
    /// Their labels.
    pub targets: Targets,
    /// Scaled labels on the host; NaN where missing.
    scaled_labels: Array2<f64>,
}

impl Stars {
    /// These rows of some stars.
    pub fn new(
        stars: &LabelledSpectra,
        rows: &[usize],
        config: &NetworkConfig,
        scaler: &LabelScaler,
        compute: &Compute,
    ) -> Self {
        let of = |matrix: &Array2<f32>| matrix.select(Axis(0), rows);
        let spectra = SpectraBatch::new(of(&stars.flux).view(), of(&stars.ivar).view(), compute);
        let fill = stars.fill.as_ref().map(|fill| {
            let fill = of(fill);
            compute.tensor_f32(fill.iter().copied().collect(), [rows.len(), fill.ncols()])
        });
        let scaled_labels = scaler.scale(stars.labels.select(Axis(0), rows).view());
        let errors = stars.label_errors.select(Axis(0), rows);
        let tensor = |value: &dyn Fn(usize, usize) -> f64| {
            let values = Array2::from_shape_fn(scaled_labels.raw_dim(), |(n, k)| value(n, k));
            compute.tensor(&values.into_iter().collect::<Vec<f64>>(), [rows.len(), scaler.n_labels()])
        };
        let label = |n: usize, k: usize| scaled_labels[[n, k]];
        let variance = |n: usize, k: usize| {
            let error = errors[[n, k]] / scaler.scale[k];
            if config.label_errors && error.is_finite() { error * error } else { 0.0 }
        };
        let targets = Targets {
            labels: tensor(&|n, k| if label(n, k).is_finite() { label(n, k) } else { 0.0 }),
            known: tensor(&|n, k| f64::from(u8::from(label(n, k).is_finite()))),
            variance: tensor(&variance),
        };
        Self { spectra, fill, targets, scaled_labels }
    }

    /// What a network, on a device that records nothing, makes of them.
    pub fn validation(&self, network: &Network, loss: Loss, scaler: &LabelScaler) -> Validation {
        let output = network.forward(&self.spectra, self.fill.clone(), Drops::None);
        let shape = self.scaled_labels.raw_dim();
        let estimates = Array2::from_shape_vec(shape, to_f64(output.labels.clone()));
        let estimates = scaler.unscale(estimates.expect("one estimate per star and label").view());
        let references = scaler.unscale(self.scaled_labels.view());
        let column = |matrix: ArrayView2<f64>, k: usize| matrix.column(k).to_vec();
        let label = |(k, name): (usize, &String)| ValidationLabel {
            name: name.clone(),
            estimate: column(estimates.view(), k),
            reference: column(references.view(), k),
        };
        Validation {
            loss: to_f64(loss.mean(output, self.targets.clone()))[0],
            labels: scaler.names.iter().enumerate().map(label).collect(),
        }
    }

    /// Mean, unit and components of these stars' spectra.
    fn input(&self, config: &InputConfig, seed: u64, compute: &Compute, recording: &Compute) -> SpectrumInput {
        let mean = mean_spectrum(&self.spectra);
        let filled = deviation(&self.spectra, self.fill.clone(), mean.clone());
        let spread = to_f64(filled.clone().powf_scalar(2.0).mean())[0].sqrt().max(f64::MIN_POSITIVE);
        let n_pixels = self.spectra.n_pixels();
        let components = config.components.as_ref().map(|components| {
            let directions = principal_components(&(filled.clone() / spread), components.count, seed, compute);
            let coefficients = (filled.clone() / spread).matmul(directions.clone().transpose());
            let [n_stars, _] = coefficients.dims();
            let spreads: Vec<f64> = to_f64(coefficients.powf_scalar(2.0).sum_dim(0))
                .into_iter()
                .map(|square| (square / n_stars as f64).sqrt().max(f64::MIN_POSITIVE))
                .collect();
            // All together have mean square one, so that inputs are of order one.
            let scale: Vec<f64> = spreads.iter().map(|spread| spread.powf(-components.whitening)).collect();
            let total = spreads.iter().zip(&scale).map(|(a, b)| (a * b).powi(2)).sum::<f64>() / spreads.len() as f64;
            let scale: Vec<f64> = scale.iter().map(|scale| scale / total.sqrt()).collect();
            let scaled = directions * compute.tensor(&scale, [components.count, 1]);
            let tensor = Tensor::<2>::from_inner(scaled.transpose());
            Param::from_tensor(recording.bring(tensor)).set_require_grad(components.trainable)
        });
        let fixed = |tensor: Tensor<2>| Param::from_tensor(recording.bring(tensor)).set_require_grad(false);
        SpectrumInput {
            mean: fixed(mean),
            unit: fixed(compute.tensor(&vec![spread; n_pixels], [1, n_pixels])),
            components,
            mask_channel: config.mask_channel,
        }
    }

    /// Estimates - labels, scaled, [n_stars, n_labels].
    fn residuals(&self, network: &Network) -> Array2<f64> {
        let output = network.forward(&self.spectra, self.fill.clone(), Drops::None);
        let estimates = Array2::from_shape_vec(self.scaled_labels.raw_dim(), to_f64(output.labels));
        estimates.expect("one estimate per star and label") - &self.scaled_labels
    }
}

/// The objective of a network.
struct LabelRegression {
    training: Stars,
    validation: Option<Stars>,
    loss: Loss,
    augmentation: Option<Augmentation>,
    scaler: LabelScaler,
    /// What the layers get of the training stars, [n_stars, channels, length], where it is the same in every epoch.
    seen: Option<Tensor<3>>,
}

impl Objective<Network> for LabelRegression {
    fn n_rows(&self) -> usize {
        self.training.spectra.n_stars()
    }

    fn loss(&self, network: &Network, rows: &[usize], random: &mut ChaCha8Rng) -> Tensor<1> {
        let Stars { spectra, fill, targets, .. } = &self.training;
        let rows = indices(rows, &spectra.flux.device());
        let of_rows = |all: &Tensor<2>| all.clone().select(0, rows.clone());
        let targets = Targets {
            labels: of_rows(&targets.labels),
            known: of_rows(&targets.known),
            variance: of_rows(&targets.variance),
        };
        if let Some(seen) = &self.seen {
            let seen = Tensor::<3>::from_inner(seen.clone().select(0, rows));
            return self.loss.mean(network.read(seen, Drops::Random), recorded(targets));
        }
        let mut spectra = SpectraBatch { flux: of_rows(&spectra.flux), ivar: of_rows(&spectra.ivar) };
        if let Some(augmentation) = &self.augmentation {
            spectra = augmentation.apply(spectra, random);
        }
        let fill = fill.as_ref().map(|fill| Tensor::from_inner(of_rows(fill)));
        self.loss.mean(network.forward(&recorded_spectra(spectra), fill, Drops::Random), recorded(targets))
    }

    fn validate(&self, network: &Network) -> Option<Validation> {
        self.validation.as_ref().map(|stars| stars.validation(network, self.loss, &self.scaler))
    }
}

/// Labels to learn where operations are recorded.
pub(super) fn recorded(targets: Targets) -> Targets {
    let Targets { labels, known, variance } = targets;
    let recorded = |tensor: Tensor<2>| Tensor::<2>::from_inner(tensor);
    Targets { labels: recorded(labels), known: recorded(known), variance: recorded(variance) }
}

/// Spectra where operations are recorded.
pub(super) fn recorded_spectra(spectra: SpectraBatch) -> SpectraBatch {
    SpectraBatch { flux: Tensor::from_inner(spectra.flux), ivar: Tensor::from_inner(spectra.ivar) }
}
