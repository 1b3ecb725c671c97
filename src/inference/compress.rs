//! The exact compression of chi^2: for one star 8575 pixels become a small matrix, whatever the labels.
//!
//! ```text
//! chi2(l) = sum_j w_j (f_j - theta_j . x(l))^2 = c - 2 v . x + x^T M x
//! M = sum_j w_j theta_j theta_j^T,   v = sum_j w_j f_j theta_j,   c = sum_j w_j f_j^2
//! ```
//!
//! f is taken relative to the pivot star's spectrum theta_0, so x loses its constant; for which stars f32 suffices,
//! `precision.rs` decides.

use burn::tensor::{Int, Tensor};
use ndarray::{Array2, ArrayView2};

use super::amplitudes::{Amplitudes, NuisanceSpectra};
use super::examine::Comparison;
use super::fit::{ChiSquare, Evaluation, Slope};
use super::marginal::LinearNuisance;
use crate::device::{Compute, to_f64};
use crate::models::cannon::NO_INFORMATION;
use crate::models::likelihood::inverse_total_variance;
use crate::models::pairs::{packed_index, products_of_columns};
use crate::models::{FluxPrediction, LabelTerms};
use crate::spectra::batch::SpectraBatch;

/// What of a model the compression needs, computed once.
#[derive(Debug, Clone)]
pub struct Compressor<T> {
    label_terms: T,
    /// Spectrum of the pivot star and scatter variance, [1, n_pixels] each.
    pivot_flux: Tensor<2>,
    s2: Tensor<2>,
    /// 1 in pixels the model can predict, 0 elsewhere, [n_pixels, 1].
    valid: Tensor<2>,
    /// Coefficients without the constant term, [n_pixels, n_terms - 1].
    slopes: Tensor<2>,
    /// The same with the nuisance spectra behind them, and products of pairs of these columns, [n_pixels, ...].
    columns: Tensor<2>,
    pairs: Tensor<2>,
    compute: Compute,
}

/// chi^2 of several stars as a function of their labels, each star's pixels summed up; on [`Compute::small_systems`].
#[derive(Debug, Clone)]
pub struct CompressedSpectra<T> {
    pub(super) label_terms: T,
    /// [n_stars, n_terms - 1, n_terms - 1]
    pub(super) m: Tensor<3>,
    /// [n_stars, n_terms - 1, 1]
    pub(super) v: Tensor<3>,
    /// [n_stars, 1]
    pub(super) c: Tensor<2>,
    /// Roots of the diagonal of M, and of c behind them, before any nuisance is integrated out, [n_stars, n_terms]: how large
    /// the numbers were that were summed up.
    pub(super) sizes: Tensor<2>,
}

impl<T: LabelTerms> Compressor<T> {
    /// Prepares the compression of spectra under the model `theta . x(labels)` of scatter variance `s2`.
    ///
    /// # Shapes
    /// - theta: `[n_terms, n_pixels]`
    /// - s2: `[n_pixels]`
    pub fn new(label_terms: T, theta: Tensor<2>, s2: Tensor<1>, compute: &Compute) -> Self {
        let [n_terms, n_pixels] = theta.dims();
        let slopes = theta.clone().narrow(0, 1, n_terms - 1).transpose();
        let s2 = s2.reshape([1, n_pixels]);
        Self {
            label_terms,
            pivot_flux: theta.narrow(0, 0, 1),
            valid: s2.clone().lower_scalar(NO_INFORMATION).float().cast(compute.dtype()).transpose(),
            pairs: products_of_columns(&slopes, compute),
            columns: slopes.clone(),
            slopes,
            s2,
            compute: compute.clone(),
        }
    }

    /// The same with nuisance spectra, [n_nuisances, n_pixels], whose amplitudes are standard normal: they are integrated
    /// out of every compression.
    #[must_use]
    pub fn with_nuisances(self, spectra: Tensor<2>) -> Self {
        let columns = Tensor::cat(vec![self.slopes.clone(), spectra.transpose()], 1);
        Self { pairs: products_of_columns(&columns, &self.compute), columns, ..self }
    }

