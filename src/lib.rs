#![doc = include_str!("../README.md")]

// In the order of the layers: each may use itself and those above.
pub mod error;
pub mod schema;
pub mod memory;
pub mod progress;
pub mod timings;
pub mod device;
pub mod stats;
pub mod plot;
pub mod data;
pub mod spectra;
pub mod models;
pub mod training;
pub mod inference;
pub mod mock;
pub mod stars;
pub mod kinds;
pub mod labelling;
pub mod findings;
pub mod experiment;
pub mod report;
pub mod cli;
