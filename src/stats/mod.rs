//! Statistics of plain slices: robust moments, bootstrap intervals, paired differences, correlations. No Burn, no astronomy.

pub mod bootstrap;
pub mod correlation;
pub mod paired;
pub mod robust;
pub mod span;
