//! Whether estimates saturate: their slope against the reference, over all stars and along SNR, and the bias at both ends of a
//! label's range.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::predictions::Predictions;
use crate::stats::normal;
use crate::stats::robust::{mean, median, quantile, robust_scatter, standard_deviation};

/// Fewer stars than this have no slope and no tenths.
const LEAST_STARS: usize = 50;
/// Parts that stars are divided into by their SNR, where each has enough of them.
const MOST_PARTS: usize = 5;
/// Residuals farther out than so many robust scatters are another matter: wrong labels, binaries.
const CLIP: f64 = 5.0;
/// Standard errors by which something differs from what is expected before it is told in words: a dozen numbers per model are
/// looked at.
const CLEAR: f64 = 4.0;
/// And it must be so large, in units of the robust scatter, to be worth a word.
const WORTH_A_WORD: f64 = 0.25;

/// How estimates of one label follow the reference: truth where it is known, else the catalogue.
///
/// A reference with errors of its own makes the best estimates rise by less than it does (attenuation): those with the largest
/// reference have it partly by error. With truth nothing of the kind is expected; with a catalogue it follows from the errors it
/// quotes, and where it quotes none, nothing is expected either.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Saturation {
    /// `truth` or `catalogue`.
    pub reference: String,
    /// Stars compared, those with residuals beyond five robust scatters left out.
    pub n_stars: usize,
    /// Change of the estimate for a unit of the reference, by least squares.
    pub slope: f64,
    /// Its interval.
    pub slope_interval: (f64, f64),
    /// The slope that the best estimates would have: the share of the reference's variance that is not its own error's.
    pub expected_slope: f64,
    /// Whether the slope clearly differs from what is expected.
    pub is_slope_clear: bool,
    /// Stars with the lowest tenth of the reference.
    pub lowest: Tenth,
    /// Stars with the highest tenth of the reference.
    pub highest: Tenth,
    /// Stars of like SNR, the noisiest first; empty where SNRs are unknown, or stars too few to be divided.
    #[serde(default)]
    pub along_snr: Vec<SnrSlope>,
}

/// How estimates of stars of like SNR follow the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SnrSlope {
    /// Median SNR per pixel.
    pub snr: f64,
    /// The lowest and the highest.
    pub snr_range: (f64, f64),
    /// Stars compared.
    pub n_stars: usize,
    /// Change of the estimate for a unit of the reference.
    pub slope: f64,
    /// Its interval.
    pub slope_interval: (f64, f64),
    /// The slope that the best estimates would have.
    pub expected_slope: f64,
    /// Whether the slope clearly differs from that.
    pub is_clear: bool,
    /// Mean of estimate - reference.
    pub bias: f64,
    /// Its interval.
    pub bias_interval: (f64, f64),
}

/// One end of a label's range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Tenth {
    /// The reference beyond which it begins.
    pub limit: f64,
    /// Stars in it.
    pub n_stars: usize,
    /// Mean of estimate - reference.
    pub bias: f64,
    /// Its interval.
    pub bias_interval: (f64, f64),
    /// The bias that errors of the reference alone would give.
    pub expected_bias: f64,
    /// |bias - expected bias|.
    pub size: f64,
    /// Whether it is clearly there and large enough to matter.
    pub is_clear: bool,
}

