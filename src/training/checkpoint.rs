//! A trained Cannon in a folder: weights, and everything needed to use them on a raw spectrum.

use std::ops::Range;
use std::path::Path;

use burn::tensor::Tensor;
use ndarray::{Array2, Axis, concatenate};
use serde::{Deserialize, Serialize};

use super::model_file::{self, matrix, rows};
use super::weights::{self, MODEL_FILE, WEIGHTS_FILE};
use crate::data::files;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::SpectralModel;
use crate::models::cannon::{Cannon, NO_INFORMATION};
use crate::models::network::input::Masked;
use crate::models::vectorizer::{Entry, Vectorizer};
use crate::spectra::continuum::{ContinuumSettings, MOST_ORDER};
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::labels::LabelScaler;
use crate::spectra::pixmask::{PixmaskSettings, Place};

/// The kind `model.json` names.
pub const KIND: &str = "cannon";

/// How raw spectra were turned into what the model was trained on; new spectra must be treated alike.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Preparation {
    /// The grid of every spectrum.
    pub grid: WavelengthGrid,
    /// Which pixels were masked.
    pub pixmask: PixmaskSettings,
    /// How spectra were normalized.
    pub continuum: ContinuumSettings,
    /// Pixels the pseudo-continuum goes through, as pixel numbers.
    pub continuum_pixels: Vec<usize>,
    /// Pixels that no star had measured, of grids whose gaps only the spectra tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gaps: Vec<Range<usize>>,
}

impl Preparation {
    /// Whether its parts can belong together; a file may have been edited.
    pub(super) fn is_consistent(&self) -> bool {
        self.continuum_pixels.iter().all(|pixel| *pixel < self.grid.n_pixels())
            && self.gaps.iter().all(|gap| gap.start <= gap.end && gap.end <= self.grid.n_pixels())
            && self.grid.is_covered_by_chips()
            && self.continuum.order <= MOST_ORDER
    }

    /// What the pixels of a spectrum can be, `[n_pixels]`.
    pub fn places(&self) -> Vec<Place> {
        let mut on_chip = self.grid.chip_cores();
        self.gaps.iter().for_each(|gap| on_chip[gap.clone()].fill(false));
        self.pixmask.places(&self.grid, &on_chip)
    }

    /// The continuum pixels as one boolean per pixel.
    pub fn is_continuum(&self) -> Vec<bool> {
        let mut is_continuum = vec![false; self.grid.n_pixels()];
        for pixel in &self.continuum_pixels {
            is_continuum[*pixel] = true;
        }
        is_continuum
    }
}

/// A trained Cannon with its labels' scaling and the preparation of its spectra.
#[derive(Debug, Clone)]
pub struct TrainedCannon {
    /// The layer.
    pub cannon: Cannon,
    /// Labels to scaled labels.
    pub scaler: LabelScaler,
    /// Treatment of spectra.
    pub preparation: Preparation,
    /// Labels of the training stars, [n_stars, n_labels]: starts of the fit, and the hull.
    pub training_labels: Array2<f64>,
    /// Latent labels of the training stars, [n_stars, n_latent_labels]; no columns where the model has none.
    pub latent_labels: Array2<f64>,
}

/// What `model.json` holds.
#[derive(Serialize, Deserialize)]
struct ModelFile {
    order: usize,
    /// How labels and latent labels enter the polynomial; nothing where all enter every product.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entries: Vec<Entry>,
    scaler: LabelScaler,
    preparation: Preparation,
    training_labels: Vec<Vec<f64>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    latent_labels: Vec<Vec<f64>>,
    #[serde(default, skip_serializing_if = "is_nil")]
    n_latent_labels: usize,
    #[serde(default, skip_serializing_if = "is_nil")]
    n_nuisances: usize,
}

/// Terms of a polynomial of so many labels, without writing them down: (n + order) over order.
fn n_polynomial_terms(n_labels: usize, order: usize) -> u128 {
    (1..=order as u128).fold(1, |terms: u128, k| terms.saturating_mul(n_labels as u128 + k) / k)
}

/// The same of labels that enter like this.
fn n_terms_of(entries: &[Entry], order: usize) -> u128 {
    let count = |entry: Entry| entries.iter().filter(|known| **known == entry).count();
    let n_polynomial = count(Entry::Polynomial);
    let of_each_linear = n_polynomial_terms(n_polynomial, order - 1);
    n_polynomial_terms(n_polynomial, order)
        .saturating_add((count(Entry::Linear) as u128).saturating_mul(of_each_linear))
        .saturating_add(count(Entry::Additive) as u128)
}

