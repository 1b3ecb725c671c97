//! `maury prepare`: the spectra of an experiment, masked and normalized.

use super::{ExperimentArgs, bars::Bars};
use crate::device::Compute;
use crate::experiment::prepare::{Source, prepare};
use crate::stats::robust::quantile;

pub fn execute(args: &ExperimentArgs, bars: &Bars) -> anyhow::Result<()> {
    let experiment = args.load()?;
    let config = &experiment.config;
    let compute = Compute::open(&config.device)?;
    let source = Source::open(config)?;
    let folds = config.split.folds(&source.stars.id, config.seed);
    let training = folds.first().map(|fold| fold.training.as_slice()).unwrap_or_default();
    let (set, path) = prepare(&source, config, training, &args.cache(), &compute, bars)?;

    for cut in &source.cuts {
        println!("{:<40}{:>8} removed{:>8} left", cut.name, cut.removed, cut.left);
    }
    let masked: Vec<f64> = set.quality.iter().map(|quality| 100.0 * quality.fraction_masked()).collect();
    let [least, middle, most] = [0.0, 0.5, 1.0].map(|q| quantile(&masked, q));
    println!("pixels masked per star: {least:.2}% to {most:.2}%, median {middle:.2}%");
    for (bit, name, fraction) in set.bit_fractions() {
        let masks = if config.pixmask.bits.contains(&(bit as u8)) { "masked" } else { "kept" };
        println!("  bit {bit:>2} {name:<18}{:>8.3}%  {masks}", 100.0 * fraction);
    }
    let lost = set.quality.iter().filter(|quality| quality.chips_lost > 0).count();
    let unusable = set.quality.iter().filter(|quality| quality.n_good == 0).count();
    println!("{lost} stars lost a chip, {unusable} have no usable pixel");
    let residuals: Vec<f64> = set.quality.iter().map(|q| q.continuum_residual).filter(|r| r.is_finite()).collect();
    if !residuals.is_empty() {
        println!("continuum pixels scatter about the continuum by {:.4} (median star)", quantile(&residuals, 0.5));
    }
    println!("{}", path.display());
    Ok(())
}
