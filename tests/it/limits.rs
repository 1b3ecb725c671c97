//! Settings and files that ask for the impossible: refused with a reason, before memory or hours are spent on them.

use std::path::Path;

use maury::device::{Compute, Precision};
use maury::training::network_checkpoint::TrainedNetwork;

use crate::networks::project;
use crate::support::{apstar_fixture, maury, metrics, refused, succeeded, survey};

#[test]
fn settings_beyond_any_computer_are_refused_by_check() {
    let folder = survey(3);
    let check = |set: &str, said: &[&str]| {
        refused(folder.path(), &["check", "lab.toml", "--set", set], 2, said);
    };
    let net = |rest: &str| format!("models.net.network.{rest}");
    check(&net("architecture.mlp.hidden=[1000000000]"), &["models.net.network.architecture", "1 to 65536"]);
    check(&net("architecture.mlp.hidden=[4611686018427387904]"), &["1 to 65536"]);
    check(
        &net("architecture.mlp.hidden=[60000,60000]"),
        &["GB of memory where", "device.memory = \"16GB\" is allowed"],
    );
    check(&net("architecture.starnet.filters=[1000000000]"), &["filters must be 1 to 65536"]);
    check(
        &net("descent.optimizer.lbfgs={history=9223372036854775807,steps=3}"),
        &["optimizer.lbfgs.history must be 1 to 1000"],
    );
    check(&net("descent.epochs=9000000000000000000"), &["descent.epochs must be 1 to 1e9"]);
    check("posterior.sampler={chains=1000,draws=1000000}", &["posterior.sampler.draws times chains", "10000000"]);
    let long = "posterior.sampler={chains=1000,draws=4,warm_up=1000000}";
    check(long, &["posterior.sampler.warm_up times chains", "20000000"]);
    check("device.threads=100000", &["device.threads", "must be 0 to 1024"]);
    let many: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let sweep = ["seed", "max_training_stars"].map(|key| format!("sweep.\"{key}\"=[{}]", many.join(",")));
    let words = ["check", "lab.toml", "--set", &sweep[0], "--set", &sweep[1]];
    refused(folder.path(), &words, 2, &["has 1000 values; at most 300 points"]);
    let fixture = apstar_fixture().display().to_string();
    let threads = ["label", "--model", "none", "--threads", "100000", &fixture];
    refused(folder.path(), &threads, 2, &["device.threads must be 0 to 1024"]);
    // What computers do stays possible.
    succeeded(folder.path(), &["check", "lab.toml", "--set", &net("architecture.mlp.hidden=[4096,1024]")]);
    succeeded(folder.path(), &["check", "lab.toml", "--set", &net("architecture.starnet={}")]);
}

#[test]
fn folds_without_stars_are_refused_before_any_model_is_trained() {
    let folder = survey(12);
    let run = |set: &str, said: &[&str]| {
        refused(folder.path(), &["run", "lab.toml", "--set", set], 1, said);
        let left = std::fs::read_dir(folder.path().join("experiments/lab")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "a refused run leaves nothing");
    };
    run("split.folds.k=16", &["split: 12 stars left, at least 16", "4 of 16 folds", "split.folds.k to at most 12"]);
    run("calibration.folds=9", &["calibration: 6 stars left, at least 9", "calibration.folds to at most 6"]);
    let one = ["run", "lab.toml", "--set", "selection.ranges.teff={min=4500,max=4500.01}"];
    assert_eq!(maury(folder.path(), &one).status.code(), Some(1));
}

#[test]
fn a_network_of_l_bfgs_learns() {
    let folder = tempfile::tempdir().unwrap();
    project(
        folder.path(),
        "architecture.mlp = { hidden = [16] }\ndescent = { epochs = 40, optimizer.lbfgs = { history = 10, steps = 5 } }",
    );
    succeeded(folder.path(), &["run", "net.toml", "--set", "calibration.folds=0"]);
    let curve = metrics(folder.path(), "net")["models"]["net"]["training"][0]["members"][0]["curve"]
        .as_array()
        .unwrap()
        .clone();
    let loss = |epoch: &serde_json::Value| epoch["training_loss"].as_f64().unwrap();
    let (first, last) = (loss(&curve[0]), loss(curve.last().unwrap()));
    assert!(last < 0.1 * first, "{first} to {last}");
}

#[test]
fn numbers_that_no_trained_model_has_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    project(folder.path(), "architecture.mlp = { hidden = [8] }\ndescent.epochs = 2");
    succeeded(folder.path(), &["run", "net.toml", "--set", "models.ridge.ridge={kernel=\"rbf\",masked=\"mean\"}"]);
    let compute = Compute::flex(Precision::F32);
    let models = folder.path().join("experiments/net/latest/models");
    let edited = |model: &str, pointer: &str, value: serde_json::Value, said: &[&str]| {
        let path = models.join(model).join("model.json");
        let whole = std::fs::read_to_string(&path).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&whole).unwrap();
        *json.pointer_mut(pointer).expect(pointer) = value;
        std::fs::write(&path, json.to_string()).unwrap();
        let words = ["label", "--model", &models.join(model).display().to_string(), "x.fits"];
        refused(Path::new(env!("CARGO_MANIFEST_DIR")), &words, 1, said);
        std::fs::write(&path, whole).unwrap();
    };
    for model in ["net", "ridge"] {
        for value in [0.0, -1.0, 1e308, 1e-320] {
            edited(model, "/error_covariance/0/0", value.into(), &["model.json: error_covariance[0][0] is", "edited?"]);
        }
        edited(model, "/error_covariance/0/1", 0.5.into(), &["a covariance is symmetric"]);
    }
    edited("net", "/error_covariance/1/1", serde_json::Value::Null, &["error_covariance[1][1] is NaN"]);
    edited("ridge", "/usual_variance/1", (-1.0).into(), &["usual_variance of logg is -1"]);
    for key in ["/n_hidden", "/n_anchors"] {
        edited("ridge", key, 1_000_000_000_000_000_u64.into(), &["weights.safetensors", "cannot hold"]);
    }
    edited("net", "/config/architecture/mlp/hidden/0", 50_000.into(), &["weights.safetensors", "cannot hold"]);
    edited("net", "/config/architecture/mlp/hidden/0", 4_611_686_018_427_387_904_u64.into(), &["1 to 65536"]);
    assert!(TrainedNetwork::load(&models.join("net"), &compute).is_ok());
}

#[cfg(unix)]
#[test]
fn weights_that_are_no_file_are_not_waited_for() {
    let folder = survey(24);
    succeeded(folder.path(), &["run", "lab.toml", "--set", "split=all"]);
    let weights = folder.path().join("experiments/lab/latest/models/cannon/weights.safetensors");
    std::fs::remove_file(&weights).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&weights).status().unwrap().success());
    let fixture = apstar_fixture().display().to_string();
    let words = ["label", "--model", "experiments/lab/latest/models/cannon", &fixture];
    refused(folder.path(), &words, 1, &["weights.safetensors is no file"]);
}
