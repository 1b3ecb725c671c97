//! Labelling many spectra: by which model, on what.

use std::path::Path;

use clap::Args;

use super::bars::Bars;
use super::job::RowMaker;
use crate::device::{Backend, Compute, DeviceSettings, Precision};
use crate::error::Result;
use crate::inference::fit::FitSettings;
use crate::inference::prior::Nuisances;
use crate::inference::refine::RefineSettings;
use crate::labelling::best_fits::BestFits;
use crate::labelling::labeller::{LabelledStar, Labeller};
use crate::stars::spectra::SpectrumSource;

/// How labels are fitted, and what computes.
#[derive(Debug, Args)]
pub(super) struct FitArgs {
    /// What an emulator's fit does with abundances and broadening that are not labels.
    #[arg(long, value_enum, default_value_t)]
    nuisances: Nuisances,
    /// What computes.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Floating-point width.
    #[arg(long, value_enum, default_value_t)]
    precision: Precision,
    /// CPU threads; 0 means all cores.
    #[arg(long, default_value_t = 0)]
    pub(super) threads: usize,
}

impl FitArgs {
    /// What labels spectra by a model.
    ///
    /// # Errors
    /// Those of opening the device and of loading the model.
    pub(super) fn labeller(&self, model: &Path) -> Result<Labeller> {
        let (backend, precision, threads) = (self.backend, self.precision, self.threads);
        let device = DeviceSettings { backend, precision, threads, ..DeviceSettings::default() };
        let refine = RefineSettings { nuisances: self.nuisances, ..RefineSettings::default() };
        Labeller::load(model, &FitSettings::default(), &refine, &Compute::open(&device)?)
    }
}

/// Labels spectra, with their best fits where these are wanted.
pub(super) struct Labels<'a> {
    pub labeller: &'a Labeller,
    pub best_fits: Option<&'a mut (dyn BestFits + 'static)>,
}

impl RowMaker for Labels<'_> {
    type Row = LabelledStar;
    const TASK: &'static str = "labelling spectra";

    fn batch(&self) -> usize {
        self.labeller.batch_stars()
    }

    fn make(
        &mut self,
        spectra: &dyn SpectrumSource,
        batch: &[usize],
        _journal: Option<&Path>,
        bars: &Bars,
    ) -> Result<Vec<LabelledStar>> {
        self.labeller.label(spectra, batch, self.best_fits.as_deref_mut(), bars)
    }

    fn try_to_read(&self, spectra: &dyn SpectrumSource, spectrum: usize) {
        self.labeller.try_to_read(spectra, spectrum);
    }

    fn unread(&self, spectra: &dyn SpectrumSource, spectrum: usize) -> LabelledStar {
        self.labeller.unread(spectra, spectrum)
    }
}
