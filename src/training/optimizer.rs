//! Optimizers and learning-rate schedules, from an experiment's settings to Burn's own.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::lr_scheduler::cosine::CosineAnnealingLrSchedulerConfig;
use burn::optim::lr_scheduler::linear::LinearLrSchedulerConfig;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::optim::lr_scheduler::sequential::SequentialLrSchedulerConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{GradientsParams, LBFGS, LBFGSConfig, LineSearchFn, ModuleOptimizer, OptimizerRecord, SgdConfig};
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::adam::OnePassAdamW;
use crate::device::to_f64;
use crate::error::{Error, Result};

/// `[...descent.optimizer]`: which rule turns gradients into steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum OptimizerSettings {
    /// Adam with decoupled weight decay (Loshchilov & Hutter 2019).
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the weights per step, relative to the learning rate.
        #[serde(default = "usual::weight_decay")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        weight_decay: f64,
    },
    /// Adam (Kingma & Ba 2015).
    Adam {},
    /// Stochastic gradient descent.
    Sgd {
        /// Share of the last step that goes on in the next.
        #[serde(default = "usual::momentum")]
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        momentum: f64,
    },
    /// Limited-memory BFGS with a line search: every step sees all rows, `batch_rows` and the schedule do not count.
    Lbfgs {
        /// Steps that shape the curvature.
        #[serde(default = "usual::history")]
        #[schemars(range(min = 1, max = 1000))]
        history: usize,
        /// Steps per epoch.
        #[serde(default = "usual::steps")]
        #[schemars(range(min = 1, max = 10_000))]
        steps: usize,
    },
}

/// What a setting is where only the optimizer, or only the schedule, is named.
mod usual {
    pub fn weight_decay() -> f64 {
        0.1
    }

    pub fn momentum() -> f64 {
        0.9
    }

    pub fn history() -> usize {
        20
    }

    pub fn steps() -> usize {
        10
    }

    pub fn factor() -> f64 {
        0.5
    }

    pub fn patience() -> usize {
        10
    }
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self::AdamW { weight_decay: usual::weight_decay() }
    }
}

/// `[...descent.schedule]`: how the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Always the same.
    Constant {},
    /// A cosine to nil over all steps, after a linear rise (Loshchilov & Hutter 2017).
    Cosine {
        /// Epochs of the rise.
        #[serde(default)]
        warm_up: usize,
    },
    /// Multiplied by a factor whenever the validation loss has stopped to fall.
    Plateau {
        /// The factor.
        #[serde(default = "usual::factor")]
        #[schemars(extend("exclusiveMinimum" = 0.0, "exclusiveMaximum" = 1.0))]
        factor: f64,
        /// Epochs without a new lowest loss that are waited for.
        #[serde(default = "usual::patience")]
        patience: usize,
    },
}

impl Default for Schedule {
    fn default() -> Self {
        Self::Cosine { warm_up: 0 }
    }
}

/// A schedule in motion: one learning rate for every step.
pub(super) enum Rate {
    Constant(f64),
    Scheduled(Box<ModuleLrScheduler>),
    Plateau { rate: f64, factor: f64, patience: usize, waited: usize, lowest: f64 },
}

impl Rate {
    /// # Errors
    /// [`Error::Config`] if Burn refuses the numbers.
    pub fn new(schedule: Schedule, rate: f64, epochs: usize, steps_per_epoch: usize) -> Result<Self> {
        let scheduler = match schedule {
            Schedule::Constant {} => return Ok(Self::Constant(rate)),
            Schedule::Plateau { factor, patience } => {
                return Ok(Self::Plateau { rate, factor, patience, waited: 0, lowest: f64::INFINITY });
            }
            Schedule::Cosine { warm_up } => {
                let rise = warm_up.min(epochs - 1) * steps_per_epoch;
                let cosine = CosineAnnealingLrSchedulerConfig::new(rate, epochs * steps_per_epoch - rise);
                match rise {
                    0 => cosine.init(),
                    _ => {
                        let linear = LinearLrSchedulerConfig::new(rate / (rise + 1) as f64, rate, rise);
                        SequentialLrSchedulerConfig::new(vec![linear.into(), cosine.into()], vec![rise]).init()
                    }
                }
            }
        };
        let scheduler = scheduler.map_err(|err| Error::Config(format!("descent.learning_rate = {rate}: {err}")))?;
        Ok(Self::Scheduled(Box::new(scheduler)))
    }

    /// The learning rate of the next step.
    pub fn step(&mut self) -> f64 {
        match self {
            Self::Constant(rate) | Self::Plateau { rate, .. } => *rate,
            Self::Scheduled(scheduler) => scheduler.step().base(),
        }
    }

    /// Takes note of the loss an epoch ended with.
    pub fn end_epoch(&mut self, loss: f64) {
        let Self::Plateau { rate, factor, patience, waited, lowest } = self else { return };
        if loss < *lowest {
            (*lowest, *waited) = (loss, 0);
        } else {
            *waited += 1;
            if *waited > *patience {
                (*rate, *waited) = (*rate * *factor, 0);
            }
        }
    }
}

