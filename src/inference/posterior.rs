//! The posterior of the labels of several stars at once: likelihood, priors, and the noise that a star may have beyond its errors.

use burn::tensor::{Bool, Int, Tensor};
use nalgebra::{DMatrix, DVector};
use ndarray::ArrayView1;

use super::chi_square::{ChiSquare, Minimum};
use super::label_prior::ScaledPrior;
use super::mixture::Component;
use super::prior::GaussianPrior;
use crate::device::{Compute, to_f64};

/// Scaled standard deviations beyond which nothing is known of a label: the posterior has no bounds worth the name.
const UNBOUNDED: f64 = 1e3;

/// Standard deviations, of prior and fit together, beyond which the two contradict each other about a label.
pub const CONTRADICTION: f64 = 5.0;

/// ln of the posterior, up to a constant, as a function of each star's parameters.
///
/// ```text
/// ln p = -1/2 chi2(u) e^-t - n/2 t - t^2 / (2 sigma_t^2) - 1/2 u . P u + b . u + ln sum_k w_k N(l | m_k, C_k)
/// ```
///
/// The parameters are the model's scaled inputs u, whose first ones are the labels l, and where a star's noise may be more
/// than its errors say, t, the logarithm of the factor on all its variances, n pixels long. P and b hold the Gaussian priors
/// of labels and of other inputs. Walls of a prior (bounds, hull) are not in it: see [`Posterior::allows`].
#[derive(Debug, Clone)]
pub struct Posterior<C> {
    problem: C,
    n_inputs: usize,
    prior: ScaledPrior,
    penalty: Option<GaussianPrior>,
    /// P, [n_inputs, n_inputs], and b, [1, n_inputs].
    quadratic: (Tensor<2>, Tensor<2>),
    /// Centre, [1, n_labels], precision and ln norm of each Gaussian of the mixture.
    mixture: Vec<(Tensor<2>, Tensor<2>, f64)>,
    /// Bounds of the labels, [1, 1, n_labels] each, and directions and extent of the hull.
    bounds: Option<[Tensor<3>; 2]>,
    hull: Option<(Tensor<2>, Tensor<2>)>,
    noise: Option<NoiseInflation>,
}

/// A factor on a star's variances: a log-normal prior about 1, and the number of pixels it holds for.
#[derive(Debug, Clone)]
struct NoiseInflation {
    sigma: f64,
    /// [n_stars, 1]
    n_pixels: Tensor<2>,
}

/// ln of a posterior and its gradient, walls left out.
#[derive(Debug, Clone)]
pub struct Density {
    /// [n_stars, n_points]
    pub ln: Tensor<2>,
    /// [n_stars, n_points, n_parameters]
    pub gradient: Tensor<3>,
}

/// Where chains begin, and the Gaussian that the posterior resembles there.
#[derive(Debug, Clone, PartialEq)]
pub struct Approximation {
    /// Its centre.
    pub centre: Vec<f64>,
    /// Lower triangular root of its covariance.
    pub root: DMatrix<f64>,
    /// Whether the best fit lay beyond a wall of the prior, or farther than [`CONTRADICTION`] from what it says of a label.
    pub is_against_prior: bool,
}

/// Why a star has no posterior.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsampled {
    /// It has no usable data.
    NoData,
    /// The model or its derivatives are not finite at the best fit.
    NotFinite,
    /// Neither data nor prior hold every parameter.
    Unbounded,
    /// The prior excludes everything.
    NothingAllowed,
}

