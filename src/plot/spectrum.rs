//! Spectra over each other, in one row of panels per chip or window, with how they differ below.

use std::ops::Range;

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, Titles};
use super::canvas::Canvas;
use super::chips::{Cut, Section, draw_between, draw_spectrum, flux_range, mark_cut, runs, sections, span};
use super::draws::{ascending, quantile};
use super::grid::draw_reason;
use super::legend::{Entry, render_above_legend};
use super::line_names::{self, MarkedLine, draw_names, named, room_for_names};
use super::marks::{Lettering, Marker, Rect, Stroke};
use super::palette::{BAND, BLACK, BLUE, Color, GREEN, GREY, ORANGE, VERMILLION};
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// Spectra and what is drawn with them.
#[derive(Debug, Clone, Copy)]
pub struct SpectrumData<'a> {
    /// Lines of text above the panels: the first as a title, the others below it.
    pub title_lines: &'a [String],
    /// Vacuum wavelengths in Angstrom, ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// Pixels of each chip: one row of panels per chip.
    pub chips: &'a [Range<usize>],
    /// Vacuum wavelength ranges in Angstrom drawn as rows instead of the chips; empty for the chips.
    pub windows: &'a [(f64, f64)],
    /// What the spectra are, with their unit, e.g. "normalized flux".
    pub y_title: &'a str,
    /// The first in black, the others in colour over it.
    pub spectra: &'a [NamedSpectrum<'a>],
    /// Standard deviation of the first spectrum, drawn as a band around it.
    pub error: Option<&'a [f64]>,
    /// Pixels set apart in grey, `[n_pixels]`; empty for none.
    pub masked: &'a [bool],
    /// Drawn in panels below the spectra.
    pub differences: Option<Differences<'a>>,
    /// Spectral lines; the strongest that have room are named.
    pub lines: &'a [MarkedLine],
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// A spectrum.
#[derive(Debug, Clone, Copy)]
pub struct NamedSpectrum<'a> {
    /// What the legend calls it.
    pub name: &'a str,
    /// Flux, `[n_pixels]`; NaN where there is none.
    pub flux: &'a [f64],
}

/// How the first spectrum differs from the others.
#[derive(Debug, Clone, Copy)]
pub struct Differences<'a> {
    /// Title of the axis, with the unit if there is one.
    pub title: &'a str,
    /// `[n_pixels]` for each spectrum after the first, in its colour.
    pub values: &'a [Vec<f64>],
    /// What the legend calls it, and the standard deviation expected of them, `[n_pixels]`, drawn as a band around zero.
    pub expected: Option<(&'a str, &'a [f64])>,
    /// The axis reaches at least as far from zero; may be nil.
    pub least_range: f64,
}

