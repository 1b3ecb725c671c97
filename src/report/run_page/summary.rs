//! The head of a run's page: what was asked, and the answer in one table.

use super::{Run, ends, in_table, listed, title};
use crate::report::html::{Cell, Page};
use crate::training::label_choice::LabelUse;

/// Question and answer.
pub(super) fn summary(page: &mut Page, run: &Run) {
    let facts = run.facts();
    if facts.words("settings.question").is_some_and(|question| !question.is_empty()) {
        page.tell(&facts, &["{settings.question}"]);
    }
    let (models, labels) = (run.models(), run.labels());
    let Some(first) = models.first() else { return };
    let (place, words) = run.reference();
    let n_models = match models.len() {
        1 => format!("One model, {first},"),
        _ => "Several models".to_string(),
    };
    // Models may have stars of their own: some can use those that lack a label.
    let n_train = |model: &str| facts.number(&format!("models.{model}.n_train")).unwrap_or(f64::NAN);
    let by_stars = |a: &&&str, b: &&&str| n_train(a).total_cmp(&n_train(b));
    let taught_by = match (models.iter().min_by(by_stars), models.iter().max_by(by_stars)) {
        (Some(fewest), Some(most)) if n_train(fewest) < n_train(most) => {
            format!("{{models.{fewest}.n_train}} to {{models.{most}.n_train}}")
        }
        _ => format!("{{models.{first}.n_train}}"),
    };
    let learned = match facts.has("settings.split.folds") {
        true => format!(
            "{n_models} labelled {{models.{first}.n_test}} stars in {{settings.split.folds.k}} folds, each star once, \
             after learning from those of the other folds ({taught_by} on average)."
        ),
        false if facts.words("settings.split") == Some("all") => format!(
            "{n_models} learned from {taught_by} stars with known labels and labelled the same \
             {{models.{first}.n_test}} again: a check that it learned, and no measure of how well it does on others."
        ),
        false => format!(
            "{n_models} learned from {taught_by} stars with known labels and labelled \
             {{models.{first}.n_test}} others."
        ),
    };
    let marked = if models.len() > 1 { "; the smallest of each column is marked" } else { "" };
    page.tell(
        &facts,
        &[
            &learned,
            &format!(
                "The table gives, for each label, the robust scatter (1.4826 times the median absolute deviation) of \
                 estimate minus {words}{marked}."
            ),
            "Every number on this page comes from metrics.json of the run: hold the pointer over one to see where it \
             stands there.",
        ],
    );
    let rows: Vec<Vec<Cell>> = models
        .iter()
        .map(|model| {
            let mut row = vec![Cell::words(model)];
            row.extend(labels.iter().map(|label| {
                let path = |model: &str| format!("models.{model}.{place}.{label}.robust_scatter");
                let value = facts.number(&path(model));
                let smallest =
                    models.iter().filter_map(|model| facts.number(&path(model))).fold(f64::INFINITY, f64::min);
                Cell::told(&facts, &in_table(&path(model), label)).best_if(models.len() > 1 && value == Some(smallest))
            }));
            row
        })
        .collect();
    let mut head = vec!["model".to_string()];
    head.extend(labels.iter().map(|label| title(label)));
    page.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
    ends::worst(page, run);
    not_described(page, run);
    if run.facts().has("settings.data.mock") {
        page.tell(
            &facts,
            &["The stars are a mock survey made by maury (seed {settings.data.mock.seed}): model spectra observed \
               through a simulated instrument, with labels drawn as real giants have them. What it says of methods \
               holds for such spectra; of the Galaxy it says nothing."],
        );
    }
}

/// What was chosen in training, and from what.
pub(super) fn training(page: &mut Page, run: &Run) {
    nuisances(page, run);
    labels_used(page, run);
    left_out(page, run);
    anchors(page, run);
    on_landmarks(page, run);
    pretrained(page, run);
}

/// How many nuisance spectra correlated Cannons learned, where training stars held out chose.
fn nuisances(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models() {
        let path = format!("models.{model}.training.0.nuisance_choice");
        let fold = if facts.count(&format!("models.{model}.training")) > 1 { " in the first fold" } else { "" };
        let sentence = match facts.number(&format!("{path}.chosen")) {
            None => continue,
            Some(0.0) => format!(
                "{model} is the plain Cannon{fold}: on {{{path}.n_held_out}} training stars held out, no number of nuisance \
                 spectra was better."
            ),
            Some(_) => format!(
                "{model} learned {{{path}.chosen}} nuisance spectra{fold}, chosen on {{{path}.n_held_out}} training stars held \
                 out, among them none at all, which is the plain Cannon."
            ),
        };
        page.tell(&facts, &[&sentence]);
    }
}

