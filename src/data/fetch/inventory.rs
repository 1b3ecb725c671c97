//! Which spectra a selection asks for, and which of them are on disk already.

use std::collections::HashSet;
use std::path::Path;

use rayon::prelude::*;

use super::archive::Place;
use super::manifest::{ManifestEntry, Status};
use super::request::FetchRequest;
use super::transport::Transport;
use super::whole::is_whole;
use crate::data::apstar;
use crate::data::catalogue::{APOGEE_ID, Catalogue};
use crate::data::selection::{Cut, select};
use crate::error::{Error, Result};
use crate::progress::Progress;

/// The spectra of a selection, each file once, in the catalogue's order.
pub(super) struct Inventory {
    pub entries: Vec<ManifestEntry>,
    /// Path of each in the archive; empty where the catalogue does not tell.
    pub sources: Vec<String>,
    pub cuts: Vec<Cut>,
}

impl Inventory {
    /// Selects stars and opens what spectra of theirs are there.
    ///
    /// # Errors
    /// Those of the catalogue; [`Error::TooFewStars`] where the cuts leave none.
    pub fn take(request: &FetchRequest, transport: &Transport, progress: &dyn Progress) -> Result<Self> {
        let (stars, cuts) = select(request.catalogue, APOGEE_ID, request.labels, request.selection)?;
        if stars.is_empty() {
            let worst = cuts.iter().max_by_key(|cut| cut.removed).map_or("", |cut| cut.name.as_str());
            return Err(Error::TooFewStars {
                stage: format!("{}: selection", request.catalogue.display()),
                n_stars: 0,
                needed: 1,
                remedy: format!("loosen [selection], where `{worst}` removed most"),
            });
        }
        progress.start("look for spectra", stars.len());
        let found: Vec<(ManifestEntry, String)> = (0..stars.len())
            .into_par_iter()
            .map(|row| {
                let found = look(&stars, row, request.spectra, transport);
                progress.advance(1);
                found
            })
            .collect();
        progress.finish();
        let mut seen = HashSet::new();
        let distinct = found.into_iter().filter(|(entry, _)| entry.url.is_empty() || seen.insert(entry.url.clone()));
        let (entries, sources) = distinct.unzip();
        Ok(Self { entries, sources, cuts })
    }

    /// Positions of the spectra in one state.
    pub fn positions(&self, status: Status) -> Vec<usize> {
        (0..self.entries.len()).filter(|index| self.entries[*index].status == status).collect()
    }
}

fn look(stars: &Catalogue, row: usize, spectra: &Path, transport: &Transport) -> (ManifestEntry, String) {
    let id = stars.id[row].clone();
    let place = match Place::of(stars, row) {
        Ok(place) => place,
        Err(reason) => {
            let (telescope, field) = (stars.telescope[row].clone(), stars.field[row].clone());
            let (path, url) = (Default::default(), String::new());
            let entry = ManifestEntry { id, telescope, field, path, url, status: Status::Failed, bytes: 0, reason };
            return (entry, String::new());
        }
    };
    let (source, mut path) = (place.in_archive(), place.in_folder(spectra));
    let (mut status, mut bytes) = (Status::Waiting, 0);
    if let Some(found) = apstar::locate(spectra, &place.file, &place.telescope, &place.field, &id) {
        match verify(&found, &id) {
            Ok(()) => {
                bytes = std::fs::metadata(&found).map_or(0, |metadata| metadata.len());
                status = Status::Present;
            }
            Err(problem) => tracing::warn!("{}: {problem}; it is fetched anew", found.display()),
        }
        // Also where it is to be replaced: anywhere else it would go on hiding the good one.
        path = found;
    }
    let url = transport.url(&source);
    let entry = ManifestEntry {
        id,
        telescope: place.telescope,
        field: place.field,
        path,
        url,
        status,
        bytes,
        reason: String::new(),
    };
    (entry, source)
}

/// Whether a file is whole and opens as a spectrum, and of this star where it says of which.
///
/// # Errors
/// What is wrong with it.
pub(super) fn verify(path: &Path, id: &str) -> Result<(), String> {
    is_whole(path)?;
    let spectrum = apstar::read(path).map_err(|err| {
        let said = err.to_string();
        said.strip_prefix(&format!("{}: ", path.display())).unwrap_or(&said).to_string()
    })?;
    // Without an OBJID a spectrum is called as its file.
    let is_named = path.file_stem().is_none_or(|stem| stem.to_string_lossy() != spectrum.id);
    if is_named && spectrum.id != id {
        return Err(format!("the spectrum of another star, {}", spectrum.id));
    }
    Ok(())
}
