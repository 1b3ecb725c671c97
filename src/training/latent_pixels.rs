//! A block of pixels of a Cannon with latent labels: its sums for the stars, and its coefficients from the stars.

use std::ops::Range;

use burn::tensor::{DType, Tensor};
use nalgebra::DVector;
use ndarray::{Array2, ArrayView2, Axis};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::coefficient_prior::{PriorInPixels, Sample};
use super::latent_expectation::Moments;
use super::normal_matrix::{NormalFactor, is_borne};
use super::scatter_root::scatter_root;
use crate::device::{Compute, to_f64};
use crate::models::cannon::NO_INFORMATION;
use crate::models::pairs::{packed_index, products_of_columns};

/// Random signs of so many pixels differ.
const SEEDS: usize = 1024;
/// Stars that a scatter known beforehand counts for.
const STARS_OF_PRIOR: usize = 5;
/// The spread of coefficients over the pixels is taken from one pixel in this many.
const SAMPLE_EVERY: usize = 16;

/// Of some elements of the design vector with some, of `n` in all: [n_stars, n_pairs], in the order of the pairs.
fn covariance_of(
    covariance: &Tensor<2>,
    pairs: impl Iterator<Item = (usize, usize)>,
    n: usize,
    compute: &Compute,
) -> Tensor<2> {
    let packed: Vec<usize> = pairs.map(|(a, b)| packed_index(a, b, n)).collect();
    covariance.clone().select(1, compute.indices(&packed))
}

/// What the stars say of a block of pixels.
pub(super) struct PixelFit {
    /// [n_coefficients, n_pixels]
    pub coefficients: Array2<f64>,
    pub s2: Vec<f64>,
    /// What was found in the sampled pixels.
    pub samples: Vec<Sample>,
    /// Pixels whose coefficients the stars do not determine; they lose their information.
    pub n_failed: usize,
}

/// What the stars say of their coefficients' factors.
pub(super) struct Design<'a> {
    /// Expected design, [n_stars, n_coefficients].
    pub design: &'a Tensor<2>,
    /// The design in f64, for pixels whose normal matrix asks for it.
    pub exact: &'a dyn Fn() -> Tensor<2>,
    pub moments: Option<&'a Moments>,
    /// The stars in parts of which products are taken together, which are those of the moments.
    pub parts: &'a [Range<usize>],
    /// Stars that count.
    pub kept: &'a [bool],
}

/// What is known of the scatter of pixels beforehand, and how many of their coefficients the stars determine, `[n_pixels]` each.
struct KnownScatter<'a> {
    s2: &'a [f64],
    n_determined: &'a [f64],
}

/// Least-squares solution of one pixel: of the coefficients that are free.
struct Solved {
    coefficients: Vec<f64>,
    /// In sampled pixels.
    sample: Option<Sample>,
    /// How many of the coefficients the stars determine, and not the prior.
    n_determined: f64,
    condition: f64,
}

impl Solved {
    /// Solves a pixel's packed normal matrix with a normal prior on each coefficient.
    ///
    /// `number` is that of the pixel among all.
    fn new(
        normal: &[f64],
        right: &[f64],
        prior: &PriorInPixels,
        (pixel, number): (usize, usize),
        is_sampled: bool,
    ) -> Option<Self> {
        let n = prior.precision.len();
        let mut packed = normal.to_vec();
        let mut right = DVector::from_column_slice(right);
        let mut diagonal = 0;
        for (coefficient, precision) in prior.precision.iter().enumerate() {
            packed[diagonal] += precision;
            diagonal += n - coefficient;
        }
        let mean = |coefficient: usize| prior.mean.map_or(0.0, |mean| mean[[coefficient, pixel]]);
        if prior.mean.is_some() {
            right.iter_mut().enumerate().for_each(|(k, right)| *right += prior.precision[k] * mean(k));
        }
        let factor = NormalFactor::new(&packed, n)?;
        let coefficients = factor.solve(&right).as_slice().to_vec();
        let sample = is_sampled.then(|| {
            let covariance = factor.inverse();
            let variance: Vec<f64> = (0..n).map(|k| covariance[(k, k)]).collect();
            let square = (0..n).map(|k| (coefficients[k] - mean(k)).powi(2) + variance[k]).collect();
            Sample { square, variance }
        });
        let n_determined = match (&sample, prior.mean) {
            (_, None) => 0.0,
            (Some(Sample { variance, .. }), _) => {
                n as f64
                    - variance
                        .iter()
                        .zip(&prior.precision)
                        .map(|(variance, precision)| variance * precision)
                        .sum::<f64>()
            }
            (None, _) => n as f64 - trace_of_prior(&factor, &prior.precision, number % SEEDS),
        };
        let condition = factor.condition();
        Some(Self { coefficients, sample, n_determined, condition })
    }
}

