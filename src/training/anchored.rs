//! A Cannon anchored in physics: it starts from a library of model spectra and goes where the survey's stars lead it.
//!
//! ```text
//! theta_tj ~ N(theta0_tj, a_g^2 tau_t^2),   B_kj ~ N(B0_kj, a_B^2 tau_k^2)
//! ```
//!
//! with tau the spread of a term over the pixels, and one strength a per group of terms, at the maximum of the evidence
//! (MacKay 1992, Neural Computation 4, 415, Eq. 4.8) of some hundred pixels; theta0 has the lines of the survey's own strength
//! (`line_strengths.rs`). Where physics is right the strengths fall to some
//! hundredths, where it is wrong they rise. Hidden labels and nuisances of each star are found by expectation and maximization as
//! in `latent.rs`; where there are enough stars, components of what is still left join the nuisances.

use ndarray::{Array2, Axis, concatenate, s};

use super::anchor::{self, Anchor};
use super::anchor_groups::{Groups, LEAST_STRENGTH, MOST_STRENGTH, at_first};
use super::anchor_limit::tightest_of_the_best;
use super::anchor_report::{AnchorReport, Strengths};
use super::believed_labels::BelievedLabels;
use super::cannon_config::AnchorSettings;
use super::closed_form::TrainingReport;
use super::coefficient_prior::{CoefficientPrior, PriorInPixels};
use super::latent_blocks::PixelBlocks;
use super::latent_em::{Em, PARTS, TrainedLatent, held_out_in_turn};
use super::latent_expectation::Moments;
use super::latent_pixels::Design;
use super::line_strengths::LineStrengths;
use crate::device::Compute;
use crate::error::Result;
use crate::models::cannon::NO_INFORMATION;
use crate::progress::{Progress, Silent};
use crate::spectra::stored::{Spectra, SpectraOf};

/// The evidence is taken from some so many pixels.
const SAMPLED: usize = 500;
/// Steps towards the maximum of the evidence.
const EVIDENCE_STEPS: usize = 5;
/// Nuisances are rescaled by no more than this factor at a time.
const MOST_RESCALING: f64 = 3.0;
/// Components of the survey's own residuals: one for so many stars, at most so many.
const STARS_PER_COMPONENT: usize = 5;
const MOST_COMPONENTS: usize = 40;
/// With fewer stars there are none.
const FEWEST_STARS: usize = 100;

/// Limits of the strengths that stars held out choose from; under the first the evidence has its way.
const LIMITS: [f64; 4] = [MOST_STRENGTH, 0.1, 0.05, 0.025];
/// The pixels that are asked of stars held out: one in so many, fewer where stars are many.
const ASK_EVERY: usize = 4;
/// So many stars are many, and as many held out are enough.
const MANY_STARS: usize = 200;
const ASK_AT_LEAST: usize = 16;

