//! Calibrated errors and combined models from outside: what a run leaves, and what `maury label` makes of it.

use crate::support::{json, numbers, refused, succeeded, survey, told};

const MODELS: &str = "\
[calibration]
folds = 3
[models.plain.cannon]
order = 1
[models.ridge.ridge]
kernel = \"linear\"
masked = \"mean\"
[models.smooth.ridge]
[models.both.combination]
of = [\"plain\", \"ridge\"]
";

/// The small survey with three models and a combination, run.
fn project(n: usize, more: &str) -> tempfile::TempDir {
    let folder = survey(n);
    std::fs::write(folder.path().join("all.toml"), format!("extends = \"lab.toml\"\n{MODELS}{more}")).unwrap();
    folder
}

#[test]
fn models_without_calibrated_errors_are_named_with_a_remedy() {
    let folder = survey(24);
    let models = "extends = \"lab.toml\"\n[models.plain.cannon]\norder = 1\n[models.quadratic.cannon]\norder = 2\n";
    std::fs::write(folder.path().join("few.toml"), models).unwrap();
    let said = [
        "plain: no calibrated errors: 12 training stars held out are too few; give more training stars",
        "quadratic: 12 training stars for 10 coefficients per pixel hardly determine them",
        "quadratic: no calibrated errors: training 10 coefficients per pixel: 8 stars left, at least 11 needed",
        "or raise calibration.folds above 3",
    ];
    told(folder.path(), &["run", "few.toml"], &said);
}

#[test]
fn a_combination_that_cannot_be_calibrated_is_refused_before_anything_trains() {
    let both = |order: usize| {
        format!(
            "extends = \"lab.toml\"\n[models.poly.cannon]\norder = {order}\n[models.ridge.ridge]\n[models.both.combination]\n\
             of = [\"poly\", \"ridge\"]\n"
        )
    };
    // Of 32 stars two thirds are 21, of 30 they are 20; a cubic of three labels has 20 terms.
    for (n, order, said) in [
        (24, 2, ["calibration: 12 stars left, at least 24 needed", "both combines models whose errors are calibrated"]),
        (
            60,
            3,
            ["calibration: 30 stars left, at least 32 needed", "both combines poly, which 21 stars or more must teach"],
        ),
    ] {
        let folder = survey(n);
        std::fs::write(folder.path().join("few.toml"), both(order)).unwrap();
        refused(folder.path(), &["run", "few.toml"], 1, &said);
    }
    let folder = survey(24);
    std::fs::write(folder.path().join("ridge.toml"), "extends = \"lab.toml\"\n[models.ridge.ridge]\n").unwrap();
    let filling = ["ridge: 12 training stars hardly teach the Cannon that fills its masked pixels"];
    told(folder.path(), &["run", "ridge.toml"], &filling);
    let few =
        ["training the Cannon that fills masked pixels: 5 stars left", "or masked = \"mean\", which does without one"];
    refused(folder.path(), &["run", "ridge.toml", "--set", "max_training_stars=5"], 1, &few);
}

#[test]
fn a_chip_that_is_left_out_is_lost_by_no_star() {
    let folder = project(60, "");
    let exclude = "pixmask.exclude=[[16470, 17000]]";
    succeeded(folder.path(), &["run", "all.toml", "--set", exclude]);
    let models = &json(&folder.path().join("experiments/all/latest/metrics.json"))["models"];
    for model in ["plain", "ridge", "both"] {
        assert!(models[model]["n_flagged"]["CHIP_LOST"].is_null(), "{}", models[model]["n_flagged"]);
        let calibration = &models[model]["calibration"][0]["labels"][0];
        assert!(calibration["floor"].as_f64().unwrap() > 0.0, "{model}");
    }
    // Nor by one that is labelled alone.
    let words = ["label", "--model", "experiments/all/latest/models/plain", "--out", "alone", "spectra"];
    succeeded(folder.path(), &words);
    assert!(numbers(&folder.path().join("alone.csv"), "flags").iter().all(|(_, flags)| *flags as i64 & 2 == 0));
    assert!(numbers(&folder.path().join("alone.csv"), "teff_error_calibrated").iter().all(|(_, error)| *error > 0.0));
}

#[test]
fn every_model_has_calibrated_errors_and_labels_single_spectra_with_them() {
    let folder = project(120, "");
    let short = succeeded(folder.path(), &["run", "all.toml"]);
    // Two lines a model and what explains them, whatever the tables have.
    assert!(
        short.lines().count() < 30 && short.contains("calibrated") && short.contains("pull, 1 expected"),
        "{short}"
    );
    let table = succeeded(folder.path(), &["report", "--text", "all"]);
    assert!(table.contains("errors of both") && table.contains("held out") && table.contains("pulls"), "{table}");
    let run = folder.path().join("experiments/all/latest");
    let metrics = json(&run.join("metrics.json"));
    for model in ["plain", "ridge", "smooth", "both"] {
        assert!(run.join("models").join(model).join("calibration.json").is_file(), "{model}");
        let entry = &metrics["models"][model];
        let calibration = &entry["calibration"][0]["labels"][0];
        assert!(calibration["floor"].is_number() && calibration["outlier_fraction"].is_number(), "{calibration}");
        let check = &entry["error_checks"]["catalogue"]["teff"]["calibrated"];
        let width = check["pulls"]["robust_width"].as_f64().unwrap();
        // Sixty stars calibrate, sixty judge.
        assert!((0.6..1.6).contains(&width), "{model}: {width}");
        assert_eq!(check["coverage"].as_array().unwrap().len(), metrics["coverage_levels"].as_array().unwrap().len());

        // Files, prepared once more, get the labels and errors they had in the run.
        let words = ["label", "--model", &format!("experiments/all/latest/models/{model}"), "--out", model, "spectra"];
        succeeded(folder.path(), &words);
        for column in ["teff_estimate", "fe_h_error", "teff_error_calibrated"] {
            let labels: std::collections::BTreeMap<String, f64> =
                numbers(&folder.path().join(format!("{model}.csv")), column).into_iter().collect();
            let predicted = numbers(&run.join(format!("predictions-{model}.csv")), column);
            assert!(predicted.len() > 40);
            for (star, value) in predicted {
                // Batches differ, so sums run in another order in f32.
                assert!((labels[&star] / value - 1.0).abs() < 2e-3, "{model}, {column}: {} {value}", labels[&star]);
            }
        }
    }
    for figure in ["coverage.svg", "pit.png"] {
        assert!(run.join("figures").join(figure).is_file(), "{figure}");
    }
    let weights = &metrics["models"]["both"]["training"][0]["weights"]["teff"];
    let sum = weights["plain"].as_f64().unwrap() + weights["ridge"].as_f64().unwrap();
    assert!((sum - 1.0).abs() < 0.05, "{weights}");
    // On held-out stars no combination is worse than its best member.
    let report = &metrics["models"]["both"]["training"][0];
    for label in ["teff", "logg", "fe_h"] {
        let scatter = &report["held_out_scatter"][label];
        let members = ["plain", "ridge"].map(|name| scatter["members"][name].as_f64().unwrap());
        let combined = scatter["combination"].as_f64().unwrap();
        assert!(combined > 0.0 && combined <= members[0].min(members[1]) * (1.0 + 1e-12), "{label}: {scatter}");
        let recipe = report["recipes"][label].as_str().unwrap();
        assert!(["best-member", "shares", "shares-by-star"].contains(&recipe), "{recipe}");
    }
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("What both is made of") && page.contains("catalogue claims"), "report.html");
    // Whoever reads an error is told which one it is.
    let said = succeeded(folder.path(), &["label", "--model", "experiments/all/latest/models/both", "spectra"]);
    assert!(said.contains("errors are calibrated on stars held out, against the catalogue"), "{said}");
    std::fs::remove_file(run.join("models/both/calibration.json")).unwrap();
    let said = succeeded(folder.path(), &["label", "--model", "experiments/all/latest/models/both", "spectra"]);
    assert!(said.contains("errors are formal"), "{said}");
    // A combination without one of its models, or with a damaged regression, is refused by name.
    std::fs::remove_dir_all(run.join("models/plain")).unwrap();
    let both = "experiments/all/latest/models/both";
    refused(folder.path(), &["label", "--model", both, "spectra"], 1, &["the model plain it combines"]);
    std::fs::write(run.join("models/ridge/weights.safetensors"), "garbage").unwrap();
    let ridge = "experiments/all/latest/models/ridge";
    refused(folder.path(), &["label", "--model", ridge, "spectra"], 1, &["weights.safetensors"]);
}

#[test]
fn folds_keep_a_combination_each_and_calibration_can_be_left_out() {
    let folder = project(120, "[split.folds]\nk = 2\n");
    succeeded(folder.path(), &["run", "all.toml"]);
    let both = "experiments/all/latest/models/both/fold2";
    let table = succeeded(folder.path(), &["label", "--model", both, "spectra"]);
    assert!(table.contains("2M00000007+1234567"), "{table}");
    let off = ["run", "lab.toml", "--set", "calibration.folds=0"];
    assert!(!succeeded(folder.path(), &off).contains("held out"));
    let predictions = folder.path().join("experiments/lab/latest/predictions.csv");
    assert!(!std::fs::read_to_string(predictions).unwrap().contains("error_calibrated"));
    let off = ["run", "all.toml", "--set", "calibration.folds=0"];
    refused(folder.path(), &off, 2, &["calibration.folds", "at least 2 for models to be combined"]);
}
