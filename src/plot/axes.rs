//! A framed panel: page positions of data, ticks and titles around it, and lines and points clipped to it.

use super::canvas::Canvas;
use super::marks::{Anchor, Lettering, Level, Marker, Rect, Stroke};
use super::palette::{BLACK, Color};
use super::ticks::Ticks;

/// Font size of tick labels.
pub const TICK_SIZE: f64 = 9.5;
/// Font size of axis titles.
pub const TITLE_SIZE: f64 = 10.5;
/// Room that tick labels and title need left of a frame.
pub const LEFT_MARGIN: f64 = 54.0;
/// Room that tick labels and title need below a frame.
pub const BOTTOM_MARGIN: f64 = 34.0;

/// Smallest letters of tick labels, as a fraction of [`TICK_SIZE`].
pub const SMALLEST_LETTERS: f64 = 0.75;

const LINE_WIDTH: f64 = 0.8;
const MAJOR_TICK: f64 = 5.0;
const MINOR_TICK: f64 = 2.5;
const LABEL_GAP: f64 = 4.0;

/// A panel of the page and the data ranges along its sides. A range given from high to low makes a reversed axis.
#[derive(Debug, Clone, Copy)]
pub struct Axes {
    /// The frame on the page.
    pub frame: Rect,
    /// Data values at the left and right edge.
    pub x: (f64, f64),
    /// Data values at the lower and upper edge.
    pub y: (f64, f64),
}

/// What is written along the sides of a panel.
#[derive(Debug, Clone, Copy, Default)]
pub struct Titles<'t> {
    /// Below the frame; without it the horizontal ticks have no labels either.
    pub x: Option<&'t str>,
    /// Left of the frame; without it the vertical ticks have no labels either.
    pub y: Option<&'t str>,
}

/// A name with its unit, if it has one.
pub(super) fn with_unit(name: &str, unit: &str) -> String {
    if unit.is_empty() { name.to_owned() } else { format!("{name} [{unit}]") }
}

/// Where an axis has ticks, in its own coordinates, and what is written at the long ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Marks {
    /// Long ticks with their labels, ascending.
    pub major: Vec<(f64, String)>,
    /// Short ticks.
    pub minor: Vec<f64>,
}

impl From<Ticks> for Marks {
    fn from(ticks: Ticks) -> Self {
        Self { major: ticks.major.iter().map(|&tick| (tick, ticks.label(tick))).collect(), minor: ticks.minor }
    }
}

