//! What a star's spectrum says against the model that was fitted to it: chi^2, and what would explain it.

use std::ops::Range;

use burn::tensor::Tensor;
use nalgebra::DMatrix;
use ndarray::{Array2, ArrayView2, s};

use super::templates::{Gains, Nuisances, Shifts};
use crate::device::{Compute, to_f64};
use crate::error::Result;
use crate::models::SpectralModel;
use crate::models::likelihood::inverse_total_variance;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::continuum::chebyshev_basis;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::night::Night;
use crate::training::checkpoint::TrainedCannon;

/// Stars examined together.
const BATCH_STARS: usize = 16;
/// Airglow from which on a pixel belongs to a line of the sky [1e-17 erg/s/cm^2/A]: one pixel in 25.
const SKY_LINE: f64 = 1000.0;
/// Largest velocity between the telescope's frame, where the sky stands still, and the star's [km/s], and the step: lines
/// of the sky are three to four pixels wide.
const SKY_REACH_KMS: f64 = 400.0;
const SKY_STEP_PIXELS: usize = 2;
/// Velocities of a second star [km/s]: below, it only broadens the lines, as rotation does.
const COMPANION_KMS: (f64, f64) = (12.0, 125.0);
const COMPANION_STEP_PIXELS: usize = 2;
/// Parts of the light that a second star can have: beyond half of it, it is the first.
const COMPANION_LIGHT: (f64, f64) = (0.03, 0.8);
/// Degree of the polynomial that a wrong continuum leaves on a chip.
const SMOOTH_ORDER: usize = 4;
/// The worst pixels of which the share in chi^2 is told: this part of all.
const WORST_PIXELS: f64 = 0.01;

/// What one star's spectrum says. NaN where a star has no estimate, or the survey's grid does not allow the question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpectrumEvidence {
    /// Pixels in chi^2.
    pub n_pixels: usize,
    /// chi^2 of the model at the estimated labels.
    pub chi2: f64,
    /// chi^2 of the model at the catalogue's labels.
    pub chi2_catalogue: f64,
    /// Part of chi^2 that the worst percent of the pixels has.
    pub concentration: f64,
    /// Part of chi^2 that lines of the night sky explain, in emission or absorption.
    pub sky_part: f64,
    /// Their height over the continuum, negative where too much was subtracted.
    pub sky_height: f64,
    /// Velocity of the star in the sky's frame at which they do [km/s].
    pub sky_velocity_kms: f64,
    /// Part of chi^2 that a polynomial on each chip explains.
    pub smooth_part: f64,
    /// Part of chi^2 that a second star explains, of the same spectrum at another velocity.
    pub companion_part: f64,
    /// Its part of the light.
    pub companion_light: f64,
    /// Its velocity [km/s].
    pub companion_velocity_kms: f64,
}

impl SpectrumEvidence {
    /// Of a star of which nothing is known.
    pub(super) const NONE: Self = Self {
        n_pixels: 0,
        chi2: f64::NAN,
        chi2_catalogue: f64::NAN,
        concentration: f64::NAN,
        sky_part: f64::NAN,
        sky_height: f64::NAN,
        sky_velocity_kms: f64::NAN,
        smooth_part: f64::NAN,
        companion_part: f64::NAN,
        companion_light: f64::NAN,
        companion_velocity_kms: f64::NAN,
    };

    /// chi^2 per pixel.
    pub fn chi2_per_pixel(&self) -> f64 {
        if self.n_pixels > 0 { self.chi2 / self.n_pixels as f64 } else { f64::NAN }
    }
}

/// Examines spectra under a trained Cannon.
pub(super) struct Examiner<'a> {
    model: &'a TrainedCannon,
    compute: &'a Compute,
    /// 1 in pixels the model knows, [1, n_pixels].
    valid: Tensor<2>,
    /// Lines of the sky at every velocity, [n_velocities, n_pixels], and the velocities [km/s].
    sky: Option<(Tensor<2>, Vec<f64>)>,
    /// Chebyshev polynomials on each chip, 0 on the others, [n_chips (order + 1), n_pixels]; the constants come first.
    smooth: Tensor<2>,
    n_chips: usize,
    /// Shifts of a second star [pixels], and a pixel's width [km/s]; none where a shift is no velocity.
    companion: Option<(Shifts, f64)>,
}