impl Saturation {
    /// Of label `k` of some stars; `None` where they are too few or all alike.
    pub(super) fn new(predictions: &Predictions, stars: &[usize], k: usize, level: f64) -> Option<Self> {
        let (reference, labels): (&str, &Array2<f64>) = match &predictions.truth {
            Some(truth) => ("truth", &truth.labels),
            None => ("catalogue", &predictions.catalogue),
        };
        let pair = |star: &usize| (labels[[*star, k]], predictions.estimates.labels[[*star, k]]);
        let known: Vec<usize> =
            stars.iter().copied().filter(|star| pair(star).0.is_finite() && pair(star).1.is_finite()).collect();
        let residuals: Vec<f64> = known.iter().map(|star| pair(star).1 - pair(star).0).collect();
        let (centre, scatter) = (median(&residuals), robust_scatter(&residuals));
        let near = |(_, residual): &(&usize, &f64)| (*residual - centre).abs() <= CLIP * scatter;
        let kept: Vec<usize> = known.iter().zip(&residuals).filter(near).map(|(star, _)| *star).collect();
        let (x, y): (Vec<f64>, Vec<f64>) = kept.iter().map(pair).unzip();
        let errors = kept.iter().map(|star| predictions.catalogue_errors[[*star, k]]).filter(|error| error.is_finite());
        let squares: Vec<f64> = errors.map(|error| error * error).collect();
        let foreign = if reference == "truth" || squares.is_empty() { 0.0 } else { median(&squares) };
        let found = Self::of(reference, &x, &y, foreign, level)?;
        Some(Self { along_snr: along_snr(&kept, |star| predictions.snr[star], pair, foreign, level), ..found })
    }

    /// Of estimates y beside a reference x whose own errors have this variance.
    fn of(reference: &str, x: &[f64], y: &[f64], foreign: f64, level: f64) -> Option<Self> {
        let Line { slope, error, expected_slope, is_clear } = Line::through(x, y, foreign)?;
        let residuals: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - x).collect();
        let scatter = robust_scatter(&residuals);
        let around = |value: f64, error: f64| interval(value, error, level);
        let tenth = |limit: f64, expected_bias: f64, is_in: &dyn Fn(f64) -> bool| {
            let of_tenth = x.iter().zip(&residuals).filter(|(x, _)| is_in(**x));
            let residuals: Vec<f64> = of_tenth.map(|(_, residual)| *residual).collect();
            let bias = mean(&residuals);
            let error = error_of_mean(&residuals);
            let size = (bias - expected_bias).abs();
            Tenth {
                limit,
                n_stars: residuals.len(),
                bias,
                bias_interval: around(bias, error),
                expected_bias,
                size,
                is_clear: size > CLEAR * error && size > WORTH_A_WORD * scatter,
            }
        };
        let (low, high) = (quantile(x, 0.1), quantile(x, 0.9));
        let [by_error_lowest, by_error_highest] =
            if expected_slope < 1.0 { biases_by_error(y, foreign.sqrt()) } else { [0.0, 0.0] };
        Some(Self {
            reference: reference.to_string(),
            n_stars: x.len(),
            slope,
            slope_interval: around(slope, error),
            expected_slope,
            is_slope_clear: is_clear,
            lowest: tenth(low, by_error_lowest, &|x| x <= low),
            highest: tenth(high, by_error_highest, &|x| x >= high),
            along_snr: Vec::new(),
        })
    }
}

/// The line through estimates beside a reference.
struct Line {
    slope: f64,
    error: f64,
    expected_slope: f64,
    is_clear: bool,
}

impl Line {
    /// By least squares, of a reference x whose own errors have this variance; `None` where stars are too few or all alike.
    fn through(x: &[f64], y: &[f64], foreign: f64) -> Option<Self> {
        let spread = standard_deviation(x);
        if x.len() < LEAST_STARS || spread <= 0.0 || !spread.is_finite() {
            return None;
        }
        let (x_mean, y_mean) = (mean(x), mean(y));
        let normal = spread * spread * x.len() as f64;
        let slope = x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / normal;
        // Residuals need not be alike along x (White 1980, Econometrica 48, 817).
        let share = |(x, y): (&f64, &f64)| ((x - x_mean) * (y - y_mean - slope * (x - x_mean))).powi(2);
        let error = x.iter().zip(y).map(share).sum::<f64>().sqrt() / normal;
        // Errors quoted larger than all there is, as some catalogues do, explain nothing.
        let attenuation = 1.0 - foreign / (spread * spread);
        let expected_slope = if attenuation > 0.5 { attenuation } else { 1.0 };
        let scatter = robust_scatter(&x.iter().zip(y).map(|(x, y)| y - x).collect::<Vec<f64>>());
        let off = (slope - expected_slope).abs();
        Some(Self {
            slope,
            error,
            expected_slope,
            is_clear: off > CLEAR * error && off * spread > WORTH_A_WORD * scatter,
        })
    }
}

