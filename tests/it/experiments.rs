//! Every experiment file that comes with maury is a valid experiment.

use std::path::Path;

use maury::experiment::load::Experiment;
use maury::models::network::layers::output_of;
use maury::models::network::shape::Shape;
use maury::training::network_config::NetworkConfig;

#[test]
fn the_experiment_in_the_readme_is_valid_and_compares_two_models() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let text = readme.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("configs")).unwrap();
    std::fs::copy(root.join("configs/apogee.toml"), folder.path().join("configs/apogee.toml")).unwrap();
    let path = folder.path().join("cubic.toml");
    std::fs::write(&path, text).unwrap();
    let experiment = Experiment::load(&path, &[], None).unwrap();
    assert_eq!(experiment.config.models.keys().collect::<Vec<_>>(), ["cubic", "quadratic"]);
}

/// Those that are only a part are a part of one that extends the mock lab.
#[test]
fn every_toml_in_the_readme_is_a_valid_experiment() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("configs")).unwrap();
    for preset in ["mock.toml", "apogee.toml"].map(|name| format!("configs/{name}")) {
        std::fs::copy(root.join(&preset), folder.path().join(&preset)).unwrap();
    }
    let path = folder.path().join("block.toml");
    let blocks: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() > 5, "{blocks:?}");
    for block in blocks {
        let whole = block.contains("extends = ");
        let text = if whole { block.to_string() } else { format!("extends = \"configs/mock.toml\"\n{block}") };
        std::fs::write(&path, &text).unwrap();
        Experiment::load(&path, &[], None).unwrap_or_else(|err| panic!("{err} in\n{text}"));
    }
}

#[test]
fn the_network_in_the_readme_is_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let text = readme.split("```toml\n").find(|text| text.contains(".network]")).unwrap().split("```").next().unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("configs")).unwrap();
    std::fs::copy(root.join("configs/mock.toml"), folder.path().join("configs/mock.toml")).unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, text).unwrap();
    let experiment = Experiment::load(&path, &[], None).unwrap();
    let settings = serde_json::to_value(&experiment.config.models["mine"]).unwrap();
    let network: NetworkConfig = serde_json::from_value(settings["network"].clone()).unwrap();
    let spectrum = Shape::Sequence { channels: 2, length: 8575 };
    assert_eq!(output_of(&network.architecture.layers(), spectrum), Ok(Shape::Vector(128)));
}

#[test]
fn every_shipped_toml_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let placeholders = ["flux", "error", "labels"].map(|key| format!("data.arrays.{key}=x.npy"));
    let spectra = ["catalogue=x.fits", "spectra=x"].map(|set| format!("data.apstar.{set}"));
    let mut count = 0;
    for folder in ["configs", "experiments"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for path in
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "toml"))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let sets = match path.file_name().and_then(|name| name.to_str()) {
                Some("arrays.toml") => placeholders.to_vec(),
                Some("lab.toml") => spectra.to_vec(),
                _ => Vec::new(),
            };
            Experiment::load(&path, &sets, None).unwrap_or_else(|err| panic!("{err}"));
            assert!(text.starts_with("# "), "{}: the first line says how to run it", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}
