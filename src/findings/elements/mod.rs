//! Which labels a model reads from a star's own spectrum, and which it only infers from the others: for each label the scatter beside
//! what a regression on all other labels achieves, and where in the spectrum the model looks for it.

mod lines;
mod others;
pub mod settings;

use std::collections::BTreeMap;

use ndarray::{Array2, Axis};
use serde::Serialize;

pub use lines::LineReading;

use self::others::{OtherLabels, from_others, residuals};
use self::settings::ElementSettings;
use super::groups::{HEALTHY, groups};
use super::metrics::BootstrapSettings;
use super::predictions::Predictions;
use super::pulls::Pulls;
use crate::error::Result;
use crate::kinds::context::Context;
use crate::kinds::kind::FoldResult;
use crate::spectra::split::Fold;
use crate::stats::bootstrap::{Resampling, Sample, Summary, Wanted};
use crate::stats::correlation::pearson;
use crate::stats::normal;
use crate::stats::paired::Difference;
use crate::stats::robust::{median, robust_scatter};
use crate::training::line_windows::LineWindows;

/// Stars farther from the reference than so many robust scatters say nothing of a correlation.
const CLIP: f64 = 5.0;
/// Fewer stars tell nothing.
const LEAST_STARS: usize = 30;
/// See [`Elements::least_concentration`].
const LEAST_CONCENTRATION: f64 = 0.5;

/// See [`Elements::least_own_correlation`].
const LEAST_OWN_CORRELATION: f64 = 0.3;

/// What a run says of its labels one by one, `elements` in `metrics.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Elements {
    /// What estimates are held against: `truth, healthy stars`, `truth` or `catalogue`.
    pub reference: String,
    /// Test stars that are looked at.
    pub n_stars: usize,
    /// Share of what model spectra answer to an abundance that lies in the element's own lines.
    pub share: f64,
    /// A label is read from its own lines if they hold at least this part of what they could hold beyond chance:
    /// (share of the gradient - share of the pixels) / (1 - share of the pixels).
    pub least_concentration: f64,
    /// A label that is known no better than from the other labels is still read, if noisily, where its own correlation is surely above
    /// this.
    pub least_own_correlation: f64,
    /// By model.
    pub models: BTreeMap<String, ModelElements>,
}

/// What is said of the labels of one model.
#[derive(Debug, Clone, Serialize)]
pub struct ModelElements {
    /// How many labels have each verdict.
    pub counts: BTreeMap<Verdict, usize>,
    /// Median over the labels of the robust scatter over that of the regression on the other labels.
    pub median_ratio: f64,
    /// By label.
    pub labels: BTreeMap<String, LabelElements>,
}

/// Where a model has a label from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The spectrum tells more than the other labels do, and it is mostly the label's own lines that are read.
    OwnLines,
    /// The spectrum tells more than the other labels do, by pixels most of which are none of the label's own lines.
    OtherPixels,
    /// The spectrum tells more than the other labels do; where its lines are is not known.
    Spectrum,
    /// The other labels tell as much, and yet the estimate follows what is the label's own: read, but noisily.
    Noisy,
    /// The other labels tell as much: the estimate is a correlation.
    Correlation,
    /// Too few stars to say.
    Unknown,
}

/// What is said of one label of one model; labels and errors in its own unit.
#[derive(Debug, Clone, Serialize)]
pub struct LabelElements {
    /// The verdict.
    pub verdict: Verdict,
    /// Stars with an estimate, a reference and a regression.
    pub n_stars: usize,
    /// Robust scatter of the reference among these stars: what an estimate that knows nothing errs by.
    pub spread: f64,
    /// Median error that the catalogue quotes.
    pub catalogue_error: f64,
    /// Standard deviation of estimate - reference.
    pub scatter: f64,
    /// 1.4826 x median absolute deviation of the same.
    pub robust_scatter: f64,
    /// Median calibrated error; NaN without calibration.
    pub calibrated_error: f64,
    /// (estimate - reference) in units of the calibrated error; none without calibration.
    pub calibrated_pulls: Option<Pulls>,
    /// Robust scatter about the reference of the label as a regression on the star's other labels in the catalogue has it, learned
    /// from the catalogue's labels of the training stars.
    pub from_others: f64,
    /// Robust scatter over that of the regression.
    pub ratio: f64,
    /// Robust scatter minus that of the regression, of the same stars.
    pub difference: Difference,
    /// Correlation of estimate and reference once both are freed of what the reference's other labels tell: 1 if the spectrum tells
    /// all that is the label's own, 0 if nothing; none where stars are too few.
    pub own_correlation: Option<Correlation>,
    /// Where in the spectrum it is read; none of models that are no Cannon.
    pub lines: Option<LineReading>,
}