const FLUX_HEIGHT: f64 = 104.0;
const DIFFERENCE_HEIGHT: f64 = 56.0;
const GAP: f64 = 5.0;
/// Half of the last label of a window fits.
const RIGHT_MARGIN: f64 = 18.0;
const LINE_HEIGHT: f64 = 13.0;
const FLUX: Stroke = Stroke::solid(BLACK, 0.55);
const MASKED_FLUX: Stroke = Stroke::solid(Color::new(160, 160, 160), 0.5);
const ZERO: Stroke = Stroke::dashed(GREY, 0.7);
const ERROR_BAND: Color = Color::new(190, 217, 235);

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without a spectrum, without chips and windows, or if a spectrum has not one value per wavelength.
pub fn spectrum(data: &SpectrumData) -> Result<Figure> {
    let name = data.title_lines.first().map_or("spectrum", String::as_str);
    check(name, data)?;
    let is_known = |pixel: usize| !is_masked(data, pixel) && data.spectra[0].flux[pixel].is_finite();
    let rows = sections(data.wavelength, data.chips, data.windows, is_known);
    let spans: Vec<(f64, f64)> = rows.iter().map(|row| row.span).collect();
    let ranges = ranges(data, &rows);
    let entries = entries(data, &rows, &spans, ranges);
    let names = room_for_names(data.lines, &spans);
    let top = 8.0 + LINE_HEIGHT * data.title_lines.len() as f64 + 8.0;
    let differences = if data.differences.is_some() { GAP + DIFFERENCE_HEIGHT } else { 0.0 };
    let row_height = names + FLUX_HEIGHT + differences + BOTTOM_MARGIN;
    let height = top + row_height * rows.len().max(1) as f64;
    render_above_legend(name, (PAGE_WIDTH, height), entries, |canvas| {
        for (i, line) in data.title_lines.iter().enumerate() {
            let letters = Lettering::new(if i == 0 { 12.0 } else { 9.0 }).centred();
            let at = (PAGE_WIDTH / 2.0, 8.0 + LINE_HEIGHT * (i as f64 + 0.8));
            canvas.text(at, line, letters.fitted(line, PAGE_WIDTH - 20.0));
        }
        let width = PAGE_WIDTH - LEFT_MARGIN - RIGHT_MARGIN;
        for (index, row) in rows.iter().enumerate() {
            let top = top + row_height * index as f64 + names;
            let upper = Rect { left: LEFT_MARGIN, top, width, height: FLUX_HEIGHT };
            draw_row(canvas, data, row, upper, ranges);
        }
        if rows.is_empty() {
            let frame = Rect { left: LEFT_MARGIN, top, width, height: row_height - BOTTOM_MARGIN };
            let axes = Axes { frame, x: (0.0, 1.0), y: (0.0, 1.0) };
            draw_reason(canvas, frame, "no usable pixel");
            axes.draw_frame_with(canvas, Titles::default(), &Marks::default(), &Marks::default());
        }
    })
}

fn check(name: &str, data: &SpectrumData) -> Result<()> {
    let fail = |detail: String| Err(Error::Figure { figure: name.to_owned(), detail });
    let n_pixels = data.wavelength.len();
    if data.spectra.is_empty() {
        return fail("no spectrum to draw".to_owned());
    }
    let masked = (!data.masked.is_empty()).then_some(data.masked.len());
    let spectra = data.spectra.iter().map(|spectrum| spectrum.flux.len());
    let differences = data.differences.iter().flat_map(|differences| {
        let expected = differences.expected.map(|(_, expected)| expected.len());
        differences.values.iter().map(Vec::len).chain(expected)
    });
    let lengths = spectra.chain(differences).chain(masked).chain(data.error.map(<[f64]>::len));
    check_lengths(name, n_pixels, lengths)?;
    let has_no_place = data.chips.is_empty() && data.windows.is_empty();
    if has_no_place || data.chips.iter().any(|chip| chip.end > n_pixels) {
        return fail(format!("neither chips nor windows, or a chip beyond the last of {n_pixels} pixels"));
    }
    Ok(())
}

/// Refuses a spectrum that has not one value per wavelength.
pub(super) fn check_lengths(name: &str, n_pixels: usize, mut lengths: impl Iterator<Item = usize>) -> Result<()> {
    match lengths.find(|length| *length != n_pixels) {
        Some(other) => {
            let detail = format!("{n_pixels} wavelengths, but a spectrum of {other} pixels");
            Err(Error::Figure { figure: name.to_owned(), detail })
        }
        None => Ok(()),
    }
}

fn is_masked(data: &SpectrumData, pixel: usize) -> bool {
    data.masked.get(pixel).copied().unwrap_or(false)
}

/// How a spectrum after the first is drawn.
fn stroke(index: usize) -> Stroke {
    Stroke::solid([VERMILLION, BLUE, GREEN, ORANGE][index % 4], 0.65)
}

