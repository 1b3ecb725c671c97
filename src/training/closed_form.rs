//! Closed-form training of The Cannon: every pixel at once, as matrix products over all stars.
//!
//! For pixels j and stars n, with `w = 1 / (sigma^2 + s2)`: the normal matrices of *all* pixels are one product
//! `w^T [x_t x_u]`, theta follows by Cholesky, and since dL/ds2 needs no derivative of theta (envelope theorem),
//! s2 is the root of `sum w^2 r^2 - w` found by Newton steps on the residuals at hand. theta moves little with s2, so
//! theta and s2 alternate to convergence; `scatter_bracket.rs` proves beforehand where the global maximum is.

use ndarray::{ArrayView2, s};
use serde::{Deserialize, Serialize};

use super::anchor_report::AnchorReport;
use super::cannon_config::CannonConfig;
use super::nuisance_choice::NuisanceChoice;
use super::pixel_block::{Block, ExactDesign, TrainedBlock};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::pairs::products_of_columns;
use crate::models::vectorizer::Vectorizer;

/// What training found, for the run's report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// Stars that trained.
    pub n_stars: usize,
    /// Pixels trained.
    pub n_valid_pixels: usize,
    /// Pixels without enough informative stars, excluded from every fit.
    pub n_invalid_pixels: usize,
    /// Pixels among these of more informative stars than terms, which do not determine the coefficients all the same, or only
    /// absurd ones: beyond 3 times what was seen, at labels of the training stars.
    #[serde(default)]
    pub n_refused_pixels: usize,
    /// Pixels trained in f64 where f32 was asked for: their normal matrices are too badly conditioned for it.
    #[serde(default)]
    pub n_f64_pixels: usize,
    /// Valid pixels whose likelihood in s2 shows several hills even on the finest trial grid; the highest was climbed.
    pub n_several_hills_pixels: usize,
    /// Valid pixels best described without intrinsic scatter.
    pub n_zero_scatter_pixels: usize,
    /// Valid pixels whose training stopped before it converged.
    pub n_unconverged_pixels: usize,
    /// Training stars left out, since a correlated Cannon does not describe them.
    #[serde(default)]
    pub n_left_out: usize,
    /// Training stars that a correlated Cannon does not describe, whether left out or not.
    #[serde(default)]
    pub n_beyond_description: usize,
    /// How the number of nuisance spectra was chosen, where it was left to training stars held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nuisance_choice: Option<NuisanceChoice>,
    /// How far an anchored Cannon went from physics; none for others.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub anchor: Option<AnchorReport>,
    /// How the descent went; none where there was none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub descent: Option<DescentReport>,
}

/// What only a descent has to report.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DescentReport {
    /// Epochs of every block of pixels.
    pub epochs: usize,
    /// Mean of -ln L of Ness et al. 2015, Eq. 4, per star and pixel with information; no penalty counts.
    pub final_loss: f64,
    /// Coefficients, constants aside, that an L1 penalty or a window made exactly 0, in valid pixels.
    pub n_zero_coefficients: usize,
}

/// Trains a Cannon.
///
/// Of the settings only those count that a closed form has.
///
/// # Shapes
/// - scaled_labels: `[n_stars, n_labels]`, finite
/// - flux, ivar: `[n_stars, n_pixels]`, finite
///
/// # Errors
/// [`Error::TooFewStars`] if there are not more stars than terms.
pub fn train(
    config: &CannonConfig,
    scaled_labels: ArrayView2<f64>,
    flux: ArrayView2<f32>,
    ivar: ArrayView2<f32>,
    compute: &Compute,
) -> Result<(Cannon, TrainingReport)> {
    let (n_stars, n_labels) = scaled_labels.dim();
    let n_pixels = flux.ncols();
    let vectorizer = Vectorizer::new(n_labels, config.order);
    let n_terms = vectorizer.n_terms();
    enough_stars(n_stars, n_terms)?;
    let labels: Vec<f64> = scaled_labels.iter().copied().collect();
    let design = vectorizer.design_matrix(compute.tensor(&labels, [n_stars, n_labels]));
    let pairs = products_of_columns(&design, compute);
    let exact = ExactDesign::new(&vectorizer, &labels);
    let blocks: Vec<_> = (0..n_pixels)
        .step_by(config.block_pixels)
        .map(|start| start..(start + config.block_pixels).min(n_pixels))
        .collect();
    // Blocks are small enough for a core's cache; splitting their products further costs more than it brings.
    let trained: Vec<TrainedBlock> = compute.each_on_its_own_thread(&blocks, |pixels| {
        let columns = |matrix: &ArrayView2<f32>| {
            let values = matrix.slice(s![.., pixels.clone()]).iter().copied().collect();
            compute.tensor_f32(values, [n_stars, pixels.len()])
        };
        let here = (design.clone(), pairs.clone());
        Block::new(columns(&flux), columns(&ivar), here, &exact, compute).train(config.scatter_trials)
    });

    let mut theta = vec![0.0; n_terms * n_pixels];
    let mut s2 = Vec::with_capacity(n_pixels);
    let mut report = TrainingReport { n_stars, ..TrainingReport::default() };
    for block in trained {
        for (column, pixel) in (s2.len()..s2.len() + block.s2.len()).enumerate() {
            for term in 0..n_terms {
                theta[term * n_pixels + pixel] = block.theta[column * n_terms + term];
            }
        }
        s2.extend(block.s2);
        report.n_several_hills_pixels += block.n_several_hills;
        report.n_unconverged_pixels += block.n_unconverged;
        report.n_refused_pixels += block.n_refused;
        report.n_f64_pixels += block.n_in_f64;
    }
    report.n_invalid_pixels = s2.iter().filter(|s2| **s2 >= NO_INFORMATION).count();
    report.n_valid_pixels = n_pixels - report.n_invalid_pixels;
    report.n_zero_scatter_pixels = s2.iter().filter(|s2| **s2 == 0.0).count();
    Ok((Cannon::from_coefficients(vectorizer, &theta, &s2, compute), report))
}

/// Refuses to train with as many stars as coefficients or fewer.
pub(super) fn enough_stars(n_stars: usize, n_terms: usize) -> Result<()> {
    if n_stars > n_terms {
        return Ok(());
    }
    Err(Error::TooFewStars {
        stage: format!("training {n_terms} coefficients per pixel"),
        n_stars,
        needed: n_terms + 1,
        remedy: "widen the selection, or lower the order of the model".into(),
    })
}
