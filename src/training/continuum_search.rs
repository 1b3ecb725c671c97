//! Finding continuum pixels from the training stars themselves (Ness et al. 2015, sec. 2.3).

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::cannon_config::CannonConfig;
use super::closed_form;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::cannon::Cannon;
use crate::spectra::continuum::{ContinuumFitter, ContinuumSettings, FindSettings};
use crate::spectra::continuum_pixels::{brightest, choose};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::spectra::pixmask::MaskedSpectrum;
use crate::spectra::quality::Quality;
use crate::stats::robust::{median_in_place, quantile};

/// Share of each chip taken as continuum before any model exists.
const FIRST_GUESS_FRACTION: f64 = 0.1;

/// Continuum pixels of a trained model by the flux, slope and scatter criterion.
pub fn continuum_pixels_of(cannon: &Cannon, scaler: &LabelScaler, limits: &FindSettings) -> Vec<bool> {
    let n_pixels = cannon.n_pixels();
    let theta = to_f64(cannon.theta.val());
    let slopes: Vec<(&str, Vec<f64>)> = (0..scaler.n_labels())
        .map(|k| {
            let term = cannon.vectorizer().position(&[k]).expect("every order has linear terms");
            let slope = (0..n_pixels).map(|pixel| theta[term * n_pixels + pixel] / scaler.scale[k]).collect();
            (scaler.names[k].as_str(), slope)
        })
        .collect();
    let scatter: Vec<f64> = to_f64(cannon.s2.val()).into_iter().map(f64::sqrt).collect();
    choose(&theta[..n_pixels], &slopes, &scatter, limits)
}

/// Finds continuum pixels by alternating normalization, training and choosing on the training stars.
///
/// Starts from the brightest pixels of the median star on each chip. `labels` is [n_stars, n_labels], finite.
///
/// # Errors
/// [`Error::Continuum`] if the criterion leaves too few pixels; errors of training.
pub fn find(
    spectra: &[MaskedSpectrum],
    labels: ArrayView2<f64>,
    label_names: &[String],
    grid: &WavelengthGrid,
    settings: &ContinuumSettings,
    compute: &Compute,
) -> Result<Vec<bool>> {
    let scaler = LabelScaler::fit_independent(label_names, labels)?;
    let scaled = scaler.scale(labels);
    let mut is_continuum = brightest(&median_of_stars(spectra, grid), grid, FIRST_GUESS_FRACTION);
    for _ in 0..settings.find.rounds.max(1) {
        let fitter = ContinuumFitter::new(grid, &is_continuum, settings)?;
        let normalized: Vec<_> =
            spectra.par_iter().map(|spectrum| fitter.normalize(spectrum, &mut Quality::default())).collect();
        let matrix = |of: fn(&crate::spectra::continuum::NormalizedSpectrum) -> &Vec<f32>| {
            Array2::from_shape_fn((spectra.len(), grid.n_pixels()), |(n, j)| of(&normalized[n])[j])
        };
        let (flux, ivar) = (matrix(|spectrum| &spectrum.flux), matrix(|spectrum| &spectrum.ivar));
        let (cannon, _) =
            closed_form::train(&CannonConfig::default(), scaled.view(), flux.view(), ivar.view(), compute)?;
        is_continuum = continuum_pixels_of(&cannon, &scaler, &settings.find);
    }
    let found = is_continuum.iter().filter(|is| **is).count();
    // A fitter that can be made proves that some chip has enough pixels.
    ContinuumFitter::new(grid, &is_continuum, settings).map_err(|err| {
        Error::Continuum(format!("the criterion of continuum.find chose {found} pixels: {err}; loosen its limits"))
    })?;
    Ok(is_continuum)
}

/// Per-pixel median over stars of the flux divided by each star's level on the chip; NaN without data.
fn median_of_stars(spectra: &[MaskedSpectrum], grid: &WavelengthGrid) -> Vec<f64> {
    // The level of a chip is its 90th percentile: near the continuum, safe from single spikes.
    let levels: Vec<Vec<f64>> = spectra
        .par_iter()
        .map(|spectrum| {
            let good = |pixel: &usize| spectrum.ivar[*pixel] > 0.0;
            grid.chips
                .iter()
                .map(|chip| quantile(&chip.clone().filter(good).map(|p| spectrum.flux[p]).collect::<Vec<_>>(), 0.9))
                .collect()
        })
        .collect();
    let mut median = vec![f64::NAN; grid.n_pixels()];
    for (index, chip) in grid.chips.iter().enumerate() {
        for pixel in chip.clone() {
            let mut values: Vec<f64> = spectra
                .iter()
                .zip(&levels)
                .filter(|(spectrum, _)| spectrum.ivar[pixel] > 0.0)
                .map(|(spectrum, levels)| spectrum.flux[pixel] / levels[index])
                .filter(|value| value.is_finite())
                .collect();
            median[pixel] = median_in_place(&mut values);
        }
    }
    median
}
