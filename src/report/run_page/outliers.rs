//! The section on stars that disagree with the catalogue, and why.

use super::{Run, in_table};
use crate::report::html::{Cell, Page};
use crate::report::label_title;

/// Outliers in the table; `outliers.html` has all.
const MOST_LISTED: usize = 12;
/// Outliers whose spectra are shown.
const MOST_SHOWN: usize = 3;

/// Stars that disagree with the catalogue.
pub(super) fn outliers(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let n_stars = facts.count("outliers.stars");
    if n_stars == 0 {
        return;
    }
    page.heading_of("Stars that disagree with the catalogue", &run.problems("10"));
    page.tell(
        &facts,
        &[
            "Of {outliers.n_stars} test stars that {outliers.model} labelled, {outliers.n_deviating} deviate from the \
             catalogue by {outliers.sigma} robust scatters or more in some label. The {outliers.n_outliers} farthest \
             were looked into: mask and sky, other minima, a second star, look-alikes among the training stars, the \
             other models.",
            "The first of them are below; outliers.html beside this page has all, with the evidence.",
        ],
    );
    let row = |index: usize| {
        let path = |field: &str| format!("outliers.stars.{index}.{field}");
        let label = facts.words(&path("label")).unwrap_or_default();
        let mut row = vec![
            Cell::told_words(&facts, &format!("{{{}}}", path("id"))),
            Cell::told_words(&facts, &format!("{{{}}}", path("verdict"))),
            Cell::words(label_title(label)),
            Cell::told(&facts, &in_table(&path("estimate"), label)),
            Cell::told(&facts, &in_table(&path("catalogue"), label)),
            Cell::told(&facts, &format!("{{{}:+.1}}", path("deviation"))),
            Cell::told(&facts, &format!("{{{}:.0}}", path("snr"))),
        ];
        if facts.has("outliers.score") {
            let planted = facts.words(&path("planted")).unwrap_or_default();
            row.push(Cell::words(if planted.is_empty() { "nothing" } else { planted }));
        }
        row
    };
    let mut head = vec!["star", "verdict", "label", "estimate", "catalogue", "deviation", "SNR"];
    if facts.has("outliers.score") {
        head.push("planted in the mock");
    }
    page.table(&head, &(0..n_stars.min(MOST_LISTED)).map(row).collect::<Vec<_>>());
    page.tell(
        &facts,
        &["The mock knows what is wrong with its stars, and no verdict has seen it: of the outliers with a planted \
           fault {outliers.score.accuracy_of_planted:%0} were given its name."],
    );
    for index in 0..n_stars.min(MOST_SHOWN) {
        run.show(
            page,
            &format!("outliers/{:02}", index + 1),
            &[&format!(
                "{{outliers.stars.{index}.id}}, {{outliers.stars.{index}.verdict}}: {{outliers.stars.{index}.reason}}"
            )],
        );
    }
    effect(page, run);
}

/// What suspicious training stars do to the model.
fn effect(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let suspects = facts.names("outliers.effect.suspects");
    if suspects.is_empty() {
        return;
    }
    let group =
        facts.names("outliers.effect.scatter").into_iter().find(|name| *name == "healthy_vs_truth").unwrap_or("all");
    let counts: Vec<String> =
        suspects.iter().map(|name| format!("{{outliers.effect.suspects.{name}}} {name}")).collect();
    page.tell(
        &facts,
        &[&format!(
            "Training stars were judged in the same way ({} of {{outliers.effect.n_training}}), and the model was \
             trained again without them, or with estimates in place of labels that looked wrong:",
            counts.join(", ")
        )],
    );
    let rows: Vec<Vec<Cell>> = run
        .labels()
        .iter()
        .map(|label| {
            let told = |training: &str| {
                Cell::told(
                    &facts,
                    &in_table(&format!("outliers.effect.scatter.{group}.{label}.{training}.robust_scatter"), label),
                )
            };
            vec![Cell::words(label_title(label)), told("before"), told("removed"), told("relabelled")]
        })
        .collect();
    let head = ["robust scatter", "as trained", "suspects removed", "suspects relabelled"];
    page.table(&head, &rows);
}
