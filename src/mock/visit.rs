//! One visit: a star's light through one fibre in one night, as the pipeline hands it to the coadd.

use super::detector::{
    Flaws, KMS_PER_PIXEL, Windows, airglow_factor, bit, persistence_factor, place_on_chip, quoted_error, windows,
};
use super::instrument::{Optics, broadened, shifted, throughput};
use super::pathology::Pathology;
use super::random::Random;
use crate::spectra::night::Night;
use crate::stats::robust::median;

/// Read-out noise, as the flux that makes as much photon noise [1e-17 erg/s/cm^2/A].
const READ_VARIANCE: f64 = 20.0;
/// Rms of what a star's pixels have in common in every visit, and of what one visit adds: 0.5% together.
const FLOOR_OF_STAR: f64 = 0.0035;
const FLOOR_OF_VISIT: f64 = 0.0035;
/// Airglow from which on pixels are flagged in the typical night [1e-17 erg/s/cm^2/A].
const SKYLINE: f64 = 7500.0;
/// Transmission below which pixels are flagged.
const TELLURIC: f64 = 0.91;

/// A star's light above the air.
pub(super) struct Light {
    /// Flux over the true continuum, in the star's own frame.
    pub normalized: Vec<f64>,
    /// True continuum [1e-17 erg/s/cm^2/A].
    pub continuum: Vec<f64>,
    /// Relative error that all visits of the star share.
    pub floor: Vec<f64>,
    /// What is wrong with the star.
    pub pathology: Pathology,
    /// The chip that fails, and whether its pixels are lost as NaN, where [`Pathology::DeadChip`] it is.
    pub dead_chip: (usize, bool),
}

impl Light {
    /// Draws the relative error that all visits share.
    pub(super) fn floor(n_pixels: usize, random: &mut Random) -> Vec<f64> {
        correlated(n_pixels, FLOOR_OF_STAR, random)
    }
}

/// When, through which fibre and how well a visit is made.
#[derive(Debug, Clone)]
pub(super) struct VisitPlan {
    /// Julian date.
    pub jd: f64,
    /// Plate number.
    pub plate: i64,
    /// Fibre, from 1.
    pub fibre: usize,
    /// Barycentric correction [km/s].
    pub barycentric_kms: f64,
    /// Velocity of the star beyond what was measured and taken out [km/s].
    pub residual_kms: f64,
    /// Formal error of the measured velocity [km/s].
    pub velocity_error_kms: f64,
    /// S/N relative to the star's other visits.
    pub weight: f64,
    /// Brightness of the airglow, depth of the air's bands and cut of the airglow flags, relative to the typical night.
    pub airglow: f64,
    /// See `airglow`.
    pub air_mass: f64,
    /// See `airglow`.
    pub flag_cut: f64,
}

/// A visit before its noise.
pub(super) struct Exposure {
    windows: Windows,
    mask: Vec<i64>,
    /// Expected flux, with the systematic errors that do not depend on the noise.
    signal: Vec<f64>,
    /// Standard deviation of the noise up to a factor common to the star's visits.
    noise: Vec<f64>,
    /// Residual airglow in units of the noise.
    airglow_residual: Vec<f64>,
    continuum: Vec<f64>,
    sky: Vec<f64>,
    transmission: Vec<f64>,
    /// The chip whose pixels are NaN.
    lost_chip: Option<usize>,
}

/// A visit as it stands in the file. Outside the chips everything is 0.
pub(super) struct Visit {
    /// Pixels of the chips.
    pub windows: Windows,
    /// Flux [1e-17 erg/s/cm^2/A].
    pub flux: Vec<f64>,
    /// Quoted error.
    pub error: Vec<f64>,
    /// Error before lost pixels and airglow lines were marked in it.
    pub plain_error: Vec<f64>,
    /// APOGEE_PIXMASK.
    pub mask: Vec<i64>,
    /// Continuum as the pipeline finds it.
    pub continuum: Vec<f64>,
    /// Airglow that was subtracted.
    pub sky: Vec<f64>,
    /// Its error.
    pub sky_error: Vec<f64>,
    /// Transmission that was divided out.
    pub transmission: Vec<f64>,
    /// Its error.
    pub transmission_error: Vec<f64>,
    /// Median flux/error.
    pub snr: f64,
    /// The chip without data, if one has none.
    pub lost_chip: Option<usize>,
}

