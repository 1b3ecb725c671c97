//! The program as its users meet it: what it leaves behind, what it says when things are wrong, its exit codes.

use std::path::Path;

use maury::data::fits::FitsReader;
use ndarray::Array2;

use crate::support::{
    N_PIXELS, apstar_fixture, json, metrics, numbers, refused, save, succeeded, survey, told, truth, write_apstar,
};

/// Arrays of 120 stars, 30 pixels, two labels, in a folder.
fn arrays(folder: &Path) -> Vec<String> {
    truth(120, 2, 30, 71).save(folder);
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("configs/arrays.toml"), folder.join("arrays.toml"))
        .unwrap();
    [
        "data.arrays.flux=flux.npy",
        "data.arrays.ivar=ivar.npy",
        "data.arrays.labels=labels.csv",
        "labels=[\"teff\",\"logg\"]",
    ]
    .iter()
    .flat_map(|set| ["--set".to_string(), set.to_string()])
    .collect()
}

#[test]
fn a_run_from_raw_files_leaves_what_the_readme_promises() {
    let folder = survey(100);
    let short = succeeded(folder.path(), &["run", "lab.toml"]);
    assert!(short.contains("Teff [K]") && short.contains("tested on") && short.lines().count() < 25, "{short}");
    let tables = succeeded(folder.path(), &["report", "--text", "lab"]);
    assert!(tables.contains("95% interval") && tables.contains("tested on 50"), "{tables}");
    let run = folder.path().join("experiments/lab/latest");
    for file in [
        "experiment.toml",
        "log.txt",
        "metrics.json",
        "predictions.fits",
        "predictions.csv",
        "tables.txt",
        "explore.html",
        "models/cannon/model.json",
        "models/cannon/weights.safetensors",
        "figures/one_to_one-cannon.svg",
        "figures/one_to_one-cannon.png",
    ] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    let metrics = metrics(folder.path(), "lab");
    let model = &metrics["models"]["cannon"];
    assert_eq!((model["n_train"].as_u64(), model["n_test"].as_u64()), (Some(50), Some(50)));
    for label in ["teff", "logg", "fe_h"] {
        for number in ["bias", "scatter", "robust_scatter", "median_abs_error"] {
            assert!(model["labels"][label][number].is_f64(), "{label} {number}");
        }
        for interval in ["bias_interval", "scatter_interval"] {
            assert_eq!(model["labels"][label][interval].as_array().unwrap().len(), 2);
        }
    }
    // 50 stars train ten coefficients on thousands of pixels at SNR 100: labels return to a twentieth of their spread.
    assert!(model["labels"]["teff"]["scatter"].as_f64().unwrap() < 12.0, "{model}");
    assert!(model["labels"]["fe_h"]["scatter"].as_f64().unwrap() < 0.012, "{model}");
    assert!(metrics["timings"]["train"]["wall_s"].is_f64() && metrics["timings"]["fit"]["cpu_s"].is_f64());
    assert!(metrics["peak_memory_mb"].as_f64().unwrap() > 1.0 && model["chi2_reduced_median"].is_f64());
    let mut fits = FitsReader::open(&run.join("predictions.fits")).unwrap();
    let (n_rows, names) = fits.table_layout(1).unwrap();
    assert_eq!(n_rows, 50);
    let expected = [
        "id",
        "teff_catalogue",
        "teff_estimate",
        "teff_error",
        "teff_error_calibrated",
        "teff_error_against_catalogue",
        "logg_catalogue",
        "logg_estimate",
        "logg_error",
        "logg_error_calibrated",
        "logg_error_against_catalogue",
        "fe_h_catalogue",
        "fe_h_estimate",
        "fe_h_error",
        "fe_h_error_calibrated",
        "fe_h_error_against_catalogue",
        "snr",
        "chi2_reduced",
        "cov_teff_logg",
        "cov_teff_fe_h",
        "cov_logg_fe_h",
        "flags",
    ];
    assert_eq!(names, expected);
    // The resolved configuration is itself an experiment, and gives the same numbers.
    let again = run.join("experiment.toml").display().to_string();
    succeeded(folder.path(), &["run", &again, "--name", "again"]);
    assert_eq!(metrics["models"], crate::support::metrics(folder.path(), "again")["models"]);
}

