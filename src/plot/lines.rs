//! Measured values with their intervals against what was varied, in one panel per quantity.

use super::Figure;
use super::axes::{Axes, Marks, SMALLEST_LETTERS, TICK_SIZE, Titles};
use super::canvas::Canvas;
use super::grid::{PanelGrid, draw_reason};
use super::legend::{Entry, render_above_legend};
use super::marks::{Lettering, Marker, Rect, Stroke};
use super::palette::{BLACK, BLUE, Color, GREY, kind};
use super::scale::Scale;
use super::ticks::padded_range;
use crate::error::{Error, Result};

/// A measured value and the interval it lies in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// What was varied: a number, or the index of a category.
    pub x: f64,
    /// The value; one that is not finite leaves a gap in its curve.
    pub value: f64,
    /// Lower and upper end of its interval.
    pub interval: (f64, f64),
}

/// Values joined by a line.
#[derive(Debug, Clone)]
pub struct Curve {
    /// Which of the figure's kinds it shows, by index: its colour.
    pub kind: usize,
    /// Which of the figure's two styles it has: solid with dots, or dashed with circles.
    pub is_second: bool,
    /// Its values, in the order in which they are joined.
    pub points: Vec<Measured>,
}

/// One quantity.
#[derive(Debug, Clone)]
pub struct LinePanel {
    /// Title of the vertical axis.
    pub title: String,
    /// What is drawn.
    pub curves: Vec<Curve>,
}

/// What the panels share.
#[derive(Debug, Clone, Copy)]
pub struct LineFigure<'a> {
    /// Above the panels.
    pub title: &'a str,
    /// Title of every horizontal axis.
    pub x_title: &'a str,
    /// Names of x = 0, 1, ...; none where x is a number.
    pub categories: &'a [String],
    /// Names of the kinds.
    pub kinds: &'a [String],
    /// Whether ticks stand at the values of x themselves, where these have room.
    pub ticks_at_values: bool,
    /// Names of the two styles; an empty one is not in use.
    pub styles: [&'a str; 2],
    /// Last words of the legend.
    pub remark: &'a str,
}

/// More kinds than this are drawn smaller.
const NOT_A_CROWD: usize = 4;
/// More kinds than this are not named one by one.
const MOST_NAMED: usize = 12;
const TOP_MARGIN: f64 = 10.0;
const ASPECT: f64 = 0.78;
/// What the legend says of [`step_aside`].
const ASIDE: &str = "points side by side belong to one value";
const ZERO: Stroke = Stroke::solid(GREY.faded(0.6), 0.8);

/// Draws the panels. Numbers of very different size make an axis logarithmic.
///
/// # Errors
/// [`Error::Figure`] without panels, or if there are more than fit on a page.
pub fn line_panels(figure: &LineFigure, panels: &[LinePanel]) -> Result<Figure> {
    draw(figure, panels, |panel| Scale::of(values(panel)))
}

/// As [`line_panels`], with vertical axes that are logarithmic wherever all values of a panel are positive: for what is to be read
/// as ratios.
///
/// # Errors
/// Those of [`line_panels`].
pub fn ratio_panels(figure: &LineFigure, panels: &[LinePanel]) -> Result<Figure> {
    let is_positive = |panel: &LinePanel| values(panel).all(|value| value > 0.0);
    draw(figure, panels, |panel| if is_positive(panel) { Scale::Log } else { Scale::Linear })
}

/// The values there are in a panel.
fn values(panel: &LinePanel) -> impl Iterator<Item = f64> {
    let points = panel.curves.iter().flat_map(|curve| &curve.points);
    points.map(|point| point.value).filter(|value| value.is_finite())
}

fn draw(figure: &LineFigure, panels: &[LinePanel], y_scale: impl Fn(&LinePanel) -> Scale) -> Result<Figure> {
    if panels.is_empty() {
        return Err(Error::Figure { figure: "lines".to_owned(), detail: "no quantity to draw".to_owned() });
    }
    let grid = PanelGrid::new(figure.title, panels.len(), TOP_MARGIN, |side| ASPECT * side);
    let is_aside = panels.iter().any(|panel| panel.curves.len() > 1);
    render_above_legend("lines", (grid.width, grid.height), entries(figure, is_aside), |canvas| {
        grid.draw_title(canvas, figure.title);
        for (i, panel) in panels.iter().enumerate() {
            draw_panel(canvas, figure, (panel, y_scale(panel)), grid.frame(i, ASPECT * grid.side));
        }
    })
}

