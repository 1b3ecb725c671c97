//! Adam and AdamW in one pass over the weights, where these are in the CPU's memory.

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{DType, Device, Tensor, TensorData};
use rayon::prelude::*;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;
/// Weights of one task of a thread.
const CHUNK: usize = 1 << 16;

/// Adam with decoupled weight decay (Kingma & Ba 2015; Loshchilov & Hutter 2019): as Burn's, whose state it has.
///
/// Burn's makes a tensor for every operation, some fourteen as large as the weights, and the time of a step is that of moving them
/// through memory. On Burn's own CPU backend in f32 this reads and writes each number once; elsewhere Burn's own is asked.
#[derive(Clone)]
pub(super) struct OnePassAdamW {
    weight_decay: f32,
    elsewhere: AdamW,
}

impl OnePassAdamW {
    /// Of weights that decay so much per step, relative to the learning rate; 0 for Adam.
    pub fn new(weight_decay: f64) -> Self {
        let weight_decay = weight_decay as f32;
        let config = AdamWConfig::new().with_beta_1(BETA_1).with_beta_2(BETA_2);
        Self { weight_decay, elsewhere: config.with_epsilon(EPSILON).with_weight_decay(weight_decay).build() }
    }

    /// Moves weights by their gradient at step `time`, counted from 1, and the moments with them.
    fn move_all(&self, rate: f64, time: usize, weights: &mut [f32], gradient: &[f32], moments: [&mut [f32]; 2]) {
        let time = i32::try_from(time).unwrap_or(i32::MAX);
        let (known_1, known_2) = (1.0 - BETA_1.powi(time), 1.0 - BETA_2.powi(time));
        let kept = (1.0 - rate * f64::from(self.weight_decay)) as f32;
        let rate = rate as f32;
        let [first, second] = moments.map(|moment| moment.par_chunks_mut(CHUNK));
        let chunks = weights.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK)).zip(first.zip(second));
        chunks.for_each(|((weights, gradient), (first, second))| {
            let numbers = weights.iter_mut().zip(gradient).zip(first.iter_mut().zip(second));
            for ((weight, gradient), (first, second)) in numbers {
                *first = BETA_1 * *first + (1.0 - BETA_1) * gradient;
                *second = BETA_2 * *second + (1.0 - BETA_2) * gradient * gradient;
                let step = (*first / known_1) / ((*second / known_2).sqrt() + EPSILON);
                *weight = kept * *weight - rate * step;
            }
        });
    }
}

impl Optimizer for OnePassAdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        rate: f64,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let device = weights.device();
        if device != Device::flex() || weights.dtype() != DType::F32 || gradient.dtype() != DType::F32 {
            return self.elsewhere.step(rate, weights, gradient, state);
        }
        let (time, first, second) = match state {
            Some(AdamWState { momentum }) => (momentum.time + 1, momentum.moment_1, momentum.moment_2),
            None => (1, gradient.zeros_like(), gradient.zeros_like()),
        };
        // Tensors that nobody else holds are handed over as they are.
        let [mut weights, mut first, mut second] = [weights, first, second].map(Tensor::into_data);
        let gradient = gradient.into_data();
        let gradient = gradient.as_slice().expect(AS_SEEN);
        self.move_all(rate, time, numbers(&mut weights), gradient, [&mut first, &mut second].map(numbers));
        let tensor = |data: TensorData| Tensor::from_data(data, (&device, DType::F32));
        let momentum = AdaptiveMomentumState::new(time, tensor(first), tensor(second));
        (tensor(weights), Some(AdamWState { momentum }))
    }

    fn to_device<const D: usize>(state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        AdamW::to_device(state, device)
    }
}

/// Both dtypes were looked at.
const AS_SEEN: &str = "numbers of 32 bits";

fn numbers(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect(AS_SEEN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};

    #[test]
    fn a_step_is_that_of_burns_own_optimizer() {
        let compute = Compute::flex(Precision::F32);
        let n = 3 * CHUNK / 2;
        let row = |of: &dyn Fn(f64) -> f64| {
            compute.tensor::<2>(&(0..n).map(|i| of(i as f64)).collect::<Vec<_>>(), [2, n / 2])
        };
        for weight_decay in [0.0, 0.3] {
            let optimizer = OnePassAdamW::new(weight_decay);
            let (mut own, mut burns) = (row(&|i| (i * 0.7).sin()), row(&|i| (i * 0.7).sin()));
            let (mut own_state, mut burns_state) = (None, None);
            for step in 1..6 {
                let gradient = row(&|i| (i * 0.1 * f64::from(step)).cos() * 10.0_f64.powf((i * 0.01).sin()));
                (own, own_state) = optimizer.step(1e-2, own, gradient.clone(), own_state);
                (burns, burns_state) = optimizer.elsewhere.step(1e-2, burns, gradient, burns_state);
            }
            let differences = to_f64((own - burns).abs().max_dim(1));
            assert!(differences.iter().all(|difference| *difference < 1e-6), "{differences:?}");
            let times = [own_state, burns_state].map(|state| state.unwrap().momentum.time);
            assert_eq!(times, [5, 5]);
        }
    }
}
