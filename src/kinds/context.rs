//! What training a model and labelling stars by it take, whatever its kind.

use ndarray::Array2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::Compute;
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::inference::fit_quality::BadFitSettings;
use crate::inference::sampling::PosteriorSettings;
use crate::inference::shown_fits::ShownFits;
use crate::models::misfit::Misfit;
use crate::models::{LabelEstimates, LabelEstimator, Wanted};
use crate::progress::Progress;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::continuum::ContinuumSettings;
use crate::spectra::noise::Conditions;
use crate::spectra::pixmask::PixmaskSettings;
use crate::spectra::prepared::PreparedSet;
use crate::spectra::quality::star_flags;
use crate::spectra::split::{Fold, Split};
use crate::training::checkpoint::Preparation;
use crate::training::tensorboard::TensorBoardSettings;

/// Which stars tell how far a network's errors can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOutByNetworks {
    /// The members of the ensemble, each its own validation stars, at no cost. A member errs more than the mean of all; by how
    /// much follows from how far members are from each other (Krogh & Vedelsby 1995).
    Members,
    /// Whole ensembles trained on the other parts, like every other model; takes `folds` times as long.
    Folds,
}

/// `[calibration]`: how the training stars of each fold are held out in turn, to tell how far errors can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationSettings {
    /// Parts of the training stars, each estimated by a model trained on the others; 0 for no calibration.
    #[schemars(range(max = 1000))]
    pub folds: usize,
    /// Where the held-out stars of networks come from.
    pub networks: HeldOutByNetworks,
}

impl Default for CalibrationSettings {
    fn default() -> Self {
        Self { folds: 3, networks: HeldOutByNetworks::Members }
    }
}

/// The settings of an experiment that hold for all its models.
#[derive(Debug, Clone, Default)]
pub struct SharedSettings {
    /// Seed of every random draw.
    pub seed: u64,
    /// How spectra were masked.
    pub pixmask: PixmaskSettings,
    /// How they were normalized.
    pub continuum: ContinuumSettings,
    /// How labels are fitted.
    pub fit: FitSettings,
    /// Posteriors of all test stars, for models with a likelihood.
    pub posterior: Option<PosteriorSettings>,
    /// How errors are held against stars that trained.
    pub calibration: CalibrationSettings,
    /// When a star counts as one that a model does not describe.
    pub bad_fit: BadFitSettings,
    /// What TensorBoard is told.
    pub tensorboard: TensorBoardSettings,
}

/// The stars of an experiment, and what works on them.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The stars.
    pub set: &'a PreparedSet,
    /// Settings of all models.
    pub settings: &'a SharedSettings,
    /// What computes.
    pub compute: &'a Compute,
    /// Who is told.
    pub progress: &'a dyn Progress,
}

