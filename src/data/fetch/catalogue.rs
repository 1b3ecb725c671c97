//! The catalogue: a query to SkyServer, or the archive's table of all stars.

use std::cell::Cell;
use std::path::Path;

use serde::Serialize;

use super::archive::{Source, catalogues};
use super::flaw::Flaw;
use super::lock::FolderLock;
use super::refusal::Trouble;
use super::request::FetchRequest;
use super::settings::Release;
use super::sky_server::{self, Asked};
use super::transfer::{Carrier, Job};
use super::whole::is_whole;
use crate::data::files;
use crate::data::fits::{FitsReader, find_column};
use crate::data::packed;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// What to do where the archive has nothing of what is asked for.
pub(super) const WRONG_ROOT: &str = "is data.archive.root the folder of the right data release?";

/// Bytes that no catalogue of all stars comes near; that of DR17 has 4 GB, and Astra's 2.3, 1.1 of them compressed.
const LONGEST_CATALOGUE: u64 = 40_000_000_000;

/// Where the catalogue came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CatalogueOrigin {
    /// It was there before.
    Kept,
    /// SkyServer's answer to a query.
    SkyServer,
    /// The archive's table of all stars.
    Archive,
}

/// Where the catalogue is to come from, by its name; asks nobody.
///
/// # Errors
/// [`Error::Config`] where nowhere gives a catalogue of that name.
pub(super) fn origin(request: &FetchRequest) -> Result<CatalogueOrigin> {
    let path = request.catalogue_file();
    if path.exists() && !request.refresh_catalogue {
        return Ok(CatalogueOrigin::Kept);
    }
    let name = path.to_string_lossy().to_lowercase();
    let is_sdss_v = request.settings.release.is_sdss_v();
    let problem = match () {
        () if is_sdss_v && [".fits", ".fits.gz"].iter().any(|ending| name.ends_with(ending)) => {
            return Ok(CatalogueOrigin::Archive);
        }
        () if is_sdss_v => "must end in .fits.gz or .fits, for the archive's table astraAllStarASPCAP-0.6.0.fits.gz",
        () if name.ends_with(".fits") => return Ok(CatalogueOrigin::Archive),
        () if !name.ends_with(".csv") => "must end in .fits, for the archive's allStar file, or in .csv, for a query",
        () if request.settings.folder().starts_with("file:") => {
            "cannot be had from a copy of the archive on disk, which answers no queries; end it in .fits, \
             or set data.archive.root to a server"
        }
        () => return Ok(CatalogueOrigin::SkyServer),
    };
    Err(Error::Config(format!("data.apstar.catalogue = \"{}\" {problem}", path.display())))
}

