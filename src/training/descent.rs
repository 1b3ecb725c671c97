//! Gradient descent for any Burn module: shuffled batches, AdamW, a cosine schedule.

use burn::module::Module;
use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Int, Tensor};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::device::{indices, to_f64};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// `[models.<name>.<kind>.descent]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DescentSettings {
    /// Passes through the training rows.
    pub epochs: usize,
    /// Rows per step.
    pub batch_rows: usize,
    /// Learning rate of the first step; a cosine takes it to nil over all steps.
    pub learning_rate: f64,
    /// Decay of the weights per step, relative to the learning rate.
    pub weight_decay: f64,
}

impl Default for DescentSettings {
    fn default() -> Self {
        Self { epochs: 1000, batch_rows: 32, learning_rate: 2e-3, weight_decay: 0.1 }
    }
}

/// Mean training loss of every epoch.
pub type LossCurve = Vec<f64>;

/// Minimizes the mean of `loss` over batches of rows; it is given the module and the rows of a batch.
///
/// The module must live on a device that records for differentiation ([`crate::device::Compute::autodiff`]). The same seed
/// gives the same batches in the same order.
///
/// # Errors
/// [`Error::Training`] if the loss is no longer a number, with advice.
pub fn descend<M: Module>(
    mut module: M,
    n_rows: usize,
    loss: impl Fn(&M, Tensor<1, Int>) -> Tensor<1>,
    settings: &DescentSettings,
    seed: u64,
    progress: &dyn Progress,
) -> Result<(M, LossCurve)> {
    let n_batches = n_rows.div_ceil(settings.batch_rows);
    let device = module.devices().into_iter().next().expect("a module to be trained has weights").inner();
    let mut schedule = CosineAnnealingLrSchedulerConfig::new(settings.learning_rate, n_batches * settings.epochs)
        .init()
        .map_err(|err| Error::Config(format!("descent.learning_rate = {}: {err}", settings.learning_rate)))?;
    let mut optimizer = AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(settings.weight_decay as f32).init();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut rows: Vec<usize> = (0..n_rows).collect();
    let mut curve = LossCurve::with_capacity(settings.epochs);
    progress.start("training epochs", settings.epochs);
    for epoch in 0..settings.epochs {
        rows.shuffle(&mut random);
        let mut sum: Option<Tensor<1>> = None;
        for batch in rows.chunks(settings.batch_rows) {
            let value = loss(&module, indices(batch, &device));
            let share = value.clone().inner() * batch.len() as f64;
            let gradients = GradientsParams::from_grads(value.backward(), &module);
            module = optimizer.step(schedule.step(), module, gradients);
            sum = Some(sum.map_or(share.clone(), |sum| sum + share));
        }
        let mean = sum.map_or(f64::NAN, |sum| to_f64(sum)[0]) / n_rows as f64;
        if !mean.is_finite() {
            return Err(Error::Training {
                epoch: epoch + 1,
                detail: format!("the loss is {mean}; try a lower learning_rate than {}", settings.learning_rate),
            });
        }
        curve.push(mean);
        progress.advance(1);
    }
    progress.finish();
    Ok((module, curve))
}
