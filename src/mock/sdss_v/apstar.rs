//! apStar files as SDSS-V's reduction 1.3 writes them: ten HDUs with names, and errors that tell nothing of bad pixels.
//!
//! After `visitcomb` of sdss/apogee_drp 1.3. It also averages in what it interpolated where one visit has lost a pixel, and scales
//! coadds to the median of the visits' continua; here both releases have the same coadd, so that they can be compared.

use std::path::Path;

use super::archive::{APRED, Identity, TELESCOPE};
use crate::data::fits::{Column, Element, FitsWriter, write_in_place};
use crate::error::Result;
use crate::mock::apstar_file::{Content, MAGNITUDE_ERROR, visit_table};
use crate::mock::calendar;
use crate::mock::plan::Star;
use crate::mock::random::Random;
use crate::mock::sky::galactic;
use crate::spectra::grid::APOGEE_N_PIXELS;
use crate::stats::robust::{mean, standard_deviation};

/// What headers write for a number nobody has.
const MISSING: &str = "NaN";
/// Width of the names of files in the table of velocities.
const FILE_NAME: usize = 300;

/// Writes one file; its folder must be there.
///
/// # Errors
/// [`crate::error::Error::Fits`].
pub(in crate::mock) fn write(path: &Path, content: &Content, identity: &Identity, random: &mut Random) -> Result<()> {
    let Content { star, coadd, visits, .. } = content;
    let n = APOGEE_N_PIXELS;
    let (nothing, no_bits) = (vec![0.0; n], vec![0_i64; n]);
    // A gap has no error, in either coadd.
    let global_error: Vec<f64> =
        coadd.global_error.iter().map(|error| if error.is_nan() { 0.0 } else { *error }).collect();
    let errors: Vec<Vec<f64>> =
        visits.iter().map(|visit| (0..n).map(|pixel| visit.unmarked_error(pixel)).collect()).collect();
    write_in_place(path, |fits| {
        primary_header(fits, content, identity)?;
        let flux: Vec<&[f64]> = visits.iter().map(|visit| visit.flux.as_slice()).collect();
        image(fits, "FLUX", "Flux (10^-17 erg/s/cm^2/Ang)", [&coadd.flux, &coadd.global_flux], &flux)?;
        let errors: Vec<&[f64]> = errors.iter().map(Vec::as_slice).collect();
        image(fits, "ERROR", "Err (10^-17 erg/s/cm^2/Ang)", [&coadd.unmarked_error, &global_error], &errors)?;
        let masks: Vec<&[i64]> = visits.iter().map(|visit| visit.mask.as_slice()).collect();
        image(fits, "MASK", "Pixel bitmask", [&coadd.mask, &no_bits], &masks)?;
        let empty = [nothing.as_slice(), nothing.as_slice()];
        let sky: Vec<&[f64]> = visits.iter().map(|visit| visit.sky.as_slice()).collect();
        image(fits, "SKY FLUX", "Sky (10^-17 erg/s/cm^2/Ang)", empty, &sky)?;
        let sky_errors: Vec<&[f64]> = visits.iter().map(|visit| visit.sky_error.as_slice()).collect();
        image(fits, "SKY ERROR", "Sky error (10^-17 erg/s/cm^2/Ang)", empty, &sky_errors)?;
        let transmission: Vec<&[f64]> = visits.iter().map(|visit| visit.transmission.as_slice()).collect();
        image(fits, "TELLURIC", "Telluric", empty, &transmission)?;
        let its_errors: Vec<&[f64]> = visits.iter().map(|visit| visit.transmission_error.as_slice()).collect();
        image(fits, "TELLURIC ERROR", "Telluric error", empty, &its_errors)?;
        fits.table("LSF TABLE", &[])?;
        let mut velocities = visit_table(content, visit_file, random);
        velocities.retain(|column| column.name != "jd");
        let names = (0..visits.len()).map(|visit| visit_file(star, visit)).collect();
        velocities[0] = Column::fixed_text("filename", FILE_NAME, names);
        fits.table("RV TABLE", &velocities)
    })
}

/// A coadd; and where there are several visits, the other coadd and the visits below it.
fn image<T: Element>(fits: &mut FitsWriter, name: &str, unit: &str, coadds: [&[T]; 2], visits: &[&[T]]) -> Result<()> {
    let mut values = coadds[0].to_vec();
    if visits.len() > 1 {
        values.extend_from_slice(coadds[1]);
        visits.iter().for_each(|visit| values.extend_from_slice(visit));
    }
    fits.image(name, &values, &[values.len() / APOGEE_N_PIXELS, APOGEE_N_PIXELS])?;
    fits.append_key("CRVAL1", 4.179, "")?;
    fits.append_key("CDELT1", 6e-6, "")?;
    fits.append_key("CRPIX1", 1, "")?;
    fits.append_key("CTYPE1", "LOG-LINEAR", "")?;
    fits.append_key("BUNIT", unit, "")
}

