//! Visits become one spectrum, as the survey combines them.

use std::ops::Range;

use super::detector::{Windows, bit};
use super::visit::{Exposure, Visit, snr};
use crate::stats::robust::median;

/// The first two rows of an apStar file.
pub(super) struct Coadd {
    /// Pixels that every visit covers.
    pub common: Windows,
    /// Pixels that some visit covers.
    pub union: Windows,
    /// Each pixel weighted by its own errors; NaN where a visit is missing.
    pub flux: Vec<f64>,
    /// Error of `flux`.
    pub error: Vec<f64>,
    /// The same, ordinary where all visits have lost the pixel, as SDSS-V has it; 0 where a visit is missing.
    pub unmarked_error: Vec<f64>,
    /// Mean of the visits' continua; NaN where a visit is missing.
    pub continuum: Vec<f64>,
    /// Bits that all visits have in common.
    pub mask: Vec<i64>,
    /// Visits weighted by their S/N as wholes; all 0 for a single visit.
    pub global_flux: Vec<f64>,
    /// Error of `global_flux`.
    pub global_error: Vec<f64>,
    /// Median flux/error of the pixel-weighted spectrum.
    pub snr: f64,
    /// The same on the green chip.
    pub snr_green: f64,
}

fn common(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.max(b.start)..a.end.min(b.end)
}

fn union(a: &Range<usize>, b: &Range<usize>) -> Range<usize> {
    a.start.min(b.start)..a.end.max(b.end)
}

fn combined(
    mut windows: impl Iterator<Item = Windows>,
    of: fn(&Range<usize>, &Range<usize>) -> Range<usize>,
) -> Windows {
    let first = windows.next().unwrap_or_default();
    windows.fold(first, |all, next| [0, 1, 2].map(|chip| of(&all[chip], &next[chip])))
}

/// Combines visits, of which there must be one at least.
///
/// Visits are compared relative to their continua, so that a pixel that one of them lacks makes no step:
///
/// ```text
/// flux = C sum_v w_v f_v / c_v / sum_v w_v,   error = C / sqrt(sum_v w_v),   w_v = (c_v / error_v)^2,   C = mean of c_v
/// ```
///
/// The globally weighted row uses w_v = S/N_v^2 and the errors before lost pixels and airglow were marked in them.
pub(super) fn coadd(visits: &[Visit]) -> Coadd {
    let n_pixels = visits[0].flux.len();
    let covered = combined(visits.iter().map(|visit| visit.windows.clone()), common);
    let mut coadd = Coadd {
        union: combined(visits.iter().map(|visit| visit.windows.clone()), union),
        flux: vec![f64::NAN; n_pixels],
        error: vec![f64::NAN; n_pixels],
        unmarked_error: vec![0.0; n_pixels],
        continuum: vec![f64::NAN; n_pixels],
        mask: vec![0; n_pixels],
        global_flux: vec![f64::NAN; n_pixels],
        global_error: vec![f64::NAN; n_pixels],
        snr: 0.0,
        snr_green: 0.0,
        common: covered.clone(),
    };
    let lost_chip = visits.iter().find_map(|visit| visit.lost_chip);
    let filled = covered.iter().enumerate().filter(|(chip, _)| lost_chip != Some(*chip));
    for pixel in filled.flat_map(|(_, window)| window.clone()) {
        let continuum = visits.iter().map(|visit| visit.continuum[pixel]).sum::<f64>() / visits.len() as f64;
        let (mut weights, mut unmarked_weights, mut flux) = (0.0, 0.0, 0.0);
        let (mut global_weights, mut global_flux, mut global_variance) = (0.0, 0.0, 0.0);
        let mut mask = -1;
        for visit in visits {
            let level = visit.continuum[pixel];
            let weight = (level / visit.error[pixel]).powi(2);
            weights += weight;
            unmarked_weights += (level / visit.unmarked_error(pixel)).powi(2);
            flux += weight * visit.flux[pixel] / level;
            let global = visit.snr * visit.snr;
            global_weights += global;
            global_flux += global * visit.flux[pixel] / level;
            global_variance += (global * visit.plain_error[pixel] / level).powi(2);
            mask &= visit.mask[pixel];
        }
        coadd.flux[pixel] = continuum * flux / weights;
        coadd.error[pixel] = continuum / weights.sqrt();
        coadd.continuum[pixel] = continuum;
        // A pixel that some visit has is that visit's, in both.
        let is_lost = mask & bit::LOST != 0;
        coadd.unmarked_error[pixel] = if is_lost { continuum / unmarked_weights.sqrt() } else { coadd.error[pixel] };
        coadd.mask[pixel] = mask;
        coadd.global_flux[pixel] = continuum * global_flux / global_weights;
        coadd.global_error[pixel] = continuum * global_variance.sqrt() / global_weights;
    }
    if let [visit] = visits {
        // One visit is its own coadd, to the last bit; the second row is left empty.
        for pixel in covered.iter().cloned().flatten().filter(|pixel| visit.error[*pixel] > 0.0) {
            (coadd.flux[pixel], coadd.error[pixel]) = (visit.flux[pixel], visit.error[pixel]);
            coadd.unmarked_error[pixel] = visit.unmarked_error(pixel);
        }
        coadd.global_flux.fill(0.0);
        coadd.global_error.fill(0.0);
    }
    coadd.snr = snr(&coadd.flux, &coadd.error, 0..n_pixels);
    coadd.snr_green = snr(&coadd.flux, &coadd.error, covered[1].clone());
    coadd
}

