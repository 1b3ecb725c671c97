//! Posteriors: HMC, NUTS, brute force and closed forms against each other; ranks of known labels; stars that cannot be sampled.

use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Int, Tensor};
use maury::device::{Compute, Precision, to_f64};
use maury::error::Error;
use maury::inference::chi_square::{ChiSquare, Evaluation, Minimum};
use maury::inference::compress::Compressor;
use maury::inference::compressed::CompressedSpectra;
use maury::inference::draws::{Draws, SamplerSettings};
use maury::inference::fit::{FitSettings, fit};
use maury::inference::fitted::FittedCannon;
use maury::inference::label_prior::{PriorSettings, ScaledPrior};
use maury::inference::marginal::LinearNuisance;
use maury::inference::posterior::{Approximation, Posterior};
use maury::inference::sampling::{Likelihood, PosteriorSettings, Sampler, draw_star, label_scaler, prepare};
use maury::inference::{hmc, nuts};
use maury::models::payne::Network;
use maury::models::vectorizer::Vectorizer;
use maury::progress::{Progress, Silent};
use maury::spectra::batch::SpectraBatch;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::labels::LabelScaler;
use nalgebra::{DMatrix, DVector};
use ndarray::{Array2, s};
use rand::SeedableRng;

use crate::fitting::model;
use crate::support::{Normal, say, truth};

pub fn wide() -> Compute {
    Compute::flex(Precision::F64)
}

pub fn settings(draws: usize) -> SamplerSettings {
    SamplerSettings { draws, ..SamplerSettings::default() }
}

pub fn prior(text: &str, n_labels: usize) -> ScaledPrior {
    let names: Vec<String> = (0..n_labels).map(|k| format!("l{k}")).collect();
    let scaler = LabelScaler { names, pivot: vec![0.0; n_labels], scale: vec![1.0; n_labels] };
    let mut normal = Normal::new(99);
    let training = Array2::from_shape_fn((200, n_labels), |_| normal.draw());
    toml::from_str::<PriorSettings>(text).unwrap().scaled(&scaler, training.view()).unwrap()
}

/// Stars at known labels under a known polynomial of `order`, seen in a few pixels with some noise.
pub struct Mock {
    pub problem: CompressedSpectra<Vectorizer>,
    pub minimum: Minimum,
    pub n_pixels: Vec<usize>,
}

pub fn mock(labels: &Array2<f64>, order: usize, n_pixels: usize, sigma: f64, seed: u64) -> Mock {
    let (n_stars, n_labels) = labels.dim();
    let compute = wide();
    let vectorizer = Vectorizer::new(n_labels, order);
    let n_terms = vectorizer.n_terms();
    let mut normal = Normal::new(seed);
    let theta: Vec<f64> =
        (0..n_terms * n_pixels).map(|i| normal.draw() * if i / n_pixels <= n_labels { 0.1 } else { 0.03 }).collect();
    let flat: Vec<f64> = labels.iter().copied().collect();
    let theta = compute.tensor(&theta, [n_terms, n_pixels]);
    let clean = to_f64(vectorizer.design_matrix(compute.tensor(&flat, [n_stars, n_labels])).matmul(theta.clone()));
    let flux =
        Array2::from_shape_fn((n_stars, n_pixels), |(n, j)| (clean[n * n_pixels + j] + sigma * normal.draw()) as f32);
    let ivar = Array2::from_elem((n_stars, n_pixels), (1.0 / (sigma * sigma)) as f32);
    let compressor = Compressor::new(vectorizer, theta, compute.tensor(&vec![0.0; n_pixels], [n_pixels]), &compute);
    let (problem, n_pixels) = compressor.compress(&SpectraBatch::new(flux.view(), ivar.view(), &compute));
    let fit_settings = FitSettings { starts: 1, ..FitSettings::default() };
    let minimum = fit(&problem, std::slice::from_ref(labels), &fit_settings, &compute, |_| true);
    Mock { problem, minimum, n_pixels }
}

