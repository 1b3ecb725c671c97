//! aspcapStar files (DR17 and before): the combined spectrum divided by ASPCAP's pseudo-continuum.
//!
//! HDU 1 is the normalized flux, HDU 2 its error, HDU 3 ASPCAP's best fit, each (8575,) and 0 outside the pixels that ASPCAP
//! fits; HDU 4 is the star's row of the catalogue. There is no mask. Data model: `aspcapStar`, DR17.

use super::fits::FitsReader;
use super::raw_spectrum::{
    Format, MOST_PIXELS, RawSpectrum, known, known_card, known_name, known_snr, log_wavelength, stem,
};
use crate::error::{Error, Result};

/// The HDU with the star's row of the catalogue.
const TABLE: usize = 4;

/// Whether a file is an aspcapStar: three spectra of floating-point numbers, then a table.
///
/// # Errors
/// [`Error::Fits`].
pub(super) fn is_aspcapstar(fits: &mut FitsReader) -> Result<bool> {
    if fits.n_hdus()? <= TABLE || fits.image_shape(TABLE)?.is_some() {
        return Ok(false);
    }
    for hdu in 1..TABLE {
        let is_spectrum = matches!(fits.image_shape(hdu)?.as_deref(), Some([_] | [1, _]));
        if !is_spectrum || !fits.is_floating_point(hdu)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the normalized spectrum. Pixels that ASPCAP does not fit have a flux of 0; their errors become infinite.
///
/// # Errors
/// [`Error::Fits`] for a truncated file, [`Error::Format`] where the images disagree.
pub(super) fn read_from(fits: &mut FitsReader) -> Result<RawSpectrum> {
    let mut length = |hdu| Ok(fits.image_shape(hdu)?.and_then(|shape| shape.last().copied()).unwrap_or(0));
    let (n_pixels, n_errors): (usize, usize) = (length(1)?, length(2)?);
    if n_pixels != n_errors || !(1..=MOST_PIXELS).contains(&n_pixels) {
        let detail = format!(
            "flux has {n_pixels} pixels, error has {n_errors}; 1 to {MOST_PIXELS} are read, as many of each; is this an aspcapStar file?"
        );
        return Err(Error::format(fits.path(), detail));
    }
    let raw_flux: Vec<f64> = fits.image_section(1, 0..n_pixels)?;
    let mut raw_error: Vec<f64> = fits.image_section(2, 0..n_pixels)?;
    for (error, _) in raw_error.iter_mut().zip(&raw_flux).filter(|(_, flux)| **flux == 0.0) {
        *error = f64::INFINITY;
    }
    let (n_rows, columns) = fits.table_layout(TABLE)?;
    let has = |name: &str| n_rows > 0 && columns.iter().any(|column| column == name);
    let text = |fits: &mut FitsReader, key: &str, column: &str| -> Result<Option<String>> {
        match fits.key_text(0, key).and_then(known_name) {
            None if has(column) => Ok(fits.texts(TABLE, column, 0..1)?.pop().and_then(known_name)),
            found => Ok(found),
        }
    };
    let number = |fits: &mut FitsReader, key: &str, column: &str| -> Result<f64> {
        match fits.key_f64(0, key).map_or(f64::NAN, known_card) {
            nothing if nothing.is_nan() && has(column) => Ok(known(fits.numbers(TABLE, column, 0..1)?[0])),
            found => Ok(found),
        }
    };
    let objid = text(fits, "OBJID", "APOGEE_ID")?;
    Ok(RawSpectrum {
        has_objid: objid.is_some(),
        id: objid.unwrap_or_else(|| stem(fits.path())),
        field: text(fits, "FIELD", "FIELD")?.unwrap_or_default(),
        release: String::new(),
        snr: known_snr(number(fits, "SNR", "SNR")?),
        n_visits: number(fits, "NVISITS", "NVISITS")?.max(0.0) as usize,
        mjd: None,
        velocity_kms: number(fits, "VHELIO", "VHELIO_AVG")?,
        pixmask: vec![0; n_pixels],
        raw_flux,
        raw_error,
        log_wavelength: log_wavelength(fits, &[0, 1], ["CRVAL1", "CDELT1", "CRPIX1"])?,
        format: Format::AspcapStar,
        is_normalized: true,
        row: (n_rows > 0).then_some((TABLE, 0)),
        warning: None,
    })
}
