//! Training spectra as they might also have been observed: noisier, masked, with another continuum, a little shifted.

use burn::tensor::{Distribution, Tensor};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::device::Compute;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;

/// `[models.<name>.network.augment]`; nil everywhere leaves spectra as they are.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AugmentSettings {
    /// Noise added to each star, at most, in units of its own; the amount is drawn for each star.
    #[schemars(range(min = 0.0, max = 100.0))]
    pub noise: f64,
    /// Part of the pixels masked at random.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub mask_pixels: f64,
    /// Runs of neighbouring pixels masked in each star, as a sky line or an unlisted feature would be.
    #[schemars(range(max = 1000))]
    pub mask_lines: usize,
    /// Pixels of such a run.
    #[schemars(range(max = 10_000))]
    pub line_pixels: usize,
    /// Probability that a whole chip of a star is masked.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 1.0))]
    pub mask_chip: f64,
    /// Standard deviation of a smooth relative error of the continuum, of second order in each chip.
    #[schemars(range(min = 0.0), extend("exclusiveMaximum" = 0.5))]
    pub continuum: f64,
    /// Largest shift along the spectrum, in pixels; up to one half.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub shift_pixels: f64,
}

impl AugmentSettings {
    /// The first setting that makes no sense, and what is wrong with it.
    ///
    /// # Errors
    /// Key and problem.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let has_pixels = self.mask_lines == 0 || self.line_pixels > 0;
        if has_pixels { Ok(()) } else { Err(("line_pixels", "must be at least 1 where mask_lines is")) }
    }
}

/// The settings, made ready for a grid.
#[derive(Debug)]
pub struct Augmentation {
    settings: AugmentSettings,
    chips: Vec<(usize, usize)>,
    /// Polynomials of each chip, of mean square one there, [n_chips * (order + 1), n_pixels].
    wiggles: Tensor<2>,
    compute: Compute,
}

impl Augmentation {
    /// Ready to change spectra on this grid.
    pub fn new(settings: &AugmentSettings, grid: &WavelengthGrid, compute: &Compute) -> Self {
        let chips: Vec<(usize, usize)> = grid.chips.iter().map(|chip| (chip.start, chip.end)).collect();
        let n_pixels = grid.n_pixels();
        let mut wiggles = Vec::new();
        for &(start, end) in &chips {
            // Legendre polynomials, so that their coefficients are independent errors.
            for order in 0..3 {
                wiggles.extend((0..n_pixels).map(|pixel| {
                    if !(start..end).contains(&pixel) {
                        return 0.0;
                    }
                    let x = 2.0 * (pixel - start) as f64 / (end - start - 1).max(1) as f64 - 1.0;
                    [1.0, 3_f64.sqrt() * x, 5_f64.sqrt() * (1.5 * x * x - 0.5)][order]
                }));
            }
        }
        let wiggles = compute.tensor(&wiggles, [3 * chips.len(), n_pixels]);
        Self { settings: settings.clone(), chips, wiggles, compute: compute.clone() }
    }

