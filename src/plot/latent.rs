//! Spectra of what labels do not tell, against wavelength, with spectral lines marked: do they look like CN, CO, OH?

use std::ops::Range;

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Titles, linear};
use super::canvas::{Canvas, render};
use super::chips::{known, points, span};
use super::draws::{ascending, quantile};
use super::grid::{draw_reason, draw_title};
use super::legend::{Entry, Legend};
use super::marks::{Lettering, Level, Rect, Stroke};
use super::palette::{BLACK, BLUE, Color, GREEN, SLATE, VERMILLION, WHITE};
use super::ticks::padded_range;
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// What a figure of latent spectra shows.
#[derive(Debug, Clone, Copy)]
pub struct LatentData<'a> {
    /// Vacuum wavelengths in Angstrom, ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// Pixels of each chip: one column of panels per chip.
    pub chips: &'a [Range<usize>],
    /// One row of panels each.
    pub rows: &'a [LatentRow],
    /// Spectral lines; the strongest that have room are named.
    pub lines: &'a [MarkedLine],
    /// Vacuum wavelength ranges in Angstrom drawn as columns instead of the chips; empty for the chips.
    pub windows: &'a [(f64, f64)],
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// One spectrum, and one that it may be compared with.
#[derive(Debug, Clone)]
pub struct LatentRow {
    /// At the left, e.g. "1".
    pub title: String,
    /// Change of normalized flux for one unit of the latent nuisance, `[n_pixels]`; NaN where there is none.
    pub values: Vec<f64>,
    /// The response of flux to a known cause.
    pub reference: Option<LatentReference>,
}

/// The response of flux to a known cause, and how well it agrees.
#[derive(Debug, Clone)]
pub struct LatentReference {
    /// Its cause, e.g. "[C/H]".
    pub name: String,
    /// `[n_pixels]`; drawn with the scale and the sign that bring it nearest to the spectrum.
    pub values: Vec<f64>,
    /// Correlation of the two over the pixels, printed.
    pub correlation: f64,
}

/// A spectral line or the head of a band.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkedLine {
    /// Its name, e.g. "Mg I".
    pub species: String,
    /// Vacuum wavelength in Angstrom.
    pub wavelength: f64,
    /// Its strength, in any measure that orders lines: the strongest are named first.
    pub strength: f64,
    /// The head of a molecular band: named before all lines.
    pub is_band: bool,
}

/// More rows than this are not drawn.
const MOST_ROWS: usize = 14;
const RIGHT_MARGIN: f64 = 12.0;
const GAP: f64 = 7.0;
const ROW_GAP: f64 = 8.0;
/// Room for the names of lines above the first row.
const NAMES_HEIGHT: f64 = 40.0;
const NAMES: Lettering = Lettering::new(7.0);
/// Between the names of neighbouring lines.
const NAME_SPACING: f64 = 7.6;
const SPECTRUM: Stroke = Stroke::solid(BLUE, 0.55);
const REFERENCE: Stroke = Stroke::solid(GREEN, 0.55);
const LINE: Stroke = Stroke::solid(Color::new(205, 205, 205), 0.6);
const BAND_HEAD: Stroke = Stroke::solid(Color::new(240, 184, 150), 1.0);
const ZERO: Stroke = Stroke::solid(Color::new(170, 170, 170), 0.6);

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without rows, or if a spectrum has not one value per wavelength.
pub fn latent_spectra(title: &str, data: &LatentData) -> Result<Figure> {
    check(data)?;
    let rows = &data.rows[..data.rows.len().min(MOST_ROWS)];
    let columns = columns(data, rows);
    let left_out = match data.rows.len() - rows.len() {
        0 => String::new(),
        n => format!("the first {} of {} spectra", rows.len(), rows.len() + n),
    };
    let legend = Legend::new(entries(data, rows, &left_out), PAGE_WIDTH - 20.0);
    let panel_height = if rows.len() > 6 { 50.0 } else { 66.0 };
    let height_of = |row: &LatentRow| if row.reference.is_some() { 2.0 * panel_height } else { panel_height };
    let top = if title.trim().is_empty() { 4.0 } else { 24.0 } + NAMES_HEIGHT;
    let tops: Vec<f64> = rows
        .iter()
        .scan(top, |next, row| {
            let top = *next;
            *next += height_of(row) + ROW_GAP;
            Some(top)
        })
        .collect();
    let foot = tops.last().unwrap_or(&top) + rows.last().map_or(0.0, height_of);
    let height = foot + BOTTOM_MARGIN + legend.height() + 6.0;
    let n_columns = columns.len().max(1) as f64;
    let width = (PAGE_WIDTH - LEFT_MARGIN - RIGHT_MARGIN - GAP * (n_columns - 1.0)) / n_columns;
    render("latent spectra", (PAGE_WIDTH, height), |canvas| {
        draw_title(canvas, title, PAGE_WIDTH);
        for (index, column) in columns.iter().enumerate() {
            let left = LEFT_MARGIN + index as f64 * (width + GAP);
            let whole = Rect { left, top, width, height: foot - top };
            let named = named(data.lines, column.span, width);
            draw_names(canvas, whole, column.span, &named);
            for (row, &top) in rows.iter().zip(&tops) {
                let frame = Rect { left, top, width, height: panel_height };
                let is_last = top + height_of(row) + 1.0 > foot;
                draw_row(canvas, data, row, frame, (column, index == 0, is_last));
            }
        }
        if columns.is_empty() {
            let frame = Rect { left: LEFT_MARGIN, top, width, height: foot - top };
            draw_reason(canvas, frame, "no pixel with a value");
        }
        legend.draw(canvas, (PAGE_WIDTH / 2.0, height - legend.height() - 3.0));
    })
}

