//! Sections on spectra: what the files hold, what is masked, and the pseudo-continuum.

use super::Run;
use crate::report::html::{Cell, Page};
use crate::report::label_title;
use crate::spectra::quality::MASK_BIT_MEANINGS;

/// What a file holds: units, frame, wavelengths.
pub(super) fn raw(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading_of("A raw spectrum", &run.problems("2"));
    run.show(
        page,
        "raw-spectrum",
        &[
            "{lab.star.id}: flux against vacuum wavelength on the three chips of the spectrograph, {lab.star.n_visits} \
             visits combined, SNR {lab.star.snr:.0}.",
            "The median of the good pixels is {lab.star.flux_median:.0} in units of 10\u{207b}\u{b9}\u{2077} erg \
             s\u{207b}\u{b9} cm\u{207b}\u{b2} \u{c5}\u{207b}\u{b9}.",
        ],
    );
    page.tell(
        &facts,
        &["The star that was asked for, {lab.star.asked_for}, is not among the selected ones; this is the one of \
           highest SNR without flags."],
    );
    page.tell(
        &facts,
        &[
            "Units: the flux is energy per second, per square centimetre of telescope, and per \u{e5}ngstr\u{f6}m of \
             wavelength; its size says how bright the star is and how far, and nothing that a label needs.",
            "Frame: APOGEE's combined spectra are at rest. The barycentric velocity of this star, \
             {lab.star.velocity_kms:+.1} km/s, was taken out; it had moved lines in the middle of the spectrum by \
             {lab.star.velocity_shift_angstrom:+.2} \u{c5}, that is {lab.star.velocity_shift_pixels:+.1} pixels of \
             {lab.star.pixel_kms:.2} km/s.",
            "The spectrum itself says so: the minima nearest to {lab.star.lines.n_found} isolated atomic lines lie \
             {lab.star.lines.median:+.2} pixels from their vacuum wavelengths at rest (median; they scatter by \
             {lab.star.lines.robust_scatter:.2}, lines that have nothing to do with the list would by \
             {lab.star.lines.chance_scatter:.2}). A list of wavelengths in air would be off by \
             {lab.star.air_offset_pixels:+.1} pixels.",
        ],
    );
    page.subheading("Its wavelengths");
    page.tell(
        &facts,
        &["The file holds no array of wavelengths but two numbers of its header: pixel i, counted from zero, lies at log\u{2081}\u{2080} \
           \u{3bb} = {lab.star.log_wavelength.0:.3} + {lab.star.log_wavelength.1:e} i, which runs from {lab.star.wavelengths.0:.2} to \
           {lab.star.wavelengths.1:.2} \u{c5} in vacuum. Equal steps of the logarithm are equal steps of velocity, \
           {lab.star.pixel_kms:.2} km/s each, so that a star's motion shifts all its lines by the same number of pixels."],
    );
    visits(page, run);
}

/// Why a star's velocity is another one at each visit.
fn visits(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let n_visits = facts.count("lab.star.visits");
    if n_visits == 0 {
        return;
    }
    page.subheading("Its visits");
    page.tell(
        &facts,
        &["The Earth carries the telescope around the Sun and around its own axis: what the telescope saw of the star's velocity \
           changes from night to night, and with the Earth's part added (the barycentric correction of that hour) it is the \
           star's own. Visits are shifted by what was seen, each by its own, before they are combined."],
    );
    let row = |visit: usize| {
        let of =
            |field: &str, format: &str| Cell::told(&facts, &format!("{{lab.star.visits.{visit}.{field}{format}}}"));
        vec![
            Cell::number((visit + 1).to_string()),
            of("mjd", ":.0"),
            of("observed_kms", ":+.2"),
            of("barycentric_correction_kms", ":+.2"),
            of("barycentric_kms", ":+.2"),
        ]
    };
    let head = ["visit", "night, MJD", "seen, km/s", "the Earth's part, km/s", "barycentric, km/s"];
    page.table(&head, &(0..n_visits).map(row).collect::<Vec<_>>());
}

