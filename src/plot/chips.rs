//! Spectra over the chips of a detector: which pixels a panel spans, and what is drawn of a spectrum in it.

use std::ops::Range;

use super::axes::Axes;
use super::canvas::Canvas;
use super::draws::{ascending, quantile};
use super::legend::Entry;
use super::marks::{Marker, Stroke};
use super::palette::Color;
use super::ticks::padded_range;

/// Pixels of a spectrum that fall on less than this width of the page are drawn as their lowest and their highest.
const FINEST: f64 = 0.5;

/// Pixels that a panel shows, and the wavelengths its frame spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// Pixels, `[start, end)`.
    pub pixels: Range<usize>,
    /// Wavelength at the left and the right edge.
    pub span: (f64, f64),
}

/// A section for each window of wavelengths that holds a pixel; without windows one for the known part of each chip.
pub fn sections(
    wavelength: &[f64],
    chips: &[Range<usize>],
    windows: &[(f64, f64)],
    is_known: impl Fn(usize) -> bool,
) -> Vec<Section> {
    if windows.is_empty() {
        let section = |pixels: Range<usize>| Section { span: span(wavelength, &pixels), pixels };
        return known(chips, is_known).into_iter().map(section).collect();
    }
    let section = |&(low, high): &(f64, f64)| {
        let inside = wavelength.partition_point(|at| *at < low)..wavelength.partition_point(|at| *at <= high);
        // One pixel more at either end, so that lines reach the frame.
        let pixels = inside.start.saturating_sub(1)..(inside.end + 1).min(wavelength.len());
        (low < high && !inside.is_empty() && inside.clone().any(&is_known))
            .then_some(Section { pixels, span: (low, high) })
    };
    windows.iter().filter_map(section).collect()
}

/// Each chip from its first to its last pixel that is known; a chip without any is left out.
pub fn known(chips: &[Range<usize>], is_known: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let ends = |chip: &Range<usize>| {
        let mut pixels = chip.clone().filter(|&pixel| is_known(pixel));
        let first = pixels.next()?;
        Some(first..pixels.next_back().unwrap_or(first) + 1)
    };
    chips.iter().filter_map(ends).collect()
}

/// Wavelength and value of some pixels; those beyond either array are left out.
pub(super) fn points(wavelength: &[f64], values: &[f64], pixels: Range<usize>) -> Vec<(f64, f64)> {
    pixels.filter_map(|pixel| Some((*wavelength.get(pixel)?, *values.get(pixel)?))).collect()
}

/// Draws some pixels of a spectrum as a line, as finely as the page shows it; values that are not finite interrupt it.
pub fn draw_spectrum(
    canvas: &mut Canvas,
    axes: &Axes,
    wavelength: &[f64],
    values: &[f64],
    pixels: Range<usize>,
    stroke: Stroke,
) {
    axes.line(canvas, &thinned(points(wavelength, values, pixels), axes), stroke);
}

/// The range of fluxes: the deepest line is in it; a few wild pixels, far above or below zero, do not stretch it.
pub fn flux_range(flux: impl Iterator<Item = f64>) -> (f64, f64) {
    let sorted = ascending(flux);
    let [low, high] = [0.001, 0.999].map(|fraction| quantile(&sorted, fraction));
    let deepest = sorted.first().map_or(f64::NAN, |lowest| lowest.max(low.min(0.0)));
    padded_range([deepest, high], 0.1)
}

/// On which sides values reach beyond the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cut {
    above: bool,
    below: bool,
}

impl Cut {
    /// Of values in a frame of this range.
    pub fn of(values: impl Iterator<Item = f64>, (low, high): (f64, f64)) -> Self {
        values.fold(Self::default(), |cut, value| cut.or(Self { above: value > high, below: value < low }))
    }

    /// Of these and others.
    pub fn or(self, other: Self) -> Self {
        Self { above: self.above || other.above, below: self.below || other.below }
    }

    /// What the legend says of the triangles of [`mark_cut`] in this colour: nothing where there are none.
    pub fn entries<'t>(self, color: Color) -> impl Iterator<Item = Entry<'t>> {
        let above = self.above.then_some(Entry::Symbol(Marker::Up, color, "reaches above the frame"));
        let below = self.below.then_some(Entry::Symbol(Marker::Down, color, "reaches below the frame"));
        above.into_iter().chain(below)
    }
}

