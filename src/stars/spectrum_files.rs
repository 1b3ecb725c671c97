//! Files of single spectra as a source of spectra, in whichever of the survey's formats they are.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use rayon::prelude::*;

use super::spectra::{HandedOn, Pixels, ReadSpectrum, SpectrumSource};
use crate::data::files;
use crate::data::spectrum_file::{self, Format, Part, RawSpectrum};
use crate::error::{Error, Result};
use crate::spectra::grid::{self, WavelengthGrid};
use crate::spectra::pixmask;
use crate::training::checkpoint::Preparation;

/// Remarks on single files that are made before they are only kept for who asks (`RUST_LOG=debug`).
const MOST_REMARKS: usize = 5;

/// Spectra of files, each of one part of its file.
#[derive(Debug, Default)]
pub struct SpectrumFiles {
    spectra: Vec<(PathBuf, Part)>,
    /// Names of what is handed on.
    names: Vec<String>,
    /// Formats that were met.
    formats: Mutex<HashSet<Format>>,
    n_remarks: AtomicUsize,
}

impl SpectrumFiles {
    /// Of these files the coadds, or only spectra; nothing is read as yet.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self::of_parts(paths.into_iter().map(|path| (path, Part::default())).collect())
    }

    /// Of these files these parts; nothing is read as yet.
    pub fn of_parts(spectra: Vec<(PathBuf, Part)>) -> Self {
        Self { spectra, ..Self::default() }
    }

    /// Every single visit in these files, those of which a part is named already as they are. A file whose visits cannot be told
    /// stays as it is, and says why when it is read.
    pub fn of_visits(spectra: &[(PathBuf, Part)]) -> Self {
        let visits = |(path, part): &(PathBuf, Part)| match spectrum_file::visits(path) {
            Ok(visits) if *part == Part::default() => visits.into_iter().map(|visit| (path.clone(), visit)).collect(),
            _ => vec![(path.clone(), part.clone())],
        };
        Self::of_parts(spectra.par_iter().flat_map_iter(visits).collect())
    }

    /// Every single visit in these files, those of which a part is named as they are; and what is wrong with each file whose visits
    /// cannot be told, or that holds coadds alone.
    pub fn of_visits_alone(spectra: &[(PathBuf, Part)]) -> (Self, Vec<Error>) {
        let visits = |(path, part): &(PathBuf, Part)| match *part == Part::default() {
            true => spectrum_file::visits(path),
            false => Ok(vec![part.clone()]),
        };
        let (mut found, mut problems) = (Vec::with_capacity(spectra.len()), Vec::new());
        for (visits, (path, _)) in spectra.par_iter().map(visits).collect::<Vec<_>>().into_iter().zip(spectra) {
            match visits {
                Ok(visits) => found.extend(visits.into_iter().map(|visit| (path.clone(), visit))),
                Err(err) => problems.push(err),
            }
        }
        (Self::of_parts(found), problems)
    }

    /// With what is handed on of each file: header keys, or columns of the table with its spectrum.
    pub fn handing_on(self, columns: &HandedOn) -> Self {
        Self { names: columns.names(), ..self }
    }

    fn remark(&self, raw: &RawSpectrum, path: &Path) {
        if self.formats.lock().unwrap_or_else(PoisonError::into_inner).insert(raw.format) {
            tracing::info!("{}: read as {}", path.display(), raw.format);
        }
        let Some(warning) = &raw.warning else { return };
        match self.n_remarks.fetch_add(1, Ordering::Relaxed) {
            n if n < MOST_REMARKS => tracing::warn!("{warning}"),
            n => {
                if n == MOST_REMARKS {
                    tracing::warn!("... more remarks on files are said with RUST_LOG=debug");
                }
                tracing::debug!("{warning}");
            }
        }
    }

    fn read_one(&self, spectrum: usize, pixels: Pixels) -> Result<ReadSpectrum> {
        let (path, part) = &self.spectra[spectrum];
        let (raw, values) = spectrum_file::read_with(path, part, &self.names)?;
        let n_pixels = raw.raw_flux.len();
        // A bare file without a wavelength header is taken by its length.
        let on_grid = match raw.log_wavelength {
            Some(_) => pixels.grid.is_apogee() && WavelengthGrid::is_apogee_header(raw.log_wavelength, n_pixels),
            None => n_pixels == pixels.grid.n_pixels(),
        };
        let mismatch = |what: String, detail: String| Err(Error::Mismatch { what, detail });
        if !on_grid {
            let what = format!("wavelength grid of {}", path.display());
            return mismatch(what, grid::unlike_apogee(raw.log_wavelength, n_pixels));
        }
        match (raw.is_normalized, pixels.are_normalized) {
            (true, false) => {
                let detail = "is normalized by a pseudo-continuum that is not the model's; give the star's apStar or mwmStar file";
                return mismatch(self.name(spectrum), format!("an {} file {detail}", raw.format));
            }
            (false, true) => {
                let detail = "holds raw flux, and normalized spectra are expected here; give the star's aspcapStar file, or set \
                              continuum.method = \"chebyshev\"";
                return mismatch(self.name(spectrum), format!("an {} file {detail}", raw.format));
            }
            _ => {}
        }
        self.remark(&raw, path);
        let (masked, quality) =
            pixmask::apply(&raw.raw_flux, &raw.raw_error, &raw.pixmask, pixels.places, pixels.pixmask);
        Ok(ReadSpectrum {
            id: raw.id,
            is_identified: raw.has_objid,
            release: raw.release,
            snr: raw.snr,
            masked,
            quality,
            values,
        })
    }
}

impl SpectrumSource for SpectrumFiles {
    fn len(&self) -> usize {
        self.spectra.len()
    }

    fn name(&self, spectrum: usize) -> String {
        let (path, part) = &self.spectra[spectrum];
        spectrum_file::name_of(path, part)
    }

    fn expect_alike(&self, model: &Path, preparation: &Preparation) -> Result<()> {
        match preparation.grid.is_apogee() {
            true => Ok(()),
            false => Err(Error::Mismatch {
                what: model.display().to_string(),
                detail: "this model was trained on arrays, not on apStar files; give it arrays of the same pixels: \
                         --flux FLUX.npy --error ERROR.npy"
                    .into(),
            }),
        }
    }

    fn read(&self, spectra: &[usize], pixels: Pixels) -> Vec<Result<ReadSpectrum>> {
        spectra.par_iter().map(|spectrum| self.read_one(*spectrum, pixels)).collect()
    }

    fn raw(&self, spectrum: usize) -> Result<Option<RawSpectrum>> {
        let (path, part) = &self.spectra[spectrum];
        spectrum_file::read(path, part).map(Some)
    }

    fn file(&self, spectrum: usize) -> Option<&Path> {
        self.spectra.get(spectrum).map(|(path, _)| path.as_path())
    }

    fn files(&self) -> Box<dyn Iterator<Item = &Path> + '_> {
        Box::new(self.spectra.iter().map(|(path, _)| path.as_path()))
    }

    fn fingerprint(&self) -> Result<String> {
        let print = |(path, part): &(PathBuf, Part)| Ok(format!("{}{part}", files::fingerprint(path)?));
        Ok(self.spectra.par_iter().map(print).collect::<Result<Vec<_>>>()?.join("\n"))
    }
}
