//! `maury clean`: removes what earlier runs left behind and nobody needs.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::say;
use crate::error::Error;
use crate::experiment::clean::leftovers;
use crate::experiment::run_folder::KEPT_DAYS;

/// Remove what is no longer needed: runs broken off, prepared sets and mock surveys not used of late.
///
/// Finished runs are never touched, nor is a run that is going on. A run that --resume can go on from stays as long as a prepared
/// set does. What is removed is made again when it is needed.
#[derive(Debug, Args)]
#[command(after_help = "Example: maury clean --dry-run")]
pub struct CleanArgs {
    /// Only list what can go, and its size.
    #[arg(long)]
    dry_run: bool,
    /// Days for which prepared sets, mock surveys and runs to be resumed are kept unused; 0 keeps none.
    #[arg(long, value_name = "DAYS", default_value_t = KEPT_DAYS)]
    older_than: u64,
    /// Where experiments keep their runs.
    #[arg(long, value_name = "FOLDER", default_value = "experiments")]
    experiments: PathBuf,
}

pub fn execute(args: &CleanArgs) -> anyhow::Result<()> {
    if !args.experiments.is_dir() {
        let detail = "no such folder; name it by --experiments";
        return Err(Error::Config(format!("{}: {detail}", args.experiments.display())).into());
    }
    let unused_for = Duration::from_secs(args.older_than.saturating_mul(24 * 3600));
    let mut text = String::new();
    let (mut bytes, mut count, mut failed) = (0, 0, None);
    for leftover in leftovers(&args.experiments, unused_for) {
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
    say(&format!("{text}{:>12}  in {count} files and folders {what}\n", megabytes(bytes)))?;
    failed.map_or(Ok(()), |err| Err(err.into()))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
