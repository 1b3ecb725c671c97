//! Single stars: from raw to normalized flux, two alike, and one beside its model.

use std::path::Path;

use ndarray::Array2;
use serde::Serialize;

use super::subject::{Subject, no_star};
use crate::data::linelist::atomic_lines;
use crate::data::spectrum_file::{self, Part};
use crate::device::to_f64;
use crate::error::Result;
use crate::findings::look_alikes;
use crate::inference::fitted::FittedCannon;
use crate::models::SpectralModel;
use crate::spectra::labels::LabelScaler;
use crate::spectra::line_offsets::{LineOffsets, air_offset, line_offsets};
use crate::spectra::prepared::PreparedSet;
use crate::stars::star::{StarSpectrum, examine};
use crate::stats::robust::{median, quantile};
use crate::training::checkpoint::TrainedCannon;

/// Isolated lines whose places are looked at, at most.
const MOST_LINES: usize = 40;
/// Speed of light (km/s).
const LIGHT_KMS: f64 = 299_792.458;

/// A star from its raw spectrum to the normalized one.
#[derive(Debug, Clone, Serialize)]
pub struct ShownStar {
    /// The star.
    pub id: String,
    /// The star that was asked for but is not here; none if this is it, or none was.
    pub asked_for: Option<String>,
    /// Its field.
    pub field: String,
    /// Signal-to-noise ratio per pixel.
    pub snr: f64,
    /// Exposures combined.
    pub n_visits: usize,
    /// Barycentric radial velocity that was taken out of its spectrum (km/s).
    pub velocity_kms: Option<f64>,
    /// Its visits one by one, where its file has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub visits: Vec<ShownVisit>,
    /// log10 of the first vacuum wavelength in Angstrom, and its step from pixel to pixel, as its file's header has them.
    pub log_wavelength: Option<(f64, f64)>,
    /// First and last vacuum wavelength in Angstrom.
    pub wavelengths: (f64, f64),
    /// What this velocity does to the middle of the spectrum (Angstrom).
    pub velocity_shift_angstrom: Option<f64>,
    /// The same in pixels.
    pub velocity_shift_pixels: Option<f64>,
    /// Width of a pixel as a velocity (km/s).
    pub pixel_kms: f64,
    /// Median raw flux of its good pixels [1e-17 erg/s/cm^2/Angstrom].
    pub flux_median: f64,
    /// Fraction of the pixels inside its chips that are masked.
    pub fraction_masked: f64,
    /// Pixels of all chips without information, gaps included.
    pub n_unusable: usize,
    /// Where its lines lie beside their vacuum wavelengths at rest.
    pub lines: Option<LineOffsets>,
    /// Where they would lie beside wavelengths in air, in pixels.
    pub air_offset_pixels: f64,
    /// Order of the polynomial through the continuum pixels of each chip.
    pub continuum_order: usize,
    /// Continuum pixels of the grid, and of those the ones with information in this star.
    pub n_continuum: usize,
    /// See `n_continuum`.
    pub n_continuum_good: usize,
    /// How far the star's continuum pixels scatter about one.
    pub continuum_scatter: f64,
    /// Median normalized flux of all good pixels.
    pub normalized_median: f64,
}

/// A visit of a star, in km/s.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ShownVisit {
    /// Modified Julian date of the night.
    pub mjd: Option<i64>,
    /// Velocity of the star as the telescope saw it.
    pub observed_kms: f64,
    /// What the telescope's own motion adds to it: barycentric minus observed.
    pub barycentric_correction_kms: f64,
    /// Velocity of the star beside the barycentre of the solar system, the same at every visit of a star without a companion.
    pub barycentric_kms: f64,
}

/// A star's normalized spectrum.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The star.
    pub id: String,
    /// Normalized flux, `[n_pixels]`.
    pub flux: Vec<f64>,
    /// Its standard deviation; infinite where masked.
    pub error: Vec<f64>,
    /// Pixels without information.
    pub masked: Vec<bool>,
}

/// Two stars alike in their labels.
#[derive(Debug, Clone, Serialize)]
pub struct LookAlikePair {
    /// The stars.
    pub ids: [String; 2],
    /// Their labels.
    pub labels: Vec<LookAlikeLabel>,
    /// Distance of the labels in standard deviations of all stars.
    pub label_distance: f64,
    /// Root mean square difference of normalized flux over the pixels good in both.
    pub flux_difference: f64,
    /// The difference that noise alone would make.
    pub noise: f64,
}

