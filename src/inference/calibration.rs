//! Errors that were held against stars the model had not seen: what formal errors must be multiplied with, and what is to be
//! added to them.

use std::path::Path;

use ndarray::{Array2, s};
use serde::{Deserialize, Serialize};

use crate::data::files;
use crate::error::{Error, Result};
use crate::models::LabelEstimates;
use crate::spectra::noise::Conditions;
use crate::stats::robust::{median, robust_scatter};
use crate::stats::robust_covariance::limited_covariance;
use crate::stats::variance_components::fit_variance;

/// The file, in a model's folder, that holds its calibration.
pub const CALIBRATION_FILE: &str = "calibration.json";
/// The signal-to-noise ratio at which [`LabelCalibration::noise`] is quoted.
pub const REFERENCE_SNR: f64 = 100.0;

/// Estimates of training stars by models that had not seen them, beside what the catalogue says.
#[derive(Debug, Clone, PartialEq)]
pub struct HeldOut {
    /// Rows of the stars in the prepared set, ascending.
    pub rows: Vec<usize>,
    /// Their estimates.
    pub estimates: LabelEstimates,
    /// By how much the variance of these estimates exceeds that of the model's own, [n_stars, n_labels]: one member of an
    /// ensemble errs more than their mean.
    pub excess: Array2<f64>,
    /// Labels of the catalogue, [n_stars, n_labels]; NaN where missing.
    pub labels: Array2<f64>,
    /// Their errors, [n_stars, n_labels]; NaN where unknown.
    pub label_errors: Array2<f64>,
    /// How good their spectra are.
    pub conditions: Vec<Conditions>,
    /// What losing each chip would do to some of them; empty where nobody tried.
    pub without_chip: Vec<WithoutChip>,
}

/// Labels of some stars with a chip masked, beside those with all chips.
#[derive(Debug, Clone, PartialEq)]
pub struct WithoutChip {
    /// By how much the labels change, [n_stars, n_labels].
    pub change: Array2<f64>,
    /// By how much their formal variances grow, [n_stars, n_labels].
    pub formal_growth: Array2<f64>,
}

impl WithoutChip {
    /// From estimates of the same stars with all chips and without one.
    pub fn new(whole: &LabelEstimates, masked: &LabelEstimates) -> Self {
        let growth = |(star, k): (usize, usize)| masked.covariance[[star, k, k]] - whole.covariance[[star, k, k]];
        let change = &masked.labels - &whole.labels;
        Self { formal_growth: Array2::from_shape_fn(change.raw_dim(), growth), change }
    }

    /// The square of what a lost chip adds to errors of label `k`, beyond what formal errors times `factor` know of it.
    fn variance(&self, k: usize, factor: f64) -> f64 {
        let square = limited_covariance(self.change.slice(s![.., k..=k]))[[0, 0]];
        let known: Vec<f64> = self.formal_growth.column(k).iter().copied().filter(|value| value.is_finite()).collect();
        let known = if known.is_empty() { 0.0 } else { factor * factor * median(&known) };
        let left = square - known;
        if left > 0.0 { left } else { 0.0 }
    }
}

impl HeldOut {
    /// Variance of label `k` of a star that is not the model's: the catalogue's own and the excess.
    pub fn foreign_variance(&self, star: usize, k: usize) -> f64 {
        let error = self.label_errors[[star, k]];
        self.excess[[star, k]] + if error.is_finite() { error * error } else { 0.0 }
    }

    /// Estimate - catalogue of label `k`; NaN where either is missing.
    pub fn residual(&self, star: usize, k: usize) -> f64 {
        self.estimates.labels[[star, k]] - self.labels[[star, k]]
    }
}