impl<C: ChiSquare> Posterior<C> {
    /// The posterior of a problem's stars; `penalty` is the prior of the model's inputs as its fit knows it, which `problem`
    /// must not hold.
    pub fn new(problem: C, prior: ScaledPrior, n_inputs: usize, penalty: Option<&GaussianPrior>) -> Self {
        let small = Compute::small_systems();
        let n_labels = prior.n_labels();
        let (mut precision, mut pull) = (DMatrix::zeros(n_inputs, n_inputs), DVector::zeros(n_inputs));
        precision.view_mut((0, 0), (n_labels, n_labels)).copy_from(&prior.precision);
        pull.rows_mut(0, n_labels).copy_from(&prior.pull);
        if let Some(penalty) = penalty {
            precision += &penalty.precision;
            pull += &penalty.precision * &penalty.centre;
        }
        // Symmetric matrices have the same rows as columns.
        let matrix = |matrix: &DMatrix<f64>| small.tensor(matrix.as_slice(), [matrix.nrows(), matrix.ncols()]);
        let row = |vector: &[f64]| small.tensor(vector, [1, vector.len()]);
        let mixture = prior.mixture.iter();
        let mixture = mixture.map(|c: &Component| (row(c.mean.as_slice()), matrix(&c.precision), c.ln_norm)).collect();
        let has_bounds = prior.bounds.iter().any(|(low, high)| low.is_finite() || high.is_finite());
        let bounds = has_bounds.then(|| {
            let (low, high): (Vec<f64>, Vec<f64>) = prior.bounds.iter().copied().unzip();
            [low, high].map(|side| small.tensor(&side, [1, 1, n_labels]))
        });
        let hull = prior.hull.as_ref().map(|hull| {
            let (directions, extent) = hull.half_spaces();
            let flat: Vec<f64> = directions.t().iter().copied().collect();
            (small.tensor(&flat, [n_labels, extent.len()]), row(extent))
        });
        Self {
            problem,
            n_inputs,
            penalty: penalty.cloned(),
            quadratic: (matrix(&precision), row(pull.as_slice())),
            mixture,
            bounds,
            hull,
            noise: None,
            prior,
        }
    }

    /// The same with a factor on each star's variances, log-normal about 1: `sigma` is the scatter of its logarithm.
    #[must_use]
    pub fn with_noise_inflation(mut self, sigma: f64, n_pixels: &[usize]) -> Self {
        let n_pixels: Vec<f64> = n_pixels.iter().map(|n| *n as f64).collect();
        let n_pixels = Compute::small_systems().tensor(&n_pixels, [n_pixels.len(), 1]);
        self.noise = Some(NoiseInflation { sigma, n_pixels });
        self
    }

    /// Number of parameters of each star.
    pub fn n_parameters(&self) -> usize {
        self.n_inputs + usize::from(self.noise.is_some())
    }

    /// Number of labels, the first parameters.
    pub fn n_labels(&self) -> usize {
        self.prior.n_labels()
    }

    /// Whether the last parameter is the logarithm of the factor on the variances.
    pub fn inflates_noise(&self) -> bool {
        self.noise.is_some()
    }

    /// The stars at these positions, in this order; positions may repeat.
    #[must_use]
    pub fn select(&self, rows: Tensor<1, Int>) -> Self {
        let noise = self.noise.as_ref().map(|noise| NoiseInflation {
            sigma: noise.sigma,
            n_pixels: noise.n_pixels.clone().select(0, rows.clone()),
        });
        Self {
            problem: self.problem.select(rows),
            n_inputs: self.n_inputs,
            prior: self.prior.clone(),
            penalty: self.penalty.clone(),
            quadratic: self.quadratic.clone(),
            mixture: self.mixture.clone(),
            bounds: self.bounds.clone(),
            hull: self.hull.clone(),
            noise,
        }
    }

