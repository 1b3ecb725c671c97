//! The stars of an experiment and where their spectra are: selected, found, and read one by one.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::array_survey::{self, ArrayStars};
use super::held_arrays::HeldArrays;
use super::prepare_checks;
use super::spectra::{Pixels, ReadSpectrum, SpectrumSource};
use super::spectrum_files::SpectrumFiles;
use crate::data::catalogue::{APOGEE_ID, Catalogue};
use crate::data::keyed_path::split_key;
use crate::data::sdss_v_paths::{self, SpectrumFolder};
use crate::data::selection::Cut;
use crate::data::spectrum_file::RawSpectrum;
use crate::data::{apstar, files};
use crate::error::{Error, Result};
use crate::mock::{MockSettings, survey};
use crate::progress::Progress;
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::grid::{self, WavelengthGrid};
use crate::spectra::pixmask::{MaskedSpectrum, PixmaskSettings, Place};
use crate::spectra::quality::Quality;
use crate::stars::settings::{ApstarData, StarSettings};

/// Name of the cut that keeps stars whose spectrum was found.
const ON_DISK: &str = "spectrum on disk";

/// The stars of an experiment and where their spectra are.
#[derive(Debug)]
pub struct Source {
    /// Selected stars, one row each.
    pub stars: Catalogue,
    /// What each cut removed.
    pub cuts: Vec<Cut>,
    /// The grid all spectra must be on.
    pub grid: WavelengthGrid,
    /// Table of the truth about the stars, if there is one.
    pub truth: Option<PathBuf>,
    spectra: Box<dyn SpectrumSource>,
    /// What the grid's pixels can be, `[n_pixels]`.
    pub(super) places: Vec<Place>,
    pixmask: PixmaskSettings,
    are_normalized: bool,
    /// Which spectra are not on disk, and what to do, where they are most.
    missing: Option<String>,
}

impl Source {
    /// Selects the experiment's stars and finds their spectra; a mock survey is made in `cache` unless it is there.
    ///
    /// # Errors
    /// File errors; [`Error::TooFewStars`] if nothing is left; [`Error::Mismatch`] if arrays and labels disagree.
    pub fn open(settings: &StarSettings, cache: &Path, progress: &dyn Progress) -> Result<Self> {
        let data = &settings.data;
        let mut source = if let Some(mock) = &data.mock {
            let (spectra, truth) = mock_survey(mock, cache, progress)?;
            Self { truth: Some(truth), ..Self::open_apstar(&spectra, settings)? }
        } else if let Some(apstar) = &data.apstar {
            Self::open_apstar(apstar, settings)?
        } else if let Some(arrays) = &data.arrays {
            let ArrayStars { stars, cuts, grid, on_chip, spectra } = array_survey::open(arrays, settings)?;
            Self::new(stars, cuts, grid, &on_chip, spectra, settings)?
        } else {
            let remedy = "give [data.apstar], [data.arrays] or [data.mock]";
            return Err(Error::Config(format!("data names no stars; {remedy}")));
        };
        source.truth = data.truth.clone().or(source.truth);
        for cut in &source.cuts {
            tracing::info!("{}: {} removed, {} left", cut.name, cut.removed, cut.left);
        }
        if source.stars.is_empty() {
            return Err(Error::TooFewStars {
                stage: "selection".into(),
                n_stars: 0,
                needed: 1,
                remedy: why_empty(&source.cuts, source.missing),
            });
        }
        if let Some(missing) = &source.missing {
            tracing::warn!("{missing}");
        }
        Ok(source)
    }

    /// Stars whose spectra and labels are in memory, in the same order.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if they are not as many, or wavelengths do not ascend; [`Error::Config`] where the settings leave no pixel.
    pub fn of_arrays(spectra: HeldArrays<'static>, stars: Catalogue, settings: &StarSettings) -> Result<Self> {
        if stars.len() != spectra.len() {
            let detail = format!("{} rows of labels for {} spectra", stars.len(), spectra.len());
            return Err(Error::Mismatch { what: "labels and flux".into(), detail });
        }
        spectra.warn_of_noise("", None);
        let grid = spectra.grid()?;
        let on_chip = spectra.on_chip(&grid);
        Self::new(stars, Vec::new(), grid, &on_chip, Box::new(spectra), settings)
    }

