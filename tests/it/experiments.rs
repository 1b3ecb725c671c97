//! Every experiment file that comes with maury, and every one in its README and its book, is a valid experiment.

use std::path::Path;

use maury::experiment::load::Experiment;
use maury::models::network::layers::output_of;
use maury::models::network::shape::Shape;
use maury::training::network_config::NetworkConfig;

use crate::support::pages;

/// The blocks of TOML of a page.
fn blocks(page: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(page).unwrap();
    text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_string()).collect()
}

/// The first block of TOML of a chapter.
fn first_block(chapter: &str) -> String {
    blocks(&Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(chapter)).swap_remove(0)
}

/// An experiment in a folder that has the presets.
fn experiment(text: &str) -> Experiment {
    let (root, folder) = (Path::new(env!("CARGO_MANIFEST_DIR")), tempfile::tempdir().unwrap());
    std::fs::create_dir(folder.path().join("configs")).unwrap();
    for preset in ["configs/mock.toml", "configs/apogee.toml", "configs/arrays.toml"] {
        std::fs::copy(root.join(preset), folder.path().join(preset)).unwrap();
    }
    let path = folder.path().join("block.toml");
    std::fs::write(&path, text).unwrap();
    Experiment::load(&path, &[], None).unwrap_or_else(|err| panic!("{err} in\n{text}"))
}

#[test]
fn the_first_experiment_of_the_book_is_valid_and_compares_two_models() {
    let experiment = experiment(&first_block("experiments.md"));
    assert_eq!(experiment.config.models.keys().collect::<Vec<_>>(), ["cubic", "quadratic"]);
}

/// Those that are only a part are a part of one that extends the mock lab.
#[test]
fn every_toml_in_the_readme_and_the_book_is_a_valid_experiment() {
    let readme = blocks(&Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md"));
    assert!(!readme.is_empty());
    let blocks: Vec<String> = pages().into_iter().flat_map(|page| blocks(&page)).chain(readme).collect();
    assert!(blocks.len() > 12, "{blocks:?}");
    for block in blocks {
        let whole = block.contains("extends = ");
        experiment(&if whole { block } else { format!("extends = \"configs/mock.toml\"\n{block}") });
    }
}

#[test]
fn the_network_of_the_book_is_valid() {
    let experiment = experiment(&first_block("networks.md"));
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
            let told = text.strip_prefix("#:schema ../docs/experiment.schema.json\n# ");
            assert!(told.is_some(), "{}: the schema for editors, and then how to run it", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}
