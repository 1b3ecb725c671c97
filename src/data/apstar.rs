//! apStar files of every release, and the lab's bare "mystery" file: the coadded spectrum in row 0.
//!
//! Layouts differ: flux f32 or f64, masks of 16 to 64 bits, arrays (8575,) or (n, 8575) with visits below the coadd
//! (DR17 single visits have an all-zero second row). Data model: `apStar` in the SDSS data model pages, DR14-DR17.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::files;
use super::fits::FitsReader;
use crate::error::{Error, Result};

/// An apStar file has 8575 pixels and a row for the coadd and each visit, in ten images: 70 MB at a hundred visits. What claims
/// more than this is no such file, and memory is not to be had by claims.
const MOST_PIXELS: usize = 100_000;
const MOST_ROWS: usize = 10_000;
const MOST_BYTES: u64 = 256 << 20;

/// A coadded spectrum as it stands in the file, nothing masked.
#[derive(Debug, Clone, PartialEq)]
pub struct RawSpectrum {
    /// OBJID, or the file's name where the header has none.
    pub id: String,
    /// Whether `id` is the header's.
    pub has_objid: bool,
    /// FIELD; empty where absent.
    pub field: String,
    /// Signal-to-noise ratio from the header; NaN where absent.
    pub snr: f64,
    /// Number of visits combined; 0 where absent.
    pub n_visits: usize,
    /// Barycentric radial velocity that was taken out of the spectrum (km/s); NaN if the header has none.
    pub velocity_kms: f64,
    /// Raw flux, 1e-17 erg s^-1 cm^-2 A^-1; NaN or 0 in chip gaps.
    pub raw_flux: Vec<f64>,
    /// Error of the raw flux, same unit.
    pub raw_error: Vec<f64>,
    /// APOGEE_PIXMASK bits per pixel.
    pub pixmask: Vec<i64>,
    /// log10 of the first vacuum wavelength in Angstrom, and its step per pixel; `None` where the header has none.
    pub log_wavelength: Option<(f64, f64)>,
}

/// Reads row 0 of the flux, error and mask images and the header keys maury uses.
///
/// # Errors
/// [`Error::Io`], [`Error::Fits`] for truncated or foreign files, [`Error::Format`] where the images disagree.
pub fn read(path: &Path) -> Result<RawSpectrum> {
    let mut fits = FitsReader::open_within(path, MOST_BYTES)?;
    let n_hdus = fits.n_hdus()?;
    if n_hdus < 4 {
        let detail = format!("{n_hdus} HDUs, at least 4 expected (header, flux, error, mask); is this an apStar file?");
        return Err(Error::format(path, detail));
    }
    let n_pixels = row_length(&mut fits, 1, "flux")?;
    for (hdu, content) in [(2, "error"), (3, "mask")] {
        let length = row_length(&mut fits, hdu, content)?;
        if length != n_pixels {
            let detail = format!("flux has {n_pixels} pixels, {content} has {length}; is this an apStar file?");
            return Err(Error::format(path, detail));
        }
    }
    if fits.is_floating_point(3)? {
        let detail = "HDU 3 holds floating-point numbers where the pixel mask should be: an aspcapStar file has its model spectrum there; give the star's apStar (or asStar) file";
        return Err(Error::format(path, detail));
    }
    let reference = header_number(&mut fits, "CRPIX1")?.unwrap_or(1.0);
    let log_wavelength = match (header_number(&mut fits, "CRVAL1")?, header_number(&mut fits, "CDELT1")?) {
        (Some(start), Some(step)) => Some((start + step * (1.0 - reference), step)),
        (None, None) => None,
        _ => return Err(Error::format(path, "only one of CRVAL1 and CDELT1; its wavelengths are unknown")),
    };
    let objid = fits.key_text(0, "OBJID").filter(|id| !id.is_empty());
    let stem = || files::path_text(Path::new(path.file_stem().unwrap_or_default()));
    Ok(RawSpectrum {
        has_objid: objid.is_some(),
        id: objid.unwrap_or_else(stem),
        field: fits.key_text(0, "FIELD").unwrap_or_default(),
        snr: fits.key_f64(0, "SNR").filter(|snr| *snr > 0.0).unwrap_or(f64::NAN),
        velocity_kms: fits.key_f64(0, "VHELIO").filter(|v| v.is_finite() && *v > -9990.0).unwrap_or(f64::NAN),
        n_visits: fits.key_f64(0, "NVISITS").map_or(0, |n| n.max(0.0) as usize),
        raw_flux: fits.image_section(1, 0..n_pixels)?,
        raw_error: fits.image_section(2, 0..n_pixels)?,
        pixmask: fits.image_section(3, 0..n_pixels)?,
        log_wavelength,
    })
}

/// A number of the primary header, or else of the flux's; `None` where neither has the key.
///
/// # Errors
/// [`Error::Format`] for a key that is there and no finite number.
fn header_number(fits: &mut FitsReader, key: &str) -> Result<Option<f64>> {
    let Some(hdu) = [0, 1].into_iter().find(|hdu| fits.has_key(*hdu, key)) else { return Ok(None) };
    match fits.key_f64(hdu, key).filter(|value| value.is_finite()) {
        Some(value) => Ok(Some(value)),
        None => Err(Error::format(fits.path(), format!("{key} is not a finite number; its wavelengths are unknown"))),
    }
}

