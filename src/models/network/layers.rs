//! The layers a network is composed of: what a configuration says, and the Burn modules it becomes.

use burn::module::Module;
use burn::nn::conv::Conv1d;
use burn::nn::pool::{AvgPool1d, AvgPool1dConfig, MaxPool1d, MaxPool1dConfig};
use burn::nn::{GroupNorm, Linear};
use burn::tensor::{Tensor, activation};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attention::{AttentionConfig, Encoder};
use super::first_weights::{convolution, dense, norm};
use super::pass::Pass;
use super::shape::{MOST_WIDTH, Shape, Size, at_least_one, width_of};
use crate::device::Compute;

/// One entry of `layers` in an experiment: `{ dense = { width = 256 } }`, `"relu"`, ...
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum LayerConfig {
    /// Every output sees every input.
    Dense {
        /// Outputs.
        #[schemars(range(min = 1, max = MOST_WIDTH))]
        width: usize,
    },
    /// A convolution along the spectrum, padded so that only its stride shortens it.
    Conv {
        /// Kernels, one output channel each.
        #[schemars(range(min = 1, max = MOST_WIDTH))]
        filters: usize,
        /// Pixels a kernel covers.
        #[schemars(range(min = 1))]
        kernel: usize,
        /// Pixels from one output to the next.
        #[serde(default = "one")]
        #[schemars(range(min = 1))]
        stride: usize,
    },
    /// The largest of every so many neighbours.
    MaxPool {
        /// Neighbours.
        #[schemars(range(min = 1))]
        size: usize,
    },
    /// The mean of every so many neighbours.
    MeanPool {
        /// Neighbours.
        #[schemars(range(min = 1))]
        size: usize,
    },
    /// Mean 0 and variance 1 over all values of a star, then a factor and an offset per channel (Ba et al. 2016).
    Norm,
    /// max(x, 0)
    Relu,
    /// x Phi(x) (Hendrycks & Gimpel 2016)
    Gelu,
    /// x / (1 + exp(-x))
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// Sets a random part of the values to nil while training, and wherever Monte-Carlo dropout samples.
    Dropout {
        /// Part that is set to nil.
        #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
        rate: f64,
    },
    /// Patches of neighbouring pixels that attend to each other; wholly masked ones do not take part. Ends in one vector.
    Attention(AttentionConfig),
    /// What some layers make of the input, added to a linear map of the input (or to itself, where the shape is the same).
    Residual {
        /// The layers.
        layers: Vec<LayerConfig>,
    },
}

fn one() -> usize {
    1
}

/// What several layers take of memory, and what comes out of them.
///
/// # Errors
/// What is wrong with the first that cannot be.
pub fn size_of(layers: &[LayerConfig], input: Shape) -> Result<(Size, Shape), String> {
    layers.iter().try_fold((Size::default(), input), |(size, shape), layer| {
        let (own, output) = layer.size(shape)?;
        Ok((Size { weights: size.weights + own.weights, values: size.values + own.values }, output))
    })
}

impl LayerConfig {
    fn size(&self, input: Shape) -> Result<(Size, Shape), String> {
        let output = self.output(input)?;
        let number = |n: usize| n as f64;
        let dense = |outputs: usize| number(input.size() + 1) * number(outputs);
        let convolution = |kernel: usize, outputs: usize| number(input.dims().0 * kernel + 1) * number(outputs);
        let own = |weights: f64| Size { weights, values: number(output.size()) };
        let size = match self {
            Self::Dense { width } => own(dense(*width)),
            Self::Conv { filters, kernel, .. } => own(convolution(*kernel, *filters)),
            Self::Attention(attention) => attention.size(input),
            Self::Norm => own(2.0 * number(input.dims().0)),
            Self::Residual { layers } => {
                let (inner, _) = size_of(layers, input)?;
                let past = match output {
                    _ if output == input => 0.0,
                    Shape::Vector(width) => dense(width),
                    Shape::Sequence { channels, .. } => convolution(1, channels),
                };
                Size { weights: inner.weights + past, values: inner.values + 2.0 * number(output.size()) }
            }
            _ => own(0.0),
        };
        Ok((size, output))
    }

