//! Sections on the Cannon from inside: its parameters, a star beside its model, gradient spectra, scatter, latent causes.

use super::{Run, listed, quantity};
use crate::report::html::{Cell, Page};
use crate::report::label_title;
use crate::spectra::labels::unit;

/// Do strong gradients match known lines?
pub(super) fn gradients(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading_of("What each label does to a spectrum", &run.problems("8"));
    let label = |name: &str| format!("lab.gradients.labels.{name}");
    let labels = run.labels();
    let steps: Vec<String> = labels.iter().map(|name| format!("{} by {}", label_title(name), step(name))).collect();
    run.show(
        page,
        "gradient_spectra",
        &[
            &format!(
                "Gradient spectra at the mean training star: the change of normalized flux where a label grows ({}).",
                listed(&steps)
            ),
            "They are exact derivatives of the model; differences of model spectra agree with them to \
             {lab.gradients.check:e} of the largest.",
            "Marked are known lines of atoms, hydrogen's Brackett series among them, and heads of bands of carbon monoxide; each \
             element has a colour of its own.",
        ],
    );
    for name in &labels {
        let strongest = format!("{}.features.0", label(name));
        run.show(
            page,
            &format!("gradient-{name}"),
            &[
                &format!(
                    "{}, where most of its strongest features are: change of flux for {}.",
                    label_title(name),
                    step(name)
                ),
                &format!(
                    "The largest is {{{strongest}.feature.value:+.4}} at {{{strongest}.feature.wavelength:.2}} \u{c5}."
                ),
                &format!(
                    "It lies on a known line, {{{strongest}.nearest.line.name}} {{{strongest}.nearest.line.wavelength:.2}}."
                ),
            ],
        );
    }
    let own: Vec<&str> = labels.iter().copied().filter(|name| facts.has(&format!("{}.own", label(name)))).collect();
    page.tell(
        &facts,
        &["Do strong gradients lie at known lines? The {lab.gradients.n_features} strongest features of each gradient \
           spectrum (among {lab.n_well_measured} pixels that at least half of the training stars have), held against \
           the list of lines of atoms and band heads; a feature is a line if it lies within \
           {lab.gradients.tolerance_pixels} pixels of it. Chance is the share of all pixels that do."],
    );
    coincidences(page, run);
    let by_chance: Vec<&str> = own.iter().copied().filter(|name| is_by_chance(run, name)).collect();
    for name in &by_chance {
        page.tell(
            &facts,
            &[&format!(
                "{}: {{{}}} of {{{}}} features are at lines of {{{}}}, no more than chance gives. With {{lab.n_train}} training \
                 stars this label and what goes along with it cannot be told apart: the model does not read it off this element's \
                 lines, and of a star in which the two part, it would not know.",
                label_title(name),
                format_args!("{}.own.n_coincident", label(name)),
                format_args!("{}.own.n_features", label(name)),
                format_args!("{}.own.species", label(name))
            )],
        );
    }
    if by_chance.len() < own.len() {
        page.tell(
            &facts,
            &["A Cannon also learns what goes along with a label among the training stars: elements made in the same stars \
               vary together, and molecules form where it is cool. Which of the features at no line of the label's own \
               element are of that kind, and which are mistakes, was not looked into."],
        );
    }
    page.open_details("The strongest features of each label");
    for name in &labels {
        page.subheading(&format!("Strongest features of {}", label_title(name)));
        let change = format!("change of flux for {}", facts.plain(&step(name)).unwrap_or_default());
        features(page, run, &format!("{}.features", label(name)), (&change, "+.4"));
    }
    page.paragraph(MOLECULES);
    page.close_details();
    if facts.count("lab.gradients.likeness") > 0 {
        page.subheading("Fingerprints and errors");
        let pair = |place: &str, a: &str, b: &str| format!("{{lab.gradients.{place}.{a}-{b}:+.2}}");
        let mut rows = Vec::new();
        for (j, first) in labels.iter().enumerate() {
            for second in &labels[j + 1..] {
                rows.push(vec![
                    Cell::words(format!("{} and {}", label_title(first), label_title(second))),
                    Cell::told(&facts, &pair("likeness", first, second)),
                    Cell::told(&facts, &pair("error_correlation", first, second)),
                ]);
            }
        }
        page.tell(
            &facts,
            &["Where two gradient spectra are alike, a rise of one label can be undone by a fall of the other. Errors \
           follow from all labels' gradients together, so that those of a pair need not mirror its own. The table has the \
           correlation of each pair of gradient spectra over all pixels, and that of the two labels' formal errors, for \
           the median test star."],
        );
        page.table(&["labels", "gradient spectra", "formal errors"], &rows);
    }
}

/// Whether the features of a label are at its own element's lines no more often than chance makes likely.
fn is_by_chance(run: &Run, name: &str) -> bool {
    const LEAST: f64 = 0.01;
    run.facts().number(&format!("lab.gradients.labels.{name}.own.p_value")).is_some_and(|p| p > LEAST)
}

/// How many features of each label are known lines.
fn coincidences(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let row = |name: &&str| {
        let of = |place: &str| format!("lab.gradients.labels.{name}.{place}");
        let counted = |place: &str| {
            format!("{{{}}} of {{{}}}", of(&format!("{place}.n_coincident")), of(&format!("{place}.n_features")))
        };
        let chance = |place: &str| format!("{{{}:%1}}", of(&format!("{place}.chance")));
        vec![
            Cell::words(label_title(name)),
            Cell::told(&facts, &counted("any_line")),
            Cell::told(&facts, &chance("any_line")),
            Cell::told_words(&facts, &format!("{{{}}}", of("own.species"))),
            Cell::told(&facts, &counted("own")),
            Cell::told(&facts, &chance("own")),
        ]
    };
    let rows: Vec<Vec<Cell>> = run.labels().iter().map(row).collect();
    page.table(&["label", "at any known line", "chance", "own species", "at its lines", "chance"], &rows);
}

