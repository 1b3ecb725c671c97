//! Stars of another physics than the emulator's, for trials of models that lean on it: lines are stronger or weaker, labels count
//! from other zero points, and lines are wider.

use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;

use super::giants::N_LABELS;
use super::random::Random;

/// Line strengths change over so many pixels (about 100 Angstrom), by so much in the logarithm.
const REGION: usize = 500;
const STRENGTH: f64 = 0.3;
/// Zero points of Teff [K], log g, [Fe/H], [Mg/Fe], [Si/Fe] [dex]: the emulator's spectrum of these labels is that of a star whose
/// labels are lower by so much.
const ZERO_POINTS: [f64; N_LABELS] = [50.0, 0.1, 0.05, 0.03, 0.03];
/// Share of a pixel's flux that goes to either neighbour: a resolution lower by some 5%.
const BLUR: f32 = 0.03;
/// Stream of random numbers; stars have the small ones.
const STREAM: u64 = u64::MAX;

/// Another physics; each seed has one.
pub(super) struct OtherPhysics {
    /// Factor on the depth of every pixel.
    strength: Vec<f32>,
}

impl OtherPhysics {
    pub(super) fn new(seed: u64, n_pixels: usize) -> Self {
        let mut random = Random::new(seed, STREAM);
        let knots: Vec<f64> = (0..n_pixels / REGION + 2).map(|_| STRENGTH * random.normal()).collect();
        let strength = (0..n_pixels).map(|pixel| {
            let (knot, share) = (pixel / REGION, (pixel % REGION) as f64 / REGION as f64);
            ((1.0 - share) * knots[knot] + share * knots[knot + 1]).exp() as f32
        });
        Self { strength: strength.collect() }
    }

    /// Inputs for the emulator of stars that have these, [n_stars, n_inputs].
    pub(super) fn inputs(&self, inputs: ArrayView2<f64>) -> Array2<f64> {
        let mut inputs = inputs.to_owned();
        for (label, zero_point) in ZERO_POINTS.iter().enumerate() {
            inputs.column_mut(label).mapv_inplace(|value| value + zero_point);
        }
        inputs
    }

    /// What the emulator's spectra, [n_stars, n_pixels], then look like.
    pub(super) fn changed(&self, spectra: &Array2<f32>) -> Array2<f32> {
        let (n_stars, n_pixels) = spectra.dim();
        let of_star = |star: usize| {
            let deep: Vec<f32> = spectra
                .row(star)
                .iter()
                .zip(&self.strength)
                .map(|(flux, strength)| 1.0 - (1.0 - flux) * strength)
                .collect();
            let blurred = |pixel: usize| {
                let (before, after) = (deep[pixel.saturating_sub(1)], deep[(pixel + 1).min(n_pixels - 1)]);
                (deep[pixel] + BLUR * (before + after - 2.0 * deep[pixel])).max(0.0)
            };
            (0..n_pixels).map(blurred).collect::<Vec<f32>>()
        };
        let flat: Vec<f32> = (0..n_stars).into_par_iter().flat_map_iter(of_star).collect();
        Array2::from_shape_vec((n_stars, n_pixels), flat).expect("one flux per star and pixel")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_change_by_region_and_flux_without_lines_does_not() {
        let physics = OtherPhysics::new(3, 8575);
        let flat = Array2::from_elem((2, 8575), 1.0_f32);
        assert!(physics.changed(&flat).iter().all(|flux| (flux - 1.0).abs() < 1e-6));
        let mut lines = flat;
        (10..8575).step_by(20).for_each(|pixel| lines[[1, pixel]] = 0.6);
        let changed = physics.changed(&lines);
        let depths: Vec<f64> =
            (10..8575).step_by(20).map(|pixel| f64::from((1.0 - changed[[1, pixel]]) / 0.4).ln()).collect();
        let scatter = crate::stats::robust::standard_deviation(&depths);
        // Seventeen regions, of which those between two knots scatter less; a line of one pixel loses twice BLUR.
        assert!((0.12..0.4).contains(&scatter), "{scatter}");
        let share = f64::from(1.0 - changed[[1, 11]]) / f64::from(1.0 - changed[[1, 10]]);
        assert!((share - 0.03 / 0.94).abs() < 1e-3, "{share}");
        assert_ne!(changed, OtherPhysics::new(4, 8575).changed(&lines));
        let inputs = physics.inputs(ndarray::array![[4500.0, 2.0, 0.0, 0.0, 0.0, 7.0]].view());
        assert_eq!(inputs, ndarray::array![[4550.0, 2.1, 0.05, 0.03, 0.03, 7.0]]);
    }
}
