//! Random numbers that depend on the survey's seed and on whose they are, and on nothing else.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::stats::normal::Normals;

/// One stream of random numbers.
pub(super) struct Random(Normals<ChaCha8Rng>);

impl Random {
    /// The stream of this number; streams of one seed are independent of each other.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(stream);
        Self(Normals::new(generator))
    }

    /// Evenly distributed in [low, high).
    pub(super) fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random.random::<f64>()
    }

    /// An index below `n`, which must not be 0.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0.random.random_range(0..n as u64) as usize
    }

    /// True with this probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.0.random.random::<f64>() < probability
    }

    /// Normally distributed, mean 0, variance 1.
    pub(super) fn normal(&mut self) -> f64 {
        self.0.draw()
    }

    /// A positive number with median 1 whose logarithm scatters by `sigma`.
    pub(super) fn lognormal(&mut self, sigma: f64) -> f64 {
        (sigma * self.normal()).exp()
    }

    /// How many of many rare events happen, `mean` on average.
    pub(super) fn poisson(&mut self, mean: f64) -> usize {
        // Knuth's product of uniform numbers: fine for the small means of this program.
        let limit = (-mean).exp();
        let (mut count, mut product) = (0, self.0.random.random::<f64>());
        while product > limit {
            count += 1;
            product *= self.0.random.random::<f64>();
        }
        count
    }

    /// An index, each as likely as its weight is large.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform(0.0, weights.iter().sum());
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distributions_have_their_moments() {
        let mut random = Random::new(1, 0);
        let n = 40_000;
        let normal: Vec<f64> = (0..n).map(|_| random.normal()).collect();
        let variance = normal.iter().map(|x| x * x).sum::<f64>() / f64::from(n);
        let mean = normal.iter().sum::<f64>() / f64::from(n);
        // Five standard errors.
        assert!(mean.abs() < 5.0 / f64::from(n).sqrt() && (variance - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt());
        let counts = (0..n).map(|_| random.poisson(2.5)).sum::<usize>() as f64 / f64::from(n);
        assert!((counts - 2.5).abs() < 5.0 * (2.5 / f64::from(n)).sqrt());
        let threes = (0..n).filter(|_| random.weighted(&[1.0, 0.0, 3.0]) == 2).count() as f64 / f64::from(n);
        assert!((threes - 0.75).abs() < 5.0 * (0.75 * 0.25 / f64::from(n)).sqrt());
    }

    #[test]
    fn streams_differ_and_repeat() {
        let draw = |seed, stream| Random::new(seed, stream).uniform(0.0, 1.0);
        assert_eq!(draw(1, 2), draw(1, 2));
        assert!(draw(1, 2) != draw(1, 3) && draw(1, 2) != draw(2, 2));
    }
}
