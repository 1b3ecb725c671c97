//! Statistics of plain slices: robust moments, bootstrap intervals, paired differences, correlations, variances and what they
//! are made of, Markov chains. No Burn, no astronomy.

pub mod binomial;
pub mod bootstrap;
pub mod chi_squared;
pub mod correlation;
pub mod diagnostics;
pub mod normal;
pub mod paired;
pub mod robust;
pub mod robust_covariance;
pub mod simplex;
pub mod span;
pub mod trend;
pub mod variance_components;
