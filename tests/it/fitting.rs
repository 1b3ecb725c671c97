//! Label fits: compressed against pixel by pixel, truth against estimate, one star against many, f32 against f64.

use maury::device::{Compute, Precision, to_f64};
use maury::inference::chi_square::ChiSquare;
use maury::inference::compress::Compressor;
use maury::inference::fit::FitSettings;
use maury::inference::fitted::{FittedCannon, estimate_arrays};
use maury::inference::gradient_fit::{AdamFit, FitMethod, LbfgsFit};
use maury::inference::prior::{GaussianPrior, Nuisances, Penalized};
use maury::inference::residuals::DirectChiSquare;
use maury::models::cannon::{Cannon, NO_INFORMATION};
use maury::models::payne::Network;
use maury::models::vectorizer::Vectorizer;
use maury::models::{LabelEstimates, LabelEstimator};
use maury::spectra::batch::SpectraBatch;
use maury::spectra::continuum::ContinuumSettings;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::labels::LabelScaler;
use maury::spectra::pixmask::PixmaskSettings;
use maury::spectra::quality::star_flags;
use maury::training::cannon_config::CannonConfig;
use maury::training::checkpoint::{Preparation, TrainedCannon};
use maury::training::closed_form::train;
use ndarray::{Array2, s};
use rand::SeedableRng;

use crate::support::{Truth, truth};

pub fn model(truth: &Truth, compute: &Compute) -> TrainedCannon {
    let n_labels = truth.labels.ncols();
    let names: Vec<String> = (0..n_labels).map(|k| format!("l{k}")).collect();
    let scaler = LabelScaler::fit(&names, truth.labels.view()).unwrap();
    let scaled = scaler.scale(truth.labels.view());
    let (cannon, _) =
        train(&CannonConfig::default(), scaled.view(), truth.flux.view(), truth.ivar.view(), compute).unwrap();
    TrainedCannon {
        cannon,
        scaler,
        preparation: Preparation {
            grid: WavelengthGrid::from_pixel_numbers(truth.flux.ncols()),
            pixmask: PixmaskSettings::default(),
            continuum: ContinuumSettings::default(),
            continuum_pixels: Vec::new(),
            gaps: Vec::new(),
        },
        latent_labels: Array2::zeros((truth.labels.nrows(), 0)),
        training_labels: truth.labels.clone(),
    }
}

pub fn estimate(model: &TrainedCannon, flux: &Array2<f32>, ivar: &Array2<f32>, compute: &Compute) -> LabelEstimates {
    let fitted = FittedCannon::new(model, &FitSettings::default(), compute);
    estimate_arrays(&fitted, flux.view(), ivar.view(), 256, compute, &|_| ()).unwrap()
}

#[test]
fn the_compressed_chi_square_and_its_derivatives_are_those_of_the_pixels() {
    let compute = Compute::flex(Precision::F64);
    for order in 1..=3 {
        let truth = truth(7, 2, 50, 21);
        let vectorizer = Vectorizer::new(2, order);
        let mut normal = crate::support::Normal::new(4);
        let theta: Vec<f64> = (0..vectorizer.n_terms() * 50).map(|_| 0.3 * normal.draw()).collect();
        let mut s2: Vec<f64> = (0..50).map(|j| 1e-5 * f64::from(j)).collect();
        s2[13] = NO_INFORMATION;
        let cannon = Cannon::from_coefficients(vectorizer, &theta, &s2, &compute);
        let spectra = SpectraBatch::new(truth.flux.view(), truth.ivar.view(), &compute);
        let terms = cannon.vectorizer().clone();
        let (compressed, n_pixels) =
            Compressor::new(terms, cannon.theta.val(), cannon.s2.val(), &compute).compress(&spectra);
        let counted = truth.ivar.row(0).iter().enumerate().filter(|(j, v)| **v > 0.0 && *j != 13).count();
        assert_eq!(n_pixels[0], counted);
        let direct = DirectChiSquare { cannon, spectra };
        let flat: Vec<f64> = truth.labels.iter().copied().collect();
        let labels = compute.tensor(&flat, [7, 2]);
        let (fast, slow) = (compressed.evaluate(labels.clone()), direct.evaluate(labels));
        let pairs = [
            (to_f64(fast.chi2), to_f64(slow.chi2)),
            (to_f64(fast.half_gradient), to_f64(slow.half_gradient)),
            (to_f64(fast.half_hessian), to_f64(slow.half_hessian)),
            (to_f64(fast.curvature), to_f64(slow.curvature)),
        ];
        for (fast, slow) in pairs {
            let largest = slow.iter().fold(0.0_f64, |a, v| a.max(v.abs()));
            for (a, b) in fast.iter().zip(&slow) {
                // Sums of 50 terms in another order.
                assert!((a - b).abs() < 1e-11 * largest, "order {order}: {a} {b}");
            }
        }
    }
}

