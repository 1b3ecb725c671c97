//! A star's raw flux with its pseudo-continuum, above the normalized flux, chip by chip.

use crate::error::Result;
use crate::plot::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Titles, linear};
use crate::plot::canvas::render;
use crate::plot::chips::{Cut, flux_range, known, mark_cut};
use crate::plot::legend::{Entry, Legend};
use crate::plot::marks::{Lettering, Marker, Rect, Stroke};
use crate::plot::palette::{BLUE, GREY, VERMILLION};
use crate::plot::{Figure, PAGE_WIDTH};
use crate::stars::star::StarSpectrum;

const HEIGHT: f64 = 420.0;
const TOP: f64 = 34.0;
const GAP: f64 = 26.0;

/// Draws the figure.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(star: &StarSpectrum) -> Result<Figure> {
    let grid = &star.grid;
    // A chip's frame spans what was measured on it, not the gaps.
    let chips = known(&grid.chips, |pixel| star.raw_flux[pixel].is_finite());
    let points = |values: &[f64], chip: &std::ops::Range<usize>| -> Vec<(f64, f64)> {
        chip.clone().map(|pixel| (grid.wavelength[pixel], values[pixel])).collect()
    };
    let raw_title = if star.raw_unit.is_empty() { "flux".to_string() } else { format!("flux [{}]", star.raw_unit) };
    let rows = [(star.raw_flux.as_slice(), raw_title.as_str()), (star.flux.as_slice(), "normalized flux")];
    let ranges = rows.map(|(values, _)| flux_range(values.iter().copied()));
    let drawn = |values: &[f64]| chips.iter().cloned().flatten().map(|pixel| values[pixel]).collect::<Vec<f64>>();
    let cuts = rows.iter().zip(ranges).map(|((values, _), range)| Cut::of(drawn(values).into_iter(), range));
    let cut = cuts.fold(Cut::default(), Cut::or);
    render(&format!("spectrum of {}", star.id), (PAGE_WIDTH, HEIGHT), |canvas| {
        canvas.text((PAGE_WIDTH / 2.0, TOP / 2.0), &star.id, Lettering::new(13.0).centred());
        let mut entries = vec![
            Entry::Line(Stroke::solid(VERMILLION, 1.4), "pseudo-continuum"),
            Entry::Symbol(Marker::Dot, VERMILLION, "continuum pixels"),
        ];
        entries.extend(cut.entries(BLUE));
        entries.push(Entry::Words("masked pixels are left out"));
        let legend = Legend::new(entries, PAGE_WIDTH);
        let height = (HEIGHT - TOP - BOTTOM_MARGIN - GAP - legend.height()) / 2.0;
        let width =
            (PAGE_WIDTH - LEFT_MARGIN - 14.0 - GAP * chips.len().saturating_sub(1) as f64) / chips.len().max(1) as f64;
        for (row, ((values, title), y)) in rows.into_iter().zip(ranges).enumerate() {
            for (column, chip) in chips.iter().enumerate() {
                let frame = Rect {
                    left: LEFT_MARGIN + column as f64 * (width + GAP),
                    top: TOP + row as f64 * (height + GAP),
                    width,
                    height,
                };
                let x = (grid.wavelength[chip.start], grid.wavelength[chip.end - 1]);
                let axes = Axes { frame, x, y };
                axes.line(canvas, &points(values, chip), Stroke::solid(BLUE, 0.5));
                if row == 0 {
                    axes.line(canvas, &points(&star.continuum, chip), Stroke::solid(VERMILLION, 1.4));
                } else {
                    axes.line(canvas, &[(x.0, 1.0), (x.1, 1.0)], Stroke::dashed(GREY, 0.8));
                }
                for pixel in chip.clone().filter(|pixel| star.continuum_pixels[*pixel] && values[*pixel].is_finite()) {
                    axes.point(canvas, (grid.wavelength[pixel], values[pixel]), Marker::Dot, 1.0, VERMILLION);
                }
                mark_cut(canvas, &axes, &grid.wavelength, values, chip.clone(), BLUE);
                let titles =
                    Titles { x: (row == 1).then_some("vacuum wavelength [Å]"), y: (column == 0).then_some(title) };
                let x_marks = axes.x_labels_within(axes.x_marks(linear(axes.x)), GAP / 2.0 - 1.5);
                axes.draw_frame_with(canvas, titles, &x_marks, &axes.y_marks(linear(axes.y)));
            }
        }
        if chips.is_empty() {
            let lettering = Lettering::new(11.0).centred();
            canvas.text((PAGE_WIDTH / 2.0, HEIGHT / 2.0), "no usable pixel", lettering);
        }
        legend.draw(canvas, (PAGE_WIDTH / 2.0, HEIGHT - legend.height()));
    })
}
