//! Whether a model describes a star: the star's misfit beside that of training stars the model had not seen.
//!
//! chi^2 per pixel need not be 1 for a good star: it grows with the signal-to-noise ratio wherever continua, sky and optics
//! leave more than the noise. What is usual is read off stars held out of training, and so is how much they differ.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::beside_model;
use crate::data::files;
use crate::error::Result;
use crate::models::LabelEstimates;
use crate::models::misfit::{Measure, Misfit};
use crate::spectra::noise::Conditions;
use crate::spectra::quality::star_flags;
use crate::stats::normal;
use crate::stats::robust::{median, quantile};
use crate::stats::trend::Trend;
use crate::training::usual_spectra::MOST_COMPONENTS;

/// The file, in a model's folder, that tells what misfit is usual.
pub const FIT_QUALITY_FILE: &str = "fit_quality.json";

/// `[bad_fit]` of an experiment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BadFitSettings {
    /// A star is flagged `BAD_FIT` when a good star would be as odd as it with less than this probability.
    #[schemars(range(max = 0.05), extend("exclusiveMinimum" = 0.0))]
    pub probability: f64,
}

impl Default for BadFitSettings {
    /// One good star in ten thousand by the normal distribution; its tails are heavier in life, and surveys of hundreds to
    /// thousands of stars must not lose any.
    fn default() -> Self {
        Self { probability: 1e-4 }
    }
}

/// What is usual of one measure: a normal distribution of its logarithm, about a line in ln SNR.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usual {
    /// What is measured.
    pub measure: Measure,
    /// Its median against ln SNR.
    pub median: Trend,
    /// Width of the distribution below the median and above.
    pub width: (f64, f64),
}

/// How well a model describes the stars it is made for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FitQuality {
    /// Below this probability a star is flagged.
    pub probability: f64,
    /// Held-out stars it was learned from; 0 for a rule without any.
    pub n_stars: usize,
    /// Pixels of half of them at least.
    pub n_pixels: usize,
    /// Components of the usual spectra kept beside it; 0 for a model that describes spectra itself.
    #[serde(default, skip_serializing_if = "is_nil")]
    pub n_components: usize,
    /// By measure.
    pub usual: Vec<Usual>,
}

impl FitQuality {
    /// From the misfit of stars that the model had not seen.
    ///
    /// Wrong ones among them are expected: medians and quantiles of the inner nine tenths tell what is usual. `None` where
    /// they are too few, fewer than ten.
    pub fn fit(
        misfit: &Misfit,
        conditions: &[Conditions],
        n_pixels: &[usize],
        settings: BadFitSettings,
    ) -> Option<Self> {
        let usual = misfit.measures.iter().enumerate().filter_map(|(m, measure)| {
            let known = (0..misfit.n_stars()).map(|n| (conditions[n].snr.ln(), misfit.values[[n, m]].ln()));
            let (x, y) = known.filter(|(x, y)| x.is_finite() && y.is_finite()).unzip();
            usual(*measure, x, y)
        });
        let usual: Vec<Usual> = usual.collect();
        let pixels: Vec<f64> = n_pixels.iter().map(|n| *n as f64).collect();
        let quality = Self {
            probability: settings.probability,
            n_stars: misfit.n_stars(),
            n_pixels: median(&pixels).max(0.0) as usize,
            n_components: 0,
            usual,
        };
        (!quality.usual.is_empty()).then_some(quality)
    }

    /// The rule for a model that came without held-out stars: chi^2 per pixel is 1 if the model describes the star and the
    /// errors are right, and beyond a factor of 4 either way, errors wrong by a factor of 2, it is not so at the usual
    /// probability. A spectrum with less than a tenth of the mean's structure has hardly a feature to read labels from,
    /// whatever its chi^2; one with four times of it is no star among those that trained.
    pub fn without_held_out_stars() -> Self {
        const CHI2: f64 = 4.0;
        /// Below and above the mean's. Real stars of three surveys have 0.3 to 2.1 of it, those of [Fe/H] near -1.4 on a hundred
        /// pixels down to 0.05; a flat spectrum has 0.
        const STRUCTURE: (f64, f64) = (10.0, 4.0);
        let probability = BadFitSettings::default().probability;
        // The two share the probability.
        let limit = -normal::quantile(probability / 4.0);
        let usual = |measure: Measure, below: f64, above: f64| {
            let median = Trend { range: (0.0, 0.0), coefficients: vec![0.0] };
            Usual { measure, median, width: (below.ln() / limit, above.ln() / limit) }
        };
        let usual = vec![usual(Measure::Chi2, CHI2, CHI2), usual(Measure::Structure, STRUCTURE.0, STRUCTURE.1)];
        Self { probability, n_stars: 0, n_pixels: 0, n_components: 0, usual }
    }

