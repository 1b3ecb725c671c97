//! The common wavelength grid of a set of spectra, and the detector chips on it.

use std::ops::Range;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// Pixels of an apStar spectrum.
pub const APOGEE_N_PIXELS: usize = 8575;
/// log10 of the first vacuum wavelength in Angstrom, and the step per pixel.
pub const APOGEE_LOG_WAVELENGTH: (f64, f64) = (4.179, 6e-6);
/// Pixels that lie in the gaps between the chips at any plausible radial velocity; the chips meet there.
const APOGEE_CHIP_EDGES: [usize; 4] = [0, 3450, 6232, APOGEE_N_PIXELS];
/// Pixels that lie on a chip at any radial velocity up to 300 km/s: the windows of DR10 to DR12 (ASPCAP).
const APOGEE_CHIP_CORES: [Range<usize>; 3] = [322..3242, 3648..6048, 6412..8306];

/// Vacuum wavelengths in Angstrom (or pixel numbers where a survey gives none) and the chips they fall on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Description", into = "Description")]
pub struct WavelengthGrid {
    /// Ascending, `[n_pixels]`.
    pub wavelength: Vec<f64>,
    /// Pixel ranges normalized independently; they cover the grid.
    pub chips: Vec<Range<usize>>,
}

/// How a grid is written down: the survey's own by its name.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Description {
    Named(Name),
    Listed { wavelength: Vec<f64>, chips: Vec<Range<usize>> },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Name {
    Apogee,
}

impl From<WavelengthGrid> for Description {
    fn from(grid: WavelengthGrid) -> Self {
        if grid == WavelengthGrid::apogee() {
            return Self::Named(Name::Apogee);
        }
        Self::Listed { wavelength: grid.wavelength, chips: grid.chips }
    }
}

impl From<Description> for WavelengthGrid {
    fn from(description: Description) -> Self {
        match description {
            Description::Named(Name::Apogee) => Self::apogee(),
            Description::Listed { wavelength, chips } => Self { wavelength, chips },
        }
    }
}

impl WavelengthGrid {
    /// The apStar grid: 15100.80 to 16999.81 Angstrom in equal steps of log wavelength, three chips.
    pub fn apogee() -> Self {
        let (start, step) = APOGEE_LOG_WAVELENGTH;
        Self {
            wavelength: (0..APOGEE_N_PIXELS).map(|pixel| 10_f64.powf(start + step * pixel as f64)).collect(),
            chips: APOGEE_CHIP_EDGES.windows(2).map(|edges| edges[0]..edges[1]).collect(),
        }
    }

    /// A grid from a survey's own wavelengths; a step five times the median starts a new chip.
    ///
    /// Returns `None` unless the wavelengths are finite and ascending.
    pub fn from_wavelengths(wavelength: Vec<f64>) -> Option<Self> {
        let steps: Vec<f64> = wavelength.windows(2).map(|pair| pair[1] - pair[0]).collect();
        if wavelength.is_empty()
            || wavelength.iter().any(|w| !w.is_finite())
            || steps.iter().any(|step| step.is_nan() || *step <= 0.0)
        {
            return None;
        }
        let usual = crate::stats::robust::median(&steps);
        let mut edges = vec![0];
        edges.extend(steps.iter().enumerate().filter(|(_, step)| **step > 5.0 * usual).map(|(pixel, _)| pixel + 1));
        edges.push(wavelength.len());
        let chips = edges.windows(2).map(|edges| edges[0]..edges[1]).collect();
        Some(Self { wavelength, chips })
    }

    /// The grid of wavelengths that a survey gives: the apStar one where they are its.
    ///
    /// Returns `None` as [`Self::from_wavelengths`] does.
    pub fn of_survey(wavelength: Vec<f64>) -> Option<Self> {
        let apogee = Self::apogee();
        let found = Self { wavelength, chips: apogee.chips.clone() };
        if found.matches(&apogee) { Some(apogee) } else { Self::from_wavelengths(found.wavelength) }
    }

    /// A grid of bare pixel numbers on one chip.
    pub fn from_pixel_numbers(n_pixels: usize) -> Self {
        let whole = 0..n_pixels;
        Self { wavelength: (0..n_pixels).map(|pixel| pixel as f64).collect(), chips: vec![whole] }
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.wavelength.len()
    }

