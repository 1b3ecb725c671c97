//! The test stars that disagree most with the catalogue, each with a reason found from evidence, and what such stars do to
//! a model that trains on them.
//!
//! Evidence is gathered fold by fold, while spectra and model are at hand ([`Investigation::add_fold`]); verdicts are given
//! when all models have spoken ([`Investigation::finish`]). The truth of a mock survey enters only the score.

mod conclude;
mod deviations;
mod effect;
mod evidence;
mod fits;
mod gather;
mod score;
pub mod settings;
mod spectrum;
mod table;
mod templates;
mod verdict;

use std::collections::BTreeMap;

use ndarray::ArrayView2;
use serde::Serialize;

pub use effect::{Change, Effect, Spread};
pub use evidence::{Evidence, Opinions, Unusual};
pub use fits::{OtherFit, OtherFits};
pub use gather::Spectra;
pub use score::{FaultScore, NOT_LISTED, Score};
pub use spectrum::SpectrumEvidence;
pub use verdict::{Verdict, judge};

use self::conclude::{Cases, Finding, conclude};
use self::effect::{Retrained, retrain};
use self::gather::{StarEvidence, gather};
use self::settings::OutlierSettings;
use super::predictions::Predictions;
use crate::data::catalogue::Catalogue;
use crate::error::Result;
use crate::kinds::context::Context;
use crate::kinds::kind::FoldResult;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::split::Fold;
use crate::stars::truth::Truth;

/// A star that disagrees with the catalogue.
#[derive(Debug, Clone)]
pub struct Outlier {
    /// The star.
    pub id: String,
    /// The likeliest reason.
    pub verdict: Verdict,
    /// The sentence that says why, with its numbers.
    pub reason: String,
    /// Catalogue labels.
    pub catalogue: Vec<f64>,
    /// Estimates of the model that was examined, and their formal errors.
    pub estimates: Vec<f64>,
    /// See `estimates`.
    pub errors: Vec<f64>,
    /// All that was known.
    pub evidence: Evidence,
    /// What was planted, where the truth tells; empty for a healthy star. No verdict has seen it.
    pub planted: Option<String>,
    /// Its spectrum, if it is among those to be drawn.
    pub spectra: Option<Spectra>,
}

/// A star that does not deviate though its spectrum is at fault.
#[derive(Debug, Clone)]
pub struct FaultySpectrum {
    /// The star.
    pub id: String,
    /// What its spectrum suffers from.
    pub verdict: Verdict,
    /// The sentence that says why.
    pub reason: String,
}

/// The outliers of a run.
#[derive(Debug, Clone)]
pub struct Outliers {
    /// The model whose estimates were examined.
    pub model: String,
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// The grid of the spectra.
    pub grid: WavelengthGrid,
    /// Deviation that made an outlier.
    pub sigma: f64,
    /// Test stars with an estimate.
    pub n_stars: usize,
    /// Test stars that deviate so far.
    pub n_deviating: usize,
    /// The farthest of them, judged, the farthest first.
    pub stars: Vec<Outlier>,
    /// Stars that do not deviate so far, with spectra at fault.
    pub faulty_spectra: Vec<FaultySpectrum>,
    /// Verdicts against the truth, where there is one.
    pub score: Option<Score>,
    /// What suspicious training stars do.
    pub effect: Option<Effect>,
}

/// One outlier in `metrics.json`: the label that deviates most.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutlierSummary {
    /// The star.
    pub id: String,
    /// The likeliest reason.
    pub verdict: &'static str,
    /// Why, in words.
    pub reason: String,
    /// The label that deviates most.
    pub label: String,
    /// Its estimate.
    pub estimate: f64,
    /// The catalogue's value.
    pub catalogue: f64,
    /// Estimate - catalogue about its median, in robust scatters of all test stars.
    pub deviation: f64,
    /// Signal-to-noise ratio per pixel.
    pub snr: f64,
    /// What was planted, where the truth tells; empty for a healthy star.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub planted: Option<String>,
}

/// What `metrics.json` says of outliers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutlierMetrics {
    /// The model whose estimates were examined.
    pub model: String,
    /// Deviation that made an outlier, in robust scatters.
    pub sigma: f64,
    /// Test stars with an estimate.
    pub n_stars: usize,
    /// Test stars that deviate so far.
    pub n_deviating: usize,
    /// The farthest of them, which were judged.
    pub n_outliers: usize,
    /// The outliers, the farthest first.
    pub stars: Vec<OutlierSummary>,
    /// Outliers by verdict.
    pub verdicts: BTreeMap<&'static str, usize>,
    /// Stars that are no outliers, by what their spectra suffer from.
    pub faulty_spectra_of_others: BTreeMap<&'static str, usize>,
    /// Verdicts against the truth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<Score>,
    /// Effect of suspicious training stars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<Effect>,
}

impl Outliers {
    fn summary(&self, star: &Outlier) -> OutlierSummary {
        let k = star.evidence.worst_label;
        OutlierSummary {
            id: star.id.clone(),
            verdict: star.verdict.name(),
            reason: star.reason.clone(),
            label: self.label_names[k].clone(),
            estimate: star.estimates[k],
            catalogue: star.catalogue[k],
            deviation: star.evidence.deviations[k],
            snr: star.evidence.snr,
            planted: star.planted.clone(),
        }
    }

