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
use crate::labelling::posterior_row::{PosteriorRow, SummaryForm};
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

/// A spectrum that was read, ready to be sampled.
pub struct ReadStar {
    star: LabelledStar,
    spectrum: SpectraBatch,
    /// What tells it from other spectra, whatever list it is in.
    key: String,
    read_s: f64,
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

impl ReadStar {
    /// With the star's identifier to tell it by, for who cares not where its file is.
    #[must_use]
    pub fn by_id(self) -> Self {
        Self { key: self.star.id.clone(), ..self }
    }
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
        format!("{} {settings:?} {sampler:?} seed {seed} by star", self.fingerprint)
    }

    /// What a summary is of that has so many draws of each star beside it.
    pub fn form(&self, settings: &PosteriorSettings, sampler: Sampler, seed: u64, kept: usize) -> SummaryForm {
        SummaryForm {
            label_names: self.label_names.clone(),
            has_noise: settings.nuisances.noise_inflation.is_some(),
            chains: settings.sampler.chains,
            draws: settings.sampler.draws,
            kept,
            origin: self.fingerprint(settings, sampler, seed),
        }
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

    /// Reads a spectrum.
    ///
    /// # Errors
    /// Those of reading.
    pub fn read(&self, source: &dyn SpectrumSource, spectrum: usize) -> Result<ReadStar> {
        let started = Instant::now();
        let mut batch = self.spectra.read(source, &[spectrum], false);
        if let Some(err) = batch.errors.pop() {
            return Err(err);
        }
        Ok(ReadStar {
            star: batch.stars.remove(0),
            spectrum: SpectraBatch::new(batch.flux.view(), batch.ivar.view(), &self.compute),
            key: source.id(spectrum).unwrap_or_else(|| source.name(spectrum)),
            read_s: started.elapsed().as_secs_f64(),
        })
    }

    /// The row of a spectrum that cannot be read.
    pub fn unread(&self, source: &dyn SpectrumSource, spectrum: usize) -> PosteriorRow {
        self.unsampled(LabelledStar::unreadable(source, spectrum))
    }

    /// The row of a star without a posterior.
    fn unsampled(&self, star: LabelledStar) -> PosteriorRow {
        let LabelledStar { file, id, flags, .. } = star;
        let posterior = StarPosterior::none(self.label_names.len());
        PosteriorRow { file, id, flags: flags | posterior.flags, posterior, draws: None }
    }

    /// The row of a star that the sampler failed on.
    pub fn failed(&self, read: ReadStar) -> PosteriorRow {
        self.unsampled(read.star)
    }

    /// Samples the posterior of one spectrum, by a seed of the star's own: its draws do not depend on what else is sampled.
    ///
    /// # Errors
    /// [`Error::Config`] for priors that make no sense; [`Error::Sampling`]; [`Error::Interrupted`] where `progress` asks to stop.
    pub fn sample(
        &self,
        read: &ReadStar,
        settings: &PosteriorSettings,
        sampler: Sampler,
        seed: u64,
        progress: &dyn Progress,
    ) -> Result<SampledStar> {
        let ReadStar { star, spectrum, key, read_s } = read;
        let started = Instant::now();
        let prior = self.model.likelihood.scaled_prior(self.model.training_labels.view(), &settings.prior)?;
        // Whether the model describes the star is asked without the nuisances of the posterior, as `maury label` asks it.
        let judged = self.judge.estimate_labels(spectrum)?;
        let before_s = read_s + started.elapsed().as_secs_f64();
        let (grid, seed) = (self.spectra.grid(), seed_of(seed, key));
        let Sampled { estimates, draws, reason, posterior, fit_s, sampling_s } =
            self.model.likelihood.sample_star(spectrum, grid, &prior, settings, sampler, seed, progress)?;
        let mut star = star.clone();
        star.set_estimates(&estimates, 0);
        // What is sampled may have errors that make room for a misfit, which is then seen in no chi^2.
        (star.chi2, star.chi2_reduced) = (judged.chi2[0], judged.chi2_reduced(0));
        star.flags |= judged.flags[0] & star_flags::BAD_FIT | posterior.flags;
        Ok(SampledStar { star, draws, reason, posterior, fit_s: before_s + fit_s, sampling_s })
    }
}

/// The seed of a star's chains: of the seed that was asked for, and of the star's key alone.
fn seed_of(seed: u64, key: &str) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes()).update(key.as_bytes());
    u64::from_le_bytes(hasher.finalize().as_bytes()[..8].try_into().expect("a hash has 32 bytes"))
}

impl SampledStar {
    /// Its row, without the place of its draws.
    pub fn row(&self) -> PosteriorRow {
        let LabelledStar { file, id, flags, .. } = self.star.clone();
        PosteriorRow { file, id, flags, posterior: self.posterior.clone(), draws: None }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_of_a_star_is_of_its_key_and_of_the_seed_alone() {
        let seeds = [(1, "a"), (1, "b"), (2, "a")].map(|(seed, key)| seed_of(seed, key));
        assert!(seeds[0] != seeds[1] && seeds[0] != seeds[2] && seeds[1] != seeds[2]);
        // Draws of a survey stay what they were.
        assert_eq!(seed_of(1, "apStar-00000.fits"), 501_128_923_670_605_716);
    }
}