    /// ln of the density at several points of each star, and its gradient; walls are left out.
    ///
    /// # Shapes
    /// - parameters: `[n_stars, n_points, n_parameters]`
    pub fn density(&self, parameters: Tensor<3>) -> Density {
        let [n_stars, n_points, n_parameters] = parameters.dims();
        let inputs = match self.noise {
            Some(_) => parameters.clone().narrow(2, 0, self.n_inputs),
            None => parameters.clone(),
        };
        let slope = self.problem.slope(inputs.clone());
        let (mut ln, mut gradient) = (slope.chi2.clone() * -0.5, slope.half_gradient.neg());
        let mut of_noise = None;
        if let Some(NoiseInflation { sigma, n_pixels }) = &self.noise {
            let t = parameters.narrow(2, n_parameters - 1, 1).reshape([n_stars, n_points]);
            let weight = t.clone().neg().exp();
            let misfit = slope.chi2 * 0.5 * weight.clone();
            let half_n = n_pixels.clone() * 0.5;
            let pull = t.clone() / (sigma * sigma);
            of_noise = Some(misfit.clone() - half_n.clone() - pull.clone());
            ln = misfit.neg() - t.clone() * (half_n + pull * 0.5);
            gradient = gradient * weight.reshape([n_stars, n_points, 1]);
        }
        let n_rows = n_stars * n_points;
        let flat = inputs.clone().reshape([n_rows, self.n_inputs]);
        let (precision, pull) = &self.quadratic;
        let steep = pull.clone() - flat.clone().matmul(precision.clone());
        ln = ln + ((steep.clone() + pull.clone()) * flat.clone() * 0.5).sum_dim(1).reshape([n_stars, n_points]);
        gradient = gradient + steep.reshape([n_stars, n_points, self.n_inputs]);
        if let Some((value, slope)) = self.mixture_at(flat) {
            ln = ln + value.reshape([n_stars, n_points]);
            gradient = gradient + slope.reshape([n_stars, n_points, self.n_inputs]);
        }
        if let Some(of_noise) = of_noise {
            gradient = Tensor::cat(vec![gradient, of_noise.reshape([n_stars, n_points, 1])], 2);
        }
        Density { ln, gradient }
    }

    /// ln of the mixture, [n_rows, 1], and its gradient, [n_rows, n_inputs].
    fn mixture_at(&self, inputs: Tensor<2>) -> Option<(Tensor<2>, Tensor<2>)> {
        let (n_rows, n_labels) = (inputs.dims()[0], self.n_labels());
        let labels = inputs.narrow(1, 0, n_labels);
        let part = |(mean, precision, ln_norm): &(Tensor<2>, Tensor<2>, f64)| {
            let offset = mean.clone() - labels.clone();
            let slope = offset.clone().matmul(precision.clone());
            ((offset * slope.clone()).sum_dim(1) * -0.5 + *ln_norm, slope)
        };
        let (ln, slopes): (Vec<Tensor<2>>, Vec<Tensor<2>>) = self.mixture.iter().map(part).unzip();
        if ln.is_empty() {
            return None;
        }
        let ln = Tensor::cat(ln, 1);
        // Which one is taken off to keep the exponentials small does not matter, nor does its derivative.
        let largest = ln.clone().max_dim(1).detach();
        let parts = (ln - largest.clone()).exp();
        let sum = parts.clone().sum_dim(1);
        let shares = parts / sum.clone();
        let weighted = slopes.into_iter().enumerate().map(|(k, slope)| slope * shares.clone().narrow(1, k, 1));
        let slope = weighted.reduce(|sum, slope| sum + slope)?;
        let rest = Tensor::zeros([n_rows, self.n_inputs - n_labels], (&slope.device(), slope.dtype()));
        Some((largest + sum.log(), Tensor::cat(vec![slope, rest], 1)))
    }

    /// ln of the density at one point of each star, `[n_stars, n_parameters]`, as an expression that can be differentiated.
    pub fn ln_density(&self, parameters: Tensor<2>) -> Tensor<2> {
        let inputs = parameters.clone().narrow(1, 0, self.n_inputs);
        let mut ln = self.problem.chi2(inputs.clone()) * -0.5;
        if let Some(NoiseInflation { sigma, n_pixels }) = &self.noise {
            let t = parameters.narrow(1, self.n_inputs, 1);
            ln =
                ln * t.clone().neg().exp() - t.clone() * n_pixels.clone() * 0.5 - t.clone() * t / (2.0 * sigma * sigma);
        }
        let (precision, pull) = &self.quadratic;
        let steep = pull.clone() * 2.0 - inputs.clone().matmul(precision.clone());
        ln = ln + (steep * inputs.clone() * 0.5).sum_dim(1);
        match self.mixture_at(inputs) {
            Some((value, _)) => ln + value,
            None => ln,
        }
    }

