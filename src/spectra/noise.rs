//! How good a normalized spectrum is, by its own inverse variances: its signal-to-noise ratio, and the chips it lacks.

use std::ops::Range;

use ndarray::{ArrayView1, ArrayView2};

/// What is known of a spectrum beside its flux.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    /// Signal-to-noise ratio per pixel: the root of the mean inverse variance of the pixels with information; NaN without any.
    pub snr: f64,
    /// One bit per chip, set where the chip has no pixel with information.
    pub lost_chips: u64,
}

impl Conditions {
    /// Of every star, from inverse variances, [n_stars, n_pixels].
    ///
    /// Catalogues quote other, often cruder numbers of the noise, or none; these are the same in training, testing and labelling.
    pub fn of(ivar: ArrayView2<f32>, chips: &[Range<usize>]) -> Vec<Self> {
        let star = |ivar: ArrayView1<f32>| {
            let (mut lost_chips, mut sum, mut count) = (0, 0.0, 0);
            for (index, chip) in chips.iter().enumerate() {
                let known = ivar.iter().take(chip.end).skip(chip.start).filter(|ivar| **ivar > 0.0);
                let (own, n) = known.fold((0.0, 0_u32), |(sum, n), ivar| (sum + f64::from(*ivar), n + 1));
                if n == 0 && index < 64 {
                    lost_chips |= 1 << index;
                }
                sum += own;
                count += n;
            }
            Self { snr: (sum / f64::from(count)).sqrt(), lost_chips }
        };
        ivar.rows().into_iter().map(star).collect()
    }

    /// Whether a chip has no pixel with information.
    pub fn lacks(&self, chip: usize) -> bool {
        chip < 64 && self.lost_chips & (1 << chip) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn masked_pixels_are_not_noise_and_lost_chips_are_seen() {
        let ivar = array![[1e4_f32, 1e4, 0.0, 1e4], [0.0, 0.0, 0.0, 0.0], [4.0, 0.0, 16.0, 0.0], [0.0, 0.0, 0.0, 9.0]];
        let found = Conditions::of(ivar.view(), &[0..2, 2..4]);
        let lost: Vec<u64> = found.iter().map(|star| star.lost_chips).collect();
        assert_eq!(lost, [0, 3, 0, 1]);
        assert!(found[3].lacks(0) && !found[3].lacks(1) && !found[3].lacks(70));
        assert!(found[0].snr == 100.0 && found[1].snr.is_nan() && (found[2].snr - 10_f64.sqrt()).abs() < 1e-12);
    }
}
