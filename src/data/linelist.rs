//! Lines of red giants in the H band: the strongest atomic ones, hydrogen's, and the heads of carbon monoxide's bands.

use crate::error::{Error, Result};

/// The 200 strongest atomic lines; source in `assets/README.md`.
const ATOMIC: &str = include_str!("../../assets/atomic_lines.csv");

/// An atomic line.
#[derive(Debug, Clone, PartialEq)]
pub struct AtomicLine {
    /// Element and ionisation stage, e.g. "Fe I".
    pub species: String,
    /// Vacuum wavelength in Angstrom.
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

/// A line of hydrogen's Brackett series, from the fourth level up.
#[derive(Debug, Clone, PartialEq)]
pub struct BrackettLine {
    /// The upper level.
    pub upper: u32,
    /// Vacuum wavelength in Angstrom.
    pub wavelength: f64,
}

/// Rydberg's constant of hydrogen [1/cm]: CODATA's of infinite mass, with the mass of the proton.
const RYDBERG: f64 = 109_677.583_4;

/// Brackett 11 to 20, in ascending wavelength: 1 / wavelength = R (1 / 4^2 - 1 / n^2).
pub fn brackett_lines() -> Vec<BrackettLine> {
    let line = |upper: u32| {
        let wavenumber = RYDBERG * (1.0 / 16.0 - 1.0 / f64::from(upper * upper));
        BrackettLine { upper, wavelength: 1e8 / wavenumber }
    };
    (11..=20).rev().map(line).collect()
}

/// The head of a band of carbon monoxide.
#[derive(Debug, Clone, PartialEq)]
pub struct BandHead {
    /// Vibrational quantum numbers of the upper and the lower state.
    pub transition: (u32, u32),
    /// Vacuum wavelength in Angstrom.
    pub wavelength: f64,
}

/// Molecular constants of 12C16O in its ground state [1/cm]: omega_e and omega_e x_e, y_e, z_e of the vibration; B_e, alpha_e and
/// gamma_e of the rotation; D_e and beta_e of its stretching. Huber & Herzberg 1979, Constants of Diatomic Molecules.
const VIBRATION: [f64; 4] = [2_169.813_58, -13.288_31, 0.010_511, 5.74e-5];
const ROTATION: [f64; 3] = [1.931_280_87, -0.017_504_41, 5.487e-7];
const STRETCHING: [f64; 2] = [6.121_47e-6, -1.153e-9];

/// The heads of the second-overtone bands (3-0 to 9-6) of 12C16O, which degrade to the red.
///
/// ```text
/// nu(J) = F(v', J + 1) - F(v'', J),   F(v, J) = G(v) + B_v J (J + 1) - D_v [J (J + 1)]^2;   the head is the largest nu(J)
/// ```
///
/// In model spectra of giants the flux's response to [C/Fe] sets in at the very pixels.
pub fn co_band_heads() -> Vec<BandHead> {
    let series = |of: &[f64], x: f64| of.iter().rev().fold(0.0, |sum, constant| sum * x + constant);
    let term = |v: u32, j: u32| {
        let (x, y) = (f64::from(v) + 0.5, f64::from(j * (j + 1)));
        x * series(&VIBRATION, x) + series(&ROTATION, x) * y - series(&STRETCHING, x) * y * y
    };
    let head = |upper: u32| {
        let lower = upper - 3;
        let largest = (0..100).map(|j| term(upper, j + 1) - term(lower, j)).fold(0.0, f64::max);
        BandHead { transition: (upper, lower), wavelength: 1e8 / largest }
    };
    (3..=9).map(head).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole_and_in_order() {
        let lines = atomic_lines().unwrap();
        assert_eq!(lines.len(), 200);
        assert!(lines.windows(2).all(|pair| pair[0].wavelength <= pair[1].wavelength));
        assert!(lines.iter().all(|line| (15_150.0..16_960.0).contains(&line.wavelength) && line.strength.is_finite()));
        let count = |species: &str| lines.iter().filter(|line| line.species == species).count();
        assert_eq!((count("Fe I"), count("Si I"), count("Mg I")), (140, 21, 10));
        // Mg I 15740.716 in air.
        assert!(lines.iter().any(|line| line.species == "Mg I" && (line.wavelength - 15_745.017).abs() < 0.01));
    }

    #[test]
    fn hydrogen_is_where_the_laboratory_has_it() {
        let lines = brackett_lines();
        let of = |upper: u32| lines.iter().find(|line| line.upper == upper).unwrap().wavelength;
        // Brackett 11 and 14, 1.6811 and 1.5885 micrometre.
        assert!((of(11) - 16_811.1).abs() < 0.2 && (of(14) - 15_884.9).abs() < 0.2, "{} {}", of(11), of(14));
        assert!(lines.windows(2).all(|pair| pair[0].wavelength < pair[1].wavelength));
        assert!(lines.iter().all(|line| (15_150.0..16_960.0).contains(&line.wavelength)));
    }

    #[test]
    fn band_heads_lie_where_model_spectra_have_them() {
        // Where the response to [C/Fe] sets in, in a linear regression over the 1800 spectra of `library/hband_giants.npz`
        // [vacuum Å]; a pixel is 0.22 Å, the instrument's profile 0.7 Å wide. The first two are blended.
        let seen =
            [None, Some(15_779.7), Some(15_981.9), Some(16_189.0), Some(16_400.9), Some(16_617.9), Some(16_839.9)];
        let heads = co_band_heads();
        assert_eq!(heads.len(), seen.len());
        for (head, seen) in heads.iter().zip(seen) {
            assert!(seen.is_none_or(|seen: f64| (head.wavelength - seen).abs() < 0.5), "{head:?} {seen:?}");
        }
        // 1.558 micrometre, as the 3-0 band is known.
        assert!((heads[0].wavelength - 15_581.6).abs() < 0.1 && heads[0].transition == (3, 0));
    }
}
