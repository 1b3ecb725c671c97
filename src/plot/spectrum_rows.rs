//! Rows of spectra against wavelength, with spectral lines marked: latent spectra, gradients of flux with labels, scatter per pixel.

use std::ops::Range;

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, TITLE_SIZE, Titles, linear};
use super::canvas::Canvas;
use super::chips::{Cut, Section, draw_spectrum, mark_cut, sections};
use super::draws::{ascending, quantile};
use super::grid::{draw_reason, draw_title};
use super::legend::{Entry, render_above_legend};
use super::line_names::{self, MarkedLine, draw_names, named, room_for_names};
use super::marks::{Lettering, Rect, Stroke};
use super::palette::{BLACK, BLUE, Color, GREEN, SLATE, WHITE};
use super::ticks::padded_range;
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// What a figure of rows of spectra shows.
#[derive(Debug, Clone, Copy)]
pub struct SpectrumRows<'a> {
    /// Vacuum wavelengths in Angstrom, ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// Pixels of each chip: one column of panels per chip.
    pub chips: &'a [Range<usize>],
    /// Vacuum wavelength ranges in Angstrom drawn as columns instead of the chips; empty for the chips.
    pub windows: &'a [(f64, f64)],
    /// One row of panels each.
    pub rows: &'a [SpectrumRow],
    /// What the legend says of the rows, e.g. "change of normalized flux per unit of the component"; may be empty.
    pub meaning: &'a str,
    /// What the legend says of the references.
    pub reference_meaning: &'a str,
    /// Spectral lines; the strongest that have room are named.
    pub lines: &'a [MarkedLine],
    /// What the legend says of the lines that rows emphasise.
    pub highlighted_meaning: &'a str,
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// One spectrum, and one that it may be compared with.
#[derive(Debug, Clone, Default)]
pub struct SpectrumRow {
    /// At the left, e.g. "component 1".
    pub title: String,
    /// Below the title, e.g. "per 100 K"; may be empty.
    pub unit: String,
    /// `[n_pixels]`; NaN where there is none, and nil where the spectrum says nothing, as in the gaps between chips.
    pub values: Vec<f64>,
    /// Drawn below it.
    pub reference: Option<Reference>,
    /// Species whose lines are emphasised in this row, e.g. "Mg I".
    pub highlighted: Vec<String>,
    /// Whether no value is negative, as of a scatter: the row then begins at zero.
    pub is_positive: bool,
}

/// A spectrum of a known cause, and how well it agrees.
#[derive(Debug, Clone)]
pub struct Reference {
    /// Its cause, e.g. "[C/H]".
    pub name: String,
    /// `[n_pixels]`.
    pub values: Vec<f64>,
    /// Whether it is drawn with the scale and the sign that bring it nearest to the spectrum, not as it is.
    pub is_scaled: bool,
    /// Correlation of the two over the pixels, printed.
    pub correlation: f64,
}