    /// The spectra as they might also have been observed. Draws from `random`, and normal deviates from the device.
    pub fn apply(&self, spectra: SpectraBatch, random: &mut ChaCha8Rng) -> SpectraBatch {
        let SpectraBatch { mut flux, mut ivar } = spectra;
        let settings = &self.settings;
        let [n_stars, n_pixels] = flux.dims();
        let normal = || Distribution::Normal(0.0, 1.0);
        let mut column = |most: f64| {
            let values: Vec<f64> = (0..n_stars).map(|_| random.random_range(-1.0..1.0) * most).collect();
            self.compute.tensor(&values, [n_stars, 1])
        };
        if settings.shift_pixels > 0.0 {
            // f(j + d) = f_j + d f' + d^2 f'' / 2 through three neighbours: exact for the parabola through them.
            let shift = column(settings.shift_pixels);
            let inner = flux.clone().narrow(1, 1, n_pixels - 2);
            let (left, right) = (flux.clone().narrow(1, 0, n_pixels - 2), flux.clone().narrow(1, 2, n_pixels - 2));
            let slope = (right.clone() - left.clone()) * 0.5;
            let bend = (right + left) * 0.5 - inner.clone();
            let moved = inner + slope * shift.clone() + bend * shift.powf_scalar(2.0);
            let (first, last) = (flux.clone().narrow(1, 0, 1), flux.narrow(1, n_pixels - 1, 1));
            flux = Tensor::cat(vec![first, moved, last], 1);
            // What was interpolated from a masked pixel is masked.
            let edge = |from: usize| ivar.clone().narrow(1, from, 1);
            let of = |from: usize| ivar.clone().narrow(1, from, n_pixels - 2);
            let beside = of(0).min_pair(of(2)).greater_elem(0.0);
            let inner = of(1).mask_fill(beside.bool_not(), 0.0);
            ivar = Tensor::cat(vec![edge(0), inner, edge(n_pixels - 1)], 1);
        }
        if settings.continuum > 0.0 {
            let [n_wiggles, _] = self.wiggles.dims();
            let on = (self.compute.device(), self.compute.dtype());
            let amounts = Tensor::<2>::random([n_stars, n_wiggles], normal(), on) * (settings.continuum / 3_f64.sqrt());
            flux = flux * (amounts.matmul(self.wiggles.clone()) + 1.0);
        }
        if settings.noise > 0.0 {
            let amount = column(settings.noise);
            let known = ivar.clone().greater_elem(0.0);
            let sigma = ivar.clone().mask_fill(known.clone().bool_not(), 1.0).sqrt().recip();
            let noise = flux.random_like(normal()) * sigma * amount.clone();
            flux = flux + noise.mask_fill(known.bool_not(), 0.0);
            ivar = ivar / (amount.powf_scalar(2.0) + 1.0);
        }
        if settings.mask_pixels > 0.0 || settings.mask_lines > 0 || settings.mask_chip > 0.0 {
            ivar = ivar * self.mask(n_stars, n_pixels, random);
        }
        SpectraBatch { flux, ivar }
    }

    /// 0 where a pixel is newly masked, 1 elsewhere, [n_stars, n_pixels].
    fn mask(&self, n_stars: usize, n_pixels: usize, random: &mut ChaCha8Rng) -> Tensor<2> {
        let settings = &self.settings;
        let mut mask = vec![1.0_f32; n_stars * n_pixels];
        for star in mask.chunks_mut(n_pixels) {
            for _ in 0..(settings.mask_pixels * n_pixels as f64).round() as usize {
                star[random.random_range(0..n_pixels)] = 0.0;
            }
            for _ in 0..settings.mask_lines {
                let start = random.random_range(0..n_pixels);
                star[start..(start + settings.line_pixels).min(n_pixels)].fill(0.0);
            }
            if settings.mask_chip > 0.0 && random.random_bool(settings.mask_chip) {
                let (start, end) = self.chips[random.random_range(0..self.chips.len())];
                star[start..end].fill(0.0);
            }
        }
        self.compute.tensor_f32(mask, [n_stars, n_pixels])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Precision, to_f64};
    use rand::SeedableRng;

    const N_PIXELS: usize = 200;

    /// One smooth line in every star; the last star has masked pixels that hold nonsense.
    fn spectra(n_stars: usize, compute: &Compute) -> SpectraBatch {
        let line = |pixel: usize| 1.0 - 0.4 * (-((pixel as f64 - 90.0) / 6.0).powi(2)).exp();
        let mut flux: Vec<f64> = (0..n_stars * N_PIXELS).map(|index| line(index % N_PIXELS)).collect();
        let mut ivar = vec![1e4; n_stars * N_PIXELS];
        for pixel in 30..35 {
            flux[(n_stars - 1) * N_PIXELS + pixel] = 99.0;
            ivar[(n_stars - 1) * N_PIXELS + pixel] = 0.0;
        }
        let shape = [n_stars, N_PIXELS];
        SpectraBatch { flux: compute.tensor(&flux, shape), ivar: compute.tensor(&ivar, shape) }
    }