fn draw_panel(canvas: &mut Canvas, figure: &LineFigure, (panel, y_scale): (&LinePanel, Scale), frame: Rect) {
    let points = || panel.curves.iter().flat_map(|curve| &curve.points).filter(|point| point.value.is_finite());
    let ends = points().flat_map(|point| [point.value, point.interval.0, point.interval.1]);
    let y = padded_range(ends.map(|value| y_scale.place(value)), 0.09);
    let (x_scale, x) = match figure.categories.len() {
        0 => {
            let scale = Scale::of(points().map(|point| point.x));
            (scale, padded_range(points().map(|point| scale.place(point.x)), 0.08))
        }
        n => (Scale::Linear, (-0.5, n as f64 - 0.5)),
    };
    let axes = Axes { frame, x, y };
    let n_curves = panel.curves.len();
    let step = step_aside(&axes, points().map(|point| x_scale.place(point.x)).collect(), n_curves);
    let crosses_zero = || points().any(|point| point.value < 0.0) && y.1 > 0.0;
    if y_scale == Scale::Linear && crosses_zero() {
        axes.line(canvas, &[(x.0, 0.0), (x.1, 0.0)], ZERO);
    }
    for (i, curve) in panel.curves.iter().enumerate() {
        let aside = (i as f64 - (n_curves as f64 - 1.0) / 2.0) * step;
        let place = |x: f64, value: f64| {
            let (x, y) = axes.place((x_scale.place(x), y_scale.place(value)));
            // An end without a logarithm, or far off, stops at the frame.
            (x + aside, if y.is_nan() { frame.bottom() } else { y.clamp(frame.top, frame.bottom()) })
        };
        draw_curve(canvas, curve, Looks::of(curve, figure.kinds.len()), place);
    }
    if points().next().is_none() {
        draw_reason(canvas, frame, "no values");
    }
    let x_marks = match figure.categories.len() {
        0 if figure.ticks_at_values => axes.x_marks(number_marks(points().map(|point| point.x).collect(), x_scale, x)),
        0 => axes.x_marks(x_scale.marks(x)),
        n => category_marks(figure.categories, frame.width / n as f64),
    };
    let y_marks = axes.y_marks(y_scale.marks(y));
    axes.draw_frame_with(canvas, Titles { x: Some(figure.x_title), y: Some(&panel.title) }, &x_marks, &y_marks);
}

/// How far curves stand beside each other, so that their bars do not stand on each other: a small part of the distance
/// between neighbouring values.
fn step_aside(axes: &Axes, mut x: Vec<f64>, n_curves: usize) -> f64 {
    x.sort_by(f64::total_cmp);
    x.dedup();
    let unit = axes.frame.width / (axes.x.1 - axes.x.0);
    let nearest = x.windows(2).map(|pair| unit * (pair[1] - pair[0])).fold(axes.frame.width, f64::min);
    (0.4 * nearest / n_curves as f64).min(2.6)
}

/// How a curve is drawn.
struct Looks {
    stroke: Stroke,
    marker: Marker,
    radius: f64,
    bar: Stroke,
    cap: f64,
}

impl Looks {
    fn of(curve: &Curve, n_kinds: usize) -> Self {
        let color = kind(curve.kind, n_kinds);
        let (stroke, marker) = style(curve.is_second, color);
        match n_kinds <= NOT_A_CROWD {
            true => Self { stroke, marker, radius: 2.5, bar: Stroke::solid(color, 0.8), cap: 2.2 },
            // In a crowd the bars step back.
            false => Self { stroke, marker, radius: 1.9, bar: Stroke::solid(color.faded(0.35), 0.8), cap: 0.0 },
        }
    }
}