impl Axes {
    /// Page position of a data point, inside the frame or not.
    pub fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let along = |value: f64, (from, to): (f64, f64)| (value - from) / (to - from);
        (
            self.frame.left + self.frame.width * along(x, self.x),
            self.frame.bottom() - self.frame.height * along(y, self.y),
        )
    }

    /// A line through data points, cut at the frame; points that are not finite interrupt it.
    pub fn line(&self, canvas: &mut Canvas, points: &[(f64, f64)], stroke: Stroke) {
        let mut run: Vec<(f64, f64)> = Vec::new();
        for pair in points.windows(2) {
            let visible = self.clipped(self.place(pair[0]), self.place(pair[1]));
            let continues = visible.is_some_and(|(from, _)| run.last() == Some(&from));
            if !continues {
                canvas.line(&run, stroke);
                run.clear();
                run.extend(visible.map(|(from, _)| from));
            }
            run.extend(visible.map(|(_, to)| to));
        }
        canvas.line(&run, stroke);
    }

    /// A symbol at a data point, if that lies in the frame. Says whether it does.
    pub fn point(&self, canvas: &mut Canvas, at: (f64, f64), marker: Marker, radius: f64, color: Color) -> bool {
        let position = self.place(at);
        let inside = self.frame.contains(position);
        if inside {
            canvas.marker(position, marker, radius, color);
        }
        inside
    }

    /// A symbol at a data point, or at the nearest edge of the frame a triangle that points to where it lies.
    pub fn point_or_arrow(&self, canvas: &mut Canvas, at: (f64, f64), marker: Marker, radius: f64, color: Color) {
        if self.point(canvas, at, marker, radius, color) {
            return;
        }
        let (x, y) = self.place(at);
        if x.is_nan() || y.is_nan() {
            return;
        }
        let (frame, r) = (self.frame, 2.2);
        let arrow = if y < frame.top {
            Marker::Up
        } else if y > frame.bottom() {
            Marker::Down
        } else if x < frame.left {
            Marker::Left
        } else {
            Marker::Right
        };
        let inset = r + 1.2;
        let x = x.max(frame.left + inset).min(frame.right() - inset);
        let y = y.max(frame.top + inset).min(frame.bottom() - inset);
        canvas.marker((x, y), arrow, r, color.faded(1.0));
    }

    /// The frame with inward ticks on all sides, and labels and titles where there are titles. Draw it after the data.
    pub fn draw_frame(&self, canvas: &mut Canvas, titles: Titles) {
        self.draw_frame_with(canvas, titles, &self.x_marks(linear(self.x)), &self.y_marks(linear(self.y)));
    }

    /// [`Axes::draw_frame`] with ticks of one's own along the horizontal and the vertical sides.
    pub fn draw_frame_with(&self, canvas: &mut Canvas, titles: Titles, x_marks: &Marks, y_marks: &Marks) {
        let (frame, thin) = (self.frame, Stroke::solid(BLACK, LINE_WIDTH));
        let letters = Lettering::new(TICK_SIZE);
        let positions = |marks: &Marks| marks.major.iter().map(|(tick, _)| *tick).collect::<Vec<f64>>();
        for (ticks, length) in [(positions(x_marks), MAJOR_TICK), (x_marks.minor.clone(), MINOR_TICK)] {
            for x in ticks.iter().map(|&tick| self.place((tick, self.y.0)).0) {
                canvas.line(&[(x, frame.bottom()), (x, frame.bottom() - length)], thin);
                canvas.line(&[(x, frame.top), (x, frame.top + length)], thin);
            }
        }
        for (ticks, length) in [(positions(y_marks), MAJOR_TICK), (y_marks.minor.clone(), MINOR_TICK)] {
            for y in ticks.iter().map(|&tick| self.place((self.x.0, tick)).1) {
                canvas.line(&[(frame.left, y), (frame.left + length, y)], thin);
                canvas.line(&[(frame.right(), y), (frame.right() - length, y)], thin);
            }
        }
        let (left, top, right, bottom) = (frame.left, frame.top, frame.right(), frame.bottom());
        let corner = (left - LINE_WIDTH / 2.0, top);
        canvas.line(&[corner, (right, top), (right, bottom), (left, bottom), (left, top)], thin);

        if let Some(title) = titles.x {
            let letters = self.letters_side_by_side(x_marks);
            for (tick, label) in &x_marks.major {
                let at = (self.place((*tick, self.y.0)).0, bottom + LABEL_GAP + 1.5);
                canvas.text(at, label, Lettering { level: Level::Top, ..letters.centred() });
            }
            let at = (left + frame.width / 2.0, bottom + LABEL_GAP + TICK_SIZE + 13.0);
            canvas.text(at, title, Lettering::new(TITLE_SIZE).centred().fitted(title, frame.width + 20.0));
        }
        if let Some(title) = titles.y {
            let room = LEFT_MARGIN - LABEL_GAP - TITLE_SIZE - 4.0;
            let letters = y_marks.major.iter().fold(letters, |letters, (_, label)| letters.fitted(label, room));
            for (tick, label) in &y_marks.major {
                let at = (left - LABEL_GAP, self.place((self.x.0, *tick)).1);
                canvas.text(at, label, Lettering { anchor: Anchor::End, level: Level::Middle, ..letters });
            }
            let at = (left - LEFT_MARGIN + TITLE_SIZE + 1.0, top + frame.height / 2.0);
            let letters = Lettering { turned: true, ..Lettering::new(TITLE_SIZE).centred() };
            canvas.text(at, title, letters.fitted(title, frame.height + 4.0));
        }
    }

    /// Letters small enough for labels side by side, but still legible.
    fn letters_side_by_side(&self, marks: &Marks) -> Lettering {
        let letters = Lettering::new(TICK_SIZE);
        let unit = self.frame.width / (self.x.1 - self.x.0).abs();
        let half = |label: &str| letters.width_of(label) / 2.0 + 0.35 * letters.size;
        let room = |pair: &[(f64, String)]| unit * (pair[1].0 - pair[0].0) / (half(&pair[0].1) + half(&pair[1].1));
        let tightest = marks.major.windows(2).map(room).fold(1.0, f64::min);
        Lettering { size: letters.size * tightest.max(SMALLEST_LETTERS), ..letters }
    }

    /// The first of the candidates whose labels have room side by side below the frame; the last if none.
    pub fn x_marks(&self, candidates: Vec<Marks>) -> Marks {
        let letters = Lettering::new(TICK_SIZE);
        let half = |label: &str| letters.width_of(label) / 2.0 + 0.35 * letters.size;
        first_with_room(candidates, self.x, self.frame.width, half)
    }

    /// The first of the candidates whose labels have room above each other beside the frame; the last if none.
    pub fn y_marks(&self, candidates: Vec<Marks>) -> Marks {
        first_with_room(candidates, self.y, self.frame.height, |_| 0.75 * TICK_SIZE)
    }

    /// Marks without those labels that would stick out of the frame by more than `room`, into the next panel's.
    pub fn x_labels_within(&self, marks: Marks, room: f64) -> Marks {
        let letters = self.letters_side_by_side(&marks);
        let reach = |label: &str| letters.width_of(label) / 2.0;
        self.labels_within(marks, |axes, tick, label| {
            let x = axes.place((tick, axes.y.0)).0;
            x - reach(label) >= axes.frame.left - room && x + reach(label) <= axes.frame.right() + room
        })
    }

    /// The same for the labels of panels above each other.
    pub fn y_labels_within(&self, marks: Marks, room: f64) -> Marks {
        self.labels_within(marks, |axes, tick, _| {
            let (y, reach) = (axes.place((axes.x.0, tick)).1, 0.4 * TICK_SIZE);
            y - reach >= axes.frame.top - room && y + reach <= axes.frame.bottom() + room
        })
    }

    fn labels_within(&self, marks: Marks, has_room: impl Fn(&Self, f64, &str) -> bool) -> Marks {
        let kept = |(tick, label): (f64, String)| {
            let label = if has_room(self, tick, &label) { label } else { String::new() };
            (tick, label)
        };
        Marks { major: marks.major.into_iter().map(kept).collect(), minor: marks.minor }
    }

    /// The part of a page segment inside the frame (Liang-Barsky clipping).
    fn clipped(&self, from: (f64, f64), to: (f64, f64)) -> Option<((f64, f64), (f64, f64))> {
        let (dx, dy) = (to.0 - from.0, to.1 - from.1);
        if ![from.0, from.1, dx, dy].iter().all(|value| value.is_finite()) {
            return None;
        }
        let (mut enter, mut leave) = (0.0f64, 1.0f64);
        for (speed, room) in [
            (-dx, from.0 - self.frame.left),
            (dx, self.frame.right() - from.0),
            (-dy, from.1 - self.frame.top),
            (dy, self.frame.bottom() - from.1),
        ] {
            if speed < 0.0 {
                enter = enter.max(room / speed);
            } else if speed > 0.0 {
                leave = leave.min(room / speed);
            } else if room < 0.0 {
                return None;
            }
        }
        let at = |t: f64| {
            if t == 0.0 {
                from
            } else if t == 1.0 {
                to
            } else {
                (from.0 + t * dx, from.1 + t * dy)
            }
        };
        (enter <= leave).then(|| (at(enter), at(leave)))
    }
}