pub fn drawn(n_stars: usize, n_labels: usize, seed: u64) -> Array2<f64> {
    let mut normal = Normal::new(seed);
    Array2::from_shape_fn((n_stars, n_labels), |_| normal.draw())
}

/// Approximations of stars that must all have one.
pub fn approximations<C: ChiSquare>(
    posterior: &Posterior<C>,
    minimum: &Minimum,
    n_pixels: &[usize],
) -> Vec<Approximation> {
    posterior.approximate(minimum, n_pixels).into_iter().map(Result::unwrap).collect()
}

pub fn hmc_draws<C: ChiSquare + Sync>(
    posterior: &Posterior<C>,
    starts: &[Approximation],
    settings: &SamplerSettings,
) -> Vec<Draws> {
    let starts: Vec<Option<Approximation>> = starts.iter().cloned().map(Some).collect();
    hmc::sample(posterior, &starts, settings, 5, &Silent, |_, draws| draws)
        .unwrap()
        .into_iter()
        .map(Option::unwrap)
        .collect()
}

/// Asks to stop once it was asked so many times.
struct StopsAfter {
    limit: usize,
    asked: AtomicUsize,
}

impl Progress for StopsAfter {
    fn interrupted(&self) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed) >= self.limit
    }
}

#[test]
fn samplers_stop_in_the_middle_of_a_star_when_asked() {
    let mock = mock(&drawn(3, 2, 21), 2, 30, 0.1, 22);
    let posterior = Posterior::new(mock.problem, ScaledPrior::flat(2), 2, None);
    let starts = approximations(&posterior, &mock.minimum, &mock.n_pixels);
    let wanted: Vec<Option<Approximation>> = starts.iter().cloned().map(Some).collect();
    // Nobody would wait for so many draws. The first stops in warm-up, the second beyond it.
    let endless = settings(200_000);
    for limit in [5, endless.warm_up + 50] {
        let stops = StopsAfter { limit, asked: AtomicUsize::new(0) };
        let stopped = hmc::sample(&posterior, &wanted, &endless, 5, &stops, |_, draws| draws);
        assert!(matches!(stopped, Err(Error::Interrupted { kept: false })));
        // Stars that are sampled apart from each other ask once more each, and so do chains.
        assert!(stops.asked.into_inner() <= limit + 3);
        let stops = StopsAfter { limit, asked: AtomicUsize::new(0) };
        let stopped = nuts::sample(&posterior, 0, &starts[0], &endless, 6, &stops);
        assert!(matches!(stopped, Err(Error::Interrupted { kept: false })));
        assert!(stops.asked.into_inner() <= limit + endless.chains);
    }
}

#[test]
fn the_posterior_by_automatic_differentiation_and_by_differences_has_the_written_gradient() {
    let compute = wide();
    let labels = drawn(4, 2, 1);
    let mock = mock(&labels, 2, 30, 0.1, 2);
    let text = "joint.mixture.components = 2\nlabels.l0.normal = { mean = 0.3, sigma = 0.5 }";
    let posterior = Posterior::new(mock.problem, prior(text, 2), 2, None).with_noise_inflation(0.3, &mock.n_pixels);
    // Two points per star, each [l0, l1, t].
    let mut normal = Normal::new(3);
    let points: Vec<f64> = (0..4 * 2 * 3).map(|_| 0.7 * normal.draw()).collect();
    let density = posterior.density(compute.tensor(&points, [4, 2, 3]));
    let (ln, gradient) = (to_f64(density.ln), to_f64(density.gradient));
    for point in 0..2 {
        let flat: Vec<f64> = (0..4).flat_map(|star| points[(star * 2 + point) * 3..][..3].to_vec()).collect();
        let recorded = compute.autodiff().tensor(&flat, [4, 3]).require_grad();
        let value = posterior.ln_density(recorded.clone());
        let automatic = to_f64(recorded.grad(&value.clone().sum().backward()).unwrap());
        let value = to_f64(value.inner());
        for star in 0..4 {
            let row = star * 2 + point;
            assert!((value[star] - ln[row]).abs() < 1e-9 * (1.0 + ln[row].abs()));
            for k in 0..3 {
                let written = gradient[row * 3 + k];
                let h = 1e-5;
                let at = |h: f64| {
                    let mut moved = flat.clone();
                    moved[star * 3 + k] += h;
                    to_f64(posterior.ln_density(compute.tensor(&moved, [4, 3])))[star]
                };
                // Third derivatives of some hundreds times h^2, rounding of ln p ~ 100 over h.
                let difference = (at(h) - at(-h)) / (2.0 * h);
                let automatic = automatic[star * 3 + k];
                assert!((difference - written).abs() < 1e-6 * (1.0 + written.abs()), "{difference} {written}");
                // Going backward, Burn keeps scalars in f32.
                assert!((automatic - written).abs() < 1e-6 * (1.0 + written.abs()), "{k}: {automatic} {written}");
            }
        }
    }
}

