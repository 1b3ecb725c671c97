//! A descent between two epochs, in memory and in a folder, so that a killed one can go on.

use std::collections::BTreeMap;
use std::path::PathBuf;

use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};

use super::average::Average;

use super::descent_settings::DescentSettings;
use super::optimizer::Optimizer;
use crate::data::{files, leftovers};
use crate::error::{Error, Result};

/// One epoch in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// Mean loss of the training rows, as it was when each batch was used.
    pub training_loss: f64,
    /// Loss of the rows that do not train.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub validation_loss: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Norm of the gradient of the last step.
    pub gradient_norm: f64,
    /// 1.4826 x median absolute deviation of estimate - catalogue of the rows that do not train, by label, in its unit.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub robust_scatter: BTreeMap<String, f64>,
}

/// All epochs of a descent.
pub type LossCurve = Vec<EpochRecord>;

/// Everything a descent needs to go on, but for the optimizer.
pub(super) struct DescentState<M> {
    /// The module that takes steps.
    pub module: M,
    /// The module to be returned, as things stand.
    pub best: Option<Best<M>>,
    /// Mean of the last epochs' weights.
    pub average: Option<Average<M>>,
    /// The epochs so far.
    pub curve: LossCurve,
}

/// The module of the lowest validation loss.
pub(super) struct Best<M> {
    pub module: M,
    /// Its epoch, counted from 1.
    pub epoch: usize,
    pub loss: f64,
}

impl<M: Module> DescentState<M> {
    /// Keeps the module if its loss is the lowest so far, or if there is nothing to judge it by; whether it did.
    pub fn keep_if_best(&mut self, module: M, epoch: usize, validation_loss: Option<f64>) -> bool {
        let loss = validation_loss.unwrap_or(f64::INFINITY);
        let better = self.best.as_ref().is_none_or(|best| validation_loss.is_none() || loss < best.loss);
        if better {
            self.best = Some(Best { module, epoch, loss });
        }
        better
    }

    /// Whether the validation loss has not improved for longer than is to be waited.
    pub fn is_exhausted(&self, patience: usize) -> bool {
        patience > 0 && self.best.as_ref().is_some_and(|best| self.curve.len() - best.epoch >= patience)
    }
}

/// Where the state after every epoch is kept, and found again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePlace {
    /// Its folder.
    pub folder: PathBuf,
    /// What identifies the data that train and validate: a state of other data is not gone on from.
    pub data: String,
}

/// Where the state of one descent is kept: a folder for each epoch, complete or absent, of which the last remains.
pub(super) struct SavedDescent {
    folder: PathBuf,
    identity: String,
    data: String,
}

const STATE_FILE: &str = "state.json";
const MODULE_FILE: &str = "module.bpk";
const BEST_FILE: &str = "best.bpk";
const AVERAGE_FILE: &str = "average.bpk";
const OPTIMIZER_FILE: &str = "optimizer.bpk";

/// What `state.json` holds.
#[derive(Serialize, Deserialize)]
struct StateFile {
    identity: String,
    #[serde(default)]
    data: String,
    curve: LossCurve,
    best_epoch: usize,
    best_loss: Option<f64>,
    n_averaged: usize,
}

impl SavedDescent {
    /// The place of a descent that is known by its data, settings, seed and weights.
    pub fn new<M: Module>(place: StatePlace, settings: &DescentSettings, seed: u64, module: &M) -> Self {
        let n_weights = module.num_params();
        let settings = serde_json::to_string(settings).expect("settings are plain data");
        let identity = format!("{settings}, seed {seed}, {n_weights} weights");
        Self { folder: place.folder, identity, data: place.data }
    }

