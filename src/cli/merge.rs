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
use crate::labelling::shards::{Plan, clean};
use crate::stars::spectra::SpectrumSource;

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
    let listed = plan.listed()?;
    let foreign = || foreign_table(&stem, &plan.fingerprint, &listed.files).filter(|_| !args.overwrite);
    if let Some(table) = foreign() {
        let remedy = "a table of another model or of other files is there; --overwrite replaces it";
        return Err(Error::Config(format!("{}: {remedy}", table.display())).into());
    }
    let merged = merge(&stem, &folder, &plan, &listed, bars)?;
    let shards = |places: &[usize]| {
        let mut shards: Vec<usize> = places.iter().map(|place| plan.shard_of(*place, plan.shards)).collect();
        shards.sort_unstable();
        shards.dedup();
        array_of(&shards)
    };
    let missing = missing_file(&stem);
    if !merged.missing.is_empty() {
        let names: Vec<String> = merged.missing.iter().map(|place| listed.files.name(*place)).collect();
        files::write_bytes(&missing, names.join("\n") + "\n")?;
        let array = shards(&merged.missing);
        return Err(Error::Unfinished(format!(
            "{} of {} spectra have no row yet: {}; start of {} shards these again: {array} (sbatch --array={array} label.slurm)",
            merged.missing.len(),
            listed.n_spectra,
            missing.display(),
            plan.shards,
        ))
        .into());
    }
    leftovers::remove(&missing)?;
    if args.clean {
        clean(&folder)?;
    }
    let mut answer = format!("{}.fits and .csv: {} spectra", stem.display(), listed.n_spectra);
    if let Some(first) = merged.unreadable.first() {
        answer += &format!(
            ", {} of which could not be read (the first: {}); of {} shards these try them again: {}",
            merged.unreadable.len(),
            listed.files.name(*first),
            plan.shards,
            shards(&merged.unreadable)
        );
    }
    if merged.n_twins > 0 {
        answer += &format!("; {} rows came twice, the same", merged.n_twins);
    }
    say_of(&(answer + "\n"), &files::with_ending(&stem, "fits"))
}
