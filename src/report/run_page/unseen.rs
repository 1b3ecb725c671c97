//! Sections on stars that took no part in training: bias, scatter, and whether errors are true to size.

use super::{Run, ends, in_table, title};
use crate::inference::calibration::LabelCalibration;
use crate::inference::calibration_words::is_news;
use crate::report::html::{Cell, Page};
use crate::report::label_title;
use crate::spectra::labels::unit;

/// Estimates beside the catalogue.
pub(super) fn test_stars(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let models = run.models();
    let Some(first) = models.first() else { return };
    let is_check = facts.words("settings.split") == Some("all");
    page.heading_of(if is_check { "The stars it learned from" } else { "Stars it had not seen" }, &run.problems("9"));
    let unseen = if is_check {
        format!("The {{models.{first}.n_test}} stars that are tested here trained as well: a check, and no result.")
    } else {
        format!(
            "None of the {{models.{first}.n_test}} test stars took part in training the model that labelled it: label scaling, \
             continuum pixels that are found, and every choice made in training see training stars only."
        )
    };
    page.tell(&facts, &[&unseen]);
    let (healthy, _) = run.reference();
    let mut references = vec![("labels", "the catalogue")];
    if healthy != "labels" {
        references.push(run.reference());
    }
    for (place, words) in references {
        page.subheading(&format!("Estimate minus {words}"));
        let mut rows = Vec::new();
        for label in run.labels() {
            for (index, model) in models.iter().enumerate() {
                let of = |field: &str| format!("models.{model}.{place}.{label}.{field}");
                let told = |field: &str| Cell::told(&facts, &in_table(&of(field), label));
                let number = |field: &str| in_table(&of(field), label);
                rows.push(vec![
                    Cell::words(if index == 0 { title(label) } else { String::new() }),
                    Cell::words(model),
                    Cell::told(&facts, &number("bias").replace(':', ":+")),
                    told("scatter"),
                    told("robust_scatter"),
                    Cell::told(
                        &facts,
                        &format!("{} to {}", number("robust_scatter_interval.0"), number("robust_scatter_interval.1")),
                    ),
                    told("median_formal_error"),
                    Cell::told(&facts, &format!("{{{}:.1}}", of("pulls.robust_width"))),
                ]);
            }
        }
        page.table(
            &["label", "model", "bias", "scatter", "robust", "robust, interval", "formal error", "pull width"],
            &rows,
        );
    }
    page.tell(
        &facts,
        &["Scatter is the standard deviation, robust its like from the median absolute deviation, which a few wrong \
           labels cannot move; intervals hold {interval_level:%0} of {settings.bootstrap.resamples} resamples of the \
           stars. The formal error is the median of those that the models quote, the pull width the robust scatter of \
           residuals in units of them: it would be one if they were right."],
    );
    ends::table(page, run);
    for model in &models {
        let of = |field: &str| format!("models.{model}.labels.teff.{field}");
        run.show(
            page,
            &format!("one_to_one-{model}"),
            &[
                &format!(
                    "{model}: estimated against catalogue labels of {{models.{model}.n_test}} test stars, with \
                     residuals below; {{models.{model}.n_flagged_any}} stars carry a flag and are drawn in another \
                     colour."
                ),
                "Broken lines are one standard deviation, of all these stars, on either side of equality.",
                &format!(
                    "In Teff the bias is {{{}:+.1}} K and the scatter {{{}:.1}} K (robust {{{}:.1}} K).",
                    of("bias"),
                    of("scatter"),
                    of("robust_scatter")
                ),
            ],
        );
    }
    dependence(page, run, "snr", "the signal-to-noise ratio");
    page.open_details("Bias and scatter along each label");
    for label in run.labels() {
        dependence(page, run, label, &format!("the catalogue's {}", label_title(label)));
    }
    page.close_details();
}

/// Scatter and bias in bins of one quantity.
fn dependence(page: &mut Page, run: &Run, against: &str, words: &str) {
    for (error, title) in [("scatter", "Robust scatter"), ("bias", "Median bias")] {
        let caption = format!(
            "{title} of estimate minus catalogue in bins of {words}, with bootstrap intervals of {{interval_level:%0}}."
        );
        run.show(page, &format!("{error}_vs_{against}"), &[&caption]);
    }
}

