//! How badly a model describes stars, in numbers that can be compared between stars.

use ndarray::{Array2, Axis};
use serde::{Deserialize, Serialize};

/// Something by which a spectrum can differ from what a model describes. All are positive, and smooth functions of the
/// signal-to-noise ratio; only their ratios between stars count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// chi^2 per pixel of the best fit, the model's own scatter among the errors.
    Chi2,
    /// The same of one chip, counted from 0.
    Chi2OfChip(usize),
    /// Median square of flux - best fit in units of the errors as given: errors wrong by a factor show here first.
    Errors,
    /// |z|^2 of the amplitudes of the model's nuisance spectra.
    Nuisances,
    /// How much of the structure of the mean spectrum a spectrum shows: 1 for the mean, 0 for a featureless one.
    Structure,
    /// Square distance of the labels from the mean of the training labels, by the covariance of these.
    Labels,
}

impl Measure {
    /// Whether less than usual is wrong, too: errors quoted too large, not a star in the midst of others.
    pub fn is_two_sided(self) -> bool {
        !matches!(self, Self::Nuisances | Self::Labels)
    }

    /// Whether stars that trained have less of it than others.
    pub fn falls_in_training(self) -> bool {
        matches!(self, Self::Chi2 | Self::Chi2OfChip(_) | Self::Errors)
    }
}

/// Measures of some stars.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Misfit {
    /// What is measured; nothing for a model that cannot tell.
    pub measures: Vec<Measure>,
    /// [n_stars, n_measures]; NaN where there is nothing to measure.
    pub values: Array2<f64>,
    /// ln(likelihood) per pixel of every star at its best fit, nuisance spectra integrated out; NaN where it is not known.
    pub ln_likelihood: Vec<f64>,
}

impl Misfit {
    /// Of a model that measures nothing.
    pub fn none(n_stars: usize) -> Self {
        Self { measures: Vec::new(), values: Array2::zeros((n_stars, 0)), ln_likelihood: vec![f64::NAN; n_stars] }
    }

    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        self.values.nrows()
    }

    /// Appends further stars, measured by the same model.
    pub fn append(&mut self, other: Self) {
        if self.n_stars() == 0 {
            *self = other;
        } else {
            self.values.append(Axis(0), other.values.view()).expect("both are measured alike");
            self.ln_likelihood.extend(other.ln_likelihood);
        }
    }
}
