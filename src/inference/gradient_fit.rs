//! Labels of all stars by optimizers that see only gradients, which come from automatic differentiation of chi^2.
//!
//! Every star is a small problem of its own, so each has its own steps, line search and curvature; what they share is the
//! tensor they are computed in. Labels are taken relative to the start in units of the formal errors there,
//!
//! ```text
//! labels = start + S z,   S S^T = formal covariance at the start:   chi^2 / 2 has a curvature near one in z
//! ```

use burn::optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{Bool, Int, Tensor};
use nalgebra::DMatrix;
use ndarray::ArrayView2;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chi_square::{ChiSquare, Minimum};
use super::solve::solve;
use crate::device::{Compute, to_bool, to_f64};

/// `[fit.method]`: how the lowest chi^2 is found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FitMethod {
    /// Steps with the Hessian, a damping per star: the fastest by far.
    #[default]
    LevenbergMarquardt,
    /// Adam (Kingma & Ba 2015), its learning rate falling geometrically.
    Adam(AdamFit),
    /// Limited-memory BFGS with a backtracking line search per star (Nocedal & Wright 2006, Algorithm 7.4).
    Lbfgs(LbfgsFit),
}

/// `[fit.method.adam]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdamFit {
    /// Steps per start at most.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Learning rate of the first step, in units of the formal errors; that of the last is far below `fit.tolerance`.
    #[schemars(range(min = 1e-6, max = 1e6))]
    pub learning_rate: f64,
}

impl Default for AdamFit {
    fn default() -> Self {
        Self { steps: 600, learning_rate: 20.0 }
    }
}

/// `[fit.method.lbfgs]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LbfgsFit {
    /// Steps per start at most.
    #[schemars(range(min = 1))]
    pub steps: usize,
    /// Steps that shape the curvature.
    #[schemars(range(min = 1))]
    pub history: usize,
}

impl Default for LbfgsFit {
    fn default() -> Self {
        Self { steps: 120, history: 10 }
    }
}

/// Steps after which stars that have converged leave the batch.
const CHECK_EVERY: usize = 5;
/// Adam's memory of squared gradients: they fall by orders of magnitude within tens of steps.
const BETA_2: f32 = 0.95;
/// Learning rate of Adam's last step, relative to the tolerance.
const LAST_RATE: f64 = 0.03;
/// Share of the promised decrease that a step of the line search must bring.
const ARMIJO: f64 = 1e-4;
/// Factor by which a step that does not bring it is shortened, and how often.
const SHORTER: f64 = 0.3;
const MOST_SHORTENINGS: usize = 12;

/// Descends from one start per star, [n_stars, n_labels]; stars leave the batch as they converge.
///
/// A star has converged when the Gauss-Newton step that is left is shorter than `tolerance`, in units of the formal error.
///
/// # Panics
/// For [`FitMethod::LevenbergMarquardt`], which is not one of these.
pub(super) fn descend<C: ChiSquare>(
    problem: &C,
    start: ArrayView2<f64>,
    method: &FitMethod,
    tolerance: f64,
    compute: &Compute,
) -> Minimum {
    let (n_stars, n_labels) = start.dim();
    let mut minimum = Minimum::at(start);
    if n_stars == 0 {
        return minimum;
    }
    let mut active: Vec<usize> = (0..n_stars).collect();
    let mut whitened = Whitened::new(problem.select(compute.indices(&active)), start, compute);
    let mut z = Tensor::zeros([n_stars, n_labels], (compute.device(), compute.dtype()));
    let (mut walker, n_steps) = Walker::new(method, tolerance);
    for step in 1..=n_steps {
        z = walker.step(&whitened, z);
        let last = step == n_steps;
        if step % CHECK_EVERY != 0 && !last {
            continue;
        }
        let labels = whitened.labels(z.clone());
        let here = whitened.problem.evaluate(labels.clone());
        let left = solve(here.curvature.clone(), here.half_gradient.clone());
        let length = (left * here.half_gradient.clone()).sum_dim(1).reshape([active.len(), 1]).clamp_min(0.0).sqrt();
        let done = to_bool(length.lower_scalar(tolerance));
        let settled = minimum.settle(&mut active, (&done, last), (&labels, &here), compute);
        let Some(remaining) = settled else { continue };
        if remaining.is_empty() {
            break;
        }
        let index = compute.indices(&remaining);
        whitened = whitened.select(index.clone());
        walker.select(&index);
        z = z.select(0, index);
    }
    minimum
}

