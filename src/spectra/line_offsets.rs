//! Whether a spectrum's lines lie where a line list says: evidence of the star's rest frame and of vacuum wavelengths.

use serde::{Deserialize, Serialize};

use super::features::{position_of, vertex};
use super::grid::{WavelengthGrid, air_wavelength};
use crate::data::linelist::AtomicLine;
use crate::stats::robust::{median, robust_scatter};

/// Pixels on either side of a line's wavelength within which its minimum is sought.
const REACH: usize = 6;
/// An isolated line has no neighbour within this many pixels ...
const ISOLATION: f64 = 8.0;
/// ... unless it is weaker by this much or more in dex.
const WEAKER: f64 = 1.0;
/// A minimum counts if it is this many errors below the median of its window.
const SIGNIFICANCE: f64 = 5.0;

/// A line that was found in a spectrum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineOffset {
    /// Element and ionisation stage.
    pub species: String,
    /// Vacuum wavelength of the list in Angstrom.
    pub wavelength: f64,
    /// How far above it the flux is lowest, in pixels.
    pub offset: f64,
}

/// Where the lines of a spectrum lie, against a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LineOffsets {
    /// The lines found, strongest first.
    pub lines: Vec<LineOffset>,
    /// How many were found.
    pub n_found: usize,
    /// Isolated lines looked for on usable pixels.
    pub n_sought: usize,
    /// Median offset in pixels.
    pub median: f64,
    /// 1.4826 x the median absolute deviation of the offsets in pixels.
    pub robust_scatter: f64,
    /// The same of minima anywhere in their windows: what lines that have nothing to do with the list would give.
    pub chance_scatter: f64,
}

/// Offsets of the flux's minima from the `n_lines` strongest isolated lines of a list that lie on usable pixels (`ivar` > 0).
///
/// The minimum is the lowest pixel within 6 of a line's wavelength, placed by the parabola through its neighbours; minima at the
/// window's ends and minima no deeper than noise are not counted. `None` where no line is found.
///
/// # Panics
/// If flux or `ivar` is not a value per pixel of the grid.
pub fn line_offsets(
    flux: &[f64],
    ivar: &[f64],
    lines: &[AtomicLine],
    grid: &WavelengthGrid,
    n_lines: usize,
) -> Option<LineOffsets> {
    assert!(flux.len() == grid.n_pixels() && ivar.len() == grid.n_pixels(), "a value per pixel of the grid");
    let placed: Vec<(f64, &AtomicLine)> =
        lines.iter().filter_map(|line| Some((position_of(grid, line.wavelength)?, line))).collect();
    let is_isolated = |(at, line): &(f64, &AtomicLine)| {
        let disturbs = |(other_at, other): &(f64, &AtomicLine)| {
            *other != *line && (other_at - at).abs() <= ISOLATION && other.strength > line.strength - WEAKER
        };
        !placed.iter().any(disturbs)
    };
    let window = |at: f64| {
        let centre = at.round() as usize;
        let (start, end) = (centre.checked_sub(REACH)?, centre + REACH + 1);
        let is_usable = |pixel: usize| ivar[pixel] > 0.0 && flux[pixel].is_finite();
        (end <= flux.len() && (start..end).all(is_usable)).then_some(start..end)
    };
    let mut sought: Vec<(f64, &AtomicLine, _)> = placed
        .iter()
        .filter(|line| is_isolated(line))
        .filter_map(|(at, line)| Some((*at, *line, window(*at)?)))
        .collect();
    sought.sort_by(|a, b| b.1.strength.total_cmp(&a.1.strength));
    sought.truncate(n_lines);
    let offset = |(at, line, window): &(f64, &AtomicLine, std::ops::Range<usize>)| {
        let lowest = window.clone().min_by(|a, b| flux[*a].total_cmp(&flux[*b]))?;
        let depth = median(&flux[window.clone()]) - flux[lowest];
        let is_inside = lowest > window.start && lowest + 1 < window.end;
        (is_inside && depth * ivar[lowest].sqrt() > SIGNIFICANCE).then(|| LineOffset {
            species: line.species.clone(),
            wavelength: line.wavelength,
            offset: lowest as f64 + vertex([flux[lowest - 1], flux[lowest], flux[lowest + 1]]) - at,
        })
    };
    let found: Vec<LineOffset> = sought.iter().filter_map(offset).collect();
    let offsets: Vec<f64> = found.iter().map(|line| line.offset).collect();
    (!found.is_empty()).then(|| LineOffsets {
        n_found: found.len(),
        n_sought: sought.len(),
        median: median(&offsets),
        robust_scatter: robust_scatter(&offsets),
        // Evenly spread from -(REACH - 1/2) to REACH - 1/2: half of them within half of that.
        chance_scatter: 1.4826 * 0.5 * (REACH as f64 - 0.5),
        lines: found,
    })
}

