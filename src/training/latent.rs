//! A Cannon that learns what it was not told: latent labels and nuisance spectra, from what the labels leave unexplained.
//!
//! ```text
//! f_n = theta . x(l_n, y_n) + B z_n + noise,   y_n, z_n ~ N(0, 1)
//! ```
//!
//! Latent labels y enter the polynomial beside the known labels; nuisances z only add their spectra B. Without latent
//! labels this is probabilistic principal component analysis (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611) with
//! known, unequal noise, masks, and the Cannon as its mean. Both are trained by expectation (y and z of every star, with
//! their covariance: one compression of all spectra) and maximization (theta, B and s^2 of every pixel), from the
//! principal components of the plain Cannon's residuals on.

use std::collections::HashSet;

use ndarray::{Array2, ArrayView2, Axis, concatenate};

use super::believed_labels::BelievedLabels;
use super::cannon_config::{CannonConfig, LatentSettings};
use super::closed_form::{self, TrainingReport};
use super::coefficient_prior::CoefficientPrior;
use super::latent_blocks::PixelBlocks;
use super::latent_em::{Em, TrainedLatent};
use super::nuisance_choice::NuisanceCount;
use super::term_layout::TermLayout;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::vectorizer::{Entry, Vectorizer};
use crate::progress::Progress;
use crate::spectra::stored::{Spectra, SpectraOf};
use crate::stats::robust::median;

/// Rounds in which latent labels only add, before they enter the polynomial: by then they have found their directions.
const ROUNDS_BEFORE_BENDING: usize = 2;
/// Rounds after which stars that the model does not describe are left out.
const ROUNDS_OF_CLIPPING: [usize; 2] = [2, 4];

/// Trains a Cannon with latent labels and a fixed number of nuisance spectra.
///
/// # Shapes
/// - scaled_labels: `[n_stars, n_labels]`, finite
/// - flux, ivar: `[n_stars, n_pixels]`, finite
///
/// # Errors
/// As [`train_terms`].
pub fn train(
    config: &CannonConfig,
    latent: &LatentSettings,
    scaled_labels: ArrayView2<f64>,
    flux: ArrayView2<f32>,
    ivar: ArrayView2<f32>,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<TrainedLatent> {
    let vectorizer = Vectorizer::new(scaled_labels.ncols(), config.order);
    let spectra = Spectra::in_memory(flux.to_owned(), ivar.to_owned());
    let rows: Vec<usize> = (0..flux.nrows()).collect();
    let stars =
        LatentStars { labels: BelievedLabels::exact(scaled_labels), spectra: &spectra, rows: &rows, barred: &[] };
    train_terms(config, latent, &vectorizer, stars, compute, progress)
}

/// The same of labels that enter as a vectorizer has them, and of which not all need be known; latent labels enter every product.
///
/// # Errors
/// [`Error::TooFewStars`] if there are not more stars, whose labels are all given, than coefficients per pixel; [`Error::Config`] if
/// the number of nuisance spectra is still to be chosen, for which stars must be held out; errors of reading.
pub fn train_terms<'a>(
    config: &CannonConfig,
    latent: &LatentSettings,
    vectorizer: &Vectorizer,
    stars: LatentStars<'a>,
    compute: &'a Compute,
    progress: &dyn Progress,
) -> Result<TrainedLatent> {
    let (em, report) = learn(config, latent, vectorizer, stars, compute, progress)?;
    Ok(em.finish(&report))
}

/// What a Cannon with latent labels learns from.
pub struct LatentStars<'a> {
    /// Their labels.
    pub labels: BelievedLabels,
    /// The set they are in.
    pub spectra: &'a Spectra,
    /// Their rows of it.
    pub rows: &'a [usize],
    /// Stars that teach nothing.
    pub barred: &'a [usize],
}

