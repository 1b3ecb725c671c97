//! How a Cannon, plain, correlated or anchored, is trained on the stars of a fold.

use std::collections::BTreeMap;

use ndarray::{Array1, Array2, ArrayView2, Axis, aview1, concatenate, s};

use super::context::Context;
use super::kind::Job;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::spectra::labels::LabelScaler;
use crate::spectra::stored::SpectraOf;
use crate::training::anchor::Anchor;
use crate::training::anchored;
use crate::training::cannon_config::{AnchorSettings, CannonConfig, CannonTraining};
use crate::training::cannon_descent::{self, CannonStars};
use crate::training::checkpoint::{Preparation, TrainedCannon};
use crate::training::closed_form::{self, TrainingReport};
use crate::training::label_choice::{LabelChoice, LabelUse};
use crate::training::label_trial::{CatalogueLabels, Learner, plain, try_labels};
use crate::training::latent::{self, LatentStars};
use crate::training::line_windows::LineWindows;
use crate::training::term_layout::TermLayout;
use crate::training::term_rank::undetermined_labels;

/// With fewer stars a zero point is known to no better than a third of a star's own error.
const FEWEST_FOR_AN_ANCHOR: usize = 10;
/// Model spectra of an anchor's library whose labels are kept with the model: as many as starts of a fit are chosen from.
const MODELS_SHOWN: usize = 400;

/// What is to be feared where training stars are few for the coefficients of a pixel, and whether gravely. Quadratics bear fewer stars
/// than cubics, whose ends swing.
fn few_stars(n_stars: usize, n_terms: usize, order: usize) -> Option<(bool, &'static str)> {
    if (n_terms + 1..2 * n_terms).contains(&n_stars) {
        let grave = "hardly determine them: labels will have several minima; lower the order, or give more stars";
        return Some((true, grave));
    }
    let are_few = order > 2 && (2 * n_terms..10 * n_terms).contains(&n_stars);
    are_few.then_some((
        false,
        "are few: with less than some ten times as many a lower order is often better; compare both",
    ))
}

/// What physics says of the fold's training stars, where the model is to know it.
pub(super) fn anchor(job: &Job, config: &CannonConfig) -> Result<Option<Anchor>> {
    let Some(settings) = &config.anchor else { return Ok(None) };
    let Context { set, settings: shared, compute, .. } = job.context;
    let labels = set.labels.select(Axis(0), &job.context.trainable(&job.fold.training));
    let preparation = job.context.preparation();
    Ok(Some(Anchor::new(settings, &set.label_names, labels.view(), &preparation, shared.seed, compute)?))
}

/// Training stars of a fold that have some of their labels, as the catalogue has them and scaled.
struct LabelledStars {
    rows: Vec<usize>,
    scaler: LabelScaler,
    catalogue: CatalogueLabels,
}

impl LabelledStars {
    /// Scaled as the anchor's are, or else by the stars that have all labels.
    fn of(job: &Job, anchor: Option<&Anchor>) -> Result<Self> {
        let (context, set) = (&job.context, job.context.set);
        let scaler = match anchor {
            Some(anchor) => anchor.scaler.clone(),
            None => {
                let complete = context.trainable(&job.fold.training);
                LabelScaler::fit_independent(&set.label_names, set.labels.select(Axis(0), &complete).view())?
            }
        };
        let rows = context.labelled(&job.fold.training);
        let labels = scaler.scale(set.labels.select(Axis(0), &rows).view());
        let mut errors = set.label_errors.select(Axis(0), &rows);
        errors.rows_mut().into_iter().for_each(|mut row| row /= &aview1(&scaler.scale));
        Ok(Self { rows, scaler, catalogue: CatalogueLabels { labels, errors } })
    }

    /// Those of them that teach where labels are used in some way.
    fn taught_by(self, labels: LabelUse) -> Self {
        let teachers = self.catalogue.teachers(labels);
        let rows = teachers.iter().map(|teacher| self.rows[*teacher]).collect();
        Self { rows, catalogue: self.catalogue.select(&teachers), ..self }
    }

    /// Names of those that training did without in the end.
    fn left_out(&self, job: &Job, kept: &[bool]) -> Vec<String> {
        let out = self.rows.iter().zip(kept).filter(|(_, kept)| !**kept);
        out.map(|(row, _)| job.context.set.ids[*row].clone()).collect()
    }

    /// The labels of those among them that have all, in the catalogue's units, and their places.
    fn complete(&self, job: &Job, kept: &[bool]) -> (Array2<f64>, Vec<usize>) {
        let set = job.context.set;
        let places: Vec<usize> = (0..self.rows.len()).filter(|n| kept[*n] && set.can_train(self.rows[*n])).collect();
        let rows: Vec<usize> = places.iter().map(|place| self.rows[*place]).collect();
        (set.labels.select(Axis(0), &rows), places)
    }
}

