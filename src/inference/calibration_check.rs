//! Whether the numbers of a calibration can be: a file may have been edited, or damaged.

use super::calibration::{ErrorCalibration, LabelCalibration};

impl LabelCalibration {
    /// The first number that cannot be, and what it must be.
    fn problem(&self) -> Option<String> {
        /// Beyond it squares are no numbers any more.
        const MOST: f64 = 1e100;
        let sizes = [
            ("formal_factor", self.formal_factor),
            ("floor", self.floor),
            ("noise", self.noise),
            ("bias_error", self.bias_error),
            ("scatter", self.scatter),
            ("catalogue_error", self.catalogue_error),
            ("catalogue_factor", self.catalogue_factor),
        ];
        let lost = self.lost_chip.iter().map(|error| ("lost_chip", *error));
        let wrong = sizes.into_iter().chain(lost).find(|(_, value)| !(0.0..=MOST).contains(value));
        if let Some((name, value)) = wrong {
            return Some(format!("{name} is {value:e}; it must be 0 or positive, and at most {MOST:e}"));
        }
        if !(-MOST..=MOST).contains(&self.bias) {
            return Some(format!("bias is {:e}; it must be a number of at most {MOST:e}", self.bias));
        }
        let fraction = self.outlier_fraction;
        (!(0.0..=1.0).contains(&fraction)).then(|| format!("outlier_fraction is {fraction}; it must be 0 to 1"))
    }
}

impl ErrorCalibration {
    /// The first number that no calibration has, and where; nothing if all can be. A file may have been edited.
    pub fn problem(&self) -> Option<String> {
        let labels =
            self.label_names.iter().zip(&self.labels).filter_map(|(name, label)| Some((name, label.as_ref()?)));
        labels.into_iter().find_map(|(name, label)| Some(format!("{name}: {}", label.problem()?)))
    }
}
