//! mwmStar and mwmVisit files of Astra (DR19 and later): a star's spectra from all instruments, one table for each.
//!
//! The tables `BOSS/APO`, `BOSS/LCO`, `APOGEE/APO` and `APOGEE/LCO` are always there; one without a spectrum has no rows, and
//! columns of no length. An mwmStar has one row for a coadd, an mwmVisit one for each visit. `flux` is that of the apStar,
//! `ivar` is 0 where there is none, `pixel_flags` are mask bits in floating-point numbers, and wavelengths follow from CRVAL,
//! CDELT and CRPIX of the table: its column of them is single precision, half a hundredth of a pixel off. Data model:
//! `mwmStar` and `mwmVisit`, DR19 and DR20.

use super::fits::FitsReader;
use super::mwm_table::Table;
use super::raw_spectrum::{Format, RawSpectrum, known_snr};
use super::spectrum_part::{Observatory, Part, name_of};
use crate::error::{Error, Result};

/// EXTNAMEs of the optical spectra.
const BOSS: [&str; 2] = ["BOSS/APO", "BOSS/LCO"];
/// HDUs in which the tables are looked for; they are the first four after the header.
const MOST_HDUS: usize = 16;

/// What a file holds.
struct Contents {
    format: Format,
    /// Tables that have a spectrum.
    tables: Vec<Table>,
}

/// Whether a file has one of the four tables.
///
/// # Errors
/// [`Error::Fits`].
pub(super) fn is_mwm(fits: &mut FitsReader) -> Result<bool> {
    let hdus = named_hdus(fits)?;
    Ok(hdus.iter().any(|name| BOSS.iter().chain(&["APOGEE/APO", "APOGEE/LCO"]).any(|known| known == name)))
}

/// Reads one spectrum: the coadd of an mwmStar, or a visit of an mwmVisit.
///
/// # Errors
/// [`Error::Fits`] for a truncated file; [`Error::Format`] for a part that is not there or has to be named, and for tables
/// that are not laid out as they should be.
pub(super) fn read_from(fits: &mut FitsReader, part: &Part) -> Result<RawSpectrum> {
    let Contents { format, tables } = contents(fits)?;
    match format {
        Format::MwmVisit => read_visit(fits, part, &tables),
        _ => read_coadd(fits, part, &tables),
    }
}

/// The visits of an mwmVisit.
///
/// # Errors
/// As [`read_from`]; [`Error::Format`] for an mwmStar, which has none.
pub(super) fn visits(fits: &mut FitsReader) -> Result<Vec<Part>> {
    let Contents { format, tables } = contents(fits)?;
    if format == Format::MwmStar {
        return Err(without_visits(fits));
    }
    Ok(tables
        .iter()
        .flat_map(|table| (1..=table.n_rows).map(|visit| Part::visit(Some(table.observatory), visit)))
        .collect())
}

/// EXTNAME of each HDU, empty where it has none.
fn named_hdus(fits: &mut FitsReader) -> Result<Vec<String>> {
    let n_hdus = fits.n_hdus()?.min(MOST_HDUS);
    Ok((0..n_hdus).map(|hdu| fits.key_text(hdu, "EXTNAME").unwrap_or_default()).collect())
}

/// The observatories of which a file has a spectrum.
///
/// # Errors
/// As [`read_from`].
pub(super) fn observatories(fits: &mut FitsReader) -> Result<Vec<Observatory>> {
    let names = named_hdus(fits)?;
    let tables = all_tables(fits, &names)?;
    Ok(tables.iter().filter(|table| table.n_rows > 0).map(|table| table.observatory).collect())
}