/// How the labels of a fold's training stars are to be used by a Cannon of settled settings, and how that was chosen, where there was a
/// choice.
///
/// # Errors
/// Those of training.
pub(super) fn settle_labels(
    job: &Job,
    config: &CannonConfig,
    anchor: Option<&Anchor>,
) -> Result<(LabelUse, Option<LabelChoice>)> {
    let first = if config.anchor.is_some() { LabelUse::Errors } else { LabelUse::AtTheirWord };
    let (context, training) = (&job.context, &job.fold.training);
    let n_partial = context.labelled(training).len() - context.trainable(training).len();
    let is_closed = config.training == CannonTraining::ClosedForm && config.acts_everywhere();
    let is_partial = n_partial > 0 && config.partial_labels && is_closed;
    if n_partial > 0 && config.partial_labels && !is_closed {
        tracing::info!(
            "{}: {n_partial} training stars that lack a label are left out; Cannons in closed form without windows can use them",
            job.name
        );
    }
    let has_errors = config.label_errors && is_closed && anchor.is_none();
    if !is_partial && !has_errors {
        return Ok((first, None));
    }
    let stars = LabelledStars::of(job, anchor)?;
    let mut candidates = vec![first];
    let partial = if anchor.is_some() { LabelUse::PartialErrors } else { LabelUse::Partial };
    candidates.extend(is_partial.then_some(partial));
    if has_errors {
        candidates.extend((stars.catalogue.n_doubtful() > 0).then_some(LabelUse::WithoutDoubtful));
        candidates.push(LabelUse::Errors);
        candidates.extend(is_partial.then_some(LabelUse::PartialErrors));
    }
    let Context { set, compute, .. } = job.context;
    let vectorizer = config.vectorizer(&set.label_names, 0);
    let learner = match (&config.anchor, anchor) {
        (Some(settings), Some(anchor)) => Learner::Anchored(settings, anchor),
        _ => Learner::Cannon(config, &vectorizer),
    };
    let choice =
        try_labels(&stars.catalogue, &candidates, SpectraOf::Rows(&set.spectra, &stars.rows), &learner, compute)?;
    match &choice {
        Some(choice) => tracing::info!("{}: {}", job.name, choice.words()),
        None => tracing::warn!(
            "{}: too few training stars have all their labels to tell whether uncertain and partial ones help; none are used",
            job.name
        ),
    }
    Ok((choice.as_ref().map_or(first, |choice| choice.chosen), choice))
}

/// A Cannon of a fold's training stars from an anchor on.
pub(super) fn train_anchored(
    job: &Job,
    settings: &AnchorSettings,
    anchor: &Anchor,
    labels: LabelUse,
) -> Result<(TrainedCannon, TrainingReport)> {
    let Context { set, compute, progress, .. } = job.context;
    let stars = LabelledStars::of(job, Some(anchor))?.taught_by(labels);
    let believed = stars.catalogue.believed(labels);
    if stars.rows.len() < FEWEST_FOR_AN_ANCHOR && job.place.is_some() {
        tracing::warn!(
            "{}: {} training stars hardly tell how far the survey is from physics, nor their own zero points; give {} and more",
            job.name,
            stars.rows.len(),
            FEWEST_FOR_AN_ANCHOR
        );
    }
    let mut trained = anchored::train(settings, anchor, &believed, (&set.spectra, &stars.rows), compute, progress)?;
    trained.report.left_out = stars.left_out(job, &trained.kept);
    let (training_labels, kept) = stars.complete(job, &trained.kept);
    let (scaler, above) = on_zero_points(stars.scaler, &trained.zero_points);
    // Where the model holds, the library tells as well as the stars.
    let shown = || s![..anchor.labels.nrows().min(MODELS_SHOWN), ..];
    let of_library = &anchor.labels.slice(shown()) - &above;
    let model = TrainedCannon {
        cannon: trained.cannon,
        scaler,
        preparation: job.context.preparation(),
        training_labels: concatenate![Axis(0), training_labels, of_library],
        latent_labels: concatenate![
            Axis(0),
            trained.latent_labels.select(Axis(0), &kept),
            anchor.hidden.slice(shown())
        ],
    };
    Ok((model, trained.report))
}

/// A scaler that gives labels on the catalogue's zero points, and by how much they were above, `[n_labels]`, in the labels' own units.
fn on_zero_points(mut scaler: LabelScaler, scaled: &[f64]) -> (LabelScaler, Array1<f64>) {
    let above: Array1<f64> = scaled.iter().zip(&scaler.scale).map(|(above, scale)| above * scale).collect();
    scaler.pivot.iter_mut().zip(&above).for_each(|(pivot, above)| *pivot -= above);
    (scaler, above)
}

