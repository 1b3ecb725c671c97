//! Draws of a posterior, or the stars of a catalogue, in every label and every pair of labels: the corner plot.

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, Titles, linear, with_unit};
use super::canvas::Canvas;
use super::density::Point;
use super::draws::{CENTRAL, ascending, histogram, in_few_digits, n_bins, quantile, range_of, steps};
use super::grid::{draw_reason, draw_title};
use super::joint::{FILLS, FIRST, Joint, SECOND, draw_joint};
use super::legend::{Entry, render_above_legend};
use super::marks::{Lettering, Marker, Rect, Stroke};
use super::palette::{BLACK, BLUE, GREEN};
use super::ticks::padded_range;
use super::{COLUMN_WIDTH, Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// Draws of one sampler or one model, or stars of one catalogue.
#[derive(Debug, Clone, Copy)]
pub struct DrawSet<'a> {
    /// What the legend calls them.
    pub name: &'a str,
    /// `[n_draws][n_labels]`; a draw with a value that is not finite is left out and counted.
    pub draws: &'a [Vec<f64>],
}

/// What the points of a corner plot are: the words for them, and how finely their density is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Population {
    /// Draws of a posterior, which has one smooth peak.
    Draws,
    /// Stars of a catalogue, which crowd in clumps and along branches.
    Stars,
}

impl Population {
    fn plural(self) -> &'static str {
        match self {
            Self::Draws => "draws",
            Self::Stars => "stars",
        }
    }

    /// Smoothing as a fraction of that which suits a single peak.
    fn smoothing(self) -> f64 {
        match self {
            Self::Draws => 1.0,
            Self::Stars => 0.55,
        }
    }
}

/// What a corner plot shows.
#[derive(Debug, Clone, Copy)]
pub struct CornerData<'a> {
    /// Names of the labels, e.g. "Teff".
    pub names: &'a [String],
    /// Their units, e.g. "K"; may be empty.
    pub units: &'a [&'a str],
    /// What the points are.
    pub population: Population,
    /// Shaded levels, histograms, and the numbers printed.
    pub draws: DrawSet<'a>,
    /// Another set, e.g. another posterior of the same star, as lines over it.
    pub second: Option<DrawSet<'a>>,
    /// True labels; NaN where unknown.
    pub truth: Option<&'a [f64]>,
    /// Labels of a catalogue; NaN where unknown.
    pub catalogue: Option<&'a [f64]>,
    /// Last words of the legend; may be empty.
    pub remark: &'a str,
}

