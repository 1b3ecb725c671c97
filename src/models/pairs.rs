//! Pairs of columns: their products, and where each stands in a packed upper triangle.

use burn::tensor::Tensor;

use crate::device::Compute;

/// Products of every pair of columns, [n_rows, n (n + 1) / 2]: (0,0), (0,1), ..., (1,1), ...
pub fn products_of_columns(matrix: &Tensor<2>, compute: &Compute) -> Tensor<2> {
    let [_, n] = matrix.dims();
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|a| (a..n).map(move |b| (a, b))).collect();
    let (left, right): (Vec<usize>, Vec<usize>) = pairs.into_iter().unzip();
    matrix.clone().select(1, compute.indices(&left)) * matrix.clone().select(1, compute.indices(&right))
}

/// Position of (row, column) of a symmetric matrix in its packed upper triangle.
pub fn packed_index(row: usize, column: usize, n: usize) -> usize {
    let (low, high) = (row.min(column), row.max(column));
    low * (2 * n - low + 1) / 2 + high - low
}
