//! `maury posterior`: the posterior of the labels of single spectra, from the raw file to the corner plot.

use std::path::{Path, PathBuf};

use clap::Args;

use super::bars::Bars;
use super::job::make_all;
use super::posterior_job::Posteriors;
use super::shard::{self, ShardArgs, ShardWork};
use super::spectra::{SpectraArgs, none_read};
use super::{say, say_of, signals};
use crate::data::files;
use crate::device::{Compute, DeviceSettings, Precision};
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::inference::label_prior::LabelPrior;
use crate::inference::prior::Nuisances;
use crate::inference::refine::RefineSettings;
use crate::inference::sampling::{PosteriorSettings, Sampler};
use crate::labelling::best_fits::{created_by, creator};
use crate::labelling::journal::{Journal, Verb};
use crate::labelling::posterior::{PosteriorSampler, SampledStar, sampler_settings};
use crate::labelling::posterior_draws::KeptDraws;
use crate::labelling::posterior_folder::{PosteriorFolder, StarFiles, file_name};
use crate::labelling::posterior_row::{PosteriorRow, SummaryForm};
use crate::labelling::posterior_table;
use crate::labelling::shards::Form;
use crate::progress::Progress;
use crate::report;
use crate::spectra::quality::star_flags;
use crate::spectra::star_table::write_table_with;
use crate::stars::spectra::{HandedOn, SpectrumSource};

/// Where results go that are not told where to.
pub const POSTERIORS: &str = "posterior";
/// Stars that are printed, and that have draws and figures of their own unasked.
const MOST_PRINTED: usize = 30;
const MOST_WITH_FILES: usize = 100;

