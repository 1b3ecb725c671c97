//! What a spectrum may have beside its labels and its errors: settings of the nuisances of a posterior, and the linear ones of
//! them as columns that are integrated out.

use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compress::Compressor;
use super::marginal::LinearNuisance;
use crate::device::Compute;
use crate::models::LabelTerms;
use crate::spectra::batch::SpectraBatch;
use crate::spectra::continuum::{MOST_ORDER, chebyshev_basis};
use crate::spectra::grid::WavelengthGrid;

/// Speed of light in km/s.
const SPEED_OF_LIGHT: f64 = 299_792.458;

/// `[posterior.nuisances]`: each is left out unless named.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NuisanceSettings {
    /// A factor on all variances of a star, log-normal about 1: scatter of its logarithm.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1e3), extend("exclusiveMinimum" = 0.0))]
    pub noise_inflation: Option<f64>,
    /// A polynomial on each chip that the model is multiplied by, integrated out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuum: Option<ContinuumNuisance>,
    /// A shift of the whole spectrum, integrated out: scatter of the velocity [km/s].
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1e6), extend("exclusiveMinimum" = 0.0))]
    pub velocity_kms: Option<f64>,
}

/// `[posterior.nuisances.continuum]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ContinuumNuisance {
    /// Degree of the polynomial: 0 is an offset, 1 a slope too.
    #[schemars(range(max = MOST_ORDER))]
    pub order: usize,
    /// Scatter of each coefficient, relative to the continuum.
    #[schemars(range(max = 1e3), extend("exclusiveMinimum" = 0.0))]
    pub width: f64,
}

impl Default for ContinuumNuisance {
    fn default() -> Self {
        Self { order: 1, width: 0.01 }
    }
}

impl NuisanceSettings {
    /// The nuisances in words, one sentence each.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(sigma) = self.noise_inflation {
            words.push(format!(
                "a factor on all variances of a star: log-normal about 1, scatter of the logarithm {sigma}"
            ));
        }
        if let Some(ContinuumNuisance { order, width }) = self.continuum {
            words.push(format!(
                "continuum of each chip: polynomial of degree {order}, every coefficient 0 +- {width}, integrated out"
            ));
        }
        if let Some(velocity) = self.velocity_kms {
            words.push(format!("velocity: 0 +- {velocity} km/s, integrated out"));
        }
        words
    }

    /// The linear ones as columns B of unit prior width, [n_stars, n_nuisances, n_pixels], about some model spectra,
    /// [n_stars, n_pixels]; nothing if there are none.
    pub fn columns(&self, model: &Tensor<2>, grid: &WavelengthGrid, compute: &Compute) -> Option<Tensor<3>> {
        let chips = self.continuum.map(|ContinuumNuisance { order, width }| {
            let chips: Vec<(usize, Tensor<2>)> = chip_polynomials(grid, order, compute);
            chips.iter().map(|chip| in_whole_spectrum(on_chip(model, chip) * width, chip.0, model)).collect::<Vec<_>>()
        });
        let shift = self.velocity_kms.map(|velocity| velocity_column(model, grid, velocity, compute));
        let columns: Vec<Tensor<3>> = chips.into_iter().flatten().chain(shift).collect();
        (!columns.is_empty()).then(|| Tensor::cat(columns, 1))
    }
}

/// First pixel of each chip, and Chebyshev polynomials at its pixels, [n_pixels of the chip, order + 1].
pub fn chip_polynomials(grid: &WavelengthGrid, order: usize, compute: &Compute) -> Vec<(usize, Tensor<2>)> {
    let of_chip = |chip: &std::ops::Range<usize>| {
        let row_major: Vec<f64> = chebyshev_basis(chip.len(), order).transpose().as_slice().to_vec();
        (chip.start, compute.tensor(&row_major, [chip.len(), order + 1]))
    };
    grid.chips.iter().map(of_chip).collect()
}

/// The polynomials of one chip about a continuum of 1 as columns, [n_stars, order + 1, n_pixels of the chip]:
/// `m (1 + P a) = m + (m P) a`.
pub fn on_chip(model: &Tensor<2>, (start, basis): &(usize, Tensor<2>)) -> Tensor<3> {
    let [n_pixels, n_terms] = basis.dims();
    let n_stars = model.dims()[0];
    let of_chip = model.clone().narrow(1, *start, n_pixels).reshape([n_stars, 1, n_pixels]);
    of_chip * basis.clone().transpose().reshape([1, n_terms, n_pixels])
}

/// Columns of some pixels, from `start` on, with nil in all others of a spectrum.
pub fn in_whole_spectrum(columns: Tensor<3>, start: usize, spectrum: &Tensor<2>) -> Tensor<3> {
    let [n_stars, n_columns, n_pixels] = columns.dims();
    let options = (&columns.device(), columns.dtype());
    let after = spectrum.dims()[1] - start - n_pixels;
    let nil = |n: usize| (n > 0).then(|| Tensor::<3>::zeros([n_stars, n_columns, n], options));
    Tensor::cat([nil(start), Some(columns.clone()), nil(after)].into_iter().flatten().collect(), 2)
}

