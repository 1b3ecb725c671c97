//! Errors that a model claims, errors it was found to make, and errors of the catalogue, side by side.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{in_unit, label_title, percent, plain};
use crate::experiment::model_outcome::ModelOutcome;
use crate::experiment::outcome::Outcome;
use crate::findings::error_check::{CATALOGUE, ErrorCheck, HEALTHY_CATALOGUE, HEALTHY_TRUTH, LabelErrorCheck, TRUTH};
use crate::inference::calibration::LabelCalibration;
use crate::spectra::labels::unit;
use crate::stats::robust::{mean, median};

/// Columns of the table of errors, one number per label.
struct Errors {
    formal: f64,
    held_out: f64,
    catalogue: f64,
    calibrated: f64,
    tested: f64,
}

/// What the columns of [`table`] mean.
pub const EXPLANATION: &str = "\
formal: median error that the model claims. held out: robust scatter of training stars that were estimated by models that had
not seen them, - catalogue: the error against this catalogue, whatever the catalogue's own are. catalogue: median error that
the catalogue claims. f: what that must be multiplied with to agree with the held-out stars. calibrated: median of
sqrt((a formal)^2 + b^2 + (c 100 / SNR)^2), with a, b, c and f from the held-out stars, wrong labels set apart: the error
against the truth where the catalogue claims errors, else against the catalogue. tested: robust scatter of the test stars.
pulls: robust width of (estimate - reference) / error, 1 expected, and stars within one error, 68% expected; against the
catalogue its own error, times f, counts too.
";

/// Formal, cross-validated, catalogue and calibrated errors of every model, and the pulls of the test stars; empty where no model
/// is calibrated.
pub fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    for model in outcome.models.iter().filter(|model| !model.calibration.is_empty()) {
        text += &errors_of(model);
    }
    if text.is_empty() {
        return text;
    }
    let words = words_on_catalogue(outcome);
    let words: String = words.iter().map(|sentence| format!("{sentence}\n")).collect();
    format!("{text}{EXPLANATION}{words}")
}

/// What held-out stars say of the catalogue's errors: labels whose errors look wrong, and labels that have none. Each label by the
/// model that knows it best.
pub fn words_on_catalogue(outcome: &Outcome) -> Vec<String> {
    let calibrated = || outcome.models.iter().filter(|model| !model.calibration.is_empty());
    let Some(first) = calibrated().next() else { return Vec::new() };
    let mut sentences = Vec::new();
    let mut unknown = Vec::new();
    for (k, label) in first.predictions.label_names.iter().enumerate() {
        let known = calibrated().filter_map(|model| mean_calibration(model, k));
        let Some(best) = known.min_by(|one, other| one.scatter.total_cmp(&other.scatter)) else { continue };
        let number = |value: f64| format!("{} {}", in_unit(value, unit(label)), unit(label)).trim_end().to_string();
        if !best.is_against_truth() {
            unknown.push(label_title(label));
        } else if let Some(words) = best.words_on_catalogue(&label_title(label)) {
            sentences.push(format!(
                "{words}: it claims {}, held-out stars differ from it by {} in all.",
                number(best.catalogue_error),
                number(best.scatter)
            ));
        }
        if best.is_overshadowed() {
            sentences.push(format!(
                "calibrated errors of {} are hardly known: held-out stars differ from the catalogue by {} in all, and by its own errors, \
                 as far as they are believed, they would by {}.",
                label_title(label),
                number(best.scatter),
                number(best.catalogue_factor * best.catalogue_error)
            ));
        }
    }
    if !unknown.is_empty() {
        sentences.push(format!(
            "calibrated errors of {} are against the catalogue: they include its own errors, which are not known.",
            unknown.join(", ")
        ));
    }
    sentences
}

