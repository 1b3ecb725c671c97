//! How flux answers to each label: gradient spectra, their strongest features, and whether those are known lines.

use std::collections::BTreeMap;

use ndarray::{ArrayView1, s};
use serde::Serialize;

use super::molecules::{Molecules, NamedFeature, named};
use super::subject::Subject;
use crate::device::to_f64;
use crate::error::Result;
use crate::spectra::features::{self, Coincidence, Feature, KnownLine};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::unit_step;
use crate::stats::correlation::pearson;

/// Features of one gradient spectrum are at least this far apart, in pixels: about two resolution elements.
pub(in crate::findings) const SEPARATION_PIXELS: f64 = 5.0;
/// Rows of the table of features, for each label.
const MOST_LISTED: usize = 10;
/// Width of the windows in which a label's gradient spectrum is shown (Angstrom), and how many there are.
const WINDOW: f64 = 120.0;
const MOST_WINDOWS: usize = 3;

/// A gradient spectrum.
#[derive(Debug, Clone, PartialEq)]
pub struct GradientSpectrum {
    /// The label.
    pub label: String,
    /// Change of normalized flux for 100 K or 0.1 dex of the label, at the mean training star, `[n_pixels]`; NaN where fewer
    /// than half of the training stars have the pixel.
    pub values: Vec<f64>,
}

/// The numbers of the gradient spectra.
#[derive(Debug, Clone, Serialize)]
pub struct Gradients {
    /// Features looked at in each spectrum.
    pub n_features: usize,
    /// How near to a line a feature must be to be that line, in pixels.
    pub tolerance_pixels: f64,
    /// By label.
    pub labels: BTreeMap<String, LabelGradient>,
    /// Correlation of the gradient spectra of two labels, by `<label>-<label>`: how alike their fingerprints are.
    pub likeness: BTreeMap<String, f64>,
    /// Median over the test stars of the correlation of two labels' formal errors, by `<label>-<label>`.
    pub error_correlation: BTreeMap<String, f64>,
    /// Largest difference between these analytic gradients and differences of model spectra, relative to the largest gradient.
    pub check: f64,
}

/// The gradient spectrum of one label.
#[derive(Debug, Clone, Serialize)]
pub struct LabelGradient {
    /// The label's step that changes of flux are given for, in its unit.
    pub step: f64,
    /// Largest change of flux, without its sign.
    pub largest: f64,
    /// Root mean square change of flux.
    pub rms: f64,
    /// The strongest features, each with the known line it lies on; changes of flux are for the label's step.
    pub features: Vec<NamedFeature>,
    /// Windows that hold most of the features looked at, vacuum Angstrom, the fullest first.
    pub windows: Vec<(f64, f64)>,
    /// Of the features, how many lie at a known line, of any atom or at the head of a band of CO; and what chance would do.
    pub any_line: Coincidence,
    /// The same for lines of the element the label measures, where it is one: its species, and what was found.
    pub own: Option<OwnLines>,
}

/// Features at lines of the element that a label measures.
#[derive(Debug, Clone, Serialize)]
pub struct OwnLines {
    /// The species, as in the line list.
    pub species: String,
    /// What was found.
    #[serde(flatten)]
    pub coincidence: Coincidence,
}

/// Species in the line list of the element that a label measures.
fn species_of(label: &str) -> Option<String> {
    let (element, over) = label.split_once('_')?;
    let mut letters = element.chars();
    let first = letters.next()?.to_ascii_uppercase();
    let is_element = matches!(over, "h" | "fe") && element.len() <= 2 && element != "m";
    is_element.then(|| format!("{first}{} I", letters.as_str()))
}

/// Finds gradient spectra and features in some pixels.
pub(super) fn find(subject: &Subject, valid: &[bool]) -> Result<(Gradients, Vec<GradientSpectrum>)> {
    let (cannon, settings, grid) = (subject.cannon, subject.settings, &subject.context.set.grid);
    let names = &cannon.scaler.names;
    let (n_labels, n_pixels) = (names.len(), grid.n_pixels());
    let compute = subject.context.compute;
    let pivot = compute.tensor(&vec![0.0; n_labels], [1, n_labels]);
    let gradient = to_f64(cannon.cannon.gradient_spectra(pivot));
    let spectra: Vec<GradientSpectrum> = names
        .iter()
        .enumerate()
        .map(|(k, name)| {
            let per_step = unit_step(name) / cannon.scaler.scale[k];
            let known = |pixel: usize| if valid[pixel] { gradient[k * n_pixels + pixel] * per_step } else { f64::NAN };
            GradientSpectrum { label: name.clone(), values: (0..n_pixels).map(known).collect() }
        })
        .collect();
    let (lines, molecules) = (KnownLine::all()?, Molecules::of_grid(grid)?);
    let of = |spectrum: &GradientSpectrum| of_label(spectrum, subject, valid, &lines, molecules.as_ref());
    let labels = spectra.iter().map(|spectrum| (spectrum.label.clone(), of(spectrum))).collect();
    let usable: Vec<usize> = (0..n_pixels).filter(|pixel| valid[*pixel]).collect();
    let at_usable = |k: usize| -> Vec<f64> { usable.iter().map(|pixel| spectra[k].values[*pixel]).collect() };
    let mut likeness = BTreeMap::new();
    let mut error_correlation = BTreeMap::new();
    for j in 0..n_labels {
        for k in j + 1..n_labels {
            let pair = format!("{}-{}", names[j], names[k]);
            likeness.insert(pair.clone(), pearson(&at_usable(j), &at_usable(k)));
            error_correlation.insert(pair, median_correlation(subject, j, k));
        }
    }
    let gradients = Gradients {
        n_features: settings.features,
        tolerance_pixels: settings.line_tolerance_pixels,
        labels,
        likeness,
        error_correlation,
        check: check(subject, &spectra)?,
    };
    Ok((gradients, spectra))
}

