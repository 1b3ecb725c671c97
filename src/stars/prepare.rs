//! From an experiment's data to prepared sets: select, find spectra, mask, normalize, keep on disk.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::{Array2, Axis};
use rayon::prelude::*;

use super::array_spectra::{self, ArrayStars};
use super::held_arrays::HeldArrays;
use super::prepare_checks::{self, Troubles};
use super::spectra::{Pixels, SpectrumSource};
use super::spectrum_files::SpectrumFiles;
use crate::data::catalogue::{APOGEE_ID, Catalogue};
use crate::data::keyed_path::split_key;
use crate::data::sdss_v_paths::{self, SpectrumFolder};
use crate::data::selection::Cut;
use crate::data::spectrum_file::RawSpectrum;
use crate::data::{apstar, files};
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::mock::{MockSettings, survey};
use crate::progress::Progress;
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::continuum_pixels;
use crate::spectra::grid::{self, WavelengthGrid};
use crate::spectra::normalizer::Normalizer;
use crate::spectra::pixmask::{MaskedSpectrum, PixmaskSettings, Place};
use crate::spectra::prepared::{FORMAT_VERSION, PreparedSet};
use crate::spectra::quality::Quality;
use crate::stars::settings::{ApstarData, StarSettings};
use crate::training::continuum_search;

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
    places: Vec<Place>,
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
            let ArrayStars { stars, cuts, grid, on_chip, spectra } = array_spectra::open(arrays, settings)?;
            Self::new(stars, cuts, grid, &on_chip, Box::new(spectra), settings)?
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
        let Self { grid, places, pixmask, are_normalized, .. } = self;
        let pixels = Pixels { grid, places, pixmask, are_normalized: *are_normalized };
        let read = self.spectra.read(&[star], pixels).pop().expect("one spectrum was asked for")?;
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

