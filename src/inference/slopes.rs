//! Estimates that follow the labels by less than these change, as regressions do, made to follow them in full.
//!
//! What makes the mean square error small draws estimates towards the mean of the training stars, the more so the noisier a
//! spectrum is. Held-out training stars tell by how much, and it can be taken back: estimates then are right on average at
//! every label but for a bias, which stays as it is told, and scatter more.

use std::path::Path;

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};

use super::beside_model;
use super::calibration::ErrorCalibration;
use super::held_out::HeldOut;
use crate::data::files;
use crate::error::Result;
use crate::models::LabelEstimates;
use crate::spectra::noise::Conditions;
use crate::stats::chi_squared::chi_squared_quantile;
use crate::stats::robust::{mean, median, quantile, robust_scatter, standard_deviation};

/// The file, in a model's folder, that tells how its estimates follow the labels.
pub const SLOPES_FILE: &str = "slopes.json";
/// Fewer held-out stars than this tell no slope.
const LEAST_STARS: usize = 50;
/// Residuals farther out than so many robust scatters are another matter: wrong labels, binaries.
const CLIP: f64 = 5.0;
/// Slopes outside are no attenuation to be taken back: below, little is left of the label; above, something else is wrong.
const SLOPES: std::ops::RangeInclusive<f64> = 0.5..=1.5;
/// Terms of [`LabelSlope`].
const N_TERMS: usize = 4;

/// How estimates of one label follow it.
///
/// ```text
/// estimate = label + b0 + b1 u + b2 t + b3 u t,  u = (label - centre) / spread,  t = (noise - noise_centre) / noise_spread
/// ```
///
/// with noise = 1 / SNR^2 of the spectrum, kept within what was seen of it, and b in the label's unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelSlope {
    /// Held-out stars that tell it.
    pub n_stars: usize,
    /// Mean of their labels.
    pub centre: f64,
    /// Spread of their labels.
    pub spread: f64,
    /// Mean of 1 / SNR^2.
    pub noise_centre: f64,
    /// Its spread; 0 where it is not known, or the same of all stars.
    pub noise_spread: f64,
    /// The smallest and largest t that was seen, but for one star in fifty at either side.
    pub noise_range: (f64, f64),
    /// b0 to b3.
    pub coefficients: [f64; N_TERMS],
    /// Change of the estimate for a unit of the label, at t = 0.
    pub slope: f64,
    /// Its standard error.
    pub slope_error: f64,
}

impl LabelSlope {
    /// Of label `k`, by least squares.
    ///
    /// The catalogue's own errors, of these variances, are taken out of the moments (Fuller 1987, Measurement Error Models,
    /// section 2.2), and residuals need not be alike (White 1980, Econometrica 48, 817).
    ///
    /// # Errors
    /// Why nothing is to be taken back.
    fn fit(held_out: &HeldOut, k: usize, label_variance: &[f64]) -> Result<Self, String> {
        let all: Vec<usize> = (0..held_out.rows.len()).collect();
        let mut stars = near_the_others(&all, |star| held_out.residual(star, k));
        if stars.len() < LEAST_STARS {
            return Err(format!("{} held-out stars are too few, {LEAST_STARS} are needed", stars.len()));
        }
        let mut slope = Self::frame(held_out, k, &stars);
        let mut errors = DMatrix::zeros(N_TERMS, N_TERMS);
        // Once more without those that the first line tells to be odd.
        for _ in 0..2 {
            errors = slope.solve(held_out, k, &stars, label_variance)?;
            stars = near_the_others(&stars, |star| slope.left(held_out, k, star));
        }
        let (lowest, highest) = slope.noise_range;
        if let Some(bad) = [lowest, 0.0, highest].map(|t| slope.slope_at(t)).into_iter().find(|at| !SLOPES.contains(at))
        {
            return Err(format!("a slope of {bad:.2} is none that could be taken back"));
        }
        // Offsets are biases, which are told and not taken out: slopes alone decide, at the usual noise and along it.
        let is_off = |terms: &[usize]| {
            let chosen: Vec<usize> = terms.iter().copied().filter(|term| errors[(*term, *term)] > 0.0).collect();
            let b = DVector::from_iterator(chosen.len(), chosen.iter().map(|term| slope.coefficients[*term]));
            let of_chosen = errors.select_rows(&chosen).select_columns(&chosen);
            let square = of_chosen.cholesky().map_or(f64::NAN, |factor| b.dot(&factor.solve(&b)));
            square > chi_squared_quantile(0.99, chosen.len() as f64)
        };
        if !is_off(&[1]) && !is_off(&[1, 3]) {
            return Err(format!("a slope of {:.3} +- {:.3} is not clearly off", slope.slope, slope.slope_error));
        }
        Ok(slope)
    }