/// The tables of APOGEE, with or without rows.
fn all_tables(fits: &mut FitsReader, names: &[String]) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    for observatory in Observatory::ALL {
        let Some(hdu) = names.iter().position(|name| name == observatory.hdu_name()) else {
            let detail = format!(
                "no HDU {observatory}, though an mwmStar or mwmVisit always has one, with or without rows; is the file truncated?"
            );
            return Err(Error::format(fits.path(), detail));
        };
        // Rows first: of a table without any, not even the columns mean something.
        let (n_rows, columns) = fits.table_layout(hdu)?;
        tables.push(Table { observatory, hdu, n_rows, columns });
    }
    Ok(tables)
}

fn contents(fits: &mut FitsReader) -> Result<Contents> {
    let names = named_hdus(fits)?;
    let mut tables = all_tables(fits, &names)?;
    let has = |name: &str| tables.iter().any(|table| table.has(name));
    if !has("flux") {
        let detail = if has("model_flux") {
            "a file of model spectra (astraStar), without the observed ones; give the star's mwmStar file".to_string()
        } else {
            let columns = tables[0].columns.iter().take(8).map(String::as_str).collect::<Vec<_>>().join(", ");
            format!("APOGEE/APO has no column flux (it has {columns}); is this an mwmStar or mwmVisit file?")
        };
        return Err(Error::format(fits.path(), detail));
    }
    let format = if has("mjd") && !has("min_mjd") { Format::MwmVisit } else { Format::MwmStar };
    tables.retain(|table| table.n_rows > 0);
    if tables.is_empty() {
        return Err(without_apogee(fits, format, &names));
    }
    Ok(Contents { format, tables })
}

fn without_apogee(fits: &mut FitsReader, format: Format, names: &[String]) -> Error {
    let mut n_optical = 0;
    for hdu in (0..names.len()).filter(|hdu| BOSS.contains(&names[*hdu].as_str())) {
        n_optical += fits.table_layout(hdu).map_or(0, |(n_rows, _)| n_rows);
    }
    let detail = if n_optical > 0 {
        format!(
            "this {format} has only spectra of BOSS, in the visible light ({n_optical}), and models here are of APOGEE's; files of DR20 have none of these: where APOGEE observed the star, take its file of DR19 (version 0.6.0)"
        )
    } else {
        format!(
            "this {format} has no spectrum at all, its tables have no rows; files of DR20 have none of APOGEE's: take the star's file of DR19 (version 0.6.0)"
        )
    };
    Error::format(fits.path(), detail)
}

fn without_visits(fits: &FitsReader) -> Error {
    let detail = "an mwmStar holds coadds, no single visits; give the star's mwmVisit or apStar file";
    Error::format(fits.path(), detail)
}

/// The table of the observatory that is asked for.
fn table_of<'a>(fits: &FitsReader, observatory: Observatory, tables: &'a [Table]) -> Result<&'a Table> {
    tables.iter().find(|table| table.observatory == observatory).ok_or_else(|| {
        let there: Vec<&str> = tables.iter().map(|table| table.observatory.hdu_name()).collect();
        let there = there.join(" and ");
        Error::format(fits.path(), format!("there is no spectrum of {observatory}, the file has those of {there}"))
    })
}

fn read_coadd(fits: &mut FitsReader, part: &Part, tables: &[Table]) -> Result<RawSpectrum> {
    if part.visit.is_some() {
        return Err(without_visits(fits));
    }
    for Table { observatory, n_rows, .. } in tables {
        if *n_rows > 1 {
            let detail =
                format!("{observatory} has {n_rows} rows where an mwmStar has one coadd; is this an mwmStar file?");
            return Err(Error::format(fits.path(), detail));
        }
    }
    let mut snrs = Vec::new();
    for table in tables {
        snrs.push(known_snr(table.number(fits, "snr", 0)?));
    }
    let (table, warning) = match (part.observatory, tables) {
        (Some(observatory), tables) => (table_of(fits, observatory, tables)?, None),
        (None, [apo, lco]) => {
            // What is not a number loses, and the first wins where both are none.
            let (read, other) =
                if snrs[1] > snrs[0] || snrs[0].is_nan() && !snrs[1].is_nan() { (lco, apo) } else { (apo, lco) };
            let named = name_of(fits.path(), &Part { observatory: Some(other.observatory), visit: None });
            let warning = format!(
                "{} holds a spectrum of {} (S/N {:.0}) and one of {} (S/N {:.0}); {} is read, the other is {named}",
                name_of(fits.path(), &Part::default()),
                apo.observatory,
                snrs[0],
                lco.observatory,
                snrs[1],
                read.observatory
            );
            (read, Some(warning))
        }
        (None, tables) => (&tables[0], None),
    };
    let n_visits = table.number(fits, "n_visits", 0)?.max(0.0) as usize;
    Ok(RawSpectrum { n_visits, warning, ..table.spectrum(fits, 0, Format::MwmStar)? })
}

