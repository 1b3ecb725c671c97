//! How estimates come out at both ends of each label's range: the worst case in a sentence, all of them in a table.

use std::collections::BTreeMap;

use super::{Run, in_table, listed, title};
use crate::findings::saturation::Saturation;
use crate::report::html::{Cell, Page};
use crate::report::{label_title, saturation};

/// Title of the table.
const TITLE: &str = "The ends of each label's range";

/// What is known of the ends of every model's labels, by label.
fn of_models(run: &Run) -> Vec<(&str, BTreeMap<String, Saturation>)> {
    let found = |model: &str| {
        let found = run.facts().at(&format!("models.{model}.saturation")).cloned().unwrap_or_default();
        serde_json::from_value(found).unwrap_or_default()
    };
    run.models().into_iter().map(|model| (model, found(model))).collect()
}

/// The worst end of all models and labels, and where the others are.
pub(super) fn worst(page: &mut Page, run: &Run) {
    let of_models = of_models(run);
    let all: Vec<(&str, &str, &Saturation)> = of_models
        .iter()
        .flat_map(|(model, found)| found.iter().map(move |(label, found)| (*model, label.as_str(), found)))
        .collect();
    let Some(sentence) = saturation::worst(&all) else { return };
    let others = format!("No end of a label's range is farther off, in parts of that range; \"{TITLE}\" has them all.");
    page.tell(&run.facts(), &[&sentence, &others]);
}

/// A row for each label and model.
pub(super) fn table(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let of_models = of_models(run);
    let mut rows = Vec::new();
    for label in run.labels() {
        let known = of_models.iter().filter_map(|(model, found)| Some((model, found.get(label)?)));
        for (index, (model, found)) in known.enumerate() {
            let of = |field: &str| format!("models.{model}.saturation.{label}.{field}");
            let bias = |field: &str, words: &str| {
                let number = in_table(&of(field), label).replace(':', ":+");
                Cell::told_words(&facts, format!("{number} {words}").trim_end())
            };
            let [lowest, highest] = saturation::directions(label, found);
            rows.push(vec![
                Cell::words(if index == 0 { title(label) } else { String::new() }),
                Cell::words(model),
                Cell::told(&facts, &in_table(&of("lowest.limit"), label)),
                bias("lowest.bias", lowest),
                Cell::told(&facts, &in_table(&of("highest.limit"), label)),
                bias("highest.bias", highest),
                Cell::told(&facts, &format!("{{{}:.3}}", of("slope"))),
                Cell::told(&facts, &format!("{{{}:.3}}", of("expected_slope"))),
            ]);
        }
    }
    if rows.is_empty() {
        return;
    }
    page.subheading(TITLE);
    page.tell(
        &facts,
        &["Mean of estimate minus reference (the truth where it is known, else the catalogue) of the stars with the lowest \
           and the highest tenth of a label, in words where it is clearly off and large enough to matter. The slope is what a \
           unit of the reference does to the estimate: one if nothing falls short, and less by what errors of the reference \
           itself do, which is the slope expected."],
    );
    let head = [
        "label",
        "model",
        "lowest tenth below",
        "bias there",
        "highest tenth above",
        "bias there",
        "slope",
        "expected",
    ];
    page.table(&head, &rows);
    run.show(
        page,
        "slopes_along_snr",
        &["The slope in parts of the test stars by SNR, with intervals of {interval_level:%0}: noise draws regressions towards \
           the mean of their training stars."],
    );
    corrections(page, run);
}

/// Which models were made to follow which labels.
fn corrections(page: &mut Page, run: &Run) {
    let facts = run.facts();
    for model in run.models() {
        let place = |k: usize| format!("models.{model}.slopes.0.labels.{k}");
        let told = |(k, label): (usize, &&str)| {
            let of = |field: &str| format!("{{{}.{field}:.3}}", place(k));
            format!("{} by {} \u{b1} {}", label_title(label), of("slope"), of("slope_error"))
        };
        let labels = run.labels();
        let known = labels.iter().enumerate().filter(|(k, _)| facts.has(&format!("{}.slope", place(*k))));
        let sentences: Vec<String> = known.map(told).collect();
        if !sentences.is_empty() {
            let sentence = format!(
                "{model} was made to follow its labels in full, by what training stars that it had not seen told: it followed {}.",
                listed(&sentences)
            );
            page.tell(&facts, &[&sentence]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Of a label with these limits and biases; those of size 50 and more are clear.
    fn of_label(limits: [f64; 2], biases: [f64; 2]) -> Value {
        let tenth = |end: usize| {
            let (limit, bias) = (limits[end], biases[end]);
            json!({
                "limit": limit, "n_stars": 20, "bias": bias, "bias_interval": [bias, bias], "expected_bias": 0.0,
                "size": bias.abs(), "is_clear": bias.abs() >= 50.0,
            })
        };
        json!({
            "reference": "catalogue", "n_stars": 200, "slope": 0.9, "slope_interval": [0.8, 1.0], "expected_slope": 1.0,
            "is_slope_clear": true, "lowest": tenth(0), "highest": tenth(1),
        })
    }

    /// What a page tells of these models.
    fn told(models: Value) -> String {
        let metrics = json!({ "settings": { "labels": ["teff"] }, "models": models });
        let run = Run { folder: "nowhere".into(), metrics, settings: String::new() };
        let mut page = Page::new("run");
        worst(&mut page, &run);
        table(&mut page, &run);
        page.finish()
    }

    #[test]
    fn many_models_are_one_sentence_and_a_table() {
        let model = |size: f64| json!({ "saturation": { "teff": of_label([4200.0, 5000.0], [size, -60.0]) } });
        let models: serde_json::Map<String, Value> =
            (1..8).map(|n| (format!("model{n}"), model(40.0 + 10.0 * f64::from(n)))).collect();
        let html = told(json!(models));
        let sentence = html.split("<p>").nth(1).unwrap();
        assert!(sentence.starts_with("model7: stars of the coolest tenth in Teff come out"), "{html}");
        assert_eq!((html.matches("come out").count(), html.matches("<tr><td").count()), (1, 7), "{html}");
        assert!(html.contains(">+110</data> too hot</td>") || html.contains(">+110.0</data> too hot</td>"), "{html}");
        assert!(html.contains("60.0</data> too cool</td>"), "{html}");
    }

    #[test]
    fn nothing_is_told_of_ends_that_are_not_known_or_not_off() {
        for models in [json!({}), json!({ "a": { "saturation": {} } })] {
            assert!(!told(models).contains("<p>"));
        }
        let quiet = json!({ "a": { "saturation": { "teff": of_label([4200.0, 5000.0], [3.0, -4.0]) } } });
        assert!(!told(quiet).contains("come out"));
    }
}
