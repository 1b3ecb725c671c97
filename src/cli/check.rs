//! `maury check`: is this file an experiment?

use super::{ExperimentArgs, say, tell};
use crate::experiment::load::Experiment;
use crate::experiment::sweep::points::place;

pub fn execute(args: &ExperimentArgs) -> anyhow::Result<()> {
    let experiment = args.load()?;
    say(&experiment.config.resolved()?)?;
    say(&points(&experiment))?;
    let runs = args.experiments.join(&experiment.slug);
    tell(&format!("{}: a valid experiment; its runs go to {}", args.file.display(), runs.display()));
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
