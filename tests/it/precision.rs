//! f32 or f64, the labels are the same: whatever the order of a Cannon and however few stars trained it.

use maury::device::{Compute, Precision, to_f64};
use maury::inference::fit::FitSettings;
use maury::inference::fitted::FittedCannon;
use maury::models::cannon::{Cannon, NO_INFORMATION};
use maury::models::{LabelEstimates, LabelEstimator, SpectralModel};
use maury::progress::Silent;
use maury::spectra::batch::SpectraBatch;
use maury::spectra::quality::star_flags;
use maury::training::cannon_config::{CannonConfig, LatentSettings};
use maury::training::checkpoint::TrainedCannon;
use maury::training::closed_form::{TrainingReport, train};
use maury::training::latent;
use maury::training::nuisance_choice::NuisanceCount;
use ndarray::Array2;

use crate::fitting::model;
use crate::support::{Normal, Truth, truth};

const N_PIXELS: usize = 300;

/// Stars of three labels that go together as those of giants do, with lines that saturate: no polynomial. Pixels are masked for
/// a tenth of the stars, some of them for all but a few.
fn stars(n_stars: usize, seed: u64) -> Truth {
    let mut lines = Normal::new(1000);
    let shapes: Vec<[f64; 4]> = (0..N_PIXELS).map(|_| std::array::from_fn(|_| lines.draw())).collect();
    let mut normal = Normal::new(seed);
    let mut labels = Array2::from_shape_fn((n_stars, 3), |_| normal.draw());
    for mut star in labels.rows_mut() {
        star[1] = 0.95 * star[0] + 0.31 * star[1];
    }
    let mut flux = Array2::zeros((n_stars, N_PIXELS));
    let mut ivar = Array2::zeros((n_stars, N_PIXELS));
    for n in 0..n_stars {
        let noise = 0.002 * (0.7 * normal.draw()).exp();
        for (j, shape) in shapes.iter().enumerate() {
            let strength = -2.0 + shape[0] + (0..3).map(|k| 0.3 * shape[k + 1] * labels[[n, k]]).sum::<f64>();
            let masked = (n * 31 + j * 7) % 10 == 0 || (j % 50 == 3 && n % 8 != 0);
            flux[[n, j]] = ((-strength.exp()).exp() + noise * normal.draw()) as f32;
            ivar[[n, j]] = if masked { 0.0 } else { (1.0 / (noise * noise)) as f32 };
        }
    }
    Truth { labels, flux, ivar, ..truth(1, 3, N_PIXELS, 1) }
}

/// What a Cannon of some stars says of others, in one precision.
fn labelled(
    training: &Truth,
    test: &Truth,
    order: usize,
    latent: Option<usize>,
    precision: Precision,
) -> (LabelEstimates, TrainingReport) {
    let compute = Compute::flex(precision);
    let plain = model(training, &compute);
    let scaled = plain.scaler.scale(training.labels.view());
    let config = CannonConfig { order, block_pixels: 64, ..CannonConfig::default() };
    let (flux, ivar) = (training.flux.view(), training.ivar.view());
    let (cannon, report) = match latent {
        Some(count) => {
            let settings = LatentSettings { spectra: NuisanceCount::Fixed(count), ..LatentSettings::default() };
            let found = latent::train(&config, &settings, scaled.view(), flux, ivar, &compute, &Silent).unwrap();
            (found.cannon, found.report)
        }
        None => train(&config, scaled.view(), flux, ivar, &compute).unwrap(),
    };
    let s2 = to_f64(cannon.s2.val());
    assert!(s2.iter().all(|s2| *s2 >= 0.0 && *s2 <= 1.001 * NO_INFORMATION));
    let spectra = SpectraBatch::new(test.flux.view(), test.ivar.view(), &compute);
    let fitted = FittedCannon::new(&TrainedCannon { cannon, ..plain }, &FitSettings::default(), &compute);
    (fitted.estimate_labels(&spectra).unwrap(), report)
}

/// The largest difference between two precisions, in formal errors, of the stars for which both have one minimum, and that they
/// reached. Few training stars have few stars inside their hull: outside counts, too. With hardly more stars than coefficients there
/// is no such star, and a warning instead.
fn largest_difference(narrow: &LabelEstimates, wide: &LabelEstimates) -> f64 {
    let settled = |flags: i64| flags & !star_flags::OUTSIDE_HULL == 0;
    let unremarked = |star: &usize| settled(narrow.flags[*star]) && settled(wide.flags[*star]);
    let stars: Vec<usize> = (0..wide.flags.len()).filter(unremarked).collect();
    assert!(stars.len() > wide.flags.len() / 10, "{} of {} without remark", stars.len(), wide.flags.len());
    let difference = |(star, k): (usize, usize)| {
        (narrow.labels[[star, k]] - wide.labels[[star, k]]).abs() / wide.error(star, k).max(1e-12)
    };
    stars.iter().flat_map(|star| (0..3).map(move |k| (*star, k))).map(difference).fold(0.0, f64::max)
}

