//! Attention between the patches of a spectrum: an encoder (Vaswani et al. 2017) of patches (Dosovitskiy et al. 2021).

use std::f64::consts::TAU;

use burn::module::{Module, Param};
use burn::nn::attention::{MhaInput, MultiHeadAttention};
use burn::nn::{DropoutConfig, LayerNorm, Linear, activation::Gelu};
use burn::tensor::{Bool, Tensor, activation};
use rand::Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::first_weights::{dense, layer_norm, uniform};
use super::pass::Pass;
use super::shape::{MOST_WIDTH, Shape, Size, at_least_one, width_of};
use crate::device::Compute;

/// `{ attention = { ... } }` of a list of layers, and `[...architecture.transformer]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
    /// Neighbouring pixels of a patch.
    #[schemars(range(min = 1))]
    pub patch: usize,
    /// Numbers that stand for a patch.
    #[schemars(range(min = 1, max = MOST_WIDTH))]
    pub width: usize,
    /// Whether all patches are embedded by the same weights, as in images; else each by its own, a pixel being always the same
    /// wavelength.
    pub shared: bool,
    /// Blocks of attention and a dense layer, one after the other.
    #[schemars(range(min = 1, max = 100))]
    pub blocks: usize,
    /// Ways in which a patch attends to others, each with its share of the width.
    #[schemars(range(min = 1))]
    pub heads: usize,
    /// Width of the dense layer of a block.
    #[schemars(range(min = 1, max = MOST_WIDTH))]
    pub hidden: usize,
    /// Part of what each block adds that is dropped in training, and wherever Monte-Carlo dropout samples.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub dropout: f64,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { patch: 49, width: 64, shared: false, blocks: 2, heads: 4, hidden: 128, dropout: 0.0 }
    }
}

impl AttentionConfig {
    /// Numbers that come out if `input` goes in.
    ///
    /// # Errors
    /// What is wrong with the layer, or with its place.
    pub(super) fn output(&self, input: Shape) -> Result<usize, String> {
        let (_, length) = input.sequence("attention")?;
        if at_least_one(self.patch, "patch of an attention layer")? > length {
            return Err(format!("a patch of {} does not fit into {length} pixels", self.patch));
        }
        width_of(self.width, "width of an attention layer")?;
        width_of(self.hidden, "hidden of an attention layer")?;
        at_least_one(self.heads, "heads of an attention layer")?;
        if !self.width.is_multiple_of(self.heads) {
            return Err(format!(
                "width of an attention layer must be a multiple of its heads, and {} is none of {}",
                self.width, self.heads
            ));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return Err("dropout of an attention layer must be from 0 to below 1".into());
        }
        match self.blocks {
            0..=100 => Ok(self.width),
            _ => Err("blocks of an attention layer must be at most 100".into()),
        }
    }

    /// What the layer takes of memory.
    pub(super) fn size(&self, input: Shape) -> Size {
        let number = |n: usize| n as f64;
        let (channels, length) = input.dims();
        let (patches, width, hidden) = (number(length.div_ceil(self.patch)), number(self.width), number(self.hidden));
        let embeddings = if self.shared { 1.0 } else { patches };
        let embedding = embeddings * (number(channels * self.patch) + 1.0) * width + patches * width;
        let block = 4.0 * (width + 1.0) * width + (2.0 * hidden + 5.0) * width + hidden;
        // Of a block: norms, queries, keys, values, context, sums; scores and weights of every pair; the dense layer.
        let passing = patches * (10.0 * width + 2.0 * hidden) + 3.0 * number(self.heads) * patches * patches;
        Size {
            weights: embedding + number(self.blocks) * block + 2.0 * width,
            values: number(channels * length) + 3.0 * patches * width + number(self.blocks) * passing,
        }
    }
}