fn entries<'a>(
    data: &SpectrumData<'a>,
    rows: &[Section],
    spans: &[(f64, f64)],
    (flux_range, reach): ((f64, f64), f64),
) -> Vec<Entry<'a>> {
    let mut entries = Vec::new();
    for (index, spectrum) in data.spectra.iter().enumerate() {
        let stroke =
            index.checked_sub(1).map_or(Stroke { width: 1.0, ..FLUX }, |index| Stroke { width: 1.4, ..stroke(index) });
        entries.push(Entry::Line(stroke, spectrum.name));
    }
    if data.error.is_some() {
        entries.push(Entry::Symbol(Marker::Square, ERROR_BAND, "\u{b1} its error"));
    }
    if let Some((words, _)) = data.differences.and_then(|differences| differences.expected) {
        entries.push(Entry::Symbol(Marker::Square, ERROR_BAND, words));
    }
    if data.masked.contains(&true) {
        entries.push(Entry::Symbol(Marker::Square, BAND, "masked"));
    }
    entries.extend(line_names::entries(data.lines, spans, (&[], "")));
    let of = |values: &'a [f64]| unmasked(data, rows).map(|pixel| values[pixel]);
    let fluxes = data.spectra.iter().map(|spectrum| Cut::of(of(spectrum.flux), flux_range));
    let differences = first_differences(data).map(|values| Cut::of(of(values), (-reach, reach)));
    entries.extend(fluxes.chain(differences).fold(Cut::default(), Cut::or).entries(FLUX.color));
    entries.extend((!data.remark.is_empty()).then_some(Entry::Words(data.remark)));
    entries
}

/// Pixels that are drawn and not masked.
fn unmasked(data: &SpectrumData, rows: &[Section]) -> impl Iterator<Item = usize> {
    rows.iter().flat_map(|row| row.pixels.clone()).filter(|&pixel| !is_masked(data, pixel))
}

/// The differences that set how far their axis reaches.
fn first_differences<'a>(data: &SpectrumData<'a>) -> Option<&'a [f64]> {
    data.differences.and_then(|differences| differences.values.first()).map(Vec::as_slice)
}

/// Range of the flux, and that of the differences on either side of zero, which a few wild pixels do not stretch.
fn ranges(data: &SpectrumData, rows: &[Section]) -> ((f64, f64), f64) {
    let pixels = || unmasked(data, rows);
    let flux_range = flux_range(data.spectra.iter().flat_map(|spectrum| pixels().map(|pixel| spectrum.flux[pixel])));
    let of = |values: &[f64], fraction: f64| {
        let sizes = ascending(pixels().map(|pixel| values[pixel].abs()));
        if sizes.is_empty() { 0.0 } else { quantile(&sizes, fraction) }
    };
    let Some(differences) = data.differences else { return (flux_range, 1.0) };
    let first = differences.values.first().map_or(0.0, |values| 1.2 * of(values, 0.99));
    let expected = differences.expected.map_or(0.0, |(_, expected)| 1.8 * of(expected, 0.5));
    let reach = first.max(expected).max(differences.least_range);
    (flux_range, if reach > 0.0 { reach } else { 1.0 })
}

fn draw_row(
    canvas: &mut Canvas,
    data: &SpectrumData,
    row: &Section,
    upper: Rect,
    (flux_range, reach): ((f64, f64), f64),
) {
    let lower = Rect { top: upper.bottom() + GAP, height: DIFFERENCE_HEIGHT, ..upper };
    let above = Axes { frame: upper, x: row.span, y: flux_range };
    let below = Axes { frame: lower, x: row.span, y: (-reach, reach) };
    let whole =
        Rect { height: if data.differences.is_some() { lower.bottom() - upper.top } else { upper.height }, ..upper };
    draw_masks(canvas, data, row, &above);
    if data.differences.is_some() {
        draw_masks(canvas, data, row, &below);
    }
    draw_names(canvas, whole, row.span, &named(data.lines, &[], row.span, upper.width), &[]);
    draw_flux(canvas, data, row, &above);
    let x_title = Some("vacuum wavelength [Å]");
    if let Some(differences) = data.differences {
        draw_differences(canvas, data, &differences, row, &below);
        below.draw_frame(canvas, Titles { x: x_title, y: Some(differences.title) });
    }
    let x = if data.differences.is_some() { None } else { x_title };
    above.draw_frame(canvas, Titles { x, y: Some(data.y_title) });
}

