//! Do stars with near-identical labels have near-identical normalized spectra? A test of masks and continuum that needs
//! no model.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::spectra::labels::LabelScaler;
use crate::spectra::prepared::PreparedSet;
use crate::stats::robust::median;

/// Stars searched for pairs at most: the search compares all with all.
const MOST_STARS: usize = 2000;
/// Closest pairs that the shown one is picked from.
const MOST_SHOWN: usize = 20;
/// Share of the stars whose nearest neighbours in label space count as look-alikes.
const CLOSEST: f64 = 0.1;

/// How far apart the normalized fluxes of pairs of stars are: medians over pairs of the root mean square difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LookAlikes {
    /// Pairs of nearest neighbours in label space compared.
    pub n_pairs: usize,
    /// Median distance of a pair, in standard deviations of the labels.
    pub label_distance: f64,
    /// Flux difference of a pair.
    pub flux_difference: f64,
    /// Flux difference that noise alone would make.
    pub noise: f64,
    /// Flux difference of as many pairs drawn without regard to labels.
    pub flux_difference_unlike: f64,
}

/// Two stars of a set that are near to each other in their labels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pair {
    /// Their rows.
    pub stars: [usize; 2],
    /// Distance of their labels, in standard deviations of the labels.
    pub label_distance: f64,
    /// Root mean square flux difference.
    pub flux_difference: f64,
    /// The difference that noise alone would make.
    pub noise: f64,
}

/// Compares the closest pairs of a set; `None` where there are too few stars with labels.
///
/// # Errors
/// Those of reading.
pub fn compare(set: &PreparedSet) -> Result<Option<LookAlikes>> {
    let mut stars: Vec<usize> = (0..set.n_stars()).filter(|star| set.can_train(*star)).collect();
    stars.truncate(MOST_STARS);
    let n = stars.len();
    let Some(mut pairs) = nearest_pairs(set, &stars) else { return Ok(None) };
    pairs.truncate(((CLOSEST * n as f64) as usize).max(1));
    let differences = |pairs: &mut dyn Iterator<Item = (usize, usize)>| {
        let measured = pairs.filter_map(|(a, b)| difference(set, stars[a], stars[b]).transpose());
        let (flux, noise): (Vec<f64>, Vec<f64>) = measured.collect::<Result<Vec<_>>>()?.into_iter().unzip();
        Ok::<_, Error>((median(&flux), median(&noise)))
    };
    let (flux_difference, noise) = differences(&mut pairs.iter().map(|(_, a, b)| (*a, *b)))?;
    let (flux_difference_unlike, _) = differences(&mut (0..pairs.len()).map(|i| (i % n, (i + n / 2) % n)))?;
    let distances: Vec<f64> = pairs.iter().map(|(distance, _, _)| *distance).collect();
    Ok(Some(LookAlikes {
        n_pairs: pairs.len(),
        label_distance: median(&distances),
        flux_difference,
        noise,
        flux_difference_unlike,
    }))
}

/// Of the closest pairs among stars without flags whose SNR is above their median, the one whose flux difference is the middle
/// one: noise is small there, and neither a wrong label nor luck decides what is seen.
///
/// # Errors
/// Those of reading.
pub fn typical(set: &PreparedSet) -> Result<Option<Pair>> {
    let healthy: Vec<usize> = (0..set.n_stars()).filter(|star| set.flags(*star) == 0).collect();
    let limit = median(&healthy.iter().map(|star| set.snr[*star]).collect::<Vec<_>>());
    let mut stars: Vec<usize> = healthy.into_iter().filter(|star| set.snr[*star] >= limit).collect();
    stars.truncate(MOST_STARS);
    let measured = |(label_distance, a, b): &(f64, usize, usize)| {
        let difference = difference(set, stars[*a], stars[*b]).transpose()?;
        let pair = |(flux_difference, noise)| Pair {
            stars: [stars[*a], stars[*b]],
            label_distance: *label_distance,
            flux_difference,
            noise,
        };
        Some(difference.map(pair))
    };
    let Some(pairs) = nearest_pairs(set, &stars) else { return Ok(None) };
    let mut closest: Vec<Pair> = pairs.iter().take(MOST_SHOWN).filter_map(measured).collect::<Result<_>>()?;
    closest.sort_by(|a, b| a.flux_difference.total_cmp(&b.flux_difference));
    Ok(closest.get(closest.len() / 2).copied())
}

