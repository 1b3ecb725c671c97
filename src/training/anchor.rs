//! What physics says of a survey's Cannon before any of its stars is seen: the Cannon of an emulator's spectra.

use std::ops::Range;

use burn::tensor::Tensor;
use nalgebra::DMatrix;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate, s};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::anchor_library::AnchorLibrary;
use super::cannon_config::AnchorSettings;
use super::checkpoint::Preparation;
use super::model_spectra::{Survey, emulator_on_grid};
use super::payne_checkpoint::TrainedPayne;
use super::principal_components::principal_components;
use crate::device::{Compute, to_f64};
use crate::error::{Error, Result};
use crate::models::vectorizer::{Entry, Vectorizer};
use crate::spectra::continuum::chebyshev_basis;
use crate::spectra::labels::LabelScaler;

/// Spectra that the emulator predicts together.
const BATCH: usize = 256;
/// Seed of the random directions that find principal components.
const SEED: u64 = 2016;
/// A shift of the spectrum [pixels] and a change of the line-spread function's variance [pixels^2] as they are to be expected
/// before spectra have told: hundredths of a resolution element.
const SHIFT: f64 = 0.05;
const WIDENING: f64 = 0.06;
/// Chebyshev polynomials above the continuum's own order on each chip, and how large to be expected.
const CONTINUUM_ORDERS: usize = 3;
const CONTINUUM_LEVEL: f64 = 0.002;

/// A Cannon of model spectra, brought through the survey's own masks and continuum.
///
/// Inputs of the polynomial are the labels and, behind them, what else shapes a spectrum and no catalogue tells (abundances,
/// microturbulence, rotation), as deviations from what is usual at the labels, each standard normal.
#[derive(Debug, Clone)]
pub struct Anchor {
    /// Labels to scaled labels.
    pub scaler: LabelScaler,
    /// Terms of labels and hidden labels.
    pub vectorizer: Vectorizer,
    /// Coefficients, [n_terms, n_pixels].
    pub theta: Array2<f64>,
    /// Nuisance spectra for standard normal amplitudes, [n_nuisances, n_pixels]: leading components of what the polynomial leaves
    /// of the library, then what instruments do.
    pub spectra: Array2<f64>,
    /// How many of them are the instrument's.
    pub n_instrument: usize,
    /// Scatter variance of the library about both, `[n_pixels]`.
    pub s2: Vec<f64>,
    /// Labels of the library, [n_spectra, n_labels].
    pub labels: Array2<f64>,
    /// Its hidden labels, [n_spectra, n_hidden].
    pub hidden: Array2<f64>,
}

impl Anchor {
    /// Of the emulator that the settings name, for stars like these, [n_stars, n_labels].
    ///
    /// # Errors
    /// [`Error::Checkpoint`]; [`Error::Config`] if the emulator does not know the labels, the grid or stars like these.
    pub fn new(
        settings: &AnchorSettings,
        label_names: &[String],
        labels: ArrayView2<f64>,
        preparation: &Preparation,
        seed: u64,
        compute: &Compute,
    ) -> Result<Self> {
        let emulator = emulator_on_grid(settings.emulator.as_deref(), &preparation.grid, compute)?;
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let library = AnchorLibrary::draw(&emulator, settings, label_names, labels, &mut random)?;
        let flux = observed(&emulator, &library, preparation, compute)?.mapv(f64::from);
        let scaler = LabelScaler::fit(label_names, library.labels.view())?;
        let inputs = concatenate![Axis(1), scaler.scale(library.labels.view()), library.hidden];
        let vectorizer = polynomial(label_names.len(), library.hidden.ncols());
        let exact = Compute::small_systems();
        let design = vectorizer.design_matrix(exact.matrix(inputs.view()));
        let spectra = exact.matrix(flux.view());
        let theta = least_squares(&design, &spectra, &exact)?;
        let residuals = spectra - design.matmul(theta.clone());
        let count = settings.components.min(library.labels.nrows() / 4);
        let components = principal_components(&residuals, count, SEED, &exact);
        let amplitudes = residuals.clone().matmul(components.clone().transpose());
        let left = residuals - amplitudes.clone().matmul(components.clone());
        let size = amplitudes.square().mean_dim(0).sqrt().transpose();
        let n_pixels = flux.ncols();
        let matrix = |tensor: Tensor<2>, rows: usize| {
            Array2::from_shape_vec((rows, n_pixels), to_f64(tensor)).expect("one number per pixel")
        };
        let theta = matrix(theta, vectorizer.n_terms());
        let of_library = matrix(components * size, count);
        let mean = flux.mean_axis(Axis(0)).unwrap_or_else(|| Array1::ones(n_pixels));
        let of_instrument = instrument(mean.view(), &preparation.grid.chips, preparation.continuum.order);
        let s2 = to_f64(left.square().mean_dim(0)).into_iter().zip(to_f64(emulator.payne.s2.val()));
        Ok(Self {
            scaler,
            vectorizer,
            theta,
            n_instrument: of_instrument.nrows(),
            spectra: concatenate![Axis(0), of_library, of_instrument],
            s2: s2.map(|(left, emulator)| left + emulator + 1e-8).collect(),
            labels: library.labels,
            hidden: library.hidden,
        })
    }
}

