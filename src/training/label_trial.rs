//! Ways to use a catalogue's labels, tried on training stars held out.
//!
//! Labels that a catalogue gives with errors, or not at all, can be found together with the model. A model that may move its own training
//! labels can also drift away from what they mean, and then labels new stars worse than one that had left such labels out. So every way
//! is tried, and taken only where it is the best.

use ndarray::{Array2, Axis};

use super::anchor::Anchor;
use super::anchored;
use super::believed_labels::BelievedLabels;
use super::cannon_config::{AnchorSettings, CannonConfig, LatentSettings};
use super::label_choice::{LabelChoice, LabelUse};
use super::latent::{self, LatentStars};
use super::latent_em::{PARTS, held_out_in_turn};
use super::nuisance_choice::NuisanceCount;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::vectorizer::Vectorizer;
use crate::progress::Silent;
use crate::spectra::stored::{Spectra, SpectraOf};
use crate::stats::robust::median;

/// Stars held out are asked in one pixel of so many.
const ASK_EVERY: usize = 4;
/// Fewer judges say nothing.
const FEWEST_JUDGES: usize = 10;
/// A label is doubtful if its error is so many times the usual one of its kind.
const DOUBTFUL: f64 = 3.0;
/// Rounds in which a plain Cannon finds labels.
const PLAIN_ROUNDS: usize = 5;

/// Labels of training stars, scaled, and the catalogue's errors of them, [n_stars, n_labels] both; NaN where it gives none.
#[derive(Clone)]
pub struct CatalogueLabels {
    /// The labels.
    pub labels: Array2<f64>,
    /// Their errors.
    pub errors: Array2<f64>,
}

impl CatalogueLabels {
    /// The labels, used in some way; an error that is not given takes a label at its word.
    pub fn believed(&self, labels: LabelUse) -> BelievedLabels {
        let error = |error: f64| if labels.has_errors() && error.is_finite() { error } else { 0.0 };
        BelievedLabels::new(self.labels.view(), self.errors.mapv(error).view())
    }

    /// The stars that train, of all.
    pub fn teachers(&self, labels: LabelUse) -> Vec<usize> {
        let is_doubtful = self.are_doubtful();
        (0..self.labels.nrows())
            .filter(|star| labels.is_partial() || self.is_complete(*star))
            .filter(|star| labels != LabelUse::WithoutDoubtful || !is_doubtful[*star])
            .collect()
    }

    /// Some of the stars.
    pub fn select(&self, stars: &[usize]) -> Self {
        Self { labels: self.labels.select(Axis(0), stars), errors: self.errors.select(Axis(0), stars) }
    }

    fn is_complete(&self, star: usize) -> bool {
        self.labels.row(star).iter().all(|label| label.is_finite())
    }

    /// Number of stars that lack a label.
    pub fn n_partial(&self) -> usize {
        (0..self.labels.nrows()).filter(|star| !self.is_complete(*star)).count()
    }

    /// Number of stars of a label whose error is far beyond the usual.
    pub fn n_doubtful(&self) -> usize {
        self.are_doubtful().into_iter().filter(|is_doubtful| *is_doubtful).count()
    }

    /// Which stars have such a label.
    fn are_doubtful(&self) -> Vec<bool> {
        let limits: Vec<f64> = self
            .errors
            .columns()
            .into_iter()
            .map(|column| {
                let mut known: Vec<f64> = column.iter().copied().filter(|error| *error > 0.0).collect();
                known.sort_by(f64::total_cmp);
                // Of the better half: where half the stars have large errors these are not the usual ones.
                DOUBTFUL * median(&known[..known.len().div_ceil(2)])
            })
            .collect();
        let rows = self.errors.rows().into_iter();
        rows.map(|errors| errors.iter().zip(&limits).any(|(error, limit)| error > limit)).collect()
    }
}

/// What learns.
#[derive(Clone, Copy)]
pub enum Learner<'a> {
    /// A plain or correlated Cannon, of a number of nuisance spectra that is settled, and its polynomial.
    Cannon(&'a CannonConfig, &'a Vectorizer),
    /// One that starts from physics.
    Anchored(&'a AnchorSettings, &'a Anchor),
}

