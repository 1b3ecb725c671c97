//! Whether errors are true to size, in every way one can look at it: pulls, coverage, probability integral transform, SNR.

use std::collections::BTreeMap;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::groups::{HEALTHY, groups};
use super::predictions::Predictions;
use crate::findings::pulls::Pulls;
use crate::stats::bootstrap::{Resampling, Sample, Wanted, central};
use crate::stats::normal::normal_cdf;
use crate::stats::robust::{median, quantile_of_sorted};

/// Probabilities of the central intervals whose coverage is counted.
pub const LEVELS: [f64; 19] =
    [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95];
/// Bins of the probability integral transform.
pub const PIT_BINS: usize = 20;
/// Bins of SNR at most, and stars in each at least.
const SNR_BINS: usize = 6;
const STARS_PER_BIN: usize = 20;

/// Errors of one kind beside the residuals of the same stars.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorCheck {
    /// The pulls.
    pub pulls: Pulls,
    /// Fraction of the stars within the central interval of each of [`LEVELS`].
    pub coverage: Vec<f64>,
    /// Stars in each of [`PIT_BINS`] equal bins of the probability, by estimate and error, of a label below the reference: the
    /// probability integral transform (Gneiting et al. 2007). Where estimates are too high, references lie in the first bins.
    pub pit: Vec<usize>,
}

/// Stars of similar SNR.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SnrBin {
    /// Stars compared.
    pub n_stars: usize,
    /// Median SNR per pixel.
    pub snr: f64,
    /// Robust scatter of estimate - reference.
    pub scatter: f64,
    /// Its bootstrap interval; none in runs of older versions.
    pub scatter_interval: Option<(f64, f64)>,
    /// Median formal error; none where there is none.
    pub formal: Option<f64>,
    /// Median calibrated error; none where there is no calibration.
    pub calibrated: Option<f64>,
    /// Robust width of the pulls of formal errors.
    pub formal_pull: Option<f64>,
    /// Robust width of the pulls of calibrated errors.
    pub calibrated_pull: Option<f64>,
}

/// Errors of one label against one reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelErrorCheck {
    /// The model's own errors; none where it gives none.
    pub formal: Option<ErrorCheck>,
    /// Calibrated errors; none where there are none.
    pub calibrated: Option<ErrorCheck>,
    /// Both along SNR; empty where SNR is unknown or stars are few.
    pub along_snr: Vec<SnrBin>,
}

/// Checks by the stars and what they are held against, then by label.
pub type ErrorChecks = BTreeMap<String, BTreeMap<String, LabelErrorCheck>>;

/// Against the catalogue, whose own errors, times the factor that calibration found, are added in quadrature, all stars.
pub const CATALOGUE: &str = "catalogue";
/// Against the truth, all stars.
pub const TRUTH: &str = "truth";
/// Against the catalogue, stars with which nothing is wrong.
pub const HEALTHY_CATALOGUE: &str = "healthy_catalogue";
/// Against the truth, stars with which nothing is wrong.
pub const HEALTHY_TRUTH: &str = "healthy_truth";

/// One star's residual with the errors it is compared with, reference's own included.
#[derive(Debug, Clone, Copy)]
struct Compared {
    star: usize,
    snr: f64,
    residual: f64,
    formal: f64,
    calibrated: f64,
}

impl ErrorCheck {
    /// From residuals (estimate - reference) and errors of the same stars; `None` where no star has both.
    pub fn new(residuals_and_errors: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let is_usable = |(residual, error): &(f64, f64)| residual.is_finite() && error.is_finite() && *error > 0.0;
        let usable: Vec<(f64, f64)> = residuals_and_errors.into_iter().filter(is_usable).collect();
        let pulls = Pulls::new(usable.iter().copied())?;
        let probabilities: Vec<f64> = usable.iter().map(|(residual, error)| normal_cdf(-residual / error)).collect();
        let inside = |level: f64| probabilities.iter().filter(|p| (2.0 * **p - 1.0).abs() <= level).count();
        let mut pit = vec![0; PIT_BINS];
        for probability in &probabilities {
            pit[((probability * PIT_BINS as f64) as usize).min(PIT_BINS - 1)] += 1;
        }
        Some(Self { pulls, coverage: LEVELS.map(|level| inside(level) as f64 / usable.len() as f64).to_vec(), pit })
    }
}

