//! Repeat visits as tables: a row for each label and bin, and a row for each star.

use super::deviations::{StarMean, star_mean};
use super::outcome::{Claimed, Measured, RepeatBin, Repeats};
use super::visits::{Selected, VisitLabels};
use crate::data::fits::Column;
use crate::spectra::labels::unit;
use crate::stats::robust::median;

/// One row for each label and bin of SNR; bin 0 is all visits together. Numbers are in the unit of the row's label.
pub fn bin_columns(repeats: &Repeats) -> Vec<Column> {
    let of_label = |name: &String| {
        let label = repeats.labels.get(name)?;
        let bins = std::iter::once(&label.all).chain(&label.along_snr).enumerate();
        Some(bins.map(|(bin, found)| (name.clone(), bin, found)).collect::<Vec<_>>())
    };
    let rows: Vec<(String, usize, &RepeatBin)> = repeats.label_names.iter().filter_map(of_label).flatten().collect();
    let counts = |of: &dyn Fn(&RepeatBin) -> usize| rows.iter().map(|(_, _, bin)| of(bin) as i64).collect();
    let numbers = |name: String, of: &dyn Fn(&RepeatBin) -> f64| {
        Column::f64(name, "", rows.iter().map(|row| of(row.2)).collect())
    };
    let measured = |name: &str, of: &dyn Fn(&RepeatBin) -> Option<Measured>| {
        let number = |ending: &str, part: &dyn Fn(Measured) -> f64| {
            numbers(format!("{name}{ending}"), &|bin| of(bin).map_or(f64::NAN, part))
        };
        [
            number("", &|measured| measured.value),
            number("_low", &|measured| measured.interval.0),
            number("_high", &|measured| measured.interval.1),
        ]
    };
    let units = rows.iter().map(|row| unit(&row.0).to_string()).collect();
    let mut columns = vec![
        Column::text("label", rows.iter().map(|row| row.0.clone()).collect()),
        Column::text("unit", units),
        Column::i64("bin", rows.iter().map(|row| row.1 as i64).collect()),
        numbers("snr".into(), &|bin| bin.snr.unwrap_or(f64::NAN)),
        numbers("snr_low".into(), &|bin| bin.snr_range.map_or(f64::NAN, |range| range.0)),
        numbers("snr_high".into(), &|bin| bin.snr_range.map_or(f64::NAN, |range| range.1)),
        Column::i64("n_stars", counts(&|bin| bin.n_stars)),
        Column::i64("n_visits", counts(&|bin| bin.n_visits)),
        numbers("n_repeats".into(), &|bin| bin.n_repeats),
    ];
    columns.extend(measured("scatter", &|bin| Some(bin.scatter)));
    columns.push(numbers("standard_deviation".into(), &|bin| bin.standard_deviation));
    type Kind = fn(&RepeatBin) -> Option<Claimed>;
    let kinds: [(&str, Kind); 2] = [("formal", |bin| bin.formal), ("calibrated", |bin| bin.calibrated)];
    for (name, of) in kinds {
        columns.push(numbers(format!("{name}_error"), &|bin| of(bin).map_or(f64::NAN, |claimed| claimed.error)));
        columns.extend(measured(&format!("{name}_pull"), &|bin| of(bin).map(|claimed| claimed.pull)));
    }
    columns
}

/// One row for each star: how many visits count, their median SNR, and for each label the mean weighted by formal errors, the
/// standard deviation of one visit, and chi^2 of the visits about the mean by their formal errors.
pub fn star_columns(visits: &VisitLabels, selected: &Selected) -> Vec<Column> {
    let stars = &selected.stars;
    let snr = |rows: &Vec<usize>| {
        let known = rows.iter().map(|visit| visits.snr[*visit]).filter(|snr| snr.is_finite());
        median(&known.collect::<Vec<f64>>())
    };
    let mut columns = vec![
        Column::text("id", stars.iter().map(|rows| visits.ids[rows[0]].clone()).collect()),
        Column::i64("n_visits", stars.iter().map(|rows| rows.len() as i64).collect()),
        Column::f64("snr", "", stars.iter().map(snr).collect()),
    ];
    for (k, name) in visits.label_names.iter().enumerate() {
        let found: Vec<StarMean> = stars.iter().map(|rows| star_mean(visits, rows, k)).collect();
        let of = |value: fn(&StarMean) -> f64| found.iter().map(value).collect::<Vec<f64>>();
        columns.push(Column::f64(format!("{name}_mean"), unit(name), of(|star| star.mean)));
        columns.push(Column::f64(format!("{name}_scatter"), unit(name), of(|star| star.scatter)));
        columns.push(Column::f64(format!("{name}_chi2"), "", of(|star| star.chi2)));
        columns.push(Column::i64(format!("{name}_n"), found.iter().map(|star| star.n_visits as i64).collect()));
    }
    columns
}
