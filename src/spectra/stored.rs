//! Flux and inverse variance of many stars: in memory, or in the file of a prepared set, from which blocks of stars or of pixels are read.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, CowArray, Ix2, aview1};
use rayon::prelude::*;

use super::noise::Conditions;
use crate::error::{Error, Result};
use crate::memory::{Memory, bytes_of_spectra};

/// Bytes of a number in memory and on disk.
const NUMBER: usize = size_of::<f32>();

/// Spectra of the stars of a set, on its grid.
#[derive(Debug, Clone)]
pub struct Spectra {
    place: Place,
    n_pixels: usize,
    /// Pixels that some star has measured, `[n_pixels]`; those of the whole set, also for some of its stars.
    seen: Arc<Vec<bool>>,
    /// How good each star's spectrum is, once somebody asked.
    conditions: OnceLock<Vec<Conditions>>,
}

#[derive(Debug, Clone)]
enum Place {
    /// Flux and inverse variance, [n_stars, n_pixels].
    Memory(Array2<f32>, Array2<f32>),
    /// Rows and columns, the latter in ascending order, of the images of a file.
    Disk(Arc<Images>, Vec<usize>, Arc<Vec<usize>>),
}

impl Spectra {
    /// Of flux and inverse variance, [n_stars, n_pixels] each: finite, the latter 0 = no information.
    pub fn in_memory(flux: Array2<f32>, ivar: Array2<f32>) -> Self {
        let mut seen = vec![false; ivar.ncols()];
        see(&mut seen, ivar.as_standard_layout().as_slice().unwrap_or_default());
        Self::new(Place::Memory(flux, ivar), seen)
    }

    fn new(place: Place, seen: Vec<bool>) -> Self {
        Self { place, n_pixels: seen.len(), seen: Arc::new(seen), conditions: OnceLock::new() }
    }

    /// Of the images of a file. Spectra of up to `most_bytes` come into memory, others stay where they are; `look` is shown every row, a
    /// block at a time: flux and inverse variance, [n_rows, n_pixels].
    pub(super) fn of_images(images: Images, most_bytes: u64, mut look: impl FnMut(&[f32], &[f32])) -> Result<Self> {
        let (n_stars, n_pixels) = images.shape;
        let mut seen = vec![false; n_pixels];
        let mut kept = (bytes_of_spectra(n_stars, n_pixels) <= most_bytes).then(|| [Vec::new(), Vec::new()]);
        for rows in blocks(n_stars, n_pixels) {
            let rows: Vec<usize> = rows.collect();
            let (flux, ivar) = images.read(&rows, &all(n_pixels))?;
            let [flux, ivar] = [flux, ivar].map(|matrix| matrix.into_raw_vec_and_offset().0);
            see(&mut seen, &ivar);
            look(&flux, &ivar);
            if let Some([all_flux, all_ivar]) = &mut kept {
                all_flux.extend(flux);
                all_ivar.extend(ivar);
            }
        }
        match kept {
            Some(kept) => {
                let of = |values| Array2::from_shape_vec((n_stars, n_pixels), values).expect("a number for each pixel");
                let [flux, ivar] = kept.map(of);
                Ok(Self::new(Place::Memory(flux, ivar), seen))
            }
            None => Ok(Self::on_disk(images, seen)),
        }
    }

