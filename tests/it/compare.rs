//! Models side by side, in one run and across runs: what is written, what is printed, what is refused.

use std::path::{Path, PathBuf};

use crate::support::{json, latest, maury, refused, succeeded, survey, told};

/// Rows of a CSV file, each as its cells by column.
fn rows(path: &Path) -> Vec<std::collections::HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    reader.deserialize().map(|row| row.unwrap()).collect()
}

/// Runs the survey's experiment with one Cannon of this order, under a name of its own.
fn run_order(folder: &Path, name: &str, order: usize, sets: &[&str]) -> String {
    let model = format!("models.{name}.cannon.order={order}");
    let mut arguments = vec!["run", "lab.toml", "--name", name, "--set", &model];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    succeeded(folder, &arguments)
}

const ORDERS: [&str; 2] = ["models.linear.cannon.order=1", "models.quadratic.cannon.order=2"];

#[test]
fn a_run_of_two_models_says_which_is_better_and_where() {
    let folder = survey(100);
    let truth = "data.truth=allStar.fits";
    let short = succeeded(folder.path(), &["run", "lab.toml", "--set", ORDERS[0], "--set", ORDERS[1], "--set", truth]);
    assert!(short.contains("smallest of the label") && short.lines().count() < 30, "{short}");
    let table = succeeded(folder.path(), &["report", "--text", "lab"]);
    for words in
        ["has the smallest robust scatter", "- catalogue", "- truth", "better", "error correlation", "within 1"]
    {
        assert!(table.contains(words), "{words} not in {table}");
    }
    let run = latest(folder.path(), "lab");
    let metrics = json(&run.join("metrics.json"));
    let comparison = &metrics["comparison"];
    assert_eq!(comparison["models"], serde_json::json!(["linear", "quadratic"]));
    assert_eq!((comparison["paired"].as_array().unwrap().len(), comparison["n_stars"].as_u64()), (1, Some(50)));
    let pair = &comparison["paired"][0];
    let scatter = |model: &str| metrics["models"][model]["labels"]["teff"]["robust_scatter"].as_f64().unwrap();
    let difference = &pair["labels"]["teff"]["robust_scatter"];
    let expected = scatter("linear") - scatter("quadratic");
    assert!((difference["value"].as_f64().unwrap() - expected).abs() < 1e-9, "{difference}");
    let bound = |end: usize| difference["interval"][end].as_f64().unwrap();
    assert!(bound(0) <= expected && expected <= bound(1) && bound(0) < bound(1));
    let fraction = difference["fraction_first_smaller"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&fraction));
    // The catalogue is the truth of this survey.
    assert_eq!(pair["labels"], pair["labels_vs_truth"]);
    let together = &comparison["agreement"][0]["labels"]["fe_h"];
    assert_eq!(together["error_rank_correlation"], together["true_error_rank_correlation"]);
    assert!(together["n_stars"].as_u64() == Some(50) && together["scatter"].as_f64().unwrap() > 0.0);
    assert!(comparison["against_catalogue"].is_array());
    let pulls = &metrics["models"]["linear"]["labels"]["teff"]["pulls"];
    for number in ["robust_width", "standard_deviation", "within_1_error", "within_2_errors"] {
        assert!(pulls[number].is_f64(), "{number}");
    }
    // SNR is the same for all of these stars, so that only labels make bins: 3 x 3 labels x 2 models x 5 bins.
    let dependence = rows(&run.join("dependence.csv"));
    assert_eq!(dependence.len(), 3 * 3 * 2 * 5);
    assert!(dependence.iter().all(|row| row["n_stars"] == "10" && row["robust_scatter"].parse::<f64>().unwrap() > 0.0));
    assert!(run.join("dependence.fits").is_file());
    for name in ["scatter", "scatter-vs_truth", "difference", "scatter_vs_teff", "bias_vs_fe_h"] {
        let svg = std::fs::read_to_string(run.join(format!("figures/{name}.svg"))).unwrap();
        assert!(svg.contains("[Fe/H] [dex]") && svg.contains("95% bootstrap interval"), "{name}");
        assert!(run.join(format!("figures/{name}.png")).is_file());
    }
    assert!(!run.join("figures/scatter_vs_snr.svg").exists());
    let best = comparison["best"].as_str().unwrap();
    let other = if best == "linear" { "quadratic" } else { "linear" };
    assert!(run.join(format!("figures/agreement-{other}-{best}.svg")).is_file());
}