/// A truth or catalogue value stretches a range by no more than this; beyond, it is a triangle on the edge.
const MOST_STRETCH: f64 = 1.8;
const GAP: f64 = 6.0;
const RIGHT_MARGIN: f64 = 14.0;
/// Above every panel of the diagonal: the name, and a line for each set of draws.
const CAPTION_LINE: f64 = 13.0;
/// Between errors and unit.
const UNIT_GAP: f64 = 3.5;
const QUANTILES: Stroke = Stroke::dashed(BLUE, 0.9);
const TRUTH: Stroke = Stroke::solid(BLACK, 0.8);
const CATALOGUE: Stroke = Stroke::dashed(GREEN, 1.0);

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without labels, or if names, units, draws and marks do not have one length.
pub fn corner(title: &str, data: &CornerData) -> Result<Figure> {
    check(data)?;
    let n = data.names.len();
    let width = match n {
        1 => COLUMN_WIDTH,
        2..=5 => PAGE_WIDTH - 80.0 * (5 - n) as f64,
        6..=7 => PAGE_WIDTH,
        _ => (LEFT_MARGIN + RIGHT_MARGIN + 92.0 * n as f64).min(1300.0),
    };
    let side = (width - LEFT_MARGIN - RIGHT_MARGIN - GAP * (n - 1) as f64) / n as f64;
    let sets: Vec<Set> = std::iter::once(&data.draws).chain(&data.second).map(|set| Set::new(set, n)).collect();
    let ranges: Vec<(f64, f64)> = (0..n).map(|label| range(data, &sets, label)).collect();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|row| (0..row).map(move |column| (row, column))).collect();
    let smoothing = data.population.smoothing();
    let joints: Vec<Vec<Joint>> = pairs
        .iter()
        .map(|&(row, column)| {
            let joint = |set: &Set| Joint::new(&set.pairs(column, row), ranges[column], ranges[row], smoothing);
            sets.iter().map(joint).collect()
        })
        .collect();
    let words = Words::new(data, &sets);
    let top = if title.trim().is_empty() { 0.0 } else { 22.0 } + CAPTION_LINE * (1 + sets.len()) as f64 + 8.0;
    let height = top + side * n as f64 + GAP * (n - 1) as f64 + BOTTOM_MARGIN;
    let axis_titles: Vec<String> =
        data.names.iter().zip(data.units).map(|(name, unit)| with_unit(name, unit)).collect();
    render_above_legend("corner", (width, height), words.entries(data), |canvas| {
        draw_title(canvas, title, width);
        let place = |index: usize, start: f64| start + index as f64 * (side + GAP);
        let frame = |row: usize, column: usize| Rect {
            left: place(column, LEFT_MARGIN),
            top: place(row, top),
            width: side,
            height: side,
        };
        for (&(row, column), joints) in pairs.iter().zip(&joints) {
            let axes = Axes { frame: frame(row, column), x: ranges[column], y: ranges[row] };
            draw_joint(canvas, &axes, joints);
            for mark in marks(data) {
                mark.draw_pair(canvas, &axes, (column, row));
            }
            let titles = Titles {
                x: (row + 1 == n).then_some(axis_titles[column].as_str()),
                y: (column == 0).then_some(axis_titles[row].as_str()),
            };
            let (x_marks, y_marks) = (side_marks(&axes, true), side_marks(&axes, false));
            axes.draw_frame_with(canvas, titles, &x_marks, &y_marks);
            if joints.iter().all(|joint| joint.is_empty) {
                draw_reason(canvas, axes.frame, &words.none);
            }
        }
        for label in 0..n {
            let frame = frame(label, label);
            draw_marginal(canvas, data, &sets, label, Axes { frame, x: ranges[label], y: (0.0, 1.0) }, n);
            draw_summary(canvas, data, &sets, label, frame);
            let x = (label + 1 == n).then_some(axis_titles[label].as_str());
            let axes = Axes { frame, x: ranges[label], y: (0.0, 1.0) };
            axes.draw_frame_with(canvas, Titles { x, y: None }, &side_marks(&axes, true), &Marks::default());
            if sets.iter().all(|set| set.draws.is_empty()) {
                draw_reason(canvas, frame, &words.none);
            }
        }
    })
}

/// Ticks along x or y whose labels keep clear of the neighbouring panel's.
fn side_marks(axes: &Axes, is_x: bool) -> Marks {
    match is_x {
        true => axes.x_labels_within(axes.x_marks(linear(axes.x)), GAP / 2.0 - 1.5),
        false => axes.y_labels_within(axes.y_marks(linear(axes.y)), GAP / 2.0 - 1.5),
    }
}

fn check(data: &CornerData) -> Result<()> {
    let fail = |detail: String| Err(Error::Figure { figure: "corner".to_owned(), detail });
    let n = data.names.len();
    if n == 0 {
        return fail("no label to draw".to_owned());
    }
    let of_draws = std::iter::once(&data.draws).chain(&data.second).flat_map(|set| set.draws).map(Vec::len);
    let of_marks = data.truth.iter().chain(&data.catalogue).map(|values| values.len());
    match std::iter::once(data.units.len()).chain(of_draws).chain(of_marks).find(|length| *length != n) {
        Some(other) => fail(format!("{n} names, but units, draws or marks of {other} labels")),
        None => Ok(()),
    }
}

/// Draws of one set that are finite.
struct Set<'a> {
    draws: Vec<&'a [f64]>,
    n_left_out: usize,
    /// Each label's values in ascending order.
    sorted: Vec<Vec<f64>>,
}

impl<'a> Set<'a> {
    fn new(set: &DrawSet<'a>, n_labels: usize) -> Self {
        let is_finite = |draw: &&[f64]| draw.iter().all(|value| value.is_finite());
        let draws: Vec<&[f64]> = set.draws.iter().map(Vec::as_slice).filter(is_finite).collect();
        let sorted = (0..n_labels).map(|label| ascending(draws.iter().map(|draw| draw[label]))).collect();
        Self { n_left_out: set.draws.len() - draws.len(), draws, sorted }
    }

    fn pairs(&self, column: usize, row: usize) -> Vec<Point> {
        self.draws.iter().map(|draw| (draw[column], draw[row])).collect()
    }

