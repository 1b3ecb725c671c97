//! Training a network to read labels off spectra.

use std::ops::Range;
use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use ndarray::{Array2, ArrayView2, Axis, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::augment::{AugmentSettings, Augmentation};
use super::descent::{Company, Descended, Objective, descend};
use super::descent_state::{LossCurve, StatePlace};
use super::labelled_spectra::{Filled, LabelledSpectra, Supply};
use super::loss::{Loss, Targets};
use super::network_config::NetworkConfig;
use super::observer::{Observer, Validation, ValidationLabel};
use super::principal_components::{RowBlocks, add_to, principal_components_of};
use crate::device::{Compute, indices, to_array, to_f64};
use crate::error::{Error, Result};
use crate::models::network::input::{ComponentsConfig, InputConfig, SpectrumInput, deviation};
use crate::models::network::layers::output_of;
use crate::models::network::pass::Drops;
use crate::models::network::{Network, NetworkOutput};
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;

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
    let n_stars = stars.labels.nrows();
    let mut validates = vec![false; n_stars];
    validation.iter().for_each(|row| validates[*row] = true);
    let rows: Vec<usize> = (0..n_stars).filter(|row| !validates[*row]).collect();
    enough_stars(config, rows.len())?;
    let select = |rows: &[usize]| {
        let labels = (stars.labels.select(Axis(0), rows), stars.label_errors.select(Axis(0), rows));
        Ok::<_, Error>(Stars::new(Supply::new(stars, rows, compute)?, labels, config, scaler, compute))
    };
    let mut objective = LabelRegression {
        training: select(&rows)?,
        validation: (!validation.is_empty()).then(|| select(validation)).transpose()?,
        loss: config.loss,
        augmentation: augmentation(config, stars.grid, compute),
        scaler: scaler.clone(),
    };
    let network = match pretrained {
        Some(network) => network.train(),
        None => {
            let learning = Learning { config, scaler, grid: stars.grid, seed, compute };
            learning.untrained(&objective.training)?
        }
    };
    if !config.input.components.as_ref().is_some_and(|components| components.trainable) {
        objective.keep_what_is_seen(&network.input.valid(), n_stars, compute)?;
    }
    let state = state.map(|folder| {
        let data = stars.fingerprint(scaler, validation)?;
        Ok::<_, Error>(StatePlace { folder: folder.to_path_buf(), data })
    });
    let state = state.transpose()?;
    let company = Company { observer, state, progress };
    let Descended { module: network, curve, epoch } =
        descend(network, &objective, &config.descent_on_stars(), seed, company)?;
    let residuals = objective.validation.as_ref().map(|stars| stars.residuals(&network)).transpose()?;
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
    /// [`Error::Config`] if layers do not fit the grid; those of reading.
    pub fn untrained(&self, stars: &Stars) -> Result<Network> {
        let Self { config, scaler, grid, seed, compute } = *self;
        let recording = compute.autodiff();
        let input = stars.input(&config.input, seed, compute, &recording)?;
        output_of(&config.architecture.layers(), input.shape())
            .map_err(|problem| Error::Config(format!("layers of the network: {problem}")))?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (n_labels, with_variance) = (scaler.n_labels(), config.loss.needs_variance());
        let (architecture, wavelength) = (&config.architecture, &grid.wavelength);
        Ok(Network::new(input, architecture, wavelength, n_labels, with_variance, &mut random, &recording))
    }
}

/// Some stars as a network learns from them.
pub(super) struct Stars<'a, 's> {
    /// Their spectra.
    pub supply: Supply<'a, 's>,
    /// Their labels.
    pub targets: Targets,
    /// Scaled labels on the host; NaN where missing.
    scaled_labels: Array2<f64>,
    /// What the layers get of them, [n_stars, channels, length], where it is the same in every epoch and kept.
    seen: Option<Tensor<3>>,
}

