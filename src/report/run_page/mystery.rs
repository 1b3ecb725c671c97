//! The section on the star whose labels nobody told.

use super::{Run, in_table, listed, quantity};
use crate::report::html::{Cell, Page};
use crate::report::label_title;

/// The star whose labels nobody told.
pub(super) fn mystery(page: &mut Page, run: &Run) {
    let facts = run.facts();
    if !facts.has("lab.mystery") {
        return;
    }
    page.heading_of("The mystery star", &run.problems("12"));
    let withheld = facts.yes("lab.mystery.is_withheld") == Some(true);
    let n_priors = facts.count("lab.mystery.priors");
    let priors: Vec<String> = (0..n_priors).map(|index| format!("{{lab.mystery.priors.{index}}}")).collect();
    let priors = match n_priors {
        0 => String::new(),
        _ => format!("What was believed beforehand: {}.", priors.join("; ")),
    };
    page.tell(
        &facts,
        &[
            if withheld {
                "No spectrum was given as a mystery (data.mystery), so a test star plays it, {lab.mystery.id}: no model \
                 saw its labels."
            } else {
                "The spectrum of {lab.mystery.id} (SNR {lab.mystery.snr:.0}) comes without labels."
            },
            "Its posterior was sampled with {lab.mystery.chains} chains of {lab.mystery.draws} draws by Hamiltonian \
             Monte Carlo.",
            &priors,
        ],
    );
    let models = facts.names("lab.mystery.models");
    let mut rows = Vec::new();
    for (k, label) in run.labels().into_iter().enumerate() {
        for (index, model) in models.iter().enumerate() {
            let of = |field: &str| format!("lab.mystery.models.{model}.labels.{label}.{field}");
            let told = |field: &str| Cell::told(&facts, &in_table(&of(field), label));
            let catalogue = format!("lab.mystery.catalogue.{label}");
            rows.push(vec![
                Cell::words(if index == 0 { label_title(label) } else { String::new() }),
                Cell::words(model),
                told("best_fit"),
                told("formal_error"),
                told("mean"),
                told("sd"),
                Cell::told(&facts, &format!("{} to {}", in_table(&of("q16"), label), in_table(&of("q84"), label))),
                Cell::told(&facts, &in_table(&format!("models.{model}.labels.{label}.robust_scatter"), label)),
                Cell::told(
                    &facts,
                    &in_table(&format!("models.{model}.calibration.0.labels.{k}.catalogue_error"), label),
                ),
                Cell::told(&facts, &in_table(&catalogue, label)),
            ]);
        }
    }
    let mut head = vec![
        "label",
        "model",
        "best fit",
        "formal error",
        "mean",
        "sd",
        "68% of draws",
        "test stars' scatter",
        "catalogue's error",
        "catalogue",
    ];
    if !withheld {
        head.pop();
        rows.iter_mut().for_each(|row| drop(row.pop()));
    }
    page.table(&head, &rows);
    page.tell(
        &facts,
        &["Beside the widths of the posterior stand two errors of another kind: the robust scatter of test stars about the \
           catalogue, which holds what the model misses and what the catalogue does, and the error that the catalogue claims \
           for stars of its own (median of the stars that calibrate; a dash where it claims none, or nothing was calibrated)."],
    );
    for model in &models {
        let of = |field: &str| format!("lab.mystery.models.{model}.{field}");
        page.tell(
            &facts,
            &[
                &format!(
                    "{model}: the chains agree to R-hat {{{}:.4}}, the draws of the worst label are worth {{{}:.0}} \
                 independent ones, {{{}}} diverged; chi^2 per degree of freedom {{{}:.2}}, {{{}:.2}} seconds of \
                 sampling.",
                    of("worst_r_hat"),
                    of("worst_ess"),
                    of("divergences"),
                    of("chi2_reduced"),
                    of("sampling_s")
                ),
                &format!("{model} could not be sampled: {{{}}}.", of("not_sampled")),
            ],
        );
    }
    let first = models.first().copied().unwrap_or_default();
    run.show(
        page,
        "mystery",
        &[
            "Draws from the posterior of the mystery star, every label and every pair.",
            &format!(
                "Under {first}, Teff is {} with a standard deviation of {}; the correlation of Teff and log g is \
                 {{lab.mystery.models.{first}.correlation.teff-logg:+.2}}.",
                quantity(&format!("lab.mystery.models.{first}.labels.teff.mean"), "teff"),
                quantity(&format!("lab.mystery.models.{first}.labels.teff.sd"), "teff")
            ),
        ],
    );
    for model in &models {
        which_error_holds(page, run, model);
    }
}

