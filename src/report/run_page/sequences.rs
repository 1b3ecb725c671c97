//! The section on sequences of model spectra: what composition does, what gravity does, and whether they can be told apart.

use super::{Facts, Run, inside, listed};
use crate::report::html::Page;

/// What composition does to a spectrum, and what gravity does.
pub(super) fn sequences(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading_of("Composition and gravity", &run.problems("13 and 14"));
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
             alone: stars grow cooler as they climb. The correlation of the two changes over all pixels \
             is {lab.sequences.likeness:+.2}.",
            "What gravity does by itself is seen in the gradient spectra: {lab.gradients.labels.logg.step} dex of log g at \
             fixed Teff changes flux by {lab.gradients.labels.logg.rms:.4}, as much of [Fe/H] by \
             {lab.gradients.labels.fe_h.rms:.4}, {lab.gradients.labels.teff.step} K by {lab.gradients.labels.teff.rms:.4} \
             (root mean square).",
            "The two gradients have a correlation of {lab.gradients.likeness.logg-fe_h:+.2}, and the formal errors of log g \
             and [Fe/H] one of {lab.gradients.error_correlation.logg-fe_h:+.2} (median test star); those of Teff and log g \
             one of {lab.gradients.error_correlation.teff-logg:+.2}.",
        ],
    );
    distinction(page, run);
    page.tell(
        &facts,
        &["Of the sequences' spectra {lab.sequences.metallicity.n_outside} and {lab.sequences.giant_branch.n_outside} lie outside the \
           labels of the training stars, where the polynomial extrapolates; they are drawn broken."],
    );
}

/// Cool with little gravity, or warmer with more metals?
fn distinction(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let of = |field: &str| format!("lab.distinction.{field}");
    if !facts.has(&of("fe_h")) {
        return;
    }
    page.subheading("Cool with little gravity, or warmer with more metals?");
    let at_end = if facts.yes(&of("is_at_end")) == Some(true) { ", the end of what was tried" } else { "" };
    page.tell(
        &facts,
        &[
            &format!(
                "Two giants of the isochrone, one at {{{}:K}} K and log g {{{}:.1}}, the other at {{{}:K}} K and log g {{{}:.1}}: with \
                 [Fe/H] = {{{}}} for both their fluxes differ by {{{}:.4}} (root mean square of {{{}}} pixels).",
                of("cool.0"),
                of("cool.1"),
                of("warm.0"),
                of("warm.1"),
                of("isochrone_fe_h"),
                of("flux_difference"),
                of("n_pixels")
            ),
            &format!(
                "They are most alike where the warmer one has [Fe/H] = {{{}:+.2}}{at_end}, and then differ by {{{}:.4}}.",
                of("fe_h"),
                of("flux_left")
            ),
            &format!(
                "At SNR {{{}:.0}}, the median of the test stars, noise alone tells them apart by {{{}:.0}} standard deviations, \
                 all other labels being the same. They differ most here:",
                of("snr"),
                of("sigmas")
            ),
        ],
    );
    inside::features(page, run, &of("features"), ("warm minus cool", "+.4"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
}