impl Visit {
    /// The error of a pixel, ordinary where the pixel is lost: SDSS-V tells of those by the mask alone.
    pub(super) fn unmarked_error(&self, pixel: usize) -> f64 {
        match self.mask[pixel] {
            mask if mask & bit::LOST == 0 => self.error[pixel],
            mask => self.plain_error[pixel] * airglow_factor(mask),
        }
    }
}

/// Exposes the detector to a star's light. `velocity_kms` is the measured velocity in the telescope's frame, which
/// decides what falls on which pixel.
pub(super) fn expose(
    light: &Light,
    plan: &VisitPlan,
    velocity_kms: f64,
    night: &Night,
    seed: u64,
    random: &mut Random,
) -> Exposure {
    let n_pixels = light.continuum.len();
    let shift = velocity_kms / KMS_PER_PIXEL;
    let windows = windows(plan.fibre, shift);
    let optics = Optics::of_fibre(plan.fibre, seed);
    let response = optics.response(random);
    let spectrum =
        broadened(&shifted(&light.normalized, plan.residual_kms), &optics.extra_variance(&windows, n_pixels, shift));
    let floor = correlated(n_pixels, FLOOR_OF_VISIT, random);
    let air_residual = 0.03 * random.normal();
    let failed_sky = if light.pathology == Pathology::FailedSky { random.uniform(0.25, 0.5) } else { 0.0 };
    let persistence = if Flaws::persists(plan.fibre) { 0.03 * random.lognormal(0.7) } else { 0.0 };

    let mut exposure = Exposure {
        mask: vec![0; n_pixels],
        signal: vec![0.0; n_pixels],
        noise: vec![0.0; n_pixels],
        airglow_residual: vec![0.0; n_pixels],
        continuum: vec![0.0; n_pixels],
        sky: vec![0.0; n_pixels],
        transmission: vec![0.0; n_pixels],
        lost_chip: None,
        windows: windows.clone(),
    };
    Flaws::of_fibre(plan.fibre, seed).mark(&mut exposure.mask, &windows, shift);
    mark_cosmic_rays(&mut exposure.mask, &windows, random);
    for (chip, window) in windows.iter().enumerate() {
        // The airglow line the last pixel was in, if it was: error of its subtraction, whether it is flagged.
        let mut line: Option<(f64, bool)> = None;
        for pixel in window.clone() {
            let observed = pixel as f64 + shift;
            let place = place_on_chip(chip, plan.fibre, observed);
            let continuum = light.continuum[pixel] * response(chip, place);
            let sky = plan.airglow * night.sky(observed);
            let transmission = night.transmission(observed).powf(plan.air_mass);
            let detected = throughput(chip, place);
            let expected = continuum * spectrum[pixel];
            let variance =
                (expected.max(0.0) + sky) / (detected * transmission) + READ_VARIANCE / (detected * detected);

            let share = Night::line_share(sky);
            line = (share > 0.0)
                .then(|| line.unwrap_or_else(|| (random.normal(), failed_sky == 0.0 && random.chance(0.96))));
            let (subtraction, flagged) = line.unwrap_or((0.0, false));
            let mask = &mut exposure.mask[pixel];
            if flagged && sky > SKYLINE * plan.flag_cut {
                *mask |= bit::SIG_SKYLINE;
            }
            if transmission < TELLURIC {
                *mask |= bit::SIG_TELLURIC;
            }
            // Persistence shows in the corner of the blue chip only, most at its end; the other regions look fine.
            let remembers = chip == 0 && *mask & (bit::PERSIST_HIGH | bit::PERSIST_MED | bit::PERSIST_LOW) != 0;
            let remembered = if remembers { persistence * 3.0 * (-3.5 * place).exp() } else { 0.0 };
            let ghost = if *mask & bit::LITTROW_GHOST != 0 { 0.01 } else { 0.0 };
            let systematic = 1.0 + light.floor[pixel] + floor[pixel] + air_residual * transmission.ln();
            let added = remembered + ghost + failed_sky * share * (1.0 + 0.3 * subtraction);
            exposure.signal[pixel] = expected * systematic + continuum * added;
            exposure.noise[pixel] = variance.sqrt() / plan.weight;
            // Strong lines are subtracted badly, most of them too little; of the others few are off by some sigma.
            let strong = *mask & bit::SIG_SKYLINE != 0;
            exposure.airglow_residual[pixel] =
                share * if strong { 12.0 * (subtraction + 0.6) } else { 2.5 * subtraction };
            exposure.continuum[pixel] = continuum;
            exposure.sky[pixel] = sky;
            exposure.transmission[pixel] = transmission;
        }
    }
    add_stray_spikes(&mut exposure, random);
    if light.pathology == Pathology::DeadChip {
        let (chip, as_nan) = light.dead_chip;
        exposure.lost_chip = as_nan.then_some(chip);
        let bits = if as_nan { 0 } else { bit::BADPIX | bit::UNFIXABLE };
        windows[chip].clone().for_each(|pixel| exposure.mask[pixel] |= bits);
    }
    exposure
}

