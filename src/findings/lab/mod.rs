//! What the classic lab asks of a run beside its comparison: named stars, the model from inside, sequences, isochrones, a mystery.
//!
//! [`Lab::look`] does all that needs a fold's spectra and its Cannon, [`Lab::finish`] what needs the estimates of all stars.
//! Numbers are serialised with the run's metrics; [`Pictures`] is what figures are drawn from.

mod distinction;
pub(in crate::findings) mod gradients;
mod kiel;
mod likelihood;
mod molecules;
mod mystery;
mod scatter;
mod sequences;
pub mod settings;
mod stars;
pub mod subject;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ndarray::ArrayView1;
use serde::Serialize;

use self::subject::Subject;

pub use distinction::Distinction;
pub use gradients::{GradientSpectrum, Gradients};
pub use kiel::{IsochroneAgreement, Kiel, KielDiagram, MetallicityTrend};
pub use likelihood::PixelLikelihood;
pub use molecules::NamedFeature;
pub use mystery::{Mystery, MysteryPosterior, NamedPosterior};
pub use scatter::Scatter;
pub use sequences::{LineChanges, Sequence, SequenceSpectra, Sequences};
pub use settings::LabSettings;
pub use stars::{FittedSpectra, FittedStar, LookAlikePair, ShownStar, ShownVisit};

use super::predictions::Predictions;
use crate::data::spectrum_file::{self, Part};
use crate::error::Result;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::sun_like_logg;
use crate::spectra::stored::SpectraOf;
use crate::stars::star::StarSpectrum;
use crate::stats::robust::quantile;

/// Radii of the stars that explain a cut in log g, in solar radii: the Sun, a giant of the red clump, a bright giant.
const RADII_RSUN: [f64; 3] = [1.0, 15.0, 100.0];

/// Surface gravity of a star of one solar mass.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gravity {
    /// Its radius in solar radii.
    pub radius_rsun: f64,
    /// log g, cgs.
    pub logg: f64,
    /// Whether the experiment's cut in log g keeps it; none where there is no such cut.
    pub is_kept: Option<bool>,
}

/// How a label is spread among the selected stars, in its unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LabelRange {
    /// Stars that have it.
    pub n_stars: usize,
    /// Smallest.
    pub min: f64,
    /// 5%, 50% and 95% of the stars lie below.
    pub q05: f64,
    /// The median.
    pub q50: f64,
    /// See `q05`.
    pub q95: f64,
    /// Largest.
    pub max: f64,
}

/// How a label is scaled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scaling {
    /// Taken off the label.
    pub pivot: f64,
    /// What is left is divided by this.
    pub scale: f64,
}

/// The numbers of the lab, `lab` in `metrics.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Lab {
    /// The Cannon that is looked into.
    pub model: String,
    /// Its labels, terms and pixels: (terms + 1) x pixels parameters.
    pub n_labels: usize,
    /// See `n_labels`.
    pub n_terms: usize,
    /// See `n_labels`.
    pub n_pixels: usize,
    /// Pixels that at least half of the training stars have: only these are looked at for features and scatter.
    pub n_well_measured: usize,
    /// Its terms, products of the scaled labels.
    pub terms: Vec<String>,
    /// How a label enters them: its value minus `pivot`, over `scale`.
    pub scaling: BTreeMap<String, Scaling>,
    /// Stars that trained it, and were tested with it, in the fold that is shown.
    pub n_train: usize,
    /// See `n_train`.
    pub n_test: usize,
    /// What a cut in log g means.
    pub gravity: Vec<Gravity>,
    /// The labels of the selected stars.
    pub labels: BTreeMap<String, LabelRange>,
    /// A star from its raw spectrum to the normalized one.
    pub star: ShownStar,
    /// Two stars alike in their labels.
    pub look_alikes: Option<LookAlikePair>,
    /// A star beside its model.
    pub fitted_star: FittedStar,
    /// How flux answers to each label.
    pub gradients: Gradients,
    /// The likelihood at single pixels; none of a model whose training chose among stars or labels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub likelihood: Vec<PixelLikelihood>,
    /// Where stars scatter about the model.
    pub scatter: Scatter,
    /// Spectra along the labels.
    pub sequences: Sequences,
    /// Whether spectra tell a cool giant of low gravity from a warmer one with more metals.
    pub distinction: Option<Distinction>,
    /// The stars beside isochrones.
    pub kiel: Option<Kiel>,
    /// The star whose labels nobody told.
    pub mystery: Option<Mystery>,
    /// What figures are drawn from.
    #[serde(skip)]
    pub pictures: Pictures,
}

/// Plain data of the lab's figures.
#[derive(Debug, Clone)]
pub struct Pictures {
    /// The grid of all spectra.
    pub grid: WavelengthGrid,
    /// Names of the labels.
    pub label_names: Vec<String>,
    /// Labels of the selected stars that have them all, `[n_stars][n_labels]`.
    pub labels: Vec<Vec<f64>>,
    /// The star of [`Lab::star`].
    pub star: StarSpectrum,
    /// The look-alikes.
    pub look_alikes: Option<[stars::Observed; 2]>,
    /// The star of [`Lab::fitted_star`] and its model.
    pub fitted_star: (stars::Observed, FittedSpectra),
    /// One for each label.
    pub gradients: Vec<GradientSpectrum>,
    /// The scatter s of the model, `[n_pixels]`; NaN where fewer than half of the training stars have the pixel.
    pub scatter: Vec<f64>,
    /// The window of spectra of single stars, vacuum Angstrom.
    pub window: (f64, f64),
    /// The window of sequences, vacuum Angstrom.
    pub sequence_window: (f64, f64),
    /// Model spectra along [Fe/H].
    pub metallicity: SequenceSpectra,
    /// Model spectra along the giant branch.
    pub giant_branch: SequenceSpectra,
    /// The Kiel diagram.
    pub kiel: Option<KielDiagram>,
    /// Posteriors of the mystery, by model.
    pub mystery: Vec<NamedPosterior>,
}

