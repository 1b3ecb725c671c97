//! The outliers of a run as one HTML page: a table, what the verdicts are worth, and each star with its numbers.

use std::collections::BTreeMap;

use super::html::{Cell, Page};
use super::{counted, in_unit, percent, plain, title_with_unit};
use crate::findings::outliers::{Effect, FaultySpectrum, NOT_LISTED, Outlier, Outliers, Score, Spread, Verdict};
use crate::plot::Figure;
use crate::spectra::labels::unit;
use crate::spectra::quality::star_flags;

/// The page. `figures` belong to the first outliers, by their positions.
pub fn page(name: &str, outliers: &Outliers, figures: &BTreeMap<usize, Figure>) -> String {
    let mut page = Page::new(&format!("{name}: stars that disagree with the catalogue"));
    page.paragraph(&summary(outliers));
    if !outliers.stars.is_empty() {
        page.table(
            &["star", "verdict", "label", "estimate", "catalogue", "deviation", "chi^2 per pixel", "S/N"],
            &outliers.stars.iter().map(|star| row(outliers, star)).collect::<Vec<_>>(),
        );
        page.paragraph(
            "The deviation is estimate minus catalogue about its median, in robust scatters (1.4826 times the median \
             absolute deviation of all test stars), of the label that deviates most. Unusual is what lies far from the \
             median of all test stars in the same measure, of logarithms.",
        );
        rules(&mut page);
    }
    if let Some(score) = &outliers.score {
        scores(&mut page, score);
    }
    if let Some(effect) = &outliers.effect {
        effects(&mut page, effect, &outliers.label_names);
    }
    faulty_spectra(&mut page, outliers);
    for (index, star) in outliers.stars.iter().enumerate() {
        page.heading(&format!("{}: {}", star.id, star.verdict.name()));
        page.paragraph(&star.reason);
        labels(&mut page, outliers, star);
        if let Some(figure) = figures.get(&index) {
            page.figure(
                &figure.svg,
                &format!(
                    "{}: normalized flux, {}'s spectrum at the estimated and at the catalogue's labels, and the \
                     residuals in units of the flux's error.",
                    star.id, outliers.model
                ),
            );
        }
        page.open_details("All numbers");
        numbers(&mut page, star);
        page.close_details();
    }
    page.finish()
}

fn summary(outliers: &Outliers) -> String {
    let n = outliers.stars.len();
    let mut text = format!(
        "Of {} that {} labelled, {n} {} from the catalogue by {} robust scatters or more in some label{}.",
        counted(outliers.n_stars, "test star"),
        outliers.model,
        if n == 1 { "deviates" } else { "deviate" },
        outliers.sigma,
        match n {
            0 => "",
            1 => " and is judged here",
            _ => " and are judged here, the farthest first",
        }
    );
    let counts: Vec<String> = Verdict::ALL
        .iter()
        .map(|verdict| (verdict.name(), outliers.stars.iter().filter(|star| star.verdict == *verdict).count()))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    if !counts.is_empty() {
        text += &format!(" Verdicts: {}.", counts.join(", "));
    }
    text
}

fn row(outliers: &Outliers, star: &Outlier) -> Vec<Cell> {
    let k = star.evidence.worst_label;
    let name = &outliers.label_names[k];
    vec![
        Cell::words(&star.id),
        Cell::words(star.verdict.name()),
        Cell::words(title_with_unit(name)),
        Cell::number(in_unit(star.estimates[k], unit(name))),
        Cell::number(in_unit(star.catalogue[k], unit(name))),
        Cell::number(plain(star.evidence.deviations[k], 1)),
        Cell::number(plain(star.evidence.spectrum.chi2_per_pixel(), 2)),
        Cell::number(plain(star.evidence.snr, 0)),
    ]
}

fn rules(page: &mut Page) {
    page.open_details("How a verdict is found");
    page.paragraph(
        "Questions are asked in this order, and the first that is answered by yes gives the verdict. dead-chip: is a chip \
         without pixels? failed-sky, binary, bad-continuum: do lines where the night sky has them, a second star at \
         another velocity, or a smooth curve on each chip explain an unusually large part of chi^2, the labels free to follow? \
         Of these the one that explains most is named. bad-continuum too: are few continuum pixels left, or do they scatter \
         unusually far? bad-spectrum: are most pixels masked, or do a few dominate an unusual chi^2? local-minimum: does \
         another start end lower, or a fit from the catalogue's labels end near them and as low? catalogue-flag: does the \
         catalogue warn by its flags or errors? wrong-label: does the spectrum fit the estimate as well as is usual and the \
         catalogue's labels clearly worse, and do other models, or the training stars whose spectra look like it, side with \
         the estimate? outside-training-set: does the estimate lie beyond all training stars? model-error: is chi^2 unusual \
         for no reason above? What is left is unexplained.",
    );
    page.paragraph(
        "The places of sky lines are those measured in APOGEE's own airglow spectra; their strengths, which differ from \
         night to night, are not used. No verdict knows the truth about a star.",
    );
    page.close_details();
}