/// How one label's errors follow from formal ones.
///
/// ```text
/// calibrated^2 = (formal_factor formal)^2 + floor^2 + (noise 100 / SNR)^2 + sum over lost chips of lost_chip^2
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelCalibration {
    /// Factor of the formal error.
    pub formal_factor: f64,
    /// What no spectrum, however good, gets below, in the label's unit.
    pub floor: f64,
    /// What noise adds beyond the formal error at an SNR of 100, in the label's unit.
    pub noise: f64,
    /// What the loss of each chip adds beyond the formal error, in the label's unit: measured by masking chips of stars that have
    /// them. Empty where nobody did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost_chip: Vec<f64>,
    /// Mean of estimate - catalogue of the held-out stars, in the label's unit; told, not subtracted.
    pub bias: f64,
    /// Standard error of the bias.
    pub bias_error: f64,
    /// Held-out stars.
    pub n_stars: usize,
    /// Fraction of them whose residuals have another cause, such as a wrong catalogue label.
    pub outlier_fraction: f64,
    /// Robust scatter of their residuals: the cross-validated error, the catalogue's included.
    pub scatter: f64,
    /// Median error that the catalogue gives its labels; 0 where it gives none.
    pub catalogue_error: f64,
}

impl LabelCalibration {
    /// Fits one label; `None` where held-out stars are too few or do not scatter.
    fn fit(held_out: &HeldOut, k: usize) -> Option<Self> {
        let all = 0..held_out.rows.len();
        let formal = |star: usize| held_out.estimates.error(star, k);
        // A model without formal errors, or a survey without noise, is calibrated by what there is.
        let has_formal = all.clone().any(|star| formal(star).is_finite());
        let conditions = &held_out.conditions;
        let has_snr = conditions.iter().any(|star| star.snr.is_finite());
        let is_usable = |star: &usize| {
            held_out.residual(*star, k).is_finite()
                && (!has_formal || formal(*star).is_finite())
                && (!has_snr || (conditions[*star].snr > 0.0 && conditions[*star].lost_chips == 0))
        };
        let stars: Vec<usize> = all.filter(is_usable).collect();
        let residuals: Vec<f64> = stars.iter().map(|star| held_out.residual(*star, k)).collect();
        let known: Vec<f64> = stars.iter().map(|star| held_out.foreign_variance(*star, k)).collect();
        let part = |value: &dyn Fn(usize) -> f64| stars.iter().map(|star| value(*star)).collect::<Vec<f64>>();
        let parts = [
            part(&|star| if has_formal { formal(star).powi(2) } else { 0.0 }),
            part(&|_| 1.0),
            part(&|star| if has_snr { (REFERENCE_SNR / conditions[star].snr).powi(2) } else { 0.0 }),
        ];
        let fit = fit_variance(&residuals, &known, &parts)?;
        let errors = stars.iter().map(|star| held_out.label_errors[[*star, k]]).filter(|error| error.is_finite());
        let catalogue_error = median(&errors.collect::<Vec<f64>>());
        let formal_factor = fit.coefficients[0].sqrt();
        let lost_chip = held_out.without_chip.iter().map(|chip| chip.variance(k, formal_factor).sqrt()).collect();
        Some(Self {
            formal_factor,
            lost_chip,
            floor: fit.coefficients[1].sqrt(),
            noise: fit.coefficients[2].sqrt(),
            bias: fit.centre,
            bias_error: fit.centre_error,
            n_stars: stars.len(),
            outlier_fraction: fit.outlier_fraction,
            scatter: robust_scatter(&residuals),
            catalogue_error: if catalogue_error.is_finite() { catalogue_error } else { 0.0 },
        })
    }

    /// The first number that cannot be, and what it must be.
    fn problem(&self) -> Option<String> {
        /// Beyond it squares are no numbers any more.
        const MOST: f64 = 1e100;
        let sizes = [
            ("formal_factor", self.formal_factor),
            ("floor", self.floor),
            ("noise", self.noise),
            ("bias_error", self.bias_error),
            ("scatter", self.scatter),
            ("catalogue_error", self.catalogue_error),
        ];
        let lost = self.lost_chip.iter().map(|error| ("lost_chip", *error));
        let wrong = sizes.into_iter().chain(lost).find(|(_, value)| !(0.0..=MOST).contains(value));
        if let Some((name, value)) = wrong {
            return Some(format!("{name} is {value:e}; it must be 0 or positive, and at most {MOST:e}"));
        }
        if !(-MOST..=MOST).contains(&self.bias) {
            return Some(format!("bias is {:e}; it must be a number of at most {MOST:e}", self.bias));
        }
        let fraction = self.outlier_fraction;
        (!(0.0..=1.0).contains(&fraction)).then(|| format!("outlier_fraction is {fraction}; it must be 0 to 1"))
    }

