//! What is to be said of calibrated errors: what they are against, and where the catalogue's own look wrong or hide them.

use super::calibration::{ErrorCalibration, LabelCalibration};

/// Quoted errors that are wrong by less than this factor are no news.
const NEWS: f64 = 1.5;

/// Whether a factor of the catalogue's errors is worth a word: far from 1, and known well enough.
pub fn is_news(factor: f64, ln_error: f64) -> bool {
    factor.ln().abs() > NEWS.ln().max(2.0 * ln_error)
}

/// What calibrated errors are, those of some labels against the truth, of others against the catalogue.
pub fn against(truth: &[&str], catalogue: &[&str]) -> String {
    let against_truth = "calibrated on stars held out, against the truth (the catalogue's own errors are taken out)";
    let against_catalogue =
        "calibrated on stars held out, against the catalogue (they include its own errors, which are not known)";
    match (truth, catalogue) {
        (_, []) => against_truth.into(),
        ([], _) => against_catalogue.into(),
        _ => format!("{against_truth} for {}, {against_catalogue} for {}", truth.join(", "), catalogue.join(", ")),
    }
}

impl LabelCalibration {
    /// What to say of the catalogue's errors of this label; nothing where they look right.
    pub fn words_on_catalogue(&self, label: &str) -> Option<String> {
        let too_large = self.quoted_too_large_by()?;
        let (factor, size) = if too_large > 1.0 { (too_large, "large") } else { (too_large.recip(), "small") };
        Some(format!("the catalogue's errors of {label} look {factor:.1} times too {size}"))
    }

    /// Whether nearly all by which held-out stars differ from the catalogue is what it claims, times the factor, of its own errors: what
    /// is left for the model's is hardly known.
    pub fn is_overshadowed(&self) -> bool {
        /// Of the scatter. A model's own errors beside it are 0.6 of the scatter, and known as the difference of two alike.
        const MOST: f64 = 0.8;
        self.is_against_truth() && self.catalogue_factor * self.catalogue_error > MOST * self.scatter
    }

    /// By how much the catalogue's errors look too large (above 1) or too small, where that is news and beyond doubt.
    pub fn quoted_too_large_by(&self) -> Option<f64> {
        let is_news = self.is_against_truth() && is_news(self.catalogue_factor, self.catalogue_factor_error);
        is_news.then(|| self.catalogue_factor.recip())
    }
}

impl ErrorCalibration {
    /// What calibrated errors are against, in words.
    pub fn words(&self) -> String {
        let of = |is_against_truth: bool| -> Vec<&str> {
            let labels = self.label_names.iter().zip(&self.labels);
            let is_one = |label: &Option<LabelCalibration>| {
                label.as_ref().is_some_and(|label| label.is_against_truth() == is_against_truth)
            };
            labels.filter(|(_, label)| is_one(label)).map(|(name, _)| name.as_str()).collect()
        };
        let words = against(&of(true), &of(false));
        let is_overshadowed =
            |label: &Option<LabelCalibration>| label.as_ref().is_some_and(LabelCalibration::is_overshadowed);
        let named = self.label_names.iter().zip(&self.labels).filter(|(_, label)| is_overshadowed(label));
        let overshadowed: Vec<&str> = named.map(|(name, _)| name.as_str()).collect();
        match overshadowed.is_empty() {
            true => words,
            false => format!(
                "{words}; those of {} are hardly known, since the catalogue's own are nearly all by which stars differ from it",
                overshadowed.join(", ")
            ),
        }
    }
}
