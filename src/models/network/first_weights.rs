//! The weights that a layer begins with: drawn from the seed alone, and of a size that keeps the signal's.

use burn::module::Param;
use burn::nn::conv::Conv1d;
use burn::nn::{GroupNorm, LayerNorm, LayerNormConfig, Linear, PaddingConfig1d};
use rand::{Rng, RngExt};

use crate::device::Compute;

/// A dense layer whose weights have variance `gain / n_inputs`: 2 keeps the signal's size through a ReLU (He et al. 2015).
pub(super) fn dense(n_inputs: usize, width: usize, gain: f64, random: &mut impl Rng, compute: &Compute) -> Linear {
    let weight = uniform(n_inputs * width, gain / n_inputs as f64, random);
    Linear {
        weight: Param::from_tensor(compute.tensor_f32(weight, [n_inputs, width])),
        bias: Some(Param::from_tensor(compute.tensor_f32(vec![0.0; width], [width]))),
    }
}

/// A convolution along the spectrum, padded so that only its stride shortens it.
pub(super) fn convolution(
    [inputs, filters, kernel, stride]: [usize; 4],
    random: &mut impl Rng,
    compute: &Compute,
) -> Conv1d {
    let weight = uniform(filters * inputs * kernel, 2.0 / (inputs * kernel) as f64, random);
    Conv1d {
        weight: Param::from_tensor(compute.tensor_f32(weight, [filters, inputs, kernel])),
        bias: Some(Param::from_tensor(compute.tensor_f32(vec![0.0; filters], [filters]))),
        stride,
        kernel_size: kernel,
        dilation: 1,
        groups: 1,
        padding: PaddingConfig1d::Explicit((kernel - 1) / 2, kernel / 2),
    }
}

/// Mean 0 and variance 1 over all values of a star.
pub(super) fn norm(channels: usize, compute: &Compute) -> GroupNorm {
    let constant = |value: f32| Some(Param::from_tensor(compute.tensor_f32(vec![value; channels], [channels])));
    GroupNorm {
        gamma: constant(1.0),
        beta: constant(0.0),
        num_groups: 1,
        num_channels: channels,
        epsilon: 1e-5,
        affine: true,
    }
}

/// Mean 0 and variance 1 over the numbers of each patch.
pub(super) fn layer_norm(width: usize, compute: &Compute) -> LayerNorm {
    let constant = |value: f32| Param::from_tensor(compute.tensor_f32(vec![value; width], [width]));
    let mut norm = LayerNormConfig::new(width).init(compute.device());
    (norm.gamma, norm.beta) = (constant(1.0), Some(constant(0.0)));
    norm
}

/// Uniform deviates about 0.
pub(super) fn uniform(count: usize, variance: f64, random: &mut impl Rng) -> Vec<f32> {
    let bound = (3.0 * variance).sqrt() as f32;
    (0..count).map(|_| random.random_range(-bound..bound)).collect()
}
