//! `maury repeats`: what labels of one star scatter by from visit to visit, beside the errors claimed for them.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::bars::Bars;
use super::job::make_all;
use super::label_job::{FitArgs, Labels};
use super::spectra::{SpectraArgs, none_read};
use super::{say_of, signals};
use crate::data::files;
use crate::data::fits::FitsReader;
use crate::device::start_threads;
use crate::error::{Error, Result};
use crate::findings::repeats::measure::{RepeatSettings, measure};
use crate::findings::repeats::outcome::Repeats;
use crate::findings::repeats::table;
use crate::findings::repeats::visits::{Selected, VisitLabels};
use crate::labelling::best_fits::{CREATOR, creator};
use crate::labelling::journal::LabelJournal;
use crate::labelling::label_table::{TableForm, TableShape};
use crate::labelling::table_files::foreign_table;
use crate::progress::Progress;
use crate::report::{self, figures};
use crate::spectra::quality::star_flags;
use crate::spectra::star_table::write_table_with;
use crate::stars::spectra::HandedOn;

/// Where results go that are not told where to.
const REPEATS: &str = "repeats";
/// The table of the visits' labels in that folder, without its ending.
const VISITS: &str = "visits";
/// The file in that folder that says what was found.
const FOUND: &str = "repeats.json";
/// The visit's night, which tells one visit in two files from two visits.
const NIGHT: &str = "mjd";

/// Hold visits of one star against each other: how precise labels are, along SNR, beside the errors claimed for them. No catalogue.
///
/// Labels every single visit and takes the scatter about each star's mean, with n - 1 degrees of freedom for n visits. Whatever a
/// star's labels are, its visits have the same ones: what they scatter by is noise, the precision of one visit. What the model gets
/// wrong in every visit alike does not show.
///
/// Beside it stand, of the same visits, formal errors, which claim noise alone, and calibrated ones, which come from stars held out
/// and hold both noise and what the model gets wrong. So visits must scatter by less than calibrated errors, and what low SNR adds
/// must be the same in both; they scatter by more than formal errors where noise is more than the errors of the flux tell (correlated
/// pixels, sky, velocities and line widths that change from night to night), and by less where the model's own scatter, which
/// visits of a star share, counts as noise. What was found is said for each label.
///
/// Visits flagged UNREADABLE, NO_DATA, NOT_CONVERGED or BAD_FIT are left out and counted, and so is a visit that comes up a second
/// time, as apStar and mwmVisit files of one star hold the same ones. Of arrays, rows with one identifier (--ids) are visits.
///
/// A visit that holds over three quarters of its star's weight, by formal errors, tells of the others' noise, not of its own: it does
/// not count in that label, and how many these are is said. Flags are those of the table: one without a column `flags` has no bad fits
/// to leave out.
///
/// Give stars that did not train the model, if it is a regression: it may know the others by heart.
///
/// With fewer than 20 stars there is one standard deviation with an interval by chi^2; from 20 on robust scatters, intervals from
/// resamples of the stars, and up to six bins of SNR of 20 stars or more.
#[derive(Debug, Args)]
#[command(
    override_usage = "maury repeats [OPTIONS] --model <MODEL> <SPECTRA>...\n       maury repeats [OPTIONS] --model <MODEL> --flux <ARRAY> \
    --error <ARRAY> --ids <TABLE>\n       maury repeats [OPTIONS] --labels <TABLE>",
    mut_arg("visits", |arg| arg.hide(true)),
    mut_arg("spectra", |arg| arg.required_unless_present("labels")),
    after_help = "Examples:\n  maury repeats --model experiments/lab/latest/models/cannon stars/apo25m\n  \
    maury repeats --model checkpoints/payne-hband --keep-bad-fits --out one-star apStar-dr17-2M17335483-2753043.fits\n  \
    maury repeats --model MODEL --flux flux.npy --error error.npy --ids rows.csv\n  \
    maury label --model MODEL --visits --columns mjd --out visits stars/apo25m; maury repeats --labels visits.fits\n\n\
    A folder --out has repeats.fits and .csv (a row for each label and bin), stars.fits and .csv (mean, scatter and chi^2 of each star), \
    repeats.json, visits.fits and .csv (the labels of the visits), and figures/repeats.svg and .png. A job that was killed while it \
    labelled goes on with the same words."
)]
pub struct RepeatsArgs {
    #[command(flatten)]
    spectra: SpectraArgs,
    /// Folder of a trained model.
    #[arg(long, required_unless_present = "labels")]
    model: Option<PathBuf>,
    /// In place of model and spectra: labels of visits, a table that `maury label --visits` wrote (FITS, which says by which model, or
    /// CSV). Its column `mjd` (`--columns mjd`) tells a visit in two files from two visits.
    #[arg(long, value_name = "TABLE", conflicts_with_all = [
        "model", "spectra", "list", "flux", "nuisances", "backend", "precision",
    ])]
    labels: Option<PathBuf>,
    /// Folder for tables and figure.
    #[arg(long, value_name = "FOLDER", default_value = REPEATS)]
    out: PathBuf,
    /// Replace what an earlier job left in that folder.
    #[arg(long)]
    overwrite: bool,
    /// Count visits that are flagged BAD_FIT, too.
    #[arg(long)]
    keep_bad_fits: bool,
    /// Seed of the resamples.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    fit: FitArgs,
}

