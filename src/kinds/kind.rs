//! What a kind of model must be able to do.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::{CalibrationSettings, Context};
use super::place::ModelPlace;
use crate::device::Compute;
use crate::error::Result;
use crate::inference::calibration::{ErrorCalibration, HeldOut};
use crate::inference::fit::FitSettings;
use crate::inference::posteriors::Posteriors;
use crate::inference::refine::RefineSettings;
use crate::inference::sampling::Likelihood;
use crate::inference::shown_fits::ShownFits;
use crate::inference::slopes::Slopes;
use crate::memory::Memory;
use crate::models::{LabelEstimates, LabelEstimator};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::split::Fold;
use crate::timings::Timings;
use crate::training::checkpoint::{Preparation, TrainedCannon};
use crate::training::departures::Departure;
use crate::training::emulator::EmulatorConfig;
use crate::training::label_regression::MemberReport;
use crate::training::nuisance_choice::NuisanceChoice;
use ndarray::Array2;

/// A model of an experiment before it has learned: its settings, `[models.NAME.<kind>]`.
pub trait Model: Debug + Send + Sync + erased_serde::Serialize {
    /// Whether the settings make sense, as far as can be told without stars.
    ///
    /// # Errors
    /// The dotted key of the first that does not, and what is wrong with it.
    fn check(&self, _subject: &Subject) -> Result<(), (String, String)> {
        Ok(())
    }

    /// Whether a model of so many training stars fits its spectra, whose grid the subject now has, and the memory of a computer.
    ///
    /// # Errors
    /// As [`Model::check`].
    fn check_size(&self, _subject: &Subject, _n_training: usize) -> Result<(), (String, String)> {
        Ok(())
    }

    /// Trains on a fold's training stars and labels its test stars: most kinds train, and hand over to
    /// [`label_test_stars`](super::fold::label_test_stars).
    ///
    /// Whatever is chosen is chosen by training stars, and no label of a test star is seen.
    ///
    /// # Errors
    /// [`crate::error::Error::TooFewStars`]; errors of training, fitting and writing.
    fn train_and_label(&self, job: &Job, timings: &mut Timings) -> Result<FoldResult>;

    /// The models of the experiment that it is made of; they are trained before it.
    fn made_of(&self) -> &[String] {
        &[]
    }

    /// The fewest stars with all their labels that can teach it.
    fn fewest_stars(&self, _subject: &Subject) -> usize {
        2
    }

    /// Whether its errors are calibrated by models trained on parts of its training stars.
    fn trains_on_parts(&self, _calibration: &CalibrationSettings) -> bool {
        true
    }

    /// Whether its best fit is a spectrum.
    fn predicts_flux(&self) -> bool {
        false
    }

    /// The order of the polynomial of the labels alone that its flux is, where it is one: what the lab and the search for outliers
    /// look into.
    fn flux_order(&self) -> Option<usize> {
        None
    }

    /// Its settings where it is an emulator, which learns from a library of model spectra in place of stars.
    fn emulator(&self) -> Option<&EmulatorConfig> {
        None
    }
}

/// A kind of model: the type of its settings, whose doc comments explain them to people, its name, and how it comes back from a folder.
pub trait Kind: Model + Serialize + DeserializeOwned + JsonSchema + 'static {
    /// Its key in TOML, and `kind` in `model.json`.
    const NAME: &'static str;

    /// Reads a folder that [`Trained::save`] wrote.
    ///
    /// # Errors
    /// [`crate::error::Error::Checkpoint`].
    fn load(folder: &ModelFolder) -> Result<Loaded>;
}

/// A trained model.
pub trait Trained {
    /// Stars that taught it.
    fn n_train(&self) -> usize;

    /// Free parameters; none of a kind that fits none.
    fn n_parameters(&self) -> usize {
        0
    }

    /// How training went, for `metrics.json`.
    fn report(&self) -> Training {
        Training::new(Untold { n_stars: self.n_train() })
    }

    /// What labels spectra by it.
    fn estimator(&self, context: &Context) -> Box<dyn LabelEstimator>;

    /// The same model, what it chose among its settings included, trained on the fold of another job.
    ///
    /// # Errors
    /// As [`Model::train_and_label`].
    fn again(&self, job: &Job) -> Result<Box<dyn Trained>>;

    /// Writes it into a folder, `model.json` last.
    ///
    /// # Errors
    /// [`crate::error::Error::Io`], [`crate::error::Error::Checkpoint`].
    fn save(&self, folder: &Path) -> Result<()>;

    /// How stars are told that are unlike those that taught it.
    fn tells_strangers(&self) -> Strangers<'_>;

    /// Estimates of training stars that cost less than training again on parts of them; none for a model that has none.
    ///
    /// # Errors
    /// Those of estimating.
    fn unseen(&self, _job: &Job, _estimator: &dyn LabelEstimator) -> Result<Unseen> {
        Ok(Unseen::ByParts)
    }

