//! Three detector chips: which pixels they cover, and which of those are flawed.

use std::ops::Range;

use super::random::Random;

/// Velocity of one pixel of the apStar grid: c ln(10) 6e-6 [km/s].
pub(super) const KMS_PER_PIXEL: f64 = 4.141_786;
/// Fibres of the spectrograph, numbered from 1.
pub(super) const N_FIBRES: usize = 300;
/// First and last observed pixel of the blue, green and red chip through fibre [`REFERENCE_FIBRE`], fitted to the BMIN,
/// BMAX, ... keys of real visits.
const CHIPS: [(f64, f64); 3] = [(198.2, 3320.7), (3533.8, 6126.7), (6291.7, 8378.85)];
const REFERENCE_FIBRE: f64 = 221.0;
/// Pixels at the two ends of each chip that always lack something, as in the real files.
const ENDS: [(usize, usize); 3] = [(8, 6), (9, 11), (6, 5)];
/// Pixels by which the chips' ends move from fibre to fibre.
const PIXELS_PER_FIBRE: f64 = -0.08;
/// Fibres across which a blemish reaches.
const FIBRES_OF_BLEMISH: usize = 30;
/// Streams of random numbers of the detector; stars use smaller ones.
const DETECTOR_STREAM: u64 = 1 << 40;

/// Pixels of each chip on the grid of a spectrum.
pub(super) type Windows = [Range<usize>; 3];

/// APOGEE_PIXMASK bits.
pub(super) mod bit {
    pub const BADPIX: i64 = 1;
    pub const CRPIX: i64 = 1 << 1;
    pub const UNFIXABLE: i64 = 1 << 3;
    pub const BADDARK: i64 = 1 << 4;
    pub const BADFLAT: i64 = 1 << 5;
    pub const NOSKY: i64 = 1 << 7;
    pub const LITTROW_GHOST: i64 = 1 << 8;
    pub const PERSIST_HIGH: i64 = 1 << 9;
    pub const PERSIST_MED: i64 = 1 << 10;
    pub const PERSIST_LOW: i64 = 1 << 11;
    pub const SIG_SKYLINE: i64 = 1 << 12;
    pub const SIG_TELLURIC: i64 = 1 << 13;
    pub const NOT_ENOUGH_PSF: i64 = 1 << 14;
    /// Bits that leave nothing of a pixel: 0 to 7, and 14.
    pub const LOST: i64 = 0xFF | NOT_ENOUGH_PSF;
}

/// The error APOGEE quotes for a pixel: that of the noise, enlarged by what the mask says against it.
///
/// A lost pixel gets 1e10 times the continuum, an airglow line ten times the error, persistence the root of 5, 4 or 3.
pub(super) fn quoted_error(noise: f64, continuum: f64, mask: i64) -> f64 {
    let airglow = airglow_factor(mask);
    if mask & bit::LOST != 0 { 1e10 * continuum * airglow } else { noise * airglow * persistence_factor(mask) }
}

/// By how much a flagged line of airglow enlarges an error.
pub(super) fn airglow_factor(mask: i64) -> f64 {
    if mask & bit::SIG_SKYLINE != 0 { 10.0 } else { 1.0 }
}

/// By how much persistence enlarges an error.
pub(super) fn persistence_factor(mask: i64) -> f64 {
    let steps: [(i64, f64); 3] = [(bit::PERSIST_HIGH, 5.0), (bit::PERSIST_MED, 4.0), (bit::PERSIST_LOW, 3.0)];
    steps.into_iter().find(|(bit, _)| mask & bit != 0).map_or(1.0, |(_, variance)| variance.sqrt())
}

/// Pixels the chips cover in the rest frame of a star whose lines are shifted by `shift` pixels.
pub(super) fn windows(fibre: usize, shift: f64) -> Windows {
    let move_by = PIXELS_PER_FIBRE * (fibre as f64 - REFERENCE_FIBRE) - shift;
    CHIPS.map(|(first, last)| (first + move_by).ceil() as usize..(last + move_by).floor() as usize + 1)
}

/// Where on its chip an observed pixel lies: 0 at the blue end, 1 at the red.
pub(super) fn place_on_chip(chip: usize, fibre: usize, observed: f64) -> f64 {
    let (first, last) = CHIPS[chip];
    let move_by = PIXELS_PER_FIBRE * (fibre as f64 - REFERENCE_FIBRE);
    ((observed - first - move_by) / (last - first)).clamp(0.0, 1.0)
}

/// Observed pixels with a flaw.
struct Flaw {
    start: f64,
    length: usize,
    bits: i64,
}

/// What is wrong with the pixels that a fibre's light falls on: the same in every visit.
pub(super) struct Flaws(Vec<Flaw>);

