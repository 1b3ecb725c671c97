//! The course of a descent, epoch by epoch, for figures and records.

use serde::{Deserialize, Serialize};

use super::observer::{EpochReport, Observer};
use crate::error::Result;
use crate::stats::robust::robust_scatter;

/// What every epoch left, in columns. As an observer it fills itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The epochs, counted from 1.
    pub epochs: Vec<usize>,
    /// Mean loss of the training rows.
    pub training_loss: Vec<f64>,
    /// Mean loss of the validation rows, where there were any.
    pub validation_loss: Vec<Option<f64>>,
    /// Learning rate of the epoch's last step.
    pub learning_rate: Vec<f64>,
    /// Labels of the validation rows.
    pub labels: Vec<LabelHistory>,
}

/// How well the validation stars agreed with the catalogue in one label.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabelHistory {
    /// The label.
    pub name: String,
    /// 1.4826 x median absolute deviation of estimate - catalogue, in the label's unit, by epoch where it was estimated.
    pub robust_scatter: Vec<Option<f64>>,
}

impl History {
    /// The epoch with the smallest validation loss, the first of equals.
    pub fn best_epoch(&self) -> Option<usize> {
        let known = self.epochs.iter().zip(&self.validation_loss).filter_map(|(epoch, loss)| Some((*epoch, (*loss)?)));
        known.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(epoch, _)| epoch)
    }
}

impl Observer for History {
    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        self.epochs.push(report.epoch);
        self.training_loss.push(report.training_loss);
        self.validation_loss.push(report.validation.map(|validation| validation.loss).filter(|loss| loss.is_finite()));
        self.learning_rate.push(report.learning_rate);
        let n_epochs = self.epochs.len();
        for label in report.validation.iter().flat_map(|validation| &validation.labels) {
            let known = self.labels.iter().position(|known| known.name == label.name).unwrap_or_else(|| {
                let name = label.name.clone();
                self.labels.push(LabelHistory { name, robust_scatter: vec![None; n_epochs - 1] });
                self.labels.len() - 1
            });
            let scatter = robust_scatter(&label.residuals());
            self.labels[known].robust_scatter.push(Some(scatter).filter(|scatter| scatter.is_finite()));
        }
        for label in &mut self.labels {
            label.robust_scatter.resize(n_epochs, None);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::observer::{Validation, ValidationLabel};

    #[test]
    fn epochs_without_validation_leave_gaps_and_the_best_epoch_is_found() {
        let mut history = History::default();
        for (epoch, loss) in [(1, None), (2, Some(0.5)), (3, Some(0.3)), (4, None), (5, Some(0.3))] {
            let label = |loss: f64| ValidationLabel {
                name: "teff".into(),
                estimate: vec![4000.0 + 10.0 * loss, 4500.0, 5000.0 - 10.0 * loss, 1.0],
                reference: vec![4000.0, 4500.0, 5000.0, f64::NAN],
            };
            let validation = loss.map(|loss| Validation { loss, labels: vec![label(loss)] });
            let report = EpochReport {
                epoch,
                training_loss: 1.0,
                validation: validation.as_ref(),
                learning_rate: 1e-3,
                gradient_norm: 1.0,
                seconds: 1.0,
                weights: &Vec::new,
            };
            history.epoch(&report).unwrap();
        }
        assert_eq!(history.best_epoch(), Some(3));
        assert_eq!(history.epochs, [1, 2, 3, 4, 5]);
        let scatter = &history.labels[0].robust_scatter;
        assert!(scatter.len() == 5 && scatter[0].is_none() && scatter[3].is_none());
        assert!((scatter[1].unwrap() - 5.0 * 1.4826).abs() < 1e-9);
        let text = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
        assert_eq!(History::default().best_epoch(), None);
    }
}