#[test]
fn slopes_of_many_points_are_those_of_the_evaluation_point_by_point() {
    /// Hides that a problem knows a shorter way.
    struct Plain<C>(C);
    impl<C: ChiSquare> ChiSquare for Plain<C> {
        fn evaluate(&self, labels: Tensor<2>) -> Evaluation {
            self.0.evaluate(labels)
        }
        fn chi2(&self, labels: Tensor<2>) -> Tensor<2> {
            self.0.chi2(labels)
        }
        fn select(&self, rows: Tensor<1, Int>) -> Self {
            Self(self.0.select(rows))
        }
    }
    fn check<C: ChiSquare>(problem: C, n_labels: usize) {
        let mut normal = Normal::new(7);
        let points: Vec<f64> = (0..3 * 5 * n_labels).map(|_| normal.draw()).collect();
        let points: Tensor<3> = wide().tensor(&points, [3, 5, n_labels]);
        let fast = problem.slope(points.clone());
        let slow = Plain(problem).slope(points);
        let pairs = to_f64(fast.chi2).into_iter().zip(to_f64(slow.chi2));
        for (a, b) in pairs.chain(to_f64(fast.half_gradient).into_iter().zip(to_f64(slow.half_gradient))) {
            assert!((a - b).abs() < 1e-9 * (1.0 + b.abs()), "{a} {b}");
        }
    }
    for order in 1..=3 {
        check(mock(&drawn(3, 4, 8), order, 60, 0.1, 9).problem, 4);
    }
    let compute = wide();
    let mut normal = Normal::new(10);
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(11);
    let skip: Vec<f64> = (0..9).map(|_| normal.draw()).collect();
    let network = Network::from_linear(3, &[6, 5], 3, &skip, &mut random, &compute);
    let theta: Vec<f64> = (0..4 * 20).map(|_| normal.draw()).collect();
    let compressor =
        Compressor::new(network, compute.tensor(&theta, [4, 20]), compute.tensor(&[0.01; 20], [20]), &compute);
    let flux = Array2::from_shape_fn((3, 20), |_| normal.draw() as f32);
    let ivar = Array2::from_elem((3, 20), 4.0);
    check(compressor.compress(&SpectraBatch::new(flux.view(), ivar.view(), &compute)).0, 3);
}

