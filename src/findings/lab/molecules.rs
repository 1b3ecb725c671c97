//! Which molecule makes a feature: what the emulator that comes with maury answers to carbon, nitrogen and oxygen there.
//!
//! In a giant with more oxygen than carbon nearly all carbon is in CO, what oxygen that leaves makes OH, and nitrogen is seen in
//! CN alone:
//!
//! | | carbon | nitrogen | oxygen |
//! |---|---|---|---|
//! | CN | flux falls | falls | |
//! | CO | falls | | does not rise |
//! | OH | does not fall | | falls |

use serde::Serialize;

use crate::error::Result;
use crate::mock::emulator::Emulator;
use crate::spectra::features::FeatureMatch;
use crate::spectra::grid::WavelengthGrid;

/// A smaller change of flux, for a standard deviation of the emulator's library, names nothing.
const SMALLEST: f64 = 0.004;
/// A change without meaning, as a share of the largest of the three.
const NIL: f64 = 0.2;

/// A feature, the known line it lies on, and the molecule that makes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NamedFeature {
    /// The feature and its line.
    #[serde(flatten)]
    pub matched: FeatureMatch,
    /// The molecule to which the emulator's answers to carbon, nitrogen and oxygen point there; none where they are small or point
    /// to none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub molecule: Option<&'static str>,
}

/// Features with the molecules that make them.
pub(super) fn named(found: Vec<FeatureMatch>, molecules: Option<&Molecules>) -> Vec<NamedFeature> {
    let at = |matched: &FeatureMatch| molecules.and_then(|of| of.at(matched.feature.pixel.round() as usize));
    found.into_iter().map(|matched| NamedFeature { molecule: at(&matched), matched }).collect()
}

/// Changes of normalized flux with carbon, nitrogen and oxygen, `[n_pixels]` each, for a standard deviation of the emulator's library.
pub(super) struct Molecules([Vec<f64>; 3]);

impl Molecules {
    /// Of the emulator that comes with maury; none on other grids than its own.
    pub fn of_grid(grid: &WavelengthGrid) -> Result<Option<Self>> {
        if !grid.is_apogee() {
            return Ok(None);
        }
        let emulator = Emulator::shipped()?;
        let [carbon, nitrogen, oxygen] = ["c_fe", "n_fe", "o_fe"].map(|input| emulator.response(input));
        Ok(carbon.zip(nitrogen).zip(oxygen).map(|((carbon, nitrogen), oxygen)| Self([carbon, nitrogen, oxygen])))
    }

    /// The molecule that the answers at a pixel point to.
    pub fn at(&self, pixel: usize) -> Option<&'static str> {
        molecule([0, 1, 2].map(|element: usize| self.0[element].get(pixel).copied().unwrap_or(0.0)))
    }
}

fn molecule(changes: [f64; 3]) -> Option<&'static str> {
    let largest = changes.iter().fold(0.0_f64, |largest, change| largest.max(change.abs()));
    if largest.is_nan() || largest < SMALLEST {
        return None;
    }
    let [carbon, nitrogen, oxygen] = changes.map(|change| change / largest);
    match () {
        () if nitrogen < -NIL && carbon < NIL => Some("CN"),
        () if carbon < -NIL && oxygen < NIL && nitrogen < NIL => Some("CO"),
        () if oxygen < -NIL && carbon > -NIL && nitrogen < NIL => Some("OH"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::linelist::{atomic_lines, co_band_heads};
    use crate::spectra::features::position_of;

    #[test]
    fn each_molecule_has_its_pattern() {
        let cases = [
            ([-0.1, 0.0, -0.01], Some("CO")),
            ([-0.05, -0.1, 0.06], Some("CN")),
            ([0.05, 0.01, -0.1], Some("OH")),
            ([-0.001, 0.0, -0.001], None),
            ([-0.1, 0.0, 0.05], None),
            ([0.1, 0.1, 0.1], None),
            ([f64::NAN; 3], None),
        ];
        for (changes, expected) in cases {
            assert_eq!(molecule(changes), expected, "{changes:?}");
        }
    }

    #[test]
    fn the_emulator_sees_carbon_monoxide_behind_the_heads_of_its_bands_and_not_before() {
        let grid = WavelengthGrid::apogee();
        let molecules = Molecules::of_grid(&grid).unwrap().unwrap();
        let lines = atomic_lines().unwrap();
        let shares = |from: i64, to: i64| {
            let at = |wavelength: f64| position_of(&grid, wavelength).unwrap().round() as i64;
            let pixels: Vec<usize> = co_band_heads()
                .iter()
                .flat_map(|head| (from..to).map(move |offset| (at(head.wavelength) + offset) as usize))
                .filter(|pixel| lines.iter().all(|line| (line.wavelength - grid.wavelength[*pixel]).abs() > 0.7))
                .collect();
            let of = |molecule: &str| {
                pixels.iter().filter(|pixel| molecules.at(**pixel) == Some(molecule)).count() as f64
                    / pixels.len() as f64
            };
            ["CO", "CN", "OH"].map(of)
        };
        let ([behind, ..], [before, ..]) = (shares(0, 12), shares(-20, -4));
        // Lines of CN lie everywhere.
        assert!(behind > 0.6 && before < 0.05, "{behind} {before}");
    }
}
