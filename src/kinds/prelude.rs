//! What a kind of one's own needs, in one line: `use maury::kinds::prelude::*`.

pub use super::context::Context;
pub use super::fold::label_test_stars;
pub use super::kind::{
    FoldResult, Job, Kind, KnownUnseen, Loaded, Model, ModelFolder, Strangers, Subject, Trained, Training,
    TrainingReport, Unseen,
};
pub use super::registry;
pub use crate::device::{Compute, to_array, to_f64};
pub use crate::error::{Error, Result};
pub use crate::inference::judged::{Judged, Recognizing};
pub use crate::models::{Estimated, LabelEstimates, LabelEstimator, Wanted};
pub use crate::spectra::batch::SpectraBatch;
pub use crate::timings::Timings;
pub use crate::training::checkpoint::Preparation;
pub use crate::training::{model_file, weights};
