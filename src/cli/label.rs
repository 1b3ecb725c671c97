//! `maury label`: labels of spectra by a trained model.

use std::path::{Path, PathBuf};

use clap::Args;

use super::bars::Bars;
use super::job::make_all;
use super::label_job::{FitArgs, Labels};
use super::label_out::{OutArgs, page_of};
use super::shard::{self, ShardArgs, ShardWork};
use super::spectra::{SpectraArgs, none_read};
use super::{say, say_of, signals};
use crate::data::files;
use crate::error::Error;
use crate::labelling::best_fits::BestFits;
use crate::labelling::journal::{LabelJournal, Verb};
use crate::labelling::label_table::{TableForm, TableShape};
use crate::labelling::labeller::{LabelledStar, Labeller};
use crate::labelling::shards::Form;
use crate::labelling::table_files::foreign_table;
use crate::progress::Progress;
use crate::report::{in_unit, label_title, plain};
use crate::spectra::labels::unit;
use crate::spectra::quality::star_flags;

/// Rows printed; longer tables are in the file only.
const MOST_PRINTED: usize = 30;

/// Label spectra with a trained model: one or millions, apStar files or arrays of any survey.
///
/// Printed errors are calibrated on stars held out from training, against the truth where the catalogue's own errors are known and
/// against the catalogue where they are not; formal (noise alone) where the model's folder has no calibration. A line below the
/// table says which. Tables hold both kinds.
///
/// With --out, rows go to disk as they come; a job that was killed goes on where it stopped when it is started again with the
/// same words. Memory does not grow with the number of spectra.
///
/// A star that the model does not describe is flagged BAD_FIT: no error quoted for it holds.
///
/// The model is a folder `models/<name>` of a run, one made by `maury import`, or `checkpoints/payne-hband`: an emulator of
/// physical spectra that needs no training stars at all.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  maury label --model checkpoints/payne-hband tests/data/apStar-dr17-2M19485057+5005279.fits\n  \
    maury label --model experiments/lab/latest/models/cannon --out labels stars/apo25m\n  \
    find /data -name 'apStar*.fits' > list.txt; maury label --model MODEL --out labels --list list.txt\n  \
    maury label --model MODEL --out labels --columns ra,dec,field stars/apo25m\n  \
    maury label --model MODEL --out labels --shape astra --spectra --spectra-shape mwm stars/apo25m\n  \
    maury label --model MODEL --out labels --list list.txt --script slurm --shards 64 > label.slurm\n  \
    maury label --model MODEL --out labels --flux flux.npy --error error.npy --wavelengths wavelength.npy --ids stars.csv"
)]
pub struct LabelArgs {
    #[command(flatten)]
    spectra: SpectraArgs,
    /// Folder of a trained model.
    #[arg(long)]
    model: PathBuf,
    #[command(flatten)]
    out: OutArgs,
    #[command(flatten)]
    many: ShardArgs,
    #[command(flatten)]
    fit: FitArgs,
}

