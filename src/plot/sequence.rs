//! Spectra above each other in the order of a label, in its colours: what the label does to lines.

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, TICK_SIZE, Titles, linear, with_unit};
use super::canvas::Canvas;
use super::chips::{Section, draw_spectrum, sections};
use super::colormap::{BAR_MARGIN, Colormap};
use super::draws::{ascending, quantile};
use super::grid::{draw_reason, draw_title};
use super::legend::{Entry, render_above_legend};
use super::line_names::{self, MarkedLine, draw_names, named, room_for_names};
use super::marks::{Lettering, Level, Rect, Stroke};
use super::palette::{BLACK, Color};
use super::spectrum::check_lengths;
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// Spectra that differ in one label.
#[derive(Debug, Clone, Copy)]
pub struct SequenceData<'a> {
    /// Vacuum wavelengths in Angstrom, ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// The range of them that is drawn.
    pub window: (f64, f64),
    /// The spectra, from the lowest to the highest on the page.
    pub spectra: &'a [SequenceSpectrum<'a>],
    /// What differs, e.g. "[Fe/H]", written above the values at the right.
    pub label: &'a str,
    /// Its unit, e.g. "dex"; may be empty.
    pub unit: &'a str,
    /// Spectral lines; the strongest that have room are named.
    pub lines: &'a [MarkedLine],
    /// Words of the legend, e.g. what the spectra have in common; may be empty.
    pub remark: &'a str,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub struct SequenceSpectrum<'a> {
    /// The value of the label.
    pub value: f64,
    /// Words below the value, where values are written; may be empty.
    pub note: &'a str,
    /// Normalized flux, `[n_pixels]`; NaN where there is none.
    pub flux: &'a [f64],
    /// Whether the label lies where the model only extrapolates: drawn broken.
    pub is_extrapolated: bool,
}

/// More spectra than this are told apart by the bar of colours alone.
const MOST_WRITTEN: usize = 14;
/// Height of the page from one spectrum to the next, and of all.
const STEP_HEIGHT: f64 = 34.0;
const MOST_HEIGHT: f64 = 420.0;
/// From one spectrum to the next as a fraction of the depth of the strong lines.
const STEP: f64 = 0.6;
const SPECTRUM_WIDTH: f64 = 0.9;
const NOTE_SIZE: f64 = 7.0;
const EXTRAPOLATED_DASH: Option<(f64, f64)> = Some((3.0, 1.6));
const EXTRAPOLATED: &str = "broken: beyond the training labels, where the model extrapolates";
const CONTINUUM: Stroke = Stroke::solid(Color::new(215, 215, 215), 0.5);

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without spectra, or if one has not one value per wavelength.
pub fn sequence(title: &str, data: &SequenceData) -> Result<Figure> {
    if data.spectra.is_empty() {
        return Err(Error::Figure { figure: "sequence".to_owned(), detail: "no spectrum to draw".to_owned() });
    }
    let lengths = data.spectra.iter().map(|spectrum| spectrum.flux.len());
    check_lengths("sequence", data.wavelength.len(), lengths)?;
    let is_known = |pixel: usize| data.spectra.iter().any(|spectrum| spectrum.flux[pixel].is_finite());
    let section = sections(data.wavelength, &[], &[data.window], is_known).pop();
    let map = Colormap::of(data.spectra.iter().map(|spectrum| spectrum.value));
    let layout = section.as_ref().map(|section| Layout::new(data, section));
    let step = layout.as_ref().map_or(String::new(), |layout| match data.spectra.len() {
        1 => String::new(),
        _ => format!("each spectrum {} above the one before it", layout.step),
    });
    let n = data.spectra.len() as f64;
    let panel_height = (STEP_HEIGHT * (n - 1.0) + 110.0).min(MOST_HEIGHT);
    let top = if title.trim().is_empty() { 4.0 } else { 26.0 } + room_for_names(data.lines, &[data.window]).max(14.0);
    let height = top + panel_height + BOTTOM_MARGIN;
    render_above_legend("sequence", (PAGE_WIDTH, height), entries(data, &step), |canvas| {
        draw_title(canvas, title, PAGE_WIDTH);
        let frame = Rect { left: LEFT_MARGIN, top, width: PAGE_WIDTH - LEFT_MARGIN - BAR_MARGIN, height: panel_height };
        match (&section, &layout) {
            (Some(section), Some(layout)) => draw_panel(canvas, data, section, (layout, &map), frame),
            _ => {
                let axes = Axes { frame, x: (0.0, 1.0), y: (0.0, 1.0) };
                draw_reason(canvas, frame, "no pixel with a value");
                axes.draw_frame_with(canvas, Titles::default(), &Marks::default(), &Marks::default());
            }
        }
    })
}

fn entries<'a>(data: &SequenceData<'a>, step: &'a str) -> Vec<Entry<'a>> {
    let mut entries = line_names::entries(data.lines, &[data.window], (&[], ""));
    let extrapolated = Stroke { dash: EXTRAPOLATED_DASH, ..Stroke::solid(BLACK, SPECTRUM_WIDTH) };
    let has_broken = data.spectra.iter().any(|spectrum| spectrum.is_extrapolated);
    entries.extend(has_broken.then_some(Entry::Line(extrapolated, EXTRAPOLATED)));
    entries.extend([step, data.remark].into_iter().filter(|words| !words.is_empty()).map(Entry::Words));
    entries
}

