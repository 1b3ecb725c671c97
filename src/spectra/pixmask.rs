//! Which pixels carry information: mask bits, NaN, absurd errors and chip gaps become `ivar = 0`, once, here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::grid::{WavelengthGrid, span};
use super::quality::{N_MASK_BITS, Quality};
use crate::data::selection::bit_mask;
use crate::error::{Error, Result};
use crate::stats::robust::median;

/// `[pixmask]` of an experiment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PixmaskSettings {
    /// APOGEE_PIXMASK bits that make a pixel useless.
    #[schemars(inner(range(max = 62)))]
    pub bits: Vec<u8>,
    /// Errors (and fluxes) above this multiple of the spectrum's median flux are marks, not measurements.
    #[schemars(extend("exclusiveMinimum" = 1.0))]
    pub max_relative_error: f64,
    /// Wavelengths left out, `[from, to]` each: vacuum Angstrom, or pixel numbers of arrays without wavelengths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<[f64; 2]>,
    /// Wavelengths outside of which everything is left out; none for all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<[f64; 2]>,
}

impl Default for PixmaskSettings {
    fn default() -> Self {
        let bits = vec![0, 1, 2, 3, 4, 5, 6, 7, 12];
        Self { bits, max_relative_error: 1e3, exclude: Vec::new(), include: Vec::new() }
    }
}

/// What a pixel of the grid can be, whatever the star.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On a chip: without flux or error, it is a missing one.
    OnChip,
    /// On a chip or in a gap between two: without flux or error, it lies in the gap.
    AtGap,
    /// Left out by the settings.
    LeftOut,
}

