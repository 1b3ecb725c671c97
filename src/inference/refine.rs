//! An emulator of physical models fitted to real spectra: the continuum follows the model, misfits lose their weight.
//!
//! Model spectra know the true continuum; a star's pseudo-continuum runs below it by as much as its lines are deep. And no
//! model is perfect: some lines are wrong in every star. So the polynomials between the two continua are fitted with the
//! labels (integrated out, and then looked up), and the errors of a star grow by the misfit it shows.

use std::ops::Range;

use burn::tensor::Tensor;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::chi_square::Minimum;
use super::compress::Compressor;
use super::compressed::CompressedSpectra;
use super::examine::{Comparison, structure};
use super::fit::FitSettings;
use super::fitted::Fitted;
use super::marginal::LinearNuisance;
use super::nuisance::{NuisanceSettings, chip_polynomials, in_whole_spectrum, on_chip, velocity_column};
use super::prior::{GaussianPrior, Nuisances};
use super::problem::{Problem, Samplable, near};
use super::solve::solve;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::likelihood::inverse_total_variance;
use crate::models::misfit::Misfit;
use crate::models::payne::{Network, Payne};
use crate::models::{Estimated, FluxPrediction, LabelEstimates, LabelEstimator, SpectralModel, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::stats::robust::median_in_place;
use crate::training::payne_checkpoint::TrainedPayne;

/// Tolerance of the fits whose continuum and weights are not yet final, in units of the formal error.
const ROUGH_TOLERANCE: f64 = 0.1;

/// How an emulator meets real spectra.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RefineSettings {
    /// What becomes of the inputs that are not labels.
    pub nuisances: Nuisances,
    /// Rounds of fitting, normalizing by the fitted model, and weighting.
    pub rounds: usize,
    /// Degree of the polynomial on each chip that carries the model's continuum to the star's.
    pub continuum_order: usize,
    /// Degrees of freedom of the Student t distribution assumed of residuals: the smaller, the less outliers count.
    pub student_nu: f64,
}

impl Default for RefineSettings {
    fn default() -> Self {
        Self { nuisances: Nuisances::Free, rounds: 6, continuum_order: 4, student_nu: 4.0 }
    }
}

/// Estimates labels by fitting an emulator of physical spectra.
#[derive(Debug, Clone)]
pub struct FittedPayne {
    fitted: Fitted<Network>,
    payne: Payne,
    /// First pixel of each chip, and Chebyshev polynomials at its pixels, [n_pixels of the chip, order + 1].
    chips: Vec<(usize, Tensor<2>)>,
    settings: RefineSettings,
    fit: FitSettings,
    compute: Compute,
}

impl FittedPayne {
    /// Prepares an emulator for fitting.
    pub fn new(model: &TrainedPayne, fit: &FitSettings, settings: &RefineSettings, compute: &Compute) -> Self {
        let payne = model.payne.clone();
        let inputs = model.training_inputs.view();
        let prior = GaussianPrior::conditional(model.scaler.scale(inputs).view(), model.n_labels, settings.nuisances);
        // Spectra are summed up where they lie, the fit itself goes to the CPU, and the network with it.
        let network = payne.network.brought(&compute.on_cpu());
        let compressor = Compressor::new(network, payne.theta(), payne.s2.val(), compute);
        let scaler = model.scaler.clone();
        Self {
            fitted: Fitted::with_prior(compressor, scaler, inputs, model.n_labels, prior, fit),
            chips: chip_polynomials(&model.preparation.grid, settings.continuum_order, compute),
            payne,
            settings: settings.clone(),
            fit: fit.clone(),
            compute: compute.clone(),
        }
    }

    /// Chip by chip the polynomial that best turns the model into the spectra, [n_stars, n_pixels].
    ///
    /// ```text
    /// minimize sum_j w_j (f_j - m_j P_j . a)^2
    /// ```
    fn level(&self, spectra: &SpectraBatch, weight: &Tensor<2>, model: &Tensor<2>) -> Tensor<2> {
        let n_stars = spectra.n_stars();
        let levels = self.chips.iter().map(|(start, basis)| {
            let [n_pixels, n_terms] = basis.dims();
            let of_chip = |matrix: &Tensor<2>| matrix.clone().narrow(1, *start, n_pixels);
            let (f, w, m) = (of_chip(&spectra.flux), of_chip(weight), of_chip(model));
            let pairs = (basis.clone().reshape([n_pixels, n_terms, 1]) * basis.clone().reshape([n_pixels, 1, n_terms]))
                .reshape([n_pixels, n_terms * n_terms]);
            let weighted = w * m;
            let normal = (weighted.clone() * of_chip(model)).matmul(pairs).reshape([n_stars, n_terms, n_terms]);
            let right = (weighted * f).matmul(basis.clone()).reshape([n_stars, n_terms, 1]);
            let coefficients = solve(normal, right).reshape([n_stars, n_terms]);
            coefficients.matmul(basis.clone().transpose())
        });
        let level = Tensor::cat(levels.collect(), 1);
        // A chip without data has no polynomial; one far from 1 is no correction of a continuum.
        let lost = level.clone().lower_scalar(0.2).bool_or(level.clone().greater_scalar(5.0));
        level.mask_fill(lost, 1.0)
    }

