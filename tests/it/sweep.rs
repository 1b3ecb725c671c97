//! Sweeps as their users meet them: one folder, a row per point, failed points among the others.

use std::path::Path;

use maury::data::fits::FitsReader;

use crate::support::{csv, json, latest, refused, succeeded, survey};

/// The survey's experiment with `[sweep]` and these lines.
fn write_sweep(folder: &Path, lines: &str) {
    std::fs::write(folder.join("sizes.toml"), format!("extends = \"lab.toml\"\n[sweep]\n{lines}\n")).unwrap();
}

#[test]
fn a_sweep_leaves_one_folder_with_a_row_per_point() {
    let folder = survey(60);
    write_sweep(folder.path(), "max_training_stars = [5, 12, 0]\n\"models.cannon.cannon.order\" = [1, 2]");
    let table = succeeded(folder.path(), &["run", "sizes.toml", "--set", "data.truth=allStar.fits"]);
    assert!(table.contains("failed: model cannon: training 10 coefficients per pixel: 5 stars left"), "{table}");
    // Two tables, each with its remark and a best value for each of three labels.
    assert_eq!((table.matches('*').count(), table.lines().filter(|line| line.contains("cannon")).count()), (8, 12));

    let run = latest(folder.path(), "sizes");
    let (names, rows) = csv(&run.join("sweep.csv"));
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("robust scatter of estimate - catalogue"));
    let column = |name: &str| {
        let index = names.iter().position(|known| known == name).unwrap_or_else(|| panic!("no {name}"));
        rows.iter().map(|row| row[index].as_str()).collect::<Vec<_>>()
    };
    assert_eq!(column("point"), ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(column("max_training_stars"), ["5", "5", "12", "12", "0", "0"]);
    assert_eq!(column("models.cannon.cannon.order"), ["1", "2", "1", "2", "1", "2"]);
    assert_eq!(column("n_train"), ["5", "0", "12", "12", "30", "30"]);
    assert_eq!(column("n_test"), ["30", "0", "30", "30", "30", "30"]);
    for quantity in ["bias", "scatter", "scatter_low", "robust_scatter_high", "median_abs_error"] {
        let values = column(&format!("fe_h_{quantity}"));
        assert!(values[1].is_empty() && values.iter().filter(|value| value.parse::<f64>().is_ok()).count() == 5);
        // The catalogue is the truth of this survey.
        assert_eq!(values, column(&format!("fe_h_{quantity}_vs_truth")));
    }
    for name in ["chi2_reduced_median", "train_wall_s", "train_cpu_s", "fit_wall_s", "fit_cpu_s", "peak_memory_mb"] {
        assert!(column(name)[5].parse::<f64>().unwrap() >= 0.0, "{name}");
    }
    let failed = column("failed");
    assert!(failed[1].contains("at least 11 needed") && failed.iter().filter(|why| why.is_empty()).count() == 5);
    let mut fits = FitsReader::open(&run.join("sweep.fits")).unwrap();
    assert_eq!(fits.table_layout(1).unwrap(), (6, names.clone()));
    assert_eq!(fits.integers(1, "models.cannon.cannon.order", 0..6).unwrap(), [1, 2, 1, 2, 1, 2]);

    // More stars and the right order do better: the survey is linear in its labels.
    let scatter: Vec<f64> = column("teff_scatter").iter().map(|value| value.parse().unwrap_or(f64::NAN)).collect();
    assert!(scatter[4] < scatter[2] && scatter[2] < scatter[0], "{scatter:?}");

    for name in ["sweep", "sweep-vs_truth"] {
        let svg = std::fs::read_to_string(run.join(format!("figures/{name}.svg"))).unwrap();
        for words in ["scatter of Teff [K]", "scatter of [Fe/H] [dex]", "training stars", "order = 2", "95% bootstrap"]
        {
            assert!(svg.contains(words), "{name}: {words}");
        }
        assert!(run.join(format!("figures/{name}.png")).is_file());
    }
    let metrics = json(&run.join("metrics.json"));
    assert_eq!(metrics["keys"], serde_json::json!(["max_training_stars", "models.cannon.cannon.order"]));
    let point = &metrics["points"][3];
    assert_eq!(point["values"], serde_json::json!({"max_training_stars": 12, "models.cannon.cannon.order": 2}));
    assert!(point["failed"].is_null() && metrics["points"][1]["failed"].is_string());
    assert_eq!(json(&run.join("points/04/metrics.json"))["models"], point["models"]);
    for file in ["predictions.csv", "predictions.fits", "experiment.toml"] {
        assert!(run.join("points/04").join(file).is_file(), "{file}");
    }
    assert!(!run.join("points/04/models").exists() && !run.join("points/02/metrics.json").exists());

    // One catalogue read, one set prepared, for all.
    let log = std::fs::read_to_string(run.join("log.txt")).unwrap();
    assert_eq!(log.matches("rows in the catalogue").count(), 1, "{log}");
    assert_eq!(std::fs::read_dir(folder.path().join("experiments/.prepared")).unwrap().count(), 1);
    // A point is an experiment, and so is the whole.
    let alone = run.join("points/04/experiment.toml").display().to_string();
    succeeded(folder.path(), &["run", &alone, "--name", "alone"]);
    assert_eq!(json(&latest(folder.path(), "alone").join("metrics.json"))["models"], point["models"]);
    let whole = run.join("experiment.toml").display().to_string();
    let points = |text: &str| text.lines().filter(|line| line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let again = points(&succeeded(folder.path(), &["check", &whole]));
    let set = ["check", "sizes.toml", "--set", "data.truth=allStar.fits"];
    assert!(again.contains("# 6 points:") && again == points(&succeeded(folder.path(), &set)), "{again}");
}

#[test]
fn a_model_that_needs_more_stars_is_left_out_of_its_point_with_its_reason() {
    let folder = survey(60);
    // A quadratic of three labels has ten terms, a combination of it nothing to combine.
    let models = ["models.few.cannon.order=1", "models.many.cannon.order=2", "models.ridge.ridge.kernel='linear'"];
    let mut arguments = vec!["run", "lab.toml", "--set", "models.both.combination.of=['many','ridge']"];
    arguments.extend(["--set", "sweep.max_training_stars=[8,0]", "--set", "calibration.folds=2"]);
    models.iter().for_each(|model| arguments.extend(["--set", model]));
    let table = succeeded(folder.path(), &arguments);
    assert!(table.contains("failed: training 10 coefficients per pixel: 8 stars left"), "{table}");
    let run = latest(folder.path(), "lab");
    let (names, rows) = csv(&run.join("sweep.csv"));
    let cell = |row: usize, name: &str| rows[row][names.iter().position(|known| known == name).unwrap()].as_str();
    let of = |point: &str, model: &str| {
        (0..rows.len()).find(|row| cell(*row, "point") == point && cell(*row, "model") == model)
    };
    let (few, many, both) = (of("1", "few").unwrap(), of("1", "many").unwrap(), of("1", "both").unwrap());
    assert!(cell(few, "failed").is_empty() && cell(few, "teff_scatter").parse::<f64>().is_ok());
    assert!(
        cell(many, "failed").contains("raise max_training_stars, which is 8") && cell(many, "teff_scatter").is_empty()
    );
    assert!(cell(many, "n_train") == "0" && cell(many, "train_cpu_s").is_empty());
    assert_eq!(cell(both, "failed"), "it is made of many, which is left out");
    assert!((0..rows.len()).filter(|row| cell(*row, "point") == "2").all(|row| cell(row, "failed").is_empty()));
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("failed: training 10 coefficients"));
}

