//! `maury run`: an experiment, or every point of its sweep, from its file to its folder.

use std::path::Path;

use clap::Args;

use super::{ExperimentArgs, bars::Bars, logging, say};
use crate::data::files;
use crate::device::Compute;
use crate::error::Result;
use crate::experiment::comparison::Contestant;
use crate::experiment::config::Experiment;
use crate::experiment::emulate::emulate;
use crate::experiment::outcome::ModelOutcome;
use crate::experiment::run::run;
use crate::experiment::run_folder::RunFolder;
use crate::experiment::sweep;
use crate::experiment::sweep::outcome::Reference;
use crate::report::model_card::model_card;
use crate::report::{self, figures, tables};

#[derive(Debug, Args)]
#[command(after_help = "Examples: maury run configs/arrays.toml --set data.arrays.flux=flux.npy \\\n    \
    --set data.arrays.error=error.npy --set data.arrays.labels=labels.csv --set 'labels=[\"teff\",\"logg\"]'\n  \
    maury run configs/lab.toml --set 'sweep.\"continuum.order\"=[1,2,3]'")]
pub struct RunArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
}

pub fn execute(args: &RunArgs, bars: &Bars) -> anyhow::Result<()> {
    let args = &args.experiment;
    let experiment = args.load()?;
    let compute = Compute::open(&experiment.config.device)?;
    let folder = RunFolder::create(&args.experiments, &experiment.slug)?;
    logging::keep_in(&folder.path().join("log.txt"))?;
    if !experiment.config.question.is_empty() {
        tracing::info!("{}: {}", experiment.slug, experiment.config.question);
    }
    let place = folder.path();
    let (tables, files) = if experiment.config.data.library.is_some() {
        train_emulators(&experiment, place, &compute, bars)?
    } else if experiment.points.is_empty() {
        run_one(&experiment, place, &args.cache(), &compute, bars)?
    } else {
        run_sweep(&experiment, place, &args.cache(), bars)?
    };
    let place = folder.finish()?;
    let files: String = files.iter().map(|file| format!("  {file}\n")).collect();
    say(&format!("{tables}\n{}\n{files}", place.display()))
}

/// Tables to show, and the files to open first.
type Answer = (String, &'static [&'static str]);

fn run_one(experiment: &Experiment, folder: &Path, cache: &Path, compute: &Compute, bars: &Bars) -> Result<Answer> {
    let mut outcome = run(experiment, folder, cache, compute, bars)?;
    let mut timings = std::mem::take(&mut outcome.timings);
    timings.measure("figures", || -> Result<()> {
        for model in &outcome.models {
            let figure = figures::one_to_one::draw(model)?;
            figures::write(&folder.join("figures"), &format!("one_to_one-{}", model.name), &figure)?;
        }
        if let Some(comparison) = &outcome.comparison {
            let contestants: Vec<Contestant> = outcome.models.iter().map(ModelOutcome::contestant).collect();
            for (name, figure) in figures::comparison::draw(comparison, &contestants)? {
                figures::write(&folder.join("figures"), &name, &figure)?;
            }
        }
        Ok(())
    })?;
    outcome.timings = timings;
    outcome.write(folder)?;
    let compared = outcome.comparison.as_ref().map(report::comparison::table).unwrap_or_default();
    let metrics = tables::metrics_table(&outcome);
    let tables = [metrics, compared, tables::timings_table(&outcome.timings)];
    let tables = tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n");
    Ok((tables, &["metrics.json", "predictions.csv", "figures"]))
}

fn run_sweep(experiment: &Experiment, folder: &Path, cache: &Path, bars: &Bars) -> Result<Answer> {
    let outcome = sweep::run::run(experiment, folder, cache, bars)?;
    for reference in outcome.references() {
        let name = if reference == Reference::Truth { "sweep-vs_truth" } else { "sweep" };
        figures::write(&folder.join("figures"), name, &figures::sweep::draw(&outcome, reference)?)?;
    }
    outcome.write(folder)?;
    Ok((report::sweep::table(&outcome), &["sweep.csv", "metrics.json", "figures", "points"]))
}

/// An experiment on model spectra: emulators with their cards.
fn train_emulators(experiment: &Experiment, folder: &Path, compute: &Compute, bars: &Bars) -> Result<Answer> {
    let (emulations, timings) = emulate(experiment, folder, compute, bars)?;
    let mut tables = String::new();
    for emulation in &emulations {
        let figure = figures::emulator::draw(emulation)?;
        figures::write(&folder.join("figures"), &format!("errors-{}", emulation.name), &figure)?;
        let card = model_card(emulation, &experiment.config, &experiment.slug);
        files::write_bytes(&folder.join("models").join(&emulation.name).join("README.md"), card)?;
        tables += &tables::emulation_table(emulation);
    }
    tables += &format!("\n{}", tables::timings_table(&timings));
    Ok((tables, &["metrics.json", "figures", "models"]))
}
