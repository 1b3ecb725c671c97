//! Small files of the survey's formats, for tests.

use std::path::Path;

use super::fits::{self, Column, ColumnValues, KeyValue};

/// Pixels of each spectrum.
pub(super) const N_PIXELS: usize = 8;

/// Flux in a row of an apStar, and in one of the tables' rows.
pub(super) fn flux_of_row(row: usize) -> Vec<f64> {
    (0..N_PIXELS).map(|pixel| (100 * (row + 1) + pixel) as f64).collect()
}

/// An apStar file with these keys in its primary header: errors of row r are r + 1, masks those given.
pub(super) fn apstar(path: &Path, keys: &[(&str, KeyValue)], n_rows: usize, mask: &[i64; N_PIXELS]) {
    let shape = [n_rows, N_PIXELS];
    let flux: Vec<f64> = (0..n_rows).flat_map(flux_of_row).collect();
    let error: Vec<f64> = (0..n_rows).flat_map(|row| [1.0 + row as f64; N_PIXELS]).collect();
    fits::write(path, |fits| {
        for (key, value) in keys.iter().chain(&[("CRVAL1", 4.179.into()), ("CDELT1", 6e-6.into())]) {
            fits.append_key(key, *value, "")?;
        }
        fits.image("FLUX", &flux, &shape)?;
        fits.image("ERROR", &error, &shape)?;
        fits.image("MASK", &mask.repeat(n_rows), &shape)
    })
    .unwrap();
}

/// Rows of a table of an mwmStar, one for each signal-to-noise ratio.
pub(super) fn coadds(snrs: &[f32]) -> Vec<Column> {
    let mut columns = rows(snrs);
    columns.insert(1, Column::i32("min_mjd", vec![59_804; snrs.len()]));
    columns.insert(2, Column::i32("n_visits", vec![3; snrs.len()]));
    columns
}

/// Rows of a table of an mwmVisit, one for each relative velocity.
pub(super) fn visits(velocities: &[f32]) -> Vec<Column> {
    let snrs: Vec<f32> = (0..velocities.len()).map(|visit| 50.0 + visit as f32).collect();
    let mut columns = rows(&snrs);
    columns.insert(1, Column::i32("mjd", vec![59_804; snrs.len()]));
    columns.insert(2, Column::f32("v_rel", "", velocities.to_vec()));
    columns
}

/// What the tables of both have. Pixel 6 has no ivar, pixel 7 neither flux nor ivar; bit 12 is set in pixel 1, 14 in 2, 0 in 3.
fn rows(snrs: &[f32]) -> Vec<Column> {
    let n_rows = snrs.len();
    // A table without rows has vectors of no length.
    let width = if n_rows == 0 { 0 } else { N_PIXELS };
    let mut flux: Vec<f64> = (0..n_rows).flat_map(flux_of_row).collect();
    flux.iter_mut().skip(7).step_by(N_PIXELS).for_each(|flux| *flux = f64::NAN);
    let text = |value: &str| vec![value.to_string(); n_rows];
    vec![
        Column::text("release", text("sdss5")),
        Column::text("obj", text("2MROW")),
        Column::f32("snr", "", snrs.to_vec()),
        Column::f32("v_rad", "", vec![15.5; n_rows]),
        Column::vectors("flux", width, flux),
        Column::vectors("ivar", width, [0.25, 0.25, 0.25, 0.25, 0.25, 4.0, 0.0, 0.0].repeat(n_rows)),
        Column::vectors("pixel_flags", width, [0.0, 4096.0, 16384.0, 1.0, 0.0, 0.0, 0.0, 0.0].repeat(n_rows)),
    ]
}

/// The columns with one in the place of that of its name, or behind them.
pub(super) fn with(mut columns: Vec<Column>, column: Column) -> Vec<Column> {
    match columns.iter().position(|known| known.name == column.name) {
        Some(index) => columns[index] = column,
        None => columns.push(column),
    }
    columns
}

/// The columns without one.
pub(super) fn without(mut columns: Vec<Column>, name: &str) -> Vec<Column> {
    columns.retain(|column| column.name != name);
    columns
}

/// An mwmStar or mwmVisit with these tables of APOGEE, and so many rows in the first of BOSS.
pub(super) fn mwm(path: &Path, n_boss: usize, apo: &[Column], lco: &[Column]) {
    let boss = |n_rows: usize| {
        let width = if n_rows == 0 { 0 } else { N_PIXELS };
        let (snr, flux) = (vec![25.0; n_rows], vec![1.0; n_rows * width]);
        [Column::f32("snr", "", snr), Column::vectors("flux", width, flux)]
    };
    let (boss, none) = (boss(n_boss), boss(0));
    let tables = [("BOSS/APO", &boss[..]), ("BOSS/LCO", &none), ("APOGEE/APO", apo), ("APOGEE/LCO", lco)];
    fits::write(path, |fits| {
        fits.append_key("SDSS_ID", 99_990_001_i64, "")?;
        fits.append_key("APOGEEID", "2MHEADER", "")?;
        for (name, columns) in tables {
            fits.table(name, columns)?;
            for (key, value) in [("CRVAL", 4.179), ("CDELT", 6e-6), ("CRPIX", 3.0)] {
                fits.append_key(key, value, "")?;
            }
        }
        Ok(())
    })
    .unwrap();
}

/// Puts a value into a card of the HDU of this EXTNAME; the card keeps nothing else.
pub(super) fn set_card(path: &Path, hdu: &str, key: &str, value: &str) {
    let mut bytes = std::fs::read(path).unwrap();
    let named = bytes.windows(hdu.len()).position(|window| window == hdu.as_bytes()).unwrap();
    let from = bytes[..named].windows(8).rposition(|window| window == b"XTENSION").unwrap();
    let card = format!("{key:<8}=");
    let at = from + bytes[from..].windows(9).position(|window| window == card.as_bytes()).unwrap();
    bytes[at..at + 80].copy_from_slice(format!("{:<80}", format!("{key:<8}= {value:>20}")).as_bytes());
    std::fs::write(path, bytes).unwrap();
}

/// Makes a column of the letters T and F, the n-th (from 1), one of logical values.
pub(super) fn make_logical(path: &Path, hdu: &str, n: usize) {
    set_card(path, hdu, &format!("TFORM{n}"), "'L       '");
}

/// A column of logical values in letters, to be made one by [`make_logical`].
pub(super) fn letters(name: &str, values: &[&str]) -> Column {
    let values = values.iter().map(|value| value.to_string()).collect();
    Column { name: name.into(), unit: "".into(), values: ColumnValues::Text(values) }
}
