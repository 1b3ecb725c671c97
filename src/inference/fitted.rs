//! A trained spectral model as an estimator of labels: compression, starts, fit, flags.

use std::ops::Range;
use std::sync::OnceLock;

use ndarray::{Array1, Array2, Array3, ArrayView1, ArrayView2, Axis, s};

use super::chi_square::Minimum;
use super::compress::Compressor;
use super::compressed::CompressedSpectra;
use super::examine::{Distance, structure};
use super::fit::{FitSettings, fit};
use super::hull::Hull;
use super::prior::{GaussianPrior, Penalized};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::misfit::{Measure, Misfit};
use crate::models::vectorizer::Vectorizer;
use crate::models::{Estimated, LabelEstimates, LabelEstimator, LabelTerms, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::labels::LabelScaler;
use crate::spectra::quality::star_flags;
use crate::training::checkpoint::TrainedCannon;

/// Training labels tried as starts, at most.
const MOST_REFERENCES: usize = 500;
/// Starts closer than this, in scaled labels, are the same start.
const NEIGHBOURHOOD: f64 = 1.0;

/// Estimates labels by fitting a model that is linear in its label terms.
#[derive(Debug, Clone)]
pub struct Fitted<T> {
    compressor: Compressor<T>,
    scaler: LabelScaler,
    /// How many of the model's inputs are labels; the others are nuisances.
    n_labels: usize,
    /// Scaled inputs tried as starts, [n_references, n_inputs].
    references: Array2<f64>,
    /// Scaled inputs of the mean training star, [1, n_inputs]; a foreign model's pivot may be far from it.
    middle: Array2<f64>,
    /// Which references are neighbours, [n_references, n_references].
    neighbours: Array2<bool>,
    hull: Hull,
    /// How far labels are from those of the training stars; unknown where a model came without any.
    distance: Option<Distance>,
    /// Pixels of each chip.
    chips: Vec<Range<usize>>,
    prior: Option<GaussianPrior>,
    settings: FitSettings,
    /// The compressor in f64, for stars that need it.
    exact: OnceLock<Compressor<T>>,
}

/// Estimates labels by fitting The Cannon.
pub type FittedCannon = Fitted<Vectorizer>;

impl FittedCannon {
    /// Prepares a Cannon for fitting: its latent labels are fitted beside the labels, its nuisance spectra integrated out.
    pub fn new(model: &TrainedCannon, settings: &FitSettings, compute: &Compute) -> Self {
        let cannon = &model.cannon;
        let mut compressor = Compressor::new(cannon.vectorizer().clone(), cannon.theta.val(), cannon.s2.val(), compute);
        if let Some(spectra) = &cannon.nuisance_spectra {
            compressor = compressor.with_nuisances(spectra.val());
        }
        let (scaler, n_labels) = (model.input_scaler(), model.scaler.n_labels());
        let prior = GaussianPrior::standard_normal(n_labels, scaler.n_labels());
        let fitted = Self::with_prior(compressor, scaler, model.training_inputs().view(), n_labels, prior, settings);
        Self { chips: model.preparation.grid.chips.clone(), ..fitted }
    }
}

impl<T: LabelTerms> Fitted<T> {
    /// Prepares a model for fitting; the first `n_labels` of its inputs are labels.
    ///
    /// `training` holds the inputs it was trained on, [n_stars, n_inputs]: starts of the fit, and the hull of the labels.
    pub fn with_prior(
        compressor: Compressor<T>,
        scaler: LabelScaler,
        training: ArrayView2<f64>,
        n_labels: usize,
        prior: Option<GaussianPrior>,
        settings: &FitSettings,
    ) -> Self {
        let scaled = scaler.scale(training);
        let references = references(scaled.view());
        Self {
            compressor,
            scaler,
            n_labels,
            middle: scaled.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(scaled.ncols())).insert_axis(Axis(0)),
            neighbours: neighbours(references.view()),
            references,
            hull: Hull::new(scaled.slice(s![.., ..n_labels])),
            distance: Distance::new(scaled.slice(s![.., ..n_labels])),
            chips: Vec::new(),
            prior,
            settings: settings.clone(),
            exact: OnceLock::new(),
        }
    }

    /// Sums up every star's pixels; also returns the number of those that count.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the spectra are on another grid than the model.
    pub fn compress(&self, spectra: &SpectraBatch) -> Result<(CompressedSpectra<T>, Vec<usize>)> {
        if spectra.n_pixels() != self.compressor.n_pixels() {
            let detail = format!(
                "the spectra have {} pixels, the model {}; use the model trained on this grid",
                spectra.n_pixels(),
                self.compressor.n_pixels()
            );
            return Err(Error::Mismatch { what: "wavelength grid".into(), detail });
        }
        Ok(self.compressor.compress(spectra))
    }

    /// What compresses spectra under the model.
    pub fn compressor(&self) -> &Compressor<T> {
        &self.compressor
    }

    /// What compresses spectra in f64.
    pub(super) fn in_f64(&self) -> &Compressor<T> {
        self.exact.get_or_init(|| self.compressor.in_f64())
    }

    /// Scaling of the model's inputs; labels come first.
    pub fn scaler(&self) -> &LabelScaler {
        &self.scaler
    }

    /// How labels are fitted.
    pub fn settings(&self) -> &FitSettings {
        &self.settings
    }

    /// What is known of inputs that are not labels.
    pub fn prior(&self) -> Option<&GaussianPrior> {
        self.prior.as_ref()
    }

    /// Lowest minimum of every star.
    ///
    /// Starts from `near`, [n_stars, n_inputs], or where that is not given from the references of lowest chi^2.
    pub fn minimize(
        &self,
        compressed: CompressedSpectra<T>,
        near: Option<Array2<f64>>,
        settings: &FitSettings,
    ) -> Minimum {
        let small = Compute::small_systems();
        let starts = near.map_or_else(|| self.starts(&compressed), |start| vec![start]);
        let is_inside = |inputs: ArrayView1<f64>| !self.hull.is_outside(inputs.slice(s![..self.n_labels]));
        match &self.prior {
            Some(prior) => fit(&Penalized::new(compressed, prior, &small), &starts, settings, &small, is_inside),
            None => fit(&compressed, &starts, settings, &small, is_inside),
        }
    }

    /// For every start, the scaled labels of every star: reference labels of lowest chi^2 that are not neighbours.
    fn starts(&self, compressed: &CompressedSpectra<T>) -> Vec<Array2<f64>> {
        let chi2 = compressed.chi2_at(self.references.view());
        let n_stars = chi2.nrows();
        let mut starts = vec![Array2::zeros((n_stars, self.scaler.n_labels())); self.settings.starts];
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

    /// How well the model describes spectra at some minima.
    fn examine(&self, spectra: &SpectraBatch, compressed: &CompressedSpectra<T>, minimum: &Minimum) -> Misfit {
        let (comparison, amplitudes) = self.compressor.compare(spectra, compressed, minimum.scaled_labels.view());
        let mean = self.compressor.flux_at_known(self.middle.view());
        let mut others = vec![structure(&spectra.flux, &comparison.weight, &mean)];
        others.extend(self.distances(minimum));
        comparison.measure(&self.chips, amplitudes.as_ref(), &others)
    }

    /// How far the labels of some minima are from those of the training stars.
    pub(super) fn distances(&self, minimum: &Minimum) -> Option<(Measure, Vec<f64>)> {
        let distance = self.distance.as_ref()?;
        let labels = minimum.scaled_labels.slice(s![.., ..self.n_labels]);
        Some((Measure::Labels, labels.rows().into_iter().map(|labels| distance.square(labels)).collect()))
    }

    /// The labels of some minima in their own units, with flags.
    pub fn describe(&self, minimum: &Minimum, n_pixels: Vec<usize>) -> LabelEstimates {
        let (n_stars, n_labels) = (n_pixels.len(), self.n_labels);
        let inputs = self.scaler.unscale(minimum.scaled_labels.view());
        let mut labels = inputs.slice(s![.., ..n_labels]).to_owned();
        let scale = &self.scaler.scale;
        let mut covariance = Array3::from_shape_fn((n_stars, n_labels, n_labels), |(n, k, l)| {
            minimum.covariance[[n, k, l]] * scale[k] * scale[l]
        });
        let mut chi2 = minimum.chi2.clone();
        let flags = (0..n_stars)
            .map(|star| {
                if n_pixels[star] <= n_labels || !chi2[star].is_finite() {
                    labels.row_mut(star).fill(f64::NAN);
                    covariance.index_axis_mut(Axis(0), star).fill(f64::NAN);
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
                if self.hull.is_outside(minimum.scaled_labels.slice(s![star, ..n_labels])) {
                    flags |= star_flags::OUTSIDE_HULL;
                }
                flags
            })
            .collect();
        LabelEstimates { labels, covariance, chi2, n_pixels, flags }
    }
}

impl<T: LabelTerms> LabelEstimator for Fitted<T> {
    fn n_labels(&self) -> usize {
        self.n_labels
    }

    fn estimate(&self, spectra: &SpectraBatch, wanted: Wanted) -> Result<Estimated> {
        let (compressed, minimum, n_pixels) = self.fit(spectra)?;
        let best_fit = || self.compressor.best_fit(spectra, &compressed, minimum.scaled_labels.view());
        Ok(Estimated {
            misfit: match wanted.misfit {
                true => self.examine(spectra, &compressed, &minimum),
                false => Misfit::none(spectra.n_stars()),
            },
            best_fit: wanted.best_fit.then(best_fit),
            labels: self.describe(&minimum, n_pixels),
        })
    }
}

/// Labels of host arrays, [n_stars, n_pixels], a batch of stars at a time.
///
/// `progress` is told the number of stars done after each batch.
///
/// # Errors
/// As [`LabelEstimator::estimate`].
pub fn estimate_arrays(
    estimator: &dyn LabelEstimator,
    flux: ArrayView2<f32>,
    ivar: ArrayView2<f32>,
    batch_stars: usize,
    compute: &Compute,
    progress: &dyn Fn(usize),
) -> Result<LabelEstimates> {
    let mut estimates = LabelEstimates::empty(estimator.n_labels());
    for start in (0..flux.nrows()).step_by(batch_stars) {
        let stars = s![start..(start + batch_stars).min(flux.nrows()), ..];
        let batch = SpectraBatch::new(flux.slice(stars), ivar.slice(stars), compute);
        estimates.append(estimator.estimate_labels(&batch)?);
        progress(batch.n_stars());
    }
    Ok(estimates)
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
    scaled.select(Axis(0), &rows)
}

fn neighbours(references: ArrayView2<f64>) -> Array2<bool> {
    let n = references.nrows();
    Array2::from_shape_fn((n, n), |(a, b)| {
        let squares = references.row(a).into_iter().zip(references.row(b)).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>() <= NEIGHBOURHOOD * NEIGHBOURHOOD
    })
}
