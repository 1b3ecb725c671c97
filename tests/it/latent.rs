//! The correlated Cannon: what stars differ in beside their labels is found again, and errors are then true to size.

use maury::device::{Compute, Precision, to_f64};
use maury::error::Error;
use maury::inference::chi_square::ChiSquare;
use maury::inference::fit::FitSettings;
use maury::inference::fitted::FittedCannon;
use maury::models::LabelEstimator;
use maury::models::cannon::Cannon;
use maury::progress::Silent;
use maury::spectra::batch::SpectraBatch;
use maury::spectra::labels::LabelScaler;
use maury::spectra::quality::star_flags;
use maury::stats::robust::robust_scatter;
use maury::training::cannon_config::{CannonConfig, LatentSettings};
use maury::training::checkpoint::TrainedCannon;
use maury::training::latent::train;
use maury::training::nuisance_choice::NuisanceCount;
use nalgebra::{DMatrix, DVector};
use ndarray::{Array2, s};

use crate::fitting::model;
use crate::support::{Normal, Truth, truth};

const N_PIXELS: usize = 160;
const NOISE: f64 = 0.004;

/// What labels and nuisances do to each pixel: the same in every survey, with no pixel that all nuisances spare.
fn shapes() -> Vec<[f64; 7]> {
    let mut lines = Normal::new(77);
    (0..N_PIXELS).map(|_| std::array::from_fn(|_| 0.03 * lines.draw())).collect()
}

/// Stars of two labels and two nuisances that the catalogue does not give: one adds, the other bends by so much.
fn stars(n_stars: usize, seed: u64, bend: f64) -> Truth {
    let mut normal = Normal::new(seed);
    let labels = Array2::from_shape_fn((n_stars, 2), |_| normal.draw());
    let flux = {
        let shapes = shapes();
        let shape = |j: usize, of: usize| shapes[j][of];
        let mut flux = Array2::zeros((n_stars, N_PIXELS));
        for n in 0..n_stars {
            let (a, b) = (labels[[n, 0]], labels[[n, 1]]);
            let (adds, bends) = (normal.draw(), normal.draw());
            for j in 0..N_PIXELS {
                let known = 0.8 + shape(j, 1) * a + shape(j, 2) * b + 0.2 * shape(j, 3) * a * b;
                // Part of what nuisances do looks like labels: that is what makes them a nuisance.
                // Part of what nuisances do looks like labels: that is what makes them a nuisance.
                let unknown = (0.7 * shape(j, 4) + 0.3 * shape(j, 1)) * adds
                    + (shape(j, 5) + 0.3 * shape(j, 2)) * bends * (1.0 + bend * a)
                    + bend * shape(j, 6) * bends * bends;
                flux[[n, j]] = (known + unknown + NOISE * normal.draw()) as f32;
            }
        }
        flux
    };
    let ivar = Array2::from_shape_fn((n_stars, N_PIXELS), |(n, j)| {
        if (n * 7 + j) % 41 == 0 { 0.0 } else { (1.0 / (NOISE * NOISE)) as f32 }
    });
    Truth { labels, flux, ivar, ..truth(1, 2, N_PIXELS, 1) }
}

fn trained(stars: &Truth, settings: &LatentSettings, compute: &Compute) -> TrainedCannon {
    let plain = model(stars, compute);
    let scaled = plain.scaler.scale(stars.labels.view());
    let config = CannonConfig::default();
    let found =
        train(&config, settings, scaled.view(), stars.flux.view(), stars.ivar.view(), compute, &Silent).unwrap();
    TrainedCannon { cannon: found.cannon, latent_labels: found.latent_labels, ..plain }
}

/// Robust scatter of the first label about its truth, and of the pulls of both.
fn scatter_and_pulls(model: &TrainedCannon, stars: &Truth, compute: &Compute) -> (f64, [f64; 2]) {
    let spectra = SpectraBatch::new(stars.flux.view(), stars.ivar.view(), compute);
    let found = FittedCannon::new(model, &FitSettings::default(), compute).estimate_labels(&spectra).unwrap();
    let residuals = |k: usize| &found.labels.column(k) - &stars.labels.column(k);
    let pulls = |k: usize| {
        let errors = (0..stars.labels.nrows()).map(|n| found.error(n, k));
        robust_scatter(&residuals(k).iter().zip(errors).map(|(r, error)| r / error).collect::<Vec<_>>())
    };
    (robust_scatter(&residuals(0).to_vec()), [pulls(0), pulls(1)])
}

