//! `maury merge`: one table of what the shards of a list labelled.

use std::path::PathBuf;

use clap::Args;

use super::bars::Bars;
use super::say_of;
use super::shard::{array_of, parts_of};
use crate::data::{files, leftovers};
use crate::error::Error;
use crate::labelling::journal::foreign_table;
use crate::labelling::merge::{merge, missing_file};
use crate::labelling::shards::{Listed, Plan};

/// Make one table of the rows that `maury label --shard` left: every spectrum of the list once, in the list's order.
///
/// Says what is missing, and how it is submitted again, with exit code 3. May run as often as one likes; rows stay until --clean.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  maury merge labels\n  sbatch --dependency=afterany:$job --wrap 'maury merge labels'"
)]
pub struct MergeArgs {
    /// What --out of `maury label` was.
    stem: PathBuf,
    /// Replace a finished table of that name, whatever model and files made it.
    #[arg(long)]
    overwrite: bool,
    /// Remove the rows of the shards once the table is written.
    #[arg(long)]
    clean: bool,
}

pub fn execute(args: &MergeArgs, bars: &Bars) -> anyhow::Result<()> {
    let (stem, folder) = parts_of(&args.stem);
    let plan = Plan::read(&folder)?;
    if !args.overwrite {
        let listed = Listed::read(&plan.list, plan.batch, None)?;
        if let Some(table) = foreign_table(&stem, &plan.fingerprint, &listed.files) {
            let remedy = "a table of another model or of other files is there; --overwrite replaces it";
            return Err(Error::Config(format!("{}: {remedy}", table.display())).into());
        }
    }
    let merged = merge(&stem, &folder, &plan, bars)?;
    let missing = missing_file(&stem);
    if !merged.missing.is_empty() {
        files::write_bytes(&missing, merged.missing_names.join("\n") + "\n")?;
        let mut shards: Vec<usize> = merged.missing.iter().map(|place| plan.shard_of(*place, plan.shards)).collect();
        shards.sort_unstable();
        shards.dedup();
        return Err(Error::Unfinished(format!(
            "{} of {} spectra have no row yet: {}; of {} shards these: sbatch --array={} label.slurm",
            merged.missing.len(),
            merged.n_spectra,
            missing.display(),
            plan.shards,
            array_of(&shards)
        ))
        .into());
    }
    leftovers::remove(&missing)?;
    if args.clean {
        leftovers::remove(&folder)?;
    }
    let mut answer = format!("{}.fits and .csv: {} spectra", stem.display(), merged.n_rows);
    if merged.n_unreadable > 0 {
        answer += &format!(", {} of which could not be read", merged.n_unreadable);
    }
    if merged.n_twins > 0 {
        answer += &format!("; {} rows came twice, the same", merged.n_twins);
    }
    say_of(&(answer + "\n"), &files::with_ending(&stem, "fits"))
}