#[test]
fn runs_are_compared_on_the_same_stars_as_if_they_were_one() {
    let folder = survey(100);
    let place = folder.path();
    run_order(place, "linear", 1, &[]);
    run_order(place, "quadratic", 2, &[]);
    succeeded(place, &["run", "lab.toml", "--name", "both", "--set", ORDERS[0], "--set", ORDERS[1]]);
    // By experiment, and by run.
    let quadratic = std::fs::canonicalize(latest(place, "quadratic")).unwrap();
    let table = succeeded(place, &["compare", "experiments/linear", &quadratic.display().to_string()]);
    for words in ["2 models on 50 test stars", "star by star", "comparison.html", "Teff [K]"] {
        assert!(table.contains(words), "{words} not in {table}");
    }
    let compared = latest(place, "compare");
    let json_here = json(&compared.join("comparison.json"));
    let both = json(&latest(place, "both").join("metrics.json"));
    assert_eq!(json_here["warnings"], serde_json::json!([]));
    for model in ["linear", "quadratic"] {
        for label in ["teff", "logg", "fe_h"] {
            let [here, there] = [&json_here, &both].map(|file| file["models"][model]["labels"][label].clone());
            assert_eq!(here["robust_scatter_interval"], there["robust_scatter_interval"], "{model} {label}");
            assert_eq!(here["n_stars"], there["n_stars"]);
        }
    }
    for (here, there) in [("paired", "paired"), ("agreement", "agreement"), ("best", "best")] {
        assert_eq!(json_here["comparison"][here], both["comparison"][there]);
    }
    let table = rows(&compared.join("comparison.csv"));
    let names: Vec<&str> = table.iter().map(|row| row["model"].as_str()).collect();
    assert_eq!((table.len(), &names[..2]), (6, &["linear", "quadratic"][..]));
    // The best model differs from itself by nothing, and says nothing of it.
    let empty = table.iter().filter(|row| row["robust_scatter_minus_best"].is_empty()).count();
    assert_eq!(empty, 3);
    let html = std::fs::read_to_string(compared.join("comparison.html")).unwrap();
    for words in
        ["<svg", "linear", "Are the formal errors true to size?", "[data.apstar]", "prefers-color-scheme: dark"]
    {
        assert!(html.contains(words), "{words}");
    }
    let without_namespace = html.replace("http://www.w3.org/2000/svg", "");
    for request in ["http:", "https:", "src=", "href=", "url(", "<script", "<link", "@import"] {
        assert!(!without_namespace.contains(request), "{request}");
    }
    assert!(html.ends_with("</html>\n") && html.matches("<figure>").count() == html.matches("</figure>").count());
    // Where there is no FITS, from CSV, which holds labels to a thousandth of their errors.
    std::fs::remove_file(quadratic.join("predictions.fits")).unwrap();
    succeeded(place, &["compare", "experiments/linear", &quadratic.display().to_string()]);
    let from_csv = json(&latest(place, "compare").join("comparison.json"));
    for label in ["teff", "logg", "fe_h"] {
        let scatter =
            |file: &serde_json::Value| file["models"]["quadratic"]["labels"][label]["scatter"].as_f64().unwrap();
        assert!((scatter(&from_csv) / scatter(&json_here) - 1.0).abs() < 2e-3, "{label}");
    }
    // A folder of one's own, and models of one name from runs of one name.
    succeeded(place, &["run", "lab.toml", "--name", "both", "--set", ORDERS[0], "--set", ORDERS[1]]);
    let mut runs: Vec<PathBuf> = std::fs::read_dir(place.join("experiments/both"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.ends_with("latest"))
        .collect();
    runs.sort();
    let runs: Vec<String> = runs.iter().map(|run| run.display().to_string()).collect();
    let table = succeeded(place, &["compare", &runs[0], &runs[1], "--out", "own"]);
    assert!(table.contains("4 models on") && table.contains("both@") && table.contains("/linear"), "{table}");
    let names = json(&place.join("own/comparison.json"))["comparison"]["models"].clone();
    assert!(names[0].as_str().unwrap().ends_with("/linear") && names.as_array().unwrap().len() == 4);
    refused(place, &["compare", &runs[0], &runs[1], "--out", "own"], 1, &["not empty"]);
}

#[test]
fn different_stars_are_refused_or_left_out_when_asked() {
    let folder = survey(80);
    let place = folder.path();
    run_order(place, "a", 1, &[]);
    run_order(place, "b", 1, &["seed=2"]);
    run_order(place, "c", 1, &["labels=[\"teff\",\"logg\"]"]);
    let said = ["test stars of the runs", "stars tested only in a/a", "--allow-different-stars"];
    refused(place, &["compare", "a", "b"], 1, &said);
    let output = maury(place, &["compare", "a", "b", "--allow-different-stars"]);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("seed is 2 in b, 1 in a") && stderr.contains("common stars of 40 in a/a"), "{stderr}");
    let compared = json(&latest(place, "compare").join("comparison.json"));
    let n_stars = compared["comparison"]["n_stars"].as_u64().unwrap();
    assert!((2..40).contains(&n_stars) && stdout.contains(&format!("2 models on {n_stars} test stars")), "{stdout}");
    let html = std::fs::read_to_string(latest(place, "compare").join("comparison.html")).unwrap();
    assert!(html.contains("class=\"warn\"") && html.contains("seed is 2 in b, 1 in a"));
    // Labels that only one run learned are left out; what both have is compared.
    told(place, &["compare", "a", "c"], &["fe_h of a/a not compared"]);
    let labels = json(&latest(place, "compare").join("comparison.json"))["comparison"]["labels"].clone();
    assert_eq!(labels, serde_json::json!(["teff", "logg"]));
}

