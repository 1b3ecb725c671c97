//! Models side by side: scatters with their intervals, differences, errors along SNR and labels, estimates of one model against
//! those of another.

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::error::Result;
use crate::findings::comparison::Comparison;
use crate::findings::comparison::contestant::Contestant;
use crate::findings::comparison::dependence::{BinnedError, Dependence, SNR};
use crate::findings::comparison::paired::{Paired, PairedLabel};
use crate::findings::groups::HEALTHY;
use crate::findings::metrics::LabelMetrics;
use crate::plot::Figure;
use crate::plot::forest::{Bar, ForestFigure, ForestPanel, forest};
use crate::plot::lines::{Curve, LineFigure, LinePanel, Measured, line_panels};
use crate::plot::one_to_one::{OneToOnePanel, Sides, against};
use crate::report::{in_unit, label_title, title_with_unit};
use crate::spectra::labels::unit;
use crate::stats::paired::Difference;

/// A figure under the name of its file.
pub type NamedFigure = (String, Figure);

const ROBUST: &str = "robust (1.4826 MAD)";
const STANDARD: &str = "standard deviation";

/// All figures of a comparison; of one model alone only its errors along SNR and labels.
///
/// # Errors
/// [`crate::error::Error::Figure`].
pub fn draw(comparison: &Comparison, contestants: &[Contestant]) -> Result<Vec<NamedFigure>> {
    let mut figures = Vec::new();
    if contestants.len() > 1 {
        figures.extend(scatters(comparison, contestants)?);
        figures.extend(differences(comparison)?);
    }
    let errors = comparison.dependence.iter().flat_map(|of| [(of, Error::Scatter), (of, Error::Bias)]);
    let best = &contestants[comparison.best_index()];
    let others: Vec<&Contestant> = contestants.iter().filter(|other| other.name != best.name).collect();
    // The drawing of PNGs takes longest of all.
    let lines: Result<Vec<NamedFigure>> = errors
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(of, error)| Ok((format!("{}_vs_{}", error.name(), of.against), along(comparison, of, error)?)))
        .collect();
    let pairs: Result<Vec<NamedFigure>> = others
        .into_par_iter()
        .map(|other| {
            let name = format!("agreement-{}-{}", file_name(other.name), file_name(best.name));
            Ok((name, agreement(comparison, other, best)?))
        })
        .collect();
    figures.extend(lines?);
    figures.extend(pairs?);
    Ok(figures)
}

/// Names of models of several runs hold a slash.
pub fn file_name(model: &str) -> String {
    model.replace(['/', '\\'], "-")
}

fn interval_words(comparison: &Comparison) -> String {
    format!("bars: {:.0}% bootstrap interval", 100.0 * comparison.interval_level)
}

