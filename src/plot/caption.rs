//! Words inside a panel, put where they cover the fewest marks.

use super::canvas::Canvas;
use super::marks::{Lettering, Level, Rect};
use super::palette::WHITE;

const FONT_SIZE: f64 = 8.5;
/// Between frame and words: past the ticks.
const INSET: f64 = 7.0;
/// Around the words, kept free of marks if there is a choice.
const CLEARANCE: f64 = 4.0;

/// Writes lines in the upper left or the lower right corner of a frame, whichever holds fewer marks.
///
/// `marks` are positions on the page. If both corners hold some, those under the words are paled.
pub fn draw_caption(canvas: &mut Canvas, frame: Rect, lines: &[&str], marks: &[(f64, f64)]) {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect();
    let letters =
        lines.iter().fold(Lettering::new(FONT_SIZE), |letters, line| letters.fitted(line, frame.width - 2.0 * INSET));
    let spacing = 1.3 * letters.size;
    let width = lines.iter().map(|line| letters.width_of(line)).fold(0.0, f64::max);
    let height = spacing * lines.len() as f64;
    let upper_left = (frame.left + INSET + 2.0, frame.top + INSET + 2.0);
    let lower_right = (frame.right() - INSET - 2.0 - width, frame.bottom() - INSET - height);
    let (spot, covered) =
        emptier([upper_left, lower_right].map(|(left, top)| Rect { left, top, width, height }), marks);
    if covered > 0 && !lines.is_empty() {
        canvas.rect(spot.grown(2.0), WHITE.faded(0.75));
    }
    for (i, line) in lines.iter().enumerate() {
        let at = (spot.left, spot.top + spacing * i as f64);
        canvas.text(at, line, Lettering { level: Level::Top, ..letters });
    }
}

/// The first of the rectangles with the fewest marks in or near it, and their number.
fn emptier(spots: [Rect; 2], marks: &[(f64, f64)]) -> (Rect, usize) {
    let [first, second] = spots.map(|spot| {
        let near = spot.grown(CLEARANCE);
        (spot, marks.iter().filter(|&&mark| near.contains(mark)).count())
    });
    if second.1 < first.1 { second } else { first }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::canvas::render;

    const FRAME: Rect = Rect { left: 0.0, top: 0.0, width: 200.0, height: 200.0 };

    #[test]
    fn the_emptier_corner_is_taken() {
        let spots = [FRAME, Rect { left: 300.0, ..FRAME }];
        assert_eq!(emptier(spots, &[]), (spots[0], 0));
        assert_eq!(emptier(spots, &[(5.0, 5.0), (301.0, 1.0), (302.0, 1.0)]), (spots[0], 1));
        assert_eq!(emptier(spots, &[(5.0, 5.0), (f64::NAN, 5.0)]), (spots[1], 0));
    }

    #[test]
    fn every_line_is_written_and_empty_ones_are_not() {
        let figure = render("caption", (200.0, 200.0), |canvas| {
            draw_caption(canvas, FRAME, &["bias 3 K", " ", "scatter 62 K"], &[]);
        });
        let svg = figure.expect("renders").svg;
        assert_eq!(svg.matches("<text").count(), 2);
        assert!(svg.contains("bias 3 K") && svg.contains("scatter 62 K"));
    }
}
