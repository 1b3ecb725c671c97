//! One star's normalized flux with models of it, and what they leave in units of the flux's error, chip by chip.

use std::ops::Range;

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, Titles};
use super::canvas::{Canvas, render};
use super::chips::{known, points, runs, span};
use super::draws::{ascending, quantile};
use super::grid::draw_reason;
use super::legend::{Entry, Legend};
use super::marks::{Lettering, Marker, Rect, Stroke};
use super::palette::{BAND, BLACK, BLUE, Color, GREEN, GREY, ORANGE, VERMILLION};
use super::ticks::padded_range;
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// A star and models of it.
#[derive(Debug, Clone, Copy)]
pub struct StarAndModel<'a> {
    /// Lines of text above the panels: the first as a title, the others below it.
    pub title_lines: &'a [String],
    /// Vacuum wavelengths in Angstrom, ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// Pixels of each chip.
    pub chips: &'a [Range<usize>],
    /// Normalized flux, `[n_pixels]`.
    pub flux: &'a [f64],
    /// Its standard deviation, `[n_pixels]`: the unit of the residuals.
    pub error: &'a [f64],
    /// Pixels that no fit has seen, `[n_pixels]`.
    pub masked: &'a [bool],
    /// Models of the star, the first one foremost.
    pub models: &'a [NamedSpectrum<'a>],
}

/// A model's spectrum.
#[derive(Debug, Clone, Copy)]
pub struct NamedSpectrum<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// Normalized flux, `[n_pixels]`.
    pub flux: &'a [f64],
}

const FLUX_HEIGHT: f64 = 104.0;
const RESIDUAL_HEIGHT: f64 = 56.0;
const GAP: f64 = 5.0;
const RIGHT_MARGIN: f64 = 14.0;
const LINE_HEIGHT: f64 = 13.0;
/// Smallest range of the residuals on either side of zero.
const LEAST_RESIDUAL: f64 = 4.0;
const FLUX: Stroke = Stroke::solid(BLACK, 0.55);
const MASKED_FLUX: Stroke = Stroke::solid(Color::new(160, 160, 160), 0.5);
const ZERO: Stroke = Stroke::dashed(GREY, 0.7);

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without chips, or if a spectrum has not one value per wavelength.
pub fn star_and_model(star: &StarAndModel) -> Result<Figure> {
    let name = star.title_lines.first().map_or("star", String::as_str);
    let fail = |detail: String| Err(Error::Figure { figure: name.to_owned(), detail });
    let n_pixels = star.wavelength.len();
    let lengths = [star.flux.len(), star.error.len(), star.masked.len()];
    let of_models = star.models.iter().map(|model| model.flux.len());
    if let Some(other) = lengths.into_iter().chain(of_models).find(|length| *length != n_pixels) {
        return fail(format!("{n_pixels} wavelengths, but a spectrum of {other} pixels"));
    }
    if star.chips.is_empty() || star.chips.iter().any(|chip| chip.end > n_pixels) {
        return fail(format!("no chips on {n_pixels} pixels"));
    }
    let is_known = |pixel: usize| star.flux[pixel].is_finite() && !star.masked[pixel];
    let measured = known(star.chips, is_known);
    let n_rows = measured.len().max(1);
    let legend = Legend::new(entries(star), PAGE_WIDTH - 20.0);
    let top = 8.0 + LINE_HEIGHT * star.title_lines.len() as f64 + 8.0;
    let row_height = FLUX_HEIGHT + GAP + RESIDUAL_HEIGHT + BOTTOM_MARGIN;
    let height = top + row_height * n_rows as f64 + legend.height() + 6.0;
    let (flux_range, residual_range) = ranges(star, &measured);
    let residuals: Vec<Vec<f64>> = star.models.iter().map(|model| residuals(star, model)).collect();
    render(name, (PAGE_WIDTH, height), |canvas| {
        for (i, line) in star.title_lines.iter().enumerate() {
            let letters = Lettering::new(if i == 0 { 12.0 } else { 9.0 }).centred();
            let at = (PAGE_WIDTH / 2.0, 8.0 + LINE_HEIGHT * (i as f64 + 0.8));
            canvas.text(at, line, letters.fitted(line, PAGE_WIDTH - 20.0));
        }
        for (row, chip) in measured.iter().enumerate() {
            let width = PAGE_WIDTH - LEFT_MARGIN - RIGHT_MARGIN;
            let upper = Rect { left: LEFT_MARGIN, top: top + row_height * row as f64, width, height: FLUX_HEIGHT };
            let lower = Rect { top: upper.bottom() + GAP, height: RESIDUAL_HEIGHT, ..upper };
            let x = span(star.wavelength, chip);
            let above = Axes { frame: upper, x, y: flux_range };
            let below = Axes { frame: lower, x, y: (-residual_range, residual_range) };
            draw_flux(canvas, star, chip, &above);
            draw_masks(canvas, star, chip, &below);
            below.line(canvas, &[(x.0, 0.0), (x.1, 0.0)], ZERO);
            for (index, residual) in residuals.iter().enumerate().rev() {
                let points = points(star.wavelength, residual, chip.clone());
                below.line(canvas, &points, Stroke { width: 0.6, ..stroke(index) });
            }
            above.draw_frame(canvas, Titles { x: None, y: Some("normalized flux") });
            below.draw_frame(canvas, Titles { x: Some("vacuum wavelength [Å]"), y: Some("\u{394} / error") });
        }
        if measured.is_empty() {
            let (width, height) = (PAGE_WIDTH - LEFT_MARGIN - RIGHT_MARGIN, row_height - BOTTOM_MARGIN);
            let frame = Rect { left: LEFT_MARGIN, top, width, height };
            let axes = Axes { frame, x: (0.0, 1.0), y: (0.0, 1.0) };
            let no_marks = Marks { major: Vec::new(), minor: Vec::new() };
            draw_reason(canvas, frame, "no usable pixel");
            axes.draw_frame_with(canvas, Titles::default(), &no_marks, &no_marks);
        }
        legend.draw(canvas, (PAGE_WIDTH / 2.0, height - legend.height() - 3.0));
    })
}

