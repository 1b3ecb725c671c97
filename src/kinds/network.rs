//! Networks that read labels off spectra, in ensembles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ndarray::{Array2, Array3, Axis, s};
use serde::Serialize;

use super::context::{CalibrationSettings, Context, HeldOutByNetworks};
use super::fill::{fill, filled_by_others};
use super::fold::label_test_stars;
use super::kind::{
    FoldResult, Job, Kind, KnownUnseen, Loaded, Model, ModelFolder, Strangers, Subject, Trained, Training,
    TrainingReport, Unseen,
};
use crate::error::{Error, Result};
use crate::inference::judged::Recognizing;
use crate::inference::member_answers::MemberAnswers;
use crate::inference::network_estimator::NetworkEstimator;
use crate::models::LabelEstimator;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::spectra::split::{evenly, hold_out};
use crate::spectra::stored::SpectraOf;
use crate::stats::robust_covariance::limited_covariance;
use crate::timings::Timings;
use crate::training::label_regression::{Member, MemberReport, Training as MemberTraining, enough_stars, train};
use crate::training::labelled_spectra::{LabelledSpectra, stars_of_block};
use crate::training::model_spectra::{ModelStars, expect_inputs};
use crate::training::network_checkpoint::{KIND, TrainedNetwork};
use crate::training::network_config::NetworkConfig;
use crate::training::observer::{Observer, Unwatched};
use crate::training::optimizer::OptimizerSettings;
use crate::training::pretrain::{Pretraining, pretrain};
use crate::training::pretrain_settings::PretrainSettings;
use crate::training::tensorboard::TensorBoard;

impl Model for NetworkConfig {
    fn check(&self, subject: &Subject) -> Result<(), (String, String)> {
        /// Pixels of spectra as long as any, where only the data will tell.
        const LONG: usize = 1_000_000;
        NetworkConfig::check(self).map_err(|(field, problem)| subject.problem(&field, problem))?;
        let architecture = |problem: String| subject.problem("architecture", problem);
        let n_labels = subject.labels.len();
        let n_pixels = subject.grid.map(WavelengthGrid::n_pixels);
        let size = self.size(n_pixels.unwrap_or(LONG), n_labels);
        size.map_err(|problem| architecture(format!("cannot be built: {problem}")))?;
        let bytes = n_pixels.and_then(|n_pixels| self.memory(n_pixels, n_labels, 1));
        bytes
            .map_or(Ok(()), |bytes| subject.memory.check(bytes))
            .map_err(|takes| architecture(format!("{takes}: make it smaller")))?;
        subject.check_slopes(self.correct_slopes)?;
        self.check_pretraining(subject)
    }

    fn check_size(&self, subject: &Subject, n_training: usize) -> Result<(), (String, String)> {
        let architecture = |problem: String| subject.problem("architecture", problem);
        let n_labels = subject.labels.len();
        let n_pixels = subject.grid.map_or(0, WavelengthGrid::n_pixels);
        self.size(n_pixels, n_labels).map_err(|problem| architecture(format!("cannot be built: {problem}")))?;
        let whole = subject.memory.check_whole(n_training, n_pixels);
        let sees_all = matches!(self.descent.optimizer, OptimizerSettings::Lbfgs { .. });
        if let (true, Err(takes)) = (sees_all, &whole) {
            return Err(
                subject.problem("descent.optimizer", format!("lbfgs {takes}; others learn from batches of stars"))
            );
        }
        let (at_once, kept) = match whole {
            Ok(()) => (n_training, 0.0),
            Err(_) => {
                let block = stars_of_block(n_pixels, subject.memory).max(self.descent.batch_rows);
                (n_training.min(block), self.kept_of_a_star(n_labels) * n_training as f64)
            }
        };
        let bytes = self.memory(n_pixels, n_labels, at_once);
        let fits = bytes.map_or(Ok(()), |bytes| subject.memory.check(bytes + kept));
        fits.map_err(|takes| {
            let remedy = "make it smaller, or lower its descent.batch_rows or input.components.count";
            architecture(format!("{takes}: {remedy}"))
        })?;
        self.check_pretraining(subject)
    }

