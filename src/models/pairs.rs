//! Pairs of columns: their products, and where each stands in a packed upper triangle.

use std::ops::Range;
use std::sync::OnceLock;

use burn::tensor::Tensor;

use crate::device::indices;

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
/// Products are taken a block of rows at a time, when they are first asked for, and kept for other stars: of 128 columns of 8575
/// rows, they are 280 MB in f32. Those that would take still more are taken anew for every batch of stars, and not at all for a few
/// stars, of whom each column is weighted instead.
#[derive(Debug, Clone)]
pub struct PairSums {
    /// [n_rows, n_columns]
    matrix: Tensor<2>,
    /// Whether products are kept.
    keeps: bool,
    /// Block by block, [n_rows of the block, n_pairs], where they are kept.
    products: OnceLock<Vec<Tensor<2>>>,
}

impl PairSums {
    /// Of a matrix, [n_rows, n_columns].
    pub fn new(matrix: Tensor<2>) -> Self {
        /// Bytes of products that are kept at most.
        const MOST_KEPT: usize = 400_000_000;
        Self { keeps: bytes(&matrix) <= MOST_KEPT, matrix, products: OnceLock::new() }
    }

    /// The sums for weights, [n_stars, n_rows]: [n_stars, n_pairs].
    pub fn sums(&self, weight: &Tensor<2>) -> Tensor<2> {
        /// Stars that cost less one by one than products that are used once.
        const FEW: usize = 64;
        let [n_stars, _] = weight.dims();
        let blocks = self.blocks();
        if !self.keeps && n_stars < FEW && blocks.len() > 1 {
            return self.sums_one_by_one(weight);
        }
        let of = |rows: &Range<usize>, products: Tensor<2>| {
            weight.clone().narrow(1, rows.start, rows.len()).matmul(products)
        };
        let parts: Box<dyn Iterator<Item = Tensor<2>>> = if self.keeps {
            let kept = self.products.get_or_init(|| blocks.iter().map(|rows| self.products_of(rows)).collect());
            Box::new(blocks.iter().zip(kept).map(|(rows, products)| of(rows, products.clone())))
        } else {
            Box::new(blocks.iter().map(|rows| of(rows, self.products_of(rows))))
        };
        parts.reduce(|sum, more| sum + more).expect("spectra have pixels")
    }

    fn sums_one_by_one(&self, weight: &Tensor<2>) -> Tensor<2> {
        let [n_rows, n] = self.matrix.dims();
        let upper: Vec<usize> = (0..n * n).filter(|i| i % n >= i / n).collect();
        let upper = indices(&upper, &weight.device());
        let columns = self.matrix.clone().transpose();
        let of = |star: usize| {
            let weight = weight.clone().narrow(0, star, 1).expand([n, n_rows]);
            (columns.clone() * weight).matmul(self.matrix.clone()).reshape([1, n * n]).select(1, upper.clone())
        };
        Tensor::cat((0..weight.dims()[0]).map(of).collect(), 0)
    }

    /// The same as whole matrices, [n_stars, n_columns, n_columns].
    pub fn matrices(&self, weight: &Tensor<2>) -> Tensor<3> {
        unpacked(self.sums(weight), self.matrix.dims()[1])
    }

    fn products_of(&self, rows: &Range<usize>) -> Tensor<2> {
        products_of_columns(&self.matrix.clone().narrow(0, rows.start, rows.len()))
    }

    /// Rows whose products are taken together: all of them where these are small.
    fn blocks(&self) -> Vec<Range<usize>> {
        /// Bytes of products that are taken at once.
        const AT_ONCE: usize = 40_000_000;
        const BLOCK_ROWS: usize = 512;
        let [n_rows, _] = self.matrix.dims();
        let length = if bytes(&self.matrix) <= AT_ONCE { n_rows } else { BLOCK_ROWS };
        (0..n_rows).step_by(length.max(1)).map(|start| start..(start + length).min(n_rows)).collect()
    }
}

/// Symmetric matrices, [n_rows, n, n], from their upper triangles, [n_rows, n_pairs].
pub fn unpacked(packed: Tensor<2>, n: usize) -> Tensor<3> {
    let full: Vec<usize> = (0..n * n).map(|i| packed_index(i / n, i % n, n)).collect();
    let [n_rows, _] = packed.dims();
    let full = indices(&full, &packed.device());
    packed.select(1, full).reshape([n_rows, n, n])
}

/// What the products of every pair of columns take.
fn bytes(matrix: &Tensor<2>) -> usize {
    let [n_rows, n] = matrix.dims();
    n_rows * n * (n + 1) / 2 * matrix.dtype().size()
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
        // Products of 136 columns are some 80 MB: 1100 rows are three blocks.
        let (n_rows, n, n_stars) = (1100, 136, 70);
        let matrix = compute.tensor(&(0..n_rows * n).map(value(1)).collect::<Vec<f64>>(), [n_rows, n]);
        let weight = compute.tensor(&(0..n_stars * n_rows).map(value(5)).collect::<Vec<f64>>(), [n_stars, n_rows]);
        let at_once = to_f64(weight.clone().matmul(products_of_columns(&matrix)));
        let kept = PairSums::new(matrix.clone());
        let taken_anew = PairSums { keeps: false, ..kept.clone() };
        assert!(kept.keeps && kept.blocks().len() == 3);
        // The second time, products that are kept are there already.
        let few = weight.clone().narrow(0, 0, 3);
        for (by_blocks, weight) in [(&kept, &weight), (&kept, &weight), (&taken_anew, &weight), (&taken_anew, &few)] {
            for (a, b) in to_f64(by_blocks.sums(weight)).iter().zip(&at_once) {
                assert!((a - b).abs() < 1e-9, "{a} {b}");
            }
        }
        assert!(kept.products.get().is_some() && taken_anew.products.get().is_none());
        assert_eq!(PairSums::new(matrix.narrow(1, 0, 20)).blocks().len(), 1);
    }
}
