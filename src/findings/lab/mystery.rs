//! The star whose labels nobody told: its posterior under every Cannon of the experiment.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::stars::{labelled, scaled};
use super::subject::{Subject, no_star};
use crate::error::{Error, Result};
use crate::inference::refine::RefineSettings;
use crate::inference::sampling::Sampler;
use crate::labelling::posterior::{PosteriorSampler, SampledStar, reason};
use crate::spectra::quality::star_flags;
use crate::stars::spectra::SpectrumSource;
use crate::stars::spectrum_files::SpectrumFiles;

/// The numbers of the mystery.
#[derive(Debug, Clone, Serialize)]
pub struct Mystery {
    /// What its file calls it.
    pub id: String,
    /// Whether it is a test star whose labels were withheld, rather than a spectrum from a file of its own.
    pub is_withheld: bool,
    /// Signal-to-noise ratio per pixel.
    pub snr: f64,
    /// Chains and draws of each.
    pub chains: usize,
    /// See `chains`.
    pub draws: usize,
    /// Priors in words.
    pub priors: Vec<String>,
    /// What the catalogue says of a star that was withheld, by label.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub catalogue: BTreeMap<String, f64>,
    /// The posterior, by model.
    pub models: BTreeMap<String, MysteryPosterior>,
}

/// The posterior under one model.
#[derive(Debug, Clone, Serialize)]
pub struct MysteryPosterior {
    /// By label.
    pub labels: BTreeMap<String, MysteryLabel>,
    /// Correlation of two labels over the draws, by `<label>-<label>`.
    pub correlation: BTreeMap<String, f64>,
    /// chi^2 per degree of freedom of the best fit.
    pub chi2_reduced: f64,
    /// Whether the model describes the star as it describes those held out of its training; if not, no error quoted for it
    /// holds.
    pub is_described: bool,
    /// Largest R-hat of a label.
    pub worst_r_hat: f64,
    /// Smallest bulk effective number of draws.
    pub worst_ess: f64,
    /// Divergent draws.
    pub divergences: usize,
    /// Seconds of sampling.
    pub sampling_s: f64,
    /// Why there are no draws; none where there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_sampled: Option<&'static str>,
}

/// A label of the mystery.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MysteryLabel {
    /// The best fit.
    pub best_fit: f64,
    /// Its formal error.
    pub formal_error: f64,
    /// Mean of the draws.
    pub mean: f64,
    /// Their standard deviation.
    pub sd: f64,
    /// 16%, 50% and 84% of the draws lie below.
    pub q16: f64,
    /// See `q16`.
    pub q50: f64,
    /// See `q16`.
    pub q84: f64,
}

/// What sampling left of a star, and the model it was sampled with.
pub type NamedPosterior = (String, SampledStar);

/// Samples the mystery with the models in these folders; none if there is no spectrum to sample.
pub(super) fn sample(
    subject: &Subject,
    models: &[(String, PathBuf)],
) -> Result<(Option<Mystery>, Vec<NamedPosterior>)> {
    let shared = subject.context.settings;
    let of_file = subject.stars.data.mystery.as_ref().map(|path| SpectrumFiles::new(vec![path.clone()]));
    let withheld = if of_file.is_none() { Some(withheld(subject)?) } else { None };
    let spectra: &dyn SpectrumSource = match &of_file {
        Some(file) => file,
        None => subject.source.spectra(),
    };
    let settings = shared.posterior.clone().unwrap_or_default();
    let mut sampled = Vec::new();
    let mut mystery: Option<Mystery> = None;
    for (name, folder) in models {
        let sampler = PosteriorSampler::load(folder, &shared.fit, &RefineSettings::default(), subject.context.compute)?;
        sampler.expect_alike(spectra)?;
        // A run in another folder has the same draws.
        let read = sampler.read(spectra, withheld.unwrap_or_default())?.by_id();
        let star = match sampler.sample(&read, &settings, Sampler::Hmc, shared.seed, subject.context.progress) {
            Ok(star) => star,
            // One model's trouble with one spectrum is no reason to lose a run.
            Err(err @ Error::Sampling(_)) => {
                tracing::warn!("mystery star under {name}: {err}");
                continue;
            }
            Err(err) => return Err(err),
        };
        let names = sampler.label_names();
        let found = mystery.get_or_insert_with(|| Mystery {
            id: star.star.id.clone(),
            is_withheld: withheld.is_some(),
            snr: star.star.snr,
            chains: settings.sampler.chains,
            draws: settings.sampler.draws,
            priors: sampler.words(&settings),
            catalogue: withheld.map(|row| catalogue(subject, row)).unwrap_or_default(),
            models: BTreeMap::new(),
        });
        found.models.insert(name.clone(), posterior(&star, names));
        sampled.push((name.clone(), star));
    }
    Ok((mystery, sampled))
}

/// The test star nearest to the mean of the training stars.
fn withheld(subject: &Subject) -> Result<usize> {
    let Subject { fold, result, cannon, .. } = subject;
    let distance = |position: &usize| -> f64 {
        let labels = result.estimates.labels.row(*position).to_vec();
        scaled(&cannon.scaler, &[labels]).iter().map(|value| value * value).sum()
    };
    let nearest = labelled(subject).into_iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
    Ok(fold.test[nearest.ok_or_else(|| no_star("a star to withhold"))?])
}

fn catalogue(subject: &Subject, row: usize) -> BTreeMap<String, f64> {
    let set = subject.context.set;
    set.label_names.iter().cloned().zip(set.labels.row(row).iter().copied()).collect()
}

fn posterior(star: &SampledStar, names: &[String]) -> MysteryPosterior {
    let found = &star.posterior;
    let label = |k: usize| {
        let marginal = &found.marginals[k];
        MysteryLabel {
            best_fit: star.star.labels[k],
            formal_error: star.star.errors[k],
            mean: marginal.mean,
            sd: marginal.sd,
            q16: marginal.quantiles[0],
            q50: marginal.quantiles[1],
            q84: marginal.quantiles[2],
        }
    };
    let mut correlation = BTreeMap::new();
    for j in 0..names.len() {
        for k in j + 1..names.len() {
            let of = &found.covariance;
            correlation.insert(format!("{}-{}", names[j], names[k]), of[[j, k]] / (of[[j, j]] * of[[k, k]]).sqrt());
        }
    }
    let [worst_r_hat, worst_ess, _] = found.worst();
    MysteryPosterior {
        labels: names.iter().cloned().zip((0..names.len()).map(label)).collect(),
        correlation,
        chi2_reduced: star.star.chi2_reduced,
        is_described: star.star.flags & star_flags::BAD_FIT == 0,
        worst_r_hat,
        worst_ess,
        divergences: found.divergences,
        sampling_s: star.sampling_s,
        not_sampled: star.reason.map(reason),
    }
}
