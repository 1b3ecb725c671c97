//! A block of pixels of a Cannon with latent labels: its sums for the stars, and its coefficients from the stars.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use nalgebra::DVector;
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use super::normal_matrix::NormalFactor;
use super::scatter_root::scatter_root;
use crate::device::{Compute, to_f64};
use crate::models::cannon::NO_INFORMATION;
use crate::models::pairs::products_of_columns;

/// The spread of coefficients over the pixels is taken from one pixel in this many.
const SAMPLE_EVERY: usize = 16;

/// Covariance of every star's design vector, packed, [n_stars, n_pairs].
pub(super) struct Moments {
    covariance: Tensor<2>,
}

impl Moments {
    pub(super) fn new(packed: Vec<f32>, shape: [usize; 2], compute: &Compute) -> Self {
        Self { covariance: compute.tensor_f32(packed, shape) }
    }
}

/// What the stars say of a block of pixels.
pub(super) struct PixelFit {
    /// [n_coefficients, n_pixels]
    pub coefficients: Array2<f64>,
    pub s2: Vec<f64>,
    /// Expected square of each coefficient, summed over the sampled pixels.
    pub squares: Vec<f64>,
    pub n_sampled: usize,
    /// Pixels whose coefficients the stars do not determine; they lose their information.
    pub n_failed: usize,
}

/// Least-squares solution of one pixel.
struct Solved {
    coefficients: Vec<f64>,
    /// Expected square of each coefficient, in sampled pixels.
    squares: Option<Vec<f64>>,
    bears_f32: bool,
    bears_f64: bool,
}

impl Solved {
    /// Solves a pixel's packed normal matrix with a normal prior of given precision on each coefficient.
    fn new(normal: &[f64], right: &[f64], precision: &[f64], pixel: usize) -> Option<Self> {
        let n = precision.len();
        let mut packed = normal.to_vec();
        let mut diagonal = 0;
        for (coefficient, precision) in precision.iter().enumerate() {
            packed[diagonal] += precision;
            diagonal += n - coefficient;
        }
        let factor = NormalFactor::new(&packed, n)?;
        let coefficients = factor.solve(&DVector::from_column_slice(right)).as_slice().to_vec();
        let squares = pixel.is_multiple_of(SAMPLE_EVERY).then(|| {
            let covariance = factor.inverse();
            (0..n).map(|k| coefficients[k] * coefficients[k] + covariance[(k, k)]).collect()
        });
        Some(Self { coefficients, squares, bears_f32: factor.bears_f32(), bears_f64: factor.bears_f64() })
    }
}

/// Some pixels of all stars, in host memory.
pub(super) struct Pixels<'a> {
    flux: ArrayView2<'a, f32>,
    ivar: ArrayView2<'a, f32>,
    range: Range<usize>,
    mean_flux: Vec<f64>,
    compute: &'a Compute,
}

/// Some pixels of all stars as tensors, [n_stars, n_pixels] each.
struct Loaded {
    /// Relative to each pixel's mean.
    flux: Tensor<2>,
    /// sigma^2, [`NO_INFORMATION`] where masked.
    variance: Tensor<2>,
}