/// A label of two stars.
#[derive(Debug, Clone, Serialize)]
pub struct LookAlikeLabel {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: [f64; 2],
}

/// A star beside its model.
#[derive(Debug, Clone, Serialize)]
pub struct FittedStar {
    /// The star.
    pub id: String,
    /// The star that was asked for but is not here; none if this is it, or none was.
    pub asked_for: Option<String>,
    /// Whether it is one of the stars that the model learned from.
    pub is_training: bool,
    /// Signal-to-noise ratio per pixel.
    pub snr: f64,
    /// Estimated labels, their formal errors, and the catalogue's.
    pub labels: Vec<FittedLabel>,
    /// chi^2 per degree of freedom of the fit, scatter of the model included.
    pub chi2_reduced: f64,
    /// Root mean square of observed minus model in the window.
    pub residual_in_window: f64,
    /// What noise and the model's scatter make one expect there.
    pub expected_in_window: f64,
    /// The same of the model at the catalogue's labels; none where it has not all of them.
    pub residual_at_catalogue: Option<f64>,
    /// Share of the window's pixels within two standard deviations.
    pub within_2_sigma: f64,
    /// Usable pixels of the window.
    pub n_pixels_in_window: usize,
}

/// What the figure of that star is drawn from, `[n_pixels]` each; NaN where the model knows nothing.
#[derive(Debug, Clone)]
pub struct FittedSpectra {
    /// The model at the fitted labels.
    pub model: Vec<f64>,
    /// The model at the catalogue's, where it has them all.
    pub at_catalogue: Option<Vec<f64>>,
    /// The model's scatter s.
    pub scatter: Vec<f64>,
}

/// A label of the star that is shown beside its model.
#[derive(Debug, Clone, Serialize)]
pub struct FittedLabel {
    /// Its name.
    pub name: String,
    /// Estimate.
    pub estimate: f64,
    /// Its formal error.
    pub error: f64,
    /// The catalogue's value.
    pub catalogue: f64,
}

/// Shows the star that was asked for, or else the one of highest SNR without flags.
pub(super) fn shown(subject: &Subject) -> Result<(ShownStar, StarSpectrum)> {
    let (set, settings) = (subject.context.set, subject.settings);
    let asked = set.ids.iter().position(|id| *id == settings.star);
    let healthy = (0..set.n_stars()).filter(|star| set.flags(*star) == 0);
    let star = asked.or_else(|| healthy.max_by(|a, b| set.snr[*a].total_cmp(&set.snr[*b])));
    let star = star.ok_or_else(|| no_star("a star to show"))?;
    let spectrum = examine(subject.source, set, subject.stars, &set.ids[star])?;
    let raw = subject.source.raw(star)?;
    let quality = &set.quality[star];
    let observed = observed(set, star)?;
    let continuum: Vec<f64> =
        (0..set.n_pixels()).filter(|pixel| set.continuum_pixels[*pixel]).map(|pixel| spectrum.flux[pixel]).collect();
    let good: Vec<f64> = continuum.iter().copied().filter(|flux| flux.is_finite()).collect();
    let finite = |values: &[f64]| values.iter().copied().filter(|value| value.is_finite()).collect::<Vec<f64>>();
    let grid = &set.grid;
    let middle = quantile(&grid.wavelength, 0.5);
    let pixel_kms = LIGHT_KMS * (grid.wavelength[1] / grid.wavelength[0] - 1.0);
    let velocity_kms = raw.as_ref().map(|raw| raw.velocity_kms).filter(|velocity| velocity.is_finite());
    let ivar = set.spectra.star(star)?.1.mapv(f64::from).to_vec();
    let lines = atomic_lines()?;
    let shown = ShownStar {
        id: set.ids[star].clone(),
        asked_for: missing(&settings.star, asked.is_some()),
        field: subject.source.stars.field[star].clone(),
        snr: set.snr[star],
        n_visits: raw.as_ref().map_or(0, |raw| raw.n_visits),
        velocity_kms,
        visits: visits(subject.source.file(star)),
        log_wavelength: raw.as_ref().and_then(|raw| raw.log_wavelength),
        wavelengths: (grid.wavelength[0], grid.wavelength[grid.n_pixels() - 1]),
        velocity_shift_angstrom: velocity_kms.map(|velocity| middle * velocity / LIGHT_KMS),
        velocity_shift_pixels: velocity_kms.map(|velocity| velocity / pixel_kms),
        pixel_kms,
        flux_median: median(&finite(&spectrum.raw_flux)),
        fraction_masked: quality.fraction_masked(),
        n_unusable: observed.masked.iter().filter(|masked| **masked).count(),
        lines: line_offsets(&observed.flux, &ivar, &lines, grid, MOST_LINES),
        air_offset_pixels: air_offset(&lines, grid),
        continuum_order: subject.stars.continuum.order,
        n_continuum: continuum.len(),
        n_continuum_good: good.len(),
        continuum_scatter: quality.continuum_residual,
        normalized_median: median(&finite(&spectrum.flux)),
    };
    Ok((shown, spectrum))
}