/// Terms of some labels and hidden ones.
///
/// How hidden labels bend the flux among themselves is left to the nuisance spectra: it is little, and half of all terms.
fn polynomial(n_labels: usize, n_hidden: usize) -> Vectorizer {
    Vectorizer::of_entries(&[vec![Entry::Polynomial; n_labels], vec![Entry::Linear; n_hidden]].concat(), 2)
}

/// Coefficients of a pixel that physics gives a Cannon on so many chips, nuisances included, at most.
pub(super) fn most_coefficients(settings: &AnchorSettings, n_labels: usize, n_chips: usize) -> usize {
    let of_instrument = n_chips * (2 + CONTINUUM_ORDERS);
    polynomial(n_labels, settings.hidden.len()).n_terms() + settings.components + of_instrument
}

/// Spectra of a library as the survey would have seen them without noise, [n_spectra, n_pixels].
fn observed(
    emulator: &TrainedPayne,
    library: &AnchorLibrary,
    preparation: &Preparation,
    compute: &Compute,
) -> Result<Array2<f32>> {
    let survey = Survey::new(preparation)?;
    let mut flux = Array2::ones((library.inputs.nrows(), preparation.grid.n_pixels()));
    for start in (0..library.inputs.nrows()).step_by(BATCH) {
        let rows = start..(start + BATCH).min(library.inputs.nrows());
        let predicted = emulator.spectra(library.inputs.slice(s![rows.clone(), ..]), compute);
        let seen: Vec<Vec<f32>> = (0..rows.len())
            .into_par_iter()
            .map(|row| {
                let spectrum = predicted.row(row);
                survey.observed(spectrum.iter().map(|flux| f64::from(*flux)), std::iter::repeat(1e6)).flux
            })
            .collect();
        for (row, seen) in rows.zip(seen) {
            flux.row_mut(row).assign(&ArrayView1::from(&seen));
        }
    }
    Ok(flux)
}

/// Coefficients, [n_terms, n_pixels], of spectra, [n_spectra, n_pixels], on a design, [n_spectra, n_terms].
fn least_squares(design: &Tensor<2>, spectra: &Tensor<2>, compute: &Compute) -> Result<Tensor<2>> {
    let [_, n_terms] = design.dims();
    let transposed = design.clone().transpose();
    let normal = DMatrix::from_row_slice(n_terms, n_terms, &to_f64(transposed.clone().matmul(design.clone())));
    let inverse = normal.cholesky().map(|factor| factor.inverse());
    let inverse = inverse.ok_or_else(|| {
        Error::Config(format!("anchor: the library does not determine {n_terms} coefficients; raise anchor.spectra"))
    })?;
    let inverse = compute.tensor(inverse.as_slice(), [n_terms, n_terms]);
    Ok(inverse.matmul(transposed.matmul(spectra.clone())))
}