/// Scatter of every label of every model, against the catalogue and against the truth where it is known.
fn scatters(comparison: &Comparison, contestants: &[Contestant]) -> Result<Vec<NamedFigure>> {
    type Metrics<'a> = BTreeMap<&'a str, &'a BTreeMap<String, LabelMetrics>>;
    let catalogue: Metrics = contestants.iter().map(|of| (of.name, &of.metrics.labels)).collect();
    let truth: Metrics = contestants.iter().map(|of| (of.name, &of.metrics.labels_vs_truth)).collect();
    let healthy: Metrics = contestants
        .iter()
        .filter_map(|of| Some((of.name, &of.metrics.by_pathology.get(HEALTHY)?.labels_vs_truth)))
        .collect();
    let known = |metrics: &Metrics| metrics.values().any(|labels| !labels.is_empty());
    let mut kinds = vec![("scatter", "catalogue", &catalogue)];
    if known(&healthy) {
        kinds.push(("scatter-vs_truth", "truth, healthy stars", &healthy));
    } else if known(&truth) {
        kinds.push(("scatter-vs_truth", "truth", &truth));
    }
    let remark = interval_words(comparison);
    let colors: Vec<usize> = (0..comparison.models.len()).collect();
    let draw = |(name, what, metrics): (&str, &str, &Metrics)| {
        let bar = |value, interval| Bar { value, interval };
        let nothing = bar(f64::NAN, (f64::NAN, f64::NAN));
        let row = |model: &String, label: &str| match metrics.get(model.as_str()).and_then(|of| of.get(label)) {
            Some(of) => {
                (bar(of.robust_scatter, of.robust_scatter_interval), Some(bar(of.scatter, of.scatter_interval)))
            }
            None => (nothing, None),
        };
        let panel = |label: &String| ForestPanel {
            title: format!("scatter of {}", title_with_unit(label)),
            rows: comparison.models.iter().map(|model| row(model, label)).collect(),
        };
        let n_stars = metrics.values().flat_map(|of| of.values()).map(|of| of.n_stars).max().unwrap_or(0);
        let figure = ForestFigure {
            title: &format!("scatter of estimate \u{2212} {what}, {n_stars} stars"),
            names: &comparison.models,
            colors: (&colors, colors.len()),
            styles: [ROBUST, STANDARD],
            is_about_zero: false,
            remark: &remark,
        };
        Ok((name.to_string(), forest(&figure, &comparison.labels.iter().map(panel).collect::<Vec<_>>())?))
    };
    kinds.into_iter().map(draw).collect()
}

/// How much larger each model's scatter is than the best one's, star by star.
fn differences(comparison: &Comparison) -> Result<Vec<NamedFigure>> {
    let pairs = comparison.against_best();
    let names: Vec<String> = pairs.iter().map(|pair| pair.first.clone()).collect();
    let index = |name: &String| comparison.models.iter().position(|model| model == name).unwrap_or(0);
    let colors: Vec<usize> = names.iter().map(index).collect();
    let remark = interval_words(comparison);
    let bar = |difference: &Difference| Bar { value: difference.value, interval: difference.interval };
    let nothing = Bar { value: f64::NAN, interval: (f64::NAN, f64::NAN) };
    type Labels = fn(&Paired) -> &BTreeMap<String, PairedLabel>;
    let kinds: [(&str, &str, Labels); 2] = [
        ("difference", "catalogue", |pair| &pair.labels),
        ("difference-vs_truth", "truth", |pair| match pair.healthy_vs_truth.is_empty() {
            true => &pair.labels_vs_truth,
            false => &pair.healthy_vs_truth,
        }),
    ];
    let healthy = pairs.iter().any(|pair| !pair.healthy_vs_truth.is_empty());
    let draw = |(name, what, labels): (&str, &str, Labels)| {
        let what = if what == "truth" && healthy { "truth, healthy stars" } else { what };
        let panel = |label: &String| ForestPanel {
            title: format!("\u{394} scatter, {}", title_with_unit(label)),
            rows: pairs
                .iter()
                .map(|pair| match labels(pair).get(label) {
                    Some(of) => (bar(&of.robust_scatter), Some(bar(&of.scatter))),
                    None => (nothing, None),
                })
                .collect(),
        };
        let figure = ForestFigure {
            title: &format!("scatter of estimate \u{2212} {what}: minus that of {}", comparison.best),
            names: &names,
            colors: (&colors, comparison.models.len()),
            styles: [ROBUST, STANDARD],
            is_about_zero: true,
            remark: &format!("right of 0: worse than {}; {remark}", comparison.best),
        };
        Ok((name.to_string(), forest(&figure, &comparison.labels.iter().map(panel).collect::<Vec<_>>())?))
    };
    let has_values = |labels: Labels| pairs.iter().any(|pair| !labels(pair).is_empty());
    kinds.into_iter().filter(|(_, _, labels)| has_values(*labels)).map(draw).collect()
}

/// What is drawn along a quantity.
#[derive(Clone, Copy, PartialEq)]
enum Error {
    Scatter,
    Bias,
}

