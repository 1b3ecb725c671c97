//! The normal distribution: quantiles, probabilities and draws.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};

/// The value that a standard normal variable stays below with probability `p`; infinite at 0 and 1.
///
/// Wichura (1988), algorithm AS 241, routine PPND16: right to 16 digits.
pub fn quantile(p: f64) -> f64 {
    const A: [f64; 8] = [
        3.387_132_872_796_366_5,
        1.331_416_678_917_843_8e2,
        1.971_590_950_306_551_3e3,
        1.373_169_376_550_946e4,
        4.592_195_393_154_987e4,
        6.726_577_092_700_87e4,
        3.343_057_558_358_813e4,
        2.509_080_928_730_122_7e3,
    ];
    const B: [f64; 8] = [
        1.0,
        4.231_333_070_160_091e1,
        6.871_870_074_920_579e2,
        5.394_196_021_424_751e3,
        2.121_379_430_158_66e4,
        3.930_789_580_009_271e4,
        2.872_908_573_572_194_3e4,
        5.226_495_278_852_854e3,
    ];
    const C: [f64; 8] = [
        1.423_437_110_749_683_5,
        4.630_337_846_156_546,
        5.769_497_221_460_691,
        3.647_848_324_763_204_5,
        1.270_458_252_452_368_4,
        2.417_807_251_774_506e-1,
        2.272_384_498_926_918_4e-2,
        7.745_450_142_783_414e-4,
    ];
    const D: [f64; 8] = [
        1.0,
        2.053_191_626_637_759,
        1.676_384_830_183_803_8,
        6.897_673_349_851e-1,
        1.481_039_764_274_800_8e-1,
        1.519_866_656_361_645_7e-2,
        5.475_938_084_995_345e-4,
        1.050_750_071_644_416_9e-9,
    ];
    const E: [f64; 8] = [
        6.657_904_643_501_103,
        5.463_784_911_164_114,
        1.784_826_539_917_291_3,
        2.965_605_718_285_048_7e-1,
        2.653_218_952_657_612_4e-2,
        1.242_660_947_388_078_4e-3,
        2.711_555_568_743_487_6e-5,
        2.010_334_399_292_288_1e-7,
    ];
    const F: [f64; 8] = [
        1.0,
        5.998_322_065_558_88e-1,
        1.369_298_809_227_358e-1,
        1.487_536_129_085_061_5e-2,
        7.868_691_311_456_133e-4,
        1.846_318_317_510_054_8e-5,
        1.421_511_758_316_446e-7,
        2.044_263_103_389_939_8e-15,
    ];
    let ratio = |above: &[f64; 8], below: &[f64; 8], x: f64| {
        let polynomial = |of: &[f64; 8]| of.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient);
        polynomial(above) / polynomial(below)
    };
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * ratio(&A, &B, 0.180_625 - q * q);
    }
    let r = (-p.min(1.0 - p).ln()).sqrt();
    let tail = match r {
        _ if r.is_infinite() => f64::INFINITY,
        _ if r <= 5.0 => ratio(&C, &D, r - 1.6),
        _ => ratio(&E, &F, r - 5.0),
    };
    tail.copysign(q)
}

/// Probability that a standard normal number is below `x`.
///
/// From a Chebyshev fit to the complementary error function with a relative error below 1.2e-7 everywhere (Press et al. 1992,
/// Numerical Recipes, section 6.2).
pub fn normal_cdf(x: f64) -> f64 {
    0.5 * erfc(-x / std::f64::consts::SQRT_2)
}

/// A standard normal number from two uniform ones (Box & Muller 1958).
pub fn draw(random: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (random.random_range(1e-300..1.0), random.random_range(0.0..TAU));
    (-2.0 * u.ln()).sqrt() * v.cos()
}

/// Standard normal numbers without end, two from two uniform ones.
pub struct Normals<R> {
    /// Where the uniform ones come from.
    pub random: R,
    spare: Option<f64>,
}

impl<R: Rng> Normals<R> {
    /// Those that begin here.
    pub fn new(random: R) -> Self {
        Self { random, spare: None }
    }

    /// The next one.
    pub fn draw(&mut self) -> f64 {
        self.spare.take().unwrap_or_else(|| {
            // 1 - u is never 0, where the logarithm would be infinite.
            let radius = (-2.0 * (1.0 - self.random.random::<f64>()).ln()).sqrt();
            let (sine, cosine) = (TAU * self.random.random::<f64>()).sin_cos();
            self.spare = Some(radius * sine);
            radius * cosine
        })
    }
}

fn erfc(x: f64) -> f64 {
    const COEFFICIENTS: [f64; 10] = [
        -1.265_512_23,
        1.000_023_68,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_203_98,
        1.488_515_87,
        -0.822_152_23,
        0.170_872_77,
    ];
    let t = 1.0 / (1.0 + 0.5 * x.abs());
    let polynomial = COEFFICIENTS.iter().rev().fold(0.0, |sum, coefficient| sum * t + coefficient);
    let tail = t * (-x * x + polynomial).exp();
    if x >= 0.0 { tail } else { 2.0 - tail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // scipy.stats.norm.ppf
        let known = [
            (0.5, 0.0),
            (0.841_344_746_068_542_9, 1.0),
            (0.975, 1.959_963_984_540_054),
            (1e-3, -3.090_232_306_167_813_5),
            (1e-10, -6.361_340_902_404_056),
            (1e-20, -9.262_340_089_798_408),
        ];
        for (p, expected) in known {
            assert!((quantile(p) - expected).abs() < 1e-13, "{p}: {} not {expected}", quantile(p));
        }
        assert_eq!((quantile(0.0), quantile(1.0)), (f64::NEG_INFINITY, f64::INFINITY));
        assert!(quantile(f64::NAN).is_nan());
    }

    #[test]
    fn probabilities_are_those_of_the_tables() {
        // scipy.stats.norm.cdf
        let known = [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_543),
            (-1.0, 0.158_655_253_931_457),
            (1.96, 0.975_002_104_851_780),
            (-4.0, 3.167_124_183_311_99e-5),
        ];
        for (x, probability) in known {
            assert!((normal_cdf(x) / probability - 1.0).abs() < 3e-7, "{x}: {}", normal_cdf(x));
        }
        assert_eq!((normal_cdf(-60.0), normal_cdf(60.0)), (0.0, 1.0));
        assert!(normal_cdf(f64::NAN).is_nan());
    }
}