    /// Whether the chips follow each other without gap or overlap from the first pixel to the last.
    pub fn is_covered_by_chips(&self) -> bool {
        let mut next = 0;
        self.chips.iter().all(|chip| chip.start == std::mem::replace(&mut next, chip.end) && chip.start < chip.end)
            && next == self.n_pixels()
    }

    /// Pixels that lie on a chip whatever the star's velocity, `[n_pixels]`: of the apStar grid, on which the ends of the chips
    /// move from star to star, the inner parts of them; of others, all.
    pub fn chip_cores(&self) -> Vec<bool> {
        if !self.is_apogee() {
            return vec![true; self.n_pixels()];
        }
        (0..self.n_pixels()).map(|pixel| APOGEE_CHIP_CORES.iter().any(|core| core.contains(&pixel))).collect()
    }

    /// Whether this is the apStar grid.
    pub fn is_apogee(&self) -> bool {
        // Asked for every file that is read: 8575 powers are worth keeping.
        static APOGEE: LazyLock<WavelengthGrid> = LazyLock::new(WavelengthGrid::apogee);
        self.matches(&APOGEE)
    }

    /// Whether two grids agree to a hundredth of a pixel everywhere.
    pub fn matches(&self, other: &Self) -> bool {
        let pixel = self.wavelength.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
        self.n_pixels() == other.n_pixels()
            && self.wavelength.iter().zip(&other.wavelength).all(|(a, b)| (a - b).abs() <= 0.01 * pixel.min(1e3))
    }

    /// Whether a header's log10 start and step describe the apStar grid to a hundredth of a pixel over all its pixels.
    pub fn is_apogee_header(log_wavelength: Option<(f64, f64)>, n_pixels: usize) -> bool {
        let (start, step) = APOGEE_LOG_WAVELENGTH;
        n_pixels == APOGEE_N_PIXELS
            && log_wavelength.is_some_and(|(s, d)| {
                let last = (APOGEE_N_PIXELS - 1) as f64;
                (s - start).abs() < 0.01 * step && (s + last * d - start - last * step).abs() < 0.01 * step
            })
    }

    /// Pixel nearest to a wavelength, if within half a pixel of it.
    pub fn pixel_of(&self, wavelength: f64) -> Option<usize> {
        let above = self.wavelength.partition_point(|w| *w < wavelength);
        let candidates = [above.checked_sub(1), (above < self.n_pixels()).then_some(above)];
        let nearest = candidates.into_iter().flatten().min_by(|a, b| {
            (self.wavelength[*a] - wavelength).abs().total_cmp(&(self.wavelength[*b] - wavelength).abs())
        })?;
        let neighbour = if nearest + 1 < self.n_pixels() { nearest + 1 } else { nearest.checked_sub(1)? };
        let step = (self.wavelength[neighbour] - self.wavelength[nearest]).abs();
        ((self.wavelength[nearest] - wavelength).abs() <= 0.5 * step).then_some(nearest)
    }
}

/// What a file's header, by its log10 start and step, has in place of the apStar grid.
pub fn unlike_apogee(log_wavelength: Option<(f64, f64)>, n_pixels: usize) -> String {
    let found = match log_wavelength {
        Some((start, step)) => format!("{n_pixels} pixels from log10 wavelength {start:.6} on, in steps of {step:e}"),
        None => format!("{n_pixels} pixels and no wavelengths in the header"),
    };
    let (start, step) = APOGEE_LOG_WAVELENGTH;
    format!(
        "{found}; apStar files have {APOGEE_N_PIXELS} from {start} on (log10 of vacuum Angstrom), in steps of {step:e}: spectra on other pixels are read as [data.arrays]"
    )
}

/// Wavelength in standard air of a vacuum wavelength, both in Angstrom.
///
/// ```text
/// lambda_air = lambda / n,   n - 1 = 0.05792105 / (238.0185 - s^2) + 0.00167917 / (57.362 - s^2),   s = 1e4 / lambda
/// ```
/// Ciddor 1996, Applied Optics 35, 1566: dry air of 15 degrees C, 101325 Pa and 450 ppm carbon dioxide. APOGEE uses it too.
pub fn air_wavelength(vacuum: f64) -> f64 {
    let squared = (1e4 / vacuum).powi(2);
    vacuum / (1.0 + 0.057_921_05 / (238.018_5 - squared) + 0.001_679_17 / (57.362 - squared))
}