/// Whether errors are true to size.
pub(super) fn errors(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading("Formal errors and real ones");
    let cannons = run.models_of("cannon");
    let fitted = facts.words("lab.model").or(cannons.first().copied());
    let model = fitted.unwrap_or_else(|| run.best());
    let (place, words) = run.reference();
    let of = |label: &str, field: &str| format!("{{models.{model}.{place}.{label}.{field}}}");
    let sentence = |label: &str| {
        let with = |field: &str| of(label, field).replace('}', &format!(":{}}}", unit(label)));
        format!(
            "{} by {} {unit} where {} {unit} is quoted",
            label_title(label),
            with("robust_scatter"),
            with("median_formal_error"),
            unit = unit(label)
        )
    };
    let sentences: Vec<String> = run.labels().iter().map(|label| sentence(label)).collect();
    page.tell(
        &facts,
        &[
            &format!("Against {words}, {model} scatters in {}.", super::listed(&sentences)),
            if fitted.is_some() {
                "A formal error is what noise does to a fit whose model is right. Where scatter is larger, the model \
                 lacks something: stars differ in more than these labels, and pixels of one star go wrong together, \
                 while chi^2 takes each for a new piece of evidence."
            } else {
                "What a regression quotes is what it learned of its own residuals."
            },
        ],
    );
    let calibrated: Vec<&str> =
        run.models().into_iter().filter(|model| facts.count(&format!("models.{model}.calibration")) > 0).collect();
    if calibrated.is_empty() {
        page.tell(
            &facts,
            &["No errors were calibrated in this run (calibration.folds = {settings.calibration.folds})."],
        );
        return;
    }
    page.tell(
        &facts,
        &[
            "Calibrated errors are learned from training stars that models of the other training stars labelled, in \
             {settings.calibration.folds} folds; test stars take no part in them.",
            &of_members(run),
            "There are two: against this catalogue, which is what held-out stars show, and against the truth, in which the \
             catalogue's own errors are taken out as far as the same stars bear them out. Where the catalogue claims no errors \
             only the first is known, and it includes the catalogue's own.",
        ],
    );
    calibrations(page, run, &calibrated);
    run.show(
        page,
        "coverage",
        &["Share of the test stars whose reference lies within central intervals of the quoted width: on the diagonal \
           errors are true to size, below it they are too small. Broken lines are formal errors, full ones calibrated."],
    );
    run.show(
        page,
        "pit",
        &["Where the reference falls in the distribution that each estimate claims: flat if errors are true to size, \
           heaped at both ends if they are too small, on the left if estimates are too high."],
    );
    for model in calibrated {
        run.show(
            page,
            &format!("errors_along_snr-{model}"),
            &[
                &format!("{model}: scatter of the test stars along SNR, beside formal and calibrated errors."),
                "Bars are bootstrap intervals of {interval_level:%0}. The points of each bin stand side by side, and belong \
                 to one SNR.",
            ],
        );
    }
    combinations(page, run);
}

/// Which stars calibrate networks that were not trained anew for it; nothing where there are none.
fn of_members(run: &Run) -> String {
    let facts = run.facts();
    let count = |model: &&str| {
        let path = format!("models.{model}.calibration.0.labels.0.n_stars");
        facts.has(&path).then(|| format!("{{{path}}} for {model}"))
    };
    let counts: Vec<String> = run.models_of("network").iter().filter_map(count).collect();
    if counts.is_empty() || facts.words("settings.calibration.networks") != Some("members") {
        return String::new();
    }
    format!(
        "Of networks they are the stars that each member kept for validation, which also chose its epoch: {}.",
        super::listed(&counts)
    )
}

