//! Which spectra a selection asks for, and which of them are on disk already.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::archive::Place;
use super::expected::Expected;
use super::flaw::Flaw;
use super::listing::Listing;
use super::manifest::{ManifestEntry, Status};
use super::request::FetchRequest;
use super::settings::Release;
use super::transport::Transport;
use super::ways::{self, Way};
use crate::data::apstar;
use crate::data::catalogue::{APOGEE_ID, Catalogue, Naming};
use crate::data::sdss_v_paths::{SpectrumFolder, is_of_star};
use crate::data::selection::{Cut, select};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The spectra of a selection, each once, in the catalogue's order.
pub(super) struct Inventory {
    pub entries: Vec<ManifestEntry>,
    /// How to get each.
    pub wanted: Vec<Wanted>,
    pub cuts: Vec<Cut>,
}

/// A spectrum to be had.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// Files that may hold it, best first; none where the catalogue does not tell.
    pub ways: Vec<Way>,
    /// What it must be.
    pub expected: Expected,
}

impl Inventory {
    /// Selects stars and opens what spectra of theirs are there.
    ///
    /// # Errors
    /// Those of the catalogue; [`Error::Config`] where it is of another release; [`Error::TooFewStars`] where the cuts leave none.
    pub fn take(request: &FetchRequest, transport: &Transport, progress: &dyn Progress) -> Result<Self> {
        let naming = Naming { id_column: APOGEE_ID, columns: request.columns };
        let (stars, cuts) = select(request.catalogue, naming, request.labels, request.selection)?;
        if stars.is_empty() {
            let worst = cuts.iter().max_by_key(|cut| cut.removed).map_or("", |cut| cut.name.as_str());
            return Err(Error::TooFewStars {
                stage: format!("{}: selection", request.catalogue.display()),
                n_stars: 0,
                needed: 1,
                remedy: format!("loosen [selection], where `{worst}` removed most"),
            });
        }
        expect_release(request.settings.release, &stars, request.catalogue)?;
        let listing = match &request.settings.all_star[..] {
            [] => Listing::default(),
            tables => Listing::read(tables, &ways::names_to_list(&stars))?,
        };
        let room = Room { spectra: request.spectra, folder: SpectrumFolder::new(request.spectra), listing, transport };
        progress.start("look for spectra", stars.len());
        let found: Vec<(ManifestEntry, Wanted)> = (0..stars.len())
            .into_par_iter()
            .map(|row| {
                let found = room.look(&stars, row, request.settings.release);
                progress.advance(1);
                found
            })
            .collect();
        progress.finish();
        let mut seen = HashSet::new();
        let distinct = found.into_iter().filter(|(entry, wanted)| {
            // A file of Astra's may hold the spectra of several rows.
            let row = (!wanted.expected.release.is_empty()).then(|| wanted.expected.clone());
            entry.url.is_empty() || seen.insert((entry.url.clone(), row))
        });
        let (entries, wanted) = distinct.unzip();
        Ok(Self { entries, wanted, cuts })
    }

    /// Positions of the spectra in one state.
    pub fn positions(&self, status: Status) -> Vec<usize> {
        (0..self.entries.len()).filter(|index| self.entries[*index].status == status).collect()
    }

    /// Positions of the spectra that wait; those that may come in one file stand together, to be fetched one after the other.
    pub fn waiting(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut by_file: HashMap<&Path, usize> = HashMap::new();
        for index in self.positions(Status::Waiting) {
            let n_groups = groups.len();
            match *by_file.entry(&self.entries[index].path).or_insert(n_groups) {
                group if group < n_groups => groups[group].push(index),
                _ => groups.push(vec![index]),
            }
        }
        groups
    }
}

/// A catalogue of another release leads to files that are not there.
fn expect_release(release: Release, stars: &Catalogue, path: &Path) -> Result<()> {
    let is_astra = stars.astra.iter().any(|astra| !astra.release.is_empty() || astra.sdss_id.is_some());
    let problem = match (release.is_sdss_v(), is_astra) {
        (false, true) => {
            "is a table of SDSS-V, whose spectra DR17 does not have; set data.archive.release = \"dr19\"".to_string()
        }
        (true, false) => format!(
            "has no rows with sdss_id, release, apred and obj, which lead to the spectra of {release}; give \
             astraAllStarASPCAP-0.6.0.fits.gz, or leave out data.archive.release for a catalogue of DR17"
        ),
        _ => return Ok(()),
    };
    Err(Error::Config(format!("data.apstar.catalogue = \"{}\" {problem}", path.display())))
}

/// Where spectra are looked for, here and in the archive.
struct Room<'a> {
    spectra: &'a Path,
    folder: SpectrumFolder,
    listing: Listing,
    transport: &'a Transport,
}

