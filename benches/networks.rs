//! One epoch of training of each architecture, at the size of the lab: 943 spectra of 8575 pixels, in batches of 64.
//!
//! `cargo bench --bench networks`; `benches/peers/torch_networks.py` times the same networks in PyTorch.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use maury::device::{Compute, Precision};
use maury::error::Result;
use maury::progress::Silent;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::labels::LabelScaler;
use maury::training::label_regression::{Training, train};
use maury::training::labelled_spectra::LabelledSpectra;
use maury::training::network_config::NetworkConfig;
use maury::training::observer::{EpochReport, Observer};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const N_STARS: usize = 943;
const N_PIXELS: usize = 8575;
const N_LABELS: usize = 5;

/// Adds up what the epochs took.
struct Clock(Duration);

impl Observer for Clock {
    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.0 += Duration::from_secs_f64(report.seconds);
        Ok(())
    }
}

fn epochs(criterion: &mut Criterion) {
    let compute = Compute::flex(Precision::F32);
    let grid = WavelengthGrid::apogee();
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let flux = Array2::from_shape_simple_fn((N_STARS, N_PIXELS), || random.random_range(0.8..1.0));
    let ivar = Array2::from_elem((N_STARS, N_PIXELS), 1e4);
    let stars = LabelledSpectra {
        grid: &grid,
        spectra: (flux.view(), ivar.view()).into(),
        fill: None,
        labels: Array2::from_shape_fn((N_STARS, N_LABELS), |(n, k)| ((n * (k + 3)) % 17) as f64 / 8.0 - 1.0),
        label_errors: Array2::from_elem((N_STARS, N_LABELS), f64::NAN),
    };
    let scaler = LabelScaler {
        names: (0..N_LABELS).map(|k| k.to_string()).collect(),
        pivot: vec![0.0; N_LABELS],
        scale: vec![1.0; N_LABELS],
    };
    let mut group = criterion.benchmark_group("one epoch");
    group.sample_size(10).warm_up_time(Duration::from_millis(1));
    // The first three as in PyTorch: one channel, Adam, squared residuals.
    for (name, text) in [
        ("linear", "architecture = 'linear'"),
        ("mlp", "architecture.layers = [{ dense = { width = 512 } }, 'relu', { dense = { width = 256 } }, 'relu']"),
        ("cnn", "architecture.starnet = {}"),
        ("residual", "architecture.residual-cnn = {}"),
        ("bayesian", "architecture.bayesian = {}"),
        ("components", "architecture.mlp = { hidden = [256, 128], skip = true }\ninput.components = {}"),
        ("transformer", "architecture.transformer = {}"),
    ] {
        let plain = "input.mask_channel = false\nloss.mse = {}\nvalidation = 0.0";
        let config: NetworkConfig = toml::from_str(&format!("{text}\n{plain}\ndescent.optimizer.adam = {{}}")).unwrap();
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|n_epochs| {
                let mut config = config.clone();
                config.descent.epochs = n_epochs as usize;
                let mut clock = Clock(Duration::ZERO);
                let training = Training {
                    config: &config,
                    scaler: &scaler,
                    pretrained: None,
                    validation: &[],
                    seed: 1,
                    compute: &compute,
                    state: None,
                    observer: &mut clock,
                    progress: &Silent,
                };
                train(&stars, training).unwrap();
                clock.0
            });
        });
    }
    group.finish();
}

criterion_group!(benches, epochs);
criterion_main!(benches);
