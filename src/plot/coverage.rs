//! Coverage curves: how many stars lie within the central interval of each nominal probability.

use super::Figure;
use super::axes::{Axes, Titles};
use super::canvas::Canvas;
use super::expected::{BAND_LEVEL, binomial_band};
use super::grid::{PanelGrid, draw_heading, draw_reason};
use super::legend::{Entry, render_above_legend};
use super::marks::{Marker, Rect, Stroke};
use super::palette::{BAND, BLACK, kind};
use super::traces::MOST_NAMED;
use crate::error::{Error, Result};

/// What a coverage figure shows.
#[derive(Debug, Clone, Copy)]
pub struct CoverageData<'a> {
    /// Nominal probabilities of the central intervals, ascending in 0..=1.
    pub nominal: &'a [f64],
    /// Names of the kinds: models, or labels.
    pub kinds: &'a [String],
    /// One panel per label, or one for all.
    pub panels: &'a [CoveragePanel],
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// The curves of one panel.
#[derive(Debug, Clone)]
pub struct CoveragePanel {
    /// Above the panel, e.g. "Teff".
    pub title: String,
    /// Stars that the fractions are of: they make the width of the band.
    pub n_stars: usize,
    /// What is drawn.
    pub curves: Vec<CoverageCurve>,
}

/// One curve.
#[derive(Debug, Clone)]
pub struct CoverageCurve {
    /// Which of the kinds it shows, by index: its colour.
    pub kind: usize,
    /// Of calibrated errors (solid), or of formal ones (dashed).
    pub is_calibrated: bool,
    /// Fraction of the stars inside, one per nominal probability.
    pub fractions: Vec<f64>,
}

/// Between names and frames.
pub(super) const HEADING: f64 = 22.0;
const PANEL_GAP: f64 = 8.0;
/// Height of the lower panel in units of the upper one's.
const BELOW: f64 = 0.42;
/// Largest and smallest range of the lower panel.
const DIFFERENCES: (f64, f64) = (0.06, 0.35);
const EQUALITY: Stroke = Stroke::solid(BLACK, 0.8);

/// Draws the fractions, and below them what they exceed the nominal probabilities by, with the band in which fractions of
/// honest errors lie.
///
/// # Errors
/// [`Error::Figure`] without panels, or if a curve has not one fraction per nominal probability.
pub fn coverage(title: &str, data: &CoverageData) -> Result<Figure> {
    let fail = |detail: String| Err(Error::Figure { figure: "coverage".to_owned(), detail });
    if data.panels.is_empty() {
        return fail("no label to draw".to_owned());
    }
    let n = data.nominal.len();
    let lengths = |panel: &CoveragePanel| panel.curves.iter().map(|curve| curve.fractions.len()).find(|of| *of != n);
    if let Some((title, other)) = data.panels.iter().find_map(|panel| Some((&panel.title, lengths(panel)?))) {
        return fail(format!("{title}: {other} fractions for {n} nominal probabilities"));
    }
    let grid = PanelGrid::new(title, data.panels.len(), HEADING, |side| side + PANEL_GAP + BELOW * side);
    let curves = || data.panels.iter().flat_map(|panel| &panel.curves).map(|curve| (curve.kind, curve.is_calibrated));
    let band = band_words("fractions");
    let mut entries = kind_entries(data.kinds, curves());
    entries.push(Entry::Symbol(Marker::Square, BAND, &band));
    entries.extend((!data.remark.is_empty()).then_some(Entry::Words(data.remark)));
    render_above_legend("coverage", (grid.width, grid.height), entries, |canvas| {
        grid.draw_title(canvas, title);
        for (i, panel) in data.panels.iter().enumerate() {
            let upper = grid.frame(i, grid.side);
            draw_heading(canvas, upper, &panel.title, &format!("{} stars", panel.n_stars));
            let lower = Rect { top: upper.bottom() + PANEL_GAP, height: BELOW * grid.side, ..upper };
            draw_panel(canvas, data, panel, upper, lower);
        }
    })
}

