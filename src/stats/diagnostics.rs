//! Whether Markov chains have mixed, and how many independent draws theirs are worth.
//!
//! Rank-normalized split R-hat, bulk and tail effective sample size: Vehtari, Gelman, Simpson, Carpenter & Buerkner (2021),
//! Bayesian Analysis 16, 667 (arXiv:1903.08008).

use super::normal;

/// What the chains of one quantity say of themselves. All NaN where chains are too short, constant or not finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Diagnostics {
    /// The larger of the rank-normalized split R-hat of the values and of their distances from the median; 1 is perfect.
    pub r_hat: f64,
    /// Effective sample size of the bulk.
    pub ess_bulk: f64,
    /// Effective sample size of the 5% and 95% quantiles, the smaller one.
    pub ess_tail: f64,
}

impl Diagnostics {
    /// Of chains that say nothing.
    pub const NONE: Self = Self { r_hat: f64::NAN, ess_bulk: f64::NAN, ess_tail: f64::NAN };

    /// Of chains of equal length, one after the other in `draws`.
    pub fn of(draws: &[f64], n_chains: usize) -> Self {
        let Some(split) = split(draws, n_chains) else { return Self::NONE };
        let order = ascending(&split.values);
        let ranked = split.with(normal_scores(&split.values, &order));
        let sorted = |rank: usize| split.values[order[rank] as usize];
        let n = split.values.len();
        let median = 0.5 * (sorted((n - 1) / 2) + sorted(n / 2));
        let folded: Vec<f64> = split.values.iter().map(|value| (value - median).abs()).collect();
        let folded = split.with(normal_scores(&folded, &ascending(&folded)));
        // Order statistics suffice here: the indicator only asks which draws lie below.
        let below = |q: f64| {
            let limit = sorted((q * (n - 1) as f64).floor() as usize);
            split.with(split.values.iter().map(|value| f64::from(u8::from(*value <= limit))).collect()).ess()
        };
        Self {
            r_hat: ranked.r_hat().max(folded.r_hat()),
            ess_bulk: ranked.ess(),
            ess_tail: below(0.05).min(below(0.95)),
        }
    }
}

/// Chains of equal length, each cut into its halves.
struct Chains {
    values: Vec<f64>,
    length: usize,
}

/// Cuts every chain into halves, the middle draw of an odd number left out; nothing if there are fewer than four draws, or
/// if they are constant or not finite.
fn split(draws: &[f64], n_chains: usize) -> Option<Chains> {
    let n = draws.len().checked_div(n_chains)?;
    let length = n / 2;
    let first = *draws.first()?;
    if length < 2 || draws.iter().any(|value| !value.is_finite()) || draws.iter().all(|value| *value == first) {
        return None;
    }
    let halves = |chain: &[f64]| [&chain[..length], &chain[n - length..]].concat();
    Some(Chains { values: draws.chunks_exact(n).flat_map(halves).collect(), length })
}

/// Positions of the values, smallest first.
fn ascending(values: &[f64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..values.len() as u32).collect();
    order.sort_unstable_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
    order
}

/// The normal quantile of each value's rank, `(rank - 3/8) / (n + 1/4)`; equal values share their mean rank.
fn normal_scores(values: &[f64], order: &[u32]) -> Vec<f64> {
    let n = values.len();
    let mut scores = vec![0.0; n];
    let mut start = 0;
    while start < n {
        let value = values[order[start] as usize];
        let end = start + order[start..].iter().take_while(|position| values[**position as usize] == value).count();
        // Ranks count from 1.
        let rank = 0.5 * (start + 1 + end) as f64;
        let score = normal::quantile((rank - 0.375) / (n as f64 + 0.25));
        order[start..end].iter().for_each(|position| scores[*position as usize] = score);
        start = end;
    }
    scores
}

impl Chains {
    fn with(&self, values: Vec<f64>) -> Self {
        Self { values, length: self.length }
    }

    fn chains(&self) -> impl Iterator<Item = &[f64]> {
        self.values.chunks_exact(self.length)
    }

