//! What strangers met in their first hours, and what they are told now.

use std::path::Path;
use std::time::Duration;

use crate::networks::unfinished;
use crate::support::{apstar_fixture, csv, json, refused, start, stopped, succeeded, truth, wait_until};

/// An experiment on arrays, `mine.toml`, with two models, `cannon` and `ridge`.
fn arrays(folder: &Path) {
    truth(60, 2, 30, 5).save(folder);
    std::fs::write(
        folder.join("mine.toml"),
        "labels = ['teff', 'logg']\ncontinuum.method = 'none'\n[data.arrays]\nflux = 'flux.npy'\nivar = 'ivar.npy'\n\
         labels = 'labels.csv'\n[models.cannon.cannon]\norder = 1\n[models.ridge.ridge]\n",
    )
    .unwrap();
}

#[test]
fn models_of_arrays_ask_for_arrays() {
    let folder = tempfile::tempdir().unwrap();
    arrays(folder.path());
    succeeded(folder.path(), &["run", "mine.toml"]);
    let page = std::fs::read_to_string(folder.path().join("experiments/mine/latest/report.html")).unwrap();
    assert!(page.contains("with further spectra of this survey (--flux, --error or --ivar)"));
    let star = apstar_fixture().display().to_string();
    let model = "experiments/mine/latest/models/cannon";
    for verb in ["label", "posterior"] {
        let said = [
            &format!("error: {model}: "),
            "trained on arrays, not on apStar files",
            "--flux FLUX.npy --error ERROR.npy",
        ];
        refused(folder.path(), &[verb, "--model", model, &star], 1, &said);
    }
    let ridge = "experiments/mine/latest/models/ridge";
    let said = [&format!("error: {ridge}: "), "no likelihood to sample; give a Cannon"];
    refused(folder.path(), &["posterior", "--model", ridge, &star], 1, &said);
}

/// Sends Ctrl-C to a run called `net` as soon as this file is in its folder; it must say all of this.
#[cfg(unix)]
fn stop_once_there(folder: &Path, arguments: &[&str], file: &str, said: &[&str]) -> String {
    let child = start(folder, arguments);
    wait_until(file, || unfinished(folder).is_some_and(|run| run.join(file).is_file()));
    stopped(child, said)
}

#[cfg(unix)]
#[test]
fn a_run_without_states_that_is_stopped_says_that_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    arrays(folder.path());
    // Half a minute of resampling, once the models are trained.
    let words = ["run", "mine.toml", "--name", "net", "--set", "bootstrap.resamples=500000"];
    let said = "error: stopped as asked; nothing was trained that --resume could go on from";
    stop_once_there(folder.path(), &words, "models/cannon/model.json", &[said]);
}