#[test]
fn orders_and_numbers_of_stars_do_not_part_f32_from_f64() {
    let test = stars(80, 2);
    for (order, counts) in [(2, [25, 60, 400]), (3, [60, 150, 400])] {
        for count in counts {
            let training = stars(count, 3);
            let [(narrow, report), (wide, _)] =
                [Precision::F32, Precision::F64].map(|precision| labelled(&training, &test, order, None, precision));
            for estimates in [&narrow, &wide] {
                assert!(
                    estimates.chi2.iter().all(|chi2| chi2.is_nan() || *chi2 >= 0.0),
                    "order {order}, {count} stars"
                );
            }
            let difference = largest_difference(&narrow, &wide);
            assert!(difference < 0.1, "order {order}, {count} stars: {difference} formal errors; {report:?}");
        }
    }
}

#[test]
fn a_correlated_cannon_is_the_same_in_both_precisions() {
    let (training, test) = (stars(150, 4), stars(80, 5));
    let [(narrow, _), (wide, _)] =
        [Precision::F32, Precision::F64].map(|precision| labelled(&training, &test, 2, Some(5), precision));
    let difference = largest_difference(&narrow, &wide);
    // Rounds of expectation and maximization end where they gain little, and rounding has a say in where that is.
    assert!(difference < 0.2, "{difference}");
}

#[test]
fn pixels_that_few_stars_know_are_refused_where_their_coefficients_are_absurd() {
    let training = stars(120, 6);
    let mut few = training.clone();
    // Eleven stars for ten coefficients, all on one side of the training set, and nothing but noise in their pixel.
    let mut order: Vec<usize> = (0..120).collect();
    order.sort_by(|a, b| few.labels[[*a, 0]].total_cmp(&few.labels[[*b, 0]]));
    order[11..].iter().for_each(|star| few.ivar[[*star, 0]] = 0.0);
    let mut noise = Normal::new(9);
    for star in &order[..11] {
        (few.flux[[*star, 0]], few.ivar[[*star, 0]]) = ((0.8 + 0.001 * noise.draw()) as f32, 1e6);
    }
    let (_, report) = labelled(&few, &training, 2, None, Precision::F32);
    assert!(report.n_refused_pixels >= 1 && report.n_invalid_pixels >= 1, "{report:?}");
}

#[test]
fn bright_stars_under_a_steep_model_are_summed_up_in_f64() {
    // Errors a thousand times smaller than the lines: what is left of chi^2 is a billionth of what is summed up.
    let compute = Compute::flex(Precision::F64);
    let (exact, test) = (model(&stars(200, 7), &compute), stars(20, 8));
    let scaled = exact.scaler.scale(test.labels.view());
    let flux = to_f64(exact.cannon.predict_flux(compute.matrix(scaled.view())).mean);
    let flux = Array2::from_shape_vec((20, N_PIXELS), flux.into_iter().map(|flux| flux as f32).collect()).unwrap();
    let ivar = Array2::from_elem((20, N_PIXELS), 1e12);
    let estimates = [Precision::F32, Precision::F64].map(|precision| {
        let compute = Compute::flex(precision);
        let cannon = Cannon::from_coefficients(
            exact.cannon.vectorizer().clone(),
            &to_f64(exact.cannon.theta.val()),
            &vec![0.0; N_PIXELS],
            &compute,
        );
        let fitted = FittedCannon::new(&TrainedCannon { cannon, ..exact.clone() }, &FitSettings::default(), &compute);
        let spectra = SpectraBatch::new(flux.view(), ivar.view(), &compute);
        fitted.estimate_labels(&spectra).unwrap()
    });
    assert!(estimates[0].chi2.iter().all(|chi2| *chi2 >= 0.0));
    // What f32 cannot help is the rounding of the model itself: 6e-8 of a flux of 1, 0.06 of these errors, averaged over pixels.
    let difference = largest_difference(&estimates[0], &estimates[1]);
    assert!(difference < 0.3, "{difference}");
}
