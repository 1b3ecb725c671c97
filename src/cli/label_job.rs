//! Labelling many spectra: by which model, on what, a batch at a time, with a journal.

use std::path::Path;

use clap::Args;

use super::bars::Bars;
use crate::device::{Backend, Compute, DeviceSettings, Precision};
use crate::error::{Error, Result};
use crate::inference::fit::FitSettings;
use crate::inference::prior::Nuisances;
use crate::inference::refine::RefineSettings;
use crate::labelling::best_fits::BestFits;
use crate::labelling::journal::{LabelJournal, Trust};
use crate::labelling::labeller::{LabelledStar, Labeller};
use crate::progress::Progress;
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

/// Labels spectra a batch at a time. Batches are the same however often a job is begun, so that each star gets the very same labels;
/// what an earlier job ended with is first read alone. Memory does not grow with the spectra. Ctrl-C stops it between batches.
pub(super) fn label_all(
    labeller: &Labeller,
    spectra: &dyn SpectrumSource,
    mut journal: Option<&mut LabelJournal>,
    mut best_fits: Option<&mut (dyn BestFits + 'static)>,
    bars: &Bars,
    mut sink: impl FnMut(&[LabelledStar]),
) -> Result<()> {
    bars.start("labelling spectra", spectra.len());
    let all: Vec<usize> = (0..spectra.len()).collect();
    for batch in all.chunks(labeller.batch_stars()) {
        if bars.interrupted() {
            return Err(Error::Interrupted { kept: false });
        }
        let (waiting, never) = match &mut journal {
            Some(journal) => waiting(batch, spectra, journal, labeller)?,
            None => (batch.to_vec(), Vec::new()),
        };
        bars.advance(batch.len() - waiting.len());
        let mut stars = Vec::new();
        if !waiting.is_empty() {
            let names = waiting.iter().map(|n| spectra.name(*n)).collect();
            journal.as_mut().map_or(Ok(()), |journal| journal.begin(names))?;
            stars = labeller.label(spectra, &waiting, best_fits.as_deref_mut(), bars)?;
        }
        stars.extend(never.iter().map(|n| labeller.unread(spectra, *n)));
        sink(&stars);
        journal.as_mut().map_or(Ok(()), |journal| journal.append(&stars))?;
    }
    bars.finish();
    Ok(())
}

/// Of some spectra, those that have no labels yet, and those of them that are never read again.
fn waiting(
    batch: &[usize],
    spectra: &dyn SpectrumSource,
    journal: &mut LabelJournal,
    labeller: &Labeller,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let (mut waiting, mut never) = (Vec::with_capacity(batch.len()), Vec::new());
    for n in batch {
        let name = spectra.name(*n);
        match journal.trust(&name) {
            _ if journal.has(&name) => {}
            Trust::Full => waiting.push(*n),
            Trust::Alone => {
                journal.begin(vec![name])?;
                labeller.try_to_read(spectra, *n);
                journal.came_through()?;
                waiting.push(*n);
            }
            Trust::Nil => {
                tracing::warn!("{name}: not read again: it has ended two jobs; flagged as unreadable");
                never.push(*n);
            }
        }
    }
    Ok((waiting, never))
}

/// Removes a journal in which there is nothing to go on with.
pub(super) fn discard_empty(journal: Option<LabelJournal>) -> Result<()> {
    journal.filter(LabelJournal::is_empty).map_or(Ok(()), LabelJournal::discard)
}