impl Flaws {
    /// The flaws along a fibre of the detector that belongs to the survey's seed.
    pub(super) fn of_fibre(fibre: usize, seed: u64) -> Self {
        let mut flaws = Vec::new();
        let mut random = Random::new(seed, DETECTOR_STREAM + fibre as u64);
        // Some fibres cross more bad pixels than others.
        let richness = random.lognormal(0.4);
        for _ in 0..random.poisson(5.0 * richness) {
            let mut bits = bit::BADPIX;
            for (other, probability) in [(bit::BADDARK, 0.6), (bit::BADFLAT, 0.75), (bit::NOT_ENOUGH_PSF, 0.8)] {
                bits |= if random.chance(probability) { other } else { 0 };
            }
            let length = 2 + random.poisson(2.0);
            flaws.push(Flaw { start: anywhere(&mut random), length, bits });
        }
        // Blemishes are wide enough for their neighbours.
        let mut block = Random::new(seed, DETECTOR_STREAM + (N_FIBRES + 1 + fibre / FIBRES_OF_BLEMISH) as u64);
        for _ in 0..block.poisson(0.8) {
            let bits = bit::BADPIX | bit::BADDARK | bit::BADFLAT | bit::NOT_ENOUGH_PSF;
            flaws.push(Flaw { start: anywhere(&mut block), length: 10 + block.below(9), bits });
        }
        // Fibres have a ghost and weak persistence on the green chip in common.
        let along = fibre as f64 / N_FIBRES as f64;
        let (first, last) = CHIPS[1];
        let ghost = first + 900.0 + 250.0 * along;
        flaws.push(Flaw { start: ghost, length: 50 + (14.0 * along) as usize, bits: bit::LITTROW_GHOST });
        let low = 250 + random.below(90);
        let medium = 100 + (290.0 * (1.0 - along)) as usize;
        let start = last - low as f64;
        flaws.push(Flaw { start, length: low + 20, bits: bit::PERSIST_LOW });
        flaws.push(Flaw { start: start - medium as f64, length: medium, bits: bit::PERSIST_MED });
        if Self::persists(fibre) {
            let (first, _) = CHIPS[0];
            let reach = 600 + random.below(500);
            for (step, bits) in [bit::PERSIST_HIGH, bit::PERSIST_MED, bit::PERSIST_LOW].into_iter().enumerate() {
                flaws.push(Flaw { start: first + (step * reach) as f64, length: reach, bits });
            }
        }
        Self(flaws)
    }

    /// Whether a fibre's light falls on the corner of the blue chip that remembers earlier exposures.
    pub(super) fn persists(fibre: usize) -> bool {
        fibre <= 40
    }

    /// Sets the bits of these flaws, and those of the chips' ends, in a mask on the grid of a spectrum.
    pub(super) fn mark(&self, mask: &mut [i64], windows: &Windows, shift: f64) {
        for flaw in &self.0 {
            let start = (flaw.start - shift).round().max(0.0) as usize;
            for pixel in start..(start + flaw.length).min(mask.len()) {
                if windows.iter().any(|window| window.contains(&pixel)) {
                    mask[pixel] |= flaw.bits;
                }
            }
        }
        for (window, (first, last)) in windows.iter().zip(ENDS) {
            for pixel in (window.start..window.start + first).chain(window.end - last..window.end) {
                mask[pixel] |= bit::NOSKY | bit::BADPIX;
            }
        }
    }
}

/// An observed pixel on one of the chips.
fn anywhere(random: &mut Random) -> f64 {
    let (first, last) = CHIPS[random.weighted(&CHIPS.map(|(first, last)| last - first))];
    random.uniform(first, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_those_of_real_headers() {
        // Fibre, velocity, and {B,G,R}{MIN,MAX} of visits 1 and 2 of 2M17335483-2753043 (OVER and the union name them).
        let real =
            [(212, -9.8425, [201, 3323, 3537, 6129, 6295, 8381]), (221, 3.4717, [198, 3319, 3533, 6125, 6291, 8378])];
        for (fibre, velocity, ends) in real {
            let windows = windows(fibre, velocity / KMS_PER_PIXEL);
            for (window, ends) in windows.iter().zip(ends.chunks(2)) {
                assert!(window.start.abs_diff(ends[0]) <= 1 && (window.end - 1).abs_diff(ends[1]) <= 1, "{window:?}");
            }
        }
    }

    #[test]
    fn an_approaching_star_has_its_windows_further_to_the_red() {
        // A line seen at pixel 1000 of a star that comes near belongs at a higher pixel in the star's own frame.
        let (near, far) = (windows(100, -20.0), windows(100, 20.0));
        assert_eq!((near[0].start - far[0].start, near[2].end - far[2].end), (40, 40));
    }

    #[test]
    fn errors_grow_as_the_pipeline_lets_them() {
        let quoted = |mask| quoted_error(2.0, 300.0, mask);
        assert_eq!(quoted(0), 2.0);
        for lost in [bit::BADPIX, bit::CRPIX, bit::NOSKY, bit::NOT_ENOUGH_PSF] {
            assert_eq!(quoted(lost), 3e12);
            assert_eq!(quoted(lost | bit::SIG_SKYLINE), 3e13);
        }
        assert_eq!(quoted(bit::SIG_SKYLINE), 20.0);
        assert_eq!(quoted(bit::SIG_TELLURIC | bit::LITTROW_GHOST), 2.0);
        for (persistence, variance) in [(bit::PERSIST_HIGH, 5.0_f64), (bit::PERSIST_MED, 4.0), (bit::PERSIST_LOW, 3.0)]
        {
            assert_eq!(quoted(persistence), 2.0 * variance.sqrt());
        }
    }

    #[test]
    fn flaws_stay_with_the_detector_when_the_star_moves() {
        let flaws = Flaws::of_fibre(120, 1);
        let marked = |shift: f64| {
            let mut mask = vec![0; 8575];
            flaws.mark(&mut mask, &windows(120, shift), shift);
            mask
        };
        let (still, moved) = (marked(0.0), marked(7.0));
        for pixel in (1000..3000).chain(3700..6000) {
            assert_eq!(still[pixel], moved[pixel - 7], "pixel {pixel}");
        }
        let window = windows(120, 7.0)[0].clone();
        assert!((window.start..window.start + 8).all(|pixel| moved[pixel] & bit::NOSKY != 0));
        assert!(still.iter().filter(|mask| **mask & bit::LOST != 0).count() > 5);
        assert!(still.iter().all(|mask| mask & bit::SIG_SKYLINE == 0));
    }
}
