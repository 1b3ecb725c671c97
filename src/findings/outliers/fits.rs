//! What other fits of a star say: from its catalogue labels, from many starts, and from the training stars it looks like.

use burn::tensor::Tensor;
use ndarray::{Array2, Axis};

use crate::device::{Compute, to_f64};
use crate::error::Result;
use crate::inference::fit::FitSettings;
use crate::inference::fitted::FittedCannon;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::prepared::PreparedSet;
use crate::stats::robust::median;
use crate::training::checkpoint::TrainedCannon;

/// A minimum of a star's chi^2.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherFit {
    /// Labels there, in their own units.
    pub labels: Vec<f64>,
    /// chi^2 there.
    pub chi2: f64,
}

/// Fits of one star beside the one that was reported.
#[derive(Debug, Clone, PartialEq)]
pub struct OtherFits {
    /// Starts that were tried.
    pub n_starts: usize,
    /// Distinct minima in which they ended.
    pub n_minima: usize,
    /// The lowest minimum of all those starts.
    pub lowest: OtherFit,
    /// The minimum reached from the catalogue's labels; none where they are missing.
    pub from_catalogue: Option<OtherFit>,
}

/// Fits some stars again; `None` for one that cannot be fitted.
///
/// # Errors
/// [`crate::error::Error::Mismatch`] if the spectra are on another grid than the model.
pub(super) fn fit_again(
    model: &TrainedCannon,
    set: &PreparedSet,
    stars: &[usize],
    settings: &FitSettings,
    n_starts: usize,
    compute: &Compute,
) -> Result<Vec<Option<OtherFits>>> {
    let settings = FitSettings { starts: n_starts, ..settings.clone() };
    let fitted = FittedCannon::new(model, &settings, compute);
    let mut found = Vec::with_capacity(stars.len());
    for stars in stars.chunks(settings.batch_stars) {
        let (flux, ivar) = set.spectra.of(stars)?;
        let spectra = SpectraBatch::new(flux.view(), ivar.view(), compute);
        let (compressed, lowest, n_pixels) = fitted.fit(&spectra)?;
        let labels = set.labels.select(Axis(0), stars);
        let known: Vec<bool> = labels.rows().into_iter().map(|row| row.iter().all(|l| l.is_finite())).collect();
        let start = model.scaler.scale(labels.view()).mapv(|label| if label.is_finite() { label } else { 0.0 });
        let from_catalogue = fitted.minimize(compressed, Some(start), &settings);
        let own_units = |scaled: &Array2<f64>| model.scaler.unscale(scaled.view());
        let (labels_catalogue, labels_lowest) =
            (own_units(&from_catalogue.scaled_labels), own_units(&lowest.scaled_labels));
        for star in 0..stars.len() {
            let fit = |labels: &Array2<f64>, chi2: f64| OtherFit { labels: labels.row(star).to_vec(), chi2 };
            let is_fitted = n_pixels[star] > labels.ncols() && lowest.chi2[star].is_finite();
            found.push(is_fitted.then(|| {
                OtherFits {
                    n_starts,
                    n_minima: lowest.n_minima[star],
                    lowest: fit(&labels_lowest, lowest.chi2[star]),
                    from_catalogue: (known[star] && from_catalogue.converged[star])
                        .then(|| fit(&labels_catalogue, from_catalogue.chi2[star])),
                }
            }));
        }
    }
    Ok(found)
}

/// Training stars whose labels count as those of a star's look-alikes.
const N_LOOK_ALIKES: usize = 7;
/// Relative accuracy to which two spectra of the same star agree, whatever their noise.
const FLOOR: f64 = 0.01;
/// Training stars that a star is compared with at most: among so many there are some like it, if there are any.
const MOST_COMPARED: usize = 5000;
/// Training stars in memory together.
const BLOCK_STARS: usize = 256;