/// Which of the catalogue's labels trained Cannons, where training stars held out chose.
fn labels_used(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models() {
        let path = format!("models.{model}.training.0.label_choice");
        let Some(chosen) = facts.words(&format!("{path}.chosen")) else { continue };
        let words = |labels: &str| LabelUse::named(labels).map_or("in a way unknown to this version", LabelUse::words);
        let way = |n: usize| facts.words(&format!("{path}.candidates.{n}.labels")).map_or("", words);
        let n_ways = facts.count(&format!("{path}.candidates"));
        let changed = (1..n_ways).filter_map(|n| {
            let change = 100.0 * (facts.number(&format!("{path}.candidates.{n}.score"))?.exp() - 1.0);
            Some(format!("{} ({change:+.1}%)", way(n)))
        });
        let mut sentence = format!(
            "{model} was trained {}. Beside {}, {{{path}.n_held_out}} training stars held out tried {}; the change of their \
             residuals is in brackets, and counts beyond twice its standard error and where no label is worse by so much.",
            words(chosen),
            way(0),
            listed(&changed.collect::<Vec<String>>())
        );
        for (n, stars) in
            [("n_partial", "training stars lack a label"), ("n_doubtful", "have one of an error beyond the usual")]
        {
            if facts.number(&format!("{path}.{n}")).is_some_and(|n| n > 0.0) {
                sentence += &format!(" {{{path}.{n}}} {stars}.");
            }
        }
        page.tell(&facts, &[&sentence]);
    }
}

/// Which stars training did without.
fn left_out(page: &mut Page, run: &Run) {
    /// Stars that are named; where there are more, the file has the others.
    const MOST_NAMED: usize = 30;
    let facts = run.facts();
    for model in run.models() {
        let path = format!("models.{model}.training.0.left_out");
        let n_left_out = facts.count(&path);
        if n_left_out == 0 {
            continue;
        }
        let names: Vec<String> = (0..n_left_out.min(MOST_NAMED)).map(|n| format!("{{{path}.{n}}}")).collect();
        let all = if n_left_out > MOST_NAMED { " and others, all of them in metrics.json" } else { "" };
        page.tell(
            &facts,
            &[&format!(
                "Training of {model} did without stars that it does not describe with the labels they have, be it for a wrong label, a \
                 companion or an odd spectrum: {}{all}.",
                names.join(", ")
            )],
        );
    }
}

/// How far anchored Cannons went from physics.
fn anchors(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models() {
        let path = format!("models.{model}.training.0.anchor");
        if !facts.has(&path) {
            continue;
        }
        let begins = format!(
            "{model} starts from {{{path}.n_spectra}} model spectra, with {{{path}.n_hidden}} inputs beside the labels"
        );
        if !facts.has(&format!("{path}.strengths.constant")) {
            page.tell(&facts, &[&format!("{begins}; no star of the survey taught it.")]);
            continue;
        }
        let of = |name: &str| format!("{{{path}.strengths.{name}}}");
        page.tell(
            &facts,
            &[&format!(
                "{begins}. The stars' lines are stronger or weaker than those of physics by {{{path}.strengths.lines}} of their depth, \
                 pixel by pixel (root mean square). From there training let coefficients go by so large a share of their spread over \
                 the pixels, at most {}: constant {}, linear {}, quadratic {} in the labels, {} in hidden labels. \
                 {{{path}.n_components}} nuisance spectra come from the stars' own residuals.",
                format_args!("{{{path}.limit}}"),
                of("constant"),
                of("linear"),
                of("quadratic"),
                of("hidden"),
            )],
        );
    }
}

/// Regressions that compared spectra with landmarks.
fn on_landmarks(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models() {
        let path = format!("models.{model}.training.0");
        if facts.has(&format!("{path}.n_landmarks")) {
            page.tell(
                &facts,
                &[&format!(
                    "{model} compares spectra with {{{path}.n_landmarks}} of its {{{path}.n_stars}} training stars, drawn at random, in place \
                     of all (Nystroem's approximation); all of them taught it."
                )],
            );
        }
    }
}

/// What networks learned before they saw the survey.
fn pretrained(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models() {
        let path = format!("models.{model}.training.0.members.0");
        if !facts.has(&format!("{path}.pretraining")) {
            continue;
        }
        page.tell(
            &facts,
            &[&format!(
                "{model} learned from {{{path}.pretraining.n_spectra}} model spectra, no two of them alike, and then from \
                 {{{path}.n_training}} stars of the survey, in steps of {{settings.models.{model}.network.pretrain.finetune}} \
                 of the size that a network from nothing would take."
            )],
        );
    }
}

/// Test stars that models do not describe.
fn not_described(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let concerned = |told_by_chi2: bool| -> Option<String> {
        let flagged = run.models().into_iter().filter_map(|model| {
            let count = format!("models.{model}.n_flagged.BAD_FIT");
            let by_chi2 = facts.number(&format!("models.{model}.n_usual")) == Some(0.0);
            (facts.has(&count) && by_chi2 == told_by_chi2).then(|| format!("{{{count}}} by {model}"))
        });
        let flagged: Vec<String> = flagged.collect();
        (!flagged.is_empty()).then(|| listed(&flagged))
    };
    let probability = "(probability below {settings.bad_fit.probability:e})";
    let by_fits = concerned(false).map(|stars| {
        format!(
            "Flagged BAD_FIT are test stars that a model does not describe, by the fits of stars held out of training \
             {probability}: {stars}. No error quoted for them need hold."
        )
    });
    let by_chi2 = concerned(true).map(|stars| {
        format!(
            "No training star was held out to tell which fits are usual, so that BAD_FIT says only that a spectrum is further \
             from the model than its noise explains {probability}, or that it has hardly a feature: {stars}. No error quoted \
             for them holds. calibration.folds above 0 judges stars by the fits of others."
        )
    });
    for sentence in [by_fits, by_chi2].into_iter().flatten() {
        page.tell(&facts, &[&sentence]);
    }
}
