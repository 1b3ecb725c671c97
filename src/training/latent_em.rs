//! Expectation and maximization of a Cannon with latent labels and nuisance spectra: what the rounds of training share.

use std::ops::Range;

use burn::tensor::Tensor;
use nalgebra::{DMatrix, DVector};
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;

use super::believed_labels::BelievedLabels;
use super::closed_form::TrainingReport;
use super::coefficient_prior::{CoefficientPrior, Sample};
use super::latent_pixels::{Design, Moments, PixelFit, Pixels};
use super::normal_matrix::{pack, unpack};
use super::principal_components::principal_components;
use crate::device::{Compute, to_f64};
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::vectorizer::Vectorizer;
use crate::stats::robust::{mean, median, robust_scatter};

/// The least robust width of a logarithm against which stars are judged: chi^2 is never known better than to a tenth.
const LEAST_WIDTH: f64 = 0.1;
/// Seed of the random directions that find principal components.
const SEED: u64 = 2015;

/// Stars are held out in so many parts, one after the other.
pub(super) const PARTS: usize = 3;

/// What is found of stars that are held out in turn, [n_held_out, n_labels]: of each its row of what was found, by all others, of all
/// stars. Of the parts only so many are asked.
pub(super) fn held_out_in_turn<E>(
    stars: &[usize],
    n_asked: usize,
    n_labels: usize,
    mut found: impl FnMut(&[usize]) -> Result<Array2<f64>, E>,
) -> Result<Array2<f64>, E> {
    let mut all = Array2::zeros((stars.len(), n_labels));
    for part in 0..n_asked {
        let places: Vec<usize> = (part..stars.len()).step_by(PARTS).collect();
        let held_out: Vec<usize> = places.iter().map(|place| stars[*place]).collect();
        let found = found(&held_out)?;
        places.iter().zip(held_out).for_each(|(to, star)| all.row_mut(*to).assign(&found.row(star)));
    }
    let asked: Vec<usize> = (0..stars.len()).filter(|place| place % PARTS < n_asked).collect();
    Ok(all.select(Axis(0), &asked))
}

/// A trained layer and what training found of its stars.
pub struct TrainedLatent {
    /// The layer; the first inputs of its polynomial are the labels, the others latent labels.
    pub cannon: Cannon,
    /// Latent labels of every training star, [n_stars, n_latent_labels].
    pub latent_labels: Array2<f64>,
    /// Which training stars the last rounds used.
    pub kept: Vec<bool>,
    /// By how much their scaled labels are above the catalogue's in the mean, `[n_labels]`; nil where the catalogue is taken at its word.
    pub zero_points: Vec<f64>,
    /// How training went.
    pub report: TrainingReport,
}

/// What the design matrix is made of.
pub(super) struct Terms {
    vectorizer: Vectorizer,
    /// Inputs of the polynomial, [n_stars, n_inputs], and nuisances that only add.
    inputs: Array2<f64>,
    additive: Array2<f64>,
}

impl Terms {
    pub fn design(&self, compute: &Compute) -> Tensor<2> {
        let polynomial = self.vectorizer.design_matrix(compute.matrix(self.inputs.view()));
        match self.additive.ncols() {
            0 => polynomial,
            _ => Tensor::cat(vec![polynomial, compute.matrix(self.additive.view())], 1),
        }
    }
}

/// What a star's spectrum says of its latent labels and nuisances, and before them of labels that the catalogue does not know exactly.
struct Expected {
    latent: Vec<f64>,
    /// Expected squares.
    square: Vec<f64>,
    /// Covariance of the design vector, packed.
    covariance: Vec<f32>,
    /// chi^2 before.
    chi2: f64,
}

/// State of training. Coefficients count from each pixel's mean flux.
pub(super) struct Em<'a> {
    pixels: Vec<Pixels<'a>>,
    /// What the catalogue says of the labels, where stars are in units of its errors, [n_stars, n_free], and so the labels that are
    /// believed at present, [n_stars, n_labels].
    believed: BelievedLabels,
    departures: Array2<f64>,
    labels: Array2<f64>,
    pub vectorizer: Vectorizer,
    /// Latent labels, then nuisances that only add, [n_stars, n_latent].
    pub latent: Array2<f64>,
    /// Expected mean square of each over the stars that are kept, `[n_latent]`.
    pub latent_power: Vec<f64>,
    /// Latent labels among them that are inputs of the polynomial.
    pub n_bent: usize,
    /// Coefficients of the polynomial, then nuisance spectra, [n_coefficients, n_pixels]; relative to the mean flux.
    pub coefficients: Array2<f64>,
    pub s2: Vec<f64>,
    pub prior: CoefficientPrior,
    /// Stars that teach.
    pub kept: Vec<bool>,
    /// Stars that may not, whatever they look like.
    barred: Vec<usize>,
    /// Stars that the model does not describe, whether left out or not.
    n_beyond: usize,
    /// chi^2 of each star.
    chi2: Vec<f64>,
    n_unconverged: usize,
    pub compute: &'a Compute,
}

