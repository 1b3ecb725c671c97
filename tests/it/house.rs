//! The house keeps its order: imports point down the layers, files stay short.

use std::path::{Path, PathBuf};

/// Lowest first; a file may use its own layer and those before it.
const LAYERS: [&str; 14] = [
    "error",
    "progress",
    "device",
    "stats",
    "plot",
    "data",
    "spectra",
    "models",
    "training",
    "inference",
    "mock",
    "experiment",
    "report",
    "cli",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn no_import_points_up_and_no_file_is_long() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(files.len() > 30);
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let relative = file.strip_prefix(&root).unwrap();
        assert!(text.lines().count() <= 500, "{} is over 500 lines: split it by noun", relative.display());
        let own = relative.iter().next().unwrap().to_string_lossy().trim_end_matches(".rs").to_string();
        let Some(own) = LAYERS.iter().position(|layer| *layer == own) else { continue };
        // What tests use does not bind the program.
        let program = text.split("#[cfg(test)]").next().unwrap();
        for import in program.split("crate::").skip(1) {
            let name: String = import.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect();
            if let Some(layer) = LAYERS.iter().position(|layer| *layer == name) {
                assert!(layer <= own, "{} (layer {}) uses {name}", relative.display(), LAYERS[own]);
            }
        }
        let leaf = ["stats", "plot"].contains(&LAYERS[own]);
        assert!(!leaf || !program.contains("burn::"), "{} must not know Burn", relative.display());
    }
}
