//! Rows for any number of spectra: made a batch at a time, kept in a journal as they come, gone on with when a job was stopped.

use std::path::Path;

use super::bars::Bars;
use crate::error::{Error, Result};
use crate::labelling::journal::{Journal, JournalRow, Trust};
use crate::progress::Progress;
use crate::stars::spectra::SpectrumSource;

/// What makes a row of each spectrum.
pub(super) trait RowMaker {
    /// The rows.
    type Row: JournalRow;

    /// What it does, for whoever waits.
    const TASK: &'static str;

    /// Spectra that are dealt with together.
    fn batch(&self) -> usize;

    /// The rows of some spectra. One that cannot be read has a row that says so; its problem goes to the log. What is too much for the
    /// journal, and yet goes with it, is brought to the disk beside it.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where `bars` ask to stop; whatever else no other spectrum would be spared.
    fn make(
        &mut self,
        spectra: &dyn SpectrumSource,
        batch: &[usize],
        journal: Option<&Path>,
        bars: &Bars,
    ) -> Result<Vec<Self::Row>>;

    /// Reads a spectrum and forgets it: whoever does not survive that knows why.
    fn try_to_read(&self, spectra: &dyn SpectrumSource, spectrum: usize);

    /// The row of a spectrum that is not to be read.
    fn unread(&self, spectra: &dyn SpectrumSource, spectrum: usize) -> Self::Row;
}

/// Makes the rows of all spectra a batch at a time. Batches are the same however often a job is begun, so that each star gets the very same
/// row; what an earlier job ended with is first read alone. Memory does not grow with the spectra. Ctrl-C stops it between batches.
pub(super) fn make_all<M: RowMaker>(
    maker: &mut M,
    spectra: &dyn SpectrumSource,
    mut journal: Option<&mut Journal<M::Row>>,
    bars: &Bars,
    mut sink: impl FnMut(&[M::Row]),
) -> Result<()> {
    bars.start(M::TASK, spectra.len());
    let all: Vec<usize> = (0..spectra.len()).collect();
    for batch in all.chunks(maker.batch()) {
        if bars.interrupted() {
            return Err(Error::Interrupted { kept: false });
        }
        let (waiting, never) = match &mut journal {
            Some(journal) => waiting(batch, spectra, journal, maker)?,
            None => (batch.to_vec(), Vec::new()),
        };
        bars.advance(batch.len() - waiting.len());
        let mut rows = Vec::new();
        if !waiting.is_empty() {
            let names = waiting.iter().map(|n| spectra.name(*n)).collect();
            journal.as_mut().map_or(Ok(()), |journal| journal.begin(names))?;
            let made = maker.make(spectra, &waiting, journal.as_ref().map(|journal| journal.path()), bars);
            if made.as_ref().is_err_and(Error::is_interruption) {
                // Nothing is wrong with what was being read.
                journal.as_mut().map_or(Ok(()), |journal| journal.came_through())?;
            }
            rows = made?;
        }
        rows.extend(never.iter().map(|n| maker.unread(spectra, *n)));
        sink(&rows);
        journal.as_mut().map_or(Ok(()), |journal| journal.append(&rows))?;
    }
    bars.finish();
    Ok(())
}

/// Of some spectra, those that have no rows yet, and those of them that are never read again.
fn waiting<M: RowMaker>(
    batch: &[usize],
    spectra: &dyn SpectrumSource,
    journal: &mut Journal<M::Row>,
    maker: &M,
) -> Result<(Vec<usize>, Vec<usize>)> {
    let (mut waiting, mut never) = (Vec::with_capacity(batch.len()), Vec::new());
    for n in batch {
        let name = spectra.name(*n);
        match journal.trust(&name) {
            _ if journal.has(&name) => {}
            Trust::Full => waiting.push(*n),
            Trust::Alone => {
                journal.begin_alone(name)?;
                maker.try_to_read(spectra, *n);
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
