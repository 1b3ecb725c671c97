//! A Cannon that learns what it was not told: latent labels and nuisance spectra, from what the labels leave unexplained.
//!
//! ```text
//! f_n = theta . x(l_n, y_n) + B z_n + noise,   y_n, z_n ~ N(0, 1)
//! ```
//!
//! Latent labels y enter the polynomial beside the known labels; nuisances z only add their spectra B. Without latent
//! labels this is probabilistic principal component analysis (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611) with
//! known, unequal noise, masks, and the Cannon as its mean. Both are trained by expectation (y and z of every star, with
//! their covariance: one compression of all spectra) and maximization (theta, B and s^2 of every pixel), from the
//! principal components of the plain Cannon's residuals on.

use std::ops::Range;

use burn::tensor::Tensor;
use nalgebra::{DMatrix, DVector};
use ndarray::{Array2, ArrayView2, Axis, concatenate, s};
use rayon::prelude::*;

use super::cannon_config::{CannonConfig, LatentSettings};
use super::closed_form::{self, TrainingReport};
use super::latent_pixels::{Moments, PixelFit, Pixels};
use super::normal_matrix::{pack, unpack};
use super::nuisance_choice::NuisanceCount;
use super::principal_components::principal_components;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::pairs::products_of_columns;
use crate::models::vectorizer::Vectorizer;
use crate::progress::Progress;
use crate::stats::robust::{median, robust_scatter};

/// Rounds in which latent labels only add, before they enter the polynomial: by then they have found their directions.
const ROUNDS_BEFORE_BENDING: usize = 2;
/// Rounds after which stars that the model does not describe are left out.
const ROUNDS_OF_CLIPPING: [usize; 2] = [2, 4];
/// The least robust width of a logarithm against which stars are judged: chi^2 is never known better than to a tenth.
const LEAST_WIDTH: f64 = 0.1;
/// Seed of the random directions that find principal components.
const SEED: u64 = 2015;

/// A trained layer and what training found of its stars.
pub struct TrainedLatent {
    /// The layer; the first inputs of its polynomial are the labels, the others latent labels.
    pub cannon: Cannon,
    /// Latent labels of every training star, [n_stars, n_latent_labels].
    pub latent_labels: Array2<f64>,
    /// Which training stars the last rounds used.
    pub kept: Vec<bool>,
    /// How training went.
    pub report: TrainingReport,
}

