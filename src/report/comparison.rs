//! Models side by side as plain text for the terminal.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{counted, in_unit, label_title, percent, plain, title_with_unit};
use crate::findings::comparison::Comparison;
use crate::findings::comparison::agreement::AgreedLabel;
use crate::findings::comparison::contestant::Contestant;
use crate::findings::comparison::paired::PairedLabel;
use crate::spectra::labels::unit;
use crate::stats::paired::Difference;

/// Marks a difference whose interval does not hold zero.
const CLEAR: char = '*';

/// What compares models: differences from the best one, how far models are apart, stars that speak against the catalogue.
pub fn table(comparison: &Comparison) -> String {
    let pairs = comparison.against_best();
    if pairs.is_empty() {
        return String::new();
    }
    let best = &comparison.best;
    let mut text = format!(
        "{best} has the smallest robust scatter (geometric mean over the labels). The others minus {best}, star by star:\n\
         positive is worse, {CLEAR} differs from 0 by the {:.0}% interval, better: in so many of {} resamples\n",
        100.0 * comparison.interval_level,
        comparison.n_resamples
    );
    let of = |labels: fn(&crate::findings::comparison::paired::Paired) -> &BTreeMap<String, PairedLabel>| {
        pairs.iter().map(|pair| (pair.first.as_str(), labels(pair))).collect::<Vec<_>>()
    };
    text += &differences("- catalogue", comparison, &of(|pair| &pair.labels));
    let healthy = differences("healthy, - truth", comparison, &of(|pair| &pair.healthy_vs_truth));
    if healthy.is_empty() {
        text += &differences("- truth", comparison, &of(|pair| &pair.labels_vs_truth));
    }
    text += &healthy;
    text += &agreement(comparison);
    text + &suspects(comparison)
}

/// One line per label and model; nothing where nothing was compared.
fn differences(what: &str, comparison: &Comparison, pairs: &[(&str, &BTreeMap<String, PairedLabel>)]) -> String {
    if pairs.iter().all(|(_, labels)| labels.is_empty()) {
        return String::new();
    }
    let name_width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0) + 2;
    let mut text = format!("  {what:<18}{:<name_width$}", "");
    for statistic in ["scatter", "robust"] {
        let _ = write!(text, "{statistic:>10}{:>21} {:>7}", "interval", "better");
    }
    text += &format!("{:>7}\n", "stars");
    for label in &comparison.labels {
        let unit = unit(label);
        for (index, (name, labels)) in pairs.iter().enumerate() {
            let Some(pair) = labels.get(label) else { continue };
            let title = if index == 0 { title_with_unit(label) } else { String::new() };
            let _ = write!(text, "  {title:<18}{name:<name_width$}");
            for difference in [pair.scatter, pair.robust_scatter] {
                text += &cells(&difference, unit);
            }
            let _ = writeln!(text, "{:>7}", pair.n_stars);
        }
    }
    text
}

fn cells(difference: &Difference, unit: &str) -> String {
    let number = |value: f64| signed(value, unit);
    let mark = if difference.is_clear() { CLEAR } else { ' ' };
    let interval = format!("[{}, {}]", number(difference.interval.0), number(difference.interval.1));
    let better = percent(difference.fraction_first_smaller);
    format!("{:>10}{interval:>21}{mark}{better:>7}", number(difference.value))
}

/// A number in its unit with its sign.
pub(super) fn signed(value: f64, unit: &str) -> String {
    let text = in_unit(value, unit);
    let is_zero = text.chars().all(|c| ['0', '.', '-'].contains(&c));
    match (value.is_finite(), is_zero) {
        (false, _) => text,
        (true, true) => text.trim_start_matches('-').to_string(),
        (true, false) if value > 0.0 => format!("+{text}"),
        _ => text,
    }
}

/// Robust scatter between every model and the best, and the correlation of the ranks of their errors.
fn agreement(comparison: &Comparison) -> String {
    let best = &comparison.best;
    let mut text = format!("  {:<34}", format!("minus {best}"));
    for label in &comparison.labels {
        let _ = write!(text, "{:>16}", title_with_unit(label));
    }
    text.push('\n');
    for (other, labels) in agreements_with_best(comparison) {
        type Cell = fn(&AgreedLabel, &str) -> String;
        let lines: [(&str, Cell); 2] = [
            ("robust scatter", |of, unit| in_unit(of.robust_scatter, unit)),
            ("error correlation", |of, _| plain(of.error_rank_correlation, 2)),
        ];
        for (what, cell) in lines {
            let _ = write!(text, "  {:<34}", format!("{other}, {what}"));
            for label in &comparison.labels {
                let cell = labels.get(label).map_or("-".into(), |of| cell(of, unit(label)));
                let _ = write!(text, "{cell:>16}");
            }
            text.push('\n');
        }
    }
    text
}

