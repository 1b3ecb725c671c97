//! Histograms of the probability integral transform: uniform where errors are honest.

use super::Figure;
use super::axes::{Axes, Titles};
use super::canvas::Canvas;
use super::coverage::{HEADING, band_words, kind_entries, style};
use super::draws::steps;
use super::expected::binomial_band;
use super::grid::{PanelGrid, draw_heading, draw_reason};
use super::legend::{Entry, render_above_legend};
use super::marks::{Marker, Rect, Stroke};
use super::palette::{BAND, BLACK, GREY};
use crate::error::{Error, Result};

/// What a figure of PIT histograms shows.
#[derive(Debug, Clone, Copy)]
pub struct PitData<'a> {
    /// Names of the kinds, e.g. of models.
    pub kinds: &'a [String],
    /// One panel per label.
    pub panels: &'a [PitPanel],
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// The histograms of one label.
#[derive(Debug, Clone)]
pub struct PitPanel {
    /// Above the panel, e.g. "Teff".
    pub title: String,
    /// What is drawn, all with the same number of bins.
    pub histograms: Vec<PitHistogram>,
}

/// One histogram.
#[derive(Debug, Clone)]
pub struct PitHistogram {
    /// Which of the kinds it shows, by index: its colour.
    pub kind: usize,
    /// Of calibrated errors (solid), or of formal ones (dashed).
    pub is_calibrated: bool,
    /// Stars in each of the equal bins of 0..=1.
    pub counts: Vec<usize>,
}

/// Higher bins than this many times the expected are triangles on the edge.
const HIGHEST: f64 = 3.0;
const ASPECT: f64 = 0.72;
const EXPECTED: Stroke = Stroke::solid(BLACK, 0.8);

/// Draws the figure, with the band in which bins of honest errors lie.
///
/// # Errors
/// [`Error::Figure`] without panels, or if the histograms of a panel have not the same number of bins.
pub fn pit_histograms(title: &str, data: &PitData) -> Result<Figure> {
    let fail = |detail: String| Err(Error::Figure { figure: "PIT histograms".to_owned(), detail });
    if data.panels.is_empty() {
        return fail("no label to draw".to_owned());
    }
    for panel in data.panels {
        let mut lengths = panel.histograms.iter().map(|histogram| histogram.counts.len());
        let first = lengths.next();
        if lengths.any(|length| Some(length) != first) {
            return fail(format!("{}: histograms with different numbers of bins", panel.title));
        }
    }
    let grid = PanelGrid::new(title, data.panels.len(), HEADING, |side| ASPECT * side);
    let histograms = || data.panels.iter().flat_map(|panel| &panel.histograms);
    let band = band_words("bins");
    let mut entries = kind_entries(data.kinds, histograms().map(|histogram| (histogram.kind, histogram.is_calibrated)));
    entries.push(Entry::Symbol(Marker::Square, BAND, &band));
    if histograms().flat_map(densities).any(|density| density > HIGHEST) {
        entries.push(Entry::Symbol(Marker::Up, GREY, "beyond the range"));
    }
    entries.extend((!data.remark.is_empty()).then_some(Entry::Words(data.remark)));
    render_above_legend("PIT histograms", (grid.width, grid.height), entries, |canvas| {
        grid.draw_title(canvas, title);
        for (i, panel) in data.panels.iter().enumerate() {
            draw_panel(canvas, data, panel, grid.frame(i, ASPECT * grid.side));
        }
    })
}

fn n_stars(histogram: &PitHistogram) -> usize {
    histogram.counts.iter().sum()
}

/// Counts in units of what a uniform distribution has in a bin.
fn densities(histogram: &PitHistogram) -> Vec<f64> {
    let expected = n_stars(histogram) as f64 / histogram.counts.len() as f64;
    histogram.counts.iter().map(|&count| if expected > 0.0 { count as f64 / expected } else { 0.0 }).collect()
}

