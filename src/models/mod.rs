//! Models as Burn modules: configurations and pure forward passes; no files, no loops, no printing.

pub mod cannon;
pub mod likelihood;
pub mod misfit;
pub mod network;
pub mod pairs;
pub mod payne;
pub mod ridge;
pub mod usual_spectra;
pub mod vectorizer;

use burn::module::Module;
use burn::tensor::Tensor;
use ndarray::{Array2, Array3, Axis};

use self::misfit::Misfit;
use crate::error::Result;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::quality::star_flags;

/// A spectrum that a model expects, and how far it trusts itself.
#[derive(Debug, Clone)]
pub struct FluxPrediction {
    /// Normalized flux, [n_stars, n_pixels].
    pub mean: Tensor<2>,
    /// Intrinsic variance s^2 of the model, [1, n_pixels]; [`cannon::NO_INFORMATION`] where it knows nothing.
    pub variance: Tensor<2>,
}

/// Labels to flux: the generative direction.
pub trait SpectralModel: Module {
    /// Spectra at scaled labels, [n_stars, n_labels].
    fn predict_flux(&self, scaled_labels: Tensor<2>) -> FluxPrediction;
}

/// The functions of the labels in which a model's flux is linear: flux = theta . x(labels), with x_0 = 1.
///
/// The Cannon's are the products of labels, The Payne's the outputs of its network; fits need nothing else of either.
pub trait LabelTerms: Clone + Send + Sync {
    /// x(labels).
    ///
    /// # Shapes
    /// - scaled_labels: `[n_stars, n_labels]`
    /// - output: `[n_stars, n_terms]`
    fn terms(&self, scaled_labels: Tensor<2>) -> Tensor<2>;
    /// x(labels) with its derivatives.
    fn expand(&self, scaled_labels: Tensor<2>) -> TermExpansion;
    /// x(labels) with no more of its first derivatives than the gradient of a weighted sum of terms takes.
    fn pull_back(&self, scaled_labels: Tensor<2>) -> TermPullBack {
        let TermExpansion { terms, derivative, .. } = self.expand(scaled_labels);
        let [n_stars, n_terms, n_labels] = derivative.dims();
        let derivative = derivative.narrow(1, 1, n_terms - 1);
        let gradient = move |weights: Tensor<2>| {
            weights.reshape([n_stars, 1, n_terms - 1]).matmul(derivative).reshape([n_stars, n_labels])
        };
        TermPullBack { terms, gradient: Box::new(gradient) }
    }
}

/// Terms, and the gradient of sums of them.
pub struct TermPullBack {
    /// [n_stars, n_terms]
    pub terms: Tensor<2>,
    /// From one weight per term but the constant, [n_stars, n_terms - 1], the gradient of the weighted sum with respect to
    /// scaled labels, [n_stars, n_labels].
    pub gradient: Box<dyn FnOnce(Tensor<2>) -> Tensor<2>>,
}

/// Terms and their derivatives with respect to scaled labels.
pub struct TermExpansion {
    /// [n_stars, n_terms]
    pub terms: Tensor<2>,
    /// [n_stars, n_terms, n_labels]
    pub derivative: Tensor<3>,
    /// From one weight per term, [n_stars, n_terms, 1], the weighted sum of the terms' second derivatives, [n_stars,
    /// n_labels, n_labels].
    pub bend: Box<dyn FnOnce(Tensor<3>) -> Tensor<3>>,
}

/// Spectra to labels: all that cross-validation, reports and `maury label` ever see of a model.
pub trait LabelEstimator: Send + Sync {
    /// Number of labels estimated.
    fn n_labels(&self) -> usize;

    /// Labels of every star of a batch, and what else is wanted and known; a star that cannot be labelled gets flags, never an error.
    ///
    /// # Errors
    /// [`crate::error::Error::Mismatch`] if the spectra are on another grid than the model.
    fn estimate(&self, spectra: &SpectraBatch, wanted: Wanted) -> Result<Estimated>;

    /// The labels alone.
    ///
    /// # Errors
    /// As [`LabelEstimator::estimate`].
    fn estimate_labels(&self, spectra: &SpectraBatch) -> Result<LabelEstimates> {
        Ok(self.estimate(spectra, Wanted::default())?.labels)
    }
}

