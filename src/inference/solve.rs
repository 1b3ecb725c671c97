//! Many symmetric systems: small ones at once, in tensor operations, larger ones star by star.

use burn::tensor::{Tensor, TensorData};
use nalgebra::DMatrix;
use rayon::prelude::*;

use crate::device::to_f64;

/// Larger systems are solved star by star: every pivot of an elimination goes through the numbers of all stars.
const MOST_AT_ONCE: usize = 24;

/// Solves A X = B for every star, by Gauss-Jordan elimination or, where A is large, by Cholesky factors; A must be symmetric positive
/// definite.
///
/// A is first scaled to a unit diagonal, which makes elimination without pivoting stable. A star whose A has a zero on
/// the diagonal gets a finite, meaningless answer: its caller must know it has no data.
///
/// # Shapes
/// - a: `[n_stars, n, n]`; b: `[n_stars, n, m]`
/// - output: `[n_stars, n, m]`
pub fn solve(a: Tensor<3>, b: Tensor<3>) -> Tensor<3> {
    let [n_stars, n, _] = a.dims();
    let m = b.dims()[2];
    if n > MOST_AT_ONCE {
        return star_by_star(a, b);
    }
    let options = (&a.device(), a.dtype());
    let identity: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
    let identity = Tensor::<3>::from_data(TensorData::new(identity, [1, n, n]), options);
    let diagonal = (a.clone() * identity.clone()).sum_dim(2);
    let absent = diagonal.clone().lower_equal_scalar(0.0);
    let scale = diagonal.mask_fill(absent.clone(), 1.0).sqrt().recip();
    let scaled = a * scale.clone() * scale.clone().swap_dims(1, 2) + identity.clone() * absent.float().cast(options.1);
    let mut augmented = Tensor::cat(vec![scaled, b * scale.clone()], 2);
    for pivot in 0..n {
        let row = augmented.clone().narrow(1, pivot, 1);
        let row = row.clone() / row.narrow(2, pivot, 1);
        let column = augmented.clone().narrow(2, pivot, 1) - identity.clone().narrow(2, pivot, 1);
        augmented = augmented - column * row;
    }
    augmented.slice([0..n_stars, 0..n, n..n + m]) * scale
}

/// The same in host memory, in f64; what is not positive definite gets no numbers.
fn star_by_star(a: Tensor<3>, b: Tensor<3>) -> Tensor<3> {
    let [n_stars, n, m] = b.dims();
    let options = (&a.device(), a.dtype());
    let (a, b) = (to_f64(a), to_f64(b));
    let star = |star: usize| -> Vec<f64> {
        let a = &a[star * n * n..(star + 1) * n * n];
        let b = &b[star * n * m..(star + 1) * n * m];
        let is_absent = |i: usize| a[i * n + i] <= 0.0;
        let scale: Vec<f64> = (0..n).map(|i| if is_absent(i) { 1.0 } else { a[i * n + i].sqrt().recip() }).collect();
        let scaled = DMatrix::from_fn(n, n, |i, j| {
            a[i * n + j] * scale[i] * scale[j] + f64::from(u8::from(i == j && is_absent(i)))
        });
        let Some(factor) = scaled.cholesky() else { return vec![f64::NAN; n * m] };
        let solved = factor.solve(&DMatrix::from_fn(n, m, |i, j| b[i * m + j] * scale[i]));
        (0..n * m).map(|i| solved[(i / m, i % m)] * scale[i / m]).collect()
    };
    let solved = (0..n_stars).into_par_iter().flat_map_iter(star).collect::<Vec<f64>>();
    Tensor::from_data(TensorData::new(solved, [n_stars, n, m]), options)
}

/// Inverse of every star's matrix; see [`solve`].
pub fn invert(a: Tensor<3>) -> Tensor<3> {
    let [n_stars, n, _] = a.dims();
    let options = (&a.device(), a.dtype());
    let identity: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
    let identity = Tensor::<3>::from_data(TensorData::new(identity, [1, n, n]), options).repeat(&[n_stars, 1, 1]);
    solve(a, identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};

    #[test]
    fn a_badly_scaled_system_is_solved_as_by_nalgebra() {
        // Two stars: a Hilbert matrix scaled over ten decades, and one without data.
        let scale = [1e-5, 1.0, 1e5];
        let hilbert = |i: usize, j: usize| scale[i] * scale[j] / (i + j + 1) as f64;
        let a: Vec<f64> = (0..9).map(|k| hilbert(k / 3, k % 3)).chain(std::iter::repeat_n(0.0, 9)).collect();
        let b = [1.0, -2.0, 3.0, 1.0, 1.0, 1.0];
        let compute = Compute::flex(Precision::F64);
        let ours = to_f64(solve(compute.tensor(&a, [2, 3, 3]), compute.tensor(&b, [2, 3, 1])));
        let matrix = nalgebra::Matrix3::from_fn(hilbert);
        let theirs = matrix.cholesky().unwrap().solve(&nalgebra::Vector3::new(1.0, -2.0, 3.0));
        for i in 0..3 {
            // Condition number 500 after scaling.
            assert!((ours[i] / theirs[i] - 1.0).abs() < 1e-11, "{} {}", ours[i], theirs[i]);
        }
        assert!(ours[3..].iter().all(|value| value.is_finite()));
        let inverse = to_f64(invert(compute.tensor(&a[..9], [1, 3, 3])));
        assert!((inverse[4] / matrix.try_inverse().unwrap()[(1, 1)] - 1.0).abs() < 1e-10);
    }

    #[test]
    fn large_systems_are_solved_as_small_ones_are() {
        // A small system in the corner of a large one that is otherwise diagonal; the last diagonal element is nil.
        let (n, small) = (MOST_AT_ONCE + 6, 5);
        let element = |i: usize, j: usize| match (i, j) {
            _ if i < small && j < small => 1e3 / (i + j + 1) as f64 + if i == j { 2.0 } else { 0.0 },
            _ if i == j && i + 1 < n => 4.0,
            _ => 0.0,
        };
        let compute = Compute::flex(Precision::F64);
        let matrix = |n: usize| (0..n * n).map(|k| element(k / n, k % n)).collect::<Vec<f64>>();
        let right = |n: usize| (0..n * 2).map(|k| (k as f64 * 0.7).sin()).collect::<Vec<f64>>();
        let large = to_f64(solve(compute.tensor(&matrix(n), [1, n, n]), compute.tensor(&right(n), [1, n, 2])));
        let alone = to_f64(solve(
            compute.tensor(&matrix(small), [1, small, small]),
            compute.tensor(&right(small), [1, small, 2]),
        ));
        for (a, b) in large.iter().zip(&alone) {
            assert!((a / b - 1.0).abs() < 1e-10, "{a} {b}");
        }
        assert!(
            (large[small * 2] - right(n)[small * 2] / 4.0).abs() < 1e-15 && large.iter().all(|value| value.is_finite())
        );
    }
}