fn errors_of(model: &ModelOutcome) -> String {
    let checks = &model.metrics.error_checks;
    let reference = [HEALTHY_TRUTH, TRUTH].into_iter().find(|name| checks.contains_key(*name));
    let beside = if checks.contains_key(HEALTHY_CATALOGUE) { HEALTHY_CATALOGUE } else { CATALOGUE };
    let mut text = format!(
        "{:<24} {:>9} {:>9} {:>9} {:>6} {:>10} {:>9} {:>6} {:>8} {:>8} {:>8}",
        format!("errors of {}", model.name),
        "formal",
        "held out",
        "catalogue",
        "f",
        "calibrated",
        "tested",
        "a",
        "b",
        "c",
        "bias"
    );
    let titles = std::iter::once(beside).chain(reference);
    titles.for_each(|name| {
        let _ = write!(text, " {:>26}", format!("pulls, {}", name.replace('_', " ")));
    });
    text.push('\n');
    for (k, label) in model.predictions.label_names.iter().enumerate() {
        let Some(calibration) = mean_calibration(model, k) else { continue };
        let errors = Errors::of(model, k, &calibration);
        let number = |value: f64| in_unit(value, unit(label));
        let _ = write!(
            text,
            "  {:<22} {:>9} {:>9} {:>9} {:>6} {:>10} {:>9} {:>6} {:>8} {:>8} {:>8}",
            format!("{} [{}]", label_title(label), unit(label)),
            number(errors.formal),
            number(errors.held_out),
            number(errors.catalogue),
            if calibration.is_against_truth() { plain(calibration.catalogue_factor, 2) } else { "-".into() },
            number(errors.calibrated),
            number(errors.tested),
            plain(calibration.formal_factor, 2),
            number(calibration.floor),
            number(calibration.noise),
            number(calibration.bias),
        );
        for name in std::iter::once(beside).chain(reference) {
            let check = checks.get(name).and_then(|labels: &BTreeMap<String, LabelErrorCheck>| labels.get(label));
            let pair = check.map(|check| format!("{} -> {}", pull(&check.formal), pull(&check.calibrated)));
            let _ = write!(text, " {:>26}", pair.unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// Width of the pulls and the stars within one error.
fn pull(check: &Option<ErrorCheck>) -> String {
    let words =
        |check: &ErrorCheck| format!("{} {}", plain(check.pulls.robust_width, 2), percent(check.pulls.within_1_error));
    check.as_ref().map_or("-".into(), words)
}

impl Errors {
    fn of(model: &ModelOutcome, k: usize, calibration: &LabelCalibration) -> Self {
        let predictions = &model.predictions;
        let finite = |value: &dyn Fn(usize) -> f64| {
            median(&(0..predictions.n_stars()).map(value).filter(|value| value.is_finite()).collect::<Vec<f64>>())
        };
        let tested = model.metrics.labels.get(&predictions.label_names[k]);
        Self {
            formal: finite(&|star| predictions.estimates.error(star, k)),
            held_out: calibration.scatter,
            catalogue: if calibration.catalogue_error > 0.0 { calibration.catalogue_error } else { f64::NAN },
            calibrated: finite(&|star| predictions.calibrated_errors[[star, k]]),
            tested: tested.map_or(f64::NAN, |metrics| metrics.robust_scatter),
        }
    }
}

/// The folds' calibrations of a label, averaged.
fn mean_calibration(model: &ModelOutcome, k: usize) -> Option<LabelCalibration> {
    let folds: Vec<LabelCalibration> = model.calibration.iter().filter_map(|fold| fold.labels[k].clone()).collect();
    let first = folds.first()?.clone();
    let of = |value: fn(&LabelCalibration) -> f64| mean(&folds.iter().map(value).collect::<Vec<f64>>());
    Some(LabelCalibration {
        formal_factor: of(|fold| fold.formal_factor),
        floor: of(|fold| fold.floor),
        noise: of(|fold| fold.noise),
        bias: of(|fold| fold.bias),
        scatter: of(|fold| fold.scatter),
        catalogue_error: of(|fold| fold.catalogue_error),
        // Factors are averaged as such: half and double make one.
        catalogue_factor: of(|fold| fold.catalogue_factor.ln()).exp(),
        catalogue_factor_error: of(|fold| fold.catalogue_factor_error),
        ..first
    })
}
