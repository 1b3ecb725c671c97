//! What a run would fetch; asks for sizes and writes nothing.

use serde::Serialize;

use super::archive::{Source, catalogues};
use super::catalogue::{CatalogueOrigin, WRONG_ROOT, origin};
use super::inventory::Inventory;
use super::manifest::Status;
use super::pace::Pace;
use super::part::Part;
use super::refusal::Trouble;
use super::request::FetchRequest;
use super::transport::Transport;
use crate::data::selection::Cut;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Files of a server whose sizes stand for those of all.
const SAMPLE: usize = 20;

/// What a run would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FetchPlan {
    /// Where the catalogue would come from.
    pub catalogue: CatalogueOrigin,
    /// Bytes of it still to come, where known.
    pub catalogue_bytes: Option<u64>,
    /// The spectra; `None` while there is no catalogue to select from.
    pub spectra: Option<SpectraPlan>,
}

/// The spectra that a run would fetch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SpectraPlan {
    /// Spectra of the stars selected.
    pub n_selected: usize,
    /// Those that are there and open.
    pub n_present: usize,
    /// Those to fetch.
    pub n_to_fetch: usize,
    /// Those that the catalogue gives no path for.
    pub n_without_path: usize,
    /// Bytes still to come, where known.
    pub bytes: Option<u64>,
    /// Files whose sizes were asked for; `bytes` is extrapolated where they are fewer than `n_to_fetch`.
    pub n_sized: usize,
    /// Those of them that are not in the archive.
    pub n_absent: usize,
    /// The cuts of the selection.
    pub cuts: Vec<Cut>,
}

impl SpectraPlan {
    /// Whether `bytes` is extrapolated from a sample.
    pub fn is_extrapolated(&self) -> bool {
        self.n_sized < self.n_to_fetch
    }
}

/// What [`super::fetch()`] would do, without doing it.
///
/// # Errors
/// Those of the settings and the catalogue; [`Error::Network`] where the archive does not answer.
pub fn plan(request: &FetchRequest, progress: &dyn Progress) -> Result<FetchPlan> {
    request.check()?;
    let transport = Transport::new(request.settings);
    let pace = Pace::new(request.settings, progress);
    let catalogue = origin(request)?;
    let catalogue_bytes = match catalogue {
        CatalogueOrigin::Archive => {
            let sources = catalogues(request.settings.release, &request.catalogue_file());
            let size = first_size(&sources, &transport, &pace)?.ok_or_else(|| Error::Network {
                url: transport.url(&sources[0]),
                detail: format!("no catalogue: {WRONG_ROOT}"),
            })?;
            size.map(|size| size.saturating_sub(Part::of(&request.catalogue_file()).length()))
        }
        _ => None,
    };
    let spectra = match request.catalogue_file().exists() {
        true => Some(plan_spectra(request, &transport, &pace, progress)?),
        false => None,
    };
    Ok(FetchPlan { catalogue, catalogue_bytes, spectra })
}

fn plan_spectra(
    request: &FetchRequest,
    transport: &Transport,
    pace: &Pace,
    progress: &dyn Progress,
) -> Result<SpectraPlan> {
    let inventory = Inventory::take(request, transport, progress)?;
    let waiting = inventory.positions(Status::Waiting);
    let sample: Vec<usize> = match waiting.len() {
        n if transport.is_local() || n <= SAMPLE => waiting.clone(),
        n => (0..SAMPLE).map(|k| waiting[k * n / SAMPLE]).collect(),
    };
    let (mut sizes, mut n_absent) = (Vec::new(), 0);
    progress.start("ask for sizes", sample.len());
    for &index in &sample {
        let sources = inventory.wanted[index].ways.iter().map(|way| &way.source);
        match first_size(sources, transport, pace)? {
            Some(size) => sizes.extend(size),
            None => n_absent += 1,
        }
        progress.advance(1);
    }
    progress.finish();
    // A server that tells no sizes leaves nothing to extrapolate from.
    let is_known = sizes.len() + n_absent == sample.len();
    let total = sizes.iter().sum::<u64>() as f64 * waiting.len() as f64 / sample.len().max(1) as f64;
    let begun: u64 = waiting.iter().map(|&index| Part::of(&inventory.entries[index].path).length()).sum();
    Ok(SpectraPlan {
        n_selected: inventory.entries.len(),
        n_present: inventory.positions(Status::Present).len(),
        n_to_fetch: waiting.len(),
        n_without_path: inventory.positions(Status::Failed).len(),
        bytes: is_known.then(|| (total.round() as u64).saturating_sub(begun)),
        n_sized: sample.len(),
        n_absent,
        cuts: inventory.cuts,
    })
}

/// Size of the first of these files that is there, where the server tells; `None` where there is none.
fn first_size<'a>(
    sources: impl IntoIterator<Item = &'a Source>,
    transport: &Transport,
    pace: &Pace,
) -> Result<Option<Option<u64>>> {
    for source in sources {
        if let Some(size) = size(source, transport, pace)? {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// Size of a file where the server tells; `None` where there is no such file.
fn size(source: &Source, transport: &Transport, pace: &Pace) -> Result<Option<Option<u64>>> {
    let url = transport.url(source);
    match pace.persist(&url, || transport.size(source, pace)) {
        Ok(size) => Ok(Some(size)),
        Err(Trouble::Absent(_)) => Ok(None),
        // Some servers know no HEAD.
        Err(Trouble::Failed(reason)) => {
            tracing::warn!("{url}: {reason}; its size is not known");
            Ok(Some(None))
        }
        Err(Trouble::Stopped) => Err(pace.verdict().err().unwrap_or(Error::Interrupted { kept: false })),
    }
}
