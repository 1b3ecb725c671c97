//! The section on posteriors of the test stars: how many there are, and whether their chains came to agree.

use super::{Run, listed};
use crate::report::html::{Cell, Page};

/// What sampling came to, model by model; nothing where no model was sampled.
pub(super) fn posteriors(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let sampled: Vec<&str> =
        run.models().into_iter().filter(|model| facts.has(&format!("models.{model}.posterior"))).collect();
    let Some(first) = sampled.first() else { return };
    let of_first = |field: &str| format!("{{models.{first}.posterior.{field}}}");
    page.heading("Posteriors");
    page.tell(
        &facts,
        &[
            &format!(
                "Of every test star the posterior of its labels was sampled under each model that has a likelihood, in {} \
                 chains of {} draws by Hamiltonian Monte Carlo; posterior-<model>.fits holds quantiles and diagnostics of \
                 every label.",
                of_first("sampler.chains"),
                of_first("sampler.draws")
            ),
            "Their widths are formal errors: what noise and scatter do if the model is right.",
        ],
    );
    let row = |model: &&str| {
        let told = |field: &str| Cell::told(&facts, &format!("{{models.{model}.posterior.{field}}}"));
        let flagged = "n_flagged.NOT_MIXED";
        vec![
            Cell::words(model),
            told("n_sampled"),
            told("n_without"),
            match facts.has(&format!("models.{model}.posterior.{flagged}")) {
                true => told(flagged),
                false => Cell::number("none"),
            },
            told("r_hat_max:.4"),
            told("ess_bulk_min:.0"),
            told("divergences"),
        ]
    };
    let head = [
        "model",
        "stars sampled",
        "without a posterior",
        "NOT_MIXED",
        "worst R-hat",
        "smallest bulk ESS",
        "draws that diverged",
    ];
    page.table(&head, &sampled.iter().map(row).collect::<Vec<_>>());
    page.tell(
        &facts,
        &[&format!(
            "A star is flagged NOT_MIXED where R-hat of some label is {} or more, or its effective draws (ESS, bulk or tail) \
             are fewer than {}: its chains do not agree with each other, or are too short to show that they do, and neither \
             its quantiles nor its width are to be trusted. More draws or a longer warm-up (posterior.sampler of the \
             experiment) mend most such stars.",
            of_first("mixed_r_hat:.2"),
            of_first("mixed_ess:.0")
        )],
    );
    for model in &sampled {
        let priors = format!("models.{model}.posterior.priors");
        let each: Vec<String> = (0..facts.count(&priors)).map(|index| format!("{{{priors}.{index}}}")).collect();
        if !each.is_empty() {
            page.tell(&facts, &[&format!("Priors and nuisances of {model}: {}.", listed(&each))]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn section(metrics: Value) -> String {
        let mut page = Page::new("run");
        posteriors(&mut page, &Run { folder: "nowhere".into(), metrics, settings: String::new() });
        page.finish()
    }

    #[test]
    fn posteriors_are_counted_and_what_not_mixed_means_is_told() {
        let of = |flagged: Value| {
            json!({
                "n_sampled": 30, "n_without": 1, "r_hat_max": 1.0234, "ess_bulk_min": 312.4, "divergences": 7,
                "sampler": { "chains": 4, "draws": 300 }, "mixed_r_hat": 1.01, "mixed_ess": 400.0,
                "n_flagged": flagged, "priors": ["flat in all labels"],
            })
        };
        let html = section(json!({ "models": {
            "cannon": { "posterior": of(json!({ "NOT_MIXED": 2 })) },
            "net": {},
            "payne": { "posterior": of(json!({})) },
        } }));
        for told in [">30</data>", ">1.0234</data>", ">312</data>", ">7</data>", ">1.01</data> or more", ">400</data>:"]
        {
            assert!(html.contains(told), "{told}: {html}");
        }
        assert!(html.contains("title=\"models.cannon.posterior.n_flagged.NOT_MIXED\">2</data>"), "{html}");
        assert!(html.contains("<td class=\"n\">none</td>") && html.contains(">flat in all labels</data>"), "{html}");
        assert!(!html.contains("<td class=\"w\">net</td>"), "{html}");
        assert!(!section(json!({ "models": { "net": {} } })).contains("<h2"));
    }
}
