//! Made-up spectra with the lines of red giants on the apStar grid.

use std::ops::Range;

use maury::data::linelist::{BandHead, atomic_lines, co_band_heads};
use maury::error::Result;
use maury::plot::line_names::MarkedLine;
use rand::{Rng, RngExt};

/// The grid, what of its chips is measured, and the depths of lines on it.
pub struct MockSpectra {
    pub wavelength: Vec<f64>,
    pub chips: [Range<usize>; 3],
    /// Depths of the lines of atoms, of carbon monoxide and of something like CN.
    pub metals: Vec<f64>,
    pub co: Vec<f64>,
    pub cn: Vec<f64>,
    /// What figures mark.
    pub lines: Vec<MarkedLine>,
}

impl MockSpectra {
    pub fn new(random: &mut impl Rng) -> Result<Self> {
        let wavelength: Vec<f64> = (0..8575).map(|pixel| 10_f64.powf(4.179 + 6e-6 * f64::from(pixel))).collect();
        let metals = of_atoms(&wavelength, |_| true)?;
        let heads = co_band_heads();
        // The lines of a band crowd at its head.
        let band = |head: &BandHead| {
            (0..30).map(|j| (0.02 * f64::from(j * j), 0.04)).map({
                let start = head.wavelength;
                move |(aside, depth)| (start + aside, depth)
            })
        };
        let co: Vec<(f64, f64)> = heads.iter().flat_map(band).collect();
        let cn: Vec<(f64, f64)> =
            (0..300).map(|_| (random.random_range(15_100.0..17_000.0), random.random_range(0.0..0.03))).collect();
        let mut lines: Vec<MarkedLine> = atomic_lines()?
            .into_iter()
            .map(|line| MarkedLine {
                species: line.species,
                wavelength: line.wavelength,
                strength: line.strength,
                is_band: false,
            })
            .collect();
        lines.extend(heads.iter().map(|head| MarkedLine {
            species: format!("CO {}\u{2212}{}", head.transition.0, head.transition.1),
            wavelength: head.wavelength,
            strength: 0.0,
            is_band: true,
        }));
        let (co, cn) = (depth(&wavelength, &co), depth(&wavelength, &cn));
        Ok(Self { wavelength, chips: [246..3274, 3585..6080, 6344..8335], metals, co, cn, lines })
    }

    pub fn is_in_chips(&self, pixel: usize) -> bool {
        self.chips.iter().any(|chip| chip.contains(&pixel))
    }

    /// A value for every pixel of the chips, nil elsewhere.
    pub fn in_chips(&self, value: impl Fn(usize) -> f64) -> Vec<f64> {
        (0..self.wavelength.len()).map(|pixel| if self.is_in_chips(pixel) { value(pixel) } else { 0.0 }).collect()
    }

    /// Normalized flux with metals, carbon monoxide and CN this many times as strong.
    pub fn flux(&self, [metals, co, cn]: [f64; 3]) -> Vec<f64> {
        let lines = |pixel: usize| metals * self.metals[pixel] + co * self.co[pixel] + cn * self.cn[pixel];
        (0..self.wavelength.len()).map(|pixel| (-lines(pixel)).exp()).collect()
    }
}

/// Depths of the atomic lines whose species are wanted.
pub fn of_atoms(wavelength: &[f64], is_wanted: impl Fn(&str) -> bool) -> Result<Vec<f64>> {
    let lines = atomic_lines()?.into_iter().filter(|line| is_wanted(&line.species));
    let lines: Vec<(f64, f64)> = lines.map(|line| (line.wavelength, 0.35 * 10_f64.powf(0.5 * line.strength))).collect();
    Ok(depth(wavelength, &lines))
}

/// The depth of some lines with the profile of the instrument.
fn depth(wavelength: &[f64], lines: &[(f64, f64)]) -> Vec<f64> {
    let of = |at: &f64| lines.iter().map(|(line, depth)| depth * (-0.5 * ((at - line) / 0.32).powi(2)).exp()).sum();
    wavelength.iter().map(of).collect()
}
