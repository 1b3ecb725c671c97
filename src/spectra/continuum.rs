//! The pseudo-continuum: per chip, an ivar-weighted Chebyshev polynomial through the continuum pixels.
//!
//! It is a *pseudo*-continuum: the same smooth function of every star's own flux, not the light the star would emit
//! without lines. What matters is that it does not depend on noise, brightness or instrument (Ness et al. 2015, sec. 2.3).

use std::ops::Range;

use nalgebra::{DMatrix, DVector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grid::WavelengthGrid;
use super::pixmask::MaskedSpectrum;
use super::quality::Quality;
use crate::error::{Error, Result};
use crate::stats::robust::{median_in_place, robust_scatter};

/// Highest degree allowed: more would follow the lines.
pub const MOST_ORDER: usize = 10;

/// `[continuum]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContinuumSettings {
    /// How spectra are normalized.
    pub method: ContinuumMethod,
    /// Degree of the polynomial on each chip.
    #[schemars(range(max = MOST_ORDER))]
    pub order: usize,
    /// `"shipped"`, `"find"` (from the training stars), or a file: .npz (`wavelengths` and booleans), .npy, .csv.
    pub pixels: String,
    /// Continuum pixels further than this many robust standard deviations from the fit are left out of the next round.
    #[schemars(extend("exclusiveMinimum" = 0.0))]
    pub clip_sigma: f64,
    /// Rounds of fitting and clipping.
    pub rounds: usize,
    /// A chip with fewer good continuum pixels is lost.
    pub min_pixels: usize,
    /// Normalized flux above this, and five standard deviations above 1, is emission and masked.
    #[schemars(extend("exclusiveMinimum" = 1.0))]
    pub emission_limit: f64,
    /// Criterion of `pixels = "find"`.
    pub find: FindSettings,
}

impl ContinuumSettings {
    /// Whether continuum pixels are found from the training stars.
    pub fn finds_pixels(&self) -> bool {
        self.method == ContinuumMethod::Chebyshev && self.pixels == "find"
    }

    /// Whether spectra of this grid that were treated so are apStar spectra that maury normalized: models of those label files.
    pub fn is_of_apstar(&self, grid: &WavelengthGrid) -> bool {
        self.method != ContinuumMethod::None && grid.is_apogee()
    }
}

/// How spectra are normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ContinuumMethod {
    /// Chebyshev polynomial per chip through continuum pixels.
    Chebyshev,
    /// The fluxes are normalized already.
    None,
}

/// Limits that make a pixel a continuum pixel (Ness et al. 2015, sec. 2.3): flux near 1 at the pivot, hardly any
/// dependence on any label, little scatter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FindSettings {
    /// Largest |flux - 1| of the pivot star.
    #[schemars(range(min = 0.0))]
    pub flux: f64,
    /// Largest slope with Teff, per K.
    #[schemars(range(min = 0.0))]
    pub teff: f64,
    /// Largest slope with log g, per dex.
    #[schemars(range(min = 0.0))]
    pub logg: f64,
    /// Largest slope with an abundance over hydrogen, per dex.
    #[schemars(range(min = 0.0))]
    pub x_h: f64,
    /// Largest slope with any other label, per its unit.
    #[schemars(range(min = 0.0))]
    pub other: f64,
    /// Largest intrinsic scatter s.
    #[schemars(range(min = 0.0))]
    pub scatter: f64,
    /// Rounds of normalizing, training and choosing.
    pub rounds: usize,
}

impl Default for FindSettings {
    fn default() -> Self {
        Self { flux: 0.015, teff: 1e-5, logg: 0.006, x_h: 0.012, other: 0.03, scatter: 0.015, rounds: 2 }
    }
}

impl Default for ContinuumSettings {
    fn default() -> Self {
        Self {
            method: ContinuumMethod::Chebyshev,
            order: 2,
            pixels: "shipped".into(),
            clip_sigma: 5.0,
            rounds: 3,
            min_pixels: 20,
            emission_limit: 1.3,
            find: FindSettings::default(),
        }
    }
}

/// A spectrum divided by its continuum, in the precision it is kept in.
#[derive(Debug, Clone, PartialEq)]
pub struct NormalizedSpectrum {
    /// Normalized flux; 1 where masked.
    pub flux: Vec<f32>,
    /// Inverse variance of the normalized flux; 0 = no information.
    pub ivar: Vec<f32>,
}

/// Fits and divides continua on one grid with one list of continuum pixels.
#[derive(Debug, Clone)]
pub struct ContinuumFitter {
    settings: ContinuumSettings,
    chips: Vec<ChipBasis>,
}

