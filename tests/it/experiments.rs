//! Every experiment file that comes with maury is a valid experiment.

use std::path::Path;

use maury::experiment::config::Experiment;

#[test]
fn every_shipped_toml_loads() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let placeholders = ["flux", "error", "labels"].map(|key| format!("data.arrays.{key}=x.npy"));
    let mut count = 0;
    for folder in ["configs", "experiments"] {
        let Ok(entries) = std::fs::read_dir(root.join(folder)) else { continue };
        for path in
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "toml"))
        {
            let text = std::fs::read_to_string(&path).unwrap();
            let sets = if path.ends_with("configs/arrays.toml") { placeholders.to_vec() } else { Vec::new() };
            Experiment::load(&path, &sets, None).unwrap_or_else(|err| panic!("{err}"));
            assert!(text.starts_with("# "), "{}: the first line says how to run it", path.display());
            count += 1;
        }
    }
    assert!(count > 0);
}
