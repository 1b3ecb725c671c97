//! The allStar table as DR17 has it: the columns that users need, with its types, widths and order of rows.

use std::path::Path;

use super::aspcap::{ASPCAPFLAGS, ELEMENTS, Entry, Measured, STARFLAGS, names};
use super::pathology::Pathology;
use super::plan::Star;
use crate::data::fits::{Column, write};
use crate::error::Result;

/// PARAM_SYMBOL and ELEM_SYMBOL of HDU 3, in the pipeline's order.
const PARAMETERS: [&str; 9] = ["TEFF", "LOGG", "LOG10VDOP", "METALS", "C", "N", "O Mg Si S Ca Ti", "LGVSINI", "O"];
const SYMBOLS: [&str; 27] = [
    "C", "CI", "N", "O", "Na", "Mg", "Al", "Si", "P", "S", "K", "Ca", "Ti", "TiII", "V", "Cr", "Mn", "Fe", "Co", "Ni",
    "Cu", "Ge", "Rb", "Ce", "Nd", "Yb", "C13",
];

/// A row of the catalogue.
pub(super) struct Row<'a> {
    pub star: &'a Star,
    pub entry: &'a Entry,
    /// J, H, K magnitudes.
    pub magnitudes: [f64; 3],
    pub snr: f64,
    pub snr_green: f64,
    pub starflag: i64,
    pub andflag: i64,
    pub velocity_kms: f64,
    pub velocity_scatter_kms: f64,
}

/// Name of a star's spectrum, without its folder.
pub(super) fn spectrum_file(star: &Star) -> String {
    format!("apStar-dr17-{}.fits", star.id)
}

/// Writes the table; `rows` must be sorted by right ascension.
///
/// # Errors
/// [`crate::error::Error::Io`], [`crate::error::Error::Fits`].
pub(super) fn write_table(path: &Path, rows: &[Row]) -> Result<()> {
    write(path, |fits| {
        fits.table("", &columns(rows))?;
        let first_beyond = |degrees: usize| rows.partition_point(|row| row.star.ra <= degrees as f64) as i64;
        fits.image("", &(0..360).map(first_beyond).collect::<Vec<i64>>(), &[360])?;
        let padded = |symbols: &[&str], width: usize| {
            let texts: String = symbols.iter().map(|symbol| format!("{symbol:<width$}")).collect();
            vec![texts]
        };
        let is_over_hydrogen =
            |symbol: &&str| i32::from(!["C", "CI", "N", "O", "Mg", "Si", "S", "Ca", "Ti", "TiII"].contains(symbol));
        fits.table(
            "",
            &[
                Column::fixed_text("PARAM_SYMBOL", 576, padded(&PARAMETERS, 64)),
                Column::fixed_text("ELEM_SYMBOL", 540, padded(&SYMBOLS, 20)),
                Column::integer_vectors("ELEMTOH", SYMBOLS.len(), SYMBOLS.iter().map(is_over_hydrogen).collect()),
            ],
        )
    })
}

fn columns(rows: &[Row]) -> Vec<Column> {
    let text = |name: &str, width: usize, value: &dyn Fn(&Row) -> String| {
        Column::fixed_text(name, width, rows.iter().map(value).collect())
    };
    let f32 = |name: &str, unit: &'static str, value: &dyn Fn(&Row) -> f64| {
        Column::f32(name, unit, rows.iter().map(|row| value(row) as f32).collect())
    };
    let f64 = |name: &str, unit: &'static str, value: &dyn Fn(&Row) -> f64| {
        Column::f64(name, unit, rows.iter().map(value).collect())
    };
    let i32 = |name: &str, value: &dyn Fn(&Row) -> i32| Column::i32(name, rows.iter().map(value).collect());
    let i64 = |name: &str, value: &dyn Fn(&Row) -> i64| Column::i64(name, rows.iter().map(value).collect());
    let named = |prefix: &'static str| move |row: &Row| format!("{prefix}{}.{}", row.star.field.name, row.star.id);
    let mut columns = vec![
        text("FILE", 64, &|row| spectrum_file(row.star)),
        text("APOGEE_ID", 30, &|row| row.star.id.clone()),
        text("TARGET_ID", 58, &named("apo25m.")),
        text("APSTAR_ID", 71, &named("apogee.apo25m.stars.")),
        text("ASPCAP_ID", 77, &named("apogee.apo25m.synspec_rev1.")),
        text("TELESCOPE", 6, &|_| "apo25m".into()),
        i32("LOCATION_ID", &|row| row.star.field.location),
        text("FIELD", 20, &|row| row.star.field.name.into()),
        f64("RA", "deg", &|row| row.star.ra),
        f64("DEC", "deg", &|row| row.star.dec),
    ];
    for (band, name) in ["J", "H", "K"].into_iter().enumerate() {
        columns.push(f32(name, "mag", &|row| row.magnitudes[band]));
    }
    columns.extend([
        i32("NVISITS", &|row| row.star.visits.len() as i32),
        f32("SNR", "", &|row| row.snr),
        f32("SNREV", "", &|row| row.snr_green),
        i64("STARFLAG", &|row| row.starflag),
        text("STARFLAGS", 132, &|row| names(row.starflag, &STARFLAGS)),
        i64("ANDFLAG", &|row| row.andflag),
        text("ANDFLAGS", 132, &|row| names(row.andflag, &STARFLAGS)),
        f32("VHELIO_AVG", "km/s", &|row| row.velocity_kms),
        f32("VSCATTER", "km/s", &|row| row.velocity_scatter_kms),
        i64("ASPCAPFLAG", &|row| row.entry.aspcapflag),
        text("ASPCAPFLAGS", 256, &|row| names(row.entry.aspcapflag, &ASPCAPFLAGS)),
        i32("EXTRATARG", &|row| if row.star.pathology == Pathology::Duplicate { 1 << 4 } else { 0 }),
    ]);
    let mut parameter = |name: &str, unit: &'static str, value: fn(&Entry) -> Measured| {
        columns.push(f32(name, unit, &|row| value(row.entry).value));
        columns.push(f32(&format!("{name}_ERR"), unit, &|row| value(row.entry).error));
    };
    parameter("TEFF", "K", |entry| entry.teff);
    parameter("LOGG", "dex", |entry| entry.logg);
    parameter("M_H", "dex", |entry| entry.m_h);
    parameter("ALPHA_M", "dex", |entry| entry.alpha_m);
    // DR17 quotes no error of it.
    columns.push(f32("VMICRO", "km/s", &|row| row.entry.vmicro.value));
    for (index, element) in ELEMENTS.iter().enumerate() {
        let name = match element.column {
            "FE" => "FE_H".to_string(),
            element => format!("{element}_FE"),
        };
        columns.push(f32(&name, "dex", &|row| row.entry.elements[index].calibrated.value));
        columns.push(f32(&format!("{name}_SPEC"), "dex", &|row| row.entry.elements[index].raw));
        columns.push(f32(&format!("{name}_ERR"), "dex", &|row| row.entry.elements[index].calibrated.error));
        columns.push(i32(&format!("{name}_FLAG"), &|row| row.entry.elements[index].flag));
    }
    columns
}