/// Marks where a spectrum reaches beyond the frame: a triangle for each run of pixels that lie above or below it.
pub fn mark_cut(
    canvas: &mut Canvas,
    axes: &Axes,
    wavelength: &[f64],
    values: &[f64],
    pixels: Range<usize>,
    color: Color,
) {
    for sign in [-1.0, 1.0] {
        let edge = if sign < 0.0 { axes.y.0 } else { axes.y.1 };
        for run in runs(pixels.clone(), |pixel| sign * values[pixel] > sign * edge) {
            let farthest = run.max_by(|a, b| (sign * values[*a]).total_cmp(&(sign * values[*b])));
            if let Some(pixel) = farthest {
                axes.point_or_arrow(canvas, (wavelength[pixel], values[pixel]), Marker::Dot, 1.0, color);
            }
        }
    }
}

/// Draws the area between two spectra, cut at the frame.
pub(super) fn draw_between(
    canvas: &mut Canvas,
    axes: &Axes,
    wavelength: &[f64],
    [lower, upper]: [&[f64]; 2],
    pixels: Range<usize>,
    color: Color,
) {
    let frame = axes.frame;
    let cut = |(x, y): (f64, f64)| {
        let (x, y) = axes.place((x, y));
        (x.clamp(frame.left, frame.right()), y.clamp(frame.top, frame.bottom()))
    };
    let is_known = |pixel: usize| lower[pixel].is_finite() && upper[pixel].is_finite();
    for run in runs(pixels, is_known) {
        let edge = |values: &[f64]| thinned(points(wavelength, values, run.clone()), axes).into_iter().map(cut);
        let outline: Vec<(f64, f64)> = edge(upper).chain(edge(lower).rev()).collect();
        canvas.area(&outline, color);
    }
}

/// Of points that share a narrow column of the page the lowest and the highest, in their order; gaps stay.
fn thinned(points: Vec<(f64, f64)>, axes: &Axes) -> Vec<(f64, f64)> {
    let column = |point: &(f64, f64)| ((axes.place(*point).0 - axes.frame.left) / FINEST).floor();
    let belong_together = |a: &(f64, f64), b: &(f64, f64)| {
        a.1.is_finite() == b.1.is_finite() && (column(a) == column(b) || !a.1.is_finite())
    };
    let mut kept = Vec::new();
    for group in points.chunk_by(belong_together) {
        let by_height = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let (lowest, highest) = (group.iter().min_by(by_height), group.iter().max_by(by_height));
        let mut ends: Vec<(f64, f64)> = lowest.into_iter().chain(highest).copied().collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0));
        // One point is all there is to a gap.
        ends.dedup_by(|a, b| a == b || a.1.is_nan());
        kept.extend(ends);
    }
    kept
}

/// The wavelengths that a frame of these pixels spans, half a pixel more at either end.
pub(super) fn span(wavelength: &[f64], pixels: &Range<usize>) -> (f64, f64) {
    let (first, last) = (wavelength[pixels.start], wavelength[pixels.end - 1]);
    let step = (last - first) / (pixels.len().max(2) - 1) as f64;
    let half = if step > 0.0 { 0.5 * step } else { 0.5 };
    (first - half, last + half)
}