fn draw_flux(canvas: &mut Canvas, data: &SpectrumData, row: &Section, axes: &Axes) {
    let first = data.spectra[0].flux;
    if let Some(error) = data.error {
        let edge = |sign: f64| -> Vec<f64> {
            let known = |(flux, error): (&f64, &f64)| if *error >= 0.0 { flux + sign * error } else { f64::NAN };
            first.iter().zip(error).map(known).collect()
        };
        for run in runs(row.pixels.clone(), |pixel| !is_masked(data, pixel)) {
            draw_between(canvas, axes, data.wavelength, [&edge(-1.0), &edge(1.0)], run, ERROR_BAND);
        }
    }
    draw_spectrum(canvas, axes, data.wavelength, first, row.pixels.clone(), MASKED_FLUX);
    for run in runs(row.pixels.clone(), |pixel| !is_masked(data, pixel)) {
        draw_spectrum(canvas, axes, data.wavelength, first, run, FLUX);
    }
    for (index, spectrum) in data.spectra.iter().skip(1).enumerate().rev() {
        draw_spectrum(canvas, axes, data.wavelength, spectrum.flux, row.pixels.clone(), stroke(index));
    }
    for (index, spectrum) in data.spectra.iter().enumerate().rev() {
        let color = index.checked_sub(1).map_or(FLUX.color, |index| stroke(index).color);
        for run in runs(row.pixels.clone(), |pixel| !is_masked(data, pixel)) {
            mark_cut(canvas, axes, data.wavelength, spectrum.flux, run, color);
        }
    }
}

fn draw_differences(canvas: &mut Canvas, data: &SpectrumData, of: &Differences, row: &Section, axes: &Axes) {
    if let Some((_, expected)) = of.expected {
        let edge = |sign: f64| expected.iter().map(|expected| sign * expected.abs()).collect::<Vec<f64>>();
        for run in runs(row.pixels.clone(), |pixel| !is_masked(data, pixel)) {
            draw_between(canvas, axes, data.wavelength, [&edge(-1.0), &edge(1.0)], run, ERROR_BAND);
        }
    }
    axes.line(canvas, &[(axes.x.0, 0.0), (axes.x.1, 0.0)], ZERO);
    for (index, values) in of.values.iter().enumerate().rev() {
        let stroke = Stroke { width: 0.6, ..stroke(index) };
        for run in runs(row.pixels.clone(), |pixel| !is_masked(data, pixel)) {
            draw_spectrum(canvas, axes, data.wavelength, values, run.clone(), stroke);
            if index == 0 {
                mark_cut(canvas, axes, data.wavelength, values, run, stroke.color);
            }
        }
    }
}

