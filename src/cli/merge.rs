//! `maury merge`: one table of what the shards of a list made.

use std::path::PathBuf;

use clap::Args;

use super::bars::Bars;
use super::label_out::page_of;
use super::say_of;
use super::shard::{array_of, parts_of};
use crate::data::{files, leftovers};
use crate::error::Error;
use crate::labelling::label_table::TableShape;
use crate::labelling::merge::missing_file;
use crate::labelling::posterior_draws;
use crate::labelling::shards::{Form, Plan, clean};
use crate::labelling::table_files::foreign_table;
use crate::labelling::{posterior_folder, posterior_table, table_files};
use crate::stars::spectra::SpectrumSource;

/// Of longer tables there is no page to explore: it would show one star in hundreds, and take longer to read than to merge.
const MOST_ROWS_OF_PAGE: usize = 1_000_000;

/// Make one table of the rows that `maury label --shard` or `maury posterior --shard` left: every spectrum of the list once, in the list's
/// order. Of posteriors it is the summary in the folder; draws that were kept come beside it, in one file.
///
/// Says what is missing, and how it is submitted again, with exit code 3. May run as often as one likes; rows stay until --clean.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  maury merge labels\n  sbatch --dependency=afterany:$job --wrap 'maury merge labels'"
)]
pub struct MergeArgs {
    /// What --out was.
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Replace a finished table of that name, whatever model and files made it.
    #[arg(long)]
    overwrite: bool,
    /// Remove the rows of the shards once the table is written.
    #[arg(long)]
    clean: bool,
}

pub fn execute(args: &MergeArgs, bars: &Bars) -> anyhow::Result<()> {
    let (out, folder) = parts_of(&args.out);
    let plan = Plan::read(&folder)?;
    let listed = plan.listed()?;
    let (merged, table, beside) = match &plan.form {
        Form::Label(form) => {
            let foreign = || foreign_table(&out, &plan.fingerprint, &listed.files).filter(|_| !args.overwrite);
            if let Some(table) = foreign() {
                let remedy = "a table of another model or of other files is there; --overwrite replaces it";
                return Err(Error::Config(format!("{}: {remedy}", table.display())).into());
            }
            let merged = table_files::merge(&out, &folder, (&plan, form), &listed, bars)?;
            (merged, out.clone(), String::new())
        }
        Form::Posterior(form) => {
            let merged = posterior_table::merge(&out, &folder, (&plan, form), &listed, args.overwrite, bars)?;
            let draws = posterior_draws::file_in(&out);
            let beside = match form.n_kept() {
                0 => String::new(),
                n => format!("\n{}: {n} draws of each", draws.display()),
            };
            (merged, out.join(posterior_folder::SUMMARY), beside)
        }
    };
    let shards = |places: &[usize]| {
        let mut shards: Vec<usize> = places.iter().map(|place| plan.shard_of(*place, plan.shards)).collect();
        shards.sort_unstable();
        shards.dedup();
        array_of(&shards)
    };
    let missing = missing_file(&out);
    if !merged.missing.is_empty() {
        let names: Vec<String> = merged.missing.iter().map(|place| listed.files.name(*place)).collect();
        files::write_bytes(&missing, names.join("\n") + "\n")?;
        let array = shards(&merged.missing);
        return Err(Error::Unfinished(format!(
            "{} of {} spectra have no row yet: {}; start of {} shards these again: {array} (sbatch --array={array} {}.slurm)",
            merged.missing.len(),
            listed.n_spectra,
            missing.display(),
            plan.shards,
            plan.form.verb().name(),
        ))
        .into());
    }
    leftovers::remove(&missing)?;
    if args.clean {
        clean(&folder)?;
    }
    let mut answer = format!("{}.fits and .csv: {} spectra", table.display(), listed.n_spectra);
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
    answer += &(beside + "\n");
    if let Form::Label(form) = &plan.form
        && form.shape == TableShape::Maury
        && listed.n_spectra <= MOST_ROWS_OF_PAGE
    {
        answer += &page_of(&table, &form.model, None);
    }
    say_of(&answer, &files::with_ending(&table, "fits"))
}
