//! What a network sees of a spectrum: how masked pixels, units and the number of inputs are dealt with.

use burn::module::{Module, Param};
use burn::tensor::{Bool, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::shape::Shape;
use crate::spectra::batch::SpectraBatch;

/// `[models.<name>.network.input]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InputConfig {
    /// What stands for masked pixels.
    pub masked: Masked,
    /// Whether a second channel says which pixels are masked.
    pub mask_channel: bool,
    /// Principal components of the training spectra in place of pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub components: Option<ComponentsConfig>,
}

impl Default for InputConfig {
    fn default() -> Self {
        Self { masked: Masked::Mean, mask_channel: true, components: None }
    }
}

/// What stands for the flux of masked pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Masked {
    /// The mean spectrum of the training stars, which is nil to the network.
    Mean,
    /// The spectrum that a Cannon, trained on the same stars, fits to the pixels that are left.
    Cannon,
}

/// `[...input.components]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ComponentsConfig {
    /// How many.
    #[schemars(range(min = 1, max = 5000))]
    pub count: usize,
    /// Power to which each component is divided by its own spread: 0 leaves the spectrum's proportions, 1 makes all equal.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub whitening: f64,
    /// Whether training may turn the components.
    pub trainable: bool,
}

impl Default for ComponentsConfig {
    fn default() -> Self {
        Self { count: 150, whitening: 0.5, trainable: false }
    }
}

/// Flux to network input: (flux - mean) / unit where there is information, nil elsewhere.
#[derive(Module, Debug)]
pub struct SpectrumInput {
    /// Mean spectrum of the training stars, [1, n_pixels].
    pub mean: Param<Tensor<2>>,
    /// What one unit of input is in flux, [1, n_pixels].
    pub unit: Param<Tensor<2>>,
    /// Components, scaled, [n_pixels, n_components].
    pub components: Option<Param<Tensor<2>>>,
    /// Whether there is a mask channel.
    pub mask_channel: bool,
}

impl SpectrumInput {
    /// What the layers get, [n_stars, channels, length].
    ///
    /// The flux of masked pixels counts nowhere; `fill`, [n_stars, n_pixels], or else the mean stands in its place.
    pub fn forward(&self, spectra: &SpectraBatch, fill: Option<Tensor<2>>) -> Tensor<3> {
        let deviation = deviation(spectra, fill, self.mean.val()) / self.unit.val();
        match &self.components {
            Some(components) => deviation.matmul(components.val()).unsqueeze_dim(1),
            None if self.mask_channel => {
                let masked = masked(spectra).float().cast(spectra.flux.dtype());
                Tensor::stack(vec![deviation, masked], 1)
            }
            None => deviation.unsqueeze_dim(1),
        }
    }

    /// Which pixels carry no information, [n_stars, n_pixels], as the mask channel of what [`Self::forward`] made says.
    pub fn masked_pixels(&self, input: &Tensor<3>) -> Option<Tensor<2, Bool>> {
        let has_channel = self.mask_channel && self.components.is_none();
        has_channel.then(|| input.clone().narrow(1, 1, 1).flatten::<2>(1, 2).greater_elem(0.5))
    }

    /// The shape of it for one star.
    pub fn shape(&self) -> Shape {
        match &self.components {
            Some(components) => Shape::Vector(components.dims()[1]),
            None => {
                let channels = if self.mask_channel { 2 } else { 1 };
                Shape::Sequence { channels, length: self.mean.dims()[1] }
            }
        }
    }
}

/// Which pixels carry no information, [n_stars, n_pixels].
pub fn masked(spectra: &SpectraBatch) -> Tensor<2, Bool> {
    spectra.ivar.clone().lower_equal_elem(0.0)
}

/// Flux above a mean spectrum, [1, n_pixels]; where it is masked, that of the fill, or nil.
pub fn deviation(spectra: &SpectraBatch, fill: Option<Tensor<2>>, mean: Tensor<2>) -> Tensor<2> {
    match fill {
        Some(fill) => spectra.flux.clone().mask_where(masked(spectra), fill) - mean,
        None => (spectra.flux.clone() - mean).mask_fill(masked(spectra), 0.0),
    }
}
