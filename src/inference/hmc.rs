//! Hamiltonian Monte Carlo in tensors: all chains of many stars take their steps together.
//!
//! Chains move in the coordinates of the Gaussian that the posterior resembles, `l = centre + L u`, in which every width is
//! about 1: one step size serves all directions, and a step may be as long as the width. Step sizes are found star by star by
//! dual averaging (Hoffman & Gelman 2014, JMLR 15, 1593, Eq. 6), first with the fit's covariance, then with that of the
//! draws so far. Trajectories take a quarter of a period on average, after which a Gaussian has forgotten where it began; but
//! every trajectory has another number of steps, since all directions have the same period here, and trajectories of one
//! length could lead back to where they came from for ever.

use std::f64::consts::FRAC_PI_2;

use burn::tensor::{Bool, Tensor, TensorData};
use nalgebra::DMatrix;
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::chi_square::ChiSquare;
use super::draws::{Draws, SamplerSettings};
use super::posterior::{Approximation, Posterior};
use crate::device::{Compute, to_bool, to_f64};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::stats::normal;

/// A trajectory that loses more of ln p diverges.
const DIVERGENCE: f64 = 1000.0;
/// Leapfrog steps of the trajectories of warm-up: from 1 to this.
const WARM_UP_STEPS: usize = 3;
/// Mean numbers of steps of a trajectory: a star takes the smallest that keeps its steps as short as it needs.
const MEAN_STEPS: [f64; 10] = [1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0];
/// Step sizes in units of the posterior's width; leapfrog steps of 2 and more are unstable.
const STEP_SIZES: (f64, f64) = (1e-4, 1.9);
/// Draws that the covariance of the fit is worth beside those of warm-up.
const PRIOR_DRAWS: f64 = 20.0;

/// Samples the posterior of every star that has an approximation; `summarize` is given the number of the star and its draws,
/// which are not kept. Equal seeds give equal draws.
///
/// # Errors
/// [`Error::Interrupted`] where `progress` asks to stop, before the next draw.
pub fn sample<C: ChiSquare + Sync, R: Send>(
    posterior: &Posterior<C>,
    approximations: &[Option<Approximation>],
    settings: &SamplerSettings,
    seed: u64,
    progress: &dyn Progress,
    summarize: impl Fn(usize, Draws) -> R + Sync,
) -> Result<Vec<Option<R>>> {
    let stars: Vec<(usize, &Approximation)> =
        approximations.iter().enumerate().filter_map(|(star, a)| Some((star, a.as_ref()?))).collect();
    let begin = |(star, approximation): &(usize, &Approximation)| Chains::begin(*star, approximation, settings, seed);
    let begun: Vec<Chains> = stars.iter().map(begin).collect();
    let small = Compute::small_systems();
    let blocks: Vec<&[Chains]> = begun.chunks(settings.stars_together()).collect();
    let warm_up = |chains: &&[Chains]| Block::new(posterior, chains, settings).warm_up(seed, progress);
    let tuned = small.each_on_its_own_thread(&blocks, warm_up).into_iter().collect::<Result<Vec<Vec<Chains>>>>()?;
    let tuned: Vec<Chains> = tuned.into_iter().flatten().collect();
    // Stars whose trajectories have equally many steps go together.
    let class = |step_size: f64| MEAN_STEPS.iter().position(|mean| FRAC_PI_2 / mean <= step_size);
    let mut by_class: Vec<Vec<Chains>> = vec![Vec::new(); MEAN_STEPS.len()];
    for chains in tuned {
        by_class[class(chains.step_size).unwrap_or(MEAN_STEPS.len() - 1)].push(chains);
    }
    let blocks: Vec<(f64, &[Chains])> = (by_class.iter().zip(MEAN_STEPS))
        .flat_map(|(chains, mean)| chains.chunks(settings.stars_together()).map(move |chunk| (mean, chunk)))
        .collect();
    let sampled = small.each_on_its_own_thread(&blocks, |(mean_steps, chains)| {
        let draws = Block::new(posterior, chains, settings).draw(*mean_steps, seed, progress)?;
        let summed_up = chains.iter().zip(draws).map(|(chains, draws)| (chains.star, summarize(chains.star, draws)));
        Ok(summed_up.collect::<Vec<(usize, R)>>())
    });
    let sampled = sampled.into_iter().collect::<Result<Vec<Vec<(usize, R)>>>>()?;
    let mut results: Vec<Option<R>> = approximations.iter().map(|_| None).collect();
    sampled.into_iter().flatten().for_each(|(star, result)| results[star] = Some(result));
    Ok(results)
}

