//! What repeat visits tell, as plain data.

use std::collections::BTreeMap;

use serde::Serialize;

use super::visits::LeftOut;

/// Errors that are right to this share are right.
const RIGHT: f64 = 0.1;

/// How the width of a distribution is measured, and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Statistic {
    /// 1.4826 x the median of the absolute deviations; intervals from resamples of the stars.
    Robust,
    /// The standard deviation, of stars too few for resamples; intervals by chi^2, as if noise were normal.
    Standard,
}

/// A number and the interval it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measured {
    /// The number.
    pub value: f64,
    /// The interval.
    pub interval: (f64, f64),
}

/// How a ratio of what was measured to what was claimed lies to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Surely smaller by more than a tenth.
    Smaller,
    /// Not surely off by more than a tenth.
    Alike,
    /// Surely larger by more than a tenth.
    Larger,
}

impl Measured {
    /// How the ratio lies to 1, by its interval.
    pub fn verdict(&self) -> Verdict {
        match self.interval {
            (_, high) if high < 1.0 - RIGHT => Verdict::Smaller,
            (low, _) if low > 1.0 + RIGHT => Verdict::Larger,
            _ => Verdict::Alike,
        }
    }
}

/// What visits say of errors of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Claimed {
    /// Median of these errors, in the label's unit; their root mean square where widths are standard deviations.
    pub error: f64,
    /// Width of the visits' deviations in units of their own errors: 1 if visits scatter by them.
    pub pull: Measured,
}

/// Visits of similar SNR; numbers in the label's unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RepeatBin {
    /// Stars.
    pub n_stars: usize,
    /// Visits, but for those that outweigh the others of their star: these tell of the others' noise.
    pub n_visits: usize,
    /// Degrees of freedom: a star's n visits are worth n - 1.
    pub n_repeats: f64,
    /// Median SNR per pixel of the visits; none where it is unknown.
    pub snr: Option<f64>,
    /// The lowest and the highest.
    pub snr_range: Option<(f64, f64)>,
    /// Scatter of one visit about its star, by the statistic of [`Repeats::statistic`].
    pub scatter: Measured,
    /// Its standard deviation: of all degrees of freedom together, with whatever went wrong in single visits.
    pub standard_deviation: f64,
    /// Formal errors; none where the model gives none.
    pub formal: Option<Claimed>,
    /// Calibrated errors; none where the model has no calibration.
    pub calibrated: Option<Claimed>,
}

/// What the visits of the lowest SNR have in addition to those of the highest, in quadrature: noise alone, whatever else is in an
/// error. Numbers in the label's unit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Growth {
    /// Median SNR of the lowest and of the highest bin.
    pub snr: (f64, f64),
    /// What visits scatter by in addition.
    pub scatter: Measured,
    /// What formal errors claim in addition.
    pub formal: Option<f64>,
    /// What calibrated errors claim in addition.
    pub calibrated: Option<f64>,
    /// The scatter in units of what calibrated errors claim: 1 if these know what noise does.
    pub of_calibrated: Option<Measured>,
}

/// What repeat visits tell of one label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelRepeats {
    /// All visits together.
    pub all: RepeatBin,
    /// Visits that hold so much of their star's weight that they tell of the others' noise, and do not count.
    pub n_outweighing: usize,
    /// Bins of SNR, ascending; empty where SNR is unknown or stars are few.
    pub along_snr: Vec<RepeatBin>,
    /// From the highest SNR to the lowest; none without bins.
    pub growth: Option<Growth>,
    /// The share of noise in the square of the calibrated errors; what is left is the same in every visit.
    pub noise_share: Option<Measured>,
    /// What of the calibrated error is the same in every visit, in the label's unit; none where noise is all of it.
    pub beyond_noise: Option<f64>,
}

/// What repeat visits tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Repeats {
    /// Visits that were given.
    pub n_visits: usize,
    /// Stars with two visits or more that count.
    pub n_stars: usize,
    /// Their visits.
    pub n_used: usize,
    /// The others.
    pub left_out: LeftOut,
    /// What the table leaves in doubt, in words.
    pub doubts: Vec<String>,
    /// How widths are measured.
    pub statistic: Statistic,
    /// Probability that the intervals hold.
    pub interval_level: f64,
    /// By label.
    pub labels: BTreeMap<String, LabelRepeats>,
    /// Names of the labels in their order.
    #[serde(skip)]
    pub label_names: Vec<String>,
}