/// Which coefficients the stars teach, and which are known: those of infinite precision.
struct Roles {
    free: Vec<usize>,
    known: Vec<usize>,
}

impl Roles {
    fn of(prior: &PriorInPixels) -> Self {
        let (free, known) = (0..prior.precision.len()).partition(|k| prior.precision[*k].is_finite());
        Self { free, known }
    }

    /// Normal equations of the free coefficients in some pixels, row-major: of every pixel the matrix, packed, and the right side.
    ///
    /// With x, S the expected design of a star and its covariance, k the known coefficients:
    ///
    /// ```text
    /// sum_n w (x x^T + S),   sum_n w (f x - (x x_k^T + S_k) a_k)
    /// ```
    ///
    /// # Shapes
    /// - design: `[n_stars, n_coefficients]`
    /// - flux, weight: `[n_stars, n_pixels]`
    /// - mean: `[n_coefficients, n_pixels]`, of known coefficients their values
    fn normal_equations(
        &self,
        design: &Tensor<2>,
        stars: &Design,
        (flux, weight): (&Tensor<2>, &Tensor<2>),
        mean: Option<ArrayView2<f64>>,
        compute: &Compute,
    ) -> [Vec<f64>; 2] {
        let of_part = |(place, part): (usize, &Range<usize>)| {
            let [design, flux, weight] = [design, flux, weight].map(|of_all| rows(of_all, part));
            let covariance = stars.moments.map(|moments| moments.part(place, compute));
            self.normal_equations_of(&design, covariance.as_ref(), (&flux, &weight), mean, compute)
        };
        let sums = stars.parts.iter().enumerate().map(of_part);
        let total = sums.reduce(|[normal, right], [more, more_right]| [normal + more, right + more_right]);
        total.expect("there are stars").map(to_f64)
    }

    /// The same of stars that are worked on together.
    fn normal_equations_of(
        &self,
        design: &Tensor<2>,
        covariance: Option<&Tensor<2>>,
        (flux, weight): (&Tensor<2>, &Tensor<2>),
        mean: Option<ArrayView2<f64>>,
        compute: &Compute,
    ) -> [Tensor<2>; 2] {
        let Self { free, known } = self;
        let n = free.len() + known.len();
        let columns = |which: &[usize]| design.clone().select(1, compute.indices(which));
        let of_free = columns(free);
        let mut second = products_of_columns(&of_free);
        let known_flux =
            mean.filter(|_| !known.is_empty()).map(|mean| compute.matrix(mean.select(Axis(0), known).view()));
        let rest = match &known_flux {
            Some(values) => flux.clone() - columns(known).matmul(values.clone()),
            None => flux.clone(),
        };
        let mut right = (weight.clone() * rest).transpose().matmul(of_free);
        if let Some(covariance) = covariance {
            let pairs = (0..free.len()).flat_map(|a| (a..free.len()).map(move |b| (free[a], free[b])));
            second = second + covariance_of(covariance, pairs, n, compute);
            if let Some(values) = &known_flux {
                let with = |a: &usize| {
                    let covariance = covariance_of(covariance, known.iter().map(|k| (*a, *k)), n, compute);
                    (weight.clone() * covariance.matmul(values.clone())).sum_dim(0)
                };
                right = right - Tensor::cat(free.iter().map(with).collect(), 0).transpose();
            }
        }
        [weight.clone().transpose().matmul(second), right]
    }

