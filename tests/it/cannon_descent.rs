//! The Cannon by descent: to the closed form's optimum, and beyond what has a closed form.

use std::collections::BTreeMap;

use maury::device::{Compute, Precision, to_f64};
use maury::models::SpectralModel;
use maury::models::cannon::{Cannon, NO_INFORMATION};
use maury::progress::Silent;
use maury::training::cannon_config::{CannonConfig, CannonDescent};
use maury::training::cannon_descent::{CannonStars, train};
use maury::training::closed_form::{self, TrainingReport};
use maury::training::optimizer::{OptimizerSettings, Schedule};
use maury::training::term_layout::TermLayout;
use ndarray::{Array2, s};

use crate::support::{Normal, Truth, metrics, quadratic_terms, refused, succeeded, survey, truth};

fn lbfgs() -> CannonDescent {
    CannonDescent::default()
}

fn adam() -> CannonDescent {
    CannonDescent { epochs: 600, optimizer: OptimizerSettings::Adam {}, ..CannonDescent::default() }
}

fn descended(config: &CannonConfig, descent: &CannonDescent, truth: &Truth) -> (Cannon, TrainingReport) {
    let none = Array2::from_elem(truth.labels.raw_dim(), f64::NAN);
    with_errors(config, descent, truth, &none)
}

fn with_errors(
    config: &CannonConfig,
    descent: &CannonDescent,
    truth: &Truth,
    errors: &Array2<f64>,
) -> (Cannon, TrainingReport) {
    let label_names: Vec<String> = (0..truth.labels.ncols()).map(|k| format!("l{k}")).collect();
    let wavelength: Vec<f64> = (0..truth.flux.ncols()).map(|pixel| 15_000.0 + pixel as f64).collect();
    let stars = CannonStars {
        label_names: &label_names,
        wavelength: &wavelength,
        scaled_labels: truth.labels.view(),
        scaled_label_errors: errors.view(),
        spectra: (truth.flux.view(), truth.ivar.view()).into(),
    };
    train(config, descent, &stars, 1, &Compute::flex(Precision::F64), &Silent).unwrap()
}

/// ln L of every pixel (Ness et al. 2015, Eq. 4), written out.
fn log_likelihoods(cannon: &Cannon, truth: &Truth) -> Vec<f64> {
    let (theta, s2) = (to_f64(cannon.theta.val()), to_f64(cannon.s2.val()));
    let (n_stars, n_pixels) = truth.flux.dim();
    (0..n_pixels)
        .map(|j| {
            let of_star = |n: usize| {
                let ivar = f64::from(truth.ivar[[n, j]]);
                let terms = quadratic_terms(&truth.labels.row(n).to_vec());
                let model: f64 = terms.iter().enumerate().map(|(t, x)| x * theta[t * n_pixels + j]).sum();
                let (residual, variance) = (f64::from(truth.flux[[n, j]]) - model, 1.0 / ivar + s2[j]);
                if ivar > 0.0 { -0.5 * (residual * residual / variance + variance.ln()) } else { 0.0 }
            };
            (0..n_stars).map(of_star).sum()
        })
        .collect()
}