/// Every star with its nearest neighbour in label space, each pair once, as (distance, positions in `stars`), the closest pairs first; `None`
/// of fewer than four stars.
fn nearest_pairs(set: &PreparedSet, stars: &[usize]) -> Option<Vec<(f64, usize, usize)>> {
    let labels = set.labels.select(ndarray::Axis(0), stars);
    let scaled = LabelScaler::fit(&set.label_names, labels.view()).ok()?.scale(labels.view());
    let distance =
        |a: usize, b: usize| scaled.row(a).iter().zip(scaled.row(b)).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
    let n = stars.len();
    let nearest = |a: usize| {
        let others = (0..n).filter(|b| *b != a).map(|b| (distance(a, b), b));
        others.min_by(|x, y| x.0.total_cmp(&y.0))
    };
    let nearest: Vec<(f64, usize)> = (0..n).filter_map(nearest).collect();
    // Of two stars that are each other's nearest, one pair.
    let is_first = |(a, (_, b)): &(usize, &(f64, usize))| a < b || nearest[*b].1 != *a;
    let pairs = nearest.iter().enumerate().filter(is_first).map(|(a, (distance, b))| (*distance, a, *b));
    let mut pairs: Vec<(f64, usize, usize)> = pairs.collect();
    pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
    (n >= 4).then_some(pairs)
}

/// Root mean square flux difference of two stars over the pixels good in both, and the one expected from noise.
fn difference(set: &PreparedSet, a: usize, b: usize) -> Result<Option<(f64, f64)>> {
    let (flux, ivar) = set.spectra.of(&[a, b])?;
    let (mut squares, mut variances, mut n) = (0.0, 0.0, 0.0);
    for pixel in 0..set.n_pixels() {
        let (va, vb) = (f64::from(ivar[[0, pixel]]), f64::from(ivar[[1, pixel]]));
        if va > 0.0 && vb > 0.0 {
            squares += f64::from(flux[[0, pixel]] - flux[[1, pixel]]).powi(2);
            variances += 1.0 / va + 1.0 / vb;
            n += 1.0;
        }
    }
    Ok((n > 0.0).then(|| ((squares / n).sqrt(), (variances / n).sqrt())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::quality::Quality;
    use crate::spectra::stored::Spectra;
    use ndarray::Array2;

    #[test]
    fn twins_differ_by_their_noise_and_strangers_by_their_labels() {
        // 40 stars, two of each of 20 labels; flux = 1 - 0.1 label, alternating noise of +-0.01.
        let label = |star: usize| (star / 2) as f64;
        let noise = |star: usize, pixel: usize| if (star + pixel).is_multiple_of(2) { 0.01 } else { -0.01 };
        let quality = Quality { n_inside: 50, n_good: 50, ..Quality::default() };
        let set = PreparedSet {
            grid: WavelengthGrid::from_pixel_numbers(50),
            continuum_pixels: vec![false; 50],
            ids: (0..40).map(|n| n.to_string()).collect(),
            label_names: vec!["teff".into()],
            labels: Array2::from_shape_fn((40, 1), |(n, _)| label(n)),
            label_errors: Array2::from_elem((40, 1), f64::NAN),
            snr: vec![100.0; 40],
            spectra: Spectra::in_memory(
                Array2::from_shape_fn((40, 50), |(n, j)| (1.0 - 0.1 * label(n) + noise(n, j)) as f32),
                Array2::from_elem((40, 50), 1e4),
            ),
            quality: vec![quality; 40],
        };
        let found = compare(&set).unwrap().unwrap();
        assert_eq!((found.n_pairs, found.label_distance), (4, 0.0));
        assert!((found.flux_difference - 0.02).abs() < 1e-6, "{found:?}"); // +0.01 against -0.01 everywhere
        assert!((found.noise - 0.01 * 2_f64.sqrt()).abs() < 1e-6);
        assert!(found.flux_difference_unlike > 0.9); // half the list away: ten labels
        let pair = typical(&set).unwrap().unwrap();
        assert!(pair.label_distance == 0.0 && pair.stars[0] / 2 == pair.stars[1] / 2, "{pair:?}");
        let two = set.rows(&[0, 1]);
        assert!(compare(&two).unwrap().is_none() && typical(&two).unwrap().is_none());
    }
}
