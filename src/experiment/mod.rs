//! One TOML file to one outcome: settings, folds, runs and sweeps, and the folder of a run.

mod advice;
pub mod clean;
pub mod config;
pub mod emulate;
pub mod explored;
mod explored_file;
pub mod feasibility;
pub mod folds;
mod gathered;
pub mod keys;
pub mod layers;
pub mod load;
mod looks;
pub mod model_outcome;
pub mod outcome;
pub mod place;
pub mod presets;
pub mod run;
pub mod run_folder;
pub mod run_spectra;
pub mod sweep;
pub mod teach;
mod validate;
pub mod written;
