//! Gradient descent for any Burn module: one loop of shuffled batches, watched, checkpointed and resumable.

use super::descent_settings::DescentSettings;
use super::descent_state::{EpochRecord, LossCurve, StatePlace};

use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::average::{Average, named_weights};
use super::descent_state::{DescentState, SavedDescent};
use super::observer::{EpochReport, Observer, Validation};
use super::optimizer::{Optimizer, OptimizerSettings, Rate, norm, with_nil_for_the_rest};
use crate::device::to_f64;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::stats::robust::robust_scatter;

/// What a descent makes small.
pub trait Objective<M> {
    /// What a step learns from.
    type Batch;

    /// Rows that train.
    fn n_rows(&self) -> usize;

    /// Some of these rows, from wherever they are.
    ///
    /// # Errors
    /// Those of reading.
    fn batch(&self, rows: &[usize]) -> Result<Self::Batch>;

    /// Mean loss of a batch. Whatever is drawn at random comes from `random`, or from the device, which has been seeded.
    fn loss(&self, module: &M, batch: &Self::Batch, random: &mut ChaCha8Rng) -> Tensor<1>;

    /// What the module, on a device that records nothing, makes of rows that do not train it; none if there are none.
    ///
    /// # Errors
    /// Those of reading.
    fn validate(&self, _module: &M) -> Result<Option<Validation>> {
        Ok(None)
    }
}

/// Who accompanies a descent.
pub struct Company<'a> {
    /// Told after every epoch.
    pub observer: &'a mut dyn Observer,
    /// Where the state after every epoch is kept, and found again; none to keep nothing.
    pub state: Option<StatePlace>,
    /// Told that it goes on; asked whether to stop.
    pub progress: &'a dyn Progress,
}

/// Where a descent ended.
#[derive(Debug, Clone)]
pub struct Descended<M> {
    /// The module of the lowest validation loss, or the last where nothing was validated; it records no operations.
    pub module: M,
    /// Every epoch.
    pub curve: LossCurve,
    /// The epoch the module is of, counted from 1.
    pub epoch: usize,
}