/// How a model is drawn.
fn stroke(index: usize) -> Stroke {
    Stroke::solid([VERMILLION, BLUE, GREEN, ORANGE][index % 4], 0.65)
}

fn entries<'a>(star: &StarAndModel<'a>) -> Vec<Entry<'a>> {
    let mut entries = vec![Entry::Line(Stroke { width: 1.0, ..FLUX }, "flux")];
    let models = star.models.iter().enumerate();
    entries.extend(models.map(|(index, model)| Entry::Line(Stroke { width: 1.4, ..stroke(index) }, model.name)));
    if star.masked.iter().any(|masked| *masked) {
        entries.push(Entry::Symbol(Marker::Square, BAND, "masked"));
    }
    entries.push(Entry::Words("\u{394}: flux \u{2212} model"));
    entries
}

/// (flux - model) / error; NaN where that is not known, and on masked pixels.
fn residuals(star: &StarAndModel, model: &NamedSpectrum) -> Vec<f64> {
    let of = |pixel: usize| {
        let is_usable = !star.masked[pixel] && star.error[pixel] > 0.0 && star.error[pixel].is_finite();
        if is_usable { (star.flux[pixel] - model.flux[pixel]) / star.error[pixel] } else { f64::NAN }
    };
    (0..star.flux.len()).map(of).collect()
}

/// Range of the flux, and that of the residuals on either side of zero, which a few wild pixels do not stretch.
fn ranges(star: &StarAndModel, chips: &[Range<usize>]) -> ((f64, f64), f64) {
    let pixels = || chips.iter().cloned().flatten().filter(|&pixel| !star.masked[pixel]);
    let spectra = std::iter::once(star.flux).chain(star.models.iter().map(|model| model.flux));
    let flux = ascending(spectra.flat_map(|flux| pixels().map(|pixel| flux[pixel])));
    let flux_range = padded_range([0.001, 0.999].map(|fraction| quantile(&flux, fraction)), 0.1);
    let of_first = star.models.first().map(|model| residuals(star, model)).unwrap_or_default();
    let sizes = ascending(of_first.into_iter().map(f64::abs));
    (flux_range, (1.2 * quantile(&sizes, 0.998)).max(LEAST_RESIDUAL))
}

fn draw_flux(canvas: &mut Canvas, star: &StarAndModel, chip: &Range<usize>, axes: &Axes) {
    draw_masks(canvas, star, chip, axes);
    axes.line(canvas, &points(star.wavelength, star.flux, chip.clone()), MASKED_FLUX);
    for run in runs(chip.clone(), |pixel| !star.masked[pixel]) {
        axes.line(canvas, &points(star.wavelength, star.flux, run), FLUX);
    }
    for (index, model) in star.models.iter().enumerate().rev() {
        axes.line(canvas, &points(star.wavelength, model.flux, chip.clone()), stroke(index));
    }
}