/// Labels of visits on disk, and what is known of them.
struct Labelled {
    table: PathBuf,
    /// The model's folder as it was given, or else the table.
    model: String,
    /// What the errors are; empty where the table does not say.
    errors: String,
}

#[derive(Serialize)]
struct RepeatsFile<'a> {
    maury_version: &'static str,
    model: &'a str,
    errors: &'a str,
    seed: u64,
    #[serde(flatten)]
    repeats: &'a Repeats,
}

pub fn execute(args: &RepeatsArgs, bars: &Bars) -> anyhow::Result<()> {
    if !args.overwrite && args.out.join(FOUND).exists() {
        let detail = "holds what an earlier job found; --overwrite replaces it, or name another --out";
        return Err(Error::Config(format!("{}: this folder {detail}", args.out.display())).into());
    }
    let labelled = match (&args.labels, &args.model) {
        (Some(table), _) => {
            start_threads(args.fit.threads)?;
            of_table(table)
        }
        (None, Some(model)) => label_visits(args, model, bars)?,
        (None, None) => return Err(Error::Config("--model or --labels is needed".into()).into()),
    };
    let visits = VisitLabels::read(&labelled.table)?;
    let settings = RepeatSettings { keeps_bad_fits: args.keep_bad_fits, seed: args.seed, ..RepeatSettings::default() };
    let (repeats, selected) = measure(&visits, &settings)?;
    let has_figure =
        files::fill_into(&args.out, |folder| write(folder, (&visits, &selected), &repeats, &labelled, args.seed))?;
    let mut answer = report::repeats::text(&repeats);
    if !labelled.errors.is_empty() && repeats.labels.values().any(|found| found.all.calibrated.is_some()) {
        answer += &format!("\nerrors called calibrated are {}\n", labelled.errors);
    }
    answer += &format!("\n{}\n", args.out.display());
    let own = if args.labels.is_none() { ", visits.fits and .csv" } else { "" };
    answer += &format!("  repeats.fits and .csv, stars.fits and .csv{own}, {FOUND}\n");
    answer += if has_figure { "  figures/repeats.png\n" } else { "  no figure: no SNR of the visits is known\n" };
    say_of(&answer, &args.out)
}

/// A table that was labelled before; FITS says by which model.
fn of_table(table: &Path) -> Labelled {
    let mut file = FitsReader::open(table).ok();
    let mut key = |key: &str| file.as_mut().and_then(|file| file.key_text(1, key)).unwrap_or_default();
    let (model, errors) = (key("MODELDIR"), key("ERRORS"));
    let model = if model.is_empty() { files::path_text(table) } else { model };
    Labelled { table: table.to_path_buf(), model, errors }
}