/// Whether to go on with the next draw.
///
/// # Errors
/// [`Error::Interrupted`]: half a star's draws are worth nothing.
pub(super) fn go_on(progress: &dyn Progress) -> Result<()> {
    if progress.interrupted() { Err(Error::Interrupted { kept: false }) } else { Ok(()) }
}

/// The chains of one star, between two phases.
#[derive(Debug, Clone)]
struct Chains {
    star: usize,
    centre: Vec<f64>,
    root: DMatrix<f64>,
    /// Where each chain is, [n_chains, n_parameters], in units of the approximation.
    positions: Vec<f64>,
    step_size: f64,
    n_gradients: usize,
    rng: ChaCha8Rng,
}

impl Chains {
    /// Chains that begin at random places of the approximation.
    fn begin(star: usize, approximation: &Approximation, settings: &SamplerSettings, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(star as u64 + 1);
        let n = settings.chains * approximation.centre.len();
        Self {
            star,
            centre: approximation.centre.clone(),
            root: approximation.root.clone(),
            positions: (0..n).map(|_| normal::draw(&mut rng)).collect(),
            step_size: 1.0,
            n_gradients: 0,
            rng,
        }
    }
}

/// The step size of one star in the making, by dual averaging.
#[derive(Debug, Clone, Copy)]
struct DualAveraging {
    round: f64,
    error: f64,
    ln_step: f64,
    ln_mean: f64,
}

impl DualAveraging {
    /// Draws the search to the step that suits a standard Gaussian.
    fn new() -> Self {
        Self { round: 0.0, error: 0.0, ln_step: 0.0, ln_mean: 0.0 }
    }

    fn update(&mut self, acceptance: f64, target: f64) {
        // As in the paper.
        let (t0, gamma, kappa) = (10.0, 0.05, 0.75);
        self.round += 1.0;
        self.error += (target - acceptance - self.error) / (self.round + t0);
        let limits = (STEP_SIZES.0.ln(), STEP_SIZES.1.ln());
        self.ln_step = (-self.round.sqrt() / gamma * self.error).clamp(limits.0, limits.1);
        self.ln_mean += (self.ln_step - self.ln_mean) * self.round.powf(-kappa);
    }
}

/// Several stars whose chains move together.
struct Block<C> {
    posterior: Posterior<C>,
    chains: Vec<Chains>,
    settings: SamplerSettings,
    n_parameters: usize,
    /// [n_stars, 1, n_parameters]
    centre: Tensor<3>,
    /// L and its transpose, [n_stars, n_parameters, n_parameters].
    root: Tensor<3>,
    transposed: Tensor<3>,
    state: State,
    /// Parameters of every chain, [n_stars, n_chains, n_parameters].
    parameters: Vec<f64>,
}

/// Where all chains are.
#[derive(Clone)]
struct State {
    /// [n_stars, n_chains, n_parameters], in units of the approximation, as is the gradient.
    position: Tensor<3>,
    gradient: Tensor<3>,
    ln: Tensor<2>,
    parameters: Tensor<3>,
}

/// How one trajectory of every chain ended, [n_stars * n_chains] each.
struct Ends {
    /// Probability of acceptance, walls left out.
    acceptance: Vec<f64>,
    diverged: Vec<bool>,
    beyond_walls: Vec<bool>,
}

