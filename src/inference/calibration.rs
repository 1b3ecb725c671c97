//! Errors that were held against stars the model had not seen: what formal errors must be multiplied with, and what is to be
//! added to them.

use std::path::Path;

use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::beside_model;
pub use super::held_out::{Formal, HeldOut, WithoutChip};
use super::quoted_errors::of_like_snr;
use crate::data::files;
use crate::error::Result;
use crate::models::LabelEstimates;
use crate::spectra::noise::Conditions;
use crate::stats::robust::robust_scatter;
use crate::stats::variance_components::{Part, fewest_residuals, fit_variance};

/// The file, in a model's folder, that holds its calibration.
pub const CALIBRATION_FILE: &str = "calibration.json";
/// The signal-to-noise ratio at which [`LabelCalibration::noise`] is quoted.
pub const REFERENCE_SNR: f64 = 100.0;
/// What a calibrated error is made of: formal error, floor, noise.
const N_PARTS: usize = 3;
/// Share of the scatter of held-out stars that no catalogue's errors take from a model, however large they are quoted.
const LEAST_SHARE: f64 = 0.2;

/// How one label's errors follow from formal ones.
///
/// ```text
/// calibrated^2 = (formal_factor formal)^2 + floor^2 + (noise 100 / SNR)^2 + sum over lost chips of lost_chip^2
/// against the catalogue: calibrated^2 + (catalogue_factor error quoted by the catalogue)^2
/// ```
///
/// Where the catalogue quotes errors, the calibrated error is that against the truth. Where it quotes none, nothing tells them
/// from the model's: calibrated errors then are those against the catalogue, whose own they include.
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
    /// What errors quoted by the catalogue must be multiplied with; 1 where it quotes none.
    #[serde(default = "one")]
    pub catalogue_factor: f64,
    /// Uncertainty of the factor's logarithm; 0 where no factor was looked for.
    #[serde(default)]
    pub catalogue_factor_error: f64,
}