/// Greys the masked pixels.
fn draw_masks(canvas: &mut Canvas, star: &StarAndModel, chip: &Range<usize>, axes: &Axes) {
    for run in runs(chip.clone(), |pixel| star.masked[pixel]) {
        let (low, high) = span(star.wavelength, &run);
        let (left, right) = (axes.place((low, 0.0)).0, axes.place((high, 0.0)).0);
        let (left, right) = (left.max(axes.frame.left), right.min(axes.frame.right()));
        canvas.rect(Rect { left, width: (right - left).max(0.3), ..axes.frame }, BAND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 90;

    fn wavelengths() -> Vec<f64> {
        (0..N).map(|pixel| 15_200.0 + 0.2 * pixel as f64).collect()
    }

    fn flux() -> Vec<f64> {
        (0..N).map(|pixel| 1.0 - 0.3 * (pixel as f64 * 0.4).sin().powi(8)).collect()
    }

    #[test]
    fn residuals_are_in_units_of_the_error_and_masked_pixels_have_none() {
        let (wavelength, flux) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.9, 0.8, 0.7]);
        let model = NamedSpectrum { name: "fit", flux: &[0.9; 4] };
        let (error, masked) = ([0.1, 0.1, 0.0, 0.1], [false, false, false, true]);
        let chips = std::iter::once(0..4).collect::<Vec<_>>();
        let star = StarAndModel {
            title_lines: &[],
            wavelength: &wavelength,
            chips: &chips,
            flux: &flux,
            error: &error,
            masked: &masked,
            models: &[model],
        };
        let residuals = residuals(&star, &model);
        assert!((residuals[0] - 1.0).abs() < 1e-9 && residuals[1].abs() < 1e-9);
        assert!(residuals[2].is_nan() && residuals[3].is_nan());
        assert_eq!(ranges(&star, &chips).1, LEAST_RESIDUAL);
    }

    #[test]
    fn every_chip_has_its_panels_and_masks_are_grey() {
        let (wavelength, flux, error) = (wavelengths(), flux(), vec![0.01; N]);
        let masked: Vec<bool> = (0..N).map(|pixel| pixel < 5 || (20..23).contains(&pixel) || pixel == 40).collect();
        let chips = [0..30, 30..60, 60..90];
        let models =
            [NamedSpectrum { name: "best fit", flux: &flux }, NamedSpectrum { name: "catalogue", flux: &error }];
        let titles = ["2M0000 & more", "chi^2 12 per pixel"].map(String::from);
        let star = StarAndModel {
            title_lines: &titles,
            wavelength: &wavelength,
            chips: &chips,
            flux: &flux,
            error: &error,
            masked: &masked,
            models: &models,
        };
        let svg = star_and_model(&star).expect("draws").svg;
        for words in ["2M0000 &amp; more", "chi^2 12", "best fit", "catalogue", "masked"] {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!(svg.matches(">\nnormalized flux\n<").count(), 3);
        // The page, the legend, two masks inside the chips in two frames each; the pixels at the start are no part of a frame.
        assert_eq!(svg.matches("<polygon").count(), 2 + 2 * 2);
    }

    #[test]
    fn a_star_without_pixels_models_or_errors_is_drawn_and_uneven_ones_are_refused() {
        let (wavelength, flux, nothing) = (wavelengths(), flux(), vec![f64::NAN; N]);
        let (free, chips) = (vec![false; N], [0..45, 45..N]);
        let star = StarAndModel {
            title_lines: &[],
            wavelength: &wavelength,
            chips: &chips,
            flux: &nothing,
            error: &nothing,
            masked: &free,
            models: &[],
        };
        assert!(star_and_model(&star).expect("draws").svg.contains("no usable pixel"));
        let all = vec![true; N];
        let masked = StarAndModel { flux: &flux, masked: &all, ..star };
        assert!(star_and_model(&masked).expect("draws").svg.contains("no usable pixel"));
        let equal = vec![1.0; N];
        let bare = StarAndModel { flux: &equal, models: &[NamedSpectrum { name: "none", flux: &nothing }], ..star };
        assert!(!star_and_model(&bare).expect("draws").svg.contains("NaN"));
        assert!(star_and_model(&StarAndModel { flux: &flux[1..], ..star }).is_err());
        assert!(star_and_model(&StarAndModel { chips: &[], ..star }).is_err());
    }
}