/// An attention layer with its weights.
///
/// ```text
/// t_p = W_p x_p + b_p + position_p                  patch p, pixels side by side
/// t   = t + attention(norm(t)),   t = t + V gelu(U norm(t))      for each block
/// out = mean of norm(t_p) over all patches that are not wholly masked
/// ```
///
/// Wholly masked patches are attended to by none. Position is a Fourier series of the logarithm of the wavelength, and free to
/// move in training.
#[derive(Module, Debug)]
pub struct Encoder {
    /// [n_embeddings, channels * patch, width]
    embedding: Param<Tensor<3>>,
    /// [n_embeddings, 1, width]
    bias: Param<Tensor<3>>,
    /// [n_patches, width]
    position: Param<Tensor<2>>,
    blocks: Vec<Block>,
    last_norm: LayerNorm,
    patch: usize,
}

#[derive(Module, Debug)]
struct Block {
    attention_norm: LayerNorm,
    attention: MultiHeadAttention,
    dense_norm: LayerNorm,
    inner: Linear,
    outer: Linear,
    dropout: f64,
}

impl Encoder {
    /// A layer with random weights, for sequences that go along spectra of these wavelengths, `[n_pixels]`.
    pub(super) fn new(
        config: &AttentionConfig,
        input: Shape,
        wavelength: &[f64],
        random: &mut impl Rng,
        compute: &Compute,
    ) -> Self {
        let AttentionConfig { patch, width, shared, .. } = *config;
        let (channels, length) = input.dims();
        let n_patches = length.div_ceil(patch);
        let n_embeddings = if shared { 1 } else { n_patches };
        let n_inputs = channels * patch;
        let embedding = uniform(n_embeddings * n_inputs * width, 1.0 / n_inputs as f64, random);
        let position = position(&places(wavelength, n_patches), width);
        Self {
            embedding: Param::from_tensor(compute.tensor_f32(embedding, [n_embeddings, n_inputs, width])),
            bias: Param::from_tensor(compute.tensor_f32(vec![0.0; n_embeddings * width], [n_embeddings, 1, width])),
            position: Param::from_tensor(compute.tensor_f32(position, [n_patches, width])),
            blocks: (0..config.blocks).map(|_| Block::new(config, random, compute)).collect(),
            last_norm: layer_norm(width, compute),
            patch,
        }
    }

    /// One vector for each star, [n_stars, 1, width], of a sequence, [n_stars, channels, length].
    pub(super) fn forward(&self, input: Tensor<3>, pass: &Pass) -> Tensor<3> {
        let [n_stars, _, length] = input.dims();
        let masked = self.masked_patches(pass, n_stars, length, &input);
        let mut patches = self.embedded(input);
        for block in &self.blocks {
            patches = block.forward(patches, &masked, pass);
        }
        let patches = self.last_norm.forward(patches);
        let known = masked.bool_not().float().cast(patches.dtype()).unsqueeze_dim::<3>(2);
        (patches * known.clone()).sum_dim(1) / known.sum_dim(1).clamp_min(1.0)
    }

    /// [n_stars, n_patches, width]
    fn embedded(&self, input: Tensor<3>) -> Tensor<3> {
        let [n_stars, channels, length] = input.dims();
        let [n_patches, _] = self.position.dims();
        let whole = lengthened(input, n_patches * self.patch - length);
        let patches = whole.reshape([n_stars, channels, n_patches, self.patch]).permute([2, 0, 1, 3]);
        let patches = patches.reshape([n_patches, n_stars, channels * self.patch]);
        let [n_embeddings, n_inputs, width] = self.embedding.dims();
        let embedded = if n_embeddings == n_patches {
            patches.matmul(self.embedding.val()) + self.bias.val()
        } else {
            let all =
                patches.reshape([1, n_patches * n_stars, n_inputs]).matmul(self.embedding.val()) + self.bias.val();
            all.reshape([n_patches, n_stars, width])
        };
        embedded.swap_dims(0, 1) + self.position.val().unsqueeze::<3>()
    }