/// chi^2 of several stars in units of the formal errors at their starts.
struct Whitened<C> {
    problem: C,
    /// [n_stars, n_labels]
    start: Tensor<2>,
    /// S, [n_stars, n_labels, n_labels].
    spread: Tensor<3>,
}

impl<C: ChiSquare> Whitened<C> {
    fn new(problem: C, start: ArrayView2<f64>, compute: &Compute) -> Self {
        let (n_stars, n) = start.dim();
        let flat: Vec<f64> = start.iter().copied().collect();
        let start = compute.tensor(&flat, [n_stars, n]);
        let curvature = to_f64(problem.evaluate(start.clone()).curvature);
        let spread: Vec<f64> = curvature.chunks(n * n).flat_map(|curvature| spread(curvature, n)).collect();
        Self { problem, start, spread: compute.tensor(&spread, [n_stars, n, n]) }
    }

    /// S z, [n_stars, n_labels].
    fn spread(&self, z: Tensor<2>) -> Tensor<2> {
        let [n_stars, n] = z.dims();
        self.spread.clone().matmul(z.reshape([n_stars, n, 1])).reshape([n_stars, n])
    }

    fn labels(&self, z: Tensor<2>) -> Tensor<2> {
        self.start.clone() + self.spread(z)
    }

    /// chi^2 / 2, [n_stars, 1], and its gradient, [n_stars, n_labels], by automatic differentiation.
    fn value_and_gradient(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let z = Tensor::<2>::from_inner(z).require_grad();
        let half = self.problem.chi2(self.labels(z.clone())) * 0.5;
        // Each star's chi^2 depends on its own labels only: the gradient of the sum is all gradients.
        let gradient = z.grad(&half.clone().sum().backward()).expect("chi^2 depends on the labels");
        (half.inner(), gradient)
    }

    fn select(&self, rows: Tensor<1, Int>) -> Self {
        Self {
            problem: self.problem.select(rows.clone()),
            start: self.start.clone().select(0, rows.clone()),
            spread: self.spread.clone().select(0, rows),
        }
    }
}

/// S = L^-T of one star's curvature A = L L^T, row-major; a star without data gets the unit matrix.
fn spread(curvature: &[f64], n: usize) -> Vec<f64> {
    let factor = DMatrix::from_row_slice(n, n, curvature).cholesky();
    let inverse = factor.and_then(|factor| factor.l().transpose().solve_upper_triangular(&DMatrix::identity(n, n)));
    let spread = inverse.filter(|spread| spread.iter().all(|value| value.is_finite()));
    spread.unwrap_or_else(|| DMatrix::identity(n, n)).transpose().as_slice().to_vec()
}

/// An optimizer in motion.
enum Walker {
    Adam(Box<FallingAdam>),
    Lbfgs(Box<History>),
}

impl Walker {
    /// The optimizer, and its steps at most.
    fn new(method: &FitMethod, tolerance: f64) -> (Self, usize) {
        match method {
            FitMethod::LevenbergMarquardt => panic!("Levenberg-Marquardt is no descent by gradients"),
            FitMethod::Adam(AdamFit { steps, learning_rate: rate }) => {
                let adam = AdamConfig::new().with_beta_2(BETA_2).with_epsilon(1e-12).build();
                let fall = (LAST_RATE * tolerance / rate).min(1.0).powf(1.0 / *steps as f64);
                (Self::Adam(Box::new(FallingAdam { adam, state: None, rate: *rate, fall })), *steps)
            }
            FitMethod::Lbfgs(LbfgsFit { steps, history: most }) => {
                let history = History { here: None, steps: Vec::new(), changes: Vec::new(), most: *most };
                (Self::Lbfgs(Box::new(history)), *steps)
            }
        }
    }