#[test]
fn a_gaussian_posterior_is_sampled_as_its_closed_form_says() {
    let compute = wide();
    let labels = drawn(6, 3, 21);
    let mock = mock(&labels, 1, 25, 0.2, 22);
    let text = "joint = \"training\"\nlabels.l1.normal = { mean = -0.5, sigma = 0.3 }";
    let prior = prior(text, 3);
    let at_zero = mock.problem.evaluate(compute.tensor(&[0.0; 18], [6, 3]));
    let (slope, curvature) = (to_f64(at_zero.half_gradient), to_f64(at_zero.curvature));
    let posterior = Posterior::new(mock.problem, prior.clone(), 3, None);
    let starts = approximations(&posterior, &mock.minimum, &mock.n_pixels);
    let found = hmc_draws(&posterior, &starts, &settings(2500));
    for star in 0..6 {
        let precision = DMatrix::from_row_slice(3, 3, &curvature[star * 9..][..9]) + &prior.precision;
        let covariance = precision.try_inverse().unwrap();
        let mean = &covariance * (&prior.pull - DVector::from_column_slice(&slope[star * 3..][..3]));
        // The approximation of a Gaussian is the Gaussian.
        for k in 0..3 {
            assert!((starts[star].centre[k] - mean[k]).abs() < 1e-8);
        }
        let draws = [
            ("HMC", found[star].clone()),
            ("NUTS", nuts::sample(&posterior, star, &starts[star], &settings(2500), 6, &Silent).unwrap()),
        ];
        for (name, draws) in draws {
            assert_eq!((draws.divergences(), draws.beyond_walls, draws.n_draws()), (0, 0, 2500), "{name}");
            let sampled = draws.covariance(3);
            for (k, marginal) in draws.marginals(3).iter().enumerate() {
                let sd = covariance[(k, k)].sqrt();
                let ess = marginal.diagnostics.ess_bulk;
                assert!(marginal.diagnostics.r_hat < 1.01 && ess > 2000.0, "{name}, star {star}: {marginal:?}");
                // 18 means and widths each: four standard errors. Widths of half the draws' worth, for energies mix slower.
                assert!((marginal.mean - mean[k]).abs() < 4.0 * sd / ess.sqrt(), "{name}, star {star}, label {k}");
                assert!((marginal.sd / sd - 1.0).abs() < 4.0 / (0.5 * ess).sqrt(), "{name}, star {star}, label {k}");
                for l in 0..k {
                    let correlation = (sampled[[k, l]] - covariance[(k, l)]) / (sd * covariance[(l, l)].sqrt());
                    assert!(correlation.abs() < 0.08, "{name}, star {star}: {correlation}");
                }
            }
        }
    }
}

#[test]
fn a_bent_posterior_is_sampled_as_brute_force_says() {
    let compute = wide();
    // So few pixels and so much noise that the posterior is no Gaussian at all, and walls cut into it.
    let labels = Array2::from_shape_vec((2, 2), vec![0.4, -0.3, -0.8, 0.9]).unwrap();
    let mock = mock(&labels, 2, 8, 0.15, 31);
    let text = "joint.mixture.components = 2\nlabels.l0.uniform = { min = -2.5, max = 0.8 }";
    let posterior = Posterior::new(mock.problem, prior(text, 2), 2, None);
    let starts = approximations(&posterior, &mock.minimum, &mock.n_pixels);
    let n = 401;
    let axis = |i: usize| -5.0 + 10.0 * i as f64 / (n - 1) as f64;
    let grid: Vec<f64> = (0..n * n).flat_map(|i| [axis(i / n), axis(i % n)]).collect();
    let twice = [grid.clone(), grid.clone()].concat();
    let points: Tensor<3> = compute.tensor(&twice, [2, n * n, 2]);
    let ln = to_f64(posterior.density(points.clone()).ln);
    let allowed = maury::device::to_bool(posterior.allows(&points).unwrap());
    for star in 0..2 {
        let rows = star * n * n..(star + 1) * n * n;
        let largest = ln[rows.clone()].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight: Vec<f64> = rows.map(|row| if allowed[row] { (ln[row] - largest).exp() } else { 0.0 }).collect();
        let total: f64 = weight.iter().sum();
        let hmc = hmc_draws(&posterior, &starts, &settings(3000)).swap_remove(star);
        let nuts = nuts::sample(&posterior, star, &starts[star], &settings(3000), 6, &Silent).unwrap();
        for (name, draws) in [("HMC", &hmc), ("NUTS", &nuts)] {
            assert_eq!(draws.divergences(), 0, "{name}");
            for (k, marginal) in draws.marginals(2).iter().enumerate() {
                let moment = |power: i32| {
                    let sum = weight.iter().enumerate().map(|(i, w)| w * grid[2 * i + k].powi(power)).sum::<f64>();
                    sum / total
                };
                let (mean, sd) = (moment(1), (moment(2) - moment(1).powi(2)).sqrt());
                let ess = marginal.diagnostics.ess_bulk.min(marginal.diagnostics.ess_tail);
                assert!(marginal.diagnostics.r_hat < 1.01 && ess > 500.0, "{name}: {marginal:?}");
                // Four standard errors and the grid's own step.
                let tolerance = 4.0 * sd / ess.sqrt() + 0.0125;
                assert!((marginal.mean - mean).abs() < tolerance, "{name} {star} {k}: {} {mean}", marginal.mean);
                assert!((marginal.sd - sd).abs() < tolerance, "{name} {star} {k}: {} {sd}", marginal.sd);
                for (q, quantile) in [0.16, 0.5, 0.84].into_iter().zip(marginal.quantiles) {
                    let below = weight.iter().enumerate().filter(|(i, _)| grid[2 * i + k] <= quantile);
                    let part = below.map(|(_, w)| w).sum::<f64>() / total;
                    assert!((part - q).abs() < 4.0 * 0.5 / ess.sqrt() + 0.01, "{name} {star} {k}: {part} not {q}");
                }
            }
        }
        if star == 0 {
            assert!(hmc.beyond_walls > 0 && nuts.beyond_walls > 0);
        }
    }
}

