//! `--shard K/N`: one part of a list, by one of many processes; and scripts that start them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::bars::Bars;
use super::job::{RowMaker, make_all};
use super::spectra::none_read;
use super::{say, signals};
use crate::error::{Error, Result};
use crate::labelling::journal::{JournalRow, Verb};
use crate::labelling::shards::{self, Form, Listed, MOST_SHARDS, Plan, Shard};
use crate::progress::Progress;
use crate::stars::spectra::{HandedOn, SpectrumSource};
use crate::stars::spectrum_files::SpectrumFiles;

/// What is done by many processes, on one machine or many.
#[derive(Debug, Args)]
pub(super) struct ShardArgs {
    /// Do one part of the list: K of N, counted from 0. Rows go to `<OUT>.parts`; `maury merge OUT` makes the table of all. May be
    /// started twice, killed, and started again.
    #[arg(
        long,
        value_name = "K/N",
        requires_all = ["list", "out"],
        conflicts_with_all = ["spectra", "visits", "flux", "overwrite", "script"],
        help_heading = "Many processes"
    )]
    pub shard: Option<Shard>,
    /// Print a script that does the list in N parts; nothing is started.
    #[arg(
        long,
        value_enum,
        requires_all = ["list", "out"],
        conflicts_with_all = ["spectra", "visits", "flux", "overwrite"],
        help_heading = "Many processes"
    )]
    pub script: Option<ScriptKind>,
    /// Parts of that script.
    #[arg(long, value_name = "N", requires = "script", default_value_t = 64, help_heading = "Many processes")]
    pub shards: usize,
}

/// What a script is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum ScriptKind {
    /// A job array of Slurm, one task a part.
    Slurm,
    /// GNU parallel, on one machine or several.
    Parallel,
    /// A Snakefile.
    Snakemake,
}

/// One part of a list.
pub(super) struct ShardWork<'a> {
    shard: Shard,
    list: &'a Path,
    batch: usize,
    listed: Listed,
}

/// So many spectra, none of which can be read, are no accident.
const MANY: usize = 100;

impl<'a> ShardWork<'a> {
    /// The part that is asked for, if one is, of a list cut into batches.
    ///
    /// # Errors
    /// Those of reading the list.
    pub fn begin(args: &ShardArgs, list: Option<&'a Path>, batch: usize) -> Result<Option<Self>> {
        let Some((shard, list)) = args.shard.zip(list) else { return Ok(None) };
        Ok(Some(Self { shard, list, batch, listed: Listed::read(list, batch, Some(shard))? }))
    }

    /// Its spectra, and what is handed on of them.
    pub fn spectra(&mut self, columns: &HandedOn) -> SpectrumFiles {
        std::mem::take(&mut self.listed.files).handing_on(columns)
    }

    /// Makes the rows that are not there yet. `out` is what all parts are to become.
    ///
    /// # Errors
    /// Those of making rows; [`Error::Config`] where other parts were begun with something else.
    pub fn execute<M: RowMaker>(
        self,
        maker: &mut M,
        spectra: &dyn SpectrumSource,
        out: &Path,
        fingerprint: String,
        form: Form,
        bars: &Bars,
    ) -> anyhow::Result<()> {
        let Self { shard, list, batch, listed } = self;
        let (verb, folder) = (<M::Row as JournalRow>::VERB, shards::folder_of(out));
        let plan = Plan {
            maury_version: env!("CARGO_PKG_VERSION").into(),
            list: std::path::absolute(list).map_err(Error::io(list, "find"))?,
            n_spectra: listed.n_spectra,
            names: listed.names,
            batch,
            shards: shard.of,
            fingerprint,
            form,
        }
        .settle(&folder)?;
        let mut journal = shards::begin::<M::Row>(&folder, shard, &plan.fingerprint)?;
        let (n_before, done) = (journal.n_done(spectra), verb.done());
        if n_before > 0 {
            tracing::info!("{n_before} of {} spectra of shard {shard} are {done} already", spectra.len());
        }
        signals::heed();
        bars.defer_interruption(true);
        let mut n_new = 0;
        let made = make_all(maker, spectra, Some(&mut journal), bars, |rows| n_new += rows.len());
        let n_done = journal.n_done(spectra);
        if n_new == 0 {
            journal.discard()?;
        }
        if let Err(err) = made {
            if n_done > 0 {
                let (rows, n) = (verb.rows(), spectra.len());
                tracing::warn!("{rows} of {n_done} of {n} spectra are kept; the same command goes on with them");
            }
            return Err(err.into());
        }
        // One of several parts of few spectra may well have none that can be read; else they are sought in the wrong place.
        let are_few = batch == 1 && shard.of > 1 && spectra.len() < MANY;
        if n_done == 0 && !spectra.is_empty() && !are_few {
            return Err(none_read().into());
        }
        let merge = format!("`maury merge {}` once all shards are done", out.display());
        let answer = match (spectra.len(), spectra.len() - n_done) {
            (0, _) if batch == 1 => "no spectrum of the list falls to it".to_string(),
            (0, _) => format!("no batch of {batch} spectra of the list falls to it"),
            (n, 0) if n_new == 0 => format!("{n} spectra were {done} before"),
            (n, 0) => format!("{n} spectra are {done}"),
            (_, bad) => {
                format!("{n_done} spectra are {done}, {bad} could not be read; the same command tries them again")
            }
        };
        say(&format!("shard {shard}: {answer}; {merge}\n"))
    }
}

