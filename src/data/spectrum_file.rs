//! Spectra from files of any of the survey's formats, told by what is in them: the one door for whoever wants a spectrum.
//!
//! | format | what is read |
//! |---|---|
//! | apStar, asStar (all releases, SDSS-V) | the coadd, or `visit 1`, ... |
//! | mwmStar (DR19 and later) | the coadd of APOGEE; where both observatories have one, that of the higher signal-to-noise ratio |
//! | mwmVisit | `visit 1`, ... |
//! | aspcapStar (DR17 and before) | the normalized spectrum |
//!
//! Others are refused by name: apVisit, astraStar, catalogues.

use std::path::Path;

use super::fits::FitsReader;
pub use super::raw_spectrum::{Format, RawSpectrum};
use super::raw_spectrum::{KEY_LETTERS, MOST_BYTES};
pub use super::spectrum_part::{Observatory, Part, expect_part, name_of, split_part};
use super::value::Value;
use super::{apstar, aspcapstar, mwm};
use crate::error::{Error, Result};

/// Formats that are alike in how their parts are named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    ApStar,
    AspcapStar,
    Mwm,
}

/// Reads one spectrum of a file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Fits`] for a truncated or foreign file; [`Error::Format`] for a part that is not there, and for a
/// file that holds no spectrum of these formats, with what it is and what to give instead.
pub fn read(path: &Path, part: &Part) -> Result<RawSpectrum> {
    read_from(&mut FitsReader::open_within(path, MOST_BYTES)?, part)
}

/// Reads one spectrum of a file, and what the file says of it under some names: a value for each.
///
/// A name is that of a column, in any case, of the table that tells of the spectrum (mwmStar, mwmVisit, aspcapStar), or else of
/// a key of the primary header, of which FITS knows but the first eight letters. `v_rad` is the velocity that was taken out, whatever
/// the file calls it.
///
/// What is said of a visit is the visit's: its velocity, its night as `mjd`, `min_mjd` and `max_mjd`, one as the number of visits, of
/// an apStar's header `JD2` as `jd` of visit 2. What the file says of all its visits together is missing.
///
/// # Errors
/// As [`read`]; a value that is not there is [`Value::Missing`].
pub fn read_with(path: &Path, part: &Part, names: &[String]) -> Result<(RawSpectrum, Vec<Value>)> {
    let mut fits = FitsReader::open_within(path, MOST_BYTES)?;
    let spectrum = read_from(&mut fits, part)?;
    let columns = match spectrum.row {
        Some((hdu, _)) if !names.is_empty() => fits.table_layout(hdu)?.1,
        _ => Vec::new(),
    };
    let value = |name: &String| {
        if let Some(value) = of_spectrum(&spectrum, part, name) {
            return value;
        }
        let column = columns.iter().find(|column| column.eq_ignore_ascii_case(name));
        if let (Some((hdu, row)), Some(column)) = (spectrum.row, column)
            && let Ok(mut values) = fits.values(hdu, column, row..row + 1)
            && let Some(value) = values.pop().filter(|value| !value.is_missing())
        {
            return value;
        }
        let key: String = name.to_uppercase().chars().take(KEY_LETTERS).collect();
        match part.visit {
            Some(visit) if spectrum.row.is_none() => apstar::value_of_visit(&mut fits, visit, &key),
            _ => fits.key_value(0, &key),
        }
    };
    let values = names.iter().map(value).collect();
    Ok((spectrum, values))
}

/// What is known under a name from the spectrum itself, in whichever format it came.
fn of_spectrum(spectrum: &RawSpectrum, part: &Part, name: &str) -> Option<Value> {
    let of_visit = |value: Value| part.visit.map(|_| value);
    match name.to_ascii_lowercase().as_str() {
        "v_rad" => Some(Value::number(spectrum.velocity_kms)),
        "n_visits" | "nvisits" => of_visit(Value::Integer(1)),
        "mjd" | "min_mjd" | "max_mjd" => of_visit(spectrum.mjd.map_or(Value::Missing, Value::Integer)),
        _ => None,
    }
}