impl Room<'_> {
    fn look(&self, stars: &Catalogue, row: usize, release: Release) -> (ManifestEntry, Wanted) {
        let (telescope, field, expected) = (&stars.telescope[row], &stars.field[row], Expected::of(stars, row));
        let mut entry = ManifestEntry {
            id: stars.id[row].clone(),
            telescope: telescope.clone(),
            field: field.clone(),
            path: PathBuf::new(),
            url: String::new(),
            status: Status::Failed,
            bytes: 0,
            reason: String::new(),
        };
        let led = if release.is_sdss_v() {
            ways::of_astra(stars, row, self.spectra, &self.listing)
                .map(|ways| (ways, self.folder.locate(&stars.astra[row], telescope, field)))
        } else {
            Place::of(stars, row).map(|place| {
                let Place { telescope, field, file } = &place;
                entry.telescope.clone_from(telescope);
                let found = apstar::locate(self.spectra, file, telescope, field, &entry.id);
                (ways::of_dr17(&place, self.spectra), found)
            })
        };
        let (mut ways, found) = match led {
            Ok(led) => led,
            Err(reason) => {
                entry.reason = reason;
                return (entry, Wanted { ways: Vec::new(), expected });
            }
        };
        entry.status = Status::Waiting;
        if let Some(found) = found {
            match expected.verify(&found) {
                Ok(()) => {
                    entry.bytes = std::fs::metadata(&found).map_or(0, |metadata| metadata.len());
                    entry.status = Status::Present;
                    keep_way_to(&mut ways, found);
                }
                Err(flaw) => {
                    tracing::warn!("{}: {}; it is fetched anew", found.display(), flaw.reason());
                    replace(&mut ways, &found, &flaw);
                    if ways.is_empty() {
                        let reason = format!("{}: {}", found.display(), flaw.reason());
                        entry.reason = format!("{reason}, and the catalogue does not lead to another file");
                        entry.status = Status::Failed;
                    }
                }
            }
        }
        if let Some(way) = ways.first() {
            entry.path.clone_from(&way.destination);
            entry.url = self.transport.url(&way.source);
        }
        (entry, Wanted { ways, expected })
    }
}

/// Leaves the way to a file that is there: that to a file of its name, or else of its kind.
fn keep_way_to(ways: &mut Vec<Way>, found: PathBuf) {
    let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let named = ways.iter().position(|way| name.starts_with(way.source.name()));
    let alike = || ways.iter().position(|way| way.is_of_star() == is_of_star(&found));
    let mut kept = ways.swap_remove(named.or_else(alike).unwrap_or(0));
    kept.destination = found;
    *ways = vec![kept];
}

/// Turns ways to where a file lies that is no good: anywhere else the good one would be hidden by it.
fn replace(ways: &mut Vec<Way>, found: &Path, flaw: &Flaw) {
    let is_found = |way: &Way| way.is_of_star() == is_of_star(found);
    match (is_of_star(found), flaw) {
        // It is what the archive has, and hides nothing: a row's own file is looked for first.
        (true, Flaw::Unfit(_)) => ways.retain(|way| !is_found(way)),
        (true, Flaw::Damaged(_)) => {}
        (false, _) => ways.retain(is_found),
    }
    for way in ways.iter_mut().filter(|way| is_found(way)) {
        way.destination = found.to_path_buf();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fetch::archive::Source;

    fn ways() -> Vec<Way> {
        let names = ["mwmStar-0.6.0-1.fits", "apStar-1.3-apo25m-2M1-59804.fits", "apStar-1.3-apo25m-2M1.fits"];
        names.map(|name| Way { source: Source::own(format!("a/{name}")), destination: name.into() }).to_vec()
    }

    fn destinations(ways: &[Way]) -> Vec<&str> {
        ways.iter().map(|way| way.destination.to_str().unwrap()).collect()
    }

    #[test]
    fn a_file_that_is_no_good_is_replaced_where_it_lies_and_never_hides_another() {
        let flaws = [Flaw::Damaged("cut".into()), Flaw::Unfit("other release".into())];
        let replaced = |found: &str, flaw: &Flaw| {
            let mut ways = ways();
            replace(&mut ways, Path::new(found), flaw);
            destinations(&ways).join(" ")
        };
        let own = "apStar-1.3-apo25m-2M1-59804.fits apStar-1.3-apo25m-2M1.fits";
        assert_eq!(replaced("flat/mwmStar-0.6.0-1.fits", &flaws[0]), format!("flat/mwmStar-0.6.0-1.fits {own}"));
        assert_eq!(replaced("flat/mwmStar-0.6.0-1.fits", &flaws[1]), own);
        for flaw in &flaws {
            let there = "flat/apStar-1.3-apo25m-2M1.fits.gz";
            assert_eq!(replaced(there, flaw), format!("{there} {there}"));
        }
    }

    #[test]
    fn a_file_that_is_there_is_in_the_manifest_with_where_it_came_from() {
        for (found, source) in [
            ("flat/mwmStar-0.6.0-1.fits.gz", "a/mwmStar-0.6.0-1.fits"),
            ("apStar-1.3-apo25m-2M1.fits", "a/apStar-1.3-apo25m-2M1.fits"),
            ("apStar-1.3-apo25m-2M1-59000.fits", "a/apStar-1.3-apo25m-2M1-59804.fits"),
        ] {
            let mut ways = ways();
            keep_way_to(&mut ways, found.into());
            assert_eq!((destinations(&ways), ways[0].source.path.as_str()), (vec![found], source));
        }
    }
}