#[test]
fn told_of_nuisances_labels_are_better_and_pulls_have_width_one() {
    let compute = Compute::flex(Precision::F32);
    let (training, test) = (stars(400, 3, 0.2), stars(300, 4, 0.2));
    let (plain_scatter, plain_pulls) = scatter_and_pulls(&model(&training, &compute), &test, &compute);
    let settings =
        LatentSettings { labels: 1, spectra: NuisanceCount::Fixed(1), rounds: 12, ..LatentSettings::default() };
    let (scatter, pulls) = scatter_and_pulls(&trained(&training, &settings, &compute), &test, &compute);
    assert!(plain_pulls[0] > 1.5, "the nuisances must show in a plain Cannon: {plain_pulls:?}, {plain_scatter}");
    assert!(scatter < 0.5 * plain_scatter, "{scatter} against {plain_scatter}");
    // 300 stars know a width to 1.4826 x 0.79 / sqrt(300) = 7%; three times that, and what theta's own errors add.
    for pull in pulls {
        assert!((0.75..1.35).contains(&pull), "{pulls:?}");
    }
}

#[test]
fn the_polynomial_finds_how_a_latent_label_bends() {
    let compute = Compute::flex(Precision::F32);
    let training = stars(400, 3, 0.3);
    let settings =
        LatentSettings { labels: 1, spectra: NuisanceCount::Fixed(1), rounds: 15, ..LatentSettings::default() };
    let model = trained(&training, &settings, &compute);
    let term = model.cannon.vectorizer().position(&[2, 2]).unwrap();
    let theta = to_f64(model.cannon.theta.val());
    let square = &theta[term * N_PIXELS..(term + 1) * N_PIXELS];
    let put_in: Vec<f64> = shapes().iter().map(|shape| 0.3 * shape[6]).collect();
    // Whatever the sign of the latent label, its square has this spectrum.
    let correlation = maury::stats::correlation::pearson(square, &put_in);
    assert!(correlation > 0.95, "{correlation}");
}

#[test]
fn the_additive_spectra_are_those_that_were_put_in() {
    let compute = Compute::flex(Precision::F64);
    let mut training = stars(400, 5, 0.0);
    let mut normal = Normal::new(6);
    let put_in: Vec<f64> = (0..N_PIXELS).map(|j| 0.02 * (j as f64 * 0.37).cos()).collect();
    for n in 0..400 {
        let (labels, amplitude) = (training.labels.row(n).to_owned(), normal.draw());
        for (j, put_in) in put_in.iter().enumerate() {
            let known = 0.8 + 0.03 * (j as f64 * 0.18).sin() * labels[0] + 0.02 * (j as f64 * 0.25).sin() * labels[1];
            training.flux[[n, j]] = (known + put_in * amplitude + NOISE * normal.draw()) as f32;
        }
    }
    let settings = LatentSettings {
        labels: 0,
        spectra: NuisanceCount::Fixed(1),
        rounds: 10,
        clip: 0.0,
        ..LatentSettings::default()
    };
    let model = trained(&training, &settings, &compute);
    let found = &model.latent_spectra()[0];
    let sign = found.iter().zip(&put_in).map(|(f, p)| f * p).sum::<f64>().signum();
    // The amplitude of B is known to 1 / sqrt(2 x 400) = 3.5%, each pixel to NOISE / sqrt(400) = 0.0002.
    for (j, (found, put_in)) in found.iter().zip(&put_in).enumerate() {
        let tolerance = 0.12 * put_in.abs() + 5.0 * NOISE / 20.0;
        assert!((sign * found - put_in).abs() < tolerance, "pixel {j}: {found} {put_in}");
    }
    // What is left is the noise: s^2 is nil beside it.
    let s2 = to_f64(model.cannon.s2.val());
    assert!(s2.iter().filter(|s2| **s2 > 0.2 * NOISE * NOISE).count() < N_PIXELS / 20);
}

