//! From what was gathered about all test stars to a list of outliers, each with its verdict.

use ndarray::{Array2, ArrayView2};

use super::deviations::{Scatter, farthest, worst};
use super::evidence::{Evidence, Opinions, UsualSpectrum};
use super::gather::StarEvidence;
use super::verdict::{Verdict, judge};
use crate::data::catalogue::Catalogue;
use crate::models::LabelEstimates;
use crate::stats::robust::median;

/// Somebody sides with the estimate if he is nearer to it than this part of its distance from the catalogue.
const NEARNESS: f64 = 0.5;

/// All that is known of some stars: one entry per star in each.
#[derive(Clone, Copy)]
pub(super) struct Cases<'a> {
    pub label_names: &'a [String],
    /// Catalogue rows of the stars.
    pub stars: &'a Catalogue,
    /// Estimates of the model that is examined.
    pub estimates: &'a LabelEstimates,
    /// Flags of spectrum, catalogue and fit together.
    pub flags: &'a [i64],
    pub gathered: &'a [StarEvidence],
    /// Labels that other models estimate, [n_stars, n_labels] each.
    pub others: &'a [ArrayView2<'a, f64>],
}

/// A star with its verdict.
#[derive(Debug, Clone)]
pub(super) struct Finding {
    /// Position among the stars.
    pub star: usize,
    pub verdict: Verdict,
    pub reason: String,
    pub evidence: Evidence,
}

/// The stars that deviate by `sigma` robust scatters or more, at most `most`, the farthest first, each judged.
pub(super) fn conclude(cases: &Cases, sigma: f64, most: usize) -> Vec<Finding> {
    let catalogue = catalogue_labels(cases.stars, cases.label_names.len());
    let estimates = cases.estimates.labels.view();
    let scatter = Scatter::of(estimates, catalogue.view());
    let sigmas = scatter.sigmas(estimates, catalogue.view());
    let spectra: Vec<_> = cases.gathered.iter().map(|star| star.spectrum).collect();
    let usual = UsualSpectrum::of(&spectra);
    let usual_of = |value: &dyn Fn(&StarEvidence) -> f64| {
        median(&cases.gathered.iter().map(value).filter(|value| value.is_finite()).collect::<Vec<f64>>())
    };
    let n_continuum = usual_of(&|star| star.n_continuum as f64);
    let residual = usual_of(&|star| star.quality.continuum_residual);
    let label_errors = usual_errors(cases.stars, cases.label_names.len());
    farthest(sigmas.view(), sigma, most)
        .into_iter()
        .filter_map(|star| {
            let deviations = sigmas.row(star);
            let (worst_label, _) = worst(deviations)?;
            let (gathered, own) = (&cases.gathered[star], catalogue.row(star).to_vec());
            let deviation_of = |labels: &[f64]| scatter.largest(labels, &own);
            let fits = gathered.fits.clone();
            let from_catalogue = fits.as_ref().and_then(|fits| fits.from_catalogue.as_ref());
            let error_ratios = cases.stars.label_errors[star].iter().zip(&label_errors).map(|(own, usual)| own / usual);
            let evidence = Evidence {
                deviations: deviations.to_vec(),
                worst_label,
                snr: cases.stars.snr[star],
                fraction_masked: gathered.quality.fraction_masked(),
                chips_lost: gathered.chips_lost,
                n_emission: gathered.quality.n_emission,
                // Spectra that came normalized have no continuum pixels, and nothing is wrong with that.
                continuum_pixels: if n_continuum > 0.0 { gathered.n_continuum as f64 / n_continuum } else { f64::NAN },
                continuum_residual: gathered.quality.continuum_residual / residual,
                flags: cases.flags[star],
                reported_chi2: cases.estimates.chi2[star],
                starflag: cases.stars.starflag[star],
                aspcapflag: cases.stars.aspcapflag[star],
                catalogue_error: error_ratios.fold(f64::NAN, f64::max),
                spectrum: gathered.spectrum,
                unusual: usual.compare(&gathered.spectrum),
                lowest_deviation: fits.as_ref().map_or(f64::NAN, |fits| deviation_of(&fits.lowest.labels)),
                from_catalogue_deviation: from_catalogue.map_or(f64::NAN, |fit| deviation_of(&fit.labels)),
                opinions: opinions(cases, star, worst_label, own[worst_label]),
                fits,
            };
            let (verdict, reason) = judge(&evidence, cases.label_names);
            Some(Finding { star, verdict, reason, evidence })
        })
        .collect()
}

/// The catalogue's labels, [n_stars, n_labels].
pub(super) fn catalogue_labels(stars: &Catalogue, n_labels: usize) -> Array2<f64> {
    Array2::from_shape_fn((stars.len(), n_labels), |(n, k)| stars.labels[n][k])
}

/// Median errors of the catalogue, by label; NaN without any.
fn usual_errors(stars: &Catalogue, n_labels: usize) -> Vec<f64> {
    let known = |k: usize| stars.label_errors.iter().map(move |errors| errors[k]).filter(|error| error.is_finite());
    (0..n_labels).map(|k| median(&known(k).collect::<Vec<f64>>())).collect()
}

/// Who sides with the estimate of a label against the catalogue's value.
fn opinions(cases: &Cases, star: usize, label: usize, catalogue: f64) -> Opinions {
    let estimate = cases.estimates.labels[[star, label]];
    let agrees = |other: f64| (other - estimate).abs() < NEARNESS * (estimate - catalogue).abs();
    let others: Vec<f64> =
        cases.others.iter().map(|labels| labels[[star, label]]).filter(|label| label.is_finite()).collect();
    let look_alikes = cases.gathered[star].look_alikes.as_ref().map_or(f64::NAN, |labels| labels[label]);
    Opinions {
        n_models: others.len(),
        n_agree: others.iter().filter(|other| agrees(**other)).count(),
        look_alikes,
        look_alikes_agree: agrees(look_alikes),
    }
}
