//! The data of a page to explore, as JSON: numbers in base64, for `assets/explorer/data.js` to read.

use std::collections::{BTreeMap, BTreeSet};

use ndarray::{Array2, ArrayView1};
use serde_json::{Map, Value, json};

use super::Subject;
use crate::data::linelist::{atomic_lines, co_band_heads};
use crate::data::page_bytes::PageBytes;
use crate::error::Result;
use crate::experiment::explored::{Explored, ExploredModel, ExploredStar, MOST_STARS};
use crate::findings::predictions::Predictions;
use crate::report::label_title;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::unit;
use crate::spectra::quality::star_flags;
use crate::spectra::split::evenly;

/// All that a page holds.
pub(super) fn of(subject: &Subject) -> Result<Value> {
    let Some((_, first)) = subject.models.first() else { return Ok(json!({})) };
    let stars = match subject.explored {
        Some(explored) => explored.stars.iter().map(|star| star.place).collect(),
        None => evenly(&(0..first.n_stars()).collect::<Vec<_>>(), MOST_STARS),
    };
    let labels: Vec<Value> = first
        .label_names
        .iter()
        .map(|name| json!({ "name": name, "title": label_title(name), "unit": unit(name) }))
        .collect();
    let mut columns = Map::new();
    add(&mut columns, "snr", ArrayView1::from(&first.snr), &stars);
    by_label(&mut columns, "catalogue", &first.label_names, &first.catalogue, &stars);
    if let Some(truth) = &first.truth {
        by_label(&mut columns, "truth", &first.label_names, &truth.labels, &stars);
    }
    for (model, (_, predictions)) in subject.models.iter().enumerate() {
        of_model(&mut columns, model, predictions, &stars);
    }
    if let Some(explored) = subject.explored {
        let masked: Vec<f64> = explored.stars.iter().map(|star| star.fraction_masked).collect();
        add(&mut columns, "masked", ArrayView1::from(&masked), &(0..masked.len()).collect::<Vec<_>>());
    }
    let pathology = first.truth.as_ref().filter(|truth| truth.pathology.is_some());
    let pathology: Option<Vec<&str>> =
        pathology.map(|truth| stars.iter().map(|star| truth.pathology_in_table(*star).unwrap_or_default()).collect());
    Ok(json!({
        "title": subject.title,
        "n_all": subject.n_all,
        "ids": stars.iter().map(|star| first.ids[*star].as_str()).collect::<Vec<_>>(),
        "labels": labels,
        "models": subject.models.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "flags": star_flags::NAMES,
        "columns": columns,
        "pathology": pathology,
        "verdicts": verdicts(subject, first, &stars),
        "links": subject.links,
        "others": subject.others,
        "files": subject.explored.map(files),
        "spectra": subject.explored.filter(|explored| explored.has_spectra()).zip(subject.grid).map(|(explored, grid)| spectra(explored, grid)).transpose()?,
    }))
}

/// Estimates, errors, fit and flags by one model.
fn of_model(columns: &mut Map<String, Value>, model: usize, predictions: &Predictions, stars: &[usize]) {
    let Predictions { label_names, estimates, calibrated_errors, .. } = predictions;
    by_label(columns, &format!("estimate.{model}"), label_names, &estimates.labels, stars);
    let errors = Array2::from_shape_fn(estimates.labels.raw_dim(), |(star, k)| estimates.error(star, k));
    by_label(columns, &format!("error.{model}"), label_names, &errors, stars);
    if calibrated_errors.iter().any(|error| error.is_finite()) {
        by_label(columns, &format!("calibrated.{model}"), label_names, calibrated_errors, stars);
    }
    add(columns, &format!("chi2.{model}"), ArrayView1::from(&predictions.chi2_reduced()), stars);
    // Whole numbers below 2^24, which 32-bit floats hold.
    let flags: Vec<f64> = predictions.flags.iter().map(|flags| *flags as f64).collect();
    add(columns, &format!("flags.{model}"), ArrayView1::from(&flags), stars);
}