/// Prepares a source, or takes it from `cache` if the same was prepared before.
///
/// `training` lists the rows that train; only they are looked at where continuum pixels are to be found.
///
/// # Errors
/// Those of reading, normalizing and training; [`Error::TooFewStars`] if no spectrum at all could be read.
pub fn prepare(
    source: &Source,
    settings: &StarSettings,
    training: &[usize],
    cache: &Path,
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<(PreparedSet, PathBuf)> {
    let key = cache_key(source, settings, training)?;
    let path = cache.join(format!("{}.fits", &key[..16]));
    if path.is_file() {
        match PreparedSet::read(&path, &key) {
            // A file that could not be read may have been mended without a trace in its size or date.
            Ok(Some(set)) if set.quality.iter().all(|quality| !quality.unreadable) => {
                tracing::info!("prepared set taken from {}", path.display());
                files::mark_as_used(&path);
                return Ok((set, path));
            }
            Ok(_) => {}
            Err(err) => tracing::warn!("{err}; prepared again"),
        }
    }
    let set = prepare_anew(source, settings, training, compute, progress)?;
    // Whole or not at all: who asks to stop meanwhile waits.
    progress.defer_interruption(true);
    let written = set.write(&path, &key);
    progress.defer_interruption(false);
    written?;
    tracing::info!("{} stars prepared, kept in {}", set.n_stars(), path.display());
    if progress.interrupted() {
        return Err(Error::Interrupted { kept: false });
    }
    Ok((set, path))
}

/// The same, of which nothing is kept on disk.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_anew(
    source: &Source,
    settings: &StarSettings,
    training: &[usize],
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<PreparedSet> {
    let mut is_continuum = choose_continuum_pixels(source, settings, training, compute, progress)?;
    let left_out = source.places.iter().map(|place| *place == Place::LeftOut);
    is_continuum.iter_mut().zip(left_out).for_each(|(is_continuum, left_out)| *is_continuum &= !left_out);
    warn_of_lost_chips(source, settings, &is_continuum);
    normalize_all(source, settings, is_continuum, progress)
}

/// Says which chips no star can have, though the settings leave some of their pixels: what is left of the continuum is too little.
fn warn_of_lost_chips(source: &Source, settings: &StarSettings, is_continuum: &[bool]) {
    let (grid, continuum) = (&source.grid, &settings.continuum);
    if continuum.method != ContinuumMethod::Chebyshev {
        return;
    }
    for (index, chip) in grid.chips.iter().enumerate() {
        let n_left = chip.clone().filter(|pixel| is_continuum[*pixel]).count();
        if n_left < continuum.min_pixels && chip.clone().any(|pixel| source.places[pixel] == Place::OnChip) {
            tracing::warn!(
                "chip {} ({:.0} to {:.0} \u{c5}): {n_left} continuum pixels are left of it, fewer than continuum.min_pixels = {}: no star has it",
                index + 1,
                grid.wavelength[chip.start],
                grid.wavelength[chip.end - 1],
                continuum.min_pixels
            );
        }
    }
}

/// Identifies a prepared set: by the stars, their files, and those settings that change spectra.
///
/// # Errors
/// [`Error::Io`] for a file that is no longer there.
pub fn cache_key(source: &Source, settings: &StarSettings, training: &[usize]) -> Result<String> {
    let training: Vec<&str> = if settings.continuum.finds_pixels() {
        training.iter().map(|n| source.stars.id[*n].as_str()).collect()
    } else {
        Vec::new()
    };
    let list = Path::new(&settings.continuum.pixels);
    let list = if list.is_file() { files::fingerprint(list)? } else { String::new() };
    let settings = serde_json::json!([
        FORMAT_VERSION,
        env!("CARGO_PKG_VERSION"),
        // Truths, a mystery and the archive change no spectrum.
        &settings.data.apstar,
        &settings.data.arrays,
        &settings.data.mock,
        &settings.labels,
        &settings.pixmask,
        &settings.continuum,
        list,
        training,
        &source.stars.id,
        &source.stars.row,
        &source.stars.snr,
        &source.stars.labels,
        &source.stars.label_errors,
    ]);
    let text = format!("{settings}\n{}", source.spectra.fingerprint()?);
    Ok(blake3::hash(text.as_bytes()).to_hex()[..32].to_string())
}

fn choose_continuum_pixels(
    source: &Source,
    settings: &StarSettings,
    training: &[usize],
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<Vec<bool>> {
    let grid = &source.grid;
    if settings.continuum.method == ContinuumMethod::None {
        return Ok(vec![false; grid.n_pixels()]);
    }
    match settings.continuum.pixels.as_str() {
        "shipped" => continuum_pixels::shipped(grid),
        "find" => {
            let complete = |n: &usize| source.stars.labels[*n].iter().all(|label| label.is_finite());
            let stars: Vec<usize> = training.iter().copied().filter(complete).collect();
            progress.start("reading training spectra", stars.len());
            let troubles = Mutex::new(Troubles::default());
            let read: Vec<Option<(usize, MaskedSpectrum, Quality)>> = stars
                .par_iter()
                .map(|n| {
                    let read = source.spectrum(*n);
                    progress.advance(1);
                    let read = read.map_err(|err| lock(&troubles).add(&err)).ok();
                    read.map(|(masked, quality)| (*n, masked, quality))
                })
                .collect();
            progress.finish();
            lock(&troubles).refuse(stars.len())?;
            let mut read: Vec<_> = read.into_iter().flatten().collect();
            let n_read = read.len();
            if n_read > 0 {
                prepare_checks::expect_usable(read.iter().map(|(_, _, quality)| quality), settings)?;
            }
            read.retain(|(_, _, quality)| quality.n_good > 0);
            if read.len() < 2 && read.len() < n_read {
                return Err(prepare_checks::few_usable(read.len(), n_read));
            }
            let (stars, spectra): (Vec<usize>, Vec<MaskedSpectrum>) =
                read.into_iter().map(|(n, masked, _)| (n, masked)).unzip();
            let labels =
                Array2::from_shape_fn((stars.len(), settings.labels.len()), |(n, k)| source.stars.labels[stars[n]][k]);
            let found =
                continuum_search::find(&spectra, labels.view(), &settings.labels, grid, &settings.continuum, compute)?;
            let per_chip: Vec<usize> =
                grid.chips.iter().map(|chip| chip.clone().filter(|p| found[*p]).count()).collect();
            tracing::info!("continuum pixels found from {} training stars: {per_chip:?} per chip", stars.len());
            Ok(found)
        }
        list => continuum_pixels::read(Path::new(list), grid),
    }
}

fn normalize_all(
    source: &Source,
    settings: &StarSettings,
    is_continuum: Vec<bool>,
    progress: &dyn Progress,
) -> Result<PreparedSet> {
    let (n_stars, n_pixels) = (source.n_stars(), source.grid.n_pixels());
    let normalizer = Normalizer::new(&source.grid, &is_continuum, &settings.continuum)?;
    let mut flux = vec![1.0_f32; n_stars * n_pixels];
    let mut ivar = vec![0.0_f32; n_stars * n_pixels];
    let mut quality = vec![Quality { continuum_residual: f64::NAN, ..Quality::default() }; n_stars];
    let troubles = Mutex::new(Troubles::default());
    progress.start("preparing spectra", n_stars);
    flux.par_chunks_mut(n_pixels).zip(ivar.par_chunks_mut(n_pixels)).zip(&mut quality).enumerate().for_each(
        |(star, ((flux, ivar), quality))| {
            match source.spectrum(star) {
                Ok((masked, counted)) => {
                    *quality = counted;
                    let normalized = normalizer.normalize(&masked, quality);
                    flux.copy_from_slice(&normalized.flux);
                    ivar.copy_from_slice(&normalized.ivar);
                }
                Err(err) => {
                    quality.unreadable = true;
                    lock(&troubles).add(&err);
                }
            }
            progress.advance(1);
        },
    );
    progress.finish();
    troubles.into_inner().unwrap_or_else(PoisonError::into_inner).report(n_stars)?;
    let shape = (n_stars, n_pixels);
    let matrix = |values| Array2::from_shape_vec(shape, values).expect("one value per star and pixel");
    let set = PreparedSet {
        grid: source.grid.clone(),
        continuum_pixels: is_continuum,
        ids: source.stars.id.clone(),
        label_names: settings.labels.clone(),
        labels: Array2::from_shape_fn((n_stars, settings.labels.len()), |(n, k)| source.stars.labels[n][k]),
        label_errors: Array2::from_shape_fn((n_stars, settings.labels.len()), |(n, k)| source.stars.label_errors[n][k]),
        snr: source.stars.snr.clone(),
        flux: matrix(flux),
        ivar: matrix(ivar),
        quality,
    };
    prepare_checks::expect_measured(&set, settings)?;
    Ok(set)
}

fn lock(troubles: &Mutex<Troubles>) -> MutexGuard<'_, Troubles> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Flux and inverse variance of some rows of a set, as contiguous arrays.
pub fn spectra_of_rows(set: &PreparedSet, rows: &[usize]) -> (Array2<f32>, Array2<f32>) {
    (set.flux.select(Axis(0), rows), set.ivar.select(Axis(0), rows))
}