/// How each other model agrees with the best.
pub(super) fn agreements_with_best(comparison: &Comparison) -> Vec<(&str, &BTreeMap<String, AgreedLabel>)> {
    let best = &comparison.best;
    let other = |first: &'_ str, second: &'_ str| first == best || second == best;
    let pairs = comparison.agreement.iter().filter(|pair| other(&pair.first, &pair.second));
    pairs
        .map(|pair| (if pair.first == *best { pair.second.as_str() } else { pair.first.as_str() }, &pair.labels))
        .collect()
}

fn suspects(comparison: &Comparison) -> String {
    let found = &comparison.against_catalogue;
    if found.is_empty() {
        return String::new();
    }
    let mut ids: Vec<&str> = found.iter().map(|suspect| suspect.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    let count = |label: &String| (label_title(label), found.iter().filter(|of| of.label == *label).count());
    let counts: Vec<String> = comparison
        .labels
        .iter()
        .map(count)
        .filter(|(_, count)| *count > 0)
        .map(|(title, count)| format!("{count} in {title}"))
        .collect();
    format!(
        "  {} on which models agree with each other and not with the catalogue ({}): against_catalogue in the JSON\n",
        counted(ids.len(), "star"),
        counts.join(", ")
    )
}

/// Bias, scatter and pulls of every label of every model: the table of a comparison of runs.
pub fn metrics(comparison: &Comparison, contestants: &[Contestant]) -> String {
    let name_width = contestants.iter().map(|of| of.name.chars().count()).max().unwrap_or(0) + 2;
    let mut text = format!(
        "{} on {}, estimate - catalogue, {:.0}% intervals\n",
        counted(contestants.len(), "model"),
        counted(comparison.n_stars, "test star"),
        100.0 * comparison.interval_level
    );
    let _ = writeln!(
        text,
        "  {:<18}{:<name_width$} {:>9} {:>9} {:>19} {:>9} {:>19} {:>9} {:>6} {:>9} {:>4} {:>6}",
        "", "", "bias", "scatter", "interval", "robust", "interval", "med|d|", "pull", "within 1", "2", "stars"
    );
    for label in &comparison.labels {
        let unit = unit(label);
        let number = |value: f64| in_unit(value, unit);
        let interval = |(low, high): (f64, f64)| format!("[{}, {}]", number(low), number(high));
        for (index, contestant) in contestants.iter().enumerate() {
            let Some(of) = contestant.metrics.labels.get(label) else { continue };
            let title = if index == 0 { title_with_unit(label) } else { String::new() };
            let _ = writeln!(
                text,
                "  {title:<18}{:<name_width$} {:>9} {:>9} {:>19} {:>9} {:>19} {:>9} {:>6} {:>9} {:>4} {:>6}",
                contestant.name,
                number(of.bias),
                number(of.scatter),
                interval(of.scatter_interval),
                number(of.robust_scatter),
                interval(of.robust_scatter_interval),
                number(of.median_abs_error),
                of.pulls.map_or("-".into(), |pulls| plain(pulls.robust_width, 2)),
                of.pulls.map_or("-".into(), |pulls| percent(pulls.within_1_error)),
                of.pulls.map_or("-".into(), |pulls| percent(pulls.within_2_errors)),
                of.n_stars
            );
        }
    }
    text + PULLS
}

/// What the columns of pulls are.
const PULLS: &str = "  pull: robust width of (estimate - catalogue) / formal error, 1 expected; within 1, 2: stars within so many formal errors\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_show_their_sign_and_no_negative_zero() {
        let shown = [12.34, -0.7, 0.0, -0.01, f64::NAN].map(|value| signed(value, "K"));
        assert_eq!(shown, ["+12.3", "-0.7", "0.0", "0.0", "-"]);
        let clear = Difference { value: 3.0, interval: (1.0, 5.0), fraction_first_smaller: 0.012 };
        assert_eq!(cells(&clear, "K"), "      +3.0         [+1.0, +5.0]*     1%");
    }
}
