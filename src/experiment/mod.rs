//! One TOML file to one outcome: configuration, preparation, cross-validation, metrics, and the run's folder.

pub mod comparison;
pub mod config;
pub mod crossval;
pub mod emulate;
pub mod label_journal;
pub mod labelling;
pub mod layers;
pub mod look_alikes;
pub mod metrics;
mod networks;
pub mod outcome;
pub mod outliers;
pub mod predictions;
pub mod prepare;
pub mod pulls;
pub mod run;
pub mod run_folder;
pub mod star;
pub mod sweep;
pub mod timings;
pub mod truth;
mod validate;
