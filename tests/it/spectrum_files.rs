//! Spectrum files in each of the survey's formats: those made to the layouts of SDSS-V, and real ones of DR17 and before.

use std::collections::BTreeSet;
use std::path::Path;

use maury::data::apstar;
use maury::data::spectrum_file::{Format, Observatory, Part, RawSpectrum, name_of, read, visits};
use maury::spectra::grid::WavelengthGrid;

use crate::support::{N_PIXELS, apstar_fixture, is_measured, real_data};

const ONLY: Part = Part { observatory: None, visit: None };
const APO: Part = Part { observatory: Some(Observatory::Apo), visit: None };
const LCO: Part = Part { observatory: Some(Observatory::Lco), visit: None };

/// A star with two visits, and one with one.
const TWO: &str = "2M00000001+0000001";
const ONE: &str = "2M00000102+0000102";

/// APOGEE_PIXMASK bits 0 to 7 and 14.
const BAD: i64 = 0x40FF;

fn said(path: &Path, part: &Part) -> String {
    read(path, part).unwrap_err().to_string()
}

/// Two copies of a spectrum, one of which went through single precision.
fn assert_same(one: &RawSpectrum, other: &RawSpectrum) {
    assert_eq!((one.raw_flux.len(), other.raw_flux.len()), (N_PIXELS, N_PIXELS));
    assert_eq!(one.pixmask, other.pixmask);
    let mut n_measured = 0;
    for pixel in 0..N_PIXELS {
        assert_eq!(is_measured(one, pixel), is_measured(other, pixel), "pixel {pixel}");
        if is_measured(one, pixel) {
            n_measured += 1;
            let [flux, error] = [(&one.raw_flux, &other.raw_flux), (&one.raw_error, &other.raw_error)]
                .map(|(one, other)| (one[pixel] / other[pixel] - 1.0).abs());
            assert!(flux < 1e-6 && error < 1e-6, "pixel {pixel}: {flux} {error}");
        }
    }
    assert!(n_measured > 7000, "{n_measured}");
}

fn assert_star(spectrum: &RawSpectrum, id: &str, snr: f64, format: Format) {
    assert_eq!((spectrum.id.as_str(), spectrum.has_objid, spectrum.format), (id, true, format));
    assert!((spectrum.snr / snr - 1.0).abs() < 1e-6, "{}", spectrum.snr);
    assert!((spectrum.velocity_kms - 15.5).abs() < 1e-6 && !spectrum.is_normalized);
    assert!(WavelengthGrid::is_apogee_header(spectrum.log_wavelength, spectrum.raw_flux.len()));
    for (pixel, mask) in spectrum.pixmask.iter().enumerate() {
        assert!(mask & BAD == 0 || spectrum.raw_error[pixel].is_infinite(), "pixel {pixel}: {mask}");
    }
    assert!(spectrum.pixmask.iter().any(|mask| mask & BAD != 0));
}

