//! Where a curve over the pixels peaks, such as a gradient spectrum, and whether known lines are there: against chance.

use serde::{Deserialize, Serialize};

use super::grid::WavelengthGrid;
use crate::data::linelist::{AtomicLine, BandHead, BrackettLine, atomic_lines, brackett_lines, co_band_heads};
use crate::error::Result;
use crate::stats::binomial::upper_tail;

/// A peak or trough.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Where the parabola through the extreme pixel and its neighbours is extreme, in pixels.
    pub pixel: f64,
    /// The same place as a wavelength [vacuum Å].
    pub wavelength: f64,
    /// The curve at the extreme pixel.
    pub value: f64,
}

/// A line, or the head of a band, by its name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownLine {
    /// Species ("Mg I") or band ("CO 5-2").
    pub name: String,
    /// Vacuum wavelength in Angstrom.
    pub wavelength: f64,
}

impl From<&AtomicLine> for KnownLine {
    fn from(line: &AtomicLine) -> Self {
        Self { name: line.species.clone(), wavelength: line.wavelength }
    }
}

impl From<&BandHead> for KnownLine {
    fn from(head: &BandHead) -> Self {
        Self { name: format!("CO {}-{}", head.transition.0, head.transition.1), wavelength: head.wavelength }
    }
}

impl From<&BrackettLine> for KnownLine {
    fn from(line: &BrackettLine) -> Self {
        Self { name: format!("H Br {}", line.upper), wavelength: line.wavelength }
    }
}

impl KnownLine {
    /// All that are known in the H band: of atoms, hydrogen among them, and heads of carbon monoxide's bands.
    ///
    /// # Errors
    /// Those of [`atomic_lines`].
    pub fn all() -> Result<Vec<Self>> {
        let mut lines: Vec<Self> = atomic_lines()?.iter().map(Self::from).collect();
        lines.extend(brackett_lines().iter().map(Self::from));
        lines.extend(co_band_heads().iter().map(Self::from));
        Ok(lines)
    }
}

/// The known line nearest to a feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NearestLine {
    /// The line.
    pub line: KnownLine,
    /// How far above the line's wavelength the feature lies, in pixels.
    pub offset: f64,
}

/// A feature, and the known line it lies on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureMatch {
    /// The feature.
    pub feature: Feature,
    /// The nearest line; `None` where none lies within the tolerance.
    pub nearest: Option<NearestLine>,
}

/// How often features fall on a list of lines, and how often they would if they were scattered at random.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Coincidence {
    /// Features compared.
    pub n_features: usize,
    /// Features with a line within the tolerance.
    pub n_coincident: usize,
    /// `n_coincident / n_features`; NaN without features.
    pub fraction: f64,
    /// Share of the usable pixels that have a line within the tolerance: the fraction expected of random places.
    pub chance: f64,
    /// Probability that random places coincide as often or more often (binomial).
    pub p_value: f64,
    /// Lines on usable pixels.
    pub n_lines: usize,
    /// Lines with a feature within the tolerance.
    pub n_lines_found: usize,
    /// Share of the usable pixels that have a feature within the tolerance: the share of lines found by chance.
    pub chance_lines: f64,
}