impl<C: ChiSquare> Block<C> {
    fn new(posterior: &Posterior<C>, chains: &[Chains], settings: &SamplerSettings) -> Self {
        let small = Compute::small_systems();
        let stars: Vec<usize> = chains.iter().map(|chains| chains.star).collect();
        let posterior = posterior.select(small.indices(&stars));
        let (n_stars, n) = (stars.len(), posterior.n_parameters());
        let all = |of: &dyn Fn(&Chains) -> Vec<f64>| chains.iter().flat_map(of).collect::<Vec<f64>>();
        let centre = small.tensor(&all(&|chains| chains.centre.clone()), [n_stars, 1, n]);
        // Columns one after the other are the rows of the transposed matrix.
        let transposed = small.tensor(&all(&|chains| chains.root.as_slice().to_vec()), [n_stars, n, n]);
        let root = small.tensor(&all(&|chains| chains.root.transpose().as_slice().to_vec()), [n_stars, n, n]);
        let position = small.tensor(&all(&|chains| chains.positions.clone()), [n_stars, settings.chains, n]);
        let state = evaluate(&posterior, &centre, &root, &transposed, position);
        let mut block = Self {
            parameters: to_f64(state.parameters.clone()),
            posterior,
            chains: chains.to_vec(),
            settings: settings.clone(),
            n_parameters: n,
            centre,
            root,
            transposed,
            state,
        };
        block.draw_in();
        block
    }

    /// Brings chains that are beyond a wall, or where the density is not finite, nearer to the centre of their star, which is
    /// not.
    fn draw_in(&mut self) {
        let small = Compute::small_systems();
        let shape = self.state.position.dims();
        for round in 0..8 {
            let allowed = self.posterior.allows(&self.state.parameters).map(to_bool);
            let ln = to_f64(self.state.ln.clone());
            let lost = |row: usize| !ln[row].is_finite() || allowed.as_ref().is_some_and(|allowed| !allowed[row]);
            let lost: Vec<usize> = (0..ln.len()).filter(|row| lost(*row)).collect();
            if lost.is_empty() {
                return;
            }
            let mut position = to_f64(self.state.position.clone());
            for row in lost {
                let nearer = if round == 7 { 0.0 } else { 0.3 };
                position[row * self.n_parameters..][..self.n_parameters].iter_mut().for_each(|u| *u *= nearer);
            }
            self.state = self.evaluate(small.tensor(&position, shape));
            self.parameters = to_f64(self.state.parameters.clone());
        }
    }

    fn evaluate(&self, position: Tensor<3>) -> State {
        evaluate(&self.posterior, &self.centre, &self.root, &self.transposed, position)
    }

    /// One trajectory of every chain, with a step size per star, and its end taken or not.
    fn advance(&mut self, step_sizes: &[f64], n_steps: usize) -> Ends {
        let small = Compute::small_systems();
        let [n_stars, n_chains, n] = self.state.position.dims();
        let mut noise = Vec::with_capacity(n_stars * n_chains * n);
        let mut ln_uniform = Vec::with_capacity(n_stars * n_chains);
        for Chains { rng, n_gradients, .. } in &mut self.chains {
            noise.extend((0..n_chains * n).map(|_| normal::draw(rng)));
            ln_uniform.extend((0..n_chains).map(|_| rng.random_range(1e-300..1.0_f64).ln()));
            *n_gradients += n_steps;
        }
        let step = small.tensor(step_sizes, [n_stars, 1, 1]);
        let half_step = step.clone() * 0.5;
        let momentum = small.tensor(&noise, [n_stars, n_chains, n]);
        let before = self.state.ln.clone() - squares(&momentum);
        let mut momentum = momentum + self.state.gradient.clone() * half_step.clone();
        let mut end = self.state.clone();
        for leap in 1..=n_steps {
            end = self.evaluate(end.position + momentum.clone() * step.clone());
            let step = if leap == n_steps { &half_step } else { &step };
            momentum = momentum + end.gradient.clone() * step.clone();
        }
        let gain = to_f64(end.ln.clone() - squares(&momentum) - before);
        let allowed = self.posterior.allows(&end.parameters).map(to_bool);
        let beyond_walls: Vec<bool> =
            allowed.map_or_else(|| vec![false; gain.len()], |allowed| allowed.into_iter().map(|a| !a).collect());
        // A gain that is no number is never taken.
        let taken: Vec<bool> = (0..gain.len()).map(|row| gain[row] > ln_uniform[row] && !beyond_walls[row]).collect();
        self.take(end, &taken);
        let finite = |gain: f64| if gain.is_nan() { f64::NEG_INFINITY } else { gain };
        Ends {
            acceptance: gain.iter().map(|gain| finite(*gain).exp().min(1.0)).collect(),
            diverged: gain.iter().map(|gain| finite(*gain) < -DIVERGENCE).collect(),
            beyond_walls,
        }
    }