/// What a Cannon is trained for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To label stars.
    Labels,
    /// To fill the masked pixels of spectra that a regression labels.
    Filling,
}

impl Purpose {
    /// Warns where stars are few for the coefficients of a pixel: of the parts of the training stars that are held out only of what is
    /// grave.
    fn warn_of_few_stars(self, job: &Job, n_stars: usize, n_terms: usize, order: usize) {
        let doubt = few_stars(n_stars, n_terms, order).filter(|(is_grave, _)| *is_grave || job.place.is_some());
        match (self, doubt) {
            (Self::Labels, Some((_, words))) => {
                tracing::warn!("{}: {n_stars} training stars for {n_terms} coefficients per pixel {words}", job.name);
            }
            (Self::Filling, Some(_)) if job.place.is_some() => tracing::warn!(
                "{}: {n_stars} training stars hardly teach the Cannon that fills its masked pixels, {n_terms} coefficients each; \
                 masked = \"mean\" does without one",
                job.name
            ),
            _ => {}
        }
    }

    /// Refuses labels with terms that follow from others in all training stars, given by their scaled labels; a Cannon that only fills has
    /// them enter linearly.
    fn expect_terms_apart(self, config: &mut CannonConfig, names: &[String], stars: ArrayView2<f64>) -> Result<()> {
        let found = undetermined_labels(&config.vectorizer(names, 0), stars);
        let found: Vec<String> = found.into_iter().map(|k| names[k].clone()).collect();
        if found.is_empty() || self == Self::Filling {
            config.linear.extend(found);
            return Ok(());
        }
        let values = |name: &String| {
            let k = names.iter().position(|known| known == name).expect("it is one of them");
            let mut values = stars.column(k).to_vec();
            values.sort_by(f64::total_cmp);
            values.dedup();
            values.len()
        };
        let of_few: Vec<String> =
            found.iter().map(|name| format!("{name} has {} different values", values(name))).collect();
        let detail = format!(
            "terms of the polynomial follow from each other in all {} training stars ({}), so that no coefficients can be told: name the              label in `linear`, lower `order`, or leave it out",
            stars.nrows(),
            of_few.join(", ")
        );
        Err(Error::Mismatch { what: format!("label {}", found.join(", ")), detail })
    }
}

/// A Cannon of a fold's training stars, plain or correlated; what physics says does not count here.
pub(super) fn train_cannon(
    job: &Job,
    config: &CannonConfig,
    labels: LabelUse,
    purpose: Purpose,
) -> Result<(TrainedCannon, TrainingReport)> {
    let Context { set, settings, compute, progress } = job.context;
    let stars = LabelledStars::of(job, None)?.taught_by(labels);
    let (complete, _) = stars.complete(job, &vec![true; stars.rows.len()]);
    let preparation = job.context.preparation();
    let (mut config, window_shares) = with_windows(config, &set.label_names, complete.view(), &preparation, compute)?;
    purpose.expect_terms_apart(&mut config, &set.label_names, stars.scaler.scale(complete.view()).view())?;
    let layout = TermLayout::new(&config, &set.label_names, &set.grid.wavelength);
    let n_terms = layout.most_terms(set.n_pixels());
    let n_complete = complete.nrows();
    purpose.warn_of_few_stars(job, n_complete, n_terms, config.order);
    // Labels that are not taken at their word are found as latent ones are.
    let to_find = (labels.is_partial() || labels.has_errors()).then(plain);
    if let Some(latent) = config.latent.clone().or(to_find) {
        let believed = stars.catalogue.believed(labels);
        let found = LatentStars { labels: believed, spectra: &set.spectra, rows: &stars.rows, barred: &[] };
        let mut trained = latent::train_terms(&config, &latent, &layout.vectorizer, found, compute, progress)?;
        trained.report.left_out = stars.left_out(job, &trained.kept);
        // Stars that were left out say nothing of where the model holds.
        let (training_labels, kept) = stars.complete(job, &trained.kept);
        let (scaler, _) = on_zero_points(stars.scaler, &trained.zero_points);
        let latent_labels = trained.latent_labels.select(Axis(0), &kept);
        let model = TrainedCannon { cannon: trained.cannon, scaler, preparation, training_labels, latent_labels };
        return Ok((model, trained.report));
    }
    let scaled = stars.catalogue.labels.view();
    let (cannon, mut report) = match &config.training {
        CannonTraining::ClosedForm => {
            let spectra = SpectraOf::Rows(&set.spectra, &stars.rows);
            closed_form::train_terms(&config, &layout, scaled, spectra, compute)?
        }
        CannonTraining::Descent(descent) => {
            let stars = CannonStars {
                label_names: &set.label_names,
                wavelength: &set.grid.wavelength,
                scaled_labels: scaled,
                scaled_label_errors: stars.catalogue.errors.view(),
                spectra: SpectraOf::Rows(&set.spectra, &stars.rows),
            };
            cannon_descent::train(&config, descent, &stars, settings.seed, compute, progress)?
        }
    };
    report.window_shares = window_shares;
    let latent_labels = Array2::zeros((n_complete, 0));
    let scaler = stars.scaler;
    Ok((TrainedCannon { cannon, scaler, preparation, training_labels: complete, latent_labels }, report))
}

