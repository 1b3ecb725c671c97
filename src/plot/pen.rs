//! How lines, areas and letters become an SVG document, every position and length in units of the page.

use std::fmt::Display;

use plotters::backend::SVGBackend;
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontDesc, FontFamily, FontStyle, FontTransform, RGBAColor, ShapeStyle, TextStyle};

use super::font::FAMILY;
use super::marks::{Anchor, Lettering};
use super::palette::Color;

/// Steps of the SVG's coordinates in a unit: plotters writes whole numbers.
const SCALE: u32 = 10;

/// What plotters calls the size of a font, in em.
const SIZE_PER_EM: f64 = 1.24;

/// Writes an SVG, and keeps the first thing that went wrong on it.
pub(super) struct Pen<'a> {
    backend: SVGBackend<'a>,
    failure: Option<String>,
}

impl<'a> Pen<'a> {
    /// A pen on an empty document of this size; what it writes is to be [`tidied`].
    pub(super) fn new(svg: &'a mut String, (width, height): (u32, u32)) -> Self {
        Self { backend: SVGBackend::with_string(svg, (width * SCALE, height * SCALE)), failure: None }
    }

    /// Ends the document.
    ///
    /// # Errors
    /// The first thing that went wrong on it, in words.
    pub(super) fn finish(mut self) -> Result<(), String> {
        let outcome = self.backend.present();
        self.note(outcome);
        self.failure.take().map_or(Ok(()), Err)
    }

    /// A polyline.
    pub(super) fn stroke(&mut self, points: &[(f64, f64)], width: f64, color: Color) {
        let outcome = self.backend.draw_path(points.iter().map(place), &style(width, color));
        self.note(outcome);
    }

    /// A filled polygon.
    pub(super) fn fill(&mut self, corners: &[(f64, f64)], color: Color) {
        let outcome = self.backend.fill_polygon(corners.iter().map(place), &style(0.0, color));
        self.note(outcome);
    }

    /// A filled circle, or with a line width an open one.
    pub(super) fn circle(&mut self, centre: (f64, f64), radius: f64, width: Option<f64>, color: Color) {
        let style = style(width.unwrap_or(0.0), color);
        let outcome = self.backend.draw_circle(place(&centre), steps(radius, 1e6), &style, width.is_none());
        self.note(outcome);
    }

    /// One line of text whose baseline passes `below` units under the position, seen along the text.
    pub(super) fn text(&mut self, (x, y): (f64, f64), below: f64, text: &str, lettering: &Lettering) {
        let size = lettering.size * f64::from(SCALE) * SIZE_PER_EM;
        let position = if lettering.turned { (x + below, y) } else { (x, y + below) };
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
        let outcome = self.backend.draw_text(text, &style, place(&position));
        self.note(outcome);
    }

    fn note<E: Display>(&mut self, outcome: Result<(), E>) {
        if let (Err(error), None) = (outcome, &self.failure) {
            self.failure = Some(error.to_string());
        }
    }
}

fn place(&(x, y): &(f64, f64)) -> (i32, i32) {
    let place = |value: f64| (value * f64::from(SCALE)).round().clamp(-1e6, 1e6) as i32;
    (place(x), place(y))
}

fn steps(length: f64, most: f64) -> u32 {
    (length * f64::from(SCALE)).round().clamp(1.0, most) as u32
}

fn style(width: f64, color: Color) -> ShapeStyle {
    ShapeStyle { color: rgba(color), filled: true, stroke_width: steps(width, 1e4) }
}

fn rgba(color: Color) -> RGBAColor {
    let (red, green, blue) = color.rgb;
    RGBAColor(red, green, blue, color.alpha)
}

/// What a pen wrote with its size in units, line joins, and without attributes that say nothing.
///
/// plotters lifts a text by half its x-height; the pen already placed the baseline. The opacity of a shape becomes that of its
/// fill or line: the same to see, but drawn without a layer of its own. The style of neighbouring circles is written once: a
/// panel may have a thousand of them.
pub(super) fn tidied(svg: &str, (width, height): (u32, u32)) -> String {
    let size = |scale: u32| format!("width=\"{}\" height=\"{}\"", width * scale, height * scale);
    let joined = format!("{} stroke-linejoin=\"round\"", size(1));
    let svg = svg.replacen(&size(SCALE), &joined, 1);
    let mut tidy = String::with_capacity(svg.len());
    let mut style_of_group = String::new();
    for line in svg.split_inclusive('\n') {
        let opacity = if line.contains("fill=\"none\"") { " stroke-opacity=" } else { " fill-opacity=" };
        let mut line = line.to_owned();
        for (idle, instead) in [
            (" dy=\"-0.5ex\"", ""),
            (" opacity=\"1\"", ""),
            (" stroke=\"none\" stroke-width=\"1\"/>", "/>"),
            (" opacity=", opacity),
        ] {
            // Text stands on lines of its own.
            if line.starts_with('<') {
                line = line.replace(idle, instead);
            }
        }
        // Position and radius come first, then what they share.
        let parts = line.strip_prefix("<circle ").and_then(|rest| {
            let radius = rest.find(" r=\"")? + 4;
            let place = radius + rest[radius..].find('"')? + 1;
            Some((&rest[..place], rest[place..].trim_end().trim_end_matches("/>").trim()))
        });
        let style = parts.map_or("", |(_, style)| style);
        if style != style_of_group {
            if !style_of_group.is_empty() {
                tidy += "</g>\n";
            }
            if !style.is_empty() {
                tidy += &format!("<g {style}>\n");
            }
            style_of_group = style.to_owned();
        }
        match parts {
            Some((place, _)) if !style.is_empty() => tidy += &format!("<circle {place}/>\n"),
            _ => tidy += &line,
        }
    }
    tidy
}