/// How far spectra lie above each other, and what range of flux holds them.
struct Layout {
    step: f64,
    range: (f64, f64),
}

impl Layout {
    fn new(data: &SequenceData, section: &Section) -> Self {
        let extent = |spectrum: &SequenceSpectrum| {
            let sorted = ascending(section.pixels.clone().map(|pixel| spectrum.flux[pixel]));
            [0.0005, 0.9995].map(|fraction| quantile(&sorted, fraction))
        };
        let extents: Vec<[f64; 2]> = data.spectra.iter().map(extent).collect();
        let deepest = extents.iter().map(|[low, high]| high - low).fold(0.0, f64::max);
        let step = round_step(STEP * deepest);
        let of = |index: usize, end: usize| extents[index][end] + step * index as f64;
        let ends = |end: usize| (0..extents.len()).map(move |index| of(index, end)).filter(|value| value.is_finite());
        let (low, high) = (ends(0).fold(f64::INFINITY, f64::min), ends(1).fold(f64::NEG_INFINITY, f64::max));
        let margin = if high > low { 0.04 * (high - low) } else { 0.5 };
        Self { step, range: (low - margin, high + 1.5 * margin) }
    }

    fn offset(&self, index: usize) -> f64 {
        self.step * index as f64
    }
}

/// The round number nearest above: 1, 2 or 5 times a power of ten, or half as much again.
fn round_step(step: f64) -> f64 {
    let decade = 10_f64.powf(step.log10().floor());
    let multiples = [1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 7.5, 10.0];
    let round = multiples.into_iter().map(|multiple| multiple * decade).find(|round| *round >= step);
    // Back and forth through its decimals, so that it prints as it should.
    round.and_then(|round| format!("{round:.6}").parse().ok()).filter(|round| *round > 0.0).unwrap_or(0.1)
}

fn draw_panel(
    canvas: &mut Canvas,
    data: &SequenceData,
    section: &Section,
    (layout, map): (&Layout, &Colormap),
    frame: Rect,
) {
    let axes = Axes { frame, x: section.span, y: layout.range };
    draw_names(canvas, frame, section.span, &named(data.lines, &[], section.span, frame.width), &[]);
    let is_written = data.spectra.len() <= MOST_WRITTEN;
    let decimals = decimals(data.spectra);
    let letters = Lettering { level: Level::Middle, ..Lettering::new(TICK_SIZE) };
    // The highest first: the lines of a spectrum reach down over the one below it.
    for (index, spectrum) in data.spectra.iter().enumerate().rev() {
        let offset = layout.offset(index);
        let color = map.color(spectrum.value);
        axes.line(canvas, &[(axes.x.0, 1.0 + offset), (axes.x.1, 1.0 + offset)], CONTINUUM);
        let raised: Vec<f64> = spectrum.flux.iter().map(|flux| flux + offset).collect();
        let dash = EXTRAPOLATED_DASH.filter(|_| spectrum.is_extrapolated);
        let stroke = Stroke { dash, ..Stroke::solid(color, SPECTRUM_WIDTH) };
        draw_spectrum(canvas, &axes, data.wavelength, &raised, section.pixels.clone(), stroke);
        if is_written {
            let at = (frame.right() + 7.0, axes.place((0.0, 1.0 + offset)).1);
            let text = format!("{:.decimals$}", spectrum.value + 0.0).replace('-', "\u{2212}");
            let letters = Lettering { color: color.towards(BLACK, 0.35), bold: true, ..letters };
            canvas.text(at, &text, letters.fitted(&text, BAR_MARGIN - 12.0));
            let small = Lettering { level: Level::Middle, ..Lettering::new(NOTE_SIZE) };
            canvas.text((at.0, at.1 + 10.0), spectrum.note, small.fitted(spectrum.note, BAR_MARGIN - 12.0));
        }
    }
    if is_written {
        let title = with_unit(data.label, data.unit);
        let highest = axes.place((0.0, 1.0 + layout.offset(data.spectra.len() - 1))).1;
        let at = (frame.right() + 7.0, highest.min(frame.top + 24.0) - 15.0);
        canvas.text(at, &title, Lettering::new(TICK_SIZE).fitted(&title, BAR_MARGIN - 9.0));
    } else {
        map.draw_bar(canvas, frame, &format!("{} [{}]", data.label, data.unit));
    }
    let y = if data.spectra.len() > 1 { "normalized flux + offset" } else { "normalized flux" };
    let titles = Titles { x: Some("vacuum wavelength [Å]"), y: Some(y) };
    axes.draw_frame_with(canvas, titles, &axes.x_marks(linear(axes.x)), &axes.y_marks(linear(axes.y)));
}

