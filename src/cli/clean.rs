//! `maury clean`: removes what earlier work left behind and nobody needs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::{posterior::POSTERIORS, say};
use crate::error::Error;
use crate::experiment::clean::leftovers;
use crate::experiment::run_folder::KEPT_DAYS;

/// Remove what is no longer needed: runs and jobs of labels or posteriors broken off, prepared sets and mock surveys not used of late, files that
/// killed programs left under hidden names.
///
/// Looks through the folder of experiments, `posterior`, and FOLDERS, and into the current folder itself. Results are never
/// touched, nor is a run or a job that is going on. A run that --resume can go on from, and rows that the same `maury label` or `maury
/// posterior` goes on from, stay as long as a prepared set does. What is removed is made again when it is needed.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury clean --dry-run")]
pub struct CleanArgs {
    /// Other folders that labels, posteriors, spectra or mock surveys were written into.
    folders: Vec<PathBuf>,
    /// Only list what can go, and its size.
    #[arg(long)]
    dry_run: bool,
    /// Days for which prepared sets, mock surveys, and runs and rows to go on with are kept unused; 0 keeps none.
    #[arg(long, value_name = "DAYS", default_value_t = KEPT_DAYS)]
    older_than: u64,
    /// Where experiments keep their runs.
    #[arg(long, value_name = "FOLDER", default_value = EXPERIMENTS)]
    experiments: PathBuf,
}

/// The folder of experiments that nobody needs to name, nor to have.
const EXPERIMENTS: &str = "experiments";

pub fn execute(args: &CleanArgs) -> anyhow::Result<()> {
    let refuse = |folder: &Path, remedy: &str| {
        Err(Error::Config(format!("{}: no such folder{remedy}", folder.display())).into())
    };
    if let Some(folder) = args.folders.iter().find(|folder| !folder.is_dir()) {
        return refuse(folder, "");
    }
    if args.experiments != Path::new(EXPERIMENTS) && !args.experiments.is_dir() {
        return refuse(&args.experiments, "; --experiments names the one that runs are kept in");
    }
    let folders = [&args.folders[..], &[PathBuf::from(POSTERIORS)]].concat();
    let unused_for = Duration::from_secs(args.older_than.saturating_mul(24 * 3600));
    let mut text = String::new();
    let (mut bytes, mut count, mut failed) = (0, 0, None);
    for leftover in leftovers(&args.experiments, Path::new("."), &folders, unused_for) {
        if !args.dry_run
            && let Err(err) = leftover.remove()
        {
            tracing::warn!("{err}");
            failed.get_or_insert(err);
            continue;
        }
        bytes += leftover.bytes;
        count += 1;
        text += &format!("{:>12}  {}  ({})\n", megabytes(leftover.bytes), leftover.path.display(), leftover.what);
    }
    let what = if args.dry_run { "can be removed" } else { "removed" };
    let mut looked: Vec<String> = Vec::new();
    for folder in folders.iter().chain([&args.experiments]).filter(|path| path.is_dir()) {
        let folder = folder.display().to_string();
        if !looked.contains(&folder) {
            looked.push(folder);
        }
    }
    let looked = match looked.is_empty() {
        true => format!("looked into this folder, which has neither {POSTERIORS} nor {}", args.experiments.display()),
        false => format!("looked through {}, and into this folder", looked.join(", ")),
    };
    let things = if count == 1 { "file or folder" } else { "files and folders" };
    say(&format!("{text}{:>12}  in {count} {things} {what}; {looked}\n", megabytes(bytes)))?;
    failed.map_or(Ok(()), |err| Err(err.into()))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
