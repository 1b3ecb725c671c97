//! Combinations as files hold them, those of before labels were combined one by one included.

use serde::Deserialize;

use super::calibration::ErrorCalibration;
use super::combination::Combination;
use super::stack::Stack;

/// What files hold: of today, or of before labels were combined one by one.
#[derive(Deserialize)]
pub(super) struct StoredCombination {
    members: Vec<String>,
    calibrations: Vec<ErrorCalibration>,
    labels: Option<Vec<Option<Stack>>>,
    label_correlation: Option<Vec<Vec<f64>>>,
    /// Of before: correlation of the errors of all members in all labels, members first.
    correlation: Option<Vec<Vec<f64>>>,
}

impl TryFrom<StoredCombination> for Combination {
    type Error = String;

    fn try_from(stored: StoredCombination) -> std::result::Result<Self, String> {
        let StoredCombination { members, calibrations, labels, label_correlation, correlation } = stored;
        if let (Some(labels), Some(label_correlation)) = (labels, label_correlation) {
            return Ok(Self { members, calibrations, labels, label_correlation });
        }
        let n_labels = calibrations.first().map_or(0, |calibration| calibration.labels.len());
        let width = members.len() * n_labels;
        let correlation = correlation.ok_or("it has neither labels nor correlation")?;
        let is_whole = calibrations.len() == members.len()
            && calibrations.iter().all(|calibration| calibration.labels.len() == n_labels)
            && correlation.len() == width
            && correlation.iter().all(|row| row.len() == width && row.iter().all(|value| value.is_finite()));
        if !is_whole {
            return Err("its correlation is not that of its members".into());
        }
        let stack = |k: usize| {
            let own: Vec<_> = calibrations.iter().map(|calibration| calibration.labels[k].as_ref()).collect();
            Stack::from_correlation(&own, |m, l| correlation[m * n_labels + k][l * n_labels + k])
        };
        let labels = (0..n_labels).map(stack).collect();
        // Labels of the first member, which took part in each.
        let label_correlation = (0..n_labels).map(|k| correlation[k][..n_labels].to_vec()).collect();
        Ok(Self { members, calibrations, labels, label_correlation })
    }
}