    /// Takes the ends of some trajectories.
    fn take(&mut self, end: State, taken: &[bool]) {
        let [n_stars, n_chains, n] = end.position.dims();
        let new = to_f64(end.parameters.clone());
        for (row, _) in taken.iter().enumerate().filter(|(_, taken)| **taken) {
            self.parameters[row * n..(row + 1) * n].copy_from_slice(&new[row * n..(row + 1) * n]);
        }
        let mask = TensorData::new(taken.to_vec(), [n_stars, n_chains]);
        let mask = Tensor::<2, Bool>::from_data(mask, &end.ln.device());
        let wide = mask.clone().reshape([n_stars, n_chains, 1]).expand([n_stars, n_chains, n]);
        let here = self.state.clone();
        self.state = State {
            position: here.position.mask_where(wide.clone(), end.position),
            gradient: here.gradient.mask_where(wide, end.gradient),
            ln: here.ln.mask_where(mask, end.ln),
            parameters: here.parameters,
        };
    }

    /// Finds step sizes with the fit's covariance, then the covariance of the draws, then step sizes again.
    fn warm_up(mut self, seed: u64, progress: &dyn Progress) -> Result<Vec<Chains>> {
        let total = self.settings.warm_up;
        let (first, second) = (total / 4, total / 2);
        let mut rng = jitter(seed);
        self.tune(first, &mut rng, progress, |_| ())?;
        let n_stars = self.chains.len();
        let mut collected = vec![Vec::with_capacity(second * self.settings.chains * self.n_parameters); n_stars];
        let per_star = self.settings.chains * self.n_parameters;
        self.tune(second, &mut rng, progress, |parameters| {
            let stars = parameters.chunks_exact(per_star);
            collected.iter_mut().zip(stars).for_each(|(collected, star)| collected.extend_from_slice(star));
        })?;
        self.keep();
        for (chains, draws) in self.chains.iter_mut().zip(&collected) {
            chains.learn(draws);
        }
        let mut block = Self::new(&self.posterior_of_all(), &self.renumbered(), &self.settings);
        block.tune(total - first - second, &mut rng, progress, |_| ())?;
        block.keep();
        // Back to their own numbers.
        block.chains.iter_mut().zip(&self.chains).for_each(|(chains, own)| chains.star = own.star);
        Ok(block.chains)
    }

    /// The posterior of the block's stars alone.
    fn posterior_of_all(&self) -> Posterior<C> {
        let all: Vec<usize> = (0..self.chains.len()).collect();
        self.posterior.select(Compute::small_systems().indices(&all))
    }

    /// The chains, numbered by their place in the block.
    fn renumbered(&self) -> Vec<Chains> {
        self.chains.iter().enumerate().map(|(star, chains)| Chains { star, ..chains.clone() }).collect()
    }

    /// Draws with step sizes that follow the acceptance; each draw of all parameters goes to `sink`.
    fn tune(
        &mut self,
        n_draws: usize,
        rng: &mut ChaCha8Rng,
        progress: &dyn Progress,
        mut sink: impl FnMut(&[f64]),
    ) -> Result<()> {
        let mut averaging = vec![DualAveraging::new(); self.chains.len()];
        for _ in 0..n_draws {
            go_on(progress)?;
            let step_sizes: Vec<f64> = averaging.iter().map(|averaging| averaging.ln_step.exp()).collect();
            let ends = self.advance(&step_sizes, rng.random_range(1..=WARM_UP_STEPS));
            for (averaging, acceptance) in averaging.iter_mut().zip(ends.acceptance.chunks(self.settings.chains)) {
                let mean = acceptance.iter().sum::<f64>() / acceptance.len() as f64;
                averaging.update(mean, self.settings.target_acceptance);
            }
            sink(&self.parameters);
        }
        for (chains, averaging) in self.chains.iter_mut().zip(&averaging) {
            chains.step_size = averaging.ln_mean.exp();
        }
        Ok(())
    }

    /// Writes where the chains are back to them.
    fn keep(&mut self) {
        let positions = to_f64(self.state.position.clone());
        let n = self.settings.chains * self.n_parameters;
        for (chains, positions) in self.chains.iter_mut().zip(positions.chunks_exact(n)) {
            chains.positions = positions.to_vec();
        }
    }