/// What the widths of a mystery star's posterior are worth.
fn which_error_holds(page: &mut Page, run: &Run, model: &str) {
    let facts = run.facts();
    let of = |field: &str| format!("lab.mystery.models.{model}.{field}");
    let usual = format!("models.{model}.chi2_reduced_median");
    if facts.yes(&of("is_described")) != Some(true) {
        page.tell(
            &facts,
            &[&format!(
                "{model} does not describe this star: with a chi^2 of {{{}:.2}} per degree of freedom, where test \
                 stars have {{{usual}:.2}} (median), it is unlike the stars held out of training (BAD_FIT). No error holds: \
                 neither the widths above nor what test stars scatter by say how far these labels are off.",
                of("chi2_reduced")
            )],
        );
        return;
    }
    /// So many times the chi^2 of test stars is no longer theirs, even where it is not odd for the star's signal-to-noise ratio.
    const AS_OTHERS: f64 = 2.0;
    let is_as_others =
        facts.number(&of("chi2_reduced")).zip(facts.number(&usual)).is_some_and(|(own, usual)| own < AS_OTHERS * usual);
    let (place, words) = run.reference();
    let scatters: Vec<String> = run
        .labels()
        .iter()
        .map(|label| {
            let scatter = quantity(&format!("models.{model}.{place}.{label}.robust_scatter"), label);
            format!("{scatter} in {}", label_title(label))
        })
        .collect();
    if !is_as_others {
        page.tell(
            &facts,
            &[&format!(
                "{model} describes this star less well than test stars: a chi^2 of {{{}:.2}} per degree of freedom, where \
                 they have {{{usual}:.2}} (median); that is not so odd for its signal-to-noise ratio that it would be flagged, but \
                 what the model misses in it no test star tells. The widths above are what noise and the model's own scatter \
                 allow; the error is at least what test stars scatter by, against {words}: {}.",
                of("chi2_reduced"),
                listed(&scatters)
            )],
        );
        return;
    }
    page.tell(
        &facts,
        &[&format!(
            "{model} describes this star as it does others: a chi^2 of {{{}:.2}} per degree of freedom, where test \
             stars have {{{usual}:.2}} (median). The widths above are what noise and the model's own scatter allow if the \
             model were perfect; the error that holds is what test stars scatter by, against {words}: {}.",
            of("chi2_reduced"),
            listed(&scatters)
        )],
    );
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use serde_json::json;

    /// The sentences on a mystery star of this chi^2, which the model describes or not.
    fn told(is_described: bool, chi2: f64) -> String {
        let metrics = json!({
            "settings": { "labels": ["teff"] },
            "models": { "cannon": { "chi2_reduced_median": 1.02, "labels": { "teff": { "robust_scatter": 54.2 } } } },
            "lab": { "mystery": { "models": { "cannon": { "is_described": is_described, "chi2_reduced": chi2 } } } },
        });
        let run = Run { folder: PathBuf::new(), metrics, settings: String::new() };
        let mut page = Page::new("mystery");
        which_error_holds(&mut page, &run, "cannon");
        page.finish()
    }

    #[test]
    fn the_error_of_test_stars_holds_only_for_a_star_like_them() {
        let good = told(true, 1.1);
        assert!(
            good.contains("what test stars scatter by, against the catalogue")
                && good.contains(">54.2</data> K in Teff")
        );
        assert!(!good.contains("No error holds"));
        let worse = told(true, 6.2);
        assert!(
            worse.contains("less well than test stars") && worse.contains("is at least what test stars scatter by")
        );
        let bad = told(false, 4.1);
        assert!(
            bad.contains("does not describe this star") && bad.contains("No error holds") && bad.contains(">4.10<")
        );
        assert!(!bad.contains("54.2"), "{bad}");
    }
}
