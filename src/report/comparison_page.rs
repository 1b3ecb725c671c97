//! A comparison as one HTML page: tables and figures, each with the sentence that says what it shows.

use std::collections::BTreeMap;

use super::comparison::{agreements_with_best, signed};
use super::figures::comparison::NamedFigure;
use super::html::{Cell, Page};
use super::{counted, in_unit, label_title, percent, plain, title_with_unit};
use crate::findings::comparison::Comparison;
use crate::findings::comparison::across_runs::ComparedRun;
use crate::findings::comparison::contestant::Contestant;
use crate::findings::comparison::paired::PairedLabel;
use crate::findings::groups::HEALTHY;
use crate::findings::metrics::LabelMetrics;
use crate::findings::pulls::EXPECTED_WITHIN;
use crate::spectra::labels::unit;
use crate::stars::truth::in_table;

/// Stars that speak against the catalogue shown on the page; the JSON has all.
const MOST_SUSPECTS: usize = 40;

/// Figures of one model against another on the page; the folder has all.
const MOST_PAIRS: usize = 3;

/// What the page is about.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Its title.
    pub title: &'a str,
    /// What the models were compared on.
    pub comparison: &'a Comparison,
    /// The models.
    pub contestants: &'a [Contestant<'a>],
    /// The figures, by the names of their files.
    pub figures: &'a [NamedFigure],
    /// What a reader must know first.
    pub warnings: &'a [String],
    /// The runs.
    pub runs: &'a [ComparedRun],
    /// Seed of the resamples.
    pub seed: u64,
}

/// The page.
pub fn page(subject: &Subject) -> String {
    let mut page = Page::new(subject.title);
    let comparison = subject.comparison;
    page.paragraph(&summary(comparison, subject.contestants));
    page.warnings(subject.warnings);
    page.heading("Scatter");
    figures(
        &mut page,
        subject,
        |name| name.starts_with("scatter") && !is_dependence(name),
        |name| {
            let what = if name.ends_with("truth") { "truth" } else { "catalogue" };
            format!(
                "Scatter of estimate minus {what} for each model: the dot is 1.4826 times the median absolute deviation, which \
             a few wrong catalogue labels cannot move, the circle the standard deviation. Bars hold {:.0}% of {} resamples of \
             the {} test stars. Bars of two models overlap even where one is surely better, since both see the same stars: \
             the differences below tell.",
                100.0 * comparison.interval_level,
                comparison.n_resamples,
                comparison.n_stars
            )
        },
    );
    metrics(&mut page, "estimate - catalogue", subject, |of| Some(&of.metrics.labels));
    let healthy = |of: &'_ Contestant<'_>| of.metrics.by_pathology.contains_key(HEALTHY);
    if subject.contestants.iter().all(healthy) {
        metrics(&mut page, "estimate - truth, healthy stars", subject, |of| {
            of.metrics.by_pathology.get(HEALTHY).map(|group| &group.labels_vs_truth)
        });
    } else {
        metrics(&mut page, "estimate - truth", subject, |of| Some(&of.metrics.labels_vs_truth));
    }
    differences(&mut page, subject);
    errors(&mut page, subject);
    dependence(&mut page, subject);
    agreement(&mut page, subject);
    suspects(&mut page, subject);
    page.heading("What was compared");
    page.paragraph(&format!(
        "maury {}, seed {}, {} resamples, intervals of {:.0}%.",
        env!("CARGO_PKG_VERSION"),
        subject.seed,
        comparison.n_resamples,
        100.0 * comparison.interval_level
    ));
    for run in subject.runs {
        page.open_details(&format!("{}: {}", run.name, run.folder));
        page.verbatim(&run.settings);
        page.close_details();
    }
    page.finish()
}