/// The `n` strongest features of a curve, the strongest first: local extrema of its absolute value at least `min_separation`
/// pixels from every stronger one.
///
/// An extreme pixel and both its neighbours are usable, finite and of one chip, so that no chip's end is a feature.
///
/// # Panics
/// If the values and the usable pixels are not those of the grid.
pub fn strongest_features(
    values: &[f64],
    is_usable: &[bool],
    grid: &WavelengthGrid,
    n: usize,
    min_separation: f64,
) -> Vec<Feature> {
    assert!(values.len() == grid.n_pixels() && is_usable.len() == grid.n_pixels(), "a value per pixel of the grid");
    let is_extreme = |pixel: &usize| {
        let sizes = [pixel - 1, *pixel, pixel + 1].map(|at| if is_usable[at] { values[at].abs() } else { f64::NAN });
        sizes.iter().all(|size| size.is_finite()) && sizes[1] > sizes[0] && sizes[1] >= sizes[2]
    };
    let inner = grid.chips.iter().flat_map(|chip| chip.start + 1..chip.end.saturating_sub(1).max(chip.start + 1));
    let mut extremes: Vec<usize> = inner.filter(is_extreme).collect();
    extremes.sort_by(|a, b| values[*b].abs().total_cmp(&values[*a].abs()));
    let mut features: Vec<Feature> = Vec::new();
    for pixel in extremes {
        if features.len() == n {
            break;
        }
        let position = pixel as f64 + vertex([values[pixel - 1], values[pixel], values[pixel + 1]]);
        if features.iter().all(|stronger| (stronger.pixel - position).abs() >= min_separation) {
            features.push(Feature { pixel: position, wavelength: wavelength_at(grid, position), value: values[pixel] });
        }
    }
    features
}

/// For each feature, the nearest line within a tolerance in pixels.
pub fn matches(
    features: &[Feature],
    lines: &[KnownLine],
    grid: &WavelengthGrid,
    tolerance_pixels: f64,
) -> Vec<FeatureMatch> {
    let placed: Vec<(f64, &KnownLine)> =
        lines.iter().filter_map(|line| Some((position_of(grid, line.wavelength)?, line))).collect();
    let nearest = |feature: &Feature| {
        placed
            .iter()
            .map(|(position, line)| (feature.pixel - position, *line))
            .filter(|(offset, _)| offset.abs() <= tolerance_pixels)
            .min_by(|a, b| a.0.abs().total_cmp(&b.0.abs()))
            .map(|(offset, line)| NearestLine { line: line.clone(), offset })
    };
    features.iter().map(|feature| FeatureMatch { feature: *feature, nearest: nearest(feature) }).collect()
}

/// How features coincide with lines within a tolerance in pixels, against places drawn at random from the usable pixels.
///
/// # Panics
/// If the usable pixels are not those of the grid.
pub fn coincidence(
    features: &[Feature],
    lines: &[KnownLine],
    is_usable: &[bool],
    grid: &WavelengthGrid,
    tolerance_pixels: f64,
) -> Coincidence {
    assert_eq!(is_usable.len(), grid.n_pixels(), "a flag per pixel of the grid");
    let on_usable = |position: &f64| is_usable[position.round() as usize];
    let lines: Vec<f64> =
        lines.iter().filter_map(|line| position_of(grid, line.wavelength)).filter(on_usable).collect();
    let places: Vec<f64> = features.iter().map(|feature| feature.pixel).collect();
    let near = |from: &[f64], to: &[f64]| {
        let is_near = |a: &&f64| to.iter().any(|b| (**a - b).abs() <= tolerance_pixels);
        from.iter().filter(is_near).count()
    };
    let usable: Vec<f64> = (0..is_usable.len()).filter(|pixel| is_usable[*pixel]).map(|pixel| pixel as f64).collect();
    let share = |of: &[f64]| near(&usable, of) as f64 / usable.len() as f64;
    let (n_coincident, chance) = (near(&places, &lines), share(&lines));
    Coincidence {
        n_features: places.len(),
        n_coincident,
        fraction: n_coincident as f64 / places.len() as f64,
        chance,
        p_value: upper_tail(n_coincident, places.len(), chance),
        n_lines: lines.len(),
        n_lines_found: near(&lines, &places),
        chance_lines: share(&places),
    }
}

/// Whether each pixel of the grid has a line within a tolerance in pixels.
pub fn pixels_near(lines: &[KnownLine], grid: &WavelengthGrid, tolerance_pixels: f64) -> Vec<bool> {
    let places: Vec<f64> = lines.iter().filter_map(|line| position_of(grid, line.wavelength)).collect();
    let is_near = |pixel: usize| places.iter().any(|place| (pixel as f64 - place).abs() <= tolerance_pixels);
    (0..grid.n_pixels()).map(is_near).collect()
}