#[test]
fn labels_of_mock_stars_come_back_within_their_errors() {
    let compute = Compute::flex(Precision::F64);
    let (training, test) = (truth(400, 3, 300, 31), truth(200, 3, 300, 32));
    // The same spectra, other stars: theta must be the training set's.
    let mut test = test;
    let mut normal = crate::support::Normal::new(33);
    for n in 0..200 {
        let terms = crate::support::quadratic_terms(&test.labels.row(n).to_vec());
        for j in 0..300 {
            let clean: f64 = terms.iter().zip(training.theta.column(j)).map(|(x, t)| x * t).sum();
            test.ivar[[n, j]] = 1e4;
            test.flux[[n, j]] = (clean + 0.01 * normal.draw()) as f32;
        }
    }
    let estimates = estimate(&model(&training, &compute), &test.flux, &test.ivar, &compute);
    let mut pulls = Vec::new();
    for n in 0..200 {
        assert_eq!(estimates.flags[n] & star_flags::NOT_CONVERGED, 0);
        for k in 0..3 {
            pulls.push((estimates.labels[[n, k]] - test.labels[[n, k]]) / estimates.error(n, k));
        }
    }
    // 600 pulls of a right model have width 1 +- 0.03; trained theta and over-counted s2 move it a little.
    let width = maury::stats::robust::standard_deviation(&pulls);
    assert!((0.7..1.2).contains(&width), "pulls {width}");
}

#[test]
fn a_star_alone_in_a_batch_or_in_f32_gets_the_same_labels() {
    let wide = Compute::flex(Precision::F64);
    let narrow = Compute::flex(Precision::F32);
    let truth = truth(300, 3, 400, 41);
    let together = estimate(&model(&truth, &wide), &truth.flux, &truth.ivar, &wide);
    let single = estimate(&model(&truth, &narrow), &truth.flux, &truth.ivar, &narrow);
    let trained = model(&truth, &wide);
    for n in [0, 17, 299] {
        let rows = s![n..n + 1, ..];
        let alone = estimate(&trained, &truth.flux.slice(rows).to_owned(), &truth.ivar.slice(rows).to_owned(), &wide);
        for k in 0..3 {
            assert!((alone.labels[[0, k]] - together.labels[[n, k]]).abs() < 1e-3 * together.error(n, k));
        }
    }
    for n in 0..300 {
        for k in 0..3 {
            // f32 suffices: far below a tenth of the formal error.
            let difference = (single.labels[[n, k]] - together.labels[[n, k]]).abs() / together.error(n, k);
            assert!(difference < 0.02, "star {n} label {k}: {difference} sigma");
        }
    }
}

#[test]
fn a_star_without_data_is_flagged_and_the_others_are_labelled() {
    let compute = Compute::flex(Precision::F32);
    let mut truth = truth(100, 2, 80, 51);
    let trained = model(&truth, &compute);
    let before = estimate(&trained, &truth.flux, &truth.ivar, &compute);
    truth.ivar.row_mut(3).fill(0.0);
    truth.flux.row_mut(3).fill(7.0);
    truth.flux.row_mut(5).mapv_inplace(|f| f + 3.0); // absurd, but data
    let after = estimate(&trained, &truth.flux, &truth.ivar, &compute);
    assert_eq!(after.flags[3], star_flags::NO_DATA);
    assert!(after.labels.row(3).iter().all(|label| label.is_nan()) && after.chi2[3].is_nan());
    assert!(after.labels.row(5).iter().all(|label| label.is_finite()));
    assert_ne!(after.flags[5] & star_flags::OUTSIDE_HULL, 0);
    for n in (0..100).filter(|n| ![3, 5].contains(n)) {
        assert_eq!(after.labels.row(n), before.labels.row(n));
    }
}

#[test]
fn spectra_on_another_grid_are_refused() {
    let compute = Compute::flex(Precision::F32);
    let truth = truth(50, 2, 40, 61);
    let fitted = FittedCannon::new(&model(&truth, &compute), &FitSettings::default(), &compute);
    let batch = SpectraBatch::new(truth.flux.slice(s![.., ..30]), truth.ivar.slice(s![.., ..30]), &compute);
    let refusal = fitted.estimate_labels(&batch).unwrap_err().to_string();
    assert!(refusal.contains("30 pixels, the model 40"), "{refusal}");
}

