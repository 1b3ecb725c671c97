//! `maury compare`: the models of several runs on the same stars.

use std::path::{Path, PathBuf};

use clap::Args;

use super::say_of;
use crate::data::files;
use crate::error::Result;
use crate::experiment::run_folder::{COMPARISONS, RunFolder};
use crate::findings::comparison::across_runs::{RunComparison, compare_runs};
use crate::findings::comparison::runs::FinishedRun;
use crate::report::comparison_page::{Subject, page};
use crate::report::explorer::{self, EXPLORER};
use crate::report::{comparison, figures};

/// Compare the models of finished runs, star by star: a table, figures, and one page to read.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury compare experiments/quickstart experiments/cubic/2026-01-31T12-00-00Z")]
pub struct CompareArgs {
    /// Folders of runs, or of experiments, whose latest run is meant.
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Where the comparison goes, in place of a new folder below the experiments' `compare`.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Compare on the stars that all runs tested, where they did not test the same ones.
    #[arg(long)]
    allow_different_stars: bool,
    /// Where experiments keep their runs.
    #[arg(long, value_name = "FOLDER", default_value = "experiments")]
    experiments: PathBuf,
}

pub fn execute(args: &CompareArgs) -> anyhow::Result<()> {
    let read = |path: &PathBuf| FinishedRun::read(path, &args.experiments);
    let runs: Vec<FinishedRun> = args.runs.iter().map(read).collect::<Result<_>>()?;
    let compared = compare_runs(&runs, args.allow_different_stars)?;
    for warning in &compared.warnings {
        tracing::warn!("{warning}");
    }
    let folder = match &args.out {
        Some(folder) => files::fill_folder(folder, |place| write(&compared, place)).map(|()| folder.clone())?,
        None => {
            let folder = RunFolder::create(&args.experiments, COMPARISONS)?;
            write(&compared, folder.path())?;
            folder.finish()?
        }
    };
    let metrics = comparison::metrics(&compared.comparison, &compared.contestants());
    let differences = comparison::table(&compared.comparison);
    let files: String = ["comparison.html", EXPLORER, "comparison.csv", "comparison.json", "dependence.csv", "figures"]
        .map(|file| format!("  {file}\n"))
        .concat();
    say_of(&format!("{metrics}\n{differences}\n{}\n{files}", folder.display()), &folder)
}

fn write(compared: &RunComparison, folder: &Path) -> Result<()> {
    let contestants = compared.contestants();
    let drawn = figures::comparison::draw(&compared.comparison, &contestants)?;
    for (name, figure) in &drawn {
        figures::write(&folder.join("figures"), name, figure)?;
    }
    let runs: Vec<&str> = compared.runs.iter().map(|run| run.name.as_str()).collect();
    let title = format!("Comparison of {}", runs.join(", "));
    let subject = Subject {
        title: &title,
        comparison: &compared.comparison,
        contestants: &contestants,
        figures: &drawn,
        warnings: &compared.warnings,
        runs: &compared.runs,
        seed: compared.seed,
    };
    files::write_bytes(&folder.join("comparison.html"), page(&subject))?;
    explorer::write_comparison(compared, &title, folder)?;
    compared.write(folder)
}