#[test]
fn what_is_no_finished_run_is_refused_with_a_remedy() {
    let folder = survey(40);
    let place = folder.path();
    run_order(place, "a", 1, &[]);
    run_order(place, "b", 1, &[]);
    refused(place, &["compare", "a", "nowhere"], 2, &["nowhere", "no such folder", "experiments/<name>/<time>"]);
    refused(place, &["compare", "a", "lab.toml"], 2, &["lab.toml", "this is a file"]);
    refused(place, &["compare", "a", "spectra"], 2, &["not the folder of a run"]);
    refused(place, &["compare", "a"], 2, &["one model alone", "second run"]);
    refused(place, &["compare", "a", "experiments/a/latest"], 2, &["given twice"]);
    refused(place, &["compare"], 2, &["RUN"]);
    let sweep = "sweep.\"continuum.order\"=[1,2]";
    succeeded(place, &["run", "lab.toml", "--name", "sizes", "--set", sweep]);
    refused(place, &["compare", "a", "sizes"], 1, &["this is a sweep", "points"]);
    // Its points are runs.
    let point = |number: &str| latest(place, "sizes").join("points").join(number).display().to_string();
    let table = succeeded(place, &["compare", &point("01"), &point("02")]);
    assert!(table.contains("sizes-01/cannon") && table.contains("sizes-02/cannon"), "{table}");

    // A comparison is no run, and no run can be taken for one.
    for verb in ["compare", "report"] {
        for folder in ["experiments/compare", "experiments/compare/latest"] {
            refused(place, &[verb, folder], 2, &["this is a comparison of runs and no run", "comparison.html"]);
        }
    }
    for name in ["compare", "latest"] {
        let said = [&format!("cannot be called {name}"), "--name"];
        refused(place, &["run", "lab.toml", "--name", name], 2, &said);
    }
    std::fs::copy(place.join("lab.toml"), place.join("compare.toml")).unwrap();
    refused(place, &["check", "compare.toml"], 2, &["cannot be called compare", "--name"]);

    let run = std::fs::canonicalize(latest(place, "b")).unwrap();
    std::fs::rename(run.join("metrics.json"), run.join("kept.json")).unwrap();
    refused(place, &["compare", "a", "b"], 1, &["not finished", "no metrics.json"]);
    std::fs::write(run.join("metrics.json"), "{\"models\": ").unwrap();
    refused(place, &["compare", "a", "b"], 1, &["metrics.json", "EOF"]);
    std::fs::rename(run.join("kept.json"), run.join("metrics.json")).unwrap();

    // Predictions that were tampered with.
    std::fs::remove_file(run.join("predictions.fits")).unwrap();
    let path = run.join("predictions.csv");
    let whole = std::fs::read_to_string(&path).unwrap();
    let edited = |edit: &dyn Fn(usize, &str) -> String| {
        let lines: Vec<String> = whole.lines().enumerate().map(|(index, line)| edit(index, line)).collect();
        std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    };
    edited(&|index, line| if index == 0 { line.replace("teff_catalogue", "teff_other") } else { line.into() });
    refused(place, &["compare", "a", "b"], 1, &["predictions.csv", "no column teff_catalogue"]);
    edited(&|index, line| if index == 0 { line.replace("_estimate", "_guess") } else { line.into() });
    refused(place, &["compare", "a", "b"], 1, &["predictions.csv", "<label>_estimate"]);
    let columns: Vec<&str> = whole.lines().next().unwrap().split(',').collect();
    let without_estimates = |index: usize, line: &str| {
        let cells = line.split(',').zip(&columns);
        let cell = |(cell, name): (&str, &&str)| match index > 0 && name.ends_with("_estimate") {
            true => String::new(),
            false => cell.to_string(),
        };
        cells.map(cell).collect::<Vec<_>>().join(",")
    };
    edited(&without_estimates);
    refused(place, &["compare", "a", "b"], 1, &["comparing b/b", "no finite estimate"]);
    // One star alone is no sample; a few without an estimate are no obstacle.
    std::fs::write(&path, whole.lines().take(2).collect::<Vec<_>>().join("\n") + "\n").unwrap();
    refused(place, &["compare", "a", "b", "--allow-different-stars"], 1, &["1 star left, at least 2 needed"]);
    edited(&|index, line| if index < 4 { without_estimates(index, line) } else { line.to_string() });
    let compared = succeeded(place, &["compare", "a", "b"]);
    assert!(compared.contains("2 models on 20 test stars"), "{compared}");
    let pair = &json(&latest(place, "compare").join("comparison.json"))["comparison"]["paired"][0]["labels"]["teff"];
    // The text has the digits that mean something, and the other run's table has all.
    let difference = pair["scatter"]["value"].as_f64().unwrap();
    assert!(pair["n_stars"].as_u64() == Some(17) && difference.abs() < 0.05, "{pair}");
    std::fs::remove_file(&path).unwrap();
    refused(place, &["compare", "a", "b"], 1, &["no predictions.fits or .csv"]);
}
