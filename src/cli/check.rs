//! `maury check`: is this file an experiment?

use clap::Args;

use super::{ExperimentArgs, say, tell};
use crate::data::keyed_path::split_key;
use crate::error::Result;
use crate::experiment::feasibility::check_split;
use crate::experiment::folds::folds;
use crate::experiment::load::Experiment;
use crate::experiment::sweep::points::place;
use crate::experiment::written::{Extent, written};

/// Check an experiment file and print what in it differs from defaults; labels and cuts are looked for in the catalogue, where it is at
/// hand.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Print every setting, defaults filled in.
    #[arg(long)]
    all: bool,
    /// Say above each setting what it means.
    #[arg(long)]
    comments: bool,
}

pub fn execute(args: &CheckArgs) -> anyhow::Result<()> {
    let CheckArgs { experiment: args, all, comments } = args;
    let experiment = args.load()?;
    say(&written(&experiment.config, Extent { all: *all, comments: *comments })?)?;
    say(&points(&experiment))?;
    look_into_catalogue(&experiment)?;
    let runs = args.experiments.join(&experiment.slug);
    tell(&format!("{}: a valid experiment; its runs go to {}", args.file.display(), runs.display()));
    Ok(())
}

/// Says how many stars the selection leaves, where the catalogue is at hand.
///
/// # Errors
/// Those of reading it: a label or a cut may name no column.
fn look_into_catalogue(experiment: &Experiment) -> Result<()> {
    let settings = experiment.config.stars();
    let Some((catalogue, id_column)) = settings.catalogue() else { return Ok(()) };
    if !split_key(catalogue).0.is_file() {
        tell(&format!("{}: not at hand, so that labels and cuts were not looked for in it", catalogue.display()));
        return Ok(());
    }
    let (stars, cuts) = settings.select(catalogue, id_column)?;
    let all = cuts.first().map_or(stars.len(), |cut| cut.left + cut.removed);
    let split = || check_split(&experiment.config, &stars, &folds(&experiment.config, &stars));
    let refused = match (stars.is_empty(), split()) {
        (true, _) => ": none is left to learn from, and `maury run` will refuse".into(),
        (false, Err(err)) => format!(", and `maury run` will refuse: {err}"),
        (false, Ok(())) => String::new(),
    };
    tell(&format!("{}: {} of {all} stars pass all cuts{refused}", catalogue.display(), stars.len()));
    Ok(())
}

/// The points of a sweep, as comments: what is printed stays an experiment.
fn points(experiment: &Experiment) -> String {
    let sweep = &experiment.config.sweep;
    if sweep.is_empty() {
        return String::new();
    }
    let mut text = format!("\n# {} points:\n", experiment.points.len());
    for (index, point) in experiment.points.iter().enumerate() {
        text += &format!("# {:>3}  {}\n", index + 1, place(sweep.keys(), &point.values));
    }
    text
}
