//! What the lab looks at.

use super::settings::LabSettings;
use crate::error::Error;
use crate::kinds::context::Context;
use crate::kinds::kind::FoldResult;
use crate::spectra::split::Fold;
use crate::stars::settings::StarSettings;
use crate::stars::source::Source;
use crate::training::checkpoint::TrainedCannon;

/// What the lab looks at.
pub struct Subject<'a> {
    /// The stars and their files.
    pub source: &'a Source,
    /// Which stars were taken, and how their spectra were prepared.
    pub stars: &'a StarSettings,
    /// The prepared set, and what works on it.
    pub context: &'a Context<'a>,
    /// The fold that is shown.
    pub fold: &'a Fold,
    /// What the lab's model made of it.
    pub result: &'a FoldResult,
    /// The Cannon it is.
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
        remedy: "no star has all its labels; check masks and selection, or leave the lab out (--set lab=false)".into(),
    }
}
