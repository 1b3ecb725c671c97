//! Model spectra along [Fe/H] and along the giant branch: what composition does to a spectrum, and what gravity does.

use serde::Serialize;

use super::kiel::isochrone_at;
use super::stars::{flux_at, scaled};
use super::subject::Subject;
use crate::data::linelist::{AtomicLine, atomic_lines};
use crate::error::Result;
use crate::inference::hull::Hull;
use crate::spectra::labels::LabelScaler;
use crate::stats::correlation::pearson;

/// [Fe/H] along the sequence of metallicity.
const METALLICITIES: [f64; 7] = [-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5];
/// Lines that are named where they grow shallower, at most.
const MOST_NAMED: usize = 5;
/// log g along the giant branch.
const GRAVITIES: [f64; 7] = [3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5];

/// Spectra along one label.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceSpectra {
    /// The label that varies, with the isochrone where Teff goes along.
    pub label: String,
    /// Its values.
    pub values: Vec<f64>,
    /// Teff of each (K).
    pub teff: Vec<f64>,
    /// Model spectra, `[n_values][n_pixels]`; NaN where the model knows nothing.
    pub flux: Vec<Vec<f64>>,
    /// Whether the labels lie outside those of the training stars.
    pub is_outside: Vec<bool>,
}

/// The numbers of both sequences.
#[derive(Debug, Clone, Serialize)]
pub struct Sequences {
    /// First and last wavelength that absorption is measured in, vacuum Angstrom.
    pub window: (f64, f64),
    /// [Fe/H] from low to high at fixed Teff and log g.
    pub metallicity: Sequence,
    /// Lines from the first to the last of its members inside the labels of the training stars; none where there are no two.
    pub lines_within: Option<LineChanges>,
    /// Lines from there to its last member; none where that is not outside.
    pub lines_beyond: Option<LineChanges>,
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

/// What the strong atomic lines of the window do from one spectrum to another.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LineChanges {
    /// The label of the first spectrum.
    pub from: f64,
    /// The label of the second one.
    pub to: f64,
    /// Lines whose pixels both spectra have.
    pub n_lines: usize,
    /// Those that are shallower in the second spectrum, and those that are not.
    pub n_shallower: usize,
    /// See `n_shallower`.
    pub n_deeper: usize,
    /// The strongest of the shallower ones, by species and vacuum wavelength in Angstrom: "Si I 16099".
    pub shallower: Vec<String>,
}

