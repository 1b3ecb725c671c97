//! Panels of equal size in rows: how wide the page is, where each frame lies, and the title above them.

use super::axes::{BOTTOM_MARGIN, LEFT_MARGIN};
use super::canvas::Canvas;
use super::marks::{Anchor, Lettering, Level, Rect};
use super::palette::WHITE;
use super::{COLUMN_WIDTH, PAGE_WIDTH};

const RIGHT_MARGIN: f64 = 14.0;
const TITLE_HEIGHT: f64 = 22.0;

/// Where panels lie on a page.
pub(super) struct PanelGrid {
    /// Width of the page.
    pub(super) width: f64,
    /// Height of the title and all panels with their margins.
    pub(super) height: f64,
    /// Width of every frame.
    pub(super) side: f64,
    columns: usize,
    cell: (f64, f64),
    title_height: f64,
    top_margin: f64,
}

impl PanelGrid {
    /// Room for a title, if there is one, and so many panels with `top_margin` above each frame; `frame_height` from a width.
    pub(super) fn new(title: &str, n_panels: usize, top_margin: f64, frame_height: impl Fn(f64) -> f64) -> Self {
        let columns = if n_panels == 4 { 2 } else { n_panels.clamp(1, 3) };
        let width = [COLUMN_WIDTH, 560.0, PAGE_WIDTH][columns - 1];
        let side = width / columns as f64 - LEFT_MARGIN - RIGHT_MARGIN;
        let cell = (width / columns as f64, top_margin + frame_height(side) + BOTTOM_MARGIN);
        let title_height = if title.trim().is_empty() { 0.0 } else { TITLE_HEIGHT };
        let height = title_height + cell.1 * n_panels.div_ceil(columns) as f64;
        Self { width, height, side, columns, cell, title_height, top_margin }
    }

    /// Upper left corner of a panel's frame.
    pub(super) fn corner(&self, panel: usize) -> (f64, f64) {
        let (column, row) = ((panel % self.columns) as f64, (panel / self.columns) as f64);
        (column * self.cell.0 + LEFT_MARGIN, self.title_height + row * self.cell.1 + self.top_margin)
    }

    /// A panel's frame, this high.
    pub(super) fn frame(&self, panel: usize, height: f64) -> Rect {
        let (left, top) = self.corner(panel);
        Rect { left, top, width: self.side, height }
    }

    /// Writes the title of the figure.
    pub(super) fn draw_title(&self, canvas: &mut Canvas, title: &str) {
        draw_title(canvas, title, self.width);
    }
}

/// Writes the title of a figure on a page this wide.
pub(super) fn draw_title(canvas: &mut Canvas, title: &str, width: f64) {
    canvas.text((width / 2.0, 18.0), title, Lettering::new(12.0).centred().fitted(title, width - 20.0));
}

/// Writes a panel's name above its frame at the left, and a remark at the right.
pub(super) fn draw_heading(canvas: &mut Canvas, frame: Rect, name: &str, remark: &str) {
    let small = Lettering::new(8.5);
    let name_letters = Lettering { bold: true, ..Lettering::new(10.0) };
    let room = frame.width - small.width_of(remark) - 8.0;
    canvas.text((frame.left, frame.top - 5.0), name, name_letters.fitted(name, room));
    canvas.text((frame.right(), frame.top - 5.0), remark, Lettering { anchor: Anchor::End, ..small });
}

/// Writes in the middle of a panel why nothing is drawn in it.
pub(super) fn draw_reason(canvas: &mut Canvas, frame: Rect, reason: &str) {
    let middle = (frame.left + frame.width / 2.0, frame.top + frame.height / 2.0);
    let letters = Lettering { level: Level::Middle, ..Lettering::new(10.5).centred() };
    let letters = letters.fitted(reason, frame.width - 6.0);
    let (width, height) = (letters.width_of(reason) + 8.0, 1.6 * letters.size);
    canvas.rect(Rect { left: middle.0 - width / 2.0, top: middle.1 - height / 2.0, width, height }, WHITE);
    canvas.text(middle, reason, letters);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_apart_and_stay_on_the_page() {
        for n in 1..=7 {
            let grid = PanelGrid::new("title", n, 20.0, |side| 0.8 * side);
            let frames: Vec<Rect> = (0..n).map(|i| grid.frame(i, 0.8 * grid.side)).collect();
            for (i, a) in frames.iter().enumerate() {
                assert!(a.right() <= grid.width && a.bottom() + BOTTOM_MARGIN <= grid.height + 1e-9 && a.top >= 42.0);
                for b in &frames[..i] {
                    assert!(
                        b.right() + LEFT_MARGIN <= a.left || b.bottom() + BOTTOM_MARGIN <= a.top || a.right() <= b.left
                    );
                }
            }
        }
        assert!(PanelGrid::new(" ", 0, 20.0, |side| side).height.abs() < 1e-9);
    }
}