    /// With which probability a good star would differ from what is usual by as much, in whatever measure is oddest; NaN
    /// where nothing is measured.
    pub fn probabilities(&self, misfit: &Misfit, conditions: &[Conditions], n_pixels: &[usize]) -> Vec<f64> {
        (0..misfit.n_stars()).map(|n| self.of_star(misfit, n, conditions[n].snr, n_pixels[n])).collect()
    }

    fn of_star(&self, misfit: &Misfit, star: usize, snr: f64, n_pixels: usize) -> f64 {
        let n_chips = misfit.measures.iter().filter(|measure| matches!(measure, Measure::Chi2OfChip(_))).count();
        let tails = self.usual.iter().filter_map(|usual| {
            let m = misfit.measures.iter().position(|measure| *measure == usual.measure)?;
            let value = misfit.values[[star, m]];
            // Fewer pixels than usual scatter more.
            let per_pixel = match usual.measure {
                Measure::Nuisances | Measure::Structure | Measure::Labels => 0.0,
                Measure::Chi2OfChip(_) => 2.0 * n_chips as f64,
                Measure::Chi2 | Measure::Errors => 2.0,
            };
            let excess = (1.0 / n_pixels.max(1) as f64 - 1.0 / self.n_pixels.max(1) as f64).max(0.0);
            let noise = if self.n_pixels == 0 { 0.0 } else { per_pixel * excess };
            (!value.is_nan()).then(|| usual.tail(value, snr, noise))
        });
        let tails: Vec<f64> = tails.collect();
        // The oddest of so many.
        let least = tails.iter().copied().fold(f64::NAN, f64::min);
        (least * tails.len() as f64).min(1.0)
    }

    /// [`star_flags::BAD_FIT`] where a star is not described, 0 elsewhere.
    pub fn flags(&self, misfit: &Misfit, conditions: &[Conditions], n_pixels: &[usize]) -> Vec<i64> {
        let flag = |probability: f64| if probability < self.probability { star_flags::BAD_FIT } else { 0 };
        self.probabilities(misfit, conditions, n_pixels).into_iter().map(flag).collect()
    }

    /// Flags the stars of some estimates that are not described.
    pub fn flag(&self, estimates: &mut LabelEstimates, misfit: &Misfit, conditions: &[Conditions]) {
        let flags = self.flags(misfit, conditions, &estimates.n_pixels);
        estimates.flags.iter_mut().zip(flags).for_each(|(own, flag)| *own |= flag);
    }

    /// Writes it into a model's folder.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::write_json(&folder.join(FIT_QUALITY_FILE), self)
    }

    /// Reads it from a model's folder; `None` if that has none.
    ///
    /// # Errors
    /// [`crate::error::Error::Checkpoint`] if it is unreadable or contradicts itself.
    pub fn load(folder: &Path) -> Result<Option<Self>> {
        beside_model::read(folder, FIT_QUALITY_FILE, "train the model again", Self::problem)
    }

    /// What cannot be.
    fn problem(&self) -> Option<String> {
        let found = self.n_components;
        if found > MOST_COMPONENTS {
            return Some(format!("n_components = {found}: at most {MOST_COMPONENTS} are expected; was it edited?"));
        }
        let is_consistent = self.probability > 0.0
            && self.probability < 1.0
            && self.usual.iter().all(|usual| usual.width.0 > 0.0 && usual.width.1 > 0.0);
        (!is_consistent).then(|| "it contradicts itself; was it edited?".into())
    }
}

/// How well stars were described by models that had not seen them.
#[derive(Debug, Clone, Default)]
pub struct HeldOutMisfit {
    /// Their rows in the set.
    pub rows: Vec<usize>,
    /// Pixels of each that count.
    pub n_pixels: Vec<usize>,
    /// Their misfit.
    pub misfit: Misfit,
}

impl HeldOutMisfit {
    /// Adds some rows.
    pub fn add(&mut self, rows: &[usize], n_pixels: &[usize], misfit: Misfit) {
        self.rows.extend(rows);
        self.n_pixels.extend(n_pixels);
        self.misfit.append(misfit);
    }
}

fn is_nil(n: &usize) -> bool {
    *n == 0
}