    /// Whether nuisance spectra are integrated out of every compression.
    pub fn has_nuisances(&self) -> bool {
        self.columns.dims()[1] > self.slopes.dims()[1]
    }

    /// The same on the CPU in f64.
    #[must_use]
    pub fn in_f64(&self) -> Self {
        let compute = Compute::small_systems();
        let bring = |tensor: &Tensor<2>| compute.bring(tensor.clone());
        let columns = bring(&self.columns);
        Self {
            label_terms: self.label_terms.clone(),
            pivot_flux: bring(&self.pivot_flux),
            s2: bring(&self.s2),
            valid: bring(&self.valid),
            slopes: bring(&self.slopes),
            pairs: products_of_columns(&columns, &compute),
            columns,
            compute,
        }
    }

    /// Number of pixels of the model.
    pub fn n_pixels(&self) -> usize {
        self.pivot_flux.dims()[1]
    }

    /// Spectrum of the pivot star, [1, n_pixels].
    pub fn pivot_flux(&self) -> &Tensor<2> {
        &self.pivot_flux
    }

    /// Coefficients without the constant term, [n_pixels, n_terms - 1].
    pub fn slopes(&self) -> &Tensor<2> {
        &self.slopes
    }

    /// Nuisance spectra, if there are any.
    fn nuisances(&self) -> Option<NuisanceSpectra> {
        let (n, n_slopes) = (self.columns.dims()[1], self.slopes.dims()[1]);
        let columns = || self.columns.clone().narrow(1, n_slopes, n - n_slopes);
        self.has_nuisances().then(|| NuisanceSpectra::new(columns(), &self.compute))
    }

    /// The functions of the labels.
    pub(super) fn label_terms(&self) -> &T {
        &self.label_terms
    }

    /// Spectra beside the model's at scaled inputs, [n_stars, n_inputs], the most probable nuisance spectra taken out; and
    /// the amplitudes of these where the model has any.
    pub fn compare(&self, spectra: &SpectraBatch, scaled_inputs: ArrayView2<f64>) -> (Comparison, Option<Amplitudes>) {
        let mut comparison = Comparison {
            residual: spectra.flux.clone() - self.flux_at_known(scaled_inputs),
            weight: self.weight(spectra) * self.valid.clone().transpose(),
            ivar: spectra.ivar.clone(),
        };
        let amplitudes = self.nuisances().map(|nuisances| comparison.take_out(&nuisances));
        (comparison, amplitudes)
    }

    /// The model's spectra at scaled inputs, [n_stars, n_inputs], with the nuisance spectra at the amplitudes that are most
    /// probable there.
    ///
    /// ```text
    /// m = theta . x(l),   z = (1 + B W B^T)^-1 B W (f - m),   best fit = m + z . B
    /// ```
    ///
    /// Inputs that are not finite, of a star without data, count as those of the pivot star.
    pub fn best_fit(&self, spectra: &SpectraBatch, scaled_inputs: ArrayView2<f64>) -> FluxPrediction {
        let mut mean = self.flux_at_known(scaled_inputs);
        if let Some(nuisances) = self.nuisances() {
            let weight = self.weight(spectra) * self.valid.clone().transpose();
            let amplitudes = nuisances.amplitudes(&(spectra.flux.clone() - mean.clone()), &weight);
            mean = mean + nuisances.flux(&amplitudes);
        }
        FluxPrediction { mean, variance: self.s2.clone() }
    }

    /// Spectra at scaled inputs, those that are not finite taken for the pivot star's.
    fn flux_at_known(&self, scaled_inputs: ArrayView2<f64>) -> Tensor<2> {
        self.flux_at(&scaled_inputs.mapv(|input| if input.is_finite() { input } else { 0.0 }))
    }

    /// Where spectra are summed up.
    pub(super) fn compute(&self) -> &Compute {
        &self.compute
    }