/// What is masked.
pub(super) fn masks(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let bits = facts.names("fraction_per_mask_bit");
    let leaves_out = facts.number("n_pixels_left_out").is_some_and(|n| n > 0.0);
    if !facts.has("fraction_masked") || (bits.is_empty() && !leaves_out) {
        return;
    }
    page.heading_of("Masked pixels", &run.problems("3"));
    page.tell(
        &facts,
        &[
            "A pixel with one of the masked bits, without a finite flux or error, or with an absurd error is given no \
             weight: its inverse variance is zero, and what its flux says never matters again.",
            "A star loses {fraction_masked.smallest:%2} to {fraction_masked.largest:%2} of the pixels inside its chips, \
             the median star {fraction_masked.median:%2}.",
        ],
    );
    if leaves_out {
        let ranges = |key: &str| -> String {
            let place = format!("settings.pixmask.{key}");
            let range = |n: usize| format!("{{{place}.{n}.0:.1}} to {{{place}.{n}.1:.1}}");
            (0..facts.count(&place)).map(range).collect::<Vec<_>>().join(", ")
        };
        let told = |key: &str, words: &str| {
            Some(ranges(key)).filter(|text| !text.is_empty()).map(|text| format!("{words} {text}"))
        };
        let parts = [told("exclude", "what lies within"), told("include", "what lies outside of")];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let sentence = format!(
            "Left out of every model are {{n_pixels_left_out:.0}} of {{n_pixels:.0}} pixels: {}.",
            parts.join(", and ")
        );
        page.tell(&facts, &[&sentence]);
    }
    let masked: Vec<u64> = facts
        .at("settings.pixmask.bits")
        .and_then(serde_json::Value::as_array)
        .map(|bits| bits.iter().filter_map(serde_json::Value::as_u64).collect())
        .unwrap_or_default();
    let mut numbered: Vec<(u64, &str)> =
        bits.into_iter().filter_map(|bit| Some((bit.split(' ').next()?.parse().ok()?, bit))).collect();
    numbered.sort();
    let row = |(bit, name): &(u64, &str)| {
        vec![
            Cell::words(name),
            Cell::words(MASK_BIT_MEANINGS.get(*bit as usize).copied().unwrap_or_default()),
            Cell::told(&facts, &format!("{{fraction_per_mask_bit.{name}:%3}}")),
            Cell::words(if masked.contains(bit) { "masked" } else { "kept" }),
        ]
    };
    let rows: Vec<Vec<Cell>> = numbered.iter().map(row).collect();
    if rows.is_empty() {
        return;
    }
    page.table(&["bit", "meaning", "share of pixels inside the chips", ""], &rows);
}

/// Why a pseudo-continuum, and whether it is the same for stars that are alike.
pub(super) fn continuum(page: &mut Page, run: &Run) {
    let facts = run.facts();
    if !facts.has("lab") && !facts.has("look_alikes") {
        return;
    }
    page.heading_of("The pseudo-continuum", &run.problems("4"));
    run.show(
        page,
        "normalization",
        &[
            "{lab.star.id}: raw flux with its pseudo-continuum above, their ratio below; dots are continuum pixels.",
            "The polynomial (order {lab.star.continuum_order}, each chip on its own) goes through \
             {lab.star.n_continuum_good} of {lab.star.n_continuum} continuum pixels; they scatter about it by \
             {lab.star.continuum_scatter:%2}.",
        ],
    );
    if facts.has("lab") {
        page.tell(
            &facts,
            &[
                "In cool giants lines of molecules lie so densely that the true continuum is hardly seen. What is divided out is a pseudo-continuum, a smooth curve \
                 through pixels whose flux depends little on any label.",
                "That it lies below the true one does no harm as long as it does so in the same way for all stars \
                 alike: then it is part of what the model learns. The median normalized flux of this star is \
                 {lab.star.normalized_median:.3}.",
            ],
        );
    }
    run.show(
        page,
        "look_alikes",
        &[
            "{lab.look_alikes.ids.0} and {lab.look_alikes.ids.1}, two stars of high SNR that are nearly the same in \
             their labels ({lab.look_alikes.label_distance:.2} standard deviations apart).",
            "Their normalized fluxes differ by {lab.look_alikes.flux_difference:.4} (root mean square over all pixels \
             good in both), where noise alone would make {lab.look_alikes.noise:.4}.",
        ],
    );
    let labels: Vec<Vec<Cell>> = (0..facts.count("lab.look_alikes.labels"))
        .map(|k| {
            let name = facts.words(&format!("lab.look_alikes.labels.{k}.name")).unwrap_or_default();
            let value = |star: usize| {
                let path = format!("lab.look_alikes.labels.{k}.values.{star}");
                Cell::told(&facts, &super::in_table(&path, name))
            };
            vec![Cell::words(label_title(name)), value(0), value(1)]
        })
        .collect();
    if !labels.is_empty() {
        let id = |star: usize| facts.words(&format!("lab.look_alikes.ids.{star}")).unwrap_or_default();
        page.table(&["catalogue", id(0), id(1)], &labels);
    }
    page.tell(
        &facts,
        &["Over {look_alikes.n_pairs} pairs of look-alikes ({look_alikes.label_distance:.2} standard deviations apart) \
           the difference is {look_alikes.flux_difference:.4}, of which noise is {look_alikes.noise:.4}; pairs of stars \
           drawn without regard to labels differ by {look_alikes.flux_difference_unlike:.4}. Stars alike in their \
           labels have spectra alike, and what is left beyond noise is partly what the labels do not tell."],
    );
}
