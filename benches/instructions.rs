//! Instructions of training and fitting, counted by callgrind: a measure that a busy machine does not move.
//!
//! `cargo bench --bench instructions` sets them beside those in `benches/instructions.json`, `-- --write` keeps them there. Valgrind must
//! be installed; it has AVX2 at most, so that machines with more give the same counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use maury::device::{Compute, Precision};
use maury::inference::fit::FitSettings;
use maury::inference::fitted::{FittedCannon, estimate_arrays};
use maury::spectra::continuum::ContinuumSettings;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::labels::LabelScaler;
use maury::spectra::pixmask::PixmaskSettings;
use maury::training::cannon_config::CannonConfig;
use maury::training::checkpoint::{Preparation, TrainedCannon};
use maury::training::closed_form::train;
use ndarray::Array2;

mod survey;

use survey::{N_LABELS, survey};

const SIZE: (usize, usize) = (300, 1200);
/// Which step a counted process ends with.
const STEP: &str = "MAURY_COUNTED_STEP";
const STEPS: [&str; 3] = ["survey", "training", "fitting"];

/// Makes a survey, trains on it, and labels another, as far as a step.
fn work(step: &str) {
    let (training, test) = (survey(SIZE, 2), survey(SIZE, 3));
    if step == STEPS[0] {
        return;
    }
    let compute = Compute::flex(Precision::F32);
    let names: Vec<String> = (0..N_LABELS).map(|k| format!("l{k}")).collect();
    let scaler = LabelScaler::fit(&names, training.labels.view()).expect("random labels have spread");
    let scaled = scaler.scale(training.labels.view());
    let (cannon, _) =
        train(&CannonConfig::default(), scaled.view(), training.flux.view(), training.ivar.view(), &compute)
            .expect("the stars determine 21 terms");
    if step == STEPS[1] {
        return;
    }
    let wavelength = (0..SIZE.1).map(|pixel| 16_000.0 + 0.2 * pixel as f64).collect();
    let model = TrainedCannon {
        cannon,
        scaler,
        preparation: Preparation {
            grid: WavelengthGrid::from_wavelengths(wavelength).expect("they ascend"),
            pixmask: PixmaskSettings::default(),
            continuum: ContinuumSettings::default(),
            continuum_pixels: Vec::new(),
            gaps: Vec::new(),
        },
        latent_labels: Array2::zeros((training.labels.nrows(), 0)),
        training_labels: training.labels,
    };
    let fitted = FittedCannon::new(&model, &FitSettings::default(), &compute);
    estimate_arrays(&fitted, test.flux.view(), test.ivar.view(), 256, &compute, &|_| ()).expect("the same pixels");
}

/// Instructions of this program as far as a step, in millions.
fn counted(step: &str) -> f64 {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let out = folder.path().join("callgrind");
    let program = std::env::current_exe().expect("a program knows where it is");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(program)
        .env(STEP, step)
        .env("RAYON_NUM_THREADS", "1")
        .status()
        .expect("valgrind runs; apt-get install valgrind");
    assert!(status.success(), "{step} failed under valgrind");
    let text = std::fs::read_to_string(&out).expect("callgrind leaves its counts");
    let total = text.lines().find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")));
    total.and_then(|count| count.trim().parse::<f64>().ok()).expect("a count of instructions") * 1e-6
}

fn kept() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.json")
}

fn main() {
    if let Ok(step) = std::env::var(STEP) {
        return work(&step);
    }
    let counts = STEPS.map(counted);
    let now: BTreeMap<&str, f64> = (1..STEPS.len()).map(|n| (STEPS[n], (counts[n] - counts[n - 1]).round())).collect();
    let before: BTreeMap<String, f64> =
        std::fs::read_to_string(kept()).ok().and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
    for (step, count) in &now {
        let beside =
            before.get(*step).map_or(String::new(), |before| format!(", {:.3} of what is kept", count / before));
        println!("{step}: {count:.0} million instructions{beside}");
    }
    if std::env::args().any(|argument| argument == "--write") {
        let text = serde_json::to_string_pretty(&now).expect("plain numbers are JSON");
        std::fs::write(kept(), text + "\n").expect("the benches' folder can be written");
    }
}
