//! Closed-form training of The Cannon: every pixel at once, as matrix products over all stars.
//!
//! For pixels j and stars n, with `w = 1 / (sigma^2 + s2)`: the normal matrices of *all* pixels are one product
//! `w^T [x_t x_u]`, theta follows by Cholesky, and since dL/ds2 needs no derivative of theta (envelope theorem),
//! s2 is the root of `sum w^2 r^2 - w` found by Newton steps on the residuals at hand. theta moves little with s2, so
//! theta and s2 alternate to convergence; `scatter_bracket.rs` proves beforehand where the global maximum is.

use std::collections::BTreeMap;

use burn::tensor::Tensor;
use ndarray::ArrayView2;
use serde::{Deserialize, Serialize};

use super::anchor_report::AnchorReport;
use super::cannon_config::CannonConfig;
use super::label_choice::LabelChoice;
use super::nuisance_choice::NuisanceChoice;
use super::pixel_block::{Block, ExactDesign, TrainedBlock};
use super::term_layout::{PixelGroup, TermLayout};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::pairs::products_of_columns;
use crate::models::vectorizer::Vectorizer;
use crate::spectra::stored::SpectraOf;

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
    /// Coefficients of valid pixels that are nil since a label in their term does not act there; those of a descent are told by it.
    #[serde(default, skip_serializing_if = "is_nil")]
    pub n_nil_coefficients: usize,
    /// Share of the pixels inside the chips in which each label with windows acts, where the emulator found them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub window_shares: BTreeMap<String, f64>,
    /// Training stars left out, since a correlated Cannon does not describe them with their labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Training stars that a correlated Cannon does not describe, whether left out or not.
    #[serde(default)]
    pub n_beyond_description: usize,
    /// How the number of nuisance spectra was chosen, where it was left to training stars held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nuisance_choice: Option<NuisanceChoice>,
    /// Which of the catalogue's labels train, where that was left to training stars held out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub label_choice: Option<LabelChoice>,
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

fn is_nil(n: &usize) -> bool {
    *n == 0
}

/// Trains a Cannon in which all labels act everywhere, in all terms.
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
    let layout = TermLayout::everywhere(Vectorizer::new(scaled_labels.ncols(), config.order));
    train_terms(config, &layout, scaled_labels, (flux, ivar).into(), compute)
}

/// The design of all stars, [n_stars, n_terms], and its column products.
type Design = (Tensor<2>, Tensor<2>);

/// Trains a Cannon of some terms, each where it acts.
///
/// Pixels in which the same terms act are trained together, with no more columns in their design than these terms: a label that
/// acts in few pixels costs little elsewhere.
///
/// Spectra that are not in memory are read some pixels at a time, as many as [`crate::memory::Memory::of_block`] allows.
///
/// # Shapes
/// As [`train`].
///
/// # Errors
/// [`Error::TooFewStars`] if there are not more stars than terms that act in some pixel; errors of reading.
pub fn train_terms(
    config: &CannonConfig,
    layout: &TermLayout,
    scaled_labels: ArrayView2<f64>,
    spectra: SpectraOf,
    compute: &Compute,
) -> Result<(Cannon, TrainingReport)> {
    let (n_stars, n_labels) = scaled_labels.dim();
    let n_pixels = spectra.n_pixels();
    let vectorizer = layout.vectorizer.clone();
    let n_terms = vectorizer.n_terms();
    let groups = layout.groups(n_pixels);
    enough_stars(n_stars, groups.iter().map(|group| group.terms.len()).max().unwrap_or(n_terms))?;
    let labels: Vec<f64> = scaled_labels.iter().copied().collect();
    let design = vectorizer.design_matrix(compute.tensor(&labels, [n_stars, n_labels]));
    let with_pairs = |design: Tensor<2>| -> Design { (design.clone(), products_of_columns(&design)) };
    // All blocks share one design, or each has its own: there may be hundreds.
    let shared =
        (!layout.has_windows()).then(|| (with_pairs(design.clone()), ExactDesign::new(&vectorizer, &labels, None)));
    let most_pixels = spectra.most_pixels(compute.memory().of_block());
    let block_pixels = block_pixels(config, n_stars, compute).min(most_pixels);
    let blocks: Vec<(&PixelGroup, &[usize])> =
        groups.iter().flat_map(|group| group.pixels.chunks(block_pixels).map(move |pixels| (group, pixels))).collect();
    let mut trained: Vec<TrainedBlock> = Vec::with_capacity(blocks.len());
    for blocks in blocks.chunks((most_pixels / block_pixels).max(1)) {
        let mut pixels: Vec<usize> = blocks.iter().flat_map(|(_, pixels)| pixels.iter().copied()).collect();
        pixels.sort_unstable();
        let held = spectra.hold(&pixels)?;
        // Blocks are small enough for a core's cache; splitting their products further costs more than it brings.
        trained.extend(compute.each_on_its_own_thread(blocks, |(group, pixels)| {
            let [flux, ivar] = held.columns(pixels).map(|values| compute.tensor_f32(values, [n_stars, pixels.len()]));
            let train = |here: Design, exact: &ExactDesign| {
                Block::new(flux, ivar, here, exact, compute).train(config.scatter_trials)
            };
            match &shared {
                Some((here, exact)) => train(here.clone(), exact),
                None => {
                    let here = with_pairs(design.clone().select(1, compute.indices(&group.terms)));
                    train(here, &ExactDesign::new(&vectorizer, &labels, Some(&group.terms)))
                }
            }
        }));
    }

    let mut theta = vec![0.0; n_terms * n_pixels];
    let mut s2 = vec![NO_INFORMATION; n_pixels];
    let mut report = TrainingReport { n_stars, ..TrainingReport::default() };
    for (block, (group, pixels)) in trained.into_iter().zip(blocks) {
        let n_acting = group.terms.len();
        for (column, &pixel) in pixels.iter().enumerate() {
            for (position, &term) in group.terms.iter().enumerate() {
                theta[term * n_pixels + pixel] = block.theta[column * n_acting + position];
            }
            s2[pixel] = block.s2[column];
            report.n_nil_coefficients += if s2[pixel] < NO_INFORMATION { n_terms - n_acting } else { 0 };
        }
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

/// Pixels that are trained together: as the settings have it, or fewer where their matrices would take more than an eighth of the memory
/// allowed, on all threads.
fn block_pixels(config: &CannonConfig, n_stars: usize, compute: &Compute) -> usize {
    /// Matrices of stars and pixels that a block has at a time.
    const MATRICES: usize = 12;
    let of_pixel = MATRICES * n_stars.max(1) * compute.dtype().size() * rayon::current_num_threads();
    let most = compute.memory().of_block() as usize / of_pixel;
    config.block_pixels.min(most.max(1))
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