    /// A sample of the free coefficients as one of all: known ones are where they are.
    fn expand(&self, sample: &Sample) -> Sample {
        let all = |values: &[f64]| {
            let mut all = vec![0.0; self.free.len() + self.known.len()];
            self.free.iter().zip(values).for_each(|(k, value)| all[*k] = *value);
            all
        };
        Sample { square: all(&sample.square), variance: all(&sample.variance) }
    }
}

/// An estimate of tr(P A^-1) by random signs (Hutchinson 1990, Communications in Statistics 19, 433).
fn trace_of_prior(factor: &NormalFactor, precision: &[f64], seed: usize) -> f64 {
    /// Each probe errs by about the root of twice the trace's part that is not on the diagonal.
    const PROBES: usize = 4;
    let of_probe = |probe: usize| {
        let mut random = ChaCha8Rng::seed_from_u64((seed * PROBES + probe) as u64);
        let signs =
            precision.iter().map(|precision| if random.random() { precision.sqrt() } else { -precision.sqrt() });
        let signs = DVector::from_iterator(precision.len(), signs);
        signs.dot(&factor.solve(&signs))
    };
    (0..PROBES).map(of_probe).sum::<f64>() / PROBES as f64
}

/// Rows of a matrix; the matrix itself where they are all.
fn rows(matrix: &Tensor<2>, rows: &Range<usize>) -> Tensor<2> {
    let [n_rows, _] = matrix.dims();
    if rows.len() == n_rows { matrix.clone() } else { matrix.clone().narrow(0, rows.start, rows.len()) }
}

/// Some pixels of some stars.
pub(super) struct Pixels<'a> {
    range: Range<usize>,
    /// One pixel in this many is sampled.
    sample_every: usize,
    /// Relative to each pixel's mean, [n_stars, n_pixels].
    flux: Tensor<2>,
    /// sigma^2, [`NO_INFORMATION`] where masked, [n_stars, n_pixels].
    variance: Tensor<2>,
    compute: &'a Compute,
}

impl<'a> Pixels<'a> {
    /// Of flux and inverse variance, row by row, and the mean flux of each pixel.
    pub(super) fn new(
        [flux, ivar]: [Vec<f32>; 2],
        range: Range<usize>,
        mean_flux: &[f64],
        compute: &'a Compute,
    ) -> Self {
        let shape = [flux.len() / range.len(), range.len()];
        let ivar = compute.tensor_f32(ivar, shape);
        let masked = ivar.clone().lower_equal_scalar(0.0);
        let mean = compute.tensor(mean_flux, [1, range.len()]);
        // What stands in masked pixels must not count, not even times a weight of nearly nil.
        let flux = (compute.tensor_f32(flux, shape) - mean).mask_fill(masked.clone(), 0.0);
        let variance = ivar.mask_fill(masked, 1.0 / NO_INFORMATION).recip();
        Self { range, sample_every: SAMPLE_EVERY, flux, variance, compute }
    }