impl Lab {
    /// Looks into the first fold of a run; `models` tells where each model that predicts flux was kept.
    ///
    /// # Errors
    /// Errors of reading, fitting and sampling; [`crate::error::Error::TooFewStars`] where no star can be shown.
    pub fn look(subject: &Subject, models: &[(String, PathBuf)]) -> Result<Self> {
        let Subject { source, stars: taken, context, fold, result, cannon, settings } = subject;
        let set = context.set;
        let scaler = &cannon.scaler;
        let well_measured = well_measured(subject)?;
        let complete: Vec<Vec<f64>> =
            source.stars.labels.iter().filter(|row| row.iter().all(|label| label.is_finite())).cloned().collect();
        let column = |k: usize| -> Vec<f64> {
            source.stars.labels.iter().map(|row| row[k]).filter(|label| label.is_finite()).collect()
        };
        let labels = set.label_names.iter().enumerate().map(|(k, name)| (name.clone(), range(&column(k)))).collect();
        let cut = taken.selection.ranges.get("logg");
        let gravity = RADII_RSUN.map(|radius_rsun| {
            let logg = sun_like_logg(radius_rsun);
            Gravity { radius_rsun, logg, is_kept: cut.map(|range| range.holds(logg)) }
        });
        let scalings =
            scaler.pivot.iter().zip(&scaler.scale).map(|(pivot, scale)| Scaling { pivot: *pivot, scale: *scale });
        let (star, star_spectrum) = stars::shown(subject)?;
        let look_alikes = stars::look_alikes(subject)?;
        let s = scatter::of_model(cannon, &cannon.cannon.valid_pixels());
        let (fitted_star, observed, spectra) = stars::fitted(subject, &s)?;
        let (gradients, gradient_spectra) = gradients::find(subject, &well_measured)?;
        let likelihood = likelihood::of_pixels(subject, &s, &well_measured, &gradient_spectra)?;
        let (sequences, metallicity, giant_branch) = sequences::make(subject)?;
        let (mystery, posteriors) = mystery::sample(subject, models)?;
        Ok(Self {
            model: settings.model.clone(),
            n_labels: scaler.n_labels(),
            n_terms: cannon.cannon.vectorizer().n_terms(),
            n_pixels: cannon.cannon.n_pixels(),
            terms: cannon.cannon.vectorizer().term_names(&scaler.names),
            scaling: scaler.names.iter().cloned().zip(scalings).collect(),
            n_train: result.n_train,
            n_test: fold.test.len(),
            gravity: gravity.to_vec(),
            labels,
            star,
            look_alikes: look_alikes.as_ref().map(|(pair, _)| pair.clone()),
            fitted_star,
            gradients,
            n_well_measured: well_measured.iter().filter(|is| **is).count(),
            scatter: scatter::find(subject, &s, &well_measured)?,
            sequences,
            likelihood,
            distinction: distinction::find(subject, &well_measured)?,
            kiel: None,
            mystery,
            pictures: Pictures {
                grid: set.grid.clone(),
                label_names: set.label_names.clone(),
                labels: complete,
                star: star_spectrum,
                look_alikes: look_alikes.map(|(_, observed)| observed),
                fitted_star: (observed, spectra),
                gradients: gradient_spectra,
                scatter: s.iter().zip(&well_measured).map(|(s, is)| if *is { *s } else { f64::NAN }).collect(),
                window: settings.window,
                sequence_window: settings.sequence_window,
                metallicity,
                giant_branch,
                kiel: None,
                mystery: posteriors,
            },
        })
    }

    /// Sets its model's estimates of all test stars beside isochrones.
    ///
    /// # Errors
    /// Errors of reading isochrones.
    pub fn finish(&mut self, predictions: &Predictions, settings: &LabSettings) -> Result<()> {
        let (kiel, diagram) = kiel::compare(predictions, settings)?;
        self.kiel = Some(kiel);
        self.pictures.kiel = Some(diagram);
        Ok(())
    }
}

/// The pixels that at least half of the training stars have, of those that the model knows. At the ends of the chips, which
/// move with the stars' velocities, few stars say what a model should believe.
fn well_measured(subject: &Subject) -> Result<Vec<bool>> {
    let set = subject.context.set;
    let training: Vec<usize> = subject.fold.training.iter().copied().filter(|star| set.can_train(*star)).collect();
    let training = SpectraOf::Rows(&set.spectra, &training);
    let count =
        |_: ArrayView1<f32>, ivar: ArrayView1<f32>| 2 * ivar.iter().filter(|ivar| **ivar > 0.0).count() >= ivar.len();
    let has_half = training.of_pixels(subject.context.compute.memory(), count)?;
    Ok(subject
        .cannon
        .cannon
        .valid_pixels()
        .into_iter()
        .zip(has_half)
        .map(|(valid, has_half)| valid && has_half)
        .collect())
}

fn range(values: &[f64]) -> LabelRange {
    let [min, q05, q50, q95, max] = [0.0, 0.05, 0.5, 0.95, 1.0].map(|q| quantile(values, q));
    LabelRange { n_stars: values.len(), min, q05, q50, q95, max }
}

/// Whether the files that the lab needs at the end of a run can be read, before the run begins.
///
/// # Errors
/// Errors of reading isochrones and the mystery.
pub fn check_files(settings: &LabSettings, mystery: Option<&Path>) -> Result<()> {
    kiel::check(settings)?;
    mystery.map_or(Ok(()), |path| spectrum_file::read(path, &Part::default()).map(|_| ()))
}
