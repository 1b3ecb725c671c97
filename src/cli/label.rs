//! `maury label`: labels of spectra by a trained model.

use std::path::PathBuf;

use clap::Args;

use super::bars::Bars;
use crate::data::files;
use crate::device::{Compute, DeviceSettings};
use crate::error::Error;
use crate::experiment::labelling::{Labelled, label_files};
use crate::experiment::outcome::write_table;
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
}

pub fn execute(args: &LabelArgs, bars: &Bars) -> anyhow::Result<()> {
    let compute = Compute::open(&DeviceSettings::default())?;
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
    print(&labelled);
    if let Some(stem) = &args.out {
        let stem = if stem.extension().is_some_and(|e| e == "fits" || e == "csv") {
            stem.with_extension("")
        } else {
            stem.clone()
        };
        write_table(&stem, "LABELS", &labelled.columns())?;
        println!("{}.fits and .csv: {} spectra", stem.display(), spectra.len());
    }
    Ok(())
}

fn print(labelled: &Labelled) {
    print!("{:<24}", "id");
    for label in &labelled.label_names {
        print!("{:>20}", format!("{} [{}]", label_title(label), unit(label)));
    }
    println!("{:>10}  flags", "chi2_red");
    for star in 0..labelled.files.len().min(MOST_PRINTED) {
        print!("{:<24}", labelled.ids[star]);
        for (k, label) in labelled.label_names.iter().enumerate() {
            let number = |value: f64| in_unit(value, unit(label));
            let value = labelled.estimates.labels[[star, k]];
            print!("{:>20}", format!("{} ± {}", number(value), number(labelled.estimates.error(star, k))));
        }
        println!("{:>10.2}  {}", labelled.estimates.chi2_reduced(star), star_flags::describe(labelled.flags[star]));
    }
    if labelled.files.len() > MOST_PRINTED {
        println!("... and {} more; --out writes them all", labelled.files.len() - MOST_PRINTED);
    }
}
