//! A drawing surface for figures: one routine draws, and its lines, marks and letters come out as SVG and as PNG.
//!
//! Positions are in units of 1/96 inch from the upper left corner of the page. The PNG is drawn larger than it is and averaged
//! down, which smooths every edge alike.

use plotters::backend::{BitMapBackend, SVGBackend};
use plotters::prelude::DrawingBackend;

use super::Figure;
use super::marks::{Lettering, Level, Marker, Rect, Stroke};
use super::palette::{Color, WHITE};
use super::pen::{Pen, Surface};
use crate::error::{Error, Result};

/// Steps of the SVG's coordinates in a unit: plotters writes whole numbers.
const SVG_SCALE: u32 = 10;
/// Pixels of the PNG in a unit: 192 to the inch.
const PNG_SCALE: u32 = 2;
/// Drawn pixels averaged into one, along each axis.
const OVERSAMPLING: u32 = 3;
/// Largest width and height of a page.
const LARGEST_SIDE: f64 = 5000.0;
/// Largest area of a page: its PNG is drawn in about 200 MB.
const LARGEST_AREA: f64 = 2e6;

/// The page a figure is drawn on. What lies far off the page, or nowhere, is left out.
pub struct Canvas<'a> {
    surface: &'a mut dyn Surface,
}

