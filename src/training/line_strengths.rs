//! By how much a survey's lines are stronger, or weaker, than physics says, in every pixel.
//!
//! ```text
//! theta_j ~ N(e_0 + (1 + g_j) (theta0_j - e_0), ...),   g_j ~ N(0, a^2)
//! ```
//!
//! Oscillator strengths are the least certain of what a synthetic spectrum is made of, and a line that is too strong is so in all
//! stars alike: one number a pixel, known from few stars, tells of all its coefficients. The strength a is at the maximum of the
//! evidence (MacKay 1992, Neural Computation 4, 415, Eq. 4.8).

use burn::tensor::Tensor;
use ndarray::{Array2, s};

use super::anchor_groups::TRIMMED;
use super::latent_em::Em;
use crate::device::to_f64;
use crate::error::Result;

/// Strength before the evidence is asked, and the smallest.
const FIRST: f64 = 0.1;
const LEAST: f64 = 1e-4;
/// Steps towards the maximum of the evidence.
const STEPS: usize = 30;
/// The least and the largest factor on the depth of a pixel.
const FACTORS: [f64; 2] = [0.1, 10.0];

/// Factors on the depth of every pixel below the continuum, as physics has it.
pub(super) struct LineStrengths {
    /// 1 + g, `[n_pixels]`.
    factors: Vec<f64>,
    /// Depth of every pixel in the pivot star, by physics, `[n_pixels]`.
    depth: Vec<f64>,
    /// The continuum above each pixel's mean flux, `[n_pixels]`.
    continuum: Vec<f64>,
    /// Coefficients that go with the depth of the lines; those behind them are the instrument's.
    n_scaled: usize,
    /// a
    pub strength: f64,
}

impl LineStrengths {
    /// Those of physics, of whose coefficients the first so many go with the depth of lines.
    pub fn of_physics(em: &Em, n_scaled: usize) -> Self {
        let continuum: Vec<f64> = em.blocks.mean_flux.iter().map(|mean| 1.0 - mean).collect();
        let mean = em.prior.mean.as_ref().expect("physics is a prior");
        let depth = mean.row(0).iter().zip(&continuum).map(|(constant, continuum)| continuum - constant).collect();
        Self { factors: vec![1.0; continuum.len()], depth, continuum, n_scaled, strength: FIRST }
    }

    /// Finds the strengths of all lines from the stars that are kept, and moves the prior's means there. A pixel may differ from
    /// physics by some `offset` besides, in the root of the mean square.
    ///
    /// # Errors
    /// Those of reading.
    pub fn learn(&mut self, em: &mut Em, offset: f64) -> Result<()> {
        let [right, normal] = self.least_squares(em)?;
        // g and its variance; pixels without lines tell nothing.
        let of_pixel = |pixel: usize| {
            let (factor, depth) = (self.factors[pixel], self.depth[pixel]);
            let g = factor * right[pixel] / normal[pixel] - 1.0;
            let variance = factor.powi(2) / normal[pixel] + (offset / depth).powi(2);
            (normal[pixel] > 0.0 && depth != 0.0).then_some((g, variance))
        };
        let of_pixels: Vec<Option<(f64, f64)>> = (0..self.factors.len()).map(of_pixel).collect();
        self.strength = most_evident(of_pixels.iter().flatten(), self.strength);
        let mean = em.prior.mean.as_mut().expect("physics is a prior");
        for (pixel, found) in of_pixels.iter().enumerate() {
            let Some((g, variance)) = found else { continue };
            let shrunk = g / (1.0 + variance / self.strength.powi(2));
            let factor = (1.0 + shrunk).clamp(FACTORS[0], FACTORS[1]);
            let change = factor / self.factors[pixel];
            self.factors[pixel] = factor;
            let mut of_pixel = mean.column_mut(pixel);
            of_pixel[0] -= self.continuum[pixel];
            of_pixel.iter_mut().take(self.n_scaled).for_each(|mean| *mean *= change);
            of_pixel[0] += self.continuum[pixel];
        }
        Ok(())
    }

