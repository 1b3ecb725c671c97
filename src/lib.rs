#![doc = include_str!("../README.md")]

// In the order of the layers: each may use itself and those above.
pub mod cli;
pub mod data;
pub mod device;
pub mod error;
pub mod experiment;
pub mod inference;
pub mod models;
pub mod plot;
pub mod progress;
pub mod report;
pub mod spectra;
pub mod stats;
pub mod training;