/// The same of stars of like SNR; `pair` has the reference of a star, and its estimate.
fn along_snr(
    stars: &[usize],
    snr: impl Fn(usize) -> f64,
    pair: impl Fn(&usize) -> (f64, f64),
    foreign: f64,
    level: f64,
) -> Vec<SnrSlope> {
    let mut known: Vec<usize> = stars.iter().copied().filter(|star| snr(*star).is_finite()).collect();
    known.sort_by(|a, b| snr(*a).total_cmp(&snr(*b)));
    let n_parts = (known.len() / LEAST_STARS).min(MOST_PARTS);
    if n_parts < 2 || snr(known[0]) == snr(known[known.len() - 1]) {
        return Vec::new();
    }
    let part = |index: usize| {
        let stars = &known[index * known.len() / n_parts..(index + 1) * known.len() / n_parts];
        let (x, y): (Vec<f64>, Vec<f64>) = stars.iter().map(&pair).unzip();
        let Line { slope, error, expected_slope, is_clear } = Line::through(&x, &y, foreign)?;
        let residuals: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - x).collect();
        let bias = mean(&residuals);
        Some(SnrSlope {
            snr: snr(stars[stars.len() / 2]),
            snr_range: (snr(stars[0]), snr(stars[stars.len() - 1])),
            n_stars: stars.len(),
            slope,
            slope_interval: interval(slope, error, level),
            expected_slope,
            is_clear,
            bias,
            bias_interval: interval(bias, error_of_mean(&residuals), level),
        })
    };
    (0..n_parts).filter_map(part).collect()
}

/// What holds a normal distribution's values with this probability.
fn interval(value: f64, error: f64, level: f64) -> (f64, f64) {
    let away = normal::quantile(0.5 + level / 2.0);
    (value - away * error, value + away * error)
}

/// Standard error of the mean.
fn error_of_mean(values: &[f64]) -> f64 {
    standard_deviation(values) / (values.len() as f64 - 1.0).max(1.0).sqrt()
}

