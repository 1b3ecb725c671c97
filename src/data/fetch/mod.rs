//! An APOGEE sample from the SDSS Science Archive: the catalogue, and the spectra of the stars selected from it, of DR17 or of
//! SDSS-V (DR19, DR20).
//!
//! Whatever ends a run, every file under its final name is whole and verified, what was on its way is continued by the
//! next run, and nothing is fetched twice.

mod archive;
mod catalogue;
mod expected;
mod flaw;
mod inventory;
mod listing;
mod lock;
mod manifest;
mod pace;
mod part;
mod plan;
mod redirect;
mod refusal;
mod request;
mod settings;
mod sky_server;
mod spectra;
mod stream;
mod transfer;
mod transport;
mod ways;
mod whole;

use std::path::PathBuf;

use serde::Serialize;

pub use catalogue::CatalogueOrigin;
pub use manifest::{ManifestEntry, Status};
pub use plan::{FetchPlan, SpectraPlan, plan};
pub use request::FetchRequest;
pub use settings::{ArchiveSettings, Release};

use super::selection::Cut;
use crate::error::{Error, Result};
use crate::progress::Progress;
use inventory::Inventory;
use lock::FolderLock;
use manifest::Manifest;
use pace::Pace;
use transfer::Carrier;
use transport::Transport;

/// What a run fetched.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FetchReport {
    /// Where the catalogue came from.
    pub catalogue: CatalogueOrigin,
    /// Spectra of the stars selected.
    pub n_selected: usize,
    /// Those that were there before.
    pub n_present: usize,
    /// Those fetched.
    pub n_fetched: usize,
    /// Those that the archive does not have, or does not give, with the reason.
    pub missing: Vec<ManifestEntry>,
    /// Those that could not be had, with the reason; another run may get them.
    pub failed: Vec<ManifestEntry>,
    /// Bytes that came over the network, or from the copy on disk, kept or not.
    pub bytes: u64,
    /// The cuts of the selection.
    pub cuts: Vec<Cut>,
    /// What became of every spectrum, as a table.
    pub manifest: PathBuf,
}

impl FetchReport {
    /// Whether there is a spectrum at all, fetched now or before, or one that may come with another try.
    ///
    /// # Errors
    /// [`Error::Network`] that names the archive's root, and what the first that is lacking should have been; [`Error::Mismatch`] where
    /// the catalogue does not tell what to ask for.
    pub fn check(&self, settings: &ArchiveSettings) -> Result<()> {
        let may_come = self.missing.is_empty() && self.failed.iter().any(|entry| !entry.url.is_empty());
        if self.n_present + self.n_fetched > 0 || may_come {
            return Ok(());
        }
        let asked = self.missing.iter().chain(&self.failed).find(|entry| !entry.url.is_empty());
        let Some(asked) = asked else {
            // The archive was not asked: its root is not what is wrong.
            let example = self.missing.iter().chain(&self.failed).next();
            let example = example.map_or_else(String::new, |entry| format!(" ({}: {})", entry.id, entry.reason));
            return Err(Error::Mismatch {
                what: "catalogue".into(),
                detail: format!(
                    "none of the {} spectra selected can be asked for{example}; mend these rows, or select others",
                    self.n_selected
                ),
            });
        };
        Err(Error::Network {
            url: settings.folder(),
            detail: format!(
                "none of the {} spectra selected came ({}: {}); is this the root of data release {release}, and the catalogue one of \
                 {release}?",
                self.n_selected,
                asked.url,
                asked.reason,
                release = settings.release
            ),
        })
    }
}

/// Fetches the catalogue if it is not there, selects stars, and fetches their spectra that are not there.
///
/// # Errors
/// [`Error::Config`] for settings; [`Error::Network`] where the catalogue cannot be had, or the archive has stopped
/// answering; [`Error::Interrupted`] when asked to stop; [`Error::Io`]. A spectrum that cannot be had is no error.
pub fn fetch(request: &FetchRequest, progress: &dyn Progress) -> Result<FetchReport> {
    request.check()?;
    progress.defer_interruption(true);
    let report = fetch_deferring(request, progress);
    progress.defer_interruption(false);
    report
}

fn fetch_deferring(request: &FetchRequest, progress: &dyn Progress) -> Result<FetchReport> {
    let transport = Transport::new(request.settings);
    let pace = Pace::new(request.settings, progress);
    let carrier = Carrier::new(&transport, &pace, request.settings.timeout_s);
    let catalogue = catalogue::obtain(request, &carrier, progress)?;
    let inventory = Inventory::take(request, &transport, progress)?;
    let _lock = FolderLock::take(request.spectra)?;
    let mut manifest = Manifest::new(request.spectra, inventory.entries.clone());
    let cuts = inventory.cuts.clone();
    spectra::fetch_all(inventory, &mut manifest, &carrier, request.settings, progress)?;
    let of_status = |status| manifest.entries().iter().filter(move |entry| entry.status == status);
    Ok(FetchReport {
        catalogue,
        n_selected: manifest.entries().len(),
        n_present: of_status(Status::Present).count(),
        n_fetched: of_status(Status::Fetched).count(),
        missing: of_status(Status::Missing).cloned().collect(),
        failed: of_status(Status::Failed).cloned().collect(),
        bytes: carrier.received(),
        cuts,
        manifest: manifest.path().to_path_buf(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_is_to_blame_only_where_it_was_asked() {
        let entry = |url: &str, reason: &str| ManifestEntry {
            id: "2M0".into(),
            telescope: "apo25m".into(),
            field: "M13".into(),
            path: PathBuf::new(),
            url: url.into(),
            status: Status::Missing,
            bytes: 0,
            reason: reason.into(),
        };
        let settings = ArchiveSettings::default();
        let said = |missing: Vec<ManifestEntry>| {
            let report = FetchReport {
                catalogue: CatalogueOrigin::Kept,
                n_selected: missing.len(),
                n_present: 0,
                n_fetched: 0,
                missing,
                failed: Vec::new(),
                bytes: 0,
                cuts: Vec::new(),
                manifest: PathBuf::new(),
            };
            report.check(&settings).unwrap_err().to_string()
        };
        let of_rows = said(vec![entry("", "TELESCOPE is ../x")]);
        assert!(of_rows.contains("can be asked for (2M0: TELESCOPE is ../x); mend these rows"), "{of_rows}");
        assert!(!of_rows.contains("root"), "{of_rows}");
        let of_archive = said(vec![entry("", "TELESCOPE is ../x"), entry("https://a/b.fits", "404")]);
        assert!(of_archive.contains("came (https://a/b.fits: 404); is this the root of data release"), "{of_archive}");
    }
}
