//! A spectrum as small whole numbers, for pages that carry many: its noise in steps of the logarithm, its flux in steps of the noise.

use crate::data::page_bytes::PageBytes;

/// Steps of the noise in each factor of e: it is told to 1.6%.
const STEPS_PER_E: f64 = 32.0;

/// A step of the flux in units of the noise as it is told: rounding is wrong by half of it at most, less than a tenth of the noise.
const STEP: f64 = 0.19;

/// Flux beside a reference, and noise, of one spectrum.
///
/// ```text
/// noise_j = least_noise exp((code_j - 1) / 32),   code 0: no information
/// flux_j  = reference_j + step_j number_j,        step_j = max(0.19 noise_j, least_step)
/// ```
///
/// `least_step` is that with which the pixel farthest from the reference is still told: no pixel is wrong by more than a tenth of the
/// noise, or by 1 / 65,534 of the largest distance from the reference where that is more.
#[derive(Debug, Clone, PartialEq)]
pub struct Quantized {
    least_noise: f32,
    least_step: f32,
    noise: Vec<u16>,
    flux: Vec<i16>,
}

impl Quantized {
    /// Of flux, its inverse variance, 0 = no information, and a reference near it, `[n_pixels]` each.
    pub fn new(flux: &[f32], ivar: &[f32], reference: &[f32]) -> Self {
        let known = |pixel: &usize| ivar[*pixel] > 0.0;
        let noise_of = |pixel: usize| f64::from(ivar[pixel]).sqrt().recip();
        let distance = |pixel: usize| f64::from(flux[pixel]) - f64::from(reference[pixel]);
        let pixels = || (0..flux.len()).filter(known);
        let least = pixels().map(noise_of).fold(f64::INFINITY, f64::min) as f32;
        let least_noise = if least.is_finite() { least } else { 1.0 };
        let farthest = pixels().map(|pixel| distance(pixel).abs()).fold(0.0, f64::max);
        let mut quantized = Self {
            least_noise,
            least_step: (farthest / f64::from(i16::MAX)) as f32,
            noise: vec![0; flux.len()],
            flux: vec![0; flux.len()],
        };
        for pixel in pixels() {
            let steps = (STEPS_PER_E * (noise_of(pixel) / f64::from(least_noise)).ln()).round();
            quantized.noise[pixel] = 1 + steps as u16;
            quantized.flux[pixel] = (distance(pixel) / quantized.step(pixel)).round() as i16;
        }
        quantized
    }

    /// The noise of a pixel with information, as it is told.
    fn noise(&self, pixel: usize) -> f64 {
        f64::from(self.least_noise) * ((f64::from(self.noise[pixel]) - 1.0) / STEPS_PER_E).exp()
    }

    fn step(&self, pixel: usize) -> f64 {
        (STEP * self.noise(pixel)).max(f64::from(self.least_step))
    }

    /// As a page carries it: `least_noise`, `least_step`, differences of the noise's codes, numbers of the flux.
    pub fn text(&self) -> String {
        let before = std::iter::once(&0).chain(&self.noise);
        let differences = self.noise.iter().zip(before).map(|(code, before)| code.wrapping_sub(*before).cast_signed());
        PageBytes::default()
            .with_f32([self.least_noise, self.least_step].into_iter())
            .with_i16(differences)
            .with_i16(self.flux.iter().copied())
            .text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a page shows of it: flux and noise, NaN where there is no information.
    fn shown(quantized: &Quantized, reference: &[f32]) -> Vec<(f64, f64)> {
        let of_pixel = |pixel: usize| match quantized.noise[pixel] {
            0 => (f64::NAN, f64::NAN),
            _ => {
                let flux = f64::from(reference[pixel]) + quantized.step(pixel) * f64::from(quantized.flux[pixel]);
                (flux, quantized.noise(pixel))
            }
        };
        (0..reference.len()).map(of_pixel).collect()
    }

    proptest! {
        #[test]
        fn flux_is_told_to_a_tenth_of_its_noise_and_noise_to_two_percent(
            pixels in prop::collection::vec((-1.0_f32..3.0, -3.0_f32..0.5, 0.4_f32..1.1, prop::bool::weighted(0.8)), 1..200)
        ) {
            let flux: Vec<f32> = pixels.iter().map(|pixel| pixel.0).collect();
            let noise: Vec<f32> = pixels.iter().map(|pixel| 10_f32.powf(pixel.1)).collect();
            let ivar: Vec<f32> =
                pixels.iter().zip(&noise).map(|(pixel, noise)| if pixel.3 { noise.powi(-2) } else { 0.0 }).collect();
            for reference in [vec![1.0; flux.len()], pixels.iter().map(|pixel| pixel.2).collect()] {
                let quantized = Quantized::new(&flux, &ivar, &reference);
                for (pixel, (found, told)) in shown(&quantized, &reference).into_iter().enumerate() {
                    if ivar[pixel] <= 0.0 {
                        prop_assert!(found.is_nan());
                        continue;
                    }
                    let (flux, noise) = (f64::from(flux[pixel]), f64::from(noise[pixel]));
                    prop_assert!((found - flux).abs() < 0.1 * noise, "{found} for {flux} +- {noise}");
                    prop_assert!((told / noise - 1.0).abs() < 0.02, "{told} for {noise}");
                }
            }
        }
    }

    #[test]
    fn spectra_without_noise_or_without_data_stay_what_they_are() {
        let reference = [0.0_f32; 3];
        let quantized = Quantized::new(&[1.0, -0.5, 0.25], &[1e20, 1e20, 0.0], &reference);
        let found = shown(&quantized, &reference);
        assert!((found[0].0 - 1.0).abs() < 1.0 / 65_000.0 && (found[1].0 + 0.5).abs() < 1.0 / 65_000.0, "{found:?}");
        assert!(found[2].0.is_nan());
        let empty = Quantized::new(&[1.0; 3], &[0.0; 3], &reference);
        assert!(shown(&empty, &reference).iter().all(|(flux, noise)| flux.is_nan() && noise.is_nan()));
    }
}
