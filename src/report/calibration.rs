//! Errors that a model claims, errors it was found to make, and errors of the catalogue, side by side.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{in_unit, label_title, percent, plain};
use crate::experiment::error_check::{CATALOGUE, ErrorCheck, HEALTHY_CATALOGUE, HEALTHY_TRUTH, LabelErrorCheck, TRUTH};
use crate::experiment::outcome::{ModelOutcome, Outcome};
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
not seen them, - catalogue. catalogue: median error that the catalogue claims; no estimate can agree with it better. calibrated:
median of sqrt((a formal)^2 + b^2 + (c 100 / SNR)^2), with a, b and c from the held-out stars, the catalogue's errors and wrong
labels set apart. tested: robust scatter of the test stars. pulls: robust width of (estimate - reference) / error, 1 expected,
and stars within one error, 68% expected; against the catalogue its own error counts too.
";

/// Formal, cross-validated, catalogue and calibrated errors of every model, and the pulls of the test stars; empty where no model
/// is calibrated.
pub fn table(outcome: &Outcome) -> String {
    let mut text = String::new();
    for model in outcome.models.iter().filter(|model| !model.calibration.is_empty()) {
        text += &errors_of(model);
    }
    if text.is_empty() { text } else { format!("{text}{EXPLANATION}") }
}

fn errors_of(model: &ModelOutcome) -> String {
    let checks = &model.metrics.error_checks;
    let reference = [HEALTHY_TRUTH, TRUTH].into_iter().find(|name| checks.contains_key(*name));
    let beside = if checks.contains_key(HEALTHY_CATALOGUE) { HEALTHY_CATALOGUE } else { CATALOGUE };
    let mut text = format!(
        "{:<24} {:>9} {:>9} {:>9} {:>10} {:>9} {:>6} {:>8} {:>8} {:>8}",
        format!("errors of {}", model.name),
        "formal",
        "held out",
        "catalogue",
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
            "  {:<22} {:>9} {:>9} {:>9} {:>10} {:>9} {:>6} {:>8} {:>8} {:>8}",
            format!("{} [{}]", label_title(label), unit(label)),
            number(errors.formal),
            number(errors.held_out),
            number(errors.catalogue),
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
        ..first
    })
}
