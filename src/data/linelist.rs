//! Lines of red giants in the H band: the strongest atomic ones, and the heads of carbon monoxide's bands.

use crate::error::{Error, Result};

/// The 200 strongest atomic lines; source in `assets/README.md`.
const ATOMIC: &str = include_str!("../../assets/atomic_lines.csv");

/// An atomic line.
#[derive(Debug, Clone, PartialEq)]
pub struct AtomicLine {
    /// Element and ionisation stage, e.g. "Fe I".
    pub species: String,
    /// Vacuum wavelength [Å].
    pub wavelength: f64,
    /// An ordering only: the larger, the stronger in a red giant.
    pub strength: f64,
}

/// The 200 strongest atomic lines between 15150 and 16960 Å, in ascending wavelength.
///
/// # Errors
/// [`Error::Config`] if the list was built in damaged.
pub fn atomic_lines() -> Result<Vec<AtomicLine>> {
    let damaged =
        |line: &str| Error::Config(format!("assets/atomic_lines.csv: `{line}` is no species and two numbers"));
    let parse = |line: &str| -> Option<AtomicLine> {
        let (species, numbers) = line.split_once(',')?;
        let (wavelength, strength) = numbers.split_once(',')?;
        Some(AtomicLine {
            species: species.to_string(),
            wavelength: wavelength.parse().ok()?,
            strength: strength.parse().ok()?,
        })
    };
    ATOMIC.lines().skip(1).map(|line| parse(line).ok_or_else(|| damaged(line))).collect()
}