impl<'a> Em<'a> {
    /// Of a polynomial and its coefficients, [n_coefficients, n_pixels], those of nuisances that only add behind; its latent
    /// labels, if it has any, and the nuisances are still nil.
    pub fn new(
        (vectorizer, coefficients, s2): (Vectorizer, Array2<f64>, Vec<f64>),
        prior: CoefficientPrior,
        believed: BelievedLabels,
        (flux, ivar): (ArrayView2<'a, f32>, ArrayView2<'a, f32>),
        compute: &'a Compute,
    ) -> Self {
        /// Pixels whose products of coefficients are in memory together.
        const BLOCK_PIXELS: usize = 1024;
        let n_pixels = flux.ncols();
        let blocks: Vec<Range<usize>> =
            (0..n_pixels).step_by(BLOCK_PIXELS).map(|start| start..(start + BLOCK_PIXELS).min(n_pixels)).collect();
        let pixels: Vec<Pixels> = blocks.into_iter().map(|range| Pixels::new(flux, ivar, range, compute)).collect();
        let (n_stars, n_labels) = believed.expected.dim();
        let n_bent = vectorizer.n_labels() - n_labels;
        let n_additive = coefficients.nrows() - vectorizer.n_terms();
        let mut em = Self {
            labels: believed.expected.clone(),
            departures: Array2::zeros((n_stars, believed.n_free())),
            believed,
            latent: Array2::zeros((n_stars, n_bent + n_additive)),
            latent_power: vec![1.0; n_bent + n_additive],
            n_bent,
            prior,
            kept: vec![true; n_stars],
            barred: Vec::new(),
            n_beyond: 0,
            chi2: vec![f64::NAN; n_stars],
            n_unconverged: 0,
            vectorizer,
            pixels,
            coefficients,
            s2,
            compute,
        };
        let mean = em.mean_flux();
        let mut constant = em.coefficients.row_mut(0);
        constant -= &mean;
        if let Some(prior) = &mut em.prior.mean {
            let mut constant = prior.row_mut(0);
            constant -= &mean;
        }
        em
    }

    /// Has some stars teach nothing: what their labels and latent labels are is found all the same.
    pub fn bar(&mut self, stars: &[usize]) {
        self.barred = stars.to_vec();
        stars.iter().for_each(|star| self.kept[*star] = false);
    }

    /// Mean flux of every pixel, from which coefficients count.
    pub fn mean_flux(&self) -> Array1<f64> {
        self.pixels.iter().flat_map(|block| block.mean_flux().iter().copied()).collect()
    }

    /// Amplitudes of the leading principal components of the residuals in units of their errors, each of mean square 1.
    pub fn leading_residuals(&self, count: usize) -> Array2<f64> {
        let n_stars = self.labels.nrows();
        if count == 0 {
            return Array2::zeros((n_stars, 0));
        }
        let design = self.design();
        let pulls = self.pixels.iter().map(|block| block.pulls(&design, self.of(block), self.s2_of(block)));
        let pulls = Tensor::cat(pulls.collect(), 1);
        let components = principal_components(&pulls, count, SEED, self.compute);
        let amplitudes = to_f64(pulls.matmul(components.transpose()));
        let mut amplitudes = Array2::from_shape_vec((n_stars, count), amplitudes).expect("one amplitude each");
        for mut column in amplitudes.columns_mut() {
            let norm = (column.dot(&column) / n_stars as f64).sqrt().max(f64::MIN_POSITIVE);
            column /= norm;
        }
        amplitudes
    }

