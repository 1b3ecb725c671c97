//! What goes with the values through all layers: which pixels are masked, and whether anything is dropped.

use burn::tensor::{Bool, Distribution, Tensor};

/// Whether dropout layers drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drops {
    /// Nothing is dropped: the network's one answer.
    None,
    /// In training, and for every sample of Monte-Carlo dropout.
    Random,
}

/// One pass through the layers.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Whether dropout layers drop.
    pub drops: Drops,
    /// Which pixels of the spectrum carry no information, [n_stars, n_pixels]; none where the input does not tell.
    pub masked: Option<Tensor<2, Bool>>,
}

impl Pass {
    /// The values, a random part of them nil and the others larger by as much, where anything drops.
    pub(super) fn dropped(&self, values: Tensor<3>, rate: f64) -> Tensor<3> {
        if self.drops == Drops::None || rate == 0.0 {
            return values;
        }
        let kept = 1.0 - rate;
        let mask = values.random_like(Distribution::Bernoulli(kept));
        values * mask / kept
    }
}