fn draw_panel(canvas: &mut Canvas, data: &PitData, panel: &PitPanel, frame: Rect) {
    let (fewest, most) = panel
        .histograms
        .iter()
        .map(n_stars)
        .filter(|n| *n > 0)
        .fold((usize::MAX, 0), |(fewest, most), n| (fewest.min(n), most.max(n)));
    let remark = match most {
        0 => String::new(),
        n if n == fewest => format!("{n} stars"),
        n => format!("{fewest} to {n} stars"),
    };
    draw_heading(canvas, frame, &panel.title, &remark);
    let drawn: Vec<&PitHistogram> = panel.histograms.iter().filter(|histogram| n_stars(histogram) > 0).collect();
    let highest = drawn.iter().flat_map(|histogram| densities(histogram)).fold(1.6, f64::max).min(HIGHEST);
    let axes = Axes { frame, x: (0.0, 1.0), y: (0.0, 1.12 * highest) };
    if let Some(first) = drawn.first() {
        // Of the fewest stars: the widest.
        let n_bins = first.counts.len();
        let (low, high) = binomial_band(fewest, 1.0 / n_bins as f64);
        let relative = |count: usize| count as f64 * n_bins as f64 / fewest as f64;
        let (low, high) = (relative(low), relative(high).min(axes.y.1));
        canvas.area(&[(0.0, low), (1.0, low), (1.0, high), (0.0, high)].map(|corner| axes.place(corner)), BAND);
        axes.line(canvas, &[(0.0, 1.0), (1.0, 1.0)], EXPECTED);
    } else {
        draw_reason(canvas, frame, "no stars");
    }
    for histogram in drawn {
        let (heights, stroke) =
            (densities(histogram), style(histogram.kind, data.kinds.len(), histogram.is_calibrated));
        let outline = steps(&heights, axes.x);
        // Without the sides, which would stand on the frame's.
        axes.line(canvas, &outline[1..outline.len() - 1], stroke);
        for (bin, height) in heights.iter().enumerate().filter(|(_, height)| **height > axes.y.1) {
            let middle = (bin as f64 + 0.5) / heights.len() as f64;
            axes.point_or_arrow(canvas, (middle, *height), Marker::Dot, 1.0, stroke.color);
        }
    }
    axes.draw_frame(canvas, Titles { x: Some("PIT"), y: Some("stars / expected") });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn histogram(kind: usize, is_calibrated: bool, counts: &[usize]) -> PitHistogram {
        PitHistogram { kind, is_calibrated, counts: counts.to_vec() }
    }

    fn draw(kinds: &[String], histograms: Vec<PitHistogram>) -> Result<Figure> {
        let panels = [PitPanel { title: "log g".into(), histograms }];
        pit_histograms("PIT", &PitData { kinds, panels: &panels, remark: "" })
    }

    #[test]
    fn densities_are_relative_to_a_uniform_distribution() {
        assert_eq!(densities(&histogram(0, true, &[1, 2, 3, 2])), [0.5, 1.0, 1.5, 1.0]);
        assert_eq!(densities(&histogram(0, true, &[0, 0])), [0.0, 0.0]);
    }

    #[test]
    fn formal_and_calibrated_histograms_lie_over_one_band() {
        let kinds = ["cannon".to_string()];
        let histograms = vec![histogram(0, false, &[70, 20, 8, 4, 3, 5, 20, 70]), histogram(0, true, &[25; 8])];
        let svg = draw(&kinds, histograms).expect("draws").svg;
        for words in ["log g", "200 stars", "formal errors", "calibrated errors"] {
            assert!(svg.contains(words), "{words}");
        }
        // 70 / 25 is within the range.
        assert!(!svg.contains("beyond"));
        let wild = draw(&kinds, vec![histogram(0, false, &[90, 0, 0, 0, 0, 0, 0, 10])]).expect("draws").svg;
        // The page, the legend's square and triangle, the band, and the bin's triangle.
        assert!(wild.contains("beyond the range") && wild.matches("<polygon").count() == 5, "{wild}");
    }

    #[test]
    fn no_stars_are_told_and_uneven_bins_refused() {
        let kinds = ["cannon".to_string()];
        for histograms in [vec![], vec![histogram(0, true, &[0; 10])], vec![histogram(0, true, &[])]] {
            assert!(draw(&kinds, histograms).expect("draws").svg.contains("no stars"));
        }
        assert!(draw(&kinds, vec![histogram(0, true, &[1]), histogram(0, false, &[1, 2])]).is_err());
        assert!(pit_histograms("", &PitData { kinds: &kinds, panels: &[], remark: "" }).is_err());
        let uneven = draw(&kinds, vec![histogram(0, true, &[9, 1]), histogram(0, false, &[1, 2])]).expect("draws");
        assert!(uneven.svg.contains("3 to 10 stars"));
    }
}
