//! Sections on stars: which were selected, where they stand beside isochrones, sequences, and the mystery.

use super::{Facts, Run, in_table, listed, quantity};
use crate::report::html::{Cell, Page};
use crate::report::label_title;

/// Which stars entered, and what their labels are.
pub(super) fn selection(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading("Stars");
    let n_cuts = facts.count("selection");
    let last = n_cuts.saturating_sub(1);
    page.tell(
        &facts,
        &[&format!(
            "Of {{selection.0.left}} rows of the catalogue {{selection.{last}.left}} stars remain. Each cut sees only \
             what those before it left."
        )],
    );
    let row = |cut: usize| {
        let of = |field: &str| format!("{{selection.{cut}.{field}}}");
        vec![Cell::told_words(&facts, &of("name")), Cell::told(&facts, &of("removed")), Cell::told(&facts, &of("left"))]
    };
    page.table(&["cut", "removed", "left"], &(0..n_cuts).map(row).collect::<Vec<_>>());
    if !facts.has("lab") {
        return;
    }
    page.subheading("What a cut in log g does");
    let fate = |index: usize| match facts.yes(&format!("lab.gravity.{index}.is_kept")) {
        Some(true) => ", kept",
        Some(false) => ", removed",
        None => "",
    };
    let star = |index: usize, what: &str| {
        format!(
            "{what} {{lab.gravity.{index}.radius_rsun}} times as large as the Sun has log g {{lab.gravity.{index}.logg:.2}}{}",
            fate(index)
        )
    };
    page.tell(
        &facts,
        &[
            &format!(
                "Surface gravity tells how large a star is: g = G M / R\u{b2}. With the mass of the Sun, {}; {}; {}.",
                star(0, "a star"),
                star(1, "one"),
                star(2, "one")
            ),
            "A cut at high log g therefore keeps giants and removes dwarfs, whose spectra follow other rules than a \
             model of giants can learn.",
        ],
    );
    page.subheading("Their labels");
    run.show(
        page,
        "labels",
        &[
            "Labels of the selected stars, from the catalogue: each pair of labels, and how each is spread.",
            "Half of the stars have Teff below {lab.labels.teff.q50:K} K, and nine in ten lie between \
             {lab.labels.teff.q05:K} and {lab.labels.teff.q95:K} K; in log g between {lab.labels.logg.q05:.2} and \
             {lab.labels.logg.q95:.2}, in [Fe/H] between {lab.labels.fe_h.q05:.2} and {lab.labels.fe_h.q95:.2}.",
            "A model knows nothing of stars where this figure is empty.",
        ],
    );
}

/// Do labels that were never told of stellar evolution obey it?
pub(super) fn kiel(page: &mut Page, run: &Run) {
    let facts = run.facts();
    if !facts.has("lab.kiel") {
        return;
    }
    page.heading("Kiel diagram: do the labels follow stellar evolution?");
    run.show(
        page,
        "kiel",
        &[
            "log g against Teff of {lab.kiel.n_stars} test stars, as the catalogue has them and as {lab.model} sees them, \
             coloured by [Fe/H], with isochrones of {lab.kiel.age_gyr} Gyr from MIST.",
            "Marked are the red clump, where stars burn helium in their cores, and the bump of the giant branch.",
        ],
    );
    page.tell(
        &facts,
        &[
            "The model was told of no isochrone, but it learned from the catalogue's labels, and inherits where they \
             lie. What is tested is whether labels of stars it had not seen stay on the sequence, and as tightly as the \
             catalogue's.",
            "Giants with [Fe/H] within {lab.kiel.isochrones.0.within} of {lab.kiel.isochrones.0.fe_h} \
             ({lab.kiel.isochrones.0.n_stars} stars off the clump) are {lab.kiel.isochrones.0.median_offset:+K} K from \
             the isochrone at their gravity (median), and scatter by {lab.kiel.isochrones.0.robust_scatter:K} K.",
            "At [Fe/H] {lab.kiel.isochrones.1.fe_h} it is {lab.kiel.isochrones.1.median_offset:+K} K \
             ({lab.kiel.isochrones.1.n_stars} stars).",
            "Each against an isochrone of its own [Fe/H], {lab.kiel.estimates.n_stars} stars have a median offset of \
             {lab.kiel.estimates.median_offset:+K} K and scatter by {lab.kiel.estimates.robust_scatter:K} K; with the \
             catalogue's labels it is {lab.kiel.catalogue.median_offset:+K} K and {lab.kiel.catalogue.robust_scatter:K} \
             K.",
            "One age for all stars is a fiction: ages, and abundances of alpha elements that the isochrones do not \
             have, are part of both offset and scatter.",
        ],
    );
    page.tell(
        &facts,
        &["Metal-rich giants are cooler. Between log g {lab.kiel.trend.logg_min} and {lab.kiel.trend.logg_max} Teff \
           changes by {lab.kiel.trend.estimates:+.0} K for each dex of [Fe/H] ({lab.kiel.trend.n_stars} stars; \
           catalogue {lab.kiel.trend.catalogue:+.0}); isochrones of one age have {lab.kiel.trend.isochrones:+.0} K."],
    );
    page.tell(
        &facts,
        &[
            "The red clump of the isochrone with the Sun's metallicity lies at {lab.kiel.red_clump.teff:K} K and log g \
             {lab.kiel.red_clump.logg:.2}; the most common log g of the test stars between 2 and 3 is \
             {lab.kiel.red_clump.commonest_logg:.2} ({lab.kiel.red_clump.n_in_bin} stars in a bin \
             {lab.kiel.red_clump.bin} wide).",
            "Its bump lies at {lab.kiel.bump.teff:K} K and log g {lab.kiel.bump.logg:.2}: there the shell that burns \
             hydrogen reaches matter that convection once mixed, and the star waits.",
        ],
    );
}