    fn new(
        stars: Catalogue,
        cuts: Vec<Cut>,
        grid: WavelengthGrid,
        on_chip: &[bool],
        spectra: Box<dyn SpectrumSource>,
        settings: &StarSettings,
    ) -> Result<Self> {
        let pixmask = settings.pixmask.clone();
        let are_normalized = settings.continuum.method == ContinuumMethod::None;
        pixmask.expect_on(&grid)?;
        let places = pixmask.places(&grid, on_chip);
        let source = Self { stars, cuts, grid, truth: None, spectra, places, pixmask, are_normalized, missing: None };
        let (n_left_out, n_pixels) = (source.n_left_out(), source.places.len());
        if n_left_out == n_pixels {
            let span = grid::span(&source.grid.wavelength);
            let detail = format!("pixmask.exclude and pixmask.include leave nothing of spectra of {span}");
            return Err(Error::Config(detail));
        }
        if n_left_out > 0 {
            tracing::info!("{n_left_out} of {n_pixels} pixels are left out by pixmask.exclude and pixmask.include");
        }
        Ok(source)
    }

    /// Pixels that the settings leave out.
    pub fn n_left_out(&self) -> usize {
        self.places.iter().filter(|place| **place == Place::LeftOut).count()
    }

    /// Blames spectra that are not on disk for too few stars, where most are not.
    pub fn blame(&self, err: Error) -> Error {
        match (err, &self.missing) {
            (Error::TooFewStars { stage, n_stars, needed, .. }, Some(missing)) => {
                Error::TooFewStars { stage, n_stars, needed, remedy: missing.clone() }
            }
            (err, _) => err,
        }
    }

