//! What a run found, short: a table of scatters, one of errors, and where the rest stands.

use super::sweep::{BEST, aligned};
use super::{counted, in_unit, label_title, plain, posterior, title_with_unit};
use crate::experiment::model_outcome::ModelOutcome;
use crate::experiment::outcome::Outcome;
use crate::findings::error_check::{CATALOGUE, HEALTHY_CATALOGUE, HEALTHY_TRUTH, TRUTH};
use crate::findings::groups::HEALTHY;
use crate::findings::metrics::LabelMetrics;
use crate::spectra::labels::unit;
use crate::spectra::split::Split;
use crate::stats::robust::median;

/// Labels and models that a table has, at most.
const MOST_LABELS: usize = 6;
const MOST_MODELS: usize = 16;
/// Steps whose time is told.
const STEPS: usize = 3;

/// What estimates are held against.
#[derive(Clone, Copy, PartialEq)]
enum Against {
    HealthyTruth,
    Truth,
    Catalogue,
}

impl Against {
    /// The nearest to the truth that all models have.
    fn of(models: &[ModelOutcome]) -> Self {
        let has = |against: Self, model: &ModelOutcome| {
            model.predictions.label_names.iter().any(|label| against.metrics(model, label).is_some())
        };
        let all = |against: Self| models.iter().all(|model| has(against, model));
        [Self::HealthyTruth, Self::Truth].into_iter().find(|against| all(*against)).unwrap_or(Self::Catalogue)
    }

    fn metrics<'a>(self, model: &'a ModelOutcome, label: &str) -> Option<&'a LabelMetrics> {
        let metrics = &model.metrics;
        match self {
            Self::HealthyTruth => metrics.by_pathology.get(HEALTHY)?.labels_vs_truth.get(label),
            Self::Truth => metrics.labels_vs_truth.get(label),
            Self::Catalogue => metrics.labels.get(label),
        }
    }

    /// Names of the checks of errors against it, the first that there is counts.
    fn checks(self) -> [&'static str; 2] {
        match self {
            Self::HealthyTruth => [HEALTHY_TRUTH, TRUTH],
            Self::Truth => [TRUTH, TRUTH],
            Self::Catalogue => [HEALTHY_CATALOGUE, CATALOGUE],
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::HealthyTruth => "truth, stars with which nothing is wrong",
            Self::Truth => "truth",
            Self::Catalogue => "catalogue",
        }
    }
}

/// The tables of a run in some ten lines and two for each model. `place` is where the rest stands.
pub fn summary(outcome: &Outcome, place: &str) -> String {
    let models = &outcome.models[..outcome.models.len().min(MOST_MODELS)];
    let Some(first) = models.first() else { return String::new() };
    let against = Against::of(&outcome.models);
    let labels = &first.predictions.label_names[..first.predictions.label_names.len().min(MOST_LABELS)];
    let check = if outcome.settings.split == Split::All {
        "; all of them taught the models: a check, and no result"
    } else {
        ""
    };
    let mark = if models.len() > 1 { format!(", {BEST} smallest of the label") } else { String::new() };
    let mut text = format!(
        "scatter of estimate - {}{mark}; robust scatter in brackets{check}\n{}",
        against.words(),
        aligned(&scatters(models, labels, against))
    );
    let errors = errors(models, labels, against);
    if errors.len() > 1 {
        text += &format!(
            "\nerror of one star, median, and how wide errors really are in units of it (pull, 1 expected)\n{}",
            aligned(&errors)
        );
    }
    text.push('\n');
    let n_labels = first.predictions.label_names.len() - labels.len();
    let n_models = outcome.models.len() - models.len();
    for (n, thing) in [(n_models, "more model"), (n_labels, "more label")] {
        if n > 0 {
            text += &format!("{} not shown here\n", counted(n, thing));
        }
    }
    if let Some(comparison) = outcome.comparison.as_ref().filter(|_| outcome.models.len() > 1) {
        text += &format!(
            "{} has the smallest robust scatter against the catalogue (geometric mean over the labels)\n",
            comparison.best
        );
    }
    let sampled = models.iter().filter_map(|model| Some((&model.name, model.posteriors.as_ref()?.metrics())));
    text.extend(sampled.map(|(name, found)| posterior::model_line(name, &found)));
    text + &times(outcome)
        + &format!("intervals, differences, flags and all else: report.html, or `maury report --text {place}`\n")
}