impl<'a> Examiner<'a> {
    /// Prepares what all stars share.
    pub(super) fn new(model: &'a TrainedCannon, compute: &'a Compute) -> Result<Self> {
        let grid = &model.preparation.grid;
        let n_pixels = grid.n_pixels();
        let valid: Vec<f64> = model.cannon.valid_pixels().into_iter().map(|valid| f64::from(u8::from(valid))).collect();
        let sky = match (grid.is_apogee(), pixel_kms(grid)) {
            (true, Some(kms)) => {
                let (templates, velocities) = sky_templates(&Night::shipped()?, n_pixels, kms);
                Some((compute.tensor(&templates, [velocities.len(), n_pixels]), velocities))
            }
            _ => None,
        };
        let smooth = smooth_templates(grid);
        let valid = compute.tensor(&valid, [1, n_pixels]);
        Ok(Self {
            sky,
            smooth: compute.tensor(&smooth.concat(), [smooth.len(), n_pixels]),
            n_chips: grid.chips.len(),
            companion: pixel_kms(grid).map(|kms| (Shifts::new(companion_shifts(kms), &valid), kms)),
            valid,
            model,
            compute,
        })
    }

    /// Evidence for every star.
    ///
    /// # Shapes
    /// - flux, ivar: `[n_stars, n_pixels]`
    /// - estimates, catalogue: `[n_stars, n_labels]`, in their own units, NaN where not known
    pub(super) fn examine(
        &self,
        flux: ArrayView2<f32>,
        ivar: ArrayView2<f32>,
        estimates: ArrayView2<f64>,
        catalogue: ArrayView2<f64>,
    ) -> Vec<SpectrumEvidence> {
        let n_stars = flux.nrows();
        let batches: Vec<usize> = (0..n_stars).step_by(BATCH_STARS).collect();
        // Batches are small: what a thread has at hand stays near it.
        let evidence = self.compute.each_on_its_own_thread(&batches, |start| {
            let rows = s![*start..(*start + BATCH_STARS).min(n_stars), ..];
            let spectra = SpectraBatch::new(flux.slice(rows), ivar.slice(rows), self.compute);
            self.batch(&spectra, estimates.slice(rows), catalogue.slice(rows))
        });
        evidence.concat()
    }

    /// The model's spectra at labels in their own units, [n_stars, n_pixels]; NaN where the model knows nothing.
    pub(super) fn model_flux(&self, labels: ArrayView2<f64>) -> Array2<f64> {
        let mean = self.model.cannon.predict_flux(self.scaled(labels)).mean;
        let shape = (labels.nrows(), self.valid.dims()[1]);
        let mut flux = Array2::from_shape_vec(shape, to_f64(mean)).expect("one value per star and pixel");
        let valid = self.model.cannon.valid_pixels();
        for (mut row, labels) in flux.rows_mut().into_iter().zip(labels.rows()) {
            let known = labels.iter().all(|label| label.is_finite());
            row.iter_mut().zip(&valid).filter(|(_, valid)| !(**valid && known)).for_each(|(v, _)| *v = f64::NAN);
        }
        flux
    }

    /// Scaled labels on the device; the pivot star's for one that has none.
    fn scaled(&self, labels: ArrayView2<f64>) -> Tensor<2> {
        let scaled = self.model.scaler.scale(labels);
        let known: Vec<f64> = scaled
            .rows()
            .into_iter()
            .flat_map(|row| {
                let known = row.iter().all(|label| label.is_finite());
                row.iter().map(|label| if known { *label } else { 0.0 }).collect::<Vec<f64>>()
            })
            .collect();
        self.compute.tensor(&known, [labels.nrows(), labels.ncols()])
    }

