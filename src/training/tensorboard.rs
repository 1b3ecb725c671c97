//! What a descent tells, for TensorBoard: losses, labels of the validation stars, weights and a picture of every so many epochs.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tensorboard_proto::summary::Summary_Value;

use super::event_file::EventFile;
use super::event_values::{histogram, image, scalar, text};
use super::observer::{EpochReport, Observer, Validation};
use crate::error::Result;
use crate::plot::Figure;
use crate::plot::one_to_one::{OneToOnePanel, one_to_one};
use crate::spectra::labels::unit;
use crate::stats::robust::{mean, robust_scatter, standard_deviation};

/// `[tensorboard]` of an experiment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TensorBoardSettings {
    /// Epochs from one set of weight histograms and picture to the next; 0 for those of the first and last epoch only.
    pub details_every: usize,
}

impl Default for TensorBoardSettings {
    fn default() -> Self {
        Self { details_every: 20 }
    }
}

/// Writes what it is told into a folder that `tensorboard --logdir` shows as one run.
///
/// After every epoch it writes, where they are finite, the scalars
///
/// - `loss/train`, `loss/validation`, `learning_rate`, `gradient_norm`, `seconds_per_epoch` \[s\]
/// - `bias/<label> [unit]`, `scatter/<label> [unit]`, `robust_scatter/<label> [unit]` of estimate - catalogue of the
///   validation stars
///
/// and after every so many epochs histograms `weights/<name>` and the image `one_to_one`. The unit is part of the tag because
/// TensorBoard hides the description of a scalar.
pub struct TensorBoard {
    events: EventFile,
    details_every: usize,
    has_started: bool,
    texts: Vec<Summary_Value>,
}

impl TensorBoard {
    /// Begins, or goes on in, a folder of its own. Where a descent is taken up again, TensorBoard no longer shows what the
    /// folder holds of the first epoch that is told, and of later ones.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`] if the folder cannot be written to.
    pub fn open(folder: &Path, settings: &TensorBoardSettings) -> Result<Self> {
        Ok(Self {
            events: EventFile::create(folder)?,
            details_every: settings.details_every,
            has_started: false,
            texts: Vec::new(),
        })
    }

    /// Words in Markdown, such as the settings of the descent, that are written with the next epoch.
    pub fn text(&mut self, tag: &str, markdown: &str) {
        self.texts.push(text(tag, markdown));
    }

    fn details_of(&self, report: &EpochReport) -> Result<Vec<Summary_Value>> {
        let weights = (report.weights)();
        let histograms = weights.iter().filter_map(|(name, values)| histogram(&format!("weights/{name}"), values));
        let mut values: Vec<Summary_Value> = histograms.collect();
        if let Some(validation) = report.validation.filter(|validation| !validation.labels.is_empty()) {
            values.push(image("one_to_one", draw_validation(report.epoch, validation)?.png()?)?);
        }
        Ok(values)
    }
}

impl Observer for TensorBoard {
    fn epoch(&mut self, report: &EpochReport) -> Result<()> {
        let epoch = report.epoch;
        let mut values = scalars(report);
        values.extend_from_slice(&self.texts);
        let is_end = !self.has_started || report.is_last;
        if is_end || epoch.checked_rem(self.details_every) == Some(0) {
            values.extend(self.details_of(report)?);
        }
        if !self.has_started {
            self.events.start(epoch)?;
            self.has_started = true;
        }
        self.events.write(epoch, values)?;
        self.texts.clear();
        Ok(())
    }
}

/// Estimates of validation stars against their catalogue labels.
///
/// # Errors
/// [`crate::error::Error::Figure`] without labels, or if the columns of a label differ in length.
pub fn draw_validation(epoch: usize, validation: &Validation) -> Result<Figure> {
    let flags: Vec<Vec<bool>> = validation.labels.iter().map(|label| vec![false; label.reference.len()]).collect();
    let mut panels = Vec::new();
    for (label, flags) in validation.labels.iter().zip(&flags) {
        let (unit, residuals) = (unit(&label.name), label.residuals());
        let (bias, scatter) = (mean(&residuals), robust_scatter(&residuals));
        panels.push(OneToOnePanel {
            name: &label.name,
            unit,
            catalogue: &label.reference,
            estimate: &label.estimate,
            highlighted: flags,
            caption: format!("bias {bias:+.3} {unit}, robust scatter {scatter:.3} {unit}"),
        });
    }
    one_to_one(&format!("epoch {epoch}: validation stars"), &panels)
}

