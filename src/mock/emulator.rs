//! The emulator that comes with maury, as the mock survey sees it.

use ndarray::{Array2, ArrayView2};

use crate::device::{Compute, Precision};
use crate::error::Result;
use crate::training::payne_checkpoint::TrainedPayne;

/// An emulator of red giants in the H band, part of the program itself.
#[derive(Debug)]
pub struct Emulator {
    model: TrainedPayne,
    compute: Compute,
}

impl Emulator {
    /// The emulator of `checkpoints/payne-hband`.
    ///
    /// # Errors
    /// [`crate::error::Error::Checkpoint`] if it was built in damaged.
    pub fn shipped() -> Result<Self> {
        let compute = Compute::flex(Precision::F32);
        Ok(Self { model: TrainedPayne::shipped(&compute)?, compute })
    }

    /// Names of the inputs: the labels, then everything else that shapes a spectrum.
    pub fn names(&self) -> &[String] {
        &self.model.scaler.names
    }

    /// Inputs of the models it was trained on, [n_models, n_inputs]: which nuisances come with which labels.
    pub fn library(&self) -> ArrayView2<'_, f64> {
        self.model.training_inputs.view()
    }

    /// Change of normalized flux, on the apStar grid, for one standard deviation of an input among [`Emulator::library`], at the
    /// mean of all others; none for a name that is no input.
    pub fn response(&self, name: &str) -> Option<Vec<f64>> {
        let input = self.names().iter().position(|known| known == name)?;
        let scaler = &self.model.scaler;
        let sides = [0.5, -0.5];
        let inputs = Array2::from_shape_fn((2, scaler.pivot.len()), |(side, of)| {
            scaler.pivot[of] + if of == input { sides[side] * scaler.scale[of] } else { 0.0 }
        });
        let flux = self.spectra(inputs.view());
        Some(flux.row(0).iter().zip(flux.row(1)).map(|(above, below)| f64::from(above - below)).collect())
    }

    /// Flux normalized by the true continuum, [n_stars, 8575] on the apStar grid, of inputs [n_stars, n_inputs].
    pub fn spectra(&self, inputs: ArrayView2<f64>) -> Array2<f32> {
        self.model.spectra(inputs, &self.compute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::linelist::co_band_heads;
    use crate::spectra::grid::WavelengthGrid;

    #[test]
    fn carbon_deepens_the_bands_of_carbon_monoxide_right_of_their_heads() {
        let (emulator, grid) = (Emulator::shipped().unwrap(), WavelengthGrid::apogee());
        let carbon = emulator.response("c_fe").unwrap();
        let mean = |low: f64, high: f64| {
            let values = grid.wavelength.iter().zip(&carbon).filter(|(w, _)| (low..high).contains(*w));
            let (sum, n) = values.fold((0.0, 0), |(sum, n), (_, value)| (sum + value, n + 1));
            sum / f64::from(n)
        };
        // The heads that no other molecule's lines blend.
        for head in co_band_heads().into_iter().filter(|head| (5..=8).contains(&head.transition.0)) {
            let (left, right) =
                (mean(head.wavelength - 4.0, head.wavelength - 1.0), mean(head.wavelength, head.wavelength + 3.0));
            assert!(right < -0.008 && right < 3.0 * left, "{head:?}: {left} {right}");
        }
        assert!(emulator.response("nothing").is_none());
    }
}
