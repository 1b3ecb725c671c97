//! Spectra of an emulator as a survey would have seen them: through its masks, its noise and its pseudo-continuum.

use std::path::Path;

use ndarray::{Array2, ArrayView2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::anchor_library::{Models, positions};
use super::checkpoint::Preparation;
use super::payne_checkpoint::TrainedPayne;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::spectra::continuum::NormalizedSpectrum;
use crate::spectra::grid::WavelengthGrid;
use crate::spectra::normalizer::Normalizer;
use crate::spectra::pixmask::{MaskedSpectrum, Place};
use crate::spectra::quality::Quality;
use crate::stats::normal::Normals;

/// The emulator of a folder, or the one that comes with maury, if its spectra are on a survey's grid.
///
/// # Errors
/// [`Error::Checkpoint`]; [`Error::Config`] if it is of another grid.
pub(super) fn emulator_on_grid(
    folder: Option<&Path>,
    grid: &WavelengthGrid,
    compute: &Compute,
) -> Result<TrainedPayne> {
    let emulator = match folder {
        Some(folder) => TrainedPayne::load(folder, compute)?,
        None => TrainedPayne::shipped(compute)?,
    };
    expect_grid(&emulator.preparation.grid, grid)?;
    Ok(emulator)
}

fn expect_grid(of_emulator: &WavelengthGrid, grid: &WavelengthGrid) -> Result<()> {
    if of_emulator.wavelength == grid.wavelength {
        return Ok(());
    }
    let problem = "the emulator's spectra are on another grid than the survey's; name one of this grid";
    Err(Error::Config(problem.into()))
}

/// Whether the emulator of a folder, or the one that comes with maury, has spectra on a grid and some inputs. No tensor is made: what is
/// asked before a device is opened must not settle its precision.
///
/// # Errors
/// [`Error::Checkpoint`]; [`Error::Config`] if it is of another grid or does not know an input.
pub fn expect_inputs(folder: Option<&Path>, grid: &WavelengthGrid, inputs: &[String]) -> Result<()> {
    let (own, names) = TrainedPayne::described(folder)?;
    expect_grid(&own, grid)?;
    positions(&names, inputs).map(drop)
}

/// How a survey turns what it sees into normalized spectra.
pub(super) struct Survey {
    normalizer: Normalizer,
    /// Pixels that carry information in any spectrum, `[n_pixels]`.
    is_seen: Vec<bool>,
}

impl Survey {
    /// That of a preparation.
    ///
    /// # Errors
    /// [`Error::Continuum`].
    pub fn new(preparation: &Preparation) -> Result<Self> {
        Ok(Self {
            normalizer: Normalizer::new(&preparation.grid, &preparation.is_continuum(), &preparation.continuum)?,
            is_seen: preparation.places().iter().map(|place| *place == Place::OnChip).collect(),
        })
    }

    /// What becomes of a flux with these inverse variances, one for each pixel.
    pub fn observed(&self, flux: impl Iterator<Item = f64>, ivar: impl Iterator<Item = f64>) -> NormalizedSpectrum {
        let seen = |(value, seen): (f64, &bool)| if *seen { value } else { 0.0 };
        let masked = MaskedSpectrum {
            flux: flux.zip(&self.is_seen).map(seen).collect(),
            ivar: ivar.zip(&self.is_seen).map(seen).collect(),
        };
        self.normalizer.normalize(&masked, &mut Quality::default())
    }
}

/// Model stars like those of a survey, observed as these were: drawn anew as often as is wanted, and never kept.
pub struct ModelStars {
    emulator: TrainedPayne,
    models: Models,
    survey: Survey,
    /// Inverse variances of the survey's own spectra, [n_stars, n_pixels].
    ivar: Array2<f32>,
    compute: Compute,
}

/// Some of them.
pub(super) struct Drawn {
    /// Normalized flux with noise, [n_stars, n_pixels].
    pub flux: Array2<f32>,
    /// Its inverse variance, [n_stars, n_pixels]; 0 = no information.
    pub ivar: Array2<f32>,
    /// Labels, [n_stars, n_labels].
    pub labels: Array2<f64>,
}

impl ModelStars {
    /// Like stars with these labels, [n_stars, n_labels], and inverse variances, [n_stars, n_pixels].
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; [`Error::Config`] if the emulator does not know the labels, the grid or stars like these.
    pub fn new(
        emulator: Option<&Path>,
        label_names: &[String],
        labels: ArrayView2<f64>,
        ivar: Array2<f32>,
        preparation: &Preparation,
        compute: &Compute,
    ) -> Result<Self> {
        let emulator = emulator_on_grid(emulator, &preparation.grid, compute)?;
        Ok(Self {
            models: Models::like(&emulator, label_names, labels)?,
            survey: Survey::new(preparation)?,
            emulator,
            ivar,
            compute: compute.clone(),
        })
    }

    /// New stars, each with the noise and the masks of one of the survey's, whichever comes.
    pub(super) fn draw(&self, n_stars: usize, random: &mut ChaCha8Rng) -> Drawn {
        let inputs = self.models.draw(n_stars, random);
        let predicted = self.emulator.spectra(inputs.view(), &self.compute);
        let noises: Vec<(usize, u64)> =
            (0..n_stars).map(|_| (random.random_range(0..self.ivar.nrows()), random.random())).collect();
        let observed: Vec<NormalizedSpectrum> = noises
            .into_par_iter()
            .enumerate()
            .map(|(star, (like, seed))| {
                let ivar = self.ivar.row(like);
                let flux = predicted.row(star);
                let mut normals = Normals::new(ChaCha8Rng::seed_from_u64(seed));
                let noisy = flux.iter().zip(ivar).map(|(flux, ivar)| {
                    let noise = normals.draw();
                    f64::from(*flux) + if *ivar > 0.0 { noise / f64::from(*ivar).sqrt() } else { 0.0 }
                });
                self.survey.observed(noisy, ivar.iter().map(|ivar| f64::from(*ivar)))
            })
            .collect();
        let (mut flux, mut ivar) = (Array2::ones(predicted.raw_dim()), Array2::zeros(predicted.raw_dim()));
        for (star, spectrum) in observed.into_iter().enumerate() {
            flux.row_mut(star).iter_mut().zip(spectrum.flux).for_each(|(slot, value)| *slot = value);
            ivar.row_mut(star).iter_mut().zip(spectrum.ivar).for_each(|(slot, value)| *slot = value);
        }
        Drawn { flux, ivar, labels: self.models.labels(&inputs) }
    }

    /// What tells these stars from others: spectra of the emulator, one draw, and the noise.
    pub(super) fn fingerprint(&self) -> String {
        let first = self.emulator.spectra(self.emulator.training_inputs.slice(s![..1, ..]), &self.compute);
        let drawn = self.draw(2, &mut ChaCha8Rng::seed_from_u64(0));
        let mut hasher = blake3::Hasher::new();
        for matrix in [&first, &drawn.flux, &self.ivar] {
            matrix.iter().for_each(|value| _ = hasher.update(&value.to_le_bytes()));
        }
        hasher.finalize().to_hex()[..32].to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::spectra::grid::WavelengthGrid;
    use crate::training::anchor::tests::preparation;

    #[test]
    fn model_stars_are_new_in_every_draw_and_as_noisy_as_the_survey() {
        let compute = Compute::flex(Precision::F32);
        let names = ["teff", "logg"].map(String::from);
        let labels = ndarray::array![[4200.0, 1.5], [4500.0, 2.0], [4800.0, 2.6], [4650.0, 2.4]];
        // Noise of 1% with some pixels masked, and next to none.
        let mut ivar = Array2::from_elem((2, 8575), 1e4_f32);
        ivar.slice_mut(s![0, 1000..1200]).fill(0.0);
        ivar.row_mut(1).fill(1e8);
        let stars = |rows: &[usize]| {
            let ivar = ivar.select(ndarray::Axis(0), rows);
            ModelStars::new(None, &names, labels.view(), ivar, &preparation(), &compute).unwrap()
        };
        let random = || ChaCha8Rng::seed_from_u64(7);
        let (noisy, clean) = (stars(&[0]).draw(4, &mut random()), stars(&[1]).draw(4, &mut random()));
        assert_eq!(noisy.labels, clean.labels);
        let mut square = (0.0, 0.0);
        for ((noisy, clean), ivar) in
            noisy.flux.iter().zip(&clean.flux).zip(&noisy.ivar).filter(|(_, ivar)| **ivar > 0.0)
        {
            let pull = f64::from(noisy - clean) * f64::from(*ivar).sqrt();
            square = (square.0 + pull * pull, square.1 + 1.0);
        }
        let size = (square.0 / square.1).sqrt();
        assert!((size - 1.0).abs() < 0.03 && square.1 > 25_000.0, "{size} {}", square.1);
        assert!(noisy.ivar.slice(s![.., 1000..1200]).iter().all(|ivar| *ivar == 0.0));
        assert!(clean.ivar.slice(s![.., 1000..1200]).iter().any(|ivar| *ivar > 0.0));
        // The same draw again, and another.
        let both = stars(&[0, 1]);
        let mut one = random();
        let (first, second) = (both.draw(3, &mut one), both.draw(3, &mut one));
        assert_eq!(first.flux, both.draw(3, &mut random()).flux);
        assert!(first.labels != second.labels);
        assert!(first.labels.column(0).iter().all(|teff| (3000.0..6500.0).contains(teff)));
        assert_eq!(both.fingerprint(), stars(&[0, 1]).fingerprint());
        assert_ne!(both.fingerprint(), stars(&[0]).fingerprint());
    }

    #[test]
    fn what_the_emulator_does_not_know_is_refused_by_name() {
        let compute = Compute::flex(Precision::F32);
        let refusal = |name: &str, preparation: &Preparation| {
            let ivar = Array2::ones((2, preparation.grid.n_pixels()));
            let labels = ndarray::array![[4200.0], [4800.0]];
            let stars = ModelStars::new(None, &[name.to_string()], labels.view(), ivar, preparation, &compute);
            stars.err().unwrap().to_string()
        };
        let said = refusal("m_h", &preparation());
        assert!(said.contains("the emulator has no input `m_h`; it has teff, logg"), "{said}");
        let arrays =
            Preparation { grid: WavelengthGrid::from_pixel_numbers(50), continuum_pixels: vec![], ..preparation() };
        let said = refusal("teff", &arrays);
        assert!(said.contains("the emulator's spectra are on another grid"), "{said}");
    }
}
