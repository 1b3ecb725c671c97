//! Whether an array of noise is what its key says: errors and inverse variances are easily mistaken for each other.

use ndarray::{ArrayView1, ArrayView2};
use rayon::prelude::*;

use crate::stats::correlation::spearman;
use crate::stats::robust::{median, quantile};

/// Ratios of flux and error that a pixel of a star can have.
const POSSIBLE: std::ops::RangeInclusive<f64> = 1.0..=1e4;
/// Stars, and pixels of each, that tell it.
const MOST_STARS: usize = 2000;
const MOST_PIXELS: usize = 1000;

/// A star's typical flux and error, and their ratio.
struct Level {
    flux: f64,
    error: f64,
    ratio: f64,
}

/// Why errors (or inverse variances, unless `is_error`), [n_stars, n_pixels], look like the other; `None` where they do not. Only
/// ratios and trends count: units do not. `prefix` is what stands before `error` and `ivar` where people write them.
pub(super) fn doubt(flux: ArrayView2<f32>, noise: ArrayView2<f32>, is_error: bool, prefix: &str) -> Option<String> {
    let step = flux.nrows().div_ceil(MOST_STARS).max(1);
    let rows: Vec<usize> = (0..flux.nrows()).step_by(step).collect();
    let level = |row: &usize| level(flux.row(*row), noise.row(*row), is_error);
    let levels: Vec<Level> = rows.par_iter().filter_map(level).collect();
    let (key, other) = if is_error { ("error", "ivar") } else { ("ivar", "error") };
    let question = format!("is {prefix}{key} what it says, or {other}?");
    let ratio = median(&levels.iter().map(|level| level.ratio).collect::<Vec<_>>());
    if ratio < *POSSIBLE.start() {
        return Some(format!("the noise of a typical pixel is {:.1} times its flux: {question}", ratio.recip()));
    }
    if ratio > *POSSIBLE.end() {
        return Some(format!("the flux of a typical pixel is {ratio:.0} times its noise: {question}"));
    }
    falls_with_flux(&levels).then(|| format!("stars of higher flux have smaller errors: {question}"))
}

/// `None` for a star without a measured pixel.
fn level(flux: ArrayView1<f32>, noise: ArrayView1<f32>, is_error: bool) -> Option<Level> {
    let step = flux.len().div_ceil(MOST_PIXELS).max(1);
    let error = |noise: f32| if is_error { f64::from(noise) } else { f64::from(noise).sqrt().recip() };
    let pixels = flux.into_iter().zip(noise).step_by(step).map(|(flux, noise)| (f64::from(flux.abs()), error(*noise)));
    let (flux, error): (Vec<f64>, Vec<f64>) =
        pixels.filter(|(flux, error)| flux.is_finite() && error.is_finite() && *error > 0.0).unzip();
    let ratios: Vec<f64> = flux.iter().zip(&error).map(|(flux, error)| flux / error).collect();
    (!ratios.is_empty()).then(|| Level { flux: median(&flux), error: median(&error), ratio: median(&ratios) })
}

/// Whether errors fall from faint stars to bright ones. Photons, sky and read-out never make them; inverse variances do.
fn falls_with_flux(levels: &[Level]) -> bool {
    const FEWEST: usize = 20;
    /// Between faint and bright stars: spectra that were scaled to one level tell nothing.
    const SPREAD: f64 = 2.0;
    let of = |value: fn(&Level) -> f64| levels.iter().map(value).collect::<Vec<f64>>();
    let (flux, error) = (of(|level| level.flux), of(|level| level.error));
    levels.len() >= FEWEST && quantile(&flux, 0.9) > SPREAD * quantile(&flux, 0.1) && spearman(&flux, &error) < -0.5
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::Array2;

    /// Spectra of 40 stars of these fluxes, and errors that are a hundredth of them.
    fn survey(flux: impl Fn(usize) -> f32) -> (Array2<f32>, Array2<f32>) {
        let flux = Array2::from_shape_fn((40, 50), |(star, pixel)| flux(star) * (1.0 - 0.002 * pixel as f32));
        let error = flux.mapv(|flux| 0.01 * flux);
        (flux, error)
    }

    #[test]
    fn mistaken_noise_is_told_whatever_the_unit_of_flux() {
        for unit in [1e-15, 1.0, 1500.0, 1e8] {
            let (flux, error) = survey(|star| unit * (1.0 + star as f32));
            let ivar = error.mapv(|error| error.powi(-2));
            assert_eq!(doubt(flux.view(), error.view(), true, "data.arrays."), None, "{unit}");
            assert_eq!(doubt(flux.view(), ivar.view(), false, "data.arrays."), None, "{unit}");
            let said = doubt(flux.view(), ivar.view(), true, "data.arrays.").unwrap();
            assert!(said.contains("is data.arrays.error what it says, or ivar?"), "{unit}: {said}");
            let said = doubt(flux.view(), error.view(), false, "data.arrays.").unwrap();
            assert!(said.contains("is data.arrays.ivar what it says, or error?"), "{unit}: {said}");
        }
    }

    #[test]
    fn of_stars_of_one_level_the_ratio_tells() {
        let (flux, error) = survey(|_| 1500.0);
        let ivar = error.mapv(|error| error.powi(-2));
        assert!(doubt(flux.view(), ivar.view(), true, "data.arrays.").unwrap().contains("times its noise"));
        assert!(
            doubt(flux.view(), error.mapv(|error| 1e3 * error).view(), true, "data.arrays.")
                .unwrap()
                .contains("10.0 times its flux")
        );
        assert_eq!(doubt(flux.view(), ivar.view(), false, "data.arrays."), None);
        // A star without a measured pixel has no say, and none at all is the business of others.
        assert_eq!(doubt(flux.view(), Array2::zeros((40, 50)).view(), true, "data.arrays."), None);
        assert_eq!(
            doubt(Array2::from_elem((3, 4), f32::NAN).view(), Array2::ones((3, 4)).view(), false, "data.arrays."),
            None
        );
    }
}
