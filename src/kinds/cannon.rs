//! The Cannon, plain and correlated: flux as a polynomial of the labels.

use std::path::Path;
use std::sync::Arc;

use ndarray::Array2;

use super::cannon_training::{Purpose, anchor, settle_labels, train_anchored, train_cannon};
use super::context::Context;
use super::fold::label_test_stars;
use super::kind::{
    FoldResult, Job, Kind, Loaded, LoadedPosterior, Model, ModelFolder, Strangers, Subject, Trained, Training,
    TrainingReport,
};
use super::nuisance_trial::settle_nuisances;
use crate::error::Result;
use crate::inference::fitted::FittedCannon;
use crate::inference::judged::Judged;
use crate::inference::sampling::Likelihood;
use crate::models::LabelEstimator;
use crate::timings::Timings;
use crate::training::anchor::Anchor;
use crate::training::anchored;
use crate::training::cannon_config::{CannonConfig, CannonTraining};
use crate::training::checkpoint::{KIND, TrainedCannon};
use crate::training::closed_form::TrainingReport as CannonReport;
use crate::training::departures::{Departure, departures};
use crate::training::label_choice::LabelUse;
use crate::training::model_spectra::expect_inputs;
use crate::training::nuisance_choice::{CANDIDATES, NuisanceChoice, NuisanceCount};

impl Model for CannonConfig {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        CannonConfig::check(self, subject.labels).map_err(|(field, problem)| subject.problem(&field, problem))?;
        self.check_grid(subject)
    }

    fn check_size(&self, subject: &Subject, n_training: usize) -> Result<(), (String, String)> {
        if self.acts_everywhere() {
            let (n, fewer) = self.most_coefficients(subject);
            // Products of what two coefficients are multiplied with are kept of every star.
            subject.check_kept(n_training, size_of::<f32>() * n * (n + 1) / 2, fewer)?;
        }
        self.check_grid(subject)
    }

    fn train_and_label(&self, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
        let train =
            |job: &Job, config: &CannonConfig| Ok(train_cannon(job, config, LabelUse::AtTheirWord, Purpose::Labels)?.0);
        // How many nuisance spectra there are, where that was left to stars held out; the plain Cannon has none to settle.
        let (settled, choice) = timings.measure("train", || settle_nuisances(job, self, &train))?;
        let anchor = timings.measure("train", || anchor(job, self))?.map(Arc::new);
        let (labels, label_choice) = timings.measure("train", || settle_labels(job, &settled, anchor.as_deref()))?;
        let mut trained = timings.measure("train", || CannonOfStars::train(job, &settled, anchor, labels))?;
        trained.report.nuisance_choice = choice;
        trained.report.label_choice = label_choice;
        trained.tell(job.name);
        label_test_stars(Box::new(trained), job, timings)
    }

    fn fewest_stars(&self, subject: &Subject) -> usize {
        // What physics knows, and terms that act in few pixels, take fewer.
        let is_free = self.anchor.is_none() && self.acts_everywhere();
        if is_free { self.vectorizer(subject.labels, 0).n_terms() + 1 } else { 2 }
    }

    fn predicts_flux(&self) -> bool {
        true
    }

    fn flux_order(&self) -> Option<usize> {
        // Latent labels are no labels.
        (self.latent.is_none() && self.anchor.is_none()).then_some(self.order)
    }
}

impl CannonConfig {
    /// Coefficients of a pixel, at most, and what would make them fewer.
    fn most_coefficients(&self, subject: &Subject) -> (usize, &'static str) {
        if let Some(anchor) = &self.anchor {
            let n_chips = subject.grid.map_or(0, |grid| grid.chips.len());
            let n = anchored::most_coefficients(anchor, subject.labels.len(), n_chips);
            return (n, ", anchor.components or names in anchor.hidden");
        }
        let Some(latent) = &self.latent else {
            return (self.vectorizer(subject.labels, 0).n_terms(), ", or lower the order");
        };
        let n_spectra = match latent.spectra {
            NuisanceCount::Fixed(count) => count,
            NuisanceCount::HeldOut => CANDIDATES.into_iter().max().unwrap_or_default(),
        };
        let n_terms = self.vectorizer(subject.labels, latent.labels).n_terms();
        (n_terms + n_spectra, ", latent.labels or latent.spectra")
    }

