//! Errors of an emulator along the spectrum: typical, and of the models it misses most.

use crate::error::Result;
use crate::experiment::emulate::{Emulation, FEATURES};
use crate::plot::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Titles};
use crate::plot::canvas::render;
use crate::plot::legend::{Entry, Legend};
use crate::plot::marks::{Lettering, Rect, Stroke};
use crate::plot::palette::{BLUE, GREEN, GREY, ORANGE, VERMILLION};
use crate::plot::{Figure, PAGE_WIDTH};
use crate::report::{in_unit, label_title};
use crate::spectra::labels::unit;

const ROW_HEIGHT: f64 = 120.0;
const TOP: f64 = 34.0;
const GAP: f64 = 24.0;

/// Draws the figure: rms error of each pixel, then flux and error of the worst models.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(emulation: &Emulation) -> Result<Figure> {
    let wavelength = &emulation.model.preparation.grid.wavelength;
    let x = (wavelength[0], wavelength[wavelength.len() - 1]);
    let points =
        |values: &[f64]| -> Vec<(f64, f64)> { wavelength.iter().copied().zip(values.iter().copied()).collect() };
    let colors = [VERMILLION, ORANGE, GREEN];
    let mut entries = vec![Entry::Line(Stroke::solid(BLUE, 1.0), "emulated - model flux")];
    for ((name, _, _), color) in FEATURES.iter().zip(colors) {
        entries.push(Entry::Line(Stroke::solid(color, 1.0), name));
    }
    let legend = Legend::new(entries, PAGE_WIDTH);
    let n_rows = 1 + emulation.worst.len();
    let height = TOP + n_rows as f64 * (ROW_HEIGHT + GAP) + BOTTOM_MARGIN + legend.height();
    let width = PAGE_WIDTH - LEFT_MARGIN - 14.0;
    render(&format!("errors of {}", emulation.name), (PAGE_WIDTH, height), |canvas| {
        let metrics = &emulation.metrics;
        let title = format!(
            "{}: rms {:.5} over {} models held out, worst model {:.5}",
            emulation.name, metrics.rms, metrics.n_held_out, metrics.rms_worst
        );
        canvas.text((PAGE_WIDTH / 2.0, TOP / 2.0), &title, Lettering::new(13.0).centred());
        for row in 0..n_rows {
            let top = TOP + row as f64 * (ROW_HEIGHT + GAP) + 12.0;
            let frame = Rect { left: LEFT_MARGIN, top, width, height: ROW_HEIGHT };
            let titles = |y| Titles { x: (row + 1 == n_rows).then_some("vacuum wavelength [Å]"), y: Some(y) };
            let Some(worst) = row.checked_sub(1).map(|index| &emulation.worst[index]) else {
                let most = emulation.pixel_rms.iter().copied().fold(0.0, f64::max);
                let axes = Axes { frame, x, y: (0.0, 1.1 * most) };
                for ((_, _, lines), color) in FEATURES.iter().zip(colors) {
                    for line in *lines {
                        axes.line(canvas, &[(*line, 0.0), (*line, 1.1 * most)], Stroke::solid(color, 0.7));
                    }
                }
                axes.line(canvas, &points(&emulation.pixel_rms), Stroke::solid(BLUE, 0.6));
                axes.draw_frame(canvas, titles("rms error"));
                continue;
            };
            let most = worst.error.iter().fold(0.0, |most: f64, error| error.abs().max(most));
            let axes = Axes { frame, x, y: (-1.1 * most, 1.1 * most) };
            axes.line(canvas, &[(x.0, 0.0), (x.1, 0.0)], Stroke::dashed(GREY, 0.8));
            axes.line(canvas, &points(&worst.error), Stroke::solid(BLUE, 0.6));
            axes.draw_frame(canvas, titles("error"));
            let labels: Vec<String> = worst
                .labels
                .iter()
                .map(|(name, value)| format!("{} {}", label_title(name), in_unit(*value, unit(name))))
                .collect();
            let words = format!("rms {:.5}: {}", worst.rms, labels.join(", "));
            canvas.text((LEFT_MARGIN + width / 2.0, top - 8.0), &words, Lettering::new(10.0).centred());
        }
        legend.draw(canvas, (PAGE_WIDTH / 2.0, height - legend.height()));
    })
}