fn primary_header(fits: &mut FitsWriter, content: &Content, identity: &Identity) -> Result<()> {
    let Content { star, colours, entry, velocities, coadd, visits, .. } = content;
    let (longitude, latitude) = galactic(star.ra, star.dec);
    let last = star.visits.last().map_or(0, |plan| calendar::mjd(plan.jd)).to_string();
    fits.append_key("CRVAL1", 4.179, "log10 of the first vacuum wavelength [A]")?;
    fits.append_key("CDELT1", 6e-6, "step of log10 wavelength")?;
    fits.append_key("CRPIX1", 1, "pixel of the first wavelength")?;
    fits.append_key("CTYPE1", "LOG-LINEAR", "wavelength scale of the images")?;
    fits.append_key("DC-FLAG", 1, "wavelength scale is logarithmic")?;
    fits.append_key("OBJID", star.id.as_str(), "star")?;
    fits.append_key("V_APRED", "mock", "version of the reduction's code")?;
    fits.append_key("APRED", APRED, "version of the reduction")?;
    fits.append_key("STARVER", last.as_str(), "MJD of the last visit")?;
    fits.append_key("HEALPIX", identity.healpix, "HEALPix pixel, nside 128, ring order")?;
    fits.append_key("SNR", coadd.snr, "median flux/error of the coadd")?;
    fits.append_key("RA", star.ra, "right ascension [deg, J2000]")?;
    fits.append_key("DEC", star.dec, "declination [deg, J2000]")?;
    fits.append_key("GLON", longitude, "galactic longitude [deg]")?;
    fits.append_key("GLAT", latitude, "galactic latitude [deg]")?;
    for (band, magnitude) in ["J", "H", "K"].into_iter().zip(colours) {
        fits.append_key(&format!("{band}MAG"), *magnitude, "magnitude")?;
        fits.append_key(&format!("{band}ERR"), MAGNITUDE_ERROR, "uncertainty of the magnitude")?;
    }
    fits.append_key("CATID", identity.sdss_id, "number in the catalogue of targets")?;
    fits.append_key("SDSSID", identity.sdss_id, "number of the star")?;
    fits.append_key("SVTARG0", 0, "targeting flags")?;
    fits.append_key("CARTON1", "mock", "why the star was chosen")?;
    fits.append_key("GMAG", MISSING, "magnitude")?;
    fits.append_key("NVISITS", visits.len() as i64, "visits combined")?;
    fits.append_key("STARFLAG", content.starflag, "flags of any visit")?;
    fits.append_key("ANDFLAG", content.andflag, "flags of every visit")?;
    fits.append_key("N_COMP", 1 + i64::from(star.companion.is_some()), "components in the correlation function")?;
    fits.append_key("VRAD", velocities.mean, "mean barycentric velocity [km/s]")?;
    fits.append_key("VSCATTER", velocities.scatter, "scatter of the visits' velocities [km/s]")?;
    fits.append_key("VERR", velocities.error, "error of VRAD [km/s]")?;
    let template = [("RV_TEFF", entry.teff.value), ("RV_LOGG", entry.logg.value), ("RV_FEH", entry.m_h.value)];
    for (key, value) in template {
        match value.is_finite() {
            true => fits.append_key(key, value, "of the template of the velocity")?,
            false => fits.append_key(key, MISSING, "of the template of the velocity")?,
        }
    }
    let fibres: Vec<f64> = star.visits.iter().map(|visit| visit.fibre as f64).collect();
    fits.append_key("MEANFIB", mean(&fibres), "mean fibre number")?;
    fits.append_key("SIGFIB", standard_deviation(&fibres), "scatter of the fibre number")?;
    fits.append_key("NRES", " 5.00 4.25 3.50", "pixels per resolution element")?;
    for (n, (plan, visit)) in star.visits.iter().zip(*visits).enumerate() {
        let (velocity, flags) = (velocities.visits[n], content.flags[n]);
        let n = n + 1;
        fits.append_key(&format!("SFILE{n}"), visit_file(star, n - 1).as_str(), "spectrum of this visit")?;
        fits.append_key(&format!("DATE{n}"), calendar::date(plan.jd).as_str(), "DATE-OBS")?;
        fits.append_key(&format!("JD{n}"), plan.jd, "Julian date")?;
        fits.append_key(&format!("FIBER{n}"), plan.fibre as i64, "fibre")?;
        fits.append_key(&format!("BC{n}"), plan.barycentric_kms, "barycentric correction [km/s]")?;
        fits.append_key(&format!("CHISQ{n}"), 1.0 + (visit.snr / 100.0).powi(2), "chi^2 of the velocity fit")?;
        fits.append_key(&format!("VREL{n}"), velocity - plan.barycentric_kms, "velocity [km/s]")?;
        fits.append_key(&format!("VRAD{n}"), velocity, "barycentric velocity [km/s]")?;
        fits.append_key(&format!("SNRVIS{n}"), visit.snr, "median flux/error")?;
        fits.append_key(&format!("FLAG{n}"), flags, "STARFLAG of this visit")?;
    }
    fits.history("Mock spectrum of a star that does not exist, made by maury")
}

fn visit_file(star: &Star, visit: usize) -> String {
    let plan = &star.visits[visit];
    format!("apVisit-{APRED}-{TELESCOPE}-{}-{}-{:03}.fits", plan.plate, calendar::mjd(plan.jd), plan.fibre)
}
