//! Named architectures: each is nothing but a list of layers, which an experiment may also write down itself.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attention::AttentionConfig;
use super::layers::LayerConfig;
use super::shape::MOST_WIDTH;

/// `[models.<name>.network.architecture]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Architecture {
    /// Labels as a linear function of the input.
    Linear,
    /// Dense layers.
    Mlp(Mlp),
    /// Convolutions, one pool, dense layers: the form of StarNet (Fabbro et al. 2018, MNRAS 475, 2978, section 3).
    Starnet(Starnet),
    /// Convolutions with a way past them (He et al. 2016), pooled between.
    ResidualCnn(ResidualCnn),
    /// A small convolutional network with dropout everywhere, to be sampled: the form of Leung & Bovy 2019 (MNRAS 483,
    /// 3255, section 3), who let it give a variance beside every label.
    Bayesian(Bayesian),
    /// Patches of pixels that attend to each other: an encoder (Vaswani et al. 2017) of patches (Dosovitskiy et al. 2021).
    Transformer(AttentionConfig),
    /// Layers in the order written.
    Layers(Vec<LayerConfig>),
}

impl Default for Architecture {
    fn default() -> Self {
        Self::Mlp(Mlp::default())
    }
}

/// `[...architecture.mlp]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Mlp {
    /// Widths of the hidden layers.
    #[schemars(inner(range(min = 1, max = MOST_WIDTH)))]
    pub hidden: Vec<usize>,
    /// Part of the hidden values dropped in training.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
    /// Whether a linear map of the input is added past the hidden layers.
    pub skip: bool,
}

impl Default for Mlp {
    fn default() -> Self {
        Self { hidden: vec![512, 256], dropout: 0.0, skip: false }
    }
}

/// `[...architecture.starnet]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Starnet {
    /// Filters of each convolution.
    #[schemars(inner(range(min = 1, max = MOST_WIDTH)))]
    pub filters: Vec<usize>,
    /// Pixels a kernel covers.
    #[schemars(range(min = 1))]
    pub kernel: usize,
    /// Neighbours pooled.
    #[schemars(range(min = 1))]
    pub pool: usize,
    /// Widths of the dense layers.
    #[schemars(inner(range(min = 1, max = MOST_WIDTH)))]
    pub hidden: Vec<usize>,
}

impl Default for Starnet {
    fn default() -> Self {
        Self { filters: vec![4, 16], kernel: 8, pool: 4, hidden: vec![256, 128] }
    }
}

/// `[...architecture.residual-cnn]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResidualCnn {
    /// Channels of each stage; a stage is one residual block and a pool.
    #[schemars(inner(range(min = 1, max = MOST_WIDTH)))]
    pub channels: Vec<usize>,
    /// Pixels a kernel covers.
    #[schemars(range(min = 1))]
    pub kernel: usize,
    /// Step of the first convolution, which shortens the spectrum once for all.
    #[schemars(range(min = 1))]
    pub stride: usize,
    /// Neighbours pooled after each stage.
    #[schemars(range(min = 1))]
    pub pool: usize,
    /// Widths of the dense layers.
    #[schemars(inner(range(min = 1, max = MOST_WIDTH)))]
    pub hidden: Vec<usize>,
}

impl Default for ResidualCnn {
    fn default() -> Self {
        Self { channels: vec![8, 16], kernel: 7, stride: 2, pool: 4, hidden: vec![128] }
    }
}

/// `[...architecture.bayesian]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bayesian {
    /// Filters of each convolution.
    #[schemars(inner(range(min = 1, max = MOST_WIDTH)))]
    pub filters: Vec<usize>,
    /// Pixels a kernel covers.
    #[schemars(range(min = 1))]
    pub kernel: usize,
    /// Neighbours pooled.
    #[schemars(range(min = 1))]
    pub pool: usize,
    /// Widths of the dense layers.
    #[schemars(inner(range(min = 1, max = MOST_WIDTH)))]
    pub hidden: Vec<usize>,
    /// Part of the values dropped after every layer, in training and in every sample.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
}

