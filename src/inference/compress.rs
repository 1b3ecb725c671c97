//! The exact compression of chi^2: for one star 8575 pixels become a small matrix, whatever the labels.
//!
//! ```text
//! chi2(l) = sum_j w_j (f_j - theta_j . x(l))^2 = c - 2 v . x + x^T M x
//! M = sum_j w_j theta_j theta_j^T,   v = sum_j w_j f_j theta_j,   c = sum_j w_j f_j^2
//! ```
//!
//! f is taken relative to the pivot star's spectrum theta_0, so x loses its constant; for which stars f32 suffices,
//! `precision.rs` decides.

use burn::tensor::Tensor;
use ndarray::ArrayView2;

use super::amplitudes::{Amplitudes, NuisanceSpectra};
use super::compressed::CompressedSpectra;
use super::examine::Comparison;
use super::marginal::LinearNuisance;
use crate::device::{Compute, to_f64};
use crate::models::cannon::NO_INFORMATION;
use crate::models::likelihood::inverse_total_variance;
use crate::models::pairs::{PairSums, packed_index, unpacked};
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
    /// The same with the nuisance spectra behind them, [n_pixels, n_columns], and what sums up their products.
    columns: Tensor<2>,
    pairs: PairSums,
    nuisances: Option<NuisanceSpectra>,
    compute: Compute,
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
            pairs: PairSums::new(slopes.clone()),
            columns: slopes.clone(),
            slopes,
            nuisances: None,
            s2,
            compute: compute.clone(),
        }
    }

    /// The same with nuisance spectra, [n_nuisances, n_pixels], whose amplitudes are standard normal: they are integrated
    /// out of every compression.
    #[must_use]
    pub fn with_nuisances(self, spectra: Tensor<2>) -> Self {
        let columns = Tensor::cat(vec![self.slopes.clone().transpose(), spectra.clone()], 0).transpose();
        let nuisances = Some(NuisanceSpectra::new(spectra.transpose()));
        Self { pairs: PairSums::new(columns.clone()), columns, nuisances, ..self }
    }

    /// Whether nuisance spectra are integrated out of every compression.
    pub fn has_nuisances(&self) -> bool {
        self.nuisances.is_some()
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
            pairs: PairSums::new(columns.clone()),
            columns,
            nuisances: self.nuisances.as_ref().map(|nuisances| nuisances.on(&compute)),
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

    /// The functions of the labels.
    pub(super) fn label_terms(&self) -> &T {
        &self.label_terms
    }

    /// Spectra, which were `compressed`, beside the model's at scaled inputs, [n_stars, n_inputs], the most probable nuisance spectra
    /// taken out; and the amplitudes of these where the model has any.
    pub fn compare(
        &self,
        spectra: &SpectraBatch,
        compressed: &CompressedSpectra<T>,
        scaled_inputs: ArrayView2<f64>,
    ) -> (Comparison, Option<Amplitudes>) {
        let mut comparison = Comparison {
            residual: spectra.flux.clone() - self.flux_at_known(scaled_inputs),
            weight: self.weight(spectra) * self.valid.clone().transpose(),
            ivar: spectra.ivar.clone(),
        };
        let nuisances = self.nuisances.as_ref().zip(compressed.of_nuisances.as_ref());
        let amplitudes = nuisances.map(|(own, products)| comparison.take_out(own, products));
        (comparison, amplitudes)
    }

    /// The model's spectra at scaled inputs, [n_stars, n_inputs], with the nuisance spectra at the amplitudes that are most
    /// probable there.
    ///
    /// ```text
    /// m = theta . x(l),   z = (1 + B^T W B)^-1 B^T W (f - m),   best fit = m + B z
    /// ```
    ///
    /// Inputs that are not finite, of a star without data, count as those of the pivot star.
    pub fn best_fit(
        &self,
        spectra: &SpectraBatch,
        compressed: &CompressedSpectra<T>,
        scaled_inputs: ArrayView2<f64>,
    ) -> FluxPrediction {
        let mut mean = self.flux_at_known(scaled_inputs);
        if let Some((nuisances, products)) = self.nuisances.as_ref().zip(compressed.of_nuisances.as_ref()) {
            let weight = self.weight(spectra) * self.valid.clone().transpose();
            let residual = spectra.flux.clone() - mean.clone();
            let amplitudes = nuisances.amplitudes(&residual, &weight, products);
            mean = mean + nuisances.flux(&amplitudes);
        }
        FluxPrediction { mean, variance: self.s2.clone() }
    }

    /// Spectra at scaled inputs, those that are not finite taken for the pivot star's.
    pub(super) fn flux_at_known(&self, scaled_inputs: ArrayView2<f64>) -> Tensor<2> {
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

    /// Sums up every star's pixels, in matrix products for all stars.
    ///
    /// Also returns the number of pixels that count for each star.
    pub fn compress(&self, spectra: &SpectraBatch) -> (CompressedSpectra<T>, Vec<usize>) {
        let informative = spectra.ivar.clone().greater_scalar(0.0).float().cast(self.compute.dtype());
        let counted = to_f64(informative.matmul(self.valid.clone()));
        let weight = self.weight(spectra);
        let residual = spectra.flux.clone() - self.pivot_flux.clone();
        let weighted = weight.clone() * residual.clone();
        let small = Compute::small_systems();
        let packed = small.bring(self.pairs.sums(&weight));
        let (n, n_slopes) = (self.columns.dims()[1], self.slopes.dims()[1]);
        let n_stars = spectra.n_stars();
        let m = unpacked(packed.clone(), n);
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
            of_nuisances: None,
        };
        if n > n_slopes {
            let below = m.narrow(1, n_slopes, n - n_slopes);
            let with_itself = below.clone().narrow(2, n_slopes, n - n_slopes);
            compressed.of_nuisances = Some(with_itself.clone());
            compressed = compressed.marginalize(LinearNuisance {
                with_terms: below.narrow(2, 0, n_slopes),
                with_itself,
                with_flux: v.narrow(1, n_slopes, n - n_slopes),
            });
        }
        (compressed, counted.into_iter().map(|count| count as usize).collect())
    }
}