#[test]
fn noise_that_the_errors_do_not_tell_is_found() {
    // Errors understated by half: the factor on the variances is 4, and labels are half as well known as they look.
    let labels = drawn(3, 2, 41);
    let compute = wide();
    let (vectorizer, n_pixels) = (Vectorizer::new(2, 2), 400);
    let mut normal = Normal::new(42);
    let theta: Vec<f64> = (0..6 * n_pixels).map(|_| 0.1 * normal.draw()).collect();
    let theta = compute.tensor(&theta, [6, n_pixels]);
    let flat: Vec<f64> = labels.iter().copied().collect();
    let clean = to_f64(vectorizer.design_matrix(compute.tensor(&flat, [3, 2])).matmul(theta.clone()));
    let flux = Array2::from_shape_fn((3, n_pixels), |(n, j)| (clean[n * n_pixels + j] + 0.2 * normal.draw()) as f32);
    let ivar = Array2::from_elem((3, n_pixels), 100.0);
    let compressor = Compressor::new(vectorizer, theta, compute.tensor(&vec![0.0; n_pixels], [n_pixels]), &compute);
    let (problem, counted) = compressor.compress(&SpectraBatch::new(flux.view(), ivar.view(), &compute));
    let minimum = fit(&problem, &[labels], &FitSettings::default(), &compute, |_| true);
    let plain = Posterior::new(problem, ScaledPrior::flat(2), 2, None);
    let inflated = plain.clone().with_noise_inflation(1.0, &counted);
    let draws = |posterior: &Posterior<_>| {
        hmc_draws(posterior, &approximations(posterior, &minimum, &counted), &settings(1500))
    };
    for (plain, inflated) in draws(&plain).iter().zip(draws(&inflated)) {
        let factor = inflated.marginal(2);
        // ln chi^2 of 400 pixels scatters by sqrt(2 / 400) = 0.07.
        assert!((factor.mean - 4.0_f64.ln()).abs() < 0.25 && (0.06..0.085).contains(&factor.sd), "{factor:?}");
        let ratio = inflated.marginal(0).sd / plain.marginal(0).sd;
        assert!((ratio / (0.5 * factor.mean).exp() - 1.0).abs() < 0.08, "{ratio}");
    }
}