fn check(data: &LatentData) -> Result<()> {
    let fail = |detail: String| Err(Error::Figure { figure: "latent spectra".to_owned(), detail });
    if data.rows.is_empty() {
        return fail("no spectrum to draw".to_owned());
    }
    let n_pixels = data.wavelength.len();
    let references = data.rows.iter().filter_map(|row| row.reference.as_ref()).map(|reference| reference.values.len());
    let lengths = data.rows.iter().map(|row| row.values.len()).chain(references);
    match lengths.chain(data.chips.iter().map(|chip| chip.end)).find(|length| *length > n_pixels) {
        Some(other) => fail(format!("{n_pixels} wavelengths, but a spectrum or chip of {other} pixels")),
        None if data.rows.iter().any(|row| row.values.len() < n_pixels) => {
            fail(format!("a spectrum of fewer pixels than {n_pixels} wavelengths"))
        }
        None => Ok(()),
    }
}

/// Pixels of one column of panels, and the wavelengths its frames span.
struct Column {
    pixels: Range<usize>,
    span: (f64, f64),
}

fn columns(data: &LatentData, rows: &[LatentRow]) -> Vec<Column> {
    // A latent spectrum says nothing about a pixel where it is nil, as in the gaps between chips.
    let is_known = |pixel: usize| rows.iter().any(|row| row.values[pixel].is_finite() && row.values[pixel] != 0.0);
    let chips = known(data.chips, is_known);
    if data.windows.is_empty() {
        return chips.into_iter().map(|pixels| Column { span: span(data.wavelength, &pixels), pixels }).collect();
    }
    let window = |&(low, high): &(f64, f64)| {
        let start = data.wavelength.partition_point(|wavelength| *wavelength < low).saturating_sub(1);
        let end = (data.wavelength.partition_point(|wavelength| *wavelength <= high) + 1).min(data.wavelength.len());
        (low < high && start < end).then_some(Column { pixels: start..end, span: (low, high) })
    };
    data.windows.iter().filter_map(window).collect()
}

fn entries<'a>(data: &LatentData<'a>, rows: &[LatentRow], left_out: &'a str) -> Vec<Entry<'a>> {
    let thick = |stroke: Stroke| Stroke { width: 1.4, ..stroke };
    let mut entries = vec![Entry::Line(thick(SPECTRUM), "change of normalized flux per unit of the component")];
    if rows.iter().any(|row| row.reference.is_some()) {
        entries.push(Entry::Line(thick(REFERENCE), "response to a known cause, scaled to it; r: correlation"));
    }
    let has = |is_band: bool| data.lines.iter().any(|line| line.is_band == is_band);
    if has(false) {
        entries.push(Entry::Line(thick(LINE), "strongest atomic lines"));
    }
    if has(true) {
        entries.push(Entry::Line(thick(BAND_HEAD), "band heads"));
    }
    entries.extend([left_out, data.remark].into_iter().filter(|words| !words.is_empty()).map(Entry::Words));
    entries
}