/// A pair of stars near to each other in labels.
pub(super) fn look_alikes(subject: &Subject) -> Result<Option<(LookAlikePair, [Observed; 2])>> {
    let set = subject.context.set;
    let Some(pair) = look_alikes::typical(set)? else { return Ok(None) };
    let [a, b] = pair.stars;
    let label = |(k, name): (usize, &String)| LookAlikeLabel {
        name: name.clone(),
        values: [a, b].map(|star| set.labels[[star, k]]),
    };
    let found = LookAlikePair {
        ids: [a, b].map(|star| set.ids[star].clone()),
        labels: set.label_names.iter().enumerate().map(label).collect(),
        label_distance: pair.label_distance,
        flux_difference: pair.flux_difference,
        noise: pair.noise,
    };
    Ok(Some((found, [observed(set, a)?, observed(set, b)?])))
}

/// The star that was asked for, or else the test star without flags whose chi^2 is the median: typical, not flattering. `s` is the
/// model's scatter, `[n_pixels]`.
pub(super) fn fitted(subject: &Subject, s: &[f64]) -> Result<(FittedStar, Observed, FittedSpectra)> {
    let Subject { context, fold, result, settings, cannon, .. } = subject;
    let set = context.set;
    let asked = set.ids.iter().position(|id| *id == settings.fitted_star);
    let mut typical = labelled(subject);
    typical.sort_by(|a, b| result.estimates.chi2_reduced(*a).total_cmp(&result.estimates.chi2_reduced(*b)));
    let star = asked.or_else(|| typical.get(typical.len() / 2).map(|position| fold.test[*position]));
    let star = star.ok_or_else(|| no_star("a star beside its model"))?;
    let fitted = FittedCannon::new(cannon, &context.settings.fit, context.compute);
    let estimates = context.label("fitting one star", &[star], &fitted)?;
    let observed = observed(set, star)?;
    let labels: Vec<f64> = estimates.labels.row(0).to_vec();
    let model = flux_at(cannon, subject, &[labels])?.remove(0);
    let catalogue: Vec<f64> = set.labels.row(star).to_vec();
    let at_catalogue = match catalogue.iter().all(|label| label.is_finite()) {
        true => Some(flux_at(cannon, subject, &[catalogue])?.remove(0)),
        false => None,
    };
    let inside = |pixel: &usize| {
        let wavelength = set.grid.wavelength[*pixel];
        wavelength >= settings.window.0 && wavelength <= settings.window.1
    };
    let usable: Vec<usize> = (0..set.n_pixels())
        .filter(inside)
        .filter(|pixel| !observed.masked[*pixel] && model[*pixel].is_finite())
        .collect();
    let residual = |pixel: usize| observed.flux[pixel] - model[pixel];
    let variance = |pixel: usize| observed.error[pixel].powi(2) + s[pixel].powi(2);
    let mean = |of: &dyn Fn(usize) -> f64| usable.iter().map(|pixel| of(*pixel)).sum::<f64>() / usable.len() as f64;
    let label = |(k, name): (usize, &String)| FittedLabel {
        name: name.clone(),
        estimate: estimates.labels[[0, k]],
        error: estimates.error(0, k),
        catalogue: set.labels[[star, k]],
    };
    let found = FittedStar {
        id: set.ids[star].clone(),
        asked_for: missing(&settings.fitted_star, asked.is_some()),
        is_training: fold.training.contains(&star),
        snr: set.snr[star],
        labels: set.label_names.iter().enumerate().map(label).collect(),
        chi2_reduced: estimates.chi2_reduced(0),
        residual_in_window: mean(&|pixel| residual(pixel).powi(2)).sqrt(),
        residual_at_catalogue: at_catalogue
            .as_ref()
            .map(|flux| mean(&|pixel| (observed.flux[pixel] - flux[pixel]).powi(2)).sqrt()),
        expected_in_window: mean(&variance).sqrt(),
        within_2_sigma: mean(&|pixel| f64::from(residual(pixel).abs() <= 2.0 * variance(pixel).sqrt())),
        n_pixels_in_window: usable.len(),
    };
    Ok((found, observed, FittedSpectra { model, at_catalogue, scatter: s.to_vec() }))
}

