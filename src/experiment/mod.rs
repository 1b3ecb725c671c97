//! One TOML file to one outcome: settings, cross-validation, sweeps, outliers and the lab, and the run's folder.

mod bad_fit;
pub mod calibration;
pub mod clean;
pub mod combination;
pub mod config;
pub mod crossval;
pub mod emulate;
mod feasibility;
mod fill;
mod gathered;
pub mod lab;
pub mod layers;
pub mod load;
mod looks;
pub mod model_outcome;
mod networks;
pub mod nuisance_trial;
pub mod outcome;
pub mod outliers;
pub mod place;
mod ridge;
pub mod run;
pub mod run_folder;
pub mod run_spectra;
pub mod sweep;
pub mod timings;
mod validate;
