//! Training of The Cannon by automatic differentiation: the closed form's likelihood, and what has no closed form.
//!
//! The layer, the likelihood (Ness et al. 2015, Eq. 4) and the optimum are those of `closed_form.rs`; the way there is the
//! one loop of all descents. Pixels are independent, and as badly scaled as stars and labels make them, so a block of them
//! descends in units in which the likelihood is round: coefficients of orthonormal functions of the labels, fluxes relative
//! to each pixel's mean and noise, the scatter as its root. Beyond the closed form it knows
//!
//! ```text
//! min_(theta, s2)  -2 ln L + Lambda sum_(t > 0) |theta_t|          per pixel (Casey et al. 2016, arXiv:1603.03040)
//! ```
//!
//! with theta in normalized flux per product of scaled labels; windows in wavelength outside which a label's terms are
//! nil; and variances `sigma^2 + s2 + (df/dl)^T Sigma_l (df/dl)` of stars whose labels have errors. Gradients flow through
//! that variance: a line search needs a loss that its gradient is the gradient of. It weighs stars by how well their labels
//! are known; an error that all stars share only takes the place of s2 and leaves theta as attenuated as before.
//!
//! Unlike the closed form, which brackets the highest maximum in s2 first, a descent ends on the hill it starts on. That
//! matters in pixels that hardly more stars know than there are terms.

use burn::tensor::Tensor;
use nalgebra::{DMatrix, DVector};
use ndarray::ArrayView2;

use super::cannon_config::{CannonConfig, CannonDescent};
use super::cannon_objective::{Basis, BlockObjective, Finished, Penalty, PixelUnits};
use super::closed_form::{DescentReport, TrainingReport, enough_stars};
use super::descent::{Company, descend};
use super::normal_matrix::NormalFactor;
use super::observer::Unwatched;
use super::term_layout::TermLayout;
use crate::device::{Compute, to_f64};
use crate::error::Result;
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::pairs::products_of_columns;
use crate::progress::Progress;
use crate::spectra::stored::SpectraOf;

/// A pixel has converged when its ln L of all stars could gain less than this.
const ENOUGH: f64 = 0.01;
/// s^2 below this share of a pixel's noise is none.
const NO_SCATTER: f64 = 1e-5;
/// Scatter that a descent starts from at least, as a variance relative to the noise: from nil there is no way up.
const LEAST_START: f64 = 0.1;

/// Stars that train a Cannon.
#[derive(Debug, Clone, Copy)]
pub struct CannonStars<'a> {
    /// Names of the labels.
    pub label_names: &'a [String],
    /// Wavelengths of the pixels, `[n_pixels]`, vacuum Angstrom.
    pub wavelength: &'a [f64],
    /// [n_stars, n_labels], finite.
    pub scaled_labels: ArrayView2<'a, f64>,
    /// Errors of the scaled labels, [n_stars, n_labels]; NaN where unknown, which counts as none.
    pub scaled_label_errors: ArrayView2<'a, f64>,
    /// Their spectra.
    pub spectra: SpectraOf<'a>,
}

