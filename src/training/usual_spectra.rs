//! Learning what the spectra of training stars look like, and the file it is kept in beside a model.

use std::path::Path;

use burn::store::{ModuleSnapshot, SafetensorsStore};
use ndarray::{Array2, ArrayView2, Axis};

use super::principal_components::principal_components;
use super::weights;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::cannon::NO_INFORMATION;
use crate::models::usual_spectra::UsualSpectra;
use crate::stats::robust::{median, robust_scatter};

/// The file, in a model's folder, that holds them.
pub const USUAL_SPECTRA_FILE: &str = "usual_spectra.safetensors";
/// Components at most; labels, nuisances of stars and of the instrument.
pub const MOST_COMPONENTS: usize = 20;
/// Stars per component at least.
const STARS_PER_COMPONENT: usize = 4;
/// Fewer stars teach nothing.
const LEAST_STARS: usize = 20;
/// A star is left out of the second round if what remains of it, or its amplitudes, exceed the median by this factor: binaries
/// and failures would have components of their own.
const CLIP: f64 = 4.0;
/// Scatter is no smaller than this, in normalized flux.
const LEAST_SCATTER: f64 = 1e-3;
/// Seed of the random directions that find the components.
const SEED: u64 = 1901;

/// Components that so many stars can teach.
pub fn components_of(n_stars: usize) -> usize {
    MOST_COMPONENTS.min(n_stars / STARS_PER_COMPONENT)
}

/// Learns from spectra, [n_stars, n_pixels]; `None` where stars with data are too few.
///
/// Masked pixels stand at the mean; every pixel counts alike.
pub fn learn(
    flux: ArrayView2<f32>,
    ivar: ArrayView2<f32>,
    most_components: usize,
    compute: &Compute,
) -> Option<UsualSpectra> {
    let has_data = |star: &usize| ivar.row(*star).iter().any(|ivar| *ivar > 0.0);
    let mut kept: Vec<usize> = (0..flux.nrows()).filter(has_data).collect();
    let mut learned = None;
    for _ in 0..2 {
        if kept.len() < LEAST_STARS {
            return learned;
        }
        let (flux, ivar) = (flux.select(Axis(0), &kept), ivar.select(Axis(0), &kept));
        let (usual, left, size) = round(&flux, &ivar, most_components, compute);
        learned = Some(usual);
        let (limit_left, limit_size) = (CLIP * median(&left), CLIP * median(&size));
        let good = |n: &usize| left[*n] <= limit_left && size[*n] <= limit_size;
        kept = (0..kept.len()).filter(good).map(|n| kept[n]).collect();
    }
    learned
}

/// Mean, components and scatter; of every star also what they leave, per pixel, and the square of its amplitudes.
fn round(
    flux: &Array2<f32>,
    ivar: &Array2<f32>,
    most_components: usize,
    compute: &Compute,
) -> (UsualSpectra, Vec<f64>, Vec<f64>) {
    let (n_stars, n_pixels) = flux.dim();
    let known = |n: usize, j: usize| ivar[[n, j]] > 0.0;
    let mut mean = vec![1.0; n_pixels];
    let mut count = vec![0_usize; n_pixels];
    for j in 0..n_pixels {
        let values: Vec<f64> = (0..n_stars).filter(|n| known(*n, j)).map(|n| f64::from(flux[[n, j]])).collect();
        count[j] = values.len();
        if !values.is_empty() {
            mean[j] = values.iter().sum::<f64>() / values.len() as f64;
        }
    }
    let away =
        Array2::from_shape_fn(
            (n_stars, n_pixels),
            |(n, j)| {
                if known(n, j) { f64::from(flux[[n, j]]) - mean[j] } else { 0.0 }
            },
        );
    let centred = compute.matrix(away.view());
    let n_components = most_components.min(n_pixels / 2).max(1);
    let directions = principal_components(&centred, n_components, SEED, compute);
    let amplitudes = centred.clone().matmul(directions.clone().transpose());
    let rest = to_f64(centred - amplitudes.clone().matmul(directions.clone()));
    let amplitudes = to_f64(amplitudes);
    let variance =
        |c: usize| (0..n_stars).map(|n| amplitudes[n * n_components + c].powi(2)).sum::<f64>() / n_stars as f64;
    let variances: Vec<f64> = (0..n_components).map(|c| variance(c).max(f64::MIN_POSITIVE)).collect();
    let mut components = to_f64(directions);
    for (component, variance) in components.chunks_mut(n_pixels).zip(&variances) {
        component.iter_mut().for_each(|value| *value *= variance.sqrt());
    }
    let s2: Vec<f64> = (0..n_pixels)
        .map(|j| {
            if count[j] <= n_components {
                return NO_INFORMATION;
            }
            let squares: Vec<f64> = (0..n_stars)
                .filter(|n| known(*n, j))
                .map(|n| rest[n * n_pixels + j].powi(2) - 1.0 / f64::from(ivar[[n, j]]))
                .collect();
            // The components know the stars they came from.
            let freedom = count[j] as f64 / (count[j] - n_components) as f64;
            (median(&squares).max(0.0) * freedom).max(LEAST_SCATTER * LEAST_SCATTER)
        })
        .collect();
    let left = (0..n_stars)
        .map(|n| {
            let of_star = (0..n_pixels).filter(|j| known(n, *j));
            let (sum, count) = of_star.fold((0.0, 0_usize), |(sum, count), j| {
                let variance = s2[j] + 1.0 / f64::from(ivar[[n, j]]);
                (sum + rest[n * n_pixels + j].powi(2) / variance, count + 1)
            });
            sum / count.max(1) as f64
        })
        .collect();
    // A component that is one star's alone hardly varies among the others: their spread tells that star's amplitude is odd.
    let column = |c: usize| amplitudes.iter().skip(c).step_by(n_components).copied().collect::<Vec<f64>>();
    let spreads: Vec<f64> = (0..n_components).map(|c| robust_scatter(&column(c)).max(1e-9)).collect();
    let size = amplitudes
        .chunks(n_components)
        .map(|own| own.iter().zip(&spreads).map(|(amplitude, spread)| (amplitude / spread).powi(2)).sum())
        .collect();
    (UsualSpectra::new(&mean, &components, &s2, compute), left, size)
}

