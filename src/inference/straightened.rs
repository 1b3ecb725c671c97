//! A model from a folder whose estimates are made to follow their labels, as the folder says.

use super::slopes::Slopes;
use crate::error::Result;
use crate::models::{Estimated, LabelEstimator, Wanted};
use crate::spectra::batch::SpectraBatch;
use crate::spectra::grid::WavelengthGrid;

/// An estimator whose estimates are made to follow their labels.
pub struct Straightened {
    /// What estimates the labels.
    pub estimator: Box<dyn LabelEstimator>,
    /// How they follow.
    pub slopes: Slopes,
    /// Where the pixels lie.
    pub grid: WavelengthGrid,
}

impl LabelEstimator for Straightened {
    fn n_labels(&self) -> usize {
        self.estimator.n_labels()
    }

    fn estimate(&self, spectra: &SpectraBatch, wanted: Wanted) -> Result<Estimated> {
        let mut found = self.estimator.estimate(spectra, wanted)?;
        self.slopes.apply(&mut found.labels, &spectra.conditions(&self.grid.chips));
        Ok(found)
    }
}