impl<'a, 's> Stars<'a, 's> {
    /// Stars with labels and errors of these, [n_stars, n_labels] each.
    pub fn new(
        supply: Supply<'a, 's>,
        (labels, errors): (Array2<f64>, Array2<f64>),
        config: &NetworkConfig,
        scaler: &LabelScaler,
        compute: &Compute,
    ) -> Self {
        let scaled_labels = scaler.scale(labels.view());
        let tensor = |value: &dyn Fn(usize, usize) -> f64| {
            compute.matrix(Array2::from_shape_fn(scaled_labels.raw_dim(), |(n, k)| value(n, k)).view())
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
        Self { supply, targets, scaled_labels, seen: None }
    }

    /// What a network, on a device that records nothing, makes of them, a block at a time.
    fn read_by(&self, network: &Network, mut work: impl FnMut(Range<usize>, NetworkOutput)) -> Result<()> {
        let Some(seen) = &self.seen else {
            return self.supply.each(|block, Filled { spectra, fill }| {
                work(block, network.forward(&spectra, fill, Drops::None));
                Ok(())
            });
        };
        for block in self.supply.blocks() {
            let seen = seen.clone().narrow(0, block.start, block.len());
            work(block, network.read(seen, Drops::None));
        }
        Ok(())
    }

    /// What a network, on a device that records nothing, makes of them.
    ///
    /// # Errors
    /// Those of reading.
    pub fn validation(&self, network: &Network, loss: Loss, scaler: &LabelScaler) -> Result<Validation> {
        let n_known = |labels: ArrayView2<f64>| labels.iter().filter(|label| label.is_finite()).count() as f64;
        let all = n_known(self.scaled_labels.view()).max(1.0);
        let mut estimates = Array2::from_elem(self.scaled_labels.raw_dim(), f64::NAN);
        let mut mean_loss = 0.0;
        self.read_by(network, |block, output| {
            let rows = s![block.clone(), ..];
            estimates.slice_mut(rows).assign(&to_array(output.labels.clone()));
            let own = |tensor: &Tensor<2>| tensor.clone().narrow(0, block.start, block.len());
            let Targets { labels, known, variance } = &self.targets;
            let targets = Targets { labels: own(labels), known: own(known), variance: own(variance) };
            mean_loss += to_f64(loss.mean(output, targets))[0] * (n_known(self.scaled_labels.slice(rows)) / all);
        })?;
        let estimates = scaler.unscale(estimates.view());
        let references = scaler.unscale(self.scaled_labels.view());
        let label = |(k, name): (usize, &String)| ValidationLabel {
            name: name.clone(),
            estimate: estimates.column(k).to_vec(),
            reference: references.column(k).to_vec(),
        };
        Ok(Validation { loss: mean_loss, labels: scaler.names.iter().enumerate().map(label).collect() })
    }

    /// Mean, unit and components of these stars' spectra.
    fn input(&self, config: &InputConfig, seed: u64, compute: &Compute, recording: &Compute) -> Result<SpectrumInput> {
        let mean = self.supply.mean()?;
        let filled = self.supply.rows(|Filled { spectra, fill }| deviation(spectra, fill.clone(), mean.clone()));
        let spread = filled.mean_square(|rows| rows)?.sqrt().max(f64::MIN_POSITIVE);
        let [n_stars, n_pixels] = filled.shape();
        let find = |components: &ComponentsConfig| {
            let in_units =
                self.supply.rows(|Filled { spectra, fill }| deviation(spectra, fill.clone(), mean.clone()) / spread);
            let directions = principal_components_of(&in_units, components.count, seed, compute)?;
            let mut squares = None;
            in_units.each(&mut |_, rows| {
                add_to(&mut squares, rows.matmul(directions.clone().transpose()).powf_scalar(2.0).sum_dim(0));
            })?;
            let spreads: Vec<f64> = to_f64(squares.expect("there are stars"))
                .into_iter()
                .map(|square: f64| (square / n_stars as f64).sqrt().max(f64::MIN_POSITIVE))
                .collect();
            // All together have mean square one, so that inputs are of order one.
            let scale: Vec<f64> = spreads.iter().map(|spread| spread.powf(-components.whitening)).collect();
            let total = spreads.iter().zip(&scale).map(|(a, b)| (a * b).powi(2)).sum::<f64>() / spreads.len() as f64;
            let scale: Vec<f64> = scale.iter().map(|scale| scale / total.sqrt()).collect();
            let scaled = directions * compute.tensor(&scale, [components.count, 1]);
            let tensor = Tensor::<2>::from_inner(scaled.transpose());
            Ok::<_, Error>(Param::from_tensor(recording.bring(tensor)).set_require_grad(components.trainable))
        };
        let components = config.components.as_ref().map(find).transpose()?;
        let fixed = |tensor: Tensor<2>| Param::from_tensor(recording.bring(tensor)).set_require_grad(false);
        Ok(SpectrumInput {
            mean: fixed(mean.clone()),
            unit: fixed(compute.tensor(&vec![spread; n_pixels], [1, n_pixels])),
            components,
            mask_channel: config.mask_channel,
        })
    }

    /// Keeps what the layers get of them through an input that does not learn.
    fn keep_what_is_seen(&mut self, input: &SpectrumInput) -> Result<()> {
        let mut seen = Vec::new();
        self.supply.each(|_, Filled { spectra, fill }| {
            seen.push(input.forward(&spectra, fill));
            Ok(())
        })?;
        self.seen = Some(if seen.len() == 1 { seen.remove(0) } else { Tensor::cat(seen, 0) });
        Ok(())
    }

    /// Estimates - labels, scaled, [n_stars, n_labels].
    fn residuals(&self, network: &Network) -> Result<Array2<f64>> {
        let mut estimates = Array2::zeros(self.scaled_labels.raw_dim());
        self.read_by(network, |block, output| estimates.slice_mut(s![block, ..]).assign(&to_array(output.labels)))?;
        Ok(estimates - &self.scaled_labels)
    }
}

/// The objective of a network.
struct LabelRegression<'a, 's> {
    training: Stars<'a, 's>,
    validation: Option<Stars<'a, 's>>,
    loss: Loss,
    augmentation: Option<Augmentation>,
    scaler: LabelScaler,
}

impl LabelRegression<'_, '_> {
    /// Keeps what the layers get of stars, where that is always the same: of those in memory that train, which nothing varies, and of
    /// those in a file if it takes no more than spectra in memory may.
    fn keep_what_is_seen(&mut self, input: &SpectrumInput, n_stars: usize, compute: &Compute) -> Result<()> {
        let bytes = n_stars as u64 * input.shape().size() as u64 * compute.dtype().size() as u64;
        let may_be_kept = self.training.supply.is_held() || bytes <= compute.memory().of_spectra();
        if may_be_kept && self.augmentation.is_none() {
            self.training.keep_what_is_seen(input)?;
        }
        match &mut self.validation {
            Some(stars) if may_be_kept && !stars.supply.is_held() => stars.keep_what_is_seen(input),
            _ => Ok(()),
        }
    }
}

/// What a network learns from in one step.
struct LabelledBatch {
    shown: Shown,
    targets: Targets,
}

/// Stars as a network is shown them.
enum Shown {
    /// As its layers get them.
    Seen(Box<Tensor<3>>),
    /// As they are.
    Spectra(Box<Filled>),
}

impl Objective<Network> for LabelRegression<'_, '_> {
    type Batch = LabelledBatch;