    /// Centres and spreads of some stars, and no slope as yet.
    fn frame(held_out: &HeldOut, k: usize, stars: &[usize]) -> Self {
        let labels: Vec<f64> = stars.iter().map(|star| held_out.labels[[*star, k]]).collect();
        let noises: Vec<f64> = stars.iter().map(|star| noise(&held_out.conditions[*star])).collect();
        let noises: Vec<f64> = noises.into_iter().filter(|noise| noise.is_finite()).collect();
        let (noise_centre, noise_spread) = match noises.is_empty() {
            true => (0.0, 0.0),
            false => (mean(&noises), standard_deviation(&noises)),
        };
        // Of numbers that are all alike rounding leaves a spread.
        let noise_spread = if noise_spread > 1e-6 * noise_centre { noise_spread } else { 0.0 };
        let noise_range = match noise_spread > 0.0 {
            true => [0.02, 0.98].map(|q| (quantile(&noises, q) - noise_centre) / noise_spread).into(),
            false => (0.0, 0.0),
        };
        Self {
            n_stars: stars.len(),
            centre: mean(&labels),
            spread: standard_deviation(&labels),
            noise_centre,
            noise_spread,
            noise_range,
            coefficients: [0.0; N_TERMS],
            slope: 1.0,
            slope_error: f64::NAN,
        }
    }

    /// Finds the coefficients; returns their covariance, zero of terms that are not used.
    fn solve(
        &mut self,
        held_out: &HeldOut,
        k: usize,
        stars: &[usize],
        label_variance: &[f64],
    ) -> Result<DMatrix<f64>, String> {
        let n_used = if self.noise_spread > 0.0 { N_TERMS } else { 2 };
        let frame = self.clone();
        let terms = |star: usize| {
            let (u, t) = (frame.scaled(held_out.labels[[star, k]]), frame.t(&held_out.conditions[star]));
            DVector::from_column_slice(&[1.0, u, t, u * t][..n_used])
        };
        let (mut moments, mut right) = (DMatrix::zeros(n_used, n_used), DVector::zeros(n_used));
        for star in stars {
            let x = terms(*star);
            moments.ger(1.0, &x, &x, 1.0);
            right.axpy(held_out.estimates.labels[[*star, k]] - self.centre, &x, 1.0);
            let t = self.t(&held_out.conditions[*star]);
            let by_label = DVector::from_column_slice(&[0.0, 1.0, 0.0, t][..n_used]);
            moments.ger(-label_variance[*star] / (self.spread * self.spread), &by_label, &by_label, 1.0);
        }
        let factor = moments.cholesky().ok_or("the catalogue's errors are as large as the spread of its labels")?;
        // estimate - centre = b0 + (spread + b1) u + b2 t + b3 u t.
        let found = factor.solve(&right);
        self.coefficients = std::array::from_fn(|term| match term {
            1 => found[1] - self.spread,
            _ if term < n_used => found[term],
            _ => 0.0,
        });
        let mut squares = DMatrix::zeros(n_used, n_used);
        for star in stars {
            let x = terms(*star);
            let left = held_out.estimates.labels[[*star, k]] - self.centre - x.dot(&found);
            squares.ger(left * left, &x, &x, 1.0);
        }
        let inverse = factor.inverse();
        let covariance = &inverse * squares * &inverse;
        self.n_stars = stars.len();
        self.slope = self.slope_at(0.0);
        self.slope_error = covariance[(1, 1)].sqrt() / self.spread;
        Ok(covariance.resize(N_TERMS, N_TERMS, 0.0))
    }