impl Context<'_> {
    /// How the spectra were prepared, for those who are to be treated alike.
    pub fn preparation(&self) -> Preparation {
        let set = self.set;
        Preparation {
            grid: set.grid.clone(),
            pixmask: self.settings.pixmask.clone(),
            continuum: self.settings.continuum.clone(),
            continuum_pixels: (0..set.n_pixels()).filter(|pixel| set.continuum_pixels[*pixel]).collect(),
            gaps: set.gaps(),
        }
    }

    /// The rows, of these, that have all their labels and some data.
    pub fn trainable(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().copied().filter(|row| self.set.can_train(*row)).collect()
    }

    /// The rows, of these, that have some of their labels and some data.
    pub fn labelled(&self, rows: &[usize]) -> Vec<usize> {
        let has_some = |row: &usize| self.set.labels.row(*row).iter().any(|label| label.is_finite());
        self.with_data(rows).into_iter().filter(has_some).collect()
    }

    /// The rows, of these, that have some data.
    pub fn with_data(&self, rows: &[usize]) -> Vec<usize> {
        rows.iter().copied().filter(|row| self.set.flags(*row) & star_flags::NO_DATA == 0).collect()
    }

    /// Labels of some rows.
    ///
    /// # Errors
    /// Those of the model.
    pub fn label(&self, task: &str, rows: &[usize], estimator: &dyn LabelEstimator) -> Result<LabelEstimates> {
        Ok(self.estimate(task, rows, estimator, Wanted::default(), None)?.0)
    }

    /// Labels of some rows, and how well the model describes their spectra.
    ///
    /// # Errors
    /// Those of the model.
    pub fn examine(
        &self,
        task: &str,
        rows: &[usize],
        estimator: &dyn LabelEstimator,
    ) -> Result<(LabelEstimates, Misfit)> {
        self.estimate(task, rows, estimator, Wanted { misfit: true, ..Wanted::default() }, None)
    }

    /// The same, the best fits kept for a page that shows them.
    ///
    /// # Errors
    /// Those of the model.
    pub fn examine_and_show(
        &self,
        task: &str,
        rows: &[usize],
        estimator: &dyn LabelEstimator,
        shown: &mut ShownFits,
    ) -> Result<(LabelEstimates, Misfit)> {
        self.estimate(task, rows, estimator, Wanted { misfit: true, best_fit: true }, Some(shown))
    }

    fn estimate(
        &self,
        task: &str,
        rows: &[usize],
        estimator: &dyn LabelEstimator,
        wanted: Wanted,
        mut shown: Option<&mut ShownFits>,
    ) -> Result<(LabelEstimates, Misfit)> {
        let (mut estimates, mut misfit) = (LabelEstimates::empty(estimator.n_labels()), Misfit::none(0));
        self.progress.start(task, rows.len());
        let estimated = self.in_batches(rows, |batch| {
            let found = estimator.estimate(batch, wanted)?;
            if let Some(shown) = &mut shown {
                shown.add(&found, &batch.ivar);
            }
            estimates.append(found.labels);
            misfit.append(found.misfit);
            self.progress.advance(batch.n_stars());
            Ok(())
        });
        self.progress.finish();
        estimated.map(|()| (estimates, misfit))
    }

    /// Does some work on the spectra of some rows, as many at a time as a fit has.
    ///
    /// # Errors
    /// Those of reading and of the work.
    pub fn in_batches(&self, rows: &[usize], mut work: impl FnMut(&SpectraBatch) -> Result<()>) -> Result<()> {
        for rows in rows.chunks(self.settings.fit.batch_stars) {
            let (flux, ivar) = self.set.spectra.of(rows)?;
            work(&SpectraBatch::new(flux.view(), ivar.view(), self.compute))?;
        }
        Ok(())
    }

    /// Flux and inverse variance of some rows, [n_rows, n_pixels] each, for what learns from all of them at once.
    ///
    /// # Errors
    /// [`Error::Config`] where training would take more memory than is allowed; those of reading.
    pub fn whole(&self, rows: &[usize]) -> Result<(Array2<f32>, Array2<f32>)> {
        let fits = self.compute.memory().check_whole(rows.len(), self.set.n_pixels());
        fits.map_err(|problem| Error::Config(format!("a model {problem}")))?;
        self.set.spectra.of(rows)
    }

    /// The same, or none where they would take more memory than is allowed: they are to be read as they are needed.
    ///
    /// # Errors
    /// Those of reading.
    pub fn held(&self, rows: &[usize]) -> Result<Option<(Array2<f32>, Array2<f32>)>> {
        let fits = self.compute.memory().check_whole(rows.len(), self.set.n_pixels()).is_ok();
        fits.then(|| self.set.spectra.of(rows)).transpose()
    }

    /// How good the spectra of some rows are; a chip that no star has is no loss.
    ///
    /// # Errors
    /// Those of reading.
    pub fn conditions(&self, rows: &[usize]) -> Result<Vec<Conditions>> {
        let nobody_has = self.set.chips_without_data();
        let known = self.set.spectra.conditions(&self.set.grid.chips)?;
        let own = rows.iter().map(|row| known[*row]);
        Ok(own.map(|star| Conditions { lost_chips: star.lost_chips & !nobody_has, ..star }).collect())
    }

    /// Some rows in `k` parts, each with the rows of all others to train. `seed` tells this division from others.
    pub fn parts(&self, rows: &[usize], k: usize, seed: u64) -> Vec<Fold> {
        let ids: Vec<String> = rows.iter().map(|row| self.set.ids[*row].clone()).collect();
        let of = |positions: Vec<usize>| positions.into_iter().map(|position| rows[position]).collect();
        let folds = (Split::Folds { k }).folds(&ids, self.settings.seed.wrapping_add(seed));
        folds.into_iter().map(|fold| Fold { training: of(fold.training), test: of(fold.test) }).collect()
    }
}