    /// Of every pixel the sums over stars of w d (f - c) and w d^2: d is what the prior's means say of the lines, c the continuum with
    /// what the instrument does.
    fn least_squares(&self, em: &Em) -> Result<[Vec<f64>; 2]> {
        let design = em.design();
        let mean = em.prior.mean.as_ref().expect("physics is a prior");
        let mut flat = mean.clone();
        flat.slice_mut(s![..self.n_scaled, ..]).fill(0.0);
        flat.row_mut(0).iter_mut().zip(&self.continuum).for_each(|(flat, continuum)| *flat = *continuum);
        let kept: Vec<f64> = em.kept.iter().map(|kept| f64::from(u8::from(*kept))).collect();
        let kept = em.compute.tensor(&kept, [kept.len(), 1]);
        let mut sums = [Vec::new(), Vec::new()];
        em.blocks.each(|block| {
            let range = block.range();
            let pulls = |coefficients: &Array2<f64>| {
                let coefficients = coefficients.slice(s![.., range.clone()]);
                block.pulls(&design, coefficients, &em.s2[range.clone()]) * kept.clone()
            };
            let of_lines = pulls(&flat);
            let predicted = of_lines.clone() - pulls(mean);
            let total = |product: Tensor<2>| to_f64(product.sum_dim(0));
            sums[0].extend(total(of_lines * predicted.clone()));
            sums[1].extend(total(predicted.square()));
        })?;
        Ok(sums)
    }
}

/// The strength at the maximum of the evidence of some numbers about nil, each with a variance of its own.
fn most_evident<'a>(found: impl Iterator<Item = &'a (f64, f64)>, first: f64) -> f64 {
    let mut found: Vec<(f64, f64)> = found.copied().collect();
    found.sort_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
    found.truncate(((1.0 - TRIMMED) * found.len() as f64) as usize);
    let step = |strength: f64| {
        let of_one = |(g, variance): &(f64, f64)| {
            let determined = strength.powi(2) / (strength.powi(2) + variance);
            ((g * determined).powi(2), determined)
        };
        let (squares, determined) = found.iter().map(of_one).fold((0.0, 0.0), |(a, b), (c, d)| (a + c, b + d));
        if determined > 0.0 { (squares / determined).sqrt().max(LEAST) } else { strength }
    };
    (0..STEPS).fold(first, |strength, _| step(strength))
}

#[cfg(test)]
mod tests {
    use ndarray::{Axis, concatenate};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::device::{Compute, Precision};
    use crate::models::vectorizer::Vectorizer;
    use crate::spectra::stored::Spectra;
    use crate::stats::normal::draw as normal;
    use crate::training::believed_labels::BelievedLabels;
    use crate::training::coefficient_prior::CoefficientPrior;
    use crate::training::latent_blocks::PixelBlocks;