/// What held-out stars say of each label's errors, the catalogue's among them.
fn calibrations(page: &mut Page, run: &Run, models: &[&str]) {
    let facts = run.facts();
    let mut rows = Vec::new();
    let mut sentences = Vec::new();
    for (k, label) in run.labels().into_iter().enumerate() {
        let mut news: Option<(f64, String)> = None;
        for (index, model) in models.iter().enumerate() {
            let of = |field: &str| format!("models.{model}.calibration.0.labels.{k}.{field}");
            let number = |field: &str| facts.number(&of(field));
            let claims = number("catalogue_error").is_some_and(|error| error > 0.0);
            let told = |field: &str| Cell::told(&facts, &in_table(&of(field), label));
            let absent = || Cell::words("-");
            let check = format!("models.{model}.error_checks.catalogue.{label}.calibrated.pulls.robust_width");
            rows.push(vec![
                Cell::words(if index == 0 { title(label) } else { String::new() }),
                Cell::words(model),
                told("scatter"),
                if claims { told("catalogue_error") } else { absent() },
                if claims { Cell::told(&facts, &format!("{{{}:.2}}", of("catalogue_factor"))) } else { absent() },
                Cell::words(match claims {
                    true if is_overshadowed(run, model, k) => "truth, hardly known",
                    true => "truth",
                    false => "catalogue",
                }),
                Cell::told(&facts, &format!("{{{check}:.2}}")),
            ]);
            let (Some(factor), Some(scatter)) = (number("catalogue_factor"), number("scatter")) else { continue };
            let doubt = number("catalogue_factor_error").unwrap_or(0.0);
            if claims && is_news(factor, doubt) && news.as_ref().is_none_or(|(least, _)| scatter < *least) {
                let size = if factor < 1.0 { "large" } else { "small" };
                let sentence = format!(
                    "The catalogue's errors of {} look too {size}: held-out stars of {model} agree with {{{}:.2}} times \
                     what it claims.",
                    label_title(label),
                    of("catalogue_factor")
                );
                news = Some((scatter, sentence));
            }
        }
        sentences.extend(news.map(|(_, sentence)| sentence));
    }
    let folds = if facts.has("settings.split.folds") { "Numbers are those of the first fold." } else { "" };
    page.tell(
        &facts,
        &[
            "Held out is the robust scatter of such stars about the catalogue, f what the errors that it claims must be \
             multiplied with to agree with them; then what calibrated errors are against, hardly known where the catalogue's own \
             are nearly all that is seen, and how wide the pulls of the test stars against the catalogue are, whose own error, \
             times f, counts too.",
            folds,
        ],
    );
    page.table(&["label", "model", "held out", "catalogue claims", "f", "calibrated against", "pull width"], &rows);
    page.tell(&facts, &sentences.iter().map(String::as_str).collect::<Vec<_>>());
}

/// Whether the catalogue's own errors hide those of a model.
fn is_overshadowed(run: &Run, model: &str, k: usize) -> bool {
    let found = run.facts().at(&format!("models.{model}.calibration.0.labels.{k}")).cloned();
    let found = found.and_then(|found| serde_json::from_value::<LabelCalibration>(found).ok());
    found.is_some_and(|label| label.is_overshadowed())
}

/// How combinations weigh their members, and whether they gain.
fn combinations(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models_of("combination") {
        let of = |field: &str| format!("models.{model}.training.0.{field}");
        let members = facts.names(&of(&format!("weights.{}", run.labels().first().copied().unwrap_or_default())));
        if members.is_empty() {
            continue;
        }
        page.subheading(&format!("What {model} is made of"));
        page.tell(
            &facts,
            &[
                &format!(
                    "Label by label, a mean of its members with shares learned from {{{}}} training stars that none of \
                     them had seen (median of the test stars), beside the scatter of each on those stars: the root of the \
                     mean of squares, wild residuals counting less. The combination's is by shares that others of these \
                     stars taught; where shares gain nothing it is its best member alone.",
                    of("n_held_out")
                ),
                if facts.has("settings.split.folds") { "Numbers are those of the first fold." } else { "" },
            ],
        );
        let mut rows = Vec::new();
        for label in run.labels() {
            let scatter = |place: &str| in_table(&of(&format!("held_out_scatter.{label}.{place}")), label);
            let mut row = vec![Cell::words(title(label))];
            for member in &members {
                let share = format!("{{{}:%0}}", of(&format!("weights.{label}.{member}")));
                let own = scatter(&format!("members.{member}"));
                row.push(Cell::told_words(&facts, &format!("{share} ({own})")));
            }
            row.push(Cell::told(&facts, &scatter("combination")));
            row.push(Cell::words(match facts.words(&of(&format!("recipes.{label}"))) {
                Some("best-member") => "best member alone",
                Some("shares") => "the same for all stars",
                Some("shares-by-star") => "by each star's errors",
                _ => "-",
            }));
            rows.push(row);
        }
        let mut head = vec!["label"];
        head.extend(&members);
        head.extend([model, "shares"]);
        page.table(&head, &rows);
    }
}
