//! A legend along the foot of a figure: samples of its marks with their meanings, centred, in as many lines as they need.

use super::Figure;
use super::canvas::{Canvas, render};
use super::marks::{Lettering, Level, Marker, Stroke};
use super::palette::Color;
use crate::error::Result;

const LETTERS: Lettering = Lettering::new(8.5);
const LINE_HEIGHT: f64 = 14.0;
const SPACE: f64 = 16.0;

/// A sample of a mark, and its meaning.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'t> {
    /// A symbol in its colour.
    Symbol(Marker, Color, &'t str),
    /// A line.
    Line(Stroke, &'t str),
    /// A line on its casing.
    Cased(Stroke, &'t str),
    /// A line through a symbol.
    Track(Stroke, Marker, &'t str),
    /// A remark without a sample.
    Words(&'t str),
}

impl<'t> Entry<'t> {
    /// An entry for each of so many kinds; of more than `most_named` only the first and the last.
    pub(super) fn of_kinds(n_kinds: usize, most_named: usize, entry: impl Fn(usize) -> Self) -> Vec<Self> {
        match n_kinds {
            n if n <= most_named => (0..n).map(entry).collect(),
            n => vec![entry(0), Self::Words("..."), entry(n - 1)],
        }
    }

    fn words(&self) -> &'t str {
        match self {
            Self::Symbol(_, _, words)
            | Self::Line(_, words)
            | Self::Cased(_, words)
            | Self::Track(_, _, words)
            | Self::Words(words) => words,
        }
    }

    fn sample_width(&self) -> f64 {
        match self {
            Self::Symbol(..) => 9.0,
            Self::Line(..) | Self::Cased(..) | Self::Track(..) => 22.0,
            Self::Words(_) => 0.0,
        }
    }

    fn width(&self) -> f64 {
        self.sample_width() + LETTERS.width_of(self.words())
    }

    fn draw(&self, canvas: &mut Canvas, (x, y): (f64, f64)) {
        match *self {
            Self::Symbol(marker, color, _) => canvas.marker((x + 3.0, y), marker, 2.2, color),
            Self::Line(stroke, _) => canvas.line(&[(x, y), (x + 18.0, y)], stroke),
            Self::Cased(stroke, _) => {
                for stroke in [stroke.casing(), stroke] {
                    canvas.line(&[(x, y), (x + 18.0, y)], stroke);
                }
            }
            Self::Track(stroke, marker, _) => {
                canvas.line(&[(x, y), (x + 18.0, y)], stroke);
                canvas.on_white((x + 9.0, y), marker, 2.4, stroke.color);
            }
            Self::Words(_) => (),
        }
        canvas.text((x + self.sample_width(), y), self.words(), Lettering { level: Level::Middle, ..LETTERS });
    }
}

/// Entries set in lines.
#[derive(Debug, Clone)]
pub struct Legend<'t> {
    lines: Vec<Vec<Entry<'t>>>,
}

impl<'t> Legend<'t> {
    /// Sets entries in lines no wider than `width`, unless a single one is.
    pub fn new(entries: Vec<Entry<'t>>, width: f64) -> Self {
        let mut lines: Vec<Vec<Entry>> = Vec::new();
        let mut used = f64::INFINITY;
        for entry in entries {
            if used + entry.width() > width {
                lines.push(Vec::new());
                used = 0.0;
            }
            used += entry.width() + SPACE;
            lines.last_mut().expect("the first entry begins a line").push(entry);
        }
        Self { lines }
    }

    /// The room it takes.
    pub fn height(&self) -> f64 {
        LINE_HEIGHT * self.lines.len() as f64
    }

    /// Draws it below a point, centred on it.
    pub fn draw(&self, canvas: &mut Canvas, (middle, top): (f64, f64)) {
        for (i, line) in self.lines.iter().enumerate() {
            let total = line.iter().map(Entry::width).sum::<f64>() + SPACE * line.len().saturating_sub(1) as f64;
            let mut x = middle - total / 2.0;
            let y = top + LINE_HEIGHT * (i as f64 + 0.5);
            for entry in line {
                entry.draw(canvas, (x, y));
                x += entry.width() + SPACE;
            }
        }
    }
}

/// A figure of this width, drawn by a routine in this height, with a legend along its foot.
///
/// # Errors
/// As [`render`].
pub(super) fn render_above_legend(
    name: &str,
    (width, height): (f64, f64),
    entries: Vec<Entry>,
    draw: impl FnOnce(&mut Canvas),
) -> Result<Figure> {
    let legend = Legend::new(entries, width - 20.0);
    let page = height + legend.height() + 6.0;
    render(name, (width, page), |canvas| {
        draw(canvas);
        legend.draw(canvas, (width / 2.0, page - legend.height() - 3.0));
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_wrap_when_a_line_is_full() {
        let entries = vec![Entry::Words("a long remark about the stars"); 5];
        assert_eq!(Legend::new(entries.clone(), 1e6).lines.len(), 1);
        assert_eq!(Legend::new(entries.clone(), 10.0).lines.len(), 5);
        assert!(Legend::new(entries, 340.0).height() > LINE_HEIGHT);
        assert_eq!(Legend::new(Vec::new(), 340.0).height(), 0.0);
    }
}
