//! What lies between a star's true spectrum and the detector: velocity, colour, resolution, throughput.

use super::detector::{KMS_PER_PIXEL, Windows, place_on_chip};
use super::random::Random;

/// Streams of random numbers of the fibres' optics.
const OPTICS_STREAM: u64 = 1 << 41;
/// Wavelength at which magnitudes are measured, and to which continua are scaled [Angstrom].
const REFERENCE_WAVELENGTH: f64 = 16_300.0;
/// hc/k [Angstrom K].
const RADIATION: f64 = 1.438_777e8;
/// Flux of a star of H = 0 [1e-17 erg/s/cm^2/A]: 1.13e-10 erg/s/cm^2/A (Cohen et al. 2003, 2MASS); the real files agree
/// to 2%.
const FLUX_OF_H_0: f64 = 1.133e7;
/// Scatter of the Legendre coefficients of the response along a chip: from fibre to fibre, from visit to visit.
const RESPONSE_OF_FIBRE: [f64; 4] = [0.020, 0.025, 0.015, 0.006];
const RESPONSE_OF_VISIT: [f64; 4] = [0.008, 0.010, 0.005, 0.002];
/// The part all fibres share, by chip.
const RESPONSE_OF_ALL: [[f64; 4]; 3] =
    [[0.00, 0.02, -0.03, 0.01], [-0.01, 0.01, 0.02, 0.00], [0.01, -0.02, -0.02, 0.01]];

/// True continuum above the air [1e-17 erg/s/cm^2/A]: a blackbody behind dust, scaled to an H magnitude.
pub(super) fn continuum(wavelength: &[f64], teff: f64, extinction_k: f64, h_mag: f64) -> Vec<f64> {
    // A(lambda) / A(K) = (lambda / 2.16 micron)^-1.6, the usual power law of the near infrared.
    let dust = |wavelength: f64| extinction_k * (wavelength / 21_600.0).powf(-1.6);
    let shape = |wavelength: f64| {
        wavelength.powi(-5) / ((RADIATION / (wavelength * teff)).exp() - 1.0) * 10_f64.powf(-0.4 * dust(wavelength))
    };
    let level = FLUX_OF_H_0 * 10_f64.powf(-0.4 * h_mag) / shape(REFERENCE_WAVELENGTH);
    wavelength.iter().map(|wavelength| level * shape(*wavelength)).collect()
}

