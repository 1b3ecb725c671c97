//! What a variance is made of: non-negative parts fitted to residuals by maximum likelihood, a few wild residuals set aside.

use super::robust::{median, robust_scatter};

/// Rounds of expectation and maximization at most.
const MOST_ROUNDS: usize = 3000;
/// Relative change of every variance below which the rounds end.
const TOLERANCE: f64 = 1e-7;
/// The same where only the likelihood is asked for, from a start near by.
const COARSE: f64 = 1e-5;
/// Outliers are wider than the others by this factor at least, or they would take good residuals for theirs.
const LEAST_OUTLIER_WIDTH: f64 = 3.0;
/// Largest fraction of outliers: tails that hold more of the stars than this are the model's own.
const MOST_OUTLIERS: f64 = 0.1;
/// Width of the prior of a factor's logarithm: most catalogues quote errors that are right to a third.
const FACTOR_WIDTH: f64 = 0.3;
/// Halvings at most of the step that tells how well a factor is known.
const MOST_HALVINGS: usize = 9;

/// One part of a variance, known but for a coefficient.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Of every residual; finite, not negative.
    pub values: Vec<f64>,
    /// The coefficient is not smaller than this.
    pub least: f64,
}

/// The factor of errors that were quoted by others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factor {
    /// What quoted errors must be multiplied with.
    pub value: f64,
    /// Uncertainty of its logarithm.
    pub ln_error: f64,
}

/// A fitted variance, `known + factor^2 quoted + sum_i coefficients[i] * parts[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct VarianceFit {
    /// One coefficient per part, none negative.
    pub coefficients: Vec<f64>,
    /// The factor of the quoted errors; none where none is quoted.
    pub factor: Option<Factor>,
    /// Weighted mean of the residuals that are no outliers.
    pub centre: f64,
    /// Standard error of the mean.
    pub centre_error: f64,
    /// Fraction of the residuals that are outliers.
    pub outlier_fraction: f64,
    /// Logarithm of likelihood times prior at the best fit: what other quoted errors can be compared by.
    pub ln_density: f64,
}

/// Fits the parts of the variance of residuals, each of which has a known part already, and one that others quoted and that may
/// be wrong by a factor.
///
/// The likelihood is a mixture of two normal distributions about one centre, one of the fitted variance `v` and, for
/// residuals that have another cause (a wrong catalogue label), a wider one of variance `v + V`:
///
/// ```text
/// L = prod_n [ (1 - e) N(r_n; m, v_n) + e N(r_n; m, v_n + V) ],   v_n = known_n + f^2 quoted_n + sum_i c_i part_ni
/// ```
///
/// Expectation and maximization; the coefficients by the minorization of Zhou et al. 2019 (J. Comput. Graph. Stat. 28, 350),
/// which never lowers the likelihood and keeps them from turning negative. The factor f has a lognormal prior in which f^2 is 1 in
/// the mean. Where stars tell f and a constant part apart, f is what they say; where they cannot (quoted errors all alike), the
/// best fit alone would put all it can into f and leave the rest with nothing: f, c and v are therefore means over the posterior
/// of f, at each of whose values c is fitted. `None` for fewer than four residuals per unknown, or residuals without spread.
///
/// # Shapes
/// - residuals, known, quoted: `[n]`, finite; parts: one of `[n]` each
pub fn fit_variance(residuals: &[f64], known: &[f64], quoted: &[f64], parts: &[Part]) -> Option<VarianceFit> {
    let n = residuals.len();
    let scatter = robust_scatter(residuals);
    let is_spread = scatter.is_finite() && scatter > 0.0;
    let is_quoted = quoted.iter().any(|value| *value > 0.0);
    if n < fewest_residuals(parts.len(), is_quoted) || !is_spread {
        return None;
    }
    let task = Task { residuals, square: scatter * scatter };
    let mut unknown: Vec<Unknown> =
        parts.iter().map(|part| Unknown { values: &part.values, least: part.least, is_factor: false }).collect();
    if !is_quoted {
        let fit = task.maximize(known, &unknown, task.start(&unknown), TOLERANCE);
        return Some(fit.told(fit.coefficients.clone(), None));
    }
    unknown.push(Unknown { values: quoted, least: 0.0, is_factor: true });
    let best = task.maximize(known, &unknown, task.start(&unknown), TOLERANCE);
    unknown.pop();
    let (own, square) = best.split();
    let middle = 0.5 * square.ln();
    // How fast the posterior falls, all else fitted anew, on the side where it falls more slowly.
    let ln_density = |ln_factor: f64| {
        let square = (2.0 * ln_factor).exp();
        let known: Vec<f64> = known.iter().zip(quoted).map(|(known, quoted)| known + square * quoted).collect();
        task.maximize(&known, &unknown, own.clone(), COARSE).ln_likelihood + ln_prior(ln_factor)
    };
    let top = ln_density(middle);
    let mut ln_error = FACTOR_WIDTH;
    for _ in 0..MOST_HALVINGS {
        let sides = [-ln_error, ln_error].map(|step| top - ln_density(middle + step));
        let fall = sides.into_iter().fold(f64::INFINITY, f64::min);
        if fall <= 2.0 {
            // Half a unit is one deviation; rounds that end early may leave none.
            ln_error = (ln_error / (2.0 * fall.max(1e-3)).sqrt()).min(FACTOR_WIDTH);
            break;
        }
        ln_error *= 0.5;
    }
    let coefficients = own.coefficients.clone();
    Some(best.told(coefficients, Some(Factor { value: middle.exp(), ln_error })))
}

