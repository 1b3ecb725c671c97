//! The Cannon, plain and correlated: flux as a polynomial of the labels.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use ndarray::{Array1, Array2, ArrayView2, Axis, aview1, concatenate, s};

use super::context::Context;
use super::fold::label_test_stars;
use super::kind::{
    FoldResult, Job, Kind, Loaded, LoadedPosterior, Model, ModelFolder, Strangers, Subject, Trained, Training,
    TrainingReport,
};
use super::nuisance_trial::settle_nuisances;
use crate::device::Compute;
use crate::error::Result;
use crate::inference::fitted::FittedCannon;
use crate::inference::judged::Judged;
use crate::inference::sampling::Likelihood;
use crate::models::LabelEstimator;
use crate::spectra::labels::LabelScaler;
use crate::stars::prepare::spectra_of_rows;
use crate::timings::Timings;
use crate::training::anchor::Anchor;
use crate::training::anchored;
use crate::training::cannon_config::{AnchorSettings, CannonConfig, CannonTraining};
use crate::training::cannon_descent::{self, CannonStars};
use crate::training::checkpoint::{KIND, Preparation, TrainedCannon};
use crate::training::closed_form::{self, TrainingReport as CannonReport};
use crate::training::latent;
use crate::training::line_windows::LineWindows;
use crate::training::nuisance_choice::NuisanceChoice;
use crate::training::term_layout::TermLayout;

/// Model spectra of an anchor's library whose labels are kept with the model: as many as starts of a fit are chosen from.
const MODELS_SHOWN: usize = 400;

impl Model for CannonConfig {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        CannonConfig::check(self, subject.labels).map_err(|(field, problem)| subject.problem(&field, problem))
    }

    fn train_and_label(&self, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
        let train = |job: &Job, config: &CannonConfig| Ok(train_cannon(job, config)?.0);
        // How many nuisance spectra there are, where that was left to stars held out; the plain Cannon has none to settle.
        let (settled, choice) = timings.measure("train", || settle_nuisances(job, self, &train))?;
        let anchor = timings.measure("train", || anchor(job, self))?;
        let mut trained = timings.measure("train", || CannonOfStars::train(job, &settled, anchor))?;
        trained.report.nuisance_choice = choice;
        trained.tell(job.name);
        label_test_stars(Box::new(trained), job, timings)
    }

    fn predicts_flux(&self) -> bool {
        true
    }

    fn flux_order(&self) -> Option<usize> {
        // Latent labels are no labels.
        (self.latent.is_none() && self.anchor.is_none()).then_some(self.order)
    }
}

impl Kind for CannonConfig {
    const NAME: &'static str = KIND;

    fn load(folder: &ModelFolder) -> Result<Loaded> {
        let model = TrainedCannon::load(folder.path, folder.compute)?;
        let fitted = FittedCannon::new(&model, folder.fit, folder.compute);
        let estimator = Judged::load(folder.path, fitted.clone(), &model.preparation.grid.chips)?;
        let posterior =
            LoadedPosterior { likelihood: Box::new(fitted), training_labels: model.training_labels, words: None };
        let loaded = Loaded::new(Box::new(estimator), model.preparation, model.scaler.names);
        Ok(Loaded { posterior: Some(posterior), ..loaded })
    }
}

impl TrainingReport for CannonReport {
    fn nuisance_choice(&self) -> Option<&NuisanceChoice> {
        self.nuisance_choice.as_ref()
    }

    fn n_valid_pixels(&self) -> Option<usize> {
        Some(self.n_valid_pixels)
    }
}

/// A Cannon that was trained, and by what.
struct CannonOfStars {
    config: CannonConfig,
    trained: TrainedCannon,
    report: CannonReport,
    /// What it started from, where that is physics.
    anchor: Option<Arc<Anchor>>,
}

impl CannonOfStars {
    fn train(job: &Job, config: &CannonConfig, anchor: Option<Arc<Anchor>>) -> Result<Self> {
        let (trained, report) = match (&config.anchor, &anchor) {
            (Some(settings), Some(anchor)) => train_anchored(job, settings, anchor),
            _ => train_cannon(job, config)?,
        };
        Ok(Self { config: config.clone(), trained, report, anchor })
    }

    /// Says how training went.
    fn tell(&self, name: &str) {
        let report = &self.report;
        if report.n_beyond_description > report.n_left_out {
            tracing::warn!(
                "{name}: {} of {} training stars are beyond description by the correlated Cannon; the {} strangest were \
                 left out (latent.clip_most)",
                report.n_beyond_description,
                report.n_stars + report.n_left_out,
                report.n_left_out
            );
        }
        tracing::info!(
            "{name}: trained on {} stars: {} pixels ({} without information), {} parameters",
            report.n_stars,
            report.n_valid_pixels,
            report.n_invalid_pixels,
            self.n_parameters()
        );
    }
}