    /// Of the images of a file, and the pixels that some star has measured.
    pub(super) fn on_disk(images: Images, seen: Vec<bool>) -> Self {
        let (rows, pixels) = (all(images.shape.0), Arc::new(all(images.shape.1)));
        Self::new(Place::Disk(Arc::new(images), rows, pixels), seen)
    }

    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        match &self.place {
            Place::Memory(flux, _) => flux.nrows(),
            Place::Disk(_, rows, _) => rows.len(),
        }
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        self.n_pixels
    }

    /// Bytes of all numbers.
    pub fn bytes(&self) -> u64 {
        bytes_of_spectra(self.n_stars(), self.n_pixels)
    }

    /// Whether they are in memory, so that reading is but copying.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.place, Place::Memory(..))
    }

    /// Pixels that some star of the set has measured, `[n_pixels]`.
    pub fn seen(&self) -> &[bool] {
        &self.seen
    }

    /// Flux and inverse variance of some stars, [n_rows, n_pixels] each.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read any more.
    pub fn of(&self, rows: &[usize]) -> Result<(Array2<f32>, Array2<f32>)> {
        match &self.place {
            Place::Memory(flux, ivar) => Ok((flux.select(Axis(0), rows), ivar.select(Axis(0), rows))),
            Place::Disk(images, own, pixels) => images.read(&own_rows(own, rows), pixels),
        }
    }

    /// Flux and inverse variance of one star, `[n_pixels]` each.
    ///
    /// # Errors
    /// As [`Spectra::of`].
    pub fn star(&self, row: usize) -> Result<(Array1<f32>, Array1<f32>)> {
        let (flux, ivar) = self.of(&[row])?;
        Ok((flux.row(0).to_owned(), ivar.row(0).to_owned()))
    }

    /// How good each spectrum is; `chips` are the pixels of each chip, the same whenever this is asked.
    ///
    /// # Errors
    /// As [`Spectra::of`].
    pub fn conditions(&self, chips: &[Range<usize>]) -> Result<&[Conditions]> {
        if let Some(known) = self.conditions.get() {
            return Ok(known);
        }
        let mut found = Vec::with_capacity(self.n_stars());
        for rows in blocks(self.n_stars(), self.n_pixels) {
            let (_, ivar) = self.of(&rows.collect::<Vec<usize>>())?;
            found.extend(Conditions::of(ivar.view(), chips));
        }
        Ok(self.conditions.get_or_init(|| found))
    }

    /// The spectra of these rows, in this order; where they are on disk, they stay there.
    #[must_use]
    pub fn rows(&self, rows: &[usize]) -> Self {
        let place = match &self.place {
            Place::Memory(flux, ivar) => Place::Memory(flux.select(Axis(0), rows), ivar.select(Axis(0), rows)),
            Place::Disk(images, own, pixels) => Place::Disk(images.clone(), own_rows(own, rows), pixels.clone()),
        };
        Self { place, n_pixels: self.n_pixels, seen: self.seen.clone(), conditions: OnceLock::new() }
    }
}

fn own_rows(own: &[usize], rows: &[usize]) -> Vec<usize> {
    rows.iter().map(|row| own[*row]).collect()
}

fn own_pixels(own: &[usize], pixels: &[usize]) -> Vec<usize> {
    pixels.iter().map(|pixel| own[*pixel]).collect()
}

fn all(n: usize) -> Vec<usize> {
    (0..n).collect()
}

/// Spectra of some stars, from which a model learns pixel by pixel.
#[derive(Debug, Clone, Copy)]
pub enum SpectraOf<'a> {
    /// Flux and inverse variance, [n_stars, n_pixels] each.
    Arrays(ArrayView2<'a, f32>, ArrayView2<'a, f32>),
    /// Some rows of a set.
    Rows(&'a Spectra, &'a [usize]),
}

impl<'a> From<(ArrayView2<'a, f32>, ArrayView2<'a, f32>)> for SpectraOf<'a> {
    fn from((flux, ivar): (ArrayView2<'a, f32>, ArrayView2<'a, f32>)) -> Self {
        Self::Arrays(flux, ivar)
    }
}

impl<'a> SpectraOf<'a> {
    /// Arrays of some rows of a set where they are held, or else the rows themselves.
    pub fn held_or_rows(held: Option<&'a (Array2<f32>, Array2<f32>)>, set: &'a Spectra, rows: &'a [usize]) -> Self {
        held.map_or(Self::Rows(set, rows), |(flux, ivar)| Self::Arrays(flux.view(), ivar.view()))
    }

    /// Number of stars.
    pub fn n_stars(&self) -> usize {
        match self {
            Self::Arrays(flux, _) => flux.nrows(),
            Self::Rows(_, rows) => rows.len(),
        }
    }

    /// Number of pixels.
    pub fn n_pixels(&self) -> usize {
        match self {
            Self::Arrays(flux, _) => flux.ncols(),
            Self::Rows(spectra, _) => spectra.n_pixels,
        }
    }