/// Cosmic rays that the pipeline saw.
fn mark_cosmic_rays(mask: &mut [i64], windows: &Windows, random: &mut Random) {
    for _ in 0..random.poisson(1.0) {
        let window = &windows[random.weighted(&windows.each_ref().map(|window| window.len() as f64))];
        let start = window.start + random.below(window.len());
        (start..(start + 1 + random.below(3)).min(window.end)).for_each(|pixel| mask[pixel] |= bit::CRPIX);
    }
}

/// What it did not see: cosmic rays and lines of airglow left standing, up to half as high again as the continuum.
fn add_stray_spikes(exposure: &mut Exposure, random: &mut Random) {
    for _ in 0..random.poisson(0.5) {
        let window = exposure.windows[random.below(3)].clone();
        let peak = window.start + random.below(window.len());
        let height = random.uniform(0.1, 0.5);
        for (pixel, part) in [(peak, 1.0), (peak + 1, random.uniform(0.0, 0.6))] {
            if window.contains(&pixel) {
                exposure.signal[pixel] += part * height * exposure.continuum[pixel];
            }
        }
    }
}

/// Noise of this rms that is correlated over some five pixels.
fn correlated(n_pixels: usize, rms: f64, random: &mut Random) -> Vec<f64> {
    const KERNEL: [f64; 7] = [0.1, 0.35, 0.75, 1.0, 0.75, 0.35, 0.1];
    let norm = rms / KERNEL.iter().map(|weight| weight * weight).sum::<f64>().sqrt();
    let white: Vec<f64> = (0..n_pixels + KERNEL.len() - 1).map(|_| norm * random.normal()).collect();
    white
        .windows(KERNEL.len())
        .map(|near| near.iter().zip(KERNEL).map(|(noise, weight)| noise * weight).sum())
        .collect()
}

impl Exposure {
    /// Flux over error of the pixels in the pipeline's eyes, for noise of unit scale: the two sums of the coadd.
    ///
    /// `sums` holds, for every pixel, the weight and the weighted flux, both relative to the continuum.
    pub(super) fn add_to(&self, sums: &mut [(f64, f64)]) {
        for (_, window) in self.windows.iter().enumerate().filter(|(chip, _)| self.lost_chip != Some(*chip)) {
            for pixel in window.clone().filter(|pixel| self.mask[*pixel] & bit::LOST == 0) {
                let continuum = self.continuum[pixel];
                let error = quoted_error(self.noise[pixel], continuum, self.mask[pixel]) / continuum;
                sums[pixel].0 += 1.0 / (error * error);
                sums[pixel].1 += self.signal[pixel] / continuum / (error * error);
            }
        }
    }