    /// The same pixels, every one of them sampled.
    pub(super) fn all_sampled(&self) -> Self {
        let (flux, variance) = (self.flux.clone(), self.variance.clone());
        Self { sample_every: 1, range: self.range(), flux, variance, compute: self.compute }
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// 1 / (sigma^2 + s^2).
    fn weight(&self, s2: &[f64]) -> Tensor<2> {
        (self.variance.clone() + self.compute.tensor(s2, [1, s2.len()])).recip()
    }

    /// Residuals in units of their errors, [n_stars, n_pixels]; 0 where there is no information.
    pub(super) fn pulls(&self, design: &Tensor<2>, coefficients: ArrayView2<f64>, s2: &[f64]) -> Tensor<2> {
        let residual = self.flux.clone() - design.clone().matmul(self.compute.matrix(coefficients));
        residual * self.weight(s2).sqrt()
    }

    /// Sums over these pixels of every star: of w a a^T packed, [n_stars, n_pairs], of w f a, [n_stars, n_coefficients],
    /// and of w f^2, [n_stars, 1], with a the coefficients of a pixel.
    pub(super) fn sums(&self, coefficients: ArrayView2<f64>, s2: &[f64]) -> [Tensor<2>; 3] {
        let weight = self.weight(s2);
        let weighted = weight.clone() * self.flux.clone();
        let columns = self.compute.matrix(coefficients).transpose();
        let pairs = products_of_columns(&columns);
        [weight.matmul(pairs), weighted.clone().matmul(columns), (weighted * self.flux.clone()).sum_dim(1)]
    }

    /// Weighted least squares of every pixel on the expected design, with its covariance in the normal matrix and a
    /// normal prior of mean a_0 and precision P on the coefficients; then s^2 from the expected squared residuals.
    ///
    /// ```text
    /// A = sum_n w (x x^T + S) + P,   a = A^-1 (sum_n w f x + P a_0),   <r^2> = (f - a.x)^2 + a^T S a
    /// ```
    ///
    /// Coefficients of infinite precision are at their means, and cost no equations.
    pub(super) fn fit(&self, stars: &Design, prior: &PriorInPixels, s2: &[f64]) -> PixelFit {
        let Design { design, exact, kept, .. } = *stars;
        let n_pixels = self.range.len();
        let roles = Roles::of(prior);
        let (n_free, n_pairs) = (roles.free.len(), roles.free.len() * (roles.free.len() + 1) / 2);
        let kept: Vec<f64> = kept.iter().map(|kept| f64::from(u8::from(*kept))).collect();
        let kept = self.compute.tensor(&kept, [kept.len(), 1]);
        let weight = self.weight(s2) * kept.clone();
        let spectra = (&self.flux, &weight);
        let [normal, right] = roles.normal_equations(design, stars, spectra, prior.mean, self.compute);
        let mean = prior.mean.map(|mean| mean.select(Axis(0), &roles.free));
        let of_free = PriorInPixels {
            mean: mean.as_ref().map(|mean| mean.view()),
            precision: roles.free.iter().map(|k| prior.precision[*k]).collect(),
            s2: prior.s2,
        };
        let trained = |pixel: &usize| s2[*pixel] < NO_INFORMATION;
        let solve = |normal: &[f64], right: &[f64], place: usize, pixel: usize| {
            let normal = &normal[place * n_pairs..(place + 1) * n_pairs];
            let right = &right[place * n_free..(place + 1) * n_free];
            let number = self.range.start + pixel;
            Solved::new(normal, right, &of_free, (pixel, number), number.is_multiple_of(self.sample_every))
        };
        let mut found: Vec<Option<Solved>> = (0..n_pixels)
            .into_par_iter()
            .map(|pixel| Some(pixel).filter(trained).and_then(|pixel| solve(&normal, &right, pixel, pixel)))
            .collect();
        let is_f64 = self.compute.dtype() == DType::F64;
        let bears = |solved: &Option<Solved>, is_f64: bool| {
            solved.as_ref().is_some_and(|solved| is_borne(solved.condition, is_f64))
        };
        let doubtful: Vec<usize> =
            (0..n_pixels).filter(trained).filter(|pixel| !bears(&found[*pixel], is_f64)).collect();
        if !is_f64 && !doubtful.is_empty() {
            // Summed up anew in f64.
            let precise = Compute::small_systems();
            let columns = |tensor: Tensor<2>| precise.bring(tensor.select(1, self.compute.indices(&doubtful)));
            let (weight, flux) = (columns(weight), columns(self.flux.clone()));
            let mean = prior.mean.map(|mean| mean.select(Axis(1), &doubtful));
            let mean = mean.as_ref().map(|mean| mean.view());
            let spectra = (&flux, &weight);
            let [normal, right] = roles.normal_equations(&exact(), stars, spectra, mean, &precise);
            for (place, &pixel) in doubtful.iter().enumerate() {
                found[pixel] = solve(&normal, &right, place, pixel);
            }
        }
        for pixel in doubtful {
            if !bears(&found[pixel], true) {
                found[pixel] = None;
            }
        }
        let mut fit = PixelFit {
            coefficients: Array2::zeros((prior.precision.len(), n_pixels)),
            s2: vec![NO_INFORMATION; n_pixels],
            samples: Vec::new(),
            n_failed: 0,
        };
        for (pixel, found) in found.iter().enumerate() {
            let Some(Solved { coefficients, sample, .. }) = found else {
                fit.n_failed += usize::from(s2[pixel] < NO_INFORMATION);
                continue;
            };
            let mut column = fit.coefficients.column_mut(pixel);
            roles.free.iter().zip(coefficients).for_each(|(k, coefficient)| column[*k] = *coefficient);
            if let Some(mean) = prior.mean {
                roles.known.iter().for_each(|k| column[*k] = mean[[*k, pixel]]);
            }
            fit.samples.extend(sample.as_ref().map(|sample| roles.expand(sample)));
        }
        let n_determined: Vec<f64> =
            found.iter().map(|found| found.as_ref().map_or(0.0, |solved| solved.n_determined)).collect();
        let known = prior.s2.map(|s2| KnownScatter { s2, n_determined: &n_determined });
        let scatter = self.scatter(&kept, stars, fit.coefficients.view(), (s2, known));
        for (pixel, found) in found.iter().enumerate() {
            if found.is_some() {
                fit.s2[pixel] = scatter[pixel];
            }
        }
        fit
    }

    /// s^2 of every pixel at the maximum of the likelihood, given the coefficients.
    fn scatter(
        &self,
        kept: &Tensor<2>,
        stars: &Design,
        coefficients: ArrayView2<f64>,
        (s2, known): (&[f64], Option<KnownScatter>),
    ) -> Vec<f64> {
        let columns = self.compute.matrix(coefficients).transpose();
        let residual = self.flux.clone() - stars.design.clone().matmul(columns.clone().transpose());
        let mut squared = residual.square();
        if let Some(moments) = stars.moments {
            let n = coefficients.nrows();
            // A pair of different coefficients stands for two entries of the matrix.
            let twice: Vec<f64> = (0..n).flat_map(|a| (a..n).map(move |b| if a == b { 1.0 } else { 2.0 })).collect();
            let twice = self.compute.tensor(&twice, [1, twice.len()]);
            let pairs = (products_of_columns(&columns) * twice).transpose();
            let of_parts = moments.parts().map(|part| part.clone().matmul(pairs.clone()));
            squared = squared + Tensor::cat(of_parts.collect(), 0).clamp_min(0.0);
        }
        // Stars that are left out have no information.
        let out = kept.clone().lower_scalar(0.5);
        let [n_stars, n_pixels] = self.variance.dims();
        let mut variance = self.variance.clone().mask_fill(out.expand([n_stars, n_pixels]), NO_INFORMATION);
        if let Some(KnownScatter { s2: known, n_determined }) = known {
            // Residuals are smaller than the noise for as many stars as there are coefficients determined by them.
            let informative = variance.clone().lower_scalar(NO_INFORMATION / 2.0).float().cast(self.compute.dtype());
            let counts = to_f64(informative.sum_dim(0));
            let larger = counts.iter().zip(n_determined).map(|(n, determined)| n / (n - determined).max(1.0));
            squared = squared * self.compute.tensor(&larger.collect::<Vec<f64>>(), [1, n_pixels]);
            // What is known beforehand counts like so many stars without noise.
            let rows = |value: Tensor<2>| value.expand([STARS_OF_PRIOR, n_pixels]);
            squared = Tensor::cat(vec![squared, rows(self.compute.tensor(known, [1, n_pixels]))], 0);
            let noise: Vec<f64> = known.iter().map(|s2| 1e-3 * s2).collect();
            variance = Tensor::cat(vec![variance, rows(self.compute.tensor(&noise, [1, n_pixels]))], 0);
        }
        let informative = variance.clone().lower_scalar(NO_INFORMATION / 2.0);
        let largest = to_f64(squared.clone().mask_fill(informative.bool_not(), 0.0).max_dim(0));
        let smallest = to_f64(variance.clone().min_dim(0));
        let start: Vec<f64> = s2.iter().zip(&largest).map(|(s2, largest)| s2.min(*largest)).collect();
        scatter_root(&variance, &squared, &start, (vec![0.0; start.len()], largest), &smallest, self.compute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;

    #[test]
    fn what_is_known_is_as_if_its_prior_were_narrow() {
        const N_STARS: usize = 12;
        const N_PIXELS: usize = 7;
        const N: usize = 4;
        let value = |seed: usize, i: usize| ((i * 13 + seed * 101) as f64 * 0.7).sin();
        let compute = Compute::flex(Precision::F64);
        let flux = Array2::from_shape_fn((N_STARS, N_PIXELS), |(n, j)| value(1, n * N_PIXELS + j) as f32);
        let ivar = Array2::from_shape_fn((N_STARS, N_PIXELS), |(n, j)| if n == j { 0.0 } else { 30.0 + n as f32 });
        let raw = [&flux, &ivar].map(|matrix| matrix.iter().copied().collect::<Vec<f32>>());
        let pixels = Pixels::new(raw, 0..N_PIXELS, &[0.1; N_PIXELS], &compute).all_sampled();
        let design = Array2::from_shape_fn((N_STARS, N), |(n, k)| if k == 0 { 1.0 } else { value(2, n * N + k) });
        let exact = || Compute::small_systems().matrix(design.view());
        // A positive covariance of every star's design vector.
        let of_star =
            |n: usize| (0..N).flat_map(move |a| (a..N).map(move |b| (value(3, n + a) * value(3, n + b)) as f32));
        let moments = |parts: &[Range<usize>]| {
            let mut moments = Moments::none(N);
            parts.iter().for_each(|part| moments.push(part.clone().flat_map(of_star).collect(), part.len(), &compute));
            moments
        };
        let tensor = compute.matrix(design.view());
        let mean = Array2::from_shape_fn((N, N_PIXELS), |(k, j)| 0.3 * value(4, k * N_PIXELS + j));
        let (s2, known) = ([0.02; N_PIXELS], [0.01; N_PIXELS]);
        let fit = |narrow: f64, parts: &[Range<usize>]| {
            let precision = vec![5.0, narrow, 2.0, narrow];
            let (design, exact, moments) = (&tensor, &exact, &moments(parts));
            let stars = Design { design, exact, moments: Some(moments), parts, kept: &[true; N_STARS] };
            pixels.fit(&stars, &PriorInPixels { mean: Some(mean.view()), precision, s2: Some(&known) }, &s2)
        };
        let whole = Vec::from_iter(std::iter::once(0..N_STARS));
        let (known, narrow, by_parts) =
            (fit(f64::INFINITY, &whole), fit(1e11, &whole), fit(f64::INFINITY, &[0..5, 5..6, 6..N_STARS]));
        for (a, b) in known.coefficients.iter().zip(&by_parts.coefficients).chain(known.s2.iter().zip(&by_parts.s2)) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
        for (a, b) in known.coefficients.iter().zip(&narrow.coefficients).chain(known.s2.iter().zip(&narrow.s2)) {
            assert!((a - b).abs() < 1e-7, "{a} {b}");
        }
        assert_eq!(known.coefficients.row(3), mean.row(3));
        for (a, b) in known.samples.iter().zip(&narrow.samples) {
            assert_eq!((a.square[1], a.variance[3]), (0.0, 0.0));
            assert!((a.square[2] - b.square[2]).abs() < 1e-7 && (a.variance[0] - b.variance[0]).abs() < 1e-7);
        }
    }
}
