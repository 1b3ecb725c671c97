//! Best fits of test stars, kept small for a page that shows them.

use burn::tensor::Tensor;
use ndarray::Array2;

use crate::device::{to_array, to_f64};
use crate::models::cannon::NO_INFORMATION;
use crate::models::{Estimated, LabelEstimates};
use crate::spectra::quality::star_flags;
use crate::spectra::spectrum_basis::SpectrumBasis;

/// Spectra of which best fits are made that may be kept: some hold all of a polynomial's, many most of a network's.
const MOST_VECTORS: usize = 96;

/// Best fits of some stars, in the order in which they came.
#[derive(Debug, Clone)]
pub struct ShownFits {
    /// The spectra they are sums of, 0 where the model knows nothing.
    pub basis: SpectrumBasis,
    /// The amounts of each star; `None` of one without a fit, or with one that is no such sum.
    pub amounts: Vec<Option<Vec<f32>>>,
    /// The model's own scatter, `[n_pixels]`; NaN where it knows nothing.
    pub scatter: Vec<f32>,
}

impl ShownFits {
    /// Of no star as yet.
    pub fn new(n_pixels: usize) -> Self {
        let basis = SpectrumBasis::new(n_pixels, MOST_VECTORS);
        Self { basis, amounts: Vec::new(), scatter: vec![f32::NAN; n_pixels] }
    }

    /// Adds a batch of stars, whose inverse variance is [n_stars, n_pixels].
    pub fn add(&mut self, found: &Estimated, ivar: &Tensor<2>) {
        let LabelEstimates { flags, .. } = &found.labels;
        let Some(best_fit) = &found.best_fit else {
            self.amounts.extend(flags.iter().map(|_| None));
            return;
        };
        let known = |s2: &f64| if *s2 < NO_INFORMATION { s2.sqrt() as f32 } else { f32::NAN };
        self.scatter = to_f64(best_fit.variance.clone()).iter().map(known).collect();
        let [mut mean, ivar] =
            [&best_fit.mean, ivar].map(|tensor| -> Array2<f32> { to_array(tensor.clone()).mapv(|value| value as f32) });
        for (mut pixel, _) in mean.columns_mut().into_iter().zip(&self.scatter).filter(|(_, scatter)| scatter.is_nan())
        {
            pixel.fill(0.0);
        }
        let is_fitted = |flags: &i64| flags & star_flags::NO_DATA == 0;
        for (mut star, _) in mean.rows_mut().into_iter().zip(flags).filter(|(_, flags)| !is_fitted(flags)) {
            star.fill(f32::NAN);
        }
        self.amounts.extend(self.basis.add(mean.view(), ivar.view()));
    }
}