    /// The numbers.
    pub fn metrics(&self) -> OutlierMetrics {
        let count = |verdicts: &mut dyn Iterator<Item = Verdict>| {
            let mut counts = BTreeMap::new();
            verdicts.for_each(|verdict| *counts.entry(verdict.name()).or_default() += 1);
            counts
        };
        OutlierMetrics {
            model: self.model.clone(),
            sigma: self.sigma,
            n_stars: self.n_stars,
            n_deviating: self.n_deviating,
            n_outliers: self.stars.len(),
            stars: self.stars.iter().map(|star| self.summary(star)).collect(),
            verdicts: count(&mut self.stars.iter().map(|star| star.verdict)),
            faulty_spectra_of_others: count(&mut self.faulty_spectra.iter().map(|star| star.verdict)),
            score: self.score.clone(),
            effect: self.effect.clone(),
        }
    }
}

/// The search for reasons, while a run goes on.
pub struct Investigation<'a> {
    settings: &'a OutlierSettings,
    stars: &'a Catalogue,
    gathered: Vec<StarEvidence>,
    retrained: Option<Retrained>,
    grid: Option<WavelengthGrid>,
}

impl<'a> Investigation<'a> {
    /// Begins with all stars of a run; `None` where outliers are not asked for.
    pub fn new(settings: &'a OutlierSettings, stars: &'a Catalogue) -> Option<Self> {
        (settings.most > 0).then(|| Self { settings, stars, gathered: Vec::new(), retrained: None, grid: None })
    }

    /// Gathers evidence about a fold's test stars, of which `result` is what the model examined made.
    ///
    /// # Errors
    /// Those of fits. Where too few stars are left to train again, that is only said.
    pub fn add_fold(&mut self, context: &Context, fold: &Fold, result: &FoldResult) -> Result<()> {
        let settings = self.settings;
        let trained = result.model.as_deref().filter(|trained| trained.flux_model().is_some());
        let flux_model = trained.and_then(|trained| trained.flux_model());
        self.gathered.extend(gather(context, fold, flux_model, &result.estimates, settings, settings.figures)?);
        let is_first = self.grid.replace(context.set.grid.clone()).is_none();
        // Training by descent takes too long to be done thrice for a side question.
        if let Some(trained) = trained.filter(|trained| is_first && settings.retrain && trained.trains_quickly()) {
            match retrain(context, fold, (trained, result), self.stars, settings) {
                Ok(retrained) => self.retrained = Some(retrained),
                Err(err) => tracing::warn!("training stars were not judged: {err}"),
            }
        }
        Ok(())
    }

    /// Judges all outliers of the model of this name. `test` are the rows of the test stars in the order of the models' predictions; `truth` is about
    /// all stars.
    pub fn finish(
        self,
        name: &str,
        models: &BTreeMap<&str, &Predictions>,
        test: &[usize],
        truth: Option<&Truth>,
    ) -> Option<Outliers> {
        let predictions = models.get(name)?;
        let others = models.iter().filter(|(other, _)| **other != name);
        let other_models: Vec<ArrayView2<f64>> =
            others.map(|(_, predictions)| predictions.estimates.labels.view()).collect();
        let stars = self.stars.rows(test);
        let cases = Cases {
            label_names: &predictions.label_names,
            stars: &stars,
            estimates: &predictions.estimates,
            flags: &predictions.flags,
            gathered: &self.gathered,
            others: &other_models,
        };
        let settings = self.settings;
        let findings = conclude(&cases, settings.sigma, settings.most);
        let mut is_outlier = vec![false; stars.len()];
        findings.iter().for_each(|finding| is_outlier[finding.star] = true);
        let mut others = conclude(&cases, 0.0, usize::MAX);
        let deviates = |finding: &&Finding| finding.evidence.deviations.iter().any(|d| d.abs() >= settings.sigma);
        let n_deviating = others.iter().filter(deviates).count();
        others.retain(|finding| !is_outlier[finding.star] && finding.verdict.is_fault_of_spectrum());
        let pathology = predictions.truth.as_ref().and_then(|truth| truth.pathology.as_ref());
        let score = pathology.map(|pathology| {
            let verdicts = |findings: &[Finding]| {
                let mut verdicts = vec![None; stars.len()];
                findings.iter().for_each(|finding| verdicts[finding.star] = Some(finding.verdict));
                verdicts
            };
            Score::new(&verdicts(&findings), &verdicts(&others), pathology)
        });
        let positions: Vec<usize> = findings.iter().map(|finding| finding.star).collect();
        let effect = self.retrained.as_ref().map(|retrained| retrained.effect(predictions, &positions, truth));
        let mut drawn = 0;
        let outliers = findings.into_iter().map(|finding| {
            let star = finding.star;
            let spectra = self.gathered[star].drawn.clone().filter(|_| drawn < settings.figures);
            drawn += usize::from(spectra.is_some());
            Outlier {
                id: stars.id[star].clone(),
                verdict: finding.verdict,
                reason: finding.reason,
                catalogue: predictions.catalogue.row(star).to_vec(),
                estimates: predictions.estimates.labels.row(star).to_vec(),
                errors: (0..predictions.label_names.len()).map(|k| predictions.estimates.error(star, k)).collect(),
                evidence: finding.evidence,
                planted: pathology.map(|pathology| pathology[star].clone()),
                spectra,
            }
        });
        let estimated = predictions.estimates.labels.rows().into_iter().filter(|row| row.iter().all(|l| l.is_finite()));
        Some(Outliers {
            model: name.to_string(),
            label_names: predictions.label_names.clone(),
            n_stars: estimated.count(),
            sigma: settings.sigma,
            n_deviating,
            stars: outliers.collect(),
            faulty_spectra: others
                .into_iter()
                .map(|Finding { star, verdict, reason, .. }| FaultySpectrum {
                    id: stars.id[star].clone(),
                    verdict,
                    reason,
                })
                .collect(),
            grid: self.grid?,
            score,
            effect,
        })
    }
}