/// Runs of pixels for which something holds.
pub(super) fn runs(pixels: Range<usize>, holds: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for pixel in pixels.filter(|&pixel| holds(pixel)) {
        match runs.last_mut().filter(|run| run.end == pixel) {
            Some(run) => run.end += 1,
            None => runs.push(pixel..pixel + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::marks::Rect;
    use crate::plot::palette::{BLACK, BLUE};

    /// One unit of the page to one of wavelength.
    fn axes(width: f64) -> Axes {
        Axes { frame: Rect { left: 0.0, top: 0.0, width, height: 100.0 }, x: (0.0, 100.0), y: (-1.0, 1.0) }
    }

    #[test]
    fn a_fine_spectrum_keeps_its_extremes_and_its_gaps_and_a_coarse_one_everything() {
        let wave =
            |i: usize| (0.05 * i as f64, if (400..420).contains(&i) { f64::NAN } else { (i as f64 * 0.9).sin() });
        let points: Vec<(f64, f64)> = (0..2000).map(wave).collect();
        let thin = thinned(points.clone(), &axes(100.0));
        assert!(thin.len() <= 2 * 201 + 1, "{}", thin.len());
        assert!(thin.windows(2).all(|pair| pair[0].0 <= pair[1].0));
        assert_eq!(thin.iter().filter(|point| point.1.is_nan()).count(), 1);
        let highest = |points: &[(f64, f64)]| points.iter().map(|point| point.1).fold(f64::MIN, f64::max);
        assert_eq!(highest(&thin), highest(&points));
        let coarse = thinned(points.clone(), &axes(5000.0));
        assert_eq!(coarse.len(), points.len() - 19);
        assert!(thinned(Vec::new(), &axes(100.0)).is_empty());
    }

    #[test]
    fn the_deepest_line_is_in_the_range_and_what_is_not_is_marked() {
        let mut flux = vec![1.0; 8000];
        (flux[70], flux[500]) = (0.1, 9.0);
        let range = flux_range(flux.iter().copied());
        assert!(range.0 < 0.1 && range.1 < 2.0, "{range:?}");
        let cut = |flux: &[f64]| Cut::of(flux.iter().copied(), range);
        assert_eq!((cut(&flux), cut(&flux[..500])), (Cut { above: true, below: false }, Cut::default()));
        // No line is deeper than all the light; noise may be.
        flux[900] = -50.0;
        let range = flux_range(flux.iter().copied());
        assert!((-0.5..0.0).contains(&range.0), "{range:?}");
        let noise = (0..8000).map(|pixel| if pixel % 3 == 0 { -2.0 } else { 1.0 });
        assert!(flux_range(noise.chain([-90.0])).0 > -3.0);
        assert_eq!(flux_range(std::iter::empty()), (0.0, 1.0));

        let wavelength: Vec<f64> = (0..8000).map(|pixel| 0.0125 * f64::from(pixel)).collect();
        flux[501] = 8.0;
        let marks = |pixels: Range<usize>| {
            let figure = crate::plot::canvas::render("cut", (100.0, 100.0), |canvas| {
                let axes = Axes { y: range, ..axes(100.0) };
                mark_cut(canvas, &axes, &wavelength, &flux, pixels, BLACK);
            });
            // The page is one more.
            figure.expect("renders").svg.matches("<polygon").count() - 1
        };
        assert_eq!((marks(0..8000), marks(0..900), marks(0..400)), (2, 1, 0));
    }

    #[test]
    fn the_legend_shows_the_triangles_that_are_drawn() {
        let symbols = |values: &[f64]| -> Vec<(Marker, Color)> {
            let entries = Cut::of(values.iter().copied(), (0.0, 1.0)).entries(BLUE);
            entries
                .filter_map(|entry| if let Entry::Symbol(of, color, _) = entry { Some((of, color)) } else { None })
                .collect()
        };
        assert_eq!(symbols(&[0.5, 2.0]), [(Marker::Up, BLUE)]);
        assert_eq!(symbols(&[-0.5, 0.2]), [(Marker::Down, BLUE)]);
        assert_eq!(symbols(&[-0.5, 7.0]), [(Marker::Up, BLUE), (Marker::Down, BLUE)]);
        assert_eq!(symbols(&[0.5, f64::NAN]), []);
    }

    #[test]
    fn sections_are_windows_with_a_known_pixel_or_else_the_chips() {
        let wavelength: Vec<f64> = (0..100).map(f64::from).collect();
        let windows = [(10.0, 20.0), (30.2, 30.8), (20.0, 10.0), (60.0, 70.0), (f64::NAN, 3.0)];
        let found = sections(&wavelength, &[], &windows, |pixel| pixel < 50);
        assert_eq!(found, [Section { pixels: 9..22, span: (10.0, 20.0) }]);
        let chips = [0..10, 10..20];
        assert_eq!(sections(&wavelength, &chips, &[], |pixel| pixel == 4)[0].span, (3.5, 4.5));
    }

    #[test]
    fn chips_end_with_their_known_pixels() {
        let chips = [0..5, 5..9, 9..12];
        assert_eq!(known(&chips, |pixel| [1, 3, 9].contains(&pixel)), [1..4, 9..10]);
        assert!(known(&chips, |_| false).is_empty());
    }

    #[test]
    fn runs_are_as_long_as_they_can_be() {
        assert_eq!(runs(2..10, |pixel| ![4, 8, 9].contains(&pixel)), [2..4, 5..8]);
        assert!(runs(0..0, |_| true).is_empty());
        assert_eq!(span(&[10.0, 11.0, 12.0], &(0..3)), (9.5, 12.5));
        assert_eq!(span(&[10.0, 11.0, 12.0], &(1..2)), (10.5, 11.5));
        assert_eq!(points(&[1.0, 2.0], &[5.0], 0..2), [(1.0, 5.0)]);
    }
}
