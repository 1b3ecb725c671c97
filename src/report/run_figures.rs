//! All figures of a run, written into its folder, and the page of its outliers.

use std::collections::BTreeMap;
use std::path::Path;

use super::figures::comparison::NamedFigure;
use super::{figures, outliers_page};
use crate::data::files;
use crate::error::{Error, Result};
use crate::experiment::load::Experiment;
use crate::experiment::model_outcome::ModelOutcome;
use crate::experiment::outcome::Outcome;
use crate::findings::comparison::contestant::Contestant;

/// Draws and writes every figure of a run.
///
/// # Errors
/// [`crate::error::Error::Figure`], [`crate::error::Error::Io`]; of reading trained models.
pub fn write(experiment: &Experiment, outcome: &Outcome, folder: &Path) -> Result<()> {
    let place = folder.join("figures");
    for model in &outcome.models {
        for (index, training) in model.training.iter().enumerate() {
            let members = training.members();
            if members.is_empty() {
                continue;
            }
            let fold = if model.training.len() > 1 { format!("-fold{}", index + 1) } else { String::new() };
            let title = format!("{}: training{}", model.name, fold.replace('-', ", "));
            let figure = figures::training_curves::draw(&title, &experiment.config.labels, members)?;
            figures::write(&place, &format!("training_curves-{}{fold}", model.name), &figure)?;
        }
        figures::write(&place, &format!("one_to_one-{}", model.name), &figures::one_to_one::draw(model)?)?;
    }
    if let Some(figure) = figures::slopes::draw(&outcome.models, experiment.config.bootstrap.level)? {
        figures::write(&place, "slopes_along_snr", &figure)?;
    }
    let contestants: Vec<Contestant> = outcome.models.iter().map(ModelOutcome::contestant).collect();
    let comparison = outcome.comparison.as_ref().map(|comparison| figures::comparison::draw(comparison, &contestants));
    let lab = outcome.lab.as_ref().map(figures::lab::draw);
    let drawn = [Some(figures::calibration::draw(&outcome.models, experiment.config.bootstrap.level)), comparison, lab];
    let drawn = drawn.into_iter().flatten().map(as_far_as_it_can_be).collect::<Result<Vec<_>>>()?;
    for (name, figure) in drawn.into_iter().flatten() {
        figures::write(&place, &name, &figure)?;
    }
    write_outliers(&experiment.slug, outcome, folder)?;
    for model in outcome.models.iter().filter(|model| !model.departures.is_empty()) {
        let title = format!("{}: stars against physics", model.name);
        let figure = figures::departures::draw(&title, &outcome.grid, &model.departures)?;
        figures::write(&place, &format!("departures-{}", model.name), &figure)?;
    }
    write_latent_spectra(outcome, folder)
}

/// Figures that cannot be drawn are named and left out: no run is lost for a picture.
fn as_far_as_it_can_be(drawn: Result<Vec<NamedFigure>>) -> Result<Vec<NamedFigure>> {
    match drawn {
        Err(err @ Error::Figure { .. }) => {
            tracing::warn!("{err}");
            Ok(Vec::new())
        }
        drawn => drawn,
    }
}

/// The page of the outliers, and its figures beside the others. A star that cannot be drawn is named, and has none.
fn write_outliers(name: &str, outcome: &Outcome, folder: &Path) -> Result<()> {
    let Some(outliers) = &outcome.outliers else { return Ok(()) };
    let mut drawn = BTreeMap::new();
    for (index, star) in outliers.stars.iter().enumerate() {
        match figures::outlier::draw(outliers, star) {
            Ok(Some(figure)) => {
                figures::write_svg(&folder.join("figures/outliers"), &format!("{:02}", index + 1), &figure)?;
                drawn.insert(index, figure);
            }
            Ok(None) => {}
            Err(err) => tracing::warn!("{err}"),
        }
    }
    files::write_bytes(&folder.join("outliers.html"), outliers_page::page(name, outliers, &drawn))
}

/// What models learned beside the labels, beside what is known to change spectra of the H band.
fn write_latent_spectra(outcome: &Outcome, folder: &Path) -> Result<()> {
    let grid = &outcome.grid;
    let taught: Vec<&ModelOutcome> = outcome.models.iter().filter(|model| !model.latent_spectra.is_empty()).collect();
    let is_known = grid.is_apogee() && !taught.is_empty();
    let responses = if is_known { figures::latent::known_responses()? } else { Vec::new() };
    for ModelOutcome { name, latent_spectra: spectra, .. } in taught {
        let figure = figures::latent::components(&format!("{name}: latent spectra"), grid, spectra, &responses, &[])?;
        figures::write(&folder.join("figures"), &format!("latent_spectra-{name}"), &figure)?;
        if !responses.is_empty() {
            let title = format!("{name}: known causes among the latent spectra");
            let figure = figures::latent::responses(&title, grid, spectra, &responses, &[])?;
            figures::write(&folder.join("figures"), &format!("latent_causes-{name}"), &figure)?;
        }
    }
    Ok(())
}