    fn step<C: ChiSquare>(&mut self, whitened: &Whitened<C>, z: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Adam(adam) => adam.step(whitened, z),
            Self::Lbfgs(history) => history.step(whitened, z),
        }
    }

    /// Keeps the stars at these positions only.
    fn select(&mut self, rows: &Tensor<1, Int>) {
        match self {
            Self::Adam(adam) => adam.select(rows),
            Self::Lbfgs(history) => history.select(rows),
        }
    }
}

/// Adam with a learning rate that falls by a factor each step.
struct FallingAdam {
    adam: Adam,
    state: Option<AdamState<2>>,
    rate: f64,
    fall: f64,
}

impl FallingAdam {
    fn step<C: ChiSquare>(&mut self, whitened: &Whitened<C>, z: Tensor<2>) -> Tensor<2> {
        let (_, gradient) = whitened.value_and_gradient(z.clone());
        let (next, state) = self.adam.step(self.rate, z.clone(), gradient, self.state.take());
        self.state = state;
        self.rate *= self.fall;
        let move_by = next - z.clone();
        z + move_by.clone() * shortening(&whitened.spread(move_by))
    }

    fn select(&mut self, rows: &Tensor<1, Int>) {
        self.state = self.state.take().map(|AdamState { momentum }| AdamState {
            momentum: AdaptiveMomentumState {
                moment_1: momentum.moment_1.select(0, rows.clone()),
                moment_2: momentum.moment_2.select(0, rows.clone()),
                ..momentum
            },
        });
    }
}

/// By how much a change of the labels must be shortened to move none by more than one scaled unit, [n_stars, 1].
fn shortening(change: &Tensor<2>) -> Tensor<2> {
    change.clone().abs().max_dim(1).clamp_min(1.0).recip()
}

/// L-BFGS of every star: its last steps and the changes of its gradient with them.
struct History {
    /// chi^2 / 2, [n_stars, 1], and its gradient, [n_stars, n_labels], where the stars are.
    here: Option<(Tensor<2>, Tensor<2>)>,
    /// Oldest first, [n_stars, n_labels] each; nil for a star that did not move, or whose curvature there is not positive.
    steps: Vec<Tensor<2>>,
    changes: Vec<Tensor<2>>,
    most: usize,
}

impl History {
    fn step<C: ChiSquare>(&mut self, whitened: &Whitened<C>, z: Tensor<2>) -> Tensor<2> {
        let (value, gradient) = self.here.take().unwrap_or_else(|| whitened.value_and_gradient(z.clone()));
        let direction = self.direction(&gradient);
        let slope = dot(&direction, &gradient);
        // Rounding can turn the direction uphill; downhill is always where the gradient is not.
        let uphill = slope.clone().greater_equal_scalar(0.0);
        let direction = direction.mask_where(wide(&uphill, &gradient), gradient.clone().neg());
        let direction = direction.clone() * shortening(&whitened.spread(direction));
        let slope = dot(&direction, &gradient);

        let mut length = Tensor::<2>::ones(value.dims(), (&value.device(), value.dtype()));
        let mut trial = z.clone() + direction.clone();
        let (mut there, mut gradient_there) = whitened.value_and_gradient(trial.clone());
        for _ in 0..MOST_SHORTENINGS {
            // A value that is no number is no decrease.
            let enough = there.clone().lower_equal(value.clone() + slope.clone() * length.clone() * ARMIJO);
            if to_bool(enough.clone()).into_iter().all(|enough| enough) {
                break;
            }
            length = (length.clone() * SHORTER).mask_where(enough, length);
            trial = z.clone() + direction.clone() * length.clone();
            (there, gradient_there) = whitened.value_and_gradient(trial.clone());
        }
        let worse = there.clone().lower_equal(value.clone()).bool_not();
        let worse_labels = wide(&worse, &z);
        trial = trial.mask_where(worse_labels.clone(), z.clone());
        there = there.mask_where(worse.clone(), value);
        gradient_there = gradient_there.mask_where(worse_labels, gradient.clone());

        let (step, change) = (trial.clone() - z, gradient_there.clone() - gradient);
        let bent = wide(&dot(&step, &change).lower_equal_scalar(0.0), &step);
        self.steps.push(step.mask_fill(bent.clone(), 0.0));
        self.changes.push(change.mask_fill(bent, 0.0));
        if self.steps.len() > self.most {
            self.steps.remove(0);
            self.changes.remove(0);
        }
        self.here = Some((there, gradient_there));
        trial
    }

