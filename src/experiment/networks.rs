//! One fold of a network: its training stars, its ensemble, its labels.

use std::path::Path;

use ndarray::{Array2, Axis};

use super::crossval::{CrossValidation, FoldResult, ModelPlace, Training as TrainingSummary};
use super::prepare::spectra_of_rows;
use super::timings::Timings;
use crate::device::to_f64;
use crate::error::{Error, Result};
use crate::inference::fill::CannonFill;
use crate::inference::network_estimator::NetworkEstimator;
use crate::models::network::input::Masked;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::labels::LabelScaler;
use crate::spectra::quality::star_flags;
use crate::spectra::split::{Fold, hold_out};
use crate::training::cannon_config::CannonConfig;
use crate::training::checkpoint::TrainedCannon;
use crate::training::label_regression::{LabelledSpectra, Member, NetworkConfig, Training, train};
use crate::training::network_checkpoint::TrainedNetwork;
use crate::training::observer::{Observer, Unwatched};
use crate::training::tensorboard::TensorBoard;

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
        let set = self.set;
        let has_label = |row: &usize| set.labels.row(*row).iter().any(|label| label.is_finite());
        let has_data = |row: &usize| set.flags(*row) & star_flags::NO_DATA == 0;
        let trainable: Vec<usize> =
            fold.training.iter().copied().filter(|row| has_label(row) && has_data(row)).collect();
        let labels = set.labels.select(Axis(0), &trainable);
        let scaler = LabelScaler::fit(&set.label_names, labels.view())?;
        let (flux, ivar) = spectra_of_rows(set, &trainable);
        let fill = timings.measure("fill", || self.fill(fold, config))?;
        let filled = fill.as_ref().map(|cannon| self.filled(cannon, &flux, &ivar)).transpose()?;
        let label_errors = set.label_errors.select(Axis(0), &trainable);
        let stars = LabelledSpectra { grid: &set.grid, flux, ivar, fill: filled, labels, label_errors };
        let ids: Vec<&str> = trainable.iter().map(|row| set.ids[*row].as_str()).collect();

        let mut members: Vec<Member> = Vec::with_capacity(config.members);
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
        if let Some(place) = place {
            timings.measure("save", || trained.save(&place.model))?;
        }
        let n_parameters = trained.n_parameters();
        let estimator = NetworkEstimator::new(&trained, &self.config.fit, self.compute);
        let estimates = timings.measure("estimate", || self.label("estimating labels", &fold.test, &estimator))?;
        let members = members.into_iter().map(|member| member.report).collect();
        let training = TrainingSummary::Network { members };
        Ok(FoldResult { n_train: trainable.len(), estimates, training, n_parameters, cannon: None })
    }

    /// What watches a member's training: TensorBoard, if it has a folder.
    fn board(&self, folder: Option<&Path>, config: &NetworkConfig) -> Result<Box<dyn Observer>> {
        let Some(folder) = folder else { return Ok(Box::new(Unwatched)) };
        let mut board = TensorBoard::open(folder, &self.config.tensorboard)?;
        let settings = toml::to_string_pretty(config).map_err(|err| Error::Config(err.to_string()))?;
        board.text("settings", &format!("```toml\n{settings}```"));
        Ok(Box::new(board))
    }

    /// The Cannon that fills masked pixels, if one is to.
    fn fill(&self, fold: &Fold, config: &NetworkConfig) -> Result<Option<TrainedCannon>> {
        match config.input.masked {
            Masked::Mean => Ok(None),
            Masked::Cannon => Ok(Some(self.train_cannon(fold, &CannonConfig::default())?.0)),
        }
    }

    /// What the Cannon says of each star, [n_stars, n_pixels].
    fn filled(&self, cannon: &TrainedCannon, flux: &Array2<f32>, ivar: &Array2<f32>) -> Result<Array2<f32>> {
        let fill = CannonFill::new(cannon, &self.config.fit, self.compute);
        let spectra = fill.spectra(&SpectraBatch::new(flux.view(), ivar.view(), self.compute))?;
        let values = to_f64(spectra).into_iter().map(|value| value as f32).collect();
        Ok(Array2::from_shape_vec(flux.raw_dim(), values).expect("one value per star and pixel"))
    }
}

/// Rows without a missing label.
fn complete(labels: &Array2<f64>) -> Array2<f64> {
    let rows: Vec<usize> = (0..labels.nrows()).filter(|n| labels.row(*n).iter().all(|l| l.is_finite())).collect();
    labels.select(Axis(0), &rows)
}

/// Mean product of the validation stars' scaled residuals, all members together, [n_labels, n_labels]; NaN without any.
///
/// Residuals beyond three robust deviations count as three: a few wrong catalogue labels are not the network's errors.
fn covariance(members: &[Member], n_labels: usize) -> Array2<f64> {
    const MOST_DEVIATIONS: f64 = 3.0;
    let rows: Vec<Vec<f64>> = members
        .iter()
        .flat_map(|member| member.residuals.rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>())
        .filter(|row| row.iter().all(|residual| residual.is_finite()))
        .collect();
    let limits: Vec<f64> = (0..n_labels)
        .map(|k| {
            let column: Vec<f64> = rows.iter().map(|row| row[k]).collect();
            MOST_DEVIATIONS * crate::stats::robust::robust_scatter(&column)
        })
        .collect();
    let limited = |row: &Vec<f64>, k: usize| row[k].clamp(-limits[k], limits[k]);
    Array2::from_shape_fn((n_labels, n_labels), |(k, l)| {
        rows.iter().map(|row| limited(row, k) * limited(row, l)).sum::<f64>() / rows.len() as f64
    })
}
