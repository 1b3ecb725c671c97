//! Labels and errors from an ensemble of networks.

use burn::tensor::Tensor;
use ndarray::{Array2, Array3};

use super::fill::CannonFill;
use super::fit::FitSettings;
use super::hull::Hull;
use crate::device::{Compute, to_array};
use crate::error::{Error, Result};
use crate::models::network::pass::Drops;
use crate::models::network::{Network, NetworkOutput};
use crate::models::{Estimated, LabelEstimates, LabelEstimator, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::training::network_checkpoint::TrainedNetwork;

/// Trained networks, ready to label.
///
/// Labels are the mean of the members' answers without dropout. Their covariance is the mean variance that the members
/// expect, and the spread of their answers (under dropout, where that is sampled); members that give no variances are
/// believed as far as they were right about their validation stars.
pub struct NetworkEstimator {
    model: TrainedNetwork,
    hull: Hull,
    fill: Option<CannonFill>,
    compute: Compute,
}

impl NetworkEstimator {
    /// Prepares trained networks; `fit` is how a Cannon that fills masked pixels fits.
    pub fn new(model: &TrainedNetwork, fit: &FitSettings, compute: &Compute) -> Self {
        let fill = model.fill.as_ref().map(|cannon| CannonFill::new(cannon, fit, compute));
        let hull = Hull::new(model.scaler.scale(model.training_labels.view()).view());
        Self { model: model.clone(), hull, fill, compute: compute.clone() }
    }

    /// Every answer the errors are taken from, scaled, [n_stars, n_labels] each.
    fn samples(&self, network: &Network, spectra: &SpectraBatch, fill: Option<&Tensor<2>>) -> Vec<Array2<f64>> {
        let samples = 0..self.model.config.dropout_samples;
        samples.map(|_| to_array(network.forward(spectra, fill.cloned(), Drops::Random).labels)).collect()
    }
}

impl LabelEstimator for NetworkEstimator {
    fn n_labels(&self) -> usize {
        self.model.scaler.n_labels()
    }

    fn estimate(&self, spectra: &SpectraBatch, _wanted: Wanted) -> Result<Estimated> {
        /// Seed of Monte-Carlo dropout: the same spectra get the same errors.
        const DROPOUT_SEED: u64 = 2019;
        let n_pixels = self.model.preparation.grid.n_pixels();
        if spectra.n_pixels() != n_pixels {
            let detail = format!("{} pixels, but the network reads {n_pixels}", spectra.n_pixels());
            return Err(Error::Mismatch { what: "spectra".into(), detail });
        }
        let fill = self.fill.as_ref().map(|fill| fill.spectra(spectra)).transpose()?;
        self.compute.device().seed(DROPOUT_SEED);
        let n_labels = self.n_labels();
        let mut answers = Vec::new();
        let mut samples = Vec::new();
        let mut variance: Option<Array2<f64>> = None;
        for network in &self.model.members {
            let NetworkOutput { labels, ln_variance } = network.forward(spectra, fill.clone(), Drops::None);
            answers.push(to_array(labels));
            samples.extend(self.samples(network, spectra, fill.as_ref()));
            if let Some(ln_variance) = ln_variance {
                let own = to_array(ln_variance).mapv(f64::exp) / self.model.members.len() as f64;
                variance = Some(variance.map_or(own.clone(), |sum| sum + own));
            }
        }
        let scaled = mean(&answers);
        let spread_of = if samples.is_empty() { &answers } else { &samples };
        let centres = mean(spread_of);
        let TrainedNetwork { scaler, error_covariance, .. } = &self.model;
        let covariance = Array3::from_shape_fn((spectra.n_stars(), n_labels, n_labels), |(star, k, l)| {
            let value = match &variance {
                Some(variance) => {
                    let own = if k == l { variance[[star, k]] } else { 0.0 };
                    let from_centre = |answer: &Array2<f64>, k: usize| answer[[star, k]] - centres[[star, k]];
                    let product = |answer: &Array2<f64>| from_centre(answer, k) * from_centre(answer, l);
                    own + spread_of.iter().map(product).sum::<f64>() / spread_of.len() as f64
                }
                None => error_covariance[[k, l]],
            };
            value * scaler.scale[k] * scaler.scale[l]
        });
        let mut estimates = LabelEstimates::read_off(scaler.unscale(scaled.view()), covariance, spectra.n_known());
        self.hull.flag_outside(scaled.view(), &mut estimates);
        Ok(estimates.into())
    }
}

fn mean(arrays: &[Array2<f64>]) -> Array2<f64> {
    let sum = arrays.iter().skip(1).fold(arrays[0].clone(), |sum, array| sum + array);
    sum / arrays.len() as f64
}