    /// Pixels of the chips.
    pub(super) fn windows(&self) -> &Windows {
        &self.windows
    }

    /// The chip without data, if one has none.
    pub(super) fn lost_chip(&self) -> Option<usize> {
        self.lost_chip
    }

    /// Reads the detector out. The noise is quoted as `noise_scale` times [`Exposure::noise`], and really `error_scale`
    /// times as large.
    pub(super) fn read_out(self, noise_scale: f64, error_scale: f64, random: &mut Random) -> Visit {
        let n_pixels = self.mask.len();
        let mut visit = Visit {
            flux: vec![0.0; n_pixels],
            error: vec![0.0; n_pixels],
            plain_error: vec![0.0; n_pixels],
            sky_error: vec![0.0; n_pixels],
            transmission_error: vec![0.0; n_pixels],
            mask: self.mask,
            continuum: self.continuum,
            sky: self.sky,
            transmission: self.transmission,
            windows: self.windows,
            snr: 0.0,
            lost_chip: self.lost_chip,
        };
        for (chip, window) in visit.windows.iter().enumerate() {
            if visit.lost_chip == Some(chip) {
                for pixel in window.clone() {
                    visit.mask[pixel] = 0;
                }
                continue;
            }
            for pixel in window.clone() {
                let (noise, mask) = (noise_scale * self.noise[pixel], visit.mask[pixel]);
                let continuum = visit.continuum[pixel];
                let residual = self.airglow_residual[pixel] * noise;
                // What is left of a line that nobody flagged stays below half the continuum.
                let residual = if mask & bit::SIG_SKYLINE == 0 { residual.min(0.5 * continuum) } else { residual };
                visit.flux[pixel] = self.signal[pixel] + noise * error_scale * random.normal() + residual;
                visit.plain_error[pixel] = noise * persistence_factor(mask);
                visit.error[pixel] = quoted_error(noise, continuum, mask);
                visit.sky_error[pixel] = 0.6 * visit.sky[pixel];
                visit.transmission_error[pixel] = 0.02 * (1.0 - visit.transmission[pixel]);
            }
            bridge(&mut visit.flux[window.clone()], &visit.mask[window.clone()], &visit.continuum[window.clone()]);
        }
        visit.snr = snr(&visit.flux, &visit.error, visit.windows.iter().cloned().flatten());
        visit
    }
}

/// Lost pixels get the flux that lies between their neighbours.
fn bridge(flux: &mut [f64], mask: &[i64], continuum: &[f64]) {
    let lost = |pixel: usize| mask[pixel] & bit::LOST != 0;
    let mut pixel = 0;
    while pixel < flux.len() {
        if !lost(pixel) {
            pixel += 1;
            continue;
        }
        let start = pixel;
        while pixel < flux.len() && lost(pixel) {
            pixel += 1;
        }
        let before = start.checked_sub(1).map(|pixel| flux[pixel]);
        let after = (pixel < flux.len()).then(|| flux[pixel]);
        for inside in start..pixel {
            let along = (inside - start + 1) as f64 / (pixel - start + 1) as f64;
            flux[inside] = match (before, after) {
                (Some(before), Some(after)) => before + (after - before) * along,
                (Some(edge), None) | (None, Some(edge)) => edge,
                (None, None) => continuum[inside],
            };
        }
    }
}