impl LineChanges {
    /// Of lines in a window, between two spectra, each with its label; flux `[n_pixels]`, one by the continuum.
    fn new(
        lines: &[AtomicLine],
        wavelength: &[f64],
        (low, high): (f64, f64),
        [(from, first), (to, second)]: [(f64, &[f64]); 2],
    ) -> Self {
        let nearest = |line: &AtomicLine| {
            let right = wavelength.partition_point(|at| *at < line.wavelength);
            let sides = [right.saturating_sub(1), right].into_iter().filter(|pixel| *pixel < wavelength.len());
            let distance = |pixel: &usize| (wavelength[*pixel] - line.wavelength).abs();
            sides.min_by(|a, b| distance(a).total_cmp(&distance(b)))
        };
        let change = |line: &AtomicLine| nearest(line).map(|pixel| second[pixel] - first[pixel]);
        let inside = lines.iter().filter(|line| (low..=high).contains(&line.wavelength));
        let known = inside.filter_map(|line| Some((line, change(line).filter(|change| change.is_finite())?)));
        let (mut shallower, deeper): (Vec<_>, Vec<_>) = known.partition(|(_, change)| *change > 0.0);
        shallower.sort_by(|(a, _), (b, _)| b.strength.total_cmp(&a.strength));
        let name = |(line, _): &(&AtomicLine, f64)| format!("{} {:.0}", line.species, line.wavelength);
        Self {
            from,
            to,
            n_lines: shallower.len() + deeper.len(),
            n_shallower: shallower.len(),
            n_deeper: deeper.len(),
            shallower: shallower.iter().take(MOST_NAMED).map(name).collect(),
        }
    }
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
    let lines = atomic_lines()?;
    let (wavelength, window) = (&subject.context.set.grid.wavelength, subject.settings.sequence_window);
    let changes = |members: [usize; 2]| {
        let spectra = members.map(|member| (METALLICITIES[member], metal_flux[member].as_slice()));
        LineChanges::new(&lines, wavelength, window, spectra)
    };
    let inside: Vec<usize> =
        (0..METALLICITIES.len()).filter(|member| !of_metallicity.members[*member].is_outside).collect();
    let last = METALLICITIES.len() - 1;
    let ends = inside.first().zip(inside.last());
    let outside = |members: &[Member]| members.iter().map(|member| member.is_outside).collect::<Vec<bool>>();
    let (metals_outside, branch_outside) = (outside(&of_metallicity.members), outside(&of_branch.members));
    let sequences = Sequences {
        window,
        lines_within: ends.filter(|(first, last)| first < last).map(|(first, last)| changes([*first, *last])),
        lines_beyond: inside.last().filter(|member| **member < last).map(|member| changes([*member, last])),
        metallicity: of_metallicity,
        giant_branch: of_branch,
        likeness: if metals.len() == gravity.len() { pearson(&metals, &gravity) } else { f64::NAN },
    };
    let metals = SequenceSpectra {
        label: "fe_h".into(),
        values: METALLICITIES.to_vec(),
        teff: metallicity.iter().map(|labels| labels[teff]).collect(),
        flux: metal_flux,
        is_outside: metals_outside,
    };
    let branch = SequenceSpectra {
        label: "logg".into(),
        values: giants.iter().map(|(gravity, _)| *gravity).collect(),
        teff: giants.iter().map(|(_, warm)| *warm).collect(),
        flux: branch_flux,
        is_outside: branch_outside,
    };
    Ok((sequences, metals, branch))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_grow_shallower_are_named_the_strongest_first() {
        let line = |species: &str, wavelength: f64, strength: f64| AtomicLine {
            species: species.into(),
            wavelength,
            strength,
        };
        let lines = [
            line("Fe I", 16_001.2, 1.0),
            line("Si I", 16_002.9, 2.0),
            line("Ca I", 16_004.0, 3.0),
            line("Ni I", 16_005.0, 4.0),
            line("outside", 16_006.0, 5.0),
        ];
        let wavelength: Vec<f64> = (0..8).map(|pixel| 16_000.0 + f64::from(pixel)).collect();
        let first = [1.0, 0.9, 1.0, 0.6, 0.7, 0.8, 0.5, 1.0];
        // Deeper, shallower, shallower, unknown.
        let second = [1.0, 0.7, 1.0, 0.7, 0.8, f64::NAN, 0.9, 1.0];
        let found = LineChanges::new(&lines, &wavelength, (16_000.0, 16_005.5), [(0.0, &first), (0.5, &second)]);
        assert_eq!((found.from, found.to, found.n_lines, found.n_shallower, found.n_deeper), (0.0, 0.5, 3, 2, 1));
        assert_eq!(found.shallower, ["Ca I 16004", "Si I 16003"]);
        let many: Vec<AtomicLine> = (0..9).map(|_| line("Fe I", 16_003.0, 1.0)).collect();
        let found = LineChanges::new(&many, &wavelength, (16_000.0, 16_005.5), [(0.0, &first), (0.5, &second)]);
        assert_eq!((found.n_shallower, found.shallower.len()), (9, MOST_NAMED));
        let none = LineChanges::new(&many, &[], (16_000.0, 16_005.5), [(0.0, &[]), (0.5, &[])]);
        assert_eq!((none.n_lines, none.shallower.len()), (0, 0));
    }
}
