//! apStar files of every release, and the lab's bare "mystery" file: the coadded spectrum in row 0, single visits below.
//!
//! Layouts differ: flux f32 or f64, masks of 16 to 64 bits, arrays (8575,) or (n, 8575). With n >= 2 visits there are n + 2
//! rows: two coadds, then the visits, in the star's rest frame. A single visit has one row, in DR17 two, of which the second
//! is all zero. Data model: `apStar` in the SDSS data model pages, DR14-DR20.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use super::fits::FitsReader;
pub use super::raw_spectrum::RawSpectrum;
use super::raw_spectrum::{
    Format, KEY_LETTERS, MOST_BYTES, MOST_PIXELS, known_card, known_name, known_snr, log_wavelength, mark_bad_pixels,
    stem,
};
use super::value::Value;
use crate::error::{Error, Result};

/// Rows of coadds, visits and whatever else in an image: more than any star has.
const MOST_ROWS: usize = 10_000;
/// Rows and pixels of an apVisit's images: one row for each of the three detectors, dithered or not.
const VISIT_ROWS: usize = 3;
const VISIT_PIXELS: [usize; 2] = [4096, 2048];
/// Julian date at which the first day of modified ones began.
const JD_OF_MJD_0: f64 = 2_400_000.5;
/// A night may begin before 0 h UTC, at Las Campanas in winter; the survey numbers it by the day that follows (in days).
const BEFORE_MIDNIGHT: f64 = 0.35;
/// Keys that tell of all visits together.
const OF_ALL_VISITS: [&str; 10] =
    ["NVISITS", "SNR", "SNREV", "VHELIO", "VRAD", "VREL", "VERR", "VERR_MED", "VSCATTER", "STARFLAG"];

/// Reads row 0 of the flux, error and mask images and the header keys maury uses.
///
/// # Errors
/// [`Error::Io`], [`Error::Fits`] for truncated or foreign files, [`Error::Format`] where the images disagree.
pub fn read(path: &Path) -> Result<RawSpectrum> {
    read_from(&mut FitsReader::open_within(path, MOST_BYTES)?, None)
}

/// Reads the coadd, or a visit counted from 1.
///
/// # Errors
/// As [`read`]; [`Error::Format`] for a visit that is not there.
pub(super) fn read_from(fits: &mut FitsReader, visit: Option<usize>) -> Result<RawSpectrum> {
    let (n_rows, n_pixels) = image_shapes(fits)?;
    let row = match visit {
        None => 0,
        Some(visit) => visit_row(fits, visit, n_rows)?,
    };
    let is_sdss_v = is_sdss_v(fits);
    let mut number = |key: &str| fits.key_f64(0, key).map_or(f64::NAN, known_card);
    // SDSS-V calls VRAD what VHELIO was; in older headers VRAD is not barycentric.
    let velocity = if is_sdss_v { "VRAD" } else { "VHELIO" };
    // The row of a star that was visited once is its coadd: so is the header.
    let (snr, velocity_kms) = match visit {
        Some(visit) if row > 0 => (number(&format!("SNRVIS{visit}")), number(&format!("{velocity}{visit}"))),
        _ => (number("SNR"), number(velocity)),
    };
    let n_visits = if visit.is_some() { 1 } else { number("NVISITS").max(0.0) as usize };
    let jd = visit.map(|visit| number(&format!("JD{visit}"))).filter(|jd| *jd > JD_OF_MJD_0);
    let mjd = jd.map(|jd| (jd - JD_OF_MJD_0 + BEFORE_MIDNIGHT).floor() as i64);
    let pixels = row * n_pixels..(row + 1) * n_pixels;
    let objid = fits.key_text(0, "OBJID").and_then(known_name);
    let mut spectrum = RawSpectrum {
        has_objid: objid.is_some(),
        id: objid.unwrap_or_else(|| stem(fits.path())),
        field: fits.key_text(0, "FIELD").unwrap_or_default(),
        release: String::new(),
        snr: known_snr(snr),
        n_visits,
        mjd,
        velocity_kms,
        log_wavelength: log_wavelength(fits, &[0, 1], ["CRVAL1", "CDELT1", "CRPIX1"])?,
        raw_flux: fits.image_section(1, pixels.clone())?,
        raw_error: fits.image_section(2, pixels.clone())?,
        pixmask: fits.image_section(3, pixels)?,
        format: if is_sdss_v { Format::ApStarSdssV } else { Format::ApStar },
        is_normalized: false,
        row: None,
        warning: None,
    };
    if is_sdss_v {
        mark_bad_pixels(&mut spectrum.raw_error, &spectrum.pixmask);
    }
    Ok(spectrum)
}

