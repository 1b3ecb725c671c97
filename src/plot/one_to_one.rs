//! Estimated against catalogue labels, with residuals: the figure that judges a model.

use super::Figure;
use super::axes::{Axes, Titles};
use super::canvas::{Canvas, render};
use super::caption::draw_caption;
use super::counts::{HIGHLIGHTED_CELL, draw_counts};
use super::grid::{PanelGrid, draw_reason};
use super::legend::{Entry, Legend};
use super::marks::{Marker, Rect, Stroke};
use super::palette::{BLACK, BLUE, GREY, VERMILLION, depth};
use super::sample::Sample;
use crate::error::{Error, Result};

pub use super::sample::OneToOnePanel;

/// What is drawn against what.
#[derive(Debug, Clone, Copy)]
pub struct Sides<'a> {
    /// Along the horizontal axis: `catalogue` of a panel's data.
    pub x: &'a str,
    /// Along the vertical axis: `estimate` of a panel's data.
    pub y: &'a str,
    /// What stars are that are set apart.
    pub highlighted: &'a str,
}

/// Circles in a whole figure before its panels show counts per cell instead, and cells then: keeps the SVG within 3 MB.
const MOST_MARKS: usize = 24_000;
/// Stars of one panel that are still told apart as circles.
const MOST_STARS: usize = 5_000;
/// Smallest side of a cell of counts [1/96 inch].
const SMALLEST_CELL: f64 = 2.5;

const TOP_MARGIN: f64 = 10.0;
const PANEL_GAP: f64 = 9.0;
const REFERENCE: Stroke = Stroke::solid(BLACK, 0.9);
const SCATTER: Stroke = Stroke::dashed(VERMILLION, 1.0);

/// Draws estimate against catalogue, and the residual below it, for each label: [`against`] with these sides.
///
/// # Errors
/// Those of [`against`].
pub fn one_to_one(title: &str, panels: &[OneToOnePanel]) -> Result<Figure> {
    against(title, Sides { x: "catalogue", y: "estimate", highlighted: "flagged" }, panels)
}

/// Draws one quantity against another, and their difference below it, for each label.
///
/// Stars outside the range of a panel are triangles on its edge; a panel with too many stars for symbols shows counts per cell.
///
/// # Errors
/// [`Error::Figure`] without labels, or if the columns of a label differ in length.
pub fn against(title: &str, sides: Sides, panels: &[OneToOnePanel]) -> Result<Figure> {
    let fail = |detail: String| Error::Figure { figure: "one-to-one".to_owned(), detail };
    if panels.is_empty() {
        return Err(fail("no label to draw".to_owned()));
    }
    for panel in panels {
        let lengths = [panel.catalogue.len(), panel.estimate.len(), panel.highlighted.len()];
        if lengths.iter().any(|&length| length != lengths[0]) {
            return Err(fail(format!("{}: columns of different lengths {lengths:?}", panel.name)));
        }
    }
    let heights = |side: f64| (side, 0.42 * side);
    let grid = PanelGrid::new(title, panels.len(), TOP_MARGIN, |side| heights(side).0 + PANEL_GAP + heights(side).1);
    let (side, residual_height) = heights(grid.side);
    let area = side * (side + residual_height) * panels.len() as f64;
    let count_cell = SMALLEST_CELL.max((area / MOST_MARKS as f64).sqrt());
    let budget = (MOST_MARKS / (2 * panels.len())).min(MOST_STARS);
    let labels: Vec<Sample> = panels.iter().map(|panel| Sample::new(panel, budget, count_cell)).collect();
    let words = [
        format!("\u{394} = {} \u{2212} {}", sides.y, sides.x),
        "\u{b1} standard deviation of all stars".to_owned(),
        format!("{} only", sides.highlighted),
    ];
    let legend = Legend::new(entries(&labels, &words, sides.highlighted), grid.width - 20.0);
    let height = grid.height + legend.height() + 4.0;

    render("one-to-one", (grid.width, height), |canvas| {
        grid.draw_title(canvas, title);
        for (i, label) in labels.iter().enumerate() {
            let upper = grid.frame(i, side);
            let lower = Rect { top: upper.bottom() + PANEL_GAP, height: residual_height, ..upper };
            label.draw(canvas, sides, upper, lower);
        }
        legend.draw(canvas, (grid.width / 2.0, height - legend.height() - 2.0));
    })
}

