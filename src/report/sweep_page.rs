//! A sweep as one HTML page: what was varied, and what became of the scatter.

use super::html::{Cell, Page};
use super::sweep::{lines, meaning};
use crate::error::Result;
use crate::experiment::config::ExperimentConfig;
use crate::experiment::sweep::outcome::{Reference, SweepOutcome};
use crate::plot::Figure;

/// The page. Each figure shows what its reference does.
///
/// # Errors
/// [`crate::error::Error::Config`] if the settings have no place in TOML.
pub fn page(outcome: &SweepOutcome, settings: &ExperimentConfig, figures: &[(Reference, Figure)]) -> Result<String> {
    let mut page = Page::new(&outcome.slug);
    if !settings.question.is_empty() {
        page.paragraph(&settings.question);
    }
    page.paragraph(&format!(
        "{} points, each on the same stars: {} varies, the first slowest. sweep.csv and sweep.fits have a row for each \
         point and model, points/ each point as an experiment of its own.",
        outcome.points.len(),
        outcome.keys.join(", ")
    ));
    for (reference, figure) in figures {
        let lines = lines(outcome, *reference);
        let [head, rows @ ..] = lines.as_slice() else { continue };
        let words = meaning(*reference);
        page.heading(words.split(',').next().unwrap_or(&words));
        page.figure(&figure.svg, "Scatter of each label along the first key, with bootstrap intervals.");
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let row = |line: &Vec<String>| line.iter().map(Cell::number).collect::<Vec<Cell>>();
        page.table(&head, &rows.iter().map(row).collect::<Vec<_>>());
        page.paragraph(&words);
    }
    page.open_details("The configuration, every default filled in");
    page.verbatim(&settings.resolved()?);
    page.close_details();
    Ok(page.finish())
}