#[test]
fn settings_of_the_preparation_are_swept_and_models_compared() {
    let folder = survey(40);
    let models = ["models.a.cannon.order=1", "models.b.cannon.order=1"];
    let sweep = "sweep.\"continuum.order\"=[1,2]";
    let mut arguments = vec!["run", "lab.toml", "--set", sweep];
    models.iter().for_each(|model| arguments.extend(["--set", model]));
    succeeded(folder.path(), &arguments);
    let run = latest(folder.path(), "lab");
    let (names, rows) = csv(&run.join("sweep.csv"));
    assert_eq!(&names[..3], ["point", "continuum.order", "model"]);
    let places: Vec<String> = rows.iter().map(|row| row[..3].join(" ")).collect();
    assert_eq!(places, ["1 1 a", "1 1 b", "2 2 a", "2 2 b"]);
    assert_eq!(std::fs::read_dir(folder.path().join("experiments/.prepared")).unwrap().count(), 2);
    assert!(run.join("points/01/predictions-b.fits").is_file());
    let svg = std::fs::read_to_string(run.join("figures/sweep.svg")).unwrap();
    assert!(svg.contains("continuum.order") && !run.join("figures/sweep-vs_truth.svg").exists());

    // Each point has its own data, read once; text values are categories.
    std::fs::copy(folder.path().join("continuum.csv"), folder.path().join("other.csv")).unwrap();
    write_sweep(
        folder.path(),
        "\"continuum.pixels\" = [\"continuum.csv\", \"no.csv\", \"other.csv\"]\n\
         \"data.apstar.catalogue\" = [\"allStar.fits\"]\n\"models.cannon.cannon.order\" = [1]",
    );
    succeeded(folder.path(), &["run", "sizes.toml"]);
    let run = latest(folder.path(), "sizes");
    let (names, rows) = csv(&run.join("sweep.csv"));
    let failed: Vec<bool> = rows.iter().map(|row| !row[names.len() - 1].is_empty()).collect();
    assert_eq!(failed, [false, true, false]);
    let svg = std::fs::read_to_string(run.join("figures/sweep.svg")).unwrap();
    assert!(svg.contains("other.csv") && svg.contains("no.csv"));
}

#[test]
fn sweeps_that_cannot_succeed_end_in_an_error_and_leave_nothing() {
    let folder = survey(12);
    write_sweep(folder.path(), "\"models.cannon.cannon.order\" = [2, 3]");
    refused(
        folder.path(),
        &["run", "sizes.toml"],
        1,
        &[
            "all 2 points of the sweep failed; the first, models.cannon.cannon.order = 2: model cannon: training 10 coefficients",
        ],
    );
    assert_eq!(std::fs::read_dir(folder.path().join("experiments/sizes")).unwrap().count(), 0);
    // What can be known beforehand is said before anything runs.
    write_sweep(folder.path(), "seed = [1]\n\"models.cannon.cannon.order\" = [1, 4]");
    let cases = [("sizes.toml", "line 4"), ("sizes.toml", "cannot be 4"), ("sizes.toml", "must be 1 to 3")];
    for (file, said) in cases {
        refused(folder.path(), &["run", file, "--name", "early"], 2, &[said]);
    }
    if !cfg!(feature = "wgpu") {
        let set = "sweep.\"device.backend\"=[\"flex\",\"wgpu\"]";
        refused(folder.path(), &["run", "lab.toml", "--set", set, "--name", "early"], 2, &["--features wgpu"]);
    }
    let unknown = "sweep.\"continuum.ordr\"=[1,2]";
    refused(folder.path(), &["check", "lab.toml", "--set", unknown], 2, &["--set 'sweep.", "did you mean `order`"]);
    let prepared = folder.path().join("experiments/early/latest");
    assert!(!prepared.exists());
}