    fn batch(
        &self,
        spectra: &SpectraBatch,
        estimates: ArrayView2<f64>,
        catalogue: ArrayView2<f64>,
    ) -> Vec<SpectrumEvidence> {
        let cannon = &self.model.cannon;
        let (n_stars, n_pixels) = (spectra.n_stars(), spectra.n_pixels());
        let scaled = self.scaled(estimates);
        let model = cannon.predict_flux(scaled.clone());
        let weight = inverse_total_variance(spectra.ivar.clone(), model.variance) * self.valid.clone();
        let mean = model.mean * self.valid.clone();
        let residual = spectra.flux.clone() - mean.clone();
        let of_catalogue = spectra.flux.clone() - cannon.predict_flux(self.scaled(catalogue)).mean;
        let chi2_catalogue = to_f64((weight.clone() * of_catalogue.clone() * of_catalogue).sum_dim(1));
        let of_pixels = to_f64(weight.clone() * residual.clone() * residual.clone());
        let counted = to_f64(weight.clone().greater_scalar(0.0).float().sum_dim(1));

        let gradient = cannon.gradient_spectra(scaled) * self.valid.clone().unsqueeze_dim(1);
        let smooth = self.smooth.clone().unsqueeze_dim::<3>(0) * mean.clone().unsqueeze_dim(1);
        let labels_only = Nuisances::new(gradient.clone(), &weight, &residual);
        let smooth_gain = labels_only.joint_gain(smooth.clone(), &weight, &residual);
        // Lines are sought beside a continuum of any level.
        let levels = smooth.narrow(1, 0, self.n_chips);
        let known = Nuisances::new(Tensor::cat(vec![gradient, levels], 1), &weight, &residual);
        let sky = self.sky.as_ref().map(|(templates, velocities)| {
            (known.gains_of_shared(templates, &weight, &residual), velocities.as_slice())
        });
        // A second star's lines are in new places, and the old ones are shallower, whatever the continuum's level.
        let companion = self.companion.as_ref().map(|(shifts, kms)| {
            let depth = mean - self.valid.clone();
            (known.gains_of_shifts(&depth, shifts, &weight, &residual), shifts.by.as_slice(), *kms)
        });
        (0..n_stars)
            .map(|star| {
                let is_known = |labels: &ArrayView2<f64>| labels.row(star).iter().all(|label| label.is_finite());
                let own = &of_pixels[star * n_pixels..(star + 1) * n_pixels];
                let chi2: f64 = own.iter().sum();
                let n_pixels = counted[star] as usize;
                if !is_known(&estimates) || n_pixels == 0 || !chi2.is_finite() || chi2 <= 0.0 {
                    return SpectrumEvidence { n_pixels, ..SpectrumEvidence::NONE };
                }
                let mut evidence = SpectrumEvidence {
                    n_pixels,
                    chi2,
                    chi2_catalogue: if is_known(&catalogue) { chi2_catalogue[star] } else { f64::NAN },
                    concentration: concentration(own, n_pixels, chi2),
                    smooth_part: (smooth_gain[star] / chi2).clamp(0.0, 1.0),
                    ..SpectrumEvidence::NONE
                };
                evidence.see_sky(star, &sky);
                evidence.see_companion(star, &companion);
                evidence
            })
            .collect()
    }
}

impl SpectrumEvidence {
    fn see_sky(&mut self, star: usize, sky: &Option<(Gains, &[f64])>) {
        let Some((gains, velocities)) = sky else { return };
        let Some(best) = gains.best(star, |_, _| true) else { return };
        self.sky_part = (best.gain / self.chi2).clamp(0.0, 1.0);
        self.sky_height = best.amplitude;
        self.sky_velocity_kms = velocities[best.index];
    }

    fn see_companion(&mut self, star: usize, companion: &Option<(Gains, &[isize], f64)>) {
        let Some((gains, shifts, kms)) = companion else { return };
        let (least, most) = COMPANION_LIGHT;
        self.companion_part = 0.0;
        let Some(best) = gains.best(star, |_, light| light > least && light < most) else { return };
        self.companion_part = (best.gain / self.chi2).clamp(0.0, 1.0);
        self.companion_light = best.amplitude;
        self.companion_velocity_kms = shifts[best.index] as f64 * kms;
    }
}

/// Part of chi^2 in the worst percent of its pixels.
fn concentration(of_pixels: &[f64], n_pixels: usize, chi2: f64) -> f64 {
    let n = ((WORST_PIXELS * n_pixels as f64) as usize).clamp(1, of_pixels.len());
    let mut work = of_pixels.to_vec();
    let first = work.len() - n;
    work.select_nth_unstable_by(first, f64::total_cmp);
    work[first..].iter().sum::<f64>() / chi2
}

/// The width of a pixel as a velocity [km/s], on a grid that is even in log wavelength; `None` on any other.
pub(super) fn pixel_kms(grid: &WavelengthGrid) -> Option<f64> {
    const LIGHT_KMS: f64 = 299_792.458;
    let steps: Vec<f64> = grid.wavelength.windows(2).map(|pair| (pair[1] / pair[0]).ln()).collect();
    let mean = steps.iter().sum::<f64>() / steps.len() as f64;
    let even = steps.iter().all(|step| (step / mean - 1.0).abs() < 1e-3);
    (even && mean > 0.0 && mean < 1e-3).then_some(mean * LIGHT_KMS)
}

fn companion_shifts(kms: f64) -> Vec<isize> {
    let (least, most) = COMPANION_KMS;
    let near = (least / kms).ceil() as isize;
    let far = (most / kms) as isize;
    (near..=far).step_by(COMPANION_STEP_PIXELS).flat_map(|shift| [-shift, shift]).collect()
}

