//! The course of every chain of a sampler, label by label, with its marginal histogram beside it.

use super::axes::{Axes, BOTTOM_MARGIN, LEFT_MARGIN, Marks, Titles, linear, with_unit};
use super::canvas::Canvas;
use super::draws::{ascending, histogram, n_bins, steps};
use super::grid::{draw_heading, draw_reason, draw_title};
use super::legend::{Entry, render_above_legend};
use super::marks::{Marker, Rect, Stroke};
use super::palette::{BLACK, Color, WHITE, kind};
use super::ticks::padded_range;
use super::{Figure, PAGE_WIDTH};
use crate::error::{Error, Result};

/// Beyond this an R-hat is not written out: of chains that stand still apart from each other it grows without bound.
pub const MOST_R_HAT: f64 = 100.0;

/// Chains of a sampler and what was found out about them.
#[derive(Debug, Clone, Copy)]
pub struct TraceData<'a> {
    /// Names of the labels, e.g. "Teff".
    pub names: &'a [String],
    /// Their units, e.g. "K"; may be empty.
    pub units: &'a [&'a str],
    /// `[n_chains][n_draws][n_labels]`, without the warm-up.
    pub chains: &'a [Vec<Vec<f64>>],
    /// R-hat of each label; NaN where unknown.
    pub r_hat: &'a [f64],
    /// Effective sample size of each label's bulk; NaN where unknown.
    pub ess_bulk: &'a [f64],
    /// Effective sample size of each label's tails; NaN where unknown.
    pub ess_tail: &'a [f64],
    /// Indices of the divergent draws of each chain; may be empty.
    pub divergent: &'a [Vec<usize>],
}