fn row_length(fits: &mut FitsReader, hdu: usize, content: &str) -> Result<usize> {
    match fits.image_shape(hdu)?.as_deref() {
        Some(shape @ ([n_pixels] | [_, n_pixels]))
            if *n_pixels > MOST_PIXELS || shape[0] > MOST_ROWS.max(*n_pixels) =>
        {
            let detail = format!(
                "HDU {hdu} ({content}) claims axes {shape:?}, at most {MOST_ROWS} rows of {MOST_PIXELS} pixels are read; is this an apStar file?"
            );
            Err(Error::format(fits.path(), detail))
        }
        Some([n_pixels] | [_, n_pixels]) if *n_pixels > 0 => Ok(*n_pixels),
        Some(shape) => {
            let detail =
                format!("HDU {hdu} ({content}) has axes {shape:?}, one or two expected; is this an apStar file?");
            Err(Error::format(fits.path(), detail))
        }
        None => {
            let detail = format!("HDU {hdu} is a table where the {content} image should be; is this an apStar file?");
            Err(Error::format(fits.path(), detail))
        }
    }
}

/// Name of a star's file by DR17's rule: `asStar` at LCO, `apStar` elsewhere.
pub fn file_name(telescope: &str, id: &str) -> String {
    let prefix = if telescope.starts_with("lco") { "as" } else { "ap" };
    format!("{prefix}Star-dr17-{id}.fits")
}

/// Refuses a catalogue row that points out of the folder of spectra, where it has no business.
///
/// # Errors
/// [`Error::Format`] that names column, value and star.
pub fn expect_inside(folder: &Path, file: &str, telescope: &str, field: &str, id: &str) -> Result<()> {
    match [("FILE", file), ("TELESCOPE", telescope), ("FIELD", field)].into_iter().find(|(_, value)| leads_out(value)) {
        None => Ok(()),
        Some((column, value)) => Err(Error::format(
            folder,
            format!(
                "the catalogue's {column} of star {id:?} is {value:?}, which leads out of this folder; mend that row or leave it out"
            ),
        )),
    }
}

fn leads_out(path: &str) -> bool {
    !Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// The name under which the spectrum of a catalogue row is looked for: FILE's, or else [`file_name`]'s.
pub fn name_of(file: &str, telescope: &str, id: &str) -> OsString {
    // Only a name: an identifier is no path.
    let built = || file_name(telescope, id).replace(['/', '\\'], "_").into();
    Path::new(file).file_name().map_or_else(built, OsString::from)
}

/// Where below `folder` the spectrum of a catalogue row lies: flat, by field, or in the archive's own layout.
///
/// `file` may be empty, see [`name_of`]. What [`expect_inside`] refuses is not found.
pub fn locate(folder: &Path, file: &str, telescope: &str, field: &str, id: &str) -> Option<PathBuf> {
    if [file, telescope, field].into_iter().any(leads_out) {
        return None;
    }
    let name = name_of(file, telescope, id);
    let telescopes = if telescope.is_empty() { &["apo25m", "lco25m", "apo1m"][..] } else { &[telescope][..] };
    let mut candidates = vec![folder.join(&name), folder.join(field).join(&name)];
    candidates.extend(telescopes.iter().map(|telescope| folder.join(telescope).join(field).join(&name)));
    candidates.into_iter().find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectra_are_found_flat_by_field_and_in_the_archive_layout() {
        let folder = tempfile::tempdir().unwrap();
        let place = |relative: &str| {
            let path = folder.path().join(relative);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let flat = place("apStar-dr17-A.fits");
        let by_field = place("060+00/apStar-dr17-B.fits");
        let archive = place("lco25m/M15/asStar-dr17-C.fits");
        assert_eq!(locate(folder.path(), "", "", "", "A"), Some(flat));
        assert_eq!(locate(folder.path(), "apStar-dr17-B.fits", "apo25m", "060+00", "B"), Some(by_field));
        assert_eq!(locate(folder.path(), "", "lco25m", "M15", "C"), Some(archive));
        assert_eq!(locate(folder.path(), "", "apo25m", "M15", "C"), None);
    }

    #[test]
    fn a_catalogue_that_points_out_of_the_folder_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let inside = root.path().join("inside");
        std::fs::create_dir_all(root.path().join("outside")).unwrap();
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::write(root.path().join("outside/x.fits"), "").unwrap();
        let outside = root.path().join("outside").display().to_string();
        for (file, telescope, field) in [
            ("x.fits", "", "../outside"),
            ("x.fits", "", outside.as_str()),
            ("x.fits", "../outside", "."),
            ("../outside/x.fits", "", ""),
        ] {
            assert_eq!(locate(&inside, file, telescope, field, "A"), None);
            let said = expect_inside(&inside, file, telescope, field, "A").unwrap_err().to_string();
            assert!(said.contains("leads out of this folder"), "{said}");
        }
        // An identifier is no path, whatever it says.
        assert_eq!(locate(&inside, "", "", "", "/../../outside/x"), None);
    }
}