/// Writes them into a model's folder.
///
/// # Errors
/// [`Error::Io`] or [`Error::Checkpoint`].
pub fn save(usual: &UsualSpectra, folder: &Path) -> Result<()> {
    weights::write_file(folder, USUAL_SPECTRA_FILE, usual, |store| store)
}

/// Reads them from a model's folder; `None` if it has none. There are 1 to [`MOST_COMPONENTS`] components.
///
/// # Errors
/// [`Error::Checkpoint`] if they are not of so many components and pixels, or damaged.
pub fn load(folder: &Path, n_components: usize, n_pixels: usize, compute: &Compute) -> Result<Option<UsualSpectra>> {
    let path = folder.join(USUAL_SPECTRA_FILE);
    if !path.is_file() {
        return Ok(None);
    }
    let failed = |detail: String| Error::Checkpoint { path: path.clone(), detail };
    let nil = vec![0.0; n_pixels];
    let mut usual = UsualSpectra::new(&nil, &vec![0.0; n_components * n_pixels], &nil, compute);
    let shapes = |usual: &UsualSpectra| (usual.mean.dims(), usual.components.dims(), usual.s2.dims());
    let expected = shapes(&usual);
    let mut store = SafetensorsStore::from_file(&path);
    let applied = usual.load_from(&mut store).map_err(|err| failed(format!("cannot be read: {err}")))?;
    if !applied.errors.is_empty() || shapes(&usual) != expected {
        return Err(failed("it does not fit the model; was it copied from another one?".into()));
    }
    let [mean, components, s2] = [&usual.mean, &usual.components, &usual.s2].map(|tensor| to_f64(tensor.val()));
    if mean.iter().chain(&components).chain(&s2).any(|value| !value.is_finite()) || s2.iter().any(|s2| *s2 < 0.0) {
        return Err(failed("it holds numbers that are no spectra; it is damaged".into()));
    }
    Ok(Some(UsualSpectra::new(&mean, &components, &s2, compute)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;

    #[test]
    fn a_mean_and_two_components_come_back_behind_wrong_stars_and_from_their_file() {
        let compute = Compute::flex(Precision::F64);
        let (n_stars, n_pixels) = (80, 60);
        let wave = |j: usize, k: f64| (k * j as f64).sin();
        let flux = Array2::from_shape_fn((n_stars, n_pixels), |(n, j)| {
            let (a, b) = (wave(n, 1.3), wave(n, 2.9));
            let strange = if n % 40 == 7 { 3.0 * wave(j, 11.0 + n as f64) } else { 0.0 };
            (0.8 + 0.1 * a * wave(j, 0.3) + 0.05 * b * wave(j, 0.7) + strange) as f32
        });
        let ivar =
            Array2::from_shape_fn((n_stars, n_pixels), |(n, j)| if (n + j) % 9 == 0 || j == 4 { 0.0 } else { 1e6 });
        let usual = learn(flux.view(), ivar.view(), components_of(flux.nrows()), &compute).unwrap();
        let (mean, s2) = (to_f64(usual.mean.val()), to_f64(usual.s2.val()));
        assert!((mean[10] - 0.8).abs() < 0.01 && s2[4] == NO_INFORMATION && s2[5] <= 2e-4, "{} {}", mean[10], s2[5]);
        // Half the squares of sines remain: 0.1^2 / 2 and 0.05^2 / 2 times the square of the waves.
        let components = to_f64(usual.components.val());
        let variance: f64 = components.iter().skip(10).step_by(n_pixels).map(|value| value * value).sum();
        let expected = 0.005 * wave(10, 0.3).powi(2) + 0.00125 * wave(10, 0.7).powi(2);
        assert!((variance / expected - 1.0).abs() < 0.4, "{variance} {expected}");

        let folder = tempfile::tempdir().unwrap();
        let n_components = usual.n_components();
        assert!(load(folder.path(), n_components, n_pixels, &compute).unwrap().is_none());
        save(&usual, folder.path()).unwrap();
        let written = || std::fs::read(folder.path().join(USUAL_SPECTRA_FILE)).unwrap();
        let before = written();
        for _ in 0..5 {
            save(&usual, folder.path()).unwrap();
            assert_eq!(written(), before, "the same spectra are the same bytes");
        }
        let back = load(folder.path(), n_components, n_pixels, &compute).unwrap().unwrap();
        assert_eq!(to_f64(back.components.val()), components);
        assert!(load(folder.path(), n_components + 1, n_pixels, &compute).is_err());
        assert!(learn(flux.slice(ndarray::s![..15, ..]), ivar.slice(ndarray::s![..15, ..]), 3, &compute).is_none());
    }
}