/// Minimizes an objective.
///
/// The module must live on a device that records for differentiation ([`crate::device::Compute::autodiff`]). Every epoch
/// draws its random numbers from the seed and its own number alone, so that a descent that was broken off and goes on from
/// its state takes the very same steps.
///
/// # Errors
/// [`Error::Training`] if the loss is no longer a number, with advice; [`Error::Interrupted`] if asked to stop, after the
/// state was kept; errors of the state's folder, and of reading rows.
pub fn descend<M: Module>(
    module: M,
    objective: &impl Objective<M>,
    settings: &DescentSettings,
    seed: u64,
    company: Company,
) -> Result<Descended<M>> {
    let n_rows = objective.n_rows();
    let batch_rows = match settings.optimizer {
        OptimizerSettings::Lbfgs { .. } => n_rows,
        _ => settings.batch_rows.min(n_rows),
    };
    let steps_per_epoch = n_rows.div_ceil(batch_rows);
    let average_from = settings.epochs - (settings.epochs as f64 * settings.average_last).round() as usize;
    let saved = company.state.map(|place| SavedDescent::new(place, settings, seed, &module));
    let resumed = saved.as_ref().map(|saved| saved.load(&module)).transpose()?.flatten();
    let mut rate = match settings.optimizer {
        // The line search begins with the full step, which is nearly always right.
        OptimizerSettings::Lbfgs { .. } => Rate::Constant(1.0),
        _ => Rate::new(settings.schedule, settings.learning_rate, settings.epochs, steps_per_epoch)?,
    };
    let (mut state, record) = match resumed {
        Some((state, record)) => (state, Some(record)),
        None => (DescentState { module, best: None, average: None, curve: LossCurve::new() }, None),
    };
    for epoch in &state.curve {
        (0..steps_per_epoch).for_each(|_| _ = rate.step());
        rate.end_epoch(epoch.validation_loss.unwrap_or(epoch.training_loss));
    }
    let mut optimizer = Optimizer::new(settings.optimizer, record);
    company.progress.start("training epochs", settings.epochs);
    company.progress.advance(state.curve.len());
    company.progress.defer_interruption(saved.is_some());
    while state.curve.len() < settings.epochs && !state.is_exhausted(settings.patience) {
        let epoch = state.curve.len();
        let started = std::time::Instant::now();
        let Steps { module, training_loss, learning_rate, gradient_norm } =
            take_steps(state.module, objective, &mut optimizer, &mut rate, &Epoch { number: epoch, batch_rows, seed })?;
        state.module = module;
        let mut candidate = state.module.valid();
        if epoch >= average_from {
            let average = Average::updated(state.average.take(), &candidate);
            candidate = average.module.clone();
            state.average = Some(average);
        }
        let validation = objective.validate(&candidate)?;
        let validation_loss = validation.as_ref().map(|validation| validation.loss);
        if !training_loss.is_finite() || validation_loss.is_some_and(|loss| !loss.is_finite()) {
            return Err(Error::Training {
                epoch: epoch + 1,
                detail: format!(
                    "the loss is no longer a number; try a lower learning_rate than {}, or a longer warm_up",
                    settings.learning_rate
                ),
            });
        }
        rate.end_epoch(validation_loss.unwrap_or(training_loss));
        let labels = validation.iter().flat_map(|validation| &validation.labels);
        let scatter = labels.map(|label| (label.name.clone(), robust_scatter(&label.residuals())));
        state.curve.push(EpochRecord {
            training_loss,
            validation_loss,
            learning_rate,
            gradient_norm,
            robust_scatter: scatter.filter(|(_, scatter)| scatter.is_finite()).collect(),
        });
        let improved = state.keep_if_best(candidate, epoch + 1, validation_loss);
        // Told before the state is kept: an epoch that is killed in between is told again, not left out.
        company.observer.epoch(&EpochReport {
            epoch: epoch + 1,
            training_loss,
            validation: validation.as_ref(),
            learning_rate,
            gradient_norm,
            seconds: started.elapsed().as_secs_f64(),
            is_last: epoch + 1 == settings.epochs || state.is_exhausted(settings.patience),
            weights: &|| named_weights(&state.module),
        })?;
        if let Some(saved) = &saved {
            saved.save(&state, &optimizer, improved)?;
        }
        company.progress.advance(1);
        if company.progress.interrupted() {
            company.progress.defer_interruption(false);
            company.progress.finish();
            return Err(Error::Interrupted { kept: saved.is_some() });
        }
    }
    company.progress.defer_interruption(false);
    company.progress.finish();
    let best = state.best.expect("at least one epoch has passed");
    Ok(Descended { module: best.module, epoch: best.epoch, curve: state.curve })
}

/// What the random numbers and the batches of an epoch follow from.
struct Epoch {
    /// Counted from 0.
    number: usize,
    batch_rows: usize,
    seed: u64,
}

/// Where the steps of an epoch led.
struct Steps<M> {
    module: M,
    training_loss: f64,
    /// Of the last step.
    learning_rate: f64,
    gradient_norm: f64,
}

/// The golden ratio in 64 bits: its multiples spread over all seeds.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// One pass through all rows in random order.
fn take_steps<M: Module>(
    mut module: M,
    objective: &impl Objective<M>,
    optimizer: &mut Optimizer,
    rate: &mut Rate,
    epoch: &Epoch,
) -> Result<Steps<M>> {
    let device = module.devices().into_iter().next().expect("a module to be trained has weights");
    let mut random = ChaCha8Rng::seed_from_u64(epoch.seed);
    random.set_stream(epoch.number as u64);
    let mut rows: Vec<usize> = (0..objective.n_rows()).collect();
    rows.shuffle(&mut random);
    let n_steps = rows.len().div_ceil(epoch.batch_rows);
    let mut losses = Losses::default();
    let (mut learning_rate, mut gradient_norm) = (0.0, 0.0);
    for (step, rows) in rows.chunks(epoch.batch_rows).enumerate() {
        let batch = objective.batch(rows)?;
        learning_rate = rate.step();
        let number = (epoch.number * n_steps + step) as u64;
        let draws = epoch.seed.wrapping_add(number.wrapping_mul(GOLDEN));
        device.seed(draws);
        module = match optimizer {
            Optimizer::Batches(optimizer) => {
                let loss = objective.loss(&module, &batch, &mut random);
                losses.add(&loss, rows.len());
                let gradients = GradientsParams::from_grads(loss.backward(), &module);
                if step + 1 == n_steps {
                    gradient_norm = norm(&gradients, &module);
                }
                optimizer.step(learning_rate, module, gradients)
            }
            Optimizer::Whole(optimizer) => {
                // Every evaluation of a line search must see the same random numbers.
                let (module, loss) = optimizer.step(learning_rate, module, |module: M| {
                    device.seed(draws);
                    let loss = objective.loss(&module, &batch, &mut random.clone());
                    let value = to_f64(loss.clone().inner())[0];
                    let gradients = GradientsParams::from_grads(loss.backward(), &module);
                    gradient_norm = norm(&gradients, &module);
                    (value, with_nil_for_the_rest(gradients, &module))
                });
                losses.set(loss, rows.len());
                module
            }
        };
    }
    Ok(Steps { module, training_loss: losses.mean(), learning_rate, gradient_norm })
}

