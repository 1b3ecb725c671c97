//! astraAllStarASPCAP of Astra 0.6.0: labels as SDSS-V lists them, all elements over hydrogen.
//!
//! DR17 lists [X/Fe]. Here [X/H] is that and [Fe/H], so that their difference has the scatter that DR17 has; the error of [X/H] is
//! that of both, which for the difference is too much: they share that of [Fe/H].

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::archive::{APRED, CREATED, CREATED_IN_FULL, Identity, TELESCOPE, V_ASTRA, is_of_dr17};
use super::layouts;
use super::table::Known;
use crate::data::fits::{FitsWriter, write_in_place};
use crate::error::{Error, Result};
use crate::mock::apstar_file::{MAGNITUDE_ERROR, Velocities};
use crate::mock::aspcap::{ELEMENTS, Entry, GRIDEDGE_BAD, Measured, SPEC_RC, STAR_BAD};
use crate::mock::calendar;
use crate::mock::plan::Star;
use crate::mock::sky::galactic;
use crate::stats::robust::{mean, median, standard_deviation};

/// Bits of `result_flags`: Teff and log g within an eighth of a step of the grid's edge.
const TEFF_BAD: i64 = 1 << 6;
const LOGG_BAD: i64 = 1 << 8;
/// Bits of `result_flags` that make a row bad.
const BAD: i64 = 0x0FE0_015F;
/// Bit of an abundance's flags: at the edge of the grid.
const EDGE_BAD: i64 = 1 << 8;
/// Bits of `calibrated_flags`: giant, red clump.
const GIANT: i64 = 1 << 1;
const RED_CLUMP: i64 = 1 << 2;
/// DR17's bit of `EXTRATARG` for a spectrum that is not its star's best.
const DUPLICATE: i64 = 1 << 4;

/// A row of the table.
pub(in crate::mock) struct Row<'a> {
    pub star: &'a Star,
    pub identity: &'a Identity,
    pub entry: &'a Entry,
    /// J, H, K magnitudes.
    pub magnitudes: [f64; 3],
    pub velocities: &'a Velocities,
    pub snr: f64,
    pub starflag: i64,
}

impl Row<'_> {
    fn days(&self) -> impl Iterator<Item = i64> {
        self.star.visits.iter().map(|plan| calendar::mjd(plan.jd))
    }

    /// One word for a spectrum of DR17, another for one of SDSS-V.
    fn by_release(&self, dr17: &str, sdss_v: &str) -> String {
        if is_of_dr17(self.star) { dr17 } else { sdss_v }.to_string()
    }
}

/// Writes the table, compressed; its folder must be there.
///
/// # Errors
/// [`Error::Io`], [`Error::Fits`].
pub(in crate::mock) fn write_table(path: &Path, rows: &[Row]) -> Result<()> {
    let plain = path.with_extension("");
    write_in_place(&plain, |fits| {
        heading(fits)?;
        fits.comment("HDU 0: Summary information only")?;
        fits.comment("HDU 1: BOSS spectra")?;
        fits.comment("HDU 2: APOGEE spectra")?;
        fits.history("Mock survey of stars that do not exist, made by maury")?;
        fits.table("", &Known::<()>::new().columns(&layouts::summary_of_boss(), &[]))?;
        fits.append_key("INSTRMNT", "BOSS", "instrument")?;
        heading(fits)?;
        fits.table("", &known().columns(&layouts::summary(), rows))?;
        fits.append_key("INSTRMNT", "APOGEE", "instrument")?;
        heading(fits)?;
        fits.checksums()
    })?;
    let mut from = BufReader::new(File::open(&plain).map_err(Error::io(&plain, "read"))?);
    let to = File::create(path).map_err(Error::io(path, "create"))?;
    // Without a time or a name in it, the same bytes are always packed as the same.
    let mut packed = GzEncoder::new(BufWriter::new(to), Compression::fast());
    std::io::copy(&mut from, &mut packed).map_err(Error::io(path, "write"))?;
    let written = packed.finish().and_then(|buffer| buffer.into_inner().map_err(std::io::IntoInnerError::into_error));
    written.map_err(Error::io(path, "write"))?;
    std::fs::remove_file(&plain).map_err(Error::io(&plain, "remove"))
}

fn heading(fits: &mut FitsWriter) -> Result<()> {
    fits.append_key("PIPELINE", "ASPCAP", "pipeline that found the labels")?;
    fits.append_key("V_ASTRA", V_ASTRA, "version of Astra")?;
    fits.append_key("CREATED", CREATED, "when the file was made")
}