fn by_label(columns: &mut Map<String, Value>, name: &str, labels: &[String], values: &Array2<f64>, stars: &[usize]) {
    for (label, values) in labels.iter().zip(values.columns()) {
        add(columns, &format!("{name}.{label}"), values, stars);
    }
}

/// A column, unless it tells of no star.
fn add(columns: &mut Map<String, Value>, name: &str, values: ArrayView1<f64>, stars: &[usize]) {
    let known = || stars.iter().map(|star| values[*star] as f32);
    if known().any(|value| !value.is_nan()) {
        columns.insert(name.to_string(), PageBytes::default().with_f32(known()).text().into());
    }
}

/// What was concluded of stars that were judged: place on the page, verdict and reason.
fn verdicts(subject: &Subject, first: &Predictions, stars: &[usize]) -> Vec<Value> {
    let Some(outliers) = subject.outliers else { return Vec::new() };
    let of_outliers = outliers.stars.iter().map(|star| (&star.id, star.verdict.name(), &star.reason));
    let of_others = outliers.faulty_spectra.iter().map(|star| (&star.id, star.verdict.name(), &star.reason));
    let place_of: BTreeMap<&String, usize> =
        stars.iter().enumerate().map(|(place, star)| (&first.ids[*star], place)).collect();
    of_outliers
        .chain(of_others)
        .filter_map(|(id, verdict, reason)| Some(json!([place_of.get(id)?, verdict, reason])))
        .collect()
}

/// The stars' files: folders, and for each star the place of its folder among them and its name there.
fn files(explored: &Explored) -> Value {
    let parts = |star: &ExploredStar| match star.file.rsplit_once('/') {
        Some((folder, name)) => (folder.to_string(), name.to_string()),
        None => (String::new(), star.file.clone()),
    };
    let folders: BTreeSet<String> = explored.stars.iter().map(|star| parts(star).0).collect();
    let place_of: BTreeMap<&String, usize> = folders.iter().zip(0..).collect();
    let of_star = |star: &ExploredStar| {
        let (folder, name) = parts(star);
        json!([place_of[&folder], name])
    };
    json!({ "folders": folders, "of_star": explored.stars.iter().map(of_star).collect::<Vec<_>>() })
}