    #[test]
    fn the_strength_is_what_errors_do_not_explain() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut of = |strength: f64| {
            let numbers: Vec<(f64, f64)> = (0..4000)
                .map(|n| {
                    let error = 0.05 + 0.3 * f64::from(n % 2);
                    (strength * normal(&mut random) + error * normal(&mut random), error.powi(2))
                })
                .collect();
            most_evident(numbers.iter(), FIRST)
        };
        let strong = of(0.3);
        assert!((0.27..0.32).contains(&strong), "{strong}");
        assert!(of(0.0) < 0.02);
        assert_eq!(most_evident([].iter(), FIRST), FIRST);
    }

    #[test]
    fn lines_are_as_strong_as_the_stars_have_them() {
        const N_STARS: usize = 20;
        const N_PIXELS: usize = 300;
        const NOISE: f64 = 0.005;
        let mut random = ChaCha8Rng::seed_from_u64(8);
        let depth = Array2::from_shape_simple_fn((1, N_PIXELS), || -0.15 * normal(&mut random).abs());
        let rows = |size: f64, random: &mut ChaCha8Rng| {
            size * &depth * &Array2::from_shape_simple_fn((1, N_PIXELS), || normal(random))
        };
        // A constant and a label; a nuisance of the lines' and one of the instrument's.
        let (linear, nuisance) = (rows(0.3, &mut random), rows(0.1, &mut random));
        let instrument = Array2::from_elem((1, N_PIXELS), 0.01);
        let physics = concatenate![Axis(0), &depth + 1.0, linear, nuisance, instrument];
        let factors: Vec<f64> = (0..N_PIXELS).map(|_| (0.3 * normal(&mut random)).exp()).collect();
        let inputs = Array2::from_shape_simple_fn((N_STARS, 3), || normal(&mut random));
        let flux = Array2::from_shape_fn((N_STARS, N_PIXELS), |(star, pixel)| {
            let lines =
                depth[[0, pixel]] + inputs[[star, 0]] * linear[[0, pixel]] + inputs[[star, 1]] * nuisance[[0, pixel]];
            let flux = 1.0 + factors[pixel] * lines + inputs[[star, 2]] * instrument[[0, pixel]];
            (flux + NOISE * normal(&mut random)) as f32
        });
        // A pixel that nobody has.
        let of_pixel = |(_, pixel): (usize, usize)| if pixel == 7 { 0.0 } else { (1.0 / NOISE.powi(2)) as f32 };
        let ivar = Array2::from_shape_fn(flux.dim(), of_pixel);
        let compute = Compute::flex(Precision::F64);
        let spectra = Spectra::in_memory(flux, ivar);
        let stars: Vec<usize> = (0..N_STARS).collect();
        let blocks = PixelBlocks::new(&spectra, &stars, &compute).unwrap();
        let prior = CoefficientPrior::about(physics.clone(), vec![0.0; 4], vec![1e-6; N_PIXELS]);
        let labels = BelievedLabels::exact(inputs.slice(s![.., ..1]));
        let model = (Vectorizer::new(1, 1), physics.clone(), vec![1e-6; N_PIXELS]);
        let mut em = Em::new(model, prior, labels, blocks, &compute);
        em.latent.assign(&inputs.slice(s![.., 1..]));
        let mut lines = LineStrengths::of_physics(&em, 3);
        lines.learn(&mut em, 0.0).unwrap();
        assert!((0.2..0.45).contains(&lines.strength), "{}", lines.strength);
        let mean = em.prior.mean.as_ref().unwrap();
        let mut squares = 0.0;
        for pixel in (0..N_PIXELS).filter(|pixel| *pixel != 7) {
            let error = (lines.factors[pixel] - factors[pixel]) * depth[[0, pixel]];
            squares += error.powi(2);
            let now = [mean[[0, pixel]] - lines.continuum[pixel], mean[[1, pixel]], mean[[2, pixel]]];
            let before = [depth[[0, pixel]], linear[[0, pixel]], nuisance[[0, pixel]]];
            for (now, before) in now.into_iter().zip(before) {
                assert!((now - lines.factors[pixel] * before).abs() < 1e-12, "{now} {before}");
            }
        }
        // The mean of twenty stars, no worse.
        let error = (squares / N_PIXELS as f64).sqrt();
        assert!(error < 1.2 * NOISE / (N_STARS as f64).sqrt(), "{error}");
        assert_eq!(mean.row(3), physics.row(3));
        assert!((lines.factors[7] - 1.0).abs() < 1e-6);
        // Once more they are where they were, and a pixel that may differ otherwise tells less.
        let (before, strength) = (lines.factors.clone(), lines.strength);
        lines.learn(&mut em, 0.0).unwrap();
        assert!((lines.strength - strength).abs() < 1e-3 * strength);
        assert!(before.iter().zip(&lines.factors).all(|(before, after)| (before - after).abs() < 1e-3));
        lines.learn(&mut em, 10.0).unwrap();
        assert!(lines.strength < 0.1 && lines.factors.iter().all(|factor| (factor - 1.0).abs() < 0.1));
    }
}