/// Trains on stars, some rows of a set, whose labels the anchor's scaler has scaled.
///
/// # Errors
/// Those of reading.
pub fn train(
    settings: &AnchorSettings,
    anchor: &Anchor,
    labels: &BelievedLabels,
    (spectra, rows): (&Spectra, &[usize]),
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<TrainedLatent> {
    let n_stars = rows.len();
    let is_asked = settings.rounds > 0 && settings.limit.is_none() && n_stars >= PARTS;
    let trials = if is_asked { parts_asked(labels.complete().len()) * LIMITS.len() } else { 0 };
    progress.start("training on physics and stars", settings.rounds + 1 + trials);
    let stars = Stars { anchor, labels, compute, settings };
    let all: Vec<usize> = (0..spectra.n_pixels()).collect();
    let limit = match settings.limit {
        Some(limit) => limit,
        None if is_asked => {
            let every = (ASK_EVERY * n_stars.div_ceil(MANY_STARS)).min(ASK_AT_LEAST);
            let asked: Vec<usize> = all.iter().copied().step_by(every).collect();
            let some = SpectraOf::Rows(spectra, rows).select(&asked, compute.memory().of_block())?;
            stars.choose_limit(&some, &asked, progress)?
        }
        None => MOST_STRENGTH,
    };
    let (mut em, strengths) = stars.learn((spectra, rows), &all, limit, &[], &|| progress.advance(1))?;
    progress.finish();
    if settings.rounds > 0 {
        em.expect()?;
    }
    let report = AnchorReport {
        n_spectra: anchor.labels.nrows(),
        n_hidden: anchor.hidden.ncols(),
        strengths: (settings.rounds > 0).then_some(strengths),
        limit,
        n_components: em.coefficients.nrows() - anchor.vectorizer.n_terms() - anchor.spectra.nrows(),
    };
    Ok(em.finish(&TrainingReport { anchor: Some(report), ..TrainingReport::default() }))
}

/// Coefficients of a pixel, at most, where spectra have so many chips.
pub fn most_coefficients(settings: &AnchorSettings, n_labels: usize, n_chips: usize) -> usize {
    anchor::most_coefficients(settings, n_labels, n_chips) + MOST_COMPONENTS
}

/// Parts of so many stars that are held out in turn.
fn parts_asked(n_stars: usize) -> usize {
    (MANY_STARS * PARTS).div_ceil(n_stars.max(1)).min(PARTS)
}

/// The settings with the limit that stars held out choose in some of the anchor's pixels, where they have none.
///
/// # Errors
/// Those of reading.
pub(super) fn with_limit(
    settings: &AnchorSettings,
    anchor: &Anchor,
    labels: &BelievedLabels,
    spectra: &Spectra,
    pixels: &[usize],
    compute: &Compute,
) -> Result<AnchorSettings> {
    let stars = Stars { anchor, labels, compute, settings };
    let limit = match settings.limit {
        Some(limit) => limit,
        None => stars.choose_limit(spectra, pixels, &Silent)?,
    };
    Ok(AnchorSettings { limit: Some(limit), ..settings.clone() })
}

/// What is learned from all stars but some, in some of the anchor's pixels, within the limit of the settings.
///
/// # Errors
/// Those of reading.
pub(super) fn learn<'a>(
    settings: &'a AnchorSettings,
    anchor: &'a Anchor,
    labels: &'a BelievedLabels,
    spectra: (&'a Spectra, &'a [usize]),
    pixels: &[usize],
    barred: &[usize],
    compute: &'a Compute,
) -> Result<Em<'a>> {
    let stars = Stars { anchor, labels, compute, settings };
    Ok(stars.learn(spectra, pixels, settings.limit.unwrap_or(MOST_STRENGTH), barred, &|| ())?.0)
}

/// The stars of a training, their spectra aside.
struct Stars<'a> {
    anchor: &'a Anchor,
    labels: &'a BelievedLabels,
    compute: &'a Compute,
    settings: &'a AnchorSettings,
}