    /// The spectra divided by these polynomials.
    fn follow_model(&self, spectra: &SpectraBatch, weight: &Tensor<2>, model: &Tensor<2>) -> SpectraBatch {
        let level = self.level(spectra, weight, model);
        SpectraBatch { flux: spectra.flux.clone() / level.clone(), ivar: spectra.ivar.clone() * level.clone() * level }
    }

    /// Spectrum of each minimum, [n_stars, n_pixels].
    fn model_flux(&self, minimum: &Minimum) -> Tensor<2> {
        let (n_stars, n_inputs) = minimum.scaled_labels.dim();
        let flat: Vec<f64> = minimum.scaled_labels.iter().map(|v| if v.is_finite() { *v } else { 0.0 }).collect();
        self.payne.predict_flux(self.compute.tensor(&flat, [n_stars, n_inputs])).mean
    }

    /// Rounds of fitting, normalizing by the fitted model, and weighting.
    fn refine(&self, spectra: &SpectraBatch) -> Result<Refined> {
        // Before the last round there is nothing to be exact about: the spectra are still to change.
        let rough = FitSettings { tolerance: ROUGH_TOLERANCE.max(self.fit.tolerance), ..self.fit.clone() };
        let n_rounds = self.settings.rounds.max(1);
        let effort = |round: usize| if round + 1 == n_rounds { &self.fit } else { &rough };
        let (compressed, n_pixels) = self.fitted.compress(spectra)?;
        let minimum = self.fitted.minimize(compressed.clone(), None, effort(0));
        let n_minima = minimum.n_minima.clone();
        let chi2 = minimum.chi2.clone();
        let mut refined = Refined { compressed, minimum, n_pixels, chi2, weighted: spectra.clone() };
        for round in 1..n_rounds {
            let model = self.model_flux(&refined.minimum);
            let followed = self.follow_model(spectra, &refined.weighted.ivar, &model);
            let (weight, chi2) = self.robust_weights(&followed, &model);
            let weighted = SpectraBatch { flux: followed.flux, ivar: weight };
            let (mut compressed, n_pixels) = self.fitted.compress(&weighted)?;
            for chip in &self.chips {
                let columns = on_chip(&model, chip);
                let nuisance = LinearNuisance::of_columns(self.fitted.compressor(), &weighted, chip.0, columns);
                compressed = compressed.marginalize(nuisance);
            }
            let start = near(&refined.minimum);
            let minimum = self.fitted.minimize(compressed.clone(), Some(start), effort(round));
            refined = Refined { compressed, minimum, n_pixels, chi2, weighted };
        }
        refined.minimum.n_minima = n_minima;
        Ok(refined)
    }

    /// Inverse variances that make room for the star's own misfit, and less of it in its worst pixels; and chi^2 with the
    /// errors as given.
    ///
    /// ```text
    /// w = (nu + 1) / (nu + r^2 / (sigma^2 + tau^2)) / (sigma^2 + tau^2)
    /// ```
    ///
    /// tau is what the robust scatter of the residuals exceeds their errors by; the factor is that of the Student t
    /// distribution (Lange, Little & Taylor 1989, J. Am. Stat. Assoc. 84, 881, Eq. 8).
    fn robust_weights(&self, spectra: &SpectraBatch, model: &Tensor<2>) -> (Tensor<2>, Vec<f64>) {
        let (n_stars, n_pixels) = (spectra.n_stars(), spectra.n_pixels());
        let residual = to_f64(spectra.flux.clone() - model.clone());
        let mut weight = to_f64(spectra.ivar.clone());
        let nu = self.settings.student_nu;
        let star = |residual: &[f64], weight: &mut [f64]| -> f64 {
            let good: Vec<usize> = (0..residual.len()).filter(|j| weight[*j] > 0.0).collect();
            if good.is_empty() {
                return f64::NAN;
            }
            let mut work: Vec<f64> = good.iter().map(|j| residual[*j].abs()).collect();
            let scatter = 1.4826 * median_in_place(&mut work);
            work.iter_mut().zip(&good).for_each(|(work, j)| *work = 1.0 / weight[*j]);
            let excess = (scatter * scatter - median_in_place(&mut work)).max(0.0);
            let mut chi2 = 0.0;
            for j in good {
                let squared = residual[j] * residual[j];
                chi2 += weight[j] * squared;
                let variance = 1.0 / weight[j] + excess;
                weight[j] = (nu + 1.0) / (nu + squared / variance) / variance;
            }
            chi2
        };
        let chi2 = residual
            .par_chunks(n_pixels)
            .zip(weight.par_chunks_mut(n_pixels))
            .map(|(residual, weight)| star(residual, weight))
            .collect();
        (self.compute.tensor(&weight, [n_stars, n_pixels]), chi2)
    }
}

