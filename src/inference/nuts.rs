//! The No-U-Turn Sampler of nuts-rs on one star's posterior, chain by chain: slower than HMC in tensors, and independent of it.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use burn::tensor::Tensor;
use nalgebra::DVector;
use ndarray::Array2;
use nuts_rs::{Chain, CpuLogpFunc, CpuMath, CpuMathError, DiagNutsSettings, HasDims, LogpError, Settings};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::chi_square::ChiSquare;
use super::draws::{Draws, SamplerSettings};
use super::hmc::go_on;
use super::posterior::{Approximation, Posterior};
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::stats::normal;

/// Samples the posterior of the star at `star`, each chain on a thread of its own. Equal seeds give equal draws.
///
/// As in HMC, chains move in the coordinates of the approximation. A trajectory that meets a wall of the prior ends there; it is
/// counted, but is no divergence.
///
/// # Errors
/// [`Error::Sampling`] with the sampler's own words, where a chain cannot begin; [`Error::Interrupted`] where `progress` asks to
/// stop, before the next draw.
pub fn sample<C: ChiSquare + Sync>(
    posterior: &Posterior<C>,
    star: usize,
    approximation: &Approximation,
    settings: &SamplerSettings,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Draws> {
    let small = Compute::small_systems();
    let posterior = posterior.select(small.indices(&[star]));
    let chains: Vec<u64> = (0..settings.chains as u64).collect();
    let run = |chain: &u64| run_chain(&posterior, approximation, settings, *chain, seed, progress);
    let mut runs = small.each_on_its_own_thread(&chains, run).into_iter().collect::<Result<Vec<Run>>>()?;
    let n_chains = runs.len();
    let mean = |of: &dyn Fn(&Run) -> f64| runs.iter().map(of).sum::<f64>() / n_chains as f64;
    let sum = |of: &dyn Fn(&Run) -> usize| runs.iter().map(of).sum::<usize>();
    let (step_size, acceptance) = (mean(&|run| run.step_size), f64::NAN);
    let beyond_walls = sum(&|run| run.beyond_walls);
    let n_gradients = sum(&|run| run.n_gradients) / n_chains.max(1);
    let divergent = runs.iter_mut().map(|run| std::mem::take(&mut run.divergent)).collect();
    let values: Vec<f64> = runs.iter_mut().flat_map(|run| std::mem::take(&mut run.values)).collect();
    let n = posterior.n_parameters();
    let values = Array2::from_shape_vec((values.len() / n, n), values).unwrap_or_default();
    Ok(Draws { n_chains, values, divergent, beyond_walls, acceptance, step_size, n_gradients })
}

/// What one chain left.
struct Run {
    values: Vec<f64>,
    divergent: Vec<usize>,
    beyond_walls: usize,
    step_size: f64,
    n_gradients: usize,
}

fn run_chain<C: ChiSquare>(
    posterior: &Posterior<C>,
    approximation: &Approximation,
    settings: &SamplerSettings,
    chain: u64,
    seed: u64,
    progress: &dyn Progress,
) -> Result<Run> {
    let failed = |said: String| Error::Sampling(format!("NUTS, chain {}: {said}", chain + 1));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(chain + 1);
    let n = posterior.n_parameters();
    let met_wall = Rc::new(Cell::new(false));
    let density = WhitenedDensity::new(posterior, approximation, Rc::clone(&met_wall));
    let mut start: Vec<f64> = (0..n).map(|_| normal::quantile(rng.random_range(1e-12..1.0))).collect();
    // The centre is allowed and finite: on the way there a start will be.
    for _ in 0..40 {
        if density.evaluate(&start).is_ok() {
            break;
        }
        start.iter_mut().for_each(|u| *u *= 0.5);
    }
    let mut options =
        DiagNutsSettings { num_tune: settings.warm_up as u64, num_draws: settings.draws as u64, ..Default::default() };
    options.adapt_options.step_size_settings.target_accept = settings.target_acceptance;
    let mut sampler =
        options.new_chain(chain, CpuMath::new(density), &mut rng).map_err(|err| failed(format!("{err:#}")))?;
    sampler.set_position(&start).map_err(|err| failed(format!("{err:#}")))?;
    let transform = Whitening::new(approximation);
    let mut run = Run { values: Vec::new(), divergent: Vec::new(), beyond_walls: 0, step_size: 0.0, n_gradients: 0 };
    for draw in 0..settings.warm_up + settings.draws {
        go_on(progress)?;
        met_wall.set(false);
        let (position, drawn) = sampler.draw().map_err(|err| failed(format!("{err:#}")))?;
        run.n_gradients += drawn.num_steps as usize;
        if draw < settings.warm_up {
            continue;
        }
        run.values.extend(transform.parameters(&position).iter());
        run.step_size = drawn.step_size;
        match (drawn.diverging, met_wall.get()) {
            (true, true) => run.beyond_walls += 1,
            (true, false) => run.divergent.push(draw - settings.warm_up),
            _ => {}
        }
    }
    Ok(run)
}

/// From the coordinates of the approximation to parameters.
struct Whitening<'a>(&'a Approximation, DVector<f64>);

