//! How lines, areas and letters reach a plotters backend: as shapes for SVG, as rows of pixels for the PNG.
//!
//! plotters' own rasteriser leaves holes in wide polylines that cross themselves and sets letters at other heights than its SVG
//! backend, so the bitmap side fills every shape here, row by row, and both sides place letters by their baseline.

use std::fmt::Display;
use std::sync::LazyLock;

use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{
    FontDesc, FontFamily, FontStyle, FontTransform, RGBAColor, ShapeStyle, TextStyle, register_font,
};

use super::marks::{Anchor, Lettering};
use super::palette::Color;

/// Name under which the shipped font is registered; in an SVG it is also the list of fonts to try.
const FAMILY: &str = "DejaVu Sans, Verdana, sans-serif";

/// What plotters calls the size of a font, in em: the bitmap side measures DejaVu from descender to ascender, the SVG side divides.
const BITMAP_SIZE_PER_EM: f64 = 2384.0 / 2048.0;
const SVG_SIZE_PER_EM: f64 = 1.24;

static FONT_IS_READABLE: LazyLock<bool> = LazyLock::new(|| {
    register_font(FAMILY, FontStyle::Normal, dejavu::sans::regular()).is_ok()
        && register_font(FAMILY, FontStyle::Bold, dejavu::sans::bold()).is_ok()
});

/// Width of a line of text for a font size of one.
pub(super) fn relative_text_width(text: &str, bold: bool) -> f64 {
    let em = 1000.0;
    let style = if bold { FontStyle::Bold } else { FontStyle::Normal };
    let width = || {
        let font = FontDesc::new(FontFamily::Name(FAMILY), em * BITMAP_SIZE_PER_EM, style);
        font.layout_box(text).ok().map(|(_, (width, _))| f64::from(width) / em)
    };
    let guess = 0.6 * text.chars().count() as f64;
    if *FONT_IS_READABLE { width().unwrap_or(guess) } else { guess }
}

/// What [`Canvas`](super::canvas::Canvas) needs of a rendering; every position and length in units of the page.
pub(super) trait Surface {
    /// A polyline.
    fn stroke(&mut self, points: &[(f64, f64)], width: f64, color: Color);
    /// A filled polygon.
    fn fill(&mut self, corners: &[(f64, f64)], color: Color);
    /// A filled circle, or with a line width an open one.
    fn circle(&mut self, centre: (f64, f64), radius: f64, width: Option<f64>, color: Color);
    /// One line of text whose baseline passes `below` units under the position, seen along the text.
    fn text(&mut self, at: (f64, f64), below: f64, text: &str, lettering: &Lettering);
}

/// A backend, its scale, and the first thing that went wrong on it.
pub(super) struct Pen<B> {
    pub(super) backend: B,
    pub(super) scale: f64,
    pub(super) is_vector: bool,
    pub(super) failure: Option<String>,
}

impl<B: DrawingBackend> Pen<B> {
    /// A pen on a backend with `scale` backend units to a unit of the page.
    pub(super) fn new(backend: B, scale: f64, is_vector: bool) -> Self {
        let failure = (!*FONT_IS_READABLE).then(|| "the shipped font could not be read".to_owned());
        Self { backend, scale, is_vector, failure }
    }

    fn note<E: Display>(&mut self, outcome: Result<(), E>) {
        if let (Err(error), None) = (outcome, &self.failure) {
            self.failure = Some(error.to_string());
        }
    }

    fn place(&self, (x, y): (f64, f64)) -> (i32, i32) {
        let place = |value: f64| (value * self.scale).round().clamp(-1e6, 1e6) as i32;
        (place(x), place(y))
    }

    fn style(&self, width: f64, color: Color) -> ShapeStyle {
        let stroke_width = (width * self.scale).round().clamp(1.0, 1e4) as u32;
        ShapeStyle { color: rgba(color), filled: true, stroke_width }
    }

    /// Fills the pixels whose centres lie inside a closed outline (page units, even-odd).
    fn fill_rows(&mut self, outline: &[(f64, f64)], color: Color) {
        let (width, height) = self.backend.get_size();
        let corners: Vec<(f64, f64)> = outline.iter().map(|&(x, y)| (x * self.scale, y * self.scale)).collect();
        let top = corners.iter().fold(f64::INFINITY, |top, corner| top.min(corner.1)).max(0.0) as i32;
        let bottom =
            corners.iter().fold(-1.0, |bottom: f64, corner| bottom.max(corner.1)).min(f64::from(height) - 1.0) as i32;
        let style = self.style(0.0, color);
        let mut crossings = Vec::new();
        for row in top..=bottom {
            let centre = f64::from(row) + 0.5;
            crossings.clear();
            for (i, &(x1, y1)) in corners.iter().enumerate() {
                let (x2, y2) = corners[(i + 1) % corners.len()];
                if (y1 <= centre) != (y2 <= centre) {
                    crossings.push(x1 + (centre - y1) / (y2 - y1) * (x2 - x1));
                }
            }
            crossings.sort_by(f64::total_cmp);
            for pair in crossings.chunks_exact(2) {
                let first = (pair[0] - 0.5).ceil().max(0.0) as i32;
                let last = ((pair[1] - 0.5).ceil() - 1.0).min(f64::from(width) - 1.0) as i32;
                if first <= last {
                    let outcome = self.backend.draw_line((first, row), (last, row), &style);
                    self.note(outcome);
                }
            }
        }
    }
}

