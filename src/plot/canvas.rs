//! A drawing surface for figures: one routine draws, its lines, marks and letters come out as SVG, of which a PNG can be made.
//!
//! Positions are in units of 1/96 inch from the upper left corner of the page.

use super::Figure;
use super::marks::{Lettering, Level, Marker, Rect, Stroke};
use super::palette::{Color, WHITE};
use super::pen::{Pen, tidied};
use crate::error::{Error, Result};

/// Largest width and height of a page.
const LARGEST_SIDE: f64 = 5000.0;
/// Largest area of a page: its PNG has eight million pixels.
const LARGEST_AREA: f64 = 2e6;

/// The page a figure is drawn on. What lies far off the page, or nowhere, is left out.
pub struct Canvas<'a> {
    pen: Pen<'a>,
}

impl Canvas<'_> {
    /// A line through the points.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        if points.len() < 2 || !points.iter().all(is_near_the_page) {
            return;
        }
        match stroke.dash {
            None => self.pen.stroke(points, stroke.width, stroke.color),
            Some((dash, gap)) => {
                for piece in dashes(points, dash.max(0.1), gap.max(0.1)) {
                    self.pen.stroke(&piece, stroke.width, stroke.color);
                }
            }
        }
    }

    /// A filled polygon.
    pub fn area(&mut self, corners: &[(f64, f64)], color: Color) {
        if corners.len() > 2 && corners.iter().all(is_near_the_page) {
            self.pen.fill(corners, color);
        }
    }

    /// A filled rectangle.
    pub fn rect(&mut self, rect: Rect, color: Color) {
        let (right, bottom) = (rect.right(), rect.bottom());
        self.area(&[(rect.left, rect.top), (right, rect.top), (right, bottom), (rect.left, bottom)], color);
    }

    /// A symbol.
    pub fn marker(&mut self, (x, y): (f64, f64), marker: Marker, radius: f64, color: Color) {
        if !is_near_the_page(&(x, y)) {
            return;
        }
        let r = radius;
        let corners: &[(f64, f64)] = match marker {
            Marker::Dot => return self.pen.circle((x, y), r, None, color),
            Marker::Ring => return self.pen.circle((x, y), r, Some(0.6), color),
            Marker::Square => &[(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)],
            Marker::Diamond => &[(x - 1.3 * r, y), (x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r)],
            Marker::Up => &[(x - r, y + r), (x + r, y + r), (x, y - r)],
            Marker::Down => &[(x - r, y - r), (x + r, y - r), (x, y + r)],
            Marker::Left => &[(x + r, y - r), (x + r, y + r), (x - r, y)],
            Marker::Right => &[(x - r, y - r), (x - r, y + r), (x + r, y)],
        };
        self.pen.fill(corners, color);
    }

    /// A symbol that hides the lines below it, also inside an open circle.
    pub fn on_white(&mut self, at: (f64, f64), marker: Marker, radius: f64, color: Color) {
        if marker == Marker::Ring {
            self.marker(at, Marker::Dot, radius, WHITE);
        }
        self.marker(at, marker, radius, color);
    }

    /// One line of text.
    pub fn text(&mut self, at: (f64, f64), text: &str, lettering: Lettering) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        if text.trim().is_empty() || !is_near_the_page(&at) {
            return;
        }
        let capital = 0.73 * lettering.size;
        let below = match lettering.level {
            Level::Baseline => 0.0,
            Level::Middle => capital / 2.0,
            Level::Top => capital,
        };
        self.pen.text(at, below, &text, &lettering);
    }
}

fn is_near_the_page(&(x, y): &(f64, f64)) -> bool {
    x.abs() < 10.0 * LARGEST_SIDE && y.abs() < 10.0 * LARGEST_SIDE
}

