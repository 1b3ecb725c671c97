//! apStar files as DR17 has them: eleven HDUs, coadd and visits in the rest frame, a header that tells each visit.

use std::f64::consts::LN_2;
use std::path::Path;

use super::aspcap::Entry;
use super::calendar;
use super::coadd::Coadd;
use super::detector::{KMS_PER_PIXEL, Windows};
use super::plan::Star;
use super::random::Random;
use super::sky::galactic;
use super::visit::Visit;
use crate::data::fits::{Column, Element, FitsWriter, write_in_place};
use crate::error::Result;
use crate::spectra::grid::APOGEE_N_PIXELS;

/// What headers write for a number nobody has.
const MISSING: f64 = -9999.990234375;
/// What catalogues quote as the error of a magnitude [mag].
pub(super) const MAGNITUDE_ERROR: f64 = 0.022;
/// Lags of the cross-correlation functions.
const N_LAGS: usize = 243;

/// Velocities of a star as the pipeline found them [km/s].
pub(super) struct Velocities {
    /// Barycentric, of each visit.
    pub visits: Vec<f64>,
    /// Their mean, weighted by S/N.
    pub mean: f64,
    /// Their standard deviation; 0 for a single visit.
    pub scatter: f64,
    /// Formal error of the mean.
    pub error: f64,
    /// What is left in the coadd.
    pub residual: f64,
}

/// All that one file tells.
pub(super) struct Content<'a> {
    pub star: &'a Star,
    pub colours: [f64; 3],
    pub entry: &'a Entry,
    pub velocities: &'a Velocities,
    pub coadd: &'a Coadd,
    pub visits: &'a [Visit],
    /// APOGEE_STARFLAG of each visit, and of all with OR and with AND.
    pub flags: &'a [i64],
    pub starflag: i64,
    pub andflag: i64,
}

/// Writes one file; its folder must be there.
///
/// # Errors
/// [`crate::error::Error::Fits`].
pub(super) fn write(path: &Path, content: &Content, random: &mut Random) -> Result<()> {
    write_in_place(path, |fits| {
        primary_header(fits, content)?;
        let Content { coadd, visits, .. } = content;
        let n = APOGEE_N_PIXELS;
        let nothing = vec![0.0; n];
        let no_bits = vec![0_i64; n];
        let flux_unit = "Flux (10^-17 erg/s/cm^2/Ang)";
        image(fits, flux_unit, &[&coadd.flux, &coadd.global_flux], visits, |visit| &visit.flux)?;
        image(fits, "Err (10^-17 erg/s/cm^2/Ang)", &[&coadd.error, &coadd.global_error], visits, |visit| &visit.error)?;
        image(fits, "Pixel bitmask", &[&coadd.mask, &no_bits], visits, |visit| &visit.mask)?;
        let empty = [nothing.as_slice(), nothing.as_slice()];
        image(fits, "Sky (10^-17 erg/s/cm^2/Ang)", &empty, visits, |visit| &visit.sky)?;
        image(fits, "Sky error (10^-17 erg/s/cm^2/Ang)", &empty, visits, |visit| &visit.sky_error)?;
        image(fits, "Telluric", &empty, visits, |visit| &visit.transmission)?;
        image(fits, "Telluric error", &empty, visits, |visit| &visit.transmission_error)?;
        fits.image::<f64>("", &[], &[])?;
        fits.table("", &visit_table(content, visit_file, random))?;
        fits.table("", &coadd_table(content, random))
    })
}

/// Coadds and, where there are several, visits below each other.
fn image<'a, T>(
    fits: &mut FitsWriter,
    unit: &str,
    coadds: &[&[T]; 2],
    visits: &'a [Visit],
    rows: impl Fn(&'a Visit) -> &'a Vec<T>,
) -> Result<()>
where
    T: Element + 'a,
{
    let below = if visits.len() > 1 { visits } else { &[] };
    let mut values = coadds.concat();
    below.iter().for_each(|visit| values.extend_from_slice(rows(visit)));
    fits.image("", &values, &[2 + below.len(), APOGEE_N_PIXELS])?;
    fits.append_key("CRVAL1", 4.179, "")?;
    fits.append_key("CDELT1", 6e-6, "")?;
    fits.append_key("CRPIX1", 1, "")?;
    fits.append_key("CTYPE1", "LOG-LINEAR", "")?;
    fits.append_key("BUNIT", unit, "")
}

