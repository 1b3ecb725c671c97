//! From `[data]` to prepared sets of spectra with labels.

mod array_noise;
mod array_spectra;
pub mod prepare;
mod prepare_checks;
pub mod settings;
pub mod star;
pub mod truth;