fn is_nil(n: &usize) -> bool {
    *n == 0
}

impl TrainedCannon {
    /// Inputs of its polynomial for the training stars, [n_stars, n_labels + n_latent_labels]: labels in their own units.
    pub fn training_inputs(&self) -> Array2<f64> {
        concatenate![Axis(1), self.training_labels, self.latent_labels]
    }

    /// Change of flux by one standard deviation of each latent label, at the pivot star, and the nuisance spectra; `[n_pixels]`
    /// each, none where the model has none.
    pub fn latent_spectra(&self) -> Vec<Vec<f64>> {
        let n_labels = self.scaler.n_labels();
        let theta = to_f64(self.cannon.theta.val());
        let n_pixels = self.cannon.n_pixels();
        let row = |term: usize| theta[term * n_pixels..(term + 1) * n_pixels].to_vec();
        let latent = (0..self.latent_labels.ncols())
            .filter_map(|latent| self.cannon.vectorizer().position(&[n_labels + latent]).map(row));
        let nuisances = self.cannon.nuisance_spectra.as_ref().map(|spectra| to_f64(spectra.val())).unwrap_or_default();
        latent.chain(nuisances.chunks(n_pixels).map(<[f64]>::to_vec)).collect()
    }

    /// Its spectra for scaled labels, [n_stars, n_labels]: [n_stars, n_pixels]. Pixels that it does not know have the continuum's flux,
    /// 1.
    pub fn spectra_at(&self, scaled_labels: &Array2<f64>, compute: &Compute) -> Tensor<2> {
        let flux = self.cannon.predict_flux(compute.matrix(scaled_labels.view())).mean;
        let valid: Vec<f64> = self.cannon.valid_pixels().into_iter().map(|valid| f64::from(u8::from(valid))).collect();
        let valid = compute.tensor(&valid, [1, valid.len()]);
        flux * valid.clone() + (valid.neg() + 1.0)
    }

    /// Scaling of these inputs; latent labels are standard normal as they are.
    pub fn input_scaler(&self) -> LabelScaler {
        let mut scaler = self.scaler.clone();
        for latent in 1..=self.latent_labels.ncols() {
            scaler.names.push(format!("latent{latent}"));
            scaler.pivot.push(0.0);
            scaler.scale.push(1.0);
        }
        scaler
    }

    /// Writes the folder. Each file appears whole or not at all, the description last.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Checkpoint`].
    pub fn save(&self, folder: &Path) -> Result<()> {
        files::create_folder(folder)?;
        weights::write(folder, &self.cannon, |store| store)?;
        let description = ModelFile {
            order: self.cannon.vectorizer().order(),
            entries: match self.cannon.vectorizer().entries() {
                entries if entries.iter().all(|entry| *entry == Entry::Polynomial) => Vec::new(),
                entries => entries.to_vec(),
            },
            scaler: self.scaler.clone(),
            preparation: self.preparation.clone(),
            training_labels: rows(&self.training_labels),
            n_latent_labels: self.latent_labels.ncols(),
            latent_labels: if self.latent_labels.ncols() > 0 { rows(&self.latent_labels) } else { Vec::new() },
            n_nuisances: self.cannon.n_nuisances(),
        };
        model_file::write(folder, KIND, &description)
    }

