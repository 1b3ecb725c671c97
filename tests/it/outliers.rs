//! Outliers of a run whose faults are known: verdicts, score, files, and what suspicious training stars do.

use std::path::Path;

use maury::spectra::grid::WavelengthGrid;
use ndarray::{Array1, Array2};
use ndarray_npy::WriteNpyExt;
use serde_json::Value;

use crate::support::{N_PIXELS, Normal, metrics, save, succeeded, truth};

const STARS: usize = 240;
const LABELS: [&str; 3] = ["teff", "logg", "fe_h"];
/// Errors of the catalogue, in the labels' own scatter: far above those of the fits.
const CATALOGUE_ERROR: f64 = 0.05;
/// Shift of the second star in a binary: 46 km/s.
const SHIFT: usize = 11;

/// What is wrong with a star.
fn planted(star: usize) -> &'static str {
    match star % 12 {
        3 => "wrong_label",
        7 => "binary",
        _ => "none",
    }
}

/// Spectra of a known Cannon on the apStar grid as arrays, with wrong catalogue labels and binaries among them; star 0
/// has no pixel, star 1 no log g.
fn faulty_survey(folder: &Path) {
    let mut sample = truth(STARS, LABELS.len(), N_PIXELS, 11);
    let mut normal = Normal::new(3);
    let mut catalogue = sample.labels.mapv(|label| label + CATALOGUE_ERROR * normal.draw());
    for star in 0..STARS {
        match planted(star) {
            // The labels of another star, that is far away.
            "wrong_label" => {
                let far = |other: &usize| (sample.labels[[*other, 0]] - sample.labels[[star, 0]]).abs() > 1.0;
                let other = (star + 1..STARS).chain(0..star).find(far).unwrap();
                let row = sample.labels.row(other).to_owned();
                catalogue.row_mut(star).assign(&row);
            }
            "binary" => {
                let single = sample.flux.row(star).to_owned();
                for pixel in SHIFT..N_PIXELS {
                    sample.flux[[star, pixel]] = 0.65 * single[pixel] + 0.35 * single[pixel - SHIFT];
                }
            }
            _ => {}
        }
    }
    sample.ivar.row_mut(0).fill(0.0);
    catalogue[[1, 1]] = f64::NAN;
    save(folder, "flux.npy", &sample.flux);
    save(folder, "ivar.npy", &sample.ivar);
    let wavelengths = Array1::from_vec(WavelengthGrid::apogee().wavelength);
    wavelengths.write_npy(std::fs::File::create(folder.join("wavelengths.npy")).unwrap()).unwrap();
    let table = |labels: &Array2<f64>, last: &dyn Fn(usize) -> String| -> String {
        let row = |star: usize| {
            let cells = labels.row(star).into_iter().map(|l| if l.is_finite() { l.to_string() } else { String::new() });
            format!("s{star:03},{}{}\n", cells.collect::<Vec<_>>().join(","), last(star))
        };
        (0..labels.nrows()).map(row).collect()
    };
    let head = format!("id,{}", LABELS.join(","));
    std::fs::write(folder.join("labels.csv"), format!("{head}\n{}", table(&catalogue, &|_| String::new()))).unwrap();
    let pathology = |star: usize| format!(",{}", planted(star));
    std::fs::write(folder.join("truth.csv"), format!("{head},pathology\n{}", table(&sample.labels, &pathology)))
        .unwrap();
    let experiment = "\
labels = [\"teff\", \"logg\", \"fe_h\"]
continuum.method = \"none\"
[data]
truth = \"truth.csv\"
[data.arrays]
flux = \"flux.npy\"
ivar = \"ivar.npy\"
labels = \"labels.csv\"
wavelengths = \"wavelengths.npy\"
[models.cannon.cannon]
[models.linear.cannon]
order = 1
[outliers]
sigma = 5.0
figures = 2
";
    std::fs::write(folder.join("faulty.toml"), experiment).unwrap();
}