/// Where the sky has lines, in the frame of a star of each velocity: 1 and 0, row after row, and the velocities.
///
/// Only the places count, not the strengths: those differ from night to night.
fn sky_templates(night: &Night, n_pixels: usize, kms: f64) -> (Vec<f64>, Vec<f64>) {
    let reach = (SKY_REACH_KMS / kms) as isize;
    let shifts: Vec<isize> = (-reach..=reach).step_by(SKY_STEP_PIXELS).collect();
    let is_line = |pixel: isize| {
        let inside = usize::try_from(pixel).is_ok_and(|pixel| pixel < n_pixels);
        f64::from(u8::from(inside && night.sky(pixel as f64) > SKY_LINE))
    };
    let templates = shifts.iter().flat_map(|shift| (0..n_pixels as isize).map(move |pixel| is_line(pixel + shift)));
    (templates.collect(), shifts.iter().map(|shift| *shift as f64 * kms).collect())
}

/// Chebyshev polynomials on each chip, those of degree 0 first.
fn smooth_templates(grid: &WavelengthGrid) -> Vec<Vec<f64>> {
    let bases: Vec<DMatrix<f64>> = grid.chips.iter().map(|chip| chebyshev_basis(chip.len(), SMOOTH_ORDER)).collect();
    let template = |degree: usize, (chip, basis): (&Range<usize>, &DMatrix<f64>)| {
        let mut template = vec![0.0; grid.n_pixels()];
        template[chip.clone()].copy_from_slice(basis.column(degree).as_slice());
        template
    };
    let of_degree = |degree| grid.chips.iter().zip(&bases).map(move |chip| template(degree, chip));
    (0..=SMOOTH_ORDER).flat_map(of_degree).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::models::cannon::Cannon;
    use crate::models::vectorizer::Vectorizer;
    use crate::spectra::labels::LabelScaler;
    use crate::training::checkpoint::Preparation;
    use ndarray::array;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const NOISE: f64 = 0.005;

    /// Depths of lines 3 pixels wide at places of their own on the apStar grid, deeper with the label.
    fn lines(seed: u64, n_lines: usize) -> Vec<f64> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let n_pixels = WavelengthGrid::apogee().n_pixels();
        let mut depth = vec![0.0; n_pixels];
        for _ in 0..n_lines {
            let (centre, strength) = (random.random_range(20..n_pixels - 20), random.random_range(0.05..0.3));
            for (offset, depth) in depth[centre - 8..centre + 9].iter_mut().enumerate() {
                *depth += strength * (-(offset as f64 - 8.0).powi(2) / 4.5).exp();
            }
        }
        depth
    }

    /// A Cannon of two labels, each with lines of its own.
    fn model(compute: &Compute) -> TrainedCannon {
        let grid = WavelengthGrid::apogee();
        let n_pixels = grid.n_pixels();
        let depths = [lines(1, 300), lines(2, 100), lines(3, 100)];
        let mut theta: Vec<f64> = (0..n_pixels).map(|j| 1.0 - depths[0][j]).collect();
        theta.extend(depths[1..].iter().flatten().map(|depth| -0.3 * depth));
        let cannon = Cannon::from_coefficients(Vectorizer::new(2, 1), &theta, &vec![1e-6; n_pixels], compute);
        TrainedCannon {
            cannon,
            scaler: LabelScaler {
                names: ["teff", "fe_h"].map(String::from).to_vec(),
                pivot: vec![4500.0, 0.0],
                scale: vec![300.0, 0.3],
            },
            preparation: Preparation {
                grid,
                pixmask: Default::default(),
                continuum: Default::default(),
                continuum_pixels: Vec::new(),
                gaps: Vec::new(),
            },
            training_labels: Array2::zeros((0, 2)),
            latent_labels: Array2::zeros((0, 0)),
        }
    }

    /// Evidence about the model's own spectrum at these labels, with noise and after a fault.
    fn evidence(fault: impl FnOnce(&mut [f64], &mut [f32])) -> SpectrumEvidence {
        let compute = Compute::flex(Precision::F32);
        let model = model(&compute);
        let examiner = Examiner::new(&model, &compute).unwrap();
        let labels = array![[4650.0, 0.1]];
        let mut flux = examiner.model_flux(labels.view()).row(0).to_vec();
        let n_pixels = flux.len();
        let mut ivar = vec![(1.0 / NOISE.powi(2)) as f32; n_pixels];
        fault(&mut flux, &mut ivar);
        let mut random = ChaCha8Rng::seed_from_u64(7);
        // The sum of 12 even deviates has unit variance.
        let mut normal = || (0..12).map(|_| random.random_range(-0.5..0.5)).sum::<f64>();
        let flux = Array2::from_shape_fn((1, n_pixels), |(_, j)| (flux[j] + NOISE * normal()) as f32);
        let ivar = Array2::from_shape_vec((1, n_pixels), ivar).unwrap();
        let catalogue = array![[4950.0, 0.1]];
        examiner.examine(flux.view(), ivar.view(), labels.view(), catalogue.view())[0]
    }

    #[test]
    fn a_sound_star_has_chi2_of_one_and_nothing_to_explain() {
        let sound = evidence(|_, _| {});
        // 1.02 and not 1: s2 = 1e-6 adds 4% to the variance that the noise has.
        assert!((sound.chi2_per_pixel() - 0.96).abs() < 0.05, "{sound:?}");
        assert!(sound.sky_part < 0.01 && sound.companion_part < 0.01 && sound.smooth_part < 0.01, "{sound:?}");
        // Of normal deviates the worst percent has 8% of chi^2 (numerically: 0.0846).
        assert!((sound.concentration - 0.085).abs() < 0.02, "{sound:?}");
        // A scaled label off by one unit is seen in 100 lines.
        assert!(sound.chi2_catalogue > 1.5 * sound.chi2, "{sound:?}");
    }

    #[test]
    fn a_second_star_is_found_with_its_light_and_velocity() {
        let found = evidence(|flux, _| {
            let single = flux.to_vec();
            // 12 pixels are 49.7 km/s.
            for pixel in 12..flux.len() {
                flux[pixel] = 0.7 * single[pixel] + 0.3 * single[pixel - 12];
            }
        });
        // Shifts are tried two pixels apart, and the nearest to 12 are 11 and 13.
        assert!(found.companion_part > 0.8 && found.companion_part > 2.0 * found.sky_part, "{found:?}");
        assert!((found.companion_light - 0.3).abs() < 0.03, "{found:?}");
        assert!((found.companion_velocity_kms - 49.7).abs() < 8.4, "{found:?}");
    }

    #[test]
    fn sky_lines_are_found_where_they_are_known_to_be() {
        let night = Night::shipped().unwrap();
        let found = evidence(|flux, _| {
            // In the frame of a star that recedes from the telescope by 20 pixels.
            for (pixel, flux) in flux.iter_mut().enumerate() {
                *flux += 0.3 * Night::line_share(night.sky(pixel as f64 + 20.0));
            }
        });
        // The template is blind to the lines' strengths, which cost it half.
        assert!(found.sky_part > 0.4 && found.sky_part > 2.0 * found.companion_part, "{found:?}");
        assert!(found.sky_height > 0.1 && (found.sky_velocity_kms - 83.0).abs() < 8.4, "{found:?}");
    }

    #[test]
    fn a_tilted_chip_is_smooth_and_spikes_are_concentrated() {
        let tilted = evidence(|flux, _| {
            for (pixel, flux) in flux.iter_mut().enumerate().take(3450) {
                *flux *= 1.0 + 0.03 * (pixel as f64 / 1725.0 - 1.0);
            }
        });
        assert!(tilted.smooth_part > 0.8 && tilted.smooth_part > 2.0 * tilted.companion_part, "{tilted:?}");
        let spikes = evidence(|flux, _| flux.iter_mut().step_by(200).for_each(|flux| *flux += 0.3));
        assert!(spikes.concentration > 0.9 && spikes.smooth_part < 0.05 && spikes.sky_part < 0.1, "{spikes:?}");
    }

    #[test]
    fn what_cannot_be_asked_is_not_a_number_and_never_a_panic() {
        let masked = evidence(|_, ivar| ivar.fill(0.0));
        assert!(masked.n_pixels == 0 && masked.chi2.is_nan() && masked.sky_part.is_nan());
        let compute = Compute::flex(Precision::F32);
        let model = model(&compute);
        let examiner = Examiner::new(&model, &compute).unwrap();
        let (flux, ivar) = (Array2::ones((2, 8575)), Array2::from_elem((2, 8575), 100.0));
        let estimates = array![[f64::NAN, 0.0], [4500.0, 0.0]];
        let catalogue = array![[4500.0, 0.0], [f64::NAN, 0.0]];
        let found = examiner.examine(flux.view(), ivar.view(), estimates.view(), catalogue.view());
        assert!(found[0].chi2.is_nan() && found[1].chi2.is_finite() && found[1].chi2_catalogue.is_nan());
        // Bare pixel numbers are no wavelengths: a shift along them is no velocity.
        assert_eq!(pixel_kms(&WavelengthGrid::from_pixel_numbers(50)), None);
        assert!((pixel_kms(&WavelengthGrid::apogee()).unwrap() - 4.1419).abs() < 1e-3);
    }
}