/// Draws of one chain that a line can show on a page.
const MOST_DRAWS: usize = 1200;
/// More chains than this are not named one by one.
pub(super) const MOST_NAMED: usize = 8;
const ROW_HEIGHT: f64 = 84.0;
/// Above each row: name and diagnostics.
const HEADING: f64 = 21.0;
const GAP: f64 = 8.0;
const HISTOGRAM_WIDTH: f64 = 120.0;
const RIGHT_MARGIN: f64 = 14.0;

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`] without labels, or if names, units, draws and diagnostics do not have one length.
pub fn traces(title: &str, data: &TraceData) -> Result<Figure> {
    check("traces", data)?;
    let n_draws = longest(data);
    let every = n_draws.div_ceil(MOST_DRAWS).max(1);
    let thinned = if every > 1 { format!("every {every}th draw") } else { String::new() };
    let n_divergent: usize = data.divergent.iter().map(Vec::len).sum();
    let divergent = format!("divergent ({n_divergent})");
    let names = chain_names(data.chains.len());
    let mut entries = chain_entries(&names);
    if n_divergent > 0 {
        entries.push(Entry::Symbol(Marker::Up, BLACK, &divergent));
    }
    entries.push(Entry::Words(&thinned));
    let top = if title.trim().is_empty() { 4.0 } else { 24.0 };
    let rows = (HEADING + ROW_HEIGHT) * data.names.len() as f64;
    let height = top + rows + BOTTOM_MARGIN;
    render_above_legend("traces", (PAGE_WIDTH, height), entries, |canvas| {
        draw_title(canvas, title, PAGE_WIDTH);
        for label in 0..data.names.len() {
            let width = PAGE_WIDTH - LEFT_MARGIN - RIGHT_MARGIN - GAP - HISTOGRAM_WIDTH;
            let top = top + (HEADING + ROW_HEIGHT) * label as f64 + HEADING;
            let course = Rect { left: LEFT_MARGIN, top, width, height: ROW_HEIGHT };
            let beside = Rect { left: course.right() + GAP, width: HISTOGRAM_WIDTH, ..course };
            let whole = Rect { width: width + GAP + HISTOGRAM_WIDTH, ..course };
            draw_heading(canvas, whole, &data.names[label], &diagnostics(data, label));
            draw_row(canvas, data, label, every, [course, beside]);
        }
    })
}

/// Refuses data that cannot be drawn.
pub(super) fn check(figure: &str, data: &TraceData) -> Result<()> {
    let fail = |detail: String| Err(Error::Figure { figure: figure.to_owned(), detail });
    let n = data.names.len();
    if n == 0 {
        return fail("no label to draw".to_owned());
    }
    let lengths = [data.units.len(), data.r_hat.len(), data.ess_bulk.len(), data.ess_tail.len()];
    let of_draws = data.chains.iter().flatten().map(Vec::len);
    match lengths.into_iter().chain(of_draws).find(|length| *length != n) {
        Some(other) => fail(format!("{n} names, but units, draws or diagnostics of {other} labels")),
        None => Ok(()),
    }
}

/// Draws of the longest chain.
pub(super) fn longest(data: &TraceData) -> usize {
    data.chains.iter().map(Vec::len).max().unwrap_or(0)
}

/// R-hat of a label.
pub(super) fn r_hat(data: &TraceData, label: usize) -> String {
    match data.r_hat[label] {
        r_hat if r_hat > MOST_R_HAT => format!("R-hat >{MOST_R_HAT}"),
        r_hat => format!("R-hat {}", number(r_hat, 3)),
    }
}

/// All that is known of a label's chains.
fn diagnostics(data: &TraceData, label: usize) -> String {
    let (bulk, tail) = (number(data.ess_bulk[label], 0), number(data.ess_tail[label], 0));
    format!("{}   ESS {bulk} bulk, {tail} tail", r_hat(data, label))
}

fn number(value: f64, decimals: usize) -> String {
    if value.is_finite() { format!("{value:.decimals$}") } else { "\u{2212}".to_owned() }
}

pub(super) fn chain_names(n_chains: usize) -> Vec<String> {
    (1..=n_chains).map(|chain| format!("chain {chain}")).collect()
}

/// Lines of a legend for chains.
pub(super) fn chain_entries(names: &[String]) -> Vec<Entry<'_>> {
    let line = |chain: usize| Entry::Line(Stroke::solid(color(chain, names.len()), 2.2), names[chain].as_str());
    Entry::of_kinds(names.len(), MOST_NAMED, line)
}

/// Colour of a chain; paled, not translucent, since lines cross themselves.
pub(super) fn color(chain: usize, n_chains: usize) -> Color {
    kind(chain, n_chains).towards(WHITE, 0.15)
}

fn draw_row(canvas: &mut Canvas, data: &TraceData, label: usize, every: usize, [course, beside]: [Rect; 2]) {
    let (n_draws, n_chains) = (longest(data), data.chains.len());
    let sorted = ascending(data.chains.iter().flatten().map(|draw| draw[label]));
    let y = padded_range(sorted.iter().copied(), 0.06);
    let axes = Axes { frame: course, x: (0.0, n_draws.max(1) as f64), y };
    if sorted.is_empty() {
        draw_reason(canvas, course, "no draws");
    }
    for (chain, draws) in data.chains.iter().enumerate() {
        let points: Vec<(f64, f64)> =
            draws.iter().enumerate().step_by(every).map(|(index, draw)| (index as f64, draw[label])).collect();
        axes.line(canvas, &points, Stroke::solid(color(chain, n_chains), 0.45));
    }
    for &draw in data.divergent.iter().flatten() {
        let at = axes.place((draw as f64, y.0));
        if course.contains(at) {
            canvas.marker((at.0, at.1 - 2.5), Marker::Up, 2.0, BLACK);
        }
    }
    let bins = n_bins(n_draws);
    let histograms: Vec<Vec<f64>> =
        data.chains.iter().map(|draws| histogram(&ascending(draws.iter().map(|draw| draw[label])), y, bins)).collect();
    let highest = histograms.iter().flatten().copied().fold(0.0, f64::max);
    let density = Axes { frame: beside, x: (0.0, if highest > 0.0 { 1.1 * highest } else { 1.0 }), y };
    for (chain, shares) in histograms.iter().enumerate() {
        let outline: Vec<(f64, f64)> = steps(shares, y).into_iter().map(|(value, share)| (share, value)).collect();
        density.line(canvas, &outline, Stroke::solid(color(chain, n_chains), 0.9));
    }
    let is_last = label + 1 == data.names.len();
    let title = with_unit(&data.names[label], data.units[label]);
    axes.draw_frame(canvas, Titles { x: is_last.then_some("draw"), y: Some(&title) });
    let titles = Titles { x: is_last.then_some("density"), y: None };
    density.draw_frame_with(canvas, titles, &Marks::default(), &density.y_marks(linear(y)));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::stats::normal::Normals;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// Chains of two labels; the last one stays aside in the second label if `is_stuck`.
    pub(in crate::plot) fn chains(n_chains: usize, n_draws: usize, is_stuck: bool) -> Vec<Vec<Vec<f64>>> {
        let mut normal = Normals::new(ChaCha8Rng::seed_from_u64(3));
        let aside = |chain: usize| if is_stuck && chain + 1 == n_chains { 0.04 } else { 0.0 };
        let chain = |chain: usize| {
            (0..n_draws).map(|_| vec![4582.0 + 4.0 * normal.draw(), aside(chain) + 0.01 * normal.draw()]).collect()
        };
        (0..n_chains).map(chain).collect()
    }

    pub(in crate::plot) const UNITS: [&str; 2] = ["K", ""];

    pub(in crate::plot) fn data<'a>(names: &'a [String], chains: &'a [Vec<Vec<f64>>]) -> TraceData<'a> {
        let (r_hat, ess_bulk, ess_tail) = (&[1.0012, 1.3], &[3211.0, 45.0], &[2871.0, f64::NAN]);
        TraceData { names, units: &UNITS, chains, r_hat, ess_bulk, ess_tail, divergent: &[] }
    }

    pub(in crate::plot) fn names() -> Vec<String> {
        ["Teff", "[Fe/H]"].map(String::from).to_vec()
    }

    #[test]
    fn every_chain_is_a_line_and_a_histogram_and_its_diagnostics_are_printed() {
        let (names, chains) = (names(), chains(4, 500, false));
        let divergent = [vec![3, 70], vec![], vec![400], vec![9999]];
        let svg = traces("NUTS", &TraceData { divergent: &divergent, ..data(&names, &chains) }).expect("draws").svg;
        for words in
            ["R-hat 1.001   ESS 3211 bulk, 2871 tail", "45 bulk, \u{2212} tail", "chain 4", "Teff [K]", "divergent (4)"]
        {
            assert!(svg.contains(words), "{words}");
        }
        // The page, and in either row three triangles inside; one in the legend.
        assert_eq!(svg.matches("<polygon").count(), 1 + 2 * 3 + 1);
        assert!(!svg.contains("every"));
    }

    #[test]
    fn long_bad_equal_and_missing_chains_are_drawn_or_said_to_be_empty() {
        let names = names();
        let mut long = chains(3, 5000, true);
        long[1][7][0] = f64::NAN;
        assert!(traces("", &data(&names, &long)).expect("draws").svg.contains("every 5th draw"));
        for empty in [vec![], vec![vec![]; 4], vec![vec![vec![f64::NAN; 2]; 9]; 2]] {
            assert_eq!(traces("", &data(&names, &empty)).expect("draws").svg.matches("no draws").count(), 2);
        }
        let equal = vec![vec![vec![7.0; 2]; 50]; 2];
        assert!(!traces("", &data(&names, &equal)).expect("draws").svg.contains("NaN"));
        assert!(traces("", &data(&names, &[vec![vec![1.0; 3]]])).is_err() && traces("", &data(&[], &[])).is_err());
    }
}