/// A placeholder for the step of a label that gradients are given for, with its unit.
fn step(label: &str) -> String {
    format!("{{lab.gradients.labels.{label}.step}} {}", unit(label)).trim_end().to_string()
}

/// What the column of molecules means.
const MOLECULES: &str = "A molecule is named by maury's emulator of model spectra: CN where its flux falls with more nitrogen, CO where it \
                         falls with carbon and does not rise with oxygen, OH where it falls with oxygen and not with carbon.";

/// A table of features; `value` is what stands in its second column, and its format.
pub(super) fn features(page: &mut Page, run: &Run, path: &str, value: (&str, &str)) {
    let facts = run.facts();
    let row = |index: usize| {
        let of = |field: &str, format: &str| format!("{{{path}.{index}.{field}{format}}}");
        vec![
            Cell::told(&facts, &of("feature.wavelength", ":.2")),
            Cell::told(&facts, &of("feature.value", &format!(":{}", value.1))),
            Cell::told_words(
                &facts,
                &format!("{} {}", of("nearest.line.name", ""), of("nearest.line.wavelength", ":.2")),
            ),
            Cell::told(&facts, &of("nearest.offset", ":+.2")),
            Cell::told_words(&facts, &of("molecule", "")),
        ]
    };
    let rows: Vec<Vec<Cell>> = (0..facts.count(path)).map(row).collect();
    page.table(&["wavelength, \u{c5} (vacuum)", value.0, "known line", "offset, pixels", "molecule"], &rows);
}

/// Where stars scatter about the model.
pub(super) fn scatter(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading_of("Where the model falls short: the scatter s", &run.problems("8"));
    run.show(
        page,
        "scatter_spectrum",
        &["s\u{b2} of each pixel: the variance of stars about the model beyond their noise. The median of s is \
           {lab.scatter.median:.4}, {lab.scatter.median_at_continuum:.4} at the continuum pixels, and one pixel in a \
           hundred has more than {lab.scatter.q99:.4}."],
    );
    page.tell(
        &facts,
        &[
            "Scatter is large where spectra depend on what the labels do not tell, and where a polynomial cannot follow.",
            "Of the {lab.scatter.largest_share:%0} of pixels with the largest scatter, \
             {lab.scatter.largest_at_atomic_lines:%0} lie at a known atomic line, of all pixels \
             {lab.scatter.all_at_atomic_lines:%0}.",
            "The rank correlation of s with the size of the answer that flux gives to causes beside the labels says \
             which: carbon {lab.scatter.likeness.C:+.2}, nitrogen {lab.scatter.likeness.N:+.2}, oxygen \
             {lab.scatter.likeness.O:+.2}, aluminium {lab.scatter.likeness.Al:+.2}, microturbulence \
             {lab.scatter.likeness.v_micro:+.2}, macroturbulence {lab.scatter.likeness.v_macro:+.2} (answers by maury's \
             emulator of model spectra).",
        ],
    );
    features(page, run, "lab.scatter.peaks", ("s", ".4"));
    page.paragraph(MOLECULES);
}

/// What correlated Cannons learned beside their labels.
pub(super) fn latent(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let shown: Vec<String> = run.figures_named("latent_causes-");
    if shown.is_empty() {
        return;
    }
    page.heading("What the labels do not tell");
    for name in shown {
        let model = name.trim_start_matches("latent_causes-");
        let stars = format!("{{models.{model}.n_train}} training stars");
        let components = format!("models.{model}.training.0.anchor.n_components");
        let source = match facts.number(&components) {
            None => format!("from the residuals of its {stars}"),
            Some(0.0) => "from model spectra alone (too few stars for spectra of their residuals)".into(),
            Some(_) => format!(
                "from model spectra, and in {{{components}}} nuisance spectra from the residuals of its {stars}"
            ),
        };
        run.show(
            page,
            &name,
            &[&format!(
                "What {model} learned {source}, beside the \
                 answers of flux to causes that are no labels (by maury's emulator of model spectra): for each cause \
                 the nearest combination of the learned spectra, and its share of the answer."
            )],
        );
        let (place, words) = run.reference();
        let plain = facts.words("lab.model").unwrap_or_default();
        let gain = |label: &&str| {
            let of = |model: &str| quantity(&format!("models.{model}.{place}.{label}.robust_scatter"), label);
            format!("{} from {} to {}", label_title(label), of(plain), of(model))
        };
        let gains: Vec<String> = run.labels().iter().map(gain).collect();
        if !plain.is_empty() && plain != model {
            page.tell(
                &facts,
                &[&format!(
                    "Told of nothing more, but allowed for it, it brings the robust scatter against {words} in {}.",
                    listed(&gains)
                )],
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use serde_json::json;

    #[test]
    fn features_at_no_line_of_the_element_are_not_excused() {
        let own = |p_value: f64| json!({ "own": { "species": "Si I", "p_value": p_value, "n_coincident": 0, "n_features": 30, "chance": 0.03 } });
        let run = |p_value: f64| Run {
            folder: PathBuf::new(),
            metrics: json!({ "settings": { "labels": ["si_fe"] }, "lab": { "n_train": 100, "gradients": { "labels": { "si_fe": own(p_value) } } } }),
            settings: String::new(),
        };
        let told = |p_value: f64| {
            let mut page = Page::new("gradients");
            gradients(&mut page, &run(p_value));
            page.finish()
        };
        assert!(told(1.0).contains("no more than chance gives") && !told(1.0).contains("mistake"));
        assert!(!told(1e-9).contains("no more than chance") && told(1e-9).contains("was not looked into"));
    }
}