/// One line a model: stars, scatter of every label, stars that carry a flag.
fn scatters(models: &[ModelOutcome], labels: &[String], against: Against) -> Vec<Vec<String>> {
    let of =
        |model: &ModelOutcome, label: &str| against.metrics(model, label).map_or(f64::NAN, |metrics| metrics.scatter);
    let least: Vec<f64> =
        labels.iter().map(|label| models.iter().map(|model| of(model, label)).fold(f64::NAN, f64::min)).collect();
    let heads = labels.iter().map(|label| title_with_unit(label));
    let head = ["model", "trained on", "tested on"].map(String::from).into_iter().chain(heads);
    let mut lines = vec![head.chain(["flagged".to_string()]).collect::<Vec<String>>()];
    for model in models {
        let metrics = &model.metrics;
        let counts = labels.iter().filter_map(|label| against.metrics(model, label)).map(|of| of.n_stars);
        let (fewest, most) = counts.fold((usize::MAX, 0), |(fewest, most), n| (fewest.min(n), most.max(n)));
        let n_tested = if fewest < most { format!("{fewest} to {most}") } else { most.to_string() };
        let n_flagged = format!("{} of {}", metrics.n_flagged_any, metrics.n_test);
        let cells = labels.iter().zip(&least).map(|(label, least)| {
            let robust = against.metrics(model, label).map_or(f64::NAN, |metrics| metrics.robust_scatter);
            let mark = if models.len() > 1 && of(model, label) == *least { BEST } else { ' ' };
            format!("{}{mark} ({})", in_unit(of(model, label), unit(label)), in_unit(robust, unit(label)))
        });
        let begin = [model.name.clone(), metrics.n_train.to_string(), n_tested].into_iter();
        lines.push(begin.chain(cells).chain([n_flagged]).collect());
    }
    lines
}

/// One line a model that gives errors, calibrated ones where it has them: of every label the median, and the width of the pulls.
fn errors(models: &[ModelOutcome], labels: &[String], against: Against) -> Vec<Vec<String>> {
    let head = ["model", "errors"].map(String::from).into_iter().chain(labels.iter().map(|label| label_title(label)));
    let mut lines = vec![head.collect::<Vec<String>>()];
    for model in models {
        let (predictions, is_calibrated) = (&model.predictions, !model.calibration.is_empty());
        let checks = against.checks().into_iter().find_map(|name| model.metrics.error_checks.get(name));
        let mut has_some = false;
        let cells: Vec<String> = labels
            .iter()
            .enumerate()
            .map(|(k, label)| {
                let error = |star: usize| match is_calibrated {
                    true => predictions.calibrated_errors[[star, k]],
                    false => predictions.estimates.error(star, k),
                };
                let known: Vec<f64> = (0..predictions.n_stars()).map(error).filter(|error| error.is_finite()).collect();
                let check = checks.and_then(|checks| checks.get(label));
                let check = check
                    .and_then(|check| if is_calibrated { check.calibrated.as_ref() } else { check.formal.as_ref() });
                has_some |= !known.is_empty();
                let pull = check.map_or(f64::NAN, |check| check.pulls.robust_width);
                format!("{} ({})", in_unit(median(&known), unit(label)), plain(pull, 2))
            })
            .collect();
        if has_some {
            let kind = if is_calibrated { "calibrated" } else { "formal" };
            lines.push([model.name.clone(), kind.to_string()].into_iter().chain(cells).collect());
        }
    }
    lines
}

/// CPU seconds of all steps, and the longest of them.
fn times(outcome: &Outcome) -> String {
    let mut steps: Vec<(&str, f64)> = outcome.timings.steps().map(|(step, time)| (step, time.cpu_s)).collect();
    let total: f64 = steps.iter().map(|(_, seconds)| seconds).sum();
    steps.sort_by(|a, b| b.1.total_cmp(&a.1));
    let longest: Vec<String> = steps.iter().take(STEPS).map(|(step, seconds)| format!("{step} {seconds:.1}")).collect();
    format!("{total:.1} CPU seconds, of them {}\n", longest.join(", "))
}