impl Trained for CannonOfStars {
    fn n_train(&self) -> usize {
        self.report.n_stars
    }

    fn n_parameters(&self) -> usize {
        let nil = self.report.descent.map_or(0, |descent| descent.n_zero_coefficients) + self.report.n_nil_coefficients;
        self.trained.cannon.n_parameters() - nil
    }

    fn report(&self) -> Training {
        Training::new(self.report.clone())
    }

    fn estimator(&self, context: &Context) -> Box<dyn LabelEstimator> {
        Box::new(FittedCannon::new(&self.trained, &context.settings.fit, context.compute))
    }

    fn again(&self, job: &Job) -> Result<Box<dyn Trained>> {
        Ok(Box::new(Self::train(job, &self.config, self.anchor.clone())?))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        self.trained.save(folder)
    }

    fn tells_strangers(&self) -> Strangers<'_> {
        Strangers::ByFit
    }

    fn likelihood(&self, context: &Context) -> Option<(Box<dyn Likelihood>, &Array2<f64>)> {
        let fitted = FittedCannon::new(&self.trained, &context.settings.fit, context.compute);
        Some((Box::new(fitted), &self.trained.training_labels))
    }

    fn flux_model(&self) -> Option<&TrainedCannon> {
        self.config.flux_order().map(|_| &self.trained)
    }

    fn cannon(&self) -> Option<&TrainedCannon> {
        Some(&self.trained)
    }

    fn latent_spectra(&self) -> Vec<Vec<f64>> {
        self.trained.latent_spectra()
    }

    fn trains_quickly(&self) -> bool {
        matches!(self.config.training, CannonTraining::ClosedForm)
    }
}

/// What is to be feared where training stars are few for the coefficients of a pixel, and whether gravely. Quadratics bear fewer stars
/// than cubics, whose ends swing.
fn few_stars(n_stars: usize, n_terms: usize, order: usize) -> Option<(bool, &'static str)> {
    if (n_terms + 1..2 * n_terms).contains(&n_stars) {
        let grave = "hardly determine them: labels will have several minima; lower the order, or give more stars";
        return Some((true, grave));
    }
    let are_few = order > 2 && (2 * n_terms..10 * n_terms).contains(&n_stars);
    are_few.then_some((
        false,
        "are few: with less than some ten times as many a lower order is often better; compare both",
    ))
}

/// What physics says of the fold's training stars, where the model is to know it.
fn anchor(job: &Job, config: &CannonConfig) -> Result<Option<Arc<Anchor>>> {
    let Some(settings) = &config.anchor else { return Ok(None) };
    let Context { set, settings: shared, compute, .. } = job.context;
    let labels = set.labels.select(Axis(0), &job.context.trainable(&job.fold.training));
    let preparation = job.context.preparation();
    let anchor = Anchor::new(settings, &set.label_names, labels.view(), &preparation, shared.seed, compute)?;
    Ok(Some(Arc::new(anchor)))
}

/// A Cannon of the training stars that have all their labels, from an anchor on.
fn train_anchored(job: &Job, settings: &AnchorSettings, anchor: &Anchor) -> (TrainedCannon, CannonReport) {
    let Context { set, compute, progress, .. } = job.context;
    let trainable = job.context.trainable(&job.fold.training);
    let labels = set.labels.select(Axis(0), &trainable);
    let (flux, ivar) = spectra_of_rows(set, &trainable);
    let scaled = anchor.scaler.scale(labels.view());
    let mut errors = set.label_errors.select(Axis(0), &trainable);
    errors.rows_mut().into_iter().for_each(|mut row| row /= &aview1(&anchor.scaler.scale));
    // A label whose error no catalogue gives is taken at its word.
    errors.mapv_inplace(|error| if error.is_finite() { error } else { 0.0 });
    let spectra = (flux.view(), ivar.view());
    let trained = anchored::train(settings, anchor, (scaled.view(), errors), spectra, compute, progress);
    let kept: Vec<usize> = (0..trainable.len()).filter(|star| trained.kept[*star]).collect();
    // Physics has zero points of its own; labels are to be on the catalogue's.
    let mut scaler = anchor.scaler.clone();
    let above =
        trained.zero_points.iter().zip(&scaler.scale).map(|(above, scale)| above * scale).collect::<Array1<f64>>();
    scaler.pivot.iter_mut().zip(&above).for_each(|(pivot, above)| *pivot -= above);
    // Where the model holds, the library tells as well as the stars.
    let shown = || s![..anchor.labels.nrows().min(MODELS_SHOWN), ..];
    let of_library = &anchor.labels.slice(shown()) - &above;
    let model = TrainedCannon {
        cannon: trained.cannon,
        scaler,
        preparation: job.context.preparation(),
        training_labels: concatenate![Axis(0), labels.select(Axis(0), &kept), of_library],
        latent_labels: concatenate![
            Axis(0),
            trained.latent_labels.select(Axis(0), &kept),
            anchor.hidden.slice(shown())
        ],
    };
    (model, trained.report)
}

