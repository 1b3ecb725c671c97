//! Sections on stars: which were selected, and where they stand beside isochrones.

use super::Run;
use crate::report::html::{Cell, Page};

/// Which stars entered, and what their labels are.
pub(super) fn selection(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading_of("Stars", &run.problems("1"));
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
    page.heading_of("Kiel diagram: do the labels follow stellar evolution?", &run.problems("11"));
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
