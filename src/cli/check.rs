//! `maury check`: is this file an experiment?

use anyhow::Context;

use super::{ExperimentArgs, say};

pub fn execute(args: &ExperimentArgs) -> anyhow::Result<()> {
    let experiment = args.load()?;
    say(&toml::to_string_pretty(&experiment.config).context("printing the experiment")?)?;
    eprintln!(
        "{}: a valid experiment; its runs go to {}",
        args.file.display(),
        args.experiments.join(&experiment.slug).display()
    );
    Ok(())
}
