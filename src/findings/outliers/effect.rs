//! What suspicious training stars do to the model: trained without them, and with other labels for them.

use std::collections::BTreeMap;

use ndarray::{ArrayView2, Axis};
use serde::Serialize;

use super::conclude::{Cases, Finding, conclude};
use super::gather::gather;
use super::settings::OutlierSettings;
use super::verdict::Verdict;
use crate::data::catalogue::Catalogue;
use crate::error::Result;
use crate::findings::groups::HEALTHY;
use crate::findings::predictions::Predictions;
use crate::kinds::context::Context;
use crate::kinds::kind::{FoldResult, Job, Trained};
use crate::models::LabelEstimates;
use crate::spectra::split::Fold;
use crate::stars::truth::Truth;
use crate::stats::robust::{robust_scatter, standard_deviation};

/// Models trained without suspects, and what they say of the test stars.
#[derive(Debug, Clone)]
pub(super) struct Retrained {
    /// Training stars, as rows of the set.
    training: Vec<usize>,
    /// Suspects among them, at positions of `training`, with the verdicts.
    suspects: Vec<(usize, Verdict)>,
    /// Estimates of the fold's test stars by the model without suspects, and by the one in which those of wrong labels
    /// have their estimates for labels.
    without: LabelEstimates,
    relabelled: LabelEstimates,
}

/// Judges a fold's training stars, each by a model that did not train on it, and trains again without those at fault. `trained` is the
/// model of `result`.
///
/// # Errors
/// Those of training, of half the stars too.
pub(super) fn retrain(
    context: &Context,
    fold: &Fold,
    (trained, result): (&dyn Trained, &FoldResult),
    stars: &Catalogue,
    settings: &OutlierSettings,
) -> Result<Retrained> {
    let set = context.set;
    let training: Vec<usize> = fold.training.iter().copied().filter(|row| set.can_train(*row)).collect();
    let findings = judge_training(context, &training, (trained, result), stars, settings)?;
    let faulty: Vec<&(Finding, Vec<f64>)> = findings.iter().filter(|(f, _)| f.verdict.is_fault_of_star()).collect();
    let label_of = |star: usize| faulty.iter().find(|(finding, _)| finding.star == star);
    let kept = |relabel: bool| -> Vec<usize> {
        let stays = |star: &usize| label_of(*star).is_none_or(|(f, _)| relabel && f.verdict.is_fault_of_labels());
        (0..training.len()).filter(stays).collect()
    };
    let test = |relabel: bool| -> Result<LabelEstimates> {
        let kept = kept(relabel);
        let mut own = set.rows(&kept.iter().map(|star| training[*star]).collect::<Vec<usize>>());
        for (row, star) in kept.iter().enumerate() {
            if let Some((_, labels)) = label_of(*star) {
                own.labels.row_mut(row).iter_mut().zip(labels).for_each(|(label, estimate)| *label = *estimate);
            }
        }
        let all = Fold { training: (0..kept.len()).collect(), test: Vec::new() };
        let again = train_again(trained, &Context { set: &own, ..*context }, &all)?;
        context.label("fitting labels", &fold.test, &*again.estimator(context))
    };
    let without = if faulty.is_empty() { result.estimates.clone() } else { test(false)? };
    let none_relabelled = !faulty.iter().any(|(finding, _)| finding.verdict.is_fault_of_labels());
    Ok(Retrained {
        suspects: faulty.iter().map(|(finding, _)| (finding.star, finding.verdict)).collect(),
        relabelled: if none_relabelled { without.clone() } else { test(true)? },
        without,
        training,
    })
}

/// The model, trained on another fold.
fn train_again(trained: &dyn Trained, context: &Context, fold: &Fold) -> Result<Box<dyn Trained>> {
    let name = "the model trained again";
    trained.again(&Job { name, context: *context, fold, earlier: &BTreeMap::new(), place: None })
}

/// Outliers among training stars, at positions of `training`, with their estimates by a model of others: one of those that
/// calibrated errors, or where there are none the model of the other half.
fn judge_training(
    context: &Context,
    training: &[usize],
    (trained, result): (&dyn Trained, &FoldResult),
    stars: &Catalogue,
    settings: &OutlierSettings,
) -> Result<Vec<(Finding, Vec<f64>)>> {
    let set = context.set;
    let mut rows = Vec::with_capacity(training.len());
    let mut gathered = Vec::with_capacity(training.len());
    let mut estimates = LabelEstimates::empty(set.label_names.len());
    // As many outliers as there are: a training set has no limit of what is worth a look.
    let settings = OutlierSettings { most: training.len(), ..settings.clone() };
    let mut add = |stars: &Fold, model: &dyn Trained, of_part: LabelEstimates| -> Result<()> {
        gathered.extend(gather(context, stars, model.flux_model(), &of_part, &settings, 0)?);
        estimates.append(of_part);
        rows.extend_from_slice(&stars.test);
        Ok(())
    };
    match &result.held_out {
        Some(held_out) if !result.parts.is_empty() => {
            for part in &result.parts {
                let test = part.stars.test.iter().copied().filter(|row| set.can_train(*row)).collect();
                let stars = Fold { test, training: part.stars.training.clone() };
                let of_part = held_out.of_rows(&stars.test);
                add(&stars, &*part.trained, of_part)?;
            }
        }
        _ => {
            for half in context.parts(training, 2, 0) {
                let again = train_again(trained, context, &half)?;
                let of_half = context.label("fitting training stars", &half.test, &*again.estimator(context))?;
                add(&half, &*again, of_half)?;
            }
        }
    }
    let flags: Vec<i64> = rows.iter().zip(&estimates.flags).map(|(row, fit)| set.flags(*row) | fit).collect();
    let cases = Cases {
        label_names: &set.label_names,
        stars: &stars.rows(&rows),
        estimates: &estimates,
        flags: &flags,
        gathered: &gathered,
        others: &[],
    };
    let findings = conclude(&cases, settings.sigma, settings.most);
    let position: BTreeMap<usize, usize> =
        training.iter().enumerate().map(|(position, row)| (*row, position)).collect();
    let named = |mut finding: Finding| {
        let labels = estimates.labels.row(finding.star).to_vec();
        finding.star = position[&rows[finding.star]];
        (finding, labels)
    };
    Ok(findings.into_iter().map(named).collect())
}

