//! Correlated Cannons of several numbers of nuisance spectra, tried on training stars held out. No test star takes part.

use ndarray::{Array2, Axis};

use super::kind::Job;
use crate::error::{Error, Result};
use crate::inference::fitted::FittedCannon;
use crate::training::cannon_config::{CannonConfig, LatentSettings};
use crate::training::checkpoint::TrainedCannon;
use crate::training::nuisance_choice::{CANDIDATES, NuisanceChoice, NuisanceCount, Trial};

/// What trains a Cannon of some settings.
pub(super) type Train = dyn Fn(&Job, &CannonConfig) -> Result<TrainedCannon>;

/// The training stars are held out in so many parts, one after the other, until there are enough to judge.
const PARTS: usize = 3;
/// Enough stars to know a scatter to 5%.
const ENOUGH_STARS: usize = 200;
/// These parts have nothing to do with any other.
const SEED: u64 = 7_000_003;

/// The settings of a Cannon with a fixed number of nuisance spectra, and how it was chosen where that was left to the
/// fold's training stars.
///
/// # Errors
/// [`Error::Interrupted`].
pub(super) fn settle_nuisances(
    job: &Job,
    config: &CannonConfig,
    train: &Train,
) -> Result<(CannonConfig, Option<NuisanceChoice>)> {
    let latent = match &config.latent {
        Some(latent) if latent.spectra == NuisanceCount::HeldOut => latent,
        _ => return Ok((config.clone(), None)),
    };
    let settled = |count: usize| {
        let latent = LatentSettings { spectra: NuisanceCount::Fixed(count), ..latent.clone() };
        // Without either it is the plain Cannon.
        CannonConfig { latent: (latent.labels + count > 0).then_some(latent), ..config.clone() }
    };
    let choice = try_nuisances(job, config, latent, &settled, train)?;
    if let Some(words) = choice.as_ref().and_then(|choice| NuisanceChoice::words(&[choice])) {
        tracing::info!("{}: {words}", job.name);
    }
    Ok((settled(choice.as_ref().map_or(0, |choice| choice.chosen)), choice))
}

fn try_nuisances(
    job: &Job,
    config: &CannonConfig,
    latent: &LatentSettings,
    settled: &dyn Fn(usize) -> CannonConfig,
    train: &Train,
) -> Result<Option<NuisanceChoice>> {
    let context = &job.context;
    let trainable = context.trainable(&job.fold.training);
    // Half as many coefficients as stars, at most.
    let n_terms = config.vectorizer(&context.set.label_names, latent.labels).n_terms();
    let most = (trainable.len() * (PARTS - 1) / PARTS / 2).saturating_sub(n_terms);
    let counts: Vec<usize> = CANDIDATES.into_iter().filter(|count| *count <= most).collect();
    if counts.len() < 2 {
        return Ok(None);
    }
    let trial = |spectra: usize| Trial {
        spectra,
        residuals: Array2::zeros((0, context.set.label_names.len())),
        ln_likelihood: Vec::new(),
    };
    let mut trials: Vec<Trial> = counts.into_iter().map(trial).collect();
    for part in context.parts(&trainable, PARTS, SEED) {
        let catalogue = context.set.labels.select(Axis(0), &part.test);
        for trial in &mut trials {
            let examined = train(&job.on(&part), &settled(trial.spectra)).and_then(|trained| {
                let fitted = FittedCannon::new(&trained, &context.settings.fit, context.compute);
                context.examine("fitting labels held out", &part.test, &fitted)
            });
            let (estimates, misfit) = match examined {
                Ok(found) => found,
                Err(stopped @ Error::Interrupted { .. }) => return Err(stopped),
                Err(err) => {
                    tracing::warn!("{}: no nuisance spectra: {err}", job.name);
                    return Ok(None);
                }
            };
            let residuals = estimates.labels - &catalogue;
            trial.residuals.append(Axis(0), residuals.view()).expect("both have the same labels");
            trial.ln_likelihood.extend(misfit.ln_likelihood);
        }
        if trials[0].residuals.nrows() >= ENOUGH_STARS {
            break;
        }
    }
    Ok(NuisanceChoice::new(&trials))
}