/// All rounds.
pub(super) fn learn<'a>(
    config: &CannonConfig,
    latent: &LatentSettings,
    vectorizer: &Vectorizer,
    stars: LatentStars<'a>,
    compute: &'a Compute,
    progress: &dyn Progress,
) -> Result<(Em<'a>, TrainingReport)> {
    let NuisanceCount::Fixed(n_spectra) = latent.spectra else {
        return Err(Error::Config("latent.spectra = \"held-out\" must become a number before training".into()));
    };
    let mut first = stars.labels.complete();
    let barred: HashSet<&usize> = stars.barred.iter().collect();
    first.retain(|star| !barred.contains(star));
    let n_coefficients = with_latent_labels(vectorizer, latent.labels).n_terms() + n_spectra;
    if first.len() <= n_coefficients {
        return Err(Error::TooFewStars {
            stage: format!("training {n_coefficients} coefficients per pixel"),
            n_stars: first.len(),
            needed: n_coefficients + 1,
            remedy: "lower latent.labels or latent.spectra, or widen the selection".into(),
        });
    }
    progress.start("training latent labels", latent.rounds + 2);
    let layout = TermLayout::everywhere(vectorizer.clone());
    let labels = stars.labels.expected.select(Axis(0), &first);
    let rows: Vec<usize> = first.iter().map(|star| stars.rows[*star]).collect();
    let spectra = SpectraOf::Rows(stars.spectra, &rows);
    let (plain, plain_report) = closed_form::train_terms(config, &layout, labels.view(), spectra, compute)?;
    progress.advance(1);
    let mut em = start(latent, n_spectra, &plain, stars, compute)?;
    progress.advance(1);
    for round in 1..=latent.rounds {
        if round == ROUNDS_BEFORE_BENDING + 1 {
            em.bend(latent.labels);
        }
        let moments = em.expect()?;
        if latent.clip > 0.0 && ROUNDS_OF_CLIPPING.contains(&round) {
            em.clip(latent.clip, latent.clip_most);
        }
        em.maximize(Some(&moments))?;
        progress.advance(1);
    }
    progress.finish();
    if latent.rounds <= ROUNDS_BEFORE_BENDING {
        em.bend(latent.labels);
    }
    Ok((em, plain_report))
}

/// A polynomial with so many latent labels behind its own.
fn with_latent_labels(vectorizer: &Vectorizer, n_latent_labels: usize) -> Vectorizer {
    let entries = [vectorizer.entries(), &vec![Entry::Polynomial; n_latent_labels]].concat();
    Vectorizer::of_entries(&entries, vectorizer.order())
}

/// The plain Cannon, and the principal components of its weighted residuals as nuisances.
fn start<'a>(
    latent: &LatentSettings,
    n_spectra: usize,
    plain: &Cannon,
    LatentStars { labels, spectra, rows, barred }: LatentStars<'a>,
    compute: &'a Compute,
) -> Result<Em<'a>> {
    let vectorizer = plain.vectorizer().clone();
    let (n_terms, n_pixels) = (vectorizer.n_terms(), spectra.n_pixels());
    let q = latent.labels + n_spectra;
    let theta = Array2::from_shape_vec((n_terms, n_pixels), to_f64(plain.theta.val())).expect("theta has its shape");
    let coefficients = concatenate![Axis(0), theta, Array2::zeros((q, n_pixels))];
    let model = (vectorizer, coefficients, to_f64(plain.s2.val()));
    let prior = CoefficientPrior::about_nil(n_terms + q, latent.shrinkage);
    let mut em = Em::new(model, prior, labels, PixelBlocks::new(spectra, rows, compute)?, compute);
    em.bar(barred);
    // What stars lack is found before it could pass for something the labels do not say.
    em.settle_labels()?;
    em.latent = em.leading_residuals(q)?;
    em.maximize(None)?;
    Ok(em)
}

impl Em<'_> {
    /// Turns the strongest additive nuisances into latent labels: inputs of the polynomial.
    fn bend(&mut self, n_latent_labels: usize) {
        let (n_labels, q) = (self.vectorizer.n_labels(), self.latent.ncols());
        let n_old = self.vectorizer.n_terms();
        let power: Vec<f64> = (0..q)
            .map(|k| {
                let of_pixel = |(b, s2): (&f64, &f64)| if *s2 < NO_INFORMATION { b * b } else { 0.0 };
                self.coefficients.row(n_old + k).iter().zip(&self.s2).map(of_pixel).sum()
            })
            .collect();
        let mut order_of_power: Vec<usize> = (0..q).collect();
        order_of_power.sort_by(|a, b| power[*b].total_cmp(&power[*a]));
        self.latent = self.latent.select(Axis(1), &order_of_power);
        let vectorizer = with_latent_labels(&self.vectorizer, n_latent_labels);
        let n_terms = vectorizer.n_terms();
        let mut coefficients = Array2::zeros((n_terms + q - n_latent_labels, self.coefficients.ncols()));
        // What is new has no spread of its own yet: as much as a tenth of the nuisances' allows it to grow.
        let known = &self.prior.variance;
        let mut variance = vec![0.1 * median(&known[n_old..]); coefficients.nrows()];
        let mut carry = |from: usize, to: usize| {
            coefficients.row_mut(to).assign(&self.coefficients.row(from));
            variance[to] = known[from];
        };
        for term in 0..n_old {
            let factors: Vec<usize> = self.vectorizer.factors(term).collect();
            carry(term, vectorizer.position(&factors).expect("the larger polynomial has every term"));
        }
        for (position, &nuisance) in order_of_power.iter().enumerate() {
            let to = match position.checked_sub(n_latent_labels) {
                Some(additive) => n_terms + additive,
                None => vectorizer.position(&[n_labels + position]).expect("every input has its linear term"),
            };
            carry(n_old + nuisance, to);
        }
        (self.vectorizer, self.n_bent) = (vectorizer, n_latent_labels);
        (self.coefficients, self.prior.variance) = (coefficients, variance);
    }
}
