//! Model spectra along [Fe/H] and along the giant branch: what composition does to a spectrum, and what gravity does.

use serde::Serialize;

use super::kiel::isochrone_at;
use super::stars::{flux_at, scaled};
use super::subject::Subject;
use crate::error::Result;
use crate::inference::hull::Hull;
use crate::spectra::labels::LabelScaler;
use crate::stats::correlation::pearson;

/// [Fe/H] along the sequence of metallicity.
const METALLICITIES: [f64; 7] = [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5];
/// log g along the giant branch.
const GRAVITIES: [f64; 7] = [3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5];

/// Spectra along one label.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceSpectra {
    /// The label that varies, with the isochrone where Teff goes along.
    pub label: String,
    /// Its values.
    pub values: Vec<f64>,
    /// Model spectra, `[n_values][n_pixels]`; NaN where the model knows nothing.
    pub flux: Vec<Vec<f64>>,
}

/// The numbers of both sequences.
#[derive(Debug, Clone, Serialize)]
pub struct Sequences {
    /// First and last wavelength that absorption is measured in, vacuum Angstrom.
    pub window: (f64, f64),
    /// [Fe/H] from low to high at fixed Teff and log g.
    pub metallicity: Sequence,
    /// log g from high to low along the isochrone of the Sun's metallicity.
    pub giant_branch: Sequence,
    /// Correlation, over all pixels, of what the whole sequence of metallicity changes with what the giant branch changes.
    pub likeness: f64,
}

/// The numbers of one sequence.
#[derive(Debug, Clone, Serialize)]
pub struct Sequence {
    /// Its spectra.
    pub members: Vec<Member>,
    /// Mean absorption of the last minus the first in the window.
    pub absorption_change: f64,
    /// Root mean square change of flux from the first to the last over all pixels.
    pub flux_change: f64,
    /// Members outside the labels of the training stars: the polynomial extrapolates there.
    pub n_outside: usize,
}

/// One spectrum of a sequence.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Effective temperature (K).
    pub teff: f64,
    /// Surface gravity (dex).
    pub logg: f64,
    /// Metallicity (dex).
    pub fe_h: f64,
    /// Mean of 1 - flux in the window.
    pub absorption: f64,
    /// Whether the labels lie outside those of the training stars.
    pub is_outside: bool,
}

/// Makes both sequences; labels other than Teff, log g and [Fe/H] are those of the mean training star.
pub(super) fn make(subject: &Subject) -> Result<(Sequences, SequenceSpectra, SequenceSpectra)> {
    let scaler = &subject.cannon.scaler;
    let position = |name: &str| scaler.names.iter().position(|known| known == name).unwrap_or(0);
    let (teff, logg, fe_h) = (position("teff"), position("logg"), position("fe_h"));
    let with = |changes: [(usize, f64); 3]| {
        let mut labels = scaler.pivot.clone();
        changes.into_iter().for_each(|(k, value)| labels[k] = value);
        labels
    };
    let metallicity: Vec<Vec<f64>> = METALLICITIES
        .iter()
        .map(|value| with([(teff, scaler.pivot[teff]), (logg, scaler.pivot[logg]), (fe_h, *value)]))
        .collect();
    let isochrone = isochrone_at(subject.settings, 0.0)?;
    let giants: Vec<(f64, f64)> =
        GRAVITIES.iter().filter_map(|gravity| Some((*gravity, isochrone.as_ref()?.teff_at_logg(*gravity)?))).collect();
    let branch: Vec<Vec<f64>> =
        giants.iter().map(|(gravity, warm)| with([(teff, *warm), (logg, *gravity), (fe_h, 0.0)])).collect();
    let hull = Hull::new(scaler.scale(subject.cannon.training_labels.view()).view());
    let make = |labels: &[Vec<f64>]| -> Result<(Sequence, Vec<Vec<f64>>)> {
        if labels.is_empty() {
            let none =
                Sequence { members: Vec::new(), absorption_change: f64::NAN, flux_change: f64::NAN, n_outside: 0 };
            return Ok((none, Vec::new()));
        }
        let flux = flux_at(subject.cannon, subject, labels)?;
        let members: Vec<Member> = labels
            .iter()
            .zip(&flux)
            .map(|(labels, flux)| Member {
                teff: labels[teff],
                logg: labels[logg],
                fe_h: labels[fe_h],
                absorption: absorption(subject, flux),
                is_outside: is_outside(&hull, scaler, labels),
            })
            .collect();
        let change = difference(&flux);
        let sequence = Sequence {
            absorption_change: members.last().map_or(f64::NAN, |last| last.absorption - members[0].absorption),
            flux_change: (change.iter().map(|value| value * value).sum::<f64>() / change.len().max(1) as f64).sqrt(),
            n_outside: members.iter().filter(|member| member.is_outside).count(),
            members,
        };
        Ok((sequence, flux))
    };
    let ((of_metallicity, metal_flux), (of_branch, branch_flux)) = (make(&metallicity)?, make(&branch)?);
    let (metals, gravity) = (difference(&metal_flux), difference(&branch_flux));
    let sequences = Sequences {
        window: subject.settings.sequence_window,
        metallicity: of_metallicity,
        giant_branch: of_branch,
        likeness: if metals.len() == gravity.len() { pearson(&metals, &gravity) } else { f64::NAN },
    };
    let spectra = |label: &str, values: Vec<f64>, flux| SequenceSpectra { label: label.into(), values, flux };
    let gravities = giants.iter().map(|(gravity, _)| *gravity).collect();
    Ok((sequences, spectra("fe_h", METALLICITIES.to_vec(), metal_flux), spectra("logg", gravities, branch_flux)))
}

fn is_outside(hull: &Hull, scaler: &LabelScaler, labels: &[f64]) -> bool {
    hull.is_outside(scaled(scaler, &[labels.to_vec()]).row(0))
}

/// Mean of 1 - flux in the window of the sequences.
fn absorption(subject: &Subject, flux: &[f64]) -> f64 {
    let (low, high) = subject.settings.sequence_window;
    let wavelength = &subject.context.set.grid.wavelength;
    let inside = wavelength.iter().zip(flux).filter(|(w, flux)| **w >= low && **w <= high && flux.is_finite());
    let depths: Vec<f64> = inside.map(|(_, flux)| 1.0 - flux).collect();
    crate::stats::robust::mean(&depths)
}

/// Last minus first spectrum, where both are known.
fn difference(flux: &[Vec<f64>]) -> Vec<f64> {
    let (Some(first), Some(last)) = (flux.first(), flux.last()) else { return Vec::new() };
    first.iter().zip(last).map(|(first, last)| last - first).filter(|change| change.is_finite()).collect()
}