/// How a plain Cannon finds labels: as a correlated one without anything to learn beside them.
pub fn plain() -> LatentSettings {
    let spectra = NuisanceCount::Fixed(0);
    LatentSettings { labels: 0, spectra, rounds: PLAIN_ROUNDS, shrinkage: false, clip: 0.0, clip_most: 0.0 }
}

/// Tries ways of using labels on stars held out; the first is the one that is taken where no other is better. None where too few stars
/// can judge.
///
/// # Errors
/// Those of training, but for too few stars.
pub fn try_labels(
    stars: &CatalogueLabels,
    candidates: &[LabelUse],
    spectra: SpectraOf,
    learner: &Learner,
    compute: &Compute,
) -> Result<Option<LabelChoice>> {
    let is_doubtful = stars.are_doubtful();
    let judges: Vec<usize> =
        (0..is_doubtful.len()).filter(|star| stars.is_complete(*star) && !is_doubtful[*star]).collect();
    if judges.len() < FEWEST_JUDGES {
        return Ok(None);
    }
    let pixels: Vec<usize> = (0..spectra.n_pixels()).step_by(ASK_EVERY).collect();
    let spectra = spectra.select(&pixels, compute.memory().of_block())?;
    // Of an anchored Cannon the first way settles how far from physics all of them may go.
    let limited = match *learner {
        Learner::Anchored(settings, anchor) => {
            let teachers = stars.teachers(candidates[0]);
            let labels = stars.select(&teachers).believed(candidates[0]);
            let spectra = spectra.rows(&teachers);
            Some((anchored::with_limit(settings, anchor, &labels, &spectra, &pixels, compute)?, anchor))
        }
        Learner::Cannon(..) => None,
    };
    let learner = &match &limited {
        Some((settings, anchor)) => Learner::Anchored(settings, anchor),
        None => *learner,
    };
    let mut tried = Vec::with_capacity(candidates.len());
    for &labels in candidates {
        let deviations = match held_out_in_turn(&judges, PARTS, stars.labels.ncols(), |held_out| {
            held_out_labels(stars, labels, held_out, &spectra, &pixels, learner, compute)
        }) {
            Ok(deviations) => deviations,
            Err(Error::TooFewStars { .. }) => return Ok(None),
            Err(err) => return Err(err),
        };
        tried.push((labels, deviations));
    }
    let errors = stars.errors.select(Axis(0), &judges);
    Ok(Some(LabelChoice::new(&tried, &errors, stars.n_partial(), stars.n_doubtful())))
}