/// Every check that the predictions allow; intervals hold a fraction `level` of the resamples of the stars.
pub fn error_checks(predictions: &Predictions, resampling: &Resampling, level: f64) -> ErrorChecks {
    let all: Vec<usize> = (0..predictions.n_stars()).collect();
    let (catalogue, errors) = (&predictions.catalogue, &predictions.catalogue_errors);
    let exact = Array2::zeros(catalogue.raw_dim());
    let healthy = groups(predictions).and_then(|mut groups| groups.remove(HEALTHY));
    let mut checks = ErrorChecks::new();
    let mut add = |name: &str, references: &Array2<f64>, errors: &Array2<f64>, stars: &[usize]| {
        let label = |(k, label): (usize, &String)| {
            let compared = compared(predictions, references, errors, stars, k);
            (label.clone(), check_label(&compared, resampling, level))
        };
        checks.insert(name.to_string(), predictions.label_names.iter().enumerate().map(label).collect());
    };
    add(CATALOGUE, catalogue, errors, &all);
    if let Some(truth) = &predictions.truth {
        add(TRUTH, &truth.labels, &exact, &all);
    }
    if let (Some(truth), Some(healthy)) = (&predictions.truth, healthy) {
        add(HEALTHY_CATALOGUE, catalogue, errors, &healthy);
        add(HEALTHY_TRUTH, &truth.labels, &exact, &healthy);
    }
    checks
}

/// The stars that have an estimate of a label and a reference.
fn compared(
    predictions: &Predictions,
    references: &Array2<f64>,
    reference_errors: &Array2<f64>,
    stars: &[usize],
    k: usize,
) -> Vec<Compared> {
    let compared = |star: &usize| {
        let own = reference_errors[[*star, k]];
        let with_own = |error: f64| if own.is_finite() { error.hypot(own) } else { error };
        Compared {
            star: *star,
            snr: predictions.snr[*star],
            residual: predictions.estimates.labels[[*star, k]] - references[[*star, k]],
            formal: with_own(predictions.estimates.error(*star, k)),
            calibrated: with_own(predictions.calibrated_errors[[*star, k]]),
        }
    };
    stars.iter().map(compared).filter(|star| star.residual.is_finite()).collect()
}

fn check_label(compared: &[Compared], resampling: &Resampling, level: f64) -> LabelErrorCheck {
    LabelErrorCheck {
        formal: ErrorCheck::new(compared.iter().map(|star| (star.residual, star.formal))),
        calibrated: ErrorCheck::new(compared.iter().map(|star| (star.residual, star.calibrated))),
        along_snr: along_snr(compared, resampling, level),
    }
}