/// Labels every visit into the folder's own table.
fn label_visits(args: &RepeatsArgs, model: &Path, bars: &Bars) -> anyhow::Result<Labelled> {
    let labeller = args.fit.labeller(model)?;
    // Arrays have no headers.
    let asked = if args.spectra.are_rows() { Vec::new() } else { vec![NIGHT.into()] };
    let columns = HandedOn { asked, welcome: Vec::new() };
    let source = args.spectra.visits(&columns)?;
    let spectra = &*source;
    if spectra.is_empty() {
        return Err(none_read().into());
    }
    labeller.expect_alike(spectra)?;
    files::create_folder(&args.out)?;
    let stem = args.out.join(VISITS);
    let fingerprint = format!("{} visits {}", labeller.fingerprint(), spectra.origin()?);
    if !args.overwrite
        && let Some(table) = foreign_table(&stem, &fingerprint, spectra)
    {
        let detail =
            "a table of another model or of other files is there; --overwrite replaces it, or name another --out";
        return Err(Error::Config(format!("{}: {detail}", table.display())).into());
    }
    let mut journal = LabelJournal::open(&stem, &fingerprint)?;
    if !journal.is_empty() {
        tracing::info!("{} visits are labelled already", journal.len());
    }
    signals::heed();
    bars.defer_interruption(true);
    let mut n_readable = journal.len();
    let mut labels = Labels { labeller: &labeller, best_fits: None };
    let labelled = make_all(&mut labels, spectra, Some(&mut journal), bars, |stars| {
        n_readable += stars.iter().filter(|star| star.flags & star_flags::UNREADABLE == 0).count();
    });
    bars.defer_interruption(false);
    if let Err(err) = labelled {
        if !journal.is_empty() {
            let (n, place) = (journal.len(), journal.path().display());
            tracing::warn!("labels of {n} visits are kept in {place}; the same command goes on with them");
        }
        journal.discard_empty()?;
        return Err(err.into());
    }
    if n_readable == 0 {
        journal.discard()?;
        return Err(none_read().into());
    }
    let form = TableForm {
        label_names: labeller.label_names().to_vec(),
        columns,
        shape: TableShape::Maury,
        model: model.to_path_buf(),
        errors: labeller.words_on_errors(),
    };
    journal.finish(&stem, &form, spectra)?;
    let table = files::with_ending(&stem, "fits");
    Ok(Labelled { table, model: files::path_text(model), errors: form.errors })
}

/// Writes tables, figure and what was found; whether there is a figure.
fn write(
    folder: &Path,
    (visits, selected): (&VisitLabels, &Selected),
    repeats: &Repeats,
    labelled: &Labelled,
    seed: u64,
) -> Result<bool> {
    let creator = creator();
    let keys = [
        ("MODELDIR", labelled.model.as_str(), "the model's folder, or the table of its labels"),
        (CREATOR.0, creator.as_str(), "program and version"),
        ("ERRORS", labelled.errors.as_str(), "what calibrated errors are"),
    ];
    write_table_with(&folder.join("repeats"), "REPEATS", &table::bin_columns(repeats), &keys)?;
    write_table_with(&folder.join("stars"), "STARS", &table::star_columns(visits, selected), &keys)?;
    let name = Path::new(&labelled.model)
        .file_name()
        .map_or_else(|| labelled.model.clone(), |name| files::path_text(Path::new(name)));
    let figure = figures::repeats::draw(repeats, &name)?;
    if let Some(figure) = &figure {
        figures::write(&folder.join("figures"), "repeats", figure)?;
    }
    let file = RepeatsFile {
        maury_version: env!("CARGO_PKG_VERSION"),
        model: &labelled.model,
        errors: &labelled.errors,
        seed,
        repeats,
    };
    files::write_json(&folder.join(FOUND), &file)?;
    Ok(figure.is_some())
}
