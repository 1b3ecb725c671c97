//! Which pixels carry information: mask bits, NaN, absurd errors and chip gaps become `ivar = 0`, once, here.

use serde::{Deserialize, Serialize};

use super::quality::{N_MASK_BITS, Quality};
use crate::data::selection::bit_mask;
use crate::stats::robust::median;

/// `[pixmask]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PixmaskSettings {
    /// APOGEE_PIXMASK bits that make a pixel useless.
    pub bits: Vec<u8>,
    /// Errors (and fluxes) above this multiple of the spectrum's median flux are marks, not measurements.
    pub max_relative_error: f64,
}

impl Default for PixmaskSettings {
    fn default() -> Self {
        Self { bits: vec![0, 1, 2, 3, 4, 5, 6, 7, 12], max_relative_error: 1e3 }
    }
}

/// Raw flux with its inverse variance: every pixel finite, useless ones with `ivar = 0`.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedSpectrum {
    /// Raw flux; 0 where masked.
    pub flux: Vec<f64>,
    /// Inverse variance of the raw flux; 0 = no information.
    pub ivar: Vec<f64>,
}

/// Masks a raw spectrum and counts what was lost to which cause.
///
/// A pixel is *inside* the chips where flux and error are finite and the error is a positive number that is not the
/// 1e10 fill of older releases' gaps; of those, pixels with a configured bit or an absurd error are masked.
pub fn apply(
    raw_flux: &[f64],
    raw_error: &[f64],
    pixmask: &[i64],
    settings: &PixmaskSettings,
) -> (MaskedSpectrum, Quality) {
    let bits = bit_mask(&settings.bits);
    let measured: Vec<f64> = raw_flux
        .iter()
        .zip(raw_error)
        .filter(|(flux, error)| flux.is_finite() && **error > 0.0 && **flux != 0.0)
        .map(|(flux, _)| flux.abs())
        .collect();
    // Without a level nothing is measurable: no error is small enough.
    let level = median(&measured);
    let cap = if level > 0.0 { settings.max_relative_error * level } else { 0.0 };

    let n_pixels = raw_flux.len();
    let mut spectrum = MaskedSpectrum { flux: vec![0.0; n_pixels], ivar: vec![0.0; n_pixels] };
    let mut quality = Quality { continuum_residual: f64::NAN, ..Quality::default() };
    for pixel in 0..n_pixels {
        let (flux, error, mask) = (raw_flux[pixel], raw_error[pixel], pixmask[pixel]);
        let gap = !flux.is_finite() || error.is_nan() || error == 0.0 || (flux == 0.0 && error > cap);
        if gap {
            continue;
        }
        quality.n_inside += 1;
        for (bit, count) in quality.n_per_bit.iter_mut().enumerate().take(N_MASK_BITS) {
            *count += u32::from(mask & (1 << bit) != 0);
        }
        if mask & bits != 0 {
            continue;
        }
        if !(error > 0.0 && error < cap && flux.abs() < cap) {
            quality.n_bad_error += 1;
            continue;
        }
        quality.n_good += 1;
        spectrum.flux[pixel] = flux;
        spectrum.ivar[pixel] = 1.0 / (error * error);
    }
    (spectrum, quality)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_bad_pixel_is_lost_to_its_own_cause() {
        let flux = [100.0, f64::NAN, 0.0, 100.0, 100.0, 100.0, 100.0, 0.0];
        let error = [1.0, f64::NAN, 1e10, 4.5e12, -1.0, 1.0, 1.0, 0.0];
        let mask = [0, 0, 1, 0, 0, 1 << 12, 1 << 9, 0];
        let (spectrum, quality) = apply(&flux, &error, &mask, &PixmaskSettings::default());
        assert_eq!(spectrum.ivar, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!((quality.n_inside, quality.n_good, quality.n_bad_error), (5, 2, 2));
        assert_eq!((quality.n_per_bit[12], quality.n_per_bit[9], quality.n_per_bit[0]), (1, 1, 0));
    }

    #[test]
    fn a_spectrum_of_nothing_is_all_masked_not_a_panic() {
        for value in [f64::NAN, 0.0, f64::INFINITY] {
            let (spectrum, quality) = apply(&[value; 4], &[value; 4], &[0; 4], &PixmaskSettings::default());
            assert_eq!((quality.n_good, spectrum.ivar), (0, vec![0.0; 4]));
        }
    }

    #[test]
    fn the_lab_rule_is_the_published_number() {
        assert_eq!(bit_mask(&PixmaskSettings::default().bits), 0x10FF);
    }
}
