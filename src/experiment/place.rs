//! Where a run keeps what it makes.

use std::path::{Path, PathBuf};

use super::run_folder::STATES;

/// Where a run keeps what it makes on its way.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Name of the experiment; empty for a point of a sweep.
    pub name: &'a str,
    /// The run's own folder.
    pub folder: &'a Path,
    /// Prepared sets, shared between runs.
    pub cache: &'a Path,
    /// Whether trained models are kept, in the run's folder.
    pub keep_models: bool,
}

/// Where a model of one fold keeps what it makes.
#[derive(Debug, Clone)]
pub struct ModelPlace {
    /// The trained model.
    pub model: PathBuf,
    /// The state of training after each epoch, to go on from.
    pub state: PathBuf,
    /// Curves for TensorBoard.
    pub board: PathBuf,
}

impl ModelPlace {
    /// The places of a model in a run's folder; folds are counted from 1, a single one needs no number.
    pub fn new(run: &Path, name: &str, fold: usize, n_folds: usize) -> Self {
        let below = |kind: &str| {
            let folder = run.join(kind).join(name);
            if n_folds > 1 { folder.join(format!("fold{fold}")) } else { folder }
        };
        Self { model: below("models"), state: below(STATES), board: below("tensorboard") }
    }
}