    /// Which patches are wholly masked, [n_stars, n_patches]; none where the input does not tell.
    fn masked_patches(&self, pass: &Pass, n_stars: usize, length: usize, input: &Tensor<3>) -> Tensor<2, Bool> {
        let [n_patches, _] = self.position.dims();
        let Some(masked) = &pass.masked else {
            return Tensor::<2>::zeros([n_stars, n_patches], (&input.device(), input.dtype())).greater_elem(0.5);
        };
        // Pixels of the spectrum that a number of the sequence stands for; pools and strides have shortened it.
        let [_, n_pixels] = masked.dims();
        let pixels = self.patch * ((2 * n_pixels + length) / (2 * length)).max(1);
        let known = masked.clone().bool_not().float().cast(input.dtype()).unsqueeze_dim::<3>(1);
        let known = known.narrow(2, 0, n_pixels.min(n_patches * pixels));
        let [_, _, n_known] = known.dims();
        let known = lengthened(known, n_patches * pixels - n_known).reshape([n_stars, n_patches, pixels]);
        known.max_dim(2).flatten::<2>(1, 2).lower_elem(0.5)
    }
}

impl Block {
    fn new(config: &AttentionConfig, random: &mut impl Rng, compute: &Compute) -> Self {
        /// Of what is added to the patches: little at first.
        const ADDED: f64 = 0.25;
        let AttentionConfig { width, heads, hidden, dropout, .. } = *config;
        let mut linear = |gain: f64| dense(width, width, gain, random, compute);
        let attention = MultiHeadAttention {
            query: linear(1.0),
            key: linear(1.0),
            value: linear(1.0),
            output: linear(ADDED),
            // The block drops by itself, in samples of a trained network, too.
            dropout: DropoutConfig::new(0.0).init(),
            activation: Gelu::new(),
            d_model: width,
            n_heads: heads,
            d_k: width / heads,
            min_float: -1e4,
            quiet_softmax: false,
        };
        Self {
            attention_norm: layer_norm(width, compute),
            attention,
            dense_norm: layer_norm(width, compute),
            inner: dense(width, hidden, 2.0, random, compute),
            outer: dense(hidden, width, ADDED, random, compute),
            dropout,
        }
    }

    fn forward(&self, patches: Tensor<3>, masked: &Tensor<2, Bool>, pass: &Pass) -> Tensor<3> {
        let asked = MhaInput::self_attn(self.attention_norm.forward(patches.clone())).mask_pad(masked.clone());
        let patches = patches + pass.dropped(self.attention.forward(asked).context, self.dropout);
        let hidden = activation::gelu(self.inner.forward(self.dense_norm.forward(patches.clone())));
        patches + pass.dropped(self.outer.forward(hidden), self.dropout)
    }
}

/// A sequence, [n_stars, channels, length], with so many nils behind it.
fn lengthened(values: Tensor<3>, by: usize) -> Tensor<3> {
    if by == 0 {
        return values;
    }
    let [n_stars, channels, _] = values.dims();
    let nils = Tensor::<3>::zeros([n_stars, channels, by], (&values.device(), values.dtype()));
    Tensor::cat(vec![values, nils], 2)
}

/// Where patches lie between the first and the last pixel, 0 to 1, by the logarithms of their middle wavelengths; by pixel
/// numbers where there are no wavelengths.
fn places(wavelength: &[f64], n_patches: usize) -> Vec<f64> {
    let is_positive = wavelength.iter().all(|wavelength| *wavelength > 0.0);
    let at = |pixel: usize| if is_positive { wavelength[pixel].ln() } else { wavelength[pixel] };
    let last = wavelength.len() - 1;
    let range = at(last) - at(0);
    let middle = |patch: usize| ((2 * patch + 1) * wavelength.len() / (2 * n_patches)).min(last);
    (0..n_patches).map(|patch| if range == 0.0 { 0.5 } else { (at(middle(patch)) - at(0)) / range }).collect()
}