    /// What its posteriors are drawn from, and the labels of the stars that taught it, [n_stars, n_labels]; none where it has no
    /// likelihood.
    fn likelihood(&self, _context: &Context) -> Option<(Box<dyn Likelihood>, &Array2<f64>)> {
        None
    }

    /// The polynomial of labels alone that its flux is, where it is one ([`Model::flux_order`]).
    fn flux_model(&self) -> Option<&TrainedCannon> {
        None
    }

    /// The Cannon it is, with all that it learned beside its labels; none where it is none.
    fn cannon(&self) -> Option<&TrainedCannon> {
        self.flux_model()
    }

    /// Spectra of what stars differ in beside their labels, `[n_pixels]` each; none where it learned none.
    fn latent_spectra(&self) -> Vec<Vec<f64>> {
        Vec::new()
    }

    /// What the survey's stars changed of the physics it started from; nothing where it started from none, or was taught nothing.
    fn departures(&self) -> Vec<Departure> {
        Vec::new()
    }

    /// Whether its estimates are to follow their labels in full, as held-out stars tell.
    fn corrects_slopes(&self) -> bool {
        false
    }

    /// Whether it is trained so quickly that it can be trained again for a side question.
    fn trains_quickly(&self) -> bool {
        false
    }
}

/// How stars are told that a model has nothing to say of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strangers<'a> {
    /// By its best fit, which its estimator examines.
    ByFit,
    /// By how unlike the spectra of these rows, which taught it, theirs are.
    BySpectra(&'a [usize]),
}

/// Where estimates of training stars by models that had not seen them come from.
pub enum Unseen {
    /// From models trained on parts of the others.
    ByParts,
    /// From the model itself.
    Known(Box<KnownUnseen>),
    /// From nowhere.
    Nothing,
}

/// Estimates that a model has of training stars as if it had not seen them.
pub struct KnownUnseen {
    /// The stars.
    pub rows: Vec<usize>,
    /// Their estimates, in this order.
    pub estimates: LabelEstimates,
    /// By how much the variance of these exceeds that of the whole model's, [n_rows, n_labels]; none where it does not.
    pub excess: Option<Array2<f64>>,
}

/// How training went: plain data for `metrics.json`, and what only some kinds can tell.
pub trait TrainingReport: Debug + Send + Sync + erased_serde::Serialize {
    /// Curves of the networks that were trained by descent.
    fn members(&self) -> &[MemberReport] {
        &[]
    }

    /// How the number of nuisance spectra was chosen.
    fn nuisance_choice(&self) -> Option<&NuisanceChoice> {
        None
    }

    /// Pixels that carry information, where that is known.
    fn n_valid_pixels(&self) -> Option<usize> {
        None
    }
}

/// Of a kind that has nothing more to tell.
#[derive(Debug, Serialize)]
struct Untold {
    n_stars: usize,
}

impl TrainingReport for Untold {}

/// How training went, whatever the kind.
#[derive(Debug, Clone)]
pub struct Training(Arc<dyn TrainingReport>);

impl Training {
    /// Of a report.
    pub fn new(report: impl TrainingReport + 'static) -> Self {
        Self(Arc::new(report))
    }
}

impl std::ops::Deref for Training {
    type Target = dyn TrainingReport;

    fn deref(&self) -> &(dyn TrainingReport + 'static) {
        &*self.0
    }
}

impl Serialize for Training {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        erased_serde::serialize(&*self.0, serializer)
    }
}

/// An experiment as its models are checked against.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The model's own key, `models.NAME.<kind>`.
    pub key: &'a str,
    /// Labels to learn.
    pub labels: &'a [String],
    /// The grid of the spectra; none where only the data will tell.
    pub grid: Option<&'a WavelengthGrid>,
    /// Names of all models of the experiment, each with the models it is made of.
    pub models: &'a BTreeMap<&'a str, &'a [String]>,
    /// How errors are calibrated.
    pub calibration: CalibrationSettings,
    /// Memory that may be taken.
    pub memory: Memory,
}

impl Subject<'_> {
    /// Whether memory is allowed for what training keeps of every star beside its spectrum, which `fewer` of something would lessen.
    ///
    /// # Errors
    /// As [`Model::check`].
    pub fn check_kept(&self, n_training: usize, bytes: usize, fewer: &str) -> Result<(), (String, String)> {
        self.memory.check_kept(n_training, bytes, fewer).map_err(|problem| (self.key.into(), problem))
    }

    /// Whether a model's estimates can be made to follow their labels, where it asks for it.
    ///
    /// # Errors
    /// As [`Model::check`].
    pub fn check_slopes(&self, correct_slopes: bool) -> Result<(), (String, String)> {
        if correct_slopes && self.calibration.folds == 0 {
            let problem = "must be at least 2 with correct_slopes: it is stars held out that tell the slopes";
            return Err(("calibration.folds".into(), problem.into()));
        }
        Ok(())
    }

    /// A problem with one of the model's own settings.
    pub fn problem(&self, field: &str, problem: impl Into<String>) -> (String, String) {
        (format!("{}.{field}", self.key), problem.into())
    }
}