    /// Some pixels, in ascending order, of all the stars: in memory where these are, or where they take no more than `most_bytes`.
    ///
    /// # Errors
    /// As [`Spectra::of`].
    pub fn select(&self, pixels: &[usize], most_bytes: u64) -> Result<Spectra> {
        match self {
            Self::Rows(Spectra { place: Place::Disk(images, own, columns), seen, .. }, rows)
                if bytes_of_spectra(rows.len(), pixels.len()) > most_bytes =>
            {
                let place = Place::Disk(images.clone(), own_rows(own, rows), Arc::new(own_pixels(columns, pixels)));
                Ok(Spectra::new(place, pixels.iter().map(|pixel| seen[*pixel]).collect()))
            }
            _ => {
                let [flux, ivar] = self.hold(pixels)?.columns(pixels).map(|values| {
                    let n_stars = values.len() / pixels.len().max(1);
                    Array2::from_shape_vec((n_stars, pixels.len()), values).expect("a number for each pixel")
                });
                Ok(Spectra::in_memory(flux, ivar))
            }
        }
    }

    /// Whether they were brought into memory for what is to be done with them.
    pub fn is_held(&self) -> bool {
        matches!(self, Self::Arrays(..))
    }

    /// Flux and inverse variance of some of the stars, [n_rows, n_pixels] each.
    ///
    /// # Errors
    /// As [`Spectra::of`].
    pub fn of(&self, rows: &[usize]) -> Result<(Array2<f32>, Array2<f32>)> {
        match self {
            Self::Arrays(flux, ivar) => Ok((flux.select(Axis(0), rows), ivar.select(Axis(0), rows))),
            Self::Rows(spectra, own) => spectra.of(&own_rows(own, rows)),
        }
    }

    /// Pixels that may be held at once where blocks take no more than `most_bytes`; all where they are in memory anyway.
    pub fn most_pixels(&self, most_bytes: u64) -> usize {
        match self {
            Self::Rows(Spectra { place: Place::Disk(..), n_pixels, .. }, rows) => {
                ((most_bytes / bytes_of_spectra(rows.len().max(1), 1)) as usize).clamp(1, (*n_pixels).max(1))
            }
            _ => self.n_pixels().max(1),
        }
    }

    /// What some work makes of every pixel, `[n_pixels]`, from flux and inverse variance of all the stars, `[n_stars]` each.
    ///
    /// # Errors
    /// As [`Spectra::of`].
    pub fn of_pixels<T>(
        &self,
        memory: Memory,
        mut work: impl FnMut(ArrayView1<f32>, ArrayView1<f32>) -> T,
    ) -> Result<Vec<T>> {
        let mut made = Vec::with_capacity(self.n_pixels());
        for pixels in all(self.n_pixels()).chunks(self.most_pixels(memory.of_block())) {
            let held = self.hold(pixels)?;
            for pixel in pixels {
                let [flux, ivar] = held.columns(&[*pixel]);
                made.push(work(aview1(&flux), aview1(&ivar)));
            }
        }
        Ok(made)
    }

    /// Holds some pixels, in ascending order, of all the stars.
    ///
    /// # Errors
    /// As [`Spectra::of`].
    pub fn hold(&self, pixels: &[usize]) -> Result<HeldPixels<'a>> {
        Ok(match self {
            Self::Arrays(flux, ivar) => {
                HeldPixels { spectra: [(*flux).into(), (*ivar).into()], rows: None, pixels: None }
            }
            Self::Rows(Spectra { place: Place::Memory(flux, ivar), .. }, rows) => {
                HeldPixels { spectra: [flux.view().into(), ivar.view().into()], rows: Some(rows), pixels: None }
            }
            Self::Rows(Spectra { place: Place::Disk(images, own, columns), .. }, rows) => {
                let (flux, ivar) = images.read(&own_rows(own, rows), &own_pixels(columns, pixels))?;
                HeldPixels { spectra: [flux.into(), ivar.into()], rows: None, pixels: Some(pixels.to_vec()) }
            }
        })
    }
}

/// Some pixels of all stars, in memory.
#[derive(Debug)]
pub struct HeldPixels<'a> {
    /// Flux and inverse variance.
    spectra: [CowArray<'a, f32, Ix2>; 2],
    /// The rows of the stars; none for all.
    rows: Option<&'a [usize]>,
    /// The pixels of the columns; none for all.
    pixels: Option<Vec<usize>>,
}