/// Where a wavelength lies between the pixels, linear between neighbours; `None` outside the grid.
pub fn position_of(grid: &WavelengthGrid, wavelength: f64) -> Option<f64> {
    let above = grid.wavelength.partition_point(|known| *known < wavelength);
    match (above.checked_sub(1), grid.wavelength.get(above)) {
        (Some(below), Some(high)) => {
            let low = grid.wavelength[below];
            Some(below as f64 + (wavelength - low) / (high - low))
        }
        (None, Some(first)) if *first == wavelength => Some(0.0),
        _ => None,
    }
}

/// The wavelength of a place between the pixels, the inverse of [`position_of`].
fn wavelength_at(grid: &WavelengthGrid, position: f64) -> f64 {
    let last = grid.n_pixels() - 1;
    let below = (position.max(0.0) as usize).min(last);
    let (low, high) = (grid.wavelength[below], grid.wavelength[(below + 1).min(last)]);
    low + (high - low) * (position - below as f64)
}

/// Where the parabola through three values at -1, 0 and 1 is extreme, the middle one the most extreme; 0 where all are equal.
pub(super) fn vertex([before, at, after]: [f64; 3]) -> f64 {
    let curvature = before - 2.0 * at + after;
    if curvature == 0.0 { 0.0 } else { 0.5 * (before - after) / curvature }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::data::linelist::{atomic_lines, co_band_heads};

    fn lines_of(species: &[&str]) -> Vec<KnownLine> {
        atomic_lines().unwrap().iter().map(KnownLine::from).filter(|line| species.contains(&&*line.name)).collect()
    }

    /// A curve with a Gaussian of each height at each place.
    fn bumps(n_pixels: usize, of: &[(f64, f64)]) -> Vec<f64> {
        let sum =
            |j: usize| of.iter().map(|(at, height)| height * (-0.5 * ((j as f64 - at) / 1.5).powi(2)).exp()).sum();
        (0..n_pixels).map(sum).collect()
    }

    #[test]
    fn bumps_and_dips_are_found_between_the_pixels_strongest_first() {
        let grid = WavelengthGrid::from_pixel_numbers(200);
        let values = bumps(200, &[(50.3, 1.0), (90.0, -2.0), (130.8, 0.5)]);
        let found = strongest_features(&values, &[true; 200], &grid, 3, 5.0);
        for (feature, (pixel, value)) in found.iter().zip([(90.0, -2.0), (50.3, 1.0), (130.8, 0.5)]) {
            assert!((feature.pixel - pixel).abs() < 0.03 && (feature.value - value).abs() < 0.03, "{found:?}");
            assert!((feature.wavelength - feature.pixel).abs() < 1e-9);
        }
        assert_eq!(strongest_features(&values, &[true; 200], &grid, 1, 5.0).len(), 1);
        assert!(strongest_features(&[0.0; 200], &[true; 200], &grid, 3, 5.0).is_empty());
    }

    #[test]
    fn neighbours_of_stronger_features_chip_ends_and_unusable_pixels_are_left_out() {
        let mut grid = WavelengthGrid::from_pixel_numbers(200);
        grid.chips = vec![0..100, 100..200];
        // Two that are close, one across the chips' border, one that rises to the last pixel.
        let mut values = bumps(200, &[(30.0, 1.0), (37.0, 0.8), (99.6, 3.0), (199.0, 2.0), (150.0, 0.9), (170.0, 0.7)]);
        values[149] = f64::NAN;
        let mut is_usable = vec![true; 200];
        is_usable[170] = false;
        let pixels = |separation| -> Vec<f64> {
            let found = strongest_features(&values, &is_usable, &grid, 9, separation);
            found
                .iter()
                .map(|feature| feature.pixel.round())
                .filter(|pixel| values[*pixel as usize].abs() > 0.5)
                .collect()
        };
        assert_eq!((pixels(5.0), pixels(10.0)), (vec![30.0, 37.0], vec![30.0]));
        let none = WavelengthGrid { wavelength: Vec::new(), chips: Vec::new() };
        assert!(strongest_features(&[], &[], &none, 9, 5.0).is_empty());
    }

    #[test]
    fn wavelengths_and_positions_are_inverse() {
        let grid = WavelengthGrid::apogee();
        for position in [0.0, 0.4, 3000.75, 8573.5] {
            assert!((position_of(&grid, wavelength_at(&grid, position)).unwrap() - position).abs() < 1e-6);
        }
        assert_eq!((position_of(&grid, 15_000.0), position_of(&grid, 17_000.0)), (None, None));
        // Known from the line list's notes: Mg I 15740.716 (air) is in pixel 3024.
        assert_eq!(position_of(&grid, 15_745.017).unwrap().round(), 3024.0);
    }

    #[test]
    fn features_on_lines_are_matched_and_counted() {
        let grid = WavelengthGrid::apogee();
        let mut lines = lines_of(&["Mg I", "Si I"]);
        lines.extend(co_band_heads().iter().map(KnownLine::from));
        let at = |wavelength: f64, shift: f64| Feature {
            pixel: position_of(&grid, wavelength).unwrap() + shift,
            wavelength,
            value: 1.0,
        };
        // A magnesium line, the 6-3 head of CO, and nothing.
        let features = [at(15_745.017, 0.5), at(co_band_heads()[3].wavelength, -1.0), at(15_400.0, 0.0)];
        let found = matches(&features, &lines, &grid, 2.0);
        let names: Vec<Option<&str>> = found.iter().map(|f| f.nearest.as_ref().map(|near| &*near.line.name)).collect();
        assert_eq!(names, [Some("Mg I"), Some("CO 6-3"), None]);
        assert!((found[0].nearest.as_ref().unwrap().offset - 0.5).abs() < 0.02);
        let mut is_usable = vec![true; grid.n_pixels()];
        let magnesium = lines_of(&["Mg I"]);
        let of = |usable: &[bool]| coincidence(&features, &magnesium, usable, &grid, 2.0);
        let all = of(&is_usable);
        assert_eq!((all.n_features, all.n_coincident, all.n_lines, all.n_lines_found), (3, 1, 10, 1));
        // Ten lines, four pixels each: no two lines are that close, and no line is exactly on a pixel.
        assert!((all.chance - 40.0 / 8575.0).abs() < 1e-12 && (all.chance_lines - 12.0 / 8575.0).abs() < 4.0 / 8575.0);
        assert!((all.p_value - (1.0 - (1.0 - all.chance).powi(3))).abs() < 1e-12 && all.fraction == 1.0 / 3.0);
        is_usable[3024] = false;
        let fewer = of(&is_usable);
        assert!(fewer.n_lines == 9 && fewer.n_coincident == 0 && fewer.p_value == 1.0);
        let none = coincidence(&[], &[], &vec![false; grid.n_pixels()], &grid, 2.0);
        assert!(none.n_lines == 0 && none.fraction.is_nan() && none.chance.is_nan());
    }

    #[test]
    fn random_places_coincide_as_often_as_chance_says() {
        let grid = WavelengthGrid::apogee();
        let is_usable: Vec<bool> = (0..grid.n_pixels()).map(|pixel| (300..8000).contains(&pixel)).collect();
        let iron = lines_of(&["Fe I"]);
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let features: Vec<Feature> = (0..4000)
            .map(|_| Feature { pixel: rng.random_range(299.5..7999.5), wavelength: 0.0, value: 1.0 })
            .collect();
        for tolerance in [1.0, 2.0, 3.5] {
            let found = coincidence(&features, &iron, &is_usable, &grid, tolerance);
            let error = (found.chance * (1.0 - found.chance) / 4000.0).sqrt();
            assert!((found.fraction - found.chance).abs() < 3.0 * error, "{tolerance}: {found:?}");
            assert!((0.005..0.995).contains(&found.p_value), "{found:?}");
        }
    }
}
