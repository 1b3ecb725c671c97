//! What the explorer of a run shows of its test stars' spectra, gathered fold by fold while spectra and models are at hand.
//!
//! Memory holds what the page will: a spectrum takes some 10 kB of it, one of APOGEE's 8575 pixels.

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::ArrayView1;
use rayon::prelude::*;

use crate::data::page_bytes::PageBytes;
use crate::data::relative_path::relative_path;
use crate::error::Result;
use crate::inference::shown_fits::ShownFits;
use crate::kinds::context::Context;
use crate::kinds::kind::FoldResult;
use crate::spectra::quality::star_flags;
use crate::spectra::quantized::Quantized;
use crate::spectra::split::{Fold, draw};
use crate::stars::source::Source;
use crate::stats::robust::{median, robust_scatter};

/// Bytes of a page that spectra, observed and fitted, may take; with all else it stays below 15 MB.
pub(super) const SPECTRA_BYTES: f64 = 12.5e6;
/// Part of them that best fits may take.
const FITS_PART: f64 = 0.4;
/// Bytes of a page for each number of 16 bits, in base64.
pub(super) const BYTES_PER_NUMBER: f64 = 2.0 * 4.0 / 3.0;
/// Stars that a page may show, and the numbers they may have together.
pub const MOST_STARS: usize = 5_000;
const MOST_NUMBERS: usize = 400_000;
/// Spectra that are read at once.
const BATCH: usize = 64;
/// Stars this many robust scatters from the middle of estimate - catalogue come first, the farthest first of all.
const FAR: f64 = 3.0;

/// What is shown of the stars of a run.
#[derive(Debug, Clone)]
pub struct Explored {
    /// Stars that were tested or labelled.
    pub n_test: usize,
    /// Those of the folds so far.
    pub(super) n_seen: usize,
    /// In words, which stars have their spectra there, where not all have.
    pub rule: String,
    /// Stars of the page, in the order of the test stars.
    pub stars: Vec<ExploredStar>,
    /// Best fits, by fold.
    pub folds: Vec<Vec<ExploredModel>>,
}

/// What is shown of a star beside its labels.
#[derive(Debug, Clone)]
pub struct ExploredStar {
    /// Its place among them.
    pub place: usize,
    /// The fold that tested it, and its place among the fold's stars of the page.
    pub of_fold: (usize, usize),
    /// Its spectrum, as [`Quantized::text`]; none where the page would be too large, or the star has none.
    pub spectrum: Option<String>,
    /// The spectrum's file, seen from the run's folder; empty where it came as a row of an array.
    pub file: String,
    /// Fraction of its pixels that was masked.
    pub fraction_masked: f64,
}

/// Best fits of a model for a fold's stars of the page.
#[derive(Debug, Clone)]
pub struct ExploredModel {
    /// The model.
    pub name: String,
    /// Spectra of which its best fits are sums.
    pub n_vectors: usize,
    /// These, as [`crate::spectra::spectrum_basis::SpectrumBasis::text`].
    pub vectors: String,
    /// Amounts of each, [n_stars, n_vectors]; NaN of a star without a fit.
    pub amounts: String,
    /// The model's own scatter, `[n_pixels]`; NaN where it knows nothing.
    pub scatter: String,
}

impl Explored {
    /// Of no fold as yet, of so many test stars in all.
    pub fn new(n_test: usize) -> Self {
        let rule = format!(
            "those that are {FAR} robust scatters or more from their catalogue labels, or that a model does not describe, come first, the \
             others in an order drawn by the run's seed, until the page is large enough"
        );
        Self { n_test, n_seen: 0, rule, stars: Vec::new(), folds: Vec::new() }
    }

    /// Whether any star has its spectrum here.
    pub fn has_spectra(&self) -> bool {
        self.stars.iter().any(|star| star.spectrum.is_some())
    }

    /// Adds a fold's test stars, which follow those of the folds before.
    ///
    /// # Errors
    /// Those of reading spectra.
    pub fn add_fold(
        &mut self,
        context: &Context,
        (source, folder): (&Source, &Path),
        fold: &Fold,
        results: &BTreeMap<String, FoldResult>,
    ) -> Result<()> {
        let part = fold.test.len() as f64 / self.n_test.max(1) as f64;
        let set = context.set;
        let numbers = set.label_names.len() * 3 * (1 + results.len());
        let most = MOST_STARS.min(MOST_NUMBERS / numbers.max(1));
        let mut order = worth_seeing(context, fold, results);
        order.truncate((most as f64 * part).ceil() as usize);

        let fits: Vec<(&String, &ShownFits)> =
            results.iter().filter_map(|(name, result)| Some((name, result.shown_fits.as_ref()?))).collect();
        let bytes_of_vector = BYTES_PER_NUMBER * set.n_pixels() as f64;
        let most_vectors = (FITS_PART * SPECTRA_BYTES * part / fits.len().max(1) as f64 / bytes_of_vector) as usize;
        let shown: Vec<(&ShownFits, usize)> =
            fits.iter().map(|(_, fits)| (*fits, fits.basis.len().min(most_vectors))).collect();
        let mut left = (SPECTRA_BYTES * part) as usize;
        for (_, n_vectors) in &shown {
            left = left.saturating_sub((bytes_of_vector * *n_vectors as f64) as usize);
        }

        let mut spectra = BTreeMap::new();
        'all: for places in order.chunks(BATCH) {
            let rows: Vec<usize> = places.iter().map(|place| fold.test[*place]).collect();
            let (flux, ivar) = set.spectra.of(&rows)?;
            let text = |index: usize| {
                let reference =
                    shown.iter().find_map(|(fits, n)| Some(fits.basis.sum(amounts(fits, places[index], *n)?)));
                observed(flux.row(index), ivar.row(index), reference)
            };
            let texts: Vec<Option<String>> = (0..places.len()).into_par_iter().map(text).collect();
            for (place, text) in places.iter().zip(texts) {
                let Some(text) = text else { continue };
                if text.len() > left {
                    break 'all;
                }
                left -= text.len();
                spectra.insert(*place, text);
            }
        }