    fn n_rows(&self) -> usize {
        self.training.scaled_labels.nrows()
    }

    fn batch(&self, rows: &[usize]) -> Result<LabelledBatch> {
        let Stars { supply, targets, seen, .. } = &self.training;
        let places = indices(rows, &targets.labels.device());
        let of_rows = |all: &Tensor<2>| all.clone().select(0, places.clone());
        let targets = Targets {
            labels: of_rows(&targets.labels),
            known: of_rows(&targets.known),
            variance: of_rows(&targets.variance),
        };
        let shown = match seen {
            Some(seen) => Shown::Seen(Box::new(seen.clone().select(0, places))),
            None => Shown::Spectra(Box::new(supply.of(rows)?)),
        };
        Ok(LabelledBatch { shown, targets })
    }

    fn loss(&self, network: &Network, batch: &LabelledBatch, random: &mut ChaCha8Rng) -> Tensor<1> {
        let output = match &batch.shown {
            Shown::Seen(seen) => network.read(Tensor::<3>::from_inner(Tensor::clone(seen)), Drops::Random),
            Shown::Spectra(filled) => {
                let Filled { spectra, fill } = &**filled;
                let spectra = match &self.augmentation {
                    Some(augmentation) => augmentation.apply(spectra.clone(), random),
                    None => spectra.clone(),
                };
                let fill = fill.clone().map(Tensor::from_inner);
                network.forward(&recorded_spectra(spectra), fill, Drops::Random)
            }
        };
        self.loss.mean(output, recorded(batch.targets.clone()))
    }

    fn validate(&self, network: &Network) -> Result<Option<Validation>> {
        self.validation.as_ref().map(|stars| stars.validation(network, self.loss, &self.scaler)).transpose()
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