/// Settings with the windows that the emulator finds for stars like these written out, and the share of the pixels inside each
/// label's; as they are where they ask for none.
fn with_windows(
    config: &CannonConfig,
    label_names: &[String],
    labels: ArrayView2<f64>,
    preparation: &Preparation,
    compute: &Compute,
) -> Result<(CannonConfig, BTreeMap<String, f64>)> {
    let Some(settings) = &config.windows else { return Ok((config.clone(), BTreeMap::new())) };
    let windows = LineWindows::new(settings, label_names, labels, preparation, compute)?;
    let shares = windows.of_labels.keys().filter_map(|label| Some((label.clone(), windows.share(label)?)));
    Ok((windows.named_in(config, &preparation.grid.wavelength), shares.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::fold::run_fold;
    use super::super::held_out::tests::set;
    use super::*;
    use crate::device::Precision;
    use crate::experiment::config::ExperimentConfig;
    use crate::memory::Memory;
    use crate::progress::Silent;
    use crate::spectra::prepared::PreparedSet;
    use crate::spectra::stored::tests::in_file;
    use crate::timings::Timings;

    #[test]
    fn spectra_in_their_file_train_every_cannon_as_those_in_memory_do() {
        let mut set = set();
        // Doubtful labels, and missing ones.
        (0..40).for_each(|star| set.label_errors[[3 * star, 0]] = 0.3);
        (0..20).for_each(|star| set.labels[[5 * star, 1]] = f64::NAN);
        let folder = tempfile::tempdir().unwrap();
        let on_disk = PreparedSet { spectra: in_file(&set.spectra, folder.path()), ..set.clone() };
        let config: ExperimentConfig = toml::from_str(
            "labels = ['a', 'b']\ncalibration.folds = 2\n[models.errors.cannon]\norder = 1\nlabel_errors = true\n\
             [models.latent.cannon]\norder = 1\nlatent = {}\n\
             [models.descent.cannon]\norder = 1\nlabel_errors = true\nblock_pixels = 8\ntraining.descent = { epochs = 5 }\n",
        )
        .unwrap();
        let settings = config.shared();
        let fold = config.split.folds(&set.ids, config.seed).remove(0);
        let usual = Compute::flex(Precision::F64);
        // Seven pixels of 120 stars at once, of the 40; the descent takes eight.
        let little = usual.clone().with_memory(Memory { bytes: 8 * 7 * 120 * 8 * 8 });
        for (name, model) in &config.models {
            let run = |set: &PreparedSet, compute: &Compute| {
                let context = Context { set, settings: &settings, compute, progress: &Silent };
                let job = Job { name, context, fold: &fold, earlier: &BTreeMap::new(), place: None };
                run_fold(&**model, &job, &mut Timings::default()).unwrap()
            };
            let (here, there) = (run(&set, &usual), run(&on_disk, &little));
            for (a, b) in here.estimates.labels.iter().zip(&there.estimates.labels) {
                assert!((a - b).abs() < 1e-6, "{name}: {a} {b}");
            }
            let errors = [here, there].map(|result| result.calibrated.unwrap().errors);
            for (a, b) in errors[0].iter().zip(&errors[1]) {
                assert!((a / b - 1.0).abs() < 1e-4, "{name}: {a} {b}");
            }
        }
    }

    #[test]
    fn few_stars_for_a_cubic_are_told_and_the_ordinary_quadratic_is_not_scolded() {
        let grave = |n_stars, n_terms, order| few_stars(n_stars, n_terms, order).map(|(is_grave, _)| is_grave);
        // The quickstart, and a fold of its calibration.
        assert_eq!((grave(200, 21, 2), grave(133, 21, 2)), (None, None));
        assert_eq!((grave(200, 56, 3), grave(559, 56, 3), grave(560, 56, 3)), (Some(false), Some(false), None));
        assert_eq!((grave(111, 56, 3), grave(112, 56, 3), grave(30, 21, 2)), (Some(true), Some(false), Some(true)));
        // Training refuses these itself.
        assert_eq!(grave(21, 21, 2), None);
    }
}
