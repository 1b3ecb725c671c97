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

mod survey;

use survey::{N_LABELS, survey};

/// The program's own allocator, so that its timings are the program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const SIZE: (usize, usize) = (943, 8575);

fn cpu_seconds() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("the system counts CPU time");
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 * 1e-6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn bench(criterion: &mut Criterion) {
    let (training, test) = (survey(SIZE, 2), survey(SIZE, 3));
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