fn draw_panel(canvas: &mut Canvas, data: &CoverageData, panel: &CoveragePanel, upper: Rect, lower: Rect) {
    // One step in the band per star at most, and fine enough for the page.
    let probabilities: Vec<f64> = (0..=100).map(|percent| f64::from(percent) / 100.0).collect();
    let bands: Vec<(f64, f64)> = probabilities
        .iter()
        .map(|&p| {
            let (low, high) = binomial_band(panel.n_stars, p);
            let of_all = |count: usize| count as f64 / panel.n_stars.max(1) as f64;
            (of_all(low), of_all(high))
        })
        .collect();
    let differences = |curve: &CoverageCurve| -> Vec<f64> {
        data.nominal.iter().zip(&curve.fractions).map(|(nominal, fraction)| fraction - nominal).collect()
    };
    let calibrated = panel.curves.iter().filter(|curve| curve.is_calibrated).flat_map(differences);
    let in_band = probabilities.iter().zip(&bands).map(|(p, band)| (band.1 - p).max(p - band.0));
    let largest = calibrated.map(f64::abs).chain(in_band).filter(|size| size.is_finite()).fold(0.0, f64::max);
    let reach = (1.25 * largest).clamp(DIFFERENCES.0, DIFFERENCES.1);
    let unit = (-0.02, 1.02);
    let panels =
        [(Axes { frame: upper, x: unit, y: unit }, 0.0), (Axes { frame: lower, x: unit, y: (-reach, reach) }, 1.0)];
    let has_values = panel.n_stars > 0 && panel.curves.iter().flat_map(|curve| &curve.fractions).any(|f| f.is_finite());
    for (axes, subtracted) in panels {
        if !has_values {
            draw_reason(canvas, axes.frame, "no stars");
            continue;
        }
        let clamped = |p: f64, value: f64| axes.place((p, value.clamp(axes.y.0, axes.y.1)));
        let lows = probabilities.iter().zip(&bands).map(|(&p, band)| clamped(p, band.0 - subtracted * p));
        let highs = probabilities.iter().zip(&bands).map(|(&p, band)| clamped(p, band.1 - subtracted * p));
        canvas.area(&lows.chain(highs.rev()).collect::<Vec<_>>(), BAND);
        axes.line(canvas, &[(0.0, 0.0), (1.0, 1.0 - subtracted)], EQUALITY);
        for curve in &panel.curves {
            let points = data.nominal.iter().zip(&curve.fractions);
            let points: Vec<(f64, f64)> = points.map(|(&p, fraction)| (p, fraction - subtracted * p)).collect();
            axes.line(canvas, &points, style(curve.kind, data.kinds.len(), curve.is_calibrated));
        }
    }
    panels[0].0.draw_frame(canvas, Titles { x: None, y: Some("fraction of stars") });
    panels[1].0.draw_frame(canvas, Titles { x: Some("nominal probability"), y: Some("\u{394}") });
}

/// How a curve of calibrated or formal errors is drawn.
pub(super) fn style(index: usize, n_kinds: usize, is_calibrated: bool) -> Stroke {
    let color = kind(index, n_kinds);
    if is_calibrated { Stroke::solid(color, 1.3) } else { Stroke::dashed(color, 1.2) }
}

/// What a band is.
pub(super) fn band_words(of: &str) -> String {
    format!("{:.0}% of {of} if errors are honest", 100.0 * BAND_LEVEL)
}

/// Lines of a legend for kinds, and for the two sorts of errors as far as curves, by kind and sort, show them.
pub(super) fn kind_entries(kinds: &[String], curves: impl Iterator<Item = (usize, bool)> + Clone) -> Vec<Entry<'_>> {
    let n = kinds.len();
    let line = |index: usize| Entry::Line(Stroke::solid(kind(index, n), 2.2), kinds[index].as_str());
    let mut entries = if n > 1 { Entry::of_kinds(n, MOST_NAMED, line) } else { Vec::new() };
    for (is_calibrated, words) in [(false, "formal errors"), (true, "calibrated errors")] {
        if curves.clone().any(|curve| curve.1 == is_calibrated) {
            let stroke = style(0, n, is_calibrated);
            let color = if n > 1 { BLACK } else { stroke.color };
            entries.push(Entry::Line(Stroke { color, ..stroke }, words));
        }
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOMINAL: [f64; 5] = [0.0, 0.25, 0.5, 0.75, 1.0];

    fn curve(kind: usize, is_calibrated: bool, fractions: [f64; 5]) -> CoverageCurve {
        CoverageCurve { kind, is_calibrated, fractions: fractions.to_vec() }
    }

    fn panel(n_stars: usize) -> CoveragePanel {
        let curves = vec![
            curve(0, false, [0.0, 0.03, 0.08, 0.15, 1.0]),
            curve(0, true, [0.0, 0.26, 0.49, 0.76, 1.0]),
            curve(1, false, [0.0, 0.2, 0.4, 0.6, 1.0]),
        ];
        CoveragePanel { title: "Teff".into(), n_stars, curves }
    }

    fn draw(kinds: &[String], panels: &[CoveragePanel]) -> Result<Figure> {
        coverage("coverage", &CoverageData { nominal: &NOMINAL, kinds, panels, remark: "lab-mock" })
    }

    #[test]
    fn every_curve_is_drawn_twice_over_a_band() {
        let kinds = ["cannon", "cnn"].map(String::from);
        for n in 1..=5 {
            let svg = draw(&kinds, &vec![panel(940); n]).expect("draws").svg;
            // The page and the legend's square; in either of a panel's frames the band.
            assert_eq!(svg.matches("<polygon").count(), 2 + 2 * n);
            for words in
                ["cannon", "cnn", "formal errors", "calibrated errors", "940 stars", "lab-mock", "95% of fractions"]
            {
                assert!(svg.contains(words), "{words}");
            }
        }
        // In two frames one solid calibrated curve, and the legend's sample.
        let svg = draw(&kinds[..1], &[panel(940)]).expect("draws").svg;
        assert_eq!(svg.matches("stroke-width=\"13\"").count(), 2 + 1);
    }

    #[test]
    fn missing_stars_gaps_and_uneven_curves_are_told() {
        let kinds = ["cannon".to_string()];
        assert_eq!(draw(&kinds, &[panel(0)]).expect("draws").svg.matches("no stars").count(), 2);
        let mut gap = panel(10);
        gap.curves[1].fractions[2] = f64::NAN;
        assert!(!draw(&kinds, &[gap]).expect("draws").svg.contains("NaN"));
        let mut short = panel(10);
        short.curves[0].fractions.pop();
        assert!(draw(&kinds, &[short]).is_err() && draw(&kinds, &[]).is_err());
    }
}
