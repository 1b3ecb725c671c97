//! From files to labels: reading apStar files, normalizing them, and labelling a stream of them.
//!
//! `cargo bench --bench spectra`; `benches/peers` sets the first two beside astropy and NumPy.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use maury::data::apstar;
use maury::device::{Compute, Precision};
use maury::inference::fit::FitSettings;
use maury::inference::refine::RefineSettings;
use maury::labelling::labeller::Labeller;
use maury::progress::Silent;
use maury::spectra::continuum::{ContinuumFitter, ContinuumSettings};
use maury::spectra::continuum_pixels;
use maury::spectra::grid::WavelengthGrid;
use maury::spectra::pixmask::{self, PixmaskSettings};
use maury::stars::spectrum_files::SpectrumFiles;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A batch of the fit.
const N_STREAMED: usize = 256;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/apStar-dr17-2M19485057+5005279.fits")
}

fn spectra(criterion: &mut Criterion) {
    let path = fixture();
    let mut group = criterion.benchmark_group("one spectrum");
    group.throughput(Throughput::Elements(1));
    group.bench_function("read apStar", |bencher| bencher.iter(|| apstar::read(black_box(&path)).unwrap()));

    let raw = apstar::read(&path).unwrap();
    let settings = PixmaskSettings::default();
    let grid = WavelengthGrid::apogee();
    let cores = settings.places(&grid, &grid.chip_cores());
    let mask = || pixmask::apply(&raw.raw_flux, &raw.raw_error, &raw.pixmask, &cores, &settings);
    group.bench_function("mask", |bencher| bencher.iter(mask));

    let is_continuum = continuum_pixels::shipped(&grid).unwrap();
    let fitter = ContinuumFitter::new(&grid, &is_continuum, &ContinuumSettings::default()).unwrap();
    let (masked, quality) = mask();
    group.bench_function("normalize", |bencher| {
        bencher.iter(|| fitter.normalize(black_box(&masked), &mut quality.clone()));
    });
    group.finish();
}

fn stream(criterion: &mut Criterion) {
    let compute = Compute::flex(Precision::F32);
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/payne-hband");
    let labeller = Labeller::load(&model, &FitSettings::default(), &RefineSettings::default(), &compute).unwrap();
    let files = SpectrumFiles::new(vec![fixture(); N_STREAMED]);
    let all: Vec<usize> = (0..N_STREAMED).collect();
    let mut group = criterion.benchmark_group("stream");
    group.sample_size(10).throughput(Throughput::Elements(N_STREAMED as u64));
    group.bench_function("label by the emulator", |bencher| {
        bencher.iter(|| {
            for batch in all.chunks(labeller.batch_stars()) {
                black_box(labeller.label(&files, batch, None, &Silent).unwrap());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, spectra, stream);
criterion_main!(benches);