/// S/N that the coadd of these exposures would have with noise of unit scale.
pub(super) fn snr_of_unit_noise(exposures: &[Exposure]) -> f64 {
    let covered = combined(exposures.iter().map(|exposure| exposure.windows().clone()), common);
    let n_pixels = exposures.iter().flat_map(|exposure| exposure.windows()).map(|window| window.end).max();
    let mut sums = vec![(0.0, 0.0); n_pixels.unwrap_or(0)];
    exposures.iter().for_each(|exposure| exposure.add_to(&mut sums));
    let lost_chip = exposures.iter().find_map(Exposure::lost_chip);
    let ratios: Vec<f64> = covered
        .into_iter()
        .enumerate()
        .filter(|(chip, _)| lost_chip != Some(*chip))
        .flat_map(|(_, window)| window)
        .map(|pixel| match sums[pixel] {
            // Lost in every visit: an error of 1e10 is as good as infinite.
            (0.0, _) => 0.0,
            (weights, flux) => flux / weights.sqrt(),
        })
        .collect();
    median(&ratios)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock::detector::quoted_error;
    use crate::mock::random::Random;

    fn visit(windows: Windows, seed: u64) -> Visit {
        let mut random = Random::new(seed, 0);
        let n_pixels = 60;
        let continuum: Vec<f64> = (0..n_pixels).map(|_| random.uniform(90.0, 110.0)).collect();
        let plain_error: Vec<f64> = (0..n_pixels).map(|_| random.uniform(1.0, 3.0)).collect();
        let mask: Vec<i64> = (0..n_pixels)
            .map(|_| if random.chance(0.3) { bit::BADPIX | bit::SIG_SKYLINE } else { bit::SIG_TELLURIC })
            .collect();
        let flux = continuum.iter().map(|continuum| continuum * random.uniform(0.5, 1.0)).collect();
        let error: Vec<f64> =
            (0..n_pixels).map(|pixel| quoted_error(plain_error[pixel], continuum[pixel], mask[pixel])).collect();
        Visit {
            windows,
            flux,
            error,
            plain_error,
            mask,
            continuum,
            sky: Vec::new(),
            sky_error: Vec::new(),
            transmission: Vec::new(),
            transmission_error: Vec::new(),
            snr: random.uniform(50.0, 90.0),
            lost_chip: None,
        }
    }

    #[test]
    fn rows_are_those_of_a_naive_loop() {
        let visits =
            [visit([3..18, 22..38, 41..55], 1), visit([5..20, 20..36, 40..57], 2), visit([4..19, 21..37, 42..56], 3)];
        let coadd = coadd(&visits);
        assert_eq!(coadd.common, [5..18, 22..36, 42..55]);
        assert_eq!(coadd.union, [3..20, 20..38, 40..57]);
        for pixel in 0..60 {
            if !coadd.common.iter().any(|window| window.contains(&pixel)) {
                assert!(coadd.flux[pixel].is_nan() && coadd.error[pixel].is_nan() && coadd.mask[pixel] == 0);
                assert!(coadd.unmarked_error[pixel] == 0.0 && coadd.continuum[pixel].is_nan());
                assert!(coadd.global_flux[pixel].is_nan());
                continue;
            }
            let level = (visits[0].continuum[pixel] + visits[1].continuum[pixel] + visits[2].continuum[pixel]) / 3.0;
            let (mut above, mut below, mut above_1, mut below_1, mut variance_1) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for visit in &visits {
                let (f, e) = (visit.flux[pixel] / visit.continuum[pixel], visit.error[pixel] / visit.continuum[pixel]);
                above += f / e.powi(2);
                below += 1.0 / e.powi(2);
                above_1 += f * visit.snr.powi(2);
                below_1 += visit.snr.powi(2);
                variance_1 += (visit.snr.powi(2) * visit.plain_error[pixel] / visit.continuum[pixel]).powi(2);
            }
            let same = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-12;
            assert!(same(coadd.flux[pixel], level * above / below), "pixel {pixel}");
            assert!(same(coadd.error[pixel], level / below.sqrt()), "pixel {pixel}");
            assert!(same(coadd.global_flux[pixel], level * above_1 / below_1), "pixel {pixel}");
            assert!(same(coadd.global_error[pixel], level * variance_1.sqrt() / below_1), "pixel {pixel}");
            let everywhere = visits.iter().all(|visit| visit.mask[pixel] & bit::BADPIX != 0);
            assert_eq!(coadd.mask[pixel] & bit::BADPIX != 0, everywhere, "pixel {pixel}");
            let unmarked: f64 =
                visits.iter().map(|visit| (visit.continuum[pixel] / visit.unmarked_error(pixel)).powi(2)).sum();
            let expected = if everywhere { level / unmarked.sqrt() } else { coadd.error[pixel] };
            assert!(
                same(coadd.unmarked_error[pixel], expected) && coadd.unmarked_error[pixel] < 100.0,
                "pixel {pixel}"
            );
            assert!(same(coadd.continuum[pixel], level), "pixel {pixel}");
            // Bad everywhere: the error says so still. Bad in some visits: the others alone count.
            assert_eq!(coadd.error[pixel] > 1e9, everywhere, "pixel {pixel}");
        }
        assert!(coadd.mask.iter().any(|mask| *mask & bit::BADPIX != 0), "some pixel must be bad in all three");
    }

    #[test]
    fn one_visit_is_its_own_coadd_and_the_second_row_is_empty() {
        let visits = [visit([3..18, 22..38, 41..55], 4)];
        let coadd = coadd(&visits);
        for pixel in coadd.common.iter().cloned().flatten() {
            assert_eq!((coadd.flux[pixel], coadd.error[pixel]), (visits[0].flux[pixel], visits[0].error[pixel]));
            assert_eq!(coadd.mask[pixel], visits[0].mask[pixel]);
            assert_eq!(coadd.unmarked_error[pixel], visits[0].unmarked_error(pixel));
        }
        assert!(coadd.global_flux.iter().chain(&coadd.global_error).all(|value| *value == 0.0));
    }
}