/// Stars named on the page that do not deviate; the JSON counts all.
const MOST_OTHERS: usize = 40;

fn faulty_spectra(page: &mut Page, outliers: &Outliers) {
    let n = outliers.faulty_spectra.len();
    if n == 0 {
        return;
    }
    page.heading("Spectra at fault that do no harm");
    page.paragraph(&format!(
        "{n} of the stars that do not deviate as far have spectra that would have been given a verdict all the same: the \
         model got over it."
    ));
    let row = |star: &FaultySpectrum| {
        vec![Cell::words(&star.id), Cell::words(star.verdict.name()), Cell::words(&star.reason)]
    };
    let rows: Vec<Vec<Cell>> = outliers.faulty_spectra.iter().take(MOST_OTHERS).map(row).collect();
    page.open_details("Which ones");
    page.table(&["star", "verdict", "why"], &rows);
    page.close_details();
}

fn scores(page: &mut Page, score: &Score) {
    page.heading("Verdicts against the truth");
    page.paragraph(&format!(
        "This survey is a mock: what is wrong with each star is known, and the verdicts were given without it. Of the \
         outliers with a planted fault {} were given its name; of all outliers {} were given that or, if healthy, a verdict \
         that blames neither spectrum nor catalogue. Stars that do not deviate are not listed, and no verdict was asked for.",
        percent(score.accuracy_of_planted),
        percent(score.accuracy)
    ));
    confusion(page, &score.confusion, NOT_LISTED);
    page.paragraph("Recall is of the outliers with the fault, precision of the verdicts of that name:");
    let rows = score.faults.iter().map(|(tag, fault)| {
        vec![
            Cell::words(tag),
            Cell::number(fault.n_planted.to_string()),
            Cell::number(fault.n_listed.to_string()),
            Cell::number(fault.n_named.to_string()),
            Cell::number(fault.n_verdicts.to_string()),
            Cell::number(percent(fault.recall)),
            Cell::number(percent(fault.precision)),
        ]
    });
    page.table(
        &["planted", "test stars", "outliers", "named rightly", "verdicts of that name", "recall", "precision"],
        &rows.collect::<Vec<_>>(),
    );
    page.paragraph("The spectra of stars that are not listed, judged by themselves:");
    confusion(page, &score.confusion_of_others, "none");
}

/// Planted faults against verdicts; what stands under no verdict comes last.
fn confusion(page: &mut Page, table: &BTreeMap<String, BTreeMap<&'static str, usize>>, last: &'static str) {
    let listed = |name: &str| table.values().any(|row| row.contains_key(name));
    let names: Vec<&str> =
        Verdict::ALL.iter().map(|verdict| verdict.name()).chain([last]).filter(|name| listed(name)).collect();
    let head: Vec<&str> = std::iter::once("planted").chain(names.iter().copied()).collect();
    let rows = table.iter().map(|(tag, row)| {
        let cell = |name: &&str| {
            let count = row.get(name).map_or(String::new(), usize::to_string);
            if tag.replace('_', "-") == *name { Cell::best(count) } else { Cell::number(count) }
        };
        std::iter::once(Cell::words(tag)).chain(names.iter().map(cell)).collect()
    });
    page.table(&head, &rows.collect::<Vec<Vec<Cell>>>());
}

fn effects(page: &mut Page, effect: &Effect, label_names: &[String]) {
    page.heading("What suspicious training stars do to the model");
    let listed = |counts: &mut dyn Iterator<Item = (String, usize)>| {
        counts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    };
    let n_suspects: usize = effect.suspects.values().sum();
    let mut text = format!(
        "Each of the {} training stars was judged in the same way, by a Cannon that had trained on the other half of them. \
         {n_suspects} were found at fault",
        effect.n_training
    );
    if n_suspects > 0 {
        let mut counts = effect.suspects.iter().map(|(name, count)| (name.to_string(), *count));
        text += &format!(" ({})", listed(&mut counts));
    }
    text += ". The model was trained again without them, and once more with those kept that only have wrong labels, with \
             the estimates for labels.";
    if !effect.training_planted.is_empty() {
        let mut suspects = effect.suspects_planted.iter().map(|(name, count)| (name.clone(), *count));
        let mut planted = effect.training_planted.iter().map(|(name, count)| (name.clone(), *count));
        text += &format!(
            " Planted in them: {}; among all training stars: {}.",
            listed(&mut suspects),
            listed(&mut planted)
        );
    }
    page.paragraph(&text);
    let mut rows = Vec::new();
    for (group, labels) in &effect.scatter {
        for name in label_names {
            let Some(change) = labels.get(name) else { continue };
            let cell = |spread: &Spread| {
                let number = |value| in_unit(value, unit(name));
                Cell::number(format!("{} ({})", number(spread.scatter), number(spread.robust_scatter)))
            };
            let group = group.replace('_', " ");
            let name = Cell::words(title_with_unit(name));
            rows.push(vec![
                Cell::words(group),
                name,
                cell(&change.before),
                cell(&change.removed),
                cell(&change.relabelled),
            ]);
        }
    }
    page.table(&["test stars", "label", "as trained", "suspects removed", "relabelled"], &rows);
    page.paragraph(&format!(
        "Standard deviation (robust: 1.4826 times the median absolute deviation) of {} test stars.",
        effect.n_test
    ));
}