    /// What the line leaves of a held-out star's residual.
    fn left(&self, held_out: &HeldOut, k: usize, star: usize) -> f64 {
        let [b0, b1, b2, b3] = self.coefficients;
        let (u, t) = (self.scaled(held_out.labels[[star, k]]), self.t(&held_out.conditions[star]));
        held_out.residual(star, k) - (b0 + b1 * u + b2 * t + b3 * u * t)
    }

    fn scaled(&self, label: f64) -> f64 {
        (label - self.centre) / self.spread
    }

    fn t(&self, conditions: &Conditions) -> f64 {
        let t = (noise(conditions) - self.noise_centre) / self.noise_spread;
        if self.noise_spread > 0.0 && t.is_finite() { t.clamp(self.noise_range.0, self.noise_range.1) } else { 0.0 }
    }

    fn slope_at(&self, t: f64) -> f64 {
        let [_, b1, _, b3] = self.coefficients;
        1.0 + (b1 + b3 * t) / self.spread
    }

    /// An estimate stretched about that of the mean label, and the change of it for a unit of the estimate.
    fn straighten(&self, estimate: f64, conditions: &Conditions) -> (f64, f64) {
        let [b0, _, b2, _] = self.coefficients;
        let t = self.t(conditions);
        let gain = self.slope_at(t).recip();
        let middle = self.centre + b0 + b2 * t;
        (middle + (estimate - middle) * gain, gain)
    }

    /// Whether a file could hold such numbers.
    fn can_be(&self) -> bool {
        let (lowest, highest) = self.noise_range;
        let mut numbers = self.coefficients.iter().chain([&self.centre, &self.noise_centre, &lowest, &highest]);
        numbers.all(|number| number.abs() < 1e100)
            && self.spread > 0.0
            && (0.0..1e100).contains(&self.noise_spread)
            && lowest <= highest
            && [lowest, highest].into_iter().all(|t| SLOPES.contains(&self.slope_at(t)))
    }
}

/// Of some stars those whose value is known, and not far from the others'.
fn near_the_others(stars: &[usize], value: impl Fn(usize) -> f64) -> Vec<usize> {
    let known: Vec<f64> = stars.iter().map(|star| value(*star)).filter(|value| value.is_finite()).collect();
    let (middle, scatter) = (median(&known), robust_scatter(&known));
    stars.iter().copied().filter(|star| (value(*star) - middle).abs() <= CLIP * scatter).collect()
}

/// 1 / SNR^2.
fn noise(conditions: &Conditions) -> f64 {
    (conditions.snr * conditions.snr).recip()
}

/// How the estimates of every label of a model follow it; none of a label that is left as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Slopes {
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// Of each label.
    pub labels: Vec<Option<LabelSlope>>,
}

impl Slopes {
    /// Of a model whose estimates are left as they are.
    pub fn none(label_names: &[String]) -> Self {
        Self { label_names: label_names.to_vec(), labels: vec![None; label_names.len()] }
    }

    /// Learns them from held-out stars; a label of which the catalogue quotes no errors, or whose slope is not clearly off, is left
    /// alone, and the log says why. `name` is the model's, for what is said of it.
    pub fn fit(name: &str, label_names: &[String], held_out: &HeldOut) -> Self {
        let calibration = ErrorCalibration::fit(label_names, held_out);
        let catalogue_errors = calibration.catalogue_errors(&held_out.label_errors);
        let of_label = |(k, label): (usize, &String)| {
            let Some(usual) = held_out.quoted_error(k) else {
                tracing::warn!(
                    "{name}: correct_slopes leaves {label} as it is: the catalogue quotes no errors of it, and what they do to slopes is not \
                     the model's fault; name their column, or a number: data.columns.{label} = {{ column = \"{label}\", error = \"0.1\" }}"
                );
                return None;
            };
            let errors = catalogue_errors.column(k);
            let error = |error: &f64| if error.is_finite() { *error } else { usual };
            let variance: Vec<f64> = errors.iter().map(|known| error(known).powi(2)).collect();
            let found = LabelSlope::fit(held_out, k, &variance);
            let words = match &found {
                Ok(LabelSlope { slope, slope_error, .. }) => {
                    format!("follow it by {slope:.3} +- {slope_error:.3}, and are made to follow it in full")
                }
                Err(why) => format!("stay as they are: {why}"),
            };
            tracing::info!("{name}: estimates of {label} {words}");
            found.ok()
        };
        let labels = label_names.iter().enumerate().map(of_label).collect();
        Self { label_names: label_names.to_vec(), labels }
    }