/// Sample the posterior of the labels of spectra, apStar files or rows of arrays: from raw flux to corner plots.
///
/// Prints, for each spectrum, median and 68% interval of every label, whether the chains agree (R-hat), what they are worth (ESS),
/// and the priors in words; leaves a summary table in a folder, and of up to 100 stars all draws and figures, in files of each star's own.
/// Of more stars these come only with --figures, and --keep-draws puts some draws of all into one file.
///
/// A star's draws depend on the spectrum, the settings, --seed, and what the list calls the spectrum (of arrays: its id), and not on what
/// else is sampled. Rows are kept as they come; a job that was killed goes on where it stopped when it is started again with the same
/// words.
///
/// Widths of posteriors are formal errors: what noise and scatter do if the model is right. `maury label` gives calibrated ones, which
/// hold what stars held out from training showed, where a model has them; they are often several times larger.
///
/// A star that the model does not describe is flagged BAD_FIT: its posterior is one of labels that no width can be told for.
///
/// The model is a Cannon (`models/<name>` of a run, or made by `maury import`) or `checkpoints/payne-hband`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  maury posterior --model checkpoints/payne-hband tests/data/apStar-dr17-2M19485057+5005279.fits\n  \
    maury posterior --model MODEL --prior teff=normal:4500:200 --prior logg=uniform:0:4 --out cool star.fits\n  \
    maury posterior --model MODEL --priors priors.toml --sampler nuts --out nuts star.fits\n  \
    maury posterior --model MODEL --flux flux.npy --error error.npy --ids stars.csv --star star007 --out mine\n  \
    maury posterior --model MODEL --list list.txt --keep-draws 200 --out posteriors --script slurm --shards 256 > posterior.slurm\n\n\
    A folder holds what one model and the same settings made: others need one of their own (--out), or --overwrite.\n\n\
    A file of priors holds what [posterior] of an experiment does:\n  \
    prior.joint = \"training\"\n  prior.labels.teff.normal = { mean = 4500, sigma = 200 }\n  nuisances.noise_inflation = 1.0"
)]
pub struct PosteriorArgs {
    #[command(flatten)]
    spectra: SpectraArgs,
    /// Folder of a trained model.
    #[arg(long)]
    model: PathBuf,
    /// Folder for draws, summary and figures. Stars are added to what the same model and settings left there before.
    #[arg(long, value_name = "FOLDER", default_value = POSTERIORS)]
    out: PathBuf,
    /// Replace the posteriors in that folder, whatever model and settings made them.
    #[arg(long)]
    overwrite: bool,
    /// Which sampler.
    #[arg(long, value_enum, default_value_t)]
    sampler: Sampler,
    /// Chains; 4 unless the file of priors says otherwise.
    #[arg(long)]
    chains: Option<usize>,
    /// Draws of each chain that only tune the sampler; 300 unless the file of priors says otherwise.
    #[arg(long)]
    warmup: Option<usize>,
    /// Draws of each chain that are kept; 1000 unless the file of priors says otherwise.
    #[arg(long)]
    draws: Option<usize>,
    /// Prior of a label: `LABEL=flat`, `LABEL=normal:MEAN:SIGMA` or `LABEL=uniform:MIN:MAX`. May be given again.
    #[arg(long = "prior", value_name = "LABEL=PRIOR")]
    prior: Vec<String>,
    /// TOML file with priors, nuisances and sampler settings, as in [posterior] of an experiment.
    #[arg(long, value_name = "FILE")]
    priors: Option<PathBuf>,
    /// Draws of each star that are kept in one file, `draws.fits`, evenly through all chains: a row a star in the order of the summary.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    keep_draws: Option<u32>,
    /// Draws and figures of each star in files of its own, of more than 100 stars, too. Shards draw none.
    #[arg(long, conflicts_with_all = ["shard", "script"])]
    figures: bool,
    #[command(flatten)]
    many: ShardArgs,
    /// Seed that the chains of each star get theirs from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What an emulator's fit does with abundances and broadening that are not labels.
    #[arg(long, value_enum, default_value_t)]
    nuisances: Nuisances,
    /// CPU threads; 0 means all cores.
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

pub fn execute(args: &PosteriorArgs, bars: &Bars) -> anyhow::Result<()> {
    if let Some(kind) = args.many.script {
        let needed: Vec<&Path> = args.spectra.list().into_iter().chain([args.model.as_path()]).collect();
        return say(&shard::script(Verb::Posterior, kind, args.many.shards, Some(&args.folder()), &needed)?);
    }
    let settings = args.settings()?;
    // One star's numbers are few: nothing is gained by narrow ones.
    let device = DeviceSettings { precision: Precision::F64, threads: args.threads, ..DeviceSettings::default() };
    let compute = Compute::open(&device)?;
    let refine = RefineSettings { nuisances: args.nuisances, ..RefineSettings::default() };
    let model = PosteriorSampler::load(&args.model, &FitSettings::default(), &refine, &compute)?;
    settings.check(model.label_names()).map_err(|(key, problem)| Error::Config(format!("{key} {problem}")))?;
    let form = model.form(&settings, args.sampler, args.seed, args.keep_draws.unwrap_or(0) as usize);
    if let Some(asked) = args.keep_draws.filter(|asked| *asked as usize > form.n_kept()) {
        tracing::warn!("--keep-draws {asked}: {} draws are all that a star has, and all are kept", form.n_kept());
    }
    let posteriors = |each| Posteriors {
        model: &model,
        settings: &settings,
        sampler: args.sampler,
        seed: args.seed,
        kept: KeptDraws::new(&form),
        each,
        n_sampled: 0,
        problem: None,
    };
    if let Some(mut work) = ShardWork::begin(&args.many, args.spectra.list(), 1)? {
        let (spectra, out) = (work.spectra(&HandedOn::default()), args.folder());
        model.expect_alike(&spectra)?;
        if out.file_name().is_none() || out.is_file() {
            return Err(Error::Config(format!("--out {}: name a folder to be made", args.out.display())).into());
        }
        let (fingerprint, plan) = (form.fingerprint(), Form::Posterior(form.clone()));
        return work.execute(&mut posteriors(&mut |_| Ok(())), &spectra, &out, fingerprint, plan, bars);
    }
    let source = args.spectra.source(&HandedOn::default())?;
    let spectra = &*source;
    if spectra.is_empty() {
        return Err(none_read().into());
    }
    model.expect_alike(spectra)?;
    let words = model.words(&settings);
    signals::heed();
    bars.defer_interruption(true);
    let mut folder = PosteriorFolder::open(&args.out, &form.origin, None, args.overwrite)?;
    let mut journal = args.journal(&folder, &form, spectra)?;
    let (n_done, has_files) = (journal.n_done(spectra), args.figures || spectra.len() <= MOST_WITH_FILES);
    let files_of = |has_draws: bool| match (has_draws, has_files) {
        (false, _) => StarFiles::None,
        (true, true) => StarFiles::Written,
        (true, false) => StarFiles::Untouched,
    };
    if n_done > 0 {
        tracing::info!("{n_done} of {} spectra are sampled already", spectra.len());
    }
    if !has_files {
        tracing::info!("more than {MOST_WITH_FILES} stars: draws and figures of each come with --figures");
    }
    journal.each_row(|row: PosteriorRow| {
        folder.name(&row.file, &row.id, files_of(row.flags & star_flags::NO_POSTERIOR == 0));
        Ok(())
    })?;
    let (mut answer, mut n_printed) = (String::new(), 0);
    let mut each = |sampled: &SampledStar| {
        let names = model.label_names();
        if n_printed < MOST_PRINTED {
            answer += &report::posterior::star_table(sampled, names);
            n_printed += 1;
        }
        let columns = sampled.draw_columns(names);
        let row = folder.name(&sampled.star.file, &sampled.star.id, files_of(!columns.is_empty()));
        if !has_files || columns.is_empty() {
            return Ok(());
        }
        // They are there before the row is that speaks of them.
        let name = file_name(&row);
        let creator = creator();
        write_table_with(&args.out.join(format!("draws-{name}")), "DRAWS", &columns, &[created_by(&creator)])?;
        report::posterior::draw(&args.out.join("figures"), &name, sampled, names)
    };
    let mut posteriors = posteriors(&mut each);
    let made = make_all(&mut posteriors, spectra, Some(&mut journal), bars, |_| ());
    let Posteriors { n_sampled, problem, .. } = posteriors;
    let (n_kept, place) = (journal.len(), journal.path().to_path_buf());
    let tell_kept = || {
        if n_kept > 0 {
            let place = place.display();
            tracing::warn!("posteriors of {n_kept} spectra are kept in {place}; the same command goes on with them");
        }
    };
    if let Err(err) = made {
        tell_kept();
        journal.discard_empty()?;
        return Err(err.into());
    }
    if n_done == 0 && n_sampled == 0 {
        journal.discard()?;
        return Err(problem.unwrap_or_else(none_read).into());
    }
    posterior_table::finish(journal, &mut folder, &form, spectra).inspect_err(|_| tell_kept())?;
    if n_sampled > n_printed {
        answer += &format!("... and {} more, in the summary\n", n_sampled - n_printed);
    }
    answer += &report::posterior::priors(&words);
    let mut there = if has_files { "summary, draws, figures".to_string() } else { "summary".into() };
    if form.n_kept() > 0 {
        there += &format!("; {} draws of each star in draws.fits", form.n_kept());
    }
    if folder.n_kept() > 0 {
        there += &format!("; the summary keeps {} sampled before", folder.n_kept());
    }
    say_of(&format!("{answer}{}: {there}\n", args.out.display()), &args.out)
}

impl PosteriorArgs {
    /// The folder, however it was written.
    fn folder(&self) -> PathBuf {
        self.out.components().collect()
    }

