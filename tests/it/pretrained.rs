//! Networks that learn from an emulator's spectra before they learn from a survey's, from the survey to labels of its spectra.

use std::path::Path;

use crate::networks::{project, unfinished};
use crate::support::{json, refused, start, succeeded, wait_until};

const SURVEY: &str = "split = 'halves'\ncalibration.folds = 0\n[data.mock]\nstars = 60\nseed = 3\n";
const PLAIN: &str = "architecture.mlp = { hidden = [48], skip = true }\naugment.noise = 1.0\n\
    descent = { epochs = 40, batch_rows = 16, learning_rate = 2e-3 }\n";
const PRETRAIN: &str =
    "pretrain = { spectra = 400, descent = { epochs = 15, batch_rows = 32, learning_rate = 2e-3 } }\n";

#[test]
fn thirty_stars_are_enough_for_a_network_that_knows_physics_and_a_broken_run_goes_on() {
    let (whole, broken) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let toml = format!(
        "labels = ['teff', 'logg', 'fe_h']\ndevice.threads = 1\n{SURVEY}\
         [models.plain.network]\n{PLAIN}input.components = {{ count = 15, whitening = 0.0 }}\n\
         [models.pretrained.network]\n{PLAIN}{PRETRAIN}input.components = {{ count = 60, whitening = 0.0 }}\n"
    );
    for folder in [&whole, &broken] {
        std::fs::write(folder.path().join("net.toml"), &toml).unwrap();
    }
    succeeded(whole.path(), &["run", "net.toml"]);
    let run = std::fs::canonicalize(whole.path().join("experiments/net/latest")).unwrap();
    let models = &json(&run.join("metrics.json"))["models"];
    let scatter = |model: &str, label: &str| {
        let healthy = &models[model]["by_pathology"]["healthy"]["labels_vs_truth"][label];
        healthy["robust_scatter"].as_f64().unwrap()
    };
    for label in ["teff", "logg", "fe_h"] {
        let (pretrained, plain) = (scatter("pretrained", label), scatter("plain", label));
        assert!(pretrained < 0.8 * plain, "{label}: {pretrained} {plain}");
    }
    let member = &models["pretrained"]["training"][0]["members"][0];
    let pretraining = &member["pretraining"];
    assert_eq!(pretraining["n_spectra"].as_u64(), Some(15 * 400));
    assert_eq!(pretraining["curve"].as_array().unwrap().len(), 15);
    assert!(member["curve"][0]["learning_rate"].as_f64().unwrap() <= 2e-4);
    assert!(models["plain"]["training"][0]["members"][0].get("pretraining").is_none());
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("pretrained learned from") && !page.contains("plain learned from"));

    // The folder labels spectra as any network's does.
    let model = run.join("models/pretrained").display().to_string();
    let spectra = whole.path().join("experiments/.prepared/mock-60-stars-seed-3-v2/spectra").display().to_string();
    let said = succeeded(whole.path(), &["label", "--model", &model, "--out", "labels", &spectra]);
    assert!(whole.path().join("labels.csv").is_file(), "{said}");

    // Killed while it learns physics, and gone on.
    let mut child = start(broken.path(), &["run", "net.toml"]);
    let states = |folder: &Path| Some(unfinished(folder)?.join("training/pretrained/member1-pretraining"));
    wait_until("a fourth epoch", || states(broken.path()).is_some_and(|states| states.join("epoch-000004").is_dir()));
    child.kill().unwrap();
    child.wait().unwrap();
    succeeded(broken.path(), &["run", "net.toml", "--resume"]);
    for file in ["predictions-pretrained.csv", "models/pretrained/weights.safetensors"] {
        let of = |folder: &Path| std::fs::read(folder.join("experiments/net/latest").join(file)).unwrap();
        assert!(of(whole.path()) == of(broken.path()), "{file} differs");
    }
}

#[test]
fn what_cannot_be_pretrained_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |network: &str, code: i32, said: &[&str]| {
        project(folder.path(), network);
        refused(folder.path(), &["run", "net.toml"], code, said);
    };
    refuse("pretrain = {}", 2, &["pretrain.emulator does not do: the emulator's spectra are on another grid"]);
    refuse("pretrain.spectra = 3", 2, &["models.net.network.pretrain.spectra must be 100 to 1000000"]);
    refuse("pretrain.finetune = 0.0", 2, &["models.net.network.pretrain.finetune must be above 0 and at most 1"]);
    refuse("pretrain.descent.epochs = 0", 2, &["models.net.network.pretrain.descent.epochs must be"]);
    refuse(
        "pretrain.descent.optimizer.lbfgs = { history = 5, steps = 5 }",
        2,
        &["models.net.network.pretrain.descent.optimizer must take batches"],
    );
    refuse("pretrain = {}\ninput.masked = 'cannon'", 2, &["models.net.network.input.masked must be \"mean\""]);
    refuse(
        "pretrain.spectra = 100\ninput.components.count = 100",
        2,
        &["models.net.network.input.components.count must be below the 100 model spectra"],
    );
    refuse(
        "architecture.transformer = {}\ninput.mask_channel = false",
        2,
        &["models.net.network.input.mask_channel must be true for attention"],
    );
}