    /// Lower end, middle and upper end of a label's central 68%.
    fn summary(&self, label: usize) -> [f64; 3] {
        CENTRAL.map(|fraction| quantile(&self.sorted[label], fraction))
    }
}

/// The range of a label: that of its draws, stretched to marks that are not far off.
fn range(data: &CornerData, sets: &[Set], label: usize) -> (f64, f64) {
    let ends = sets.iter().filter(|set| !set.draws.is_empty()).map(|set| range_of(&set.sorted[label]));
    let values = marks(data).into_iter().map(|mark| mark.values[label]).filter(|value| value.is_finite());
    let Some((low, high)) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))) else {
        return padded_range(values, 0.3);
    };
    let span = high - low;
    let near = |value: &f64| high.max(*value) - low.min(*value) <= MOST_STRETCH * span;
    values
        .filter(near)
        .fold((low, high), |(low, high), value| (low.min(value - 0.08 * span), high.max(value + 0.08 * span)))
}

/// Values marked in every panel.
struct Mark<'a> {
    values: &'a [f64],
    stroke: Stroke,
    marker: Marker,
}

fn marks<'a>(data: &CornerData<'a>) -> Vec<Mark<'a>> {
    let catalogue = data.catalogue.map(|values| Mark { values, stroke: CATALOGUE, marker: Marker::Diamond });
    let truth = data.truth.map(|values| Mark { values, stroke: TRUTH, marker: Marker::Square });
    catalogue.into_iter().chain(truth).collect()
}

impl Mark<'_> {
    /// Whether a value is known and lies in a range.
    fn is_in(&self, label: usize, (low, high): (f64, f64)) -> bool {
        (low..=high).contains(&self.values[label])
    }

    fn draw_pair(&self, canvas: &mut Canvas, axes: &Axes, (column, row): (usize, usize)) {
        let (x, y) = (self.values[column], self.values[row]);
        axes.line(canvas, &[(x, axes.y.0), (x, axes.y.1)], self.stroke);
        axes.line(canvas, &[(axes.x.0, y), (axes.x.1, y)], self.stroke);
        if x.is_finite() && y.is_finite() {
            axes.point_or_arrow(canvas, (x, y), self.marker, 2.6, self.stroke.color);
        }
    }
}

fn draw_marginal(canvas: &mut Canvas, data: &CornerData, sets: &[Set], label: usize, axes: Axes, n_labels: usize) {
    // As fine as the panel can show.
    let finest = if n_labels > 2 { 28 } else { 48 };
    let histograms: Vec<Vec<f64>> =
        sets.iter().map(|set| histogram(&set.sorted[label], axes.x, n_bins(set.draws.len()).min(finest))).collect();
    let highest = histograms.iter().flatten().copied().fold(0.0, f64::max);
    let axes = Axes { y: (0.0, if highest > 0.0 { 1.12 * highest } else { 1.0 }), ..axes };
    for (index, shares) in histograms.iter().enumerate().filter(|(index, _)| !sets[*index].draws.is_empty()) {
        let outline = steps(shares, axes.x);
        if index == 0 {
            let on_page: Vec<Point> = outline.iter().map(|&corner| axes.place(corner)).collect();
            canvas.area(&on_page, FILLS[0]);
        }
        axes.line(canvas, &outline, if index == 0 { FIRST } else { SECOND });
    }
    if let Some(set) = sets.first().filter(|set| !set.draws.is_empty()) {
        for value in set.summary(label) {
            axes.line(canvas, &[(value, 0.0), (value, axes.y.1)], QUANTILES);
        }
    }
    for mark in marks(data).iter().filter(|mark| mark.values[label].is_finite()) {
        let value = mark.values[label];
        axes.line(canvas, &[(value, 0.0), (value, axes.y.1)], mark.stroke);
        let at_the_foot = (value, 0.04 * axes.y.1);
        match mark.is_in(label, axes.x) {
            true => axes.point_or_arrow(canvas, (value, axes.y.1 * 0.96), mark.marker, 2.6, mark.stroke.color),
            false => axes.point_or_arrow(canvas, at_the_foot, mark.marker, 2.6, mark.stroke.color),
        }
    }
}

