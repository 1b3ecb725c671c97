//! Many labels: what the mock's catalogue says of every element, terms that enter linearly, windows, and which labels are read.

use std::path::Path;

use maury::data::catalogue::Catalogue;
use maury::data::table::Table;
use maury::device::{Compute, Precision};
use maury::mock::{MockSettings, survey};
use maury::progress::Silent;
use maury::spectra::pixmask::Place;
use maury::stats::robust::{mean, median};
use maury::training::line_windows::LineWindows;
use maury::training::payne_checkpoint::TrainedPayne;
use maury::training::window_settings::WindowSettings;
use ndarray::Array2;

use crate::support::{json, real_data, refused, say, succeeded};

/// Abundances of DR17 that model spectra know.
const KNOWN: [&str; 20] = [
    "c_fe", "ci_fe", "n_fe", "o_fe", "na_fe", "mg_fe", "al_fe", "si_fe", "p_fe", "s_fe", "k_fe", "ca_fe", "ti_fe",
    "tiii_fe", "v_fe", "cr_fe", "mn_fe", "co_fe", "ni_fe", "cu_fe",
];

#[test]
fn the_catalogue_has_every_abundance_of_dr17_with_errors_that_grow_and_gaps() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("mock");
    survey::write(&folder, &MockSettings { stars: 120, seed: 4, ..MockSettings::default() }, &Silent).unwrap();
    let labels: Vec<String> =
        ["teff", "fe_h", "vmicro", "ce_fe", "yb_fe"].iter().chain(&KNOWN).map(|label| label.to_string()).collect();
    let stars = Catalogue::read(&folder.join("allStar.fits"), "", &labels).unwrap();
    let known: Vec<String> =
        labels.iter().filter(|label| !["ce_fe", "yb_fe"].contains(&label.as_str())).cloned().collect();
    let truth = Catalogue::read(&folder.join("truth.csv"), "", &known).unwrap();
    let of = |catalogue: &Catalogue, names: &[String], label: &str| -> Vec<f64> {
        let k = names.iter().position(|name| name == label).unwrap();
        catalogue.labels.iter().map(|row| row[k]).collect()
    };
    let error = |label: &str| -> Vec<f64> {
        let k = labels.iter().position(|name| name == label).unwrap();
        stars.label_errors.iter().map(|row| row[k]).collect()
    };
    let mut table = Table::open(&folder.join("truth.csv")).unwrap();
    let rows = 0..table.n_rows();
    let healthy: Vec<bool> = table.texts("pathology", rows, "").unwrap().iter().map(|tag| tag == "none").collect();
    let mut missing = 0;
    for label in KNOWN {
        let (seen, true_values) = (of(&stars, &labels, label), of(&truth, &known, label));
        let errors = error(label);
        let found = |star: &usize| healthy[*star] && seen[*star].is_finite();
        let pulls: Vec<f64> = (0..stars.len())
            .filter(found)
            .map(|star| ((seen[star] - true_values[star]) / errors[star]).abs())
            .collect();
        // 0.67 for errors true to size; those quoted are a tenth too small, and a hundred stars tell a median to a tenth.
        assert!((0.5..1.1).contains(&median(&pulls)), "{label}: {}", median(&pulls));
        assert!(pulls.len() > 70, "{label}: {} stars", pulls.len());
        let lost = (0..stars.len()).filter(|star| healthy[*star] && seen[*star].is_nan()).count();
        assert!(lost == 0 || !["mg_fe", "si_fe"].contains(&label), "{label} is lost by pathology alone");
        missing += lost;
        assert_eq!(
            seen.iter().map(|value| value.is_nan()).collect::<Vec<_>>(),
            errors.iter().map(|e| e.is_nan()).collect::<Vec<_>>()
        );
    }
    // Of 2000 abundances some hundredth.
    assert!((10..200).contains(&missing), "{missing}");
    assert!(["ce_fe", "yb_fe"].iter().all(|label| of(&stars, &labels, label).iter().all(|value| value.is_nan())));
    // Sodium is measured worse than nickel, and worse in metal-poor stars than in others.
    let (sodium, nickel, iron) = (error("na_fe"), error("ni_fe"), of(&stars, &labels, "fe_h"));
    let mean_of = |errors: &[f64], is_in: &dyn Fn(f64) -> bool| {
        let chosen = errors.iter().zip(&iron).filter(|(error, iron)| error.is_finite() && is_in(**iron));
        mean(&chosen.map(|(error, _)| *error).collect::<Vec<f64>>())
    };
    assert!(mean_of(&sodium, &|_| true) > 2.0 * mean_of(&nickel, &|_| true));
    assert!(mean_of(&sodium, &|iron| iron < -0.4) > 1.2 * mean_of(&sodium, &|iron| iron > -0.1));
    // Microturbulence is in km/s, and DR17 quotes no error of it.
    let vmicro = of(&stars, &labels, "vmicro");
    assert!(
        vmicro.iter().all(|vmicro| (0.3..3.5).contains(vmicro)) && error("vmicro").iter().all(|error| error.is_nan())
    );
    let off: Vec<f64> =
        vmicro.iter().zip(of(&truth, &known, "vmicro")).map(|(seen, truth)| (seen - truth).abs()).collect();
    assert!((0.02..0.12).contains(&median(&off)), "{}", median(&off));
}