#[test]
fn the_prepared_set_is_rebuilt_only_when_something_changed() {
    let folder = survey(14);
    let first = succeeded(folder.path(), &["prepare", "lab.toml"]);
    let path = folder.path().join(first.lines().last().unwrap());
    // Its date is that of its last use; a file written anew is another.
    let file = || std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(&path).unwrap());
    let written = file();
    let second = succeeded(folder.path(), &["prepare", "lab.toml", "--set", "seed=9"]);
    assert_eq!(second.lines().last(), first.lines().last());
    assert_eq!(file(), written);
    let other = succeeded(folder.path(), &["prepare", "lab.toml", "--set", "continuum.order=1"]);
    assert_ne!(other.lines().last(), first.lines().last());
    // A touched input is another input.
    write_apstar_of_nans(&folder.path().join("spectra/apo25m/M15/apStar-dr17-2M00000003+1234567.fits"));
    let touched = succeeded(folder.path(), &["prepare", "lab.toml"]);
    assert_ne!(touched.lines().last(), first.lines().last());
    assert!(touched.contains("1 has no usable pixel"), "{touched}");
    // A damaged cache is no loss.
    let path = folder.path().join(touched.lines().last().unwrap());
    std::fs::write(&path, "garbage").unwrap();
    succeeded(folder.path(), &["prepare", "lab.toml"]);
    assert!(FitsReader::open(&path).is_ok());
}

fn write_apstar_of_nans(path: &Path) {
    std::fs::remove_file(path).unwrap();
    write_apstar(path, "2M00000003+1234567", &[f64::NAN; N_PIXELS], &[f64::NAN; N_PIXELS], &[0; N_PIXELS]);
}

#[test]
fn bad_spectra_are_flagged_and_the_rest_go_on() {
    let folder = survey(60);
    let spectra = folder.path().join("spectra/apo25m/M15");
    let name = |star: usize| spectra.join(format!("apStar-dr17-2M{star:08}+1234567.fits"));
    let whole = std::fs::read(name(0)).unwrap();
    std::fs::write(name(0), &whole[..100_000]).unwrap(); // cut short
    std::fs::write(name(1), "not a spectrum").unwrap();
    std::fs::remove_file(name(2)).unwrap();
    write_apstar_of_nans(&name(3));
    std::fs::remove_file(name(4)).unwrap();
    write_apstar(&name(4), "all masked", &[50.0; N_PIXELS], &[1.0; N_PIXELS], &[1; N_PIXELS]);
    std::fs::remove_file(name(5)).unwrap();
    write_apstar(&name(5), "short", &[50.0; 100], &[1.0; 100], &[0; 100]);
    told(
        folder.path(),
        &["run", "lab.toml", "--set", "split.folds.k=3"],
        &["spectrum on disk: 1 removed, 59 left", "2M00000000+1234567.fits", "100 pixels"],
    );
    let metrics = metrics(folder.path(), "lab");
    let model = &metrics["models"]["cannon"];
    assert_eq!((model["n_test"].as_u64(), model["n_flagged"]["NO_DATA"].as_u64()), (Some(59), Some(5)));
    assert_eq!(model["labels"]["teff"]["n_stars"].as_u64(), Some(54));
    assert_eq!(model["training"].as_array().unwrap().len(), 3);
    let csv = std::fs::read_to_string(folder.path().join("experiments/lab/latest/predictions.csv")).unwrap();
    assert_eq!(csv.lines().count(), 60);
}