/// Writes a label's name, and below it the median with its errors for each set of draws.
fn draw_summary(canvas: &mut Canvas, data: &CornerData, sets: &[Set], label: usize, frame: Rect) {
    let middle = frame.left + frame.width / 2.0;
    let line = |index: usize| frame.top - 5.0 - CAPTION_LINE * (sets.len() - index) as f64;
    let (name, unit) = (&data.names[label], data.units[label]);
    let bold = Lettering { bold: true, ..Lettering::new(10.0).centred() };
    canvas.text((middle, line(0)), name, bold.fitted(name, frame.width));
    for (index, set) in sets.iter().enumerate().filter(|(_, set)| !set.draws.is_empty()) {
        let [value, up, down] = in_few_digits(set.summary(label));
        let color = if index == 0 { BLACK } else { SECOND.color };
        let widest = if up.len() > down.len() { &up } else { &down };
        let (letters, small) = (Lettering { color, ..Lettering::new(9.5) }, 0.72);
        let natural = letters.width_of(value.as_str())
            + letters.width_of(unit)
            + small * letters.width_of(widest)
            + 1.0
            + UNIT_GAP;
        let scale = (frame.width / natural).clamp(0.5, 1.0);
        let letters = Lettering { size: letters.size * scale, ..letters };
        let errors = Lettering { size: letters.size * small, ..letters };
        let (mut x, y) = (middle - natural * scale / 2.0, line(index + 1));
        canvas.text((x, y), &value, letters);
        x += letters.width_of(&value) + 1.0;
        canvas.text((x, y - 0.45 * letters.size), &up, errors);
        canvas.text((x, y + 0.22 * letters.size), &down, errors);
        canvas.text((x + errors.width_of(widest) + UNIT_GAP, y), unit, letters);
    }
}

/// The words of the legend.
struct Words {
    sets: Vec<String>,
    contours: String,
    left_out: String,
    none: String,
    is_drawn: bool,
}

impl Words {
    fn new(data: &CornerData, sets: &[Set]) -> Self {
        let names = std::iter::once(&data.draws).chain(&data.second);
        let left_out: usize = sets.iter().map(|set| set.n_left_out).sum();
        let counted = data.population.plural();
        Self {
            is_drawn: sets.iter().any(|set| !set.draws.is_empty()),
            sets: names.zip(sets).map(|(of, set)| format!("{}: {} {counted}", of.name, set.draws.len())).collect(),
            contours: format!("contours hold 39% and 86% of the {counted}"),
            none: format!("no {counted}"),
            left_out: if left_out > 0 {
                format!("{left_out} {counted} that are not finite left out")
            } else {
                String::new()
            },
        }
    }

