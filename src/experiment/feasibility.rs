//! Whether an experiment can come to its end with the stars it has, asked before anything is trained.

use std::collections::BTreeSet;

use super::config::ExperimentConfig;
use super::validate::with_subject;
use crate::data::catalogue::Catalogue;
use crate::error::{Error, Result};
use crate::inference::calibration::ErrorCalibration;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::split::{Fold, Split};

/// Stars of which a model can be trained at all.
const FEWEST: usize = 2;

/// Whether every fold has stars to train and to test, and what [`check_training`] asks.
///
/// # Errors
/// [`Error::TooFewStars`]; [`Error::Config`].
pub(super) fn check(config: &ExperimentConfig, stars: &Catalogue, folds: &[Fold], grid: &WavelengthGrid) -> Result<()> {
    check_split(config, stars, folds)?;
    check_training(config, stars, folds, grid)
}

/// Whether every fold has stars to test.
///
/// # Errors
/// [`Error::TooFewStars`].
pub fn check_split(config: &ExperimentConfig, stars: &Catalogue, folds: &[Fold]) -> Result<()> {
    let empty = folds.iter().filter(|fold| fold.test.is_empty()).count();
    if empty > 0 {
        let n_stars = stars.id.iter().collect::<BTreeSet<_>>().len();
        let remedy = match config.split {
            Split::Folds { k } => format!(
                "{empty} of {k} folds would have no star to test: set split.folds.k to at most {n_stars}, or widen the selection"
            ),
            _ => "no star is left to test: widen the selection".into(),
        };
        let needed = folds.len().max(FEWEST);
        return Err(Error::TooFewStars { stage: "split".into(), n_stars, needed, remedy });
    }
    Ok(())
}

/// Whether every fold has stars to train, every part of them that calibrates errors has some, and the models of them fit into memory.
///
/// # Errors
/// As [`check`].
pub(super) fn check_training(
    config: &ExperimentConfig,
    stars: &Catalogue,
    folds: &[Fold],
    grid: &WavelengthGrid,
) -> Result<()> {
    let too_few = |stage: String, n_stars: usize, needed: usize, remedy: String| {
        Err(Error::TooFewStars { stage, n_stars, needed, remedy })
    };
    let distinct = |rows: &[usize]| rows.iter().map(|row| stars.id[*row].as_str()).collect::<BTreeSet<&str>>().len();
    let has_labels = |row: &&usize| stars.labels[**row].iter().all(|label| label.is_finite());
    for (index, fold) in folds.iter().enumerate() {
        let complete: Vec<usize> = fold.training.iter().filter(has_labels).copied().collect();
        let stage = |what: &str| match folds.len() {
            1 => what.to_string(),
            n => format!("{what}, fold {} of {n}", index + 1),
        };
        if complete.len() < FEWEST {
            let remedy =
                "stars that have all their labels must train: widen the selection, or learn fewer labels".into();
            return too_few(stage("training"), complete.len(), FEWEST, remedy);
        }
        let (parts, n_stars) = (config.calibration.folds, distinct(&complete));
        if parts > n_stars && config.models.values().any(|model| model.trains_on_parts(&config.calibration)) {
            let remedy = format!(
                "each of the calibration's parts needs a star that trains: set calibration.folds to at most {n_stars}, or to 0 \
                 for no calibrated errors"
            );
            return too_few(stage("calibration"), n_stars, parts, remedy);
        }
        for (name, model) in &config.models {
            let key = format!("models.{name}.{}", model.kind());
            with_subject(&key, config, Some(grid), |subject| model.check_size(subject, fold.training.len()))
                .map_err(|(key, problem)| Error::Config(format!("{key} {problem}")))?;
        }
    }
    Ok(())
}

/// Whether models that are combined have stars enough to be calibrated: each part of them by a model of the others.
///
/// # Errors
/// [`Error::TooFewStars`].
pub(super) fn check_combinations(config: &ExperimentConfig, stars: &Catalogue, folds: &[Fold]) -> Result<()> {
    let parts = config.calibration.folds;
    let others = |n: usize| n - n.div_ceil(parts);
    let has_labels = |row: &&usize| stars.labels[**row].iter().all(|label| label.is_finite());
    let n_stars = folds.iter().map(|fold| fold.training.iter().filter(has_labels).count()).min().unwrap_or(0);
    let is_quoted = stars.label_errors.iter().flatten().any(|error| error.is_finite());
    let fewest_held_out = ErrorCalibration::fewest_stars(is_quoted);
    if n_stars < fewest_held_out
        && let Some((name, _)) = config.models.iter().find(|(_, model)| !model.made_of().is_empty())
    {
        let remedy =
            format!("{name} combines models whose errors are calibrated; give more training stars, or leave it out");
        return Err(Error::TooFewStars { stage: "calibration".into(), n_stars, needed: fewest_held_out, remedy });
    }
    for (name, combination) in &config.models {
        for member in combination.made_of() {
            let Some(model) = config.models.get(member).filter(|model| model.trains_on_parts(&config.calibration))
            else {
                continue;
            };
            let key = format!("models.{member}.{}", model.kind());
            let fewest = with_subject(&key, config, None, |subject| model.fewest_stars(subject));
            if others(n_stars) < fewest {
                let needed = (n_stars..).find(|n| others(*n) >= fewest).unwrap_or(n_stars + 1);
                let remedy = format!(
                    "{name} combines {member}, which {fewest} stars or more must teach in each of the calibration's {parts} parts; give \
                     more training stars, raise calibration.folds, or leave {member} out of the combination"
                );
                return Err(Error::TooFewStars { stage: "calibration".into(), n_stars, needed, remedy });
            }
        }
    }
    Ok(())
}

/// An error of too few stars, with the limit that the experiment sets itself as its first remedy.
pub(super) fn under_limit(config: &ExperimentConfig, err: Error) -> Error {
    match (err, config.max_training_stars) {
        (Error::TooFewStars { stage, n_stars, needed, remedy }, most) if (1..needed).contains(&most) => {
            let remedy = format!("raise max_training_stars, which is {most}; or {remedy}");
            Error::TooFewStars { stage, n_stars, needed, remedy }
        }
        (err, _) => err,
    }
}