fn draw_curve(canvas: &mut Canvas, curve: &Curve, looks: Looks, place: impl Fn(f64, f64) -> (f64, f64)) {
    for run in curve.points.split(|point| !point.value.is_finite()) {
        let line: Vec<(f64, f64)> = run.iter().map(|point| place(point.x, point.value)).collect();
        canvas.line(&line, looks.stroke);
    }
    for point in curve.points.iter().filter(|point| point.value.is_finite()) {
        let (low, high) = point.interval;
        if low.is_finite() && high.is_finite() {
            let ((x, bottom), (_, top)) = (place(point.x, low), place(point.x, high));
            canvas.line(&[(x, bottom), (x, top)], looks.bar);
            for y in [bottom, top].into_iter().filter(|_| looks.cap > 0.0) {
                canvas.line(&[(x - looks.cap, y), (x + looks.cap, y)], looks.bar);
            }
        }
        canvas.on_white(place(point.x, point.value), looks.marker, looks.radius, looks.stroke.color);
    }
}

fn style(is_second: bool, color: Color) -> (Stroke, Marker) {
    match is_second {
        false => (Stroke::solid(color, 1.3), Marker::Dot),
        true => (Stroke::dashed(color, 1.1), Marker::Ring),
    }
}

fn entries<'a>(figure: &LineFigure<'a>, is_aside: bool) -> Vec<Entry<'a>> {
    let kinds = figure.kinds;
    let line = |index: usize| Entry::Line(Stroke::solid(kind(index, kinds.len()), 2.2), kinds[index].as_str());
    let mut entries = if kinds.len() > 1 { Entry::of_kinds(kinds.len(), MOST_NAMED, line) } else { Vec::new() };
    let neutral = if kinds.len() > 1 { BLACK } else { BLUE };
    for (is_second, words) in [false, true].into_iter().zip(figure.styles).filter(|(_, words)| !words.is_empty()) {
        let (stroke, marker) = style(is_second, neutral);
        entries.push(Entry::Track(stroke, marker, words));
    }
    entries.push(Entry::Words(figure.remark));
    entries.extend(is_aside.then_some(Entry::Words(ASIDE)));
    entries
}

/// The values themselves as ticks if their labels have room, else round numbers.
fn number_marks(mut values: Vec<f64>, scale: Scale, range: (f64, f64)) -> Vec<Marks> {
    values.sort_by(f64::total_cmp);
    values.dedup();
    let label = |value: f64| format!("{value}").replace('-', "\u{2212}");
    let own = Marks { major: values.iter().map(|x| (scale.place(*x), label(*x))).collect(), minor: Vec::new() };
    std::iter::once(own).chain(scale.marks(range)).collect()
}

fn category_marks(names: &[String], room: f64) -> Marks {
    let letters = Lettering::new(SMALLEST_LETTERS * TICK_SIZE);
    let short = |name: &String| shortened(name, |text| letters.width_of(text) < room - letters.size);
    Marks { major: names.iter().enumerate().map(|(i, name)| (i as f64, short(name))).collect(), minor: Vec::new() }
}

