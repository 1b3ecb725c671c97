//! `maury report`: the page of a finished run, rendered again.

use std::path::{Path, PathBuf};

use clap::Args;

use super::run::TABLES;
use super::say;
use crate::data::files;
use crate::error::{Error, Result};
use crate::findings::comparison::runs::run_folder;
use crate::report::run_page;

/// Render the page of a finished run again, from what its folder holds, or print all its tables; nothing is computed.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n\nmaury report experiments/quickstart\n\nmaury report --text experiments/quickstart | less -S"
)]
pub struct ReportArgs {
    /// Folders of runs, or of experiments, whose latest run is meant.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where experiments keep their runs.
    #[arg(long, value_name = "FOLDER", default_value = "experiments")]
    experiments: PathBuf,
    /// Print every table of the run instead: intervals, pulls, kinds of stars, errors, differences between models, times.
    #[arg(long)]
    text: bool,
}

pub fn execute(args: &ReportArgs) -> anyhow::Result<()> {
    for run in &args.runs {
        let folder = run_folder(run, &args.experiments)?;
        let told = if args.text { tables(&folder)? } else { format!("{}\n", run_page::write(&folder)?.display()) };
        say(&told)?;
    }
    Ok(())
}

/// The tables that a run left.
///
/// # Errors
/// [`Error::Io`]; [`Error::Config`] for a run that left none.
fn tables(run: &Path) -> Result<String> {
    let path = run.join(TABLES);
    if !path.exists() {
        return Err(Error::Config(format!(
            "no {TABLES} in {}: an older maury, or none, made this run; its report.html and metrics.json have the same numbers",
            run.display()
        )));
    }
    files::read_text(&path)
}