/// What composition does to a spectrum, and what gravity does.
pub(super) fn sequences(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading("Composition and gravity");
    let metals = Ends::of(run, "lab.sequences.metallicity.members");
    let branch = Ends::of(run, "lab.sequences.giant_branch.members");
    run.show(
        page,
        "sequence-fe_h",
        &[
            &format!(
                "Model spectra from [Fe/H] {} to {} at Teff {} K and log g {}, the other labels those of the mean training \
                 star.",
                metals.first("fe_h", ""),
                metals.last("fe_h", ""),
                metals.first("teff", ":K"),
                metals.first("logg", ":.2")
            ),
            &format!(
                "Between {{lab.sequences.window.0:.0}} and {{lab.sequences.window.1:.0}} \u{c5} the mean absorption goes from \
                 {} to {} of the continuum.",
                metals.first("absorption", ":%1"),
                metals.last("absorption", ":%1")
            ),
        ],
    );
    run.show(
        page,
        "sequence-logg",
        &[
            &format!(
                "Model spectra up the giant branch at [Fe/H] = {}: log g from {} to {}, Teff along the isochrone from {} to \
                 {} K.",
                branch.first("fe_h", ""),
                branch.first("logg", ""),
                branch.last("logg", ""),
                branch.first("teff", ":K"),
                branch.last("teff", ":K")
            ),
            &format!(
                "The mean absorption goes from {} to {}.",
                branch.first("absorption", ":%1"),
                branch.last("absorption", ":%1")
            ),
        ],
    );
    page.tell(
        &facts,
        &[
            "From one end of the first sequence to the other flux changes by {lab.sequences.metallicity.flux_change:.3} \
             (root mean square over all pixels).",
            &lines_within(&facts),
            &lines_beyond(&facts),
            "Up the giant branch it changes by {lab.sequences.giant_branch.flux_change:.3}, but there gravity does not act \
             alone: stars grow cooler as they climb, and molecules form. The correlation of the two changes over all pixels \
             is {lab.sequences.likeness:+.2}.",
            "What gravity does by itself is seen in the gradient spectra: {lab.gradients.labels.logg.step} dex of log g at \
             fixed Teff changes flux by {lab.gradients.labels.logg.rms:.4}, as much of [Fe/H] by \
             {lab.gradients.labels.fe_h.rms:.4}, {lab.gradients.labels.teff.step} K by {lab.gradients.labels.teff.rms:.4} \
             (root mean square). Composition is read off many deep lines, gravity off small changes of their shapes.",
            "The two gradients have a correlation of {lab.gradients.likeness.logg-fe_h:+.2}, and the formal errors of log g \
             and [Fe/H] one of {lab.gradients.error_correlation.logg-fe_h:+.2} (median test star); those of Teff and log g \
             one of {lab.gradients.error_correlation.teff-logg:+.2}.",
        ],
    );
    page.tell(
        &facts,
        &["Of these spectra {lab.sequences.metallicity.n_outside} and {lab.sequences.giant_branch.n_outside} lie outside the \
           labels of the training stars, where the polynomial extrapolates; they are drawn broken."],
    );
}

/// What the strong lines do with more metals, as far as training stars tell.
fn lines_within(facts: &Facts) -> String {
    let of = "lab.sequences.lines_within";
    match facts.number(&format!("{of}.n_shallower")) {
        None => String::new(),
        Some(0.0) => format!(
            "All {{{of}.n_lines}} strong atomic lines of the window are deeper at [Fe/H] {{{of}.to}} than at {{{of}.from}}, \
             the ends within the labels of the training stars."
        ),
        Some(_) => format!(
            "Of {{{of}.n_lines}} strong atomic lines of the window {{{of}.n_deeper}} are deeper at [Fe/H] {{{of}.to}} than \
             at {{{of}.from}}, the ends within the labels of the training stars; shallower are {}.",
            shallower(facts, of)
        ),
    }
}