/// What labels are found to be above the catalogue's where they were withheld, [n_stars, n_labels].
fn held_out_labels(
    stars: &CatalogueLabels,
    labels: LabelUse,
    held_out: &[usize],
    spectra: &Spectra,
    pixels: &[usize],
    learner: &Learner,
    compute: &Compute,
) -> Result<Array2<f64>> {
    let rows: Vec<usize> = (0..spectra.n_stars()).collect();
    let mut teaches = vec![false; rows.len()];
    stars.teachers(labels).into_iter().for_each(|star| teaches[star] = true);
    held_out.iter().for_each(|star| teaches[*star] = false);
    let barred: Vec<usize> = rows.iter().copied().filter(|star| !teaches[*star]).collect();
    let believed = stars.believed(labels).withheld(held_out);
    let mut em = match *learner {
        Learner::Cannon(config, vectorizer) => {
            let latent = config.latent.clone().unwrap_or_else(plain);
            let stars = LatentStars { labels: believed, spectra, rows: &rows, barred: &barred };
            latent::learn(config, &latent, vectorizer, stars, compute, &Silent)?.0
        }
        Learner::Anchored(settings, anchor) => {
            anchored::learn(settings, anchor, &believed, (spectra, &rows), pixels, &barred, compute)?
        }
    };
    em.settled_deviations()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::stats::normal::draw as normal;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    const N_LABELS: usize = 2;
    const N_PIXELS: usize = 160;
    const NOISE: f64 = 0.02;

    /// Spectra of stars whose labels, and as much as `hidden` beside them, move the flux of all pixels; a catalogue of no errors.
    fn survey(n_stars: usize, hidden: f64, random: &mut ChaCha8Rng) -> (CatalogueLabels, Array2<f32>) {
        let labels = Array2::from_shape_simple_fn((n_stars, N_LABELS), || normal(random));
        let slopes = Array2::from_shape_simple_fn((N_LABELS, N_PIXELS), || 0.03 * normal(random));
        // What is hidden looks half like the labels.
        let own = Array2::from_shape_simple_fn((1, N_PIXELS), || 0.03 * normal(random));
        let along = (&own + &slopes.sum_axis(Axis(0)).insert_axis(Axis(0))) * hidden;
        let amount = Array2::from_shape_simple_fn((n_stars, 1), || normal(random));
        let flux = 1.0 + labels.dot(&slopes) + amount.dot(&along);
        let flux = flux.mapv(|flux| (flux + NOISE * normal(random)) as f32);
        (CatalogueLabels { errors: Array2::zeros(labels.dim()), labels }, flux)
    }

    fn choice(order: usize, stars: &CatalogueLabels, flux: &Array2<f32>, candidates: &[LabelUse]) -> LabelChoice {
        let config = CannonConfig { order, ..CannonConfig::default() };
        let vectorizer = Vectorizer::new(N_LABELS, order);
        let ivar = Array2::from_elem(flux.dim(), (NOISE * NOISE).recip() as f32);
        let learner = Learner::Cannon(&config, &vectorizer);
        let compute = Compute::flex(Precision::F64);
        try_labels(stars, candidates, (flux.view(), ivar.view()).into(), &learner, &compute).unwrap().unwrap()
    }

    #[test]
    fn stars_that_lack_labels_help_where_complete_ones_are_few() {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let (mut stars, flux) = survey(130, 0.0, &mut random);
        (0..100).for_each(|star| stars.labels[[star, star % 2]] = f64::NAN);
        let found = choice(2, &stars, &flux, &[LabelUse::AtTheirWord, LabelUse::Partial]);
        assert_eq!((found.chosen, found.n_held_out, found.n_partial), (LabelUse::Partial, 30, 100), "{found:?}");
        assert!(found.candidates[1].ratio.iter().all(|ratio| *ratio < 1.0), "{found:?}");
    }

    #[test]
    fn uncertain_labels_count_less_or_not_at_all() {
        let mut random = ChaCha8Rng::seed_from_u64(6);
        let (mut stars, flux) = survey(120, 0.0, &mut random);
        for star in 0..120 {
            let error = if star < 80 { 1.0 } else { 0.05 };
            stars.errors.row_mut(star).fill(error);
            stars.labels.row_mut(star).mapv_inplace(|label| label + error * normal(&mut random));
        }
        let ways = [LabelUse::AtTheirWord, LabelUse::WithoutDoubtful, LabelUse::Errors];
        let found = choice(1, &stars, &flux, &ways);
        assert_eq!((found.n_held_out, found.n_doubtful), (40, 80));
        assert!(found.chosen != LabelUse::AtTheirWord, "{found:?}");
        assert!(found.candidates[1..].iter().all(|one| one.score < -0.2), "{found:?}");
    }

    #[test]
    fn labels_that_drift_after_what_is_hidden_are_taken_at_their_word() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let (mut stars, flux) = survey(120, 1.5, &mut random);
        // Far from the truth: the catalogue errs by nothing.
        stars.errors.fill(1.0);
        let found = choice(1, &stars, &flux, &[LabelUse::AtTheirWord, LabelUse::Errors]);
        assert!(found.candidates[1].ratio.iter().all(|ratio| *ratio > 1.1), "{found:?}");
        assert_eq!(found.chosen, LabelUse::AtTheirWord);
        assert!(found.words().starts_with("trained by labels at their word"), "{}", found.words());
    }
}
