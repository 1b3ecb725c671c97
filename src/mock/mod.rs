//! A survey that can be had without a network: stars drawn as DR17 found them, observed by a simulated APOGEE, written in
//! DR17's own formats, or in SDSS-V's, with the truth beside them.
//!
//! Read [`survey`] first. What is measured on it is only as good as what is put in: the spectra are one-dimensional LTE
//! models, every star beyond the models' range wears the spectrum of the nearest one inside (see [`pathology`]), and
//! detector and sky behave like the published files, not like the instrument.

mod allstar_file;
mod apstar_file;
mod aspcap;
mod calendar;
mod coadd;
mod detector;
pub mod emulator;
mod giants;
mod instrument;
mod other_physics;
pub mod pathology;
mod plan;
mod random;
mod sdss_v;
mod sky;
pub mod survey;
mod truth_file;
mod visit;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::schema;

/// Goes up when the same settings come to make other files.
pub const FORMAT_VERSION: u32 = 2;

/// More stars than APOGEE ever observed are a slip of the finger.
const MOST_STARS: usize = 1_000_000;

/// What a mock survey is made from: the same settings give the same files to the last bit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct MockSettings {
    /// Stars that the classic lab's cuts leave; those they remove come on top.
    #[schemars(range(min = 1, max = MOST_STARS))]
    pub stars: usize,
    /// Any number; another number, another survey.
    pub seed: u64,
    /// In whose files the survey is written; stars and spectra are the same in all.
    #[serde(skip_serializing_if = "MockFormat::is_dr17")]
    pub format: MockFormat,
    /// Whose physics the stars obey.
    #[serde(skip_serializing_if = "MockPhysics::is_emulators")]
    pub physics: MockPhysics,
}

/// Whose physics the stars of a mock survey obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MockPhysics {
    /// That of the emulator that comes with maury: models that lean on it are right
    #[default]
    Emulator,
    /// Another: line strengths off by 30% over every 100 Angstrom, zero points of labels by 50 K, 0.1 and some 0.03 dex, wider lines
    Other,
}

impl MockPhysics {
    fn is_emulators(&self) -> bool {
        *self == Self::Emulator
    }
}

/// The releases in whose formats a mock survey can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum MockFormat {
    /// allStar and apStar files of DR17
    #[default]
    Dr17,
    /// astraAllStarASPCAP, mwmStar, mwmVisit and apStar files of SDSS-V, as in DR19
    SdssV,
}

impl MockFormat {
    fn is_dr17(&self) -> bool {
        *self == Self::Dr17
    }
}

impl Default for MockSettings {
    fn default() -> Self {
        // As many stars as the lab has.
        Self { stars: 1886, seed: 1, format: MockFormat::Dr17, physics: MockPhysics::Emulator }
    }
}

impl MockSettings {
    /// What a folder of such a survey is called.
    pub fn folder_name(&self) -> String {
        let format = match self.format {
            MockFormat::Dr17 => "",
            MockFormat::SdssV => "-sdss-v",
        };
        let physics = match self.physics {
            MockPhysics::Emulator => "",
            MockPhysics::Other => "-other-physics",
        };
        format!("mock-{}-stars-seed-{}{format}{physics}-v{FORMAT_VERSION}", self.stars, self.seed)
    }

    /// Whether such a survey can be made.
    ///
    /// # Errors
    /// [`Error::Config`].
    pub fn validate(&self) -> Result<()> {
        schema::check(self).map_err(|(key, problem)| Error::Config(format!("a mock survey: {key} {problem}")))
    }
}