#[derive(Debug, Clone)]
struct ChipBasis {
    pixels: Range<usize>,
    continuum_pixels: Vec<usize>,
    /// Chebyshev polynomials at every pixel of the chip, [n_pixels of the chip, order + 1].
    basis: DMatrix<f64>,
}

impl ContinuumFitter {
    /// Prepares the polynomials of each chip.
    ///
    /// # Errors
    /// [`Error::Continuum`] if the list does not fit the grid or leaves no chip with enough pixels.
    pub fn new(grid: &WavelengthGrid, is_continuum: &[bool], settings: &ContinuumSettings) -> Result<Self> {
        if is_continuum.len() != grid.n_pixels() {
            let (list, spectra) = (is_continuum.len(), grid.n_pixels());
            return Err(Error::Continuum(format!("the list is for {list} pixels, the spectra have {spectra}")));
        }
        let chips: Vec<ChipBasis> = grid
            .chips
            .iter()
            .map(|pixels| ChipBasis {
                pixels: pixels.clone(),
                continuum_pixels: pixels.clone().filter(|pixel| is_continuum[*pixel]).collect(),
                basis: chebyshev_basis(pixels.len(), settings.order),
            })
            .collect();
        if chips.iter().all(|chip| chip.continuum_pixels.len() < settings.min_pixels) {
            let counts: Vec<usize> = chips.iter().map(|chip| chip.continuum_pixels.len()).collect();
            return Err(Error::Continuum(format!(
                "no chip has continuum.min_pixels = {} continuum pixels (they have {counts:?}); use another list or loosen continuum.find",
                settings.min_pixels
            )));
        }
        Ok(Self { settings: settings.clone(), chips })
    }

    /// Continuum of a spectrum at every pixel; `None` on chips where it cannot be found.
    ///
    /// Records the chips lost, the residual of the continuum pixels and the extrapolated pixels in `quality`.
    pub fn fit(&self, spectrum: &MaskedSpectrum, quality: &mut Quality) -> Vec<Option<Vec<f64>>> {
        let mut residuals = Vec::new();
        quality.n_extrapolated = 0;
        let continua: Vec<Option<Vec<f64>>> = self
            .chips
            .iter()
            .map(|chip| {
                let (coefficients, used) = self.fit_chip(chip, spectrum)?;
                let continuum: Vec<f64> = (&chip.basis * coefficients).iter().copied().collect();
                let (first, last) = (*used.first()?, *used.last()?);
                let good = chip.pixels.clone().filter(|pixel| spectrum.ivar[*pixel] > 0.0);
                let (inside, outside): (Vec<usize>, Vec<usize>) =
                    good.partition(|pixel| (first..=last).contains(pixel));
                // A polynomial that is not positive where there is data is no continuum.
                if inside.iter().chain(&outside).any(|pixel| continuum[pixel - chip.pixels.start] <= 0.0) {
                    return None;
                }
                quality.n_extrapolated += outside.len();
                residuals.extend(used.iter().map(|p| spectrum.flux[*p] / continuum[p - chip.pixels.start] - 1.0));
                Some(continuum)
            })
            .collect();
        // A chip of which the settings leave too few continuum pixels is no star's loss.
        let is_fitted = |chip: &ChipBasis| chip.continuum_pixels.len() >= self.settings.min_pixels;
        let is_lost = |(chip, continuum): &(&ChipBasis, &Option<Vec<f64>>)| is_fitted(chip) && continuum.is_none();
        quality.chips_lost = self.chips.iter().zip(&continua).filter(is_lost).count();
        quality.continuum_residual = robust_scatter(&residuals);
        continua
    }

    /// Pixels of the chips, which cover the grid.
    pub fn chips(&self) -> impl Iterator<Item = Range<usize>> {
        self.chips.iter().map(|chip| chip.pixels.clone())
    }

    /// Divides a spectrum by its continuum; masks lost chips and emission, and counts both in `quality`.
    pub fn normalize(&self, spectrum: &MaskedSpectrum, quality: &mut Quality) -> NormalizedSpectrum {
        let n_pixels = spectrum.flux.len();
        let mut normalized = NormalizedSpectrum { flux: vec![1.0; n_pixels], ivar: vec![0.0; n_pixels] };
        for (chip, continuum) in self.chips.iter().zip(self.fit(spectrum, quality)) {
            let Some(continuum) = continuum else { continue };
            for (pixel, level) in chip.pixels.clone().zip(continuum) {
                let ivar = spectrum.ivar[pixel] * level * level;
                // Below 1e-30 a number is as good as no information, and f32 could not hold it.
                if ivar <= 1e-30 {
                    continue;
                }
                let flux = spectrum.flux[pixel] / level;
                if flux > self.settings.emission_limit && flux - 1.0 > 5.0 / ivar.sqrt() {
                    quality.n_emission += 1;
                    continue;
                }
                normalized.flux[pixel] = flux as f32;
                normalized.ivar[pixel] = ivar as f32;
            }
        }
        quality.n_good = normalized.ivar.iter().filter(|ivar| **ivar > 0.0).count();
        normalized
    }

