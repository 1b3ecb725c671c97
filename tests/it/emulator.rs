//! The shipped emulator: its spectra come back as labels, and its file is what its card says.

use std::path::{Path, PathBuf};

use maury::device::{Compute, Precision, to_f64};
use maury::inference::fit::FitSettings;
use maury::inference::prior::Nuisances;
use maury::inference::refine::{FittedPayne, RefineSettings};
use maury::models::{Estimated, LabelEstimates, LabelEstimator, SpectralModel, Wanted};
use maury::spectra::batch::SpectraBatch;
use maury::spectra::quality::star_flags;
use maury::stats::robust::{median, robust_scatter};
use maury::training::emulator::errors;
use maury::training::payne_checkpoint::TrainedPayne;
use ndarray::{Array2, Axis, s};

use crate::support::{Normal, real_data};

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband")
}

/// Emulated spectra of models of the library at SNR 100 under crooked continua, with 1% of the pixels 5 to 30% off.
fn observed(model: &TrainedPayne, n_stars: usize, compute: &Compute) -> (Array2<f64>, SpectraBatch) {
    let rows: Vec<usize> = (0..n_stars).map(|n| n * 37 % model.training_inputs.nrows()).collect();
    let inputs = model.training_inputs.select(Axis(0), &rows);
    let scaled: Vec<f64> = model.scaler.scale(inputs.view()).iter().copied().collect();
    let flux = to_f64(model.payne.predict_flux(compute.tensor(&scaled, [n_stars, inputs.ncols()])).mean);
    let n_pixels = model.payne.n_pixels();
    let mut normal = Normal::new(11);
    let mut observed = Array2::zeros((n_stars, n_pixels));
    for star in 0..n_stars {
        for chip in &model.preparation.grid.chips {
            let bends = [0.05, 0.03, 0.02].map(|size| size * normal.draw());
            for (step, pixel) in chip.clone().enumerate() {
                let x = 2.0 * step as f64 / chip.len() as f64 - 1.0;
                let continuum = 0.95 + bends[0] * x + bends[1] * x * x + bends[2] * x * x * x;
                let outlier = if normal.uniform(0.0, 1.0) < 0.01 { normal.uniform(0.05, 0.3) } else { 0.0 };
                let value = continuum * (flux[star * n_pixels + pixel] + 0.01 * normal.draw() + outlier);
                observed[[star, pixel]] = value as f32;
            }
        }
    }
    let ivar = Array2::from_elem((n_stars, n_pixels), 1e4_f32);
    (inputs, SpectraBatch::new(observed.view(), ivar.view(), compute))
}

fn fitted(model: &TrainedPayne, nuisances: Nuisances, spectra: &SpectraBatch, compute: &Compute) -> LabelEstimates {
    let refine = RefineSettings { nuisances, ..RefineSettings::default() };
    FittedPayne::new(model, &FitSettings::default(), &refine, compute).estimate_labels(spectra).unwrap()
}

#[test]
fn labels_come_back_through_continuum_outliers_and_unknown_nuisances() {
    let compute = Compute::flex(Precision::F32);
    let model = TrainedPayne::load(&shipped(), &compute).unwrap();
    let n_stars = 64;
    let (inputs, spectra) = observed(&model, n_stars, &compute);
    let free = fitted(&model, Nuisances::Free, &spectra, &compute);
    let fixed = fitted(&model, Nuisances::Fixed, &spectra, &compute);
    let converged = free.flags.iter().filter(|flags| **flags & star_flags::NOT_CONVERGED == 0).count();
    assert!(converged >= n_stars - 2, "{converged} of {n_stars} fits converged");
    for k in 0..5 {
        let difference =
            |of: &LabelEstimates| -> Vec<f64> { (0..n_stars).map(|n| of.labels[[n, k]] - inputs[[n, k]]).collect() };
        let pulls: Vec<f64> = difference(&free).iter().enumerate().map(|(n, d)| d / free.error(n, k)).collect();
        let name = &model.scaler.names[k];
        // 64 stars know the width of their pulls to 9%; outliers weigh in with a t distribution's tails.
        let width = robust_scatter(&pulls);
        assert!((0.6..1.5).contains(&width), "{name}: pulls of width {width}");
        assert!(median(&pulls).abs() < 0.6, "{name}: pulls about {}", median(&pulls));
        let (free, fixed) = (robust_scatter(&difference(&free)), robust_scatter(&difference(&fixed)));
        println!("{name}: scatter {free:.4} with free nuisances, {fixed:.4} with fixed");
        assert!(free < 1.2 * fixed, "{name}: {free} with free nuisances, {fixed} with fixed");
    }
}