#[test]
fn windows_of_the_emulator_hold_what_the_survey_weighs() {
    let Some(path) = real_data("lines/element_windows_dr12.csv") else { return };
    let compute = Compute::flex(Precision::F32);
    let emulator = TrainedPayne::shipped(&compute).unwrap();
    // Magnesium, which gives electrons to the whole atmosphere, answers in most pixels: its windows are no lines.
    let labels: Vec<String> =
        ["c", "n", "o", "na", "al", "si", "s", "k", "ca", "ti", "v", "mn", "ni"].map(|x| format!("{x}_fe")).to_vec();
    let giants = Array2::from_elem((1, labels.len()), f64::NAN);
    let settings = WindowSettings::default();
    let windows = LineWindows::new(&settings, &labels, giants.view(), &emulator.preparation, &compute).unwrap();
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows: Vec<(String, usize, f64)> = reader
        .deserialize()
        .map(|row| row.map(|(element, pixel, _, weight): (String, usize, f64, f64)| (element, pixel, weight)).unwrap())
        .collect();
    let on_chip = emulator.preparation.places();
    for label in &labels {
        let element = label.strip_suffix("_fe").unwrap();
        let own = rows
            .iter()
            .filter(|(name, pixel, _)| name.eq_ignore_ascii_case(element) && on_chip[*pixel] == Place::OnChip);
        let weight = |is_in: &dyn Fn(usize) -> bool| -> f64 {
            own.clone().filter(|(_, pixel, _)| is_in(*pixel)).map(|(_, _, weight)| weight).sum()
        };
        let held = weight(&|pixel| windows.of_labels[label][pixel]) / weight(&|_| true);
        let share = windows.share(label).unwrap();
        say(&format!("{label}: windows in {share:.3} of the pixels hold {held:.2} of DR12's weights"));
        assert!(held > 0.85, "{label}: {held}");
    }
}

const EXPERIMENT: &str = "\
labels = ['teff', 'logg', 'fe_h', 'vmicro', 'mg_fe', 'si_fe', 'al_fe', 'v_fe']
split = 'halves'
outliers.most = 0
bootstrap.resamples = 200
calibration.folds = 2
[selection]
keep_missing_labels = true
[data.mock]
stars = 200
seed = 6
[elements]
[models.additive.cannon]
additive = ['mg_fe', 'si_fe', 'al_fe', 'v_fe']
[models.windows.cannon]
linear = ['mg_fe', 'si_fe', 'al_fe', 'v_fe']
windows = { share = 0.8 }
";

