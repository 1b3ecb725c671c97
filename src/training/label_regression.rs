//! Training a network to read labels off spectra.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use ndarray::{Array2, ArrayView2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::augment::{AugmentSettings, Augmentation};
use super::descent::{Company, Descended, Objective, descend};
use super::descent_settings::DescentSettings;
use super::descent_state::{LossCurve, StatePlace};
use super::loss::{Loss, Targets};
use super::observer::{Observer, Validation, ValidationLabel};
use super::optimizer::OptimizerSettings;
use super::principal_components::principal_components;
use crate::device::{Compute, indices, to_f64};
use crate::error::{Error, Result};
use crate::models::network::Network;
use crate::models::network::architecture::Architecture;
use crate::models::network::input::{ComponentsConfig, InputConfig, SpectrumInput, deviation, mean_spectrum};
use crate::models::network::layers::{Drops, Shape, output_of, size_of};
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;

/// `[models.<name>.network]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// What the network sees of a spectrum.
    pub input: InputConfig,
    /// Its layers.
    pub architecture: Architecture,
    /// What training makes small.
    pub loss: Loss,
    /// Whether the catalogue's errors of the labels count in the loss.
    pub label_errors: bool,
    /// How training spectra are varied.
    pub augment: AugmentSettings,
    /// Part of the training stars that only tells when to stop, and how large errors are.
    pub validation: f64,
    /// How training goes.
    pub descent: DescentSettings,
    /// Networks trained from different random numbers, each with other stars to validate; their mean is the estimate.
    pub members: usize,
    /// Samples of Monte-Carlo dropout per star and member that errors are taken from; 0 for none.
    pub dropout_samples: usize,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            input: InputConfig::default(),
            architecture: Architecture::default(),
            loss: Loss::default(),
            label_errors: false,
            augment: AugmentSettings::default(),
            validation: 0.15,
            descent: DescentSettings::default(),
            members: 1,
            dropout_samples: 0,
        }
    }
}

impl NetworkConfig {
    /// The first setting that makes no sense: its key below `network`, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (String, String)> {
        let below = |table: &str| {
            let table = table.to_string();
            move |(key, problem): (&str, &str)| (format!("{table}.{key}"), problem.to_string())
        };
        let check = |holds: bool, key: &str, problem: &str| {
            if holds { Ok(()) } else { Err((key.to_string(), problem.to_string())) }
        };
        check((0.0..=0.9).contains(&self.validation), "validation", "must be 0 to 0.9")?;
        let stops = self.descent.patience == 0 || self.validation > 0.0;
        check(stops, "validation", "must be above 0 where descent.patience waits for it")?;
        check((1..=1000).contains(&self.members), "members", "must be 1 to 1000")?;
        check(self.dropout_samples != 1, "dropout_samples", "must be 0, or at least 2: one sample has no spread")?;
        check(self.dropout_samples <= 10_000, "dropout_samples", "must be at most 10000")?;
        if let Some(ComponentsConfig { count, whitening, .. }) = &self.input.components {
            check((1..=5000).contains(count), "input.components.count", "must be 1 to 5000")?;
            check((0.0..=1.0).contains(whitening), "input.components.whitening", "must be 0 to 1")?;
        }
        if let Loss::Huber { delta } = self.loss {
            check(delta > 0.0, "loss.huber.delta", "must be positive")?;
        }
        self.augment.check().map_err(below("augment"))?;
        self.descent.check().map_err(below("descent"))
    }

    /// Weights of one network, and values that pass through it for each star.
    ///
    /// # Errors
    /// Why its layers do not fit such spectra.
    pub fn size(&self, n_pixels: usize, n_labels: usize) -> Result<(f64, f64), String> {
        let InputConfig { mask_channel, components, .. } = &self.input;
        let (input, fixed) = match components {
            Some(components) => (Shape::Vector(components.count), components.count as f64 * n_pixels as f64),
            None => {
                let channels = if *mask_channel { 2 } else { 1 };
                (Shape::Sequence { channels, length: n_pixels }, 0.0)
            }
        };
        let (size, top) = size_of(&self.architecture.layers(), input)?;
        let n_outputs = if self.loss.needs_variance() { 2 * n_labels } else { n_labels };
        let head = (top.size() + 1) as f64 * n_outputs as f64;
        Ok((size.weights + head + fixed + 2.0 * n_pixels as f64, size.values + input.size() as f64))
    }

    /// Bytes that training with so many stars takes, roughly; none if its layers do not fit such spectra.
    ///
    /// Every weight is there with its gradient, what the optimizer remembers of it, and in the best and the averaged network;
    /// every value, of each star of a batch or of all that validate, with its gradient and what it was made from.
    pub fn memory(&self, n_pixels: usize, n_labels: usize, n_stars: usize) -> Option<f64> {
        /// Of the narrower precision.
        const BYTES: f64 = 4.0;
        let (weights, values) = self.size(n_pixels, n_labels).ok()?;
        let (copies, batch) = match self.descent.optimizer {
            OptimizerSettings::Lbfgs { history, .. } => (8.0 + 2.0 * history as f64, n_stars),
            _ => (8.0, n_stars.min(self.descent.batch_rows)),
        };
        let stars = (3.0 * batch as f64).max(self.validation * n_stars as f64);
        Some(BYTES * (weights * (copies + self.members as f64) + values * stars))
    }
}

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

