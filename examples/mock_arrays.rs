//! Writes a full-size set of arrays to try maury on: `flux.npy`, `error.npy`, `wavelengths.npy`, `labels.csv`.
//!
//! The spectra are drawn from a random Cannon (quadratic in five labels, with scatter), so labels must come back to
//! within their errors: a test of the machinery, not of the science.
//!
//! `cargo run --release --example mock_arrays -- mock-arrays 1886`

use std::fs::File;
use std::path::Path;

use maury::spectra::grid::WavelengthGrid;
use ndarray::{Array1, Array2, Axis};
use ndarray_npy::WriteNpyExt;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Mean and spread of the labels: Teff [K], log g, [Fe/H], [Mg/Fe], [Si/Fe] [dex].
const LABELS: [(&str, f64, f64); 5] =
    [("teff", 4700.0, 250.0), ("logg", 2.4, 0.6), ("fe_h", -0.15, 0.25), ("mg_fe", 0.1, 0.1), ("si_fe", 0.08, 0.08)];

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "mock-arrays".into());
    let n_stars: usize = arguments.next().map_or(Ok(1886), |count| count.parse())?;
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;

    let grid = WavelengthGrid::apogee();
    let n_pixels = grid.n_pixels();
    let mut rng = ChaCha8Rng::seed_from_u64(2015);
    // Sum of twelve uniform numbers: normal enough.
    let mut normal = || (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;

    let scaled = Array2::from_shape_fn((n_stars, LABELS.len()), |_| normal());
    let linear = Array2::from_shape_fn((LABELS.len(), n_pixels), |_| 0.02 * normal());
    let quadratic = Array2::from_shape_fn((LABELS.len(), n_pixels), |_| 0.004 * normal());
    let continuum_and_lines = Array1::from_shape_fn(n_pixels, |_| 1.0 - 0.05 * normal().abs());
    let scatter = Array1::from_shape_fn(n_pixels, |_| 0.004 * normal().abs());

    let clean = scaled.dot(&linear) + scaled.mapv(|l| l * l - 1.0).dot(&quadratic) + &continuum_and_lines;
    let mut flux = Array2::<f32>::ones((n_stars, n_pixels));
    let mut error = Array2::<f32>::zeros((n_stars, n_pixels));
    for n in 0..n_stars {
        // Signal-to-noise ratio between 50 and 500.
        let sigma = 0.02 * 10_f64.powf(-(normal().abs() / 3.0).min(1.0));
        for j in 0..n_pixels {
            let masked = (n * 7919 + j * 104_729) % 12 == 0;
            error[[n, j]] = if masked { f32::INFINITY } else { sigma as f32 };
            if !masked {
                flux[[n, j]] = (clean[[n, j]] + normal() * sigma.hypot(scatter[j])) as f32;
            }
        }
    }
    flux.write_npy(File::create(folder.join("flux.npy"))?)?;
    error.write_npy(File::create(folder.join("error.npy"))?)?;
    Array1::from_vec(grid.wavelength).write_npy(File::create(folder.join("wavelengths.npy"))?)?;
    let mut table = csv::Writer::from_path(folder.join("labels.csv"))?;
    table.write_record(std::iter::once("id").chain(LABELS.map(|(name, _, _)| name)))?;
    for (n, row) in scaled.axis_iter(Axis(0)).enumerate() {
        let values = LABELS.iter().zip(row).map(|((_, mean, spread), label)| format!("{:.6}", mean + spread * label));
        table.write_record(std::iter::once(format!("mock{n:05}")).chain(values))?;
    }
    table.flush()?;
    println!("{}: {n_stars} stars, {n_pixels} pixels", folder.display());
    Ok(())
}