fn read_from(fits: &mut FitsReader, part: &Part) -> Result<RawSpectrum> {
    let path = &fits.path().to_path_buf();
    match family(fits)? {
        Family::Mwm => mwm::read_from(fits, part),
        Family::ApStar => {
            refuse_observatory(path, part)?;
            apstar::read_from(fits, part.visit)
        }
        Family::AspcapStar => {
            refuse_observatory(path, part)?;
            if part.visit.is_some() {
                return Err(without_visits(path));
            }
            aspcapstar::read_from(fits)
        }
    }
}

/// The visits in a file, one part for each, by its headers.
///
/// # Errors
/// As [`read`]; [`Error::Format`] for a file that holds coadds alone.
pub fn visits(path: &Path) -> Result<Vec<Part>> {
    let mut fits = FitsReader::open_within(path, MOST_BYTES)?;
    match family(&mut fits)? {
        Family::Mwm => mwm::visits(&mut fits),
        Family::ApStar => Ok((1..=apstar::n_visits(&mut fits)?).map(|visit| Part::visit(None, visit)).collect()),
        Family::AspcapStar => Err(without_visits(path)),
    }
}

/// The observatories of which a file of Astra has a spectrum; `None` for files of other formats.
///
/// # Errors
/// As [`read`].
pub fn observatories(path: &Path) -> Result<Option<Vec<Observatory>>> {
    let mut fits = FitsReader::open_within(path, MOST_BYTES)?;
    match family(&mut fits)? {
        Family::Mwm => mwm::observatories(&mut fits).map(Some),
        Family::ApStar | Family::AspcapStar => Ok(None),
    }
}

fn family(fits: &mut FitsReader) -> Result<Family> {
    if mwm::is_mwm(fits)? {
        Ok(Family::Mwm)
    } else if aspcapstar::is_aspcapstar(fits)? {
        Ok(Family::AspcapStar)
    } else if fits.n_hdus()? > 1 && fits.image_shape(1)?.is_none() {
        Err(only_a_table(fits))
    } else {
        // What has images has the layout of an apStar, or is told what is missing to it.
        Ok(Family::ApStar)
    }
}

fn only_a_table(fits: &mut FitsReader) -> Error {
    let (n_rows, columns) = match fits.table_layout(1) {
        Ok(layout) => layout,
        Err(err) => return err,
    };
    let more = if columns.len() > 4 { ", ..." } else { "" };
    let first: Vec<&str> = columns.iter().take(4).map(String::as_str).collect();
    let first = first.join(", ") + more;
    let detail = format!(
        "HDU 1 is a table of {n_rows} rows ({first}), not a spectrum; spectra are read from apStar, mwmStar, mwmVisit and aspcapStar files, and a table of stars is a catalogue (data.apstar.catalogue)"
    );
    Error::format(fits.path(), detail)
}

fn refuse_observatory(path: &Path, part: &Part) -> Result<()> {
    let Some(observatory) = part.observatory else { return Ok(()) };
    let named = name_of(path, &Part { observatory: None, ..part.clone() });
    let detail = format!("only mwmStar and mwmVisit files have a part {observatory}, and this is none; name {named}");
    Err(Error::format(path, detail))
}

