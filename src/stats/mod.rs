//! Statistics of plain slices: robust moments, bootstrap intervals, paired differences, correlations, Markov chains. No Burn, no astronomy.

pub mod bootstrap;
pub mod correlation;
pub mod diagnostics;
pub mod normal;
pub mod paired;
pub mod robust;
pub mod span;