fn primary_header(fits: &mut FitsWriter, content: &Content) -> Result<()> {
    let Content { star, colours: [j, h, k], entry, velocities, coadd, visits, .. } = content;
    let (longitude, latitude) = galactic(star.ra, star.dec);
    let known = |value: f64| if value.is_finite() { value } else { MISSING };
    fits.append_key("CRVAL1", 4.179, "log10 of the first vacuum wavelength [A]")?;
    fits.append_key("CDELT1", 6e-6, "step of log10 wavelength")?;
    fits.append_key("CRPIX1", 1, "pixel of the first wavelength")?;
    fits.append_key("CTYPE1", "LOG-LINEAR", "wavelength scale of the images")?;
    fits.append_key("DC-FLAG", 1, "wavelength scale is logarithmic")?;
    fits.append_key("NWAVE", APOGEE_N_PIXELS as i64, "pixels of a spectrum")?;
    fits.append_key("FIELD", star.field.name, "field")?;
    fits.append_key("OBJID", star.id.as_str(), "star")?;
    fits.append_key("SNR", coadd.snr, "median flux/error of the coadd")?;
    fits.append_key("SNREV", coadd.snr_green, "median flux/error, green chip")?;
    fits.append_key("RA", star.ra, "right ascension [deg, J2000]")?;
    fits.append_key("DEC", star.dec, "declination [deg, J2000]")?;
    fits.append_key("GLON", longitude, "galactic longitude [deg]")?;
    fits.append_key("GLAT", latitude, "galactic latitude [deg]")?;
    for (band, magnitude) in [("J", j), ("H", h), ("K", k)] {
        fits.append_key(band, *magnitude, "magnitude")?;
        fits.append_key(&format!("{band}_ERR"), MAGNITUDE_ERROR, "uncertainty of the magnitude")?;
    }
    fits.append_key("SRC_H", "MOCK", "source of the H magnitude")?;
    fits.append_key("AKTARG", star.extinction_k, "extinction in K [mag]")?;
    fits.append_key("AKMETHOD", "MOCK", "source of the extinction")?;
    for key in ["APTARG1", "APTARG2", "AP2TARG1", "AP2TARG2", "AP2TARG3", "AP2TARG4"] {
        fits.append_key(key, 0, "targeting flags")?;
    }
    fits.append_key("NVISITS", visits.len() as i64, "visits combined")?;
    fits.append_key("STARFLAG", content.starflag, "flags of any visit")?;
    fits.append_key("ANDFLAG", content.andflag, "flags of every visit")?;
    fits.append_key("N_COMP", 1 + i64::from(star.companion.is_some()), "components in the correlation function")?;
    fits.append_key("VHELIO", velocities.mean, "mean barycentric velocity [km/s]")?;
    fits.append_key("VSCATTER", velocities.scatter, "scatter of the visits' velocities [km/s]")?;
    fits.append_key("VERR", velocities.error, "error of VHELIO [km/s]")?;
    fits.append_key("VERR_MED", velocities.error * (visits.len() as f64).sqrt(), "median error of a visit [km/s]")?;
    fits.append_key("RV_TEFF", known(entry.teff.value), "template: Teff [K]")?;
    fits.append_key("RV_LOGG", known(entry.logg.value), "template: log g")?;
    fits.append_key("RV_FEH", known(entry.m_h.value), "template: metallicity")?;
    fits.append_key("RV_CHI2", 4.0 + (coadd.snr / 100.0).powi(2), "chi^2 of the velocity fit")?;
    fits.append_key("CCFWHM", 18.0, "FWHM of the correlation function [km/s]")?;
    fits.append_key("AUTOFWHM", 17.0, "FWHM of the template's own [km/s]")?;
    let fibres: Vec<f64> = star.visits.iter().map(|visit| visit.fibre as f64).collect();
    fits.append_key("MEANFIB", crate::stats::robust::mean(&fibres), "mean fibre number")?;
    fits.append_key("SIGFIB", crate::stats::robust::standard_deviation(&fibres), "scatter of the fibre number")?;
    fits.append_key("NRES", " 5.00 4.25 3.50", "pixels per resolution element")?;
    for (what, chips) in [("", &coadd.union), ("OVER", &coadd.common)] {
        chip_keys(fits, what, chips)?;
    }
    for (n, (plan, visit)) in star.visits.iter().zip(*visits).enumerate() {
        let n = n + 1;
        let velocity = velocities.visits[n - 1];
        fits.comment(&format!("VISIT {n} INFORMATION"))?;
        fits.append_key(&format!("SFILE{n}"), visit_file(star, n - 1).as_str(), "spectrum of this visit")?;
        fits.append_key(&format!("DATE{n}"), calendar::date(plan.jd).as_str(), "DATE-OBS")?;
        fits.append_key(&format!("JD{n}"), plan.jd, "Julian date")?;
        fits.append_key(&format!("FIBER{n}"), plan.fibre as i64, "fibre")?;
        fits.append_key(&format!("BC{n}"), plan.barycentric_kms, "barycentric correction [km/s]")?;
        fits.append_key(&format!("VRAD{n}"), velocity - plan.barycentric_kms, "velocity [km/s]")?;
        fits.append_key(&format!("VERR{n}"), plan.velocity_error_kms, "its error [km/s]")?;
        fits.append_key(&format!("VHELIO{n}"), velocity, "barycentric velocity [km/s]")?;
        // The pipeline never fills this in where there is only one visit.
        let snr = if visits.len() > 1 { visit.snr } else { 0.0 };
        fits.append_key(&format!("SNRVIS{n}"), snr, "median flux/error")?;
        fits.append_key(&format!("FLAG{n}"), content.flags[n - 1], "STARFLAG of this visit")?;
    }
    fits.history("Mock spectrum of a star that does not exist, made by maury")?;
    for (hdu, what) in HDUS.iter().enumerate() {
        fits.history(&format!("HDU{hdu} : {what}"))?;
    }
    Ok(())
}