/// What of DR17's ASPCAPFLAG SDSS-V says too. That of a low S/N it does not: it gives up below 20, and no star here is so faint.
fn result_flags(aspcapflag: i64) -> i64 {
    if aspcapflag & STAR_BAD != 0 { TEFF_BAD | LOGG_BAD } else { 0 }
}

/// [X/H] of an element, by its position in [`ELEMENTS`].
fn over_hydrogen(entry: &Entry, index: usize) -> Measured {
    let (own, of_iron) = (entry.elements[index].calibrated, entry.elements[iron()].calibrated);
    if index == iron() {
        return of_iron;
    }
    Measured { value: own.value + of_iron.value, error: own.error.hypot(of_iron.error) }
}

/// The same before calibration [dex].
fn raw_over_hydrogen(entry: &Entry, index: usize) -> f64 {
    let of_iron = entry.elements[iron()].raw;
    if index == iron() { of_iron } else { entry.elements[index].raw + of_iron }
}

fn iron() -> usize {
    ELEMENTS.iter().position(|element| element.column == "FE").expect("iron is an element")
}

/// The columns that the mock's catalogue knows.
fn known<'a, 'r>() -> Known<'a, Row<'r>> {
    let mut known = Known::<Row>::new();
    describe_star(&mut known);
    describe_spectrum(&mut known);
    let mut parameter = |name: &str, value: fn(&Entry) -> Measured| {
        known.number(name, move |row| value(row.entry).value);
        known.number(&format!("e_{name}"), move |row| value(row.entry).error);
        // Only abundances are calibrated.
        known.number(&format!("raw_{name}"), move |row| value(row.entry).value);
    };
    parameter("teff", |entry| entry.teff);
    parameter("logg", |entry| entry.logg);
    parameter("m_h_atm", |entry| entry.m_h);
    parameter("alpha_m_atm", |entry| entry.alpha_m);
    parameter("v_micro", |entry| entry.vmicro);
    let listed = ELEMENTS.iter().enumerate().filter(|(_, element)| element.input.is_some());
    for (index, element) in listed.filter_map(|(index, element)| Some((index, element.sdss_v?))) {
        let name = format!("{element}_h");
        known.number(&name, move |row| over_hydrogen(row.entry, index).value);
        known.number(&format!("e_{name}"), move |row| over_hydrogen(row.entry, index).error);
        known.number(&format!("raw_{name}"), move |row| raw_over_hydrogen(row.entry, index));
        known.integer(&format!("{name}_flags"), move |row| {
            if row.entry.elements[index].flag & GRIDEDGE_BAD != 0 { EDGE_BAD } else { 0 }
        });
    }
    known.integer(
        "calibrated_flags",
        |row| {
            if row.entry.elements[iron()].flag & SPEC_RC != 0 { RED_CLUMP } else { GIANT }
        },
    );
    known.number("rchi2", |row| 1.0 + (row.snr / 100.0).powi(2));
    known.integer("result_flags", |row| result_flags(row.entry.aspcapflag));
    known.logical("flag_warn", |row| result_flags(row.entry.aspcapflag) > 0);
    known.logical("flag_bad", |row| result_flags(row.entry.aspcapflag) & BAD != 0);
    known
}

fn describe_star(known: &mut Known<Row>) {
    known.integer("sdss_id", |row| row.identity.sdss_id);
    known.text("sdss4_apogee_id", |row| match row.identity.is_in_dr17 {
        true => row.star.id.clone(),
        false => String::new(),
    });
    known.integer("healpix", |row| row.identity.healpix);
    known.text("lead", |_| "mock".to_string());
    known.integer("catalogid", |row| row.identity.sdss_id);
    known.integer("sdss4_apogee_extra_target_flags", |row| if is_of_dr17(row.star) { DUPLICATE } else { 0 });
    known.number("ra", |row| row.star.ra);
    known.number("dec", |row| row.star.dec);
    known.number("l", |row| galactic(row.star.ra, row.star.dec).0);
    known.number("b", |row| galactic(row.star.ra, row.star.dec).1);
    for (band, name) in ["j_mag", "h_mag", "k_mag"].into_iter().enumerate() {
        known.number(name, move |row| row.magnitudes[band]);
        known.number(&format!("e_{name}"), |_| MAGNITUDE_ERROR);
    }
    known.integer("n_boss_visits", |_| 0);
    known.integer("n_apogee_visits", |row| row.star.visits.len() as i64);
    known.integer("apogee_min_mjd", |row| row.days().min().unwrap_or(-1));
    known.integer("apogee_max_mjd", |row| row.days().max().unwrap_or(-1));
    for name in ["source", "source_pk", "star_pk"] {
        known.integer(name, |row| row.identity.sdss_id);
    }
}