impl<B: DrawingBackend> Surface for Pen<B> {
    fn stroke(&mut self, points: &[(f64, f64)], width: f64, color: Color) {
        if self.is_vector {
            let path: Vec<_> = points.iter().map(|&point| self.place(point)).collect();
            let style = self.style(width, color);
            let outcome = self.backend.draw_path(path, &style);
            return self.note(outcome);
        }
        for pair in points.windows(2) {
            let [(x1, y1), (x2, y2)] = [pair[0], pair[1]];
            let length = (x2 - x1).hypot(y2 - y1);
            if length > 0.0 {
                let (dx, dy) = ((y1 - y2) / length * width / 2.0, (x2 - x1) / length * width / 2.0);
                self.fill_rows(
                    &[(x1 + dx, y1 + dy), (x2 + dx, y2 + dy), (x2 - dx, y2 - dy), (x1 - dx, y1 - dy)],
                    color,
                );
            }
        }
        // Round joins.
        for &joint in points.iter().skip(1).take(points.len().saturating_sub(2)) {
            self.fill_rows(&round(joint, width / 2.0), color);
        }
    }

    fn fill(&mut self, corners: &[(f64, f64)], color: Color) {
        if !self.is_vector {
            return self.fill_rows(corners, color);
        }
        let path: Vec<_> = corners.iter().map(|&corner| self.place(corner)).collect();
        let style = self.style(0.0, color);
        let outcome = self.backend.fill_polygon(path, &style);
        self.note(outcome);
    }

    fn circle(&mut self, centre: (f64, f64), radius: f64, width: Option<f64>, color: Color) {
        if self.is_vector {
            let style = self.style(width.unwrap_or(0.0), color);
            let radius = (radius * self.scale).round().clamp(1.0, 1e6) as u32;
            let outcome = self.backend.draw_circle(self.place(centre), radius, &style, width.is_none());
            return self.note(outcome);
        }
        let mut outline = round(centre, radius + width.unwrap_or(0.0) / 2.0);
        if let Some(width) = width {
            // Out and back along the same seam: even-odd leaves a ring.
            outline.push(outline[0]);
            let inner = round(centre, (radius - width / 2.0).max(0.0));
            outline.extend(&inner);
            outline.push(inner[0]);
        }
        self.fill_rows(&outline, color);
    }

    fn text(&mut self, at: (f64, f64), below: f64, text: &str, lettering: &Lettering) {
        let em = lettering.size * self.scale;
        let size = em * if self.is_vector { SVG_SIZE_PER_EM } else { BITMAP_SIZE_PER_EM };
        // The bitmap side anchors a text by a box; this is how far below its lower edge plotters puts the baseline.
        let bias = if self.is_vector { 0.0 } else { (size / 2.0 - (size / 1.24).trunc()) / self.scale };
        let (x, y) = at;
        let shift = below - bias;
        let position = if lettering.turned { (x + shift, y) } else { (x, y + shift) };
        let style = if lettering.bold { FontStyle::Bold } else { FontStyle::Normal };
        let transform = if lettering.turned { FontTransform::Rotate270 } else { FontTransform::None };
        let font = FontDesc::new(FontFamily::Name(FAMILY), size, style).transform(transform);
        let anchor = match lettering.anchor {
            Anchor::Start => HPos::Left,
            Anchor::Middle => HPos::Center,
            Anchor::End => HPos::Right,
        };
        let color = rgba(lettering.color);
        let style = TextStyle::from(font).color(&color).pos(Pos::new(anchor, VPos::Bottom));
        let outcome = self.backend.draw_text(text, &style, self.place(position));
        self.note(outcome);
    }
}

fn rgba(color: Color) -> RGBAColor {
    let (red, green, blue) = color.rgb;
    RGBAColor(red, green, blue, color.alpha)
}

fn round(centre: (f64, f64), radius: f64) -> Vec<(f64, f64)> {
    let corner = |i: i32| {
        let (sine, cosine) = (std::f64::consts::TAU * f64::from(i) / 24.0).sin_cos();
        (centre.0 + radius * cosine, centre.1 + radius * sine)
    };
    (0..24).map(corner).collect()
}
