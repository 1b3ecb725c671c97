//! Sampling the posteriors of many spectra, one after the other.

use std::path::Path;

use super::bars::Bars;
use super::job::RowMaker;
use crate::error::{Error, Result};
use crate::inference::sampling::{PosteriorSettings, Sampler};
use crate::labelling::posterior::{PosteriorSampler, SampledStar};
use crate::labelling::posterior_draws::KeptDraws;
use crate::labelling::posterior_row::PosteriorRow;
use crate::progress::Progress;
use crate::stars::spectra::SpectrumSource;

/// Samples spectra, and keeps some draws of each beside the journal where these are wanted.
pub(super) struct Posteriors<'a> {
    pub model: &'a PosteriorSampler,
    pub settings: &'a PosteriorSettings,
    pub sampler: Sampler,
    pub seed: u64,
    pub kept: KeptDraws,
    /// What else is done with each star that was sampled.
    pub each: &'a mut dyn FnMut(&SampledStar) -> Result<()>,
    /// Stars that were sampled.
    pub n_sampled: usize,
    /// What was wrong with the first that could not be.
    pub problem: Option<Error>,
}

impl Posteriors<'_> {
    fn note(&mut self, problem: Error) {
        tracing::warn!("{problem}");
        self.problem.get_or_insert(problem);
    }
}

impl RowMaker for Posteriors<'_> {
    type Row = PosteriorRow;
    const TASK: &'static str = "sampling posteriors";

    /// Nothing is gained by more: a killed job loses one star.
    fn batch(&self) -> usize {
        1
    }

    fn make(
        &mut self,
        spectra: &dyn SpectrumSource,
        batch: &[usize],
        journal: Option<&Path>,
        bars: &Bars,
    ) -> Result<Vec<PosteriorRow>> {
        let mut rows = Vec::with_capacity(batch.len());
        for spectrum in batch {
            let read = match self.model.read(spectra, *spectrum) {
                Ok(read) => read,
                Err(err) => {
                    self.note(err);
                    rows.push(self.unread(spectra, *spectrum));
                    continue;
                }
            };
            match self.model.sample(&read, self.settings, self.sampler, self.seed, bars) {
                Ok(sampled) => {
                    (self.each)(&sampled)?;
                    let draws = match journal.zip(sampled.draws.as_ref()) {
                        Some((journal, draws)) => self.kept.add(journal, draws)?,
                        None => None,
                    };
                    self.n_sampled += 1;
                    rows.push(PosteriorRow { draws, ..sampled.row() });
                }
                // One star's trouble is its own.
                Err(err @ Error::Sampling(_)) => {
                    self.note(err);
                    rows.push(self.model.failed(read));
                }
                Err(err) => return Err(err),
            }
        }
        bars.advance(batch.len());
        Ok(rows)
    }

    fn try_to_read(&self, spectra: &dyn SpectrumSource, spectrum: usize) {
        let _ = self.model.read(spectra, spectrum);
    }

    fn unread(&self, spectra: &dyn SpectrumSource, spectrum: usize) -> PosteriorRow {
        self.model.unread(spectra, spectrum)
    }
}