/// What is wanted beside labels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How well the model describes each spectrum.
    pub misfit: bool,
    /// The spectra of the best fits.
    pub best_fit: bool,
}

/// Labels, and what was wanted beside them.
#[derive(Debug, Clone)]
pub struct Estimated {
    /// The labels.
    pub labels: LabelEstimates,
    /// How well the model describes each spectrum; no measures where it describes none, or that was not wanted.
    pub misfit: Misfit,
    /// The best fits as the model has them beside the batch's flux, [n_stars, n_pixels]; none from a model that goes from spectra to
    /// labels only, or where they were not wanted. Spectra of stars without data mean nothing.
    pub best_fit: Option<FluxPrediction>,
}

impl From<LabelEstimates> for Estimated {
    fn from(labels: LabelEstimates) -> Self {
        Self { misfit: Misfit::none(labels.n_pixels.len()), labels, best_fit: None }
    }
}

/// Estimated labels with their formal errors.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelEstimates {
    /// Labels in their own units, [n_stars, n_labels]; NaN for a star without data.
    pub labels: Array2<f64>,
    /// Formal covariance of the labels, [n_stars, n_labels, n_labels].
    pub covariance: Array3<f64>,
    /// chi^2 at the estimate.
    pub chi2: Vec<f64>,
    /// Pixels that entered chi^2.
    pub n_pixels: Vec<usize>,
    /// [`crate::spectra::quality::star_flags`] that arose in the estimate.
    pub flags: Vec<i64>,
}

impl LabelEstimates {
    /// Of a model that reads labels off spectra, and knows no chi^2: a star without a pixel has no labels, and is flagged.
    pub fn read_off(mut labels: Array2<f64>, mut covariance: Array3<f64>, n_pixels: Vec<usize>) -> Self {
        let mut flags = vec![0; n_pixels.len()];
        for (star, flags) in flags.iter_mut().enumerate().filter(|(star, _)| n_pixels[*star] == 0) {
            labels.row_mut(star).fill(f64::NAN);
            covariance.index_axis_mut(Axis(0), star).fill(f64::NAN);
            *flags = star_flags::NO_DATA;
        }
        Self { labels, covariance, chi2: vec![f64::NAN; n_pixels.len()], n_pixels, flags }
    }

    /// chi^2 per degree of freedom; NaN where there is none.
    pub fn chi2_reduced(&self, star: usize) -> f64 {
        let degrees = self.n_pixels[star] as f64 - self.labels.ncols() as f64;
        if degrees > 0.0 { self.chi2[star] / degrees } else { f64::NAN }
    }

    /// Formal error of label `k`.
    pub fn error(&self, star: usize, k: usize) -> f64 {
        self.covariance[[star, k, k]].sqrt()
    }

    /// Formal covariances of a star's labels, those of each pair once: the upper triangle without its diagonal, row by row.
    pub fn covariances(&self, star: usize) -> Vec<f64> {
        let n_labels = self.labels.ncols();
        let row = |k: usize| (k + 1..n_labels).map(move |l| self.covariance[[star, k, l]]);
        (0..n_labels).flat_map(row).collect()
    }

    /// The stars at these positions, in this order.
    pub fn select(&self, stars: &[usize]) -> Self {
        Self {
            labels: self.labels.select(Axis(0), stars),
            covariance: self.covariance.select(Axis(0), stars),
            chi2: stars.iter().map(|star| self.chi2[*star]).collect(),
            n_pixels: stars.iter().map(|star| self.n_pixels[*star]).collect(),
            flags: stars.iter().map(|star| self.flags[*star]).collect(),
        }
    }

    /// Appends the estimates of further stars.
    pub fn append(&mut self, other: Self) {
        let join = "both have the same labels";
        self.labels.append(Axis(0), other.labels.view()).expect(join);
        self.covariance.append(Axis(0), other.covariance.view()).expect(join);
        self.chi2.extend(other.chi2);
        self.n_pixels.extend(other.n_pixels);
        self.flags.extend(other.flags);
    }

    /// Estimates of no stars, to append to.
    pub fn empty(n_labels: usize) -> Self {
        Self {
            labels: Array2::zeros((0, n_labels)),
            covariance: Array3::zeros((0, n_labels, n_labels)),
            chi2: Vec::new(),
            n_pixels: Vec::new(),
            flags: Vec::new(),
        }
    }
}