impl Canvas<'_> {
    /// A line through the points.
    pub fn line(&mut self, points: &[(f64, f64)], stroke: Stroke) {
        if points.len() < 2 || !points.iter().all(is_near_the_page) {
            return;
        }
        match stroke.dash {
            None => self.surface.stroke(points, stroke.width, stroke.color),
            Some((dash, gap)) => {
                for piece in dashes(points, dash.max(0.1), gap.max(0.1)) {
                    self.surface.stroke(&piece, stroke.width, stroke.color);
                }
            }
        }
    }

    /// A filled polygon.
    pub fn area(&mut self, corners: &[(f64, f64)], color: Color) {
        if corners.len() > 2 && corners.iter().all(is_near_the_page) {
            self.surface.fill(corners, color);
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
            Marker::Dot => return self.surface.circle((x, y), r, None, color),
            Marker::Ring => return self.surface.circle((x, y), r, Some(0.6), color),
            Marker::Square => &[(x - r, y - r), (x + r, y - r), (x + r, y + r), (x - r, y + r)],
            Marker::Diamond => &[(x - 1.3 * r, y), (x, y - 1.3 * r), (x + 1.3 * r, y), (x, y + 1.3 * r)],
            Marker::Up => &[(x - r, y + r), (x + r, y + r), (x, y - r)],
            Marker::Down => &[(x - r, y - r), (x + r, y - r), (x, y + r)],
            Marker::Left => &[(x + r, y - r), (x + r, y + r), (x - r, y)],
            Marker::Right => &[(x - r, y - r), (x - r, y + r), (x + r, y)],
        };
        self.surface.fill(corners, color);
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
        self.surface.text(at, below, &text, &lettering);
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

/// A figure of this size (units of 1/96 inch), drawn by a routine that is called once for the SVG and once for the PNG.
///
/// # Errors
/// [`Error::Figure`] if the size is not that of a page, or if a backend fails.
pub fn render(name: &str, (width, height): (f64, f64), draw: impl Fn(&mut Canvas)) -> Result<Figure> {
    let fail = |detail: String| Error::Figure { figure: name.to_owned(), detail };
    let sides_are_fine = [width, height].iter().all(|side| (1.0..=LARGEST_SIDE).contains(side));
    if !sides_are_fine || width * height > LARGEST_AREA {
        return Err(fail(format!("a page of {width:.0} x {height:.0} units is none; draw fewer panels in one figure")));
    }
    let (width, height) = (width.ceil() as u32, height.ceil() as u32);
    let page = Rect { left: 0.0, top: 0.0, width: width.into(), height: height.into() };
    let draw_page = |surface: &mut dyn Surface| {
        let mut canvas = Canvas { surface };
        canvas.rect(page, WHITE);
        draw(&mut canvas);
    };

    let mut svg = String::new();
    let size = (width * SVG_SCALE, height * SVG_SCALE);
    let mut pen = Pen::new(SVGBackend::with_string(&mut svg, size), f64::from(SVG_SCALE), true);
    draw_page(&mut pen);
    let outcome = pen.backend.present().map_err(|error| fail(error.to_string()));
    pen.failure.take().map_or(outcome, |detail| Err(fail(detail)))?;
    drop(pen);

    let scale = PNG_SCALE * OVERSAMPLING;
    let size = (width * scale, height * scale);
    let mut pixels = vec![255; 3 * size.0 as usize * size.1 as usize];
    let mut pen = Pen::new(BitMapBackend::with_buffer(&mut pixels, size), f64::from(scale), false);
    draw_page(&mut pen);
    pen.failure.take().map_or(Ok(()), |detail| Err(fail(detail)))?;
    drop(pen);

    let size = (width * PNG_SCALE, height * PNG_SCALE);
    let png = encode(&averaged(&pixels, size), size).map_err(|error| fail(error.to_string()))?;
    Ok(Figure { svg: tidied(&svg, width, height), png })
}

/// The SVG with its size in units, line joins, and without attributes that say nothing.
///
/// plotters lifts a text by half its x-height; the pen already placed the baseline.
fn tidied(svg: &str, width: u32, height: u32) -> String {
    let size = |scale: u32| format!("width=\"{}\" height=\"{}\"", width * scale, height * scale);
    let joined = format!("{} stroke-linejoin=\"round\"", size(1));
    let mut svg = svg.replacen(&size(SVG_SCALE), &joined, 1);
    for (idle, instead) in
        [(" dy=\"-0.5ex\"", ""), (" opacity=\"1\"", ""), (" stroke=\"none\" stroke-width=\"1\"/>", "/>")]
    {
        svg = svg.replace(idle, instead);
    }
    with_circles_in_groups(&svg)
}

/// The SVG with the style of neighbouring circles written once: a panel may have a thousand of them.
fn with_circles_in_groups(svg: &str) -> String {
    let mut grouped = String::with_capacity(svg.len());
    let mut style_of_group = "";
    for line in svg.split_inclusive('\n') {
        // Position and radius come first, then what they share.
        let parts = line.strip_prefix("<circle ").and_then(|rest| {
            let radius = rest.find(" r=\"")? + 4;
            let place = radius + rest[radius..].find('"')? + 1;
            Some((&rest[..place], rest[place..].trim_end().trim_end_matches("/>").trim()))
        });
        let style = parts.map_or("", |(_, style)| style);
        if style != style_of_group {
            if !style_of_group.is_empty() {
                grouped += "</g>\n";
            }
            if !style.is_empty() {
                // The opacity of a group would be that of all circles as one; circles here are filled.
                grouped += &format!("<g {}>\n", style.replacen("opacity=", "fill-opacity=", 1));
            }
            style_of_group = style;
        }
        match parts {
            Some((place, _)) if !style.is_empty() => grouped += &format!("<circle {place}/>\n"),
            _ => grouped += line,
        }
    }
    grouped
}

/// RGB pixels averaged over squares of [`OVERSAMPLING`].
fn averaged(pixels: &[u8], (width, height): (u32, u32)) -> Vec<u8> {
    let (width, height, n) = (width as usize, height as usize, OVERSAMPLING as usize);
    let mut sums = vec![0u16; 3 * width];
    let mut small = Vec::with_capacity(3 * width * height);
    for rows in pixels.chunks_exact(3 * width * n * n) {
        sums.fill(0);
        for (i, pixel) in rows.chunks_exact(3).enumerate() {
            let at = 3 * (i % (width * n) / n);
            for channel in 0..3 {
                sums[at + channel] += u16::from(pixel[channel]);
            }
        }
        small.extend(sums.iter().map(|&sum| (sum / (n * n) as u16) as u8));
    }
    small
}

fn encode(pixels: &[u8], (width, height): (u32, u32)) -> Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let per_metre = (f64::from(96 * PNG_SCALE) / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: per_metre, yppu: per_metre, unit: png::Unit::Meter }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::palette::{BLACK, BLUE};

    const SIZE: (f64, f64) = (120.0, 60.0);

    /// The pixels of a PNG, three bytes each, and its width.
    fn decoded(png: &[u8]) -> (Vec<u8>, usize) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("it fits in memory")];
        let info = reader.next_frame(&mut pixels).expect("a frame");
        (pixels, info.width as usize)
    }

    #[test]
    fn both_renderings_show_a_shape_in_the_same_place() {
        let figure = render("square", SIZE, |canvas| {
            canvas.rect(Rect { left: 10.0, top: 20.0, width: 5.0, height: 5.0 }, BLUE);
        });
        let figure = figure.expect("renders");
        assert!(figure.svg.starts_with("<svg width=\"120\" height=\"60\""));
        assert!(figure.svg.contains("100,200 150,200 150,250 100,250"));
        let (pixels, width) = decoded(&figure.png);
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
        let (pixels, width) = decoded(&figure.png);
        let dark: Vec<usize> =
            (0..120).filter(|row| pixels[3 * row * width..][..3 * width].iter().any(|&v| v < 128)).collect();
        let (top, bottom) = (dark[0], dark[dark.len() - 1]);
        assert!((78..=80).contains(&bottom) && (49..=52).contains(&top), "rows {top} to {bottom}");
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
        let (pixels, _) = decoded(&figure.expect("renders").png);
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