/// A Cannon of the training stars that have all their labels; what physics says does not count here.
pub(super) fn train_cannon(job: &Job, config: &CannonConfig) -> Result<(TrainedCannon, CannonReport)> {
    let Context { set, settings, compute, progress } = job.context;
    let trainable = job.context.trainable(&job.fold.training);
    let labels = set.labels.select(Axis(0), &trainable);
    let scaler = LabelScaler::fit_independent(&set.label_names, labels.view())?;
    let (flux, ivar) = spectra_of_rows(set, &trainable);
    let scaled = scaler.scale(labels.view());
    let preparation = job.context.preparation();
    let (config, window_shares) = with_windows(config, &set.label_names, labels.view(), &preparation, compute)?;
    let layout = TermLayout::new(&config, &set.label_names, &set.grid.wavelength);
    let n_terms = layout.most_terms(set.n_pixels());
    // Of the parts of the training stars that are held out it is said once, of all of them.
    let doubt =
        few_stars(trainable.len(), n_terms, config.order).filter(|(is_grave, _)| *is_grave || job.place.is_some());
    if let Some((_, words)) = doubt {
        tracing::warn!("{}: {} training stars for {n_terms} coefficients per pixel {words}", job.name, trainable.len());
    }
    if let Some(latent) = &config.latent {
        let spectra = (flux.view(), ivar.view());
        let terms = &layout.vectorizer;
        let trained = latent::train_terms(&config, latent, terms, scaled.view(), spectra, compute, progress)?;
        // Stars that were left out say nothing of where the model holds.
        let kept: Vec<usize> = (0..trainable.len()).filter(|star| trained.kept[*star]).collect();
        let model = TrainedCannon {
            cannon: trained.cannon,
            scaler,
            preparation,
            training_labels: labels.select(Axis(0), &kept),
            latent_labels: trained.latent_labels.select(Axis(0), &kept),
        };
        return Ok((model, trained.report));
    }
    let (cannon, mut report) = match &config.training {
        CannonTraining::ClosedForm => {
            closed_form::train_terms(&config, &layout, scaled.view(), (flux.view(), ivar.view()), compute)?
        }
        CannonTraining::Descent(descent) => {
            let mut errors = set.label_errors.select(Axis(0), &trainable);
            errors.rows_mut().into_iter().for_each(|mut row| row /= &aview1(&scaler.scale));
            let stars = CannonStars {
                label_names: &set.label_names,
                wavelength: &set.grid.wavelength,
                scaled_labels: scaled.view(),
                scaled_label_errors: errors.view(),
                flux: flux.view(),
                ivar: ivar.view(),
            };
            cannon_descent::train(&config, descent, &stars, settings.seed, compute, progress)?
        }
    };
    report.window_shares = window_shares;
    let latent_labels = Array2::zeros((labels.nrows(), 0));
    Ok((TrainedCannon { cannon, scaler, preparation, training_labels: labels, latent_labels }, report))
}

/// Settings with the windows that the emulator finds for stars like these written out, and the share of the pixels inside each
/// label's; as they are where they ask for none.
fn with_windows(
    config: &CannonConfig,
    label_names: &[String],
    labels: ArrayView2<f64>,
    preparation: &Preparation,
    compute: &Compute,
) -> Result<(CannonConfig, BTreeMap<String, f64>)> {
    let Some(settings) = &config.windows else { return Ok((config.clone(), BTreeMap::new())) };
    let windows = LineWindows::new(settings, label_names, labels, preparation, compute)?;
    let shares = windows.of_labels.keys().filter_map(|label| Some((label.clone(), windows.share(label)?)));
    Ok((windows.named_in(config, &preparation.grid.wavelength), shares.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_stars_for_a_cubic_are_told_and_the_ordinary_quadratic_is_not_scolded() {
        let grave = |n_stars, n_terms, order| few_stars(n_stars, n_terms, order).map(|(is_grave, _)| is_grave);
        // The quickstart, and a fold of its calibration.
        assert_eq!((grave(200, 21, 2), grave(133, 21, 2)), (None, None));
        assert_eq!((grave(200, 56, 3), grave(559, 56, 3), grave(560, 56, 3)), (Some(false), Some(false), None));
        assert_eq!((grave(111, 56, 3), grave(112, 56, 3), grave(30, 21, 2)), (Some(true), Some(false), Some(true)));
        // Training refuses these itself.
        assert_eq!(grave(21, 21, 2), None);
    }
}
