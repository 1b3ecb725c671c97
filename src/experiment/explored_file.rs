//! What a page shows of spectra that were labelled, from the file of their best fits.

use std::path::Path;

use ndarray::{Array1, Array2};

use super::explored::{BYTES_PER_NUMBER, Explored, ExploredModel, ExploredStar, SPECTRA_BYTES, observed};
use crate::data::fits::FitsReader;
use crate::error::Result;
use crate::inference::shown_fits::ShownFits;

/// HDUs of the file: flux, inverse variance, best fit, the table of the stars, the model's scatter.
const HDUS: [usize; 5] = [1, 2, 3, 7, 8];

impl Explored {
    /// Of labelled spectra of which no more is known than their files and how much of each was masked; `stars` are their places among
    /// so many.
    pub fn of_labelled(n_all: usize, stars: &[usize], files: Vec<String>, fraction_masked: &[f64]) -> Self {
        let star = |(index, file): (usize, String)| ExploredStar {
            place: stars[index],
            of_fold: (0, index),
            spectrum: None,
            file,
            fraction_masked: fraction_masked[index],
        };
        let rule = "the first in their table that have room on a page".to_string();
        let stars = files.into_iter().enumerate().map(star).collect();
        Self { n_test: n_all, n_seen: n_all, rule, stars, folds: Vec::new() }
    }

    /// Adds spectra and best fits by a model from a file that `maury label --spectra` wrote, as far as the page has room. Only rows whose
    /// star has the name it has here are taken.
    ///
    /// # Errors
    /// [`crate::error::Error::Fits`].
    pub fn add_best_fits(&mut self, path: &Path, model: &str, n_pixels: usize, ids: &[String]) -> Result<()> {
        let [flux_hdu, ivar_hdu, model_hdu, stars_hdu, scatter_hdu] = HDUS;
        let mut file = FitsReader::open(path)?;
        let (n_rows, _) = file.table_layout(stars_hdu)?;
        let known = file.texts(stars_hdu, "id", 0..n_rows)?;
        let mut fits = ShownFits::new(n_pixels);
        fits.scatter = file.image_section(scatter_hdu, 0..n_pixels)?;
        let mut left = SPECTRA_BYTES;
        for (star, id) in self.stars.iter_mut().zip(ids) {
            if known.get(star.place).is_none_or(|known| known.trim() != id.trim()) {
                fits.amounts.push(None);
                continue;
            }
            let row = star.place * n_pixels..(star.place + 1) * n_pixels;
            let mut image = |hdu: usize| file.image_section::<f32>(hdu, row.clone());
            let (flux, ivar, best_fit) = (image(flux_hdu)?, image(ivar_hdu)?, image(model_hdu)?);
            let ivar = Array1::from(ivar);
            let is_fitted = best_fit.iter().any(|flux| flux.is_finite());
            let known = best_fit.into_iter().map(|flux| if flux.is_finite() || !is_fitted { flux } else { 0.0 });
            let best_fit = Array2::from_shape_vec((1, n_pixels), known.collect()).expect("a row has its pixels");
            let n_before = fits.basis.len();
            let amounts = fits.basis.add(best_fit.view(), ivar.view().insert_axis(ndarray::Axis(0))).pop().flatten();
            left -= BYTES_PER_NUMBER * ((fits.basis.len() - n_before) * n_pixels) as f64;
            let reference = amounts.as_ref().map(|amounts| fits.basis.sum(amounts));
            fits.amounts.push(amounts);
            let flux: Array1<f32> = flux.into_iter().map(|flux| if flux.is_finite() { flux } else { 1.0 }).collect();
            let text = observed(flux.view(), ivar.view(), reference).unwrap_or_default();
            left -= text.len() as f64;
            if left < 0.0 {
                break;
            }
            star.spectrum = Some(text).filter(|text| !text.is_empty());
        }
        let places: Vec<usize> = (0..self.stars.len()).collect();
        self.folds.push(vec![ExploredModel::new(model, &fits, fits.basis.len(), &places)]);
        Ok(())
    }
}
