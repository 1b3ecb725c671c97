//! The binomial distribution, as far as chance coincidences need it.

/// Probability of `k` or more successes in `n` trials that each succeed with probability `p`; NaN unless `p` is in [0, 1].
///
/// ```text
/// P(X >= k) = sum_{i = k}^{n} n! / (i! (n - i)!) p^i (1 - p)^(n - i)
/// ```
/// The sum itself, its terms as logarithms: right far out in the tail, where a normal approximation is not.
pub fn upper_tail(k: usize, n: usize, p: f64) -> f64 {
    match (k, p) {
        _ if !(0.0..=1.0).contains(&p) => return f64::NAN,
        (0, _) => return 1.0,
        _ if k > n || p == 0.0 => return 0.0,
        _ if p == 1.0 => return 1.0,
        _ => {}
    }
    let odds = p.ln() - (-p).ln_1p();
    let mut term = n as f64 * (-p).ln_1p();
    let mut sum = 0.0;
    for i in 0..=n {
        if i >= k {
            sum += term.exp();
        }
        term += ((n - i) as f64 / (i + 1) as f64).ln() + odds;
    }
    sum.min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_exact_fractions() {
        // Sums of math.comb(n, i) p^i (1 - p)^(n - i) in Python's exact fractions.
        for (k, n, p, expected) in [
            (1, 2, 0.5, 0.75),
            (3, 10, 0.2, 0.3222004736),
            (10, 10, 0.1, 1e-10),
            (11, 30, 0.01, 4.586337937334786e-15),
            (500, 1000, 0.5, 0.5126125090891804),
        ] {
            let found = upper_tail(k, n, p);
            assert!((found / expected - 1.0).abs() < 1e-10, "{k} {n} {p}: {found} not {expected}");
        }
    }

    #[test]
    fn certainties_are_certain() {
        assert_eq!((upper_tail(0, 0, 0.3), upper_tail(0, 5, 0.0), upper_tail(1, 5, 0.0)), (1.0, 1.0, 0.0));
        assert_eq!((upper_tail(5, 5, 1.0), upper_tail(6, 5, 0.5)), (1.0, 0.0));
        assert!(upper_tail(1, 5, f64::NAN).is_nan() && upper_tail(1, 5, 1.5).is_nan());
    }
}
