//! The section on anchored Cannons: how far the survey's stars took them from physics, and at which lines.

use super::{Run, listed};
use crate::report::html::{Cell, Page};
use crate::report::label_title;
use crate::spectra::labels::unit;

/// What stars changed of what physics says.
pub(super) fn departures(page: &mut Page, run: &Run) {
    let facts = run.facts();
    let has_some = |model: &&str| facts.count(&format!("models.{model}.departures")) > 0;
    let models: Vec<&str> = run.models().into_iter().filter(has_some).collect();
    if models.is_empty() {
        return;
    }
    page.heading("How far the stars are from physics");
    page.tell(
        &facts,
        &["An anchored Cannon begins as the Cannon of model spectra, and lets stars change its coefficients where they insist. What \
           they changed is what physics, or what is assumed of the instrument, has wrong, as far as so many stars can tell."],
    );
    for model in models {
        let place = format!("models.{model}.departures");
        let name = |n: usize| facts.words(&format!("{place}.{n}.label"));
        let of = |n: usize, field: &str| format!("{{{place}.{n}.{field}}}");
        page.subheading(model);
        let row = |n: usize| {
            let step = name(n).map_or("flux".into(), |label| format!("{} {}", of(n, "step"), unit(label)));
            vec![
                Cell::words(name(n).map_or("the spectrum".into(), label_title)),
                Cell::told_words(&facts, step.trim_end()),
                Cell::told(&facts, &of(n, "physics_rms:.5")),
                Cell::told(&facts, &of(n, "change_rms:e")),
                Cell::told(&facts, &of(n, "correlation:+.2")),
            ]
        };
        let rows: Vec<Vec<Cell>> = (0..facts.count(&place)).map(row).collect();
        page.table(&["", "for", "physics, rms of lines", "change, rms", "correlation"], &rows);
        let (stronger, weaker): (Vec<usize>, Vec<usize>) = (0..facts.count(&place))
            .filter(|n| is_telling(run, &place, *n))
            .partition(|n| correlation(run, &place, *n) > 0.0);
        let listed = |of: Vec<usize>| {
            let titles = of.iter().map(|n| name(*n).map_or("the spectrum itself".to_string(), label_title));
            listed(&titles.collect::<Vec<String>>())
        };
        for (which, words) in [(stronger, "stronger"), (weaker, "weaker")] {
            if !which.is_empty() {
                page.tell(
                    &facts,
                    &[&format!("The stars' lines are {words} than those of physics in {}.", listed(which))],
                );
            }
        }
        run.show(
            page,
            &format!("departures-{model}"),
            &["The spectrum of the library's mean star by physics, and its change with each label; below each what stars changed of it, \
               on the same scale. Where the two go together lines answer more than physics says, where they oppose each other less."],
        );
        page.open_details("The lines at which they differ most");
        for n in 0..facts.count(&place) {
            page.subheading(&name(n).map_or("The spectrum".into(), label_title));
            page.table(
                &["wavelength, \u{c5} (vacuum)", "physics", "change", "known line", "offset, pixels"],
                &lines(run, &place, n),
            );
        }
        page.close_details();
    }
}

/// Whether the change of a spectrum goes with its lines closely enough to be called stronger or weaker ones.
fn is_telling(run: &Run, place: &str, n: usize) -> bool {
    const LEAST: f64 = 0.3;
    correlation(run, place, n).abs() > LEAST
}

fn correlation(run: &Run, place: &str, n: usize) -> f64 {
    run.facts().number(&format!("{place}.{n}.correlation")).unwrap_or(0.0)
}

fn lines(run: &Run, place: &str, n: usize) -> Vec<Vec<Cell>> {
    let facts = run.facts();
    let row = |line: usize| {
        let of = |field: &str| format!("{{{place}.{n}.features.{line}.{field}}}");
        vec![
            Cell::told(&facts, &of("wavelength:.2")),
            Cell::told(&facts, &of("physics:+.4")),
            Cell::told(&facts, &of("change:e")),
            Cell::told_words(&facts, &format!("{} {}", of("nearest.line.name"), of("nearest.line.wavelength:.2"))),
            Cell::told(&facts, &of("nearest.offset:+.2")),
        ]
    };
    (0..facts.count(&format!("{place}.{n}.features"))).map(row).collect()
}
