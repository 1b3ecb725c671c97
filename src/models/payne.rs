//! The Payne: a network from labels (and what else shapes a spectrum) to flux, through a few principal components.
//!
//! Ting et al. 2019, ApJ 879, 69, train one small network per pixel; here one network gives the coefficients of principal
//! components of the flux, so that a fit can sum up a spectrum's pixels once, as it does for The Cannon.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Tensor, activation};
use rand::{Rng, RngExt};

use super::{FluxPrediction, LabelTerms, SpectralModel, TermExpansion, TermPullBack};
use crate::device::Compute;

/// Scaled inputs to component coefficients: hidden layers with SiLU, and a linear map past them.
///
/// ```text
/// h_0 = u,   h_i = silu(h_(i-1) W_i + b_i),   c = h_last W + b + u S
/// ```
#[derive(Module, Debug)]
pub struct Network {
    layers: Vec<Linear>,
    /// The linear map past the hidden layers; it has no bias of its own.
    skip: Linear,
}

impl Network {
    /// A network that begins as the linear map `skip`, [n_inputs, n_outputs] row-major: its last layer is nil, the hidden
    /// ones are drawn at random.
    pub fn from_linear(
        n_inputs: usize,
        hidden: &[usize],
        n_outputs: usize,
        skip: &[f64],
        random: &mut impl Rng,
        compute: &Compute,
    ) -> Self {
        let widths: Vec<usize> = [&[n_inputs], hidden, &[n_outputs]].concat();
        let last = widths.len() - 2;
        let layers = widths
            .windows(2)
            .enumerate()
            .map(|(index, width)| {
                let (rows, columns) = (width[0], width[1]);
                // Uniform with variance 1 / n_inputs of the layer, which keeps the signal's size from layer to layer.
                let bound = (3.0 / rows as f64).sqrt();
                let mut draw = || if index == last { 0.0 } else { random.random_range(-bound..bound) };
                let weight: Vec<f64> = (0..rows * columns).map(|_| draw()).collect();
                let bias = Param::from_tensor(compute.tensor(&vec![0.0; columns], [columns]));
                linear(&weight, [rows, columns], Some(bias), compute)
            })
            .collect();
        Self { layers, skip: linear(skip, [n_inputs, n_outputs], None, compute) }
    }

    /// A copy of the network elsewhere, in that place's precision.
    pub fn brought(&self, compute: &Compute) -> Self {
        let layer = |layer: &Linear| Linear {
            weight: Param::from_tensor(compute.bring(layer.weight.val())),
            bias: layer.bias.as_ref().map(|bias| Param::from_tensor(compute.bring(bias.val()))),
        };
        Self { layers: self.layers.iter().map(layer).collect(), skip: layer(&self.skip) }
    }

    /// Coefficients, [n_stars, n_outputs], of scaled inputs, [n_stars, n_inputs].
    pub fn forward(&self, scaled_inputs: Tensor<2>) -> Tensor<2> {
        let (last, hidden) = self.layers.split_last().expect("a network has layers");
        let top = hidden.iter().fold(scaled_inputs.clone(), |h, layer| activation::silu(layer.forward(h)));
        last.forward(top) + self.skip.forward(scaled_inputs)
    }

    /// Number of inputs.
    pub fn n_inputs(&self) -> usize {
        self.skip.weight.dims()[0]
    }

    /// Shapes of all weights, to compare a file with.
    pub fn shapes(&self) -> Vec<Vec<usize>> {
        let layers = self.layers.iter().chain([&self.skip]);
        layers
            .flat_map(|layer| {
                [Some(layer.weight.dims().to_vec()), layer.bias.as_ref().map(|bias| bias.dims().to_vec())]
            })
            .flatten()
            .collect()
    }