/// The lines of a range that are named: the heads of bands, then the strongest whose names have room on this width.
fn named(lines: &[MarkedLine], (low, high): (f64, f64), width: f64) -> Vec<&MarkedLine> {
    let mut candidates: Vec<&MarkedLine> =
        lines.iter().filter(|line| (low..=high).contains(&line.wavelength)).collect();
    candidates.sort_by(|a, b| b.is_band.cmp(&a.is_band).then(b.strength.total_cmp(&a.strength)));
    let spacing = NAME_SPACING * (high - low) / width;
    let mut named: Vec<&MarkedLine> = Vec::new();
    for line in candidates {
        if named.iter().all(|other| (other.wavelength - line.wavelength).abs() >= spacing) {
            named.push(line);
        }
    }
    named.sort_by(|a, b| a.wavelength.total_cmp(&b.wavelength));
    named
}

/// Writes the names of lines above the frames, and draws their lines through all of them.
fn draw_names(canvas: &mut Canvas, whole: Rect, span: (f64, f64), named: &[&MarkedLine]) {
    let axes = Axes { frame: whole, x: span, y: (0.0, 1.0) };
    for line in named {
        let x = axes.place((line.wavelength, 0.0)).0;
        let stroke = if line.is_band { BAND_HEAD } else { LINE };
        canvas.line(&[(x, whole.top - 3.0), (x, whole.bottom())], stroke);
        let color = if line.is_band { VERMILLION.towards(BLACK, 0.2) } else { SLATE };
        let letters = Lettering { turned: true, level: Level::Middle, color, bold: line.is_band, ..NAMES };
        canvas.text((x, whole.top - 5.0), &line.species, letters.fitted(&line.species, NAMES_HEIGHT - 7.0));
    }
}

fn draw_row(
    canvas: &mut Canvas,
    data: &LatentData,
    row: &LatentRow,
    frame: Rect,
    (column, is_first, is_last): (&Column, bool, bool),
) {
    let axes = Axes { frame, x: column.span, y: range(row) };
    let below = row.reference.as_ref().map(|reference| (reference, scale(&row.values, &reference.values)));
    let spectra =
        std::iter::once((&row.values, 1.0, SPECTRUM)).chain(below.map(|(of, scale)| (&of.values, scale, REFERENCE)));
    for (index, (values, scale, stroke)) in spectra.enumerate() {
        let axes = Axes { frame: Rect { top: frame.top + index as f64 * frame.height, ..frame }, ..axes };
        axes.line(canvas, &[(axes.x.0, 0.0), (axes.x.1, 0.0)], ZERO);
        let scaled: Vec<(f64, f64)> = points(data.wavelength, values, column.pixels.clone())
            .into_iter()
            .map(|(wavelength, value)| (wavelength, scale * value))
            .collect();
        axes.line(canvas, &scaled, stroke);
        let reference = row.reference.as_ref().filter(|_| index == 1);
        let title = reference.map_or(row.title.as_str(), |reference| reference.name.as_str());
        let has_numbers = is_last && (index == 1 || row.reference.is_none());
        let titles = Titles { x: has_numbers.then_some("vacuum wavelength [Å]"), y: is_first.then_some(title) };
        let y_marks = axes.y_labels_within(axes.y_marks(linear(axes.y).split_off(3)), 0.0);
        let x_marks = axes.x_labels_within(axes.x_marks(linear(axes.x)), GAP / 2.0 - 1.5);
        axes.draw_frame_with(canvas, titles, &x_marks, &y_marks);
        if let Some(reference) = reference.filter(|_| is_first) {
            let words = match reference.correlation.is_finite() {
                true => format!("r = {:.2}", reference.correlation).replace('-', "\u{2212}"),
                false => "r unknown".to_owned(),
            };
            let letters = Lettering { bold: true, color: GREEN.towards(BLACK, 0.4), ..Lettering::new(8.5) };
            let at = (axes.frame.left + 7.0, axes.frame.bottom() - 7.0);
            let box_of_words =
                Rect { left: at.0 - 2.0, top: at.1 - 8.5, width: letters.width_of(&words) + 4.0, height: 10.5 };
            canvas.rect(box_of_words, WHITE.faded(0.8));
            canvas.text(at, &words, letters);
        }
    }
}

/// The range of a row: nearly all of its values, and zero.
fn range(row: &LatentRow) -> (f64, f64) {
    let sorted = ascending(row.values.iter().copied());
    let ends = [0.001, 0.999].map(|fraction| quantile(&sorted, fraction));
    padded_range(ends.into_iter().chain([0.0]), 0.12)
}