/// More rows than this are not drawn.
const MOST_ROWS: usize = 14;
const RIGHT_MARGIN: f64 = 12.0;
const GAP: f64 = 7.0;
const ROW_GAP: f64 = 8.0;
/// Values further from zero than so many times the outermost thousandth do not stretch a range.
const WILD: f64 = 2.5;
/// Room for a unit beside the title of a row.
const UNIT_ROOM: f64 = 13.0;
const SPECTRUM: Stroke = Stroke::solid(BLUE, 0.55);
const REFERENCE: Stroke = Stroke::solid(GREEN, 0.55);
const ZERO: Stroke = Stroke::solid(Color::new(170, 170, 170), 0.6);

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without rows, or if a spectrum has not one value per wavelength.
pub fn spectrum_rows(title: &str, data: &SpectrumRows) -> Result<Figure> {
    check(data)?;
    let rows = &data.rows[..data.rows.len().min(MOST_ROWS)];
    let is_known = |pixel: usize| rows.iter().any(|row| row.values[pixel].is_finite() && row.values[pixel] != 0.0);
    let columns = sections(data.wavelength, data.chips, data.windows, is_known);
    let left_out = match data.rows.len() - rows.len() {
        0 => String::new(),
        n => format!("the first {} of {} spectra", rows.len(), rows.len() + n),
    };
    let spans: Vec<(f64, f64)> = columns.iter().map(|column| column.span).collect();
    let preferred: Vec<String> = rows.iter().flat_map(|row| row.highlighted.iter().cloned()).collect();
    let ranges: Vec<(f64, f64)> = rows.iter().map(|row| range(row, &columns)).collect();
    let mut entries = entries(data, rows);
    let cuts = rows.iter().zip(&ranges).map(|(row, range)| Cut::of(drawn(row, &columns), *range));
    let has_reference = rows.iter().any(|row| row.reference.is_some());
    let mark = if has_reference { BLACK } else { SPECTRUM.color };
    entries.extend(cuts.fold(Cut::default(), Cut::or).entries(mark));
    entries.extend(line_names::entries(data.lines, &spans, (&preferred, data.highlighted_meaning)));
    entries.extend([left_out.as_str(), data.remark].into_iter().filter(|words| !words.is_empty()).map(Entry::Words));
    let panel_height = if rows.len() > 6 { 50.0 } else { 66.0 };
    let height_of = |row: &SpectrumRow| if row.reference.is_some() { 2.0 * panel_height } else { panel_height };
    let top = if title.trim().is_empty() { 4.0 } else { 24.0 } + room_for_names(data.lines, &spans).max(4.0);
    let tops: Vec<f64> = rows
        .iter()
        .scan(top, |next, row| {
            let top = *next;
            *next += height_of(row) + ROW_GAP;
            Some(top)
        })
        .collect();
    let foot = tops.last().unwrap_or(&top) + rows.last().map_or(0.0, height_of);
    let n_columns = columns.len().max(1) as f64;
    let first_left = LEFT_MARGIN + if data.has_units() { UNIT_ROOM } else { 0.0 };
    let width = (PAGE_WIDTH - first_left - RIGHT_MARGIN - GAP * (n_columns - 1.0)) / n_columns;
    render_above_legend("rows of spectra", (PAGE_WIDTH, foot + BOTTOM_MARGIN), entries, |canvas| {
        draw_title(canvas, title, PAGE_WIDTH);
        for (index, column) in columns.iter().enumerate() {
            let left = first_left + index as f64 * (width + GAP);
            let whole = Rect { left, top, width, height: foot - top };
            draw_names(canvas, whole, column.span, &named(data.lines, &preferred, column.span, width), &preferred);
            for ((row, &top), &y) in rows.iter().zip(&tops).zip(&ranges) {
                let frame = Rect { left, top, width, height: panel_height };
                let is_last = top + height_of(row) + 1.0 > foot;
                draw_row(canvas, data, row, Axes { frame, x: column.span, y }, (column, index == 0, is_last));
            }
        }
        if columns.is_empty() {
            let frame = Rect { left: first_left, top, width, height: foot - top };
            draw_reason(canvas, frame, "no pixel with a value");
        }
    })
}

impl SpectrumRows<'_> {
    fn has_units(&self) -> bool {
        self.rows.iter().any(|row| !row.unit.is_empty())
    }
}

fn check(data: &SpectrumRows) -> Result<()> {
    let fail = |detail: String| Err(Error::Figure { figure: "rows of spectra".to_owned(), detail });
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

fn entries<'a>(data: &SpectrumRows<'a>, rows: &[SpectrumRow]) -> Vec<Entry<'a>> {
    let thick = |stroke: Stroke| Stroke { width: 1.4, ..stroke };
    let of_rows = (!data.meaning.is_empty()).then_some(Entry::Line(thick(SPECTRUM), data.meaning));
    let has_reference = rows.iter().any(|row| row.reference.is_some());
    let of_references = has_reference.then_some(Entry::Line(thick(REFERENCE), data.reference_meaning));
    of_rows.into_iter().chain(of_references).collect()
}