/// Trains a Cannon by descent; pixels without enough informative stars are left without information.
///
/// # Errors
/// [`crate::error::Error::TooFewStars`] if there are not more stars than terms; errors of the descent.
pub fn train(
    config: &CannonConfig,
    descent: &CannonDescent,
    stars: &CannonStars,
    seed: u64,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<(Cannon, TrainingReport)> {
    let (n_stars, n_pixels) = (stars.scaled_labels.nrows(), stars.spectra.n_pixels());
    let layout = TermLayout::new(config, stars.label_names, stars.wavelength);
    let vectorizer = layout.vectorizer.clone();
    let n_terms = vectorizer.n_terms();
    enough_stars(n_stars, n_terms)?;
    let trainer = Trainer::new(config, descent, stars, layout, seed, compute, progress);
    let trained = trainer.train();
    progress.finish();

    let mut theta = vec![0.0; n_terms * n_pixels];
    let mut s2 = vec![NO_INFORMATION; n_pixels];
    let mut report = TrainingReport { n_stars, ..TrainingReport::default() };
    let (mut log_likelihood, mut n_informative, mut n_zero_coefficients) = (0.0, 0.0, 0);
    for block in trained? {
        for (column, &pixel) in block.pixels.iter().enumerate() {
            s2[pixel] = block.s2[column];
            for term in 0..n_terms {
                theta[term * n_pixels + pixel] = block.theta[(term, column)];
                n_zero_coefficients += usize::from(term > 0 && block.theta[(term, column)] == 0.0);
            }
        }
        report.n_unconverged_pixels += block.n_unconverged;
        log_likelihood += block.log_likelihood;
        n_informative += block.n_informative;
    }
    report.n_invalid_pixels = s2.iter().filter(|s2| **s2 >= NO_INFORMATION).count();
    report.n_valid_pixels = n_pixels - report.n_invalid_pixels;
    report.n_zero_scatter_pixels = s2.iter().filter(|s2| **s2 == 0.0).count();
    report.descent = Some(DescentReport {
        epochs: descent.epochs,
        final_loss: if n_informative > 0.0 { -log_likelihood / n_informative } else { 0.0 },
        n_zero_coefficients,
    });
    Ok((Cannon::from_coefficients(vectorizer, &theta, &s2, compute), report))
}

/// What all blocks share.
struct Trainer<'a, 's> {
    config: &'a CannonConfig,
    descent: &'a CannonDescent,
    stars: &'a CannonStars<'s>,
    seed: u64,
    /// [n_stars, n_terms] and the products of its columns, on the device.
    design: Tensor<2>,
    pairs: Tensor<2>,
    /// The same on the host, and the derivatives by each label times the label's error, each [n_stars, n_terms].
    host_design: DMatrix<f64>,
    label_noise: Vec<DMatrix<f64>>,
    /// Where each term acts.
    layout: TermLayout,
    compute: &'a Compute,
    progress: &'a dyn Progress,
}

/// The trained pixels of a block.
struct TrainedBlock {
    pixels: Vec<usize>,
    /// [n_terms, n_pixels]
    theta: DMatrix<f64>,
    s2: Vec<f64>,
    n_unconverged: usize,
    /// ln L of all stars, and how many fluxes it is of.
    log_likelihood: f64,
    n_informative: f64,
}

/// Pixels of a block that can be trained, in which units they descend, and from where.
struct Start {
    /// Positions in the block.
    columns: Vec<usize>,
    n_informative: Vec<f64>,
    mean_flux: Vec<f64>,
    /// The pixel's noise: root of the typical variance of a star, intrinsic scatter included.
    unit: Vec<f64>,
    /// Unweighted least squares relative to the mean flux, [n_terms, n_pixels], and s^2 by their residuals.
    theta: DMatrix<f64>,
    s2: Vec<f64>,
}

impl<'a, 's> Trainer<'a, 's> {
    fn new(
        config: &'a CannonConfig,
        descent: &'a CannonDescent,
        stars: &'a CannonStars<'s>,
        layout: TermLayout,
        seed: u64,
        compute: &'a Compute,
        progress: &'a dyn Progress,
    ) -> Self {
        let (n_stars, n_labels) = stars.scaled_labels.dim();
        let vectorizer = &layout.vectorizer;
        let n_terms = vectorizer.n_terms();
        let labels: Vec<f64> = stars.scaled_labels.iter().copied().collect();
        let wide = vectorizer.design_matrix(Compute::small_systems().tensor(&labels, [n_stars, n_labels]));
        let label_noise = if config.label_errors {
            let derivative = to_f64(vectorizer.derivative(wide.clone()));
            let error = |n: usize, k: usize| Some(stars.scaled_label_errors[[n, k]]).filter(|e| e.is_finite());
            let entry = |n: usize, t: usize, k: usize| {
                error(n, k).unwrap_or(0.0) * derivative[(n * n_terms + t) * n_labels + k]
            };
            (0..n_labels).map(|k| DMatrix::from_fn(n_stars, n_terms, |n, t| entry(n, t, k))).collect()
        } else {
            Vec::new()
        };
        let design = compute.bring(wide.clone());
        Self {
            config,
            descent,
            stars,
            seed,
            pairs: products_of_columns(&design),
            design,
            host_design: DMatrix::from_row_slice(n_stars, n_terms, &to_f64(wide)),
            label_noise,
            layout,
            compute,
            progress,
        }
    }

    /// All pixels, a block at a time on every thread.
    fn train(&self) -> Result<Vec<TrainedBlock>> {
        let (spectra, compute) = (&self.stars.spectra, self.compute);
        let most_pixels = spectra.most_pixels(compute.memory().of_block());
        let (block_pixels, n_together) = self.at_once();
        let block_pixels = block_pixels.min(most_pixels);
        let all: Vec<usize> = (0..spectra.n_pixels()).collect();
        self.progress.start("training by descent", all.len().div_ceil(block_pixels) * self.descent.epochs);
        let mut trained = Vec::new();
        for held_pixels in all.chunks((most_pixels / block_pixels) * block_pixels) {
            let held = spectra.hold(held_pixels)?;
            let blocks: Vec<&[usize]> = held_pixels.chunks(block_pixels).collect();
            for blocks in blocks.chunks(n_together) {
                // As in the closed form, blocks fit a core's cache, and each thread takes one at a time.
                let train = |pixels: &&[usize]| self.block(pixels[0], pixels.len(), held.columns(pixels));
                for block in compute.each_on_its_own_thread(blocks, train) {
                    trained.push(block?);
                }
            }
        }
        Ok(trained)
    }

    /// Pixels that are trained together, as the settings have it, and such blocks that are trained at a time; fewer where their matrices
    /// would take more than may be worked with. A block of other pixels comes to the same optimum another way.
    fn at_once(&self) -> (usize, usize) {
        /// Matrices of stars and pixels that a block records at a time, without labels that have errors and for each that has.
        const MATRICES: usize = 24;
        const MATRICES_OF_LABEL: usize = 3;
        let matrices = MATRICES + MATRICES_OF_LABEL * self.label_noise.len();
        let of_pixel = matrices * self.host_design.nrows().max(1) * self.compute.dtype().size();
        let most = (self.compute.memory().of_work() as usize / of_pixel).max(1);
        let block_pixels = self.config.block_pixels.min(most);
        (block_pixels, most / block_pixels)
    }

    /// Some pixels from `first` on, of which flux and inverse variance are given row by row.
    fn block(&self, first: usize, n_pixels: usize, spectra: [Vec<f32>; 2]) -> Result<TrainedBlock> {
        let shape = [self.host_design.nrows(), n_pixels];
        let [flux, ivar] = spectra.map(|values| self.compute.tensor_f32(values, shape));
        let n_terms = self.host_design.ncols();
        let start = self.start(&flux, &ivar, first);
        let mut trained = TrainedBlock {
            pixels: start.columns.iter().map(|column| first + column).collect(),
            theta: DMatrix::zeros(n_terms, start.columns.len()),
            s2: Vec::new(),
            n_unconverged: 0,
            log_likelihood: 0.0,
            n_informative: start.n_informative.iter().sum(),
        };
        if start.columns.is_empty() {
            self.progress.advance(self.descent.epochs);
            return Ok(trained);
        }
        let (objective, basis) = self.objective(flux, ivar, &start, &trained.pixels);
        let recording = self.compute.autodiff();
        let module = self.first(&start, &basis, &objective, &recording);
        let company =
            Company { observer: &mut Unwatched, state: None, progress: &OneOfMany { progress: self.progress } };
        let descended = descend(module, &objective, &self.descent.settings(), self.seed, company)?.module;
        let module =
            PixelUnits::new(&to_f64(descended.coefficients.val()), &to_f64(descended.scatter.val()), &recording);
        let Finished { coefficients, variance, to_gain, log_likelihood } = objective.finish(&module);
        let coefficients = DMatrix::from_row_slice(n_terms, start.columns.len(), &coefficients);
        trained.theta = &basis.to_theta * coefficients;
        for (column, unit) in start.unit.iter().enumerate() {
            trained.theta.column_mut(column).scale_mut(*unit);
            trained.theta[(0, column)] += start.mean_flux[column];
            trained.log_likelihood -= start.n_informative[column] * unit.ln();
        }
        let s2 = |(variance, unit): (&f64, &f64)| if *variance < NO_SCATTER { 0.0 } else { variance * unit * unit };
        trained.s2 = variance.iter().zip(&start.unit).map(s2).collect();
        trained.log_likelihood += log_likelihood;
        trained.n_unconverged = to_gain.iter().filter(|gain| **gain > ENOUGH || gain.is_nan()).count();
        Ok(trained)
    }

    /// Unweighted least squares, of the terms that may act, in every pixel that more stars know than there are terms.
    fn start(&self, flux: &Tensor<2>, ivar: &Tensor<2>, first_pixel: usize) -> Start {
        let n_terms = self.host_design.ncols();
        let informative = ivar.clone().greater_scalar(0.0).float().cast(self.compute.dtype());
        let count = to_f64(informative.clone().sum_dim(0));
        let n_pixels = count.len();
        let sum_flux = to_f64((flux.clone() * informative.clone()).sum_dim(0));
        let mean: Vec<f64> = sum_flux.iter().zip(&count).map(|(sum, count)| sum / count.max(1.0)).collect();
        let deviation = (flux.clone() - self.compute.tensor(&mean, [1, n_pixels])) * informative.clone();
        let mut normal = to_f64(informative.clone().transpose().matmul(self.pairs.clone()));
        let mut right = to_f64(deviation.clone().transpose().matmul(self.design.clone()));
        let n_pairs = n_terms * (n_terms + 1) / 2;
        let mut theta = DMatrix::zeros(n_terms, n_pixels);
        let mut columns = Vec::new();
        for pixel in (0..n_pixels).filter(|pixel| count[*pixel] > n_terms as f64) {
            let normal = &mut normal[pixel * n_pairs..(pixel + 1) * n_pairs];
            let right = &mut right[pixel * n_terms..(pixel + 1) * n_terms];
            self.hold(normal, right, first_pixel + pixel);
            if let Some(factor) = NormalFactor::new(normal, n_terms) {
                theta.set_column(pixel, &factor.solve(&DVector::from_column_slice(right)));
                columns.push(pixel);
            }
        }
        // nalgebra counts down the columns: what it calls [n_terms, n_pixels] is [n_pixels, n_terms] row by row.
        let fitted = self.compute.tensor(theta.as_slice(), [n_pixels, n_terms]);
        let residual = deviation - self.design.clone().matmul(fitted.transpose());
        let sum_ivar = to_f64(ivar.clone().sum_dim(0));
        let chi2 = to_f64((ivar.clone() * residual.square()).sum_dim(0));
        let noise = |pixel: &usize| count[*pixel] / sum_ivar[*pixel];
        let s2 = |pixel: &usize| {
            let excess = chi2[*pixel] / (count[*pixel] - n_terms as f64) - 1.0;
            excess.max(LEAST_START) * noise(pixel)
        };
        let s2: Vec<f64> = columns.iter().map(s2).collect();
        Start {
            n_informative: columns.iter().map(|pixel| count[*pixel]).collect(),
            mean_flux: columns.iter().map(|pixel| mean[*pixel]).collect(),
            unit: columns.iter().zip(&s2).map(|(pixel, s2)| (noise(pixel) + s2).sqrt()).collect(),
            theta: theta.select_columns(&columns),
            s2,
            columns,
        }
    }

    /// Makes the coefficients of terms that must not act in a pixel nil in its least squares.
    fn hold(&self, normal: &mut [f64], right: &mut [f64], pixel: usize) {
        let n_terms = right.len();
        let acts: Vec<bool> = (0..n_terms).map(|term| self.layout.acts(term, pixel)).collect();
        let pairs = (0..n_terms).flat_map(|a| (a..n_terms).map(move |b| (a, b)));
        for (entry, (a, b)) in normal.iter_mut().zip(pairs).filter(|(_, (a, b))| !(acts[*a] && acts[*b])) {
            *entry = f64::from(u8::from(a == b));
        }
        right.iter_mut().zip(&acts).filter(|(_, acts)| !**acts).for_each(|(right, _)| *right = 0.0);
    }

    /// The trainable pixels of a block in their units. `pixels` are their numbers in the spectrum.
    fn objective(&self, flux: Tensor<2>, ivar: Tensor<2>, start: &Start, pixels: &[usize]) -> (BlockObjective, Basis) {
        let (n_stars, n_terms) = self.host_design.shape();
        let n_pixels = pixels.len();
        let index = self.compute.indices(&start.columns);
        let row = |values: &[f64]| self.compute.tensor(values, [1, n_pixels]);
        let ivar = ivar.select(1, index.clone());
        let masked = ivar.clone().lower_equal_scalar(0.0);
        let flux = ((flux.select(1, index) - row(&start.mean_flux)) / row(&start.unit)).mask_fill(masked, 0.0);
        let ivar = ivar * row(&start.unit.iter().map(|unit| unit * unit).collect::<Vec<_>>());
        let scatter = start.s2.iter().zip(&start.unit).map(|(s2, unit)| s2 / (unit * unit)).collect::<Vec<_>>();
        let weight = ivar.clone() / (ivar.clone() * row(&scatter) + 1.0);
        // A star that no pixel of the block knows still needs some weight, to leave the basis finite.
        let star_weight: Vec<f64> = to_f64(weight.mean_dim(1)).into_iter().map(|weight| weight.max(1e-6)).collect();
        let real_theta = self.config.l1 > 0.0 || self.layout.has_windows();
        let orthonormal = if real_theta { None } else { Basis::orthonormal(&self.host_design, &star_weight) };
        let basis = orthonormal.unwrap_or_else(|| Basis::scaled(&self.host_design, &star_weight));
        let stretch: Vec<f64> = start.n_informative.iter().map(|n| (n_stars as f64 / n).sqrt()).collect();
        let on_terms = |value: &dyn Fn(usize, usize) -> f64| -> Vec<f64> {
            (0..n_terms * n_pixels).map(|i| value(i / n_pixels, i % n_pixels)).collect()
        };
        // Half of Lambda, since the objective is -ln L; a star's share of it, since the objective is a mean.
        let penalty = |term: usize, column: usize| {
            let theta_per_unit = basis.to_theta[(term, term)] * start.unit[column] * stretch[column];
            if term == 0 { 0.0 } else { 0.5 * self.config.l1 / n_stars as f64 * theta_per_unit }
        };
        let objective = BlockObjective {
            basis: self.compute.tensor(basis.values.transpose().as_slice(), [n_stars, n_terms]),
            label_noise: self.noise_of_labels(&basis),
            flux,
            ivar,
            stretch: row(&stretch),
            allowed: self.layout.has_windows().then(|| {
                let allowed = on_terms(&|term, column| f64::from(u8::from(self.layout.acts(term, pixels[column]))));
                self.compute.tensor(&allowed, [n_terms, n_pixels])
            }),
            penalty: (self.config.l1 > 0.0).then(|| Penalty::new(&on_terms(&penalty), n_pixels, self.compute)),
        };
        (objective, basis)
    }

    /// Derivatives of a basis times the errors of the labels, [n_stars, n_labels, n_terms].
    fn noise_of_labels(&self, basis: &Basis) -> Option<Tensor<3>> {
        let (n_stars, n_terms) = self.host_design.shape();
        let n_labels = self.label_noise.len();
        let by_label: Vec<DMatrix<f64>> = self.label_noise.iter().map(|noise| noise * &basis.to_theta).collect();
        let entry = |i: usize| by_label[i / n_terms % n_labels][(i / (n_labels * n_terms), i % n_terms)];
        let values: Vec<f64> = (0..n_stars * n_labels * n_terms).map(entry).collect();
        (n_labels > 0).then(|| self.compute.tensor(&values, [n_stars, n_labels, n_terms]))
    }

    /// Where a block's descent starts.
    fn first(&self, start: &Start, basis: &Basis, objective: &BlockObjective, recording: &Compute) -> PixelUnits {
        let mut coefficients =
            basis.to_theta.solve_upper_triangular(&start.theta).expect("a basis has no nil on its diagonal");
        let mut scatter = Vec::with_capacity(start.unit.len());
        for (column, stretch) in to_f64(objective.stretch.clone()).into_iter().enumerate() {
            let unit = start.unit[column] * stretch;
            coefficients.column_mut(column).unscale_mut(unit);
            scatter.push(start.s2[column].sqrt() / unit);
        }
        PixelUnits::new(coefficients.transpose().as_slice(), &scatter, recording)
    }
}

/// The progress of one block, told to the bar of all of them.
struct OneOfMany<'a> {
    progress: &'a dyn Progress,
}

impl Progress for OneOfMany<'_> {
    fn advance(&self, steps: usize) {
        self.progress.advance(steps);
    }
    fn interrupted(&self) -> bool {
        self.progress.interrupted()
    }
}
