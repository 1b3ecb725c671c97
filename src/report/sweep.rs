//! A sweep as a plain-text table for the terminal.

use std::fmt::Write;

use super::{in_unit, title_with_unit};
use crate::experiment::sweep::outcome::{Reference, Row, SweepOutcome};
use crate::experiment::sweep::value_text;
use crate::spectra::labels::unit;

/// What follows the smallest scatter of each label.
pub(super) const BEST: char = '*';

/// One line per point and model: its values, stars, robust scatter per label, seconds of training and fitting.
pub fn table(outcome: &SweepOutcome) -> String {
    let tables: Vec<String> = outcome.references().into_iter().map(|reference| of(outcome, reference)).collect();
    tables.join("\n")
}

fn of(outcome: &SweepOutcome, reference: Reference) -> String {
    format!("{}: {}\n{}", outcome.slug, meaning(reference), aligned(&lines(outcome, reference)))
}

/// What the numbers of the table are.
pub(super) fn meaning(reference: Reference) -> String {
    let what = if reference == Reference::Truth { "truth" } else { "catalogue" };
    format!("robust scatter of estimate - {what}, {BEST} smallest of the label; seconds of wall time")
}

/// The table's cells, a head first; the line of a model, or a point, that failed ends with the reason.
pub(super) fn lines(outcome: &SweepOutcome, reference: Reference) -> Vec<Vec<String>> {
    let (rows, labels) = (outcome.rows(), outcome.labels());
    let mut head = vec!["point".to_string()];
    head.extend(short_names(&outcome.keys));
    head.extend(["model", "train", "test"].map(String::from));
    head.extend(labels.iter().map(|label| title_with_unit(label)));
    head.extend(["train s", "fit s"].map(String::from));
    let robust = |row: &Row, label: &str| row.label(label, reference, "robust_scatter");
    let best: Vec<f64> =
        labels.iter().map(|label| rows.iter().map(|row| robust(row, label)).fold(f64::NAN, f64::min)).collect();
    let mut lines = vec![head];
    for row in &rows {
        let mut line = vec![row.point.name.clone()];
        line.extend(row.point.values.iter().map(value_text));
        line.push(row.model.to_string());
        match row.failed() {
            None => {
                line.extend(["n_train", "n_test"].map(|count| row.number(count).to_string()));
                for (label, best) in labels.iter().zip(&best) {
                    let scatter = robust(row, label);
                    let mark = if scatter == *best { BEST } else { ' ' };
                    line.push(format!("{}{mark}", in_unit(scatter, unit(label))));
                }
                line.extend(["train", "fit"].map(|step| format!("{:.2}", row.seconds(step, "wall_s"))));
            }
            Some(reason) => line.push(format!("failed: {reason}")),
        }
        lines.push(line);
    }
    lines
}

/// Columns flush right, as wide as they must be; the last cell of a line that ends early runs on.
pub(super) fn aligned(lines: &[Vec<String>]) -> String {
    let n_columns = lines.first().map_or(0, Vec::len);
    let is_full = |line: &&Vec<String>| line.len() == n_columns;
    let widths: Vec<usize> = (0..n_columns)
        .map(|column| lines.iter().filter(is_full).map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        for (column, cell) in line.iter().enumerate() {
            let runs_on = column + 1 == line.len() && line.len() < n_columns;
            let width = if runs_on { 0 } else { widths[column] };
            let _ = write!(text, "  {cell:>width$}");
        }
        text.push('\n');
    }
    text
}

/// The shortest endings of dotted keys that still tell them apart.
pub fn short_names(keys: &[String]) -> Vec<String> {
    let ending = |key: &str, n_parts: usize| {
        let parts: Vec<&str> = key.split('.').collect();
        parts[parts.len().saturating_sub(n_parts)..].join(".")
    };
    let is_alone = |key: &String, n_parts: usize| {
        keys.iter().filter(|other| ending(other, n_parts) == ending(key, n_parts)).count() == 1
    };
    keys.iter()
        .map(|key| {
            let n_parts = (1..key.split('.').count()).find(|n_parts| is_alone(key, *n_parts));
            n_parts.map_or(key.clone(), |n_parts| ending(key, n_parts))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_short_as_they_can_be() {
        let short = |keys: &[&str]| short_names(&keys.iter().map(|key| key.to_string()).collect::<Vec<_>>());
        assert_eq!(short(&["continuum.order", "seed"]), ["order", "seed"]);
        assert_eq!(short(&["continuum.order", "models.a.cannon.order"]), ["continuum.order", "cannon.order"]);
        assert_eq!(short(&["models.a.cannon.order", "models.b.cannon.order"]), ["a.cannon.order", "b.cannon.order"]);
        assert_eq!(short(&["order", "continuum.order"]), ["order", "continuum.order"]);
    }

    #[test]
    fn a_line_that_ends_early_does_not_widen_a_column() {
        let lines = [vec!["point", "teff"], vec!["1", "12.5*"], vec!["failed: a long reason"]];
        let lines: Vec<Vec<String>> = lines.iter().map(|line| line.iter().map(|c| c.to_string()).collect()).collect();
        assert_eq!(aligned(&lines), "  point   teff\n      1  12.5*\n  failed: a long reason\n");
    }
}