/// The ends of some wavelengths, in words.
pub fn span(wavelength: &[f64]) -> String {
    match wavelength {
        [first, .., last] => format!("{first:.2} to {last:.2} Angstrom"),
        few => format!("{few:?} Angstrom"),
    }
}

/// How wavelengths differ from as many others, in words; `None` where they agree to a hundredth of a pixel.
pub fn difference(wavelength: &[f64], expected: &[f64]) -> Option<String> {
    let grid = |wavelength: &[f64]| WavelengthGrid { wavelength: wavelength.to_vec(), chips: Vec::new() };
    let expected = grid(expected);
    if grid(wavelength).matches(&expected) {
        return None;
    }
    let spans = format!("wavelengths of {}, and the model's of {}", span(wavelength), span(&expected.wavelength));
    let in_air: Vec<f64> = expected.wavelength.iter().map(|vacuum| air_wavelength(*vacuum)).collect();
    // Formulae of air differ among themselves by less than a tenth of a pixel.
    let offset = |other: &[f64]| wavelength.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let pixel = expected.wavelength.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min);
    if offset(&in_air) < 0.1 * pixel {
        return Some(format!("{spans}: these are the same in air; give those in vacuum"));
    }
    let in_pixels = offset(&expected.wavelength) / pixel;
    Some(format!(
        "{spans}, up to {:.3} Angstrom ({in_pixels:.2} pixels) apart; bring the spectra to the model's wavelengths",
        offset(&expected.wavelength)
    ))
}

/// Why some numbers cannot be ascending wavelengths, with the remedy; `None` where they may be.
pub fn disorder(wavelength: &[f64]) -> Option<String> {
    if wavelength.iter().any(|value| !value.is_finite()) {
        return Some("some are not finite; leave their pixels out".into());
    }
    if wavelength.len() > 1 && wavelength.windows(2).all(|pair| pair[1] < pair[0]) {
        return Some("they descend; reverse them, and the columns of the spectra with them".into());
    }
    if wavelength.windows(2).any(|pair| pair[1] <= pair[0]) {
        return Some("they do not ascend from pixel to pixel".into());
    }
    None
}

