//! Tables as plain text for the terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{in_unit, label_title};
use crate::experiment::metrics::LabelMetrics;
use crate::experiment::outcome::Outcome;
use crate::spectra::labels::unit;

/// Bias and scatter of every label of every model, with bootstrap intervals; then the stars that carry flags.
pub fn metrics_table(outcome: &Outcome) -> String {
    let mut text = String::new();
    for model in &outcome.models {
        let metrics = &model.metrics;
        let _ = writeln!(
            text,
            "{}: trained on {} stars, tested on {}, median reduced chi^2 {:.2}",
            model.name, metrics.n_train, metrics.n_test, metrics.chi2_reduced_median
        );
        let in_order = |metrics| model.predictions.label_names.iter().filter_map(move |label| in_map(metrics, label));
        text += &rows("estimate - catalogue", outcome.interval_level, in_order(&metrics.labels));
        if !metrics.labels_vs_truth.is_empty() {
            text += &rows("estimate - truth", outcome.interval_level, in_order(&metrics.labels_vs_truth));
        }
        for (flag, count) in &metrics.n_flagged {
            let _ = writeln!(text, "  {count} test stars flagged {flag}");
        }
    }
    text
}

fn in_map<'a>(metrics: &'a BTreeMap<String, LabelMetrics>, label: &str) -> Option<(&'a String, &'a LabelMetrics)> {
    metrics.get_key_value(label)
}

fn rows<'a>(what: &str, level: f64, labels: impl Iterator<Item = (&'a String, &'a LabelMetrics)>) -> String {
    let interval = format!("{:.0}% interval", 100.0 * level);
    let mut text = format!(
        "  {what:<22}{:>10}{:>20}{:>10}{:>20}{:>10}{:>10}{:>7}\n",
        "bias", interval, "scatter", interval, "robust", "med|d|", "stars"
    );
    for (label, metrics) in labels {
        let unit = unit(label);
        let number = |value: f64| in_unit(value, unit);
        let interval = |(low, high): (f64, f64)| format!("[{}, {}]", number(low), number(high));
        let _ = writeln!(
            text,
            "  {:<22}{:>10}{:>20}{:>10}{:>20}{:>10}{:>10}{:>7}",
            format!("{} [{unit}]", label_title(label)),
            number(metrics.bias),
            interval(metrics.bias_interval),
            number(metrics.scatter),
            interval(metrics.scatter_interval),
            number(metrics.robust_scatter),
            number(metrics.median_abs_error),
            metrics.n_stars
        );
    }
    text
}

/// Times of the steps of a run.
pub fn timings_table(outcome: &Outcome) -> String {
    let mut text = format!("  {:<22}{:>10}{:>10}\n", "step", "wall s", "CPU s");
    for (step, time) in outcome.timings.steps() {
        let _ = writeln!(text, "  {step:<22}{:>10.2}{:>10.2}", time.wall_s, time.cpu_s);
    }
    text
}
