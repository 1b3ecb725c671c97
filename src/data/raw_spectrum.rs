//! A spectrum as it stands in its file, whichever of the survey's formats that has, and what the readers of these share.

use std::fmt;
use std::path::Path;

use super::files;
use super::fits::FitsReader;
pub(super) use super::sentinels::{known, known_card};
use crate::error::{Error, Result};

/// The longest spectrum that is read has 8575 pixels. What claims more than this is none, and memory is not to be had by claims.
pub(super) const MOST_PIXELS: usize = 100_000;
/// A file of a hundred visits has 70 MB.
pub(super) const MOST_BYTES: u64 = 256 << 20;

/// Letters of a header key.
pub(super) const KEY_LETTERS: usize = 8;

/// APOGEE_PIXMASK bits 0 to 7 and 14: the level BAD of the survey's reduction (`bitmask` of sdss/apogee and sdss/apogee_drp).
const BAD_PIXEL: i64 = 0x40FF;

/// The survey's formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// apStar and asStar of all releases up to DR17: images, the coadd in row 0.
    ApStar,
    /// apStar of SDSS-V, reductions 1.0 and later: the same images, errors and headers of another kind.
    ApStarSdssV,
    /// mwmStar of Astra (DR19 and later): coadds of all instruments, in tables.
    MwmStar,
    /// mwmVisit of Astra: the single visits.
    MwmVisit,
    /// aspcapStar (DR17 and before): divided by ASPCAP's pseudo-continuum.
    AspcapStar,
}

impl fmt::Display for Format {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::ApStar => "apStar (DR17 and before)",
            Self::ApStarSdssV => "apStar (SDSS-V)",
            Self::MwmStar => "mwmStar",
            Self::MwmVisit => "mwmVisit",
            Self::AspcapStar => "aspcapStar",
        })
    }
}

/// A spectrum as it stands in the file, but for one rule: where SDSS-V marks a bad pixel by its mask alone, the error becomes
/// infinite, as DR17 has it 1e10 times larger there.
///
/// Bad are bits 0 to 7 and 14. DR17's `apstar` raises the error of these pixels when it combines visits, and settings made for
/// DR17 rely on it for bit 14; `visitcomb` of SDSS-V's apogee_drp 1.3 leaves an ordinary error on an interpolated flux. A
/// mwmStar or mwmVisit passes on either kind, by the release in its row.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSpectrum {
    /// Name of the star: OBJID of an apStar, `obj` of an mwmStar; or the file's name where there is none.
    pub id: String,
    /// Whether `id` is a name of the star that the file gives, as catalogues have it (2MASS style).
    pub has_objid: bool,
    /// FIELD; empty where absent.
    pub field: String,
    /// The release that reduced it, as Astra's tables call it (`sdss5`, `dr17`); empty where the file does not say.
    pub release: String,
    /// Signal-to-noise ratio per pixel as the file gives it; NaN where absent.
    pub snr: f64,
    /// Number of visits combined; 0 where absent.
    pub n_visits: usize,
    /// Modified Julian date of the night of a single visit; none of coadds, and where the file does not say.
    pub mjd: Option<i64>,
    /// Barycentric radial velocity that was taken out of the spectrum (km/s); NaN where the file has none.
    pub velocity_kms: f64,
    /// Raw flux, 1e-17 erg s^-1 cm^-2 A^-1 (relative to the continuum if `is_normalized`); NaN or 0 in chip gaps, `[n_pixels]`.
    pub raw_flux: Vec<f64>,
    /// Error of the raw flux, same unit, `[n_pixels]`; infinite where there is no information.
    pub raw_error: Vec<f64>,
    /// APOGEE_PIXMASK bits per pixel, `[n_pixels]`; 0 everywhere where the format has no mask.
    pub pixmask: Vec<i64>,
    /// log10 of the first vacuum wavelength in Angstrom, and its step per pixel; `None` where the header has none.
    pub log_wavelength: Option<(f64, f64)>,
    /// Which format the file has.
    pub format: Format,
    /// Whether the flux was divided by a pseudo-continuum before it was written.
    pub is_normalized: bool,
    /// HDU and row of the table that tells of the spectrum, where the format has one.
    pub row: Option<(usize, usize)>,
    /// What should be said once about this spectrum.
    pub warning: Option<String>,
}

