//! Kernel ridge regression of many stars on some of them, the landmarks: the approximation of Nystroem.

use burn::tensor::Tensor;
use nalgebra::{Cholesky, DMatrix, DVector};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::left_out::{LeaveOneOut, N_STRENGTHS, Scale};
use super::principal_components::{BYTES_OF_COMPONENT, RowBlocks, add_to};
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::models::ridge::{Kernel, RidgeConfig, square_distances};

/// Landmarks where nobody says how many.
const USUAL_LANDMARKS: usize = 2000;
/// What is added to the kernel of a landmark with itself, in units of it: landmarks may be all but the same, and spectra have seven digits.
const SLACK: f64 = 1e-6;
/// Bytes of kernel that are worked on at once.
const BLOCK_BYTES: usize = 64_000_000;
/// Stream of the random numbers that draw landmarks.
const STREAM: u64 = 0x4c61_6e64;

/// How many stars stand for `n_stars` in their kernel; none where all are compared with each other.
pub fn n_landmarks(config: &RidgeConfig, n_stars: usize, n_pixels: usize, memory: Memory) -> Option<usize> {
    let are_all = config.landmarks.is_none_or(|asked| asked >= n_stars);
    if are_all && check_all(config, n_stars, memory).is_ok() && memory.check_whole(n_stars, n_pixels).is_ok() {
        return None;
    }
    let fits = |n: usize| memory.check(bytes_of_landmarks(config, n, n_stars, n_pixels)).is_ok();
    let usual = || (1..=USUAL_LANDMARKS.min(n_stars)).rev().find(|n| fits(*n)).unwrap_or(0);
    Some(config.landmarks.unwrap_or_else(usual).min(n_stars))
}

/// Whether the kernels of all stars with each other may be held.
///
/// # Errors
/// As [`Memory::check`].
fn check_all(config: &RidgeConfig, n_stars: usize, memory: Memory) -> Result<(), String> {
    // Each kernel of stars and stars with its eigenvectors and their squares, and what all kernels are made of.
    memory.check((3 * n_kernels(config) + 2) as f64 * size_of::<f64>() as f64 * (n_stars as f64).powi(2))
}

/// Bytes that so many landmarks of so many stars take.
pub fn bytes_of_landmarks(config: &RidgeConfig, n_landmarks: usize, n_stars: usize, n_pixels: usize) -> f64 {
    let (n_landmarks, n_stars, n_pixels) = (n_landmarks as f64, n_stars as f64, n_pixels as f64);
    /// Components of what masked pixels hide.
    const HIDDEN: f64 = 64.0;
    // Estimates at every strength, and what is left of a star without its own help.
    let of_star = 4.0 * n_landmarks + (24 * N_STRENGTHS) as f64 + HIDDEN * BYTES_OF_COMPONENT;
    let square = (10 + n_kernels(config)) as f64 * size_of::<f64>() as f64 * n_landmarks * n_landmarks;
    n_stars * of_star + square + 24.0 * n_landmarks * n_pixels
}

fn n_kernels(config: &RidgeConfig) -> usize {
    if config.kernel == Kernel::Linear { 1 } else { config.widths.len() }
}

/// Draws landmarks among stars, by ascending number.
pub(super) fn draw(n_landmarks: usize, n_stars: usize, seed: u64) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(STREAM);
    let mut stars: Vec<usize> = (0..n_stars).collect();
    stars.shuffle(&mut random);
    stars.truncate(n_landmarks);
    stars.sort_unstable();
    stars
}

/// How near stars are to landmarks: square distances, or products where the kernel is linear, [n_stars, n_landmarks].
pub(super) struct Nearness {
    values: Vec<f32>,
    n_landmarks: usize,
}