    /// One sweep through the network that keeps what derivatives of any order two need.
    fn sweep(&self, scaled_inputs: Tensor<2>) -> Sweep {
        let [n_stars, n_inputs] = scaled_inputs.dims();
        let (last, hidden) = self.layers.split_last().expect("a network has layers");
        let mut h = scaled_inputs.clone();
        // d h / d u of all stars and inputs as one matrix, [n_stars * n_inputs, width]; the identity is left out at first.
        let mut slope: Option<Tensor<2>> = None;
        let through = |slope: Option<Tensor<2>>, layer: &Linear| match slope {
            Some(slope) => slope.matmul(layer.weight.val()),
            None => layer.weight.val().unsqueeze::<3>().repeat_dim(0, n_stars).flatten(0, 1),
        };
        let mut layers = Vec::with_capacity(hidden.len());
        for layer in hidden {
            let a = layer.forward(h);
            let width = a.dims()[1];
            let gate = activation::sigmoid(a.clone());
            let complement = gate.clone().neg() + 1.0;
            let product = gate.clone() * complement.clone();
            // silu' = g + a g (1 - g),   silu'' = g (1 - g) (2 + a (1 - 2 g))
            let first = gate.clone() + a.clone() * product.clone();
            let second = product * (a.clone() * (complement - gate.clone()) + 2.0);
            let slope_of_a = through(slope, layer).reshape([n_stars, n_inputs, width]);
            let slope_of_h = slope_of_a.clone() * first.clone().unsqueeze_dim(1);
            slope = Some(slope_of_h.reshape([n_stars * n_inputs, width]));
            h = a * gate;
            layers.push(SweptLayer { weight: layer.weight.val(), slope: slope_of_a, first, second });
        }
        let n_outputs = last.weight.dims()[1];
        let derivative = through(slope, last).reshape([n_stars, n_inputs, n_outputs]);
        Sweep {
            coefficients: last.forward(h) + self.skip.forward(scaled_inputs),
            derivative: derivative + self.skip.weight.val().unsqueeze(),
            layers,
            last: last.weight.val(),
        }
    }
}

/// What a sweep through a [`Network`] leaves behind.
struct Sweep {
    /// [n_stars, n_outputs]
    coefficients: Tensor<2>,
    /// [n_stars, n_inputs, n_outputs]
    derivative: Tensor<3>,
    layers: Vec<SweptLayer>,
    /// Weight of the last layer, [width, n_outputs].
    last: Tensor<2>,
}

/// A hidden layer `h = silu(a)` at the stars' inputs.
struct SweptLayer {
    weight: Tensor<2>,
    /// d a / d u, [n_stars, n_inputs, width].
    slope: Tensor<3>,
    /// silu'(a) and silu''(a), [n_stars, width] each.
    first: Tensor<2>,
    second: Tensor<2>,
}

/// Hessian of `sum_q weights_q c_q(u)`, [n_stars, n_inputs, n_inputs]: back through the layers, each adding its curvature.
///
/// ```text
/// H = sum_layers (da/du)^T diag(d phi/dh silu''(a)) (da/du)
/// ```
fn curvature_of(layers: Vec<SweptLayer>, last: Tensor<2>, weights: Tensor<2>) -> Option<Tensor<3>> {
    let mut back = weights.matmul(last.transpose());
    let mut sum: Option<Tensor<3>> = None;
    for layer in layers.into_iter().rev() {
        let weighted = layer.slope.clone() * (back.clone() * layer.second).unsqueeze_dim(1);
        let part = weighted.matmul(layer.slope.swap_dims(1, 2));
        sum = Some(sum.map_or(part.clone(), |sum| sum + part));
        back = (back * layer.first).matmul(layer.weight.transpose());
    }
    sum
}

fn linear(weight: &[f64], shape: [usize; 2], bias: Option<Param<Tensor<1>>>, compute: &Compute) -> Linear {
    Linear { weight: Param::from_tensor(compute.tensor(weight, shape)), bias }
}

impl LabelTerms for Network {
    fn terms(&self, scaled_labels: Tensor<2>) -> Tensor<2> {
        let wide = scaled_labels.dtype();
        let narrow = self.skip.weight.val().dtype();
        with_constant(self.forward(scaled_labels.cast(narrow)).cast(wide))
    }

    fn expand(&self, scaled_labels: Tensor<2>) -> TermExpansion {
        let wide = scaled_labels.dtype();
        let narrow = self.skip.weight.val().dtype();
        let sweep = self.sweep(scaled_labels.cast(narrow));
        let derivative = sweep.derivative.cast(wide).swap_dims(1, 2);
        let [n_stars, n_outputs, n_inputs] = derivative.dims();
        let options = (&derivative.device(), wide);
        let straight = Tensor::zeros([n_stars, n_inputs, n_inputs], options);
        let constant = Tensor::zeros([n_stars, 1, n_inputs], options);
        let (layers, last) = (sweep.layers, sweep.last);
        TermExpansion {
            terms: with_constant(sweep.coefficients.cast(wide)),
            derivative: Tensor::cat(vec![constant, derivative], 1),
            bend: Box::new(move |weights| {
                let weights = weights.narrow(1, 1, n_outputs).reshape([n_stars, n_outputs]).cast(narrow);
                curvature_of(layers, last, weights).map_or(straight, |curvature| curvature.cast(wide))
            }),
        }
    }