    /// Of a model of more stars, of which those that told these had a share: what is missing shrinks as stars come in, by as much. (A
    /// network of 193 stars followed [Mg/Fe] by 0.68, two thirds of them by 0.61, [Fe/H] by 0.93 and 0.90.)
    #[must_use]
    pub fn of_more_stars(mut self, share: f64) -> Self {
        for slope in self.labels.iter_mut().flatten() {
            [1, 3].into_iter().for_each(|term| slope.coefficients[term] *= share);
            slope.slope = slope.slope_at(0.0);
            slope.slope_error *= share;
        }
        self
    }

    /// Makes estimates follow their labels.
    pub fn apply(&self, estimates: &mut LabelEstimates, conditions: &[Conditions]) {
        for (star, conditions) in conditions.iter().enumerate() {
            for (k, slope) in self.labels.iter().enumerate() {
                let Some(slope) = slope else { continue };
                let (label, gain) = slope.straighten(estimates.labels[[star, k]], conditions);
                estimates.labels[[star, k]] = label;
                for l in 0..self.labels.len() {
                    estimates.covariance[[star, k, l]] *= gain;
                    estimates.covariance[[star, l, k]] *= gain;
                }
            }
        }
    }

    /// The same of held-out stars.
    pub fn apply_to(&self, held_out: &mut HeldOut) {
        let Self { labels, .. } = self;
        for (star, conditions) in held_out.conditions.iter().enumerate() {
            for (k, slope) in labels.iter().enumerate() {
                let gain = slope.as_ref().map_or(1.0, |slope| slope.slope_at(slope.t(conditions)).recip());
                held_out.excess[[star, k]] *= gain * gain;
            }
        }
        self.apply(&mut held_out.estimates, &held_out.conditions);
    }