impl HeldPixels<'_> {
    /// Flux and inverse variance of some of the pixels, row by row, [n_stars, n_pixels] each.
    ///
    /// # Panics
    /// For pixels that are not held.
    pub fn columns(&self, pixels: &[usize]) -> [Vec<f32>; 2] {
        let column = |pixel: &usize| match &self.pixels {
            Some(held) => held.binary_search(pixel).expect("the pixel is held"),
            None => *pixel,
        };
        let columns: Vec<usize> = pixels.iter().map(column).collect();
        let span = columns.first().map_or(0..0, |first| *first..first + columns.len());
        let is_span = columns.iter().copied().eq(span.clone());
        [0, 1].map(|which| {
            let matrix = &self.spectra[which];
            let n_rows = self.rows.map_or(matrix.nrows(), <[usize]>::len);
            let mut picked = Vec::with_capacity(n_rows * columns.len());
            for place in 0..n_rows {
                let row = matrix.row(self.rows.map_or(place, |rows| rows[place]));
                match row.to_slice() {
                    Some(row) if is_span => picked.extend_from_slice(&row[span.clone()]),
                    _ => picked.extend(columns.iter().map(|column| row[*column])),
                }
            }
            picked
        })
    }
}

/// Notes the pixels with information, of any number of rows.
pub(super) fn see(seen: &mut [bool], ivar: &[f32]) {
    for row in ivar.chunks(seen.len().max(1)) {
        seen.iter_mut().zip(row).for_each(|(seen, ivar)| *seen |= *ivar > 0.0);
    }
}

/// Rows a block of some megabytes at a time.
pub fn blocks(n_rows: usize, n_pixels: usize) -> impl Iterator<Item = Range<usize>> {
    const BYTES: usize = 8_000_000;
    let length = (BYTES / (n_pixels.max(1) * NUMBER)).max(1);
    (0..n_rows).step_by(length).map(move |start| start..(start + length).min(n_rows))
}

/// Two images of 32-bit floats in a FITS file, [n_rows, n_columns] each.
#[derive(Debug)]
pub(super) struct Images {
    file: File,
    path: PathBuf,
    /// First byte of each.
    start: [u64; 2],
    shape: (usize, usize),
}

impl Images {
    /// Two images of one shape, that begin at these bytes of a file; `called` is its name in messages.
    pub(super) fn open(path: &Path, called: &Path, start: [u64; 2], shape: (usize, usize)) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path, "open"))?;
        Ok(Self { file, path: called.to_path_buf(), start, shape })
    }

    /// Some columns, in ascending order, of some rows of both.
    fn read(&self, rows: &[usize], columns: &[usize]) -> Result<(Array2<f32>, Array2<f32>)> {
        Ok((self.read_one(0, rows, columns)?, self.read_one(1, rows, columns)?))
    }

    fn read_one(&self, image: usize, rows: &[usize], columns: &[usize]) -> Result<Array2<f32>> {
        let mut values = vec![0.0_f32; rows.len() * columns.len()];
        let span = columns.first().zip(columns.last()).map_or(0..0, |(first, last)| *first..*last + 1);
        let read_row = |bytes: &mut Vec<u8>, (values, row): (&mut [f32], &usize)| {
            bytes.resize(span.len() * NUMBER, 0);
            let first = (*row * self.shape.1 + span.start) * NUMBER;
            self.file.read_exact_at(bytes, self.start[image] + first as u64)?;
            let numbers = bytes.as_chunks::<NUMBER>().0;
            let pick = |(value, column): (&mut f32, &usize)| *value = f32::from_be_bytes(numbers[*column - span.start]);
            values.iter_mut().zip(columns).for_each(pick);
            Ok(())
        };
        let by_rows = values.par_chunks_mut(columns.len().max(1)).zip(rows);
        by_rows
            .try_for_each_init(Vec::new, read_row)
            .map_err(Error::io(&self.path, "read (delete it, and it is made anew)"))?;
        Ok(Array2::from_shape_vec((rows.len(), columns.len()), values).expect("a number for each pixel"))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The same spectra, in a file of a folder.
    pub fn in_file(spectra: &Spectra, folder: &Path) -> Spectra {
        let (flux, ivar) = spectra.of(&all(spectra.n_stars())).unwrap();
        let path = folder.join("spectra");
        let bytes: Vec<u8> = flux.iter().chain(&ivar).flat_map(|value| value.to_be_bytes()).collect();
        std::fs::write(&path, bytes).unwrap();
        let images = Images::open(&path, &path, [0, (flux.len() * NUMBER) as u64], flux.dim()).unwrap();
        Spectra::on_disk(images, spectra.seen().to_vec())
    }
}