/// The answer in words.
fn summary(comparison: &Comparison, contestants: &[Contestant]) -> String {
    let best = &contestants[comparison.best_index()];
    let scatter = |(label, of): (&String, &LabelMetrics)| {
        format!("{} {} {}", label_title(label), in_unit(of.robust_scatter, unit(label)), unit(label))
            .trim_end()
            .to_string()
    };
    let in_order = comparison.labels.iter().filter_map(|label| best.metrics.labels.get_key_value(label));
    let scatters: Vec<String> = in_order.map(scatter).collect();
    let mut text = format!(
        "{}, {}. {} has the smallest robust scatter over the labels ({}).",
        counted(contestants.len(), "model"),
        counted(comparison.n_stars, "test star"),
        best.name,
        scatters.join(", ")
    );
    for pair in comparison.against_best() {
        let labels = |is: fn(&PairedLabel) -> bool| -> Vec<String> {
            let in_order = comparison.labels.iter().filter(|label| pair.labels.get(*label).is_some_and(is));
            in_order.map(|label| label_title(label)).collect()
        };
        let worse = labels(|of| of.robust_scatter.is_clear() && of.robust_scatter.value > 0.0);
        let better = labels(|of| of.robust_scatter.is_clear() && of.robust_scatter.value < 0.0);
        let mut parts = Vec::new();
        if !worse.is_empty() {
            parts.push(format!("clearly wider in {}", worse.join(", ")));
        }
        if !better.is_empty() {
            parts.push(format!("clearly narrower in {}", better.join(", ")));
        }
        if parts.is_empty() {
            parts.push("not to be told apart from it in any label".into());
        }
        text += &format!(" {} is {}.", pair.first, parts.join(" and "));
    }
    text
}

/// Every figure whose name is wanted, with its caption.
fn figures(page: &mut Page, subject: &Subject, wanted: impl Fn(&str) -> bool, caption: impl Fn(&str) -> String) {
    for (name, figure) in subject.figures.iter().filter(|(name, _)| wanted(name)) {
        page.figure(&figure.svg, &caption(name));
    }
}

type Labels = BTreeMap<String, LabelMetrics>;

/// Bias and scatters with intervals; nothing where there is nothing.
fn metrics<'a>(
    page: &mut Page,
    what: &str,
    subject: &Subject<'a>,
    labels: impl Fn(&Contestant<'a>) -> Option<&'a Labels>,
) {
    let mut rows = Vec::new();
    for label in &subject.comparison.labels {
        let unit = unit(label);
        let number = |value: f64| in_unit(value, unit);
        let interval = |(low, high): (f64, f64)| Cell::number(format!("{} to {}", number(low), number(high)));
        let of_label: Vec<(&str, &LabelMetrics)> = subject
            .contestants
            .iter()
            .filter_map(|contestant| Some((contestant.name, labels(contestant)?.get(label)?)))
            .collect();
        let smallest = |of: fn(&LabelMetrics) -> f64| of_label.iter().map(|(_, m)| of(m)).fold(f64::NAN, f64::min);
        let marked = |value: f64, smallest: f64| match value == smallest {
            true => Cell::best(number(value)),
            false => Cell::number(number(value)),
        };
        let (scatter, robust) = (smallest(|m| m.scatter), smallest(|m| m.robust_scatter));
        let absolute = smallest(|m| m.median_abs_error);
        for (index, (name, of)) in of_label.iter().enumerate() {
            rows.push(vec![
                Cell::words(if index == 0 { title_with_unit(label) } else { String::new() }),
                Cell::words(*name),
                Cell::number(number(of.bias)),
                interval(of.bias_interval),
                marked(of.scatter, scatter),
                interval(of.scatter_interval),
                marked(of.robust_scatter, robust),
                interval(of.robust_scatter_interval),
                marked(of.median_abs_error, absolute),
                Cell::number(of.n_stars.to_string()),
            ]);
        }
    }
    if !rows.is_empty() {
        let head =
            [what, "model", "bias", "interval", "scatter", "interval", "robust", "interval", "median |error|", "stars"];
        page.table(&head, &rows);
    }
}

