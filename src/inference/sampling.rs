//! Posteriors of many stars from their spectra: fit, approximate, sample, sum up, a batch at a time.

use std::time::Instant;

use ndarray::{Array2, ArrayView2, s};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chi_square::ChiSquare;
use super::draws::{Draws, Marginal, SamplerSettings};
use super::label_prior::{PriorSettings, ScaledPrior};
use super::nuisance::NuisanceSettings;
use super::posterior::{Approximation, Posterior, Unsampled};
use super::problem::{Problem, Samplable};
use super::{hmc, nuts};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::LabelEstimates;
use crate::progress::Progress;
use crate::schema;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::spectra::quality::star_flags;

/// R-hat that chains must stay below to count as mixed (Vehtari et al. 2021, section 4.4).
pub const MIXED_R_HAT: f64 = 1.01;
/// Effective draws per chain below which chains do not count as mixed (the same).
pub const MIXED_ESS_PER_CHAIN: f64 = 100.0;
/// Divergences per draw above which a posterior is flagged.
const TOLERATED_DIVERGENCES: f64 = 1e-3;
/// Stars whose pixels are in memory together.
const BATCH_STARS: usize = 512;

/// `[posterior]` of an experiment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PosteriorSettings {
    /// How many chains and draws.
    pub sampler: SamplerSettings,
    /// What is believed beforehand.
    pub prior: PriorSettings,
    /// What spectra may have beside labels and errors.
    pub nuisances: NuisanceSettings,
}

impl PosteriorSettings {
    /// What a text in TOML says, as `[posterior]` of an experiment does; `name` is what messages call it.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        toml::from_str(text).map_err(|err| Error::Config(format!("{name}: {}", err.to_string().trim_end())))
    }

    /// Whether the values make sense for these labels; if not, the key of the first that does not, and what is wrong with it.
    ///
    /// # Errors
    /// (key below `posterior`, problem).
    pub fn check(&self, label_names: &[String]) -> Result<(), (String, String)> {
        let of =
            |table: &'static str| move |(key, problem): (&str, &str)| (format!("{table}.{key}"), problem.to_string());
        schema::check(self)?;
        self.sampler.check().map_err(of("sampler"))?;
        self.prior.check(label_names).map_err(|(key, problem)| (format!("prior.{key}"), problem))
    }

    /// Priors and nuisances in words.
    pub fn words(&self, label_names: &[String], n_training: usize) -> Vec<String> {
        let mut words = self.prior.words(label_names, n_training);
        words.extend(self.nuisances.words());
        words
    }
}

/// The sampler of a single star.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Sampler {
    /// Hamiltonian Monte Carlo in tensors, all chains side by side.
    #[default]
    Hmc,
    /// The No-U-Turn Sampler of nuts-rs, chain by chain.
    Nuts,
}

/// What the posterior of one star comes to.
#[derive(Debug, Clone, PartialEq)]
pub struct StarPosterior {
    /// Of each label, in its own unit.
    pub marginals: Vec<Marginal>,
    /// Covariance of the labels, [n_labels, n_labels].
    pub covariance: Array2<f64>,
    /// Of the logarithm of the factor on the variances, where there is one.
    pub noise: Option<Marginal>,
    /// Draws whose trajectory diverged.
    pub divergences: usize,
    /// Trajectories that ended beyond a wall of the prior.
    pub beyond_walls: usize,
    /// Mean probability of acceptance; NaN where the sampler does not say.
    pub acceptance: f64,
    /// Step size in units of the posterior's width.
    pub step_size: f64,
    /// Gradients computed for each chain.
    pub n_gradients: usize,
    /// [`star_flags`] of the posterior.
    pub flags: i64,
}