#[test]
fn continuum_pixels_can_be_found_from_the_training_stars() {
    let folder = survey(80);
    succeeded(
        folder.path(),
        &["run", "lab.toml", "--set", "continuum.pixels=find", "--set", "continuum.find.flux=0.05"],
    );
    let metrics = metrics(folder.path(), "lab");
    let scatter = metrics["models"]["cannon"]["labels"]["teff"]["scatter"].as_f64().unwrap();
    assert!(scatter < 15.0, "{scatter}");
    let model = json(&folder.path().join("experiments/lab/latest/models/cannon/model.json"));
    let pixels: Vec<u64> =
        model["preparation"]["continuum_pixels"].as_array().unwrap().iter().map(|p| p.as_u64().unwrap()).collect();
    // The survey's continuum pixels are the multiples of ten.
    let right = pixels.iter().filter(|pixel| **pixel % 10 == 0).count();
    assert!(pixels.len() > 300 && right as f64 > 0.9 * pixels.len() as f64, "{right} of {}", pixels.len());
}

#[test]
fn a_trained_model_labels_single_files() {
    let folder = survey(40);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    let model = "experiments/lab/latest/models/cannon";
    std::fs::write(folder.path().join("spectra/broken.fits"), "x").unwrap();
    let table = succeeded(folder.path(), &["label", "--model", model, "--out", "out/labels.fits", "spectra"]);
    assert!(table.contains("2M00000007+1234567") && table.contains("... and 11 more"), "{table}");
    let some = succeeded(
        folder.path(),
        &["label", "--model", model, "spectra/broken.fits", &apstar_fixture().display().to_string()],
    );
    assert!(some.contains("UNREADABLE") && some.contains("2M19485057+5005279"), "{some}");
    let cell = |table: &str, column: &str| {
        let mut rows = numbers(&folder.path().join(table), column).into_iter();
        rows.find(|(id, _)| id.starts_with("2M00000007")).unwrap().1
    };
    for column in ["teff_estimate", "fe_h_error", "chi2_reduced"] {
        // Batches differ, so sums run in another order in f32.
        let (a, b) = (cell("experiments/lab/latest/predictions.csv", column), cell("out/labels.csv", column));
        assert!((a / b - 1.0).abs() < 1e-4, "{column}: {a} {b}");
    }
    refused(
        folder.path(),
        &["label", "--model", model, "spectra/broken.fits"],
        1,
        &["broken.fits", "name apStar files"],
    );
    refused(folder.path(), &["label", "--model", model, "absent.fits"], 1, &["absent.fits"]);
}

#[test]
fn arrays_of_any_survey_run_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let sets = arrays(folder.path());
    let mut arguments = vec!["run", "arrays.toml"];
    arguments.extend(sets.iter().map(String::as_str));
    succeeded(folder.path(), &arguments);
    let expected = metrics(folder.path(), "arrays")["models"].clone();
    let truth = truth(120, 2, 30, 71);
    maury::data::fits::write(&folder.path().join("flux.fits"), |fits| {
        fits.image_f32("FLUX", truth.flux.as_slice().unwrap(), [120, 30])
    })
    .unwrap();
    let mut archive = ndarray_npy::NpzWriter::new(std::fs::File::create(folder.path().join("e.npz")).unwrap());
    archive.add_array("error", &truth.error()).unwrap();
    archive.finish().unwrap();
    let other = [
        "run",
        "arrays.toml",
        "--set",
        "data.arrays.flux=flux.fits",
        "--set",
        "data.arrays.error=e.npz:error",
        "--set",
        "data.arrays.labels=labels.csv",
        "--set",
        "labels=[\"teff\",\"logg\"]",
    ];
    succeeded(folder.path(), &other);
    let found = &metrics(folder.path(), "arrays")["models"];
    let scatter = |models: &serde_json::Value| models["cannon"]["labels"]["teff"]["scatter"].as_f64().unwrap();
    assert!((scatter(found) / scatter(&expected) - 1.0).abs() < 1e-3); // error -> ivar rounds once more
}

