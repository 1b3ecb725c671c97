//! Where a model of one fold keeps what it makes.

use std::path::{Path, PathBuf};

/// The folder, below a run's, of what `--resume` goes on from: states of networks in training, points of a sweep that are finished.
pub const STATES: &str = "training";

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