pub fn execute(args: &LabelArgs, bars: &Bars) -> anyhow::Result<()> {
    if let Some(kind) = args.many.script {
        let needed: Vec<&Path> = args.spectra.list().into_iter().chain([args.model.as_path()]).collect();
        return say(&shard::script(Verb::Label, kind, args.many.shards, args.out.given(), &needed)?);
    }
    let labeller = args.fit.labeller(&args.model)?;
    let columns = args.out.columns();
    if let Some(mut work) = ShardWork::begin(&args.many, args.spectra.list(), labeller.batch_stars())? {
        let spectra = work.spectra(&columns);
        labeller.expect_alike(&spectra)?;
        let stem = args.out.stem(&spectra, args.spectra.list())?.unwrap_or_default();
        let fingerprint = args.out.fingerprint(labeller.fingerprint(), &spectra)?;
        let form = Form::Label(args.form(&labeller));
        let mut labels = Labels { labeller: &labeller, best_fits: None };
        return work.execute(&mut labels, &spectra, &stem, fingerprint, form, bars);
    }
    let source = args.spectra.source(&columns)?;
    let spectra = &*source;
    labeller.expect_alike(spectra)?;
    let stem = args.out.stem(spectra, args.spectra.list())?;
    let fingerprint = args.out.fingerprint(labeller.fingerprint(), spectra)?;
    let mut best_fits = match &stem {
        Some(stem) => args.out.best_fits(stem, &labeller, &args.model, spectra.len())?,
        None => None,
    };
    let mut journal = stem.as_deref().map(|stem| LabelJournal::open(stem, &fingerprint)).transpose()?;
    if let (Some(stem), Some(begun)) = (&stem, journal.take_if(|journal| best_fits.is_some() && !journal.is_empty())) {
        tracing::info!("{} labels of an earlier job are made again, with their spectra", begun.len());
        begun.discard()?;
        journal = Some(LabelJournal::open(stem, &fingerprint)?);
    }
    let n_done = journal.as_ref().map_or(0, |journal| journal.n_done(spectra));
    let n_waiting = spectra.len() - n_done;
    if n_done > 0 {
        tracing::info!("{n_done} of {} spectra are labelled already", spectra.len());
    }
    if let (Some(stem), Some(begun)) = (&stem, &journal) {
        let others = begun.len() - n_done;
        if others > 0 {
            tracing::info!("{others} rows of spectra that are not asked for now are left out");
        }
        // A job that was killed while it wrote the table has only that to do again.
        if !args.out.overwrite()
            && n_waiting > 0
            && let Some(table) = foreign_table(stem, &fingerprint, spectra)
        {
            journal.map_or(Ok(()), LabelJournal::discard_empty)?;
            let detail =
                "a table of another model or of other files is there; --overwrite replaces it, or name another --out";
            return Err(Error::Config(format!("{}: {detail}", table.display())).into());
        }
    }
    signals::heed();
    bars.defer_interruption(true);
    let mut shown = Vec::new();
    let (mut readable, mut n_empty) = (n_done, 0);
    let mut labels = Labels { labeller: &labeller, best_fits: best_fits.as_deref_mut() };
    let labelled = make_all(&mut labels, spectra, journal.as_mut(), bars, |stars| {
        let has = |flag: i64| stars.iter().filter(|star| star.flags & flag != 0).count();
        readable += stars.len() - has(star_flags::UNREADABLE);
        n_empty += has(star_flags::NO_DATA);
        shown.extend_from_slice(&stars[..stars.len().min(MOST_PRINTED - shown.len())]);
    });
    if let Err(err) = labelled {
        journal.iter().for_each(|journal| args.out.tell_kept(journal.len(), journal.path()));
        journal.map_or(Ok(()), LabelJournal::discard_empty)?;
        return Err(err.into());
    }
    if readable == 0 {
        journal.map_or(Ok(()), LabelJournal::discard)?;
        return Err(none_read().into());
    }
    if n_empty == spectra.len() {
        tracing::warn!(
            "no spectrum has a pixel with information, and none has labels: are errors nil or infinite, inverse variances nil or negative?"
        );
    }
    let mut answer = table(&shown, labeller.label_names());
    answer += &format!("± errors are {}\n", labeller.words_on_errors());
    if n_waiting > MOST_PRINTED {
        let remedy = if stem.is_none() { "; --out writes them all" } else { "" };
        answer += &format!("... and {} more{remedy}\n", n_waiting - MOST_PRINTED);
    }
    let saved = stem.as_deref().map(|stem| files::with_ending(stem, "fits"));
    // Astra's own layout names its columns otherwise.
    let place_of_page = stem.clone().filter(|_| args.out.shape() == TableShape::Maury);
    if let (Some(journal), Some(stem)) = (journal, stem) {
        let form = args.form(&labeller);
        let (n_kept, place) = (journal.len(), journal.path().to_path_buf());
        let finished = journal.finish(&stem, &form, spectra);
        let rows = finished.inspect_err(|_| args.out.tell_kept(n_kept, &place))?;
        answer += &format!("{}.fits and .csv: {rows} spectra\n", stem.display());
    }
    let best_fits = best_fits.map(BestFits::finish).transpose()?.flatten();
    if let Some(path) = &best_fits {
        answer += &format!("{}: their best fits\n", path.display());
    }
    if let Some(stem) = place_of_page {
        let images = best_fits.as_deref().filter(|path| path.is_file()).map(|path| (path, labeller.grid()));
        answer += &page_of(&stem, &args.model, images);
    }
    match saved {
        Some(saved) => say_of(&answer, &saved),
        None => say(&answer),
    }
}

