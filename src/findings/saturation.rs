//! Whether estimates saturate: their slope against the reference, and the bias at both ends of a label's range.

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::predictions::Predictions;
use crate::stats::normal;
use crate::stats::robust::{mean, median, quantile, robust_scatter, standard_deviation};

/// Fewer stars than this have no tenths.
const LEAST_STARS: usize = 50;
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
        Self::of(reference, &x, &y, foreign, level)
    }

    /// Of estimates y beside a reference x whose own errors have this variance.
    fn of(reference: &str, x: &[f64], y: &[f64], foreign: f64, level: f64) -> Option<Self> {
        let n_stars = x.len();
        let spread = standard_deviation(x);
        if n_stars < LEAST_STARS || spread <= 0.0 || !spread.is_finite() {
            return None;
        }
        let (x_mean, y_mean) = (mean(x), mean(y));
        let normal = spread * spread * n_stars as f64;
        let slope = x.iter().zip(y).map(|(x, y)| (x - x_mean) * (y - y_mean)).sum::<f64>() / normal;
        // Residuals need not be alike along x (White 1980, Econometrica 48, 817).
        let share = |(x, y): (&f64, &f64)| ((x - x_mean) * (y - y_mean - slope * (x - x_mean))).powi(2);
        let slope_error = x.iter().zip(y).map(share).sum::<f64>().sqrt() / normal;
        // Errors quoted larger than all there is, as some catalogues do, explain nothing.
        let attenuation = 1.0 - foreign / (spread * spread);
        let expected_slope = if attenuation > 0.5 { attenuation } else { 1.0 };
        let residuals: Vec<f64> = x.iter().zip(y).map(|(x, y)| y - x).collect();
        let scatter = robust_scatter(&residuals);
        let away = normal::quantile(0.5 + level / 2.0);
        let around = |value: f64, error: f64| (value - away * error, value + away * error);
        let tenth = |limit: f64, expected_bias: f64, is_in: &dyn Fn(f64) -> bool| {
            let of_tenth = x.iter().zip(&residuals).filter(|(x, _)| is_in(**x));
            let residuals: Vec<f64> = of_tenth.map(|(_, residual)| *residual).collect();
            let bias = mean(&residuals);
            let error = standard_deviation(&residuals) / (residuals.len() as f64 - 1.0).max(1.0).sqrt();
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
            n_stars,
            slope,
            slope_interval: around(slope, slope_error),
            expected_slope,
            is_slope_clear: (slope - expected_slope).abs() > CLEAR * slope_error
                && (slope - expected_slope).abs() * spread > WORTH_A_WORD * scatter,
            lowest: tenth(low, by_error_lowest, &|x| x <= low),
            highest: tenth(high, by_error_highest, &|x| x >= high),
        })
    }
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
    fn a_handful_of_stars_has_no_tenths() {
        let (x, noise) = sample(49);
        assert!(Saturation::of("truth", &x, &noise, 0.0, 0.95).is_none());
        assert!(Saturation::of("truth", &[4000.0; 60], &[1.0; 60], 0.0, 0.95).is_none());
    }
}