fn without_visits(path: &Path) -> Error {
    Error::format(path, "an aspcapStar holds the normalized coadd, no single visits; give the star's apStar file")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::data::fits::{self, Column, FitsWriter, KeyValue};
    use crate::data::spectrum_examples::{N_PIXELS, apstar, coadds, flux_of_row, mwm, visits as visit_rows};

    const OF_LCO: Part = Part { observatory: Some(Observatory::Lco), visit: None };

    fn refused(path: &Path, part: &Part, said: &[&str]) {
        let message = read(path, part).unwrap_err().to_string();
        assert!(message.starts_with(&path.display().to_string()), "{message}");
        for words in said {
            assert!(message.contains(words), "`{words}` not said in: {message}");
        }
    }

    /// Three images and a table, as an aspcapStar has them.
    fn aspcapstar(path: &Path, n_errors: usize, columns: &[Column]) {
        let flux = [0.0, 0.9, 1.0, 1.1, 1.0, 1.0, 1.0, 0.0];
        fits::write(path, |fits| {
            fits.image("", &flux, &[N_PIXELS])?;
            for (key, value) in [("CRVAL1", 4.179), ("CDELT1", 6e-6), ("CRPIX1", 1.0)] {
                fits.append_key(key, value, "")?;
            }
            fits.image("", &vec![0.01_f32; n_errors], &[n_errors])?;
            fits.image("", &flux, &[N_PIXELS])?;
            fits.table("", columns)
        })
        .unwrap();
    }

    #[test]
    fn formats_are_told_by_content_whatever_a_file_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("apVisit-mwmVisit-astraStar.fits");
        apstar(&path, &[], 4, &[0; N_PIXELS]);
        assert_eq!(read(&path, &Part::visit(None, 2)).unwrap().raw_flux, flux_of_row(3));
        assert_eq!(observatories(&path).unwrap(), None);
        assert_eq!(visits(&path).unwrap(), [1, 2].map(|visit| Part::visit(None, visit)));
        mwm(&path, 0, &coadds(&[1.0]), &coadds(&[]));
        assert_eq!(read(&path, &Part::default()).unwrap().format, Format::MwmStar);
        assert_eq!(observatories(&path).unwrap(), Some(vec![Observatory::Apo]));
        mwm(&path, 1, &coadds(&[]), &coadds(&[]));
        assert_eq!(observatories(&path).unwrap(), Some(Vec::new()));
        mwm(&path, 0, &visit_rows(&[1.0]), &visit_rows(&[]));
        assert_eq!(read(&path, &visits(&path).unwrap()[0]).unwrap().format, Format::MwmVisit);
    }

    #[test]
    fn an_aspcapstar_is_a_normalized_spectrum() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("star.fits");
        let row = [
            Column::fixed_text("APOGEE_ID", 30, vec!["2M0".into()]),
            Column::fixed_text("FIELD", 20, vec!["M15".into()]),
            Column::f32("SNR", "", vec![120.0]),
            Column::f32("VHELIO_AVG", "km/s", vec![-30.0]),
            Column::i32("NVISITS", vec![3]),
        ];
        aspcapstar(&path, N_PIXELS, &row);
        let read_one = read(&path, &Part::default()).unwrap();
        assert!(read_one.is_normalized && read_one.format == Format::AspcapStar && read_one.has_objid);
        assert_eq!((read_one.id.as_str(), read_one.field.as_str(), read_one.snr), ("2M0", "M15", 120.0));
        assert_eq!((read_one.velocity_kms, read_one.n_visits, read_one.pixmask), (-30.0, 3, vec![0; N_PIXELS]));
        assert_eq!((read_one.raw_flux[1], read_one.raw_error[1]), (0.9, f64::from(0.01_f32)));
        assert!(read_one.raw_error[0].is_infinite() && read_one.raw_error[7].is_infinite());
        assert_eq!(read_one.log_wavelength, Some((4.179, 6e-6)));
        let said = ["no single visits", "apStar"];
        refused(&path, &Part::visit(None, 1), &said);
        assert!(visits(&path).unwrap_err().to_string().contains(said[0]));
        refused(&path, &OF_LCO, &["only mwmStar and mwmVisit files have a part APOGEE/LCO"]);
        // An apStar's door does not let it in.
        assert!(apstar::read(&path).unwrap_err().to_string().contains("aspcapStar"));
        aspcapstar(&path, N_PIXELS, &[Column::i32("OTHER", vec![1])]);
        let nameless = read(&path, &Part::default()).unwrap();
        assert_eq!((nameless.id.as_str(), nameless.has_objid, nameless.snr.is_nan()), ("star", false, true));
        aspcapstar(&path, 7, &row);
        refused(&path, &Part::default(), &["flux has 8 pixels, error has 7", "aspcapStar"]);
    }

    #[test]
    fn what_else_a_file_says_of_its_spectrum_is_read_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let values = |part: Part, names: &[&str]| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            read_with(&path, &part, &names).unwrap().1
        };
        let text = |text: &str| Value::Text(text.into());
        let keys = [
            ("RA", KeyValue::Number(297.25)),
            ("NVISITS", KeyValue::Integer(2)),
            ("TELESCOP", KeyValue::Text("apo25m")),
            ("H", KeyValue::Number(-9999.990234375)),
            ("FIELD", KeyValue::Text("0042")),
        ];
        apstar(&path, &keys, 4, &[0; N_PIXELS]);
        let found = values(Part::default(), &["ra", "nvisits", "Telescope", "h", "field", "absent", "a*", ""]);
        let nothing = Value::Missing;
        let expected = [
            Value::Number(297.25),
            Value::Integer(2),
            text("apo25m"),
            nothing.clone(),
            text("0042"),
            nothing.clone(),
            nothing.clone(),
            nothing,
        ];
        assert_eq!(found, expected);
        // Of the star no two visits need be like it.
        let keys = [
            ("RA", KeyValue::Number(297.25)),
            ("SNR", KeyValue::Number(120.0)),
            ("NVISITS", KeyValue::Integer(2)),
            ("VHELIO", KeyValue::Number(5.0)),
            ("VHELIO1", KeyValue::Number(4.5)),
            ("VRAD", KeyValue::Number(6.0)),
            ("JD1", KeyValue::Number(2_456_396.991_99)),
            // Before midnight of Greenwich, of the night of the next day.
            ("JD2", KeyValue::Number(2_456_403.48)),
        ];
        apstar(&path, &keys, 4, &[0; N_PIXELS]);
        let names = ["ra", "v_rad", "vhelio", "vrad", "n_visits", "min_mjd", "max_mjd", "snr", "jd"];
        let none = Value::Missing;
        let (ra, one) = (Value::Number(297.25), Value::Integer(1));
        let of_first = [
            ra.clone(),
            Value::Number(4.5),
            Value::Number(4.5),
            none.clone(),
            one.clone(),
            Value::Integer(56_396),
            Value::Integer(56_396),
            none.clone(),
            Value::Number(2_456_396.991_99),
        ];
        assert_eq!(values(Part::visit(None, 1), &names), of_first);
        let of_second = values(Part::visit(None, 2), &names);
        assert_eq!(of_second[..5], [ra.clone(), none.clone(), none.clone(), none.clone(), one]);
        assert_eq!(of_second[5..7], [Value::Integer(56_403), Value::Integer(56_403)]);
        let of_coadd = values(Part::default(), &names);
        assert_eq!(of_coadd[1..6], [Value::Number(5.0), Value::Number(5.0), Value::Number(6.0), none.clone(), none]);
        // The only visit is the coadd, of which the header tells.
        apstar(&path, &keys[..4], 1, &[0; N_PIXELS]);
        assert_eq!(values(Part::visit(None, 1), &["vhelio", "snr"]), [Value::Number(5.0), Value::Number(120.0)]);
        // The row of the visit that is read, then the header of the star.
        mwm(&path, 0, &visit_rows(&[1.5, 2.5]), &visit_rows(&[]));
        let found = values(Part::visit(None, 2), &["V_REL", "mjd", "obj", "sdss_id", "apogeeid", "flux"]);
        let expected = [Value::Number(2.5), Value::Integer(59_804), text("2MROW"), Value::Integer(99_990_001)];
        assert_eq!(found[..4], expected);
        assert_eq!(found[4..], [text("2MHEADER"), Value::Missing]);
        let found = values(Part::visit(None, 2), &["min_mjd", "max_mjd", "n_visits", "v_rad"]);
        assert_eq!(found[..3], [Value::Integer(59_804), Value::Integer(59_804), Value::Integer(1)]);
        assert_eq!(found[3], Value::Number(15.5));
        let row = [Column::text("APOGEE_ID", vec!["2M0".into()]), Column::f32("TEFF", "K", vec![4500.0])];
        aspcapstar(&path, N_PIXELS, &row);
        assert_eq!(values(Part::default(), &["teff", "apogee_id"]), [Value::Number(4500.0), text("2M0")]);
    }

    #[test]
    fn what_is_no_spectrum_of_these_formats_is_refused_by_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let refuse = |fill: &dyn Fn(&mut FitsWriter) -> Result<()>, said: &[&str]| {
            fits::write(&path, fill).unwrap();
            refused(&path, &Part::default(), said);
            assert!(visits(&path).is_err());
        };
        for width in [4096, 2048] {
            let (counts, mask) = (vec![1.0_f32; 3 * width], vec![0_i32; 3 * width]);
            let visit = |fits: &mut FitsWriter| {
                fits.image("", &counts, &[3, width])?;
                fits.image("", &counts, &[3, width])?;
                fits.image("", &mask, &[3, width])
            };
            refuse(&visit, &["an apVisit", "not in the star's rest frame", "give the star's apStar"]);
        }
        let floats = |fits: &mut FitsWriter| (0..7).try_for_each(|_| fits.image("", &[1.0; 16], &[2, 8]));
        refuse(&floats, &["HDU 3 holds floating-point numbers where the pixel mask should be"]);
        let ids = || Column::text("apogee_id", vec!["a".into(), "b".into()]);
        let catalogue = |fits: &mut FitsWriter| fits.table("", &[ids(), Column::i64("teff", vec![1, 2])]);
        refuse(&catalogue, &["a table of 2 rows (apogee_id, teff), not a spectrum", "data.apstar.catalogue"]);
        refuse(&|fits| fits.append_key("OBJID", "2M0", ""), &["1 HDUs, at least 4 expected", "apStar"]);
        refuse(&|fits| fits.image("", &[1.0; 8], &[8]), &["2 HDUs, at least 4 expected"]);
        // An image that claims more than there is hides what lies behind it.
        fits::write(&path, |fits| (0..3).try_for_each(|_| fits.image("", &[1.0; 16], &[2, 8]))).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let claim = |n: u64| format!("NAXIS1  = {n:>20}");
        let at = bytes.windows(30).position(|card| card == claim(8).as_bytes()).unwrap();
        bytes[at..at + 30].copy_from_slice(claim(4_000_000_000).as_bytes());
        std::fs::write(&path, bytes).unwrap();
        refused(&path, &Part::default(), &["8000000000 numbers in HDU 1, but the file is only", "bytes long"]);
        let cube = |fits: &mut FitsWriter| (0..3).try_for_each(|_| fits.image("", &[1.0; 8], &[2, 2, 2]));
        refuse(&cube, &["has axes [2, 2, 2]"]);
        std::fs::write(&path, "").unwrap();
        refused(&path, &Part::default(), &["not a readable FITS file"]);
        std::fs::write(&path, "id,teff\n").unwrap();
        refused(&path, &Part::default(), &["not a readable FITS file"]);
        assert!(read(&folder.path().join("absent.fits"), &Part::default()).is_err());
        apstar(&path, &[("OBJID", KeyValue::Text("2M0"))], 4, &[0; N_PIXELS]);
        let of_lco = Part::visit(Some(Observatory::Lco), 2);
        refused(&path, &of_lco, &["only mwmStar and mwmVisit files have a part APOGEE/LCO", "a.fits[visit 2]"]);
        refused(&path, &Part::visit(None, 3), &["there is no visit 3: the file holds 2 visits"]);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error_not_a_crash() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, cut) = (folder.path().join("whole.fits"), folder.path().join("cut.fits"));
        let check = || {
            let bytes = std::fs::read(&whole).unwrap();
            let part = if visits(&whole).is_ok() { Part::visit(None, 1) } else { Part::default() };
            assert!(read(&whole, &part).is_ok());
            for length in (0..bytes.len()).step_by(2880) {
                std::fs::write(&cut, &bytes[..length]).unwrap();
                assert!(read(&cut, &part).is_err() && visits(&cut).is_err(), "{length} of {} bytes", bytes.len());
            }
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(&bytes).unwrap();
            let packed = packed.finish().unwrap();
            std::fs::write(&cut, &packed).unwrap();
            assert_eq!(read(&cut, &part).unwrap().raw_error, read(&whole, &part).unwrap().raw_error);
            for length in [2, 20, packed.len() / 3, packed.len() / 2] {
                std::fs::write(&cut, &packed[..length]).unwrap();
                assert!(read(&cut, &part).is_err(), "{length} of {} packed bytes", packed.len());
            }
        };
        mwm(&whole, 0, &coadds(&[1.0]), &coadds(&[]));
        check();
        mwm(&whole, 0, &visit_rows(&[1.0, 2.0]), &visit_rows(&[]));
        check();
        aspcapstar(&whole, N_PIXELS, &[Column::text("APOGEE_ID", vec!["2M0".into()])]);
        check();
    }
}