#[test]
fn planted_faults_are_named_by_evidence_and_their_stars_harm_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    faulty_survey(path);
    succeeded(path, &["run", "faulty.toml"]);
    let latest = path.join("experiments/faulty/latest");
    let outliers = &metrics(path, "faulty")["outliers"];
    assert_eq!(outliers["model"], "cannon");
    let score = &outliers["score"];
    let count = |of: &Value| of.as_u64().unwrap_or(0);
    // Some ten of each are in the test half. A wrong label deviates by far more than the catalogue's errors; a binary may
    // not, but is recognized whether it does or not.
    let wrong = &score["faults"]["wrong_label"];
    assert!(count(&wrong["n_listed"]) >= 5, "{score:#}");
    assert!(wrong["recall"].as_f64().unwrap() >= 0.8 && wrong["precision"].as_f64().unwrap() >= 0.8, "{score:#}");
    let recognized: u64 =
        ["confusion", "confusion_of_others"].iter().map(|of| count(&score[*of]["binary"]["binary"])).sum();
    assert!(recognized * 10 >= 8 * count(&score["faults"]["binary"]["n_planted"]), "{score:#}");
    assert!(count(&score["confusion_of_others"]["healthy"]["binary"]) <= 2, "{score:#}");
    let healthy = &score["confusion"]["healthy"];
    let listed: u64 =
        healthy.as_object().unwrap().iter().filter(|(k, _)| *k != "not-listed").map(|(_, n)| count(n)).sum();
    assert!(listed <= 3 && count(&healthy["not-listed"]) > 80, "{score:#}");

    // Without the suspects, found by models that did not train on them, the model is better: wrong labels in 8% of the
    // training stars, and binaries in as many, blur it.
    let effect = &outliers["effect"];
    assert!(count(&effect["suspects_planted"]["wrong_label"]) >= 5, "{effect:#}");
    assert!(count(&effect["suspects_planted"]["healthy"]) <= 2, "{effect:#}");
    let scatter = |of: &str| effect["scatter"]["healthy_vs_truth"]["teff"][of]["scatter"].as_f64().unwrap();
    assert!(scatter("removed") < 0.8 * scatter("before"), "{effect:#}");
    assert!(scatter("relabelled") < 0.8 * scatter("before"), "{effect:#}");

    let csv = std::fs::read_to_string(latest.join("outliers.csv")).unwrap();
    let head = csv.lines().next().unwrap();
    assert!(head.starts_with("id,verdict,label,teff_catalogue,teff_estimate,teff_error,teff_deviation"), "{head}");
    assert_eq!(csv.lines().count() as u64, 1 + count(&outliers["n_outliers"]));
    assert!(latest.join("outliers.fits").is_file());
    let page = std::fs::read_to_string(latest.join("outliers.html")).unwrap();
    let first = csv.lines().nth(1).unwrap().split(',').next().unwrap();
    assert!(page.contains(&format!("<h2>{first}: ")) && page.contains("Verdicts against the truth"));
    assert_eq!(page.matches("<figure>").count(), 2, "figures are limited");
    assert!(!page.contains("NaN") && !page.contains("href="));
    // A star without a pixel has no estimate to deviate; one that lacks a label is judged by the others.
    assert!(!csv.contains("\ns000,"), "{csv}");
}

#[test]
fn one_model_without_outliers_leaves_empty_tables_and_none_are_asked_for_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    faulty_survey(path);
    let alone =
        std::fs::read_to_string(path.join("faulty.toml")).unwrap().replace("[models.linear.cannon]\norder = 1\n", "");
    std::fs::write(path.join("faulty.toml"), alone).unwrap();
    let quick = ["--set", "outliers.retrain=false", "--set", "max_training_stars=40"];
    succeeded(path, &[&["run", "faulty.toml", "--set", "outliers.sigma=1e9"], quick.as_slice()].concat());
    let latest = path.join("experiments/faulty/latest");
    let outliers = &metrics(path, "faulty")["outliers"];
    assert!(outliers["n_outliers"] == 0 && outliers["effect"].is_null() && outliers["score"]["accuracy"].is_null());
    assert_eq!(std::fs::read_to_string(latest.join("outliers.csv")).unwrap().lines().count(), 1);
    assert!(latest.join("outliers.fits").is_file());
    let page = std::fs::read_to_string(latest.join("outliers.html")).unwrap();
    assert!(page.contains("0 deviate from the catalogue") && !page.contains("<figure>"));

    succeeded(path, &[&["run", "faulty.toml", "--set", "outliers.most=0"], quick.as_slice()].concat());
    assert!(metrics(path, "faulty")["outliers"].is_null() && !latest.join("outliers.csv").exists());
}