fn read_visit(fits: &mut FitsReader, part: &Part, tables: &[Table]) -> Result<RawSpectrum> {
    let Some(visit) = part.visit else {
        let held: Vec<String> =
            tables.iter().map(|table| format!("{} of {}", table.n_rows, table.observatory)).collect();
        let n_visits: usize = tables.iter().map(|table| table.n_rows).sum();
        if let Some(observatory) = part.observatory {
            table_of(fits, observatory, tables)?;
        }
        let first = name_of(fits.path(), &Part::visit(Some(part.observatory.unwrap_or(tables[0].observatory)), 1));
        let detail = format!(
            "an mwmVisit, which holds {n_visits} single visits ({}) and no coadd; ask for them with --visits, or name one: {first}",
            held.join(", ")
        );
        return Err(Error::format(fits.path(), detail));
    };
    let table = match (part.observatory, tables) {
        (Some(observatory), tables) => table_of(fits, observatory, tables)?,
        (None, [table]) => table,
        (None, _) => {
            let named = Observatory::ALL.map(|of| name_of(fits.path(), &Part::visit(Some(of), visit)));
            let detail = format!("visit {visit} of which observatory? Name {}", named.join(" or "));
            return Err(Error::format(fits.path(), detail));
        }
    };
    let Some(row) = visit.checked_sub(1).filter(|row| *row < table.n_rows) else {
        let detail = format!(
            "there is no visit {visit} of {}: the file holds {}, counted from 1",
            table.observatory, table.n_rows
        );
        return Err(Error::format(fits.path(), detail));
    };
    let doubt = if table.has("in_stack") {
        let is_in_stack = fits.logicals(table.hdu, "in_stack", row..row + 1)? == [Some(true)];
        (!is_in_stack).then_some("is not part of the star's coadd (in_stack)")
    } else {
        let velocities = [table.number(fits, "v_rel", row)?, table.number(fits, "v_rad", row)?];
        velocities.iter().any(|velocity| velocity.is_nan()).then_some("has no radial velocity (v_rel, v_rad)")
    };
    let warning = doubt.map(|doubt| {
        let named = name_of(fits.path(), &Part::visit(Some(table.observatory), visit));
        format!("{named} {doubt}: such visits are not shifted to the star's rest frame, and labels of it may be wrong")
    });
    let field = table.text(fits, "field", row)?;
    let mjd = Some(table.number(fits, "mjd", row)?).filter(|mjd| *mjd > 0.0).map(|mjd| mjd as i64);
    Ok(RawSpectrum { n_visits: 1, mjd, field, warning, ..table.spectrum(fits, row, Format::MwmVisit)? })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::fits::Column;
    use crate::data::spectrum_examples::{
        N_PIXELS, coadds, flux_of_row, letters, make_logical, mwm, set_card, visits as visit_rows, with, without,
    };

    const APO: Part = Part { observatory: Some(Observatory::Apo), visit: None };
    const LCO: Part = Part { observatory: Some(Observatory::Lco), visit: None };

    fn open(path: &Path) -> FitsReader {
        FitsReader::open(path).unwrap()
    }

    fn refused(path: &Path, part: &Part, said: &[&str]) {
        let message = read_from(&mut open(path), part).unwrap_err().to_string();
        for words in said {
            assert!(message.contains(words), "`{words}` not said in: {message}");
        }
    }

    #[test]
    fn a_coadd_is_read_from_its_row_and_the_keys_of_its_table() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        mwm(&path, 1, &coadds(&[120.0]), &coadds(&[]));
        let read = read_from(&mut open(&path), &Part::default()).unwrap();
        assert_eq!((read.id.as_str(), read.has_objid, read.snr, read.velocity_kms), ("2MROW", true, 120.0, 15.5));
        assert_eq!((read.n_visits, read.format, read.is_normalized), (3, Format::MwmStar, false));
        assert_eq!((read.raw_flux.len(), &read.raw_flux[..7]), (N_PIXELS, &flux_of_row(0)[..7]));
        assert!(read.raw_flux[7].is_nan() && read.warning.is_none());
        let infinite = f64::INFINITY;
        assert_eq!(read.raw_error, [2.0, 2.0, infinite, infinite, 2.0, 0.5, infinite, infinite]);
        assert_eq!(read.pixmask, [0, 4096, 16384, 1, 0, 0, 0, 0]);
        let (start, step) = read.log_wavelength.unwrap();
        assert!((start - (4.179 - 2.0 * 6e-6)).abs() < 1e-12 && step == 6e-6, "{start} {step}");
        assert_eq!(read_from(&mut open(&path), &APO).unwrap().pixmask, read.pixmask);
        // Of DR17's spectra, the errors alone tell.
        let dr17 = with(coadds(&[120.0]), Column::text("release", vec!["dr17".into()]));
        mwm(&path, 0, &dr17, &coadds(&[]));
        let read = read_from(&mut open(&path), &Part::default()).unwrap();
        assert_eq!(read.raw_error, [2.0, 2.0, 2.0, 2.0, 2.0, 0.5, infinite, infinite]);
    }

    #[test]
    fn flags_are_rounded_and_undefined_ones_set_every_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let flags = vec![0.0, 4095.9999, 4096.0001, f64::NAN, 1.0, 0.0, 0.0, 0.0];
        let columns = with(coadds(&[1.0]), Column::vectors("pixel_flags", N_PIXELS, flags));
        mwm(&path, 0, &columns, &coadds(&[]));
        let read = read_from(&mut open(&path), &Part::default()).unwrap();
        assert_eq!(read.pixmask, [0, 4096, 4096, -1, 1, 0, 0, 0]);
        assert!(read.raw_error[3].is_infinite() && read.raw_error[1] == 2.0);
    }

    #[test]
    fn a_star_is_called_as_in_its_row_or_else_as_in_the_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("star.fits");
        let named = |columns: Vec<Column>| {
            mwm(&path, 0, &columns, &coadds(&[]));
            let read = read_from(&mut open(&path), &Part::default()).unwrap();
            (read.id, read.has_objid)
        };
        assert_eq!(named(coadds(&[1.0])), ("2MROW".into(), true));
        assert_eq!(named(without(coadds(&[1.0]), "obj")), ("2MHEADER".into(), true));
        let nameless = with(coadds(&[1.0]), Column::text("obj", vec![String::new()]));
        assert_eq!(named(nameless.clone()), ("2MHEADER".into(), true));
        mwm(&path, 0, &nameless, &coadds(&[]));
        let mut bytes = std::fs::read(&path).unwrap();
        let at = bytes.windows(10).position(|window| window == b"'2MHEADER'").unwrap();
        bytes[at..at + 10].copy_from_slice(b"'NaN     '");
        std::fs::write(&path, bytes).unwrap();
        let read = read_from(&mut open(&path), &Part::default()).unwrap();
        assert_eq!((read.id.as_str(), read.has_objid), ("star", false));
    }

    #[test]
    fn of_two_observatories_the_higher_snr_is_read_and_the_other_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        for (snrs, read, other) in [
            ([120.0, 80.0], 120.0, "a.fits[APOGEE/LCO]"),
            ([80.0, 120.0], 120.0, "a.fits[APOGEE/APO]"),
            ([f32::NAN, 80.0], 80.0, "a.fits[APOGEE/APO]"),
            ([80.0, -1.0], 80.0, "a.fits[APOGEE/LCO]"),
        ] {
            mwm(&path, 0, &coadds(&snrs[..1]), &coadds(&snrs[1..]));
            let spectrum = read_from(&mut open(&path), &Part::default()).unwrap();
            let warning = spectrum.warning.unwrap();
            assert!(
                spectrum.snr == read
                    && warning.ends_with(&format!("the other is {}", path.with_file_name(other).display())),
                "{warning}"
            );
        }
        mwm(&path, 0, &coadds(&[120.0]), &coadds(&[80.0]));
        for (part, snr) in [(APO, 120.0), (LCO, 80.0)] {
            let spectrum = read_from(&mut open(&path), &part).unwrap();
            assert_eq!((spectrum.snr, spectrum.warning), (snr, None));
        }
    }

    #[test]
    fn a_coadd_that_is_not_there_is_refused_in_words() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let none = coadds(&[]);
        mwm(&path, 0, &none, &none);
        refused(&path, &Part::default(), &["a.fits", "mwmStar has no spectrum at all", "DR19"]);
        mwm(&path, 2, &none, &none);
        refused(&path, &APO, &["only spectra of BOSS", "(2)", "APOGEE's", "DR19"]);
        assert!(visits(&mut open(&path)).unwrap_err().to_string().contains("only spectra of BOSS"));
        mwm(&path, 0, &coadds(&[1.0]), &none);
        refused(&path, &LCO, &["no spectrum of APOGEE/LCO, the file has those of APOGEE/APO"]);
        refused(&path, &Part::visit(None, 1), &["no single visits", "mwmVisit"]);
        assert!(visits(&mut open(&path)).unwrap_err().to_string().contains("no single visits"));
        mwm(&path, 0, &coadds(&[1.0, 2.0]), &none);
        refused(&path, &Part::default(), &["APOGEE/APO has 2 rows where an mwmStar has one"]);
    }

    #[test]
    fn tables_of_other_layouts_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        let refuse = |columns: Vec<Column>, said: &[&str]| {
            mwm(&path, 0, &columns, &without(coadds(&[]), "flux"));
            refused(&path, &Part::default(), said);
        };
        let star = || coadds(&[1.0]);
        let models = with(without(star(), "flux"), Column::vectors("model_flux", 2, vec![1.0; 2]));
        refuse(models, &["model spectra (astraStar)", "mwmStar"]);
        refuse(without(star(), "flux"), &["APOGEE/APO has no column flux (it has release, min_mjd"]);
        refuse(without(star(), "ivar"), &["no column ivar"]);
        refuse(with(star(), Column::text("flux", vec!["a".into()])), &["column flux holds no numbers"]);
        refuse(with(star(), Column::text("snr", vec!["a".into()])), &["column snr does not hold one number a row"]);
        refuse(with(star(), Column::vectors("ivar", 7, vec![1.0; 7])), &["have 8, 7 and 8 pixels"]);
        let empty = ["flux", "ivar", "pixel_flags"].map(|name| Column::vectors(name, 0, Vec::new()));
        refuse(empty.into_iter().fold(star(), with), &["have 0, 0 and 0 pixels"]);
        let long = Column::vectors("flux", 200_000, vec![1.0; 200_000]);
        refuse(with(star(), long), &["column flux claims 200000 numbers a row, at most"]);
    }

    #[test]
    fn wavelengths_that_are_no_numbers_and_claims_without_bytes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.fits");
        for (key, value, said) in [
            ("CRVAL", "NaN", "CRVAL is not a finite number"),
            ("CDELT", "'abc'", "CDELT is not a finite number"),
            ("CRPIX", "", "CRPIX is not a finite number"),
        ] {
            mwm(&path, 0, &coadds(&[1.0]), &coadds(&[]));
            set_card(&path, "APOGEE/APO", key, value);
            refused(&path, &Part::default(), &[said]);
        }
        mwm(&path, 0, &coadds(&[1.0]), &coadds(&[1.0]));
        set_card(&path, "APOGEE/LCO", "NAXIS2", "1099511627776");
        refused(&path, &APO, &["1099511627776 rows", "bytes long"]);
    }

    #[test]
    fn visits_are_rows_and_have_to_be_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.fits");
        mwm(&path, 0, &visit_rows(&[27.0, 28.0]), &visit_rows(&[]));
        let parts = visits(&mut open(&path)).unwrap();
        assert_eq!(parts, [1, 2].map(|visit| Part::visit(Some(Observatory::Apo), visit)));
        let visit = read_from(&mut open(&path), &parts[1]).unwrap();
        assert_eq!(
            (visit.format, visit.n_visits, visit.snr, visit.warning.as_ref()),
            (Format::MwmVisit, 1, 51.0, None)
        );
        assert_eq!(visit.raw_flux[..7], flux_of_row(1)[..7]);
        assert_eq!(read_from(&mut open(&path), &Part::visit(None, 2)).unwrap().snr, 51.0);
        let said = ["2 single visits (2 of APOGEE/APO)", "--visits", "v.fits[APOGEE/APO visit 1]"];
        refused(&path, &Part::default(), &said);
        refused(&path, &Part::visit(None, 3), &["no visit 3 of APOGEE/APO: the file holds 2"]);
        refused(&path, &Part::visit(Some(Observatory::Apo), 0), &["no visit 0"]);
        refused(&path, &Part::visit(Some(Observatory::Lco), 1), &["no spectrum of APOGEE/LCO"]);
        mwm(&path, 0, &visit_rows(&[27.0]), &visit_rows(&[1.0, 2.0]));
        assert_eq!(visits(&mut open(&path)).unwrap().len(), 3);
        refused(&path, &Part::visit(None, 1), &["v.fits[APOGEE/APO visit 1] or ", "v.fits[APOGEE/LCO visit 1]"]);
        assert_eq!(read_from(&mut open(&path), &Part::visit(Some(Observatory::Lco), 2)).unwrap().snr, 51.0);
    }

    #[test]
    fn visits_that_may_not_be_in_the_rest_frame_are_read_with_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("v.fits");
        let warnings = |columns: &[Column], logical: bool| {
            mwm(&path, 0, columns, &visit_rows(&[]));
            if logical {
                make_logical(&path, "APOGEE/APO", columns.len());
            }
            [1, 2, 3].map(|visit| read_from(&mut open(&path), &Part::visit(None, visit)).unwrap().warning)
        };
        let [none, missing, sentinel] = warnings(&visit_rows(&[27.0, f32::NAN, -9999.0]), false);
        assert_eq!(none, None);
        let missing = missing.unwrap();
        assert!(
            missing.contains("v.fits[APOGEE/APO visit 2] has no radial velocity") && sentinel.is_some(),
            "{missing}"
        );
        let unmeasured = with(visit_rows(&[27.0; 3]), Column::f32("v_rad", "", vec![1.0, f32::NAN, 1.0]));
        assert_eq!(warnings(&unmeasured, false).map(|warning| warning.is_some()), [false, true, false]);
        // DR20 says it itself.
        let stacked = with(visit_rows(&[f32::NAN; 3]), letters("in_stack", &["T", "F", "T"]));
        let said = warnings(&stacked, true);
        assert_eq!(said.each_ref().map(Option::is_some), [false, true, false]);
        assert!(said[1].as_ref().unwrap().contains("not part of the star's coadd"), "{said:?}");
    }
}