/// The visits of a star whose spectrum lies in a file of its own; none of others.
fn visits(path: Option<&Path>) -> Vec<ShownVisit> {
    let names = ["vrad", "bc"].map(String::from);
    let shown = |path: &Path, part: &Part| -> Option<ShownVisit> {
        let (visit, values) = spectrum_file::read_with(path, part, &names).ok()?;
        let barycentric_kms = visit.velocity_kms;
        let [vrad, correction] = [0, 1].map(|index: usize| values[index].as_f64());
        // Whoever gives no correction gives the observed velocity, or both are one.
        let correction = if correction.is_finite() { correction } else { barycentric_kms - vrad };
        let observed_kms = barycentric_kms - correction;
        observed_kms.is_finite().then_some(ShownVisit {
            mjd: visit.mjd,
            observed_kms,
            barycentric_correction_kms: correction,
            barycentric_kms,
        })
    };
    let of = |path: &Path| {
        let parts = spectrum_file::visits(path).unwrap_or_default();
        parts.iter().filter_map(|part| shown(path, part)).collect()
    };
    path.map(of).unwrap_or_default()
}

/// Positions of the fold's test stars without flags; where all have some, of those with labels.
pub(super) fn labelled(subject: &Subject) -> Vec<usize> {
    let Subject { context, fold, result, .. } = subject;
    let estimates = &result.estimates;
    let flags = |position: usize| estimates.flags[position] | context.set.flags(fold.test[position]);
    let all = (0..fold.test.len()).filter(|position| estimates.labels.row(*position).iter().all(|l| l.is_finite()));
    let (healthy, others): (Vec<usize>, Vec<usize>) = all.partition(|position| flags(*position) == 0);
    if healthy.is_empty() { others } else { healthy }
}

/// The name of a star that was asked for and not found.
fn missing(asked_for: &str, is_found: bool) -> Option<String> {
    (!is_found && !asked_for.is_empty()).then(|| asked_for.to_string())
}

/// A star of a set as it was observed.
fn observed(set: &PreparedSet, star: usize) -> Result<Observed> {
    let (flux, ivar) = set.spectra.star(star)?;
    Ok(Observed {
        id: set.ids[star].clone(),
        flux: flux.mapv(f64::from).to_vec(),
        error: ivar.iter().map(|ivar| f64::from(*ivar).sqrt().recip()).collect(),
        masked: ivar.iter().map(|ivar| *ivar == 0.0).collect(),
    })
}

/// Model spectra at some labels, in their own units; NaN in pixels the model knows nothing about.
pub(super) fn flux_at(cannon: &TrainedCannon, subject: &Subject, labels: &[Vec<f64>]) -> Result<Vec<Vec<f64>>> {
    let scaled = scaled(&cannon.scaler, labels);
    let flux = cannon.cannon.predict_flux(subject.context.compute.matrix(scaled.view())).mean;
    let valid = cannon.cannon.valid_pixels();
    let known = |(flux, valid): (&f64, &bool)| if *valid { *flux } else { f64::NAN };
    let spectra = to_f64(flux);
    Ok(spectra.chunks(valid.len()).map(|row| row.iter().zip(&valid).map(known).collect()).collect())
}

/// Labels as a model sees them, [n_stars, n_labels].
pub(super) fn scaled(scaler: &LabelScaler, labels: &[Vec<f64>]) -> Array2<f64> {
    scaler.scale(Array2::from_shape_fn((labels.len(), scaler.n_labels()), |(n, k)| labels[n][k]).view())
}
