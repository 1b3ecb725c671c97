//! What is known of a Cannon's coefficients before its stars are seen: each is normal about a mean.

use std::ops::Range;

use ndarray::{Array2, ArrayView2, s};

/// Prior of all coefficients, the same width for a coefficient's every pixel.
pub(super) struct CoefficientPrior {
    /// Means, [n_coefficients, n_pixels]; nil where there are none.
    pub mean: Option<Array2<f64>>,
    /// Variance of each about its mean, `[n_coefficients]`; infinite where nothing is known, nil where it is known exactly.
    pub variance: Vec<f64>,
    /// Scatter variance of each pixel, `[n_pixels]`, where that is known, too.
    pub s2: Option<Vec<f64>>,
    /// Whether the variances of all but the constant are learned from the spread over the pixels (empirical Bayes).
    learns: bool,
}

/// The prior in some pixels.
pub(super) struct PriorInPixels<'a> {
    /// [n_coefficients, n_pixels]
    pub mean: Option<ArrayView2<'a, f64>>,
    /// 1 / variance, `[n_coefficients]`
    pub precision: Vec<f64>,
    /// `[n_pixels]`
    pub s2: Option<&'a [f64]>,
}

/// The coefficients of one pixel about their prior means.
#[derive(Clone)]
pub(super) struct Sample {
    /// Expected squares, `[n_coefficients]`.
    pub square: Vec<f64>,
    /// Variances, `[n_coefficients]`; part of the squares.
    pub variance: Vec<f64>,
}

impl CoefficientPrior {
    /// Coefficients about nil: of unknown size, or, if it `learns`, of the size that the spread of their kind over all pixels says.
    pub fn about_nil(n_coefficients: usize, learns: bool) -> Self {
        Self { mean: None, variance: vec![f64::INFINITY; n_coefficients], s2: None, learns }
    }

    /// Coefficients about what physics says.
    pub fn about(mean: Array2<f64>, variance: Vec<f64>, s2: Vec<f64>) -> Self {
        Self { mean: Some(mean), variance, s2: Some(s2), learns: false }
    }

    /// In a range of pixels.
    pub fn of(&self, pixels: &Range<usize>) -> PriorInPixels<'_> {
        PriorInPixels {
            mean: self.mean.as_ref().map(|mean| mean.slice(s![.., pixels.clone()])),
            precision: self.variance.iter().map(|variance| 1.0 / variance).collect(),
            s2: self.s2.as_ref().map(|s2| &s2[pixels.clone()]),
        }
    }

    /// Takes the spread of coefficients over some pixels for their variance, if it is one that learns.
    pub fn learn(&mut self, samples: &[Sample]) {
        if !self.learns || samples.is_empty() {
            return;
        }
        for (coefficient, variance) in self.variance.iter_mut().enumerate().skip(1) {
            let sum: f64 = samples.iter().map(|sample| sample.square[coefficient]).sum();
            *variance = (sum / samples.len() as f64).max(1e-12);
        }
    }
}