fn draw_row(
    canvas: &mut Canvas,
    data: &SpectrumRows,
    row: &SpectrumRow,
    axes: Axes,
    (column, is_first, is_last): (&Section, bool, bool),
) {
    let frame = axes.frame;
    let below = row.reference.as_ref().map(|reference| (reference, reference.scale(&row.values)));
    let spectra =
        std::iter::once((&row.values, 1.0, SPECTRUM)).chain(below.map(|(of, scale)| (&of.values, scale, REFERENCE)));
    for (index, (values, scale, stroke)) in spectra.enumerate() {
        let axes = Axes { frame: Rect { top: frame.top + index as f64 * frame.height, ..frame }, ..axes };
        line_names::highlight(canvas, &axes, data.lines, &row.highlighted);
        axes.line(canvas, &[(axes.x.0, 0.0), (axes.x.1, 0.0)], ZERO);
        let scaled: Vec<f64> = values.iter().map(|value| scale * value).collect();
        draw_spectrum(canvas, &axes, data.wavelength, &scaled, column.pixels.clone(), stroke);
        mark_cut(canvas, &axes, data.wavelength, &scaled, column.pixels.clone(), stroke.color);
        let reference = row.reference.as_ref().filter(|_| index == 1);
        let (title, unit) = reference.map_or((row.title.as_str(), row.unit.as_str()), |of| (of.name.as_str(), ""));
        let has_numbers = is_last && (index == 1 || row.reference.is_none());
        let titles = Titles { x: has_numbers.then_some("vacuum wavelength [Å]"), y: is_first.then_some(" ") };
        let y_marks = row_marks(&axes);
        let x_marks = axes.x_labels_within(axes.x_marks(linear(axes.x)), GAP / 2.0 - 1.5);
        axes.draw_frame_with(canvas, titles, &x_marks, &y_marks);
        if is_first {
            let outer = axes.frame.left - if data.has_units() { UNIT_ROOM } else { 0.0 };
            draw_row_title(canvas, outer, axes.frame, (title, unit));
        }
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

/// The densest ticks with room that have two labels, since one does not tell a scale.
fn row_marks(axes: &Axes) -> Marks {
    let n_labels = |marks: &Marks| marks.major.iter().filter(|(_, label)| !label.is_empty()).count();
    let within: Vec<Marks> =
        linear(axes.y).split_off(2).into_iter().map(|marks| axes.y_labels_within(marks, 0.0)).collect();
    let most = within.iter().map(n_labels).max().unwrap_or(0).min(2);
    axes.y_marks(within.into_iter().filter(|marks| n_labels(marks) >= most).collect())
}

/// Writes the title of a row where that of an axis would stand beside `left`, and its unit further in.
fn draw_row_title(canvas: &mut Canvas, left: f64, frame: Rect, (title, unit): (&str, &str)) {
    let at = (left - LEFT_MARGIN + TITLE_SIZE + 1.0, frame.top + frame.height / 2.0);
    let letters = Lettering { turned: true, ..Lettering::new(TITLE_SIZE).centred() };
    canvas.text(at, title, letters.fitted(title, frame.height + 4.0));
    let small = Lettering { size: 8.5, color: SLATE, ..letters };
    canvas.text((at.0 + UNIT_ROOM - 1.0, at.1), unit, small.fitted(unit, frame.height + 4.0));
}

/// The values of a row and of its reference where they are drawn.
fn drawn<'a>(row: &'a SpectrumRow, columns: &'a [Section]) -> impl Iterator<Item = f64> + 'a {
    let pixels = || columns.iter().flat_map(|column| column.pixels.clone());
    let reference = row.reference.as_ref().map(|reference| (reference, reference.scale(&row.values)));
    let below = reference.map(|(reference, scale)| pixels().map(move |pixel| scale * reference.values[pixel]));
    pixels().map(|pixel| row.values[pixel]).chain(below.into_iter().flatten())
}

/// The range of a row: its values where it is drawn but for a few wild ones, and zero.
fn range(row: &SpectrumRow, columns: &[Section]) -> (f64, f64) {
    let drawn = |values: &[f64]| -> Vec<f64> {
        ascending(columns.iter().flat_map(|column| column.pixels.clone()).map(|pixel| values[pixel]))
    };
    let sorted = drawn(&row.values);
    let typical = [0.001, 0.999].map(|fraction| quantile(&sorted, fraction).abs());
    let limit = WILD * typical[0].max(typical[1]);
    let is_wild = |value: &f64| limit > 0.0 && value.abs() > limit;
    let reference = row.reference.iter().flat_map(|of| {
        let scale = of.scale(&row.values);
        drawn(&of.values).into_iter().map(move |value| scale * value)
    });
    let told = sorted.iter().copied().chain(reference).filter(|value| !is_wild(value));
    let (low, high) = padded_range(told.chain([0.0]), 0.12);
    if row.is_positive && high > 0.0 { (0.0, high) } else { (low, high) }
}

impl Reference {
    /// What its values are multiplied by to be drawn below a spectrum.
    fn scale(&self, values: &[f64]) -> f64 {
        if self.is_scaled { scale(values, &self.values) } else { 1.0 }
    }
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
    use crate::stats::normal::Normals;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const N: usize = 120;

    fn wavelengths() -> Vec<f64> {
        (0..N).map(|pixel| 15_200.0 + 0.5 * pixel as f64).collect()
    }

    fn row(title: &str, reference: Option<Reference>) -> SpectrumRow {
        let values = (0..N).map(|pixel| if pixel < 10 { 0.0 } else { 0.01 * (pixel as f64 * 0.3).sin() }).collect();
        SpectrumRow { title: title.into(), values, reference, ..SpectrumRow::default() }
    }

    fn line(species: &str, wavelength: f64, strength: f64, is_band: bool) -> MarkedLine {
        MarkedLine { species: species.into(), wavelength, strength, is_band }
    }

    fn draw(rows: &[SpectrumRow], lines: &[MarkedLine], windows: &[(f64, f64)]) -> Result<Figure> {
        let (wavelength, chips) = (wavelengths(), [0..40, 40..80, 80..N]);
        let data = SpectrumRows {
            wavelength: &wavelength,
            chips: &chips,
            windows,
            rows,
            meaning: "change per unit",
            reference_meaning: "known, scaled",
            lines,
            highlighted_meaning: "lines of the element",
            remark: "q = 8",
        };
        spectrum_rows("latent", &data)
    }

    #[test]
    fn rows_references_lines_and_correlations_are_all_there() {
        let reference =
            Reference { name: "[C/Fe]".into(), values: vec![-0.02; N], is_scaled: true, correlation: -0.871 };
        let rows = [row("component 1", Some(reference)), row("component 2", None)];
        let lines = [
            line("Mg I", 15_230.0, 1.0, false),
            line("CO 3\u{2212}0", 15_250.0, 0.0, true),
            line("Fe I", 9e3, 1.0, false),
        ];
        let svg = draw(&rows, &lines, &[]).expect("draws").svg;
        for words in [
            "component 1",
            "[C/Fe]",
            "r = \u{2212}0.87",
            "Mg I",
            "CO 3\u{2212}0",
            "band heads",
            "q = 8",
            "known, scaled",
        ] {
            assert!(svg.contains(words), "{words}");
        }
        assert!(!svg.contains("Fe I"), "it is off the chips");
        // Three spectra, three chips, and the legend's sample has another width.
        assert_eq!(svg.matches("vacuum wavelength").count(), 3);
        let zoomed = draw(&rows, &lines, &[(15_225.0, 15_235.0)]).expect("draws").svg;
        assert!(zoomed.contains("Mg I") && !zoomed.contains("CO 3"));
    }

    #[test]
    fn gradients_have_units_and_emphasised_lines_and_a_scatter_begins_at_zero() {
        let mut gradient = SpectrumRow { unit: "per 100 K".into(), ..row("Teff", None) };
        gradient.highlighted = vec!["Mg I".into()];
        let scatter = SpectrumRow { is_positive: true, values: vec![0.01; N], ..row("s", None) };
        let all = [Section { pixels: 0..N, span: (0.0, 1.0) }];
        assert_eq!(range(&scatter, &all).0, 0.0);
        assert!(range(&gradient, &all).0 < 0.0);
        assert_eq!(range(&gradient, &[]), (-1.0, 1.0));
        let lines = [line("Mg I", 15_230.0, 1.0, false), line("Fe I", 15_240.0, 9.0, false)];
        let svg = draw(&[gradient, scatter], &lines, &[]).expect("draws").svg;
        assert!(svg.contains("per 100 K") && svg.contains("the element"));
        let svg = draw(&[row("Teff", None)], &lines, &[]).expect("draws").svg;
        assert!(!svg.contains("the element"));
    }

    #[test]
    fn every_row_has_two_labels_and_one_wild_pixel_does_not_stretch_it() {
        let frame = Rect { left: 0.0, top: 0.0, width: 100.0, height: 50.0 };
        for y in [(-0.0095, 0.0105), (-0.2, 0.02), (0.0, 0.026), (-3e-5, 2e-5)] {
            let marks = row_marks(&Axes { frame, x: (0.0, 1.0), y });
            assert!(marks.major.iter().filter(|(_, label)| !label.is_empty()).count() >= 2, "{y:?}: {marks:?}");
        }
        let mut wild = SpectrumRow { values: vec![0.01; 2000], ..row("", None) };
        wild.values[7] = -5.0;
        let all = [Section { pixels: 0..2000, span: (0.0, 1.0) }];
        assert!(range(&wild, &all).0 > -0.1 && Cut::of(drawn(&wild, &all), range(&wild, &all)) != Cut::default());
        wild.values[7] = 0.02;
        assert_eq!(Cut::of(drawn(&wild, &all), range(&wild, &all)), Cut::default());
    }

    #[test]
    fn a_whole_spectrum_of_noise_stays_a_small_svg() {
        let wavelength: Vec<f64> = (0..8575).map(|pixel| 15_100.0 + 0.22 * f64::from(pixel)).collect();
        let mut normal = Normals::new(ChaCha8Rng::seed_from_u64(8));
        let mut noise = || SpectrumRow { values: wavelength.iter().map(|_| normal.draw()).collect(), ..row("", None) };
        let rows: Vec<SpectrumRow> = (0..5).map(|_| noise()).collect();
        let data = SpectrumRows {
            wavelength: &wavelength,
            chips: &[246..3274, 3585..6080, 6344..8335],
            windows: &[],
            rows: &rows,
            meaning: "noise",
            reference_meaning: "",
            lines: &[],
            highlighted_meaning: "",
            remark: "",
        };
        let size = spectrum_rows("", &data).expect("draws").svg.len();
        assert!(size < 250_000, "{size}");
    }

    #[test]
    fn a_reference_is_scaled_by_least_squares() {
        assert!((scale(&[2.0, -4.0, f64::NAN, 0.0], &[-1.0, 2.0, 7.0, 9.0]) + 2.0).abs() < 1e-12);
        assert_eq!(scale(&[1.0, 2.0], &[0.0, 0.0]), 1.0);
        assert_eq!(scale(&[], &[]), 1.0);
    }

    #[test]
    fn many_empty_and_uneven_rows_are_drawn_told_or_refused() {
        let many: Vec<SpectrumRow> = (1..=40).map(|number| row(&format!("component {number}"), None)).collect();
        let svg = draw(&many, &[], &[]).expect("draws").svg;
        assert!(svg.contains("the first 14 of 40 spectra") && !svg.contains("component 15"));
        for value in [f64::NAN, 0.0] {
            let empty = [SpectrumRow { values: vec![value; N], ..row("none", None) }];
            assert!(draw(&empty, &[], &[]).expect("draws").svg.contains("no pixel with a value"));
        }
        let short = [SpectrumRow { values: vec![0.1; N - 1], ..row("short", None) }];
        assert!(draw(&short, &[], &[]).is_err() && draw(&[], &[], &[]).is_err());
        assert!(draw(&[row("1", None)], &[], &[(9.0, 3.0)]).expect("draws").svg.contains("no pixel"));
    }
}