    /// Weight of every pixel in chi^2, [n_stars, n_pixels]: `1 / (sigma^2 + s^2)`.
    pub fn weight(&self, spectra: &SpectraBatch) -> Tensor<2> {
        inverse_total_variance(spectra.ivar.clone(), self.s2.clone())
    }

    /// Sums up every star's pixels: two matrix products for all stars.
    ///
    /// Also returns the number of pixels that count for each star.
    pub fn compress(&self, spectra: &SpectraBatch) -> (CompressedSpectra<T>, Vec<usize>) {
        let informative = spectra.ivar.clone().greater_scalar(0.0).float().cast(self.compute.dtype());
        let counted = to_f64(informative.matmul(self.valid.clone()));
        let weight = self.weight(spectra);
        let residual = spectra.flux.clone() - self.pivot_flux.clone();
        let weighted = weight.clone() * residual.clone();
        let small = Compute::small_systems();
        let packed = small.bring(weight.matmul(self.pairs.clone()));
        let (n, n_slopes) = (self.columns.dims()[1], self.slopes.dims()[1]);
        let full: Vec<usize> = (0..n * n).map(|i| packed_index(i / n, i % n, n)).collect();
        let n_stars = spectra.n_stars();
        let m = packed.clone().select(1, small.indices(&full)).reshape([n_stars, n, n]);
        let v = small.bring(weighted.clone().matmul(self.columns.clone())).reshape([n_stars, n, 1]);
        let c = small.bring((weighted * residual).sum_dim(1));
        let diagonal: Vec<usize> = (0..n_slopes).map(|i| packed_index(i, i, n)).collect();
        let squares = Tensor::cat(vec![packed.select(1, small.indices(&diagonal)), c.clone()], 1);
        let mut compressed = CompressedSpectra {
            label_terms: self.label_terms.clone(),
            m: m.clone().narrow(1, 0, n_slopes).narrow(2, 0, n_slopes),
            v: v.clone().narrow(1, 0, n_slopes),
            c,
            sizes: squares.clamp_min(0.0).sqrt(),
        };
        if n > n_slopes {
            let below = m.narrow(1, n_slopes, n - n_slopes);
            compressed = compressed.marginalize(LinearNuisance {
                with_terms: below.clone().narrow(2, 0, n_slopes),
                with_itself: below.narrow(2, n_slopes, n - n_slopes),
                with_flux: v.narrow(1, n_slopes, n - n_slopes),
            });
        }
        (compressed, counted.into_iter().map(|count| count as usize).collect())
    }
}

impl<T: LabelTerms> CompressedSpectra<T> {
    /// Takes other sums in place of those of the stars at these positions.
    pub(super) fn replace(&mut self, stars: &[usize], others: &Self) {
        let [n_stars, ..] = self.m.dims();
        let mut from: Vec<usize> = (0..n_stars).collect();
        stars.iter().enumerate().for_each(|(other, star)| from[*star] = n_stars + other);
        let from = Compute::small_systems().indices(&from);
        self.m = Tensor::cat(vec![self.m.clone(), others.m.clone()], 0).select(0, from.clone());
        self.v = Tensor::cat(vec![self.v.clone(), others.v.clone()], 0).select(0, from.clone());
        self.c = Tensor::cat(vec![self.c.clone(), others.c.clone()], 0).select(0, from.clone());
        self.sizes = Tensor::cat(vec![self.sizes.clone(), others.sizes.clone()], 0).select(0, from);
    }

    /// chi^2 of every star at every one of some labels, in one matrix product.
    ///
    /// # Shapes
    /// - scaled_labels: `[n_points, n_labels]`
    /// - output: `[n_stars, n_points]`
    pub fn chi2_at(&self, scaled_labels: ArrayView2<f64>) -> Array2<f64> {
        let (n_points, n_labels) = scaled_labels.dim();
        let [n_stars, n, _] = self.m.dims();
        let flat: Vec<f64> = scaled_labels.iter().copied().collect();
        let labels = Compute::small_systems().tensor(&flat, [n_points, n_labels]);
        let x = self.label_terms.terms(labels).narrow(1, 1, n);
        let squares =
            (x.clone().reshape([n_points, n, 1]) * x.clone().reshape([n_points, 1, n])).reshape([n_points, n * n]);
        let quadratic = self.m.clone().reshape([n_stars, n * n]).matmul(squares.transpose());
        let linear = self.v.clone().reshape([n_stars, n]).matmul(x.transpose());
        let chi2 = to_f64(quadratic - linear * 2.0 + self.c.clone());
        Array2::from_shape_vec((n_stars, n_points), chi2).expect("one value per star and point")
    }
}