/// The training of a model on a fold.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The model's name, for what is said of it.
    pub name: &'a str,
    /// The stars, and what works on them.
    pub context: Context<'a>,
    /// Who trains and who tests.
    pub fold: &'a Fold,
    /// What the models trained before it made of the same fold.
    pub earlier: &'a BTreeMap<String, FoldResult>,
    /// Where it keeps what it makes; none where nothing is kept.
    pub place: Option<&'a ModelPlace>,
}

impl<'a> Job<'a> {
    /// The same on other stars, of which nothing is kept.
    pub fn on(&self, fold: &'a Fold) -> Self {
        Self { fold, place: None, ..*self }
    }
}

/// What a model made of a fold.
pub struct FoldResult {
    /// The trained model; none where it is made of others, and once it has been looked into.
    pub model: Option<Box<dyn Trained>>,
    /// Stars that trained it.
    pub n_train: usize,
    /// Free parameters of the model.
    pub n_parameters: usize,
    /// How training went.
    pub training: Training,
    /// Estimates for the fold's test rows, in their order.
    pub estimates: LabelEstimates,
    /// Their best fits, in their order, for a page that shows them; none of a model that predicts no flux.
    pub shown_fits: Option<ShownFits>,
    /// Posteriors of the fold's test rows, in their order, where they are asked for and the model has a likelihood.
    pub posteriors: Option<Posteriors>,
    /// Estimates of training stars by models that had not seen them; none where there are too few stars for that.
    pub held_out: Option<HeldOut>,
    /// The models those are of, where each was trained without a part of the training stars and quickly.
    pub parts: Vec<Part>,
    /// How estimates followed their labels before they were made to follow them in full; none where nobody asked for it.
    pub slopes: Option<Slopes>,
    /// What those say about the model's errors, and the errors of the test stars by it.
    pub calibrated: Option<Calibrated>,
    /// Held-out stars that told which fits are usual; 0 where `BAD_FIT` had to be told without.
    pub n_usual: usize,
}

/// A model that was trained without a part of the training stars.
pub struct Part {
    /// Those that trained it, and as test stars that part, as rows of the set.
    pub stars: Fold,
    /// The model.
    pub trained: Box<dyn Trained>,
}

/// A calibration and the errors it gives.
#[derive(Debug, Clone)]
pub struct Calibrated {
    /// The calibration.
    pub calibration: ErrorCalibration,
    /// Calibrated errors of the fold's test rows, [n_test, n_labels].
    pub errors: Array2<f64>,
    /// Errors of the catalogue's labels of these, as far as they are believed, [n_test, n_labels].
    pub catalogue_errors: Array2<f64>,
}

/// A model's folder, and what is needed to make use of what is in it.
#[derive(Clone, Copy)]
pub struct ModelFolder<'a> {
    /// The folder.
    pub path: &'a Path,
    /// How labels are fitted.
    pub fit: &'a FitSettings,
    /// How emulators are fitted.
    pub refine: &'a RefineSettings,
    /// What computes.
    pub compute: &'a Compute,
    /// Reads a folder of any kind.
    pub load: fn(&ModelFolder) -> Result<Loaded>,
}

/// A model from a folder.
pub struct Loaded {
    /// What labels spectra by it, and flags those that it does not know.
    pub estimator: Box<dyn LabelEstimator>,
    /// How it wants spectra prepared.
    pub preparation: Preparation,
    /// Names of its labels.
    pub label_names: Vec<String>,
    /// What its posteriors are drawn from, where it has a likelihood.
    pub posterior: Option<LoadedPosterior>,
    /// Every file that its labels depend on; those of its own folder are added by who asked for it.
    pub files: Vec<PathBuf>,
    /// Whether its estimates are made to follow their labels in full: the folder then says how.
    pub corrects_slopes: bool,
}

impl Loaded {
    /// A model without a likelihood.
    pub fn new(estimator: Box<dyn LabelEstimator>, preparation: Preparation, label_names: Vec<String>) -> Self {
        Self { estimator, preparation, label_names, posterior: None, files: Vec::new(), corrects_slopes: false }
    }
}

/// What the posteriors of a model from a folder are drawn from.
pub struct LoadedPosterior {
    /// chi^2, priors and samplers.
    pub likelihood: Box<dyn Likelihood>,
    /// Labels of the stars that taught it, [n_stars, n_labels].
    pub training_labels: Array2<f64>,
    /// What the model itself assumes beside the priors, in words.
    pub words: Option<&'static str>,
}