#[test]
fn known_labels_rank_evenly_among_the_draws_of_their_posteriors() {
    // Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788): labels from the prior, spectra from the labels.
    let (n_stars, n_ranks) = (600, 19);
    let labels = drawn(n_stars, 2, 51);
    let mock = mock(&labels, 2, 10, 0.15, 52);
    let text = "labels.l0.normal = { mean = 0, sigma = 1 }\nlabels.l1.normal = { mean = 0, sigma = 1 }";
    let posterior = Posterior::new(mock.problem, prior(text, 2), 2, None);
    let starts = approximations(&posterior, &mock.minimum, &mock.n_pixels);
    let found = hmc_draws(&posterior, &starts, &settings(190));
    for k in 0..2 {
        let mut counts = vec![0.0; n_ranks + 1];
        for (star, draws) in found.iter().enumerate() {
            // 19 draws far from each other, of all chains.
            let step = draws.values.nrows() / n_ranks;
            let rank = (0..n_ranks).filter(|i| draws.values[[i * step + step / 2, k]] < labels[[star, k]]).count();
            counts[rank] += 1.0;
        }
        let expected = n_stars as f64 / (n_ranks + 1) as f64;
        let chi2: f64 = counts.iter().map(|count| (count - expected) * (count - expected) / expected).sum();
        say(&format!("ranks of label {k}: chi^2 {chi2:.1} of 19 degrees of freedom"));
        // Exceeded by one in a thousand.
        assert!(chi2 < 43.8, "label {k}: chi^2 {chi2}, {counts:?}");
    }
}

#[test]
fn columns_are_integrated_out_as_the_full_covariance_says() {
    let compute = wide();
    let (n_pixels, mut normal) = (14, Normal::new(61));
    let theta: Vec<f64> = (0..2 * n_pixels).map(|_| normal.draw()).collect();
    let columns: Vec<f64> = (0..3 * 10).map(|_| normal.draw()).collect();
    let flux = Array2::from_shape_fn((1, n_pixels), |_| normal.draw() as f32);
    let ivar = Array2::from_shape_fn((1, n_pixels), |(_, j)| (0.5 + 0.1 * j as f64) as f32);
    let spectra = SpectraBatch::new(flux.view(), ivar.view(), &compute);
    let model = compute.tensor(&theta, [2, n_pixels]);
    let zero = compute.tensor(&vec![0.0; n_pixels], [n_pixels]);
    let compressor = Compressor::new(Vectorizer::new(1, 1), model, zero, &compute);
    let nuisance = LinearNuisance::of_columns(&compressor, &spectra, 3, compute.tensor(&columns, [1, 3, 10]));
    let marginal = compressor.compress(&spectra).0.marginalize(nuisance);
    let b = DMatrix::from_fn(n_pixels, 3, |j, z| if (3..13).contains(&j) { columns[z * 10 + j - 3] } else { 0.0 });
    let noise = DMatrix::from_diagonal(&DVector::from_fn(n_pixels, |j, _| 1.0 / f64::from(ivar[[0, j]])));
    let inverse = (noise + &b * b.transpose()).try_inverse().unwrap();
    for label in [-1.0, 0.4] {
        let r = DVector::from_fn(n_pixels, |j, _| f64::from(flux[[0, j]]) - theta[j] - theta[n_pixels + j] * label);
        let expected = (r.transpose() * &inverse * &r)[0];
        let found = to_f64(marginal.chi2(compute.tensor(&[label], [1, 1])))[0];
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
    }
}