impl Nearness {
    /// Of spectra, shown block by block, and landmarks, [n_landmarks, n_pixels], alike weighted.
    ///
    /// # Errors
    /// Those of reading.
    pub fn new(spectra: &dyn RowBlocks, landmarks: &Tensor<2>, kernel: Kernel) -> Result<Self> {
        let [n_landmarks, _] = landmarks.dims();
        let mut values = Vec::with_capacity(spectra.shape()[0] * n_landmarks);
        spectra.each(&mut |rows, block| {
            let together = rows_together(n_landmarks);
            for start in (0..rows.len()).step_by(together) {
                let some = block.clone().narrow(0, start, together.min(rows.len() - start));
                let near = match kernel {
                    Kernel::Linear => some.matmul(landmarks.clone().transpose()),
                    Kernel::Rbf => square_distances(some, landmarks.clone()),
                };
                values.extend(near.into_data().iter::<f32>());
            }
        })?;
        Ok(Self { values, n_landmarks })
    }
}

fn rows_together(n_landmarks: usize) -> usize {
    (BLOCK_BYTES / (size_of::<f64>() * n_landmarks.max(1))).max(1)
}

/// A regression on landmarks, by the modes of their kernel with all stars.
///
/// The function `sum_a alpha_a kernel(x, z_a)` of the landmarks z that is best by all stars, `strength` times its square norm added, has
/// `alpha = (K_mn K_nm + strength K_mm)^-1 K_mn y`. With `K_mm = L L^T` and the eigenvectors V of `L^-1 K_mn K_nm L^-T` every strength costs
/// a division: `alpha = P (modes + strength)^-1 P^T K_mn y`, `P = L^-T V`. The leverage of star i is `h_i = sum_k (K_nm P)_ik^2 /
/// (modes_k + strength)`, and its label exceeds the estimate by all others by `(y_i - estimate_i) / (1 - h_i)`, exactly so for these landmarks.
pub(super) struct OnLandmarks<'a> {
    nearness: &'a Nearness,
    /// 1 / (2 width^2); 0 where the kernel is linear.
    sharpness: f64,
    scale: Scale,
    /// P, [n_landmarks, n_landmarks].
    to_modes: DMatrix<f64>,
    modes: DVector<f64>,
    /// 1 - leverage of each star, by strength.
    free: Vec<DVector<f64>>,
}

impl<'a> OnLandmarks<'a> {
    /// Of how near all stars are, and the kernel of the landmarks with each other, [n_landmarks, n_landmarks].
    ///
    /// # Errors
    /// [`Error::Mismatch`] if the kernel is none.
    pub fn new(nearness: &'a Nearness, kernel: &DMatrix<f64>, sharpness: f64) -> Result<Self> {
        let n_landmarks = nearness.n_landmarks;
        let scale = Scale::new(kernel.diagonal().mean());
        let mut own = kernel.add_scalar(scale.constant);
        (0..n_landmarks).for_each(|a| own[(a, a)] += SLACK * scale.unit);
        let refused = || Error::Mismatch {
            what: "the kernel of the landmarks".into(),
            detail: "is not positive definite; give fewer landmarks".into(),
        };
        let lower = Cholesky::new(own).ok_or_else(refused)?.unpack();
        let mut found = Self {
            nearness,
            sharpness,
            scale,
            to_modes: DMatrix::zeros(0, 0),
            modes: DVector::zeros(0),
            free: vec![DVector::zeros(0); N_STRENGTHS],
        };
        let mut gram = None;
        found.each(|_, kernel| add_to(&mut gram, kernel.clone().transpose().matmul(kernel)));
        let gram = DMatrix::from_vec(n_landmarks, n_landmarks, to_f64::<2>(gram.expect("there are stars")));
        let from_left = |matrix: DMatrix<f64>| lower.solve_lower_triangular(&matrix).ok_or_else(refused);
        let between = from_left(from_left(gram)?.transpose())?;
        let eigen = ((&between + between.transpose()) * 0.5).symmetric_eigen();
        found.modes = eigen.eigenvalues.map(|value| value.max(0.0));
        found.to_modes = lower.tr_solve_lower_triangular(&eigen.eigenvectors).ok_or_else(refused)?;
        found.free =
            found.leverages().into_iter().map(|leverage| leverage.map(|h| (1.0 - h).max(f64::EPSILON))).collect();
        Ok(found)
    }