/// A spectrum of a source that recedes by `velocity_kms`: lines move to higher pixels. Cubic interpolation.
pub(super) fn shifted(flux: &[f64], velocity_kms: f64) -> Vec<f64> {
    let shift = velocity_kms / KMS_PER_PIXEL;
    let whole = shift.floor();
    // Between pixel -1 - whole and its neighbours: the fraction by which to go back.
    let back = shift - whole;
    let at = |pixel: i64| flux[pixel.clamp(0, flux.len() as i64 - 1) as usize];
    // Lagrange polynomial through four pixels at -1, 0, 1, 2 evaluated at t.
    let t = 1.0 - back;
    let weights = [
        -t * (t - 1.0) * (t - 2.0) / 6.0,
        (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
        -(t + 1.0) * t * (t - 2.0) / 2.0,
        (t + 1.0) * t * (t - 1.0) / 6.0,
    ];
    (0..flux.len() as i64)
        .map(|pixel| {
            let origin = pixel - whole as i64 - 1;
            weights.iter().enumerate().map(|(k, weight)| weight * at(origin - 1 + k as i64)).sum()
        })
        .collect()
}

/// A spectrum seen with a line-spread function wider by `variance` [pixel^2] at each pixel.
///
/// Two steps of diffusion in the form that conserves what is absorbed: what leaves a pixel arrives at its neighbour.
pub(super) fn broadened(flux: &[f64], variance: &[f64]) -> Vec<f64> {
    let mut current = flux.to_vec();
    for _ in 0..2 {
        // Exchange between a pixel and the next: each step has half the variance, and a kernel (v/4, 1 - v/2, v/4).
        let exchange: Vec<f64> = current
            .windows(2)
            .zip(variance.windows(2))
            .map(|(flux, variance)| (variance[0] + variance[1]) / 8.0 * (flux[1] - flux[0]))
            .collect();
        for (pixel, exchange) in exchange.iter().enumerate() {
            current[pixel] += exchange;
            current[pixel + 1] -= exchange;
        }
    }
    current
}

/// Share of the light that is detected, relative to the best place of the detector.
pub(super) fn throughput(chip: usize, place: f64) -> f64 {
    // Fitted to the run of S/N along the chips in the real files.
    let snr = match chip {
        0 => 0.80 + 0.50 * place - 0.34 * place * place,
        1 => 1.0 - 0.06 * place,
        _ => 0.92 - 0.12 * place - 0.28 * place * place,
    };
    snr * snr
}

/// A fibre's own imperfections.
pub(super) struct Optics {
    fibre: usize,
    /// Legendre coefficients of the response by chip.
    response: [[f64; 4]; 3],
    /// Extra width of the line-spread function at the middle of each chip, and its change along it [pixel].
    width: [(f64, f64); 3],
}

impl Optics {
    /// The optics of a fibre of the survey with this seed.
    pub(super) fn of_fibre(fibre: usize, seed: u64) -> Self {
        let mut random = Random::new(seed, OPTICS_STREAM + fibre as u64);
        let mut response = RESPONSE_OF_ALL;
        vary(&mut response, RESPONSE_OF_FIBRE, &mut random);
        let typical = random.uniform(0.05, 0.5);
        let width = [0, 1, 2].map(|_| (typical + 0.08 * random.normal(), 0.15 * random.normal()));
        Self { fibre, response, width }
    }

    /// Variance by which lines are wider than those of the models, at each pixel [pixel^2].
    pub(super) fn extra_variance(&self, windows: &Windows, n_pixels: usize, shift: f64) -> Vec<f64> {
        let mut variance = vec![0.0; n_pixels];
        for (chip, window) in windows.iter().enumerate() {
            for pixel in window.clone() {
                let place = place_on_chip(chip, self.fibre, pixel as f64 + shift);
                let (middle, slope) = self.width[chip];
                // Lines are never narrower than the models', and diffusion needs at most 1.
                variance[pixel] = (middle + slope * (2.0 * place - 1.0)).clamp(0.0, 0.9).powi(2);
            }
        }
        variance
    }

    /// The response in one visit, as a factor on the flux: smooth along each chip, with steps between them.
    pub(super) fn response(&self, random: &mut Random) -> impl Fn(usize, f64) -> f64 + use<> {
        let mut coefficients = self.response;
        vary(&mut coefficients, RESPONSE_OF_VISIT, random);
        move |chip, place| {
            let x = 2.0 * place - 1.0;
            let legendre = [1.0, x, 1.5 * x * x - 0.5, 2.5 * x * x * x - 1.5 * x];
            1.0 + coefficients[chip].iter().zip(legendre).map(|(a, p)| a * p).sum::<f64>()
        }
    }
}

fn vary(coefficients: &mut [[f64; 4]; 3], scatter: [f64; 4], random: &mut Random) {
    for chip in coefficients {
        for (coefficient, scatter) in chip.iter_mut().zip(scatter) {
            *coefficient += scatter * random.normal();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(centre: f64) -> Vec<f64> {
        (0..200).map(|pixel| 1.0 - 0.5 * (-0.5 * ((pixel as f64 - centre) / 1.4).powi(2)).exp()).collect()
    }

    fn absorbed(flux: &[f64]) -> f64 {
        flux.iter().map(|flux| 1.0 - flux).sum()
    }

    /// Centre and variance of an absorption line.
    fn moments(flux: &[f64]) -> (f64, f64) {
        let total = absorbed(flux);
        let centre = flux.iter().enumerate().map(|(pixel, flux)| pixel as f64 * (1.0 - flux)).sum::<f64>() / total;
        let spread = |(pixel, flux): (usize, &f64)| (pixel as f64 - centre).powi(2) * (1.0 - flux);
        (centre, flux.iter().enumerate().map(spread).sum::<f64>() / total)
    }

    #[test]
    fn a_receding_star_has_its_lines_at_higher_pixels() {
        for velocity in [0.0, 0.1, 4.141_786, 33.3, -0.1, -57.0] {
            let moved = shifted(&line(100.0), velocity);
            let expected = line(100.0 + velocity / KMS_PER_PIXEL);
            let worst = moved.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            // Cubic interpolation of a line of 3.3 pixels FWHM half-way between pixels; a tenth of a km/s is far better.
            assert!(worst < if velocity.abs() <= 0.1 { 1e-3 } else { 0.02 }, "{velocity}: {worst}");
            assert!((moments(&moved).0 - 100.0 - velocity / KMS_PER_PIXEL).abs() < 1e-6, "{velocity}");
        }
    }

    #[test]
    fn broadening_keeps_the_equivalent_width_and_adds_its_variance() {
        let sharp = line(100.3);
        let wide = broadened(&sharp, &vec![0.4; 200]);
        assert!((absorbed(&wide) - absorbed(&sharp)).abs() < 1e-12);
        assert!((moments(&wide).1 - moments(&sharp).1 - 0.4).abs() < 1e-6);
        let uneven: Vec<f64> = (0..200).map(|pixel| pixel as f64 / 250.0).collect();
        assert!((absorbed(&broadened(&sharp, &uneven)) - absorbed(&sharp)).abs() < 1e-12);
        assert_eq!(broadened(&sharp, &vec![0.0; 200]), sharp);
    }

    #[test]
    fn continua_have_the_level_of_real_stars_and_cool_stars_are_redder() {
        let wavelength = [15_200.0, 16_300.0, 16_900.0];
        // 2M17335483-2753043: H 10.318, median flux 830; 2M19485057+5005279: H 10.584, 656.
        for (h_mag, level) in [(10.318, 830.0), (10.584, 656.0)] {
            assert!((continuum(&wavelength, 4000.0, 0.3, h_mag)[1] / level - 1.0).abs() < 0.03);
        }
        let slope = |teff, dust| {
            let flux = continuum(&wavelength, teff, dust, 10.0);
            flux[2] / flux[0]
        };
        assert!(slope(3800.0, 0.0) > slope(5200.0, 0.0) && slope(4500.0, 1.0) > slope(4500.0, 0.0));
    }
}