/// A script that does in parts what the command line asks for, which it repeats. Of what it needs, that is named which is not there.
///
/// # Errors
/// [`Error::Config`] for more parts than an array has, and names that a script in a script would misread.
pub(super) fn script(verb: Verb, kind: ScriptKind, n: usize, out: Option<&Path>, needed: &[&Path]) -> Result<String> {
    needed.iter().filter(|path| !path.exists()).for_each(|path| {
        tracing::warn!("{} is not there: it is needed where and when the script runs", path.display());
    });
    if !(1..=MOST_SHARDS).contains(&n) {
        return Err(Error::Config(format!("--shards {n}: must be 1 to {MOST_SHARDS}")));
    }
    let words = without(std::env::args().skip(1), &["--script", "--shards"]);
    let command = words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    if let Some(word) = words.iter().find(|word| kind != ScriptKind::Slurm && quoted(word) != **word) {
        return Err(Error::Config(format!(
            "{word}: names with blanks, quotes and the like go into no script of GNU parallel or Snakemake; rename it, or take --script slurm"
        )));
    }
    let out = out.map(|out| quoted(&out.display().to_string())).unwrap_or_default();
    let table = match verb {
        Verb::Label => "OUT.fits",
        Verb::Posterior => "OUT/summary.fits",
    };
    let text = match kind {
        ScriptKind::Slurm => include_str!("scripts/job.slurm"),
        ScriptKind::Parallel => include_str!("scripts/job.parallel"),
        ScriptKind::Snakemake => include_str!("scripts/Snakefile"),
    };
    // What the user wrote comes last: nothing in it stands for anything else.
    let (last, n, command) = ((n - 1).to_string(), n.to_string(), format!("maury {command}"));
    let words = [("LAST", &*last), ("SHARDS", &n), ("VERB", verb.name()), ("DONE", verb.done()), ("TABLE", table)];
    let text = words.iter().fold(text.to_string(), |text, (word, value)| text.replace(word, value));
    Ok(text.replace("OUT", &out).replace("COMMAND", &command))
}

/// Words without some options and their values.
fn without(words: impl Iterator<Item = String>, options: &[&str]) -> Vec<String> {
    let (mut kept, mut is_value) = (Vec::new(), false);
    for word in words {
        let is_option = options.contains(&word.as_str());
        let has_value = options.iter().any(|option| word.starts_with(&format!("{option}=")));
        if !is_value && !is_option && !has_value {
            kept.push(word);
        }
        is_value = is_option;
    }
    kept
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c));
    if is_plain { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// Numbers as Slurm's `--array` has them: `3,17-19`.
pub(super) fn array_of(shards: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for shard in shards {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == *shard => *last = *shard,
            _ => ranges.push((*shard, *shard)),
        }
    }
    let words =
        |(first, last): (usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.into_iter().map(words).collect::<Vec<_>>().join(",")
}

/// `OUT`, `OUT.fits`, `OUT.csv`, `OUT.parts` and `OUT/` as what --out was, and the folder of its parts.
pub(super) fn parts_of(named: &Path) -> (PathBuf, PathBuf) {
    let named: PathBuf = named.components().collect();
    let out = match named.extension().and_then(|ending| ending.to_str()) {
        Some("fits" | "csv" | "parts") => named.with_extension(""),
        _ => named,
    };
    let folder = shards::folder_of(&out);
    (out, folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_repeats_the_command_as_a_shell_takes_it() {
        let words = ["label", "--model", "my model", "--script=slurm", "--shards", "8", "--list", "it's.txt"];
        let kept = without(words.iter().map(|word| word.to_string()), &["--script", "--shards"]);
        let command: Vec<String> = kept.iter().map(|word| quoted(word)).collect();
        assert_eq!(command.join(" "), r"label --model 'my model' --list 'it'\''s.txt'");
    }

    #[test]
    fn numbers_in_a_row_are_a_range() {
        assert_eq!(array_of(&[3, 17, 18, 19, 40]), "3,17-19,40");
        assert_eq!((array_of(&[]).as_str(), array_of(&[0, 1]).as_str()), ("", "0-1"));
        for named in ["a/labels.csv", "a/labels.parts/", "a/labels/", "a/labels"] {
            assert_eq!(parts_of(Path::new(named)), ("a/labels".into(), "a/labels.parts".into()));
        }
    }
}