    fn entries<'t>(&'t self, data: &CornerData<'t>) -> Vec<Entry<'t>> {
        let mut entries = vec![Entry::Symbol(Marker::Square, FILLS[1], self.sets[0].as_str())];
        entries.extend(self.sets.get(1).map(|words| Entry::Line(SECOND, words)));
        if self.is_drawn && data.names.len() > 1 {
            entries.push(Entry::Words(&self.contours));
        }
        if self.is_drawn {
            entries.push(Entry::Line(QUANTILES, "median, 16% and 84%"));
        }
        let any = |values: &[f64]| values.iter().any(|value| value.is_finite());
        if data.truth.is_some_and(any) {
            entries.push(Entry::Track(TRUTH, Marker::Square, "truth"));
        }
        if data.catalogue.is_some_and(any) {
            entries.push(Entry::Track(CATALOGUE, Marker::Diamond, "catalogue"));
        }
        let remarks = [self.left_out.as_str(), data.remark];
        entries.extend(remarks.into_iter().filter(|words| !words.is_empty()).map(Entry::Words));
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::Normals;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const NAMES: [&str; 5] = ["Teff", "log g", "[Fe/H]", "[Mg/Fe]", "[Si/Fe]"];
    const UNITS: [&str; 5] = ["K", "dex", "dex", "dex", "dex"];

    fn names(n: usize) -> Vec<String> {
        NAMES[..n].iter().map(|name| name.to_string()).collect()
    }

    /// Correlated draws of five labels.
    fn posterior(n: usize, shift: f64) -> Vec<Vec<f64>> {
        let mut normal = Normals::new(ChaCha8Rng::seed_from_u64(5));
        let mut draw = || {
            let [a, b, c, d, e] = std::array::from_fn(|_| normal.draw());
            vec![
                4582.0 + 11.0 * (a + shift),
                1.99 + 0.03 * (0.8 * a + 0.6 * b),
                -0.61 + 0.01 * (0.6 * a + 0.3 * b + 0.7 * c),
                0.31 + 0.012 * (d - 0.4 * a),
                0.21 + 0.012 * (e * e - 1.0 + 0.3 * d) / 1.4,
            ]
        };
        (0..n).map(|_| draw()).collect()
    }

    fn data<'a>(names: &'a [String], draws: &'a [Vec<f64>]) -> CornerData<'a> {
        let draws = DrawSet { name: "NUTS", draws };
        CornerData {
            names,
            units: &UNITS[..names.len()],
            population: Population::Draws,
            draws,
            second: None,
            truth: None,
            catalogue: None,
            remark: "",
        }
    }

    fn first(n: usize, draws: &[Vec<f64>]) -> Vec<Vec<f64>> {
        draws.iter().map(|draw| draw[..n].to_vec()).collect()
    }

    #[test]
    fn labels_medians_truth_and_catalogue_are_all_there() {
        let (draws, other) = (posterior(4000, 0.0), posterior(2000, 1.5));
        let names = names(5);
        let full = CornerData {
            second: Some(DrawSet { name: "Payne", draws: &other }),
            truth: Some(&[4590.0, 2.0, -0.6, 0.3, 0.2]),
            catalogue: Some(&[4990.0, 1.95, -0.62, f64::NAN, 0.22]),
            remark: "star A",
            ..data(&names, &draws)
        };
        let stars = CornerData { population: Population::Stars, ..full };
        assert!(corner("labels", &stars).expect("draws").svg.contains("NUTS: 4000 stars"));
        let svg = corner("posterior", &full).expect("draws").svg;
        for words in
            ["Teff [K]", "NUTS: 4000 draws", "Payne: 2000 draws", "truth", "catalogue", "star A", "39% and 86%"]
        {
            assert!(svg.contains(words), "{words}");
        }
        let median = in_few_digits(Set::new(&full.draws, 5).summary(0))[0].clone();
        assert!(svg.contains(&format!(">\n{median}\n<")), "{median}");
        assert!(!svg.contains("NaN") && !svg.contains("left out"));
    }

    #[test]
    fn one_and_three_labels_bad_draws_and_equal_ones_are_drawn() {
        let mut draws = posterior(500, 0.0);
        draws[3][0] = f64::NAN;
        draws[9][2] = f64::INFINITY;
        for n in [1, 2, 3] {
            let (names, draws) = (names(n), first(n, &draws));
            let svg = corner("", &data(&names, &draws)).expect("draws").svg;
            let left_out = if n < 3 { 1 } else { 2 };
            assert!(svg.contains(&format!("{left_out} draws that are not finite")), "{n}");
        }
        let names = names(3);
        for draws in [vec![vec![5.0; 3]; 9], vec![vec![0.0, 1.0, 2.0]], vec![vec![1e300, -1e300, 0.0]; 3]] {
            let svg = corner("equal", &data(&names, &draws)).expect("draws").svg;
            assert!(!svg.contains("no draws") && !svg.contains("NaN"));
        }
        for draws in [Vec::new(), vec![vec![f64::NAN; 3]]] {
            let svg = corner("none", &CornerData { truth: Some(&[1.0, 2.0, 3.0]), ..data(&names, &draws) });
            assert_eq!(svg.expect("draws").svg.matches("no draws").count(), 6);
        }
    }

    #[test]
    fn uneven_data_are_refused() {
        let (names, draws) = (names(3), posterior(5, 0.0));
        assert!(corner("", &data(&names, &draws)).is_err() && corner("", &data(&[], &[])).is_err());
        let draws = first(3, &draws);
        assert!(corner("", &CornerData { truth: Some(&[1.0]), ..data(&names, &draws) }).is_err());
        assert!(corner("", &CornerData { units: &["K"], ..data(&names, &draws) }).is_err());
    }

    #[test]
    fn marks_near_the_draws_stretch_the_range_and_far_ones_do_not() {
        let (names, draws) = (names(1), first(1, &posterior(2000, 0.0)));
        let plain = data(&names, &draws);
        let of = |truth: f64| range(&CornerData { truth: Some(&[truth]), ..plain }, &[Set::new(&plain.draws, 1)], 0);
        let own = of(f64::NAN);
        assert_eq!(of(4582.0), own);
        assert!(of(4650.0).1 > 4650.0 && of(4650.0).0 == own.0);
        assert_eq!(of(5000.0), own);
    }
}
