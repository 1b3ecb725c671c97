//! Training stars that lack labels, or whose labels are uncertain: they help, or stay out, and the run says which.

use std::path::Path;

use maury::stats::normal::draw;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::support::{latest, metrics, refused, save, succeeded, truth};

const N_STARS: usize = 500;
const N_PIXELS: usize = 60;

/// Arrays of some stars in a folder, and what the catalogue says of each label: a value and its error, empty where it says nothing.
fn survey(folder: &Path, says: &mut dyn FnMut(usize, usize, f64) -> (String, f64)) {
    let truth = truth(N_STARS, 2, N_PIXELS, 31);
    save(folder, "flux.npy", &truth.flux);
    save(folder, "ivar.npy", &truth.ivar);
    let (mut rows, mut true_rows) = (String::from("id,teff,teff_err,logg,logg_err\n"), String::from("id,teff,logg\n"));
    for star in 0..N_STARS {
        let labels = truth.labels.row(star);
        let [(teff, teff_err), (logg, logg_err)] = [0, 1].map(|k| says(star, k, labels[k]));
        rows += &format!("s{star},{teff},{teff_err},{logg},{logg_err}\n");
        true_rows += &format!("s{star},{},{}\n", labels[0], labels[1]);
    }
    std::fs::write(folder.join("labels.csv"), rows).unwrap();
    std::fs::write(folder.join("truth.csv"), true_rows).unwrap();
}

/// What a run makes of Cannons of some settings: its metrics and its page.
fn run(folder: &Path, models: &str) -> (Value, String) {
    let toml = format!(
        "labels = ['teff', 'logg']\nselection.keep_missing_labels = true\ncalibration.folds = 0\ncontinuum.method = 'none'\n\
         [data]\ntruth = 'truth.csv'\n[data.arrays]\nflux = 'flux.npy'\nivar = 'ivar.npy'\nlabels = 'labels.csv'\n{models}"
    );
    std::fs::write(folder.join("partial.toml"), toml).unwrap();
    succeeded(folder, &["run", "partial.toml"]);
    (metrics(folder, "partial"), std::fs::read_to_string(latest(folder, "partial").join("report.html")).unwrap())
}

fn scatter(metrics: &Value, model: &str, label: &str) -> f64 {
    metrics["models"][model]["labels_vs_truth"][label]["robust_scatter"].as_f64().unwrap()
}

#[test]
fn stars_that_lack_a_label_train_the_rest() {
    let root = tempfile::tempdir().unwrap();
    // Four of five lack one of two labels.
    survey(root.path(), &mut |star, k, label| {
        (if star % 5 > 0 && star % 2 == k { String::new() } else { label.to_string() }, 0.01)
    });
    let models = "[models.all.cannon]\norder = 3\n[models.complete.cannon]\norder = 3\npartial_labels = false\n\
                  [models.windows.cannon]\ncensor.logg = [[0.0, 40.0]]\n[models.latent.cannon.latent]\nspectra = 3\n";
    let (metrics, page) = run(root.path(), models);
    let choice = |model: &str| metrics["models"][model]["training"][0]["label_choice"].clone();
    assert_eq!(choice("all")["chosen"], "partial", "{}", choice("all"));
    assert_eq!(choice("latent")["candidates"][1]["labels"], "partial", "{}", choice("latent"));
    assert!(choice("complete").is_null() && choice("windows").is_null());
    let n_train = |model: &str| metrics["models"][model]["n_train"].as_u64().unwrap();
    assert!(n_train("all") > 3 * n_train("complete") && n_train("windows") == n_train("complete"));
    for label in ["teff", "logg"] {
        let (all, complete) = (scatter(&metrics, "all", label), scatter(&metrics, "complete", label));
        assert!(all < complete, "{label}: {all} {complete}");
    }
    assert!(
        page.contains("all was trained by labels at their word, and by stars that lack some")
            && page.contains("training stars lack a label")
    );
    let log = std::fs::read_to_string(latest(root.path(), "partial").join("log.txt")).unwrap();
    assert!(log.contains("training stars that lack a label are left out"), "{log}");
}

#[test]
fn uncertain_labels_count_by_their_errors() {
    let root = tempfile::tempdir().unwrap();
    let mut random = ChaCha8Rng::seed_from_u64(4);
    survey(root.path(), &mut |star, _, label| {
        let error = if star % 3 == 0 { 0.02 } else { 1.0 };
        ((label + error * draw(&mut random)).to_string(), error)
    });
    let (metrics, page) = run(root.path(), "[models.believed.cannon]\n[models.weighed.cannon]\nlabel_errors = true\n");
    let choice = &metrics["models"]["weighed"]["training"][0]["label_choice"];
    assert!(choice["chosen"] == "errors" || choice["chosen"] == "without-doubtful", "{choice}");
    assert_eq!(choice["candidates"].as_array().unwrap().len(), 3);
    for label in ["teff", "logg"] {
        let (weighed, believed) = (scatter(&metrics, "weighed", label), scatter(&metrics, "believed", label));
        assert!(weighed < 0.7 * believed, "{label}: {weighed} {believed}");
    }
    assert!(page.contains("weighed was trained") && page.contains("have one of an error beyond the usual"));
}

#[test]
fn what_windows_have_no_closed_form_for_is_refused() {
    let root = tempfile::tempdir().unwrap();
    survey(root.path(), &mut |_, _, label| (label.to_string(), 0.1));
    let toml = "labels = ['teff', 'logg']\n[data.arrays]\nflux = 'flux.npy'\nivar = 'ivar.npy'\nlabels = 'labels.csv'\n\
                [models.mine.cannon]\nlabel_errors = true\ncensor.logg = [[0.0, 40.0]]\n";
    std::fs::write(root.path().join("partial.toml"), toml).unwrap();
    refused(root.path(), &["run", "partial.toml"], 2, &["models.mine.cannon.label_errors", "training.descent"]);
}