#[test]
fn files_of_sdss_v_are_read_alike_from_each_format_or_refused_in_words() {
    let Some(folder) = real_data("sdss_v") else { return };
    let file = |name: &str| folder.join(name);
    let apstar_two = file(&format!("apStar-1.3-apo25m-{TWO}.fits"));
    let apstar_one = file(&format!("apStar-1.3-apo25m-{ONE}.fits"));
    let (star_two, star_one) = (file("mwmStar-0.6.0-99990001.fits"), file("mwmStar-0.6.0-99990102.fits"));
    let visit_file = file("mwmVisit-0.6.0-99990001.fits");
    let models = [file("astraStarASPCAP-0.6.0-99990001.fits"), file("astraStarOther-0.6.0-99990001.fits")];
    let catalogue = file("astraAllStarASPCAP-0.6.0.fits.gz");

    let (two, one) = (read(&apstar_two, &ONLY).unwrap(), read(&apstar_one, &ONLY).unwrap());
    let (snr_two, snr_one) = (112.11573341966664, 137.48895615194027);
    assert_star(&two, TWO, snr_two, Format::ApStarSdssV);
    assert_star(&one, ONE, snr_one, Format::ApStarSdssV);
    assert_eq!((two.n_visits, one.n_visits, two.warning.as_ref()), (2, 1, None));
    assert_eq!(apstar::read(&apstar_two).unwrap().raw_error, two.raw_error);
    let n_bad = two.pixmask.iter().filter(|mask| **mask & BAD != 0).count();
    assert_eq!(two.raw_error.iter().filter(|error| error.is_infinite()).count(), n_bad);

    let coadd = read(&star_two, &ONLY).unwrap();
    assert_star(&coadd, TWO, snr_two, Format::MwmStar);
    assert_same(&coadd, &two);
    assert_eq!((coadd.n_visits, coadd.warning.as_ref()), (2, None));
    assert!(said(&star_two, &LCO).contains("no spectrum of APOGEE/LCO"), "{}", said(&star_two, &LCO));
    assert!(said(&star_two, &Part::visit(None, 1)).contains("no single visits"));
    assert!(visits(&star_two).is_err());

    // Of two observatories, the one of the higher signal-to-noise ratio. LCO's spectrum is that of the other star.
    let better = read(&star_one, &ONLY).unwrap();
    assert_star(&better, ONE, snr_one, Format::MwmStar);
    assert_same(&better, &one);
    assert!(better.warning.unwrap().contains(&name_of(&star_one, &LCO)));
    let (apo, lco) = (read(&star_one, &APO).unwrap(), read(&star_one, &LCO).unwrap());
    assert_same(&apo, &one);
    assert_star(&lco, ONE, snr_two, Format::MwmStar);
    assert_same(&lco, &two);
    assert!(apo.warning.is_none() && lco.warning.is_none());

    let parts = visits(&apstar_two).unwrap();
    assert_eq!(parts, [1, 2].map(|visit| Part::visit(None, visit)));
    let in_table = visits(&visit_file).unwrap();
    assert_eq!(in_table, [1, 2, 3].map(|visit| Part::visit(Some(Observatory::Apo), visit)));
    for (part, row) in parts.iter().zip(&in_table) {
        let (visit, same) = (read(&apstar_two, part).unwrap(), read(&visit_file, row).unwrap());
        assert_star(&visit, TWO, 80.0, Format::ApStarSdssV);
        assert_star(&same, TWO, snr_two, Format::MwmVisit);
        assert_same(&same, &visit);
        assert_eq!((visit.n_visits, same.n_visits, same.warning), (1, 1, None));
    }
    let third = read(&visit_file, &in_table[2]).unwrap();
    assert!(third.raw_flux != read(&visit_file, &in_table[1]).unwrap().raw_flux);
    assert!(said(&apstar_two, &Part::visit(None, 3)).contains("the file holds 2 visits"));
    assert!(said(&visit_file, &Part::visit(None, 4)).contains("the file holds 3"));
    let which = said(&visit_file, &ONLY);
    assert!(which.contains("3 single visits") && which.contains(&name_of(&visit_file, &in_table[0])), "{which}");
    // A star's only visit is its coadd.
    assert_eq!(visits(&apstar_one).unwrap(), [Part::visit(None, 1)]);
    let only = read(&apstar_one, &Part::visit(None, 1)).unwrap();
    assert_eq!((only.raw_error, only.snr, only.pixmask), (one.raw_error, one.snr, one.pixmask));

    for path in &models {
        assert!(said(path, &ONLY).contains("model spectra (astraStar)"), "{}", said(path, &ONLY));
    }
    let table = said(&catalogue, &ONLY);
    assert!(table.contains("a table of 0 rows (sdss_id, ") && table.contains("a catalogue"), "{table}");

    // None was left out.
    let mut known = vec![apstar_two, apstar_one, star_two, star_one, visit_file, catalogue];
    known.extend(models);
    let entries = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let there: BTreeSet<_> = entries.filter(|path| path.to_string_lossy().contains(".fits")).collect();
    assert_eq!(there, known.into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn real_spectra_of_dr17_and_before_are_read_with_their_visits() {
    let path = apstar_fixture();
    let (whole, only) = (read(&path, &ONLY).unwrap(), read(&path, &Part::visit(None, 1)).unwrap());
    assert_eq!((whole.format, whole.id.as_str()), (Format::ApStar, "2M19485057+5005279"));
    assert_eq!((visits(&path).unwrap(), &whole.pixmask), (vec![Part::visit(None, 1)], &only.pixmask));
    assert_eq!((whole.snr, whole.velocity_kms), (only.snr, only.velocity_kms));
    // DR17 has errors 1e10 times larger where the mask has a bad bit; here they stay.
    let of_bad = |pixel: &usize| whole.pixmask[*pixel] & BAD != 0 && !whole.raw_flux[*pixel].is_nan();
    let marked: Vec<f64> = (0..N_PIXELS).filter(of_bad).map(|pixel| whole.raw_error[pixel]).collect();
    assert!(marked.len() > 100 && marked.iter().all(|error| error.is_finite() && *error > 1e9), "{marked:?}");

    let Some(folder) = real_data("apstar") else { return };
    let path = folder.join("apStar-dr17-2M17335483-2753043.fits");
    let parts = visits(&path).unwrap();
    assert_eq!(parts, [1, 2, 3].map(|visit| Part::visit(None, visit)));
    let coadd = read(&path, &ONLY).unwrap();
    let spectra: Vec<RawSpectrum> = parts.iter().map(|part| read(&path, part).unwrap()).collect();
    let found = spectra.iter().map(|visit| (visit.snr, visit.velocity_kms));
    let expected = [
        (67.20211344626172, 15.91490109495737),
        (90.5624845714902, 15.64991820813497),
        (105.8963319815388, 15.56073639997587),
    ];
    assert_eq!(found.collect::<Vec<_>>(), expected);
    for visit in &spectra {
        assert_eq!((visit.id.as_str(), visit.n_visits, visit.format), (coadd.id.as_str(), 1, Format::ApStar));
        // The same star at rest, noisier; visits differ in throughput, hence each relative to its level.
        let pixels: Vec<usize> =
            (4000..6000).filter(|pixel| is_measured(visit, *pixel) && visit.raw_error[*pixel] < 1e3).collect();
        let level = |of: &RawSpectrum| pixels.iter().map(|pixel| of.raw_flux[*pixel]).sum::<f64>();
        let ratio = level(visit) / level(&coadd);
        let off = pixels.iter().map(|pixel| (visit.raw_flux[*pixel] / (ratio * coadd.raw_flux[*pixel]) - 1.0).abs());
        let off = off.sum::<f64>() / pixels.len() as f64;
        assert!(pixels.len() > 1000 && off < 0.05 && off > 1e-4, "{} pixels: {off}", pixels.len());
    }
    let mystery = folder.join("mystery_spec_wiped.fits");
    assert_eq!(visits(&mystery).unwrap(), [Part::visit(None, 1)]);
    let mystery = read(&mystery, &ONLY).unwrap();
    assert_eq!((mystery.format, mystery.id.as_str()), (Format::ApStar, "2M16333217+3942519"));
    assert!((mystery.snr - 366.0).abs() < 1.0, "{}", mystery.snr);
}