fn labels(page: &mut Page, outliers: &Outliers, star: &Outlier) {
    let rows = outliers.label_names.iter().enumerate().map(|(k, name)| {
        let number = |value: f64| Cell::number(in_unit(value, unit(name)));
        vec![
            Cell::words(title_with_unit(name)),
            number(star.estimates[k]),
            number(star.errors[k]),
            number(star.catalogue[k]),
            Cell::number(plain(star.evidence.deviations[k], 1)),
        ]
    });
    page.table(
        &["label", "estimate", "formal error", "catalogue", "deviation, robust scatters"],
        &rows.collect::<Vec<_>>(),
    );
}

fn numbers(page: &mut Page, star: &Outlier) {
    let (evidence, spectrum, unusual) = (&star.evidence, &star.evidence.spectrum, &star.evidence.unusual);
    let part = |part: f64, sigma: f64| format!("{} ({} robust scatters from usual)", percent(part), plain(sigma, 1));
    let mut rows = Vec::new();
    let mut row = |name: &str, value: String| rows.push(vec![Cell::words(name), Cell::words(value)]);
    row("S/N", plain(evidence.snr, 0));
    row("flags", star_flags::describe(evidence.flags));
    row("pixels masked", percent(evidence.fraction_masked));
    row("pixels masked as emission", evidence.n_emission.to_string());
    row("continuum pixels, of the usual number", percent(evidence.continuum_pixels));
    row("scatter about the continuum, over the usual", plain(evidence.continuum_residual, 2));
    row(
        "chi^2 per pixel",
        format!("{} ({} robust scatters from usual)", plain(spectrum.chi2_per_pixel(), 2), plain(unusual.chi2, 1)),
    );
    row("chi^2 at the catalogue's labels, over that", plain(spectrum.chi2_catalogue / spectrum.chi2, 2));
    row("chi^2 in the worst percent of pixels", part(spectrum.concentration, unusual.concentration));
    row("chi^2 explained by sky lines", part(spectrum.sky_part, unusual.sky));
    row(
        "their height and velocity",
        format!("{} of the continuum, {} km/s", plain(spectrum.sky_height, 3), plain(spectrum.sky_velocity_kms, 0)),
    );
    row("chi^2 explained by a second star", part(spectrum.companion_part, unusual.companion));
    row(
        "its light and velocity",
        format!("{}, {} km/s", percent(spectrum.companion_light), plain(spectrum.companion_velocity_kms, 0)),
    );
    row("chi^2 explained by smooth curves", part(spectrum.smooth_part, unusual.smooth));
    if let Some(fits) = &evidence.fits {
        row("minima found", format!("{} from {} starts", fits.n_minima, fits.n_starts));
        row(
            "the lowest",
            format!(
                "chi^2 {:.0} below the estimate's, {} robust scatters from the catalogue",
                evidence.reported_chi2 - fits.lowest.chi2,
                plain(evidence.lowest_deviation, 1)
            ),
        );
        if let Some(fit) = &fits.from_catalogue {
            row(
                "the one reached from the catalogue",
                format!(
                    "chi^2 {:.0} above the estimate's, {} robust scatters from the catalogue",
                    fit.chi2 - evidence.reported_chi2,
                    plain(evidence.from_catalogue_deviation, 1)
                ),
            );
        }
    }
    let opinions = &evidence.opinions;
    row("other models that side with the estimate", format!("{} of {}", opinions.n_agree, opinions.n_models));
    row(
        "training stars of like spectra",
        format!(
            "have {}: they {} the estimate",
            plain(opinions.look_alikes, 3),
            if opinions.look_alikes_agree { "side with" } else { "do not side with" }
        ),
    );
    row("STARFLAG, ASPCAPFLAG", format!("{}, {}", evidence.starflag, evidence.aspcapflag));
    row("catalogue error, over the usual", plain(evidence.catalogue_error, 2));
    if let Some(planted) = &star.planted {
        row("planted (no verdict saw it)", if planted.is_empty() { "nothing".into() } else { planted.clone() });
    }
    page.table(&["evidence", "value"], &rows);
}
