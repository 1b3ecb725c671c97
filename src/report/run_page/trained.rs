//! Sections on how the Cannon was trained, and on one star beside it.

use super::{Run, in_table};
use crate::report::html::{Cell, Page};
use crate::report::label_title;
use crate::spectra::labels::unit;

/// Which stars train, what is fitted at each pixel, and why it is the largest likelihood.
pub(super) fn cannon(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading_of("The Cannon", &run.problems("5 and 6"));
    let model = facts.words("lab.model").unwrap_or_default();
    page.tell(
        &facts,
        &[
            if facts.has("settings.split.folds") {
                "This and what follows looks into the model of the first fold."
            } else {
                ""
            },
            "{lab.n_train} stars train the model, {lab.n_test} others test it; who is which was drawn by a seed \
             ({seed}), and every model of the run has these to choose from.",
        ],
    );
    page.subheading("The model");
    page.tell(
        &facts,
        &[
            "At each pixel on its own, flux is a polynomial of the labels plus scatter (Ness et al. 2015, Eq. 1): X \u{3b8} = f. \
             A row of X belongs to a training star, and holds the {lab.n_terms} products of its scaled labels; a column of \u{3b8} \
             holds a pixel's coefficients; f is the normalized flux.",
            "X has {lab.n_train} rows and {lab.n_terms} columns, \u{3b8} {lab.n_terms} rows and {lab.n_pixels} columns, f \
             {lab.n_train} rows and {lab.n_pixels} columns.",
        ],
    );
    let terms: Vec<String> =
        (0..facts.count("lab.terms")).map(|n| term(facts.words(&format!("lab.terms.{n}")))).collect();
    page.verbatim(&format!("a row of X:  {}", terms.join("   ")));
    page.tell(
        &facts,
        &["Each label enters as its distance from the training stars' middle, in units of their spread:"],
    );
    let scaled = |label: &&str| {
        let of = |field: &str| Cell::told(&facts, &in_table(&format!("lab.scaling.{label}.{field}"), label));
        vec![Cell::words(super::title(label)), of("pivot"), of("scale")]
    };
    page.table(&["label", "taken off", "divided by"], &run.labels().iter().map(scaled).collect::<Vec<_>>());
    page.tell(
        &facts,
        &[
            &format!(
                "With one scatter for each of {{lab.n_pixels}} pixels the model has {{models.{model}.n_parameters}} free parameters."
            ),
            "So many are no danger of their own, since each pixel has only its own few, and at most one measurement from each star; a pixel \
             that too few stars have is left out of every fit.",
        ],
    );
    likelihood(page, run);
}

/// A term as it is written: "teff*logg" is "Teff \u{b7} log g", and "1" is 1.
fn term(name: Option<&str>) -> String {
    let factors: Vec<String> = name.unwrap_or_default().split('*').map(label_title).collect();
    match factors.as_slice() {
        [a, b] if a == b => format!("{a}\u{b2}"),
        _ => factors.join("\u{b7}"),
    }
}

