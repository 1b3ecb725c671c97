//! Every backend of this build against flex in f64: training, fits, gradients, likelihood, saved models, the program.

use std::collections::HashMap;
use std::path::Path;
use std::sync::OnceLock;

use clap::ValueEnum;
use maury::device::{Backend, Compute, Precision, to_f64};
use maury::error::Error;
use maury::models::likelihood::log_likelihood;
use maury::models::{LabelEstimates, SpectralModel};
use maury::training::checkpoint::TrainedCannon;
use ndarray::s;

use crate::fitting::{estimate, model};
use crate::support::{N_PIXELS, Truth, maury, maury_with, numbers, refused, say, succeeded, survey, truth};

/// A backend in one precision.
struct Tested {
    backend: Backend,
    precision: Precision,
    compute: Compute,
}

impl Tested {
    fn name(&self) -> String {
        format!("{} {:?}", self.backend.name(), self.precision).to_lowercase()
    }

    /// Of two numbers, the one that bounds this precision.
    fn bound(&self, f32: f64, f64: f64) -> f64 {
        if self.precision == Precision::F32 { f32 } else { f64 }
    }
}

/// Every backend of this build that runs here, in each precision it has.
///
/// What was tested and what was not is said once.
fn backends() -> &'static [Tested] {
    static TESTED: OnceLock<Vec<Tested>> = OnceLock::new();
    TESTED.get_or_init(|| {
        let (mut tested, mut absent, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for &backend in Backend::value_variants() {
            match Compute::on(backend, Precision::F32) {
                Ok(compute) => tested.push(Tested { backend, precision: Precision::F32, compute }),
                Err(Error::BackendNotCompiled { backend, .. }) => absent.push(backend),
                Err(refusal) => skipped.push(refusal.to_string()),
            }
            match Compute::on(backend, Precision::F64) {
                Ok(compute) => tested.push(Tested { backend, precision: Precision::F64, compute }),
                Err(Error::BackendNotCompiled { .. }) => {}
                Err(refusal) if skipped.contains(&refusal.to_string()) => {}
                Err(refusal) => skipped.push(format!("f64 on {refusal}")),
            }
        }
        let names: Vec<String> = tested.iter().map(Tested::name).collect();
        let mut line = format!("backends tested: {}", names.join(", "));
        if !absent.is_empty() {
            line += &format!("; not compiled in: {}", absent.join(", "));
        }
        if !skipped.is_empty() {
            line += &format!("; SKIPPED: {}", skipped.join("; "));
        }
        say(&line);
        tested
    })
}

/// What flex makes of some spectra in f64.
struct Reference {
    truth: Truth,
    model: TrainedCannon,
    estimates: LabelEstimates,
}

impl Reference {
    fn new(n_stars: usize, n_pixels: usize) -> Self {
        let truth = truth(n_stars, 5, n_pixels, 91);
        let compute = Compute::flex(Precision::F64);
        let model = model(&truth, &compute);
        let estimates = estimate(&model, &truth.flux, &truth.ivar, &compute);
        Self { truth, model, estimates }
    }
}

/// Five labels, 21 terms, all pixels of APOGEE; fewer pixels and stars for wgpu, which may be a CPU behind Vulkan, some
/// twenty times slower than flex.
fn reference(backend: Backend) -> &'static Reference {
    static FULL: OnceLock<Reference> = OnceLock::new();
    static SMALL: OnceLock<Reference> = OnceLock::new();
    match backend {
        Backend::Wgpu => SMALL.get_or_init(|| Reference::new(150, 1200)),
        _ => FULL.get_or_init(|| Reference::new(300, N_PIXELS)),
    }
}

/// Largest difference of any label of any star, in formal errors.
fn largest_in_sigma(a: &LabelEstimates, b: &LabelEstimates) -> f64 {
    let (n_stars, n_labels) = b.labels.dim();
    assert_eq!(a.labels.dim(), b.labels.dim());
    (0..n_stars * n_labels)
        .map(|i| (i / n_labels, i % n_labels))
        .map(|(n, k)| (a.labels[[n, k]] - b.labels[[n, k]]).abs() / b.error(n, k))
        .inspect(|difference| assert!(difference.is_finite()))
        .fold(0.0, f64::max)
}

fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).inspect(|value| assert!(value.is_finite())).fold(0.0, f64::max)
}

fn largest(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |a, b| a.max(b.abs()))
}

#[test]
fn training_and_label_fits_of_every_backend_are_those_of_flex_in_f64() {
    for tested in backends() {
        let Reference { truth, model: right, estimates } = reference(tested.backend);
        let name = tested.name();
        let start = std::time::Instant::now();
        let ours = model(truth, &tested.compute);
        let trained = start.elapsed().as_secs_f64();
        let labelled = estimate(&ours, &truth.flux, &truth.ivar, &tested.compute);
        let fitted = start.elapsed().as_secs_f64() - trained;

        // The flux of the training stars: what theta means.
        let wide = Compute::flex(Precision::F64);
        let scaled: Vec<f64> = right.scaler.scale(truth.labels.view()).iter().copied().collect();
        let flux = |model: &TrainedCannon| {
            let labels = wide.tensor(&scaled, [truth.labels.nrows(), 5]);
            let design = right.cannon.vectorizer().design_matrix(labels);
            to_f64(design.matmul(wide.bring(model.cannon.theta.val())))
        };
        let flux_difference = largest_difference(&flux(&ours), &flux(right));
        let scatter = |model: &TrainedCannon| -> Vec<f64> {
            to_f64(model.cannon.s2.val()).into_iter().map(|s2| s2.sqrt()).collect()
        };
        let (s, right_s) = (scatter(&ours), scatter(right));
        let n_zero = |s: &[f64]| s.iter().filter(|s| **s == 0.0).count();
        let scatter_difference = largest_difference(&s, &right_s);
        let sigma = largest_in_sigma(&labelled, estimates);
        eprintln!(
            "{name}: flux {flux_difference:.1e}, s {scatter_difference:.1e} ({} and {} zero), labels {sigma:.1e} \
             sigma; training {trained:.2} s, fit {fitted:.2} s",
            n_zero(&s),
            n_zero(&right_s)
        );
        // f32 holds seven digits of a flux near one. s2 counts as converged when s2 + sigma^2 changes by 1e-5 (f64: 1e-6)
        // of itself; sigma is 0.002 and more, so an s of 1e-4 in place of none adds 0.2% to the variance. Fits end at
        // steps below 1e-3 sigma: a fiftieth of sigma is far more than needed, a tenth would still harm nobody.
        assert!(flux_difference < tested.bound(2e-6, 1e-7), "{name}: flux by {flux_difference}");
        assert!(scatter_difference < tested.bound(1e-4, 1e-5), "{name}: s by {scatter_difference}");
        assert!(sigma < tested.bound(0.02, 1e-3), "{name}: labels by {sigma} sigma");
        assert_eq!(labelled.flags, estimates.flags, "{name}");
        assert_eq!(labelled.n_pixels, estimates.n_pixels, "{name}");
    }
}

#[test]
fn gradient_spectra_of_every_backend_by_formula_and_by_autodiff_agree() {
    for tested in backends() {
        let Reference { truth, model: right, .. } = reference(tested.backend);
        let labels: Vec<f64> = right.scaler.scale(truth.labels.slice(s![..3, ..])).iter().copied().collect();
        let exact = to_f64(right.cannon.gradient_spectra(Compute::flex(Precision::F64).tensor(&labels, [3, 5])));
        let folder = tempfile::tempdir().unwrap();
        right.save(folder.path()).unwrap();

        let by_formula = TrainedCannon::load(folder.path(), &tested.compute)
            .unwrap()
            .cannon
            .gradient_spectra(tested.compute.tensor(&labels, [3, 5]));
        // Twenty products of numbers below one are summed.
        let tolerance = tested.bound(1e-5, 1e-13) * largest(&exact);
        let difference = largest_difference(&to_f64(by_formula), &exact);
        assert!(difference < tolerance, "{}: formula by {difference}, allowed {tolerance}", tested.name());

        // One model for several backward passes: its parameters must be leaves, or the second pass has no graph.
        let recording = tested.compute.autodiff();
        let cannon = TrainedCannon::load(folder.path(), &recording).unwrap().cannon;
        let n_pixels = cannon.n_pixels();
        for pixel in [0, n_pixels / 2, n_pixels - 1] {
            let input = recording.tensor(&labels, [3, 5]).require_grad();
            let flux = cannon.predict_flux(input.clone()).mean.narrow(1, pixel, 1).sum();
            let gradient = to_f64(input.grad(&flux.backward()).expect("the flux depends on the labels"));
            let exact: Vec<f64> = (0..15).map(|i| exact[i * n_pixels + pixel]).collect();
            let difference = largest_difference(&gradient, &exact);
            assert!(difference < tolerance, "{} pixel {pixel}: autodiff by {difference}", tested.name());
        }
    }
}

