//! What the lab looks at.

use super::settings::LabSettings;
use crate::error::Error;
use crate::experiment::crossval::{CrossValidation, FoldResult};
use crate::spectra::split::Fold;
use crate::stars::prepare::Source;
use crate::training::checkpoint::TrainedCannon;

/// What the lab looks at.
pub struct Subject<'a> {
    /// The stars and their files.
    pub source: &'a Source,
    /// The prepared set with the experiment's settings.
    pub crossval: &'a CrossValidation<'a>,
    /// The fold that is shown.
    pub fold: &'a Fold,
    /// What the lab's Cannon made of it.
    pub result: &'a FoldResult,
    /// That Cannon.
    pub cannon: &'a TrainedCannon,
    /// Settings.
    pub settings: &'a LabSettings,
}

/// The error of a lab that finds no star to show.
pub(super) fn no_star(what: &str) -> Error {
    Error::TooFewStars {
        stage: format!("lab: {what}"),
        n_stars: 0,
        needed: 1,
        remedy: "no star has all its labels; check masks and selection, or leave [lab] out".into(),
    }
}
