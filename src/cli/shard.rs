//! `maury label --shard K/N`: one part of a list, by one of many processes; and scripts that start them.

use std::path::{Path, PathBuf};

use clap::Args;

use super::bars::Bars;
use super::label_job::{FitArgs, label_all};
use super::label_out::OutArgs;
use super::spectra::none_read;
use super::{say, signals};
use crate::error::{Error, Result};
use crate::labelling::label_table::TableForm;
use crate::labelling::shards::{self, Listed, MOST_SHARDS, Plan, Shard};
use crate::progress::Progress;
use crate::stars::spectra::SpectrumSource;

/// What is done by many processes, on one machine or many.
#[derive(Debug, Args)]
pub(super) struct ShardArgs {
    /// Label one part of the list: K of N, counted from 0. Rows go to `<STEM>.parts`; `maury merge STEM` makes the table of all. May be
    /// started twice, killed, and started again.
    #[arg(
        long,
        value_name = "K/N",
        requires_all = ["list", "out"],
        conflicts_with_all = ["spectra", "visits", "flux", "best_fits", "overwrite", "script"],
        help_heading = "Many processes"
    )]
    pub shard: Option<Shard>,
    /// Print a script that labels the list in N parts; nothing is started.
    #[arg(
        long,
        value_enum,
        requires_all = ["list", "out"],
        conflicts_with_all = ["spectra", "visits", "flux", "best_fits", "overwrite"],
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

/// Labels one part of a list.
///
/// # Errors
/// Those of labelling; [`Error::Config`] where other parts were begun with something else.
pub(super) fn label(
    shard: Shard,
    list: &Path,
    model: &Path,
    out: &OutArgs,
    fit: &FitArgs,
    bars: &Bars,
) -> anyhow::Result<()> {
    let labeller = fit.labeller(model)?;
    let columns = out.columns();
    let Listed { files, n_spectra, names } = Listed::read(list, labeller.batch_stars(), Some(shard))?;
    let spectra = files.handing_on(&columns);
    labeller.expect_alike(&spectra)?;
    let stem = out.stem(&spectra, Some(list))?.expect("--shard asks for --out");
    let folder = shards::folder_of(&stem);
    let plan = Plan {
        maury_version: env!("CARGO_PKG_VERSION").into(),
        list: std::path::absolute(list).map_err(Error::io(list, "find"))?,
        n_spectra,
        names,
        batch: labeller.batch_stars(),
        shards: shard.of,
        fingerprint: out.fingerprint(labeller.fingerprint(), &spectra)?,
        form: TableForm {
            label_names: labeller.label_names().to_vec(),
            columns,
            shape: out.shape(),
            model: model.to_path_buf(),
            errors: labeller.words_on_errors(),
        },
    }
    .settle(&folder)?;
    let mut journal = shards::begin(&folder, shard, &plan.fingerprint)?;
    let n_before = journal.n_done(&spectra);
    if n_before > 0 {
        tracing::info!("{n_before} of {} spectra of shard {shard} are labelled already", spectra.len());
    }
    signals::heed();
    bars.defer_interruption(true);
    let mut n_new = 0;
    let labelled = label_all(&labeller, &spectra, Some(&mut journal), None, bars, |stars| n_new += stars.len());
    let n_labelled = journal.n_done(&spectra);
    if n_new == 0 {
        journal.discard()?;
    }
    if let Err(err) = labelled {
        if n_labelled > 0 {
            tracing::warn!(
                "labels of {n_labelled} of {} spectra are kept; the same command goes on with them",
                spectra.len()
            );
        }
        return Err(err.into());
    }
    if n_labelled == 0 && !spectra.is_empty() {
        return Err(none_read().into());
    }
    let (mut answer, merge) =
        (format!("shard {shard}: "), format!("`maury merge {}` once all shards are done", stem.display()));
    answer += &match (spectra.len(), spectra.len() - n_labelled) {
        (0, _) => format!("no batch of {} spectra of the list falls to it", plan.batch),
        (n, 0) if n_new == 0 => format!("{n} spectra were labelled before"),
        (n, 0) => format!("{n} spectra are labelled"),
        (_, bad) => {
            format!("{n_labelled} spectra are labelled, {bad} could not be read; the same command tries them again")
        }
    };
    say(&format!("{answer}; {merge}\n"))
}

/// A script that does in parts what the command line asks for, which it repeats.
///
/// # Errors
/// [`Error::Config`] for more parts than an array has, and names that a script in a script would misread.
pub(super) fn script(kind: ScriptKind, n: usize, out: Option<&Path>) -> Result<String> {
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
    let stem = out.map(|stem| quoted(&stem.display().to_string())).unwrap_or_default();
    let fill = |text: &str| {
        text.replace("COMMAND", &format!("maury {command}"))
            .replace("STEM", &stem)
            .replace("LAST", &(n - 1).to_string())
            .replace("SHARDS", &n.to_string())
    };
    Ok(fill(match kind {
        ScriptKind::Slurm => include_str!("scripts/label.slurm"),
        ScriptKind::Parallel => include_str!("scripts/label.parallel"),
        ScriptKind::Snakemake => include_str!("scripts/Snakefile"),
    }))
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

/// `STEM`, `STEM.fits`, `STEM.csv` and `STEM.parts` as the stem, and the folder of its parts.
pub(super) fn parts_of(named: &Path) -> (PathBuf, PathBuf) {
    let stem = match named.extension().and_then(|ending| ending.to_str()) {
        Some("fits" | "csv" | "parts") => named.with_extension(""),
        _ => named.to_path_buf(),
    };
    let folder = shards::folder_of(&stem);
    (stem, folder)
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
        assert_eq!(parts_of(Path::new("a/labels.csv")), ("a/labels".into(), "a/labels.parts".into()));
    }
}
