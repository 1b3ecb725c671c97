//! Where in the spectrum a Cannon reads each label: in the label's own lines, or elsewhere.

use std::collections::BTreeMap;

use nalgebra::DMatrix;
use ndarray::Axis;
use serde::Serialize;

use super::settings::ElementSettings;
use crate::data::linelist::atomic_lines;
use crate::device::to_f64;
use crate::error::Result;
use crate::findings::lab::gradients::{OwnLines, SEPARATION_PIXELS, own_lines};
use crate::kinds::context::Context;
use crate::memory::Memory;
use crate::models::cannon::NO_INFORMATION;
use crate::spectra::features::{KnownLine, strongest_features};
use crate::spectra::stored::SpectraOf;
use crate::stats::robust::median;
use crate::training::checkpoint::TrainedCannon;
use crate::training::line_windows::LineWindows;
use crate::training::window_settings::WindowSettings;

/// Where a label is read.
#[derive(Debug, Clone, Serialize)]
pub struct LineReading {
    /// Share of the pixels with information that are the label's own lines; none where the emulator knows no lines of it.
    pub pixel_share: Option<f64>,
    /// Share of the label's squared gradient, each pixel with its weight in chi^2, that lies in them.
    pub gradient_share: Option<f64>,
    /// Share of the variance of the label's estimate, all labels fitted at once, that the noise of these pixels makes: where the
    /// fit looks for this label and no other.
    pub reading_share: Option<f64>,
    /// The strongest features of its gradient at atomic lines of the element; none where the list has none.
    pub atomic_lines: Option<OwnLines>,
}

/// Own lines of the labels of some stars, by the emulator; none on another grid than its own.
pub(super) fn windows(settings: &ElementSettings, context: &Context, training: &[usize]) -> Result<LineWindows> {
    let set = context.set;
    if !set.grid.is_apogee() {
        return Ok(LineWindows::default());
    }
    let settings = WindowSettings { share: settings.share, ..WindowSettings::default() };
    let labels = set.labels.select(Axis(0), training);
    LineWindows::new(&settings, &set.label_names, labels.view(), &context.preparation(), context.compute)
}

/// Where a Cannon reads each of its labels, at the mean training star, by label.
pub(super) fn readings(
    settings: &ElementSettings,
    context: &Context,
    training: &[usize],
    windows: &LineWindows,
    model: &TrainedCannon,
) -> Result<BTreeMap<String, LineReading>> {
    let (set, names) = (context.set, &model.scaler.names);
    let weight = weights(model, SpectraOf::Rows(&set.spectra, training), context.compute.memory())?;
    let valid: Vec<bool> = weight.iter().map(|weight| *weight > 0.0).collect();
    let answers = answers(model, context);
    let fit = contributions(&answers, names.len(), &weight);
    let lines: Vec<KnownLine> = atomic_lines()?.iter().map(KnownLine::from).collect();
    let of_label = |(k, name): (usize, &String)| {
        let gradient = &answers[k];
        let found = strongest_features(gradient, &valid, &set.grid, settings.features, SEPARATION_PIXELS);
        let inside = windows.of_labels.get(name);
        let information: Vec<f64> = gradient.iter().zip(&weight).map(|(g, weight)| weight * g * g).collect();
        let counted: Vec<f64> = valid.iter().map(|valid| f64::from(u8::from(*valid))).collect();
        let share = |of: &[f64]| Some(share(of, inside?)).filter(|share| share.is_finite());
        let reading = LineReading {
            pixel_share: share(&counted),
            gradient_share: share(&information),
            reading_share: fit.as_ref().and_then(|fit| share(&fit[k])),
            atomic_lines: match set.grid.is_apogee() {
                true => own_lines(name, &found, &lines, &valid, &set.grid, settings.line_tolerance_pixels),
                false => None,
            },
        };
        (name.clone(), reading)
    };
    Ok(names.iter().enumerate().map(of_label).collect())
}

/// Share of a sum over pixels that lies inside some.
fn share(values: &[f64], inside: &[bool]) -> f64 {
    let within: f64 = values.iter().zip(inside).filter(|(_, inside)| **inside).map(|(value, _)| value).sum();
    within / values.iter().sum::<f64>()
}

