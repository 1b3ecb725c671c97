//! `maury label`: labels of spectra by a trained model.

use std::path::PathBuf;

use clap::Args;

use super::{bars::Bars, say};
use crate::data::files;
use crate::device::{Backend, Compute, DeviceSettings, Precision};
use crate::error::Error;
use crate::experiment::labelling::{Labelled, label_files};
use crate::experiment::predictions::write_table;
use crate::inference::fit::FitSettings;
use crate::report::{in_unit, label_title};
use crate::spectra::labels::unit;
use crate::spectra::quality::star_flags;
use crate::training::checkpoint::TrainedCannon;

/// Rows printed; longer tables are in the file only.
const MOST_PRINTED: usize = 30;

#[derive(Debug, Args)]
#[command(after_help = "Example: maury label --model experiments/lab/latest/models/cannon apStar-*.fits")]
pub struct LabelArgs {
    /// apStar files, or folders of them.
    #[arg(required = true)]
    spectra: Vec<PathBuf>,
    /// Folder of a trained model: `models/<name>` of a run, or made by `maury import`.
    #[arg(long)]
    model: PathBuf,
    /// Where to put the table; `.fits` and `.csv` are added.
    #[arg(long, value_name = "STEM")]
    out: Option<PathBuf>,
    /// What computes.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Floating-point width.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// CPU threads; 0 means all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

pub fn execute(args: &LabelArgs, bars: &Bars) -> anyhow::Result<()> {
    let device = DeviceSettings { backend: args.backend, precision: args.precision, threads: args.threads };
    let compute = Compute::open(&device)?;
    let model = TrainedCannon::load(&args.model, &compute)?;
    let mut spectra = Vec::new();
    for path in &args.spectra {
        spectra.extend(files::files_below(path, &[".fits", ".fits.gz"])?);
    }
    let labelled = label_files(&spectra, &model, &FitSettings::default(), &compute, bars)?;
    for problem in &labelled.problems {
        tracing::warn!("{problem}");
    }
    if labelled.problems.len() == spectra.len() {
        let remedy = "name apStar files or folders that hold them".to_string();
        return Err(Error::TooFewStars { stage: "reading spectra".into(), n_stars: 0, needed: 1, remedy }.into());
    }
    let mut answer = table(&labelled);
    if let Some(out) = &args.out {
        let stem = match out.extension().and_then(|ending| ending.to_str()) {
            Some("fits" | "csv") => out.with_extension(""),
            _ => out.clone(),
        };
        let target = std::fs::canonicalize(format!("{}.fits", stem.display())).ok();
        if target
            .is_some_and(|target| spectra.iter().any(|path| std::fs::canonicalize(path).is_ok_and(|p| p == target)))
        {
            return Err(Error::Config(format!("--out {}: this would replace one of the spectra", out.display())).into());
        }
        write_table(&stem, "LABELS", &labelled.columns())?;
        answer += &format!("{}.fits and .csv: {} spectra\n", stem.display(), spectra.len());
    }
    say(&answer)
}

/// The first rows of the labels, for people.
fn table(labelled: &Labelled) -> String {
    let mut text = format!("{:<24}", "id");
    for label in &labelled.label_names {
        text += &format!("{:>20}", format!("{} [{}]", label_title(label), unit(label)));
    }
    text += &format!("{:>10}  flags\n", "chi2_red");
    for star in 0..labelled.files.len().min(MOST_PRINTED) {
        text += &format!("{:<24}", labelled.ids[star]);
        for (k, label) in labelled.label_names.iter().enumerate() {
            let number = |value: f64| in_unit(value, unit(label));
            let value = labelled.estimates.labels[[star, k]];
            text += &format!("{:>20}", format!("{} ± {}", number(value), number(labelled.estimates.error(star, k))));
        }
        let flags = star_flags::describe(labelled.flags[star]);
        text += &format!("{:>10.2}  {flags}\n", labelled.estimates.chi2_reduced(star));
    }
    if labelled.files.len() > MOST_PRINTED {
        text += &format!("... and {} more; --out writes them all\n", labelled.files.len() - MOST_PRINTED);
    }
    text
}
