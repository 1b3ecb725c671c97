//! Regressions that are made to follow their labels in full, from training to labels of new spectra.

use std::path::Path;

use ndarray::Array2;

use crate::support::{Normal, json, latest, numbers, refused, save, succeeded, told};

/// 600 stars of two labels, known to 0.1 and 0.05 of their spread, in 24 pixels, half of them noisy: labels of those are drawn to the mean.
fn write_survey(folder: &Path) {
    let mut normal = Normal::new(31);
    let (n_stars, n_pixels) = (600, 24);
    let labels = Array2::from_shape_fn((n_stars, 2), |_| normal.draw());
    let slopes = Array2::from_shape_fn((2, n_pixels), |_| 0.04 * normal.draw());
    let noise = |star: usize| if star.is_multiple_of(2) { 0.1_f64 } else { 0.03 };
    let clean = labels.dot(&slopes);
    let flux = Array2::from_shape_fn((n_stars, n_pixels), |(star, pixel)| {
        (0.9 + clean[[star, pixel]] + noise(star) * normal.draw()) as f32
    });
    let error = Array2::from_shape_fn((n_stars, n_pixels), |(star, _)| noise(star) as f32);
    save(folder, "flux.npy", &flux);
    save(folder, "error.npy", &error);
    let (mut catalogue, mut truth) = ("id,snr,teff,logg,teff_err,logg_err\n".to_string(), "id,teff,logg\n".to_string());
    for star in 0..n_stars {
        let (teff, logg) = (4500.0 + 300.0 * labels[[star, 0]], 2.5 + 0.8 * labels[[star, 1]]);
        let (seen_teff, seen_logg) = (teff + 30.0 * normal.draw(), logg + 0.04 * normal.draw());
        let snr = noise(star).recip() + 1e-3 * star as f64;
        catalogue += &format!("s{star:03},{snr},{seen_teff},{seen_logg},30,0.04\n");
        truth += &format!("s{star:03},{teff},{logg}\n");
    }
    std::fs::write(folder.join("labels.csv"), catalogue).unwrap();
    std::fs::write(folder.join("truth.csv"), truth).unwrap();
}

const SURVEY: &str = "\
labels = ['teff', 'logg']
data.truth = 'truth.csv'
continuum.method = 'none'
[data.arrays]
flux = 'flux.npy'
error = 'error.npy'
labels = 'labels.csv'
";

#[test]
fn a_ridge_that_falls_short_follows_in_full_and_labels_new_spectra_alike() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path();
    write_survey(place);
    let ridge = "kernel = 'linear'\nmasked = 'mean'\n";
    let models = format!("[models.plain.ridge]\n{ridge}[models.full.ridge]\n{ridge}correct_slopes = true\n");
    std::fs::write(place.join("slopes.toml"), format!("{SURVEY}{models}")).unwrap();
    succeeded(place, &["run", "slopes.toml"]);
    let run = latest(place, "slopes");
    let metrics = json(&run.join("metrics.json"));
    for label in ["teff", "logg"] {
        let of = |model: &str| metrics["models"][model]["saturation"][label].clone();
        let parts = |model: &str| -> Vec<f64> {
            let parts = of(model)["along_snr"].as_array().unwrap().clone();
            parts.iter().map(|part| part["slope"].as_f64().unwrap()).collect()
        };
        // 300 test stars in five parts, the noisy first: slopes are known to 0.05 and 0.02.
        let (plain, full) = (parts("plain"), parts("full"));
        assert!(plain.iter().all(|slope| *slope < 0.95), "{label}: {plain:?}");
        assert!(full.iter().all(|slope| (slope - 1.0).abs() < 0.16), "{label}: {full:?}");
        let (before, after) = (of("plain")["slope"].as_f64().unwrap(), of("full")["slope"].as_f64().unwrap());
        assert!(before < 0.93 && (after - 1.0).abs() < 0.04, "{label}: {before} {after}");
    }
    let slopes = &metrics["models"]["full"]["slopes"][0];
    assert!(slopes["labels"][0]["slope"].as_f64().unwrap() < 0.93 && metrics["models"]["plain"]["slopes"].is_null());
    // Errors stay true to size.
    let width = |model: &str| {
        let check = &metrics["models"][model]["error_checks"]["truth"]["teff"]["calibrated"]["pulls"]["robust_width"];
        check.as_f64().unwrap()
    };
    assert!((0.8..1.25).contains(&width("full")) && (0.8..1.25).contains(&width("plain")));
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("full was made to follow its labels in full") && !page.contains("plain was made to follow"));
    assert!(run.join("figures/slopes_along_snr.svg").is_file() && run.join("models/full/slopes.json").is_file());

    let model = run.join("models/full").display().to_string();
    let label = ["label", "--model", &model, "--flux", "flux.npy", "--error", "error.npy"];
    let (kept, away) = (run.join("models/full/slopes.json"), place.join("away.json"));
    std::fs::rename(&kept, &away).unwrap();
    refused(place, &label, 1, &["slopes.json, which says how its labels are corrected, is missing"]);
    std::fs::rename(&away, &kept).unwrap();
    succeeded(
        place,
        &[
            "label",
            "--model",
            &model,
            "--flux",
            "flux.npy",
            "--error",
            "error.npy",
            "--ids",
            "labels.csv",
            "--out",
            "new",
        ],
    );
    for column in ["teff_estimate", "teff_error", "teff_error_calibrated", "logg_estimate"] {
        let of_label: std::collections::HashMap<String, f64> =
            numbers(&place.join("new.csv"), column).into_iter().collect();
        let of_run = numbers(&run.join("predictions-full.csv"), column);
        assert!(of_run.len() == 300);
        for (id, value) in of_run {
            assert!((value / of_label[&id] - 1.0).abs() < 1e-3, "{column} {id}: {value} {}", of_label[&id]);
        }
    }
}

#[test]
fn slopes_that_nobody_can_know_are_left_alone_or_refused_in_words() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path();
    write_survey(place);
    let toml = format!("{SURVEY}[models.full.ridge]\nkernel = 'linear'\nmasked = 'mean'\ncorrect_slopes = true\n");
    std::fs::write(place.join("slopes.toml"), toml).unwrap();
    refused(
        place,
        &["check", "slopes.toml", "--set", "calibration.folds=0"],
        2,
        &["calibration.folds must be at least 2 with correct_slopes"],
    );
    let table = std::fs::read_to_string(place.join("labels.csv")).unwrap().replace("logg_err", "other");
    std::fs::write(place.join("labels.csv"), table).unwrap();
    told(
        place,
        &["run", "slopes.toml"],
        &["correct_slopes leaves logg as it is: the catalogue quotes no errors of it"],
    );
    let slopes = &json(&latest(place, "slopes").join("metrics.json"))["models"]["full"]["slopes"][0]["labels"];
    assert!(slopes[0].is_object() && slopes[1].is_null());
    // A number will do.
    told(
        place,
        &["run", "slopes.toml", "--set", "data.columns.logg={ column = 'logg', error = '0.04' }"],
        &["estimates of logg follow it by"],
    );
}
