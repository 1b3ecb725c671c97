//! Stars that cannot be sampled, or hardly: each says so, and the batch goes on to its end.

use burn::tensor::{Int, Tensor};
use maury::device::{Compute, Precision};
use maury::inference::chi_square::{ChiSquare, Evaluation};
use maury::inference::compress::Compressor;
use maury::inference::compressed::CompressedSpectra;
use maury::inference::fit::{FitSettings, fit};
use maury::inference::fitted::FittedCannon;
use maury::inference::label_prior::ScaledPrior;
use maury::inference::posterior::{Approximation, Posterior, Unsampled};
use maury::inference::sampling::{Likelihood, PosteriorSettings, StarPosterior};
use maury::inference::{hmc, nuts};
use maury::models::vectorizer::Vectorizer;
use maury::progress::Silent;
use maury::spectra::batch::SpectraBatch;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::quality::star_flags;
use ndarray::{Array2, s};

use crate::fitting::model;
use crate::posterior::{approximations, drawn, hmc_draws, mock, prior, settings, wide};
use crate::support::{Normal, truth};

/// A problem some of whose stars have no finite chi^2.
#[derive(Clone)]
struct Broken {
    inner: CompressedSpectra<Vectorizer>,
    /// 0 or NaN, [n_stars, 1].
    poison: Tensor<2>,
}

impl ChiSquare for Broken {
    fn evaluate(&self, labels: Tensor<2>) -> Evaluation {
        let here = self.inner.evaluate(labels);
        Evaluation { chi2: here.chi2 + self.poison.clone(), ..here }
    }
    fn chi2(&self, labels: Tensor<2>) -> Tensor<2> {
        self.inner.chi2(labels) + self.poison.clone()
    }
    fn select(&self, rows: Tensor<1, Int>) -> Self {
        Self { inner: self.inner.select(rows.clone()), poison: self.poison.clone().select(0, rows) }
    }
}

#[test]
fn a_model_that_is_not_finite_and_a_start_far_away_cost_no_other_star_its_posterior() {
    let labels = drawn(5, 2, 71);
    let mock = mock(&labels, 2, 30, 0.05, 72);
    let poison = wide().tensor(&[0.0, f64::NAN, 0.0, 0.0, 0.0], [5, 1]);
    let posterior = Posterior::new(Broken { inner: mock.problem, poison }, ScaledPrior::flat(2), 2, None);
    let mut minimum = mock.minimum.clone();
    minimum.scaled_labels[[2, 0]] = f64::NAN;
    let found = posterior.approximate(&minimum, &[30, 30, 30, 30, 1]);
    let reasons: Vec<_> = found.iter().map(|found| found.as_ref().err().copied()).collect();
    let expected = [None, Some(Unsampled::NotFinite), Some(Unsampled::NotFinite), None, Some(Unsampled::NoData)];
    assert_eq!(reasons, expected);
    let mut starts: Vec<Option<Approximation>> = found.into_iter().map(Result::ok).collect();
    let alone = hmc::sample(&posterior, &starts, &settings(200), 5, &Silent, |_, draws| draws).unwrap();
    assert_eq!(alone.iter().filter(|draws| draws.is_some()).count(), 2);
    // Thousands of standard deviations off, with a width that has nothing to do with the posterior's there.
    let far = starts[3].as_mut().unwrap();
    far.centre = vec![300.0, -200.0];
    far.root *= 1e3;
    let beside = hmc::sample(&posterior, &starts, &settings(200), 5, &Silent, |_, draws| draws).unwrap();
    assert_eq!(beside[0], alone[0]);
    let lost = beside[3].as_ref().unwrap();
    let flags = StarPosterior::of(lost, 2, false, false).flags;
    let error = (lost.marginal(0).mean - labels[[3, 0]]).abs();
    assert!(flags & star_flags::NOT_MIXED != 0 || error < 0.2, "{flags} {error}");
    // And a star whose NaN is met only while sampling: it never moves, and says so.
    let starts = vec![None, starts[0].clone()];
    let stuck =
        hmc::sample(&posterior, &starts, &settings(20), 5, &Silent, |_, draws| draws).unwrap()[1].clone().unwrap();
    assert_eq!(stuck.acceptance, 0.0);
    assert_eq!(stuck.divergences(), 80);
    assert!(nuts::sample(&posterior, 1, starts[1].as_ref().unwrap(), &settings(20), 5, &Silent).is_err());
}