impl StarPosterior {
    /// Of a star that could not be sampled.
    pub fn none(n_labels: usize) -> Self {
        Self {
            marginals: vec![Marginal::NONE; n_labels],
            covariance: Array2::from_elem((n_labels, n_labels), f64::NAN),
            noise: None,
            divergences: 0,
            beyond_walls: 0,
            acceptance: f64::NAN,
            step_size: f64::NAN,
            n_gradients: 0,
            flags: star_flags::NO_POSTERIOR,
        }
    }

    /// What draws of labels in their own units say.
    pub fn of(draws: &Draws, n_labels: usize, inflates_noise: bool, is_against_prior: bool) -> Self {
        let marginals = draws.marginals(n_labels);
        let last = draws.values.ncols() - 1;
        let noise = inflates_noise.then(|| draws.marginal(last));
        let mut flags = 0;
        let mixed = |marginal: &Marginal| {
            let found = &marginal.diagnostics;
            let enough = MIXED_ESS_PER_CHAIN * draws.n_chains as f64;
            found.r_hat < MIXED_R_HAT && found.ess_bulk >= enough && found.ess_tail >= enough
        };
        if !marginals.iter().chain(&noise).all(mixed) {
            flags |= star_flags::NOT_MIXED;
        }
        if draws.divergences() as f64 > TOLERATED_DIVERGENCES * draws.values.nrows() as f64 {
            flags |= star_flags::DIVERGENT;
        }
        if is_against_prior {
            flags |= star_flags::PRIOR_AGAINST_DATA;
        }
        Self {
            covariance: draws.covariance(n_labels),
            marginals,
            noise,
            divergences: draws.divergences(),
            beyond_walls: draws.beyond_walls,
            acceptance: draws.acceptance,
            step_size: draws.step_size,
            n_gradients: draws.n_gradients,
            flags,
        }
    }

    /// Largest R-hat, and smallest bulk and tail effective sample sizes, of all labels; NaN if any is.
    pub fn worst(&self) -> [f64; 3] {
        let over = |of: &dyn Fn(&Marginal) -> f64, worse: fn(f64, f64) -> f64, best: f64| {
            let values: Vec<f64> = self.marginals.iter().map(of).collect();
            if values.iter().any(|value| value.is_nan()) { f64::NAN } else { values.into_iter().fold(best, worse) }
        };
        [
            over(&|marginal| marginal.diagnostics.r_hat, f64::max, f64::NEG_INFINITY),
            over(&|marginal| marginal.diagnostics.ess_bulk, f64::min, f64::INFINITY),
            over(&|marginal| marginal.diagnostics.ess_tail, f64::min, f64::INFINITY),
        ]
    }
}

/// A posterior over several stars, and where chains begin.
pub struct Prepared<C> {
    /// The posterior.
    pub posterior: Posterior<C>,
    /// Of every star the Gaussian it resembles, or why it has none.
    pub approximations: Vec<Result<Approximation, Unsampled>>,
    /// The fits that chains begin from.
    pub estimates: LabelEstimates,
}

/// The scaling of a model's labels alone.
pub fn label_scaler(model: &impl Samplable) -> LabelScaler {
    let (scaler, n) = (model.scaler(), model.n_labels());
    LabelScaler {
        names: scaler.names[..n].to_vec(),
        pivot: scaler.pivot[..n].to_vec(),
        scale: scaler.scale[..n].to_vec(),
    }
}

/// Fits some spectra and makes their posterior.
///
/// # Errors
/// As [`Samplable::problem`].
pub fn prepare<S: Samplable>(
    model: &S,
    spectra: &SpectraBatch,
    prior: &ScaledPrior,
    nuisances: &NuisanceSettings,
    grid: &WavelengthGrid,
) -> Result<Prepared<S::ChiSquare>> {
    let Problem { chi_square, penalty, minimum, n_pixels } = model.problem(spectra, nuisances, grid)?;
    let n_inputs = model.scaler().n_labels();
    let mut posterior = Posterior::new(chi_square, prior.clone(), n_inputs, penalty.as_ref());
    if let Some(sigma) = nuisances.noise_inflation {
        posterior = posterior.with_noise_inflation(sigma, &n_pixels);
    }
    let approximations = posterior.approximate(&minimum, &n_pixels);
    let estimates = model.describe(&minimum, n_pixels);
    Ok(Prepared { posterior, approximations, estimates })
}

