//! From `[data]` to prepared sets of spectra with labels.

pub mod array_files;
mod array_noise;
mod array_spectra;
mod array_survey;
pub mod held_arrays;
pub mod prepare;
pub mod prepare_checks;
pub mod settings;
pub mod source;
pub mod spectra;
pub mod spectrum_files;
pub mod star;
pub mod truth;
