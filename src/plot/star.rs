//! One star's normalized flux with models of it, and what they leave in units of the flux's error, chip by chip.

use std::ops::Range;

use super::Figure;
use super::line_names::MarkedLine;
use super::spectrum::{Differences, NamedSpectrum, SpectrumData, check_lengths, spectrum};
use crate::error::Result;

/// A star and models of it.
#[derive(Debug, Clone, Copy)]
pub struct StarAndModel<'a> {
    /// Lines of text above the panels: the first as a title, the others below it.
    pub title_lines: &'a [String],
    /// Vacuum wavelengths in Angstrom, ascending, `[n_pixels]`.
    pub wavelength: &'a [f64],
    /// Pixels of each chip.
    pub chips: &'a [Range<usize>],
    /// Normalized flux, `[n_pixels]`.
    pub flux: &'a [f64],
    /// Its standard deviation, `[n_pixels]`: the unit of the residuals.
    pub error: &'a [f64],
    /// Pixels that no fit has seen, `[n_pixels]`.
    pub masked: &'a [bool],
    /// Vacuum wavelength ranges in Angstrom drawn instead of the chips; empty for the chips.
    pub windows: &'a [(f64, f64)],
    /// Spectral lines; the strongest that have room are named.
    pub lines: &'a [MarkedLine],
    /// Models of the star, the first one foremost.
    pub models: &'a [NamedSpectrum<'a>],
}

/// Smallest range of the residuals on either side of zero.
const LEAST_RESIDUAL: f64 = 4.0;

/// Draws the figure.
///
/// # Errors
/// [`Error::Figure`](crate::error::Error::Figure) without chips, or if a spectrum has not one value per wavelength.
pub fn star_and_model(star: &StarAndModel) -> Result<Figure> {
    let name = star.title_lines.first().map_or("star", String::as_str);
    let lengths = [star.flux.len(), star.error.len(), star.masked.len()];
    let of_models = star.models.iter().map(|model| model.flux.len());
    check_lengths(name, star.wavelength.len(), lengths.into_iter().chain(of_models))?;
    let flux = NamedSpectrum { name: "flux", flux: star.flux };
    let spectra: Vec<NamedSpectrum> = std::iter::once(flux).chain(star.models.iter().copied()).collect();
    let residuals: Vec<Vec<f64>> = star.models.iter().map(|model| residuals(star, model)).collect();
    spectrum(&SpectrumData {
        title_lines: star.title_lines,
        wavelength: star.wavelength,
        chips: star.chips,
        windows: star.windows,
        y_title: "normalized flux",
        spectra: &spectra,
        error: None,
        masked: star.masked,
        differences: Some(Differences {
            title: "\u{394} / error",
            values: &residuals,
            expected: None,
            least_range: LEAST_RESIDUAL,
        }),
        lines: star.lines,
        remark: "\u{394}: flux \u{2212} model",
    })
}

/// (flux - model) / error; NaN where that is not known, and on masked pixels.
fn residuals(star: &StarAndModel, model: &NamedSpectrum) -> Vec<f64> {
    let of = |pixel: usize| {
        let is_usable = !star.masked[pixel] && star.error[pixel] > 0.0 && star.error[pixel].is_finite();
        if is_usable { (star.flux[pixel] - model.flux[pixel]) / star.error[pixel] } else { f64::NAN }
    };
    (0..star.flux.len()).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const N: usize = 90;

    fn wavelengths() -> Vec<f64> {
        (0..N).map(|pixel| 15_200.0 + 0.2 * pixel as f64).collect()
    }

    fn flux() -> Vec<f64> {
        (0..N).map(|pixel| 1.0 - 0.3 * (pixel as f64 * 0.4).sin().powi(8)).collect()
    }

    #[test]
    fn residuals_are_in_units_of_the_error_and_masked_pixels_have_none() {
        let (wavelength, flux) = ([1.0, 2.0, 3.0, 4.0], [1.0, 0.9, 0.8, 0.7]);
        let model = NamedSpectrum { name: "fit", flux: &[0.9; 4] };
        let (error, masked) = ([0.1, 0.1, 0.0, 0.1], [false, false, false, true]);
        let chips = std::iter::once(0..4).collect::<Vec<_>>();
        let star = StarAndModel {
            title_lines: &[],
            wavelength: &wavelength,
            chips: &chips,
            flux: &flux,
            error: &error,
            masked: &masked,
            windows: &[],
            lines: &[],
            models: &[model],
        };
        let residuals = residuals(&star, &model);
        assert!((residuals[0] - 1.0).abs() < 1e-9 && residuals[1].abs() < 1e-9);
        assert!(residuals[2].is_nan() && residuals[3].is_nan());
    }

    #[test]
    fn every_chip_has_its_panels_and_masks_are_grey() {
        let (wavelength, flux, error) = (wavelengths(), flux(), vec![0.01; N]);
        let masked: Vec<bool> = (0..N).map(|pixel| pixel < 5 || (20..23).contains(&pixel) || pixel == 40).collect();
        let chips = [0..30, 30..60, 60..90];
        let models =
            [NamedSpectrum { name: "best fit", flux: &flux }, NamedSpectrum { name: "catalogue", flux: &error }];
        let titles = ["2M0000 & more", "chi^2 12 per pixel"].map(String::from);
        let star = StarAndModel {
            title_lines: &titles,
            wavelength: &wavelength,
            chips: &chips,
            flux: &flux,
            error: &error,
            masked: &masked,
            windows: &[],
            lines: &[],
            models: &models,
        };
        let svg = star_and_model(&star).expect("draws").svg;
        for words in ["2M0000 &amp; more", "chi^2 12", "best fit", "catalogue", "masked"] {
            assert!(svg.contains(words), "{words}");
        }
        assert_eq!(svg.matches(">\nnormalized flux\n<").count(), 3);
        // The page, the legend, two masks inside the chips in two frames each; the pixels at the start are no part of a frame.
        assert_eq!(svg.matches("<polygon").count(), 2 + 2 * 2);
    }

    #[test]
    fn a_star_without_pixels_models_or_errors_is_drawn_and_uneven_ones_are_refused() {
        let (wavelength, flux, nothing) = (wavelengths(), flux(), vec![f64::NAN; N]);
        let (free, chips) = (vec![false; N], [0..45, 45..N]);
        let star = StarAndModel {
            title_lines: &[],
            wavelength: &wavelength,
            chips: &chips,
            flux: &nothing,
            error: &nothing,
            masked: &free,
            windows: &[],
            lines: &[],
            models: &[],
        };
        assert!(star_and_model(&star).expect("draws").svg.contains("no usable pixel"));
        let all = vec![true; N];
        let masked = StarAndModel { flux: &flux, masked: &all, ..star };
        assert!(star_and_model(&masked).expect("draws").svg.contains("no usable pixel"));
        let equal = vec![1.0; N];
        let bare = StarAndModel { flux: &equal, models: &[NamedSpectrum { name: "none", flux: &nothing }], ..star };
        assert!(!star_and_model(&bare).expect("draws").svg.contains("NaN"));
        assert!(star_and_model(&StarAndModel { flux: &flux[1..], ..star }).is_err());
        assert!(star_and_model(&StarAndModel { chips: &[], ..star }).is_err());
    }
}
