//! Training and fitting at the size of the classic lab: 943 stars, 8575 pixels, five labels, 21 terms.
//!
//! `cargo bench --bench cannon`; wall time by Criterion, CPU seconds of one run of each on the first lines.

use criterion::{Criterion, criterion_group, criterion_main};
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
use nix::sys::resource::{UsageWho, getrusage};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The program's own allocator, so that its timings are the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_STARS: usize = 943;
const N_LABELS: usize = 5;
const N_PIXELS: usize = 8575;

/// Spectra of a random quadratic model with scatter, noise at SNR 30 to 500, and 10% masked pixels.
struct Survey {
    labels: Array2<f64>,
    flux: Array2<f32>,
    ivar: Array2<f32>,
}

fn survey(seed: u64) -> Survey {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = move || (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;
    let labels = Array2::from_shape_fn((N_STARS, N_LABELS), |_| normal());
    let mut model = ChaCha8Rng::seed_from_u64(1);
    let theta = Array2::from_shape_fn((21, N_PIXELS), |(term, _)| {
        let size = if term == 0 {
            0.0
        } else if term <= N_LABELS {
            0.02
        } else {
            0.004
        };
        f64::from(term == 0) + size * model.random_range(-1.0..1.0)
    });
    let scatter: Vec<f64> = (0..N_PIXELS).map(|_| 0.01 * model.random_range(0.0..1.0)).collect();
    let design = Array2::from_shape_fn((N_STARS, 21), |(n, term)| {
        let pairs: Vec<(usize, usize)> = (0..6).flat_map(|a| (a..6).map(move |b| (a, b))).collect();
        let factor = |index: usize| if index == 0 { 1.0 } else { labels[[n, index - 1]] };
        factor(pairs[term].0) * factor(pairs[term].1)
    });
    // Term order of the benchmark's own model: as good as any other for timing and recovery.
    let clean = design.dot(&theta);
    let mut flux = Array2::zeros((N_STARS, N_PIXELS));
    let mut ivar = Array2::zeros((N_STARS, N_PIXELS));
    for n in 0..N_STARS {
        let sigma = 10_f64.powf(-1.5 - 1.2 * (normal().abs() / 3.0).min(1.0));
        for j in 0..N_PIXELS {
            let masked = (n * 7919 + j * 104_729) % 10 == 0;
            flux[[n, j]] = if masked { 1.0 } else { (clean[[n, j]] + normal() * scatter[j].hypot(sigma)) as f32 };
            ivar[[n, j]] = if masked { 0.0 } else { (1.0 / (sigma * sigma)) as f32 };
        }
    }
    Survey { labels, flux, ivar }
}

fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts CPU time");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn bench(criterion: &mut Criterion) {
    let (training, test) = (survey(2), survey(3));
    for precision in [Precision::F32, Precision::F64] {
        let compute = Compute::flex(precision);
        let names: Vec<String> = (0..N_LABELS).map(|k| format!("l{k}")).collect();
        let scaler = LabelScaler::fit(&names, training.labels.view()).expect("random labels have spread");
        let scaled = scaler.scale(training.labels.view());
        let run = || {
            train(&CannonConfig::default(), scaled.view(), training.flux.view(), training.ivar.view(), &compute)
                .expect("943 stars determine 21 terms")
        };
        let start = cpu_seconds();
        let (cannon, report) = run();
        println!("{precision:?}: training {:.2} CPU-s, {report:?}", cpu_seconds() - start);
        let model = TrainedCannon {
            cannon,
            scaler,
            preparation: Preparation {
                grid: WavelengthGrid::apogee(),
                pixmask: PixmaskSettings::default(),
                continuum: ContinuumSettings::default(),
                continuum_pixels: Vec::new(),
                gaps: Vec::new(),
            },
            latent_labels: Array2::zeros((training.labels.nrows(), 0)),
            training_labels: training.labels.clone(),
        };
        let fitted = FittedCannon::new(&model, &FitSettings::default(), &compute);
        let start = cpu_seconds();
        let label = || estimate_arrays(&fitted, test.flux.view(), test.ivar.view(), 256, &compute, &|_| ());
        let estimates = label().expect("same grid");
        let spent = cpu_seconds() - start;
        let flagged = estimates.flags.iter().filter(|flags| **flags & 0b11000 != 0).count();
        let error = (&estimates.labels - &test.labels).mapv(f64::abs).mean().unwrap_or(f64::NAN);
        println!("{precision:?}: fitting {spent:.2} CPU-s, mean |error| {error:.4}, {flagged} stars flagged");

        let mut group = criterion.benchmark_group(format!("{precision:?}"));
        group.sample_size(10);
        group.bench_function("train 943 x 8575 x 21", |bencher| bencher.iter(run));
        group.bench_function("fit 943 x 8575 x 5", |bencher| {
            bencher.iter(label);
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
