//! Surveys whose spectra take more than a quarter of the memory allowed: read from their files, with the results they have in memory.

use std::collections::HashMap;
use std::path::Path;

use crate::support::{Normal, latest, numbers, refused, save, succeeded, told, truth};

const EXPERIMENT: &str = "\
labels = [\"teff\", \"logg\"]
split = \"halves\"
device.memory = \"MEMORY\"
[data.arrays]
flux = \"flux.npy\"
error = \"error.npy\"
labels = \"labels.csv\"
[continuum]
method = \"none\"
[models.cannon.cannon]
";

/// An experiment of this name, in which so much memory may be taken.
fn experiment(folder: &Path, name: &str, memory: &str, more: &str) -> String {
    let file = format!("{name}.toml");
    std::fs::write(folder.join(&file), EXPERIMENT.replace("MEMORY", memory) + more).unwrap();
    file
}

#[test]
fn a_set_that_stays_in_its_file_gives_the_labels_that_it_gives_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // 4.8 MB of spectra; a quarter of the least that may be allowed are 2.5.
    let truth = truth(600, 2, 1000, 5);
    truth.save(folder);
    save(folder, "error.npy", &truth.error());
    // The wide one is read from disk too, in its own precision.
    save(folder, "wide.npy", &truth.flux.mapv(f64::from));
    let run = |name: &str, memory: &str, set: &[&str]| {
        let file = experiment(folder, name, memory, "");
        let said = succeeded(folder, &[&["run", &file], set].concat());
        let predictions = latest(folder, name).join("predictions.csv");
        let of = |column: &str| numbers(&predictions, column).into_iter().collect::<HashMap<String, f64>>();
        (said, ["teff", "logg"].map(|label| (of(&format!("{label}_estimate")), of(&format!("{label}_error")))))
    };
    let (said, whole) = run("whole", "16GB", &[]);
    assert!(!said.contains("device.memory"), "{said}");
    for (name, set) in [("small", &[][..]), ("small-wide", &["--set", "data.arrays.flux=wide.npy"])] {
        let (_, small) = run(name, "10MB", set);
        for ((estimates, errors), (expected, _)) in small.iter().zip(&whole) {
            assert_eq!(estimates.len(), 300);
            for (id, estimate) in estimates {
                assert!(
                    (estimate - expected[id]).abs() < 0.01 * errors[id],
                    "{name} {id}: {estimate} {}",
                    expected[id]
                );
            }
        }
    }
    // Prepared once, it is read from its file again.
    let (said, _) = run("small", "10MB", &[]);
    assert!(!said.contains("stars prepared"), "{said}");

    for memory in ["4", "1MB", "lots"] {
        let file = experiment(folder, "unclear", memory, "");
        refused(folder, &["check", &file], 2, &["device.memory", "is no amount of memory"]);
    }
}

#[test]
fn every_cannon_learns_from_a_file_what_it_learns_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let mut truth = truth(600, 2, 1000, 5);
    // Something beside the labels, in which stars differ.
    let mut normal = Normal::new(8);
    for mut spectrum in truth.flux.rows_mut() {
        let amount = normal.draw();
        let beside = |pixel: usize| (0.02 * amount * (pixel as f64 * 0.37).cos()) as f32;
        spectrum.iter_mut().enumerate().for_each(|(pixel, flux)| *flux += beside(pixel));
    }
    truth.save(folder);
    save(folder, "error.npy", &truth.error());
    const MODELS: &str = "\
label_errors = true
[models.latent.cannon]
order = 1
latent = { spectra = 1, rounds = 4 }
[models.descent.cannon]
order = 1
training.descent = { epochs = 3 }
";
    let run = |name: &str, memory: &str| {
        let file = experiment(folder, name, memory, MODELS);
        // What 300 stars differ in beside their labels is found to a few hundredths of an error where all is of 32 bits.
        succeeded(folder, &["run", &file, "--set", "device.precision=f64"]);
        latest(folder, name)
    };
    let (whole, small) = (run("whole", "16GB"), run("small", "10MB"));
    for model in ["cannon", "latent", "descent"] {
        for label in ["teff", "logg"] {
            let of = |run: &Path, column: &str| {
                let predictions = run.join(format!("predictions-{model}.csv"));
                numbers(&predictions, &format!("{label}_{column}")).into_iter().collect::<HashMap<String, f64>>()
            };
            let (expected, errors) = (of(&whole, "estimate"), of(&whole, "error"));
            let found = of(&small, "estimate");
            assert_eq!(found.len(), 300);
            for (id, estimate) in found {
                let (expected, error) = (expected[&id], errors[&id]);
                // What 300 stars differ in beside their labels is found to what 32 bits tell of it.
                let most = if model == "latent" { 0.05 } else { 0.01 };
                assert!((estimate - expected).abs() < most * error, "{model} {id}: {estimate} {expected} +- {error}");
            }
        }
    }
}