    /// The calibrated error that belongs to a formal one; NaN without the numbers it needs.
    pub fn error(&self, formal: f64, conditions: &Conditions) -> f64 {
        // What does not count need not be known.
        let times = |factor: f64, value: f64| if factor > 0.0 { factor * value } else { 0.0 };
        let noise = times(self.noise, REFERENCE_SNR / conditions.snr);
        let lost = self.lost_chip.iter().enumerate().filter(|(chip, _)| conditions.lacks(*chip));
        let lost: f64 = lost.map(|(_, error)| error * error).sum();
        times(self.formal_factor, formal).hypot(self.floor).hypot(noise).hypot(lost.sqrt())
    }
}

/// Calibration of every label of a model; a label may have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorCalibration {
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// One calibration per label, `None` where held-out stars were too few.
    pub labels: Vec<Option<LabelCalibration>>,
}

impl ErrorCalibration {
    /// Fits the calibration of every label to held-out stars, by maximum likelihood under two normal distributions, the wider
    /// of which takes the residuals that are not the model's fault.
    pub fn fit(label_names: &[String], held_out: &HeldOut) -> Self {
        let labels = (0..label_names.len()).map(|k| LabelCalibration::fit(held_out, k)).collect();
        Self { label_names: label_names.to_vec(), labels }
    }

    /// Calibrated errors, [n_stars, n_labels]; NaN where a star has no estimate or a label no calibration.
    pub fn errors(&self, estimates: &LabelEstimates, conditions: &[Conditions]) -> Array2<f64> {
        Array2::from_shape_fn(estimates.labels.raw_dim(), |(star, k)| match &self.labels[k] {
            Some(label) if estimates.labels[[star, k]].is_finite() => {
                label.error(estimates.error(star, k), &conditions[star])
            }
            _ => f64::NAN,
        })
    }

    /// The first number that no calibration has, and where; nothing if all can be. A file may have been edited.
    pub fn problem(&self) -> Option<String> {
        let labels =
            self.label_names.iter().zip(&self.labels).filter_map(|(name, label)| Some((name, label.as_ref()?)));
        labels.into_iter().find_map(|(name, label)| Some(format!("{name}: {}", label.problem()?)))
    }

