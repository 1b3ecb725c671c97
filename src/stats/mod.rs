//! Statistics of plain slices: robust moments and bootstrap intervals. No Burn, no astronomy.

pub mod bootstrap;
pub mod robust;
