//! Expectation and maximization of a Cannon with latent labels and nuisance spectra: what the rounds of training share.

use std::ops::Range;

use burn::tensor::Tensor;
use nalgebra::DVector;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;

use super::believed_labels::BelievedLabels;
use super::closed_form::TrainingReport;
use super::coefficient_prior::{CoefficientPrior, Sample};
use super::latent_blocks::PixelBlocks;
use super::latent_expectation::{Expected, Moments, StarSums, Step};
use super::latent_pixels::{Design, PixelFit, Pixels};
use super::principal_components::{RowBlocks, principal_components_of};
use crate::device::{Compute, to_array, to_f64};
use crate::error::Result;
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

/// Residuals in units of their errors, [n_stars, n_pixels].
struct Pulls<'e, 'a> {
    em: &'e Em<'a>,
    design: Tensor<2>,
}

impl RowBlocks for Pulls<'_, '_> {
    fn shape(&self) -> [usize; 2] {
        [self.em.kept.len(), self.em.s2.len()]
    }

    fn each(&self, work: &mut dyn FnMut(Range<usize>, Tensor<2>)) -> Result<()> {
        for stars in self.em.parts() {
            let design = self.design.clone().narrow(0, stars.start, stars.len());
            let mut pulls = Vec::new();
            self.em.blocks.each_of(stars.clone(), |block| {
                pulls.push(block.pulls(&design, self.em.of(block), self.em.s2_of(block)));
            })?;
            work(stars, Tensor::cat(pulls, 1));
        }
        Ok(())
    }
}