#[test]
fn a_flat_likelihood_needs_a_prior_and_is_then_the_prior() {
    // The second label is not in the spectrum at all.
    let compute = wide();
    let mut normal = Normal::new(81);
    let theta: Vec<f64> = (0..3 * 20).map(|i| if i < 40 { normal.draw() } else { 0.0 }).collect();
    let compressor = Compressor::new(
        Vectorizer::new(2, 1),
        compute.tensor(&theta, [3, 20]),
        compute.tensor(&[0.0; 20], [20]),
        &compute,
    );
    let flux = Array2::from_shape_fn((1, 20), |_| normal.draw() as f32);
    let ivar = Array2::from_elem((1, 20), 100.0);
    let (problem, n_pixels) = compressor.compress(&SpectraBatch::new(flux.view(), ivar.view(), &compute));
    let minimum = fit(&problem, &[Array2::zeros((1, 2))], &FitSettings::default(), &compute, |_| true);
    let improper = Posterior::new(problem.clone(), ScaledPrior::flat(2), 2, None);
    assert_eq!(improper.approximate(&minimum, &n_pixels), [Err(Unsampled::Unbounded)]);
    let uniform = prior("labels.l1.uniform = { min = -1, max = 3 }", 2);
    let proper = Posterior::new(problem, uniform, 2, None);
    let starts = approximations(&proper, &minimum, &n_pixels);
    let draws = hmc_draws(&proper, &starts, &settings(2500)).swap_remove(0);
    let marginal = draws.marginal(1);
    // Mean 1, width 4 / sqrt(12), quantiles at 16%, 50%, 84% of the way.
    let error = 4.0 * 1.155 / marginal.diagnostics.ess_bulk.sqrt();
    assert!(marginal.diagnostics.ess_bulk > 300.0 && draws.beyond_walls > 0, "{marginal:?}");
    assert!((marginal.mean - 1.0).abs() < error && (marginal.sd - 1.155).abs() < error, "{marginal:?}");
    for (quantile, expected) in marginal.quantiles.iter().zip([-0.36, 1.0, 2.36]) {
        assert!((quantile - expected).abs() < 1.5 * error, "{marginal:?}");
    }
}

#[test]
fn a_batch_with_an_empty_star_and_a_prior_against_the_data_is_sampled_to_its_end() {
    let compute = Compute::flex(Precision::F32);
    let mut truth = truth(300, 3, 200, 91);
    let trained = model(&truth, &compute);
    truth.ivar.row_mut(1).fill(0.0);
    let fitted = FittedCannon::new(&trained, &FitSettings::default(), &compute);
    let grid = WavelengthGrid::from_pixel_numbers(200);
    let rows = s![..6, ..];
    let run = |text: &str, seed: u64| {
        let settings: PosteriorSettings = toml::from_str(text).unwrap();
        let prior = fitted.scaled_prior(trained.training_labels.view(), &settings.prior).unwrap();
        let (flux, ivar) = (truth.flux.slice(rows), truth.ivar.slice(rows));
        fitted.sample_arrays((flux, ivar), &grid, &prior, &settings, seed, &compute, &Silent).unwrap()
    };
    let text = "sampler.draws = 500\nprior.joint = \"training\"\nnuisances.noise_inflation = 0.5\n\
                nuisances.continuum = { order = 0, width = 0.003 }";
    let posteriors = run(text, 1);
    let again = run(text, 1);
    assert!([0, 2, 3, 4, 5].iter().all(|star| posteriors[*star] == again[*star]));
    assert_ne!(posteriors[0], run(text, 2)[0]);
    assert_eq!(posteriors[1].flags, star_flags::NO_DATA | star_flags::NO_POSTERIOR);
    assert!(posteriors[1].marginals[0].mean.is_nan() && posteriors[1].worst()[0].is_nan());
    for star in [0, 2, 3, 4, 5] {
        let posterior = &posteriors[star];
        assert_eq!(posterior.flags & (star_flags::NOT_MIXED | star_flags::DIVERGENT), 0, "{posterior:?}");
        assert!(posterior.worst()[1] > 400.0);
        for k in 0..3 {
            let pull = (posterior.marginals[k].mean - truth.labels[[star, k]]) / posterior.marginals[k].sd;
            assert!(pull.abs() < 5.0, "star {star}, label {k}: {pull}");
        }
    }
    // Labels are drawn from (-3, 3) or so: nothing of the data is left between 5 and 6.
    let posteriors = run("sampler.draws = 200\nprior.labels.l0.uniform = { min = 5, max = 6 }", 1);
    assert_ne!(posteriors[0].flags & star_flags::PRIOR_AGAINST_DATA, 0);
    assert!((5.0..5.2).contains(&posteriors[0].marginals[0].mean), "{:?}", posteriors[0].marginals[0]);
    // A wall is not needed for a contradiction.
    let posteriors = run("sampler.draws = 200\nprior.labels.l0.normal = { mean = 5, sigma = 0.2 }", 1);
    assert_ne!(posteriors[0].flags & star_flags::PRIOR_AGAINST_DATA, 0);
    let posteriors = run("sampler.draws = 200\nprior.labels.l0.normal = { mean = 0, sigma = 2 }", 1);
    assert_eq!(posteriors[0].flags & star_flags::PRIOR_AGAINST_DATA, 0);
    let posteriors = run("sampler.draws = 200\nprior.within_hull = true", 1);
    assert!(posteriors[0].marginals[0].mean.is_finite());
}
