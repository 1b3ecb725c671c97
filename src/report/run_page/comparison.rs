//! The section that sets the two ways beside each other: labels to flux, and flux to labels.

use super::{Run, in_table, listed, quantity, title};
use crate::report::html::{Cell, Page};
use crate::report::label_title;

/// Models beside each other.
pub(super) fn models(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let networks = run.models_of("network");
    if run.models().len() < 2 {
        return;
    }
    let generative = run.models_of("cannon");
    let has_both = !generative.is_empty() && generative.len() < run.models().len();
    page.heading_of(if has_both { "Two opposite ways" } else { "Models beside each other" }, &run.problems("15"));
    let ways = if has_both {
        "A generative model, The Cannon, predicts flux from labels and is turned around by fitting; a discriminative \
         one, a network or a regression, reads labels straight off the spectrum."
    } else {
        ""
    };
    page.tell(
        &facts,
        &[
            ways,
            "All saw the same {comparison.n_stars} test stars and none of them in training.",
            "By robust scatter against the catalogue over all labels, {comparison.best} comes out best.",
        ],
    );
    median_errors(page, run);
    training_curves(page, run);
    let knows_truth = run.reference().0 != "labels";
    if knows_truth {
        forests(page, run, "-vs_truth", "the truth, healthy stars");
        page.open_details("The same against the catalogue");
    }
    forests(page, run, "", "the catalogue");
    if knows_truth {
        page.close_details();
    }
    pathologies(page, run);
    costs(page, run);
    if !networks.is_empty() {
        strengths(page, run, &networks);
    }
}

/// Half of the stars are nearer than this.
fn median_errors(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let (place, words) = run.reference();
    page.tell(
        &facts,
        &[&format!("Median error, the size of estimate minus {words} that half of the stars stay below:")],
    );
    let row = |model: &&str| {
        let of = |label: &&str| {
            let path = |model: &str| format!("models.{model}.{place}.{label}.median_abs_error");
            let own = facts.number(&path(model));
            let least =
                run.models().iter().filter_map(|model| facts.number(&path(model))).fold(f64::INFINITY, f64::min);
            Cell::told(&facts, &in_table(&path(model), label)).best_if(own == Some(least))
        };
        std::iter::once(Cell::words(model)).chain(run.labels().iter().map(of)).collect()
    };
    let rows: Vec<Vec<Cell>> = run.models().iter().map(row).collect();
    let titles: Vec<String> = run.labels().into_iter().map(title).collect();
    let head: Vec<&str> = std::iter::once("model").chain(titles.iter().map(String::as_str)).collect();
    page.table(&head, &rows);
}

/// How networks learned.
fn training_curves(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models_of("network") {
        for fold in 0..facts.count(&format!("models.{model}.training")) {
            let n_folds = facts.count(&format!("models.{model}.training"));
            let ending = if n_folds > 1 { format!("-fold{}", fold + 1) } else { String::new() };
            let members = format!("models.{model}.training.{fold}.members");
            let whose = if facts.count(&members) > 1 { ", the first of its members" } else { "" };
            let of = |field: &str| format!("{members}.0.{field}");
            run.show(
                page,
                &format!("training_curves-{model}{ending}"),
                &[&format!(
                    "{model}{whose}: losses and errors while it learned from {{{}}} stars, with {{{}}} others of the \
                     training stars to say when; the state of epoch {{{}}} was kept.",
                    of("n_training"),
                    of("n_validation"),
                    of("epoch")
                )],
            );
        }
    }
}

/// Scatters against a reference, and how much larger they are than those of the best model.
fn forests(page: &mut Page, run: &Run, ending: &str, words: &str) {
    run.show(
        page,
        &format!("scatter{ending}"),
        &[&format!(
            "Scatter of estimate minus {words} for each model: dots are robust scatters, circles standard deviations, \
             bars hold {{interval_level:%0}} of the resamples."
        )],
    );
    run.show(
        page,
        &format!("difference{ending}"),
        &["The same stars, model by model: how much larger the scatter is than that of {comparison.best}. What is right \
           of zero beyond its bar is worse."],
    );
}

/// What becomes of stars with something wrong.
fn pathologies(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let models = run.models();
    let Some(first) = models.first() else { return };
    let kinds: Vec<&str> = facts.names(&format!("models.{first}.by_pathology"));
    if kinds.len() < 2 {
        return;
    }
    page.subheading("Stars with something wrong");
    page.tell(&facts, &["Standard deviation of Teff against the truth, in K, by what the mock planted:"]);
    let rows: Vec<Vec<Cell>> = kinds
        .iter()
        .map(|kind| {
            let mut row = vec![
                Cell::words(kind.replace('_', " ")),
                Cell::told(&facts, &format!("{{models.{first}.by_pathology.{kind}.n_test}}")),
            ];
            row.extend(models.iter().map(|model| {
                Cell::told(&facts, &format!("{{models.{model}.by_pathology.{kind}.labels_vs_truth.teff.scatter:.0}}"))
            }));
            row
        })
        .collect();
    let mut head = vec!["planted", "stars"];
    head.extend(&models);
    page.table(&head, &rows);
}

/// Parameters and seconds.
fn costs(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.subheading("What they cost");
    let rows: Vec<Vec<Cell>> = run
        .models()
        .iter()
        .map(|model| {
            let told = |path: &str, format: &str| Cell::told(&facts, &format!("{{{path}{format}}}"));
            let label = if facts.has(&format!("model_timings.{model}.fit")) { "fit" } else { "estimate" };
            vec![
                Cell::words(model),
                told(&format!("models.{model}.n_parameters"), ""),
                told(&format!("model_timings.{model}.train.cpu_s"), ":.1"),
                told(&format!("model_timings.{model}.{label}.cpu_s"), ":.2"),
                told(&format!("models.{model}.n_flagged_any"), ""),
            ]
        })
        .collect();
    page.table(&["model", "parameters", "training, CPU s", "labelling, CPU s", "test stars flagged"], &rows);
}