    /// What comes out if `input` goes in.
    ///
    /// # Errors
    /// What is wrong with the layer, or with its place.
    pub fn output(&self, input: Shape) -> Result<Shape, String> {
        match self {
            Self::Dense { width } => Ok(Shape::Vector(width_of(*width, "width of a dense layer")?)),
            Self::Conv { filters, kernel, stride } => {
                let (_, length) = input.sequence("conv")?;
                width_of(*filters, "filters of a conv layer")?;
                if at_least_one(*kernel, "kernel of a conv layer")? > length {
                    return Err(format!("a kernel of {kernel} does not fit into {length} pixels"));
                }
                at_least_one(*stride, "stride of a conv layer")?;
                Ok(Shape::Sequence { channels: *filters, length: length.div_ceil(*stride) })
            }
            Self::MaxPool { size } | Self::MeanPool { size } => {
                let (channels, length) = input.sequence("a pool")?;
                match length / at_least_one(*size, "size of a pool")? {
                    0 => Err(format!("a pool of {size} does not fit into {length} pixels")),
                    length => Ok(Shape::Sequence { channels, length }),
                }
            }
            Self::Norm | Self::Relu | Self::Gelu | Self::Silu | Self::Tanh => Ok(input),
            Self::Dropout { rate } if (0.0..1.0).contains(rate) => Ok(input),
            Self::Dropout { .. } => Err("rate of a dropout layer must be from 0 to below 1".into()),
            Self::Attention(attention) => Ok(Shape::Vector(attention.output(input)?)),
            Self::Residual { layers } => {
                let output = output_of(layers, input)?;
                let length = |shape: Shape| match shape {
                    Shape::Sequence { length, .. } => Some(length),
                    Shape::Vector(_) => None,
                };
                match length(output).is_none_or(|_| length(output) == length(input)) {
                    true => Ok(output),
                    false => Err("a residual block must not shorten the spectrum; pool after it".into()),
                }
            }
        }
    }
}

/// Whether any of several layers attends to patches.
pub fn attend(layers: &[LayerConfig]) -> bool {
    layers.iter().any(|layer| match layer {
        LayerConfig::Attention(_) => true,
        LayerConfig::Residual { layers } => attend(layers),
        _ => false,
    })
}

/// What comes out of several layers.
///
/// # Errors
/// What is wrong with the first that cannot be.
pub fn output_of(layers: &[LayerConfig], input: Shape) -> Result<Shape, String> {
    layers.iter().try_fold(input, |shape, layer| layer.output(shape))
}

/// A layer with its weights; from and to [n_stars, channels, length], a vector being one channel.
#[derive(Module, Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has a handful of layers, and Burn's modules are not boxed")]
pub enum Layer {
    /// See [`LayerConfig::Dense`].
    Dense(Linear),
    /// See [`LayerConfig::Conv`].
    Conv(Conv1d),
    /// See [`LayerConfig::MaxPool`].
    MaxPool(MaxPool1d),
    /// See [`LayerConfig::MeanPool`].
    MeanPool(AvgPool1d),
    /// See [`LayerConfig::Norm`].
    Norm(GroupNorm),
    /// One of the functions of single numbers.
    Elementwise(Elementwise),
    /// See [`LayerConfig::Dropout`].
    Dropout(Dropout),
    /// See [`LayerConfig::Attention`].
    Attention(Encoder),
    /// See [`LayerConfig::Residual`].
    Residual(Residual),
}

/// A function of single numbers.
#[derive(Module, Debug)]
pub struct Elementwise {
    #[module(skip)]
    function: Function,
}

#[derive(Debug, Clone, Copy)]
enum Function {
    Relu,
    Gelu,
    Silu,
    Tanh,
}

/// Random silence.
#[derive(Module, Debug)]
pub struct Dropout {
    rate: f64,
}

/// A block and the way past it.
#[derive(Module, Debug)]
pub struct Residual {
    layers: Vec<Layer>,
    /// A linear map of the input, where its shape is not that of the output; else nothing.
    past: Vec<Layer>,
}

