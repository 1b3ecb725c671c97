//! Kernel ridge regression in closed form, every choice made by leaving each training star out in turn.

use burn::module::Param;
use burn::tensor::Tensor;
use nalgebra::{DMatrix, DVector};
use ndarray::{Array2, ArrayView1};
use serde::{Deserialize, Serialize};

use super::kernel_matrix::Decomposed;
use super::labelled_spectra::{Filled, LabelledSpectra, MadeRows, Supply};
use super::landmarks::{Nearness, OnLandmarks, bytes_of_landmarks, draw, n_landmarks};
use super::left_out::{Choice, choose};
use super::principal_components::{RowBlocks, add_to, principal_components_of};
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::network::input::deviation;
use crate::models::ridge::{Kernel, PixelWeights, Ridge, RidgeConfig};
use crate::models::vectorizer::Vectorizer;
use crate::progress::Progress;
use crate::spectra::labels::LabelScaler;
use crate::stats::robust::{median, robust_scatter};

/// Fewest stars a regression can choose its settings with.
pub const FEWEST_STARS: usize = 10;
/// Components of what masked pixels hide, at most.
const HIDDEN_COMPONENTS: usize = 48;

/// What training chose, for the run's report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RidgeReport {
    /// Stars that trained.
    pub n_stars: usize,
    /// Landmarks that stand for them in the kernel (Nystroem's approximation); none where all are compared with each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_landmarks: Option<usize>,
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
/// Labels y of training spectra with kernel matrix K are regressed by `alpha = (K + strength I)^-1 (y - mean)`, so that strength and width
/// of every label are chosen by leave-one-out errors at no cost beyond one decomposition of K. Where not all stars can be compared with each
/// other, they are compared with landmarks among them. A constant is added to K: an intercept that is hardly
/// penalized, without which a mean spectrum that knows every star would make their errors vanish.
///
/// # Errors
/// [`Error::TooFewStars`]; those of reading.
pub fn train(
    config: &RidgeConfig,
    stars: &LabelledSpectra,
    scaler: &LabelScaler,
    seed: u64,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<TrainedByClosedForm> {
    let n_stars = stars.labels.nrows();
    if n_stars < FEWEST_STARS {
        return Err(Error::TooFewStars {
            stage: "training a ridge regression".into(),
            n_stars,
            needed: FEWEST_STARS,
            remedy: "widen the selection".into(),
        });
    }
    let n_pixels = stars.spectra.n_pixels();
    let n_landmarks = n_landmarks(config, n_stars, n_pixels, compute.memory());
    if n_landmarks.is_some_and(|n| n < FEWEST_STARS) {
        let takes = compute.memory().check(bytes_of_landmarks(config, FEWEST_STARS, n_stars, n_pixels)).err();
        let takes = takes.unwrap_or_default();
        let problem =
            format!("a ridge regression of {n_stars} stars with {FEWEST_STARS} landmarks at least, which {takes}");
        return Err(Error::Config(problem));
    }
    let supply = Supply::new(stars, &(0..n_stars).collect::<Vec<_>>(), compute)?;
    let mean_flux = supply.mean()?;
    let above_mean = |filled: &Filled| deviation(&filled.spectra, filled.fill.clone(), mean_flux.clone());
    let deviations = supply.rows(above_mean);
    let labels = scaler.scale(stars.labels.view());
    let pixel_weights = pixel_weights(config.pixels, stars, &labels, &deviations, compute)?;
    let hidden = hidden(&supply, deviations, seed, compute)?;
    let weighted = supply.rows(|filled| above_mean(filled) * pixel_weights.clone());
    let mut chosen: Vec<Option<Chosen>> = labels.columns().into_iter().map(|_| None).collect();
    let is_linear = config.kernel == Kernel::Linear;
    let anchors = match n_landmarks {
        None => {
            let spectra = weighted.whole()?;
            let products = spectra.clone().matmul(spectra.clone().transpose());
            let kernels = kernels(config, &DMatrix::from_vec(n_stars, n_stars, to_f64(products)));
            progress.start("decomposing kernels", kernels.len());
            for (width, sharpness, kernel) in kernels {
                let decomposed = Decomposed::new(&kernel);
                progress.advance(1);
                chosen.iter_mut().zip(labels.columns()).for_each(|(best, label)| {
                    Chosen { width, sharpness, choice: choose(&decomposed, &column(label)) }.replace_worse(best);
                });
            }
            progress.finish();
            spectra
        }
        Some(n_landmarks) => {
            let landmarks = weighted.of(&draw(n_landmarks, n_stars, seed))?;
            let exact = Compute::small_systems().bring(landmarks.clone());
            let products = exact.clone().matmul(exact.transpose());
            let kernels = kernels(config, &DMatrix::from_vec(n_landmarks, n_landmarks, to_f64(products)));
            let nearness = Nearness::new(&weighted, &landmarks, config.kernel)?;
            progress.start("decomposing kernels", kernels.len());
            for (width, sharpness, kernel) in kernels {
                let on_landmarks = OnLandmarks::new(&nearness, &kernel, sharpness)?;
                chosen.iter_mut().zip(labels.columns()).for_each(|(best, label)| {
                    Chosen { width, sharpness, choice: choose(&on_landmarks, &column(label)) }.replace_worse(best);
                });
                progress.advance(1);
            }
            progress.finish();
            landmarks
        }
    };
    let chosen: Vec<Chosen> = chosen.into_iter().map(|best| best.expect("there is at least one kernel")).collect();

    let (n_labels, n_anchors) = (scaler.n_labels(), anchors.dims()[0]);
    let dual: Vec<f64> =
        (0..n_anchors).flat_map(|star| chosen.iter().map(move |chosen| chosen.choice.weights[star])).collect();
    let dual = compute.tensor(&dual, [n_anchors, n_labels]);
    let of_label = |value: fn(&Chosen) -> f64| -> Vec<f64> { chosen.iter().map(value).collect() };
    let row = |values: Vec<f64>| Param::from_tensor(compute.tensor(&values, [1, values.len()]));
    let ridge = Ridge {
        mean: Param::from_tensor(mean_flux.clone()),
        pixel_weights: Param::from_tensor(pixel_weights.clone()),
        weights: Param::from_tensor(if is_linear { anchors.clone().transpose().matmul(dual) } else { dual }),
        anchors: (!is_linear).then(|| Param::from_tensor(anchors)),
        sharpness: row(of_label(|chosen| chosen.sharpness)),
        intercept: row(of_label(|chosen| chosen.choice.intercept)),
        hidden: Param::from_tensor(hidden),
    };
    let leave_one_out = Array2::from_shape_fn((n_stars, n_labels), |(star, k)| chosen[k].choice.left_out[star]);
    let scatter = |k: usize| {
        let residuals = &leave_one_out.column(k) - &labels.column(k);
        robust_scatter(&residuals.to_vec()) * scaler.scale[k]
    };
    let report = RidgeReport {
        n_stars,
        n_landmarks,
        strength: of_label(|chosen| chosen.choice.strength),
        width: if is_linear { Vec::new() } else { of_label(|chosen| chosen.width) },
        degrees_of_freedom: of_label(|chosen| chosen.choice.degrees_of_freedom),
        leave_one_out_scatter: (0..n_labels).map(scatter).collect(),
    };
    Ok(TrainedByClosedForm { ridge, leave_one_out, report })
}

fn column(label: ArrayView1<f64>) -> DVector<f64> {
    DVector::from_iterator(label.len(), label.iter().copied())
}

/// A kernel, and the best strength with it, for one label.
struct Chosen {
    width: f64,
    sharpness: f64,
    choice: Choice,
}

impl Chosen {
    fn replace_worse(self, best: &mut Option<Self>) {
        if best.as_ref().is_none_or(|best| self.choice.loss.total_cmp(&best.choice.loss).is_lt()) {
            *best = Some(self);
        }
    }
}

/// What deviations are multiplied with, [1, n_pixels]: all together then have mean square one.
fn pixel_weights(
    weights: PixelWeights,
    stars: &LabelledSpectra,
    scaled_labels: &Array2<f64>,
    deviations: &MadeRows,
    compute: &Compute,
) -> Result<Tensor<2>> {
    let n_pixels = stars.spectra.n_pixels();
    let inverse_error = |_: ArrayView1<f32>, ivar: ArrayView1<f32>| {
        let known: Vec<f64> = ivar.iter().filter(|ivar| **ivar > 0.0).map(|ivar| f64::from(*ivar)).collect();
        if known.is_empty() { 0.0 } else { median(&known).sqrt() }
    };
    let own = match weights {
        PixelWeights::Equal => vec![1.0; n_pixels],
        PixelWeights::Noise | PixelWeights::Response => stars.spectra.of_pixels(compute.memory(), inverse_error)?,
    };
    let mut own = compute.tensor(&own, [1, n_pixels]);
    if weights == PixelWeights::Response {
        own = own.powf_scalar(1.5) * response(scaled_labels, deviations, compute)?.sqrt();
    }
    let spread = deviations.mean_square(|rows| rows * own.clone())?.sqrt();
    Ok(own / spread.max(f64::MIN_POSITIVE))
}

/// How much scaled labels move the flux of each pixel at the mean labels, [1, n_pixels]: the root of the sum of the squares of
/// its slopes, by least squares with a quadratic function.
fn response(scaled_labels: &Array2<f64>, deviations: &dyn RowBlocks, compute: &Compute) -> Result<Tensor<2>> {
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
    let slopes = compute.tensor::<2>(slopes.as_slice(), [n_labels, n_stars]);
    let mut of_pixels = None;
    deviations.each(&mut |stars, rows| {
        add_to(&mut of_pixels, slopes.clone().narrow(1, stars.start, stars.len()).matmul(rows));
    })?;
    let of_pixels: Tensor<2> = of_pixels.expect("there are stars");
    Ok(of_pixels.powf_scalar(2.0).sum_dim(0).sqrt())
}

/// Kernel matrices of stars with each other, by the products of their spectra, with their widths and sharpnesses.
fn kernels(config: &RidgeConfig, products: &DMatrix<f64>) -> Vec<(f64, f64, DMatrix<f64>)> {
    let n_stars = products.nrows();
    if config.kernel == Kernel::Linear {
        return vec![(f64::NAN, 0.0, products.clone())];
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

/// Leading components of what nobody knows of a masked pixel: the deviations from what stands for it, where stars were seen.
fn hidden<'r, 'a, 's>(
    supply: &'r Supply<'a, 's>,
    deviations: MadeRows<'r, 'a, 's>,
    seed: u64,
    compute: &Compute,
) -> Result<Tensor<2>> {
    let [n_stars, n_pixels] = deviations.shape();
    let unknown = if supply.has_fill() {
        supply.rows(|filled| filled.above_fill().expect("something stands for masked flux"))
    } else {
        deviations
    };
    let count = HIDDEN_COMPONENTS.min(n_stars / 2).min(n_pixels);
    let directions = principal_components_of(&unknown, count, seed, compute)?;
    let mut squares = None;
    unknown.each(&mut |stars, rows| {
        let mean = rows.matmul(directions.clone().transpose()).powf_scalar(2.0).mean_dim(0);
        add_to(&mut squares, mean * (stars.len() as f64 / n_stars as f64));
    })?;
    let squares: Tensor<2> = squares.expect("there are stars");
    Ok(directions * squares.sqrt().transpose())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Precision, to_array};
    use crate::memory::Memory;
    use crate::progress::Silent;
    use crate::spectra::batch::SpectraBatch;
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::stored::{Spectra, SpectraOf};
    use crate::stats::normal::draw as normal;
    use crate::stats::robust::mean;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const N_PIXELS: usize = 60;

    struct Mock {
        flux: Array2<f32>,
        ivar: Array2<f32>,
        labels: Array2<f64>,
        truth: Array2<f64>,
    }

    impl Mock {
        fn with<'a>(&'a self, grid: &'a WavelengthGrid, spectra: SpectraOf<'a>) -> LabelledSpectra<'a> {
            let label_errors = Array2::from_elem(self.labels.raw_dim(), f64::NAN);
            LabelledSpectra { grid, spectra, fill: None, labels: self.labels.clone(), label_errors }
        }

        fn trained(&self, config: &RidgeConfig, compute: &Compute) -> TrainedByClosedForm {
            let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
            let stars = self.with(&grid, (self.flux.view(), self.ivar.view()).into());
            train(config, &stars, &scaler(), 1, compute, &Silent).unwrap()
        }
    }

    /// Estimates of stars, in the labels' units.
    fn estimates(trained: &TrainedByClosedForm, stars: &Mock, compute: &Compute) -> Array2<f64> {
        let spectra = SpectraBatch::new(stars.flux.view(), stars.ivar.view(), compute);
        scaler().unscale(to_array(trained.ridge.forward(&spectra, None)).view())
    }

    /// Stars whose two labels move the flux, the first not evenly; some labels of the second are wrong.
    fn stars(n: usize, wrong: f64, seed: u64) -> Mock {
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
        Mock { flux, ivar, labels, truth }
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
    fn labels_come_back_and_leave_one_out_errors_are_those_of_new_stars() {
        let compute = Compute::flex(Precision::F32);
        let (training, new) = (stars(300, 0.0, 1), stars(1000, 0.0, 2));
        let spectra = SpectraBatch::new(new.flux.view(), new.ivar.view(), &compute);
        let mut error_of_first = Vec::new();
        for (kernel, pixels) in [
            (Kernel::Linear, PixelWeights::Equal),
            (Kernel::Linear, PixelWeights::Noise),
            (Kernel::Rbf, PixelWeights::Equal),
            (Kernel::Rbf, PixelWeights::Response),
        ] {
            let config = RidgeConfig { kernel, pixels, ..RidgeConfig::default() };
            let trained = training.trained(&config, &compute);
            let estimates = estimates(&trained, &new, &compute);
            let left_out = scaler().unscale(trained.leave_one_out.view());
            for k in 0..2 {
                let error = rms((0..1000).map(|star| estimates[[star, k]] - new.truth[[star, k]]));
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
        let found = to_f64(response(&labels, &deviations, &compute).unwrap());
        assert!((found[0] - 5.0).abs() < 1e-4 && found[1].abs() < 1e-4, "{found:?}");
    }

    #[test]
    fn wrong_labels_hardly_move_the_others() {
        let compute = Compute::flex(Precision::F32);
        let new = stars(1000, 0.0, 2);
        let error = |wrong: f64| {
            let trained = stars(300, wrong, 1).trained(&linear(), &compute);
            let estimates = estimates(&trained, &new, &compute);
            let residuals: Vec<f64> = (0..1000).map(|star| estimates[[star, 1]] - new.truth[[star, 1]]).collect();
            robust_scatter(&residuals)
        };
        let (clean, dirty) = (error(0.0), error(0.04));
        assert!(dirty < 1.5 * clean, "{clean} {dirty}");
    }

    #[test]
    fn a_handful_of_stars_is_refused() {
        let compute = Compute::flex(Precision::F32);
        let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
        let refusal = |stars: &Mock, compute: &Compute| {
            let stars = stars.with(&grid, (stars.flux.view(), stars.ivar.view()).into());
            train(&RidgeConfig::default(), &stars, &scaler(), 1, compute, &Silent).unwrap_err().to_string()
        };
        let said = refusal(&stars(9, 0.0, 1), &compute);
        assert!(said.contains("9 stars left, at least 10"), "{said}");
        let said = refusal(&stars(30, 0.0, 1), &compute.with_memory(Memory { bytes: 50_000 }));
        assert!(said.contains("with 10 landmarks at least, which takes"), "{said}");
    }

    #[test]
    fn as_many_landmarks_as_stars_say_what_the_stars_say_and_fewer_nearly_so() {
        let compute = Compute::flex(Precision::F64);
        let (training, new) = (stars(300, 0.02, 1), stars(1000, 0.0, 2));
        for kernel in [Kernel::Linear, Kernel::Rbf] {
            let config = |landmarks| RidgeConfig { kernel, landmarks, ..RidgeConfig::default() };
            let (whole, all) =
                (training.trained(&config(None), &compute), training.trained(&config(Some(300)), &compute));
            assert_eq!((whole.report.n_landmarks, all.report.n_landmarks), (None, None));
            // All but one.
            let most = training.trained(&config(Some(299)), &compute);
            assert_eq!(most.report.n_landmarks, Some(299));
            assert_eq!(most.report.width.len(), whole.report.width.len());
            let error = |trained: &TrainedByClosedForm, k: usize| {
                let estimates = estimates(trained, &new, &compute);
                rms((0..1000).map(|star| estimates[[star, k]] - new.truth[[star, k]]))
            };
            let apart = |a: &Array2<f64>, b: &Array2<f64>| (a - b).mapv(|d| d * d).mean().unwrap().sqrt();
            let of_new = apart(&estimates(&whole, &new, &compute), &estimates(&most, &new, &compute));
            let left_out = apart(&whole.leave_one_out, &most.leave_one_out);
            assert!(of_new < 2e-3 && left_out < 2e-3, "{kernel:?}: {of_new} {left_out}");
            let few = training.trained(&config(Some(100)), &compute);
            for k in 0..2 {
                let (whole, few) = (error(&whole, k), error(&few, k));
                assert!(few < 1.25 * whole, "{kernel:?}, label {k}: {few} {whole}");
            }
        }
    }

    #[test]
    fn blocks_of_stars_teach_what_all_stars_teach_at_once() {
        let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
        let training = stars(300, 0.0, 1);
        let set = Spectra::in_memory(training.flux.clone(), training.ivar.clone());
        let rows: Vec<usize> = (0..300).collect();
        for (kernel, landmarks) in
            [(Kernel::Linear, None), (Kernel::Rbf, None), (Kernel::Linear, Some(80)), (Kernel::Rbf, Some(80))]
        {
            let config = RidgeConfig { kernel, landmarks, ..RidgeConfig::default() };
            let compute = Compute::flex(Precision::F64);
            let whole = training.trained(&config, &compute);
            // Blocks of seven stars or so; asked for landmarks are not limited.
            let bytes = if landmarks.is_some() { 8 * 40 * 60 * 7 } else { Memory::default().bytes };
            let compute = compute.with_memory(Memory { bytes });
            let stars = training.with(&grid, SpectraOf::Rows(&set, &rows));
            let by_blocks = train(&config, &stars, &scaler(), 1, &compute, &Silent).unwrap();
            let apart =
                (&whole.leave_one_out - &by_blocks.leave_one_out).mapv(f64::abs).into_iter().fold(0.0, f64::max);
            assert!(apart < 1e-6, "{kernel:?} {landmarks:?}: {apart}");
            assert_eq!(whole.report.strength, by_blocks.report.strength);
            let [whole, by_blocks] = [&whole, &by_blocks].map(|trained| estimates(trained, &training, &compute));
            let apart = (whole - by_blocks).mapv(f64::abs).into_iter().fold(0.0, f64::max);
            assert!(apart < 1e-6, "{kernel:?} {landmarks:?}: {apart}");
        }
    }
}
