//! Training all pixels at once against the obvious way: one pixel after the other, in f64, by brute force.

use maury::device::{Compute, Precision, to_f64};
use maury::models::cannon::NO_INFORMATION;
use maury::training::cannon_config::CannonConfig;
use maury::training::closed_form::train;
use nalgebra::{DMatrix, DVector};
use ndarray::{Array1, ArrayView1, ArrayView2};

use crate::support::{quadratic_terms, real_data, truth};

/// theta and the profile log-likelihood of one pixel at one s2.
fn at(design: &DMatrix<f64>, flux: ArrayView1<f32>, ivar: ArrayView1<f32>, s2: f64) -> (DVector<f64>, f64) {
    let weight = Array1::from_iter(ivar.iter().map(|v| if *v > 0.0 { 1.0 / (1.0 / f64::from(*v) + s2) } else { 0.0 }));
    let flux = DVector::from_iterator(flux.len(), flux.iter().map(|f| f64::from(*f)));
    let weighted = DMatrix::from_fn(design.nrows(), design.ncols(), |n, t| weight[n] * design[(n, t)]);
    let theta =
        (weighted.transpose() * design).cholesky().expect("enough stars").solve(&(weighted.transpose() * &flux));
    let residual = flux - design * &theta;
    let likelihood =
        weight.iter().zip(residual.iter()).filter(|(w, _)| **w > 0.0).map(|(w, r)| 0.5 * (w.ln() - w * r * r));
    (theta, likelihood.sum())
}