impl Layer {
    /// Makes a layer with random weights, and the shape of what it passes on. `wavelength`, `[n_pixels]`, is that of the spectrum.
    ///
    /// # Panics
    /// If the layer does not fit its input; [`LayerConfig::output`] tells.
    pub fn new(
        config: &LayerConfig,
        input: Shape,
        wavelength: &[f64],
        random: &mut impl Rng,
        compute: &Compute,
    ) -> (Self, Shape) {
        let output = config.output(input).expect("the configuration was checked");
        let elementwise = |function| Self::Elementwise(Elementwise { function });
        let layer = match config {
            LayerConfig::Dense { width } => Self::Dense(dense(input.size(), *width, 2.0, random, compute)),
            LayerConfig::Conv { filters, kernel, stride } => {
                let (channels, _) = input.dims();
                Self::Conv(convolution([channels, *filters, *kernel, *stride], random, compute))
            }
            LayerConfig::MaxPool { size } => Self::MaxPool(MaxPool1dConfig::new(*size).with_stride(*size).init()),
            LayerConfig::MeanPool { size } => Self::MeanPool(AvgPool1dConfig::new(*size).with_stride(*size).init()),
            LayerConfig::Norm => Self::Norm(norm(input.dims().0, compute)),
            LayerConfig::Relu => elementwise(Function::Relu),
            LayerConfig::Gelu => elementwise(Function::Gelu),
            LayerConfig::Silu => elementwise(Function::Silu),
            LayerConfig::Tanh => elementwise(Function::Tanh),
            LayerConfig::Dropout { rate } => Self::Dropout(Dropout { rate: *rate }),
            LayerConfig::Attention(attention) => {
                Self::Attention(Encoder::new(attention, input, wavelength, random, compute))
            }
            LayerConfig::Residual { layers } => {
                let (layers, _) = stack(layers, input, wavelength, random, compute);
                let past = (output != input).then(|| match output {
                    Shape::Vector(width) => Self::Dense(dense(input.size(), width, 1.0, random, compute)),
                    Shape::Sequence { channels, .. } => {
                        Self::Conv(convolution([input.dims().0, channels, 1, 1], random, compute))
                    }
                });
                Self::Residual(Residual { layers, past: past.into_iter().collect() })
            }
        };
        (layer, output)
    }

    /// What the layer makes of its input.
    pub fn forward(&self, input: Tensor<3>, pass: &Pass) -> Tensor<3> {
        match self {
            Self::Dense(linear) => linear.forward(input.flatten::<2>(1, 2)).unsqueeze_dim(1),
            Self::Conv(conv) => conv.forward(input),
            Self::MaxPool(pool) => pool.forward(input),
            Self::MeanPool(pool) => pool.forward(input),
            Self::Norm(norm) => norm.forward(input),
            Self::Elementwise(Elementwise { function }) => match function {
                Function::Relu => activation::relu(input),
                Function::Gelu => activation::gelu(input),
                Function::Silu => activation::silu(input),
                Function::Tanh => activation::tanh(input),
            },
            Self::Dropout(Dropout { rate }) => pass.dropped(input, *rate),
            Self::Attention(encoder) => encoder.forward(input, pass),
            Self::Residual(Residual { layers, past }) => {
                through(layers, input.clone(), pass) + through(past, input, pass)
            }
        }
    }
}

/// Layers with random weights, one after the other, and the shape of what the last passes on.
pub fn stack(
    configs: &[LayerConfig],
    input: Shape,
    wavelength: &[f64],
    random: &mut impl Rng,
    compute: &Compute,
) -> (Vec<Layer>, Shape) {
    let mut shape = input;
    let mut next = |config| {
        let (layer, output) = Layer::new(config, shape, wavelength, random, compute);
        shape = output;
        layer
    };
    let layers = configs.iter().map(&mut next).collect();
    (layers, shape)
}

/// What several layers make of an input.
pub fn through(layers: &[Layer], input: Tensor<3>, pass: &Pass) -> Tensor<3> {
    layers.iter().fold(input, |values, layer| layer.forward(values, pass))
}