    fn train_and_label(&self, job: &Job, timings: &mut Timings) -> Result<FoldResult> {
        label_test_stars(Box::new(NetworksOfStars::train(job, self, timings)?), job, timings)
    }

    fn trains_on_parts(&self, calibration: &CalibrationSettings) -> bool {
        calibration.networks == HeldOutByNetworks::Folds
    }
}

impl NetworkConfig {
    /// Whether the emulator that it is to learn from first knows the grid and the labels.
    fn check_pretraining(&self, subject: &Subject) -> Result<(), (String, String)> {
        let (Some(settings), Some(grid)) = (&self.pretrain, subject.grid) else { return Ok(()) };
        let knows = expect_inputs(settings.emulator.as_deref(), grid, subject.labels);
        knows.map_err(|err| subject.problem("pretrain.emulator", format!("does not do: {err}")))
    }
}

impl Kind for NetworkConfig {
    const NAME: &'static str = KIND;

    fn load(folder: &ModelFolder) -> Result<Loaded> {
        let model = TrainedNetwork::load(folder.path, folder.compute)?;
        let estimator = NetworkEstimator::new(&model, folder.fit, folder.compute);
        let estimator = Recognizing::load(folder.path, estimator, &model.preparation.grid, folder.compute)?;
        let corrects_slopes = model.config.correct_slopes;
        Ok(Loaded { corrects_slopes, ..Loaded::new(Box::new(estimator), model.preparation, model.scaler.names) })
    }
}

/// How each network of an ensemble was trained.
#[derive(Debug, Clone, Serialize)]
struct EnsembleReport {
    members: Vec<MemberReport>,
}

impl TrainingReport for EnsembleReport {
    fn members(&self) -> &[MemberReport] {
        &self.members
    }
}

/// An ensemble trained on a fold, and which stars each member had not seen.
struct NetworksOfStars {
    trained: TrainedNetwork,
    report: EnsembleReport,
    /// Rows that trained or validated.
    rows: Vec<usize>,
    /// Of each member, positions among them of the stars that validated it.
    validation: Vec<Vec<usize>>,
}