        order.sort_unstable();
        let models = fits.iter().zip(&shown);
        let models = models.map(|((name, fits), (_, n_vectors))| ExploredModel::new(name, fits, *n_vectors, &order));
        self.folds.push(models.collect());
        let fold_number = self.folds.len() - 1;
        self.stars.extend(order.iter().enumerate().map(|(index, place)| ExploredStar {
            place: self.n_seen + place,
            of_fold: (fold_number, index),
            spectrum: spectra.remove(place),
            file: source.file(fold.test[*place]).and_then(|file| relative_path(folder, file)).unwrap_or_default(),
            fraction_masked: set.quality[fold.test[*place]].fraction_masked(),
        }));
        self.n_seen += fold.test.len();
        Ok(())
    }
}

impl ExploredModel {
    /// Of the fits at some places, as sums of the first vectors.
    pub(super) fn new(name: &str, fits: &ShownFits, n_vectors: usize, places: &[usize]) -> Self {
        let of_star = |place: &usize| {
            let mut own = amounts(fits, *place, n_vectors).map_or_else(|| vec![f32::NAN; n_vectors], <[f32]>::to_vec);
            own.resize(n_vectors, 0.0);
            own
        };
        Self {
            name: name.to_string(),
            n_vectors,
            vectors: fits.basis.text(n_vectors),
            amounts: PageBytes::default().with_f32(places.iter().flat_map(of_star)).text(),
            scatter: PageBytes::default().with_f32(fits.scatter.iter().copied()).text(),
        }
    }
}

/// A spectrum as a page carries it, beside its best fit or, without one, beside 1; none without information.
pub(super) fn observed(flux: ArrayView1<f32>, ivar: ArrayView1<f32>, best_fit: Option<Vec<f32>>) -> Option<String> {
    let reference = best_fit.unwrap_or_else(|| vec![1.0; flux.len()]);
    let has_data = ivar.iter().any(|ivar| *ivar > 0.0);
    has_data.then(|| Quantized::new(&flux.to_vec(), &ivar.to_vec(), &reference).text())
}

/// A star's amounts of the first vectors; none where it has a fit that takes more of them, or no fit.
fn amounts(fits: &ShownFits, place: usize, n_vectors: usize) -> Option<&[f32]> {
    let amounts = fits.amounts.get(place)?.as_deref()?;
    (amounts.len() <= n_vectors).then_some(amounts)
}

/// The places of a fold's test stars, those most worth seeing first: the farthest from their catalogue in any label by any model, and
/// those that a model does not describe; then all others in an order drawn by the seed.
fn worth_seeing(context: &Context, fold: &Fold, results: &BTreeMap<String, FoldResult>) -> Vec<usize> {
    let set = context.set;
    let mut distance = vec![0.0_f64; fold.test.len()];
    for result in results.values() {
        for k in 0..set.label_names.len() {
            let of_star = |(place, row): (usize, &usize)| result.estimates.labels[[place, k]] - set.labels[[*row, k]];
            let differences: Vec<f64> = fold.test.iter().enumerate().map(of_star).collect();
            let known: Vec<f64> = differences.iter().copied().filter(|value| value.is_finite()).collect();
            let (middle, scatter) = (median(&known), robust_scatter(&known));
            for (distance, difference) in distance.iter_mut().zip(&differences) {
                let own = (difference - middle).abs() / scatter;
                *distance = distance.max(if own.is_finite() { own } else { 0.0 });
            }
        }
        for (distance, flags) in distance.iter_mut().zip(&result.estimates.flags) {
            *distance = distance.max(if flags & star_flags::BAD_FIT != 0 { FAR } else { 0.0 });
        }
    }
    let mut places: Vec<usize> = (0..fold.test.len()).collect();
    let id = |place: usize| set.ids[fold.test[place]].as_str();
    draw(&mut places, "maury spectra of a page", context.settings.seed, id);
    // Stable: the others keep their drawn order.
    let far = |place: &usize| if distance[*place] >= FAR { distance[*place] } else { 0.0 };
    places.sort_by(|a, b| far(b).total_cmp(&far(a)));
    places
}
