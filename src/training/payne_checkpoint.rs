//! A trained emulator in a folder: matrices in half precision, and everything needed to use them on a spectrum.

use std::path::Path;

use burn::store::{FloatCastAdapter, HalfPrecisionAdapter, ModuleAdapter, SafetensorsStore};
use burn::tensor::DType;
use ndarray::{Array2, ArrayView2};
use serde::{Deserialize, Serialize};

use super::checkpoint::Preparation;
use super::model_file;
use super::weights::{self, MODEL_FILE, WEIGHTS_FILE};
use crate::data::files;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::SpectralModel;
use crate::models::payne::Payne;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;

/// What `kind` says in the model file.
pub const KIND: &str = "payne";
/// The emulator that comes with maury, and its description.
const SHIPPED: &str = "checkpoints/payne-hband";
const SHIPPED_FILE: &str = include_str!("../../checkpoints/payne-hband/model.json");

/// A trained emulator with the scaling of its inputs.
#[derive(Debug, Clone)]
pub struct TrainedPayne {
    /// The emulator.
    pub payne: Payne,
    /// Inputs to scaled inputs; labels come first.
    pub scaler: LabelScaler,
    /// How many of the inputs are labels.
    pub n_labels: usize,
    /// Treatment of spectra before the fit.
    pub preparation: Preparation,
    /// Inputs of the models it was trained on, [n_models, n_inputs]: starts of the fit, the hull, the prior of nuisances.
    pub training_inputs: Array2<f64>,
}

/// What `model.json` holds.
#[derive(Serialize, Deserialize)]
struct ModelFile {
    hidden: Vec<usize>,
    n_components: usize,
    n_labels: usize,
    scaler: LabelScaler,
    preparation: Preparation,
    /// Scaled inputs, row by row.
    training_inputs: Vec<Vec<f64>>,
}

