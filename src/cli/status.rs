//! `maury status`: how far the shards of a list are, told from their files alone.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use indicatif::{HumanCount, HumanDuration};

use super::say;
use super::shard::{array_of, parts_of};
use crate::error::Error;
use crate::labelling::journal::{Verb, names_in};
use crate::labelling::labeller::LabelledStar;
use crate::labelling::places::Places;
use crate::labelling::posterior_row::PosteriorRow;
use crate::labelling::shards::{Plan, journals};
use crate::stars::spectra::SpectrumSource;

/// Shards that are told one by one.
const MOST_LINES: usize = 40;
/// A shard that wrote nothing for so long may be dead.
const SILENT: Duration = Duration::from_secs(600);

/// Say how far `maury label --shard` or `maury posterior --shard` is: rows of all shards, those at work, those that are silent, and what is left.
///
/// Looks at files alone, and needs no scheduler. Exit code 3 while spectra are missing.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// What --out was.
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

/// What there is of the spectra that fall to one shard, whoever dealt with them.
#[derive(Default, Clone)]
struct Progress {
    n_spectra: usize,
    n_done: usize,
    n_unreadable: usize,
    attempts: usize,
    /// Since its last attempt last wrote.
    silent: Duration,
}

impl Progress {
    fn is_done(&self) -> bool {
        self.n_done + self.n_unreadable >= self.n_spectra
    }
}

pub fn execute(args: &StatusArgs) -> anyhow::Result<()> {
    let (out, folder) = parts_of(&args.out);
    let plan = Plan::read(&folder)?;
    let (files, verb) = (plan.listed()?.files, plan.form.verb());
    let places = Places::of(&files);
    let mut shards = vec![Progress::default(); plan.shards];
    (0..files.len()).for_each(|n| shards[plan.shard_of(n, plan.shards)].n_spectra += 1);
    let (mut done, mut unreadable) = (HashSet::new(), HashSet::new());
    // Rows a second of what is at work.
    let mut rate = 0.0;
    for (shard, path) in journals(&folder)? {
        let (named, failed) = match verb {
            Verb::Label => names_in::<LabelledStar>(&path, &plan.fingerprint)?,
            Verb::Posterior => names_in::<PosteriorRow>(&path, &plan.fingerprint)?,
        };
        let (begun, written) = ages(&path);
        if written < SILENT && begun > written {
            rate += named.len() as f64 / (begun - written).as_secs_f64().max(1.0);
        }
        if let Some(known) = shards.get_mut(shard.index).filter(|_| shard.of == plan.shards) {
            known.silent = if known.attempts == 0 { written } else { known.silent.min(written) };
            known.attempts += 1;
        }
        done.extend(named.iter().filter_map(|name| places.get(name)));
        unreadable.extend(failed.iter().filter_map(|name| places.get(name)));
    }
    unreadable.retain(|n| !done.contains(n));
    done.iter().for_each(|n| shards[plan.shard_of(*n, plan.shards)].n_done += 1);
    unreadable.iter().for_each(|n| shards[plan.shard_of(*n, plan.shards)].n_unreadable += 1);
    let left = files.len() - done.len() - unreadable.len();
    let mut text = format!(
        "{} of {} spectra of {} are {}",
        HumanCount(done.len() as u64),
        HumanCount(files.len() as u64),
        plan.list.display(),
        verb.done()
    );
    if !unreadable.is_empty() {
        text += &format!(", {} could not be read", unreadable.len());
    }
    if left > 0 && rate > 0.0 {
        let time = HumanDuration(Duration::from_secs_f64(left as f64 / rate));
        text += &format!("; {rate:.1} a second of late, some {time} left");
    }
    let open: Vec<usize> = (0..plan.shards).filter(|index| !shards[*index].is_done()).collect();
    text += &format!("\n{} of {} shards are done\n", plan.shards - open.len(), plan.shards);
    for index in open.iter().take(MOST_LINES) {
        text += &format!("  shard {index}/{}: {}\n", plan.shards, words(&shards[*index]));
    }
    if open.len() > MOST_LINES {
        text += &format!("  ... and {} more\n", open.len() - MOST_LINES);
    }
    say(&text)?;
    match left {
        0 => say(&format!("`maury merge {}` makes the table\n", out.display())),
        _ => Err(Error::Unfinished(format!(
            "{} spectra have no row yet; what is at work goes on, what is not is started again: of {} shards {array} (sbatch --array={array} \
             {}.slurm)",
            HumanCount(left as u64),
            plan.shards,
            verb.name(),
            array = array_of(&open)
        ))
        .into()),
    }
}

/// A shard that is not done, in words.
fn words(shard: &Progress) -> String {
    let (rows, silent) = (format!("{} of {} spectra", shard.n_done, shard.n_spectra), HumanDuration(shard.silent));
    match (shard.attempts, shard.silent >= SILENT) {
        (0, _) if shard.n_done == 0 => "not begun".into(),
        (0, _) => rows,
        (_, true) => format!("{rows}, nothing for {silent}: is it alive?"),
        _ if shard.n_done == 0 => format!("{rows}, begun {silent} ago"),
        (1, _) => format!("{rows}, the last row {silent} ago"),
        (n, _) => format!("{rows} in {n} attempts, the last row {silent} ago"),
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