/// Quantile bins of about as many stars each.
fn along_snr(stars: &[Compared], resampling: &Resampling, level: f64) -> Vec<SnrBin> {
    let mut stars: Vec<&Compared> = stars.iter().filter(|star| star.snr.is_finite()).collect();
    stars.sort_by(|a, b| a.snr.total_cmp(&b.snr));
    // One SNR for all makes no bins.
    let varies = stars.first().zip(stars.last()).is_some_and(|(first, last)| first.snr < last.snr);
    let n_bins = if varies { SNR_BINS.min(stars.len() / STARS_PER_BIN) } else { 0 };
    let bins: Vec<&[&Compared]> =
        (0..n_bins).map(|bin| &stars[bin * stars.len() / n_bins..(bin + 1) * stars.len() / n_bins]).collect();
    let samples: Vec<Sample> =
        bins.iter().map(|stars| Sample::new(stars.iter().map(|star| (star.star, star.residual)))).collect();
    let resamples = resampling.summaries(&samples, Wanted::Medians);
    let bin = |index: usize| {
        let stars = bins[index];
        let of = |value: fn(&Compared) -> f64| -> Vec<f64> { stars.iter().map(|star| value(star)).collect() };
        let finite = |values: Vec<f64>| median(&values.into_iter().filter(|v| v.is_finite()).collect::<Vec<f64>>());
        let known = |value: f64| value.is_finite().then_some(value);
        let width = |error: fn(&Compared) -> f64| {
            Some(Pulls::new(stars.iter().map(|star| (star.residual, error(star))))?.robust_width)
        };
        SnrBin {
            n_stars: stars.len(),
            snr: quantile_of_sorted(&of(|star| star.snr), 0.5),
            scatter: samples[index].summary().robust_scatter,
            scatter_interval: Some(central(resamples[index].iter().map(|summary| summary.robust_scatter), level)),
            formal: known(finite(of(|star| star.formal))),
            calibrated: known(finite(of(|star| star.calibrated))),
            formal_pull: width(|star| star.formal),
            calibrated_pull: width(|star| star.calibrated),
        }
    };
    (0..n_bins).map(bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::predictions::tests::bare;
    use crate::models::LabelEstimates;
    use crate::stars::truth::Truth;
    use crate::stats::normal::draw as normal;
    use ndarray::Array3;
    use rand::SeedableRng;

    /// Estimates that err by 10 against the truth, that say 5 and are calibrated to 10; the catalogue errs by 20.
    fn predictions(n: usize) -> Predictions {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(8);
        let mut scattered = |size: f64| Array2::from_shape_fn((n, 1), |_| 4500.0 + size * normal(&mut rng));
        let (catalogue, labels) = (scattered(20.0), scattered(10.0));
        let truth = Array2::from_elem((n, 1), 4500.0);
        let pathology = (0..n).map(|star| if star % 10 == 0 { "binary".to_string() } else { String::new() }).collect();
        let estimates = LabelEstimates::read_off(labels, Array3::from_elem((n, 1, 1), 25.0), vec![3; n]);
        Predictions {
            catalogue_errors: Array2::from_elem((n, 1), 20.0),
            truth: Some(Truth { labels: truth, pathology: Some(pathology) }),
            snr: (0..n).map(|star| 50.0 + star as f64).collect(),
            calibrated_errors: Array2::from_elem((n, 1), 10.0),
            ..bare(&["teff"], catalogue, estimates)
        }
    }

    fn checked(predictions: &Predictions) -> ErrorChecks {
        error_checks(predictions, &Resampling { n_stars: predictions.n_stars(), n_resamples: 200, seed: 3 }, 0.95)
    }

    #[test]
    fn honest_errors_pass_every_check_and_bold_ones_fail_them() {
        let checks = checked(&predictions(20_000));
        for (group, n_stars) in [(TRUTH, 20_000), (HEALTHY_TRUTH, 18_000), (CATALOGUE, 20_000)] {
            let LabelErrorCheck { formal, calibrated, along_snr } = &checks[group]["teff"];
            let (formal, calibrated) = (formal.as_ref().unwrap(), calibrated.as_ref().unwrap());
            assert_eq!(calibrated.pulls.n_stars, n_stars);
            // A fraction p is known to sqrt(p (1 - p) / n) < 0.004, a width (MAD) to 1.17 / sqrt(n) = 0.009.
            assert!((calibrated.pulls.robust_width - 1.0).abs() < 0.035, "{group}: {calibrated:?}");
            for (level, fraction) in LEVELS.iter().zip(&calibrated.coverage) {
                assert!((level - fraction).abs() < 0.015, "{group}, {level}: {fraction}");
            }
            let expected = n_stars as f64 / PIT_BINS as f64;
            assert!(calibrated.pit.iter().all(|count| (*count as f64 / expected - 1.0).abs() < 0.15), "{group}");
            assert_eq!(calibrated.pit.iter().sum::<usize>(), n_stars);
            // Formal errors of 5, with the catalogue's 20 added where that is the reference.
            let width = if group == CATALOGUE { f64::hypot(10.0, 20.0) / f64::hypot(5.0, 20.0) } else { 2.0 };
            assert!((formal.pulls.robust_width / width - 1.0).abs() < 0.035, "{group}: {formal:?}");
            assert!(formal.coverage[9] < calibrated.coverage[9] && formal.pit[0] > calibrated.pit[0]);
            assert_eq!((along_snr.len(), along_snr.iter().map(|bin| bin.n_stars).sum::<usize>()), (6, n_stars));
            assert!(along_snr.windows(2).all(|pair| pair[0].snr < pair[1].snr));
            // 1.17 / sqrt(3000) = 0.021 on either side, twice for 95%; the interval is known to a tenth of that.
            for bin in along_snr {
                let (low, high) = bin.scatter_interval.unwrap();
                assert!(low < bin.scatter && bin.scatter < high, "{group}: {bin:?}");
                let half_width = (high - low) / (2.0 * bin.scatter);
                assert!((0.02..0.08).contains(&half_width), "{group}: {half_width}");
            }
        }
    }

    #[test]
    fn references_below_estimates_that_are_too_high_lie_in_the_first_bins_of_the_pit() {
        let (too_high, too_low) = (ErrorCheck::new([(2.0, 1.0)]).unwrap(), ErrorCheck::new([(-2.0, 1.0)]).unwrap());
        // Phi(-2) = 0.023 and Phi(2) = 0.977; both lie within the central 0.9546.
        assert_eq!((too_high.pit[0], too_low.pit[PIT_BINS - 1]), (1, 1));
        assert_eq!(too_high.coverage, too_low.coverage);
        let mut biased = predictions(2000);
        biased.estimates.labels += 10.0;
        let pit = checked(&biased)[TRUTH]["teff"].calibrated.clone().unwrap().pit;
        let half = |bins: &[usize]| bins.iter().sum::<usize>();
        // Phi(1) = 0.84 of the references lie below their estimates.
        let below = half(&pit[..PIT_BINS / 2]) as f64 / 2000.0;
        assert!((0.80..0.88).contains(&below), "{below}");
    }

    #[test]
    fn what_was_not_measured_is_absent() {
        let mut some = predictions(200);
        some.truth = None;
        some.calibrated_errors.fill(f64::NAN);
        some.catalogue_errors.fill(f64::NAN);
        some.snr.fill(f64::NAN);
        let checks = checked(&some);
        assert_eq!(checks.keys().collect::<Vec<_>>(), [CATALOGUE]);
        let check = &checks[CATALOGUE]["teff"];
        assert!(check.formal.is_some() && check.calibrated.is_none() && check.along_snr.is_empty());
        assert!(serde_json::to_string(&checks).unwrap().contains("\"calibrated\":null"));
    }
}
