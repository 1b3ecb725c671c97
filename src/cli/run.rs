//! `maury run`: an experiment, or every point of its sweep, from its file to its folder.

use std::path::Path;

use clap::Args;

use super::bars::Bars;
use super::{ExperimentArgs, logging, say_of, signals};
use crate::data::files;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::experiment::emulate::emulate;
use crate::experiment::load::Experiment;
use crate::experiment::run::run;
use crate::experiment::run_folder::{RunFolder, left_by_stop};
use crate::experiment::sweep;
use crate::experiment::sweep::outcome::Reference;
use crate::report::model_card::model_card;
use crate::report::run_page::{self, REPORT};
use crate::report::summary::summary;
use crate::report::{self, explorer, figures, run_figures, sweep_page, tables};

/// All tables of a run as text, in its folder.
pub(super) const TABLES: &str = "tables.txt";
/// Lines of a sweep's table that the terminal shows, at most.
const MOST_LINES: usize = 50;

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n\n\
maury run configs/arrays.toml --set data.arrays.flux=flux.npy \\\n  \
--set data.arrays.error=error.npy --set data.arrays.labels=labels.csv \\\n  \
--set 'labels=[\"teff\",\"logg\"]'\n\n\
maury run configs/apogee.toml --set 'sweep.\"continuum.order\"=[1,2,3]'")]
pub struct RunArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Go on with the last run of this experiment that Ctrl-C, a crash or a kill broke off; the result is the same.
    #[arg(long)]
    resume: bool,
}

pub fn execute(args: &RunArgs, bars: &Bars) -> anyhow::Result<()> {
    let RunArgs { experiment: args, resume } = args;
    let experiment = args.load()?;
    let compute = Compute::open(&experiment.config.device)?;
    let folder = if *resume {
        RunFolder::resume(&args.experiments, &experiment.slug, &experiment.config.resolved()?)?
    } else {
        RunFolder::create(&args.experiments, &experiment.slug)?
    };
    logging::keep_in(&folder.path().join("log.txt"))?;
    if !experiment.config.question.is_empty() {
        tracing::info!("{}: {}", experiment.slug, experiment.config.question);
    }
    let place = folder.path();
    let stopped = place.to_path_buf();
    signals::last_words(move || if stopped.is_dir() { left_by_stop(&stopped) } else { String::new() });
    signals::heed();
    let runs = args.experiments.join(&experiment.slug).display().to_string();
    let answer = if experiment.config.data.library.is_some() {
        train_emulators(&experiment, place, &compute, bars)
    } else if experiment.points.is_empty() {
        run_one(&experiment, (place, &runs), &args.cache(), &compute, bars)
    } else {
        run_sweep(&experiment, (place, &runs), &args.cache(), bars)
    };
    let kept = answer.and_then(|answer| {
        files::write_bytes(&place.join(TABLES), &answer.tables)?;
        Ok(answer)
    });
    let Answer { shown, files, .. } = match kept {
        Ok(answer) => answer,
        Err(err) => return Err(broken_off(folder, err).into()),
    };
    let place = folder.finish()?;
    let files: String = files.iter().map(|file| format!("  {file}\n")).collect();
    say_of(&format!("{shown}\n{}\n{files}", place.display()), &place)
}

/// Keeps what training has left of a run that failed, and says so, unless the same would only happen again.
fn broken_off(folder: RunFolder, err: Error) -> Error {
    let again = matches!(err.root(), Error::Training { .. } | Error::TooFewStars { .. } | Error::Config(_));
    if again {
        folder.discard();
    } else if folder.can_be_resumed() {
        if !matches!(err, Error::Interrupted { kept: true }) {
            let place = folder.path().display();
            tracing::warn!("what was trained is kept in {place}; go on with the same command and --resume");
        }
        folder.keep();
    }
    err
}

/// What a run has to say.
struct Answer {
    /// In short, for the terminal.
    shown: String,
    /// All of it, for [`TABLES`].
    tables: String,
    /// Files to open first.
    files: Vec<&'static str>,
}

fn run_one(
    experiment: &Experiment,
    (folder, runs): (&Path, &str),
    cache: &Path,
    compute: &Compute,
    bars: &Bars,
) -> Result<Answer> {
    let mut outcome = run(experiment, folder, cache, compute, bars)?;
    let mut timings = std::mem::take(&mut outcome.timings);
    timings.measure("figures", || run_figures::write(experiment, &outcome, folder))?;
    timings.measure("explorer", || explorer::write(&outcome, folder))?;
    outcome.timings = timings;
    outcome.write(folder)?;
    run_page::write(folder)?;
    let compared = outcome.comparison.as_ref().map(report::comparison::table).unwrap_or_default();
    let metrics = tables::metrics_table(&outcome);
    let posteriors = outcome.models.iter().filter_map(|model| Some((&model.name, model.posteriors.as_ref()?)));
    let posteriors: String =
        posteriors.map(|(name, found)| report::posterior::model_lines(name, &found.metrics())).collect();
    let calibration = report::calibration::table(&outcome);
    let tables = [metrics, calibration, compared, posteriors, tables::timings_table(&outcome.timings)];
    let tables = tables.into_iter().filter(|table| !table.is_empty()).collect::<Vec<_>>().join("\n");
    let has_networks = folder.join("tensorboard").is_dir();
    let mut files =
        vec!["report.html: open this first", "explore.html: every star", "metrics.json", "predictions.csv", "figures"];
    files.extend(outcome.outliers.as_ref().map(|_| "outliers.html"));
    files.extend(has_networks.then_some("tensorboard (tensorboard --logdir)"));
    Ok(Answer { shown: summary(&outcome, runs), tables, files })
}

fn run_sweep(experiment: &Experiment, (folder, runs): (&Path, &str), cache: &Path, bars: &Bars) -> Result<Answer> {
    let outcome = sweep::run::run(experiment, folder, cache, bars)?;
    let mut drawn = Vec::new();
    for reference in outcome.references() {
        let name = if reference == Reference::Truth { "sweep-vs_truth" } else { "sweep" };
        let figure = figures::sweep::draw(&outcome, reference)?;
        figures::write(&folder.join("figures"), name, &figure)?;
        drawn.push((reference, figure));
    }
    files::write_bytes(&folder.join(REPORT), sweep_page::page(&outcome, &experiment.config, &drawn)?)?;
    outcome.write(folder)?;
    let tables = report::sweep::table(&outcome);
    let mut shown: String = tables.split_inclusive('\n').take(MOST_LINES).collect();
    if shown.len() < tables.len() {
        shown += &format!("all {} lines: sweep.csv, or `maury report --text {runs}`\n", tables.lines().count());
    }
    Ok(Answer { shown, tables, files: vec!["report.html", "sweep.csv", "metrics.json", "figures", "points"] })
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
    Ok(Answer { shown: tables.clone(), tables, files: vec!["metrics.json", "figures", "models"] })
}