impl TrainedPayne {
    /// Writes the folder. Each file appears whole or not at all, the description last.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Checkpoint`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::create_folder(folder)?;
        weights::write(folder, &self.payne, |store| {
            // From f32: the adapter passes f64 on as it is.
            store.with_to_adapter(FloatCastAdapter::to(DType::F32).chain(HalfPrecisionAdapter::new()))
        })?;
        let scaled = self.scaler.scale(self.training_inputs.view());
        // A thousandth of a standard deviation is far below what distinguishes two models.
        let rounded = scaled.rows().into_iter().map(|row| row.mapv(|v| (v * 1e3).round() / 1e3).to_vec()).collect();
        let description = ModelFile {
            hidden: self.payne.hidden(),
            n_components: self.payne.n_components(),
            n_labels: self.n_labels,
            scaler: self.scaler.clone(),
            preparation: self.preparation.clone(),
            training_inputs: rounded,
        };
        model_file::write(folder, KIND, &description)
    }

    /// Reads a folder written by [`TrainedPayne::save`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is absent, of another kind or version, or inconsistent.
    pub fn load(folder: &Path, compute: &Compute) -> Result<Self> {
        let file = model_file::read(folder, KIND)?;
        Self::restore(folder, file, |n_weights| weights::open(folder, n_weights), compute)
    }

    /// The emulator of red giants in the H band that is part of the program, `checkpoints/payne-hband`.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it was built in damaged.
    pub fn shipped(compute: &Compute) -> Result<Self> {
        let weights = include_bytes!("../../checkpoints/payne-hband/weights.safetensors");
        Self::from_memory(Path::new(SHIPPED), SHIPPED_FILE, weights, compute)
    }

    /// The grid and the names of all inputs of the emulator of a folder, or of the one that comes with maury. Its weights are not read.
    ///
    /// # Errors
    /// [`Error::Checkpoint`].
    pub(super) fn described(folder: Option<&Path>) -> Result<(WavelengthGrid, Vec<String>)> {
        let file: ModelFile = match folder {
            Some(folder) => model_file::read(folder, KIND)?,
            None => model_file::parse(Path::new(SHIPPED), SHIPPED_FILE, KIND)?,
        };
        Ok((file.preparation.grid, file.scaler.names))
    }

    /// Normalized flux, [n_spectra, n_pixels], of inputs in their own units, [n_spectra, n_inputs].
    pub fn spectra(&self, inputs: ArrayView2<f64>, compute: &Compute) -> Array2<f32> {
        let scaled = self.scaler.scale(inputs);
        let flux = to_f64(self.payne.predict_flux(compute.matrix(scaled.view())).mean);
        let flux = flux.into_iter().map(|flux| flux as f32).collect();
        Array2::from_shape_vec((scaled.nrows(), self.payne.n_pixels()), flux).expect("one flux per star and pixel")
    }

    /// Reads the content of `model.json` and `weights.safetensors` from memory; messages name `origin`.
    ///
    /// # Errors
    /// As [`TrainedPayne::load`].
    pub fn from_memory(origin: &Path, description: &str, bytes: &[u8], compute: &Compute) -> Result<Self> {
        let open = |n_weights| {
            weights::fits(origin, n_weights, bytes.len() as u64)?;
            Ok(SafetensorsStore::from_bytes(Some(bytes.to_vec())))
        };
        Self::restore(origin, model_file::parse(origin, description, KIND)?, open, compute)
    }

    /// `open` gives the weights where they can be as many as it is told.
    fn restore(
        origin: &Path,
        file: ModelFile,
        open: impl FnOnce(u128) -> Result<SafetensorsStore>,
        compute: &Compute,
    ) -> Result<Self> {
        let failed = |detail: String| Error::Checkpoint { path: origin.to_path_buf(), detail };
        let n_inputs = file.scaler.n_labels();
        let sizes = [&[n_inputs, file.n_components], file.hidden.as_slice()].concat();
        if !file.scaler.is_consistent()
            || !file.preparation.is_consistent()
            || !(1..=n_inputs).contains(&file.n_labels)
            || sizes.iter().any(|size| !(1..=100_000).contains(size))
            || file.training_inputs.iter().any(|row| row.len() != n_inputs || row.iter().any(|v| !v.is_finite()))
        {
            return Err(failed(format!("{MODEL_FILE} contradicts itself; was it edited?")));
        }
        let n_pixels = file.preparation.grid.n_pixels();
        let widths = [&[n_inputs], file.hidden.as_slice(), &[file.n_components]].concat();
        let pairs = widths.windows(2).map(|pair| pair[0] as u128 * pair[1] as u128);
        let store = open(pairs.sum::<u128>() + file.n_components as u128 * n_pixels as u128)?;
        let template = Payne::nil(n_inputs, &file.hidden, file.n_components, n_pixels, compute);
        let mut store = store.with_from_adapter(FloatCastAdapter::to(compute.dtype()));
        let payne = weights::filled(origin, template, &mut store)?;
        let theta = to_f64(payne.theta());
        let s2 = to_f64(payne.s2.val());
        if theta.iter().any(|weight| !weight.is_finite()) || s2.iter().any(|s2| !s2.is_finite() || *s2 < 0.0) {
            return Err(failed(format!("{WEIGHTS_FILE} holds numbers that are no model; it is damaged")));
        }
        let scaled = model_file::matrix(origin, &file.training_inputs, (file.training_inputs.len(), n_inputs))?;
        Ok(Self {
            payne,
            training_inputs: file.scaler.unscale(scaled.view()),
            scaler: file.scaler,
            n_labels: file.n_labels,
            preparation: file.preparation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::spectra::continuum::{ContinuumMethod, ContinuumSettings};
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::pixmask::PixmaskSettings;
    use burn::module::Param;

    fn trained(compute: &Compute) -> TrainedPayne {
        let mut payne = Payne::nil(3, &[4], 2, 5, compute);
        payne.network = crate::models::payne::Network::from_linear(
            3,
            &[4],
            2,
            &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
            &mut <rand_chacha::ChaCha8Rng as rand::SeedableRng>::seed_from_u64(1),
            compute,
        );
        payne.mean = Param::from_tensor(compute.tensor(&[0.9, 0.8, 0.7, 0.123_456_7, 1.0], [5]));
        let components: Vec<f64> = (0..10).map(|i| f64::from(i).sin() * 0.01).collect();
        payne.components.weight = Param::from_tensor(compute.tensor(&components, [2, 5]));
        TrainedPayne {
            payne,
            scaler: LabelScaler {
                names: ["teff", "logg", "c_fe"].map(String::from).to_vec(),
                pivot: vec![4500.0, 2.0, 0.0],
                scale: vec![300.0, 0.5, 0.1],
            },
            n_labels: 2,
            preparation: Preparation {
                grid: WavelengthGrid::from_pixel_numbers(5),
                pixmask: PixmaskSettings::default(),
                continuum: ContinuumSettings { method: ContinuumMethod::None, ..ContinuumSettings::default() },
                continuum_pixels: vec![],
                gaps: Vec::new(),
            },
            training_inputs: ndarray::array![[4500.0, 2.5, 0.1], [4800.0, 2.0, -0.1]],
        }
    }

    #[test]
    fn an_emulator_comes_back_to_half_precision_of_its_matrices() {
        let folder = tempfile::tempdir().unwrap();
        let compute = Compute::flex(Precision::F32);
        let model = trained(&compute);
        model.save(folder.path()).unwrap();
        let back = TrainedPayne::load(folder.path(), &compute).unwrap();
        assert_eq!(to_f64(back.payne.mean.val()), to_f64(model.payne.mean.val()), "the mean keeps its precision");
        let flux =
            |model: &TrainedPayne| to_f64(model.payne.predict_flux(compute.tensor(&[1.0, -1.0, 0.5], [1, 3])).mean);
        for (a, b) in flux(&back).iter().zip(flux(&model)) {
            // Half precision keeps 11 bits of the components, which are below 0.01.
            assert!((a - b).abs() < 2e-5, "{a} {b}");
        }
        assert_eq!(back.n_labels, 2);
        assert!((&back.training_inputs - &model.training_inputs).iter().all(|d| d.abs() < 0.2));
        let wide = TrainedPayne::load(folder.path(), &Compute::flex(Precision::F64)).unwrap();
        assert_eq!(wide.payne.mean.val().dtype(), DType::F64);
    }

    #[test]
    fn damaged_folders_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let compute = Compute::flex(Precision::F32);
        trained(&compute).save(folder.path()).unwrap();
        let json = folder.path().join(MODEL_FILE);
        let text = std::fs::read_to_string(&json).unwrap();
        std::fs::write(&json, text.replace("\"n_components\":2", "\"n_components\":3")).unwrap();
        let refusal = TrainedPayne::load(folder.path(), &compute).unwrap_err().to_string();
        assert!(refusal.contains(WEIGHTS_FILE), "{refusal}");
        std::fs::write(&json, text.replace("\"n_labels\":2", "\"n_labels\":9")).unwrap();
        assert!(TrainedPayne::load(folder.path(), &compute).unwrap_err().to_string().contains("contradicts"));
    }
}
