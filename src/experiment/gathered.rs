//! What the folds of a run leave behind: what every model made of the test stars, and what is known of these.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis, s};

use super::config::ExperimentConfig;
use super::looks::Found;
use super::model_outcome::ModelOutcome;
use super::outcome::Outcome;
use crate::data::catalogue::Catalogue;
use crate::error::Result;
use crate::findings::look_alikes::{self, LookAlikes};
use crate::findings::metrics::{ModelMetrics, summarize};
use crate::findings::predictions::Predictions;
use crate::inference::posteriors::Posteriors;
use crate::kinds::kind::{FoldResult, Model};
use crate::models::LabelEstimates;
use crate::spectra::prepared::PreparedSet;
use crate::spectra::quality::Quality;
use crate::spectra::split::Fold;
use crate::stars::source::Source;
use crate::stars::truth::Truth;
use crate::stats::robust::quantile;
use crate::timings::Timings;
use crate::training::departures::Departure;

/// The results of a run, while it goes on.
pub(super) struct Gathered<'a> {
    config: &'a ExperimentConfig,
    source: &'a Source,
    /// Test stars, fold by fold, and their rows of the catalogue.
    pub test: Vec<usize>,
    stars: Catalogue,
    results: BTreeMap<&'a String, (Vec<FoldResult>, Timings)>,
    /// Models that were left out, and why.
    left_out: BTreeMap<String, String>,
    /// Of the first fold, by model.
    latent_spectra: BTreeMap<String, Vec<Vec<f64>>>,
    /// The same.
    departures: BTreeMap<String, Vec<Departure>>,
    /// Of every star of the source; known of the test stars of the folds so far.
    quality: Vec<Quality>,
    flags: Vec<i64>,
    /// Part of the pixels lost to each mask bit.
    bit_fractions: Vec<(usize, &'static str, f64)>,
    /// How alike the spectra of stars with like labels are.
    look_alikes: Option<LookAlikes>,
}

impl<'a> Gathered<'a> {
    /// Of no fold as yet.
    pub fn new(config: &'a ExperimentConfig, source: &'a Source, folds: &[Fold]) -> Self {
        let test: Vec<usize> = folds.iter().flat_map(|fold| fold.test.iter().copied()).collect();
        Self {
            config,
            source,
            stars: source.stars.rows(&test),
            test,
            results: config.models.keys().map(|name| (name, Default::default())).collect(),
            left_out: BTreeMap::new(),
            latent_spectra: BTreeMap::new(),
            departures: BTreeMap::new(),
            quality: vec![Quality::default(); source.n_stars()],
            flags: vec![0; source.n_stars()],
            bit_fractions: Vec::new(),
            look_alikes: None,
        }
    }

    /// How many models the experiment has, those aside that were left out.
    pub fn n_models(&self) -> usize {
        self.results.len()
    }

    /// Leaves a model out, with all that it made of earlier folds.
    pub fn leave_out(&mut self, name: &String, why: String) {
        tracing::warn!("{name} is left out of this point: {why}");
        self.results.remove(name);
        self.left_out.insert(name.clone(), why);
    }

    /// Whether a model was left out, as one is that is made of such; it then is left out from here on.
    pub fn has_left_out(&mut self, name: &String, model: &dyn Model) -> bool {
        let missing = model.made_of().iter().find(|member| self.left_out.contains_key(*member));
        if let Some(member) = missing.filter(|_| self.results.contains_key(name)) {
            self.leave_out(name, format!("it is made of {member}, which is left out"));
        }
        self.left_out.contains_key(name)
    }

    /// Where a model's own times are added up.
    pub fn timings_of(&mut self, model: &String) -> &mut Timings {
        &mut self.results.get_mut(model).expect("every model has its results").1
    }

    /// Takes what the models made of a fold; the trained models themselves are let go.
    ///
    /// # Errors
    /// Those of reading spectra.
    pub fn add_fold(&mut self, set: &PreparedSet, fold: &Fold, results: BTreeMap<String, FoldResult>) -> Result<()> {
        for &star in &fold.test {
            self.quality[star] = set.quality[star].clone();
            self.flags[star] = set.flags(star);
        }
        self.bit_fractions = set.bit_fractions();
        self.look_alikes = look_alikes::compare(set)?;
        for (name, result) in results {
            let Some((of_model, _)) = self.results.get_mut(&name) else { continue };
            if let Some(model) = result.model.as_ref().filter(|_| !self.latent_spectra.contains_key(&name)) {
                self.latent_spectra.insert(name.clone(), model.latent_spectra());
                self.departures.insert(name.clone(), model.departures());
            }
            of_model.push(FoldResult { model: None, parts: Vec::new(), shown_fits: None, ..result });
        }
        Ok(())
    }