impl<'a> Stars<'a> {
    /// All rounds on the spectra in some of the anchor's pixels, strengths within a limit. Stars that are held out teach nothing, and
    /// what the catalogue says of their labels counts for nothing.
    fn learn(
        &self,
        (spectra, rows): (&'a Spectra, &'a [usize]),
        pixels: &[usize],
        limit: f64,
        held_out: &[usize],
        advance: &dyn Fn(),
    ) -> Result<(Em<'a>, Strengths)> {
        let &Self { anchor, settings, compute, .. } = self;
        let blocks = PixelBlocks::new(spectra, rows, compute)?;
        let is_seen = blocks.is_seen.clone();
        let of_library: Vec<f64> = pixels.iter().map(|pixel| anchor.s2[*pixel]).collect();
        let of_pixel = |(s2, seen): (&f64, &bool)| if *seen { *s2 } else { NO_INFORMATION };
        let scatter: Vec<f64> = of_library.iter().zip(&is_seen).map(of_pixel).collect();
        let coefficients = concatenate![Axis(0), anchor.theta, anchor.spectra].select(Axis(1), pixels);
        let groups = Groups::of(anchor, coefficients.view(), limit);
        let prior = CoefficientPrior::about(coefficients.clone(), groups.variances(), of_library);
        let model = (anchor.vectorizer.clone(), coefficients, scatter);
        let labels = self.labels.clone().withheld(held_out);
        let mut em = Em::new(model, prior, labels, blocks, compute);
        em.bar(held_out);
        let n_stars = rows.len() - held_out.len();
        if settings.rounds == 0 {
            return Ok((em, groups.strengths(0.0)));
        }
        let sampled: Vec<usize> =
            (0..pixels.len()).filter(|pixel| is_seen[*pixel]).step_by((pixels.len() / SAMPLED).max(1)).collect();
        let some = SpectraOf::Rows(spectra, rows).select(&sampled, compute.memory().of_block())?;
        let all: Vec<usize> = (0..rows.len()).collect();
        let some = PixelBlocks::new(&some, &all, compute)?;
        let n_scaled = anchor.vectorizer.n_terms() + anchor.spectra.nrows() - anchor.n_instrument;
        let lines = LineStrengths::of_physics(&em, n_scaled);
        let mut anchored = Anchored { groups, lines, sampled, some };
        anchored.scatter_about_physics(&mut em)?;
        advance();
        for round in 1..=settings.rounds {
            let mut moments = em.expect()?;
            if round == 2 && settings.clip > 0.0 {
                em.clip(settings.clip, settings.clip_most);
            }
            // Stars that are held out judge the model that all will teach: with components if that has some.
            if round == 2 && rows.len() >= FEWEST_STARS {
                drop(moments);
                anchored.add_components(&mut em, (n_stars / STARS_PER_COMPONENT).min(MOST_COMPONENTS))?;
                anchored.maximize(&mut em, None)?;
                moments = em.expect()?;
            }
            let moments = anchored.rescale(&mut em, moments);
            anchored.maximize(&mut em, Some(&moments))?;
            advance();
        }
        let strengths = anchored.groups.strengths(anchored.lines.strength);
        Ok((em, strengths))
    }

    /// The tightest limit under which labels of stars that are held out come out as near to the catalogue's as under any.
    ///
    /// The evidence takes pixels for independent. Stars are wrong in many pixels at once, and it then lets coefficients follow them.
    ///
    /// # Errors
    /// Those of reading.
    fn choose_limit(&self, spectra: &Spectra, pixels: &[usize], progress: &dyn Progress) -> Result<f64> {
        let complete = self.labels.complete();
        let (n_parts, n_labels) = (parts_asked(complete.len()), self.labels.expected.ncols());
        let rows: Vec<usize> = (0..spectra.n_stars()).collect();
        let of_limit = |limit: f64| {
            held_out_in_turn(&complete, n_parts, n_labels, |held_out| {
                let stars: Stars = Stars { ..*self };
                let (mut em, _) = stars.learn((spectra, &rows), pixels, limit, held_out, &|| ())?;
                progress.advance(1);
                em.settled_deviations()
            })
        };
        let deviations = LIMITS.into_iter().map(of_limit).collect::<Result<Vec<_>>>()?;
        Ok(LIMITS[tightest_of_the_best(&deviations)])
    }
}

/// What training keeps beside its state.
struct Anchored<'a> {
    groups: Groups,
    lines: LineStrengths,
    /// Pixels that the evidence is taken from.
    sampled: Vec<usize>,
    some: PixelBlocks<'a>,
}

