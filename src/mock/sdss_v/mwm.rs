//! mwmStar and mwmVisit files of Astra 0.6.0: a star's coadd, and its visits, in tables of single precision.
//!
//! Flux is that of the apStar, `ivar` its error to the power of -2, or 0 where that is no number; no mask has been applied.

use std::path::Path;
use std::sync::LazyLock;

use super::archive::{APRED, CREATED, Identity, TELESCOPE, V_ASTRA};
use super::layouts;
use super::table::Known;
use crate::data::fits::{FitsWriter, write_in_place};
use crate::data::mwm_tables::{self, APOGEE};
use crate::data::spectrum_file::Observatory;
use crate::error::Result;
use crate::mock::apstar_file::Content;
use crate::mock::calendar;
use crate::spectra::grid::WavelengthGrid;
use crate::stats::robust::{mean, median, standard_deviation};

/// What headers write for a number nobody has.
const MISSING: &str = "NaN";
/// Where Astra fits a continuum; elsewhere it has none (`nmf` of Astra 0.6.0) [Angstrom, vacuum].
const FITTED: [(f64, f64); 3] = [(15126.8, 15797.7), (15852.6, 16426.0), (16469.3, 16958.2)];
/// Seconds of an exposure of eight dithers, and its reads.
const EXPOSURE_SECONDS: f64 = 4000.0;
const N_READS: i64 = 47;

static WAVELENGTH: LazyLock<Vec<f64>> = LazyLock::new(|| WavelengthGrid::apogee().wavelength);

/// Writes the file of a star's coadd; its folder must be there.
///
/// # Errors
/// [`crate::error::Error::Fits`].
pub(in crate::mock) fn write_star(path: &Path, content: &Content, identity: &Identity) -> Result<()> {
    let Content { star, velocities, coadd, .. } = *content;
    let days: Vec<i64> = star.visits.iter().map(|plan| calendar::mjd(plan.jd)).collect();
    let fibres: Vec<f64> = star.visits.iter().map(|plan| plan.fibre as f64).collect();
    let errors: Vec<f64> = star.visits.iter().map(|plan| plan.velocity_error_kms).collect();
    let n_visits = star.visits.len() as i64;
    let mut known = Known::<()>::new();
    describe(&mut known, content, identity, "apStar");
    known.integer("spectrum_pk_id", |()| identity.sdss_id);
    known.integer("min_mjd", |()| days.iter().copied().min().unwrap_or(-1));
    known.integer("max_mjd", |()| days.iter().copied().max().unwrap_or(-1));
    for name in ["n_visits", "n_good_visits", "n_good_rvs"] {
        known.integer(name, move |()| n_visits);
    }
    known.number("snr", |()| coadd.snr);
    known.number("mean_fiber", |()| mean(&fibres));
    known.number("std_fiber", |()| standard_deviation(&fibres));
    known.integer("spectrum_flags", |()| content.starflag);
    known.number("v_rad", |()| velocities.mean);
    known.number("e_v_rad", |()| velocities.error);
    known.number("std_v_rad", |()| velocities.scatter);
    known.number("median_e_v_rad", |()| median(&errors));
    known.number("xcorr_v_rad", |()| velocities.mean);
    known.pixels("wavelength", |()| single(&WAVELENGTH));
    known.pixels("flux", |()| single(&coadd.flux));
    known.pixels("ivar", |()| ivar(&coadd.unmarked_error));
    known.pixels("pixel_flags", |()| flags(&coadd.mask));
    known.pixels("continuum", |()| fitted(&coadd.continuum));
    write(path, content, identity, [&layouts::mwm_star_of_boss(), &layouts::mwm_star()], &known, &[()])
}

/// Writes the file of a star's visits; its folder must be there.
///
/// # Errors
/// [`crate::error::Error::Fits`].
pub(in crate::mock) fn write_visits(path: &Path, content: &Content, identity: &Identity) -> Result<()> {
    let Content { star, velocities, visits, .. } = *content;
    let mut known = Known::<usize>::new();
    describe(&mut known, content, identity, "apVisit");
    let plan = |visit: &usize| &star.visits[*visit];
    let number = |visit: &usize| identity.sdss_id * 100 + *visit as i64;
    for name in ["spectrum_pk_id", "visit_pk", "rv_visit_pk"] {
        known.integer(name, number);
    }
    known.integer("catalogid", |_| identity.sdss_id);
    known.integer("star_pk", |_| identity.sdss_id);
    known.text("plate", move |visit| plan(visit).plate.to_string());
    known.integer("fiber", move |visit| plan(visit).fibre as i64);
    known.integer("mjd", move |visit| calendar::mjd(plan(visit).jd));
    known.text("field", |_| star.field.name.to_string());
    known.text("prefix", |_| "ap".to_string());
    known.text("date_obs", move |visit| calendar::date(plan(visit).jd));
    known.number("jd", move |visit| plan(visit).jd);
    known.number("exptime", |_| EXPOSURE_SECONDS);
    known.logical("dithered", |_| true);
    known.number("input_ra", |_| star.ra);
    known.number("input_dec", |_| star.dec);
    known.integer("n_frames", |_| N_READS);
    for name in ["assigned", "on_target", "valid"] {
        known.integer(name, |_| 1);
    }
    known.number("snr", |visit| visits[*visit].snr);
    known.integer("spectrum_flags", |visit| content.flags[*visit]);
    known.number("v_rad", |visit| velocities.visits[*visit]);
    known.number("v_rel", move |visit| velocities.visits[*visit] - plan(visit).barycentric_kms);
    known.number("e_v_rel", move |visit| plan(visit).velocity_error_kms);
    known.number("bc", move |visit| plan(visit).barycentric_kms);
    known.number("xcorr_v_rad", |visit| velocities.visits[*visit]);
    known.pixels("flux", |visit| single(&visits[*visit].flux));
    known.pixels("ivar", |visit| {
        let visit = &visits[*visit];
        ivar(&(0..visit.flux.len()).map(|pixel| visit.unmarked_error(pixel)).collect::<Vec<f64>>())
    });
    known.pixels("pixel_flags", |visit| flags(&visits[*visit].mask));
    known.pixels("continuum", |visit| fitted(&visits[*visit].continuum));
    let rows: Vec<usize> = (0..visits.len()).collect();
    write(path, content, identity, [&layouts::mwm_visit_of_boss(), &layouts::mwm_visit()], &known, &rows)
}