/// Files of before there was a factor took the catalogue at its word.
fn one() -> f64 {
    1.0
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
        let part = |value: &dyn Fn(usize) -> f64| stars.iter().map(|star| value(*star)).collect::<Vec<f64>>();
        let known = part(&|star| held_out.excess[[star, k]]);
        // A star without a quoted error is like those that have one.
        let quoted_error = held_out.quoted_error(k);
        let quoted = part(&|star| match (quoted_error, held_out.label_errors[[star, k]]) {
            (None, _) => 0.0,
            (Some(_), error) if error.is_finite() && error > 0.0 => error * error,
            (Some(usual), _) => usual * usual,
        });
        let scatter = robust_scatter(&residuals);
        let parts: [(Vec<f64>, f64); N_PARTS] = [
            (part(&|star| if has_formal { formal(star).powi(2) } else { 0.0 }), held_out.least_formal_share()),
            (part(&|_| 1.0), (LEAST_SHARE * scatter).powi(2)),
            (part(&|star| if has_snr { (REFERENCE_SNR / conditions[star].snr).powi(2) } else { 0.0 }), 0.0),
        ];
        let parts = parts.map(|(values, least)| Part { values, least });
        // As they are quoted, star by star, or as those of stars of like SNR are: whichever the residuals bear out.
        let alike = of_like_snr(&quoted, &part(&|star| conditions[star].snr));
        let fits =
            std::iter::once(quoted).chain(alike).filter_map(|quoted| fit_variance(&residuals, &known, &quoted, &parts));
        let fit = fits.max_by(|a, b| a.ln_density.total_cmp(&b.ln_density))?;
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
            scatter,
            catalogue_error: quoted_error.unwrap_or(0.0),
            catalogue_factor: fit.factor.map_or(1.0, |factor| factor.value),
            catalogue_factor_error: fit.factor.map_or(0.0, |factor| factor.ln_error),
        })
    }

    /// Whether the catalogue quotes errors: whether calibrated errors are against the truth.
    pub fn is_against_truth(&self) -> bool {
        self.catalogue_error > 0.0
    }

    /// The error of the catalogue's own label that belongs to a quoted one; of a star without one, the usual; NaN where the
    /// catalogue quotes none at all.
    pub fn catalogue_error_of(&self, quoted: f64) -> f64 {
        match quoted {
            _ if !self.is_against_truth() => f64::NAN,
            quoted if quoted.is_finite() && quoted > 0.0 => self.catalogue_factor * quoted,
            _ => self.catalogue_factor * self.catalogue_error,
        }
    }

    /// The calibrated error that belongs to a formal one; NaN without the numbers it needs.
    pub fn error(&self, formal: f64, conditions: &Conditions) -> f64 {
        // What does not count need not be known.
        let times = |factor: f64, value: f64| if factor > 0.0 { factor * value } else { 0.0 };
        let noise = times(self.noise, REFERENCE_SNR / conditions.snr);
        times(self.formal_factor, formal).hypot(self.floor).hypot(noise).hypot(self.lost_variance(conditions).sqrt())
    }

    /// What the chips that a spectrum lacks add to the square of its calibrated error.
    pub fn lost_variance(&self, conditions: &Conditions) -> f64 {
        let lost = self.lost_chip.iter().enumerate().filter(|(chip, _)| conditions.lacks(*chip));
        lost.map(|(_, error)| error * error).sum()
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
    /// Held-out stars without which no label is calibrated; a few more where the catalogue quotes errors.
    pub fn fewest_stars(is_quoted: bool) -> usize {
        fewest_residuals(N_PARTS, is_quoted)
    }

    /// Fits the calibration of every label to held-out stars, by maximum likelihood under two normal distributions, the wider
    /// of which takes the residuals that are not the model's fault. The catalogue's errors are taken out as far as they are
    /// believed: by a factor per label that is found with the rest.
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

    /// Errors of the catalogue's own labels, [n_stars, n_labels], from those that it quotes; NaN where it quotes none.
    pub fn catalogue_errors(&self, quoted: &Array2<f64>) -> Array2<f64> {
        Array2::from_shape_fn(quoted.raw_dim(), |(star, k)| match &self.labels[k] {
            Some(label) => label.catalogue_error_of(quoted[[star, k]]),
            None => quoted[[star, k]],
        })
    }

    /// Writes the calibration into a model's folder.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::write_json(&folder.join(CALIBRATION_FILE), self)
    }

    /// Reads the calibration of a model of these labels; `None` if it has none.
    ///
    /// # Errors
    /// [`crate::error::Error::Checkpoint`] if it is unreadable or of other labels; [`crate::error::Error::Io`].
    pub fn load(folder: &Path, label_names: &[String]) -> Result<Option<Self>> {
        const REMEDY: &str = "remove it, and labels come without calibrated errors";
        beside_model::read(folder, CALIBRATION_FILE, REMEDY, |found: &Self| {
            let edited = || {
                Some(format!(
                    "{}; was it edited? Remove it, and labels come without calibrated errors",
                    found.problem()?
                ))
            };
            beside_model::other_labels(&found.label_names, found.labels.len(), label_names).or_else(edited)
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    pub(crate) use crate::stats::normal::draw as normal;
    use ndarray::Array3;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Held-out stars of one label whose formal errors must be multiplied by 3, with 20 added, and 15 at an SNR of 100; the
    /// catalogue errs by 10; some of its labels are wrong.
    fn held_out(n: usize, wrong: f64, seed: u64) -> HeldOut {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut stars = HeldOut {
            rows: (0..n).collect(),
            estimates: LabelEstimates::read_off(Array2::zeros((n, 1)), Array3::zeros((n, 1, 1)), vec![2; n]),
            excess: Array2::zeros((n, 1)),
            labels: Array2::zeros((n, 1)),
            label_errors: Array2::from_elem((n, 1), 10.0),
            conditions: vec![Conditions { snr: 0.0, lost_chips: 0 }; n],
            without_chip: Vec::new(),
            formal: Formal::Noise,
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
            let label = ErrorCalibration::fit(&names(), &held_out(8000, wrong, 1)).labels[0].clone().unwrap();
            // The three go together: each is known less well than their sum.
            assert!((label.formal_factor - 3.0).abs() < 0.2, "{label:?}");
            assert!((label.floor - 20.0).abs() < 4.5 && (label.noise - 15.0).abs() < 4.5, "{label:?}");
            assert!((label.bias - 4.0).abs() < 4.0 * label.bias_error && label.bias_error < 0.8, "{label:?}");
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
                (others.residual(star, 0) - 4.0) / errors[[star, 0]].hypot(others.excess[[star, 0]].sqrt()).hypot(10.0)
            };
            for snr in [50.0..100.0, 100.0..220.0, 220.0..600.0] {
                let pulls: Vec<f64> =
                    (0..4000).filter(|star| snr.contains(&others.conditions[*star].snr)).map(pull).collect();
                // The calibration knows the width to 2.4%, the bins of some 1300 stars to another 2% (MAD: 2.7%).
                assert!((robust_scatter(&pulls) - 1.0).abs() < 0.11, "{snr:?}: {}", robust_scatter(&pulls));
            }
        }
    }

    /// Other quoted errors for the same stars: their own, from 2 to 60, were `size` times what is quoted.
    fn requoted(n: usize, size: f64, seed: u64) -> HeldOut {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut stars = held_out(n, 0.0, seed);
        for star in 0..n {
            let own = 2.0 * 30_f64.powf(rng.random_range(0.0..1.0));
            stars.labels[[star, 0]] += own * normal(&mut rng);
            stars.label_errors[[star, 0]] = own.hypot(10.0) / size;
        }
        stars
    }

    #[test]
    fn errors_quoted_three_times_too_large_are_found_out_and_said() {
        for (size, words) in [(1.0 / 3.0, Some("3.0 times too large")), (1.0, None), (3.0, Some("3.0 times too small"))]
        {
            let calibration = ErrorCalibration::fit(&names(), &requoted(4000, size, 21));
            let label = calibration.labels[0].clone().unwrap();
            // Some 4000 residuals know the catalogue's part of them to a few per cent.
            assert!(
                (label.catalogue_factor / size).ln().abs() < 0.15 && label.catalogue_factor_error < 0.08,
                "{label:?}"
            );
            let said = label.words_on_catalogue("teff");
            match words {
                // The factor is known to a few per cent, its first digit is not.
                Some(words) => assert!(said.unwrap().contains(&words[9..]), "{label:?}"),
                None => assert_eq!(said, None),
            }
            // The model's own error is what it is, whatever the catalogue quotes: 3 x 15 + 20 + 15.
            let error = label.error(15.0, &Conditions { snr: 100.0, lost_chips: 0 });
            assert!((error / 45_f64.hypot(20.0).hypot(15.0) - 1.0).abs() < 0.05, "{error}");
            assert_eq!(label.catalogue_error_of(30.0), label.catalogue_factor * 30.0);
            assert!(calibration.words().contains("against the truth"));
        }
    }

    #[test]
    fn quoted_errors_that_scatter_by_chance_are_not_taken_for_too_large() {
        // All err by 10; who is quoted 15 errs no more than who is quoted 7.
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let mut stars = held_out(3000, 0.0, 33);
        stars.label_errors.mapv_inplace(|_| 10.0 * (0.25 * normal(&mut rng)).exp());
        let label = ErrorCalibration::fit(&names(), &stars).labels[0].clone().unwrap();
        assert!((0.8..1.3).contains(&label.catalogue_factor), "{label:?}");
    }

    #[test]
    fn errors_are_never_nil_nor_below_what_noise_alone_gives() {
        // A catalogue that claims more than is seen: nothing would be left for the model.
        let mut stars = held_out(300, 0.0, 22);
        stars.label_errors.fill(500.0);
        let label = ErrorCalibration::fit(&names(), &stars).labels[0].clone().unwrap();
        assert!(label.floor >= 0.199 * label.scatter && label.catalogue_factor < 0.3, "{label:?}");
        assert!(label.words_on_catalogue("teff").unwrap().contains("too large"));
        // Formal errors are what noise does to a fit, and stand; where chi^2 says noise is quoted too large, less does.
        assert!(label.formal_factor >= 0.99, "{label:?}");
        stars.estimates.chi2.fill(0.25);
        let label = ErrorCalibration::fit(&names(), &stars).labels[0].clone().unwrap();
        assert!(label.formal_factor >= 0.49, "{label:?}");
        // A regression's formal errors are no such bound.
        stars.formal = Formal::Residuals;
        stars.estimates.covariance.fill(1e8);
        let label = ErrorCalibration::fit(&names(), &stars).labels[0].clone().unwrap();
        assert!(label.formal_factor < 0.1 && label.error(1e4, &stars.conditions[0]) > 0.0, "{label:?}");
        // Those of a combination are its members' calibrated ones: a star of much noise keeps its own.
        stars.formal = Formal::Members;
        stars.estimates.covariance.fill(100.0);
        let label = ErrorCalibration::fit(&names(), &stars).labels[0].clone().unwrap();
        assert!(label.formal_factor >= 0.499 && label.error(500.0, &stars.conditions[0]) >= 249.0, "{label:?}");
        let mut few = held_out(60, 0.0, 22);
        few.formal = Formal::Members;
        few.estimates.covariance.fill(1e4);
        let label = ErrorCalibration::fit(&names(), &few).labels[0].clone().unwrap();
        assert!(label.formal_factor >= 0.999, "few stars cannot contradict the members: {label:?}");
    }

    #[test]
    fn errors_that_the_catalogue_s_own_hide_are_said_to_be_hardly_known() {
        let mut stars = held_out(2000, 0.0, 24);
        let words = |stars: &HeldOut| ErrorCalibration::fit(&names(), stars).words();
        assert!(!words(&stars).contains("hardly known"), "10 of 58 are the catalogue's");
        // Labels that err by 200, and say so.
        let mut rng = ChaCha8Rng::seed_from_u64(25);
        stars.labels.mapv_inplace(|label| label + 200.0 * normal(&mut rng));
        stars.label_errors.fill(200.0);
        assert!(words(&stars).contains("those of teff are hardly known"), "{}", words(&stars));
    }

    #[test]
    fn without_errors_of_the_catalogue_what_is_calibrated_is_the_error_against_it() {
        let mut stars = held_out(4000, 0.0, 23);
        stars.label_errors.fill(f64::NAN);
        let calibration = ErrorCalibration::fit(&names(), &stars);
        let label = calibration.labels[0].clone().unwrap();
        assert!(!label.is_against_truth() && label.catalogue_factor == 1.0 && label.catalogue_error_of(5.0).is_nan());
        assert!(calibration.words().contains("include its own errors, which are not known"));
        // 20 of the model and 10 of the catalogue.
        assert!((label.floor - 20_f64.hypot(10.0)).abs() < 4.0, "{label:?}");
        stars.label_errors.fill(0.0);
        assert_eq!(ErrorCalibration::fit(&names(), &stars).labels[0].as_ref().unwrap().catalogue_error, 0.0);
        // Files of before are read.
        let old = r#"{"formal_factor":3.0,"floor":20.0,"noise":15.0,"bias":0.1,"bias_error":0.1,"n_stars":900,
            "outlier_fraction":0.0,"scatter":30.0,"catalogue_error":10.0}"#;
        let old: LabelCalibration = serde_json::from_str(old).unwrap();
        assert_eq!((old.catalogue_factor, old.words_on_catalogue("teff")), (1.0, None));
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
