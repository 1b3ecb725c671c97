//! Kernel ridge regression in closed form, every choice made by leaving each training star out in turn.

use burn::module::Param;
use burn::tensor::Tensor;
use nalgebra::{DMatrix, DVector};
use ndarray::{Array2, ArrayView1, Axis};
use serde::{Deserialize, Serialize};

use super::label_regression::LabelledSpectra;
use super::principal_components::principal_components;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::network::input::{deviation, masked, mean_spectrum};
use crate::models::ridge::{Kernel, PixelWeights, Ridge, RidgeConfig};
use crate::models::vectorizer::Vectorizer;
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::labels::LabelScaler;
use crate::stats::robust::{mean, median, robust_scatter};

/// Fewest stars a regression can choose its settings with.
const FEWEST_STARS: usize = 10;
/// Ridge strengths tried, in units of the kernel's mean eigenvalue: powers of ten from here ...
const WEAKEST: f64 = -8.0;
/// ... to here,
const STRONGEST: f64 = 2.0;
/// so many.
const N_STRENGTHS: usize = 41;
/// Residuals beyond so many robust deviations count as so many: some catalogue labels are wrong.
const MOST_DEVIATIONS: f64 = 2.5;
/// Rounds in which such labels are drawn towards what the others say.
const ROUNDS: usize = 4;
/// Components of what masked pixels hide, at most.
const HIDDEN_COMPONENTS: usize = 48;

/// What training chose, for the run's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RidgeReport {
    /// Stars that trained.
    pub n_stars: usize,
    /// Ridge strength of each label, in units of the kernel's mean eigenvalue.
    pub strength: Vec<f64>,
    /// Kernel width of each label, in units of the median distance of two training stars; empty where the kernel is linear.
    pub width: Vec<f64>,
    /// Effective number of free parameters of each label: the trace of the matrix that takes labels to estimates.
    pub degrees_of_freedom: Vec<f64>,
    /// Robust scatter of each label's leave-one-out residuals, in the label's unit.
    pub leave_one_out_scatter: Vec<f64>,
}

/// A regression and what it says of each training star without that star's help.
#[derive(Debug, Clone)]
pub struct TrainedByClosedForm {
    /// The regression.
    pub ridge: Ridge,
    /// Scaled labels of each star by the regression of all others, [n_stars, n_labels].
    pub leave_one_out: Array2<f64>,
    /// What was chosen.
    pub report: RidgeReport,
}

