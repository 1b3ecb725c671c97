//! Principal components of many spectra by a few products with random directions.

use std::ops::Range;

use burn::tensor::Tensor;
use nalgebra::DMatrix;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::device::{Compute, to_f64};
use crate::error::Result;

/// Directions beyond those asked for: the last ones of a random subspace are its worst.
const SPARE: usize = 16;
/// Products with the matrix and its transpose that turn the subspace towards the leading components.
const POWER_STEPS: usize = 6;

/// Bytes that finding a component takes for each row, beside the rows themselves.
pub const BYTES_OF_COMPONENT: f64 = 40.0;

/// The rows of a matrix, which need not be in memory together.
pub trait RowBlocks {
    /// Numbers of rows and columns.
    fn shape(&self) -> [usize; 2];

    /// Shows every row once, in order, a block of them at a time.
    ///
    /// # Errors
    /// Those of reading.
    fn each(&self, work: &mut dyn FnMut(Range<usize>, Tensor<2>)) -> Result<()>;
}

impl RowBlocks for Tensor<2> {
    fn shape(&self) -> [usize; 2] {
        self.dims()
    }

    fn each(&self, work: &mut dyn FnMut(Range<usize>, Tensor<2>)) -> Result<()> {
        work(0..self.dims()[0], self.clone());
        Ok(())
    }
}

/// A sum of what blocks give, from the first on.
pub fn add_to<const D: usize>(sum: &mut Option<Tensor<D>>, part: Tensor<D>) {
    *sum = Some(match sum.take() {
        Some(sum) => sum + part,
        None => part,
    });
}

/// The `count` leading principal components of centred rows, [n_rows, n_columns]: orthonormal rows by falling variance.
///
/// # Panics
/// If `count` exceeds the rank that the shape allows.
pub fn principal_components(centred: &Tensor<2>, count: usize, seed: u64, compute: &Compute) -> Tensor<2> {
    principal_components_of(centred, count, seed, compute).expect("a tensor is there")
}

/// The same of rows that are shown block by block, 13 times; the sign of a component is rounding's.
/// Beside a block [`BYTES_OF_COMPONENT`] are held.
///
/// A randomized subspace iteration (Halko, Martinsson & Tropp 2011, SIAM Review 53, 217, Algorithms 4.4 and 5.1): its cost
/// is a dozen matrix products, where a full decomposition would take minutes.
///
/// # Errors
/// Those of reading.
///
/// # Panics
/// If `count` exceeds the rank that the shape allows.
pub fn principal_components_of(
    centred: &dyn RowBlocks,
    count: usize,
    seed: u64,
    compute: &Compute,
) -> Result<Tensor<2>> {
    let [n_rows, n_columns] = centred.shape();
    assert!(count <= n_rows.min(n_columns), "{n_rows} x {n_columns} has fewer than {count} components");
    let width = (count + SPARE).min(n_rows.min(n_columns));
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let directions: Vec<f64> = (0..n_rows * width).map(|_| random.random_range(-1.0..1.0)).collect();
    let mut basis = orthonormal(compute.tensor(&directions, [n_rows, width]), compute);
    drop(directions);
    for _ in 0..POWER_STEPS {
        let mut columns = None;
        centred.each(&mut |rows, block| {
            add_to(&mut columns, block.transpose().matmul(basis.clone().narrow(0, rows.start, rows.len())));
        })?;
        let columns: Tensor<2> = columns.expect("there are rows");
        let mut turned = Vec::new();
        centred.each(&mut |_, block| turned.push(block.matmul(columns.clone())))?;
        basis = orthonormal(Tensor::cat(turned, 0), compute);
    }
    // Within the subspace the decomposition is small: B B^T = V D V^T with B = basis^T X.
    let mut small = None;
    centred.each(&mut |rows, block| {
        add_to(&mut small, basis.clone().narrow(0, rows.start, rows.len()).transpose().matmul(block));
    })?;
    let small: Tensor<2> = small.expect("there are rows");
    let gram = to_f64(small.clone().matmul(small.clone().transpose()));
    let eigen = DMatrix::from_row_slice(width, width, &gram).symmetric_eigen();
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    // Each left vector over its singular value turns B into unit rows.
    let rotation: Vec<f64> = order[..count]
        .iter()
        .flat_map(|k| {
            let norm = eigen.eigenvalues[*k].max(f64::MIN_POSITIVE).sqrt();
            eigen.eigenvectors.column(*k).iter().map(move |value| value / norm).collect::<Vec<f64>>()
        })
        .collect();
    Ok(compute.tensor(&rotation, [count, width]).matmul(small))
}

/// An orthonormal basis of the columns.
fn orthonormal(columns: Tensor<2>, compute: &Compute) -> Tensor<2> {
    let [n_rows, width] = columns.dims();
    let q = DMatrix::from_row_slice(n_rows, width, &to_f64(columns)).qr().q();
    compute.tensor(q.transpose().as_slice(), [n_rows, width])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;

    /// A matrix that is shown seven rows at a time.
    struct Sevens(Tensor<2>);

    impl RowBlocks for Sevens {
        fn shape(&self) -> [usize; 2] {
            self.0.dims()
        }

        fn each(&self, work: &mut dyn FnMut(Range<usize>, Tensor<2>)) -> Result<()> {
            let n_rows = self.0.dims()[0];
            for start in (0..n_rows).step_by(7) {
                let rows = start..(start + 7).min(n_rows);
                work(rows.clone(), self.0.clone().narrow(0, rows.start, rows.len()));
            }
            Ok(())
        }
    }

    #[test]
    fn components_are_those_of_a_full_decomposition() {
        let compute = Compute::flex(Precision::F64);
        // Singular values fall by half: 1, 1/2, 1/4, ...
        let (n_rows, n_columns) = (40, 60);
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let mut draw = |rows, columns| DMatrix::from_fn(rows, columns, |_, _| random.random_range(-1.0..1.0_f64));
        let (u, v) = (draw(n_rows, n_rows).qr().q(), draw(n_columns, n_rows).qr().q());
        let d = DMatrix::from_fn(n_rows, n_rows, |i, j| if i == j { 0.5_f64.powi(i as i32) } else { 0.0 });
        let matrix = u * d * v.transpose();
        let tensor = compute.tensor(matrix.transpose().as_slice(), [n_rows, n_columns]);
        let at_once = to_f64(principal_components(&tensor, 5, 1, &compute));
        let by_blocks = to_f64(principal_components_of(&Sevens(tensor), 5, 1, &compute).unwrap());
        for found in [at_once, by_blocks] {
            for k in 0..5 {
                let overlap: f64 = (0..n_columns).map(|j| found[k * n_columns + j] * v[(j, k)]).sum();
                assert!((overlap.abs() - 1.0).abs() < 1e-9, "component {k}: {overlap}");
            }
        }
    }
}