    /// Means of the chains, the mean of their variances, and the variance of their pool as estimated from both.
    fn moments(&self) -> (Vec<f64>, f64, f64) {
        let n = self.length as f64;
        let means: Vec<f64> = self.chains().map(|chain| chain.iter().sum::<f64>() / n).collect();
        let m = means.len() as f64;
        let squares = |(chain, mean): (&[f64], &f64)| chain.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0);
        let within = self.chains().zip(&means).map(squares).sum::<f64>() / m;
        let centre = means.iter().sum::<f64>() / m;
        let between = means.iter().map(|mean| (mean - centre).powi(2)).sum::<f64>() / (m - 1.0);
        (means, within, within * (n - 1.0) / n + between)
    }

    /// Potential scale reduction (Eq. 4 of the paper).
    fn r_hat(&self) -> f64 {
        let (_, within, pooled) = self.moments();
        (pooled / within).sqrt()
    }

    /// Effective sample size (Eqs. 10 to 14): autocorrelations summed up in pairs as long as the pairs are positive, and
    /// made monotone (Geyer 1992).
    fn ess(&self) -> f64 {
        let (means, within, pooled) = self.moments();
        let n = self.length;
        let total = self.values.len() as f64;
        if pooled.is_nan() || pooled <= 0.0 {
            return f64::NAN;
        }
        let rho = |lag: usize| {
            let covariance = |(chain, mean): (&[f64], &f64)| {
                let pairs = chain[..n - lag].iter().zip(&chain[lag..]);
                pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / n as f64
            };
            let mean = self.chains().zip(&means).map(covariance).sum::<f64>() / means.len() as f64;
            // The variances of the chains have n - 1 in the denominator, their autocovariances n.
            1.0 - (within - mean * n as f64 / (n as f64 - 1.0)) / pooled
        };
        let mut sum = 0.0;
        let mut smallest = f64::INFINITY;
        let mut lag = 0;
        while lag + 1 < n {
            let even = if lag == 0 { 1.0 } else { rho(lag) };
            let pair = even + rho(lag + 1);
            if pair <= 0.0 {
                // The last even lag improves the estimate for antithetic chains.
                sum += 0.5 * even.max(0.0);
                break;
            }
            smallest = smallest.min(pair);
            sum += smallest;
            lag += 2;
        }
        // Antithetic chains are worth more than independent draws, but a short chain cannot tell how much more.
        let tau = (2.0 * sum - 1.0).max(1.0 / total.log10());
        total / tau
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Chains `x' = rho x + sqrt(1 - rho^2) e` with standard normal e, in their stationary state.
    fn autoregressive(rho: f64, n_chains: usize, length: usize, seed: u64) -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || normal::quantile(rng.random_range(1e-12..1.0));
        let mut chains = Vec::with_capacity(n_chains * length);
        for _ in 0..n_chains {
            let mut x = draw();
            for _ in 0..length {
                chains.push(x);
                x = rho * x + (1.0 - rho * rho).sqrt() * draw();
            }
        }
        chains
    }

    #[test]
    fn autoregressive_chains_are_worth_what_their_correlation_says() {
        for rho in [0.0, 0.5, 0.9, -0.4] {
            let (n_chains, length) = (4, 20_000);
            let draws = autoregressive(rho, n_chains, length, 3);
            let expected = (n_chains * length) as f64 * (1.0 - rho) / (1.0 + rho);
            let found = Diagnostics::of(&draws, n_chains);
            // Autocorrelations of 80000 draws are known to 0.004, and some twenty of them are summed up.
            for (name, ess) in [("bulk", found.ess_bulk), ("mean", split(&draws, n_chains).unwrap().ess())] {
                assert!((ess / expected - 1.0).abs() < 0.1, "{name}, rho {rho}: {ess} not {expected}");
            }
            assert!((1.0 - 1e-3..1.003).contains(&found.r_hat), "rho {rho}: {}", found.r_hat);
            // Indicators of the tails are less correlated than the values, and of positive chains never worth more than all.
            assert!(found.ess_tail > 0.8 * expected || rho < 0.0, "rho {rho}: {}", found.ess_tail);
        }
    }

    /// R-hat and effective sample size as the paper writes them, without any shortcut: all lags, whole arrays.
    fn written_out(values: &[f64], n_chains: usize) -> (f64, f64) {
        let n_draws = values.len() / n_chains;
        let half = n_draws / 2;
        let mut chains: Vec<Vec<f64>> = Vec::new();
        for chain in 0..n_chains {
            let chain = &values[chain * n_draws..(chain + 1) * n_draws];
            chains.push(chain[..half].to_vec());
            chains.push(chain[n_draws - half..].to_vec());
        }
        let all: Vec<f64> = chains.concat();
        let total = all.len() as f64;
        for value in chains.iter_mut().flatten() {
            let below = all.iter().filter(|other| *other < value).count() as f64;
            let equal = all.iter().filter(|other| *other == value).count() as f64;
            *value = normal::quantile((below + 0.5 * (equal + 1.0) - 0.375) / (total + 0.25));
        }
        let (m, n) = (chains.len() as f64, half as f64);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let means: Vec<f64> = chains.iter().map(|chain| mean(chain)).collect();
        let variance = |values: &[f64]| {
            let centre = mean(values);
            values.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / (values.len() as f64 - 1.0)
        };
        let within = mean(&chains.iter().map(|chain| variance(chain)).collect::<Vec<_>>());
        let between = n * variance(&means);
        let pooled = (n - 1.0) / n * within + between / n;
        let rho: Vec<f64> = (0..half)
            .map(|lag| {
                let of_chain = |chain: &Vec<f64>| {
                    let centre = mean(chain);
                    let sum: f64 = (lag..half).map(|i| (chain[i] - centre) * (chain[i - lag] - centre)).sum();
                    sum / n * n / (n - 1.0)
                };
                1.0 - (within - chains.iter().map(of_chain).sum::<f64>() / m) / pooled
            })
            .collect();
        let pairs: Vec<f64> =
            (0..half / 2).map(|t| if t == 0 { 1.0 + rho[1] } else { rho[2 * t] + rho[2 * t + 1] }).collect();
        let positive = pairs.iter().position(|pair| *pair <= 0.0).unwrap_or(pairs.len());
        let mut tau = -1.0;
        for t in 0..positive {
            tau += 2.0 * pairs[..=t].iter().copied().fold(f64::INFINITY, f64::min);
        }
        if positive < pairs.len() {
            tau += rho[2 * positive].max(0.0);
        }
        ((pooled / within).sqrt(), m * n / tau.max(1.0 / (m * n).log10()))
    }

    #[test]
    fn diagnostics_are_those_of_the_formulas_written_out() {
        for (rho, n_chains, length) in [(0.7, 3, 101), (0.95, 2, 60), (-0.5, 4, 50), (0.2, 1, 80)] {
            let mut draws = autoregressive(rho, n_chains, length, 11);
            draws.iter_mut().skip(3).step_by(7).for_each(|value| *value = 0.25); // ties
            let (r_hat, ess) = written_out(&draws, n_chains);
            let found = Diagnostics::of(&draws, n_chains);
            assert!((found.ess_bulk / ess - 1.0).abs() < 1e-9, "rho {rho}: {} not {ess}", found.ess_bulk);
            let split = split(&draws, n_chains).unwrap();
            let bulk = split.with(normal_scores(&split.values, &ascending(&split.values))).r_hat();
            assert!((bulk / r_hat - 1.0).abs() < 1e-12 && found.r_hat >= bulk, "rho {rho}: {bulk} not {r_hat}");
        }
    }

    #[test]
    fn chains_that_disagree_in_place_or_in_width_are_found_out() {
        let mut draws = autoregressive(0.0, 4, 1000, 5);
        draws[3000..].iter_mut().for_each(|value| *value += 2.0);
        let moved = Diagnostics::of(&draws, 4);
        assert!(moved.r_hat > 1.2 && moved.ess_bulk < 50.0, "{moved:?}");
        draws[3000..].iter_mut().for_each(|value| *value = (*value - 2.0) * 5.0);
        // Same centre, other width: only the folded ranks see it.
        let wide = Diagnostics::of(&draws, 4);
        assert!(wide.r_hat > 1.05, "{wide:?}");
        // A chain that drifts disagrees with itself.
        let drifting: Vec<f64> = (0..500).map(|i| f64::from(i) * 0.01).collect();
        assert!(Diagnostics::of(&drifting, 1).r_hat > 1.5);
    }

    #[test]
    fn chains_that_say_nothing_give_nan_and_no_panic() {
        let nothing = |draws: &[f64], n_chains| {
            let found = Diagnostics::of(draws, n_chains);
            found.r_hat.is_nan() && found.ess_bulk.is_nan() && found.ess_tail.is_nan()
        };
        assert!(nothing(&[], 4) && nothing(&[], 0) && nothing(&[1.0, 2.0, 3.0], 1) && nothing(&[7.0; 100], 4));
        assert!(nothing(&[1.0, 2.0, f64::NAN, 4.0, 5.0, 6.0], 1));
    }
}