    fn select(&mut self, rows: &Tensor<1, Int>) {
        let pick = |tensor: &Tensor<2>| tensor.clone().select(0, rows.clone());
        self.here = self.here.take().map(|(value, gradient)| (pick(&value), pick(&gradient)));
        self.steps = self.steps.iter().map(pick).collect();
        self.changes = self.changes.iter().map(pick).collect();
    }

    /// Minus the gradient times the inverse Hessian as the history knows it; as it is in these units, one, without any.
    fn direction(&self, gradient: &Tensor<2>) -> Tensor<2> {
        let inverse: Vec<Tensor<2>> =
            self.steps.iter().zip(&self.changes).map(|(s, y)| reciprocal(dot(s, y))).collect();
        let mut q = gradient.clone();
        let mut shares = Vec::with_capacity(self.steps.len());
        for ((s, y), inverse) in self.steps.iter().zip(&self.changes).zip(&inverse).rev() {
            let share = inverse.clone() * dot(s, &q);
            q = q - y.clone() * share.clone();
            shares.push(share);
        }
        for (((s, y), inverse), share) in self.steps.iter().zip(&self.changes).zip(&inverse).zip(shares.iter().rev()) {
            let back = inverse.clone() * dot(y, &q);
            q = q + s.clone() * (share.clone() - back);
        }
        q.neg()
    }
}

/// Scalar products of the rows, [n_stars, 1].
fn dot(a: &Tensor<2>, b: &Tensor<2>) -> Tensor<2> {
    (a.clone() * b.clone()).sum_dim(1)
}

/// 1 / x, and 0 for 0.
fn reciprocal(x: Tensor<2>) -> Tensor<2> {
    let none = x.clone().equal_scalar(0.0);
    x.mask_fill(none.clone(), 1.0).recip().mask_fill(none, 0.0)
}

/// A mask of stars, [n_stars, 1], for all their labels.
fn wide(mask: &Tensor<2, Bool>, like: &Tensor<2>) -> Tensor<2, Bool> {
    mask.clone().expand(like.dims())
}

#[cfg(test)]
mod tests {
    use super::super::fit::FitSettings;
    use super::*;
    use crate::schema;

    #[test]
    fn the_method_is_a_word_or_a_table() {
        let parsed = |text: &str| toml::from_str::<FitSettings>(text).map(|settings| settings.method);
        assert_eq!(parsed("method = \"levenberg-marquardt\"").unwrap(), FitMethod::LevenbergMarquardt);
        assert_eq!(parsed("method.lbfgs = {}").unwrap(), FitMethod::Lbfgs(LbfgsFit::default()));
        let adam = FitMethod::Adam(AdamFit { steps: 7, ..AdamFit::default() });
        assert_eq!(parsed("[method.adam]\nsteps = 7").unwrap(), adam);
        assert!(parsed("method.adam = { history = 7 }").is_err());
        assert_eq!(schema::check(&parsed("method.lbfgs.steps = 0").unwrap()).unwrap_err().0, "lbfgs.steps");
        for rate in ["-1.0", "1e-300", "1e300"] {
            let refused = schema::check(&parsed(&format!("method.adam.learning_rate = {rate}")).unwrap());
            assert_eq!(refused, Err(("adam.learning_rate".to_string(), "must be 1e-6 to 1000000".to_string())));
        }
        let written = toml::to_string(&FitSettings { method: adam.clone(), ..FitSettings::default() }).unwrap();
        assert_eq!(parsed(&written).unwrap(), adam);
    }
}
