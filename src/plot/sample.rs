//! The stars of one label as a one-to-one figure shows them: pairs, ranges that outliers do not stretch, scatter.

use super::draws::{ascending, quantile};
use super::ticks::padded_range;
use crate::stats::robust::{median, robust_scatter, standard_deviation};

/// Larger values than this are drawn at the edge like it.
const LARGEST_VALUE: f64 = 1e100;
/// Residuals are shown as far as so many robust scatters.
const MOST_SPREADS: f64 = 5.0;

/// One label of every star, estimated and from the catalogue.
#[derive(Debug, Clone)]
pub struct OneToOnePanel<'a> {
    /// Name of the label, e.g. "Teff".
    pub name: &'a str,
    /// Its unit, e.g. "K"; may be empty.
    pub unit: &'a str,
    /// Catalogue values; a star without a finite value and estimate is left out.
    pub catalogue: &'a [f64],
    /// Estimated values of the same stars.
    pub estimate: &'a [f64],
    /// Stars to be set apart, e.g. flagged ones.
    pub highlighted: &'a [bool],
    /// Words in the panel, broken at ", ", e.g. "bias +0.8 K, scatter 62 K".
    pub caption: String,
}

/// A star that can be drawn.
pub(super) struct Star {
    pub(super) catalogue: f64,
    pub(super) estimate: f64,
    pub(super) highlighted: bool,
}

impl Star {
    /// Estimate - catalogue.
    pub(super) fn residual(&self) -> f64 {
        self.estimate - self.catalogue
    }
}

/// What is drawn for one label.
pub(super) struct Sample<'a> {
    pub(super) panel: &'a OneToOnePanel<'a>,
    pub(super) stars: Vec<Star>,
    /// Of catalogue and estimate alike.
    pub(super) range: (f64, f64),
    /// Of the residuals, on either side of zero.
    pub(super) residual_range: f64,
    /// Standard deviation of the residuals of all stars.
    pub(super) scatter: Option<f64>,
    /// Side of the cells in which stars are counted, if there are too many for symbols.
    pub(super) cell: Option<f64>,
}

impl<'a> Sample<'a> {
    /// The stars of a panel; in cells of this side if there are more than `budget`.
    pub(super) fn new(panel: &'a OneToOnePanel<'a>, budget: usize, cell: f64) -> Self {
        let pairs = panel.catalogue.iter().zip(panel.estimate).zip(panel.highlighted);
        let stars: Vec<Star> = pairs
            .filter(|((catalogue, estimate), _)| catalogue.is_finite() && estimate.is_finite())
            .map(|((catalogue, estimate), &highlighted)| Star {
                catalogue: catalogue.clamp(-LARGEST_VALUE, LARGEST_VALUE),
                estimate: estimate.clamp(-LARGEST_VALUE, LARGEST_VALUE),
                highlighted,
            })
            .collect();
        let values = ascending(stars.iter().flat_map(|star| [star.catalogue, star.estimate]));
        let (low, high) = (quantile(&values, 0.005), quantile(&values, 0.995));
        let fence = 0.5 * (high - low);
        let range = padded_range(values.into_iter().filter(|v| (low - fence..=high + fence).contains(v)), 0.05);
        let sizes = ascending(stars.iter().map(|star| star.residual().abs()));
        let residuals: Vec<f64> = stars.iter().map(Star::residual).collect();
        // The scatter is what is looked at; stars far beyond it are marked at the edge.
        let (widest, spread) = (1.2 * quantile(&sizes, 0.995), robust_scatter(&residuals));
        let near = median(&residuals).abs() + MOST_SPREADS * spread;
        let typical = if spread > 0.0 { widest.min(near) } else { widest };
        let residual_range = if typical > 1e-12 * (range.1 - range.0) { typical } else { 0.1 * (range.1 - range.0) };
        let cell = (stars.len() > budget).then_some(cell);
        Self { panel, range, residual_range, scatter: deviation(&residuals), cell, stars }
    }

    /// Whether a star lies beyond the range of the panels.
    pub(super) fn leaves_a_range(&self) -> bool {
        let outside = |value: f64| value < self.range.0 || value > self.range.1;
        let leaves = |star: &Star| {
            star.residual().abs() > self.residual_range || outside(star.catalogue) || outside(star.estimate)
        };
        self.stars.iter().any(leaves)
    }
}

/// Standard deviation about the mean (n in the denominator); none for fewer than two values or for equal ones.
fn deviation(values: &[f64]) -> Option<f64> {
    let deviation = standard_deviation(values);
    (values.len() > 1 && deviation > 0.0).then_some(deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scatter_is_that_of_all_stars() {
        let panel = OneToOnePanel {
            name: "log g",
            unit: "dex",
            catalogue: &[0.0, 0.0, 1.0, 1.0, f64::NAN],
            estimate: &[1.0, -1.0, 1.0, 99.0, 1.0],
            highlighted: &[false, false, false, true, false],
            caption: String::new(),
        };
        // 1, -1, 0 and 98.
        let scatter = Sample::new(&panel, 10, 3.0).scatter.unwrap();
        assert!((scatter - 1801.25_f64.sqrt()).abs() < 1e-9, "{scatter}");
        assert_eq!(deviation(&[3.0]), None);
    }

    #[test]
    fn ranges_hold_most_stars_and_ignore_outliers() {
        let catalogue: Vec<f64> = (0..1000).map(|i| 4000.0 + f64::from(i)).collect();
        let mut estimate: Vec<f64> = catalogue.iter().map(|teff| teff + 50.0).collect();
        estimate[7] = -9999.0;
        let highlighted = vec![false; 1000];
        let (caption, name, unit) = (String::new(), "Teff", "K");
        let panel = OneToOnePanel {
            name,
            unit,
            catalogue: &catalogue,
            estimate: &estimate,
            highlighted: &highlighted,
            caption,
        };
        let sample = Sample::new(&panel, 10_000, 3.0);
        assert!(
            sample.range.0 > 3800.0 && sample.range.0 < 4000.0 && sample.range.1 > 5049.0 && sample.range.1 < 5200.0
        );
        assert_eq!(sample.residual_range, 60.0);
        assert!(sample.leaves_a_range());
    }
}