#[test]
fn every_optimizer_reaches_the_optimum_of_the_closed_form() {
    let truth = truth(80, 3, 60, 11);
    let config = CannonConfig { block_pixels: 23, ..CannonConfig::default() };
    let compute = Compute::flex(Precision::F64);
    let (exact, _) =
        closed_form::train(&config, truth.labels.view(), truth.flux.view(), truth.ivar.view(), &compute).unwrap();
    let labels: Vec<f64> = truth.labels.iter().copied().collect();
    let spectra = |cannon: &Cannon| to_f64(cannon.predict_flux(compute.tensor(&labels, [80, 3])).mean);
    let (best, expected, expected_s2) = (log_likelihoods(&exact, &truth), spectra(&exact), to_f64(exact.s2.val()));
    for (name, descent) in [("L-BFGS", lbfgs()), ("Adam", adam())] {
        let (cannon, report) = descended(&config, &descent, &truth);
        let found = log_likelihoods(&cannon, &truth);
        let s2 = to_f64(cannon.s2.val());
        let mut worst = 0.0_f64;
        for j in 0..60 {
            worst = worst.max(best[j] - found[j]);
            let noise = truth.ivar.column(j).iter().fold(0.0_f32, |a, v| a.max(*v)).sqrt().recip();
            let near_zero = expected_s2[j].sqrt() < 0.3 * f64::from(noise);
            let off = (s2[j].sqrt() / expected_s2[j].sqrt() - 1.0).abs();
            assert!(near_zero || off < 1e-3, "{name}, pixel {j}: s {} not {}", s2[j].sqrt(), expected_s2[j].sqrt());
        }
        // A likelihood ratio of 1e-3 is nothing to anybody.
        assert!(worst < 1e-3, "{name}: ln L lower by {worst}");
        let flux_off = spectra(&cannon).iter().zip(&expected).fold(0.0_f64, |a, (x, y)| a.max((x - y).abs()));
        assert!(flux_off < 1e-4, "{name}: predicted flux off by {flux_off}");
        crate::support::say(&format!("{name}: ln L lower by {worst:.1e}, flux off by {flux_off:.1e}, {report:?}"));
        let loss = report.descent.unwrap().final_loss;
        let informative = truth.ivar.iter().filter(|ivar| **ivar > 0.0).count() as f64;
        assert!((loss + found.iter().sum::<f64>() / informative).abs() < 1e-6, "{name}: loss {loss}");
        assert_eq!((report.n_valid_pixels, report.n_unconverged_pixels), (60, 0), "{name}");
    }
}

#[test]
fn pixels_without_information_are_invalid_as_in_the_closed_form() {
    let mut truth = truth(60, 2, 12, 3);
    truth.ivar.column_mut(4).fill(0.0);
    truth.ivar.column_mut(7).iter_mut().skip(5).for_each(|v| *v = 0.0); // five stars, six terms
    truth.flux.column_mut(4).fill(1e6);
    let (cannon, report) = descended(&CannonConfig::default(), &lbfgs(), &truth);
    assert_eq!((report.n_valid_pixels, report.n_invalid_pixels), (10, 2));
    let invalid: Vec<usize> =
        cannon.valid_pixels().iter().enumerate().filter(|(_, valid)| !**valid).map(|(j, _)| j).collect();
    assert_eq!(invalid, [4, 7]);
    assert!(to_f64(cannon.s2.val())[4] >= NO_INFORMATION);
    truth.ivar.fill(0.0);
    assert_eq!(descended(&CannonConfig::default(), &lbfgs(), &truth).1.n_valid_pixels, 0);
}

#[test]
fn a_penalty_takes_coefficients_away_and_none_changes_nothing() {
    let truth = truth(80, 2, 20, 5);
    let with = |l1: f64| descended(&CannonConfig { l1, ..CannonConfig::default() }, &lbfgs(), &truth);
    let (free, plain) = (with(0.0).0, with(1e-9).0);
    for (a, b) in to_f64(free.theta.val()).iter().zip(to_f64(plain.theta.val())) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
    let zeros = |l1: f64| with(l1).1.descent.unwrap().n_zero_coefficients;
    assert_eq!(zeros(0.0), 0);
    let some = zeros(1e3);
    assert!(some > 0 && some < 100, "{some} of 100 coefficients are nil");
    let (cannon, report) = with(1e7);
    let theta = to_f64(cannon.theta.val());
    assert_eq!(report.descent.unwrap().n_zero_coefficients, 100);
    assert!(theta[20..].iter().all(|theta| *theta == 0.0) && theta[..20].iter().all(|theta| *theta > 0.5));
}