#[test]
fn the_likelihood_and_its_gradient_on_every_backend_are_those_of_flex_in_f64() {
    // d ln L / d labels, d s2: what descent and HMC will follow. Star 1 has no pixel 7, nobody has pixel 9.
    let truth = truth(20, 3, 400, 92);
    let mut ivar: Vec<f64> = truth.ivar.iter().map(|value| f64::from(*value)).collect();
    ivar[400 + 7] = 0.0;
    (0..20).for_each(|star| ivar[star * 400 + 9] = 0.0);
    let flux: Vec<f64> = truth.flux.iter().map(|value| f64::from(*value)).collect();
    let labels: Vec<f64> = truth.labels.iter().copied().collect();
    let s2: Vec<f64> = (0..400).map(|pixel| 1e-6 * f64::from(pixel)).collect();
    let theta: Vec<f64> = truth.theta.iter().copied().collect();
    let differentiate = |compute: &Compute| {
        let recording = compute.autodiff();
        let labels = recording.tensor(&labels, [20, 3]).require_grad();
        let s2 = recording.tensor(&s2, [1, 400]).require_grad();
        let vectorizer = maury::models::vectorizer::Vectorizer::new(3, 2);
        let mean = vectorizer.design_matrix(labels.clone()).matmul(recording.tensor(&theta, [10, 400]));
        let model = maury::models::FluxPrediction { mean, variance: s2.clone() };
        let value = log_likelihood(recording.tensor(&flux, [20, 400]), recording.tensor(&ivar, [20, 400]), &model);
        let gradients = value.clone().sum().backward();
        [to_f64(value), to_f64(labels.grad(&gradients).unwrap()), to_f64(s2.grad(&gradients).unwrap())]
    };
    let exact = differentiate(&Compute::flex(Precision::F64));
    for tested in backends() {
        let ours = differentiate(&tested.compute);
        for ((ours, exact), what) in ours.iter().zip(&exact).zip(["value", "label gradient", "s2 gradient"]) {
            // Sums of 400 terms (20 for s2), each right to a few units in the last place of f32, f64; residuals lose
            // two digits, flux - model near 1 and 0.01 apart.
            let tolerance = tested.bound(1e-4, 1e-12) * largest(exact);
            let difference = largest_difference(ours, exact);
            assert!(difference < tolerance, "{} {what}: by {difference}, allowed {tolerance}", tested.name());
        }
        assert_eq!(ours[2][9], 0.0, "{}: a pixel masked everywhere pulls at s2", tested.name());
    }
}

#[test]
fn a_model_saved_on_any_backend_is_the_same_on_any_other() {
    let right = &reference(Backend::Wgpu).model;
    let folder = tempfile::tempdir().unwrap();
    right.save(&folder.path().join("f64")).unwrap();
    let theta = to_f64(right.cannon.theta.val());
    for from in backends() {
        let there = folder.path().join(from.name());
        TrainedCannon::load(&folder.path().join("f64"), &from.compute).unwrap().save(&there).unwrap();
        for to in backends() {
            let back = TrainedCannon::load(&there, &to.compute).unwrap();
            let found = to_f64(back.cannon.theta.val());
            // Nothing but the one rounding to f32 where either end is f32.
            let narrow = from.precision == Precision::F32 || to.precision == Precision::F32;
            let same = found.iter().zip(&theta).all(|(a, b)| *a == if narrow { f64::from(*b as f32) } else { *b });
            assert!(same, "from {} to {}", from.name(), to.name());
            assert_eq!(back.cannon.valid_pixels(), right.cannon.valid_pixels());
        }
    }
}

