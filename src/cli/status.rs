//! `maury status`: how far the shards of a list are, told from their files alone.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{HumanCount, HumanDuration};

use super::say;
use super::shard::{array_of, parts_of};
use crate::error::Error;
use crate::labelling::journal::labelled;
use crate::labelling::shards::{Done, Plan, Shard, journals};

/// Shards that are told one by one.
const MOST_LINES: usize = 40;
/// A shard that wrote nothing for so long may be dead.
const SILENT: Duration = Duration::from_secs(600);

/// Say how far `maury label --shard` is: rows of all shards, those at work, those that are silent, and what is left.
///
/// Looks at files alone, and needs no scheduler. Exit code 3 while spectra are missing.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// What --out of `maury label` was.
    stem: PathBuf,
}

/// What one shard has done.
#[derive(Default)]
struct Progress {
    attempts: usize,
    n_rows: usize,
    /// Since its last attempt began, and since it last wrote.
    at_work: Duration,
    silent: Duration,
    done: Option<Done>,
}

pub fn execute(args: &StatusArgs) -> anyhow::Result<()> {
    let (_, folder) = parts_of(&args.stem);
    let plan = Plan::read(&folder)?;
    let (mut shards, mut rows, mut unreadable) = (BTreeMap::<(usize, usize), Progress>::new(), HashSet::new(), 0);
    for (shard, path) in journals(&folder)? {
        let of_shard = shards.entry((shard.of, shard.index)).or_default();
        let names = labelled(&path, &plan.fingerprint)?;
        let (at_work, silent) = ages(&path);
        of_shard.attempts += 1;
        of_shard.n_rows += names.len();
        if of_shard.attempts == 1 || silent < of_shard.silent {
            (of_shard.at_work, of_shard.silent) = (at_work, silent);
        }
        rows.extend(names);
    }
    for index in 0..plan.shards {
        let done = Done::read(&folder, Shard { index, of: plan.shards });
        unreadable += done.map_or(0, |done| done.unreadable);
        shards.entry((plan.shards, index)).or_default().done = done;
    }
    let left = plan.n_spectra.saturating_sub(rows.len() + unreadable);
    let is_at_work = |shard: &&Progress| shard.done.is_none() && shard.attempts > 0 && shard.silent < SILENT;
    let rate: f64 = shards
        .values()
        .filter(is_at_work)
        .map(|shard| shard.n_rows as f64 / shard.at_work.as_secs_f64().max(1.0))
        .sum();
    let mut text = format!(
        "{} of {} spectra of {} are labelled",
        HumanCount(rows.len() as u64),
        HumanCount(plan.n_spectra as u64),
        plan.list.display()
    );
    if unreadable > 0 {
        text += &format!(", {unreadable} could not be read");
    }
    if left > 0 && rate > 0.0 {
        let time = HumanDuration(Duration::from_secs_f64(left as f64 / rate));
        text += &format!("; {rate:.1} a second, some {time} left");
    }
    text += "\n";
    let open: Vec<_> = shards.iter().filter(|(_, shard)| shard.done.is_none()).collect();
    text += &format!(
        "{} of {} shards are done\n",
        plan.shards - open.iter().filter(|((of, _), _)| *of == plan.shards).count(),
        plan.shards
    );
    for ((of, index), shard) in open.iter().take(MOST_LINES) {
        text += &format!("  shard {index}/{of}: {}\n", words(shard));
    }
    if open.len() > MOST_LINES {
        text += &format!("  ... and {} more\n", open.len() - MOST_LINES);
    }
    say(&text)?;
    let waiting: Vec<usize> =
        open.iter().filter(|((of, _), _)| *of == plan.shards).map(|((_, index), _)| *index).collect();
    match left {
        0 => say("`maury merge` makes the table\n"),
        _ => Err(Error::Unfinished(format!(
            "{} spectra have no row yet; once nothing is at work: sbatch --array={} label.slurm",
            HumanCount(left as u64),
            array_of(&waiting)
        ))
        .into()),
    }
}

/// A shard that is not done, in words.
fn words(shard: &Progress) -> String {
    let silent = HumanDuration(shard.silent);
    match (shard.attempts, shard.silent >= SILENT) {
        (0, _) => "not begun".into(),
        (_, true) => format!("{} rows, nothing for {silent}: is it alive?", shard.n_rows),
        (1, _) => format!("{} rows, the last {silent} ago", shard.n_rows),
        (n, _) => format!("{} rows in {n} attempts, the last {silent} ago", shard.n_rows),
    }
}

/// How long ago a file was begun, where the file system knows, and last written.
fn ages(path: &Path) -> (Duration, Duration) {
    let metadata = std::fs::metadata(path).ok();
    let ago = |time: Option<std::time::SystemTime>| time.and_then(|time| time.elapsed().ok());
    let written = ago(metadata.as_ref().and_then(|metadata| metadata.modified().ok())).unwrap_or_default();
    let begun = ago(metadata.and_then(|metadata| metadata.created().ok()));
    (begun.unwrap_or(written), written)
}