    fn applied(settings: AugmentSettings, n_stars: usize) -> (Vec<f64>, Vec<f64>) {
        let compute = Compute::flex(Precision::F64);
        let grid = WavelengthGrid::from_pixel_numbers(N_PIXELS);
        let augmentation = Augmentation::new(&settings, &grid, &compute);
        let changed = augmentation.apply(spectra(n_stars, &compute), &mut ChaCha8Rng::seed_from_u64(3));
        (to_f64(changed.flux), to_f64(changed.ivar))
    }

    #[test]
    fn noise_has_the_size_its_new_ivar_says() {
        let n_stars = 400;
        let (flux, ivar) = applied(AugmentSettings { noise: 2.0, ..AugmentSettings::default() }, n_stars);
        let (clean, _) = applied(AugmentSettings::default(), n_stars);
        // Added noise has the variance by which 1 / ivar has grown.
        let pulls = (0..(n_stars - 1) * N_PIXELS).map(|i| (flux[i] - clean[i]).powi(2) / (1.0 / ivar[i] - 1e-4));
        let mean = pulls.sum::<f64>() / ((n_stars - 1) * N_PIXELS) as f64;
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
    }

    #[test]
    fn a_shift_moves_the_line_and_masks_what_touches_masked_pixels() {
        let (flux, ivar) = applied(AugmentSettings { shift_pixels: 0.5, ..AugmentSettings::default() }, 20);
        let centre = |star: usize| {
            let weights = (60..120).map(|j| (j as f64, 1.0 - flux[star * N_PIXELS + j]));
            let (sum, first) = weights.fold((0.0, 0.0), |(sum, first), (j, w)| (sum + w, first + j * w));
            first / sum - 90.0
        };
        let centres: Vec<f64> = (0..20).map(centre).collect();
        assert!(centres.iter().all(|c| c.abs() < 0.51) && centres.iter().any(|c| c.abs() > 0.2), "{centres:?}");
        let last = 19 * N_PIXELS;
        let masked: Vec<usize> = (0..N_PIXELS).filter(|j| ivar[last + j] == 0.0).collect();
        assert_eq!(masked, (29..36).collect::<Vec<_>>());
        let known = (0..N_PIXELS).filter(|j| ivar[last + j] > 0.0);
        assert!(known.into_iter().all(|j| flux[last + j] < 1.1), "a masked pixel leaked");
    }

    #[test]
    fn masks_and_wiggles_are_as_large_as_asked() {
        let settings =
            AugmentSettings { mask_lines: 2, line_pixels: 10, mask_pixels: 0.1, ..AugmentSettings::default() };
        let (_, ivar) = applied(settings, 300);
        let masked = ivar.iter().filter(|ivar| **ivar == 0.0).count() as f64 / ivar.len() as f64;
        // 1 - 0.905 * 0.9025 or so, less what falls off the end.
        assert!((masked - 0.18).abs() < 0.02, "{masked}");
        let (flux, _) = applied(AugmentSettings { continuum: 0.01, ..AugmentSettings::default() }, 300);
        let (clean, _) = applied(AugmentSettings::default(), 300);
        let square = |(f, c): (&f64, &f64)| (f / c - 1.0).powi(2);
        let rms = (flux.iter().zip(&clean).map(square).sum::<f64>() / flux.len() as f64).sqrt();
        assert!((rms - 0.01).abs() < 0.001, "{rms}");
        let (_, ivar) = applied(AugmentSettings { mask_chip: 0.5, ..AugmentSettings::default() }, 100);
        let lost = ivar.chunks(N_PIXELS).filter(|star| star.iter().all(|ivar| *ivar == 0.0)).count();
        assert!((30..70).contains(&lost), "{lost}");
    }
}