#[test]
fn optimizers_that_see_only_gradients_end_in_the_same_minima() {
    let compute = Compute::flex(Precision::F64);
    let truth = truth(400, 3, 300, 71);
    let trained = model(&truth, &compute);
    let with = |method: FitMethod| {
        let settings = FitSettings { method, ..FitSettings::default() };
        let fitted = FittedCannon::new(&trained, &settings, &compute);
        let started = std::time::Instant::now();
        let estimates = estimate_arrays(&fitted, truth.flux.view(), truth.ivar.view(), 256, &compute, &|_| ()).unwrap();
        (estimates, started.elapsed().as_secs_f64())
    };
    let (expected, usual) = with(FitMethod::LevenbergMarquardt);
    for (name, method) in
        [("Adam", FitMethod::Adam(AdamFit::default())), ("L-BFGS", FitMethod::Lbfgs(LbfgsFit::default()))]
    {
        let (found, seconds) = with(method);
        let off = |n: usize| {
            let sigma = |k: usize| (found.labels[[n, k]] - expected.labels[[n, k]]).abs() / expected.error(n, k);
            (0..3).map(sigma).fold(0.0, f64::max)
        };
        let same = (0..400).filter(|n| off(*n) < 0.01).count();
        let unconverged = found.flags.iter().filter(|flags| **flags & star_flags::NOT_CONVERGED != 0).count();
        let flags = (0..400).filter(|n| found.flags[*n] == expected.flags[*n]).count();
        crate::support::say(&format!(
            "{name}: {same} of 400 stars agree, {unconverged} unconverged, {flags} with the same flags, {:.1} times as \
             long as Levenberg-Marquardt",
            seconds / usual
        ));
        assert!(same >= 396 && unconverged <= 4 && flags >= 396, "{name}");
        for n in (0..400).filter(|n| off(*n) < 0.01) {
            assert!((found.error(n, 1) / expected.error(n, 1) - 1.0).abs() < 0.01, "{name}, star {n}");
            assert!((found.chi2[n] - expected.chi2[n]).abs() < 1e-3, "{name}, star {n}");
        }
    }
}

#[test]
fn chi_square_by_automatic_differentiation_has_the_written_gradient() {
    let compute = Compute::flex(Precision::F64);
    let truth = truth(7, 2, 50, 81);
    let mut normal = crate::support::Normal::new(82);
    let theta: Vec<f64> = (0..6 * 50).map(|_| 0.3 * normal.draw()).collect();
    let cannon = Cannon::from_coefficients(Vectorizer::new(2, 2), &theta, &[1e-4; 50], &compute);
    let spectra = SpectraBatch::new(truth.flux.view(), truth.ivar.view(), &compute);
    let terms = cannon.vectorizer().clone();
    let compressed = Compressor::new(terms, cannon.theta.val(), cannon.s2.val(), &compute).compress(&spectra).0;
    let scaled: Vec<f64> = truth.labels.iter().copied().collect();
    let prior = GaussianPrior::conditional(truth.labels.view(), 1, Nuisances::Free).expect("seven stars suffice");
    let penalized = Penalized::new(compressed.clone(), &prior, &compute);
    let direct = DirectChiSquare { cannon, spectra };
    check(&compressed, &scaled, &compute);
    check(&direct, &scaled, &compute);
    check(&penalized, &scaled, &compute);
    // Terms that are a network's: its weights do not record, the labels do.
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(83);
    let skip: Vec<f64> = (0..6).map(|_| normal.draw()).collect();
    let network = Network::from_linear(2, &[5], 3, &skip, &mut random, &compute);
    let theta = compute.tensor(&theta[..200], [4, 50]);
    let compressor = Compressor::new(network, theta, compute.tensor(&[1e-4; 50], [50]), &compute);
    check(&compressor.compress(&direct.spectra).0, &scaled, &compute);

    fn check(problem: &impl ChiSquare, scaled: &[f64], compute: &Compute) {
        let labels = compute.tensor(scaled, [7, 2]);
        let written = problem.evaluate(labels.clone());
        let labels = compute.autodiff().tensor(scaled, [7, 2]).require_grad();
        let chi2 = problem.chi2(labels.clone());
        let gradient = to_f64(labels.grad(&chi2.clone().sum().backward()).unwrap());
        let pairs = to_f64(chi2.inner()).into_iter().zip(to_f64(written.chi2));
        let slopes = gradient.into_iter().zip(to_f64(written.half_gradient).into_iter().map(|half| 2.0 * half));
        for (ours, expected) in pairs.chain(slopes) {
            assert!((ours - expected).abs() < 1e-8 * (1.0 + expected.abs()), "{ours} {expected}");
        }
    }
}