/// Sines and cosines of places, [n_patches, width], from half a wave over all patches to one in two of them.
fn position(places: &[f64], width: usize) -> Vec<f32> {
    let fastest = (places.len() as f64 / 2.0).max(1.0);
    let n_waves = width.div_ceil(2);
    let waves = |wave: usize| 0.5 * (2.0 * fastest).powf(wave as f64 / (n_waves - 1).max(1) as f64);
    let of = |place: f64, index: usize| {
        let angle = TAU * waves(index / 2) * place;
        if index.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    places.iter().flat_map(|place| (0..width).map(|index| of(*place, index) as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::pass::Drops;
    use super::*;
    use crate::device::{Precision, to_bool, to_f64};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const LENGTH: usize = 46;

    fn encoder(config: &AttentionConfig, compute: &Compute) -> Encoder {
        let wavelength: Vec<f64> = (0..LENGTH).map(|pixel| 15_000.0 * (1e-4 * pixel as f64).exp()).collect();
        let input = Shape::Sequence { channels: 2, length: LENGTH };
        Encoder::new(config, input, &wavelength, &mut ChaCha8Rng::seed_from_u64(4), compute)
    }

    fn config(shared: bool) -> AttentionConfig {
        AttentionConfig { patch: 8, width: 12, shared, blocks: 2, heads: 3, hidden: 10, dropout: 0.0 }
    }

    /// Two stars, [2, 2, LENGTH] row by row: flux and mask channel. Pixels 5 to 25 of the second are masked: half of the first patch,
    /// the second, the third and two pixels of the fourth.
    fn stars() -> (Vec<f64>, Vec<bool>) {
        let is_masked = |star: usize, pixel: usize| star == 1 && (5..26).contains(&pixel);
        let flux = |star: usize, pixel: usize| ((3 + star) as f64 * pixel as f64 * 0.7).sin();
        let mut values = Vec::new();
        for star in 0..2 {
            values.extend((0..LENGTH).map(|pixel| if is_masked(star, pixel) { 0.0 } else { flux(star, pixel) }));
            values.extend((0..LENGTH).map(|pixel| f64::from(u8::from(is_masked(star, pixel)))));
        }
        (values, (0..2 * LENGTH).map(|index| is_masked(index / LENGTH, index % LENGTH)).collect())
    }

    fn pass(masked: &[bool], compute: &Compute) -> Pass {
        let values: Vec<f64> = masked.iter().map(|masked| f64::from(u8::from(*masked))).collect();
        let masked = compute.tensor(&values, [values.len() / LENGTH, LENGTH]).greater_elem(0.5);
        Pass { drops: Drops::None, masked: Some(masked) }
    }

    fn answer(encoder: &Encoder, values: &[f64], masked: &[bool], compute: &Compute) -> Vec<f64> {
        let input = compute.tensor(values, [values.len() / (2 * LENGTH), 2, LENGTH]);
        to_f64(encoder.forward(input, &pass(masked, compute)))
    }

    #[test]
    fn wholly_masked_patches_are_attended_to_by_none() {
        let compute = Compute::flex(Precision::F64);
        let (values, masked) = stars();
        for shared in [false, true] {
            let encoder = encoder(&config(shared), &compute);
            let input = compute.tensor(&values, [2, 2, LENGTH]);
            let found = to_bool(encoder.masked_patches(&pass(&masked, &compute), 2, LENGTH, &input));
            assert_eq!(found, [[false; 6], [false, true, true, false, false, false]].concat());
            let before = answer(&encoder, &values, &masked, &compute);
            let mut other = values.clone();
            // Whatever stands in the second and the third patch of the second star, in both channels.
            for channel in 0..2 {
                (8..24).for_each(|pixel| other[(2 + channel) * LENGTH + pixel] = 99.0 + pixel as f64);
            }
            assert_eq!(answer(&encoder, &other, &masked, &compute), before);
            other[2 * LENGTH + 30] += 0.1;
            assert_ne!(answer(&encoder, &other, &masked, &compute), before);
            // A star alone gets what it gets beside others.
            let alone = answer(&encoder, &values[2 * LENGTH..], &masked[LENGTH..], &compute);
            assert!(alone.iter().zip(&before[12..]).all(|(a, b)| (a - b).abs() < 1e-12));
            // And one without any data a number.
            let nothing = answer(&encoder, &values[2 * LENGTH..], &[true; LENGTH], &compute);
            assert!(nothing.iter().all(|value| *value == 0.0), "{nothing:?}");
        }
    }

    /// The same weights for all patches know them apart by position alone.
    #[test]
    fn position_tells_patches_apart() {
        let compute = Compute::flex(Precision::F64);
        let mut encoder = encoder(&config(true), &compute);
        let flux = |pixel: usize| if (8..16).contains(&pixel) { (pixel as f64).cos() } else { 0.0 };
        let star = |moved: usize| -> Vec<f64> {
            (0..2 * LENGTH).map(|index| if index >= moved { flux(index - moved) } else { 0.0 }).collect()
        };
        let apart = |encoder: &Encoder| {
            let of = |moved: usize| answer(encoder, &star(moved), &[false; LENGTH], &compute);
            of(0).iter().zip(of(16)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        assert!(apart(&encoder) > 1e-3);
        encoder.position = Param::from_tensor(encoder.position.val() * 0.0);
        assert!(apart(&encoder) < 1e-12);
    }

    #[test]
    fn positions_follow_the_logarithm_of_the_wavelength() {
        let wavelength: Vec<f64> = (0..90).map(|pixel| 100.0 * (0.01 * f64::from(pixel)).exp()).collect();
        let even = places(&wavelength, 3);
        assert!(even.iter().zip([15.0, 45.0, 75.0]).all(|(place, pixel)| (place - pixel / 89.0).abs() < 1e-12));
        assert_eq!(places(&[0.0, 1.0, 2.0], 3), [0.0, 0.5, 1.0]);
        assert_eq!(places(&[7.0], 1), [0.5]);
        let waves = position(&even, 5);
        assert_eq!(waves.len(), 15);
        assert!(waves.iter().all(|value| value.abs() <= 1.0));
        assert!(waves[..5] != waves[5..10] && waves[5..10] != waves[10..]);
    }

    #[test]
    fn gradients_are_finite_differences_and_nil_in_masked_patches() {
        let compute = Compute::flex(Precision::F64);
        let recording = compute.autodiff();
        let (values, masked) = stars();
        let loss = |output: Tensor<3>| output.powf_scalar(3.0).sum();
        for shared in [false, true] {
            let plain = encoder(&config(shared), &compute);
            let value = |values: &[f64]| {
                let input = compute.tensor(values, [2, 2, LENGTH]);
                to_f64(loss(plain.forward(input, &pass(&masked, &compute))))[0]
            };
            let recorded = encoder(&config(shared), &recording);
            let input = recording.tensor(&values, [2, 2, LENGTH]).require_grad();
            let output = recorded.forward(input.clone(), &pass(&masked, &recording));
            let gradients = loss(output).backward();
            let gradient = to_f64(input.grad(&gradients).unwrap());
            for index in [0, 17, LENGTH - 1, LENGTH + 3, 2 * LENGTH + 2, 2 * LENGTH + 26, 3 * LENGTH + 30] {
                const STEP: f64 = 1e-5;
                let moved = |by: f64| {
                    let mut moved = values.clone();
                    moved[index] += by;
                    value(&moved)
                };
                let difference = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                assert!((gradient[index] - difference).abs() < 1e-6 * (1.0 + difference.abs()), "{index}");
            }
            assert!((8..24).all(|pixel| gradient[2 * LENGTH + pixel] == 0.0));
            assert!(gradient[17] != 0.0);
        }
    }

    /// A pooled sequence has fewer numbers than the spectrum has pixels.
    #[test]
    fn masks_follow_where_the_sequence_was_shortened() {
        let compute = Compute::flex(Precision::F32);
        let config = AttentionConfig { patch: 4, ..config(false) };
        for (n_pixels, length, masked_to) in [(46, 23, 16), (45, 23, 16), (46, 15, 24)] {
            let input = Shape::Sequence { channels: 1, length };
            let wavelength: Vec<f64> = (1..=n_pixels).map(f64::from).collect();
            let encoder = Encoder::new(&config, input, &wavelength, &mut ChaCha8Rng::seed_from_u64(1), &compute);
            let values: Vec<f64> = (0..n_pixels).map(|pixel| f64::from(u8::from(pixel < masked_to))).collect();
            let masked = compute.tensor(&values, [1, n_pixels as usize]).greater_elem(0.5);
            let pass = Pass { drops: Drops::None, masked: Some(masked) };
            let sequence = compute.tensor(&vec![0.0; length], [1, 1, length]);
            let found = to_bool(encoder.masked_patches(&pass, 1, length, &sequence));
            assert_eq!(found.iter().filter(|masked| **masked).count(), 2, "{n_pixels} {length}");
            assert!(found[0] && found[1]);
        }
    }
}
