//! One fold of a network: its training stars, its ensemble, its labels.

use std::collections::BTreeSet;
use std::path::Path;

use ndarray::{Array2, Array3, Axis, s};

use super::config::HeldOutByNetworks;
use super::crossval::{CrossValidation, FoldResult, Training as TrainingSummary};
use super::place::ModelPlace;
use super::timings::Timings;
use crate::error::{Error, Result};
use crate::inference::calibration::HeldOut;
use crate::inference::member_answers::MemberAnswers;
use crate::inference::network_estimator::NetworkEstimator;
use crate::spectra::labels::LabelScaler;
use crate::spectra::quality::star_flags;
use crate::spectra::split::{Fold, hold_out};
use crate::stars::prepare::spectra_of_rows;
use crate::stats::robust_covariance::limited_covariance;
use crate::training::label_regression::{LabelledSpectra, Member, MemberReport, NetworkConfig, Training, train};
use crate::training::network_checkpoint::TrainedNetwork;
use crate::training::observer::{Observer, Unwatched};
use crate::training::tensorboard::TensorBoard;

/// An ensemble trained on a fold, and which stars each member had not seen.
struct TrainedMembers {
    trained: TrainedNetwork,
    reports: Vec<MemberReport>,
    /// Rows that trained or validated.
    rows: Vec<usize>,
    /// Of each member, positions among them of the stars that validated it.
    validation: Vec<Vec<usize>>,
}

