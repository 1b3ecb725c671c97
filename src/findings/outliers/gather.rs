//! Evidence about the test stars of a fold, while their spectra and the model that labelled them are at hand.

use ndarray::{Array2, ArrayView1, Axis};

use super::deviations::{Scatter, farthest};
use super::fits::{OtherFits, fit_again, look_alikes};
use super::settings::OutlierSettings;
use super::spectrum::{Examiner, SpectrumEvidence};
use crate::error::Result;
use crate::kinds::context::Context;
use crate::models::LabelEstimates;
use crate::spectra::prepared::PreparedSet;
use crate::spectra::quality::Quality;
use crate::spectra::split::Fold;
use crate::training::checkpoint::TrainedCannon;

/// Stars of a fold are looked at more closely from this part of the deviation on that makes an outlier: the scatter of all
/// folds may turn out smaller than that of one.
const NEARLY: f64 = 0.8;

/// What is known of one test star before all folds are done.
#[derive(Debug, Clone)]
pub(super) struct StarEvidence {
    pub spectrum: SpectrumEvidence,
    pub quality: Quality,
    /// Continuum pixels with information.
    pub n_continuum: usize,
    /// Chips without a usable continuum, or with next to no pixel that carries information.
    pub chips_lost: usize,
    /// Only of stars that are nearly outliers in their fold, as are the next two.
    pub fits: Option<OtherFits>,
    /// Labels of the training stars that look like it.
    pub look_alikes: Option<Vec<f64>>,
    pub drawn: Option<Spectra>,
}

/// An outlier's spectrum and models of it, to be drawn: `[n_pixels]` each, the models NaN where they know nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectra {
    /// Normalized flux.
    pub flux: Vec<f64>,
    /// Its standard deviation; infinite where masked.
    pub error: Vec<f64>,
    /// Pixels without information.
    pub masked: Vec<bool>,
    /// The model at the estimated labels; none where no model makes spectra.
    pub at_estimate: Option<Vec<f64>>,
    /// The model at the catalogue's labels.
    pub at_catalogue: Option<Vec<f64>>,
}

/// Gathers evidence about a fold's test stars. `n_drawn` is how many of the farthest are kept to be drawn.
///
/// # Errors
/// Those of fits.
pub(super) fn gather(
    context: &Context,
    fold: &Fold,
    model: Option<&TrainedCannon>,
    estimates: &LabelEstimates,
    settings: &OutlierSettings,
    n_drawn: usize,
) -> Result<Vec<StarEvidence>> {
    let (set, compute) = (context.set, context.compute);
    let catalogue = set.labels.select(Axis(0), &fold.test);
    let sigmas =
        Scatter::of(estimates.labels.view(), catalogue.view()).sigmas(estimates.labels.view(), catalogue.view());
    let far = farthest(sigmas.view(), NEARLY * settings.sigma, settings.most.saturating_mul(2));
    let far_rows: Vec<usize> = far.iter().map(|star| fold.test[*star]).collect();

    let examiner = model.map(|model| Examiner::new(model, compute)).transpose()?;
    let mut stars = look_at_all(examiner.as_ref(), context, fold, estimates, &catalogue)?;
    if let Some(model) = model {
        let fits = fit_again(model, set, &far_rows, &context.settings.fit, settings.starts, compute)?;
        far.iter().zip(fits).for_each(|(star, fits)| stars[*star].fits = fits);
    }
    let labels = look_alikes(set, &far_rows, &fold.training, compute)?;
    far.iter().zip(labels.rows()).for_each(|(star, row)| stars[*star].look_alikes = Some(row.to_vec()));
    let drawn = &far[..far.len().min(n_drawn)];
    draw(set, fold, drawn, examiner.as_ref(), estimates, &mut stars)?;
    Ok(stars)
}