/// Mean of estimate - reference in the lowest and the highest tenth of a reference that is the estimate plus an error of its
/// own: what such errors do however the stars are distributed.
fn biases_by_error(estimates: &[f64], error: f64) -> [f64; 2] {
    /// Places at which the normal distribution is looked at.
    const N_NODES: usize = 15;
    let nodes: Vec<f64> = (0..N_NODES).map(|i| error * normal::quantile((i as f64 + 0.5) / N_NODES as f64)).collect();
    let references: Vec<f64> =
        estimates.iter().flat_map(|estimate| nodes.iter().map(move |node| estimate + node)).collect();
    let (low, high) = (quantile(&references, 0.1), quantile(&references, 0.9));
    let mean_of = |is_in: &dyn Fn(f64) -> bool| {
        let inside = references.iter().zip(nodes.iter().cycle()).filter(|(reference, _)| is_in(**reference));
        mean(&inside.map(|(_, node)| -node).collect::<Vec<f64>>())
    };
    [mean_of(&|reference| reference <= low), mean_of(&|reference| reference >= high)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use rand::SeedableRng;

    fn sample(n: usize) -> (Vec<f64>, Vec<f64>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(17);
        let x: Vec<f64> = (0..n).map(|i| 4000.0 + 1000.0 * i as f64 / n as f64).collect();
        let noise = (0..n).map(|_| 20.0 * normal(&mut rng)).collect();
        (x, noise)
    }

    #[test]
    fn an_edge_shows_in_its_tenth_and_in_the_slope() {
        let (x, noise) = sample(1000);
        // Nothing gets above 4850 K: the highest tenth, 4900 to 5000 K, is 100 K too cool on average.
        let y: Vec<f64> = x.iter().zip(&noise).map(|(x, noise)| x.min(4850.0) + noise).collect();
        let found = Saturation::of("truth", &x, &y, 0.0, 0.95).unwrap();
        assert!((found.highest.bias + 100.0).abs() < 6.0 && found.highest.is_clear, "{found:?}");
        assert!((found.highest.limit - 4899.0).abs() < 2.0 && found.highest.n_stars == 100);
        assert!(found.lowest.bias.abs() < 8.0 && !found.lowest.is_clear);
        let (low, high) = found.slope_interval;
        assert!(found.slope < 0.97 && found.is_slope_clear && low < found.slope && found.slope < high);
    }

    #[test]
    fn good_estimates_are_not_blamed_for_the_errors_of_a_catalogue() {
        let (truth, noise) = sample(1000);
        let (_, mut more) = sample(2000);
        let errors = more.split_off(1000);
        let catalogue: Vec<f64> = truth.iter().zip(&errors).map(|(x, error)| x + 5.0 * error).collect();
        let y: Vec<f64> = truth.iter().zip(&noise).map(|(x, noise)| x + noise).collect();
        // Errors of 100 K in 304 K of spread: a slope of 1 - 0.108.
        let found = Saturation::of("catalogue", &catalogue, &y, 1e4, 0.95).unwrap();
        assert!((found.slope - found.expected_slope).abs() < 0.04 && (found.expected_slope - 0.892).abs() < 0.01);
        assert!(!found.is_slope_clear && !found.highest.is_clear && !found.lowest.is_clear, "{found:?}");
        assert!(found.highest.bias < -30.0 && (found.highest.bias - found.highest.expected_bias).abs() < 35.0);
        // Errors quoted beyond reason are not believed, and what is seen is told.
        let found = Saturation::of("catalogue", &catalogue, &y, 1e6, 0.95).unwrap();
        assert!(found.expected_slope == 1.0 && found.is_slope_clear);
    }

    #[test]
    fn what_noise_does_to_slopes_shows_along_snr() {
        let (x, noise) = sample(1000);
        // The noisier half follows by 0.9, the other in full.
        let snr = |star: usize| if star.is_multiple_of(2) { 50.0 } else { 200.0 } + star as f64 * 1e-3;
        let gain = |star: usize| if star.is_multiple_of(2) { 0.9 } else { 1.0 };
        let pair = |star: &usize| (x[*star], 4500.0 + gain(*star) * (x[*star] - 4500.0) + noise[*star]);
        let stars: Vec<usize> = (0..1000).collect();
        let found = along_snr(&stars, snr, pair, 0.0, 0.95);
        assert_eq!(found.iter().map(|part| part.n_stars).collect::<Vec<_>>(), [200; 5]);
        for (part, expected) in found.iter().zip([0.9, 0.9, f64::NAN, 1.0, 1.0]) {
            assert!(expected.is_nan() || (part.slope - expected).abs() < 0.04, "{part:?}");
            assert!(expected.is_nan() || part.is_clear == (expected < 1.0), "{part:?}");
        }
        assert!(found[0].snr < 51.0 && found[4].snr_range.1 > 200.0);
        // Too few to be divided, or nothing to divide by.
        assert!(along_snr(&stars[..99], snr, pair, 0.0, 0.95).is_empty());
        assert!(along_snr(&stars, |_| 70.0, pair, 0.0, 0.95).is_empty());
        assert!(along_snr(&stars, |_| f64::NAN, pair, 0.0, 0.95).is_empty());
    }

    #[test]
    fn a_handful_of_stars_has_no_tenths() {
        let (x, noise) = sample(49);
        assert!(Saturation::of("truth", &x, &noise, 0.0, 0.95).is_none());
        assert!(Saturation::of("truth", &[4000.0; 60], &[1.0; 60], 0.0, 0.95).is_none());
    }
}