/// Median labels of the training stars whose spectra are most like each star's, [n_stars, n_labels]; NaN where there is
/// nothing to compare. No model has a say in it.
///
/// # Errors
/// Those of reading.
pub(super) fn look_alikes(
    set: &PreparedSet,
    stars: &[usize],
    training: &[usize],
    compute: &Compute,
) -> Result<Array2<f64>> {
    let n_labels = set.label_names.len();
    let mut labels = Array2::from_elem((stars.len(), n_labels), f64::NAN);
    let mut trainable: Vec<usize> = training.iter().copied().filter(|star| set.can_train(*star)).collect();
    let step = trainable.len().div_ceil(MOST_COMPARED).max(1);
    trainable = trainable.into_iter().step_by(step).collect();
    let mut distances = vec![Vec::with_capacity(trainable.len()); stars.len()];
    if stars.is_empty() {
        return Ok(labels);
    }
    let (flux, weight) = depths(set, stars, compute)?;
    for block in trainable.chunks(BLOCK_STARS) {
        let (others, ivar) = depths(set, block, compute)?;
        let seen = ivar.greater_scalar(0.0).float().cast(compute.dtype()).transpose();
        let others = others.transpose() * seen.clone();
        let common = weight.clone().matmul(seen.clone());
        let squares = weight.clone().matmul(others.clone() * others.clone())
            - (weight.clone() * flux.clone()).matmul(others) * 2.0
            + (weight.clone() * flux.clone() * flux.clone()).matmul(seen);
        let [common, squares] = [common, squares].map(to_f64);
        for (star, distances) in distances.iter_mut().enumerate() {
            let of_star = star * block.len()..(star + 1) * block.len();
            let pairs = squares[of_star.clone()].iter().zip(&common[of_star]).zip(block);
            distances.extend(
                pairs
                    .filter(|((_, common), other)| **common > 0.0 && **other != stars[star])
                    .map(|((square, common), other)| (square / common, *other)),
            );
        }
    }
    for (mut distances, mut labels) in distances.into_iter().zip(labels.rows_mut()) {
        distances.sort_by(|a, b| a.0.total_cmp(&b.0));
        distances.truncate(N_LOOK_ALIKES);
        for (k, label) in labels.iter_mut().enumerate() {
            *label = median(&distances.iter().map(|(_, other)| set.labels[[*other, k]]).collect::<Vec<f64>>());
        }
    }
    Ok(labels)
}