    /// Reads a folder written by [`TrainedCannon::save`].
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if it is absent, of another kind or version, or inconsistent.
    pub fn load(folder: &Path, compute: &Compute) -> Result<Self> {
        let failed = |detail: String| Error::Checkpoint { path: folder.to_path_buf(), detail };
        let file: ModelFile = model_file::read(folder, KIND)?;
        let n_labels = file.scaler.n_labels();
        let n_pixels = file.preparation.grid.n_pixels();
        if !(1..=3).contains(&file.order)
            || !file.scaler.is_consistent()
            || !file.preparation.is_consistent()
            || file.training_labels.iter().any(|row| row.len() != n_labels)
            || file.latent_labels.iter().any(|row| row.len() != file.n_latent_labels)
            || (file.n_latent_labels > 0 && file.latent_labels.len() != file.training_labels.len())
            || file.n_latent_labels > 100
            || ![0, n_labels + file.n_latent_labels].contains(&file.entries.len())
            || file.n_nuisances > 1000
        {
            return Err(failed(format!("{MODEL_FILE} contradicts itself; was it edited?")));
        }
        let entries = match file.entries.is_empty() {
            true => vec![Entry::Polynomial; n_labels + file.n_latent_labels],
            false => file.entries.clone(),
        };
        let n_terms = n_terms_of(&entries, file.order);
        let n_spectra = n_terms.saturating_add(1 + file.n_nuisances as u128);
        let mut store = weights::open(folder, n_spectra.saturating_mul(n_pixels as u128))?;
        let vectorizer = Vectorizer::of_entries(&entries, file.order);
        let theta = vec![0.0; vectorizer.n_terms() * n_pixels];
        let template = Cannon::from_coefficients(vectorizer, &theta, &vec![NO_INFORMATION; n_pixels], compute)
            .with_nuisance_spectra(&vec![0.0; file.n_nuisances * n_pixels], compute);
        let cannon = weights::filled(folder, template, &mut store)?;
        let (theta, s2) = (to_f64(cannon.theta.val()), to_f64(cannon.s2.val()));
        let spectra = cannon.nuisance_spectra.as_ref().map(|spectra| to_f64(spectra.val())).unwrap_or_default();
        if theta.iter().chain(&s2).chain(&spectra).any(|weight| !weight.is_finite()) || s2.iter().any(|s2| *s2 < 0.0) {
            return Err(failed(format!("{WEIGHTS_FILE} holds numbers that are no model; it is damaged")));
        }
        // Made anew: the file may hold the other precision, and a cast parameter would be no leaf of an autodiff graph.
        let cannon = Cannon::from_coefficients(cannon.vectorizer().clone(), &theta, &s2, compute)
            .with_nuisance_spectra(&spectra, compute);
        let n_stars = file.training_labels.len();
        let training_labels = matrix(folder, &file.training_labels, (n_stars, n_labels))?;
        let latent_labels = matrix(folder, &file.latent_labels, (n_stars, file.n_latent_labels))?;
        Ok(Self { cannon, scaler: file.scaler, preparation: file.preparation, training_labels, latent_labels })
    }
}

/// Folder, below that of a model that reads spectra, of the Cannon that fills their masked pixels.
const FILL_FOLDER: &str = "fill";

/// Writes that Cannon, where there is one.
///
/// # Errors
/// Those of [`TrainedCannon::save`].
pub(super) fn save_fill(fill: Option<&TrainedCannon>, folder: &Path) -> Result<()> {
    fill.map_or(Ok(()), |cannon| cannon.save(&folder.join(FILL_FOLDER)))
}

