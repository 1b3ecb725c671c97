//! The likelihood that training maximises, shown at three pixels: what it is in s^2, and what proves its maximum.

use serde::Serialize;

use super::gradients::GradientSpectrum;
use super::subject::Subject;
use crate::device::{to_array, to_f64};
use crate::error::Result;
use crate::spectra::stored::SpectraOf;
use crate::training::scatter_profile::ScatterProfile;

/// How far below its maximum ln L is drawn.
const DEPTH: f64 = 12.0;
/// Points of a curve.
const POINTS: usize = 41;
/// Halvings that find where ln L has fallen by [`DEPTH`].
const HALVINGS: usize = 30;

/// The likelihood of one pixel.
#[derive(Debug, Clone, Serialize)]
pub struct PixelLikelihood {
    /// Why this pixel is shown.
    pub what: String,
    /// Vacuum wavelength in Angstrom.
    pub wavelength: f64,
    /// Training stars that have the pixel.
    pub n_stars: usize,
    /// The scatter s that training found.
    pub trained: f64,
    /// The s of the largest likelihood, found apart from training: in f64, one pixel alone, least squares anew at every trial.
    pub largest: f64,
    /// ln L there.
    pub log_likelihood: f64,
    /// No s outside of these two can be the largest likelihood's: an upper bound excludes it.
    pub bracket: (f64, f64),
    /// Whether ln L has one hill.
    pub one_hill: bool,
    /// s, and ln L below its maximum.
    #[serde(skip)]
    pub curve: Vec<(f64, f64)>,
}

/// A typical continuum pixel, the one that answers most to [Fe/H], and the one of the largest scatter; none of a model whose training
/// chose among stars, labels or terms.
pub(super) fn of_pixels(
    subject: &Subject,
    s: &[f64],
    well_measured: &[bool],
    gradients: &[GradientSpectrum],
) -> Result<Vec<PixelLikelihood>> {
    let (set, cannon) = (subject.context.set, subject.cannon);
    let rows = subject.context.trainable(&subject.fold.training);
    let are_those = rows.len() == cannon.training_labels.nrows()
        && rows.iter().zip(cannon.training_labels.rows()).all(|(row, trained)| set.labels.row(*row) == trained);
    if !are_those {
        return Ok(Vec::new());
    }
    let known: Vec<usize> = (0..s.len()).filter(|pixel| well_measured[*pixel] && s[*pixel].is_finite()).collect();
    let of_most = |size: &dyn Fn(usize) -> f64| known.iter().copied().max_by(|a, b| size(*a).total_cmp(&size(*b)));
    let mut continuum: Vec<usize> = known.iter().copied().filter(|pixel| set.continuum_pixels[*pixel]).collect();
    continuum.sort_by(|a, b| s[*a].total_cmp(&s[*b]));
    let metallicity = gradients.iter().find(|gradient| gradient.label == "fe_h");
    let shown = [
        ("a continuum pixel, of median scatter", continuum.get(continuum.len() / 2).copied()),
        ("the strongest answer to [Fe/H]", metallicity.and_then(|of| of_most(&|pixel| of.values[pixel].abs()))),
        ("the largest scatter", of_most(&|pixel| s[pixel])),
    ];
    let mut pixels: Vec<usize> = shown.iter().filter_map(|(_, pixel)| *pixel).collect();
    pixels.sort_unstable();
    pixels.dedup();
    let held = SpectraOf::Rows(&set.spectra, &rows).hold(&pixels)?;
    let scaled = cannon.scaler.scale(cannon.training_labels.view());
    let design = to_array(cannon.cannon.vectorizer().design_matrix(subject.context.compute.matrix(scaled.view())));
    let trained = to_f64(cannon.cannon.s2.val());
    let of_pixel = |(what, pixel): (&str, Option<usize>)| {
        let pixel = pixel?;
        let [flux, ivar] = held.columns(&[pixel]).map(|column| column.into_iter().map(f64::from).collect::<Vec<f64>>());
        let profile = ScatterProfile::new(design.view(), &flux, &ivar);
        let maximum = profile.maximum()?;
        let log_likelihood = profile.log_likelihood(maximum.s2)?;
        Some(PixelLikelihood {
            what: what.into(),
            wavelength: set.grid.wavelength[pixel],
            n_stars: profile.n_stars(),
            trained: trained[pixel].sqrt(),
            largest: maximum.s2.sqrt(),
            log_likelihood,
            bracket: (maximum.bracket.0.sqrt(), maximum.bracket.1.sqrt()),
            one_hill: maximum.one_hill,
            curve: curve(&profile, maximum.s2.sqrt(), log_likelihood),
        })
    };
    Ok(shown.into_iter().filter_map(of_pixel).collect())
}

/// ln L below its maximum, from where it has fallen far on one side to where it has on the other, or from nil.
fn curve(profile: &ScatterProfile, largest: f64, log_likelihood: f64) -> Vec<(f64, f64)> {
    let below = |s: f64| profile.log_likelihood(s * s).map_or(f64::NAN, |at| at - log_likelihood);
    let has_fallen = |s: f64| below(s) < -DEPTH;
    let fallen = |mut near: f64, mut far: f64| {
        for _ in 0..HALVINGS {
            let middle = 0.5 * (near + far);
            if has_fallen(middle) { far = middle } else { near = middle }
        }
        far
    };
    let start = if has_fallen(0.0) { fallen(largest, 0.0) } else { 0.0 };
    let beyond = (0..HALVINGS).map(|step| (largest + 1e-4) * 2.0_f64.powi(step as i32)).find(|s| has_fallen(*s));
    let end = beyond.map_or(2.0 * largest, |beyond| fallen(largest, beyond));
    let at = |point: usize| start + (end - start) * point as f64 / (POINTS - 1) as f64;
    (0..POINTS).map(|point| (at(point), below(at(point)))).collect()
}
