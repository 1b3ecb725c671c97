//! maury
#![warn(missing_docs)]
pub mod error;
pub mod device;
pub mod stats;
pub mod plot;
pub mod data;
pub mod spectra;
pub mod models;
pub mod training;
pub mod inference;