impl NetworksOfStars {
    /// Trains every member of an ensemble on the training stars that have a label and some data.
    fn train(job: &Job, config: &NetworkConfig, timings: &mut Timings) -> Result<Self> {
        let Context { set, settings, compute, progress } = job.context;
        let trainable = job.context.labelled(&job.fold.training);
        let labels = set.labels.select(Axis(0), &trainable);
        let scaler = LabelScaler::fit(&set.label_names, labels.view())?;
        let held = job.context.held(&trainable)?;
        let fill = timings.measure("fill", || fill(job, config.input.masked))?;
        let stars = (&trainable[..], held.is_some());
        let filled = fill.as_ref().map(|whole| filled_by_others(job, whole, stars, timings)).transpose()?;
        let spectra = SpectraOf::held_or_rows(held.as_ref(), &set.spectra, &trainable);
        let label_errors = set.label_errors.select(Axis(0), &trainable);
        let stars = LabelledSpectra { grid: &set.grid, spectra, fill: filled, labels, label_errors };
        let physics = physics(job, config, &stars)?;
        let ids: Vec<&str> = trainable.iter().map(|row| set.ids[*row].as_str()).collect();

        let mut members: Vec<Member> = Vec::with_capacity(config.members);
        let mut held_out = Vec::with_capacity(config.members);
        for index in 0..config.members {
            let seed = settings.seed.wrapping_add(1000 * index as u64);
            let validation = hold_out(&ids, config.validation, seed);
            enough_stars(config, ids.len() - validation.len())?;
            let member_of = |folder: &Path| folder.join(format!("member{}", index + 1));
            let state = job.place.map(|place| member_of(&place.state));
            let board = |folder: Option<PathBuf>| board(&job.context, folder.as_deref(), config);
            let pretrained = physics.as_ref().map(|(settings, models)| {
                let before = |folder: &Path| folder.join(format!("member{}-pretraining", index + 1));
                let mut board = board(job.place.map(|place| before(&place.board)))?;
                let pretraining = Pretraining {
                    config,
                    settings,
                    scaler: &scaler,
                    grid: &set.grid,
                    seed,
                    compute,
                    state: job.place.map(|place| before(&place.state)),
                    observer: &mut *board,
                    progress,
                };
                let started = Instant::now();
                let pretrained = timings.measure("train", || pretrain(models, pretraining))?;
                tracing::info!(
                    "{}: network {} of {}: pretrained on {} model spectra in {:.1} minutes, epoch {} is the best",
                    job.name,
                    index + 1,
                    config.members,
                    pretrained.1.n_spectra,
                    started.elapsed().as_secs_f64() / 60.0,
                    pretrained.1.epoch
                );
                Ok::<_, Error>(pretrained)
            });
            let (pretrained, pretraining) = pretrained.transpose()?.unzip();
            let mut board = board(job.place.map(|place| member_of(&place.board)))?;
            let mut member = timings.measure("train", || {
                let training = MemberTraining {
                    config,
                    scaler: &scaler,
                    pretrained,
                    validation: &validation,
                    seed,
                    compute,
                    state: state.as_deref(),
                    observer: &mut *board,
                    progress,
                };
                train(&stars, training)
            })?;
            member.report.pretraining = pretraining;
            let last = member.report.curve.last().map_or(f64::NAN, |epoch| epoch.training_loss);
            tracing::info!(
                "{}: network {} of {}: {} stars, {} epochs, the best is {}, last training loss {last:.4}",
                job.name,
                index + 1,
                config.members,
                member.report.n_training,
                member.report.curve.len(),
                member.report.epoch
            );
            members.push(member);
            held_out.push(validation);
        }
        let trained = TrainedNetwork {
            error_covariance: covariance(&members, scaler.n_labels()),
            members: members.iter().map(|member| member.network.clone()).collect(),
            config: config.clone(),
            scaler,
            preparation: job.context.preparation(),
            training_labels: complete(&stars.labels),
            fill,
        };
        let report = EnsembleReport { members: members.into_iter().map(|member| member.report).collect() };
        Ok(Self { trained, report, rows: trainable, validation: held_out })
    }
}

impl Trained for NetworksOfStars {
    fn n_train(&self) -> usize {
        self.rows.len()
    }

    fn n_parameters(&self) -> usize {
        self.trained.n_parameters()
    }

    fn report(&self) -> Training {
        Training::new(self.report.clone())
    }

    fn estimator(&self, context: &Context) -> Box<dyn LabelEstimator> {
        Box::new(NetworkEstimator::new(&self.trained, &context.settings.fit, context.compute))
    }

    fn again(&self, job: &Job) -> Result<Box<dyn Trained>> {
        Ok(Box::new(Self::train(job, &self.trained.config, &mut Timings::default())?))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        self.trained.save(folder)
    }