/// Strengths and weaknesses of the two ways, by the numbers of this run.
fn strengths(page: &mut Page, run: &Run, networks: &[&str]) {
    let facts = run.facts();
    let cannons = run.models_of("cannon");
    let (place, words) = run.reference();
    let mean_rank = |model: &str| -> f64 {
        let of = |label: &&str| {
            facts.number(&format!("models.{model}.{place}.{label}.robust_scatter")).unwrap_or(f64::INFINITY)
        };
        let smallest = |label: &&str| {
            run.models()
                .iter()
                .filter_map(|model| facts.number(&format!("models.{model}.{place}.{label}.robust_scatter")))
                .fold(f64::INFINITY, f64::min)
        };
        run.labels().iter().map(|label| (of(label) / smallest(label)).ln()).sum()
    };
    let best_of = |models: &[&str]| -> Option<String> {
        models.iter().min_by(|a, b| mean_rank(a).total_cmp(&mean_rank(b))).map(|model| model.to_string())
    };
    let (Some(cannon), Some(network)) = (best_of(&cannons), best_of(networks)) else { return };
    page.subheading("Strengths and weaknesses");
    let number = |model: &str, label: &str| facts.number(&format!("models.{model}.{place}.{label}.robust_scatter"));
    let better = |label: &&str| number(&cannon, label) < number(&network, label);
    let labels = run.labels();
    let (ahead, behind): (Vec<&str>, Vec<&str>) = labels.iter().copied().partition(better);
    let told = |labels: &[&str]| {
        let of = |model: &str, label: &str| quantity(&format!("models.{model}.{place}.{label}.robust_scatter"), label);
        let each = labels
            .iter()
            .map(|label| format!("{} ({} against {})", label_title(label), of(&cannon, label), of(&network, label)));
        listed(&each.collect::<Vec<_>>())
    };
    let head_to_head = match (ahead.is_empty(), behind.is_empty()) {
        (false, true) => format!(
            "Against {words}, {cannon} scatters less than {network}, the best network over all labels, in every label: {}.",
            told(&ahead)
        ),
        (true, _) => format!(
            "Against {words}, {network}, the best network over all labels, scatters less than {cannon} in every label: {}.",
            told(&behind)
        ),
        _ => format!(
            "Against {words}, {cannon} scatters less than {network}, the best network over all labels, in {}, and more in {}.",
            told(&ahead),
            told(&behind)
        ),
    };
    page.tell(&facts, &[&head_to_head]);
    let chip = |model: &str| format!("models.{model}.by_pathology.dead_chip.labels_vs_truth.teff.scatter");
    let pull = |model: &str| format!("models.{model}.{place}.teff.pulls.robust_width");
    let cpu = |model: &str| format!("model_timings.{model}.train.cpu_s");
    let n_dead = format!("models.{cannon}.by_pathology.dead_chip.n_test");
    // The spread of a handful of stars says nothing.
    let dead_chips = match facts.number(&n_dead) {
        Some(n) if n >= 5.0 => format!(
            "Stars with a dead chip ({{{n_dead}}}) scatter by {{{}:.0}} K in Teff under {cannon}, by {{{}:.0}} K under {network}.",
            chip(&cannon),
            chip(network.as_str())
        ),
        _ => String::new(),
    };
    page.tell(
        &facts,
        &[
            &format!(
                "{cannon} explains: a spectrum comes with a model and a chi^2, missing pixels simply do not count, and what it \
                 learned can be looked at pixel by pixel."
            ),
            &dead_chips,
            &format!(
                "{cannon} was trained in {{{}:.0}} CPU seconds, {network} in {{{}:.0}}.",
                cpu(&cannon),
                cpu(&network)
            ),
        ],
    );
    page.tell(
        &facts,
        &[
            &format!(
                "Against {words}, residuals of {cannon} in Teff are {{{}:.1}} times as wide as its formal errors say, those \
                 of {network} {{{}:.1}} times as wide as it says.",
                pull(&cannon),
                pull(&network)
            ),
            &format!(
                "{network} need not describe a whole spectrum; one unlike those it learned from gets labels like any other, and \
                 the flag BAD_FIT alone tells: it stands at {{models.{network}.n_flagged.BAD_FIT}} of its \
                 {{models.{network}.n_test}} test stars, and at {{models.{cannon}.n_flagged.BAD_FIT}} of {cannon}'s."
            ),
        ],
    );
    let plain = facts.words("lab.model").unwrap_or_default();
    if facts.has(&format!("settings.models.{cannon}.cannon.latent")) && !plain.is_empty() {
        let rows: Vec<Vec<Cell>> = [plain, &cannon, &network]
            .iter()
            .map(|model| {
                let mut row = vec![Cell::words(model)];
                row.extend(labels.iter().map(|label| {
                    Cell::told(&facts, &in_table(&format!("models.{model}.{place}.{label}.robust_scatter"), label))
                }));
                row
            })
            .collect();
        let gains = labels.iter().copied().filter(|label| number(&cannon, label) < number(plain, label));
        let gains: Vec<String> = gains.map(label_title).collect();
        let gains = if gains.is_empty() { "no label".to_string() } else { listed(&gains) };
        page.tell(
            &facts,
            &[&format!(
                "{cannon} is told that stars differ in more than their labels, and learns in what; it scatters less than \
                 {plain} in {gains}:"
            )],
        );
        let mut head = vec!["robust scatter".to_string()];
        head.extend(labels.iter().map(|label| title(label)));
        page.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    }
}