impl<T: LabelTerms> ChiSquare for CompressedSpectra<T> {
    fn evaluate(&self, scaled_labels: Tensor<2>) -> Evaluation {
        let [n_stars, n, _] = self.m.dims();
        let expansion = self.label_terms.expand(scaled_labels);
        let derivative = expansion.derivative.narrow(1, 1, n);
        let x = expansion.terms.narrow(1, 1, n).reshape([n_stars, n, 1]);
        // With Y = [x, dx/dl], Y^T M Y holds x^T M x, its half gradient and the Gauss-Newton matrix; Y^T v the rest.
        let n_labels = derivative.dims()[2];
        let y = Tensor::cat(vec![x, derivative], 2);
        let transposed = y.clone().swap_dims(1, 2);
        let m_y = self.m.clone().matmul(y);
        let linear = transposed.clone().matmul(self.v.clone());
        let quadratic = transposed.matmul(m_y.clone());
        let value = quadratic.clone().narrow(1, 0, 1).narrow(2, 0, 1) - linear.clone().narrow(1, 0, 1) * 2.0;
        let below = quadratic.narrow(1, 1, n_labels);
        let curvature = below.clone().narrow(2, 1, n_labels);
        let residual = m_y.narrow(2, 0, 1) - self.v.clone();
        let constant = Tensor::zeros([n_stars, 1, 1], (&residual.device(), residual.dtype()));
        let bend = (expansion.bend)(Tensor::cat(vec![constant, residual], 1));
        Evaluation {
            chi2: value.reshape([n_stars, 1]) + self.c.clone(),
            half_gradient: below.narrow(2, 0, 1) - linear.narrow(1, 1, n_labels),
            half_hessian: curvature.clone() + bend,
            curvature,
        }
    }

    fn chi2(&self, scaled_labels: Tensor<2>) -> Tensor<2> {
        let [n_stars, n, _] = self.m.dims();
        let x = self.label_terms.terms(scaled_labels).narrow(1, 1, n).reshape([n_stars, n, 1]);
        let residual = self.m.clone().matmul(x.clone()) - self.v.clone() * 2.0;
        (x * residual).sum_dim(1).reshape([n_stars, 1]) + self.c.clone()
    }

    /// All points of a star share its M.
    fn slope(&self, scaled_labels: Tensor<3>) -> Slope {
        let [n_stars, n_points, n_labels] = scaled_labels.dims();
        let [_, n, _] = self.m.dims();
        let pulled = self.label_terms.pull_back(scaled_labels.reshape([n_stars * n_points, n_labels]));
        let x = pulled.terms.narrow(1, 1, n).reshape([n_stars, n_points, n]);
        let v = self.v.clone().swap_dims(1, 2);
        // M is symmetric: x^T M, a row per point, is M x.
        let residual = x.clone().matmul(self.m.clone()) - v.clone();
        let value = (x * (residual.clone() - v)).sum_dim(2).reshape([n_stars, n_points]) + self.c.clone();
        let half_gradient = (pulled.gradient)(residual.reshape([n_stars * n_points, n]));
        Slope { chi2: value, half_gradient: half_gradient.reshape([n_stars, n_points, n_labels]) }
    }

    fn select(&self, rows: Tensor<1, Int>) -> Self {
        Self {
            label_terms: self.label_terms.clone(),
            m: self.m.clone().select(0, rows.clone()),
            v: self.v.clone().select(0, rows.clone()),
            c: self.c.clone().select(0, rows.clone()),
            sizes: self.sizes.clone().select(0, rows),
        }
    }
}