/// What the header says of one visit under a key of the star's: the value under the key with the visit's number behind it, that of
/// the star where visits have no such key, and nothing where the star's is of all visits together.
pub(super) fn value_of_visit(fits: &mut FitsReader, visit: usize, key: &str) -> Value {
    let numbered = format!("{key}{visit}");
    if numbered.len() <= KEY_LETTERS && fits.has_key(0, &numbered) {
        return fits.key_value(0, &numbered);
    }
    // A star's only visit is its coadd.
    let is_of_all = OF_ALL_VISITS.contains(&key) && !n_visits(fits).is_ok_and(|n| n == 1);
    if is_of_all { Value::Missing } else { fits.key_value(0, key) }
}

/// Number of visits that have a row of their own, or are the only one; by the headers.
///
/// # Errors
/// As [`read`].
pub(super) fn n_visits(fits: &mut FitsReader) -> Result<usize> {
    Ok(visit_rows(image_shapes(fits)?.0).len())
}

/// The rows of the visits among so many.
fn visit_rows(n_rows: usize) -> Range<usize> {
    if n_rows > 2 { 2..n_rows } else { 0..1 }
}

fn visit_row(fits: &FitsReader, visit: usize, n_rows: usize) -> Result<usize> {
    let rows = visit_rows(n_rows);
    let row = visit.checked_sub(1).and_then(|index| rows.clone().nth(index));
    row.ok_or_else(|| {
        let (n, s) = (rows.len(), if rows.len() == 1 { "" } else { "s" });
        Error::format(fits.path(), format!("there is no visit {visit}: the file holds {n} visit{s}, counted from 1"))
    })
}

/// Whether the file is of an SDSS-V reduction: these name themselves ("1.3"), headers of DR17 and before do not.
fn is_sdss_v(fits: &mut FitsReader) -> bool {
    let reduction = fits.key_text(0, "APRED").filter(|reduction| !reduction.is_empty());
    reduction.is_some_and(|reduction| !["dr", "r"].iter().any(|old| reduction.starts_with(old)))
}

/// Rows and pixels that flux, error and mask have in common.
fn image_shapes(fits: &mut FitsReader) -> Result<(usize, usize)> {
    let n_hdus = fits.n_hdus()?;
    if n_hdus < 4 {
        // Behind an image that claims more than there is, no HDU is found.
        fits.expect_whole_image(n_hdus.saturating_sub(1))?;
        let detail = format!("{n_hdus} HDUs, at least 4 expected (header, flux, error, mask); is this an apStar file?");
        return Err(Error::format(fits.path(), detail));
    }
    let (mut n_rows, n_pixels) = image_shape(fits, 1, "flux")?;
    if n_rows == VISIT_ROWS && VISIT_PIXELS.contains(&n_pixels) {
        let detail = "an apVisit (asVisit) file: three rows of detector pixels, not in the star's rest frame, on no common grid of \
                      wavelengths; give the star's apStar (asStar) file, which has this visit resampled: FILE[visit 1], ...";
        return Err(Error::format(fits.path(), detail));
    }
    for (hdu, content) in [(2, "error"), (3, "mask")] {
        let (rows, length) = image_shape(fits, hdu, content)?;
        if length != n_pixels {
            let detail = format!("flux has {n_pixels} pixels, {content} has {length}; is this an apStar file?");
            return Err(Error::format(fits.path(), detail));
        }
        n_rows = n_rows.min(rows);
    }
    if fits.is_floating_point(3)? {
        let detail = "HDU 3 holds floating-point numbers where the pixel mask should be: an aspcapStar file has its model spectrum there; give the star's apStar (or asStar) file";
        return Err(Error::format(fits.path(), detail));
    }
    Ok((n_rows, n_pixels))
}