    /// The rows on their way in a folder, whose draws must have a place there.
    fn journal(
        &self,
        folder: &PosteriorFolder,
        form: &SummaryForm,
        spectra: &dyn SpectrumSource,
    ) -> Result<Journal<PosteriorRow>> {
        let mut fingerprint = form.fingerprint();
        let origin = spectra.origin()?;
        if !origin.is_empty() {
            fingerprint += &format!(" spectra {}", &blake3::hash(origin.as_bytes()).to_hex()[..32]);
        }
        let journal = Journal::open(&folder.summary(), &fingerprint)?;
        let draws = folder.draws();
        if form.n_kept() > 0 && !self.overwrite && draws.exists() && journal.is_empty() {
            journal.discard()?;
            let remedy = "name another --out, or replace all that is there by --overwrite";
            return Err(Error::Config(format!("{}: draws of another job are there; {remedy}", draws.display())));
        }
        Ok(journal)
    }

    /// The file of priors with what the command line changes in it.
    fn settings(&self) -> Result<PosteriorSettings> {
        let mut settings = match &self.priors {
            Some(path) => PosteriorSettings::parse(&path.display().to_string(), &files::read_text(path)?)?,
            None => PosteriorSettings::default(),
        };
        settings.sampler = sampler_settings(settings.sampler, self.chains, self.warmup, self.draws);
        for text in &self.prior {
            let (name, prior) = label_prior(text).ok_or_else(|| {
                Error::Config(format!(
                    "--prior '{text}': LABEL=flat, LABEL=normal:MEAN:SIGMA or LABEL=uniform:MIN:MAX expected, as in --prior \
                     teff=normal:4500:200"
                ))
            })?;
            settings.prior.labels.insert(name, prior);
        }
        Ok(settings)
    }
}

/// `teff=normal:4500:200` and the like.
fn label_prior(text: &str) -> Option<(String, LabelPrior)> {
    let (name, prior) = text.split_once('=')?;
    let mut parts = prior.split(':');
    let kind = parts.next()?;
    let numbers: Vec<f64> = parts.map(|part| part.trim().parse().ok()).collect::<Option<_>>()?;
    let prior = match (kind, numbers.as_slice()) {
        ("flat", []) => LabelPrior::Flat,
        ("normal", [mean, sigma]) => LabelPrior::Normal { mean: *mean, sigma: *sigma },
        ("uniform", [min, max]) => LabelPrior::Uniform { min: *min, max: *max },
        _ => return None,
    };
    Some((name.trim().to_string(), prior))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priors_are_read_from_the_command_line() {
        let normal = Some(("teff".to_string(), LabelPrior::Normal { mean: 4500.0, sigma: 200.0 }));
        assert_eq!(label_prior("teff=normal:4500:200"), normal);
        let uniform = Some(("logg".to_string(), LabelPrior::Uniform { min: -0.5, max: 4.0 }));
        assert_eq!(label_prior("logg=uniform:-0.5:4"), uniform);
        for wrong in ["teff", "teff=normal:4500", "teff=normal:a:b", "teff=gauss:1:2", "teff=flat:1"] {
            assert_eq!(label_prior(wrong), None, "{wrong}");
        }
    }
}
