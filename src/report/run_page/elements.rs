//! The section on labels one by one: which are read from their own lines, which follow from the others, and what windows cost.

use super::{Run, in_table, listed, title};
use crate::report::html::{Cell, Page};
use crate::report::label_title;

/// Verdicts as `metrics.json` names them, with the words of the table.
const VERDICTS: [(&str, &str); 6] = [
    ("own-lines", "own lines"),
    ("other-pixels", "other pixels"),
    ("spectrum", "spectrum"),
    ("noisy", "noisy"),
    ("correlation", "correlation"),
    ("unknown", "too few stars"),
];

/// Labels one by one.
pub(super) fn elements(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let models = facts.names("elements.models");
    if models.is_empty() {
        return;
    }
    page.heading("Read from its own lines, or inferred from other labels?");
    page.tell(
        &facts,
        &[
            "Abundances go together, so that a model can label an element well without ever looking at its lines. Two questions \
             tell.",
            "Is the label known better than from the star's other labels? A regression on all of these, learned from the \
             catalogue of the training stars, is the best that correlations can do; the robust scatter of both, against \
             {elements.reference} of {elements.n_stars} test stars, is compared star by star in the same resamples.",
            "And where does the model look? An element's own lines are the fewest pixels that hold {elements.share:%0} of what \
             model spectra answer to its abundance. If they hold far more of the model's gradient than their share of the \
             pixels, it is these lines that are read.",
            "\u{201c}Correlation\u{201d} means that the spectrum adds nothing that is clear to what the other labels tell; \
             \u{201c}noisy\u{201d} that the estimate errs by as much as these would, and yet follows what is the label's own: its own \
             correlation, below, is surely above {elements.least_own_correlation}.",
        ],
    );
    costs(page, run, &models);
    for model in models {
        page.subheading(model);
        verdicts(page, run, model);
        labels(page, run, model);
    }
    page.tell(
        &facts,
        &[
            "Own: correlation of estimate and reference once both are freed of what the other labels tell, 1 if the spectrum \
             tells all that is the label's own.",
            "Read in lines: share of the noise of the label's estimate that comes from its own lines, all labels fitted at \
             once: where the fit looks for this label and no other.",
            "Atomic lines: how many of the gradient's strongest features lie at a listed line of the element.",
        ],
    );
}

/// What each model made of its labels, in words.
fn verdicts(page: &mut Page, run: &Run, model: &str) {
    let facts = run.facts();
    let of = |verdict: &str| -> Vec<String> {
        let is =
            |label: &&str| facts.words(&format!("elements.models.{model}.labels.{label}.verdict")) == Some(verdict);
        run.labels().into_iter().filter(is).map(label_title).collect()
    };
    let sentence = |verdict: &str, words: &str| match of(verdict) {
        labels if labels.is_empty() => String::new(),
        labels => format!("{words}: {}.", listed(&labels)),
    };
    page.tell(
        &facts,
        &[
            &sentence("own-lines", "Read from their own lines, and better than the other labels tell"),
            &sentence(
                "other-pixels",
                "Better than the other labels tell, by pixels that are mostly not their own lines",
            ),
            &sentence("spectrum", "Better than the other labels tell, with no lines of their own to be compared with"),
            &sentence("noisy", "Read from the spectrum, but no better than the other labels tell"),
            &sentence("correlation", "Not clearly better than the other labels tell, so no more than correlations"),
            &sentence("unknown", "Too few stars to say"),
        ],
    );
}

/// A row for each label.
fn labels(page: &mut Page, run: &Run, model: &str) {
    let facts = run.facts();
    let row = |label: &str| {
        let of = |field: &str| format!("elements.models.{model}.labels.{label}.{field}");
        let own = |field: &str| Cell::told(&facts, &in_table(&of(field), label));
        let share = |field: &str| Cell::told(&facts, &format!("{{{}:%0}}", of(&format!("lines.{field}"))));
        let verdict = facts.words(&of("verdict")).unwrap_or_default();
        let words = VERDICTS.iter().find(|(name, _)| *name == verdict).map_or(verdict, |(_, words)| words);
        vec![
            Cell::words(title(label)),
            Cell::words(words),
            own("catalogue_error"),
            own("robust_scatter"),
            own("calibrated_error"),
            Cell::told(&facts, &format!("{{{}:.2}}", of("calibrated_pulls.robust_width"))),
            own("from_others"),
            Cell::told(&facts, &format!("{{{}:.2}}", of("ratio"))),
            Cell::told(&facts, &format!("{{{}:.2}}", of("own_correlation.value"))),
            share("pixel_share"),
            share("gradient_share"),
            share("reading_share"),
            Cell::told(
                &facts,
                &format!(
                    "{{{}}} of {{{}}}",
                    of("lines.atomic_lines.n_coincident"),
                    of("lines.atomic_lines.n_features")
                ),
            ),
        ]
    };
    let head = [
        "label",
        "verdict",
        "catalogue's error",
        "scatter",
        "calibrated error",
        "pull",
        "from other labels",
        "ratio",
        "own",
        "lines, of pixels",
        "gradient in lines",
        "read in lines",
        "atomic lines",
    ];
    page.table(&head, &run.labels().into_iter().map(row).collect::<Vec<_>>());
}

/// What each choice costs and what it brings.
fn costs(page: &mut Page, run: &Run, models: &[&str]) {
    let facts = run.facts();
    if models.len() < 2 {
        return;
    }
    let row = |model: &&str| {
        let told = |path: String, format: &str| Cell::told(&facts, &format!("{{{path}{format}}}"));
        let is_fitted = facts.has(&format!("model_timings.{model}.fit"));
        let labelling = if is_fitted { "fit" } else { "estimate" };
        let count = |verdict: &str| {
            let path = format!("elements.models.{model}.counts.{verdict}");
            if facts.has(&path) { told(path, "") } else { Cell::number("0") }
        };
        vec![
            Cell::words(*model),
            told(format!("models.{model}.n_parameters"), ""),
            told(format!("model_timings.{model}.train.cpu_s"), ":.1"),
            told(format!("model_timings.{model}.calibrate.cpu_s"), ":.1"),
            told(format!("model_timings.{model}.{labelling}.cpu_s"), ":.1"),
            told(format!("elements.models.{model}.median_ratio"), ":.2"),
            count("own-lines"),
            count("other-pixels"),
            count("spectrum"),
            count("noisy"),
            count("correlation"),
        ]
    };
    let head = [
        "model",
        "parameters",
        "training, CPU s",
        "calibration, CPU s",
        "labelling, CPU s",
        "median scatter over that of other labels",
        "labels by own lines",
        "by other pixels",
        "by the spectrum",
        "noisily",
        "correlations",
    ];
    page.table(&head, &models.iter().map(row).collect::<Vec<_>>());
    windows(page, run, models);
}

/// What windows leave out.
fn windows(page: &mut Page, run: &Run, models: &[&str]) {
    let facts = run.facts();
    for model in models {
        let shares = format!("models.{model}.training.0.window_shares");
        let each: Vec<String> = facts
            .names(&shares)
            .into_iter()
            .map(|label| format!("{} {{{shares}.{label}:%0}}", label_title(label)))
            .collect();
        if !each.is_empty() {
            page.tell(
                &facts,
                &[
                    &format!(
                        "{model}: labels act only in windows, which hold of the pixels inside the chips {}.",
                        listed(&each)
                    ),
                    &format!("{{models.{model}.training.0.n_nil_coefficients}} coefficients are nil by that."),
                ],
            );
        }
    }
}
