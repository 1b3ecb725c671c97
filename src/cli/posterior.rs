//! `maury posterior`: the posterior of the labels of single spectra, from the raw file to the corner plot.

use std::path::PathBuf;

use clap::Args;

use super::bars::Bars;
use super::spectra::{SpectraArgs, none_read};
use super::{say_of, signals};
use crate::data::files;
use crate::device::{Compute, DeviceSettings, Precision};
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::inference::label_prior::LabelPrior;
use crate::inference::posteriors;
use crate::inference::prior::Nuisances;
use crate::inference::refine::RefineSettings;
use crate::inference::sampling::{PosteriorSettings, Sampler};
use crate::labelling::posterior::{PosteriorSampler, sampler_settings};
use crate::labelling::posterior_folder::{PosteriorFolder, file_name};
use crate::progress::Progress;
use crate::report;
use crate::spectra::star_table::write_table;
use crate::stars::spectra::HandedOn;

/// Where results go that are not told where to.
pub const POSTERIORS: &str = "posterior";

/// Sample the posterior of the labels of spectra, apStar files or rows of arrays: from raw flux to corner plots.
///
/// Prints, for each spectrum, median and 68% interval of every label, whether the chains agree (R-hat), what they are worth (ESS),
/// and the priors in words; leaves the draws, a summary table and figures in a folder.
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
    maury posterior --model MODEL --flux flux.npy --error error.npy --ids stars.csv --star star007 --out mine\n\n\
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
    /// Seed of the chains.
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
    let settings = args.settings()?;
    // One star's numbers are few: nothing is gained by narrow ones.
    let device = DeviceSettings { precision: Precision::F64, threads: args.threads, ..DeviceSettings::default() };
    let compute = Compute::open(&device)?;
    let refine = RefineSettings { nuisances: args.nuisances, ..RefineSettings::default() };
    let sampler = PosteriorSampler::load(&args.model, &FitSettings::default(), &refine, &compute)?;
    let names = sampler.label_names();
    settings.check(names).map_err(|(key, problem)| Error::Config(format!("{key} {problem}")))?;
    let source = args.spectra.source(&HandedOn::default())?;
    let spectra = &*source;
    if spectra.is_empty() {
        return Err(none_read().into());
    }
    sampler.expect_alike(spectra)?;
    let words = sampler.words(&settings);
    signals::heed();
    bars.defer_interruption(true);
    bars.start("sampling posteriors", spectra.len());
    let origin = sampler.fingerprint(&settings, args.sampler, args.seed);
    let mut folder = PosteriorFolder::open(&args.out, &origin, args.overwrite)?;
    // Draws, figures and the summary of them: all or none.
    let (mut answer, stopped) = files::fill_into(&args.out, |out| {
        let (mut ids, mut found, mut flags) = (Vec::new(), Vec::new(), Vec::new());
        let (mut answer, mut failed) = (String::new(), None);
        for n in (0..spectra.len()).take_while(|_| !bars.interrupted()) {
            let sampled = match sampler.sample(spectra, n, &settings, args.sampler, args.seed, bars) {
                Ok(sampled) => sampled,
                // The stars before this one are whole.
                Err(Error::Interrupted { .. }) => break,
                Err(err) => {
                    tracing::warn!("{err}");
                    failed.get_or_insert(err);
                    continue;
                }
            };
            answer += &report::posterior::star_table(&sampled, names);
            let columns = sampled.draw_columns(names);
            let row = folder.name(&sampled.star.file, &sampled.star.id, !columns.is_empty());
            let name = file_name(&row);
            if !columns.is_empty() {
                write_table(&out.join(format!("draws-{name}")), "DRAWS", &columns)?;
            }
            report::posterior::draw(&out.join("figures"), &name, &sampled, names)?;
            ids.push(row);
            flags.push(sampled.star.flags);
            found.push(sampled.posterior);
            bars.advance(1);
        }
        if ids.is_empty() {
            let stopped = Error::Interrupted { kept: false };
            return Err(failed.filter(|_| !bars.interrupted()).unwrap_or(stopped));
        }
        folder.write_summary(out, posteriors::columns(&ids, names, &found, &flags))?;
        Ok((answer, bars.interrupted() && ids.len() < spectra.len()))
    })?;
    folder.remove_stale();
    bars.finish();
    answer += &report::posterior::priors(&words);
    let kept = match folder.n_kept() {
        0 => String::new(),
        n => format!("; the summary keeps {n} sampled before"),
    };
    say_of(&format!("{answer}{}: summary, draws, figures{kept}\n", args.out.display()), &args.out)?;
    // What was sampled until then is there.
    if stopped { Err(Error::Interrupted { kept: false }.into()) } else { Ok(()) }
}

impl PosteriorArgs {
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