    /// Weighted least squares with clipping; the coefficients and the pixels they rest on.
    fn fit_chip(&self, chip: &ChipBasis, spectrum: &MaskedSpectrum) -> Option<(DVector<f64>, Vec<usize>)> {
        let good = |pixel: &usize| spectrum.ivar[*pixel] > 0.0;
        let mut used: Vec<usize> = chip.continuum_pixels.iter().copied().filter(good).collect();
        let mut coefficients = None;
        for round in 0..self.settings.rounds.max(1) {
            if used.len() < self.settings.min_pixels.max(self.settings.order + 1) {
                return None;
            }
            let fitted = weighted_least_squares(chip, spectrum, &used)?;
            let level = |pixel: usize| chip.basis.row(pixel - chip.pixels.start).transpose().dot(&fitted);
            let residual = |pixel: usize| spectrum.flux[pixel] - level(pixel);
            let mut work: Vec<f64> = used.iter().map(|pixel| residual(*pixel).abs()).collect();
            // Rounding about a perfect fit is no outlier: residuals below 1e-6 of the flux always stay.
            let brightest = used.iter().map(|pixel| spectrum.flux[*pixel].abs()).fold(0.0, f64::max);
            let limit = self.settings.clip_sigma * 1.4826 * median_in_place(&mut work) + 1e-6 * brightest;
            let kept: Vec<usize> = used.iter().copied().filter(|pixel| residual(*pixel).abs() <= limit).collect();
            coefficients = Some(fitted);
            if kept.len() == used.len() || round + 1 == self.settings.rounds.max(1) {
                break;
            }
            used = kept;
        }
        coefficients.map(|coefficients| (coefficients, used))
    }
}

fn weighted_least_squares(chip: &ChipBasis, spectrum: &MaskedSpectrum, used: &[usize]) -> Option<DVector<f64>> {
    let n_terms = chip.basis.ncols();
    // Fluxes and weights relative to a typical pixel keep the normal matrix near 1 whatever the star's brightness.
    let mut work: Vec<f64> = used.iter().map(|pixel| spectrum.ivar[*pixel]).collect();
    let typical = median_in_place(&mut work);
    let mut normal = DMatrix::zeros(n_terms, n_terms);
    let mut right = DVector::zeros(n_terms);
    for &pixel in used {
        let row = chip.basis.row(pixel - chip.pixels.start).transpose();
        let weight = spectrum.ivar[pixel] / typical;
        normal.ger(weight, &row, &row, 1.0);
        right.axpy(weight * spectrum.flux[pixel], &row, 1.0);
    }
    let solution = normal.cholesky()?.solve(&right);
    solution.iter().all(|value| value.is_finite()).then_some(solution)
}