fn differences(page: &mut Page, subject: &Subject) {
    let comparison = subject.comparison;
    let pairs = comparison.against_best();
    if pairs.is_empty() {
        return;
    }
    page.heading(&format!("Differences from {}", comparison.best));
    figures(
        page,
        subject,
        |name| name.starts_with("difference"),
        |name| {
            let what = if name.ends_with("truth") { "true" } else { "catalogue" };
            format!(
                "Scatter about the {what} labels minus that of {}, from the same resamples of the stars that both models estimate. \
             A bar that does not reach 0 is a difference that the choice of test stars does not explain.",
                comparison.best
            )
        },
    );
    let mut rows = Vec::new();
    for label in &comparison.labels {
        let unit = unit(label);
        for (index, pair) in pairs.iter().enumerate() {
            let Some(of) = pair.labels.get(label) else { continue };
            let mut row = vec![
                Cell::words(if index == 0 { title_with_unit(label) } else { String::new() }),
                Cell::words(&pair.first),
            ];
            for difference in [of.scatter, of.robust_scatter, of.median_abs_error] {
                let (low, high) = difference.interval;
                row.push(Cell::number(signed(difference.value, unit)));
                row.push(Cell::number(format!("{} to {}", signed(low, unit), signed(high, unit))));
                row.push(Cell::number(percent(difference.fraction_first_smaller)));
            }
            rows.push(row);
        }
    }
    let head = [
        "estimate - catalogue",
        "model",
        "\u{394} scatter",
        "interval",
        "better",
        "\u{394} robust",
        "interval",
        "better",
        "\u{394} median |error|",
        "interval",
        "better",
    ];
    page.table(&head, &rows);
    page.paragraph("Positive is worse; better: fraction of the resamples in which the model has the smaller value.");
}

fn errors(page: &mut Page, subject: &Subject) {
    let mut rows = Vec::new();
    for label in &subject.comparison.labels {
        for contestant in subject.contestants {
            let healthy = contestant.metrics.by_pathology.get(HEALTHY);
            let references = [
                ("catalogue", contestant.metrics.labels.get(label)),
                ("truth", contestant.metrics.labels_vs_truth.get(label)),
                ("truth, healthy stars", healthy.and_then(|group| group.labels_vs_truth.get(label))),
            ];
            for (reference, of) in references {
                let Some((of, pulls)) = of.and_then(|of| Some((of, of.pulls?))) else { continue };
                rows.push(vec![
                    Cell::words(title_with_unit(label)),
                    Cell::words(contestant.name),
                    Cell::words(reference),
                    Cell::number(in_unit(of.median_formal_error, unit(label))),
                    Cell::number(plain(pulls.robust_width, 2)),
                    Cell::number(plain(pulls.standard_deviation, 2)),
                    Cell::number(percent(pulls.within_1_error)),
                    Cell::number(percent(pulls.within_2_errors)),
                    Cell::number(pulls.n_stars.to_string()),
                ]);
            }
        }
    }
    if rows.is_empty() {
        return;
    }
    page.heading("Are the formal errors true to size?");
    let [one, two] = EXPECTED_WITHIN.map(|fraction| 100.0 * fraction);
    page.paragraph(&format!(
        "A pull is (estimate - reference) / formal error. Honest errors give pulls of width 1, {one:.1}% of the stars within one \
         error and {two:.1}% within two. A width above 1 is an error quoted too small, or a reference with errors of its own."
    ));
    let head = [
        "label",
        "model",
        "reference",
        "median error",
        "pull, robust width",
        "standard deviation",
        "within 1",
        "within 2",
        "stars",
    ];
    page.table(&head, &rows);
}