/// One pixel after the other by coordinate descent on the penalized chi^2, at given s^2.
#[test]
fn the_penalized_optimum_is_that_of_coordinate_descent() {
    let truth = truth(80, 2, 10, 6);
    let l1 = 2e3;
    let (cannon, _) = descended(&CannonConfig { l1, ..CannonConfig::default() }, &lbfgs(), &truth);
    let (theta, s2) = (to_f64(cannon.theta.val()), to_f64(cannon.s2.val()));
    let rows: Vec<Vec<f64>> = truth.labels.rows().into_iter().map(|row| quadratic_terms(&row.to_vec())).collect();
    for j in 0..10 {
        let weight: Vec<f64> = (0..80).map(|n| f64::from(truth.ivar[[n, j]])).map(|v| v / (1.0 + v * s2[j])).collect();
        let mut own = [0.0; 6];
        for _ in 0..2000 {
            for t in 0..6 {
                let partial = |n: usize| {
                    let others: f64 = (0..6).filter(|u| *u != t).map(|u| own[u] * rows[n][u]).sum();
                    f64::from(truth.flux[[n, j]]) - others
                };
                let b: f64 = (0..80).map(|n| weight[n] * rows[n][t] * partial(n)).sum();
                let a: f64 = (0..80).map(|n| weight[n] * rows[n][t] * rows[n][t]).sum();
                // Soft threshold: half of Lambda beside half of chi^2.
                let shift = if t == 0 { 0.0 } else { 0.5 * l1 };
                own[t] = b.signum() * (b.abs() - shift).max(0.0) / a;
            }
        }
        for t in 0..6 {
            let (ours, exact) = (theta[t * 10 + j], own[t]);
            // The rounded tip of |theta| is a thousandth of a star's noise wide.
            assert!((ours - exact).abs() < 2e-4, "pixel {j}, term {t}: {ours} not {exact}");
        }
    }
}

#[test]
fn outside_its_windows_a_label_does_nothing() {
    let truth = truth(80, 2, 20, 7);
    let censor = BTreeMap::from([("l1".to_string(), vec![[15_003.0, 15_006.0], [15_010.0, 15_011.5]])]);
    let config = CannonConfig { censor, ..CannonConfig::default() };
    let inside = [3, 4, 5, 6, 10, 11];
    let compute = Compute::flex(Precision::F64);
    let exact = |flux: &Truth| {
        closed_form::train(&config, flux.labels.view(), flux.flux.view(), flux.ivar.view(), &compute).unwrap().0
    };
    let everywhere = to_f64(exact(&truth).theta.val());
    // Without label 1 a pixel is a Cannon of label 0 alone.
    let alone = Truth {
        labels: truth.labels.slice(s![.., ..1]).to_owned(),
        theta: Array2::zeros((3, 20)),
        flux: truth.flux.clone(),
        ivar: truth.ivar.clone(),
    };
    let alone = to_f64(exact(&alone).theta.val());
    let names = ["l0", "l1"].map(String::from);
    let wavelength: Vec<f64> = (0..20).map(|pixel| 15_000.0 + f64::from(pixel)).collect();
    let layout = TermLayout::new(&config, &names, &wavelength);
    let spectra = (truth.flux.view(), truth.ivar.view());
    let in_closed_form =
        closed_form::train_terms(&config, &layout, truth.labels.view(), spectra.into(), &compute).unwrap();
    assert_eq!(in_closed_form.1.n_nil_coefficients, 14 * 3);
    let by_descent = [lbfgs(), adam()].map(|descent| descended(&config, &descent, &truth));
    for (cannon, report) in [in_closed_form].into_iter().chain(by_descent) {
        let theta = to_f64(cannon.theta.val());
        for j in 0..20 {
            for t in 0..6 {
                let ours = theta[t * 20 + j];
                // Terms: 1, a, b, aa, ab, bb.
                let expected = match (inside.contains(&j), t) {
                    (true, _) => everywhere[t * 20 + j],
                    (false, 0) => alone[j],
                    (false, 1) => alone[20 + j],
                    (false, 3) => alone[40 + j],
                    _ => 0.0,
                };
                assert!((ours - expected).abs() < 1e-4, "pixel {j}, term {t}: {ours} not {expected}");
                assert!(expected != 0.0 || ours == 0.0, "pixel {j}, term {t}");
            }
        }
        assert!(report.descent.is_none_or(|descent| descent.n_zero_coefficients == 14 * 3));
    }
}