impl<'a> Whitening<'a> {
    fn new(approximation: &'a Approximation) -> Self {
        Self(approximation, DVector::from_column_slice(&approximation.centre))
    }

    fn parameters(&self, position: &[f64]) -> DVector<f64> {
        &self.0.root * DVector::from_column_slice(position) + &self.1
    }
}

/// The posterior of one star as nuts-rs asks for it.
struct WhitenedDensity<'a, C> {
    posterior: &'a Posterior<C>,
    whitening: Whitening<'a>,
    met_wall: Rc<Cell<bool>>,
}

/// Why a point has no density.
#[derive(Debug, thiserror::Error)]
enum NoDensity {
    #[error("the point lies beyond a wall of the prior")]
    BeyondWall,
    #[error("the density is not finite")]
    NotFinite,
}

impl LogpError for NoDensity {
    fn is_recoverable(&self) -> bool {
        true
    }
}

impl<'a, C: ChiSquare> WhitenedDensity<'a, C> {
    fn new(posterior: &'a Posterior<C>, approximation: &'a Approximation, met_wall: Rc<Cell<bool>>) -> Self {
        Self { posterior, whitening: Whitening::new(approximation), met_wall }
    }

    /// ln of the density, and its gradient in the coordinates of the approximation.
    fn evaluate(&self, position: &[f64]) -> Result<(f64, DVector<f64>), NoDensity> {
        let parameters = self.whitening.parameters(position);
        if !self.posterior.allows_point(parameters.as_slice()) {
            return Err(NoDensity::BeyondWall);
        }
        let point: Tensor<3> = Compute::small_systems().tensor(parameters.as_slice(), [1, 1, position.len()]);
        let density = self.posterior.density(point);
        let (ln, gradient) = (to_f64(density.ln)[0], to_f64(density.gradient));
        if !ln.is_finite() || gradient.iter().any(|value| !value.is_finite()) {
            return Err(NoDensity::NotFinite);
        }
        Ok((ln, self.whitening.0.root.transpose() * DVector::from_vec(gradient)))
    }
}

impl<C> HasDims for WhitenedDensity<'_, C> {
    fn dim_sizes(&self) -> HashMap<String, u64> {
        HashMap::from([("unconstrained_parameter".to_string(), self.whitening.1.len() as u64)])
    }
}

impl<C: ChiSquare> CpuLogpFunc for WhitenedDensity<'_, C> {
    type LogpError = NoDensity;
    type FlowParameters = ();
    type ExpandedVector = Vec<f64>;

    fn dim(&self) -> usize {
        self.whitening.1.len()
    }

    fn logp(&mut self, position: &[f64], gradient: &mut [f64]) -> Result<f64, NoDensity> {
        let (ln, slope) = self.evaluate(position).inspect_err(|err| {
            if matches!(err, NoDensity::BeyondWall) {
                self.met_wall.set(true);
            }
        })?;
        gradient.copy_from_slice(slope.as_slice());
        Ok(ln)
    }

    fn expand_vector<R: rand::Rng + ?Sized>(
        &mut self,
        _rng: &mut R,
        position: &[f64],
    ) -> Result<Vec<f64>, CpuMathError> {
        Ok(position.to_vec())
    }
}