/// Trains a Cannon with latent labels and a fixed number of nuisance spectra.
///
/// # Shapes
/// - scaled_labels: `[n_stars, n_labels]`, finite
/// - flux, ivar: `[n_stars, n_pixels]`, finite
///
/// # Errors
/// [`Error::TooFewStars`] if there are not more stars than coefficients per pixel; [`Error::Config`] if the number of nuisance
/// spectra is still to be chosen, for which stars must be held out.
pub fn train(
    config: &CannonConfig,
    latent: &LatentSettings,
    scaled_labels: ArrayView2<f64>,
    flux: ArrayView2<f32>,
    ivar: ArrayView2<f32>,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<TrainedLatent> {
    let NuisanceCount::Fixed(n_spectra) = latent.spectra else {
        return Err(Error::Config("latent.spectra = \"held-out\" must become a number before training".into()));
    };
    let (n_stars, n_labels) = scaled_labels.dim();
    let n_coefficients = Vectorizer::new(n_labels + latent.labels, config.order).n_terms() + n_spectra;
    if n_stars <= n_coefficients {
        return Err(Error::TooFewStars {
            stage: format!("training {n_coefficients} coefficients per pixel"),
            n_stars,
            needed: n_coefficients + 1,
            remedy: "lower latent.labels or latent.spectra, or widen the selection".into(),
        });
    }
    progress.start("training latent labels", latent.rounds + 2);
    let (plain, plain_report) = closed_form::train(config, scaled_labels, flux, ivar, compute)?;
    progress.advance(1);
    let mut em = Em::start(latent, n_spectra, &plain, scaled_labels, flux, ivar, compute);
    progress.advance(1);
    for round in 1..=latent.rounds {
        if round == ROUNDS_BEFORE_BENDING + 1 {
            em.bend(latent.labels, config.order);
        }
        let moments = em.expect();
        if latent.clip > 0.0 && ROUNDS_OF_CLIPPING.contains(&round) {
            em.clip(latent.clip, latent.clip_most);
        }
        em.maximize(Some(&moments));
        progress.advance(1);
    }
    progress.finish();
    if latent.rounds <= ROUNDS_BEFORE_BENDING {
        em.bend(latent.labels, config.order);
    }
    Ok(em.finish(&plain_report))
}

/// What the design matrix is made of.
struct Terms {
    vectorizer: Vectorizer,
    /// Inputs of the polynomial, [n_stars, n_inputs], and nuisances that only add.
    inputs: Array2<f64>,
    additive: Array2<f64>,
}

impl Terms {
    fn design(&self, compute: &Compute) -> Tensor<2> {
        let polynomial = self.vectorizer.design_matrix(compute.matrix(self.inputs.view()));
        match self.additive.ncols() {
            0 => polynomial,
            _ => Tensor::cat(vec![polynomial, compute.matrix(self.additive.view())], 1),
        }
    }
}

/// State of training.
struct Em<'a> {
    pixels: Vec<Pixels<'a>>,
    /// Scaled labels, [n_stars, n_labels].
    labels: ArrayView2<'a, f64>,
    vectorizer: Vectorizer,
    /// Latent labels, then nuisances that only add, [n_stars, n_latent].
    latent: Array2<f64>,
    /// Latent labels among them that are inputs of the polynomial.
    n_bent: usize,
    /// Coefficients of the polynomial, then nuisance spectra, [n_coefficients, n_pixels]; relative to the mean flux.
    coefficients: Array2<f64>,
    s2: Vec<f64>,
    /// Variance of each coefficient over the pixels, `[n_coefficients]`; infinite where there is no shrinkage.
    spread: Vec<f64>,
    shrinkage: bool,
    kept: Vec<bool>,
    /// Stars that the model does not describe, whether left out or not.
    n_beyond: usize,
    /// chi^2 of each star.
    chi2: Vec<f64>,
    n_unconverged: usize,
    compute: &'a Compute,
}

impl<'a> Em<'a> {
    /// The plain Cannon, and the principal components of its weighted residuals as nuisances.
    fn start(
        latent: &LatentSettings,
        n_spectra: usize,
        plain: &Cannon,
        labels: ArrayView2<'a, f64>,
        flux: ArrayView2<'a, f32>,
        ivar: ArrayView2<'a, f32>,
        compute: &'a Compute,
    ) -> Self {
        /// Pixels whose products of coefficients are in memory together.
        const BLOCK_PIXELS: usize = 1024;
        let n_pixels = flux.ncols();
        let (n_stars, q) = (labels.nrows(), latent.labels + n_spectra);
        let blocks: Vec<Range<usize>> =
            (0..n_pixels).step_by(BLOCK_PIXELS).map(|start| start..(start + BLOCK_PIXELS).min(n_pixels)).collect();
        let pixels: Vec<Pixels> = blocks.into_iter().map(|range| Pixels::new(flux, ivar, range, compute)).collect();
        let vectorizer = plain.vectorizer().clone();
        let n_terms = vectorizer.n_terms();
        let s2 = to_f64(plain.s2.val());
        let theta =
            Array2::from_shape_vec((n_terms, n_pixels), to_f64(plain.theta.val())).expect("theta has its shape");
        let mut coefficients = Array2::zeros((n_terms + q, n_pixels));
        coefficients.slice_mut(s![..n_terms, ..]).assign(&theta);
        for block in &pixels {
            let mut constant = coefficients.slice_mut(s![0, block.range()]);
            constant.iter_mut().zip(block.mean_flux()).for_each(|(constant, mean)| *constant -= mean);
        }
        let mut em = Self {
            labels,
            latent: Array2::zeros((n_stars, q)),
            n_bent: 0,
            spread: vec![f64::INFINITY; n_terms + q],
            shrinkage: latent.shrinkage,
            kept: vec![true; n_stars],
            n_beyond: 0,
            chi2: vec![f64::NAN; n_stars],
            n_unconverged: 0,
            vectorizer,
            pixels,
            coefficients,
            s2,
            compute,
        };
        em.latent = em.leading_residuals(q);
        em.maximize(None);
        em
    }