/// Estimates and errors of a table of labels, by id and label.
fn labels_in(path: &Path) -> HashMap<(String, String), (f64, f64)> {
    let mut labels = HashMap::new();
    for label in ["teff", "logg", "fe_h"] {
        let [estimates, errors] = ["estimate", "error"].map(|kind| numbers(path, &format!("{label}_{kind}")));
        for ((id, estimate), (_, error)) in estimates.into_iter().zip(errors) {
            labels.insert((id, label.to_string()), (estimate, error));
        }
    }
    assert!(labels.len() >= 60);
    labels
}

#[test]
fn the_program_gives_the_same_labels_on_every_backend() {
    let folder = survey(40);
    let run = |backend: &str, precision: &str| {
        let (backend, precision) = (format!("device.backend={backend}"), format!("device.precision=\"{precision}\""));
        let arguments = ["run", "lab.toml", "--name", "lab", "--set", &backend, "--set", &precision];
        succeeded(folder.path(), &arguments);
        labels_in(&folder.path().join("experiments/lab/latest/predictions.csv"))
    };
    let exact = run("flex", "f64");
    let model = std::fs::canonicalize(folder.path().join("experiments/lab/latest/models/cannon")).unwrap();
    let model = model.display().to_string();
    let label = |backend: &str| {
        let arguments = ["label", "--model", &model, "--backend", backend, "--out", "out", "spectra"];
        succeeded(folder.path(), &arguments);
        labels_in(&folder.path().join("out.csv"))
    };
    let exact_of_all = label("flex");
    for tested in backends() {
        let precision = format!("{:?}", tested.precision).to_lowercase();
        let ours = run(tested.backend.name(), &precision);
        let mut all = vec![(ours, &exact)];
        if tested.precision == Precision::F32 {
            all.push((label(tested.backend.name()), &exact_of_all));
        }
        for (ours, exact) in all {
            assert_eq!(ours.len(), exact.len());
            for (star, (estimate, error)) in exact {
                let difference = (ours[star].0 - estimate).abs() / error;
                assert!(difference < 0.1, "{} {star:?}: {difference} sigma", tested.name());
            }
        }
    }
}

#[test]
fn a_backend_that_is_not_compiled_in_is_answered_with_the_command_that_compiles_it() {
    let folder = survey(3);
    for (backend, feature, compiled) in [
        ("flex", "", true),
        ("ndarray", "ndarray", cfg!(feature = "ndarray")),
        ("wgpu", "wgpu", cfg!(feature = "wgpu")),
        ("tch", "tch", cfg!(feature = "tch")),
        ("tch-cuda", "tch", cfg!(feature = "tch")),
    ] {
        let set = format!("device.backend={backend}");
        let (named, remedy) = (format!("`{backend}`"), format!("cargo build --release --features {feature}`"));
        if compiled {
            let output = maury(folder.path(), &["run", "lab.toml", "--set", &set]);
            assert!(!String::from_utf8_lossy(&output.stderr).contains("not compiled in"), "{backend}");
            continue;
        }
        refused(folder.path(), &["run", "lab.toml", "--set", &set], 2, &[&named, &remedy]);
        refused(folder.path(), &["label", "--model", ".", "--backend", backend, "spectra"], 2, &[&named, &remedy]);
    }
    refused(folder.path(), &["run", "lab.toml", "--set", "device.backend=wgp"], 2, &["unknown variant `wgp`"]);
}

#[test]
fn a_device_that_is_not_there_is_answered_with_a_remedy() {
    let folder = survey(3);
    let run = |backend: &str, environment: &[(&str, &str)], said: &str| {
        let set = format!("device.backend={backend}");
        let output = maury_with(folder.path(), &["run", "lab.toml", "--set", &set], environment);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(&format!("device {backend}: ")) && stderr.contains(said), "{stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
    };
    if cfg!(feature = "wgpu") && cfg!(target_os = "linux") {
        // Loaders of Vulkan and OpenGL that find no driver.
        let none = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "__EGL_VENDOR_LIBRARY_FILENAMES"];
        run("wgpu", &none.map(|variable| (variable, "/dev/null")), "install the GPU's Vulkan driver");
    }
    if cfg!(feature = "tch") && !backends().iter().any(|tested| tested.backend == Backend::TchCuda) {
        run("tch-cuda", &[], "device.backend = \"tch\"");
    }
}
