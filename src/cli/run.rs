//! `maury run`: an experiment from its file to its folder.

use clap::Args;

use super::{ExperimentArgs, bars::Bars, logging, say};
use crate::data::files;
use crate::device::Compute;
use crate::error::Result;
use crate::experiment::config::Experiment;
use crate::experiment::emulate::emulate;
use crate::experiment::run::run;
use crate::experiment::run_folder::RunFolder;
use crate::report::model_card::model_card;
use crate::report::{figures, tables};

#[derive(Debug, Args)]
#[command(after_help = "Example: maury run configs/arrays.toml --set data.arrays.flux=flux.npy \\\n    \
    --set data.arrays.error=error.npy --set data.arrays.labels=labels.csv --set 'labels=[\"teff\",\"logg\"]'")]
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
    if experiment.config.data.library.is_some() {
        return train_emulators(&experiment, folder, &compute, bars);
    }
    let mut outcome = run(&experiment, folder.path(), &args.cache(), &compute, bars)?;
    let mut timings = std::mem::take(&mut outcome.timings);
    timings.measure("figures", || -> Result<()> {
        for model in &outcome.models {
            let figure = figures::one_to_one::draw(model)?;
            figures::write(&folder.path().join("figures"), &format!("one_to_one-{}", model.name), &figure)?;
        }
        Ok(())
    })?;
    outcome.timings = timings;
    outcome.write(folder.path())?;
    let place = folder.finish()?;
    let files = ["metrics.json", "predictions.csv", "figures"].map(|file| format!("  {file}\n")).concat();
    say(&format!(
        "{}\n{}\n{}\n{files}",
        tables::metrics_table(&outcome),
        tables::timings_table(&outcome.timings),
        place.display()
    ))
}

/// An experiment on model spectra: emulators with their cards.
fn train_emulators(experiment: &Experiment, folder: RunFolder, compute: &Compute, bars: &Bars) -> anyhow::Result<()> {
    let (emulations, timings) = emulate(experiment, folder.path(), compute, bars)?;
    let mut answer = String::new();
    for emulation in &emulations {
        let figure = figures::emulator::draw(emulation)?;
        figures::write(&folder.path().join("figures"), &format!("errors-{}", emulation.name), &figure)?;
        let card = model_card(emulation, &experiment.config, &experiment.slug);
        files::write_bytes(&folder.path().join("models").join(&emulation.name).join("README.md"), card)?;
        answer += &tables::emulation_table(emulation);
    }
    let place = folder.finish()?;
    say(&format!(
        "{answer}\n{}\n{}\n  metrics.json\n  figures\n  models\n",
        tables::timings_table(&timings),
        place.display()
    ))
}