/// Sees to it that the catalogue is there.
///
/// # Errors
/// [`Error::Network`] where it cannot be had; nothing is then changed.
pub(super) fn obtain(request: &FetchRequest, carrier: &Carrier, progress: &dyn Progress) -> Result<CatalogueOrigin> {
    let origin = origin(request)?;
    let path = request.catalogue_file();
    if origin == CatalogueOrigin::Kept {
        tracing::info!("{}: the catalogue is there and kept", path.display());
        return Ok(origin);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _lock = FolderLock::take(folder)?;
    match origin {
        CatalogueOrigin::Archive => from_archive(request, carrier, progress)?,
        _ => from_sky_server(request, carrier, progress)?,
    }
    Ok(origin)
}

fn from_sky_server(request: &FetchRequest, carrier: &Carrier, progress: &dyn Progress) -> Result<()> {
    let asked = Asked { labels: request.labels, selection: request.selection, columns: request.columns };
    let query = sky_server::query(&asked)?;
    tracing::info!("{}: {query}", request.settings.skyserver);
    let url = sky_server::url(&request.settings.skyserver, &query);
    let longest = sky_server::longest_answer(&asked);
    progress.start("ask SkyServer", 1);
    let answer = carrier.pace.persist(&request.settings.skyserver, || {
        let text = carrier.transport.query(&url, longest, carrier.pace)?;
        let n_stars = sky_server::examine(&text, &asked)?;
        Ok((text, n_stars))
    });
    progress.finish();
    let (text, n_stars) = answer.map_err(|trouble| failed(trouble, &request.settings.skyserver, carrier))?;
    tracing::info!("{}: {n_stars} stars", request.catalogue.display());
    files::write_bytes(request.catalogue, text)
}

fn from_archive(request: &FetchRequest, carrier: &Carrier, progress: &dyn Progress) -> Result<()> {
    let (path, release) = (&request.catalogue_file(), request.settings.release);
    let mut absent = None;
    for source in catalogues(release, path) {
        let bar = KilobyteBar { progress, source: &source, shown: Cell::new(None) };
        let watch = |done, total| bar.show(done, total);
        let job = Job {
            source: &source,
            destination: path,
            longest: LONGEST_CATALOGUE,
            may_be_packed: release.is_sdss_v(),
            check: &|part| check_catalogue(part, release),
            watch: &watch,
        };
        let came = carrier.carry(&job);
        progress.finish();
        match came {
            Ok(_) => {
                if packed::is_packed(path)? {
                    tracing::info!("{}: compressed; unpacked (gunzip) it is read in little memory", path.display());
                }
                return Ok(());
            }
            Err(Trouble::Absent(reason)) => {
                absent.get_or_insert((source, reason));
            }
            Err(trouble) => return Err(failed(trouble, &carrier.transport.url(&source), carrier)),
        }
    }
    let (source, reason) = absent.expect("there is a source to try");
    Err(failed(Trouble::Absent(reason), &carrier.transport.url(&source), carrier))
}

fn failed(trouble: Trouble, url: &str, carrier: &Carrier) -> Error {
    let detail = match trouble {
        Trouble::Absent(reason) => format!("{reason}; {WRONG_ROOT}"),
        Trouble::Failed(reason) => reason,
        Trouble::Stopped => return carrier.pace.verdict().err().unwrap_or(Error::Interrupted { kept: false }),
    };
    Error::Network { url: url.into(), detail: format!("no catalogue: {detail}") }
}

/// Whether a file is a whole table of a release's stars, down to its last row.
fn check_catalogue(path: &Path, release: Release) -> Result<(), Flaw> {
    is_whole(path).and_then(|()| is_catalogue(path, release).map_err(|err| err.to_string())).map_err(Flaw::Damaged)
}

fn is_catalogue(path: &Path, release: Release) -> Result<()> {
    let mut fits = FitsReader::open(path)?;
    // Astra's table of the spectra of BOSS comes first, and has no rows.
    let mut table = fits.first_table()?;
    for hdu in fits.tables()? {
        if fits.table_layout(hdu)?.0 > 0 {
            table = hdu;
            break;
        }
    }
    let (n_rows, names) = fits.table_layout(table)?;
    let (columns, remedy) = match release {
        Release::Dr17 => (&["APOGEE_ID"][..], "is this an allStar file?"),
        Release::Dr19 | Release::Dr20 => {
            (&["sdss_id", "telescope", "release", "apred", "obj"][..], "is this an astraAllStarASPCAP file?")
        }
    };
    let mut last = String::new();
    for column in columns {
        last = find_column(path, &names, column, remedy)?.to_string();
    }
    fits.texts(table, &last, n_rows.saturating_sub(1)..n_rows)?;
    Ok(())
}

/// Shows a long file's way in kB; a bar does not go back when a file begins anew.
struct KilobyteBar<'a> {
    progress: &'a dyn Progress,
    source: &'a Source,
    shown: Cell<Option<u64>>,
}

impl KilobyteBar<'_> {
    fn show(&self, done: u64, total: Option<u64>) {
        let done = done / 1000;
        let shown = self.shown.get().unwrap_or_else(|| {
            if let Some(total) = total {
                tracing::info!("{}: the catalogue, {:.1} MB", self.source.name(), total as f64 / 1e6);
            }
            self.progress.start("catalogue, kB", total.map_or(0, |total| total.div_ceil(1000) as usize));
            0
        });
        if done > shown {
            self.progress.advance((done - shown) as usize);
        }
        self.shown.set(Some(done.max(shown)));
    }
}