const HDUS: [&str; 11] = [
    "header",
    "flux",
    "flux uncertainty",
    "pixel bitmask",
    "sky",
    "sky uncertainty",
    "telluric",
    "telluric uncertainty",
    "LSF table",
    "RV table",
    "RV table for combined spectrum",
];

fn chip_keys(fits: &mut FitsWriter, what: &str, chips: &Windows) -> Result<()> {
    for (letter, window) in ["R", "G", "B"].into_iter().zip(chips.iter().rev()) {
        let frames = if what.is_empty() { "in any visit" } else { "in all visits" };
        fits.append_key(
            &format!("{letter}{what}MIN"),
            window.start as i64,
            &format!("first pixel of the chip {frames}"),
        )?;
        fits.append_key(
            &format!("{letter}{what}MAX"),
            window.end as i64 - 1,
            &format!("last pixel of the chip {frames}"),
        )?;
    }
    Ok(())
}

fn visit_file(star: &Star, visit: usize) -> String {
    let plan = &star.visits[visit];
    format!("apVisit-dr17-{}-{}-{:03}.fits", plan.plate, calendar::mjd(plan.jd), plan.fibre)
}

/// One row of a velocity table.
struct RvRow {
    filename: String,
    jd: f64,
    snr: f64,
    velocity: f64,
    barycentric: f64,
    error: f64,
}

/// The velocities of the visits, whose files are called by `visit_file`.
pub(super) fn visit_table(
    content: &Content,
    visit_file: impl Fn(&Star, usize) -> String,
    random: &mut Random,
) -> Vec<Column> {
    let Content { star, velocities, visits, .. } = content;
    let rows: Vec<RvRow> = (0..visits.len())
        .map(|n| RvRow {
            filename: visit_file(star, n),
            jd: star.visits[n].jd,
            snr: visits[n].snr,
            velocity: velocities.visits[n],
            barycentric: star.visits[n].barycentric_kms,
            error: star.visits[n].velocity_error_kms,
        })
        .collect();
    rv_table(&rows, content.entry, random)
}

fn coadd_table(content: &Content, random: &mut Random) -> Vec<Column> {
    let Content { velocities, coadd, .. } = content;
    let row = RvRow {
        filename: String::new(),
        jd: f64::NAN,
        snr: coadd.snr,
        velocity: velocities.residual + velocities.error * random.normal(),
        barycentric: 0.0,
        error: velocities.error,
    };
    rv_table(&[row], content.entry, random)
}

fn rv_table(rows: &[RvRow], entry: &Entry, random: &mut Random) -> Vec<Column> {
    let column = |name: &str, value: &dyn Fn(&RvRow) -> f64| Column::f64(name, "", rows.iter().map(value).collect());
    let width = 18.0 / (8.0 * LN_2).sqrt();
    let lag = |n: usize| (n as f64 - (N_LAGS / 2) as f64) * KMS_PER_PIXEL;
    let relative = |row: &RvRow| row.velocity - row.barycentric;
    let peak = |n: usize, width: f64| (-0.5 * (lag(n) / width).powi(2)).exp();
    let each = |value: &mut dyn FnMut(&RvRow, usize) -> f64| {
        rows.iter().flat_map(|row| (0..N_LAGS).map(move |n| (row, n))).map(|(row, n)| value(row, n)).collect()
    };
    let lags = each(&mut |row, n| relative(row) + lag(n));
    let noise = |row: &RvRow| 0.3 / row.snr.max(1.0);
    let correlation = each(&mut |row, n| 0.9 * peak(n, width) + noise(row) * random.normal());
    let errors = each(&mut |row, _| noise(row));
    let template = each(&mut |_, n| peak(n, width * 17.0 / 18.0));
    vec![
        Column::fixed_text("filename", 72, rows.iter().map(|row| row.filename.clone()).collect()),
        column("jd", &|row| row.jd),
        column("snr", &|row| row.snr),
        column("vhelio", &|row| row.velocity),
        column("vrel", &relative),
        column("vrelerr", &|row| row.error),
        column("teff", &|_| entry.teff.value),
        column("tefferr", &|_| entry.teff.error),
        column("logg", &|_| entry.logg.value),
        column("loggerr", &|_| entry.logg.error),
        column("feh", &|_| entry.m_h.value),
        column("feherr", &|_| entry.m_h.error),
        column("chisq", &|row| 1.0 + (row.snr / 100.0).powi(2)),
        column("bc", &|row| row.barycentric),
        Column::vectors("x_ccf", N_LAGS, lags),
        Column::vectors("ccf", N_LAGS, correlation),
        Column::vectors("ccferr", N_LAGS, errors),
        column("xcorr_vrel", &relative),
        column("xcorr_vrelerr", &|row| row.error),
        column("xcorr_vhelio", &|row| row.velocity),
        column("ccpfwhm", &|_| 18.0),
        column("autofwhm", &|_| 17.0),
        Column::vectors("autoccf", N_LAGS, template),
    ]
}
