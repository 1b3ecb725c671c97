//! The posterior of single spectra: no catalogue, a model with a likelihood.

use std::path::Path;
use std::time::Instant;

use crate::data::files;
use crate::data::fits::Column;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::inference::draws::{Draws, SamplerSettings};
use crate::inference::fit::FitSettings;
use crate::inference::posterior::Unsampled;
use crate::inference::refine::RefineSettings;
use crate::inference::sampling::{PosteriorSettings, Sampled, Sampler, StarPosterior};
use crate::kinds::kind::{Loaded, LoadedPosterior};
use crate::kinds::registry;
use crate::labelling::labeller::{LabelledStar, RawSpectra};
use crate::models::LabelEstimator;
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::labels::unit;
use crate::spectra::quality::star_flags;
use crate::stars::spectra::SpectrumSource;

/// A trained model that has a likelihood, ready for raw spectra.
pub struct PosteriorSampler {
    judge: Box<dyn LabelEstimator>,
    model: LoadedPosterior,
    spectra: RawSpectra,
    label_names: Vec<String>,
    compute: Compute,
    fingerprint: String,
}

/// What one spectrum gave.
#[derive(Debug, Clone)]
pub struct SampledStar {
    /// The spectrum, the labels of its best fit, and chi^2 with the spectrum's own errors, the same that `maury label` gives.
    pub star: LabelledStar,
    /// The draws, labels in their own units; `None` if it could not be sampled.
    pub draws: Option<Draws>,
    /// Why it could not be sampled.
    pub reason: Option<Unsampled>,
    /// What the draws say.
    pub posterior: StarPosterior,
    /// Seconds for reading, normalizing and fitting the spectrum.
    pub fit_s: f64,
    /// Seconds for sampling, warm-up and all, and for the diagnostics.
    pub sampling_s: f64,
}

impl PosteriorSampler {
    /// Loads a model folder.
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; [`Error::Mismatch`] if the model has no likelihood; [`Error::Continuum`].
    pub fn load(folder: &Path, fit: &FitSettings, refine: &RefineSettings, compute: &Compute) -> Result<Self> {
        let Loaded { estimator, preparation, label_names, posterior, files: read, .. } =
            registry::load(folder, fit, refine, compute)?;
        let model = posterior.ok_or_else(|| Error::Mismatch {
            what: folder.display().to_string(),
            detail:
                "this model reads labels off a spectrum and has no likelihood to sample; give a Cannon or an emulator"
                    .into(),
        })?;
        let spectra = RawSpectra::new(folder, preparation)?;
        let fingerprint = format!("{} {:?} {fit:?} {refine:?}", files::content_hash(&read)?, compute.dtype());
        Ok(Self { judge: estimator, model, spectra, label_names, compute: compute.clone(), fingerprint })
    }

    /// Identifies model and settings: equal ones give equal draws of a spectrum.
    pub fn fingerprint(&self, settings: &PosteriorSettings, sampler: Sampler, seed: u64) -> String {
        format!("{} {settings:?} {sampler:?} {seed}", self.fingerprint)
    }

    /// Refuses spectra that are not what the model was trained on.
    ///
    /// # Errors
    /// Those of [`SpectrumSource::expect_alike`].
    pub fn expect_alike(&self, source: &dyn SpectrumSource) -> Result<()> {
        self.spectra.expect_alike(source)
    }

    /// Names of the labels.
    pub fn label_names(&self) -> &[String] {
        &self.label_names
    }

    /// Priors and nuisances in words, those that the model brings along included.
    pub fn words(&self, settings: &PosteriorSettings) -> Vec<String> {
        let mut words = settings.words(&self.label_names, self.model.training_labels.nrows());
        words.extend(self.model.words.map(String::from));
        words
    }

    /// Samples the posterior of one spectrum.
    ///
    /// # Errors
    /// Those of reading; [`Error::Config`] for priors that make no sense; [`Error::Sampling`]; [`Error::Interrupted`] where
    /// `progress` asks to stop.
    pub fn sample(
        &self,
        source: &dyn SpectrumSource,
        spectrum: usize,
        settings: &PosteriorSettings,
        sampler: Sampler,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<SampledStar> {
        let started = Instant::now();
        let prior = self.model.likelihood.scaled_prior(self.model.training_labels.view(), &settings.prior)?;
        let mut batch = self.spectra.read(source, &[spectrum], false);
        if let Some(err) = batch.errors.pop() {
            return Err(err);
        }
        let spectra = SpectraBatch::new(batch.flux.view(), batch.ivar.view(), &self.compute);
        // Whether the model describes the star is asked without the nuisances of the posterior, as `maury label` asks it.
        let judged = self.judge.estimate_labels(&spectra)?;
        let read_s = started.elapsed().as_secs_f64();
        let grid = self.spectra.grid();
        let Sampled { estimates, draws, reason, posterior, fit_s, sampling_s } =
            self.model.likelihood.sample_star(&spectra, grid, &prior, settings, sampler, seed, progress)?;
        let mut star = batch.stars.remove(0);
        star.set_estimates(&estimates, 0);
        // What is sampled may have errors that make room for a misfit, which is then seen in no chi^2.
        (star.chi2, star.chi2_reduced) = (judged.chi2[0], judged.chi2_reduced(0));
        star.flags |= judged.flags[0] & star_flags::BAD_FIT | posterior.flags;
        Ok(SampledStar { star, draws, reason, posterior, fit_s: read_s + fit_s, sampling_s })
    }
}

impl SampledStar {
    /// The draws as a table: chain, draw, labels, and the logarithm of the factor on the variances where there is one.
    pub fn draw_columns(&self, label_names: &[String]) -> Vec<Column> {
        let Some(draws) = &self.draws else { return Vec::new() };
        let n_draws = draws.n_draws().max(1);
        let number = |of: &dyn Fn(usize) -> usize| (0..draws.values.nrows()).map(|row| of(row) as i64).collect();
        let mut columns =
            vec![Column::i64("chain", number(&|row| row / n_draws)), Column::i64("draw", number(&|row| row % n_draws))];
        for (k, name) in label_names.iter().enumerate() {
            columns.push(Column::f64(name.clone(), unit(name), draws.values.column(k).to_vec()));
        }
        if self.posterior.noise.is_some() {
            columns.push(Column::f64("ln_noise", "", draws.values.column(draws.values.ncols() - 1).to_vec()));
        }
        columns
    }

    /// Bulk effective draws of the worst label per second of sampling.
    pub fn ess_per_s(&self) -> f64 {
        self.posterior.worst()[1] / self.sampling_s
    }
}

/// What is said of a star that could not be sampled.
pub fn reason(reason: Unsampled) -> &'static str {
    match reason {
        Unsampled::NoData => "it has no more usable pixels than labels",
        Unsampled::NotFinite => "the model is not finite at its best fit",
        Unsampled::Unbounded => "neither data nor prior hold its labels; give a prior",
        Unsampled::NothingAllowed => "the prior excludes everything",
    }
}

/// Sampler settings that a command line may change one by one.
pub fn sampler_settings(
    base: SamplerSettings,
    chains: Option<usize>,
    warm_up: Option<usize>,
    draws: Option<usize>,
) -> SamplerSettings {
    SamplerSettings {
        chains: chains.unwrap_or(base.chains),
        warm_up: warm_up.unwrap_or(base.warm_up),
        draws: draws.unwrap_or(base.draws),
        ..base
    }
}