    /// Writes the calibration into a model's folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        let path = folder.join(CALIBRATION_FILE);
        let text = serde_json::to_string_pretty(self).map_err(|err| Error::format(&path, err.to_string()))?;
        files::write_bytes(&path, text + "\n")
    }

    /// Reads the calibration of a model of these labels; `None` if it has none.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is unreadable or of other labels; [`Error::Io`].
    pub fn load(folder: &Path, label_names: &[String]) -> Result<Option<Self>> {
        let path = folder.join(CALIBRATION_FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let failed = |detail: String| Error::Checkpoint { path: path.clone(), detail };
        let calibration: Self = serde_json::from_str(&files::read_text(&path)?).map_err(|err| {
            failed(format!("not readable: {err}; remove it, and labels come without calibrated errors"))
        })?;
        if calibration.label_names != label_names || calibration.labels.len() != label_names.len() {
            return Err(failed("it is of other labels than the model; was it copied from another one?".into()));
        }
        if let Some(problem) = calibration.problem() {
            return Err(failed(format!(
                "{problem}; was it edited? Remove it, and labels come without calibrated errors"
            )));
        }
        Ok(Some(calibration))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use ndarray::Array3;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Standard normal numbers.
    pub(crate) fn normal(rng: &mut ChaCha8Rng) -> f64 {
        let (u, v): (f64, f64) = (rng.random_range(1e-12..1.0), rng.random_range(0.0..1.0));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Held-out stars of one label whose formal errors must be multiplied by 3, with 20 added, and 15 at an SNR of 100; the
    /// catalogue errs by 10; some of its labels are wrong.
    fn held_out(n: usize, wrong: f64, seed: u64) -> HeldOut {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut stars = HeldOut {
            rows: (0..n).collect(),
            estimates: LabelEstimates {
                labels: Array2::zeros((n, 1)),
                covariance: Array3::zeros((n, 1, 1)),
                chi2: vec![1.0; n],
                n_pixels: vec![2; n],
                flags: vec![0; n],
            },
            excess: Array2::zeros((n, 1)),
            labels: Array2::zeros((n, 1)),
            label_errors: Array2::from_elem((n, 1), 10.0),
            conditions: vec![Conditions { snr: 0.0, lost_chips: 0 }; n],
            without_chip: Vec::new(),
        };
        for star in 0..n {
            let snr = 10_f64.powf(rng.random_range(1.7..2.7));
            let formal = 5.0 * 10_f64.powf(rng.random_range(0.0..1.0));
            let excess = rng.random_range(0.0..200.0);
            let sigma = f64::hypot(3.0 * formal, 20.0).hypot(1500.0 / snr);
            let truth = rng.random_range(4000.0..5000.0);
            stars.conditions[star].snr = snr;
            stars.excess[[star, 0]] = excess;
            stars.estimates.covariance[[star, 0, 0]] = formal * formal;
            stars.estimates.labels[[star, 0]] = truth + 4.0 + sigma.hypot(excess.sqrt()) * normal(&mut rng);
            let is_wrong = rng.random_range(0.0..1.0) < wrong;
            stars.labels[[star, 0]] = truth + if is_wrong { 600.0 } else { 10.0 } * normal(&mut rng);
        }
        stars
    }

    fn names() -> Vec<String> {
        vec!["teff".into()]
    }

    #[test]
    fn factor_floor_and_noise_come_back_wrong_labels_or_not() {
        for wrong in [0.0, 0.04] {
            let label = ErrorCalibration::fit(&names(), &held_out(20_000, wrong, 1)).labels[0].clone().unwrap();
            // The three go together: each is known less well than their sum.
            assert!((label.formal_factor - 3.0).abs() < 0.12, "{label:?}");
            assert!((label.floor - 20.0).abs() < 3.0 && (label.noise - 15.0).abs() < 3.0, "{label:?}");
            assert!((label.bias - 4.0).abs() < 4.0 * label.bias_error && label.bias_error < 0.5, "{label:?}");
            assert!((label.outlier_fraction - wrong).abs() < 0.01 && label.catalogue_error == 10.0, "{label:?}");
        }
    }

    #[test]
    fn calibrated_pulls_of_other_stars_have_unit_width() {
        for (seed, wrong) in [(2, 0.0), (3, 0.04), (4, 0.04)] {
            let calibration = ErrorCalibration::fit(&names(), &held_out(900, wrong, seed));
            let others = held_out(4000, 0.0, 50 + seed);
            let errors = calibration.errors(&others.estimates, &others.conditions);
            let pull = |star: usize| {
                (others.residual(star, 0) - 4.0) / errors[[star, 0]].hypot(others.foreign_variance(star, 0).sqrt())
            };
            for snr in [50.0..100.0, 100.0..220.0, 220.0..600.0] {
                let pulls: Vec<f64> =
                    (0..4000).filter(|star| snr.contains(&others.conditions[*star].snr)).map(pull).collect();
                // The calibration knows the width to 2.4%, the bins of some 1300 stars to another 2% (MAD: 2.7%).
                assert!((robust_scatter(&pulls) - 1.0).abs() < 0.11, "{snr:?}: {}", robust_scatter(&pulls));
            }
        }
    }

    #[test]
    fn what_is_missing_is_nan_and_models_without_formal_errors_are_calibrated_all_the_same() {
        let mut stars = held_out(3000, 0.04, 5);
        stars.labels[[7, 0]] = f64::NAN;
        stars.conditions[8].snr = f64::NAN;
        stars.estimates.labels[[9, 0]] = f64::NAN;
        let calibration = ErrorCalibration::fit(&names(), &stars);
        assert_eq!(calibration.labels[0].as_ref().unwrap().n_stars, 2997);
        let errors = calibration.errors(&stars.estimates, &stars.conditions);
        assert!(errors[[7, 0]] > 0.0 && errors[[8, 0]].is_nan() && errors[[9, 0]].is_nan());
        stars.estimates.covariance.fill(f64::NAN);
        stars.conditions.iter_mut().for_each(|star| star.snr = f64::NAN);
        let plain = ErrorCalibration::fit(&names(), &stars);
        let label = plain.labels[0].clone().unwrap();
        assert_eq!((label.formal_factor, label.noise), (0.0, 0.0));
        assert!((label.error(f64::NAN, &stars.conditions[0]) / label.scatter - 1.0).abs() < 0.2, "{label:?}");
        // Too few stars are no calibration.
        let few = ErrorCalibration::fit(&names(), &held_out(20, 0.0, 6));
        assert_eq!(few.labels, [None]);
        assert!(few.errors(&stars.estimates, &stars.conditions)[[0, 0]].is_nan());
    }

    #[test]
    fn what_a_lost_chip_costs_is_measured_and_added() {
        let mut stars = held_out(3000, 0.04, 5);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        // The first chip moves labels by 100, of which formal errors that grow to 30 (times 3) know 90; the second by nothing.
        let change = Array2::from_shape_fn((3000, 1), |_| 100.0 * normal(&mut rng));
        let growth = Array2::from_elem((3000, 1), 900.0);
        stars.without_chip = vec![
            WithoutChip { change: change.clone(), formal_growth: growth.clone() },
            WithoutChip { change: change * 0.0, formal_growth: growth },
        ];
        let label = ErrorCalibration::fit(&names(), &stars).labels[0].clone().unwrap();
        // The mean square of 3000 changes is known to 2.6%, residuals beyond three deviations count as three.
        let square = label.lost_chip[0].powi(2) + 900.0 * label.formal_factor.powi(2);
        assert!((square / 1e4 - 1.0).abs() < 0.08 && label.lost_chip[1] == 0.0, "{label:?}");
        let error = |lost_chips: u64| label.error(5.0, &Conditions { snr: 100.0, lost_chips });
        assert!((error(1) - error(0).hypot(label.lost_chip[0])).abs() < 1e-9 && error(2) == error(0));
    }

    #[test]
    fn a_calibration_is_kept_with_its_model_and_refused_by_another() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(ErrorCalibration::load(folder.path(), &names()).unwrap(), None);
        let calibration = ErrorCalibration::fit(&names(), &held_out(500, 0.04, 9));
        calibration.save(folder.path()).unwrap();
        assert_eq!(ErrorCalibration::load(folder.path(), &names()).unwrap(), Some(calibration));
        let text = std::fs::read_to_string(folder.path().join(CALIBRATION_FILE)).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (key, value) in [
            ("floor", -20.0),
            ("formal_factor", 1e308),
            ("noise", -1e-9),
            ("outlier_fraction", 1.5),
            ("bias", -1e200),
            ("scatter", -0.1),
        ] {
            let label = &mut json["labels"][0];
            let before = label[key].clone();
            label[key] = value.into();
            std::fs::write(folder.path().join(CALIBRATION_FILE), json.to_string()).unwrap();
            let refusal = ErrorCalibration::load(folder.path(), &names()).unwrap_err().to_string();
            assert!(refusal.contains(&format!("teff: {key} is")) && refusal.contains("Remove it"), "{refusal}");
            json["labels"][0][key] = before;
        }
        std::fs::write(folder.path().join(CALIBRATION_FILE), text).unwrap();
        let other = ErrorCalibration::load(folder.path(), &["logg".to_string()]).unwrap_err().to_string();
        assert!(other.contains("other labels"), "{other}");
        std::fs::write(folder.path().join(CALIBRATION_FILE), "{").unwrap();
        assert!(ErrorCalibration::load(folder.path(), &names()).unwrap_err().to_string().contains("remove it"));
    }
}
