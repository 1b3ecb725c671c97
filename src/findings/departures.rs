//! How far a survey's stars took an anchored Cannon from physics, label by label, and at which lines most.

use serde::Serialize;

use crate::data::linelist::{atomic_lines, co_band_heads};
use crate::error::Result;
use crate::findings::lab::gradients::SEPARATION_PIXELS;
use crate::spectra::features::{KnownLine, NearestLine, matches, strongest_features};
use crate::spectra::grid::WavelengthGrid;
use crate::training::departures::{Departure, PerStep};

/// Features that are listed of each.
const N_FEATURES: usize = 10;
/// How near to a line a feature must be to be that line, in pixels.
const TOLERANCE_PIXELS: f64 = 2.0;

/// How far the spectrum, or the gradient spectrum of a label, is from that of physics.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DepartureMetrics {
    /// The label; none of the spectrum itself.
    pub label: Option<String>,
    /// The label's step that changes of flux are given for, in its unit; 1 of the spectrum itself.
    pub step: f64,
    /// Root mean square of what physics says: of the depth below the continuum, or of the change of flux for the step.
    pub physics_rms: f64,
    /// Root mean square of what stars changed.
    pub change_rms: f64,
    /// Correlation of the two over the pixels: above 0 where the survey's lines answer more than those of physics, below where less.
    pub correlation: f64,
    /// Where stars changed it most, the strongest first.
    pub features: Vec<ChangedLine>,
}

/// A place where stars changed what physics says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedLine {
    /// Vacuum wavelength in Angstrom.
    pub wavelength: f64,
    /// What physics says: flux, or its change for the step.
    pub physics: f64,
    /// What stars changed of it.
    pub change: f64,
    /// The known line it lies on, if it does.
    pub nearest: Option<NearestLine>,
}

/// What is to be told of departures on the grid of the emulator.
///
/// # Errors
/// [`crate::error::Error::Config`] if the list of lines was built in damaged.
pub fn measure(departures: &[Departure], grid: &WavelengthGrid) -> Result<Vec<DepartureMetrics>> {
    let mut lines: Vec<KnownLine> = atomic_lines()?.iter().map(KnownLine::from).collect();
    lines.extend(co_band_heads().iter().map(KnownLine::from));
    let of = |departure: &Departure| {
        let PerStep { step, physics, change, correlation } = departure.per_step();
        let is_known: Vec<bool> = change.iter().map(|change| change.is_finite()).collect();
        let found = strongest_features(&change, &is_known, grid, N_FEATURES, SEPARATION_PIXELS);
        let found = matches(&found, &lines, grid, TOLERANCE_PIXELS).into_iter().map(|found| ChangedLine {
            wavelength: found.feature.wavelength,
            physics: step * departure.physics[found.feature.pixel.round() as usize],
            change: found.feature.value,
            nearest: found.nearest,
        });
        DepartureMetrics {
            label: departure.label.clone(),
            step,
            physics_rms: root_mean_square(&physics),
            change_rms: root_mean_square(&change),
            correlation,
            features: found.collect(),
        }
    };
    Ok(departures.iter().map(of).collect())
}

/// Of the numbers among some values.
fn root_mean_square(values: &[f64]) -> f64 {
    let squares: Vec<f64> = values.iter().filter(|value| value.is_finite()).map(|value| value * value).collect();
    (squares.iter().sum::<f64>() / squares.len().max(1) as f64).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_the_survey_has_stronger_is_found_and_named() {
        let grid = WavelengthGrid::apogee();
        let line = grid.wavelength.iter().position(|wavelength| *wavelength > 15_745.0).unwrap();
        let profile = |pixel: usize| (-0.5 * ((pixel as f64 - line as f64) / 2.0).powi(2)).exp();
        let n_pixels = grid.n_pixels();
        let elsewhere = |pixel: usize| if pixel.is_multiple_of(50) { -2e-5 } else { 0.0 };
        let physics: Vec<f64> = (0..n_pixels).map(|pixel| -1e-3 * profile(pixel) + elsewhere(pixel)).collect();
        let mut survey: Vec<f64> = (0..n_pixels).map(|pixel| physics[pixel] - 5e-4 * profile(pixel)).collect();
        survey[200] = f64::NAN;
        let departure = Departure { label: Some("teff".into()), physics, survey };
        let found = measure(&[departure], &grid).unwrap().remove(0);
        let strongest = &found.features[0];
        assert!((strongest.physics + 0.1).abs() < 1e-12 && (strongest.change + 0.05).abs() < 1e-12, "{strongest:?}");
        assert_eq!(strongest.nearest.as_ref().unwrap().line.name, "Mg I");
        assert!(found.step == 100.0 && found.correlation > 0.8 && found.change_rms < found.physics_rms);
        let nothing = Departure { label: None, physics: vec![0.9; n_pixels], survey: vec![0.9; n_pixels] };
        let nothing = measure(&[nothing], &grid).unwrap().remove(0);
        assert!(nothing.features.is_empty() && nothing.change_rms == 0.0 && (nothing.physics_rms - 0.1).abs() < 1e-12);
    }
}
