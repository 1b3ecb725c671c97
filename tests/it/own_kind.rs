//! A kind of model in a crate of one's own: in an experiment beside The Cannon, calibrated, saved, loaded, labelling.

#[allow(dead_code)]
#[path = "../../examples/own_kind.rs"]
mod example;

use std::path::Path;

use maury::device::{Compute, Precision};
use maury::experiment::load::Experiment;
use maury::experiment::run::run;
use maury::inference::fit::FitSettings;
use maury::inference::refine::RefineSettings;
use maury::kinds::registry;
use maury::labelling::labeller::Labeller;
use maury::progress::Silent;
use maury::stars::spectrum_files::SpectrumFiles;

use crate::support::{succeeded, survey};

const MODELS: &str = "\
[models.plain.cannon]
order = 1
[models.near.neighbours]
count = 5
[models.both.combination]
of = [\"plain\", \"near\"]
";

#[test]
fn a_kind_of_ones_own_is_run_calibrated_compared_saved_loaded_and_labels() {
    let folder = survey(120);
    let root = folder.path();
    let lab = std::fs::read_to_string(root.join("lab.toml")).unwrap();
    std::fs::write(root.join("own.toml"), format!("{lab}{MODELS}")).unwrap();
    registry::add::<example::Neighbours>();
    let load = |sets: &[&str]| {
        // The test runs in a folder of its own.
        let here =
            ["data.apstar.catalogue=allStar.fits", "data.apstar.spectra=spectra", "continuum.pixels=continuum.csv"]
                .map(|set| set.replace('=', &format!("={}/", root.display())));
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).chain(here).collect();
        Experiment::load(&root.join("own.toml"), &sets, None)
    };
    let refusal = load(&["models.near.neighbours.count=1"]).unwrap_err().to_string();
    assert!(refusal.contains("models.near.neighbours.count must be at least 2"), "{refusal}");
    let refusal = load(&["models.near.neighbours.cuont=3"]).unwrap_err().to_string();
    assert!(refusal.contains("did you mean `count`"), "{refusal}");
    // The line of the mistake, not that of the table.
    for (wrong, said) in [("cuont = 5", "did you mean `count`"), ("count = 'five'", "expected a whole number")] {
        let text = format!("{lab}{}", MODELS.replace("count = 5", &format!("# Some\n{wrong}")));
        let line = text.lines().position(|line| line == wrong).unwrap() + 1;
        std::fs::write(root.join("wrong.toml"), text).unwrap();
        let refusal = Experiment::load(&root.join("wrong.toml"), &[], None).unwrap_err().to_string();
        assert!(refusal.contains(&format!("at line {line}, column")) && refusal.contains(said), "{refusal}");
    }
    let refusal = load(&["models.other.neigbours.count=3"]).unwrap_err().to_string();
    assert!(refusal.contains("did you mean `neighbours`"), "{refusal}");

    let (experiment, compute) = (load(&[]).unwrap(), Compute::flex(Precision::F32));
    let outcome = run(&experiment, &root.join("run"), &root.join("cache"), &compute, &Silent).unwrap();
    let model = |name: &str| outcome.models.iter().find(|model| model.name == name).unwrap();
    let scatter = |name: &str| model(name).metrics.labels["teff"].robust_scatter;
    // Labels of other stars are worth less than a fit, and more than none.
    assert!(scatter("plain") < scatter("near"), "{} {}", scatter("plain"), scatter("near"));
    let catalogue = &model("near").predictions.catalogue.column(0).to_vec();
    assert!(scatter("near") < 0.7 * maury::stats::robust::robust_scatter(catalogue), "{}", scatter("near"));
    assert_eq!(model("near").calibration.len(), 1);
    let differences = serde_json::to_string(outcome.comparison.as_ref().unwrap()).unwrap();
    assert!(differences.contains("near") && differences.contains("both"), "{differences}");
    let told = serde_json::to_value(&model("near").training[0]).unwrap();
    assert_eq!(told["n_stars"], model("near").metrics.n_train);

    // What is read back labels as the run did, and the combination with it.
    let star = 3;
    let id = &model("near").predictions.ids[star];
    let path = root.join(format!("spectra/apo25m/M15/apStar-dr17-{id}.fits"));
    for name in ["near", "both"] {
        let place = root.join("run/models").join(name);
        let labeller = Labeller::load(&place, &FitSettings::default(), &RefineSettings::default(), &compute).unwrap();
        let labelled = labeller.label(&SpectrumFiles::new(vec![path.clone()]), &[0], None, &Silent).unwrap().remove(0);
        let predictions = &model(name).predictions;
        let row = predictions.estimates.labels.row(star);
        for (label, expected) in labelled.labels.iter().zip(row) {
            assert!((label - expected).abs() < 1e-3 * expected.abs().max(1.0), "{name}: {label} {expected}");
        }
        assert_eq!(labelled.calibrated_errors.len(), row.len());
    }
    // Who does not know the kind says so.
    let refused = crate::support::maury(root, &["label", "--model", "run/models/near", "--out", "x", "spectra"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("`neighbours`") && said.contains("cannon, payne"), "{said}");
    succeeded(root, &["label", "--model", "run/models/plain", "--out", "known", "spectra"]);
    assert!(root.join("known.csv").is_file());
}

#[test]
fn a_crate_of_ones_own_is_told_the_versions_that_maury_has() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |name: &str| std::fs::read_to_string(root.join(name)).unwrap();
    let (guide, own) = (read("docs/add-a-network.md"), read("Cargo.toml").parse::<toml::Table>().unwrap());
    let block = guide.lines().skip_while(|line| line.trim() != "[package]");
    let block: Vec<&str> = block.take_while(|line| line.is_empty() || line.starts_with("    ")).collect();
    let told = block.join("\n").parse::<toml::Table>().unwrap();
    assert_eq!(told["package"]["edition"], own["package"]["edition"]);
    let version = |table: &toml::Table, name: &str| {
        let dependency = &table["dependencies"][name];
        dependency.get("version").unwrap_or(dependency).as_str().unwrap().to_string()
    };
    for name in ["burn", "ndarray", "serde"] {
        assert_eq!(version(&told, name), version(&own, name));
    }
}

#[test]
fn the_example_is_short() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/own_kind.rs");
    let text = std::fs::read_to_string(path).unwrap();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    assert!(text.lines().filter(is_code).count() < 120);
}