/// Mean loss of the batches of an epoch, summed up where they are computed: reading each would wait for the device.
#[derive(Default)]
struct Losses {
    sum: Option<Tensor<1>>,
    known: Option<f64>,
    n_rows: usize,
}

impl Losses {
    fn add(&mut self, loss: &Tensor<1>, n_rows: usize) {
        let share = loss.clone().inner() * n_rows as f64;
        self.sum = Some(match self.sum.take() {
            Some(sum) => sum + share,
            None => share,
        });
        self.n_rows += n_rows;
    }

    fn set(&mut self, loss: f64, n_rows: usize) {
        self.known = Some(loss * n_rows as f64);
        self.n_rows = n_rows;
    }

    fn mean(self) -> f64 {
        let sum = self.known.or_else(|| self.sum.map(|sum| to_f64(sum)[0]));
        sum.unwrap_or(f64::NAN) / self.n_rows as f64
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Param;

    use super::*;
    use crate::device::{Compute, Precision};
    use crate::progress::Silent;
    use crate::training::observer::Unwatched;
    use crate::training::optimizer::Schedule;

    const TARGET: [f64; 3] = [0.5, -1.0, 2.0];

    #[derive(Module, Debug)]
    struct Point {
        place: Param<Tensor<1>>,
        /// A weight that does not learn.
        unit: Param<Tensor<1>>,
    }

    /// Mean square distance from targets, one per row, that lie about [`TARGET`]; rows from `n_rows` on validate.
    struct Nearness {
        n_rows: usize,
        /// Validation loss by call, where it is made up.
        made_up: Option<Vec<f64>>,
        calls: std::cell::Cell<usize>,
    }

    impl Nearness {
        fn of_rows(&self, point: &Point, rows: &[usize]) -> Tensor<1> {
            let offset = |row: usize| if row.is_multiple_of(2) { 0.1 } else { -0.1 };
            let compute = Compute::flex(Precision::F64);
            let targets: Vec<f64> = rows.iter().flat_map(|row| TARGET.map(|target| target + offset(*row))).collect();
            let targets = Tensor::<2>::from_inner(compute.tensor(&targets, [rows.len(), 3]));
            ((targets - point.place.val().unsqueeze()) / point.unit.val().unsqueeze()).powf_scalar(2.0).mean()
        }
    }

    impl Objective<Point> for Nearness {
        type Batch = Vec<usize>;

        fn n_rows(&self) -> usize {
            self.n_rows
        }

        fn batch(&self, rows: &[usize]) -> Result<Vec<usize>> {
            Ok(rows.to_vec())
        }

        fn loss(&self, point: &Point, rows: &Vec<usize>, _random: &mut ChaCha8Rng) -> Tensor<1> {
            self.of_rows(point, rows)
        }

        fn validate(&self, _point: &Point) -> Result<Option<Validation>> {
            let call = self.calls.replace(self.calls.get() + 1);
            let loss = self.made_up.as_ref().map(|losses| losses[call]);
            Ok(loss.map(|loss| Validation { loss, labels: Vec::new() }))
        }
    }

    fn descended(settings: &DescentSettings, made_up: Option<Vec<f64>>) -> Result<Descended<Point>> {
        descended_with(settings, made_up, Company { observer: &mut Unwatched, state: None, progress: &Silent })
    }

    fn descended_with(
        settings: &DescentSettings,
        made_up: Option<Vec<f64>>,
        company: Company,
    ) -> Result<Descended<Point>> {
        let recording = Compute::flex(Precision::F64).autodiff();
        let parameter = |value: f64| Param::from_tensor(recording.tensor(&[value; 3], [3]));
        let point = Point { place: parameter(0.0), unit: parameter(1.0).set_require_grad(false) };
        let objective = Nearness { n_rows: 20, made_up, calls: std::cell::Cell::new(0) };
        descend(point, &objective, settings, 1, company)
    }

    #[test]
    fn every_optimizer_finds_the_minimum() {
        for (optimizer, learning_rate) in [
            (OptimizerSettings::Adam {}, 0.1),
            (OptimizerSettings::AdamW { weight_decay: 0.0 }, 0.1),
            (OptimizerSettings::Sgd { momentum: 0.0 }, 0.3),
            (OptimizerSettings::Sgd { momentum: 0.9 }, 0.05),
            (OptimizerSettings::Lbfgs { history: 5, steps: 5 }, 1.0),
        ] {
            let settings =
                DescentSettings { epochs: 60, batch_rows: 10, learning_rate, optimizer, ..DescentSettings::default() };
            let Descended { module, curve, epoch } = descended(&settings, None).unwrap();
            let found = to_f64(module.place.val());
            let apart = found.iter().zip(TARGET).map(|(found, target)| (found - target).abs()).fold(0.0, f64::max);
            // The cosine has not come to rest exactly where batches differ.
            assert!(apart < 0.02, "{optimizer:?}: {found:?}");
            assert_eq!(to_f64(module.unit.val()), [1.0; 3], "{optimizer:?} moves a weight that does not learn");
            assert_eq!((curve.len(), epoch), (60, 60), "without validation the last is kept");
        }
    }

    #[test]
    fn the_best_epoch_is_kept_and_patience_ends() {
        let settings = DescentSettings { epochs: 9, patience: 3, ..DescentSettings::default() };
        let losses = vec![5.0, 4.0, 3.0, 3.5, 3.0, 3.2, 9.0, 9.0, 9.0];
        let Descended { curve, epoch, .. } = descended(&settings, Some(losses.clone())).unwrap();
        assert_eq!((curve.len(), epoch), (6, 3));
        let patient = DescentSettings { patience: 0, ..settings };
        let Descended { curve, epoch, .. } = descended(&patient, Some(losses)).unwrap();
        assert_eq!((curve.len(), epoch), (9, 3));
        let nan = descended(&patient, Some(vec![1.0, f64::NAN])).err().unwrap().to_string();
        assert!(nan.contains("epoch 2") && nan.contains("lower learning_rate"), "{nan}");
    }

    #[test]
    fn averaged_weights_are_the_mean_of_the_last_epochs() {
        let plain = DescentSettings { schedule: Schedule::Constant {}, epochs: 1, ..DescentSettings::default() };
        let place = |epochs: usize, average_last: f64| {
            let settings = DescentSettings { epochs, average_last, ..plain.clone() };
            to_f64(descended(&settings, None).unwrap().module.place.val())[1]
        };
        let single: Vec<f64> = (1..=8).map(|epochs| place(epochs, 0.0)).collect();
        let mean = single[4..].iter().sum::<f64>() / 4.0;
        assert!((place(8, 0.5) - mean).abs() < 1e-12);
    }

    /// Counts the epochs it is told of.
    struct Counting(usize);

    impl Observer for Counting {
        fn epoch(&mut self, _report: &EpochReport) -> Result<()> {
            self.0 += 1;
            Ok(())
        }
    }

    #[test]
    fn a_state_of_other_data_is_not_gone_on_from() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("member1");
        let epochs_passed = |epochs: usize, data: &str| {
            let settings = DescentSettings { epochs, ..DescentSettings::default() };
            let mut counting = Counting(0);
            let state = Some(StatePlace { folder: folder.clone(), data: data.into() });
            let made_up = Some((0..epochs).map(|epoch| 9.0 - epoch as f64).collect());
            let company = Company { observer: &mut counting, state, progress: &Silent };
            let found = descended_with(&settings, made_up, company);
            found.map(|found| (counting.0, found.curve.len())).map_err(|err| err.to_string())
        };
        let kept =
            || -> Vec<_> { std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect() };
        assert_eq!(epochs_passed(4, "a"), Ok((4, 4)));
        assert_eq!(epochs_passed(4, "a"), Ok((0, 4)));
        assert_eq!(epochs_passed(4, "b"), Ok((4, 4)));
        assert!(epochs_passed(3, "b").unwrap_err().contains("of another training"));
        // No later epoch of other data is left to be taken for the last.
        assert_eq!((epochs_passed(3, "c"), kept()), (Ok((3, 3)), vec!["epoch-000003".into()]));
    }
}