/// Chebyshev polynomials T_0..T_order on `n` equally spaced points of [-1, 1], [n, order + 1].
pub fn chebyshev_basis(n: usize, order: usize) -> DMatrix<f64> {
    let scale = 2.0 / (n.max(2) - 1) as f64;
    let mut basis = DMatrix::from_element(n, order + 1, 1.0);
    for row in 0..n {
        let x = row as f64 * scale - 1.0;
        for k in 1..=order {
            basis[(row, k)] = if k == 1 { x } else { 2.0 * x * basis[(row, k - 1)] - basis[(row, k - 2)] };
        }
    }
    basis
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fitter(n: usize) -> ContinuumFitter {
        let grid = WavelengthGrid::from_pixel_numbers(n);
        let is_continuum: Vec<bool> = (0..n).map(|pixel| pixel % 3 == 0).collect();
        ContinuumFitter::new(&grid, &is_continuum, &ContinuumSettings::default()).unwrap()
    }

    /// Lines everywhere but in the continuum pixels, on a curved continuum.
    fn star(n: usize, brightness: f64) -> MaskedSpectrum {
        let level = |pixel: usize| {
            brightness * (1.0 + 0.3 * (pixel as f64 / n as f64) - 0.2 * (pixel as f64 / n as f64).powi(2))
        };
        let depth = |pixel: usize| if pixel.is_multiple_of(3) { 1.0 } else { 0.7 };
        let flux: Vec<f64> = (0..n).map(|pixel| level(pixel) * depth(pixel)).collect();
        let ivar = flux.iter().map(|f| 1e4 / (f * f)).collect();
        MaskedSpectrum { flux, ivar }
    }

    #[test]
    fn a_quadratic_continuum_is_recovered_exactly() {
        let normalized = fitter(300).normalize(&star(300, 50.0), &mut Quality::default());
        for (pixel, flux) in normalized.flux.iter().enumerate() {
            let truth = if pixel.is_multiple_of(3) { 1.0 } else { 0.7 };
            assert!((flux - truth).abs() < 1e-6, "pixel {pixel}: {flux}"); // f32 storage
        }
    }

    #[test]
    fn emission_spikes_are_masked_and_do_not_bend_the_continuum() {
        let mut spectrum = star(300, 1.0);
        spectrum.flux[150] *= 1.6; // a continuum pixel
        spectrum.flux[151] *= 2.5;
        let mut quality = Quality::default();
        let normalized = fitter(300).normalize(&spectrum, &mut quality);
        assert_eq!(quality.n_emission, 2);
        assert_eq!((normalized.ivar[150], normalized.ivar[151]), (0.0, 0.0));
        assert!((normalized.flux[153] - 1.0).abs() < 1e-5);
    }

    #[test]
    fn a_chip_without_continuum_pixels_is_lost_and_counted() {
        let mut spectrum = star(300, 1.0);
        spectrum.ivar.iter_mut().step_by(3).for_each(|ivar| *ivar = 0.0);
        let mut quality = Quality { n_inside: 300, ..Quality::default() };
        let normalized = fitter(300).normalize(&spectrum, &mut quality);
        assert!(normalized.ivar.iter().all(|ivar| *ivar == 0.0));
        assert_eq!((quality.chips_lost, quality.n_good), (1, 0));
        assert!(quality.continuum_residual.is_nan());
        // A chip of which the settings leave no continuum pixel is lost by no star.
        let mut grid = WavelengthGrid::from_pixel_numbers(600);
        grid.chips = vec![0..300, 300..600];
        let is_continuum: Vec<bool> = (0..600).map(|pixel| pixel < 300 && pixel % 3 == 0).collect();
        let fitter = ContinuumFitter::new(&grid, &is_continuum, &ContinuumSettings::default()).unwrap();
        let mut quality = Quality::default();
        fitter.normalize(&star(600, 1.0), &mut quality);
        assert_eq!((quality.chips_lost, quality.n_good), (0, 300));
    }

    #[test]
    fn only_apstar_spectra_that_were_normalized_are_of_apstar() {
        let normalized = ContinuumSettings::default();
        let as_they_came = ContinuumSettings { method: ContinuumMethod::None, ..normalized.clone() };
        let (apogee, other) = (WavelengthGrid::apogee(), WavelengthGrid::from_pixel_numbers(8575));
        assert!(normalized.is_of_apstar(&apogee) && !normalized.is_of_apstar(&other));
        assert!(!as_they_came.is_of_apstar(&apogee));
    }

    #[test]
    fn a_list_for_another_grid_is_refused() {
        let grid = WavelengthGrid::from_pixel_numbers(10);
        let message = ContinuumFitter::new(&grid, &[true; 9], &ContinuumSettings::default()).unwrap_err().to_string();
        assert!(message.contains("the list is for 9 pixels, the spectra have 10"), "{message}");
    }

    proptest! {
        #[test]
        fn brightness_does_not_change_the_normalized_spectrum(log_brightness in -15.0..15.0_f64) {
            let fitter = fitter(120);
            let (one, other) = (star(120, 1.0), star(120, 10_f64.powf(log_brightness)));
            let one = fitter.normalize(&one, &mut Quality::default());
            let other = fitter.normalize(&other, &mut Quality::default());
            for (a, b) in one.flux.iter().zip(&other.flux) {
                prop_assert!((a - b).abs() < 2e-6); // two roundings to f32
            }
            for (a, b) in one.ivar.iter().zip(&other.ivar) {
                prop_assert!((a / b - 1.0).abs() < 1e-5);
            }
        }

        #[test]
        fn masked_pixels_have_no_influence_whatever_their_flux(flux in -1e6..1e6_f64, pixel in 0_usize..120) {
            let fitter = fitter(120);
            let mut one = star(120, 1.0);
            one.ivar[pixel] = 0.0;
            let mut other = one.clone();
            other.flux[pixel] = flux;
            prop_assert_eq!(
                fitter.normalize(&one, &mut Quality::default()),
                fitter.normalize(&other, &mut Quality::default())
            );
        }
    }
}