/// What removing and relabelling training stars does to the scatter of test stars.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effect {
    /// Stars that trained.
    pub n_training: usize,
    /// Suspects among them, by verdict: these were removed; or, where only the labels are at fault, relabelled.
    pub suspects: BTreeMap<&'static str, usize>,
    /// Where the truth tells: suspects by what was planted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub suspects_planted: BTreeMap<String, usize>,
    /// Where the truth tells: all training stars by what was planted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub training_planted: BTreeMap<String, usize>,
    /// Test stars the models were compared on.
    pub n_test: usize,
    /// Scatter of the test stars: `all` against the catalogue, `healthy` (or `others`, all that are no outliers) against
    /// the catalogue, and `healthy_vs_truth` where the truth is known; then by label.
    pub scatter: BTreeMap<&'static str, BTreeMap<String, Change>>,
}

/// One label's scatter under three training sets.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Change {
    /// As the run trained.
    pub before: Spread,
    /// Without the suspects.
    pub removed: Spread,
    /// Without those of bad spectra, and with estimates for the labels of the others.
    pub relabelled: Spread,
}

/// How far estimates scatter about references.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// Standard deviation.
    pub scatter: f64,
    /// 1.4826 x median absolute deviation.
    pub robust_scatter: f64,
}

impl Retrained {
    /// The effect on test stars, of which the first ones in `predictions` are the fold's. `outliers` are their positions;
    /// `truth` is about all stars of the set.
    pub(super) fn effect(&self, predictions: &Predictions, outliers: &[usize], truth: Option<&Truth>) -> Effect {
        let n_test = self.without.labels.nrows();
        let all: Vec<usize> = (0..n_test).collect();
        let pathology = predictions.truth.as_ref().and_then(|truth| truth.pathology.as_ref());
        let sound: Vec<usize> = match pathology {
            Some(pathology) => all.iter().copied().filter(|star| pathology[*star].is_empty()).collect(),
            None => all.iter().copied().filter(|star| !outliers.contains(star)).collect(),
        };
        let catalogue = predictions.catalogue.view();
        let mut scatter = BTreeMap::from([("all", self.changes(predictions, catalogue, &all))]);
        scatter
            .insert(if pathology.is_some() { HEALTHY } else { "others" }, self.changes(predictions, catalogue, &sound));
        if let (Some(truth), Some(_)) = (&predictions.truth, pathology) {
            scatter.insert("healthy_vs_truth", self.changes(predictions, truth.labels.view(), &sound));
        }
        let count = |names: &mut dyn Iterator<Item = String>| {
            let mut counts = BTreeMap::new();
            names.for_each(|name| *counts.entry(name).or_default() += 1);
            counts
        };
        let planted = |stars: &mut dyn Iterator<Item = usize>| match truth.and_then(|truth| truth.pathology.as_ref()) {
            Some(tags) => count(&mut stars.map(|star| match tags[self.training[star]].as_str() {
                "" => HEALTHY.to_string(),
                tag => tag.to_string(),
            })),
            None => BTreeMap::new(),
        };
        let mut suspects = BTreeMap::new();
        self.suspects.iter().for_each(|(_, verdict)| *suspects.entry(verdict.name()).or_default() += 1);
        Effect {
            n_training: self.training.len(),
            suspects,
            suspects_planted: planted(&mut self.suspects.iter().map(|(star, _)| *star)),
            training_planted: planted(&mut (0..self.training.len())),
            n_test,
            scatter,
        }
    }

    fn changes(
        &self,
        predictions: &Predictions,
        references: ArrayView2<f64>,
        stars: &[usize],
    ) -> BTreeMap<String, Change> {
        let references = references.select(Axis(0), stars);
        let spread = |estimates: &LabelEstimates, k: usize| {
            let of_stars = stars.iter().map(|star| estimates.labels[[*star, k]]).zip(references.column(k));
            let residuals: Vec<f64> = of_stars.map(|(e, r)| e - r).filter(|residual| residual.is_finite()).collect();
            Spread { scatter: standard_deviation(&residuals), robust_scatter: robust_scatter(&residuals) }
        };
        let change = |k: usize| Change {
            before: spread(&predictions.estimates, k),
            removed: spread(&self.without, k),
            relabelled: spread(&self.relabelled, k),
        };
        predictions.label_names.iter().cloned().zip((0..predictions.label_names.len()).map(change)).collect()
    }
}