/// What they do beyond, where nobody was there to tell.
fn lines_beyond(facts: &Facts) -> String {
    let of = "lab.sequences.lines_beyond";
    match facts.number(&format!("{of}.n_shallower")) {
        None => String::new(),
        Some(0.0) => format!("Beyond, all are deeper still at {{{of}.to}}, where the polynomial extrapolates."),
        Some(_) => format!(
            "Beyond, where the polynomial extrapolates, {{{of}.n_shallower}} of {{{of}.n_lines}} are shallower at {{{of}.to}} \
             than at {{{of}.from}} ({}): no star of the training set vouches for that.",
            shallower(facts, of)
        ),
    }
}

/// The lines that grow shallower, or the strongest of them.
fn shallower(facts: &Facts, of: &str) -> String {
    let n_named = facts.count(&format!("{of}.shallower"));
    let names: Vec<String> = (0..n_named).map(|index| format!("{{{of}.shallower.{index}}}")).collect();
    let are_more = facts.number(&format!("{of}.n_shallower")).is_some_and(|n| n > n_named as f64);
    format!("{}{}", listed(&names), if are_more { " among them" } else { "" })
}

/// Placeholders for the first and the last member of a list.
struct Ends<'a> {
    path: &'a str,
    last: usize,
}

impl<'a> Ends<'a> {
    fn of(run: &Run, path: &'a str) -> Self {
        Self { path, last: run.facts().count(path).saturating_sub(1) }
    }

    fn first(&self, field: &str, format: &str) -> String {
        format!("{{{}.0.{field}{format}}}", self.path)
    }

    fn last(&self, field: &str, format: &str) -> String {
        format!("{{{}.{}.{field}{format}}}", self.path, self.last)
    }
}

/// The star whose labels nobody told.
pub(super) fn mystery(page: &mut Page, run: &Run) {
    let facts = run.facts();
    if !facts.has("lab.mystery") {
        return;
    }
    page.heading("The mystery star");
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
    for label in run.labels() {
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
                Cell::told(&facts, &in_table(&catalogue, label)),
            ]);
        }
    }
    let mut head = vec!["label", "model", "best fit", "formal error", "mean", "sd", "68% of draws", "catalogue"];
    if !withheld {
        head.pop();
        rows.iter_mut().for_each(|row| drop(row.pop()));
    }
    page.table(&head, &rows);
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
                 what the model misses in it no test star tells. The widths above are what noise alone allows; the error is at \
                 least what test stars scatter by, against {words}: {}.",
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
             stars have {{{usual}:.2}} (median). The widths above are what noise alone allows if the model were perfect; the \
             error that holds is what test stars scatter by, against {words}: {}.",
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
    fn lines_that_grow_shallower_with_more_metals_are_named() {
        let json = json!({ "lab": { "sequences": {
            "lines_within": {
                "from": -0.5, "to": 0.0, "n_lines": 20, "n_shallower": 1, "n_deeper": 19, "shallower": ["Si I 16099"],
            },
            "lines_beyond": {
                "from": 0.0, "to": 0.5, "n_lines": 20, "n_shallower": 3, "n_deeper": 17, "shallower": ["Si I 16064", "Fe I 16011"],
            },
        } } });
        let facts = Facts::new(&json);
        assert_eq!(
            facts.plain(&lines_within(&facts)).unwrap(),
            "Of 20 strong atomic lines of the window 19 are deeper at [Fe/H] 0 than at \u{2212}0.5, the ends within the labels \
             of the training stars; shallower are Si I 16099."
        );
        assert_eq!(
            facts.plain(&lines_beyond(&facts)).unwrap(),
            "Beyond, where the polynomial extrapolates, 3 of 20 are shallower at 0.5 than at 0 (Si I 16064 and Fe I 16011 among \
             them): no star of the training set vouches for that."
        );
        let change =
            json!({ "from": -1.0, "to": 0.5, "n_lines": 20, "n_shallower": 0, "n_deeper": 20, "shallower": [] });
        let json = json!({ "lab": { "sequences": { "lines_within": change, "lines_beyond": null } } });
        let facts = Facts::new(&json);
        let within = facts.plain(&lines_within(&facts)).unwrap();
        assert!(
            within.starts_with("All 20 strong atomic lines of the window are deeper at [Fe/H] 0.5 than at \u{2212}1,")
        );
        assert_eq!(lines_beyond(&facts), "");
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