/// Flux below the continuum, and its weight; [n_stars, n_pixels] both.
fn depths(set: &PreparedSet, stars: &[usize], compute: &Compute) -> Result<(Tensor<2>, Tensor<2>)> {
    let (flux, ivar) = set.spectra.of(stars)?;
    let spectra = SpectraBatch::new(flux.view(), ivar.view(), compute);
    let weight = spectra.ivar.clone() / (spectra.ivar * (FLOOR * FLOOR) + 1.0);
    Ok((spectra.flux - 1.0, weight))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::models::cannon::Cannon;
    use crate::models::vectorizer::Vectorizer;
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::labels::LabelScaler;
    use crate::spectra::quality::Quality;
    use crate::spectra::stored::Spectra;
    use crate::training::checkpoint::Preparation;

    const PIXELS: usize = 30;

    /// Spectra f = 0.9 + slope x + bend x^2 of one label x: nearly the same at x and -x.
    fn coefficients(pixel: usize) -> [f64; 3] {
        [0.9, 0.002 * (pixel as f64 * 0.9).sin(), 0.05 * (pixel as f64 * 1.7).cos()]
    }

    /// The flux of a star; as prepared sets have it where a star has no data.
    fn flux_at(x: f64, pixel: usize) -> f64 {
        let [constant, slope, bend] = coefficients(pixel);
        if x.is_nan() { 1.0 } else { constant + slope * x + bend * x * x }
    }

    fn set(labels: &[f64], spectra: &[f64]) -> PreparedSet {
        let n = labels.len();
        PreparedSet {
            grid: WavelengthGrid::from_pixel_numbers(PIXELS),
            continuum_pixels: vec![false; PIXELS],
            ids: (0..n).map(|star| star.to_string()).collect(),
            label_names: vec!["teff".into()],
            labels: Array2::from_shape_fn((n, 1), |(star, _)| labels[star]),
            label_errors: Array2::from_elem((n, 1), f64::NAN),
            snr: vec![100.0; n],
            spectra: Spectra::in_memory(
                Array2::from_shape_fn((n, PIXELS), |(star, pixel)| flux_at(spectra[star], pixel) as f32),
                Array2::from_shape_fn((n, PIXELS), |(star, _)| if spectra[star].is_nan() { 0.0 } else { 1e6 }),
            ),
            quality: vec![Quality { n_inside: PIXELS, n_good: PIXELS, ..Quality::default() }; n],
        }
    }

    fn model(compute: &Compute) -> TrainedCannon {
        let theta: Vec<f64> = (0..3).flat_map(|term| (0..PIXELS).map(move |pixel| coefficients(pixel)[term])).collect();
        TrainedCannon {
            cannon: Cannon::from_coefficients(Vectorizer::new(1, 2), &theta, &[1e-8; PIXELS], compute),
            scaler: LabelScaler { names: vec!["teff".into()], pivot: vec![0.0], scale: vec![1.0] },
            preparation: Preparation {
                grid: WavelengthGrid::from_pixel_numbers(PIXELS),
                pixmask: Default::default(),
                continuum: Default::default(),
                continuum_pixels: Vec::new(),
                gaps: Vec::new(),
            },
            training_labels: Array2::from_shape_fn((41, 1), |(star, _)| star as f64 * 0.1 - 2.0),
            latent_labels: Array2::zeros((41, 0)),
        }
    }

    #[test]
    fn a_fit_from_the_catalogue_ends_on_its_side_and_many_starts_in_the_lowest_minimum() {
        let compute = Compute::flex(Precision::F64);
        // Two stars at +1.5; the second's catalogue says -1.4, where there is a minimum too. The third has no pixel, the
        // fourth no catalogue label.
        let set = set(&[1.4, -1.4, 0.5, f64::NAN], &[1.5, 1.5, f64::NAN, 1.5]);
        let found = fit_again(&model(&compute), &set, &[0, 1, 2, 3], &FitSettings::default(), 8, &compute).unwrap();
        for star in [0, 1, 3] {
            let fits = found[star].as_ref().unwrap();
            assert!((fits.lowest.labels[0] - 1.5).abs() < 0.01 && fits.n_minima == 2, "{fits:?}");
        }
        let side = |star: usize| found[star].as_ref().unwrap().from_catalogue.as_ref().map(|fit| fit.labels[0]);
        assert!((side(0).unwrap() - 1.5).abs() < 0.01 && side(1).unwrap() < -1.3, "{found:?}");
        assert!(found[1].as_ref().unwrap().from_catalogue.as_ref().unwrap().chi2 > 100.0);
        assert!(found[2].is_none() && side(3).is_none());
    }

    #[test]
    fn look_alikes_are_the_training_stars_of_the_nearest_spectra() {
        let compute = Compute::flex(Precision::F32);
        // 40 training stars whose labels are ten times what their spectra show, one of them without label; then two to
        // be compared, one of them without a pixel.
        let mut spectra: Vec<f64> = (0..40).map(|star| f64::from(star) * 0.05).collect();
        let mut labels: Vec<f64> = spectra.iter().map(|x| 10.0 * x).collect();
        labels[20] = f64::NAN;
        spectra.extend([1.0, f64::NAN]);
        labels.extend([99.0, 99.0]);
        let set = set(&labels, &spectra);
        let training: Vec<usize> = (0..40).collect();
        let found = look_alikes(&set, &[40, 41, 19], &training, &compute).unwrap();
        // Stars 16 to 19 and 21 to 24 are nearest to 1.0 (star 20): the median of the nearest seven is 9.5 to 10.5.
        assert!((found[[0, 0]] - 10.0).abs() <= 0.51, "{found}");
        assert!(found[[1, 0]].is_nan());
        // A training star is not its own look-alike: 19 finds 16 to 18 and 21 to 24, or 15 to 18 and 21 to 23.
        assert!((found[[2, 0]] - 9.5).abs() <= 1.01 && found[[2, 0]] != 9.5, "{found}");
        assert!(look_alikes(&set, &[40], &[], &compute).unwrap()[[0, 0]].is_nan());
        assert_eq!(look_alikes(&set, &[], &training, &compute).unwrap().nrows(), 0);
    }
}