fn scalars(report: &EpochReport) -> Vec<Summary_Value> {
    let mut named = vec![
        ("loss/train".to_string(), report.training_loss),
        ("learning_rate".to_string(), report.learning_rate),
        ("gradient_norm".to_string(), report.gradient_norm),
        ("seconds_per_epoch".to_string(), report.seconds),
    ];
    if let Some(validation) = report.validation {
        named.push(("loss/validation".to_string(), validation.loss));
        for label in &validation.labels {
            let unit = unit(&label.name);
            let name = if unit.is_empty() { label.name.clone() } else { format!("{} [{unit}]", label.name) };
            let residuals = label.residuals();
            named.push((format!("bias/{name}"), mean(&residuals)));
            named.push((format!("scatter/{name}"), standard_deviation(&residuals)));
            named.push((format!("robust_scatter/{name}"), robust_scatter(&residuals)));
        }
    }
    named.iter().filter_map(|(tag, value)| scalar(tag, *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::event_file::events_of;
    use crate::training::observer::ValidationLabel;

    const WEIGHTS: &dyn Fn() -> Vec<(String, Vec<f64>)> =
        &|| vec![("dense.weight".into(), vec![-1.0, 0.0, 3.0]), ("dense.bias".into(), vec![f64::NAN; 2])];

    /// Residuals 10 e, 0, -10 e; a star without a catalogue label; a label without any.
    fn validation(epoch: usize) -> Validation {
        let shift = 10.0 * epoch as f64;
        let label = |name: &str, estimate: Vec<f64>, reference: Vec<f64>| ValidationLabel {
            name: name.into(),
            estimate,
            reference,
        };
        let reference = vec![4000.0, 4500.0, 5000.0, f64::NAN];
        let teff = label("teff", vec![4000.0 + shift, 4500.0, 5000.0 - shift, 1.0], reference);
        Validation { loss: 2.0 / epoch as f64, labels: vec![teff, label("logg", vec![1.0; 4], vec![f64::NAN; 4])] }
    }

    fn report(epoch: usize, validation: Option<&Validation>) -> EpochReport<'_> {
        EpochReport {
            epoch,
            training_loss: 1.0 / epoch as f64,
            validation,
            learning_rate: 1e-3,
            gradient_norm: if epoch == 2 { f64::NAN } else { 0.5 },
            seconds: 3.0,
            is_last: epoch == 3 || epoch == 9,
            weights: WEIGHTS,
        }
    }

    /// All values that the events of a folder hold of a tag, with their steps.
    fn values_of(folder: &Path, tag: &str) -> Vec<(i64, Summary_Value)> {
        let mut found = Vec::new();
        for event in events_of(folder) {
            let values = event.get_summary().get_value().iter().filter(|value| value.get_tag() == tag);
            found.extend(values.map(|value| (event.get_step(), value.clone())));
        }
        found
    }

    fn curve(folder: &Path, tag: &str) -> Vec<(i64, f32)> {
        values_of(folder, tag).into_iter().map(|(step, value)| (step, value.get_simple_value())).collect()
    }

    #[test]
    fn three_epochs_are_read_back_tag_by_tag() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TensorBoardSettings { details_every: 0 };
        let mut board = TensorBoard::open(folder.path(), &settings).unwrap();
        board.text("settings", "epochs = 3");
        for epoch in 1..=3 {
            board.epoch(&report(epoch, Some(&validation(epoch)))).unwrap();
            // On disk before the next epoch.
            assert_eq!(curve(folder.path(), "loss/train").len(), epoch);
        }
        assert_eq!(curve(folder.path(), "loss/train"), [(1, 1.0), (2, 0.5), (3, 1.0 / 3.0)]);
        assert_eq!(curve(folder.path(), "loss/validation"), [(1, 2.0), (2, 1.0), (3, 2.0 / 3.0)]);
        assert_eq!(curve(folder.path(), "learning_rate"), [(1, 1e-3), (2, 1e-3), (3, 1e-3)]);
        assert_eq!(curve(folder.path(), "seconds_per_epoch"), [(1, 3.0), (2, 3.0), (3, 3.0)]);
        // What is not a number is left out.
        assert_eq!(curve(folder.path(), "gradient_norm"), [(1, 0.5), (3, 0.5)]);
        assert_eq!(curve(folder.path(), "bias/logg [dex]"), []);
        assert_eq!(curve(folder.path(), "bias/teff [K]"), [(1, 0.0), (2, 0.0), (3, 0.0)]);
        let scatter = |epoch: f64| (epoch * (200.0_f64 / 3.0).sqrt()) as f32;
        assert_eq!(curve(folder.path(), "scatter/teff [K]"), [(1, scatter(1.0)), (2, scatter(2.0)), (3, scatter(3.0))]);
        assert_eq!(curve(folder.path(), "robust_scatter/teff [K]"), [(1, 14.826), (2, 29.652), (3, 44.478)]);
        let steps = |tag: &str| values_of(folder.path(), tag).iter().map(|(step, _)| *step).collect::<Vec<_>>();
        assert_eq!(
            (steps("weights/dense.weight"), steps("one_to_one"), steps("settings")),
            (vec![1, 3], vec![1, 3], vec![1])
        );
        assert!(steps("weights/dense.bias").is_empty());
        let (_, histogram) = &values_of(folder.path(), "weights/dense.weight")[0];
        assert_eq!((histogram.get_histo().get_num(), histogram.get_histo().get_sum()), (3.0, 2.0));
        let (_, picture) = &values_of(folder.path(), "one_to_one")[0];
        assert!(picture.get_image().get_width() > picture.get_image().get_height() / 2);
    }

    #[test]
    fn details_come_every_so_many_epochs_and_at_both_ends() {
        let folder = tempfile::tempdir().unwrap();
        let settings = TensorBoardSettings { details_every: 4 };
        let mut board = TensorBoard::open(folder.path(), &settings).unwrap();
        for epoch in 2..=9 {
            board.epoch(&report(epoch, None)).unwrap();
        }
        let histograms = values_of(folder.path(), "weights/dense.weight");
        assert_eq!(histograms.iter().map(|(step, _)| *step).collect::<Vec<_>>(), [2, 3, 4, 8, 9]);
    }
}
