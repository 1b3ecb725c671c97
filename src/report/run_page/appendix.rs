//! The end of a run's page: how it was made, and what lies beside it.

use super::{Run, summary};
use crate::report::html::{Cell, Page};

/// Versions, seeds, times, settings, files.
pub(super) fn appendix(page: &mut Page, run: &Run) {
    let facts = run.facts();
    page.heading("How this was made");
    page.tell(
        &facts,
        &[
            "maury {maury_version} on Burn {burn_version}, backend {settings.device.backend} in \
             {settings.device.precision}, seed {seed}; written {written_at}. Peak memory {peak_memory_mb:.0} MB.",
            "The same settings and seed give the same stars, folds and draws; the whole configuration is below, and in \
             experiment.toml beside this page: maury run experiment.toml does it again, maury report renders this page \
             again from the run's folder without computing anything.",
        ],
    );
    summary::training(page, run);
    let row = |step: &&str| {
        vec![
            Cell::words(step),
            Cell::told(&facts, &format!("{{timings.{step}.wall_s:.1}}")),
            Cell::told(&facts, &format!("{{timings.{step}.cpu_s:.1}}")),
        ]
    };
    let steps = facts.names("timings");
    page.table(&["step", "seconds", "CPU seconds"], &steps.iter().map(row).collect::<Vec<_>>());
    page.open_details("The configuration, every default filled in");
    page.verbatim(run.settings());
    page.close_details();
    page.subheading("Files beside this page");
    let models = match facts.yes("labels_apstar_files") {
        Some(true) => {
            "the trained models: maury label takes them, and maury posterior those that predict flux, as a Cannon does"
        }
        Some(false) => {
            "the trained models: maury label takes them with further spectra of this survey (--flux, --error or --ivar), and \
             maury posterior those that predict flux, as a Cannon does"
        }
        None => "the trained models",
    };
    let of_models = |stem: &str, endings: &str, what: &'static str| {
        let of = |model: &&str| {
            let file = format!("{stem}-{model}.fits");
            (format!("{file}{endings}"), file, what)
        };
        run.models().iter().map(of).collect::<Vec<_>>()
    };
    let file = |name: &str, path: &str, what: &'static str| (name.to_string(), path.to_string(), what);
    let mut files = vec![
        file("metrics.json", "metrics.json", "every number of this page"),
        file(
            "explore.html",
            "explore.html",
            "every test star to look at: diagrams, a table, spectra beside their models",
        ),
        file(
            "predictions.fits, .csv",
            "predictions.fits",
            "estimates, errors and flags of every test star; one more for each model",
        ),
    ];
    files.extend(of_models(
        "posterior",
        ", .csv",
        "posterior of every test star: quantiles, widths, diagnostics, flags",
    ));
    files.extend(of_models("spectra", "", "best fit, residual and continuum of every test star, pixel by pixel"));
    files.extend([
        file("dependence.fits, .csv", "dependence.fits", "bias and scatter in bins of SNR and of each label"),
        file(
            "outliers.html, .fits, .csv",
            "outliers.html",
            "stars that disagree with the catalogue, with all evidence",
        ),
        file("figures/", "figures", "every figure as SVG, and those of the models as PNG"),
        file("models/", "models", models),
        file("tensorboard/", "tensorboard", "training of networks, for TensorBoard"),
        file("experiment.toml, log.txt", "experiment.toml", "all settings; what was said"),
    ]);
    let there = files.iter().filter(|(_, path, _)| run.has_file(path));
    let rows: Vec<Vec<Cell>> = there.map(|(name, _, what)| vec![Cell::words(name), Cell::words(what)]).collect();
    page.table(&["file", "content"], &rows);
    let mut sources = vec!["The Cannon: Ness et al. 2015, ApJ 808, 16."];
    if facts.has("settings.data.mock") {
        sources.push("The mock survey's spectra: an emulator after The Payne, Ting et al. 2019, ApJ 879, 69.");
    }
    if facts.has("settings.data.mock") || facts.has("settings.data.apstar") {
        sources.push("Format and labels: APOGEE DR17, Abdurro'uf et al. 2022, ApJS 259, 35.");
    }
    if facts.has("lab.kiel") {
        sources.push("Isochrones: MIST, Dotter 2016, ApJS 222, 8, and Choi et al. 2016, ApJ 823, 102.");
    }
    page.tell(&facts, &sources);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// The end of the page of a run with these numbers, whose folder holds these files.
    fn page_of(metrics: Value, files: &[&str]) -> String {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|file| std::fs::write(folder.path().join(file), "").unwrap());
        let mut page = Page::new("run");
        appendix(&mut page, &Run { folder: folder.path().to_path_buf(), metrics, settings: String::new() });
        page.finish()
    }

    #[test]
    fn models_are_promised_only_for_what_they_can_do() {
        let page = |of_apstar: Value| page_of(json!({ "labels_apstar_files": of_apstar }), &["models"]);
        assert!(page(json!(true)).contains("maury label takes them"));
        let arrays = page(json!(false));
        assert!(arrays.contains("with further spectra of this survey (--flux"));
        // Of an older version.
        assert!(page(Value::Null).contains("<td class=\"w\">the trained models</td>"));
        assert!(!page_of(json!({}), &[]).contains("the trained models"));
    }

    #[test]
    fn tables_and_spectra_of_models_are_listed_where_they_are() {
        let metrics = json!({ "models": { "cannon": {}, "net": {} } });
        let html = page_of(metrics, &["posterior-cannon.fits", "spectra-cannon.fits"]);
        assert!(html.contains("posterior-cannon.fits, .csv") && html.contains(">spectra-cannon.fits<"), "{html}");
        assert!(!html.contains("posterior-net") && !html.contains("spectra-net"), "{html}");
    }
}
