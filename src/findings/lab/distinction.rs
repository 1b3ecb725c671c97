//! Cool with little gravity, or warmer with more metals? Two giants that look alike, and what tells them apart.

use serde::Serialize;

use super::kiel::isochrone_at;
use super::molecules::{Molecules, NamedFeature, named};
use super::stars::flux_at;
use super::subject::Subject;
use crate::error::Result;
use crate::findings::lab::gradients::SEPARATION_PIXELS;
use crate::spectra::features::{self, KnownLine};
use crate::stats::robust::median;

/// [Fe/H] of the isochrone (dex), and log g of the cool giant and of the warm one on it (dex).
const ISOCHRONE: f64 = 0.0;
const GRAVITIES: [f64; 2] = [1.5, 2.5];
/// [Fe/H] that the warm giant may have: from, to, and in how many steps (dex).
const METALLICITIES: (f64, f64, usize) = (-0.5, 0.5, 100);
/// Features that are named.
const MOST_LISTED: usize = 6;

/// A cool giant of low gravity beside a warmer one, with as many metals as make the two most alike.
#[derive(Debug, Clone, Serialize)]
pub struct Distinction {
    /// [Fe/H] of the isochrone that both lie on (dex).
    pub isochrone_fe_h: f64,
    /// Teff (K) and log g (dex) of the cool giant.
    pub cool: (f64, f64),
    /// The same of the warm one.
    pub warm: (f64, f64),
    /// [Fe/H] of the warm one that brings its spectrum nearest to the cool one's (dex).
    pub fe_h: f64,
    /// Whether nothing nearer was tried beyond: the range of [Fe/H] ends there.
    pub is_at_end: bool,
    /// Root mean square difference of the two spectra where both have the isochrone's [Fe/H].
    pub flux_difference: f64,
    /// The same where the warm one has [`Distinction::fe_h`].
    pub flux_left: f64,
    /// Pixels compared.
    pub n_pixels: usize,
    /// Median signal-to-noise ratio per pixel of the test stars.
    pub snr: f64,
    /// Square root of the chi^2 between the two spectra at that ratio: by how many standard deviations a star's noise tells them apart.
    pub sigmas: f64,
    /// Where they differ most: flux of the warm one minus that of the cool one.
    pub features: Vec<NamedFeature>,
}

/// Compares the two in pixels that training stars have; none without an isochrone that reaches them.
pub(super) fn find(subject: &Subject, well_measured: &[bool]) -> Result<Option<Distinction>> {
    let Subject { cannon, fold, context, settings, .. } = subject;
    let (scaler, set) = (&cannon.scaler, context.set);
    let position = |name: &str| scaler.names.iter().position(|known| known == name).unwrap_or(0);
    let isochrone = isochrone_at(settings, ISOCHRONE)?;
    let on_branch = |logg: f64| Some((isochrone.as_ref()?.teff_at_logg(logg)?, logg));
    let [Some(cool), Some(warm)] = GRAVITIES.map(on_branch) else { return Ok(None) };
    let labels = |(teff, logg): (f64, f64), fe_h: f64| {
        let mut labels = scaler.pivot.clone();
        for (name, value) in [("teff", teff), ("logg", logg), ("fe_h", fe_h)] {
            labels[position(name)] = value;
        }
        labels
    };
    let (low, high, steps) = METALLICITIES;
    let tried: Vec<f64> = (0..=steps).map(|step| low + (high - low) * step as f64 / steps as f64).collect();
    let mut spectra = vec![labels(cool, ISOCHRONE), labels(warm, ISOCHRONE)];
    spectra.extend(tried.iter().map(|fe_h| labels(warm, *fe_h)));
    let flux = flux_at(cannon, subject, &spectra)?;
    let pixels: Vec<usize> = (0..set.n_pixels()).filter(|pixel| well_measured[*pixel]).collect();
    let squares = |other: &[f64]| pixels.iter().map(|pixel| (other[*pixel] - flux[0][*pixel]).powi(2)).sum::<f64>();
    let n_pixels = pixels.len();
    let rms = |squares: f64| (squares / n_pixels as f64).sqrt();
    let nearest = (0..tried.len()).min_by(|a, b| squares(&flux[a + 2]).total_cmp(&squares(&flux[b + 2])));
    let Some(nearest) = nearest.filter(|_| n_pixels > 0) else { return Ok(None) };
    let left: Vec<f64> = flux[nearest + 2].iter().zip(&flux[0]).map(|(warm, cool)| warm - cool).collect();
    let found = features::strongest_features(&left, well_measured, &set.grid, MOST_LISTED, SEPARATION_PIXELS);
    let matched = features::matches(&found, &KnownLine::all()?, &set.grid, settings.line_tolerance_pixels);
    let snr = median(&fold.test.iter().map(|star| set.snr[*star]).collect::<Vec<f64>>());
    let difference = squares(&flux[nearest + 2]);
    Ok(Some(Distinction {
        isochrone_fe_h: ISOCHRONE,
        cool,
        warm,
        fe_h: tried[nearest],
        is_at_end: nearest == 0 || nearest + 1 == tried.len(),
        flux_difference: rms(squares(&flux[1])),
        flux_left: rms(difference),
        n_pixels,
        snr,
        sigmas: snr * difference.sqrt(),
        features: named(matched, Molecules::of_grid(&set.grid)?.as_ref()),
    }))
}
