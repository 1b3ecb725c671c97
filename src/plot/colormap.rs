//! A third quantity as colour: which colour a value has, and the bar beside a panel that tells.

use super::axes::{Axes, TICK_SIZE, TITLE_SIZE, linear};
use super::canvas::Canvas;
use super::draws::ascending;
use super::marks::{Lettering, Level, Rect, Stroke};
use super::palette::{BLACK, Color, viridis};
use super::ticks::padded_range;

/// Room that a bar with its labels and title needs right of a panel.
pub const BAR_MARGIN: f64 = 64.0;

/// A paler yellow than this fraction of viridis is lost on a white page.
const PALEST: f64 = 0.95;
/// Colour of a value that is not known.
const UNKNOWN: Color = Color::new(175, 175, 175);
/// Share of the values beyond either end of a range.
const BEYOND: f64 = 0.01;
const GAP: f64 = 9.0;
const BAR_WIDTH: f64 = 9.0;
const POINT_HEIGHT: f64 = 7.0;
const TICK: f64 = 3.0;
const LABEL_GAP: f64 = 3.0;
const N_STEPS: usize = 64;
const OUTLINE: Stroke = Stroke::solid(BLACK, 0.7);

/// A range of values as hues of viridis: even steps look even, and colour-blind readers tell them apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colormap {
    range: (f64, f64),
    is_empty: bool,
    has_lower: bool,
    has_higher: bool,
}

impl Colormap {
    /// A map of the finite ones among these values; the few lowest and highest share the colours of the ends.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let sorted = ascending(values.into_iter());
        let beyond = (BEYOND * sorted.len() as f64) as usize;
        let inner = &sorted[beyond..sorted.len() - beyond];
        let range = padded_range(inner.iter().copied(), 0.0);
        let lies = |value: Option<&f64>, beyond: fn(&f64, &f64) -> bool, end: f64| {
            value.is_some_and(|value| beyond(value, &end))
        };
        Self {
            range,
            is_empty: sorted.is_empty(),
            has_lower: lies(sorted.first(), f64::lt, range.0),
            has_higher: lies(sorted.last(), f64::gt, range.1),
        }
    }

    /// The colour of a value: that of the nearer end beyond the range, grey if it is not a number.
    pub fn color(&self, value: f64) -> Color {
        let (low, high) = self.range;
        match value.is_nan() {
            true => UNKNOWN,
            false => viridis(PALEST * ((value - low) / (high - low)).clamp(0.0, 1.0)),
        }
    }

    /// Draws the bar at the right of a panel and as high; it ends in a point where values lie beyond it. Without values there is none.
    pub fn draw_bar(&self, canvas: &mut Canvas, panel: Rect, title: &str) {
        if self.is_empty {
            return;
        }
        let point = |has_more: bool| if has_more { POINT_HEIGHT } else { 0.0 };
        let (above, below) = (point(self.has_higher), point(self.has_lower));
        let (left, top) = (panel.right() + GAP, panel.top + above);
        let bar = Rect { left, top, width: BAR_WIDTH, height: panel.height - above - below };
        let axes = Axes { frame: bar, x: (0.0, 1.0), y: self.range };
        let step = bar.height / N_STEPS as f64;
        for index in 0..N_STEPS {
            let fraction = 1.0 - (index as f64 + 0.5) / N_STEPS as f64;
            let (low, high) = self.range;
            // Each step reaches under the next, so that no viewer shows the page between them.
            let under = if index + 1 < N_STEPS { 0.5 * step } else { 0.0 };
            let rect = Rect { top: top + step * index as f64, height: step + under, ..bar };
            canvas.rect(rect, self.color(low + fraction * (high - low)));
        }
        let middle = left + BAR_WIDTH / 2.0;
        let (right, bottom) = (bar.right(), bar.bottom());
        if self.has_higher {
            canvas.area(&[(left, top), (right, top), (middle, panel.top)], self.color(self.range.1));
        }
        if self.has_lower {
            canvas.area(&[(left, bottom), (right, bottom), (middle, panel.bottom())], self.color(self.range.0));
        }
        let outline = [
            (left, top),
            (middle, top - above),
            (right, top),
            (right, bottom),
            (middle, bottom + below),
            (left, bottom),
        ];
        let closed: Vec<(f64, f64)> = outline.iter().chain(&outline[..2]).copied().collect();
        canvas.line(&closed, OUTLINE);

        let marks = axes.y_marks(linear(self.range));
        let room = BAR_MARGIN - GAP - BAR_WIDTH - TICK - LABEL_GAP - TITLE_SIZE - 4.0;
        let letters = Lettering { level: Level::Middle, ..Lettering::new(TICK_SIZE) };
        let letters = marks.major.iter().fold(letters, |letters, (_, label)| letters.fitted(label, room));
        for (tick, label) in &marks.major {
            let y = axes.place((0.0, *tick)).1;
            canvas.line(&[(right, y), (right + TICK, y)], OUTLINE);
            canvas.text((right + TICK + LABEL_GAP, y), label, letters);
        }
        let at = (panel.right() + BAR_MARGIN - 4.0, panel.top + panel.height / 2.0);
        let letters = Lettering { turned: true, ..Lettering::new(TITLE_SIZE).centred() };
        canvas.text(at, title, letters.fitted(title, panel.height));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::canvas::render;

    fn bar(map: Colormap) -> String {
        let panel = Rect { left: 10.0, top: 10.0, width: 50.0, height: 150.0 };
        render("bar", (160.0, 170.0), |canvas| map.draw_bar(canvas, panel, "[Fe/H] [dex]")).expect("renders").svg
    }

    #[test]
    fn a_few_wild_values_share_the_colours_of_the_ends() {
        let values = (0..1000).map(|i| f64::from(i) / 1000.0).chain([-40.0, 70.0, f64::NAN]);
        let map = Colormap::of(values);
        assert!(map.has_lower && map.has_higher && map.range.0 > -0.1 && map.range.1 < 1.1);
        assert_eq!(map.color(-40.0), map.color(f64::NEG_INFINITY));
        assert_eq!(map.color(70.0), viridis(PALEST));
        assert_ne!(map.color(0.2), map.color(0.8));
        assert_eq!(map.color(f64::NAN), UNKNOWN);
    }

    #[test]
    fn the_bar_has_ticks_a_title_and_points_for_values_beyond() {
        let svg = bar(Colormap::of([-1.0, -0.5, 0.5]));
        for words in ["[Fe/H] [dex]", ">\n\u{2212}0.5\n<", ">\n0\n<"] {
            assert!(svg.contains(words), "{words:?}");
        }
        let pointed = bar(Colormap::of((0..1000).map(f64::from)));
        assert_eq!(pointed.matches("<polygon").count(), 1 + N_STEPS + 2);
        assert_eq!(svg.matches("<polygon").count(), 1 + N_STEPS);
    }

    #[test]
    fn one_value_and_huge_ones_have_a_bar_and_none_have_no_bar() {
        assert!(!bar(Colormap::of([f64::NAN])).contains("[Fe/H]"));
        for values in [vec![], vec![f64::NAN], vec![4000.0], vec![0.0, 0.0], vec![-1e300, 1e300]] {
            let map = Colormap::of(values);
            assert!(!bar(map).contains("NaN"), "{map:?}");
            map.color(0.0);
        }
    }
}