/// A correlation and its interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Correlation {
    /// Pearson's.
    pub value: f64,
    /// Its interval, by Fisher's z.
    pub interval: (f64, f64),
}

/// What is gathered of a run while it goes on.
pub struct Look<'a> {
    settings: &'a ElementSettings,
    /// Labels of the test stars of the folds so far as the regression on the others has them, [n_test, n_labels].
    from_others: Option<Array2<f64>>,
    /// Of the first fold, by model and label.
    lines: BTreeMap<String, BTreeMap<String, LineReading>>,
}

impl<'a> Look<'a> {
    /// Of no fold as yet.
    pub fn new(settings: &'a ElementSettings) -> Self {
        Self { settings, from_others: None, lines: BTreeMap::new() }
    }

    /// Takes a fold, counted from 1, and what the models made of it.
    ///
    /// # Errors
    /// Those of the emulator that comes with maury.
    pub fn add_fold(
        &mut self,
        context: &Context,
        (number, fold): (usize, &Fold),
        results: &BTreeMap<String, FoldResult>,
    ) -> Result<()> {
        let (names, labels) = (&context.set.label_names, &context.set.labels);
        let training = context.trainable(&fold.training);
        let of = |rows: &[usize]| labels.select(Axis(0), rows);
        let predicted = from_others(names, of(&training).view(), of(&fold.test).view());
        match &mut self.from_others {
            Some(known) => known.append(Axis(0), predicted.view()).expect("both have the same labels"),
            none => *none = Some(predicted),
        }
        if number > 1 {
            return Ok(());
        }
        let mut windows: Option<LineWindows> = None;
        for (name, result) in results {
            let Some(cannon) = result.model.as_ref().and_then(|model| model.cannon()) else { continue };
            let windows = match &mut windows {
                Some(windows) => windows,
                none => none.insert(lines::windows(self.settings, context, &training)?),
            };
            let readings = lines::readings(self.settings, context, &training, windows, cannon)?;
            self.lines.insert(name.clone(), readings);
        }
        Ok(())
    }

    /// What the estimates of all models say, test stars in the order of the folds; none where there are no stars.
    pub fn finish(
        mut self,
        models: &BTreeMap<&str, &Predictions>,
        bootstrap: &BootstrapSettings,
        seed: u64,
    ) -> Option<Elements> {
        let from_others = self.from_others.take()?;
        let first = models.values().next()?;
        let (words, stars) = match (&first.truth, groups(first)) {
            (Some(_), Some(mut groups)) => ("truth, healthy stars", groups.remove(HEALTHY).unwrap_or_default()),
            (Some(_), None) => ("truth", (0..first.n_stars()).collect()),
            (None, _) => ("catalogue", (0..first.n_stars()).collect()),
        };
        let resampling = Resampling { n_stars: first.n_stars(), n_resamples: bootstrap.resamples, seed };
        let of_model = |(name, predictions): (&&str, &&Predictions)| {
            let lines = self.lines.remove(*name).unwrap_or_default();
            let compared = Compared { predictions, from_others: &from_others, stars: &stars, level: bootstrap.level };
            (name.to_string(), compared.with(lines, &resampling))
        };
        Some(Elements {
            reference: words.to_string(),
            n_stars: stars.len(),
            share: self.settings.share,
            least_concentration: LEAST_CONCENTRATION,
            least_own_correlation: LEAST_OWN_CORRELATION,
            models: models.iter().map(of_model).collect(),
        })
    }
}

