//! The page of a table of labels that `maury label` wrote.

use std::path::{Path, PathBuf};

use ndarray::{Array2, Array3};

use super::{Subject, page};
use crate::data::files;
use crate::data::relative_path::relative_path;
use crate::data::table::Table;
use crate::error::Result;
use crate::experiment::explored::{Explored, MOST_STARS};
use crate::findings::predictions::Predictions;
use crate::models::LabelEstimates;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::split::evenly;
use crate::spectra::star_table::estimated_labels;

const REMEDY: &str = "is this a table that `maury label` wrote?";

/// Writes `<stem>-explore.html` beside `<stem>.fits`, which a model labelled, with spectra of a file of best fits where there is one.
///
/// Of more stars than a page bears, some are shown, evenly among all.
///
/// # Errors
/// Those of reading the table and of writing the page.
pub fn write_labelled(stem: &Path, model: &str, best_fits: Option<(&Path, &WavelengthGrid)>) -> Result<PathBuf> {
    let mut table = Table::open(&files::with_ending(stem, "fits"))?;
    let n_all = table.n_rows();
    let rows = evenly(&(0..n_all).collect::<Vec<_>>(), MOST_STARS);
    let mut predictions = read(&mut table, &rows)?;
    let csv = files::with_ending(stem, "csv");
    // FITS has no letters beyond ASCII; the text beside it has.
    let mut written = if csv.is_file() { Some(Table::open(&csv)?) } else { None };
    let mut whole =
        |name: &str, known: Vec<String>| match written.as_mut().filter(|_| known.iter().any(|text| text.contains('?')))
        {
            Some(written) => texts(written, name, &rows),
            None => Ok(known),
        };
    let folder = stem.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let names = whole("file", texts(&mut table, "file", &rows)?)?;
    let addresses = names.iter().map(|name| relative_path(folder, Path::new(name)).unwrap_or_default()).collect();
    let masked = numbers(&mut table, "fraction_masked", &rows)?;
    let mut explored = Explored::of_labelled(n_all, &rows, addresses, &masked);
    if let Some((best_fits, grid)) = best_fits {
        explored.add_best_fits(best_fits, model, grid.n_pixels(), &predictions.ids)?;
    }
    predictions.ids = whole("id", std::mem::take(&mut predictions.ids))?;
    // The page's stars are those of the table that were read.
    for (place, star) in explored.stars.iter_mut().enumerate() {
        star.place = place;
    }
    let name = csv.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let page = page(&Subject {
        title: &stem.file_name().unwrap_or_default().to_string_lossy(),
        n_all,
        models: vec![(model, &predictions)],
        grid: best_fits.map(|(_, grid)| grid),
        explored: Some(&explored),
        outliers: None,
        links: vec![(name.clone(), name)],
        others: Vec::new(),
    })?;
    let mut path = stem.as_os_str().to_owned();
    path.push("-explore.html");
    let path = PathBuf::from(path);
    files::write_bytes(&path, page)?;
    Ok(path)
}

/// Rows of a table, and those of them that are wanted.
struct Block {
    all: std::ops::Range<usize>,
    rows: Vec<usize>,
}

fn blocks(table: &Table, rows: &[usize]) -> Vec<Block> {
    let wanted = |all: std::ops::Range<usize>| {
        let rows = rows.iter().copied().filter(|row| all.contains(row)).collect();
        Block { all, rows }
    };
    table.blocks().map(wanted).filter(|block| !block.rows.is_empty()).collect()
}

/// A column's texts of some rows.
fn texts(table: &mut Table, name: &str, rows: &[usize]) -> Result<Vec<String>> {
    let mut found = Vec::with_capacity(rows.len());
    for Block { all, rows } in blocks(table, rows) {
        let known = table.texts(name, all.clone(), REMEDY)?;
        found.extend(rows.iter().map(|row| known[row - all.start].clone()));
    }
    Ok(found)
}

/// A column's numbers of some rows, NaN where there is none.
fn numbers(table: &mut Table, name: &str, rows: &[usize]) -> Result<Vec<f64>> {
    if !table.has(name) {
        return Ok(vec![f64::NAN; rows.len()]);
    }
    let mut found = Vec::with_capacity(rows.len());
    for Block { all, rows } in blocks(table, rows) {
        let values = table.numbers(name, all.clone(), REMEDY)?;
        found.extend(rows.iter().map(|row| values[row - all.start]));
    }
    Ok(found)
}

/// Labels of some rows, of stars of which no catalogue tells.
fn read(table: &mut Table, rows: &[usize]) -> Result<Predictions> {
    let label_names = estimated_labels(table, REMEDY)?;
    let (n, k) = (rows.len(), label_names.len());
    let (ids, mut flags) = (texts(table, "id", rows)?, Vec::with_capacity(n));
    for Block { all, rows } in blocks(table, rows) {
        let known_flags = table.flags("flags", all.clone())?;
        flags.extend(rows.iter().map(|row| known_flags[row - all.start]));
    }
    let mut matrix = |ending: &str| -> Result<Array2<f64>> {
        let mut values = Array2::from_elem((n, k), f64::NAN);
        for (mut column, label) in values.columns_mut().into_iter().zip(&label_names) {
            column.assign(&ndarray::Array1::from(numbers(table, &format!("{label}_{ending}"), rows)?));
        }
        Ok(values)
    };
    let (labels, errors, calibrated_errors) = (matrix("estimate")?, matrix("error")?, matrix("error_calibrated")?);
    let covariance =
        Array3::from_shape_fn((n, k, k), |(star, j, l)| if j == l { errors[[star, j]].powi(2) } else { f64::NAN });
    // One degree of freedom each: chi^2 is that per degree of freedom.
    let (chi2, n_pixels) = (numbers(table, "chi2_reduced", rows)?, vec![k + 1; n]);
    let unknown = Array2::from_elem((n, k), f64::NAN);
    Ok(Predictions {
        ids,
        label_names,
        catalogue: unknown.clone(),
        catalogue_errors: unknown,
        truth: None,
        snr: numbers(table, "snr", rows)?,
        estimates: LabelEstimates { labels, covariance, chi2, n_pixels, flags: vec![0; n] },
        calibrated_errors,
        flags,
    })
}