impl LabelArgs {
    /// What the table is to be.
    fn form(&self, labeller: &Labeller) -> TableForm {
        TableForm {
            label_names: labeller.label_names().to_vec(),
            columns: self.out.columns(),
            shape: self.out.shape(),
            model: self.model.clone(),
            errors: labeller.words_on_errors(),
        }
    }
}

/// The first rows of the labels, for people: columns as wide as what stands in them, and never less than a blank apart.
fn table(stars: &[LabelledStar], label_names: &[String]) -> String {
    let head = label_names.iter().map(|label| format!("{} [{}]", label_title(label), unit(label)));
    let head = ["id".to_string()].into_iter().chain(head).chain(["chi2_red", "flags", "file"].map(String::from));
    let row = |star: &LabelledStar| {
        // Calibrated errors are the ones to believe.
        let errors = if star.calibrated_errors.is_empty() { &star.errors } else { &star.calibrated_errors };
        let measured = label_names.iter().enumerate().map(|(k, label)| {
            // What could not be read has none.
            let number = |values: &[f64]| in_unit(values.get(k).copied().unwrap_or(f64::NAN), unit(label));
            format!("{} ± {}", number(&star.labels), number(errors))
        });
        let end = [plain(star.chi2_reduced, 2), star_flags::describe(star.flags), star.file.clone()];
        [star.id.clone()].into_iter().chain(measured).chain(end).collect::<Vec<String>>()
    };
    let rows: Vec<Vec<String>> = [head.collect()].into_iter().chain(stars.iter().map(row)).collect();
    let least = [24].into_iter().chain(label_names.iter().map(|_| 19)).chain([9, 0, 0]);
    let widest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = least.enumerate().map(|(column, least)| least.max(widest(column))).collect();
    let mut text = String::new();
    for row in &rows {
        let [id, measured @ .., flags, file] = &row[..] else { continue };
        text += &format!("{id:<0$}", widths[0]);
        measured.iter().zip(&widths[1..]).for_each(|(cell, width)| text += &format!(" {cell:>width$}"));
        text += &format!("  {flags:<0$}  {file}\n", widths[widths.len() - 2]);
    }
    if stars.iter().any(|star| star.flags & star_flags::BAD_FIT != 0) {
        text += "BAD_FIT: the model does not describe the star; no error quoted for it holds\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_the_table_never_run_together() {
        let star = LabelledStar {
            file: "star.fits".into(),
            id: "an identifier of some thirty letters".into(),
            snr: 80.0,
            labels: vec![12345.678],
            errors: vec![0.0738],
            covariances: Vec::new(),
            calibrated_errors: Vec::new(),
            chi2: 0.0,
            chi2_reduced: 939_408_000.28,
            fraction_masked: 0.0,
            flags: star_flags::BAD_FIT,
            values: Vec::new(),
        };
        let unread = LabelledStar { labels: Vec::new(), errors: Vec::new(), chi2_reduced: f64::NAN, ..star.clone() };
        let text = table(&[star, unread], &["teff".to_string()]);
        let cells: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(cells[6..], ["12345.7", "±", "0.1", "939408000.28", "BAD_FIT", "star.fits"], "{text}");
        let ends =
            |word: &str| text.lines().find_map(|line| Some(line[..line.find(word)? + word.len()].chars().count()));
        assert_eq!(ends("chi2_red"), ends("939408000.28"), "{text}");
        let files: Vec<usize> = text.lines().take(3).map(|line| line.rfind(' ').unwrap()).collect();
        assert!(text.lines().nth(2).unwrap().contains("- ± -") && files[1] == files[2], "{text}");
    }
}