    fn pull_back(&self, scaled_labels: Tensor<2>) -> TermPullBack {
        pull_back(self, scaled_labels)
    }
}

/// One forward sweep, and one back per gradient.
fn pull_back(network: &Network, scaled_inputs: Tensor<2>) -> TermPullBack {
    let wide = scaled_inputs.dtype();
    let narrow = network.skip.weight.val().dtype();
    let inputs = scaled_inputs.cast(narrow);
    let (last, hidden) = network.layers.split_last().expect("a network has layers");
    let mut h = inputs.clone();
    let mut swept = Vec::with_capacity(hidden.len());
    for layer in hidden {
        let a = layer.forward(h);
        let gate = activation::sigmoid(a.clone());
        // silu' = g + a g (1 - g)
        let first = gate.clone() + a.clone() * gate.clone() * (gate.clone().neg() + 1.0);
        swept.push((layer.weight.val(), first));
        h = a * gate;
    }
    let coefficients = last.forward(h) + network.skip.forward(inputs);
    let (last, skip) = (last.weight.val(), network.skip.weight.val());
    let gradient = move |weights: Tensor<2>| {
        let weights = weights.cast(narrow);
        let top = weights.clone().matmul(last.transpose());
        let through =
            |back: Tensor<2>, (weight, first): (Tensor<2>, Tensor<2>)| (back * first).matmul(weight.transpose());
        (swept.into_iter().rev().fold(top, through) + weights.matmul(skip.transpose())).cast(wide)
    };
    TermPullBack { terms: with_constant(coefficients.cast(wide)), gradient: Box::new(gradient) }
}

/// The column of ones before the coefficients.
fn with_constant(coefficients: Tensor<2>) -> Tensor<2> {
    let [n_stars, _] = coefficients.dims();
    let options = (&coefficients.device(), coefficients.dtype());
    Tensor::cat(vec![Tensor::ones([n_stars, 1], options), coefficients], 1)
}

/// A trained emulator of model spectra.
///
/// ```text
/// f_nj = mean_j + sum_q c_q(u_n) components_qj,   error variance s2_j
/// ```
#[derive(Module, Debug)]
pub struct Payne {
    /// Scaled inputs to coefficients.
    pub network: Network,
    /// Mean flux of the models, `[n_pixels]`.
    pub mean: Param<Tensor<1>>,
    /// Coefficients to flux; its weight are principal components of the flux, [n_components, n_pixels].
    pub components: Linear,
    /// Mean square of the error on models held out of training, `[n_pixels]`.
    pub s2: Param<Tensor<1>>,
}

impl Payne {
    /// An emulator with every weight nil, to be filled from a file.
    pub fn nil(n_inputs: usize, hidden: &[usize], n_components: usize, n_pixels: usize, compute: &Compute) -> Self {
        let zeros = |n: usize| vec![0.0; n];
        let nil = |rows: usize, columns: usize, bias: bool| {
            let bias = bias.then(|| Param::from_tensor(compute.tensor(&zeros(columns), [columns])));
            linear(&zeros(rows * columns), [rows, columns], bias, compute)
        };
        let widths: Vec<usize> = [&[n_inputs], hidden, &[n_components]].concat();
        let layers = widths.windows(2).map(|width| nil(width[0], width[1], true)).collect();
        Self {
            network: Network { layers, skip: nil(n_inputs, n_components, false) },
            mean: Param::from_tensor(compute.tensor(&zeros(n_pixels), [n_pixels])),
            components: nil(n_components, n_pixels, false),
            s2: Param::from_tensor(compute.tensor(&zeros(n_pixels), [n_pixels])),
        }
    }

    /// Widths of the hidden layers.
    pub fn hidden(&self) -> Vec<usize> {
        let (_, hidden) = self.network.layers.split_last().expect("a network has layers");
        hidden.iter().map(|layer| layer.weight.dims()[1]).collect()
    }

