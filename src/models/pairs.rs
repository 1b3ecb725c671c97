//! Pairs of columns: their products, and where each stands in a packed upper triangle.

use burn::tensor::Tensor;

/// Products of every pair of columns, [n_rows, n (n + 1) / 2]: (0,0), (0,1), ..., (1,1), ...
///
/// Quickest where a column lies in memory as a row would, as after a transposition.
pub fn products_of_columns(matrix: &Tensor<2>) -> Tensor<2> {
    let columns = matrix.clone().transpose();
    let [n, n_rows] = columns.dims();
    let of = |a: usize| columns.clone().narrow(0, a, 1).expand([n - a, n_rows]) * columns.clone().narrow(0, a, n - a);
    Tensor::cat((0..n).map(of).collect(), 0).transpose()
}

/// Sums over the rows of such products with weights, of every star one set: `weight . products_of_columns(matrix)`.
///
/// Products that are few are kept and taken again for other stars. Where there are many columns they would fill the memory (135
/// columns of 8575 rows: 300 MB in f32), so they are taken a block of rows at a time, anew for every batch of stars, which costs
/// little beside the matrix product.
#[derive(Debug, Clone)]
pub struct PairSums {
    /// [n_rows, n_columns]
    matrix: Tensor<2>,
    /// [n_rows, n_pairs], where they are kept.
    products: Option<Tensor<2>>,
}

impl PairSums {
    /// Of a matrix, [n_rows, n_columns].
    pub fn new(matrix: Tensor<2>) -> Self {
        /// Products that are kept at most.
        const MOST_KEPT: usize = 10_000_000;
        let [n_rows, n] = matrix.dims();
        let products = (n_rows * n * (n + 1) / 2 <= MOST_KEPT).then(|| products_of_columns(&matrix));
        Self { matrix, products }
    }

    /// The sums for weights, [n_stars, n_rows]: [n_stars, n_pairs].
    pub fn sums(&self, weight: &Tensor<2>) -> Tensor<2> {
        /// Rows whose products are in memory together.
        const BLOCK_ROWS: usize = 512;
        if let Some(products) = &self.products {
            return weight.clone().matmul(products.clone());
        }
        let [n_rows, _] = self.matrix.dims();
        let block = |start: usize| {
            let count = BLOCK_ROWS.min(n_rows - start);
            let products = products_of_columns(&self.matrix.clone().narrow(0, start, count));
            weight.clone().narrow(1, start, count).matmul(products)
        };
        (0..n_rows).step_by(BLOCK_ROWS).map(block).reduce(|sum, more| sum + more).expect("spectra have pixels")
    }
}

/// Position of (row, column) of a symmetric matrix in its packed upper triangle.
pub fn packed_index(row: usize, column: usize, n: usize) -> usize {
    let (low, high) = (row.min(column), row.max(column));
    low * (2 * n - low + 1) / 2 + high - low
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Compute, Precision, to_f64};

    #[test]
    fn sums_by_blocks_are_those_of_all_rows_at_once() {
        let compute = Compute::flex(Precision::F64);
        let value = |seed: usize| move |i: usize| ((i * 7 + seed) as f64 * 0.37).sin();
        // 1100 rows are three blocks; products of 136 columns are too many to be kept.
        let (n_rows, n, n_stars) = (1100, 136, 2);
        let matrix = compute.tensor(&(0..n_rows * n).map(value(1)).collect::<Vec<f64>>(), [n_rows, n]);
        let weight = compute.tensor(&(0..n_stars * n_rows).map(value(5)).collect::<Vec<f64>>(), [n_stars, n_rows]);
        let by_blocks = PairSums::new(matrix.clone());
        assert!(by_blocks.products.is_none());
        let at_once = to_f64(weight.clone().matmul(products_of_columns(&matrix)));
        for (a, b) in to_f64(by_blocks.sums(&weight)).iter().zip(&at_once) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        assert!(PairSums::new(matrix.narrow(1, 0, 20)).products.is_some());
    }
}
