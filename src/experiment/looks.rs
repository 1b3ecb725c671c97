//! What a run looks into beside the comparison of its models, while they are there: best fits, outliers, the lab.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::{ExperimentConfig, ModelConfig};
use super::crossval::{CrossValidation, FoldResult};
use super::lab::Lab;
use super::lab::subject::Subject;
use super::model_outcome::ModelOutcome;
use super::outliers::{Investigation, Outliers};
use super::place::{ModelPlace, Place};
use super::run_spectra::RunSpectra;
use super::timings::Timings;
use crate::error::{Error, Result};
use crate::spectra::split::Fold;
use crate::stars::prepare::Source;
use crate::stars::truth::Truth;

/// What is looked into; nothing of it in runs that keep no models, such as the points of a sweep.
pub(super) struct Looks<'a> {
    config: &'a ExperimentConfig,
    source: &'a Source,
    place: Place<'a>,
    n_folds: usize,
    n_test: usize,
    spectra: Option<RunSpectra>,
    outliers: Option<Investigation<'a>>,
    lab: Option<Lab>,
}

impl<'a> Looks<'a> {
    /// What an experiment asks for.
    pub fn new(config: &'a ExperimentConfig, source: &'a Source, place: Place<'a>, folds: &[Fold]) -> Self {
        let outliers = Investigation::new(config, &source.stars).filter(|_| place.keep_models);
        let n_test = folds.iter().map(|fold| fold.test.len()).sum();
        Self { config, source, place, n_folds: folds.len(), n_test, spectra: None, outliers, lab: None }
    }

    /// Looks into what the models made of a fold, counted from 1.
    ///
    /// # Errors
    /// Those of fitting, and of writing best fits.
    pub fn add_fold(
        &mut self,
        crossval: &CrossValidation,
        (number, fold): (usize, &Fold),
        results: &BTreeMap<String, FoldResult>,
        timings: &mut Timings,
    ) -> Result<()> {
        if !self.place.keep_models {
            return Ok(());
        }
        let (run, n_folds) = (self.place.folder, self.n_folds);
        if self.config.output.spectra {
            let spectra = self.spectra.get_or_insert_with(|| RunSpectra::new(crossval, run, self.n_test));
            let places = |name: &str| ModelPlace::new(run, name, number, n_folds);
            timings.measure("spectra", || spectra.add_fold(crossval, self.source, fold, places))?;
        }
        if let Some(outliers) = &mut self.outliers
            && let Some(result) = results.values().nth(outliers.model())
        {
            timings.measure("outliers", || outliers.add_fold(crossval, fold, result))?;
        }
        if let Some(settings) = self.config.lab.as_ref().filter(|_| number == 1)
            && let Some(result) = results.get(&settings.model)
            && let Some(cannon) = &result.cannon
        {
            let subject = Subject { source: self.source, crossval, fold, result, cannon, settings };
            self.lab = match timings.measure("lab", || Lab::look(&subject, &self.cannon_folders())) {
                // A run whose models label no star at all is told so at its end.
                Err(err @ Error::TooFewStars { .. }) => {
                    tracing::warn!("{err}");
                    None
                }
                lab => Some(lab?),
            };
        }
        Ok(())
    }

    /// Gives the files of best fits their names, once all folds are done.
    ///
    /// # Errors
    /// Those of writing them.
    pub fn finish_spectra(&mut self) -> Result<()> {
        self.spectra.take().map_or(Ok(()), RunSpectra::finish)
    }

    /// What was found, once all models are known.
    ///
    /// # Errors
    /// Those of reading isochrones.
    pub fn finish(
        self,
        models: &[ModelOutcome],
        test: &[usize],
        truth: Option<&Truth>,
        timings: &mut Timings,
    ) -> Result<(Option<Outliers>, Option<Lab>)> {
        let outliers = timings.measure("outliers", || self.outliers?.finish(models, test, truth));
        let mut lab = self.lab;
        if let (Some(lab), Some(settings)) = (&mut lab, &self.config.lab) {
            timings.measure("lab", || lab.finish(models, settings))?;
        }
        Ok((outliers, lab))
    }

    /// Where each Cannon of the first fold was kept, by name.
    fn cannon_folders(&self) -> Vec<(String, PathBuf)> {
        let cannons = self.config.models.iter().filter(|(_, model)| matches!(model, ModelConfig::Cannon(_)));
        let folder = |name: &String| ModelPlace::new(self.place.folder, name, 1, self.n_folds).model;
        cannons.map(|(name, _)| (name.clone(), folder(name))).collect()
    }
}
