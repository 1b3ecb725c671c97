//! Trained kernel ridge regressions in a folder: weights, and everything needed to use them on a raw spectrum.

use std::path::Path;

use burn::module::Param;
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::checkpoint::{Preparation, TrainedCannon, load_fill, save_fill};
use super::model_file::{self, matrix, rows};
use super::weights::{self, MODEL_FILE};
use crate::data::files;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::models::ridge::{Kernel, Ridge, RidgeConfig};
use crate::schema;
use crate::spectra::labels::LabelScaler;

/// The kind `model.json` names.
pub const KIND: &str = "ridge";

/// A trained regression with its labels' scaling and the preparation of its spectra.
#[derive(Debug, Clone)]
pub struct TrainedRidge {
    /// The regression.
    pub ridge: Ridge,
    /// What it was trained with.
    pub config: RidgeConfig,
    /// Labels to scaled labels.
    pub scaler: LabelScaler,
    /// Treatment of spectra.
    pub preparation: Preparation,
    /// Labels of the training stars, [n_stars, n_labels]: the hull.
    pub training_labels: Array2<f64>,
    /// Covariance of the scaled labels' leave-one-out errors, [n_labels, n_labels].
    pub error_covariance: Array2<f64>,
    /// The part of it that noise and masked pixels of a usual training star explain, by label.
    pub usual_variance: Vec<f64>,
    /// The Cannon that fills masked pixels, where one does.
    pub fill: Option<TrainedCannon>,
}

/// What `model.json` holds.
#[derive(Serialize, Deserialize)]
struct ModelFile {
    config: RidgeConfig,
    scaler: LabelScaler,
    preparation: Preparation,
    training_labels: Vec<Vec<f64>>,
    error_covariance: Vec<Vec<f64>>,
    usual_variance: Vec<f64>,
    n_anchors: usize,
    n_hidden: usize,
}

impl TrainedRidge {
    /// Free parameters.
    pub fn n_parameters(&self) -> usize {
        let [n_rows, n_labels] = self.ridge.weights.dims();
        (n_rows + 1) * n_labels
    }

    /// Writes the folder. Each file appears whole or not at all, the description last.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Checkpoint`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::create_folder(folder)?;
        save_fill(self.fill.as_ref(), folder)?;
        weights::write(folder, &self.ridge, |store| store)?;
        let description = ModelFile {
            config: self.config.clone(),
            scaler: self.scaler.clone(),
            preparation: self.preparation.clone(),
            training_labels: rows(&self.training_labels),
            error_covariance: rows(&self.error_covariance),
            usual_variance: self.usual_variance.clone(),
            n_anchors: self.ridge.anchors.as_ref().map_or(0, |anchors| anchors.dims()[0]),
            n_hidden: self.ridge.hidden.dims()[0],
        };
        model_file::write(folder, KIND, &description)
    }

    /// Reads a folder written by [`TrainedRidge::save`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is absent, of another kind or version, or inconsistent.
    pub fn load(folder: &Path, compute: &Compute) -> Result<Self> {
        let failed = |detail: String| Error::Checkpoint { path: folder.to_path_buf(), detail };
        let file: ModelFile = model_file::read(folder, KIND)?;
        schema::check(&file.config)
            .map_err(|(key, problem)| failed(format!("{MODEL_FILE}: config.{key} {problem}; was it edited?")))?;
        let (n_labels, n_pixels) = (file.scaler.n_labels(), file.preparation.grid.n_pixels());
        let is_square =
            file.error_covariance.len() == n_labels && file.error_covariance.iter().all(|row| row.len() == n_labels);
        if !file.scaler.is_consistent()
            || !file.preparation.is_consistent()
            || file.config.check().is_err()
            || file.training_labels.iter().any(|row| row.len() != n_labels)
            || !is_square
            || file.usual_variance.len() != n_labels
            || (file.n_anchors == 0) != (file.config.kernel == Kernel::Linear)
        {
            return Err(failed(format!("{MODEL_FILE} contradicts itself; was it edited?")));
        }
        if let Some(problem) = weights::covariance_problem(&file.error_covariance) {
            return Err(failed(format!("{MODEL_FILE}: {problem}; was it edited?")));
        }
        if let Some(k) = file.usual_variance.iter().position(|variance| !(0.0..f64::INFINITY).contains(variance)) {
            let (name, value) = (&file.scaler.names[k], file.usual_variance[k]);
            return Err(failed(format!("{MODEL_FILE}: usual_variance of {name} is {value}; was it edited?")));
        }
        let n_spectra = (file.n_anchors as u128).saturating_add(file.n_hidden as u128);
        // Before memory is asked for them.
        weights::open(folder, n_spectra.saturating_mul(n_pixels as u128))?;
        let zeros = |rows: usize, columns: usize| {
            Param::from_tensor(compute.tensor_f32(vec![0.0; rows * columns], [rows, columns]))
        };
        let n_weights = if file.n_anchors == 0 { n_pixels } else { file.n_anchors };
        let template = Ridge {
            mean: zeros(1, n_pixels),
            pixel_weights: zeros(1, n_pixels),
            anchors: (file.n_anchors > 0).then(|| zeros(file.n_anchors, n_pixels)),
            weights: zeros(n_weights, n_labels),
            sharpness: zeros(1, n_labels),
            intercept: zeros(1, n_labels),
            hidden: zeros(file.n_hidden, n_pixels),
        };
        let ridge = weights::load(folder, template, compute)?;
        let fill = load_fill(file.config.masked, folder, compute)?;
        Ok(Self {
            ridge,
            training_labels: matrix(folder, &file.training_labels, (file.training_labels.len(), n_labels))?,
            error_covariance: matrix(folder, &file.error_covariance, (n_labels, n_labels))?,
            usual_variance: file.usual_variance,
            config: file.config,
            scaler: file.scaler,
            preparation: file.preparation,
            fill,
        })
    }
}