impl CrossValidation<'_> {
    /// Trains an ensemble on the training stars that have a label and some data, and labels the test stars.
    ///
    /// # Errors
    /// Those of [`CrossValidation::run_fold`].
    pub(super) fn run_network(
        &self,
        fold: &Fold,
        config: &NetworkConfig,
        place: Option<&ModelPlace>,
        timings: &mut Timings,
    ) -> Result<FoldResult> {
        let members = self.train_members(fold, config, place, timings)?;
        let trained = &members.trained;
        if let Some(place) = place {
            timings.measure("save", || trained.save(&place.model))?;
        }
        let n_parameters = trained.n_parameters();
        let estimator = NetworkEstimator::new(trained, &self.config.fit, self.compute);
        let mut estimates = timings.measure("estimate", || self.label("estimating labels", &fold.test, &estimator))?;
        timings.measure("calibrate", || self.flag_unusual(fold, &members.rows, &mut estimates, place))?;
        let held_out =
            timings.measure("calibrate", || self.held_out_by_networks(fold, config, &members, &estimator))?;
        let n_train = members.rows.len();
        let training = TrainingSummary::Network { members: members.reports };
        Ok(FoldResult {
            n_train,
            estimates,
            training,
            n_parameters,
            held_out,
            calibrated: None,
            cannon: None,
            posteriors: None,
        })
    }

    /// Trains every member of an ensemble.
    fn train_members(
        &self,
        fold: &Fold,
        config: &NetworkConfig,
        place: Option<&ModelPlace>,
        timings: &mut Timings,
    ) -> Result<TrainedMembers> {
        let set = self.set;
        let has_label = |row: &usize| set.labels.row(*row).iter().any(|label| label.is_finite());
        let has_data = |row: &usize| set.flags(*row) & star_flags::NO_DATA == 0;
        let trainable: Vec<usize> =
            fold.training.iter().copied().filter(|row| has_label(row) && has_data(row)).collect();
        let labels = set.labels.select(Axis(0), &trainable);
        let scaler = LabelScaler::fit(&set.label_names, labels.view())?;
        let (flux, ivar) = spectra_of_rows(set, &trainable);
        let fill = timings.measure("fill", || self.fill(fold, config.input.masked))?;
        let filled = fill.as_ref().map(|whole| self.filled_by_others(whole, &trainable, timings)).transpose()?;
        let label_errors = set.label_errors.select(Axis(0), &trainable);
        let stars = LabelledSpectra { grid: &set.grid, flux, ivar, fill: filled, labels, label_errors };
        let ids: Vec<&str> = trainable.iter().map(|row| set.ids[*row].as_str()).collect();

        let mut members: Vec<Member> = Vec::with_capacity(config.members);
        let mut held_out = Vec::with_capacity(config.members);
        for index in 0..config.members {
            let seed = self.config.seed.wrapping_add(1000 * index as u64);
            let validation = hold_out(&ids, config.validation, seed);
            let member_of = |folder: &Path| folder.join(format!("member{}", index + 1));
            let state = place.map(|place| member_of(&place.state));
            let mut board = self.board(place.map(|place| member_of(&place.board)).as_deref(), config)?;
            let member = timings.measure("train", || {
                let training = Training {
                    config,
                    scaler: &scaler,
                    validation: &validation,
                    seed,
                    compute: self.compute,
                    state: state.as_deref(),
                    observer: &mut *board,
                    progress: self.progress,
                };
                train(&stars, training)
            })?;
            let last = member.report.curve.last().map_or(f64::NAN, |epoch| epoch.training_loss);
            tracing::info!(
                "network {} of {}: {} stars, {} epochs, the best is {}, last training loss {last:.4}",
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
            preparation: self.preparation(),
            training_labels: complete(&stars.labels),
            fill,
        };
        let reports = members.into_iter().map(|member| member.report).collect();
        Ok(TrainedMembers { trained, reports, rows: trainable, validation: held_out })
    }

    /// Estimates of training stars by networks that had not seen them.
    fn held_out_by_networks(
        &self,
        fold: &Fold,
        config: &NetworkConfig,
        members: &TrainedMembers,
        ensemble: &NetworkEstimator,
    ) -> Result<Option<HeldOut>> {
        if self.config.calibration.folds == 0 {
            return Ok(None);
        }
        if self.config.calibration.networks == HeldOutByNetworks::Folds {
            return self.held_out_by_folds(fold, ensemble, |inner| {
                let trained = self.train_members(inner, config, None, &mut Timings::default())?.trained;
                let estimator = NetworkEstimator::new(&trained, &self.config.fit, self.compute);
                self.label("estimating labels held out", &inner.test, &estimator)
            });
        }
        let TrainedMembers { trained, rows, validation, .. } = members;
        let positions: BTreeSet<usize> = validation.iter().flatten().copied().collect();
        if positions.is_empty() {
            tracing::warn!("no calibrated errors: no star validates the network; set calibration.networks = \"folds\"");
            return Ok(None);
        }
        let chosen: Vec<usize> = positions.iter().map(|position| rows[*position]).collect();
        // What the ensemble says of its errors, and what each member says of the labels of the stars it had not seen.
        let mut estimates = self.label("estimating labels held out", &chosen, ensemble)?;
        let n_labels = self.set.label_names.len();
        let mut answers = Array3::from_elem((trained.members.len(), chosen.len(), n_labels), f64::NAN);
        for (index, (network, unseen)) in trained.members.iter().zip(validation).enumerate() {
            let alone = TrainedNetwork { members: vec![network.clone()], ..trained.clone() };
            let estimator = NetworkEstimator::new(&alone, &self.config.fit, self.compute);
            let unseen_rows: Vec<usize> = unseen.iter().map(|position| rows[*position]).collect();
            let answer = self.label("estimating labels held out", &unseen_rows, &estimator)?.labels;
            for (row, star) in unseen_rows.iter().zip(answer.rows()) {
                let place = chosen.binary_search(row).expect("every unseen row was chosen");
                answers.slice_mut(s![index, place, ..]).assign(&star);
            }
        }
        let held_out = MemberAnswers::new(&answers);
        estimates.labels = held_out.means;
        self.held_out(chosen, estimates, Some(held_out.excess), ensemble).map(Some)
    }

    /// What watches a member's training: TensorBoard, if it has a folder.
    fn board(&self, folder: Option<&Path>, config: &NetworkConfig) -> Result<Box<dyn Observer>> {
        let Some(folder) = folder else { return Ok(Box::new(Unwatched)) };
        let mut board = TensorBoard::open(folder, &self.config.tensorboard)?;
        let settings = toml::to_string_pretty(config).map_err(|err| Error::Config(err.to_string()))?;
        board.text("settings", &format!("```toml\n{settings}```"));
        Ok(Box::new(board))
    }
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
    limited_covariance(residuals.view())
}