/// Round ticks along a linear range, the densest first.
pub fn linear(range: (f64, f64)) -> Vec<Marks> {
    let mut all = Vec::new();
    for count in (1..=7).rev() {
        let (ticks, sparser) = (Ticks::new(range, count), Ticks::new(range, count - 1));
        let thinned = (ticks.major.len() > 2 && sparser.major.len() < 2).then(|| ticks.clone().thinned());
        all.push(ticks.into());
        all.extend(thinned.map(Marks::from));
    }
    all
}

/// The first marks along a side of this length whose labels, each taking `half` its room on either side, keep apart.
fn first_with_room(mut candidates: Vec<Marks>, range: (f64, f64), length: f64, half: impl Fn(&str) -> f64) -> Marks {
    let unit = length / (range.1 - range.0).abs();
    let keep_apart = |marks: &Marks| {
        let neighbours = marks.major.windows(2);
        neighbours.into_iter().all(|pair| unit * (pair[1].0 - pair[0].0) >= half(&pair[0].1) + half(&pair[1].1))
    };
    match candidates.iter().position(keep_apart) {
        Some(first) => candidates.swap_remove(first),
        None => candidates.pop().unwrap_or(Marks { major: Vec::new(), minor: Vec::new() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::canvas::render;

    const AXES: Axes =
        Axes { frame: Rect { left: 60.0, top: 10.0, width: 200.0, height: 100.0 }, x: (7000.0, 3000.0), y: (0.0, 5.0) };

    #[test]
    fn a_reversed_axis_places_high_values_left() {
        assert_eq!(AXES.place((7000.0, 0.0)), (60.0, 110.0));
        assert_eq!(AXES.place((3000.0, 5.0)), (260.0, 10.0));
    }

    #[test]
    fn segments_are_cut_at_the_frame() {
        let cut = AXES.clipped((0.0, 60.0), (1000.0, 60.0)).expect("it crosses the frame");
        assert_eq!(cut, ((60.0, 60.0), (260.0, 60.0)));
        assert_eq!(AXES.clipped((0.0, 0.0), (300.0, 5.0)), None);
        assert_eq!(AXES.clipped((f64::NAN, 0.0), (300.0, 5.0)), None);
        let inside = ((70.0, 20.0), (80.0, 30.0));
        assert_eq!(AXES.clipped(inside.0, inside.1), Some(inside));
    }

    #[test]
    fn a_line_with_gaps_is_drawn_in_pieces() {
        let figure = render("gaps", (300.0, 150.0), |canvas| {
            let points: Vec<(f64, f64)> =
                (0..9).map(|i| (3000.0 + 500.0 * f64::from(i), if i == 4 { f64::NAN } else { 2.0 })).collect();
            AXES.line(canvas, &points, Stroke::solid(BLACK, 1.0));
        });
        assert_eq!(figure.expect("renders").svg.matches("<polyline").count(), 2);
    }

    #[test]
    fn labels_at_the_ends_are_dropped_where_the_next_panel_begins() {
        let labels = |marks: Marks| marks.major.into_iter().map(|(_, label)| label).collect::<Vec<_>>();
        let marks = || Marks::from(Ticks::new(AXES.x, 4));
        assert_eq!(labels(AXES.x_labels_within(marks(), 50.0)), ["3000", "4000", "5000", "6000", "7000"]);
        assert_eq!(labels(AXES.x_labels_within(marks(), 3.0)), ["", "4000", "5000", "6000", ""]);
        let marks = Marks::from(Ticks::new(AXES.y, 5));
        assert_eq!(labels(AXES.y_labels_within(marks, 3.0)), ["", "1", "2", "3", "4", ""]);
    }

    #[test]
    fn a_point_far_away_becomes_an_arrow() {
        let figure = render("arrow", (300.0, 150.0), |canvas| {
            AXES.point_or_arrow(canvas, (5000.0, 1e300), Marker::Dot, 2.0, BLACK);
            AXES.point_or_arrow(canvas, (5000.0, f64::NAN), Marker::Dot, 2.0, BLACK);
            AXES.draw_frame(canvas, Titles { x: Some("Teff [K]"), y: Some("log g [dex]") });
        });
        let svg = figure.expect("renders").svg;
        assert!(!svg.contains("<circle") && svg.contains("log g [dex]"));
        assert_eq!(svg.matches("<polygon").count(), 2, "the page and one arrow");
    }
}
