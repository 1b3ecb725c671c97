//! What the benches train on and label.

use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Labels of a star.
pub const N_LABELS: usize = 5;

/// Spectra of a random quadratic model with scatter, noise at SNR 30 to 500, and 10% masked pixels.
pub struct Survey {
    /// [n_stars, n_labels].
    pub labels: Array2<f64>,
    /// [n_stars, n_pixels].
    pub flux: Array2<f32>,
    /// [n_stars, n_pixels].
    pub ivar: Array2<f32>,
}

/// Of so many stars and pixels.
pub fn survey((n_stars, n_pixels): (usize, usize), seed: u64) -> Survey {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut normal = move || (0..12).map(|_| rng.random_range(0.0..1.0)).sum::<f64>() - 6.0;
    let labels = Array2::from_shape_fn((n_stars, N_LABELS), |_| normal());
    let mut model = ChaCha8Rng::seed_from_u64(1);
    let theta = Array2::from_shape_fn((21, n_pixels), |(term, _)| {
        let size = if term == 0 {
            0.0
        } else if term <= N_LABELS {
            0.02
        } else {
            0.004
        };
        f64::from(term == 0) + size * model.random_range(-1.0..1.0)
    });
    let scatter: Vec<f64> = (0..n_pixels).map(|_| 0.01 * model.random_range(0.0..1.0)).collect();
    let design = Array2::from_shape_fn((n_stars, 21), |(n, term)| {
        let pairs: Vec<(usize, usize)> = (0..6).flat_map(|a| (a..6).map(move |b| (a, b))).collect();
        let factor = |index: usize| if index == 0 { 1.0 } else { labels[[n, index - 1]] };
        factor(pairs[term].0) * factor(pairs[term].1)
    });
    // Term order of the benchmark's own model: as good as any other for timing and recovery.
    let clean = design.dot(&theta);
    let mut flux = Array2::zeros((n_stars, n_pixels));
    let mut ivar = Array2::zeros((n_stars, n_pixels));
    for n in 0..n_stars {
        let sigma = 10_f64.powf(-1.5 - 1.2 * (normal().abs() / 3.0).min(1.0));
        for j in 0..n_pixels {
            let masked = (n * 7919 + j * 104_729) % 10 == 0;
            flux[[n, j]] = if masked { 1.0 } else { (clean[[n, j]] + normal() * scatter[j].hypot(sigma)) as f32 };
            ivar[[n, j]] = if masked { 0.0 } else { (1.0 / (sigma * sigma)) as f32 };
        }
    }
    Survey { labels, flux, ivar }
}
