//! The spectra of an inventory, fetched over several connections that share one pace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::catalogue::WRONG_ROOT;
use super::inventory::{Inventory, verify};
use super::manifest::{Manifest, Status};
use super::refusal::Trouble;
use super::settings::ArchiveSettings;
use super::transfer::{Carrier, Job};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Bytes that no spectrum comes near: seven images of 8575 pixels, and one row more for each visit, of which no star has
/// 200.
const LONGEST_SPECTRUM: u64 = 64_000_000;

/// Fetches what waits; the manifest is written whatever happens.
///
/// # Errors
/// Why the run ended before every spectrum had its turn.
pub(super) fn fetch_all(
    inventory: Inventory,
    manifest: &mut Manifest,
    carrier: &Carrier,
    settings: &ArchiveSettings,
    progress: &dyn Progress,
) -> Result<()> {
    let waiting = inventory.positions(Status::Waiting);
    let n_connections = settings.connections.min(waiting.len());
    let run = Run {
        // A folder that has some of the spectra has shown that the archive has them.
        luck: Mutex::new(if waiting.len() < inventory.entries.len() { Luck::Proven } else { Luck::Absent(0) }),
        inventory: &inventory,
        manifest: Mutex::new(manifest),
        carrier,
        settings,
    };
    progress.start("fetch spectra", waiting.len());
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..n_connections {
            scope.spawn(|| {
                while carrier.pace.goes_on() {
                    let Some(index) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                    run.fetch(*index);
                    progress.advance(1);
                }
            });
        }
    });
    progress.finish();
    let written = run.manifest.into_inner().unwrap_or_else(PoisonError::into_inner).write();
    carrier.pace.verdict()?;
    written
}

/// What the connections share.
struct Run<'a> {
    inventory: &'a Inventory,
    manifest: Mutex<&'a mut Manifest>,
    carrier: &'a Carrier<'a>,
    settings: &'a ArchiveSettings,
    luck: Mutex<Luck>,
}

/// Whether the archive has shown any spectrum yet, or how many it lacked.
enum Luck {
    Proven,
    Absent(usize),
}

impl Run<'_> {
    fn fetch(&self, index: usize) {
        let entry = &self.inventory.entries[index];
        let job = Job {
            source: &self.inventory.sources[index],
            destination: &entry.path,
            longest: LONGEST_SPECTRUM,
            check: &|part| verify(part, &entry.id),
            watch: &|_, _| {},
        };
        let (status, bytes, reason) = match self.carrier.carry(&job) {
            Ok(bytes) => (Status::Fetched, bytes, String::new()),
            Err(Trouble::Absent(reason)) => (Status::Missing, 0, reason),
            Err(Trouble::Failed(reason)) => {
                tracing::warn!("{}: {reason}", entry.url);
                (Status::Failed, 0, reason)
            }
            Err(Trouble::Stopped) => return,
        };
        self.try_luck(status, &entry.url);
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(err) = manifest.note(index, status, bytes, reason) {
            self.carrier.pace.halt(err);
        }
    }

    /// An archive that has none of the first spectra is not asked for all the others.
    fn try_luck(&self, status: Status, url: &str) {
        let mut luck = self.luck.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *luck, status) {
            (luck, Status::Fetched) => *luck = Luck::Proven,
            (Luck::Absent(n_absent), Status::Missing) => {
                *n_absent += 1;
                if *n_absent >= self.settings.give_up_after {
                    let detail = format!("not there, as none of the {n_absent} spectra asked for; {WRONG_ROOT}");
                    self.carrier.pace.halt(Error::Network { url: url.into(), detail });
                }
            }
            _ => {}
        }
    }
}