/// The drawn pieces of a dashed line.
fn dashes(points: &[(f64, f64)], dash: f64, gap: f64) -> Vec<Vec<(f64, f64)>> {
    let (mut pieces, mut is_dash, mut left) = (Vec::new(), true, dash);
    let mut piece = vec![points[0]];
    for pair in points.windows(2) {
        let [(x1, y1), (x2, y2)] = [pair[0], pair[1]];
        let length = (x2 - x1).hypot(y2 - y1);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let turn = (x1 + done / length * (x2 - x1), y1 + done / length * (y2 - y1));
            if is_dash {
                piece.push(turn);
                pieces.push(std::mem::take(&mut piece));
            } else {
                piece = vec![turn];
            }
            is_dash = !is_dash;
            left = if is_dash { dash } else { gap };
        }
        left -= length - done;
        if is_dash {
            piece.push((x2, y2));
        }
    }
    if piece.len() > 1 {
        pieces.push(piece);
    }
    pieces
}

/// A figure of this size (units of 1/96 inch), drawn by a routine.
///
/// # Errors
/// [`Error::Figure`] if the size is not that of a page, or if it cannot be drawn.
pub fn render(name: &str, (width, height): (f64, f64), draw: impl FnOnce(&mut Canvas)) -> Result<Figure> {
    let fail = |detail: String| Error::Figure { figure: name.to_owned(), detail };
    let sides_are_fine = [width, height].iter().all(|side| (1.0..=LARGEST_SIDE).contains(side));
    if !sides_are_fine || width * height > LARGEST_AREA {
        return Err(fail(format!("a page of {width:.0} x {height:.0} units is none; draw fewer panels in one figure")));
    }
    let (width, height) = (width.ceil(), height.ceil());
    let size = (width as u32, height as u32);
    let mut svg = String::new();
    let outcome = {
        let mut canvas = Canvas { pen: Pen::new(&mut svg, size) };
        canvas.rect(Rect { left: 0.0, top: 0.0, width, height }, WHITE);
        draw(&mut canvas);
        canvas.pen.finish()
    };
    outcome.map_err(fail)?;
    Ok(Figure { svg: tidied(&svg, size), name: name.to_owned(), size })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::palette::{BLACK, BLUE};
    use crate::plot::testing::decoded;

    const SIZE: (f64, f64) = (120.0, 60.0);

    #[test]
    fn svg_and_png_show_a_shape_in_the_same_place() {
        let figure = render("square", SIZE, |canvas| {
            canvas.rect(Rect { left: 10.0, top: 20.0, width: 5.0, height: 5.0 }, BLUE);
        });
        let figure = figure.expect("renders");
        assert!(figure.svg.starts_with("<svg width=\"120\" height=\"60\""));
        assert!(figure.svg.contains("100,200 150,200 150,250 100,250"));
        let (pixels, width) = decoded(&figure.png().expect("renders"));
        assert_eq!(width, 240);
        let pixel = |x: usize, y: usize| &pixels[3 * (y * width + x)..][..3];
        assert_eq!((pixel(20, 40), pixel(29, 49)), (&[0, 114, 178][..], &[0, 114, 178][..]));
        assert_eq!((pixel(19, 40), pixel(30, 49)), (&[255; 3][..], &[255; 3][..]));
    }

    #[test]
    fn letters_are_escaped_and_stand_on_their_baseline() {
        let draw = |canvas: &mut Canvas| canvas.text((10.0, 40.0), "<H&\u{0}>", Lettering::new(20.0));
        let figure = render("letters", SIZE, draw).expect("renders");
        assert!(figure.svg.contains("&lt;H&amp; &gt;") && !figure.svg.contains(" dy="));
        let figure =
            render("letters", SIZE, |canvas| canvas.text((10.0, 40.0), "H", Lettering::new(20.0))).expect("renders");
        let (pixels, width) = decoded(&figure.png().expect("renders"));
        let dark: Vec<usize> =
            (0..120).filter(|row| pixels[3 * row * width..][..3 * width].iter().any(|&v| v < 128)).collect();
        let (top, bottom) = (dark[0], dark[dark.len() - 1]);
        assert!((78..=80).contains(&bottom) && (49..=52).contains(&top), "rows {top} to {bottom}");
    }

    #[test]
    fn the_same_drawing_is_the_same_bytes_and_bold_letters_have_more_ink() {
        let figure = |bold| {
            let letters = Lettering { bold, ..Lettering::new(20.0) };
            render("letters", SIZE, |canvas| canvas.text((10.0, 40.0), "Teff", letters)).expect("renders")
        };
        let (first, second) = (figure(false), figure(false));
        assert!(first.svg == second.svg && first.png().unwrap() == second.png().unwrap());
        let ink = |figure: &Figure| {
            decoded(&figure.png().expect("renders")).0.iter().map(|&value| f64::from(255 - value)).sum::<f64>()
        };
        assert!(ink(&figure(true)) > 1.2 * ink(&first));
    }

    #[test]
    fn opacity_is_that_of_lines_or_of_areas() {
        let figure = render("faded", SIZE, |canvas| {
            canvas.line(&[(0.0, 10.0), (120.0, 10.0)], Stroke::solid(BLACK.faded(0.5), 2.0));
            canvas.rect(Rect { left: 0.0, top: 20.0, width: 120.0, height: 20.0 }, BLACK.faded(0.2));
            canvas.marker((60.0, 50.0), Marker::Ring, 5.0, BLACK.faded(0.5));
        });
        let figure = figure.expect("renders");
        assert_eq!(figure.svg.matches("stroke-opacity=\"0.5\"").count(), 2);
        assert!(figure.svg.contains("<polygon fill-opacity=\"0.2\"") && !figure.svg.contains(" opacity="));
        let (pixels, width) = decoded(&figure.png().expect("renders"));
        let grey = |x: usize, y: usize| pixels[3 * (y * width + x)];
        assert!(grey(120, 20).abs_diff(127) < 3 && grey(120, 60).abs_diff(204) < 3);
        assert!(grey(120, 100) == 255 && grey(120, 110) < 200);
    }

    #[test]
    fn circles_alike_share_their_style() {
        let figure = render("dots", SIZE, |canvas| {
            for x in [10.0, 20.0, 30.0] {
                canvas.marker((x, 10.0), Marker::Dot, 2.0, BLUE.faded(0.5));
            }
            canvas.marker((40.0, 10.0), Marker::Ring, 2.0, BLACK);
            canvas.text((50.0, 10.0), "end", Lettering::new(9.0));
        });
        let svg = figure.expect("renders").svg;
        let group = "<g fill-opacity=\"0.5\" fill=\"#0072B2\">\n<circle cx=\"100\" cy=\"100\" r=\"20\"/>\n<circle";
        assert!(svg.contains(group), "{svg}");
        assert_eq!((svg.matches("<g ").count(), svg.matches("</g>").count()), (2, 2));
    }

    #[test]
    fn what_cannot_be_placed_is_left_out() {
        let figure = render("nowhere", SIZE, |canvas| {
            canvas.line(&[(f64::NAN, 0.0), (1.0, 1.0)], Stroke::solid(BLACK, 1.0));
            canvas.line(&[(0.0, 0.0), (1e300, 1.0)], Stroke::dashed(BLACK, 1.0));
            canvas.marker((f64::INFINITY, 0.0), Marker::Ring, 2.0, BLACK);
            canvas.text((0.0, 0.0), " ", Lettering::new(9.0));
        });
        let (pixels, _) = decoded(&figure.expect("renders").png().expect("renders"));
        assert!(pixels.iter().all(|&value| value == 255));
        assert!(render("huge", (1e9, 10.0), |_| ()).is_err());
        assert!(render("nothing", (f64::NAN, 10.0), |_| ()).is_err());
    }

    #[test]
    fn dashes_cover_their_share_of_a_line_around_a_corner() {
        let pieces = dashes(&[(0.0, 0.0), (10.0, 0.0), (10.0, 10.0)], 3.0, 1.0);
        assert_eq!(pieces.len(), 5);
        assert_eq!(pieces[2], [(8.0, 0.0), (10.0, 0.0), (10.0, 1.0)]);
    }
}
