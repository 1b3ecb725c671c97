//! Everything known about one star that might explain its deviation, in numbers.

use serde::Serialize;

use super::fits::OtherFits;
use super::spectrum::SpectrumEvidence;
use crate::stats::robust::{median, robust_scatter};

/// What speaks about one star. No truth is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Evidence {
    /// Estimate - catalogue about its median, in robust scatters of all test stars, by label; NaN where not known.
    pub deviations: Vec<f64>,
    /// The label that deviates most.
    pub worst_label: usize,
    /// Signal-to-noise ratio per pixel.
    pub snr: f64,
    /// Part of the pixels inside the chips that are masked.
    pub fraction_masked: f64,
    /// Chips without a usable continuum, or with next to no pixel left.
    pub chips_lost: usize,
    /// Pixels masked as emission.
    pub n_emission: usize,
    /// Good continuum pixels, as a part of the usual number.
    pub continuum_pixels: f64,
    /// Robust scatter of the continuum pixels about the continuum, over the usual one.
    pub continuum_residual: f64,
    /// The estimate's flags.
    pub flags: i64,
    /// chi^2 of the estimate as its fit left it.
    pub reported_chi2: f64,
    /// APOGEE_STARFLAG and APOGEE_ASPCAPFLAG of the catalogue.
    pub starflag: i64,
    /// See `starflag`.
    pub aspcapflag: i64,
    /// The largest of the catalogue's label errors, over the usual one of that label; NaN where there are none.
    pub catalogue_error: f64,
    /// What the spectrum says.
    pub spectrum: SpectrumEvidence,
    /// How unusual that is among the test stars.
    pub unusual: Unusual,
    /// What other fits say.
    pub fits: Option<OtherFits>,
    /// What does not depend on the first model.
    pub opinions: Opinions,
    /// How far the minima of other fits are from the catalogue: the largest deviation of any label.
    pub lowest_deviation: f64,
    /// See `lowest_deviation`.
    pub from_catalogue_deviation: f64,
}

/// How far a star's numbers are from the median of all test stars, in robust scatters; logarithms are compared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Unusual {
    /// Of chi^2 per pixel.
    pub chi2: f64,
    /// Of its concentration on few pixels.
    pub concentration: f64,
    /// Of the part that lines of the sky explain.
    pub sky: f64,
    /// Of the part that a wrong continuum explains.
    pub smooth: f64,
    /// Of the part that a second star explains.
    pub companion: f64,
}

/// Whether others side with the estimate, in the label that deviates most.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Opinions {
    /// Other models of the run that estimate the star.
    pub n_models: usize,
    /// Those of them that are nearer to the estimate than half its distance from the catalogue.
    pub n_agree: usize,
    /// That label of the training stars whose spectra look most like the star's; NaN if unknown.
    pub look_alikes: f64,
    /// Whether it is nearer to the estimate than half its distance from the catalogue.
    pub look_alikes_agree: bool,
}

/// The usual spread of the logarithm of a positive number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Usual {
    centre: f64,
    scatter: f64,
}

/// Parts of chi^2 below this are nothing, however small the others' are.
const NOTHING: f64 = 1e-3;

impl Usual {
    /// Of these values; those that are not known do not count.
    pub(super) fn of(values: impl Iterator<Item = f64>) -> Self {
        let known: Vec<f64> = values.filter(|value| value.is_finite()).map(Self::logarithm).collect();
        // A scatter of less than a tenth is that of a sample too small or too much alike to tell.
        Self { centre: median(&known), scatter: robust_scatter(&known).max(0.1) }
    }

    fn logarithm(value: f64) -> f64 {
        (value.max(0.0) + NOTHING).ln()
    }

    /// How unusual a value is, in robust scatters.
    pub(super) fn sigma(&self, value: f64) -> f64 {
        (Self::logarithm(value) - self.centre) / self.scatter
    }
}

/// The usual values of what spectra say.
pub(super) struct UsualSpectrum {
    chi2: Usual,
    concentration: Usual,
    sky: Usual,
    smooth: Usual,
    companion: Usual,
}

impl UsualSpectrum {
    /// Of these stars.
    pub(super) fn of(stars: &[SpectrumEvidence]) -> Self {
        let usual = |value: fn(&SpectrumEvidence) -> f64| Usual::of(stars.iter().map(value));
        Self {
            chi2: usual(SpectrumEvidence::chi2_per_pixel),
            concentration: usual(|star| star.concentration),
            sky: usual(|star| star.sky_part),
            smooth: usual(|star| star.smooth_part),
            companion: usual(|star| star.companion_part),
        }
    }

    /// How unusual a star is among them.
    pub(super) fn compare(&self, star: &SpectrumEvidence) -> Unusual {
        Unusual {
            chi2: self.chi2.sigma(star.chi2_per_pixel()),
            concentration: self.concentration.sigma(star.concentration),
            sky: self.sky.sigma(star.sky_part),
            smooth: self.smooth.sigma(star.smooth_part),
            companion: self.companion.sigma(star.companion_part),
        }
    }
}
