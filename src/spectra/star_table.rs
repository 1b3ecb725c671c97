//! Tables with a row per star, as FITS and as CSV.

use std::path::Path;

use ndarray::{Array1, Array2};

use super::quality::star_flags;
use crate::data::files;
use crate::data::fits::{self, Column, FitsWriter};
use crate::data::table::Table;
use crate::error::{Error, Result};

/// Labels of which a table has estimates, in its order: there is a column `<label>_estimate` for each.
///
/// # Errors
/// [`Error::Format`], with the remedy, without a single one.
pub fn estimated_labels(table: &Table, remedy: &str) -> Result<Vec<String>> {
    let names = table.names().iter().filter_map(|name| name.strip_suffix("_estimate"));
    let names: Vec<String> = names.map(String::from).collect();
    match names.is_empty() {
        true => Err(Error::format(table.path(), format!("no column <label>_estimate; {remedy}"))),
        false => Ok(names),
    }
}

/// Columns `<label>_<ending>` of some labels, [n_rows, n_labels]; NaN for those that a table lacks, unless they are `needed`, for which
/// there is a remedy.
///
/// # Errors
/// Those of reading a table; [`Error::MissingColumn`].
pub fn label_columns(
    table: &mut Table,
    labels: &[String],
    ending: &str,
    needed: Option<&'static str>,
) -> Result<Array2<f64>> {
    let mut values = Array2::from_elem((table.n_rows(), labels.len()), f64::NAN);
    for (mut column, label) in values.columns_mut().into_iter().zip(labels) {
        let name = format!("{label}_{ending}");
        if needed.is_some() || table.has(&name) {
            let numbers = table.numbers(&name, 0..table.n_rows(), needed.unwrap_or_default())?;
            column.assign(&Array1::from(numbers));
        }
    }
    Ok(values)
}

/// A column of numbers; NaN where a table has none.
///
/// # Errors
/// Those of reading a table.
pub fn numbers_if_any(table: &mut Table, name: &str) -> Result<Vec<f64>> {
    let rows = 0..table.n_rows();
    if table.has(name) { table.numbers(name, rows, "") } else { Ok(vec![f64::NAN; rows.len()]) }
}

/// The column `flags`; no flags where a table has none.
///
/// # Errors
/// Those of reading a table.
pub fn flags_if_any(table: &mut Table) -> Result<Vec<i64>> {
    let rows = 0..table.n_rows();
    if table.has("flags") { table.flags("flags", rows) } else { Ok(vec![0; rows.len()]) }
}

/// Writes a table as `<stem>.fits` and `<stem>.csv`: both or none. The FITS header names the bits of a `flags` column.
///
/// # Errors
/// [`Error::Io`], [`Error::Fits`]; [`Error::Format`] where a folder stands in the place of one of them.
pub fn write_table(stem: &Path, name: &str, columns: &[Column]) -> Result<()> {
    write_table_with(stem, name, columns, &[])
}

/// As [`write_table`], with further keys (name, value, comment) in the FITS header.
///
/// # Errors
/// Those of [`write_table`].
pub fn write_table_with(stem: &Path, name: &str, columns: &[Column], keys: &[(&str, &str, &str)]) -> Result<()> {
    let cell = |column: usize, row: usize| columns[column].cell(row);
    write_both(stem, columns, &cell, |file| {
        file.table(name, columns)?;
        for (key, value, comment) in keys {
            file.append_key(key, *value, comment)?;
        }
        if columns.iter().any(|column| column.name == "flags") {
            name_flags(file, "flags")?;
        }
        Ok(())
    })
}

/// Writes `<stem>.csv` with these columns, whose cells `cell(column, row)` tells, and `<stem>.fits` with what `fill` puts into it:
/// both or none.
///
/// # Errors
/// Those of [`write_table`] and of `fill`.
pub fn write_both(
    stem: &Path,
    columns: &[Column],
    cell: &dyn Fn(usize, usize) -> String,
    fill: impl FnOnce(&mut FitsWriter) -> Result<()>,
) -> Result<()> {
    if let Some(folder) =
        ["fits", "csv"].map(|ending| files::with_ending(stem, ending)).iter().find(|path| path.is_dir())
    {
        return Err(Error::format(folder, "a folder stands where a table is to go; remove it, or choose another name"));
    }
    let path = files::with_ending(stem, "csv");
    let malformed = |err: csv::Error| Error::format(&path, err.to_string());
    files::write_atomically(&path, |temporary| {
        let mut writer = csv::Writer::from_path(temporary).map_err(malformed)?;
        writer.write_record(columns.iter().map(|column| &column.name)).map_err(malformed)?;
        for row in 0..columns.first().map_or(0, Column::len) {
            writer.write_record((0..columns.len()).map(|column| cell(column, row))).map_err(malformed)?;
        }
        writer.flush().map_err(Error::io(&path, "write"))?;
        // All of it is on the disk before the other appears.
        std::fs::File::open(temporary).and_then(|file| file.sync_all()).map_err(Error::io(&path, "write"))?;
        fits::write(&files::with_ending(stem, "fits"), fill)
    })
}

/// Writes the names of the flags into the header of the HDU made last, whose column of them is called `column`.
///
/// # Errors
/// [`Error::Fits`].
pub fn name_flags(file: &mut FitsWriter, column: &str) -> Result<()> {
    let meaning = format!("meaning of this bit of `{column}`");
    for (bit, flag) in &star_flags::NAMES {
        file.append_key(&format!("FLAG{}", bit.trailing_zeros()), *flag, &meaning)?;
    }
    Ok(())
}
