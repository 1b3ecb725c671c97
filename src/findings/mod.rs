//! What test stars and repeat visits tell of models: metrics, pulls, saturation, the comparison. Each takes what it needs, and none knows an experiment.

pub mod comparison;
pub mod departures;
pub mod elements;
pub mod error_check;
pub mod gathering;
pub mod groups;
pub mod lab;
pub mod look_alikes;
pub mod metrics;
pub mod outliers;
pub mod predictions;
pub mod pulls;
pub mod repeats;
pub mod saturation;