/// What a small shift adds to model spectra, `df/d ln(wavelength) v/c` per standard deviation of v, [n_stars, 1, n_pixels]; nil
/// at the ends of the chips.
pub fn velocity_column(model: &Tensor<2>, grid: &WavelengthGrid, velocity_kms: f64, compute: &Compute) -> Tensor<3> {
    let [n_stars, n_pixels] = model.dims();
    let mut factor = vec![0.0; n_pixels];
    for chip in &grid.chips {
        let wavelength = &grid.wavelength[chip.clone()];
        let inner = factor[chip.clone()].iter_mut().skip(1);
        for (factor, around) in inner.zip(wavelength.windows(3)) {
            *factor = velocity_kms / SPEED_OF_LIGHT / (around[2] / around[0]).ln();
        }
    }
    let edge = |pixel: usize| model.clone().narrow(1, pixel, 1);
    let next = Tensor::cat(vec![model.clone().narrow(1, 1, n_pixels - 1), edge(n_pixels - 1)], 1);
    let last = Tensor::cat(vec![edge(0), model.clone().narrow(1, 0, n_pixels - 1)], 1);
    ((next - last) * compute.tensor(&factor, [1, n_pixels])).reshape([n_stars, 1, n_pixels])
}

impl LinearNuisance {
    /// Sums up columns B of some pixels, [n_stars, n_nuisances, n_pixels], from pixel `start` on.
    pub fn of_columns<T: LabelTerms>(
        compressor: &Compressor<T>,
        spectra: &SpectraBatch,
        start: usize,
        columns: Tensor<3>,
    ) -> Self {
        let [n_stars, n_columns, n_pixels] = columns.dims();
        let part = |matrix: Tensor<2>| matrix.narrow(1, start, n_pixels);
        let weight = part(compressor.weight(spectra)).reshape([n_stars, 1, n_pixels]);
        let flux = part(spectra.flux.clone() - compressor.pivot_flux().clone()).reshape([n_stars, n_pixels, 1]);
        let slopes = compressor.slopes().clone().narrow(0, start, n_pixels);
        let n_slopes = slopes.dims()[1];
        let weighted = columns.clone() * weight;
        let flat = weighted.clone().reshape([n_stars * n_columns, n_pixels]);
        Self {
            with_terms: flat.matmul(slopes).reshape([n_stars, n_columns, n_slopes]),
            with_itself: weighted.clone().matmul(columns.swap_dims(1, 2)),
            with_flux: weighted.matmul(flux),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{Precision, to_f64};
    use crate::schema;

    #[test]
    fn columns_are_polynomials_and_slopes_of_the_model() {
        let compute = Compute::flex(Precision::F64);
        // Two chips of 40 pixels in equal steps of ln wavelength.
        let wavelength: Vec<f64> =
            (0..80).map(|j| 15_000.0 * (1e-5 * f64::from(j + if j < 40 { 0 } else { 500 })).exp()).collect();
        let grid = WavelengthGrid::from_wavelengths(wavelength.clone()).unwrap();
        assert_eq!(grid.chips.len(), 2);
        let line = |wavelength: f64| 1.0 - 0.3 * (-((wavelength - 15_003.0) / 1.0).powi(2)).exp();
        let flux: Vec<f64> = wavelength.iter().map(|w| line(*w)).collect();
        let model = compute.tensor(&flux, [1, 80]);
        let settings: NuisanceSettings =
            toml::from_str("velocity_kms = 0.2\ncontinuum = { order = 1, width = 0.02 }").unwrap();
        let columns = settings.columns(&model, &grid, &compute).unwrap();
        assert_eq!(columns.dims(), [1, 5, 80]);
        let columns = to_f64(columns);
        // Offset and slope of the first chip, nil on the second; then those of the second.
        assert!((columns[7] - 0.02 * flux[7]).abs() < 1e-12 && columns[47] == 0.0);
        assert!((columns[80] + 0.02 * flux[0]).abs() < 1e-12 && (columns[80 + 39] - 0.02 * flux[39]).abs() < 1e-12);
        assert!(columns[2 * 80 + 7] == 0.0 && (columns[3 * 80 + 79] - 0.02 * flux[79]).abs() < 1e-12);
        for pixel in 1..39 {
            // A star that moves by 0.2 km/s, to first order: the second is some 1%, as are the differences between pixels.
            let shifted = line(wavelength[pixel] * (1.0 + 0.2 / SPEED_OF_LIGHT)) - flux[pixel];
            assert!((columns[4 * 80 + pixel] - shifted).abs() < 0.05 * 0.0026, "{pixel}");
        }
        assert!(NuisanceSettings::default().columns(&model, &grid, &compute).is_none());
        let bad = NuisanceSettings { velocity_kms: Some(-1.0), ..settings.clone() };
        assert_eq!(schema::check(&bad).unwrap_err().0, "velocity_kms");
        assert_eq!(settings.words().len(), 2);
    }
}