/// Estimates of a model beside a reference and the regression on other labels.
struct Compared<'a> {
    predictions: &'a Predictions,
    from_others: &'a Array2<f64>,
    stars: &'a [usize],
    level: f64,
}

impl Compared<'_> {
    fn reference(&self) -> &Array2<f64> {
        self.predictions.truth.as_ref().map_or(&self.predictions.catalogue, |truth| &truth.labels)
    }

    fn with(&self, mut lines: BTreeMap<String, LineReading>, resampling: &Resampling) -> ModelElements {
        let n_labels = self.predictions.label_names.len();
        let residuals: Vec<[Vec<(usize, f64)>; 2]> = (0..n_labels).map(|k| self.residuals(k)).collect();
        let samples: Vec<Sample> =
            residuals.iter().flatten().map(|residuals| Sample::new(residuals.iter().copied())).collect();
        let summaries = resampling.summaries(&samples, Wanted::Medians);
        let mut labels = BTreeMap::new();
        for (k, name) in self.predictions.label_names.iter().enumerate() {
            let of = |summary: &Summary| summary.robust_scatter;
            let [own, others] = [2 * k, 2 * k + 1].map(|sample| (samples[sample].summary(), &summaries[sample]));
            let pairs = own.1.iter().zip(others.1).map(|(own, others)| (of(own), of(others)));
            let difference = Difference::new((of(&own.0), of(&others.0)), pairs, self.level);
            labels.insert(name.clone(), self.label(k, (own.0, others.0), difference, lines.remove(name)));
        }
        let mut counts = BTreeMap::new();
        labels.values().for_each(|label: &LabelElements| *counts.entry(label.verdict).or_default() += 1);
        let ratios: Vec<f64> = labels.values().map(|label| label.ratio).filter(|ratio| ratio.is_finite()).collect();
        ModelElements { counts, median_ratio: median(&ratios), labels }
    }

    /// Estimate and regression, each minus the reference, of the stars that have all three.
    fn residuals(&self, k: usize) -> [Vec<(usize, f64)>; 2] {
        let (reference, estimates) = (self.reference(), &self.predictions.estimates.labels);
        let pair = |star: &usize| {
            let at = [*star, k];
            let [own, others] = [estimates[at], self.from_others[at]].map(|value| value - reference[at]);
            (own.is_finite() && others.is_finite()).then_some(((*star, own), (*star, others)))
        };
        let (own, others) = self.stars.iter().filter_map(pair).unzip();
        [own, others]
    }

    fn label(
        &self,
        k: usize,
        (own, others): (Summary, Summary),
        difference: Difference,
        lines: Option<LineReading>,
    ) -> LabelElements {
        let predictions = self.predictions;
        let reference = self.reference();
        let kept: Vec<usize> = self.residuals(k)[0].iter().map(|(star, _)| *star).collect();
        let known = |values: &Array2<f64>| -> Vec<f64> {
            kept.iter().map(|star| values[[*star, k]]).filter(|value| value.is_finite()).collect()
        };
        let pull = |star: &usize| {
            let at = [*star, k];
            (predictions.estimates.labels[at] - reference[at], predictions.calibrated_errors[at])
        };
        let own_correlation = self.own_correlation(k, &kept, own);
        LabelElements {
            verdict: verdict(kept.len(), &difference, own_correlation, lines.as_ref()),
            n_stars: kept.len(),
            spread: robust_scatter(&known(reference)),
            catalogue_error: median(&known(&predictions.catalogue_errors)),
            scatter: own.scatter,
            robust_scatter: own.robust_scatter,
            calibrated_error: median(&known(&predictions.calibrated_errors)),
            calibrated_pulls: Pulls::new(kept.iter().map(pull)),
            from_others: others.robust_scatter,
            ratio: own.robust_scatter / others.robust_scatter,
            difference,
            own_correlation,
            lines,
        }
    }

    /// The partial correlation of a label's estimate with its reference, given all other labels of the reference.
    fn own_correlation(&self, k: usize, stars: &[usize], own: Summary) -> Option<Correlation> {
        let predictions = self.predictions;
        let (reference, estimates) = (self.reference(), &predictions.estimates.labels);
        let is_near = |star: &usize| {
            let residual = estimates[[*star, k]] - reference[[*star, k]];
            (residual - own.median).abs() <= CLIP * own.robust_scatter
        };
        let is_complete = |star: &usize| reference.row(*star).iter().all(|label| label.is_finite());
        let stars: Vec<usize> = stars.iter().copied().filter(|star| is_near(star) && is_complete(star)).collect();
        let labels = reference.select(Axis(0), &stars);
        let others = OtherLabels::new(&predictions.label_names, labels.view(), k)?;
        let design = others.design(labels.view());
        let freed = |values: &Array2<f64>| {
            residuals(&design, &stars.iter().map(|star| values[[*star, k]]).collect::<Vec<f64>>())
        };
        let value = pearson(&freed(reference)?, &freed(estimates)?);
        // Each regressor takes a star (Fisher 1924, Metron 3, 329).
        let degrees = stars.len() as f64 - design.ncols() as f64 - 2.0;
        let away = normal::quantile(0.5 + self.level / 2.0) / degrees.max(1.0).sqrt();
        let around = |by: f64| (value.clamp(-1.0 + 1e-12, 1.0 - 1e-12).atanh() + by).tanh();
        value.is_finite().then(|| Correlation { value, interval: (around(-away), around(away)) })
    }
}

