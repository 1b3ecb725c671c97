//! `maury run`: an experiment, or every point of its sweep, from its file to its folder.

use std::path::Path;

use clap::Args;

use super::{ExperimentArgs, bars::Bars, logging, say};
use crate::device::Compute;
use crate::experiment::config::Experiment;
use crate::experiment::run::run;
use crate::experiment::run_folder::RunFolder;
use crate::experiment::sweep;
use crate::experiment::sweep::outcome::Reference;
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
    let (tables, files) = match experiment.points.is_empty() {
        true => run_one(&experiment, folder.path(), &args.cache(), &compute, bars)?,
        false => run_sweep(&experiment, folder.path(), &args.cache(), bars)?,
    };
    let place = folder.finish()?;
    let files: String = files.iter().map(|file| format!("  {file}\n")).collect();
    say(&format!("{tables}\n{}\n{files}", place.display()))
}

/// Tables to show, and the files to open first.
type Answer = (String, &'static [&'static str]);

fn run_one(
    experiment: &Experiment,
    folder: &Path,
    cache: &Path,
    compute: &Compute,
    bars: &Bars,
) -> crate::error::Result<Answer> {
    let mut outcome = run(experiment, folder, cache, compute, bars)?;
    let mut timings = std::mem::take(&mut outcome.timings);
    timings.measure("figures", || -> crate::error::Result<()> {
        for model in &outcome.models {
            let figure = figures::one_to_one::draw(model)?;
            figures::write(&folder.join("figures"), &format!("one_to_one-{}", model.name), &figure)?;
        }
        Ok(())
    })?;
    outcome.timings = timings;
    outcome.write(folder)?;
    let tables = format!("{}\n{}", tables::metrics_table(&outcome), tables::timings_table(&outcome));
    Ok((tables, &["metrics.json", "predictions.csv", "figures"]))
}

fn run_sweep(experiment: &Experiment, folder: &Path, cache: &Path, bars: &Bars) -> crate::error::Result<Answer> {
    let outcome = sweep::run::run(experiment, folder, cache, bars)?;
    for reference in outcome.references() {
        let name = if reference == Reference::Truth { "sweep-vs_truth" } else { "sweep" };
        figures::write(&folder.join("figures"), name, &figures::sweep::draw(&outcome, reference)?)?;
    }
    outcome.write(folder)?;
    Ok((report::sweep::table(&outcome), &["sweep.csv", "metrics.json", "figures", "points"]))
}
