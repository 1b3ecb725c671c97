//! Values with their intervals, one row per model, in one panel per quantity: who is better, and is it certain?

use super::axes::{Axes, BOTTOM_MARGIN, Marks, Titles};
use super::canvas::Canvas;
use super::grid::{draw_reason, draw_title};
use super::legend::{Entry, render_above_legend};
use super::marks::{Anchor, Lettering, Level, Marker, Rect, Stroke};
use super::palette::{BLACK, GREY, kind};
use super::scale::Scale;
use super::ticks::padded_range;
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// A value and the interval it lies in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// The value; one that is not finite is left out.
    pub value: f64,
    /// Lower and upper end of its interval.
    pub interval: (f64, f64),
}

/// One quantity.
#[derive(Debug, Clone)]
pub struct ForestPanel {
    /// Title of its axis.
    pub title: String,
    /// For each row a value in either style; the second may be absent.
    pub rows: Vec<(Bar, Option<Bar>)>,
}

/// What the panels share.
#[derive(Debug, Clone, Copy)]
pub struct ForestFigure<'a> {
    /// Above the panels.
    pub title: &'a str,
    /// Names of the rows.
    pub names: &'a [String],
    /// Which of how many colours each row has.
    pub colors: (&'a [usize], usize),
    /// Names of the two styles; an empty one is not in use.
    pub styles: [&'a str; 2],
    /// Where a line goes through each panel: at zero, or at the smallest value of the first style.
    pub is_about_zero: bool,
    /// Last words of the legend.
    pub remark: &'a str,
}

const ROW_HEIGHT: f64 = 25.0;
/// Between a row's middle and either style.
const ASIDE: f64 = 4.6;
const TOP_MARGIN: f64 = 8.0;
const GAP: f64 = 20.0;
const WIDEST_NAME: f64 = 150.0;
const NAMES: Lettering = Lettering::new(9.5);
const REFERENCE: Stroke = Stroke::dashed(GREY, 0.8);

/// Draws the panels. Numbers of very different size make an axis logarithmic.
///
/// # Errors
/// [`Error::Figure`] without panels or rows, or if there are more than fit on a page.
pub fn forest(figure: &ForestFigure, panels: &[ForestPanel]) -> Result<Figure> {
    if panels.is_empty() || figure.names.is_empty() {
        return Err(Error::Figure { figure: "forest".to_owned(), detail: "nothing to draw".to_owned() });
    }
    let names = figure.names.iter().map(|name| NAMES.width_of(name)).fold(0.0, f64::max).min(WIDEST_NAME) + 14.0;
    let columns = if panels.len() == 4 { 2 } else { panels.len().min(3) };
    let width = PAGE_WIDTH;
    let side = (width - names - 12.0 - GAP * (columns - 1) as f64) / columns as f64;
    let height = ROW_HEIGHT * figure.names.len() as f64 + 8.0;
    let cell_height = TOP_MARGIN + height + BOTTOM_MARGIN;
    let title_height = if figure.title.trim().is_empty() { 0.0 } else { 22.0 };
    let n_lines = panels.len().div_ceil(columns);
    let page = title_height + cell_height * n_lines as f64;
    render_above_legend("forest", (width, page), entries(figure), |canvas| {
        draw_title(canvas, figure.title, width);
        for (i, panel) in panels.iter().enumerate() {
            let left = names + (i % columns) as f64 * (side + GAP);
            let top = title_height + (i / columns) as f64 * cell_height + TOP_MARGIN;
            let frame = Rect { left, top, width: side, height };
            draw_panel(canvas, figure, panel, frame);
            if i % columns == 0 {
                draw_names(canvas, figure, frame);
            }
        }
    })
}

/// Height of a row's middle.
fn middle(frame: Rect, row: usize) -> f64 {
    frame.top + 4.0 + ROW_HEIGHT * (row as f64 + 0.5)
}

fn draw_names(canvas: &mut Canvas, figure: &ForestFigure, frame: Rect) {
    for (row, name) in figure.names.iter().enumerate() {
        let color = kind(figure.colors.0.get(row).copied().unwrap_or(row), figure.colors.1);
        let at = (frame.left - 8.0, middle(frame, row));
        let letters =
            Lettering { anchor: Anchor::End, level: Level::Middle, color: color.towards(BLACK, 0.35), ..NAMES };
        canvas.text(at, name, letters.fitted(name, WIDEST_NAME));
    }
}

fn draw_panel(canvas: &mut Canvas, figure: &ForestFigure, panel: &ForestPanel, frame: Rect) {
    let bars = || panel.rows.iter().flat_map(|(first, second)| std::iter::once(first).chain(second));
    let known = || bars().filter(|bar| bar.value.is_finite());
    let scale = if figure.is_about_zero { Scale::Linear } else { Scale::of(known().map(|bar| bar.value)) };
    let zero = figure.is_about_zero.then_some(0.0);
    let ends = known().flat_map(|bar| [bar.value, bar.interval.0, bar.interval.1]).chain(zero);
    let axes = Axes { frame, x: padded_range(ends.map(|value| scale.place(value)), 0.06), y: (0.0, 1.0) };
    let x_of = |value: f64| {
        let x = axes.place((scale.place(value), 0.0)).0;
        if x.is_nan() { frame.left } else { x.clamp(frame.left, frame.right()) }
    };
    for row in 1..panel.rows.len() {
        let y = middle(frame, row) - ROW_HEIGHT / 2.0;
        canvas.line(&[(frame.left, y), (frame.right(), y)], Stroke::solid(GREY.faded(0.15), 0.6));
    }
    let smallest = panel.rows.iter().map(|(first, _)| first.value).fold(f64::NAN, f64::min);
    let reference = zero.unwrap_or(smallest);
    if reference.is_finite() {
        canvas.line(&[(x_of(reference), frame.top), (x_of(reference), frame.bottom())], REFERENCE);
    }
    for (row, (first, second)) in panel.rows.iter().enumerate() {
        let color = kind(figure.colors.0.get(row).copied().unwrap_or(row), figure.colors.1);
        let aside = if second.is_some() { ASIDE } else { 0.0 };
        let styles = [(Some(first), -aside, Marker::Dot, 1.6), (second.as_ref(), aside, Marker::Ring, 0.9)];
        for (bar, aside, marker, width) in styles {
            let Some(bar) = bar.filter(|bar| bar.value.is_finite()) else { continue };
            let y = middle(frame, row) + aside;
            if bar.interval.0.is_finite() && bar.interval.1.is_finite() {
                let (low, high) = (x_of(bar.interval.0), x_of(bar.interval.1));
                canvas.line(&[(low, y), (high, y)], Stroke::solid(color, width));
                for x in [low, high] {
                    canvas.line(&[(x, y - 2.4), (x, y + 2.4)], Stroke::solid(color, 0.9));
                }
            }
            canvas.on_white((x_of(bar.value), y), marker, 3.0, color);
        }
    }
    if known().next().is_none() {
        draw_reason(canvas, frame, "no values");
    }
    // Labels of panels side by side would run into each other.
    let x_marks = axes.x_labels_within(axes.x_marks(scale.marks(axes.x)), GAP / 2.0 - 1.5);
    axes.draw_frame_with(canvas, Titles { x: Some(&panel.title), y: None }, &x_marks, &Marks::default());
}

fn entries<'a>(figure: &ForestFigure<'a>) -> Vec<Entry<'a>> {
    let styles = [(Marker::Dot, 1.6), (Marker::Ring, 0.9)].into_iter().zip(figure.styles);
    let mut entries: Vec<Entry> = styles
        .filter(|(_, words)| !words.is_empty())
        .map(|((marker, width), words)| Entry::Track(Stroke::solid(BLACK, width), marker, words))
        .collect();
    if !figure.is_about_zero {
        entries.push(Entry::Line(REFERENCE, "smallest"));
    }
    entries.push(Entry::Words(figure.remark));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(names: &[String], is_about_zero: bool) -> ForestFigure<'_> {
        ForestFigure {
            title: "scatter",
            names,
            colors: (&[0, 1], 2),
            styles: ["robust", "standard deviation"],
            is_about_zero,
            remark: "bars: intervals",
        }
    }

    fn bar(value: f64) -> Bar {
        Bar { value, interval: (0.9 * value, 1.2 * value) }
    }

    #[test]
    fn every_row_has_its_name_its_marks_and_its_bars() {
        let names = ["linear", "quadratic & more"].map(String::from);
        let rows = vec![(bar(30.0), Some(bar(40.0))), (bar(20.0), Some(bar(35.0)))];
        let panel = |title: &str| ForestPanel { title: title.into(), rows: rows.clone() };
        for n_panels in 1..=5 {
            let panels: Vec<ForestPanel> = ["a [K]", "b", "c", "d", "e"][..n_panels].iter().map(|t| panel(t)).collect();
            let svg = forest(&figure(&names, false), &panels).expect("draws").svg;
            // A dot, and a white disc under a circle, in each row; and the legend's two.
            assert_eq!(svg.matches("<circle").count(), n_panels * 2 * 3 + 3);
            assert_eq!(
                svg.matches("quadratic &amp; more").count(),
                n_panels.div_ceil(if n_panels == 4 { 2 } else { 3 })
            );
            assert!(svg.contains("bars: intervals") && svg.contains("smallest"));
        }
    }

    #[test]
    fn no_label_reaches_into_the_panel_beside() {
        let names = ["linear", "quadratic"].map(String::from);
        // Its axis ends just right of 0.4, where a label would lie half outside.
        let ends = Bar { value: 0.1, interval: (0.1, 0.384) };
        let panel = ForestPanel { title: "log g".into(), rows: vec![(ends, None), (ends, None)] };
        let svg = forest(&figure(&names, false), &[panel.clone(), panel.clone(), panel]).expect("draws").svg;
        assert!(svg.contains(">\n0.35\n<") && !svg.contains(">\n0.40\n<"), "{svg}");
    }

    #[test]
    fn differences_stand_about_zero_and_unknown_values_are_left_out() {
        let names = ["linear", "empty"].map(String::from);
        let nothing = Bar { value: f64::NAN, interval: (f64::NAN, f64::NAN) };
        let wide = ForestPanel { title: "x".into(), rows: vec![(bar(-1e3), None), (nothing, None)] };
        let svg = forest(&figure(&names, true), &[wide]).expect("draws").svg;
        assert!(svg.matches("<circle").count() == 1 + 3 && !svg.contains("smallest"), "{svg}");
        let empty = ForestPanel { title: "x".into(), rows: vec![(nothing, Some(nothing))] };
        assert!(forest(&figure(&names[1..], false), &[empty]).expect("draws").svg.contains("no values"));
        assert!(forest(&figure(&names, false), &[]).is_err() && forest(&figure(&[], false), &[]).is_err());
    }
}