/// What a row of either file says of the star.
fn describe<'a, R>(known: &mut Known<'a, R>, content: &Content<'a>, identity: &'a Identity, filetype: &'static str) {
    let Content { star, entry, .. } = *content;
    known.text("release", |_| "sdss5".to_string());
    known.text("filetype", move |_| filetype.to_string());
    known.text("v_astra", |_| V_ASTRA.to_string());
    known.integer("healpix", move |_| identity.healpix);
    known.integer("sdss_id", move |_| identity.sdss_id);
    known.text("apred", |_| APRED.to_string());
    known.text("obj", move |_| star.id.clone());
    known.text("telescope", |_| TELESCOPE.to_string());
    for (name, measured) in [("teff", entry.teff), ("logg", entry.logg), ("fe_h", entry.m_h)] {
        known.number(&format!("doppler_{name}"), move |_| measured.value);
        known.number(&format!("doppler_e_{name}"), move |_| measured.error);
    }
    known.integer("n_components", move |_| 1 + i64::from(star.companion.is_some()));
    known.number("ccfwhm", |_| 18.0);
    known.number("autofwhm", |_| 17.0);
}

fn single(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn ivar(errors: &[f64]) -> Vec<f32> {
    errors.iter().map(|error| error.powi(-2)).map(|ivar| if ivar.is_finite() { ivar as f32 } else { 0.0 }).collect()
}

fn flags(masks: &[i64]) -> Vec<f32> {
    masks.iter().map(|mask| *mask as f32).collect()
}

/// The continuum where Astra has one.
fn fitted(continuum: &[f64]) -> Vec<f32> {
    let is_fitted = |wavelength: f64| FITTED.iter().any(|(from, to)| (*from..=*to).contains(&wavelength));
    let of_pixel = |(wavelength, continuum): (&f64, &f64)| {
        if is_fitted(*wavelength) && *continuum > 0.0 { *continuum as f32 } else { f32::NAN }
    };
    WAVELENGTH.iter().zip(continuum).map(of_pixel).collect()
}

/// The file: a header, and a table of each instrument at each site, of which only that of APOGEE at APO has rows.
fn write<R>(
    path: &Path,
    content: &Content,
    identity: &Identity,
    [boss, apogee]: [&str; 2],
    known: &Known<R>,
    rows: &[R],
) -> Result<()> {
    let empty = |layout| Known::<()>::new().columns(layout, &[]);
    write_in_place(path, |fits| {
        primary_header(fits, content, identity)?;
        let made_by = [("V_ASTRA", V_ASTRA, "version of Astra"), ("CREATED", CREATED, "when the file was made")];
        mwm_tables::write(fits, &made_by, |spectrograph, observatory| match (spectrograph == APOGEE, observatory) {
            (true, Observatory::Apo) => known.columns(apogee, rows),
            (true, Observatory::Lco) => empty(apogee),
            (false, _) => empty(boss),
        })?;
        fits.checksums()
    })
}

fn primary_header(fits: &mut FitsWriter, content: &Content, identity: &Identity) -> Result<()> {
    let Content { star, colours: [j, h, k], .. } = content;
    fits.append_key("V_ASTRA", V_ASTRA, "version of Astra")?;
    fits.append_key("CREATED", CREATED, "when the file was made")?;
    fits.append_key("SDSS_ID", identity.sdss_id, "number of the star")?;
    fits.append_key("APOGEEID", star.id.as_str(), "name of the star")?;
    fits.append_key("HEALPIX", identity.healpix, "HEALPix pixel, nside 128, ring order")?;
    fits.append_key("LEAD", "mock", "catalogue the star comes from")?;
    fits.append_key("CAT_ID", identity.sdss_id, "number in the catalogue of targets")?;
    fits.append_key("RA", star.ra, "right ascension [deg, J2000]")?;
    fits.append_key("DEC", star.dec, "declination [deg, J2000]")?;
    fits.append_key("V_RAD", MISSING, "velocity by Gaia [km/s]")?;
    fits.append_key("G_MAG", MISSING, "magnitude")?;
    for (band, magnitude) in [("J", j), ("H", h), ("K", k)] {
        fits.append_key(&format!("{band}_MAG"), *magnitude, "magnitude")?;
    }
    fits.append_key("N_BOSS", 0, "visits of BOSS")?;
    fits.append_key("N_APOGEE", star.visits.len() as i64, "visits of APOGEE")?;
    let days = star.visits.iter().map(|plan| calendar::mjd(plan.jd));
    fits.append_key("A_MINMJD", days.clone().min().unwrap_or(-1), "first of them")?;
    fits.append_key("A_MAXMJD", days.max().unwrap_or(-1), "last of them")?;
    fits.history("Mock spectrum of a star that does not exist, made by maury")
}