fn dependence(page: &mut Page, subject: &Subject) {
    if subject.comparison.dependence.is_empty() {
        return;
    }
    page.heading("Where the errors come from");
    let caption = |name: &str| {
        let what = if name.starts_with("bias") { "Median" } else { "Robust scatter" };
        let along = name.split("_vs_").nth(1).unwrap_or_default();
        let along = if along == "snr" { "SNR".to_string() } else { label_title(along) };
        format!(
            "{what} of estimate minus catalogue along {along}, in bins of about as many stars, the same for every model."
        )
    };
    let along_snr = |name: &str| name.ends_with("_vs_snr");
    figures(page, subject, along_snr, caption);
    page.open_details("Along each label");
    figures(page, subject, |name| is_dependence(name) && !along_snr(name), caption);
    page.close_details();
}

fn is_dependence(name: &str) -> bool {
    name.starts_with("bias_vs_") || name.starts_with("scatter_vs_")
}

fn agreement(page: &mut Page, subject: &Subject) {
    let comparison = subject.comparison;
    let others = agreements_with_best(comparison);
    if others.is_empty() {
        return;
    }
    page.heading("Do the models agree?");
    page.paragraph(
        "Errors that correlate are common to both models: noise of the spectrum, errors of the catalogue, or a bias that both \
         share. The scatter between two models is what they do not share. Correlations are those of ranks.",
    );
    let mut rows = Vec::new();
    for label in &comparison.labels {
        for (other, labels) in &others {
            let Some(of) = labels.get(label) else { continue };
            rows.push(vec![
                Cell::words(title_with_unit(label)),
                Cell::words(format!("{other} - {}", comparison.best)),
                Cell::number(in_unit(of.scatter, unit(label))),
                Cell::number(in_unit(of.robust_scatter, unit(label))),
                Cell::number(plain(of.error_rank_correlation, 2)),
                Cell::number(of.true_error_rank_correlation.map_or("-".into(), |value| plain(value, 2))),
                Cell::number(of.n_stars.to_string()),
            ]);
        }
    }
    let head = ["label", "models", "scatter", "robust", "errors correlate", "true errors correlate", "stars"];
    page.table(&head, &rows);
    // These hold every star, and many would make the page heavy.
    let names: Vec<&str> = subject.figures.iter().map(|(name, _)| name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().filter(|name| name.starts_with("agreement")).collect();
    let shown = &names[..names.len().min(MOST_PAIRS)];
    page.open_details(&format!(
        "Estimates of other models against those of {} ({} of {}; all are among the figures)",
        comparison.best,
        shown.len(),
        names.len()
    ));
    let caption = "Estimates of two models for the same stars, with their difference below.";
    figures(page, subject, |name| shown.contains(&name), |_| caption.to_string());
    page.close_details();
}

fn suspects(page: &mut Page, subject: &Subject) {
    let comparison = subject.comparison;
    let found = &comparison.against_catalogue;
    if found.is_empty() {
        return;
    }
    page.heading("Stars on which models agree against the catalogue");
    let shown = found.len().min(MOST_SUSPECTS);
    page.paragraph(&format!(
        "Two models or more are far from the catalogue on the same side, and nearer to each other than to it: the catalogue's \
         label may be wrong, or the spectrum misleads all models alike. {shown} of {} shown, the farthest first in each label; \
         sigma is the distance in robust scatters of the model.",
        found.len()
    ));
    let rows: Vec<Vec<Cell>> = found
        .iter()
        .take(shown)
        .map(|suspect| {
            let number = |value: f64| in_unit(value, unit(&suspect.label));
            let models =
                suspect.models.iter().map(|(name, of)| format!("{name} {} ({:+.0})", number(of.estimate), of.sigma));
            vec![
                Cell::words(&suspect.id),
                Cell::words(title_with_unit(&suspect.label)),
                Cell::number(number(suspect.catalogue)),
                Cell::words(models.collect::<Vec<_>>().join(", ")),
                Cell::number(suspect.truth.map_or("-".into(), number)),
                Cell::words(match suspect.pathology.as_deref().unwrap_or_default() {
                    word if word == in_table("") => HEALTHY,
                    word => word,
                }),
            ]
        })
        .collect();
    page.table(&["star", "label", "catalogue", "estimates (sigma)", "truth", "known to be"], &rows);
}