/// The fewest decimals, up to three, that tell all values.
fn decimals(spectra: &[SequenceSpectrum]) -> usize {
    let is_told = |decimals: usize, value: f64| {
        let scaled = value * 10_f64.powi(decimals as i32);
        !value.is_finite() || (scaled - scaled.round()).abs() < 1e-6 * scaled.abs().max(1.0)
    };
    let tells_all = |&decimals: &usize| spectra.iter().all(|spectrum| is_told(decimals, spectrum.value));
    (0..3).find(tells_all).unwrap_or(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 300;

    fn wavelengths() -> Vec<f64> {
        (0..N).map(|pixel| 16_000.0 + 0.5 * pixel as f64).collect()
    }

    fn fluxes(n: usize) -> Vec<Vec<f64>> {
        let flux = |depth: f64| (0..N).map(|pixel| 1.0 - depth * (pixel as f64 * 0.2).sin().powi(8)).collect();
        (0..n).map(|i| flux(0.1 + 0.4 * i as f64 / n as f64)).collect()
    }

    fn draw(fluxes: &[Vec<f64>], window: (f64, f64)) -> Result<Figure> {
        draw_with(fluxes, window, &[])
    }

    fn draw_with(fluxes: &[Vec<f64>], window: (f64, f64), extrapolated: &[usize]) -> Result<Figure> {
        let wavelength = wavelengths();
        let spectra: Vec<SequenceSpectrum> = fluxes
            .iter()
            .enumerate()
            .map(|(index, flux)| SequenceSpectrum {
                value: -1.0 + 0.25 * index as f64,
                note: "4800 K",
                flux,
                is_extrapolated: extrapolated.contains(&index),
            })
            .collect();
        let lines = [MarkedLine { species: "Si I".into(), wavelength: 16_050.0, strength: 1.0, is_band: false }];
        let (label, unit, remark) = ("[Fe/H]", "dex", "Teff 4500 K");
        sequence(
            "",
            &SequenceData { wavelength: &wavelength, window, spectra: &spectra, label, unit, lines: &lines, remark },
        )
    }

    #[test]
    fn values_are_written_at_the_right_of_few_spectra_and_many_have_a_bar() {
        let svg = draw(&fluxes(7), (16_000.0, 16_100.0)).expect("draws").svg;
        for words in [
            ">\n\u{2212}1.00\n<",
            ">\n\u{2212}0.75\n<",
            ">\n0.50\n<",
            "[Fe/H] [dex]",
            "Si I",
            "Teff 4500 K",
            "4800 K",
            "above the one",
        ] {
            assert!(svg.contains(words), "{words:?}");
        }
        let many = draw(&fluxes(30), (16_000.0, 16_100.0)).expect("draws").svg;
        assert!(!many.contains(">\n\u{2212}0.75\n<") && many.contains("[Fe/H] [dex]"));
    }

    #[test]
    fn extrapolated_spectra_are_broken_and_the_legend_says_why() {
        let lines = |extrapolated: &[usize]| {
            let svg = draw_with(&fluxes(7), (16_000.0, 16_100.0), extrapolated).expect("draws").svg;
            (svg.matches("<polyline").count(), svg.contains(EXTRAPOLATED))
        };
        let (whole, one, two) = (lines(&[]), lines(&[0]), lines(&[0, 6]));
        assert!(!whole.1 && one.1 && two.1);
        assert!(whole.0 + 20 < one.0 && one.0 + 20 < two.0, "{whole:?} {one:?} {two:?}");
    }

    #[test]
    fn steps_are_round_and_values_short() {
        let steps = [0.13, 0.2, 0.21, 0.6, 3.4e-5].map(round_step);
        assert_eq!(steps, [0.15, 0.2, 0.25, 0.75, 4e-5]);
        assert_eq!((round_step(0.0), round_step(f64::NAN)), (0.1, 0.1));
        let decimals_of = |values: &[f64]| {
            let spectrum = |&value: &f64| SequenceSpectrum { value, note: "", flux: &[], is_extrapolated: false };
            decimals(&values.iter().map(spectrum).collect::<Vec<_>>())
        };
        let told = [&[4500.0, -5.0][..], &[0.5, 1.0], &[0.25, f64::NAN], &[1.0 / 3.0]].map(decimals_of);
        assert_eq!(told, [0, 1, 2, 3]);
    }

    #[test]
    fn one_flat_and_empty_spectra_are_drawn_and_uneven_ones_refused() {
        for flux in [1.0, 0.0] {
            let svg = draw(&[vec![flux; N]], (16_000.0, 16_100.0)).expect("draws").svg;
            assert!(!svg.contains("NaN") && !svg.contains("above the one"));
        }
        let mixed = [vec![f64::NAN; N], vec![1.0; N]];
        assert!(!draw(&mixed, (16_000.0, 16_100.0)).expect("draws").svg.contains("NaN"));
        assert!(draw(&mixed[..1], (16_000.0, 16_100.0)).expect("draws").svg.contains("no pixel"));
        assert!(draw(&mixed, (1.0, 2.0)).expect("draws").svg.contains("no pixel"));
        assert!(draw(&[], (16_000.0, 16_100.0)).is_err() && draw(&[vec![1.0; 3]], (16_000.0, 16_100.0)).is_err());
    }
}
