//! Labels from spectra: batched fits of a spectral model.

pub mod compress;
pub mod fit;
pub mod fitted;
pub mod hull;
pub mod marginal;
pub mod prior;
pub mod refine;
pub mod residuals;
pub mod solve;