/// Greys the masked pixels.
fn draw_masks(canvas: &mut Canvas, data: &SpectrumData, row: &Section, axes: &Axes) {
    for run in runs(row.pixels.clone(), |pixel| is_masked(data, pixel)) {
        let (low, high) = span(data.wavelength, &run);
        let edge = |wavelength: f64| axes.place((wavelength, 0.0)).0.clamp(axes.frame.left, axes.frame.right());
        let (left, right) = (edge(low), edge(high));
        canvas.rect(Rect { left, width: (right - left).max(0.3), ..axes.frame }, BAND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 200;

    fn wavelengths() -> Vec<f64> {
        (0..N).map(|pixel| 16_000.0 + 0.2 * pixel as f64).collect()
    }

    fn flux(shift: f64) -> Vec<f64> {
        (0..N).map(|pixel| 1.0 - 0.3 * (pixel as f64 * 0.4 + shift).sin().powi(8)).collect()
    }

    fn data<'a>(wavelength: &'a [f64], spectra: &'a [NamedSpectrum<'a>]) -> SpectrumData<'a> {
        SpectrumData {
            title_lines: &[],
            wavelength,
            chips: &[],
            windows: &[(16_005.0, 16_030.0)],
            y_title: "flux [1e\u{2212}17 erg/s/cm\u{b2}/\u{c5}]",
            spectra,
            error: None,
            masked: &[],
            differences: None,
            lines: &[],
            remark: "",
        }
    }

    #[test]
    fn spectra_differences_noise_lines_and_units_are_all_there() {
        let (wavelength, a, b, noise) = (wavelengths(), flux(0.0), flux(0.1), vec![0.01; N]);
        let spectra = [NamedSpectrum { name: "star A", flux: &a }, NamedSpectrum { name: "star B", flux: &b }];
        let values = [a.iter().zip(&b).map(|(a, b)| a - b).collect()];
        let differences =
            Differences { title: "A \u{2212} B", values: &values, expected: Some(("noise", &noise)), least_range: 0.0 };
        let lines = [MarkedLine { species: "Mg I".into(), wavelength: 16_010.0, strength: 1.0, is_band: false }];
        let all = SpectrumData {
            differences: Some(differences),
            lines: &lines,
            error: Some(&noise),
            remark: "look-alikes",
            ..data(&wavelength, &spectra)
        };
        let svg = spectrum(&all).expect("draws").svg;
        for words in
            ["star A", "star B", "A \u{2212} B", "noise", "Mg I", "erg/s/cm", "\u{b1} its error", "look-alikes"]
        {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!(svg.matches("vacuum wavelength").count(), 1);
    }

    #[test]
    fn the_differences_reach_as_far_as_they_the_noise_or_the_caller_ask() {
        let (wavelength, a, small) = (wavelengths(), flux(0.0), vec![0.01; N]);
        let spectra = [NamedSpectrum { name: "", flux: &a }; 2];
        let values = [small.clone()];
        let reach = |expected, least_range| {
            let differences = Differences { title: "", values: &values, expected, least_range };
            let data = SpectrumData { differences: Some(differences), ..data(&wavelength, &spectra) };
            ranges(&data, &sections(&wavelength, &[], data.windows, |_| true)).1
        };
        assert!((reach(None, 0.0) - 0.012).abs() < 1e-9);
        assert_eq!((reach(Some(("", &vec![1.0; N])), 0.0), reach(None, 5.0)), (1.8, 5.0));
    }

    #[test]
    fn a_deep_line_is_drawn_to_its_bottom_and_what_is_cut_is_told() {
        let wavelength: Vec<f64> = (0..4000).map(|pixel| 16_000.0 + 0.2 * f64::from(pixel)).collect();
        let mut flux = vec![2000.0; 4000];
        (flux[100], flux[2000]) = (300.0, 2100.0);
        let legend = |flux: &[f64]| {
            let spectra = [NamedSpectrum { name: "star", flux }];
            let data = SpectrumData { windows: &[(16_000.0, 16_900.0)], ..data(&wavelength, &spectra) };
            let rows = sections(&wavelength, &[], data.windows, |_| true);
            (ranges(&data, &rows).0, spectrum(&data).expect("draws").svg.contains("reaches above the frame"))
        };
        let ((low, _), is_told) = legend(&flux);
        assert!(low < 300.0 && !is_told, "{low}");
        flux[3000] = 60_000.0;
        let ((_, high), is_told) = legend(&flux);
        assert!(high < 5000.0 && is_told, "{high}");
    }

    #[test]
    fn nothing_known_is_told_and_uneven_spectra_are_refused() {
        let (wavelength, a, nothing) = (wavelengths(), flux(0.0), vec![f64::NAN; N]);
        let one = |flux| [NamedSpectrum { name: "", flux }];
        let (known, unknown, short) = (one(&a), one(&nothing), one(&a[1..]));
        assert!(spectrum(&data(&wavelength, &unknown)).expect("draws").svg.contains("no usable pixel"));
        let far = SpectrumData { windows: &[(1.0, 2.0)], ..data(&wavelength, &known) };
        assert!(spectrum(&far).expect("draws").svg.contains("no usable pixel"));
        let pixel = SpectrumData { windows: &[(16_000.1, 16_000.3)], ..far };
        assert!(!spectrum(&pixel).expect("draws").svg.contains("no usable pixel"));
        let nil = vec![0.0; N];
        let flat = one(&nil);
        assert!(!spectrum(&data(&wavelength, &flat)).expect("draws").svg.contains("NaN"));
        assert!(spectrum(&data(&wavelength, &[])).is_err() && spectrum(&data(&wavelength, &short)).is_err());
        assert!(spectrum(&SpectrumData { windows: &[], ..data(&wavelength, &known) }).is_err());
        assert!(spectrum(&SpectrumData { masked: &[true], ..data(&wavelength, &known) }).is_err());
        assert!(spectrum(&SpectrumData { error: Some(&[1.0]), ..data(&wavelength, &known) }).is_err());
    }
}