#[test]
fn known_errors_of_the_labels_lessen_what_they_attenuate() {
    let mut truth = truth(600, 2, 30, 8);
    let mut normal = Normal::new(9);
    // A third of the stars have bad labels, and say so.
    let errors = Array2::from_shape_fn((600, 2), |(n, _)| if n % 3 == 0 { 1.0 } else { 0.1 });
    let noisy = Array2::from_shape_fn((600, 2), |at| truth.labels[at] + errors[at] * normal.draw());
    truth.labels.assign(&noisy);
    // How much of the true linear coefficients is found.
    let kept = |cannon: &Cannon| {
        let theta = to_f64(cannon.theta.val());
        let (mut along, mut square) = (0.0, 0.0);
        for t in 1..3 {
            for j in 0..30 {
                along += theta[t * 30 + j] * truth.theta[[t, j]];
                square += truth.theta[[t, j]].powi(2);
            }
        }
        along / square
    };
    let config = CannonConfig { label_errors: true, ..CannonConfig::default() };
    let without = kept(&descended(&CannonConfig::default(), &lbfgs(), &truth).0);
    let with = kept(&with_errors(&config, &lbfgs(), &truth, &errors).0);
    let unknown = Array2::from_elem((600, 2), f64::NAN);
    let ignorant = kept(&with_errors(&config, &lbfgs(), &truth, &unknown).0);
    crate::support::say(&format!("share of the coefficients found: {without:.3} without, {with:.3} with label errors"));
    assert!((ignorant - without).abs() < 1e-4, "{ignorant} {without}");
    assert!(without < 0.85 && (with - 1.0).abs() < 0.3 * (without - 1.0).abs(), "{without} {with}");
}

#[test]
fn batches_of_stars_come_near_the_optimum_too() {
    let truth = truth(80, 2, 15, 12);
    let config = CannonConfig::default();
    let descent = CannonDescent { batch_rows: 20, epochs: 600, schedule: Schedule::Cosine { warm_up: 5 }, ..adam() };
    let found = log_likelihoods(&descended(&config, &descent, &truth).0, &truth);
    let best = log_likelihoods(&descended(&config, &lbfgs(), &truth).0, &truth);
    let worst = best.iter().zip(&found).fold(0.0_f64, |a, (best, found)| a.max(best - found));
    assert!(worst < 0.1, "ln L lower by {worst}");
}

#[test]
fn an_experiment_trains_by_descent_and_refuses_what_has_no_closed_form() {
    let folder = survey(60);
    let models = "\
extends = 'lab.toml'
[models.exact.cannon]
order = 1
[models.descended.cannon]
order = 1
censor.fe_h = [[15000.0, 16000.0]]
training.descent = { epochs = 2 }
";
    std::fs::write(folder.path().join("descent.toml"), models).unwrap();
    succeeded(folder.path(), &["run", "descent.toml", "--set", "fit.method.lbfgs={}"]);
    let metrics = metrics(folder.path(), "descent");
    let training = |model: &str| metrics["models"][model]["training"][0].clone();
    assert!(training("exact")["descent"].is_null());
    let descent = training("descended")["descent"].clone();
    assert_eq!(descent["epochs"], 2);
    assert!(descent["final_loss"].as_f64().unwrap() < 0.0 && descent["n_zero_coefficients"].as_u64().unwrap() > 2000);
    let penalty = ["run", "descent.toml", "--set", "models.exact.cannon.l1=3.0"];
    refused(folder.path(), &penalty, 2, &["models.exact.cannon.l1", "training.descent"]);
    let stranger = "models.descended.cannon.censor.mg_fe=[[1.0, 2.0]]";
    refused(folder.path(), &["run", "descent.toml", "--set", stranger], 2, &["censor.mg_fe", "teff, logg, fe_h"]);
}
