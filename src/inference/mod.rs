//! Labels from spectra: batched fits of a spectral model, or networks asked directly.

pub mod calibration;
pub mod combination;
pub mod combination_estimator;
pub mod compress;
pub mod draws;
pub mod fill;
pub mod fit;
pub mod fitted;
pub mod gradient_fit;
pub mod hmc;
pub mod hull;
pub mod label_prior;
pub mod marginal;
pub mod member_answers;
pub mod mixture;
pub mod network_estimator;
pub mod nuisance;
pub mod nuts;
pub mod posterior;
pub mod prior;
pub mod problem;
pub mod refine;
pub mod residuals;
pub mod ridge_estimator;
pub mod sampling;
pub mod solve;