    /// Writes them into a model's folder.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::write_json(&folder.join(SLOPES_FILE), self)
    }

    /// Reads those of a model of these labels; `None` if its estimates are left as they are.
    ///
    /// # Errors
    /// [`crate::error::Error::Checkpoint`] if they are unreadable or of other labels; [`crate::error::Error::Io`].
    pub fn load(folder: &Path, label_names: &[String]) -> Result<Option<Self>> {
        beside_model::read(folder, SLOPES_FILE, "train the model again", |found: &Self| {
            let can_be = found.labels.iter().flatten().all(LabelSlope::can_be);
            let edited =
                || (!can_be).then(|| "it holds numbers that cannot be; was it edited? Train the model again".into());
            beside_model::other_labels(&found.label_names, found.labels.len(), label_names).or_else(edited)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::held_out::Formal;
    use crate::stats::normal::draw as normal;
    use ndarray::{Array2, Array3};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const CENTRE: f64 = 4500.0;

    fn names() -> Vec<String> {
        vec!["teff".into(), "logg".into()]
    }

    /// Stars of two labels. Teff, known to 40 K, is drawn to 4500 K: by 4% at an SNR of 200, by 20% at one of 50, and is 10 K too hot;
    /// a star in fifty has a wrong one. log g is as it should be. Returns the true Teff too.
    fn held_out(n: usize, seed: u64) -> (HeldOut, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let estimates = LabelEstimates::read_off(Array2::zeros((n, 2)), Array3::from_elem((n, 2, 2), 9.0), vec![9; n]);
        let mut stars = HeldOut {
            rows: (0..n).collect(),
            estimates,
            excess: Array2::from_elem((n, 2), 1.0),
            labels: Array2::zeros((n, 2)),
            label_errors: Array2::from_shape_fn((n, 2), |(_, k)| [40.0, 0.05][k]),
            conditions: vec![Conditions { snr: 50.0, lost_chips: 0 }; n],
            without_chip: Vec::new(),
            formal: Formal::Residuals,
        };
        let mut truth = Vec::with_capacity(n);
        for star in 0..n {
            let snr =
                f64::sqrt((rng.random_range(0.0..1.0) * (1.0 / 2500.0 - 1.0 / 40_000.0) + 1.0 / 40_000.0_f64).recip());
            let teff = CENTRE + 200.0 * normal(&mut rng);
            let drawn = 0.04 + 0.16 * (snr.powi(-2) - 1.0 / 40_000.0) / (1.0 / 2500.0 - 1.0 / 40_000.0);
            let wrong = if rng.random_range(0.0..1.0) < 0.02 { 800.0 } else { 0.0 };
            let logg = 2.5 + 0.8 * normal(&mut rng);
            stars.conditions[star].snr = snr;
            stars.estimates.labels[[star, 0]] =
                CENTRE + 10.0 + (1.0 - drawn) * (teff - CENTRE) + 15.0 * normal(&mut rng);
            stars.estimates.labels[[star, 1]] = logg + 0.1 * normal(&mut rng);
            stars.labels[[star, 0]] = teff + wrong + 40.0 * normal(&mut rng);
            stars.labels[[star, 1]] = logg + 0.05 * normal(&mut rng);
            truth.push(teff);
        }
        (stars, truth)
    }

    /// Slope of estimates against the truth, of stars of an SNR below 60 and above 150.
    fn slopes(stars: &HeldOut, truth: &[f64]) -> [f64; 2] {
        [0.0..60.0, 150.0..1e9].map(|range| {
            let chosen = (0..truth.len()).filter(|star| range.contains(&stars.conditions[*star].snr));
            let pairs: Vec<(f64, f64)> =
                chosen.map(|star| (truth[star] - CENTRE, stars.estimates.labels[[star, 0]] - CENTRE)).collect();
            let sum = |of: fn(&(f64, f64)) -> f64| pairs.iter().map(of).sum::<f64>();
            sum(|(x, y)| x * y) / sum(|(x, _)| x * x)
        })
    }

    #[test]
    fn estimates_that_fall_short_follow_in_full_whatever_the_catalogue_errs() {
        let (mut stars, truth) = held_out(4000, 3);
        let [noisy, good] = slopes(&stars, &truth);
        assert!((noisy - 0.83).abs() < 0.02 && (good - 0.955).abs() < 0.02, "{noisy} {good}");
        let found = Slopes::fit("ridge", &names(), &stars);
        let teff = found.labels[0].clone().unwrap();
        // Without the catalogue's own errors it would be 4% less.
        assert!((teff.slope - 0.88).abs() < 3.0 * teff.slope_error && teff.slope_error < 0.01, "{teff:?}");
        assert_eq!(found.labels[1], None, "what is as it should be is left alone");
        let before = stars.clone();
        found.apply_to(&mut stars);
        let [noisy, good] = slopes(&stars, &truth);
        assert!((noisy - 1.0).abs() < 0.02 && (good - 1.0).abs() < 0.02, "{noisy} {good}");
        let off: f64 = (0..4000).map(|star| stars.estimates.labels[[star, 0]] - truth[star]).sum::<f64>() / 4000.0;
        assert!((off - 10.0).abs() < 2.0, "a bias is told, not taken out: {off}");
        // Errors grow as much as labels are moved, and what is not Teff's stays.
        let gain = (stars.estimates.labels[[5, 0]] - teff.centre) / (before.estimates.labels[[5, 0]] - teff.centre);
        let grown = (stars.estimates.covariance[[5, 0, 0]] / 9.0).sqrt();
        assert!(grown > 1.0 && (stars.excess[[5, 0]] - grown * grown).abs() < 1e-12, "{gain} {grown}");
        assert!((stars.estimates.covariance[[5, 0, 1]] - 9.0 * grown).abs() < 1e-9);
        assert_eq!(stars.estimates.covariance[[5, 1, 1]], 9.0);
        assert_eq!(stars.estimates.labels.column(1), before.estimates.labels.column(1));
        let more = found.clone().of_more_stars(2.0 / 3.0).labels[0].clone().unwrap();
        assert!(((1.0 - more.slope) - (1.0 - teff.slope) / 1.5).abs() < 1e-12);
    }

    #[test]
    fn noise_beyond_what_was_seen_and_unknown_noise_change_no_more_than_that() {
        let (stars, _) = held_out(2000, 4);
        let teff = Slopes::fit("ridge", &names(), &stars).labels[0].clone().unwrap();
        let at = |snr: f64| teff.straighten(4900.0, &Conditions { snr, lost_chips: 0 }).0;
        assert!(at(5.0) == at(20.0) && at(50.0) > at(100.0) && at(100.0) > at(200.0));
        assert_eq!(
            at(f64::NAN),
            teff.straighten(4900.0, &Conditions { snr: teff.noise_centre.powf(-0.5), lost_chips: 0 }).0
        );
        // A survey of one noise, or none, has one slope.
        let mut alike = stars.clone();
        for snr in [80.0, f64::NAN] {
            alike.conditions.iter_mut().for_each(|star| star.snr = snr);
            let found = Slopes::fit("ridge", &names(), &alike).labels[0].clone().unwrap();
            assert!((found.slope - 0.88).abs() < 0.03 && found.coefficients[2..] == [0.0, 0.0], "{found:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_or_taken_back_is_left_alone() {
        let (stars, _) = held_out(600, 5);
        let of = |change: &dyn Fn(&mut HeldOut)| {
            let mut stars = stars.clone();
            change(&mut stars);
            Slopes::fit("ridge", &names(), &stars).labels[0].clone()
        };
        assert!(of(&|_| ()).is_some());
        assert_eq!(of(&|stars| stars.label_errors.fill(f64::NAN)), None, "errors that nobody knows");
        assert_eq!(
            of(&|stars| stars.labels.column_mut(0).slice_mut(ndarray::s![40..]).fill(f64::NAN)),
            None,
            "few stars"
        );
        let flat = |stars: &mut HeldOut| stars.estimates.labels.column_mut(0).mapv_inplace(|teff| 0.3 * teff);
        assert_eq!(of(&flat), None, "a slope of .3");
        // Some stars without a quoted error are like the others.
        let some = of(&|stars| stars.label_errors.column_mut(0).slice_mut(ndarray::s![..100]).fill(f64::NAN));
        assert!(some.is_some());
    }

    #[test]
    fn they_are_kept_with_their_model_and_refused_by_another() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Slopes::load(folder.path(), &names()).unwrap(), None);
        let slopes = Slopes::fit("ridge", &names(), &held_out(600, 6).0);
        slopes.save(folder.path()).unwrap();
        assert_eq!(Slopes::load(folder.path(), &names()).unwrap(), Some(slopes));
        let refusal = |label: &str| Slopes::load(folder.path(), &[label.to_string()]).unwrap_err().to_string();
        assert!(refusal("mg_fe").contains("other labels"));
        let text = std::fs::read_to_string(folder.path().join(SLOPES_FILE)).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        for (key, value) in [("spread", 0.0), ("centre", 1e300), ("noise_spread", -1.0)] {
            let before = std::mem::replace(&mut json["labels"][0][key], value.into());
            std::fs::write(folder.path().join(SLOPES_FILE), json.to_string()).unwrap();
            let refused = Slopes::load(folder.path(), &names()).unwrap_err().to_string();
            assert!(refused.contains("was it edited"), "{key}: {refused}");
            json["labels"][0][key] = before;
        }
        std::fs::write(folder.path().join(SLOPES_FILE), "{").unwrap();
        assert!(Slopes::load(folder.path(), &names()).unwrap_err().to_string().contains("not readable"));
    }
}