/// Draws from the posterior of one star of a batch, labels in their own units; `None` if it cannot be sampled.
///
/// # Errors
/// [`crate::error::Error::Sampling`]; [`crate::error::Error::Interrupted`] where `progress` asks to stop.
pub fn draw_star<C: ChiSquare + Sync>(
    prepared: &Prepared<C>,
    star: usize,
    sampler: Sampler,
    settings: &SamplerSettings,
    scaler: &LabelScaler,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Option<Draws>> {
    let Ok(approximation) = &prepared.approximations[star] else { return Ok(None) };
    let draws = match sampler {
        Sampler::Nuts => Some(nuts::sample(&prepared.posterior, star, approximation, settings, seed, progress)?),
        Sampler::Hmc => {
            let mut wanted = vec![None; prepared.approximations.len()];
            wanted[star] = Some(approximation.clone());
            hmc::sample(&prepared.posterior, &wanted, settings, seed, progress, |_, draws| draws)?.swap_remove(star)
        }
    };
    Ok(draws.map(|draws| draws.unscaled(&scaler.pivot, &scaler.scale)))
}

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
pub trait Likelihood: Send + Sync {
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

    /// Posteriors of many spectra, flux and inverse variance of [n_stars, n_pixels], by HMC. Memory holds one batch of them.
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

impl<S: Samplable + Send + Sync> Likelihood for S {
    fn scaled_prior(&self, training: ArrayView2<f64>, settings: &PriorSettings) -> Result<ScaledPrior> {
        settings.scaled(&label_scaler(self), training)
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
        let contradicts = approximation.as_ref().is_ok_and(|approximation| approximation.is_against_prior);
        let (n_labels, inflates) = (self.n_labels(), prepared.posterior.inflates_noise());
        let posterior = draws.as_ref().map_or_else(
            || StarPosterior::none(n_labels),
            |draws| StarPosterior::of(draws, n_labels, inflates, contradicts),
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
        let scaler = label_scaler(self);
        let n_labels = scaler.n_labels();
        let mut posteriors = Vec::with_capacity(flux.nrows());
        progress.start("sampling posteriors", flux.nrows());
        for start in (0..flux.nrows()).step_by(BATCH_STARS) {
            let rows = s![start..(start + BATCH_STARS).min(flux.nrows()), ..];
            let spectra = SpectraBatch::new(flux.slice(rows), ivar.slice(rows), compute);
            let prepared = prepare(self, &spectra, prior, &settings.nuisances, grid)?;
            let inflates = prepared.posterior.inflates_noise();
            let approximations: Vec<Option<Approximation>> =
                prepared.approximations.iter().map(|approximation| approximation.as_ref().ok().cloned()).collect();
            // Another batch has other stars of the same numbers.
            let seed = seed.wrapping_add(start as u64);
            let sampled =
                hmc::sample(&prepared.posterior, &approximations, &settings.sampler, seed, progress, |star, draws| {
                    let contradicts =
                        approximations[star].as_ref().is_some_and(|approximation| approximation.is_against_prior);
                    let draws = draws.unscaled(&scaler.pivot, &scaler.scale);
                    progress.advance(1);
                    StarPosterior::of(&draws, n_labels, inflates, contradicts)
                })?;
            let none = || StarPosterior::none(n_labels);
            let flagged = sampled.into_iter().zip(prepared.estimates.flags).map(|(sampled, flags)| {
                let mut posterior = sampled.unwrap_or_else(none);
                posterior.flags |= flags;
                posterior
            });
            posteriors.extend(flagged);
        }
        progress.finish();
        Ok(posteriors)
    }
}
