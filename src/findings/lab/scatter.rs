//! Where stars scatter about the model beyond their noise, and what is known to be there.

use std::collections::BTreeMap;

use serde::Serialize;

use super::molecules::{Molecules, NamedFeature, named};
use super::subject::Subject;
use crate::data::linelist::atomic_lines;
use crate::device::to_f64;
use crate::error::Result;
use crate::mock::emulator::Emulator;
use crate::spectra::features::{self, KnownLine};
use crate::stats::correlation::spearman;
use crate::stats::robust::{median, quantile};
use crate::training::checkpoint::TrainedCannon;

/// Share of the pixels that count as those of largest scatter.
const LARGEST: f64 = 0.02;
/// Features listed.
const MOST_LISTED: usize = 10;
/// Peaks closer than this are one, in pixels.
const SEPARATION_PIXELS: f64 = 8.0;

/// Causes beside the labels whose effect on spectra the emulator that comes with maury knows.
const CAUSES: [(&str, &str); 6] = [
    ("c_fe", "C"),
    ("n_fe", "N"),
    ("o_fe", "O"),
    ("al_fe", "Al"),
    ("vmic_kms", "v_micro"),
    ("vmac_fwhm_kms", "v_macro"),
];

/// The numbers of the scatter s, the square root of s2.
#[derive(Debug, Clone, Serialize)]
pub struct Scatter {
    /// Median over the pixels.
    pub median: f64,
    /// 99% of the pixels have less.
    pub q99: f64,
    /// Median of each chip, from short wavelengths to long.
    pub median_of_chips: Vec<f64>,
    /// Median at the continuum pixels.
    pub median_at_continuum: f64,
    /// The pixels of largest scatter, as a share of all.
    pub largest_share: f64,
    /// Share of those at a known atomic line, and of all pixels.
    pub largest_at_atomic_lines: f64,
    /// See `largest_at_atomic_lines`.
    pub all_at_atomic_lines: f64,
    /// The highest peaks, each with the known line it lies on.
    pub peaks: Vec<NamedFeature>,
    /// Rank correlation of s with the size of the flux's answer to causes that are no labels, by cause.
    pub likeness: BTreeMap<String, f64>,
}

/// s of a model, `[n_pixels]`; NaN where it knows nothing.
pub(super) fn of_model(cannon: &TrainedCannon, valid: &[bool]) -> Vec<f64> {
    let s2 = to_f64(cannon.cannon.s2.val());
    s2.into_iter().zip(valid).map(|(s2, valid)| if *valid { s2.sqrt() } else { f64::NAN }).collect()
}

/// Looks at the scatter of a model in some pixels.
pub(super) fn find(subject: &Subject, s: &[f64], well_measured: &[bool]) -> Result<Scatter> {
    let set = subject.context.set;
    let grid = &set.grid;
    let usable = well_measured;
    let of = |holds: &dyn Fn(usize) -> bool| -> Vec<f64> {
        (0..s.len()).filter(|pixel| usable[*pixel] && holds(*pixel)).map(|pixel| s[pixel]).collect()
    };
    let all = of(&|_| true);
    let limit = quantile(&all, 1.0 - LARGEST);
    let atoms: Vec<KnownLine> = atomic_lines()?.iter().map(KnownLine::from).collect();
    let tolerance = subject.settings.line_tolerance_pixels;
    let is_at_line = features::pixels_near(&atoms, grid, tolerance);
    let share = |holds: &dyn Fn(usize) -> bool| {
        let pixels: Vec<usize> = (0..s.len()).filter(|pixel| usable[*pixel] && holds(*pixel)).collect();
        pixels.iter().filter(|pixel| is_at_line[**pixel]).count() as f64 / pixels.len().max(1) as f64
    };
    let peaks = features::strongest_features(s, usable, grid, MOST_LISTED, SEPARATION_PIXELS);
    let mut likeness = BTreeMap::new();
    if grid.is_apogee() {
        let emulator = Emulator::shipped()?;
        let pixels: Vec<usize> = (0..s.len()).filter(|pixel| usable[*pixel]).collect();
        let s_of: Vec<f64> = pixels.iter().map(|pixel| s[*pixel]).collect();
        for (input, name) in CAUSES {
            let Some(response) = emulator.response(input) else { continue };
            let sizes: Vec<f64> = pixels.iter().map(|pixel| response[*pixel].abs()).collect();
            likeness.insert(name.to_string(), spearman(&s_of, &sizes));
        }
    }
    Ok(Scatter {
        median: median(&all),
        q99: quantile(&all, 0.99),
        median_of_chips: grid.chips.iter().map(|chip| median(&of(&|pixel| chip.contains(&pixel)))).collect(),
        median_at_continuum: median(&of(&|pixel| set.continuum_pixels[pixel])),
        largest_share: LARGEST,
        largest_at_atomic_lines: share(&|pixel| s[pixel] >= limit),
        all_at_atomic_lines: share(&|_| true),
        peaks: named(
            features::matches(&peaks, &KnownLine::all()?, grid, tolerance),
            Molecules::of_grid(grid)?.as_ref(),
        ),
        likeness,
    })
}
