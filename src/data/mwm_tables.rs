//! Tables of an mwmStar or mwmVisit as they are written: one for each spectrograph and site, with or without rows.

use super::fits::{Column, FitsWriter};
use super::spectrum_part::Observatory;
use crate::error::Result;

/// A spectrograph, and the grid of wavelengths its spectra are on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spectrograph {
    /// Its name in headers.
    pub name: &'static str,
    /// Pixels of a spectrum.
    pub n_pixels: usize,
    /// log10 of the first vacuum wavelength in Angstrom, and its step per pixel.
    pub log_wavelength: (f64, f64),
}

/// The spectrograph of the visible light.
pub const BOSS: Spectrograph = Spectrograph { name: "BOSS", n_pixels: 4648, log_wavelength: (3.5523, 1e-4) };
/// That of the H band.
pub const APOGEE: Spectrograph = Spectrograph { name: "APOGEE", n_pixels: 8575, log_wavelength: (4.179, 6e-6) };

/// Writes the four tables. `columns` are those of a table; `made_by` are keys (name, value, comment) of what made them.
///
/// # Errors
/// [`crate::error::Error::Fits`], and those of `columns`.
pub fn write(
    fits: &mut FitsWriter,
    made_by: &[(&str, &str, &str)],
    columns: impl Fn(Spectrograph, Observatory) -> Vec<Column>,
) -> Result<()> {
    for spectrograph in [BOSS, APOGEE] {
        for observatory in Observatory::ALL {
            let Spectrograph { name, n_pixels, log_wavelength: (start, step) } = spectrograph;
            let site = observatory.site();
            fits.table(&format!("{name}/{site}"), &columns(spectrograph, observatory))?;
            fits.append_key("OBSRVTRY", site, "observatory")?;
            fits.append_key("INSTRMNT", name, "instrument")?;
            made_by.iter().try_for_each(|(key, value, comment)| fits.append_key(key, *value, comment))?;
            fits.append_key("CRVAL", start, "log10 of the first wavelength")?;
            fits.append_key("CDELT", step, "step of log10 wavelength")?;
            fits.append_key("CTYPE", "LOG-LINEAR", "wavelength scale")?;
            fits.append_key("CUNIT", "Angstrom (Vacuum)", "unit of the wavelength")?;
            fits.append_key("CRPIX", 1, "pixel of the first wavelength")?;
            fits.append_key("DC-FLAG", 1, "wavelength scale is logarithmic")?;
            fits.append_key("NPIXELS", n_pixels as i64, "pixels of a spectrum")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fits::{self, FitsReader};
    use crate::data::mwm;
    use crate::spectra::grid::{APOGEE_LOG_WAVELENGTH, APOGEE_N_PIXELS};

    #[test]
    fn tables_stand_in_the_order_of_the_survey_and_tell_their_wavelengths() {
        assert_eq!((APOGEE.n_pixels, APOGEE.log_wavelength), (APOGEE_N_PIXELS, APOGEE_LOG_WAVELENGTH));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let columns = |spectrograph: Spectrograph, observatory: Observatory| {
            let n_rows = usize::from(spectrograph == APOGEE && observatory == Observatory::Lco);
            vec![Column::f32("snr", "", vec![7.0; n_rows])]
        };
        fits::write(&path, |fits| write(fits, &[("V_ASTRA", "0", "of nobody")], columns)).unwrap();
        let mut fits = FitsReader::open(&path).unwrap();
        let names = [1, 2, 3, 4].map(|hdu| fits.key_text(hdu, "EXTNAME").unwrap());
        assert_eq!(names, ["BOSS/APO", "BOSS/LCO", "APOGEE/APO", "APOGEE/LCO"]);
        assert_eq!([1, 2, 3, 4].map(|hdu| fits.table_layout(hdu).unwrap().0), [0, 0, 0, 1]);
        assert_eq!([1, 4].map(|hdu| fits.key_f64(hdu, "NPIXELS").unwrap()), [4648.0, 8575.0]);
        assert_eq!(fits.key_text(4, "V_ASTRA").as_deref(), Some("0"));
        assert_eq!(fits.key_f64(4, "CRVAL").zip(fits.key_f64(4, "CDELT")), Some(APOGEE.log_wavelength));
        assert_eq!(mwm::observatories(&mut fits).unwrap(), [Observatory::Lco]);
    }
}
