//! Many small symmetric systems at once, in tensor operations.

use burn::tensor::{Tensor, TensorData};

/// Solves A X = B for every star by Gauss-Jordan elimination; A must be symmetric positive definite.
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
}
