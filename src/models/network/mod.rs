//! Networks that read labels straight off a spectrum: the discriminative direction.

pub mod architecture;
pub mod attention;
mod first_weights;
pub mod input;
pub mod layers;
pub mod pass;
pub mod shape;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use rand::Rng;

use crate::device::Compute;
use crate::spectra::batch::SpectraBatch;
use architecture::Architecture;
use first_weights::dense;
use input::SpectrumInput;
use layers::{Layer, stack, through};
use pass::{Drops, Pass};

/// Smallest and largest logarithm of a variance (of scaled labels) that a network may give.
const LN_VARIANCE: (f64, f64) = (-14.0, 6.0);

/// Spectrum to scaled labels, and to the variances it expects of them where it was asked to.
#[derive(Module, Debug)]
pub struct Network {
    /// Treatment of the spectrum.
    pub input: SpectrumInput,
    layers: Vec<Layer>,
    /// From the last layer to labels, and to logarithms of variances behind them.
    head: Linear,
    n_labels: usize,
}

/// What a network makes of spectra.
#[derive(Debug, Clone)]
pub struct NetworkOutput {
    /// Scaled labels, [n_stars, n_labels].
    pub labels: Tensor<2>,
    /// Natural logarithm of the variance of each, [n_stars, n_labels].
    pub ln_variance: Option<Tensor<2>>,
}

impl Network {
    /// A network for spectra of these wavelengths, `[n_pixels]`, with random weights; it begins by answering near 0: the mean
    /// labels of the training stars.
    pub fn new(
        input: SpectrumInput,
        architecture: &Architecture,
        wavelength: &[f64],
        n_labels: usize,
        with_variance: bool,
        random: &mut impl Rng,
        compute: &Compute,
    ) -> Self {
        /// Variance of the first answers.
        const FIRST_GAIN: f64 = 0.1;
        let (layers, shape) = stack(&architecture.layers(), input.shape(), wavelength, random, compute);
        let n_outputs = if with_variance { 2 * n_labels } else { n_labels };
        Self { input, layers, head: dense(shape.size(), n_outputs, FIRST_GAIN, random, compute), n_labels }
    }

    /// Number of labels.
    pub fn n_labels(&self) -> usize {
        self.n_labels
    }

    /// Whether it gives variances.
    pub fn with_variance(&self) -> bool {
        self.head.weight.dims()[1] > self.n_labels
    }

    /// Labels of the stars of a batch; `fill`, [n_stars, n_pixels], stands for masked flux, or else the mean.
    pub fn forward(&self, spectra: &SpectraBatch, fill: Option<Tensor<2>>, drops: Drops) -> NetworkOutput {
        self.read(self.input.forward(spectra, fill), drops)
    }

    /// Labels from what [`SpectrumInput::forward`] made of spectra, [n_stars, channels, length].
    pub fn read(&self, input: Tensor<3>, drops: Drops) -> NetworkOutput {
        let masked = self.input.masked_pixels(&input);
        let top = through(&self.layers, input, &Pass { drops, masked });
        let output = self.head.forward(top.flatten::<2>(1, 2));
        let n_labels = self.n_labels;
        if !self.with_variance() {
            return NetworkOutput { labels: output, ln_variance: None };
        }
        let ln_variance = output.clone().narrow(1, n_labels, n_labels).clamp(LN_VARIANCE.0, LN_VARIANCE.1);
        NetworkOutput { labels: output.narrow(1, 0, n_labels), ln_variance: Some(ln_variance) }
    }
}