/// Gives the pixels that the reduction calls bad an infinite error.
pub(super) fn mark_bad_pixels(error: &mut [f64], pixmask: &[i64]) {
    for (error, _) in error.iter_mut().zip(pixmask).filter(|(_, mask)| *mask & BAD_PIXEL != 0) {
        *error = f64::INFINITY;
    }
}

/// A signal-to-noise ratio; NaN for what is none.
pub(super) fn known_snr(value: f64) -> f64 {
    Some(known(value)).filter(|snr| *snr > 0.0).unwrap_or(f64::NAN)
}

/// A star's name, unless the survey says by it that there is none.
pub(super) fn known_name(name: String) -> Option<String> {
    Some(name).filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("nan"))
}

/// The name of a file without its ending: what a spectrum of nobody is called.
pub(super) fn stem(path: &Path) -> String {
    files::path_text(Path::new(path.file_stem().unwrap_or_default()))
}

/// log10 of the first wavelength and its step, by the keys of value, step and reference pixel (from 1), each of the first of
/// `hdus` that has it; `None` where none has value and step.
///
/// # Errors
/// [`Error::Format`] for a key that is there and no finite number, and where only one of the first two is there.
pub(super) fn log_wavelength(
    fits: &mut FitsReader,
    hdus: &[usize],
    [value, step, reference]: [&str; 3],
) -> Result<Option<(f64, f64)>> {
    let mut number = |key: &str| -> Result<Option<f64>> {
        let Some(hdu) = hdus.iter().find(|hdu| fits.has_key(**hdu, key)) else { return Ok(None) };
        match fits.key_f64(*hdu, key).filter(|number| number.is_finite()) {
            Some(number) => Ok(Some(number)),
            None => {
                Err(Error::format(fits.path(), format!("{key} is not a finite number; its wavelengths are unknown")))
            }
        }
    };
    let pixel = number(reference)?.unwrap_or(1.0);
    match (number(value)?, number(step)?) {
        (Some(start), Some(step)) => Ok(Some((start + step * (1.0 - pixel), step))),
        (None, None) => Ok(None),
        _ => Err(Error::format(fits.path(), format!("only one of {value} and {step}; its wavelengths are unknown"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bits_of_the_level_bad_change_an_error() {
        let mask: Vec<i64> = (0..16).map(|bit| 1 << bit).chain([0, -1]).collect();
        let mut error = vec![1.0; mask.len()];
        mark_bad_pixels(&mut error, &mask);
        let infinite: Vec<usize> = (0..mask.len()).filter(|pixel| error[*pixel].is_infinite()).collect();
        assert_eq!(infinite, [0, 1, 2, 3, 4, 5, 6, 7, 14, 17]);
        assert!(error.iter().all(|error| error.is_infinite() || *error == 1.0));
    }

    #[test]
    fn what_the_survey_writes_for_nothing_is_nothing() {
        for missing in [f64::NAN, f64::INFINITY, -9999.0, -9999.990234375] {
            assert!(known(missing).is_nan() && known_snr(missing).is_nan(), "{missing}");
        }
        assert!(known_card(99.98999786376953).is_nan());
        assert_eq!((known(-150.25), known(99.9), known(0.0), known_snr(99.9)), (-150.25, 99.9, 0.0, 99.9));
        assert!(known_snr(0.0).is_nan() && known_snr(-1.0).is_nan());
        assert_eq!((known_name("NaN".into()), known_name(String::new())), (None, None));
        assert_eq!(known_name("2M0".into()).as_deref(), Some("2M0"));
    }
}