    fn tells_strangers(&self) -> Strangers<'_> {
        Strangers::BySpectra(&self.rows)
    }

    fn corrects_slopes(&self) -> bool {
        self.trained.config.correct_slopes
    }

    /// Of the stars that validated members: what the ensemble says of its errors, and what each member says of the labels of the
    /// stars it had not seen.
    fn unseen(&self, job: &Job, ensemble: &dyn LabelEstimator) -> Result<Unseen> {
        let context = &job.context;
        if context.settings.calibration.networks == HeldOutByNetworks::Folds {
            return Ok(Unseen::ByParts);
        }
        let Self { trained, rows, validation, .. } = self;
        let positions: BTreeSet<usize> = validation.iter().flatten().copied().collect();
        if positions.is_empty() {
            tracing::warn!(
                "{}: no calibrated errors: no star validates the network; set calibration.networks = \"folds\"",
                job.name
            );
            return Ok(Unseen::Nothing);
        }
        let chosen: Vec<usize> = positions.iter().map(|position| rows[*position]).collect();
        let mut estimates = context.label("estimating labels held out", &chosen, ensemble)?;
        let n_labels = context.set.label_names.len();
        let mut answers = Array3::from_elem((trained.members.len(), chosen.len(), n_labels), f64::NAN);
        for (index, (network, unseen)) in trained.members.iter().zip(validation).enumerate() {
            let alone = TrainedNetwork { members: vec![network.clone()], ..trained.clone() };
            let estimator = NetworkEstimator::new(&alone, &context.settings.fit, context.compute);
            let unseen_rows: Vec<usize> = unseen.iter().map(|position| rows[*position]).collect();
            let answer = context.label("estimating labels held out", &unseen_rows, &estimator)?.labels;
            for (row, star) in unseen_rows.iter().zip(answer.rows()) {
                let place = chosen.binary_search(row).expect("every unseen row was chosen");
                answers.slice_mut(s![index, place, ..]).assign(&star);
            }
        }
        let MemberAnswers { means, excess, .. } = MemberAnswers::new(&answers);
        estimates.labels = means;
        Ok(Unseen::Known(Box::new(KnownUnseen { rows: chosen, estimates, excess: Some(excess) })))
    }
}

/// Model stars to pretrain on, where the networks are to know physics.
fn physics<'a>(
    job: &Job,
    config: &'a NetworkConfig,
    stars: &LabelledSpectra,
) -> Result<Option<(&'a PretrainSettings, ModelStars)>> {
    let Some(settings) = &config.pretrain else { return Ok(None) };
    let Context { set, compute, .. } = job.context;
    let (emulator, preparation) = (settings.emulator.as_deref(), job.context.preparation());
    // The noise of all, or, where they are not held, of as many as a block has, evenly among them.
    let all: Vec<usize> = (0..stars.spectra.n_stars()).collect();
    let most = if stars.spectra.is_held() { all.len() } else { stars_of_block(set.n_pixels(), compute.memory()) };
    let (_, ivar) = stars.spectra.of(&evenly(&all, most))?;
    let models = ModelStars::new(emulator, &set.label_names, stars.labels.view(), ivar, &preparation, compute)?;
    Ok(Some((settings, models)))
}

/// What watches a member's training: TensorBoard, if it has a folder.
fn board(context: &Context, folder: Option<&Path>, config: &NetworkConfig) -> Result<Box<dyn Observer>> {
    let Some(folder) = folder else { return Ok(Box::new(Unwatched)) };
    let mut board = TensorBoard::open(folder, &context.settings.tensorboard)?;
    let settings = toml::to_string_pretty(config).map_err(|err| Error::Config(err.to_string()))?;
    board.text("settings", &format!("```toml\n{settings}```"));
    Ok(Box::new(board))
}

/// Rows without a missing label.
fn complete(labels: &Array2<f64>) -> Array2<f64> {
    let rows: Vec<usize> = (0..labels.nrows()).filter(|n| labels.row(*n).iter().all(|l| l.is_finite())).collect();
    labels.select(Axis(0), &rows)
}

/// Mean product of the validation stars' scaled residuals, all members together, [n_labels, n_labels]; NaN without any.
fn covariance(members: &[Member], n_labels: usize) -> Array2<f64> {
    let mut residuals = Array2::zeros((0, n_labels));
    for member in members {
        residuals.append(Axis(0), member.residuals.view()).expect("all members have the same labels");
    }
    if residuals.nrows() < 2 {
        // One star that validates says nothing of how others scatter.
        return Array2::from_elem((n_labels, n_labels), f64::NAN);
    }
    limited_covariance(residuals.view())
}