#[test]
fn a_truth_table_adds_truth_columns() {
    let folder = tempfile::tempdir().unwrap();
    let sets = arrays(folder.path());
    std::fs::copy(folder.path().join("labels.csv"), folder.path().join("truth.csv")).unwrap();
    let mut arguments = vec!["run", "arrays.toml", "--set", "data.truth=truth.csv"];
    arguments.extend(sets.iter().map(String::as_str));
    succeeded(folder.path(), &arguments);
    let csv = std::fs::read_to_string(folder.path().join("experiments/arrays/latest/predictions.csv")).unwrap();
    assert!(
        csv.starts_with(
            "id,teff_catalogue,teff_estimate,teff_error,teff_error_calibrated,teff_error_against_catalogue,teff_truth,"
        ),
        "{}",
        csv.lines().next().unwrap()
    );
    let model = &metrics(folder.path(), "arrays")["models"]["cannon"];
    assert_eq!(model["labels"], model["labels_vs_truth"]);
}

#[test]
fn wrong_requests_are_exit_code_2_with_the_place() {
    let folder = survey(3);
    let write = |text: &str| std::fs::write(folder.path().join("wrong.toml"), text).unwrap();
    write("sed = 1\n");
    refused(folder.path(), &["run", "wrong.toml"], 2, &["wrong.toml", "line 1", "did you mean `seed`"]);
    write("seed = 1\n[continuum]\norder = \"two\"\n");
    refused(folder.path(), &["check", "wrong.toml"], 2, &["line 3", "expected a whole number, 0 or more"]);
    refused(
        folder.path(),
        &["run", "lab.toml", "--set", "split.folds.k=0"],
        2,
        &["--set 'split.folds.k=0'", "must be 2 to 1000"],
    );
    refused(folder.path(), &["run", "lab.toml", "--name", "../x"], 2, &["--name"]);
    refused(folder.path(), &["run", "lab.toml", "--nonsense"], 2, &["--nonsense"]);
    write("seed = 1\n");
    refused(folder.path(), &["run", "wrong.toml"], 2, &["names no stars"]);
    assert!(!folder.path().join("experiments/lab").join("latest").exists());
}

#[test]
fn failures_are_exit_code_1_with_a_remedy_and_leave_nothing() {
    let folder = survey(12);
    let run = |set: &str| vec!["run".to_string(), "lab.toml".to_string(), "--set".to_string(), set.to_string()];
    let refuse = |set: &str, said: &[&str]| {
        let arguments = run(set);
        refused(folder.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>(), 1, said);
    };
    refused(folder.path(), &["run", "absent.toml"], 1, &["absent.toml: cannot read"]);
    refuse("data.apstar.catalogue=absent.fits", &["absent.fits"]);
    refuse("data.apstar.spectra=absent", &["no such folder of apStar files"]);
    refuse("labels=[\"teff\",\"zr_fe\"]", &["no column zr_fe", "name the labels"]);
    refuse("selection.ranges.snr.min=1e9", &["selection: 0 stars left", "snr >= 1000000000"]);
    refuse("selection.fields=[\"M99\"]", &["field is M99"]);
    let few = "training 10 coefficients per pixel: 6 stars left, at least 11 needed";
    refuse("split.folds.k=2", &[&format!("error: model cannon, fold 1 of 2: {few}")]);
    let two = ["--set", "models.good.cannon.order=1", "--set", "models.worse.cannon.order=2"];
    refused(folder.path(), &[&["run", "lab.toml"][..], &two].concat(), 1, &[&format!("error: model worse: {few}")]);
    refuse("continuum.pixels=absent.csv", &["absent.csv"]);
    std::fs::write(folder.path().join("cut.fits"), &std::fs::read(folder.path().join("allStar.fits")).unwrap()[..6000])
        .unwrap();
    refuse("data.apstar.catalogue=cut.fits", &["cut.fits", "truncated"]);
    std::fs::write(folder.path().join("empty.csv"), "apogee_id,snr,teff,logg,fe_h\n").unwrap();
    refuse("data.apstar.catalogue=empty.csv", &["0 stars left"]);
    std::fs::write(folder.path().join("one.csv"), "apogee_id,snr,teff,logg,fe_h\n2M00000001+1234567,99,4500,2,0\n")
        .unwrap();
    refuse("data.apstar.catalogue=one.csv", &["at least"]);
    std::fs::write(folder.path().join("error.csv"), "error_message\nIncorrect syntax\n").unwrap();
    refuse("data.apstar.catalogue=error.csv", &["server's error text"]);
    std::fs::write(folder.path().join("rows.csv"), "[{\"TableName\":\"Table1\",\"Rows\":[{\"teff\":1}]}]\n").unwrap();
    refuse("data.apstar.catalogue=rows.csv", &["this is JSON", "format=csv"]);
    let leftovers: Vec<_> = std::fs::read_dir(folder.path().join("experiments/lab")).unwrap().collect();
    assert!(leftovers.is_empty(), "{leftovers:?}");
}

