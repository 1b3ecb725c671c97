//! The spectra of an inventory, fetched over several connections that share one pace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::catalogue::WRONG_ROOT;
use super::flaw::Flaw;
use super::inventory::{Inventory, Wanted};
use super::manifest::{Manifest, Status};
use super::refusal::Trouble;
use super::settings::ArchiveSettings;
use super::transfer::{Carrier, Job};
use super::ways::Way;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// Bytes that no spectrum comes near: seven images of 8575 pixels, and one row more for each visit, of which no star has
/// 200.
const LONGEST_SPECTRUM: u64 = 64_000_000;

/// Where SDSS-V's apStar files are.
const REDUCTIONS: &str = "spectro/apogee/redux/";
/// What to do where one of them is not there.
const UNDER_ANOTHER_NAME: &str = "; the archive may have it under a name with a day, which the reduction's table tells: \
                                  data.archive.all_star = [\"allStar-1.3-apo25m.fits\"]";

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
    let waiting = inventory.waiting();
    let n_waiting: usize = waiting.iter().map(Vec::len).sum();
    let n_connections = settings.connections.min(waiting.len());
    let run = Run {
        // A folder that has some of the spectra has shown that the archive has them.
        luck: Mutex::new(if n_waiting < inventory.entries.len() { Luck::Proven } else { Luck::Absent(0) }),
        inventory: &inventory,
        manifest: Mutex::new(manifest),
        carrier,
        settings,
    };
    progress.start("fetch spectra", n_waiting);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..n_connections {
            scope.spawn(|| {
                while let Some(group) = waiting.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for index in group {
                        if !carrier.pace.goes_on() {
                            return;
                        }
                        run.fetch(*index);
                        progress.advance(1);
                    }
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
        let wanted = &self.inventory.wanted[index];
        let (mut status, mut bytes, mut reasons, mut came) = (Status::Missing, 0, Vec::new(), None);
        for way in &wanted.ways {
            match self.go(way, wanted) {
                Ok(length) => {
                    (status, bytes, came) = (Status::Fetched, length, Some(way));
                    reasons.clear();
                    break;
                }
                Err(Trouble::Absent(reason)) => reasons.push((way, reason)),
                Err(Trouble::Failed(reason)) => {
                    tracing::warn!("{}: {reason}", self.carrier.transport.url(&way.source));
                    status = Status::Failed;
                    reasons.push((way, reason));
                }
                Err(Trouble::Stopped) => return,
            }
        }
        self.try_luck(status, &self.inventory.entries[index].url);
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(way) = came {
            manifest.came(index, self.carrier.transport.url(&way.source), &way.destination);
        }
        if let Err(err) = manifest.note(index, status, bytes, self.explain(&reasons, status)) {
            self.carrier.pace.halt(err);
        }
    }

    /// Fetches one file, unless another row of the same star has.
    fn go(&self, way: &Way, wanted: &Wanted) -> Result<u64, Trouble> {
        if way.destination.is_file() {
            match wanted.expected.verify(&way.destination) {
                Ok(()) => return Ok(std::fs::metadata(&way.destination).map_or(0, |metadata| metadata.len())),
                Err(Flaw::Unfit(reason)) if way.is_of_star() => return Err(Trouble::Absent(reason)),
                Err(_) => {}
            }
        }
        self.carrier.carry(&Job {
            source: &way.source,
            destination: &way.destination,
            longest: LONGEST_SPECTRUM,
            may_be_packed: false,
            check: &|part| wanted.expected.verify(part),
            watch: &|_, _| {},
        })
    }

    /// Why a spectrum did not come, by every way that was tried.
    fn explain(&self, reasons: &[(&Way, String)], status: Status) -> String {
        let mut said = match reasons {
            [(_, reason)] => reason.clone(),
            reasons => {
                let each = reasons.iter().map(|(way, reason)| format!("{}: {reason}", way.source.path));
                each.collect::<Vec<_>>().join("; ")
            }
        };
        let is_reduced = reasons.iter().any(|(way, _)| way.source.path.starts_with(REDUCTIONS));
        if status == Status::Missing && is_reduced && self.settings.all_star.is_empty() {
            said += UNDER_ANOTHER_NAME;
        }
        said
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