/// Median flux/error over these pixels, where both are numbers and the error is not 0.
pub(super) fn snr(flux: &[f64], error: &[f64], pixels: impl Iterator<Item = usize>) -> f64 {
    let ratios: Vec<f64> = pixels.filter(|pixel| error[*pixel] > 0.0).map(|pixel| flux[pixel] / error[pixel]).collect();
    if ratios.is_empty() { 0.0 } else { median(&ratios) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn light(pathology: Pathology) -> Light {
        Light {
            normalized: vec![1.0; 8575],
            continuum: vec![500.0; 8575],
            floor: vec![0.0; 8575],
            pathology,
            dead_chip: (1, true),
        }
    }

    fn plan() -> VisitPlan {
        VisitPlan {
            jd: 2_457_000.7,
            plate: 5601,
            fibre: 150,
            barycentric_kms: 10.0,
            residual_kms: 0.05,
            velocity_error_kms: 0.04,
            weight: 1.0,
            airglow: 1.0,
            air_mass: 1.0,
            flag_cut: 1.0,
        }
    }

    fn visit(pathology: Pathology, scale: f64) -> Visit {
        let (night, mut random) = (Night::shipped().unwrap(), Random::new(11, 3));
        let exposure = expose(&light(pathology), &plan(), -20.0, &night, 1, &mut random);
        exposure.read_out(scale, 1.0, &mut random)
    }

    #[test]
    fn noise_is_as_large_as_quoted_where_nothing_is_flagged() {
        let visit = visit(Pathology::None, 0.5);
        let mut pulls = Vec::new();
        for pixel in visit.windows.iter().cloned().flatten().filter(|pixel| visit.mask[*pixel] == 0) {
            if visit.sky[pixel] < 300.0 {
                pulls.push((visit.flux[pixel] - visit.continuum[pixel]) / visit.error[pixel]);
            }
        }
        let spread = crate::stats::robust::robust_scatter(&pulls);
        // 500 units at half the photon noise: an error of 2.3%, beside which the floor of 0.35% is small.
        assert!((spread - 1.0).abs() < 0.06 && pulls.len() > 4000, "{spread} {}", pulls.len());
    }

    #[test]
    fn outside_the_chips_there_is_nothing_and_inside_there_always_is() {
        let visit = visit(Pathology::None, 1.0);
        for pixel in 0..8575 {
            let inside = visit.windows.iter().any(|window| window.contains(&pixel));
            assert_eq!(visit.error[pixel] > 0.0, inside, "pixel {pixel}");
            assert!(inside || (visit.flux[pixel] == 0.0 && visit.mask[pixel] == 0), "pixel {pixel}");
            let lost = visit.mask[pixel] & bit::LOST != 0;
            assert_eq!(lost, visit.error[pixel] > 1e9, "pixel {pixel}");
            let ordinary = visit.unmarked_error(pixel);
            assert!(
                if lost { ordinary > 0.0 && ordinary < 1e7 } else { ordinary == visit.error[pixel] },
                "pixel {pixel}"
            );
            // The flux of a lost pixel looks like any other.
            assert!(!lost || (visit.flux[pixel] / visit.continuum[pixel] - 1.0).abs() < 0.5, "pixel {pixel}");
        }
    }

    #[test]
    fn a_failed_sky_flags_nothing_and_leaves_emission() {
        let spoilt = visit(Pathology::FailedSky, 0.1);
        assert!(spoilt.mask.iter().all(|mask| mask & bit::SIG_SKYLINE == 0));
        let spikes = |visit: &Visit| {
            visit
                .windows
                .iter()
                .cloned()
                .flatten()
                .filter(|pixel| {
                    visit.mask[*pixel] & (bit::SIG_SKYLINE | bit::LOST) == 0
                        && visit.flux[*pixel] > 1.15 * visit.continuum[*pixel]
                })
                .count()
        };
        assert!(spikes(&spoilt) > 100 && spikes(&visit(Pathology::None, 0.1)) < 20);
    }

    #[test]
    fn a_dead_chip_is_empty_or_flagged_as_a_whole() {
        let empty = visit(Pathology::DeadChip, 1.0);
        assert!(empty.windows[1].clone().all(|pixel| empty.error[pixel] == 0.0 && empty.mask[pixel] == 0));
        let (night, mut random) = (Night::shipped().unwrap(), Random::new(11, 3));
        let light = Light { dead_chip: (2, false), ..light(Pathology::DeadChip) };
        let flagged = expose(&light, &plan(), 0.0, &night, 1, &mut random).read_out(1.0, 1.0, &mut random);
        assert!(flagged.windows[2].clone().all(|pixel| flagged.error[pixel] > 1e9));
    }
}