    /// Coefficients in a block of pixels.
    fn of(&self, block: &Pixels) -> ArrayView2<'_, f64> {
        self.coefficients.slice(s![.., block.range()])
    }

    fn s2_of(&self, block: &Pixels) -> &[f64] {
        &self.s2[block.range()]
    }

    /// Inputs of the polynomial: labels, and latent labels that are bent in.
    fn inputs(&self) -> Array2<f64> {
        concatenate![Axis(1), self.labels, self.latent.slice(s![.., ..self.n_bent])]
    }

    /// The design matrix with the additive nuisances behind it, [n_stars, n_coefficients]; where [`Compute`] is.
    pub fn design(&self) -> Tensor<2> {
        self.terms().design(self.compute)
    }

    pub fn terms(&self) -> Terms {
        let additive = self.latent.slice(s![.., self.n_bent..]).to_owned();
        Terms { vectorizer: self.vectorizer.clone(), inputs: self.inputs(), additive }
    }

    /// Expectation: y and z of every star, one Gauss-Newton step from where they were, with their covariance; and so labels that have
    /// errors.
    ///
    /// With the sums M, v over the star's pixels, and D the derivative of the design with respect to y and z (1 where nuisances only
    /// add):
    ///
    /// ```text
    /// K = (1 + D^T M D)^-1,   (y, z) <- K (D^T (v - M x) + D^T M D (y, z)),   covariance of x: D K D^T
    /// ```
    pub fn expect(&mut self) -> Moments {
        let n_coefficients = self.coefficients.nrows();
        let (n_stars, q) = self.latent.dim();
        let small = Compute::small_systems();
        let design = self.vectorizer.design_matrix(small.matrix(self.inputs().view()));
        let n_terms = self.vectorizer.n_terms();
        let n_inputs = self.vectorizer.n_labels();
        let derivative = to_f64(self.vectorizer.derivative(design.clone()));
        let design = to_f64(design);
        let (m, v, c) = self.sums();
        let n_pairs = n_coefficients * (n_coefficients + 1) / 2;
        let n_bent = self.n_bent;
        let n_labels = self.labels.ncols();
        // Labels that the catalogue does not know exactly come before the latent ones, in units of its errors.
        let n_free = self.believed.n_free();
        // What the terms depend on; nuisances behind them only add, and are their own elements of the design.
        let (n_curved, n_additive) = (n_free + n_bent, q - n_bent);
        let star = |star: usize| -> Expected {
            let m = unpack(&m[star * n_pairs..(star + 1) * n_pairs], n_coefficients);
            let v = DVector::from_column_slice(&v[star * n_coefficients..(star + 1) * n_coefficients]);
            let old = self.departures.row(star).into_iter().chain(self.latent.row(star)).copied();
            let old = DVector::from_iterator(n_free + q, old);
            let mut x = DVector::zeros(n_coefficients);
            x.rows_mut(0, n_terms).copy_from_slice(&design[star * n_terms..(star + 1) * n_terms]);
            x.rows_mut(n_terms, n_additive).copy_from(&old.rows(n_curved, n_additive));
            let mut d = DMatrix::zeros(n_terms, n_curved);
            let slope = |term: usize, input: usize| derivative[(star * n_terms + term) * n_inputs + input];
            for term in 0..n_terms {
                for free in 0..n_free {
                    d[(term, free)] =
                        (0..n_labels).map(|label| self.believed.factor(star, label, free) * slope(term, label)).sum();
                }
                for latent in 0..n_bent {
                    d[(term, n_free + latent)] = slope(term, n_labels + latent);
                }
            }
            let below = m.view((0, n_terms), (n_terms, n_additive));
            let mut curvature = DMatrix::zeros(n_free + q, n_free + q);
            let bent = d.tr_mul(&(m.view((0, 0), (n_terms, n_terms)) * &d));
            curvature.view_mut((0, 0), (n_curved, n_curved)).copy_from(&bent);
            let mixed = d.tr_mul(&below);
            curvature.view_mut((0, n_curved), (n_curved, n_additive)).copy_from(&mixed);
            curvature.view_mut((n_curved, 0), (n_additive, n_curved)).copy_from(&mixed.transpose());
            let added = m.view((n_terms, n_terms), (n_additive, n_additive));
            curvature.view_mut((n_curved, n_curved), (n_additive, n_additive)).copy_from(&added);
            let m_x = &m * &x;
            let chi2 = c[star] - 2.0 * v.dot(&x) + x.dot(&m_x);
            let left = v - m_x;
            let mut right = &curvature * &old;
            right.rows_mut(0, n_curved).gemv_tr(1.0, &d, &left.rows(0, n_terms), 1.0);
            right.rows_mut(n_curved, n_additive).axpy(1.0, &left.rows(n_terms, n_additive), 1.0);
            let precision = curvature + DMatrix::identity(n_free + q, n_free + q);
            // 1 + a positive matrix: always positive definite, unless numbers are not finite.
            let Some(factor) = precision.cholesky() else {
                return Expected {
                    latent: vec![0.0; n_free + q],
                    square: vec![0.0; n_free + q],
                    covariance: vec![0.0; n_pairs],
                    chi2: f64::INFINITY,
                };
            };
            let (latent, own) = (factor.solve(&right), factor.inverse());
            let mut covariance = DMatrix::zeros(n_coefficients, n_coefficients);
            let of_terms = &d * own.view((0, 0), (n_curved, n_curved)) * d.transpose();
            covariance.view_mut((0, 0), (n_terms, n_terms)).copy_from(&of_terms);
            let mixed = &d * own.view((0, n_curved), (n_curved, n_additive));
            covariance.view_mut((0, n_terms), (n_terms, n_additive)).copy_from(&mixed);
            let added = own.view((n_curved, n_curved), (n_additive, n_additive));
            covariance.view_mut((n_terms, n_terms), (n_additive, n_additive)).copy_from(&added);
            Expected {
                square: (0..n_free + q).map(|k| latent[k] * latent[k] + own[(k, k)]).collect(),
                latent: latent.as_slice().to_vec(),
                covariance: pack(&covariance).map(|value| value as f32).collect(),
                chi2,
            }
        };
        let results: Vec<_> = (0..n_stars).into_par_iter().map(star).collect();
        let mut covariance = Vec::with_capacity(n_stars * n_pairs);
        let mut power = vec![0.0; q];
        for (row, found) in results.into_iter().enumerate() {
            self.latent.row_mut(row).iter_mut().zip(&found.latent[n_free..]).for_each(|(to, from)| *to = *from);
            self.departures.row_mut(row).assign(&ArrayView1::from(&found.latent[..n_free]));
            self.labels.row_mut(row).assign(&self.believed.at(row, &found.latent[..n_free]));
            covariance.extend(found.covariance);
            self.chi2[row] = found.chi2;
            if self.kept[row] {
                power.iter_mut().zip(&found.square[n_free..]).for_each(|(sum, square)| *sum += *square);
            }
        }
        let n_kept = self.kept.iter().filter(|kept| **kept).count().max(1) as f64;
        self.latent_power = power.into_iter().map(|sum| sum / n_kept).collect();
        Moments::new(covariance, [n_stars, n_pairs], self.compute)
    }

    /// Sums over the pixels of every star, each row-major: M packed, v, c.
    fn sums(&self) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let sums = self.pixels.iter().map(|block| block.sums(self.of(block), self.s2_of(block)));
        let total = sums.reduce(|[m, v, c], [more_m, more_v, more_c]| [m + more_m, v + more_v, c + more_c]);
        let [m, v, c] = total.expect("spectra have pixels");
        (to_f64(m), to_f64(v), to_f64(c))
    }

    /// Leaves out stars that the model does not describe, by the distributions of chi^2 and of the size of the nuisances that
    /// it finds, and no larger share than `most`.
    pub fn clip(&mut self, widths: f64, most: f64) {
        let counts = self.informative_pixels();
        let per_pixel = self.chi2.iter().zip(&counts).map(|(chi2, n)| (chi2 / n.max(1.0)).ln()).collect::<Vec<f64>>();
        let sizes = self.latent.rows().into_iter().map(|row| row.dot(&row).ln()).collect::<Vec<f64>>();
        let strangeness = |values: &[f64]| -> Vec<f64> {
            let usual: Vec<f64> = values.iter().zip(&self.kept).filter(|(_, kept)| **kept).map(|(v, _)| *v).collect();
            let (centre, width) = (median(&usual), robust_scatter(&usual).max(LEAST_WIDTH));
            // A star without a number is beyond description.
            let of = |value: &f64| if value.is_nan() { f64::INFINITY } else { (value - centre) / width };
            values.iter().map(of).collect()
        };
        let mut strange = strangeness(&per_pixel);
        if self.latent.ncols() > 0 {
            strange.iter_mut().zip(strangeness(&sizes)).for_each(|(most, other)| *most = most.max(other));
        }
        let mut beyond: Vec<usize> = (0..strange.len()).filter(|star| strange[*star] > widths).collect();
        self.n_beyond = beyond.len();
        beyond.sort_by(|a, b| strange[*b].total_cmp(&strange[*a]));
        beyond.truncate((most * strange.len() as f64) as usize);
        self.kept = vec![true; strange.len()];
        beyond.iter().chain(&self.barred).for_each(|star| self.kept[*star] = false);
    }

    fn informative_pixels(&self) -> Vec<f64> {
        let counts = self.pixels.iter().map(Pixels::count).reduce(|sum, more| sum + more);
        to_f64(counts.expect("spectra have pixels"))
    }

    /// Maximization: coefficients and scatter of every pixel, at the expected design and its covariance.
    pub fn maximize(&mut self, moments: Option<&Moments>) {
        let design = self.design();
        let terms = self.terms();
        let exact = || terms.design(&Compute::small_systems());
        let mut samples: Vec<Sample> = Vec::new();
        let mut n_unconverged = 0;
        for block in &self.pixels {
            let range = block.range();
            let stars = Design { design: &design, exact: &exact, moments, kept: &self.kept };
            let PixelFit { coefficients, s2, samples: sampled, n_failed } =
                block.fit(&stars, &self.prior.of(&range), &self.s2[range.clone()]);
            self.coefficients.slice_mut(s![.., range.clone()]).assign(&coefficients);
            self.s2[range].copy_from_slice(&s2);
            samples.extend(sampled);
            n_unconverged += n_failed;
        }
        self.n_unconverged = n_unconverged;
        self.prior.learn(&samples);
    }

    /// Expects until labels that are to be found stand still.
    pub fn settle_labels(&mut self) {
        const EXPECTATIONS: usize = 3;
        if self.believed.n_free() > 0 {
            (0..EXPECTATIONS).for_each(|_| drop(self.expect()));
        }
    }

    /// By how much labels, once those that were withheld stand still, are above what the catalogue says, [n_stars, n_labels], but for
    /// its zero points.
    pub fn settled_deviations(&mut self) -> Array2<f64> {
        self.settle_labels();
        &self.labels - &self.believed.expected - &self.zero_points()
    }

    /// By how much given labels are above the catalogue's in the mean over the stars that are kept, `[n_labels]`.
    fn zero_points(&self) -> Array1<f64> {
        let above = &self.labels - &self.believed.expected;
        let of_label = |label: usize| {
            let given = |star: &usize| self.kept[*star] && self.believed.is_given[[*star, label]];
            let values = (0..self.kept.len()).filter(given).map(|star| above[[star, label]]);
            mean(&values.collect::<Vec<f64>>())
        };
        Array1::from_iter((0..above.ncols()).map(of_label)).mapv(|mean| if mean.is_finite() { mean } else { 0.0 })
    }

    /// The trained layer, and a report that counts pixels and stars.
    pub fn finish(mut self, report: &TrainingReport) -> TrainedLatent {
        let n_terms = self.vectorizer.n_terms();
        let mean = self.mean_flux();
        let mut constant = self.coefficients.row_mut(0);
        constant += &mean;
        let flat = |rows: ArrayView2<f64>| rows.iter().copied().collect::<Vec<f64>>();
        let theta = flat(self.coefficients.slice(s![..n_terms, ..]));
        let spectra = flat(self.coefficients.slice(s![n_terms.., ..]));
        let zero_points = self.zero_points().to_vec();
        let n_kept = self.kept.iter().filter(|kept| **kept).count();
        let n_invalid = self.s2.iter().filter(|s2| **s2 >= NO_INFORMATION).count();
        let report = TrainingReport {
            n_stars: n_kept,
            n_valid_pixels: self.s2.len() - n_invalid,
            n_invalid_pixels: n_invalid,
            n_zero_scatter_pixels: self.s2.iter().filter(|s2| **s2 == 0.0).count(),
            n_unconverged_pixels: self.n_unconverged,
            n_beyond_description: self.n_beyond,
            ..report.clone()
        };
        let cannon = Cannon::from_coefficients(self.vectorizer, &theta, &self.s2, self.compute)
            .with_nuisance_spectra(&spectra, self.compute);
        let latent_labels = self.latent.slice(s![.., ..self.n_bent]).to_owned();
        TrainedLatent { cannon, latent_labels, kept: self.kept, zero_points, report }
    }
}