#[test]
fn the_best_fit_lies_on_the_spectrum_with_its_continuum() {
    let compute = Compute::flex(Precision::F32);
    let model = TrainedPayne::load(&shipped(), &compute).unwrap();
    let (_, spectra) = observed(&model, 6, &compute);
    let refine = RefineSettings::default();
    let fitted = FittedPayne::new(&model, &FitSettings::default(), &refine, &compute);
    let wanted = Wanted { best_fit: true, ..Wanted::default() };
    let Estimated { labels: estimates, best_fit, .. } = fitted.estimate(&spectra, wanted).unwrap();
    assert_eq!(estimates.labels, fitted.estimate_labels(&spectra).unwrap().labels);
    let residuals = to_f64(spectra.flux.clone() - best_fit.unwrap().mean);
    for star in residuals.chunks(model.payne.n_pixels()) {
        // Noise of 0.01 times a continuum of 0.85 to 1.05: nothing of the crooked continuum is left.
        let scatter = robust_scatter(star);
        assert!((0.0085..0.0105).contains(&scatter) && median(star).abs() < 0.001, "{scatter} {}", median(star));
    }
}

#[test]
fn a_star_beyond_the_library_is_flagged() {
    let compute = Compute::flex(Precision::F32);
    let model = TrainedPayne::load(&shipped(), &compute).unwrap();
    let pivot = model.scaler.scale(model.training_inputs.view()).mean_axis(Axis(0)).unwrap();
    let mut scaled = Array2::from_shape_fn((2, pivot.len()), |(_, k)| pivot[k]);
    // The second is metal-poorer by three standard deviations than the average star, below the library's -1.
    scaled[[1, 2]] -= 3.5;
    let flat: Vec<f64> = scaled.iter().copied().collect();
    let flux = to_f64(model.payne.predict_flux(compute.tensor(&flat, [2, pivot.len()])).mean);
    let flux = Array2::from_shape_vec((2, model.payne.n_pixels()), flux).unwrap().mapv(|flux| flux as f32);
    let ivar = Array2::from_elem(flux.raw_dim(), 1e4_f32);
    let estimates = fitted(&model, Nuisances::Free, &SpectraBatch::new(flux.view(), ivar.view(), &compute), &compute);
    let outside = estimates.flags.iter().map(|flags| flags & star_flags::OUTSIDE_HULL != 0).collect::<Vec<_>>();
    assert_eq!(outside, [false, true], "[Fe/H] {:?}", estimates.labels.slice(s![.., 2]));
}

#[test]
fn the_error_on_models_held_out_is_that_of_the_card() {
    let compute = Compute::flex(Precision::F32);
    let model = TrainedPayne::load(&shipped(), &compute).unwrap();
    let size: u64 = std::fs::read_dir(shipped()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(size <= 2 << 20, "{size} bytes");
    let Some(path) = real_data("library/hband_giants.npz") else { return };
    let library = maury::data::library::read(&path).unwrap();
    // Every tenth model was held out; its inputs in the order of the emulator's: all nuisances but the last column.
    let rows: Vec<usize> = (0..library.flux.nrows()).filter(|row| row % 10 == 9).collect();
    let inputs = Array2::from_shape_fn((rows.len(), 26), |(n, k)| match k {
        0..5 => library.labels[[rows[n], k]],
        25 => library.nuisances[[rows[n], 20]].log10(),
        _ => library.nuisances[[rows[n], k - 5]],
    });
    let flux = library.flux.select(Axis(0), &rows);
    let error = errors(&model.payne, model.scaler.scale(inputs.view()).view(), flux.view(), &compute);
    let rms = error.mapv(|e| e * e).mean().unwrap().sqrt();
    let card = std::fs::read_to_string(shipped().join("README.md")).unwrap();
    assert!(card.contains(&format!("| rms, all models and pixels | {rms:.5} |")), "{rms}");
    assert!(rms < 0.0006, "{rms}");
}
