//! `maury prepare`: the spectra of an experiment, masked and normalized.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;

use super::bars::Bars;
use super::{ExperimentArgs, say_of, signals};
use crate::data::selection::Selection;
use crate::device::Compute;
use crate::experiment::folds::folds;
use crate::findings::look_alikes;
use crate::report::tables::cuts_table;
use crate::report::{counted, figures};
use crate::spectra::labels::sun_like_logg;
use crate::spectra::prepared::PreparedSet;
use crate::stars::prepare::prepare;
use crate::stars::source::Source;
use crate::stars::star::examine;
use crate::stats::robust::quantile;

#[derive(Debug, Args)]
pub struct PrepareArgs {
    #[command(flatten)]
    experiment: ExperimentArgs,
    /// Draw this star's raw flux, pseudo-continuum and normalized flux.
    #[arg(long, value_name = "ID")]
    star: Option<String>,
    /// Where to put the drawing, `spectrum-<ID>.svg` and `.png`.
    #[arg(long, value_name = "FOLDER", default_value = "figures")]
    figures: PathBuf,
}

pub fn execute(args: &PrepareArgs, bars: &Bars) -> anyhow::Result<()> {
    let experiment = args.experiment.load()?;
    let config = &experiment.config;
    let compute = Compute::open(&config.device)?;
    signals::heed();
    let source = Source::open(&config.stars(), &args.experiment.cache(), bars)?;
    let folds = folds(config, &source.stars);
    let training = folds.first().map(|fold| fold.training.as_slice()).unwrap_or_default();
    let (set, path) = prepare(&source, &config.stars(), training, &args.experiment.cache(), &compute, bars)?;

    let mut text = cuts_table(&source.cuts);
    text += &gravity_cut(&config.selection);
    text += &masking(&set, &config.pixmask.bits);
    if let Some(pairs) = look_alikes::compare(&set)? {
        writeln!(
            text,
            "look-alikes: {} pairs {:.2} sigma apart in their labels differ by {:.4} in flux (noise alone {:.4}); unlike stars by {:.4}",
            pairs.n_pairs, pairs.label_distance, pairs.flux_difference, pairs.noise, pairs.flux_difference_unlike
        )?;
    }
    if let Some(id) = &args.star {
        let star = examine(&source, &set, &config.stars(), id)?;
        let name = format!("spectrum-{}", id.replace(['/', '\\'], "_"));
        figures::write(&args.figures, &name, &figures::spectrum::draw(&star)?)?;
        writeln!(text, "{}", args.figures.join(name).with_extension("svg").display())?;
    }
    writeln!(text, "{}", path.display())?;
    say_of(&text, &path)
}

/// What a cut in log g means: which of the Sun's mass at three radii it keeps.
fn gravity_cut(selection: &Selection) -> String {
    let Some(range) = selection.ranges.get("logg") else { return String::new() };
    let star = |radius: f64| {
        let logg = sun_like_logg(radius);
        format!("{radius} Rsun {logg:.2} ({})", if range.holds(logg) { "kept" } else { "removed" })
    };
    format!("log g of a star of 1 Msun: {}\n", [1.0, 15.0, 100.0].map(star).join(", "))
}

fn masking(set: &PreparedSet, masked_bits: &[u8]) -> String {
    let masked: Vec<f64> = set.quality.iter().map(|quality| 100.0 * quality.fraction_masked()).collect();
    let [least, middle, most] = [0.0, 0.5, 1.0].map(|q| quantile(&masked, q));
    let mut text = format!("pixels masked per star: {least:.2}% to {most:.2}%, median {middle:.2}%\n");
    for (bit, name, fraction) in set.bit_fractions() {
        let fate = if masked_bits.contains(&(bit as u8)) { "masked" } else { "kept" };
        text += &format!("  bit {bit:>2} {name:<18}{:>8.3}%  {fate}\n", 100.0 * fraction);
    }
    let lost = set.quality.iter().filter(|quality| quality.chips_lost > 0).count();
    let unusable = set.quality.iter().filter(|quality| quality.n_good == 0).count();
    let have = if unusable == 1 { "has" } else { "have" };
    text += &format!("{} lost a chip, {unusable} {have} no usable pixel\n", counted(lost, "star"));
    let residuals: Vec<f64> = set.quality.iter().map(|q| q.continuum_residual).filter(|r| r.is_finite()).collect();
    if !residuals.is_empty() {
        let typical = quantile(&residuals, 0.5);
        text += &format!("continuum pixels scatter about the continuum by {typical:.4} (median star)\n");
    }
    text
}