/// What the rounds of [`FittedPayne::refine`] end with.
struct Refined {
    /// chi^2 of the last round, its continuum integrated out.
    compressed: CompressedSpectra<Network>,
    minimum: Minimum,
    n_pixels: Vec<usize>,
    /// chi^2 with the errors as given.
    chi2: Vec<f64>,
    /// The spectra of the last round: divided by their polynomials, and with its weights.
    weighted: SpectraBatch,
}

impl LabelEstimator for FittedPayne {
    fn n_labels(&self) -> usize {
        self.fitted.n_labels()
    }

    /// Misfit is that of the last round's spectra, with the errors as given: what makes room for it cannot show it. The best fit has
    /// the continuum of the star: the model times the polynomials.
    fn estimate(&self, spectra: &SpectraBatch, wanted: Wanted) -> Result<Estimated> {
        let Refined { minimum, n_pixels, chi2, weighted, .. } = self.refine(spectra)?;
        let model = self.model_flux(&minimum);
        let best_fit = || FluxPrediction {
            mean: model.clone() * self.level(spectra, &weighted.ivar, &model),
            variance: self.payne.s2.val().unsqueeze_dim(0),
        };
        let best_fit = wanted.best_fit.then(best_fit);
        let misfit = match wanted.misfit {
            true => self.misfit(self.follow_model(spectra, &weighted.ivar, &model), model, &minimum),
            false => Misfit::none(spectra.n_stars()),
        };
        Ok(Estimated { labels: self.fitted.describe(&Minimum { chi2, ..minimum }, n_pixels), misfit, best_fit })
    }
}

impl FittedPayne {
    /// How well the model describes spectra that follow its continuum.
    fn misfit(&self, followed: SpectraBatch, model: Tensor<2>, minimum: &Minimum) -> Misfit {
        let comparison = Comparison {
            residual: followed.flux.clone() - model,
            weight: inverse_total_variance(followed.ivar.clone(), self.payne.s2.val().unsqueeze()),
            ivar: followed.ivar,
        };
        let mut others = vec![structure(&followed.flux, &comparison.weight, self.fitted.compressor().pivot_flux())];
        others.extend(self.fitted.distances(minimum));
        let pixels: Vec<Range<usize>> =
            self.chips.iter().map(|(start, basis)| *start..start + basis.dims()[0]).collect();
        comparison.measure(&pixels, None, &others)
    }
}

impl Samplable for FittedPayne {
    type ChiSquare = CompressedSpectra<Network>;

    /// The last round's: chip by chip the continuum is integrated out, and the errors make room for the misfit.
    fn problem(
        &self,
        spectra: &SpectraBatch,
        nuisances: &NuisanceSettings,
        grid: &WavelengthGrid,
    ) -> Result<Problem<CompressedSpectra<Network>>> {
        if nuisances.continuum.is_some() {
            let refusal = "nuisances.continuum: an emulator's continuum is integrated out as it is; leave it out";
            return Err(Error::Config(refusal.into()));
        }
        let Refined { mut compressed, mut minimum, n_pixels, weighted, .. } = self.refine(spectra)?;
        if let Some(velocity) = nuisances.velocity_kms {
            // Together with the polynomials: the two share their pixels.
            let model = self.model_flux(&minimum);
            let polynomials = self.chips.iter().map(|chip| in_whole_spectrum(on_chip(&model, chip), chip.0, &model));
            let shift = velocity_column(&model, grid, velocity, &self.compute);
            let columns = Tensor::cat(polynomials.chain([shift]).collect(), 1);
            let nuisance = LinearNuisance::of_columns(self.fitted.compressor(), &weighted, 0, columns);
            compressed = self.fitted.compress(&weighted)?.0.marginalize(nuisance);
            let n_minima = minimum.n_minima.clone();
            minimum = self.fitted.minimize(compressed.clone(), Some(near(&minimum)), &self.fit);
            minimum.n_minima = n_minima;
        }
        Ok(Problem { chi_square: compressed, penalty: self.fitted.prior().cloned(), minimum, n_pixels })
    }

    fn scaler(&self) -> &LabelScaler {
        self.fitted.scaler()
    }

    fn describe(&self, minimum: &Minimum, n_pixels: Vec<usize>) -> LabelEstimates {
        self.fitted.describe(minimum, n_pixels)
    }
}