impl Sample<'_> {
    fn draw(&self, canvas: &mut Canvas, sides: Sides, upper: Rect, lower: Rect) {
        let unit = if self.panel.unit.is_empty() { String::new() } else { format!(" [{}]", self.panel.unit) };
        let above = Axes { frame: upper, x: self.range, y: self.range };
        let below = Axes { frame: lower, x: self.range, y: (-self.residual_range, self.residual_range) };
        let (low, high) = self.range;
        let across = |y: f64| [(low, y), (high, y)];

        let estimates: Vec<_> = self.stars.iter().map(|star| (star.catalogue, star.estimate)).collect();
        let residuals: Vec<_> = self.stars.iter().map(|star| (star.catalogue, star.residual())).collect();
        self.draw_stars(canvas, &above, &estimates);
        self.draw_stars(canvas, &below, &residuals);
        if !self.stars.is_empty() {
            above.line(canvas, &[(low, low), (high, high)], REFERENCE);
            below.line(canvas, &across(0.0), REFERENCE);
            for scatter in self.scatter.iter().flat_map(|&scatter| [-scatter, scatter]) {
                below.line(canvas, &across(scatter), SCATTER);
            }
        }
        self.draw_caption(canvas, &above, &estimates);

        let name = self.panel.name;
        let title = format!("{} {name}{unit}", sides.y);
        above.draw_frame(canvas, Titles { x: None, y: Some(&title) });
        let (x, y) = (format!("{} {name}{unit}", sides.x), format!("\u{394}{unit}"));
        below.draw_frame(canvas, Titles { x: Some(&x), y: Some(&y) });
    }

    fn draw_stars(&self, canvas: &mut Canvas, axes: &Axes, points: &[(f64, f64)]) {
        if let Some(cell) = self.cell {
            let highlighted: Vec<bool> = self.stars.iter().map(|star| star.highlighted).collect();
            return draw_counts(canvas, axes, points, &highlighted, cell);
        }
        let (radius, alpha) = match self.stars.len() {
            0..=300 => (2.0, 0.7),
            301..=1200 => (1.6, 0.5),
            _ => (1.3, 0.35),
        };
        for highlighted in [false, true] {
            let stars = self.stars.iter().zip(points).filter(|(star, _)| star.highlighted == highlighted);
            for (_, &at) in stars {
                let (marker, color) = if highlighted { (Marker::Ring, GREY) } else { (Marker::Dot, BLUE.faded(alpha)) };
                axes.point_or_arrow(canvas, at, marker, radius, color);
            }
        }
    }

    fn draw_caption(&self, canvas: &mut Canvas, axes: &Axes, points: &[(f64, f64)]) {
        let frame = axes.frame;
        if self.stars.is_empty() {
            return draw_reason(canvas, frame, "no stars");
        }
        let note = self.cell.map(|_| format!("{} stars", self.stars.len()));
        let parts = self.panel.caption.split(", ").chain(note.as_deref());
        let marks: Vec<_> = points.iter().map(|&at| axes.place(at)).collect();
        draw_caption(canvas, frame, &parts.collect::<Vec<_>>(), &marks);
    }
}