    fn open_apstar(data: &ApstarData, settings: &StarSettings) -> Result<Self> {
        let remedy = "or let `maury fetch` get what the experiment needs";
        if !data.spectra.is_dir() {
            let found = if data.spectra.exists() { "a file, not a folder" } else { "no such folder" };
            let detail = format!("{found} of apStar files; set data.apstar.spectra, {remedy}");
            return Err(Error::format(&data.spectra, detail));
        }
        if !split_key(&data.catalogue).0.exists() {
            let detail = format!("no such catalogue; set data.apstar.catalogue, {remedy}");
            return Err(Error::format(&data.catalogue, detail));
        }
        let (stars, mut cuts) = settings.select(&data.catalogue, APOGEE_ID)?;
        let folder = SpectrumFolder::new(&data.spectra);
        let found = (0..stars.len()).into_par_iter().map(|n| {
            let (file, telescope, field, id) = (&stars.file[n], &stars.telescope[n], &stars.field[n], &stars.id[n]);
            apstar::expect_inside(&data.spectra, file, telescope, field, id)?;
            let astra = &stars.astra[n];
            // A star may have a spectrum of each release, and a row of Astra's is of one.
            let of_astra = (!astra.release.is_empty()).then(|| folder.locate(astra, telescope, field));
            Ok(of_astra.unwrap_or_else(|| apstar::locate(&data.spectra, file, telescope, field, id)))
        });
        let found = found.collect::<Result<Vec<Option<PathBuf>>>>()?;
        let present: Vec<usize> = (0..stars.len()).filter(|n| found[*n].is_some()).collect();
        let n_absent = stars.len() - present.len();
        cuts.push(Cut { name: ON_DISK.into(), removed: n_absent, left: present.len() });
        let absent = found.iter().position(Option::is_none).filter(|_| n_absent > present.len());
        let missing = absent.map(|first| {
            let of_astra = sdss_v_paths::first_name(&stars.astra[first], &stars.telescope[first], &stars.field[first]);
            let usual = || apstar::name_of(&stars.file[first], &stars.telescope[first], &stars.id[first]);
            let name = if of_astra.is_empty() { usual() } else { of_astra.into() };
            format!(
                "{n_absent} of {} spectra were not found below {} (the first: {}); set data.apstar.spectra, {remedy}",
                stars.len(),
                data.spectra.display(),
                name.display()
            )
        });
        let files = found
            .into_iter()
            .zip(&stars.telescope)
            .filter_map(|(path, telescope)| path.map(|path| (path.clone(), sdss_v_paths::part_of(&path, telescope))));
        let (grid, files) = (WavelengthGrid::apogee(), SpectrumFiles::of_parts(files.collect()));
        let (stars, on_chip) = (stars.rows(&present), grid.chip_cores());
        Ok(Self { missing, ..Self::new(stars, cuts, grid, &on_chip, Box::new(files), settings)? })
    }

    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        self.stars.len()
    }

    /// The spectra, in the order of the stars.
    pub fn spectra(&self) -> &dyn SpectrumSource {
        &*self.spectra
    }

    /// The file of a star's spectrum; none where it came as a row of an array.
    pub fn file(&self, star: usize) -> Option<&Path> {
        self.spectra.file(star)
    }

    /// A star's spectrum as its file has it; none where it came as a row of an array.
    ///
    /// # Errors
    /// File errors.
    pub fn raw(&self, star: usize) -> Result<Option<RawSpectrum>> {
        self.spectra.raw(star)
    }

    /// Masked raw spectrum of one star with its quality.
    ///
    /// # Errors
    /// File errors; [`Error::Mismatch`] for a spectrum on another grid, or of another star.
    pub fn spectrum(&self, star: usize) -> Result<(MaskedSpectrum, Quality)> {
        self.some_spectra(&[star]).pop().expect("one spectrum was asked for")
    }

    /// The same of some stars, each by itself; stars that follow each other are read together where that is cheaper.
    pub fn some_spectra(&self, stars: &[usize]) -> Vec<Result<(MaskedSpectrum, Quality)>> {
        let Self { grid, places, pixmask, are_normalized, .. } = self;
        let pixels = Pixels { grid, places, pixmask, are_normalized: *are_normalized };
        let read = self.spectra.read(stars, pixels);
        read.into_iter().zip(stars).map(|(read, star)| self.expect_own(*star, read?)).collect()
    }

    /// Refuses the spectrum of another star than the catalogue's.
    fn expect_own(&self, star: usize, read: ReadSpectrum) -> Result<(MaskedSpectrum, Quality)> {
        let (id, astra) = (self.stars.id[star].trim(), &self.stars.astra[star]);
        if read.is_identified && ![id, astra.obj.trim()].contains(&read.id.trim()) {
            return Err(prepare_checks::other_star(&self.spectra.name(star), &read.id, id));
        }
        let (found, wanted) = (&read.release, &astra.release);
        if !found.is_empty() && !wanted.is_empty() && found != wanted {
            let detail = format!(
                "the spectrum of release {found}, where the catalogue's row is of {wanted}: its apStar file is needed"
            );
            return Err(Error::Mismatch { what: self.spectra.name(star), detail });
        }
        Ok((read.masked, read.quality))
    }
}

/// The survey that these settings make, and its truth; made now if `cache` does not have it.
fn mock_survey(settings: &MockSettings, cache: &Path, progress: &dyn Progress) -> Result<(ApstarData, PathBuf)> {
    let folder = cache.join(settings.folder_name());
    match survey::provide(&folder, settings, progress)? {
        None => tracing::info!("mock survey taken from {}", folder.display()),
        Some(summary) => {
            let (n_spectra, megabytes) = (summary.n_spectra, summary.bytes / 1_000_000);
            tracing::info!("mock survey of {n_spectra} spectra, {megabytes} MB, kept in {}", folder.display());
        }
    }
    files::mark_as_used(&folder);
    let survey = ApstarData {
        catalogue: survey::catalogue(&folder, settings.format),
        spectra: survey::spectra(&folder, settings.format),
    };
    Ok((survey, survey::truth(&folder)))
}

fn why_empty(cuts: &[Cut], missing: Option<String>) -> String {
    match (cuts.iter().max_by_key(|cut| cut.removed).filter(|cut| cut.removed > 0), missing) {
        (None, _) => "the catalogue is empty".into(),
        (Some(cut), Some(missing)) if cut.name == ON_DISK => missing,
        (Some(cut), _) => format!("the cut `{}` alone removed {} stars; loosen it", cut.name, cut.removed),
    }
}
