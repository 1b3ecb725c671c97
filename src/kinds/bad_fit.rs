//! Which test stars a fold's model does not describe, by the training stars held out; no test star takes part.

use super::kind::Job;
use crate::error::{Error, Result};
use crate::inference::fit_quality::{FitQuality, HeldOutMisfit};
use crate::inference::judged::Recognizer;
use crate::models::LabelEstimates;
use crate::models::misfit::Misfit;
use crate::models::usual_spectra::UsualSpectra;
use crate::spectra::split::evenly;
use crate::training::labelled_spectra::stars_of_block;
use crate::training::usual_spectra;

/// Flags the test stars of a fold that its model does not describe, and keeps beside the model how that is told.
///
/// Without held-out stars the rule is that of [`FitQuality::without_held_out_stars`]. How many there were is handed back.
///
/// # Errors
/// [`crate::error::Error::Io`].
pub(super) fn flag_bad_fits(
    job: &Job,
    held_out: &HeldOutMisfit,
    (estimates, misfit): (&mut LabelEstimates, &Misfit),
) -> Result<usize> {
    let (context, bad_fit) = (&job.context, job.context.settings.bad_fit);
    let conditions = context.conditions(&held_out.rows)?;
    let quality = FitQuality::fit(&held_out.misfit, &conditions, &held_out.n_pixels, bad_fit);
    let quality = quality
        .unwrap_or_else(|| FitQuality { probability: bad_fit.probability, ..FitQuality::without_held_out_stars() });
    if let Some(place) = job.place {
        quality.save(&place.model)?;
    }
    quality.flag(estimates, misfit, &context.conditions(&job.fold.test)?);
    Ok(quality.n_stars)
}

/// The same for a model that does not describe spectra: the test stars whose spectra are unlike those of the training
/// stars. How far from these one may be is told by every third of them, examined by what the others look like. Where they are more
/// than may be held, as many of them as may, evenly among all, say what is usual.
///
/// # Errors
/// [`crate::error::Error::Io`].
pub(super) fn flag_unusual(job: &Job, training: &[usize], estimates: &mut LabelEstimates) -> Result<usize> {
    const PARTS: usize = 3;
    let (context, bad_fit) = (&job.context, job.context.settings.bad_fit);
    let (memory, n_pixels) = (context.compute.memory(), context.set.n_pixels());
    // All where they are learned from at once; else half of the memory for what is made of some.
    let all_fit = memory.check_whole(training.len(), n_pixels).is_ok();
    let most = if all_fit { training.len() } else { 4 * stars_of_block(n_pixels, memory) };
    let training = &evenly(training, most)[..];
    // As many components in the end as in the parts: more would take up more of a spectrum than is usual by these.
    let most_components = usual_spectra::components_of(training.len() * (PARTS - 1) / PARTS);
    let learn = |rows: &[usize]| {
        let (flux, ivar) = context.set.spectra.of(rows)?;
        Ok::<_, Error>(usual_spectra::learn(flux.view(), ivar.view(), most_components, context.compute))
    };
    let examine = |usual: &UsualSpectra, rows: &[usize]| {
        let recognizer = Recognizer::new(usual.clone(), &context.set.grid.chips);
        let (mut misfit, mut n_pixels) = (Misfit::none(0), Vec::with_capacity(rows.len()));
        context.in_batches(rows, |batch| {
            misfit.append(recognizer.examine(batch));
            n_pixels.extend(batch.n_known());
            Ok(())
        })?;
        Ok::<_, Error>((misfit, n_pixels))
    };
    let mut held_out = HeldOutMisfit::default();
    for part in 0..PARTS {
        let rows = |is_own: bool| -> Vec<usize> {
            let chosen = training.iter().enumerate().filter(|(n, _)| (n % PARTS == part) == is_own);
            chosen.map(|(_, row)| *row).collect()
        };
        let (own, others) = (rows(true), rows(false));
        if let Some(usual) = learn(&others)? {
            let (misfit, n_pixels) = examine(&usual, &own)?;
            held_out.add(&own, &n_pixels, misfit);
        }
    }
    let conditions = context.conditions(&held_out.rows)?;
    let quality = FitQuality::fit(&held_out.misfit, &conditions, &held_out.n_pixels, bad_fit);
    let (Some(quality), Some(usual)) = (quality, learn(training)?) else {
        tracing::warn!(
            "{}: no star can be flagged as unlike the training stars: {} of them are too few; give more",
            job.name,
            training.len()
        );
        return Ok(0);
    };
    let quality = FitQuality { n_components: usual.n_components(), ..quality };
    if let Some(place) = job.place {
        usual_spectra::save(&usual, &place.model)?;
        quality.save(&place.model)?;
    }
    let (misfit, _) = examine(&usual, &job.fold.test)?;
    quality.flag(estimates, &misfit, &context.conditions(&job.fold.test)?);
    Ok(quality.n_stars)
}