    /// Whether the prior's walls allow some points, [n_stars, n_points]; nothing if it has none.
    pub fn allows(&self, parameters: &Tensor<3>) -> Option<Tensor<2, Bool>> {
        if !self.prior.has_walls() {
            return None;
        }
        let [n_stars, n_points, _] = parameters.dims();
        let labels = parameters.clone().narrow(2, 0, self.n_labels());
        let mut beyond = Tensor::<2>::zeros([n_stars, n_points], (&labels.device(), labels.dtype()));
        if let Some([low, high]) = &self.bounds {
            let over = (labels.clone() - high.clone()).max_dim(2).max_pair((low.clone() - labels.clone()).max_dim(2));
            beyond = beyond.max_pair(over.reshape([n_stars, n_points]));
        }
        if let Some((directions, extent)) = &self.hull {
            let reach = labels.reshape([n_stars * n_points, self.n_labels()]).matmul(directions.clone());
            // The same margin for rounding as the hull's own.
            let over = (reach - extent.clone()).max_dim(1).reshape([n_stars, n_points]) - 1e-6;
            beyond = beyond.max_pair(over);
        }
        Some(beyond.lower_equal_scalar(0.0))
    }

    /// Whether the prior's walls allow one point.
    pub fn allows_point(&self, parameters: &[f64]) -> bool {
        self.prior.allows(ArrayView1::from(&parameters[..self.n_labels()]))
    }

    /// For every star the Gaussian that its posterior resembles near the best fit, or why it has none.
    ///
    /// Its covariance is that of the fit with the prior's curvature added, its centre one Newton step from the best fit towards
    /// the prior, if that is uphill.
    pub fn approximate(&self, minimum: &Minimum, n_pixels: &[usize]) -> Vec<Result<Approximation, Unsampled>> {
        let n_stars = minimum.chi2.len();
        let flat: Vec<f64> = minimum.scaled_labels.iter().map(|v| if v.is_finite() { *v } else { 0.0 }).collect();
        let small = Compute::small_systems();
        let here = self.problem.evaluate(small.tensor(&flat, [n_stars, self.n_inputs]));
        let (chi2, curvature) = (to_f64(here.chi2), to_f64(here.curvature));
        let mut candidates: Vec<Result<Approximation, Unsampled>> = (0..n_stars)
            .map(|star| {
                let finite = minimum.scaled_labels.row(star).iter().all(|label| label.is_finite());
                if n_pixels[star] <= self.n_labels() {
                    return Err(Unsampled::NoData);
                }
                let curvature = &curvature[star * self.n_inputs * self.n_inputs..][..self.n_inputs * self.n_inputs];
                if !finite || !chi2[star].is_finite() || curvature.iter().any(|value| !value.is_finite()) {
                    return Err(Unsampled::NotFinite);
                }
                let at = &flat[star * self.n_inputs..][..self.n_inputs];
                self.gaussian(at, chi2[star], curvature, n_pixels[star])
            })
            .collect();
        self.step_towards_prior(&mut candidates);
        candidates
    }