fn verdict(n_stars: usize, difference: &Difference, own: Option<Correlation>, lines: Option<&LineReading>) -> Verdict {
    if n_stars < LEAST_STARS {
        return Verdict::Unknown;
    }
    // A difference that is not finite, of stars that are all alike, is none.
    if difference.interval.1.is_nan() || difference.interval.1 >= 0.0 {
        let is_own = own.is_some_and(|own| own.interval.0 > LEAST_OWN_CORRELATION);
        return if is_own { Verdict::Noisy } else { Verdict::Correlation };
    }
    match lines.and_then(|lines| Some((lines.pixel_share?, lines.gradient_share?))) {
        Some((pixels, gradient)) if gradient - pixels >= LEAST_CONCENTRATION * (1.0 - pixels) => Verdict::OwnLines,
        Some(_) => Verdict::OtherPixels,
        None => Verdict::Spectrum,
    }
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
    use rand_chacha::ChaCha8Rng;

    /// Stars whose [Mg/Fe] follows from [Fe/H] but for 0.05 dex, estimated with an error, or by that relation.
    fn predictions(error: f64, by_relation: bool) -> (Predictions, Array2<f64>) {
        let n = 300;
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let truth = Array2::from_shape_fn((n, 2), |_| 0.0);
        let (mut truth, mut relation, mut labels) = (truth.clone(), truth.clone(), truth);
        for star in 0..n {
            let fe_h = 0.3 * normal(&mut rng);
            let mg_fe = -0.3 * fe_h + 0.05 * normal(&mut rng);
            truth.row_mut(star).assign(&ndarray::aview1(&[fe_h, mg_fe]));
            relation.row_mut(star).assign(&ndarray::aview1(&[-3.0 * mg_fe, -0.3 * fe_h]));
            let seen = if by_relation { -0.3 * fe_h } else { mg_fe };
            labels.row_mut(star).assign(&ndarray::aview1(&[fe_h, seen + error * normal(&mut rng)]));
        }
        let pathology = (0..n).map(|star| if star % 10 == 0 { "binary".to_string() } else { String::new() }).collect();
        let estimates = LabelEstimates::read_off(labels, Array3::from_elem((n, 2, 2), error * error), vec![5; n]);
        let predictions = Predictions {
            catalogue_errors: Array2::from_elem((n, 2), 0.02),
            calibrated_errors: Array2::from_elem((n, 2), error),
            truth: Some(Truth { labels: truth.clone(), pathology: Some(pathology) }),
            ..bare(&["fe_h", "mg_fe"], truth + 0.01, estimates)
        };
        (predictions, relation)
    }

    fn found(error: f64, by_relation: bool) -> LabelElements {
        let (predictions, from_others) = predictions(error, by_relation);
        let settings = ElementSettings::default();
        let look = Look { settings: &settings, from_others: Some(from_others), lines: BTreeMap::new() };
        let models = BTreeMap::from([("model", &predictions)]);
        let found = look.finish(&models, &BootstrapSettings { resamples: 200, level: 0.95 }, 1).unwrap();
        assert_eq!((found.reference.as_str(), found.n_stars), ("truth, healthy stars", 270));
        let of_model = &found.models["model"];
        assert_eq!(of_model.counts.values().sum::<usize>(), 2);
        of_model.labels["mg_fe"].clone()
    }

    #[test]
    fn a_label_that_the_spectrum_tells_is_told_from_one_that_follows_from_the_others() {
        let read = found(0.02, false);
        assert_eq!((read.verdict, read.n_stars), (Verdict::Spectrum, 270));
        assert!((read.ratio - 0.4).abs() < 0.06 && read.difference.interval.1 < 0.0, "{read:?}");
        // Of 0.05 dex of its own, an error of 0.02 leaves a correlation of 1 / sqrt(1.16).
        let own = read.own_correlation.unwrap();
        assert!((own.value - 0.928).abs() < 0.02 && own.interval.0 < own.value && own.value < own.interval.1);
        assert!((read.calibrated_pulls.unwrap().robust_width - 1.0).abs() < 0.15 && read.catalogue_error == 0.02);
        assert!((read.spread - 0.103).abs() < 0.02, "{}", read.spread);

        let inferred = found(0.002, true);
        assert_eq!(inferred.verdict, Verdict::Correlation);
        assert!((inferred.ratio - 1.0).abs() < 0.05, "{inferred:?}");
        let own = inferred.own_correlation.unwrap();
        assert!(own.interval.0 < 0.0 && own.interval.1 > 0.0 && own.value.abs() < 0.15, "{own:?}");
    }

    #[test]
    fn lines_decide_where_the_spectrum_tells_more_than_the_other_labels() {
        let difference = |high: f64| Difference { value: -0.1, interval: (-0.2, high), fraction_first_smaller: 1.0 };
        let lines = |pixels: Option<f64>, gradient: f64| LineReading {
            pixel_share: pixels,
            gradient_share: pixels.map(|_| gradient),
            reading_share: None,
            atomic_lines: None,
        };
        let of = |pixels, gradient| verdict(100, &difference(-0.05), None, Some(&lines(pixels, gradient)));
        assert_eq!(
            (of(Some(0.1), 0.6), of(Some(0.1), 0.5), of(None, 0.9)),
            (Verdict::OwnLines, Verdict::OtherPixels, Verdict::Spectrum)
        );
        // Half of the pixels hold half of anything.
        assert_eq!((of(Some(0.5), 0.7), of(Some(0.5), 0.8)), (Verdict::OtherPixels, Verdict::OwnLines));
        assert_eq!(verdict(100, &difference(0.01), None, Some(&lines(Some(0.1), 0.9))), Verdict::Correlation);
        assert_eq!(verdict(100, &difference(f64::NAN), None, None), Verdict::Correlation);
        assert_eq!(verdict(29, &difference(-0.05), None, None), Verdict::Unknown);
        // What follows the label's own is read, however noisily.
        let own = |low: f64| Some(Correlation { value: low + 0.1, interval: (low, low + 0.2) });
        let noisy = |low: f64| verdict(100, &difference(0.01), own(low), None);
        assert_eq!((noisy(0.35), noisy(0.25)), (Verdict::Noisy, Verdict::Correlation));
    }
}