/// Fewer residuals than this, four per unknown, tell nothing of so many parts, and of a factor of quoted variances where there are some.
pub fn fewest_residuals(n_parts: usize, is_quoted: bool) -> usize {
    4 * (n_parts + 3 + usize::from(is_quoted))
}

/// Logarithm of the prior of a factor, but for a constant.
fn ln_prior(ln_factor: f64) -> f64 {
    -0.5 * (ln_factor / FACTOR_WIDTH).powi(2)
}

/// A part whose coefficient is looked for.
struct Unknown<'a> {
    values: &'a [f64],
    least: f64,
    /// Whether the coefficient is the square of a factor with a prior.
    is_factor: bool,
}

impl Unknown<'_> {
    /// The coefficient that follows from one round's sums, `found` of squares over variances and `expected` of ones.
    fn next(&self, old: f64, found: f64, expected: f64) -> f64 {
        if !self.is_factor {
            return if expected > 0.0 { (old * (found / expected).sqrt()).max(self.least) } else { old };
        }
        // The minorant -1/2 (found old^2 / c + expected c) + ln prior falls and rises but once along ln c.
        let slope = |ln: f64| {
            let square = (2.0 * ln).exp();
            let prior = -ln / (FACTOR_WIDTH * FACTOR_WIDTH);
            found * old * old / square - expected * square + prior
        };
        let (mut low, mut high) = (-7.0, 7.0);
        for _ in 0..48 {
            let middle = 0.5 * (low + high);
            if slope(middle) > 0.0 { low = middle } else { high = middle }
        }
        (low + high).exp()
    }
}

/// Where the rounds stand.
#[derive(Debug, Clone)]
struct State {
    coefficients: Vec<f64>,
    centre: f64,
    fraction: f64,
    wide: f64,
    weight: f64,
    ln_likelihood: f64,
}

impl State {
    /// Without the last coefficient, and that one.
    fn split(&self) -> (Self, f64) {
        let mut rest = self.clone();
        let last = rest.coefficients.pop().unwrap_or(1.0);
        (rest, last)
    }

    fn told(&self, coefficients: Vec<f64>, factor: Option<Factor>) -> VarianceFit {
        VarianceFit {
            coefficients,
            factor,
            centre: self.centre,
            centre_error: self.weight.sqrt().recip(),
            outlier_fraction: self.fraction,
            ln_density: self.ln_likelihood + factor.map_or(0.0, |factor| ln_prior(factor.value.ln())),
        }
    }
}

/// Residuals and the square of their robust scatter.
struct Task<'a> {
    residuals: &'a [f64],
    square: f64,
}