/// Observed spectra, best fits, and the lines that are known where they are.
fn spectra(explored: &Explored, grid: &WavelengthGrid) -> Result<Value> {
    let Some((first, last)) = grid.wavelength.first().zip(grid.wavelength.last()) else { return Ok(Value::Null) };
    let is_here = |wavelength: f64| (*first..=*last).contains(&wavelength);
    // Bare pixel numbers are no wavelengths, whatever lines may lie there.
    let has_wavelengths = *grid != WavelengthGrid::from_pixel_numbers(grid.n_pixels());
    let lines: Vec<Value> = atomic_lines()?
        .into_iter()
        .filter(|line| has_wavelengths && is_here(line.wavelength))
        .map(|line| json!([line.wavelength, line.species, line.strength]))
        .collect();
    let heads: Vec<Value> = co_band_heads()
        .into_iter()
        .filter(|head| has_wavelengths && is_here(head.wavelength))
        .map(|head| json!([head.wavelength, format!("CO {}-{}", head.transition.0, head.transition.1)]))
        .collect();
    let folds: Vec<Value> = explored
        .folds
        .iter()
        .map(|models| {
            let model = |model: &ExploredModel| {
                json!({
                    "name": model.name, "n_vectors": model.n_vectors, "vectors": model.vectors, "amounts": model.amounts,
                    "scatter": model.scatter,
                })
            };
            models.iter().map(model).collect()
        })
        .collect();
    Ok(json!({
        "wavelength": PageBytes::default().with_f32(grid.wavelength.iter().map(|wavelength| *wavelength as f32)).text(),
        "has_wavelengths": has_wavelengths,
        "chips": grid.chips.iter().map(|chip| [chip.start, chip.end]).collect::<Vec<_>>(),
        "lines": lines,
        "heads": heads,
        "rule": explored.rule,
        "of_fold": explored.stars.iter().map(|star| star.of_fold).collect::<Vec<_>>(),
        "observed": explored.stars.iter().map(|star| &star.spectrum).collect::<Vec<_>>(),
        "folds": folds,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::LabelEstimates;
    use crate::report::explorer::page;
    use ndarray::{Array3, array};

    /// Two stars, one of them without a catalogue label, of hostile names.
    fn predictions() -> Predictions {
        let labels = array![[4505.5], [4601.0]];
        let unknown = array![[f64::NAN], [f64::NAN]];
        Predictions {
            ids: vec!["</script><script>alert(1)</script>".into(), "<!-- \u{2028} ' \" \\".into()],
            label_names: vec!["teff".into()],
            catalogue: array![[4500.0], [f64::NAN]],
            catalogue_errors: unknown.clone(),
            truth: None,
            snr: vec![f64::NAN, f64::NAN],
            estimates: LabelEstimates::read_off(labels, Array3::from_elem((2, 1, 1), 4.0), vec![100; 2]),
            calibrated_errors: unknown,
            flags: vec![0, 1 << 19],
        }
    }

    fn subject<'a>(predictions: &'a Predictions, title: &'a str) -> Subject<'a> {
        let (models, links) = (vec![("</title>", predictions)], vec![("a".into(), "b \"c".into())]);
        Subject { title, n_all: 2, models, grid: None, explored: None, outliers: None, links, others: Vec::new() }
    }

    #[test]
    fn nothing_that_a_star_is_called_ends_a_script_and_all_of_it_comes_back() {
        let predictions = predictions();
        let html = page(&subject(&predictions, "<b>&")).unwrap();
        assert_eq!(html.matches("</script>").count(), 3, "data, the library, the page's own");
        assert!(html.contains("<title>&lt;b&gt;&amp;</title>"));
        let data = html.split("id=\"data\">").nth(1).unwrap().split("</script>").next().unwrap();
        let data: Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["ids"], json!(predictions.ids));
        assert_eq!((&data["models"], &data["title"]), (&json!(["</title>"]), &json!("<b>&")));
        for request in [" src=", "url(", "@import", "<link", "http://www", "fetch(", "XMLHttpRequest", "import("] {
            assert!(!html.contains(request), "the page asks for {request}");
        }
        // Its licence asks for this.
        assert!(html.contains("Copyright (c) 2022 Leon Sorokin") && html.contains("The above copyright notice"));
    }

    #[test]
    fn columns_are_of_the_stars_shown_and_none_tells_of_nothing() {
        let predictions = predictions();
        let data = of(&subject(&predictions, "run")).unwrap();
        let mut names: Vec<&String> = data["columns"].as_object().unwrap().keys().collect();
        names.sort();
        assert_eq!(names, ["catalogue.teff", "error.0.teff", "estimate.0.teff", "flags.0"]);
        let of_first = |values: &[f32]| json!(PageBytes::default().with_f32(values.iter().copied()).text());
        assert_eq!(data["columns"]["estimate.0.teff"], of_first(&[4505.5, 4601.0]));
        assert_eq!(data["columns"]["flags.0"], of_first(&[0.0, 524_288.0]));
        assert_eq!(data["spectra"], Value::Null);
    }

    #[test]
    fn lines_are_named_where_they_are_and_pixels_have_none() {
        let found = |grid: &WavelengthGrid| spectra(&Explored::new(0), grid).unwrap();
        let apogee = found(&WavelengthGrid::apogee());
        assert_eq!(apogee["lines"].as_array().unwrap().len(), 200);
        assert!(!apogee["heads"].as_array().unwrap().is_empty());
        let optical = WavelengthGrid::from_wavelengths((0..50).map(|j| 4000.0 + f64::from(j)).collect()).unwrap();
        for grid in [optical, WavelengthGrid::from_pixel_numbers(17_000)] {
            let known = found(&grid);
            assert!(known["lines"].as_array().unwrap().is_empty() && known["heads"].as_array().unwrap().is_empty());
            assert_eq!(known["has_wavelengths"], json!(grid.wavelength[0] > 0.0));
        }
    }
}
