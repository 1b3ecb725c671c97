//! Ranks of every chain's draws among those of all chains: uniform if the chains have mixed.
//!
//! Vehtari et al. 2021, Bayesian Analysis 16, 667.

use super::Figure;
use super::axes::{Axes, Marks, Titles, linear};
use super::canvas::Canvas;
use super::expected::{BAND_LEVEL, hypergeometric_band};
use super::grid::{PanelGrid, draw_heading, draw_reason};
use super::legend::{Entry, render_above_legend};
use super::marks::{Marker, Rect, Stroke};
use super::palette::{BAND, BLACK, Color, GREY, WHITE, kind};
use super::traces::{TraceData, chain_names, check, longest, r_hat};
use crate::error::Result;

/// Draws that a bin should expect of each chain.
const DRAWS_PER_BIN: usize = 25;
/// Between names and frames.
const HEADING: f64 = 24.0;
const STRIP_HEIGHT: f64 = 40.0;
/// Counts above this many times the expected one are cut off.
const HIGHEST: f64 = 4.0;
const EXPECTED: Stroke = Stroke::dashed(GREY, 0.8);

/// How many draws of each chain have their rank, among the draws of all chains, in each of equal bins of ranks.
///
/// Equal draws share the mean of their ranks; those that are not finite have none. `[n_chains][n_bins]`
pub fn rank_counts(chains: &[Vec<f64>], n_bins: usize) -> Vec<Vec<usize>> {
    let mut pooled: Vec<(f64, usize)> = Vec::new();
    for (chain, draws) in chains.iter().enumerate() {
        pooled.extend(draws.iter().filter(|value| value.is_finite()).map(|&value| (value, chain)));
    }
    pooled.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut counts = vec![vec![0; n_bins]; chains.len()];
    let mut first = 0;
    for equal in pooled.chunk_by(|a, b| a.0 == b.0) {
        let middle = first as f64 + 0.5 * equal.len() as f64;
        let bin = (middle / pooled.len() as f64 * n_bins as f64) as usize;
        for &(_, chain) in equal {
            counts[chain][bin.min(n_bins - 1)] += 1;
        }
        first += equal.len();
    }
    counts
}

/// Draws a histogram of ranks for each label and chain.
///
/// # Errors
/// [`crate::error::Error::Figure`] without labels, or if names, units, draws and diagnostics do not have one length.
pub fn rank_plots(title: &str, data: &TraceData) -> Result<Figure> {
    check("rank plots", data)?;
    let n_chains = data.chains.len();
    let strip = STRIP_HEIGHT.min(320.0 / n_chains.max(1) as f64);
    let frame_height = strip * n_chains.max(2) as f64;
    let grid = PanelGrid::new(title, data.names.len(), HEADING, |_| frame_height);
    let n_bins = (longest(data) / DRAWS_PER_BIN).clamp(4, 20);
    let labels: Vec<LabelRanks> = (0..data.names.len()).map(|label| LabelRanks::new(data, label, n_bins)).collect();
    let band = format!("{:.0}% of the bins of independent draws", 100.0 * BAND_LEVEL);
    let entries = vec![
        Entry::Symbol(Marker::Square, BAND, &band),
        Entry::Line(EXPECTED, "expected of mixed chains"),
        Entry::Words("bars: draws of a chain per bin of ranks among all draws"),
    ];
    render_above_legend("rank plots", (grid.width, grid.height), entries, |canvas| {
        grid.draw_title(canvas, title);
        for (label, ranks) in labels.iter().enumerate() {
            let frame = grid.frame(label, frame_height);
            draw_heading(canvas, frame, &data.names[label], &r_hat(data, label));
            ranks.draw(canvas, frame);
        }
    })
}

/// The ranks of one label.
struct LabelRanks {
    /// `[n_chains][n_bins]`
    counts: Vec<Vec<usize>>,
    n_ranked: usize,
    all_are_equal: bool,
}

impl LabelRanks {
    fn new(data: &TraceData, label: usize, n_bins: usize) -> Self {
        let chains: Vec<Vec<f64>> =
            data.chains.iter().map(|draws| draws.iter().map(|draw| draw[label]).collect()).collect();
        let mut values = chains.iter().flatten().filter(|value| value.is_finite());
        let first = values.next();
        let all_are_equal = values.all(|value| Some(value) == first);
        let counts = rank_counts(&chains, n_bins);
        Self { n_ranked: counts.iter().flatten().sum(), all_are_equal, counts }
    }

    /// Draws a strip for each chain, the first one uppermost; a strip is as high as the largest count in units of the expected.
    fn draw(&self, canvas: &mut Canvas, frame: Rect) {
        let n_chains = self.counts.len();
        let axes = Axes { frame, x: (0.0, self.n_ranked.max(1) as f64), y: (n_chains.max(1) as f64, 0.0) };
        let reason = match (self.n_ranked, self.all_are_equal) {
            (0, _) => Some("no draws"),
            (_, true) => Some("all draws are equal"),
            _ => None,
        };
        if let Some(reason) = reason {
            draw_reason(canvas, frame, reason);
        } else {
            let strips: Vec<Strip> = self.counts.iter().map(|counts| Strip::new(counts, self.n_ranked)).collect();
            let highest = strips.iter().map(Strip::highest).fold(1.9, f64::max).min(HIGHEST);
            for (chain, strip) in strips.iter().enumerate() {
                strip.draw(canvas, &axes, chain, n_chains, 1.08 * highest);
            }
        }
        let names = chain_names(n_chains);
        let major = names.into_iter().enumerate().map(|(chain, name)| (chain as f64 + 0.5, name.replace("chain ", "")));
        let marks = Marks { major: major.collect(), minor: Vec::new() };
        let titles = Titles { x: Some("rank"), y: Some("chain") };
        axes.draw_frame_with(canvas, titles, &axes.x_marks(linear(axes.x)), &marks);
    }
}