/// What each test star's spectrum says by itself and, where there is a model, against it.
fn look_at_all(
    examiner: Option<&Examiner>,
    context: &Context,
    fold: &Fold,
    estimates: &LabelEstimates,
    catalogue: &Array2<f64>,
) -> Result<Vec<StarEvidence>> {
    let set = context.set;
    let nobody_has = set.chips_without_data();
    // As many spectra in memory as a fit has.
    let batch = context.settings.fit.batch_stars;
    let mut evidence = Vec::with_capacity(fold.test.len());
    for (index, rows) in fold.test.chunks(batch).enumerate() {
        let (flux, ivar) = set.spectra.of(rows)?;
        let stars = ndarray::s![index * batch..index * batch + rows.len(), ..];
        let (estimates, catalogue) = (estimates.labels.slice(stars), catalogue.slice(stars));
        let spectra = match examiner {
            Some(examiner) => examiner.examine(flux.view(), ivar.view(), estimates, catalogue),
            None => vec![SpectrumEvidence::NONE; rows.len()],
        };
        evidence.extend(spectra.into_iter().zip(ivar.rows()).zip(rows).map(|((spectrum, ivar), row)| StarEvidence {
            spectrum,
            quality: set.quality[*row].clone(),
            n_continuum: n_continuum(set, ivar),
            chips_lost: set.quality[*row].chips_lost.max(empty_chips(set, ivar, nobody_has)),
            fits: None,
            look_alikes: None,
            drawn: None,
        }));
    }
    Ok(evidence)
}

fn n_continuum(set: &PreparedSet, ivar: ArrayView1<f32>) -> usize {
    set.continuum_pixels.iter().zip(ivar).filter(|(is_continuum, ivar)| **is_continuum && **ivar > 0.0).count()
}

/// Part of a chip's pixels below which nothing is left of it.
const NEXT_TO_NONE: f64 = 0.02;

/// Chips of which next to nothing is left to a star, those aside that nobody has, one bit each.
fn empty_chips(set: &PreparedSet, ivar: ArrayView1<f32>, nobody_has: u64) -> usize {
    let is_empty = |chip: &&std::ops::Range<usize>| {
        let good = (*chip).clone().filter(|pixel| ivar[*pixel] > 0.0).count();
        (good as f64) < NEXT_TO_NONE * chip.len() as f64
    };
    let chips = set.grid.chips.iter().enumerate().filter(|(index, _)| *index >= 64 || nobody_has & (1 << index) == 0);
    chips.map(|(_, chip)| chip).filter(is_empty).count()
}

fn draw(
    set: &PreparedSet,
    fold: &Fold,
    stars: &[usize],
    examiner: Option<&Examiner>,
    estimates: &LabelEstimates,
    evidence: &mut [StarEvidence],
) -> Result<()> {
    if stars.is_empty() {
        return Ok(());
    }
    let rows: Vec<usize> = stars.iter().map(|star| fold.test[*star]).collect();
    let of = |labels: &Array2<f64>, rows: &[usize]| {
        examiner.map(|examiner| examiner.model_flux(labels.select(Axis(0), rows).view()))
    };
    let (at_estimate, at_catalogue) = (of(&estimates.labels, stars), of(&set.labels, &rows));
    for (index, (star, row)) in stars.iter().zip(&rows).enumerate() {
        let (flux, ivar) = set.spectra.star(*row)?;
        let (flux, ivar) = (flux.mapv(f64::from), ivar.mapv(f64::from));
        let of_star = |model: &Option<Array2<f64>>| model.as_ref().map(|model| model.row(index).to_vec());
        evidence[*star].drawn = Some(Spectra {
            flux: flux.to_vec(),
            error: ivar.iter().map(|ivar| ivar.sqrt().recip()).collect(),
            masked: ivar.iter().map(|ivar| *ivar <= 0.0).collect(),
            at_estimate: of_star(&at_estimate),
            at_catalogue: of_star(&at_catalogue),
        });
    }
    Ok(())
}