    /// The models, each with its predictions for all test stars and their metrics.
    pub fn models(&mut self, truth: Option<&Truth>) -> Vec<ModelOutcome> {
        let results = std::mem::take(&mut self.results);
        results.into_iter().map(|(name, (results, timings))| self.model(name, results, timings, truth)).collect()
    }

    fn model(&mut self, name: &str, results: Vec<FoldResult>, timings: Timings, truth: Option<&Truth>) -> ModelOutcome {
        let config = self.config;
        let n_labels = config.labels.len();
        let stars = &self.stars;
        let labels = |rows: &[Vec<f64>]| Array2::from_shape_fn((rows.len(), n_labels), |(n, k)| rows[n][k]);
        let quoted_errors = labels(&stars.label_errors);
        let training = results.iter().map(|result| result.training.clone()).collect();
        let n_train = results.iter().map(|result| result.n_train).sum::<usize>() / results.len().max(1);
        let n_usual = results.iter().map(|result| result.n_usual).min();
        let n_parameters = results.first().map_or(0, |result| result.n_parameters);
        let mut estimates = LabelEstimates::empty(n_labels);
        let mut posteriors: Option<Posteriors> = None;
        let mut calibrated_errors = Array2::zeros((0, n_labels));
        let mut catalogue_errors = Array2::zeros((0, n_labels));
        let (mut calibration, mut slopes) = (Vec::new(), Vec::new());
        for result in results {
            let first = catalogue_errors.nrows();
            let rows = first..first + result.estimates.labels.nrows();
            let (errors, of_catalogue) = match result.calibrated {
                Some(calibrated) => {
                    calibration.push(calibrated.calibration);
                    (calibrated.errors, calibrated.catalogue_errors)
                }
                None => {
                    let unknown = Array2::from_elem(result.estimates.labels.raw_dim(), f64::NAN);
                    (unknown, quoted_errors.slice(s![rows, ..]).to_owned())
                }
            };
            catalogue_errors.append(Axis(0), of_catalogue.view()).expect("both have the same labels");
            calibrated_errors.append(Axis(0), errors.view()).expect("both have the same labels");
            estimates.append(result.estimates);
            slopes.extend(result.slopes);
            if let Some(found) = result.posteriors {
                posteriors.get_or_insert_default().append(found);
            }
        }
        let predictions = Predictions {
            ids: stars.id.clone(),
            label_names: config.labels.clone(),
            catalogue: labels(&stars.labels),
            catalogue_errors,
            truth: truth.map(|truth| truth.rows(&self.test)),
            snr: stars.snr.clone(),
            flags: self.test.iter().zip(&estimates.flags).map(|(star, fit)| self.flags[*star] | fit).collect(),
            estimates,
            calibrated_errors,
        };
        let metrics = summarize(&predictions, n_train, n_parameters, &config.bootstrap, config.seed);
        let metrics = ModelMetrics { n_usual, ..metrics };
        ModelOutcome {
            name: name.to_string(),
            predictions,
            metrics,
            training,
            calibration,
            slopes,
            latent_spectra: self.latent_spectra.remove(name).unwrap_or_default(),
            departures: self.departures.remove(name).unwrap_or_default(),
            timings,
            posteriors,
        }
    }

    /// All that the run found, but for the comparison.
    pub fn outcome(self, name: &str, models: Vec<ModelOutcome>, found: Found, mut timings: Timings) -> Outcome {
        models.iter().for_each(|model| timings.add(&model.timings));
        let masked: Vec<f64> = self.test.iter().map(|star| self.quality[*star].fraction_masked()).collect();
        Outcome {
            name: name.to_string(),
            models,
            left_out: self.left_out,
            comparison: None,
            outliers: found.outliers,
            elements: found.elements,
            lab: found.lab,
            explored: found.explored,
            grid: self.source.grid.clone(),
            n_pixels_left_out: self.source.n_left_out(),
            cuts: self.source.cuts.clone(),
            fraction_masked: [0.0, 0.5, 1.0].map(|q| quantile(&masked, q)),
            bit_fractions: self.bit_fractions,
            look_alikes: self.look_alikes,
            settings: self.config.clone(),
            timings,
        }
    }
}