/// The median offset in pixels that a spectrum on vacuum wavelengths would show against the same lines listed in air; NaN where
/// none lies on the grid.
pub fn air_offset(lines: &[AtomicLine], grid: &WavelengthGrid) -> f64 {
    let offset = |line: &AtomicLine| {
        Some(position_of(grid, line.wavelength)? - position_of(grid, air_wavelength(line.wavelength))?)
    };
    median(&lines.iter().filter_map(offset).collect::<Vec<f64>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::linelist::atomic_lines;
    use crate::spectra::pixmask::{self, PixmaskSettings};

    /// Gaussian lines of the list, moved by some pixels, depths by their strength.
    fn spectrum(grid: &WavelengthGrid, lines: &[AtomicLine], shift: f64) -> Vec<f64> {
        let mut flux = vec![1.0; grid.n_pixels()];
        for line in lines {
            let at = position_of(grid, line.wavelength).unwrap() + shift;
            let depth = 0.3 * 10_f64.powf(0.3 * (line.strength - 1.0).min(1.0));
            for (pixel, value) in flux.iter_mut().enumerate().skip(at as usize - 12).take(25) {
                *value -= depth * (-0.5 * ((pixel as f64 - at) / 1.4).powi(2)).exp();
            }
        }
        flux
    }

    #[test]
    fn a_shift_is_measured_and_a_masked_line_left_out() {
        let (grid, lines) = (WavelengthGrid::apogee(), atomic_lines().unwrap());
        let mut ivar = vec![1e6; grid.n_pixels()];
        for shift in [0.0, 0.7, -1.3] {
            let found = line_offsets(&spectrum(&grid, &lines, shift), &ivar, &lines, &grid, 40).unwrap();
            assert!((found.median - shift).abs() < 0.05 && found.robust_scatter < 0.1, "{shift}: {found:?}");
            assert!(found.lines.len() == 40 && found.n_sought == 40);
        }
        let flux = spectrum(&grid, &lines, 0.0);
        let strongest = line_offsets(&flux, &ivar, &lines, &grid, 40).unwrap().lines[0].wavelength;
        ivar[position_of(&grid, strongest).unwrap() as usize + 5] = 0.0;
        let found = line_offsets(&flux, &ivar, &lines, &grid, 40).unwrap();
        assert!(found.lines.iter().all(|line| line.wavelength != strongest));
        assert_eq!(line_offsets(&flux, &vec![0.0; flux.len()], &lines, &grid, 40), None);
        assert_eq!(line_offsets(&vec![f64::NAN; flux.len()], &ivar, &lines, &grid, 40), None);
        assert_eq!(line_offsets(&vec![1.0; flux.len()], &ivar, &lines, &grid, 40), None);
    }

    #[test]
    fn air_wavelengths_are_those_of_the_lists() {
        // Air and vacuum wavelengths of the first iron and manganese lines and of a magnesium line in the list's source.
        for (air, vacuum) in [(15_155.210, 15_159.352), (15_157.848, 15_161.990), (15_740.716, 15_745.017)] {
            assert!((air_wavelength(vacuum) - air).abs() < 1.5e-3, "{air}: {}", air_wavelength(vacuum));
        }
        let offset = air_offset(&atomic_lines().unwrap(), &WavelengthGrid::apogee());
        assert!((18.0..20.0).contains(&offset), "{offset}");
        assert!(air_offset(&[], &WavelengthGrid::apogee()).is_nan());
    }

    #[test]
    fn the_committed_real_spectrum_is_at_rest_and_in_vacuum() {
        let path =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/apStar-dr17-2M19485057+5005279.fits");
        let raw = crate::data::apstar::read(&path).unwrap();
        let (grid, mut lines) = (WavelengthGrid::apogee(), atomic_lines().unwrap());
        let (masked, _) = pixmask::apply(
            &raw.raw_flux,
            &raw.raw_error,
            &raw.pixmask,
            &PixmaskSettings::default().places(&grid, &grid.chip_cores()),
            &PixmaskSettings::default(),
        );
        let found = line_offsets(&masked.flux, &masked.ivar, &lines, &grid, 40).unwrap();
        assert!(found.lines.len() > 25, "{found:?}");
        assert!(found.median.abs() < 0.5 && found.robust_scatter < 1.0, "{} {}", found.median, found.robust_scatter);
        // Against air wavelengths the minima lie anywhere in their windows.
        lines.iter_mut().for_each(|line| line.wavelength = air_wavelength(line.wavelength));
        let lost = line_offsets(&masked.flux, &masked.ivar, &lines, &grid, 40).unwrap();
        assert!(lost.robust_scatter > 2.0 && lost.lines.len() < found.lines.len(), "{lost:?}");
    }
}