fn of_label(
    spectrum: &GradientSpectrum,
    subject: &Subject,
    valid: &[bool],
    lines: &[KnownLine],
    molecules: Option<&Molecules>,
) -> LabelGradient {
    let (settings, grid) = (subject.settings, &subject.context.set.grid);
    let tolerance = settings.line_tolerance_pixels;
    let found = features::strongest_features(&spectrum.values, valid, grid, settings.features, SEPARATION_PIXELS);
    let listed = &found[..found.len().min(MOST_LISTED)];
    let known: Vec<f64> = spectrum.values.iter().copied().filter(|value| value.is_finite()).collect();
    LabelGradient {
        step: unit_step(&spectrum.label),
        largest: known.iter().fold(0.0, |largest, value| value.abs().max(largest)),
        rms: (known.iter().map(|value| value * value).sum::<f64>() / known.len().max(1) as f64).sqrt(),
        features: named(features::matches(listed, lines, grid, tolerance), molecules),
        windows: windows(&found),
        any_line: features::coincidence(&found, lines, valid, grid, tolerance),
        own: own_lines(&spectrum.label, &found, lines, valid, grid, tolerance),
    }
}

/// The windows that hold most of some features, by the sum of their sizes; none overlaps another.
fn windows(found: &[Feature]) -> Vec<(f64, f64)> {
    let around = |middle: f64| (middle - 0.5 * WINDOW, middle + 0.5 * WINDOW);
    let fullness = |(low, high): (f64, f64)| -> f64 {
        found.iter().filter(|one| (low..=high).contains(&one.wavelength)).map(|one| one.value.abs()).sum()
    };
    let mut candidates: Vec<(f64, f64)> = found.iter().map(|one| around(one.wavelength)).collect();
    candidates.sort_by(|a, b| fullness(*b).total_cmp(&fullness(*a)));
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for (low, high) in candidates {
        if taken.len() < MOST_WINDOWS && taken.iter().all(|other| high <= other.0 || low >= other.1) {
            taken.push((low, high));
        }
    }
    taken
}

/// Features of a label's gradient spectrum at lines of the element that it measures; none where it measures none, or the list has no
/// lines of it.
pub(in crate::findings) fn own_lines(
    label: &str,
    found: &[Feature],
    lines: &[KnownLine],
    valid: &[bool],
    grid: &WavelengthGrid,
    tolerance: f64,
) -> Option<OwnLines> {
    let species = species_of(label)?;
    let own: Vec<KnownLine> = lines.iter().filter(|line| line.name == species).cloned().collect();
    (!own.is_empty())
        .then(|| OwnLines { coincidence: features::coincidence(found, &own, valid, grid, tolerance), species })
}

/// Median over the test stars of the correlation of two labels' errors.
fn median_correlation(subject: &Subject, j: usize, k: usize) -> f64 {
    let covariance = &subject.result.estimates.covariance;
    let correlation = |star: usize| {
        let of = covariance.slice(s![star, .., ..]);
        of[[j, k]] / (of[[j, j]] * of[[k, k]]).sqrt()
    };
    let finite: Vec<f64> =
        (0..covariance.dim().0).map(correlation).filter(|correlation| correlation.is_finite()).collect();
    crate::stats::robust::median(&finite)
}

/// Central differences of model spectra beside the gradients: exact for a quadratic but for rounding.
fn check(subject: &Subject, spectra: &[GradientSpectrum]) -> Result<f64> {
    let scaler = &subject.cannon.scaler;
    let mut worst: f64 = 0.0;
    for (k, spectrum) in spectra.iter().enumerate() {
        let step = unit_step(&spectrum.label);
        let moved = |sign: f64| {
            let mut labels = scaler.pivot.clone();
            labels[k] += sign * step;
            labels
        };
        let flux = super::stars::flux_at(subject.cannon, subject, &[moved(1.0), moved(-1.0)])?;
        let difference = ArrayView1::from(&flux[0]).to_owned() - ArrayView1::from(&flux[1]);
        let pairs = difference.iter().zip(&spectrum.values).filter(|(difference, _)| difference.is_finite());
        let apart = pairs.fold(0.0_f64, |apart, (difference, value)| apart.max((difference / 2.0 - value).abs()));
        let largest = spectrum.values.iter().filter(|value| value.is_finite()).fold(0.0_f64, |a, v| a.max(v.abs()));
        worst = worst.max(apart / largest);
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_the_most_and_do_not_overlap() {
        let feature = |wavelength: f64, value: f64| Feature { pixel: 0.0, wavelength, value };
        let found =
            [feature(16_000.0, -0.1), feature(15_200.0, 0.08), feature(15_230.0, 0.08), feature(15_300.0, 0.02)];
        // Two features together are more than the largest alone; the fourth's window would overlap theirs.
        assert_eq!(windows(&found), [(15_140.0, 15_260.0), (15_940.0, 16_060.0)]);
        assert!(windows(&[]).is_empty());
    }

    #[test]
    fn labels_name_the_species_they_measure() {
        let found = ["mg_fe", "si_fe", "fe_h", "m_h", "alpha_m", "teff", "c_fe"].map(species_of);
        let expected = [Some("Mg I"), Some("Si I"), Some("Fe I"), None, None, None, Some("C I")];
        assert_eq!(found, expected.map(|species| species.map(String::from)));
    }
}