#[test]
fn what_learns_from_all_spectra_at_once_is_refused_before_the_run_where_they_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let truth = truth(1000, 2, 1000, 5);
    truth.save(folder);
    save(folder, "error.npy", &truth.error());
    // 500 training spectra of a thousand pixels are 4 MB, 12 with what is made of them.
    for (name, model) in [
        ("network", "[models.network.network]\narchitecture.mlp = { hidden = [8] }\ndescent.optimizer.lbfgs = {}\n"),
        ("ridge", "[models.ridge.ridge]\nlandmarks = 450\n"),
    ] {
        let file = experiment(folder, name, "10MB", model);
        let words = [&format!("models.{name}")[..], "MB of memory where device.memory = \"10MB\" is allowed"];
        refused(folder, &["run", &file], 2, &words);
    }
    // Of 206 coefficients a star leaves 21321 products behind.
    let file = experiment(folder, "latent", "10MB", "[models.latent.cannon.latent]\nspectra = 200\n");
    refused(folder, &["run", &file], 2, &["models.latent", "keeps 42.6 MB of 500 stars", "or latent.spectra"]);
}

#[test]
fn networks_and_ridges_learn_from_a_file_what_they_learn_in_memory() {
    const MODELS: &str = "\
[models.net.network]
architecture.mlp = { hidden = [16] }
descent = { epochs = 15 }
[models.components.network]
architecture.mlp = { hidden = [16] }
input = { masked = \"cannon\", components = { count = 20 } }
members = 2
descent = { epochs = 15 }
[models.ridge.ridge]
landmarks = 100
";
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let truth = truth(1000, 2, 1000, 5);
    truth.save(folder);
    save(folder, "error.npy", &truth.error());
    let run = |name: &str, memory: &str| {
        let file = experiment(folder, name, memory, MODELS);
        told(folder, &["run", &file], &["ridge: trained on 500 stars by 100 landmarks among them"]);
        let of = |model: &str, column: &str| {
            let predictions = latest(folder, name).join(format!("predictions-{model}.csv"));
            numbers(&predictions, column).into_iter().collect::<HashMap<String, f64>>()
        };
        let of = |model: &str| {
            ["teff_estimate", "logg_estimate", "teff_error", "logg_error"].map(|column| of(model, column))
        };
        ["net", "components", "ridge"].map(of)
    };
    let (whole, small) = (run("whole", "16GB"), run("small", "10MB"));
    // A component may have the other sign, and its network's first random weights mean something else.
    for (model, (whole, small), (most, of_error)) in [
        ("net", (&whole[0], &small[0]), (0.02, 0.02)),
        ("components", (&whole[1], &small[1]), (4.0, 0.5)),
        ("ridge", (&whole[2], &small[2]), (0.02, 0.02)),
    ] {
        for label in 0..2 {
            assert_eq!(small[label].len(), 500);
            for (id, estimate) in &small[label] {
                let (expected, error) = (whole[label][id], whole[label + 2][id]);
                assert!((estimate - expected).abs() < most * error, "{model} {id}: {estimate} {expected} {error}");
                assert!((small[label + 2][id] / error - 1.0).abs() < of_error, "{model} {id}");
            }
        }
    }
    let page = std::fs::read_to_string(latest(folder, "small").join("report.html")).unwrap();
    assert!(page.contains("Nystroem"));
}
