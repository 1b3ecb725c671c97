//! A run, or a comparison of runs, as a page to explore: diagrams whose stars can be hovered, searched and brushed, a table, and the
//! spectrum of each star beside its models. One file that asks for nothing from anywhere.
//!
//! Diagrams are drawn by uPlot (`assets/uplot`): of what draws 8575 pixels as one zooms, it is the smallest, 51 kB in the page where
//! Observable Plot takes some 400 kB with the D3 it needs and plotly.js 1 to 4.6 MB, and it draws on a canvas, where the others make an
//! element of every point. What it does not know, points that are searched and brushed, is in `assets/explorer`.

mod data;
pub mod labelled;

use std::path::Path;

use super::escape::escaped;
use super::html::COLORS;
use crate::data::files;
use crate::data::relative_path::relative_path;
use crate::error::Result;
use crate::experiment::explored::Explored;
use crate::experiment::outcome::Outcome;
use crate::findings::comparison::across_runs::{ComparedRun, RunComparison};
use crate::findings::outliers::Outliers;
use crate::findings::predictions::Predictions;
use crate::spectra::grid::WavelengthGrid;

/// File name of the page.
pub const EXPLORER: &str = "explore.html";

const UPLOT: [&str; 3] = [
    include_str!("../../../assets/uplot/uPlot.iife.min.js"),
    include_str!("../../../assets/uplot/uPlot.min.css"),
    include_str!("../../../assets/uplot/LICENSE"),
];
const BODY: &str = include_str!("../../../assets/explorer/body.html");
const STYLE: &str = include_str!("../../../assets/explorer/explorer.css");
/// In the order in which they need each other.
const SCRIPTS: [&str; 6] = [
    include_str!("../../../assets/explorer/data.js"),
    include_str!("../../../assets/explorer/state.js"),
    include_str!("../../../assets/explorer/panels.js"),
    include_str!("../../../assets/explorer/table.js"),
    include_str!("../../../assets/explorer/star.js"),
    include_str!("../../../assets/explorer/main.js"),
];

/// What a page is about.
pub struct Subject<'a> {
    /// Its title.
    pub title: &'a str,
    /// Stars that were tested or labelled, of which the page shows some or all.
    pub n_all: usize,
    /// The models with their predictions, all of the same stars.
    pub models: Vec<(&'a str, &'a Predictions)>,
    /// The grid of the spectra, where there are any.
    pub grid: Option<&'a WavelengthGrid>,
    /// Spectra and best fits; none where only labels are known.
    pub explored: Option<&'a Explored>,
    /// Stars that were judged.
    pub outliers: Option<&'a Outliers>,
    /// Files beside the page that lead on: words and address.
    pub links: Vec<(String, String)>,
    /// Pages that have the same stars' spectra: words and address.
    pub others: Vec<(String, String)>,
}

/// The page.
///
/// # Errors
/// [`crate::error::Error::Config`] if the list of lines was built in damaged.
pub fn page(subject: &Subject) -> Result<String> {
    let [uplot, uplot_style, license] = UPLOT;
    // No text of data ends a script: in JSON, every < may be written otherwise.
    let data = data::of(subject)?.to_string().replace('<', "\\u003c");
    let title = escaped(subject.title);
    Ok(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, \
         initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'\">\n<title>{title}</title>\n<style>\n{uplot_style}\n{COLORS}{STYLE}</style>\n</head>\n<body>\n\
         {BODY}<script type=\"application/json\" id=\"data\">{data}</script>\n<script>\n/*\n{license}\n*/\n{uplot}\n</script>\n<script>\n\
         (() => {{\n\"use strict\";\n{}}})();\n</script>\n</body>\n</html>\n",
        SCRIPTS.concat()
    ))
}

/// Writes the page of a run into its folder.
///
/// # Errors
/// As [`page`]; [`crate::error::Error::Io`].
pub fn write(outcome: &Outcome, folder: &Path) -> Result<()> {
    let Some(explored) = &outcome.explored else { return Ok(()) };
    let link = |words: &str, address: &str| (words.to_string(), address.to_string());
    let mut links = vec![link("report", "report.html"), link("predictions.csv", "predictions.csv")];
    links.extend(outcome.outliers.as_ref().map(|_| link("outliers", "outliers.html")));
    let page = page(&Subject {
        title: &outcome.name,
        n_all: explored.n_test,
        models: outcome.models.iter().map(|model| (model.name.as_str(), &model.predictions)).collect(),
        grid: Some(&outcome.grid),
        explored: Some(explored),
        outliers: outcome.outliers.as_ref(),
        links,
        others: Vec::new(),
    })?;
    files::write_bytes(&folder.join(EXPLORER), page)
}

/// Writes the page of a comparison of runs into its folder.
///
/// # Errors
/// As [`write()`].
pub fn write_comparison(compared: &RunComparison, title: &str, folder: &Path) -> Result<()> {
    let of_run = |run: &ComparedRun| {
        let address = relative_path(folder, &Path::new(&run.folder).join(EXPLORER))?;
        Some((run.name.clone(), address))
    };
    let page = page(&Subject {
        title,
        n_all: compared.models.first().map_or(0, |model| model.predictions.n_stars()),
        models: compared.models.iter().map(|model| (model.name.as_str(), &model.predictions)).collect(),
        grid: None,
        explored: None,
        outliers: None,
        links: vec![("comparison".into(), "comparison.html".into())],
        others: compared.runs.iter().filter_map(of_run).collect(),
    })?;
    files::write_bytes(&folder.join(EXPLORER), page)
}
