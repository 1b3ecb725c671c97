//! One observatory's table of an mwmStar or mwmVisit, and the spectrum in a row of it.

use super::fits::FitsReader;
use super::raw_spectrum::{
    Format, MOST_PIXELS, RawSpectrum, known, known_name, known_snr, log_wavelength, mark_bad_pixels, stem,
};
use super::spectrum_part::Observatory;
use crate::error::{Error, Result};

/// The release whose errors tell bad pixels, in the column `release`.
const DR17: &str = "dr17";

/// The table of one observatory.
pub(super) struct Table {
    pub(super) observatory: Observatory,
    pub(super) hdu: usize,
    pub(super) n_rows: usize,
    pub(super) columns: Vec<String>,
}

impl Table {
    /// Whether there is such a column.
    pub(super) fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|known| known == column)
    }

    /// A number of a row; NaN where there is no such column.
    pub(super) fn number(&self, fits: &mut FitsReader, column: &str, row: usize) -> Result<f64> {
        if !self.has(column) {
            return Ok(f64::NAN);
        }
        Ok(known(fits.numbers(self.hdu, column, row..row + 1)?[0]))
    }

    /// A text of a row; empty where there is no such column.
    pub(super) fn text(&self, fits: &mut FitsReader, column: &str, row: usize) -> Result<String> {
        if !self.has(column) {
            return Ok(String::new());
        }
        Ok(fits.texts(self.hdu, column, row..row + 1)?.pop().unwrap_or_default())
    }

    /// The spectrum of a row. What differs between the formats is left empty.
    pub(super) fn spectrum(&self, fits: &mut FitsReader, row: usize, format: Format) -> Result<RawSpectrum> {
        let raw_flux = fits.row_vector(self.hdu, "flux", row, MOST_PIXELS)?;
        let ivar = fits.row_vector(self.hdu, "ivar", row, MOST_PIXELS)?;
        let flags = fits.row_vector(self.hdu, "pixel_flags", row, MOST_PIXELS)?;
        let lengths = [raw_flux.len(), ivar.len(), flags.len()];
        if lengths[0] == 0 || lengths.iter().any(|length| *length != lengths[0]) {
            let detail = format!(
                "{}: flux, ivar and pixel_flags have {}, {} and {} pixels; they should have the same number; is the file damaged?",
                self.observatory, lengths[0], lengths[1], lengths[2]
            );
            return Err(Error::format(fits.path(), detail));
        }
        let Some(log_wavelength) = log_wavelength(fits, &[self.hdu], ["CRVAL", "CDELT", "CRPIX"])? else {
            let detail = format!("{} has no keys CRVAL and CDELT; its wavelengths are unknown", self.observatory);
            return Err(Error::format(fits.path(), detail));
        };
        // An undefined flag vouches for nothing.
        let pixmask: Vec<i64> =
            flags.into_iter().map(|flags| if flags.is_nan() { -1 } else { flags.round() as i64 }).collect();
        let error = |ivar: f64| if ivar > 0.0 { ivar.sqrt().recip() } else { f64::INFINITY };
        let mut raw_error: Vec<f64> = ivar.into_iter().map(error).collect();
        let release = self.text(fits, "release", row)?;
        if release != DR17 {
            mark_bad_pixels(&mut raw_error, &pixmask);
        }
        let name = match known_name(self.text(fits, "obj", row)?) {
            None => fits.key_text(0, "APOGEEID").and_then(known_name),
            name => name,
        };
        Ok(RawSpectrum {
            has_objid: name.is_some(),
            id: name.unwrap_or_else(|| stem(fits.path())),
            field: String::new(),
            release,
            snr: known_snr(self.number(fits, "snr", row)?),
            n_visits: 0,
            mjd: None,
            velocity_kms: self.number(fits, "v_rad", row)?,
            raw_flux,
            raw_error,
            pixmask,
            log_wavelength: Some(log_wavelength),
            format,
            is_normalized: false,
            row: Some((self.hdu, row)),
            warning: None,
        })
    }
}
