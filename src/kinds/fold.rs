//! What becomes of a model on a fold, whatever its kind: trained, kept, asked for labels, held against stars it had not seen.
//!
//! [`run_fold`] is asked by whoever runs an experiment. It asks the model ([`Model::train_and_label`]), which trains in its own way
//! and, in nearly every kind, hands what it trained to [`label_test_stars`].

use ndarray::Axis;

use super::bad_fit::{flag_bad_fits, flag_unusual};
use super::context::{CalibrationSettings, HeldOutByNetworks};
use super::held_out::{ByParts, held_out};
use super::kind::{Calibrated, FoldResult, Job, Model, Strangers, Trained};
use crate::error::Result;
use crate::inference::calibration::ErrorCalibration;
use crate::inference::posteriors::Posteriors;
use crate::inference::shown_fits::ShownFits;
use crate::inference::slopes::Slopes;
use crate::memory::bytes_of_spectra;
use crate::timings::Timings;

/// Has a model train on a fold's training stars and label its test stars, and calibrates its errors.
///
/// # Errors
/// As [`Model::train_and_label`].
pub fn run_fold(model: &dyn Model, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
    let mut result = model.train_and_label(job, timings)?;
    result.calibrated = calibrate(model, job, &result)?;
    Ok(result)
}

/// Keeps a trained model where there is a place, labels the test stars of its fold, flags those it does not know, and has training
/// stars labelled by models that had not seen them.
///
/// # Errors
/// Errors of fitting and writing.
pub fn label_test_stars(trained: Box<dyn Trained>, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
    let (context, fold) = (&job.context, job.fold);
    if let Some(place) = job.place {
        timings.measure("save", || trained.save(&place.model))?;
    }
    let estimator = trained.estimator(context);
    let (step, task) = match trained.tells_strangers() {
        Strangers::ByFit => ("fit", "fitting labels"),
        Strangers::BySpectra(_) => ("estimate", "estimating labels"),
    };
    // What is not kept is not shown either: points of sweeps, models trained for a side question.
    let mut shown_fits = job.place.map(|_| ShownFits::new(context.set.n_pixels()));
    let (mut estimates, misfit) = timings.measure(step, || match &mut shown_fits {
        Some(shown) => context.examine_and_show(task, &fold.test, &*estimator, shown),
        None => context.examine(task, &fold.test, &*estimator),
    })?;
    let posteriors = posteriors(&*trained, job, timings)?;
    let ByParts { held_out, slopes, unseen, parts } =
        timings.measure("calibrate", || held_out(&*trained, &*estimator, job))?;
    match &slopes {
        Some(slopes) => {
            slopes.apply(&mut estimates, &context.conditions(&fold.test)?);
            job.place.map_or(Ok(()), |place| slopes.save(&place.model))?;
        }
        None if trained.corrects_slopes() => {
            tracing::warn!("{}: correct_slopes leaves its labels as they are: no star was held out", job.name);
            job.place.map_or(Ok(()), |place| Slopes::none(&context.set.label_names).save(&place.model))?;
        }
        None => {}
    }
    let n_usual = match trained.tells_strangers() {
        Strangers::ByFit => flag_bad_fits(job, &unseen, (&mut estimates, &misfit))?,
        Strangers::BySpectra(rows) => timings.measure("calibrate", || flag_unusual(job, rows, &mut estimates))?,
    };
    Ok(FoldResult {
        n_train: trained.n_train(),
        n_parameters: trained.n_parameters(),
        training: trained.report(),
        model: Some(trained),
        estimates,
        shown_fits: shown_fits.filter(|shown| !shown.basis.is_empty()),
        posteriors,
        held_out,
        parts,
        slopes,
        calibrated: None,
        n_usual,
    })
}

/// Posteriors of the fold's test stars, where the experiment asks for them and the model has a likelihood.
fn posteriors(trained: &dyn Trained, job: &Job, timings: &mut Timings) -> Result<Option<Posteriors>> {
    let context = &job.context;
    let Some(settings) = &context.settings.posterior else { return Ok(None) };
    let Some((likelihood, training)) = trained.likelihood(context) else { return Ok(None) };
    timings.measure("posterior", || {
        let started = std::time::Instant::now();
        let prior = likelihood.scaled_prior(training.view(), &settings.prior)?;
        // Usually all at once.
        let of_star = bytes_of_spectra(1, context.set.n_pixels()).max(1);
        let together = (context.compute.memory().of_block() / of_star).max(1) as usize;
        let mut stars = Vec::with_capacity(job.fold.test.len());
        for rows in job.fold.test.chunks(together) {
            let (flux, ivar) = context.set.spectra.of(rows)?;
            stars.extend(likelihood.sample_arrays(
                (flux.view(), ivar.view()),
                &context.set.grid,
                &prior,
                settings,
                context.settings.seed,
                context.compute,
                context.progress,
            )?);
        }
        let words = settings.words(&context.set.label_names, training.nrows());
        let sampler = settings.sampler.clone();
        Ok(Some(Posteriors { stars, wall_s: started.elapsed().as_secs_f64(), words, sampler }))
    })
}

/// Calibrates the errors of a fold's result with its held-out stars, and keeps the calibration beside the model.
///
/// # Errors
/// [`crate::error::Error::Io`].
fn calibrate(model: &dyn Model, job: &Job, result: &FoldResult) -> Result<Option<Calibrated>> {
    let (context, fold) = (&job.context, job.fold);
    let set = context.set;
    let Some(held_out) = &result.held_out else { return Ok(None) };
    let calibration = ErrorCalibration::fit(&set.label_names, held_out);
    if calibration.labels.iter().all(Option::is_none) {
        tracing::warn!(
            "{}: no calibrated errors: {} training stars held out are too few; {}",
            job.name,
            held_out.rows.len(),
            more_held_out(model, context.settings.calibration)
        );
        return Ok(None);
    }
    if let Some(place) = job.place {
        calibration.save(&place.model)?;
    }
    for (label, fitted) in set.label_names.iter().zip(&calibration.labels) {
        if let Some(words) = fitted.as_ref().and_then(|fitted| fitted.words_on_catalogue(label)) {
            tracing::debug!("{words}");
        }
    }
    let errors = calibration.errors(&result.estimates, &context.conditions(&fold.test)?);
    let catalogue_errors = calibration.catalogue_errors(&set.label_errors.select(Axis(0), &fold.test));
    Ok(Some(Calibrated { calibration, errors, catalogue_errors }))
}

/// What gives a model more held-out stars.
fn more_held_out(model: &dyn Model, calibration: CalibrationSettings) -> &'static str {
    let by_folds = CalibrationSettings { networks: HeldOutByNetworks::Folds, ..calibration };
    if !model.trains_on_parts(&calibration) && model.trains_on_parts(&by_folds) {
        "set calibration.networks = \"folds\", which holds out every training star in turn, or give more stars"
    } else {
        "give more training stars"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::ridge::RidgeConfig;
    use crate::training::cannon_config::CannonConfig;
    use crate::training::network_config::NetworkConfig;

    #[test]
    fn only_networks_that_hold_out_few_are_told_of_folds() {
        let (members, network) = (CalibrationSettings::default(), NetworkConfig::default());
        let folds = CalibrationSettings { networks: HeldOutByNetworks::Folds, ..members };
        assert!(more_held_out(&network, members).contains("calibration.networks = \"folds\""));
        for (model, calibration) in
            [(&network as &dyn Model, folds), (&CannonConfig::default(), members), (&RidgeConfig::default(), members)]
        {
            assert_eq!(more_held_out(model, calibration), "give more training stars");
        }
    }
}