/// Reads it, where there must be one.
///
/// # Errors
/// Those of [`TrainedCannon::load`].
pub(super) fn load_fill(masked: Masked, folder: &Path, compute: &Compute) -> Result<Option<TrainedCannon>> {
    (masked == Masked::Cannon).then(|| TrainedCannon::load(&folder.join(FILL_FOLDER), compute)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::spectra::continuum::ContinuumMethod;

    fn trained(compute: &Compute) -> TrainedCannon {
        let theta: Vec<f64> = (0..24).map(|i| f64::from(i).sin()).collect();
        TrainedCannon {
            cannon: Cannon::from_coefficients(Vectorizer::new(2, 2), &theta, &[0.1, 0.2, 0.0, NO_INFORMATION], compute),
            scaler: LabelScaler {
                names: vec!["teff".into(), "fe_h".into()],
                pivot: vec![4500.0, -0.2],
                scale: vec![300.0, 0.25],
            },
            preparation: Preparation {
                grid: WavelengthGrid::from_pixel_numbers(4),
                pixmask: PixmaskSettings::default(),
                continuum: ContinuumSettings { method: ContinuumMethod::None, ..ContinuumSettings::default() },
                continuum_pixels: vec![1, 3],
                gaps: Vec::new(),
            },
            training_labels: ndarray::array![[4400.0, 0.1], [4600.0, -0.3]],
            latent_labels: Array2::zeros((2, 0)),
        }
    }

    #[test]
    fn a_model_comes_back_exactly_in_either_precision() {
        let folder = tempfile::tempdir().unwrap();
        let compute = Compute::flex(Precision::F64);
        let model = trained(&compute);
        model.save(folder.path()).unwrap();
        let back = TrainedCannon::load(folder.path(), &compute).unwrap();
        assert_eq!(to_f64(back.cannon.theta.val()), to_f64(model.cannon.theta.val()));
        assert_eq!(to_f64(back.cannon.s2.val()), to_f64(model.cannon.s2.val()));
        assert_eq!((&back.scaler, &back.preparation), (&model.scaler, &model.preparation));
        assert_eq!(back.training_labels, model.training_labels);

        let narrow = TrainedCannon::load(folder.path(), &Compute::flex(Precision::F32)).unwrap();
        assert!((to_f64(narrow.cannon.theta.val())[1] - 1_f64.sin()).abs() < 1e-7);
    }

    #[test]
    fn latent_labels_and_nuisance_spectra_come_back_too() {
        let folder = tempfile::tempdir().unwrap();
        let compute = Compute::flex(Precision::F64);
        let theta: Vec<f64> = (0..40).map(|i| f64::from(i).cos()).collect();
        let spectra: Vec<f64> = (0..8).map(|i| f64::from(i).sqrt()).collect();
        let mut model = trained(&compute);
        model.cannon = Cannon::from_coefficients(Vectorizer::new(3, 2), &theta, &[0.1; 4], &compute)
            .with_nuisance_spectra(&spectra, &compute);
        model.latent_labels = ndarray::array![[0.5], [-1.5]];
        model.save(folder.path()).unwrap();
        let back = TrainedCannon::load(folder.path(), &compute).unwrap();
        assert_eq!(back.latent_labels, model.latent_labels);
        assert_eq!(back.cannon.n_parameters(), 4 * (10 + 2 + 1));
        // The linear term of the latent label is the fourth; behind it come the spectra that only add.
        assert_eq!(back.latent_spectra(), [theta[12..16].to_vec(), spectra[..4].to_vec(), spectra[4..].to_vec()]);
        assert_eq!(back.input_scaler().names, ["teff", "fe_h", "latent1"]);
        assert_eq!(back.training_inputs(), ndarray::array![[4400.0, 0.1, 0.5], [4600.0, -0.3, -1.5]]);
    }

    #[test]
    fn labels_that_enter_linearly_come_back_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let compute = Compute::flex(Precision::F64);
        let vectorizer = Vectorizer::of_entries(&[Entry::Polynomial, Entry::Additive], 2);
        assert_eq!(vectorizer.n_terms(), 4);
        let theta: Vec<f64> = (0..16).map(|i| f64::from(i).cos()).collect();
        let mut model = trained(&compute);
        model.cannon = Cannon::from_coefficients(vectorizer.clone(), &theta, &[0.1; 4], &compute);
        model.save(folder.path()).unwrap();
        let back = TrainedCannon::load(folder.path(), &compute).unwrap();
        assert_eq!((back.cannon.vectorizer(), to_f64(back.cannon.theta.val())), (&vectorizer, theta));
    }

    #[test]
    fn terms_are_counted_without_being_written_down() {
        for (n_labels, order) in [(1, 1), (5, 2), (5, 3), (12, 3)] {
            assert_eq!(n_polynomial_terms(n_labels, order), Vectorizer::new(n_labels, order).n_terms() as u128);
        }
        assert_eq!(n_polynomial_terms(1000, 3), 1003 * 1002 * 1001 / 6);
        use Entry::{Additive, Linear, Polynomial};
        for entries in [[Polynomial, Linear, Linear, Additive], [Polynomial, Polynomial, Linear, Additive], [Linear; 4]]
        {
            for order in 1..=3 {
                assert_eq!(n_terms_of(&entries, order), Vectorizer::of_entries(&entries, order).n_terms() as u128);
            }
        }
    }

    #[test]
    fn the_same_model_is_written_as_the_same_bytes() {
        let compute = Compute::flex(Precision::F32);
        let bytes = || {
            let folder = tempfile::tempdir().unwrap();
            trained(&compute).save(folder.path()).unwrap();
            [MODEL_FILE, WEIGHTS_FILE].map(|name| std::fs::read(folder.path().join(name)).unwrap())
        };
        let first = bytes();
        // Notes in the order of a hash would differ in most of eight tries.
        (0..8).for_each(|_| assert_eq!(bytes(), first));
    }

    #[test]
    fn foreign_folders_are_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let compute = Compute::flex(Precision::F32);
        let refusal = || TrainedCannon::load(folder.path(), &compute).err().unwrap().to_string();
        assert!(refusal().contains("maury import"));
        std::fs::write(folder.path().join(MODEL_FILE), "{}").unwrap();
        assert!(refusal().contains("not readable"));
        trained(&compute).save(folder.path()).unwrap();
        std::fs::write(folder.path().join(WEIGHTS_FILE), "garbage").unwrap();
        assert!(refusal().contains(WEIGHTS_FILE));
    }
}