/// Trains one network.
///
/// Mean, units and components of the input come from the stars that train, as does everything else but the choice of the
/// epoch.
///
/// # Errors
/// [`Error::TooFewStars`]; [`Error::Config`] if layers do not fit the grid; errors of the descent.
pub fn train(stars: &LabelledSpectra, training: Training) -> Result<Member> {
    let Training { config, scaler, validation, seed, compute, state, observer, progress } = training;
    let n_stars = stars.flux.nrows();
    let mut validates = vec![false; n_stars];
    validation.iter().for_each(|row| validates[*row] = true);
    let rows: Vec<usize> = (0..n_stars).filter(|row| !validates[*row]).collect();
    let needed = config.input.components.as_ref().map_or(2, |components| components.count + 1);
    if rows.len() < needed {
        return Err(Error::TooFewStars {
            stage: "training a network".into(),
            n_stars: rows.len(),
            needed,
            remedy: "lower `validation` or `input.components.count`, or give more stars".into(),
        });
    }
    let recording = compute.autodiff();
    let select = |rows: &[usize]| Stars::new(stars, rows, config, scaler, compute);
    let mut objective = LabelRegression {
        training: select(&rows),
        validation: (!validation.is_empty()).then(|| select(validation)),
        loss: config.loss,
        augmentation: (config.augment != AugmentSettings::default())
            .then(|| Augmentation::new(&config.augment, stars.grid, compute)),
        scaler: scaler.clone(),
        seen: None,
    };
    let input = objective.training.input(&config.input, seed, compute, &recording);
    let is_fixed = objective.augmentation.is_none() && !config.input.components.as_ref().is_some_and(|c| c.trainable);
    if is_fixed {
        let Stars { spectra, fill, .. } = &objective.training;
        objective.seen = Some(input.valid().forward(spectra, fill.clone()));
    }
    output_of(&config.architecture.layers(), input.shape())
        .map_err(|problem| Error::Config(format!("layers of the network: {problem}")))?;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (n_labels, with_variance) = (scaler.n_labels(), config.loss.needs_variance());
    let network = Network::new(input, &config.architecture, n_labels, with_variance, &mut random, &recording);
    let state = state.map(|folder| {
        let data = stars.fingerprint(scaler, validation);
        StatePlace { folder: folder.to_path_buf(), data }
    });
    let company = Company { observer, state, progress };
    let Descended { module: network, curve, epoch } = descend(network, &objective, &config.descent, seed, company)?;
    let residuals = objective.validation.as_ref().map(|stars| stars.residuals(&network));
    let report = MemberReport { n_training: rows.len(), n_validation: validation.len(), epoch, curve };
    Ok(Member { network, residuals: residuals.unwrap_or_else(|| Array2::zeros((0, n_labels))), report })
}

/// Some stars as tensors.
struct Stars {
    spectra: SpectraBatch,
    fill: Option<Tensor<2>>,
    targets: Targets,
    /// Scaled labels on the host; NaN where missing.
    scaled_labels: Array2<f64>,
}

impl Stars {
    fn new(
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
        let recorded = |tensor: Tensor<2>| Tensor::<2>::from_inner(tensor);
        let targets = Targets {
            labels: recorded(of_rows(&targets.labels)),
            known: recorded(of_rows(&targets.known)),
            variance: recorded(of_rows(&targets.variance)),
        };
        if let Some(seen) = &self.seen {
            let seen = Tensor::<3>::from_inner(seen.clone().select(0, rows));
            return self.loss.mean(network.read(seen, Drops::Random), targets);
        }
        let mut spectra = SpectraBatch { flux: of_rows(&spectra.flux), ivar: of_rows(&spectra.ivar) };
        if let Some(augmentation) = &self.augmentation {
            spectra = augmentation.apply(spectra, random);
        }
        let fill = fill.as_ref().map(|fill| recorded(of_rows(fill)));
        let spectra = SpectraBatch { flux: recorded(spectra.flux), ivar: recorded(spectra.ivar) };
        self.loss.mean(network.forward(&spectra, fill, Drops::Random), targets)
    }

    fn validate(&self, network: &Network) -> Option<Validation> {
        let stars = self.validation.as_ref()?;
        let output = network.forward(&stars.spectra, stars.fill.clone(), Drops::None);
        let shape = stars.scaled_labels.raw_dim();
        let estimates = Array2::from_shape_vec(shape, to_f64(output.labels.clone()));
        let estimates = self.scaler.unscale(estimates.expect("one estimate per star and label").view());
        let references = self.scaler.unscale(stars.scaled_labels.view());
        let column = |matrix: ArrayView2<f64>, k: usize| matrix.column(k).to_vec();
        let label = |(k, name): (usize, &String)| ValidationLabel {
            name: name.clone(),
            estimate: column(estimates.view(), k),
            reference: column(references.view(), k),
        };
        Some(Validation {
            loss: to_f64(self.loss.mean(output, stars.targets.clone()))[0],
            labels: self.scaler.names.iter().enumerate().map(label).collect(),
        })
    }
}
