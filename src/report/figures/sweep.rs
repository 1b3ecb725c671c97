//! Scatter of every label against the first key of a sweep, one colour per combination of everything else.

use crate::error::Result;
use crate::experiment::sweep::outcome::{Reference, Row, SweepOutcome, value_number};
use crate::experiment::sweep::value_text;
use crate::plot::Figure;
use crate::plot::lines::{Curve, LineFigure, LinePanel, Measured, line_panels};
use crate::report::label_title;
use crate::report::sweep::short_names;
use crate::spectra::labels::unit;

/// The key whose values say how many stars trained only where there were as many: the number that did is drawn instead.
const TRAINING_SIZE: &str = "max_training_stars";

/// Draws the figure.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(outcome: &SweepOutcome, reference: Reference) -> Result<Figure> {
    let rows = outcome.rows();
    let key = outcome.keys.first().map_or("", String::as_str);
    let firsts = || rows.iter().filter_map(|row| row.point.values.first());
    let is_size = key == TRAINING_SIZE;
    let mut categories: Vec<String> = Vec::new();
    if !is_size && firsts().any(|value| value_number(value).is_none()) {
        for name in firsts().map(value_text) {
            if !categories.contains(&name) {
                categories.push(name);
            }
        }
    }
    let x = |row: &Row| -> f64 {
        let Some(value) = row.point.values.first() else { return f64::NAN };
        if is_size {
            return row.number("n_train");
        }
        let name = value_text(value);
        categories
            .iter()
            .position(|known| *known == name)
            .map(|index| index as f64)
            .or(value_number(value))
            .unwrap_or(f64::NAN)
    };
    let (kinds, kind_of) = kinds(outcome, &rows);
    let panels: Vec<LinePanel> = outcome
        .labels()
        .into_iter()
        .map(|label| {
            let curves = (0..kinds.len()).flat_map(|kind| [false, true].map(|is_second| (kind, is_second)));
            let curve = |(kind, is_second): (usize, bool)| {
                let mut points: Vec<Measured> = rows
                    .iter()
                    .zip(&kind_of)
                    .filter(|(_, of)| **of == kind)
                    .map(|(row, _)| measured(row, label, reference, is_second, x(row)))
                    .collect();
                points.sort_by(|a, b| a.x.total_cmp(&b.x));
                Curve { kind, is_second, points }
            };
            let unit = unit(label);
            let unit = if unit.is_empty() { String::new() } else { format!(" [{unit}]") };
            LinePanel { title: format!("scatter of {}{unit}", label_title(label)), curves: curves.map(curve).collect() }
        })
        .collect();
    let what = if reference == Reference::Truth { "truth" } else { "catalogue" };
    let interval = match outcome.interval_level() {
        Some(level) => format!("bars: {:.0}% bootstrap interval", 100.0 * level),
        None => "bars: bootstrap interval".to_string(),
    };
    let figure = LineFigure {
        title: &format!("{}: scatter of estimate \u{2212} {what}", outcome.slug),
        x_title: if is_size { "training stars" } else { key },
        categories: &categories,
        kinds: &kinds,
        ticks_at_values: true,
        styles: ["standard deviation", "robust (1.4826 MAD)"],
        remark: &interval,
    };
    line_panels(&figure, &panels)
}

fn measured(row: &Row, label: &str, reference: Reference, robust: bool, x: f64) -> Measured {
    let scatter = if robust { "robust_scatter" } else { "scatter" };
    let end = |which: usize| row.label(label, reference, &format!("{scatter}_interval/{which}"));
    Measured { x, value: row.label(label, reference, scatter), interval: (end(0), end(1)) }
}

/// Combinations of model and every key but the first, named, and which of them each row belongs to.
fn kinds(outcome: &SweepOutcome, rows: &[Row]) -> (Vec<String>, Vec<usize>) {
    let names = short_names(&outcome.keys);
    let several_models = rows.iter().any(|row| row.model != rows[0].model);
    let mut kinds: Vec<String> = Vec::new();
    let kind_of = rows
        .iter()
        .map(|row| {
            let mut parts: Vec<String> = Vec::new();
            if several_models || names.len() < 2 {
                parts.push(row.model.to_string());
            }
            let others = names.iter().zip(&row.point.values).skip(1);
            parts.extend(others.map(|(name, value)| format!("{name} = {}", value_text(value))));
            let kind = parts.join(", ");
            kinds.iter().position(|known| *known == kind).unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            })
        })
        .collect();
    (kinds, kind_of)
}
