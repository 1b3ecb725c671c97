//! A trained Cannon as an estimator of labels: compression, starts, fit, flags.

use ndarray::{Array2, Array3, ArrayView1, ArrayView2};

use super::compress::{CompressedSpectra, Compressor};
use super::fit::{FitSettings, Minimum, fit};
use super::hull::Hull;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::{LabelEstimates, LabelEstimator};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::labels::LabelScaler;
use crate::spectra::quality::star_flags;
use crate::training::checkpoint::TrainedCannon;

/// Training labels tried as starts, at most.
const MOST_REFERENCES: usize = 500;
/// Starts closer than this, in scaled labels, are the same start.
const NEIGHBOURHOOD: f64 = 1.0;

/// Estimates labels by fitting The Cannon to spectra.
#[derive(Debug, Clone)]
pub struct FittedCannon {
    compressor: Compressor,
    scaler: LabelScaler,
    /// Scaled labels tried as starts, [n_references, n_labels].
    references: Array2<f64>,
    /// Which references are neighbours, [n_references, n_references].
    neighbours: Array2<bool>,
    hull: Hull,
    settings: FitSettings,
    compute: Compute,
}

impl FittedCannon {
    /// Prepares a model for fitting.
    pub fn new(model: &TrainedCannon, settings: &FitSettings, compute: &Compute) -> Self {
        let scaled = model.scaler.scale(model.training_labels.view());
        let references = references(scaled.view());
        Self {
            compressor: Compressor::new(&model.cannon, compute),
            scaler: model.scaler.clone(),
            neighbours: neighbours(references.view()),
            references,
            hull: Hull::new(scaled.view()),
            settings: settings.clone(),
            compute: compute.clone(),
        }
    }

    /// Estimates labels of host arrays, [n_stars, n_pixels], a batch of stars at a time.
    ///
    /// `progress` is told the number of stars done after each batch.
    ///
    /// # Errors
    /// As [`LabelEstimator::estimate_labels`].
    pub fn estimate_arrays(
        &self,
        flux: ArrayView2<f32>,
        ivar: ArrayView2<f32>,
        progress: &dyn Fn(usize),
    ) -> Result<LabelEstimates> {
        let mut estimates = LabelEstimates::empty(self.scaler.n_labels());
        let n_stars = flux.nrows();
        for start in (0..n_stars).step_by(self.settings.batch_stars) {
            let stars = ndarray::s![start..(start + self.settings.batch_stars).min(n_stars), ..];
            let batch = SpectraBatch::new(flux.slice(stars), ivar.slice(stars), &self.compute);
            let batch_size = batch.n_stars();
            estimates.append(self.estimate_labels(&batch)?);
            progress(batch_size);
        }
        Ok(estimates)
    }

    /// For every start, the scaled labels of every star: reference labels of lowest chi^2 that are not neighbours.
    fn starts(&self, compressed: &CompressedSpectra) -> Vec<Array2<f64>> {
        let chi2 = compressed.chi2_at(self.references.view());
        let (n_stars, n_labels) = (chi2.nrows(), self.scaler.n_labels());
        let mut starts = vec![Array2::zeros((n_stars, n_labels)); self.settings.starts];
        for star in 0..n_stars {
            let mut free: Vec<usize> = (0..self.references.nrows()).collect();
            let mut chosen: Vec<usize> = Vec::with_capacity(self.settings.starts);
            while chosen.len() < self.settings.starts {
                let lowest = free.iter().copied().min_by(|a, b| chi2[[star, *a]].total_cmp(&chi2[[star, *b]]));
                let Some(lowest) = lowest else { break };
                free.retain(|candidate| !self.neighbours[[lowest, *candidate]]);
                chosen.push(lowest);
            }
            for (index, start) in starts.iter_mut().enumerate() {
                let reference = chosen.get(index).or(chosen.first()).copied().unwrap_or(0);
                start.row_mut(star).assign(&self.references.row(reference));
            }
        }
        starts
    }

    fn describe(&self, minimum: &Minimum, n_pixels: Vec<usize>) -> LabelEstimates {
        let (n_stars, n_labels) = minimum.scaled_labels.dim();
        let mut labels = self.scaler.unscale(minimum.scaled_labels.view());
        let scale = &self.scaler.scale;
        let mut covariance = Array3::from_shape_fn((n_stars, n_labels, n_labels), |(n, k, l)| {
            minimum.covariance[[n, k, l]] * scale[k] * scale[l]
        });
        let mut chi2 = minimum.chi2.clone();
        let flags = (0..n_stars)
            .map(|star| {
                if n_pixels[star] <= n_labels || !chi2[star].is_finite() {
                    labels.row_mut(star).fill(f64::NAN);
                    covariance.index_axis_mut(ndarray::Axis(0), star).fill(f64::NAN);
                    chi2[star] = f64::NAN;
                    return star_flags::NO_DATA;
                }
                let mut flags = 0;
                if !minimum.converged[star] {
                    flags |= star_flags::NOT_CONVERGED;
                }
                if minimum.n_minima[star] > 1 {
                    flags |= star_flags::SEVERAL_MINIMA;
                }
                if self.hull.is_outside(minimum.scaled_labels.row(star)) {
                    flags |= star_flags::OUTSIDE_HULL;
                }
                flags
            })
            .collect();
        LabelEstimates { labels, covariance, chi2, n_pixels, flags }
    }
}

impl LabelEstimator for FittedCannon {
    fn estimate_labels(&self, spectra: &SpectraBatch) -> Result<LabelEstimates> {
        if spectra.n_pixels() != self.compressor.n_pixels() {
            let detail = format!(
                "the spectra have {} pixels, the model {}; use the model trained on this grid",
                spectra.n_pixels(),
                self.compressor.n_pixels()
            );
            return Err(Error::Mismatch { what: "wavelength grid".into(), detail });
        }
        let (compressed, n_pixels) = self.compressor.compress(spectra);
        let (starts, is_inside) = (self.starts(&compressed), |labels: ArrayView1<f64>| !self.hull.is_outside(labels));
        let minimum = fit(&compressed, &starts, &self.settings, &Compute::small_systems(), is_inside);
        Ok(self.describe(&minimum, n_pixels))
    }
}

/// Evenly drawn training labels, or a cross around the pivot where a model came without any.
fn references(scaled: ArrayView2<f64>) -> Array2<f64> {
    let (n_stars, n_labels) = scaled.dim();
    if n_stars == 0 {
        let mut cross = Array2::zeros((2 * n_labels + 1, n_labels));
        for k in 0..n_labels {
            cross[[2 * k + 1, k]] = 1.0;
            cross[[2 * k + 2, k]] = -1.0;
        }
        return cross;
    }
    let rows: Vec<usize> =
        (0..n_stars.min(MOST_REFERENCES)).map(|i| i * n_stars / n_stars.min(MOST_REFERENCES)).collect();
    scaled.select(ndarray::Axis(0), &rows)
}

fn neighbours(references: ArrayView2<f64>) -> Array2<bool> {
    let n = references.nrows();
    Array2::from_shape_fn((n, n), |(a, b)| {
        let squares = references.row(a).into_iter().zip(references.row(b)).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>() <= NEIGHBOURHOOD * NEIGHBOURHOOD
    })
}