#[test]
fn a_run_tells_which_labels_are_read_and_what_windows_cost() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path();
    std::fs::write(place.join("few.toml"), EXPERIMENT).unwrap();
    succeeded(place, &["run", "few.toml"]);
    let run = std::fs::canonicalize(place.join("experiments/few/latest")).unwrap();
    let metrics = json(&run.join("metrics.json"));
    // Four polynomial labels (15 terms), four abundances alone or each with these: 15 + 4 and 15 + 4 * 5.
    let n_terms = |model: &str| metrics["models"][model]["n_parameters"].as_u64().unwrap();
    assert_eq!(n_terms("additive"), 8575 * (15 + 4 + 1));
    let training = &metrics["models"]["windows"]["training"][0];
    let nil = training["n_nil_coefficients"].as_u64().unwrap();
    assert!(nil > 0 && n_terms("windows") == 8575 * (15 + 20 + 1) - nil);
    let shares = training["window_shares"].as_object().unwrap();
    assert_eq!(shares.keys().collect::<Vec<_>>(), ["al_fe", "mg_fe", "si_fe", "v_fe"]);
    assert!(shares.values().all(|share| (0.001..0.9).contains(&share.as_f64().unwrap())), "{shares:?}");

    let elements = &metrics["elements"];
    assert_eq!(elements["reference"], "truth, healthy stars");
    for model in ["additive", "windows"] {
        let labels = &elements["models"][model]["labels"];
        let counts = elements["models"][model]["counts"].as_object().unwrap();
        assert_eq!(counts.values().map(|count| count.as_u64().unwrap()).sum::<u64>(), 8);
        for (label, found) in labels.as_object().unwrap() {
            // What is not clearly better than the regression on other labels is noisy, or a correlation, and nothing else is.
            let is_clear = found["difference"]["interval"][1].as_f64().unwrap() < 0.0;
            let is_own = found["own_correlation"]["interval"][0].as_f64().is_some_and(|least| least > 0.3);
            assert_eq!(found["verdict"] == "correlation", !is_clear && !is_own, "{model} {label}: {found}");
            assert_eq!(found["verdict"] == "noisy", !is_clear && is_own, "{model} {label}: {found}");
            let (own, others) = (found["robust_scatter"].as_f64().unwrap(), found["from_others"].as_f64().unwrap());
            assert!((found["ratio"].as_f64().unwrap() - own / others).abs() < 1e-9, "{model} {label}: {found}");
        }
        // Hundreds of lines tell the iron, and no other label does so well.
        assert_ne!(labels["fe_h"]["verdict"], "correlation", "{model}: {}", labels["fe_h"]);
        assert!(labels["mg_fe"]["own_correlation"]["interval"][0].as_f64().unwrap() > 0.0, "{}", labels["mg_fe"]);
        assert!(labels["mg_fe"]["calibrated_error"].as_f64().unwrap() > 0.0);
        let lines = &labels["mg_fe"]["lines"];
        let share = |field: &str| lines[field].as_f64().unwrap();
        assert!(share("gradient_share") > share("pixel_share") + 0.1, "{model}: {lines}");
        assert_eq!(lines["atomic_lines"]["species"], "Mg I");
        assert!(labels["teff"]["lines"]["pixel_share"].is_null());
    }
    // Where a label does not act it has no gradient: windows of the same share of the emulator's answer hold all of it.
    let windowed = &elements["models"]["windows"]["labels"]["v_fe"]["lines"];
    assert!((windowed["gradient_share"].as_f64().unwrap() - 1.0).abs() < 1e-6, "{windowed}");

    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    for words in ["Read from its own lines, or inferred", "labels act only in windows", "by own lines", "[V/Fe]"] {
        assert!(page.contains(words), "{words}");
    }

    // The folder labels spectra as the run did, windows and all.
    let folder = run.join("models/windows").display().to_string();
    let spectra = place.join("experiments/.prepared/mock-200-stars-seed-6-v2/spectra/apo25m/M15").display().to_string();
    succeeded(place, &["label", "--model", &folder, "--out", "labels", &spectra]);
    let teff = |path: &Path| -> std::collections::BTreeMap<String, f64> {
        let mut table = Table::open(path).unwrap();
        let rows = 0..table.n_rows();
        let ids = table.texts("id", rows.clone(), "").unwrap();
        ids.into_iter().zip(table.numbers("teff_estimate", rows, "").unwrap()).collect()
    };
    let (of_run, of_label) = (teff(&run.join("predictions-windows.fits")), teff(&place.join("labels.fits")));
    let both: Vec<f64> = of_label.iter().filter_map(|(id, teff)| Some((teff - of_run.get(id)?).abs())).collect();
    assert!(both.len() > 10 && median(&both) < 0.1, "{both:?}");
}

#[test]
fn terms_and_windows_that_make_no_sense_are_refused_with_their_key() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("few.toml"), EXPERIMENT).unwrap();
    let refusal = |set: &str, said: &[&str]| refused(root.path(), &["check", "few.toml", "--set", set], 2, said);
    refusal("models.additive.cannon.linear=['mg_fe']", &["models.additive.cannon.additive", "keep one"]);
    refusal("models.windows.cannon.linear=['mg_h']", &["models.windows.cannon.linear", "no label of this experiment"]);
    refusal("models.windows.cannon.windows.share=0.0", &["models.windows.cannon.windows.share", "above 0"]);
    refusal("models.windows.cannon.latent={}", &["models.windows.cannon.windows", "without `latent`"]);
    refusal("models.additive.cannon.censor.mg_fe=[[1,2]]", &["censor.mg_fe names windows without a pixel", "15100.8"]);
    refusal("models.additive.cannon.additive=['mg_fe','MG_FE']", &["additive names `MG_FE` twice"]);
    refusal("elements.share=1.0", &["elements.share", "above 0 and below 1"]);
}
