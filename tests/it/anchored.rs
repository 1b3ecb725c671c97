//! The Cannon anchored in physics, from a survey to labels of its spectra.

use std::path::Path;

use crate::support::{json, maury, numbers, succeeded};

const SURVEY: &str = "split = 'halves'\ncalibration.folds = 0\n[data.mock]\nstars = 60\nseed = 3\n";
const ANCHOR: &str = "{ spectra = 600, hidden = ['vmic_kms', 'c_fe'], components = 8, rounds = 1 }";

#[test]
fn thirty_stars_are_enough_for_a_cannon_that_knows_physics() {
    let root = tempfile::tempdir().unwrap();
    let place = root.path();
    let toml = format!(
        "labels = ['teff', 'logg', 'fe_h']\n{SURVEY}[models.linear.cannon]\norder = 1\n[models.anchored.cannon]\nanchor = {ANCHOR}\n"
    );
    std::fs::write(place.join("few.toml"), toml).unwrap();
    succeeded(place, &["run", "few.toml"]);
    let run = std::fs::canonicalize(place.join("experiments/few/latest")).unwrap();
    let models = &json(&run.join("metrics.json"))["models"];
    let scatter = |model: &str, label: &str| {
        let healthy = &models[model]["by_pathology"]["healthy"]["labels_vs_truth"][label];
        healthy["robust_scatter"].as_f64().unwrap()
    };
    for label in ["teff", "logg", "fe_h"] {
        let (anchored, linear) = (scatter("anchored", label), scatter("linear", label));
        assert!(anchored < 0.6 * linear, "{label}: {anchored} {linear}");
    }
    let anchor = &models["anchored"]["training"][0]["anchor"];
    assert_eq!((anchor["n_spectra"].as_u64(), anchor["n_hidden"].as_u64()), (Some(600), Some(2)));
    assert!(anchor["strengths"]["linear"].as_f64().unwrap() < 0.3, "{anchor}");
    let page = std::fs::read_to_string(run.join("report.html")).unwrap();
    assert!(page.contains("anchored starts from") && page.contains("inputs beside the labels"));
    // The spectrum, and the gradient of every label.
    let departures = models["anchored"]["departures"].as_array().unwrap();
    assert!(departures.len() == 4 && departures[0]["label"].is_null() && departures[1]["label"] == "teff");
    for departure in departures {
        let of = |key: &str| departure[key].as_f64().unwrap();
        assert!(of("change_rms") > 0.0 && of("change_rms") < 0.5 * of("physics_rms"), "{departure}");
        assert_eq!(departure["features"].as_array().unwrap().len(), 10);
    }
    assert!(models["linear"]["departures"].is_null() && run.join("figures/departures-anchored.svg").is_file());
    assert!(
        page.contains("How far the stars are from physics") && page.contains("The lines at which they differ most")
    );

    // The folder labels spectra as the run did.
    let model = run.join("models/anchored").display().to_string();
    let spectra = place.join("experiments/.prepared/mock-60-stars-seed-3-v2/spectra").display().to_string();
    succeeded(place, &["label", "--model", &model, "--out", "labels", &spectra]);
    let teff =
        |path: &Path| numbers(path, "teff_estimate").into_iter().collect::<std::collections::BTreeMap<String, f64>>();
    let (of_run, of_label) = (teff(&run.join("predictions-anchored.csv")), teff(&place.join("labels.csv")));
    assert!(of_run.len() >= 20);
    // A star may have a second spectrum, whose row has its name, too.
    let n_same = of_run.iter().filter(|(id, teff)| (*teff - of_label[*id]).abs() < 0.5).count();
    assert!(n_same >= of_run.len() - 4, "{n_same} of {}: {of_run:?} {of_label:?}", of_run.len());

    // The emulator is asked what it knows before a device is opened in any precision.
    let physics = "models.anchored.cannon.anchor.rounds=0";
    succeeded(place, &["run", "few.toml", "--name", "double", "--set", "device.precision=f64", "--set", physics]);

    // Spectra that stay in their file, 4 MB of which a quarter of this memory holds half, teach the same, to what 32 bits tell: a tenth
    // of an error.
    succeeded(place, &["run", "few.toml", "--name", "small", "--set", "device.memory=10MB"]);
    let small = std::fs::canonicalize(place.join("experiments/small/latest")).unwrap();
    for (id, teff) in teff(&small.join("predictions-anchored.csv")) {
        assert!((teff - of_run[&id]).abs() < 2.0, "{id}: {teff} {}", of_run[&id]);
    }
}

#[test]
fn an_anchor_beside_what_it_replaces_is_refused() {
    let root = tempfile::tempdir().unwrap();
    let said = |models: &str| {
        let toml = format!("labels = ['teff', 'fe_h']\n{SURVEY}{models}");
        std::fs::write(root.path().join("few.toml"), toml).unwrap();
        let output = maury(root.path(), &["run", "few.toml"]);
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let both = said("[models.mine.cannon]\nanchor = {}\nlatent = {}\n");
    assert!(both.contains("models.mine.cannon.anchor has latent labels and nuisance spectra of its own"), "{both}");
    // Told before any model trains.
    for (anchor, problem) in [
        ("{ hidden = ['nosuch'] }", "anchor.emulator does not do: the emulator has no input `nosuch`"),
        ("{ emulator = 'nowhere' }", "anchor.emulator does not do: nowhere"),
        ("{ hidden = ['c_fe', 'C_FE'] }", "anchor.hidden names an input twice"),
    ] {
        let said = said(&format!("[models.mine.cannon]\nanchor = {anchor}\n"));
        assert!(said.contains(problem), "{anchor}: {said}");
    }
    let cubic = said("[models.mine.cannon]\nanchor = {}\norder = 3\n");
    assert!(cubic.contains("models.mine.cannon.order must be 2 with an anchor"), "{cubic}");
}
