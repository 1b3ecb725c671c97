//! Models that posteriors can be drawn from, their type forgotten.

use std::time::Instant;

use ndarray::ArrayView2;

use super::draws::Draws;
use super::label_prior::{PriorSettings, ScaledPrior};
use super::posterior::Unsampled;
use super::problem::Samplable;
use super::sampling::{self, PosteriorSettings, Sampler, StarPosterior, draw_star, label_scaler, prepare};
use crate::device::Compute;
use crate::error::Result;
use crate::models::LabelEstimates;
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;

/// What one star's spectrum gave.
pub struct Sampled {
    /// Its best fit.
    pub estimates: LabelEstimates,
    /// The draws, labels in their own units; none if it could not be sampled.
    pub draws: Option<Draws>,
    /// Why it could not be sampled.
    pub reason: Option<Unsampled>,
    /// What the draws say.
    pub posterior: StarPosterior,
    /// Seconds for the fit.
    pub fit_s: f64,
    /// Seconds for sampling, warm-up and all, and for the diagnostics.
    pub sampling_s: f64,
}

/// A model with a likelihood, whatever its kind.
pub trait Likelihood {
    /// The priors of the labels; `training` are those of the training stars, [n_stars, n_labels], in their own units.
    ///
    /// # Errors
    /// [`crate::error::Error::Config`] for priors that make no sense.
    fn scaled_prior(&self, training: ArrayView2<f64>, settings: &PriorSettings) -> Result<ScaledPrior>;

    /// Samples the posterior of the one star of a batch.
    ///
    /// # Errors
    /// [`crate::error::Error::Sampling`]; [`crate::error::Error::Mismatch`] if the spectrum is on another grid than the model;
    /// [`crate::error::Error::Interrupted`] where `progress` asks to stop.
    #[allow(clippy::too_many_arguments)]
    fn sample_star(
        &self,
        spectrum: &SpectraBatch,
        grid: &WavelengthGrid,
        prior: &ScaledPrior,
        settings: &PosteriorSettings,
        sampler: Sampler,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Sampled>;

    /// Posteriors of many spectra, flux and inverse variance of [n_stars, n_pixels], by HMC.
    ///
    /// # Errors
    /// As [`Likelihood::sample_star`].
    #[allow(clippy::too_many_arguments)]
    fn sample_arrays(
        &self,
        spectra: (ArrayView2<f32>, ArrayView2<f32>),
        grid: &WavelengthGrid,
        prior: &ScaledPrior,
        settings: &PosteriorSettings,
        seed: u64,
        compute: &Compute,
        progress: &dyn Progress,
    ) -> Result<Vec<StarPosterior>>;
}

impl<S: Samplable> Likelihood for S {
    fn scaled_prior(&self, training: ArrayView2<f64>, settings: &PriorSettings) -> Result<ScaledPrior> {
        sampling::scaled_prior(self, training, settings)
    }

    fn sample_star(
        &self,
        spectrum: &SpectraBatch,
        grid: &WavelengthGrid,
        prior: &ScaledPrior,
        settings: &PosteriorSettings,
        sampler: Sampler,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<Sampled> {
        let started = Instant::now();
        let prepared = prepare(self, spectrum, prior, &settings.nuisances, grid)?;
        let fit_s = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let draws = draw_star(&prepared, 0, sampler, &settings.sampler, &label_scaler(self), seed, progress)?;
        let approximation = &prepared.approximations[0];
        let excluded = approximation.as_ref().is_ok_and(|approximation| approximation.was_excluded);
        let (n_labels, inflates) = (self.n_labels(), prepared.posterior.inflates_noise());
        let posterior = draws.as_ref().map_or_else(
            || StarPosterior::none(n_labels),
            |draws| StarPosterior::of(draws, n_labels, inflates, excluded),
        );
        let (reason, sampling_s) = (approximation.as_ref().err().copied(), started.elapsed().as_secs_f64());
        Ok(Sampled { estimates: prepared.estimates, draws, reason, posterior, fit_s, sampling_s })
    }

    fn sample_arrays(
        &self,
        (flux, ivar): (ArrayView2<f32>, ArrayView2<f32>),
        grid: &WavelengthGrid,
        prior: &ScaledPrior,
        settings: &PosteriorSettings,
        seed: u64,
        compute: &Compute,
        progress: &dyn Progress,
    ) -> Result<Vec<StarPosterior>> {
        sampling::sample_arrays(self, flux, ivar, grid, prior, settings, seed, compute, progress)
    }
}
