//! What a run looks into beside the comparison of its models, while they are there: best fits, outliers, elements, the lab, spectra for
//! its explorer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::config::ExperimentConfig;
use super::explored::Explored;
use super::model_outcome::ModelOutcome;
use super::place::Place;
use super::run_spectra::RunSpectra;
use crate::error::{Error, Result};
use crate::findings::elements::{Elements, Look};
use crate::findings::lab::Lab;
use crate::findings::lab::subject::Subject;
use crate::findings::outliers::{Investigation, Outliers};
use crate::findings::predictions::Predictions;
use crate::kinds::context::Context;
use crate::kinds::kind::FoldResult;
use crate::kinds::place::ModelPlace;
use crate::spectra::split::Fold;
use crate::stars::source::Source;
use crate::stars::truth::Truth;
use crate::timings::Timings;

/// What is looked into; nothing of it in the points of a sweep.
pub(super) struct Looks<'a> {
    config: &'a ExperimentConfig,
    source: &'a Source,
    place: Place<'a>,
    n_folds: usize,
    n_test: usize,
    spectra: Option<RunSpectra>,
    outliers: Option<(&'a str, Investigation<'a>)>,
    elements: Option<Look<'a>>,
    lab: Option<Lab>,
    explored: Option<Explored>,
}

/// What was found.
#[derive(Default)]
pub(super) struct Found {
    pub outliers: Option<Outliers>,
    pub elements: Option<Elements>,
    pub lab: Option<Lab>,
    pub explored: Option<Explored>,
}

impl<'a> Looks<'a> {
    /// What an experiment asks for.
    pub fn new(config: &'a ExperimentConfig, source: &'a Source, place: Place<'a>, folds: &[Fold]) -> Self {
        // Evidence of spectra is against a model of the labels alone.
        let examined = config.flux_models().first().copied().or(config.models.keys().next().map(String::as_str));
        let outliers = Investigation::new(&config.outliers, &source.stars).filter(|_| !place.is_point);
        let outliers = examined.zip(outliers);
        let n_test = folds.iter().map(|fold| fold.test.len()).sum();
        let elements = config.elements.as_ref().filter(|_| !place.is_point).map(Look::new);
        let explored = (!place.is_point).then(|| Explored::new(n_test));
        let n_folds = folds.len();
        Self { config, source, place, n_folds, n_test, spectra: None, outliers, elements, lab: None, explored }
    }

    /// Looks into what the models made of a fold, counted from 1.
    ///
    /// # Errors
    /// Those of fitting, and of writing best fits.
    pub fn add_fold(
        &mut self,
        context: &Context,
        (number, fold): (usize, &Fold),
        results: &BTreeMap<String, FoldResult>,
        timings: &mut Timings,
    ) -> Result<()> {
        if self.place.is_point {
            return Ok(());
        }
        if self.config.output.spectra {
            let run = self.place.folder;
            let spectra =
                self.spectra.get_or_insert_with(|| RunSpectra::new(self.config, &context.set.grid, run, self.n_test));
            timings.measure("spectra", || spectra.add_fold(context, self.source, fold, results))?;
        }
        if let Some(explored) = &mut self.explored {
            let files = (self.source, self.place.folder);
            timings.measure("explorer", || explored.add_fold(context, files, fold, results))?;
        }
        if let Some((examined, outliers)) = &mut self.outliers
            && let Some(result) = results.get(*examined)
        {
            timings.measure("outliers", || outliers.add_fold(context, fold, result))?;
        }
        if let Some(elements) = &mut self.elements {
            timings.measure("elements", || elements.add_fold(context, (number, fold), results))?;
        }
        if let Some(settings) = self.config.lab.as_ref().filter(|_| number == 1)
            && let Some(result) = results.get(&settings.model)
            && let Some(cannon) = result.model.as_ref().and_then(|model| model.flux_model())
        {
            let stars = &self.config.stars();
            let subject = Subject { source: self.source, stars, context, fold, result, cannon, settings };
            self.lab = match timings.measure("lab", || Lab::look(&subject, &self.folders())) {
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
    ) -> Result<Found> {
        let predictions: BTreeMap<&str, &Predictions> =
            models.iter().map(|model| (model.name.as_str(), &model.predictions)).collect();
        let outliers = timings.measure("outliers", || {
            let (examined, outliers) = self.outliers?;
            outliers.finish(examined, &predictions, test, truth)
        });
        let elements = timings
            .measure("elements", || self.elements?.finish(&predictions, &self.config.bootstrap, self.config.seed));
        let mut lab = self.lab;
        if let (Some(lab), Some(settings)) = (&mut lab, &self.config.lab)
            && let Some(predictions) = predictions.get(lab.model.as_str())
        {
            timings.measure("lab", || lab.finish(predictions, settings))?;
        }
        Ok(Found { outliers, elements, lab, explored: self.explored })
    }

    /// Where each model that predicts flux was kept in the first fold, by name.
    fn folders(&self) -> Vec<(String, PathBuf)> {
        let generative = self.config.models.iter().filter(|(_, model)| model.predicts_flux());
        let folder = |name: &String| ModelPlace::new(self.place.folder, name, 1, self.n_folds).model;
        generative.map(|(name, _)| (name.clone(), folder(name))).collect()
    }
}
