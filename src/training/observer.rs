//! Who watches a descent: told after every epoch, and never able to change it.

use crate::error::Result;

/// Receives what every epoch left.
pub trait Observer {
    /// An epoch is over.
    ///
    /// # Errors
    /// If it cannot keep what it was told; the descent stops then.
    fn epoch(&mut self, report: &EpochReport) -> Result<()>;
}

/// Watches nothing.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Observer for Unwatched {
    fn epoch(&mut self, _report: &EpochReport) -> Result<()> {
        Ok(())
    }
}

/// State of a descent after an epoch.
pub struct EpochReport<'a> {
    /// The epoch, counted from 1.
    pub epoch: usize,
    /// Mean loss of the training rows, as it was when each batch was used.
    pub training_loss: f64,
    /// What the module makes of rows that do not train it.
    pub validation: Option<&'a Validation>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Norm of the gradient of all weights, in the last step.
    pub gradient_norm: f64,
    /// Wall-clock seconds the epoch took.
    pub seconds: f64,
    /// Whether no epoch follows.
    pub is_last: bool,
    /// Names and values of all weights; a function because few look at them.
    pub weights: &'a dyn Fn() -> Vec<(String, Vec<f64>)>,
}

/// What a module makes of rows that do not train it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Validation {
    /// Mean loss.
    pub loss: f64,
    /// Estimates beside references, by label, where the module estimates labels.
    pub labels: Vec<ValidationLabel>,
}

/// One label of the validation rows, in its own unit.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidationLabel {
    /// The label.
    pub name: String,
    /// Estimates, one per row.
    pub estimate: Vec<f64>,
    /// Catalogue labels, one per row; NaN where missing.
    pub reference: Vec<f64>,
}

impl ValidationLabel {
    /// Estimate - catalogue of the rows where both are known.
    pub fn residuals(&self) -> Vec<f64> {
        let pairs = self.estimate.iter().zip(&self.reference);
        pairs.map(|(estimate, reference)| estimate - reference).filter(|residual| residual.is_finite()).collect()
    }
}