    /// Keeps the state after an epoch and removes the one before.
    pub fn save<M: Module>(&self, state: &DescentState<M>, optimizer: &Optimizer, improved: bool) -> Result<()> {
        let epoch = state.curve.len();
        files::create_folder(&self.folder)?;
        let previous = self.folder.join(format!("epoch-{:06}", epoch - 1));
        files::fill_folder(&self.folder.join(format!("epoch-{epoch:06}")), |place| {
            let failed = |err: RecordError| self.failed(format!("cannot write the state: {err}"));
            state.module.clone().save_file(place.join(MODULE_FILE)).map_err(failed)?;
            optimizer.record().save(place.join(OPTIMIZER_FILE)).map_err(failed)?;
            let best = state.best.as_ref().expect("an epoch has passed");
            // A best module of an earlier epoch is in the folder before, and need not be written again.
            if improved || std::fs::hard_link(previous.join(BEST_FILE), place.join(BEST_FILE)).is_err() {
                best.module.clone().save_file(place.join(BEST_FILE)).map_err(failed)?;
            }
            if let Some(average) = &state.average {
                average.module.clone().save_file(place.join(AVERAGE_FILE)).map_err(failed)?;
            }
            let file = StateFile {
                identity: self.identity.clone(),
                data: self.data.clone(),
                curve: state.curve.clone(),
                best_epoch: best.epoch,
                best_loss: best.loss.is_finite().then_some(best.loss),
                n_averaged: state.average.as_ref().map_or(0, |average| average.n_modules),
            };
            let text = serde_json::to_string(&file).map_err(|err| self.failed(err.to_string()))?;
            files::write_bytes(&place.join(STATE_FILE), text)
        })?;
        let _ = std::fs::remove_dir_all(previous);
        Ok(())
    }

    /// The state that was kept last, if there is one. Where it is of other data, all of it goes.
    pub fn load<M: Module>(&self, module: &M) -> Result<Option<(DescentState<M>, OptimizerRecord)>> {
        let Some(place) = self.last() else { return Ok(None) };
        let unreadable = |detail: String| {
            self.failed(format!("the kept state is not readable ({detail}); remove the folder to train from the start"))
        };
        let text = files::read_text(&place.join(STATE_FILE))?;
        let file: StateFile = serde_json::from_str(&text).map_err(|err| unreadable(err.to_string()))?;
        if file.data != self.data {
            tracing::warn!(
                "{}: trained from the start: the stars or their spectra have changed since training was broken off",
                self.folder.display()
            );
            // A later epoch of other data would be taken for the last one.
            leftovers::remove(&self.folder)?;
            return Ok(None);
        }
        if file.identity != self.identity {
            return Err(self.failed(format!(
                "the kept state is of another training ({}; this one is {}); remove the folder or restore the settings",
                file.identity, self.identity
            )));
        }
        // As bytes: what is read from a path stays on disk until it is used, and the folder will soon be gone.
        let bytes = |name: &str| {
            let read = std::fs::read(place.join(name)).map(Bytes::from_bytes_vec);
            read.map_err(|err| unreadable(format!("{name}: {err}")))
        };
        let read = |like: M, name: &str| {
            let module = ModuleRecord::from_bytes(bytes(name)?).and_then(|record| like.try_load_record(record));
            module.map_err(|err| unreadable(format!("{name}: {err}")))
        };
        let average = match file.n_averaged {
            0 => None,
            n_modules => Some(Average { module: read(module.valid(), AVERAGE_FILE)?, n_modules }),
        };
        let best = Best {
            module: read(module.valid(), BEST_FILE)?,
            epoch: file.best_epoch,
            loss: file.best_loss.unwrap_or(f64::INFINITY),
        };
        let state =
            DescentState { module: read(module.clone(), MODULE_FILE)?, best: Some(best), average, curve: file.curve };
        let record = OptimizerRecord::from_bytes(bytes(OPTIMIZER_FILE)?)
            .map_err(|err| unreadable(format!("{OPTIMIZER_FILE}: {err}")))?;
        Ok(Some((state, record)))
    }

    /// The folder of the last complete epoch.
    fn last(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(&self.folder).ok()?.flatten();
        let epochs = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("epoch-"));
        epochs.map(|entry| entry.path()).filter(|path| path.join(STATE_FILE).is_file()).max()
    }

    fn failed(&self, detail: String) -> Error {
        Error::Checkpoint { path: self.folder.clone(), detail }
    }
}
