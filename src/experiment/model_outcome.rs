//! What a run found about one model.

use crate::error::{Error, Result};
use crate::findings::comparison::contestant::Contestant;
use crate::findings::metrics::ModelMetrics;
use crate::findings::predictions::Predictions;
use crate::inference::calibration::ErrorCalibration;
use crate::inference::posteriors::Posteriors;
use crate::inference::slopes::Slopes;
use crate::kinds::kind::Training;
use crate::timings::Timings;
use crate::training::departures::Departure;
use crate::training::nuisance_choice::NuisanceChoice;

/// Everything found about one model.
#[derive(Debug, Clone)]
pub struct ModelOutcome {
    /// The model's name in the experiment.
    pub name: String,
    /// Its predictions for the test stars.
    pub predictions: Predictions,
    /// Its metrics.
    pub metrics: ModelMetrics,
    /// How training went, by fold.
    pub training: Vec<Training>,
    /// What training stars held out say of its errors, by fold; empty without calibration.
    pub calibration: Vec<ErrorCalibration>,
    /// How its estimates followed their labels before they were made to follow them in full, by fold; empty where nobody asked.
    pub slopes: Vec<Slopes>,
    /// What it learned beside the labels in the first fold, `[n_pixels]` each; none where it learned none.
    pub latent_spectra: Vec<Vec<f64>>,
    /// What the survey's stars changed of the physics it started from, in the first fold; nothing where it started from none.
    pub departures: Vec<Departure>,
    /// Times of the steps that were this model's own.
    pub timings: Timings,
    /// Posteriors of its test stars, where they were asked for.
    pub posteriors: Option<Posteriors>,
}

impl ModelOutcome {
    /// How many nuisance spectra it learned, and what the plain Cannon does beside it, where that was chosen.
    pub fn nuisance_words(&self) -> Option<String> {
        let choices = self.training.iter().filter_map(|training| training.nuisance_choice());
        NuisanceChoice::words(&choices.collect::<Vec<&NuisanceChoice>>())
    }

    /// Whether it labelled any star at all.
    ///
    /// # Errors
    /// [`Error::TooFewStars`]: a model without a single estimate is no result.
    pub fn expect_labels(&self) -> Result<()> {
        if self.predictions.estimates.labels.column(0).iter().any(|label| label.is_finite()) {
            return Ok(());
        }
        let valid = self.training.iter().find_map(|training| training.n_valid_pixels());
        let known = valid.map(|n| format!("it has {n} pixels with information; ")).unwrap_or_default();
        Err(Error::TooFewStars {
            stage: format!("labelling with model {}", self.name),
            n_stars: 0,
            needed: 1,
            remedy: format!(
                "{known}check the labels it was trained on for numbers that are none (a warning above names such columns), and flux, errors \
                 and masks of the spectra"
            ),
        })
    }

    /// The model as it stands beside others.
    pub fn contestant(&self) -> Contestant<'_> {
        Contestant { name: &self.name, predictions: &self.predictions, metrics: &self.metrics }
    }
}