/// The marks that these labels use.
fn entries<'t>(
    labels: &[Sample],
    [difference, scatter, highlighted_only]: &'t [String; 3],
    highlighted: &'t str,
) -> Vec<Entry<'t>> {
    let any = |condition: &dyn Fn(&Sample) -> bool| labels.iter().any(condition);
    let has_flags = |label: &Sample| label.stars.iter().any(|star| star.highlighted);
    let candidates = [
        (true, Entry::Words(difference)),
        (true, Entry::Line(REFERENCE, "equality")),
        (any(&|label| label.scatter.is_some()), Entry::Line(SCATTER, scatter)),
        (any(&|label| label.cell.is_none() && has_flags(label)), Entry::Symbol(Marker::Ring, GREY, highlighted)),
        (any(&|label| label.cell.is_some()), Entry::Symbol(Marker::Square, depth(0.7), "darker: more stars (log)")),
        (
            any(&|label| label.cell.is_some() && has_flags(label)),
            Entry::Symbol(Marker::Square, HIGHLIGHTED_CELL, highlighted_only),
        ),
        (any(&|label| label.leaves_a_range()), Entry::Symbol(Marker::Up, BLUE, "beyond the range")),
    ];
    candidates.into_iter().filter(|(is_used, _)| *is_used).map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::testing::decoded;

    fn panel<'a>(catalogue: &'a [f64], estimate: &'a [f64], highlighted: &'a [bool]) -> OneToOnePanel<'a> {
        OneToOnePanel {
            name: "Teff",
            unit: "K",
            catalogue,
            estimate,
            highlighted,
            caption: "bias 0 K, scatter 1 K".to_owned(),
        }
    }

    /// Repeatable numbers spread over 0..1.
    fn spread(n: usize, factor: f64) -> Vec<f64> {
        (0..n).map(|i| (i as f64 * factor).fract()).collect()
    }

    #[test]
    fn every_label_is_named_in_the_svg_and_the_png_is_not_blank() {
        let catalogue = spread(200, 0.618_034);
        let estimate: Vec<f64> =
            catalogue.iter().zip(spread(200, 0.414_214)).map(|(a, b)| a + 0.1 * (b - 0.5)).collect();
        let flags: Vec<bool> = (0..200).map(|i| i % 10 == 0).collect();
        let names = ["Teff", "log g", "[Fe/H]", "[Mg/Fe]", "[Si/Fe]"];
        let panels = names.map(|name| OneToOnePanel { name, ..panel(&catalogue, &estimate, &flags) });
        for count in 1..=5 {
            let figure = one_to_one("Cannon & <friends>", &panels[..count]).expect("draws");
            assert!(figure.svg.starts_with("<svg") && figure.svg.trim_end().ends_with("</svg>"));
            for name in &names[..count] {
                assert!(figure.svg.contains(&format!("catalogue {name} [K]")), "{name}");
            }
            for words in ["Cannon &amp; &lt;friends&gt;", "scatter 1 K", "standard deviation of all stars"] {
                assert!(figure.svg.contains(words), "{words}");
            }
            let (pixels, _) = decoded(&figure.png().unwrap());
            let inked = pixels.iter().filter(|&&value| value < 128).count();
            assert!(inked > pixels.len() / 500 && inked < pixels.len() / 4);
        }
    }

    #[test]
    fn many_stars_are_counted_in_cells_and_the_svg_stays_small() {
        let (catalogue, estimate) = (spread(20_000, 0.618_034), spread(20_000, 0.414_214));
        let flags: Vec<bool> = (0..20_000).map(|i| i % 7 == 0).collect();
        let panels: Vec<OneToOnePanel> = (0..5).map(|_| panel(&catalogue, &estimate, &flags)).collect();
        for (count, shown) in [(1, 20_000), (5, 20_000), (1, MOST_STARS), (5, MOST_MARKS / 10)] {
            let some: Vec<OneToOnePanel> = panels[..count]
                .iter()
                .map(|panel| OneToOnePanel {
                    catalogue: &panel.catalogue[..shown],
                    estimate: &panel.estimate[..shown],
                    highlighted: &panel.highlighted[..shown],
                    ..panel.clone()
                })
                .collect();
            let figure = one_to_one("", &some).expect("draws");
            assert!(figure.svg.len() < 3_000_000, "{count} labels, {shown} stars: {} bytes", figure.svg.len());
            assert_eq!(figure.svg.contains("20000 stars"), shown == 20_000);
        }
    }

    #[test]
    fn degenerate_stars_are_drawn_or_left_out() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        let cases: [(&[f64], &[f64]); 9] = [
            (&[], &[]),
            (&[nan, inf], &[1.0, 2.0]),
            (&[4800.0], &[4850.0]),
            (&[0.0], &[0.0]),
            (&[5.0; 4], &[5.0; 4]),
            (&[f64::MAX, f64::MIN], &[f64::MIN, f64::MAX]),
            (&[1.0, 2.0, nan], &[2.0, -9999.0, 1.0]),
            (&[1e-300, 2e-300], &[1e-300, 3e-300]),
            (&[1e15, 1e15 + 1.0], &[1e15, 1e15 + 2.0]),
        ];
        for (catalogue, estimate) in cases {
            for flag in [false, true] {
                let flags = vec![flag; catalogue.len()];
                let figure = one_to_one("edge", &[panel(catalogue, estimate, &flags)]).expect("draws");
                let is_empty = !catalogue.iter().zip(estimate).any(|(a, b)| a.is_finite() && b.is_finite());
                assert_eq!(figure.svg.contains("no stars"), is_empty);
            }
        }
        assert!(one_to_one("none", &[]).is_err());
        assert!(one_to_one("uneven", &[panel(&[1.0], &[], &[])]).is_err());
    }
}