#[test]
fn one_star_is_sampled_alike_by_both_samplers() {
    let compute = wide();
    let truth = truth(300, 3, 200, 95);
    let trained = model(&truth, &compute);
    let fitted = FittedCannon::new(&trained, &FitSettings::default(), &compute);
    let settings: PosteriorSettings =
        toml::from_str("sampler.draws = 1500\nprior.within_hull = true\nnuisances.noise_inflation = 0.3").unwrap();
    let prior = fitted.scaled_prior(trained.training_labels.view(), &settings.prior).unwrap();
    let spectra = SpectraBatch::new(truth.flux.slice(s![..2, ..]), truth.ivar.slice(s![..2, ..]), &compute);
    let grid = WavelengthGrid::from_pixel_numbers(200);
    let prepared = prepare(&fitted, &spectra, &prior, &settings.nuisances, &grid).unwrap();
    let scaler = label_scaler(&fitted);
    let draw = |sampler| draw_star(&prepared, 1, sampler, &settings.sampler, &scaler, 4, &Silent).unwrap().unwrap();
    let (hmc, nuts) = (draw(Sampler::Hmc), draw(Sampler::Nuts));
    for k in 0..4 {
        let (a, b) = (hmc.marginal(k), nuts.marginal(k));
        let error = 4.0 * a.sd * (1.0 / a.diagnostics.ess_bulk + 1.0 / b.diagnostics.ess_bulk).sqrt();
        assert!((a.mean - b.mean).abs() < error && (a.sd - b.sd).abs() < error, "{k}: {a:?} {b:?}");
        for (a, b) in a.quantiles.iter().zip(b.quantiles) {
            assert!((a - b).abs() < 2.0 * error, "{k}: {a} {b}");
        }
    }
}

/// `cargo test --release --test it -- --ignored --nocapture speed_of_hmc`
#[test]
#[ignore = "measures speed"]
fn speed_of_hmc() {
    let n_labels = 5;
    let labels = drawn(943, n_labels, 101);
    let mock = mock(&labels, 2, 400, 0.02, 102);
    let posterior = Posterior::new(mock.problem, prior("joint = \"training\"", n_labels), n_labels, None);
    let starts: Vec<Option<Approximation>> =
        posterior.approximate(&mock.minimum, &mock.n_pixels).into_iter().map(Result::ok).collect();
    for batch_stars in [16, 32, 64, 128, 256] {
        let settings = SamplerSettings { batch_stars, ..settings(1000) };
        let started = std::time::Instant::now();
        let found = hmc::sample(&posterior, &starts, &settings, 1, &Silent, |_, draws| {
            let marginals = draws.marginals(n_labels);
            let least = marginals.iter().map(|m| m.diagnostics.ess_bulk).fold(f64::INFINITY, f64::min);
            (least, draws.step_size, draws.acceptance, draws.n_gradients)
        })
        .unwrap();
        let seconds = started.elapsed().as_secs_f64();
        let found: Vec<_> = found.into_iter().flatten().collect();
        type Found = (f64, f64, f64, usize);
        let mean = |of: &dyn Fn(&Found) -> f64| found.iter().map(of).sum::<f64>() / found.len() as f64;
        say(&format!(
            "{batch_stars} stars a batch: {seconds:.1} s, {:.0} ESS/s, step {:.2}, accepted {:.2}, {:.0} gradients",
            mean(&|f| f.0) * found.len() as f64 / seconds,
            mean(&|f| f.1),
            mean(&|f| f.2),
            mean(&|f| f.3 as f64)
        ));
    }
    let mut one: Vec<Option<Approximation>> = vec![None; starts.len()];
    one[7] = starts[7].clone();
    for chains in [4, 16, 64] {
        let settings = SamplerSettings { chains, ..settings(1000) };
        let started = std::time::Instant::now();
        let draws = hmc::sample(&posterior, &one, &settings, 1, &Silent, |_, draws| draws).unwrap()[7].clone().unwrap();
        let seconds = started.elapsed().as_secs_f64();
        let ess = draws.marginals(n_labels).iter().map(|m| m.diagnostics.ess_bulk).fold(f64::INFINITY, f64::min);
        say(&format!("one star, {chains} chains: {seconds:.2} s, {:.0} ESS/s", ess / seconds));
    }
    let started = std::time::Instant::now();
    let draws = nuts::sample(&posterior, 7, one[7].as_ref().unwrap(), &settings(1000), 1, &Silent).unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let ess = draws.marginals(n_labels).iter().map(|m| m.diagnostics.ess_bulk).fold(f64::INFINITY, f64::min);
    say(&format!("one star, NUTS: {seconds:.2} s, {:.0} ESS/s", ess / seconds));
}