    /// Whether every label acts in some pixel of the grid, and the emulator it starts from knows grid and labels.
    fn check_grid(&self, subject: &Subject) -> Result<(), (String, String)> {
        let Some(grid) = subject.grid else { return Ok(()) };
        for label in self.censor.keys() {
            let acts = self.acts(label, &grid.wavelength);
            if !grid.chips.iter().cloned().flatten().any(|pixel| acts[pixel]) {
                let ends = grid.wavelength.first().zip(grid.wavelength.last()).map_or((0.0, 0.0), |(a, b)| (*a, *b));
                let problem = format!(
                    "names windows without a pixel: nothing would tell the label. The spectra go from {:.1} to {:.1}, in the \
                     unit of their wavelengths (Angstrom)",
                    ends.0, ends.1
                );
                return Err(subject.problem(&format!("censor.{label}"), problem));
            }
        }
        let Some(anchor) = &self.anchor else { return Ok(()) };
        let inputs = [subject.labels, &anchor.hidden].concat();
        let knows = expect_inputs(anchor.emulator.as_deref(), grid, &inputs);
        knows.map_err(|err| subject.problem("anchor.emulator", format!("does not do: {err}")))
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

/// Stars that are named where some of many are.
const MOST_NAMED: usize = 5;

/// A Cannon that was trained, and by what.
struct CannonOfStars {
    config: CannonConfig,
    trained: TrainedCannon,
    report: CannonReport,
    /// What it started from, where that is physics.
    anchor: Option<Arc<Anchor>>,
    /// How it uses the catalogue's labels.
    labels: LabelUse,
}

impl CannonOfStars {
    fn train(job: &Job, config: &CannonConfig, anchor: Option<Arc<Anchor>>, labels: LabelUse) -> Result<Self> {
        let (trained, report) = match (&config.anchor, &anchor) {
            (Some(settings), Some(anchor)) => train_anchored(job, settings, anchor, labels)?,
            _ => train_cannon(job, config, labels, Purpose::Labels)?,
        };
        Ok(Self { config: config.clone(), trained, report, anchor, labels })
    }

    /// Says how training went.
    fn tell(&self, name: &str) {
        let report = &self.report;
        let n_left_out = report.left_out.len();
        if n_left_out > 0 {
            let first = report.left_out.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = if n_left_out > MOST_NAMED { ", ... (all in metrics.json)" } else { "" };
            tracing::info!("{name}: training did without {n_left_out} stars that it does not describe: {first}{more}");
        }
        if report.n_beyond_description > n_left_out {
            tracing::warn!(
                "{name}: {} of {} training stars are beyond description by the correlated Cannon; the {} strangest were \
                 left out (latent.clip_most)",
                report.n_beyond_description,
                report.n_stars + n_left_out,
                n_left_out
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
        let mut config = self.config.clone();
        if let (Some(anchor), Some(chosen)) = (&mut config.anchor, &self.report.anchor) {
            anchor.limit = Some(chosen.limit);
        }
        Ok(Box::new(Self::train(job, &config, self.anchor.clone(), self.labels)?))
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

    fn departures(&self) -> Vec<Departure> {
        let taught = self.report.anchor.as_ref().is_some_and(|report| report.strengths.is_some());
        let anchor = self.anchor.as_deref().filter(|_| taught);
        anchor.map(|anchor| departures(anchor, &self.trained)).unwrap_or_default()
    }

    fn trains_quickly(&self) -> bool {
        matches!(self.config.training, CannonTraining::ClosedForm)
    }
}
