//! The chi-squared distribution, as far as intervals of a standard deviation from few values need it.

use super::normal;

/// Probability that the sum of `freedom` squared standard normal numbers is below `x`; `freedom` need not be whole.
///
/// The regularized incomplete gamma function P(freedom / 2, x / 2), by its series below the mean and by its continued fraction
/// above (Press et al. 1992, Numerical Recipes, section 6.2).
pub fn chi_squared_cdf(x: f64, freedom: f64) -> f64 {
    const MOST_TERMS: usize = 10_000;
    const EXACT: f64 = 1e-15;
    let (a, x) = (0.5 * freedom, 0.5 * x);
    if x.is_nan() || a.is_nan() || a <= 0.0 {
        return f64::NAN;
    }
    if x <= 0.0 {
        return 0.0;
    }
    if x.is_infinite() {
        return 1.0;
    }
    let front = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for n in 1..MOST_TERMS {
            term *= x / (a + n as f64);
            sum += term;
            if term < EXACT * sum {
                break;
            }
        }
        return (front * sum).min(1.0);
    }
    // Lentz's method for 1 / (x + 1 - a - 1 (1 - a) / (x + 3 - a - ...)).
    const TINY: f64 = 1e-300;
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut fraction = d;
    for n in 1..MOST_TERMS {
        let step = -(n as f64) * (n as f64 - a);
        b += 2.0;
        let of = |value: f64| if value.abs() < TINY { TINY } else { value };
        d = 1.0 / of(step * d + b);
        c = of(b + step / c);
        fraction *= d * c;
        if (d * c - 1.0).abs() < EXACT {
            break;
        }
    }
    (1.0 - front * fraction).clamp(0.0, 1.0)
}

/// The value that the sum of `freedom` squared standard normal numbers stays below with probability `p`.
pub fn chi_squared_quantile(p: f64, freedom: f64) -> f64 {
    const MOST_HALVINGS: usize = 200;
    if !(0.0..=1.0).contains(&p) || freedom.is_nan() || freedom <= 0.0 {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { 0.0 } else { f64::INFINITY };
    }
    // Where Wilson and Hilferty (1931) put it, within a factor: their cube root of chi^2 is nearly normal.
    let part = 2.0 / (9.0 * freedom);
    let near = freedom * (1.0 - part + normal::quantile(p) * part.sqrt()).max(0.01).powi(3);
    let (mut low, mut high) = (0.0, 2.0 * near);
    while chi_squared_cdf(high, freedom) < p {
        (low, high) = (high, 2.0 * high);
    }
    for _ in 0..MOST_HALVINGS {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if chi_squared_cdf(middle, freedom) < p { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// Logarithm of the gamma function of a positive number, right to 15 digits (Lanczos 1964 with g = 7 and nine terms).
fn ln_gamma(x: f64) -> f64 {
    const TERMS: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Gamma(x) Gamma(1 - x) = pi / sin(pi x)
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let series =
        TERMS.iter().enumerate().map(|(n, term)| term / (x + n as f64 + 1.0)).sum::<f64>() + 0.999_999_999_999_809_9;
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_closed_forms() {
        // Two degrees of freedom: 1 - exp(-x / 2); four: 1 - (1 + x / 2) exp(-x / 2); one: twice the normal one beyond 0.
        for x in [1e-6, 0.05, 1.0, 3.0, 8.0, 30.0, 200.0] {
            let two = 1.0 - f64::exp(-0.5 * x);
            assert!((chi_squared_cdf(x, 2.0) - two).abs() < 1e-13, "{x}");
            assert!((chi_squared_cdf(x, 4.0) - (two - 0.5 * x * f64::exp(-0.5 * x))).abs() < 1e-13, "{x}");
            let one = 2.0 * normal::normal_cdf(x.sqrt()) - 1.0;
            assert!((chi_squared_cdf(x, 1.0) - one).abs() < 3e-7, "{x}");
        }
        assert_eq!([0.0, -1.0, f64::INFINITY].map(|x| chi_squared_cdf(x, 3.0)), [0.0, 0.0, 1.0]);
        assert!(chi_squared_cdf(1.0, 0.0).is_nan() && chi_squared_cdf(f64::NAN, 2.0).is_nan());
    }

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // scipy.stats.chi2.ppf
        let known = [
            (0.025, 2.0, 0.050_635_615_968_579_8),
            (0.975, 2.0, 7.377_758_908_227_87),
            (0.5, 1.0, 0.454_936_423_119_572_7),
            (0.025, 10.0, 3.246_972_780_236_841_7),
            (0.975, 10.0, 20.483_177_350_807_388),
            (0.99, 250.0, 304.939_555_733_957_2),
        ];
        for (p, freedom, expected) in known {
            let found = chi_squared_quantile(p, freedom);
            assert!((found / expected - 1.0).abs() < 1e-9, "{p}, {freedom}: {found} not {expected}");
        }
        // Whatever the freedom, a quantile has its probability.
        for freedom in [0.3, 1.7, 2.5, 33.3, 4000.0] {
            for p in [1e-3, 0.16, 0.5, 0.84, 0.999] {
                let x = chi_squared_quantile(p, freedom);
                assert!((chi_squared_cdf(x, freedom) - p).abs() < 1e-10, "{p}, {freedom}: {x}");
            }
        }
        assert_eq!([0.0, 1.0].map(|p| chi_squared_quantile(p, 2.0)), [0.0, f64::INFINITY]);
        assert!(chi_squared_quantile(1.5, 2.0).is_nan() && chi_squared_quantile(0.5, -1.0).is_nan());
    }
}