/// The factor that brings a reference nearest to a spectrum in the sense of least squares; one if there is none.
fn scale(values: &[f64], reference: &[f64]) -> f64 {
    // A spectrum that is nil says nothing.
    let is_told = |(value, known): &(&f64, &f64)| value.is_finite() && known.is_finite() && **value != 0.0;
    let pairs = || values.iter().zip(reference).filter(is_told);
    let squares: f64 = pairs().map(|(_, known)| known * known).sum();
    let scale = pairs().map(|(value, known)| value * known).sum::<f64>() / squares;
    if scale.is_finite() && scale != 0.0 { scale } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 120;

    fn wavelengths() -> Vec<f64> {
        (0..N).map(|pixel| 15_200.0 + 0.5 * pixel as f64).collect()
    }

    fn row(title: &str, reference: Option<LatentReference>) -> LatentRow {
        let values = (0..N).map(|pixel| if pixel < 10 { 0.0 } else { 0.01 * (pixel as f64 * 0.3).sin() }).collect();
        LatentRow { title: title.into(), values, reference }
    }

    fn line(species: &str, wavelength: f64, strength: f64, is_band: bool) -> MarkedLine {
        MarkedLine { species: species.into(), wavelength, strength, is_band }
    }

    fn draw(rows: &[LatentRow], lines: &[MarkedLine], windows: &[(f64, f64)]) -> Result<Figure> {
        let (wavelength, chips) = (wavelengths(), [0..40, 40..80, 80..N]);
        latent_spectra(
            "latent",
            &LatentData { wavelength: &wavelength, chips: &chips, rows, lines, windows, remark: "q = 8" },
        )
    }

    #[test]
    fn rows_references_lines_and_correlations_are_all_there() {
        let reference = LatentReference { name: "[C/Fe]".into(), values: vec![-0.02; N], correlation: -0.871 };
        let rows = [row("component 1", Some(reference)), row("component 2", None)];
        let lines = [
            line("Mg I", 15_230.0, 1.0, false),
            line("CO 3\u{2212}0", 15_250.0, 0.0, true),
            line("Fe I", 9e3, 1.0, false),
        ];
        let svg = draw(&rows, &lines, &[]).expect("draws").svg;
        for words in ["component 1", "[C/Fe]", "r = \u{2212}0.87", "Mg I", "CO 3\u{2212}0", "band heads", "q = 8"] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("Fe I"), "it is off the chips");
        // Three spectra, three chips, and the legend's sample has another width.
        assert_eq!(svg.matches("vacuum wavelength").count(), 3);
        let zoomed = draw(&rows, &lines, &[(15_225.0, 15_235.0)]).expect("draws").svg;
        assert!(zoomed.contains("Mg I") && !zoomed.contains("CO 3"));
    }

    #[test]
    fn the_strongest_lines_and_all_heads_are_named_where_they_have_room() {
        let lines = [
            line("weak", 1000.0, 1.0, false),
            line("strong", 1001.0, 5.0, false),
            line("head", 1050.0, -9.0, true),
            line("beside the head", 1050.5, 9.0, false),
            line("outside", 2000.0, 9.0, false),
        ];
        // 7.6 units of page are 5 of wavelength.
        let names: Vec<&str> =
            named(&lines, (1000.0, 1100.0), 152.0).iter().map(|line| line.species.as_str()).collect();
        assert_eq!(names, ["strong", "head"]);
        assert_eq!(named(&lines, (1000.0, 1100.0), 15_200.0).len(), 4);
    }

    #[test]
    fn a_reference_is_scaled_by_least_squares() {
        assert!((scale(&[2.0, -4.0, f64::NAN, 0.0], &[-1.0, 2.0, 7.0, 9.0]) + 2.0).abs() < 1e-12);
        assert_eq!(scale(&[1.0, 2.0], &[0.0, 0.0]), 1.0);
        assert_eq!(scale(&[], &[]), 1.0);
    }

    #[test]
    fn many_empty_and_uneven_rows_are_drawn_told_or_refused() {
        let many: Vec<LatentRow> = (1..=40).map(|number| row(&format!("component {number}"), None)).collect();
        let svg = draw(&many, &[], &[]).expect("draws").svg;
        assert!(svg.contains("the first 14 of 40 spectra") && !svg.contains("component 15"));
        for value in [f64::NAN, 0.0] {
            let empty = [LatentRow { values: vec![value; N], ..row("none", None) }];
            assert!(draw(&empty, &[], &[]).expect("draws").svg.contains("no pixel with a value"));
        }
        let short = [LatentRow { values: vec![0.1; N - 1], ..row("short", None) }];
        assert!(draw(&short, &[], &[]).is_err() && draw(&[], &[], &[]).is_err());
        assert!(draw(&[row("1", None)], &[], &[(9.0, 3.0)]).expect("draws").svg.contains("no pixel"));
    }
}