    fn gaussian(
        &self,
        best: &[f64],
        chi2: f64,
        curvature: &[f64],
        n_pixels: usize,
    ) -> Result<Approximation, Unsampled> {
        let (n_inputs, n_labels) = (self.n_inputs, self.n_labels());
        let was_excluded = !self.prior.allows(ArrayView1::from(&best[..n_labels]));
        let mut centre = best.to_vec();
        if was_excluded {
            let allowed = self.prior.nearest_allowed(&best[..n_labels]).ok_or(Unsampled::NothingAllowed)?;
            centre[..n_labels].copy_from_slice(&allowed);
        }
        let mut precision = DMatrix::zeros(self.n_parameters(), self.n_parameters());
        let mut of_inputs = precision.view_mut((0, 0), (n_inputs, n_inputs));
        of_inputs.copy_from(&DMatrix::from_row_slice(n_inputs, n_inputs, curvature));
        if let Some(NoiseInflation { sigma, .. }) = self.noise {
            // Where the likelihood of t is highest, drawn towards 0 by its prior.
            let (half_n, pull) = (0.5 * n_pixels as f64, 1.0 / (sigma * sigma));
            let t = (chi2.max(1e-3) / n_pixels as f64).ln() * half_n / (half_n + pull);
            of_inputs *= (-t).exp();
            centre.push(t);
            precision[(n_inputs, n_inputs)] = half_n + pull;
        }
        if let Some(penalty) = &self.penalty {
            let mut of_inputs = precision.view_mut((0, 0), (n_inputs, n_inputs));
            of_inputs += &penalty.precision;
        }
        // A fit that does not hold its labels contradicts nothing.
        let contradicts = root_of_inverse(&precision).is_some_and(|root| {
            let of_labels = root.rows(0, n_labels);
            self.prior.disagreement(&best[..n_labels], &(of_labels * of_labels.transpose())) > CONTRADICTION
        });
        let labels = DVector::from_column_slice(&centre[..n_labels]);
        let mut of_labels = precision.view_mut((0, 0), (n_labels, n_labels));
        of_labels += self.prior.curvature(&labels);
        let root = root_of_inverse(&precision).ok_or(Unsampled::Unbounded)?;
        if (0..root.nrows()).any(|row| root.row(row).norm() > UNBOUNDED) {
            return Err(Unsampled::Unbounded);
        }
        Ok(Approximation { centre, root, is_against_prior: was_excluded || contradicts })
    }

    /// Moves every centre by a Newton step where that is uphill and allowed; drops stars whose density is not finite.
    fn step_towards_prior(&self, candidates: &mut [Result<Approximation, Unsampled>]) {
        let n_parameters = self.n_parameters();
        let zero = vec![0.0; n_parameters];
        let evaluate = |centres: &[Vec<f64>]| {
            let points = Compute::small_systems().tensor(&centres.concat(), [centres.len(), 1, n_parameters]);
            let density = self.density(points);
            (to_f64(density.ln), to_f64(density.gradient))
        };
        if candidates.is_empty() {
            return;
        }
        let centres: Vec<Vec<f64>> =
            candidates.iter().map(|c| c.as_ref().map_or_else(|_| zero.clone(), |c| c.centre.clone())).collect();
        let (ln, gradient) = evaluate(&centres);
        let stepped: Vec<Vec<f64>> = (candidates.iter().zip(&centres).zip(gradient.chunks_exact(n_parameters)))
            .map(|((candidate, centre), gradient)| match candidate {
                Ok(Approximation { root, .. }) => {
                    let step = root * (root.transpose() * DVector::from_column_slice(gradient));
                    centre.iter().zip(step.iter()).map(|(centre, step)| centre + step).collect()
                }
                Err(_) => zero.clone(),
            })
            .collect();
        let (ln_stepped, _) = evaluate(&stepped);
        for (star, (candidate, stepped)) in candidates.iter_mut().zip(stepped).enumerate() {
            let Ok(approximation) = candidate else { continue };
            if ln_stepped[star] > ln[star] && self.allows_point(&stepped) {
                approximation.centre = stepped;
            } else if !ln[star].is_finite() {
                *candidate = Err(Unsampled::NotFinite);
            }
        }
    }
}

/// Lower triangular L with `L L^T` the inverse of a symmetric matrix; `None` if that has none.
pub(super) fn root_of_inverse(precision: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    // Labels differ by orders of magnitude in how well they are known: a unit diagonal first.
    let scale = precision.diagonal().map(|value| value.sqrt().recip());
    if scale.iter().any(|value| !value.is_finite()) {
        return None;
    }
    let scaled = DMatrix::from_fn(precision.nrows(), precision.ncols(), |i, j| precision[(i, j)] * scale[i] * scale[j]);
    let inverse = scaled.cholesky()?.inverse();
    let covariance = DMatrix::from_fn(inverse.nrows(), inverse.ncols(), |i, j| inverse[(i, j)] * scale[i] * scale[j]);
    covariance.cholesky().map(|factor| factor.l())
}