impl Usual {
    /// With which probability a good star would be at least as far out; `noise` is added to the variance of the logarithm.
    fn tail(&self, value: f64, snr: f64, noise: f64) -> f64 {
        let away = value.ln() - self.median.at(snr.ln());
        let width = if away < 0.0 { self.width.0 } else { self.width.1 };
        let tail = normal::normal_cdf(-away.abs() / width.hypot(noise.sqrt()));
        match (self.measure.is_two_sided(), away < 0.0) {
            (true, _) => 2.0 * tail,
            (false, true) => 1.0,
            (false, false) => tail,
        }
    }
}

/// What is usual of one measure, from its logarithm y of stars of ln SNR x; `None` where there are too few.
fn usual(measure: Measure, x: Vec<f64>, y: Vec<f64>) -> Option<Usual> {
    /// No measure is as sharp as this: what is not in the training stars would be flagged by a hair.
    const LEAST_WIDTH: f64 = 0.05;
    /// Stars that trained are labelled, too, and fit better than those held out: down to a twentieth of their chi^2 where a
    /// correlated Cannon learned from 240 stars. Less than usual counts from a sixtieth or so on: errors eight times too large.
    const LEAST_WIDTH_BELOW: f64 = 1.0;
    let median = Trend::fit(&x, &y)?;
    let away: Vec<f64> = x.iter().zip(&y).map(|(x, y)| y - median.at(*x)).collect();
    // Quantiles at one standard deviation, and at 1.645 for heavier tails: as far as a twentieth of wrong stars can be
    // trusted to spoil it. The width is known to some 1 / sqrt(n), and may be larger.
    let side = |sign: f64| {
        let out = |q: f64| sign * quantile(&away, if sign > 0.0 { q } else { 1.0 - q });
        let inner = out(0.841).max(0.0);
        inner.max((out(0.95) / 1.645).min(1.5 * inner)) * (1.0 + 2.0 / (y.len() as f64).sqrt())
    };
    let least_below = if measure.falls_in_training() { LEAST_WIDTH_BELOW } else { LEAST_WIDTH };
    let width = (side(-1.0).max(least_below), side(1.0).max(LEAST_WIDTH));
    Some(Usual { measure, median, width })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use ndarray::Array2;
    use rand::SeedableRng;

    const N_PIXELS: usize = 7000;

    fn of_chi2(values: Vec<f64>) -> Misfit {
        let n_stars = values.len();
        let values = Array2::from_shape_vec((n_stars, 1), values).unwrap();
        Misfit { measures: vec![Measure::Chi2], values, ..Misfit::none(n_stars) }
    }

    /// ln chi^2 of 0.2 width about a line in ln SNR; every thirtieth star is a wrong one with chi^2 forty times as large.
    fn survey(n_stars: usize, seed: u64) -> (Misfit, Vec<Conditions>, Vec<usize>) {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let snr = |n: usize| 50.0 * 8.0_f64.powf(n as f64 / n_stars as f64);
        let chi2 = |n: usize, rng: &mut _| {
            let wrong = if n % 30 == 7 { 40.0 } else { 1.0 };
            wrong * (0.4 * (snr(n) / 100.0).ln() + 0.2 * normal(rng)).exp()
        };
        let values: Vec<f64> = (0..n_stars).map(|n| chi2(n, &mut rng)).collect();
        let misfit = of_chi2(values);
        let conditions = (0..n_stars).map(|n| Conditions { snr: snr(n), lost_chips: 0 }).collect();
        (misfit, conditions, vec![N_PIXELS; n_stars])
    }

    #[test]
    fn wrong_stars_are_flagged_and_of_good_ones_at_most_one_in_a_thousand() {
        for n_stars in [30, 100, 500] {
            let (misfit, conditions, n_pixels) = survey(n_stars, 3);
            let quality = FitQuality::fit(&misfit, &conditions, &n_pixels, BadFitSettings::default()).unwrap();
            let (misfit, conditions, n_pixels) = survey(6000, 4);
            let flags = quality.flags(&misfit, &conditions, &n_pixels);
            let wrong = |n: &usize| n % 30 == 7;
            assert!((0..6000).filter(wrong).all(|n| flags[n] == star_flags::BAD_FIT), "{n_stars}");
            let n_good = (0..6000).filter(|n| !wrong(n) && flags[*n] != 0).count();
            assert!(n_good <= 5, "{n_good} of 5800 good stars with {n_stars} held out");
        }
    }

    #[test]
    fn errors_wrong_by_a_factor_show_either_way_at_whatever_snr_they_claim() {
        let (misfit, conditions, n_pixels) = survey(300, 5);
        let quality = FitQuality::fit(&misfit, &conditions, &n_pixels, BadFitSettings::default()).unwrap();
        let flag = |chi2: f64, snr: f64| {
            let misfit = of_chi2(vec![chi2]);
            quality.flags(&misfit, &[Conditions { snr, lost_chips: 0 }], &[N_PIXELS])[0] != 0
        };
        assert!(!flag(1.0, 100.0) && flag(1e8, 1e6) && flag(1e-8, 0.01));
        // At the ends of what was seen the line goes on level: 1.74 is usual at an SNR of 400, and so it is at 4000.
        assert!(!flag(1.74, 4000.0) && !flag(0.1, 4000.0) && flag(0.02, 4000.0));
        let (nothing, unknown) = (f64::NAN, f64::NAN);
        assert!(!flag(nothing, unknown));
    }

    #[test]
    fn a_star_of_few_pixels_scatters_more() {
        let (misfit, conditions, n_pixels) = survey(300, 6);
        let quality = FitQuality::fit(&misfit, &conditions, &n_pixels, BadFitSettings::default()).unwrap();
        let star = of_chi2(vec![4.0]);
        let at = [Conditions { snr: 100.0, lost_chips: 0 }];
        assert!(quality.flags(&star, &at, &[N_PIXELS])[0] != 0 && quality.flags(&star, &at, &[12])[0] == 0);
    }

    #[test]
    fn small_nuisances_and_near_labels_are_no_fault() {
        let y: Vec<f64> = (0..100).map(|n| (0.7 * f64::from(n)).sin()).collect();
        let usual = usual(Measure::Nuisances, vec![4.0; 100], y).unwrap();
        assert_eq!(usual.tail(1e-9, 55.0, 0.0), 1.0);
        assert!(usual.tail(1e9, 55.0, 0.0) < 1e-9);
    }

    #[test]
    fn without_held_out_stars_chi2_and_structure_have_their_limits() {
        let rule = FitQuality::without_held_out_stars();
        let flag = |chi2: f64, structure: f64| {
            let values = Array2::from_shape_vec((1, 2), vec![chi2, structure]).unwrap();
            let misfit = Misfit { measures: vec![Measure::Chi2, Measure::Structure], values, ..Misfit::none(1) };
            rule.flags(&misfit, &[Conditions { snr: 300.0, lost_chips: 0 }], &[N_PIXELS])[0] != 0
        };
        assert!(flag(4.01, 1.0) && !flag(3.99, 1.0) && !flag(0.251, 1.0) && flag(0.249, 1.0));
        assert!(flag(1.0, 0.099) && !flag(1.0, 0.101) && !flag(1.0, 3.99) && flag(1.0, 4.01));
        // A flat spectrum that a metal-poor star happens to fit.
        assert!(flag(2.3, 1e-3) && !flag(2.3, 0.4));
    }

    #[test]
    fn a_rule_of_before_there_was_one_on_structure_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let old = r#"{"probability": 1e-4, "n_stars": 0, "n_pixels": 0, "usual": [{"measure": "chi2",
            "median": {"range": [0.0, 0.0], "coefficients": [0.0]}, "width": [0.3563, 0.3563]}]}"#;
        std::fs::write(folder.path().join(FIT_QUALITY_FILE), old).unwrap();
        let rule = FitQuality::load(folder.path()).unwrap().unwrap();
        assert_eq!((rule.usual.len(), rule.usual[0].measure), (1, Measure::Chi2));
    }

    #[test]
    fn it_comes_back_from_its_folder_and_nonsense_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(FitQuality::load(folder.path()).unwrap().is_none());
        let (misfit, conditions, n_pixels) = survey(100, 7);
        let quality = FitQuality::fit(&misfit, &conditions, &n_pixels, BadFitSettings::default()).unwrap();
        quality.save(folder.path()).unwrap();
        let back = FitQuality::load(folder.path()).unwrap().unwrap();
        let probabilities = |quality: &FitQuality| quality.probabilities(&misfit, &conditions, &n_pixels);
        assert_eq!((back.n_stars, probabilities(&back)), (100, probabilities(&quality)));
        std::fs::write(folder.path().join(FIT_QUALITY_FILE), "{}").unwrap();
        let refusal = || FitQuality::load(folder.path()).unwrap_err().to_string();
        assert!(refusal().contains("train the model again"));
        FitQuality { n_components: 1_000_000_000_000_000_000, ..quality }.save(folder.path()).unwrap();
        let said = refusal();
        let file = format!("{FIT_QUALITY_FILE}: n_components = 1000000000000000000: at most 20");
        assert!(said.contains(&file), "{said}");
        let few = survey(9, 8);
        assert!(FitQuality::fit(&few.0, &few.1, &few.2, BadFitSettings::default()).is_none());
    }
}