    /// The draws that are kept, star by star.
    fn draw(mut self, mean_steps: f64, seed: u64, progress: &dyn Progress) -> Result<Vec<Draws>> {
        let (n_stars, n_chains, n_draws) = (self.chains.len(), self.settings.chains, self.settings.draws);
        let n = self.n_parameters;
        let longest = FRAC_PI_2 / mean_steps;
        let step_sizes: Vec<f64> = self.chains.iter().map(|chains| chains.step_size.min(longest)).collect();
        let steps = (0.5 * mean_steps).ceil() as usize..=(1.5 * mean_steps).floor() as usize;
        let mut rng = jitter(seed);
        rng.set_word_pos(1 << 40);
        let mut values = vec![0.0; n_stars * n_chains * n_draws * n];
        let mut sums = vec![(vec![Vec::new(); n_chains], 0, 0.0); n_stars];
        for draw in 0..n_draws {
            go_on(progress)?;
            let ends = self.advance(&step_sizes, rng.random_range(steps.clone()));
            for row in 0..n_stars * n_chains {
                let (divergent, beyond, acceptance) = &mut sums[row / n_chains];
                if ends.diverged[row] {
                    divergent[row % n_chains].push(draw);
                }
                *beyond += usize::from(ends.beyond_walls[row]);
                *acceptance += ends.acceptance[row];
                let to = (row * n_draws + draw) * n;
                values[to..to + n].copy_from_slice(&self.parameters[row * n..(row + 1) * n]);
            }
        }
        let mut values = values.chunks_exact(n_chains * n_draws * n);
        Ok((self.chains.iter().zip(sums).zip(step_sizes))
            .map(|((chains, (divergent, beyond_walls, acceptance)), step_size)| Draws {
                n_chains,
                values: values
                    .next()
                    .and_then(|values| Array2::from_shape_vec((n_chains * n_draws, n), values.to_vec()).ok())
                    .unwrap_or_default(),
                divergent,
                beyond_walls,
                acceptance: acceptance / (n_chains * n_draws) as f64,
                step_size,
                n_gradients: chains.n_gradients,
            })
            .collect())
    }
}

/// Numbers of steps are the same for all stars: a stream of their own.
fn jitter(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// Half the squares of the momenta, [n_stars, n_chains].
fn squares(momentum: &Tensor<3>) -> Tensor<2> {
    let [n_stars, n_chains, _] = momentum.dims();
    (momentum.clone() * momentum.clone()).sum_dim(2).reshape([n_stars, n_chains]) * 0.5
}

fn evaluate<C: ChiSquare>(
    posterior: &Posterior<C>,
    centre: &Tensor<3>,
    root: &Tensor<3>,
    transposed: &Tensor<3>,
    position: Tensor<3>,
) -> State {
    let parameters = position.clone().matmul(transposed.clone()) + centre.clone();
    let density = posterior.density(parameters.clone());
    State { position, gradient: density.gradient.matmul(root.clone()), ln: density.ln, parameters }
}

impl Chains {
    /// Takes the covariance of some draws, [n_draws, n_parameters], in place of the approximation's, which still counts as
    /// much as a few draws.
    fn learn(&mut self, draws: &[f64]) {
        let n = self.centre.len();
        let draws = DMatrix::from_column_slice(n, draws.len() / n, draws);
        let offset = &draws - draws.column_mean() * DMatrix::from_element(1, draws.ncols(), 1.0);
        let n_draws = draws.ncols() as f64;
        let before = &self.root * self.root.transpose();
        let covariance = (&offset * offset.transpose() + before * PRIOR_DRAWS) / (n_draws + PRIOR_DRAWS);
        let Some(root) = covariance.cholesky().map(|factor| factor.l()) else { return };
        if root.iter().any(|value| !value.is_finite()) {
            return;
        }
        // The chains stay where they are.
        let positions = DMatrix::from_column_slice(n, self.positions.len() / n, &self.positions);
        if let Some(positions) = root.solve_lower_triangular(&(&self.root * positions)) {
            self.positions = positions.as_slice().to_vec();
            self.root = root;
        }
    }
}