/// Why some numbers cannot be ascending wavelengths in vacuum Angstrom, with the remedy; `None` where they may be.
///
/// The unit is told by their size alone: stars are not observed below 912 Å, and hardly below 3000 Å. Air and vacuum wavelengths are
/// too like for that.
pub fn doubt(wavelength: &[f64]) -> Option<String> {
    let (first, last) = (*wavelength.first()?, *wavelength.last()?);
    if let Some(disorder) = disorder(wavelength) {
        return Some(disorder);
    }
    let (looks_like, remedy) = match wavelength[wavelength.len() / 2] {
        w if w >= 3000.0 && first > 0.0 => return None,
        w if w >= 100.0 => (
            "nanometres",
            "multiply by 10; ultraviolet spectra in Angstrom go without wavelengths (in Python with their unit), pixels are then only numbered",
        ),
        w if (6.5..12.0).contains(&w) => ("natural logarithms of Angstrom", "give their exponentials"),
        w if (3.0..5.5).contains(&w) => {
            ("log10 of Angstrom", "give 10 to their power (or, if micrometres, 10000 times them)")
        }
        w if (0.1..3.0).contains(&w) => ("micrometres", "multiply by 10000"),
        w if (1e-8..1e-4).contains(&w) => ("metres", "multiply by 1e10"),
        _ => ("no unit of wavelength", "give none, and pixels are only numbered"),
    };
    Some(format!("{first} to {last} look like {looks_like}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apogee_grid_has_the_published_ends() {
        let grid = WavelengthGrid::apogee();
        assert_eq!(grid.n_pixels(), 8575);
        assert!((grid.wavelength[0] - 15100.8015).abs() < 1e-4);
        assert!((grid.wavelength[8574] - 16999.8074).abs() < 1e-4);
        assert!(grid.is_covered_by_chips());
        assert!(grid.is_apogee() && WavelengthGrid::is_apogee_header(Some((4.179, 6e-6)), 8575));
        assert!(!WavelengthGrid::is_apogee_header(Some((4.179, 6.001e-6)), 8575));
        assert!(!WavelengthGrid::is_apogee_header(None, 8575));
        let cores = grid.chip_cores();
        assert_eq!(cores.iter().filter(|core| **core).count(), 7214);
        assert!(WavelengthGrid::from_pixel_numbers(7).chip_cores().iter().all(|core| *core));
        assert_eq!(serde_json::to_string(&grid).unwrap(), "\"apogee\"");
        assert_eq!(serde_json::from_str::<WavelengthGrid>("\"apogee\"").unwrap(), grid);
    }

    #[test]
    fn another_grid_is_told_in_words() {
        let said = unlike_apogee(Some((4.2, 6e-6)), 8575);
        assert!(
            said.starts_with("8575 pixels from log10 wavelength 4.200000 on, in steps of 6e-6; apStar files"),
            "{said}"
        );
        assert!(said.contains("8575 from 4.179 on") && said.contains("[data.arrays]"), "{said}");
        assert!(unlike_apogee(None, 7).starts_with("7 pixels and no wavelengths in the header; apStar"));
    }

    #[test]
    fn other_units_are_called_by_their_names() {
        let angstrom = WavelengthGrid::apogee().wavelength;
        assert_eq!(doubt(&angstrom), None);
        let said = |of: fn(f64) -> f64| doubt(&angstrom.iter().map(|w| of(*w)).collect::<Vec<_>>()).unwrap();
        assert!(said(f64::log10).contains("log10 of Angstrom"));
        assert!(said(f64::ln).contains("natural logarithms"));
        assert!(said(|w| w / 10.0).contains("nanometres; multiply by 10"));
        assert!(said(|w| w / 1e4).contains("micrometres; multiply by 10000"));
        assert!(said(|w| w / 1e10).contains("metres; multiply by 1e10"));
        assert!(said(|w| w - 20_000.0).contains("no unit"));
        let reversed: Vec<f64> = angstrom.iter().rev().copied().collect();
        assert!(doubt(&reversed).unwrap().contains("descend; reverse them"));
        assert!(doubt(&[5000.0, f64::NAN]).unwrap().contains("finite"));
        assert!(doubt(&[5000.0, 5000.0, 5001.0]).unwrap().contains("ascend"));
    }

    #[test]
    fn wavelengths_in_air_are_told_from_shifted_ones() {
        let grid = WavelengthGrid::apogee().wavelength;
        let other = |of: fn(f64) -> f64| difference(&grid.iter().map(|w| of(*w)).collect::<Vec<_>>(), &grid);
        assert_eq!(other(|w| w + 1e-6), None);
        // [O III], H alpha and Mg I, in vacuum and in air as line lists have them.
        for (vacuum, air) in [(5008.240, 5006.843), (6564.61, 6562.80), (15_745.017, 15_740.716)] {
            assert!((air_wavelength(vacuum) - air).abs() < 0.02, "{vacuum}");
        }
        assert!(other(|w| w / (1.0 + 2.7325e-4)).unwrap().contains("the same in air"));
        let said = other(|w| w + 0.1).unwrap();
        assert!(said.contains("15100.80 to 16999.81 Angstrom") && said.contains("up to 0.100 Angstrom"), "{said}");
    }

    #[test]
    fn every_pixel_finds_itself_and_gaps_make_chips() {
        let grid = WavelengthGrid::apogee();
        for pixel in [0, 1, 4000, 8574] {
            assert_eq!(grid.pixel_of(grid.wavelength[pixel] + 0.05), Some(pixel));
        }
        assert_eq!(grid.pixel_of(15000.0), None);
        let chips = WavelengthGrid::from_wavelengths(vec![1.0, 2.0, 3.0, 10.0, 11.0, 12.0]).unwrap().chips;
        assert_eq!(chips, [0..3, 3..6]);
        assert!(WavelengthGrid::from_wavelengths(vec![1.0, f64::NAN]).is_none());
        assert!(WavelengthGrid::from_wavelengths(vec![2.0, 1.0]).is_none());
    }
}