#[test]
fn arrays_that_do_not_fit_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let sets = arrays(folder.path());
    let refuse = |extra: &[&str], code: i32, said: &[&str]| {
        let mut arguments = vec!["run", "arrays.toml"];
        arguments.extend(sets.iter().map(String::as_str));
        arguments.extend(extra);
        refused(folder.path(), &arguments, code, said);
    };
    let write = |name: &str, matrix: Array2<f32>| save(folder.path(), name, &matrix);
    write("narrow.npy", Array2::ones((120, 29)));
    refuse(&["--set", "data.arrays.ivar=narrow.npy"], 1, &["narrow.npy", "[120, 30]".trim_matches(['[', ']'])]);
    write("few.npy", Array2::ones((100, 30)));
    write("few_ivar.npy", Array2::ones((100, 30)));
    refuse(
        &["--set", "data.arrays.ivar=few_ivar.npy", "--set", "data.arrays.flux=few.npy"],
        1,
        &["120 rows and 100 spectra"],
    );
    refuse(&["--set", "data.arrays.error=ivar.npy"], 2, &["has both `error` and `ivar`; remove one"]);
    std::fs::write(folder.path().join("w.csv"), "wavelength\n3\n2\n1\n").unwrap();
    refuse(&["--set", "data.arrays.wavelengths=w.csv"], 1, &["3 wavelengths for 30 pixels"]);
    write("nan.npy", Array2::from_elem((120, 30), f32::NAN));
    refuse(&["--set", "data.arrays.flux=nan.npy"], 1, &["usable pixels: no spectrum has any"]);
    refuse(&["--set", "continuum.method=chebyshev"], 1, &["continuum", "apStar grid"]);
    std::fs::write(folder.path().join("w.csv"), "id,teff,logg\n").unwrap();
    refuse(&["--set", "data.arrays.labels=w.csv"], 1, &["0 rows and 120 spectra"]);
    refuse(&["--set", "data.arrays.flux=flux.txt"], 1, &["flux.txt"]);
}

#[cfg(unix)]
#[test]
fn an_unwritable_folder_is_named_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let sets = arrays(folder.path());
    // A file where the folder should be cannot be written into by anyone, root included.
    std::fs::write(folder.path().join("blocked"), "").unwrap();
    let mut arguments = vec!["run", "arrays.toml", "--experiments", "blocked"];
    arguments.extend(sets.iter().map(String::as_str));
    refused(folder.path(), &arguments, 1, &["blocked", "cannot create the folder"]);
}

#[test]
fn help_and_check_teach() {
    let folder = survey(3);
    let help = succeeded(folder.path(), &["--help"]);
    for verb in ["run", "prepare", "label", "check", "import"] {
        assert!(help.contains(verb));
    }
    let resolved = succeeded(folder.path(), &["check", "lab.toml", "--set", "continuum.order=3"]);
    assert!(resolved.contains("order = 3") && resolved.contains("[models.cannon.cannon]"), "{resolved}");
    // The catalogue is at hand, so that more can be checked than the file.
    let folds = ["check", "lab.toml", "--set", "split.folds.k=99"];
    told(folder.path(), &folds, &["`maury run` will refuse: split"]);
    let label = ["check", "lab.toml", "--set", "labels=['teff', 'loggg', 'fe_h']"];
    refused(folder.path(), &label, 1, &["loggg", "logg"]);
}