impl PixmaskSettings {
    /// The first setting that makes no sense: its key, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let is_range = |range: &[f64; 2]| range[0].is_finite() && range[1].is_finite() && range[0] < range[1];
        let refuse = |refused: bool, key, problem| if refused { Err((key, problem)) } else { Ok(()) };
        let problem = "must be pairs [from, to] of ascending wavelengths";
        refuse(!self.exclude.iter().all(is_range), "exclude", problem)?;
        refuse(!self.include.iter().all(is_range), "include", problem)
    }

    /// Refuses a range of wavelengths in which a grid has no pixel: it is of another grid, or in another unit.
    ///
    /// # Errors
    /// [`Error::Config`], with the remedy.
    pub fn expect_on(&self, grid: &WavelengthGrid) -> Result<()> {
        let holds = |[from, to]: [f64; 2]| grid.wavelength.iter().any(|wavelength| (from..=to).contains(wavelength));
        let is_numbered = *grid == WavelengthGrid::from_pixel_numbers(grid.n_pixels());
        for (key, ranges) in [("exclude", &self.exclude), ("include", &self.include)] {
            let Some(range) = ranges.iter().find(|range| !holds(**range)) else { continue };
            let times = |factor: f64| range.map(|wavelength| wavelength * factor);
            let unit =
                [(10.0, "nanometres"), (1e4, "micrometres")].into_iter().find(|(factor, _)| holds(times(*factor)));
            let detail = match unit {
                _ if is_numbered => format!(
                    "{range:?} holds none of the pixels 0 to {}: the spectra came without wavelengths, and their pixels are numbered",
                    grid.n_pixels().saturating_sub(1)
                ),
                None => format!("{range:?} is in Å, and holds no pixel of spectra of {}", span(&grid.wavelength)),
                Some((factor, unit)) => format!(
                    "{range:?} is in Å, and holds no pixel of spectra of {}; if these are {unit}, write {:?}",
                    span(&grid.wavelength),
                    times(factor)
                ),
            };
            return Err(Error::Config(format!("pixmask.{key}: {detail}")));
        }
        Ok(())
    }

    /// The places of a grid's pixels, of which `on_chip` can lie in no gap.
    pub fn places(&self, grid: &WavelengthGrid, on_chip: &[bool]) -> Vec<Place> {
        let is_in =
            |ranges: &[[f64; 2]], wavelength: f64| ranges.iter().any(|[from, to]| (*from..=*to).contains(&wavelength));
        let place = |(wavelength, on_chip): (&f64, &bool)| match on_chip {
            _ if is_in(&self.exclude, *wavelength) => Place::LeftOut,
            _ if !self.include.is_empty() && !is_in(&self.include, *wavelength) => Place::LeftOut,
            true => Place::OnChip,
            false => Place::AtGap,
        };
        grid.wavelength.iter().zip(on_chip).map(place).collect()
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
/// `places` says that no gap can be there: then it is a missing one of those *inside* the chips. Of these, pixels with a configured
/// bit or an absurd error are masked, too. What is left out counts nowhere.
pub fn apply(
    raw_flux: &[f64],
    raw_error: &[f64],
    pixmask: &[i64],
    places: &[Place],
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
        if places[pixel] == Place::LeftOut || (missing && places[pixel] == Place::AtGap) {
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
    use crate::schema;
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::quality::star_flags;

    #[test]
    fn each_kind_of_bad_pixel_is_lost_to_its_own_cause() {
        let flux = [100.0, f64::NAN, 0.0, 100.0, 100.0, 100.0, 100.0, 0.0];
        let error = [1.0, f64::NAN, 1e10, 4.5e12, -1.0, 1.0, 1.0, 0.0];
        let mask = [0, 0, 1, 0, 0, 1 << 12, 1 << 9, 0];
        let (spectrum, quality) = apply(&flux, &error, &mask, &[Place::AtGap; 8], &PixmaskSettings::default());
        assert_eq!(spectrum.ivar, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert_eq!((quality.n_inside, quality.n_good, quality.n_bad_error), (5, 2, 2));
        assert_eq!((quality.n_per_bit[12], quality.n_per_bit[9], quality.n_per_bit[0]), (1, 1, 0));
        // The same where no gap can be: NaN, the fill, and an error of 0 are missing.
        let (same, on_chip) = apply(&flux, &error, &mask, &[Place::OnChip; 8], &PixmaskSettings::default());
        assert_eq!((same, on_chip.n_inside, on_chip.n_missing, on_chip.n_good), (spectrum, 8, 3, 2));
        assert_eq!((quality.n_missing, on_chip.n_bad_error, on_chip.n_per_bit[0]), (0, 2, 1));
    }

    #[test]
    fn chips_that_are_lost_as_nan_are_masked_and_gaps_are_not() {
        let grid = WavelengthGrid::apogee();
        let cores = PixmaskSettings::default().places(&grid, &grid.chip_cores());
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
            for place in [Place::OnChip, Place::AtGap, Place::LeftOut] {
                let (spectrum, quality) =
                    apply(&[value; 4], &[value; 4], &[0; 4], &[place; 4], &PixmaskSettings::default());
                assert_eq!((quality.n_good, spectrum.ivar), (0, vec![0.0; 4]));
            }
        }
    }

    #[test]
    fn wavelengths_left_out_have_no_weight_and_count_nowhere() {
        let grid =
            WavelengthGrid::from_wavelengths((0..8).map(|pixel| 15_600.0 + 10.0 * f64::from(pixel)).collect()).unwrap();
        let settings = |exclude: &[[f64; 2]], include: &[[f64; 2]]| PixmaskSettings {
            exclude: exclude.to_vec(),
            include: include.to_vec(),
            ..PixmaskSettings::default()
        };
        let good = |settings: PixmaskSettings| {
            let places = settings.places(&grid, &[true; 8]);
            let (spectrum, quality) = apply(&[1.0; 8], &[0.5; 8], &[0; 8], &places, &settings);
            assert_eq!((quality.n_inside, quality.fraction_masked()), (quality.n_good, 0.0));
            (0..8).filter(|pixel| spectrum.ivar[*pixel] > 0.0).collect::<Vec<usize>>()
        };
        assert_eq!(good(settings(&[], &[])), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(good(settings(&[[15_595.0, 15_620.0], [15_651.0, 15_659.0]], &[])), [3, 4, 5, 6, 7]);
        assert_eq!(good(settings(&[[15_640.0, 15_640.5]], &[[15_630.0, 15_650.0]])), [3, 5]);
        assert_eq!(settings(&[[2.0, 1.0]], &[]).check().unwrap_err().0, "exclude");
        assert_eq!(settings(&[], &[[f64::NAN, 1.0]]).check().unwrap_err().0, "include");
        assert!(settings(&[[1.0, 2.0]], &[]).check().is_ok());
        for none in [1e-300, 1.0, f64::NAN] {
            let settings = PixmaskSettings { max_relative_error: none, ..PixmaskSettings::default() };
            assert_eq!(schema::check(&settings).unwrap_err().0, "max_relative_error");
        }
    }

    #[test]
    fn ranges_without_a_pixel_are_refused_and_units_named() {
        let numbered = WavelengthGrid::from_pixel_numbers(30);
        let said = |exclude: [f64; 2], grid: &WavelengthGrid| {
            let settings = PixmaskSettings { exclude: vec![exclude], ..PixmaskSettings::default() };
            settings.expect_on(grid).map_or_else(|err| err.to_string(), |()| String::new())
        };
        let apogee = WavelengthGrid::apogee();
        assert_eq!(said([15_600.0, 15_650.0], &apogee), "");
        let in_nm = said([1560.0, 1565.0], &apogee);
        assert!(in_nm.contains("pixmask.exclude: [1560.0, 1565.0] is in Å, and holds no pixel of spectra of 15100.80"));
        assert!(in_nm.contains("if these are nanometres, write [15600.0, 15650.0]"), "{in_nm}");
        assert!(said([1.56, 1.565], &apogee).contains("if these are micrometres"));
        assert!(said([4000.0, 5000.0], &apogee).ends_with("16999.81 Angstrom"));
        assert!(said([15_600.0, 15_650.0], &numbered).contains("none of the pixels 0 to 29"));
        let settings =
            PixmaskSettings { include: vec![[15_600.0, 15_650.0], [1.0, 2.0]], ..PixmaskSettings::default() };
        assert!(settings.expect_on(&apogee).unwrap_err().to_string().contains("pixmask.include: [1.0, 2.0]"));
    }

    #[test]
    fn the_lab_rule_is_the_published_number() {
        assert_eq!(bit_mask(&PixmaskSettings::default().bits), 0x10FF);
    }
}