    /// Number of principal components.
    pub fn n_components(&self) -> usize {
        self.components.weight.dims()[0]
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.mean.dims()[0]
    }

    /// Numbers in the network, the components and the mean.
    pub fn n_parameters(&self) -> usize {
        let network: usize = self.network.shapes().iter().map(|shape| shape.iter().product::<usize>()).sum();
        network + (self.n_components() + 1) * self.n_pixels()
    }

    /// Mean flux above the components, [1 + n_components, n_pixels]: the flux is this matrix under the network's terms.
    pub fn theta(&self) -> Tensor<2> {
        Tensor::cat(vec![self.mean.val().unsqueeze(), self.components.weight.val()], 0)
    }
}

impl SpectralModel for Payne {
    fn predict_flux(&self, scaled_labels: Tensor<2>) -> FluxPrediction {
        let depth = self.network.forward(scaled_labels).matmul(self.components.weight.val());
        FluxPrediction { mean: depth + self.mean.val().unsqueeze(), variance: self.s2.val().unsqueeze() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Precision, to_f64};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn network(compute: &Compute) -> Network {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let skip: Vec<f64> = (0..6).map(|i| 0.1 * f64::from(i)).collect();
        let mut network = Network::from_linear(3, &[7, 5], 2, &skip, &mut random, compute);
        let last = network.layers.last_mut().unwrap();
        last.weight =
            Param::from_tensor(compute.tensor(&(0..10).map(|i| f64::from(i).cos()).collect::<Vec<_>>(), [5, 2]));
        network
    }

    #[test]
    fn a_new_network_is_the_linear_map_it_was_given() {
        let compute = Compute::flex(Precision::F64);
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let network = Network::from_linear(2, &[4], 2, &[1.0, 2.0, 3.0, 4.0], &mut random, &compute);
        let out = to_f64(network.forward(compute.tensor(&[1.0, 10.0], [1, 2])));
        assert_eq!(out, [31.0, 42.0]);
    }

    #[test]
    fn derivatives_agree_with_finite_differences_and_autodiff() {
        let compute = Compute::flex(Precision::F64);
        let network = network(&compute);
        let at = [0.3, -0.7, 1.1, -0.2, 0.5, 0.9];
        let expansion = network.expand(compute.tensor(&at, [2, 3]));
        let analytic = to_f64(expansion.derivative.clone());
        let weights = compute.tensor(&[9.0, 0.7, -1.3, 9.0, 0.2, 0.4], [2, 3, 1]);
        let bend = to_f64((expansion.bend)(weights.clone()));
        let step = 1e-6;
        for input in 0..3 {
            let shifted = |sign: f64| {
                let mut at = at;
                at[input] += sign * step;
                at[3 + input] += sign * step;
                to_f64(network.terms(compute.tensor(&at, [2, 3])))
            };
            for (index, (up, down)) in shifted(1.0).iter().zip(shifted(-1.0)).enumerate() {
                // Central differences of order-one functions: h^2 and rounding / h are both below 1e-9.
                assert!((analytic[index * 3 + input] - (up - down) / (2.0 * step)).abs() < 1e-8);
            }
            // The Hessian's row is the difference of the weighted gradient, [n_stars, n_inputs].
            let gradient = |sign: f64| {
                let mut at = at;
                at[input] += sign * step;
                at[3 + input] += sign * step;
                to_f64((network.expand(compute.tensor(&at, [2, 3])).derivative * weights.clone()).sum_dim(1))
            };
            for (index, (up, down)) in gradient(1.0).iter().zip(gradient(-1.0)).enumerate() {
                let (star, other) = (index / 3, index % 3);
                assert!((bend[(star * 3 + other) * 3 + input] - (up - down) / (2.0 * step)).abs() < 1e-8);
            }
        }
        let recording = compute.autodiff();
        let input = recording.tensor(&at, [2, 3]).require_grad();
        let output = self::network(&recording).forward(input.clone()).narrow(1, 1, 1).sum();
        let gradient = to_f64(input.grad(&output.backward()).unwrap());
        for (index, gradient) in gradient.iter().enumerate() {
            let (star, input) = (index / 3, index % 3);
            assert!((analytic[(star * 3 + 2) * 3 + input] - gradient).abs() < 1e-12);
        }
    }
}
