//! `maury report`: the page of a finished run, rendered again.

use std::path::PathBuf;

use clap::Args;

use super::say;
use crate::findings::comparison::runs::run_folder;
use crate::report::run_page;

/// Render the page of a finished run again, from what its folder holds; nothing is computed.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury report experiments/quickstart")]
pub struct ReportArgs {
    /// Folders of runs, or of experiments, whose latest run is meant.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where experiments keep their runs.
    #[arg(long, value_name = "FOLDER", default_value = "experiments")]
    experiments: PathBuf,
}

pub fn execute(args: &ReportArgs) -> anyhow::Result<()> {
    for run in &args.runs {
        let page = run_page::write(&run_folder(run, &args.experiments)?)?;
        say(&format!("{}\n", page.display()))?;
    }
    Ok(())
}