impl Anchored<'_> {
    /// Scatter of every pixel about physics with lines of any strength, at what is usual for the labels: which pixels physics
    /// describes.
    fn scatter_about_physics(&mut self, em: &mut Em) -> Result<()> {
        let offset = self.groups.offset();
        let strengths = std::mem::replace(&mut self.groups.strength, at_first(LEAST_STRENGTH));
        em.prior.variance = self.groups.variances();
        // Lines first by weights that know no scatter, then by better ones.
        for _ in 0..2 {
            self.lines.learn(em, offset)?;
            em.maximize(None)?;
        }
        self.groups.strength = strengths;
        Ok(())
    }

    /// How strong lines are; strengths from the sampled pixels; then coefficients and scatter of all.
    fn maximize(&mut self, em: &mut Em, moments: Option<&Moments>) -> Result<()> {
        self.lines.learn(em, self.groups.offset())?;
        let design = em.design();
        let terms = em.terms();
        let exact = || terms.design(&Compute::small_systems());
        let parts = em.parts();
        let stars = Design { design: &design, exact: &exact, moments, parts: &parts, kept: &em.kept };
        let mean = em.prior.mean.as_ref().map(|mean| mean.select(Axis(1), &self.sampled));
        let known: Option<Vec<f64>> =
            em.prior.s2.as_ref().map(|s2| self.sampled.iter().map(|pixel| s2[*pixel]).collect());
        let mut s2: Vec<f64> = self.sampled.iter().map(|pixel| em.s2[*pixel]).collect();
        for _ in 0..EVIDENCE_STEPS {
            let mut samples = Vec::new();
            self.some.each(|block| {
                let range = block.range();
                let prior = PriorInPixels {
                    mean: mean.as_ref().map(|mean| mean.slice(s![.., range.clone()])),
                    precision: self.groups.variances().iter().map(|variance| 1.0 / variance).collect(),
                    s2: known.as_ref().map(|s2| &s2[range.clone()]),
                };
                let fit = block.all_sampled().fit(&stars, &prior, &s2[range.clone()]);
                s2[range].copy_from_slice(&fit.s2);
                samples.extend(fit.samples);
            })?;
            self.groups.learn(&samples);
        }
        em.prior.variance = self.groups.variances();
        em.maximize(moments)
    }

    /// Gives nuisances the size that the stars have them in, so that amplitudes are standard normal; returns the moments after.
    fn rescale(&mut self, em: &mut Em, moments: Moments) -> Moments {
        let n_terms = em.vectorizer.n_terms();
        let mut factors = vec![1.0; em.coefficients.nrows()];
        for additive in 0..em.latent.ncols() - em.n_bent {
            let size = em.latent_power[em.n_bent + additive].sqrt().clamp(1.0 / MOST_RESCALING, MOST_RESCALING);
            let coefficient = n_terms + additive;
            factors[coefficient] = size;
            em.latent.column_mut(em.n_bent + additive).mapv_inplace(|z| z / size);
            em.coefficients.row_mut(coefficient).mapv_inplace(|b| b * size);
            self.groups.tau2[coefficient] *= size * size;
            if let Some(mean) = &mut em.prior.mean {
                mean.row_mut(coefficient).mapv_inplace(|b| b * size);
            }
        }
        moments.divided(&factors, em.compute)
    }

    /// Leading components of what is left of the stars' spectra as further nuisances, about nil, each of a strength of its own.
    fn add_components(&mut self, em: &mut Em, count: usize) -> Result<()> {
        let amplitudes = em.leading_residuals(count)?;
        em.latent = concatenate![Axis(1), em.latent, amplitudes];
        em.latent_power.extend(vec![1.0; count]);
        let more = Array2::zeros((count, em.coefficients.ncols()));
        em.coefficients = concatenate![Axis(0), em.coefficients, more];
        em.prior.mean = em.prior.mean.take().map(|mean| concatenate![Axis(0), mean, more]);
        (0..count).for_each(|_| self.groups.add());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Precision, to_f64};
    use crate::memory::Memory;
    use crate::models::vectorizer::Vectorizer;
    use crate::spectra::labels::LabelScaler;
    use crate::spectra::stored::tests::in_file;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const N_PIXELS: usize = 640;
    const N_LABELS: usize = 2;

    fn normal(random: &mut ChaCha8Rng) -> f64 {
        (0..12).map(|_| random.random_range(-0.5..0.5)).sum()
    }

    /// Two labels and a hidden one, two nuisances.
    fn physics(random: &mut ChaCha8Rng) -> Anchor {
        let vectorizer = Vectorizer::new(N_LABELS + 1, 2);
        let mut theta = Array2::zeros((vectorizer.n_terms(), N_PIXELS));
        for (term, mut row) in theta.rows_mut().into_iter().enumerate() {
            let size = [0.1, 0.03, 0.004][vectorizer.factors(term).count()];
            row.mapv_inplace(|_| size * normal(random));
        }
        theta.row_mut(0).mapv_inplace(|depth| 1.0 - depth.abs());
        Anchor {
            scaler: LabelScaler {
                names: vec!["teff".into(), "logg".into()],
                pivot: vec![0.0; N_LABELS],
                scale: vec![1.0; N_LABELS],
            },
            vectorizer,
            theta,
            spectra: Array2::from_shape_simple_fn((2, N_PIXELS), || 0.004 * normal(random)),
            n_instrument: 1,
            s2: vec![1e-6; N_PIXELS],
            labels: Array2::zeros((300, N_LABELS)),
            hidden: Array2::zeros((300, 1)),
        }
    }

    /// Flux without noise of stars of some inputs, [n_stars, n_inputs], under some coefficients.
    fn flux_of(vectorizer: &Vectorizer, theta: &Array2<f64>, inputs: &Array2<f64>) -> Array2<f64> {
        let exact = Compute::small_systems();
        let flux = vectorizer.design_matrix(exact.matrix(inputs.view())).matmul(exact.matrix(theta.view()));
        Array2::from_shape_vec((inputs.nrows(), N_PIXELS), to_f64(flux)).unwrap()
    }

    const NOISE: f64 = 0.01;
    const LABEL_ERROR: f64 = 0.1;

    /// Stars whose truth is `theta`: labels of a catalogue and their errors, [n_stars, n_labels], and flux, [n_stars, n_pixels].
    fn observed(
        anchor: &Anchor,
        theta: &Array2<f64>,
        n_stars: usize,
        random: &mut ChaCha8Rng,
    ) -> (Array2<f64>, Array2<f64>, Array2<f32>) {
        let inputs = Array2::from_shape_simple_fn((n_stars, N_LABELS + 1), || normal(random));
        let catalogue = inputs.slice(ndarray::s![.., ..N_LABELS]).mapv(|label| label + LABEL_ERROR * normal(random));
        let amplitudes = Array2::from_shape_simple_fn((n_stars, 2), || normal(random));
        let clean = flux_of(&anchor.vectorizer, theta, &inputs) + amplitudes.dot(&anchor.spectra);
        let flux = clean.mapv(|flux| (flux + NOISE * normal(random)) as f32);
        let errors = Array2::from_elem(catalogue.dim(), LABEL_ERROR);
        (catalogue, errors, flux)
    }

    fn trained_on(
        settings: &AnchorSettings,
        anchor: &Anchor,
        labels: &BelievedLabels,
        spectra: Spectra,
    ) -> TrainedLatent {
        let rows: Vec<usize> = (0..spectra.n_stars()).collect();
        train(settings, anchor, labels, (&spectra, &rows), &Compute::flex(Precision::F64), &Silent).unwrap()
    }

    /// What training on 25 stars makes of physics when the truth is `theta`: strengths, and root mean square error of its flux and of
    /// physics' own.
    fn trained(anchor: &Anchor, theta: &Array2<f64>, rounds: usize, random: &mut ChaCha8Rng) -> (Strengths, [f64; 2]) {
        let (catalogue, errors, flux) = observed(anchor, theta, 25, random);
        let ivar = Array2::from_elem(flux.dim(), (1.0 / (NOISE * NOISE)) as f32);
        let settings = AnchorSettings { rounds, clip: 0.0, limit: Some(MOST_STRENGTH), ..AnchorSettings::default() };
        let believed = BelievedLabels::new(catalogue.view(), errors.view());
        let found = trained_on(&settings, anchor, &believed, Spectra::in_memory(flux, ivar));
        assert_eq!(found.kept, vec![true; 25]);
        let learned = Array2::from_shape_vec(theta.dim(), to_f64(found.cannon.theta.val())).unwrap();
        let others = Array2::from_shape_simple_fn((50, N_LABELS + 1), || normal(random));
        let truth = flux_of(&anchor.vectorizer, theta, &others);
        let error = |theta: &Array2<f64>| {
            let residual = flux_of(&anchor.vectorizer, theta, &others) - &truth;
            (residual.mapv(|r| r * r).mean().unwrap()).sqrt()
        };
        (found.report.anchor.unwrap().strengths.unwrap_or_default(), [error(&learned), error(&anchor.theta)])
    }

    #[test]
    fn right_physics_is_kept_and_wrong_physics_is_left() {
        let mut random = ChaCha8Rng::seed_from_u64(7);
        let anchor = physics(&mut random);
        let (right, [error, _]) = trained(&anchor, &anchor.theta, 3, &mut random);
        // Twelve coefficients from 25 stars alone would err by 0.01 sqrt(12 / 25) = 0.007 and more.
        assert!(right.linear < 0.05 && right.lines < 0.02 && error < 0.0025, "{right:?} {error}");
        let mut other = anchor.theta.clone();
        for mut column in other.columns_mut() {
            let factor = (0.3 * normal(&mut random)).exp();
            column.iter_mut().enumerate().for_each(|(term, value)| {
                *value = if term == 0 { 1.0 - (1.0 - *value) * factor } else { *value * factor };
            });
        }
        // Lines of other strengths are other lines, and no worse known.
        let (stronger, [error, of_physics]) = trained(&anchor, &other, 3, &mut random);
        assert!((0.2..0.4).contains(&stronger.lines) && stronger.linear < 0.1, "{stronger:?}");
        assert!(error < 0.2 * of_physics, "{error} {of_physics}");
        let mut other = anchor.theta.clone();
        other.slice_mut(s![1..=N_LABELS, ..]).mapv_inplace(|value| value + 0.01 * normal(&mut random));
        let (wrong, [error, of_physics]) = trained(&anchor, &other, 3, &mut random);
        assert!(wrong.linear > 3.0 * right.linear && error < 0.4 * of_physics, "{wrong:?} {error} {of_physics}");
    }

    #[test]
    fn spectra_in_a_file_teach_what_they_teach_in_memory() {
        let mut random = ChaCha8Rng::seed_from_u64(11);
        let anchor = physics(&mut random);
        let (labels, errors, flux) = observed(&anchor, &anchor.theta, 120, &mut random);
        let ivar =
            Array2::from_shape_fn(flux.dim(), |(n, j)| if (n + 7 * j).is_multiple_of(31) { 0.0 } else { 1e4_f32 });
        let believed = BelievedLabels::new(labels.view(), errors.view());
        let folder = tempfile::tempdir().unwrap();
        let in_memory = Spectra::in_memory(flux, ivar);
        let on_disk = in_file(&in_memory, folder.path());
        let rows: Vec<usize> = (0..120).rev().collect();
        let settings = AnchorSettings::default();
        let train = |spectra: &Spectra, compute: &Compute| {
            train(&settings, &anchor, &believed, (spectra, &rows), compute, &Silent).unwrap()
        };
        let usual = Compute::flex(Precision::F64);
        // 24 pixels of all stars at once, or 37 stars.
        let little = usual.clone().with_memory(Memory { bytes: 8 * 24 * 120 * 64 });
        let (here, there) = (train(&in_memory, &usual), train(&on_disk, &little));
        let report = |found: &TrainedLatent| found.report.anchor.clone().unwrap();
        assert_eq!((report(&here).limit, report(&here).n_components), (report(&there).limit, 24));
        assert_eq!(here.kept, there.kept);
        let theta = |found: &TrainedLatent| to_f64(found.cannon.theta.val());
        for (a, b) in theta(&here).iter().zip(theta(&there)) {
            assert!((a - b).abs() < 1e-7, "{a} {b}");
        }
        for (a, b) in here.latent_labels.iter().zip(&there.latent_labels) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn few_stars_of_right_physics_are_held_to_it() {
        let mut random = ChaCha8Rng::seed_from_u64(10);
        let anchor = physics(&mut random);
        let (labels, errors, flux) = observed(&anchor, &anchor.theta, 24, &mut random);
        let ivar = Array2::from_elem(flux.dim(), 1e4_f32);
        let settings = AnchorSettings { clip: 0.0, ..AnchorSettings::default() };
        let believed = BelievedLabels::new(labels.view(), errors.view());
        let found = trained_on(&settings, &anchor, &believed, Spectra::in_memory(flux, ivar));
        let report = found.report.anchor.unwrap();
        assert!(LIMITS.contains(&report.limit));
        assert!(report.strengths.unwrap().linear <= report.limit, "{report:?}");
    }

    #[test]
    fn without_rounds_it_is_physics_alone() {
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let anchor = physics(&mut random);
        let (_, [error, _]) = trained(&anchor, &anchor.theta, 0, &mut random);
        assert!(error < 1e-9, "{error}");
    }
}
