//! The vocabulary of the canvas: rectangles, strokes, symbols, letters; lengths in units of 1/96 inch.

use super::font::relative_text_width;
use super::palette::{BLACK, Color};

/// An upright rectangle on the page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub left: f64,
    /// Upper edge.
    pub top: f64,
    /// Extent to the right.
    pub width: f64,
    /// Extent downwards.
    pub height: f64,
}

impl Rect {
    /// The right edge.
    pub fn right(&self) -> f64 {
        self.left + self.width
    }

    /// The lower edge.
    pub fn bottom(&self) -> f64 {
        self.top + self.height
    }

    /// The same rectangle with its edges moved outwards.
    pub(super) fn grown(&self, margin: f64) -> Self {
        let Self { left, top, width, height } = *self;
        Self { left: left - margin, top: top - margin, width: width + 2.0 * margin, height: height + 2.0 * margin }
    }

    /// Whether a point lies inside or on the edge.
    pub fn contains(&self, (x, y): (f64, f64)) -> bool {
        (self.left..=self.right()).contains(&x) && (self.top..=self.bottom()).contains(&y)
    }
}

/// How a line is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Stroke {
    /// Its colour.
    pub color: Color,
    /// Its width.
    pub width: f64,
    /// Lengths of dash and gap; none for a solid line.
    pub dash: Option<(f64, f64)>,
}

impl Stroke {
    /// A solid line.
    pub const fn solid(color: Color, width: f64) -> Self {
        Self { color, width, dash: None }
    }

    /// A dashed line.
    pub const fn dashed(color: Color, width: f64) -> Self {
        Self { color, width, dash: Some((4.0, 2.5)) }
    }

    /// The wider dark line under a coloured one that sets it off from what it crosses.
    pub const fn casing(self) -> Self {
        Self { color: BLACK, width: self.width + 1.1, ..self }
    }
}

/// The symbol of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// A filled circle.
    Dot,
    /// An open circle.
    Ring,
    /// A filled square.
    Square,
    /// A filled square on its corner.
    Diamond,
    /// A filled triangle pointing up.
    Up,
    /// A filled triangle pointing down.
    Down,
    /// A filled triangle pointing left.
    Left,
    /// A filled triangle pointing right.
    Right,
}

/// Which end of a text its position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// Its beginning.
    Start,
    /// Half way.
    Middle,
    /// Its end.
    End,
}

/// Which height of a line of text its position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The line on which letters stand.
    Baseline,
    /// Half the height of a capital.
    Middle,
    /// The top of a capital.
    Top,
}

/// How a line of text is drawn.
#[derive(Debug, Clone, Copy)]
pub struct Lettering {
    /// Font size.
    pub size: f64,
    /// Colour.
    pub color: Color,
    /// Where along the text the position is.
    pub anchor: Anchor,
    /// Where across the text the position is.
    pub level: Level,
    /// Read from bottom to top.
    pub turned: bool,
    /// Bold face.
    pub bold: bool,
}

impl Lettering {
    /// Black upright letters of this size, starting at their position, on their baseline.
    pub const fn new(size: f64) -> Self {
        Self { size, color: BLACK, anchor: Anchor::Start, level: Level::Baseline, turned: false, bold: false }
    }

    /// The same letters, centred on their position along the text.
    pub const fn centred(self) -> Self {
        Self { anchor: Anchor::Middle, ..self }
    }

    /// Width of a text in these letters.
    pub fn width_of(&self, text: &str) -> f64 {
        self.size * relative_text_width(text, self.bold)
    }

    /// The same letters, smaller if the text would be wider than `width`, but still legible.
    pub fn fitted(self, text: &str, width: f64) -> Self {
        let natural = self.width_of(text);
        let factor = if natural > width { (width / natural).max(0.5) } else { 1.0 };
        Self { size: self.size * factor, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_set_smaller() {
        let letters = Lettering::new(10.0);
        let width = letters.width_of("catalogue [Mg/Fe] [dex]");
        assert!((90.0..180.0).contains(&width), "{width}");
        let fitted = letters.fitted("catalogue [Mg/Fe] [dex]", 0.8 * width);
        assert!((fitted.size - 8.0).abs() < 0.1);
        assert_eq!(letters.fitted("", 0.0).size, 10.0);
        assert_eq!(letters.fitted("Teff", 1000.0).size, 10.0);
    }

    #[test]
    fn a_rectangle_contains_its_edges() {
        let rect = Rect { left: 1.0, top: 2.0, width: 3.0, height: 4.0 };
        assert!(rect.contains((4.0, 6.0)) && !rect.contains((4.1, 6.0)) && !rect.contains((f64::NAN, 3.0)));
    }
}
