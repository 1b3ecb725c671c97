//! Where a survey's stars took an anchored Cannon away from the physics it started from.

use super::anchor::Anchor;
use super::checkpoint::TrainedCannon;
use crate::device::to_f64;
use crate::spectra::labels::unit_step;
use crate::stats::correlation::pearson;

/// One function of wavelength by physics, and as the survey's stars left it.
#[derive(Debug, Clone, PartialEq)]
pub struct Departure {
    /// The label whose gradient spectrum it is; none for the spectrum itself.
    pub label: Option<String>,
    /// By physics, `[n_pixels]`: normalized flux of the library's mean star, or its change for a unit of the label there; NaN where the
    /// survey tells nothing, or the emulator does not reach.
    pub physics: Vec<f64>,
    /// The same once stars had taught it.
    pub survey: Vec<f64>,
}

/// A departure for the step of its label that changes of flux are given for.
#[derive(Debug, Clone, PartialEq)]
pub struct PerStep {
    /// The step, in the label's unit; 1 of the spectrum itself.
    pub step: f64,
    /// What physics says, `[n_pixels]`: the change of flux, or how far the spectrum itself is above its continuum.
    pub physics: Vec<f64>,
    /// What stars changed of it, `[n_pixels]`.
    pub change: Vec<f64>,
    /// Correlation of the two over the pixels that are known.
    pub correlation: f64,
}

impl Departure {
    /// For the step of the label.
    pub fn per_step(&self) -> PerStep {
        let (step, level) = self.label.as_deref().map_or((1.0, 1.0), |label| (unit_step(label), 0.0));
        let physics: Vec<f64> = self.physics.iter().map(|value| step * value - level).collect();
        let pairs = self.survey.iter().zip(&self.physics);
        let change: Vec<f64> = pairs.map(|(survey, physics)| step * (survey - physics)).collect();
        let (x, y): (Vec<f64>, Vec<f64>) =
            change.iter().zip(&physics).filter(|(change, _)| change.is_finite()).map(|(x, y)| (*x, *y)).unzip();
        PerStep { step, correlation: pearson(&x, &y), physics, change }
    }
}

/// The spectrum and the gradient spectra of an anchored Cannon, in the order of its labels, at the library's mean star.
pub fn departures(anchor: &Anchor, trained: &TrainedCannon) -> Vec<Departure> {
    /// What rounding leaves of no answer at all.
    const NIL: f64 = 1e-9;
    let n_pixels = trained.cannon.n_pixels();
    let theta = to_f64(trained.cannon.theta.val());
    let valid = trained.cannon.valid_pixels();
    let terms: Vec<usize> =
        (0..trained.scaler.n_labels()).filter_map(|label| anchor.vectorizer.position(&[label])).collect();
    let answers = |pixel: usize| terms.iter().any(|term| anchor.theta[[*term, pixel]].abs() > NIL);
    let is_known: Vec<bool> = (0..n_pixels).map(|pixel| valid[pixel] && answers(pixel)).collect();
    let of_term = |label: Option<String>, term: usize, scale: f64| {
        let known = |pixel: usize, value: f64| if is_known[pixel] { value / scale } else { f64::NAN };
        Departure {
            label,
            physics: (0..n_pixels).map(|pixel| known(pixel, anchor.theta[[term, pixel]])).collect(),
            survey: (0..n_pixels).map(|pixel| known(pixel, theta[term * n_pixels + pixel])).collect(),
        }
    };
    let of_label =
        |(k, term): (usize, &usize)| of_term(Some(trained.scaler.names[k].clone()), *term, trained.scaler.scale[k]);
    let labels = terms.iter().enumerate().map(of_label);
    std::iter::once(of_term(None, 0, 1.0)).chain(labels).collect()
}