/// What training maximises, and the proof that it did.
fn likelihood(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.subheading("Its likelihood");
    page.verbatim(
        "ln L = -1/2 sum over stars n and pixels \u{3bb} of  ln 2\u{3c0}(\u{3c3}\u{b2} + s\u{b2})  +  (f - X\u{3b8})\u{b2} / (\u{3c3}\u{b2} + s\u{b2})",
    );
    page.tell(
        &facts,
        &[
            "\u{3c3} is the error of a star's flux in a pixel, s the scatter of all stars about the model there. Pixels share no \
             parameter, so that each is trained alone.",
            "At a fixed s the best \u{3b8} is weighted least squares, \u{3b8} = (X\u{1d40}W X)\u{207b}\u{b9} X\u{1d40}W f with weights W = \
             (\u{3c3}\u{b2} + s\u{b2})\u{207b}\u{b9}; s itself enters in no such simple way, and one number is left to be found in every pixel.",
        ],
    );
    let n_pixels = facts.count("lab.likelihood");
    if n_pixels == 0 {
        return;
    }
    run.show(
        page,
        "likelihood",
        &["The likelihood of three pixels against s, each at its best \u{3b8}, below its maximum."],
    );
    page.tell(
        &facts,
        &[
            "That a hill is the highest is proved, not hoped: between two values of s the likelihood lies below a bound that \
             follows from both (its logarithms are convex, what is left of the flux is concave in the weights), and wherever the \
             bound is below what is reached elsewhere, the maximum is not. What is left is the bracket. Inside, the maximum is \
             where the derivative changes its sign, found here in double precision and apart from training.",
        ],
    );
    let row = |n: usize| {
        let of = |field: &str, format: &str| format!("{{lab.likelihood.{n}.{field}{format}}}");
        let hill = facts.yes(&format!("lab.likelihood.{n}.one_hill")) == Some(true);
        vec![
            Cell::told_words(&facts, &of("what", "")),
            Cell::told(&facts, &of("wavelength", ":.2")),
            Cell::told(&facts, &of("n_stars", "")),
            Cell::told(&facts, &of("trained", ":.5")),
            Cell::told(&facts, &of("largest", ":.5")),
            Cell::told(&facts, &format!("{} to {}", of("bracket.0", ":.5"), of("bracket.1", ":.5"))),
            Cell::words(if hill { "one" } else { "several" }),
            Cell::told(&facts, &of("log_likelihood", ":.1")),
        ]
    };
    let head = ["pixel", "\u{c5}", "stars", "s, trained", "s of the maximum", "bracket of s", "hills", "ln L"];
    page.table(&head, &(0..n_pixels).map(row).collect::<Vec<_>>());
}

/// Whether the model describes a star.
pub(super) fn fitted_star(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading_of("A star beside its model", &run.problems("7"));
    let model = facts.words("lab.model").unwrap_or_default();
    let trained = facts.yes("lab.fitted_star.is_training") == Some(true);
    let kind = if trained { "one of the stars that it learned from" } else { "a test star" };
    run.show(
        page,
        "observed_vs_model",
        &[
            &format!(
                "{{lab.fitted_star.id}}, {kind} (SNR {{lab.fitted_star.snr:.0}}), and the model at the labels fitted to \
                 all its pixels and at the catalogue's."
            ),
            "Between {settings.lab.window.0:.0} and {settings.lab.window.1:.0} \u{c5} star and model differ by \
             {lab.fitted_star.residual_in_window:.4} at the fitted labels (root mean square of \
             {lab.fitted_star.n_pixels_in_window} pixels), where noise and scatter make one expect \
             {lab.fitted_star.expected_in_window:.4}; {lab.fitted_star.within_2_sigma:%0} of these pixels lie within two \
             standard deviations.",
            "At the catalogue's labels they differ by {lab.fitted_star.residual_at_catalogue:.4}.",
        ],
    );
    page.tell(
        &facts,
        &["The star that was asked for, {lab.fitted_star.asked_for}, was not selected; this one has the median \
           chi^2 of the test stars without flags, {lab.fitted_star.chi2_reduced:.2} per degree of freedom."],
    );
    let row = |k: usize| {
        let path = |field: &str| format!("lab.fitted_star.labels.{k}.{field}");
        let name = facts.words(&path("name")).unwrap_or_default();
        let told = |field: &str| Cell::told(&facts, &in_table(&path(field), name));
        let head = match unit(name) {
            "" => label_title(name),
            unit => format!("{}, {unit}", label_title(name)),
        };
        vec![Cell::words(head), told("estimate"), told("error"), told("catalogue")]
    };
    let rows: Vec<Vec<Cell>> = (0..facts.count("lab.fitted_star.labels")).map(row).collect();
    page.table(&["label", "fitted", "formal error", "catalogue"], &rows);
    page.tell(
        &facts,
        &[&format!(
            "Of {{models.{model}.n_test}} stars that it had not seen, labels were fitted in the same way; their median chi^2 per \
             degree of freedom is {{models.{model}.chi2_reduced_median:.2}}."
        )],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_written_as_products_of_labels() {
        let written = ["1", "teff", "teff*logg", "fe_h*fe_h", "teff*teff*teff"].map(|name| term(Some(name)));
        assert_eq!(written, ["1", "Teff", "Teff\u{b7}log g", "[Fe/H]\u{b2}", "Teff\u{b7}Teff\u{b7}Teff"]);
    }
}