/// State of training. Coefficients count from each pixel's mean flux.
pub(super) struct Em<'a> {
    pub blocks: PixelBlocks<'a>,
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
        blocks: PixelBlocks<'a>,
        compute: &'a Compute,
    ) -> Self {
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
            blocks,
            coefficients,
            s2,
            compute,
        };
        let mean = em.mean_flux().to_owned();
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
    fn mean_flux(&self) -> ArrayView1<'_, f64> {
        ArrayView1::from(&self.blocks.mean_flux)
    }

    /// Amplitudes of the leading principal components of the residuals in units of their errors, each of mean square 1.
    ///
    /// # Errors
    /// Those of reading.
    pub fn leading_residuals(&self, count: usize) -> Result<Array2<f64>> {
        let n_stars = self.labels.nrows();
        if count == 0 {
            return Ok(Array2::zeros((n_stars, 0)));
        }
        let pulls = Pulls { em: self, design: self.design() };
        let transposed = principal_components_of(&pulls, count, SEED, self.compute)?.transpose();
        let mut amplitudes = Vec::new();
        pulls.each(&mut |_, pulls| amplitudes.push(pulls.matmul(transposed.clone())))?;
        let mut amplitudes = to_array(Tensor::cat(amplitudes, 0));
        for mut column in amplitudes.columns_mut() {
            let norm = (column.dot(&column) / n_stars as f64).sqrt().max(f64::MIN_POSITIVE);
            column /= norm;
        }
        Ok(amplitudes)
    }

    /// Coefficients in a block of pixels.
    fn of(&self, block: &Pixels) -> ArrayView2<'_, f64> {
        self.coefficients.slice(s![.., block.range()])
    }

    fn s2_of(&self, block: &Pixels) -> &[f64] {
        &self.s2[block.range()]
    }

    /// Inputs of the polynomial, of some stars: labels, and latent labels that are bent in.
    fn inputs(&self, stars: Range<usize>) -> Array2<f64> {
        let latent = self.latent.slice(s![stars.clone(), ..self.n_bent]);
        concatenate![Axis(1), self.labels.slice(s![stars, ..]), latent]
    }

    /// The stars in parts that are worked on together.
    pub fn parts(&self) -> Vec<Range<usize>> {
        self.blocks.parts(self.coefficients.nrows())
    }

    /// The design matrix with the additive nuisances behind it, [n_stars, n_coefficients]; where [`Compute`] is.
    pub fn design(&self) -> Tensor<2> {
        self.terms().design(self.compute)
    }

    pub fn terms(&self) -> Terms {
        let additive = self.latent.slice(s![.., self.n_bent..]).to_owned();
        Terms { vectorizer: self.vectorizer.clone(), inputs: self.inputs(0..self.kept.len()), additive }
    }

    /// Expectation: y and z of every star, one Gauss-Newton step from where they were, with their covariance; and so labels that have
    /// errors.
    ///
    /// # Errors
    /// Those of reading.
    pub fn expect(&mut self) -> Result<Moments> {
        self.expect_in_steps(1)
    }

    fn expect_in_steps(&mut self, n_steps: usize) -> Result<Moments> {
        let (n_free, q) = (self.believed.n_free(), self.latent.ncols());
        let mut moments = Moments::none(self.coefficients.nrows());
        let mut power = vec![0.0; q];
        for stars in self.parts() {
            let sums = self.sums(stars.clone())?;
            let mut found = Vec::new();
            for _ in 0..n_steps {
                found = self.step(&stars, &sums);
                for (star, found) in stars.clone().zip(&found) {
                    let (free, latent) = found.latent.split_at(n_free);
                    self.latent.row_mut(star).assign(&ArrayView1::from(latent));
                    self.departures.row_mut(star).assign(&ArrayView1::from(free));
                    self.labels.row_mut(star).assign(&self.believed.at(star, free));
                    self.chi2[star] = found.chi2;
                }
            }
            for (_, found) in stars.clone().zip(&found).filter(|(star, _)| self.kept[*star]) {
                power.iter_mut().zip(&found.square[n_free..]).for_each(|(sum, square)| *sum += *square);
            }
            let covariance = found.iter().flat_map(|found| &found.covariance).copied().collect();
            moments.push(covariance, stars.len(), self.compute);
        }
        let n_kept = self.kept.iter().filter(|kept| **kept).count().max(1) as f64;
        self.latent_power = power.into_iter().map(|sum| sum / n_kept).collect();
        Ok(moments)
    }

    /// What is expected of some stars, one step from where they are.
    fn step(&self, stars: &Range<usize>, sums: &StarSums) -> Vec<Expected> {
        let numbers = (self.n_bent, self.latent.ncols() - self.n_bent);
        let inputs = self.inputs(stars.clone());
        let step = Step::new(&self.vectorizer, &self.believed, stars.start, inputs.view(), numbers);
        let star = |place: usize| {
            let old = self.departures.row(stars.start + place).into_iter().chain(self.latent.row(stars.start + place));
            step.star(place, &DVector::from_iterator(old.clone().count(), old.copied()), sums)
        };
        (0..stars.len()).into_par_iter().map(star).collect()
    }

    /// Sums over the pixels of some stars.
    fn sums(&self, stars: Range<usize>) -> Result<StarSums> {
        let mut total: Option<[Tensor<2>; 3]> = None;
        self.blocks.each_of(stars, |block| {
            let [m, v, c] = block.sums(self.of(block), self.s2_of(block));
            total = Some(match total.take() {
                Some([sum_m, sum_v, sum_c]) => [sum_m + m, sum_v + v, sum_c + c],
                None => [m, v, c],
            });
        })?;
        let [m, v, c] = total.expect("spectra have pixels").map(to_f64);
        Ok(StarSums { m, v, c })
    }

    /// Leaves out stars that the model does not describe, by the distributions of chi^2 and of the size of the nuisances that
    /// it finds, and no larger share than `most`.
    pub fn clip(&mut self, widths: f64, most: f64) {
        let per_pixel =
            self.chi2.iter().zip(&self.blocks.counts).map(|(chi2, n)| (chi2 / n.max(1.0)).ln()).collect::<Vec<f64>>();
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

    /// Maximization: coefficients and scatter of every pixel, at the expected design and its covariance.
    ///
    /// # Errors
    /// Those of reading.
    pub fn maximize(&mut self, moments: Option<&Moments>) -> Result<()> {
        let design = self.design();
        let terms = self.terms();
        let exact = || terms.design(&Compute::small_systems());
        let parts = self.parts();
        let mut samples: Vec<Sample> = Vec::new();
        let mut n_unconverged = 0;
        let Self { blocks, coefficients, s2, prior, kept, .. } = self;
        let stars = Design { design: &design, exact: &exact, moments, parts: &parts, kept };
        blocks.each(|block| {
            let range = block.range();
            let PixelFit { coefficients: found, s2: scatter, samples: sampled, n_failed } =
                block.fit(&stars, &prior.of(&range), &s2[range.clone()]);
            coefficients.slice_mut(s![.., range.clone()]).assign(&found);
            s2[range].copy_from_slice(&scatter);
            samples.extend(sampled);
            n_unconverged += n_failed;
        })?;
        self.n_unconverged = n_unconverged;
        self.prior.learn(&samples);
        Ok(())
    }

    /// Expects until labels that are to be found stand still.
    ///
    /// # Errors
    /// Those of reading.
    pub fn settle_labels(&mut self) -> Result<()> {
        const EXPECTATIONS: usize = 3;
        if self.believed.n_free() > 0 {
            self.expect_in_steps(EXPECTATIONS)?;
        }
        Ok(())
    }

    /// By how much labels, once those that were withheld stand still, are above what the catalogue says, [n_stars, n_labels], but for
    /// its zero points.
    ///
    /// # Errors
    /// Those of reading.
    pub fn settled_deviations(&mut self) -> Result<Array2<f64>> {
        self.settle_labels()?;
        Ok(&self.labels - &self.believed.expected - &self.zero_points())
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
        let mut constant = self.coefficients.row_mut(0);
        constant += &ArrayView1::from(&self.blocks.mean_flux);
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