/// Maximum over s2 >= 0: a dense grid, then golden sections.
fn brute_force(design: &DMatrix<f64>, flux: ArrayView1<f32>, ivar: ArrayView1<f32>) -> (DVector<f64>, f64) {
    let mut grid = vec![0.0];
    grid.extend((0..400).map(|i| 10_f64.powf(-9.0 + f64::from(i) * 0.02)));
    let likelihood = |s2: f64| at(design, flux, ivar, s2).1;
    let values: Vec<f64> = grid.iter().map(|s2| likelihood(*s2)).collect();
    let best = (0..grid.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
    let (mut low, mut high) = (grid[best.saturating_sub(1)], grid[(best + 1).min(grid.len() - 1)]);
    let golden = 0.5 * (5_f64.sqrt() - 1.0);
    for _ in 0..80 {
        let (a, b) = (high - golden * (high - low), low + golden * (high - low));
        if likelihood(a) < likelihood(b) { low = a } else { high = b }
    }
    let found = 0.5 * (low + high);
    let s2 = if likelihood(0.0) >= likelihood(found) { 0.0 } else { found };
    (at(design, flux, ivar, s2).0, s2)
}

/// Trains in both precisions and compares s and the predicted flux of every star and pixel.
///
/// The tolerance is 1e-4 of the flux, and of s where s matters: near the edge s2 = 0 the likelihood is flat, and s is
/// compared in units of the smallest noise.
fn compare(labels: ArrayView2<f64>, flux: ArrayView2<f32>, ivar: ArrayView2<f32>, pixels: impl Iterator<Item = usize>) {
    let (n_stars, n_terms) = (labels.nrows(), quadratic_terms(&vec![0.0; labels.ncols()]).len());
    let rows: Vec<Vec<f64>> = labels.rows().into_iter().map(|row| quadratic_terms(&row.to_vec())).collect();
    let design = DMatrix::from_fn(n_stars, n_terms, |n, t| rows[n][t]);
    let trained: Vec<_> = [Precision::F32, Precision::F64]
        .map(|precision| {
            let config = CannonConfig { block_pixels: 17, ..CannonConfig::default() };
            let (cannon, report) = train(&config, labels, flux, ivar, &Compute::flex(precision)).unwrap();
            assert_eq!(report.n_unconverged_pixels, 0, "{precision:?}");
            (precision, to_f64(cannon.theta.val()), to_f64(cannon.s2.val()))
        })
        .into();
    let n_pixels = flux.ncols();
    for pixel in pixels {
        let (theta, s2) = brute_force(&design, flux.column(pixel), ivar.column(pixel));
        let smallest_noise = ivar.column(pixel).iter().fold(0.0_f64, |a, v| a.max(f64::from(*v))).sqrt().recip();
        let expected = &design * theta;
        for (precision, ours, our_s2) in &trained {
            let tolerance = 1e-4 * s2.sqrt().max(0.1 * smallest_noise);
            let difference = (our_s2[pixel].sqrt() - s2.sqrt()).abs();
            // At s = 0 the root of a rounding error is still small: compare variances there.
            let near_zero = (our_s2[pixel] - s2).abs() < 1e-4 * smallest_noise * smallest_noise;
            assert!(difference < tolerance || near_zero, "{precision:?} pixel {pixel}: s2 {} not {s2}", our_s2[pixel]);
            let theta = DVector::from_fn(n_terms, |t, _| ours[t * n_pixels + pixel]);
            let predicted = &design * theta;
            for (a, b) in predicted.iter().zip(expected.iter()) {
                assert!((a - b).abs() < 1e-4 * b.abs(), "{precision:?} pixel {pixel}: flux {a} not {b}");
            }
        }
    }
}

#[test]
fn all_pixels_at_once_equal_brute_force_on_mock_spectra() {
    let truth = truth(80, 3, 60, 11);
    compare(truth.labels.view(), truth.flux.view(), truth.ivar.view(), 0..60);
}

#[test]
fn all_pixels_at_once_equal_brute_force_on_real_spectra() {
    let Some(folder) = real_data("hipparcos_100px") else { return };
    let set = crate::real_data::hipparcos(&folder);
    compare(set.scaled.view(), set.flux.view(), set.ivar.view(), 0..100);
}

#[test]
fn pixels_without_information_are_invalid_and_leave_their_neighbours_alone() {
    let mut truth = truth(60, 2, 12, 3);
    let compute = Compute::flex(Precision::F64);
    let run = |flux: ArrayView2<f32>, ivar: ArrayView2<f32>| {
        train(&CannonConfig::default(), truth.labels.view(), flux, ivar, &compute).unwrap()
    };
    let (clean, _) = run(truth.flux.view(), truth.ivar.view());
    let (mut flux, mut ivar) = (truth.flux.clone(), truth.ivar.clone());
    ivar.column_mut(4).fill(0.0);
    ivar.column_mut(7).iter_mut().skip(5).for_each(|v| *v = 0.0); // five stars, six terms
    flux.column_mut(4).fill(1e6);
    let (cannon, report) = run(flux.view(), ivar.view());
    assert_eq!((report.n_invalid_pixels, report.n_valid_pixels), (2, 10));
    assert_eq!(
        cannon.valid_pixels().iter().enumerate().filter(|(_, v)| !**v).map(|(j, _)| j).collect::<Vec<_>>(),
        [4, 7]
    );
    let (ours, expected) = (to_f64(cannon.theta.val()), to_f64(clean.theta.val()));
    for (i, (a, b)) in ours.iter().zip(&expected).enumerate() {
        if ![4, 7].contains(&(i % 12)) {
            assert!((a - b).abs() < 1e-9, "entry {i}: {a} {b}");
        }
    }
    assert_eq!(to_f64(cannon.s2.val())[4], NO_INFORMATION);
    truth.labels.fill(0.5); // identical stars determine nothing: every pixel invalid, no panic
    let (cannon, report) =
        train(&CannonConfig::default(), truth.labels.view(), truth.flux.view(), truth.ivar.view(), &compute).unwrap();
    assert!(report.n_valid_pixels < 12 || to_f64(cannon.theta.val()).iter().all(|value| value.is_finite()));
}

#[test]
fn as_many_stars_as_terms_are_too_few() {
    let truth = truth(6, 2, 5, 1);
    let compute = Compute::flex(Precision::F32);
    let refusal = train(&CannonConfig::default(), truth.labels.view(), truth.flux.view(), truth.ivar.view(), &compute);
    assert!(refusal.unwrap_err().to_string().contains("at least 7 needed"));
}
