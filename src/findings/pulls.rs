//! Whether formal errors are true to size: estimate - reference in units of the formal error.

use serde::{Deserialize, Serialize};

use crate::stats::robust::{median, robust_scatter, standard_deviation};

/// Fractions of a normal distribution within one and two standard deviations: what honest errors give.
pub const EXPECTED_WITHIN: [f64; 2] = [0.682_689, 0.954_500];

/// The pulls of some stars, (estimate - reference) / formal error. Honest errors have widths of 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pulls {
    /// Stars with a finite, positive formal error.
    pub n_stars: usize,
    /// Median pull.
    pub median: f64,
    /// 1.4826 x median absolute deviation of the pulls.
    pub robust_width: f64,
    /// Standard deviation of the pulls.
    pub standard_deviation: f64,
    /// Fraction of the stars within one formal error of the reference.
    pub within_1_error: f64,
    /// Fraction of the stars within two.
    pub within_2_errors: f64,
}

impl Pulls {
    /// From residuals and formal errors of the same stars; `None` where no star has both.
    pub fn new(residuals_and_errors: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        let is_usable = |(residual, error): &(f64, f64)| residual.is_finite() && error.is_finite() && *error > 0.0;
        let pulls: Vec<f64> =
            residuals_and_errors.into_iter().filter(is_usable).map(|(residual, error)| residual / error).collect();
        let n_stars = pulls.len();
        let within = |limit: f64| pulls.iter().filter(|pull| pull.abs() <= limit).count() as f64 / n_stars as f64;
        (n_stars > 0).then(|| Self {
            n_stars,
            median: median(&pulls),
            robust_width: robust_scatter(&pulls),
            standard_deviation: standard_deviation(&pulls),
            within_1_error: within(1.0),
            within_2_errors: within(2.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw;
    use rand::SeedableRng;

    #[test]
    fn normal_draws_with_their_own_errors_have_unit_pulls_and_the_expected_coverage() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut normal = || draw(&mut rng);
        let n = 40_000;
        let draws: Vec<(f64, f64)> = (0..n)
            .map(|i| {
                let error = 10.0 + f64::from(i % 90);
                (error * normal(), error)
            })
            .collect();
        let pulls = Pulls::new(draws.iter().copied()).unwrap();
        // A fraction p of n is known to sqrt(p (1 - p) / n) = 0.0023 and 0.0010, a width to 1 / sqrt(2 n) = 0.0035.
        assert!((pulls.within_1_error - EXPECTED_WITHIN[0]).abs() < 0.008, "{pulls:?}");
        assert!((pulls.within_2_errors - EXPECTED_WITHIN[1]).abs() < 0.004, "{pulls:?}");
        assert!((pulls.standard_deviation - 1.0).abs() < 0.012 && (pulls.robust_width - 1.0).abs() < 0.02);
        // Errors half as large as they should be.
        let bold = Pulls::new(draws.iter().map(|(residual, error)| (*residual, 0.5 * error))).unwrap();
        assert!((bold.robust_width / pulls.robust_width - 2.0).abs() < 1e-9 && bold.within_1_error < 0.4);
    }

    #[test]
    fn stars_without_a_formal_error_do_not_count() {
        let rows = [(1.0, f64::NAN), (1.0, 0.0), (f64::NAN, 1.0), (1.0, -2.0), (3.0, f64::INFINITY)];
        assert_eq!(Pulls::new(rows), None);
        assert_eq!(Pulls::new(rows.into_iter().chain([(3.0, 2.0)])).unwrap().n_stars, 1);
    }
}
