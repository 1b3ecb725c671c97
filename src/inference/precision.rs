//! Which stars f32 blurs: those whose sums over the pixels are so large beside what is left of them that rounding would show
//! in the labels. They are summed up anew in f64.

use burn::tensor::{DType, Tensor};
use ndarray::Array2;

use super::chi_square::{ChiSquare, Minimum};
use super::compressed::CompressedSpectra;
use super::fitted::Fitted;
use crate::device::{Compute, to_f64};
use crate::error::Result;
use crate::models::LabelTerms;
use crate::spectra::batch::SpectraBatch;

/// Rounding of a sum over the pixels of a star in f32, relative to the root of the product of the two sums of squares.
const ROUNDING_F32: f64 = 2e-7;
/// The largest shift of a label by rounding, in formal errors, that nobody need notice.
const MOST_SHIFT: f64 = 0.03;
/// The largest rounding of chi^2, relative to it.
const MOST_CHI2_ROUNDING: f64 = 0.01;

impl<T: LabelTerms> Fitted<T>
where
    CompressedSpectra<T>: ChiSquare,
{
    /// chi^2 of spectra, its lowest minimum for every star, and the number of pixels that count; in f64 where this precision
    /// would blur a star's labels.
    ///
    /// A star whose chi^2 comes out below 0 even so is told to have none: NaN.
    ///
    /// # Errors
    /// As [`Fitted::compress`].
    pub fn fit(&self, spectra: &SpectraBatch) -> Result<(CompressedSpectra<T>, Minimum, Vec<usize>)> {
        let (mut compressed, n_pixels) = self.compress(spectra)?;
        let mut minimum = self.minimize(compressed.clone(), None, self.settings());
        let blurred = if spectra.flux.dtype() == DType::F64 { Vec::new() } else { compressed.blurred(&minimum) };
        if !blurred.is_empty() {
            let exact = Compute::small_systems();
            let rows = |tensor: &Tensor<2>| {
                let index = crate::device::indices(&blurred, &tensor.device());
                exact.bring(tensor.clone().select(0, index))
            };
            let spectra = SpectraBatch { flux: rows(&spectra.flux), ivar: rows(&spectra.ivar) };
            let (again, _) = self.in_f64().compress(&spectra);
            let found = self.minimize(again.clone(), None, self.settings());
            compressed.replace(&blurred, &again);
            blurred.iter().enumerate().for_each(|(row, star)| minimum.take(*star, &found, row));
        }
        minimum.chi2.iter_mut().filter(|chi2| **chi2 < 0.0).for_each(|chi2| *chi2 = f64::NAN);
        Ok((compressed, minimum, n_pixels))
    }
}

impl<T: LabelTerms> CompressedSpectra<T> {
    /// The stars whose labels, or chi^2, rounding in f32 may have moved by more than nobody would notice.
    ///
    /// With sizes a_t, the roots of the sums of squares, a sum is wrong by up to e a_t a_u. The gradient at the minimum is then
    /// wrong by g = |dx/dl|^T e a (a . |x|), and the labels by C g, with C their covariance.
    fn blurred(&self, minimum: &Minimum) -> Vec<usize> {
        let [n_stars, n, _] = self.m.dims();
        let small = Compute::small_systems();
        let labels: Array2<f64> = minimum.scaled_labels.mapv(|label| if label.is_finite() { label } else { 0.0 });
        let n_labels = labels.ncols();
        let expansion = self.label_terms.expand(small.matrix(labels.view()));
        let terms = to_f64(expansion.terms.narrow(1, 1, n));
        let derivative = to_f64(expansion.derivative.narrow(1, 1, n));
        let sizes = to_f64(self.sizes.clone());
        let is_blurred = |star: &usize| {
            let sizes = &sizes[star * (n + 1)..(star + 1) * (n + 1)];
            let terms = &terms[star * n..(star + 1) * n];
            let whole = sizes[n] + sizes.iter().zip(terms).map(|(size, term)| size * term.abs()).sum::<f64>();
            let gradient: Vec<f64> = (0..n_labels)
                .map(|k| {
                    let of_term = |t: usize| derivative[(star * n + t) * n_labels + k].abs() * sizes[t];
                    ROUNDING_F32 * whole * (0..n).map(of_term).sum::<f64>()
                })
                .collect();
            let covariance = minimum.covariance.index_axis(ndarray::Axis(0), *star);
            let shift = (0..n_labels)
                .map(|k| {
                    let moved: f64 = (0..n_labels).map(|l| (covariance[[k, l]] * gradient[l]).powi(2)).sum();
                    (moved / covariance[[k, k]]).sqrt()
                })
                .fold(0.0, f64::max);
            let chi2 = minimum.chi2[*star];
            // What is not a number is looked at once more, too.
            let is_sharp = shift <= MOST_SHIFT && ROUNDING_F32 * whole * whole <= MOST_CHI2_ROUNDING * chi2;
            sizes[n] > 0.0 && !is_sharp
        };
        (0..n_stars).filter(is_blurred).collect()
    }
}