/// Trains on stars that have all their labels.
///
/// Labels y of training spectra with kernel matrix K are regressed by `alpha = (K + strength I)^-1 (y - mean)`; the estimate of
/// star i by all others is `y_i - alpha_i / [(K + strength I)^-1]_ii`, so that strength and width of every label are chosen by
/// leave-one-out errors at no cost beyond one decomposition of K. A constant is added to K: an intercept that is hardly
/// penalized, without which a mean spectrum that knows every star would make their errors vanish. Wrong labels are drawn towards what the others say (Huber's pseudo-values), and count little in the choice.
///
/// # Errors
/// [`Error::TooFewStars`].
pub fn train(
    config: &RidgeConfig,
    stars: &LabelledSpectra,
    scaler: &LabelScaler,
    seed: u64,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<TrainedByClosedForm> {
    let n_stars = stars.flux.nrows();
    if n_stars < FEWEST_STARS {
        return Err(Error::TooFewStars {
            stage: "training a ridge regression".into(),
            n_stars,
            needed: FEWEST_STARS,
            remedy: "widen the selection".into(),
        });
    }
    let spectra = SpectraBatch::new(stars.flux.view(), stars.ivar.view(), compute);
    let upload = |fill: &Array2<f32>| compute.tensor_f32(fill.iter().copied().collect(), [n_stars, fill.ncols()]);
    let fill = stars.fill.as_ref().map(upload);
    let mean_flux = mean_spectrum(&spectra);
    let deviations = deviation(&spectra, fill.clone(), mean_flux.clone());
    let labels = scaler.scale(stars.labels.view());
    let pixel_weights = pixel_weights(config.pixels, stars, &labels, &deviations, compute);
    let weighted = deviations.clone() * pixel_weights.clone();
    let kernels = kernels(config, &weighted);
    let mut chosen: Vec<(usize, Choice)> = Vec::with_capacity(scaler.n_labels());
    progress.start("decomposing kernels", kernels.len());
    let decompose = |(_, _, kernel): &(f64, f64, DMatrix<f64>)| {
        let decomposed = Decomposed::new(kernel);
        progress.advance(1);
        decomposed
    };
    let decomposed: Vec<Decomposed> = kernels.iter().map(decompose).collect();
    progress.finish();
    for column in labels.axis_iter(Axis(1)) {
        let label = DVector::from_iterator(n_stars, column.iter().copied());
        let choices = decomposed.iter().enumerate().map(|(index, kernel)| (index, kernel.choose(&label)));
        let best = choices.min_by(|a, b| a.1.loss.total_cmp(&b.1.loss));
        chosen.push(best.expect("there is at least one kernel"));
    }

    let n_labels = scaler.n_labels();
    let dual: Vec<f64> =
        (0..n_stars).flat_map(|star| chosen.iter().map(move |(_, choice)| choice.weights[star])).collect();
    let dual = compute.tensor(&dual, [n_stars, n_labels]);
    let of_kernel = |value: fn(&(f64, f64, DMatrix<f64>)) -> f64| -> Vec<f64> {
        chosen.iter().map(|(index, _)| value(&kernels[*index])).collect()
    };
    let row = |values: Vec<f64>| Param::from_tensor(compute.tensor(&values, [1, values.len()]));
    let is_linear = config.kernel == Kernel::Linear;
    let ridge = Ridge {
        mean: Param::from_tensor(mean_flux),
        pixel_weights: Param::from_tensor(pixel_weights),
        weights: Param::from_tensor(if is_linear { weighted.clone().transpose().matmul(dual) } else { dual }),
        anchors: (!is_linear).then(|| Param::from_tensor(weighted)),
        sharpness: row(of_kernel(|(_, sharpness, _)| *sharpness)),
        intercept: row(chosen.iter().map(|(_, choice)| choice.intercept).collect()),
        hidden: Param::from_tensor(hidden(&spectra, fill, deviations, seed, compute)),
    };
    let leave_one_out = Array2::from_shape_fn((n_stars, n_labels), |(star, k)| chosen[k].1.left_out[star]);
    let scatter = |k: usize| {
        let residuals = &leave_one_out.column(k) - &labels.column(k);
        robust_scatter(&residuals.to_vec()) * scaler.scale[k]
    };
    let report = RidgeReport {
        n_stars,
        strength: chosen.iter().map(|(_, choice)| choice.strength).collect(),
        width: if is_linear { Vec::new() } else { of_kernel(|(width, _, _)| *width) },
        degrees_of_freedom: chosen.iter().map(|(_, choice)| choice.degrees_of_freedom).collect(),
        leave_one_out_scatter: (0..n_labels).map(scatter).collect(),
    };
    Ok(TrainedByClosedForm { ridge, leave_one_out, report })
}

/// What deviations are multiplied with, [1, n_pixels]: all together then have mean square one.
fn pixel_weights(
    weights: PixelWeights,
    stars: &LabelledSpectra,
    scaled_labels: &Array2<f64>,
    deviations: &Tensor<2>,
    compute: &Compute,
) -> Tensor<2> {
    let n_pixels = stars.flux.ncols();
    let inverse_error = |ivar: ArrayView1<f32>| {
        let known: Vec<f64> = ivar.iter().filter(|ivar| **ivar > 0.0).map(|ivar| f64::from(*ivar)).collect();
        if known.is_empty() { 0.0 } else { median(&known).sqrt() }
    };
    let own = match weights {
        PixelWeights::Equal => vec![1.0; n_pixels],
        PixelWeights::Noise | PixelWeights::Response => stars.ivar.columns().into_iter().map(inverse_error).collect(),
    };
    let mut own = compute.tensor(&own, [1, n_pixels]);
    if weights == PixelWeights::Response {
        own = own.powf_scalar(1.5) * response(scaled_labels, deviations, compute).sqrt();
    }
    let spread = to_f64((deviations.clone() * own.clone()).powf_scalar(2.0).mean())[0].sqrt();
    own / spread.max(f64::MIN_POSITIVE)
}

/// How much scaled labels move the flux of each pixel at the mean labels, [1, n_pixels]: the root of the sum of the squares of
/// its slopes, by least squares with a quadratic function.
fn response(scaled_labels: &Array2<f64>, deviations: &Tensor<2>, compute: &Compute) -> Tensor<2> {
    let (n_stars, n_labels) = scaled_labels.dim();
    let vectorizer = Vectorizer::new(n_labels, 2);
    let labels: Vec<f64> = scaled_labels.iter().copied().collect();
    let terms = to_f64(vectorizer.design_matrix(Compute::small_systems().tensor(&labels, [n_stars, n_labels])));
    let n_terms = vectorizer.n_terms();
    let design = DMatrix::from_row_slice(n_stars, n_terms, &terms);
    // A touch of a ridge: labels may go together without exception, and stars may be few.
    let normal = design.tr_mul(&design) + DMatrix::identity(n_terms, n_terms) * (1e-6 * n_stars as f64);
    let solution = normal.cholesky().map_or_else(|| design.transpose(), |cholesky| cholesky.solve(&design.transpose()));
    let slopes = solution.rows(1, n_labels).transpose();
    compute.tensor(slopes.as_slice(), [n_labels, n_stars]).matmul(deviations.clone()).powf_scalar(2.0).sum_dim(0).sqrt()
}

/// Kernel matrices of all training stars with each other, with their widths and sharpnesses.
fn kernels(config: &RidgeConfig, weighted: &Tensor<2>) -> Vec<(f64, f64, DMatrix<f64>)> {
    let n_stars = weighted.dims()[0];
    let products = DMatrix::from_vec(n_stars, n_stars, to_f64(weighted.clone().matmul(weighted.clone().transpose())));
    if config.kernel == Kernel::Linear {
        return vec![(f64::NAN, 0.0, products)];
    }
    let distance = |a: usize, b: usize| (products[(a, a)] + products[(b, b)] - 2.0 * products[(a, b)]).max(0.0);
    let pairs: Vec<f64> = (0..n_stars).flat_map(|a| (0..a).map(move |b| (a, b))).map(|(a, b)| distance(a, b)).collect();
    let typical = median(&pairs).max(f64::MIN_POSITIVE);
    let kernel = |width: &f64| {
        let sharpness = 0.5 / (width * width * typical);
        (*width, sharpness, DMatrix::from_fn(n_stars, n_stars, |a, b| (-sharpness * distance(a, b)).exp()))
    };
    config.widths.iter().map(kernel).collect()
}

/// A kernel matrix by its eigenvectors.
struct Decomposed {
    eigenvalues: DVector<f64>,
    eigenvectors: DMatrix<f64>,
    /// Squares of the eigenvectors' components.
    squares: DMatrix<f64>,
    /// Ridge strengths to try.
    strengths: Vec<f64>,
    /// Unit of the strengths.
    unit: f64,
    /// What was added to every element of the kernel.
    constant: f64,
}

/// The best strength for one label.
struct Choice {
    strength: f64,
    intercept: f64,
    weights: DVector<f64>,
    left_out: DVector<f64>,
    loss: f64,
    degrees_of_freedom: f64,
}

impl Decomposed {
    fn new(kernel: &DMatrix<f64>) -> Self {
        /// Variance of the intercept in units of the mean eigenvalue.
        const INTERCEPT: f64 = 10.0;
        let unit = kernel.diagonal().mean().max(f64::MIN_POSITIVE);
        let constant = INTERCEPT * unit;
        let eigen = kernel.add_scalar(constant).symmetric_eigen();
        // Rounding makes eigenvalues of nil negative.
        let eigenvalues = eigen.eigenvalues.map(|value| value.max(0.0));
        let power = |i: usize| WEAKEST + (STRONGEST - WEAKEST) * i as f64 / (N_STRENGTHS - 1) as f64;
        let strengths = (0..N_STRENGTHS).map(|i| unit * 10_f64.powf(power(i))).collect();
        let squares = eigen.eigenvectors.component_mul(&eigen.eigenvectors);
        Self { eigenvalues, eigenvectors: eigen.eigenvectors, squares, strengths, unit, constant }
    }

    /// Weights of the training stars, and diagonal of (K + strength I)^-1.
    fn solve(&self, label: &DVector<f64>, strength: f64) -> (DVector<f64>, DVector<f64>) {
        let inverse = self.eigenvalues.map(|value| 1.0 / (value + strength));
        let coefficients = self.eigenvectors.tr_mul(label).component_mul(&inverse);
        (&self.eigenvectors * coefficients, &self.squares * inverse)
    }

    fn choose(&self, label: &DVector<f64>) -> Choice {
        let n_stars = label.len();
        let mut trusted = label.clone();
        let mut best: Option<Choice> = None;
        for _ in 0..ROUNDS {
            let intercept = mean(trusted.as_slice());
            let centred = trusted.map(|value| value - intercept);
            let trials: Vec<(f64, DVector<f64>, DVector<f64>)> = (self.strengths.iter())
                .map(|strength| {
                    let (weights, diagonal) = self.solve(&centred, *strength);
                    let left_out = &trusted - weights.component_div(&diagonal);
                    (*strength, weights, left_out)
                })
                .collect();
            // One limit for all, or the strength with the widest errors would forgive itself most.
            let scatter = |left_out: &DVector<f64>| robust_scatter((left_out - label).as_slice());
            let limit = MOST_DEVIATIONS * trials.iter().map(|(_, _, left)| scatter(left)).fold(f64::INFINITY, f64::min);
            let limited = |residual: f64| residual.clamp(-limit, limit);
            let loss = |left_out: &DVector<f64>| (left_out - label).map(|r| limited(r).powi(2)).mean();
            let losses: Vec<f64> = trials.iter().map(|(_, _, left_out)| loss(left_out)).collect();
            let index = (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap_or(0);
            let (strength, weights, left_out) = trials.into_iter().nth(index).expect("every strength was tried");
            trusted = DVector::from_fn(n_stars, |star, _| left_out[star] + limited(label[star] - left_out[star]));
            let degrees_of_freedom = self.eigenvalues.map(|value| value / (value + strength)).sum();
            let (loss, strength) = (losses[index], strength / self.unit);
            let intercept = intercept + self.constant * weights.sum();
            best = Some(Choice { strength, intercept, weights, left_out, loss, degrees_of_freedom });
        }
        best.expect("there is at least one round")
    }
}

/// Leading components of what nobody knows of a masked pixel: the deviations from what stands for it, where stars were seen.
fn hidden(
    spectra: &SpectraBatch,
    fill: Option<Tensor<2>>,
    deviations: Tensor<2>,
    seed: u64,
    compute: &Compute,
) -> Tensor<2> {
    let unknown = match fill {
        Some(fill) => (spectra.flux.clone() - fill).mask_fill(masked(spectra), 0.0),
        None => deviations,
    };
    let [n_stars, n_pixels] = unknown.dims();
    let count = HIDDEN_COMPONENTS.min(n_stars / 2).min(n_pixels);
    let directions = principal_components(&unknown, count, seed, compute);
    let spread = unknown.matmul(directions.clone().transpose()).powf_scalar(2.0).mean_dim(0).sqrt();
    directions * spread.transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::progress::Silent;
    use crate::spectra::grid::WavelengthGrid;
    use crate::stats::normal::draw as normal;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const N_PIXELS: usize = 60;

    /// Stars whose two labels move the flux, the first not evenly; some labels of the second are wrong.
    fn stars(grid: &WavelengthGrid, n: usize, wrong: f64, seed: u64) -> (LabelledSpectra<'_>, Array2<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(77);
        let slopes = Array2::from_shape_fn((2, N_PIXELS), |_| 0.05 * normal(&mut rng));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let truth = Array2::from_shape_fn((n, 2), |_| normal(&mut rng));
        let flux = Array2::from_shape_fn((n, N_PIXELS), |(star, j)| {
            let (a, b) = (truth[[star, 0]], truth[[star, 1]]);
            let clean = 0.8 + slopes[[0, j]] * a * (1.0 + 0.15 * a) + slopes[[1, j]] * b;
            (clean + 0.01 * normal(&mut rng)) as f32
        });
        let ivar = Array2::from_shape_fn((n, N_PIXELS), |_| if rng.random_range(0.0..1.0) < 0.03 { 0.0 } else { 1e4 });
        let labels = Array2::from_shape_fn((n, 2), |(star, k)| {
            let is_wrong = k == 1 && rng.random_range(0.0..1.0) < wrong;
            truth[[star, k]] + 0.02 * normal(&mut rng) + if is_wrong { 3.0 } else { 0.0 }
        });
        let label_errors = Array2::from_elem((n, 2), f64::NAN);
        (LabelledSpectra { grid, flux, ivar, fill: None, labels, label_errors }, truth)
    }

    fn scaler() -> LabelScaler {
        LabelScaler { names: vec!["a".into(), "b".into()], pivot: vec![0.0, 0.1], scale: vec![1.0, 2.0] }
    }

    fn linear() -> RidgeConfig {
        RidgeConfig { kernel: Kernel::Linear, ..RidgeConfig::default() }
    }

    fn rms(residuals: impl Iterator<Item = f64>) -> f64 {
        mean(&residuals.map(|residual| residual * residual).collect::<Vec<f64>>()).sqrt()
    }

    #[test]
    fn left_out_estimates_are_those_of_regressions_without_the_star() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let rows = DMatrix::from_fn(25, 8, |_, _| normal(&mut rng));
        let kernel = &rows * rows.transpose();
        let decomposed = Decomposed::new(&kernel);
        let kernel = kernel.add_scalar(decomposed.constant);
        let label = DVector::from_fn(25, |_, _| normal(&mut rng));
        for strength in [1e-3, 0.5, 20.0] {
            let (weights, diagonal) = decomposed.solve(&label, strength);
            for star in [0, 11, 24] {
                let others: Vec<usize> = (0..25).filter(|other| *other != star).collect();
                let small = DMatrix::from_fn(24, 24, |a, b| {
                    kernel[(others[a], others[b])] + if a == b { strength } else { 0.0 }
                });
                let target = DVector::from_fn(24, |a, _| label[others[a]]);
                let alpha = small.cholesky().unwrap().solve(&target);
                let estimate: f64 = (0..24).map(|a| kernel[(star, others[a])] * alpha[a]).sum();
                let short = label[star] - weights[star] / diagonal[star];
                assert!((short - estimate).abs() < 1e-8 * estimate.abs().max(1.0), "{strength}, star {star}");
            }
        }
    }

    #[test]
    fn labels_come_back_and_leave_one_out_errors_are_those_of_new_stars() {
        let compute = Compute::flex(Precision::F32);
        let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
        let (training, _) = stars(&grid, 300, 0.0, 1);
        let (new, truth) = stars(&grid, 1000, 0.0, 2);
        let spectra = SpectraBatch::new(new.flux.view(), new.ivar.view(), &compute);
        let mut error_of_first = Vec::new();
        for (kernel, pixels) in [
            (Kernel::Linear, PixelWeights::Equal),
            (Kernel::Linear, PixelWeights::Noise),
            (Kernel::Rbf, PixelWeights::Equal),
            (Kernel::Rbf, PixelWeights::Response),
        ] {
            let config = RidgeConfig { kernel, pixels, ..RidgeConfig::default() };
            let trained = train(&config, &training, &scaler(), 1, &compute, &Silent).unwrap();
            let estimates = Array2::from_shape_vec((1000, 2), to_f64(trained.ridge.forward(&spectra, None))).unwrap();
            let estimates = scaler().unscale(estimates.view());
            let left_out = scaler().unscale(trained.leave_one_out.view());
            for k in 0..2 {
                let error = rms((0..1000).map(|star| estimates[[star, k]] - truth[[star, k]]));
                let expected = rms((0..300).map(|star| left_out[[star, k]] - training.labels[[star, k]]));
                // The catalogue's 0.02 is in the second only; 300 stars know a width to 4%, one of skew errors to 11%.
                let expected = (expected * expected - 0.0004).max(0.0).sqrt();
                let tolerance = if k == 0 { 0.4 } else { 0.2 };
                assert!((error / expected - 1.0).abs() < tolerance, "{kernel:?} {pixels:?} {k}: {error} {expected}");
                assert!(error < if k == 0 { 0.4 } else { 0.15 }, "{kernel:?} {pixels:?} {k}: {error}");
                // What the regression itself says of noise and masks must be a good part of that, and no more.
                let own = to_f64(trained.ridge.variance(&spectra, None));
                let own =
                    mean(&own.iter().skip(k).step_by(2).copied().collect::<Vec<f64>>()).sqrt() * scaler().scale[k];
                if k == 1 {
                    assert!(own < 1.25 * error && own > 0.2 * error, "{kernel:?} {pixels:?}: {own} {error}");
                } else {
                    error_of_first.push(error);
                }
            }
        }
        // An uneven label is beyond a linear kernel.
        assert!(error_of_first[2] < 0.6 * error_of_first[0], "{error_of_first:?}");
    }

    #[test]
    fn the_response_of_a_pixel_is_that_of_its_slopes() {
        let compute = Compute::flex(Precision::F64);
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let labels = Array2::from_shape_fn((200, 2), |_| normal(&mut rng));
        // Slopes (3, 4) in the first pixel, none in the second.
        let flux = |star: usize| [7.0 + 3.0 * labels[[star, 0]] + 4.0 * labels[[star, 1]], 2.0];
        let deviations = compute.tensor(&(0..200).flat_map(flux).collect::<Vec<f64>>(), [200, 2]);
        let found = to_f64(response(&labels, &deviations, &compute));
        assert!((found[0] - 5.0).abs() < 1e-4 && found[1].abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn wrong_labels_hardly_move_the_others() {
        let compute = Compute::flex(Precision::F32);
        let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
        let (new, truth) = stars(&grid, 1000, 0.0, 2);
        let spectra = SpectraBatch::new(new.flux.view(), new.ivar.view(), &compute);
        let error = |wrong: f64| {
            let (training, _) = stars(&grid, 300, wrong, 1);
            let trained = train(&linear(), &training, &scaler(), 1, &compute, &Silent).unwrap();
            let estimates = Array2::from_shape_vec((1000, 2), to_f64(trained.ridge.forward(&spectra, None))).unwrap();
            let estimates = scaler().unscale(estimates.view());
            let residuals: Vec<f64> = (0..1000).map(|star| estimates[[star, 1]] - truth[[star, 1]]).collect();
            robust_scatter(&residuals)
        };
        let (clean, dirty) = (error(0.0), error(0.04));
        assert!(dirty < 1.5 * clean, "{clean} {dirty}");
    }

    #[test]
    fn a_handful_of_stars_is_refused() {
        let compute = Compute::flex(Precision::F32);
        let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
        let (training, _) = stars(&grid, 9, 0.0, 1);
        let refusal =
            train(&RidgeConfig::default(), &training, &scaler(), 1, &compute, &Silent).unwrap_err().to_string();
        assert!(refusal.contains("9 stars left, at least 10"), "{refusal}");
    }
}