impl Default for Bayesian {
    fn default() -> Self {
        Self { filters: vec![2, 4], kernel: 8, pool: 4, hidden: vec![192, 96], dropout: 0.1 }
    }
}

impl Architecture {
    /// The layers between a network's input and its output.
    pub fn layers(&self) -> Vec<LayerConfig> {
        use LayerConfig::{Conv, Dense, Dropout, MaxPool, Norm, Relu, Residual, Silu};
        let conv = |filters: usize, kernel: usize, stride: usize| Conv { filters, kernel, stride };
        let dense_relu = |widths: &[usize]| -> Vec<LayerConfig> {
            widths.iter().flat_map(|width| [Dense { width: *width }, Relu]).collect()
        };
        match self {
            Self::Linear => Vec::new(),
            Self::Mlp(mlp) => {
                let layers = mlp.hidden.iter().flat_map(|width| {
                    let dropout = (mlp.dropout > 0.0).then_some(Dropout { rate: mlp.dropout });
                    [Dense { width: *width }, Silu].into_iter().chain(dropout)
                });
                if mlp.skip { vec![Residual { layers: layers.collect() }] } else { layers.collect() }
            }
            Self::Starnet(net) => {
                let between = |layer: usize| if layer == 0 { None } else { Some(Relu) };
                let convolutions = (net.filters.iter().enumerate())
                    .flat_map(|(layer, filters)| between(layer).into_iter().chain([conv(*filters, net.kernel, 1)]));
                // max(relu(x)) = relu(max(x)), of which the latter is less work.
                convolutions.chain([MaxPool { size: net.pool }, Relu]).chain(dense_relu(&net.hidden)).collect()
            }
            Self::ResidualCnn(net) => {
                let first = net.channels.first().copied().unwrap_or(1);
                let mut layers = vec![conv(first, net.kernel, net.stride)];
                for channels in &net.channels {
                    let half = || [Norm, Relu, conv(*channels, net.kernel, 1)];
                    layers.push(Residual { layers: half().into_iter().chain(half()).collect() });
                    layers.push(MaxPool { size: net.pool });
                }
                layers.extend([Norm, Relu]);
                layers.extend(dense_relu(&net.hidden));
                layers
            }
            Self::Bayesian(net) => {
                let dropout = || Dropout { rate: net.dropout };
                let convolutions =
                    net.filters.iter().flat_map(|filters| [conv(*filters, net.kernel, 1), Relu, dropout()]);
                let dense = net.hidden.iter().flat_map(|width| [Dense { width: *width }, Relu, dropout()]);
                convolutions.chain([MaxPool { size: net.pool }]).chain(dense).collect()
            }
            Self::Transformer(attention) => vec![LayerConfig::Attention(attention.clone())],
            Self::Layers(layers) => layers.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::layers::output_of;
    use super::super::shape::Shape;
    use super::*;

    /// What each makes of an APOGEE spectrum with a mask channel: numbers per star before the head.
    #[test]
    fn defaults_fit_an_apogee_spectrum() {
        let input = Shape::Sequence { channels: 2, length: 8575 };
        let width = |architecture: Architecture| output_of(&architecture.layers(), input).unwrap();
        assert_eq!(width(Architecture::Linear), input);
        assert_eq!(width(Architecture::default()), Shape::Vector(256));
        assert_eq!(width(Architecture::Starnet(Starnet::default())), Shape::Vector(128));
        assert_eq!(width(Architecture::ResidualCnn(ResidualCnn::default())), Shape::Vector(128));
        assert_eq!(width(Architecture::Bayesian(Bayesian::default())), Shape::Vector(96));
        assert_eq!(width(Architecture::Transformer(AttentionConfig::default())), Shape::Vector(64));
    }
}
