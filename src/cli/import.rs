//! `maury import`: a Cannon trained elsewhere becomes a model folder.

use std::path::PathBuf;

use clap::Args;

use super::say_of;
use crate::data::files;
use crate::device::{Compute, DeviceSettings};
use crate::error::Error;
use crate::report::counted;
use crate::spectra::continuum::{ContinuumSettings, MOST_ORDER};
use crate::training::import::{ForeignCannon, import};

#[derive(Debug, Args)]
#[command(after_help = "Example, of a Cannon of one label and two pixels:\n\n  \
    coefficients.csv                  terms.csv          pivot.csv    labels.csv\n  \
    pix8575,scatter,c0,c1,c2          coefficient,term   label,pivot  teff\n  \
    300,0.011,0.973,6.0e-5,-3.0e-8    c0,1               teff,4500    4300\n  \
    301,0.009,0.981,2.1e-5,1.2e-8     c1,teff                         4700\n                                    \
                                      c2,teff*teff                    4900\n\n  \
    maury import --coefficients coefficients.csv --terms terms.csv --pivot pivot.csv \\\n      \
    --training-labels labels.csv elsewhere\n  \
    maury label --model elsewhere tests/data/apStar-dr17-2M19485057+5005279.fits")]
pub struct ImportArgs {
    /// CSV, one row per pixel: `pix8575`, `scatter` (standard deviation), one column per coefficient.
    #[arg(long, value_name = "FILE")]
    coefficients: PathBuf,
    /// CSV with columns `coefficient` and `term`; a term is `1`, `teff`, `teff*logg`, ... of labels minus their pivot.
    #[arg(long, value_name = "FILE")]
    terms: PathBuf,
    /// CSV with columns `label` and `pivot` (or `baseline`).
    #[arg(long, value_name = "FILE")]
    pivot: PathBuf,
    /// Table of the labels it was trained on: where fits start, and beyond which labels are extrapolated.
    #[arg(long, value_name = "FILE")]
    training_labels: Option<PathBuf>,
    /// Degree of the pseudo-continuum on each chip.
    #[arg(long, default_value_t = ContinuumSettings::default().order)]
    continuum_order: usize,
    /// `shipped`, or a list of continuum pixels.
    #[arg(long, default_value_t = ContinuumSettings::default().pixels)]
    continuum_pixels: String,
    /// The model folder to make: a new one, or an empty one.
    out: PathBuf,
}

pub fn execute(args: &ImportArgs) -> anyhow::Result<()> {
    let compute = Compute::open(&DeviceSettings { precision: crate::device::Precision::F64, ..Default::default() })?;
    let continuum = ContinuumSettings {
        order: args.continuum_order,
        pixels: args.continuum_pixels.clone(),
        ..ContinuumSettings::default()
    };
    if args.continuum_order > MOST_ORDER {
        return Err(Error::Config(format!("--continuum-order must be at most {MOST_ORDER}")).into());
    }
    let foreign = ForeignCannon {
        coefficients: args.coefficients.clone(),
        terms: args.terms.clone(),
        pivot: args.pivot.clone(),
        training_labels: args.training_labels.clone(),
        continuum,
    };
    // Beside what an earlier model left (its calibration, say) this would be quoted as that one is.
    let model = files::fill_folder(&args.out, |folder| {
        let model = import(&foreign, &compute)?;
        model.save(folder).map(|()| model)
    })?;
    let valid = model.cannon.valid_pixels().into_iter().filter(|valid| *valid).count();
    let text = format!(
        "{}: {} ({}), {}, {}, {}\n",
        args.out.display(),
        counted(model.scaler.n_labels(), "label"),
        model.scaler.names.join(", "),
        counted(model.cannon.vectorizer().n_terms(), "term"),
        counted(valid, "pixel"),
        counted(model.training_labels.nrows(), "training star")
    );
    say_of(&text, &args.out)
}