/// Rows and pixels of an image; a single row may be an image of one axis.
fn image_shape(fits: &mut FitsReader, hdu: usize, content: &str) -> Result<(usize, usize)> {
    match fits.image_shape(hdu)?.as_deref() {
        Some(shape @ ([n_pixels] | [_, n_pixels]))
            if *n_pixels > MOST_PIXELS || shape[0] > MOST_ROWS.max(*n_pixels) =>
        {
            let detail = format!(
                "HDU {hdu} ({content}) claims axes {shape:?}, at most {MOST_ROWS} rows of {MOST_PIXELS} pixels are read; is this an apStar file?"
            );
            Err(Error::format(fits.path(), detail))
        }
        Some([n_pixels]) if *n_pixels > 0 => Ok((1, *n_pixels)),
        Some([n_rows, n_pixels]) if *n_rows > 0 && *n_pixels > 0 => Ok((*n_rows, *n_pixels)),
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
    use crate::data::fits::KeyValue;
    use crate::data::spectrum_examples::{N_PIXELS, apstar, flux_of_row};

    /// Bit 12, which is no level BAD, in pixel 1; bit 14 in pixel 2; bit 0 in pixel 3.
    const MASK: [i64; N_PIXELS] = [0, 1 << 12, 1 << 14, 1, 0, 0, 0, 0];

    #[test]
    fn bad_pixels_of_sdss_v_have_infinite_errors_and_older_ones_those_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let shared =
            [("OBJID", KeyValue::Text("2M0")), ("SNR", KeyValue::Number(120.5)), ("NVISITS", KeyValue::Integer(2))];
        let older =
            [("VHELIO", KeyValue::Number(-30.5)), ("VRAD", KeyValue::Number(7.0)), ("FIELD", KeyValue::Text("M15"))];
        apstar(&path, &[&shared[..], &older[..]].concat(), 4, &MASK);
        let dr17 = read(&path).unwrap();
        assert_eq!((dr17.format, dr17.format.to_string().as_str()), (Format::ApStar, "apStar (DR17 and before)"));
        assert_eq!((dr17.id.as_str(), dr17.has_objid, dr17.field.as_str()), ("2M0", true, "M15"));
        assert_eq!((dr17.snr, dr17.velocity_kms, dr17.n_visits), (120.5, -30.5, 2));
        assert_eq!((&dr17.raw_error, &dr17.pixmask), (&vec![1.0; N_PIXELS], &MASK.to_vec()));
        assert!(!dr17.is_normalized && dr17.warning.is_none());
        let newer = [("APRED", KeyValue::Text("1.3")), ("VRAD", KeyValue::Number(7.0))];
        apstar(&path, &[&shared[..], &newer[..]].concat(), 4, &MASK);
        let sdss_v = read(&path).unwrap();
        assert_eq!((sdss_v.format, sdss_v.format.to_string().as_str()), (Format::ApStarSdssV, "apStar (SDSS-V)"));
        assert_eq!((sdss_v.snr, sdss_v.velocity_kms, sdss_v.field.as_str()), (120.5, 7.0, ""));
        let infinite = f64::INFINITY;
        assert_eq!(sdss_v.raw_error, [1.0, 1.0, infinite, infinite, 1.0, 1.0, 1.0, 1.0]);
        assert_eq!((sdss_v.raw_flux, sdss_v.pixmask), (dr17.raw_flux, dr17.pixmask));
    }

    #[test]
    fn what_headers_of_sdss_v_write_for_nothing_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("star.fits");
        let nothing = ["NaN", "-9999.990234375", "99.98999786376953"];
        for value in nothing {
            let number = value.parse().ok().filter(|number: &f64| number.is_finite());
            let value = number.map_or(KeyValue::Text(value), KeyValue::Number);
            let keys =
                [("APRED", KeyValue::Text("1.3")), ("OBJID", KeyValue::Text("NaN")), ("SNR", value), ("VRAD", value)];
            apstar(&path, &[&keys[..], &[("NVISITS", value)]].concat(), 1, &MASK);
            let read = read(&path).unwrap();
            assert!(read.snr.is_nan() && read.velocity_kms.is_nan(), "{value:?}: {} {}", read.snr, read.velocity_kms);
            assert_eq!((read.id.as_str(), read.has_objid, read.n_visits), ("star", false, 0));
        }
    }

    #[test]
    fn visits_are_the_rows_below_the_two_coadds_or_the_only_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let open = || FitsReader::open(&path).unwrap();
        let keys = [
            ("SNR", KeyValue::Number(120.0)),
            ("VHELIO", KeyValue::Number(5.0)),
            ("SNRVIS2", KeyValue::Number(80.0)),
            ("VHELIO2", KeyValue::Number(5.5)),
            ("VRAD2", KeyValue::Number(-3.0)),
        ];
        for (n_rows, rows) in [(1, 0..1), (2, 0..1), (4, 2..4), (5, 2..5)] {
            apstar(&path, &keys, n_rows, &MASK);
            assert_eq!(n_visits(&mut open()).unwrap(), rows.len(), "{n_rows} rows");
            for (index, row) in rows.clone().enumerate() {
                let visit = read_from(&mut open(), Some(index + 1)).unwrap();
                assert_eq!(
                    (visit.raw_flux, visit.raw_error[4], visit.n_visits),
                    (flux_of_row(row), 1.0 + row as f64, 1)
                );
            }
            assert_eq!(read(&path).unwrap().raw_flux, flux_of_row(0));
            for absent in [0, rows.len() + 1] {
                let said = read_from(&mut open(), Some(absent)).unwrap_err().to_string();
                let held = format!("there is no visit {absent}: the file holds {} visit", rows.len());
                assert!(said.contains(&held), "{said}");
            }
        }
        let [first, second] = [1, 2].map(|visit| read_from(&mut open(), Some(visit)).unwrap());
        assert!(first.snr.is_nan() && first.velocity_kms.is_nan());
        assert_eq!((second.snr, second.velocity_kms), (80.0, 5.5));
        // The only visit of a star is its coadd, of which the header tells.
        apstar(&path, &keys, 2, &MASK);
        let only = read_from(&mut open(), Some(1)).unwrap();
        assert_eq!((only.snr, only.velocity_kms), (120.0, 5.0));
        apstar(&path, &[&keys[..], &[("APRED", KeyValue::Text("1.3"))]].concat(), 4, &MASK);
        let second = read_from(&mut open(), Some(2)).unwrap();
        assert_eq!((second.velocity_kms, second.raw_error[2], second.raw_error[4]), (-3.0, f64::INFINITY, 4.0));
    }

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