/// The histogram of one chain, in units of the expected count.
struct Strip {
    heights: Vec<f64>,
    band: (f64, f64),
}

impl Strip {
    fn new(counts: &[usize], n_ranked: usize) -> Self {
        let n_draws: usize = counts.iter().sum();
        let expected = n_draws as f64 / counts.len() as f64;
        let (low, high) = hypergeometric_band(n_ranked, n_ranked / counts.len(), n_draws);
        let relative = |count: usize| if n_draws > 0 { count as f64 / expected } else { 0.0 };
        Self { heights: counts.iter().map(|&count| relative(count)).collect(), band: (relative(low), relative(high)) }
    }

    fn highest(&self) -> f64 {
        self.heights.iter().copied().fold(self.band.1, f64::max)
    }

    fn draw(&self, canvas: &mut Canvas, axes: &Axes, chain: usize, n_chains: usize, highest: f64) {
        let (bottom, width) = (chain as f64 + 1.0, axes.x.1);
        let level = |height: f64| bottom - height.min(highest) / highest;
        let corner = |x: f64, height: f64| axes.place((x, level(height)));
        let block = |canvas: &mut Canvas, x: (f64, f64), heights: (f64, f64), color: Color| {
            let corners = [(x.0, heights.0), (x.1, heights.0), (x.1, heights.1), (x.0, heights.1)];
            canvas.area(&corners.map(|(x, height)| corner(x, height)), color);
        };
        block(canvas, (0.0, width), self.band, BAND);
        let own = kind(chain, n_chains);
        let step = width / self.heights.len() as f64;
        for (bin, &height) in self.heights.iter().enumerate() {
            let (left, right) = ((bin as f64 + 0.12) * step, (bin as f64 + 0.88) * step);
            block(canvas, (left, right), (0.0, height), own.towards(WHITE, 0.45).faded(0.8));
            canvas.line(&[corner(left, height), corner(right, height)], Stroke::solid(own, 1.1));
        }
        canvas.line(&[corner(0.0, 1.0), corner(width, 1.0)], EXPECTED);
        canvas.line(&[corner(0.0, 0.0), corner(width, 0.0)], Stroke::solid(BLACK, 0.5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::traces::tests::{chains, data, names};

    #[test]
    fn ranks_are_counted_per_chain_and_ties_share_theirs() {
        let chains = [vec![1.0, 5.0, f64::NAN], vec![2.0, 6.0], vec![3.0, 4.0]];
        assert_eq!(rank_counts(&chains, 3), [[1, 0, 1], [1, 0, 1], [0, 2, 0]]);
        // Ranks 1, 3, 3, 3, 5 of five.
        assert_eq!(rank_counts(&[vec![1.0, 2.0, 2.0], vec![2.0, 9.0]], 5), [[1, 0, 2, 0, 0], [0, 0, 1, 0, 1]]);
        assert_eq!(rank_counts(&[vec![], vec![]], 2), [[0, 0], [0, 0]]);
    }

    /// Share of all bins of all chains outside their band.
    fn share_outside(chains: &[Vec<Vec<f64>>], label: usize) -> f64 {
        let names = names();
        let ranks = LabelRanks::new(&data(&names, chains), label, 20);
        let strips = ranks.counts.iter().map(|counts| Strip::new(counts, ranks.n_ranked));
        let outside = strips.map(|strip| {
            strip.heights.iter().filter(|height| **height < strip.band.0 || **height > strip.band.1).count()
        });
        outside.sum::<usize>() as f64 / (20.0 * ranks.counts.len() as f64)
    }

    #[test]
    fn bins_of_mixed_chains_lie_in_the_band_and_those_of_a_stuck_one_do_not() {
        // Of 640 bins, 5% or a little less lie outside: 32, +- 6.
        let mixed = chains(32, 1000, false);
        assert!((0.015..0.075).contains(&share_outside(&mixed, 1)), "{}", share_outside(&mixed, 1));
        assert!(share_outside(&chains(4, 1000, true), 1) > 0.5);
    }

    #[test]
    fn every_bin_has_its_bar_and_empty_or_equal_chains_say_so() {
        let (names, mixed) = (names(), chains(4, 400, false));
        let svg = rank_plots("ranks", &data(&names, &mixed)).expect("draws").svg;
        // The page, the legend; two labels x four chains: a band and 16 bars.
        assert_eq!(svg.matches("<polygon").count(), 2 + 2 * 4 * (1 + 16));
        assert!(svg.contains(">\nR-hat 1.001\n<") && svg.contains("95% of the bins"));
        for (chains, words) in [(vec![], "no draws"), (vec![vec![vec![1.0; 2]; 9]; 3], "all draws are equal")] {
            assert_eq!(rank_plots("", &data(&names, &chains)).expect("draws").svg.matches(words).count(), 2);
        }
        let (mut long, many) = (chains(2, 30, false), chains(40, 30, false));
        long[0].clear();
        assert!(rank_plots("", &data(&names, &long)).is_ok() && rank_plots("", &data(&names, &many)).is_ok());
        assert!(rank_plots("", &data(&names[..1], &mixed)).is_err());
    }
}