/// Weight of each pixel in the chi^2 of a typical training star; 0 where half of them or more have no information.
fn weights(model: &TrainedCannon, training: SpectraOf, memory: Memory) -> Result<Vec<f64>> {
    let s2 = to_f64(model.cannon.s2.val());
    let ivar = training.of_pixels(memory, |_, ivar| median(&ivar.mapv(f64::from).to_vec()))?;
    let weight = |(ivar, s2): (f64, &f64)| {
        if *s2 < NO_INFORMATION && ivar > 0.0 { ivar / (1.0 + ivar * s2) } else { 0.0 }
    };
    Ok(ivar.into_iter().zip(&s2).map(weight).collect())
}

/// How flux answers to one unit of each scaled label, each latent label and each nuisance amplitude, at the mean training star,
/// `[n_inputs][n_pixels]`; labels come first.
fn answers(model: &TrainedCannon, context: &Context) -> Vec<Vec<f64>> {
    let n_inputs = model.cannon.vectorizer().n_labels();
    let n_pixels = model.cannon.n_pixels();
    let pivot = context.compute.tensor(&vec![0.0; n_inputs], [1, n_inputs]);
    let gradients = to_f64(model.cannon.gradient_spectra(pivot));
    let nuisances = model.cannon.nuisance_spectra.as_ref().map(|spectra| to_f64(spectra.val())).unwrap_or_default();
    gradients.chunks(n_pixels).chain(nuisances.chunks(n_pixels)).map(<[f64]>::to_vec).collect()
}

/// What the noise of each pixel adds to the variance of each label's estimate, `[n_labels][n_pixels]`, all inputs fitted at once.
///
/// ```text
/// estimate = A^-1 J W f,   A = J W J^T + P,   var_k = sum_j (A^-1 J W)_kj^2 / w_j
/// ```
///
/// P is 1 for inputs beyond the labels, which are standard normal, and 0 for labels. None where A is singular: a label that answers
/// nowhere.
fn contributions(answers: &[Vec<f64>], n_labels: usize, weight: &[f64]) -> Option<Vec<Vec<f64>>> {
    let used: Vec<usize> = (0..weight.len()).filter(|pixel| weight[*pixel] > 0.0).collect();
    let root = |row: usize, column: usize| answers[row][used[column]] * weight[used[column]].sqrt();
    let weighted = DMatrix::from_fn(answers.len(), used.len(), root);
    let mut normal = &weighted * weighted.transpose();
    (n_labels..answers.len()).for_each(|latent| normal[(latent, latent)] += 1.0);
    let by_pixel = normal.cholesky()?.solve(&weighted);
    let of_label = |k: usize| {
        let mut of_pixels = vec![0.0; weight.len()];
        used.iter().enumerate().for_each(|(column, pixel)| of_pixels[*pixel] = by_pixel[(k, column)].powi(2));
        of_pixels
    };
    Some((0..n_labels).map(of_label).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blended_label_is_read_where_the_other_is_not() {
        // Two labels answer alike in the first two pixels; only the third tells the second by itself.
        let answers = [vec![1.0, 1.0, 0.0, 0.0], vec![1.0, 1.0, 0.5, 0.0]];
        let weight = [100.0, 100.0, 100.0, 0.0];
        let found = contributions(&answers, 2, &weight).unwrap();
        let gradient: Vec<f64> = answers[1].iter().zip(&weight).map(|(g, w)| w * g * g).collect();
        let third = [false, false, true, true];
        assert!((share(&gradient, &third) - 0.25 / 2.25).abs() < 1e-12);
        assert!((share(&found[1], &third) - 1.0).abs() < 1e-9, "{found:?}");
        // Both variances, written out: the second label's is that of the third pixel alone, 1 / (0.25 w).
        assert!((found[1].iter().sum::<f64>() - 0.04).abs() < 1e-9);
        assert!((found[0].iter().sum::<f64>() - (0.04 + 0.005)).abs() < 1e-9);
        // A label that answers nowhere has no reading; as a nuisance it does no harm.
        let silent = [vec![1.0; 4], vec![0.0; 4]];
        assert!(contributions(&silent, 2, &weight).is_none());
        assert!((contributions(&silent, 1, &weight).unwrap()[0].iter().sum::<f64>() - 1.0 / 300.0).abs() < 1e-12);
    }
}