impl Task<'_> {
    /// A factor is one; every other part has the same share of the rest.
    fn start(&self, parts: &[Unknown]) -> State {
        let n = self.residuals.len();
        // A part that is nil for every star explains nothing.
        let level: Vec<f64> = parts.iter().map(|part| part.values.iter().sum::<f64>() / n as f64).collect();
        let of_factor: f64 = parts.iter().zip(&level).filter(|(part, _)| part.is_factor).map(|(_, level)| level).sum();
        let rest = (self.square - of_factor).max(0.05 * self.square);
        let n_shares = parts.iter().zip(&level).filter(|(part, level)| !part.is_factor && **level > 0.0).count();
        let share = rest / n_shares.max(1) as f64;
        let first = |(level, part): (&f64, &Unknown)| match *level > 0.0 {
            true if part.is_factor => 1.0,
            true => (share / level).max(part.least),
            false => 0.0,
        };
        State {
            coefficients: level.iter().zip(parts).map(first).collect(),
            centre: median(self.residuals),
            fraction: 0.03,
            wide: 100.0 * self.square,
            weight: 0.0,
            ln_likelihood: f64::NEG_INFINITY,
        }
    }

    fn variance(&self, known: &[f64], parts: &[Unknown], coefficients: &[f64]) -> Vec<f64> {
        let own = |row: usize| coefficients.iter().zip(parts).map(|(c, part)| c * part.values[row]).sum::<f64>();
        // The floor only keeps perfect fits from dividing by nil.
        (0..known.len()).map(|row| (known[row] + own(row)).max(1e-9 * self.square)).collect()
    }

    fn maximize(&self, known: &[f64], parts: &[Unknown], start: State, tolerance: f64) -> State {
        let residuals = self.residuals;
        let n = residuals.len();
        let State { mut coefficients, mut centre, mut fraction, mut wide, mut weight, .. } = start;
        let mut variance = self.variance(known, parts, &coefficients);
        let mut belongs = vec![1.0; n];
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
                    let pressure = belongs[row] * part.values[row] / variance[row];
                    found += pressure * (residuals[row] - centre).powi(2) / variance[row];
                    expected += pressure;
                }
                *coefficient = part.next(*coefficient, found, expected);
            }
            let next = self.variance(known, parts, &coefficients);
            let change = next.iter().zip(&variance).map(|(new, old)| (new / old - 1.0).abs()).fold(0.0, f64::max);
            variance = next;
            if change < tolerance {
                break;
            }
        }
        let density = |row: usize| {
            let normal = |variance: f64| (-0.5 * (residuals[row] - centre).powi(2) / variance).exp() / variance.sqrt();
            (1.0 - fraction) * normal(variance[row]) + fraction * normal(variance[row] + wide)
        };
        // A residual that neither distribution knows of counts as the smallest number there is.
        let ln_likelihood = (0..n).map(|row| density(row).max(f64::MIN_POSITIVE).ln()).sum();
        State { coefficients, centre, fraction, wide, weight, ln_likelihood }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::normal::draw as normal;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

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

    fn part(values: Vec<f64>) -> Part {
        Part { values, least: 0.0 }
    }

    fn none(of: &[f64]) -> Vec<f64> {
        vec![0.0; of.len()]
    }

    #[test]
    fn parts_come_back_with_and_without_wild_residuals() {
        for wild in [0.0, 0.04, 0.1] {
            let (residuals, known, parts, _) = sample(20_000, wild, 7);
            let fit = fit_variance(&residuals, &known, &none(&known), &parts.map(part)).unwrap();
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
            let fit = fit_variance(&residuals, &known, &none(&known), &parts.clone().map(part)).unwrap();
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
        let nil = none(&known);
        let fit = fit_variance(&residuals, &known, &nil, &[x.clone(), y.clone(), nil.clone()].map(part)).unwrap();
        assert!(fit.coefficients[2] == 0.0 && fit.factor.is_none());
        // Only the known part is left: nothing may be added to it.
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let exact: Vec<f64> = known.iter().map(|known| normal(&mut rng) * known.sqrt()).collect();
        let fit = fit_variance(&exact, &known, &nil, &[x.clone(), y].map(part)).unwrap();
        assert!(fit.coefficients.iter().sum::<f64>() < 0.03, "{fit:?}");
        // A coefficient has the floor it is given.
        let fit = fit_variance(&exact, &known, &nil, &[Part { values: x, least: 0.5 }]).unwrap();
        assert_eq!(fit.coefficients, [0.5]);
        assert_eq!(fit_variance(&residuals[..8], &known[..8], &nil[..8], &[]), None);
        assert_eq!(fit_variance(&[1.0; 100], &[0.0; 100], &[0.0; 100], &[part(vec![1.0; 100])]), None);
    }

    /// Residuals of a model that errs by 8 and a catalogue that errs by `truth` times what it quotes, 10 to 40 or always 20;
    /// some of its labels are wrong.
    fn quoted(n: usize, truth: f64, varies: bool, seed: u64) -> (Vec<f64>, Vec<f64>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut star = || {
            let quoted = if varies { rng.random_range(10.0..40.0) } else { 20.0 };
            let wrong = if rng.random_range(0.0..1.0) < 0.03 { 400.0 } else { 0.0 };
            let size = f64::hypot(8.0, truth * quoted).hypot(wrong);
            (size * normal(&mut rng), quoted * quoted)
        };
        (0..n).map(|_| star()).unzip()
    }

    #[test]
    fn a_catalogue_that_quotes_errors_wrong_by_a_factor_is_found_out() {
        for (truth, seed) in [(1.0 / 3.0, 1), (1.0, 2), (3.0, 3)] {
            let (residuals, quoted) = quoted(4000, truth, true, seed);
            let fit = fit_variance(&residuals, &none(&quoted), &quoted, &[part(vec![1.0; 4000])]).unwrap();
            let Factor { value, ln_error } = fit.factor.unwrap();
            // 4000 residuals know their size to 1.1%; what of it is the model's is known less well.
            assert!((value / truth).ln().abs() < 4.0 * ln_error && ln_error < 0.07, "{truth}: {fit:?}");
            let own = fit.coefficients[0].sqrt();
            let tolerance = if truth > 2.0 { 8.0 } else { 1.7 };
            assert!((own - 8.0).abs() < tolerance && own > 0.0, "{truth}: {fit:?}");
        }
    }

    #[test]
    fn where_stars_cannot_tell_a_factor_it_is_as_near_one_as_may_be_and_something_is_left_for_the_model() {
        // Errors quoted three times too large, all alike: 20, where the catalogue errs by 6.7 and the model by 8.
        let (residuals, same) = quoted(4000, 1.0 / 3.0, false, 4);
        let least = Part { values: vec![1.0; 4000], least: 4.0 };
        let fit = fit_variance(&residuals, &none(&same), &same, &[least]).unwrap();
        // All that is seen, 10.4, allows no factor above 0.52.
        let Factor { value, ln_error } = fit.factor.unwrap();
        assert!((value - 0.51).abs() < 0.03 && ln_error < 0.2, "{fit:?}");
        assert!(fit.coefficients[0] >= 4.0 && fit.coefficients[0] < 20.0, "{fit:?}");
        let seen = (fit.coefficients[0] + value * value * 400.0).sqrt();
        assert!((seen / f64::hypot(8.0, 20.0 / 3.0) - 1.0).abs() < 0.04, "{seen}");
        // Quoted rightly, all alike: taken at their word.
        let (residuals, same) = quoted(4000, 1.0, false, 5);
        let fit = fit_variance(&residuals, &none(&same), &same, &[part(vec![1.0; 4000])]).unwrap();
        let Factor { value, ln_error } = fit.factor.unwrap();
        assert!((value - 1.0).abs() < 0.05 && ln_error > 0.1, "{fit:?}");
        // 8^2 of 464, which 4000 stars know to 10.
        assert!((fit.coefficients[0] - 64.0).abs() < 40.0, "{fit:?}");
    }
}
