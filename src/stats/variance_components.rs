//! What a variance is made of: non-negative parts fitted to residuals by maximum likelihood, a few wild residuals set aside.

use super::robust::{median, robust_scatter};

/// Rounds of expectation and maximization at most.
const MOST_ROUNDS: usize = 3000;
/// Relative change of every variance below which the rounds end.
const TOLERANCE: f64 = 1e-7;
/// Outliers are wider than the others by this factor at least, or they would take good residuals for theirs.
const LEAST_OUTLIER_WIDTH: f64 = 3.0;
/// Largest fraction of outliers.
const MOST_OUTLIERS: f64 = 0.3;

/// A fitted variance, `known + sum_i coefficients[i] * parts[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct VarianceFit {
    /// One coefficient per part, none negative.
    pub coefficients: Vec<f64>,
    /// Weighted mean of the residuals that are no outliers.
    pub centre: f64,
    /// Standard error of the mean.
    pub centre_error: f64,
    /// Fraction of the residuals that are outliers.
    pub outlier_fraction: f64,
}

/// Fits the parts of the variance of residuals, each of which has a known part already.
///
/// The likelihood is a mixture of two normal distributions about one centre, one of the fitted variance `v` and, for
/// residuals that have another cause (a wrong catalogue label), a wider one of variance `v + V`:
///
/// ```text
/// L = prod_n [ (1 - e) N(r_n; m, v_n) + e N(r_n; m, v_n + V) ],   v_n = known_n + sum_i c_i part_ni
/// ```
///
/// Expectation and maximization; the coefficients by the minorization of Zhou et al. 2019 (J. Comput. Graph. Stat. 28, 350),
/// which never lowers the likelihood and keeps them from turning negative. `None` for fewer than four residuals per unknown,
/// or residuals without spread.
///
/// # Shapes
/// - residuals, known: `[n]`, finite; parts: one `[n]` each, finite and not negative
pub fn fit_variance(residuals: &[f64], known: &[f64], parts: &[Vec<f64>]) -> Option<VarianceFit> {
    let n = residuals.len();
    let scatter = robust_scatter(residuals);
    let is_spread = scatter.is_finite() && scatter > 0.0;
    if n < 4 * (parts.len() + 3) || !is_spread {
        return None;
    }
    let square = scatter * scatter;
    // A part that is nil for every star explains nothing.
    let level: Vec<f64> = parts.iter().map(|part| part.iter().sum::<f64>() / n as f64).collect();
    let share = square / level.iter().filter(|level| **level > 0.0).count().max(1) as f64;
    let mut coefficients: Vec<f64> = level.iter().map(|level| if *level > 0.0 { share / level } else { 0.0 }).collect();
    let variance_of = |coefficients: &[f64]| -> Vec<f64> {
        let own = |row: usize| coefficients.iter().zip(parts).map(|(c, part)| c * part[row]).sum::<f64>();
        // The floor only keeps perfect fits from dividing by nil.
        (0..n).map(|row| (known[row] + own(row)).max(1e-9 * square)).collect()
    };
    let mut variance = variance_of(&coefficients);
    let (mut centre, mut fraction, mut wide) = (median(residuals), 0.03, 100.0 * square);
    let mut belongs = vec![1.0; n];
    let mut weight = 0.0;
    for _ in 0..MOST_ROUNDS {
        for row in 0..n {
            let deviation = (residuals[row] - centre).powi(2);
            let ln_density = |variance: f64| -0.5 * (deviation / variance + variance.ln());
            let ratio = ln_density(variance[row] + wide) - ln_density(variance[row]);
            belongs[row] = 1.0 / (1.0 + fraction / (1.0 - fraction) * ratio.exp());
        }
        weight = belongs.iter().zip(&variance).map(|(p, v)| p / v).sum::<f64>();
        centre = (0..n).map(|row| belongs[row] * residuals[row] / variance[row]).sum::<f64>() / weight;
        let wild: f64 = belongs.iter().map(|p| 1.0 - p).sum();
        fraction = (wild / n as f64).clamp(1e-6, MOST_OUTLIERS);
        let excess = |row: usize| (1.0 - belongs[row]) * ((residuals[row] - centre).powi(2) - variance[row]);
        let least = (LEAST_OUTLIER_WIDTH * LEAST_OUTLIER_WIDTH - 1.0) * median(&variance);
        wide = ((0..n).map(excess).sum::<f64>() / wild.max(1e-6)).max(least);
        for (coefficient, part) in coefficients.iter_mut().zip(parts) {
            let [mut found, mut expected] = [0.0; 2];
            for row in 0..n {
                let pressure = belongs[row] * part[row] / variance[row];
                found += pressure * (residuals[row] - centre).powi(2) / variance[row];
                expected += pressure;
            }
            if expected > 0.0 {
                *coefficient *= (found / expected).sqrt();
            }
        }
        let next = variance_of(&coefficients);
        let change = next.iter().zip(&variance).map(|(new, old)| (new / old - 1.0).abs()).fold(0.0, f64::max);
        variance = next;
        if change < TOLERANCE {
            break;
        }
    }
    Some(VarianceFit { coefficients, centre, centre_error: weight.sqrt().recip(), outlier_fraction: fraction })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn normal(rng: &mut ChaCha8Rng) -> f64 {
        let (u, v): (f64, f64) = (rng.random_range(1e-12..1.0), rng.random_range(0.0..1.0));
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }

    /// Residuals of variance known + 4 x + 9 y, some of which are wild; (residuals, known, [x, y], true variance).
    fn sample(n: usize, wild: f64, seed: u64) -> (Vec<f64>, Vec<f64>, [Vec<f64>; 2], Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut columns: [Vec<f64>; 4] = Default::default();
        let mut residuals = Vec::new();
        for _ in 0..n {
            let [known, x, y] = [(0.0, 1.0), (0.1, 4.0), (1.0, 1.0 + 1e-9)].map(|(a, b)| rng.random_range(a..b));
            let variance: f64 = known + 4.0 * x + 9.0 * y;
            let is_wild = rng.random_range(0.0..1.0) < wild;
            residuals.push(0.5 + normal(&mut rng) * if is_wild { 60.0 } else { variance.sqrt() });
            [known, x, y, variance].iter().zip(&mut columns).for_each(|(value, column)| column.push(*value));
        }
        let [known, x, y, variance] = columns;
        (residuals, known, [x, y], variance)
    }

    #[test]
    fn parts_come_back_with_and_without_wild_residuals() {
        for wild in [0.0, 0.04, 0.1] {
            let (residuals, known, parts, _) = sample(20_000, wild, 7);
            let fit = fit_variance(&residuals, &known, &parts).unwrap();
            // Inverse Fisher information gives 0.16 and 0.29 for the coefficients, 0.03 for the centre.
            assert!((fit.coefficients[0] - 4.0).abs() < 0.5, "{wild}: {fit:?}");
            assert!((fit.coefficients[1] - 9.0).abs() < 0.9, "{wild}: {fit:?}");
            assert!((fit.centre - 0.5).abs() < 4.0 * fit.centre_error && fit.centre_error < 0.035, "{fit:?}");
            assert!((fit.outlier_fraction - wild).abs() < 0.012, "{wild}: {fit:?}");
        }
    }

    #[test]
    fn a_thousand_residuals_with_a_few_wild_ones_give_the_variance_to_a_few_per_cent() {
        let ratio = |seed: u64| {
            let (residuals, known, parts, truth) = sample(1000, 0.04, 100 + seed);
            let fit = fit_variance(&residuals, &known, &parts).unwrap();
            let variance = |row: usize| known[row] + fit.coefficients[0] * parts[0][row] + fit.coefficients[1];
            median(&(0..1000).map(|row| (variance(row) / truth[row]).sqrt()).collect::<Vec<f64>>())
        };
        let ratios: Vec<f64> = (0..40).map(ratio).collect();
        // A width is known to 1 / sqrt(2 n) = 2.3% by one sample, to 0.4% by forty.
        let mean = ratios.iter().sum::<f64>() / 40.0;
        assert!(
            (mean - 1.0).abs() < 0.02 && ratios.iter().all(|ratio| (ratio - 1.0).abs() < 0.1),
            "{mean}: {ratios:?}"
        );
    }

    #[test]
    fn a_part_that_is_not_there_vanishes_and_hopeless_samples_are_refused() {
        let (residuals, known, [x, y], _) = sample(4000, 0.0, 3);
        let none = vec![0.0; x.len()];
        let fit = fit_variance(&residuals, &known, &[x.clone(), y.clone(), none]).unwrap();
        assert_eq!(fit.coefficients[2], 0.0);
        // Only the known part is left: nothing may be added to it.
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let exact: Vec<f64> = known.iter().map(|known| normal(&mut rng) * known.sqrt()).collect();
        let fit = fit_variance(&exact, &known, &[x, y]).unwrap();
        assert!(fit.coefficients.iter().sum::<f64>() < 0.03, "{fit:?}");
        assert_eq!(fit_variance(&residuals[..8], &known[..8], &[]), None);
        assert_eq!(fit_variance(&[1.0; 100], &[0.0; 100], &[vec![1.0; 100]]), None);
    }
}