/// A name that fits, or as much of its end as does: names of files and settings differ there.
fn shortened(name: &str, fits: impl Fn(&str) -> bool) -> String {
    if fits(name) {
        return name.to_owned();
    }
    let starts = name.char_indices().map(|(start, _)| start).skip(1);
    let endings = starts.map(|start| format!("\u{2026}{}", &name[start..]));
    endings.into_iter().find(|ending| fits(ending)).unwrap_or_else(|| "\u{2026}".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure<'a>(categories: &'a [String], kinds: &'a [String]) -> LineFigure<'a> {
        LineFigure {
            title: "sweep",
            x_title: "continuum.order",
            categories,
            kinds,
            ticks_at_values: true,
            styles: ["standard deviation", "robust"],
            remark: "bars: intervals",
        }
    }

    fn curve(kind: usize, is_second: bool, values: &[(f64, f64)]) -> Curve {
        let point = |&(x, value): &(f64, f64)| Measured { x, value, interval: (0.9 * value, 1.1 * value) };
        Curve { kind, is_second, points: values.iter().map(point).collect() }
    }

    #[test]
    fn every_value_has_its_mark_and_its_bar() {
        let kinds = ["linear", "quadratic"].map(String::from);
        let values = [(1.0, 40.0), (2.0, 30.0), (3.0, 35.0)];
        let panel = LinePanel {
            title: "scatter of Teff [K]".into(),
            curves: vec![curve(0, false, &values), curve(0, true, &values), curve(1, false, &values)],
        };
        let svg = line_panels(&figure(&[], &kinds), &[panel]).expect("draws").svg;
        // Nine values: a dot, or a white disc under a circle; and the legend's two samples.
        assert_eq!(svg.matches("<circle").count(), 6 + 2 * 3 + 3);
        for words in ["scatter of Teff [K]", "continuum.order", "linear", "quadratic", "robust", "bars: intervals"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(svg.contains(ASIDE));
        for tick in [">\n1\n<", ">\n2\n<", ">\n3\n<"] {
            assert!(svg.contains(tick), "{tick:?} in {svg}");
        }
    }

    #[test]
    fn a_gap_interrupts_a_curve_and_empty_panels_say_so() {
        let broken = [(1.0, 2.0), (2.0, 2.0), (3.0, f64::NAN), (4.0, 2.0), (5.0, 2.0)];
        let pieces = |values: &[(f64, f64)]| {
            let mut without_bars = curve(0, false, values);
            without_bars.points.iter_mut().for_each(|point| point.interval = (f64::NAN, f64::NAN));
            let panel = LinePanel { title: String::new(), curves: vec![without_bars] };
            let svg = line_panels(&figure(&[], &[]), &[panel]).expect("draws").svg;
            assert!(!svg.contains(ASIDE), "one curve has nothing to step aside from");
            (svg.matches("stroke-width=\"13\"").count(), svg.contains("no values"))
        };
        // One more in the legend.
        assert_eq!(pieces(&broken), (3, false));
        assert_eq!(pieces(&[(1.0, f64::NAN)]), (1, true));
        assert!(line_panels(&figure(&[], &[]), &[]).is_err());
    }

    #[test]
    fn wide_ranges_categories_and_many_kinds_are_drawn() {
        let names = ["shipped", "find", "a/very/long/path/to/continuum_pixels.csv"].map(String::from);
        let kinds: Vec<String> = (0..20).map(|kind| format!("kind {kind}")).collect();
        let curves = (0..20).map(|kind| curve(kind, false, &[(0.0, 0.001), (1.0, 5.0), (2.0, 1e4)])).collect();
        let panel = LinePanel { title: "scatter".into(), curves };
        let svg = line_panels(&figure(&names, &kinds), &[panel]).expect("draws").svg;
        assert!(svg.contains("find") && svg.contains('\u{2026}') && !svg.contains("a/very"), "{svg}");
        assert!(svg.contains("kind 0") && svg.contains("kind 19") && !svg.contains("kind 7"));
        let zero = curve(0, true, &[(0.0, 0.0), (1000.0, 0.0)]);
        assert!(line_panels(&figure(&[], &kinds), &[LinePanel { title: String::new(), curves: vec![zero] }]).is_ok());
    }

    #[test]
    fn ratios_are_told_on_logarithmic_axes_and_what_has_none_is_not() {
        let drawn = |lowest: f64| {
            let values = [(1.0, lowest), (2.0, 60.0), (3.0, 40.0)];
            let panel = LinePanel { title: String::new(), curves: vec![curve(0, false, &values)] };
            let of = |draw: fn(&LineFigure, &[LinePanel]) -> Result<Figure>| {
                draw(&figure(&[], &[]), std::slice::from_ref(&panel)).expect("draws").svg
            };
            (of(line_panels), of(ratio_panels))
        };
        // A factor of 12 is told by eye on either axis.
        let (linear, ratios) = drawn(5.0);
        assert!(linear.contains(">\n60\n<") && !ratios.contains(">\n60\n<") && ratios.contains(">\n50\n<"), "{ratios}");
        let (linear, ratios) = drawn(-5.0);
        assert_eq!(linear, ratios);
    }

    #[test]
    fn curves_stand_aside_by_less_than_their_values_lie_apart() {
        let frame = Rect { left: 0.0, top: 0.0, width: 100.0, height: 100.0 };
        let axes = Axes { frame, x: (0.0, 10.0), y: (0.0, 1.0) };
        assert_eq!(step_aside(&axes, vec![1.0, 2.0, 1.0], 4), 1.0);
        assert_eq!(step_aside(&axes, vec![1.0, 9.0], 2), 2.6);
        assert_eq!(step_aside(&axes, Vec::new(), 2), 2.6);
    }

    #[test]
    fn names_keep_their_end() {
        assert_eq!(shortened("data/mask.csv", |text| text.chars().count() <= 9), "\u{2026}mask.csv");
        assert_eq!(shortened("find", |_| true), "find");
        assert_eq!(shortened("find", |_| false), "\u{2026}");
    }
}