    /// Amplitudes of the leading principal components of the residuals in units of their errors, each of mean square 1.
    fn leading_residuals(&self, count: usize) -> Array2<f64> {
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
    fn design(&self) -> Tensor<2> {
        self.terms().design(self.compute)
    }

    fn terms(&self) -> Terms {
        let additive = self.latent.slice(s![.., self.n_bent..]).to_owned();
        Terms { vectorizer: self.vectorizer.clone(), inputs: self.inputs(), additive }
    }

    /// Expectation: y and z of every star, one Gauss-Newton step from where they were, with their covariance.
    ///
    /// With the sums M, v over the star's pixels, and D the derivative of the design with respect to y and z:
    ///
    /// ```text
    /// K = (1 + D^T M D)^-1,   (y, z) <- K (D^T (v - M x) + D^T M D (y, z)),   covariance of x: D K D^T
    /// ```
    fn expect(&mut self) -> Moments {
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
        let star = |star: usize| -> (Vec<f64>, Vec<f32>, f64) {
            let m = unpack(&m[star * n_pairs..(star + 1) * n_pairs], n_coefficients);
            let v = DVector::from_column_slice(&v[star * n_coefficients..(star + 1) * n_coefficients]);
            let old = DVector::from_iterator(q, self.latent.row(star).iter().copied());
            let mut x = DVector::zeros(n_coefficients);
            x.rows_mut(0, n_terms).copy_from_slice(&design[star * n_terms..(star + 1) * n_terms]);
            x.rows_mut(n_terms, q - n_bent).copy_from(&old.rows(n_bent, q - n_bent));
            let mut d = DMatrix::zeros(n_coefficients, q);
            for latent in 0..n_bent {
                for term in 0..n_terms {
                    d[(term, latent)] = derivative[(star * n_terms + term) * n_inputs + n_labels + latent];
                }
            }
            for additive in 0..q - n_bent {
                d[(n_terms + additive, n_bent + additive)] = 1.0;
            }
            let m_d = &m * &d;
            let curvature = d.transpose() * &m_d;
            let m_x = &m * &x;
            let chi2 = c[star] - 2.0 * v.dot(&x) + x.dot(&m_x);
            let right = d.transpose() * (v - m_x) + &curvature * &old;
            let precision = curvature + DMatrix::identity(q, q);
            // 1 + a positive matrix: always positive definite, unless numbers are not finite.
            let Some(factor) = precision.cholesky() else {
                return (vec![0.0; q], vec![0.0; n_pairs], f64::INFINITY);
            };
            let covariance = &d * factor.inverse() * d.transpose();
            (factor.solve(&right).as_slice().to_vec(), pack(&covariance).map(|value| value as f32).collect(), chi2)
        };
        let results: Vec<_> = (0..n_stars).into_par_iter().map(star).collect();
        let mut covariance = Vec::with_capacity(n_stars * n_pairs);
        for (row, (latent, packed, chi2)) in results.into_iter().enumerate() {
            self.latent.row_mut(row).iter_mut().zip(latent).for_each(|(to, from)| *to = from);
            covariance.extend(packed);
            self.chi2[row] = chi2;
        }
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
    fn clip(&mut self, widths: f64, most: f64) {
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
        beyond.into_iter().for_each(|star| self.kept[star] = false);
    }

    fn informative_pixels(&self) -> Vec<f64> {
        let counts = self.pixels.iter().map(Pixels::count).reduce(|sum, more| sum + more);
        to_f64(counts.expect("spectra have pixels"))
    }

    /// Maximization: coefficients and scatter of every pixel, at the expected design and its covariance.
    fn maximize(&mut self, moments: Option<&Moments>) {
        let design = self.design();
        let pairs = products_of_columns(&design, self.compute);
        let terms = self.terms();
        let exact = || terms.design(&Compute::small_systems());
        let precision: Vec<f64> = self.spread.iter().map(|spread| 1.0 / spread).collect();
        let n_coefficients = self.coefficients.nrows();
        let mut square = vec![0.0; n_coefficients];
        let mut n_sampled = 0;
        let mut n_unconverged = 0;
        for block in &self.pixels {
            let s2 = &self.s2[block.range()];
            let PixelFit { coefficients, s2, squares, n_sampled: sampled, n_failed } =
                block.fit(&design, &pairs, &exact, moments, &precision, s2, &self.kept);
            self.coefficients.slice_mut(s![.., block.range()]).assign(&coefficients);
            self.s2[block.range()].copy_from_slice(&s2);
            square.iter_mut().zip(squares).for_each(|(sum, more)| *sum += more);
            n_sampled += sampled;
            n_unconverged += n_failed;
        }
        self.n_unconverged = n_unconverged;
        if self.shrinkage && n_sampled > 0 {
            for (spread, square) in self.spread.iter_mut().zip(square).skip(1) {
                *spread = (square / n_sampled as f64).max(1e-12);
            }
        }
    }

    /// Turns the strongest additive nuisances into latent labels: inputs of the polynomial.
    fn bend(&mut self, n_latent_labels: usize, order: usize) {
        let (n_labels, q) = (self.labels.ncols(), self.latent.ncols());
        let n_old = self.vectorizer.n_terms();
        let power: Vec<f64> = (0..q)
            .map(|k| {
                let of_pixel = |(b, s2): (&f64, &f64)| if *s2 < NO_INFORMATION { b * b } else { 0.0 };
                self.coefficients.row(n_old + k).iter().zip(&self.s2).map(of_pixel).sum()
            })
            .collect();
        let mut order_of_power: Vec<usize> = (0..q).collect();
        order_of_power.sort_by(|a, b| power[*b].total_cmp(&power[*a]));
        self.latent = self.latent.select(Axis(1), &order_of_power);
        let vectorizer = Vectorizer::new(n_labels + n_latent_labels, order);
        let n_terms = vectorizer.n_terms();
        let mut coefficients = Array2::zeros((n_terms + q - n_latent_labels, self.coefficients.ncols()));
        // What is new has no spread of its own yet: as much as a tenth of the nuisances' allows it to grow.
        let usual: Vec<f64> = self.spread[n_old..].to_vec();
        let mut spread = vec![if self.shrinkage { 0.1 * median(&usual) } else { f64::INFINITY }; coefficients.nrows()];
        let mut carry = |from: usize, to: usize| {
            coefficients.row_mut(to).assign(&self.coefficients.row(from));
            spread[to] = self.spread[from];
        };
        for term in 0..n_old {
            let factors: Vec<usize> = self.vectorizer.factors(term).collect();
            carry(term, vectorizer.position(&factors).expect("the larger polynomial has every term"));
        }
        for (position, &nuisance) in order_of_power.iter().enumerate() {
            let to = match position.checked_sub(n_latent_labels) {
                Some(additive) => n_terms + additive,
                None => vectorizer.position(&[n_labels + position]).expect("every input has its linear term"),
            };
            carry(n_old + nuisance, to);
        }
        (self.vectorizer, self.n_bent) = (vectorizer, n_latent_labels);
        (self.coefficients, self.spread) = (coefficients, spread);
    }

    fn finish(mut self, plain: &TrainingReport) -> TrainedLatent {
        let n_terms = self.vectorizer.n_terms();
        for block in &self.pixels {
            let mut constant = self.coefficients.slice_mut(s![0, block.range()]);
            constant.iter_mut().zip(block.mean_flux()).for_each(|(constant, mean)| *constant += mean);
        }
        let flat = |rows: ArrayView2<f64>| rows.iter().copied().collect::<Vec<f64>>();
        let theta = flat(self.coefficients.slice(s![..n_terms, ..]));
        let spectra = flat(self.coefficients.slice(s![n_terms.., ..]));
        let n_invalid = self.s2.iter().filter(|s2| **s2 >= NO_INFORMATION).count();
        let report = TrainingReport {
            n_stars: self.kept.iter().filter(|kept| **kept).count(),
            n_valid_pixels: self.s2.len() - n_invalid,
            n_invalid_pixels: n_invalid,
            n_zero_scatter_pixels: self.s2.iter().filter(|s2| **s2 == 0.0).count(),
            n_unconverged_pixels: self.n_unconverged,
            n_left_out: self.kept.iter().filter(|kept| !**kept).count(),
            n_beyond_description: self.n_beyond,
            ..plain.clone()
        };
        let cannon = Cannon::from_coefficients(self.vectorizer, &theta, &self.s2, self.compute)
            .with_nuisance_spectra(&spectra, self.compute);
        let latent_labels = self.latent.slice(s![.., ..self.n_bent]).to_owned();
        TrainedLatent { cannon, latent_labels, kept: self.kept, report }
    }
}