fn describe_spectrum(known: &mut Known<Row>) {
    for name in ["spectrum_pk", "task_pk", "stellar_parameters_task_pk"] {
        known.integer(name, |row| row.star.index as i64 + 1);
    }
    known.text("release", |row| row.by_release("dr17", "sdss5"));
    known.text("filetype", |_| "apStar".to_string());
    known.text("apred", |row| row.by_release("dr17", APRED));
    known.text("apstar", |_| "stars".to_string());
    known.text("obj", |row| row.star.id.clone());
    known.text("telescope", |_| TELESCOPE.to_string());
    // SDSS-V has no fields at this telescope.
    known.text("field", |row| row.by_release(row.star.field.name, ""));
    known.text("prefix", |row| row.by_release("ap", ""));
    known.integer("min_mjd", |row| row.days().min().unwrap_or(-1));
    known.integer("max_mjd", |row| row.days().max().unwrap_or(-1));
    for name in ["n_visits", "n_good_visits", "n_good_rvs"] {
        known.integer(name, |row| row.star.visits.len() as i64);
    }
    let fibres = |row: &Row| row.star.visits.iter().map(|plan| plan.fibre as f64).collect::<Vec<f64>>();
    known.number("snr", |row| row.snr);
    known.number("mean_fiber", move |row| mean(&fibres(row)));
    known.number("std_fiber", move |row| standard_deviation(&fibres(row)));
    known.integer("spectrum_flags", |row| row.starflag);
    known.number("v_rad", |row| row.velocities.mean);
    known.number("e_v_rad", |row| row.velocities.error);
    known.number("std_v_rad", |row| row.velocities.scatter);
    known.number("median_e_v_rad", |row| {
        median(&row.star.visits.iter().map(|plan| plan.velocity_error_kms).collect::<Vec<f64>>())
    });
    known.number("xcorr_v_rad", |row| row.velocities.mean);
    known.number("ccfwhm", |_| 18.0);
    known.number("autofwhm", |_| 17.0);
    known.integer("n_components", |row| 1 + i64::from(row.star.companion.is_some()));
    known.text("v_astra", |_| V_ASTRA.to_string());
    known.text("created", |_| CREATED_IN_FULL.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::aspcap::{ASPCAPFLAGS, Abundance};

    #[test]
    fn what_dr17_condemns_is_bad_and_nothing_else() {
        for (bit, name) in ASPCAPFLAGS {
            assert_eq!(result_flags(1 << bit) & BAD != 0, name == "STAR_BAD", "{name}");
        }
        assert_eq!(result_flags(STAR_BAD), 0b1_0100_0000);
    }

    #[test]
    fn elements_over_hydrogen_are_those_over_iron_and_iron() {
        let measured = |value, error| Measured { value, error };
        let element = |index: usize| Abundance {
            calibrated: if index == iron() { measured(-0.5, 0.03) } else { measured(0.2, 0.04) },
            raw: if index == iron() { -0.52 } else { 0.18 },
            flag: 0,
        };
        let none = measured(f64::NAN, f64::NAN);
        let elements = (0..ELEMENTS.len()).map(element).collect();
        let mut entry =
            Entry { teff: none, logg: none, m_h: none, alpha_m: none, vmicro: none, elements, aspcapflag: 0 };
        let other = if iron() == 0 { 1 } else { 0 };
        let of = |entry: &Entry, index| (over_hydrogen(entry, index).value, over_hydrogen(entry, index).error);
        assert_eq!(of(&entry, iron()), (-0.5, 0.03));
        assert!((of(&entry, other).0 + 0.3).abs() < 1e-12 && (of(&entry, other).1 - 0.05).abs() < 1e-12);
        assert_eq!((raw_over_hydrogen(&entry, iron()), raw_over_hydrogen(&entry, other)), (-0.52, 0.18 - 0.52));
        entry.elements[iron()].calibrated = none;
        assert!(of(&entry, other).0.is_nan() && of(&entry, iron()).1.is_nan());
    }
}