#[cfg(unix)]
#[test]
fn a_sweep_that_is_stopped_goes_on_behind_its_finished_points() {
    let folder = tempfile::tempdir().unwrap();
    arrays(folder.path());
    let seeds: Vec<String> = (1..=40).map(|seed| seed.to_string()).collect();
    let sweep = format!("sweep.seed=[{}]", seeds.join(","));
    let words = ["run", "mine.toml", "--name", "net", "--set", &sweep];
    let resume = [&words[..], &["--resume"]].concat();
    let modified = |path: &Path| std::fs::metadata(path).unwrap().modified().unwrap();
    let latest = || folder.path().join("experiments/net/latest").canonicalize().unwrap();
    let log = || std::fs::read_to_string(latest().join("log.txt")).unwrap();
    // The run's folder, and how many points were finished.
    let stop = || {
        let said = stop_once_there(folder.path(), &words, "training/points/02", &[]);
        let run = unfinished(folder.path()).expect("finished points stay");
        let place = run.display();
        assert!(
            said.contains(&format!("what was trained is kept in {place}; go on with the same command and --resume")),
            "{said}"
        );
        let states = std::fs::read_dir(run.join("training/points")).unwrap().flatten();
        let n_finished = states.filter(|state| !state.file_name().to_string_lossy().starts_with('.')).count();
        assert!((2..40).contains(&n_finished), "{n_finished}");
        (run, n_finished)
    };
    let (run, n_finished) = stop();
    let first = modified(&run.join("points/01/metrics.json"));
    // A point that has lost a file is not finished.
    std::fs::remove_file(run.join("points/02/predictions.fits")).unwrap();
    succeeded(folder.path(), &resume);
    let counts = ["taken as it is", "run again"].map(|words| log().matches(words).count());
    assert_eq!(counts, [n_finished - 1, 1], "{}", log());
    assert!(latest().join("points/02/predictions.fits").is_file());
    assert!(modified(&latest().join("points/01/metrics.json")) == first && !latest().join("training").exists());
    let gone_on = latest();

    // Other data under the same names.
    let (_, n_finished) = stop();
    let flux = std::fs::File::options().append(true).open(folder.path().join("flux.npy")).unwrap();
    flux.set_modified(std::time::SystemTime::now() + Duration::from_secs(9)).unwrap();
    succeeded(folder.path(), &resume);
    assert_eq!((log().matches("taken as it is").count(), log().matches("run again").count()), (0, n_finished));

    // What was gone on with is what a sweep is that nobody stopped.
    succeeded(folder.path(), &words);
    let whole = latest();
    let table = |run: &Path| -> Vec<Vec<String>> {
        let (names, rows) = csv(&run.join("sweep.csv"));
        let is_told = |name: &str| !name.ends_with("_s") && name != "peak_memory_mb";
        let told = |row: Vec<String>| row.into_iter().zip(&names).filter(|(_, name)| is_told(name));
        rows.into_iter().map(|row| told(row).map(|(cell, _)| cell).collect()).collect()
    };
    assert_eq!(table(&gone_on), table(&whole));
    assert_eq!(table(&whole).len(), 80);
    for point in 1..=40 {
        let file = format!("points/{point:02}/predictions.csv");
        assert!(std::fs::read(gone_on.join(&file)).unwrap() == std::fs::read(whole.join(&file)).unwrap(), "{file}");
    }
    let models = |run: &Path| {
        let points = json(&run.join("metrics.json"))["points"].as_array().unwrap().clone();
        points.into_iter().map(|point| point["models"].clone()).collect::<Vec<_>>()
    };
    assert!(models(&gone_on) == models(&whole));
}

#[test]
fn the_tables_in_the_help_of_import_make_a_model() {
    let folder = tempfile::tempdir().unwrap();
    let help = succeeded(folder.path(), &["import", "--help"]);
    let tables = [
        (
            "coefficients.csv",
            "pix8575,scatter,c0,c1,c2\n300,0.011,0.973,6.0e-5,-3.0e-8\n301,0.009,0.981,2.1e-5,1.2e-8\n",
        ),
        ("terms.csv", "coefficient,term\nc0,1\nc1,teff\nc2,teff*teff\n"),
        ("pivot.csv", "label,pivot\nteff,4500\n"),
        ("labels.csv", "teff\n4300\n4700\n4900\n"),
    ];
    let words: Vec<&str> = help.split_whitespace().collect();
    for (name, text) in tables {
        assert!(text.lines().all(|line| words.contains(&line)), "{name} is not in: {help}");
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let example = help[help.find("maury import --coefficients").expect("an example")..].lines().take(2);
    let example = example.collect::<String>().replace('\\', " ");
    let arguments: Vec<&str> = example.split_whitespace().skip(1).collect();
    let said = succeeded(folder.path(), &arguments);
    assert!(said.contains("elsewhere: 1 label (teff), 3 terms, 2 pixels, 3 training stars"), "{said}");
    // What is there stays, and nothing of two models comes together.
    let model = std::fs::read(folder.path().join("elsewhere/model.json")).unwrap();
    std::fs::write(folder.path().join("elsewhere/calibration.json"), "{}").unwrap();
    refused(folder.path(), &arguments, 1, &["elsewhere", "this folder is not empty", "name a new one"]);
    assert_eq!(std::fs::read(folder.path().join("elsewhere/model.json")).unwrap(), model);
}