#[test]
fn compressed_with_nuisances_chi_square_is_that_of_the_full_covariance() {
    let compute = Compute::flex(Precision::F64);
    let truth = stars(60, 8, 0.2);
    let plain = model(&truth, &compute);
    let mut normal = Normal::new(9);
    let spectra: Vec<f64> = (0..3 * N_PIXELS).map(|_| 0.02 * normal.draw()).collect();
    let cannon = plain.cannon.clone().with_nuisance_spectra(&spectra, &compute);
    let (theta, s2) = (to_f64(cannon.theta.val()), to_f64(cannon.s2.val()));
    let told = TrainedCannon { cannon, ..plain };
    let one = (truth.flux.slice(s![..1, ..]), truth.ivar.slice(s![..1, ..]));
    let fitted = FittedCannon::new(&told, &FitSettings::default(), &compute);
    let (compressed, _) = fitted.compress(&SpectraBatch::new(one.0, one.1, &compute)).unwrap();
    let good: Vec<usize> = (0..N_PIXELS).filter(|j| one.1[[0, *j]] > 0.0).collect();
    let b = DMatrix::from_fn(good.len(), 3, |j, k| spectra[k * N_PIXELS + good[j]]);
    let noise = DMatrix::from_diagonal(&DVector::from_iterator(
        good.len(),
        good.iter().map(|j| 1.0 / f64::from(one.1[[0, *j]]) + s2[*j]),
    ));
    let inverse = (noise + &b * b.transpose()).try_inverse().unwrap();
    for labels in [[0.0, 0.0], [0.7, -1.1]] {
        let x = [1.0, labels[0], labels[1], labels[0] * labels[0], labels[0] * labels[1], labels[1] * labels[1]];
        let flux = |j: usize| (0..6).map(|t| theta[t * N_PIXELS + j] * x[t]).sum::<f64>();
        let r = DVector::from_iterator(good.len(), good.iter().map(|j| f64::from(one.0[[0, *j]]) - flux(*j)));
        let expected = (r.transpose() * &inverse * &r)[0];
        let found = to_f64(compressed.chi2(Compute::small_systems().tensor(&labels, [1, 2])))[0];
        // Sums of 160 products in f64, some of which cancel.
        assert!((found / expected - 1.0).abs() < 1e-7, "{found} {expected}");
    }
}

#[test]
fn more_latent_spectra_than_the_stars_allow_are_refused_and_bad_stars_are_flagged() {
    let compute = Compute::flex(Precision::F32);
    let mut training = stars(60, 11, 0.2);
    let settings = LatentSettings { labels: 2, spectra: NuisanceCount::Fixed(50), ..LatentSettings::default() };
    let plain = model(&training, &compute);
    let scaled = LabelScaler::scale(&plain.scaler, training.labels.view());
    let refused = train(
        &CannonConfig::default(),
        &settings,
        scaled.view(),
        training.flux.view(),
        training.ivar.view(),
        &compute,
        &Silent,
    );
    match refused.err() {
        Some(Error::TooFewStars { n_stars: 60, needed, remedy, .. }) => {
            // 15 terms of two labels and two latent ones, 50 spectra, and one star more.
            assert!(needed == 66 && remedy.contains("latent.spectra"), "{needed} {remedy}");
        }
        other => panic!("{other:?}"),
    }
    // A pixel no star knows, and a star without a pixel.
    training.ivar.column_mut(17).fill(0.0);
    training.ivar.row_mut(5).fill(0.0);
    let settings =
        LatentSettings { labels: 1, spectra: NuisanceCount::Fixed(1), rounds: 4, ..LatentSettings::default() };
    let model = trained(&training, &settings, &compute);
    assert!(!Cannon::valid_pixels(&model.cannon)[17] && Cannon::valid_pixels(&model.cannon)[16]);
    let spectra = SpectraBatch::new(training.flux.view(), training.ivar.view(), &compute);
    let found = FittedCannon::new(&model, &FitSettings::default(), &compute).estimate_labels(&spectra).unwrap();
    assert_eq!(found.flags[5] & star_flags::NO_DATA, star_flags::NO_DATA);
    assert!(found.labels.row(5)[0].is_nan() && found.labels.row(6)[0].is_finite());
}