    /// Shows the kernel of all stars with the landmarks, the constant added, a block of rows at a time.
    fn each(&self, mut work: impl FnMut(usize, Tensor<2>)) {
        let (compute, n_landmarks) = (Compute::small_systems(), self.nearness.n_landmarks);
        let together = rows_together(n_landmarks);
        for (block, near) in self.nearness.values.chunks(together * n_landmarks).enumerate() {
            let kernel = |near: &f32| match self.sharpness {
                0.0 => f64::from(*near) + self.scale.constant,
                sharpness => (-sharpness * f64::from(*near)).exp() + self.scale.constant,
            };
            let values: Vec<f64> = near.par_iter().map(kernel).collect();
            work(block * together, compute.tensor(&values, [near.len() / n_landmarks, n_landmarks]));
        }
    }

    /// What a matrix, [n_landmarks, n_columns], makes of the kernel of every star, by column; `work` comes last.
    fn applied(&self, matrix: &DMatrix<f64>, work: impl Fn(Tensor<2>) -> Tensor<2>) -> Vec<DVector<f64>> {
        let matrix = upload(matrix);
        let mut rows: Vec<f64> = Vec::new();
        self.each(|_, kernel| rows.extend(to_f64(work(kernel.matmul(matrix.clone())))));
        let n_columns = (rows.len() * self.nearness.n_landmarks) / self.nearness.values.len().max(1);
        let column =
            |k: usize| DVector::from_iterator(rows.len() / n_columns, rows.iter().skip(k).step_by(n_columns).copied());
        (0..n_columns).map(column).collect()
    }

    /// Leverage of each star, by strength.
    fn leverages(&self) -> Vec<DVector<f64>> {
        let inverse = DMatrix::from_columns(&self.scale.strengths.iter().map(|s| self.inverse(*s)).collect::<Vec<_>>());
        let inverse = upload(&inverse);
        self.applied(&self.to_modes, |modes| modes.powf_scalar(2.0).matmul(inverse.clone()))
    }

    fn inverse(&self, strength: f64) -> DVector<f64> {
        self.modes.map(|mode| 1.0 / (mode + strength))
    }

    /// P^T K_mn y.
    fn in_modes(&self, label: &DVector<f64>) -> DVector<f64> {
        let compute = Compute::small_systems();
        let mut sum = None;
        self.each(|start, kernel| {
            let [n_rows, _] = kernel.dims();
            let own = compute.tensor(&label.as_slice()[start..start + n_rows], [n_rows, 1]);
            add_to(&mut sum, kernel.transpose().matmul(own));
        });
        self.to_modes.tr_mul(&DVector::from_vec(to_f64::<2>(sum.expect("there are stars"))))
    }
}

fn upload(matrix: &DMatrix<f64>) -> Tensor<2> {
    Compute::small_systems().tensor(matrix.transpose().as_slice(), [matrix.nrows(), matrix.ncols()])
}

impl LeaveOneOut for OnLandmarks<'_> {
    fn scale(&self) -> &Scale {
        &self.scale
    }

    fn missed(&self, label: &DVector<f64>) -> Vec<DVector<f64>> {
        let in_modes = self.in_modes(label);
        let scaled = self.scale.strengths.iter().map(|strength| in_modes.component_mul(&self.inverse(*strength)));
        let weights = &self.to_modes * DMatrix::from_columns(&scaled.collect::<Vec<_>>());
        let estimates = self.applied(&weights, |estimates| estimates).into_iter();
        estimates.zip(&self.free).map(|(estimates, free)| (label - estimates).component_div(free)).collect()
    }

    fn weights(&self, label: &DVector<f64>, strength: f64) -> DVector<f64> {
        &self.to_modes * self.in_modes(label).component_mul(&self.inverse(strength))
    }

    fn degrees_of_freedom(&self, strength: f64) -> f64 {
        self.modes.map(|mode| mode / (mode + strength)).sum()
    }
}