/// An optimizer in motion.
pub(super) enum Optimizer {
    /// One that takes a step for every batch.
    Batches(Box<ModuleOptimizer>),
    /// One that sees all rows at once.
    Whole(Box<LBFGS>),
}

impl Optimizer {
    pub fn new(settings: OptimizerSettings, resumed: Option<OptimizerRecord>) -> Self {
        let optimizer = match settings {
            OptimizerSettings::AdamW { weight_decay } => ModuleOptimizer::from(OnePassAdamW::new(weight_decay)),
            OptimizerSettings::Adam {} => ModuleOptimizer::from(OnePassAdamW::new(0.0)),
            OptimizerSettings::Sgd { momentum } => {
                let momentum = (momentum > 0.0).then(|| MomentumConfig::new().with_momentum(momentum));
                SgdConfig::new().with_momentum(momentum).init()
            }
            OptimizerSettings::Lbfgs { history, steps } => {
                let optimizer = LBFGSConfig::new()
                    .with_history_size(history)
                    .with_max_iter(steps)
                    .with_line_search_fn(LineSearchFn::StrongWolfe)
                    .init();
                return Self::Whole(Box::new(match resumed {
                    Some(record) => optimizer.load_record(record),
                    None => optimizer,
                }));
            }
        };
        Self::Batches(Box::new(match resumed {
            Some(record) => optimizer.load_record(record),
            None => optimizer,
        }))
    }

    /// What it needs to go on later.
    pub fn record(&self) -> OptimizerRecord {
        match self {
            Self::Batches(optimizer) => optimizer.to_record(),
            Self::Whole(optimizer) => optimizer.to_record(),
        }
    }
}

/// Gives weights that do not learn a gradient of nil. L-BFGS lays all weights in one row and all gradients in another, and the
/// two must be equally long.
pub(super) fn with_nil_for_the_rest<M: Module>(gradients: GradientsParams, module: &M) -> GradientsParams {
    struct Fill(GradientsParams);
    impl ModuleVisitor for Fill {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.0.get::<D>(param.id).is_none() {
                self.0.register(param.id, param.val().inner().zeros_like());
            }
        }
    }
    let mut fill = Fill(gradients);
    module.visit(&mut fill);
    fill.0
}

/// Norm of the gradient of all weights together.
pub(super) fn norm<M: Module>(gradients: &GradientsParams, module: &M) -> f64 {
    struct Squares<'a> {
        gradients: &'a GradientsParams,
        sum: f64,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = self.gradients.get::<D>(param.id) {
                self.sum += to_f64((gradient.clone() * gradient).sum())[0];
            }
        }
    }
    let mut squares = Squares { gradients, sum: 0.0 };
    module.visit(&mut squares);
    squares.sum.sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(schedule: Schedule, epochs: usize) -> Vec<f64> {
        let mut rate = Rate::new(schedule, 0.1, epochs, 2).unwrap();
        (0..2 * epochs).map(|_| rate.step()).collect()
    }

    #[test]
    fn a_name_alone_is_an_optimizer_or_a_schedule_with_usual_settings() {
        use std::collections::BTreeMap;
        let read = |text: &str| toml::from_str::<BTreeMap<String, OptimizerSettings>>(text).unwrap()["of"];
        assert_eq!(read("of.lbfgs = {}"), OptimizerSettings::Lbfgs { history: 20, steps: 10 });
        assert_eq!(read("of.lbfgs.steps = 3"), OptimizerSettings::Lbfgs { history: 20, steps: 3 });
        assert_eq!(read("of.adamw = {}"), OptimizerSettings::default());
        assert_eq!(read("of.sgd = {}"), OptimizerSettings::Sgd { momentum: 0.9 });
        let schedule = toml::from_str::<BTreeMap<String, Schedule>>("of.plateau = {}").unwrap()["of"];
        assert_eq!(schedule, Schedule::Plateau { factor: 0.5, patience: 10 });
    }

    #[test]
    fn a_cosine_rises_as_asked_and_ends_near_nil() {
        let rates = rates(Schedule::Cosine { warm_up: 2 }, 10);
        assert!(rates[..4].is_sorted() && rates[0] < 0.05 && (rates[4] - 0.1).abs() < 1e-3, "{rates:?}");
        assert!(rates[4..].is_sorted_by(|a, b| a >= b) && rates[19] < 0.002, "{rates:?}");
    }

    #[test]
    fn a_plateau_lowers_the_rate_only_when_nothing_improves() {
        let mut rate = Rate::new(Schedule::Plateau { factor: 0.5, patience: 1 }, 0.1, 9, 1).unwrap();
        for (loss, expected) in
            [(3.0, 0.1), (2.0, 0.1), (2.5, 0.1), (2.5, 0.05), (1.0, 0.05), (1.0, 0.05), (1.0, 0.025)]
        {
            rate.end_epoch(loss);
            assert_eq!(rate.step(), expected, "after a loss of {loss}");
        }
    }
}
