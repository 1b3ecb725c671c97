//! Many points as counts per cell: for panels with more of them than symbols can show or an SVG should hold.

use std::collections::BTreeMap;

use super::axes::Axes;
use super::canvas::Canvas;
use super::marks::{Marker, Rect};
use super::palette::{BLUE, Color, GREY, depth};

/// Colour of a cell in which all points are highlighted ones.
pub const HIGHLIGHTED_CELL: Color = Color::new(205, 205, 205);

/// How far a cell reaches under its neighbours, so that no viewer shows the page between them.
const OVERLAP: f64 = 0.8;

/// Colours the cells of a panel by the logarithm of the number of plain points in them.
///
/// Cells are about `side` wide and high. Highlighted points show where there are no plain ones; a point beyond the frame is a
/// triangle on its edge, one for all those beyond the same cell.
pub fn draw_counts(canvas: &mut Canvas, axes: &Axes, points: &[(f64, f64)], highlighted: &[bool], side: f64) {
    let frame = axes.frame;
    let (columns, rows) = ((frame.width / side).ceil() as usize, (frame.height / side).ceil() as usize);
    let (width, height) = (frame.width / columns as f64, frame.height / rows as f64);
    let mut counts = vec![[0usize; 2]; columns * rows];
    let mut arrows = BTreeMap::new();
    for (i, &at) in points.iter().enumerate() {
        let (x, y) = axes.place(at);
        if x.is_nan() || y.is_nan() {
            continue;
        }
        let column = (((x - frame.left) / width).max(0.0) as usize).min(columns - 1);
        let row = (((y - frame.top) / height).max(0.0) as usize).min(rows - 1);
        let is_highlighted = highlighted.get(i).copied().unwrap_or(false);
        if frame.contains((x, y)) {
            counts[row * columns + column][usize::from(is_highlighted)] += 1;
        } else {
            arrows.entry((column, row)).or_insert((at, true)).1 &= is_highlighted;
        }
    }
    let most = counts.iter().map(|count| count[0]).max().unwrap_or(0).max(2) as f64;
    let is_filled =
        |column: usize, row: usize| column < columns && row < rows && counts[row * columns + column] != [0, 0];
    for (i, &[plain, _]) in counts.iter().enumerate().filter(|(_, count)| **count != [0, 0]) {
        let (column, row) = (i % columns, i / columns);
        let color = if plain > 0 { depth((plain as f64).ln() / most.ln()) } else { HIGHLIGHTED_CELL };
        let cell = Rect {
            left: frame.left + column as f64 * width,
            top: frame.top + row as f64 * height,
            width: width + if is_filled(column + 1, row) { OVERLAP } else { 0.0 },
            height: height + if is_filled(column, row + 1) { OVERLAP } else { 0.0 },
        };
        canvas.rect(cell, color);
    }
    for (at, all_highlighted) in arrows.into_values() {
        axes.point_or_arrow(canvas, at, Marker::Dot, 1.4, if all_highlighted { GREY } else { BLUE });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::canvas::render;

    #[test]
    fn cells_and_arrows_stand_for_their_points() {
        let frame = Rect { left: 0.0, top: 0.0, width: 100.0, height: 100.0 };
        let axes = Axes { frame, x: (0.0, 1.0), y: (0.0, 1.0) };
        let points = [(0.1, 0.1), (0.1, 0.1), (0.9, 0.9), (0.5, 7.0), (0.5, 8.0), (f64::NAN, 0.0)];
        let flags = [false, true, true, true, false, false];
        let figure = render("counts", (100.0, 100.0), |canvas| draw_counts(canvas, &axes, &points, &flags, 10.0));
        let svg = figure.expect("renders").svg;
        // The page, a plain cell, a highlighted cell, an arrow.
        assert_eq!(svg.matches("<polygon").count(), 4);
        assert_eq!(svg.matches("#CDCDCD").count(), 1);
        assert_eq!(svg.matches("#0072B2").count(), 1);
    }
}
