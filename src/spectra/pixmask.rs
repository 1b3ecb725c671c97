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
/// A pixel without flux and error (NaN, an error of 0, the 1e10 fill of older releases) lies in a gap between the chips, unless
/// `on_chip` says that no gap can be there: then it is a missing one of those *inside* the chips. Of these, pixels with a configured
/// bit or an absurd error are masked, too.
pub fn apply(
    raw_flux: &[f64],
    raw_error: &[f64],
    pixmask: &[i64],
    on_chip: &[bool],
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
        let missing = !flux.is_finite() || error.is_nan() || error == 0.0 || (flux == 0.0 && error > cap);
        if missing && !on_chip[pixel] {
            continue;
        }
        quality.n_inside += 1;
        for (bit, count) in quality.n_per_bit.iter_mut().enumerate().take(N_MASK_BITS) {
            *count += u32::from(mask & (1 << bit) != 0);
        }
        if missing {
            quality.n_missing += 1;
            continue;
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
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::quality::star_flags;

    #[test]
    fn each_kind_of_bad_pixel_is_lost_to_its_own_cause() {
        let flux = [100.0, f64::NAN, 0.0, 100.0, 100.0, 100.0, 100.0, 0.0];
        let error = [1.0, f64::NAN, 1e10, 4.5e12, -1.0, 1.0, 1.0, 0.0];
        let mask = [0, 0, 1, 0, 0, 1 << 12, 1 << 9, 0];
        let (spectrum, quality) = apply(&flux, &error, &mask, &[false; 8], &PixmaskSettings::default());
        assert_eq!(spectrum.ivar, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!((quality.n_inside, quality.n_good, quality.n_bad_error), (5, 2, 2));
        assert_eq!((quality.n_per_bit[12], quality.n_per_bit[9], quality.n_per_bit[0]), (1, 1, 0));
        // The same where no gap can be: NaN, the fill, and an error of 0 are missing.
        let (same, on_chip) = apply(&flux, &error, &mask, &[true; 8], &PixmaskSettings::default());
        assert_eq!((same, on_chip.n_inside, on_chip.n_missing, on_chip.n_good), (spectrum, 8, 3, 2));
        assert_eq!((quality.n_missing, on_chip.n_bad_error, on_chip.n_per_bit[0]), (0, 2, 1));
    }

    #[test]
    fn chips_that_are_lost_as_nan_are_masked_and_gaps_are_not() {
        let cores = WavelengthGrid::apogee().chip_cores();
        let n_pixels = cores.len();
        let on_chips = |pixel: &usize| [201..3319, 3537..6125, 6295..8377].iter().any(|chip| chip.contains(pixel));
        let quality = |is_lost: fn(usize) -> bool| {
            let flux: Vec<f64> =
                (0..n_pixels).map(|pixel| if on_chips(&pixel) && !is_lost(pixel) { 100.0 } else { f64::NAN }).collect();
            apply(&flux, &vec![1.0; n_pixels], &vec![0; n_pixels], &cores, &PixmaskSettings::default()).1
        };
        let (whole, one, two) = (quality(|_| false), quality(|pixel| pixel < 3400), quality(|pixel| pixel < 6200));
        assert_eq!((whole.n_missing, whole.fraction_masked()), (0, 0.0));
        assert!((0.35..0.42).contains(&one.fraction_masked()) && one.flags() == 0, "{}", one.fraction_masked());
        assert!((0.70..0.75).contains(&two.fraction_masked()), "{}", two.fraction_masked());
        assert_eq!(two.flags(), star_flags::MOSTLY_MASKED);
        assert!(quality(|_| true).fraction_masked() == 1.0);
    }

    #[test]
    fn a_spectrum_of_nothing_is_all_masked_not_a_panic() {
        for value in [f64::NAN, 0.0, f64::INFINITY] {
            for on_chip in [true, false] {
                let (spectrum, quality) =
                    apply(&[value; 4], &[value; 4], &[0; 4], &[on_chip; 4], &PixmaskSettings::default());
                assert_eq!((quality.n_good, spectrum.ivar), (0, vec![0.0; 4]));
            }
        }
    }

    #[test]
    fn the_lab_rule_is_the_published_number() {
        assert_eq!(bit_mask(&PixmaskSettings::default().bits), 0x10FF);
    }
}
