//! Who trains and who tests.

use super::config::ExperimentConfig;
use crate::data::catalogue::Catalogue;
use crate::spectra::split::Fold;

/// The folds of an experiment's stars, training sets no larger than asked for.
///
/// Only stars that have all their labels count towards a limited training set; it has its share of those that have some.
pub fn folds(config: &ExperimentConfig, stars: &Catalogue) -> Vec<Fold> {
    let mut folds = config.split.folds(&stars.id, config.seed);
    if config.max_training_stars > 0 {
        for fold in &mut folds {
            fold.training.retain(|row| stars.labels[*row].iter().any(|label| label.is_finite()));
            let is_complete = |row: usize| stars.labels[row].iter().all(|label| label.is_finite());
            fold.limit_training(config.max_training_stars, &stars.id, config.seed, is_complete);
        }
    }
    folds
}