/// What instruments do to a spectrum, [n_directions, n_pixels]: on each chip a shift, a wider line-spread function, and smooth
/// errors of its continuum.
fn instrument(mean: ArrayView1<f64>, chips: &[Range<usize>], order: usize) -> Array2<f64> {
    let mut directions = Array2::zeros((chips.len() * (2 + CONTINUUM_ORDERS), mean.len()));
    let mut rows = directions.rows_mut().into_iter();
    for chip in chips {
        let at =
            |pixel: usize, offset: isize| mean[pixel.saturating_add_signed(offset).clamp(chip.start, chip.end - 1)];
        let basis = chebyshev_basis(chip.len(), order + CONTINUUM_ORDERS);
        let mut fill = |of: &dyn Fn(usize) -> f64| {
            let mut row = rows.next().expect("as many as were counted");
            chip.clone().for_each(|pixel| row[pixel] = of(pixel));
        };
        fill(&|pixel| SHIFT * 0.5 * (at(pixel, 1) - at(pixel, -1)));
        fill(&|pixel| WIDENING * (at(pixel, 1) - 2.0 * at(pixel, 0) + at(pixel, -1)));
        for degree in order + 1..=order + CONTINUUM_ORDERS {
            fill(&|pixel| CONTINUUM_LEVEL * basis[(pixel - chip.start, degree)] * mean[pixel]);
        }
    }
    directions
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::spectra::continuum::ContinuumSettings;
    use crate::spectra::continuum_pixels;
    use crate::spectra::grid::WavelengthGrid;
    use crate::spectra::pixmask::PixmaskSettings;

    pub fn preparation() -> Preparation {
        let grid = WavelengthGrid::apogee();
        let is_continuum = continuum_pixels::shipped(&grid).unwrap();
        Preparation {
            continuum_pixels: (0..grid.n_pixels()).filter(|pixel| is_continuum[*pixel]).collect(),
            grid,
            pixmask: PixmaskSettings::default(),
            continuum: ContinuumSettings::default(),
            gaps: Vec::new(),
        }
    }

    fn giants() -> Array2<f64> {
        ndarray::array![[4200.0, 1.5, -0.4], [4500.0, 2.0, -0.1], [4800.0, 2.6, 0.2], [4650.0, 2.4, -0.7]]
    }

    #[test]
    fn the_library_is_described_by_its_cannon() {
        let compute = Compute::flex(Precision::F32);
        let names = ["teff", "logg", "fe_h"].map(String::from);
        let settings =
            AnchorSettings { spectra: 600, hidden: vec!["c_fe".into(), "mg_fe".into()], ..AnchorSettings::default() };
        let anchor = Anchor::new(&settings, &names, giants().view(), &preparation(), 1, &compute).unwrap();
        assert_eq!((anchor.labels.dim(), anchor.hidden.dim()), ((600, 3), (600, 2)));
        assert_eq!(anchor.theta.dim(), (10 + 2 * 4, 8575));
        assert_eq!((anchor.spectra.nrows(), anchor.n_instrument), (30 + 15, 15));
        // What is hidden is standard normal and no function of the labels.
        let scaled = anchor.scaler.scale(anchor.labels.view());
        for hidden in anchor.hidden.columns() {
            assert!((hidden.dot(&hidden) / 600.0 - 1.0).abs() < 1e-6);
            for label in scaled.columns() {
                assert!((hidden.dot(&label) / 600.0).abs() < 1e-6);
            }
        }
        // The flux is normalized, and the polynomial with the nuisances leaves less than the noise of any spectrum.
        let mean = anchor.theta.row(0).slice(s![400..3000]).mean().unwrap();
        assert!((0.85..1.0).contains(&mean), "{mean}");
        let mut left: Vec<f64> = anchor.s2.iter().map(|s2| s2.sqrt()).collect();
        left.sort_by(f64::total_cmp);
        assert!(left[left.len() / 2] < 0.004, "{}", left[left.len() / 2]);
    }

    #[test]
    fn what_the_emulator_does_not_know_is_refused_by_name() {
        let compute = Compute::flex(Precision::F32);
        let refusal = |names: [&str; 3], labels: Array2<f64>| {
            let names = names.map(String::from);
            let anchor = Anchor::new(&AnchorSettings::default(), &names, labels.view(), &preparation(), 1, &compute);
            anchor.unwrap_err().to_string()
        };
        let said = refusal(["teff", "logg", "m_h"], giants());
        assert!(said.contains("no input `m_h`; it has teff, logg, fe_h"), "{said}");
        let dwarfs = giants() + ndarray::array![[2500.0, 2.5, 0.0]];
        let said = refusal(["teff", "logg", "fe_h"], dwarfs);
        assert!(said.contains("200 are needed") && said.contains("teff"), "{said}");
    }
}
