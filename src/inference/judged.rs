//! A trained model that also says of every star whether it describes it.

use std::ops::Range;
use std::path::Path;

use super::amplitudes::NuisanceSpectra;
use super::examine::{Comparison, structure};
use super::fit_quality::FitQuality;
use crate::device::Compute;
use crate::error::Result;
use crate::models::likelihood::inverse_total_variance;
use crate::models::misfit::Misfit;
use crate::models::pairs::PairSums;
use crate::models::usual_spectra::UsualSpectra;
use crate::models::{Estimated, LabelEstimator, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;
use crate::training::usual_spectra;

/// An estimator whose estimates are flagged where it does not describe the star.
pub struct Judged<E> {
    /// What estimates the labels.
    pub estimator: E,
    /// What misfit is usual.
    pub quality: FitQuality,
    /// Pixels of each chip.
    pub chips: Vec<Range<usize>>,
}

impl<E> Judged<E> {
    /// A model with what its folder tells of its fits, or else the rule for models that came without held-out stars.
    ///
    /// # Errors
    /// Those of [`FitQuality::load`].
    pub fn load(folder: &Path, estimator: E, chips: &[Range<usize>]) -> Result<Self> {
        let quality = FitQuality::load(folder)?.unwrap_or_else(FitQuality::without_held_out_stars);
        Ok(Self { estimator, quality, chips: chips.to_vec() })
    }
}

impl<E: LabelEstimator> LabelEstimator for Judged<E> {
    fn n_labels(&self) -> usize {
        self.estimator.n_labels()
    }

    fn estimate(&self, spectra: &SpectraBatch, wanted: Wanted) -> Result<Estimated> {
        let mut found = self.estimator.estimate(spectra, Wanted { misfit: true, ..wanted })?;
        self.quality.flag(&mut found.labels, &found.misfit, &spectra.conditions(&self.chips));
        Ok(found)
    }
}

/// What tells spectra that are unlike all that a model learned from, for models that do not describe spectra themselves.
#[derive(Debug, Clone)]
pub struct Recognizer {
    usual: UsualSpectra,
    components: NuisanceSpectra,
    /// What sums up their products.
    pairs: PairSums,
    chips: Vec<Range<usize>>,
}

impl Recognizer {
    /// Prepares the comparison with usual spectra.
    pub fn new(usual: UsualSpectra, chips: &[Range<usize>]) -> Self {
        let columns = usual.components.val().transpose();
        Self {
            pairs: PairSums::new(columns.clone()),
            components: NuisanceSpectra::new(columns),
            usual,
            chips: chips.to_vec(),
        }
    }

    /// How far spectra are from usual ones: what the components leave, how large they are, and how much there is of the
    /// mean's structure.
    pub fn examine(&self, spectra: &SpectraBatch) -> Misfit {
        let mut comparison = Comparison {
            residual: spectra.flux.clone() - self.usual.mean.val(),
            weight: inverse_total_variance(spectra.ivar.clone(), self.usual.s2.val()) * self.usual.valid(),
            ivar: spectra.ivar.clone(),
        };
        let structure = structure(&spectra.flux, &comparison.weight, &self.usual.mean.val());
        let amplitudes = comparison.take_out(&self.components, &self.pairs.matrices(&comparison.weight));
        comparison.measure(&self.chips, Some(&amplitudes), &[structure])
    }
}

/// An estimator that knows what spectra are usual.
pub struct Recognizing<E> {
    /// What estimates the labels.
    pub estimator: E,
    /// What compares spectra with those it learned from; none in folders written without.
    pub recognizer: Option<Recognizer>,
}

impl<E: LabelEstimator> Recognizing<E> {
    /// A model with the usual spectra of its folder.
    ///
    /// # Errors
    /// [`crate::error::Error::Checkpoint`].
    pub fn load(folder: &Path, estimator: E, grid: &WavelengthGrid, compute: &Compute) -> Result<Judged<Self>> {
        let judged = Judged::load(folder, (), &grid.chips)?;
        let usual = match judged.quality.n_components {
            0 => None,
            n_components => usual_spectra::load(folder, n_components, grid.n_pixels(), compute)?,
        };
        let recognizer = usual.map(|usual| Recognizer::new(usual, &grid.chips));
        Ok(Judged { estimator: Self { estimator, recognizer }, quality: judged.quality, chips: judged.chips })
    }
}

impl<E: LabelEstimator> LabelEstimator for Recognizing<E> {
    fn n_labels(&self) -> usize {
        self.estimator.n_labels()
    }

    fn estimate(&self, spectra: &SpectraBatch, wanted: Wanted) -> Result<Estimated> {
        let mut found = self.estimator.estimate(spectra, Wanted { misfit: false, ..wanted })?;
        if let Some(recognizer) = self.recognizer.as_ref().filter(|_| wanted.misfit) {
            found.misfit = recognizer.examine(spectra);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::models::misfit::Measure;
    use ndarray::{Array2, array};

    #[test]
    fn structure_is_the_slope_against_the_mean_spectrum_whatever_the_level() {
        let compute = Compute::flex(Precision::F64);
        let mean = [1.0, 0.5, 0.9, 0.2, 1.0];
        let usual = UsualSpectra::new(&mean, &[0.0; 5], &[0.01; 5], &compute);
        let recognizer = Recognizer::new(usual, std::slice::from_ref(&(0..5)));
        // Half the depth at twice the level, the mean itself with a masked pixel that is off, no line, lines upside down.
        let flux = array![
            [1.75_f32, 1.5, 1.7, 1.35, 1.75],
            [1.0, 0.5, 7.0, 0.2, 1.0],
            [1.0, 1.0, 1.0, 1.0, 1.0],
            [1.0, 1.5, 1.1, 1.8, 1.0],
            [1.0, 1.0, 1.0, 1.0, 1.0]
        ];
        let mut ivar = Array2::from_elem((5, 5), 400.0);
        ivar[[1, 2]] = 0.0;
        ivar.row_mut(4).fill(0.0);
        let misfit = recognizer.examine(&SpectraBatch::new(flux.view(), ivar.view(), &compute));
        let place = misfit.measures.iter().position(|measure| *measure == Measure::Structure).unwrap();
        let found = misfit.values.column(place).to_vec();
        assert!((found[0] - 0.5).abs() < 1e-6 && (found[1] - 1.0).abs() < 1e-6, "{found:?}");
        assert!(found[2] == 1e-3 && found[3] == 1e-3 && found[4].is_nan(), "{found:?}");
    }
}
