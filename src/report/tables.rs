//! Tables as plain text for the terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{counted, in_unit, label_title, percent, plain, saturation};
use crate::data::selection::Cut;
use crate::experiment::emulate::Emulation;
use crate::experiment::model_outcome::ModelOutcome;
use crate::experiment::outcome::Outcome;
use crate::findings::groups::HEALTHY;
use crate::findings::metrics::{GroupMetrics, LabelMetrics};
use crate::findings::pulls::EXPECTED_WITHIN;
use crate::spectra::labels::unit;
use crate::spectra::split::Split;
use crate::timings::Timings;

/// What each cut of a selection removed and left.
pub fn cuts_table(cuts: &[Cut]) -> String {
    cuts.iter().map(|cut| format!("{:<40} {:>7} removed {:>7} left\n", cut.name, cut.removed, cut.left)).collect()
}

/// Bias and scatter of every label of every model, with bootstrap intervals; then the stars that carry flags.
pub fn metrics_table(outcome: &Outcome) -> String {
    let mut text = String::new();
    for model in &outcome.models {
        let metrics = &model.metrics;
        let _ = writeln!(
            text,
            "{}: trained on {}, tested on {}{}, median reduced chi^2 {}",
            model.name,
            counted(metrics.n_train, "star"),
            metrics.n_test,
            if outcome.settings.split == Split::All { " of the same: a check, and no result" } else { "" },
            plain(metrics.chi2_reduced_median, 2)
        );
        if let Some(words) = model.nuisance_words() {
            let _ = writeln!(text, "  {words}");
        }
        let in_order = |metrics| model.predictions.label_names.iter().filter_map(move |label| in_map(metrics, label));
        text += &rows("estimate - catalogue", outcome.settings.bootstrap.level, in_order(&metrics.labels));
        if metrics.by_pathology.is_empty() && !metrics.labels_vs_truth.is_empty() {
            text += &rows("estimate - truth", outcome.settings.bootstrap.level, in_order(&metrics.labels_vs_truth));
        }
        if let Some(healthy) = metrics.by_pathology.get(HEALTHY) {
            text += &rows("healthy, - catalogue", outcome.settings.bootstrap.level, in_order(&healthy.labels));
            text += &rows("healthy, - truth", outcome.settings.bootstrap.level, in_order(&healthy.labels_vs_truth));
            text += &pathologies(&metrics.by_pathology, &model.predictions.label_names);
        }
        text += &saturation::lines(metrics, &model.predictions.label_names);
        for (flag, count) in &metrics.n_flagged {
            let _ = writeln!(text, "  {} flagged {flag}", counted(*count, "test star"));
        }
    }
    let has_errors = |model: &ModelOutcome| model.metrics.labels.values().any(|label| label.pulls.is_some());
    if outcome.models.iter().any(has_errors) {
        let [one, two] = EXPECTED_WITHIN.map(|fraction| 100.0 * fraction);
        let _ = writeln!(
            text,
            "pull: robust width of (estimate - reference) / formal error, 1 expected; within 1, 2: stars within so many \
             formal\nerrors, {one:.0}% and {two:.0}% expected"
        );
    }
    text
}

/// Root mean square of estimate - truth for the stars of each pathology.
fn pathologies(groups: &BTreeMap<String, GroupMetrics>, label_names: &[String]) -> String {
    let mut text = format!("  {:<22} {:>6}", "rms of - truth, by kind", "stars");
    for label in label_names {
        text += &format!(" {:>15}", format!("{} [{}]", label_title(label), unit(label)));
    }
    text.push('\n');
    for (kind, group) in groups {
        let _ = write!(text, "  {kind:<22} {:>6}", group.n_test);
        for label in label_names {
            let rms = group.labels_vs_truth.get(label).map_or(f64::NAN, |metrics| metrics.bias.hypot(metrics.scatter));
            let _ = write!(text, " {:>15}", in_unit(rms, unit(label)));
        }
        text.push('\n');
    }
    text
}

fn in_map<'a>(metrics: &'a BTreeMap<String, LabelMetrics>, label: &str) -> Option<(&'a String, &'a LabelMetrics)> {
    metrics.get_key_value(label)
}

fn rows<'a>(what: &str, level: f64, labels: impl Iterator<Item = (&'a String, &'a LabelMetrics)>) -> String {
    let interval = format!("{:.0}% interval", 100.0 * level);
    let mut text = format!(
        "  {what:<22} {:>9} {:>19} {:>9} {:>19} {:>9} {:>9} {:>6} {:>6} {:>9} {:>4}\n",
        "bias", interval, "scatter", interval, "robust", "med|d|", "stars", "pull", "within 1", "2"
    );
    for (label, metrics) in labels {
        let unit = unit(label);
        let number = |value: f64| in_unit(value, unit);
        let interval = |(low, high): (f64, f64)| format!("[{}, {}]", number(low), number(high));
        let _ = writeln!(
            text,
            "  {:<22} {:>9} {:>19} {:>9} {:>19} {:>9} {:>9} {:>6} {:>6} {:>9} {:>4}",
            format!("{} [{unit}]", label_title(label)),
            number(metrics.bias),
            interval(metrics.bias_interval),
            number(metrics.scatter),
            interval(metrics.scatter_interval),
            number(metrics.robust_scatter),
            number(metrics.median_abs_error),
            metrics.n_stars,
            metrics.pulls.map_or("-".into(), |pulls| plain(pulls.robust_width, 2)),
            metrics.pulls.map_or("-".into(), |pulls| percent(pulls.within_1_error)),
            metrics.pulls.map_or("-".into(), |pulls| percent(pulls.within_2_errors)),
        );
    }
    text
}

/// Errors of an emulator on models held out.
pub fn emulation_table(emulation: &Emulation) -> String {
    let metrics = &emulation.metrics;
    let mut text = format!(
        "{}: trained on {} models, tested on {}; {} parameters\n",
        emulation.name, metrics.n_training, metrics.n_held_out, metrics.n_parameters
    );
    let _ = writeln!(
        text,
        "  rms error of the flux  {:.5} (of the models trained on {:.5})",
        metrics.rms, metrics.rms_training
    );
    let _ = writeln!(
        text,
        "  of single models       median {:.5}, 95% below {:.5}, worst {:.5}; worst pixel {:.4}",
        metrics.rms_median, metrics.rms_95, metrics.rms_worst, metrics.largest
    );
    for (feature, rms) in &metrics.rms_of_features {
        let _ = writeln!(text, "  at {feature:<20}{rms:.5}");
    }
    text
}

/// Times of the steps of a run.
pub fn timings_table(timings: &Timings) -> String {
    let mut text = format!("  {:<22} {:>9} {:>9}\n", "step", "wall s", "CPU s");
    for (step, time) in timings.steps() {
        let _ = writeln!(text, "  {step:<22} {:>9.2} {:>9.2}", time.wall_s, time.cpu_s);
    }
    text
}
