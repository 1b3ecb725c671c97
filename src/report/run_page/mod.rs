//! A run as one HTML page, in the order of the lab: each section answers its question with numbers of this run.
//!
//! The page is made from what the run's folder holds, `metrics.json`, `experiment.toml` and `figures`, and from nothing else:
//! [`Run::open`] and [`page`] render it again whenever the words change.

mod appendix;
mod comparison;
mod elements;
mod ends;
mod inside;
mod mystery;
mod outliers;
mod physics;
mod posteriors;
mod sequences;
mod spectra;
mod stars;
mod summary;
mod trained;
mod unseen;

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::explorer::EXPLORER;
use super::facts::Facts;
use super::html::Page;
use super::label_title;
use crate::data::files;
use crate::error::{Error, Result};
use crate::findings::comparison::runs::read_metrics;
use crate::spectra::labels::unit;

/// File name of the page in a run's folder.
pub const REPORT: &str = "report.html";

/// A finished run, as its folder has it.
#[derive(Debug, Clone)]
pub struct Run {
    folder: PathBuf,
    metrics: Value,
    settings: String,
}

impl Run {
    /// Opens a run's folder.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] where the folder is not one of a run on stars.
    pub fn open(folder: &Path) -> Result<Self> {
        let metrics = read_metrics(folder)?;
        if !metrics["models"].is_object() || !metrics["settings"].is_object() {
            let remedy = "emulators have no page but their card, and runs of older versions must be made anew";
            return Err(Error::format(folder, format!("no run on stars with all its settings; {remedy}")));
        }
        Ok(Self { folder: folder.to_path_buf(), metrics, settings: files::read_text(&folder.join("experiment.toml"))? })
    }

    /// Its numbers.
    pub fn facts(&self) -> Facts<'_> {
        Facts::new(&self.metrics)
    }

    /// Its settings, a TOML file.
    fn settings(&self) -> &str {
        &self.settings
    }

    /// The labels, in the experiment's order.
    fn labels(&self) -> Vec<&str> {
        let labels = self.metrics["settings"]["labels"].as_array();
        labels.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The models, by name.
    fn models(&self) -> Vec<&str> {
        self.facts().names("models")
    }

    /// The models of one kind, by its word in the experiment.
    fn models_of(&self, kind: &str) -> Vec<&str> {
        let is_kind = |model: &&str| self.facts().has(&format!("settings.models.{model}.{kind}"));
        self.models().into_iter().filter(is_kind).collect()
    }

    /// The model with the smallest scatter; the only one where there is one.
    fn best(&self) -> &str {
        let alone = self.models().first().copied().unwrap_or_default();
        self.facts().words("comparison.best").unwrap_or(alone)
    }

    /// Which problems of the classic lab a section answers, where the run has the lab.
    fn problems(&self, numbers: &str) -> String {
        match (self.facts().has("lab"), numbers.contains("and")) {
            (false, _) => String::new(),
            (true, false) => format!("problem {numbers}"),
            (true, true) => format!("problems {numbers}"),
        }
    }

    /// Whether the run's folder has a file or folder of this name.
    fn has_file(&self, name: &str) -> bool {
        self.folder.join(name).exists()
    }

    /// A figure by its name, as SVG; none where the run has none of this name.
    fn figure(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join("figures").join(format!("{name}.svg"))).ok()
    }

    /// Names of the figures that begin with this, in order.
    fn figures_named(&self, start: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.join("figures")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".svg").map(String::from));
        let mut names: Vec<String> = names.filter(|name| name.starts_with(start)).collect();
        names.sort();
        names
    }

    /// Sets a figure on the page, with a caption of sentences whose numbers are looked up; nothing where there is no such figure.
    fn show(&self, page: &mut Page, name: &str, sentences: &[&str]) {
        if let Some(svg) = self.figure(name) {
            page.figure_told(&svg, &format!("figures/{name}.svg"), &self.facts(), sentences);
        }
    }

    /// What metrics of a model are held against: truth of healthy stars where it is known, truth, or the catalogue; the place
    /// of the labels' numbers below `models.<model>`, and the words for it.
    fn reference(&self) -> (&'static str, &'static str) {
        let model = self.models().first().copied().unwrap_or_default();
        let known =
            [("by_pathology.healthy.labels_vs_truth", "the truth, healthy stars"), ("labels_vs_truth", "the truth")];
        let is_known = |(place, _): &(&str, &str)| self.facts().count(&format!("models.{model}.{place}")) > 0;
        known.into_iter().find(is_known).unwrap_or(("labels", "the catalogue"))
    }
}

/// A placeholder for a number in a label's unit, with the unit behind it: `{path:K} K`.
fn quantity(path: &str, label: &str) -> String {
    match unit(label) {
        "" => format!("{{{path}}}"),
        unit => format!("{{{path}:{unit}}} {unit}"),
    }
}

/// The same without the unit, for tables.
fn in_table(path: &str, label: &str) -> String {
    match unit(label) {
        "" => format!("{{{path}}}"),
        unit => format!("{{{path}:{unit}}}"),
    }
}

/// "a", "a and b", "a, b and c".
fn listed(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A label with its unit, as in a table's head.
fn title(label: &str) -> String {
    match unit(label) {
        "" => label_title(label),
        unit => format!("{}, {unit}", label_title(label)),
    }
}

/// The page of a run.
pub fn page(run: &Run) -> String {
    let facts = run.facts();
    let name = facts.words("name").unwrap_or("run");
    let mut page = Page::new(name);
    summary::summary(&mut page, run);
    if run.has_file(EXPLORER) {
        page.lead_to(
            EXPLORER,
            "Every star, to explore",
            ": diagrams to brush, a table to sort, spectra beside their models.",
        );
    }
    page.contents();
    stars::selection(&mut page, run);
    if facts.has("lab") {
        spectra::raw(&mut page, run);
    }
    spectra::masks(&mut page, run);
    spectra::continuum(&mut page, run);
    if facts.has("lab") {
        trained::cannon(&mut page, run);
        trained::fitted_star(&mut page, run);
        inside::gradients(&mut page, run);
        inside::scatter(&mut page, run);
    }
    inside::latent(&mut page, run);
    physics::departures(&mut page, run);
    unseen::test_stars(&mut page, run);
    unseen::errors(&mut page, run);
    elements::elements(&mut page, run);
    posteriors::posteriors(&mut page, run);
    outliers::outliers(&mut page, run);
    if facts.has("lab") {
        stars::kiel(&mut page, run);
        mystery::mystery(&mut page, run);
        sequences::sequences(&mut page, run);
    }
    comparison::models(&mut page, run);
    appendix::appendix(&mut page, run);
    page.finish()
}

/// Renders a run's page into its folder.
///
/// # Errors
/// As [`Run::open`]; [`Error::Io`].
pub fn write(folder: &Path) -> Result<PathBuf> {
    let path = folder.join(REPORT);
    files::write_bytes(&path, page(&Run::open(folder)?))?;
    Ok(path)
}