impl<'a> Pixels<'a> {
    pub(super) fn new(
        flux: ArrayView2<'a, f32>,
        ivar: ArrayView2<'a, f32>,
        range: Range<usize>,
        compute: &'a Compute,
    ) -> Self {
        let mean = |pixel: usize| {
            let pairs = flux.column(pixel).into_iter().zip(ivar.column(pixel));
            let (sum, weight) = pairs.fold((0.0, 0.0), |(sum, weight), (flux, ivar)| {
                (sum + f64::from(*flux) * f64::from(*ivar), weight + f64::from(*ivar))
            });
            if weight > 0.0 { sum / weight } else { 0.0 }
        };
        Self { flux, ivar, mean_flux: range.clone().map(mean).collect(), range, compute }
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Mean flux of each pixel, from which coefficients count.
    pub(super) fn mean_flux(&self) -> &[f64] {
        &self.mean_flux
    }

    fn load(&self) -> Loaded {
        let columns = |matrix: &ArrayView2<f32>| {
            let values = matrix.slice(s![.., self.range.clone()]).iter().copied().collect();
            self.compute.tensor_f32(values, [matrix.nrows(), self.range.len()])
        };
        let ivar = columns(&self.ivar);
        let masked = ivar.clone().lower_equal_scalar(0.0);
        let mean = self.compute.tensor(&self.mean_flux, [1, self.range.len()]);
        // What stands in masked pixels must not count, not even times a weight of nearly nil.
        let flux = (columns(&self.flux) - mean).mask_fill(masked.clone(), 0.0);
        Loaded { flux, variance: ivar.mask_fill(masked, 1.0 / NO_INFORMATION).recip() }
    }

    /// 1 / (sigma^2 + s^2).
    fn weight(&self, loaded: &Loaded, s2: &[f64]) -> Tensor<2> {
        (loaded.variance.clone() + self.compute.tensor(s2, [1, s2.len()])).recip()
    }

    /// Number of informative pixels of each star, [n_stars, 1].
    pub(super) fn count(&self) -> Tensor<2> {
        let informative = self.load().variance.lower_scalar(NO_INFORMATION / 2.0).float();
        informative.cast(self.compute.dtype()).sum_dim(1)
    }

    /// Residuals in units of their errors, [n_stars, n_pixels]; 0 where there is no information.
    pub(super) fn pulls(&self, design: &Tensor<2>, coefficients: ArrayView2<f64>, s2: &[f64]) -> Tensor<2> {
        let loaded = self.load();
        let residual = loaded.flux.clone() - design.clone().matmul(self.compute.matrix(coefficients));
        residual * self.weight(&loaded, s2).sqrt()
    }

    /// Sums over these pixels of every star: of w a a^T packed, [n_stars, n_pairs], of w f a, [n_stars, n_coefficients],
    /// and of w f^2, [n_stars, 1], with a the coefficients of a pixel.
    pub(super) fn sums(&self, coefficients: ArrayView2<f64>, s2: &[f64]) -> [Tensor<2>; 3] {
        let loaded = self.load();
        let weight = self.weight(&loaded, s2);
        let weighted = weight.clone() * loaded.flux.clone();
        let columns = self.compute.matrix(coefficients.t());
        let pairs = products_of_columns(&columns, self.compute);
        [weight.matmul(pairs), weighted.clone().matmul(columns), (weighted * loaded.flux).sum_dim(1)]
    }

    /// Weighted least squares of every pixel on the expected design, with its covariance in the normal matrix and a
    /// normal prior of given precision on the coefficients; then s^2 from the expected squared residuals.
    ///
    /// ```text
    /// A = sum_n w (x x^T + S) + P,   a = A^-1 sum_n w f x,   <r^2> = (f - a.x)^2 + a^T S a
    /// ```
    ///
    /// `exact_design` is the design in f64, for pixels whose normal matrix asks for it.
    #[expect(clippy::too_many_arguments, reason = "the parts of one least squares")]
    pub(super) fn fit(
        &self,
        design: &Tensor<2>,
        pairs: &Tensor<2>,
        exact_design: &dyn Fn() -> Tensor<2>,
        moments: Option<&Moments>,
        precision: &[f64],
        s2: &[f64],
        kept: &[bool],
    ) -> PixelFit {
        let loaded = self.load();
        let n_coefficients = precision.len();
        let n_pixels = self.range.len();
        let n_pairs = n_coefficients * (n_coefficients + 1) / 2;
        let kept: Vec<f64> = kept.iter().map(|kept| f64::from(u8::from(*kept))).collect();
        let kept = self.compute.tensor(&kept, [kept.len(), 1]);
        let weight = self.weight(&loaded, s2) * kept.clone();
        let second = match moments {
            Some(moments) => pairs.clone() + moments.covariance.clone(),
            None => pairs.clone(),
        };
        let normal = to_f64(weight.clone().transpose().matmul(second));
        let right = to_f64((weight.clone() * loaded.flux.clone()).transpose().matmul(design.clone()));
        let trained = |pixel: &usize| s2[*pixel] < NO_INFORMATION;
        let solve = |normal: &[f64], right: &[f64], pixel: usize| Solved::new(normal, right, precision, pixel);
        let mut found: Vec<Option<Solved>> = (0..n_pixels)
            .into_par_iter()
            .map(|pixel| {
                let normal = &normal[pixel * n_pairs..(pixel + 1) * n_pairs];
                let right = &right[pixel * n_coefficients..(pixel + 1) * n_coefficients];
                Some(pixel).filter(trained).and_then(|pixel| solve(normal, right, pixel))
            })
            .collect();
        let is_f64 = self.compute.dtype() == DType::F64;
        let bears = |solved: &Option<Solved>, is_f64: bool| {
            solved.as_ref().is_some_and(|solved| if is_f64 { solved.bears_f64 } else { solved.bears_f32 })
        };
        let doubtful: Vec<usize> =
            (0..n_pixels).filter(trained).filter(|pixel| !bears(&found[*pixel], is_f64)).collect();
        if !is_f64 && !doubtful.is_empty() {
            // Summed up anew in f64.
            let exact = Compute::small_systems();
            let columns = |tensor: Tensor<2>| exact.bring(tensor.select(1, self.compute.indices(&doubtful)));
            let (weight, flux) = (columns(weight), columns(loaded.flux.clone()));
            let design = exact_design();
            let mut second = products_of_columns(&design, &exact);
            if let Some(moments) = moments {
                second = second + exact.bring(moments.covariance.clone());
            }
            let normal = to_f64(weight.clone().transpose().matmul(second));
            let right = to_f64((weight * flux).transpose().matmul(design));
            for (column, &pixel) in doubtful.iter().enumerate() {
                let normal = &normal[column * n_pairs..(column + 1) * n_pairs];
                let right = &right[column * n_coefficients..(column + 1) * n_coefficients];
                found[pixel] = solve(normal, right, pixel);
            }
        }
        for pixel in doubtful {
            if !bears(&found[pixel], true) {
                found[pixel] = None;
            }
        }
        let mut fit = PixelFit {
            coefficients: Array2::zeros((n_coefficients, n_pixels)),
            s2: vec![NO_INFORMATION; n_pixels],
            squares: vec![0.0; n_coefficients],
            n_sampled: 0,
            n_failed: 0,
        };
        for (pixel, found) in found.iter().enumerate() {
            let Some(Solved { coefficients, squares, .. }) = found else {
                fit.n_failed += usize::from(s2[pixel] < NO_INFORMATION);
                continue;
            };
            fit.coefficients.column_mut(pixel).iter_mut().zip(coefficients).for_each(|(to, from)| *to = *from);
            if let Some(squares) = squares {
                fit.squares.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
                fit.n_sampled += 1;
            }
        }
        let scatter = self.scatter(&loaded, &kept, design, moments, fit.coefficients.view(), s2);
        for (pixel, found) in found.iter().enumerate() {
            if found.is_some() {
                fit.s2[pixel] = scatter[pixel];
            }
        }
        fit
    }

    /// s^2 of every pixel at the maximum of the likelihood, given the coefficients.
    fn scatter(
        &self,
        loaded: &Loaded,
        kept: &Tensor<2>,
        design: &Tensor<2>,
        moments: Option<&Moments>,
        coefficients: ArrayView2<f64>,
        s2: &[f64],
    ) -> Vec<f64> {
        let columns = self.compute.matrix(coefficients.t());
        let residual = loaded.flux.clone() - design.clone().matmul(columns.clone().transpose());
        let mut squared = residual.square();
        if let Some(moments) = moments {
            let n = coefficients.nrows();
            // A pair of different coefficients stands for two entries of the matrix.
            let twice: Vec<f64> = (0..n).flat_map(|a| (a..n).map(move |b| if a == b { 1.0 } else { 2.0 })).collect();
            let twice = self.compute.tensor(&twice, [1, twice.len()]);
            let pairs = products_of_columns(&columns, self.compute) * twice;
            squared = squared + moments.covariance.clone().matmul(pairs.transpose()).clamp_min(0.0);
        }
        // Stars that are left out have no information.
        let out = kept.clone().lower_scalar(0.5);
        let [n_stars, n_pixels] = loaded.variance.dims();
        let variance = loaded.variance.clone().mask_fill(out.expand([n_stars, n_pixels]), NO_INFORMATION);
        let informative = variance.clone().lower_scalar(NO_INFORMATION / 2.0);
        let largest = to_f64(squared.clone().mask_fill(informative.bool_not(), 0.0).max_dim(0));
        let smallest = to_f64(variance.clone().min_dim(0));
        let start: Vec<f64> = s2.iter().zip(&largest).map(|(s2, largest)| s2.min(*largest)).collect();
        scatter_root(&variance, &squared, &start, (vec![0.0; start.len()], largest), &smallest, self.compute)
    }
}
