//! From an experiment's data to prepared sets: mask, normalize, keep on disk.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use ndarray::Array2;
use rayon::prelude::*;

use super::prepare_checks::{self, Troubles};
use super::source::Source;
use crate::data::files;
use crate::device::Compute;
use crate::error::{Error, Result};
use crate::memory::bytes_of_spectra;
use crate::progress::Progress;
use crate::spectra::continuum::ContinuumMethod;
use crate::spectra::continuum_pixels;
use crate::spectra::normalizer::Normalizer;
use crate::spectra::pixmask::{MaskedSpectrum, Place};
use crate::spectra::prepared::PreparedSet;
use crate::spectra::prepared_file::{self, FORMAT_VERSION, PreparedFile};
use crate::spectra::quality::Quality;
use crate::spectra::stored::{self, Spectra};
use crate::stars::settings::StarSettings;
use crate::training::continuum_search;

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
        match prepared_file::read(&path, &key, compute.memory().of_spectra()) {
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
    let is_continuum = usable_continuum_pixels(source, settings, training, compute, progress)?;
    let (grid, n_stars) = (&source.grid, source.n_stars());
    let fits = bytes_of_spectra(n_stars, grid.n_pixels()) <= compute.memory().of_spectra();
    // Whole or not at all: who asks to stop meanwhile waits for the stars at hand.
    progress.defer_interruption(true);
    let written = (|| {
        let mut file = PreparedFile::begin(&path, &key, n_stars, grid, &is_continuum)?;
        let set = normalize_all(source, settings, is_continuum, Destination { file: Some(&mut file), fits }, progress)?;
        file.complete(&set)?;
        Ok(set)
    })();
    progress.defer_interruption(false);
    let set = written?;
    let kept_in = if fits { "kept in" } else { "larger than a quarter of device.memory, read as needed from" };
    tracing::info!("{n_stars} stars prepared, {kept_in} {}", path.display());
    if progress.interrupted() {
        return Err(Error::Interrupted { kept: false });
    }
    Ok((set, path))
}

/// The same in memory, of which nothing is kept on disk.
///
/// # Errors
/// As [`prepare`]; [`Error::Config`] for more spectra than memory may be taken for.
pub fn prepare_anew(
    source: &Source,
    settings: &StarSettings,
    training: &[usize],
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<PreparedSet> {
    let n_stars = source.n_stars();
    let bytes = bytes_of_spectra(n_stars, source.grid.n_pixels());
    let fits = compute.memory().check(bytes as f64);
    fits.map_err(|takes| Error::Config(format!("a set of {n_stars} spectra {takes}")))?;
    let is_continuum = usable_continuum_pixels(source, settings, training, compute, progress)?;
    normalize_all(source, settings, is_continuum, Destination { file: None, fits: true }, progress)
}

/// Continuum pixels, those aside that the settings leave out.
fn usable_continuum_pixels(
    source: &Source,
    settings: &StarSettings,
    training: &[usize],
    compute: &Compute,
    progress: &dyn Progress,
) -> Result<Vec<bool>> {
    let mut is_continuum = choose_continuum_pixels(source, settings, training, compute, progress)?;
    let left_out = source.places.iter().map(|place| *place == Place::LeftOut);
    is_continuum.iter_mut().zip(left_out).for_each(|(is_continuum, left_out)| *is_continuum &= !left_out);
    warn_of_lost_chips(source, settings, &is_continuum);
    Ok(is_continuum)
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
    let text = format!("{settings}\n{}", source.spectra().fingerprint()?);
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

/// Where spectra go that are prepared.
struct Destination<'a> {
    file: Option<&'a mut PreparedFile>,
    /// Whether they fit into memory; others are to be read from the file.
    fits: bool,
}

fn normalize_all(
    source: &Source,
    settings: &StarSettings,
    is_continuum: Vec<bool>,
    Destination { mut file, fits }: Destination,
    progress: &dyn Progress,
) -> Result<PreparedSet> {
    /// Stars that are read together.
    const TOGETHER: usize = 16;
    let (n_stars, n_pixels) = (source.n_stars(), source.grid.n_pixels());
    let normalizer = Normalizer::new(&source.grid, &is_continuum, &settings.continuum)?;
    let mut kept = [Vec::new(), Vec::new()];
    let mut quality = vec![Quality { continuum_residual: f64::NAN, ..Quality::default() }; n_stars];
    let mut levels = vec![f64::NAN; n_stars];
    let troubles = Mutex::new(Troubles::default());
    progress.start("preparing spectra", n_stars);
    for stars in stored::blocks(n_stars, n_pixels) {
        let mut flux = vec![1.0_f32; stars.len() * n_pixels];
        let mut ivar = vec![0.0_f32; stars.len() * n_pixels];
        let all: Vec<usize> = stars.clone().collect();
        let spectra = flux.par_chunks_mut(n_pixels * TOGETHER).zip(ivar.par_chunks_mut(n_pixels * TOGETHER));
        let found = quality[stars.clone()].par_chunks_mut(TOGETHER).zip(levels[stars.clone()].par_chunks_mut(TOGETHER));
        all.par_chunks(TOGETHER).zip(spectra).zip(found).for_each(|((stars, (flux, ivar)), (quality, levels))| {
            let places = flux.chunks_mut(n_pixels).zip(ivar.chunks_mut(n_pixels)).zip(quality.iter_mut().zip(levels));
            for (read, ((flux, ivar), (quality, level))) in source.some_spectra(stars).into_iter().zip(places) {
                match read {
                    Ok((masked, counted)) => {
                        *quality = counted;
                        let normalized = normalizer.normalize(&masked, quality);
                        flux.copy_from_slice(&normalized.flux);
                        ivar.copy_from_slice(&normalized.ivar);
                        *level = prepare_checks::level(flux, ivar);
                    }
                    Err(err) => {
                        quality.unreadable = true;
                        lock(&troubles).add(&err);
                    }
                }
                progress.advance(1);
            }
        });
        if let Some(file) = &mut file {
            file.add(stars.start, &flux, &ivar)?;
            if progress.interrupted() {
                return Err(Error::Interrupted { kept: false });
            }
        }
        if fits {
            kept[0].extend(flux);
            kept[1].extend(ivar);
        }
    }
    progress.finish();
    troubles.into_inner().unwrap_or_else(PoisonError::into_inner).report(n_stars)?;
    prepare_checks::expect_measured(&quality, &levels, settings)?;
    let spectra = match file {
        Some(file) if !fits => file.spectra()?,
        _ => {
            let of =
                |values| Array2::from_shape_vec((n_stars, n_pixels), values).expect("one value per star and pixel");
            let [flux, ivar] = kept.map(of);
            Spectra::in_memory(flux, ivar)
        }
    };
    Ok(PreparedSet {
        grid: source.grid.clone(),
        continuum_pixels: is_continuum,
        ids: source.stars.id.clone(),
        label_names: settings.labels.clone(),
        labels: Array2::from_shape_fn((n_stars, settings.labels.len()), |(n, k)| source.stars.labels[n][k]),
        label_errors: Array2::from_shape_fn((n_stars, settings.labels.len()), |(n, k)| source.stars.label_errors[n][k]),
        snr: source.stars.snr.clone(),
        spectra,
        quality,
    })
}

fn lock(troubles: &Mutex<Troubles>) -> MutexGuard<'_, Troubles> {
    troubles.lock().unwrap_or_else(PoisonError::into_inner)
}