impl Error {
    fn name(self) -> &'static str {
        if self == Self::Scatter { "scatter" } else { "bias" }
    }
}

/// Errors of every label in bins of one quantity, one line per model.
fn along(comparison: &Comparison, of: &Dependence, error: Error) -> Result<Figure> {
    let what = if error == Error::Scatter { "robust scatter" } else { "median bias" };
    let measured = |x: f64, binned: &BinnedError| match error {
        Error::Scatter => Measured { x, value: binned.robust_scatter, interval: binned.robust_scatter_interval },
        Error::Bias => Measured { x, value: binned.bias, interval: binned.bias_interval },
    };
    let panel = |(label, by_model): (&String, &Vec<Vec<BinnedError>>)| {
        let curve = |(kind, errors): (usize, &Vec<BinnedError>)| Curve {
            kind,
            is_second: false,
            points: of.bins.iter().zip(errors).map(|(bin, error)| measured(bin.centre, error)).collect(),
        };
        let title = format!("{what} of {}", title_with_unit(label));
        LinePanel { title, curves: by_model.iter().enumerate().map(curve).collect() }
    };
    let panels: Vec<LinePanel> = comparison.labels.iter().zip(&of.errors).map(panel).collect();
    let x_title = match of.against.as_str() {
        SNR => "SNR per pixel".to_string(),
        label => format!("catalogue {}", title_with_unit(label)),
    };
    let fewest = of.bins.iter().map(|bin| bin.stars.len()).min().unwrap_or(0);
    let one = |model: &String| format!("{model}, ");
    let alone =
        if comparison.models.len() == 1 { comparison.models.first().map_or(String::new(), one) } else { String::new() };
    let figure = LineFigure {
        title: &format!("{alone}{what} of estimate \u{2212} catalogue"),
        x_title: &x_title,
        categories: &[],
        kinds: &comparison.models,
        ticks_at_values: false,
        styles: ["at the median of a bin", ""],
        remark: &format!("{} bins of {fewest} stars or more; {}", of.bins.len(), interval_words(comparison)),
    };
    line_panels(&figure, &panels)
}

/// Estimates of one model against those of another.
fn agreement(comparison: &Comparison, other: &Contestant, best: &Contestant) -> Result<Figure> {
    let (y, x) = (other.predictions, best.predictions);
    let flagged: Vec<bool> = x.flags.iter().zip(&y.flags).map(|(a, b)| a | b != 0).collect();
    let names: Vec<String> = comparison.labels.iter().map(|label| label_title(label)).collect();
    let column = |of: &crate::findings::predictions::Predictions, k: usize| of.estimates.labels.column(k).to_vec();
    let columns: Vec<(Vec<f64>, Vec<f64>)> = (0..names.len()).map(|k| (column(x, k), column(y, k))).collect();
    let pair = comparison
        .agreement
        .iter()
        .find(|pair| [&pair.first, &pair.second].iter().all(|name| [other.name, best.name].contains(&name.as_str())));
    let caption = |label: &String| {
        let unit = unit(label);
        let of = pair.and_then(|pair| pair.labels.get(label));
        of.map_or(String::new(), |of| {
            format!(
                "scatter {} {unit}, robust {} {unit}, errors correlate {:.2}",
                in_unit(of.scatter, unit),
                in_unit(of.robust_scatter, unit),
                of.error_rank_correlation
            )
        })
    };
    let panels: Vec<OneToOnePanel> = comparison
        .labels
        .iter()
        .enumerate()
        .map(|(k, label)| OneToOnePanel {
            name: &names[k],
            unit: unit(label),
            catalogue: &columns[k].0,
            estimate: &columns[k].1,
            highlighted: &flagged,
            caption: caption(label),
        })
        .collect();
    let title = format!("{} against {}: {} stars tested by both", other.name, best.name, comparison.n_stars);
    against(&title, Sides { x: best.name, y: other.name, highlighted: "flagged" }, &panels)
}
