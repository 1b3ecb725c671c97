//! Labels from spectra: batched fits of a spectral model, or networks asked directly.

pub mod calibration;
pub mod combination;
pub mod combination_estimator;
pub mod compress;
pub mod fill;
pub mod fit;
pub mod fitted;
pub mod gradient_fit;
pub mod hull;
pub mod marginal;
pub mod member_answers;
pub mod network_estimator;
pub mod prior;
pub mod refine;
pub mod residuals;
pub mod ridge_estimator;
pub mod solve;
