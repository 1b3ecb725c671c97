//! What strangers met in their first hours, and what they are told now.

use std::path::Path;

use ndarray::Array2;
use ndarray_npy::WriteNpyExt;

use crate::support::{apstar_fixture, refused, succeeded, truth};

/// A run on arrays, `experiments/mine`, with one model, `cannon`.
fn run_on_arrays(folder: &Path) {
    let truth = truth(60, 2, 30, 5);
    let save = |name: &str, values: &Array2<f32>| {
        values.write_npy(std::fs::File::create(folder.join(name)).unwrap()).unwrap();
    };
    save("flux.npy", &truth.flux);
    save("ivar.npy", &truth.ivar);
    let row = |labels: ndarray::ArrayView1<f64>| format!("{},{}\n", labels[0], labels[1]);
    let rows: String = truth.labels.rows().into_iter().map(row).collect();
    std::fs::write(folder.join("labels.csv"), format!("teff,logg\n{rows}")).unwrap();
    std::fs::write(
        folder.join("mine.toml"),
        "labels = ['teff', 'logg']\ncontinuum.method = 'none'\n[data.arrays]\nflux = 'flux.npy'\nivar = 'ivar.npy'\n\
         labels = 'labels.csv'\n[models.cannon.cannon]\norder = 1\n[models.ridge.ridge]\n",
    )
    .unwrap();
    succeeded(folder, &["run", "mine.toml"]);
}

#[test]
fn models_of_arrays_say_what_they_cannot_do_and_what_can() {
    let folder = tempfile::tempdir().unwrap();
    run_on_arrays(folder.path());
    let page = std::fs::read_to_string(folder.path().join("experiments/mine/latest/report.html")).unwrap();
    assert!(page.contains("maury label and maury posterior read apStar files only"));
    let star = apstar_fixture().display().to_string();
    let model = "experiments/mine/latest/models/cannon";
    for verb in ["label", "posterior"] {
        let said = [&format!("error: {model}: "), "other than apStar files", "selection.keep_missing_labels = true"];
        refused(folder.path(), &[verb, "--model", model, &star], 1, &said);
    }
    let ridge = "experiments/mine/latest/models/ridge";
    let said = [&format!("error: {ridge}: "), "no likelihood to sample; give a Cannon"];
    refused(folder.path(), &["posterior", "--model", ridge, &star], 1, &said);
}
